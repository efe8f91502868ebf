"""Answers beside the rows that they are for, as JSON lines, CSV or TSV.

A row has its columns, then those of the answer, then `problem` where it could not be asked about.
An answer's name that a column has already is preceded by `predicted_`.
"""

import csv
import json
import math
import os
import re
from collections.abc import Collection, Iterable
from typing import Any, TextIO

FORMATS = {".jsonl": "jsonl", ".json": "jsonl", ".csv": "csv", ".tsv": "tsv"}
PROBLEM = "problem"
# What ends a cell of TSV: a blank for each, so that counted characters of an answer stay right.
_BREAKS = re.compile(r"[\t\r\n]")


def format_of(path: str | os.PathLike) -> str:
    """Returns "jsonl", "csv" or "tsv", as the suffix says.

    Raises:
        ValueError: for another suffix.
    """
    for suffix, name in FORMATS.items():
        if str(path).lower().endswith(suffix):
            return name
    raise ValueError(f"`output` must end in {', '.join(FORMATS)}. Received: {path}")


def join(row: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    """Returns one dict of a row and its answer, `{"label": "x"}` and `{"label": "y"}` ->
    `{"label": "x", "predicted_label": "y"}`.
    """
    return row | {_free_name(name, row): value for name, value in answer.items()}


def _free_name(name: str, row: Collection[str]) -> str:
    """Returns the name, after `predicted_` as often as the row has it: nothing is replaced."""
    while name in row:
        name = f"predicted_{name}"
    return name


# What an answer that is no dict is called beside the columns of its row.
_ANSWER_NAMES = {float: "score", list: "answers"}


def _named(answer: Any) -> dict[str, Any]:
    return answer if isinstance(answer, dict) else {_ANSWER_NAMES[type(answer)]: answer}


def _without_nan(value: Any) -> Any:
    """Returns a value with None for "not a number", which tables of pandas hold and JSON lacks."""
    if isinstance(value, dict):
        return {name: _without_nan(cell) for name, cell in value.items()}
    if isinstance(value, list):
        return [_without_nan(cell) for cell in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


class JsonLinesWriter:
    """Writes rows as JSON lines, each with its own columns.

    Args:
        file: open for text.
    """

    left_out: Collection[str] = ()

    def __init__(self, file: TextIO):
        self._file = file

    def write(self, row: dict[str, Any] | None, answer: Any) -> None:
        """Writes a row with its answer; the answer as it is where there is no row."""
        self._write(answer if row is None else join(row, _named(answer)))

    def write_problem(self, row: dict[str, Any], problem: str) -> None:
        """Writes a row that could not be asked about."""
        self._write(join(row, {PROBLEM: problem}))

    def _write(self, value: Any) -> None:
        text = json.dumps(_without_nan(value), ensure_ascii=False, default=str)
        self._file.write(text + "\n")

    def close(self) -> None:
        """Nothing is kept back."""


class SeparatedWriter:
    """Writes rows as CSV, or as TSV, which has no quotes.

    The columns are those of the first row without a problem. A dict such as `scores` becomes a
    column for each of its names (`scores_pos`, `scores_neg`), unless the row has such a name; a
    list, and what lies deeper, becomes JSON. In TSV a tab or a line break within a cell becomes a
    blank.

    Args:
        file: open for text.
        delimiter: between cells, a comma for CSV or a tab for TSV.

    Attributes:
        left_out: names that later rows have beside those columns.
    """

    def __init__(self, file: TextIO, delimiter: str):
        self._file = file
        self._csv = None if delimiter == "\t" else csv.writer(_UnixLines(file))
        self._waiting = []  # rows with a problem before the columns are known
        # Dicts for sets that keep the order: a model may have hundreds of classes.
        self._row_names: dict[str, None] = {}
        self._answer_names: dict[str, None] = {}  # as the model calls them
        self.left_out: dict[str, None] = {}

    def write(self, row: dict[str, Any] | None, answer: Any) -> None:
        """Writes a row with its answer, or an answer alone."""
        cells, answers = _flatten(row or {}), _flatten(_named(answer))
        if not self._answer_names:
            self._start(cells, answers)
        self._write(cells, answers)

    def write_problem(self, row: dict[str, Any], problem: str) -> None:
        """Writes a row that could not be asked about."""
        cells, answers = _flatten(row), {PROBLEM: problem}
        if self._answer_names:
            self._write(cells, answers)
        else:
            self._waiting.append((cells, answers))

    def _start(self, row_names: Iterable[str], answer_names: Iterable[str]) -> None:
        """Writes the names of the columns: a later row has the answer where the first has it."""
        self._row_names = dict.fromkeys(row_names)
        self._answer_names = dict.fromkeys([*answer_names, PROBLEM])
        free = [_free_name(name, self._row_names) for name in self._answer_names]
        self._write_cells([*self._row_names, *free])
        for cells, answers in self._waiting:
            self._write(cells, answers)

    def _write(self, cells: dict[str, Any], answers: dict[str, Any]) -> None:
        values = []
        for given, names in ((cells, self._row_names), (answers, self._answer_names)):
            self.left_out |= dict.fromkeys(name for name in given if name not in names)
            values += [given.get(name, "") for name in names]
        self._write_cells(values)

    def _write_cells(self, values: Iterable[Any]) -> None:
        if self._csv is not None:
            self._csv.writerow(values)
            return
        texts = ("" if value is None else str(value) for value in values)
        self._file.write("\t".join(_BREAKS.sub(" ", text) for text in texts) + "\n")

    def close(self) -> None:
        """Writes what waits for a row without a problem, of which there is none."""
        if not self._answer_names:
            self._start((name for cells, _ in self._waiting for name in cells), ())


def make_writer(file: TextIO, file_format: str) -> JsonLinesWriter | SeparatedWriter:
    """Returns the writer of a format that `format_of` returned."""
    if file_format == "jsonl":
        return JsonLinesWriter(file)
    return SeparatedWriter(file, "," if file_format == "csv" else "\t")


class _UnixLines:
    """Takes rows of `csv.writer`, which quotes a lone "\\r" only where its rows end in "\\r\\n"."""

    def __init__(self, file: TextIO):
        self._file = file

    def write(self, row: str) -> None:
        """Writes a row, which ends in one line break."""
        self._file.write(row.removesuffix("\r\n") + "\n")


def _flatten(row: dict[str, Any]) -> dict[str, Any]:
    cells = {}
    for name, value in row.items():
        inner = {f"{name}_{key}": cell for key, cell in _dict_of(value).items()}
        if inner and inner.keys().isdisjoint([*row, *cells]):
            cells |= {name: _as_cell(cell) for name, cell in inner.items()}
        else:
            cells[name] = _as_cell(value)
    return cells


def _dict_of(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _as_cell(value: Any) -> Any:
    is_nested = isinstance(value, dict | list)
    return json.dumps(value, ensure_ascii=False, default=str) if is_nested else value
