"""SentencePiece: the op that makes ids of text, and a table that makes them the original's.

Shapes: B texts, L pieces of one text (ragged), V vocabulary, T pieces of all texts together.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
import tensorflow_text

# No public function makes a SentencePiece resource that has a name.
from tensorflow_text.python.ops.sentencepiece_tokenizer import gen_sentencepiece_tokenizer

from albert_tf.pipelines.tokenizer import offsets
from albert_tf.pipelines.tokenizer.vocabulary_model import (
    UNKNOWN_PIECE,
    WORD_BOUNDARY,
    Vocabulary,
)


class _LastingModel(tf.saved_model.experimental.TrackableResource):
    """A SentencePiece model in TensorFlow's memory, which all tokenizers of its bytes share.

    One without a name, as tensorflow-text makes it, belongs to a cached kernel, and
    `keras.backend.clear_session` frees those under the hands of whoever uses them.
    """

    def __init__(self, model_bytes: bytes, fingerprint: str):
        super().__init__()
        self._attributes = {"model": model_bytes, "shared_name": f"spiece_{fingerprint}"}
        _ = self.resource_handle  # made here, and not inside the first graph that asks for it

    def _create_resource(self) -> tf.Tensor:
        return gen_sentencepiece_tokenizer.sentencepiece_op(**self._attributes)


class _Op(tensorflow_text.SentencepieceTokenizer):
    """The op of tensorflow-text on a model that lasts as long as the process."""

    def __init__(self, model_bytes: bytes, fingerprint: str):
        super().__init__(model_bytes, out_type=tf.int32)
        self._model_resource = _LastingModel(model_bytes, fingerprint)


# The ids of a text and the (start, end) characters of each.
IdsAndSpans = tuple[list[int], list[tuple[int, int]]]


class SentencePieceEngine(tf.Module):
    """Texts to ids of a SentencePiece model that has its clean-up built in.

    Raises tf.errors.OpError for a model that TensorFlow cannot load.
    """

    def __init__(self, vocabulary: Vocabulary, fingerprint: str):
        super().__init__(name="sentencepiece_engine")
        self._pieces, self._unknown = vocabulary.pieces, vocabulary.ids[UNKNOWN_PIECE]
        self.replacements = offsets.Replacements(vocabulary.model_bytes)
        with tf.init_scope(), tf.device("CPU:0"):
            self.op = _Op(vocabulary.model_bytes, fingerprint)
            self._digit_commas = _find_digit_commas(self.op, vocabulary)
            self._table_splits = tf.constant(self._digit_commas.splits)  # [V + 1]
            self._table_values = tf.constant(self._digit_commas.values)

    @property
    def digit_comma_table(self) -> tf.RaggedTensor:
        """int32 [V, (1 or more)]: the ids that each id of `op` stands for."""
        return tf.RaggedTensor.from_row_splits(
            self._table_values, self._table_splits, validate=False
        )

    def encode_ragged(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """Returns int32 [B, (L)] of string [B]."""
        ids = self.op.tokenize(texts)  # [B, (L)]
        replaced = tf.gather(self.digit_comma_table, ids.values)  # [T, (1 or more)]
        return tf.RaggedTensor.from_row_splits(
            replaced.values, tf.gather(replaced.row_splits, ids.row_splits), validate=False
        )

    def encode_with_spans(self, texts: Sequence[str], utf8: Sequence[bytes]) -> list[IdsAndSpans]:
        """Returns the ids of each text with the characters that they stand for, in Python."""
        ids, starts, ends = self.op.tokenize_with_offsets(tf.constant(utf8))
        rows = zip(texts, utf8, ids.to_list(), starts.to_list(), ends.to_list(), strict=True)
        return [self._with_character_spans(*row) for row in rows]

    def _with_character_spans(
        self, text: str, utf8: bytes, ids: list[int], starts: list[int], ends: list[int]
    ) -> IdsAndSpans:
        pieces = [None if i == self._unknown else self._pieces[i] for i in ids]
        spans = offsets.character_spans(text, utf8, pieces, starts, ends, self.replacements)
        if self._digit_commas.rows.keys().isdisjoint(ids):
            return ids, spans
        all_ids, all_spans = [], []
        for index, span in zip(ids, spans, strict=True):
            replacement = self._digit_commas.rows.get(index)
            if replacement is None:
                all_ids.append(index)
                all_spans.append(span)
                continue
            pieces = [self._pieces[i].removeprefix(WORD_BOUNDARY) for i in replacement]
            all_ids.extend(replacement)
            all_spans.extend(offsets.digit_comma_spans(text, span, pieces, self.replacements))
        return all_ids, all_spans


@dataclasses.dataclass(frozen=True)
class _DigitCommas:
    """Which pieces the digit-comma rule replaces, and by what."""

    rows: dict[int, list[int]]  # id -> ids
    splits: np.ndarray  # [V + 1] int64; with `values` a ragged table that has a row for every id
    values: np.ndarray  # int32


def _find_digit_commas(op: _Op, vocabulary: Vocabulary) -> _DigitCommas:
    """Works out what the digit-comma rule makes of each piece that it is about.

    The original takes a piece that ends in digit + "," apart: what stands before the comma is
    encoded anew (without a word boundary that the piece did not have), then comes ",". The result
    depends on the piece alone, which makes it a table.
    """
    pieces = vocabulary.pieces
    affected = [
        index
        for index, piece in enumerate(pieces)
        if len(piece) > 1 and piece.endswith(",") and piece[-2].isdigit()
    ]
    rows = {}
    if affected:
        unknown = vocabulary.ids[UNKNOWN_PIECE]
        numbers = [pieces[index][:-1].replace(WORD_BOUNDARY, "") for index in affected]
        encoded = op.tokenize(tf.constant(numbers)).to_list()
        for index, row in zip(affected, encoded, strict=True):
            if not pieces[index].startswith(WORD_BOUNDARY):
                row = _continue_word(vocabulary, row)
            rows[index] = [*row, vocabulary.ids.get(",", unknown)]
    table = [rows.get(index, [index]) for index in range(len(pieces))]
    splits = np.concatenate([[0], np.cumsum([len(row) for row in table])])
    return _DigitCommas(rows, splits.astype(np.int64), np.concatenate(table).astype(np.int32))


def _continue_word(vocabulary: Vocabulary, ids: list[int]) -> list[int]:
    """Returns `ids` inside a word: "▁" dropped, "▁s" made "s", or unknown if there is no "s"."""
    first = vocabulary.pieces[ids[0]] if ids else ""
    if not first.startswith(WORD_BOUNDARY):
        return ids
    if first == WORD_BOUNDARY:
        return ids[1:]
    unknown = vocabulary.ids[UNKNOWN_PIECE]
    return [vocabulary.ids.get(first[1:], unknown), *ids[1:]]
