"""KServe's open inference protocol (v2) over HTTP: requests to arrays, arrays to responses.

A tensor is its name, shape, datatype and values in row-major order. Which signature is asked is the
parameter `signature_name`. All tensors stand in the JSON: binary ones, and other extensions, are
refused by name.

Letters: B rows of a request.
"""

import base64
import dataclasses
import json
import math
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from albert_tf.json_files import JsonError, listed, parse_object, shorten
from albert_tf.serving.predict_protocol import (
    BYTES_SUFFIX,
    DEFAULT_SIGNATURE,
    PredictRequest,
    RequestError,
    SignatureDescription,
    TensorDescription,
    check_finite,
    check_inputs,
    check_shape,
    read_array,
    request_of_arrays,
)
from albert_tf.serving.saved_model_reader import as_json
from albert_tf.serving.settings import Limits

PLATFORM = "tensorflow_savedmodel"
SIGNATURE_PARAMETER = "signature_name"
# TensorFlow's names of types -> the protocol's. BF16 is Triton's.
DATATYPES = {
    "bool": "BOOL",
    "bfloat16": "BF16",
    **{f"float{bits}": f"FP{bits}" for bits in (16, 32, 64)},
    **{f"int{bits}": f"INT{bits}" for bits in (8, 16, 32, 64)},
    **{f"uint{bits}": f"UINT{bits}" for bits in (8, 16, 32, 64)},
    "string": "BYTES",
}
# Of a tensor in one direction: more is no request, and products of such numbers take minutes.
_LARGEST_SIZE = 2**31 - 1
# How bytes stand in JSON, as MLServer and its clients say it; "np" says nothing of it.
_CONTENT_TYPE, _CONTENT_TYPES = "content_type", ("str", "np", "base64")
# Triton's clients would rather have outputs behind the JSON, and read them in it as well.
_BINARY_OUTPUTS, _BINARY_OUTPUT = "binary_data_output", "binary_data"
_BASE64 = {_CONTENT_TYPE: "base64"}


@dataclasses.dataclass(frozen=True)
class AnswerForm:
    """What a client wants to get back: its `request_id`, None for none, and outputs by name."""

    request_id: str | None
    outputs: tuple[str, ...]


def choose_signature(signatures: Mapping[str, SignatureDescription], name: Any = None) -> str:
    """Returns the name of a signature; by default `serving_default`, or else the first by name.

    Raises:
        RequestError: if there is none of that name.
    """
    if name is None:
        return DEFAULT_SIGNATURE if DEFAULT_SIGNATURE in signatures else min(signatures)
    if not isinstance(name, str) or name not in signatures:
        raise RequestError(
            f"parameters: {SIGNATURE_PARAMETER} must be one of {', '.join(sorted(signatures))}. "
            f"Received: {shorten(name)}"
        )
    return name


def describe_model(
    model_name: str,
    version: int,
    signatures: Mapping[str, SignatureDescription],
    signature: str | None = None,
) -> dict[str, Any]:
    """Returns the metadata of a model, JSON types, with the tensors of one of its signatures.

    Raises:
        RequestError: if there is no such signature.
    """
    name = choose_signature(signatures, signature)
    return {
        "name": model_name,
        "versions": [str(version)],
        "platform": PLATFORM,
        "inputs": _describe(signatures[name].inputs),
        "outputs": _describe(signatures[name].outputs),
        "parameters": {SIGNATURE_PARAMETER: name, "signatures": ", ".join(sorted(signatures))},
    }


def _describe(tensors: Mapping[str, TensorDescription]) -> list[dict[str, Any]]:
    described = []
    for name, tensor in tensors.items():
        # The protocol has no word for any number of dimensions.
        shape = (None,) if tensor.shape is None else tensor.shape
        described.append(
            {
                "name": name,
                "datatype": DATATYPES.get(tensor.dtype, tensor.dtype.upper()),
                "shape": [-1 if size is None else size for size in shape],
            }
        )
    return described


def read_infer_request(
    body: bytes | str, signatures: Mapping[str, SignatureDescription], limits: Limits
) -> tuple[PredictRequest, AnswerForm]:
    """Reads the body of an `infer` request.

    Args:
        body: JSON, `{"inputs": [{"name", "shape", "datatype", "data"}, ...]}` and perhaps `id`,
            `parameters` and `outputs`.
        signatures: of the model, by name.
        limits: what a request may ask for.

    Returns:
        (what the model is asked, the form of the answer).

    Raises:
        RequestError: naming what is wrong.
    """
    try:
        content = parse_object(body)
    except JsonError as error:
        raise RequestError(f"the body {error}") from error
    _check_keys("the body", content, ["inputs"], ["id", "parameters", "outputs"])
    request_id = content.get("id")
    if not isinstance(request_id, str | None):
        raise RequestError(f"id must be a string. Received: {shorten(request_id)}")
    known = (SIGNATURE_PARAMETER, _BINARY_OUTPUTS, _CONTENT_TYPE)
    parameters = _read_parameters("the request", content, known)
    name = choose_signature(signatures, parameters.get(SIGNATURE_PARAMETER))
    signature = signatures[name]
    entries = _read_named("inputs", content["inputs"])
    check_inputs(entries, signature.inputs)
    content_type = parameters.get(_CONTENT_TYPE, "str")
    inputs = {
        n: _read_tensor(n, entries[n], tensor, limits, content_type)
        for n, tensor in signature.inputs.items()
    }
    form = AnswerForm(request_id, _read_outputs(content.get("outputs"), signature.outputs))
    return request_of_arrays(name, inputs, signatures, limits), form


def _read_named(place: str, entries: Any) -> dict[str, dict[str, Any]]:
    """Returns {name: tensor as it came} of a list of tensors."""
    named = {}
    if not isinstance(entries, list):
        raise RequestError(f"{place} must be a list of tensors. Received: {shorten(entries)}")
    for entry in entries:
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            raise RequestError(
                f"{place} must be objects with a name, a string. Received: {shorten(entry)}"
            )
        if entry["name"] in named:
            raise RequestError(
                f"{place} must have each name once. Received: {shorten(entry['name'])} twice"
            )
        named[entry["name"]] = entry
    return named


def _check_keys(
    place: str, content: Mapping[str, Any], needed: Collection[str], others: Collection[str]
) -> None:
    if not set(needed) <= content.keys() <= {*needed, *others}:
        raise RequestError(
            f"{place} must have {', '.join(needed)} and may have {', '.join(others)}. "
            f"Received: {listed(content)}"
        )


def _read_parameters(
    place: str, content: Mapping[str, Any], known: Collection[str]
) -> dict[str, Any]:
    """Returns the parameters of a request or tensor, all of which must be known here."""
    parameters = content.get("parameters")
    parameters = {} if parameters is None else parameters
    if not isinstance(parameters, dict):
        raise RequestError(
            f"{place}: parameters must be an object. Received: {shorten(parameters)}"
        )
    # What clients say who do without an extension.
    parameters = {
        name: value
        for name, value in parameters.items()
        if value is not None and value is not False
    }
    unknown = sorted(set(parameters) - set(known))
    if unknown:
        raise RequestError(
            f"{place}: parameters must be among {', '.join(known)}; tensors come and go as JSON. "
            f"Received: {listed(unknown)}"
        )
    return parameters


def _read_content_type(name: str, entry: Mapping[str, Any], default: Any) -> str:
    content_type = _read_parameters(name, entry, (_CONTENT_TYPE,)).get(_CONTENT_TYPE, default)
    if content_type not in _CONTENT_TYPES:
        raise RequestError(
            f"{name}: content_type must be one of {', '.join(_CONTENT_TYPES)}. "
            f"Received: {shorten(content_type)}"
        )
    return content_type


def _read_tensor(
    name: str,
    entry: Mapping[str, Any],
    tensor: TensorDescription,
    limits: Limits,
    content_type: Any,
) -> np.ndarray:
    _check_keys(name, entry, ["name", "shape", "datatype", "data"], ["parameters"])
    expected = DATATYPES.get(tensor.dtype)
    if expected is None:
        raise RequestError(f"{name} is of type {tensor.dtype}, which a request cannot hold")
    if entry["datatype"] != expected:
        raise RequestError(
            f"{name}: datatype must be {expected}. Received: {shorten(entry['datatype'])}"
        )
    shape = entry["shape"]
    if not isinstance(shape, list) or not all(map(_is_size, shape)):
        raise RequestError(
            f"{name}: shape must be a list of whole numbers from 0 to {_LARGEST_SIZE}. "
            f"Received: {shorten(shape)}"
        )
    rows = shape
    if expected == "BYTES" and tensor.shape == (None,) and shape[1:] == [1]:
        rows = shape[:1]  # MLServer's clients send texts one in a row
    check_shape(name, rows, tensor)
    values = _flatten(name, entry["data"], shape)
    content_type = _read_content_type(name, entry, content_type)
    if expected == "BYTES":
        if not all(isinstance(value, str) for value in values):
            raise RequestError(f"{name}: data must be strings. Received: {shorten(values)}")
        if content_type == "base64":
            values = [{"b64": value} for value in values]
    flat = read_array(name, values, dataclasses.replace(tensor, shape=(None,)), limits)
    return flat.reshape(rows)


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _LARGEST_SIZE


def _flatten(name: str, data: Any, shape: list[int]) -> list[Any]:
    """Returns the values of a tensor in row-major order; they may be nested as the shape is."""
    if not isinstance(data, list):
        raise RequestError(f"{name}: data must be a list. Received: {shorten(data)}")
    values, depth = data, 1
    while values and isinstance(values[0], list):
        if (
            depth >= len(shape)
            or len(values) != math.prod(shape[:depth])
            or not all(isinstance(one, list) and len(one) == shape[depth] for one in values)
        ):
            break
        values, depth = [value for one in values for value in one], depth + 1
    is_nested = bool(values) and isinstance(values[0], list)
    if is_nested or depth not in (1, len(shape)) or len(values) != math.prod(shape):
        raise RequestError(
            f"{name}: data must be the {math.prod(shape)} values of the shape {shorten(shape)}, "
            "row by row in one list, or in lists of that shape. Received: "
            f"{'other lists' if is_nested or depth > 1 else len(values)}"
        )
    return values


def _read_outputs(entries: Any, outputs: Collection[str]) -> tuple[str, ...]:
    """Returns the names of the outputs that are wanted; all where none is named."""
    named = _read_named("outputs", [] if entries is None else entries)
    for name, entry in named.items():
        if name not in outputs:
            raise RequestError(
                f"outputs must be among {', '.join(sorted(outputs))}. Received: {shorten(name)}"
            )
        _check_keys(name, entry, ["name"], ["parameters"])
        _read_parameters(name, entry, (_BINARY_OUTPUT,))
    return tuple(named or outputs)


def write_infer_response(
    outputs: Mapping[str, np.ndarray], form: AnswerForm, model_name: str, version: int
) -> bytes:
    """Returns the body of a response, bytes of JSON.

    Args:
        outputs: of the model, {name: array}.
        form: what the client wants of them.
        model_name: of the model that is served.
        version: its number.

    Raises:
        RequestError: if an output cannot be told.
        ValueError: if one is not finite.
    """
    content = {"model_name": model_name, "model_version": str(version)}
    if form.request_id is not None:
        content["id"] = form.request_id
    check_finite({name: outputs[name] for name in form.outputs})
    content["outputs"] = [write_tensor(name, outputs[name]) for name in form.outputs]
    return json.dumps(content, ensure_ascii=False).encode("utf-8", "replace")


def write_tensor(name: str, values: np.ndarray | bytes) -> dict[str, Any]:
    """Returns a tensor in the form of the protocol, JSON types.

    Raises:
        RequestError: if there is no datatype for it.
    """
    # A scalar string of TensorFlow is bytes, from which NumPy would cut zeros at the end.
    array = np.array(values, object) if isinstance(values, bytes) else np.asarray(values)
    datatype = DATATYPES.get("string" if array.dtype == object else array.dtype.name)
    if datatype is None:
        raise RequestError(f"{name} is of type {array.dtype}, which a response cannot hold")
    tensor = {"name": name, "shape": list(array.shape), "datatype": datatype}
    flat = array.reshape(-1).tolist()
    if datatype == "BYTES":
        texts = as_json(flat, always_base64=name.endswith(BYTES_SUFFIX))
        if any(isinstance(text, dict) for text in texts):
            texts = [base64.b64encode(value).decode("ascii") for value in flat]
            tensor["parameters"] = _BASE64
        flat = texts
    return {**tensor, "data": flat}
