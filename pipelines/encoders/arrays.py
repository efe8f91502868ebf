"""Encoders for Python: tensors in, NumPy arrays out, by the ops that exported models run."""

import functools
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from albert_tf.pipelines.tokenizer.tokenization import Tokenizer


def encode_to_arrays(
    encode: Callable, tokenizer: Tokenizer, *inputs: tf.Tensor | np.ndarray, **settings: int
) -> dict[str, np.ndarray]:
    """Returns what `encode(tokenizer, *inputs, **settings).flat()` gives.

    The encoder becomes a graph, once for each tokenizer, in 0.1 to 0.3 s; one op after the other
    would take far longer than the graph, whose figures docs/architecture.md has.

    Args:
        encode: an encoder of this folder, whose result has `flat`.
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
    tokenizer: Tokenizer,
    specs: tuple[tf.TensorSpec, ...],
    setting_names: tuple[str, ...],
) -> Callable:
    def run(inputs: tuple[tf.Tensor, ...], settings: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        # An accelerator would be sent each of these small tensors, and has no strings.
        with tf.device("CPU:0"):
            return encode(tokenizer, *inputs, **settings).flat()

    settings = dict.fromkeys(setting_names, tf.TensorSpec([], tf.int64))
    return tf.function(run, input_signature=(specs, settings), autograph=False)
