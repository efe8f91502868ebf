"""The arithmetic of a transformer block, in the form that costs least.

Each public function has a plain form in `keras.ops` and a fast one for training on CPUs. There the
matrix products are quick and the element-wise operations between them rule: one pass over memory
for each, where TensorFlow would take one for every `+` and `*`. So the fast forms

- compile chains of element-wise operations with XLA, in float32 inside, and leave the products to
  oneDNN, which is several times faster at them;
- write gradients by hand, keeping what the backward pass needs instead of computing it again;
- add up columns as a product with a row of ones.

The fast form is taken inside a `tf.function` whose shapes are all known, so that each compiles
once; eager calls, unknown shapes (a served model, a last partial batch) and small operands take the
plain form.

Letters: B batch, L keys, Q queries (L, or fewer in the last layer), T rows (tokens), H width,
N heads, D head size, V vocabulary, E embedding size.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from albert_tf.model.tensors import Batch, Tensor

# Elements of the largest operand from which on a fast form repays the tenth of a second that its
# compilation takes.
SMALLEST_FAST_SIZE = 2**15

ACTIVATIONS = {
    "gelu_new": lambda x: ops.gelu(x, approximate=True),
    # Keras takes the complement of erf, which ONNX does not have.
    "gelu": lambda x: 0.5 * x * (1 + ops.erf(x * math.sqrt(0.5))),
    "relu": ops.relu,
}


def multiply(inputs: Tensor, kernel: Tensor, transpose: bool = False) -> Tensor:
    """Returns the product over the last axis: [..., in] and [in, out] -> [..., out].

    With `transpose`, the kernel is given as [out, in].
    """
    rows = ops.reshape(inputs, (-1, inputs.shape[-1]))  # [T, in]
    # As two-dimensional operands: the batched product of TensorFlow is slower.
    product = ops.matmul(rows, ops.transpose(kernel) if transpose else kernel)  # [T, out]
    return ops.reshape(product, (*ops.shape(inputs)[:-1], product.shape[-1]))


def dense(inputs: Tensor, kernel: Tensor, bias: Tensor, activation: str | None = None) -> Tensor:
    """Returns `activation(inputs kernel + bias)`: [..., in] and [in, out] -> [..., out]."""
    if _is_open(inputs):
        # TensorFlow makes one operation of these where nothing stands between them.
        rows = tf.reshape(inputs, (-1, inputs.shape[-1]))  # [T, in]
        rows = tf.nn.bias_add(tf.matmul(rows, kernel), bias)  # [T, out]
        rows = rows if activation is None else ACTIVATIONS[activation](rows)
        return tf.reshape(rows, (*ops.shape(inputs)[:-1], rows.shape[-1]))
    product = multiply(inputs, kernel)
    if activation is None:
        return add_bias(product, bias)
    return bias_activation(product, bias, activation)


def embed(table: Tensor, ids: Tensor) -> Tensor:
    """Returns the rows of `table` [V, E] that `ids` name, [..., E]."""
    if not _is_fast(table, ids):
        return ops.take(table, ids, axis=0)
    return _fast_embed(table, ids)


def gather_positions(vectors: Tensor, positions: Tensor) -> Tensor:
    """Returns the vectors at the given positions: [B, L, H] and int [B, Q] -> [B, Q, H]."""
    batch, length, size = ops.shape(vectors)
    starts = ops.arange(batch, dtype=positions.dtype)[:, None] * length  # [B, 1]
    return embed(ops.reshape(vectors, (-1, size)), starts + positions)  # [B, Q, H]


def add_bias(inputs: Tensor, bias: Tensor) -> Tensor:
    """Returns `inputs + bias` in the dtype of `inputs` [..., H]."""
    if not _is_fast(inputs, bias):
        return ops.cast(inputs + bias, inputs.dtype)
    return _fast_add_bias(inputs, bias)


def bias_activation(inputs: Tensor, bias: Tensor, activation: str) -> Tensor:
    """Returns `activation(inputs + bias)` in the dtype of `inputs` [..., H]."""
    if not _is_fast(inputs, bias):
        return ACTIVATIONS[activation](inputs + bias)
    return _fast_bias_activation(inputs, bias, activation)


def layer_norm(inputs: Tensor, gamma: Tensor, beta: Tensor, epsilon: float) -> Tensor:
    """Returns the layer normalisation of [..., H] in the dtype of `inputs`, from float32."""
    dtype = inputs.dtype
    inputs = ops.cast(inputs, "float32")
    centered = inputs - ops.mean(inputs, axis=-1, keepdims=True)
    variance = ops.mean(ops.square(centered), axis=-1, keepdims=True)
    return ops.cast(centered * ops.rsqrt(variance + epsilon) * gamma + beta, dtype)


def residual_layer_norm(
    inputs: Tensor, bias: Tensor, residual: Tensor, gamma: Tensor, beta: Tensor, epsilon: float
) -> Tensor:
    """Returns `layer_norm(residual + inputs + bias)` in the dtype of `inputs` [..., H]."""
    if not _is_fast(inputs, bias, residual):
        return layer_norm(residual + (inputs + bias), gamma, beta, epsilon)
    return _fast_residual_layer_norm(inputs, bias, residual, gamma, beta, epsilon)


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    padding_scores: Tensor,
    dropout: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Returns softmax(query key^T + padding_scores) value, [B, N, Q, D].

    Args:
        query: [B, N, Q, D], already divided by sqrt(D).
        key: [B, N, L, D].
        value: [B, N, L, D].
        padding_scores: [B, 1, 1, L], 0 for keys to look at and -10000 for padding.
        dropout: function applied to the probabilities [B, N, Q, L], or None.
    """
    if dropout is None and _is_fast(query, key, value, padding_scores):
        return _fast_attention(query, key, value, padding_scores)
    scores = ops.matmul(query, ops.transpose(key, (0, 1, 3, 2))) + padding_scores  # [B, N, Q, L]
    if scores.shape[-1] == 1:
        probabilities = ops.ones_like(scores)  # Keras warns of a softmax over one number
    else:
        # In bfloat16 oneDNN accumulates in float32 by itself.
        is_exact = _is_open(scores) and scores.dtype == tf.bfloat16
        inner = scores.dtype if is_exact else "float32"
        probabilities = ops.cast(ops.softmax(ops.cast(scores, inner), axis=-1), query.dtype)
    if dropout is not None:
        probabilities = dropout(probabilities)
    return ops.matmul(probabilities, value)  # [B, N, Q, D]


def cross_entropy(logits: Tensor, ids: Tensor) -> Tensor:
    """Returns -log softmax(logits)[id]: float32 [..., V] and int [...] -> float32 [...]."""
    if not _is_fast(logits, ids):
        return ops.sparse_categorical_crossentropy(ids, logits, from_logits=True)
    rows = tf.reshape(logits, (-1, logits.shape[-1]))  # [T, V]
    losses = _fast_cross_entropy(rows, tf.reshape(ids, (-1,)))
    return tf.reshape(losses, ids.shape)  # [...]


def run_fused(function: Callable, *tensors, **choices) -> Any:
    """Returns `function(*tensors, **choices)`, compiled where that is fast.

    Args:
        function: element-wise arithmetic and sums in `keras.ops`, without side effects.
        tensors: its operands.
        choices: Python values; each combination is compiled once.
    """
    if not _is_fast(*tensors):
        return function(*tensors, **choices)
    return _compile(functools.partial(function, **choices))(*tensors)


def _is_fast(*tensors) -> bool:
    """Whether to take the fast form for these operands."""
    if keras.backend.backend() != "tensorflow" or tf.executing_eagerly():
        return False
    shapes = [tf.TensorShape(tensor.shape) for tensor in tensors]
    return (
        all(shape.is_fully_defined() for shape in shapes)
        and max(shape.num_elements() for shape in shapes) >= SMALLEST_FAST_SIZE
        and not tf.config.list_physical_devices("GPU")
    )


def _is_open(tensor: Tensor) -> bool:
    """Whether a graph of TensorFlow is built whose sizes are not all known: a served model."""
    if keras.backend.backend() != "tensorflow" or tf.executing_eagerly():
        return False
    return not tf.TensorShape(tensor.shape).is_fully_defined()


def _compile(function: Callable) -> Callable:
    return tf.function(function, jit_compile=True, autograph=False)


def _column_sums(rows: Tensor) -> Tensor:
    """Returns the sums over all axes but the last, [..., H] -> [H]."""
    rows = tf.reshape(rows, (-1, rows.shape[-1]))  # [T, H]
    ones = tf.ones((1, rows.shape[0]), rows.dtype)
    return tf.matmul(ones, rows)[0]  # [H]


def _fast_embed(table: Tensor, ids: Tensor) -> Tensor:
    @tf.custom_gradient
    def embed_rows(table: Tensor, ids: Tensor) -> tuple[Tensor, Callable]:
        def gradient(upstream: Tensor) -> tuple[Tensor, None]:
            # Dense, because every optimizer here needs it dense: the moments of all rows decay, and
            # the tied output matrix adds a dense gradient anyway.
            rows = tf.reshape(upstream, (-1, table.shape[1]))  # [T, E]
            return tf.math.unsorted_segment_sum(rows, tf.reshape(ids, (-1,)), table.shape[0]), None

        return tf.gather(table, ids), gradient

    return embed_rows(table, ids)


@tf.custom_gradient
def _fast_add_bias(inputs: Tensor, bias: Tensor) -> tuple[Tensor, Callable]:
    def gradient(upstream: Tensor) -> tuple[Tensor, Tensor]:
        return upstream, tf.cast(_column_sums(upstream), bias.dtype)

    return _add(inputs, bias), gradient


def _fast_bias_activation(inputs: Tensor, bias: Tensor, activation: str) -> Tensor:
    @tf.custom_gradient
    def activate(inputs: Tensor, bias: Tensor) -> tuple[Tensor, Callable]:
        outputs, slopes = _ACTIVATION_KERNELS[activation](inputs, bias)

        def gradient(upstream: Tensor) -> tuple[Tensor, Tensor]:
            to_inputs = _product(upstream, slopes)
            return to_inputs, _column_sums(to_inputs)

        return outputs, gradient

    return activate(inputs, bias)


@_compile
def _product(left: Tensor, right: Tensor) -> Tensor:
    return left * right


@_compile
def _gelu_new(inputs: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the tanh GELU of inputs + bias, and its slope there."""
    x = tf.cast(inputs, tf.float32) + tf.cast(bias, tf.float32)
    scale, cubic = math.sqrt(2 / math.pi), 0.044715
    tanh = tf.tanh(scale * (x + cubic * x * x * x))
    half = 0.5 * (1 + tanh)
    slope = half + x * 0.5 * (1 - tanh * tanh) * scale * (1 + 3 * cubic * x * x)
    return tf.cast(x * half, inputs.dtype), tf.cast(slope, inputs.dtype)


@_compile
def _gelu(inputs: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the erf GELU of inputs + bias, and its slope there."""
    x = tf.cast(inputs, tf.float32) + tf.cast(bias, tf.float32)
    half = 0.5 * (1 + tf.math.erf(x * math.sqrt(0.5)))
    slope = half + x * tf.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)
    return tf.cast(x * half, inputs.dtype), tf.cast(slope, inputs.dtype)


@_compile
def _relu(inputs: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the positive part of inputs + bias, and its slope there."""
    x = inputs + bias
    return tf.maximum(x, 0), tf.cast(x > 0, inputs.dtype)


_ACTIVATION_KERNELS = {"gelu_new": _gelu_new, "gelu": _gelu, "relu": _relu}


def _fast_residual_layer_norm(
    inputs: Tensor, bias: Tensor, residual: Tensor, gamma: Tensor, beta: Tensor, epsilon: float
) -> Tensor:
    @tf.custom_gradient
    def normalize(
        inputs: Tensor, bias: Tensor, residual: Tensor, gamma: Tensor, beta: Tensor
    ) -> tuple[Tensor, Callable]:
        outputs, normalized, inverse = _normalize(inputs, bias, residual, gamma, beta, epsilon)

        def gradient(upstream: Tensor) -> tuple[Tensor, ...]:
            to_sum, products = _normalize_gradient(upstream, normalized, inverse, gamma)
            to_gamma = tf.cast(_column_sums(products), gamma.dtype)
            to_beta = tf.cast(_column_sums(upstream), beta.dtype)
            return to_sum, _column_sums(to_sum), to_sum, to_gamma, to_beta

        return outputs, gradient

    return normalize(inputs, bias, residual, gamma, beta)


@_compile
def _normalize(
    inputs: Tensor, bias: Tensor, residual: Tensor, gamma: Tensor, beta: Tensor, epsilon: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns the outputs, the normalised sum and the inverse deviations [..., 1]."""
    total = tf.cast(residual, tf.float32) + tf.cast(inputs, tf.float32) + tf.cast(bias, tf.float32)
    centered = total - tf.reduce_mean(total, -1, keepdims=True)
    inverse = tf.math.rsqrt(tf.reduce_mean(centered * centered, -1, keepdims=True) + epsilon)
    normalized = centered * inverse
    outputs = tf.cast(normalized * gamma + beta, inputs.dtype)
    return outputs, tf.cast(normalized, inputs.dtype), inverse


@_compile
def _normalize_gradient(
    upstream: Tensor, normalized: Tensor, inverse: Tensor, gamma: Tensor
) -> tuple[Tensor, Tensor]:
    """Returns the gradient of the sum, and what the columns of the gradient of gamma add up."""
    dtype = upstream.dtype
    upstream, normalized = tf.cast(upstream, tf.float32), tf.cast(normalized, tf.float32)
    products = upstream * normalized
    scaled = upstream * gamma
    mean = tf.reduce_mean(scaled, -1, keepdims=True)
    along = tf.reduce_mean(scaled * normalized, -1, keepdims=True)
    to_sum = inverse * (scaled - mean - normalized * along)
    return tf.cast(to_sum, dtype), tf.cast(products, dtype)


@tf.custom_gradient
def _fast_attention(
    query: Tensor, key: Tensor, value: Tensor, padding_scores: Tensor
) -> tuple[Tensor, Callable]:
    scores = _add(tf.matmul(query, key, transpose_b=True), padding_scores)  # [B, N, Q, L]
    probabilities = tf.nn.softmax(scores)  # oneDNN accumulates in float32
    context = tf.matmul(probabilities, value)  # [B, N, Q, D]

    def gradient(upstream: Tensor) -> tuple[Tensor | None, ...]:
        to_value = tf.matmul(probabilities, upstream, transpose_a=True)  # [B, N, L, D]
        to_probabilities = tf.matmul(upstream, value, transpose_b=True)  # [B, N, Q, L]
        to_scores = _softmax_gradient(probabilities, to_probabilities, upstream, context)
        to_query = tf.matmul(to_scores, key)  # [B, N, Q, D]
        to_key = tf.matmul(to_scores, query, transpose_a=True)  # [B, N, L, D]
        return to_query, to_key, to_value, None

    return context, gradient


@_compile
def _add(left: Tensor, right: Tensor) -> Tensor:
    """Returns the sum in the dtype of `left`; the smaller `right` is stretched."""
    return tf.cast(left + tf.cast(right, left.dtype), left.dtype)


@_compile
def _softmax_gradient(
    probabilities: Tensor, to_probabilities: Tensor, to_context: Tensor, context: Tensor
) -> Tensor:
    """Returns the gradient of the scores.

    The sum over keys of probability times gradient equals the sum over D of context times its
    gradient, which is L / D times shorter.
    """
    products = tf.cast(to_context, tf.float32) * tf.cast(context, tf.float32)
    along = tf.reduce_sum(products, -1, keepdims=True)  # [B, N, Q, 1]
    difference = tf.cast(to_probabilities, tf.float32) - along
    return tf.cast(tf.cast(probabilities, tf.float32) * difference, probabilities.dtype)


@tf.custom_gradient
def _fast_cross_entropy(logits: Tensor, ids: Tensor) -> tuple[Tensor, Callable]:
    largest, normalizer = _softmax_parts(logits)  # [T, 1] each
    label_logits = tf.gather(logits, ids, batch_dims=1)  # [T]
    losses = (tf.math.log(normalizer) + largest)[:, 0] - label_logits  # [T]

    def gradient(upstream: Tensor) -> tuple[Tensor, None]:
        to_logits = _scaled_softmax(logits, largest, upstream[:, None] / normalizer)  # [T, V]
        rows = tf.range(tf.shape(ids)[0], dtype=ids.dtype)
        places = tf.stack([rows, ids], axis=1)  # [T, 2]
        return tf.tensor_scatter_nd_sub(to_logits, places, upstream), None

    return losses, gradient


@_compile
def _softmax_parts(logits: Tensor) -> tuple[Tensor, Tensor]:
    largest = tf.reduce_max(logits, axis=-1, keepdims=True)
    return largest, tf.reduce_sum(tf.exp(logits - largest), axis=-1, keepdims=True)


@_compile
def _scaled_softmax(logits: Tensor, largest: Tensor, factors: Tensor) -> Tensor:
    return tf.exp(logits - largest) * factors


def compile_by_shape(
    function: Callable[[Batch], Any], jit_compile: bool = False
) -> Callable[[Batch], Any]:
    """Returns `function` of one batch, compiled once for each combination of shapes it is given.

    The layers' fast forms need shapes that are known when they are compiled.
    """
    compiled = {}

    def call(batch: Batch) -> Any:
        shapes = tuple((name, tuple(value.shape)) for name, value in sorted(batch.items()))
        if shapes not in compiled:
            # Keras layers are graph code already, so AutoGraph would only cost tracing time.
            compiled[shapes] = tf.function(function, autograph=False, jit_compile=jit_compile)
        return compiled[shapes](batch)

    return call
