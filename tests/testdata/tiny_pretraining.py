"""Pretraining runs of some steps on records that a tiny model learns at once."""

import signal
import subprocess
import time

import numpy as np

from albert_tf.pipelines.examples import records
from albert_tf.pretraining import pretrain

L, P = 24, 4


def make_examples(tokenizer, count, seed):
    """Returns a batch of examples whose hidden word is told by the word before it."""
    generator = np.random.default_rng(seed)
    words = generator.integers(20, 40, (count, L))
    words[:, 2::2] = words[:, 1:-1:2] + 20
    words[:, 0] = tokenizer.cls_id
    positions = np.tile(np.array([2, 6, 10, 0], np.int32), (count, 1))
    weights = np.tile(np.array([1, 1, 1, 0], np.float32), (count, 1))
    hidden = np.take_along_axis(words, positions, axis=1)
    np.put_along_axis(words, positions[:, :3], tokenizer.mask_id, axis=1)
    return {
        "input_ids": words.astype(np.int32),
        "input_mask": np.ones((count, L), np.int32),
        "segment_ids": np.zeros((count, L), np.int32),
        "masked_lm_positions": positions,
        "masked_lm_ids": np.where(weights > 0, hidden, 0).astype(np.int32),
        "masked_lm_weights": weights,
        "sentence_order_label": generator.integers(0, 2, count).astype(np.int32),
    }


def write_records(path, batch):
    with records.open_record_file(str(path)) as writer:
        for row in records.serialize_batch(batch):
            writer.write(row)


def make_run(records_dir, config_file, output_dir, steps=6, settings=(), **changes):
    """Returns the `PretrainingRun` of a folder of records."""
    values = {
        "config": str(config_file),
        "data_dir": records_dir and str(records_dir),
        "output_dir": str(output_dir),
        "optimizer": "adamw",
        "learning_rate": 1e-3,
        "warmup_steps": 2,
        "eval_batch_size": 8,
        "eval_by_kind": False,  # two graphs more a run
        "train_steps": steps,
        "batch_size": 8,
        "eval_steps": 3,
        "checkpoint_steps": 3,
        "log_steps": 3,
    }
    return pretrain.PretrainingRun.of(**{**values, **dict(settings), **changes})


def kill_and_go_on(command, tmp_path):
    """Kills a run behind its first checkpoint, and has it go on to the undisturbed one's weights.

    Args:
        command: output directory -> words of the command.
        tmp_path: where both runs write.

    Returns:
        The completed process of the undisturbed run.
    """
    straight = subprocess.run(command(tmp_path / "straight"), check=True, capture_output=True)
    killed = subprocess.Popen(
        command(tmp_path / "killed"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while not list((tmp_path / "killed").glob("checkpoints/step-*")):
        assert killed.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    assert not (tmp_path / "killed" / "config.json").exists()
    finished = subprocess.run(
        command(tmp_path / "killed"), check=True, capture_output=True, text=True
    )
    assert "resuming at step" in finished.stdout
    weights, resumed = (
        (tmp_path / name / "model.safetensors").read_bytes() for name in ("straight", "killed")
    )
    assert weights == resumed
    return straight
