"""The directory that people pass around as "a model": `config.json`, weights, vocabulary.

It is the one that the `transformers` library reads and writes, in its newest form and in the older
ones. What only we have (the head for SQuAD 2.0) lies in a file of our own beside it.
"""

from __future__ import annotations

import functools
import os
import pathlib
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

import numpy as np
from absl import logging

from albert_tf import whole_files
from albert_tf.checkpoints import (
    h5_files,
    model_kinds,
    published_configs,
    safetensors_files,
    sentence_files,
    torch_files,
    weight_mapping,
)
from albert_tf.checkpoints.published_configs import (
    CONFIG_FILE,
    OWN_WEIGHTS_FILE,
    TOKENIZER_FILE,
    VOCABULARY_FILE,
    WEIGHT_FILES,
    WEIGHTS_FILE,
    WORD_PIECES_FILE,
)
from albert_tf.checkpoints.stored_tensors import CheckpointError, StoredTensor, check_folder
from albert_tf.checkpoints.weight_names import LAYOUTS, OWN_PREFIX, Layout
from albert_tf.config import AlbertConfig
from albert_tf.embedding_tables.changes import UNCHANGED, TableChanges, take_changes

if TYPE_CHECKING:
    import keras

    from albert_tf.pipelines.tokenizer.tokenization import Tokenizer

# The optimizer's slots and the step, of a checkpoint whose training is to go on.
OPTIMIZER_FILE = "optimizer.safetensors"

# What a directory of transformers may hold beside the weights that a model of ours has: the heads
# of its other models, and buffers of old versions.
NOT_OURS = (
    r"^(predictions|sop_classifier|classifier|qa_outputs|albert[./]pooler)[./]",
    r"^albert\.embeddings\.(position_ids|token_type_ids)$",
    f"^{OWN_PREFIX}",
)
# The word table and its bias, which files of PyTorch may hold twice.
_TIED = (
    ("predictions.decoder.weight", "albert.embeddings.word_embeddings.weight"),
    ("predictions.decoder.bias", "predictions.bias"),
)


class StoredModel(Protocol):
    """What a model directory asks of a model and its class; `AlbertTaskModel` says what each is."""

    config: AlbertConfig
    kind: str | None
    labels: Sequence[str] | None
    problem: str | None
    reads_problem: bool
    transformers_class: str
    head_names: tuple[str, ...]
    starts_missing_heads: bool
    needs_pooler: bool
    has_pooler: bool

    def __init__(self, config: AlbertConfig, **kwargs: Any): ...

    @classmethod
    def without_values(cls, config: AlbertConfig, **kwargs: Any) -> Self:
        """Returns a model whose weights are about to be read."""

    def notes(self) -> model_kinds.TaskNotes | None:
        """Returns what the directory keeps of the task; None for nothing."""

    def weights_by_path(self) -> dict[str, keras.Variable]:
        """Returns the weights by our paths."""

    def saved_weights(self) -> dict[str, np.ndarray]:
        """Returns what a directory holds, by our paths."""

    def forget_adapters(self) -> None:
        """Makes adapters add nothing."""


Model = TypeVar("Model", bound=StoredModel)


def load(
    model_class: type[Model],
    directory: str | os.PathLike,
    initialize_head: bool,
    kwargs: Mapping[str, Any],
) -> Model:
    """Returns a model of `model_class` with the weights of a directory.

    Args:
        model_class: of the model.
        directory: of ours or of transformers.
        initialize_head: whether the head starts untrained instead of being read.
        kwargs: of the constructor. `num_hidden_groups`, or `share_across_layers=False` for as many
            as there are layers, gives the model other groups than the directory has; each starts
            from the weights that its first layer had. `max_position_embeddings` stretches the
            position table, see `positions.stretch`; `tokenizer` gives the model its vocabulary,
            see `vocabulary.find_old_pieces`. `encoder_dropout` and `classifier_dropout` are rates
            that replace the directory's. `pooler` asks for the pooler where the directory has it.

    Raises:
        CheckpointError: for what is missing, damaged or does not fit, by name.
    """
    directory = sentence_files.model_folder(directory)
    values, config_file = _read_config_file(directory)
    in_file = published_configs.from_transformers(values, str(config_file))
    model_kinds.check_head(directory, None if initialize_head else model_class.kind)
    kwargs = dict(kwargs)
    config = in_file.with_groups(
        kwargs.pop("num_hidden_groups", None), kwargs.pop("share_across_layers", True)
    ).with_dropout(kwargs.pop("encoder_dropout", None), kwargs.pop("classifier_dropout", None))
    changes = take_changes(kwargs, functools.partial(_load_tokenizer, directory))
    config = changes.of_config(config)
    if model_class.labels is not None and not {"labels", "num_classes"} & kwargs.keys():
        kwargs["labels"] = published_configs.labels_of(values, str(config_file))
    if model_class.reads_problem and not initialize_head:
        problem = published_configs.problem_of(values, str(config_file))
        kwargs.setdefault("multi_label", problem == published_configs.MULTI_LABEL)
    tensors, layout, source = open_weights(directory)
    weight_mapping.check_sizes(in_file, tensors, layout, source)
    # One that nothing reads would be a weight without a gradient.
    has_pooler = kwargs.pop("pooler", model_class.has_pooler)
    has_pooler = has_pooler and layout.place("encoder/pooler/kernel").name in tensors
    may_start_anew = initialize_head or model_class.starts_missing_heads
    make_model = model_class if may_start_anew else model_class.without_values
    model = make_model(config, pooler=has_pooler, **kwargs)
    start_untrained = model.head_names if initialize_head else ()
    if initialize_head and model_class.needs_pooler and not has_pooler:
        start_untrained = (*start_untrained, "encoder/pooler")
    if model_class.starts_missing_heads:
        start_untrained = missing_parts(model, directory)
        if start_untrained:
            logging.warning("%s: %s", directory, describe_untrained(start_untrained))
    fill(model, directory, in_file.num_hidden_groups, start_untrained, changes)
    return model


def _load_tokenizer(directory: str | os.PathLike) -> Tokenizer:
    from albert_tf.checkpoints.tokenizer_files import load_tokenizer  # brings TensorFlow

    return load_tokenizer(directory)


def _read_config_file(directory: str | os.PathLike) -> tuple[dict[str, Any], pathlib.Path]:
    """Returns the object in the `config.json` of a model directory, and its path."""
    config_file = pathlib.Path(directory) / CONFIG_FILE
    check_folder(directory)
    if not config_file.is_file():
        raise CheckpointError(
            f"{directory} must be a model directory, with {CONFIG_FILE} and {WEIGHTS_FILE}. "
            f"Received: no file {config_file}"
        )
    return published_configs.read_json(config_file), config_file


def read_config(directory: str | os.PathLike) -> AlbertConfig:
    """Returns the `AlbertConfig` of a model directory, of ours or of transformers.

    Raises:
        CheckpointError: if it is none.
    """
    values, config_file = _read_config_file(directory)
    return published_configs.from_transformers(values, str(config_file))


def missing_parts(model: StoredModel, directory: str | os.PathLike) -> tuple[str, ...]:
    """Returns the heads of a model, and the pooler, of which a directory has no weight at all.

    So the masked-LM models of other people, which were never trained on sentence order, can be
    trained on.
    """
    tensors, layout, _ = open_weights(directory)
    parts = (*model.head_names, *(["encoder/pooler"] if model.needs_pooler else []))
    return weight_mapping.missing_parts(parts, model.weights_by_path(), layout, tensors)


def describe_untrained(parts: Iterable[str]) -> str:
    """Returns a sentence that names parts which start anew."""
    return f"has no weights for {', '.join(parts)}: untrained, all else as it is there"


def fill(
    model: StoredModel,
    directory: str | os.PathLike,
    num_hidden_groups: int | None = None,
    start_untrained: Sequence[str] = (),
    changes: TableChanges = UNCHANGED,
) -> None:
    """Fills a model that exists with the weights of a directory.

    Args:
        model: to fill.
        directory: of ours or of transformers.
        num_hidden_groups: of the directory, where it is not the model's.
        start_untrained: first parts of our paths that keep their values.
        changes: of the directory's tables.

    Raises:
        CheckpointError: for what is missing, damaged or does not fit, by name.
    """
    tensors, layout, source = open_weights(directory)
    tensors = changes.of_tensors(tensors, lambda path: layout.place(path).name)
    weights = {
        path: variable
        for path, variable in model.weights_by_path().items()
        if not any(path.startswith(f"{part}/") for part in start_untrained)
    }
    plan = weight_mapping.plan_loading(
        {path: tuple(variable.shape) for path, variable in weights.items()},
        tensors,
        layout,
        model.config,
        num_hidden_groups,
    )
    parts_of_heads = () if start_untrained else (*model.head_names, "encoder/pooler")
    plan.check(source, allow_left_over=NOT_OURS, parts_of_heads=parts_of_heads)
    weight_mapping.fill(weights, plan, source)
    model.forget_adapters()


def read_labels(directory: str | os.PathLike) -> list[str] | None:
    """Returns the names of the classes of a model directory, or None where it has none."""
    values, config_file = _read_config_file(directory)
    return published_configs.labels_of(values, str(config_file))


def open_weights(
    directory: str | os.PathLike,
) -> tuple[dict[str, StoredTensor], Layout, pathlib.Path]:
    """Finds the weights of a directory, in the newest form that it has.

    Returns:
        {name: `StoredTensor`}, their `weight_names.Layout`, and the file for messages.

    Raises:
        CheckpointError: if there are none, or they cannot be read.
    """
    check_folder(directory)
    directory = pathlib.Path(directory)
    for name in WEIGHT_FILES:
        path = directory / name
        if path.is_file():
            tensors = _open_weights(path)
            if path.suffix == ".h5":
                return h5_files.transformers_names(tensors), LAYOUTS["transformers_h5"], path
            tensors = _with_prefix(tensors)
            _drop_twins(tensors, path)
            if (directory / OWN_WEIGHTS_FILE).is_file():
                tensors |= safetensors_files.open_safetensors(directory / OWN_WEIGHTS_FILE)
            return tensors, LAYOUTS["transformers"], path
    raise CheckpointError(
        f"{directory} must hold weights, in one of {', '.join(WEIGHT_FILES)}. Received: none"
    )


_READERS = {
    ".safetensors": safetensors_files.open_safetensors,
    ".bin": torch_files.open_torch_file,
    ".h5": h5_files.open_h5,
}


def _open_weights(path: pathlib.Path) -> dict[str, StoredTensor]:
    """Opens one of `WEIGHT_FILES`, with the shards beside it if it is an index."""
    if path.name == published_configs.INT8_WEIGHTS_FILE:
        return safetensors_files.open_int8(path)
    whole = path.name.removesuffix(".index.json")
    open_file = _READERS[pathlib.PurePath(whole).suffix]
    return open_file(path) if whole == path.name else safetensors_files.open_shards(path, open_file)


def _with_prefix(tensors: dict[str, StoredTensor]) -> dict[str, StoredTensor]:
    """Gives the names of an encoder saved alone the prefix that they have beside a head."""
    if any(name.startswith("albert.") for name in tensors):
        return tensors
    alone = re.compile(r"(embeddings|encoder|pooler)\.")
    return {f"albert.{n}" if alone.match(n) else n: tensor for n, tensor in tensors.items()}


def _drop_twins(tensors: dict[str, StoredTensor], path: pathlib.Path) -> None:
    """Drops the second copies of tied tensors, after a look whether they are copies."""
    for twin, original in _TIED:
        if twin in tensors and original in tensors:
            if not np.array_equal(tensors[twin].read(), tensors[original].read()):
                raise CheckpointError(
                    f"{path}: {twin} must be tied to {original}, as in every ALBERT. "
                    "Received: other numbers"
                )
            del tensors[twin]


# Writing.


def save(
    directory: str | os.PathLike, model: StoredModel, tokenizer: Tokenizer | None = None
) -> None:
    """Writes a model directory, see `whole_files.whole_directory`."""
    with whole_files.whole_directory(directory) as partial:
        write_files(partial, model, tokenizer)


def publish(directory: str | os.PathLike, model: StoredModel, tokenizer: Tokenizer | None) -> None:
    """Writes a model directory's files into a folder that holds other files already.

    Each file appears whole, and `config.json`, without which nothing reads the others, last.
    """
    directory = pathlib.Path(directory)
    partial = directory / ".model.partial"
    shutil.rmtree(partial, ignore_errors=True)
    with whole_files.whole_directory(partial / "model") as folder:
        write_files(folder, model, tokenizer)
    for path in _config_last(partial / "model"):
        target = directory / path.relative_to(partial / "model")
        target.parent.mkdir(exist_ok=True)
        os.replace(path, target)
    shutil.rmtree(partial)


def publish_copy(source: str | os.PathLike, directory: str | os.PathLike) -> None:
    """Copies a model directory into a folder that holds other files already, as `publish` does."""
    check_folder(source)
    for path in _config_last(source):
        target = pathlib.Path(directory) / path.relative_to(source)
        target.parent.mkdir(exist_ok=True)
        with open(path, "rb") as original, whole_files.whole_file(target, "wb") as copy:
            shutil.copyfileobj(original, copy)


def _config_last(folder: str | os.PathLike) -> list[pathlib.Path]:
    """Returns the files of a folder and those in it, `config.json` of the model behind all."""
    folder = pathlib.Path(folder)
    paths = (path for path in folder.rglob("*") if path.is_file())
    return sorted(paths, key=lambda path: (path == folder / CONFIG_FILE, path))


def write_files(
    directory: pathlib.Path, model: StoredModel, tokenizer: Tokenizer | None = None
) -> None:
    """Writes the files of a model directory into a folder nobody reads yet."""
    layout, heads = LAYOUTS["transformers"], model.config.num_attention_heads
    published, own = {}, {}
    for path, value in model.saved_weights().items():
        place = layout.place(path)
        if place is None:
            raise CheckpointError(
                f"a model directory has no name for the weight {path}: `model.save` keeps what a "
                "subclass adds"
            )
        # transformers saves an encoder alone without the prefix.
        alone = model.transformers_class == "AlbertModel"
        name = place.name.removeprefix("albert.") if alone else place.name
        target = own if name.startswith(OWN_PREFIX) else published
        target[name] = place.to_theirs(value, heads)
    safetensors_files.write_safetensors(published, directory / WEIGHTS_FILE)
    if own:
        safetensors_files.write_safetensors(own, directory / OWN_WEIGHTS_FILE)
    values = published_configs.to_transformers(
        model.config, model.transformers_class, model.labels, model.problem
    )
    if tokenizer is not None and tokenizer.kind == "wordpiece":
        ids = (tokenizer.pad_id, tokenizer.cls_id, tokenizer.sep_id)
        values |= dict(zip(("pad_token_id", "bos_token_id", "eos_token_id"), ids, strict=True))
    whole_files.write_json(directory / CONFIG_FILE, values)
    notes = model.notes()
    if notes is not None:
        model_kinds.write_notes(directory, notes)
    if tokenizer is not None:
        if tokenizer.kind == "wordpiece":
            (directory / WORD_PIECES_FILE).write_bytes(tokenizer.vocabulary.vocab_txt)
            (directory / "tokenizer.json").write_bytes(tokenizer.model_bytes)
        else:
            (directory / VOCABULARY_FILE).write_bytes(tokenizer.model_bytes)
        whole_files.write_json(
            directory / TOKENIZER_FILE,
            published_configs.describe_tokenizer(tokenizer, model.config.max_position_embeddings),
        )
