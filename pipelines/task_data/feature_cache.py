"""Encoded examples on disk, under a key of everything that determines them.

The key is a digest of the examples themselves, of the encoder's arguments, of the vocabulary and of
the source code that encodes, so what was encoded otherwise is never taken for the same.
"""

import contextlib
import hashlib
import json
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import safetensors
from absl import logging
from safetensors.numpy import save

from albert_tf import whole_files
from albert_tf.pipelines.task_data.encoded_examples import EncodedExamples
from albert_tf.pipelines.tokenizer.tokenization import Tokenizer

_KINDS = ("tokens", "values", "details")


def encode_cached(
    directory: str | os.PathLike | None,
    encode: Callable[..., EncodedExamples],
    examples: Sequence,
    tokenizer: Tokenizer,
    **arguments,
) -> EncodedExamples:
    """Returns `encode(examples, tokenizer, **arguments)`, from the cache where it has that.

    Args:
        directory: folder of the cache, made on first use; None does not cache.
        encode: the encoder of a task.
        examples: dataclasses, what a reader gives.
        tokenizer: the model's.
        arguments: of `encode`, JSON types.

    Returns:
        The `EncodedExamples`. A damaged file in the cache is made anew.
    """
    if directory is None:
        return encode(examples, tokenizer, **arguments)
    key = _key(encode, examples, tokenizer, arguments)
    path = pathlib.Path(directory) / f"{encode.__module__.rsplit('.', 1)[-1]}-{key}.safetensors"
    if path.is_file():
        try:
            return _read(path)
        except (safetensors.SafetensorError, KeyError, OSError):
            logging.warning("%s is damaged and made anew", path)
    path.unlink(missing_ok=True)
    encoded = encode(examples, tokenizer, **arguments)
    _write(path, encoded)
    return encoded


def _key(
    encode: Callable[..., EncodedExamples],
    examples: Sequence,
    tokenizer: Tokenizer,
    arguments: dict[str, Any],
) -> str:
    digest = hashlib.sha256()
    digest.update(json.dumps([tokenizer.fingerprint, arguments], sort_keys=True).encode())
    # All of the pipelines: an encoder may call any of them.
    for path in sorted(pathlib.Path(__file__).parents[1].rglob("*.py")):
        digest.update(path.read_bytes())
    digest.update(digest_of(examples).encode())
    return digest.hexdigest()[:32]


def digest_of(examples: Sequence) -> str:
    """Returns a digest of everything in the examples, dataclasses."""
    digest = hashlib.sha256()
    for example in examples:
        digest.update(repr(example).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:32]


def _write(path: pathlib.Path, encoded: EncodedExamples) -> None:
    tensors = {"row_splits": encoded.row_splits}
    for kind in _KINDS:
        for name, value in getattr(encoded, kind).items():
            tensors[f"{kind}/{name}"] = np.ascontiguousarray(value)
    metadata = {"num_choices": str(encoded.num_choices), "joined_by": encoded.joined_by or ""}
    metadata["digest"] = _digest_of_file(tensors, metadata)
    # Two runs may share a cache. What one cannot write because the other does, it has in memory.
    with contextlib.suppress(whole_files.FolderInUseError), whole_files.only_run_in(path.parent):
        whole_files.remove_partials(path.parent)
        whole_files.write_bytes(path, save(tensors, metadata=metadata))


def _digest_of_file(tensors: dict[str, np.ndarray], metadata: dict[str, str]) -> str:
    digest = hashlib.sha256((metadata["num_choices"] + metadata["joined_by"]).encode())
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype} {tensors[name].shape}".encode())
        digest.update(tensors[name])
    return digest.hexdigest()


def _read(path: pathlib.Path) -> EncodedExamples:
    """Returns what a file holds; raise KeyError where it is not what was written."""
    with safetensors.safe_open(path, framework="numpy") as file:
        metadata = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if metadata["digest"] != _digest_of_file(tensors, metadata):
        raise KeyError("digest")
    num_choices = int(metadata["num_choices"])
    row_splits = tensors.pop("row_splits")
    kinds: dict[str, dict[str, np.ndarray]] = {kind: {} for kind in _KINDS}
    for name, value in tensors.items():
        kind, column = name.split("/", 1)
        kinds[kind][column] = value
    return EncodedExamples(
        row_splits=row_splits,
        num_choices=num_choices,
        joined_by=metadata["joined_by"] or None,
        **kinds,
    )
