"""Records (JSON lines, rows of Parquet, examples), of which one field holds a document's text."""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from albert_tf import json_files
from albert_tf.pipelines.sources import example_files
from albert_tf.pipelines.sources.files import DAMAGED, LOST_CHARACTERS, LineBlock, SkippedInput
from albert_tf.pipelines.text import books, languages, plain_text, wikipedia_text
from albert_tf.pipelines.text.plain_text import Paragraph

Record = tuple[int, dict[str, Any]]  # the number of its line or row, and its fields

# A lone surrogate has no UTF-8 and a zero byte ends a string elsewhere.
NOT_TEXT = re.compile("[\0\ud800-\udfff]")
# U+FFFD, which as itself was counted where bytes were read, and half of a pair of surrogates.
_ESCAPED_LOSS = re.compile(
    r"(?<!\\)(?:\\\\)*(?:\\u[fF]{3}[dD]|\\u[dD][89abAB]..(?!\\u[dD][c-fC-F]))"
    r"|(?<!\\u[dD][89abAB]..)(?<!\\)(?:\\\\)*\\u[dD][c-fC-F]"
)
_PARQUET_MAGIC = b"PAR1"
_ROWS_AT_ONCE = 64
# What WikiExtractor's articles are known by, beside the text.
_ARTICLE_COLUMNS = ("id", "url", "title")


def parse_json_lines(
    blocks: Iterable[LineBlock], path: str, report: SkippedInput, text_field: str = "text"
) -> Iterator[Paragraph]:
    """Yields the paragraphs of JSON lines, a document each; WikiExtractor's --json is known."""
    records = _read_json_records(blocks, path, report)
    return parse_records(records, "JSON line", path, report, text_field)


def _read_json_records(
    blocks: Iterable[LineBlock], path: str, report: SkippedInput
) -> Iterator[Record]:
    for number, line in plain_text.number_lines(blocks):
        line = line.strip()
        if not line:
            continue
        if _ESCAPED_LOSS.search(line):
            report.count(LOST_CHARACTERS)
        try:
            yield number, json_files.parse_object(line)
        except json_files.JsonError as error:
            report.add(path, f"line {number}", "broken JSON line", str(error))


def parse_records(
    records: Iterable[Record], kind: str, path: str, report: SkippedInput, text_field: str
) -> Iterator[Paragraph]:
    """Yields the paragraphs of records, a document each.

    Args:
        records: in order.
        kind: "JSON line", "row" or "example", what a record is in its file.
        path, report: where what has no text is reported.
        text_field: the key of the text.
    """
    for number, record in records:
        text = _find_field(record, text_field)
        if not isinstance(text, str):
            keys = json_files.listed(record)
            report.add(
                path,
                f"{kind.removeprefix('JSON ')} {number}",
                f"{kind} without text",
                f"expected a string under {text_field!r} (`text_field`), received {keys}",
            )
            continue
        if NOT_TEXT.search(text) or "\ufffd" in text and kind != "JSON line":
            report.count(LOST_CHARACTERS)
        text = NOT_TEXT.sub("\ufffd", text)
        yield from _parse_record_text(record, text, number, report)
        yield number, None


def _find_field(record: dict[str, Any], name: str) -> Any:
    """Returns a field, or with "outer/inner" one inside another; None where there is none.

    Example: `_find_field({"meta": {"text": "A."}}, "meta/text")` -> "A."
    """
    value = record.get(name)
    outer, _, inner = name.partition("/")
    if value is None and inner and isinstance(record.get(outer), dict):
        return _find_field(record[outer], inner)
    return value


def _parse_record_text(
    record: dict[str, Any], text: str, number: int, report: SkippedInput
) -> Iterator[Paragraph]:
    """Yields the paragraphs of the text of one record, all under the record's line number."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if "title" in record and "url" in record and "id" in record:
        title = str(record["title"]).strip()
        language = languages.guess_language(text)
        for line in lines[1:] if lines[0].strip() == title else lines:
            prose = wikipedia_text.take_wiki_prose(line, language, report)
            if prose:
                yield number, prose
        return
    shape = (
        plain_text.describe_plain_text(lines)
        if len(lines) > 3
        else plain_text.PlainTextShape("book")
    )
    if shape.margin:
        paragraphs = books.unwrap_lines(enumerate(lines), shape)
    else:
        paragraphs = ((number, line.strip()) for line in lines)
        if not languages.is_small(text):  # a small letter tells that few lines are wrapped
            paragraphs = books.join_interrupted(paragraphs)
    for _, paragraph in paragraphs:
        if paragraph:
            yield number, paragraph


def read_examples(
    path: str,
    text_field: str,
    report: SkippedInput,
    on_bytes: Callable[[int], None] | None = None,
) -> Iterator[Record]:
    """Reads the examples of a file of TensorFlow Datasets; arguments as of `read_parquet`."""
    wanted = (text_field, *_ARTICLE_COLUMNS)
    is_wikipedia = os.path.basename(path).startswith("wikipedia-")
    for number, texts in example_files.read_texts(path, wanted, report, on_bytes):
        if is_wikipedia:  # whose examples have title and text alone
            texts = {"id": "", "url": ""} | texts
        yield number, texts


def _count_characters(cell: Any) -> int:
    """Returns the length of a text, or of all texts inside a cell."""
    if isinstance(cell, dict):
        return sum(map(_count_characters, cell.values()))
    return len(cell) if isinstance(cell, str) else 0


def is_parquet(path: str) -> bool:
    """Tells by its first and last bytes, or the first and its name, whether a file is Parquet."""
    try:
        with open(path, "rb") as file:
            if file.read(len(_PARQUET_MAGIC)) != _PARQUET_MAGIC:
                return False
            file.seek(-len(_PARQUET_MAGIC), os.SEEK_END)
            return file.read() == _PARQUET_MAGIC or str(path).endswith(".parquet")
    except OSError:
        return False  # who reads it will say why


def read_parquet(
    path: str,
    text_field: str,
    report: SkippedInput,
    most_bytes: int,
    on_bytes: Callable[[int], None] | None = None,
) -> Iterator[Record]:
    """Reads the rows of a Parquet file; what cannot be used is reported, never raised.

    Args:
        path: the file.
        text_field: the column of the texts, "outer/inner" where it is inside another.
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
        for number, total, record in _read_parquet_rows(path, text_field, report, most_bytes):
            if number % _ROWS_AT_ONCE == 0:
                count_consumed(size * number // total)
            yield number, record
    finally:
        count_consumed(size)


def _read_parquet_rows(
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
            text_column = text_field if text_field in names else text_field.partition("/")[0]
            if text_column not in names:
                expected = f"`text_field` names it; the columns are {', '.join(names)[:200]}"
                report.add(path, "", f"Parquet file without a column {text_field!r}", expected)
                return
            columns = [name for name in names if name in (text_column, *_ARTICLE_COLUMNS)]
            for batch in file.iter_batches(_ROWS_AT_ONCE, columns=columns):
                for index in range(batch.num_rows):
                    record = {name: batch[name][index].as_py() for name in columns}
                    number += 1
                    # A text that the file holds once can be that of many rows.
                    unpacked += sum(map(_count_characters, record.values()))
                    if unpacked > most_bytes:
                        report.add(path, f"row {number}", "unpacks to far more than its size")
                        return
                    yield number, file.metadata.num_rows, record
    except (ArrowException, OSError, ValueError) as error:
        detail = str(error).partition("\n")[0][:200]
        report.add(path, f"after row {number}", DAMAGED, detail)
