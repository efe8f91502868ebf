"""HDF5 files of weights, as Keras and transformers write them, read without trusting them.

    tf_model.h5     transformers:   LAYER/WEIGHT_NAME:0, of float32
    *.weights.h5    Keras 3:        layers/CLASS_1/.../ATTRIBUTE/vars/0, by class and attribute, not
                                    by the names of layers

An HDF5 file can point into other files, or announce sizes that it does not hold; what the two
writers never do is refused before a number is read. The HDF5 library itself can crash or run
forever on damage to the heap of texts that attributes lie in, so no attribute is read where the
paths say enough.
"""

import contextlib
import math
import os
import re
from collections.abc import Iterator

import h5py
import ml_dtypes
import numpy as np

from albert_tf.checkpoints.stored_tensors import (
    StoredTensor,
    check_file,
    errors_name,
    unexpected,
)

# Most bytes that one stored byte can stand for after each filter. Other filters may be plug-ins,
# which are programs.
_EXPANSIONS = {
    h5py.h5z.FILTER_DEFLATE: 1032,
    h5py.h5z.FILTER_LZF: 264,
    h5py.h5z.FILTER_SHUFFLE: 1,
    h5py.h5z.FILTER_FLETCHER32: 1,
}
_NUMBERS = (h5py.h5t.TypeIntegerID, h5py.h5t.TypeFloatID, h5py.h5t.TypeEnumID)
_H5_ERRORS = (OSError, RuntimeError, ValueError, KeyError, TypeError, MemoryError)

# Where KerasHub's layers lie inside the backbone: {path: (KerasHub's name, leaves in order)}.
_DENSE = ("kernel", "bias")
_NORM = ("gamma", "beta")
_BACKBONE = {
    "reversible_embedding": ("token_embedding", ("embeddings",)),
    "position_embedding": ("position_embedding", ("embeddings",)),
    "embedding": ("segment_embedding", ("embeddings",)),
    "layer_normalization": ("embeddings_layer_norm", _NORM),
    "dense": ("embedding_projection", _DENSE),
    "dense_1": ("pooled_dense", _DENSE),
}
_ENCODER: dict[str, tuple[str, tuple[str, ...]]] = {
    "_self_attention_layer/query_dense": ("self_attention_layer/query", _DENSE),
    "_self_attention_layer/key_dense": ("self_attention_layer/key", _DENSE),
    "_self_attention_layer/value_dense": ("self_attention_layer/value", _DENSE),
    "_self_attention_layer/output_dense": ("self_attention_layer/attention_output", _DENSE),
    "_self_attention_layer_norm": ("self_attention_layer_norm", _NORM),
    "_feedforward_layer_norm": ("feedforward_layer_norm", _NORM),
    "_feedforward_intermediate_dense": ("feedforward_intermediate_dense", _DENSE),
    "_feedforward_output_dense": ("feedforward_output_dense", _DENSE),
}
_HEADS = {
    "masked_lm_head": ("mlm_head", ("output_bias",)),
    "masked_lm_head/_intermediate_dense": ("mlm_head/intermediate_dense", _DENSE),
    "masked_lm_head/_intermediate_layer_norm": ("mlm_head/intermediate_layer_norm", _NORM),
    "dense": ("logits", _DENSE),
}
# Keras 2.13 said `_layer_checkpoint_dependencies` for `layers`, and older attention layers wrote
# `_query_dense` for `query_dense`.
_LAYERS = r"(?:layers|_layer_checkpoint_dependencies)/"
_PLACE = re.compile(rf"{_LAYERS}(albert_backbone/{_LAYERS})?(.+)/vars/(\d+)")
_ENCODER_GROUP = re.compile(rf"(?:{_LAYERS}albert_backbone/)?{_LAYERS}(transformer_encoder\w*)")
_IN_ENCODER = re.compile(r"(transformer_encoder\w*)/(.+)")
_ENCODER_NAME = re.compile(r"group_\d+_inner_layer_\d+")
_NOT_WEIGHTS = re.compile(r"optimizer/|(?:.*/)?seed_generator(?:_\d+)?/")


def open_h5(path: str | os.PathLike) -> dict[str, StoredTensor]:
    """Returns {path inside the file: `StoredTensor`} of all datasets, without reading the numbers.

    Each `StoredTensor` opens the file again.

    Raises:
        CheckpointError: if the file is missing, damaged or no HDF5; if it holds anything but groups
            and arrays of numbers, or links that lead elsewhere; if it announces more than it holds.
    """
    path = os.fspath(path)
    with _opened(path) as file:
        return {name: _describe(path, name, dataset) for name, dataset in _find_datasets(file)}


def transformers_names(tensors: dict[str, StoredTensor]) -> dict[str, StoredTensor]:
    """Returns the tensors of a `tf_model.h5` by the names of their layers, without the model's."""
    names = {re.sub(r"^.*?/tf_albert\w*/", "", name).removesuffix(":0"): name for name in tensors}
    shorter = {short: tensors[name] for short, name in names.items()}
    # Its masked-word head makes two biases and adds this one; the other stays as it began.
    if "predictions/decoder/bias" in shorter:
        shorter["predictions/bias"] = shorter.pop("predictions/decoder/bias")
    return shorter


def keras_hub_names(path: str | os.PathLike) -> dict[str, str]:
    """Returns {KerasHub's name of a weight: its path in the file} of a KerasHub ALBERT file.

    Args:
        path: `model.weights.h5` or `task.weights.h5` of a preset, or what `save_weights` of
            KerasHub's AlbertBackbone, AlbertMaskedLM or AlbertTextClassifier wrote.

    Returns:
        {"group_0_inner_layer_0/self_attention_layer/query/kernel":
        "layers/transformer_encoder/_self_attention_layer/query_dense/vars/0", ...}. Those of heads
        begin with "mlm_head/" or "logits/". The optimizer's variables and the states of dropout are
        left out.

    Raises:
        CheckpointError: as `open_h5`; for a weight that KerasHub's ALBERT does not have; for
            several transformer layers in a file that does not name them, as older Keras did not.
    """
    with _opened(os.fspath(path)) as file:
        places = [name for name, _ in _find_datasets(file) if not _NOT_WEIGHTS.match(name)]
        # A file of a whole model has layers of the head at the top, under names that a file of the
        # backbone alone has for other layers.
        is_backbone = any(re.fullmatch(_LAYERS + "reversible_embedding/vars/0", p) for p in places)
        encoders = _name_encoders(file, places)
        names = {}
        for place in places:
            name = _keras_hub_name(place, is_backbone, encoders)
            if name is None or name in names:
                raise unexpected("only weights of KerasHub's ALBERT, each once", place)
            names[name] = place
        return names


@contextlib.contextmanager
def _opened(path: str | os.PathLike) -> Iterator[h5py.File]:
    """Opens the file; errors of reading it become a `CheckpointError` that begins with its path."""
    with errors_name(path, "HDF5", _H5_ERRORS):
        check_file(path)
        with h5py.File(path, "r") as file:
            yield file


def _find_datasets(file: h5py.File) -> Iterator[tuple[str, h5py.Dataset]]:
    """Yields (path, dataset), having followed nothing but hard links, and each group once."""
    addresses = {h5py.h5o.get_info(file.id).addr}
    groups = [("", file["/"])]
    while groups:
        prefix, group = groups.pop()
        for key in group:
            name = f"{prefix}{key}"
            link = group.get(key, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise unexpected("no links to elsewhere", f"{name}, a {type(link).__name__}")
            item = group[key]
            if isinstance(item, h5py.Dataset):
                yield name, item
                continue
            if not isinstance(item, h5py.Group):
                raise unexpected("groups and datasets", f"{name}, a {type(item).__name__}")
            address = h5py.h5o.get_info(item.id).addr
            if address in addresses:
                raise unexpected("each group in one place", f"{name}, which is another, too")
            addresses.add(address)
            groups.append((f"{name}/", item))


def _describe(path: str | os.PathLike, name: str, dataset: h5py.Dataset) -> StoredTensor:
    """Returns the `StoredTensor` of a dataset, having checked what it announces."""
    kind = dataset.id.get_type()
    # An opaque type of two bytes is how Keras stores bfloat16.
    is_bfloat16 = isinstance(kind, h5py.h5t.TypeOpaqueID) and kind.get_size() == 2
    if not is_bfloat16 and not (isinstance(kind, _NUMBERS) and dataset.dtype.kind in "biuf"):
        raise unexpected("numbers", f"{name} of {type(kind).__name__}")
    if dataset.shape is None:
        raise unexpected("an array", f"{name}, which is empty")
    _check_storage(name, dataset, kind.get_size())

    def load() -> np.ndarray:
        with _opened(path) as file:
            value = file[name][()]
        return value.view(ml_dtypes.bfloat16).astype(np.float32) if is_bfloat16 else value

    return StoredTensor(dataset.shape, "bfloat16" if is_bfloat16 else str(dataset.dtype), load)


def _check_storage(name: str, dataset: h5py.Dataset, element_size: int) -> None:
    """Raises `CheckpointError` unless the file itself holds the elements of the dataset."""
    properties = dataset.id.get_create_plist()
    if properties.get_layout() == h5py.h5d.VIRTUAL or properties.get_external_count():
        raise unexpected("numbers in the file itself", f"{name}, which has them in another one")
    filters = [properties.get_filter(i)[0] for i in range(properties.get_nfilters())]
    if not _EXPANSIONS.keys() >= set(filters):
        raise unexpected("gzip or lzf if any filter", f"{name} with the filters {filters}")
    stored_bytes = dataset.id.get_storage_size()
    start = dataset.id.get_offset() or 0
    if start + stored_bytes > os.path.getsize(dataset.file.filename):
        raise unexpected("a whole file", f"{name}, which ends at byte {start + stored_bytes}")
    most = stored_bytes * math.prod(_EXPANSIONS[code] for code in filters)
    # A chunk is unpacked as a whole, and may be larger than the dataset.
    size = max(math.prod(dataset.shape), math.prod(dataset.chunks or (0,))) * element_size
    if size > most:
        raise unexpected(f"at most the {most} bytes that are there of {name}", size)


def _name_encoders(file: h5py.File, places: list[str]) -> dict[str, str]:
    """Returns {"transformer_encoder_1": KerasHub's name of that layer, ...} for all that there are.

    The number at the end counts what Python made, so only the name that Keras adds tells which
    group a layer is of.
    """
    groups = {}
    for place in places:
        if match := _ENCODER_GROUP.match(place):
            groups[match.group(1)] = match.group()
    if len(groups) == 1:
        return {key: "group_0_inner_layer_0" for key in groups}
    names = {key: _read_name(file, group) for key, group in groups.items()}
    unnamed = [groups[key] for key, name in names.items() if name is None]
    if unnamed:
        raise unexpected("layers named group_G_inner_layer_I", f"no such name of {unnamed}")
    return names


def _read_name(file: h5py.File, group: str) -> str | None:
    """Returns the name of the transformer layer in a group, or None if the file does not tell."""
    if "vars" not in file[group] or "name" not in file[group]["vars"].attrs:
        return None
    attributes = file[group]["vars"].attrs
    attribute = attributes.get_id("name")
    # HDF5 crashes on other types of variable length that damage can make of a text.
    if attribute.shape != () or not isinstance(attribute.get_type(), h5py.h5t.TypeStringID):
        return None
    name = attributes["name"]
    return name if isinstance(name, str) and _ENCODER_NAME.fullmatch(name) else None


def _keras_hub_name(place: str, is_backbone: bool, encoders: dict[str, str]) -> str | None:
    """Returns KerasHub's name of the weight at a path of the file, or None if it has no such."""
    match = _PLACE.fullmatch(place)
    if not match:
        return None
    inner, layer, index = match.groups()
    table, prefix = (_BACKBONE if inner or is_backbone else _HEADS), ""
    encoder = _IN_ENCODER.fullmatch(layer)
    if encoder:
        table, prefix = _ENCODER, f"{encoders[encoder.group(1)]}/"
        layer = re.sub(r"/_(?=\w+_dense$)", "/", encoder.group(2))
    if layer not in table or int(index) >= len(table[layer][1]):
        return None
    name, leaves = table[layer]
    return f"{prefix}{name}/{leaves[int(index)]}"
