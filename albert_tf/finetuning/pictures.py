"""What a report draws, each as PNG bytes: learning curves, confusion, thresholds, numbers."""

import io
from typing import Any

import numpy as np
from matplotlib import figure, font_manager
from matplotlib.axes import Axes

from albert_tf.tasks.diagnosis import Confusion, LabelScores, ScoreHistogram

_MOST_CLASSES = 30
_MOST_CURVES = 10


def draw_learning_curves(
    histories: dict[str, list[dict[str, Any]]],
    main_metric: str,
    best_steps: dict[str, int],
    baselines: dict[str, dict[str, float]] | None = None,
) -> bytes:
    """Draws the losses of training and held-out data and the main metric on held-out data.

    Args:
        histories: {seed: rows of its metrics.jsonl}.
        main_metric: name in the rows of held-out splits.
        best_steps: {seed: step to mark}.
        baselines: {split: {metric: value}}, drawn as lines.

    Returns:
        PNG bytes.
    """
    picture = figure.Figure(figsize=(11, 3.8), layout="constrained")
    losses, scores = picture.subplots(1, 2)
    for color, (seed, rows) in enumerate(histories.items()):
        training = [row for row in rows if row["split"] == "train"]
        names = dict.fromkeys(name for row in training for name in row if name.endswith("loss"))
        for style, name in zip(("-", "--", ":"), names, strict=False):
            label = "train" if len(names) == 1 else name
            _plot(losses, _points(training, name), color, style, f"{label}, seed {seed}")
        splits = dict.fromkeys(row["split"] for row in rows if row["split"] != "train")
        styles = (("--", "-"), (":", "--"), ("-.", ":"))
        for (of_loss, of_score), split in zip(styles, splits, strict=False):
            held_out = [row for row in rows if row["split"] == split]
            label = f"{split}, seed {seed}"
            _plot(losses, _points(held_out, "loss"), color, of_loss, label)
            points = _points(held_out, main_metric)
            _plot(scores, points, color, of_score, label)
            best = [point for point in points if point[0] == best_steps.get(seed)]
            scores.plot(*zip(*best, strict=True), "o", color=f"C{color}") if best else None
    levels = [baseline.get(main_metric) for baseline in (baselines or {}).values()]
    for value in dict.fromkeys(value for value in levels if value is not None):
        scores.axhline(value, color="gray", linestyle="-.", linewidth=1, label="without a model")
    losses.set_title("loss")
    scores.set_title(main_metric)
    for axes in (losses, scores):
        axes.set_xlabel("step")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize="small")
    return _png(picture)


def _points(rows: list[dict[str, Any]], name: str) -> list[tuple[int, float]]:
    return [(row["step"], row[name]) for row in rows if name in row]


def _plot(axes: Axes, points: list[tuple[int, float]], color: int, style: str, label: str) -> None:
    if points:
        marker = "." if len(points) < 30 else None
        axes.plot(*zip(*points, strict=True), style, color=f"C{color}", label=label, marker=marker)


def draw_confusion(confusion: Confusion) -> tuple[str, bytes]:
    """Returns (caption, PNG bytes)."""
    counts, labels = np.asarray(confusion.counts), list(confusion.labels)
    caption = "Confusion: rows are the right classes, columns the predicted ones"
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    if len(labels) > _MOST_CLASSES:
        order = np.sort(np.argsort(-counts.sum(axis=1), kind="stable")[:_MOST_CLASSES])
        caption += f"; the {_MOST_CLASSES} most frequent of {len(labels)}"
        counts, shares = counts[np.ix_(order, order)], shares[np.ix_(order, order)]
        labels = [labels[index] for index in order]
    size = 2.2 + 0.42 * len(labels)
    picture = figure.Figure(figsize=(size + 0.8, size), layout="constrained")
    axes = picture.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        if count:
            shade = "white" if shares[row, column] > 0.6 else "black"
            axes.text(column, row, str(count), ha="center", va="center", color=shade, fontsize=8)
    names, legend = _names_that_can_be_drawn(labels)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("predicted")
    axes.set_ylabel("right")
    return caption + legend, _png(picture)


def draw_thresholds(scores: LabelScores) -> tuple[str, bytes]:
    """Returns (caption, PNG bytes)."""
    caption = "F1 of each label by its threshold; a dot marks the one that is kept"
    order = np.argsort(-np.asarray(scores.gold), kind="stable")[:_MOST_CURVES]
    if len(scores.labels) > _MOST_CURVES:
        caption += f"; the {_MOST_CURVES} most frequent of {len(scores.labels)}"
    picture = figure.Figure(figsize=(9, 3.8), layout="constrained")
    axes = picture.subplots()
    names, legend = _names_that_can_be_drawn([scores.labels[index] for index in order])
    for index, name in zip(order, names, strict=True):
        curve, threshold = scores.curves[index], scores.thresholds[index]
        (line,) = axes.plot(scores.PLACES, curve, label=name)
        height = np.interp(threshold, scores.PLACES, curve)
        axes.plot([threshold], [height], "o", color=line.get_color())
    axes.set_xlabel("threshold")
    axes.set_ylabel("F1")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    return caption + legend, _png(picture)


def _names_that_can_be_drawn(labels: list[str]) -> tuple[list[str], str]:
    """Returns (names, what to say of those that are numbers, for want of letters in the font)."""
    font = font_manager.get_font(font_manager.findfont(font_manager.FontProperties()))
    drawn = font.get_charmap()
    numbers = {
        label: f"({number})"
        for number, label in enumerate(labels, 1)
        if any(ord(character) not in drawn for character in label)
    }
    legend = "".join(f"; {number} is {label}" for label, number in numbers.items())
    return [numbers.get(label, _shown_name(label)) for label in labels], legend


def _shown_name(label: str) -> str:
    """Returns a name that fits, in which Matplotlib reads no mathematics between dollar signs.

    Names that begin with "_" it leaves out of legends.
    """
    label = f" {label}" if label.startswith("_") else label
    return (label if len(label) <= 18 else label[:17] + "…").replace("$", r"\$")


def draw_histogram(histogram: ScoreHistogram) -> bytes:
    """Returns PNG bytes."""
    picture = figure.Figure(figsize=(9, 3.6), layout="constrained")
    if histogram.gold is None:
        axes = picture.subplots()
        axes.hist(histogram.predicted, bins=20)
        axes.set_xlabel(histogram.title)
        axes.set_ylabel("examples")
        return _png(picture)
    points, axes = picture.subplots(1, 2)
    points.plot(histogram.gold, histogram.predicted, ".", markersize=3, alpha=0.5)
    ends = min(histogram.gold), max(histogram.gold)
    points.plot(ends, ends, color="gray", linewidth=0.8)
    points.set_xlabel("right")
    points.set_ylabel("predicted")
    axes.hist([histogram.gold, histogram.predicted], bins=20, label=["right", "predicted"])
    axes.legend()
    return _png(picture)


def _png(picture: figure.Figure) -> bytes:
    buffer = io.BytesIO()
    picture.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()
