"""The tokenizer of a model directory, from whichever of its files says what it is."""

import dataclasses
import json
import os
import pathlib
from collections.abc import Sequence
from typing import Any

from albert_tf import json_files
from albert_tf.checkpoints import hub_files, published_configs, sentence_files
from albert_tf.checkpoints.stored_tensors import CheckpointError, check_folder
from albert_tf.pipelines.tokenizer import model_proto, tokenizer_json, wordpiece_vocabulary
from albert_tf.pipelines.tokenizer.tokenization import Tokenizer

# Of transformers 3.x to 5.x, with or without "Fast"; the last two do what `tokenizer.json` says.
_CLASSES = ("AlbertTokenizer", "BertTokenizer", "PreTrainedTokenizer", "TokenizersBackend")
# What would change how texts are cut, with the only value that is supported.
_ONLY_VALUE = {"do_basic_tokenize": True, "remove_space": True, "never_split": None}


def load_vocabulary(path: str | os.PathLike, config: str | os.PathLike | None = None) -> Tokenizer:
    """Returns the `Tokenizer` of one file, a SentencePiece model or a `vocab.txt`.

    Args:
        path: the file.
        config: the `tokenizer_config.json` that says how it reads capitals and accents.

    Raises:
        CheckpointError: if it is neither, or has another clean-up built in.
    """
    read = _read_word_piece_options if os.fspath(path).endswith(".txt") else _read_options
    options = {} if config is None else read(config)
    options.pop("split_chinese", None)  # which tells nothing of the file
    try:
        return Tokenizer(os.fspath(path), **options)
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
    _check_class(directory)
    tokenizer = _load(directory)
    _check_added(directory, tokenizer)
    return tokenizer


def _check_class(directory: pathlib.Path) -> None:
    """Refuses what cuts texts otherwise than the tokenizers of ALBERT and BERT, by its config.

    Raises:
        CheckpointError: naming the file and what it asks for.
    """
    path = directory / published_configs.TOKENIZER_FILE
    values = published_configs.read_json(path) if path.is_file() else {}
    name = values.get("tokenizer_class") or _CLASSES[0]
    if not isinstance(name, str) or name.removesuffix("Fast") not in _CLASSES:
        raise CheckpointError(
            f"{path}: `tokenizer_class` must be one of {', '.join(_CLASSES)}, or its rules would "
            f"be passed over. Received: {json_files.shorten(name)}"
        )
    for name, only in _ONLY_VALUE.items():
        if values.get(name) not in (None, [], only):
            raise CheckpointError(
                f"{path}: `{name}` must be {json.dumps(only)} or left out. "
                f"Received: {json_files.shorten(values[name])}"
            )


def _check_added(directory: pathlib.Path, tokenizer: Tokenizer) -> None:
    """Refuses tokens that transformers was told to take as they stand, where we would split them.

    Raises:
        CheckpointError: naming the file and the tokens.
    """
    names = [published_configs.ADDED_TOKENS_FILE, published_configs.TOKENIZER_FILE]
    if not (directory / published_configs.VOCABULARY_FILE).is_file():
        names.append("tokenizer.json")
    for path in (directory / name for name in names):
        values = published_configs.read_json(path) if path.is_file() else {}
        try:
            added = _added_tokens(path.name, values)
            beyond = [token for token, index in added if index >= tokenizer.vocab_size]
            within = [(token, index) for token, index in added if index < tokenizer.vocab_size]
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{path} must have ids of its added tokens: {error}") from error
        if beyond:
            raise CheckpointError(
                f"{path} must add no tokens to the {tokenizer.vocab_size:,} of the vocabulary, "
                f"which is not supported. Received: {json_files.listed(beyond)}"
            )
        if split := [token for token, index in within if _is_split(tokenizer, token, index)]:
            raise CheckpointError(
                f"{path} must take no pieces of the vocabulary as they stand but those that "
                f"always are, which is not supported. Received: {json_files.listed(split)}"
            )


def _is_split(tokenizer: Tokenizer, token: str, index: int) -> bool:
    """Tells whether texts have another id for a token than the one that stands in a file."""
    return index not in (*_ids_of_no_text(tokenizer), *tokenizer.encode(token))


def _ids_of_no_text(tokenizer: Tokenizer) -> list[int]:
    """Returns the ids of pieces such as `[CLS]`, which are not looked for in texts."""
    if tokenizer.kind == "wordpiece":
        return [getattr(tokenizer, f"{name}_id") for name in ("pad", "unk", "cls", "sep", "mask")]
    pieces = model_proto.ModelProto.FromString(tokenizer.model_bytes).pieces
    no_text = (model_proto.SentencePiece.CONTROL, model_proto.SentencePiece.UNKNOWN)
    return [index for index, piece in enumerate(pieces) if piece.type in no_text]


def _added_tokens(name: str, values: dict[str, Any]) -> list[tuple[str, int]]:
    """Returns (token, its id) of what a file adds."""
    if name == published_configs.ADDED_TOKENS_FILE:
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
            settings = _read_options(config)
        if path.is_file():
            return Tokenizer(path, **settings)
        said = {name: value for name, value in settings.items() if value is not None}
        return Tokenizer.from_model_bytes(
            tokenizer_json.sentencepiece_model(described),
            **(tokenizer_json.clean_up_of(described) | said),
        )
    if config.is_file():
        settings = _read_word_piece_options(config)
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


def _read_options(path: str | os.PathLike) -> dict[str, bool | None]:
    """Returns `lower_case` and `strip_accents` of a `tokenizer_config.json`, None where not said.

    Raises:
        CheckpointError: for what is neither true nor false: "False" in quotes would be taken as
            true.
    """
    lower_case, keep_accents = _read_flags(path, ("do_lower_case", "keep_accents"))
    strip_accents = None if keep_accents is None else not keep_accents
    return {"lower_case": lower_case, "strip_accents": strip_accents}


def _read_word_piece_options(path: str | os.PathLike) -> dict[str, bool | None]:
    """Returns the options of a WordPiece vocabulary that a `tokenizer_config.json` says, or None.

    Raises:
        CheckpointError: as `_read_options`.
    """
    names = ("do_lower_case", "strip_accents", "tokenize_chinese_chars")
    lower_case, strip_accents, split_chinese = _read_flags(path, names)
    return {
        "lower_case": lower_case,
        "strip_accents": strip_accents,
        "split_chinese": split_chinese,
    }


def _read_flags(path: str | os.PathLike, names: Sequence[str]) -> list[bool | None]:
    values = published_configs.read_json(path)
    answers = []
    for name in names:
        value = values.get(name)
        if value is not None and not isinstance(value, bool):
            raise CheckpointError(
                f"{path}: `{name}` must be true, false or null. "
                f"Received: {json_files.shorten(value)}"
            )
        answers.append(value)
    return answers
