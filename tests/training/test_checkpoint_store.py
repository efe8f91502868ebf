"""The checkpoints of a training run: complete or absent, and refused by another run."""

import errno
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from albert_tf.checkpoints.stored_tensors import CheckpointError
from albert_tf.config import AlbertConfig
from albert_tf.model.language_models import AlbertForPretraining
from albert_tf.training import checkpoint_store


def make_model():
    return AlbertForPretraining(AlbertConfig.from_preset("albert_tiny"))


def test_store_ignores_folders_that_are_not_complete(tmp_path):
    model = make_model()
    optimizer = keras.optimizers.SGD()
    optimizer.build(model.trainable_variables)
    store = checkpoint_store.CheckpointStore(
        tmp_path, model=model, optimizer=optimizer, keep=3, save_files=lambda folder: None
    )
    store.save(5, {"tokens": 7})
    (tmp_path / ".step-00000007.partial").mkdir()
    (tmp_path / "step-7-copy").mkdir()
    assert store.steps() == [5]
    assert store.restore_latest() == (5, {"tokens": 7})


def make_store(folder, save_files=lambda folder: None, keep=1):
    model = keras.Sequential([keras.layers.Dense(2)])
    model.build((None, 3))
    optimizer = keras.optimizers.SGD()
    optimizer.build(model.trainable_variables)
    return model, checkpoint_store.CheckpointStore(
        folder, model=model, optimizer=optimizer, keep=keep, save_files=save_files
    )


def test_store_removes_what_a_killed_process_left_behind(tmp_path):
    _, store = make_store(tmp_path)
    store.save(5, {})
    for name in (".step-00000003.partial", ".step-00000007.partial"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "half").write_text("a file")
    _, store = make_store(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000005"]


def test_old_checkpoint_that_a_kill_saved_is_removed_by_the_next_run(tmp_path):
    _, store = make_store(tmp_path, keep=2)
    for step in (5, 6):
        store.save(step, {})
    _, store = make_store(tmp_path, keep=1)
    assert store.restore_latest() == (6, {})
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000006"]


def test_checkpoint_that_cannot_be_written_names_its_folder_and_leaves_the_last_one(tmp_path):
    def fill_the_disk(folder):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    make_store(tmp_path)[1].save(5, {})
    _, store = make_store(tmp_path, fill_the_disk)
    with pytest.raises(OSError, match="No space left on device.*step-00000006"):
        store.save(6, {})
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000005"]


def test_file_that_the_system_cuts_off_is_an_error_with_its_path(tmp_path):
    # As a full disk, which nobody can make without being root: no file may exceed 1,000 bytes.
    program = (
        "import resource, signal, sys, numpy, safetensors\n"
        "from albert_tf.checkpoints.safetensors_files import write_safetensors\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: write_safetensors({'a': numpy.ones(10_000)}, sys.argv[1])\n"
        "except OSError as error: print(error)\n"
    )
    path = tmp_path / "a.safetensors"
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True
    )
    assert f"{path} cannot be written" in done.stdout
    assert "File too large" in done.stdout


def test_checkpoint_of_numbers_that_are_not_finite_is_refused(tmp_path):
    model, store = make_store(tmp_path)
    model.weights[0].assign(np.full((3, 2), np.inf))
    store.save(5, {})
    with pytest.raises(CheckpointError, match="step-00000005 holds numbers that are not finite"):
        store.restore_latest()


def test_store_refuses_the_state_of_another_optimizer(tmp_path):
    model = make_model()

    def make_store(optimizer):
        optimizer.build(model.trainable_variables)
        return checkpoint_store.CheckpointStore(
            tmp_path, model=model, optimizer=optimizer, keep=3, save_files=lambda folder: None
        )

    make_store(keras.optimizers.SGD()).save(1, {})
    with pytest.raises(CheckpointError, match="another model or optimizer"):
        make_store(keras.optimizers.Adam()).restore_latest()


def test_half_a_checkpoint_is_named_with_what_to_do(tmp_path):
    _, store = make_store(tmp_path, keep=2)
    for step in (5, 6):
        store.save(step, {})
    (tmp_path / "step-00000006" / "training_state.safetensors").unlink()
    with pytest.raises(
        CheckpointError, match="step-00000006: .*Without that folder the run goes on from"
    ):
        store.restore_latest()
