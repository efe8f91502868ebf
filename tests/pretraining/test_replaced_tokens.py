"""Telling replaced tokens: the draws, the second text, the loss, and what is left on disk."""

import keras
import numpy as np
import pytest
from samples import tiny_config

from albert_tf.checkpoints import published_configs
from albert_tf.checkpoints.safetensors_files import read_safetensors
from albert_tf.model import layers, losses
from albert_tf.model.language_models import AlbertForPretraining
from albert_tf.pretraining import replaced_tokens
from albert_tf.pretraining.replaced_tokens import AlbertForReplacedTokens

TINY = tiny_config()
B, L, P = 4, 10, 3


def make_batch():
    generator = np.random.default_rng(0)
    batch = {
        "input_ids": generator.integers(5, TINY.vocab_size, (B, L)),
        "input_mask": np.ones((B, L)),
        "segment_ids": np.zeros((B, L)),
        "masked_lm_positions": np.tile([2, 5, 0], (B, 1)),
        "masked_lm_ids": generator.integers(5, TINY.vocab_size, (B, P)),
        "sentence_order_label": np.arange(B) % 2,
    }
    batch["input_mask"][1, 7:] = 0
    batch = {name: value.astype(np.int32) for name, value in batch.items()}
    return {**batch, "masked_lm_weights": np.tile(np.float32([1, 1, 0]), (B, 1))}


def test_words_are_drawn_as_often_as_the_softmax_says():
    draws = 40_000
    logits = np.float32([3.0, 0.0, -30.0, 2.0, 1.0])
    numbers = np.random.default_rng(0).random((1, draws), np.float32)
    drawn = replaced_tokens.draw_words(np.tile(logits, (1, draws, 1)), numbers)
    shares = np.bincount(np.asarray(drawn)[0], minlength=5) / draws
    expected = np.exp(logits) / np.exp(logits).sum()
    deviation = np.sqrt(expected * (1 - expected) / draws)
    assert (np.abs(shares - expected) <= 4 * deviation + 1e-9).all(), shares


@pytest.mark.parametrize(
    ("number", "word"), [(0.0, 1), (np.nextafter(np.float32(1), np.float32(0)), 3)]
)
def test_the_ends_of_the_range_draw_words_that_may_be(number, word):
    logits = np.float32([[[-200.0, 0.0, 0.0, 0.0]]])
    assert replaced_tokens.draw_words(logits, np.float32([[number]])) == word


def test_drawn_words_stand_where_words_were_hidden_and_nowhere_else():
    batch = make_batch()
    drawn = batch["masked_lm_ids"].copy()
    drawn[0, 0] += 1
    drawn[:, 2] += 1  # of an empty slot
    ids, replaced = replaced_tokens.replace_hidden_words(batch, drawn)
    expected, is_other = batch["input_ids"].copy(), np.zeros((B, L), int)
    expected[:, [2, 5]] = drawn[:, :2]
    is_other[0, 2] = 1
    np.testing.assert_array_equal(ids, expected)
    np.testing.assert_array_equal(replaced, is_other)


def test_losses_are_those_of_the_second_text():
    """The outputs again, by the encoder and NumPy, of the ids that the model says it made."""
    batch, model = make_batch(), AlbertForReplacedTokens(TINY)
    outputs = model(batch)
    drawn = replaced_tokens.draw_words(
        outputs["masked_lm_logits"], keras.random.uniform((B, P), seed=0)
    )
    ids, replaced = replaced_tokens.replace_hidden_words(batch, drawn)
    np.testing.assert_array_equal(outputs["replaced_tokens"], replaced)
    encoded = model.encoder(ids, batch["input_mask"], batch["segment_ids"])
    head = model.replaced_token_head.classifier
    logits = (np.asarray(encoded["sequence_output"]) @ np.asarray(head.kernel))[:, :, 0]
    logits += np.asarray(head.bias)
    np.testing.assert_allclose(outputs["replaced_token_logits"], logits, atol=1e-5)
    order = model.sentence_order_head(encoded["pooled_output"])
    np.testing.assert_allclose(outputs["sentence_order_logits"], order, atol=1e-5)

    is_token, replaced = batch["input_mask"] > 0, np.asarray(replaced)
    right = 1 / (1 + np.exp(np.where(replaced, -logits, logits)))
    measured = model.measure(batch, outputs)
    loss, weight = map(float, measured["replaced_token_loss"])
    assert weight == is_token.sum() == float(model.loss_weights(batch)["replaced_token_loss"])
    assert loss == pytest.approx(-np.log(right)[is_token].sum(), rel=1e-5)
    found, count = map(float, measured["replaced_token_recall"])
    assert (found, count) == ((logits > 0)[replaced > 0].sum(), replaced.sum())


def test_words_are_scored_as_without_a_second_reading():
    batch, model = make_batch(), AlbertForReplacedTokens(TINY)
    plain = AlbertForPretraining(TINY)
    paths = plain.weights_by_path()
    for path, weight in model.weights_by_path().items():
        if path in paths:
            paths[path].assign(weight)
    expected = plain(batch)
    np.testing.assert_array_equal(model(batch)["masked_lm_logits"], expected["masked_lm_logits"])
    unlabelled = {name: batch[name] for name in ("input_ids", "masked_lm_positions")}
    assert set(model(unlabelled)) == set(expected)


def test_training_draws_anew_and_evaluation_always_the_same():
    batch, model = make_batch(), AlbertForReplacedTokens(TINY, seed=1)

    def drawn(training):
        return np.asarray(model._draw_numbers((B, P), training))

    np.testing.assert_array_equal(drawn(False), drawn(False))
    assert not np.array_equal(drawn(True), drawn(True))
    again = AlbertForReplacedTokens.from_config(model.get_config())
    first = AlbertForReplacedTokens(TINY, seed=1)
    np.testing.assert_array_equal(
        again._draw_numbers((B, P), True), first._draw_numbers((B, P), True)
    )
    with layers.dropout_seed(np.int32([3, 4])):
        of_step = drawn(True)
    with layers.dropout_seed(np.int32([3, 4])):
        np.testing.assert_array_equal(drawn(True), of_step)
    assert model(batch)["replaced_tokens"].shape == (B, L)


def test_a_model_that_knows_the_words_replaces_none():
    logits = np.full((1, 1, TINY.vocab_size), -100, np.float32)
    logits[0, 0, 7] = 100
    assert (np.asarray(replaced_tokens.draw_words(logits, np.float32([[0.999]]))) == 7).all()


def test_what_is_saved_is_an_albert_with_a_head_of_ours_beside_it(tmp_path):
    model = AlbertForReplacedTokens(TINY)
    model.save_pretrained(tmp_path / "model")
    own = read_safetensors(tmp_path / "model" / published_configs.OWN_WEIGHTS_FILE)
    assert set(own) == {f"replaced_token_head/classifier/{leaf}" for leaf in ("kernel", "bias")}
    published = read_safetensors(tmp_path / "model" / "model.safetensors")
    assert not any("replaced" in name for name in published)
    again = AlbertForReplacedTokens.from_pretrained(tmp_path / "model")
    batch = make_batch()
    for name, value in again(batch).items():
        np.testing.assert_array_equal(value, model(batch)[name], err_msg=name)
    plain = AlbertForPretraining.from_pretrained(tmp_path / "model")
    np.testing.assert_array_equal(
        plain(batch)["masked_lm_logits"], model(batch)["masked_lm_logits"]
    )


def test_examples_count_by_their_weights():
    batch, model = make_batch(), AlbertForReplacedTokens(TINY)
    outputs = model(batch)
    kept = {name: value[:2] for name, value in batch.items()}
    of_two = losses.binary_cross_entropy(
        outputs["replaced_token_logits"][:2],
        outputs["replaced_tokens"][:2],
        kept["input_mask"],
    )
    weighted = {**batch, "example_weight": np.float32([1, 1, 0, 0])}
    measured = model.measure(weighted, outputs)["replaced_token_loss"]
    np.testing.assert_allclose(measured, of_two, rtol=1e-6)
