"""The cache gives back what was encoded, and nothing that was encoded otherwise."""

import dataclasses
import pathlib

import numpy as np
import pytest
from samples import VOCABULARY

from albert_tf.pipelines.task_data import feature_cache, text_examples
from albert_tf.pipelines.task_data.text_examples import TextExample
from albert_tf.pipelines.tokenizer.tokenization import Tokenizer

EXAMPLES = [
    TextExample("0", "the cat", label="a"),
    TextExample("1", "the dog", label="a"),
]
calls = []


def encode(examples, tokenizer, max_seq_length, labels=("a", "b")):
    calls.append(len(examples))
    encoded = text_examples.encode_texts(examples, tokenizer, max_seq_length, labels)
    return dataclasses.replace(encoded, details={"extra": np.arange(3)})


def columns(encoded):
    return {
        (kind, name): value.tolist()
        for kind in ("tokens", "values", "details")
        for name, value in getattr(encoded, kind).items()
    }


def cached(folder, tokenizer, examples=EXAMPLES, **arguments):
    before = len(calls)
    arguments = {"max_seq_length": 8, **arguments}
    encoded = feature_cache.encode_cached(folder, encode, examples, tokenizer, **arguments)
    return encoded, len(calls) > before


def test_second_call_reads_what_the_first_wrote(tmp_path, tokenizer):
    first, was_encoded = cached(tmp_path, tokenizer)
    assert was_encoded
    second, was_encoded = cached(tmp_path, tokenizer)
    assert not was_encoded
    assert columns(first) == columns(second)
    assert first.row_splits.tolist() == second.row_splits.tolist()
    assert first.num_choices == second.num_choices


def test_anything_that_changes_the_features_changes_the_key(tmp_path, tokenizer):
    cached(tmp_path, tokenizer)
    other_vocabulary = Tokenizer(VOCABULARY, lower_case=None)
    other_vocabulary.__dict__["fingerprint"] = "another"
    others = [
        {"max_seq_length": 7},
        {"labels": ["b", "a"]},
        {"examples": [dataclasses.replace(EXAMPLES[0], text_a="the hat"), EXAMPLES[1]]},
        {"examples": EXAMPLES[::-1]},
        {"tokenizer": other_vocabulary},
    ]
    for change in others:
        _, was_encoded = cached(tmp_path, **{"tokenizer": tokenizer, **change})
        assert was_encoded, change


def test_changed_source_changes_the_key(tmp_path, tokenizer, monkeypatch):
    cached(tmp_path, tokenizer)
    read_bytes = pathlib.Path.read_bytes

    def changed(path):
        return read_bytes(path) + (b"#" if path.name == "text_examples.py" else b"")

    monkeypatch.setattr(pathlib.Path, "read_bytes", changed)
    _, was_encoded = cached(tmp_path, tokenizer)
    assert was_encoded


@pytest.mark.parametrize("flipped", [None, 9, -1])  # one bit of the header, one of the numbers
def test_damaged_file_is_made_anew(tmp_path, tokenizer, flipped):
    first, _ = cached(tmp_path, tokenizer)
    (path,) = tmp_path.iterdir()
    content = bytearray(path.read_bytes())
    if flipped is None:
        del content[50:]
    else:
        content[flipped] ^= 1
    path.write_bytes(content)
    again, was_encoded = cached(tmp_path, tokenizer)
    assert was_encoded
    assert columns(first) == columns(again)
    assert not cached(tmp_path, tokenizer)[1]


def test_no_folder_is_no_cache(tokenizer):
    assert cached(None, tokenizer)[1]
    assert cached(None, tokenizer)[1]
