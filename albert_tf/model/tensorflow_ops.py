"""The forms of `fused_ops` that are TensorFlow's alone, the fast ones for training on CPUs.

- Chains of element-wise operations are compiled with XLA, in float32 inside, and the products left
  to oneDNN, which is several times faster at them.
- Gradients are written by hand and keep what the backward pass needs instead of computing it again.
- Columns are added up as a product with a row of ones.

`fused_ops` decides where they are taken; it alone imports this, where Keras runs on TensorFlow.

Letters: B batch, L keys, Q queries (L, or fewer in the last layer), T rows (tokens), H width,
N heads, D head size, V vocabulary, E embedding size.
"""

import math
from collections.abc import Callable, Sequence

import keras
import tensorflow as tf
from keras import ops

from albert_tf.model.tensors import Tensor


def is_fast(tensors: Sequence[Tensor], smallest_size: int) -> bool:
    """Whether the fast form pays for these operands, the largest of at least `smallest_size`."""
    if tf.executing_eagerly():
        return False
    shapes = [tf.TensorShape(tensor.shape) for tensor in tensors]
    return (
        all(shape.is_fully_defined() for shape in shapes)
        and max(shape.num_elements() for shape in shapes) >= smallest_size
        and not tf.config.list_physical_devices("GPU")
    )


def is_open(tensor: Tensor) -> bool:
    """Whether a graph is built whose sizes are not all known: a served model."""
    return not tf.executing_eagerly() and not tf.TensorShape(tensor.shape).is_fully_defined()


def compile_fused(function: Callable) -> Callable:
    """Returns element-wise arithmetic compiled into one pass."""
    return tf.function(function, jit_compile=True, autograph=False)


def compile_graph(function: Callable, jit_compile: bool) -> Callable:
    """Returns a function of a batch as a graph, with `jit_compile` one that XLA compiles."""
    # Keras layers are graph code already, so AutoGraph would only cost tracing time.
    return tf.function(function, autograph=False, jit_compile=jit_compile)


def make_dense(gradient: Tensor) -> Tensor:
    """Returns the gradient of a table, which may come as rows to be added up, as a tensor."""
    return tf.convert_to_tensor(gradient) if isinstance(gradient, tf.IndexedSlices) else gradient


def compute_again(
    function: Callable[..., Tensor],
    hidden_states: Tensor,
    seeds: Sequence[Tensor],
    weights: Sequence[Tensor],
) -> tuple[Tensor, list[Tensor]]:
    """Returns what a function gives, and the weights for the next one; see `fused_ops`."""

    @tf.custom_gradient
    def run(hidden_states: Tensor, *others: Tensor) -> tuple[list[Tensor], Callable]:
        seeds_in, weights_in = others[: len(seeds)], others[len(seeds) :]
        # Stopped, so that no tape keeps what is computed inside.
        stopped = [tf.stop_gradient(weight) for weight in weights_in]
        outputs = function(tf.stop_gradient(hidden_states), seeds_in, stopped)

        def gradient(upstream: Tensor, *to_weights: Tensor) -> list[Tensor | None]:
            late = _late_zero(upstream)
            late_seeds = [seed + tf.cast(late, seed.dtype) for seed in seeds_in]
            inputs = [hidden_states + tf.cast(late, hidden_states.dtype), *weights_in]
            with tf.GradientTape() as tape:
                tape.watch(inputs)
                again = function(inputs[0], late_seeds, inputs[1:])
            to_hidden, *more = tape.gradient(
                again, inputs, upstream, unconnected_gradients=tf.UnconnectedGradients.ZERO
            )
            sums = [one + other for one, other in zip(to_weights, more, strict=True)]
            # So that they are added now: TensorFlow would make one sum of all passes at the end.
            with tf.control_dependencies(sums):
                to_hidden = tf.identity(to_hidden)
            return [to_hidden, *(None for _ in seeds), *sums]

        return [outputs, *map(tf.identity, weights_in)], gradient

    outputs, *weights_out = run(hidden_states, *seeds, *weights)
    return outputs, weights_out


def _late_zero(upstream: Tensor) -> Tensor:
    """Returns an int32 0 that is there when `upstream` is, and that no compiler sees through.

    What is computed with it is not what the forward pass computed: TensorFlow's and XLA's searches
    for common expressions would take that again, and keep it for the purpose.
    """
    first = tf.cast(tf.reshape(upstream, (-1,))[0], tf.float32)
    bits = tf.bitwise.bitwise_and(tf.bitcast(first, tf.int32), 2**31 - 1)
    return tf.bitwise.right_shift(bits, 31)


def argmax(logits: Tensor) -> Tensor:
    """Returns the int64 position of the largest of the last axis, [..., V] -> [...]."""
    return tf.argmax(logits, axis=-1)


def dense(inputs: Tensor, kernel: Tensor, bias: Tensor, activate: Callable | None) -> Tensor:
    """Returns `activate(inputs kernel + bias)`, one operation where nothing stands between them."""
    rows = tf.reshape(inputs, (-1, inputs.shape[-1]))  # [T, in]
    rows = tf.nn.bias_add(tf.matmul(rows, kernel), bias)  # [T, out]
    rows = rows if activate is None else activate(rows)
    return tf.reshape(rows, (*ops.shape(inputs)[:-1], rows.shape[-1]))  # [..., out]


def _column_sums(rows: Tensor) -> Tensor:
    """Returns the sums over all axes but the last, [..., H] -> [H]."""
    rows = tf.reshape(rows, (-1, rows.shape[-1]))  # [T, H]
    ones = tf.ones((1, rows.shape[0]), rows.dtype)
    return tf.matmul(ones, rows)[0]  # [H]


def gather(table: Tensor, ids: Tensor) -> Tensor:
    """Returns the rows of `table` [V, E] that `ids` name, [..., E]; a CPU refuses other ids."""
    return tf.gather(table, ids)


def embed(table: Tensor, ids: Tensor) -> Tensor:
    """Returns the rows of `table` [V, E] that `ids` name, [..., E]."""

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
def add_bias(inputs: Tensor, bias: Tensor) -> tuple[Tensor, Callable]:
    """Returns `inputs + bias` in the dtype of `inputs` [..., H]."""

    def gradient(upstream: Tensor) -> tuple[Tensor, Tensor]:
        return upstream, tf.cast(_column_sums(upstream), bias.dtype)

    return _add(inputs, bias), gradient


def bias_activation(inputs: Tensor, bias: Tensor, activation: str) -> Tensor:
    """Returns `activation(inputs + bias)` in the dtype of `inputs` [..., H]."""

    @tf.custom_gradient
    def activate(inputs: Tensor, bias: Tensor) -> tuple[Tensor, Callable]:
        outputs, slopes = _ACTIVATION_KERNELS[activation](inputs, bias)

        def gradient(upstream: Tensor) -> tuple[Tensor, Tensor]:
            to_inputs = _product(upstream, slopes)
            return to_inputs, _column_sums(to_inputs)

        return outputs, gradient

    return activate(inputs, bias)


@compile_fused
def _product(left: Tensor, right: Tensor) -> Tensor:
    return left * right


@compile_fused
def _gelu_new(inputs: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the tanh GELU of inputs + bias, and its slope there."""
    x = tf.cast(inputs, tf.float32) + tf.cast(bias, tf.float32)
    scale, cubic = math.sqrt(2 / math.pi), 0.044715
    tanh = tf.tanh(scale * (x + cubic * x * x * x))
    half = 0.5 * (1 + tanh)
    slope = half + x * 0.5 * (1 - tanh * tanh) * scale * (1 + 3 * cubic * x * x)
    return tf.cast(x * half, inputs.dtype), tf.cast(slope, inputs.dtype)


@compile_fused
def _gelu(inputs: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the erf GELU of inputs + bias, and its slope there."""
    x = tf.cast(inputs, tf.float32) + tf.cast(bias, tf.float32)
    half = 0.5 * (1 + tf.math.erf(x * math.sqrt(0.5)))
    slope = half + x * tf.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)
    return tf.cast(x * half, inputs.dtype), tf.cast(slope, inputs.dtype)


@compile_fused
def _relu(inputs: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the positive part of inputs + bias, and its slope there."""
    x = inputs + bias
    return tf.maximum(x, 0), tf.cast(x > 0, inputs.dtype)


_ACTIVATION_KERNELS = {"gelu_new": _gelu_new, "gelu": _gelu, "relu": _relu}


def residual_layer_norm(
    inputs: Tensor, bias: Tensor, residual: Tensor, gamma: Tensor, beta: Tensor, epsilon: float
) -> Tensor:
    """Returns the normalised `residual + inputs + bias` in the dtype of `inputs` [..., H]."""

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


@compile_fused
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


@compile_fused
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
def attention(
    query: Tensor, key: Tensor, value: Tensor, mask_scores: Tensor
) -> tuple[Tensor, Callable]:
    """Returns softmax(query key^T + mask_scores) value, [B, N, Q, D]."""
    scores = _add(tf.matmul(query, key, transpose_b=True), mask_scores)  # [B, N, Q, L]
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


@compile_fused
def _add(left: Tensor, right: Tensor) -> Tensor:
    """Returns the sum in the dtype of `left`; the smaller `right` is stretched."""
    return tf.cast(left + tf.cast(right, left.dtype), left.dtype)


@compile_fused
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


def cross_entropy(logits: Tensor, ids: Tensor) -> Tensor:
    """Returns -log softmax(logits)[id]: float32 [..., V] and int [...] -> float32 [...]."""
    rows = tf.reshape(logits, (-1, logits.shape[-1]))  # [T, V]
    losses = _cross_entropy_of_rows(rows, tf.reshape(ids, (-1,)))  # [T]
    return tf.reshape(losses, ids.shape)  # [...]


@tf.custom_gradient
def _cross_entropy_of_rows(logits: Tensor, ids: Tensor) -> tuple[Tensor, Callable]:
    largest, normalizer = _softmax_parts(logits)  # [T, 1] each
    label_logits = tf.gather(logits, ids, batch_dims=1)  # [T]
    losses = (tf.math.log(normalizer) + largest)[:, 0] - label_logits  # [T]

    def gradient(upstream: Tensor) -> tuple[Tensor, None]:
        to_logits = _scaled_softmax(logits, largest, upstream[:, None] / normalizer)  # [T, V]
        rows = tf.range(tf.shape(ids)[0], dtype=ids.dtype)
        places = tf.stack([rows, ids], axis=1)  # [T, 2]
        return tf.tensor_scatter_nd_sub(to_logits, places, upstream), None

    return losses, gradient


@compile_fused
def _softmax_parts(logits: Tensor) -> tuple[Tensor, Tensor]:
    largest = tf.reduce_max(logits, axis=-1, keepdims=True)
    return largest, tf.reduce_sum(tf.exp(logits - largest), axis=-1, keepdims=True)


@compile_fused
def _scaled_softmax(logits: Tensor, largest: Tensor, factors: Tensor) -> Tensor:
    return tf.exp(logits - largest) * factors


def sum_over_replicas(weight: Tensor) -> Tensor:
    """Returns the sum of `weight` over the replicas of a strategy, if there are several."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return weight
    return context.all_reduce(tf.distribute.ReduceOp.SUM, weight)


def weigh_by_rows(loss: Tensor, rows: Tensor) -> Tensor:
    """Returns a loss of this replica with another value and the same gradient.

    Keras reports the mean of the losses over replicas, each by its number of rows, so that the last
    rows of a dataset, of which a replica may have fewer, would count more than once.

    Args:
        loss: what this replica adds to the loss of the whole batch.
        rows: how many rows of the batch it has.
    """
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return loss
    rows = tf.cast(rows, loss.dtype)
    mean = sum_over_replicas(rows) / context.num_replicas_in_sync
    return loss + tf.stop_gradient(loss * (tf.math.divide_no_nan(mean, rows) - 1))


def skip_steps_of_all_replicas(optimizer: keras.optimizers.Optimizer | None) -> None:
    """Has a step skipped whose gradients overflow on any replica: Keras asks the first alone."""
    if not isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        return
    if "check_finite" in vars(optimizer):  # as of an earlier `compile`
        return
    is_finite = optimizer.check_finite

    def check_finite(grads: Sequence[Tensor | None]) -> Tensor:
        return sum_over_replicas(tf.cast(tf.logical_not(is_finite(grads)), tf.float32)) == 0

    optimizer.check_finite = check_finite


def seed_of_replica(seed: Tensor) -> Tensor:
    """Returns a seed of this replica's own: Keras's generators draw the same on each."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return seed
    return tf.random.fold_in(seed, context.replica_id_in_sync_group)


def check_one_worker() -> None:
    """Refuses a strategy of several workers.

    Raises:
        RuntimeError: naming our commands.
    """
    resolver = getattr(tf.distribute.get_strategy(), "cluster_resolver", None)
    tasks = resolver.cluster_spec().as_dict().values() if resolver else ()
    if sum(map(len, tasks)) > 1:
        raise RuntimeError(
            "Keras 3 cannot fit under several workers (keras-team/keras#20585): run_pretraining "
            "and run_finetuning can, see docs/distribution.md. MirroredStrategy on one machine "
            "works with fit"
        )
