"""Files to lines of text: decompression, decoding, and a report of what had to be left out.

Reads blocks of about a quarter of a megabyte, so that memory does not depend on the file's size.
"""

import bz2
import collections
import glob
import gzip
import lzma
import os
import zlib

from absl import logging

BLOCK_BYTES = 1 << 18
# A line longer than this is read as several, so that a file without line breaks fits in memory.
MAX_LINE_BYTES = 1 << 24
# Text compresses to a fifth or a tenth; what unpacks to more than this was made to fill disks.
_MAX_EXPANSION = 100
_SURELY_SMALL_BYTES = 1 << 24
MAX_WARNINGS_PER_FILE = 5
_MAX_ENTRIES_KEPT = 100

_OPENERS_BY_MAGIC = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
}
_WIDE_ENCODING_MARKS = {
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_READ_ERRORS = (EOFError, OSError, zlib.error, lzma.LZMAError)


class SkippedInput:
    """What was read and what was left out, with file, position and reason.

    Attributes:
      files, bytes_read, documents, sentences: counts of what was read; `bytes_read` counts bytes of
        the files as they lie on disk, so that it can be compared with their sizes.
      counts: collections.Counter, reason -> how often something was left out for it.
      entries: list of dict(file, position, reason, detail), the first hundred.
    """

    def __init__(self):
        self.files = 0
        self.bytes_read = 0
        self.documents = 0
        self.sentences = 0
        self.counts = collections.Counter()
        self.entries = []
        self._warnings_by_file = collections.Counter()

    def add(self, file, position, reason, detail=""):
        """Counts one thing left out and warns about it, a few times per file.

        Args:
          file: path of the file.
          position: str such as "line 12, byte 340", or "" for the whole file.
          reason: a short fixed text, the key under which it is counted.
          detail: what was found there.
        """
        self.counts[reason] += 1
        if len(self.entries) < _MAX_ENTRIES_KEPT:
            self.entries.append(
                {"file": file, "position": position, "reason": reason, "detail": detail}
            )
        self._warnings_by_file[file] += 1
        shown = self._warnings_by_file[file]
        if shown <= MAX_WARNINGS_PER_FILE:
            where = f"{file}, {position}" if position else file
            logging.warning("%s: %s%s", where, reason, f" ({detail})" if detail else "")
        if shown == MAX_WARNINGS_PER_FILE:
            logging.warning("%s: further warnings about this file are only counted", file)

    def count(self, reason):
        """Counts one thing that is left out by the rules of a layout, such as a heading."""
        self.counts[reason] += 1

    def merge(self, other):
        """Adds the counts and entries of another report, for example of another process."""
        self.files += other.files
        self.bytes_read += other.bytes_read
        self.documents += other.documents
        self.sentences += other.sentences
        self.counts.update(other.counts)
        self.entries.extend(other.entries[: _MAX_ENTRIES_KEPT - len(self.entries)])

    def to_dict(self):
        """Returns the report as plain values for a JSON file."""
        return {
            "files": self.files,
            "bytes_read": self.bytes_read,
            "documents": self.documents,
            "sentences": self.sentences,
            "skipped": dict(sorted(self.counts.items())),
            "skipped_examples": list(self.entries),
        }


def list_input_files(patterns):
    """Expands paths and globs into a sorted list of files, each once.

    Args:
      patterns: str (may hold several patterns with commas between) or an iterable of such str.
        `**` matches any depth of folders. A path that exists is taken as it is, even when it
        holds a comma or a bracket.

    Returns:
      list of str, sorted.

    Raises:
      ValueError: no pattern was given.
      FileNotFoundError: a pattern matches no file.
    """
    names = [patterns] if isinstance(patterns, (str, os.PathLike)) else list(patterns)
    pieces = []
    for name in map(os.fspath, names):
        pieces.extend([name] if os.path.isfile(name) else name.split(","))
    pieces = [piece.strip() for piece in pieces if piece.strip()]
    if not pieces:
        raise ValueError(f"Expected at least one file or pattern. Received: {patterns!r}")
    files = set()
    for piece in pieces:
        if os.path.isfile(piece):
            matches = [piece]
        else:
            matches = [path for path in glob.glob(piece, recursive=True) if os.path.isfile(path)]
        if not matches:
            raise FileNotFoundError(
                f"Expected every input pattern to match at least one file. Received: {piece!r}, "
                "which matches none."
            )
        files.update(matches)
    return sorted(files)


def read_line_blocks(path, report, on_bytes=None):
    """Reads a text file, plain or compressed (recognised by its first bytes), block by block.

    Bytes that are not UTF-8 come as U+FFFD and are reported with line and byte; the caller drops
    the sentences that hold one. A file that is empty, binary or cannot be read is reported and
    ends the iteration; what came before the damage is kept.

    Args:
      path: file.
      report: `SkippedInput`.
      on_bytes: called with the number of bytes consumed from disk since the last call.

    Yields:
      (number of the first line, counted from 1; list of str, lines without their ends).
    """
    report.files += 1
    try:
        raw = open(path, "rb")
    except OSError as error:
        report.add(path, "", "file that cannot be opened", str(error))
        return
    line_number, byte_position, consumed = 1, 0, 0
    problems_before = sum(report.counts.values())

    def count_consumed(position):
        nonlocal consumed
        report.bytes_read += position - consumed
        if on_bytes is not None and position > consumed:
            on_bytes(position - consumed)
        consumed = position

    with raw:
        try:
            for block in _iterate_blocks(_open_decompressed(raw), path, report):
                count_consumed(raw.tell())
                if byte_position == 0:
                    reason = _reason_not_text(block)
                    if reason:
                        report.add(path, "", *reason)
                        break
                    if block.startswith(_BYTE_ORDER_MARK):
                        block = block[len(_BYTE_ORDER_MARK) :]
                        byte_position = len(_BYTE_ORDER_MARK)
                lines = _decode_lines(block, path, report, line_number, byte_position)
                byte_position += len(block)
                yield line_number, lines
                line_number += len(lines)
            else:
                if byte_position == 0 and sum(report.counts.values()) == problems_before:
                    report.add(path, "", "empty file")
        finally:
            # A file left early counts as consumed, so that progress ends at the summed sizes.
            count_consumed(os.fstat(raw.fileno()).st_size)


def _decode_lines(block, path, report, line_number, byte_position):
    """Returns the lines of a block; what is not text in them becomes U+FFFD and is reported."""
    text = _decode(block, path, report, line_number, byte_position)
    if "\0" in text:
        line_number += text.count("\n", 0, text.index("\0"))
        report.add(path, f"line {line_number}", "zero bytes in text")
        text = text.replace("\0", "\ufffd")
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    return lines


def _open_decompressed(raw):
    """Returns a binary reader of the text in `raw`, by the first bytes of the file."""
    head = raw.peek(8)
    for magic, opener in _OPENERS_BY_MAGIC.items():
        if head.startswith(magic):
            return opener(raw, "rb")
    return raw


def _iterate_blocks(handle, path, report):
    """Yields bytes objects that end with a line end, except where a line is far too long."""
    pieces, size, total = [], 0, 0
    most = max(_SURELY_SMALL_BYTES, _MAX_EXPANSION * os.path.getsize(path))
    while True:
        try:
            chunk = handle.read1(BLOCK_BYTES)
        except _READ_ERRORS as error:
            report.add(path, f"byte {total} of its text", "damaged or truncated file", f"{error}")
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
        cut = block.rfind(b"\n") + 1 or block.rfind(b" ") + 1 or len(block)
        yield block[:cut]
        pieces = [block[cut:]] if cut < len(block) else []
        size = len(block) - cut
    if size:
        yield b"".join(pieces)


def _reason_not_text(block):
    """Returns (reason, detail) when the first block of a file is not UTF-8 text, else None."""
    for mark, encoding in _WIDE_ENCODING_MARKS.items():
        if block.startswith(mark):
            return f"not UTF-8 but {encoding}", "convert the file to UTF-8"
    if b"\0" in block:
        return "binary file", f"zero byte at byte {block.index(0)}"
    if not block.strip():
        return None
    sample = block[:65536]
    broken = sample.decode("utf-8", "replace").count("\ufffd")
    if broken > 0.1 * len(sample):
        return "binary file", f"{broken} of the first {len(sample)} bytes are not UTF-8"
    return None


def _decode(block, path, report, line_number, byte_position):
    """Decodes a block; where that fails, finds and reports the lines that are not UTF-8."""
    try:
        return block.decode("utf-8")
    except UnicodeDecodeError:
        lines = []
        for line in block.split(b"\n"):
            try:
                lines.append(line.decode("utf-8"))
            except UnicodeDecodeError as error:
                position = f"line {line_number}, byte {byte_position + error.start}"
                byte = f"byte 0x{line[error.start]:02x}: {error.reason}"
                report.add(path, position, "bytes that are not UTF-8", byte)
                lines.append(line.decode("utf-8", "replace"))
            line_number += 1
            byte_position += len(line) + 1
        return "\n".join(lines)
