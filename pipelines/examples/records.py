"""The pretraining record: one table that the writer, the parser and the model's inputs share.

B batch, L sequence length, P prediction slots.

In memory a batch is a dict of `input_ids`, `input_mask`, `segment_ids` int32 [B, L];
`masked_lm_positions`, `masked_lm_ids` int32 [B, P]; `masked_lm_weights` float32 [B, P];
`sentence_order_label` int32 [B]. On disk an example is a `tf.train.Example` under the names that
Google's ALBERT code uses, so that either side can read the other's files.
"""

import contextlib
import dataclasses
import functools
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from albert_tf import tensorflow_writes, whole_files


@dataclasses.dataclass(frozen=True)
class RecordFeature:
    """One row of the feature table.

    Attributes:
        name: key in memory.
        width: "L", "P" or "1": values per example on disk; "1" is a scalar in memory.
        dtype: type in memory; on disk floats are floats and everything else is int64.
        disk_names: keys on disk, the one we write first; a reader accepts any of them.
        below: what every value is below; no value is negative. "V" the vocabulary, "L" as above.
        optional: not needed to read a record, only written for Google's reader.
    """

    name: str
    width: str
    dtype: tf.DType
    disk_names: tuple[str, ...]
    below: str | float
    optional: bool = False


FEATURES = (
    RecordFeature("input_ids", "L", tf.int32, ("input_ids",), "V"),
    RecordFeature("input_mask", "L", tf.int32, ("input_mask",), 2),
    RecordFeature("segment_ids", "L", tf.int32, ("segment_ids",), 2),
    # 1 where a piece starts a word. Google's reader asks for it; ours does not.
    RecordFeature("token_boundary", "L", tf.int32, ("token_boundary",), 2, optional=True),
    RecordFeature("masked_lm_positions", "P", tf.int32, ("masked_lm_positions",), "L"),
    RecordFeature("masked_lm_ids", "P", tf.int32, ("masked_lm_ids",), "V"),
    RecordFeature("masked_lm_weights", "P", tf.float32, ("masked_lm_weights",), np.inf),
    # The name on disk is historical: the content has always been the sentence order.
    RecordFeature(
        "sentence_order_label", "1", tf.int32, ("next_sentence_labels", "sentence_order_label"), 2
    ),
)

_MISSING_LABEL = -1


def _values_per_example(
    feature: RecordFeature, max_seq_length: int, max_predictions_per_seq: int
) -> int:
    return {"L": max_seq_length, "P": max_predictions_per_seq, "1": 1}[feature.width]


def upper_bound(feature: RecordFeature, max_seq_length: int, vocab_size: int | None) -> float:
    """Returns what every value of a feature is below; ids of no known vocabulary are any int32."""
    return {"V": vocab_size or 2**31, "L": max_seq_length}.get(feature.below, feature.below)


def record_features(
    max_seq_length: int, max_predictions_per_seq: int
) -> dict[str, tf.io.FixedLenFeature]:
    """Returns what `tf.io.parse_example` needs to read a record: disk name -> FixedLenFeature."""
    table = {}
    for feature in FEATURES:
        if feature.optional:
            continue
        width = _values_per_example(feature, max_seq_length, max_predictions_per_seq)
        disk_dtype = tf.float32 if feature.dtype.is_floating else tf.int64
        # Only a feature with two possible names may be absent under one of them.
        default = [_MISSING_LABEL] * width if len(feature.disk_names) > 1 else None
        for disk_name in feature.disk_names:
            table[disk_name] = tf.io.FixedLenFeature([width], disk_dtype, default)
    return table


def parse_example(
    serialized: tf.Tensor,
    max_seq_length: int,
    max_predictions_per_seq: int,
    vocab_size: int | None = None,
) -> dict[str, tf.Tensor]:
    """Parses serialized records into the tensors of a batch.

    Values that no record of these sizes has are an `InvalidArgumentError` of TensorFlow. Without
    it, a GPU would look them up as zeros, and a weight that is no number would ruin the model.

    Args:
        serialized: string tensor, [] for one record or [B] for a batch (faster).
        max_seq_length: L of the records.
        max_predictions_per_seq: P of the records.
        vocab_size: V, where ids are to be compared with it.

    Returns:
        The dict of the module docstring; without the batch axis where `serialized` is a scalar.
    """
    serialized = tf.convert_to_tensor(serialized)
    table = record_features(max_seq_length, max_predictions_per_seq)
    if serialized.shape.rank == 0:
        on_disk = tf.io.parse_single_example(serialized, table)
    else:
        on_disk = tf.io.parse_example(serialized, table)  # [B, L], [B, P], [B, 1]
    batch = {}
    for feature in FEATURES:
        if feature.optional:
            continue
        # The absent one of two names holds -1, so the maximum is the one that is there.
        values = functools.reduce(tf.maximum, [on_disk[name] for name in feature.disk_names])
        bound = tf.cast(upper_bound(feature, max_seq_length, vocab_size), values.dtype)
        is_whole = tf.reduce_all((values >= 0) & (values < bound))  # not a number is neither
        tf.debugging.Assert(
            is_whole, [f"{feature.name} must lie in [0,", bound, "). Received:", values]
        )
        if feature.width == "1":
            values = tf.squeeze(values, axis=-1)  # [B]
        batch[feature.name] = tf.cast(values, feature.dtype)
    return batch


def input_specification(
    max_seq_length: int,
    max_predictions_per_seq: int,
    batch_size: int | None = None,
    places: int = 1,
) -> dict[str, tf.TensorSpec]:
    """Returns name -> `tf.TensorSpec` of a batch.

    Args:
        max_seq_length: L.
        max_predictions_per_seq: P.
        batch_size: B; None leaves it open.
        places: K of rows of `packed_examples`; 1 for one example a row, as records have.
    """
    specification = {}
    for feature in FEATURES:
        if feature.optional:
            continue
        shape = [batch_size]
        if feature.width != "1":
            shape.append(_values_per_example(feature, max_seq_length, max_predictions_per_seq))
        specification[feature.name] = tf.TensorSpec(shape, feature.dtype, feature.name)
    if places > 1:
        of_token, of_place = [batch_size, max_seq_length], [batch_size, places]
        for name, shape, dtype in (
            ("example_numbers", of_token, tf.int32),
            ("cls_positions", of_place, tf.int32),
            ("sentence_order_label", of_place, tf.int32),
            ("sentence_order_weights", of_place, tf.float32),
        ):
            specification[name] = tf.TensorSpec(shape, dtype, name)
    return specification


# --- Writing ------------------------------------------------------------------------------------
#
# A tf.train.Example of 512 tokens costs about 170 microseconds through the Python protobuf classes
# and a tenth of that when the wire format is laid out for a whole batch in NumPy. The format is
# tag, length, payload: Example.features = 1 -> Features.feature = 1 (a map entry: key = 1,
# value = 2) -> Feature.{float_list = 2, int64_list = 3} -> value = 1 (packed).


def serialize_batch(batch: dict[str, np.ndarray]) -> list[bytes]:
    """Serializes a batch of NumPy arrays, one `tf.train.Example` a row.

    The bytes are those of `Example.SerializeToString(deterministic=True)`.

    Args:
        batch: the dict of the module docstring; `token_boundary` [B, L] may be in it too.

    Returns:
        B byte strings.

    Raises:
        ValueError: a feature is missing, or an integer is negative.
    """
    required = {feature.name for feature in FEATURES if not feature.optional}
    missing = sorted(required - batch.keys())
    if missing:
        raise ValueError(f"batch must hold {sorted(required)}. Received: no {missing}")
    columns = []
    present = [feature for feature in FEATURES if feature.name in batch]
    for feature in sorted(present, key=lambda row: row.disk_names[0]):
        values = np.asarray(batch[feature.name])
        if values.ndim == 1:
            values = values[:, None]  # [B, 1]
        columns.append(_encode_column(feature, values))
    examples = []
    for entries in zip(*columns, strict=True):
        body = b"".join(entries)
        examples.append(b"\n" + _encode_length(len(body)) + body)
    return examples


def _encode_column(feature: RecordFeature, values: np.ndarray) -> list[bytes]:
    """Returns one feature of all rows ([B, W]) as B map entries of `Features.feature`."""
    name = feature.disk_names[0]
    if feature.dtype.is_floating:
        list_tag = b"\x12"
        payload = np.ascontiguousarray(values, "<f4").tobytes()
        row_ends = np.arange(1, len(values) + 1) * values.shape[1] * 4
    else:
        list_tag = b"\x1a"
        payload, row_ends = _encode_varints(name, values)
    # Rows differ in length by a few bytes, so few distinct headers serve all of them.
    headers = {}
    entries = []
    start = 0
    for end in row_ends.tolist():
        length = end - start
        header = headers.get(length)
        if header is None:
            header = headers[length] = _encode_entry_header(name, list_tag, length)
        entries.append(header + payload[start:end])
        start = end
    return entries


def _encode_entry_header(name: str, list_tag: bytes, payload_length: int) -> bytes:
    values = b"\n" + _encode_length(payload_length)
    value_list = list_tag + _encode_length(len(values) + payload_length) + values
    key = b"\n" + _encode_length(len(name)) + name.encode()
    entry = key + b"\x12" + _encode_length(len(value_list) + payload_length) + value_list
    return b"\n" + _encode_length(len(entry) + payload_length) + entry


def _encode_length(value: int) -> bytes:
    groups = []
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*groups, value])


def _encode_varints(name: str, values: np.ndarray) -> tuple[bytes, np.ndarray]:
    """Returns (bytes of all rows end to end, [B] end of each row) for integers [B, W]."""
    if values.min(initial=0) < 0:
        raise ValueError(f"{name} must not be negative. Received: {values.min()}")
    largest = int(values.max(initial=0))
    if largest < 0x80:  # one byte a value
        return values.astype(np.uint8).tobytes(), np.arange(1, len(values) + 1) * values.shape[1]
    group_count = (largest.bit_length() + 6) // 7
    values = values.astype(np.uint32 if largest < 2**32 else np.uint64)
    groups = np.empty((*values.shape, group_count), np.uint8)  # [B, W, groups]
    used = np.ones(groups.shape, bool)
    for index in range(group_count):
        rest = values >> (7 * index)
        groups[..., index] = rest & 0x7F
        if index:
            used[..., index] = rest > 0
            # The bit that says "another group follows" belongs to the group before.
            groups[..., index - 1] |= (rest > 0).astype(np.uint8) << 7
    row_ends = np.cumsum(used.sum(axis=(1, 2)))
    return groups[used].tobytes(), row_ends


@contextlib.contextmanager
def open_record_file(path: str, compress: bool = False) -> Iterator[tf.io.TFRecordWriter]:
    """Opens a record file that appears under `path` only when it is complete.

    The file is written beside its final place under a hidden name, forced to disk and renamed when
    the block ends without an exception, and removed when it does not.

    Raises:
        OSError: naming `path`, where it cannot be written.
    """
    options = tf.io.TFRecordOptions(compression_type="GZIP" if compress else "")
    # TensorFlow's writer opens a file by its name; the one that Python holds open is the same.
    with whole_files.whole_file(path, "wb") as file, tensorflow_writes.errors_name(path):
        with tf.io.TFRecordWriter(file.name, options) as writer:
            yield writer
