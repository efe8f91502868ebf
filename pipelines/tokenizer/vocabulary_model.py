"""The SentencePiece model behind a tokenizer: what it must hold, its clean-up, and its pieces."""

import dataclasses
import functools
import math

import google.protobuf.message
import numpy as np
import sentencepiece

from albert_tf import json_files
from albert_tf.pipelines.tokenizer import model_proto, normalization

PAD_PIECE, UNKNOWN_PIECE = "<pad>", "<unk>"
CLASS_PIECE, SEPARATOR_PIECE, MASK_PIECE = "[CLS]", "[SEP]", "[MASK]"
WORD_BOUNDARY = "▁"

_CONTROL = model_proto.SentencePiece.CONTROL
_UNKNOWN = model_proto.SentencePiece.UNKNOWN

# The original's list; it lacks ', =, < and >.
_PUNCTUATION = frozenset('!"#$%&()*+,-./:;?@[\\]^_`{|}~')
_INSIDE_WORD = frozenset("abcdefghijklmnopqrstuvwxyz") | _PUNCTUATION


def parse(model_bytes: bytes, source: str) -> model_proto.ModelProto:
    """Parses a serialized model and checks that it can serve as an ALBERT vocabulary.

    Raises:
        ValueError: it cannot, beginning with `source`, the name of its file.
    """
    if not model_bytes:
        raise ValueError(f"{source}: expected a SentencePiece model. Received: an empty file.")
    try:
        model = model_proto.ModelProto.FromString(model_bytes)
    except google.protobuf.message.DecodeError as error:
        raise ValueError(
            f"{source}: expected a SentencePiece model. "
            f"Received: a file of another kind (it begins with {model_bytes[:16]!r})."
        ) from error
    if not model.pieces or not model.HasField("trainer_spec"):
        raise ValueError(
            f"{source}: expected a SentencePiece model. Received: a file of another kind "
            f"(no pieces or no training settings; it begins with {model_bytes[:16]!r})."
        )
    types = {piece.piece: piece.type for piece in model.pieces}
    special_types = {
        PAD_PIECE: _CONTROL,
        UNKNOWN_PIECE: _UNKNOWN,
        CLASS_PIECE: _CONTROL,
        SEPARATOR_PIECE: _CONTROL,
        MASK_PIECE: _CONTROL,
    }
    missing = [piece for piece in special_types if piece not in types]
    if missing:
        raise ValueError(
            f"{source}: an ALBERT vocabulary has the special pieces {', '.join(special_types)}. "
            f"Missing: {', '.join(missing)}. albert_tf.pipelines.build_vocabulary makes one."
        )
    for piece, kind in special_types.items():
        if types[piece] != kind:
            names = model_proto.SentencePiece.Type
            raise ValueError(
                f"{source}: the special piece {piece} must be of type {names.Name(kind)}, so that "
                f"it never comes from text. Received: {names.Name(types[piece])}."
            )
    _check_loads(model_bytes, model, source)
    return model


def _check_loads(model_bytes: bytes, model: model_proto.ModelProto, source: str) -> None:
    """Raises ValueError for what the engines would not load, read past the end of, or die of."""
    for index, piece in enumerate(model.pieces):
        if not isinstance(piece.piece, str) or not math.isfinite(piece.score):
            raise ValueError(
                f"{source}: piece {index} must be UTF-8 with a finite score. "
                f"Received: {json_files.shorten(piece.piece)} with {piece.score}"
            )
    for spec in (model.normalizer_spec, model.denormalizer_spec):
        problem = _problem_of_charsmap(spec.precompiled_charsmap)
        if problem:
            raise ValueError(f"{source}: the table of the normaliser is damaged: {problem}")
    try:
        sentencepiece.SentencePieceProcessor().LoadFromSerializedProto(model_bytes)
    except RuntimeError as error:
        raise ValueError(f"{source}: SentencePiece cannot load this model: {error}") from error


def _problem_of_charsmap(charsmap: bytes) -> str:
    """Says what would lead a reader of the table out of it; "" for a whole one.

    The table is the size of a trie, the trie, and texts that end in a zero byte. The trie is an
    array of uint32: from unit p, the byte c leads to unit `p ^ offset ^ c`; where bit 8 is set,
    unit `p ^ offset` holds where in the texts the replacement starts.
    Source: darts-clone, which SentencePiece and TensorFlow Text search without a look at the end.
    """
    if not charsmap:
        return ""
    trie_bytes = int.from_bytes(charsmap[:4], "little")
    if len(charsmap) < 4 or trie_bytes % 1024 or not 0 < trie_bytes < len(charsmap) - 4:
        return f"a trie of {trie_bytes} bytes in a table of {len(charsmap)}"
    units = np.frombuffer(charsmap, "<u4", trie_bytes // 4, offset=4).astype(np.int64)
    texts = np.frombuffer(charsmap, np.uint8, offset=4 + trie_bytes)
    is_inner = units < 2**31
    children = np.arange(len(units)) ^ ((units >> 10) << ((units & 512) >> 6))
    # Blocks of 256, one unit a byte, are in the array as a whole or not at all.
    if (children[is_inner] >= len(units)).any():
        return "it leads out of its trie"
    starts = units[children[is_inner & (units & 256 > 0)]] & (2**31 - 1)
    if (starts >= len(texts)).any() or texts[-1] != 0:
        return "it leads out of its texts"
    try:
        texts.tobytes().decode("utf-8")
    except UnicodeDecodeError as error:
        return f"byte {error.start} of its texts is no UTF-8"
    if ((texts[starts] & 0xC0) == 0x80).any():
        return "a text of it starts inside a character"
    return ""


def build_in_clean_up(
    model: model_proto.ModelProto,
    source: str,
    lower_case: bool | None,
    strip_accents: bool | None,
) -> tuple[bool, bool]:
    """Builds the clean-up into `model`, or checks the one that it has; returns the options.

    Raises:
        ValueError: the model was built with other options than those that were given.
    """
    for built_in, name in normalization.NORMALIZER_NAMES.items():
        if model.normalizer_spec.name != name:
            continue
        options = (
            built_in[0] if lower_case is None else bool(lower_case),
            built_in[1] if strip_accents is None else bool(strip_accents),
        )
        if options != built_in:
            raise ValueError(
                f"{source}: this vocabulary was built with lower_case={built_in[0]}, "
                f"strip_accents={built_in[1]}. "
                f"Received: lower_case={lower_case}, strip_accents={strip_accents}."
            )
        return built_in
    if lower_case is None:
        normalization.warn_of_capitals((piece.piece for piece in model.pieces), source)
    lower_case = True if lower_case is None else bool(lower_case)
    strip_accents = True if strip_accents is None else bool(strip_accents)
    model.normalizer_spec.ParseFromString(
        normalization.build_in_clean_up(
            model.normalizer_spec.SerializeToString(deterministic=True), lower_case, strip_accents
        )
    )
    # Self-test samples, which the parser does not know, were normalised by the old rules.
    model.DiscardUnknownFields()
    return lower_case, strip_accents


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """What Python needs to know of a model, outside of what TensorFlow tracks."""

    model_bytes: bytes
    pieces: list[str]
    ids: dict[str, int]
    word_start: np.ndarray  # [V] bool
    lower_case: bool
    strip_accents: bool

    pad_piece = PAD_PIECE
    unknown_piece = UNKNOWN_PIECE

    @classmethod
    def of(
        cls, model: model_proto.ModelProto, lower_case: bool, strip_accents: bool
    ) -> "Vocabulary":
        """Returns that of a model that has its clean-up built in."""
        pieces = [piece.piece for piece in model.pieces]
        return cls(
            model_bytes=model.SerializeToString(deterministic=True),
            pieces=pieces,
            ids={piece: index for index, piece in enumerate(pieces)},
            word_start=np.array([_starts_word(piece) for piece in pieces], np.bool_),
            lower_case=lower_case,
            strip_accents=strip_accents,
        )

    @functools.cached_property
    def inside_word(self) -> np.ndarray:
        """int32 [V], each piece as it is inside a word: "▁s" is "s", or the same if there is none.

        -1 for the lone boundary, which vanishes there.
        """
        table = np.arange(len(self.pieces), dtype=np.int32)
        for index, piece in enumerate(self.pieces):
            if piece == WORD_BOUNDARY:
                table[index] = -1
            elif piece.startswith(WORD_BOUNDARY):
                table[index] = self.ids.get(piece[1:], index)
        return table

    @functools.cached_property
    def piece_texts(self) -> list[str]:
        """The text of each piece, with a space before it where it begins a word."""
        special = {PAD_PIECE, CLASS_PIECE, SEPARATOR_PIECE, MASK_PIECE}
        texts = [piece.replace(WORD_BOUNDARY, " ") for piece in self.pieces]
        for piece in special:
            texts[self.ids[piece]] = f" {piece} "
        texts[self.ids[UNKNOWN_PIECE]] = " ⁇ "
        return texts


def _starts_word(piece: str) -> bool:
    if piece.startswith((WORD_BOUNDARY, "<")) or piece in _PUNCTUATION:
        return True
    return not all(character.lower() in _INSIDE_WORD for character in piece)
