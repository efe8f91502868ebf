"""The OpenAPI document is one, and says of each address and input what is so."""

import re

import jsonschema
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from test_model_server import ask, serve, write_foreign_version, write_version

from albert_tf.serving.openapi import describe_server
from albert_tf.serving.predict_protocol import SignatureDescription, TensorDescription
from albert_tf.serving.settings import ServerSettings

TEXTS = TensorDescription("string", (None,))
VECTORS = {"embedding": TensorDescription("float32", (None, 3))}
SHEET = {
    "signatures": {
        "serving_default": {"meaning": "Lengths.", "request": {"inputs": {"text": ["é", "b"]}}},
        "total": {
            "meaning": "Sums.",
            "request": {"signature_name": "total", "inputs": {"input_ids": [[1, 2], [3, 4]]}},
        },
    }
}
SETTINGS = ServerSettings(model_name="m")


def validate(document):
    OpenAPIV31SpecValidator(document).validate()


def check(value, content, document):
    """Checks JSON against its schema, which may point to those of the document."""
    schema = {**content["application/json"]["schema"], "components": document["components"]}
    jsonschema.Draft202012Validator(schema).validate(value)


def test_examples_and_answers_fit_the_schemas(tmp_path):
    write_version(tmp_path, 1, sheet=SHEET)
    with serve(tmp_path) as client:
        document = client.get("/openapi.json").json()
        validate(document)
        assert document["openapi"] == "3.1.0" and "security" not in document
        asked = 0
        for path, methods in document["paths"].items():
            path = path.replace("{version}", "1")
            if "get" in methods:
                assert client.get(path).status_code == 200, path
            for example in examples_of(methods):
                operation = methods["post"]
                check(example["value"], operation["requestBody"]["content"], document)
                answer = ask(client, example["value"], path)
                assert answer.status_code == 200, (path, answer.text)
                check(answer.json(), operation["responses"]["200"]["content"], document)
                wrong = ask(client, {}, path)
                assert wrong.status_code == 400
                check(wrong.json(), operation["responses"]["default"]["content"], document)
                with pytest.raises(jsonschema.ValidationError):
                    check({}, operation["requestBody"]["content"], document)
                asked += 1
    assert asked == 8 and "/v1/embeddings" not in document["paths"]


def examples_of(methods):
    if "post" not in methods:
        return []
    content = methods["post"]["requestBody"]["content"]["application/json"]
    return content["examples"].values()


def test_every_address_is_described(tmp_path):
    write_version(tmp_path, 1)
    with serve(tmp_path) as client:
        document = client.get("/openapi.json").json()
        app = client.app
    described = {
        (method.upper(), path)
        for path, methods in document["paths"].items()
        for method in methods.keys() - {"parameters"}
    }
    routes = {
        (method, re.sub(r"{version:version}", "{version}", route.path))
        for route in app.routes
        for method in route.methods - {"HEAD"}
    }
    # A model that makes no vectors has no such address to tell of.
    assert described == routes - {("POST", "/v1/embeddings")}


@pytest.mark.slow
def test_models_of_any_kind_are_described(tmp_path):
    write_foreign_version(tmp_path)
    with serve(tmp_path) as client:
        document = client.get("/openapi.json").json()
    validate(document)
    bodies = predict_bodies(document)
    assert bodies["constant"]["oneOf"] == [{"required": ["inputs"]}]
    (alone, named) = bodies["scalar"]["properties"]["inputs"]["anyOf"]
    assert alone == {"type": "number"} and named["properties"] == {"x": alone}
    assert bodies["any"]["properties"]["inputs"]["anyOf"][0] == {}


def predict_bodies(document):
    operation = document["paths"]["/v1/models/m:predict"]["post"]
    schemas = operation["requestBody"]["content"]["application/json"]["schema"]["anyOf"]
    return {schema["title"]: schema for schema in schemas}


def test_embeddings_and_keys_are_described_where_there_are_any():
    signatures = {
        "embed": SignatureDescription({"text": TEXTS}, VECTORS),
        "waves": SignatureDescription({"x": TensorDescription("complex64", (None,))}, VECTORS),
    }
    request = {"signature_name": "embed", "instances": ["a"]}
    sheet = {"signatures": {"embed": {"request": request}, "gone": {}}}
    document = describe_server(3, signatures, sheet, SETTINGS, asks_for_key=True)
    validate(document)
    (example,) = examples_of(document["paths"]["/v1/embeddings"])
    assert example["value"] == {"model": "m", "input": ["a"]}
    assert document["security"] == [{"key": []}]
    open_paths = {
        path
        for path, methods in document["paths"].items()
        if methods.get("get", {}).get("security") == []
    }
    assert open_paths == {
        *("/", "/docs", "/healthz", "/readyz", "/v2/health/live", "/v2/health/ready"),
        *("/v2/models/m/ready", "/v2/models/m/versions/{version}/ready"),
    }


@pytest.mark.parametrize(
    ("shape", "dtype", "schema"),
    [
        (
            (None, 2),
            "int8",
            {
                "type": "array",
                "items": {"type": "integer", "minimum": -128, "maximum": 127},
                "minItems": 2,
                "maxItems": 2,
            },
        ),
        ((None,), "bool", {"type": "boolean"}),
        ((None, None), "float32", {"type": "array", "items": {"type": "number"}}),
    ],
)
def test_a_row_has_the_shape_of_its_tensor(shape, dtype, schema):
    signature = SignatureDescription({"x": TensorDescription(dtype, shape)}, VECTORS)
    document = describe_server(1, {"s": signature}, {}, SETTINGS, asks_for_key=False)
    rows = predict_bodies(document)["s"]["properties"]["instances"]
    assert rows["items"]["anyOf"][0] == schema
