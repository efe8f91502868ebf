"""What a run measured is read again, however much of it there is."""

import json

import pytest
import tensorflow as tf

from albert_tf.training import metric_log


def test_a_resumed_log_has_the_evaluation_of_its_step_alone(tmp_path):
    log = metric_log.MetricLog(tmp_path, 0)
    for step in (1, 2):
        log.write(step, "train", {"loss": 3.0})
        log.write(step, "dev", {"f1": step / 4})
    assert log.evaluation_at(2) == {"dev": {"f1": 0.5}}
    again = metric_log.MetricLog(tmp_path, 1)
    assert again.evaluation_at(1) == {"dev": {"f1": 0.25}}
    assert again.evaluation_at(2) == {}
    again.write(2, "train", {"loss": 2.0})
    assert again.evaluation_at(1) == again.evaluation_at(2) == {}


def test_other_held_out_examples_are_measured_anew_where_a_run_goes_on(tmp_path):
    log = metric_log.MetricLog(tmp_path, 0)
    assert not metric_log.note_held_out(tmp_path, {"held_out": "a"}, 100)
    for step in (100, 200, 250):
        log.write(step, "train", {"loss": 3.0})
        if step < 250:
            log.write(step, "held_out", {"loss": 4.0})
    # The newest checkpoint is that of step 200: a kill came behind the line of 250.
    assert metric_log.note_held_out(tmp_path, {"held_out": "b"}, 200)
    assert metric_log.MetricLog(tmp_path, 200).evaluation_at(200) == {}
    left = [row["step"] for row in metric_log.read_metrics(tmp_path / "metrics.jsonl")]
    assert left == [100, 100, 200]


def test_a_run_of_before_there_was_a_note_measures_its_last_step_anew(tmp_path):
    log = metric_log.MetricLog(tmp_path, 0)
    log.write(200, "held_out", {"loss": 4.0})
    assert metric_log.note_held_out(tmp_path, {"held_out": "a"}, 200)
    assert metric_log.MetricLog(tmp_path, 200).evaluation_at(200) == {}


def test_a_long_log_is_read(tmp_path):
    path = tmp_path / "metrics.jsonl"
    row = {"step": 1, "split": "train", "what": "x" * (1 << 26)}
    path.write_text(json.dumps(row) + "\n")
    assert len(metric_log.read_metrics(path)) == 1


def test_a_run_without_a_checkpoint_measures_all_anew(tmp_path):
    metric_log.note_held_out(tmp_path, {"held_out": "a"}, None)
    metric_log.MetricLog(tmp_path, 0).write(0, "held_out", {"loss": 4.0})
    assert not metric_log.note_held_out(tmp_path, {"held_out": "a"}, None)
    assert metric_log.MetricLog(tmp_path, 0).evaluation_at(0) == {}


def test_tensorboard_forgets_the_steps_that_a_kill_lost(tmp_path):
    accumulators = pytest.importorskip(
        "tensorboard.backend.event_processing.plugin_event_accumulator"
    )
    log = metric_log.MetricLog(tmp_path, 0)
    for step in (2, 4, 6, 8, 10):
        log.write(step, "train", {"loss": step / 1})
    (written,) = (tmp_path / "tensorboard" / "train").iterdir()
    now = written.name.split(".")[3]
    written.rename(written.with_name(written.name.replace(now, f"{int(now) - 9}")))  # as later on
    again = metric_log.MetricLog(tmp_path, 6)
    for step in (8, 10):
        again.write(step, "train", {"loss": step / 2})
    events = accumulators.EventAccumulator(str(tmp_path / "tensorboard" / "train"))
    events.Reload()
    tag = "loss"
    values = [
        (event.step, float(tf.make_ndarray(event.tensor_proto))) for event in events.Tensors(tag)
    ]
    assert values == [(2, 2), (4, 4), (6, 6), (8, 4), (10, 5)]
