"""Runs side by side, as lines for a terminal and as a page."""

import base64
import dataclasses
import hashlib
import io
import os
from collections.abc import Iterator, Sequence

import jinja2
from matplotlib import figure

from albert_tf import pages, whole_files
from albert_tf.comparison import runs as runs_
from albert_tf.comparison.runs import Run

_MOST_PICTURES = 6


@dataclasses.dataclass(frozen=True)
class Row:
    """One metric of one split: a text for each run, and how it differs from the first run."""

    split: str
    metric: str
    values: list[str]
    differences: list[str]


def make_rows(runs: Sequence[Run]) -> list[Row]:
    """Returns a row for each metric that at least two of the runs have."""
    rows = []
    places = dict.fromkeys((s, m) for run in runs for s in run.scores for m in run.scores[s])
    for split, metric in places:
        values = [run.scores.get(split, {}).get(metric, []) for run in runs]
        if sum(map(bool, values)) < 2:
            continue
        differences = [_describe(values[0], other) for other in values[1:]]
        rows.append(Row(split, metric, [pages.mean_text(value) for value in values], differences))
    return rows


def _describe(first: Sequence[float], other: Sequence[float]) -> str:
    """Returns `+0.0123 beyond chance`, `+0.0012 within chance` or `+0.0012 one seed`."""
    if not first or not other:
        return "–"
    difference = runs_.compare(first, other)
    words = {True: "beyond chance", False: "within chance", None: "one seed"}
    return f"{difference.value:+.4f} {words[difference.is_beyond_chance]}"


def make_lines(runs: Sequence[Run]) -> Iterator[str]:
    """Yields the table of scores and the settings that differ, for a terminal."""
    for number, run in enumerate(runs):
        yield f"[{number}] {run.name}" + (f" ({run.note})" if run.note else "")
    yield from runs_.find_warnings(runs)
    rows = make_rows(runs)
    names = [f"[{number}]" for number in range(len(runs))]
    header = ["split", "metric", *names, *(f"{name} - [0]" for name in names[1:])]
    yield ""
    yield from _columns(
        [header, *([row.split, row.metric, *row.values, *row.differences] for row in rows)]
    )
    differing = runs_.differing_settings(runs)
    if differing:
        yield ""
        yield from _columns(
            [
                ["setting", *names],
                *([name, *(map(_shorten, values))] for name, values in differing.items()),
            ]
        )


def _shorten(text: str) -> str:
    """Returns a text short enough for a column; those of two long ones differ if they do."""
    if len(text) <= 40:
        return text
    return f"{text[:28]}… {hashlib.blake2b(text.encode(), digest_size=4).hexdigest()}"


def _columns(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        texts = (text.ljust(width) for text, width in zip(row, widths, strict=True))
        yield "  ".join(texts).rstrip()


def write_page(path: str | os.PathLike, runs: Sequence[Run]) -> None:
    """Writes the page, one file without anything from elsewhere, whole or not at all."""
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    page = environment.from_string(_PAGE).render(
        style=pages.STYLE,
        runs=runs,
        warnings=runs_.find_warnings(runs),
        rows=make_rows(runs),
        curves=[
            (title, base64.b64encode(picture).decode("ascii"))
            for title, picture in draw_curves(runs).items()
        ],
        settings={
            name: [_shorten(value) for value in values]
            for name, values in runs_.differing_settings(runs).items()
        },
    )
    whole_files.write_text(path, page)


def draw_curves(runs: Sequence[Run]) -> dict[str, bytes]:
    """Returns {title: PNG bytes}: a picture for each metric on held-out data, a color for each run.

    Pictures of their own, because a page puts them side by side or, on a phone, one below another.
    """
    pictures = {}
    for row in make_rows(runs)[:_MOST_PICTURES]:
        title = f"{row.metric}, {row.split}"
        picture = figure.Figure(figsize=(4.6, 3.3), layout="constrained")
        axes = picture.subplots()
        for number, run in enumerate(runs):
            label = f"[{number}] {run.name}".replace("$", r"\$")  # no formula
            for rows in run.histories.values():
                points = [
                    (r["step"], r[row.metric])
                    for r in rows
                    if r["split"] == row.split and row.metric in r
                ]
                if points:
                    axes.plot(
                        *zip(*points, strict=True), "o-", ms=3, color=f"C{number}", label=label
                    )
                    label = None  # once a run
        axes.set_title(title, fontsize="medium")
        axes.set_xlabel("step")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize="x-small")
        file = io.BytesIO()
        picture.savefig(file, dpi=150, format="png")
        pictures[title] = file.getvalue()
    return pictures


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ runs|length }} runs compared</title>
<style>
{{ style }}
.panels img { width: 19rem; max-width: 100%; }
</style>
</head>
<body>
<h1>{{ runs|length }} runs compared</h1>
<ul>
{% for run in runs %}
<li>[{{ loop.index0 }}] {{ run.name }}{% if run.note %} <span class="quiet">({{ run.note }})</span>
{% endif %}</li>
{% endfor %}
</ul>
{% for warning in warnings %}
<p class="note">{{ warning }}</p>
{% endfor %}
<h2>Scores</h2>
<div class="wide"><table>
<tr><th scope="col">split</th><th scope="col">metric</th>
{% for run in runs %}<th scope="col" class="number">[{{ loop.index0 }}]</th>{% endfor %}
{% for run in runs[1:] %}<th scope="col" class="number">[{{ loop.index }}] − [0]</th>{% endfor %}
</tr>
{% for row in rows %}
<tr><td>{{ row.split }}</td><th scope="row">{{ row.metric }}</th>
{% for value in row.values %}<td class="number">{{ value }}</td>{% endfor %}
{% for value in row.differences %}<td class="number">{{ value }}</td>{% endfor %}
</tr>
{% endfor %}
</table></div>
<p class="quiet">Mean ± sample deviation over seeds. Beyond chance: seeds alone would give such a
difference in fewer than one case of twenty (Welch's t-test); of one seed nothing can be said.</p>
<h2>Curves</h2>
<figure class="panels">
{% for title, curve in curves %}
<img alt="{{ title }}" src="data:image/png;base64,{{ curve }}">
{% endfor %}
</figure>
{% if settings %}
<h2>What was set otherwise</h2>
<div class="wide"><table>
<tr><th scope="col">setting</th>
{% for run in runs %}<th scope="col">[{{ loop.index0 }}]</th>{% endfor %}</tr>
{% for name, values in settings.items() %}
<tr><th scope="row">{{ name }}</th>{% for value in values %}<td>{{ value }}</td>{% endfor %}</tr>
{% endfor %}
</table></div>
{% endif %}
</body>
</html>
"""
