"""The Keras models: the encoder alone and with the heads of pretraining.

What all models have in common is in keras_model.py; those of other tasks are in task_models.py.

Letters: B batch, L sequence length, P prediction slots, K places for examples in a packed row,
H hidden size, V vocabulary, C texts of an example that are compared.
"""

import os
from typing import Any, Self

import keras
from keras import ops

from albert_tf import setting_checks
from albert_tf.checkpoints import hub_files, model_kinds
from albert_tf.config import AlbertConfig
from albert_tf.model import heads, losses, model_inputs
from albert_tf.model.heads import MaskedLMHead, SentenceOrderHead
from albert_tf.model.keras_model import AlbertTaskModel
from albert_tf.model.model_inputs import EXAMPLE_NUMBERS, EXAMPLE_WEIGHT
from albert_tf.model.tensors import Batch, Tensor, WeightedSum


@keras.saving.register_keras_serializable(package="albert_tf")
class AlbertForPretraining(AlbertTaskModel):
    """Encoder, masked-LM head and sentence-order head.

    The loss is the mean masked-LM loss over the batch's predictions plus the mean sentence-order
    loss.

    Args:
        config: `AlbertConfig`, or the dict that its `to_dict` gives.
        kwargs: of `keras.Model`, such as `dtype="mixed_bfloat16"`.
    """

    kind = "fill_mask"
    transformers_class = "AlbertForPreTraining"
    head_names = ("masked_lm_head", "sentence_order_head")
    starts_missing_heads = True
    quantities = (
        "masked_lm_loss",
        "masked_lm_accuracy",
        "sentence_order_loss",
        "sentence_order_accuracy",
    )
    label_names = ("masked_lm_ids", "masked_lm_weights", "sentence_order_label")
    needed_inputs = ("masked_lm_positions",)
    scores_positions = True

    def __init__(self, config: AlbertConfig | dict, name: str = "albert_for_pretraining", **kwargs):
        super().__init__(config, name=name, **kwargs)
        self.masked_lm_head = MaskedLMHead(self.config, dtype=self.dtype_policy)
        self.sentence_order_head = SentenceOrderHead(self.config, dtype=self.dtype_policy)
        self.finish()

    def apply_head(self, encoded: Batch, inputs: Batch, training: bool) -> Batch:
        """Scores words at `masked_lm_positions` int [B, P] of a batch, and the order.

        Rows of several examples have `example_numbers` int [B, L] and `cls_positions` int [B, K],
        too.

        Returns:
            A dict of float32 `masked_lm_logits` [B, P, V] and `sentence_order_logits` [B, 2], or
            [B, K, 2] of several examples a row.
        """
        del inputs, training
        return {
            "masked_lm_logits": self.masked_lm_head(
                encoded["sequence_output"], self.encoder.embeddings.word_embeddings
            ),
            "sentence_order_logits": self.sentence_order_head(encoded["pooled_output"]),
        }

    def loss_weights(self, batch: Batch) -> dict[str, Tensor]:
        """Returns the number of predictions and of examples in a batch."""
        # 1e-5 is the original's, and keeps a batch without any prediction finite.
        weights = super().loss_weights(batch)
        weights["masked_lm_loss"] = ops.sum(self._word_weights(batch)) + 1e-5
        if "sentence_order_weights" in batch:
            weights["sentence_order_loss"] = ops.maximum(ops.sum(self._order_weights(batch)), 1e-5)
        return weights

    def measure(self, batch: Batch, outputs: dict[str, Tensor]) -> dict[str, WeightedSum]:
        """Returns losses and accuracies of words and sentence order, see `AlbertTaskModel`."""
        words = (outputs["masked_lm_logits"], batch["masked_lm_ids"], self._word_weights(batch))
        order = (outputs["sentence_order_logits"], batch["sentence_order_label"])
        order = (*order, self._order_weights(batch))
        quantities = {
            "masked_lm_loss": losses.cross_entropy(*words),
            "masked_lm_accuracy": losses.accuracy(*words),
            "sentence_order_loss": losses.cross_entropy(*order),
            "sentence_order_accuracy": losses.accuracy(*order),
        }
        if EXAMPLE_NUMBERS in batch:
            quantities["padding_share"] = losses.mean(ops.equal(batch[EXAMPLE_NUMBERS], 0))
        return quantities

    def _word_weights(self, batch: Batch) -> Tensor:
        return _weighted(batch["masked_lm_weights"], batch)  # [B, P]

    def _order_weights(self, batch: Batch) -> Tensor | None:
        """Returns what each example counts, [B] or, with several a row, [B, K]; None for 1."""
        if "sentence_order_weights" in batch:
            return _weighted(batch["sentence_order_weights"], batch)
        return batch.get(EXAMPLE_WEIGHT)


def _weighted(weights: Tensor, batch: Batch) -> Tensor:
    """Returns float32 weights [B, ...] times those of the rows, if there are any."""
    weights = ops.cast(weights, "float32")
    if EXAMPLE_WEIGHT not in batch:
        return weights
    return weights * ops.cast(batch[EXAMPLE_WEIGHT], "float32")[:, None]


@keras.saving.register_keras_serializable(package="albert_tf")
class AlbertModel(AlbertTaskModel):
    """The encoder alone: vectors of tokens and of the text."""

    transformers_class = "AlbertModel"
    needs_pooler = False
    gives_logits = False

    def __init__(self, config: AlbertConfig | dict, name: str = "albert", **kwargs):
        super().__init__(config, name=name, **kwargs)
        self.finish()

    def apply_head(self, encoded: Batch, inputs: Batch, training: bool) -> Batch:
        """Returns `sequence_output` [B, L, H] and, with a pooler, `pooled_output` [B, H]."""
        del inputs, training
        return encoded


@keras.saving.register_keras_serializable(package="albert_tf")
class AlbertMaskedLM(AlbertTaskModel):
    """Encoder and masked-LM head: words for masks. Arguments as of `AlbertTaskModel`."""

    kind = "fill_mask"
    transformers_class = "AlbertForMaskedLM"
    head_names = ("masked_lm_head",)
    scores_positions = True
    needs_pooler = has_pooler = False

    def __init__(self, config: AlbertConfig | dict, name: str = "albert_masked_lm", **kwargs):
        super().__init__(config, name=name, **kwargs)
        self.masked_lm_head = MaskedLMHead(self.config, dtype=self.dtype_policy)
        self.finish()

    def apply_head(self, encoded: Batch, inputs: Batch, training: bool) -> Tensor:
        """Returns float32 logits [B, P, V] at `masked_lm_positions` int [B, P] of a batch.

        Without them all L are scored.
        """
        del inputs, training
        table = self.encoder.embeddings.word_embeddings
        return self.masked_lm_head(encoded["sequence_output"], table)


@keras.saving.register_keras_serializable(package="albert_tf")
class AlbertEmbedder(AlbertTaskModel):
    """One vector a text, trained so that like texts have like vectors.

    Without labels in a batch a text's own second text is told from those of all other examples,
    see `losses.in_batch_ranking`. With `label` float [B] the cosine of a pair becomes that number.

    Args:
        config: `AlbertConfig` or its dict.
        pooling: "mean" of the tokens' vectors, "cls" or "max".
        normalize: whether vectors have length 1; those of the loss have it in any case.
        temperature: what cosines are divided by, without labels.
        kwargs: of `keras.Model`, such as `dtype="mixed_bfloat16"`.
    """

    kind = "embedding"
    transformers_class = "AlbertModel"
    needs_pooler = has_pooler = False
    gives_logits = False
    quantities = ("embedding_loss",)

    def __init__(
        self,
        config: AlbertConfig | dict,
        pooling: str = "mean",
        normalize: bool = True,
        temperature: float = 0.05,
        name: str = "albert_embedder",
        **kwargs,
    ):
        setting_checks.check_choice("pooling", pooling, tuple(heads.POOLINGS))
        setting_checks.check_positive("temperature", temperature)
        super().__init__(config, name=name, **kwargs)
        self.pooling = pooling
        self.normalize = normalize
        self.temperature = temperature
        self.finish()

    @classmethod
    def from_pretrained(
        cls, directory: str | os.PathLike, initialize_head: bool = False, **kwargs
    ) -> Self:
        """Returns the model of a directory, see `AlbertTaskModel.from_pretrained`.

        Pooling and normalisation are those of a directory that is for embeddings, ours or of
        sentence-transformers, unless given.
        """
        directory = hub_files.find_directory(directory, **hub_files.take_options(kwargs))
        if model_kinds.read_kind(directory) == cls.kind:
            notes = model_kinds.read_notes(directory, cls.kind)
            kwargs = {"pooling": notes.pooling, "normalize": notes.normalize, **kwargs}
        return super().from_pretrained(directory, initialize_head, **kwargs)

    def notes(self) -> model_kinds.EmbeddingNotes:
        """Returns how vectors are made, as a model directory keeps it."""
        return model_kinds.EmbeddingNotes(
            kind=self.kind, pooling=self.pooling, normalize=self.normalize
        )

    def head_settings(self) -> dict[str, Any]:
        """Returns how vectors are made and trained."""
        return {
            "pooling": self.pooling,
            "normalize": self.normalize,
            "temperature": self.temperature,
        }

    def read_batch(self, batch: Batch) -> Batch:
        """Returns a batch under our names, its ids [B, L] or [B, C, L]."""
        ids = batch.get("input_ids") if isinstance(batch, dict) else None
        has_choices = len(getattr(ids, "shape", ())) == 3
        return model_inputs.read_batch(batch, self, int(has_choices), {"labels": "label"})

    def encode(self, inputs: Batch, *args, **kwargs) -> dict[str, Any]:
        """Returns the encoder's outputs for the rows of a batch, ids [B, L] or [B, C, L]."""
        return super().encode(model_inputs.as_rows(inputs), *args, **kwargs)

    def apply_head(self, encoded: Batch, inputs: Batch, training: bool) -> Tensor:
        """Returns float32 vectors [B, H] for ids [B, L], or [B, C, H] for [B, C, L]."""
        del training
        shape, rows = ops.shape(inputs["input_ids"]), model_inputs.as_rows(inputs)
        mask = rows.get("input_mask")
        mask = ops.ones_like(rows["input_ids"]) if mask is None else mask
        vectors = heads.pool(encoded["sequence_output"], mask, self.pooling, self.normalize)
        return ops.reshape(vectors, (*shape[:-1], self.config.hidden_size))

    def measure(self, batch: Batch, outputs: Tensor) -> dict[str, WeightedSum]:
        """Returns the loss of pairs or triples [B, C, H], see the class.

        Raises:
            ValueError: for examples of another number of texts.
        """
        _check_texts_of_an_example(batch)
        units, weights = heads.to_unit_length(outputs), batch.get(EXAMPLE_WEIGHT)
        if "label" in batch:
            cosines = ops.sum(units[:, 0] * units[:, 1], axis=-1)  # [B]
            return {"embedding_loss": losses.squared_error(cosines, batch["label"], weights)}
        same = _same_as_own(batch)
        return {"embedding_loss": losses.in_batch_ranking(units, self.temperature, weights, same)}


def _check_texts_of_an_example(batch: Batch) -> None:
    shape = tuple(batch["input_ids"].shape)
    if "label" in batch:
        is_right, expected = len(shape) == 3 and shape[1] == 2, "[B, 2, L] beside label"
    else:
        is_right = len(shape) == 3 and shape[1] is not None and shape[1] >= 2
        expected = "[B, C, L] with C of 2 or more to be trained without label"
    if not is_right:
        raise ValueError(
            f"input_ids of a batch of AlbertEmbedder must have shape {expected}. Received: {shape}"
        )


def _same_as_own(batch: Batch) -> Tensor:
    """Returns which texts of a batch are each example's own second one, as the loss takes it."""
    ids = ops.cast(batch["input_ids"], "int32")  # [B, C, L]
    mask = batch.get("input_mask")
    if mask is not None:
        ids = ops.where(ops.equal(mask, 0), -1, ids)
    others = ops.transpose(ids[:, 1:], (1, 0, 2))
    others = ops.reshape(others, (-1, ids.shape[-1] or ops.shape(ids)[-1]))  # [B * (C - 1), L]
    return ops.all(ops.equal(ids[:, None, 1], others[None]), axis=-1)
