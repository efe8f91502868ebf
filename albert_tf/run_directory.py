"""The output directory of a run: one description owns it, so that no other run goes on in it."""

import json
import pathlib

from albert_tf import json_files, whole_files

RUN_FILE = "run.json"


def claim(directory, description):
    """Writes what defines a run into its directory, or refuses one that another run owns.

    Args:
        directory: made if it does not exist.
        description: nested dict of JSON types.

    Raises:
        ValueError: if the directory holds another run, with the differences, or other files, or a
            damaged description.
    """
    directory = pathlib.Path(directory)
    description = json.loads(json.dumps(description))
    path = directory / RUN_FILE
    if path.exists():
        differences = _differences(json_files.read_object(path), description)
        if differences:
            raise ValueError(
                f"--output_dir {directory} holds a run of another configuration:\n  "
                + "\n  ".join(differences)
            )
        return
    if directory.exists() and any(p.name != whole_files.LOCK_FILE for p in directory.iterdir()):
        raise ValueError(
            f"--output_dir must be new, empty, or that of the same run. Received: {directory}, "
            f"which holds other files"
        )
    directory.mkdir(parents=True, exist_ok=True)
    whole_files.write_json(path, description)


def _differences(old, new, prefix=""):
    lines = []
    for name in sorted({*old, *new}):
        before, now = old.get(name), new.get(name)
        if isinstance(before, dict) and isinstance(now, dict):
            lines += _differences(before, now, f"{prefix}{name}.")
        elif before != now:
            shown = json_files.shorten(before)
            lines.append(f"{prefix}{name}: {shown} there, {now} asked for")
    return lines
