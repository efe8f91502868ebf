"""One page to look at after a fine-tuning run: scores, learning curves, mistakes."""

import base64
import dataclasses
import functools
import os
from typing import Any

import jinja2
import numpy as np

from albert_tf import pages, whole_files
from albert_tf.finetuning import pictures
from albert_tf.tasks.diagnosis import Confusion, ErrorSample, LabelScores, ScoreHistogram

_SHOWN_CHARACTERS = 300
# {metric: value}.
Scores = dict[str, float]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReportContent:
    """What the page shows.

    Attributes:
        title: headline.
        settings: {name: value} of the run, where that is not the default.
        defaults: {name: value} of all other settings.
        main_metric: what chose the best checkpoints.
        results: {split: {seed: {"best" and "last": {metric: value}}}}.
        best_steps: {seed: step of the best checkpoint}.
        baselines: {split: {metric: value}} of always saying the same.
        histories: {seed: rows of its metrics.jsonl}.
        diagnosed, best_seed: the split and the seed whose predictions the following shows.
        confusion, histogram, label_scores: of these, or None.
        train_counts: {class: how often it is in the training data}.
        errors: the first of them.
        num_errors: how many there are.
        notes: sentences, such as what was skipped.
    """

    title: str
    settings: dict[str, str]
    main_metric: str
    results: dict[str, dict[str, dict[str, Scores]]]
    best_steps: dict[str, int]
    baselines: dict[str, Scores]
    histories: dict[str, list[dict[str, Any]]]
    defaults: dict[str, str] = dataclasses.field(default_factory=dict)
    diagnosed: str = ""
    best_seed: str = ""
    confusion: Confusion | None = None
    histogram: ScoreHistogram | None = None
    label_scores: LabelScores | None = None
    train_counts: dict[str, int] = dataclasses.field(default_factory=dict)
    errors: list[ErrorSample] = dataclasses.field(default_factory=list)
    num_errors: int = 0
    notes: list[str] = dataclasses.field(default_factory=list)

    @functools.cached_property
    def learning_curves(self) -> bytes | None:
        """PNG bytes, or None for a run without a history."""
        if not any(self.histories.values()):
            return None
        return pictures.draw_learning_curves(
            self.histories, self.main_metric, self.best_steps, self.baselines
        )


def write_report(path: str | os.PathLike, content: ReportContent) -> None:
    """Writes the page, one file without anything from elsewhere, whole or not at all."""
    drawings = []
    if content.learning_curves:
        caption = "Learning curves; a dot marks the best checkpoint of each seed"
        drawings.append((caption, content.learning_curves))
    if content.confusion is not None:
        drawings.append(pictures.draw_confusion(content.confusion))
    if content.histogram is not None:
        drawings.append((content.histogram.title, pictures.draw_histogram(content.histogram)))
    classes = [] if content.confusion is None else class_scores(content.confusion)
    if content.label_scores is not None:
        drawings.append(pictures.draw_thresholds(content.label_scores))
        classes = label_rows(content.label_scores)
    # What the data says is shown and never run.
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    page = environment.from_string(_PAGE).render(
        content=content,
        style=pages.STYLE,
        tables=[
            (split, _rows_of(by_seed, content.baselines.get(split, {})), list(by_seed))
            for split, by_seed in content.results.items()
        ],
        pictures=[
            (caption, base64.b64encode(picture).decode("ascii")) for caption, picture in drawings
        ],
        classes=classes,
        errors=[_shortened(error) for error in content.errors],
        of_seed=f", seed {content.best_seed}" if len(content.histories) > 1 else "",
    )
    whole_files.write_text(path, page)


def _rows_of(by_seed: dict[str, dict[str, Scores]], baseline: Scores) -> list[tuple]:
    """Returns for each metric (name, baseline, best and last over seeds, best of each seed)."""
    seeds = list(by_seed.values())
    rows = []
    for metric in next(iter(seeds), {}).get("best", {}):
        best = [scores["best"][metric] for scores in seeds]
        last = [scores["last"][metric] for scores in seeds if metric in scores.get("last", {})]
        texts = (
            pages.mean_text(best),
            pages.mean_text(last),
            [pages.number(value) for value in best],
        )
        rows.append(
            (metric, pages.mean_text([baseline[metric]] if metric in baseline else []), *texts)
        )
    return rows


def class_scores(confusion: Confusion) -> list[tuple]:
    """Returns (label, examples, precision, recall, F1) of each class."""
    counts = np.asarray(confusion.counts, float)
    return _rows_of_counts(
        confusion.labels, np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
    )


def label_rows(scores: LabelScores) -> list[tuple]:
    """Returns (label, examples, precision, recall, F1, threshold) of each of several labels."""
    counts = (np.asarray(count, float) for count in (scores.right, scores.gold, scores.predicted))
    return [
        (*row, f"{threshold:.3f}")
        for row, threshold in zip(
            _rows_of_counts(scores.labels, *counts), scores.thresholds, strict=True
        )
    ]


def _rows_of_counts(
    labels: list[str], right: np.ndarray, gold: np.ndarray, predicted: np.ndarray
) -> list[tuple]:
    precision = np.divide(right, predicted, out=np.zeros_like(right), where=predicted > 0)
    recall = np.divide(right, gold, out=np.zeros_like(right), where=gold > 0)
    total = precision + recall
    f1 = np.divide(2 * precision * recall, total, out=np.zeros_like(right), where=total > 0)
    return [
        (label, int(count), *(f"{value:.3f}" for value in values))
        for label, count, *values in zip(labels, gold, precision, recall, f1, strict=True)
    ]


def _shortened(error: ErrorSample) -> dict[str, Any]:
    """Returns the error with each text as (name, beginning, whole text or None)."""
    texts = [
        (name, text, None)
        if len(text) <= _SHOWN_CHARACTERS
        else (name, text[:_SHOWN_CHARACTERS].rstrip() + " …", text)
        for name, text in error.inputs.items()
    ]
    score = None if error.score is None else f"{error.score:.3f}"
    return {
        "texts": texts,
        "gold": error.gold,
        "predicted": error.predicted,
        "score": score and f"{error.score_name} {score}",
    }


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ content.title }}</title>
<style>
{{ style }}</style>
</head>
<body>
<h1>{{ content.title }}</h1>
{% for note in content.notes %}
<p class="note">{{ note }}</p>
{% endfor %}
{% for split, rows, seeds in tables %}
<h2>Scores on {{ split }}</h2>
<div class="wide"><table>
<tr><th scope="col">metric</th><th scope="col" class="number">best checkpoint</th>
<th scope="col" class="number">last</th><th scope="col" class="number">without a model</th>
{% if seeds|length > 1 %}
{% for seed in seeds %}<th scope="col" class="number">seed {{ seed }}</th>{% endfor %}
{% endif %}
</tr>
{% for metric, baseline, best, last, values in rows %}
<tr><th scope="row">{{ metric }}{% if metric == content.main_metric %} *{% endif %}</th>
<td class="number">{{ best }}</td><td class="number">{{ last }}</td>
<td class="number">{{ baseline }}</td>
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
flattering, those of the last are not. Without a model: always the most frequent answer, or the
mean.</p>
{% endif %}
{% for caption, picture in pictures %}
<figure><img alt="{{ caption }}" src="data:image/png;base64,{{ picture }}">
<figcaption>{{ caption }}</figcaption></figure>
{% endfor %}
{% if classes %}
<h2>Classes on {{ content.diagnosed }}{{ of_seed }}</h2>
<div class="wide"><table>
<tr><th scope="col">class</th>
{% if content.train_counts %}<th scope="col" class="number">in training</th>{% endif %}
{% for name in (content.diagnosed, "precision", "recall", "F1") %}
<th scope="col" class="number">{{ name }}</th>
{% endfor %}
{% if content.label_scores %}<th scope="col" class="number">threshold</th>{% endif %}
</tr>
{% for row in classes %}
<tr><th scope="row">{{ row[0] }}</th>
{% if content.train_counts %}
<td class="number">{{ content.train_counts.get(row[0], 0) }}</td>
{% endif %}
{% for number in row[1:] %}<td class="number">{{ number }}</td>{% endfor %}
</tr>
{% endfor %}
</table></div>
{% endif %}
{% if errors %}
{% set is_number = content.histogram and content.histogram.gold is not none %}
<h2>{{ "Furthest off" if is_number else "Mistakes" }} on {{ content.diagnosed }}{{ of_seed }}</h2>
<p class="quiet">{{ content.num_errors }} {{ "not exactly right" if is_number else "in all" }}
{%- if errors|length < content.num_errors %}, of which {{ errors|length }} are shown{% endif %}.
</p>
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
{% if error.score is not none %}<span class="quiet">· {{ error.score }}</span>{% endif %}</p>
</article>
{% endfor %}
{% endif %}
<h2>Settings</h2>
{% macro settings_table(settings) %}
<div class="wide"><table>
{% for name, value in settings.items() %}
<tr><th scope="row">{{ name }}</th><td>{{ value }}</td></tr>
{% endfor %}
</table></div>
{% endmacro %}
{{ settings_table(content.settings) }}
{% if content.defaults %}
<details><summary class="quiet">all others, at their defaults</summary>
{{ settings_table(content.defaults) }}
</details>
{% endif %}
</body>
</html>
"""
