"""Files of tf.train.Example, in TFRecord or ArrayRecord: what TensorFlow Datasets prepares.

They are told by their first bytes, as Parquet is. Memory is that of one example.
"""

import os
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from albert_tf import quiet_tensorflow
from albert_tf.pipelines.sources.files import (
    BLOCK_BYTES,
    DAMAGED,
    SkippedInput,
    most_unpacked_bytes,
)

_ARRAY_RECORD_MAGIC = bytes.fromhex("83af70d10d884a3f00000000000000004000000000000000")
# A record of TFRecord: its length, checksums of the length and of the record.
_LENGTH_BYTES, _FRAME_BYTES = 8, 16
_CASTAGNOLI = 0x82F63B78
_RECORDS_AT_ONCE = 64


def is_example_file(path: str) -> bool:
    """Tells by its first bytes whether a file is one of TFRecord or ArrayRecord."""
    try:
        with open(path, "rb") as file:
            head = file.read(len(_ARRAY_RECORD_MAGIC))
    except OSError:
        return False  # who reads it will say why
    return head == _ARRAY_RECORD_MAGIC or _is_tfrecord(head)


def _is_tfrecord(head: bytes) -> bool:
    if len(head) < _LENGTH_BYTES + 4:
        return False
    (checksum,) = struct.unpack_from("<I", head, _LENGTH_BYTES)
    return checksum == _masked_checksum(head[:_LENGTH_BYTES])


def _masked_checksum(content: bytes) -> int:
    """Returns the CRC-32C as TFRecord masks it; for the few bytes of a length."""
    register = 0xFFFFFFFF
    for byte in content:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (_CASTAGNOLI if register & 1 else 0)
    register ^= 0xFFFFFFFF
    return ((register >> 15 | register << 17) + 0xA282EAD8) & 0xFFFFFFFF


def read_texts(
    path: str,
    wanted: Sequence[str],
    report: SkippedInput,
    on_bytes: Callable[[int], None] | None = None,
) -> Iterator[tuple[int, dict[str, str | None]]]:
    """Reads the texts of examples; what cannot be used is reported, never raised.

    Args:
        path: the file.
        wanted: the features that hold them; one inside another is "outer/inner".
        report: receives counts and what was left out.
        on_bytes: called with bytes of the file, as they are used up.

    Yields:
        The number of the example, counted from 1, and its features: the wanted ones as text, in
        which U+FFFD stands for bytes that are not UTF-8 and several texts are lines, others None.
    """
    quiet_tensorflow.load()
    import google.protobuf.message
    import tensorflow as tf

    report.files += 1
    size = os.path.getsize(path)
    most = most_unpacked_bytes(path)
    count_consumed = report.start_counting(on_bytes)
    number = unpacked = 0
    try:
        for number, (consumed, serialized) in enumerate(_read_records(path, size), 1):
            if number % _RECORDS_AT_ONCE == 0:
                count_consumed(consumed)
            unpacked += len(serialized)
            if unpacked > most:
                report.add(path, f"example {number}", "unpacks to far more than its size")
                return
            features = tf.train.Example.FromString(serialized).features.feature
            yield number, _decode_texts(features, wanted, path, number, report)
    except ImportError:
        report.add(path, "", "ArrayRecord file, for which pip install array_record is needed")
    except (
        tf.errors.OpError,
        OSError,
        RuntimeError,
        ValueError,
        google.protobuf.message.DecodeError,
    ) as error:
        detail = str(error).partition("\n")[0][:200]
        report.add(path, f"after example {number}", DAMAGED, detail)
    finally:
        count_consumed(size)


def _read_records(path: str, size: int) -> Iterator[tuple[int, bytes]]:
    """Yields (bytes of the file used up by then, record); raises where the file is damaged."""
    with open(path, "rb") as file:
        is_array_record = file.read(len(_ARRAY_RECORD_MAGIC)) == _ARRAY_RECORD_MAGIC
    if not is_array_record:
        import tensorflow as tf

        consumed = 0
        for record in tf.data.TFRecordDataset(path, buffer_size=BLOCK_BYTES).as_numpy_iterator():
            consumed += len(record) + _FRAME_BYTES
            yield consumed, record
        return
    from array_record.python import array_record_module

    reader = array_record_module.ArrayRecordReader(path)
    try:
        count = reader.num_records()
        for begin in range(0, count, _RECORDS_AT_ONCE):
            end = min(begin + _RECORDS_AT_ONCE, count)
            for record in reader.read(begin, end):
                yield size * end // count, record
    finally:
        reader.close()


def _decode_texts(
    features: Mapping[str, Any],
    wanted: Sequence[str],
    path: str,
    number: int,
    report: SkippedInput,
) -> dict[str, str | None]:
    """Returns {feature: text, or None for those that are not wanted or hold numbers}."""
    texts = dict.fromkeys(sorted(features))
    for name in wanted:
        if name in features and features[name].bytes_list.value:
            content = b"\n".join(features[name].bytes_list.value)
            try:
                texts[name] = content.decode("utf-8")
            except UnicodeDecodeError as error:
                byte = f"byte 0x{content[error.start]:02x} of feature {name!r}"
                report.add(path, f"example {number}", "bytes that are not UTF-8", byte)
                texts[name] = content.decode("utf-8", "replace")
    return texts
