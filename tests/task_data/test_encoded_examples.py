"""Encoded examples: rows of any length, batches padded as asked."""

import numpy as np
import pytest

from albert_tf.pipelines.task_data.encoded_examples import EncodedExamples


def make_rows(lengths):
    return [
        {"input_ids": list(range(10, 10 + length)), "segment_ids": [0] * (length - 1) + [1]}
        for length in lengths
    ]


def test_batch_pads_rows_and_says_so():
    encoded = EncodedExamples.from_rows(make_rows([3, 1, 2]), {"label": np.array([7, 8, 9])})
    batch = encoded.batch(np.array([2, 0]), 4)
    np.testing.assert_array_equal(batch["input_ids"], [[10, 11, 0, 0], [10, 11, 12, 0]])
    np.testing.assert_array_equal(batch["input_mask"], [[1, 1, 0, 0], [1, 1, 1, 0]])
    np.testing.assert_array_equal(batch["segment_ids"], [[0, 1, 0, 0], [0, 0, 1, 0]])
    np.testing.assert_array_equal(batch["label"], [9, 7])
    assert all(batch[name].dtype == np.int32 for name in ("input_ids", "input_mask"))


def test_tokens_without_a_label_are_told_from_the_first_class():
    rows = [{"input_ids": [5, 6], "segment_ids": [0, 0], "token_labels": [0, -1]}]
    batch = EncodedExamples.from_rows(rows, {}).batch(np.array([0]), 3)
    np.testing.assert_array_equal(batch["token_labels"], [[0, -1, -1]])


def test_choices_of_one_example_stay_together():
    encoded = EncodedExamples.from_rows(make_rows([1, 2, 3, 4]), {"label": [0, 1]}, num_choices=2)
    assert len(encoded) == 2
    np.testing.assert_array_equal(encoded.lengths(), [2, 4])
    batch = encoded.batch(np.array([1]), 4)
    assert batch["input_ids"].shape == (1, 2, 4)
    np.testing.assert_array_equal(batch["input_mask"].sum(axis=-1), [[3, 4]])


def test_row_has_the_columns_of_its_tokens():
    encoded = EncodedExamples.from_rows(make_rows([3, 2]), {})
    assert {name: column.tolist() for name, column in encoded.row(1).items()} == {
        "input_ids": [10, 11],
        "segment_ids": [0, 1],
    }


def test_row_longer_than_the_batch_is_refused():
    encoded = EncodedExamples.from_rows(make_rows([3, 5]), {})
    with pytest.raises(ValueError, match="at least that of the longest row, 5. Received: 4"):
        encoded.batch(np.array([0, 1]), 4)


def test_no_rows_are_no_examples():
    assert len(EncodedExamples.from_rows([], {})) == 0
