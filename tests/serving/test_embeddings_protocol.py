"""Embeddings in OpenAI's form: what a client may ask, and what comes back, by hand."""

import base64
import json

import numpy as np
import pytest

from albert_tf.serving.embeddings_protocol import (
    UnknownModelError,
    read_embeddings_request,
    write_embeddings,
)
from albert_tf.serving.predict_protocol import (
    RequestError,
    SignatureDescription,
    TensorDescription,
)
from albert_tf.serving.settings import Limits

TEXTS = TensorDescription("string", (None,))
IDS = TensorDescription("int32", (None, None))
VECTORS = {"embedding": TensorDescription("float32", (None, 3))}
SIGNATURES = {
    "embed": SignatureDescription({"text": TEXTS}, VECTORS),
    "embed_examples": SignatureDescription({"examples": TEXTS}, VECTORS),
    "embed_ids": SignatureDescription({"input_ids": IDS}, VECTORS),
    "features": SignatureDescription({"text": TEXTS}, {"mean": VECTORS["embedding"]}),
}
LIMITS = Limits(max_rows=3, max_text_bytes=10)


def read(signatures=SIGNATURES, **content):
    return read_embeddings_request(json.dumps(content), signatures, LIMITS, "m")


def test_one_text_and_several_are_rows():
    request, encoding = read(input="é", model="m", user="me", dimensions=3)
    assert (request.signature, request.rows, encoding) == ("embed", 1, "float")
    assert request.inputs["text"].tolist() == ["é".encode()]
    request, encoding = read(input=["a", "b"], encoding_format="base64")
    assert (request.inputs["text"].tolist(), encoding) == ([b"a", b"b"], "base64")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "the body must have input"),
        ({"input": "a", "stream": True}, "Received: 'input', 'stream'"),
        ({"input": [1, 2]}, r"input must be a string or a list of strings. Received: \[1, 2\]"),
        ({"input": [["a"]]}, "input must be a string or a list of strings"),
        ({"input": []}, "1 to 3 rows. Received: 0"),
        ({"input": list("abcd")}, "1 to 3 rows. Received: 4"),
        ({"input": "a" * 11}, "at most 10 bytes. Received: 11"),
        ({"input": "a", "dimensions": 2}, "dimensions must be 3, .*Received: 2"),
        ({"input": "a", "encoding_format": "int8"}, "must be one of float, base64. Rec.*'int8'"),
        ({"input": "a", "encoding_format": []}, r"must be one of float, base64. Received: \[\]"),
    ],
)
def test_what_cannot_be_asked_is_named(content, message):
    with pytest.raises(RequestError, match=message):
        read(**content)


def test_another_model_is_not_there():
    with pytest.raises(UnknownModelError, match="model must be m, which is served. Rec.*'ada'"):
        read(input="a", model="ada")
    others = {name: SIGNATURES[name] for name in ("embed_ids", "features")}
    with pytest.raises(UnknownModelError, match="from texts to `embedding`. Received: embed_ids"):
        read(others, input="a")


def test_vectors_come_as_numbers_or_as_bytes_with_the_tokens_counted():
    vectors = np.array([[0.5, -1, 2], [1, 2, 3]], np.float32)
    outputs = {"embedding": vectors, "token_count": np.array([4, 7], np.int32)}
    answer = json.loads(write_embeddings(outputs, "float", "m"))
    assert answer == {
        "object": "list",
        "data": [
            {"object": "embedding", "index": 0, "embedding": [0.5, -1, 2]},
            {"object": "embedding", "index": 1, "embedding": [1, 2, 3]},
        ],
        "model": "m",
        "usage": {"prompt_tokens": 11, "total_tokens": 11},
    }
    answer = json.loads(write_embeddings({"embedding": vectors}, "base64", "m"))
    for item, vector in zip(answer["data"], vectors, strict=True):
        found = np.frombuffer(base64.b64decode(item["embedding"]), "<f4")
        np.testing.assert_array_equal(found, vector)
    assert answer["usage"]["total_tokens"] == 0
    for encoding in ("float", "base64"):
        with pytest.raises(ValueError, match="output embedding must be finite"):
            write_embeddings({"embedding": vectors * np.nan}, encoding, "m")
