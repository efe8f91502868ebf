"""Texts and pairs of texts of any length to windows, as TensorFlow ops.

Letters: B texts, R windows of all texts together.
"""

import typing

import tensorflow as tf

from albert_tf.pipelines.encoders.windows import cut_windows
from albert_tf.pipelines.tokenizer import rows
from albert_tf.pipelines.tokenizer.sequences import TextTokenizer


class TextWindows(typing.NamedTuple):
    """The windows of B texts, those of one text one after the other, at least one each.

    Attributes:
        rows: R windows.
        text_index: int32 [R], the text of each.
    """

    rows: rows.Rows
    text_index: tf.Tensor

    def flat(self) -> dict[str, tf.Tensor]:
        """Returns `Rows.flat` and `text_index`."""
        return {**self.rows.flat(), "text_index": self.text_index}


def encode_text_windows(
    tokenizer: TextTokenizer, texts: tf.Tensor, max_seq_length: int
) -> TextWindows:
    """Encodes string [B] as windows `[CLS] part of the text [SEP]`.

    A text that fits is one window, the row of `encode_texts`. Of a longer one each window begins
    half a window's room behind the one before, and the last ends with the text.
    """
    ids = rows.Slices.of(tokenizer.encode_ragged(texts))
    room = tf.zeros_like(ids.lengths) + (max_seq_length - 2)  # [B]
    text, first, last = cut_windows(ids.lengths, room, room)
    part = rows.Slices(ids.values, tf.gather(ids.starts, text) + first, last - first)
    return TextWindows(rows.pack(tokenizer, part), tf.cast(text, tf.int32))


def encode_pair_windows(
    tokenizer: TextTokenizer, texts_a: tf.Tensor, texts_b: tf.Tensor, max_seq_length: int
) -> TextWindows:
    """Encodes string [B] and [B] as windows `[CLS] A [SEP] B [SEP]`.

    The windows go over the longer text, over B where both are as long; the shorter one is whole in
    each, up to half of the room. A pair that fits is one window, the row of `encode_pairs`.
    """
    ids_a = rows.Slices.of(tokenizer.encode_ragged(texts_a))
    ids_b = rows.Slices.of(tokenizer.encode_ragged(texts_b))
    room = tf.zeros_like(ids_a.lengths) + (max_seq_length - 3)  # [B]
    a_is_longer = ids_a.lengths > ids_b.lengths
    kept = tf.minimum(tf.minimum(ids_a.lengths, ids_b.lengths), room // 2)
    room -= kept
    text, first, last = cut_windows(tf.maximum(ids_a.lengths, ids_b.lengths), room, room)
    over_a = tf.gather(a_is_longer, text)  # [R]
    parts = []
    for ids, is_cut in ((ids_a, over_a), (ids_b, ~over_a)):
        starts = tf.gather(ids.starts, text) + tf.where(is_cut, first, tf.zeros_like(first))
        lengths = tf.where(is_cut, last - first, tf.gather(kept, text))
        parts.append(rows.Slices(ids.values, starts, lengths))
    return TextWindows(rows.pack(tokenizer, *parts), tf.cast(text, tf.int32))
