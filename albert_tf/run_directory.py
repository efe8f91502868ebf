"""The output directory of a run: one description owns it, so that no other run goes on in it."""

import json
import os
import pathlib

RUN_FILE = "run.json"


def claim(directory, description):
    """Writes what defines a run into its directory, or refuses one that another run owns.

    Args:
        directory: made if it does not exist.
        description: nested dict of JSON types.

    Raises:
        ValueError: if the directory holds another run, with the differences, or other files.
    """
    directory = pathlib.Path(directory)
    description = json.loads(json.dumps(description))
    path = directory / RUN_FILE
    if path.exists():
        differences = _differences(json.loads(path.read_text(encoding="utf-8")), description)
        if differences:
            raise ValueError(
                f"--output_dir {directory} holds a run of another configuration:\n  "
                + "\n  ".join(differences)
            )
        return
    if directory.exists() and any(directory.iterdir()):
        raise ValueError(
            f"--output_dir must be new, empty, or that of the same run. Received: {directory}, "
            f"which holds other files"
        )
    directory.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(description, indent=2) + "\n")


def write_text(path, text):
    """Writes a file that appears complete or not at all."""
    path = pathlib.Path(path)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


def _differences(old, new, prefix=""):
    lines = []
    for name in sorted({*old, *new}):
        before, now = old.get(name), new.get(name)
        if isinstance(before, dict) and isinstance(now, dict):
            lines += _differences(before, now, f"{prefix}{name}.")
        elif before != now:
            lines.append(f"{prefix}{name}: {before} there, {now} asked for")
    return lines
