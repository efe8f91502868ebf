"""Passes through the shared block that keep less for the backward pass: the same gradients."""

import dataclasses
import functools
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.eager import context

from albert_tf.config import AlbertConfig
from albert_tf.model import adapters, fused_ops, layers, modeling
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


def gradients_of(
    choices, config=CONFIG, policy="float32", lora_rank=0, jit_compile=False, dropout_seed=None
):
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
        seed = None if dropout_seed is None else tf.constant([dropout_seed, 0])
        with tf.GradientTape() as tape, chosen_passes(choices), layers.dropout_seed(seed):
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


# Three passes in one case; each is traced and optimized again, so the others have two.
TWO_PASSES = dataclasses.replace(CONFIG, num_hidden_layers=2, **DROPOUT)
CASES = {
    "plain": {},
    "dropout": {"config": TWO_PASSES},
    "groups": {"config": dataclasses.replace(TWO_PASSES, num_hidden_groups=2, inner_group_num=2)},
    "adapters": {"lora_rank": 2, "config": TWO_PASSES},
    "dropout_of_a_seed": {"config": TWO_PASSES, "dropout_seed": 3},
    "bfloat16": {"policy": "mixed_bfloat16", "config": TWO_PASSES},
}
OTHER_CASES = list(CASES)[2:]
TOLERANCES = {"bfloat16": 0.1}


@functools.cache
def gradients_of_plain_passes(case):
    """Returns what passes that keep everything, one after the other, give with TensorFlow's ops."""
    return gradients_of(PassChoices(), **CASES[case])


def optimized_nodes(function, operand):
    """Returns the operations that are left of `function` after TensorFlow's optimizers."""
    context.enable_run_metadata()
    try:
        tf.function(function, autograph=False)(operand)
        graphs = context.export_run_metadata().partition_graphs
    finally:
        context.disable_run_metadata()
    return [node for graph in graphs for node in graph.node]


def products_in_graph(function, operand):
    """Returns how many matrix products are left after TensorFlow's optimizers."""
    return sum("MatMul" in node.op for node in optimized_nodes(function, operand))


def products_of_xla(function, operand):
    """Returns how many matrix products are left of `function` after XLA's optimizers."""
    compiled = tf.function(function, autograph=False, jit_compile=True)
    program = compiled.experimental_get_compiler_ir(operand)(stage="optimized_hlo")
    return len(re.findall(r" dot\(|matmul", program))


@pytest.mark.slow
@pytest.mark.parametrize(
    "is_fast",
    [
        pytest.param(False, marks=pytest.mark.slow, id="plain_ops"),
        pytest.param(True, id="fast_ops"),
    ],
)
@pytest.mark.parametrize(
    "case",
    ["plain", "dropout", *(pytest.param(case, marks=pytest.mark.slow) for case in OTHER_CASES)],
)
def test_recomputed_passes_have_the_same_gradients(monkeypatch, case, is_fast):
    monkeypatch.setattr(fused_ops, "SMALLEST_FAST_SIZE", 0 if is_fast else 10**9)
    if is_fast:
        expected = gradients_of(PassChoices(), **CASES[case])
    else:
        expected = gradients_of_plain_passes(case)
    found = gradients_of(PassChoices(recompute=True), **CASES[case])
    assert_same(found, expected, TOLERANCES.get(case, 1e-5))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "recompute"),
    [
        *(("plain", False), ("dropout", True)),
        pytest.param("dropout", False, marks=pytest.mark.slow),
        *(pytest.param(case, True, marks=pytest.mark.slow) for case in OTHER_CASES[1:]),
    ],
)
def test_layers_in_a_loop_have_the_same_gradients(monkeypatch, case, recompute):
    monkeypatch.setattr(fused_ops, "SMALLEST_FAST_SIZE", 10**9)
    expected = gradients_of_plain_passes(case)
    found = gradients_of(PassChoices(recompute=recompute, as_loop=True), **CASES[case])
    assert_same(found, expected, TOLERANCES.get(case, 1e-5))


def test_a_graph_with_a_loop_does_not_grow_with_the_depth():
    def count_operations(depth):
        model = AlbertForPretraining(dataclasses.replace(CONFIG, num_hidden_layers=depth))

        @tf.function(autograph=False)
        def step(batch):
            with tf.GradientTape() as tape, chosen_passes(PassChoices(as_loop=True)):
                loss = tf.reduce_sum(model(batch, training=True)["masked_lm_logits"])
            return tape.gradient(loss, model.encoder.embeddings.word_embeddings.value)

        graph = step.get_concrete_function(make_batch()).graph.as_graph_def()
        return len(graph.node) + sum(len(f.node_def) for f in graph.library.function)

    assert count_operations(4) == count_operations(8)


def test_passes_in_a_loop_drop_out_by_masks_of_their_own():
    """A block that only drops out: what is left of ones after n passes is (1 - rate) ** n."""

    class DropoutAlone(TransformerBlock):
        def call(self, hidden_states, mask_scores, weights=None, seeds=None, **_):
            return self.hidden_dropout(hidden_states, training=True, seed=seeds[-1])

    block = DropoutAlone(dataclasses.replace(CONFIG, **DROPOUT))
    block.build()
    for seed in (None, tf.constant([1, 0])):
        with layers.dropout_seed(seed):
            passes = modeling.BlockPasses(tf.zeros((1, 1, 1, 1)), training=True)
            outputs = passes.take_many(block, tf.ones((100, 1, 100)), 3)
        assert np.mean(outputs != 0) == pytest.approx(0.7**3, abs=0.02)


@pytest.mark.slow
def test_recomputed_passes_have_the_same_gradients_when_compiled():
    config = dataclasses.replace(CONFIG, num_hidden_layers=2, num_hidden_groups=2, **DROPOUT)
    expected = gradients_of(PassChoices(), config, jit_compile=True)  # XLA draws other masks
    found = gradients_of(PassChoices(recompute=True), config, jit_compile=True)
    assert_same(found, expected, 1e-5)


def three_passes(recompute):
    """Returns a function whose gradient goes through a block three times."""
    block = TransformerBlock(CONFIG)
    block.build()

    def step(hidden):
        passes = modeling.BlockPasses(tf.zeros((B, 1, 1, L)), training=True)
        with tf.GradientTape() as tape:
            for _ in range(3):
                hidden = passes.take(block, hidden, None)
        return tape.gradient(hidden, block.feed_forward_output.kernel.value)

    def chosen_step(hidden):
        with chosen_passes(PassChoices(recompute=recompute)):
            return step(hidden)

    return chosen_step


@pytest.mark.usefixtures("rewritten_graphs")
@pytest.mark.parametrize(
    "count_products",
    [products_in_graph, pytest.param(products_of_xla, marks=pytest.mark.slow)],
)
def test_no_compiler_takes_the_products_of_the_forward_pass_again(count_products):
    def counted(recompute):
        return count_products(three_passes(recompute), tf.ones((B, L, CONFIG.hidden_size)))

    # A pass has four products of kernels and two of attention. All but the last kernel's are needed
    # again; the last pass may be kept, as its gradient begins at once.
    assert counted(True) >= counted(False) + 2 * 5


@pytest.mark.slow
@pytest.mark.usefixtures("rewritten_graphs")
def test_gradients_of_weights_are_added_up_pass_by_pass():
    """Where they wait for one sum, as TensorFlow likes it, those of all passes are alive."""

    def products_in_one_sum(recompute):
        nodes = optimized_nodes(three_passes(recompute), tf.ones((B, L, CONFIG.hidden_size)))
        sums = [node.input for node in nodes if node.op == "AddN"]
        return max(sum("MatMul" in name for name in names) for names in sums)

    assert (products_in_one_sum(False), products_in_one_sum(True)) == (3, 0)
