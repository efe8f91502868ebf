"""A SentencePiece model out of a `tokenizer.json`, the only vocabulary that transformers 5 saves.

The file holds the pieces with their scores and the normaliser's table; the kinds of the pieces
follow from the names of the special ones and the list of those that are taken as they stand.
"""

import base64
import binascii
import os
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from albert_tf import json_files
from albert_tf.pipelines.tokenizer import model_proto, vocabulary_model

_PIECE = model_proto.SentencePiece
_CONTROL = ("<pad>", "[CLS]", "[SEP]", "[MASK]")
_UNKNOWN = "<unk>"
# What transformers writes of an ALBERT. The original rewrites no quotes, and so do not we.
_NORMALIZERS = {"Sequence", "Replace", "NFKD", "StripAccents", "Lowercase", "Strip", "Precompiled"}
_REPLACED = {("``", '"'), ("''", '"'), (" {2,}", " "), (" {2,}", "▁")}
_PRE_TOKENIZERS = {"Sequence", "WhitespaceSplit", "Metaspace"}


def has_word_pieces(path: str | os.PathLike) -> bool:
    """Tells whether a `tokenizer.json` is that of a WordPiece vocabulary (wordpiece_vocabulary.py).

    Raises:
        JsonError: the file is no JSON object; the message names it.
    """
    model = json_files.read_object(path).get("model")
    return isinstance(model, dict) and model.get("type") == "WordPiece"


def sentencepiece_model(path: str | os.PathLike) -> bytes:
    """Returns the serialized SentencePiece model of an ALBERT `tokenizer.json`.

    Its clean-up, beyond the normaliser's table, is not in the result: `Tokenizer` builds it in.

    Raises:
        ValueError: the file is something else; the message names it.
    """
    try:
        values = json_files.read_object(path)
        pieces = values["model"]["vocab"]
        kind = values["model"].get("type", "Unigram")
        as_they_stand = {token["content"] for token in values.get("added_tokens", ())}
        model = model_proto.ModelProto()
        for piece, score in pieces:
            model.pieces.add(piece=piece, score=score, type=_kind_of(piece, score, as_they_stand))
        charsmap = _find_charsmap(values["normalizer"])
        unknown = _unknown_steps(values)
    except json_files.JsonError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} must be a tokenizer.json with a unigram vocabulary. "
            f"Received: {json_files.shorten(error)}"
        ) from error
    if kind != "Unigram" or charsmap is None:
        raise ValueError(
            f"{path} must hold a unigram vocabulary and SentencePiece's table of its normaliser. "
            f"Received: type={kind!r}, {'no table' if charsmap is None else 'a table'}"
        )
    if unknown:
        raise ValueError(
            f"{path} must split texts as an ALBERT's does, or its ids would be others. "
            f"Received: {json_files.listed(unknown)}"
        )
    model.trainer_spec.model_type = model.trainer_spec.UNIGRAM
    model.trainer_spec.vocab_size = len(model.pieces)
    model.trainer_spec.pad_id, model.trainer_spec.unk_id = 0, 1
    model.trainer_spec.bos_id = model.trainer_spec.eos_id = -1
    model.trainer_spec.pad_piece, model.trainer_spec.unk_piece = _CONTROL[0], _UNKNOWN
    model.normalizer_spec.name = "from_tokenizer_json"
    model.normalizer_spec.precompiled_charsmap = charsmap
    model_bytes = model.SerializeToString(deterministic=True)
    vocabulary_model.parse(model_bytes, os.fspath(path))
    return model_bytes


def clean_up_of(path: str | os.PathLike) -> dict[str, bool]:
    """Returns `lower_case` and `strip_accents`, as the normaliser of a `tokenizer.json` has them.

    Raises:
        JsonError: the file is no JSON object; the message names it.
    """
    steps = _steps_of(json_files.read_object(path).get("normalizer"))
    types = {step.get("type") for step in steps}
    return {"lower_case": "Lowercase" in types, "strip_accents": "StripAccents" in types}


def _steps_of(step: Any) -> Iterator[dict[str, Any]]:
    """Yields a normaliser or pre-tokenizer, and those in it."""
    if isinstance(step, dict):
        yield step
        for part in step.get("normalizers") or step.get("pretokenizers") or ():
            yield from _steps_of(part)


def _unknown_steps(values: Mapping[str, Any]) -> list[str]:
    """Returns what a file does to texts that an ALBERT's does not, and we would leave out."""
    unknown = []
    for step in _steps_of(values.get("normalizer")):
        kind, pattern = step.get("type"), step.get("pattern")
        if kind == "Replace":
            pattern = next(iter(pattern.values()), None)
            if (pattern, step.get("content")) not in _REPLACED:
                unknown.append(f"Replace of {pattern!r} by {step.get('content')!r}")
        elif kind not in _NORMALIZERS:
            unknown.append(f"the normalizer {kind}")
    for step in _steps_of(values.get("pre_tokenizer")):
        if step.get("type") not in _PRE_TOKENIZERS:
            unknown.append(f"the pre-tokenizer {step.get('type')}")
        starts = step.get("prepend_scheme", "always" if step.get("add_prefix_space", True) else "")
        if (starts, step.get("replacement", "▁")) not in (("always", "▁"), ("first", "▁")):
            unknown.append("Metaspace that marks other places, or with another mark")
    if values["model"].get("byte_fallback"):
        unknown.append("byte_fallback")
    return unknown


def _kind_of(piece: str, score: float, as_they_stand: Collection[str]) -> int:
    if piece in _CONTROL:
        return _PIECE.CONTROL
    if piece == _UNKNOWN:
        return _PIECE.UNKNOWN
    # Pieces that the trainer was told to keep have no score of their own.
    return _PIECE.USER_DEFINED if piece in as_they_stand and score == 0 else _PIECE.NORMAL


def _find_charsmap(normalizer: Mapping[str, Any]) -> bytes | None:
    """Returns the table of the normaliser `Precompiled`, or None if there is none."""
    if normalizer.get("type") == "Precompiled":
        try:
            return base64.b64decode(normalizer["precompiled_charsmap"], validate=True)
        except binascii.Error as error:
            raise ValueError(f"precompiled_charsmap is not base64: {error}") from error
    charsmaps = (_find_charsmap(part) for part in normalizer.get("normalizers", ()))
    return next((charsmap for charsmap in charsmaps if charsmap is not None), None)
