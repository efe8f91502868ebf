"""The arithmetic of a transformer block, in the form that costs least.

Letters: B batch, L keys, Q queries (L, or fewer in the last layer), H hidden size, N heads,
D head size.
"""

from keras import ops

ACTIVATIONS = {
    "gelu_new": lambda x: ops.gelu(x, approximate=True),
    "gelu": lambda x: ops.gelu(x, approximate=False),
    "relu": ops.relu,
}


def bias_activation(x, bias, activation):
    """Returns `activation(x + bias)` in the dtype of `x` [T, H]."""
    return ACTIVATIONS[activation](x + bias)


def layer_norm(x, gamma, beta, epsilon):
    """Returns layer normalisation over the last axis, computed in float32, in the dtype of `x`."""
    dtype = x.dtype
    x = ops.cast(x, "float32")
    mean = ops.mean(x, axis=-1, keepdims=True)
    centered = x - mean
    variance = ops.mean(ops.square(centered), axis=-1, keepdims=True)
    return ops.cast(centered * ops.rsqrt(variance + epsilon) * gamma + beta, dtype)


def attention_probabilities(query, key, mask):
    """Returns softmax(query key^T + mask) [B, N, Q, L].

    Args:
        query: [B, N, Q, D], already divided by sqrt(D).
        key: [B, N, L, D].
        mask: [B, 1, 1, L], 0 for keys to look at and -10000 for padding.
    """
    scores = ops.matmul(query, ops.transpose(key, (0, 1, 3, 2))) + mask  # [B, N, Q, L]
    return ops.cast(ops.softmax(ops.cast(scores, "float32"), axis=-1), query.dtype)
