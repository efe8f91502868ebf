"""The memory that a step of training needs, from sizes alone, before it is taken.

It counts what is alive where the backward pass begins, where it ends or where the optimizer works,
whichever is most. The forms are those of `fused_ops` on CPUs; benchmarks/step_memory.py compares
them with measurements.

Letters: B examples that pass the model at a time, L sequence length, T = B L tokens, P prediction
slots, H hidden size, F feed-forward size, N heads, V vocabulary.
"""

import dataclasses
import math
from collections.abc import Iterable

import keras
import tensorflow as tf

from albert_tf.config import AlbertConfig
from albert_tf.training.settings import StepSettings

_FLOAT32_BYTES = 4
_GIGABYTE = 1e9


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepMemory:
    """Bytes of a step, by what they hold."""

    parameters: int
    optimizer: int
    gradients: int
    activations: int

    @property
    def total(self) -> int:
        """The sum."""
        return self.parameters + self.optimizer + self.gradients + self.activations

    def describe(self) -> str:
        """Returns one line for people."""
        parts = ", ".join(
            f"{field.name} {getattr(self, field.name) / _GIGABYTE:.2f}"
            for field in dataclasses.fields(self)
        )
        return (
            f"a step needs about {self.total / _GIGABYTE:.2g} GB on a device, beside TensorFlow "
            f"itself: {parts}"
        )


def estimate_step(
    model: keras.Model,
    settings: StepSettings,
    parts: int,
    *,
    rows: int = 1,
    length: int,
    predictions: int = 0,
) -> StepMemory:
    """Returns the memory of a step before anything of it is made but the model.

    Args:
        model: with a `config`.
        settings: of the step.
        parts: in which devices, or the order of sums, cut a batch.
        rows: of an example that pass the encoder: 1, or the number of its choices.
        length: of the longest text, L.
        predictions: see `estimate_activations`.
    """
    trainable = _count_bytes(model.trainable_variables)
    pieces = parts * settings.accumulation_steps
    return StepMemory(
        parameters=_count_bytes(model.variables),
        optimizer=2 * trainable,  # two moments
        gradients=trainable * min(pieces, 2),  # of a piece, and the sum of those before
        activations=max(
            estimate_activations(
                model.config,
                examples=rows * math.ceil(settings.batch_size / pieces),
                length=length,
                predictions=predictions,
                precision=model.compute_dtype,
                recompute=settings.recompute == "blocks",
            ),
            # Once they are gone: clipped gradients, and what weights and moments are to be.
            4 * trainable,
        ),
    )


def _count_bytes(variables: Iterable[keras.Variable]) -> int:
    return sum(math.prod(v.shape) * tf.as_dtype(v.dtype).size for v in variables)


def estimate_activations(
    config: AlbertConfig,
    *,
    examples: int,
    length: int,
    predictions: int,
    precision: str,
    recompute: bool,
) -> int:
    """Returns the bytes of all that a step makes beside weights and their gradients.

    Args:
        config: of the model.
        examples: that pass the model at a time, B.
        length: of a text, L.
        predictions: hidden words of a text, P; 0 for tasks without a vocabulary of outputs.
        precision: what the model computes in, such as "bfloat16".
        recompute: whether the inside of all passes is computed again.
    """
    value_bytes = tf.as_dtype(precision).size
    tokens = examples * length
    hidden = tokens * config.hidden_size * value_bytes  # [T, H]
    inner = tokens * config.intermediate_size * value_bytes  # [T, F]
    scores = examples * config.num_attention_heads * length**2  # [B, N, L, L]
    passes = config.num_hidden_layers * config.inner_group_num
    inside = _kept_inside_pass(config, hidden, inner, scores, value_bytes)
    kept = passes * hidden + inside if recompute else passes * (hidden + inside)
    if predictions and not recompute:
        # The last pass computes the words asked for alone, behind keys and values.
        kept -= round((1 - predictions / length) * (inside - 2 * hidden))
    weights = _count_block_weights(config) * value_bytes
    # Gradients of all passes are added up at the end, with `recompute` one by one.
    at_end = weights * (2 if recompute else passes)
    # A pass's gradient: of its inner layer and its slope, or of scores and probabilities.
    working = 2 * max(inner, scores * value_bytes)
    # Logits, their gradient, and what that is made of.
    logits = 3 * examples * predictions * config.vocab_size * _FLOAT32_BYTES
    return weights + max(kept + max(working, logits), at_end + inside + working)


def _kept_inside_pass(
    config: AlbertConfig, hidden: int, inner: int, scores: int, value_bytes: int
) -> int:
    """Returns the bytes that the gradient of a pass needs beside what went into it.

    Args:
        config: of the model.
        hidden, inner: bytes of [T, H] and [T, F].
        scores: numbers of [B, N, L, L].
        value_bytes: of a number.
    """
    # Query, key, value; context by head and by token; the attended sum, normalised and scaled; the
    # normalised output, whose scaled form goes into the next pass.
    kept = 8 * hidden
    kept += 2 * inner  # the activation's value and its slope
    kept += scores * value_bytes  # attention probabilities
    if config.attention_probs_dropout_prob:
        kept += scores * (_FLOAT32_BYTES + 1)  # before dropout in float32, and the mask
    if config.hidden_dropout_prob:
        kept += 2 * hidden // value_bytes  # two masks
    return kept


def _count_block_weights(config: AlbertConfig) -> int:
    """Returns the numbers in the matrices of all blocks."""
    hidden, inner = config.hidden_size, config.intermediate_size
    blocks = config.num_hidden_groups * config.inner_group_num
    return blocks * (4 * hidden**2 + 2 * hidden * inner)
