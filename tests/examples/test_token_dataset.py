"""Stored tokens in tf.data and without TensorFlow: the batches of records, from any example on."""

import subprocess
import sys

import numpy as np
import pytest
from samples import TESTDATA, VOCABULARY

from albert_tf.pipelines.building import build
from albert_tf.pipelines.building.example_options import BuildOptions
from albert_tf.pipelines.examples import packed_examples, records
from albert_tf.pipelines.examples.example_settings import ExampleSettings
from albert_tf.pipelines.examples.fresh_examples import FreshExamples
from albert_tf.pipelines.examples.pretraining_dataset import pretraining_dataset
from albert_tf.pipelines.examples.token_files import TokenFolder

LENGTH, SLOTS = 32, 5


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("tokens")
    build.build_examples(
        BuildOptions(
            input=(str(TESTDATA / "corpus" / "*book*.txt"),),
            vocab_model=str(VOCABULARY),
            output_dir=str(path),
            format="tokens",
            num_workers=1,
        )
    )
    return path


def dataset(folder, batch_size=6, **arguments):
    return pretraining_dataset(folder, batch_size, LENGTH, SLOTS, **arguments)


def test_batches_have_the_form_of_records(folder):
    batches = dataset(folder)
    assert batches.cardinality() < 0  # without end
    expected = records.input_specification(LENGTH, SLOTS, 6)
    assert {name: (spec.shape, spec.dtype) for name, spec in batches.element_spec.items()} == {
        name: (spec.shape, spec.dtype) for name, spec in expected.items()
    }


def test_a_run_starts_at_any_example_and_workers_make_their_share(folder):
    whole = list(dataset(folder).take(4).as_numpy_iterator())
    (last,) = dataset(folder, start_example=18).take(1).as_numpy_iterator()
    rows = np.array([1, 3, 5])
    (part,) = dataset(folder, start_example=18, rows=rows).take(1).as_numpy_iterator()
    for name, values in whole[3].items():
        np.testing.assert_array_equal(last[name], values, err_msg=name)
        np.testing.assert_array_equal(part[name], values[rows], err_msg=name)


def test_packed_batches_start_anywhere_and_workers_make_their_share(folder):
    whole = list(dataset(folder, pack=True).take(3).as_numpy_iterator())
    expected = records.input_specification(LENGTH, SLOTS, 6, packed_examples.count_places(LENGTH))
    assert {name: (v.shape, v.dtype) for name, v in whole[0].items()} == {
        name: (tuple(spec.shape), spec.dtype.as_numpy_dtype) for name, spec in expected.items()
    }
    rows = np.array([1, 3, 5])
    batches = dataset(folder, pack=True, start_example=12, rows=rows)
    (part,) = batches.take(1).as_numpy_iterator()
    for name, values in whole[2].items():
        np.testing.assert_array_equal(part[name], values[rows], err_msg=name)


def test_examples_are_what_the_settings_say(folder):
    (batch,) = dataset(folder, 64, examples=ExampleSettings(masked_lm_prob=0.05)).take(1)
    (usual,) = dataset(folder, 64).take(1)
    assert batch["masked_lm_weights"].numpy().sum() < 0.6 * usual["masked_lm_weights"].numpy().sum()


def test_segments_overlap_as_often_as_asked(folder):
    def repeated_share(overlap_prob):
        (batch,) = dataset(folder, 64, overlap_prob=overlap_prob).take(1).as_numpy_iterator()
        ids, segments = batch["input_ids"], batch["segment_ids"]
        first = [set(row[kind == 0]) for row, kind in zip(ids, segments, strict=True)]
        second = [set(row[kind == 1]) for row, kind in zip(ids, segments, strict=True)]
        return np.mean([len(a & b) / len(b) for a, b in zip(first, second, strict=True)])

    assert repeated_share(0.9) > repeated_share(0.0) + 0.1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"overlap_prob": 1.5}, "`overlap_prob` must"),
        ({"repeat": False}, "`shuffle` and `repeat` must be true with stored tokens"),
        ({"shuffle": False}, "`shuffle` and `repeat` must be true with stored tokens"),
        ({"start_example": -1}, "start_example must not be negative"),
    ],
)
def test_what_stored_tokens_cannot_be_asked_for_is_refused(folder, arguments, message):
    with pytest.raises(ValueError, match=message):
        dataset(folder, **arguments)


def test_settings_of_examples_are_not_for_records(tmp_path):
    for settings in ({"examples": ExampleSettings()}, {"pack": True}, {"overlap_prob": 0.1}):
        with pytest.raises(ValueError, match="`pack` and `overlap_prob` go with stored tokens"):
            dataset(tmp_path, **settings)


WITHOUT_TENSORFLOW = """
import sys
sys.modules["tensorflow"] = None
import numpy as np
from albert_tf import ExampleSettings, FreshExamples, TokenFolder
settings = ExampleSettings(max_seq_length=32, max_predictions_per_seq=5)
examples = FreshExamples.from_folder(TokenFolder(sys.argv[1]), settings, seed=0)
np.save(sys.stdout.buffer, examples.batch(np.arange(3, 7))["input_ids"])
"""


def test_examples_are_made_where_tensorflow_cannot_be_imported(folder, tmp_path):
    with open(tmp_path / "ids.npy", "wb") as file:
        subprocess.run(
            [sys.executable, "-c", WITHOUT_TENSORFLOW, str(folder)], stdout=file, check=True
        )
    settings = ExampleSettings(max_seq_length=LENGTH, max_predictions_per_seq=SLOTS)
    examples = FreshExamples.from_folder(TokenFolder(folder), settings, seed=0)
    np.testing.assert_array_equal(
        np.load(tmp_path / "ids.npy"), examples.batch(np.arange(3, 7))["input_ids"]
    )
