"""A converted model on disk: a model directory, one of int8 matrices, or as Google has it."""

import dataclasses
import pathlib
import shutil
from collections.abc import Iterator

import numpy as np

from albert_tf import tensorflow_writes, whole_files
from albert_tf.checkpoints import (
    model_directory,
    model_kinds,
    published_configs,
    safetensors_files,
    sentence_files,
    tensorflow_files,
)
from albert_tf.checkpoints.stored_tensors import CheckpointError
from albert_tf.checkpoints.weight_names import LAYOUTS
from albert_tf.conversion import optimizer_slots
from albert_tf.conversion.sources import Source
from albert_tf.model.keras_model import AlbertTaskModel

# A vocabulary in a model directory -> in Google's archives.
_NAMES_OF_GOOGLE = {"spiece.model": "30k-clean.model", "vocab.txt": "vocab_chinese.txt"}


def write_transformers(
    destination: pathlib.Path, model: AlbertTaskModel, source: Source, slots: dict[str, np.ndarray]
) -> None:
    """Writes a model directory with the source's vocabulary, and what it notes of its task."""
    with whole_files.whole_directory(destination) as partial:
        _write_files(partial, model, source)
        if slots:
            safetensors_files.write_safetensors(slots, partial / model_directory.OPTIMIZER_FILE)


def write_int8(
    destination: pathlib.Path, model: AlbertTaskModel, source: Source, slots: dict[str, np.ndarray]
) -> None:
    """Writes a model directory with int8 matrices; the model takes the values that are left."""
    del slots  # of other weights
    with whole_files.whole_directory(destination) as partial:
        _write_files(partial, model, source)
        whole = partial / published_configs.WEIGHTS_FILE
        safetensors_files.write_int8(
            safetensors_files.read_safetensors(whole),
            partial / published_configs.INT8_WEIGHTS_FILE,
        )
        whole.unlink()
    model_directory.fill(model, destination)


def _write_files(folder: pathlib.Path, model: AlbertTaskModel, source: Source) -> None:
    model_directory.write_files(folder, model)
    for name, path in source.companions.items():
        shutil.copyfile(path, folder / name)
    noted = (model_kinds.TASK_FILE, sentence_files.MODULES_FILE)
    if any((source.path / name).is_file() for name in noted):
        kind = model_kinds.read_kind(source.path)
        # Not of another head than the one that is written.
        if kind == (model.kind or "embedding"):
            notes = model_kinds.read_notes(source.path)
            model_kinds.write_notes(folder, dataclasses.replace(notes, kind=kind))


def write_tf1(
    destination: pathlib.Path, model: AlbertTaskModel, source: Source, slots: dict[str, np.ndarray]
) -> None:
    """Writes a folder with `model.ckpt-best`, `albert_config.json` and the vocabulary.

    What a `tokenizer_config.json` says of capitals and accents goes along; Google's code does not
    read it.
    """
    with whole_files.whole_directory(destination) as partial:
        with tensorflow_writes.errors_name(destination):
            tensorflow_files.write_tf1_checkpoint(
                partial / "model.ckpt-best", _tf1_tensors(model, slots)
            )
        values = model.config.to_dict()
        del values["classifier_dropout_prob"], values["layer_norm_eps"]
        # The original knows the tanh form under this name, and its own constant for the epsilon.
        if values["hidden_act"] == "gelu_new":
            values["hidden_act"] = "gelu"
        values |= published_configs.UNUSED_OF_GOOGLE
        whole_files.write_json(partial / published_configs.GOOGLES_CONFIG_FILE, values)
        if model_directory.TOKENIZER_FILE in source.companions:
            noted = source.companions[model_directory.TOKENIZER_FILE]
            shutil.copyfile(noted, partial / model_directory.TOKENIZER_FILE)
        names = [name for name in _NAMES_OF_GOOGLE if name in source.companions]
        for name in names:
            shutil.copyfile(source.companions[name], partial / _NAMES_OF_GOOGLE[name])
        if not names and "tokenizer.json" in source.companions:
            _write_vocabulary(partial, source.companions["tokenizer.json"].parent)


def _write_vocabulary(folder: pathlib.Path, directory: pathlib.Path) -> None:
    """Writes the vocabulary that a model directory has as `tokenizer.json` alone."""
    from albert_tf.checkpoints.tokenizer_files import load_tokenizer

    tokenizer = load_tokenizer(directory)
    if tokenizer.kind == "wordpiece":
        content = tokenizer.vocabulary.vocab_txt
        (folder / _NAMES_OF_GOOGLE[published_configs.WORD_PIECES_FILE]).write_bytes(content)
    else:
        tokenizer.save(folder / _NAMES_OF_GOOGLE[published_configs.VOCABULARY_FILE])


def _tf1_tensors(
    model: AlbertTaskModel, slots: dict[str, np.ndarray]
) -> Iterator[tuple[str, np.ndarray]]:
    """Yields (name, numbers) of a checkpoint that the original code restores."""
    config, layout = model.config, LAYOUTS["tf1"]
    if config.hidden_act == "gelu" or config.layer_norm_eps != 1e-12:
        raise CheckpointError(
            "the original code has the tanh form of GELU and the epsilon 1e-12 only. Received: "
            f"hidden_act={config.hidden_act!r}, layer_norm_eps={config.layer_norm_eps}"
        )
    for path, variable in model.weights_by_path().items():
        place = layout.place(path)
        if place is None:
            raise CheckpointError(f"the original code has no weight like {path}")
        value = variable.numpy()
        if path.startswith("encoder/embedding_projection/") and (
            config.embedding_size == config.hidden_size
        ):
            neutral = np.eye(len(value)) if value.ndim == 2 else np.zeros(len(value))
            if not np.array_equal(value, neutral):
                raise CheckpointError(
                    "the original code has no projection where embedding_size = hidden_size. "
                    f"Received: a trained {path}"
                )
            continue
        yield place.name, place.to_theirs(value, config.num_attention_heads)
        for slot, endings in optimizer_slots.SLOTS:
            if slots:
                moment = slots[f"{path}/{slot}"]
                yield (
                    place.name + endings[0],
                    place.to_theirs(moment, config.num_attention_heads),
                )
    if slots:
        yield optimizer_slots.STEP, np.asarray(slots["step"], np.int64)


WRITERS = {"transformers": write_transformers, "tf1": write_tf1, "int8": write_int8}
