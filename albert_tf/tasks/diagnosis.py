"""What a task found out about a model's answers, for whoever shows it."""

import dataclasses
import typing

import numpy as np


@dataclasses.dataclass(frozen=True)
class Confusion:
    """How often each class was taken for which: `labels` [C], `counts` int [gold, predicted]."""

    labels: list[str]
    counts: np.ndarray


@dataclasses.dataclass(frozen=True)
class LabelScores:
    """How each of several labels a text fares; lists of C.

    Attributes:
        labels: names.
        gold, predicted, right: in how many texts it is, is predicted, and both.
        thresholds: probabilities from which on it is predicted.
        curves: its F1 at each threshold of `PLACES`.
    """

    PLACES: typing.ClassVar = tuple(place / 20 for place in range(1, 20))

    labels: list[str]
    gold: list[int]
    predicted: list[int]
    right: list[int]
    thresholds: list[float]
    curves: list[list[float]]


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
