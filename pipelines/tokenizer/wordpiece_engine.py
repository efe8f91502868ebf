"""WordPiece as BERT has it, in TensorFlow ops: clean-up, words, pieces, and their characters.

The clean-up and the splitting into words are look-ups in a table over code points
(bert_characters.py); tensorflow-text's op finds the longest pieces of each word. Its own clean-up
(`FastBertTokenizer`) is of another Unicode and counts bytes where BERT counts characters.

Letters: B texts, K characters of all texts together, N characters of all words together, W words
of all texts together, T pieces of all texts together.
"""

from __future__ import annotations

import functools
import typing
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf
import tensorflow_text

from albert_tf.pipelines.tokenizer import bert_characters
from albert_tf.pipelines.tokenizer.bert_characters import KIND_BIT, MARK, SINGLE, SPACE
from albert_tf.pipelines.tokenizer.sentencepiece_engine import IdsAndSpans
from albert_tf.pipelines.tokenizer.wordpiece_vocabulary import (
    CONTINUATION,
    UNKNOWN_PIECE,
    WordPieceVocabulary,
)

# BERT drops this character, so that no word has it and no piece is found for it.
_WITHOUT_PIECE = "\0"
_LONGEST_CHARACTER = 4  # bytes


class _Words(typing.NamedTuple):
    """The words of B texts, and where their characters come from.

    Attributes:
        characters: int32 RaggedTensor [W, (N)], cleaned up.
        sources: int32 [N], the character of the K that each comes from.
        splits: int64 [B + 1], the words of a text among the W.
    """

    characters: tf.RaggedTensor
    sources: tf.Tensor
    splits: tf.Tensor


class WordPieceEngine(tf.Module):
    """Texts to ids of a WordPiece vocabulary; one graph for Python, tf.data and exports."""

    def __init__(self, vocabulary: WordPieceVocabulary):
        super().__init__(name="wordpiece_engine")
        self._longest_word = vocabulary.max_word_characters
        self._unknown_id = vocabulary.ids[UNKNOWN_PIECE]
        self._table = bert_characters.character_table(
            vocabulary.lower_case, vocabulary.strip_accents, vocabulary.split_chinese
        )
        with tf.init_scope(), tf.device("CPU:0"):
            self._pieces_of_words = tensorflow_text.FastWordpieceTokenizer(
                vocabulary.pieces,
                suffix_indicator=CONTINUATION,
                max_bytes_per_word=_LONGEST_CHARACTER * self._longest_word,
                token_out_type=tf.int32,
                unknown_token=UNKNOWN_PIECE,
                no_pretokenization=True,
            )

    def encode_ragged(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Returns int32 [B, (T)] of string [B]."""
        return self._ids_graph(texts)

    def encode_with_spans(self, texts: Sequence[str], utf8: Sequence[bytes]) -> list[IdsAndSpans]:
        """Returns the ids of each text with the characters that they stand for, in Python."""
        ids, starts, ends = self.encode_with_offsets(tf.constant(utf8))
        spans = list(zip(starts.numpy().tolist(), ends.numpy().tolist(), strict=True))
        splits = ids.row_splits.numpy().tolist()
        return [
            (row, spans[first:end])
            for row, first, end in zip(ids.to_list(), splits, splits[1:], strict=False)
        ]

    def encode_with_offsets(self, texts: tf.Tensor) -> tuple[tf.RaggedTensor, tf.Tensor, tf.Tensor]:
        """Returns ids [B, (T)] and the first and end characters int32 [T] in the raw text.

        A letter's span holds the marks written behind it; pieces that share one character (a
        Korean syllable is up to three letters here) share its span.
        """
        return self._offsets_graph(texts)

    # Made once, when first asked for: a `tf.function` that is called would count how often it is
    # traced, and warn where a process opens a few vocabularies.

    @functools.cached_property
    def _ids_graph(self) -> Callable:
        return _make_graph(self._find_ids)

    @functools.cached_property
    def _offsets_graph(self) -> Callable:
        return _make_graph(self._find_ids_and_spans)

    def _find_ids(self, texts: tf.Tensor) -> tf.RaggedTensor:
        with tf.device("CPU:0"):
            characters = tf.strings.unicode_decode(texts, "UTF-8")  # [B, (K)]
            words = self._split_words(characters, self._look_up(characters.values))
            pieces = self._pieces_of_words.tokenize(self._as_strings(words))  # [W, (T)]
            return _by_text(pieces, words)

    def _find_ids_and_spans(self, texts: tf.Tensor) -> tuple[tf.RaggedTensor, tf.Tensor, tf.Tensor]:
        with tf.device("CPU:0"):
            characters = tf.strings.unicode_decode(texts, "UTF-8")  # [B, (K)]
            actions = self._look_up(characters.values)
            words = self._split_words(characters, actions)
            pieces, first_bytes, end_bytes = self._pieces_of_words.tokenize_with_offsets(
                self._as_strings(words)
            )
            word = pieces.value_rowids()  # [T]
            word_starts = tf.gather(words.characters.row_starts(), word)
            word_ends = tf.gather(words.characters.row_limits(), word)
            to_character = _CharactersOfBytes(words.characters)
            is_unknown = pieces.values == self._unknown_id
            starts = tf.where(is_unknown, word_starts, to_character(word, first_bytes.values))
            ends = tf.where(is_unknown, word_ends, to_character(word, end_bytes.values))
            ids = _by_text(pieces, words)
            starts = tf.gather(words.sources, starts)
            ends = tf.gather(_next_letters(actions), tf.gather(words.sources, ends - 1))
            splits, text = tf.cast(characters.row_splits, tf.int32), ids.value_rowids()
            # A mark that begins the next text is none of this one's.
            ends = tf.minimum(ends, tf.gather(splits, text + 1))
            base = tf.gather(splits, text)
            return ids, starts - base, ends - base

    def _look_up(self, characters: tf.Tensor) -> tf.Tensor:
        """Returns int32 [K]: what the table says of each character."""
        pages = tf.gather(tf.constant(self._table.pages), characters // 256)
        places = tf.stack([pages, characters % 256], axis=1)
        return tf.gather_nd(tf.constant(self._table.actions), places)

    def _split_words(self, characters: tf.RaggedTensor, actions: tf.Tensor) -> _Words:
        table = self._table
        counts = tf.gather(tf.constant(table.lengths), actions)  # [K]
        sources = tf.repeat(tf.range(tf.size(actions)), counts)
        codes, actions = tf.gather(characters.values, sources), tf.gather(actions, sources)
        places = tf.range(tf.size(sources)) - tf.gather(tf.cumsum(counts, exclusive=True), sources)
        is_replaced = actions > MARK
        places = tf.where(is_replaced, tf.gather(tf.constant(table.starts), actions) + places, 0)
        values = np.append(table.values, np.int32(0))  # never empty
        values = tf.gather(tf.constant(values), places)
        codes = tf.where(is_replaced, values % KIND_BIT, codes)
        kinds = tf.where(is_replaced, values // KIND_BIT, actions)
        texts = tf.gather(characters.value_rowids(), sources)
        is_kept, is_single = kinds != SPACE, kinds == SINGLE
        ends_word = is_single | ~is_kept
        is_first = tf.concat([[True], ends_word[:-1] | (texts[1:] != texts[:-1])], axis=0)
        begins = is_kept & (is_single | is_first[: tf.size(texts)])
        begins = begins[is_kept]  # [N]
        starts = tf.where(begins)[:, 0]  # [W]
        texts = tf.gather(texts[is_kept], starts)
        codes = codes[is_kept]
        return _Words(
            characters=tf.RaggedTensor.from_row_splits(
                codes, tf.concat([starts, tf.shape(codes, tf.int64)], axis=0), validate=False
            ),
            sources=sources[is_kept],
            splits=tf.searchsorted(texts, tf.range(characters.nrows() + 1), out_type=tf.int64),
        )

    def _as_strings(self, words: _Words) -> tf.Tensor:
        """Returns string [W]; for words longer than BERT looks at, one without a piece."""
        strings = tf.strings.unicode_encode(words.characters, "UTF-8")
        is_long = words.characters.row_lengths() > self._longest_word
        return tf.where(is_long, _WITHOUT_PIECE, strings)


def _make_graph(find: Callable) -> Callable:
    with tf.init_scope():
        function = tf.function(find, autograph=False)
        return function.get_concrete_function(tf.TensorSpec([None], tf.string))


def _by_text(pieces: tf.RaggedTensor, words: _Words) -> tf.RaggedTensor:
    """Returns [B, (T)] of the pieces [W, (T)] of words."""
    return tf.RaggedTensor.from_row_splits(
        pieces.values, tf.gather(pieces.row_splits, words.splits), validate=False
    )


def _next_letters(actions: tf.Tensor) -> tf.Tensor:
    """Returns int32 [K]: the first character behind each that is no mark; K where there is none."""
    is_letter = actions != MARK
    letters = tf.cast(tf.where(is_letter)[:, 0], tf.int32)
    letters = tf.concat([letters, [tf.size(actions)]], axis=0)
    return tf.gather(letters, tf.cumsum(tf.cast(is_letter, tf.int32)))


class _CharactersOfBytes:
    """Numbers of bytes in words -> numbers of characters among those of all words."""

    def __init__(self, characters: tf.RaggedTensor):
        codes = characters.values
        bytes_of = 1 + sum(tf.cast(codes >= limit, tf.int64) for limit in (0x80, 0x800, 0x10000))
        self._bytes_before = tf.concat([[0], tf.cumsum(bytes_of)], axis=0)  # [N + 1]
        self._word_starts = tf.gather(self._bytes_before, characters.row_starts())

    def __call__(self, word: tf.Tensor, byte: tf.Tensor) -> tf.Tensor:
        place = tf.gather(self._word_starts, word) + tf.cast(byte, tf.int64)
        return tf.searchsorted(self._bytes_before, place, out_type=tf.int64)
