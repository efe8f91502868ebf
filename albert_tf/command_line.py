"""From absl flags to the dataclasses that describe a run, and what a run prints."""

import contextlib
import dataclasses
import logging


def dataclass_from_flags(described_class, flag_values, **given):
    """Returns a dataclass whose fields have the values of the flags of the same names.

    Args:
        described_class: the dataclass.
        flag_values: absl's `FLAGS`.
        given: fields that are no flags, or whose flags were read already.

    Raises:
        ValueError: what the dataclass itself refuses.
    """
    names = [f.name for f in dataclasses.fields(described_class) if f.name not in given]
    values = {name: flag_values[name].value for name in names}
    values = {n: tuple(v) if isinstance(v, list) else v for n, v in values.items()}
    return described_class(**values, **given)


def own_flags_as_text(flag_values):
    """Returns the flags that the running module defines and that have a value, one a line."""
    own = flag_values.get_key_flags_for_module("__main__")
    return "".join(f"{flag.serialize()}\n" for flag in own if flag.value is not None)


def print_now(line):
    """Prints a line at once: whoever watches a log file wants it when it is written."""
    print(line, flush=True)


@contextlib.contextmanager
def quiet_libraries():
    """Keeps the progress of TensorFlow and its converters from the log, but for errors."""
    loggers = [logging.getLogger(name) for name in ("tensorflow", "absl", "tf2onnx")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
