"""One update of the weights: a batch in, the sums of its losses out. It knows no task and no model.

What differs between tasks comes as an `Objective`: how much a batch weighs, and the loss sums of a
part of it. The step divides the gradient of every part by the weight of the *whole* batch, and so
is the same step however the batch is cut: into micro-batches, or among devices and workers.

Letters: B examples a step, K micro-batches.
"""

import typing
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from albert_tf.model import layers
from albert_tf.model.block import PLAIN_PASSES, PassChoices, chosen_passes
from albert_tf.model.keras_model import AlbertTaskModel
from albert_tf.model.model_inputs import EXAMPLE_WEIGHT
from albert_tf.model.tensors import Batch, Tensor, WeightedSum
from albert_tf.training.distribution import Distribution, stack

# What the results have the number of workers under that were asked to stop.
STOPS = "stops"
# Gradients, {loss name: sum} and {metric name: (sum, weight)} of some examples.
Sums = tuple[list[Tensor], dict[str, Tensor], dict[str, WeightedSum]]


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
    devices: Distribution | None = None,
    seed: int | None = None,
    batch_size: int | None = None,
) -> Callable[..., dict[str, WeightedSum]]:
    """Returns a compiled function: batches, `number` of the first step -> what the updates gave.

    It takes a batch, or several of one shape, one update each, in one call: of each this worker's
    `Distribution.rows`. It returns {loss or metric name: (sum, weight)} of the whole batch, of
    several batches vectors with one entry a step.

    Args:
        model: a built Keras model.
        optimizer: a Keras optimizer, see `with_loss_scale`; clipping, if any, is its own.
        objective: of the task.
        accumulation_steps: micro-batches a part of the batch, K. Only the activations of one are
            alive at a time; the update is that of the whole batch.
        jit_compile: whether XLA compiles the whole step (on several devices, and if exact, all
            but the update), for GPUs; for CPUs the layers have it compile what is worth it
            (`fused_ops`).
        passes: how the model passes its blocks.
        devices: None for one.
        seed: dropout is drawn from it, from the number of the step and from that of the
            micro-batch; None leaves it to Keras's generators.
        batch_size: examples of an update in all, B; None where this worker has all.
    """
    devices = devices or Distribution()
    variables = model.trainable_variables
    with devices.scope():
        optimizer.build(variables)
    devices.prepare_optimizer(optimizer)
    measure = _make_measure(model, optimizer, objective, passes)
    measure = _compile_measure(measure, devices, jit_compile)
    parts = devices.parts_of_replica if devices.is_exact else 1

    def weights_of(batch: Batch, stop: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Returns the weights of the whole batch, of which this replica has a piece, and stops."""
        if not devices.is_exact:
            return _add_up(devices, (objective.weights(batch), stop))
        pieces = _cut(batch, parts)
        weights = stack(parts, lambda part: objective.weights(_piece(pieces, part)))
        return _add_up(devices, (weights, tf.one_hot(0, parts) * stop))

    def sums_of(batch: Batch, weights: dict[str, Tensor], number: Tensor) -> Sums:
        """Returns the sums of the whole batch."""
        pieces = _cut(batch, parts * accumulation_steps)

        def of_piece(index: int | Tensor) -> Sums:
            drawn_from = None
            if seed is not None:
                drawn_from = tf.random.fold_in(tf.constant([seed, 0]), number)
                first = devices.part_number() * accumulation_steps
                drawn_from = tf.random.fold_in(drawn_from, first + index)
            return measure(_piece(pieces, index), weights, drawn_from)

        def of_part(part: int | Tensor) -> Sums:
            first = part * accumulation_steps
            return _sum(accumulation_steps, lambda index: of_piece(first + index))

        return _add_up(devices, stack(parts, of_part) if devices.is_exact else of_part(0))

    def train_step(batch: Batch, number: Tensor, stop: Tensor) -> dict[str, WeightedSum]:
        weights, stops = weights_of(batch, stop)
        gradients, losses, metrics = sums_of(batch, weights, tf.cast(number, tf.int32))
        results = {name: (losses[name], weights[name]) for name in losses} | metrics
        scale = optimizer.scale_loss(tf.constant(1.0))
        norm, weight = tf.linalg.global_norm(gradients) / scale, tf.constant(1.0)
        if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
            # A step that the optimizer skips has no norm.
            weight = tf.cast(tf.math.is_finite(norm), tf.float32)
            norm = tf.where(tf.math.is_finite(norm), norm, 0.0)
            results["loss_scale"] = (scale, tf.constant(1.0))
        results["gradient_norm"] = (norm, weight)
        results[STOPS] = (stops, tf.constant(1.0))
        optimizer.apply(gradients, variables)
        return results

    is_whole = not (devices.is_parallel or devices.is_exact)
    take_one = devices.compile(train_step, jit_compile and is_whole)
    take_several = devices.compile_steps(train_step, jit_compile and is_whole)

    def take_steps(*batches: Batch, number: int = 0) -> dict[str, WeightedSum]:
        take = take_one if len(batches) == 1 else take_several
        placed = devices.place(batches, batch_size or len(next(iter(batches[0].values()))))
        return take(placed, tf.constant(number), devices.workers.stop_flag())[0]

    return take_steps


def _make_measure(
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    objective: Objective,
    passes: PassChoices,
) -> Callable[[Batch, dict[str, Tensor], Tensor | None], Sums]:
    """Returns a function: part of a batch, weights of all of it, seed -> its `Sums`."""
    variables, factors = model.trainable_variables, objective.factors()

    def measure(part: Batch, weights: dict[str, Tensor], seed: Tensor | None) -> Sums:
        with tf.GradientTape() as tape, layers.dropout_seed(seed), chosen_passes(passes):
            sums, metrics = objective.sums(model, part, training=True)
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
        return gradients, sums, metrics

    return measure


def _compile_measure(measure: Callable, devices: Distribution, jit_compile: bool) -> Callable:
    """Returns `measure` as the function of its own that some steps need it to be."""
    if devices.is_exact:
        # As part of a larger graph it would be optimised with what stands around it, and so differ
        # in the last bits with the number of parts that a replica has.
        attributes = {"_noinline": True}
    elif jit_compile and devices.is_parallel:
        attributes = None  # the update talks to other devices, which XLA cannot
    else:
        return measure
    return tf.function(
        measure, jit_compile=jit_compile, autograph=False, experimental_attributes=attributes
    )


def _cut(batch: Batch, count: int) -> Batch:
    """Returns a batch [B, ...] as so many pieces of it, [count, B / count, ...]."""
    if count == 1:
        return {name: value[None] for name, value in batch.items()}
    return {n: tf.reshape(value, [count, -1, *value.shape[1:]]) for n, value in batch.items()}


def _piece(pieces: Batch, index: int | Tensor) -> Batch:
    return {name: value[index] for name, value in pieces.items()}


def _sum(count: int, function: Callable[[int | Tensor], Any]) -> Any:
    """Returns the sum of `function(0)` to `function(count - 1)`, nests of tensors, in order."""
    first = function(0)
    if count == 1:
        return first

    def add(index: Tensor, total: Any) -> tuple[Tensor, Any]:
        return index + 1, tf.nest.map_structure(tf.add, total, function(index))

    return tf.while_loop(lambda index, _: index < count, add, (1, first))[1]


def _add_up(devices: Distribution, sums: Any) -> Any:
    """Returns a nest of sums of this replica's parts as those of the whole batch."""
    return tf.nest.pack_sequence_as(sums, devices.add_up(tf.nest.flatten(sums)))


def make_evaluate(
    model: keras.Model, objective: Objective, devices: Distribution | None = None
) -> Callable[[tf.data.Dataset], dict[str, float]]:
    """Returns a function: dataset -> {loss or metric name: mean over all its batches}."""

    def evaluate_batch(batch: Batch) -> dict[str, Tensor]:
        sums, metrics = objective.sums(model, batch, training=False)
        weights = objective.weights(batch)
        pairs = {name: (sums[name], weights[name]) for name in sums} | metrics
        return {name: tf.stack(pair) for name, pair in pairs.items()}

    measure = (devices or Distribution()).map_batches(evaluate_batch)

    def evaluate(dataset: tf.data.Dataset) -> dict[str, float]:
        totals = {}
        for results in measure(dataset):
            add_results(totals, results)
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
