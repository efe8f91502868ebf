"""The sample of sentences: uniform, in order, the same for any processes (sentence_sample.py)."""

import itertools
import pathlib

import numpy as np
import pytest

from albert_tf.pipelines.building import sentence_sample, tokenized_corpus
from albert_tf.pipelines.text import corpus

READING = {"layout": "sentences", "text_field": "text", "encoding": "auto"}


@pytest.fixture(autouse=True)
def a_group_for_each_file(monkeypatch):
    monkeypatch.setattr(tokenized_corpus, "_GROUP_BYTES", 1)


def write_files(folder, num_files, num_sentences):
    """Writes numbered sentences; returns the files and the sentences in order."""
    numbers = iter(range(num_files * num_sentences))
    files, sentences = [], []
    for number in range(num_files):
        lines = [f"Sentence {n}." for n in itertools.islice(numbers, num_sentences)]
        path = folder / f"{number:03d}.txt"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        files.append(str(path))
        sentences += lines
    return files, sentences


def draw(files, max_sentences, seed=1, num_workers=1, looks=None):
    """Returns the sample in the order of the text, and what was counted."""
    with sentence_sample.SentenceSample(max_sentences) as sample:
        sample.read(files, READING, 1000, seed, num_workers, lambda counts: None)
        sentences = list(sample.sentences())[::-1]
        assert len(sentences) == sample.size
        if looks is not None:
            looks.extend(pathlib.Path(sample._folder.name).glob("sentences-*"))
            looks[:] = [path.read_text().count("\n") for path in sorted(looks)]
    return sentences, sample


def test_a_text_that_fits_is_its_own_sample(tmp_path):
    files, sentences = write_files(tmp_path, 3, 20)
    for max_sentences in (60, 1000):
        sample, counted = draw(files, max_sentences)
        assert sample == sentences
    assert counted.counts == sentence_sample.TextCounts(3, 60, sum(map(len, sentences)) + 60)


def test_any_number_of_processes_draws_the_same(tmp_path):
    files, sentences = write_files(tmp_path, 8, 50)
    sample, counted = draw(files, 90)
    again, recounted = draw(files, 90, num_workers=2)
    assert again == sample
    assert recounted.counts == counted.counts
    assert recounted.report.to_dict() == counted.report.to_dict()
    positions = [sentences.index(sentence) for sentence in sample]
    assert positions == sorted(set(positions)) and len(positions) == 90
    assert draw(files, 90, seed=2)[0] != sample


def test_every_sentence_is_as_likely(tmp_path):
    files, sentences = write_files(tmp_path, 4, 10)
    (tmp_path / "000.txt").write_text("\n".join(sentences[:3]))  # groups of different sizes
    del sentences[3:10]
    drawn = np.zeros(len(sentences))
    for seed in range(120):
        for sentence in draw(files, 11, seed)[0]:
            drawn[sentences.index(sentence)] += 1
    share = 11 / len(sentences)
    assert np.all(np.abs(drawn - 120 * share) < 4.5 * np.sqrt(120 * share * (1 - share)))


def test_a_look_at_the_bound_saves_disk_and_changes_nothing(tmp_path, monkeypatch):
    files, _ = write_files(tmp_path, 2, 2000)
    for name in files:  # a document is what is between two looks
        path = pathlib.Path(name)
        path.write_text(path.read_text().replace("\n", "\n\n"))
    expected, without = draw(files, 100, looks=(kept := []))
    monkeypatch.setattr(sentence_sample, "_SENTENCES_BETWEEN_LOOKS", 200)
    sample, with_looks = draw(files, 100, looks=(kept_by_looks := []))
    assert sample == expected
    assert with_looks.counts == without.counts
    assert kept[0] == 2000 and kept_by_looks[0] < 500
    assert kept[1] < 200 and kept_by_looks[1] < 200


def test_what_is_left_out_is_that_of_the_reading(tmp_path):
    files, _ = write_files(tmp_path, 2, 5)
    pathlib.Path(files[0]).write_bytes(b"")
    with open(files[1], "ab") as file:
        file.write(b"b\xffd bytes.\n")
    report = corpus.SkippedInput()
    list(corpus.read_documents(files, report, **READING))
    assert report.counts
    assert draw(files, 100)[1].report.to_dict() == report.to_dict()
    with pytest.raises(ValueError, match="without one usable sentence"):
        draw(files[:1], 100)
