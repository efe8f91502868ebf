"""Inside a TensorFlow graph: sentences -> words -> rows of tokens, as `tagged_words.encode`.

Letters: B sentences, W words of all sentences together, R rows of all sentences together, L tokens
of one (padded).
"""

import dataclasses

import tensorflow as tf

from albert_tf.pipelines.encoders import graph_texts
from albert_tf.pipelines.tokenizer.tokenization import Tokenizer


@dataclasses.dataclass(frozen=True)
class WordRows:
    """The words of B sentences and the rows that they are read in.

    Attributes:
      inputs: `input_ids`, `input_mask`, `segment_ids` int32 [R, L].
      words: string RaggedTensor [B, (words)].
      places: int32 [W, 2], row and column of each word's first piece.
    """

    inputs: dict[str, tf.Tensor]
    words: tf.RaggedTensor
    places: tf.Tensor


def encode(tokenizer: Tokenizer, texts: tf.Tensor, max_seq_length: int) -> WordRows:
    """Encode string [B], valid UTF-8, whose words white space separates.

    A sentence that is longer than a row is read in several, cut between words.
    """
    words = tf.strings.split(graph_texts.squeeze(texts))
    room = max_seq_length - 2
    pieces = _pieces_of(tokenizer, words.values, room)  # [W, (pieces)]
    counts = words.with_values(tf.cast(pieces.row_lengths(), tf.int32))
    row_in_sentence, rows = _deal_out(counts, room)
    first_row = tf.cumsum(rows, exclusive=True)  # [B]
    row = tf.gather(first_row, words.value_rowids()) + row_in_sentence  # [W]
    before = tf.cumsum(counts.values, exclusive=True)  # [W], pieces before each word
    row_count = tf.reduce_sum(rows)
    row_start = tf.math.unsorted_segment_min(before, row, row_count)
    column = 1 + before - tf.gather(row_start, row)
    body = tf.RaggedTensor.from_value_rowids(
        pieces.values,
        tf.cast(tf.gather(row, pieces.value_rowids()), tf.int64),
        nrows=tf.cast(row_count, tf.int64),
        validate=False,
    )
    cls_id = tf.RaggedTensor.from_tensor(tf.fill([row_count, 1], tokenizer.cls_id))
    sep_id = tf.RaggedTensor.from_tensor(tf.fill([row_count, 1], tokenizer.sep_id))
    ids = tf.concat([cls_id, body, sep_id], axis=1)
    return WordRows(
        inputs=graph_texts.pad(tokenizer, ids, max_seq_length),
        words=words,
        places=tf.stack([row, column], axis=1),
    )


def _pieces_of(tokenizer, words, room):
    """Return ids [W, (pieces)]; a word without a piece, such as a lone accent, is unknown."""
    ids = tokenizer.encode_ragged(words)[:, :room]
    is_empty = ids.row_lengths() == 0
    unknown = tf.fill([tf.reduce_sum(tf.cast(is_empty, tf.int32))], tokenizer.unk_id)
    unknown = tf.RaggedTensor.from_row_lengths(unknown, tf.cast(is_empty, tf.int64), validate=False)
    return tf.concat([ids, unknown], axis=1)


def _deal_out(counts, room):
    """Fill rows with words from the left.

    Args:
      counts: int32 RaggedTensor [B, (words)], pieces of each word, 1 to `room`.
      room: pieces of a row.

    Returns:
      int32 [W], the number of each word's row in its sentence, and int32 [B], rows of each
      sentence, at least one.
    """
    sizes = tf.cast(counts.row_lengths(), tf.int32)  # [B]
    dense = counts.to_tensor()  # [B, most words]
    before = tf.pad(tf.cumsum(dense, axis=1), [[0, 0], [1, 0]])  # [B, most words + 1]
    place = tf.range(tf.shape(dense)[1])

    def fill_one_row(number, first, rows):
        limit = tf.gather(before, first, batch_dims=1) + room
        # Behind a sentence's last word the sums stay the same.
        last = tf.searchsorted(before, limit[:, None], side="right")[:, 0] - 1
        last = tf.minimum(last, sizes)
        is_here = (place >= first[:, None]) & (place < last[:, None])
        return number + 1, last, tf.where(is_here, number, rows)

    _, _, rows = tf.while_loop(
        lambda number, first, rows: tf.reduce_any(first < sizes),
        fill_one_row,
        (tf.constant(0), tf.zeros_like(sizes), tf.zeros_like(dense)),
        shape_invariants=(
            tf.TensorShape([]),
            tf.TensorShape([None]),
            tf.TensorShape([None, None]),
        ),
    )
    flat = tf.RaggedTensor.from_tensor(rows, lengths=counts.row_lengths())
    most = tf.reduce_max(tf.pad(rows, [[0, 0], [0, 1]]), axis=1)  # [B]
    return flat.values, 1 + most
