"""Files to lines of text: decompression, decoding, and a report of what had to be left out.

Reads blocks of about a quarter of a megabyte, so that memory does not depend on the file's size.
"""

from __future__ import annotations

import codecs
import collections
import glob
import io
import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from absl import logging

from albert_tf.pipelines.sources import compressed_files, encodings, tfds_shards

LineBlock = tuple[int, list[str]]  # the number of the first line, and the lines

BLOCK_BYTES = 1 << 18
# A line longer than this is read as several, so that a file without line breaks fits in memory.
MAX_LINE_BYTES = 1 << 24
# Text compresses to a fifth or a tenth; what unpacks to more than this was made to fill disks.
_MAX_EXPANSION = 100
_SURELY_SMALL_BYTES = 1 << 24
MAX_WARNINGS_PER_FILE = 5
DAMAGED = "damaged or truncated file"
LOST_CHARACTERS = "text with U+FFFD, for characters that were lost before"
_MAX_ENTRIES_KEPT = 100


class SkippedInput:
    """What was read and what was left out, with file, position and reason.

    Attributes:
        files, bytes_read, documents, sentences: counts of what was read; `bytes_read` counts bytes
            of the files as they lie on disk, so that it can be compared with their sizes.
        documents_cut: documents that end where the text does not part them, for their length.
        encodings: name of an encoding -> how many files are in it.
        layouts: layout of plain text that was guessed -> how many files were read in it.
        counts: reason -> how often something was left out for it.
        entries: dicts of file, position, reason and detail, the first hundred.
    """

    def __init__(self):
        self.files = 0
        self.bytes_read = 0
        self.documents = 0
        self.sentences = 0
        self.documents_cut = 0
        self.encodings: collections.Counter[str] = collections.Counter()
        self.layouts: collections.Counter[str] = collections.Counter()
        self.counts: collections.Counter[str] = collections.Counter()
        self.entries: list[dict[str, str]] = []
        self._warnings_by_file: collections.Counter[str] = collections.Counter()

    def add(self, file: str, position: str, reason: str, detail: str = "") -> None:
        """Counts one thing left out and warns about it, a few times per file.

        Args:
            file: path of the file.
            position: such as "line 12, byte 340", or "" for the whole file.
            reason: a short fixed text, the key under which it is counted.
            detail: what was found there.
        """
        self.counts[reason] += 1
        if len(self.entries) < _MAX_ENTRIES_KEPT:
            self.entries.append(
                {"file": file, "position": position, "reason": reason, "detail": detail}
            )
        self._warnings_by_file[file] += 1
        num_warnings = self._warnings_by_file[file]
        if num_warnings <= MAX_WARNINGS_PER_FILE:
            where = f"{file}, {position}" if position else file
            logging.warning("%s: %s%s", where, reason, f" ({detail})" if detail else "")
        if num_warnings == MAX_WARNINGS_PER_FILE:
            logging.warning("%s: further warnings about this file are only counted", file)

    def count(self, reason: str, times: int = 1) -> None:
        """Counts things that are left out by the rules of a layout, such as a heading."""
        if times:
            self.counts[reason] += times

    def log_layouts(self) -> None:
        """Says how plain text was read whose layout nothing but its lines told."""
        if self.layouts:
            guessed = ", ".join(f"{name}: {n}" for name, n in sorted(self.layouts.items()))
            logging.info(
                "files of plain text, read as %s; `layout` names another one, as in "
                "--layout=sentences",
                guessed,
            )

    def merge(self, other: SkippedInput) -> None:
        """Adds the counts and entries of another report, for example of another process."""
        self.files += other.files
        self.bytes_read += other.bytes_read
        self.documents += other.documents
        self.sentences += other.sentences
        self.documents_cut += other.documents_cut
        self.encodings.update(other.encodings)
        self.layouts.update(other.layouts)
        self.counts.update(other.counts)
        self.entries.extend(other.entries[: _MAX_ENTRIES_KEPT - len(self.entries)])

    def start_counting(
        self, on_bytes: Callable[[int], None] | None = None
    ) -> Callable[[int], None]:
        """Returns a function that takes the position up to which a file has been used up.

        Args:
            on_bytes: called with the number of bytes since the last call.
        """
        consumed = 0

        def count_consumed(position: int) -> None:
            nonlocal consumed
            self.bytes_read += position - consumed
            if on_bytes is not None and position > consumed:
                on_bytes(position - consumed)
            consumed = position

        return count_consumed

    def to_dict(self) -> dict[str, Any]:
        """Returns the report as plain values for a JSON file."""
        return {
            "files": self.files,
            "bytes_read": self.bytes_read,
            "documents": self.documents,
            "sentences": self.sentences,
            "documents_cut": self.documents_cut,
            "encodings": dict(sorted(self.encodings.items())),
            "layouts": dict(sorted(self.layouts.items())),
            "skipped": dict(sorted(self.counts.items())),
            "skipped_examples": list(self.entries),
        }


def list_input_files(
    patterns: str | os.PathLike | Iterable[str | os.PathLike], tfds_data_dir: str | None = None
) -> list[str]:
    """Expands paths, globs and names of data sets into a sorted list of files, each once.

    Args:
        patterns: one may hold several with commas between. `**` matches any depth of folders. A
            path that exists is taken as it is, even when it holds a comma or a bracket.
            "tfds:name" is a data set of TensorFlow Datasets, see `tfds_shards`.
        tfds_data_dir: where such data sets are prepared; None takes the library's own folder.

    Raises:
        ValueError: no pattern was given, or a name that is none.
        FileNotFoundError: a pattern matches no file, or a data set is not prepared.
    """
    names = [patterns] if isinstance(patterns, (str, os.PathLike)) else list(patterns)
    pieces = []
    for name in map(os.fspath, names):
        pieces.extend([name] if os.path.isfile(name) else name.split(","))
    pieces = [piece.strip() for piece in pieces if piece.strip()]
    if not pieces:
        raise ValueError(f"Expected at least one file or pattern. Received: {patterns!r}")
    files = {}  # the first spelling of each
    for piece in pieces:
        if os.path.isfile(piece):
            matches = [piece]
        elif tfds_shards.is_tfds_name(piece):
            matches = tfds_shards.list_shards(piece, tfds_data_dir)
        else:
            matches = [path for path in glob.glob(piece, recursive=True) if os.path.isfile(path)]
        if not matches:
            matched = "matches none"
            if os.path.isdir(piece):
                matched = f"is a folder; {os.path.join(piece, '*')} names its files"
            raise FileNotFoundError(
                f"Expected every input pattern to match at least one file. Received: {piece!r}, "
                f"which {matched}."
            )
        for match in matches:
            files.setdefault(os.path.abspath(match), match)
    return sorted(files.values())


def read_line_blocks(
    path: str,
    report: SkippedInput,
    on_bytes: Callable[[int], None] | None = None,
    encoding: str = "auto",
    span: tuple[int, int] | None = None,
) -> Iterator[LineBlock]:
    """Reads a text file, plain or compressed (recognised by its first bytes), block by block.

    Bytes that are not of the encoding come as U+FFFD and are reported with their line; the caller
    drops the sentences that hold one. A file that is empty, binary, in an encoding that cannot be
    told, or cannot be read is reported and ends the iteration; what came before the damage is kept.

    Args:
        path: the file.
        report: receives counts and what was left out.
        on_bytes: called with the number of bytes consumed from disk since the last call.
        encoding: of the text; "auto" looks at its beginning.
        span: the first byte and the one behind the last, of a part that can be read by itself.

    Yields:
        The number of the first line, counted from 1, and lines without their ends.
    """
    is_beginning = span is None or span[0] == 0
    report.files += is_beginning
    try:
        raw = open(path, "rb")
    except OSError as error:
        report.add(path, "", "file that cannot be opened", str(error))
        return
    count_consumed = report.start_counting(on_bytes)
    with raw:
        begin, end = span or (0, os.fstat(raw.fileno()).st_size)
        reader = io.BufferedReader(_Window(raw, begin, end)) if span else raw
        try:
            line_number = 1
            for lines in _read_lines(reader, path, report, encoding, is_beginning):
                count_consumed(raw.tell() - begin)
                yield line_number, lines
                line_number += len(lines)
        finally:
            # A file left early counts as consumed, so that progress ends at the summed sizes.
            count_consumed(end - begin)


class _Window(io.RawIOBase):
    """A part of an open file, which ends where the part does."""

    def __init__(self, file: io.BufferedReader, begin: int, end: int):
        self._file, self._end = file, end
        file.seek(begin)

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: memoryview) -> int:
        """Fills a buffer as far as the part goes."""
        block = self._file.read(min(len(buffer), self._end - self._file.tell()))
        buffer[: len(block)] = block
        return len(block)


def _read_lines(
    raw: io.BufferedReader, path: str, report: SkippedInput, encoding: str, is_beginning: bool
) -> Iterator[list[str]]:
    """Yields the lines of an open file, block by block; tells how they are to be decoded."""
    problems_before = sum(report.counts.values())
    handle = compressed_files.open_unpacked(raw)
    if handle is None:
        report.add(path, "", compressed_files.ZSTANDARD_IS_AN_EXTRA)
        return
    blocks = _iterate_blocks(handle, path, report)
    first = next(blocks, None)
    if first is None:
        if sum(report.counts.values()) == problems_before:
            report.add(path, "", "empty file")
        return
    if encoding == "auto":
        encoding = encodings.detect_encoding(first)
        if encoding is None:
            report.add(path, "", *encodings.reason_not_text(first))
            return
        if not encoding.startswith("utf-8"):
            logging.info("%s: read as %s; `encoding` names another one", path, encoding)
    encoding = encodings.with_byte_order(encoding, first)
    report.encodings[encoding.removesuffix("-sig")] += is_beginning
    blocks = itertools.chain([first], blocks)
    if encoding.startswith("utf-8"):
        texts = _decode_utf8(blocks, path, report)
    else:
        texts = encodings.decode_blocks(blocks, encoding)
        if is_beginning:  # where the encoding is said, its byte-order mark is a character
            texts = itertools.chain([next(texts, "").removeprefix("\ufeff")], texts)
    line_number = 1
    for text in texts:
        lines = _split_lines(text, path, report, line_number, encoding)
        yield lines
        line_number += len(lines)


def _split_lines(
    text: str, path: str, report: SkippedInput, line_number: int, encoding: str
) -> list[str]:
    """Returns the lines of a text; what is not text in them becomes U+FFFD and is reported."""
    if "\0" in text:
        position = line_number + text.count("\n", 0, text.index("\0"))
        report.add(path, f"line {position}", "zero bytes in text")
        text = text.replace("\0", "\ufffd")
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    if "\ufffd" in text and not encoding.startswith("utf-8"):
        for number, line in enumerate(lines, line_number):
            if "\ufffd" in line:
                report.add(path, f"line {number}", f"bytes that are not {encoding}")
    return lines


def most_unpacked_bytes(path: str) -> int:
    """Returns how much text a file may hold: a hundred times its size, 16 MB at least."""
    return max(_SURELY_SMALL_BYTES, _MAX_EXPANSION * os.path.getsize(path))


def _iterate_blocks(handle: io.BufferedReader, path: str, report: SkippedInput) -> Iterator[bytes]:
    """Yields blocks that end with a line end, except where a line is far too long."""
    pieces, size, total = [], 0, 0
    most = most_unpacked_bytes(path)
    while True:
        try:
            chunk = handle.read1(BLOCK_BYTES)
        except compressed_files.READ_ERRORS as error:
            report.add(path, f"byte {total} of its text", DAMAGED, f"{error}")
            chunk = b""
        if not chunk:
            break
        total += len(chunk)
        if total > most:
            report.add(path, f"byte {total} of its text", "unpacks to far more than its size")
            break
        pieces.append(chunk)
        size += len(chunk)
        if size < BLOCK_BYTES:
            continue
        if b"\n" not in chunk and size < MAX_LINE_BYTES:
            continue
        block = b"".join(pieces)
        cut = block.rfind(b"\n") + 1 or block.rfind(b" ") + 1 or _end_of_characters(block)
        yield block[:cut]
        pieces = [block[cut:]] if cut < len(block) else []
        size = len(block) - cut
    if size:
        yield b"".join(pieces)


def _end_of_characters(block: bytes) -> int:
    """Returns where the last whole character of UTF-8 ends, if there is one near the end."""
    for first in range(len(block) - 1, max(0, len(block) - 5), -1):
        if block[first] & 0xC0 != 0x80:
            return first
    return len(block)


def _decode_utf8(blocks: Iterable[bytes], path: str, report: SkippedInput) -> Iterator[str]:
    """Yields blocks decoded; finds and reports the lines that are not UTF-8."""
    line_number, byte_position = 1, 0
    for block in blocks:
        if byte_position == 0 and block.startswith(codecs.BOM_UTF8):
            block = block[len(codecs.BOM_UTF8) :]
            byte_position = len(codecs.BOM_UTF8)
        text = _decode(block, path, report, line_number, byte_position)
        yield text
        line_number += text.count("\n")
        byte_position += len(block)


def _decode(
    block: bytes, path: str, report: SkippedInput, line_number: int, byte_position: int
) -> str:
    """Decodes a block; where that fails, finds and reports the lines that are not UTF-8."""
    try:
        text = block.decode("utf-8")
        if "\ufffd" in text:
            report.count(LOST_CHARACTERS, sum("\ufffd" in line for line in text.split("\n")))
        return text
    except UnicodeDecodeError:
        lines = []
        for line in block.split(b"\n"):
            try:
                lines.append(line.decode("utf-8"))
                report.count(LOST_CHARACTERS, int("\ufffd" in lines[-1]))
            except UnicodeDecodeError as error:
                position = f"line {line_number}, byte {byte_position + error.start}"
                byte = f"byte 0x{line[error.start]:02x}; `encoding` names another encoding"
                report.add(path, position, "bytes that are not UTF-8", byte)
                lines.append(line.decode("utf-8", "replace"))
            line_number += 1
            byte_position += len(line) + 1
        return "\n".join(lines)
