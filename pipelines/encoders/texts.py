"""Texts with special pieces written in them to ids, and ids to text, as TensorFlow ops.

Letters: B texts, L tokens of one, V vocabulary.

Every function takes strings that are valid UTF-8: of a client,
`sequences.replace_invalid` makes them so.
"""

import tensorflow as tf

from albert_tf.pipelines.tokenizer import rows
from albert_tf.pipelines.tokenizer.tokenization import Tokenizer
from albert_tf.pipelines.tokenizer.vocabulary_model import MASK_PIECE

# What `str.split` and `str.strip` take for white space.
WHITE_SPACE = r"[\s\x0b\x1c-\x1f\x{85}\p{Z}]"
# A byte that valid UTF-8 never has: it can stand between two texts.
_BETWEEN = b"\xff"


def strip(texts: tf.Tensor) -> tf.Tensor:
    """Returns string [...] without white space at both ends, as `str.strip`."""
    return tf.strings.regex_replace(texts, f"^{WHITE_SPACE}+|{WHITE_SPACE}+$", "")


def squeeze(texts: tf.Tensor) -> tf.Tensor:
    """Returns string [...] with single spaces between words, as `" ".join(text.split())`."""
    return strip(tf.strings.regex_replace(texts, f"{WHITE_SPACE}+", " "))


def encode_with_specials(tokenizer: Tokenizer, texts: tf.Tensor, max_seq_length: int) -> rows.Rows:
    """Encodes string [B], in which `[MASK]`, `[CLS]` and `[SEP]` may be written.

    As `Tokenizer.encode(text, allow_special=True)`, for exported models: what stands between them
    is encoded alone, and what follows `[MASK]` without a space continues the word.
    """
    marked = tf.strings.regex_replace(texts, r"\[(CLS|SEP|MASK)\]", _BETWEEN + rb"[\1]" + _BETWEEN)
    # Text, special, text, special, ..., text.
    parts = tf.strings.split(marked, _BETWEEN)  # [B, (parts)]
    number = rows.places_in_rows(parts)  # [P], P parts of all texts together
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
    return rows.pack(tokenizer, rows.Slices.of(whole).first(max_seq_length - 2))


def _continue_words(
    tokenizer: Tokenizer, ids: tf.RaggedTensor, where: tf.Tensor
) -> tf.RaggedTensor:
    """Returns ids [P, (L)] whose first piece loses its word boundary in the rows of bool [P]."""
    position = rows.places_in_rows(ids)
    is_affected = (position == 0) & tf.gather(where, ids.value_rowids())
    values = tf.where(
        is_affected,
        tf.gather(tf.constant(tokenizer.vocabulary.inside_word), ids.values),
        ids.values,
    )
    return tf.ragged.boolean_mask(ids.with_values(values), ids.with_values(values >= 0))


class Decoder:
    """Ids to readable text, as `Tokenizer.decode(ids, skip_special=False)`, for exported models."""

    def __init__(self, tokenizer: Tokenizer):
        self._texts = tokenizer.vocabulary.piece_texts

    def __call__(self, ids: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        """Returns string [...] of int32 [..., L] where bool [..., L] is true."""
        pieces = tf.where(mask, tf.gather(tf.constant(self._texts), ids), "")
        return squeeze(tf.strings.reduce_join(pieces, axis=-1))
