"""Files of pretraining records: which there are, how many examples they hold, what is damaged.

L sequence length, P prediction slots.
"""

from __future__ import annotations

import functools
import gzip
import io
import itertools
import os
import pathlib
import re
import struct
import typing
import zlib
from collections.abc import Mapping, Sequence

import google.protobuf.message
import numpy as np
import tensorflow as tf

from albert_tf.pipelines.examples import records

if typing.TYPE_CHECKING:
    from albert_tf.pipelines.tokenizer.tokenization import Tokenizer

_SUFFIXES = (".tfrecord", ".gz")
# TFRecord framing: length, its checksum, the record, its checksum.
_LENGTH_AND_CHECKSUM = struct.Struct("<QI")
_BLOCK_BYTES = 2**20
_FRAME_BYTES = _LENGTH_AND_CHECKSUM.size + 4


def find_record_files(folder: str | os.PathLike, kind: str) -> list[pathlib.Path]:
    """Returns the record files of a kind in a folder, sorted; no copies and digests beside them."""
    paths = pathlib.Path(folder).glob(f"{kind}-*.tfrecord*")
    return sorted(path for path in paths if path.suffix in _SUFFIXES)


def list_record_files(input_files: str | os.PathLike | Sequence[str | os.PathLike]) -> list[str]:
    """Expands files and patterns into a sorted list of files without duplicates.

    Raises:
        ValueError: a name or pattern matches nothing, or a folder.
    """
    patterns = [input_files] if isinstance(input_files, str | os.PathLike) else list(input_files)
    files = {}  # the first spelling of each
    for pattern in patterns:
        # Looking for a pattern reads the folder, which for each of its files would take long.
        is_file = os.path.isfile(pattern)
        matches = [os.fspath(pattern)] if is_file else tf.io.gfile.glob(os.fspath(pattern))
        if not matches:
            raise ValueError(f"input_files must match at least one file. Received: {pattern!r}")
        folders = [match for match in matches if os.path.isdir(match)]
        if folders:
            raise ValueError(f"input_files must be record files. Received: the folder {folders[0]}")
        for match in matches:
            files.setdefault(os.path.abspath(match), match)
    if not files:
        raise ValueError("input_files must name at least one file. Received: an empty list")
    for file in files.values():
        if "://" not in file and not os.path.isfile(file):
            raise ValueError(f"input_files must be files. Received: {file}, which is none")
    return sorted(files.values())


def count_examples(input_files: str | os.PathLike | Sequence[str | os.PathLike]) -> int:
    """Counts the records of files; reads only the lengths, so a file costs one pass of seeks.

    Raises:
        ValueError: a file is cut off or is not a record file; the message names it and the record.
    """
    return sum(_count_records(file) for file in list_record_files(input_files))


def _count_records(path: str) -> int:
    if "://" in path:  # a remote file system: seeking costs more than reading
        stream = tf.data.TFRecordDataset(path, compression_type=compression_of(path))
        return int(stream.reduce(np.int64(0), lambda count, _: count + 1))
    count = offset = 0
    size = None if compression_of(path) else os.path.getsize(path)
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
            except (EOFError, gzip.BadGzipFile, zlib.error, OverflowError) as error:
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


def _skip_bytes(file: gzip.GzipFile | io.FileIO, count: int) -> bool:
    """Returns whether a stream has so many bytes more, having read them a block at a time."""
    while count:
        block = file.read(min(count, _BLOCK_BYTES))
        if not block:
            return False
        count -= len(block)
    return True


def record_sizes(input_files: str | os.PathLike | Sequence[str | os.PathLike]) -> tuple[int, int]:
    """Returns (max_seq_length, max_predictions_per_seq) of the first record of the files.

    Raises:
        ValueError: the files hold no pretraining record; the message names them.
    """
    files = list_record_files(input_files)
    for path in files:
        first = _read_first_record(path)
        if first is not None:
            features = _parse_features(path, first)
            length = len(features["input_ids"].int64_list.value)
            predictions = len(features["masked_lm_ids"].int64_list.value)
            _check_record(path, first, length, predictions)
            return length, predictions
    raise ValueError(f"input_files must hold at least one example. Received: {files}")


def check_record_file(
    path: str, max_seq_length: int, max_predictions_per_seq: int, vocab_size: int | None = None
) -> None:
    """Raises ValueError where a file's first record is not one of the sizes asked for.

    An empty file passes: it adds nothing.
    """
    first = _read_first_record(path)
    if first is not None:
        _check_record(path, first, max_seq_length, max_predictions_per_seq, vocab_size)


def _read_first_record(path: str) -> bytes | None:
    """Returns the first record's bytes, or None where the file is empty."""
    stream = tf.data.TFRecordDataset(path, compression_type=compression_of(path)).take(1)
    try:
        return next(stream.as_numpy_iterator(), None)
    except tf.errors.OpError as error:
        raise ValueError(
            f"{path} must be a TFRecord file{_compression_hint(path)}. Received: "
            f"{_reason_of(error)}"
        ) from error


def _parse_features(place: str, serialized: bytes) -> Mapping[str, tf.train.Feature]:
    try:
        return tf.train.Example.FromString(serialized).features.feature
    except google.protobuf.message.DecodeError as error:
        raise ValueError(
            f"{place} must hold tf.train.Example records. Received: {error}"
        ) from error


def _check_record(
    place: str,
    serialized: bytes,
    max_seq_length: int,
    max_predictions_per_seq: int,
    vocab_size: int | None = None,
) -> None:
    """Raises ValueError for what `records.parse_example` does not take; it begins with `place`."""
    features = _parse_features(place, serialized)
    for feature in records.FEATURES:
        if feature.optional:
            continue
        name = next((name for name in feature.disk_names if name in features), None)
        if name is None:
            raise ValueError(
                f"{place} must hold pretraining records with the feature "
                f"{' or '.join(feature.disk_names)}. Received: {sorted(features)}"
            )
        kind = "float_list" if feature.dtype.is_floating else "int64_list"
        values = np.asarray(getattr(features[name], kind).value)
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
    """Reads every record and returns what is wrong with the first damaged file, or None.

    TensorFlow's errors do not name the file they met; a trainer that catches one calls this.

    Args:
        input_files: files that existed once.
        max_seq_length, max_predictions_per_seq: which every record must have, if given.
        vocab_size: which all ids must be below, if given.

    Returns:
        A sentence such as `out/train-00001-of-00003.tfrecord, record 17: corrupted record at
        70122`.
    """
    for path in [input_files] if isinstance(input_files, str | os.PathLike) else input_files:
        count = 0
        try:
            stream = tf.data.TFRecordDataset(path, compression_type=compression_of(path))
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


def _reason_of(error: tf.errors.OpError) -> str:
    """Returns TensorFlow's message without the names of its operations."""
    return re.sub(r"\{\{.*?\}\} ?| \[Op:.*", "", error.message)


def read_in_order(files: Sequence[str]) -> tf.data.Dataset:
    """Returns the serialized records of files, one file after the other."""
    # Compression is a property of a whole TFRecordDataset, so runs of files that share it are
    # chained.
    runs = [
        tf.data.TFRecordDataset(list(run), compression_type=compression)
        for compression, run in itertools.groupby(files, compression_of)
    ]
    return functools.reduce(tf.data.Dataset.concatenate, runs)


def compression_of(path: str) -> str:
    """Returns what TensorFlow calls the compression of a record file, by its name."""
    return "GZIP" if path.endswith(".gz") else ""


def _compression_hint(path: str) -> str:
    return " compressed with GZIP" if compression_of(path) else ""


def read_records(input_files: str | Sequence[str], count: int) -> list[bytes]:
    """Reads the first `count` serialized records of files, to look at."""
    stream = read_in_order(list_record_files(input_files))
    return list(stream.take(count).as_numpy_iterator())


def describe_example(serialized: bytes, tokenizer: Tokenizer) -> str:
    """Shows a record in one line: pieces, with each masked slot as `seen{hidden}`.

    For example `[CLS] ▁the [MASK]{▁cat} ▁sat [SEP] ▁on ▁it [SEP] | order kept`.

    Args:
        serialized: one record.
        tokenizer: the `Tokenizer` that made it.

    Returns:
        The pieces without padding and the sentence order.
    """
    features = tf.train.Example.FromString(serialized).features.feature
    length = sum(features["input_mask"].int64_list.value)
    pieces = [tokenizer.id_to_piece(i) for i in features["input_ids"].int64_list.value[:length]]
    slots = zip(
        features["masked_lm_positions"].int64_list.value,
        features["masked_lm_ids"].int64_list.value,
        features["masked_lm_weights"].float_list.value,
        strict=True,
    )
    for position, hidden, weight in slots:
        if weight:
            pieces[position] += "{" + tokenizer.id_to_piece(hidden) + "}"
    names = records.FEATURES[-1].disk_names
    label = next(features[name].int64_list.value[0] for name in names if name in features)
    return " ".join(pieces) + " | order " + ("swapped" if label else "kept")
