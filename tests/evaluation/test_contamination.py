"""Texts in the training text: against a plain search, at every border."""

import json

import numpy as np
import pytest

from albert_tf.evaluation import contamination
from albert_tf.pipelines.examples.token_files import TokenShard


def shard(ids):
    return TokenShard(np.array(ids, np.uint16), np.array([len(ids)]), np.array([1]))


def search(examples, shards, window):
    """Returns what `find_seen` should, by comparing all windows as tuples."""
    stored = {
        tuple(one.ids[start : start + window].tolist())
        for one in shards
        for start in range(len(one.ids) - window + 1)
    }
    windows = [
        [
            tuple(text[start : start + window])
            for text in texts
            for start in range(len(text) - window + 1)
        ]
        for texts in examples
    ]
    return [bool(stored & set(one)) for one in windows], [bool(one) for one in windows]


@pytest.mark.parametrize(("window", "ids"), [(2, 20), (3, 7), (5, 3)])
@pytest.mark.parametrize("at_once", [1, 7, 1 << 22])
def test_windows_are_found_as_a_plain_search_finds_them(monkeypatch, window, ids, at_once):
    monkeypatch.setattr(contamination, "_TOKENS_AT_ONCE", at_once)
    rng = np.random.default_rng(window)
    shards = [shard(rng.integers(0, ids, size)) for size in (40, 1, 33)]
    examples = [
        [rng.integers(0, ids, size).tolist() for size in rng.integers(0, 9, rng.integers(1, 3))]
        for _ in range(200)
    ]
    seen, has_window = contamination.find_seen(
        [[np.array(text, int) for text in texts] for texts in examples], shards, window, ids, -1
    )
    expected_seen, expected_window = search(examples, shards, window)
    assert seen.tolist() == expected_seen and has_window.tolist() == expected_window
    assert 0 < sum(expected_seen) < sum(expected_window) < 200


def test_two_windows_of_the_same_hash_are_told_apart(monkeypatch):
    real = contamination._hash_windows
    monkeypatch.setattr(contamination, "_hash_windows", lambda *a: np.zeros_like(real(*a)))
    seen, _ = contamination.find_seen([[np.arange(3)]], [shard([2, 1, 0, 4, 3])], 3, 5, -1)
    assert seen.tolist() == [False]
    seen, _ = contamination.find_seen([[np.arange(3)]], [shard([4, 0, 1, 2, 3])], 3, 5, -1)
    assert seen.tolist() == [True]


def test_without_a_text_of_the_length_nothing_is_seen():
    seen, has_window = contamination.find_seen([[np.arange(2)], []], [shard(range(5))], 3, 5, -1)
    assert not seen.any() and not has_window.any()


def test_words_that_the_vocabulary_lacks_tell_nothing():
    examples = [[np.array(ids)] for ids in ([1, 1, 1, 1], [2, 3, 4, 1], [2, 1, 4], [1, 2, 3, 4])]
    stored = [shard([1, 1, 1, 1, 1]), shard([2, 1, 4, 2, 3, 4])]
    seen, has_window = contamination.find_seen(examples, stored, 3, 5, unknown_id=1)
    assert seen.tolist() == [False, True, False, True]
    assert has_window.tolist() == [False, True, False, True]
    seen, has_window = contamination.find_seen(examples[:1], stored, 3, 5, unknown_id=1)
    assert not seen.any() and not has_window.any()


def test_each_paragraph_of_a_squad_file_is_an_example(tmp_path, tokenizer):
    paragraphs = [{"context": f"c{n}", "qas": [{"question": "q", "id": "x"}]} for n in range(3)]
    articles = [{"title": "t", "paragraphs": paragraphs}] * 2
    (tmp_path / "dev.json").write_text(json.dumps({"version": "1.1", "data": articles}))
    examples = contamination.encode_texts(tmp_path / "dev.json", tokenizer, print)
    assert [len(texts) for texts in examples] == [3] * 6


def test_lines_and_rows_are_texts(tmp_path, tokenizer):
    (tmp_path / "a.txt").write_text("The boy.\nA girl.\n")
    (tmp_path / "a.tsv").write_text("id\ttext\n7\tThe boy.\nbad row\n8\tA girl.\n")
    lines, expected = [], [tokenizer.encode("The boy."), tokenizer.encode("A girl.")]
    texts = contamination.encode_texts(tmp_path / "a.txt", tokenizer, lines.append)
    assert [[ids.tolist() for ids in one] for one in texts] == [[ids] for ids in expected]
    assert lines == []
    rows = contamination.encode_texts(tmp_path / "a.tsv", tokenizer, lines.append)
    assert [one[1].tolist() for one in rows] == expected
    assert "skipped 1 malformed rows" in lines[0] and "line 3" in lines[0]
    nested = {"id": 1, "options": ["The boy.", {"more": "A girl."}], "answer": None}
    (tmp_path / "a.jsonl").write_text(json.dumps(nested) + "\n")
    (texts,) = contamination.encode_texts(tmp_path / "a.jsonl", tokenizer, lines.append)
    assert [ids.tolist() for ids in texts] == expected
    (tmp_path / "empty.txt").write_text("")
    assert contamination.encode_texts(tmp_path / "empty.txt", tokenizer, lines.append) == []


def test_a_file_without_a_header_loses_no_row(tmp_path, tokenizer):
    rows = ["gj04\t1\t\tThe sailors rode the breeze clear.", "gj04\t0\t*\tThe cat sat."]
    (tmp_path / "cola.tsv").write_text("\n".join(rows) + "\n")
    examples = contamination.encode_texts(tmp_path / "cola.tsv", tokenizer, print)
    assert [tokenizer.decode(texts[-1]) for texts in examples] == [
        "the sailors rode the breeze clear.",
        "the cat sat.",
    ]
