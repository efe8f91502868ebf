"""Whole runs on several devices and in several processes end as on one device.

Each run is a set of processes of its own (`distributed_run.py`), since TensorFlow's devices and its
cluster belong to a process. They are forks of one that has imported TensorFlow.
"""

import json
import multiprocessing
import os
import pathlib
import shutil
import signal
import socket
import time

import distributed_run
import numpy as np
import packed_rows
import pytest
from samples import VOCABULARY, tiny_config
from tiny_pretraining import make_examples, write_records

from albert_tf.checkpoints.safetensors_files import read_safetensors
from albert_tf.training import metric_log

pytestmark = pytest.mark.slow

FORKS = multiprocessing.get_context("forkserver")
# What takes long to import, and uses nothing of TensorFlow yet.
FORKS.set_forkserver_preload(["albert_tf.finetuning.finetune", "albert_tf.pretraining.pretrain"])
SETTINGS = {
    "vocab_model": str(VOCABULARY),
    "optimizer": "adamw",
    "learning_rate": 1e-3,
    "warmup_steps": 2,
    "eval_batch_size": 8,
    "train_steps": 20,
    "batch_size": 16,
    "eval_steps": 10,
    "checkpoint_steps": 10,
    "log_steps": 1,
    "eval_by_kind": False,  # two graphs more a run
}


@pytest.fixture(scope="module")
def data(tmp_path_factory, tokenizer):
    """Settings that name records whose words to guess differ in number from part to part."""
    folder = tmp_path_factory.mktemp("records")
    batch = make_examples(tokenizer, 200, seed=0)
    kept = np.random.default_rng(1).random((200, 2)) < (0.5, 0.2)
    batch["masked_lm_weights"][:, 1:3] *= kept
    write_records(folder / "train.tfrecord", batch)
    write_records(folder / "held_out.tfrecord", make_examples(tokenizer, 21, seed=5))
    (folder / "still.json").write_text(tiny_config().to_json_string())
    (folder / "dropping.json").write_text(tiny_config().with_dropout(0.2).to_json_string())
    return {
        **SETTINGS,
        "config": str(folder / "still.json"),
        "input": [str(folder / "train.tfrecord")],
        "held_out": [str(folder / "held_out.tfrecord")],
    }


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("localhost", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def start(folder, settings, devices=1, workers=1):
    """Returns the processes of a run in `folder`."""
    folder.mkdir(exist_ok=True)
    (folder / "settings.json").write_text(
        json.dumps({**settings, "output_dir": str(folder / "run")})
    )
    addresses = [f"localhost:{port}" for port in free_ports(workers)]
    processes = []
    for worker in range(workers):
        task = {"type": "worker", "index": worker}
        cluster = {"cluster": {"worker": addresses}, "task": task}
        arguments = (
            *(devices, str(folder / "settings.json")),
            *(json.dumps(cluster) if workers > 1 else "", str(folder / f"worker-{worker}.log")),
        )
        processes.append(FORKS.Process(target=distributed_run.run, args=arguments))
        processes[-1].start()
    return processes


def wait(process, seconds=300):
    """Returns the exit code of a process; None if it has not ended by then."""
    process.join(seconds)
    return process.exitcode


def finish(folder, processes, codes=(0,)):
    """Waits for a run; returns {weight or slot: array} of its last checkpoint, and its metrics."""
    for number, process in enumerate(processes):
        code = wait(process)
        assert code in codes, (folder / f"worker-{number}.log").read_text()[-3000:]
    newest = max((folder / "run" / "checkpoints").glob("step-*"))
    rows = metric_log.read_metrics(folder / "run" / "metrics.jsonl")
    losses = [row[n] for row in rows for n in sorted(row) if n.endswith(("_loss", "norm"))]
    return read_safetensors(newest / "training_state.safetensors"), losses


def run(folder, settings, devices=1, workers=1):
    return finish(folder, start(folder, settings, devices, workers))


def assert_same(one, other, tolerance):
    """Compares what `finish` returns; a tolerance of 0 asks for the same bits."""
    for name, array in one[0].items():
        if tolerance:
            np.testing.assert_allclose(array, other[0][name], atol=tolerance, err_msg=name)
        else:
            assert array.tobytes() == other[0][name].tobytes(), name
    np.testing.assert_allclose(one[1], other[1], rtol=tolerance, atol=tolerance)


def test_devices_and_workers_end_with_the_weights_of_one_device(tmp_path, data):
    expected = run(tmp_path / "one", data)
    assert_same(run(tmp_path / "workers", data, workers=2), expected, 1e-5)
    # The run of two workers goes on from its middle as one of three devices, of whose batches of
    # 16 examples they have 6, 5 and 5.
    shutil.rmtree(tmp_path / "workers" / "run" / "checkpoints" / "step-00000020")
    assert_same(run(tmp_path / "workers", data, devices=3), expected, 1e-5)
    assert "resuming at step 10" in (tmp_path / "workers" / "worker-0.log").read_text()
    changes = {"accumulation_steps": 2, "steps_per_call": 4, "log_steps": 5, "jit_compile": True}
    weights, _ = run(tmp_path / "cut", {**data, **changes}, workers=2)
    assert_same((weights, []), (expected[0], []), 1e-5)


@pytest.mark.parametrize(
    ("changes", "devices", "workers"),
    [
        ({"optimizer": "lamb", "config": "dropping.json", "accumulation_steps": 2}, 1, 2),
        ({"optimizer": "muon", "config": "dropping.json", "precision": "mixed_bfloat16"}, 4, 1),
        ({"precision": "mixed_float16"}, 2, 1),
    ],
    ids=["float32", "mixed_bfloat16", "mixed_float16"],
)
def test_exact_runs_end_with_the_same_bits(tmp_path, data, changes, devices, workers):
    settings = {**data, "exact": True, "exact_parts": 4, "train_steps": 10, **changes}
    settings["config"] = str(
        pathlib.Path(data["config"]).with_name(changes.get("config", "still.json"))
    )
    expected = run(tmp_path / "one", settings)
    assert_same(run(tmp_path / "parts", settings, devices, workers), expected, 0)


def test_packed_rows_whose_examples_differ_in_number_end_as_on_one_device(tmp_path, data):
    tokens = packed_rows.store_short_documents(tmp_path, VOCABULARY)
    of_records = ("input", "held_out", "vocab_model")
    settings = {name: value for name, value in data.items() if name not in of_records}
    settings |= {"data_dir": str(tokens), "max_seq_length": 32, "pack": True, "train_steps": 10}
    expected = run(tmp_path / "one", settings)
    assert_same(run(tmp_path / "three", settings, devices=3), expected, 1e-5)
    settings |= {"exact": True, "exact_parts": 4, "accumulation_steps": 2}
    expected = run(tmp_path / "exact", settings)
    assert_same(run(tmp_path / "parts", settings, devices=2), expected, 0)


def wait_for(path, processes):
    deadline = time.monotonic() + 120
    while not path.exists():
        assert time.monotonic() < deadline, path
        assert all(process.is_alive() for process in processes)
        time.sleep(0.05)


def test_a_signal_to_one_worker_ends_all_behind_a_checkpoint_and_another_number_goes_on(
    tmp_path, data
):
    settings = {**data, "exact": True, "exact_parts": 4, "train_steps": 500}
    settings |= {"checkpoint_steps": 1000, "eval_steps": 10}
    expected = run(tmp_path / "whole", settings)
    folder = tmp_path / "cut"
    processes = start(folder, settings, workers=2)
    wait_for(folder / "run" / "tensorboard" / "held_out", processes)
    os.kill(processes[1].pid, signal.SIGTERM)
    finish(folder, processes, codes=(143,))
    steps = [int(path.name[5:]) for path in (folder / "run" / "checkpoints").glob("step-*")]
    assert len(steps) == 1
    assert 0 < steps[0] < 500
    assert "stopped: SIGTERM" in (folder / "worker-0.log").read_text()
    assert_same(run(folder, settings), expected, 0)


def test_a_dead_worker_ends_the_others_with_one_line(tmp_path, data):
    folder, settings = tmp_path / "dead", {**data, "train_steps": 100_000, "checkpoint_steps": 5}
    settings["log_steps"] = 1000
    processes = start(folder, settings, workers=2)
    wait_for(folder / "run" / "checkpoints" / "step-00000005", processes)
    processes[1].kill()
    wait(processes[1])
    start_time = time.monotonic()
    assert wait(processes[0], 60) == 1
    assert time.monotonic() - start_time < 60
    log = (folder / "worker-0.log").read_text()
    assert "WorkerLostError: worker 0 of 2 has lost another one" in log
    assert "The same command on all of them goes on" in log


def test_fine_tuning_ends_with_the_weights_and_predictions_of_one_device(tmp_path, pretrained):
    generator = np.random.default_rng(0)
    for split, count in (("train", 48), ("dev", 21)):
        lines = [
            f"{w} {'cat' if w % 2 else 'dog'} sat,{w % 2}" for w in generator.integers(0, 90, count)
        ]
        (tmp_path / f"{split}.csv").write_text("\n".join(["text,label", *lines]))
    settings = {
        "task": "classification",
        "train_file": str(tmp_path / "train.csv"),
        "dev_file": str(tmp_path / "dev.csv"),
        "init_checkpoint": str(pretrained),
        "learning_rate": 1e-2,
        "batch_size": 10,
        "eval_batch_size": 4,
        "num_train_epochs": 10,
    }
    outcomes = []
    for name, devices, workers in (("one", 1, 1), ("three", 3, 1), ("workers", 1, 2)):
        folder = tmp_path / name
        for process in start(folder, settings, devices, workers):
            assert wait(process) == 0, (folder / "worker-0.log").read_text()[-3000:]
        weights = read_safetensors(folder / "run" / "model.safetensors")
        result = json.loads((folder / "run" / "results.json").read_text())
        lines = (folder / "run" / "seed-0" / "predictions" / "dev.jsonl").read_text().splitlines()
        answers = [json.loads(line)["prediction"] for line in lines]
        outcomes.append((weights, result["summary"]["dev"], answers))
    weights, scores, answers = outcomes[0]
    assert len(answers) == 21
    for other_weights, other_scores, other_answers in outcomes[1:]:
        for name, array in weights.items():
            np.testing.assert_allclose(other_weights[name], array, atol=2e-4, err_msg=name)
        assert other_answers == answers
        assert other_scores["loss"]["mean"] == pytest.approx(scores["loss"]["mean"], rel=1e-3)
    assert scores["accuracy"]["mean"] > 0.9
