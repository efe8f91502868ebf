"""Sentences of words to rows of tokens, as TensorFlow ops.

Letters: B sentences, W words of all sentences together, R rows of all sentences together, L tokens
of one, P pieces of all words together.
"""

import typing

import tensorflow as tf

from albert_tf.pipelines.encoders.texts import squeeze
from albert_tf.pipelines.tokenizer import rows
from albert_tf.pipelines.tokenizer.tokenization import Tokenizer


class WordRows(typing.NamedTuple):
    """The rows that the words of B sentences are read in.

    Attributes:
        rows: R rows, those of a sentence one after the other, at least one each.
        sentence: int32 [R].
        places: int32 [W, 2], row and column of each word's first piece.
    """

    rows: rows.Rows
    sentence: tf.Tensor
    places: tf.Tensor

    def flat(self) -> dict[str, tf.Tensor]:
        """Returns `Rows.flat`, `sentence` and `first_pieces` int64 [W], the words' places in it."""
        row, column = tf.unstack(tf.cast(self.places, tf.int64), axis=1)
        first_pieces = tf.gather(self.rows.starts, row) + column
        return {**self.rows.flat(), "sentence": self.sentence, "first_pieces": first_pieces}


def split_words(texts: tf.Tensor) -> tf.RaggedTensor:
    """Returns string [B, (words)]: what white space separates in string [B]."""
    return tf.strings.split(squeeze(texts))


def encode_words(
    tokenizer: Tokenizer, words: tf.Tensor, word_counts: tf.Tensor, max_seq_length: int
) -> WordRows:
    """Encodes sentences word by word.

    A sentence that is longer than a row is read in several, cut between words; of a word that is
    longer than a row, the pieces beyond it are left out.

    Args:
        tokenizer: the model's.
        words: string [W], valid UTF-8.
        word_counts: int64 [B], words of each sentence.
        max_seq_length: longest row, at least 3.
    """
    room = max_seq_length - 2
    pieces = _pieces_of(tokenizer, words, room)
    counts = pieces.lengths  # [W]
    before = tf.cumsum(counts, exclusive=True)  # [W], pieces before each word
    sentence, place = rows.count_off(word_counts)  # [W] each
    is_first = _begins_row(counts, place, tf.gather(word_counts, sentence), room)  # [W]
    # A sentence without words is a row, too.
    is_empty = tf.cast(word_counts == 0, tf.int64)  # [B]
    row = tf.cumsum(is_first) - 1 + tf.gather(tf.cumsum(is_empty), sentence)  # [W]
    row_counts = tf.math.unsorted_segment_sum(is_first, sentence, tf.size(is_empty)) + is_empty
    row_lengths = tf.math.unsorted_segment_sum(counts, row, tf.reduce_sum(row_counts))  # [R]
    row_starts = tf.cumsum(row_lengths, exclusive=True)
    column = 1 + before - tf.gather(row_starts, row)  # behind [CLS]
    return WordRows(
        rows=rows.pack(tokenizer, rows.Slices(pieces.joined(), row_starts, row_lengths)),
        sentence=tf.cast(rows.count_off(row_counts)[0], tf.int32),
        places=tf.cast(tf.stack([row, column], axis=1), tf.int32),
    )


def _pieces_of(tokenizer: Tokenizer, words: tf.Tensor, room: int) -> rows.Slices:
    """Returns `Slices` of W words; one without a piece, such as a lone accent, is unknown."""
    distinct, word = tf.unique(words)
    values, starts, lengths = rows.Slices.of(tokenizer.encode_ragged(distinct)).first(room)
    starts = tf.where(lengths == 0, tf.size(values, tf.int64), starts)
    values = tf.concat([values, [tokenizer.unk_id]], axis=0)
    return rows.Slices(values, starts, tf.maximum(lengths, 1)).take(word)


def _begins_row(
    counts: tf.Tensor, place: tf.Tensor, word_counts: tf.Tensor, room: int
) -> tf.Tensor:
    """Fills rows with words from the left.

    Args:
        counts: int64 [W], pieces of each word, 1 to `room`.
        place: int64 [W], the number of each word in its sentence.
        word_counts: int64 [W], words of its sentence.
        room: pieces of a row.

    Returns:
        int64 [W], 1 where a word is the first of a row.
    """
    ends = tf.cumsum(counts)  # [W], pieces up to the end of each word
    # For each word, as if a row began with it: the first one that has no place there.
    following = tf.searchsorted(ends, ends - counts + room, "right", tf.int64)
    is_in_sentence = following < tf.range(tf.size(ends, tf.int64)) - place + word_counts
    first = tf.where(place == 0)[:, 0]  # of each sentence

    def begin_next_row(first: tf.Tensor, begins: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        first = tf.gather(following, first[tf.gather(is_in_sentence, first)])
        return first, tf.concat([begins, first], axis=0)

    _, begins = tf.while_loop(
        lambda first, begins: tf.size(first) > 0,
        begin_next_row,
        (first, first),
        shape_invariants=(tf.TensorShape([None]), tf.TensorShape([None])),
    )
    return tf.scatter_nd(begins[:, None], tf.ones_like(begins), tf.shape(ends, tf.int64))
