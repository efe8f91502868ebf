"""What TensorFlow says of a place that cannot be written, as Python says it: an OSError."""

import contextlib
import os
import re
from collections.abc import Iterator

import tensorflow as tf


@contextlib.contextmanager
def errors_name(path: str | os.PathLike) -> Iterator[None]:
    """Turns TensorFlow's errors of a full or broken disk into one sentence about `path`.

    A full disk is to TensorFlow what a full memory is, `ResourceExhaustedError`.

    Raises:
        OSError: in place of such an error.
    """
    try:
        yield
    except tf.errors.OpError as error:
        # Without the names of its operations, and what else failed in consequence.
        message = re.sub(r"\{\{.*?\}\} ?| \[Op:.*", "", error.message).partition("\n")[0]
        raise OSError(f"{path} cannot be written: {message}") from error
