"""Rows of CSV, TSV, JSON lines or Parquet -> texts with labels, problems named by file and line."""

import collections
import csv
import dataclasses
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from albert_tf import json_files
from albert_tf.pipelines.sources import compressed_files
from albert_tf.pipelines.task_data import line_files, text_examples
from albert_tf.pipelines.task_data.input_problems import InputError, InputProblems
from albert_tf.pipelines.task_data.text_examples import TextExample, TextTriple

FORMATS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".txt": "tsv",
    ".jsonl": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
}
FORMAT_NAMES = tuple(dict.fromkeys(FORMATS.values()))
KINDS = ("class", "number", "several")

_MANY_LINES = 50  # of one row, which nobody meant
_PARQUET_ROWS = 64  # unpacked at a time


@dataclasses.dataclass(frozen=True)
class Columns:
    """Which columns hold what, by name; in a file without header by number from "0" on."""

    text_a: str
    text_b: str | None = None
    label: str | None = None
    guid: str | None = None
    text_c: str | None = None
    labels: tuple[str, ...] = ()  # in place of `label`: columns of 0 and 1, each named for a label

    def names(self) -> list[str]:
        """Returns those that are given."""
        one_each = (self.text_a, self.text_b, self.text_c, self.label, self.guid)
        return [name for name in (*one_each, *self.labels) if name is not None]


def read(
    path: str | os.PathLike,
    columns: Columns,
    problems: InputProblems,
    *,
    kind: str,
    labels: Sequence[str] | None = None,
    separator: str = "|",
    has_header: bool = True,
    file_format: str | None = None,
    quoting: bool | None = None,
) -> list[TextExample]:
    """Reads a table.

    The format follows the suffix (`.csv`, `.tsv` or `.txt`, `.jsonl` or `.json`, `.parquet`, the
    text forms also compressed, as `.csv.gz`) unless given. CSV has quotes, TSV has none, as GLUE's
    files.

    Args:
        path: the file.
        columns: where the texts and labels are; without `label` none are read.
        problems: takes rows with a missing or empty text, another number of fields than the header,
            a label that is unknown or no number, bytes of another encoding, or broken JSON.
        kind: "class", "number" or "several", for a tuple of all labels that are true.
        labels: the classes; None allows any.
        separator: between several labels in a cell; lists of JSON and Parquet need none.
        has_header: whether the first row of CSV and TSV names the columns.
        file_format: "csv", "tsv", "jsonl" or "parquet", whatever the suffix.
        quoting: whether cells of CSV and TSV may be quoted; None: those of CSV.

    Returns:
        One `TextExample` a row, with `columns.text_c` one `TextTriple`; without `columns.guid` rows
        are called by their number from 0 on, which rows that were skipped keep for themselves.

    Raises:
        InputError: the file is missing or empty, its suffix is unknown or a column does not exist.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}. Received: {kind!r}")
    examples, count_before = [], problems.count
    rows = read_rows(
        path, problems, has_header, columns.names(), file_format, quoting, all_columns=False
    )
    for place, row in rows:
        number = len(examples) + problems.count - count_before
        problem, example = _example_of(row, number, columns, kind, labels, separator)
        if problem:
            problems.add(os.fspath(path), place, problem)
        else:
            examples.append(example)
    return examples


def _example_of(
    row: dict[str, Any],
    number: int,
    columns: Columns,
    kind: str,
    labels: Sequence[str] | None,
    separator: str,
) -> tuple[str | None, TextExample | None]:
    """Returns (what is wrong or None, the `TextExample` or None) of one row."""
    texts = []
    for name in (columns.text_a, columns.text_b, columns.text_c):
        if name is None:
            texts.append(None)
            continue
        text = row.get(name)
        if not isinstance(text, str) or not text.strip():
            return f"column {name} must hold a text. Received: {text!r}", None
        texts.append(text)
    label = None
    if columns.labels:
        problem, label = text_examples.true_labels(row, columns.labels)
        if problem:
            return problem, None
    elif columns.label is not None:
        value = row.get(columns.label)
        if kind == "several":
            problem, label = text_examples.parse_labels(value, labels, separator)
        else:
            problem, label = text_examples.parse_label(value, kind, labels)
        if problem:
            return f"column {columns.label}: {problem}", None
    guid = number if columns.guid is None else row.get(columns.guid)
    if guid is None or not str(guid).strip():
        return f"column {columns.guid} must hold what the row is called. Received: {guid!r}", None
    guid = str(guid)
    *pair, third = texts
    if third is not None:
        return None, TextTriple(guid, *pair, label, third)
    return None, TextExample(guid, *pair, label)


def read_rows(
    path: str | os.PathLike,
    problems: InputProblems,
    has_header: bool = True,
    required: Sequence[str] = (),
    file_format: str | None = None,
    quoting: bool | None = None,
    all_columns: bool = True,
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields (place, {column: value}) of each row of a table.

    Args:
        path: the file.
        problems: takes rows that cannot be read.
        has_header: of CSV and TSV.
        required: columns that must exist.
        file_format: as in `read`.
        quoting: as in `read`.
        all_columns: whether Parquet gives the columns that are not `required`, too.

    Raises:
        InputError: as `read`.
    """
    path = os.fspath(path)
    if not os.path.isfile(path):
        raise InputError(f"{path} must be a file. Received: no such file")
    file_format = file_format or _format_of(path)
    if file_format not in FORMAT_NAMES:
        formats = ", ".join(FORMAT_NAMES)
        raise ValueError(f"`file_format` must be one of {formats}. Received: {file_format!r}")
    if file_format == "parquet":
        rows = _parquet_rows(path, problems, required, all_columns)
    elif file_format == "jsonl":
        rows = _json_rows(path, problems, required)
    else:
        if quoting is None:
            quoting = file_format == "csv"
        read_fields = _quoted_fields if quoting else _plain_fields
        fields = read_fields(path, problems, "," if file_format == "csv" else "\t")
        rows = _named(path, fields, problems, has_header, required)
    empty, count_before = True, problems.count
    for row in rows:
        empty = False
        yield row
    if empty and problems.count == count_before:
        raise InputError(f"{path} must hold at least one row of data. Received: none")


def _format_of(path: str) -> str:
    suffix = os.path.splitext(compressed_files.without_suffix(path))[1].lower()
    if suffix not in FORMATS:
        raise InputError(
            f"{path}: the suffix must be one of {', '.join(FORMATS)}. Received: {suffix!r}"
        )
    return FORMATS[suffix]


def _named(
    path: str,
    numbered_fields: Iterable[tuple[str, list[str]]],
    problems: InputProblems,
    has_header: bool,
    required: Sequence[str],
) -> Iterator[tuple[str, dict[str, str]]]:
    """Yields rows as dicts; the first row says how many fields there are.

    An empty line is no row, unless there is but one column and another row behind it.
    """
    names, empty = None, []
    for place, fields in numbered_fields:
        if not fields and (names is None or len(names) > 1):
            continue
        if names is None:
            names = _distinct(fields if has_header else [""] * len(fields))
            _check_columns(path, fields if has_header else names, required)
            if has_header:
                continue
        if not fields:
            empty.append((place, {names[0]: ""}))
            continue
        yield from empty
        empty.clear()
        if len(fields) != len(names):
            # A cell with line breaks in it, as Excel writes them.
            hint = " (`quoting` reads cells in quotes)" if '"' in "".join(fields) else ""
            problem = f"must have {len(names)} fields. Received: {len(fields)}{hint}"
            problems.add(path, place, problem)
            continue
        yield place, dict(zip(names, fields, strict=True))


def _distinct(names: list[str]) -> list[str]:
    """Returns names that differ: later ones of equal names as pandas has them, `price.1`, and for
    none the number of the column; no such name is that of another column.
    """
    distinct, taken = [], {name for name in names if name}
    for number, name in enumerate(names):
        given, count = name or str(number), 0
        name = given
        while name in distinct or (name != names[number] and name in taken):
            count += 1
            name = f"{given}.{count}"
        distinct.append(name)
    return distinct


def _check_columns(path: str, names: list[str], required: Sequence[str]) -> None:
    for name in required:
        if names.count(name) != 1:
            one = "a column" if name not in names else "one column"
            has_semicolons = len(names) == 1 and name in names[0].split(";")
            hint = " (semicolons separate nothing here, commas and tabs do)"
            raise InputError(
                f"{path} must have {one} {name!r}. Received the columns: "
                f"{json_files.cut(', '.join(names))}{hint if has_semicolons else ''}"
            )


def _plain_fields(
    path: str, problems: InputProblems, delimiter: str
) -> Iterator[tuple[str, list[str]]]:
    for place, line in line_files.read_lines(path, problems, keep_empty=True):
        yield place, line.split(delimiter) if line else []


def _quoted_fields(
    path: str, problems: InputProblems, delimiter: str
) -> Iterator[tuple[str, list[str]]]:
    # The csv module stops at cells of 128 kB unless told otherwise.
    csv.field_size_limit(problems.largest_row)
    lines = _Lines(_csv_lines(path, problems))
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    start, is_told = 1, False
    while True:
        try:
            fields = next(reader, None)
        except csv.Error as error:
            problems.add(path, f"line {start}", f"must be CSV. Received: {error}")
            lines.go_back()
            start += 1
            continue
        if fields is None:
            return
        # Bytes that are no text pass through the reader, which alone knows where a row ends.
        problem = line_files.problem_of_bytes("".join(fields), path, problems)
        if problem:
            problems.add(path, f"line {start}", problem)
        else:
            yield f"line {start}", fields
        count = lines.end_row()
        if count > _MANY_LINES and not is_told:
            is_told = True
            problems.remark(
                f"{path}, line {start}: this row has {count:,} lines; a quote of another row may "
                "have closed its own"
            )
        start += count


class _Lines:
    """Lines for the csv module, which takes all that follows a quote that is never closed."""

    def __init__(self, lines: Iterable[str]):
        self._lines = iter(lines)
        self._waiting: collections.deque[str] = collections.deque()
        self._row: list[str] = []

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        self._row.append(self._waiting.popleft() if self._waiting else next(self._lines))
        return self._row[-1]

    def end_row(self) -> int:
        """Returns how many lines the row had."""
        count = len(self._row)
        self._row = []
        return count

    def go_back(self) -> None:
        """Gives the lines of the row again, but for the first."""
        self._waiting.extendleft(reversed(self._row[1:]))
        self._row = []


def _csv_lines(path: str, problems: InputProblems) -> Iterator[str]:
    """Yields the lines of a file, with their ends, as the csv module wants them."""
    for _, line in line_files.numbered_lines(path, problems):
        # A carriage return alone ends a line, too.
        yield from io.StringIO("\n" if line is None else line, newline="")


def _json_rows(
    path: str, problems: InputProblems, required: Sequence[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    for place, line in line_files.read_lines(path, problems):
        if not line.strip():
            continue
        try:
            row = json_files.parse_object(line)
        except json_files.JsonError as error:
            problems.add(path, place, str(error))
            continue
        missing = [name for name in required if name not in row]
        if missing:
            problems.add(
                path,
                place,
                f"must have the keys {', '.join(required)}. Received: {', '.join(row) or 'none'}",
            )
            continue
        yield place, row


def _size_of(cell: Any) -> int:
    if isinstance(cell, list):
        return sum(map(_size_of, cell))
    return len(cell) if isinstance(cell, str) else 0


def _parquet_rows(
    path: str, problems: InputProblems, required: Sequence[str], all_columns: bool
) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        raise InputError(
            f"{path}: reading Parquet needs pyarrow: pip install 'albert_tf[parquet]'"
        ) from error
    number = unpacked = 0
    try:
        with parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            _check_columns(path, names, [*required, *(names if all_columns else ())])
            columns = None if all_columns else list(required)
            for batch in file.iter_batches(_PARQUET_ROWS, columns=columns):
                problems.check_expansion(path, unpacked + batch.nbytes)
                # Row by row: a text that the file holds once can be that of many rows.
                for index in range(batch.num_rows):
                    row = {name: batch[name][index].as_py() for name in batch.schema.names}
                    unpacked += sum(map(_size_of, row.values()))
                    problems.check_expansion(path, unpacked)
                    number += 1
                    yield f"row {number}", row
    except InputError:
        raise
    except (ArrowException, OSError, ValueError) as error:
        raise InputError(
            f"{path}, after row {number}: must be a whole Parquet file. "
            f"Received: {json_files.shorten(error)}"
        ) from error
