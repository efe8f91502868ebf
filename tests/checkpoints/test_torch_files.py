"""PyTorch's files: both layouts, written here by hand, are read exactly; damage is refused."""

import collections
import functools
import random
import struct
import typing
import zipfile

import numpy as np
import pytest

from albert_tf.checkpoints.stored_tensors import CheckpointError
from albert_tf.checkpoints.torch_files import open_torch_file

# What a pickle can hold beside plain values, for `opcodes` to write.
Global = collections.namedtuple("Global", "module name")
Call = collections.namedtuple("Call", "function arguments")
Persistent = collections.namedtuple("Persistent", "description")


class Storage(typing.NamedTuple):
    key: str
    elements: np.ndarray
    kind: str = "FloatStorage"

    def described(self, **changes):
        kind, elements = Global("torch", self.kind), self.elements.size
        fields = {"what": "storage", "kind": kind, "key": self.key, "device": "cpu"}
        return Persistent(tuple((fields | {"elements": elements} | changes).values()))


ORDERED_DICT = Global("collections", "OrderedDict")
REBUILD_TENSOR = Global("torch._utils", "_rebuild_tensor_v2")
REBUILD_PARAMETER = Global("torch._utils", "_rebuild_parameter")
TABLE = np.arange(24, dtype=np.float32).reshape(4, 6)
STORAGE = Storage("7", TABLE)
LEGACY_START = bytes.fromhex("80028a0a6cfc9c46f9206aa850192e 80024de9032e")


def opcodes(value, memo=None):
    """Returns the opcodes of protocol 2 that leave `value` on the stack; bytes stand for such."""
    memo = {} if memo is None else memo

    def joined(values):
        return b"".join(opcodes(item, memo) for item in values)

    match value:
        case bytes():
            return value
        case Global(module, name):
            return f"c{module}\n{name}\n".encode()
        case Call(function, arguments):
            return joined([function, arguments, b"R"])
        case Persistent(description):
            return joined([description, b"Q"])
        case None | bool():
            return {None: b"N", True: b"\x88", False: b"\x89"}[value]
        case int() if -(2**31) <= value < 2**31:
            return b"J" + struct.pack("<i", value)
        case int():
            return b"\x8a\x20" + value.to_bytes(32, "little", signed=True)
        case float():
            return b"G" + struct.pack(">d", value)
        case str() if value in memo:
            return b"h" + bytes([memo[value]])
        case str():
            memo[value] = len(memo)
            text = struct.pack("<I", len(value)) + value.encode("ascii")
            return b"X" + text + b"q" + bytes([memo[value]])
        case tuple():
            return b"(" + joined(value) + b"t"
        case list():
            return b"](" + joined(value) + b"e"
        case dict():
            return b"}(" + joined(part for item in value.items() for part in item) + b"u"


def pickled(value):
    return b"\x80\x02" + opcodes(value) + b"."


def tensor(storage=STORAGE, view=None, **changes):
    """Returns the pickled form of a NumPy view of a storage's elements, or of one that lies."""
    view = storage.elements if view is None else view
    start, first = (a.__array_interface__["data"][0] for a in (storage.elements, view))
    fields = {
        "described": storage.described(),
        "offset": (first - start) // view.itemsize,
        "shape": view.shape,
        "strides": tuple(stride // view.itemsize for stride in view.strides),
        "requires_grad": False,
        "hooks": Call(ORDERED_DICT, ()),
    }
    return Call(REBUILD_TENSOR, tuple((fields | changes).values()))


def write_zip(path, content, storages=(STORAGE,), name="archive", compression=0, **entries):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr(f"{name}/data.pkl", pickled(content))
        for storage in storages:
            archive.writestr(f"{name}/data/{storage.key}", storage.elements.tobytes())
        for entry, data in entries.items():
            archive.writestr(f"{name}/{entry}", data)
    return path


write_deflated = functools.partial(write_zip, compression=zipfile.ZIP_DEFLATED)


def write_legacy(path, content, storages=(STORAGE,), keys=None):
    facts = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}}
    keys = [storage.key for storage in storages] if keys is None else keys
    data = LEGACY_START + pickled(facts) + pickled(content) + pickled(keys)
    for storage in storages:
        data += struct.pack("<q", storage.elements.size) + storage.elements.tobytes()
    path.write_bytes(data)
    return path


LAYOUTS = {"zip": write_zip, "deflated": write_deflated, "legacy": write_legacy}
in_each_layout = pytest.mark.parametrize("write", LAYOUTS.values(), ids=LAYOUTS)
KINDS = {"Double": "f8", "Float": "f4", "Half": "f2", "Long": "i8", "Int": "i4", "Short": "i2"}
KINDS |= {"Char": "i1", "Byte": "u1", "Bool": "?"}
VIEWS = [TABLE, TABLE.T, TABLE[1:3], TABLE[:, 4], TABLE[::2, 1::3], TABLE[:1, :1], TABLE[:0]]
VIEWS += [TABLE[3, 5, ...], TABLE.reshape(2, 2, 6).transpose(2, 0, 1)]


def read_all(path):
    return {name: stored.read() for name, stored in open_torch_file(path).items()}


def refusal(path):
    """Returns why the file is refused, opened or read; the reason must name it."""
    with pytest.raises(CheckpointError) as error:
        read_all(path)
    assert str(path) in str(error.value)
    return str(error.value)


def same(value, expected):
    kinds = [(array.dtype, array.shape, array.tobytes()) for array in (value, expected)]
    return kinds[0] == kinds[1]


@in_each_layout
@pytest.mark.parametrize("kind", KINDS)
def test_each_dtype_is_read_exactly(tmp_path, write, kind):
    storage = Storage("0", (TABLE * 5 - 50).astype(KINDS[kind]), kind + "Storage")
    stored = open_torch_file(write(tmp_path / "x", {"a": tensor(storage)}, [storage]))["a"]
    assert stored.dtype == np.dtype(KINDS[kind]).name
    assert same(stored.read(), storage.elements)


@in_each_layout
def test_bfloat16_is_read_as_the_float32_of_which_it_is_the_upper_half(tmp_path, write):
    words = np.array([0x3F80, 0xC020, 0x7F80, 0x8000], np.uint16)
    storage = Storage("0", words, "BFloat16Storage")
    stored = open_torch_file(write(tmp_path / "x", {"a": tensor(storage)}, [storage]))["a"]
    assert stored.dtype == "bfloat16"
    assert same(stored.read(), np.array([1.0, -2.5, np.inf, -0.0], np.float32))


def test_byte_of_a_bool_that_is_neither_0_nor_1_means_true(tmp_path):
    storage = Storage("0", np.array([0, 1, 2, 255], np.uint8), "BoolStorage")
    value = read_all(write_zip(tmp_path / "x", {"a": tensor(storage)}, [storage]))["a"]
    assert value.tobytes() == b"\0\1\1\1"


@in_each_layout
def test_views_of_one_storage_are_those_of_numpy(tmp_path, write):
    content = {f"view {number}": tensor(STORAGE, view) for number, view in enumerate(VIEWS)}
    values = read_all(write(tmp_path / "x", content))
    assert list(values) == list(content)
    for value, view in zip(values.values(), VIEWS, strict=True):
        assert same(value, view) and value.flags.c_contiguous


@in_each_layout
def test_tied_weights_are_read_under_each_of_their_names(tmp_path, write):
    values = read_all(write(tmp_path / "x", {"a": tensor(), "b": tensor()}))
    assert same(values["a"], TABLE) and same(values["b"], TABLE)


def test_stride_of_an_axis_of_length_1_may_be_anything(tmp_path):
    content = {"a": tensor(view=TABLE[:1], strides=(2**70, 1))}
    assert same(read_all(write_zip(tmp_path / "x", content))["a"], TABLE[:1])


@in_each_layout
def test_empty_storages_are_read(tmp_path, write):
    storages = [Storage("0", np.zeros((0, 3), np.float32)), STORAGE]
    content = {"none": tensor(storages[0]), "some": tensor()}
    values = read_all(write(tmp_path / "x", content, storages))
    assert values["none"].shape == (0, 3) and same(values["some"], TABLE)


@in_each_layout
def test_state_dict_with_parameters_and_metadata_is_read(tmp_path, write):
    parameter = Call(REBUILD_PARAMETER, (tensor(), True, Call(ORDERED_DICT, ())))
    names = opcodes(Call(ORDERED_DICT, ())) + opcodes("weight") + opcodes(parameter) + b"s"
    metadata = opcodes({"_metadata": {"": {"version": 1}}}) + b"b"
    assert same(read_all(write(tmp_path / "x", names + metadata))["weight"], TABLE)


@in_each_layout
@pytest.mark.parametrize("wrapper", ["state_dict", "model", "model_state_dict"])
def test_what_lies_beside_a_wrapped_state_dict_is_ignored(tmp_path, write, wrapper):
    beside = {"epoch": 3, "rate": 0.1, "best": None, "dtype": Global("torch", "float32")}
    beside["shape"] = Call(Global("torch", "Size"), ((1, 2),))
    beside["optimizer"] = {0: {"step": 2**40}, "kind": Global("torch.storage", "FloatStorage")}
    values = read_all(write(tmp_path / "x", {**beside, wrapper: {"a": tensor()}}))
    assert list(values) == ["a"] and same(values["a"], TABLE)


def test_opening_reads_no_storage_and_reading_no_more_than_the_tensor(tmp_path):
    # A hole of 2 TiB: whoever read or allocated it would not come back.
    elements = 2**39
    described = STORAGE.described(elements=elements, part=None)
    last = tensor(described=described, offset=elements - 2, shape=(2,), strides=(1,))
    path = write_legacy(tmp_path / "x", {"a": last}, [], keys=["7"])
    with open(path, "r+b") as file:
        file.seek(0, 2)
        file.write(struct.pack("<q", elements))
        file.seek(4 * (elements - 2), 1)
        file.write(np.array([1.5, -2.0], "<f4").tobytes())
    assert read_all(path)["a"].tolist() == [1.5, -2.0]


def test_archive_has_any_name_and_little_byte_order(tmp_path):
    path = write_zip(tmp_path / "x", {"a": tensor()}, name="epoch 3", byteorder="little")
    assert same(read_all(path)["a"], TABLE)
    assert "'little'" in refusal(write_zip(path, {"a": tensor()}, byteorder="big"))


def test_pickle_of_something_else_is_refused(tmp_path):
    (tmp_path / "pickle.bin").write_bytes(pickled({"a": 1}))
    assert "PyTorch's magic number" in refusal(tmp_path / "pickle.bin")


def test_missing_file_is_named(tmp_path):
    assert "Received: no file" in refusal(tmp_path / "missing.bin")


@in_each_layout
@pytest.mark.parametrize("path", ["os.system", "builtins.eval", "torch._utils._rebuild_qtensor"])
def test_other_globals_are_named_and_never_called(tmp_path, write, path):
    module, name = path.rsplit(".", 1)
    attack = Call(Global(module, name), (f"open({str(tmp_path / 'mark')!r}, 'w')",))
    assert f"the global {path!r}" in refusal(write(tmp_path / "x", {"a": attack}))
    assert not (tmp_path / "mark").exists()


A, GLOBAL = opcodes("a"), opcodes(REBUILD_TENSOR)
FUNCTION_IS_1 = opcodes({"function": 1})
DEEP = b")" + 100_000 * b"\x85"
INTEGERS = tensor(described=STORAGE.described(kind=Global("torch", "IntStorage")))
REFUSED_PICKLES = {
    "no dict": (3, "a dict of tensors. Received: an object of type int"),
    "no tensor": ({"epoch": 3}, "a tensor as 'epoch'. Received: an object of type int"),
    "no tensor in a parameter": ({"a": Call(REBUILD_PARAMETER, (3,))}, "a tensor as 'a'"),
    "integer as a name": ({1: tensor()}, "texts as names of tensors. Received: 1"),
    "None as a name": ({None: tensor()}, "texts and integers of 32 bits as keys"),
    "keys that collide": ({2**61 - 1: tensor()}, "texts and integers of 32 bits as keys"),
    "name twice": (b"}(" + 4 * A + b"u", "'a' twice"),
    "deep tuple as a key": (b"}" + DEEP + b"Ns", "texts and integers of 32 bits as keys"),
    "deep tuple as a storage": (Persistent(DEEP), "a storage with a type, a key"),
    "huge memo index": (b"}r\x00\x00\x00\x01", "a memo index below the number of bytes"),
    "unknown memo index": (b"h\x05", "KeyError(5)"),
    "huge text": (b"X\xff\xff\xff\x7fa", "expected"),
    "too many opcodes": (b"](" + 1_000_000 * b"N" + b"e", "at most 1000000 opcodes"),
    "long pickle": (b"X\x00\x00\x00\x01" + bytes(2**24), "at most 16777216 bytes"),
    "escape in a name": (b"ctor\\x63h\nSize\n", "no backslash in a name"),
    "opcode": (b"\x8f", "Received: EMPTY_SET"),
    "too few operands": (b"s", "IndexError"),
    "items of a list": (b"]" + A + b"Ns", "TypeError"),
    "too few arguments": ({"a": Call(REBUILD_TENSOR, (STORAGE.described(),))}, "TypeError"),
    "items for a call": (Call(ORDERED_DICT, ([("a", 1)],)), "TypeError"),
    "new of a global": (opcodes(ORDERED_DICT) + b")\x81", "UnpicklingError"),
    "state of a global": (GLOBAL + FUNCTION_IS_1 + b"b", "AttributeError"),
    "slots of a global": (GLOBAL + b"N" + FUNCTION_IS_1 + b"\x86b", "AttributeError"),
    "pickled model": (opcodes(Global("my", "Model")) + b")\x81", "the global 'my.Model'"),
    "two wrapped dicts": ({"model": {}, "state_dict": {}}, "['state_dict', 'model']"),
    "storage of two types": ({"a": tensor(), "b": INTEGERS}, "one whole storage '7'"),
}
DESCRIBED = STORAGE.described
REFUSED_TENSORS = {
    "no storage": ({"described": 3}, "a storage, a shape and strides of 'a'"),
    "shape of no tuple": ({"shape": [4, 6]}, "a storage, a shape and strides of 'a'"),
    "deep tuple as a shape": ({"shape": DEEP}, "up to 32 axes and strides of 'a' from 0 up"),
    "axis of no integer": ({"shape": (4, True)}, "of 'a' from 0 up"),
    "strides of another rank": ({"strides": (1,)}, "up to 32 axes and strides of 'a'"),
    "many axes": ({"shape": (1,) * 33, "strides": (1,) * 33}, "up to 32 axes and strides of 'a'"),
    "negative offset": ({"offset": -1}, "of 'a' from 0 up"),
    "negative axes": ({"shape": (-4, -6)}, "of 'a' from 0 up"),
    "negative strides": ({"offset": 23, "strides": (-6, -1)}, "of 'a' from 0 up"),
    "offset beyond": ({"offset": 1}, "'a' to lie in its storage of 24 elements"),
    "shape beyond": ({"shape": (5, 6)}, "'a' to lie in its storage"),
    "huge empty shape": ({"shape": (0, 2**62)}, "'a' to lie in its storage"),
    "repeated elements": ({"shape": (2**40, 1), "strides": (0, 0)}, "'a' to lie in its storage"),
    "storage of no type": ({"described": DESCRIBED(kind="float32")}, "a storage with a type"),
    "storage of no size": ({"described": DESCRIBED(elements=None)}, "a storage with a type"),
    "no kind of storage": ({"described": DESCRIBED(what="module")}, "a storage with a type"),
    "part of a storage": ({"described": DESCRIBED(part=("1", 0, 24))}, "one whole storage '7'"),
    "negative storage": ({"described": DESCRIBED(elements=-1)}, "one whole storage '7'"),
    "smaller storage": ({"described": DESCRIBED(elements=23)}, "23 elements of float32 in the"),
    "huge storage": ({"described": DESCRIBED(elements=2**62)}, "elements of float32 in the"),
}
REFUSED = REFUSED_PICKLES | {
    name: ({"a": tensor(**changes)}, message)
    for name, (changes, message) in REFUSED_TENSORS.items()
}


@pytest.mark.parametrize("case", REFUSED)
def test_pickle_is_refused_for(tmp_path, case):
    content, message = REFUSED[case]
    assert message in refusal(write_zip(tmp_path / "x", content))


def test_legacy_pickle_is_not_read_on_into_the_storages(tmp_path):
    path = write_legacy(tmp_path / "x", b"X\x00\x00\x00\x01", [])
    with open(path, "r+b") as file:
        file.truncate(2**40)
    assert "at most 16777216 bytes" in refusal(path)


@pytest.mark.parametrize("keys", [[], ["7", "7"], ["7", "8"], [7], "7", [DEEP]])
def test_legacy_keys_must_be_those_of_the_tensors(tmp_path, keys):
    refused = refusal(write_legacy(tmp_path / "x", {"a": tensor()}, keys=keys))
    assert "a list of the storages of all tensors" in refused


@pytest.mark.parametrize("count", [-1, 23, 25, 2**62])
def test_legacy_count_must_be_the_announced_one(tmp_path, count):
    path = write_legacy(tmp_path / "x", {"a": tensor()})
    data = path.read_bytes()
    start = len(data) - TABLE.nbytes - 8
    path.write_bytes(data[:start] + struct.pack("<q", count) + data[start + 8 :])
    assert "24 elements of float32 in the storage '7'" in refusal(path)


def test_storage_that_is_not_in_the_archive_is_named(tmp_path):
    assert "'archive/data/7'" in refusal(write_zip(tmp_path / "x", {"a": tensor()}, storages=[]))


LIES = [
    ({"file_size": 2**40}, "bytes in the entry"),
    ({"file_size": 2**40, "compress_size": 2**40}, "expected at least"),
    ({"flag_bits": 1}, "stored or deflated"),
    ({"compress_type": zipfile.ZIP_LZMA}, "stored or deflated"),
    ({"compress_type": zipfile.ZIP_DEFLATED}, "deflated bytes"),
    ({"header_offset": 5}, "a header before the entry"),
    ({"header_offset": 2**62}, "expected at least"),
]


@pytest.mark.parametrize(("changes", "message"), LIES, ids=str)
@pytest.mark.parametrize("entry", ["archive/data.pkl", "archive/data/7"])
def test_lying_directory_of_an_archive_is_refused(tmp_path, entry, changes, message):
    path = write_zip(tmp_path / "x", {"a": tensor()})
    with zipfile.ZipFile(path, "a") as archive:
        for name, value in changes.items():
            setattr(archive.getinfo(entry), name, value)
        archive.writestr("more", "")  # or the directory would not be written again
    assert message in refusal(path)


def test_entry_that_inflates_to_less_than_it_says_is_refused_with_the_tensor(tmp_path):
    path = write_deflated(tmp_path / "x", {"a": tensor()}, [Storage("7", TABLE[:2])])
    with zipfile.ZipFile(path, "a") as archive:
        archive.getinfo("archive/data/7").file_size = TABLE.nbytes
        archive.writestr("more", "")
    assert "'a' of" in refusal(path)


def test_pickle_that_inflates_without_end_is_refused(tmp_path):
    path = write_deflated(tmp_path / "x", b"X\x00\x00\x00\x03" + bytes(3 * 2**24), [])
    assert path.stat().st_size < 2**17
    assert "at most 16777216 bytes in 'archive/data.pkl'" in refusal(path)


def test_archive_with_a_name_twice_is_refused(tmp_path):
    path = write_zip(tmp_path / "x", {"a": tensor()})
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("archive/data/7", bytes(TABLE.nbytes))
    assert "one name twice" in refusal(path)


def test_file_that_shrinks_after_it_was_opened_is_named_with_the_tensor(tmp_path):
    path = write_legacy(tmp_path / "x", {"a": tensor()})
    opened = open_torch_file(path)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(CheckpointError, match="'a' of .*x cannot .*expected 96 bytes.*: 91"):
        opened["a"].read()


SMALL = Storage("0", np.arange(3, dtype=np.float32))
EMPTY = Storage("1", np.zeros(0, np.float32))
SMALL_CONTENT = {"epoch": 3, "model": {"a": tensor(SMALL, SMALL.elements[1:]), "b": tensor(EMPTY)}}


@in_each_layout
def test_file_cut_off_anywhere_is_not_opened(tmp_path, write):
    data = write(tmp_path / "whole", SMALL_CONTENT, [SMALL, EMPTY]).read_bytes()
    for length in range(len(data)):
        (tmp_path / "x").write_bytes(data[:length])
        with pytest.raises(CheckpointError, match="x cannot be read"):
            open_torch_file(tmp_path / "x")


def read_or_refuse(path):
    """Returns whether the file was read rather than refused; there is no third way."""
    try:
        for stored in open_torch_file(path).values():
            assert stored.read().shape == stored.shape
    except CheckpointError as error:
        assert str(path) in str(error)
        return False
    return True


@in_each_layout
def test_damaged_bytes_are_read_or_refused(tmp_path, write):
    data = write(tmp_path / "whole", SMALL_CONTENT, [SMALL, EMPTY]).read_bytes()
    generator, outcomes = random.Random(0), set()
    for _ in range(600):
        damaged = bytearray(data)
        for _ in range(generator.choice((1, 1, 2, 8))):
            damaged[generator.randrange(len(data))] = generator.randrange(256)
        (tmp_path / "x").write_bytes(damaged)
        outcomes.add(read_or_refuse(tmp_path / "x"))
    assert outcomes == {True, False}


def test_random_programs_are_read_or_refused(tmp_path):
    # Made of opcodes that get past the first check and operands that fit more often than not.
    generator = random.Random(0)
    values = [0, 5, 2**40, 0.5, None, True, (), (1, 2), [], {}, "a", "model", tensor(SMALL)]
    values += [SMALL.described(), ORDERED_DICT, REBUILD_TENSOR, REBUILD_PARAMETER]
    pieces = [opcodes(value) for value in [*values, Global("torch", "Size")]]
    pieces += [b"h\x00", b"h\x01", b"q\x00", b"q\x01", b"r\x02\x00\x00\x00", b"j\x02\x00\x00\x00"]
    pieces += [bytes([code]) for code in b"()]}\x85\x86\x87\x81tQRbsuae" * 2]
    for _ in range(1000):
        program = b"".join(generator.choices(pieces, k=generator.randrange(1, 25)))
        read_or_refuse(write_zip(tmp_path / "x", program, [SMALL]))


@pytest.mark.oracle
@pytest.mark.parametrize("in_zip", [True, False], ids=["zip", "legacy"])
def test_files_that_torch_writes_are_read_exactly(tmp_path, in_zip):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    table = torch.randn(6, 8)
    tied = torch.nn.Parameter(torch.randn(5, 4))
    values = [table, table.t(), table[::2, 1::3], table[2, 3], torch.nn.Parameter(table[1:3])]
    values += [tied, tied, torch.arange(9).expand(1, -1), torch.zeros(0, 7), torch.randn(9) > 0]
    values += [torch.randn(2, 3, 4).permute(2, 0, 1), torch.randn(4, 5).bfloat16().t()]
    for name in ("float64", "float16", "int64", "int32", "int16", "int8", "uint8"):
        values.append((50 * torch.randn(3, 5)).abs().to(getattr(torch, name)))
    state = torch.nn.Linear(8, 6).state_dict()
    state |= {f"value {number}": value for number, value in enumerate(values)}
    path = tmp_path / "pytorch_model.bin"
    for content in (state, {"epoch": 3, "size": torch.Size([2]), "model_state_dict": state}):
        torch.save(content, path, _use_new_zipfile_serialization=in_zip)
        expect_what_torch_holds(path, state)


@pytest.mark.oracle
@pytest.mark.parametrize("in_zip", [True, False], ids=["zip", "legacy"])
def test_albert_of_transformers_is_read_exactly(tmp_path, in_zip):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    sizes = {"vocab_size": 99, "embedding_size": 16, "hidden_size": 32, "num_attention_heads": 2}
    model = transformers.AlbertForPreTraining(transformers.AlbertConfig(**sizes))
    path = tmp_path / "pytorch_model.bin"
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        state = model.to(dtype).state_dict()
        torch.save(state, path, _use_new_zipfile_serialization=in_zip)
        expect_what_torch_holds(path, state)


def expect_what_torch_holds(path, state):
    opened = open_torch_file(path)
    assert list(opened) == list(state)
    for name, value in state.items():
        assert f"torch.{opened[name].dtype}" == str(value.dtype)
        widened = value.float() if opened[name].dtype == "bfloat16" else value
        expected = widened.detach().numpy()
        assert same(opened[name].read(), expected), name
