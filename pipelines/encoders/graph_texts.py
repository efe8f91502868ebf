"""Strings -> model inputs inside a TensorFlow graph: what an exported model does with text.

The ids are those of the encoders of training data (`text_examples`, `race`) and of the in-process
API, built of TensorFlow ops alone, so that a SavedModel holds all of it.

Letters: B texts, L tokens of one (padded), C options, V vocabulary.

Every function takes strings that `replace_invalid` has made valid UTF-8.
"""

import numpy as np
import tensorflow as tf

from albert_tf.pipelines.tokenizer.tokenization import Tokenizer
from albert_tf.pipelines.tokenizer.vocabulary_model import MASK_PIECE, WORD_BOUNDARY

# What `str.split` and `str.strip` take for white space.
WHITE_SPACE = r"[\s\x0b\x1c-\x1f\x{85}\p{Z}]"
# A byte that valid UTF-8 never has: it can stand between two texts.
_BETWEEN = b"\xff"
# Rows are padded to a multiple of this: few different shapes, and whole vectors.
_LENGTH_STEP = 8


def replace_invalid(texts: tf.Tensor) -> tf.Tensor:
    """Return string [...] in which U+FFFD stands for what is no UTF-8."""
    return tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8", errors="replace")


def strip(texts: tf.Tensor) -> tf.Tensor:
    """Return string [...] without white space at both ends, as `str.strip`."""
    return tf.strings.regex_replace(texts, f"^{WHITE_SPACE}+|{WHITE_SPACE}+$", "")


def squeeze(texts: tf.Tensor) -> tf.Tensor:
    """Return string [...] with single spaces between words, as `" ".join(text.split())`."""
    return strip(tf.strings.regex_replace(texts, f"{WHITE_SPACE}+", " "))


def encode_texts(
    tokenizer: Tokenizer, texts: tf.Tensor, max_seq_length: int
) -> dict[str, tf.Tensor]:
    """Encode string [B] as `[CLS] text [SEP]`, cut as `text_examples.pack` cuts.

    Returns:
      `input_ids`, `input_mask`, `segment_ids` int32 [B, L].
    """
    ids = tokenizer.encode_ragged(texts)[:, : max_seq_length - 2]
    return _pack(tokenizer, ids, None, max_seq_length)


def encode_pairs(
    tokenizer: Tokenizer, texts_a: tf.Tensor, texts_b: tf.Tensor, max_seq_length: int
) -> dict[str, tf.Tensor]:
    """Encode string [B] and [B] as `[CLS] A [SEP] B [SEP]`, cut as `text_examples.cut_pair`.

    Returns:
      As `encode_texts`.
    """
    ids_a, ids_b = tokenizer.encode_ragged(texts_a), tokenizer.encode_ragged(texts_b)
    length_a, length_b = ids_a.row_lengths(), ids_b.row_lengths()  # [B]
    excess = tf.maximum(length_a + length_b - (max_seq_length - 3), 0)
    from_longer = tf.minimum(excess, tf.abs(length_a - length_b))
    excess -= from_longer
    a_is_longer = length_a > length_b
    none = tf.zeros_like(excess)
    length_a -= tf.where(a_is_longer, from_longer, none) + excess // 2
    length_b -= tf.where(a_is_longer, none, from_longer) + (excess + 1) // 2
    ids_a, ids_b = cut_rows(ids_a, length_a), cut_rows(ids_b, length_b)
    return _pack(tokenizer, ids_a, ids_b, max_seq_length)


def encode_with_specials(
    tokenizer: Tokenizer, texts: tf.Tensor, max_seq_length: int
) -> dict[str, tf.Tensor]:
    """Encode string [B], in which `[MASK]`, `[CLS]` and `[SEP]` may be written.

    As `Tokenizer.encode(text, allow_special=True)`: what stands between them is encoded alone, and
    what follows `[MASK]` without a space continues the word.

    Returns:
      As `encode_texts`.
    """
    marked = tf.strings.regex_replace(texts, r"\[(CLS|SEP|MASK)\]", _BETWEEN + rb"[\1]" + _BETWEEN)
    # Text, special, text, special, ..., text.
    parts = tf.strings.split(marked, _BETWEEN)  # [B, (parts)]
    number = places_in_rows(parts)  # [P], P parts of all texts together
    is_special = number % 2 == 1
    flat = parts.values
    ids = tokenizer.encode_ragged(tf.where(is_special, "", flat))  # [P, (L)]
    after_mask = tf.concat([[False], (flat == MASK_PIECE)[:-1]], axis=0) & (number > 0)
    begins_word = tf.strings.regex_full_match(flat, f"(?s){WHITE_SPACE}.*")
    ids = _continue_words(tokenizer, ids, after_mask & ~begins_word)
    special = tf.zeros_like(number, tf.int32)
    for piece in ("[CLS]", "[SEP]", MASK_PIECE):
        special = tf.where(flat == piece, tokenizer.piece_to_id(piece), special)
    special = tf.RaggedTensor.from_row_lengths(special[is_special], tf.cast(is_special, tf.int64))
    ids = tf.concat([ids, special], axis=1)  # [P, (L)], one of the two is empty
    whole = tf.RaggedTensor.from_row_splits(ids.values, tf.gather(ids.row_splits, parts.row_splits))
    return _pack(tokenizer, whole[:, : max_seq_length - 2], None, max_seq_length)


def _continue_words(tokenizer, ids, where):
    """Return ids [P, (L)] whose first piece loses its word boundary in the rows of bool [P]."""
    position = places_in_rows(ids)
    is_affected = (position == 0) & tf.gather(where, ids.value_rowids())
    values = tf.where(
        is_affected, tf.gather(tf.constant(_without_boundary(tokenizer)), ids.values), ids.values
    )
    return select(ids.with_values(values), values >= 0)


def _without_boundary(tokenizer):
    """Return int32 [V]: each piece inside a word; -1 for the lone boundary, which vanishes."""
    table = np.arange(tokenizer.vocab_size, dtype=np.int32)
    for index, piece in enumerate(tokenizer.pieces):
        if piece == WORD_BOUNDARY:
            table[index] = -1
        elif piece.startswith(WORD_BOUNDARY):
            inside = tokenizer.piece_to_id(piece[1:])
            table[index] = index if inside == tokenizer.unk_id else inside
    return table


def encode_choices(
    tokenizer: Tokenizer,
    passages: tf.Tensor,
    questions: tf.Tensor,
    options: tf.Tensor,
    max_seq_length: int,
    max_qa_length: int,
) -> dict[str, tf.Tensor]:
    """Encode string [B], [B] and [B, C] as `race.encode` does.

    Returns:
      As `encode_texts`, with B * C rows: the options of a question one after the other.
    """
    count = tf.shape(options)[1]
    asked = tf.reshape(_put_options(questions, options), [-1])  # [B * C]
    second = tokenizer.encode_ragged(asked)
    dropped = tf.maximum(second.row_lengths() - max_qa_length, 0)
    second = select(second, places_in_rows(second) >= tf.gather(dropped, second.value_rowids()))
    rows = tf.repeat(tf.range(tf.shape(options)[0]), count)
    first = tf.gather(tokenizer.encode_ragged(passages), rows)  # [B * C, (L)]
    room = max_seq_length - 3 - second.row_lengths()
    first = cut_rows(first, tf.minimum(first.row_lengths(), room))
    return _pack(tokenizer, first, second, max_seq_length)


def _put_options(questions, options):
    """Return string [B, C]: each option in the place of every "_", or behind the question."""
    batch, count = tf.unstack(tf.shape(options))
    parts = tf.strings.split(tf.repeat(questions, count), "_")  # [B * C, (parts)]
    rows = parts.value_rowids()
    is_last = tf.concat([rows[1:] != rows[:-1], [True]], axis=0)[: tf.size(rows)]
    option = tf.gather(tf.reshape(strip(options), [-1]), rows)
    joined = tf.strings.join([parts.values, tf.where(is_last, "", option)])
    filled = tf.strings.unsorted_segment_join(joined, rows, parts.nrows())
    filled = tf.reshape(filled, [batch, count])
    has_blank = tf.strings.regex_full_match(questions, "(?s).*_.*")[:, None]  # [B, 1]
    behind = tf.strings.join([tf.broadcast_to(questions[:, None], [batch, count]), " ", options])
    return tf.where(has_blank, filled, behind)


def cut_rows(ragged: tf.RaggedTensor, lengths: tf.Tensor) -> tf.RaggedTensor:
    """Return the first `lengths` [B] values of each row."""
    return select(ragged, places_in_rows(ragged) < tf.gather(lengths, ragged.value_rowids()))


def select(ragged: tf.RaggedTensor, kept: tf.Tensor) -> tf.RaggedTensor:
    """Return the rows with the values for which bool [values] is true."""
    return tf.RaggedTensor.from_value_rowids(
        ragged.values[kept], ragged.value_rowids()[kept], nrows=ragged.nrows(), validate=False
    )


def places_in_rows(ragged: tf.RaggedTensor) -> tf.Tensor:
    """Return int64 [values]: the number of each value in its row."""
    starts = tf.gather(ragged.row_starts(), ragged.value_rowids())
    return tf.range(tf.size(starts, tf.int64)) - starts


def _pack(tokenizer, first, second, max_seq_length):
    """Return the batch of `[CLS] first [SEP]` or `[CLS] first [SEP] second [SEP]`."""
    rows = first.nrows()
    cls_id = tf.RaggedTensor.from_tensor(tf.fill([rows, 1], tokenizer.cls_id))
    sep_id = tf.RaggedTensor.from_tensor(tf.fill([rows, 1], tokenizer.sep_id))
    parts = [cls_id, first, sep_id] + ([] if second is None else [second, sep_id])
    return pad(tokenizer, tf.concat(parts, axis=1), max_seq_length, first.row_lengths() + 2)


def pad(
    tokenizer: Tokenizer,
    ids: tf.RaggedTensor,
    max_seq_length: int,
    first_lengths: tf.Tensor | None = None,
) -> dict[str, tf.Tensor]:
    """Pad rows of at most max_seq_length ids, int32 [B, (L)].

    Args:
      tokenizer: the model's.
      ids: the rows.
      max_seq_length: no row is padded beyond it.
      first_lengths: [B], where segment 1 begins; None means that there is none.

    Returns:
      As `encode_texts`.
    """
    lengths = tf.cast(ids.row_lengths(), tf.int32)  # [B]
    length = round_up(tf.reduce_max(tf.concat([lengths, [1]], axis=0)), max_seq_length)
    dense = ids.to_tensor(tokenizer.pad_id)  # [B, longest]
    missing = [[0, 0], [0, length - tf.shape(dense)[1]]]
    places = tf.range(length)  # [L]
    mask = places < lengths[:, None]  # [B, L]
    segments = tf.zeros_like(mask)
    if first_lengths is not None:
        segments = mask & (places >= tf.cast(first_lengths, tf.int32)[:, None])
    return {
        "input_ids": tf.pad(dense, missing, constant_values=tokenizer.pad_id),
        "input_mask": tf.cast(mask, tf.int32),
        "segment_ids": tf.cast(segments, tf.int32),
    }


def round_up(length: tf.Tensor, longest: int | tf.Tensor) -> tf.Tensor:
    """Return the next multiple of 8, or `longest`."""
    return tf.minimum(-(-length // _LENGTH_STEP) * _LENGTH_STEP, longest)


class Decoder:
    """Ids to readable text, as `Tokenizer.decode(ids, skip_special=False)`."""

    def __init__(self, tokenizer: Tokenizer):
        special = {tokenizer.pad_id, tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id}
        texts = []
        for index, piece in enumerate(tokenizer.pieces):
            if index == tokenizer.unk_id:
                piece = " ⁇ "
            elif index in special:
                piece = f" {piece} "
            texts.append(piece.replace(WORD_BOUNDARY, " "))
        self._texts = texts

    def __call__(self, ids: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        """Return string [...] of int32 [..., L] where bool [..., L] is true."""
        pieces = tf.where(mask, tf.gather(tf.constant(self._texts), ids), "")
        return squeeze(tf.strings.reduce_join(pieces, axis=-1))
