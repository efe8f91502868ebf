"""Minimal pairs: scores against a plain loop, what is read of files, and the built-in pairs."""

import json

import numpy as np
import pytest
import tensorflow as tf

from albert_tf.evaluation import english_pairs, minimal_pairs
from albert_tf.evaluation.minimal_pairs import MinimalPair
from albert_tf.pipelines.task_data.input_problems import InputError

COUNTS = np.arange(340)
SENTENCES = ("The boy sees it.", "A", "Some of the words were read by many of the people here.")


def test_scores_are_those_of_a_loop_that_masks_one_piece_at_a_time(model, tokenizer, monkeypatch):
    monkeypatch.setattr(minimal_pairs, "_TOKENS_A_BATCH", 70)  # several batches
    sentences = [tokenizer.encode(text) for text in SENTENCES]
    scores = minimal_pairs.score_sentences(model, tokenizer, sentences)
    for ids, score in zip(sentences, scores, strict=True):
        expected, whole = 0.0, [tokenizer.cls_id, *ids, tokenizer.sep_id]
        for place in range(1, len(whole) - 1):
            masked = [*whole[:place], tokenizer.mask_id, *whole[place + 1 :]]
            outputs = model(
                {
                    "input_ids": np.array([masked], np.int32),
                    "masked_lm_positions": np.array([[place]], np.int32),
                }
            )
            logits = np.asarray(outputs["masked_lm_logits"], np.float64)[0, 0]
            expected += logits[whole[place]] - np.log(np.exp(logits).sum())
        assert score == pytest.approx(expected, rel=1e-5)


def test_no_batch_has_more_tokens_than_it_may(model, tokenizer, monkeypatch):
    """Not that of a short sentence beside a long one either, which all would be padded to."""
    monkeypatch.setattr(minimal_pairs, "_TOKENS_A_BATCH", 70)
    shapes = []

    def make_compute(*_):
        def compute(input_ids, lengths, positions):
            shapes.append(input_ids.shape)
            return tf.zeros(len(lengths))

        return compute

    monkeypatch.setattr(minimal_pairs, "_make_compute", make_compute)
    minimal_pairs.score_sentences(model, tokenizer, [[5, 6], [7] * 12, [8] * 25, [9] * 26])
    assert sum(rows for rows, _ in shapes) == 2 + 12 + 25 + 26
    assert max(rows * columns for rows, columns in shapes) <= 70


def test_the_likelier_sentence_is_right_and_a_tie_is_not(model, tokenizer):
    texts = ("the boy", "the girl", "the and")
    scores = minimal_pairs.score_sentences(model, tokenizer, list(map(tokenizer.encode, texts)))
    low, *_, high = (texts[index] for index in np.argsort(scores))
    same = high.upper() if tokenizer.encode(high.upper()) == tokenizer.encode(high) else high + " "
    pairs = [MinimalPair("a", high, low), MinimalPair("a", low, high), MinimalPair("b", high, same)]
    measured = minimal_pairs.measure_pairs(model, tokenizer, pairs, COUNTS)
    assert measured["a"]["accuracy"] == 0.5 and measured["a"]["example"] == [high, low]
    assert (measured["b"]["accuracy"], measured["b"]["predictions"]) == (0, 1)
    assert measured["all"]["accuracy"] == pytest.approx(1 / 3)
    assert measured["all"]["accuracy_error"] == pytest.approx(np.sqrt(1 / 3 * 2 / 3 / 3))


def test_the_baseline_knows_frequencies_alone_and_guesses_at_a_tie(model, tokenizer):
    def share(text):
        counts = COUNTS[tokenizer.encode(text)]
        return np.prod((counts + 1) / (COUNTS.sum() + len(COUNTS)))

    frequent, rare = sorted(("the boy", "the girls"), key=share, reverse=True)
    assert share(frequent) > share(rare)
    same = ("the boy", "boy the")
    for (good, bad), expected in (((frequent, rare), 1), ((rare, frequent), 0), (same, 0.5)):
        pairs = [MinimalPair("a", good, bad)]
        measured = minimal_pairs.measure_pairs(model, tokenizer, pairs, COUNTS)
        assert measured["a"]["unigram_accuracy"] == expected


def test_pairs_with_an_unknown_piece_are_counted_and_left_out(model, tokenizer):
    assert tokenizer.unk_id in tokenizer.encode("the \u4e00")
    pairs = [MinimalPair("a", "the boy", "the \u4e00"), MinimalPair("b", "the boy", "the girl")]
    measured = minimal_pairs.measure_pairs(model, tokenizer, pairs, COUNTS)
    assert measured["a"] == {"left_out": 1, "example": ["the boy", "the \u4e00"]}
    assert measured["all"]["predictions"] == 1 and measured["all"]["left_out"] == 1


def test_a_sentence_without_pieces_wins_nothing(model, tokenizer):
    pairs = [MinimalPair("a", "\u200b", "the girl"), MinimalPair("b", "the boy", "the girl")]
    measured = minimal_pairs.measure_pairs(model, tokenizer, pairs, COUNTS)
    assert measured["a"] == {"left_out": 1, "example": ["\u200b", "the girl"]}
    assert measured["all"]["predictions"] == 1


def test_pairs_longer_than_the_model_reads_are_counted_and_left_out(model, tokenizer):
    pairs = [MinimalPair("a", "the " * 600, "the girl"), MinimalPair("b", "the boy", "the girl")]
    measured = minimal_pairs.measure_pairs(model, tokenizer, pairs, COUNTS)
    assert measured["a"].keys() == {"left_out", "example"}
    assert measured["all"]["predictions"] == 1 and measured["all"]["left_out"] == 1


def test_both_forms_of_files_are_read(tmp_path):
    pair = MinimalPair("order", "A b.", "B a.")
    table, lines = tmp_path / "pairs.tsv", tmp_path / "pairs.jsonl"
    table.write_text("bad\tphenomenon\tgood\nB a.\torder\tA b.\n")
    row = {"sentence_good": "A b.", "sentence_bad": "B a.", "UID": "order", "field": "syntax"}
    lines.write_text(json.dumps(row) + "\n")
    assert minimal_pairs.read_pairs(table) == minimal_pairs.read_pairs(lines) == [pair]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.tsv", "phenomenon\tgood\n", "must have a column 'bad'"),
        ("a.tsv", "phenomenon\tgood\tbad\na\tb\tc\na\tb\n", "a.tsv, line 3: must have 3 fields"),
        ("a.tsv", "phenomenon\tgood\tbad\na\tb\t \n", "line 2: bad must hold a text"),
        ("a.tsv", "phenomenon\tgood\tbad\na\tb\tb\n", "line 2: two sentences must differ"),
        ("a.tsv", "phenomenon\tgood\tbad\nall\tb\tc\n", "line 2: phenomenon must not be 'all'"),
        ("a.jsonl", '{"UID": "a", "sentence_good": "b"}\n', "line 1: must have the keys UID"),
        (
            "a.jsonl",
            '{"UID": "a", "sentence_good": "b", "sentence_bad": 3}\n',
            "line 1: sentence_bad must hold a text. Received: 3",
        ),
        ("a.jsonl", "{\n", "a.jsonl, line 1: must be a JSON object"),
    ],
)
def test_a_bad_line_is_named(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message):
        minimal_pairs.read_pairs(tmp_path / name)


def test_built_in_pairs_differ_in_one_word_or_in_the_order_of_two():
    pairs = english_pairs.make_pairs()
    assert pairs == english_pairs.make_pairs() and len(set(pairs)) == len(pairs)
    names = [pair.phenomenon for pair in pairs]
    assert {names.count(name) for name in english_pairs.PHENOMENA} == {60}
    for pair in pairs:
        good, bad = (text.removesuffix(".").split() for text in (pair.good, pair.bad))
        differing = [
            place
            for place, pieces in enumerate(zip(good, bad, strict=True))
            if pieces[0] != pieces[1]
        ]
        if pair.phenomenon == "adjective before noun":
            assert len(differing) == 2 and sorted(good) == sorted(bad)
        else:
            assert len(differing) == 1, pair


def test_neither_form_of_a_word_is_always_the_good_one():
    """Where a rule has two forms, naming the more frequent one is right about half the time."""
    for name in (
        "agreement of subject and verb",
        "agreement across a phrase",
        "agreement across a clause",
        "determiner and noun",
        "a and an",
    ):
        pairs = [pair for pair in english_pairs.make_pairs(10_000) if pair.phenomenon == name]
        good, bad = set(), set()
        for pair in pairs:
            one, other = pair.good.rstrip(".").split(), pair.bad.rstrip(".").split()
            (place,) = [i for i in range(len(one)) if one[i] != other[i]]
            good.add(one[place])
            bad.add(other[place])
        assert good == bad, name
