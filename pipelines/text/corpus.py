"""Text files of many layouts to documents of sentences, as a stream of bounded memory.

    files (lines) -> layouts, plain_text and others (paragraphs) -> sentence_splitting -> Document

Example:
    >>> report = SkippedInput()
    >>> for document in read_documents("books/*.txt,wiki/**/wiki_*.bz2", report):
    ...     print(document.source, len(document.sentences))
"""

import dataclasses
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence

from albert_tf.pipelines.sources import encodings, example_files
from albert_tf.pipelines.sources.files import (
    LineBlock,
    SkippedInput,
    list_input_files,
    most_unpacked_bytes,
    read_line_blocks,
)
from albert_tf.pipelines.text import (
    books,
    layouts,
    mediawiki,
    plain_text,
    text_records,
    wiki_markup,
    wikipedia_text,
)
from albert_tf.pipelines.text.layouts import FilePart, cut_file
from albert_tf.pipelines.text.plain_text import Paragraph
from albert_tf.pipelines.text.sentence_splitting import (
    MAX_SENTENCE_CHARACTERS,
    cut_long_sentence,
    cut_to_bytes,
    split_sentences,
)

__all__ = [
    "Document",
    "FilePart",
    "SkippedInput",
    "cut_file",
    "cut_to_bytes",
    "list_input_files",
    "read_documents",
    "read_file",
    "split_sentences",
    "total_input_bytes",
]

# A document that reaches one of these ends, and the next sentence starts a new one: so a huge file
# without a blank line stays within memory. The longest English novels have about 20,000 sentences.
MAX_DOCUMENT_SENTENCES = 16_384
MAX_DOCUMENT_CHARACTERS = 1 << 22


@dataclasses.dataclass(frozen=True, slots=True)
class Document:
    """Consecutive sentences of one text.

    Attributes:
        sentences: in reading order, at least one, none empty, no line breaks inside.
        source: "path:line", where the document begins.
    """

    sentences: list[str]
    source: str


def total_input_bytes(paths: Sequence[str]) -> int:
    """Returns the summed size of files on disk: the goal of a progress bar of `bytes_read`."""
    return sum(os.path.getsize(path) for path in paths)


def read_documents(
    patterns: str | os.PathLike | Sequence[str | os.PathLike],
    report: SkippedInput | None = None,
    layout: str = "auto",
    on_bytes: Callable[[int], None] | None = None,
    *,
    text_field: str = "text",
    encoding: str = "auto",
    tfds_data_dir: str | None = None,
) -> Iterator[Document]:
    """Reads the documents of many files, one after the other, files in sorted order.

    Args:
        patterns: see `list_input_files`.
        report: receives counts and what was left out, if given.
        layout: "auto" (by content and name) or another of `layouts.LAYOUTS`.
        on_bytes: called with the number of bytes consumed from disk since the last call.
        text_field: key of the text in JSON lines, its column in Parquet, its feature in examples.
        encoding: of all files, by a name that Python knows; "auto" looks at each file.
        tfds_data_dir: see `list_input_files`.

    Raises:
        ValueError: an unknown layout or encoding, or no usable text in any of the files.
        FileNotFoundError: a pattern matches no file, or a data set is not prepared.
    """
    report = SkippedInput() if report is None else report
    paths = list_input_files(patterns, tfds_data_dir)
    any_text = False
    for path in paths:
        for document in read_file(
            path, layout, report, on_bytes, text_field=text_field, encoding=encoding
        ):
            any_text = True
            yield document
    report.log_layouts()
    if not any_text:
        raise no_text_error(paths, report)


def no_text_error(paths: Sequence[str], report: SkippedInput) -> ValueError:
    """Returns the ValueError for input that holds no usable text, with the reasons found."""
    reasons = ", ".join(f"{reason}: {count}" for reason, count in sorted(report.counts.items()))
    details = [entry["detail"] for entry in report.entries if entry["detail"]]
    return ValueError(
        f"Expected text in the input files. Received: {len(paths)} file(s), the first "
        f"{paths[0]!r}, without one usable sentence ({reasons or 'only blank lines'})."
        + (f" The first of it: {details[0]}." if details else "")
    )


def read_file(
    path: str | os.PathLike,
    layout: str = "auto",
    report: SkippedInput | None = None,
    on_bytes: Callable[[int], None] | None = None,
    *,
    text_field: str = "text",
    encoding: str = "auto",
    part: FilePart | None = None,
) -> Iterator[Document]:
    """Reads the documents of one file; what cannot be used is reported, never raised.

    The arguments are those of `read_documents`, for the one file `path`, or for a part of it.
    """
    if layout not in layouts.LAYOUTS:
        raise ValueError(
            f"Argument layout: expected one of {layouts.LAYOUTS}. Received: {layout!r}"
        )
    encodings.check_encoding(encoding)
    report = SkippedInput() if report is None else report
    if part is not None and part.is_first and part.end == os.path.getsize(path):
        part = None
    return _read_file(os.fspath(path), layout, report, on_bytes, text_field, encoding, part)


def _read_file(
    path: str,
    layout: str,
    report: SkippedInput,
    on_bytes: Callable[[int], None] | None,
    text_field: str,
    encoding: str,
    part: FilePart | None,
) -> Iterator[Document]:
    split = keep_sentence if layout == "sentences" else split_sentences
    if text_records.is_parquet(path):
        rows = text_records.read_parquet(
            path, text_field, report, most_unpacked_bytes(path), on_bytes
        )
        paragraphs = text_records.parse_records(rows, "row", path, report, text_field)
    elif example_files.is_example_file(path):
        rows = text_records.read_examples(path, text_field, report, on_bytes)
        paragraphs = text_records.parse_records(rows, "example", path, report, text_field)
    else:
        head = ()
        if part is not None and not part.is_first:
            # What the file is, and what its parts need to know of it, stands at its beginning.
            head = read_line_blocks(path, SkippedInput(), encoding=encoding)
            if layout == "auto":
                layout = layouts.recognise_layout(path, next(head)[1])
                head.close()
                head = read_line_blocks(path, SkippedInput(), encoding=encoding)
        span = None if part is None else (part.begin, part.end)
        if part is not None:
            encoding = "utf-8"  # as the whole file was found to be, whatever this part looks like
        blocks = read_line_blocks(path, report, on_bytes, encoding, span)
        first_block = next(blocks, None)
        if first_block is None:
            return
        if layout == "auto":
            markup = layouts.recognise_markup(first_block[1])
            if markup:
                report.add(path, "", "markup instead of text", markup)
                blocks.close()
                return
            layout = layouts.recognise_layout(path, first_block[1])
            if layout in plain_text.LAYOUTS:
                report.layouts[layout] += 1
        if layout == "mediawiki" and wiki_markup.mwparserfromhell is None:
            report.add(path, "", wiki_markup.PARSER_IS_AN_EXTRA)
            blocks.close()
            return
        if layout == "wikiextractor" and _first_text(first_block).startswith("{"):
            layout = "jsonl"
        split = keep_sentence if layout == "sentences" else split_sentences
        blocks = itertools.chain([first_block], blocks)
        if layout == "mediawiki":
            is_last = part is None or part.end == os.path.getsize(path)
            paragraphs = mediawiki.parse_dump(blocks, path, report, head=head, is_last=is_last)
        else:
            paragraphs = _parse_layout(layout, blocks, path, report, text_field)
    documents_before = report.documents
    goes_on = (
        layout in ("sentences", "paragraphs")
        and part is not None
        and part.end < os.path.getsize(path)
    )
    for document in assemble_documents(paragraphs, path, split, report, goes_on):
        report.documents += 1
        report.sentences += len(document.sentences)
        yield document
    if report.documents == documents_before and part is None:
        report.add(path, "", "no usable text")


def _parse_layout(
    layout: str, blocks: Iterable[LineBlock], path: str, report: SkippedInput, text_field: str
) -> Iterator[Paragraph]:
    """Returns the paragraphs of a text in one of `LAYOUTS` other than "auto" and dumps."""
    if layout in ("sentences", "paragraphs"):
        return plain_text.parse_lines(blocks)
    if layout == "book":
        return books.parse_book(blocks, report)
    if layout == "wikiextractor":
        lines = plain_text.number_lines(blocks)
        return wikipedia_text.parse_wikiextractor(lines, report)
    return text_records.parse_json_lines(blocks, path, report, text_field)


def _first_text(block: LineBlock) -> str:
    return next((line.lstrip() for line in block[1] if line.strip()), "")


def keep_sentence(line: str) -> list[str]:
    """Returns a line as the one sentence it is, cut only when it is far too long."""
    if len(line) > MAX_SENTENCE_CHARACTERS:
        return cut_long_sentence(line)
    return [line]


def assemble_documents(
    paragraphs: Iterable[Paragraph],
    path: str,
    split: Callable[[str], list[str]],
    report: SkippedInput,
    goes_on: bool = False,
) -> Iterator[Document]:
    """Gathers paragraphs into documents of bounded size, each of at least one sentence.

    A sentence that holds U+FFFD, the trace of bytes that could not be decoded, is left out;
    who read the text has counted it.

    Args:
        paragraphs: of a file or a part of it.
        path: of the file.
        split: a paragraph to its sentences.
        report: counts the documents that are cut.
        goes_on: whether the text does behind the last paragraph, in another part.
    """
    sentences, characters, started = [], 0, 0
    for number, paragraph in paragraphs:
        if paragraph is None:
            if sentences:
                yield Document(sentences, f"{path}:{started}")
                sentences, characters = [], 0
            continue
        if not sentences:
            started = number
        parts = split(paragraph)
        if "\ufffd" in paragraph:
            parts = [sentence for sentence in parts if "\ufffd" not in sentence]
        sentences.extend(parts)
        characters += len(paragraph)
        if len(sentences) >= MAX_DOCUMENT_SENTENCES or characters >= MAX_DOCUMENT_CHARACTERS:
            report.documents_cut += 1
            yield Document(sentences, f"{path}:{started}")
            sentences, characters = [], 0
    if sentences:
        report.documents_cut += goes_on
        yield Document(sentences, f"{path}:{started}")
