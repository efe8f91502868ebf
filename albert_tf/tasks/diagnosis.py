"""What a task found out about a model's answers, for whoever shows it."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Confusion:
    """How often each class was taken for which: `labels` [C], `counts` int [C right, C said]."""

    labels: list[str]
    counts: np.ndarray


@dataclasses.dataclass(frozen=True)
class ScoreHistogram:
    """Numbers predicted beside the right ones, or scores alone where `gold` is None."""

    title: str
    gold: list[float] | None
    predicted: list[float]


@dataclasses.dataclass(frozen=True)
class ErrorSample:
    """One example that was answered wrongly; `inputs` is {what it is: text}.

    `score` is what stands beside it, a `score_name`.
    """

    inputs: dict[str, str]
    gold: str
    predicted: str
    score: float | None
    score_name: str = "score"
