"""The one op that makes ids of text, and the table that its ids pass to be the original's.

Shapes: V vocabulary.
"""

import dataclasses

import numpy as np
import tensorflow as tf
import tensorflow_text

# No public function makes a SentencePiece resource that has a name.
from tensorflow_text.python.ops.sentencepiece_tokenizer import gen_sentencepiece_tokenizer

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


class Engine(tensorflow_text.SentencepieceTokenizer):
    """The op of tensorflow-text on a model that lasts as long as the process."""

    def __init__(self, model_bytes: bytes, fingerprint: str):
        super().__init__(model_bytes, out_type=tf.int32)
        self._model_resource = _LastingModel(model_bytes, fingerprint)


@dataclasses.dataclass(frozen=True)
class DigitCommas:
    """Which pieces the digit-comma rule replaces, and by what."""

    rows: dict[int, list[int]]  # id -> ids
    splits: np.ndarray  # [V + 1] int64; with `values` a ragged table that has a row for every id
    values: np.ndarray  # int32


def find_digit_commas(engine: Engine, vocabulary: Vocabulary) -> DigitCommas:
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
        encoded = engine.tokenize(tf.constant(numbers)).to_list()
        for index, row in zip(affected, encoded, strict=True):
            if not pieces[index].startswith(WORD_BOUNDARY):
                row = vocabulary.continue_word(row, default=unknown)
            rows[index] = [*row, vocabulary.ids.get(",", unknown)]
    table = [rows.get(index, [index]) for index in range(len(pieces))]
    splits = np.concatenate([[0], np.cumsum([len(row) for row in table])])
    return DigitCommas(rows, splits.astype(np.int64), np.concatenate(table).astype(np.int32))
