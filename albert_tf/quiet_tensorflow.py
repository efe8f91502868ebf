"""TensorFlow without the dozen lines with which it greets, for commands and their processes."""

import contextlib
import importlib
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator

_LEVEL = "TF_CPP_MIN_LOG_LEVEL"
# Below this its C++ calls an error what is none, such as a machine without a GPU. What it cannot do
# it raises.
_QUIET = "3"
# What TensorFlow and Keras import if it is there, for things that no command has them do, such as
# plots of layers and wrappers for scikit-learn: two fifths of the time of their import.
_LEFT_OUT = ("IPython", "matplotlib", "pandas", "scipy", "sklearn")


def ask_for_quiet() -> None:
    """Sets what TensorFlow reads when it is imported, unless the user has said what he wants."""
    os.environ.setdefault(_LEVEL, _QUIET)


def load() -> None:
    """Imports TensorFlow; its libraries write to the terminal before they have read the setting."""
    if "tensorflow" in sys.modules or os.environ.get(_LEVEL) != _QUIET:
        return
    with _held_back():
        importlib.import_module("tensorflow")


def load_for_command() -> None:
    """Imports TensorFlow and Keras as `load`, without what they look for and no command needs.

    Those libraries can be imported afterwards; only Keras's own use of them is lost to the process.
    """
    absent = [name for name in _LEFT_OUT if name not in sys.modules]
    sys.modules.update(dict.fromkeys(absent))  # None: an import of it fails
    try:
        load()
    finally:
        for name in absent:
            del sys.modules[name]


@contextlib.contextmanager
def _held_back() -> Iterator[None]:
    """Keeps what this process writes to its error stream; gives it out if the block fails."""
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile("w+b") as lines:
        os.dup2(lines.fileno(), 2)
        try:
            yield
        except BaseException:
            os.dup2(terminal, 2)
            lines.seek(0)
            with open(terminal, "wb", closefd=False) as out:
                shutil.copyfileobj(lines, out)
            raise
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)


@contextlib.contextmanager
def quiet_libraries() -> Iterator[None]:
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
