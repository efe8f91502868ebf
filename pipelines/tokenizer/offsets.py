"""From the encoder's byte offsets to the characters of the raw text that a piece stands for.

The encoder reports, for each piece, a range of bytes of the raw text. It counts the space before
a word into the word, gives the pieces inside one replaced character (the "f" and "i" of a
ligature) empty ranges, and knows nothing of the digit-comma rule; this is put right here.
"""

from collections.abc import Sequence

import numpy as np
import sentencepiece

from albert_tf.pipelines.tokenizer import arrays, model_proto
from albert_tf.pipelines.tokenizer.vocabulary_model import WORD_BOUNDARY


class Replacements:
    """What the clean-up built into a model makes of a string."""

    def __init__(self, model_bytes: bytes):
        spec = model_proto.ModelProto.FromString(model_bytes).normalizer_spec
        self._normalizer = sentencepiece.SentencePieceNormalizer(
            normalizer_spec=spec,
            add_dummy_prefix=False,
            escape_whitespaces=False,
            remove_extra_whitespaces=False,
        )
        self._of_character: dict[str, str] = {}

    def of_character(self, character: str) -> str:
        """Returns the replacement of one character."""
        replacement = self._of_character.get(character)
        if replacement is None:
            replacement = self.of_text(character)
            self._of_character[character] = replacement
        return replacement

    def of_text(self, text: str) -> str:
        """Returns the replacement of a text, white space not collapsed."""
        return self._normalizer.normalize(arrays.without_surrogates(text))


def character_spans(
    text: str,
    utf8: bytes,
    pieces: Sequence[str | None],
    starts: Sequence[int],
    ends: Sequence[int],
    replacements: Replacements,
) -> list[tuple[int, int]]:
    """Returns the (start, end) characters of each piece of `text`, by its range of bytes.

    None stands for an unknown piece, whose characters can be any.

    `character_spans("Ein Café", ..., ["▁ein", "▁cafe"], [0, 3], [3, 9], ...)` ->
    `[(0, 3), (4, 8)]`.
    """
    if len(utf8) != len(text):
        leads = (np.frombuffer(utf8, np.uint8) & 0xC0) != 0x80
        characters_before = np.concatenate([[0], np.cumsum(leads)])
        starts = characters_before[np.asarray(starts, np.int64)].tolist()
        ends = characters_before[np.asarray(ends, np.int64)].tolist()
    ascii_text = text.isascii()
    spans = []
    for piece, start, end in zip(pieces, starts, ends, strict=True):
        while start < end and not replacements.of_character(text[start]).strip(" "):
            start += 1
        while end > start and replacements.of_character(text[end - 1]) == " ":
            end -= 1
        if (
            not ascii_text
            and end < len(text)
            and _needs_next_character(text, piece, start, end, replacements)
        ):
            end += 1
        spans.append((start, end))
    return spans


def _needs_next_character(
    text: str, piece: str | None, start: int, end: int, replacements: Replacements
) -> bool:
    """Tells whether part of the piece comes from the replacement of the character at `end`."""
    if len(replacements.of_character(text[end])) < 2:
        return False
    covered = replacements.of_text(text[start:end]).replace(" ", "")
    return not covered if piece is None else piece.replace(WORD_BOUNDARY, "") not in covered


def digit_comma_spans(
    text: str, span: tuple[int, int], pieces: Sequence[str], replacements: Replacements
) -> list[tuple[int, int]]:
    """Shares out the span of a piece such as "2000," among the `pieces` that it is split into.

    `digit_comma_spans("2,000, ", (2, 6), ["000", ","], ...)` -> `[(2, 5), (5, 6)]`. Where the
    digits were not written one character each, all digit pieces get all of them.
    """
    start, end = span
    comma = end - 1
    while comma > start and not replacements.of_character(text[comma]).endswith(","):
        comma -= 1
    digits_end = comma
    if replacements.of_character(text[comma]) != "," or digits_end == start:
        digits_end = min(comma + 1, end)  # One character stands for digit and comma ("🄁").
    lengths = [len(piece) for piece in pieces[:-1]]
    spans = []
    if sum(lengths) == digits_end - start == comma - start:
        for length in lengths:
            spans.append((start, start + length))
            start += length
    else:
        spans.extend((start, digits_end) for _ in lengths)
    return [*spans, (comma, end)]
