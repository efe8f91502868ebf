"""Masking: by hand, as properties, as statistics, and against the sequential rule in Python."""

import dataclasses

import numpy as np
import pytest

from albert_tf.pipelines.examples.masking import MaskingRules, PieceTable, mask_batch

VOCAB_SIZE = 500
SPECIAL = [0, 1, 2, 3, 4]
LENGTH = 128


def make_pieces(seed=0, share_of_starts=0.7):
    word_start = np.random.default_rng(seed).random(VOCAB_SIZE) < share_of_starts
    word_start[:5] = [True, True, False, False, False]
    return PieceTable(word_start, pad_id=0, unk_id=1, cls_id=2, sep_id=3, mask_id=4)


PIECES = make_pieces()


def make_batch(num_rows, seed=0, length=LENGTH, shortest=20, lowest_id=5):
    """Returns packed sequences of random ids and random segment lengths."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(lowest_id, VOCAB_SIZE, (num_rows, length)).astype(np.int32)
    total = rng.integers(shortest, length + 1, (num_rows, 1))
    first_sep = 2 + (rng.random((num_rows, 1)) * (total - 4)).astype(int)
    place = np.arange(length)[None, :]
    mask = place < total
    ids[:, 0] = 2
    ids[(place == first_sep) | (place == total - 1)] = 3
    ids[~mask] = 0
    return {
        "input_ids": ids,
        "input_mask": mask.astype(np.int32),
        "segment_ids": (mask & (place > first_sep)).astype(np.int32),
        "sentence_order_label": np.zeros(num_rows, np.int32),
    }


def rules_of(**changes):
    return MaskingRules(**{"max_predictions_per_seq": 20, **changes})


def mask(batch, rules, pieces=PIECES, seed=0):
    return mask_batch(batch, rules, pieces, np.random.default_rng(seed))


def masked_places(masked):
    """Returns bool [B, L]: places in use by prediction slots."""
    found = np.zeros(masked["input_ids"].shape, bool)
    rows, slots = np.nonzero(masked["masked_lm_weights"])
    found[rows, masked["masked_lm_positions"][rows, slots]] = True
    return found


def group_words(ids, is_start, across_separator):
    """The original's rule for candidate words, in Python: lists of positions."""
    words, after_separator = [], False
    for position, piece in enumerate(ids):
        if piece in (2, 3):
            after_separator = not across_separator
            continue
        if piece == 0:
            break
        if words and not is_start[piece] and not after_separator:
            words[-1].append(position)
        else:
            words.append([position])
        after_separator = False
    return words


def mask_sequentially(words, num_to_predict, probabilities, rng):
    """The original's rule for choosing n-grams, in Python: (positions, n-gram sizes)."""
    covered, sizes = set(), []
    for start in rng.permutation(len(words)):
        if len(covered) >= num_to_predict:
            break
        size = rng.choice(len(probabilities), p=probabilities) + 1
        while size > 1 and len(covered) + len(sum(words[start : start + size], [])) > (
            num_to_predict
        ):
            size -= 1
        chosen = words[start : start + size]
        positions = set(sum(chosen, []))
        if len(covered) + len(positions) > num_to_predict or positions & covered:
            continue
        covered |= positions
        sizes.append(len(chosen))
    return covered, sizes


@pytest.mark.parametrize("whole_word_mask", [True, False])
@pytest.mark.parametrize("original_compatible", [True, False])
@pytest.mark.parametrize("ngram", [1, 3])
def test_masking_keeps_its_promises_on_any_batch(ngram, original_compatible, whole_word_mask):
    batch = make_batch(300, seed=ngram)
    rules = rules_of(
        ngram=ngram, original_compatible=original_compatible, whole_word_mask=whole_word_mask
    )
    masked, ngrams = mask(batch, rules)
    places = masked_places(masked)
    counts = places.sum(axis=1)
    wanted = [min(20, max(1, round(n * 0.15))) for n in batch["input_mask"].sum(axis=1).tolist()]
    assert (counts <= wanted).all() and (counts >= 1).all()
    assert counts.sum() > 0.97 * sum(wanted)
    # Nothing changes outside the slots, and no slot is on a special piece or on padding.
    np.testing.assert_array_equal(masked["input_ids"][~places], batch["input_ids"][~places])
    assert not np.isin(batch["input_ids"][places], [0, 2, 3]).any()
    # Slots are filled from the front, positions ascend, and the rest is zero.
    weights, positions = masked["masked_lm_weights"], masked["masked_lm_positions"]
    np.testing.assert_array_equal(weights, np.arange(20) < counts[:, None])
    assert (np.diff(positions, axis=1)[weights[:, 1:] > 0] > 0).all()
    assert not positions[weights == 0].any() and not masked["masked_lm_ids"][weights == 0].any()
    # The label is the piece that stood there before.
    rows, slots = np.nonzero(weights)
    np.testing.assert_array_equal(
        masked["masked_lm_ids"][rows, slots], batch["input_ids"][rows, positions[rows, slots]]
    )
    assert ngrams[0] == 0 and ngrams[1:].all() and len(ngrams) == ngram + 1
    assert batch["sentence_order_label"] is masked["sentence_order_label"]


@pytest.mark.parametrize("original_compatible", [True, False])
def test_words_are_masked_whole(original_compatible):
    batch = make_batch(300)
    masked, ngrams = mask(batch, rules_of(original_compatible=original_compatible))
    places = masked_places(masked)
    whole_words = 0
    for row in range(300):
        for word in group_words(batch["input_ids"][row], PIECES.word_start, original_compatible):
            assert len({bool(places[row, position]) for position in word}) == 1
            whole_words += places[row, word[0]]
    assert whole_words == (ngrams * np.arange(4)).sum()


def test_words_cross_the_separator_only_in_original_mode():
    # "A a [SEP] a A": the piece after [SEP] continues a word, if anything does.
    starts = np.zeros(10, bool)
    starts[5] = True
    pieces = PieceTable(starts, 0, 1, 2, 3, 4)
    batch = {
        "input_ids": np.array([[2, 5, 6, 3, 6, 5, 3, 0]], np.int32),
        "input_mask": np.array([[1] * 7 + [0]], np.int32),
        "segment_ids": np.array([[0, 0, 0, 0, 1, 1, 1, 0]], np.int32),
    }
    for original, expected in ((False, {(1, 2), (4,), (5,)}), (True, {(1, 2, 4), (5,)})):
        rules = rules_of(ngram=1, masked_lm_prob=0.4, original_compatible=original)
        seen = set()
        for seed in range(100):
            masked, _ = mask(batch, rules, pieces, seed)
            places = np.flatnonzero(masked_places(masked)[0]).tolist()
            remaining = set(places)
            for word in expected:
                if set(word) <= remaining:
                    seen.add(word)
                    remaining -= set(word)
            assert not remaining
        assert seen == expected


def test_ngrams_stay_within_a_segment_unless_original():
    def share_across(original_compatible):
        pieces = dataclasses.replace(PIECES, word_start=np.ones(VOCAB_SIZE, bool))
        batch = make_batch(4000, length=16, shortest=16)
        rules = rules_of(ngram=3, masked_lm_prob=0.12, original_compatible=original_compatible)
        masked, _ = mask(batch, rules, pieces)  # two tokens a row: one pair, or two singles
        places = masked_places(masked)
        separator = (batch["input_ids"] == 3)[:, 1:-1]
        return (separator & places[:, :-2] & places[:, 2:]).mean()

    # Without n-grams across [SEP] two single words end up around it now and then, by chance.
    assert share_across(True) > 2 * share_across(False)


def test_ngram_lengths_follow_one_over_n():
    batch = make_batch(3000, length=512, shortest=500)
    # The last n-gram of a sequence is shortened to what fits, which favours one word a little.
    _, ngrams = mask(batch, rules_of(max_predictions_per_seq=77))
    np.testing.assert_allclose(ngrams[1:] / ngrams.sum(), [6 / 11, 3 / 11, 2 / 11], atol=0.02)
    _, ngrams = mask(batch, rules_of(max_predictions_per_seq=77, favor_shorter_ngram=False))
    np.testing.assert_allclose(ngrams[1:] / ngrams.sum(), [2 / 11, 3 / 11, 6 / 11], atol=0.05)


def test_original_mode_has_the_statistics_of_the_sequential_rule():
    batch = make_batch(1500, length=64, shortest=40)
    rules = rules_of(original_compatible=True)
    masked, ngrams = mask(batch, rules)
    places = masked_places(masked)
    rng = np.random.default_rng(1)
    oracle_sizes, oracle_places = [], np.zeros_like(places)
    for row in range(1500):
        words = group_words(batch["input_ids"][row], PIECES.word_start, across_separator=True)
        wanted = min(20, max(1, round(int(batch["input_mask"][row].sum()) * 0.15)))
        positions, sizes = mask_sequentially(words, wanted, rules.ngram_probabilities(), rng)
        oracle_places[row, list(positions)] = True
        oracle_sizes += sizes
    expected = np.bincount(oracle_sizes, minlength=4)
    np.testing.assert_allclose(ngrams[1:] / ngrams.sum(), expected[1:] / expected.sum(), atol=0.02)
    assert abs(places.sum() / oracle_places.sum() - 1) < 0.01
    # Runs of masked places, and how the masks lie over the sequence.
    run_starts = [(p[:, 1:] & ~p[:, :-1]).sum() for p in (places, oracle_places)]
    assert abs(run_starts[0] / run_starts[1] - 1) < 0.03
    np.testing.assert_allclose(places.mean(axis=0), oracle_places.mean(axis=0), atol=0.045)


def test_every_word_is_as_likely_to_be_masked():
    pieces = dataclasses.replace(PIECES, word_start=np.ones(VOCAB_SIZE, bool))
    batch = make_batch(20_000, length=32, shortest=32)
    masked, _ = mask(batch, rules_of(ngram=1), pieces)
    candidates = ~np.isin(batch["input_ids"], [0, 2, 3])
    share = masked_places(masked).sum(axis=0)[1:-1] / candidates.sum(axis=0)[1:-1]
    np.testing.assert_allclose(share, share.mean(), atol=0.012)


def test_eighty_ten_ten_is_decided_for_each_token():
    batch = make_batch(3000)
    masked, _ = mask(batch, rules_of())
    rows, slots = np.nonzero(masked["masked_lm_weights"])
    seen = masked["input_ids"][rows, masked["masked_lm_positions"][rows, slots]]
    labels = masked["masked_lm_ids"][rows, slots]
    is_mask, is_kept = seen == 4, seen == labels
    assert len(labels) > 30_000
    shares = [is_mask.mean(), is_kept.mean(), (~is_mask & ~is_kept).mean()]
    np.testing.assert_allclose(shares, [0.8, 0.1, 0.1], atol=0.006)
    # Independent of the neighbour in the slot before: n-grams are not replaced as one.
    neighbours = rows[1:] == rows[:-1]
    both = (is_mask[1:] & is_mask[:-1])[neighbours].mean()
    assert abs(both - 0.64) < 0.01


def test_random_replacement_is_ordinary_and_differs():
    batch = make_batch(2000)
    masked, _ = mask(batch, rules_of())
    rows, slots = np.nonzero(masked["masked_lm_weights"])
    seen = masked["input_ids"][rows, masked["masked_lm_positions"][rows, slots]]
    labels = masked["masked_lm_ids"][rows, slots]
    replaced = seen[(seen != 4) & (seen != labels)]
    assert not np.isin(replaced, SPECIAL).any()
    # Uniform over the ordinary pieces, first and last one included.
    counts = np.bincount(replaced, minlength=VOCAB_SIZE)[5:]
    assert counts[0] and counts[-1]
    expected = len(replaced) / 495
    assert abs(((counts - expected) ** 2 / expected).mean() - 1) < 0.25


def test_tiny_vocabulary_never_keeps_a_token_by_chance():
    pieces = PieceTable(np.ones(7, bool), 0, 1, 2, 3, 4)  # two ordinary pieces
    batch = make_batch(2000, lowest_id=5)
    ordinary = batch["input_ids"] > 4
    batch["input_ids"][ordinary] = 5 + batch["input_ids"][ordinary] % 2
    masked, _ = mask(batch, rules_of(), pieces)
    rows, slots = np.nonzero(masked["masked_lm_weights"])
    seen = masked["input_ids"][rows, masked["masked_lm_positions"][rows, slots]]
    kept = (seen == masked["masked_lm_ids"][rows, slots]).mean()
    assert abs(kept - 0.1) < 0.01


def test_original_mode_draws_from_the_whole_vocabulary():
    pieces = PieceTable(np.ones(8, bool), 0, 1, 2, 3, 4)
    batch = make_batch(3000)
    batch["input_ids"][batch["input_ids"] > 4] = 7
    masked, _ = mask(batch, rules_of(original_compatible=True), pieces)
    rows, slots = np.nonzero(masked["masked_lm_weights"])
    seen = masked["input_ids"][rows, masked["masked_lm_positions"][rows, slots]]
    shares = np.bincount(seen, minlength=8) / len(seen)
    expected = np.full(8, 0.1 / 8)
    expected[4] += 0.8
    expected[7] += 0.1
    np.testing.assert_allclose(shares, expected, atol=0.006)


def test_unknown_pieces_are_no_targets_unless_original():
    batch = make_batch(200, lowest_id=0)
    inner = batch["input_ids"] == 4
    batch["input_ids"][inner] = 1
    for original, expected in ((False, False), (True, True)):
        masked, _ = mask(batch, rules_of(original_compatible=original))
        in_use = masked["masked_lm_weights"] > 0
        assert (masked["masked_lm_ids"][in_use] == 1).any() == expected


def test_single_token_masking_masks_every_share_of_tokens_exactly():
    batch = make_batch(300)
    masked, ngrams = mask(batch, rules_of(ngram=1, whole_word_mask=False))
    lengths = batch["input_mask"].sum(axis=1).tolist()
    expected = [min(20, max(1, round(length * 0.15))) for length in lengths]
    np.testing.assert_array_equal(masked["masked_lm_weights"].sum(axis=1), expected)
    assert ngrams[1] == sum(expected)


def test_half_tokens_round_to_even_as_in_the_original():
    batch = make_batch(2, length=40, shortest=40)
    for share, expected in ((0.0625, 2), (0.0875, 4)):  # 2.5 and 3.5 tokens
        rules = rules_of(ngram=1, whole_word_mask=False, masked_lm_prob=share)
        masked, _ = mask(batch, rules)
        np.testing.assert_array_equal(masked["masked_lm_weights"].sum(axis=1), expected)


def test_word_longer_than_the_budget_is_left_alone():
    starts = np.zeros(VOCAB_SIZE, bool)  # all of A is one word, all of B another
    pieces = PieceTable(starts, 0, 1, 2, 3, 4)
    masked, ngrams = mask(make_batch(50, shortest=100), rules_of(max_predictions_per_seq=1), pieces)
    assert masked["masked_lm_weights"].sum() == ngrams.sum()


def test_token_boundary_marks_word_starts_and_special_pieces():
    batch = make_batch(20)
    masked, _ = mask(batch, rules_of())
    ids, in_use = batch["input_ids"], batch["input_mask"] == 1
    expected = in_use & (PIECES.word_start[ids] | np.isin(ids, [2, 3]))
    np.testing.assert_array_equal(masked["token_boundary"], expected)


def test_the_input_is_left_as_it_was_and_the_generator_decides():
    batch = make_batch(20)
    before = batch["input_ids"].copy()
    first, _ = mask(batch, rules_of(), seed=3)
    again, _ = mask(batch, rules_of(), seed=3)
    other, _ = mask(batch, rules_of(), seed=4)
    np.testing.assert_array_equal(batch["input_ids"], before)
    for name in first:
        np.testing.assert_array_equal(first[name], again[name])
    assert (first["masked_lm_positions"] != other["masked_lm_positions"]).any()


def test_empty_batch_is_no_special_case():
    batch = {name: array[:0] for name, array in make_batch(1).items()}
    masked, ngrams = mask(batch, rules_of())
    assert masked["masked_lm_ids"].shape == (0, 20)
    assert ngrams.sum() == 0
