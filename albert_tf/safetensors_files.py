"""safetensors: the files that we write, and read one tensor at a time."""

import json
import os
import pathlib

import numpy as np
import safetensors
import safetensors.numpy

from albert_tf.stored_tensors import CheckpointError, StoredTensor


def write_safetensors(tensors, path):
    """Writes {name: array}."""
    # transformers refuses a file that does not name a framework's layout.
    safetensors.numpy.save_file(tensors, path, metadata={"format": "pt"})


def read_safetensors(path):
    """Returns {name: array}.

    Raises:
        CheckpointError: if the file is missing, cut off or not safetensors.
    """
    return {name: tensor.read() for name, tensor in open_safetensors(path).items()}


def open_safetensors(path):
    """Returns {name: `StoredTensor`} of a file, without reading the numbers.

    Raises:
        CheckpointError: as `read_safetensors`.
    """
    path = os.fspath(path)
    try:
        with safetensors.safe_open(path, framework="np") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            return {
                name: StoredTensor(tuple(s.get_shape()), s.get_dtype(), _loader(path, name))
                for name, s in slices.items()
            }
    except (OSError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be read as safetensors: {error}") from error


def _loader(path, name):
    def load():
        # Opened anew for each tensor: a mapping that stays open keeps every page it has touched.
        try:
            with safetensors.safe_open(path, framework="np") as file:
                value = file.get_tensor(name)
        except (OSError, safetensors.SafetensorError) as error:
            raise CheckpointError(f"{path} cannot be read as safetensors: {error}") from error
        return value.astype(np.float32) if value.dtype.kind == "V" else value

    return load


def open_shards(index_file, open_file):
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
        weight_map = json.loads(index_file.read_text(encoding="utf-8"))["weight_map"]
        names = {str(file) for file in weight_map.values()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{index_file} must hold a `weight_map`: {error!r}") from error
    tensors = {}
    for name in sorted(names):
        if pathlib.PurePath(name).name != name or "\\" in name:
            raise CheckpointError(f"{index_file} must name files beside it. Received: {name!r}")
        tensors |= open_file(index_file.with_name(name))
    lost = sorted(weight_map.keys() - tensors.keys())
    if lost:
        raise CheckpointError(f"{index_file} names tensors that its files lack: {', '.join(lost)}")
    return tensors
