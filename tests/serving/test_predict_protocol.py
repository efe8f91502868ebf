"""Bodies of the REST interface become arrays, or a sentence that says what is wrong."""

import json

import numpy as np
import pytest

from albert_tf.serving.predict_protocol import (
    RequestError,
    SignatureDescription,
    TensorDescription,
    read_request,
    write_response,
)
from albert_tf.serving.settings import Limits

STRINGS = TensorDescription("string", (None,))
ROWS = {"y": TensorDescription("float32", (None, 3))}
SIGNATURES = {
    name: SignatureDescription(inputs, ROWS)
    for name, inputs in {
        "serving_default": {"text": STRINGS},
        "pairs": {"a": STRINGS, "b": STRINGS},
        "choose": {"question": STRINGS, "options": TensorDescription("string", (None, None))},
        "ids": {"input_ids": TensorDescription("int32", (None, None))},
        "vectors": {"x": TensorDescription("float32", (None, 2))},
        "large": {"x": TensorDescription("uint64", (None, None))},
        "flags": {"on": TensorDescription("bool", (None,))},
        "waves": {"x": TensorDescription("complex64", (None,))},
    }.items()
}
# What other people's models may have.
SIGNATURES |= {
    "number": SignatureDescription({"x": TensorDescription("bfloat16", ())}, ROWS),
    "any": SignatureDescription({"x": TensorDescription("string", None)}, ROWS),
    "labels": SignatureDescription(
        {"text": STRINGS, "labels": STRINGS}, {"y": TensorDescription("int32", ())}
    ),
    "constant": SignatureDescription({}, ROWS),
}


def read(content):
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return read_request(body, SIGNATURES, Limits())


def test_rows_and_columns_say_the_same():
    for content in (
        {"instances": ["é", "b"]},
        {"instances": [{"text": "é"}, {"text": "b"}]},
        {"inputs": ["é", "b"]},
        {"inputs": {"text": ["é", {"b64": "Yg=="}]}},
    ):
        request = read(content)
        assert request.signature == "serving_default"
        assert request.inputs["text"].tolist() == ["é".encode(), b"b"]
        assert request.rows == 2
        assert request.instances == (2 if "instances" in content else None)


def test_several_inputs_are_named_in_each_row():
    rows = [{"a": "1", "b": "2"}, {"b": "4", "a": "3"}]
    for content in ({"instances": rows}, {"inputs": {"a": ["1", "3"], "b": ["2", "4"]}}):
        inputs = read({"signature_name": "pairs", **content}).inputs
        assert {name: values.tolist() for name, values in inputs.items()} == {
            "a": [b"1", b"3"],
            "b": [b"2", b"4"],
        }


def test_lists_of_strings_and_numbers_have_their_shape_and_type():
    row = {"question": "who?", "options": ["a", "b", "c"]}
    assert read({"signature_name": "choose", "instances": [row]}).inputs["options"].shape == (1, 3)
    ids = read({"signature_name": "ids", "instances": [[2, 3], [4, 5]]}).inputs["input_ids"]
    assert ids.dtype == np.int32 and ids.tolist() == [[2, 3], [4, 5]]
    assert read({"signature_name": "vectors", "inputs": [[1, 0.5]]}).inputs["x"].dtype == np.float32


def test_whole_numbers_keep_all_their_digits():
    numbers = [[1, 2**64 - 1], [2**63, 0]]
    found = read({"signature_name": "large", "instances": numbers}).inputs["x"]
    assert found.dtype == np.uint64 and found.tolist() == numbers
    for wrong in ([1.0, 2**63], [2**64, 1], [-1, 2**63]):
        with pytest.raises(RequestError, match="x must be numbers of uint64"):
            read({"signature_name": "large", "instances": [wrong]})


def test_numbers_may_be_larger_than_integers_of_numpy():
    found = read({"signature_name": "vectors", "inputs": [[10**20, 0.5]]}).inputs["x"]
    assert found.dtype == np.float32 and found.tolist() == [[float(np.float32(1e20)), 0.5]]


def nested(value, depth):
    return value if depth == 0 else [nested(value, depth - 1)]


def test_signatures_that_do_not_work_by_rows():
    for name, inputs, read_as in (
        ("number", 1.5, {"x": 1.5}),
        ("any", [["a", "b"]], {"x": [[b"a", b"b"]]}),
        ("any", "a", {"x": b"a"}),
        ("labels", {"text": ["t"], "labels": ["l", "m"]}, {"text": [b"t"], "labels": [b"l", b"m"]}),
        ("constant", {}, {}),
    ):
        request = read({"signature_name": name, "inputs": inputs})
        assert {n: values.tolist() for n, values in request.inputs.items()} == read_as
        assert request.rows is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "the body must be a JSON object"),
        (
            b"\xff",
            "the body must be a JSON object in UTF-8. Received: invalid start byte at byte 0",
        ),
        ('{"instances": ["a"]}'.encode("utf-16-le"), "the body must be a JSON object"),
        (b"[" * 100_000, "the body must be a JSON object"),
        (b'{"instances": ' + b"[" * 900 + b"]" * 900 + b"}", "nested too deeply"),
        (b'{"instances": [' + b"9" * 5000 + b"]}", "the body must be a JSON object"),
        ([], "the body must be a JSON object"),
        ({}, "exactly one of instances and inputs.* Received: none"),
        ({"instances": [], "inputs": []}, "exactly one of instances and inputs"),
        ({"instances": ["a"], "signature": "x"}, "exactly one of .* Received: 'instances', 'sign"),
        ({"instances": ["a"], "signature_name": "x"}, "must be one of any, choose, constant, fl"),
        ({"instances": ["a"], "signature_name": ["x"]}, "signature_name must be one of"),
        ({"instances": ["a"], "signature_name": "x" * 10**6}, "must be one of .{,200}$"),
        ({"instances": ["a"], "x" * 10**6: 1}, "Received: .{,200}$"),
        ({"instances": [["a" * 100] * 10**5]}, "text must be strings or .{,600}$"),
        ({"instances": "a"}, "instances must be a list of rows"),
        ({"instances": []}, "1 to 256 rows. Received: 0"),
        ({"instances": ["a"] * 257}, "1 to 256 rows. Received: 257"),
        ({"instances": [1]}, "text must be strings or"),
        ({"instances": [["a"]]}, "text must be strings or"),
        ({"instances": [{"texts": "a"}]}, "instance 0 must have the inputs text"),
        ({"instances": [{"b64": "?"}]}, "b64 must be base64"),
        ({"instances": ["a" * 2_000_000]}, "at most 1000000 bytes. Received: 2000000"),
        ({"inputs": "a"}, "text must be lists of strings, 1 deep"),
        ({"signature_name": "pairs", "instances": [{"a": "x"}]}, "instance 0 must have the inputs"),
        ({"signature_name": "pairs", "instances": ["x"]}, "instance 0 must have the inputs a, b"),
        ({"signature_name": "pairs", "inputs": {"a": ["x"]}}, "inputs must have the inputs a, b"),
        (
            {"signature_name": "pairs", "inputs": {"a": ["x"], "b": ["y", "z"]}},
            "all inputs must have as many rows",
        ),
        (
            {
                "signature_name": "choose",
                "inputs": {"question": ["x", "y"], "options": [["a"], ["b", "c"]]},
            },
            "options must be a full array",
        ),
        ({"signature_name": "ids", "instances": [[1, 2], [3]]}, "input_ids must be a full array"),
        ({"signature_name": "ids", "instances": [1]}, r"the shape \['any', 'any'\]. Received: \[1"),
        ({"signature_name": "ids", "instances": [[0.5]]}, "must be numbers of int32"),
        ({"signature_name": "ids", "instances": [["a"]]}, "must be numbers of int32"),
        ({"signature_name": "ids", "instances": [[True]]}, "must be numbers of int32"),
        ({"signature_name": "ids", "instances": [[True, 7]]}, "must be numbers of int32"),
        ({"signature_name": "vectors", "inputs": [[True, 0.5]]}, "must be numbers of float32"),
        ({"signature_name": "vectors", "inputs": [[10**400, 1]]}, "must be numbers of float32"),
        ({"signature_name": "vectors", "inputs": [[10**50, 1]]}, "x must be finite as float32"),
        ({"signature_name": "vectors", "inputs": [[None, 1]]}, "must be numbers of float32"),
        ({"signature_name": "any", "inputs": nested("a", 33)}, "at most 32 axes. Received: 33"),
        ({"signature_name": "ids", "instances": [[2**40]]}, "must lie in -2147483648..2147483647"),
        ({"signature_name": "ids", "instances": [[2**70]]}, "must be numbers of int32"),
        ({"signature_name": "vectors", "inputs": [[1.0, 1e39]]}, "x must be finite as float32"),
        ({"signature_name": "flags", "inputs": [True, 1]}, "on must be true or false"),
        ({"signature_name": "waves", "inputs": [1]}, "x is of type complex64, which a request"),
        ({"signature_name": "number", "instances": [1]}, r"x must have the shape \[\]"),
        ({"signature_name": "any", "inputs": [["a"], []]}, "x must be a full array"),
        ({"signature_name": "vectors", "instances": [[1.0]]}, r"\['any', 2\]. Received: \[1, 1\]"),
    ],
)
def test_what_is_wrong_is_said(content, message):
    with pytest.raises(RequestError, match=message):
        read(content)


def test_answers_stand_in_rows_or_columns():
    outputs = {
        "label": np.array([b"yes", b"\xff"], object),
        "score": np.array([0.5, 0.25], np.float32),
    }
    rows = json.loads(write_response(outputs, instances=2))["predictions"]
    assert rows[0] == {"label": "yes", "score": 0.5} and rows[1]["label"] == {"b64": "/w=="}
    columns = json.loads(write_response(outputs))["outputs"]
    assert columns["label"] == ["yes", {"b64": "/w=="}]
    alone = {"score": np.array([[1.0], [2.0]])}
    assert json.loads(write_response(alone, 2)) == {"predictions": [[1.0], [2.0]]}
    assert json.loads(write_response(alone)) == {"outputs": [[1.0], [2.0]]}


def test_outputs_named_bytes_are_base64():
    outputs = {"image_bytes": np.array([b"a"], object)}
    assert json.loads(write_response(outputs)) == {"outputs": [{"b64": "YQ=="}]}


def test_a_scalar_string_is_an_answer():
    assert json.loads(write_response({"text": b"ABC"})) == {"outputs": "ABC"}


def test_answers_that_cannot_be_told_are_refused():
    for outputs, message in (
        ({"sum": np.float32(3)}, r"ask with inputs. Received: 2 instances, .*'sum': \[\]"),
        ({"y": np.zeros((2, 1)), "unique": np.zeros(1)}, r"'unique': \[1\]"),
    ):
        assert json.loads(write_response(outputs))["outputs"]
        with pytest.raises(RequestError, match=message):
            write_response(outputs, instances=2)
    with pytest.raises(RequestError, match="z is of type complex64, which a response cannot"):
        write_response({"z": np.zeros(2, np.complex64)})


def test_numbers_that_json_has_no_word_for_are_no_fault_of_the_client():
    for value in (np.nan, -np.inf):
        outputs = {"a": np.array([b"x"], object), "score": np.array([value], np.float32)}
        with pytest.raises(ValueError, match="output score must be finite. Rec") as refused:
            write_response(outputs)
        assert not isinstance(refused.value, RequestError)
