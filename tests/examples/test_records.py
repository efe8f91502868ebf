"""Records: the bytes are protobuf's, and both sides read each other's."""

import os

import numpy as np
import pytest
import tensorflow as tf

from albert_tf.pipelines.examples import records

LENGTH, SLOTS = 16, 4


def make_batch(num_rows, seed=0, vocab_size=30_000):
    rng = np.random.default_rng(seed)
    used = rng.integers(1, SLOTS + 1, (num_rows, 1))
    in_use = np.arange(SLOTS) < used
    return {
        "input_ids": rng.integers(0, vocab_size, (num_rows, LENGTH)).astype(np.int32),
        "input_mask": rng.integers(0, 2, (num_rows, LENGTH)).astype(np.int32),
        "segment_ids": rng.integers(0, 2, (num_rows, LENGTH)).astype(np.int32),
        "token_boundary": rng.integers(0, 2, (num_rows, LENGTH)).astype(np.int32),
        "masked_lm_positions": (rng.integers(0, LENGTH, (num_rows, SLOTS)) * in_use).astype(
            np.int32
        ),
        "masked_lm_ids": (rng.integers(0, vocab_size, (num_rows, SLOTS)) * in_use).astype(np.int32),
        "masked_lm_weights": in_use.astype(np.float32),
        "sentence_order_label": rng.integers(0, 2, num_rows).astype(np.int32),
    }


@pytest.mark.parametrize("vocab_size", [100, 128, 129, 16_384, 30_000, 3_000_000])
def test_bytes_are_those_of_protobuf(vocab_size):
    batch = make_batch(20, vocab_size=vocab_size)
    batch["input_ids"][0, :3] = [0, vocab_size - 1, 127]
    for row, serialized in enumerate(records.serialize_batch(batch)):
        example = tf.train.Example.FromString(serialized)
        assert example.SerializeToString(deterministic=True) == serialized
        held = example.features.feature
        assert list(held["input_ids"].int64_list.value) == batch["input_ids"][row].tolist()
        weights = held["masked_lm_weights"].float_list.value
        assert list(weights) == batch["masked_lm_weights"][row].tolist()


def test_parsing_gives_back_what_was_written():
    batch = make_batch(8)
    serialized = records.serialize_batch(batch)
    parsed = records.parse_example(tf.constant(serialized), LENGTH, SLOTS)
    specification = records.input_specification(LENGTH, SLOTS, batch_size=8)
    assert parsed.keys() == specification.keys()
    for name, tensor in parsed.items():
        assert specification[name].is_compatible_with(tensor)
        np.testing.assert_array_equal(tensor, batch[name])
    one = records.parse_example(serialized[3], LENGTH, SLOTS)
    for name, tensor in one.items():
        np.testing.assert_array_equal(tensor, batch[name][3])


def test_google_reader_accepts_our_records():
    # The feature specification of Google's run_pretraining.py, written out.
    int64, float32 = tf.int64, tf.float32
    table = {
        name: tf.io.FixedLenFeature([LENGTH], int64)
        for name in ("input_ids", "input_mask", "segment_ids", "token_boundary")
    }
    table |= {
        "masked_lm_positions": tf.io.FixedLenFeature([SLOTS], int64),
        "masked_lm_ids": tf.io.FixedLenFeature([SLOTS], int64),
        "masked_lm_weights": tf.io.FixedLenFeature([SLOTS], float32),
        "next_sentence_labels": tf.io.FixedLenFeature([1], int64),
    }
    batch = make_batch(5)
    parsed = tf.io.parse_example(records.serialize_batch(batch), table)
    np.testing.assert_array_equal(
        parsed["next_sentence_labels"][:, 0], batch["sentence_order_label"]
    )
    np.testing.assert_array_equal(parsed["token_boundary"], batch["token_boundary"])


def write_as_google(batch, row, label_name="next_sentence_labels", without=()):
    """Returns a record as the original writes it, with the Python protobuf classes."""
    example = tf.train.Example()
    for name, values in batch.items():
        if name in without:
            continue
        disk_name = label_name if name == "sentence_order_label" else name
        feature = example.features.feature[disk_name]
        values = np.atleast_1d(values[row]).tolist()
        if name == "masked_lm_weights":
            feature.float_list.value.extend(values)
        else:
            feature.int64_list.value.extend(values)
    return example.SerializeToString()


@pytest.mark.parametrize("label_name", ["next_sentence_labels", "sentence_order_label"])
@pytest.mark.parametrize("without", [(), ("token_boundary",)])
def test_our_parser_reads_google_records_under_both_label_names(label_name, without):
    batch = make_batch(6)
    serialized = [write_as_google(batch, row, label_name, without) for row in range(6)]
    parsed = records.parse_example(tf.constant(serialized), LENGTH, SLOTS)
    for name, tensor in parsed.items():
        np.testing.assert_array_equal(tensor, batch[name])


def test_missing_features_and_negative_values_are_refused():
    batch = make_batch(2)
    del batch["segment_ids"]
    with pytest.raises(ValueError, match="segment_ids"):
        records.serialize_batch(batch)
    batch = make_batch(2)
    batch["input_ids"][1, 2] = -1
    with pytest.raises(ValueError, match="input_ids must not be negative. Received: -1"):
        records.serialize_batch(batch)


def test_parsing_works_inside_a_graph():
    batch = make_batch(4)
    serialized = tf.constant(records.serialize_batch(batch))
    traced = tf.function(records.parse_example)(serialized, LENGTH, SLOTS)
    for name, tensor in traced.items():
        np.testing.assert_array_equal(tensor, batch[name])


@pytest.mark.parametrize("compress", [False, True])
def test_record_file_appears_only_when_complete(tmp_path, compress):
    path = str(tmp_path / "a.tfrecord")
    with records.open_record_file(path, compress) as writer:
        writer.write(b"first")
        assert not os.path.exists(path)
    stream = tf.data.TFRecordDataset(path, compression_type="GZIP" if compress else "")
    assert list(stream.as_numpy_iterator()) == [b"first"]
    assert os.listdir(tmp_path) == ["a.tfrecord"]


def test_record_file_of_a_failed_block_leaves_nothing(tmp_path):
    with pytest.raises(KeyError), records.open_record_file(str(tmp_path / "a")) as writer:
        writer.write(b"first")
        raise KeyError("stop")
    assert not os.listdir(tmp_path)


def test_record_file_that_cannot_be_written_is_named(tmp_path):
    path = str(tmp_path / "gone" / "a.tfrecord")
    with pytest.raises(OSError, match="gone/.*a.tfrecord"), records.open_record_file(path):
        pass
