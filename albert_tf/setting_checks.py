"""What a setting must be, a sentence each, for every settings class and every command.

Messages have `name` in backticks, for which a command puts its flag (`command_line.name_flags`).
Not a number and infinity are no value of any setting.
"""

import math
import numbers
import os
from collections.abc import Collection
from typing import Any

from albert_tf import remote_files


def check_positive(name: str, value: Any) -> None:
    """Refuses what is not a number above 0.

    Raises:
        ValueError: naming the setting, what was expected and what came; so do all of this file.
    """
    if not (_is_number(value) and value > 0):
        raise ValueError(f"`{name}` must be positive. Received: {value}")


def check_not_negative(name: str, value: Any) -> None:
    """Refuses what is not a number from 0 on."""
    if not (_is_number(value) and value >= 0):
        raise ValueError(f"`{name}` must not be negative. Received: {value}")


def check_integer(name: str, value: Any, lowest: int, highest: int | None = None) -> None:
    """Refuses what is not a whole number from `lowest` to `highest`."""
    is_whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if is_whole and lowest <= value <= (value if highest is None else highest):
        return
    if highest is not None:
        expected = f"an integer from {lowest} to {highest}"
    else:
        expected = "a positive integer" if lowest == 1 else f"an integer from {lowest} on"
    raise ValueError(f"`{name}` must be {expected}. Received: {value!r}")


def check_bool(name: str, value: Any) -> None:
    """Refuses what is neither True nor False: any text would count as True."""
    if not isinstance(value, bool) and type(value).__name__ != "bool":  # as NumPy's is called
        raise ValueError(f"`{name}` must be True or False. Received: {value!r}")


def check_list(name: str, value: Any) -> None:
    """Refuses a text where several are meant: its letters would be taken for them."""
    if isinstance(value, str):
        raise ValueError(f"`{name}` must be a list of texts. Received: {value!r}")


def check_fraction(name: str, value: Any) -> None:
    """Refuses what does not lie in [0, 1)."""
    if not (_is_number(value) and 0 <= value < 1):
        raise ValueError(f"`{name}` must lie in [0, 1). Received: {value}")


def check_named(name: str, value: str) -> None:
    """Refuses an empty name, as of a shell's variable that is not set; None is no name."""
    if value == "":
        raise ValueError(f"`{name}` must be a name. Received: nothing")


def check_choice(name: str, value: Any, choices: Collection[str]) -> None:
    """Refuses what is none of the names in `choices`."""
    if value not in choices:
        raise ValueError(f"`{name}` must be one of {', '.join(choices)}. Received: {value!r}")


def check_folder(name: str, path: str | os.PathLike) -> None:
    """Refuses what is no folder to read."""
    if not os.path.isdir(path):
        is_archive = name == "model_dir" and os.path.isfile(path)
        hint = "; run_conversion makes a model directory of an archive" if is_archive else ""
        raise ValueError(
            f"`{name}` must be a folder. Received: {path}, {_what_is_there(path)}{hint}"
        )


def check_file(name: str, path: str | os.PathLike) -> None:
    """Refuses what is no file to read; a pipe is none."""
    if not os.path.isfile(path):
        raise ValueError(f"`{name}` must be a file. Received: {path}, {_what_is_there(path)}")


def check_output(
    name: str, path: str | os.PathLike, *, is_file: bool = False, overwrite: bool = True
) -> None:
    """Refuses a place where nothing can be written: beside other things, or below a file.

    Args:
        name, path: as of the others.
        is_file: whether `path` becomes a file, whose folder must be there, or a folder.
        overwrite: whether a file that is there may be replaced.
    """
    remote_files.refuse_output(path, name)
    if not os.fspath(path):
        raise ValueError(f"`{name}` must be a path. Received: ''")
    if os.fspath(path).startswith("~"):
        raise ValueError(
            f"`{name}` must be a path without ~, for which a shell puts a folder only where a word "
            f"begins with it. Received: {os.fspath(path)}"
        )
    is_wrong_kind = (
        os.path.isdir(path) if is_file else os.path.lexists(path) and not os.path.isdir(path)
    )
    if is_wrong_kind:
        kind = "a file" if is_file else "a folder"
        raise ValueError(f"`{name}` must be {kind}. Received: {path}, {_what_is_there(path)}")
    above = os.path.dirname(os.path.abspath(path))
    if is_file and not os.path.exists(above):
        raise ValueError(f"`{name}` must lie in a folder that exists. Received: {path}")
    while not os.path.lexists(above):
        above = os.path.dirname(above)
    if not os.path.isdir(above):
        raise ValueError(f"`{name}` must lie in a folder. Received: {path}, but {above} is a file")
    place = path if os.path.isdir(path) else above
    if not os.access(place, os.W_OK):
        raise ValueError(f"`{name}` must be where files can be written. Received: {path}")
    if is_file and not overwrite and os.path.lexists(path):
        raise FileExistsError(f"`{name}` exists: {path}. Pass `overwrite=True` to replace it.")


def check_no_pattern(name: str, path: str | os.PathLike) -> None:
    """Refuses a path in which TensorFlow, when it reads variables, takes signs for a pattern."""
    if any(sign in os.fspath(path) for sign in "[]\\"):
        raise ValueError(
            f"`{name}` must be a path without [, ] and \\, in which TensorFlow finds no variables. "
            f"Received: {path}"
        )


def _what_is_there(path: str | os.PathLike) -> str:
    if remote_files.is_address(path):
        return "an address: it must be mounted, or copied to this machine"
    if not os.path.lexists(path):
        return "which does not exist"
    return "which is a folder" if os.path.isdir(path) else "which is a file of some kind"


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and math.isfinite(value)
