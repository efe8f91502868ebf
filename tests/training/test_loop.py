"""The loop, on a linear regression whose every step NumPy can repeat."""

import json
import math
import os
import signal

import keras
import numpy as np
import pytest
import tensorflow as tf

from albert_tf import stop_signals
from albert_tf.model import fused_ops
from albert_tf.training import loop as training
from albert_tf.training import metric_log, progress, train_step
from albert_tf.training import settings as training_settings

B, FEATURES = 6, 3


class WeightedSquares:
    """Mean of w (prediction - y)^2, with weights that differ between micro-batches."""

    def __init__(self, factor=1.0):
        self.factor = factor

    def factors(self):
        return {"squares_loss": self.factor}

    def weights(self, batch):
        return {"squares_loss": tf.reduce_sum(batch["w"])}

    def sums(self, model, batch, training):
        error = model(batch["input_ids"], training=training)[:, 0] - batch["y"]
        loss = tf.reduce_sum(batch["w"] * error**2)
        return {"squares_loss": loss}, {"error": (tf.reduce_sum(error), tf.reduce_sum(batch["w"]))}


def batch_number(index):
    generator = np.random.default_rng(index)
    return {
        "input_ids": generator.normal(size=(B, FEATURES)).astype(np.float32),
        "y": generator.normal(size=B).astype(np.float32),
        "w": generator.integers(0, 4, B).astype(np.float32),
    }


def make_dataset(start_example, batches=100):
    numbers = range(start_example // B, batches)
    rows = [batch_number(number) for number in numbers]
    return tf.data.Dataset.from_tensor_slices(
        {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    )


def make_model():
    inputs = keras.Input((FEATURES,))
    hidden = keras.layers.Dropout(0.3, seed=3)(inputs)
    kernel = keras.initializers.Constant([[0.1], [-0.2], [0.3]])
    outputs = keras.layers.Dense(1, kernel_initializer=kernel)(hidden)
    return keras.Model(inputs, outputs)


class DropoutFree(WeightedSquares):
    """The same without the model's dropout."""

    def sums(self, model, batch, training):
        return super().sums(model, batch, training=False)


def run(
    directory,
    steps,
    objective=None,
    dataset=make_dataset,
    lines=None,
    after=None,
    callbacks=(),
    **settings,
):
    model = make_model()
    objective = objective or WeightedSquares()
    evaluate = train_step.make_evaluate(model, objective)
    settings = {"eval_steps": 5, "checkpoint_steps": 2, "log_steps": 2, **settings}
    results = training.train(
        model=model,
        optimizer=keras.optimizers.Adam(0.05),
        objective=objective,
        make_dataset=dataset,
        evaluations={"held_out": lambda: evaluate(make_dataset(40 * B, 42))},
        settings=training_settings.TrainingSettings(train_steps=steps, batch_size=B, **settings),
        output_dir=directory,
        save_files=lambda folder: (folder / "note.txt").write_text("a model file"),
        after_evaluation=after,
        report=(lines if lines is not None else []).append,
        callbacks=callbacks,
    )
    return model, results


def weights_of(model):
    return [weight.numpy() for weight in model.weights]


def test_step_equals_numpy_gradient_descent(tmp_path):
    model = make_model()
    optimizer = keras.optimizers.SGD(0.1)
    step = train_step.make_train_step(model, optimizer, DropoutFree(), accumulation_steps=1)
    batch = batch_number(0)
    error = batch["input_ids"] @ [0.1, -0.2, 0.3] - batch["y"]
    slope = 2 * (batch["w"] * error) @ batch["input_ids"] / batch["w"].sum()
    expected_norm = np.hypot(
        np.linalg.norm(slope), 2 * (batch["w"] * error).sum() / batch["w"].sum()
    )
    results = step({name: tf.constant(value) for name, value in batch.items()})
    np.testing.assert_allclose(
        model.weights[0].numpy()[:, 0], np.array([0.1, -0.2, 0.3]) - 0.1 * slope, rtol=1e-5
    )
    np.testing.assert_allclose(results["gradient_norm"][0], expected_norm, rtol=1e-5)


def test_factor_scales_the_gradient_and_not_what_is_reported():
    batch = {name: tf.constant(value) for name, value in batch_number(0).items()}
    norms, reported = [], []
    for factor in (1.0, 4.0):
        step = train_step.make_train_step(
            make_model(), keras.optimizers.SGD(0.1), DropoutFree(factor), accumulation_steps=1
        )
        results = step(batch)
        norms.append(float(results["gradient_norm"][0]))
        reported.append(float(results["squares_loss"][0]))
    np.testing.assert_allclose(norms[1], 4 * norms[0], rtol=1e-5)
    np.testing.assert_allclose(reported[1], reported[0], rtol=1e-5)


@pytest.mark.parametrize("accumulation_steps", [2, 3, 6])
def test_accumulation_takes_the_step_of_the_whole_batch(tmp_path, accumulation_steps):
    whole, whole_results = run(tmp_path / "whole", 4, DropoutFree())
    parts, parts_results = run(
        tmp_path / "parts", 4, DropoutFree(), accumulation_steps=accumulation_steps
    )
    for a, b in zip(weights_of(whole), weights_of(parts), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)
    rows = [
        metric_log.read_metrics(tmp_path / name / "metrics.jsonl") for name in ("whole", "parts")
    ]
    for a, b in zip(*rows, strict=True):
        for name in ("squares_loss", "error"):
            np.testing.assert_allclose(a[name], b[name], rtol=1e-5)


def test_resumed_run_has_the_bits_of_an_uninterrupted_one(tmp_path):
    straight, results = run(tmp_path / "straight", 9)

    class Killed(Exception):
        pass

    def dies_at_step_six(start_example):
        def interrupt(index, batch):
            if index == 5:
                raise Killed
            return batch

        rows = list(make_dataset(start_example))
        return _Stream(interrupt(index, row) for index, row in enumerate(rows))

    with pytest.raises(Killed):
        run(tmp_path / "killed", 9, dataset=dies_at_step_six)
    lines = []
    resumed, resumed_results = run(tmp_path / "killed", 9, lines=lines)
    assert "resuming at step 4" in lines[0]
    for a, b in zip(weights_of(straight), weights_of(resumed), strict=True):
        np.testing.assert_array_equal(a, b)
    assert results == resumed_results


class _Stream:
    """An iterator with the one dataset method that the loop uses."""

    def __init__(self, rows):
        self._rows = rows

    def take(self, count):
        for _, row in zip(range(count), self._rows, strict=False):
            yield row


def test_metric_log_of_a_resumed_run_reads_like_an_uninterrupted_one(tmp_path):
    run(tmp_path / "straight", 8)
    run(tmp_path / "resumed", 4)
    log = tmp_path / "resumed" / "metrics.jsonl"
    with open(log, "a") as file:
        file.write('{"step": 5, "split": "train", "squares_loss": 1.0}\n{"step": 6, "spl')
    run(tmp_path / "resumed", 8)

    def rows(name):
        kept = ("step", "split")
        return [
            tuple(row[k] for k in kept)
            for row in metric_log.read_metrics(tmp_path / name / "metrics.jsonl")
        ]

    # The shorter run also evaluated at its own end.
    assert [row for row in rows("resumed") if row != (4, "held_out")] == rows("straight")


def test_finished_run_returns_its_last_results_without_training(tmp_path):
    _, results = run(tmp_path, 5)
    lines = []

    def fails(start_example):
        return _Stream(iter(()))

    _, again = run(tmp_path, 5, dataset=fails, lines=lines)
    assert again == results
    assert len(lines) == 1


def test_training_ends_where_the_evaluation_says_so_and_stays_ended(tmp_path):
    seen = []

    def stop_at_five(step, results):
        seen.append((step, results["held_out"]["squares_loss"]))
        return step >= 5

    _, results = run(tmp_path, 20, after=stop_at_five)
    assert [step for step, _ in seen] == [0, 5]
    assert results["held_out"]["squares_loss"] == seen[-1][1]
    assert (tmp_path / "checkpoints" / "step-00000005").exists()
    lines = []
    run(tmp_path, 20, after=stop_at_five, lines=lines)
    assert len(lines) == 1 and "resuming at step 5" in lines[0]


def told_and_kept(directory, events):
    """Returns what callbacks were told of rows, and the rows of `metrics.jsonl`."""
    rows = metric_log.read_metrics(directory / "metrics.jsonl")
    told = [
        {"step": event.step, "split": event.split, **event.metrics}
        for event in events
        if not event.checkpoint
    ]
    return told, rows


def test_callbacks_are_told_each_row_and_each_checkpoint_that_is_on_disk(tmp_path):
    events, on_disk = [], []

    def look(event):
        if event.checkpoint:
            on_disk.append((event.checkpoint / "note.txt").exists())
        else:
            on_disk.append(told_and_kept(tmp_path, [event])[1][-1]["step"] == event.step)

    run(tmp_path, 6, callbacks=[events.append, look])
    told, rows = told_and_kept(tmp_path, events)
    assert told == rows and all(on_disk)
    checkpoints = [event for event in events if event.checkpoint]
    assert [event.step for event in checkpoints] == [2, 4, 6]
    assert {event.checkpoint.parent for event in checkpoints} == {tmp_path / "checkpoints"}
    assert {event.directory for event in events} == {tmp_path}
    steps = [event.step for event in events]
    assert steps == sorted(steps)


def test_what_a_callback_raises_ends_the_run_which_goes_on_from_its_checkpoint(tmp_path):
    def prune(event):
        if event.step == 5:
            raise LookupError("pruned")

    with pytest.raises(LookupError, match="pruned"):
        run(tmp_path / "pruned", 8, callbacks=[prune])
    events = []
    model, _ = run(tmp_path / "pruned", 8, callbacks=[events.append])
    assert [event.step for event in events if event.checkpoint] == [6, 8]
    whole, _ = run(tmp_path / "whole", 8)
    for a, b in zip(weights_of(model), weights_of(whole), strict=True):
        np.testing.assert_array_equal(a, b)


def test_each_shape_of_a_batch_is_compiled_once():
    traced = []

    @fused_ops.compile_by_shape
    def double(batch):
        traced.append(batch["a"].shape)
        return 2 * batch["a"]

    for length in (3, 5, 3, 5, 5):
        np.testing.assert_array_equal(double({"a": tf.ones(length)}), 2 * np.ones(length))
    assert traced == [(3,), (5,)]


def test_loss_that_is_not_finite_names_the_step_and_the_last_good_checkpoint(tmp_path):
    def poisoned(start_example):
        rows = list(make_dataset(start_example))
        rows[6] = {**rows[6], "y": tf.constant(np.full(B, np.inf, np.float32))}
        return _Stream(iter(rows))

    with pytest.raises(
        training.NonFiniteLossError, match="step 7: .*good checkpoint is .*step-00000004"
    ):
        run(tmp_path, 9, dataset=poisoned)


def rows_of(directory):
    """Returns the rows of a metric log without what the clock says."""
    rows = metric_log.read_metrics(directory / "metrics.jsonl")
    return [{k: v for k, v in row.items() if k not in progress.OF_THE_CLOCK} for row in rows]


def stream_that_raises_at(index, error):
    def make(start_example):
        def rows():
            for number, row in enumerate(make_dataset(start_example), start_example // B):
                if number == index:
                    raise error
                yield row

        return _Stream(rows())

    return make


@pytest.mark.parametrize("last_step", [1, 3, 4, 5, 6, 7])
def test_rows_of_a_run_resumed_at_any_step_are_those_of_an_uninterrupted_one(tmp_path, last_step):
    steps = {"eval_steps": 3, "log_steps": 4, "checkpoint_steps": 1}
    straight, results = run(tmp_path / "straight", 9, **steps)
    with pytest.raises(KeyError):
        run(tmp_path / "resumed", 9, dataset=stream_that_raises_at(last_step, KeyError()), **steps)
    resumed, resumed_results = run(tmp_path / "resumed", 9, **steps)
    assert resumed_results == results
    assert rows_of(tmp_path / "resumed") == rows_of(tmp_path / "straight")
    for a, b in zip(weights_of(straight), weights_of(resumed), strict=True):
        np.testing.assert_array_equal(a, b)


def test_damaged_data_ends_a_run_behind_a_checkpoint(tmp_path):
    error = tf.errors.DataLossError(None, None, "corrupted record")
    with pytest.raises(tf.errors.DataLossError):
        run(tmp_path, 9, dataset=stream_that_raises_at(5, error), checkpoint_steps=100)
    assert (tmp_path / "checkpoints" / "step-00000005").is_dir()


class Signalled(WeightedSquares):
    """Sends SIGTERM to this process when the batch of a step is weighed."""

    def __init__(self, step):
        super().__init__()
        self._left = step

    def weights(self, batch):
        def count():
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGTERM)

        tf.py_function(count, [], [])
        return super().weights(batch)


def test_signal_ends_a_run_behind_a_checkpoint_and_one_line_says_so(tmp_path):
    steps = {"eval_steps": 5, "log_steps": 4, "checkpoint_steps": 100}
    straight, results = run(tmp_path / "straight", 9, **steps)
    with stop_signals.handled(), pytest.raises(stop_signals.Stopped) as stopped:
        # The first evaluation weighs a batch, too.
        run(tmp_path / "stopped", 9, Signalled(2 + 5), **steps)
    assert stopped.value.exit_code == 143
    assert stopped.value.__notes__ == ["the same command goes on from step 5"]
    # It came before the evaluation of step 5, which the next run makes up for.
    assert (5, "held_out") not in [(r["step"], r["split"]) for r in rows_of(tmp_path / "stopped")]
    resumed, resumed_results = run(tmp_path / "stopped", 9, **steps)
    assert resumed_results == results
    assert rows_of(tmp_path / "stopped") == rows_of(tmp_path / "straight")
    for a, b in zip(weights_of(straight), weights_of(resumed), strict=True):
        np.testing.assert_array_equal(a, b)


def test_signal_within_an_evaluation_ends_it_at_the_next_batch(tmp_path):
    steps = {"eval_steps": 5, "log_steps": 4, "checkpoint_steps": 100}
    with stop_signals.handled(), pytest.raises(stop_signals.Stopped) as stopped:
        run(tmp_path, 9, Signalled(2 + 5 + 1), **steps)
    assert stopped.value.__notes__ == ["the same command goes on from step 5"]
    assert (tmp_path / "checkpoints" / "step-00000005").is_dir()
    assert (5, "held_out") not in [(r["step"], r["split"]) for r in rows_of(tmp_path)]


def test_weights_that_are_not_finite_are_never_kept(tmp_path):
    def run_at(rate, steps):
        model = make_model()
        return training.train(
            model=model,
            optimizer=keras.optimizers.SGD(rate),
            objective=DropoutFree(factor=1e3),
            make_dataset=make_dataset,
            evaluations={},
            settings=training_settings.TrainingSettings(
                train_steps=steps, batch_size=B, checkpoint_steps=1
            ),
            output_dir=tmp_path / str(rate),
            save_files=lambda folder: None,
            report=lambda line: None,
        )

    with pytest.raises(training.NonFiniteLossError, match="weights are not finite after step 1"):
        run_at(3e38, 3)
    assert not (tmp_path / "3e+38" / "checkpoints").exists()
    # Finite and yet ruined: the step from it is what shows that checkpoint 1 is not good.
    with pytest.raises(
        training.NonFiniteLossError,
        match="not finite at step 2: .*no good checkpoint: start again with a lower `learning",
    ):
        run_at(1e30, 3)


def test_steps_are_looked_at_together_and_the_one_that_failed_is_named(tmp_path):
    def with_a_bad_step(start_example):
        numbers = tf.data.Dataset.range(start_example // B, 100)

        def spoil(number, batch):  # 0 / 0 in the seventh
            return {**batch, "y": batch["y"] + 0 / tf.cast(6 - number, tf.float32)}

        return tf.data.Dataset.zip(numbers, make_dataset(start_example)).map(spoil)

    settings = {"log_steps": 10, "checkpoint_steps": 5, "eval_steps": 100}
    with pytest.raises(training.NonFiniteLossError) as raised:
        run(tmp_path, 20, dataset=with_a_bad_step, **settings)
    assert "the loss is not finite at step 7: squares_loss nan" in str(raised.value)
    assert f"The last good checkpoint is {tmp_path / 'checkpoints' / 'step-00000005'}" in str(
        raised.value
    )
    assert len(list((tmp_path / "checkpoints").iterdir())) == 1


def test_held_out_figures_that_are_not_finite_end_the_run(tmp_path):
    with pytest.raises(
        training.NonFiniteLossError, match="held_out figures .* at step 5: loss nan"
    ):
        training.train(
            model=make_model(),
            optimizer=keras.optimizers.SGD(0.01),
            objective=DropoutFree(),
            make_dataset=make_dataset,
            evaluations={"held_out": lambda: {"loss": float("nan")}},
            settings=training_settings.TrainingSettings(train_steps=9, batch_size=B, eval_steps=5),
            output_dir=tmp_path,
            save_files=lambda folder: None,
            evaluate_first=False,
            report=lambda line: None,
        )
    assert not (tmp_path / "checkpoints").exists()
    assert all(math.isfinite(v) for r in rows_of(tmp_path) for v in r.values() if v != r["split"])


@pytest.mark.parametrize("error", [MemoryError(), tf.errors.ResourceExhaustedError(None, None, "")])
def test_batch_that_does_not_fit_names_what_to_change(tmp_path, error):
    message = (
        "at step 4: give `recompute=blocks`.*now none.*in a new `output_dir`, a larger "
        "`accumulation_steps`.*now 1.*smaller `batch_size` .now 6."
    )
    with pytest.raises(training.OutOfMemoryError, match=message):
        run(tmp_path, 8, dataset=stream_that_raises_at(3, error))


def test_training_data_that_ends_early_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="ended at step 3 of 9"):
        run(tmp_path, 9, dataset=lambda start: make_dataset(start, batches=3))


def test_only_the_newest_checkpoints_are_kept(tmp_path):
    run(tmp_path, 9, keep_checkpoints=2)
    folders = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert folders == ["step-00000008", "step-00000009"]


def test_evaluation_averages_over_all_batches(tmp_path):
    model = make_model()
    evaluate = train_step.make_evaluate(model, WeightedSquares())
    batches = [batch_number(0), batch_number(1)]
    total = weight = 0.0
    for batch in batches:
        error = batch["input_ids"] @ [0.1, -0.2, 0.3] - batch["y"]
        total += (batch["w"] * error**2).sum()
        weight += batch["w"].sum()
    results = evaluate(make_dataset(0, batches=2))
    np.testing.assert_allclose(results["squares_loss"], total / weight, rtol=1e-5)


def test_summaries_reach_tensorboard(tmp_path):
    run(tmp_path, 4)
    assert list((tmp_path / "tensorboard" / "train").glob("events*"))
    assert list((tmp_path / "tensorboard" / "held_out").glob("events*"))


def test_progress_line_says_loss_speed_and_time_left(tmp_path):
    lines = []
    run(tmp_path, 4, lines=lines)
    line = next(line for line in lines if line.startswith("step       2/4"))
    for part in ("squares_loss", "lr 5.00e-02", "tokens/s", "left"):
        assert part in line


def test_a_row_has_its_seconds_without_pauses_also_across_an_interruption(monkeypatch):
    now = {"wall": 100.0, "cpu": 40.0}
    monkeypatch.setattr(progress.time, "monotonic", lambda: now["wall"])
    monkeypatch.setattr(progress.time, "process_time", lambda: now["cpu"])

    def pass_time(wall, cpu):
        now["wall"] += wall
        now["cpu"] += cpu

    settings = training_settings.TrainingSettings(train_steps=9, batch_size=1)
    first = progress.Progress(settings, 0, {})
    pass_time(5, 9)  # the first call compiles
    first.count_steps(1, 10)
    pass_time(2, 4)
    first.count_steps(1, 10)
    with first.paused():
        pass_time(30, 50)  # an evaluation
    notes = first.notes(2)
    pass_time(500, 500)  # is killed, and goes on in another process
    now["cpu"] = 3.0
    second = progress.Progress(settings, 2, notes)
    pass_time(4, 6)
    second.count_steps(1, 10)
    values = second.summarize(3, 0.1)
    assert (values["seconds"], values["cpu_seconds"]) == (5 + 2 + 4, 9 + 4 + 50 + 6)
    assert values["tokens_per_second"] == pytest.approx(10 / 2)
    pass_time(3, 5)
    second.count_steps(1, 10)
    values = second.summarize(4, 0.1)
    assert (values["seconds"], values["cpu_seconds"]) == (3, 5)


@pytest.mark.parametrize(
    ("field", "value"), [("train_steps", 0), ("batch_size", -1), ("log_steps", 2.5)]
)
def test_settings_name_the_field_that_is_wrong(field, value):
    values = {"train_steps": 1, "batch_size": 1, field: value}
    with pytest.raises(ValueError, match=f"`{field}` must be an? (positive )?integer"):
        training_settings.TrainingSettings(**values)


def test_batch_must_split_into_micro_batches():
    with pytest.raises(ValueError, match="divisible by `accumulation_steps`"):
        training_settings.TrainingSettings(train_steps=1, batch_size=10, accumulation_steps=4)


def test_values_are_formatted_with_each_loss_beside_its_accuracy():
    values = {"a_loss": 1.5, "a_accuracy": 0.25, "norm": 2.0}
    assert progress.format_values(values) == "a 1.5000 (25.00%)  norm 2.0000"


def test_metrics_file_holds_one_object_a_line(tmp_path):
    run(tmp_path, 2)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [(row["step"], row["split"]) for row in rows] == [
        (0, "held_out"),
        (2, "train"),
        (2, "held_out"),
    ]


@pytest.mark.parametrize("steps_per_call", [2, 5])
def test_several_steps_a_call_are_the_same_steps(tmp_path, steps_per_call):
    one, one_results = run(tmp_path / "one", 7)
    several, results = run(tmp_path / "several", 7, steps_per_call=steps_per_call)
    for first, second in zip(one.get_weights(), several.get_weights(), strict=True):
        np.testing.assert_allclose(second, first, rtol=1e-5, atol=1e-6)
    rows = [metric_log.read_metrics(tmp_path / n / "metrics.jsonl") for n in ("one", "several")]
    assert [row["step"] for row in rows[0]] == [row["step"] for row in rows[1]]
    for first, second in zip(*rows, strict=True):
        for name in first.keys() - {"split", *progress.OF_THE_CLOCK}:
            np.testing.assert_allclose(second[name], first[name], rtol=1e-4, err_msg=name)
