"""Texts and pairs packed and cut as the original does."""

import numpy as np
import pytest

from albert_tf.pipelines.task_data import text_examples
from albert_tf.pipelines.task_data.text_examples import TextExample


def test_text_and_pair_are_packed_with_their_segments(tokenizer):
    cls_id, sep_id = tokenizer.cls_id, tokenizer.sep_id
    first, second = tokenizer.encode("the cat"), tokenizer.encode("a dog")
    examples = [TextExample("0", "the cat", label="x"), TextExample("1", "the cat", label="y")]
    encoded = text_examples.encode_texts(examples, tokenizer, 64, ["y", "x"])
    assert encoded.row(0)["input_ids"].tolist() == [cls_id, *first, sep_id]
    assert not encoded.row(0)["segment_ids"].any()
    assert encoded.values["label"].tolist() == [1, 0]
    pair = text_examples.encode_texts([TextExample("0", "the cat", "a dog")], tokenizer, 64)
    assert pair.row(0)["input_ids"].tolist() == [cls_id, *first, sep_id, *second, sep_id]
    assert pair.row(0)["segment_ids"].tolist() == [0] * (len(first) + 2) + [1] * (len(second) + 1)
    assert pair.values == {}


def test_texts_and_pairs_may_be_mixed(tokenizer):
    pairs = [("the cat", None), ("a dog", "the cat"), ("a dog", ""), ("the cat", None)]
    examples = [TextExample(str(number), *pair) for number, pair in enumerate(pairs)]
    encoded = text_examples.encode_texts(examples, tokenizer, 64)
    for row, example in enumerate(examples):
        alone = text_examples.encode_texts([example], tokenizer, 64)
        for name, column in encoded.row(row).items():
            assert column.tolist() == alone.row(0)[name].tolist()


def test_no_texts_give_no_rows(tokenizer):
    encoded = text_examples.encode_texts([], tokenizer, 16)
    assert len(encoded) == 0 and encoded.values == {}
    assert encoded.tokens["input_ids"].dtype == np.int32


def test_long_text_is_cut_at_its_end(tokenizer):
    text = "the cat sat on the mat and the dog sat on the cat"
    row = text_examples.encode_texts([TextExample("0", text)], tokenizer, 7).row(0)
    expected = [tokenizer.cls_id, *tokenizer.encode(text)[:5], tokenizer.sep_id]
    assert row["input_ids"].tolist() == expected


def test_numbers_become_float_labels(tokenizer):
    examples = [TextExample("0", "the cat", label=2.5), TextExample("1", "a dog", label=-1.0)]
    labels = text_examples.encode_texts(examples, tokenizer, 16).values["label"]
    assert labels.dtype == np.float32 and labels.tolist() == [2.5, -1.0]


def test_special_pieces_in_a_text_are_text(tokenizer):
    row = text_examples.encode_texts([TextExample("0", "the [SEP] cat")], tokenizer, 32).row(0)
    assert row["input_ids"].tolist().count(tokenizer.sep_id) == 1


def test_unknown_label_is_named(tokenizer):
    with pytest.raises(ValueError, match="example 7 must be one of a, b. Received: 'c'"):
        text_examples.encode_texts(
            [TextExample("7", "the cat", label="c")], tokenizer, 16, ["a", "b"]
        )


def test_length_without_room_is_refused(tokenizer):
    with pytest.raises(ValueError, match="at least 4. Received: 3"):
        text_examples.encode_texts([TextExample("0", "the cat")], tokenizer, 3)


def test_several_labels_are_a_row_of_zeros_and_ones(tokenizer):
    texts = [TextExample("a", "x", label=("c", "a")), TextExample("b", "y", label=())]
    encoded = text_examples.encode_texts(texts, tokenizer, 8, labels=["a", "b", "c"])
    assert encoded.values["label"].tolist() == [[1, 0, 1], [0, 0, 0]]
    assert encoded.batch(np.array([1, 0]), 8)["label"].tolist() == [[0, 0, 0], [1, 0, 1]]
    with pytest.raises(ValueError, match="label of example a must be one of a, b. Received: 'c'"):
        text_examples.encode_texts(texts, tokenizer, 8, labels=["a", "b"])
