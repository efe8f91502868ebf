"""Rows of several examples: each is scored, and weighs, as if it had a row of its own."""

import dataclasses

import keras
import numpy as np
import packed_rows
import pytest
import tensorflow as tf
from test_block import CONFIG, assert_same

from albert_tf.model import fused_ops, modeling
from albert_tf.model.block import PassChoices, chosen_passes
from albert_tf.model.language_models import AlbertForPretraining, AlbertMaskedLM, AlbertModel
from albert_tf.training.train_step import ModelObjective

CONFIG = dataclasses.replace(CONFIG, max_position_embeddings=packed_rows.LENGTH)
ALONE, PACKED = packed_rows.make_alone(), packed_rows.make_packed()
CHOICES = {
    "plain": PassChoices(),
    "recomputed": PassChoices(recompute=True),
    "in_a_loop": PassChoices(as_loop=True),
    "recomputed_in_a_loop": PassChoices(recompute=True, as_loop=True),
}


def make_model(config=CONFIG, policy="float32"):
    keras.utils.set_random_seed(0)
    return AlbertForPretraining(config, dtype=policy)


def as_tensors(batch):
    return {name: tf.constant(values) for name, values in batch.items()}


def step_on(batch, choices=CHOICES["plain"], jit_compile=False, config=CONFIG):
    """Returns the loss of a batch with {path: gradient}, and what was measured."""
    model = make_model(config)
    objective = ModelObjective(model)
    values = [variable.value for variable in model.trainable_variables]

    @tf.function(autograph=False, jit_compile=jit_compile)
    def step(batch):
        weights = objective.weights(batch)
        with tf.GradientTape() as tape, chosen_passes(choices):
            sums, metrics = objective.sums(model, batch, training=True)
            loss = sum(sums[name] / weights[name] for name in sums)
        gradients = [tf.convert_to_tensor(g) for g in tape.gradient(loss, values)]
        return loss, gradients, sums, weights, metrics

    loss, gradients, *measured = tf.nest.map_structure(np.asarray, step(as_tensors(batch)))
    paths = [variable.path for variable in model.trainable_variables]
    return (float(loss), dict(zip(paths, gradients, strict=True))), measured


@pytest.fixture(scope="module")
def expected():
    return step_on(ALONE)


def test_each_example_is_scored_as_if_alone():
    model = make_model()
    for batch in (PACKED, as_tensors(PACKED)):
        words, order = packed_rows.scores_of_examples(PACKED, model(batch))
        alone_words, alone_order = packed_rows.scores_of_examples(ALONE, model(ALONE))
        np.testing.assert_allclose(words, alone_words, atol=1e-5)
        np.testing.assert_allclose(order, alone_order, atol=1e-5)


def test_rows_of_unknown_sizes_are_scored_alike():
    model = make_model()
    batch = as_tensors(PACKED)
    specs = {
        name: tf.TensorSpec([None] * values.shape.rank, values.dtype)
        for name, values in batch.items()
    }
    scores = tf.function(lambda batch: model(batch), input_signature=[specs], autograph=False)
    expected, found = model(batch), scores(batch)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, atol=1e-5, err_msg=name)


def test_rows_without_an_order_to_learn_weigh_nothing():
    model = make_model()
    batch = {**PACKED, "sentence_order_weights": 0 * PACKED["sentence_order_weights"]}
    assert 0 < float(model.loss_weights(as_tensors(batch))["sentence_order_loss"]) < 1e-4


def test_the_loss_of_each_example_is_the_loss_alone():
    model = make_model()
    losses = {}
    for name, batch in (("alone", ALONE), ("packed", PACKED)):
        words, order = packed_rows.scores_of_examples(batch, model(batch))
        labels = batch["masked_lm_ids"][batch["masked_lm_weights"] > 0]
        order_label = ALONE["sentence_order_label"]
        losses[name] = np.concatenate(
            [
                fused_ops.cross_entropy(tf.constant(words), labels),
                fused_ops.cross_entropy(tf.constant(order), order_label),
            ]
        )
    assert len(losses["alone"]) == 16 + 8
    np.testing.assert_allclose(losses["packed"], losses["alone"], rtol=1e-5)


@pytest.mark.parametrize(
    ("choices", "is_fast"),
    [
        ("plain", False),
        *(
            pytest.param(choices, is_fast, marks=pytest.mark.slow)
            for choices in CHOICES
            for is_fast in (False, True)
            if (choices, is_fast) != ("plain", False)
        ),
    ],
)
def test_gradients_and_means_are_those_of_a_row_each(monkeypatch, expected, choices, is_fast):
    monkeypatch.setattr(fused_ops, "SMALLEST_FAST_SIZE", 0 if is_fast else 10**9)
    found, measured = step_on(PACKED, CHOICES[choices])
    assert_same(found, expected[0], 1e-5)
    for of_packed, of_alone in zip(measured, expected[1], strict=True):
        for name, values in of_alone.items():
            np.testing.assert_allclose(of_packed[name], values, rtol=1e-5, err_msg=name)


@pytest.mark.slow
def test_a_step_that_xla_compiles_gives_the_same(expected):
    assert_same(step_on(PACKED, CHOICES["in_a_loop"], jit_compile=True)[0], expected[0], 1e-5)


def test_what_is_reported_has_the_share_of_padding():
    model = make_model()
    quantities = model.measure(as_tensors(PACKED), model(PACKED))
    total, number = quantities["padding_share"]
    assert (float(total), float(number)) == (4 + 7, 4 * packed_rows.LENGTH)
    assert "padding_share" not in model.measure(as_tensors(ALONE), model(ALONE))


def test_half_precision_keeps_examples_apart():
    model = make_model(policy="mixed_bfloat16")
    changed = {**PACKED, "input_ids": PACKED["input_ids"].copy()}
    changed["input_ids"][2, :8] = 7  # the first of three examples
    one, other = (model(batch)["sentence_order_logits"][2] for batch in (PACKED, changed))
    np.testing.assert_array_equal(one[1:], other[1:])
    assert np.abs(one[0] - other[0]).max() > 0


def test_the_encoder_and_the_masked_lm_model_read_packed_rows_too():
    vectors = {}
    for name, batch in (("alone", ALONE), ("packed", PACKED)):
        keras.utils.set_random_seed(0)
        outputs = AlbertModel(CONFIG)(batch)
        keras.utils.set_random_seed(0)
        scores = AlbertMaskedLM(CONFIG)(batch)
        pooled = np.asarray(outputs["pooled_output"])
        if name == "packed":
            assert pooled.shape == (4, packed_rows.PLACES, CONFIG.hidden_size)
            pooled = pooled[PACKED["sentence_order_weights"] > 0]
        tokens = np.asarray(outputs["sequence_output"])[batch["input_mask"] > 0]
        vectors[name] = [pooled, tokens, np.asarray(scores)[batch["masked_lm_weights"] > 0]]
    for one, other in zip(vectors["packed"], vectors["alone"], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.slow
def test_fit_takes_packed_rows_and_reports_the_same():
    reports = []
    for batch in (ALONE, PACKED):
        model = make_model()
        model.compile(keras.optimizers.SGD(0.1))
        dataset = tf.data.Dataset.from_tensors(batch)
        model.fit(dataset.repeat(2), verbose=0, steps_per_epoch=2)
        reports.append(model.evaluate(dataset, verbose=0, return_dict=True))
    assert reports[0] == pytest.approx(reports[1], rel=1e-5)


def test_weights_of_rows_weigh_their_examples():
    model = make_model()
    batch = {**PACKED, "example_weight": np.array([0, 0, 2, 0], np.float32)}
    weights = model.loss_weights(as_tensors(batch))
    assert float(weights["sentence_order_loss"]) == 6
    assert float(weights["masked_lm_loss"]) == pytest.approx(2 * 5, abs=1e-4)


def test_positions_begin_anew_with_each_example():
    numbers = np.array([[1, 1, 1, 2, 2, 0], [1, 2, 2, 2, 3, 3]])
    counted = modeling.count_before(tf.constant(numbers[:, :, None] == numbers[:, None]))
    assert counted.numpy().tolist() == [[0, 1, 2, 0, 1, 0], [0, 0, 1, 2, 0, 1]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cls_positions": None}, "of a batch of AlbertForPretraining with example_numbers must"),
        ({"sentence_order_label": ALONE["sentence_order_label"][:4]}, r"label \(4,\), cls_posi"),
        ({"example_numbers": PACKED["example_numbers"][:, :9]}, "must have the shape of input_ids"),
    ],
)
def test_packed_rows_that_lack_something_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        make_model()({**PACKED, **changes})
