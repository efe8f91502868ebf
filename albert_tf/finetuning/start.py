"""What a fine-tuning run starts from: a model with weights, frozen parts and rates by layer."""

import hashlib
import os
import pathlib
import re
from collections.abc import Sequence

import keras

from albert_tf.checkpoints import model_directory, tokenizer_files, weight_mapping
from albert_tf.checkpoints.published_configs import find_config
from albert_tf.config import AlbertConfig
from albert_tf.finetuning.settings import RANDOM, StartSettings
from albert_tf.model import adapters, initial_attention
from albert_tf.model.keras_model import AlbertTaskModel
from albert_tf.pipelines.tokenizer.tokenization import Tokenizer
from albert_tf.tasks.table import Task


def find_tokenizer(settings: StartSettings) -> Tokenizer:
    """Returns the tokenizer that goes with the weights.

    Raises:
        ValueError: for settings that contradict each other, or an `init_checkpoint` that is no
            model directory.
    """
    if not settings.init_checkpoint:
        raise ValueError(
            "`init_checkpoint` must name a model directory, or be random to train from random "
            "weights. Received: nothing"
        )
    if settings.init_checkpoint == RANDOM:
        if not settings.config or not settings.vocab_model:
            raise ValueError(
                "`init_checkpoint=random` needs `config` and `vocab_model`. Received: "
                f"config={settings.config!r}, vocab_model={settings.vocab_model!r}"
            )
        if settings.max_position_embeddings:
            raise ValueError(
                "`max_position_embeddings` stretches the table of a checkpoint; with "
                "`init_checkpoint=random` `config` says the length. "
                f"Received: {settings.max_position_embeddings}"
            )
        return Tokenizer(settings.vocab_model)
    if settings.config or settings.vocab_model:
        raise ValueError(
            "`config` and `vocab_model` go with `init_checkpoint=random`; a model directory brings "
            f"its own. Received: config={settings.config!r}, vocab_model={settings.vocab_model!r}"
        )
    if settings.initial_attention != "random":
        raise ValueError(
            "`initial_attention` is for untrained weights: it goes with `init_checkpoint=random`. "
            f"Received: {settings.initial_attention!r} and {settings.init_checkpoint}"
        )
    folder = pathlib.Path(settings.init_checkpoint)
    if not (folder / model_directory.CONFIG_FILE).is_file():
        names = ", ".join(sorted(os.listdir(folder))[:8]) if folder.is_dir() else "no such folder"
        raise ValueError(
            f"`init_checkpoint` must be a model directory with {model_directory.CONFIG_FILE}; "
            "run_conversion makes one of Google's, KerasHub's and TF-Hub's files. Received: "
            f"{folder}, {names or 'empty'}"
        )
    return tokenizer_files.load_tokenizer(folder)


def digest_of_weights(directory: str) -> str:
    """Returns a digest of all weights of a model directory, by name and number."""
    tensors, _, _ = model_directory.open_weights(directory)
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode() + tensors[name].read().tobytes())
    return digest.hexdigest()[:32]


def make_model(
    settings: StartSettings, task: Task, tokenizer: Tokenizer, *, is_trained: bool
) -> AlbertTaskModel:
    """Returns the task's model as a run starts with it: parts frozen, adapters added.

    Args:
        settings: where the weights come from and which are trained.
        task: its labels are known by now.
        tokenizer: the model's.
        is_trained: or else only evaluated.

    Raises:
        ValueError, CheckpointError: for what does not fit together, by name.
    """
    arguments = {**task.model_arguments(), "dtype": settings.precision}
    has_several = arguments.get("multi_label", False)
    if not is_trained:
        arguments.pop("multi_label", None)  # as the directory says
    if settings.init_checkpoint == RANDOM:
        config = find_config(settings.config)
        config = config.with_dropout(settings.encoder_dropout, settings.classifier_dropout)
        model = task.model_class(config, **arguments)
        if settings.initial_attention == "pointed":
            initial_attention.point_heads(model.encoder)
    else:
        model = task.model_class.from_pretrained(
            settings.init_checkpoint,
            initialize_head=is_trained,
            encoder_dropout=settings.encoder_dropout,
            classifier_dropout=settings.classifier_dropout,
            max_position_embeddings=settings.max_position_embeddings,
            **arguments,
        )
    if getattr(model, "multi_label", False) != has_several:
        expected, there = "one class", "problem_type is multi_label_classification"
        if has_several:
            expected, there = "several labels", "problem_type is not multi_label_classification"
        raise ValueError(
            f"`init_checkpoint` must have {expected} a text for `task={task.name}`. Received: "
            f"{settings.init_checkpoint}, whose {there}"
        )
    if model.config.vocab_size != tokenizer.vocab_size:
        raise ValueError(
            f"the model's vocab_size must be that of the vocabulary, {tokenizer.vocab_size}. "
            f"Received: {model.config.vocab_size}. `config` takes a JSON file with that number, too"
        )
    if task.options.max_seq_length > model.config.max_position_embeddings:
        raise ValueError(
            "`max_seq_length` must not exceed the model's max_position_embeddings="
            f"{model.config.max_position_embeddings}. Received: {task.options.max_seq_length}. "
            "`max_position_embeddings` stretches a checkpoint's"
        )
    if not settings.lora_rank:
        if settings.lora_alpha is not None:
            raise ValueError(f"`lora_alpha` goes with `lora_rank`. Received: {settings.lora_alpha}")
        freeze(model, settings.frozen)
    elif settings.frozen:
        raise ValueError(
            "`frozen` must be empty with `lora_rank`, which leaves the encoder as it is. Received: "
            f"{','.join(settings.frozen)}"
        )
    elif is_trained:
        _add_adapters(model, settings)
    return model


def _add_adapters(model: AlbertTaskModel, settings: StartSettings) -> None:
    try:
        adapters.add_adapters(model, settings.lora_rank, settings.lora_alpha)
    except ValueError as error:
        raise ValueError(f"`lora_rank`: {error}") from error


def freeze(model: AlbertTaskModel, parts: Sequence[str]) -> None:
    """Takes the variables of the named parts out of training.

    Args:
        model: of any task.
        parts: of `encoder_parts(model)`.

    Raises:
        ValueError: for a part that the model does not have.
    """
    available = encoder_parts(model)
    for part in parts:
        if part not in available:
            raise ValueError(
                f"`frozen` must name some of {', '.join(available)}. Received: {part!r}"
            )
        for variable in available[part]:
            variable.trainable = False


def encoder_parts(model: AlbertTaskModel) -> dict[str, list[keras.Variable]]:
    """Returns {name: trainable variables} of what a run can name, from the bottom up.

    `embeddings` includes the projection, `group_0` is the block that all layers share (or, with
    several groups, that of the lowest layers), `encoder` all of these.
    """
    parts = {"embeddings": [], "encoder": []}
    for variable in model.trainable_variables:
        path = weight_mapping.relative_path(model, variable)
        if weight_mapping.is_of_encoder(path):
            parts["encoder"].append(variable)
        if path.startswith("encoder/embedding"):
            parts["embeddings"].append(variable)
        group = re.match(r"encoder/(group_\d+)/", path)
        if group:
            parts.setdefault(group.group(1), []).append(variable)
    return parts


def layer_rates(config: AlbertConfig, decay: float) -> dict[str, float]:
    """Returns the factors of the learning rate, smaller for what lies lower.

    Head and pooler have 1, the topmost group `decay`, the one below it `decay`², and so on, the
    embeddings with their projection one power more than the lowest group. ALBERT shares one block,
    so there are three levels unless the model has several groups.

    Args:
        config: of the model.
        decay: factor from one level to the next, in (0, 1]; 1 gives no factors.

    Returns:
        {regular expression: factor}, as `optimizers.AdamW` takes it.
    """
    if not 0 < decay <= 1:
        raise ValueError(f"`layer_decay` must lie in (0, 1]. Received: {decay}")
    if decay == 1:
        return {}
    groups = config.num_hidden_groups
    rates = {rf"/group_{group}/": decay ** (groups - group) for group in range(groups)}
    return rates | {r"encoder/embedding": decay ** (groups + 1)}
