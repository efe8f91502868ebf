"""One page to look at after a fine-tuning run: scores, learning curves, mistakes."""

import base64
import dataclasses
import io

import jinja2
import numpy as np
from matplotlib import figure

from albert_tf import whole_files
from albert_tf.diagnosis import Confusion, ErrorSample, ScoreHistogram

_MOST_CLASSES = 30
_SHOWN_CHARACTERS = 300


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReportContent:
    """What the page shows.

    Attributes:
        title: headline.
        settings: {name: value} of the run.
        main_metric: what chose the best checkpoints.
        results: {split: {seed: {"best" and "last": {metric: value}}}}.
        best_steps: {seed: step of the best checkpoint}.
        baselines: {name: value}.
        histories: {seed: rows of its metrics.jsonl}.
        confusion, histogram: of the best seed, or None.
        errors: of the best seed.
        notes: sentences, such as what was skipped.
    """

    title: str
    settings: dict[str, str]
    main_metric: str
    results: dict
    best_steps: dict[str, int]
    baselines: dict[str, float]
    histories: dict[str, list]
    confusion: Confusion | None = None
    histogram: ScoreHistogram | None = None
    errors: list[ErrorSample] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)


def write_report(path, content):
    """Writes the page, one file without anything from elsewhere, whole or not at all."""
    pictures = []
    if any(content.histories.values()):
        curves = draw_learning_curves(content.histories, content.main_metric, content.best_steps)
        pictures.append(("Learning curves; a dot marks the best checkpoint of each seed", curves))
    if content.confusion is not None:
        caption, picture = _draw_confusion(content.confusion)
        pictures.append((caption, picture))
    if content.histogram is not None:
        pictures.append((content.histogram.title, _draw_histogram(content.histogram)))
    # What the data says is shown and never run.
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    page = environment.from_string(_PAGE).render(
        content=content,
        tables=[
            (split, _rows_of(by_seed), list(by_seed)) for split, by_seed in content.results.items()
        ],
        pictures=[
            (caption, base64.b64encode(picture).decode("ascii")) for caption, picture in pictures
        ],
        classes=[] if content.confusion is None else class_scores(content.confusion),
        errors=[_shortened(error) for error in content.errors],
    )
    whole_files.write_text(path, page)


def _rows_of(by_seed):
    """Returns for each metric (name, best over seeds, last over seeds, best of each seed)."""
    seeds = list(by_seed.values())
    rows = []
    for metric in next(iter(seeds), {}).get("best", {}):
        best = [scores["best"][metric] for scores in seeds]
        last = [scores["last"][metric] for scores in seeds if metric in scores.get("last", {})]
        rows.append((metric, _mean_text(best), _mean_text(last), [_number(v) for v in best]))
    return rows


def _mean_text(values):
    """Returns `0.8312 ± 0.0041`: the mean and the sample deviation."""
    if not values:
        return "–"
    if len(values) == 1:
        return _number(values[0])
    return f"{_number(np.mean(values))} ± {_number(np.std(values, ddof=1))}"


def _number(value):
    return f"{value:.4f}" if abs(value) < 10 else f"{value:.2f}"


def class_scores(confusion):
    """Returns (label, examples, precision, recall, F1) of each class."""
    counts = np.asarray(confusion.counts, float)
    right, gold, said = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
    precision = np.divide(right, said, out=np.zeros_like(right), where=said > 0)
    recall = np.divide(right, gold, out=np.zeros_like(right), where=gold > 0)
    total = precision + recall
    f1 = np.divide(2 * precision * recall, total, out=np.zeros_like(right), where=total > 0)
    return [
        (label, int(count), *(f"{value:.3f}" for value in values))
        for label, count, *values in zip(confusion.labels, gold, precision, recall, f1, strict=True)
    ]


def _shortened(error):
    """Returns the error with each text as (name, beginning, whole text or None)."""
    texts = [
        (name, text, None)
        if len(text) <= _SHOWN_CHARACTERS
        else (name, text[:_SHOWN_CHARACTERS].rstrip() + " …", text)
        for name, text in error.inputs.items()
    ]
    score = None if error.score is None else f"{error.score:.3f}"
    return {"texts": texts, "gold": error.gold, "predicted": error.predicted, "score": score}


# Pictures.


def draw_learning_curves(histories, main_metric, best_steps):
    """Draws the losses of training and held-out data and the main metric on held-out data.

    Args:
        histories: {seed: rows of its metrics.jsonl}.
        main_metric: name in the rows of held-out splits.
        best_steps: {seed: step to mark}.

    Returns:
        PNG bytes.
    """
    picture = figure.Figure(figsize=(11, 3.8), layout="constrained")
    losses, scores = picture.subplots(1, 2)
    for color, (seed, rows) in enumerate(histories.items()):
        names = dict.fromkeys(
            name for row in rows if row["split"] == "train" for name in row if "loss" in name
        )
        for style, name in zip(("-", "--", ":"), names, strict=False):
            points = [(row["step"], row[name]) for row in rows if name in row]
            _plot(losses, points, color, style, f"{name}, seed {seed}")
        for row_split in dict.fromkeys(row["split"] for row in rows if row["split"] != "train"):
            points = [
                (row["step"], row["loss"])
                for row in rows
                if row["split"] == row_split and "loss" in row
            ]
            _plot(losses, points, color, "--", f"{row_split}, seed {seed}")
        splits = dict.fromkeys(row["split"] for row in rows if row["split"] != "train")
        for style, split in zip(("-", "--", ":"), splits, strict=False):
            points = [
                (row["step"], row[main_metric])
                for row in rows
                if row["split"] == split and main_metric in row
            ]
            _plot(scores, points, color, style, f"{split}, seed {seed}")
            marked = [point for point in points if point[0] == best_steps.get(seed)]
            scores.plot(*zip(*marked, strict=True), "o", color=f"C{color}") if marked else None
    losses.set_title("loss")
    scores.set_title(main_metric)
    for axes in (losses, scores):
        axes.set_xlabel("step")
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize="small")
    return _png(picture)


def _plot(axes, points, color, style, label):
    if points:
        marker = "." if len(points) < 30 else None
        axes.plot(*zip(*points, strict=True), style, color=f"C{color}", label=label, marker=marker)


def _draw_confusion(confusion):
    """Returns (caption, PNG bytes)."""
    counts, labels = np.asarray(confusion.counts), list(confusion.labels)
    caption = "Confusion: rows are the right classes, columns the predicted ones"
    if len(labels) > _MOST_CLASSES:
        kept = np.sort(np.argsort(-counts.sum(axis=1), kind="stable")[:_MOST_CLASSES])
        caption += f"; the {_MOST_CLASSES} most frequent of {len(labels)}"
        counts, labels = counts[np.ix_(kept, kept)], [labels[index] for index in kept]
    size = 2.2 + 0.42 * len(labels)
    picture = figure.Figure(figsize=(size + 0.8, size), layout="constrained")
    axes = picture.subplots()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        if count:
            shade = "white" if shares[row, column] > 0.6 else "black"
            axes.text(column, row, str(count), ha="center", va="center", color=shade, fontsize=8)
    names = [label if len(label) <= 18 else label[:17] + "…" for label in labels]
    # Matplotlib would read what stands between dollar signs as mathematics.
    names = [name.replace("$", r"\$") for name in names]
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("predicted")
    axes.set_ylabel("right")
    return caption, _png(picture)


def _draw_histogram(histogram):
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


def _png(picture):
    buffer = io.BytesIO()
    picture.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ content.title }}</title>
<style>
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .8rem .25rem 0; border-bottom: 1px solid #8884; text-align: left;
  vertical-align: top; }
td.number { text-align: right; white-space: nowrap; }
figure { margin: 1rem 0; } img { max-width: 100%; background: white; border-radius: 4px; }
figcaption, .quiet { color: #888; font-size: .9rem; }
article { border-left: 3px solid #8886; padding-left: .9rem; margin: 1.1rem 0; }
article p { margin: .15rem 0; overflow-wrap: anywhere; }
</style>
</head>
<body>
<h1>{{ content.title }}</h1>
{% for note in content.notes %}
<p style="white-space: pre-wrap">{{ note }}</p>
{% endfor %}
{% for split, rows, seeds in tables %}
<h2>Scores on {{ split }}</h2>
<div class="wide"><table>
<tr><th scope="col">metric</th><th scope="col">best checkpoint</th><th scope="col">last</th>
{% if seeds|length > 1 %}
{% for seed in seeds %}<th scope="col">seed {{ seed }}</th>{% endfor %}
{% endif %}
</tr>
{% for metric, best, last, values in rows %}
<tr><th scope="row">{{ metric }}{% if metric == content.main_metric %} *{% endif %}</th>
<td class="number">{{ best }}</td><td class="number">{{ last }}</td>
{% if seeds|length > 1 %}
{% for value in values %}<td class="number">{{ value }}</td>{% endfor %}
{% endif %}
</tr>
{% endfor %}
</table></div>
{% if seeds|length > 1 %}<p class="quiet">Mean ± sample deviation over seeds.</p>{% endif %}
{% endfor %}
{% if tables %}
<p class="quiet">* chose the best checkpoint, on the same data: the figures of the best are a little
flattering, those of the last are not.</p>
{% endif %}
{% if content.baselines %}
<h2>Without any model</h2>
<p class="quiet">Always the most frequent answer, or the mean.</p>
<table>
{% for name, value in content.baselines.items() %}
<tr><th scope="row">{{ name }}</th><td class="number">{{ "%.4f"|format(value) }}</td></tr>
{% endfor %}
</table>
{% endif %}
{% for caption, picture in pictures %}
<figure><img alt="{{ caption }}" src="data:image/png;base64,{{ picture }}">
<figcaption>{{ caption }}</figcaption></figure>
{% endfor %}
{% if classes %}
<h2>Classes</h2>
<div class="wide"><table>
<tr><th scope="col">class</th><th scope="col">examples</th><th scope="col">precision</th>
<th scope="col">recall</th><th scope="col">F1</th></tr>
{% for label, count, precision, recall, f1 in classes %}
<tr><th scope="row">{{ label }}</th><td class="number">{{ count }}</td>
<td class="number">{{ precision }}</td><td class="number">{{ recall }}</td>
<td class="number">{{ f1 }}</td></tr>
{% endfor %}
</table></div>
{% endif %}
{% if errors %}
<h2>Mistakes</h2>
{% for error in errors %}
<article>
{% for name, text, whole in error.texts %}
<p><span class="quiet">{{ name }}:</span> {{ text }}</p>
{% if whole %}
<details><summary class="quiet">all of it</summary><p>{{ whole }}</p></details>
{% endif %}
{% endfor %}
<p><span class="quiet">right:</span> {{ error.gold }}
<span class="quiet">· predicted:</span> {{ error.predicted }}
{% if error.score is not none %}<span class="quiet">· score {{ error.score }}</span>{% endif %}</p>
</article>
{% endfor %}
{% endif %}
<h2>Settings</h2>
<div class="wide"><table>
{% for name, value in content.settings.items() %}
<tr><th scope="row">{{ name }}</th><td>{{ value }}</td></tr>
{% endfor %}
</table></div>
</body>
</html>
"""
