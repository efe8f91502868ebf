"""The two pretraining losses and their accuracies, each as (weighted sum, sum of weights).

Both numbers are needed to average correctly over any grouping of batches: add up each, then divide.

Letters: B batch, P prediction slots, V vocabulary.
"""

from keras import ops

from albert_tf import fused_ops


def masked_lm_loss(logits, ids, weights):
    """Returns (sum of w * -log p(id), sum of w), two float32 scalars.

    Args:
        logits: [B, P, V] in any float dtype; the loss is computed in float32.
        ids: int [B, P], the words that were masked.
        weights: float [B, P], 1 for a prediction and 0 for an empty slot.
    """
    weights = ops.cast(weights, "float32")
    return ops.sum(_cross_entropy(logits, ids) * weights), ops.sum(weights)


def masked_lm_accuracy(logits, ids, weights):
    """Returns (sum of w * [argmax = id], sum of w); arguments as of `masked_lm_loss`."""
    weights = ops.cast(weights, "float32")
    return ops.sum(_is_best(logits, ids) * weights), ops.sum(weights)


def sentence_order_loss(logits, labels):
    """Returns (sum of -log p(label), B), two float32 scalars.

    Args:
        logits: [B, 2] in any float dtype.
        labels: int [B], 0 for segments in their order and 1 for swapped ones.
    """
    losses = _cross_entropy(logits, labels)  # [B]
    return ops.sum(losses), ops.cast(ops.size(losses), "float32")


def sentence_order_accuracy(logits, labels):
    """Returns (number of right answers, B); arguments as of `sentence_order_loss`."""
    hits = _is_best(logits, labels)  # [B]
    return ops.sum(hits), ops.cast(ops.size(hits), "float32")


def _cross_entropy(logits, ids):
    # Sparse: a one-hot [B, P, V] would be the largest tensor of the whole model.
    return fused_ops.cross_entropy(ops.cast(logits, "float32"), ids)


def _is_best(logits, ids):
    best = fused_ops.argmax(logits)
    return ops.cast(ops.equal(best, ops.cast(ids, best.dtype)), "float32")
