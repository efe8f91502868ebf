"""The serialized SentencePiece model behind a tokenizer: what it must hold, and its clean-up."""

import google.protobuf.message
from sentencepiece import sentencepiece_model_pb2

from albert_tf.pipelines import normalization

PAD_PIECE, UNKNOWN_PIECE = "<pad>", "<unk>"
CLASS_PIECE, SEPARATOR_PIECE, MASK_PIECE = "[CLS]", "[SEP]", "[MASK]"

_CONTROL = sentencepiece_model_pb2.ModelProto.SentencePiece.CONTROL
_UNKNOWN = sentencepiece_model_pb2.ModelProto.SentencePiece.UNKNOWN


def parse(model_bytes: bytes, source: str) -> sentencepiece_model_pb2.ModelProto:
    """Parse a serialized model and check that it can serve as an ALBERT vocabulary.

    Raises:
      ValueError: it cannot, beginning with `source`, the name of its file.
    """
    if not model_bytes:
        raise ValueError(f"{source}: expected a SentencePiece model. Received: an empty file.")
    try:
        model = sentencepiece_model_pb2.ModelProto.FromString(model_bytes)
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
    wanted = {
        PAD_PIECE: _CONTROL,
        UNKNOWN_PIECE: _UNKNOWN,
        CLASS_PIECE: _CONTROL,
        SEPARATOR_PIECE: _CONTROL,
        MASK_PIECE: _CONTROL,
    }
    missing = [piece for piece in wanted if piece not in types]
    if missing:
        raise ValueError(
            f"{source}: an ALBERT vocabulary has the special pieces {', '.join(wanted)}. "
            f"Missing: {', '.join(missing)}. albert_tf.pipelines.build_vocabulary makes one."
        )
    for piece, kind in wanted.items():
        if types[piece] != kind:
            names = sentencepiece_model_pb2.ModelProto.SentencePiece.Type
            raise ValueError(
                f"{source}: the special piece {piece} must be of type {names.Name(kind)}, so that "
                f"it never comes from text. Received: {names.Name(types[piece])}."
            )
    return model


def build_in_clean_up(
    model: sentencepiece_model_pb2.ModelProto,
    source: str,
    lower_case: bool | None,
    strip_accents: bool | None,
) -> tuple[bool, bool]:
    """Build the clean-up into `model`, or check the one that it has; return the options.

    Raises:
      ValueError: the model was built with other options than those that were given.
    """
    for built_in, name in normalization.NORMALIZER_NAMES.items():
        if model.normalizer_spec.name != name:
            continue
        asked = (
            built_in[0] if lower_case is None else bool(lower_case),
            built_in[1] if strip_accents is None else bool(strip_accents),
        )
        if asked != built_in:
            raise ValueError(
                f"{source}: this vocabulary was built with lower_case={built_in[0]}, "
                f"strip_accents={built_in[1]}. "
                f"Received: lower_case={lower_case}, strip_accents={strip_accents}."
            )
        return built_in
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
