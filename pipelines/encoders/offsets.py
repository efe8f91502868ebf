"""Ids of texts, and the characters of the text that each stands for, as TensorFlow ops.

The rules of `tokenizer/offsets.py`, on all tokens at once, for exported models alone: the Python
form is quicker, exact where this one is not (`OffsetEncoder`), and what `Tokenizer` gives
(docs/architecture.md, "Two forms of an encoder"). They ask what the clean-up makes of single
characters, which is a table over code points here.

Of WordPiece the engine itself gives them, by ops in Python, too.

Letters: B texts, K characters of all texts together, T tokens of all texts together.
"""

import dataclasses
import functools
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from albert_tf.pipelines.tokenizer import normalization
from albert_tf.pipelines.tokenizer.offsets import Replacements
from albert_tf.pipelines.tokenizer.rows import places_in_rows
from albert_tf.pipelines.tokenizer.tokenization import Tokenizer
from albert_tf.pipelines.tokenizer.vocabulary_model import WORD_BOUNDARY

# What a character's replacement is; one bit each in the table.
_IS_BLANK, _IS_SPACE, _IS_COMMA, _ENDS_IN_COMMA, _IS_LONG, _IS_WHITE = (1 << n for n in range(6))


@dataclasses.dataclass(frozen=True)
class TextsWithOffsets:
    """Ids of texts with the characters that they stand for.

    Attributes:
        ids: int32 RaggedTensor [B, (tokens)].
        starts, ends: int32 [T], characters of the text that the token belongs to.
        is_white: bool [K], the characters that `str.strip` removes.
        character_splits: int64 [B + 1]; the characters of a text among the K.
    """

    ids: tf.RaggedTensor
    starts: tf.Tensor
    ends: tf.Tensor
    is_white: tf.Tensor
    character_splits: tf.Tensor


def make_offset_encoder(tokenizer: Tokenizer) -> Callable[[tf.Tensor], TextsWithOffsets]:
    """Returns what encodes string [B], valid UTF-8, with offsets."""
    makers = {"sentencepiece": OffsetEncoder, "wordpiece": WordPieceOffsetEncoder}
    return makers[tokenizer.kind](tokenizer)


class WordPieceOffsetEncoder:
    """What `Tokenizer.encode_batch_with_offsets` gives of a WordPiece vocabulary."""

    def __init__(self, tokenizer: Tokenizer):
        self._tokenizer = tokenizer

    def __call__(self, texts: tf.Tensor) -> TextsWithOffsets:
        """Encodes string [B]."""
        characters = tf.strings.unicode_decode(texts, "UTF-8")
        ids, starts, ends = self._tokenizer.engine.encode_with_offsets(texts)
        return TextsWithOffsets(
            ids=ids,
            starts=starts,
            ends=ends,
            is_white=_look_up(_white_table(), characters.values),
            character_splits=characters.row_splits,
        )


class OffsetEncoder:
    """What `Tokenizer.encode_batch_with_offsets` gives, for valid UTF-8 in a graph.

    Two cases differ. Where decomposed Hangul letters stand directly before a character whose
    replacement has several, the token before that may lack its last character; and so may a token
    of the end of one such replacement and the beginning of the next ("ck" in "20℃㎏").
    """

    def __init__(self, tokenizer: Tokenizer):
        self._tokenizer = tokenizer
        self._flags, self._lengths = _character_tables(tokenizer)
        self._piece_lengths = np.array(
            [len(piece.replace(WORD_BOUNDARY, "")) for piece in tokenizer.pieces], np.int64
        )
        self._piece_lengths[tokenizer.unk_id] = 1  # it stands for whatever is there, or comes next

    def __call__(self, texts: tf.Tensor) -> TextsWithOffsets:
        """Encodes string [B]."""
        characters, byte_starts = tf.strings.unicode_decode_with_offsets(texts, "UTF-8")
        # One more, for the place behind the last character.
        flags = tf.pad(_look_up(self._flags, characters.values), [[0, 1]])  # [K + 1]
        ids, first_bytes, last_bytes = self._tokenizer.engine.op.tokenize_with_offsets(texts)
        text_of_token = ids.value_rowids()  # [T]
        base = tf.gather(characters.row_splits, text_of_token)  # [T], from here on among the K
        byte_counts = tf.strings.length(texts, unit="BYTE")
        to_character = _CharactersOfBytes(characters, byte_starts, byte_counts)
        starts = to_character(text_of_token, first_bytes.values)
        ends = to_character(text_of_token, last_bytes.values)
        starts, ends = self._trim(flags, starts, ends)
        ends = self._complete(flags, characters, ids, starts, ends)
        table = self._tokenizer.engine.digit_comma_table
        replaced = tf.gather(table, ids.values)  # [T, (1 or more)]
        all_ids = tf.RaggedTensor.from_row_splits(
            replaced.values, tf.gather(replaced.row_splits, ids.row_splits), validate=False
        )
        all_starts, all_ends = self._share_out(flags, replaced, starts, ends)
        base = tf.gather(base, replaced.value_rowids())
        return TextsWithOffsets(
            ids=all_ids,
            starts=tf.cast(all_starts - base, tf.int32),
            ends=tf.cast(all_ends - base, tf.int32),
            is_white=_has(flags[:-1], _IS_WHITE),
            character_splits=characters.row_splits,
        )

    def _trim(
        self, flags: tf.Tensor, starts: tf.Tensor, ends: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the spans without the blanks before and the spaces behind."""
        solid = NearestPlaces(~_has(flags, _IS_BLANK))
        starts = tf.minimum(solid.at_or_after(starts), ends)
        return starts, tf.maximum(NearestPlaces(~_has(flags, _IS_SPACE)).before(ends) + 1, starts)

    def _complete(
        self,
        flags: tf.Tensor,
        characters: tf.RaggedTensor,
        ids: tf.RaggedTensor,
        starts: tf.Tensor,
        ends: tf.Tensor,
    ) -> tf.Tensor:
        """Returns the ends; the next character is added where part of the piece comes from it."""
        lengths = _look_up(self._lengths, characters.values)
        sums = tf.concat([[0], tf.cumsum(lengths)], axis=0)
        covered = tf.gather(sums, ends) - tf.gather(sums, starts)
        piece_lengths = tf.gather(tf.constant(self._piece_lengths), ids.values)
        limit = tf.gather(characters.row_splits, ids.value_rowids() + 1)
        next_flags = tf.gather(flags, ends)
        is_needed = (ends < limit) & _has(next_flags, _IS_LONG) & (covered < piece_lengths)
        return ends + tf.cast(is_needed, tf.int64)

    def _share_out(
        self, flags: tf.Tensor, replaced: tf.RaggedTensor, starts: tf.Tensor, ends: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the spans of what the digit-comma rule made, as `digit_comma_spans`."""
        comma = tf.maximum(NearestPlaces(_has(flags, _ENDS_IN_COMMA)).before(ends), starts)  # [T]
        is_comma = _has(tf.gather(flags, comma), _IS_COMMA)
        merged = ~is_comma | (comma == starts)
        digits_end = tf.where(merged, tf.minimum(comma + 1, ends), comma)
        token = replaced.value_rowids()  # [T']
        number = places_in_rows(replaced)
        count = tf.gather(replaced.row_lengths(), token)
        is_last = number == count - 1
        lengths = tf.gather(tf.constant(self._piece_lengths), replaced.values)
        before = tf.cumsum(lengths, exclusive=True)
        before -= tf.gather(
            tf.concat([before, [0]], axis=0), tf.gather(replaced.row_starts(), token)
        )
        digits = tf.math.unsorted_segment_sum(
            tf.where(is_last, tf.zeros_like(lengths), lengths), token, replaced.nrows()
        )
        one_each = (digits == digits_end - starts) & (digits == comma - starts)  # [T]
        start, end = tf.gather(starts, token), tf.gather(ends, token)
        each = tf.gather(one_each, token)
        first = tf.where(each, start + before, start)
        last = tf.where(each, start + before + lengths, tf.gather(digits_end, token))
        first = tf.where(is_last, tf.gather(comma, token), first)
        last = tf.where(is_last, end, last)
        is_whole = count == 1
        return tf.where(is_whole, start, first), tf.where(is_whole, end, last)


class _CharactersOfBytes:
    """Numbers of bytes in texts -> numbers of characters among all of the batch."""

    def __init__(
        self, characters: tf.RaggedTensor, byte_starts: tf.RaggedTensor, byte_counts: tf.Tensor
    ):
        self._bytes = tf.concat([[0], tf.cumsum(tf.cast(byte_counts, tf.int64))], axis=0)
        rows = characters.value_rowids()
        total = tf.size(rows, tf.int64)
        first = byte_starts.values + tf.gather(self._bytes, rows)
        # The characters before each byte: those that begin before it.
        begins = tf.scatter_nd(first[:, None], tf.ones_like(first), self._bytes[-1:])
        self._before = tf.concat([tf.cumsum(begins, exclusive=True), [total]], axis=0)

    def __call__(self, text: tf.Tensor, byte: tf.Tensor) -> tf.Tensor:
        return tf.gather(self._before, tf.gather(self._bytes, text) + tf.cast(byte, tf.int64))


class NearestPlaces:
    """The nearest characters of a kind before and after any place."""

    def __init__(self, is_of_kind: tf.Tensor):
        self._places = tf.where(is_of_kind)[:, 0]
        self._count = tf.size(is_of_kind, tf.int64)
        numbers = tf.cumsum(tf.cast(is_of_kind, tf.int64))
        self._before = tf.concat([[0], numbers], axis=0)  # [K + 1], how many stand before a place

    def at_or_after(self, places: tf.Tensor) -> tf.Tensor:
        """Returns the first one from each place on; the number of places where there is none."""
        places_and_end = tf.concat([self._places, [self._count]], axis=0)
        return tf.gather(places_and_end, tf.gather(self._before, places))

    def before(self, places: tf.Tensor) -> tf.Tensor:
        """Returns the last one before each place; -1 where there is none."""
        none_and_places = tf.concat([[-1], self._places], axis=0)
        return tf.gather(none_and_places, tf.gather(self._before, places))


def _character_tables(tokenizer: Tokenizer) -> tuple[np.ndarray, np.ndarray]:
    """Returns uint8 and int64 [code points]: flags and lengths without spaces of replacements.

    Characters beyond the end of the tables are as its last one: kept as they are.
    """
    replacements = Replacements(tokenizer.model_bytes)
    changed = normalization.code_points()
    size = max(map(ord, changed)) + 2
    flags, lengths = np.zeros(size, np.uint8), np.ones(size, np.int64)
    for character in {*changed, " ", ","}:
        replacement = replacements.of_text(character)
        code = ord(character)
        flags[code] = (
            (_IS_BLANK if not replacement.strip(" ") else 0)
            | (_IS_SPACE if replacement == " " else 0)
            | (_IS_COMMA if replacement == "," else 0)
            | (_ENDS_IN_COMMA if replacement.endswith(",") else 0)
            | (_IS_LONG if len(replacement) >= 2 else 0)
        )
        lengths[code] = len(replacement.replace(" ", ""))
    for code in range(size):
        if chr(code).isspace():
            flags[code] |= _IS_WHITE
    return flags, lengths


@functools.lru_cache(maxsize=1)
def _white_table() -> np.ndarray:
    """Returns bool [code points]: whether `str.strip` removes a character; no later one is."""
    return np.array([chr(code).isspace() for code in range(0x3002)])


def _look_up(table: np.ndarray, characters: tf.Tensor) -> tf.Tensor:
    return tf.gather(tf.constant(table), tf.minimum(characters, len(table) - 1))


def _has(flags: tf.Tensor, flag: int) -> tf.Tensor:
    return tf.bitwise.bitwise_and(flags, tf.constant(flag, flags.dtype)) != 0
