"""Batches by length: every example once an epoch, the same stream wherever it is entered."""

import numpy as np
import pytest
import tensorflow as tf

from albert_tf.config import AlbertConfig
from albert_tf.model.task_models import AlbertClassifier
from albert_tf.pipelines.task_data.encoded_examples import EncodedExamples
from albert_tf.pipelines.task_data.finetuning_dataset import (
    batches_by_length,
    finetuning_dataset,
    padded_length,
)

B, LONGEST = 4, 40


def make_examples(count=101):
    generator = np.random.default_rng(0)
    lengths = generator.integers(3, LONGEST + 1, count)
    rows = [{"input_ids": [7] * length, "segment_ids": [0] * length} for length in lengths]
    return EncodedExamples.from_rows(rows, {"label": np.arange(count, dtype=np.int32)})


def batches_of(*args, take=None, **kwargs):
    stream = finetuning_dataset(*args, **kwargs)
    return list((stream if take is None else stream.take(take)).as_numpy_iterator())


def labels_of(batches):
    return [batch["label"].tolist() for batch in batches]


def test_endless_epochs_have_every_example_and_only_full_batches():
    batches = batches_of(make_examples(), B, LONGEST, repeat=True, take=26)
    labels = np.concatenate(labels_of(batches))
    assert len(batches) == 26 and all(len(batch["label"]) == B for batch in batches)
    assert set(labels) == set(range(101))
    assert len(labels) - len(set(labels)) == 3  # the last batch is filled up


@pytest.mark.parametrize("shuffle", [True, False])
def test_one_epoch_has_each_example_once(shuffle):
    batches = batches_of(make_examples(), B, LONGEST, shuffle=shuffle)
    assert sorted(len(batch["label"]) for batch in batches) == [1, *[B] * 25]
    assert sorted(np.concatenate(labels_of(batches))) == list(range(101))


def test_batches_hold_like_lengths_and_are_padded_to_few():
    examples = make_examples(400)
    batches = batches_of(examples, B, LONGEST)
    lengths = {batch["input_ids"].shape[1] for batch in batches}
    assert lengths <= {16, 24, 32, 40}
    used = sum(batch["input_mask"].sum() for batch in batches)
    padded = sum(batch["input_mask"].size for batch in batches)
    assert used / padded > 0.8
    assert used / (400 * LONGEST) < 0.6  # what padding to the maximum would have used


def test_padding_does_not_change_which_examples_meet():
    short = batches_of(make_examples(), B, LONGEST, seed=3)
    long = batches_of(make_examples(), B, LONGEST, seed=3, pad_to_max_length=True)
    assert labels_of(short) == labels_of(long)
    assert {batch["input_ids"].shape[1] for batch in long} == {LONGEST}


def test_stream_entered_late_is_the_tail_of_the_whole():
    whole = labels_of(batches_of(make_examples(), B, LONGEST, repeat=True, take=60))
    for start in (1, 25, 26, 40):
        tail = batches_of(
            make_examples(), B, LONGEST, repeat=True, start_example=start * B, take=60 - start
        )
        assert labels_of(tail) == whole[start:]


def test_epochs_and_seeds_differ():
    stream = finetuning_dataset(make_examples(), B, LONGEST, seed=1)
    first, second = (labels_of(stream.as_numpy_iterator()) for _ in range(2))
    other = labels_of(batches_of(make_examples(), B, LONGEST, seed=2))
    assert first != second and first != other
    # Where nothing is to be filled up, endless epochs are the single ones.
    one_by_one = finetuning_dataset(make_examples(100), B, LONGEST, seed=1)
    first, second = (labels_of(one_by_one.as_numpy_iterator()) for _ in range(2))
    endless = labels_of(batches_of(make_examples(100), B, LONGEST, seed=1, repeat=True, take=50))
    assert endless == first + second


def test_without_shuffling_the_order_is_the_examples_own():
    batches = batches_of(make_examples(), B, LONGEST, shuffle=False)
    assert np.concatenate(labels_of(batches)).tolist() == list(range(101))
    assert len(batches[-1]["label"]) == 1


def test_prediction_batches_have_every_example_once():
    examples = make_examples()
    seen = []
    for indices, batch in batches_by_length(examples, B, LONGEST):
        assert batch["input_ids"].shape[0] == B
        np.testing.assert_array_equal(batch["label"][: len(indices)], indices)
        seen += indices.tolist()
    assert sorted(seen) == list(range(101))


def test_fewer_examples_than_a_batch_still_make_one():
    (batch,) = batches_of(make_examples(3), B, LONGEST)
    assert set(batch["label"].tolist()) == {0, 1, 2}


@pytest.mark.parametrize("longest", range(1, 60))
def test_padded_length_has_room_and_never_exceeds_the_maximum(longest):
    for maximum in (longest, longest + 1, 50, 64):
        if longest <= maximum:
            assert longest <= padded_length(longest, maximum) <= maximum


@pytest.mark.parametrize("arguments", [{"batch_size": 0}, {"start_example": 3}])
def test_sizes_that_make_no_sense_are_refused(arguments):
    with pytest.raises(ValueError, match="batch_size must be positive and start_example"):
        finetuning_dataset(make_examples(), **{"batch_size": B, "max_seq_length": 40, **arguments})


def test_no_examples_are_refused():
    with pytest.raises(ValueError, match="must not be empty"):
        finetuning_dataset(EncodedExamples.from_rows([], {}), B, LONGEST)


def test_dataset_knows_its_size_where_it_ends():
    whole = finetuning_dataset(make_examples(), B, LONGEST)
    late = finetuning_dataset(make_examples(), B, LONGEST, start_example=5 * B)
    endless = finetuning_dataset(make_examples(), B, LONGEST, repeat=True)
    sizes = [int(dataset.cardinality()) for dataset in (whole, late, endless)]
    # What goes on begins with a part of an epoch and has whole ones behind it.
    assert sizes == [26, tf.data.UNKNOWN_CARDINALITY, tf.data.INFINITE_CARDINALITY]
    assert [len(list(late)) for _ in range(3)] == [21, 26, 26]
    assert [len(list(whole)) for _ in range(2)] == [26, 26]


def test_epochs_with_validation_end_without_a_warning():
    config = AlbertConfig.from_preset("albert_tiny")
    model = AlbertClassifier(config, num_classes=101)
    model.compile("sgd", run_eagerly=True)

    def dataset(count):
        return finetuning_dataset(make_examples(count), B, LONGEST)

    history = model.fit(dataset(9), validation_data=dataset(6), epochs=2, verbose=0).history
    assert len(history["val_loss"]) == 2
