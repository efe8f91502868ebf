"""KServe's v2 form: tensors become arrays and arrays tensors, or a sentence says what is wrong."""

import json

import numpy as np
import pytest

from albert_tf.serving.infer_protocol import (
    AnswerForm,
    describe_model,
    read_infer_request,
    write_infer_response,
)
from albert_tf.serving.predict_protocol import (
    RequestError,
    SignatureDescription,
    TensorDescription,
)
from albert_tf.serving.settings import Limits

TEXTS = TensorDescription("string", (None,))
IDS = TensorDescription("int32", (None, None))
ROWS = {"y": TensorDescription("float32", (None, 3)), "z": TEXTS}
SIGNATURES = {
    "serving_default": SignatureDescription({"text": TEXTS}, ROWS),
    "ids": SignatureDescription({"input_ids": IDS, "input_mask": IDS}, ROWS),
    "vectors": SignatureDescription({"x": TensorDescription("float32", (None, 2))}, ROWS),
    "flags": SignatureDescription({"on": TensorDescription("bool", ())}, ROWS),
    "any": SignatureDescription({"x": TensorDescription("int32", None)}, ROWS),
    "waves": SignatureDescription({"x": TensorDescription("complex64", (None,))}, ROWS),
}
LIMITS = Limits(max_rows=3, max_text_bytes=10)


def tensor(name, shape, datatype, data, **more):
    return {"name": name, "shape": shape, "datatype": datatype, "data": data, **more}


def read(*inputs, signature=None, **content):
    if signature is not None:
        content["parameters"] = {"signature_name": signature}
    body = json.dumps({"inputs": list(inputs), **content})
    return read_infer_request(body, SIGNATURES, LIMITS)


def test_texts_are_rows_and_the_answer_has_all_outputs():
    request, form = read(tensor("text", [2], "BYTES", ["é", "b"]))
    assert (request.signature, request.rows) == ("serving_default", 2)
    assert request.inputs["text"].tolist() == ["é".encode(), b"b"]
    assert form == AnswerForm(None, ("y", "z"))
    wanted = {"name": "z", "parameters": {"binary_data": True}}
    request, form = read(tensor("text", [1], "BYTES", ["a"]), id="7", outputs=[wanted])
    assert form == AnswerForm("7", ("z",))


def test_texts_come_as_mlserver_sends_them():
    column = tensor("text", [2, 1], "BYTES", ["a", "b"])
    request, _ = read(column, parameters={"content_type": "str", "headers": None})
    assert request.inputs["text"].tolist() == [b"a", b"b"]
    encoded = tensor("text", [2, 1], "BYTES", [["YQ=="], ["Yg=="]])
    request, _ = read(encoded, parameters={"content_type": "base64"})
    assert request.inputs["text"].tolist() == [b"a", b"b"]


def test_values_stand_row_by_row_or_nested():
    mask = tensor("input_mask", [2, 2], "INT32", [1, 1, 1, 0])
    for data in ([1, 2, 3, 4], [[1, 2], [3, 4]]):
        ids = tensor("input_ids", [2, 2], "INT32", data)
        request, _ = read(ids, mask, signature="ids")
        np.testing.assert_array_equal(request.inputs["input_ids"], [[1, 2], [3, 4]])
        assert request.inputs["input_ids"].dtype == np.int32
    request, _ = read(tensor("x", [1, 2], "FP32", [1, 0.5]), signature="vectors")
    assert request.inputs["x"].tolist() == [[1, 0.5]]
    request, _ = read(tensor("on", [], "BOOL", [True]), signature="flags")
    assert request.inputs["on"].shape == () and request.rows is None


def test_bytes_may_come_in_base64():
    text = tensor("text", [1], "BYTES", ["/w=="], parameters={"content_type": "base64"})
    assert read(text)[0].inputs["text"].tolist() == [b"\xff"]
    text["parameters"] = {"binary_data": False, "content_type": "np"}
    assert read(text)[0].inputs["text"].tolist() == [b"/w=="]


A = tensor("text", [1], "BYTES", ["a"])


@pytest.mark.parametrize(
    ("inputs", "content", "message"),
    [
        ([], {}, "inputs must have the inputs text. Received: {}"),
        ([A, A], {}, "inputs must have each name once. Received: 'text' twice"),
        ([A, {}], {}, "inputs must be objects with a name, a string. Received: {}"),
        ([{"name": "text"}], {}, "text must have .*data.* Received: 'name'"),
        ([A | {"datatype": "FP32"}], {}, "text: datatype must be BYTES. Received: 'FP32'"),
        ([A | {"shape": [2], "data": ["a", "b"]}, A], {}, "each name once. Received: 'text' twice"),
        ([A | {"shape": [10**4000] * 9}], {}, "whole numbers from 0 to 2147483647. Received"),
        ([A | {"shape": [1, 1, 1]}], {}, r"the shape \['any'\]. Received: \[1, 1, 1\]"),
        ([A | {"shape": [-1]}], {}, r"whole numbers from 0 to 2147483647. Received: \[-1\]"),
        ([A | {"shape": [True]}], {}, "whole numbers from 0 to"),
        ([A | {"shape": [2]}], {}, r"the 2 values of the shape \[2\].*Received: 1"),
        ([A | {"shape": [4], "data": list("abcd")}], {}, "1 to 3 rows. Received: 4"),
        ([A | {"shape": [0], "data": []}], {}, "1 to 3 rows. Received: 0"),
        ([A | {"data": [1]}], {}, r"data must be strings. Received: \[1\]"),
        ([A | {"data": [{"b64": "YQ=="}]}], {}, "data must be strings"),
        ([A | {"data": ["a" * 11]}], {}, "at most 10 bytes. Received: 11"),
        ([A | {"data": "a"}], {}, "data must be a list. Received: 'a'"),
        ([A | {"data": [["a"]]}], {}, "Received: other lists"),
        ([A | {"parameters": {"binary_data_size": 5}}], {}, "Received: 'binary_data_size'"),
        ([A | {"parameters": {"content_type": "pd"}}], {}, "str, np, base64. Received: 'pd'"),
        ([A], {"id": 3}, "id must be a string. Received: 3"),
        ([A], {"stream": True}, "the body must have inputs.*Received: .*'stream'"),
        ([A], {"parameters": []}, r"parameters must be an object. Received: \[\]"),
        ([A], {"parameters": {"priority": 1}}, "among signature_name, .*Received: 'priority'"),
        ([A], {"parameters": {"signature_name": "no"}}, "one of any, flags, ids, .*Received: 'no'"),
        ([A], {"parameters": {"signature_name": []}}, r"one of any, flags, ids, .*Received: \[\]"),
        ([A], {"outputs": [{"name": "w"}]}, "outputs must be among y, z. Received: 'w'"),
        ([A], {"outputs": {"name": "y"}}, "outputs must be a list of tensors"),
        (
            [A],
            {"outputs": [{"name": "y", "parameters": {"classification": 2}}]},
            "as JSON. Received: 'classification'",
        ),
    ],
)
def test_what_cannot_be_asked_is_named(inputs, content, message):
    with pytest.raises(RequestError, match=message):
        read(*inputs, **content)


def test_numbers_that_do_not_fit_are_named():
    ids = tensor("input_ids", [1, 2], "INT32", [1, 2])
    with pytest.raises(RequestError, match="attention_mask is called input_mask here"):
        read(ids, tensor("attention_mask", [1, 2], "INT32", [1, 1]), signature="ids")
    with pytest.raises(RequestError, match="input_mask must lie in"):
        read(ids, tensor("input_mask", [1, 2], "INT32", [1, 2**40]), signature="ids")
    with pytest.raises(RequestError, match="of type complex64, which a request cannot hold"):
        read(tensor("x", [1], "FP32", [1]), signature="waves")
    # Their product has millions of digits.
    with pytest.raises(RequestError, match="x must have at most 32 axes. Received: 150000"):
        read(tensor("x", [2**31 - 1] * 150_000, "INT32", [1]), signature="any")


def test_outputs_come_flat_with_their_shapes():
    outputs = {
        "y": np.array([[1.5, 2], [3, 4]], np.float32),
        "z": np.array([b"a", "é".encode()], object),
        "raw": np.array([b"a", b"\xff"], object),
        "one": b"a\0",
    }
    form = AnswerForm("7", ("raw", "y", "z", "one"))
    assert json.loads(write_infer_response(outputs, form, "m", 3)) == {
        "model_name": "m",
        "model_version": "3",
        "id": "7",
        "outputs": [
            tensor("raw", [2], "BYTES", ["YQ==", "/w=="], parameters={"content_type": "base64"}),
            tensor("y", [2, 2], "FP32", [1.5, 2, 3, 4]),
            tensor("z", [2], "BYTES", ["a", "é"]),
            tensor("one", [], "BYTES", ["a\0"]),
        ],
    }
    with pytest.raises(RequestError, match="x is of type complex64, which a response cannot hold"):
        write_infer_response({"x": np.zeros(1, np.complex64)}, AnswerForm(None, ("x",)), "m", 3)


def test_metadata_describe_a_signature():
    described = describe_model("m", 3, SIGNATURES, "ids")
    assert described["versions"] == ["3"] and described["platform"] == "tensorflow_savedmodel"
    assert described["inputs"] == [
        {"name": name, "datatype": "INT32", "shape": [-1, -1]}
        for name in ("input_ids", "input_mask")
    ]
    assert describe_model("m", 3, SIGNATURES)["parameters"]["signature_name"] == "serving_default"
    # Without a default the first by name is asked.
    others = {name: SIGNATURES[name] for name in ("vectors", "ids")}
    assert describe_model("m", 3, others)["parameters"] == {
        "signature_name": "ids",
        "signatures": "ids, vectors",
    }
