"""Text to work files and back."""

import dataclasses

import numpy as np
import pytest

from albert_tf.pipelines.building import tokenized_corpus
from albert_tf.pipelines.text import corpus, layouts


class LetterTokenizer:
    """One id a letter; characters that are not letters give no piece."""

    vocab_size = 30

    def encode_flat(self, texts):
        rows = [[ord(c) - ord("a") + 1 for c in text if c.isalpha()] for text in texts]
        splits = np.cumsum([0, *map(len, rows)])
        return np.array(sum(rows, []), np.int32), splits


@dataclasses.dataclass(frozen=True)
class LetterVocabulary:
    vocab_size: int = 30

    def load(self):
        tokenizer = LetterTokenizer()
        tokenizer.vocab_size = self.vocab_size
        return tokenizer


@pytest.mark.parametrize("vocab_size", [30, 100_000])
def test_documents_come_back_as_they_went(tmp_path, vocab_size):
    (tmp_path / "one.txt").write_text("abc\nde\n\n!!\n\nf\n?\nghi\n", encoding="utf-8")
    (tmp_path / "two.txt").write_text("abc\nde\n", encoding="utf-8")
    events = []
    for index, name in enumerate(["one.txt", "two.txt"]):
        assert not tokenized_corpus.group_is_done(str(tmp_path), index)
        tokenized_corpus.tokenize_group(
            index,
            corpus.cut_file(str(tmp_path / name)),
            {"layout": "sentences"},
            LetterVocabulary(vocab_size),
            str(tmp_path),
            "none",
            lambda *event: events.append(event),
        )
        assert tokenized_corpus.group_is_done(str(tmp_path), index)
    table, places, report = tokenized_corpus.load_table(str(tmp_path), 2)
    # The document without a piece and the sentence without one are gone.
    np.testing.assert_array_equal(table.token_counts, [5, 4, 5])
    np.testing.assert_array_equal(table.sentence_counts, [2, 2, 2])
    np.testing.assert_array_equal(table.text_bytes, [6, 7, 6])
    assert table.text_hashes[0] == table.text_hashes[2] != table.text_hashes[1]
    assert (report.files, report.documents) == (2, 4)
    assert sum(size for size, _ in events) == report.bytes_read
    assert sum(count for _, count in events) == 4

    ids, documents = tokenized_corpus.read_documents(str(tmp_path), places[[1, 2]], vocab_size)
    np.testing.assert_array_equal(ids, [6, 7, 8, 9, 1, 2, 3, 4, 5])
    assert [document.tolist() for document in documents] == [[0, 1, 4], [4, 7, 9]]


def test_no_documents_read_as_nothing(tmp_path):
    ids, documents = tokenized_corpus.read_documents(str(tmp_path), np.empty((0, 5), int), 30)
    assert len(ids) == len(documents) == 0


def test_small_files_share_a_group_and_large_ones_stand_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(tokenized_corpus, "_GROUP_BYTES", 100)
    files = []
    for number, size in enumerate([40, 40, 40, 500, 10, 10]):
        files.append(str(tmp_path / str(number)))
        (tmp_path / str(number)).write_bytes(b"x" * size)
    reading = {"layout": "auto", "encoding": "auto"}
    groups = tokenized_corpus.group_files(files, reading)
    paths = [[part.path for part in group] for group in groups]
    assert paths == [files[:2], files[2:3], files[3:4], files[4:]]


def test_skipped_input_survives_the_work_folder(tmp_path):
    (tmp_path / "bad.txt").write_bytes(bytes(range(256)) * 40)
    report = corpus.SkippedInput()
    list(corpus.read_file(str(tmp_path / "bad.txt"), report=report))
    parts = corpus.cut_file(str(tmp_path / "bad.txt"))
    arguments = (parts, {}, LetterVocabulary(), str(tmp_path), "none")
    tokenized_corpus.tokenize_group(0, *arguments, lambda *event: None)
    _, places, restored = tokenized_corpus.load_table(str(tmp_path), 1)
    assert len(places) == 0
    assert restored.to_dict() == report.to_dict()


def test_the_parts_of_a_large_file_are_groups(tmp_path, monkeypatch):
    monkeypatch.setattr(layouts, "PART_BYTES", 100)
    path = tmp_path / "lines.txt"
    path.write_text("\n\n".join(["a few words here\nand some more"] * 20))
    groups = tokenized_corpus.group_files([str(path)], {"layout": "sentences", "encoding": "auto"})
    monkeypatch.setattr(tokenized_corpus, "_GROUP_BYTES", 150)
    split = tokenized_corpus.group_files([str(path)], {"layout": "sentences", "encoding": "auto"})
    assert len(groups) == 1
    assert len(split) == len(groups[0]) > 4
