"""SentencePiece's messages, made by the installed protobuf: the package's own, to the byte."""

import pytest
import sentencepiece
from google.protobuf import descriptor_pb2, runtime_version
from samples import VOCABULARY

from albert_tf.pipelines.tokenizer import model_proto


def test_a_model_is_written_as_it_was_read():
    content = VOCABULARY.read_bytes()
    model = model_proto.ModelProto.FromString(content)
    assert model.SerializeToString(deterministic=True) == content
    processor = sentencepiece.SentencePieceProcessor(model_proto=content)
    assert [piece.piece for piece in model.pieces] == [
        processor.id_to_piece(index) for index in range(len(processor))
    ]
    # With what it does not know dropped: the trainer's settings are all known.
    model.DiscardUnknownFields()
    assert model.SerializeToString(deterministic=True) == content


def test_a_piece_that_says_no_kind_is_a_normal_one():
    piece = model_proto.SentencePiece(piece="a", score=-1)
    assert piece.type == model_proto.SentencePiece.NORMAL == 1
    assert not piece.HasField("type")


def test_messages_are_those_of_the_package():
    try:
        from sentencepiece import sentencepiece_model_pb2
    except runtime_version.VersionError:
        pytest.skip("its classes are generated for another protobuf")
    assert describe(model_proto.ModelProto) == describe(sentencepiece_model_pb2.ModelProto)


def describe(message_class):
    """Returns all names, numbers and kinds of the file of a message, in order of numbers."""
    file = descriptor_pb2.FileDescriptorProto()
    message_class.DESCRIPTOR.file.CopyToProto(file)
    return {path: content for message in file.message_type for path, content in walk(message)}


def walk(message, outer=""):
    path = f"{outer}.{message.name}"
    fields = sorted((f.number, f.name, f.type, f.label, f.type_name) for f in message.field)
    enums = [(enum.name, [(v.name, v.number) for v in enum.value]) for enum in message.enum_type]
    yield path, (fields, enums)
    for nested in message.nested_type:
        yield from walk(nested, path)
