"""Options that were removed: whoever still gives one is told so, and what to do, in one line."""

import itertools
from typing import Any

_OF_THE_START = "--initial_attention=pointed is the start that remains (docs/small_experiments.md)"
# {option, or option=value: what to do without it}
REMOVED = {
    "hold_heads": f"leave it out; {_OF_THE_START}",
    "init_parts": "leave it out, and all of --init_checkpoint is taken",
    "initial_attention=matching": _OF_THE_START,
    "merge": "--split=1 writes one file",
}


def check_arguments(arguments: list[str]) -> None:
    """Refuses removed options among the words of a command line, before they are parsed.

    Raises:
        ValueError: naming the option as it was given, and what to do.
    """
    for argument, following in itertools.zip_longest(arguments, arguments[1:]):
        name, has_value, value = argument.partition("=")
        name = name.lstrip("-")
        for option in (name, name.removeprefix("no")):
            if argument.startswith("-") and option in REMOVED:
                raise ValueError(f"--{name} was removed: {REMOVED[option]}")
        option = f"{name}={value if has_value else following}"
        if argument.startswith("-") and option in REMOVED:
            raise ValueError(f"--{option} was removed: {REMOVED[option]}")


def find_in_run(description: dict[str, Any]) -> list[str]:
    """Returns the removed options that a run's description uses.

    >>> find_in_run({"hold_heads": True, "init_parts": [], "initial_attention": "pointed"})
    ['--hold_heads']
    """
    used = [name for name, value in description.items() if name in REMOVED and value]
    used += [f"{n}={v}" for n, v in description.items() if f"{n}={v}" in REMOVED]
    return [f"--{option}" for option in used]


def drop_unused(description: dict[str, Any]) -> dict[str, Any]:
    """Returns a run's description without the removed options that it does not use.

    >>> drop_unused({"hold_heads": False, "init_parts": [], "seed": 0})
    {'seed': 0}
    """
    return {k: v for k, v in description.items() if v or k not in REMOVED}
