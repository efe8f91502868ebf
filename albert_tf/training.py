"""The training loop: batches in, weights out. It knows no task and no model.

What differs between tasks comes as an `Objective`: how much a batch weighs, and the loss sums of a
part of it. The loop splits a batch into micro-batches, divides every part's gradient by the weight
of the *whole* batch, and so takes the same step however the batch is cut.

Letters: B examples a step, K micro-batches a step.
"""

import dataclasses
import json
import math
import os
import pathlib
import time
import typing

import tensorflow as tf

from albert_tf import checkpoints, json_files

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")


class Objective(typing.Protocol):
    """What a task wants to be small, and what it wants to know."""

    def weights(self, batch):
        """Returns {loss name: float32 scalar}, what each loss sum of `batch` is divided by."""

    def sums(self, model, batch, training):
        """Returns ({loss name: weighted sum}, {metric name: (sum, weight)}), float32 scalars.

        The total loss of a batch is the sum over loss names of factor * sum / weight.
        """

    def factors(self):
        """Returns {loss name: factor of its mean in the total loss}; 1 where a name is absent."""


class ModelObjective:
    """What an `AlbertTaskModel` measures of itself.

    Args:
        model: the model.
        factors: {loss name: factor of its mean in the total loss}; reports have the losses
            themselves.
    """

    def __init__(self, model, factors=None):
        self._model = model
        self._factors = factors or {}

    def factors(self):
        """Returns the factors."""
        return self._factors

    def weights(self, batch):
        """Returns the weights of the model's losses."""
        return self._model.loss_weights(batch)

    def sums(self, model, batch, training):
        """Returns the sums of the model's losses and its accuracies with their weights."""
        quantities = model.measure(batch, model(batch, training=training))
        loss_sums = {n: total for n, (total, _) in quantities.items() if n.endswith("_loss")}
        return loss_sums, {n: pair for n, pair in quantities.items() if n not in loss_sums}


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """How long to train and what to leave behind; all intervals are in steps.

    Raises:
        ValueError: naming the field, what was expected and what came.
    """

    train_steps: int
    batch_size: int
    accumulation_steps: int = 1
    eval_steps: int = 1000
    checkpoint_steps: int = 1000
    keep_checkpoints: int = 3
    log_steps: int = 100
    jit_compile: bool = False

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.type is int and (type(value) is not int or value < 1):
                raise ValueError(f"`{field.name}` must be a positive integer. Received: {value!r}")
        if self.batch_size % self.accumulation_steps:
            raise ValueError(
                "`batch_size` must be divisible by `accumulation_steps`. Received: "
                f"batch_size={self.batch_size}, accumulation_steps={self.accumulation_steps}"
            )


def check_choices(run, **choices):
    """Refuses settings that are none of their choices.

    Raises:
        ValueError: naming the flag, its choices and what came.
    """
    for name, allowed in choices.items():
        if getattr(run, name) not in allowed:
            raise ValueError(
                f"--{name} must be one of {', '.join(allowed)}. Received: {getattr(run, name)!r}"
            )


class NonFiniteLossError(RuntimeError):
    """The loss became infinite or not a number."""


def make_train_step(model, optimizer, objective, accumulation_steps, jit_compile=False):
    """Returns a compiled function: batch -> {loss or metric name: (sum, weight)} after one update.

    Args:
        model: a built Keras model.
        optimizer: a Keras optimizer; clipping, if any, is its own.
        objective: `Objective`.
        accumulation_steps: micro-batches a step, K. Only activations of B / K examples are alive
            at a time; the update is that of the whole batch.
        jit_compile: whether XLA compiles the whole step, for GPUs; for CPUs the layers have it
            compile what is worth it (`fused_ops`).
    """
    variables = model.trainable_variables
    optimizer.build(variables)
    factors = objective.factors()

    def gradients_of(micro_batch, weights):
        with tf.GradientTape() as tape:
            sums, metrics = objective.sums(model, micro_batch, training=True)
            loss = tf.add_n(
                [factors.get(name, 1.0) * sums[name] / weights[name] for name in sorted(sums)]
            )
        gradients = tape.gradient(loss, [variable.value for variable in variables])
        for variable, gradient in zip(variables, gradients, strict=True):
            if gradient is None:
                raise ValueError(
                    f"`model` has a trainable weight without gradient: {variable.path}"
                )
        # An embedding's gradient may come as rows; the global norm and LAMB need all of it.
        gradients = [tf.convert_to_tensor(gradient) for gradient in gradients]
        return gradients, {name: (sums[name], weights[name]) for name in sums} | metrics

    def accumulate(batch, weights):
        micro_batches = {
            name: tf.reshape(value, [accumulation_steps, -1, *value.shape[1:]])
            for name, value in batch.items()
        }  # [K, B / K, ...]

        def part(index):
            return {name: value[index] for name, value in micro_batches.items()}

        def add_part(index, gradients, results):
            more, part_results = gradients_of(part(index), weights)
            gradients = [a + b for a, b in zip(gradients, more, strict=True)]
            return index + 1, gradients, _add_micro_batch(results, part_results, weights)

        gradients, results = gradients_of(part(0), weights)
        return tf.while_loop(
            lambda index, *_: index < accumulation_steps, add_part, (1, gradients, results)
        )[1:]

    def train_step(batch):
        weights = objective.weights(batch)
        take_gradients = gradients_of if accumulation_steps == 1 else accumulate
        gradients, results = take_gradients(batch, weights)
        results["gradient_norm"] = (tf.linalg.global_norm(gradients), tf.constant(1.0))
        optimizer.apply(gradients, variables)
        return results

    return compile_by_shape(train_step, jit_compile)


def compile_by_shape(function, jit_compile=False):
    """Returns `function` of one batch, compiled once for each combination of shapes it is given.

    The layers' fast forms need shapes that are known when they are compiled.
    """
    compiled = {}

    def call(batch):
        shapes = tuple((name, tuple(value.shape)) for name, value in sorted(batch.items()))
        if shapes not in compiled:
            # Keras layers are graph code already, so AutoGraph would only cost tracing time.
            compiled[shapes] = tf.function(function, autograph=False, jit_compile=jit_compile)
        return compiled[shapes](batch)

    return call


def _add_micro_batch(results, part_results, weights):
    """Adds (sum, weight) pairs; a loss's weight is the whole batch's already."""
    return {
        name: (total + part_results[name][0], weight)
        if name in weights
        else (total + part_results[name][0], weight + part_results[name][1])
        for name, (total, weight) in results.items()
    }


def make_evaluate(model, objective):
    """Returns a function: dataset -> {loss or metric name: mean over all its batches}."""

    @compile_by_shape
    def evaluate_batch(batch):
        sums, metrics = objective.sums(model, batch, training=False)
        weights = objective.weights(batch)
        return {name: (sums[name], weights[name]) for name in sums} | metrics

    def evaluate(dataset):
        totals = {}
        for batch in dataset:
            add_results(totals, evaluate_batch(batch))
        return means(totals)

    return evaluate


def add_results(totals, results):
    """Adds {name: (sum, weight)} to a dict of the same form, as Python floats."""
    for name, (total, weight) in results.items():
        old_total, old_weight = totals.get(name, (0.0, 0.0))
        totals[name] = (old_total + float(total), old_weight + float(weight))


def means(totals):
    """Returns {name: sum / weight}; a name that nothing weighed on is left out."""
    return {name: total / weight for name, (total, weight) in totals.items() if weight}


class MetricLog:
    """`metrics.jsonl` in the output directory, one object a line, and the TensorBoard summaries.

    On resumption the lines that a killed run wrote beyond its last checkpoint are dropped, so the
    file reads like that of an uninterrupted run.
    """

    def __init__(self, directory, resumed_step):
        self.path = pathlib.Path(directory) / "metrics.jsonl"
        kept = [row for row in read_metrics(self.path) if row["step"] <= resumed_step]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_name(".metrics.jsonl.partial")
        partial.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
        os.replace(partial, self.path)
        self._writers = {}
        self._directory = pathlib.Path(directory) / "tensorboard"

    def evaluation_at(self, step):
        """Returns {split: {name: value}} as written for `step`, empty if it was not evaluated."""
        return {
            row["split"]: {
                name: value for name, value in row.items() if name not in ("step", "split")
            }
            for row in read_metrics(self.path)
            if row["step"] == step and row["split"] != "train"
        }

    def write(self, step, split, values):
        """Appends one line `{"step": ..., "split": ..., **values}` and the same summaries."""
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, "split": split, **values}) + "\n")
        if split not in self._writers:
            folder = str(self._directory / split)
            self._writers[split] = tf.summary.create_file_writer(folder)
        with self._writers[split].as_default():
            for name, value in values.items():
                tf.summary.scalar(name, value, step=step)
        self._writers[split].flush()


def read_metrics(path):
    """Returns the rows of a `metrics.jsonl`; a last line cut off by a kill is left out."""
    if not pathlib.Path(path).exists():
        return []
    return json_files.read_objects(path, {"step": int, "split": str})


def train(
    *,
    model,
    optimizer,
    objective,
    make_dataset,
    evaluations,
    settings,
    output_dir,
    save_files,
    first_step=0,
    evaluate_first=True,
    after_evaluation=None,
    report=print,
):
    """Trains from the last checkpoint in `output_dir`, or from the model as it is, to the end.

    Args:
        model, optimizer: Keras; `optimizer` is built here.
        objective: `Objective`.
        make_dataset: `start_example -> tf.data.Dataset` of batches of `settings.batch_size`
            that goes on exactly where `start_example` examples had been consumed.
        evaluations: {split name: function without arguments -> {metric name: value}}.
        settings: `TrainingSettings`.
        output_dir: holds `checkpoints/`, `metrics.jsonl` and `tensorboard/` afterwards.
        save_files: `directory -> None`, writes what makes a checkpoint usable as a model.
        first_step: steps that model and optimizer have behind them already, elsewhere.
        evaluate_first: whether to evaluate before the first step, too.
        after_evaluation: `(step, {split: {metric: value}}) -> bool`, called after each evaluation,
            that of the step resumed from included; True ends the training there.
        report: takes each line of progress.

    Returns:
        {split name: {metric name: value}} of the last evaluation.

    Raises:
        NonFiniteLossError: naming the step and the last good checkpoint.
    """
    train_step = make_train_step(
        model, optimizer, objective, settings.accumulation_steps, settings.jit_compile
    )
    store = checkpoints.CheckpointStore(
        pathlib.Path(output_dir) / "checkpoints",
        model=model,
        optimizer=optimizer,
        keep=settings.keep_checkpoints,
        save_files=save_files,
    )
    step = max(store.restore_latest(), first_step)
    log = MetricLog(output_dir, resumed_step=step)
    if step > first_step:
        report(f"resuming at step {step:,} from {store.path(step)}")

    def evaluate_all():
        results = {}
        for split, evaluate in evaluations.items():
            results[split] = evaluate()
            log.write(step, split, results[split])
            report(f"step {step:>7,}  {split}: {format_values(results[split])}")
        return results

    last_results = log.evaluation_at(step)
    if not last_results and evaluate_first:
        last_results = evaluate_all()
    stops = bool(last_results and after_evaluation and after_evaluation(step, last_results))
    progress = _Progress(settings, first_step=step)
    steps_left = 0 if stops else settings.train_steps - step
    for batch in make_dataset(step * settings.batch_size).take(steps_left):
        results = {
            name: (float(total), float(weight))
            for name, (total, weight) in train_step(batch).items()
        }
        step += 1
        if not all(math.isfinite(total) for total, _ in results.values()):
            raise NonFiniteLossError(
                f"the loss is not finite at step {step}: {format_values(means(results))}. "
                f"The last good checkpoint is {store.latest_path() or 'none'}"
            )
        progress.add(results, tokens=math.prod(batch["input_ids"].shape))
        at_end = step == settings.train_steps
        if step % settings.log_steps == 0 or at_end:
            values = progress.summarize(step, learning_rate=float(optimizer.learning_rate))
            log.write(step, "train", values)
            report(progress.line(step, values))
        if step % settings.eval_steps == 0 or at_end:
            with progress.paused():
                last_results = evaluate_all()
                stops = bool(after_evaluation and after_evaluation(step, last_results))
        if step % settings.checkpoint_steps == 0 or at_end or stops:
            with progress.paused():
                store.save(step)
        if stops:
            break
    if step < settings.train_steps and not stops:
        raise ValueError(
            f"the training data ended at step {step:,} of {settings.train_steps:,}: it must repeat"
        )
    return last_results


class _Progress:
    """Sums since the last line, and the clock."""

    def __init__(self, settings, first_step):
        self._train_steps = settings.train_steps
        self._totals = {}
        self._tokens = 0
        self._window = [time.monotonic(), first_step]

    def add(self, results, tokens):
        """Adds the results of one step and the tokens of its batch, padding included."""
        add_results(self._totals, results)
        self._tokens += tokens

    def paused(self):
        """Returns a context whose time does not count as training time."""
        return _Pause(self._window)

    def summarize(self, step, learning_rate):
        """Returns the means since the last call, and the speed."""
        values = means(self._totals)
        seconds = max(time.monotonic() - self._window[0], 1e-9)
        self._seconds_per_step = seconds / (step - self._window[1])
        values["learning_rate"] = learning_rate
        values["tokens_per_second"] = self._tokens / seconds
        self._totals, self._tokens = {}, 0
        self._window[:] = [time.monotonic(), step]
        return values

    def line(self, step, values):
        """Returns one line a person can read."""
        seconds_left = (self._train_steps - step) * self._seconds_per_step
        shown = {
            name: value
            for name, value in values.items()
            if name not in ("tokens_per_second", "learning_rate")
        }
        return (
            f"step {step:>7,}/{self._train_steps:,}  {format_values(shown)}  "
            f"lr {values['learning_rate']:.2e}  {values['tokens_per_second']:,.0f} tokens/s  "
            f"{format_duration(seconds_left)} left"
        )


class _Pause:
    def __init__(self, window):
        self._window = window

    def __enter__(self):
        self._start = time.monotonic()

    def __exit__(self, *exception):
        self._window[0] += time.monotonic() - self._start


def format_values(values):
    """Returns `masked_lm 4.3120 (21.4%)  gradient_norm 0.8100`: each loss with its accuracy."""
    parts = []
    for name, value in values.items():
        task = name.removesuffix("_loss")
        if name.endswith("_loss") and f"{task}_accuracy" in values:
            parts.append(f"{task} {value:.4f} ({100 * values[f'{task}_accuracy']:.2f}%)")
        elif not (name.endswith("_accuracy") and f"{name[:-9]}_loss" in values):
            parts.append(f"{name} {value:.4f}")
    return "  ".join(parts)


def format_duration(seconds):
    """Returns `2 h 05 min`, `12 min 30 s` or `45 s`."""
    seconds = int(seconds)
    if seconds >= 3600:
        return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"
    if seconds >= 60:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    return f"{seconds} s"
