"""PyTorch's files of weights (`pytorch_model.bin`), read without PyTorch and without trusting them.

Such a file is a pickle, which describes the tensors, beside the raw storages that they are views
of. There are two layouts. Since PyTorch 1.6 it is a zip archive:

    NAME/data.pkl      the pickle; NAME is anything
    NAME/byteorder     "little", or absent
    NAME/data/KEY      the numbers of the storage KEY, as a rule uncompressed

Before, and so for the ALBERT of 2019, it is one stream, here called legacy:

    five pickles       magic number, 1001, facts about the writer, the tensors, [KEY ...]
    for each KEY       int64 count of elements, then the numbers

A pickle is a program. `_take_pickle` goes over its opcodes and refuses what could exhaust or crash
Python's unpickler; `_Unpickler` runs it with inert stand-ins for PyTorch's names, so nothing that
the file names is imported or called. The result is checked against the bytes that the file has.
"""

import collections.abc
import contextlib
import functools
import io
import math
import os
import pickle
import pickletools
import struct
import typing
import zipfile
import zlib

import numpy as np

from albert_tf.checkpoints.stored_tensors import CheckpointError, StoredTensor, check_file

_ZIP_START = b"PK\x03\x04"
_LEGACY_START = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2) + pickle.dumps(1001, protocol=2)

# Training scripts put the weights beside epoch numbers and optimizers, under one of these names.
_WRAPPERS = ("state_dict", "model", "model_state_dict")

# 25,000 tensors take about this much; it bounds the memory that opening can cost.
_MOST_PICKLE_BYTES = 16 * 2**20
_MOST_OPCODES = 1_000_000
_MOST_DEFLATED = 1032  # bytes that one deflated byte can stand for
_MOST_AXES = 32  # NumPy's limit before its 2.0
_MOST_ELEMENTS = 2**59  # what NumPy can count in bytes, although an axis of length 0 leaves none

# What `torch.save` writes of tensors, its protocol being 2 unless someone asks for another; and
# NEWOBJ, which no stand-in obeys, so that a pickled model is refused by the name of its class.
_KEYS = ("BINUNICODE", "BININT", "BININT1", "BININT2")
_CHANGES = ("SETITEM", "SETITEMS", "APPEND", "APPENDS", "BUILD")
_OPCODES = {
    *(*_KEYS, *_CHANGES, "PROTO", "STOP", "MARK", "BINPUT", "LONG_BINPUT", "BINGET", "NEWOBJ"),
    *("LONG_BINGET", "NONE", "NEWTRUE", "NEWFALSE", "LONG1", "BINFLOAT", "EMPTY_TUPLE", "TUPLE"),
    *("TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_LIST", "EMPTY_DICT", "GLOBAL", "BINPERSID", "REDUCE"),
}


class _ElementType(typing.NamedTuple):
    """What the elements of a storage are: its name to us and the NumPy dtype of its bytes."""

    name: str
    dtype: np.dtype


class _Storage(typing.NamedTuple):
    """A storage as the pickle announces it."""

    key: str
    element_type: _ElementType
    elements: int


class _View(typing.NamedTuple):
    """A tensor as the pickle announces it, unchecked: anything may be in the fields."""

    storage: _Storage
    offset: int
    shape: tuple
    stride: tuple


class _Span(typing.NamedTuple):
    """Where `size` bytes lie in the file: from `start`, in `stored_size` bytes if deflated."""

    start: int
    size: int
    stored_size: int
    deflated: bool


def open_torch_file(path):
    """Returns {name: `StoredTensor`} of a file that `torch.save` wrote of a dict of tensors.

    The dict may lie in another one, under "state_dict", "model" or "model_state_dict"; what else
    is there is ignored. Nothing but the pickle and the sizes is read; each `StoredTensor` opens
    the file again, and reads what its tensor covers.

    Raises:
        CheckpointError: if the file is damaged, or holds anything but tensors.
    """
    with _errors_name(path):
        check_file(path)
        with open(path, "rb") as file:
            is_zip = file.read(len(_ZIP_START)) == _ZIP_START
            content, spans = (_open_zip if is_zip else _open_legacy)(file)
        state = _find_state(content)
        return {name: _stored_tensor(path, name, state[name], spans) for name in state}


@contextlib.contextmanager
def _errors_name(path):
    """Turns the errors of reading `path` into a `CheckpointError` that begins with it."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read as a PyTorch file: {error}") from error


def _unexpected(expected, received):
    return CheckpointError(f"expected {expected}. Received: {received}")


def _list_entries(file):
    """Returns {name: zip entry}; raises ValueError or OSError if the archive is damaged."""
    try:
        with zipfile.ZipFile(file) as archive:
            entries = {entry.filename: entry for entry in archive.infolist()}
            if len(entries) < len(archive.infolist()):
                raise _unexpected("a name of its own for each entry", "one name twice")
            return entries
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise _unexpected("a whole zip archive", error) from error


def _open_zip(file):
    """Returns (the unpickled object, {storage key: _Span})."""
    entries = _list_entries(file)
    pickles = [name for name in entries if name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise _unexpected("one entry NAME/data.pkl", pickles)
    folder = pickles[0].removesuffix("data.pkl")
    byte_order = entries.get(folder + "byteorder")
    if byte_order and _read_entry(file, byte_order) != b"little":
        raise _unexpected("the byte order 'little'", "another")
    content, storages = _unpickle(io.BytesIO(_read_entry(file, entries[pickles[0]])))
    spans = {}
    for storage in storages:
        name = f"{folder}data/{storage.key}"
        if name not in entries:
            raise _unexpected(f"an entry {name!r}", "none of that name")
        spans[storage.key] = _locate_entry(file, entries[name])
        _check_size(storage, spans[storage.key].size)
    return content, spans


def _locate_entry(file, entry):
    """Returns the `_Span` of a zip entry, having checked it against the size of the file."""
    name, flags, method = entry.filename, entry.flag_bits, entry.compress_type
    if flags & 1 or method not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise _unexpected(f"{name!r} stored or deflated", f"method {method}, flags {flags:#x}")
    _check_end(file, entry.header_offset + zipfile.sizeFileHeader)
    file.seek(entry.header_offset)
    header = file.read(zipfile.sizeFileHeader)
    if not header.startswith(_ZIP_START):
        raise _unexpected(f"a header before the entry {name!r}", header)
    # The header's own sizes are zero when the writer did not know them yet; the directory's count.
    start = entry.header_offset + len(header) + sum(struct.unpack_from("<HH", header, 26))
    _check_end(file, start + entry.compress_size)
    most = entry.compress_size * (_MOST_DEFLATED if method == zipfile.ZIP_DEFLATED else 1)
    if entry.file_size > most:
        raise _unexpected(f"at most {most} bytes in the entry {name!r}", entry.file_size)
    return _Span(start, entry.file_size, entry.compress_size, method == zipfile.ZIP_DEFLATED)


def _read_entry(file, entry):
    """Returns the bytes of a zip entry that has no more of them than a pickle may have."""
    span = _locate_entry(file, entry)
    if span.size > _MOST_PICKLE_BYTES:
        raise _unexpected(f"at most {_MOST_PICKLE_BYTES} bytes in {entry.filename!r}", span.size)
    return bytes(_read_span(file, span, 0, span.size))


def _open_legacy(file):
    """Returns (the unpickled object, {storage key: _Span})."""
    file.seek(0)
    beginning = file.read(len(_LEGACY_START))
    if beginning != _LEGACY_START:
        raise _unexpected("a zip archive, or PyTorch's magic number and 1001", beginning)
    # The facts are how wide the writer's integers were; the storages do not depend on them.
    _unpickle(file)
    content, storages = _unpickle(file)
    keys, _ = _unpickle(file)
    announced = {storage.key: storage for storage in storages}
    are_keys = isinstance(keys, list) and all(isinstance(key, str) for key in keys)
    if not are_keys or sorted(keys) != sorted(announced):
        raise _unexpected("a list of the storages of all tensors", "another object")
    spans = {}
    for key in keys:
        start = file.tell() + 8
        count = int.from_bytes(file.read(8), "little", signed=True)
        size = count * announced[key].element_type.dtype.itemsize
        _check_size(announced[key], size)
        _check_end(file, start + size)
        spans[key] = _Span(start, size, size, False)
        file.seek(start + size)
    return content, spans


def _check_end(file, end):
    size = os.fstat(file.fileno()).st_size
    if end > size:
        raise _unexpected(f"at least {end} bytes", f"a file of {size}")


def _check_size(storage, size):
    if size != storage.elements * storage.element_type.dtype.itemsize:
        elements = f"{storage.elements} elements of {storage.element_type.name}"
        raise _unexpected(f"{elements} in the storage {storage.key!r}", f"{size} bytes")


class _PickleSource:
    """What `pickletools.genops` reads from; `data` is what it has read, at most one pickle."""

    def __init__(self, file):
        self._file = file
        self.data = bytearray()

    def read(self, count):
        """Returns up to `count` bytes."""
        return self._keep(self._file.read(min(count, _MOST_PICKLE_BYTES + 1)))

    def readline(self):
        """Returns the bytes up to a line feed; refuses what `genops` would take for escapes."""
        line = self._keep(self._file.readline(_MOST_PICKLE_BYTES + 1))
        if b"\\" in line:
            raise _unexpected("no backslash in a name", line)
        return line

    def _keep(self, data):
        self.data += data
        if len(self.data) > _MOST_PICKLE_BYTES:
            raise _unexpected(f"a pickle of at most {_MOST_PICKLE_BYTES} bytes", "a longer one")
        return data


def _take_pickle(file):
    """Returns the bytes of the pickle at which `file` stands, when they are safe to unpickle.

    Python's unpickler reserves memory for any memo index, and dies of hashing a deep tuple. So
    memo indices are bounded, and keys must be texts or integers, of 32 bits because longer ones can
    be chosen to collide. To know the keys, a stack is kept as the unpickler would: possible keys
    are themselves on it, a possible dict is the set of its keys, and all else is None.

    Raises:
        ValueError, AttributeError, LookupError, TypeError: for what `torch.save` does not write.
    """
    source = _PickleSource(file)
    stack, marks, memo = [], [], {}
    for count, (opcode, argument, _) in enumerate(pickletools.genops(source)):
        name = opcode.name
        if name not in _OPCODES or count == _MOST_OPCODES:
            raise _unexpected(f"at most {_MOST_OPCODES} opcodes that torch.save writes", name)
        if name == "MARK":
            marks.append(len(stack))
            continue
        taken = _take_operands(opcode, stack, marks)
        if name in ("SETITEM", "SETITEMS"):
            _add_keys(taken[0], taken[1::2])
        if name in ("BINPUT", "LONG_BINPUT"):
            # Writers count up, and each count takes them more than a byte.
            if argument > len(source.data):
                raise _unexpected("a memo index below the number of bytes", argument)
            memo[argument] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name in _CHANGES:
            stack.append(taken[0])
        elif name in _KEYS:
            stack.append(argument)
        elif name in ("EMPTY_DICT", "REDUCE"):
            stack.append(set())
        elif name not in ("PROTO", "STOP"):
            stack.append(None)
    return bytes(source.data)


def _take_operands(opcode, stack, marks):
    """Pops and returns what the opcode takes, without the mark."""
    below, items = opcode.stack_before, []
    if pickletools.markobject in below:
        below = below[: below.index(pickletools.markobject)]
        bottom = marks.pop()
        items = stack[bottom:]
        del stack[bottom:]
    return [stack.pop() for _ in below][::-1] + items


def _add_keys(known, keys):
    """Adds the keys to those of a dict, as `_take_pickle` keeps them."""
    for key in keys:
        if not isinstance(key, str | int):
            raise _unexpected("texts and integers of 32 bits as keys", "another object")
        if key in known:
            raise _unexpected("each name once", f"{key!r} twice")
        known.add(key)


class _Callable(typing.NamedTuple):
    """A stand-in that a pickle may call; unlike a function or class, BUILD cannot change it."""

    function: collections.abc.Callable

    def __call__(self, *arguments):
        return self.function(*arguments)


class _Names(dict):
    """Stands in for `OrderedDict`; lets go of the module versions that `state_dict` hangs on it."""

    __slots__ = ()

    def __setstate__(self, state):
        """Ignores what `BUILD` brings."""


# (PyTorch's storage, the dtype, the dtype of the bytes). The last two differ where NumPy lacks the
# dtype, and for bool, of which NumPy expects no other bytes than 0 and 1.
_ELEMENT_TYPES = (
    ("DoubleStorage", "float64", "<f8"),
    ("FloatStorage", "float32", "<f4"),
    ("HalfStorage", "float16", "<f2"),
    ("BFloat16Storage", "bfloat16", "<u2"),
    ("LongStorage", "int64", "<i8"),
    ("IntStorage", "int32", "<i4"),
    ("ShortStorage", "int16", "<i2"),
    ("CharStorage", "int8", "i1"),
    ("ByteStorage", "uint8", "u1"),
    ("BoolStorage", "bool", "u1"),
)
_GLOBALS = {
    "collections.OrderedDict": _Callable(lambda: _Names()),
    # What follows, such as whether a gradient is wanted, concerns training.
    "torch._utils._rebuild_tensor_v2": _Callable(
        lambda storage, offset, shape, stride, *_: _View(storage, offset, shape, stride)
    ),
    "torch._utils._rebuild_parameter": _Callable(lambda tensor, *_: tensor),
    "torch.Size": _Callable(lambda axes: axes),
} | {
    f"torch.{path}": _ElementType(name, np.dtype(stored))
    for storage, name, stored in _ELEMENT_TYPES
    for path in (storage, f"storage.{storage}", name)
}


class _Unpickler(pickle.Unpickler):
    """Makes `_View`s of tensors and `_Storage`s of storages; knows the names in `_GLOBALS` only."""

    def __init__(self, data):
        super().__init__(io.BytesIO(data))
        self.storages = {}

    def find_class(self, module, name):
        """Returns the stand-in for a global."""
        path = f"{module}.{name}"
        if path not in _GLOBALS:
            raise _unexpected("only tensors", f"the global {path!r}")
        return _GLOBALS[path]

    def persistent_load(self, description):
        """Returns the `_Storage` for ("storage", type, key, device, elements[, None])."""
        match description:
            # A sixth field makes it a part of another storage, as before PyTorch 0.4, or is None.
            case ("storage", _ElementType() as element_type, str(key), _, int(elements), *rest):
                storage = _Storage(key, element_type, elements)
                known = self.storages.setdefault(key, storage)
                if known == storage and elements >= 0 and rest in ([], [None]):
                    return storage
                raise _unexpected(f"one whole storage {key!r}", "a part, or two different ones")
        raise _unexpected("a storage with a type, a key, a device and a size", "another object")


def _unpickle(file):
    """Returns (the object, [_Storage ...]) of the pickle at which `file` stands."""
    try:
        unpickler = _Unpickler(_take_pickle(file))
        return unpickler.load(), list(unpickler.storages.values())
    except (pickle.UnpicklingError, AttributeError, LookupError, TypeError) as error:
        raise _unexpected("a pickle of tensors", repr(error)) from error


def _is_count(value):
    return type(value) is int and value >= 0


def _find_state(content):
    """Returns the dict of tensors, which may be wrapped in another."""
    if not isinstance(content, dict):
        raise _unexpected("a dict of tensors", f"an object of type {type(content).__name__}")
    wrapped = [name for name in _WRAPPERS if isinstance(content.get(name), dict)]
    if len(wrapped) > 1:
        raise _unexpected("one dict of tensors", wrapped)
    return content[wrapped[0]] if wrapped else content


def _stored_tensor(path, name, view, spans):
    """Returns the `StoredTensor` of an entry of the dict, having checked it."""
    if not isinstance(name, str):
        raise _unexpected("texts as names of tensors", repr(name))
    if not isinstance(view, _View):
        raise _unexpected(f"a tensor as {name!r}", f"an object of type {type(view).__name__}")
    storage, offset, shape, stride = view
    if not isinstance(storage, _Storage) or not type(shape) is type(stride) is tuple:
        raise _unexpected(f"a storage, a shape and strides of {name!r}", "other objects")
    are_counts = all(map(_is_count, (offset, *shape, *stride)))
    if not are_counts or not len(shape) == len(stride) <= _MOST_AXES:
        raise _unexpected(f"up to {_MOST_AXES} axes and strides of {name!r} from 0 up", "others")
    elements = math.prod(shape)
    fits = elements <= storage.elements and math.prod(filter(None, shape)) <= _MOST_ELEMENTS
    if not fits or (elements and offset + _reach(view) >= storage.elements):
        expected = f"{name!r} to lie in its storage of {storage.elements} elements"
        raise _unexpected(expected, f"offset {offset}, shape {shape}, strides {stride}")
    load = functools.partial(_read_tensor, path, name, view, spans[storage.key])
    return StoredTensor(shape, storage.element_type.name, load)


def _reach(view):
    """Returns how many elements after its first one a tensor's last one lies."""
    axes = zip(view.shape, view.stride, strict=True)
    return sum((length - 1) * stride for length, stride in axes)


def _read_tensor(path, name, view, span):
    """Returns the numbers, NumPy [*view.shape], contiguous."""
    storage, offset, shape, stride = view
    itemsize = storage.element_type.dtype.itemsize
    size = 0 if 0 in shape else (_reach(view) + 1) * itemsize
    with _errors_name(f"{name!r} of {path}"), open(path, "rb") as file:
        window = _decode(storage.element_type, _read_span(file, span, offset * itemsize, size))
    if not size:
        return window.reshape(shape)
    # The stride of an axis of length 1 may be any number, and NumPy would convert it.
    axes = zip(shape, stride, strict=True)
    strides = [step * window.itemsize if length > 1 else 0 for length, step in axes]
    strided = np.lib.stride_tricks.as_strided(window, shape, strides)
    return strided if strided.flags.c_contiguous else strided.copy()


def _read_span(file, span, first, size):
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
            raise _unexpected("deflated bytes", error) from error
        data = bytearray(whole[first:])
    else:
        file.seek(span.start + first)
        data = bytearray(size)
        del data[file.readinto(data) :]
    if len(data) != size:
        raise _unexpected(f"{size} bytes", len(data))
    return data


def _decode(element_type, data):
    """Returns the elements, NumPy [number], in the dtype that `StoredTensor.read` promises."""
    elements = np.frombuffer(data, element_type.dtype)
    if element_type.name == "bfloat16":
        # A bfloat16 is the upper half of a float32.
        return (elements.astype("<u4") << 16).view("<f4")
    return elements != 0 if element_type.name == "bool" else elements
