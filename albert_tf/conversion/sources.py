"""Opens a checkpoint of ALBERT of any kind: what it is, its config, its tensors by name.

Nothing is read but names and shapes, and nothing that a file says is executed.
"""

import dataclasses
import os
import pathlib
from typing import Any

from albert_tf.checkpoints import (
    h5_files,
    model_directory,
    published_configs,
    sentence_files,
    tensorflow_files,
)
from albert_tf.checkpoints.stored_tensors import CheckpointError, StoredTensor
from albert_tf.checkpoints.weight_names import LAYOUTS, Layout
from albert_tf.config import AlbertConfig
from albert_tf.conversion.companions import find_companions


@dataclasses.dataclass
class Source:
    """A checkpoint that was opened.

    Attributes:
        kind: what it is, in words.
        path: the file or folder, for messages.
        layout: names of its tensors.
        tensors: by their names.
        config: None if it has none.
        labels: names of the classes, or None.
        problem: what the outputs of a head for texts mean, see `published_configs.problem_of`.
        architecture: name of the class of transformers, or None if the tensors must tell.
        companions: files to go with the model, by name.
    """

    kind: str
    path: pathlib.Path
    layout: Layout
    tensors: dict[str, StoredTensor]
    config: AlbertConfig | None
    labels: list[str] | None = None
    problem: str | None = None
    architecture: str | None = None
    companions: dict[str, pathlib.Path] = dataclasses.field(default_factory=dict)


def open_source(path: str | os.PathLike, config: AlbertConfig | None = None) -> Source:
    """Opens a checkpoint of any kind that we know.

    Args:
        path: a model directory, a checkpoint of TensorFlow 1 (prefix or folder), a SavedModel or
            module of TF-Hub, or a preset of KerasHub.
        config: for a source that has none.

    Raises:
        CheckpointError: if it is none of these, or damaged, or has a config beside the given one.
    """
    path = pathlib.Path(path)
    folder = pathlib.Path(sentence_files.model_folder(path))
    config_file = folder / model_directory.CONFIG_FILE
    values = published_configs.read_json(config_file) if config_file.is_file() else {}
    if values and config is not None:
        raise CheckpointError(
            f"`config` goes with a source that has none. Received: one beside {config_file}"
        )
    if "class_name" in values:
        return _open_keras_hub(path, values)
    if values:
        return dataclasses.replace(_open_model_directory(folder, values), path=path)
    if tensorflow_files.is_saved_model(path):
        return _open_saved_model(path, config)
    if tensorflow_files.is_tf1_checkpoint(path):
        return _open_tf1(path, config)
    if path.is_dir() and any(path.glob("*.index")):
        tensorflow_files.open_tf1_checkpoint(path)  # says why it is none
    received = "nothing that looks like one" if path.exists() else "no such file or folder"
    raise CheckpointError(
        f"{path} must be a model directory, a TensorFlow 1 checkpoint, a SavedModel, a KerasHub "
        f"preset, or an archive of one. Received: {received}"
    )


def _open_model_directory(path: pathlib.Path, values: dict[str, Any]) -> Source:
    source = str(path / model_directory.CONFIG_FILE)
    tensors, layout, _ = model_directory.open_weights(path)
    return Source(
        kind=f"{layout.title} model directory",
        path=path,
        layout=layout,
        tensors=tensors,
        config=published_configs.from_transformers(values, source),
        labels=published_configs.labels_of(values, source),
        problem=published_configs.problem_of(values, source),
        architecture=next(iter(published_configs.architectures_of(values, source)), None),
        companions=find_companions(path),
    )


def _open_keras_hub(path: pathlib.Path, values: dict[str, Any]) -> Source:
    tensors = {}
    # A preset of a task keeps the backbone in the one file and the head in the other.
    for name in ("model.weights.h5", "task.weights.h5"):
        if (path / name).is_file():
            stored = h5_files.open_h5(path / name)
            places = h5_files.keras_hub_names(path / name)
            tensors |= {hub_name: stored[place] for hub_name, place in places.items()}
    if not tensors:
        raise CheckpointError(f"{path} must hold model.weights.h5. Received: no such file")
    config = published_configs.from_keras_hub(values, str(path / model_directory.CONFIG_FILE))
    return Source(
        kind="KerasHub preset",
        path=path,
        layout=LAYOUTS["keras_hub"],
        tensors=tensors,
        config=config,
        companions=find_companions(path / "assets" / "tokenizer"),
    )


def _open_saved_model(path: pathlib.Path, config: AlbertConfig | None) -> Source:
    tensors = tensorflow_files.open_saved_model(path)
    if any(name.startswith("module/bert/") for name in tensors):
        tensors = {name.removeprefix("module/"): tensor for name, tensor in tensors.items()}
    layout = LAYOUTS["tf1" if "bert/pooler/dense/kernel" in tensors else "tf_models"]
    if layout is LAYOUTS["tf_models"]:
        # TF-Hub's encoders name their variables below a scope of their own, or below none.
        tensors = {name.removeprefix("albert_encoder/"): t for name, t in tensors.items()}
    return Source(
        kind=f"SavedModel with {layout.title} names",
        path=path,
        layout=layout,
        tensors=tensors,
        config=_with_tanh(config),
        companions=find_companions(path / "assets"),
    )


def _with_tanh(config: AlbertConfig | None) -> AlbertConfig | None:
    """Returns a config with the form of GELU that Google's code has, whatever it is called."""
    if config is not None and config.hidden_act == "gelu":
        return dataclasses.replace(config, hidden_act="gelu_new")
    return config


def _open_tf1(path: pathlib.Path, config: AlbertConfig | None) -> Source:
    folder = path if path.is_dir() else path.parent
    config_file = folder / published_configs.GOOGLES_CONFIG_FILE
    if config is None and config_file.is_file():
        config = published_configs.from_google(
            published_configs.read_json(config_file), str(config_file)
        )
    return Source(
        kind="TensorFlow 1 checkpoint",
        path=path,
        layout=LAYOUTS["tf1"],
        tensors=tensorflow_files.open_tf1_checkpoint(path),
        config=_with_tanh(config),
        companions=find_companions(folder),
    )
