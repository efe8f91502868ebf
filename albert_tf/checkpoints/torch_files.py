"""PyTorch's files of weights (`pytorch_model.bin`), read without PyTorch and without trusting them.

Such a file is a pickle, which describes the tensors, beside the raw storages that they are views
of. There are two layouts. Since PyTorch 1.6 it is a zip archive:

    NAME/data.pkl      the pickle; NAME is anything
    NAME/byteorder     "little", or absent
    NAME/data/KEY      the numbers of the storage KEY, as a rule uncompressed

Before, and so for the ALBERT of 2019, it is one stream, here called legacy:

    five pickles       magic number, 1001, facts about the writer, the tensors, [KEY ...]
    for each KEY       int64 count of elements, then the numbers

The pickle is read by torch_pickles.py, which runs nothing that it names. What it announces is
checked here against the bytes that the file has.
"""

import functools
import io
import math
import os
import pickle
import struct
import typing
import zipfile
import zlib

import numpy as np

from albert_tf.checkpoints.stored_tensors import (
    StoredTensor,
    check_file,
    errors_name,
    unexpected,
)
from albert_tf.checkpoints.torch_pickles import (
    MOST_PICKLE_BYTES,
    ElementType,
    Storage,
    View,
    unpickle,
)

_KIND, _ERRORS = "a PyTorch file", (OSError, ValueError)
_ZIP_START = b"PK\x03\x04"
_LEGACY_START = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2) + pickle.dumps(1001, protocol=2)

# Training scripts put the weights beside epoch numbers and optimizers, under one of these names.
_WRAPPERS = ("state_dict", "model", "model_state_dict")

_MOST_DEFLATED = 1032  # bytes that one deflated byte can stand for
_MOST_AXES = 32  # NumPy's limit before its 2.0
_MOST_ELEMENTS = 2**59  # what NumPy can count in bytes, although an axis of length 0 leaves none


class _Span(typing.NamedTuple):
    """Where `size` bytes lie in the file: from `start`, in `stored_size` bytes if deflated."""

    start: int
    size: int
    stored_size: int
    deflated: bool


def open_torch_file(path: str | os.PathLike) -> dict[str, StoredTensor]:
    """Returns {name: `StoredTensor`} of a file that `torch.save` wrote of a dict of tensors.

    The dict may lie in another one, under "state_dict", "model" or "model_state_dict"; what else
    is there is ignored. Nothing but the pickle and the sizes is read; each `StoredTensor` opens
    the file again, and reads what its tensor covers.

    Raises:
        CheckpointError: if the file is damaged, or holds anything but tensors.
    """
    with errors_name(path, _KIND, _ERRORS):
        check_file(path)
        with open(path, "rb") as file:
            is_zip = file.read(len(_ZIP_START)) == _ZIP_START
            content, spans = (_open_zip if is_zip else _open_legacy)(file)
        state = _find_state(content)
        return {name: _stored_tensor(path, name, state[name], spans) for name in state}


def _list_entries(file: io.BufferedReader) -> dict[str, zipfile.ZipInfo]:
    """Returns {name: zip entry}; raises ValueError or OSError if the archive is damaged."""
    try:
        with zipfile.ZipFile(file) as archive:
            entries = {entry.filename: entry for entry in archive.infolist()}
            if len(entries) < len(archive.infolist()):
                raise unexpected("a name of its own for each entry", "one name twice")
            return entries
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise unexpected("a whole zip archive", error) from error


def _open_zip(file: io.BufferedReader) -> tuple[typing.Any, dict[str, _Span]]:
    """Returns (the unpickled object, {storage key: _Span})."""
    entries = _list_entries(file)
    pickles = [name for name in entries if name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise unexpected("one entry NAME/data.pkl", pickles)
    folder = pickles[0].removesuffix("data.pkl")
    byte_order = entries.get(folder + "byteorder")
    if byte_order and _read_entry(file, byte_order) != b"little":
        raise unexpected("the byte order 'little'", "another")
    content, storages = unpickle(io.BytesIO(_read_entry(file, entries[pickles[0]])))
    spans = {}
    for storage in storages:
        name = f"{folder}data/{storage.key}"
        if name not in entries:
            raise unexpected(f"an entry {name!r}", "none of that name")
        spans[storage.key] = _locate_entry(file, entries[name])
        _check_size(storage, spans[storage.key].size)
    return content, spans


def _locate_entry(file: io.BufferedReader, entry: zipfile.ZipInfo) -> _Span:
    """Returns the `_Span` of a zip entry, having checked it against the size of the file."""
    name, flags, method = entry.filename, entry.flag_bits, entry.compress_type
    if flags & 1 or method not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise unexpected(f"{name!r} stored or deflated", f"method {method}, flags {flags:#x}")
    _check_end(file, entry.header_offset + zipfile.sizeFileHeader)
    file.seek(entry.header_offset)
    header = file.read(zipfile.sizeFileHeader)
    if not header.startswith(_ZIP_START):
        raise unexpected(f"a header before the entry {name!r}", header)
    # The header's own sizes are zero when the writer did not know them yet; the directory's count.
    start = entry.header_offset + len(header) + sum(struct.unpack_from("<HH", header, 26))
    _check_end(file, start + entry.compress_size)
    most = entry.compress_size * (_MOST_DEFLATED if method == zipfile.ZIP_DEFLATED else 1)
    if entry.file_size > most:
        raise unexpected(f"at most {most} bytes in the entry {name!r}", entry.file_size)
    return _Span(start, entry.file_size, entry.compress_size, method == zipfile.ZIP_DEFLATED)


def _read_entry(file: io.BufferedReader, entry: zipfile.ZipInfo) -> bytes:
    """Returns the bytes of a zip entry that has no more of them than a pickle may have."""
    span = _locate_entry(file, entry)
    if span.size > MOST_PICKLE_BYTES:
        raise unexpected(f"at most {MOST_PICKLE_BYTES} bytes in {entry.filename!r}", span.size)
    return bytes(_read_span(file, span, 0, span.size))


def _open_legacy(file: io.BufferedReader) -> tuple[typing.Any, dict[str, _Span]]:
    """Returns (the unpickled object, {storage key: _Span})."""
    file.seek(0)
    beginning = file.read(len(_LEGACY_START))
    if beginning != _LEGACY_START:
        raise unexpected("a zip archive, or PyTorch's magic number and 1001", beginning)
    # The facts are how wide the writer's integers were; the storages do not depend on them.
    unpickle(file)
    content, storages = unpickle(file)
    keys, _ = unpickle(file)
    storage_of = {storage.key: storage for storage in storages}
    are_keys = isinstance(keys, list) and all(isinstance(key, str) for key in keys)
    if not are_keys or sorted(keys) != sorted(storage_of):
        raise unexpected("a list of the storages of all tensors", "another object")
    spans = {}
    for key in keys:
        start = file.tell() + 8
        count = int.from_bytes(file.read(8), "little", signed=True)
        size = count * storage_of[key].element_type.dtype.itemsize
        _check_size(storage_of[key], size)
        _check_end(file, start + size)
        spans[key] = _Span(start, size, size, False)
        file.seek(start + size)
    return content, spans


def _check_end(file: io.BufferedReader, end: int) -> None:
    size = os.fstat(file.fileno()).st_size
    if end > size:
        raise unexpected(f"at least {end} bytes", f"a file of {size}")


def _check_size(storage: Storage, size: int) -> None:
    if size != storage.elements * storage.element_type.dtype.itemsize:
        elements = f"{storage.elements} elements of {storage.element_type.name}"
        raise unexpected(f"{elements} in the storage {storage.key!r}", f"{size} bytes")


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0


def _find_state(content: object) -> dict:
    """Returns the dict of tensors, which may be wrapped in another."""
    if not isinstance(content, dict):
        raise unexpected("a dict of tensors", f"an object of type {type(content).__name__}")
    wrappers = [name for name in _WRAPPERS if isinstance(content.get(name), dict)]
    if len(wrappers) > 1:
        raise unexpected("one dict of tensors", wrappers)
    return content[wrappers[0]] if wrappers else content


def _stored_tensor(
    path: str | os.PathLike, name: object, view: object, spans: dict[str, _Span]
) -> StoredTensor:
    """Returns the `StoredTensor` of an entry of the dict, having checked it."""
    if not isinstance(name, str):
        raise unexpected("texts as names of tensors", repr(name))
    if not isinstance(view, View):
        raise unexpected(f"a tensor as {name!r}", f"an object of type {type(view).__name__}")
    storage, offset, shape, stride = view
    if not isinstance(storage, Storage) or not type(shape) is type(stride) is tuple:
        raise unexpected(f"a storage, a shape and strides of {name!r}", "other objects")
    are_counts = all(map(_is_count, (offset, *shape, *stride)))
    if not are_counts or not len(shape) == len(stride) <= _MOST_AXES:
        raise unexpected(f"up to {_MOST_AXES} axes and strides of {name!r} from 0 up", "others")
    elements = math.prod(shape)
    fits = elements <= storage.elements and math.prod(filter(None, shape)) <= _MOST_ELEMENTS
    if not fits or (elements and offset + _reach(view) >= storage.elements):
        expected = f"{name!r} to lie in its storage of {storage.elements} elements"
        raise unexpected(expected, f"offset {offset}, shape {shape}, strides {stride}")
    load = functools.partial(_read_tensor, path, name, view, spans[storage.key])
    return StoredTensor(shape, storage.element_type.name, load)


def _reach(view: View) -> int:
    """Returns how many elements after its first one a tensor's last one lies."""
    axes = zip(view.shape, view.stride, strict=True)
    return sum((length - 1) * stride for length, stride in axes)


def _read_tensor(path: str | os.PathLike, name: str, view: View, span: _Span) -> np.ndarray:
    """Returns the numbers, NumPy [*view.shape], contiguous."""
    storage, offset, shape, stride = view
    itemsize = storage.element_type.dtype.itemsize
    size = 0 if 0 in shape else (_reach(view) + 1) * itemsize
    with errors_name(f"{name!r} of {path}", _KIND, _ERRORS), open(path, "rb") as file:
        window = _decode(storage.element_type, _read_span(file, span, offset * itemsize, size))
    if not size:
        return window.reshape(shape)
    # The stride of an axis of length 1 may be any number, and NumPy would convert it.
    axes = zip(shape, stride, strict=True)
    strides = [step * window.itemsize if length > 1 else 0 for length, step in axes]
    strided = np.lib.stride_tricks.as_strided(window, shape, strides)
    return strided if strided.flags.c_contiguous else strided.copy()


def _read_span(file: io.BufferedReader, span: _Span, first: int, size: int) -> bytearray:
    """Returns `size` bytes from the byte `first` of a span, as a bytearray.

    Checksums are not compared: PyTorch does not, and can be told to write none.
    """
    if not size:
        return bytearray()
    if span.deflated:
        file.seek(span.start)
        packed = file.read(span.stored_size)
        try:
            whole = zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, first + size)
        except zlib.error as error:
            raise unexpected("deflated bytes", error) from error
        data = bytearray(whole[first:])
    else:
        file.seek(span.start + first)
        data = bytearray(size)
        del data[file.readinto(data) :]
    if len(data) != size:
        raise unexpected(f"{size} bytes", len(data))
    return data


def _decode(element_type: ElementType, data: bytearray) -> np.ndarray:
    """Returns the elements, NumPy [number], in the dtype that `StoredTensor.read` promises."""
    elements = np.frombuffer(data, element_type.dtype)
    if element_type.name == "bfloat16":
        # A bfloat16 is the upper half of a float32.
        return (elements.astype("<u4") << 16).view("<f4")
    return elements != 0 if element_type.name == "bool" else elements
