"""TensorFlow's files of weights: checkpoints and SavedModels.

    PREFIX.index, PREFIX.data-00000-of-00001   a checkpoint: which tensors, and their numbers;
                                               before 2016 both in one file PREFIX, "version 1"
    checkpoint                                 text beside them, naming the newest of the folder
    saved_model.pb, variables/variables.*      a SavedModel: objects or a graph, and a checkpoint

Only names, shapes and numbers are taken; nothing that a SavedModel describes is built or run.
"""

import json
import math
import os
import pathlib
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import (
    saved_model_pb2,
    saved_object_graph_pb2,
    trackable_object_graph_pb2,
)

from albert_tf.checkpoints.stored_tensors import (
    CheckpointError,
    StoredTensor,
    check_file,
    errors_name,
    unexpected,
)

_STATE_FILE = "checkpoint"
_FILE_OF_CHECKPOINT = re.compile(r"(.+)\.(?:index|meta|data-\d{5}-of-\d{5})", re.DOTALL)
_TABLE_END = bytes.fromhex("57fb808b247547db")  # how an index and a version 1 checkpoint end
_NUMBERS = set(
    "float16 float32 float64 bfloat16 bool"
    " int8 int16 int32 int64 uint8 uint16 uint32 uint64".split()
)
_ERRORS = (tf.errors.OpError, OSError, RuntimeError, ValueError, LookupError, TypeError)

_SAVED_MODEL_FILE = "saved_model.pb"
_OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"


def is_tf1_checkpoint(path: str | os.PathLike) -> bool:
    """Returns whether `open_tf1_checkpoint` would find a checkpoint there, judged by its content.

    The checkpoints of TensorFlow 2 are of the same kind, with other names in them.
    """
    try:
        prefix = _find_prefix(path)
    except CheckpointError:
        return False
    return _is_table(f"{prefix}.index") or _is_table(prefix)


def open_tf1_checkpoint(path: str | os.PathLike) -> dict[str, StoredTensor]:
    """Returns {name: `StoredTensor`} of a checkpoint, without reading the numbers.

    Of the files, only `.index` is needed until a tensor is read. Entries that are no numbers, such
    as the description of the objects that TensorFlow 2 adds, are left out.

    Args:
        path: prefix (".../model.ckpt-best"); or one of the checkpoint's files; or a folder with a
            single checkpoint, or with a file `checkpoint` that names one in the folder.

    Raises:
        CheckpointError: if there is no such checkpoint, or several; if it is damaged or announces
            more than its files hold.
    """
    return _open_prefix(_find_prefix(path))


def write_tf1_checkpoint(
    prefix: str | os.PathLike,
    tensors: Mapping[str, np.ndarray] | Iterable[tuple[str, np.ndarray]],
    max_shard_bytes: int = 2**30,
) -> None:
    """Writes a checkpoint that TensorFlow 1 restores by name; all of it appears, or nothing.

    Writes `PREFIX.index`, `PREFIX.data-00000-of-00001` and, beside them, the file `checkpoint`.
    The numbers are copied once, a data file at a time.

    Args:
        prefix: path that the names of the files begin with.
        tensors: {name: array}, or an iterable of (name, array) which may make them as they are
            drawn.
        max_shard_bytes: a tensor that would make a data file larger goes into the next one. The
            default keeps all weights of an ALBERT in one.

    Raises:
        FileExistsError: if one of the files is there already.
        ValueError: for a name that is empty or comes twice, for what is no array of numbers, and if
            there are no tensors.
        RuntimeError: inside a graph, where nothing would be written.
        OSError: if writing fails.
    """
    if not tf.executing_eagerly():
        raise RuntimeError("expected eager execution. Received: a call inside a graph")
    prefix = pathlib.Path(prefix)
    folder, state = prefix.parent, prefix.with_name(_STATE_FILE)
    folder.mkdir(parents=True, exist_ok=True)
    for path in (state, pathlib.Path(f"{prefix}.index"), *_data_files(prefix)):
        if path.exists():
            raise FileExistsError(f"{path} exists already")
    with tempfile.TemporaryDirectory(prefix=f".{prefix.name}.", dir=folder) as partial:
        partial = pathlib.Path(partial)
        try:
            _write_shards(partial, prefix.name, tensors, max_shard_bytes)
        except tf.errors.OpError as error:
            raise OSError(f"{prefix} cannot be written: {error}") from error
        name = json.dumps(prefix.name, ensure_ascii=False)
        text = f"model_checkpoint_path: {name}\nall_model_checkpoint_paths: {name}\n"
        (partial / _STATE_FILE).write_text(text, encoding="utf-8")
        # The index, without which nobody looks at the numbers, comes after them.
        numbers = _data_files(partial / prefix.name)
        _move([*numbers, partial / f"{prefix.name}.index", partial / _STATE_FILE], folder)


def is_saved_model(path: str | os.PathLike) -> bool:
    """Returns whether `path` is a folder with a readable `saved_model.pb`."""
    try:
        return len(_read_saved_model(path).meta_graphs) > 0
    except CheckpointError:
        return False


def open_saved_model(directory: str | os.PathLike) -> dict[str, StoredTensor]:
    """Returns {name: `StoredTensor`} of all variables of a SavedModel or a module of TF-Hub.

    The names are those of the variables ("module/bert/pooler/dense/kernel"), without ":0"; all
    variables are there, also an optimizer's and counters. Where several variables bear one name,
    the keys of the checkpoint in it stand for the name ("list/0/w/.ATTRIBUTES/VARIABLE_VALUE").
    Variables of text are left out.

    Raises:
        CheckpointError: if there is no SavedModel, or it is damaged or announces more than it
            holds.
    """
    directory = pathlib.Path(directory)
    meta_graphs = _read_saved_model(directory).meta_graphs
    prefix = directory / "variables" / "variables"
    tensors = _open_prefix(prefix)
    saved = next(
        (graph.object_graph_def for graph in meta_graphs if graph.object_graph_def.nodes), None
    )
    if saved is None:  # made by TensorFlow 1, whose checkpoints have the names of variables
        return tensors
    with errors_name(directory, "a SavedModel", (*_ERRORS, DecodeError)):
        stored = trackable_object_graph_pb2.TrackableObjectGraph()
        stored.ParseFromString(_new_reader(prefix).get_tensor(_OBJECT_GRAPH))
        keys_of = _variable_keys(saved, stored)
    tensors_by_name = {}
    for name, keys in keys_of.items():
        keys = [key for key in keys if key in tensors]
        tensors_by_name |= {(name if len(keys) == 1 else key): tensors[key] for key in keys}
    return tensors_by_name


def _is_table(path: str | os.PathLike) -> bool:
    """Returns whether a file ends as an index does."""
    try:
        check_file(path)
        with open(path, "rb") as file:
            file.seek(-len(_TABLE_END), os.SEEK_END)
            return file.read() == _TABLE_END
    except (OSError, ValueError):
        return False


def _find_prefix(path: str | os.PathLike) -> str:
    """Returns the prefix of the checkpoint that `path` means."""
    path = os.fspath(path)
    if os.path.isdir(path):
        return _find_prefix_in(pathlib.Path(path))
    match = _FILE_OF_CHECKPOINT.fullmatch(path)
    prefix = match.group(1) if match else path
    if not os.path.isfile(f"{prefix}.index") and not os.path.isfile(prefix):
        raise CheckpointError(
            f"{path} must be a checkpoint's prefix, one of its files or its folder. "
            f"Received: no file {prefix}.index"
        )
    return prefix


def _find_prefix_in(folder: pathlib.Path) -> str:
    """Returns the prefix of the checkpoint of a folder."""
    if (folder / _STATE_FILE).is_file():
        return _prefix_of_state(folder)
    prefixes = []
    with errors_name(folder, "a folder of a checkpoint", _ERRORS):
        for path in sorted(folder.iterdir()):
            match = _FILE_OF_CHECKPOINT.fullmatch(str(path))
            if match and path.suffix == ".index":
                prefixes.append(match.group(1))
            elif not match and _is_table(path):
                prefixes.append(str(path))
    if len(prefixes) != 1:
        there = ", ".join(prefixes) or "none"
        raise CheckpointError(f"{folder} must hold one checkpoint. Received: {there}")
    return prefixes[0]


def _prefix_of_state(folder: pathlib.Path) -> str:
    """Returns the prefix that the file `checkpoint` of a folder names, which must lie in there."""
    with errors_name(folder / _STATE_FILE, "the name of a checkpoint", _ERRORS):
        state = tf.train.get_checkpoint_state(str(folder))
        if state is None:
            raise unexpected("the field model_checkpoint_path", "none")
        prefix = state.model_checkpoint_path
        here = str(folder / pathlib.Path(prefix).name)  # where it lies in a folder that was copied
        prefix = here if os.path.isfile(f"{here}.index") else prefix
        if not pathlib.Path(prefix).parent.resolve().is_relative_to(folder.resolve()):
            wanted = "a checkpoint in its own folder (to take that one, give its path)"
            raise unexpected(wanted, prefix)
        if not os.path.isfile(f"{prefix}.index") and not os.path.isfile(prefix):
            raise unexpected("a checkpoint that is there", f"no file {prefix}.index")
    return prefix


def _data_files(prefix: str | os.PathLike) -> list[pathlib.Path]:
    """Returns the paths of a checkpoint's files of numbers, in order."""
    prefix = pathlib.Path(prefix)
    pattern = re.compile(re.escape(prefix.name) + r"\.data-\d{5}-of-\d{5}")
    return sorted(path for path in prefix.parent.iterdir() if pattern.fullmatch(path.name))


def _new_reader(prefix: str | os.PathLike) -> Any:
    # `tf.train.load_checkpoint` looks into a folder of that name first, if there is one.
    return tf.compat.v1.train.NewCheckpointReader(os.fspath(prefix))


def _open_prefix(prefix: str | os.PathLike) -> dict[str, StoredTensor]:
    """Returns {name: `StoredTensor`} of a checkpoint."""
    with errors_name(prefix, "a checkpoint", _ERRORS):
        if not os.path.isfile(f"{prefix}.index") and not _is_table(prefix):
            raise unexpected("a checkpoint", f"no file {prefix}.index")
        reader = _new_reader(prefix)
        shapes, dtypes = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
        tensors = {
            name: StoredTensor(tuple(shape), dtypes[name].name, _loader(prefix, reader, name))
            for name, shape in sorted(shapes.items())
            if dtypes[name].name in _NUMBERS
        }
        _check_sizes(prefix, tensors)
        return tensors


def _check_sizes(prefix: str | os.PathLike, tensors: dict[str, StoredTensor]) -> None:
    """Raises `CheckpointError` if the tensors are larger than the files, unless those are absent.

    TensorFlow makes room for what the index announces before it looks for the numbers.
    """
    if any(axis < 0 for tensor in tensors.values() for axis in tensor.shape):
        raise unexpected("axes of at least 0", "a negative one")
    if os.path.isfile(f"{prefix}.index"):
        files = _data_files(prefix)
        if not files or len(files) < int(files[0].name[-5:]):
            return
        sizes = [math.prod(t.shape) * tf.as_dtype(t.dtype).size for t in tensors.values()]
    else:
        # Version 1 stores whole numbers in as few as one byte.
        files = [pathlib.Path(prefix)]
        sizes = [math.prod(tensor.shape) for tensor in tensors.values()]
    file_bytes = sum(os.path.getsize(file) for file in files)
    if sum(sizes) > file_bytes:
        raise unexpected(f"at most the {file_bytes} bytes of its files", f"{sum(sizes)} announced")


def _loader(prefix: str | os.PathLike, reader: Any, name: str) -> Callable[[], np.ndarray]:
    def load() -> np.ndarray:
        with errors_name(prefix, "a checkpoint", _ERRORS):
            value = np.asarray(reader.get_tensor(name))
        return value.astype(np.float32) if value.dtype.kind == "V" else value

    return load


def _write_shards(
    folder: pathlib.Path,
    name: str,
    tensors: Mapping[str, np.ndarray] | Iterable[tuple[str, np.ndarray]],
    max_shard_bytes: int,
) -> None:
    """Writes the index and the data files of a checkpoint `name`."""
    shards, names, values, size = [], [], [], 0

    def flush() -> None:
        shards.append(str(folder / f"shard-{len(shards)}"))
        tf.raw_ops.SaveV2(
            prefix=shards[-1],
            tensor_names=names,
            shape_and_slices=[""] * len(names),
            tensors=values,
        )

    known_names = set()
    # Not by way of a GPU's memory.
    with tf.device("CPU:0"):
        for tensor_name, array in tensors.items() if hasattr(tensors, "items") else tensors:
            array = np.asarray(array)
            if not tensor_name or tensor_name in known_names or array.dtype.name not in _NUMBERS:
                raise ValueError(
                    "expected arrays of numbers, each under a name of its own. "
                    f"Received: {array.dtype} under the name {tensor_name!r}"
                )
            known_names.add(tensor_name)
            if values and size + array.nbytes > max_shard_bytes:
                flush()
                names, values, size = [], [], 0
            names.append(tensor_name)
            values.append(tf.constant(array))
            size += array.nbytes
        if not values:
            raise ValueError("expected at least one tensor. Received: none")
        flush()
        tf.raw_ops.MergeV2Checkpoints(
            checkpoint_prefixes=shards, destination_prefix=str(folder / name)
        )


def _move(paths: list[pathlib.Path], folder: pathlib.Path) -> None:
    """Moves files into a folder, all or none, once they are on the disk."""
    for path in paths:
        with open(path, "rb") as file:
            os.fsync(file.fileno())
    moved = []
    try:
        for path in paths:
            os.rename(path, folder / path.name)
            moved.append(folder / path.name)
    except OSError:
        for path in moved:
            path.unlink()
        raise


def _read_saved_model(directory: str | os.PathLike) -> saved_model_pb2.SavedModel:
    """Returns the `SavedModel` message of a folder."""
    path = pathlib.Path(directory) / _SAVED_MODEL_FILE
    with errors_name(path, "a SavedModel", (OSError, DecodeError)):
        check_file(path)
        return saved_model_pb2.SavedModel.FromString(path.read_bytes())


def _variable_keys(
    saved: saved_object_graph_pb2.SavedObjectGraph,
    stored: trackable_object_graph_pb2.TrackableObjectGraph,
) -> dict[str, list[str]]:
    """Returns {variable's name: [key in the checkpoint, ...]} in the order of the variables.

    Args:
        saved: of saved_model.pb, which knows the names.
        stored: of the checkpoint, which knows the keys.
    """
    pairs = _pair_nodes(saved, stored)
    keys = {}
    for node, item in enumerate(saved.nodes):
        if item.WhichOneof("kind") == "variable":
            name = item.variable.name.removesuffix(":0")
            attributes = stored.nodes[pairs[node]].attributes if node in pairs else ()
            values = [a.checkpoint_key for a in attributes if a.name == "VARIABLE_VALUE"]
            if len(values) != 1:
                raise unexpected(f"one value of the variable {name}", values)
            keys.setdefault(name, []).extend(values)
    # Keras exports what its functions use a second time.
    return {
        name: [key for key in several if not key.startswith("_all_variables/")] or several
        for name, several in keys.items()
    }


def _pair_nodes(
    saved: saved_object_graph_pb2.SavedObjectGraph,
    stored: trackable_object_graph_pb2.TrackableObjectGraph,
) -> dict[int, int]:
    """Returns {node of `saved`: node of `stored`}, found along edges of the same names."""
    pairs, waiting = {0: 0}, [0]
    while waiting:
        node = waiting.pop()
        targets = {edge.local_name: edge.node_id for edge in stored.nodes[pairs[node]].children}
        for edge in saved.nodes[node].children:
            if edge.node_id not in pairs and edge.local_name in targets:
                pairs[edge.node_id] = targets[edge.local_name]
                waiting.append(edge.node_id)
    for node, target in list(pairs.items()):
        slots = {
            (slot.original_variable_node_id, slot.slot_name): slot.slot_variable_node_id
            for slot in stored.nodes[target].slot_variables
        }
        for slot in saved.nodes[node].slot_variables:
            original = pairs.get(slot.original_variable_node_id)
            if (original, slot.slot_name) in slots:
                pairs[slot.slot_variable_node_id] = slots[original, slot.slot_name]
    return pairs
