"""Texts and pairs of texts to what a model reads: `[CLS] A [SEP] B [SEP]`, as TensorFlow ops.

`Tokenizer` when it is called, training, models in this process and exported models all encode by
these rules; a SavedModel holds them.

Letters: B texts, L tokens of one, P parts of texts.

The encoders take strings that are valid UTF-8: of a client, `replace_invalid` makes them so.
"""

import numbers
import typing
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from albert_tf.pipelines.tokenizer import arrays, rows
from albert_tf.pipelines.tokenizer.vocabulary_model import MASK_PIECE, Vocabulary
from albert_tf.pipelines.tokenizer.wordpiece_vocabulary import WordPieceVocabulary

# A string, several of them, or a string tensor [B].
Texts = str | bytes | Sequence[str | bytes] | tf.Tensor
# `input_ids`, `input_mask`, `segment_ids` int32 [B, L].
Batch = dict[str, np.ndarray] | dict[str, tf.Tensor]
_NO_LIMIT = np.iinfo(np.int32).max
# What `str.split` and `str.strip` take for white space.
WHITE_SPACE = r"[\s\x0b\x1c-\x1f\x{85}\p{Z}]"
# A byte that valid UTF-8 never has: it can stand between two texts.
_BETWEEN = b"\xff"


class TextTokenizer(rows.SpecialPieces, typing.Protocol):
    """What these rules ask of a tokenizer."""

    vocabulary: Vocabulary | WordPieceVocabulary

    def encode_ragged(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Returns int32 [B, (L)] of string [B]."""

    def piece_to_id(self, piece: str) -> int:
        """Returns the id of a piece."""


def replace_invalid(texts: tf.Tensor) -> tf.Tensor:
    """Returns string [...] in which U+FFFD stands for what is no UTF-8."""
    return tf.strings.unicode_transcode(texts, "UTF-8", "UTF-8", errors="replace")


def encode_with_special(tokenizer: TextTokenizer, texts: tf.Tensor) -> tf.RaggedTensor:
    """Encodes string [B], valid UTF-8, as int32 [B, (L)], with special pieces written in it.

    As `Tokenizer.encode(text, allow_special=True)`: what stands between `[MASK]`, `[CLS]` and
    `[SEP]` is encoded alone, and what follows `[MASK]` without a space continues the word.
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
    return tf.RaggedTensor.from_row_splits(ids.values, tf.gather(ids.row_splits, parts.row_splits))


def _continue_words(
    tokenizer: TextTokenizer, ids: tf.RaggedTensor, where: tf.Tensor
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


def _ids_of(tokenizer: TextTokenizer, texts: tf.Tensor, allow_special: bool) -> rows.Slices:
    if allow_special:
        return rows.Slices.of(encode_with_special(tokenizer, texts))
    return rows.Slices.of(tokenizer.encode_ragged(texts))


def encode_texts(
    tokenizer: TextTokenizer, texts: tf.Tensor, max_seq_length: int, allow_special: bool = False
) -> rows.Rows:
    """Encodes string [B] as `[CLS] text [SEP]`; what is too long is cut off the end.

    With `allow_special`, `[MASK]`, `[CLS]` and `[SEP]` written in a text are these pieces.
    """
    ids = _ids_of(tokenizer, texts, allow_special)
    return rows.pack(tokenizer, ids.first(max_seq_length - 2))


def encode_pairs(
    tokenizer: TextTokenizer,
    texts_a: tf.Tensor,
    texts_b: tf.Tensor,
    max_seq_length: int,
    allow_special: bool = False,
) -> rows.Rows:
    """Encodes string [B] and [B] as `[CLS] A [SEP] B [SEP]`.

    Tokens go off the end of the longer text, off B where both are as long, until they fit: the
    original's rule. Of 6 and 2 tokens 3 and 2 are left where there is room for 5.
    """
    ids_a = _ids_of(tokenizer, texts_a, allow_special)
    ids_b = _ids_of(tokenizer, texts_b, allow_special)
    length_a, length_b = ids_a.lengths, ids_b.lengths  # [B]
    # First the difference in length goes off the longer one, then the rest off both in turns.
    excess = tf.maximum(length_a + length_b - (max_seq_length - 3), 0)
    from_longer = tf.minimum(excess, tf.abs(length_a - length_b))
    excess -= from_longer
    a_is_longer = length_a > length_b
    none = tf.zeros_like(excess)
    length_a -= tf.where(a_is_longer, from_longer, none) + excess // 2
    length_b -= tf.where(a_is_longer, none, from_longer) + (excess + 1) // 2
    return rows.pack(tokenizer, ids_a.first(length_a), ids_b.first(length_b))


def encode(
    tokenizer: TextTokenizer,
    texts: Texts,
    text_pairs: Texts | None,
    max_length: int,
    padding: bool | str,
    truncation: bool | str,
    allow_special: bool,
) -> Batch:
    """Returns what `Tokenizer.__call__` does, of its arguments."""
    columns = [_as_column(texts, "texts")]
    if text_pairs is not None:
        columns.append(_as_column(text_pairs, "text_pairs"))
        counts = [column.shape[0] for column in columns]
        if None not in counts and counts[0] != counts[1]:
            raise ValueError(
                f"`text_pairs` must be as many as `texts`, {counts[0]}. Received: {counts[1]}"
            )
    check_lengths(max_length, padding)
    if truncation not in (True, False, "longest_first"):
        raise ValueError(
            '`truncation` must be True ("longest_first": off the longer text) or False. '
            f"Received: {truncation!r}"
        )
    lengths = {
        "max_seq_length": max_length if truncation else _NO_LIMIT,
        "least_length": max_length if padding == "max_length" else 0,
    }
    encode_columns = _encode_padded_with_special if allow_special else encode_padded
    if tf.is_tensor(texts) or tf.is_tensor(text_pairs):
        # An accelerator has no strings.
        with tf.device("CPU:0"):
            return encode_columns(tokenizer, *columns, **lengths).flat()
    return arrays.encode_to_arrays(encode_columns, tokenizer, *columns, **lengths)


def check_lengths(max_length: int, padding: bool | str) -> None:
    """Refuses arguments of `Tokenizer.__call__` that no row can have.

    Raises:
        ValueError: naming the argument.
    """
    is_whole = isinstance(max_length, numbers.Integral) and not isinstance(max_length, bool)
    if not is_whole or max_length < 4:
        raise ValueError(f"`max_length` must be a whole number from 4 on. Received: {max_length!r}")
    if padding not in (True, "longest", "max_length"):
        raise ValueError(
            '`padding` must be True ("longest") or "max_length": arrays have rows of one length. '
            f"Received: {padding!r}"
        )


def _as_column(texts: Texts, name: str) -> tf.Tensor:
    """Returns string [B]."""
    if not tf.is_tensor(texts):
        if isinstance(texts, str | bytes):
            texts = [texts]
        is_array_of_one = getattr(texts, "ndim", 1) != 1
        if isinstance(texts, dict) or not hasattr(texts, "__len__") or is_array_of_one:
            kind = type(texts).__name__
            raise TypeError(f"`{name}` must be a string or a list of strings. Received: {kind}")
        return arrays.string_tensor(texts)
    if texts.dtype != tf.string or texts.shape.rank not in (0, 1):
        raise ValueError(
            f"`{name}` must be strings, or a string tensor [B]. Received: {texts.dtype.name} "
            f"{texts.shape}"
        )
    return tf.reshape(texts, [-1]) if texts.shape.rank == 0 else texts


class _Padded(typing.NamedTuple):
    input_ids: tf.Tensor
    input_mask: tf.Tensor
    segment_ids: tf.Tensor

    def flat(self) -> dict[str, tf.Tensor]:
        return self._asdict()


def encode_padded(
    tokenizer: TextTokenizer,
    texts: tf.Tensor,
    text_pairs: tf.Tensor | None = None,
    *,
    max_seq_length: int | tf.Tensor,
    least_length: int | tf.Tensor,
    allow_special: bool = False,
) -> _Padded:
    """Encodes string [B], of any bytes, or [B] and [B], and pads them; see `Rows.padded`."""
    texts = replace_invalid(texts)
    if text_pairs is None:
        packed = encode_texts(tokenizer, texts, max_seq_length, allow_special)
    else:
        text_pairs = replace_invalid(text_pairs)
        packed = encode_pairs(tokenizer, texts, text_pairs, max_seq_length, allow_special)
    return _Padded(**packed.padded(tokenizer, max_seq_length, least_length))


def _encode_padded_with_special(*arguments, **settings) -> _Padded:
    """A function of its own, since graphs are kept by it."""
    return encode_padded(*arguments, **settings, allow_special=True)
