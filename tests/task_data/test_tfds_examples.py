"""The same examples come from TensorFlow Datasets, whatever it calls and orders the classes."""

import types

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets
from tensorflow_datasets.core.example_parser import ExampleParser
from tensorflow_datasets.core.example_serializer import ExampleSerializer

from albert_tf.pipelines.task_data import glue, tfds_examples
from albert_tf.pipelines.task_data.input_problems import InputError
from albert_tf.pipelines.task_data.race import ChoiceQuestion
from albert_tf.pipelines.task_data.squad import GoldAnswer, Question
from albert_tf.pipelines.task_data.text_examples import TextExample


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


@pytest.fixture
def store():
    """Yields {data set: rows}, which TensorFlow Datasets serves through its true features."""
    rows_of = {}

    def as_dataset(builder, split, **_):
        features = builder.info.features
        stored = features.get_serialized_info()
        serializer, parser = ExampleSerializer(stored), ExampleParser(stored)
        rows = rows_of[builder.name, builder.builder_config.name, split]
        encoded = [serializer.serialize_example(features.encode_example(row)) for row in rows]
        parsed = tf.data.Dataset.from_tensor_slices(encoded).map(parser.parse_example)
        return parsed.map(features.decode_example)

    with tensorflow_datasets.testing.mock_data(as_dataset_fn=as_dataset):
        yield rows_of


def test_race_has_the_names_and_the_order_of_the_files(store):
    row = {
        **{"article": "A cat.", "example_id": "high19.txt", "questions": ["who?", "a _"]},
        "options": [["a", "b", "c", "d"], ["é", "f", "g", "h"]],
        "answers": ["C", "A"],
    }
    short = {"questions": ["x"], "options": [["1", "2", "3", "4"]], "answers": ["D"]}
    store["race", "high", "dev"] = [row, {**row, **short, "example_id": "high7.txt"}]
    assert tfds_examples.read_race("dev", "high") == [
        ChoiceQuestion("high-7-0", "A cat.", "x", ("1", "2", "3", "4"), 3, "high"),
        ChoiceQuestion("high-19-0", "A cat.", "who?", ("a", "b", "c", "d"), 2, "high"),
        ChoiceQuestion("high-19-1", "A cat.", "a _", ("é", "f", "g", "h"), 0, "high"),
    ]


def test_squad_questions_have_all_their_answers_or_none(store):
    row = {"id": "b", "title": "T", "context": "Ä cat.", "question": "who?"}
    answers = {"text": ["cat", "Ä cat"], "answer_start": [2, 0]}
    nothing = {"text": [], "answer_start": []}
    gold = (GoldAnswer("cat", 2), GoldAnswer("Ä cat", 0))
    store["squad", "v1.1", "train"] = [{**row, "answers": answers}]
    assert tfds_examples.read_squad("squad1", "train") == [
        Question("b", "who?", "Ä cat.", "T", gold, False)
    ]
    store["squad", "v2.0", "validation"] = [
        {**row, "answers": answers, "is_impossible": False, "plausible_answers": nothing},
        {
            **{**row, "id": "a", "answers": nothing},
            **{"is_impossible": True, "plausible_answers": answers},
        },
    ]
    assert tfds_examples.read_squad("squad2", "dev") == [
        Question("a", "who?", "Ä cat.", "T", (), True),
        Question("b", "who?", "Ä cat.", "T", gold, False),
    ]
    with pytest.raises(InputError, match="split must be train or dev.*Received: 'test'"):
        tfds_examples.read_squad("squad2", "test")


@pytest.mark.parametrize("task", glue.TASKS)
def test_every_task_is_known_to_tensorflow_datasets_with_our_classes(store, task):
    features = tensorflow_datasets.builder(f"glue/{task}").info.features
    texts = [name for name in features if name not in ("idx", "label")]
    row = {name: name for name in texts} | {"idx": 3}
    labels = glue.TASKS[task].labels
    classes = range(len(labels)) if labels else [2.5]
    for kind, splits in glue.splits_of(task).items():
        for split in splits:
            stored = split.replace("dev", "validation")
            values = [-1] if kind == "test" else classes
            store["glue", task, stored] = [{**row, "label": value} for value in values]
            examples = tfds_examples.read_glue(task, split)
            assert {(e.text_a, e.text_b) for e in examples} == {(*texts, None)[:2]}
            expected = {None} if kind == "test" else set(labels or [2.5])
            assert {example.label for example in examples} == expected


def test_data_that_cannot_be_had_is_named(monkeypatch):
    def unreachable(name, data_dir):
        raise OSError("no route")

    monkeypatch.setattr(tensorflow_datasets, "builder", unreachable)
    with pytest.raises(InputError, match="glue/rte must be in folder or be reachable.*no route"):
        tfds_examples.read_glue("rte", "train", "folder")
