"""The memory that is said of a step: sums that can be made by hand."""

import dataclasses

import pytest

from albert_tf.config import AlbertConfig
from albert_tf.model.language_models import AlbertForPretraining
from albert_tf.training import step_memory
from albert_tf.training.settings import StepSettings

H, F, N, V, LAYERS = 8, 32, 2, 50, 4
CONFIG = AlbertConfig(
    vocab_size=V,
    embedding_size=4,
    hidden_size=H,
    num_hidden_layers=LAYERS,
    num_attention_heads=N,
    intermediate_size=F,
    max_position_embeddings=64,
    hidden_dropout_prob=0.0,
    attention_probs_dropout_prob=0.0,
)
B, L = 3, 16
WEIGHTS = 4 * H * H + 2 * H * F  # of a block
# What the gradient of a pass needs beside what goes into it: eight [B, L, H], two [B, L, F] and
# the probabilities.
INSIDE = B * L * (8 * H + 2 * F) + B * N * L * L
WORKING = 2 * max(B * L * F, B * N * L * L)


def activations(config=CONFIG, precision="float32", recompute=False, predictions=0):
    return step_memory.estimate_activations(
        config,
        examples=B,
        length=L,
        predictions=predictions,
        precision=precision,
        recompute=recompute,
    )


@pytest.mark.parametrize(("precision", "value_bytes"), [("float32", 4), ("bfloat16", 2)])
def test_activations_are_those_of_all_passes(precision, value_bytes):
    kept = LAYERS * (B * L * H + INSIDE)
    assert activations(precision=precision) == value_bytes * (WEIGHTS + kept + WORKING)


def test_recomputed_passes_keep_what_goes_in_and_the_inside_of_one():
    kept = LAYERS * B * L * H + INSIDE
    assert activations(recompute=True) == 4 * (WEIGHTS + kept + WORKING)


def test_the_last_pass_computes_predicted_words_alone_and_logits_count_thrice():
    predictions = L // 2
    last = (INSIDE - 2 * B * L * H) // 2  # saved of it
    kept = LAYERS * (B * L * H + INSIDE) - last
    logits = 3 * B * predictions * V
    assert logits > WORKING
    assert activations(predictions=predictions) == 4 * (WEIGHTS + kept + logits)


def test_gradients_of_weights_count_where_texts_are_short():
    """At the end of the backward pass those of all passes wait to be added up."""
    wide = dataclasses.replace(CONFIG, intermediate_size=4096)
    weights = 4 * H * H + 2 * H * 4096
    one = step_memory.estimate_activations(
        wide, examples=1, length=1, predictions=0, precision="float32", recompute=False
    )
    inside = 8 * H + 2 * 4096 + N
    assert one == 4 * (weights + LAYERS * weights + inside + 2 * 4096)


@pytest.mark.parametrize("field", ["hidden_dropout_prob", "attention_probs_dropout_prob"])
def test_dropout_keeps_its_masks(field):
    masks = 2 * B * L * H if field == "hidden_dropout_prob" else B * N * L * L * 5
    config = dataclasses.replace(CONFIG, **{field: 0.1})
    assert activations(config) == activations() + LAYERS * masks


def test_a_step_is_of_the_examples_that_pass_at_a_time():
    model = AlbertForPretraining(CONFIG)
    numbers = model.count_params()

    def estimate(parts=1, rows=1, **settings):
        settings = StepSettings(batch_size=12, **settings)
        return step_memory.estimate_step(model, settings, parts, rows=rows, length=L)

    whole, in_pieces = estimate(), estimate(parts=2, accumulation_steps=2)
    assert (whole.parameters, whole.optimizer, whole.gradients) == (
        4 * numbers,
        8 * numbers,
        4 * numbers,
    )
    assert in_pieces.activations == activations() > 16 * numbers
    assert in_pieces.gradients == 8 * numbers
    assert estimate(parts=2, accumulation_steps=2, rows=4).activations == whole.activations
    assert estimate(recompute="blocks").total < whole.total


def test_where_texts_are_short_the_optimizer_needs_most():
    model = AlbertForPretraining(CONFIG)
    memory = step_memory.estimate_step(model, StepSettings(batch_size=1), 1, length=1)
    assert memory.activations == 16 * model.count_params()


def test_the_line_says_the_sum_and_its_parts():
    memory = step_memory.StepMemory(
        parameters=int(0.05e9), optimizer=int(0.1e9), gradients=int(0.05e9), activations=int(5.1e9)
    )
    assert memory.describe() == (
        "a step needs about 5.3 GB on a device, beside TensorFlow itself: parameters 0.05, "
        "optimizer 0.10, gradients 0.05, activations 5.10"
    )
