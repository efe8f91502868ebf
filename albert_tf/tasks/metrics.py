"""The official metrics of GLUE, and entities as CoNLL counts them.

Arithmetic by scikit-learn and SciPy. N examples.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats
from sklearn import metrics as sklearn_metrics


def accuracy(labels: ArrayLike, predictions: ArrayLike) -> float:
    """Returns the share of predictions that equal their label, int or str [N] each."""
    return float(sklearn_metrics.accuracy_score(labels, predictions))


def f1(labels: ArrayLike, predictions: ArrayLike) -> float:
    """Returns F1 of class 1, as GLUE has it for MRPC and QQP; 0 where class 1 never occurs."""
    return float(sklearn_metrics.f1_score(labels, predictions, pos_label=1, zero_division=0))


def macro_f1(labels: ArrayLike, predictions: ArrayLike) -> float:
    """Returns the mean of F1 over the classes that occur."""
    return float(sklearn_metrics.f1_score(labels, predictions, average="macro", zero_division=0))


def balanced_accuracy(labels: ArrayLike, predictions: ArrayLike) -> float:
    """Returns the mean over the classes that occur of the share of each that is found."""
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    recalls = [np.mean(predictions[labels == name] == name) for name in np.unique(labels)]
    return float(np.mean(recalls))


def matthews(labels: ArrayLike, predictions: ArrayLike) -> float:
    """Returns Matthews' correlation, 0 where all labels or all predictions are the same."""
    return float(sklearn_metrics.matthews_corrcoef(labels, predictions))


def pearson(labels: ArrayLike, predictions: ArrayLike) -> float:
    """Returns Pearson's correlation of float [N] and [N], 0 where one side is constant."""
    return _correlation(stats.pearsonr, labels, predictions)


def spearman(labels: ArrayLike, predictions: ArrayLike) -> float:
    """Returns the correlation of ranks of float [N] and [N], 0 where one side is constant."""
    return _correlation(stats.spearmanr, labels, predictions)


def _correlation(function: Callable, labels: ArrayLike, predictions: ArrayLike) -> float:
    if np.ptp(labels) == 0 or np.ptp(predictions) == 0:
        return 0.0
    return float(function(labels, predictions).statistic)


METRICS = {
    "accuracy": accuracy,
    "f1": f1,
    "macro_f1": macro_f1,
    "balanced_accuracy": balanced_accuracy,
    "matthews": matthews,
    "pearson": pearson,
    "spearman": spearman,
}


def label_counts(
    labels: np.ndarray, predictions: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns how often each label is rightly predicted, is there, is predicted, int [C] each.

    Args:
        labels, predictions: bool [N, C].
    """
    right = np.sum(labels & predictions, axis=0)
    return right, np.sum(labels, axis=0), np.sum(predictions, axis=0)


def f1_of_counts(right: np.ndarray, gold: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Returns 2 right / (gold + predicted), 0 where a label is neither there nor predicted."""
    total = np.asarray(gold + predicted, float)
    return np.divide(2.0 * right, total, out=np.zeros_like(total), where=total > 0)


def label_scores(labels: np.ndarray, predictions: np.ndarray) -> dict[str, float]:
    """Returns the scores of several labels a text, bool [N, C] each.

    Returns:
        {"micro_f1": of all decisions together, "macro_f1": the mean over labels, "subset_accuracy":
        the share of texts of which every label is right}.
    """
    counts = label_counts(labels, predictions)
    return {
        "micro_f1": float(f1_of_counts(*(np.sum(count) for count in counts))),
        "macro_f1": float(np.mean(f1_of_counts(*counts))),
        "subset_accuracy": float(np.mean(np.all(labels == predictions, axis=1))),
    }


def best_threshold(probabilities: np.ndarray, is_true: np.ndarray) -> float:
    """Returns the threshold with the best F1 of one label; of several that are as good the one
    nearest to 0.5, and 0.5 where there is nothing to choose by.

    Args:
        probabilities: float [N]; a text has the label from the threshold on.
        is_true: bool [N].
    """
    if not np.any(is_true):
        return 0.5
    order = np.argsort(-np.asarray(probabilities, float), kind="stable")
    sorted_probabilities = np.asarray(probabilities, float)[order]
    # The first n + 1 have the label: possible where the next one is less probable.
    below = np.append(sorted_probabilities[1:], -1.0)
    right = np.cumsum(np.asarray(is_true)[order])
    f1 = f1_of_counts(right, right[-1], np.arange(1, len(order) + 1))
    f1 = np.where(below < sorted_probabilities, f1, -1.0)
    is_best = f1 > f1.max() - 1e-12
    halfway = (sorted_probabilities + np.maximum(below, 0)) / 2
    is_between = (below < 0.5) & (sorted_probabilities >= 0.5)
    thresholds = np.where(is_between, 0.5, halfway)[is_best]
    return float(thresholds[np.argmin(np.abs(thresholds - 0.5))])


def entity_f1(
    labels: Sequence[Sequence[str]], predictions: Sequence[Sequence[str]]
) -> dict[str, float]:
    """Returns precision, recall and F1 of entities, counted as the `conlleval` script does.

    An entity is right if its first word, its last word and its type are.

    Args:
        labels, predictions: for each sentence a list of tags: `O`, or a prefix and a type such as
            `B-PER`. The prefixes B and I (in either reading of IOB), E, L, S and U are known.

    Returns:
        {"entity_precision", "entity_recall", "entity_f1"}, each 0 where nothing is to be counted.

    Raises:
        ValueError: if a sentence has another number of tags in `predictions`.
    """
    num_gold = num_predicted = num_right = 0
    for number, (gold, predicted) in enumerate(zip(labels, predictions, strict=True)):
        if len(gold) != len(predicted):
            raise ValueError(
                f"sentence {number} must have {len(gold)} predicted tags. "
                f"Received: {len(predicted)}"
            )
        gold, predicted = set(entities_of(gold)), set(entities_of(predicted))
        num_gold += len(gold)
        num_predicted += len(predicted)
        num_right += len(gold & predicted)
    precision = num_right / num_predicted if num_predicted else 0.0
    recall = num_right / num_gold if num_gold else 0.0
    total = precision + recall
    return {
        "entity_precision": precision,
        "entity_recall": recall,
        "entity_f1": 2 * precision * recall / total if total else 0.0,
    }


def entities_of(tags: Sequence[str]) -> list[tuple[str, int, int]]:
    """Returns (type, first, last) of each entity in the tags of one sentence.

    As `conlleval`: an entity starts at B, S or U, at any tag behind O or another type, and behind
    E, L, S or U; `["B-PER", "I-PER", "O", "I-LOC", "B-LOC"]` ->
    `[("PER", 0, 1), ("LOC", 3, 3), ("LOC", 4, 4)]`.
    """
    entities = []
    before_prefix, before_kind = "O", None
    for index, tag in enumerate(tags):
        prefix, _, kind = tag.partition("-")
        if prefix != "O":
            goes_on = (
                before_prefix not in ("O", "E", "L", "S", "U")
                and prefix not in ("B", "S", "U")
                and kind == before_kind
            )
            if goes_on:
                entities[-1] = (kind, entities[-1][1], index)
            else:
                entities.append((kind, index, index))
        before_prefix, before_kind = prefix, kind
    return entities
