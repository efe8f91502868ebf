"""A WordPiece vocabulary and its clean-up: out of `vocab.txt` or `tokenizer.json`, and back.

`model_bytes` is a `tokenizer.json`, which holds both and which other libraries read, too.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from albert_tf import json_files
from albert_tf.pipelines.tokenizer import normalization
from albert_tf.pipelines.tokenizer.vocabulary_model import (
    CLASS_PIECE,
    MASK_PIECE,
    SEPARATOR_PIECE,
)

PAD_PIECE, UNKNOWN_PIECE = "[PAD]", "[UNK]"
CONTINUATION = "##"  # begins a piece that goes on with a word
# What tensorflow-text's op takes.
_LONGEST_PIECE_BYTES = 256
_NO_TEXT = re.compile("[\0\ud800-\udfff]")  # what no text in UTF-8 has
_SPECIAL_PIECES = (PAD_PIECE, UNKNOWN_PIECE, CLASS_PIECE, SEPARATOR_PIECE, MASK_PIECE)


@dataclasses.dataclass(frozen=True)
class WordPieceVocabulary:
    """The pieces in the order of their ids, and BERT's options; what a `Tokenizer` asks of it.

    Attributes:
        pieces: all different, the five special ones among them.
        lower_case, strip_accents: the clean-up.
        split_chinese: whether each Chinese character is a word.
        max_word_characters: longer words are unknown.
    """

    pieces: list[str]
    lower_case: bool = True
    strip_accents: bool = True
    split_chinese: bool = True
    max_word_characters: int = 100

    pad_piece = PAD_PIECE
    unknown_piece = UNKNOWN_PIECE

    @functools.cached_property
    def ids(self) -> dict[str, int]:
        """The id of each piece."""
        return {piece: index for index, piece in enumerate(self.pieces)}

    @functools.cached_property
    def word_start(self) -> np.ndarray:
        """[V] bool: whether a piece begins a word, which is one without "##"."""
        return np.array([not piece.startswith(CONTINUATION) for piece in self.pieces], np.bool_)

    @functools.cached_property
    def inside_word(self) -> np.ndarray:
        """int32 [V], each piece as it is inside a word: the same, since spaces belong to none."""
        return np.arange(len(self.pieces), dtype=np.int32)

    @functools.cached_property
    def piece_texts(self) -> list[str]:
        """The text of each piece, with a space before it where it begins a word."""
        special = {PAD_PIECE, CLASS_PIECE, SEPARATOR_PIECE, MASK_PIECE}
        texts = []
        for piece in self.pieces:
            if piece in special:
                piece = f" {piece} "
            elif piece.startswith(CONTINUATION):
                piece = piece.removeprefix(CONTINUATION)
            else:
                piece = f" {piece}"
            texts.append(piece)
        return texts

    @functools.cached_property
    def model_bytes(self) -> bytes:
        """The `tokenizer.json` of the vocabulary."""
        special = {piece: self.ids[piece] for piece in _SPECIAL_PIECES}
        flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
        values = {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": [
                {"id": index, "content": piece, **flags, "special": True}
                for piece, index in sorted(special.items(), key=lambda item: item[1])
            ],
            "normalizer": {
                "type": "BertNormalizer",
                "clean_text": True,
                "handle_chinese_chars": self.split_chinese,
                "strip_accents": self.strip_accents,
                "lowercase": self.lower_case,
            },
            "pre_tokenizer": {"type": "BertPreTokenizer"},
            "post_processor": {
                "type": "BertProcessing",
                "sep": [SEPARATOR_PIECE, special[SEPARATOR_PIECE]],
                "cls": [CLASS_PIECE, special[CLASS_PIECE]],
            },
            "decoder": {"type": "WordPiece", "prefix": CONTINUATION, "cleanup": False},
            "model": {
                "type": "WordPiece",
                "unk_token": UNKNOWN_PIECE,
                "continuing_subword_prefix": CONTINUATION,
                "max_input_chars_per_word": self.max_word_characters,
                "vocab": self.ids,
            },
        }
        return json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode("utf-8")

    @property
    def vocab_txt(self) -> bytes:
        """The pieces, one a line."""
        return "".join(f"{piece}\n" for piece in self.pieces).encode("utf-8")


def from_vocab_txt(
    content: bytes,
    source: str,
    lower_case: bool | None = None,
    strip_accents: bool | None = None,
    split_chinese: bool | None = None,
) -> WordPieceVocabulary:
    """Reads `vocab.txt`: a piece a line, in the order of the ids; an empty line keeps its id.

    Args:
        content: the file.
        source: its name, for errors.
        lower_case: True unless given.
        strip_accents: as `lower_case` unless given, as BERT has it.
        split_chinese: True unless given.

    Raises:
        ValueError: it is no UTF-8, has a line twice, or lacks a special piece.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{source}: a WordPiece vocabulary is a UTF-8 text file. Received: {error.reason} at "
            f"byte {error.start}, in line {line}"
        ) from error
    # Other separators of lines, such as U+2028, are pieces of some vocabularies. No piece has the
    # blanks of ASCII in it: those around one are a slip of an editor, as are empty last lines.
    pieces = [line.strip(" \t\r") for line in text.rstrip(" \t\r\n").split("\n")]
    _check(pieces, source, "line", first=1)
    if lower_case is None:
        normalization.warn_of_capitals(pieces, source)
    lower_case = True if lower_case is None else bool(lower_case)
    return WordPieceVocabulary(
        pieces,
        lower_case=lower_case,
        strip_accents=lower_case if strip_accents is None else bool(strip_accents),
        split_chinese=True if split_chinese is None else bool(split_chinese),
    )


def from_tokenizer_json(values: Mapping[str, Any], source: str) -> WordPieceVocabulary:
    """Reads the object of a `tokenizer.json` of BERT's kind.

    Raises:
        ValueError: something is missing, or its steps are others than BERT's; naming `source`.
    """
    try:
        model, normalizer = values["model"], values["normalizer"]
        steps = {
            "model": model.get("type", "WordPiece"),
            "normalizer": normalizer["type"],
            "pre_tokenizer": values["pre_tokenizer"]["type"],
            "clean_text": normalizer["clean_text"],
            "continuing_subword_prefix": model["continuing_subword_prefix"],
            "unk_token": model["unk_token"],
        }
        ids = dict(sorted(model["vocab"].items(), key=lambda item: item[1]))
        longest = model.get("max_input_chars_per_word", 100)
        lower_case = normalizer["lowercase"]
        strip_accents = normalizer.get("strip_accents")
        split_chinese = normalizer["handle_chinese_chars"]
        options = (longest, lower_case, strip_accents, split_chinese)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{source} must be a tokenizer.json with a WordPiece vocabulary, as BertTokenizer "
            f"saves one. Received: {json_files.shorten(repr(error))}"
        ) from error
    expected = {
        "model": "WordPiece",
        "normalizer": "BertNormalizer",
        "pre_tokenizer": "BertPreTokenizer",
        "clean_text": True,
        "continuing_subword_prefix": CONTINUATION,
        "unk_token": UNKNOWN_PIECE,
    }
    different = [name for name in expected if steps[name] != expected[name]]
    if different:
        name = different[0]
        raise ValueError(
            f"{source}: `{name}` must be {expected[name]!r}, as of BertTokenizer. "
            f"Received: {json_files.shorten(steps[name])}"
        )
    if list(ids.values()) != list(range(len(ids))):
        raise ValueError(
            f"{source}: the ids of the {len(ids):,} pieces must be 0 to {len(ids) - 1:,}, each "
            "once. Received: others"
        )
    _check_options(source, *options)
    pieces = list(ids)
    _check(pieces, source, "piece", first=0)
    return WordPieceVocabulary(
        pieces,
        lower_case=lower_case,
        strip_accents=lower_case if strip_accents is None else strip_accents,
        split_chinese=split_chinese,
        max_word_characters=longest,
    )


def _check_options(
    source: str, longest: Any, lower_case: Any, strip_accents: Any, split_chinese: Any
) -> None:
    if type(longest) is not int or not 1 <= longest <= 1_000_000:
        raise ValueError(
            f"{source}: `max_input_chars_per_word` must be a number from 1 on. "
            f"Received: {json_files.shorten(longest)}"
        )
    flags = {"lowercase": lower_case, "handle_chinese_chars": split_chinese}
    if strip_accents is not None:
        flags["strip_accents"] = strip_accents
    for name, value in flags.items():
        if not isinstance(value, bool):
            raise ValueError(
                f"{source}: `{name}` must be true or false. Received: {json_files.shorten(value)}"
            )


def _check(pieces: list[str], source: str, unit: str, first: int) -> None:
    """Raises ValueError for pieces that are no vocabulary; `unit` and `first` count them."""
    places: dict[str, int] = {}
    for place, piece in enumerate(pieces, first):
        if piece in places:
            raise ValueError(
                f"{source}: each {unit} must be there once. Received: {json_files.shorten(piece)} "
                f"as {unit} {places[piece]:,} and {place:,}"
            )
        places[piece] = place
    missing = [piece for piece in _SPECIAL_PIECES if piece not in places]
    if missing:
        raise ValueError(
            f"{source}: a WordPiece vocabulary has the special pieces "
            f"{', '.join(_SPECIAL_PIECES)}. Missing: {', '.join(missing)}"
        )
    for piece, place in places.items():
        size = len(piece.removeprefix(CONTINUATION).encode("utf-8", "surrogatepass"))
        if size > _LONGEST_PIECE_BYTES or _NO_TEXT.search(piece):
            raise ValueError(
                f"{source}: {unit} {place:,} must be a text of at most {_LONGEST_PIECE_BYTES} "
                f"bytes without zeros. Received: {json_files.shorten(piece)}, {size:,} bytes"
            )
