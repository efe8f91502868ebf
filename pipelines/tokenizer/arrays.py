"""Encoders for Python: texts in, NumPy arrays out, by the ops that exported models run."""

import functools
import re
from collections.abc import Callable, Hashable, Sequence

import numpy as np
import tensorflow as tf

_SURROGATES = re.compile("[\ud800-\udfff]")


def encode_to_arrays(
    encode: Callable, tokenizer: Hashable, *inputs: tf.Tensor | np.ndarray, **settings: int
) -> dict[str, np.ndarray]:
    """Returns what `encode(tokenizer, *inputs, **settings).flat()` gives.

    The encoder becomes a graph, once for each tokenizer, in 0.1 to 0.3 s; one op after the other
    would take far longer than the graph, whose figures docs/architecture.md has.

    Args:
        encode: an encoder of strings or ids, whose result has `flat`.
        tokenizer: the model's.
        inputs: of the encoder.
        settings: of the encoder.
    """
    specs = tuple(tf.TensorSpec([None] * value.ndim, value.dtype) for value in inputs)
    columns = _graph(encode, tokenizer, specs, tuple(settings))(inputs, settings)
    return {name: column.numpy() for name, column in columns.items()}


@functools.lru_cache(maxsize=32)
def _graph(
    encode: Callable,
    tokenizer: Hashable,
    specs: tuple[tf.TensorSpec, ...],
    setting_names: tuple[str, ...],
) -> Callable:
    def run(inputs: tuple[tf.Tensor, ...], settings: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        # An accelerator would be sent each of these small tensors, and has no strings.
        with tf.device("CPU:0"):
            return encode(tokenizer, *inputs, **settings).flat()

    settings = dict.fromkeys(setting_names, tf.TensorSpec([], tf.int64))
    graph = tf.function(run, autograph=False)
    # A `tf.function` that is called would count how often it is traced, and warn of a few encoders.
    return graph.get_concrete_function(specs, settings)


def string_tensor(texts: Sequence[str | bytes]) -> tf.Tensor:
    """Returns string [B] of B texts; U+FFFD stands for lone surrogates, which UTF-8 lacks."""
    return tf.constant(as_utf8(texts), tf.string, [len(texts)])


def without_surrogates(text: str) -> str:
    """Returns a text with U+FFFD for lone surrogates."""
    return _SURROGATES.sub("\ufffd", text)


def as_utf8(texts: Sequence[str | bytes]) -> list[bytes]:
    """Returns texts as UTF-8.

    Raises:
        TypeError: for what is no text.
    """
    if isinstance(texts, str | bytes):
        raise TypeError(f"texts must be a sequence of strings. Received one {type(texts).__name__}")
    utf8 = []
    for text in texts:
        if isinstance(text, str):
            try:
                text = text.encode("utf-8")
            except UnicodeEncodeError:
                # A lone surrogate has no UTF-8 form.
                text = without_surrogates(text).encode("utf-8")
        elif not isinstance(text, bytes):
            raise TypeError(f"texts must hold strings. Received: {type(text).__name__}")
        utf8.append(text)
    return utf8
