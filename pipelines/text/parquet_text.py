"""Parquet files of texts, the form that most collections on the web have, to records."""

import os
from collections.abc import Callable, Iterator
from typing import Any

from albert_tf.pipelines.text.files import SkippedInput
from albert_tf.pipelines.text.text_records import Record

_MAGIC = b"PAR1"
_ROWS_AT_ONCE = 64
# What WikiExtractor's articles are known by, beside the text.
_ARTICLE_COLUMNS = ("id", "url", "title")


def is_parquet(path: str) -> bool:
    """Tells by its first and last bytes, or the first and its name, whether a file is Parquet."""
    try:
        with open(path, "rb") as file:
            if file.read(len(_MAGIC)) != _MAGIC:
                return False
            file.seek(-len(_MAGIC), os.SEEK_END)
            return file.read() == _MAGIC or str(path).endswith(".parquet")
    except OSError:
        return False  # who reads it will say why


def read_records(
    path: str,
    text_field: str,
    report: SkippedInput,
    most_bytes: int,
    on_bytes: Callable[[int], None] | None = None,
) -> Iterator[Record]:
    """Reads the rows of a Parquet file; what cannot be used is reported, never raised.

    Args:
        path: the file.
        text_field: the column of the texts.
        report: receives counts and what was left out.
        most_bytes: of the file unpacked; the rest of a larger one is left out.
        on_bytes: called with bytes of the file, as they are used up.

    Yields:
        The number of the row, counted from 1, and the text with what marks an article.
    """
    report.files += 1
    size = os.path.getsize(path)
    count_consumed = report.start_counting(on_bytes)
    try:
        for number, total, record in _read_rows(path, text_field, report, most_bytes):
            if number % _ROWS_AT_ONCE == 0:
                count_consumed(size * number // total)
            yield number, record
    finally:
        count_consumed(size)


def _read_rows(
    path: str, text_field: str, report: SkippedInput, most_bytes: int
) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """Yields (number, rows of the file, record)."""
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        report.add(path, "", "Parquet file, for which pip install 'albert_tf[parquet]' is needed")
        return
    number = unpacked = 0
    try:
        with parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            if text_field not in names:
                expected = f"`text_field` names it; the columns are {', '.join(names)[:200]}"
                report.add(path, "", f"Parquet file without a column {text_field!r}", expected)
                return
            columns = [name for name in names if name in (text_field, *_ARTICLE_COLUMNS)]
            for batch in file.iter_batches(_ROWS_AT_ONCE, columns=columns):
                for index in range(batch.num_rows):
                    record = {name: batch[name][index].as_py() for name in columns}
                    number += 1
                    # A text that the file holds once can be that of many rows.
                    unpacked += sum(len(cell) for cell in record.values() if isinstance(cell, str))
                    if unpacked > most_bytes:
                        report.add(path, f"row {number}", "unpacks to far more than its size")
                        return
                    yield number, file.metadata.num_rows, record
    except (ArrowException, OSError, ValueError) as error:
        detail = str(error).partition("\n")[0][:200]
        report.add(path, f"after row {number}", "damaged or truncated file", detail)
