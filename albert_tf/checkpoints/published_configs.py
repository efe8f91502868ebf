"""The `config.json` of other people: of `transformers`, of Google's checkpoints, of KerasHub.

Keys are data from strangers: those that describe the architecture are translated, those known to
change nothing here are passed over, and any other is refused by name, because what it asks for
would silently not happen.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from albert_tf import json_files
from albert_tf.checkpoints.stored_tensors import CheckpointError
from albert_tf.config import AlbertConfig, preset_names

if TYPE_CHECKING:
    from albert_tf.pipelines.tokenizer.tokenization import Tokenizer

# The files of a model directory.
CONFIG_FILE = "config.json"
VOCABULARY_FILE = "spiece.model"
WORD_PIECES_FILE = "vocab.txt"
ADDED_TOKENS_FILE = "added_tokens.json"
# The files that a tokenizer may come from.
VOCABULARY_FILES = ("tokenizer.json", WORD_PIECES_FILE, VOCABULARY_FILE)
TOKENIZER_FILE = "tokenizer_config.json"
WEIGHTS_FILE = "model.safetensors"
# Of whole numbers, which only we read: under another name, so that nobody takes them for weights.
INT8_WEIGHTS_FILE = "model.int8.safetensors"
# What weights lie in, the newest form first; an index names several files.
WEIGHT_FILES = (
    *(WEIGHTS_FILE, f"{WEIGHTS_FILE}.index.json", INT8_WEIGHTS_FILE),
    *("pytorch_model.bin", "pytorch_model.bin.index.json", "tf_model.h5"),
)
# Weights that transformers has no name for, under our own paths.
OWN_WEIGHTS_FILE = "albert_tf_head.safetensors"
# What it says beside the architecture, so that transformers knows what to build.
_WRITTEN = {
    "model_type": "albert",
    "pad_token_id": 0,
    "bos_token_id": 2,
    "eos_token_id": 3,
    "tie_word_embeddings": True,
}
# Keys of transformers, 3.x to 5.x, that say nothing about the computation of an encoder: how it was
# made, what generation would do, which framework's habits to follow.
_PASSED_OVER = frozenset(
    "architectures model_type transformers_version _name_or_path name_or_path torch_dtype dtype"
    " pad_token_id bos_token_id eos_token_id sep_token_id decoder_start_token_id mask_token_id"
    " tie_word_embeddings id2label label2id num_labels _num_labels problem_type finetuning_task"
    " task_specific_params output_attentions output_hidden_states output_past output_scores"
    " return_dict return_dict_in_generate use_return_dict use_cache use_bfloat16 torchscript"
    " tokenizer_class prefix max_length min_length do_sample early_stopping num_beams"
    " num_beam_groups diversity_penalty temperature top_k top_p typical_p repetition_penalty"
    " length_penalty no_repeat_ngram_size encoder_no_repeat_ngram_size bad_words_ids"
    " num_return_sequences forced_bos_token_id forced_eos_token_id remove_invalid_values"
    " exponential_decay_length_penalty suppress_tokens begin_suppress_tokens tf_legacy_loss"
    " chunk_size_feed_forward is_encoder_decoder tie_encoder_decoder xla_device _commit_hash"
    " attn_implementation _attn_implementation _attn_implementation_autoset eos_token_ids"
    " gradient_checkpointing use_auth_token language directionality pooler_type pooler_fc_size"
    # Of Google's files, and as transformers converted them; unused there too.
    " pooler_num_attention_heads pooler_num_fc_layers pooler_size_per_head down_scale_factor"
    " net_structure_type gap_size num_memory_blocks layers_to_keep".split()
)
# Keys that would change the computation, with the only value that is supported.
_ONLY_VALUE = {
    "position_embedding_type": "absolute",
    "is_decoder": False,
    "add_cross_attention": False,
    "cross_attention_hidden_size": None,
    "pruned_heads": {},
}
# Of Google's files; the keys are read by nothing, and only such files have them.
GOOGLES_CONFIG_FILE = "albert_config.json"
UNUSED_OF_GOOGLE = {
    "net_structure_type": 0,
    "gap_size": 0,
    "num_memory_blocks": 0,
    "down_scale_factor": 1,
}
_MOST_LABELS = 1_000_000
REGRESSION = "regression"
MULTI_LABEL = "multi_label_classification"
_PROBLEM_TYPES = (REGRESSION, "single_label_classification", MULTI_LABEL)
_ACTIVATIONS = {"gelu_pytorch_tanh": "gelu_new", "gelu_fast": "gelu_new"}


def read_json(path: str | os.PathLike) -> dict[str, Any]:
    """Returns the object that a JSON file holds.

    Raises:
        CheckpointError: if it is missing or holds something else.
    """
    try:
        return json_files.read_object(path)
    except json_files.JsonError as error:
        raise CheckpointError(str(error)) from error


def find_config(name: str) -> AlbertConfig:
    """Returns the architecture that a command line names: a preset or a JSON file.

    A file may be one of ours or a `config.json` of transformers, Google or KerasHub.

    Raises:
        ValueError: if it is neither; the message lists the presets.
        CheckpointError: for a file that describes no ALBERT.
    """
    if name in preset_names():
        return AlbertConfig.from_preset(name)
    if not os.path.isfile(name):
        raise ValueError(
            f"`config` must be a JSON file or one of the presets {', '.join(preset_names())}. "
            f"Received: {name!r}"
        )
    values = read_json(name)
    if "class_name" in values:
        return from_keras_hub(values, name)
    if "model_type" in values or "architectures" in values:
        return from_transformers(values, name)
    is_named_so = os.path.basename(name) == GOOGLES_CONFIG_FILE and "layer_norm_eps" not in values
    if is_named_so or values.keys() & UNUSED_OF_GOOGLE:
        return from_google(values, name)
    return _make_config(values, name)


def from_transformers(values: dict[str, Any], source: str) -> AlbertConfig:
    """Returns the `AlbertConfig` of a `config.json` of transformers, or of ours.

    Args:
        values: the object in the file.
        source: its name, for messages.

    Raises:
        CheckpointError: for another kind of model or a key that is not known.
    """
    if values.get("model_type", "albert") != "albert":
        raise CheckpointError(
            f"{source} must describe an ALBERT model. Received: model_type={values['model_type']!r}"
        )
    for key, only in _ONLY_VALUE.items():
        if key in values and values[key] != only:
            raise CheckpointError(
                f"{source}: `{key}` must be {only!r}, nothing else is supported. "
                f"Received: {values[key]!r}"
            )
    _check_heads(values, source)
    passed_over = _PASSED_OVER | _ONLY_VALUE.keys()
    architecture = {key: value for key, value in values.items() if key not in passed_over}
    if architecture.get("classifier_dropout_prob", 0.0) is None:
        del architecture["classifier_dropout_prob"]
    activation = architecture.get("hidden_act")
    if isinstance(activation, str):
        architecture["hidden_act"] = _ACTIVATIONS.get(activation, activation)
    return _make_config(architecture, source)


def _check_heads(values: dict[str, Any], source: str) -> None:
    """Refuses a config without what no weights tell: they fit any number of heads and layers."""
    for name in ("num_attention_heads", "num_hidden_layers"):
        if name not in values:
            raise CheckpointError(
                f"{source} must have `{name}`. Received: {json_files.listed(values)}"
            )


def architectures_of(values: dict[str, Any], source: str) -> list[str]:
    """Returns the names of the classes of transformers that a file is for, which may be none.

    Raises:
        CheckpointError: if they are no list of names.
    """
    names = values.get("architectures")
    if names is None:
        return []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise CheckpointError(
            f"{source}: `architectures` must be a list of texts. "
            f"Received: {json_files.shorten(names)}"
        )
    return names


def labels_of(values: dict[str, Any], source: str) -> list[str] | None:
    """Returns the names of the classes in order, or None where the file has none.

    Raises:
        CheckpointError: if they are not numbered from 0.
    """
    names = values.get("id2label")
    if names is None:
        count = values.get("num_labels", values.get("_num_labels"))
        if count is None:
            return None
        if type(count) is not int or not 1 <= count <= _MOST_LABELS:
            raise CheckpointError(
                f"{source}: `num_labels` must be a whole number from 1 to {_MOST_LABELS:,}. "
                f"Received: {json_files.shorten(count)}"
            )
        return [f"LABEL_{index}" for index in range(count)]
    try:
        numbered = {int(index): str(name) for index, name in names.items()}
        return [numbered[index] for index in range(len(numbered))]
    except (AttributeError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"{source}: `id2label` must number the classes from 0. Received: {names!r:.200}"
        ) from error


def problem_of(values: dict[str, Any], source: str) -> str | None:
    """Returns the `problem_type` of a file: what the outputs of a head for texts mean, or None.

    Raises:
        CheckpointError: if it is none that we know, or asks for several numbers a text.
    """
    problem = values.get("problem_type")
    if problem is not None and problem not in _PROBLEM_TYPES:
        raise CheckpointError(
            f"{source}: `problem_type` must be one of {', '.join(_PROBLEM_TYPES)}, or null. "
            f"Received: {json_files.shorten(problem)}"
        )
    count = len(labels_of(values, source) or [None])
    if problem == REGRESSION and count != 1:
        raise CheckpointError(
            f"{source}: `problem_type` regression must go with one output, several numbers a text "
            f"are not supported. Received: {count} labels"
        )
    return problem


def is_regression(values: dict[str, Any], source: str) -> bool:
    """Returns whether a head for texts gives a number: it has one output that is no label."""
    problem = problem_of(values, source)
    return problem == REGRESSION or (
        problem != MULTI_LABEL and len(labels_of(values, source) or "two") == 1
    )


def to_transformers(
    config: AlbertConfig,
    architecture: str,
    labels: Sequence[str] | None = None,
    problem: str | None = None,
) -> dict[str, Any]:
    """Returns the object for a `config.json` that transformers and we read.

    Args:
        config: of the model.
        architecture: name of the class of transformers with these weights.
        labels: names of the classes, where the model has any.
        problem: `problem_type`, where the architecture alone does not say it.
    """
    values = {"architectures": [architecture], **_WRITTEN, **config.to_dict()}
    if problem == REGRESSION:
        labels = ["LABEL_0"]  # or transformers takes it for two classes
    if problem is not None:
        values["problem_type"] = problem
    if labels is not None:
        values["id2label"] = {str(index): name for index, name in enumerate(labels)}
        values["label2id"] = {name: index for index, name in enumerate(labels)}
    return values


def from_google(values: dict[str, Any], source: str) -> AlbertConfig:
    """Returns the `AlbertConfig` of an `albert_config.json` of Google's TensorFlow 1 files.

    There "gelu" means the tanh form, which is all that the original code has.
    """
    _check_heads(values, source)
    values = {key: value for key, value in values.items() if key not in _PASSED_OVER}
    if values.get("hidden_act") == "gelu":
        values["hidden_act"] = "gelu_new"
    return _make_config(values, source)


def from_keras_hub(values: dict[str, Any], source: str) -> AlbertConfig:
    """Returns the `AlbertConfig` of the `config.json` of a KerasHub preset."""
    if values.get("class_name") not in ("AlbertBackbone", "AlbertMaskedLM", "AlbertTextClassifier"):
        raise CheckpointError(
            f"{source} must describe a KerasHub ALBERT. Received: class_name="
            f"{values.get('class_name')!r}"
        )
    backbone = values.get("config")
    if isinstance(backbone, dict) and isinstance(backbone.get("backbone"), dict):
        backbone = backbone["backbone"].get("config")
    if not isinstance(backbone, dict):
        raise CheckpointError(f"{source} must hold a `config`. Received: {backbone!r:.80}")
    names = {
        "vocabulary_size": "vocab_size",
        "num_layers": "num_hidden_layers",
        "num_heads": "num_attention_heads",
        "embedding_dim": "embedding_size",
        "hidden_dim": "hidden_size",
        "intermediate_dim": "intermediate_size",
        "num_groups": "num_hidden_groups",
        "num_inner_repetitions": "inner_group_num",
        "max_sequence_length": "max_position_embeddings",
        "num_segments": "type_vocab_size",
    }
    for name in names:
        value = backbone.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise CheckpointError(
                f"{source}: `config` must have `{name}`, a positive whole number. "
                f"Received: {json_files.shorten(value)}"
            )
    if backbone["num_layers"] % backbone["num_groups"]:
        raise CheckpointError(
            f"{source}: `num_layers` must be divisible by `num_groups`, or KerasHub leaves layers "
            f"out. Received: {backbone['num_layers']} and {backbone['num_groups']}"
        )
    translated = {ours: backbone[theirs] for theirs, ours in names.items()}
    dropout = backbone.get("dropout", 0.0)
    return _make_config(
        {
            **translated,
            "hidden_dropout_prob": dropout,
            "attention_probs_dropout_prob": dropout,
            "hidden_act": "gelu_new",
        },
        source,
    )


def _make_config(values: dict[str, Any], source: str) -> AlbertConfig:
    try:
        return AlbertConfig.from_dict(values, source="the object")
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"{source}: {error}") from error


def describe_tokenizer(tokenizer: Tokenizer, max_length: int) -> dict[str, Any]:
    """Returns the object for the `tokenizer_config.json` of transformers."""
    if tokenizer.kind == "wordpiece":
        return {
            "tokenizer_class": "BertTokenizer",
            "do_lower_case": tokenizer.lower_case,
            "strip_accents": tokenizer.strip_accents,
            "tokenize_chinese_chars": tokenizer.vocabulary.split_chinese,
            "unk_token": "[UNK]",
            "sep_token": "[SEP]",
            "pad_token": "[PAD]",
            "cls_token": "[CLS]",
            "mask_token": "[MASK]",
            "model_max_length": max_length,
        }
    return {
        "tokenizer_class": "AlbertTokenizer",
        "do_lower_case": tokenizer.lower_case,
        "keep_accents": not tokenizer.strip_accents,
        "remove_space": True,
        "bos_token": "[CLS]",
        "eos_token": "[SEP]",
        "unk_token": "<unk>",
        "sep_token": "[SEP]",
        "pad_token": "<pad>",
        "cls_token": "[CLS]",
        "mask_token": "[MASK]",
        "model_max_length": max_length,
    }
