"""What an evaluation measured, as lines for a terminal and as a page."""

import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jinja2

from albert_tf import pages, whole_files
from albert_tf.evaluation.figures import Figures

_SPLITS = {
    "held_out": "Hidden words, in runs of one to three",
    "held_out_single": "Hidden pieces, one at a time",
}


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of a table: its name, a text for each column, and shares to draw, from 0 to 1."""

    name: str
    cells: list[str]
    share: float | None = None
    baseline: float | None = None
    example: tuple[str, str] | None = None


@dataclasses.dataclass(frozen=True)
class Table:
    """A table with what is to be known of it."""

    title: str
    columns: tuple[str, ...]
    rows: list[Row]
    note: str


def make_tables(results: Mapping[str, Any]) -> list[Table]:
    """Returns the tables of an evaluation, those that it measured."""
    tables = [
        Table(
            _SPLITS.get(split, split),
            ("accuracy", "loss", "predictions", "unigram accuracy", "unigram loss"),
            [
                Row(
                    kind,
                    [*_accuracy_and_loss(row), percent(row["unigram_accuracy"])]
                    + [pages.number(row["unigram_loss"])],
                    row["accuracy"],
                    row["unigram_accuracy"],
                )
                for kind, row in kinds.items()
            ],
            "± is one standard error over texts. Unigram: naming pieces by their frequency in the "
            "training text alone. The frequent pieces make up half of that text, the middle ones "
            "the next 40%, the rare ones the rest.",
        )
        for split, kinds in results["words"].items()
    ]
    if "sentence_order" in results:
        tables.append(
            Table(
                "Sentence order, by pieces of the shorter segment",
                ("accuracy", "loss", "examples"),
                [
                    Row(kind, _accuracy_and_loss(row), row["accuracy"], 0.5)
                    for kind, row in results["sentence_order"].items()
                ],
                "Which of two segments came first. Chance is 50%, a loss of 0.6931.",
            )
        )
    if "minimal_pairs" in results:
        tables.append(_pairs_table(results["minimal_pairs"]))
    if "contamination" in results:
        tables += _contamination_tables(results)
    return tables


def _accuracy_and_loss(row: Figures) -> list[str]:
    accuracy = f"{percent(row['accuracy'])} ± {percent(row['accuracy_error'])}"
    loss = f"{pages.number(row['loss'])} ± {pages.number(row['loss_error'])}"
    return [accuracy, loss, f"{row['predictions']:,}"]


def percent(value: float) -> str:
    """Returns a share as a text, 0.123 as `12.3%`."""
    return f"{value:.1%}"


def _pairs_table(measured: Mapping[str, Figures]) -> Table:
    rows = []
    for name, row in measured.items():
        known = "accuracy" in row
        cells = [f"{percent(row['accuracy'])} ± {percent(row['accuracy_error'])}" if known else "–"]
        cells += [f"{row.get('predictions', 0):,}", f"{row['left_out']:,}"]
        unigram = row.get("unigram_accuracy", 0.5)
        cells += [percent(unigram) if known else "–"]
        rows.append(Row(name, cells, row.get("accuracy"), unigram, row.get("example")))
    return Table(
        "Minimal pairs",
        ("accuracy", "pairs", "left out", "unigram accuracy"),
        rows,
        "How often the good one of two sentences has the higher pseudo-log-likelihood. Chance is "
        "50%; unigram: by the frequency of their pieces alone, half right where it is the same. "
        "Left out: pairs with a piece that the vocabulary does not have, and longer ones than the "
        "model reads.",
    )


def _contamination_tables(results: Mapping[str, Any]) -> Iterator[Table]:
    found = results["contamination"]
    window = found["window_pieces"]
    rows = []
    for name, row in found["texts"].items():
        cells = [f"{row[key]:,}" for key in ("examples", "seen", "without_window")]
        rows.append(Row(os.path.join(*name.split(os.sep)[-2:]), cells))
    yield Table(
        "Texts found in the training text",
        ("examples", "found", "cannot be found"),
        rows,
        f"Found: {window} pieces of it stand in the training text in a row. Cannot be found: it "
        f"has no {window} pieces in a row that the vocabulary knows.",
    )
    if "left_out" in found:
        rows = []
        for what, before, after in _pairs_of_scores(results):
            rows.append(Row(what, _accuracy_and_loss(before)[:2] + _accuracy_and_loss(after)[:2]))
        yield Table(
            "Scores without the examples that were found",
            ("accuracy of all", "loss of all", "accuracy without", "loss without"),
            rows,
            "Held-out examples that stand in the training text are left out.",
        )


def _pairs_of_scores(results: Mapping[str, Any]) -> Iterator[tuple[str, Figures, Figures]]:
    left_out = results["contamination"]["left_out"]
    for split, kinds in left_out["words"].items():
        yield split, results["words"][split]["all"], kinds["all"]
    if "sentence_order" in left_out:
        yield "order", results["sentence_order"]["all"], left_out["sentence_order"]["all"]


def make_lines(results: Mapping[str, Any]) -> Iterator[str]:
    """Yields the tables for a terminal."""
    for table in make_tables(results):
        yield ""
        yield from _aligned([[table.title, *table.columns], *_cells(table)])
    if "contamination" not in results:
        yield ""
        yield (
            "texts were not looked for in the training text: that needs stored tokens "
            "(--format=tokens of build_pretraining_data)"
        )


def _cells(table: Table) -> list[list[str]]:
    return [[row.name, *row.cells] for row in table.rows]


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for first, *others in rows:
        texts = (text.rjust(width) for text, width in zip(others, widths[1:], strict=True))
        yield "  ".join([first.ljust(widths[0]), *texts])


def write_page(path: str | os.PathLike, results: Mapping[str, Any]) -> None:
    """Writes the page, one file without anything from elsewhere, whole or not at all."""
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    page = environment.from_string(_PAGE).render(
        style=pages.STYLE, results=results, tables=make_tables(results)
    )
    whole_files.write_text(path, page)


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ results.model }} evaluated</title>
<style>
{{ style }}
.bar { width: 9rem; min-width: 6rem; }
.bar div { position: relative; height: .8rem; margin-top: .35rem; background: #8883; }
.bar i { position: absolute; inset: 0 auto 0 0; background: #38a; }
.bar b { position: absolute; top: -.2rem; bottom: -.2rem; width: 2px; background: #d80; }
</style>
</head>
<body>
<h1>{{ results.model }} evaluated</h1>
<p>{{ "{:,}".format(results.parameters) }} parameters;
{{ "{:,}".format(results.examples) }} held-out examples of {{ results.max_seq_length }} tokens;
data: {{ results.data }}. A bar is an accuracy, from 0 to 100%; the orange line is what is reached
without reading.</p>
{% for table in tables %}
{% set drawn = table.rows | selectattr("baseline", "ne", none) | list %}
<h2>{{ table.title }}</h2>
<div class="wide"><table>
<tr><th scope="col"></th>{% if drawn %}<th scope="col"></th>{% endif %}
{% for column in table.columns %}<th scope="col" class="number">{{ column }}</th>{% endfor %}</tr>
{% for row in table.rows %}
<tr><th scope="row">{{ row.name }}{% if row.example %}
<div class="quiet">{{ row.example[0] }} / {{ row.example[1] }}</div>{% endif %}</th>
{% if drawn %}
<td class="bar"><div>{% if row.share is not none %}
<i style="width: {{ "%.1f" % (100 * row.share) }}%"></i>
<b style="left: {{ "%.1f" % (100 * row.baseline) }}%"></b>{% endif %}</div></td>
{% endif %}
{% for cell in row.cells %}<td class="number">{{ cell }}</td>{% endfor %}
</tr>
{% endfor %}
</table></div>
<p class="quiet">{{ table.note }}</p>
{% endfor %}
{% if not results.contamination %}
<p class="quiet">Texts were not looked for in the training text: that needs stored tokens.</p>
{% endif %}
</body>
</html>
"""
