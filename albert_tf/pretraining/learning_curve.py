"""The learning curve of a training run as a picture."""

import os
from typing import Any

from albert_tf import whole_files
from albert_tf.training import metric_log

_PANELS = (
    ("masked_lm_accuracy", "masked-LM accuracy"),
    ("masked_lm_loss", "masked-LM loss"),
    ("sentence_order_accuracy", "sentence-order accuracy"),
)


def draw(
    metrics_path: str | os.PathLike, picture_path: str | os.PathLike, metrics: dict[str, Any]
) -> None:
    """Draws the history in a `metrics.jsonl`, one panel a quantity.

    Args:
        metrics_path: written by `metric_log.MetricLog`.
        picture_path: PNG to write.
        metrics: with `unigram`, {split: {name: value}}, drawn as dashed lines.
    """
    from matplotlib import figure  # not at the start of a run

    rows = metric_log.read_metrics(metrics_path)
    splits = list(dict.fromkeys(row["split"] for row in rows))
    picture = figure.Figure(figsize=(13, 4), layout="constrained")
    for axes, (name, title) in zip(picture.subplots(1, len(_PANELS)), _PANELS, strict=True):
        for color, split in enumerate(splits):
            points = [
                (row["step"], row[name]) for row in rows if row["split"] == split and name in row
            ]
            if points:
                axes.plot(
                    *zip(*points, strict=True),
                    color=f"C{color}",
                    label=split,
                    linewidth=0.8 if split == "train" else 1.8,
                    alpha=0.6 if split == "train" else 1,
                )
            baseline = metrics.get("unigram", {}).get(split, {}).get(name)
            if baseline is not None:
                axes.axhline(baseline, color=f"C{color}", linestyle="--", label=f"unigram, {split}")
        if name == "sentence_order_accuracy":
            axes.axhline(0.5, color="gray", linestyle="--", label="chance")
        axes.set_title(title)
        axes.set_xlabel("step")
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
    with whole_files.whole_file(picture_path, "wb") as file:
        picture.savefig(file, dpi=110, format="png")
