"""The pickles of PyTorch's files, unpickled without PyTorch and without trusting them.

A pickle is a program. `_take_pickle` goes over its opcodes and refuses what could exhaust or crash
Python's unpickler; `_Unpickler` runs it with inert stand-ins for PyTorch's names, so nothing that
the file names is imported or called.
"""

import collections.abc
import io
import pickle
import pickletools
import typing

import numpy as np

from albert_tf.checkpoints.stored_tensors import unexpected

# 25,000 tensors take about this much; it bounds the memory that opening can cost.
MOST_PICKLE_BYTES = 16 * 2**20
_MOST_OPCODES = 1_000_000

# What `torch.save` writes of tensors, its protocol being 2 unless someone asks for another; and
# NEWOBJ, which no stand-in obeys, so that a pickled model is refused by the name of its class.
_KEYS = ("BINUNICODE", "BININT", "BININT1", "BININT2")
_CHANGES = ("SETITEM", "SETITEMS", "APPEND", "APPENDS", "BUILD")
_OPCODES = {*_KEYS, *_CHANGES} | set(
    "PROTO STOP MARK BINPUT LONG_BINPUT BINGET LONG_BINGET NEWOBJ NONE NEWTRUE NEWFALSE LONG1"
    " BINFLOAT EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_LIST EMPTY_DICT GLOBAL BINPERSID"
    " REDUCE".split()
)


class ElementType(typing.NamedTuple):
    """What the elements of a storage are: its name to us and the NumPy dtype of its bytes."""

    name: str
    dtype: np.dtype


class Storage(typing.NamedTuple):
    """A storage as the pickle announces it."""

    key: str
    element_type: ElementType
    elements: int


class View(typing.NamedTuple):
    """A tensor as the pickle announces it, unchecked: anything may be in the fields."""

    storage: Storage
    offset: int
    shape: tuple
    stride: tuple


def unpickle(file: typing.BinaryIO) -> tuple[typing.Any, list[Storage]]:
    """Returns (the object, [Storage ...]) of the pickle at which `file` stands.

    Tensors in the object are `View`s, which are to be checked against the storages.

    Raises:
        CheckpointError: for what `torch.save` does not write of tensors.
        ValueError: for what is no pickle.
    """
    try:
        unpickler = _Unpickler(_take_pickle(file))
        return unpickler.load(), list(unpickler.storages.values())
    except (pickle.UnpicklingError, AttributeError, LookupError, TypeError) as error:
        raise unexpected("a pickle of tensors", repr(error)) from error


class _PickleSource:
    """What `pickletools.genops` reads from; `data` is what it has read, at most one pickle."""

    def __init__(self, file: typing.BinaryIO):
        self._file = file
        self.data = bytearray()

    def read(self, count: int) -> bytes:
        """Returns up to `count` bytes."""
        return self._keep(self._file.read(min(count, MOST_PICKLE_BYTES + 1)))

    def readline(self) -> bytes:
        """Returns the bytes up to a line feed; refuses what `genops` would take for escapes."""
        line = self._keep(self._file.readline(MOST_PICKLE_BYTES + 1))
        if b"\\" in line:
            raise unexpected("no backslash in a name", line)
        return line

    def _keep(self, data: bytes) -> bytes:
        self.data += data
        if len(self.data) > MOST_PICKLE_BYTES:
            raise unexpected(f"a pickle of at most {MOST_PICKLE_BYTES} bytes", "a longer one")
        return data


def _take_pickle(file: typing.BinaryIO) -> bytes:
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
            raise unexpected(f"at most {_MOST_OPCODES} opcodes that torch.save writes", name)
        if name == "MARK":
            marks.append(len(stack))
            continue
        operands = _take_operands(opcode, stack, marks)
        if name in ("SETITEM", "SETITEMS"):
            _add_keys(operands[0], operands[1::2])
        if name in ("BINPUT", "LONG_BINPUT"):
            # Writers count up, and each count takes them more than a byte.
            if argument > len(source.data):
                raise unexpected("a memo index below the number of bytes", argument)
            memo[argument] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name in _CHANGES:
            stack.append(operands[0])
        elif name in _KEYS:
            stack.append(argument)
        elif name in ("EMPTY_DICT", "REDUCE"):
            stack.append(set())
        elif name not in ("PROTO", "STOP"):
            stack.append(None)
    return bytes(source.data)


def _take_operands(opcode: pickletools.OpcodeInfo, stack: list, marks: list[int]) -> list:
    """Pops and returns what the opcode takes, without the mark."""
    below, items = opcode.stack_before, []
    if pickletools.markobject in below:
        below = below[: below.index(pickletools.markobject)]
        bottom = marks.pop()
        items = stack[bottom:]
        del stack[bottom:]
    return [stack.pop() for _ in below][::-1] + items


def _add_keys(known: set[str | int], keys: list) -> None:
    """Adds the keys to those of a dict, as `_take_pickle` keeps them."""
    for key in keys:
        if not isinstance(key, str | int):
            raise unexpected("texts and integers of 32 bits as keys", "another object")
        if key in known:
            raise unexpected("each name once", f"{key!r} twice")
        known.add(key)


class _Callable(typing.NamedTuple):
    """A stand-in that a pickle may call; unlike a function or class, BUILD cannot change it."""

    function: collections.abc.Callable

    def __call__(self, *arguments) -> object:
        return self.function(*arguments)


class _Names(dict):
    """Stands in for `OrderedDict`; lets go of the module versions that `state_dict` hangs on it."""

    __slots__ = ()

    def __setstate__(self, state: object) -> None:
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
        lambda storage, offset, shape, stride, *_: View(storage, offset, shape, stride)
    ),
    "torch._utils._rebuild_parameter": _Callable(lambda tensor, *_: tensor),
    "torch.Size": _Callable(lambda axes: axes),
} | {
    f"torch.{path}": ElementType(name, np.dtype(stored))
    for storage, name, stored in _ELEMENT_TYPES
    for path in (storage, f"storage.{storage}", name)
}


class _Unpickler(pickle.Unpickler):
    """Makes `View`s of tensors and `Storage`s of storages; knows the names in `_GLOBALS` only."""

    def __init__(self, data: bytes):
        super().__init__(io.BytesIO(data))
        self.storages = {}

    def find_class(self, module: str, name: str) -> object:
        """Returns the stand-in for a global."""
        path = f"{module}.{name}"
        if path not in _GLOBALS:
            raise unexpected("only tensors", f"the global {path!r}")
        return _GLOBALS[path]

    def persistent_load(self, description: tuple) -> Storage:
        """Returns the `Storage` for ("storage", type, key, device, elements[, None])."""
        match description:
            # A sixth field makes it a part of another storage, as before PyTorch 0.4, or is None.
            case ("storage", ElementType() as element_type, str(key), _, int(elements), *rest):
                storage = Storage(key, element_type, elements)
                known = self.storages.setdefault(key, storage)
                if known == storage and elements >= 0 and rest in ([], [None]):
                    return storage
                raise unexpected(f"one whole storage {key!r}", "a part, or two different ones")
        raise unexpected("a storage with a type, a key, a device and a size", "another object")
