"""The layouts that text comes in, how a file's is told, and where large files may be cut.

How a plain text is told apart (`recognise_layout`), on the first block of a file, in this order:
1. it begins with `<mediawiki`, behind `<?xml ...?>` or not: a MediaWiki dump;
2. the first line that is not blank starts with `<doc `: WikiExtractor;
3. it is a JSON object, or the name says .jsonl, .ndjson: JSON lines;
4. otherwise plain text:
   a. of the lines that another one follows directly, less than half end a sentence, and either most
      are filled up to a common right margin of at most 130 characters (the next line's first word
      would not have fitted) or, where blank lines part the paragraphs, four in five have at least
      60% of that length: a hard-wrapped book;
   b. fewer than 12% of the longer lines hold a sentence end inside the line, and more than 5% of
      all lines follow another one directly: one sentence a line, a blank line between documents;
   c. at least 30% of the lines follow another one, blank lines stand between them, and no headings
      of chapters: one paragraph a line, a blank line between documents;
   d. otherwise a book with one paragraph a line, or a blank line behind every one.
"""

import bz2
import dataclasses
import os
import re
from collections.abc import Sequence
from typing import BinaryIO

from albert_tf.pipelines.sources import encodings
from albert_tf.pipelines.text import books, plain_text

LAYOUTS = ("auto", "sentences", "paragraphs", "book", "wikiextractor", "mediawiki", "jsonl")

_MARKUP_BEGINNINGS = {
    "<!doctype": "an HTML page; extract its text first",
    "<html": "an HTML page; extract its text first",
    "<?xml": "XML; extract its text first",
    "%pdf-": "a PDF document; extract its text first",
    "{\\rtf": "a rich text document; save it as plain text first",
}
# A file of twice as much is cut into parts that are read by themselves.
PART_BYTES = 16 << 20
_HEAD_BYTES = 1 << 18
_SEARCH_BYTES = 1 << 20
# The largest block of bzip2 is 900 kB, and nothing comes out before its end.
_BZIP2_BLOCK_BYTES = 1 << 20
_LONGEST_BOUNDARY = 16
_BLANK_LINE = re.compile(rb"\n[ \t\r]*\n")
# Where a part may begin: behind these bytes, or, of what is compressed, with them.
_BOUNDARIES = {
    "jsonl": re.compile(rb"\n"),
    "wikiextractor": re.compile(rb"\n(?=<doc )"),
    "mediawiki": re.compile(rb"\n(?= *<page>)"),
    "sentences": _BLANK_LINE,
    "paragraphs": _BLANK_LINE,
}
_LINE_END = re.compile(rb"\n")
_BZIP2_STREAM = re.compile(rb"(?=BZh[1-9]1AY&SY)")
_DUMP = re.compile(r"\ufeff?\s*(?:<\?xml\b[^>]*\?>\s*)?(?:<!--[^>]*-->\s*)*<mediawiki[\s>]")


@dataclasses.dataclass(frozen=True)
class FilePart:
    """A file, or a part of it that begins where a document does.

    Attributes:
        path: of the file.
        begin, end: in bytes, as they lie on disk.
    """

    path: str
    begin: int
    end: int

    @property
    def is_first(self) -> bool:
        """Whether it begins where the file does."""
        return self.begin == 0


def cut_file(path: str, layout: str = "auto", encoding: str = "auto") -> list[FilePart]:
    """Returns parts of a file of some 16 MB, or the file as the one part that it is.

    Their documents, one part after the other, are those of the file, but for the last kind named
    here. Text in UTF-8 is cut between
    documents where its layout says where they end, a MediaWiki dump of several streams of bzip2
    between these. A book is one document, and other compression has no place to begin at. Text with
    a sentence a line and no blank line for 16 MB, more than any document holds, is cut at a line.
    """
    size = os.path.getsize(path)
    whole = [FilePart(path, 0, size)]
    if size < 2 * PART_BYTES:
        return whole
    with open(path, "rb") as file:
        boundary = _find_boundary(path, file.read(_HEAD_BYTES), layout, encoding)
        if boundary is None or (boundary is _BZIP2_STREAM and not _has_pages_in_streams(file)):
            return whole
        places = [0]
        while places[-1] + 2 * PART_BYTES <= size:
            place = _next_part(file, places[-1] + PART_BYTES, boundary)
            if place is None or place >= size:
                break
            places.append(place)
    return [FilePart(path, *ends) for ends in zip(places, [*places[1:], size], strict=True)]


def _find_boundary(path: str, head: bytes, layout: str, encoding: str) -> re.Pattern[bytes] | None:
    """Returns where parts of a file may begin, or None where it cannot be cut."""
    is_packed = _BZIP2_STREAM.match(head) is not None
    if is_packed:
        try:
            head = bz2.BZ2Decompressor().decompress(head)
        except (OSError, EOFError):
            return None
    if encoding not in ("auto", "utf-8") or encodings.detect_encoding(head) != "utf-8":
        return None
    lines = head.decode("utf-8", "replace").splitlines()
    if layout == "auto":
        layout = recognise_layout(path, lines)
    if is_packed:
        return _BZIP2_STREAM if layout == "mediawiki" else None
    is_plain = not head.startswith((b"\x1f\x8b", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"PAR1"))
    return _BOUNDARIES.get(layout) if is_plain else None


def _has_pages_in_streams(file: BinaryIO) -> bool:
    """Tells a dump whose streams hold whole pages from one that was compressed in blocks."""
    place = _next_place(file, 1, _BZIP2_STREAM)
    if place is None:
        return False
    file.seek(place)
    try:
        second = bz2.BZ2Decompressor().decompress(file.read(_BZIP2_BLOCK_BYTES))
    except (OSError, EOFError):
        return False
    return second.lstrip().startswith(b"<page>")


def _next_part(file: BinaryIO, place: int, boundary: re.Pattern[bytes]) -> int | None:
    """Returns where the next part from a place on begins, or None."""
    if boundary is not _BLANK_LINE:
        return _next_place(file, place, boundary)
    between_documents = _next_place(file, place, boundary, place + PART_BYTES)
    return between_documents or _next_place(file, place, _LINE_END)


def _next_place(
    file: BinaryIO, place: int, boundary: re.Pattern[bytes], last: int | None = None
) -> int | None:
    """Returns the first boundary from a place on, looking no further than `last`, or None."""
    while last is None or place < last:
        file.seek(place)
        block = file.read(_SEARCH_BYTES + _LONGEST_BOUNDARY)
        match = boundary.search(block)
        if match:
            return place + match.end()
        if len(block) <= _SEARCH_BYTES:
            return None
        place += _SEARCH_BYTES
    return None


def recognise_layout(path: str | os.PathLike, lines: Sequence[str]) -> str:
    """Returns one of `LAYOUTS` other than "auto", by a file's name and first lines."""
    if _is_dump(lines):
        return "mediawiki"
    first = next((line.strip() for line in lines if line.strip()), "")
    if first.startswith("<doc "):
        return "wikiextractor"
    if re.search(r"\.(jsonl|ndjson|json)(\.(gz|bz2|xz|zst))?$", str(path), re.IGNORECASE):
        return "jsonl"
    if first.startswith("{") and re.match(r'\{\s*("|\})', first):
        return "jsonl"
    layout = plain_text.describe_plain_text(lines).layout
    return "book" if layout == "paragraphs" and books.has_chapters(lines) else layout


def recognise_markup(lines: Sequence[str]) -> str:
    """Returns what kind of markup a file is that we do not read as text, or ""."""
    if _is_dump(lines):
        return ""
    first = next((line.strip().lower() for line in lines if line.strip()), "")
    for beginning, kind in _MARKUP_BEGINNINGS.items():
        if first.startswith(beginning):
            return kind
    return ""


def _is_dump(lines: Sequence[str]) -> bool:
    return _DUMP.match("\n".join(line[:1000] for line in lines[:20])) is not None
