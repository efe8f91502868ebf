"""The training loop: batches in, weights out. It knows no task and no model.

Whatever ends a run, what it was worth is on disk: weights are looked at before they are kept, a
signal and damaged data end it behind a checkpoint, and the same call goes on from the last one as
if nothing had happened.
"""

import contextlib
import math
import os
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf

from albert_tf import failures, stop_signals
from albert_tf.model.block import PassChoices
from albert_tf.model.tensors import Batch, WeightedSum
from albert_tf.training import checkpoint_store, metric_log, progress, train_step
from albert_tf.training.distribution import Distribution
from albert_tf.training.settings import TrainingSettings

# {split name: function that measures the model on it}.
Evaluations = dict[str, Callable[[], dict[str, float]]]


class OutOfMemoryError(ValueError):
    """A step or an evaluation needs more memory than there is."""


class NonFiniteLossError(failures.Failure):
    """The loss, a weight or a held-out figure became infinite or not a number."""


def train(
    *,
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    objective: train_step.Objective,
    make_dataset: Callable[[int], tf.data.Dataset],
    evaluations: Evaluations,
    settings: TrainingSettings,
    output_dir: str | os.PathLike,
    save_files: Callable[[pathlib.Path], None],
    first_step: int = 0,
    evaluate_first: bool = True,
    after_evaluation: Callable[[int, dict[str, dict[str, float]]], bool] | None = None,
    report: Callable[[str], None] = print,
    callbacks: Sequence[metric_log.Callback] = (),
    devices: Distribution | None = None,
    seed: int | None = None,
) -> dict[str, dict[str, float]]:
    """Trains from the last checkpoint in `output_dir`, or from the model as it is, to the end.

    A model that computes in float16 is trained with a dynamic loss scale. A signal that
    `stop_signals.handled` takes ends the training behind a checkpoint of the step at hand.

    Args:
        model, optimizer: Keras, made in the scope of `devices`; `optimizer` is built here.
        objective: of the task.
        make_dataset: makes from a number of examples the batches of `settings.batch_size` that go
            on exactly where so many examples had been consumed; of each what `devices.rows` says.
        evaluations: what is measured, by the name of the split.
        settings: of the training.
        output_dir: holds `checkpoints/`, `metrics.jsonl` and `tensorboard/` afterwards.
        save_files: writes what makes a checkpoint usable as a model into a folder.
        first_step: steps that model and optimizer have behind them already, elsewhere.
        evaluate_first: whether to evaluate before the first step, too.
        after_evaluation: called with the step and {split: {metric: value}} after each evaluation,
            that of the step resumed from included; True ends the training there.
        report: takes each line of progress.
        callbacks: told of each row of metrics and each checkpoint, in the first worker, once it is
            on disk. What one raises ends the training; the same call goes on from the checkpoint.
        devices: None for one. Of several workers the first alone touches `output_dir`.
        seed: of dropout; None leaves it to Keras's generators.

    Returns:
        {split name: {metric name: value}} of the last evaluation.

    Raises:
        workers.WorkerLostError: if another worker is gone.
        NonFiniteLossError: naming the step, the last good checkpoint and what to change.
        OutOfMemoryError: naming what to change.
        stop_signals.Stopped: after a signal.
        tf.errors.OpError: what reading the data met; what was trained before is kept.
    """
    devices = devices or Distribution()
    with devices.scope():
        optimizer = train_step.with_loss_scale(optimizer, model)
    run = _Run(
        model=model,
        optimizer=optimizer,
        take_steps=train_step.make_train_step(
            model,
            optimizer,
            objective,
            settings.accumulation_steps,
            settings.jit_compile,
            # A loop compiles in a time that does not grow with the depth.
            PassChoices(recompute=settings.recompute == "blocks", as_loop=settings.jit_compile),
            devices,
            seed,
            settings.batch_size,
        ),
        devices=devices,
        evaluations=evaluations,
        settings=settings,
        store=checkpoint_store.CheckpointStore(
            pathlib.Path(output_dir) / "checkpoints",
            model=model,
            optimizer=optimizer,
            keep=settings.keep_checkpoints,
            save_files=save_files,
        )
        if devices.workers.is_chief
        else None,
        first_step=first_step,
        after_evaluation=after_evaluation,
        report=report,
        tell=lambda **event: _tell(
            callbacks, metric_log.RunEvent(directory=pathlib.Path(output_dir), seed=seed, **event)
        ),
    )
    try:
        with stop_signals.deferred(), contextlib.closing(run), devices.workers.losses_named():
            run.resume(output_dir, evaluate_first)
            return run.go_on(make_dataset)
    except (tf.errors.ResourceExhaustedError, MemoryError) as error:
        raise OutOfMemoryError(
            f"the memory does not suffice at step {run.step + 1:,}: give `recompute=blocks`, which "
            f"computes again what a step would keep (now {settings.recompute}), or a smaller "
            "`eval_batch_size`; or, in a new `output_dir`, a larger `accumulation_steps`, which is "
            f"the step in smaller parts (now {settings.accumulation_steps}), or a smaller "
            f"`batch_size` (now {settings.batch_size})"
        ) from error
    except stop_signals.Stopped as signal:
        signal.add_note(f"the same command goes on from step {run.step:,}")
        raise


def _tell(callbacks: Sequence[metric_log.Callback], event: metric_log.RunEvent) -> None:
    for callback in callbacks:
        callback(event)


class _Groups:
    """Batches of a dataset, several of one shape at a time."""

    def __init__(self, batches: Iterator[Batch]):
        self._batches = batches
        self._next: Batch | None = None  # taken already, of another shape than those before it

    def take(self, count: int) -> list[Batch]:
        """Returns the next batches, `count` of one shape at most; none at the end."""
        group = []
        while len(group) < count:
            batch, self._next = self._next, None
            if batch is None:
                batch = next(self._batches, None)
            if batch is None:
                break
            if group and _shapes(batch) != _shapes(group[0]):
                self._next = batch
                break
            group.append(batch)
        return group


def _shapes(batch: Batch) -> dict[str, tf.TensorShape]:
    return {name: value.shape for name, value in batch.items()}


class _Run:
    """A run at one of its steps, and what is to be measured, kept and said there."""

    def __init__(
        self,
        *,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        take_steps: Callable[..., dict[str, WeightedSum]],
        evaluations: Evaluations,
        settings: TrainingSettings,
        devices: Distribution,
        store: checkpoint_store.CheckpointStore | None,
        first_step: int,
        after_evaluation: Callable[[int, dict[str, dict[str, float]]], bool] | None,
        report: Callable[[str], None],
        tell: Callable[..., None],
    ):
        self._variables = [*model.variables, *optimizer.variables]
        self._optimizer = optimizer
        self._take_steps = take_steps
        self._evaluations = evaluations
        self._settings = settings
        self._devices = devices
        self._store = store  # of the chief alone, as is the log
        self._log: metric_log.MetricLog | None = None
        self._after_evaluation = after_evaluation
        self._report = report
        self._tell = tell
        self._first_step = self.step = first_step
        self._progress: progress.Progress | None = None
        self._results = {}  # of the last evaluation
        self._pending = []  # what the steps since the last fetch gave, still on the device
        self._stops = False

    def resume(self, output_dir: str | os.PathLike, evaluate_first: bool) -> None:
        """Goes to the last checkpoint; evaluates there what an uninterrupted run had evaluated."""
        checkpoint_step, notes = self._devices.workers.from_chief(self._restore)
        self._devices.workers.share_variables(self._variables)
        self.step = checkpoint_step or self._first_step
        if self._devices.workers.is_chief:
            self._log = metric_log.MetricLog(output_dir, resumed_step=self.step)
        self._progress = progress.Progress(self._settings, self.step, notes)
        if checkpoint_step:
            if self._store:
                self._report(f"resuming at step {self.step:,} from {self._store.path(self.step)}")
            due = self._is_due(self._settings.eval_steps)
        else:
            due = evaluate_first
        if due or self._earlier_evaluation():
            self._evaluate()

    def _restore(self) -> tuple[int, dict[str, Any]]:
        return self._store.restore_latest()

    def _earlier_evaluation(self) -> dict[str, dict[str, float]]:
        """Returns what the log has of an evaluation at this step, on all workers."""
        return self._devices.workers.from_chief(lambda: self._log.evaluation_at(self.step))

    def close(self) -> None:
        """Takes the bar of progress from the terminal."""
        if self._progress:
            self._progress.close()

    def go_on(self, make_dataset: Callable[[int], tf.data.Dataset]) -> dict[str, dict[str, float]]:
        """Trains to the end; returns the results of the last evaluation."""
        settings = self._settings
        steps_left = 0 if self._stops else settings.train_steps - self.step
        data = make_dataset(self.step * settings.batch_size).take(steps_left)
        batches = _Groups(iter(data))
        while not self._stops and self.step < settings.train_steps:
            with self._kept_on_the_way_out():
                self._devices.workers.raise_if_stopped()
                group = batches.take(self._steps_until_due())
            if not group:
                raise ValueError(
                    f"the training data ended at step {self.step:,} of "
                    f"{settings.train_steps:,}: it must repeat"
                )
            self._train_on(group)
            if self._is_due(settings.log_interval):
                self._log_training()
            if self._is_due(settings.eval_steps):
                self._evaluate()
            if self._is_due(settings.checkpoint_steps) or self._stops:
                self._save()
        return self._results

    def _is_due(self, interval: int) -> bool:
        return self.step % interval == 0 or self.step == self._settings.train_steps

    def _steps_until_due(self) -> int:
        """Returns how many steps one call may take before something else is due."""
        settings = self._settings
        intervals = (settings.log_interval, settings.eval_steps, settings.checkpoint_steps)
        due = min(interval - self.step % interval for interval in intervals)
        return min(settings.steps_per_call, due, settings.train_steps - self.step)

    def _train_on(self, batches: list[Batch]) -> None:
        """Takes steps; what they gave is fetched with that of others, so nothing waits for it."""
        results = self._take_steps(*batches, number=self.step)
        self._devices.workers.note_stops(tf.reduce_max(results.pop(train_step.STOPS)[0]))
        self._pending.append(results)
        self.step += len(batches)
        tokens = self._settings.batch_size * math.prod(batches[0]["input_ids"].shape[1:])
        self._progress.count_steps(len(batches), tokens * len(batches))

    def _fetch(self) -> None:
        """Adds up what the steps since the last call gave; refuses what is not finite."""
        pending, self._pending = self._pending, []
        if not pending:
            return
        names = list(pending[0])
        # One copy from the device, however many steps there are.
        of_calls = [
            tf.stack([tf.reshape(v, [-1]) for n in names for v in results[n]], axis=1)
            for results in pending
        ]  # [S, 2 names] each
        numbers = tf.concat(of_calls, axis=0).numpy()
        rows = numbers.reshape(len(numbers), len(names), 2).tolist()
        last_step = self.step
        for self.step, row in enumerate(rows, last_step - len(rows)):  # the steps that went well
            results = dict(zip(names, map(tuple, row), strict=True))
            if not all(math.isfinite(total) for total, _ in results.values()):
                means = progress.format_values(train_step.means(results))
                raise self._failure(f"the loss is not finite at step {self.step + 1}: {means}")
            if results.get("loss_scale", (1.0, 1.0))[0] < 1:
                raise self._failure(f"the gradients exceed float16 at step {self.step + 1}")
            self._progress.add(results)
        self.step = last_step

    def _log_training(self) -> None:
        self._fetch()
        values = self._progress.summarize(self.step, float(self._optimizer.learning_rate))
        skipped = ""
        if isinstance(self._optimizer, keras.optimizers.LossScaleOptimizer):
            # Whatever step the optimizer did not count, it skipped.
            values["skipped_steps"] = self.step - int(self._optimizer.iterations.numpy())
            skipped = f"  {values['skipped_steps']} steps skipped for float16"
        self._record("train", values)
        self._report(self._progress.line(self.step, values) + skipped)

    def _evaluate(self) -> None:
        """Evaluates what the log does not have yet at this step; may choose to end the run."""
        with self._progress.paused(), self._kept_on_the_way_out():
            self._devices.workers.raise_if_stopped()
            self._fetch()
            self._check_weights()
            before = self._earlier_evaluation()
            new = {name: run() for name, run in self._evaluations.items() if name not in before}
            for split, values in new.items():
                figures = progress.format_values(values)
                if not all(math.isfinite(value) for value in values.values()):
                    raise self._failure(
                        f"the {split} figures are not finite at step {self.step}: {figures}"
                    )
                self._record(split, values)
                self._report(f"step {self.step:>7,}  {split}: {figures}")
            self._results = {name: (before | new)[name] for name in self._evaluations}
            self._stops = self._devices.workers.from_chief(self._is_enough)

    def _record(self, split: str, values: dict[str, float]) -> None:
        """Keeps a row of metrics and tells of it, in the first worker."""
        if self._log:
            self._log.write(self.step, split, values)
            self._tell(step=self.step, split=split, metrics=values)

    def _is_enough(self) -> bool:
        after = self._after_evaluation
        return after is not None and after(self.step, self._results)

    @contextlib.contextmanager
    def _kept_on_the_way_out(self) -> Iterator[None]:
        """Saves what was trained before a signal, or data that cannot be read, ends the run."""
        try:
            yield
        except (stop_signals.Stopped, tf.errors.OpError) as error:
            if not self._devices.workers.is_loss(error):
                self._save()
            raise

    def _save(self) -> None:
        """Writes the checkpoint of this step, unless it is there or nothing was trained."""
        if not self._store:
            self._fetch()
        elif self.step > self._first_step and self.step not in self._store.steps():
            with self._progress.paused():
                self._fetch()
                self._check_weights()
                self._store.save(self.step, self._progress.notes(self.step))
                self._tell(step=self.step, checkpoint=self._store.path(self.step))

    def _check_weights(self) -> None:
        """Refuses weights and moments that are not finite, before they are kept anywhere."""
        for variable in self._variables:
            if tf.as_dtype(variable.dtype).is_floating and not tf.reduce_all(
                tf.math.is_finite(variable.value)
            ):
                raise self._failure(
                    f"weights are not finite after step {self.step}, such as {variable.path}"
                )

    def _failure(self, what: str) -> NonFiniteLossError:
        """Returns the error that says what happened and what to change."""
        if not self._store:
            return NonFiniteLossError(f"{what}. The first worker says what to do")
        # Weights that are finite and yet ruined show it at the next step: a checkpoint is good if a
        # step from it went well, or an evaluation of it.
        good = [
            step
            for step in self._store.steps()
            if step < self.step or self._log.evaluation_at(step)
        ]
        change = "a lower `learning_rate`, or a longer warm-up"
        if isinstance(self._optimizer, keras.optimizers.LossScaleOptimizer):
            change += ", or `precision=mixed_bfloat16`"
        if good:
            path = self._store.path(good[-1])
            then = (
                f"The last good checkpoint is {path}: go on from it in another run, with {change}"
            )
        else:
            then = f"There is no good checkpoint: start again with {change}"
        return NonFiniteLossError(f"{what}. {then}")
