"""The losses are the formulas, and add up over any grouping of batches."""

import numpy as np
import pytest
import tensorflow as tf

from albert_tf.model import losses


def make_words(slots=4):
    """Returns logits [3, P, 7], ids and weights; the last slot of each row is empty."""
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(3, slots, 7)).astype(np.float32)
    ids = generator.integers(0, 7, (3, slots)).astype(np.int32)
    weights = np.ones((3, slots), np.float32)
    weights[:, -1] = 0
    return logits, ids, weights


def cross_entropy(logits, ids):
    logits = np.float64(logits)
    log_sum = np.log(np.sum(np.exp(logits), axis=-1))
    return log_sum - np.take_along_axis(logits, ids[..., None], axis=-1)[..., 0]


def test_masked_lm_loss_is_the_weighted_cross_entropy():
    logits, ids, weights = make_words()
    total, weight = losses.cross_entropy(logits, ids, weights)
    np.testing.assert_allclose(total, np.sum(cross_entropy(logits, ids) * weights), rtol=1e-6)
    assert float(weight) == 9


def test_masked_lm_loss_ignores_zero_weight_slots():
    logits, ids, weights = make_words()
    before = (
        losses.cross_entropy(logits, ids, weights),
        losses.accuracy(logits, ids, weights),
    )
    logits[:, -1] += 100 * np.arange(7)
    ids[:, -1] = 3
    after = (
        losses.cross_entropy(logits, ids, weights),
        losses.accuracy(logits, ids, weights),
    )
    np.testing.assert_array_equal(before, after)


def test_masked_lm_loss_takes_fractional_weights():
    logits, ids, weights = make_words()
    weights = weights * 0.25
    total, weight = losses.cross_entropy(logits, ids, weights)
    np.testing.assert_allclose(total, np.sum(cross_entropy(logits, ids) * weights), rtol=1e-6)
    assert float(weight) == 2.25


def test_masked_lm_accuracy_counts_right_words():
    logits, ids, weights = make_words()
    hits = (np.argmax(logits, axis=-1) == ids) * weights
    total, weight = losses.accuracy(logits, ids, weights)
    assert (float(total), float(weight)) == (hits.sum(), 9)


def test_sums_over_parts_equal_the_sum_over_the_whole():
    logits, ids, weights = make_words()
    whole = np.array(losses.cross_entropy(logits, ids, weights))
    parts = [
        np.array(losses.cross_entropy(logits[rows], ids[rows], weights[rows]))
        for rows in (slice(0, 1), slice(1, 3))
    ]
    np.testing.assert_allclose(sum(parts), whole, rtol=1e-6)


def test_batch_without_predictions_has_no_loss_and_no_weight():
    logits, ids, weights = make_words()
    assert [float(x) for x in losses.cross_entropy(logits, ids, 0 * weights)] == [0, 0]


def test_loss_of_huge_logits_is_finite():
    logits = np.array([[[1e4, -1e4, 0.0]]], np.float32)
    total, _ = losses.cross_entropy(logits, np.array([[1]], np.int32), np.ones((1, 1)))
    assert float(total) == 2e4


def test_sentence_order_loss_and_accuracy():
    logits = np.array([[2.0, 0.0], [0.0, 2.0], [1.0, 0.0]], np.float32)
    labels = np.array([0, 1, 1], np.int32)
    total, count = losses.cross_entropy(logits, labels)
    np.testing.assert_allclose(total, np.sum(cross_entropy(logits, labels)), rtol=1e-6)
    assert float(count) == 3
    assert [float(x) for x in losses.accuracy(logits, labels)] == [2, 3]


def test_several_labels_are_a_mean_over_labels_for_each_text():
    logits = np.array([[0.0, 2.0, -1.0], [3.0, -2.0, 0.5]], np.float32)
    labels = np.array([[1, 0, 0], [1, 1, 0]])
    of_labels = -(
        labels * np.log(1 / (1 + np.exp(-logits))) + (1 - labels) * np.log(1 / (1 + np.exp(logits)))
    )
    right = (logits > 0) == labels
    of_texts, by_label = np.array([2.0, 0.5]), np.array([[1.0, 0.0, 2.0], [0.5, 1.0, 1.0]])
    for weights, expected in (
        (None, np.ones((2, 3))),
        (of_texts, np.tile(of_texts[:, None], 3)),
        (by_label, by_label),
    ):
        total, weight = losses.labels_cross_entropy(logits, labels, weights)
        np.testing.assert_allclose(total, (expected * of_labels).mean(axis=1).sum(), rtol=1e-5)
        np.testing.assert_allclose(weight, expected.mean(axis=1).sum(), rtol=1e-6)
        total, weight = losses.labels_accuracy(logits, labels, weights)
        np.testing.assert_allclose(total, (expected * right).mean(axis=1).sum(), rtol=1e-6)
        np.testing.assert_allclose(weight, expected.mean(axis=1).sum(), rtol=1e-6)


@pytest.mark.parametrize("num_texts", [2, 3])
def test_in_batch_ranking_and_its_gradient_are_those_of_the_closed_form(num_texts):
    generator = np.random.default_rng(num_texts)
    vectors = generator.normal(size=(4, num_texts, 5))
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    weights, temperature = np.array([1.0, 0.5, 0.0, 2.0]), 0.2
    firsts = vectors[:, 0]
    candidates = np.concatenate([vectors[:, i] for i in range(1, num_texts)])
    scores = firsts @ candidates.T / temperature
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    expected = -np.sum(weights * np.log(probabilities[np.arange(4), np.arange(4)]))
    slopes = weights[:, None] * (probabilities - np.eye(4, len(candidates))) / temperature
    of_candidates = (slopes.T @ firsts).reshape(num_texts - 1, 4, 5).transpose(1, 0, 2)
    gradient = np.concatenate([(slopes @ candidates)[:, None], of_candidates], axis=1)

    tensor = tf.constant(vectors, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(tensor)
        total, weight = losses.in_batch_ranking(
            tensor, temperature, tf.constant(weights, tf.float32)
        )
    np.testing.assert_allclose([total, weight], [expected, 3.5], rtol=1e-5)
    np.testing.assert_allclose(tape.gradient(total, tensor), gradient, atol=1e-5)


def test_copies_of_its_own_second_text_are_not_told_from_it():
    vectors = np.random.default_rng(3).normal(size=(3, 3, 5))
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    same = np.zeros((3, 6), bool)
    same[0, [0, 1]] = same[1, [0, 1]] = True  # the seconds of two rows
    same[2, [2, 4]] = True  # a third text
    scores = vectors[:, 0] @ np.concatenate([vectors[:, 1], vectors[:, 2]]).T / 0.2
    weights = np.exp(scores)
    expected = 0.0
    for row, left_out in enumerate([1, 0, 4]):
        kept = np.delete(weights[row], left_out)
        expected -= np.log(weights[row, row] / kept.sum())
    tensor = tf.constant(vectors, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(tensor)
        total, weight = losses.in_batch_ranking(tensor, 0.2, None, tf.constant(same))
    np.testing.assert_allclose([total, weight], [expected, 3], rtol=1e-5)
    assert np.isfinite(tape.gradient(total, tensor)).all()
