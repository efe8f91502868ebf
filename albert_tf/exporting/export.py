"""Model directory -> SavedModel that takes raw text, checked before anyone sees it.

The folder of an export is laid out as TensorFlow Serving watches it: `output/<version>/`, each
version whole from the moment on that it has its name.
"""

import json
import os
import pathlib
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from albert_tf import stop_signals, tensorflow_needs, tensorflow_writes, whole_files
from albert_tf.checkpoints import model_kinds
from albert_tf.checkpoints.stored_tensors import CheckpointError
from albert_tf.checkpoints.tokenizer_files import load_tokenizer
from albert_tf.exporting import check, graph_ids, portable_files, sheet
from albert_tf.exporting.exported_weights import DTYPE_POLICIES, ExportedWeights, round_weights
from albert_tf.exporting.settings import FILES
from albert_tf.exporting.settings import ExportSettings as ExportSettings
from albert_tf.exporting.signatures import FillMaskSignatures, LoadedModel, Signature
from albert_tf.exporting.task_signatures import (
    AnswerSignatures,
    ChoiceSignatures,
    EmbeddingSignatures,
    TagSignatures,
)
from albert_tf.exporting.text_signatures import ClassSignatures, NumberSignatures
from albert_tf.inference.table import MODELS
from albert_tf.model.language_models import AlbertEmbedder, AlbertMaskedLM
from albert_tf.quiet_tensorflow import quiet_libraries
from albert_tf.serving.settings import LAST_VERSION

SHEET_FILE = "signatures.json"
READABLE_SHEET_FILE = "signatures.md"
# For clients that tokenize themselves; the clean-up of text is built into it.
# What a client makes ids with, by the kind of the vocabulary.
TOKENIZER_FILES = {
    "sentencepiece": "assets.extra/spiece.model",
    "wordpiece": "assets.extra/tokenizer.json",
}

# Fewer hold no question, option and passage.
_FEWEST_TOKENS = 8

# What is exported of a model, by what it is for.
SIGNATURES = {
    "fill_mask": FillMaskSignatures,
    "classification": ClassSignatures,
    "regression": NumberSignatures,
    "tagging": TagSignatures,
    "answer": AnswerSignatures,
    "choice": ChoiceSignatures,
    "embedding": EmbeddingSignatures,
}


def load(model_dir: str | os.PathLike, settings: ExportSettings) -> LoadedModel:
    """Returns the `LoadedModel` of a directory.

    Raises:
        CheckpointError: if the directory is not whole, or its pieces do not fit.
        ValueError: if `top_k` exceeds the vocabulary.
    """
    kind = settings.kind or model_kinds.read_kind(model_dir)
    notes = model_kinds.read_notes(model_dir, kind)
    text_model_class = MODELS[kind]
    dtype = DTYPE_POLICIES[settings.precision]
    tokenizer = load_tokenizer(model_dir)
    model_class = text_model_class.find_model_class(model_dir)
    # For `features`; the task itself can do without the pooler.
    more = {"pooler": True} if model_class is AlbertMaskedLM else {}
    model = model_class.from_pretrained(model_dir, dtype=dtype, **more)
    if model.config.vocab_size != tokenizer.vocab_size:
        raise CheckpointError(
            f"{model_dir}: the vocabulary must have vocab_size={model.config.vocab_size} pieces. "
            f"Received: {tokenizer.vocab_size}"
        )
    if settings.top_k > tokenizer.vocab_size:
        raise ValueError(
            f"`top_k` must lie in 1..{tokenizer.vocab_size}. Received: {settings.top_k}"
        )
    if settings.precision == "int8":
        round_weights(model)
    weights = ExportedWeights(model, settings.precision)
    signatures = SIGNATURES[kind](
        model, tokenizer, weights, notes, settings.rows_at_a_time, settings.top_k
    )
    if signatures.notes.max_seq_length < _FEWEST_TOKENS:
        raise CheckpointError(
            f"{model_dir}: the model must read at least {_FEWEST_TOKENS} tokens, by "
            f"max_position_embeddings and max_seq_length of {model_kinds.TASK_FILE}. "
            f"Received: {signatures.notes.max_seq_length}"
        )
    return LoadedModel(
        kind=kind,
        in_process=text_model_class(model, tokenizer, **text_model_class.read_settings(model_dir)),
        signatures=signatures,
        weights=weights,
        settings=settings,
    )


def export(
    model_dir: str | os.PathLike,
    output: str | os.PathLike,
    settings: ExportSettings | None = None,
    quality: Callable[[LoadedModel], dict[str, Any]] | None = None,
    report: Callable[[str], None] = print,
) -> pathlib.Path:
    """Writes the next version of a served model.

    Args:
        model_dir: model directory, of ours or of transformers.
        output: folder of versions; made if it is not there.
        settings: how; by default those of `ExportSettings`.
        quality: returns what the sheet says of the model's quality; not measured by default.
        report: takes each line of progress.

    Returns:
        The path of the new version.

    Raises:
        CheckpointError: for what is wrong with `model_dir`.
        ExportError: if what was written does not answer as the model in this process does; nothing
            is published then.
        FolderInUseError: if another process exports to `output`.
        OSError: where `output` cannot be written.
    """
    tensorflow_needs.check_backend("exporting")
    settings = settings or ExportSettings()
    with whole_files.only_run_in(output):
        whole_files.remove_partials(output)
        return _export_alone(load(model_dir, settings), model_dir, output, quality, report)


def _export_alone(
    loaded: LoadedModel,
    model_dir: str | os.PathLike,
    output: str | os.PathLike,
    quality: Callable[[LoadedModel], dict[str, Any]] | None,
    report: Callable[[str], None],
) -> pathlib.Path:
    version = next_version(output)
    with whole_files.whole_directory(version) as partial:
        signatures = loaded.signatures.all()
        output_specs = write_saved_model(loaded, signatures, partial)
        report(f"written: {len(signatures)} signatures; checking them in a new process")
        answers = check.check(loaded, signatures, partial)
        scores = quality(loaded) if quality else None
        files = _write_files(loaded, model_dir, partial, report)
        content = sheet.describe(loaded, signatures, output_specs, answers, scores, files)
        text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        (partial / SHEET_FILE).write_text(text, encoding="utf-8")
        readable = sheet.as_markdown(content)
        (partial / READABLE_SHEET_FILE).write_text(readable, encoding="utf-8")
        with tensorflow_writes.errors_name(partial):
            sheet.write_warm_up(partial, signatures)
        tokenizer = loaded.in_process.tokenizer
        (partial / TOKENIZER_FILES[tokenizer.kind]).write_bytes(tokenizer.model_bytes)
        # What a signal raises within a library, the library may lose.
        stop_signals.raise_if_requested()
    report(f"published: {version}")
    return version


def _write_files(
    loaded: LoadedModel,
    model_dir: str | os.PathLike,
    folder: pathlib.Path,
    report: Callable[[str], None],
) -> list[dict[str, Any]]:
    """Writes the files that were asked for beside the SavedModel; returns what the sheet says."""
    descriptions, model = [], loaded.in_process.model
    if loaded.settings.also and loaded.kind == "embedding":
        model = AlbertEmbedder.from_pretrained(model_dir)  # which pools
    elif loaded.settings.also and loaded.settings.precision != "float32":
        model = type(model).from_pretrained(model_dir)
    for name in loaded.settings.also:
        form, precision = FILES[name]
        path = folder / f"{name}{portable_files.FORMATS[form][2]}"
        description = portable_files.write_and_check(form, model, path, precision)
        descriptions.append(description)
        report(f"written: {path.name}, {description['bytes']:,} bytes")
    return descriptions


def next_version(output: str | os.PathLike) -> pathlib.Path:
    """Returns the path of the version after the newest in a folder; the first is 1."""
    output = pathlib.Path(output)
    versions = [0]
    if output.is_dir():
        numbers = [int(path.name) for path in output.iterdir() if path.name.isdecimal()]
        versions += [number for number in numbers if number < LAST_VERSION]
    return output / str(max(versions) + 1)


def write_saved_model(
    loaded: LoadedModel, signatures: dict[str, Signature], folder: pathlib.Path
) -> dict[str, dict[str, tf.TensorSpec]]:
    """Writes the SavedModel; the first signature is `serving_default`, too.

    Returns:
        {signature name: {output: TensorSpec}}.
    """
    module = tf.Module()
    module.tokenizer = loaded.signatures.tokenizer
    module.weights = loaded.weights.stored
    functions = {}
    for name, signature in signatures.items():
        specs = {
            n: tf.TensorSpec(spec.shape, spec.dtype, name=n) for n, spec in signature.inputs.items()
        }
        functions[name] = tf.function(
            _by_keyword(signature.function), autograph=False
        ).get_concrete_function(**specs)
    output_specs = {name: function.structured_outputs for name, function in functions.items()}
    functions[tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY] = next(iter(functions.values()))
    with quiet_libraries(), tensorflow_writes.errors_name(folder):
        tf.saved_model.save(module, str(folder), signatures=functions)
    return output_specs


def _by_keyword(
    function: Callable[..., dict[str, tf.Tensor]],
) -> Callable[..., dict[str, tf.Tensor]]:
    return lambda **inputs: function(**graph_ids.check_rows(inputs))
