"""safetensors: the files that we write, and read one tensor at a time.

A file of whole numbers (`write_int8`) holds each matrix as int8 with a factor for each row.
"""

import functools
import math
import os
import pathlib
from collections.abc import Callable

import numpy as np
import safetensors
import safetensors.numpy

from albert_tf import json_files
from albert_tf.checkpoints.stored_tensors import CheckpointError, StoredTensor, check_file

# 32 MB of float32: what a reader holds beside the tensor that it fills.
_NUMBERS_AT_A_TIME = 2**23
_LARGEST_INT8 = 127
# What the factors of a matrix are called behind its name.
_FACTORS = ".factors"


def write_safetensors(tensors: dict[str, np.ndarray], path: str | os.PathLike) -> None:
    """Writes {name: array}.

    Raises:
        OSError: naming the file, where it cannot be written.
    """
    try:
        # transformers refuses a file that does not name a framework's layout.
        safetensors.numpy.save_file(tensors, path, metadata={"format": "pt"})
    except safetensors.SafetensorError as error:
        raise OSError(f"{path} cannot be written: {error}") from error
    # The library makes a file that only its owner reads; a model is read by whoever serves it.
    mask = os.umask(0)
    os.umask(mask)
    os.chmod(path, 0o666 & ~mask)


def write_int8(tensors: dict[str, np.ndarray], path: str | os.PathLike) -> None:
    """Writes {name: array}, each matrix [n, m] as int8 and float32 factors [n, 1].

    Raises:
        OSError: naming the file, where it cannot be written.
    """
    stored = {}
    for name, value in tensors.items():
        stored[name] = value
        if value.ndim == 2:
            stored[name], stored[name + _FACTORS] = quantize(value, axis=1)
    write_safetensors(stored, path)


def quantize(values: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns whole numbers and factors whose product is close to the values.

    Args:
        values: float [n, m].
        axis: 0 for a factor for each column, 1 for one for each row.

    Returns:
        int8 [n, m] of -127 to 127 and float32 [1, m] or [n, 1]; no value is off by more than half
        a factor.
    """
    values = np.asarray(values, np.float32)
    factors = np.abs(values).max(axis=axis, keepdims=True) / _LARGEST_INT8
    factors = np.where(factors > 0, factors, 1).astype(np.float32)
    return np.rint(values / factors).astype(np.int8), factors


def read_safetensors(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Returns {name: array}.

    Raises:
        CheckpointError: if the file is missing, cut off or not safetensors.
    """
    return {name: tensor.read() for name, tensor in open_safetensors(path).items()}


def open_safetensors(path: str | os.PathLike) -> dict[str, StoredTensor]:
    """Returns {name: `StoredTensor`} of a file, without reading the numbers.

    Raises:
        CheckpointError: as `read_safetensors`.
    """
    path = os.fspath(path)
    try:
        check_file(path)
        with safetensors.safe_open(path, framework="np") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            return {
                name: StoredTensor(
                    tuple(s.get_shape()), s.get_dtype(), _loader(path, name, tuple(s.get_shape()))
                )
                for name, s in slices.items()
            }
    except (OSError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be read as safetensors: {error}") from error


def _loader(path: str | os.PathLike, name: str, shape: tuple[int, ...]) -> Callable[[], np.ndarray]:
    rows_at_a_time = max(1, _NUMBERS_AT_A_TIME // max(1, math.prod(shape[1:])))

    def read(rows: slice | None) -> np.ndarray:
        # Opened anew each time: a mapping that stays open keeps every page that it has touched.
        try:
            with safetensors.safe_open(path, framework="np") as file:
                value = file.get_tensor(name) if rows is None else file.get_slice(name)[rows]
        except (OSError, safetensors.SafetensorError) as error:
            raise CheckpointError(f"{path} cannot be read as safetensors: {error}") from error
        # NumPy has no bfloat16 of its own.
        return value.astype(np.float32) if value.dtype.kind == "V" else value

    def load() -> np.ndarray:
        if not shape or shape[0] <= rows_at_a_time:
            return read(None)
        first = read(slice(0, rows_at_a_time))
        value = np.empty(shape, first.dtype)
        value[:rows_at_a_time] = first
        for start in range(rows_at_a_time, shape[0], rows_at_a_time):
            # Its newer versions refuse a slice that goes beyond the end.
            rows = slice(start, min(start + rows_at_a_time, shape[0]))
            value[rows] = read(rows)
        return value

    return load


def open_int8(path: str | os.PathLike) -> dict[str, StoredTensor]:
    """Returns {name: `StoredTensor`} of a file by `write_int8`, the matrices as float32.

    Raises:
        CheckpointError: as `read_safetensors`, and for a matrix without its factors.
    """
    stored = open_safetensors(path)
    tensors = {}
    for name, tensor in stored.items():
        if name.endswith(_FACTORS):
            continue
        if tensor.dtype == "I8":
            factors = stored.get(name + _FACTORS)
            if factors is None or factors.shape != (*tensor.shape[:1], 1):
                raise CheckpointError(
                    f"{path}: {name} must have factors of shape {(*tensor.shape[:1], 1)}. "
                    f"Received: {'none' if factors is None else factors.shape}"
                )
            load = functools.partial(_product, tensor, factors)
            tensor = StoredTensor(tensor.shape, "F32", load)
        tensors[name] = tensor
    return tensors


def _product(numbers: StoredTensor, factors: StoredTensor) -> np.ndarray:
    return numbers.read() * factors.read()


def open_shards(
    index_file: str | os.PathLike, open_file: Callable[[pathlib.Path], dict[str, StoredTensor]]
) -> dict[str, StoredTensor]:
    """Returns {name: `StoredTensor`} of a checkpoint in several files.

    Args:
        index_file: JSON with `weight_map`, {name: file beside it}.
        open_file: path -> {name: `StoredTensor`}.

    Raises:
        CheckpointError: for an index that is damaged or names files elsewhere, and for tensors that
            are not where it says.
    """
    index_file = pathlib.Path(index_file)
    try:
        weight_map = json_files.read_object(index_file, {"weight_map": dict})["weight_map"]
    except json_files.JsonError as error:
        raise CheckpointError(str(error)) from error
    files = {}
    for name in sorted(set(map(str, weight_map.values()))):
        if pathlib.PurePath(name).name != name or "\\" in name or len(name) > 255:
            shown = json_files.shorten(name)
            raise CheckpointError(f"{index_file} must name files beside it. Received: {shown}")
        files[name] = open_file(index_file.with_name(name))
    missing = [name for name, file in weight_map.items() if name not in files[str(file)]]
    if missing:
        names = json_files.listed(sorted(missing))
        raise CheckpointError(f"{index_file} names tensors that its files lack: {names}")
    tensors = {name: tensor for of_file in files.values() for name, tensor in of_file.items()}
    return tensors | {name: files[str(file)][name] for name, file in weight_map.items()}
