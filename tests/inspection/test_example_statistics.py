"""Statistics of examples, by hand."""

import numpy as np

from albert_tf.pipelines.inspection import example_statistics, tables
from albert_tf.pipelines.inspection.example_statistics import ExampleStatistics

MASK = 4


def make_batch():
    """Returns two examples of L = 8: 8 and 5 tokens, 3 and 1 of them to guess."""
    return {
        "input_ids": np.array([[2, MASK, 11, 12, 3, 99, 14, 3], [2, MASK, 11, 12, 3, 0, 0, 0]]),
        "input_mask": np.array([[1] * 8, [1] * 5 + [0] * 3]),
        "masked_lm_positions": np.array([[1, 2, 5], [1, 0, 0]]),
        "masked_lm_ids": np.array([[10, 11, 13], [10, 0, 0]]),
        "masked_lm_weights": np.array([[1.0, 1, 1], [1, 0, 0]]),
        "sentence_order_label": np.array([1, 0]),
    }


def test_counts_of_a_batch_by_hand():
    counts = example_statistics.count_examples(make_batch(), MASK)
    assert (counts.examples, counts.swapped, counts.tokens, counts.masked) == (2, 1, 13, 4)
    assert (counts.shown_as_mask, counts.kept) == (2, 1)  # and one shown as 99
    assert counts.lengths.tolist() == [0, 0, 0, 0, 0, 1, 0, 0, 1]
    assert counts.padding_share() == 3 / 16
    assert [counts.length_quantile(share) for share in (0, 0.5, 0.51, 1)] == [5, 5, 8, 8]
    assert not counts.runs.any()
    counts.add(example_statistics.count_examples(make_batch(), MASK))
    assert (counts.examples, counts.tokens, counts.lengths[8]) == (4, 26, 2)


def test_runs_of_masked_words_by_hand():
    #                      [CLS]  a  a' b  c  [SEP] d  e
    starts_word = np.array([[1, 1, 0, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1, 1, 1]], bool)
    is_masked = np.array([[0, 1, 1, 1, 0, 0, 0, 1], [1, 1, 1, 1, 1, 0, 0, 0]], bool)
    runs = example_statistics.count_runs(is_masked, starts_word)
    assert runs.tolist() == [0, 1, 1, 0, 1]  # e; a a' b; five words are the last
    assert not example_statistics.count_runs(is_masked & False, starts_word).any()


def test_a_run_ends_with_its_row():
    is_masked = np.array([[0, 0, 1], [1, 0, 0]], bool)
    runs = example_statistics.count_runs(is_masked, np.ones((2, 3), bool))
    assert runs.tolist() == [0, 2, 0, 0, 0]


def test_table_has_a_column_for_each_kind():
    lines = tables.format_table({"train": {"files": "12"}, "b": {"files": "3", "swapped": "50%"}})
    assert lines.splitlines() == [
        "         train    b",
        "files       12    3",
        "swapped         50%",
    ]


def test_no_examples_have_no_shares():
    empty = ExampleStatistics(lengths=np.zeros(9, np.int64))
    assert tables.describe_examples(empty) == dict.fromkeys(
        ("examples", "tokens", "masked tokens"), "0"
    )
