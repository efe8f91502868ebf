"""The arithmetic of a transformer block, in the form that costs least.

Each public function has a plain form in `keras.ops` and, on TensorFlow, a fast one for training on
CPUs. There the matrix products are quick and the element-wise operations between them rule: one
pass over memory for each, where TensorFlow would take one for every `+` and `*`. The fast forms are
in `tensorflow_ops`; on other backends, whose compiler sees the whole step, the plain form is all.

The fast form is taken inside a `tf.function` whose shapes are all known, so that each compiles
once; eager calls, unknown shapes (a served model, a last partial batch) and small operands take the
plain form.

Letters: B batch, L keys, Q queries (L, or fewer in the last layer), T rows (tokens), H width,
N heads, D head size, V vocabulary, E embedding size.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from albert_tf import tensorflow_needs
from albert_tf.model.tensors import Batch, Tensor

# Fixed when Keras is imported.
ON_TENSORFLOW = keras.backend.backend() == "tensorflow"
if ON_TENSORFLOW:
    from albert_tf.model import tensorflow_ops

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
        return tensorflow_ops.dense(inputs, kernel, bias, ACTIVATIONS.get(activation))
    product = multiply(inputs, kernel)
    if activation is None:
        return add_bias(product, bias)
    return bias_activation(product, bias, activation)


def embed(table: Tensor, ids: Tensor) -> Tensor:
    """Returns the rows of `table` [V, E] that `ids` name, [..., E]."""
    if _is_fast(table, ids):
        return tensorflow_ops.embed(table, ids)
    if ON_TENSORFLOW:  # where `take` of Keras counts negative ids from the end
        return tensorflow_ops.gather(table, ids)
    # Out of range, so that JAX gives NaN as for those too large, not a row from the end.
    return ops.take(table, ops.where(ids < 0, table.shape[0], ids), axis=0)


def gather_positions(vectors: Tensor, positions: Tensor) -> Tensor:
    """Returns the vectors at the given positions: [B, L, H] and int [B, Q] -> [B, Q, H].

    A position that is none of its row is refused as a word id beyond the vocabulary is.
    """
    batch, length, size = ops.shape(vectors)
    positions = ops.cast(positions, "int32")
    starts = ops.arange(batch, dtype="int32")[:, None] * length  # [B, 1]
    is_inside = ops.logical_and(positions >= 0, positions < length)
    places = ops.where(is_inside, starts + positions, batch * length)
    return embed(ops.reshape(vectors, (-1, size)), places)  # [B, Q, H]


def add_bias(inputs: Tensor, bias: Tensor) -> Tensor:
    """Returns `inputs + bias` in the dtype of `inputs` [..., H]."""
    if not _is_fast(inputs, bias):
        return ops.cast(inputs + bias, inputs.dtype)
    return tensorflow_ops.add_bias(inputs, bias)


def bias_activation(inputs: Tensor, bias: Tensor, activation: str) -> Tensor:
    """Returns `activation(inputs + bias)` in the dtype of `inputs` [..., H]."""
    if not _is_fast(inputs, bias):
        return ACTIVATIONS[activation](inputs + bias)
    return tensorflow_ops.bias_activation(inputs, bias, activation)


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
    return tensorflow_ops.residual_layer_norm(inputs, bias, residual, gamma, beta, epsilon)


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask_scores: Tensor,
    dropout: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Returns softmax(query key^T + mask_scores) value, [B, N, Q, D].

    Args:
        query: [B, N, Q, D], already divided by sqrt(D).
        key: [B, N, L, D].
        value: [B, N, L, D].
        mask_scores: [B, 1, 1 or Q, L], 0 for keys to look at and -10000 for padding and the keys
            of other examples.
        dropout: function applied to the probabilities [B, N, Q, L], or None.
    """
    if dropout is None and _is_fast(query, key, value, mask_scores):
        return tensorflow_ops.attention(query, key, value, mask_scores)
    if not ON_TENSORFLOW:
        query = _without_sight_of_padding(query, mask_scores)
    if dropout is None and _has_attention_kernel(query, key):
        return _attend_by_kernel(query, key, value, mask_scores)
    probabilities = _probabilities(query, key, mask_scores)  # [B, N, Q, L]
    if dropout is not None:
        probabilities = dropout(probabilities)
    return ops.matmul(probabilities, value)  # [B, N, Q, D]


def attention_probabilities(query: Tensor, key: Tensor, mask_scores: Tensor) -> Tensor:
    """Returns softmax(query key^T + mask_scores), [B, N, Q, L], of arguments as of `attention`.

    The fast forms of `attention` never hold it.
    """
    if not ON_TENSORFLOW:
        query = _without_sight_of_padding(query, mask_scores)
    return _probabilities(query, key, mask_scores)


def _probabilities(query: Tensor, key: Tensor, mask_scores: Tensor) -> Tensor:
    scores = ops.matmul(query, ops.transpose(key, (0, 1, 3, 2))) + mask_scores  # [B, N, Q, L]
    if scores.shape[-1] == 1:
        return ops.ones_like(scores)  # Keras warns of a softmax over one number
    # In bfloat16 oneDNN accumulates in float32 by itself.
    is_exact = _is_open(scores) and scores.dtype == "bfloat16"
    inner = scores.dtype if is_exact else "float32"
    return ops.cast(ops.softmax(ops.cast(scores, inner), axis=-1), query.dtype)


def _without_sight_of_padding(query: Tensor, mask_scores: Tensor) -> Tensor:
    """Returns queries [B, N, Q, D] that are 0 in rows wholly of padding.

    In half precision 10,000 and a score round to one number, so that TensorFlow looks everywhere
    alike in such a row. Compilers that add in float32 would not, but for scores of 0.
    """
    if keras.backend.standardize_dtype(query.dtype) == "float32":
        return query
    return query * ops.any(mask_scores == 0, axis=-1, keepdims=True)


def _has_attention_kernel(query: Tensor, key: Tensor) -> bool:
    """Whether Keras has one operation for attention that is quicker: cuDNN's, from JAX.

    On a CPU it takes 1.3 to 1.7 times as long as the plain form, and on a TPU it reads no scores.
    Its gradient wants even lengths. `keras.config.disable_flash_attention()` leaves it alone.
    """
    return (
        keras.backend.backend() == "jax"
        and keras.backend.standardize_dtype(query.dtype) == "bfloat16"
        and query.shape[2] % 2 == key.shape[2] % 2 == 0
        and keras.distribution.list_devices()[0].startswith("gpu")
        and keras.config.is_flash_attention_enabled() is not False
    )


def _attend_by_kernel(query: Tensor, key: Tensor, value: Tensor, mask_scores: Tensor) -> Tensor:
    """Returns `attention` by the operation of Keras, which adds scores in float32."""
    # The kernel is not taken where queries would have to share one row of scores.
    times = query.shape[2] // mask_scores.shape[2]
    bias = ops.repeat(mask_scores, times, axis=2)  # [B, 1, Q, L]
    query, key, value = (ops.transpose(x, (0, 2, 1, 3)) for x in (query, key, value))
    context = ops.dot_product_attention(query, key, value, bias=bias, scale=1.0)  # [B, Q, N, D]
    return ops.transpose(context, (0, 2, 1, 3))  # [B, N, Q, D]


def cross_entropy(logits: Tensor, ids: Tensor) -> Tensor:
    """Returns -log softmax(logits)[id]: float32 [..., V] and int [...] -> float32 [...]."""
    if _is_fast(logits, ids):
        return tensorflow_ops.cross_entropy(logits, ids)
    losses = ops.sparse_categorical_crossentropy(ids, logits, from_logits=True)
    if ON_TENSORFLOW:
        return losses
    # TensorFlow refuses an id that is no class or makes NaN of it, JAX would say that it costs 0.
    is_class = ops.logical_and(ids >= 0, ids < logits.shape[-1])
    return ops.where(is_class, losses, float("nan"))


def compute_again(
    function: Callable[..., Tensor],
    hidden_states: Tensor,
    seeds: Sequence[Tensor],
    weights: Sequence[Tensor],
) -> tuple[Tensor, list[Tensor]]:
    """Returns `function(hidden_states, seeds, weights)`, of which only these are kept.

    What the backward pass needs of the inside it computes again.

    Args:
        function: all its randomness is in `seeds`, and it reads no trainable variable: gradients
            are taken of `hidden_states` and `weights` alone.
        hidden_states: [B, L, H].
        seeds: int [2] each.
        weights: float tensors.

    Returns:
        The result, and the weights for the next pass: on TensorFlow the gradients of all passes are
        added up one by one through them, where each pass would keep its own to the end.
    """
    if not ON_TENSORFLOW:
        return keras.remat(function)(hidden_states, seeds, weights), list(weights)
    return tensorflow_ops.compute_again(function, hidden_states, seeds, weights)


def run_fused(function: Callable, *tensors, **choices) -> Any:
    """Returns `function(*tensors, **choices)`, compiled where that is fast.

    Args:
        function: element-wise arithmetic and sums in `keras.ops`, without side effects.
        tensors: its operands.
        choices: Python values; each combination is compiled once.
    """
    if not _is_fast(*tensors):
        return function(*tensors, **choices)
    return tensorflow_ops.compile_fused(functools.partial(function, **choices))(*tensors)


def argmax(logits: Tensor) -> Tensor:
    """Returns the position of the largest of the last axis, int [..., V] -> [...]."""
    # Keras on TensorFlow adds five passes over the logits that tell -0.0 from 0.0.
    return tensorflow_ops.argmax(logits) if ON_TENSORFLOW else ops.argmax(logits, axis=-1)


def make_dense(gradient: Tensor) -> Tensor:
    """Returns the gradient of a variable as a tensor, also where a table's came as rows."""
    return tensorflow_ops.make_dense(gradient) if ON_TENSORFLOW else gradient


def _is_fast(*tensors) -> bool:
    """Whether to take the fast form for these operands."""
    return ON_TENSORFLOW and tensorflow_ops.is_fast(tensors, SMALLEST_FAST_SIZE)


def _is_open(tensor: Tensor) -> bool:
    """Whether a graph of TensorFlow is built whose sizes are not all known: a served model."""
    return ON_TENSORFLOW and tensorflow_ops.is_open(tensor)


def sum_over_replicas(weight: Tensor) -> Tensor:
    """Returns the weight of the whole batch, of which this replica of `fit` may hold a part.

    Keras adds up the gradients of all replicas, so each divides its sum by the whole weight.
    """
    return tensorflow_ops.sum_over_replicas(weight) if ON_TENSORFLOW else weight


def weigh_by_rows(loss: Tensor, rows: Tensor) -> Tensor:
    """Returns the loss of a replica of `fit`, whose mean over rows is that of the whole batch.

    Its gradient stays as it is: what the replica adds to that of the whole batch.
    """
    return tensorflow_ops.weigh_by_rows(loss, rows) if ON_TENSORFLOW else loss


def skip_steps_of_all_replicas(optimizer: keras.optimizers.Optimizer | None) -> None:
    """Has a step of `fit` skipped where scaled gradients overflow on any replica."""
    if ON_TENSORFLOW:
        tensorflow_ops.skip_steps_of_all_replicas(optimizer)


def seed_of_replica(seed: Tensor) -> Tensor:
    """Returns the seed of dropout on this replica of `fit`, [2], or the seed where there is one."""
    return tensorflow_ops.seed_of_replica(seed) if ON_TENSORFLOW else seed


def check_one_worker() -> None:
    """Refuses what Keras cannot do on TensorFlow under several workers.

    Raises:
        RuntimeError: naming our commands.
    """
    if ON_TENSORFLOW:
        tensorflow_ops.check_one_worker()


def compile_by_shape(function: Callable[..., Any], jit_compile: bool = False) -> Callable[..., Any]:
    """Returns `function` of a batch, compiled once for each combination of shapes it is given.

    The layers' fast forms need shapes that are known when they are compiled. What is given beside
    the batch must be tensors of one shape.

    Raises:
        TensorFlowNeededError: where Keras does not run on TensorFlow.
    """
    tensorflow_needs.check_backend("a step of the trainers")
    compiled = {}

    def call(batch: Batch, *rest: Tensor) -> Any:
        shapes = tuple((name, tuple(value.shape)) for name, value in sorted(batch.items()))
        if shapes not in compiled:
            compiled[shapes] = tensorflow_ops.compile_graph(function, jit_compile)
        return compiled[shapes](batch, *rest)

    return call
