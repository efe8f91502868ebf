"""What a setting must be, a sentence each, for every settings class and every command.

`name` is what the user calls the setting: `` `train_steps` `` in code, `--train_steps` in a shell.
Not a number and infinity are no value of any setting.
"""

import math
import numbers


def check_positive(name, value):
    """Refuses what is not a number above 0.

    Raises:
        ValueError: naming the setting, what was expected and what came; so do all of this file.
    """
    if not (_is_number(value) and value > 0):
        raise ValueError(f"{name} must be positive. Received: {value}")


def check_not_negative(name, value):
    """Refuses what is not a number from 0 on."""
    if not (_is_number(value) and value >= 0):
        raise ValueError(f"{name} must not be negative. Received: {value}")


def check_positive_integer(name, value):
    """Refuses what is not a whole number from 1 on."""
    if type(value) is not int or value < 1:
        raise ValueError(f"{name} must be a positive integer. Received: {value!r}")


def check_fraction(name, value):
    """Refuses what does not lie in [0, 1)."""
    if not (_is_number(value) and 0 <= value < 1):
        raise ValueError(f"{name} must lie in [0, 1). Received: {value}")


def check_choice(name, value, choices):
    """Refuses what is none of the names in `choices`."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}. Received: {value!r}")


def _is_number(value):
    return isinstance(value, numbers.Real) and math.isfinite(value)
