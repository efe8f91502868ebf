"""The output directory of a run: one description owns it, so that no other run goes on in it."""

import contextlib
import json
import os
import pathlib
import shutil
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from albert_tf import json_files, removed_options, setting_checks, whole_files

RUN_FILE = "run.json"


@contextlib.contextmanager
def opened(directory: str | os.PathLike, flags_text: str, writes: bool = True) -> Iterator[None]:
    """Keeps other processes out of a run's directory, which what killed writers left is gone from.

    One that does not write there, since another worker does, leaves it alone.

    Args:
        directory: of the run.
        flags_text: what will be written of the run's settings.
        writes: whether this process writes.

    Raises:
        ValueError: if nothing can be written there, or not these settings.
        whole_files.FolderInUseError: if another process trains there.
    """
    if not writes:
        yield
        return
    setting_checks.check_output("output_dir", directory)
    for flag in flags_text.splitlines():
        try:
            flag.encode("utf-8")
        except UnicodeEncodeError as error:  # of a file whose name is in another encoding
            raise ValueError(
                f"settings must be text that UTF-8 can write, as all files of a run are. Received: "
                f"{flag!r}"
            ) from error
    with whole_files.only_run_in(directory):
        whole_files.remove_partials(directory)
        yield


def claim(
    directory: str | os.PathLike,
    description: dict[str, Any],
    *,
    has_work: bool,
    may_grow: Collection[str] = (),
    newer: Collection[str] = (),
    older: Mapping[str, Any] | None = None,
    reasons: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Writes what defines a run into its directory, or refuses one that another run owns.

    Args:
        directory: made if it does not exist.
        description: of JSON types, nested.
        has_work: whether the directory holds a checkpoint or a result. Before the first, all
            settings may change: what was measured with the others is removed.
        may_grow: names of numbers, with dots, that may be larger than they were. 0 is no number.
        newer: names that older versions did not describe; where one is missing, any value fits.
        older: {name with dots: what it was in the runs of versions that did not describe it}.
        reasons: {name with dots: why it may not change}, for the message.

    Returns:
        {name with dots: value that it had} of the settings that changed; empty for a new run.

    Raises:
        ValueError: if the directory holds another run, with the differences, or other files, or a
            damaged description.
    """
    directory = pathlib.Path(directory)
    description = json.loads(json.dumps(description))
    path = directory / RUN_FILE
    if path.exists():
        earlier = removed_options.drop_unused(json_files.read_object(path))
        added = {
            name: description[name] for name in newer if name in description and name not in earlier
        }
        earlier |= added
        for name, value in (older or {}).items():
            *above, last = name.split(".")
            there, now = earlier, description
            for key in above:
                there, now = (
                    part.get(key) if isinstance(part, dict) else 0 for part in (there, now)
                )
            if isinstance(there, dict) and isinstance(now, dict) and last in now:
                there.setdefault(last, value)
        removed = removed_options.find_in_run(earlier)
        if removed and has_work:
            raise ValueError(
                f"`output_dir` {directory} holds a run with {' and '.join(removed)}, which was "
                "removed since: end it with the version that began it, or give another `output_dir`"
            )
        differences = _differences(earlier, description)
        refused = [
            f"{name:.100}: {json_files.shorten(before)} there, {now} asked for"
            + _because(name, reasons)
            for name, (before, now) in differences.items()
            if not (name in may_grow and isinstance(before, int | float) and 0 < before < now)
        ]
        if refused and has_work:
            raise ValueError(
                f"`output_dir` {directory} holds a run of another configuration:\n  "
                + json_files.cut("\n  ".join(refused))
            )
        if differences and not has_work:
            # Other runs may lie further below.
            for folder in (directory, *directory.glob("seed-*")):
                (folder / "metrics.jsonl").unlink(missing_ok=True)
                shutil.rmtree(folder / "tensorboard", ignore_errors=True)
        if differences or added:
            whole_files.write_json(path, description)
        return {name: before for name, (before, _) in differences.items()}
    if directory.exists() and any(p.name != whole_files.LOCK_FILE for p in directory.iterdir()):
        raise ValueError(
            f"`output_dir` must be new, empty, or that of the same run. Received: {directory}, "
            f"which holds other files"
        )
    directory.mkdir(parents=True, exist_ok=True)
    whole_files.write_json(path, description)
    return {}


def _because(name: str, reasons: Mapping[str, str] | None) -> str:
    return f" ({reasons[name]})" if name in (reasons or {}) else ""


def _differences(
    old: dict[str, Any], new: dict[str, Any], prefix: str = ""
) -> dict[str, tuple[Any, Any]]:
    """Returns {name with dots: (old value, new value)} of what differs."""
    differences = {}
    for name in sorted({*old, *new}):
        before, now = old.get(name), new.get(name)
        if isinstance(before, dict) and isinstance(now, dict):
            differences |= _differences(before, now, f"{prefix}{name}.")
        elif before != now:
            differences[f"{prefix}{name}"] = (before, now)
    return differences
