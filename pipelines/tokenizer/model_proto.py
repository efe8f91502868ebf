"""The messages of a SentencePiece model file, whatever protobuf is installed.

The classes that the package sentencepiece brings refuse a protobuf older than the one that they
were generated with. These are made when this module is imported, by the protobuf that there is. All
fields of sentencepiece_model.proto are here, so that a model is written in the same order; the
trainer's defaults are not, since nobody reads what a model does not say.
"""

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_PACKAGE = "sentencepiece"
# Messages and enums by path, the outer one before what is inside it.
# (name, number, kind) of each field; "*" is for many.
_MESSAGES = {
    "TrainerSpec": (
        ("input", 1, "string*"),
        ("model_prefix", 2, "string"),
        ("model_type", 3, "TrainerSpec.ModelType"),
        ("vocab_size", 4, "int32"),
        ("accept_language", 5, "string*"),
        ("self_test_sample_size", 6, "int32"),
        ("input_format", 7, "string"),
        ("character_coverage", 10, "float"),
        ("input_sentence_size", 11, "uint64"),
        ("mining_sentence_size", 12, "int32"),
        ("training_sentence_size", 13, "int32"),
        ("seed_sentencepiece_size", 14, "int32"),
        ("shrinking_factor", 15, "float"),
        ("num_threads", 16, "int32"),
        ("num_sub_iterations", 17, "int32"),
        ("max_sentence_length", 18, "int32"),
        ("shuffle_input_sentence", 19, "bool"),
        ("max_sentencepiece_length", 20, "int32"),
        ("split_by_unicode_script", 21, "bool"),
        ("split_by_whitespace", 22, "bool"),
        ("split_by_number", 23, "bool"),
        ("treat_whitespace_as_suffix", 24, "bool"),
        ("split_digits", 25, "bool"),
        ("allow_whitespace_only_pieces", 26, "bool"),
        ("control_symbols", 30, "string*"),
        ("user_defined_symbols", 31, "string*"),
        ("vocabulary_output_piece_score", 32, "bool"),
        ("hard_vocab_limit", 33, "bool"),
        ("use_all_vocab", 34, "bool"),
        ("byte_fallback", 35, "bool"),
        ("required_chars", 36, "string"),
        ("unk_id", 40, "int32"),
        ("bos_id", 41, "int32"),
        ("eos_id", 42, "int32"),
        ("pad_id", 43, "int32"),
        ("unk_surface", 44, "string"),
        ("unk_piece", 45, "string"),
        ("bos_piece", 46, "string"),
        ("eos_piece", 47, "string"),
        ("pad_piece", 48, "string"),
        ("train_extremely_large_corpus", 49, "bool"),
        ("enable_differential_privacy", 50, "bool"),
        ("differential_privacy_noise_level", 51, "float"),
        ("differential_privacy_clipping_threshold", 52, "uint64"),
        ("pretokenization_delimiter", 53, "string"),
        ("seed_sentencepieces_file", 54, "string"),
        ("auto_character_coverage", 55, "bool"),
    ),
    "NormalizerSpec": (
        ("name", 1, "string"),
        ("precompiled_charsmap", 2, "bytes"),
        ("add_dummy_prefix", 3, "bool"),
        ("remove_extra_whitespaces", 4, "bool"),
        ("escape_whitespaces", 5, "bool"),
        ("normalization_rule_tsv", 6, "string"),
    ),
    "ModelProto": (
        ("pieces", 1, "ModelProto.SentencePiece*"),
        ("trainer_spec", 2, "TrainerSpec"),
        ("normalizer_spec", 3, "NormalizerSpec"),
        ("denormalizer_spec", 5, "NormalizerSpec"),
    ),
    "ModelProto.SentencePiece": (
        ("piece", 1, "string"),
        ("score", 2, "float"),
        ("type", 3, "ModelProto.SentencePiece.Type"),
    ),
}
_ENUMS = {
    "TrainerSpec.ModelType": {"UNIGRAM": 1, "BPE": 2, "WORD": 3, "CHAR": 4},
    # The first is what a piece is that does not say.
    "ModelProto.SentencePiece.Type": {
        "NORMAL": 1,
        "UNKNOWN": 2,
        "CONTROL": 3,
        "USER_DEFINED": 4,
        "BYTE": 6,
        "UNUSED": 5,
    },
}


def _describe_file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="sentencepiece_model.proto", package=_PACKAGE)
    messages = {}
    for path, fields in _MESSAGES.items():
        outer, _, name = path.rpartition(".")
        siblings = messages[outer].nested_type if outer else file.message_type
        messages[path] = siblings.add(name=name)
        for field_name, number, kind in fields:
            _describe_field(messages[path].field.add(name=field_name, number=number), kind)
    for path, numbers in _ENUMS.items():
        outer, _, name = path.rpartition(".")
        enum = messages[outer].enum_type.add(name=name)
        for value_name, number in numbers.items():
            enum.value.add(name=value_name, number=number)
    return file


def _describe_field(field: descriptor_pb2.FieldDescriptorProto, kind: str) -> None:
    is_repeated, kind = kind.endswith("*"), kind.removesuffix("*")
    field.label = field.LABEL_REPEATED if is_repeated else field.LABEL_OPTIONAL
    if kind in _MESSAGES or kind in _ENUMS:
        field.type = field.TYPE_MESSAGE if kind in _MESSAGES else field.TYPE_ENUM
        field.type_name = f".{_PACKAGE}.{kind}"
    else:
        field.type = getattr(field, f"TYPE_{kind.upper()}")


# Of its own, so that the package's own classes may be loaded beside these.
_pool = descriptor_pool.DescriptorPool()
_pool.Add(_describe_file())


def _message_class(name: str) -> type:
    return message_factory.GetMessageClass(_pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))


ModelProto = _message_class("ModelProto")
NormalizerSpec = _message_class("NormalizerSpec")
SentencePiece = _message_class("ModelProto.SentencePiece")
