"""Losses and accuracies, each as (weighted sum, sum of weights).

Both numbers are needed to average correctly over any grouping of batches: add up each, then divide.

Letters: B batch, L sequence length, P prediction slots, V vocabulary, C classes.
"""

import contextlib
import inspect
from typing import Any

import keras
import numpy as np
from keras import ops

from albert_tf.model import fused_ops
from albert_tf.model.tensors import Tensor, WeightedSum


def cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> WeightedSum:
    """Returns (sum of w * -log softmax(logits)[label], sum of w), two float32 scalars.

    Args:
        logits: [..., C] in any float dtype; the loss is computed in float32. For masked words
            [B, P, V].
        labels: int [...].
        weights: float [...], 1 for what counts and 0 for an empty slot; None counts all.
    """
    # Sparse: a one-hot [B, P, V] would be the largest tensor of the whole model.
    losses = fused_ops.cross_entropy(ops.cast(logits, "float32"), labels)
    return _weighted_sum(losses, weights)


def accuracy(logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> WeightedSum:
    """Returns (sum of w * [argmax = label], sum of w); arguments as of `cross_entropy`."""
    best = fused_ops.argmax(logits)
    return _weighted_sum(ops.equal(best, ops.cast(labels, best.dtype)), weights)


def mean(values: Tensor) -> WeightedSum:
    """Returns (sum, number) of values, numbers or bool."""
    return _weighted_sum(values, None)


def squared_error(
    predictions: Tensor, labels: Tensor, weights: Tensor | None = None
) -> WeightedSum:
    """Returns (sum of w * (prediction - label)^2, sum of w) for float [B] and [B]."""
    difference = ops.cast(predictions, "float32") - ops.cast(labels, "float32")
    return _weighted_sum(ops.square(difference), weights)


def binary_cross_entropy(
    logits: Tensor, labels: Tensor, weights: Tensor | None = None
) -> WeightedSum:
    """Returns (sum of w * -log p(label), sum of w), p(1) = sigmoid(logit), for [B], 0 or 1 [B]."""
    labels = ops.cast(labels, "float32")
    losses = ops.binary_crossentropy(labels, ops.cast(logits, "float32"), from_logits=True)
    return _weighted_sum(losses, weights)


def labels_cross_entropy(
    logits: Tensor, labels: Tensor, weights: Tensor | None = None
) -> WeightedSum:
    """Returns (sum of w * -log p(label) / C, sum of w / C), p(1) = sigmoid(logit): several labels.

    Args:
        logits: [B, C] in any float dtype; the loss is computed in float32.
        labels: 0 or 1 [B, C].
        weights: float [B] of texts, or [B, C]; None counts all.
    """
    labels = ops.cast(labels, "float32")
    losses = ops.binary_crossentropy(labels, ops.cast(logits, "float32"), from_logits=True)
    return _mean_over_labels(losses, weights)


def labels_accuracy(logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> WeightedSum:
    """Returns (sum of w * share of labels on the right side, sum of w); as the cross-entropy."""
    return _mean_over_labels(ops.equal(logits > 0, ops.cast(labels, "bool")), weights)


def _mean_over_labels(values: Tensor, weights: Tensor | None) -> WeightedSum:
    values = ops.cast(values, "float32")  # [B, C]
    if weights is not None and len(weights.shape) == 1:
        weights = ops.expand_dims(ops.cast(weights, "float32"), 1) * ops.ones_like(values)
    total, weight = _weighted_sum(values, weights)
    return total / values.shape[1], weight / values.shape[1]


def binary_accuracy(logits: Tensor, labels: Tensor, weights: Tensor | None = None) -> WeightedSum:
    """Returns (sum of w * [logit on the side of its label], sum of w), for [B] and 0 or 1 [B]."""
    return _weighted_sum(ops.equal(logits > 0, ops.cast(labels, "bool")), weights)


def span_cross_entropy(
    start_logits: Tensor,
    end_logits: Tensor,
    start_positions: Tensor,
    end_positions: Tensor,
    weights: Tensor | None = None,
) -> WeightedSum:
    """Returns (sum of w * mean of both cross-entropies, sum of w), logits [B, L] and int [B].

    As `create_v1_model` of the original: the start and the end count half each.
    """
    start_sum, count = cross_entropy(start_logits, start_positions, weights)
    end_sum, _ = cross_entropy(end_logits, end_positions, weights)
    return (start_sum + end_sum) / 2, count


def span_accuracy(
    start_logits: Tensor,
    end_logits: Tensor,
    start_positions: Tensor,
    end_positions: Tensor,
    weights: Tensor | None = None,
) -> WeightedSum:
    """Returns (sum of w * [start and end right], sum of w); arguments as of the loss."""
    starts, ends = fused_ops.argmax(start_logits), fused_ops.argmax(end_logits)
    right = ops.logical_and(
        ops.equal(starts, ops.cast(start_positions, starts.dtype)),
        ops.equal(ends, ops.cast(end_positions, ends.dtype)),
    )
    return _weighted_sum(right, weights)


def _weighted_sum(values: Tensor, weights: Tensor | None) -> WeightedSum:
    values = ops.cast(values, "float32")
    if weights is None:
        return ops.sum(values), ops.cast(ops.size(values), "float32")
    weights = ops.cast(weights, "float32")
    return ops.sum(values * weights), ops.sum(weights)


# Those that know no `from_logits`, by whose value the others are told.
_WITHOUT_LOGITS = (
    keras.losses.kl_divergence,
    keras.losses.dice,
    keras.losses.tversky,
    keras.losses.categorical_generalized_cross_entropy,
    keras.metrics.binary_accuracy,
)
_OF_PROBABILITIES = (
    keras.losses.sparse_categorical_crossentropy,
    keras.losses.categorical_crossentropy,
    keras.losses.binary_crossentropy,
    keras.losses.categorical_focal_crossentropy,
    keras.losses.binary_focal_crossentropy,
    *_WITHOUT_LOGITS,
)


def check_take_logits(losses_and_metrics: Any, owner: str) -> None:
    """Refuses losses and metrics of Keras, in any structure, that read probabilities."""
    for loss_or_metric in keras.tree.flatten(losses_and_metrics):
        _check_takes_logits(loss_or_metric, owner)


def _check_takes_logits(loss_or_metric: Any, owner: str) -> None:
    name = loss_or_metric
    if not isinstance(name, str):
        name = getattr(name, "__name__", type(name).__name__)
    if _reads_probabilities(_by_name(loss_or_metric)):
        raise ValueError(
            f"a loss or metric for {owner}, whose outputs are logits, must have from_logits=True, "
            "such as keras.losses.SparseCategoricalCrossentropy(from_logits=True), or the "
            "threshold 0, such as keras.metrics.Precision(thresholds=0); without a loss "
            f"`compile` takes the model's own. Received: {name!r}"
        )


def of_several_labels(metrics: Any) -> Any:
    """Returns metrics for logits of several labels a text.

    Keras takes "accuracy" of one label for a comparison with 1, of more for which is the largest.
    """
    return keras.tree.map_structure(
        lambda metric: (
            keras.metrics.BinaryAccuracy("accuracy", threshold=0)
            if metric in ("accuracy", "acc")
            else metric
        ),
        metrics,
    )


def _by_name(loss_or_metric: Any) -> Any:
    """Returns what Keras makes of a name or of a class of its own, or what is neither as it is."""
    if inspect.isclass(loss_or_metric) and loss_or_metric.__module__.startswith("keras."):
        with contextlib.suppress(TypeError):  # one that wants arguments, which Keras will refuse
            return loss_or_metric()
    if not isinstance(loss_or_metric, str):
        return loss_or_metric
    for find in (keras.losses.get, keras.metrics.get):
        try:
            return find(loss_or_metric)
        except ValueError:  # a metric such as "accuracy", or a name that Keras will refuse
            continue
    return None


def _reads_probabilities(function: Any) -> bool:
    from_logits = getattr(function, "from_logits", getattr(function, "_from_logits", None))
    if from_logits is not None:
        return not from_logits
    wrapped = getattr(function, "fn", getattr(function, "_fn", None))
    thresholds = None
    if type(function).__module__.startswith("keras."):  # others may mean their own
        thresholds = getattr(function, "thresholds", getattr(function, "threshold", None))
    return (
        function in _OF_PROBABILITIES
        or wrapped in _WITHOUT_LOGITS
        or (thresholds is not None and np.any(np.ravel(thresholds)))
    )


# A logit whose probability is 0, with a gradient that is a number.
_NEVER = -1e9


def in_batch_ranking(
    vectors: Tensor,
    temperature: float,
    weights: Tensor | None = None,
    same_as_own: Tensor | None = None,
) -> WeightedSum:
    """Returns the loss of telling each text's own second text from all others of the batch.

    The cross-entropy of a softmax over cosines divided by the temperature: the first text of an
    example is compared with the second texts of all B examples, and with their thirds, which are
    nobody's own. So a batch of more examples is a harder question, and what counts is the part of
    the batch that is computed at once.

    Args:
        vectors: float [B, C, H] of length 1, C 2 or 3: text, its like, and one that is not like it.
        temperature: what cosines are divided by.
        weights: float [B]; None for 1.
        same_as_own: bool [B, B * (C - 1)], the second texts of all examples, then their thirds:
            those that are the example's own second text, or copies of it. Copies are not among
            what it is told from. None for no copies.
    """
    firsts = vectors[:, 0]  # [B, H]
    size = vectors.shape[-1]
    # The second texts of all examples, then their thirds.
    candidates = ops.reshape(ops.transpose(vectors[:, 1:], (1, 0, 2)), (-1, size))
    scores = ops.matmul(firsts, ops.transpose(candidates)) / temperature  # [B, B * (C - 1)]
    own = ops.arange(ops.shape(scores)[0], dtype="int32")
    if same_as_own is not None:
        places = ops.arange(ops.shape(scores)[1], dtype="int32")
        is_copy = ops.logical_and(same_as_own, ops.not_equal(own[:, None], places[None]))
        scores = ops.where(is_copy, ops.full_like(scores, _NEVER), scores)
    return cross_entropy(scores, own, weights)
