"""One update of the weights: a batch in, the sums of its losses out. It knows no task and no model.

What differs between tasks comes as an `Objective`: how much a batch weighs, and the loss sums of a
part of it. The step splits a batch into micro-batches, divides every part's gradient by the weight
of the *whole* batch, and so is the same step however the batch is cut.

Letters: B examples a step, K micro-batches a step.
"""

import typing
from collections.abc import Callable, Mapping

import keras
import numpy as np
import tensorflow as tf

from albert_tf import stop_signals
from albert_tf.model import fused_ops
from albert_tf.model.block import PLAIN_PASSES, PassChoices, chosen_passes
from albert_tf.model.keras_model import AlbertTaskModel
from albert_tf.model.model_inputs import EXAMPLE_WEIGHT
from albert_tf.model.tensors import Batch, Tensor, WeightedSum


class Objective(typing.Protocol):
    """What a task wants to be small, and what it wants to know."""

    def weights(self, batch: Batch) -> dict[str, Tensor]:
        """Returns {loss name: float32 scalar}, what each loss sum of `batch` is divided by."""

    def sums(
        self, model: keras.Model, batch: Batch, training: bool
    ) -> tuple[dict[str, Tensor], dict[str, WeightedSum]]:
        """Returns ({loss name: weighted sum}, {metric name: (sum, weight)}), float32 scalars.

        The total loss of a batch is the sum over loss names of factor * sum / weight.
        """

    def factors(self) -> dict[str, float]:
        """Returns {loss name: factor of its mean in the total loss}; 1 where a name is absent."""


class ModelObjective:
    """What an `AlbertTaskModel` measures of itself.

    Args:
        model: the model.
        factors: {loss name: factor of its mean in the total loss}; reports have the losses
            themselves.
        class_weights: float [C], what an example (a token, where tokens have classes) of each
            class counts in all means; [C, 2] where a text has several labels, of what is without
            and with each; None for 1.
    """

    def __init__(
        self,
        model: AlbertTaskModel,
        factors: dict[str, float] | None = None,
        class_weights: np.ndarray | None = None,
    ):
        self._model = model
        self._factors = factors or {}
        self._class_weights = class_weights

    def factors(self) -> dict[str, float]:
        """Returns the factors."""
        return self._factors

    def weights(self, batch: Batch) -> dict[str, Tensor]:
        """Returns the weights of the model's losses."""
        return self._model.loss_weights(self._weighted(batch))

    def _weighted(self, batch: Batch) -> Batch:
        if self._class_weights is None:
            return batch
        (label_name,) = self._model.label_names
        labels = tf.maximum(batch[label_name], 0)  # a token without one counts nothing as it is
        if len(self._class_weights.shape) == 2:
            without, having = tf.unstack(tf.constant(self._class_weights), axis=1)  # [C]
            return {**batch, EXAMPLE_WEIGHT: tf.where(labels > 0, having, without)}  # [B, C]
        return {**batch, EXAMPLE_WEIGHT: tf.gather(self._class_weights, labels)}

    def sums(
        self, model: AlbertTaskModel, batch: Batch, training: bool
    ) -> tuple[dict[str, Tensor], dict[str, WeightedSum]]:
        """Returns the sums of the model's losses and its accuracies with their weights."""
        batch = self._weighted(batch)
        quantities = model.measure(batch, model(batch, training=training))
        loss_sums = {n: total for n, (total, _) in quantities.items() if n.endswith("_loss")}
        return loss_sums, {n: pair for n, pair in quantities.items() if n not in loss_sums}


def with_loss_scale(
    optimizer: keras.optimizers.Optimizer, model: keras.Model
) -> keras.optimizers.Optimizer:
    """Returns the optimizer for a model's precision; in float16 it scales the loss.

    Divided by the weight of a large batch, most gradients are below what float16 can hold. Keras's
    dynamic scale is as large as they allow: halved at an overflow, whose step is skipped, doubled
    after 2,000 steps without one.
    """
    if model.compute_dtype == "float16":
        return keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer


def make_train_step(
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    objective: Objective,
    accumulation_steps: int,
    jit_compile: bool = False,
    passes: PassChoices = PLAIN_PASSES,
) -> Callable[[Batch], dict[str, WeightedSum]]:
    """Returns a compiled function: batch -> {loss or metric name: (sum, weight)} after one update.

    Args:
        model: a built Keras model.
        optimizer: a Keras optimizer, see `with_loss_scale`; clipping, if any, is its own.
        objective: of the task.
        accumulation_steps: micro-batches a step, K. Only activations of B / K examples are alive
            at a time; the update is that of the whole batch.
        jit_compile: whether XLA compiles the whole step, for GPUs; for CPUs the layers have it
            compile what is worth it (`fused_ops`).
        passes: how the model passes its blocks.
    """
    variables = model.trainable_variables
    optimizer.build(variables)
    factors = objective.factors()

    def gradients_of(
        micro_batch: Batch, weights: dict[str, Tensor]
    ) -> tuple[list[Tensor], dict[str, WeightedSum]]:
        with tf.GradientTape() as tape, chosen_passes(passes):
            sums, metrics = objective.sums(model, micro_batch, training=True)
            loss = tf.add_n(
                [factors.get(name, 1.0) * sums[name] / weights[name] for name in sorted(sums)]
            )
            loss = optimizer.scale_loss(loss)
        gradients = tape.gradient(loss, [variable.value for variable in variables])
        for variable, gradient in zip(variables, gradients, strict=True):
            if gradient is None:
                raise ValueError(
                    f"`model` has a trainable weight without gradient: {variable.path}"
                )
        # An embedding's gradient may come as rows; the global norm and LAMB need all of it.
        gradients = [tf.convert_to_tensor(gradient) for gradient in gradients]
        return gradients, {name: (sums[name], weights[name]) for name in sums} | metrics

    def accumulate(
        batch: Batch, weights: dict[str, Tensor]
    ) -> tuple[list[Tensor], dict[str, WeightedSum]]:
        micro_batches = {
            name: tf.reshape(value, [accumulation_steps, -1, *value.shape[1:]])
            for name, value in batch.items()
        }  # [K, B / K, ...]

        def part(index: int | Tensor) -> Batch:
            return {name: value[index] for name, value in micro_batches.items()}

        def add_part(
            index: Tensor, gradients: list[Tensor], results: dict[str, WeightedSum]
        ) -> tuple[Tensor, list[Tensor], dict[str, WeightedSum]]:
            more, part_results = gradients_of(part(index), weights)
            gradients = [a + b for a, b in zip(gradients, more, strict=True)]
            return index + 1, gradients, _add_micro_batch(results, part_results, weights)

        gradients, results = gradients_of(part(0), weights)
        return tf.while_loop(
            lambda index, *_: index < accumulation_steps, add_part, (1, gradients, results)
        )[1:]

    def train_step(batch: Batch) -> dict[str, WeightedSum]:
        weights = objective.weights(batch)
        take_gradients = gradients_of if accumulation_steps == 1 else accumulate
        gradients, results = take_gradients(batch, weights)
        scale = optimizer.scale_loss(tf.constant(1.0))
        norm, weight = tf.linalg.global_norm(gradients) / scale, tf.constant(1.0)
        if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
            # A step that the optimizer skips has no norm.
            weight = tf.cast(tf.math.is_finite(norm), tf.float32)
            norm = tf.where(tf.math.is_finite(norm), norm, 0.0)
            results["loss_scale"] = (scale, tf.constant(1.0))
        results["gradient_norm"] = (norm, weight)
        optimizer.apply(gradients, variables)
        return results

    return fused_ops.compile_by_shape(train_step, jit_compile)


def _add_micro_batch(
    results: dict[str, WeightedSum],
    part_results: dict[str, WeightedSum],
    weights: dict[str, Tensor],
) -> dict[str, WeightedSum]:
    """Adds (sum, weight) pairs; a loss's weight is the whole batch's already."""
    return {
        name: (total + part_results[name][0], weight)
        if name in weights
        else (total + part_results[name][0], weight + part_results[name][1])
        for name, (total, weight) in results.items()
    }


def make_evaluate(
    model: keras.Model, objective: Objective
) -> Callable[[tf.data.Dataset], dict[str, float]]:
    """Returns a function: dataset -> {loss or metric name: mean over all its batches}."""

    @fused_ops.compile_by_shape
    def evaluate_batch(batch: Batch) -> dict[str, WeightedSum]:
        sums, metrics = objective.sums(model, batch, training=False)
        weights = objective.weights(batch)
        return {name: (sums[name], weights[name]) for name in sums} | metrics

    def evaluate(dataset: tf.data.Dataset) -> dict[str, float]:
        totals = {}
        for batch in dataset:
            stop_signals.raise_if_requested()
            add_results(totals, evaluate_batch(batch))
        return means(totals)

    return evaluate


def add_results(totals: dict[str, tuple[float, float]], results: Mapping[str, WeightedSum]) -> None:
    """Adds {name: (sum, weight)} to a dict of the same form, as Python floats."""
    for name, (total, weight) in results.items():
        old_total, old_weight = totals.get(name, (0.0, 0.0))
        totals[name] = (old_total + float(total), old_weight + float(weight))


def means(totals: Mapping[str, tuple[float, float]]) -> dict[str, float]:
    """Returns {name: sum / weight}; a name that nothing weighed on is left out."""
    return {name: total / weight for name, (total, weight) in totals.items() if weight}
