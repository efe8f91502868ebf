"""A Keras layer from strings to what every model reads, for models that take texts.

Keras must find the class whenever it reads a `.keras` file, also where TensorFlow is missing, so
what brings TensorFlow is imported inside functions.

Letters: B texts, L tokens of one.
"""

from __future__ import annotations

import base64
import os
from typing import TYPE_CHECKING, Any, Self

import keras

from albert_tf import tensorflow_needs
from albert_tf.checkpoints import hub_files, model_directory
from albert_tf.checkpoints.stored_tensors import CheckpointError

if TYPE_CHECKING:
    import tensorflow as tf

    from albert_tf.pipelines.tokenizer.tokenization import Tokenizer

_LONGEST = 512  # what published models read
_NAMES = ("input_ids", "input_mask", "segment_ids")


@keras.saving.register_keras_serializable(package="albert_tf")
class TextEncoder(keras.layers.Layer):
    """Texts, or pairs of texts, to the batch that every model reads, as `tokenizer(texts)`.

        texts = keras.Input((), dtype="string")
        model = keras.Model(texts, AlbertClassifier.from_pretrained(path)(TextEncoder(path)(texts)))
        model.predict(tf.constant(["A fine film."]))

    The vocabulary is part of the layer: `model.save("model.keras")` and `model.export(path)` keep
    it. In `tf.data` it is called on batches of strings.

    Args:
        tokenizer: a `Tokenizer`, a model directory, or a name on the Hugging Face hub.
        max_length: longest row, special pieces included; longer texts and pairs are cut as in
            training. By default 512, or what the model of the directory reads, if that is less.
        padding: True for rows as long as the longest text of the batch, rounded up to a multiple
            of 8, or "max_length" for rows of one length, which compilers like.
        kwargs: of `keras.layers.Layer`.
    """

    def __init__(
        self,
        tokenizer: Tokenizer | str | os.PathLike,
        max_length: int | None = None,
        padding: bool | str = True,
        **kwargs,
    ):
        tensorflow_needs.check_backend("TextEncoder")
        from albert_tf.pipelines.tokenizer import sequences
        from albert_tf.pipelines.tokenizer.tokenization import Tokenizer

        if max_length is None:
            max_length = _LONGEST
            if not isinstance(tokenizer, Tokenizer):
                max_length = min(_LONGEST, _read_longest(tokenizer))
        sequences.check_lengths(max_length, padding)
        super().__init__(**kwargs)
        if not isinstance(tokenizer, Tokenizer):
            tokenizer = Tokenizer.from_pretrained(tokenizer)
        self.tokenizer = tokenizer
        self.max_length = max_length
        self.padding = padding
        self.supports_jit = False  # XLA has no strings
        self.built = True

    def call(self, texts: tf.Tensor, text_pairs: tf.Tensor | None = None) -> dict[str, tf.Tensor]:
        """Returns `input_ids`, `input_mask`, `segment_ids` int32 [B, L].

        Args:
            texts: string [B] or [B, 1].
            text_pairs: as many second texts, or None.
        """
        _check_strings(texts, text_pairs)
        texts = _without_last_axis(texts)
        if text_pairs is not None:
            text_pairs = _without_last_axis(text_pairs)
        batch = self.tokenizer(texts, text_pairs, max_length=self.max_length, padding=self.padding)
        for ids in batch.values():
            ids.set_shape((None, self._length))
        return batch

    def compute_output_spec(
        self, texts: keras.KerasTensor, text_pairs: keras.KerasTensor | None = None
    ) -> dict[str, keras.KerasTensor]:
        """Returns the shapes of what `call` does, from those of its arguments."""
        _check_strings(texts, text_pairs)
        shape = (texts.shape[0], self._length)
        return {name: keras.KerasTensor(shape, "int32", name=name) for name in _NAMES}

    @property
    def _length(self) -> int | None:
        """L where it is known."""
        return self.max_length if self.padding == "max_length" else None

    def get_config(self) -> dict[str, Any]:
        """Returns what the constructor takes, as JSON types, the vocabulary among it."""
        return {
            **super().get_config(),
            "tokenizer": base64.b64encode(self.tokenizer.model_bytes).decode("ascii"),
            "max_length": self.max_length,
            "padding": self.padding,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Returns the layer that `get_config` described."""
        from albert_tf.pipelines.tokenizer.tokenization import Tokenizer

        tokenizer = Tokenizer.from_model_bytes(base64.b64decode(config["tokenizer"]))
        return cls(**{**config, "tokenizer": tokenizer})


def _read_longest(directory: str | os.PathLike) -> int:
    directory = hub_files.find_directory(directory, with_weights=False)
    try:
        return model_directory.read_config(directory).max_position_embeddings
    except CheckpointError:  # a vocabulary without a model
        return _LONGEST


def _check_strings(texts: Any, text_pairs: Any) -> None:
    for name, value in (("texts", texts), ("text_pairs", text_pairs)):
        if value is None:
            continue
        dtype = getattr(value, "dtype", type(value).__name__)
        shape = getattr(value, "shape", ())
        is_unknown = getattr(shape, "rank", 0) is None  # what comes out of `tf.py_function`
        shape = "of unknown rank" if is_unknown else tuple(shape)
        if getattr(dtype, "name", dtype) != "string" or shape[1:] not in ((), (1,)):
            raise ValueError(
                f"`{name}` of TextEncoder must be a tensor of strings [B], as "
                f'keras.Input((), dtype="string") and tf.constant give. Received: {dtype} {shape}'
            )


def _without_last_axis(texts: tf.Tensor) -> tf.Tensor:
    return keras.ops.squeeze(texts, 1) if len(texts.shape) == 2 else texts
