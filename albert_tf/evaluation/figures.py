"""Accuracy and loss of some predictions, with standard errors."""

from collections.abc import Mapping

import numpy as np

# {"predictions", "accuracy", "accuracy_error", and perhaps "loss", "loss_error", baselines}.
Figures = dict[str, float]


def mean_and_error(values: np.ndarray, texts: np.ndarray) -> tuple[float, float]:
    """Returns the mean of values and its standard error.

    Predictions of one text are not independent of each other, so what varies is the text: the error
    is sqrt(sum over texts of (sum of deviations in the text)^2) / n, the cluster-robust one (Liang
    and Zeger 1986, 10.1093/biomet/73.1.13), here of a mean. With one prediction a text it is
    sqrt(p (1 - p) / n) of a share p.

    Args:
        values: float [n], not empty.
        texts: int [n], the text that each belongs to.

    >>> mean_and_error(np.array([1, 0, 1, 1]), np.arange(4))
    (0.75, 0.21650635094610965)
    """
    mean = values.mean(dtype=np.float64)
    deviations = np.bincount(texts, weights=values - mean)
    return float(mean), float(np.sqrt(np.square(deviations).sum()) / len(values))


def measure(
    is_right: np.ndarray,
    texts: np.ndarray,
    losses: np.ndarray | None = None,
    baseline: Mapping[str, np.ndarray] | None = None,
) -> Figures:
    """Returns the figures of n predictions, n above 0.

    Args:
        is_right: bool [n].
        texts: int [n], the text that each belongs to.
        losses: float [n], in nats.
        baseline: {name: value of each prediction, [n]}, of which the means are given.
    """
    accuracy, error = mean_and_error(is_right, texts)
    figures = {"predictions": len(is_right), "accuracy": accuracy, "accuracy_error": error}
    if losses is not None:
        figures["loss"], figures["loss_error"] = mean_and_error(losses, texts)
    means = {name: float(values.mean()) for name, values in (baseline or {}).items()}
    return figures | means
