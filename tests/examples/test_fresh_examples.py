"""Examples from stored tokens: what they are, that any of them stands by itself, and how often."""

import pathlib
import subprocess
import sys

import numpy as np
import pytest

from albert_tf.pipelines.examples import masking, pass_pairs, sentence_pairs, token_files
from albert_tf.pipelines.examples.fresh_examples import FreshExamples
from albert_tf.pipelines.examples.masking import MaskingRules, PieceTable
from albert_tf.pipelines.examples.sentence_pairs import PairRules

VOCAB_SIZE, LENGTH, SLOTS = 400, 64, 10
ORDER = "sentence_order_label"


def make_pieces():
    word_start = np.random.default_rng(0).random(VOCAB_SIZE) < 0.7
    word_start[:5] = [True, True, False, False, False]
    return PieceTable(word_start, pad_id=0, unk_id=1, cls_id=2, sep_id=3, mask_id=4)


PIECES = make_pieces()
PAIR_RULES = PairRules(max_seq_length=LENGTH)
MASKING_RULES = MaskingRules(max_predictions_per_seq=SLOTS)


def make_shard(seed=0, num_documents=300, longest_sentence=30):
    """Returns a shard of random ids; a few of its sentences are longer than a sequence."""
    rng = np.random.default_rng(seed)
    sentence_counts = rng.integers(1, 40, num_documents)
    lengths = rng.integers(1, longest_sentence + 1, sentence_counts.sum())
    lengths[rng.integers(0, len(lengths), 5)] = 150
    return token_files.TokenShard(
        ids=rng.integers(5, VOCAB_SIZE, lengths.sum()).astype(np.uint16),
        sentences=np.cumsum(lengths).astype(np.uint32),
        documents=np.cumsum(sentence_counts).astype(np.uint32),
    )


SHARDS = [make_shard(0), make_shard(1, 200)]


def make_examples(seed=3, shards=SHARDS, pair_rules=PAIR_RULES, overlap_prob=0.0):
    return FreshExamples(shards, pair_rules, MASKING_RULES, PIECES, seed, overlap_prob)


@pytest.fixture(scope="module")
def examples():
    return make_examples()


@pytest.fixture(scope="module")
def one_pass(examples):
    return examples.batch(np.arange(examples.num_examples))


def assert_same_rows(batch, rows, other):
    for name, values in other.items():
        np.testing.assert_array_equal(batch[name][rows], values, err_msg=name)


def test_the_nth_examples_of_several_corpora_have_draws_of_their_own():
    numbers = np.arange(600)
    first, other = (
        FreshExamples([shard], PAIR_RULES, MASKING_RULES, PIECES, 3, corpus=corpus).batch(numbers)
        for corpus, shard in enumerate(SHARDS)
    )

    def in_common(rows, of_rows):
        pairs = zip(rows["masked_lm_positions"], of_rows["masked_lm_positions"], strict=True)
        return np.mean([len(set(a) & set(b) - {0}) for a, b in pairs])

    shifted = {name: np.roll(values, 1, axis=0) for name, values in other.items()}
    assert in_common(first, other) == pytest.approx(in_common(first, shifted), abs=0.25)
    again = FreshExamples([SHARDS[1]], PAIR_RULES, MASKING_RULES, PIECES, 3).batch(numbers)
    assert in_common(first, again) > in_common(first, shifted) + 0.5  # the same draws
    with pytest.raises(ValueError, match="`seed` must be an integer from 0 on. Received: -1"):
        make_examples(seed=-1)


def rows_of_process(examples, queue):
    numbers = np.array([0, examples.num_examples, 2 * examples.num_examples])
    queue.put(examples.batch(numbers)["input_ids"])


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_other_processes_go_on_with_what_this_one_has_begun(method):
    script = f"""
import multiprocessing, sys
sys.path.insert(0, {str(pathlib.Path(__file__).parent)!r})
import numpy as np
import test_fresh_examples as here

if __name__ == "__main__":
    examples = here.make_examples()
    here.rows_of_process(examples, queue := multiprocessing.SimpleQueue())
    expected, context = queue.get(), multiprocessing.get_context({method!r})
    found = context.SimpleQueue()
    worker = context.Process(target=here.rows_of_process, args=(examples, found), daemon=True)
    worker.start()
    worker.join(60)
    print(not found.empty() and np.array_equal(found.get(), expected))
"""
    asked = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert asked.stdout == "True\n", asked.stderr


def test_the_nth_example_is_the_same_in_any_batch_and_process(examples):
    size = examples.num_examples
    numbers = np.array([7, size - 1, 0, size, 3 * size + 5, 12])
    batch = examples.batch(numbers)
    other = make_examples()
    for row in (5, 4, 1):
        assert_same_rows(batch, [row], other.batch(numbers[[row]]))
    assert_same_rows(batch, [1, 3, 5], other.batch(numbers[1::2]))


def test_passes_and_seeds_differ(examples):
    size, numbers = examples.num_examples, np.arange(64)
    first = examples.batch(numbers)["input_ids"]
    assert (first != examples.batch(size + numbers)["input_ids"]).any(axis=1).mean() > 0.95
    assert (first != make_examples(seed=4).batch(numbers)["input_ids"]).any(axis=1).mean() > 0.95


def unmask(batch):
    """Returns the ids as they were."""
    ids = batch["input_ids"].copy()
    rows, slots = np.nonzero(batch["masked_lm_weights"])
    ids[rows, batch["masked_lm_positions"][rows, slots]] = batch["masked_lm_ids"][rows, slots]
    return ids


def test_a_pass_holds_every_document_once(one_pass):
    is_text = unmask(one_pass) >= 5
    held = np.bincount(unmask(one_pass)[is_text], minlength=VOCAB_SIZE)
    stored = sum(np.bincount(shard.ids, minlength=VOCAB_SIZE) for shard in SHARDS)
    # What does not fit into a pair is trimmed, and lone short sentences are left out.
    assert 0.75 < held.sum() / stored.sum() < 1
    assert (held <= stored).all()


def test_pairs_are_neighbours_in_their_document(examples, one_pass):
    text = " ".join(map(str, np.concatenate([shard.ids for shard in SHARDS])))
    ids = unmask(one_pass)
    for row in range(40):
        first, last = np.flatnonzero(ids[row] == 3)[[0, -1]]
        segments = [ids[row][1:first], ids[row][first + 1 : last]]
        for segment in segments:
            assert f" {' '.join(map(str, segment))} " in f" {text} "
        assert one_pass["segment_ids"][row].sum() == last - first


def records_of(shards, rules, seed, times):
    """Returns examples as records hold them, by the functions that write records."""
    batches = []
    for shard in shards:
        ids, rng = np.asarray(shard.ids), np.random.default_rng(seed)
        for _ in range(times):
            pairs, _ = sentence_pairs.make_pairs(
                shard.boundaries(), PIECES.word_start[ids], rules, rng
            )
            batch = sentence_pairs.lay_out_pairs(ids, pairs, LENGTH, PIECES)
            batches.append(masking.mask_batch(batch, MASKING_RULES, PIECES, rng)[0])
    return {name: np.concatenate([one[name] for one in batches]) for name in batches[0]}


def statistics(batch):
    """Returns means that say whether examples are of one kind, and how exactly they are known."""
    in_use = batch["masked_lm_weights"] > 0
    rows, slots = np.nonzero(in_use)
    shown = batch["input_ids"][rows, batch["masked_lm_positions"][rows, slots]]
    hidden = batch["masked_lm_ids"][rows, slots]
    positions = np.where(in_use, batch["masked_lm_positions"], -9)
    is_next = (np.diff(positions, axis=1) == 1)[in_use[:, 1:]]
    lengths = batch["input_mask"].sum(axis=1)
    first = (batch["segment_ids"] == 0).sum(axis=1) - (LENGTH - lengths)
    values = {
        "swapped": batch["sentence_order_label"],
        "masked an example": in_use.sum(axis=1),
        "[MASK]": shown == 4,
        "kept": shown == hidden,
        "beside another": is_next,
        "tokens": lengths,
        "short": lengths < 40,
        "tokens of A": first,
    }
    return {name: (v.mean(), v.std() / np.sqrt(len(v))) for name, v in values.items()}


def test_they_have_the_statistics_of_records(examples):
    times = 6
    fresh = statistics(examples.batch(np.arange(times * examples.num_examples)))
    written = statistics(records_of(SHARDS, PAIR_RULES, 5, times))
    for name, (mean, error) in fresh.items():
        other_mean, other_error = written[name]
        assert abs(mean - other_mean) < 4.5 * np.hypot(error, other_error), name
    assert fresh["[MASK]"][0] == pytest.approx(0.8, abs=0.01)
    assert fresh["kept"][0] == pytest.approx(0.1, abs=0.01)
    assert fresh["swapped"][0] == pytest.approx(0.5, abs=0.02)


def test_ngrams_have_the_lengths_of_records(one_pass):
    batch, shape = {**one_pass, "input_ids": unmask(one_pass)}, one_pass["input_ids"].shape
    rng = np.random.default_rng(0)
    raw = rng.integers(0, 2**64, (shape[0], 4, LENGTH), np.uint64)
    shares = []
    for draws in (masking.NumberedDraws(raw), rng):
        _, counts = masking.mask_batch(batch, MASKING_RULES, PIECES, draws)
        shares.append(counts[1:] / counts.sum())
    # 6, 3 and 2 of 11 but for what a budget of ten tokens cuts short.
    np.testing.assert_allclose(*shares, atol=0.02)


def test_without_short_targets_chunks_are_those_of_records():
    shard, rules = SHARDS[0], PairRules(LENGTH, short_seq_prob=0.0)
    begins = PIECES.word_start[shard.ids]
    sentences = pass_pairs.cut_long_sentences(
        pass_pairs.Sentences(shard.sentence_bounds, shard.document_bounds),
        lambda begin, end: begins[begin:end],
        rules,
    )
    pairs, counts = pass_pairs.make_pairs(
        sentences, lambda begin, end: begins[begin:end], rules, np.random.default_rng(0)
    )
    expected, expected_counts = sentence_pairs.make_pairs(
        shard.boundaries(), begins, rules, np.random.default_rng(1)
    )
    assert counts == expected_counts
    assert counts.cut_sentences == 5

    def tokens(table):
        return np.sort(table[:, 1] - table[:, 0] + table[:, 3] - table[:, 2])

    np.testing.assert_array_equal(tokens(pairs), tokens(expected))


def test_later_segments_begin_within_the_earlier_ones_and_keep_their_length():
    pairs = np.array([[0, 50, 50, 90, 0], [130, 170, 100, 130, 1]] * 2000)
    moved = pass_pairs.let_overlap(pairs, 0.5, np.random.default_rng(0))
    changed = np.any(moved != pairs, axis=1)
    assert 0.46 < changed.mean() < 0.54
    np.testing.assert_array_equal(moved[:, 4], pairs[:, 4])
    lengths = np.diff(moved[:, :4].reshape(-1, 2, 2), axis=2)
    np.testing.assert_array_equal(lengths, np.diff(pairs[:, :4].reshape(-1, 2, 2), axis=2))
    in_order, swapped = moved[changed & (pairs[:, 4] == 0)], moved[changed & (pairs[:, 4] == 1)]
    np.testing.assert_array_equal(in_order[:, :2], np.tile([0, 50], (len(in_order), 1)))
    assert (in_order[:, 2].min(), in_order[:, 2].max()) == (1, 49)
    np.testing.assert_array_equal(swapped[:, 2:4], np.tile([100, 130], (len(swapped), 1)))
    assert (swapped[:, 0].min(), swapped[:, 0].max()) == (101, 129)


def test_an_earlier_segment_of_one_token_stays_alone():
    pairs = np.array([[0, 1, 1, 9, 0]] * 50)
    np.testing.assert_array_equal(
        pass_pairs.let_overlap(pairs, 0.9, np.random.default_rng(0)), pairs
    )


def test_overlapping_pairs_hold_text_twice_and_others_stay_as_they_are():
    plain, mixed = make_examples(), make_examples(overlap_prob=0.3)
    numbers = np.arange(plain.num_examples)
    batch = plain.batch(numbers)
    before, after = unmask(batch), unmask(mixed.batch(numbers))
    same = np.all(before == after, axis=1)
    assert 0.65 < same.mean() < 0.75
    for row in np.flatnonzero(~same)[:50]:
        ends = np.flatnonzero(after[row] == PIECES.sep_id)
        first, second = after[row, 1 : ends[0]], after[row, ends[0] + 1 : ends[1]]
        earlier, later = (first, second) if batch[ORDER][row] == 0 else (second, first)
        assert any(
            np.array_equal(earlier[place:][: len(later)], later[: len(earlier) - place])
            for place in range(len(earlier))
        )


def test_places_beyond_two_thousand_million_tokens_are_exact(monkeypatch):
    examples = make_examples()
    expected = examples.batch(np.arange(8))
    far = make_examples()
    far._starts = far._starts + 3_000_000_000
    far.pairs_of_pass(0, is_ending=False)[:, :4] += 3_000_000_000
    assert_same_rows(far.batch(np.arange(8)), slice(None), expected)


def test_documents_that_give_no_pair_are_refused():
    lone = token_files.TokenShard(
        np.array([5, 6, 7], np.uint16), np.array([3], np.uint32), np.array([1], np.uint32)
    )
    with pytest.raises(ValueError, match="documents of several sentences"):
        make_examples(shards=[lone])


def test_a_pass_without_a_pair_takes_those_of_the_first():
    few = token_files.TokenShard(
        np.arange(5, 9, dtype=np.uint16), np.array([2, 4], np.uint32), np.array([2], np.uint32)
    )
    examples = make_examples(shards=[few])
    assert examples.batch(np.arange(3000))["input_ids"].shape == (3000, LENGTH)
