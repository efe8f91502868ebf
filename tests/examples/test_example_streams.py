"""Several corpora in one stream, and runs that change length and masking rate on their way."""

import numpy as np
from test_fresh_examples import MASKING_RULES, PIECES, SHARDS, make_examples

from albert_tf.pipelines.examples.example_streams import Mixture, make_phases
from albert_tf.pipelines.examples.fresh_examples import FreshExamples
from albert_tf.pipelines.examples.sentence_pairs import PairRules


class Numbers:
    """A stream whose examples say which they are."""

    max_seq_length, max_predictions_per_seq, places, examples_a_row = 8, 2, 1, 1.0
    padding_share = 0.25

    def __init__(self, name, num_examples):
        self.name, self.num_examples = name, num_examples

    def batch(self, numbers, masked_lm_probs=None):
        probs = np.zeros(len(numbers)) if masked_lm_probs is None else masked_lm_probs
        return {
            "corpus": np.full(len(numbers), self.name),
            "number": np.asarray(numbers),
            "prob": np.asarray(probs),
        }


def test_a_mixture_takes_examples_in_order_and_in_its_weights():
    mixture = Mixture([Numbers(7, 10), Numbers(8, 1000), Numbers(9, 5)], [3, 1, 2])
    batch = mixture.batch(np.arange(600))
    assert np.bincount(batch["corpus"])[7:].tolist() == [300, 100, 200]
    for name in (7, 8, 9):
        of_corpus = batch["number"][batch["corpus"] == name]
        np.testing.assert_array_equal(of_corpus, np.arange(len(of_corpus)))
    # Spread evenly: every turn of six holds them all.
    assert {tuple(np.bincount(row)[7:]) for row in batch["corpus"].reshape(-1, 6)} == {(3, 1, 2)}
    some = mixture.batch(np.array([599, 4, 77]))
    for key, values in some.items():
        np.testing.assert_array_equal(values, batch[key][[599, 4, 77]], err_msg=key)


def test_a_second_phase_goes_on_at_the_same_share_of_the_data():
    first, second = make_phases([Numbers(1, 1000), Numbers(2, 250)], 4000, last_examples=400)
    assert (first.first, first.last, second.first, second.last) == (0, 3600, 3600, None)
    assert first.batch(np.array([5, 3599]))["number"].tolist() == [5, 3599]
    # 3.6 passes are over.
    assert second.batch(np.array([3600, 3700]))["number"].tolist() == [900, 1000]


def test_the_masking_rate_changes_evenly_and_stays_at_its_end():
    (phase,) = make_phases([Numbers(1, 10)], 100, masked_lm_probs=(0.3, 0.1))
    probs = phase.batch(np.array([0, 50, 100, 900]))["prob"]
    np.testing.assert_allclose(probs, [0.3, 0.2, 0.1, 0.1])
    assert make_phases([Numbers(1, 10)], 100)[0].batch(np.array([3]))["prob"][0] == 0


def test_examples_hide_the_share_that_they_are_asked_for():
    examples = make_examples()
    numbers = np.arange(400)
    probs = np.where(numbers % 2, 0.05, 0.15)
    batch = examples.batch(numbers, probs)
    tokens = batch["input_mask"].sum(axis=1)
    hidden = batch["masked_lm_weights"].sum(axis=1)
    limit = np.clip(np.rint(tokens * probs), 1, MASKING_RULES.max_predictions_per_seq)
    assert (hidden <= limit).all()
    assert (hidden == limit).mean() > 0.95
    usual = examples.batch(numbers[numbers % 2 == 0])
    np.testing.assert_array_equal(usual["input_ids"], batch["input_ids"][::2])


def test_phases_of_real_examples_have_their_lengths():
    streams = [
        FreshExamples(SHARDS, PairRules(length), MASKING_RULES, PIECES, seed=1)
        for length in (32, 64)
    ]
    first, second = make_phases(streams, 1000, last_examples=200)
    assert first.batch(np.arange(3))["input_ids"].shape == (3, 32)
    assert second.batch(np.arange(800, 803))["input_ids"].shape == (3, 64)
