"""The fast forms of the block's arithmetic give the results and gradients of the plain forms."""

import numpy as np
import pytest
import tensorflow as tf

from albert_tf.model import fused_ops


@pytest.fixture(autouse=True)
def take_fast_form_at_any_size(monkeypatch):
    monkeypatch.setattr(fused_ops, "SMALLEST_FAST_SIZE", 0)


GENERATOR = np.random.default_rng(0)
TOLERANCES = {"float32": 2e-5, "bfloat16": 3e-2, "float16": 4e-3}


def normal(*shape):
    return GENERATOR.standard_normal(shape).astype(np.float32)


PADDING = np.where(GENERATOR.random((3, 1, 1, 8)) < 0.3, -10000.0, 0.0).astype(np.float32)
EXAMPLES = np.where(GENERATOR.random((3, 1, 5, 8)) < 0.3, -10000.0, 0.0).astype(np.float32)

CASES = {
    "embed": (
        lambda table: fused_ops.embed(table, tf.constant([[1, 4, 1], [0, 1, 4]])),
        [normal(6, 5)],
    ),
    "add_bias": (fused_ops.add_bias, [normal(4, 3, 7), normal(7)]),
    "bias_gelu_new": (
        lambda x, b: fused_ops.bias_activation(x, b, "gelu_new"),
        [2 * normal(4, 3, 7), normal(7)],
    ),
    "bias_gelu": (
        lambda x, b: fused_ops.bias_activation(x, b, "gelu"),
        [2 * normal(4, 3, 7), normal(7)],
    ),
    "bias_relu": (
        lambda x, b: fused_ops.bias_activation(x, b, "relu"),
        [normal(4, 3, 7), normal(7)],
    ),
    "residual_layer_norm": (
        lambda x, b, r, g, e: fused_ops.residual_layer_norm(
            x, b, r, tf.cast(g, tf.float32), tf.cast(e, tf.float32), 1e-12
        ),
        [normal(4, 3, 16), normal(16), normal(4, 3, 16), normal(16), normal(16)],
    ),
    "attention": (
        lambda q, k, v: fused_ops.attention(q, k, v, tf.cast(PADDING, q.dtype)),
        [normal(3, 2, 5, 4), normal(3, 2, 8, 4), normal(3, 2, 8, 4)],
    ),
    "attention_within_examples": (
        lambda q, k, v: fused_ops.attention(q, k, v, tf.cast(EXAMPLES, q.dtype)),
        [normal(3, 2, 5, 4), normal(3, 2, 8, 4), normal(3, 2, 8, 4)],
    ),
}


def run_with_gradients(function, arguments, dtype):
    """Returns the outputs and the gradients of a fixed weighted sum of them."""
    arguments = [tf.cast(argument, dtype) for argument in arguments]
    with tf.GradientTape() as tape:
        tape.watch(arguments)
        outputs = function(*arguments)
        shape = tuple(outputs.shape)
        weights = np.cos(np.arange(np.prod(shape))).reshape(shape).astype(np.float32)
        total = tf.reduce_sum(tf.cast(outputs, tf.float32) * weights)
    return [outputs, *map(tf.convert_to_tensor, tape.gradient(total, arguments))]


def test_fast_cross_entropy_equals_plain_cross_entropy():
    logits, ids = 5 * normal(3, 4, 9), GENERATOR.integers(0, 9, (3, 4)).astype(np.int32)

    def run():
        return run_with_gradients(lambda x: fused_ops.cross_entropy(x, ids), [logits], "float32")

    for one, other in zip(run(), tf.function(run)(), strict=True):
        np.testing.assert_allclose(other, one, atol=2e-6)


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize("case", CASES)
def test_fast_form_equals_plain_form(case, dtype):
    function, arguments = CASES[case]
    # Eager calls take the plain form, and float32 is the reference of every dtype.
    plain = run_with_gradients(function, arguments, "float32")
    fast = tf.function(lambda: run_with_gradients(function, arguments, dtype))()
    for one, other in zip(plain, fast, strict=True):
        assert other.dtype == dtype
        scale = np.abs(one).max()
        np.testing.assert_allclose(
            tf.cast(other, tf.float32) / scale, one / scale, atol=TOLERANCES[dtype]
        )


def test_fast_form_is_taken_for_large_known_shapes_in_graphs_only(monkeypatch):
    monkeypatch.setattr(fused_ops, "SMALLEST_FAST_SIZE", 6)
    taken = []

    def note(x):
        taken.append(fused_ops._is_fast(x))
        return x

    note(tf.ones((2, 3)))
    tf.function(note)(tf.ones((2, 3)))
    tf.function(note)(tf.ones((1, 5)))
    tf.function(note, input_signature=[tf.TensorSpec((None, 3))])(tf.ones((2, 3)))
    assert taken == [False, True, False, False]


def test_multiply_works_over_the_last_axis():
    inputs, kernel = normal(2, 3, 4), normal(4, 5)
    np.testing.assert_allclose(fused_ops.multiply(inputs, kernel), inputs @ kernel, atol=1e-6)


def test_padded_keys_get_no_weight_at_all():
    query, key, value = normal(1, 1, 2, 4), normal(1, 1, 3, 4), normal(1, 1, 3, 4)
    padding = np.array([0, 0, -10000.0], np.float32).reshape(1, 1, 1, 3)
    whole = fused_ops.attention(query, key, value, padding)
    cut = fused_ops.attention(query, key[:, :, :2], value[:, :, :2], padding[..., :2])
    np.testing.assert_array_equal(whole, cut)
