"""Plain text: whether its lines are wrapped, sentences or paragraphs, and how lines become those.

A parser takes blocks of lines and yields paragraphs. Nothing larger than a block and a paragraph is
held in memory.
"""

import dataclasses
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence

from albert_tf.pipelines.sources.files import LineBlock
from albert_tf.pipelines.text import languages, sentence_splitting

Paragraph = tuple[
    int, str | None
]  # the number of its first line, and its text; None ends a document

LAYOUTS = ("sentences", "paragraphs", "book")  # which nothing but the shape of the lines tells
_STOPS = f".!?…{languages.WIDE_STOPS}{languages.CLEAR_STOPS}"
TERMINAL = re.compile(rf"[{_STOPS}]['\"”’»)\]」』）》*_{languages.MARKS}]*$")
_MIN_MARGIN, _MAX_MARGIN = 30, 130
_INNER_END_SHARE = 0.12
_IN_BLOCKS_SHARE = 0.3  # of lines that follow another one, where blank lines part documents
# Documents of several sentences have far more lines that follow another one; and how many lines
# it takes to tell.
_FOLLOWING_SHARE, _TELLING_LINES = 0.05, 20


@dataclasses.dataclass(frozen=True, slots=True)
class PlainTextShape:
    """What the first block of a plain text shows about its lines.

    Attributes:
        layout: "sentences", "paragraphs" or "book".
        margin: characters of a full line where the text is hard-wrapped, else 0.
        blank_separated: whether blank lines stand between the paragraphs of a hard-wrapped text.
        indented: whether the first line of a paragraph is set in, where blank lines are missing.
    """

    layout: str
    margin: int = 0
    blank_separated: bool = True
    indented: bool = False


def describe_plain_text(lines: Sequence[str]) -> PlainTextShape:
    """Measures margin, blank lines and sentence ends of plain text; see the rule above."""
    lines = [line.rstrip() for line in lines]
    shape = _describe_wrapping(lines)
    if shape is not None:
        return shape
    if _has_lone_lines(lines):
        return PlainTextShape("book")
    longer = [line for line in lines if len(line) >= 20]
    inner = sum(1 for line in longer if len(sentence_splitting.split_sentences(line)) > 1)
    if inner < _INNER_END_SHARE * len(longer) or not longer:
        return PlainTextShape("sentences")
    return PlainTextShape("paragraphs" if _has_blocks(lines) else "book")


def _has_lone_lines(lines: Sequence[str]) -> bool:
    """Tells whether blank lines stand behind every line: they part no documents, then."""
    count = sum(1 for line in lines if line)
    return count >= _TELLING_LINES and _count_following(lines) < _FOLLOWING_SHARE * count


def _has_blocks(lines: Sequence[str]) -> bool:
    """Tells whether blank lines stand between blocks of lines, more than a few verses."""
    count = sum(1 for line in lines if line)
    return _IN_BLOCKS_SHARE * count <= _count_following(lines) < count - 1


def _count_following(lines: Sequence[str]) -> int:
    return sum(1 for a, b in itertools.pairwise(lines) if a and b)


def _describe_wrapping(lines: Sequence[str]) -> PlainTextShape | None:
    """Returns the shape of a hard-wrapped text, or None when the lines are not wrapped."""
    count = sum(1 for line in lines if line)
    pairs = [(a, b) for a, b in itertools.pairwise(lines) if a and b]
    if len(pairs) < 3 or len(pairs) < 0.3 * count:
        return None
    lengths = sorted(languages.width_of(a) for a, _ in pairs)
    margin = lengths[int(0.9 * (len(lengths) - 1))]
    if not _MIN_MARGIN <= margin <= _MAX_MARGIN:
        return None
    blank_separated = len(lines) - count > 0.04 * len(lines)
    filled = sum(
        1 for a, b in pairs if languages.width_of(a) + 1 + first_word_width(b) > margin - 4
    )
    ragged = blank_separated and lengths[int(0.2 * (len(lengths) - 1))] > 0.6 * margin
    if filled < 0.6 * len(pairs) and not ragged:
        return None
    if sum(1 for a, _ in pairs if TERMINAL.search(a)) > 0.5 * len(pairs):
        return None
    indented = sum(1 for line in lines if line and line[0].isspace())
    return PlainTextShape("book", margin, blank_separated, 0 < indented < 0.4 * count)


def first_word_width(line: str) -> int:
    """Returns the columns of what a line could not have been broken before."""
    word = line.split(None, 1)[0]
    return 2 if languages.is_spaceless(word[0]) else len(word)


def number_lines(blocks: Iterable[LineBlock]) -> Iterator[tuple[int, str]]:
    """Yields (number, line) of all blocks."""
    for first, lines in blocks:
        yield from enumerate(lines, first)


def parse_lines(blocks: Iterable[LineBlock]) -> Iterator[Paragraph]:
    """Yields sentences or paragraphs, one a line, with blank lines between documents."""
    for number, line in number_lines(blocks):
        yield number, line.strip() or None
