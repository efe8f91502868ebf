"""Records, lines of JSON or rows of a table, of which one field holds the text of a document."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from albert_tf import json_files
from albert_tf.pipelines.text import books, languages, plain_text, wikipedia_text
from albert_tf.pipelines.text.files import SkippedInput
from albert_tf.pipelines.text.plain_text import LineBlock, Paragraph

Record = tuple[int, dict[str, Any]]  # the number of its line or row, and its fields

_NOT_TEXT = re.compile("[\0\ud800-\udfff]")


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
        kind: "JSON line" or "row", what a record is in its file.
        path, report: where what has no text is reported.
        text_field: the key of the text.
    """
    for number, record in records:
        text = record.get(text_field)
        if not isinstance(text, str):
            keys = json_files.listed(record)
            report.add(
                path,
                f"{kind.removeprefix('JSON ')} {number}",
                f"{kind} without text",
                f"expected a string under {text_field!r} (`text_field`), received {keys}",
            )
            continue
        # A lone surrogate has no UTF-8 and a zero byte ends a string elsewhere.
        text = _NOT_TEXT.sub("\ufffd", text)
        yield from _parse_record_text(record, text, number, report)
        yield number, None


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
    for _, paragraph in paragraphs:
        if paragraph:
            yield number, paragraph
