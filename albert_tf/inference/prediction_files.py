"""Answers beside the rows that they are for, as JSON lines, CSV or TSV.

A row has its columns, then those of the answer, then `problem` where it could not be asked about.
An answer's name that a column has already is preceded by `predicted_`.
"""

import csv
import json
import os
from typing import Any, TextIO

FORMATS = {".jsonl": "jsonl", ".json": "jsonl", ".csv": "csv", ".tsv": "tsv"}
PROBLEM = "problem"


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
    return row | {
        f"predicted_{name}" if name in row else name: value for name, value in answer.items()
    }


class JsonLinesWriter:
    """Writes rows as JSON lines.

    Args:
        file: open for text.
    """

    def __init__(self, file: TextIO):
        self._file = file

    def write(self, row: dict[str, Any]) -> None:
        """Writes a row."""
        self._file.write(json.dumps(row, ensure_ascii=False, default=str) + "\n")

    def close(self) -> None:
        """Nothing is kept back."""


class SeparatedWriter:
    """Writes rows as CSV or TSV, whose columns are those of the first row without a problem.

    A dict such as `scores` becomes a column for each of its names (`scores_pos`, `scores_neg`),
    a list becomes JSON.

    Args:
        file: open for text.
        delimiter: between cells.
    """

    def __init__(self, file: TextIO, delimiter: str):
        self._file = file
        self._delimiter = delimiter
        self._waiting = []  # rows with a problem before the columns are known
        self._writer = None

    def write(self, row: dict[str, Any]) -> None:
        """Writes a row."""
        row = _flatten(row)
        if self._writer is not None:
            self._writer.writerow(row)
            return
        self._waiting.append(row)
        if PROBLEM not in row:
            self._start([*row, PROBLEM])

    def _start(self, names: list[str]) -> None:
        self._writer = csv.DictWriter(
            self._file,
            names,
            delimiter=self._delimiter,
            extrasaction="ignore",
            lineterminator="\n",
        )
        self._writer.writeheader()
        self._writer.writerows(self._waiting)

    def close(self) -> None:
        """Writes what waits for a row without a problem, of which there is none."""
        if self._writer is None:
            self._start(list(dict.fromkeys(name for row in self._waiting for name in row)))


def make_writer(file: TextIO, file_format: str) -> JsonLinesWriter | SeparatedWriter:
    """Returns the writer of a format that `format_of` returned."""
    if file_format == "jsonl":
        return JsonLinesWriter(file)
    return SeparatedWriter(file, "," if file_format == "csv" else "\t")


def _flatten(row: dict[str, Any]) -> dict[str, Any]:
    cells = {}
    for name, value in row.items():
        if isinstance(value, dict):
            cells |= {f"{name}_{key}": inner for key, inner in value.items()}
        else:
            is_list = isinstance(value, list)
            cells[name] = json.dumps(value, ensure_ascii=False) if is_list else value
    return cells
