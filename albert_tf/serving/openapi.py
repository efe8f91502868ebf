"""What a server answers, in OpenAPI 3.1: its addresses, the inputs of its model, and examples.

The examples are those of the version's `signatures.json`, which the version was warmed up with, so
they work. Nothing here asks the model.
"""

import dataclasses
import importlib.resources
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from albert_tf import __version__
from albert_tf.serving.embeddings_protocol import UnknownModelError, find_signature
from albert_tf.serving.infer_protocol import (
    DATATYPES,
    SIGNATURE_PARAMETER,
    choose_signature,
    write_tensor,
)
from albert_tf.serving.predict_protocol import (
    DEFAULT_SIGNATURE,
    RequestError,
    SignatureDescription,
    TensorDescription,
    read_request,
)
from albert_tf.serving.saved_model_reader import as_json
from albert_tf.serving.settings import Limits, ServerSettings

Schema = dict[str, Any]
_TEXT = {"type": "string"}
_BYTES = {
    "type": "object",
    "properties": {"b64": {"type": "string", "contentEncoding": "base64"}},
    "required": ["b64"],
    "additionalProperties": False,
}
_VERSION_PARAMETER = {
    "name": "version",
    "in": "path",
    "required": True,
    "schema": {"type": "integer", "minimum": 0},
}
# Tags, as the pages show them.
_OF_TENSORFLOW, _OF_OPENAI = "TensorFlow Serving", "OpenAI"
_OF_KSERVE, _OF_SERVER = "KServe v2", "This server"


@dataclasses.dataclass(frozen=True)
class _Model:
    """What is served: `examples` are {signature: (its meaning, a request)}."""

    name: str
    signatures: Mapping[str, SignatureDescription]
    examples: Mapping[str, tuple[str, dict[str, Any]]]


def describe_server(
    version: int,
    signatures: Mapping[str, SignatureDescription],
    sheet: Mapping[str, Any],
    settings: ServerSettings,
    asks_for_key: bool,
) -> dict[str, Any]:
    """Returns an OpenAPI document, JSON types.

    Args:
        version: that is served.
        signatures: of the model, by name.
        sheet: content of the version's `signatures.json`, or {}.
        settings: of the server.
        asks_for_key: whether clients must send a key.
    """
    examples = {
        name: (str(entry.get("meaning", "")), entry["request"])
        for name, entry in sheet.get("signatures", {}).items()
        if name in signatures
    }
    model = _Model(settings.model_name, signatures, examples)
    paths = {
        **_describe_predict(model),
        **_describe_embeddings(model),
        **_describe_infer(model),
        **_describe_rest(model.name),
    }
    schemas = importlib.resources.files("albert_tf.serving").joinpath("openapi_schemas.json")
    components = {"schemas": json.loads(schemas.read_text(encoding="utf-8"))}
    document = {
        "openapi": "3.1.0",
        "info": {
            "title": f"The model {settings.model_name}",
            "version": __version__,
            "description": f"Version {version} of {settings.model_name} answers.",
        },
        "tags": [{"name": tag} for tag in (_OF_TENSORFLOW, _OF_OPENAI, _OF_KSERVE, _OF_SERVER)],
        "paths": paths,
        "components": components,
    }
    if asks_for_key:
        components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"key": []}]
    return document


def _operation(
    tag: str,
    summary: str,
    answer: Schema | str,
    body: Schema | None = None,
    examples: Mapping[str, Any] | None = None,
    is_open: bool = False,
) -> dict[str, Any]:
    """Returns an operation; `answer` is the schema of JSON, or another type of content."""
    content = {answer: {}} if isinstance(answer, str) else {"application/json": {"schema": answer}}
    error = "OpenAIError" if tag == _OF_OPENAI else "Error"
    error = {"application/json": {"schema": {"$ref": f"#/components/schemas/{error}"}}}
    operation = {
        "tags": [tag],
        "summary": summary,
        "responses": {
            "200": {"description": "The answer.", "content": content},
            "default": {"description": "One sentence that says what is wrong.", "content": error},
        },
    }
    if body is not None:
        media = {"schema": body, **({"examples": examples} if examples else {})}
        operation["requestBody"] = {"required": True, "content": {"application/json": media}}
    if is_open:
        operation["security"] = []
    return operation


def _with_version(path: str, end: str, method: str, operation: dict[str, Any]) -> dict[str, Any]:
    """Returns the addresses of an operation without a version and with one."""
    return {
        f"{path}{end}": {method: operation},
        f"{path}/versions/{{version}}{end}": {
            "parameters": [_VERSION_PARAMETER],
            method: operation,
        },
    }


# TensorFlow Serving.


def _describe_predict(model: _Model) -> dict[str, Any]:
    path, signatures = f"/v1/models/{model.name}", sorted(model.signatures.items())
    body = {"anyOf": [_predict_body(name, signature) for name, signature in signatures]}
    answer = {"anyOf": [_predict_answer(name, signature) for name, signature in signatures]}
    shown = {
        name: {"summary": meaning, "value": request}
        for name, (meaning, request) in model.examples.items()
    }
    ask = _operation(_OF_TENSORFLOW, "Ask the model.", answer, body, shown)
    tell_status = _operation(_OF_TENSORFLOW, "The states of its versions.", {"type": "object"})
    tell_metadata = _operation(_OF_TENSORFLOW, "Its signatures.", {"type": "object"})
    return {
        **_with_version(path, ":predict", "post", ask),
        **_with_version(path, "", "get", tell_status),
        **_with_version(path, "/metadata", "get", tell_metadata),
    }


def _predict_body(name: str, signature: SignatureDescription) -> Schema:
    forms = {"inputs": _columns(signature.inputs)}
    if signature.works_by_rows:
        forms["instances"] = {"type": "array", "minItems": 1, "items": _row(signature.inputs)}
    return {
        "title": name,
        "type": "object",
        "properties": {"signature_name": {"const": name}, **forms},
        "required": [] if name == DEFAULT_SIGNATURE else ["signature_name"],
        "oneOf": [{"required": [form]} for form in forms],
        "additionalProperties": False,
    }


def _predict_answer(name: str, signature: SignatureDescription) -> Schema:
    forms = {"outputs": _columns(signature.outputs)}
    if signature.works_by_rows:
        forms["predictions"] = {"type": "array", "items": _row(signature.outputs)}
    return {
        "title": name,
        "type": "object",
        "properties": forms,
        "oneOf": [{"required": [form]} for form in forms],
    }


def _columns(tensors: Mapping[str, TensorDescription]) -> Schema:
    """Returns the schema of {name: array}, or of the array of a tensor that stands alone."""
    return _named({name: _array(tensor, tensor.shape) for name, tensor in tensors.items()})


def _row(tensors: Mapping[str, TensorDescription]) -> Schema:
    return _named({name: _array(tensor, tensor.shape[1:]) for name, tensor in tensors.items()})


def _named(properties: Mapping[str, Schema]) -> Schema:
    names = {
        "type": "object",
        "properties": dict(properties),
        "required": sorted(properties),
        "additionalProperties": False,
    }
    return {"anyOf": [*properties.values(), names]} if len(properties) == 1 else names


def _array(tensor: TensorDescription, shape: tuple[int | None, ...] | None) -> Schema:
    """Returns the schema of lists of lists of a tensor's values."""
    if shape is None:
        return {}
    schema = _value(tensor.dtype)
    for size in reversed(shape):
        sizes = {} if size is None else {"minItems": size, "maxItems": size}
        schema = {"type": "array", "items": schema, **sizes}
    return schema


def _value(dtype: str) -> Schema:
    if dtype == "string":
        return {"anyOf": [_TEXT, _BYTES]}
    if dtype == "bool":
        return {"type": "boolean"}
    if dtype.startswith(("int", "uint")) and dtype in DATATYPES:
        limits = np.iinfo(dtype)
        return {"type": "integer", "minimum": int(limits.min), "maximum": int(limits.max)}
    return {"type": "number"} if dtype in DATATYPES else {}


def _read_example(name: str, model: _Model) -> dict[str, np.ndarray]:
    return read_request(json.dumps(model.examples[name][1]), model.signatures, Limits()).inputs


# OpenAI.


def _describe_embeddings(model: _Model) -> dict[str, Any]:
    """Returns its address, or none where the model makes no vectors."""
    try:
        name = find_signature(model.signatures)
    except UnknownModelError:
        return {}
    size = model.signatures[name].outputs["embedding"].shape[-1]
    body = {
        "type": "object",
        "properties": {
            "input": {"anyOf": [_TEXT, {"type": "array", "items": _TEXT, "minItems": 1}]},
            "model": {"const": model.name},
            "encoding_format": {"enum": ["float", "base64", None]},
            "dimensions": {"enum": [size, None]},
            "user": {},
        },
        "required": ["input"],
        "additionalProperties": False,
    }
    texts = ["A cat sat.", "Prices rose."]
    if name in model.examples:
        (array,) = _read_example(name, model).values()
        texts = as_json(array.tolist())
    shown = {name: {"value": {"model": model.name, "input": texts}}}
    answer = {"$ref": "#/components/schemas/Embeddings"}
    ask = _operation(_OF_OPENAI, "Vectors of texts.", answer, body, shown)
    return {"/v1/embeddings": {"post": ask}}


# KServe.


def _describe_infer(model: _Model) -> dict[str, Any]:
    path, signatures = f"/v2/models/{model.name}", model.signatures
    body = {"anyOf": [_infer_body(name, signatures) for name in sorted(signatures)]}
    shown = {}
    for name, (meaning, _) in model.examples.items():
        try:
            tensors = [write_tensor(*item) for item in _read_example(name, model).items()]
        except RequestError:  # of a type that KServe's protocol has no name for
            continue
        value = {"id": "1", "parameters": {SIGNATURE_PARAMETER: name}, "inputs": tensors}
        shown[name] = {"summary": meaning, "value": value}
    answer = {"$ref": "#/components/schemas/InferResponse"}
    ask = _operation(_OF_KSERVE, "Ask the model.", answer, body, shown)
    facts = {"type": "object"}
    tell_model = _operation(_OF_KSERVE, "Its inputs and outputs.", facts)
    tell_model["parameters"] = [
        {
            "name": SIGNATURE_PARAMETER,
            "in": "query",
            "description": "Whose they are.",
            "schema": {"enum": sorted(signatures), "default": choose_signature(signatures)},
        }
    ]
    tell_ready = _operation(_OF_KSERVE, "Whether the model answers.", facts, is_open=True)
    return {
        **_with_version(path, "/infer", "post", ask),
        **_with_version(path, "", "get", tell_model),
        **_with_version(path, "/ready", "get", tell_ready),
        "/v2": {"get": _operation(_OF_KSERVE, "The server.", facts)},
        "/v2/health/live": {"get": _operation(_OF_KSERVE, "Whether it runs.", facts, is_open=True)},
        "/v2/health/ready": {
            "get": _operation(_OF_KSERVE, "Whether it answers.", facts, is_open=True)
        },
    }


def _infer_body(name: str, signatures: Mapping[str, SignatureDescription]) -> Schema:
    signature = signatures[name]
    is_default = name == choose_signature(signatures)
    inputs = [
        {
            "$ref": "#/components/schemas/Tensor",
            "properties": {
                "name": {"const": tensor_name},
                "datatype": {"const": DATATYPES.get(tensor.dtype, tensor.dtype)},
            },
        }
        for tensor_name, tensor in signature.inputs.items()
    ]
    count = {"minItems": len(inputs), "maxItems": len(inputs)}
    outputs = {"type": "object", "properties": {"name": {"enum": sorted(signature.outputs)}}}
    return {
        "title": name,
        "type": "object",
        "properties": {
            "id": _TEXT,
            "parameters": {
                "type": "object",
                "properties": {SIGNATURE_PARAMETER: {"const": name}},
                "required": [] if is_default else [SIGNATURE_PARAMETER],
            },
            "inputs": {
                "type": "array",
                **({"items": {"anyOf": inputs}} if inputs else {}),
                **count,
            },
            "outputs": {"type": "array", "items": outputs},
        },
        "required": ["inputs"] if is_default else ["inputs", "parameters"],
        "additionalProperties": False,
    }


# What is no protocol of a model.


def _describe_rest(model_name: str) -> dict[str, Any]:
    operations = {
        f"/v1/models/{model_name}/sheet": ("The version's signatures.json.", {}, False),
        "/healthz": ("Whether it runs.", "text/plain", True),
        "/readyz": ("Whether it answers.", "text/plain", True),
        "/metrics": ("What it counted, for Prometheus.", "text/plain", False),
        "/openapi.json": ("This document.", {"type": "object"}, False),
        "/": ("A page to ask the model on.", "text/html", True),
        "/docs": ("A page that shows this document.", "text/html", True),
    }
    return {
        path: {"get": _operation(_OF_SERVER, summary, answer, is_open=is_open)}
        for path, (summary, answer, is_open) in operations.items()
    }
