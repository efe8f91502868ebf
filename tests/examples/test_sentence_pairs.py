"""Documents to pairs: by hand, as properties, and against a token-by-token trimming."""

import collections

import numpy as np
import pytest

from albert_tf.pipelines.examples import masking, sentence_pairs
from albert_tf.pipelines.examples.sentence_pairs import PairRules, lay_out_pairs, make_pairs

PIECES = masking.PieceTable(np.ones(1000, bool), pad_id=0, unk_id=1, cls_id=2, sep_id=3, mask_id=4)


def make_documents(rng, num_documents, longest_sentence=30, most_sentences=40):
    """Returns (boundaries per document, T) with random sentence lengths."""
    documents, end = [], 0
    for _ in range(num_documents):
        lengths = rng.integers(1, longest_sentence + 1, rng.integers(1, most_sentences + 1))
        documents.append(end + np.concatenate([[0], np.cumsum(lengths)]))
        end = int(documents[-1][-1])
    return documents, end


def pair_up(documents, num_tokens, rules, seed=0, word_begins=None):
    if word_begins is None:
        word_begins = np.ones(num_tokens, bool)
    return make_pairs(documents, word_begins, rules, np.random.default_rng(seed))


def test_two_sentences_become_one_pair_in_either_order():
    rules = PairRules(max_seq_length=32, short_seq_prob=0.0)
    seen = collections.Counter()
    for seed in range(200):
        pairs, _ = pair_up([np.array([0, 5, 9])], 9, rules, seed)
        seen[tuple(pairs[0].tolist())] += 1
    assert set(seen) == {(0, 5, 5, 9, 0), (5, 9, 0, 5, 1)}
    assert 70 < seen[(0, 5, 5, 9, 0)] < 130


def test_pairs_of_a_document_cover_it_in_order_when_nothing_is_trimmed():
    documents = [np.arange(0, 401, 10)]  # sentences of 10 tokens, a chunk is exactly 50
    rules = PairRules(max_seq_length=53, short_seq_prob=0.0)
    pairs, counts = pair_up(documents, 400, rules)
    assert len(pairs) == 8
    for number, (begin_a, end_a, begin_b, end_b, label) in enumerate(pairs.tolist()):
        if label:
            begin_a, end_a, begin_b, end_b = begin_b, end_b, begin_a, end_a
        assert (begin_a, end_b) == (50 * number, 50 * number + 50)
        assert end_a == begin_b
    assert counts == sentence_pairs.PairCounts()


def test_segments_are_consecutive_and_label_one_means_swapped():
    rng = np.random.default_rng(1)
    documents, num_tokens = make_documents(rng, 50)
    rules = PairRules(max_seq_length=2000, short_seq_prob=1.0)
    pairs, _ = pair_up(documents, num_tokens, rules)
    kept, swapped = pairs[pairs[:, 4] == 0], pairs[pairs[:, 4] == 1]
    assert len(kept) and len(swapped)
    np.testing.assert_array_equal(kept[:, 1], kept[:, 2])
    np.testing.assert_array_equal(swapped[:, 3], swapped[:, 0])


def test_no_pair_crosses_a_document_or_exceeds_the_budget():
    rng = np.random.default_rng(2)
    documents, num_tokens = make_documents(rng, 200)
    ends = np.array([document[-1] for document in documents])
    pairs, _ = pair_up(documents, num_tokens, PairRules(max_seq_length=64))
    document_of = [np.searchsorted(ends, pairs[:, column], "right") for column in (0, 2)]
    last_token = [np.searchsorted(ends, pairs[:, column] - 1, "right") for column in (1, 3)]
    for found in (document_of[1], *last_token):
        np.testing.assert_array_equal(document_of[0], found)
    length_a, length_b = pairs[:, 1] - pairs[:, 0], pairs[:, 3] - pairs[:, 2]
    assert length_a.min() >= 1 and length_b.min() >= 1
    assert (length_a + length_b).max() <= 61


def test_half_of_the_pairs_are_swapped():
    documents, num_tokens = make_documents(np.random.default_rng(3), 2500)
    pairs, _ = pair_up(documents, num_tokens, PairRules(max_seq_length=64))
    assert len(pairs) > 10_000
    assert abs(pairs[:, 4].mean() - 0.5) < 4 * 0.5 / len(pairs) ** 0.5


def trim_token_by_token(length_a, length_b, budget):
    while length_a + length_b > budget:
        if length_a > length_b:
            length_a -= 1
        else:
            length_b -= 1
    return length_a, length_b


@pytest.mark.parametrize("budget", [2, 3, 9, 10])
def test_trimming_leaves_the_lengths_of_trimming_token_by_token(budget):
    sizes = [(a, b) for a in range(1, 16) for b in range(1, 16)]
    table = np.array([[0, a, 100, 100 + b, 0] for a, b in sizes], np.int64)
    trimmed = sentence_pairs.trim_pairs(table, budget, np.random.default_rng(0))
    found = np.stack([trimmed[:, 1] - trimmed[:, 0], trimmed[:, 3] - trimmed[:, 2]], axis=1)
    expected = [trim_token_by_token(a, b, budget) for a, b in sizes]
    np.testing.assert_array_equal(found, expected)
    assert (trimmed[:, [0, 2]] >= table[:, [0, 2]]).all()
    assert (trimmed[:, [1, 3]] <= table[:, [1, 3]]).all()


def test_trimmed_tokens_come_from_front_and_back_alike():
    table = np.tile(np.array([[0, 30, 100, 110, 0]], np.int64), (20_000, 1))
    trimmed = sentence_pairs.trim_pairs(table, 20, np.random.default_rng(0))
    from_front = trimmed[:, 0]  # 20 tokens go, each from the front with probability one half
    assert abs(from_front.mean() - 10) < 0.1
    assert abs(from_front.var() - 5) < 0.3


def test_short_targets_are_drawn_for_the_given_share_of_pairs():
    documents = [np.arange(0, 2_000_001, 10)]
    rules = PairRules(max_seq_length=513, short_seq_prob=0.1)
    pairs, _ = pair_up(documents, 2_000_000, rules)
    lengths = pairs[:, 1] - pairs[:, 0] + pairs[:, 3] - pairs[:, 2]
    # A short target is uniform in 2..510 and rounds up to whole sentences of 10: 1 in 51 is full.
    assert abs((lengths < 510).mean() - 0.1 * 50 / 51) < 0.015


def test_original_draws_one_target_for_a_document():
    documents = [np.arange(start, start + 4001, 10) for start in range(0, 2_000_000, 4000)]
    rules = PairRules(max_seq_length=513, short_seq_prob=0.3, original_compatible=True)
    pairs, _ = pair_up(documents, 2_000_000, rules)
    first = np.minimum(pairs[:, 0], pairs[:, 2]) // 4000
    lengths = pairs[:, 1] - pairs[:, 0] + pairs[:, 3] - pairs[:, 2]
    short_documents = 0
    for document in range(500):
        inner = lengths[(first == document) & (pairs[:, 4] == 0)]
        short_documents += len(inner) > 0 and np.median(inner) < 500
    assert 100 < short_documents < 200


def test_lone_sentence_is_split_at_a_word_in_its_middle():
    word_begins = np.zeros(40, bool)
    word_begins[[3, 12, 17, 36]] = True
    middles = set()
    for seed in range(60):
        pairs, counts = pair_up([np.array([0, 40])], 40, PairRules(64, 0.0), seed, word_begins)
        begin_a, end_a, _, _, label = pairs[0].tolist()
        middles.add(begin_a if label else end_a)
        assert counts.split_sentences == 1
    assert middles == {12, 17}


def test_lone_sentence_below_eight_tokens_is_skipped_and_counted():
    pairs, counts = pair_up([np.array([0, 7]), np.array([7, 15])], 15, PairRules(64, 0.0))
    assert len(pairs) == 1
    assert (counts.skipped_sentences, counts.split_sentences) == (1, 1)


def test_sentence_longer_than_a_sequence_is_cut_and_not_lost():
    pairs, counts = pair_up([np.array([0, 1000])], 1000, PairRules(67, 0.0))
    assert counts.cut_sentences == 1
    covered = np.zeros(1000, bool)
    for begin_a, end_a, begin_b, end_b, _ in pairs.tolist():
        covered[begin_a:end_a] = covered[begin_b:end_b] = True
    assert covered.mean() > 0.95


def test_original_pairs_a_lone_sentence_with_another_document():
    documents = [np.array([10 * i, 10 * i + 10]) for i in range(100)]
    rules = PairRules(64, 0.0, original_compatible=True)
    pairs, counts = pair_up(documents, 1000, rules)
    assert counts.random_document_pairs == 100
    np.testing.assert_array_equal(pairs[:, 4], 1)
    np.testing.assert_array_equal(pairs[:, 0], np.arange(100) * 10)
    assert (pairs[:, 0] // 10 != pairs[:, 2] // 10).all()


def test_random_segment_reaches_the_length_that_is_missing():
    documents = [np.array([0, 10]), np.arange(10, 511, 5)]
    rules = PairRules(63, 0.0, original_compatible=True)
    for seed in range(30):
        pairs, _ = pair_up(documents, 510, rules, seed)
        begin, end = pairs[0, 2:4].tolist()
        assert begin >= 10
        assert end - begin == 50 or end == 510


def test_layout_is_as_written_by_hand():
    ids = np.arange(100, 120)
    pairs = np.array([[0, 3, 10, 12, 0], [10, 12, 0, 5, 1]])
    batch = lay_out_pairs(ids, pairs, 10, PIECES)
    np.testing.assert_array_equal(
        batch["input_ids"],
        [[2, 100, 101, 102, 3, 110, 111, 3, 0, 0], [2, 110, 111, 3, 100, 101, 102, 103, 104, 3]],
    )
    np.testing.assert_array_equal(batch["input_mask"], [[1] * 8 + [0] * 2, [1] * 10])
    np.testing.assert_array_equal(
        batch["segment_ids"], [[0] * 5 + [1] * 3 + [0] * 2, [0] * 4 + [1] * 6]
    )
    np.testing.assert_array_equal(batch["sentence_order_label"], [0, 1])
    assert {array.dtype for array in batch.values()} == {np.dtype(np.int32)}


def test_places_beyond_two_billion_are_found(tmp_path):
    """In a file that is empty but for its end."""
    begin = 2**31 + 10
    ids = np.memmap(tmp_path / "ids", np.uint16, "w+", shape=(begin + 20,))
    ids[begin:] = np.arange(100, 120)
    pairs = np.array([[begin, begin + 3, begin + 10, begin + 12, 0]])
    batch = lay_out_pairs(ids, pairs, 10, PIECES)
    assert batch["input_ids"].tolist() == [[2, 100, 101, 102, 3, 110, 111, 3, 0, 0]]
    assert {array.dtype for array in batch.values()} == {np.dtype(np.int32)}


def test_same_generator_state_gives_the_same_pairs():
    documents, num_tokens = make_documents(np.random.default_rng(4), 30)
    first, _ = pair_up(documents, num_tokens, PairRules(64), seed=5)
    again, _ = pair_up(documents, num_tokens, PairRules(64), seed=5)
    other, _ = pair_up(documents, num_tokens, PairRules(64), seed=6)
    np.testing.assert_array_equal(first, again)
    assert first.shape != other.shape or (first != other).any()


def test_no_documents_give_no_pairs():
    pairs, _ = pair_up([], 0, PairRules(64))
    assert pairs.shape == (0, 5)
    assert lay_out_pairs(np.arange(5), pairs, 64, PIECES)["input_ids"].shape == (0, 64)
