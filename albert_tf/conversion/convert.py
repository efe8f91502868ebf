"""Other people's ALBERT to a model directory, and back to Google's form.

A source is opened whatever it is, its names are mapped onto one of our models, everything that
does not fit is listed, and what was written is read again and compared before it counts.
"""

import os
import pathlib
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from albert_tf import json_files, stop_signals, whole_files
from albert_tf.checkpoints import (
    model_directory,
    model_kinds,
    published_configs,
    weight_mapping,
)
from albert_tf.checkpoints.stored_tensors import CheckpointError
from albert_tf.config import AlbertConfig
from albert_tf.conversion import checkpoint_archives, companions, optimizer_slots, writing
from albert_tf.conversion.sources import Source, open_source
from albert_tf.model import language_models, task_models
from albert_tf.model.keras_model import AlbertTaskModel

# How the heads are asked for by name where the tensors alone do not tell.
HEADS = {
    "pretraining": language_models.AlbertForPretraining,
    "masked_lm": language_models.AlbertMaskedLM,
    "none": language_models.AlbertModel,
    "classification": task_models.AlbertClassifier,
    "regression": task_models.AlbertRegressor,
    "tokens": task_models.AlbertTokenClassifier,
    "choice": task_models.AlbertMultipleChoice,
    "span": task_models.AlbertSpanSelector,
    "answerability": task_models.AlbertAnswerabilitySelector,
}
_BY_ARCHITECTURE = {model.transformers_class: name for name, model in reversed(HEADS.items())}
# Counters and optimizers that SavedModels and training checkpoints hold beside the weights.
_NOT_WEIGHTS = (
    r"^global_step$",
    r"/(adam|lamb)_[mv]$",
    r"(^|/)save_counter$",
    r"^iterations?$",
    r"^albert\.embeddings\.(position_ids|token_type_ids)$",
)
# Where a span ends is scored for its best starts, which other weights put elsewhere.
_OF_STARTS = ("start_positions", "end_logits")
_MODULE = re.compile(r"\d+_[A-Z]\w*")  # 1_Pooling of a sentence-transformers model
# The heads of all layouts, which a source may have beside the one that was asked for by name.
_OTHER_HEADS = (
    *model_directory.NOT_OURS,
    r"^(cls|start_logits|end_logits|answer_class|mlm_head|logits)/",
    r"^output_(weights|bias)$",
)


# Mapping.


def choose_head(source: Source, head: str | None = None) -> str:
    """Returns the key of `HEADS` for a source: as asked for, as described, or as its names tell.

    Raises:
        CheckpointError: if the names fit several heads.
    """
    if head is not None:
        return head

    def has(path: str) -> bool:
        place = source.layout.place(path)
        return place is not None and place.name in source.tensors

    # AlbertModel says nothing: other programs, too, write heads of theirs beside it.
    architecture = None if source.architecture == "AlbertModel" else source.architecture
    is_number = len(source.labels or ()) == 1 and source.problem != published_configs.MULTI_LABEL
    if architecture == "AlbertForSequenceClassification" and is_number:
        return "regression"
    if architecture in _BY_ARCHITECTURE:
        return _BY_ARCHITECTURE[architecture]
    if has("classification_head/classifier/kernel"):
        raise CheckpointError(
            f"{source.path} has a head of which the names do not say what it is for: give "
            "`head=classification`, regression, tokens or choice"
        )
    if has("conditional_span_head/start/kernel"):
        return "answerability"
    if has("span_head/classifier/kernel"):
        return "span"
    if has("masked_lm_head/output_bias"):
        return "pretraining" if has("sentence_order_head/classifier/bias") else "masked_lm"
    return "none"


def build_model(
    source: Source,
    head: str,
    initialize_head: bool = False,
    regrouping: Mapping[str, Any] | None = None,
    other_heads: bool = False,
) -> AlbertTaskModel:
    """Returns a model with the weights of a source.

    Args:
        source: with a config.
        head: key of `HEADS`.
        initialize_head: whether the head starts untrained instead of being read.
        regrouping: arguments of `AlbertConfig.with_groups`.
        other_heads: whether the source may have heads that the model has not.

    Raises:
        CheckpointError: for what is missing, left over, misshapen or not finite, by name.
    """
    weight_mapping.check_sizes(source.config, source.tensors, source.layout, source.path)
    config = source.config.with_groups(**(regrouping or {}))
    model_class, layout = HEADS[head], source.layout
    pooler = layout.place("encoder/pooler/kernel").name in source.tensors
    settings = {}
    if model_class.labels is not None:
        settings["labels"] = source.labels or _count_labels(source, model_class)
    if model_class.reads_problem and not initialize_head:
        settings["multi_label"] = source.problem == published_configs.MULTI_LABEL
    model = model_class(config, pooler=pooler, **settings)
    weights = model.weights_by_path()
    tensors = source.tensors
    if initialize_head:
        parts = model.head_names if pooler else (*model.head_names, "encoder/pooler")
        if model.starts_missing_heads:
            parts = weight_mapping.missing_parts(parts, weights, layout, tensors)
        untrained = tuple(f"{part}/" for part in parts)
        head_paths = [path for path in weights if path.startswith(untrained)]
        for path in head_paths:
            del weights[path]
        unread = {layout.place(path).name for path in head_paths}
        tensors = {name: tensor for name, tensor in tensors.items() if name not in unread}
    fill_without_projection(source, weights)
    plan = weight_mapping.plan_loading(
        {path: tuple(variable.shape) for path, variable in weights.items()},
        tensors,
        layout,
        config,
        source.config.num_hidden_groups,
    )
    allowed = (*_NOT_WEIGHTS, *_OTHER_HEADS) if other_heads else _NOT_WEIGHTS
    plan.check(source.path, allow_left_over=allowed)
    weight_mapping.fill(weights, plan, source.path)
    return model


def fill_without_projection(source: Source, weights: dict[str, keras.Variable]) -> None:
    """Takes the projection out of `weights` where the source has none, and makes it the identity.

    The original has no projection where E = H. With the identity our model computes the same.
    """
    paths = [f"encoder/embedding_projection/{leaf}" for leaf in ("kernel", "bias")]
    config = source.config
    name = source.layout.place(paths[0]).name
    if config.embedding_size != config.hidden_size or name in source.tensors:
        return
    weights.pop(paths[0]).assign(np.eye(config.hidden_size, dtype=np.float32))
    weights.pop(paths[1]).assign(np.zeros(config.hidden_size, np.float32))


def _count_labels(source: Source, model_class: type[AlbertTaskModel]) -> list[str]:
    """Returns names for as many classes as the head in the file has."""
    path = f"{model_class.head_names[0]}/classifier/bias"
    place = source.layout.place(path)
    tensor = None if place is None else source.tensors.get(place.name)
    count = tensor.shape[0] if tensor is not None and len(tensor.shape) == 1 else 2
    return [f"LABEL_{index}" for index in range(count)]


# All of it.


def convert(
    source_path: str | os.PathLike,
    destination: str | os.PathLike,
    output_format: str = "transformers",
    *,
    head: str | None = None,
    initialize_head: bool = False,
    config: AlbertConfig | None = None,
    vocabulary: str | os.PathLike | None = None,
    lower_case: bool | None = None,
    strip_accents: bool | None = None,
    overwrite: bool = False,
    regrouping: Mapping[str, Any] | None = None,
    report: Callable[[str], object] = print,
) -> AlbertTaskModel:
    """Converts a checkpoint, reads the result again, and compares outputs before it appears.

    Args:
        source_path: anything that `open_source` opens, or a tar archive of it.
        destination: folder to write.
        output_format: one of `settings.FORMATS`.
        head: key of `HEADS`; None lets the source tell. Where it is given, other heads of the
            source are left out.
        initialize_head: whether the head starts untrained.
        config: for a source without one.
        vocabulary: a SentencePiece model or vocab.txt to go with it; None takes the source's.
        lower_case, strip_accents: how the vocabulary reads texts, where it does not bring that;
            None takes what the source says, or else true.
        overwrite: whether an existing `destination` is replaced.
        regrouping: arguments of `AlbertConfig.with_groups`.
        report: takes each line of what was found and done.

    Returns:
        The model.

    Raises:
        CheckpointError: for what does not fit; nothing is written then.
        FileExistsError: if `destination` exists and may not be replaced.
        ValueError: if it may, and is no folder with one model alone.
    """
    source_path, destination = pathlib.Path(source_path), pathlib.Path(destination)
    if destination.exists():
        if not overwrite:
            raise FileExistsError(f"{destination} exists already")
        _check_replaceable(destination)
    # The folder itself, not a link to it, and not one without a name, such as `.`.
    place = pathlib.Path(os.path.realpath(destination))
    with tempfile.TemporaryDirectory() as scratch:
        if source_path.is_file() and source_path.name.endswith((".tar.gz", ".tgz", ".tar")):
            source_path = _unpack(source_path, pathlib.Path(scratch) / "unpacked", report)
        source = open_source(source_path, config)
        report(f"found: {source.kind}, {len(source.tensors)} tensors")
        if source.config is None:
            raise CheckpointError(f"{source.path} has no config: give one with `config`")
        _find_vocabulary(source, vocabulary, (lower_case, strip_accents), scratch, report)
        has_head_name = head is not None
        head = choose_head(source, head)
        model = build_model(source, head, initialize_head, regrouping, has_head_name)
        report(
            f"mapped: {len(model.weights)} weights, {model.count_params():,} numbers, "
            f"head: {head}{' (untrained)' if initialize_head else ''}"
        )
        other_weights = initialize_head or regrouping or output_format == "int8"
        slots = {} if other_weights else optimizer_slots.read_slots(source, model)
        if slots:
            report(f"optimizer: slots of all weights, step {int(slots['step']):,}")
        elif optimizer_slots.has_slots(source):
            report("optimizer: left out, since its slots are not those of these weights")
        partial = place.with_name(f".{place.name}.unverified")
        shutil.rmtree(partial, ignore_errors=True)
        try:
            before = _outputs(model, head) if output_format == "int8" else {}
            writing.WRITERS[output_format](partial, model, source, slots)
            verify(partial, model, head)
            report("verified: the written files give the same outputs")
            if head == "answerability" and output_format != "tf1":
                _tell_of_threshold(partial, report)
            if before:
                differences = _differences(before, _outputs(model, head))
                worst = max(v for k, v in differences.items() if not k.startswith(_OF_STARTS))
                report(f"rounding to int8 moved an output by up to {worst:.2g}")
            # What a signal raises within a library, the library may lose.
            stop_signals.raise_if_requested()
            whole_files.replace_directory(place, partial)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    report(f"written: {destination}")
    return model


def _find_vocabulary(
    source: Source,
    vocabulary: str | os.PathLike | None,
    clean_up: tuple[bool | None, bool | None],
    scratch: str,
    report: Callable[[str], object],
) -> None:
    """Puts what was asked for beside the weights; says where what lies there does not fit."""
    beside, is_said = source.companions, clean_up != (None, None)
    if vocabulary is not None:
        companions.replace_vocabulary(beside, pathlib.Path(vocabulary), pathlib.Path(scratch))
    if is_said:
        companions.note_clean_up(beside, pathlib.Path(scratch), *clean_up)
    try:
        companions.check_vocabulary(beside, source.config.vocab_size)
    except ValueError as error:  # a `CheckpointError`, or of what is no vocabulary of ours at all
        if vocabulary is not None or is_said:
            raise
        report(f"Warning: the vocabulary goes along, but no text is read by it: {error}")


def _tell_of_threshold(folder: pathlib.Path, report: Callable[[str], object]) -> None:
    """Says so where nothing tells which questions have no answer."""
    if model_kinds.read_notes(folder).null_threshold is None:
        report(
            "no `null_threshold` is known, so every question gets an answer: run_finetuning "
            "--notrain --task=squad2 finds one on a dev set (`best_f1_threshold`), for task.json"
        )


def _check_replaceable(destination: pathlib.Path) -> None:
    """Refuses to replace what is more than a converted model, such as a run or several models."""
    found = sorted(destination.iterdir())
    configs = (published_configs.CONFIG_FILE, published_configs.GOOGLES_CONFIG_FILE)
    folders = [path.name for path in found if path.is_dir() and not _MODULE.fullmatch(path.name)]
    if folders or (found and not any(path.name in configs for path in found)):
        raise ValueError(
            f"`overwrite` replaces a folder with a model and no folders in it. Received: "
            f"{destination} with {json_files.listed(folders or [path.name for path in found])}"
        )


def _unpack(
    archive: pathlib.Path, destination: pathlib.Path, report: Callable[[str], object]
) -> pathlib.Path:
    """Unpacks an archive and returns the folder with the checkpoint in it."""
    files = checkpoint_archives.unpack_checkpoint(archive, destination)
    report(f"unpacked: {len(files)} files")
    folders = {path.parent for path in files if path.suffix in (".index", ".pb")}
    folders = {path.parent if path.name == "variables" else path for path in folders}
    if not folders:  # a model directory
        folders = {path.parent for path in files if path.name == published_configs.CONFIG_FILE}
    if len(folders) != 1:
        raise CheckpointError(
            f"{archive} must hold one checkpoint. Received: {sorted(map(str, folders))}"
        )
    return folders.pop()


def verify(directory: pathlib.Path, model: AlbertTaskModel, head: str) -> None:
    """Reads what was written and compares the outputs on fixed inputs.

    Raises:
        CheckpointError: if they differ in any bit.
    """
    again = build_model(open_source(directory), head)
    for name, worst in _differences(_outputs(model, head), _outputs(again, head)).items():
        if worst:
            raise CheckpointError(
                f"{directory}: the written files must give the outputs of the model. Received: "
                f"{name} that differs by up to {worst}"
            )


def _outputs(model: AlbertTaskModel, head: str) -> dict[str, np.ndarray]:
    """Returns {name: output} for the fixed inputs."""
    outputs = model(example_batch(model.config, choices=3 if head == "choice" else None))
    if not isinstance(outputs, dict):
        outputs = {"logits": outputs}
    return {name: np.asarray(output) for name, output in outputs.items()}


def _differences(outputs: dict[str, np.ndarray], others: dict[str, np.ndarray]) -> dict[str, float]:
    """Returns by how much each of them differs at most."""
    return {name: float(np.abs(outputs[name] - others[name]).max()) for name in outputs}


def example_batch(config: AlbertConfig, choices: int | None = None) -> dict[str, np.ndarray]:
    """Returns a fixed batch with padding and two segments, int32 [2, L] or [2, C, L]."""
    length = min(16, config.max_position_embeddings)
    shape = (2, length) if choices is None else (2, choices, length)
    generator = np.random.default_rng(0)
    batch = {
        "input_ids": generator.integers(0, config.vocab_size, shape).astype(np.int32),
        "input_mask": np.ones(shape, np.int32),
        "segment_ids": np.zeros(shape, np.int32),
        "masked_lm_positions": np.zeros((2, 1), np.int32),
    }
    batch["input_mask"][0, ..., length // 2 :] = 0
    batch["segment_ids"][1, ..., length // 2 :] = min(1, config.type_vocab_size - 1)
    return batch
