"""Asks a SavedModel questions in a process that has TensorFlow and tensorflow-text alone.

    python saved_model_reader.py exported/1 requests.json answers.json

Nothing of albert_tf is imported here: what this reads, any server reads. requests.json holds a list
of {"signature": name, "inputs": {name: nested lists}}, answers.json gets a list of {name: nested
lists}. Strings are text; bytes that are no UTF-8 are {"b64": "..."}.
"""

import base64
import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf
import tensorflow_text  # noqa: F401 - brings the tokenizer's ops


def ask(path: str, requests: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Returns the answers of the SavedModel in a folder."""
    model = tf.saved_model.load(path)
    answers = []
    for request in requests:
        signature = model.signatures[request["signature"]]
        specs = signature.structured_input_signature[1]
        inputs = {
            name: tf.constant(_with_bytes(values), specs[name].dtype)
            for name, values in request["inputs"].items()
        }
        answers.append(
            {name: as_json(value.numpy().tolist()) for name, value in signature(**inputs).items()}
        )
    return answers


def _with_bytes(values: Any) -> Any:
    if isinstance(values, list):
        return [_with_bytes(value) for value in values]
    if isinstance(values, dict):
        return base64.b64decode(values["b64"])
    return values


def as_json(values: Any, always_base64: bool = False) -> Any:
    """Returns nested lists with bytes as JSON has them: as text, or in base64 what is none."""
    if isinstance(values, list):
        return [as_json(value, always_base64) for value in values]
    if not isinstance(values, bytes):
        return values
    try:
        if not always_base64:
            return values.decode("utf-8")
    except UnicodeDecodeError:
        pass
    return {"b64": base64.b64encode(values).decode("ascii")}


def main(path: str, request_file: str, answer_file: str) -> None:
    """Reads the requests, asks, writes the answers."""
    with open(request_file, encoding="utf-8") as file:
        requests = json.load(file)
    answers = ask(path, requests)
    with open(answer_file, "w", encoding="utf-8") as file:
        json.dump(answers, file, ensure_ascii=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
