"""The tokenizer of a model directory, from whichever of its files says what it is."""

import dataclasses
import os
import pathlib
from typing import Any

from albert_tf import json_files
from albert_tf.checkpoints import hub_files, published_configs, sentence_files
from albert_tf.checkpoints.stored_tensors import CheckpointError, check_folder
from albert_tf.pipelines.tokenizer import tokenizer_json, wordpiece_vocabulary
from albert_tf.pipelines.tokenizer.tokenization import Tokenizer

_ADDED_FILE = "added_tokens.json"


def load_vocabulary(path: str | os.PathLike) -> Tokenizer:
    """Returns the `Tokenizer` of one file, a SentencePiece model or a `vocab.txt`.

    Raises:
        CheckpointError: if it is neither.
    """
    try:
        return Tokenizer(os.fspath(path))
    except ValueError as error:
        raise CheckpointError(str(error)) from error


def load_tokenizer(
    directory: str | os.PathLike,
    *,
    revision: str | None = None,
    cache_dir: str | os.PathLike | None = None,
    local_files_only: bool = False,
) -> Tokenizer:
    """Returns the `Tokenizer` of a model directory, of ours or of transformers.

    Args:
        directory: or a name on the Hugging Face hub, of which the weights are not downloaded.
        revision, cache_dir, local_files_only: of a name, as of the models' `from_pretrained`.

    Raises:
        CheckpointError: if it holds no vocabulary, or is no folder.
    """
    directory = hub_files.find_directory(
        directory,
        revision=revision,
        cache_dir=cache_dir,
        local_files_only=local_files_only,
        with_weights=False,
    )
    check_folder(directory)
    directory = pathlib.Path(sentence_files.model_folder(directory))
    tokenizer = _load(directory)
    _check_added(directory, tokenizer.vocab_size)
    return tokenizer


def _check_added(directory: pathlib.Path, size: int) -> None:
    """Refuses tokens that transformers was told to add behind the vocabulary: we would split them.

    Raises:
        CheckpointError: naming the file and the tokens.
    """
    names = [_ADDED_FILE, published_configs.TOKENIZER_FILE]
    if not (directory / published_configs.VOCABULARY_FILE).is_file():
        names.append("tokenizer.json")
    for path in (directory / name for name in names):
        values = published_configs.read_json(path) if path.is_file() else {}
        try:
            beyond = [token for token, index in _added_tokens(path.name, values) if index >= size]
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{path} must have ids of its added tokens: {error}") from error
        if beyond:
            raise CheckpointError(
                f"{path} must add no tokens to the {size:,} of the vocabulary, which is not "
                f"supported. Received: {json_files.listed(beyond)}"
            )


def _added_tokens(name: str, values: dict[str, Any]) -> list[tuple[str, int]]:
    """Returns (token, its id) of what a file adds."""
    if name == _ADDED_FILE:
        return list(values.items())
    if name == published_configs.TOKENIZER_FILE:
        tokens = values.get("added_tokens_decoder") or {}
        return [(token["content"], int(index)) for index, token in tokens.items()]
    return [(token["content"], token["id"]) for token in values.get("added_tokens") or ()]


def _load(directory: pathlib.Path) -> Tokenizer:
    config = directory / published_configs.TOKENIZER_FILE
    path = directory / published_configs.VOCABULARY_FILE
    described = directory / "tokenizer.json"
    word_pieces = directory / published_configs.WORD_PIECES_FILE
    settings = {}
    if path.is_file() or (described.is_file() and not tokenizer_json.has_word_pieces(described)):
        if config.is_file():
            settings = published_configs.read_tokenizer(config)
        if path.is_file():
            return Tokenizer(path, **settings)
        said = {name: value for name, value in settings.items() if value is not None}
        return Tokenizer.from_model_bytes(
            tokenizer_json.sentencepiece_model(described),
            **(tokenizer_json.clean_up_of(described) | said),
        )
    if config.is_file():
        settings = published_configs.read_word_piece_options(config)
    if described.is_file():
        values = json_files.read_object(described)
        vocabulary = wordpiece_vocabulary.from_tokenizer_json(values, os.fspath(described))
        said = {name: value for name, value in settings.items() if value is not None}
        if values["normalizer"].get("strip_accents") is None and "lower_case" in said:
            said.setdefault("strip_accents", said["lower_case"])  # as transformers resolves it
        return Tokenizer.from_word_pieces(dataclasses.replace(vocabulary, **said))
    if word_pieces.is_file():
        vocabulary = wordpiece_vocabulary.from_vocab_txt(
            word_pieces.read_bytes(), os.fspath(word_pieces), **settings
        )
        return Tokenizer.from_word_pieces(vocabulary)
    raise CheckpointError(
        f"{directory} must hold the vocabulary {path.name} or {word_pieces.name}. "
        "Received: no such file; save_pretrained(directory, tokenizer) writes it, and "
        "run_conversion makes a model directory of Google's, KerasHub's and TF-Hub's files"
    )
