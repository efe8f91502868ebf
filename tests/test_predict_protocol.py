"""Bodies of the REST interface become arrays, or a sentence that says what is wrong."""

import json

import numpy as np
import pytest

from albert_tf.predict_protocol import (
    Limits,
    RequestError,
    TensorDescription,
    read_request,
    write_response,
)

STRINGS = TensorDescription("object", (None,))
SIGNATURES = {
    "serving_default": {"text": STRINGS},
    "pairs": {"a": STRINGS, "b": STRINGS},
    "choose": {"question": STRINGS, "options": TensorDescription("object", (None, None))},
    "ids": {"input_ids": TensorDescription("int32", (None, None))},
    "vectors": {"x": TensorDescription("float32", (None, 2))},
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
        assert request.in_rows == ("instances" in content)


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


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "the body must be JSON"),
        (b"\xff", "the body must be JSON"),
        (b"[" * 100_000, "the body must be JSON"),
        ([], "the body must be a JSON object"),
        ({}, "exactly one of instances and inputs.* Received: nothing"),
        ({"instances": [], "inputs": []}, "exactly one of instances and inputs"),
        ({"instances": ["a"], "signature": "x"}, "exactly one of .* Received: 'instances', 'sign"),
        ({"instances": ["a"], "signature_name": "x"}, "must be one of choose, ids, pairs, serv"),
        ({"instances": ["a"], "signature_name": ["x"]}, "signature_name must be one of"),
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
        ({"signature_name": "ids", "instances": [[2**40]]}, "must lie in -2147483648..2147483647"),
        ({"signature_name": "ids", "instances": [[2**70]]}, "must be numbers of int32"),
        ({"signature_name": "vectors", "instances": [[1.0]]}, r"\['any', 2\]. Received: \[1, 1\]"),
    ],
)
def test_what_is_wrong_is_said(content, message):
    with pytest.raises(RequestError, match=message):
        read(content)


def test_answers_stand_in_rows_or_columns():
    outputs = {
        "label": np.array([b"yes", b"\xff"], object),
        "score": np.array([0.5, np.nan], np.float32),
    }
    rows = json.loads(write_response(outputs, in_rows=True))["predictions"]
    assert rows[0] == {"label": "yes", "score": 0.5} and rows[1]["label"] == {"b64": "/w=="}
    assert np.isnan(rows[1]["score"])
    columns = json.loads(write_response(outputs, in_rows=False))["outputs"]
    assert columns["label"] == ["yes", {"b64": "/w=="}]
    alone = {"score": np.array([[1.0], [2.0]])}
    assert json.loads(write_response(alone, True)) == {"predictions": [[1.0], [2.0]]}
    assert json.loads(write_response(alone, False)) == {"outputs": [[1.0], [2.0]]}
