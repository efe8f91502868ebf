"""The same examples come from TensorFlow Datasets, whatever it calls and orders the classes."""

import types

import numpy as np
import pytest

from albert_tf.pipelines import tfds_examples
from albert_tf.pipelines.input_problems import InputError
from albert_tf.pipelines.race import ChoiceQuestion
from albert_tf.pipelines.squad import GoldAnswer, Question
from albert_tf.pipelines.text_examples import TextExample

tensorflow_datasets = pytest.importorskip("tensorflow_datasets")


class Names:
    """A label's feature, with its classes in the order that TensorFlow Datasets has."""

    def __init__(self, *names):
        self._names = names

    def int2str(self, index):
        return self._names[index]


@pytest.fixture
def serve(monkeypatch):
    """Returns a function that makes the given rows what TensorFlow Datasets has."""

    def install(expected_name, expected_split, rows, features=None):
        class Builder:
            info = types.SimpleNamespace(features=features)

            def download_and_prepare(self):
                pass

            def as_dataset(self, split):
                assert split == expected_split
                return rows

        def builder(name, data_dir):
            assert (name, data_dir) == (expected_name, "folder")
            return Builder()

        monkeypatch.setattr(tensorflow_datasets, "builder", builder)
        monkeypatch.setattr(tensorflow_datasets, "as_numpy", lambda rows: rows)

    return install


def test_mnli_is_mapped_by_the_names_of_its_classes(serve):
    rows = [
        {"premise": b"A", "hypothesis": b"B", "label": np.int64(2), "idx": np.int32(7)},
        {"premise": "é".encode(), "hypothesis": b"D", "label": np.int64(0), "idx": np.int32(3)},
    ]
    features = {"label": Names("entailment", "neutral", "contradiction")}
    serve("glue/mnli", "validation_matched", rows, features)
    assert tfds_examples.read_glue("mnli", "dev_matched", "folder") == [
        TextExample("3", "é", "D", "entailment"),
        TextExample("7", "A", "B", "contradiction"),
    ]


def test_numbered_classes_keep_their_numbers_and_numbers_stay_numbers(serve):
    rows = [{"sentence": b"A", "label": np.int64(1), "idx": np.int32(0)}]
    serve("glue/cola", "train", rows, {"label": Names("unacceptable", "acceptable")})
    assert tfds_examples.read_glue("cola", "train", "folder") == [TextExample("0", "A", label="1")]
    rows = [{"sentence1": b"A", "sentence2": b"B", "label": np.float32(2.5), "idx": np.int32(0)}]
    serve("glue/stsb", "validation", rows)
    assert tfds_examples.read_glue("stsb", "dev", "folder") == [TextExample("0", "A", "B", 2.5)]


def test_test_sets_have_no_labels(serve):
    rows = [{"question": b"A", "sentence": b"B", "label": np.int64(-1), "idx": np.int32(5)}]
    serve("glue/qnli", "test", rows, {"label": Names("entailment", "not_entailment")})
    assert tfds_examples.read_glue("qnli", "test", "folder") == [TextExample("5", "A", "B")]


def test_squad_and_race(serve):
    row = {
        **{"id": b"a", "title": b"T", "context": b"A cat.", "question": b"who?"},
        "answers": {"text": np.array([b"cat"]), "answer_start": np.array([2])},
        "is_impossible": np.False_,
    }
    serve("squad/v2.0", "validation", [row])
    expected = Question("a", "who?", "A cat.", "T", (GoldAnswer("cat", 2),), False)
    assert tfds_examples.read_squad("squad2", "dev", "folder") == [expected]
    row = {
        **{"article": b"A cat.", "example_id": b"high19.txt"},
        "questions": [b"who?"],
        "options": [[b"a", b"b", b"c", b"d"]],
        "answers": [b"C"],
    }
    serve("race/high", "dev", [row])
    assert tfds_examples.read_race("dev", "high", "folder") == [
        ChoiceQuestion("high-high19-0", "A cat.", "who?", ("a", "b", "c", "d"), 2, "high")
    ]


def test_data_that_cannot_be_had_is_named(monkeypatch):
    def unreachable(name, data_dir):
        raise OSError("no route")

    monkeypatch.setattr(tensorflow_datasets, "builder", unreachable)
    with pytest.raises(InputError, match="glue/rte must be in folder or be reachable.*no route"):
        tfds_examples.read_glue("rte", "train", "folder")
