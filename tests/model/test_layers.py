"""The layers that encoder and heads are made of equal their formulas in NumPy."""

import keras
import numpy as np
import pytest

from albert_tf.config import AlbertConfig
from albert_tf.model import layers

CONFIG = AlbertConfig.from_preset("albert_tiny")
INPUTS = np.random.default_rng(0).normal(2, 3, (2, 5, 6)).astype(np.float32)


@pytest.mark.parametrize("use_bias", [True, False])
def test_linear_is_a_product_and_a_bias(use_bias):
    linear = layers.Linear(CONFIG, 6, 4, use_bias)
    linear.build()
    expected = INPUTS @ linear.kernel.numpy()
    if use_bias:
        linear.bias.assign([1, 2, 3, 4])
        expected += [1, 2, 3, 4]
    np.testing.assert_allclose(linear(INPUTS), expected, rtol=1e-5, atol=1e-5)


def test_layer_norm_normalises_the_sum_of_what_it_is_given():
    norm = layers.LayerNorm(CONFIG, 6)
    norm.build()
    norm.gamma.assign(np.arange(1, 7))
    norm.beta.assign(np.arange(6))
    residual, bias = INPUTS[::-1].copy(), np.arange(6, dtype=np.float32)
    total = INPUTS + bias + residual
    centered = total - total.mean(axis=-1, keepdims=True)
    expected = centered / centered.std(axis=-1, keepdims=True) * np.arange(1, 7) + np.arange(6)
    np.testing.assert_allclose(norm(INPUTS, residual, bias), expected, rtol=1e-4, atol=1e-4)


def test_layer_norm_stays_in_float32_whatever_the_policy():
    norm = layers.LayerNorm(CONFIG, 6, dtype="mixed_float16")
    norm.build()
    assert np.all(np.isfinite(norm(np.full((1, 6), 3, np.float16))))


def test_a_layer_about_to_be_read_draws_no_values(monkeypatch):
    def draw(*_, **__):
        raise AssertionError("drawn")

    monkeypatch.setattr(keras.initializers.TruncatedNormal, "__call__", draw)
    linear = layers.Linear(CONFIG, 6, 4)
    with layers.without_values():
        linear.build()
    assert linear.kernel.shape == (6, 4)
    with pytest.raises(AssertionError, match="drawn"):
        layers.Linear(CONFIG, 6, 4).build()
