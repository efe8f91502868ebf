"""Windows of texts and pairs: they cover all of it, and what fits is encoded as ever."""

import numpy as np
import pytest
from random_texts import random_texts

from albert_tf.pipelines.task_data.text_examples import TextExample, encode_texts


def windows_of(ids, room):
    """Returns the parts of a list: each begins half the room behind the one before."""
    parts, start = [ids[:room]], 0
    while start + room < len(ids):
        start += max(room // 2, 1)
        parts.append(ids[start : start + room])
    return parts


def expected_rows(tokenizer, example, longest):
    """Returns [(ids, segments)] of one text or pair, in plain Python."""
    cls, sep = [tokenizer.cls_id], [tokenizer.sep_id]
    ids_a = tokenizer.encode(example.text_a)
    if example.text_b is None:
        rows = [[cls + part + sep, []] for part in windows_of(ids_a, longest - 2)]
    else:
        ids_b, room = tokenizer.encode(example.text_b), longest - 3
        kept = min(len(ids_a), len(ids_b), room // 2)
        if len(ids_a) > len(ids_b):
            pairs = [(part, ids_b[:kept]) for part in windows_of(ids_a, room - kept)]
        else:
            pairs = [(ids_a[:kept], part) for part in windows_of(ids_b, room - kept)]
        rows = [[cls + a + sep, b + sep] for a, b in pairs]
    return [(a + b, [0] * len(a) + [1] * len(b)) for a, b in rows]


@pytest.mark.parametrize("longest", [4, 9, 24, 128])
def test_windows_are_those_of_the_rule(tokenizer, longest):
    texts = ["", "cat", *random_texts(5, 20), " ".join(random_texts(6, 30))]
    others = [None, *random_texts(7, 21), " ".join(random_texts(8, 10))]
    examples = [TextExample("", *pair) for pair in zip(texts, others, strict=True)]
    encoded = encode_texts(examples, tokenizer, longest, windows="mean")
    number = 0
    for index, example in enumerate(examples):
        for ids, segments in expected_rows(tokenizer, example, longest):
            row = encoded.row(number)
            assert row["input_ids"].tolist() == ids
            assert row["segment_ids"].tolist() == segments
            assert encoded.details["text_index"][number] == index
            number += 1
    assert number == len(encoded)


def test_what_fits_is_one_window_as_if_cut(tokenizer):
    texts = random_texts(9, 12)
    for examples in (
        [TextExample("", text) for text in texts],
        [TextExample("", *pair) for pair in zip(texts, texts[::-1], strict=True)],
    ):
        whole, cut = (encode_texts(examples, tokenizer, 512, windows=w) for w in ("max", None))
        assert whole.joined_by == "max" and cut.joined_by is None
        np.testing.assert_array_equal(whole.row_splits, cut.row_splits)
        for name, column in cut.tokens.items():
            np.testing.assert_array_equal(whole.tokens[name], column)


def test_each_window_has_the_label_of_its_text(tokenizer):
    examples = [TextExample("", "cat " * 40, label="b"), TextExample("", "dog", label="a")]
    encoded = encode_texts(examples, tokenizer, 12, labels=["a", "b"], windows="mean")
    index = encoded.details["text_index"]
    assert len(index) > 4
    np.testing.assert_array_equal(encoded.values["label"], np.where(index == 0, 1, 0))
    several = [TextExample("", "cat " * 40, label=("a", "b")), TextExample("", "dog", label=())]
    encoded = encode_texts(several, tokenizer, 12, labels=["a", "b"], windows="mean")
    np.testing.assert_array_equal(
        encoded.values["label"], np.where(index[:, None] == 0, [[1, 1]], [[0, 0]])
    )
