"""What a command line says of files of flags, and where those that come with the package lie."""

import importlib.resources
import pathlib
import re
from collections.abc import Sequence


def find(arguments: Sequence[str]) -> list[str]:
    """Returns the flag files that the command line names; they may name others."""
    return re.findall(r"^--?flagfile[=\n](.*)$", "\n".join(arguments), re.MULTILINE)


def find_unreadable(arguments: Sequence[str]) -> str:
    """Returns the flag file that is not text."""
    names = find(arguments)
    for name in names:
        try:
            pathlib.Path(name).expanduser().read_text(encoding="utf-8")
        except UnicodeDecodeError:
            return name
    return f"a file that {' or '.join(names)} names"


def describe_missing(arguments: Sequence[str]) -> str:
    """Returns a line about a flag file that cannot be opened, and where it lies if it is ours."""
    names = find(arguments)
    missing = next((name for name in names if not pathlib.Path(name).expanduser().is_file()), None)
    if missing is None:
        return f"a flag file that {' or '.join(names)} names cannot be opened"
    ours = (
        pathlib.Path(str(importlib.resources.files("albert_tf.configs")))
        / pathlib.Path(missing).name
    )
    hint = f"; the one of the package is {ours}" if ours.is_file() else ""
    return f"--flagfile must be a file. Received: {missing}, which is not there{hint}"
