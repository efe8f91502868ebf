"""Several examples in a row: that they are as they are alone, and how little padding is left."""

import numpy as np
import pytest
from test_fresh_examples import MASKING_RULES, PAIR_RULES, PIECES, make_shard

from albert_tf.pipelines.examples import packed_examples
from albert_tf.pipelines.examples.example_streams import Mixture, make_phases
from albert_tf.pipelines.examples.fresh_examples import FreshExamples
from albert_tf.pipelines.examples.packed_examples import PackedExamples

# Documents that end long before a sequence does.
SHARDS = [make_shard(0, 200, longest_sentence=4), make_shard(1, 100, longest_sentence=2)]


def make_fresh(seed=3, shards=SHARDS):
    return FreshExamples(shards, PAIR_RULES, MASKING_RULES, PIECES, seed)


@pytest.fixture(scope="module")
def fresh():
    return make_fresh()


@pytest.fixture(scope="module")
def packed(fresh):
    return PackedExamples(fresh)


def unpack(batch):
    """Returns the examples of rows, in no order: a sorted list of (ids, segments, masks, label)."""
    examples = []
    for row, numbers in enumerate(batch["example_numbers"]):
        slots = batch["masked_lm_weights"][row] > 0
        positions = batch["masked_lm_positions"][row][slots]
        for number in range(1, numbers.max() + 1):
            (places,) = np.nonzero(numbers == number)
            begin, end = places[0], places[-1] + 1
            assert end - begin == len(places)
            assert batch["cls_positions"][row, number - 1] == begin
            of_example = (begin <= positions) & (positions < end)
            examples.append(
                (
                    batch["input_ids"][row, begin:end].tolist(),
                    batch["segment_ids"][row, begin:end].tolist(),
                    (positions[of_example] - begin).tolist(),
                    batch["masked_lm_ids"][row][slots][of_example].tolist(),
                    int(batch["sentence_order_label"][row, number - 1]),
                )
            )
    return sorted(examples)


def alone(batch):
    """Returns examples that have a row each in the form of `unpack`."""
    rows = np.arange(len(batch["input_ids"]))
    return unpack(
        {
            **batch,
            "example_numbers": batch["input_mask"],
            "cls_positions": np.zeros((len(rows), 1), int),
            "sentence_order_label": batch["sentence_order_label"][:, None],
        }
    )


def test_a_pass_of_rows_holds_the_examples_of_a_pass_as_they_are_alone(fresh, packed):
    rows = packed.batch(np.arange(packed.num_examples))
    assert unpack(rows) == alone(fresh.batch(np.arange(fresh.num_examples)))
    np.testing.assert_array_equal(rows["input_mask"], rows["example_numbers"] > 0)
    np.testing.assert_array_equal(
        rows["sentence_order_weights"].sum(axis=1), rows["example_numbers"].max(axis=1)
    )
    is_padding = rows["input_mask"] == 0
    assert (rows["input_ids"][is_padding] == PIECES.pad_id).all()


def test_little_padding_is_left_of_short_documents(fresh, packed):
    mask = packed.batch(np.arange(packed.num_examples))["input_mask"]
    assert packed.padding_share == pytest.approx(1 - mask.mean())
    assert fresh.padding_share > 0.3
    assert packed.padding_share < 0.05
    assert packed.examples_a_row > 1.4


def test_rows_of_later_passes_hold_almost_all_examples_of_theirs(fresh, packed):
    numbers = np.arange(packed.num_examples)
    rows = unpack(packed.batch(5 * packed.num_examples + numbers))
    expected = alone(fresh.batch(5 * fresh.num_examples + np.arange(fresh.num_examples)))
    shared = {str(one) for one in rows} & {str(one) for one in expected}
    assert len(shared) > 0.97 * len(expected)
    assert {str(one) for one in rows} <= {str(one) for one in expected}


def test_the_nth_row_is_the_same_in_any_batch_and_process(packed):
    size = packed.num_examples
    numbers = np.array([7, size - 1, 0, size, 3 * size + 5, 12])
    batch = packed.batch(numbers)
    other = PackedExamples(make_fresh())
    for rows in ([5], [4], [1, 3, 5]):
        for name, values in other.batch(numbers[rows]).items():
            np.testing.assert_array_equal(batch[name][rows], values, err_msg=name)


def test_seeds_share_no_order_of_rows(packed):
    numbers = np.arange(32)
    other = PackedExamples(make_fresh(seed=4)).batch(numbers)
    assert (packed.batch(numbers)["input_ids"] != other["input_ids"]).any(axis=1).all()


def test_rows_come_in_no_order_of_their_fullness(packed):
    counts = packed.batch(np.arange(packed.num_examples))["sentence_order_weights"].sum(axis=1)
    first, second = np.array_split(counts, 2)
    error = np.sqrt(first.var() / len(first) + second.var() / len(second))
    assert abs(first.mean() - second.mean()) < 4 * error


def test_a_higher_masked_share_that_was_planned_for_fits(fresh):
    rows = PackedExamples(fresh, highest_masked_lm_prob=0.3)
    size = rows.num_examples
    hidden = rows.batch(np.arange(size), np.full(size, 0.3))["masked_lm_weights"].sum(axis=1)
    assert MASKING_RULES.max_predictions_per_seq - 2 < hidden.max()
    with pytest.raises(ValueError, match="the predictions of a row must be at most 10"):
        PackedExamples(fresh).batch(np.arange(size), np.full(size, 0.3))


def test_packed_corpora_are_mixed_and_change_their_masks_on_the_way(packed):
    mixture = Mixture([packed, PackedExamples(make_fresh(shards=SHARDS[1:]))], [3, 1])
    (phase,) = make_phases([mixture], 40, masked_lm_probs=(0.15, 0.02))
    batch = phase.batch(np.arange(40))
    first = packed.batch(np.array([0]))["input_ids"][0]
    np.testing.assert_array_equal(batch["input_ids"][0], first)
    hidden = batch["masked_lm_weights"].sum(axis=1)
    assert hidden[-10:].mean() < 0.5 * hidden[:10].mean()
    expected = (3 * packed.padding_share + 1 * mixture._streams[1].padding_share) / 4
    assert mixture.padding_share == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(6))
def test_a_plan_places_every_length_once_within_all_limits(seed):
    rng = np.random.default_rng(seed)
    length, max_slots, max_examples = 40, 6, 3
    counts = np.concatenate(
        [[0] * 5, rng.integers(0, 9, length - 4) * (rng.random(length - 4) < 0.7)]
    )
    slots = np.clip(np.rint(np.arange(length + 1) * 0.15), 1, max_slots).astype(int)
    held = np.zeros(length + 1, int)
    for pattern, count in packed_examples.plan_patterns(counts, slots, max_slots, max_examples):
        assert count > 0
        assert sum(pattern) <= length
        assert len(pattern) <= max_examples
        assert sum(slots[one] for one in pattern) <= max_slots
        np.add.at(held, list(pattern), count)
    np.testing.assert_array_equal(held, counts)


def test_a_plan_fills_the_row_that_a_length_fills_best():
    counts = np.zeros(11, int)
    counts[[7, 5, 3, 2]] = [1, 1, 1, 2]
    plan = packed_examples.plan_patterns(counts, np.ones(11, int), 9, 4)
    assert sorted(plan) == [((5, 2, 2), 1), ((7, 3), 1)]


def test_a_row_of_the_shortest_sequences_has_room_for_two():
    assert packed_examples.count_places(8) == 2
    assert packed_examples.count_places(512) == 32
