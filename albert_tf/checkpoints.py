"""Models on disk: the directory that people pass around, and the checkpoints of a training run.

A model directory holds `config.json`, `model.safetensors` and `spiece.model`. Its tensors bear the
names and orientations that the `transformers` library uses for ALBERT, so either side reads it.
A checkpoint is a model directory with `training_state.safetensors` in it: all that the next step
depends on, which is the weights, the optimizer's slots and step, and the dropout seeds.
"""

import json
import os
import pathlib
import re
import shutil

import numpy as np
import safetensors
import safetensors.numpy

from albert_tf.config import AlbertConfig
from albert_tf.heads import AlbertForPretraining

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
VOCABULARY_FILE = "spiece.model"
STATE_FILE = "training_state.safetensors"

# What `config.json` says beside the architecture, so that transformers knows what to build.
_PUBLISHED_KEYS = {
    "model_type": "albert",
    "architectures": ["AlbertForPreTraining"],
    "pad_token_id": 0,
    "bos_token_id": 2,
    "eos_token_id": 3,
}

# Where each of our variables lies in transformers' ALBERT: (our path, their name).
_BLOCK = r"encoder/group_(\d+)/inner_group_(\d+)/"
_THEIR_BLOCK = r"albert.encoder.albert_layer_groups.\1.albert_layers.\2."
_MODULES = (
    ("encoder/embeddings/word_embeddings", "albert.embeddings.word_embeddings.weight"),
    ("encoder/embeddings/token_type_embeddings", "albert.embeddings.token_type_embeddings.weight"),
    ("encoder/embeddings/position_embeddings", "albert.embeddings.position_embeddings.weight"),
    ("encoder/embeddings/layer_norm/", "albert.embeddings.LayerNorm."),
    ("encoder/embedding_projection/", "albert.encoder.embedding_hidden_mapping_in."),
    (_BLOCK + "attention/(query|key|value)/", _THEIR_BLOCK + r"attention.\3."),
    (_BLOCK + "attention/output/", _THEIR_BLOCK + "attention.dense."),
    (_BLOCK + "attention/layer_norm/", _THEIR_BLOCK + "attention.LayerNorm."),
    (_BLOCK + "feed_forward/intermediate/", _THEIR_BLOCK + "ffn."),
    (_BLOCK + "feed_forward/output/", _THEIR_BLOCK + "ffn_output."),
    (_BLOCK + "feed_forward/layer_norm/", _THEIR_BLOCK + "full_layer_layer_norm."),
    ("encoder/pooler/", "albert.pooler."),
    ("masked_lm_head/transform/", "predictions.dense."),
    ("masked_lm_head/layer_norm/", "predictions.LayerNorm."),
    ("masked_lm_head/output_bias", "predictions.bias"),
    ("sentence_order_head/classifier/", "sop_classifier.classifier."),
)
_LEAVES = {"kernel": "weight", "bias": "bias", "gamma": "weight", "beta": "bias"}


class CheckpointError(ValueError):
    """A model directory or checkpoint cannot be used; the message names the file and tensors."""


def published_name(path):
    """Returns (transformers' name, whether it holds the transpose) for a variable path.

    >>> published_name("encoder/group_0/inner_group_0/attention/query/kernel")
    ('albert.encoder.albert_layer_groups.0.albert_layers.0.attention.query.weight', True)
    """
    for pattern, name in _MODULES:
        match = re.match(pattern, path)
        if match:
            leaf = path[match.end() :]
            return match.expand(name) + _LEAVES.get(leaf, leaf), leaf == "kernel"
    raise CheckpointError(f"no published name is known for the variable {path}")


def relative_path(model, variable):
    """Returns the variable's path without the model's own name, which the user may have chosen."""
    return variable.path.removeprefix(f"{model.name}/")


def save_weights(model, path):
    """Writes the model's weights as safetensors under their published names, in float32."""
    tensors = {}
    for variable in model.weights:
        name, transposed = published_name(relative_path(model, variable))
        value = np.asarray(variable.value, np.float32)
        tensors[name] = np.ascontiguousarray(value.T if transposed else value)
    write_safetensors(tensors, path)


def load_weights(model, path):
    """Assigns the weights that `save_weights` wrote.

    Raises:
        CheckpointError: for missing, unknown or misshapen tensors, listing them by name.
    """
    tensors = read_safetensors(path)
    expected = {published_name(relative_path(model, v)): v for v in model.weights}
    problems = [f"missing: {name}" for name, _ in expected if name not in tensors]
    known = {name for name, _ in expected}
    problems += [f"unknown: {name}" for name in tensors if name not in known]
    values = {}
    for (name, transposed), variable in expected.items():
        if name in tensors:
            value = tensors[name].T if transposed else tensors[name]
            if tuple(value.shape) != tuple(variable.shape):
                problems.append(
                    f"shape of {name}: expected {tuple(variable.shape)}, received {value.shape}"
                    + (" (transposed)" if transposed else "")
                )
            values[variable.path] = value
    if problems:
        raise CheckpointError(f"{path} does not fit the model:\n  " + "\n  ".join(problems))
    for variable in model.weights:
        variable.assign(values[variable.path])


def save_model(directory, model, vocabulary):
    """Writes a model directory; it appears whole or not at all.

    Args:
        directory: must not exist yet.
        model: `AlbertForPretraining`.
        vocabulary: bytes of the SentencePiece model.

    Raises:
        FileExistsError: if `directory` is there already.
    """
    with complete_directory(directory) as partial:
        write_model_files(partial, model, vocabulary)


def publish_model(directory, model, vocabulary):
    """Writes a model directory's files into a folder that holds other files already.

    Each file appears whole, and `config.json`, without which nothing reads the others, last.
    """
    directory = pathlib.Path(directory)
    partial = directory / ".model.partial"
    shutil.rmtree(partial, ignore_errors=True)
    with complete_directory(partial / "model") as folder:
        write_model_files(folder, model, vocabulary)
    for name in (WEIGHTS_FILE, VOCABULARY_FILE, CONFIG_FILE):
        os.replace(partial / "model" / name, directory / name)
    shutil.rmtree(partial)


def write_model_files(directory, model, vocabulary):
    """Writes the three files of a model directory into a folder nobody reads yet."""
    values = {**_PUBLISHED_KEYS, **model.config.to_dict()}
    (directory / CONFIG_FILE).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    save_weights(model, directory / WEIGHTS_FILE)
    (directory / VOCABULARY_FILE).write_bytes(vocabulary)


def load_config(directory):
    """Returns the `AlbertConfig` of a model directory.

    Raises:
        CheckpointError: if there is no such directory or it holds no `config.json`.
    """
    path = pathlib.Path(directory) / CONFIG_FILE
    if not path.is_file():
        raise CheckpointError(
            f"{directory} must be a model directory, with {CONFIG_FILE}, {WEIGHTS_FILE} and "
            f"{VOCABULARY_FILE}. Received: no file {path}"
        )
    values = json.loads(path.read_text(encoding="utf-8"))
    architecture = {name: value for name, value in values.items() if name not in _PUBLISHED_KEYS}
    return AlbertConfig.from_dict(architecture, source=str(path))


def load_model(directory, dtype=None):
    """Returns the `AlbertForPretraining` of a model directory.

    Args:
        directory: made by `save_model` or `run_pretraining`.
        dtype: Keras dtype policy, such as "mixed_bfloat16"; None means the global one.

    Raises:
        CheckpointError: if the directory is not whole or its weights do not fit its config.
    """
    model = AlbertForPretraining(load_config(directory), dtype=dtype)
    load_weights(model, pathlib.Path(directory) / WEIGHTS_FILE)
    return model


class CheckpointStore:
    """The checkpoints of one training run: `step-00001000/`, each complete or absent.

    Args:
        directory: where they lie; made when the first is saved.
        model, optimizer: both built.
        keep: how many of the newest to keep.
        save_files: `directory -> None`, adds what makes a checkpoint usable as a model.
    """

    def __init__(self, directory, *, model, optimizer, keep, save_files):
        self._directory = pathlib.Path(directory)
        self._model = model
        self._optimizer = optimizer
        self._keep = keep
        self._save_files = save_files

    def path(self, step):
        """Returns the folder of the checkpoint of `step`."""
        return self._directory / f"step-{step:08d}"

    def steps(self):
        """Returns the steps of all complete checkpoints, in order."""
        folders = self._directory.glob("step-*") if self._directory.is_dir() else ()
        matches = (re.fullmatch(r"step-(\d{8,})", folder.name) for folder in folders)
        return sorted(int(match.group(1)) for match in matches if match)

    def latest_path(self):
        """Returns the folder of the newest checkpoint, or None."""
        steps = self.steps()
        return self.path(steps[-1]) if steps else None

    def save(self, step):
        """Writes the checkpoint of `step`, then removes those beyond the number to keep."""
        with complete_directory(self.path(step)) as partial:
            self._save_files(partial)
            state = {path: np.asarray(v.value) for path, v in self._state().items()}
            write_safetensors(state, partial / STATE_FILE)
        for old in self.steps()[: -self._keep]:
            shutil.rmtree(self.path(old))

    def restore_latest(self):
        """Restores the newest checkpoint; returns its step, or 0 if there is none.

        Raises:
            CheckpointError: if the checkpoint was made by another model or optimizer.
        """
        folder = self.latest_path()
        if folder is None:
            return 0
        saved, expected = read_safetensors(folder / STATE_FILE), self._state()
        held = {name: value.shape for name, value in saved.items()}
        wanted = {name: tuple(variable.shape) for name, variable in expected.items()}
        if held != wanted:
            different = sorted(name for name, _ in held.items() ^ wanted.items())
            raise CheckpointError(
                f"{folder / STATE_FILE} was made by another model or optimizer; they differ in "
                f"{', '.join(dict.fromkeys(different))}"
            )
        for name, variable in expected.items():
            variable.assign(saved[name])
        return self.steps()[-1]

    def _state(self):
        """Returns {unique name: variable} of all that the next step depends on."""
        # Keras numbers layers by what the process made before, so a path is no stable name; the
        # order of a model's variables is.
        return {
            f"{owner}/{index:04d}": variable
            for owner, variables in (
                ("model", self._model.variables),
                ("optimizer", self._optimizer.variables),
            )
            for index, variable in enumerate(variables)
        }


class complete_directory:  # noqa: N801 - reads as a function
    """A folder that is filled under another name and renamed when the block ends well."""

    def __init__(self, directory):
        self._final = pathlib.Path(directory)
        self._partial = self._final.with_name(f".{self._final.name}.partial")

    def __enter__(self):
        if self._final.exists():
            raise FileExistsError(f"{self._final} exists already")
        shutil.rmtree(self._partial, ignore_errors=True)
        self._partial.mkdir(parents=True)
        return self._partial

    def __exit__(self, error_type, error, traceback):
        if error_type is not None:
            shutil.rmtree(self._partial, ignore_errors=True)
            return
        for path in self._partial.iterdir():
            with open(path, "rb") as file:
                os.fsync(file.fileno())
        os.replace(self._partial, self._final)


def write_safetensors(tensors, path):
    """Writes {name: array}."""
    # transformers refuses a file that does not name a framework's layout.
    safetensors.numpy.save_file(tensors, path, metadata={"format": "pt"})


def read_safetensors(path):
    """Returns {name: array}.

    Raises:
        CheckpointError: if the file is missing, cut off or not safetensors.
    """
    try:
        return safetensors.numpy.load_file(path)
    except (OSError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be read as safetensors: {error}") from error
