"""Adapters: what they compute, what they leave alone, and that no file shows them."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from samples import tiny_config

from albert_tf.checkpoints import model_directory, weight_mapping
from albert_tf.model import adapters, layers
from albert_tf.model.task_models import AlbertClassifier

CONFIG = tiny_config(vocab_size=50)
GENERATOR = np.random.default_rng(0)
BATCH = {"input_ids": GENERATOR.integers(1, 50, (8, 12)), "label": GENERATOR.integers(0, 2, 8)}


def make_model(rank=4, **kwargs):
    keras.utils.set_random_seed(0)
    model = AlbertClassifier(CONFIG)
    adapters.add_adapters(model, rank, **kwargs)
    return model


def test_adapters_of_a_frozen_encoder_learn():
    model = AlbertClassifier(CONFIG)
    model.encoder.trainable = False
    adapters.add_adapters(model, 2)
    names = [variable.name for variable in model.trainable_variables]
    assert sum(name in layers.ADAPTER_NAMES for name in names) == 12
    head = [variable for path, variable in model.weights_by_path().items() if "encoder" not in path]
    assert {id(variable) for variable in model.trainable_variables} >= set(map(id, head))
    kernels = [linear.kernel for linear in model.encoder.blocks[0].linears()]
    assert not any(kernel.trainable for kernel in kernels)


def randomize(model):
    """Gives the adapters numbers as after training."""
    for variable in model.weights:
        if variable.name in layers.ADAPTER_NAMES:
            variable.assign(GENERATOR.normal(0, 0.1, variable.shape))


def test_an_adapter_adds_the_product_of_its_matrices():
    linear = layers.Linear(CONFIG, 6, 5)
    linear.build()
    linear.add_adapter(2, scale=1.5)
    inputs = GENERATOR.normal(size=(3, 6)).astype(np.float32)
    kernel, bias = linear.kernel.numpy(), linear.bias.numpy()
    np.testing.assert_allclose(linear(inputs), inputs @ kernel + bias, rtol=1e-5, atol=1e-6)
    thin = GENERATOR.normal(size=(2, 5)).astype(np.float32)
    linear.adapter_out.assign(thin)
    expected = inputs @ kernel + 1.5 * (inputs @ linear.adapter_in.numpy()) @ thin + bias
    np.testing.assert_allclose(linear(inputs), expected, rtol=1e-4, atol=1e-5)


def test_new_adapters_change_nothing():
    keras.utils.set_random_seed(0)
    plain = AlbertClassifier(CONFIG)
    np.testing.assert_array_equal(make_model()(BATCH), plain(BATCH))


def test_only_adapters_pooler_and_head_are_trained():
    model = make_model()
    paths = {weight_mapping.relative_path(model, v) for v in model.trainable_variables}
    expected = {"encoder/pooler/kernel", "encoder/pooler/bias"}
    expected |= {"classifier/classifier/kernel", "classifier/classifier/bias"}
    block = "encoder/group_0/inner_group_0/"
    for layer in (
        *("attention/query", "attention/key", "attention/value", "attention/output"),
        *("feed_forward/intermediate", "feed_forward/output"),
    ):
        expected |= {f"{block}{layer}/{name}" for name in layers.ADAPTER_NAMES}
    assert {path.replace("classification_head", "classifier") for path in paths} == expected


@pytest.mark.slow
def test_fit_moves_what_is_trained_and_nothing_else():
    model = make_model()
    before = {id(v): v.numpy() for v in model.weights}
    model.compile(keras.optimizers.Adam(3e-3))
    dataset = tf.data.Dataset.from_tensors(BATCH).repeat(10)
    losses = model.fit(dataset, epochs=3, verbose=0, shuffle=False).history["loss"]
    trained = {id(variable) for variable in model.trainable_variables}
    for variable in model.weights:
        moved = not np.array_equal(variable.numpy(), before[id(variable)])
        assert moved == (id(variable) in trained), variable.path
    assert losses[-1] < 0.5 * losses[0]


def test_what_is_saved_has_the_adapters_added_in(tmp_path):
    model = make_model(alpha=2.0)
    randomize(model)
    model.save_pretrained(tmp_path / "saved")
    read = AlbertClassifier.from_pretrained(tmp_path / "saved")
    assert len(read.weights) == len(model.weights_by_path()) < len(model.weights)
    np.testing.assert_allclose(read(BATCH), model(BATCH), atol=1e-5)


def test_a_model_with_adapters_reads_whole_weights(tmp_path):
    source = make_model()
    randomize(source)
    source.save_pretrained(tmp_path / "saved")
    model = make_model(rank=2)
    randomize(model)
    model_directory.fill(model, tmp_path / "saved")
    np.testing.assert_allclose(model(BATCH), source(BATCH), atol=1e-5)


@pytest.mark.parametrize("rank", [0, CONFIG.hidden_size + 1])
def test_rank_that_does_not_fit_is_refused(rank):
    with pytest.raises(ValueError, match=f"must lie in 1..{CONFIG.hidden_size} .*Received: {rank}"):
        adapters.add_adapters(AlbertClassifier(CONFIG), rank)


def test_second_adapters_are_refused():
    with pytest.raises(ValueError, match="must have no adapters yet"):
        adapters.add_adapters(make_model(), 4)


def test_what_has_no_encoder_of_its_own_is_refused():
    with pytest.raises(TypeError, match="AlbertTaskModel or AlbertEncoder.*Received: Sequential"):
        adapters.add_adapters(keras.Sequential(), 2)
