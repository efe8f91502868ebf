"""How many texts or words each class has, and what they count in the loss."""

from __future__ import annotations

import collections
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from albert_tf.tasks.table import Task

_SHOWN_CLASSES = 20


def report_classes(name: str, task: Task, examples: list, report: Callable[[str], None]) -> None:
    """Says how many examples each class has, so that a label that was typed wrong is seen."""
    counts = collections.Counter(classes_of(task, examples))
    if not counts:
        return
    shown = [f"{label} {count:,}" for label, count in counts.most_common(_SHOWN_CLASSES)]
    if len(counts) > _SHOWN_CLASSES:
        shown.append(f"and {len(counts) - _SHOWN_CLASSES:,} more")
    report(f"{name}, {len(counts):,} classes: {', '.join(shown)}")
    if _has_several(examples):
        bare = sum(not example.label for example in examples)
        report(f"{name}: {bare:,} of {len(examples):,} texts have no label")
    absent = [label for label in task.labels if not counts[label]]
    if absent:
        more = f", and {len(absent) - _SHOWN_CLASSES:,} more" if absent[_SHOWN_CLASSES:] else ""
        shown = ", ".join(absent[:_SHOWN_CLASSES])
        report(f"Warning: no {_unit(examples)} of {name} has the label {shown}{more}")
    alike = collections.defaultdict(list)
    for label in counts:
        alike["".join(label.split()).casefold()].append(label)
    for labels in alike.values():
        if len(labels) > 1:
            names = ", ".join(sorted(labels))
            report(f"Warning: classes of {name} that differ in case or spaces alone: {names}")


def classes_of(task: Task, examples: list) -> list[str]:
    """Returns the class of each text or, of tagged sentences, each word; [] for other tasks.

    Of texts with several labels all that are true, one after another.
    """
    if not task.labels or not examples:
        return []
    if hasattr(examples[0], "tags"):
        return [tag for example in examples for tag in example.tags]
    if _has_several(examples):
        return [name for example in examples for name in example.label]
    labels = [getattr(example, "label", None) for example in examples]
    return labels if isinstance(labels[0], str) else []


def _unit(examples: list) -> str:
    return "word" if hasattr(examples[0], "tags") else "text"


def _has_several(examples: list) -> bool:
    return isinstance(getattr(examples[0], "label", None), tuple)


def class_weights_of(class_weights: Sequence[str], task: Task, examples: list) -> np.ndarray | None:
    """Returns what a text, or word, of each class counts in the loss, float32 [C]; None for 1 each.

    `examples` has a text as often as rows of the model come of it, as many as its windows.

    "balanced" is N / (C * N of the class), so that all classes count as much and the mean over all
    N texts or words is 1. Where a text has several labels, that holds of each: float32 [C, 2], for
    texts without and with it; a weight by name is of the texts with that label.

    Raises:
        ValueError: for a task without classes, a class that the task has not, or no weight.
    """
    if not class_weights:
        return None
    classes = classes_of(task, examples)
    if not classes:
        raise ValueError(
            "`class_weights` is for tasks that tell classes of texts or words. "
            f"Received: `task={task.name}`"
        )
    labels = task.labels
    has_several = _has_several(examples)
    if class_weights == ("balanced",):
        counts = collections.Counter(classes)
        if has_several:
            return _balance_labels(labels, counts, len(examples))
        absent = [label for label in labels if not counts[label]]
        if absent:
            raise ValueError(
                f"`class_weights=balanced` needs examples of every class. Received: none of "
                f"{', '.join(absent)}"
            )
        return np.array([len(classes) / len(labels) / counts[n] for n in labels], np.float32)
    weights = dict.fromkeys(labels, 1.0)
    for text in class_weights:
        name, _, number = text.rpartition(":")
        try:
            weight = float(number)
        except ValueError:
            weight = math.nan
        if name not in weights or not 0 <= weight < math.inf:
            raise ValueError(
                "`class_weights` must be balanced or name:weight of classes, of "
                f"{', '.join(labels)}. Received: {text}"
            )
        weights[name] = weight
    weights = np.array([weights[name] for name in labels], np.float32)
    return np.stack([np.ones_like(weights), weights], axis=1) if has_several else weights


def _balance_labels(labels: Sequence[str], counts: Mapping[str, int], total: int) -> np.ndarray:
    one_sided = [name for name in labels if not 0 < counts[name] < total]
    if one_sided:
        raise ValueError(
            "`class_weights=balanced` needs texts with and without every label. Received: none or "
            f"only such of {', '.join(one_sided)}"
        )
    positives = np.array([counts[name] for name in labels])
    return np.stack([total / 2 / (total - positives), total / 2 / positives], axis=1).astype(
        np.float32
    )
