"""Record files -> shuffled, batched `tf.data` for pretraining, resumable at any example.

B batch, L sequence length, P prediction slots.

The order of the examples is a pure function of (files, seed): epoch `e` visits the files in an
order drawn from (seed, e), reads several at once in turns, and shuffles windows of
`shuffle_window` records with seeds drawn from (seed, e, window). Nothing depends on
`tf.random.set_seed`, on threads or on timing, so `start_example=n` gives exactly the tail of the
stream that an uninterrupted run would have seen.
"""

import functools
import gzip
import itertools
import os
import re
import struct
from collections.abc import Sequence

import google.protobuf.message
import numpy as np
import tensorflow as tf

from albert_tf.pipelines.examples import records

# Files read in turns, a block of records from each. Together with the window this decides how far
# from its place on disk an example can end up.
_FILES_IN_TURNS = 16
_BLOCK_EXAMPLES = 16

# TFRecord framing: length, its checksum, the record, its checksum.
_LENGTH_AND_CHECKSUM = struct.Struct("<QI")
_BLOCK_BYTES = 2**20
_FRAME_BYTES = _LENGTH_AND_CHECKSUM.size + 4


def dataset(
    input_files: str | Sequence[str],
    batch_size: int,
    max_seq_length: int,
    max_predictions_per_seq: int,
    shuffle: bool = True,
    seed: int = 0,
    start_example: int = 0,
    repeat: bool = True,
    drop_remainder: bool | None = None,
    shuffle_window: int = 8192,
    num_examples: int | None = None,
    vocab_size: int | None = None,
) -> tf.data.Dataset:
    """Return batches of pretraining examples.

    Args:
      input_files: a file, a pattern, or a list of them; `.gz` files are GZIP.
      batch_size: B.
      max_seq_length: L; must be that of the records.
      max_predictions_per_seq: P; must be that of the records.
      shuffle: shuffle files and records, anew in every epoch; otherwise the files' own order.
      seed: any integer; with the files it fixes the order.
      start_example: examples already consumed, over all epochs; the stream goes on from there.
      repeat: endless epochs, batches running across their borders; otherwise one epoch.
      drop_remainder: whether a last, smaller batch is left out. By default it is kept where
        `repeat` is False, so that an evaluation counts every example.
      shuffle_window: records shuffled together; held in memory (about 4 KB each at L=512).
      num_examples: what `count_examples(input_files)` gives, if it is known already.
      vocab_size: of the model; a record with a larger id then ends the iteration with an error.

    Returns:
      A dataset of the batches described in `records`: dicts of [B, L], [B, P] and [B] tensors.
      It knows its `cardinality()`.

    Raises:
      ValueError: an argument is out of range, nothing matches, or a file is truncated or holds
        records of other sizes; the message names the file.
    """
    _check_positive(
        batch_size=batch_size,
        max_seq_length=max_seq_length,
        max_predictions_per_seq=max_predictions_per_seq,
        shuffle_window=shuffle_window,
    )
    if start_example < 0:
        raise ValueError(f"start_example must not be negative. Received: {start_example}")
    files = list_record_files(input_files)
    for file in files:
        check_record_file(file, max_seq_length, max_predictions_per_seq, vocab_size)
    if num_examples is None:
        num_examples = count_examples(files)
    if num_examples == 0:
        raise ValueError(f"input_files must hold at least one example. Received: {files}")
    if drop_remainder is None:
        drop_remainder = repeat

    start_epoch, skipped_examples = divmod(start_example, num_examples)
    if not repeat and start_epoch:
        raise ValueError(
            f"start_example must be below the {num_examples} examples of the files where "
            f"repeat=False. Received: {start_example}"
        )

    def read_epoch(epoch):
        already_consumed = tf.where(
            epoch == start_epoch, tf.constant(skipped_examples, tf.int64), 0
        )
        if not shuffle:
            return _read_in_order(files).skip(already_consumed)
        return _read_shuffled(files, seed, epoch, shuffle_window, already_consumed)

    last_epoch = np.iinfo(np.int64).max if repeat else start_epoch + 1
    epochs = tf.data.Dataset.range(start_epoch, last_epoch)
    serialized = epochs.flat_map(read_epoch)
    batches = serialized.batch(batch_size, drop_remainder=drop_remainder).map(
        lambda rows: records.parse_example(
            rows, max_seq_length, max_predictions_per_seq, vocab_size
        ),
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )
    options = tf.data.Options()
    options.deterministic = True
    # A trainer shards by handing each worker its own files, not by rewriting this graph.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    size = tf.data.INFINITE_CARDINALITY
    if not repeat:
        left = num_examples - skipped_examples
        size = left // batch_size if drop_remainder else -(-left // batch_size)
    sized = batches.apply(tf.data.experimental.assert_cardinality(size))
    return sized.with_options(options).prefetch(tf.data.AUTOTUNE)


def _check_positive(**arguments):
    for name, value in arguments.items():
        if value < 1:
            raise ValueError(f"{name} must be at least 1. Received: {value}")


def _read_in_order(files):
    # Compression is a property of a whole TFRecordDataset, so runs of files that share it are
    # chained.
    runs = [
        tf.data.TFRecordDataset(list(run), compression_type=compression)
        for compression, run in itertools.groupby(files, _compression_of)
    ]
    return functools.reduce(tf.data.Dataset.concatenate, runs)


def _read_shuffled(files, seed, epoch, shuffle_window, already_consumed):
    """Return the serialized records of one epoch in the order drawn from (seed, epoch)."""
    # Dataset.shuffle mixes the global seed of the process into its own, which would make the order
    # depend on the caller's tf.random.set_seed; the stateless ops take all they use as an argument.
    epoch_seed = tf.random.fold_in(tf.constant([_low_bits(seed), 0], tf.int64), epoch)
    compressions = sorted({_compression_of(file) for file in files})
    names = tf.constant(files)
    order = tf.random.experimental.stateless_shuffle(names, epoch_seed)

    def read_file(name):
        if len(compressions) == 1:
            return tf.data.TFRecordDataset(name, compression_type=compressions[0])
        is_gzip = tf.strings.regex_full_match(name, r".*\.gz")
        return tf.data.TFRecordDataset(name, compression_type=tf.where(is_gzip, "GZIP", ""))

    in_turns = tf.data.Dataset.from_tensor_slices(order).interleave(
        read_file,
        cycle_length=min(_FILES_IN_TURNS, len(files)),
        block_length=_BLOCK_EXAMPLES,
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )
    first_window = already_consumed // shuffle_window

    def shuffle_records(index, window):
        window_seed = tf.random.fold_in(epoch_seed, index + 1)
        return tf.random.experimental.stateless_shuffle(window, window_seed)

    # Whole windows that were consumed are skipped as raw bytes, the rest after its shuffle.
    windows = in_turns.skip(first_window * shuffle_window).batch(shuffle_window)
    shuffled = windows.enumerate(first_window).map(shuffle_records)
    # The next window fills while this one is read; without it every border would stall.
    return shuffled.prefetch(1).unbatch().skip(already_consumed % shuffle_window)


def _low_bits(seed):
    return int(seed) & 0x7FFFFFFFFFFFFFFF


def list_record_files(input_files: str | Sequence[str]) -> list[str]:
    """Expand files and patterns into a sorted list of files without duplicates.

    Raises:
      ValueError: a name or pattern matches nothing, or a folder.
    """
    patterns = [input_files] if isinstance(input_files, str | os.PathLike) else list(input_files)
    files = set()
    for pattern in patterns:
        matches = tf.io.gfile.glob(os.fspath(pattern))
        if not matches:
            raise ValueError(f"input_files must match at least one file. Received: {pattern!r}")
        folders = [match for match in matches if os.path.isdir(match)]
        if folders:
            raise ValueError(f"input_files must be record files. Received: the folder {folders[0]}")
        files.update(matches)
    if not files:
        raise ValueError("input_files must name at least one file. Received: an empty list")
    for file in files:
        if "://" not in file and not os.path.isfile(file):
            raise ValueError(f"input_files must be files. Received: {file}, which is none")
    return sorted(files)


def count_examples(input_files: str | Sequence[str]) -> int:
    """Count the records of files; reads only the lengths, so a file costs one pass of seeks.

    Raises:
      ValueError: a file is cut off or is not a record file; the message names it and the record.
    """
    return sum(_count_records(file) for file in list_record_files(input_files))


def _count_records(path):
    if "://" in path:  # a remote file system: seeking costs more than reading
        stream = tf.data.TFRecordDataset(path, compression_type=_compression_of(path))
        return int(stream.reduce(np.int64(0), lambda count, _: count + 1))
    count = offset = 0
    size = None if _compression_of(path) else os.path.getsize(path)
    with gzip.open(path) if size is None else open(path, "rb", buffering=0) as file:
        while True:
            problem = None
            try:
                frame = file.read(_LENGTH_AND_CHECKSUM.size)
                if not frame:
                    return count
                if len(frame) < _LENGTH_AND_CHECKSUM.size:
                    problem = f"only {len(frame)} bytes of its header"
                else:
                    length, _ = _LENGTH_AND_CHECKSUM.unpack(frame)
                    end = offset + _FRAME_BYTES + length
                    if size is not None and end > size:
                        problem = f"{size - offset} of {end - offset} bytes"
                    elif size is None and not _skip_bytes(file, length + 4):
                        problem = "fewer bytes than its header says"
            except (EOFError, gzip.BadGzipFile, OverflowError) as error:
                problem = f"a broken GZIP stream ({error})"
            if problem:
                raise ValueError(
                    f"{path} is cut off or damaged: record {count} at byte {offset} must be "
                    f"complete. Received: {problem}"
                )
            offset = end
            if size is not None:
                file.seek(offset)
            count += 1


def _skip_bytes(file, count):
    """Return whether a stream has so many bytes more, having read them a block at a time."""
    while count:
        block = file.read(min(count, _BLOCK_BYTES))
        if not block:
            return False
        count -= len(block)
    return True


def record_sizes(input_files: str | Sequence[str]) -> tuple[int, int]:
    """Return (max_seq_length, max_predictions_per_seq) of the first record of the files.

    Raises:
      ValueError: the files hold no pretraining record; the message names them.
    """
    files = list_record_files(input_files)
    for path in files:
        first = _read_first_record(path)
        if first is not None:
            held = _parse_features(path, first)
            length = len(held["input_ids"].int64_list.value)
            predictions = len(held["masked_lm_ids"].int64_list.value)
            _check_record(path, first, length, predictions)
            return length, predictions
    raise ValueError(f"input_files must hold at least one example. Received: {files}")


def check_record_file(
    path: str, max_seq_length: int, max_predictions_per_seq: int, vocab_size: int | None = None
) -> None:
    """Raise ValueError where a file's first record is not one of the sizes asked for.

    An empty file passes: it adds nothing.
    """
    first = _read_first_record(path)
    if first is not None:
        _check_record(path, first, max_seq_length, max_predictions_per_seq, vocab_size)


def _read_first_record(path):
    """Return the first record's bytes, or None where the file is empty."""
    stream = tf.data.TFRecordDataset(path, compression_type=_compression_of(path)).take(1)
    try:
        return next(stream.as_numpy_iterator(), None)
    except tf.errors.OpError as error:
        raise ValueError(
            f"{path} must be a TFRecord file{_compression_hint(path)}. Received: "
            f"{_reason_of(error)}"
        ) from error


def _parse_features(place, serialized):
    try:
        return tf.train.Example.FromString(serialized).features.feature
    except google.protobuf.message.DecodeError as error:
        raise ValueError(
            f"{place} must hold tf.train.Example records. Received: {error}"
        ) from error


def _check_record(place, serialized, max_seq_length, max_predictions_per_seq, vocab_size=None):
    """Raise ValueError for what `records.parse_example` does not take; it begins with `place`."""
    held = _parse_features(place, serialized)
    for feature in records.FEATURES:
        if feature.optional:
            continue
        name = next((name for name in feature.disk_names if name in held), None)
        if name is None:
            raise ValueError(
                f"{place} must hold pretraining records with the feature "
                f"{' or '.join(feature.disk_names)}. Received: {sorted(held)}"
            )
        kind = "float_list" if feature.dtype.is_floating else "int64_list"
        values = np.asarray(getattr(held[name], kind).value)
        count = len(values)
        widths = {"L": max_seq_length, "P": max_predictions_per_seq, "1": 1}
        if count != widths[feature.width]:
            argument = {"L": "max_seq_length", "P": "max_predictions_per_seq", "1": "the label"}
            raise ValueError(
                f"{place} must hold records of {argument[feature.width]} "
                f"{widths[feature.width]}. Received: {count} values of {name}"
            )
        bound = records.upper_bound(feature, max_seq_length, vocab_size)
        wrong = values[~((values >= 0) & (values < bound))]
        if len(wrong):
            raise ValueError(f"{place} must hold {name} in [0, {bound}). Received: {wrong[0]}")


def locate_corruption(
    input_files: str | Sequence[str],
    max_seq_length: int | None = None,
    max_predictions_per_seq: int | None = None,
    vocab_size: int | None = None,
) -> str | None:
    """Read every record and return what is wrong with the first damaged file, or None.

    TensorFlow's errors do not name the file they met; a trainer that catches one calls this.

    Args:
      input_files: files that existed once.
      max_seq_length, max_predictions_per_seq: which every record must have, if given.
      vocab_size: which all ids must be below, if given.

    Returns:
      A sentence such as `out/train-00001-of-00003.tfrecord, record 17: corrupted record at 70122`.
    """
    for path in [input_files] if isinstance(input_files, str | os.PathLike) else input_files:
        count = 0
        try:
            stream = tf.data.TFRecordDataset(path, compression_type=_compression_of(path))
            for serialized in stream.as_numpy_iterator():
                if max_seq_length is not None:
                    sizes = (max_seq_length, max_predictions_per_seq, vocab_size)
                    _check_record(f"{path}, record {count}:", serialized, *sizes)
                count += 1
        except tf.errors.OpError as error:
            return f"{path}, record {count}: {_reason_of(error)}"
        except ValueError as error:
            return str(error)
    return None


def _reason_of(error):
    """Return TensorFlow's message without the names of its operations."""
    return re.sub(r"\{\{.*?\}\} ?| \[Op:.*", "", error.message)


def _compression_of(path):
    return "GZIP" if path.endswith(".gz") else ""


def _compression_hint(path):
    return " compressed with GZIP" if _compression_of(path) else ""


def read_records(input_files: str | Sequence[str], count: int) -> list[bytes]:
    """Read the first `count` serialized records of files, to look at."""
    stream = _read_in_order(list_record_files(input_files))
    return list(stream.take(count).as_numpy_iterator())


def describe_example(serialized: bytes, tokenizer) -> str:
    """Show a record in one line: pieces, with each masked slot as `seen{hidden}`.

    For example `[CLS] ▁the [MASK]{▁cat} ▁sat [SEP] ▁on ▁it [SEP] | order kept`.

    Args:
      serialized: one record.
      tokenizer: the `Tokenizer` that made it.

    Returns:
      The pieces without padding and the sentence order.
    """
    held = tf.train.Example.FromString(serialized).features.feature
    length = sum(held["input_mask"].int64_list.value)
    pieces = [tokenizer.id_to_piece(i) for i in held["input_ids"].int64_list.value[:length]]
    slots = zip(
        held["masked_lm_positions"].int64_list.value,
        held["masked_lm_ids"].int64_list.value,
        held["masked_lm_weights"].float_list.value,
        strict=True,
    )
    for position, hidden, weight in slots:
        if weight:
            pieces[position] += "{" + tokenizer.id_to_piece(hidden) + "}"
    names = records.FEATURES[-1].disk_names
    label = next(held[name].int64_list.value[0] for name in names if name in held)
    return " ".join(pieces) + " | order " + ("swapped" if label else "kept")
