"""The sheet that goes with an export: what can be asked, with a request and its answer.

In `signatures.json` for programs, in `signatures.md` for people, and the requests once more in the
file that TensorFlow Serving warms a model up with.
"""

import json
import os
import pathlib
from typing import Any

import tensorflow as tf
from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory

from albert_tf.exporting.signatures import LoadedModel, Signature
from albert_tf.serving import saved_model_reader

WARM_UP_FILE = "assets.extra/tf_serving_warmup_requests"
# In the readable sheet: values of a list, digits of a number.
_SHOWN_VALUES, _SHOWN_DIGITS = 6, 4


def describe(
    loaded: LoadedModel,
    signatures: dict[str, Signature],
    output_specs: dict[str, dict[str, tf.TensorSpec]],
    answers: dict[str, dict[str, Any]],
    quality: dict[str, Any] | None = None,
    files: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Returns the content of `signatures.json`, JSON types.

    Args:
        loaded: what was exported.
        signatures: by name, the one that is served by default first.
        output_specs: by the names of signatures and outputs.
        answers: {name: {output: nested lists}}, to each signature's example.
        quality: what was measured on a real task.
        files: what was written beside the SavedModel, see `portable_files.write_and_check`.
    """
    model = loaded.in_process.model
    facts = {
        "kind": loaded.kind,
        "precision": loaded.settings.precision,
        "parameters": int(model.count_params()),
        "max_seq_length": loaded.signatures.notes.max_seq_length,
        "labels": list(model.labels or ()),
        "serving_default": next(iter(signatures)),
        "tensorflow": tf.__version__,
    }
    if quality:
        facts["quality"] = quality
    return {
        "model": facts,
        "files": files or [],
        "signatures": {
            name: {
                "meaning": signature.meaning,
                "inputs": _describe_specs(signature.inputs),
                "outputs": _describe_specs(output_specs[name]),
                "request": {
                    "signature_name": name,
                    "inputs": {
                        n: saved_model_reader.as_json(values)
                        for n, values in signature.example.items()
                    },
                },
                "response": {"outputs": answers[name]},
            }
            for name, signature in signatures.items()
        },
    }


def _describe_specs(specs: dict[str, tf.TensorSpec]) -> dict[str, dict[str, Any]]:
    return {
        name: {"dtype": spec.dtype.name, "shape": spec.shape.as_list()}
        for name, spec in specs.items()
    }


def as_markdown(sheet: dict[str, Any]) -> str:
    """Returns the sheet for people."""
    model = sheet["model"]
    lines = [f"# {model['kind']}, {model['precision']}", ""]
    lines += [f"* {name}: {_shorten(value)}" for name, value in model.items() if value != []]
    lines += [f"* {file['file']}: {file}" for file in sheet["files"]]
    for name, signature in sheet["signatures"].items():
        lines += ["", f"## {name}", "", signature["meaning"], ""]
        lines += ["| | | type | shape |", "|---|---|---|---|"]
        for side in ("inputs", "outputs"):
            for tensor, spec in signature[side].items():
                shape = ", ".join("any" if size is None else str(size) for size in spec["shape"])
                lines.append(f"| {side[:-1]} | `{tensor}` | {spec['dtype']} | {shape} |")
        request = json.dumps(signature["request"], ensure_ascii=False)
        response = json.dumps(_shorten(signature["response"]), ensure_ascii=False)
        lines += ["", "Request and response:", "", "```json", request, response, "```"]
    return "\n".join(lines) + "\n"


def _shorten(values: Any) -> Any:
    if isinstance(values, dict):
        return {name: _shorten(value) for name, value in values.items()}
    if isinstance(values, list):
        rest = ["..."] if len(values) > _SHOWN_VALUES else []
        return [_shorten(value) for value in values[:_SHOWN_VALUES]] + rest
    return round(values, _SHOWN_DIGITS) if isinstance(values, float) else values


# The requests that TensorFlow Serving warms up with: `PredictionLog`s. The messages are those of
# its API, of which only these fields are needed; its package would bring all of it.

_MESSAGES = {
    "ModelSpec": (("name", 1, "string"), ("signature_name", 3, "string")),
    "PredictRequest": (("model_spec", 1, "ModelSpec"), ("inputs", 2, "Input*")),
    "Input": (("key", 1, "string"), ("value", 2, "bytes")),
    "PredictLog": (("request", 1, "PredictRequest"),),
    "PredictionLog": (("predict_log", 6, "PredictLog"),),
}


def write_warm_up(folder: str | os.PathLike, signatures: dict[str, Signature]) -> None:
    """Writes each signature's example as a warm-up request.

    Args:
        folder: of the SavedModel.
        signatures: by name.
    """
    log_class = _message_class("PredictionLog")
    path = pathlib.Path(folder) / WARM_UP_FILE
    path.parent.mkdir()
    with tf.io.TFRecordWriter(str(path)) as writer:
        for name, signature in signatures.items():
            log = log_class()
            request = log.predict_log.request
            request.model_spec.signature_name = name
            for tensor, spec in signature.inputs.items():
                value = tf.make_tensor_proto(signature.example[tensor], spec.dtype)
                request.inputs.add(key=tensor, value=value.SerializeToString())
            writer.write(log.SerializeToString(deterministic=True))


def _message_class(name: str) -> type[message.Message]:
    """Returns the class of one of `_MESSAGES`.

    A map field has the bytes of a list of (key, value) messages, and a message those of a string of
    bytes, so TensorFlow's own messages need not be described again.
    """
    file = descriptor_pb2.FileDescriptorProto(name="warm_up.proto", package="warm_up")
    field_class = descriptor_pb2.FieldDescriptorProto
    for message_name, fields in _MESSAGES.items():
        descriptor = file.message_type.add(name=message_name)
        for field_name, number, kind in fields:
            field = descriptor.field.add(name=field_name, number=number)
            field.label = (
                field_class.LABEL_REPEATED if kind.endswith("*") else field_class.LABEL_OPTIONAL
            )
            kind = kind.removesuffix("*")
            if kind in _MESSAGES:
                field.type, field.type_name = field_class.TYPE_MESSAGE, f".warm_up.{kind}"
            else:
                field.type = getattr(field_class, f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"warm_up.{name}"))
