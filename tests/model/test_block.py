"""Passes through the shared block that keep less for the backward pass: the same gradients."""

import dataclasses
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.eager import context

from albert_tf.config import AlbertConfig
from albert_tf.model import adapters, fused_ops
from albert_tf.model.block import PassChoices, TransformerBlock, chosen_passes
from albert_tf.model.language_models import AlbertForPretraining

B, L, P = 2, 6, 2
CONFIG = AlbertConfig(
    vocab_size=30,
    embedding_size=4,
    hidden_size=8,
    num_hidden_layers=3,
    num_attention_heads=2,
    intermediate_size=12,
    max_position_embeddings=8,
    hidden_dropout_prob=0.0,
    attention_probs_dropout_prob=0.0,
    initializer_range=0.3,
)
DROPOUT = {"hidden_dropout_prob": 0.3, "attention_probs_dropout_prob": 0.2}


def make_batch():
    generator = np.random.default_rng(0)
    mask = np.ones((B, L), np.int32)
    mask[0, -2:] = 0
    return {
        "input_ids": tf.constant(generator.integers(5, 30, (B, L)), tf.int32),
        "input_mask": tf.constant(mask),
        "segment_ids": tf.zeros((B, L), tf.int32),
        "masked_lm_positions": tf.constant(generator.integers(1, L - 2, (B, P)), tf.int32),
    }


def gradients_of(choices, config=CONFIG, policy="float32", lora_rank=0, jit_compile=False):
    """Returns a loss and {path: gradient} after two calls, so that dropout has moved on."""
    keras.utils.set_random_seed(0)
    model = AlbertForPretraining(config, dtype=policy)
    if lora_rank:
        adapters.add_adapters(model, lora_rank)
        for block in model.encoder.blocks:
            for layer in block.linears():
                layer.adapter_out.assign(np.full(layer.adapter_out.shape, 0.1, np.float32))
    values = [variable.value for variable in model.trainable_variables]

    @tf.function(autograph=False, jit_compile=jit_compile)
    def step(batch):
        with tf.GradientTape() as tape, chosen_passes(choices):
            outputs = model(batch, training=True)
            loss = sum(tf.reduce_sum(tf.square(logits)) for logits in outputs.values())
        return loss, [tf.convert_to_tensor(g) for g in tape.gradient(loss, values)]

    step(make_batch())
    loss, gradients = step(make_batch())
    paths = [variable.path for variable in model.trainable_variables]
    return float(loss), dict(zip(paths, (g.numpy() for g in gradients), strict=True))


def assert_same(found, expected, tolerance):
    assert found[0] == pytest.approx(expected[0], rel=tolerance)
    for (path, one), other in zip(found[1].items(), expected[1].values(), strict=True):
        if path.endswith("key/bias"):
            continue  # what it adds, the softmax takes out: its gradient is 0
        scale = np.abs(other).max()
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance * scale + 1e-12, err_msg=path)


CASES = {
    "plain": {},
    "dropout": {"config": dataclasses.replace(CONFIG, **DROPOUT)},
    "groups": {
        "config": dataclasses.replace(CONFIG, num_hidden_groups=2, inner_group_num=2, **DROPOUT)
    },
    "adapters": {"lora_rank": 2, "config": dataclasses.replace(CONFIG, **DROPOUT)},
    "bfloat16": {
        "policy": "mixed_bfloat16",
        "config": dataclasses.replace(CONFIG, **DROPOUT),
    },
}
TOLERANCES = {"bfloat16": 0.05}


def products_in_graph(function, operand):
    """Returns how many matrix products are left of `function` after TensorFlow's optimizers."""
    context.enable_run_metadata()
    try:
        tf.function(function, autograph=False)(operand)
        graphs = context.export_run_metadata().partition_graphs
    finally:
        context.disable_run_metadata()
    nodes = [node for graph in graphs for node in graph.node]
    return sum("MatMul" in node.op for node in nodes)


def products_of_xla(function, operand):
    """Returns how many matrix products are left of `function` after XLA's optimizers."""
    compiled = tf.function(function, autograph=False, jit_compile=True)
    program = compiled.experimental_get_compiler_ir(operand)(stage="optimized_hlo")
    return len(re.findall(r" dot\(|matmul", program))


@pytest.mark.parametrize("is_fast", [False, True], ids=["plain_ops", "fast_ops"])
@pytest.mark.parametrize("case", CASES)
def test_recomputed_passes_have_the_same_gradients(monkeypatch, case, is_fast):
    monkeypatch.setattr(fused_ops, "SMALLEST_FAST_SIZE", 0 if is_fast else 10**9)
    expected = gradients_of(PassChoices(), **CASES[case])
    found = gradients_of(PassChoices(recompute=True), **CASES[case])
    assert_same(found, expected, TOLERANCES.get(case, 1e-5))


@pytest.mark.slow
def test_recomputed_passes_have_the_same_gradients_when_compiled():
    config = dataclasses.replace(CONFIG, num_hidden_layers=2, num_hidden_groups=2, **DROPOUT)
    expected = gradients_of(PassChoices(), config, jit_compile=True)  # XLA draws other masks
    found = gradients_of(PassChoices(recompute=True), config, jit_compile=True)
    assert_same(found, expected, 1e-5)


@pytest.mark.parametrize("count_products", [products_in_graph, products_of_xla])
def test_no_compiler_takes_the_products_of_the_forward_pass_again(count_products):
    def counted(recompute):
        block = TransformerBlock(CONFIG)
        block.build()

        def step(hidden):
            with tf.GradientTape() as tape:
                for _ in range(3):
                    hidden = block(hidden, tf.zeros((B, 1, 1, L)), recompute=recompute)
            return tape.gradient(hidden, block.feed_forward_output.kernel.value)

        return count_products(step, tf.ones((B, L, CONFIG.hidden_size)))

    # A pass has four products of kernels and two of attention. All but the last kernel's are needed
    # again; the last pass may be kept, as its gradient begins at once.
    assert counted(True) >= counted(False) + 2 * 5
