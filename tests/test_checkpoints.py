"""The checkpoints of a training run: complete or absent, and refused by another run."""

import keras
import pytest

from albert_tf import checkpoints
from albert_tf.config import AlbertConfig
from albert_tf.models import AlbertForPretraining
from albert_tf.stored_tensors import CheckpointError


def make_model():
    return AlbertForPretraining(AlbertConfig.from_preset("albert_tiny"))


def test_store_ignores_folders_that_are_not_complete(tmp_path):
    model = make_model()
    optimizer = keras.optimizers.SGD()
    optimizer.build(model.trainable_variables)
    store = checkpoints.CheckpointStore(
        tmp_path, model=model, optimizer=optimizer, keep=3, save_files=lambda folder: None
    )
    store.save(5, {"tokens": 7})
    (tmp_path / ".step-00000007.partial").mkdir()
    (tmp_path / "step-7-copy").mkdir()
    assert store.steps() == [5]
    assert store.restore_latest() == (5, {"tokens": 7})


def test_store_refuses_the_state_of_another_optimizer(tmp_path):
    model = make_model()

    def make_store(optimizer):
        optimizer.build(model.trainable_variables)
        return checkpoints.CheckpointStore(
            tmp_path, model=model, optimizer=optimizer, keep=3, save_files=lambda folder: None
        )

    make_store(keras.optimizers.SGD()).save(1, {})
    with pytest.raises(CheckpointError, match="another model or optimizer"):
        make_store(keras.optimizers.Adam()).restore_latest()
