"""What a run measured is read again, however much of it there is."""

import json

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


def test_a_long_log_is_read(tmp_path):
    path = tmp_path / "metrics.jsonl"
    row = {"step": 1, "split": "train", "what": "x" * (1 << 26)}
    path.write_text(json.dumps(row) + "\n")
    assert len(metric_log.read_metrics(path)) == 1
