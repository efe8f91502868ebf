"""Pretraining that also tells which tokens were replaced, in the text that the model itself makes.

The hidden words are drawn from what the model thinks of them, and it then reads the text with the
drawn words in their places and says of each token whether it is the text's own: ELECTRA's objective
(arXiv 2003.10555), with one set of weights for both. The generator is the masked-LM model as it is
trained, so nothing is added but a logit for each token, and what is published is an ALBERT.

Letters: B batch, L sequence length, P prediction slots, H hidden size, V vocabulary.
"""

from typing import Any

import keras
from keras import ops

from albert_tf.config import AlbertConfig
from albert_tf.model import layers, losses
from albert_tf.model.heads import LinearHead
from albert_tf.model.language_models import AlbertForPretraining, weighted
from albert_tf.model.tensors import Batch, Tensor, WeightedSum


@keras.saving.register_keras_serializable(package="albert_tf")
class AlbertForReplacedTokens(AlbertForPretraining):
    """`AlbertForPretraining` with a third loss: which tokens are not the text's own.

    A batch with `masked_lm_ids` is read twice. The order of the segments is told from the second
    text, which has no [MASK], as texts of other tasks have none. Without labels in the batch this
    is `AlbertForPretraining`.

    Args:
        config: `AlbertConfig`, or the dict that its `to_dict` gives.
        seed: of the draws in `fit`, which adds up the three losses as they are; `run_pretraining`
            draws from its own seed and weighs them.
        kwargs: of `keras.Model`, such as `dtype="mixed_bfloat16"`.
    """

    head_names = (*AlbertForPretraining.head_names, "replaced_token_head")
    quantities = (
        *AlbertForPretraining.quantities,
        "replaced_token_loss",
        "replaced_token_accuracy",
        "replaced_token_recall",
    )

    def __init__(
        self,
        config: AlbertConfig | dict,
        seed: int | None = None,
        name: str = "albert_for_replaced_tokens",
        **kwargs,
    ):
        super().__init__(config, name=name, **kwargs)
        self.replaced_token_head = LinearHead(
            self.config, 1, name="replaced_token_head", dtype=self.dtype_policy
        )
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def head_settings(self) -> dict[str, Any]:
        """Returns the seed."""
        return {"seed": self.seed}

    def apply_head(self, encoded: Batch, inputs: Batch, training: bool) -> Batch:
        """Returns the outputs of `AlbertForPretraining` and, with labels, of the second reading.

        Returns:
            Float32 `masked_lm_logits` [B, P, V], `sentence_order_logits` [B, 2] and, with
            `masked_lm_ids` and `masked_lm_weights` in the batch, float32 `replaced_token_logits`
            [B, L] and int32 `replaced_tokens` [B, L], 1 where a token is not the text's own.
        """
        outputs = super().apply_head(encoded, inputs, training)
        if "masked_lm_ids" not in inputs:
            return outputs
        numbers = self._draw_numbers(ops.shape(inputs["masked_lm_ids"]), training)
        drawn = draw_words(ops.stop_gradient(outputs["masked_lm_logits"]), numbers)
        ids, replaced_tokens = replace_hidden_words(inputs, drawn)
        encoded = self.encode({**inputs, "input_ids": ids}, training)
        logits = self.replaced_token_head(encoded["sequence_output"], training=training)
        return {
            **outputs,
            "sentence_order_logits": self.sentence_order_head(encoded["pooled_output"]),
            "replaced_token_logits": logits[:, :, 0],
            "replaced_tokens": replaced_tokens,
        }

    def _draw_numbers(self, shape: tuple, training: bool) -> Tensor:
        """Returns float32 in [0, 1): while it trains new ones each time, else always the same."""
        if not training:
            return keras.random.uniform(shape, seed=0)
        seed = layers.next_dropout_seed()
        return keras.random.uniform(
            shape, seed=self.seed_generator if seed is None else layers.DrawnSeed(seed)
        )

    def loss_weights(self, batch: Batch) -> dict[str, Tensor]:
        """Returns those of `AlbertForPretraining` and the number of tokens."""
        return {
            **super().loss_weights(batch),
            "replaced_token_loss": ops.sum(_token_weights(batch)),
        }

    def measure(self, batch: Batch, outputs: dict[str, Tensor]) -> dict[str, WeightedSum]:
        """Returns losses and accuracies of words, order and replaced tokens."""
        tokens = (outputs["replaced_token_logits"], outputs["replaced_tokens"])
        weights = _token_weights(batch)
        of_replaced = weights * ops.cast(outputs["replaced_tokens"], "float32")
        return {
            **super().measure(batch, outputs),
            "replaced_token_loss": losses.binary_cross_entropy(*tokens, weights),
            "replaced_token_accuracy": losses.binary_accuracy(*tokens, weights),
            "replaced_token_recall": losses.binary_accuracy(*tokens, of_replaced),
        }


def _token_weights(batch: Batch) -> Tensor:
    mask = batch.get("input_mask")
    return weighted(ops.ones_like(batch["input_ids"]) if mask is None else mask, batch)  # [B, L]


def draw_words(logits: Tensor, numbers: Tensor) -> Tensor:
    """Draws one word a slot, each as likely as the softmax of the logits says.

    Args:
        logits: float32 [B, P, V].
        numbers: float32 [B, P], uniform in [0, 1).

    Returns:
        int32 [B, P]: the first word up to which the probabilities add up to more than the number.
    """
    # Sums of one draw a slot: a random number a word would cost more than the softmax.
    likely = ops.exp(logits - ops.max(logits, axis=-1, keepdims=True))
    sums = ops.cumsum(likely, axis=-1)  # [B, P, V]
    is_before = sums <= ops.expand_dims(numbers, -1) * sums[..., -1:]
    # The last sum times a number close to 1 may round to the sum.
    return ops.sum(ops.cast(is_before[..., :-1], "int32"), axis=-1)


def replace_hidden_words(inputs: Batch, drawn: Tensor) -> tuple[Tensor, Tensor]:
    """Puts the drawn words where words were hidden.

    Args:
        inputs: `input_ids` [B, L] and `masked_lm_positions`, `_ids` and `_weights` [B, P].
        drawn: int32 [B, P].

    Returns:
        int32 [B, L] twice: the ids, and 1 where one is not the text's own word.
    """
    ids = ops.cast(inputs["input_ids"], "int32")
    positions = ops.cast(inputs["masked_lm_positions"], "int32")
    own = ops.cast(inputs["masked_lm_ids"], "int32")
    # Empty slots point at position 0, which they leave as it is.
    is_used = ops.cast(inputs["masked_lm_weights"] > 0, "int32")
    shown = ops.take_along_axis(ids, positions, axis=1)  # [B, P]
    is_other = ops.cast(ops.not_equal(drawn, own), "int32")

    rows = ops.broadcast_to(ops.arange(ops.shape(ids)[0])[:, None], ops.shape(positions))
    places = ops.stack([ops.cast(rows, "int32"), positions], axis=-1)  # [B, P, 2]

    def at_positions(values: Tensor) -> Tensor:  # [B, P] -> [B, L]
        return ops.scatter(places, values * is_used, ops.shape(ids))

    return ids + at_positions(drawn - shown), at_positions(is_other)
