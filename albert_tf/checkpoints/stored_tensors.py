"""What every file of weights looks like to us: names with a shape, a dtype and a way to read.

Whoever wrote the file, its reader returns `{name: StoredTensor}` without reading the numbers. So a
file can be checked, mapped and refused before anything large is allocated, and a model is filled
one tensor at a time.
"""

import collections.abc
import contextlib
import dataclasses
import os
from collections.abc import Iterator

import numpy as np


class CheckpointError(ValueError):
    """A model directory or checkpoint cannot be used; the message names the file and tensors."""


def unexpected(expected: object, received: object) -> CheckpointError:
    """Returns the error of a file that holds something else than what was expected."""
    return CheckpointError(f"expected {expected}. Received: {received}")


@contextlib.contextmanager
def errors_name(
    path: str | os.PathLike, kind: str, errors: tuple[type[Exception], ...]
) -> Iterator[None]:
    """Turns these errors of reading `path` into a `CheckpointError` that begins with it."""
    try:
        yield
    except errors as error:
        raise CheckpointError(f"{path} cannot be read as {kind}: {error}") from error


def check_file(path: str | os.PathLike) -> None:
    """Raises OSError for what is no file, such as a pipe that never says a word."""
    if not os.path.isfile(path):
        there = "a folder" if os.path.isdir(path) else "no file"
        raise FileNotFoundError(f"expected a file. Received: {there}")


def check_folder(directory: str | os.PathLike) -> None:
    """Raises `CheckpointError` for what is no folder and so no model directory."""
    if not os.path.isdir(directory):
        there = "a file" if os.path.isfile(directory) else "no such folder"
        raise CheckpointError(f"{directory} must be a model directory. Received: {there}")


@dataclasses.dataclass(frozen=True)
class StoredTensor:
    """One tensor of a file.

    Attributes:
        shape: its axes.
        dtype: as stored; `read` returns bfloat16 as float32, because NumPy has no such dtype.
        load: returns the numbers, of that shape.
    """

    shape: tuple[int, ...]
    dtype: str
    load: collections.abc.Callable[[], np.ndarray]

    def read(self) -> np.ndarray:
        """Returns the numbers, NumPy [*shape].

        Raises:
            CheckpointError: if the file does not hold what it announced.
        """
        value = self.load()
        if tuple(value.shape) != self.shape:
            raise CheckpointError(f"expected a tensor of shape {self.shape}, read {value.shape}")
        return value
