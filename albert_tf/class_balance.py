"""How many examples each class has, and what they count in the loss."""

import collections
import math

import numpy as np

_SHOWN_CLASSES = 20


def report_classes(name, task, examples, report):
    """Says how many examples each class has, so that a label that was typed wrong is seen."""
    if not has_classes(task, examples):
        return
    counts = collections.Counter(example.label for example in examples)
    shown = [f"{label} {count:,}" for label, count in counts.most_common(_SHOWN_CLASSES)]
    if len(counts) > _SHOWN_CLASSES:
        shown.append(f"and {len(counts) - _SHOWN_CLASSES:,} more")
    report(f"{name}, {len(counts):,} classes: {', '.join(shown)}")
    alike = collections.defaultdict(list)
    for label in counts:
        alike["".join(label.split()).casefold()].append(label)
    for labels in alike.values():
        if len(labels) > 1:
            names = ", ".join(sorted(labels))
            report(f"Warning: classes of {name} that differ in case or spaces alone: {names}")


def has_classes(task, examples):
    """Tells whether each example of a task has one class of several as its label."""
    labels = getattr(task, "labels", None)
    return bool(labels) and isinstance(getattr(examples[0], "label", None), str)


def class_weights_of(run, task, examples):
    """Returns what an example of each class counts in the loss, float32 [C], or None for 1 each.

    "balanced" is N / (C * examples of the class), so that all classes count as much and the mean
    over all examples is 1.

    Raises:
        ValueError: for a task without classes, a class that the task has not, or no weight.
    """
    if not run.class_weights:
        return None
    if not has_classes(task, examples):
        raise ValueError(
            f"--class_weights is for tasks that tell classes of texts. Received: --task={run.task}"
        )
    labels = task.labels
    if run.class_weights == ("balanced",):
        counts = collections.Counter(example.label for example in examples)
        absent = [label for label in labels if not counts[label]]
        if absent:
            raise ValueError(
                f"--class_weights=balanced needs examples of every class. Received: none of "
                f"{', '.join(absent)}"
            )
        return np.array([len(examples) / len(labels) / counts[n] for n in labels], np.float32)
    weights = dict.fromkeys(labels, 1.0)
    for given in run.class_weights:
        name, _, number = given.rpartition(":")
        try:
            weight = float(number)
        except ValueError:
            weight = math.nan
        if name not in weights or not 0 <= weight < math.inf:
            raise ValueError(
                "--class_weights must be balanced or name:weight of classes, of "
                f"{', '.join(labels)}. Received: {given}"
            )
        weights[name] = weight
    return np.array([weights[name] for name in labels], np.float32)
