"""The pretraining dataset: order, resuming, sizes, damage."""

import gzip
import os
import pathlib
import re
import struct

import numpy as np
import pytest
import tensorflow as tf

from albert_tf.pipelines.examples import record_files, records
from albert_tf.pipelines.examples.pretraining_dataset import pretraining_dataset

LENGTH, SLOTS = 8, 2
SIZES = (11, 7, 0, 23)  # records per file, one of them empty
TOTAL = sum(SIZES)


def serialize(first_id, count, length=LENGTH, slots=SLOTS):
    """Returns records whose first input id is their number."""
    ids = np.zeros((count, length), np.int32)
    ids[:, 0] = np.arange(first_id, first_id + count)
    return records.serialize_batch(
        {
            "input_ids": ids,
            "input_mask": np.ones_like(ids),
            "segment_ids": np.zeros_like(ids),
            "masked_lm_positions": np.zeros((count, slots), np.int32),
            "masked_lm_ids": np.zeros((count, slots), np.int32),
            "masked_lm_weights": np.ones((count, slots), np.float32),
            "sentence_order_label": np.zeros(count, np.int32),
        }
    )


def write(path, serialized):
    with records.open_record_file(str(path), str(path).endswith(".gz")) as writer:
        for example in serialized:
            writer.write(example)
    return str(path)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Plain and gzip files, in turn."""
    folder = tmp_path_factory.mktemp("records")
    first, paths = 0, []
    for number, size in enumerate(SIZES):
        suffix = (".tfrecord", ".tfrecord.gz")[number % 2]
        paths.append(write(folder / f"train-{number}{suffix}", serialize(first, size)))
        first += size
    return paths


def read(files, count, batch_size=1, **options):
    """Returns the numbers of the first `count` examples."""
    options = {"seed": 3, "shuffle_window": 16, **options}
    batches = pretraining_dataset(files, batch_size, LENGTH, SLOTS, **options)
    batches = batches.take(-(-count // batch_size))
    return [i for batch in batches for i in batch["input_ids"][:, 0].numpy().tolist()][:count]


def test_batches_have_the_shapes_and_types_of_the_table(files):
    batches = pretraining_dataset(files, 4, LENGTH, SLOTS)
    assert batches.element_spec == {
        name: tf.TensorSpec(spec.shape, spec.dtype)
        for name, spec in records.input_specification(LENGTH, SLOTS, 4).items()
    }


def test_every_epoch_holds_every_example_once_in_another_order(files):
    stream = read(files, 3 * TOTAL)
    epochs = [stream[start : start + TOTAL] for start in (0, TOTAL, 2 * TOTAL)]
    assert all(sorted(epoch) == list(range(TOTAL)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]
    assert epochs[0] != sorted(epochs[0])


@pytest.mark.slow
def test_order_depends_on_the_seed_and_on_nothing_else(files):
    expected = read(files, 60)
    tf.random.set_seed(99)
    assert read(files, 60) == expected
    assert read(list(reversed(files)), 60) == expected
    assert read(files, 60, batch_size=5) == expected
    assert read(files, 60, num_examples=TOTAL) == expected
    assert read(files, 60, seed=4) != expected
    assert read(files, 60, seed=-1) != expected


@pytest.mark.slow
def test_resuming_gives_the_tail_of_the_uninterrupted_stream(files):
    stream = read(files, 3 * TOTAL)
    for start in (1, 15, 16, 17, TOTAL - 1, TOTAL, TOTAL + 16, 2 * TOTAL + 5):
        assert read(files, 3 * TOTAL - start, start_example=start) == stream[start:]


def test_resuming_aligns_with_batches_across_epochs(files):
    def read_batches(**options):
        batches = pretraining_dataset(files, 6, LENGTH, SLOTS, seed=1, **options).take(20)
        return [batch["input_ids"].numpy().tolist() for batch in batches]

    assert read_batches()[9:] == read_batches(start_example=54)[:11]


def test_one_epoch_without_shuffling_is_the_order_on_disk(files):
    assert read(files, 99, batch_size=4, shuffle=False, repeat=False) == list(range(TOTAL))
    resumed = read(files, 99, shuffle=False, repeat=False, start_example=30)
    assert resumed == list(range(30, TOTAL))


def test_evaluation_keeps_the_last_batch_and_training_fills_it(files):
    batches = pretraining_dataset(files, 4, LENGTH, SLOTS, shuffle=False, repeat=False)
    assert [len(batch["input_ids"]) for batch in batches] == [4] * 10 + [1]
    batches = pretraining_dataset(files, 4, LENGTH, SLOTS, repeat=False, drop_remainder=True)
    assert [len(batch["input_ids"]) for batch in batches] == [4] * 10
    batches = pretraining_dataset(files, 4, LENGTH, SLOTS).take(25)
    assert {len(batch["input_ids"]) for batch in batches} == {4}


def test_plain_and_gzip_files_can_be_mixed(tmp_path):
    files = [
        write(tmp_path / "a.tfrecord", serialize(0, 5)),
        write(tmp_path / "b.tfrecord.gz", serialize(5, 5)),
    ]
    assert read(files, 10, shuffle=False) == list(range(10))
    assert sorted(read(files, 10)) == list(range(10))


def test_patterns_name_files_once(files):
    pattern = files[0].replace("train-0.tfrecord", "train-*")
    assert record_files.list_record_files([pattern, files[1]]) == sorted(files)
    assert record_files.count_examples(pattern) == TOTAL


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"shuffle_window": 0}, "shuffle_window"),
        ({"start_example": -1}, "start_example must not be negative"),
        ({"start_example": TOTAL, "repeat": False}, "start_example must be below the 41 examples"),
        ({"max_seq_length": 9}, r"train-0.* max_seq_length 9. Received: 8 values of input_ids"),
        ({"max_predictions_per_seq": 3}, "max_predictions_per_seq 3. Received: 2 values"),
        ({"input_files": "nothing/*"}, "must match at least one file. Received: 'nothing/"),
        ({"input_files": []}, "must name at least one file"),
    ],
)
def test_bad_arguments_are_named(files, arguments, message):
    options = {
        "input_files": files,
        "batch_size": 2,
        "max_seq_length": LENGTH,
        "max_predictions_per_seq": SLOTS,
    }
    with pytest.raises(ValueError, match=message):
        pretraining_dataset(**{**options, **arguments})


def test_files_without_examples_are_refused(tmp_path):
    (tmp_path / "a.tfrecord").touch()
    with pytest.raises(ValueError, match="at least one example"):
        pretraining_dataset(str(tmp_path / "a.tfrecord"), 1, LENGTH, SLOTS)


def test_record_sizes_are_those_of_the_first_record(files, tmp_path):
    empty = str(tmp_path / "a.tfrecord")
    pathlib.Path(empty).touch()
    assert record_files.record_sizes([empty, *files]) == (LENGTH, SLOTS)
    with pytest.raises(ValueError, match="at least one example"):
        record_files.record_sizes(empty)
    path = write(tmp_path / "b.tfrecord", [b"\xff\xff\xff"])
    with pytest.raises(ValueError, match="b.tfrecord must hold tf.train.Example"):
        record_files.record_sizes(path)


@pytest.mark.parametrize("suffix", [".tfrecord", ".tfrecord.gz"])
def test_truncated_file_is_named_with_the_record(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    write(path, serialize(0, 5))
    content = path.read_bytes()
    for kept in (len(content) - 1, len(content) - 20):
        path.write_bytes(content[:kept])
        with pytest.raises(ValueError, match=rf"a{suffix} is cut off or damaged: record \d"):
            record_files.count_examples(str(path))


def test_files_that_hold_something_else_are_named(tmp_path):
    (tmp_path / "text.tfrecord").write_text("It was a bright cold day in April. " * 9)
    with pytest.raises(ValueError, match="text.tfrecord must be a TFRecord file"):
        pretraining_dataset(str(tmp_path / "text.tfrecord"), 1, LENGTH, SLOTS)
    (tmp_path / "b.tfrecord.gz").write_bytes(b"not compressed, not a record file")
    with pytest.raises(ValueError, match="b.tfrecord.gz must be a TFRecord file compressed"):
        pretraining_dataset(str(tmp_path / "b.tfrecord.gz"), 1, LENGTH, SLOTS)
    other = tf.train.Example()
    other.features.feature["image"].int64_list.value.append(1)
    path = write(tmp_path / "image.tfrecord", [other.SerializeToString()])
    with pytest.raises(ValueError, match=r"image.*feature input_ids. Received: \['image'\]"):
        pretraining_dataset(path, 1, LENGTH, SLOTS)
    path = write(tmp_path / "bytes.tfrecord", [b"\xff\xff\xff"])
    with pytest.raises(ValueError, match="bytes.tfrecord must hold tf.train.Example"):
        pretraining_dataset(path, 1, LENGTH, SLOTS)


def test_damage_inside_a_record_is_located(tmp_path):
    good = write(tmp_path / "a.tfrecord", serialize(0, 5))
    path = tmp_path / "b.tfrecord"
    write(path, serialize(0, 5))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    assert record_files.locate_corruption(good) is None
    assert "b.tfrecord, record 2" in record_files.locate_corruption([good, str(path)])


@pytest.mark.parametrize(
    ("name", "kind", "values", "message"),
    [
        ("input_ids", "int64_list", [1] * 7, "max_seq_length 8. Received: 7 values"),
        ("input_ids", "float_list", [1.0] * 8, "max_seq_length 8. Received: 0 values"),
        ("input_ids", "int64_list", [1] * 7 + [90], r"\[0, 90\). Received: 90"),
        ("input_ids", "int64_list", [1] * 7 + [-1], r"\[0, 90\). Received: -1"),
        ("input_ids", "int64_list", [1] * 7 + [2**32 + 1], r"\[0, 90\). Received: 4294967297"),
        ("input_mask", "int64_list", [1] * 7 + [7], r"\[0, 2\). Received: 7"),
        ("segment_ids", "int64_list", [1] * 7 + [2], r"\[0, 2\). Received: 2"),
        ("masked_lm_ids", "int64_list", [1, 90], r"\[0, 90\). Received: 90"),
        ("masked_lm_positions", "int64_list", [1, 8], r"\[0, 8\). Received: 8"),
        ("masked_lm_weights", "float_list", [1.0, float("nan")], r"\[0, inf\). Received: nan"),
        ("masked_lm_weights", "float_list", [1.0, float("inf")], r"\[0, inf\). Received: inf"),
        ("masked_lm_weights", "float_list", [1.0, -1.0], r"\[0, inf\). Received: -1"),
        ("masked_lm_weights", "int64_list", [1, 1], "max_predictions_per_seq 2. Received: 0"),
        ("next_sentence_labels", "int64_list", [2], r"\[0, 2\). Received: 2"),
        ("next_sentence_labels", "int64_list", [], "the label 1. Received: 0 values"),
    ],
)
def test_record_that_is_whole_and_wrong_stops_the_iteration_and_is_located(
    tmp_path, name, kind, values, message
):
    rows = serialize(0, 6)
    example = tf.train.Example.FromString(rows[4])
    example.features.feature[name].Clear()
    getattr(example.features.feature[name], kind).value.extend(values)
    wrong = example.SerializeToString()
    path = write(tmp_path / "a.tfrecord", [*rows[:4], wrong, *rows[5:]])
    batches = pretraining_dataset(path, 2, LENGTH, SLOTS, shuffle=False, vocab_size=90)
    with pytest.raises(tf.errors.InvalidArgumentError):
        list(batches.take(3))
    located = record_files.locate_corruption(path, LENGTH, SLOTS, vocab_size=90)
    assert re.search(f"a.tfrecord, record 4: must hold .*{message}", located)
    path = write(tmp_path / "b.tfrecord", [wrong])
    with pytest.raises(ValueError, match=f"b.tfrecord must hold .*{message}"):
        pretraining_dataset(path, 2, LENGTH, SLOTS, vocab_size=90)


def test_records_of_a_gzip_file_are_counted_without_its_suffix_mattering(tmp_path):
    path = write(tmp_path / "a.tfrecord.gz", serialize(0, 5))
    assert record_files.count_examples(path) == 5
    with gzip.open(path) as file:
        (tmp_path / "b.tfrecord").write_bytes(file.read())
    assert record_files.count_examples(str(tmp_path / "b.tfrecord")) == 5


def test_packed_file_with_a_changed_byte_anywhere_is_counted_or_named(tmp_path):
    path = pathlib.Path(write(tmp_path / "a.tfrecord.gz", serialize(0, 50)))
    content, refused = path.read_bytes(), 0
    for place in range(10, len(content), 7):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :])
        try:
            record_files.count_examples(str(path))
        except ValueError as error:
            assert "a.tfrecord.gz is cut off or damaged: record " in str(error)
            refused += 1
    assert refused > 5


def test_size_that_a_packed_record_only_announces_is_not_reserved(tmp_path):
    (tmp_path / "a.tfrecord.gz").write_bytes(gzip.compress(struct.pack("<QI", 2**50, 0) + b"x"))
    with pytest.raises(ValueError, match=r"a\.tfrecord\.gz is cut off or damaged: record 0"):
        record_files.count_examples(str(tmp_path / "a.tfrecord.gz"))


def test_pipe_in_a_shards_place_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.tfrecord")
    with pytest.raises(ValueError, match=r"must be files. Received: .*a\.tfrecord, which is none"):
        record_files.count_examples(str(tmp_path / "*"))


class StandInTokenizer:
    def id_to_piece(self, index):
        return f"p{index}"


def test_describe_example_shows_what_is_seen_and_hidden():
    batch = {
        "input_ids": np.array([[2, 11, 4, 3, 12, 3, 0]]),
        "input_mask": np.array([[1, 1, 1, 1, 1, 1, 0]]),
        "segment_ids": np.array([[0, 0, 0, 0, 1, 1, 0]]),
        "masked_lm_positions": np.array([[2, 4, 0]]),
        "masked_lm_ids": np.array([[17, 12, 0]]),
        "masked_lm_weights": np.array([[1.0, 1.0, 0.0]]),
        "sentence_order_label": np.array([1]),
    }
    (serialized,) = records.serialize_batch(batch)
    shown = record_files.describe_example(serialized, StandInTokenizer())
    assert shown == "p2 p11 p4{p17} p3 p12{p12} p3 | order swapped"


@pytest.mark.slow
def test_dataset_knows_its_size_where_it_ends(files):
    cases = {
        (): tf.data.INFINITE_CARDINALITY,
        ("repeat",): -(-TOTAL // 4),
        ("repeat", "drop_remainder"): TOTAL // 4,
        ("repeat", "start_example"): -(-(TOTAL - 8) // 4),
    }
    values = {"repeat": False, "drop_remainder": True, "start_example": 8}
    for names, expected in cases.items():
        dataset = pretraining_dataset(files, 4, LENGTH, SLOTS, **{n: values[n] for n in names})
        assert int(dataset.cardinality()) == expected
        if names:
            assert sum(1 for _ in dataset) == expected
