"""Is a SavedModel the model that was trained? Asked in a process that knows nothing of us.

Fixed and random texts go through the SavedModel in a new process and through the in-process API of
the same model here; what differs by more than rounding stops the export.
"""

import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from albert_tf import failures
from albert_tf.exporting.signatures import LoadedModel, Signature
from albert_tf.inference.features import Features
from albert_tf.serving import saved_model_reader

# What a SavedModel says through JSON: nested lists by the names of its outputs.
Answer = dict[str, Any]

# Largest difference of a number from that of this process, relative to the largest of its kind, and
# part of the answers in words that may differ, as where two classes are as likely.
TOLERANCES = {"float32": (1e-4, 0.02), "int8": (1e-4, 0.02), "bfloat16": (5e-2, 0.2)}

FIXED_TEXTS = (
    "",
    " \t\n",
    "A cat sat on the [MASK].[SEP]",
    "Sold for 1,250,000 in 1999, then 2,000.",
    "Ça alors, ÇA, ﬁne Ⅷ ½ ㎏ 日本語 한국어",
    "👩\u200d👩\u200d👧 \U0001f600 e\u0301 \u0301 \ufeff \x00 \u2028",
    "word " * 700,
    "a" * 3000,
)
_RANDOM_TEXTS = 12
_CHARACTERS = (*range(0x20, 0x180), *range(0x2000, 0x2100), 0x4E2D, 0xAC00, 0x1F600)


class ExportError(failures.Failure):
    """What was written does not answer as the model does."""


def check(
    loaded: LoadedModel, signatures: dict[str, Signature], folder: str | os.PathLike
) -> dict[str, Answer]:
    """Asks a SavedModel in a new process and compares.

    Args:
        loaded: what was exported.
        signatures: those in the SavedModel, by name.
        folder: the SavedModel.

    Returns:
        {signature name: answer to its example}.

    Raises:
        ExportError: naming the signature, the output and the text.
    """
    requests, expected = _requests_and_answers(loaded)
    examples = [{"signature": n, "inputs": _as_json(s.example)} for n, s in signatures.items()]
    answers = ask(folder, requests + examples)
    for request, right, answer in zip(requests, expected, answers, strict=False):
        compare(request, right, answer, TOLERANCES[loaded.settings.precision])
    of_examples = dict(zip(signatures, answers[len(requests) :], strict=True))
    for name, answer in of_examples.items():
        _check_numbers(name, answer)
    return of_examples


def ask(folder: str | os.PathLike, requests: list[dict[str, Any]]) -> list[Answer]:
    """Returns the answers of a SavedModel, from a process that does not import albert_tf.

    Raises:
        ExportError: with what that process said, if it failed.
    """
    with tempfile.TemporaryDirectory() as work:
        question, answer = pathlib.Path(work, "requests.json"), pathlib.Path(work, "answers.json")
        question.write_text(json.dumps(requests), encoding="utf-8")
        # -I: neither this folder nor PYTHONPATH is looked into for modules.
        command = [sys.executable, "-I", saved_model_reader.__file__]
        process = subprocess.run(
            [*command, os.path.abspath(folder), str(question), str(answer)],
            cwd=work,
            capture_output=True,
            text=True,
            errors="replace",
        )
        if process.returncode:
            raise ExportError(
                f"{folder} must load and answer in a process of its own. Received: exit code "
                f"{process.returncode}; {process.stderr[-2000:]}"
            )
        return json.loads(answer.read_text(encoding="utf-8"))


def compare(
    request: dict[str, Any],
    expected: dict[str, Any],
    answer: Answer,
    tolerances: tuple[float, float],
) -> None:
    """Raises `ExportError` where answers differ from those of this process.

    Args:
        request: {"signature", "inputs"}.
        expected: {output: array}; "" and 0 behind the end of rows of different lengths.
        answer: what the SavedModel said.
        tolerances: (of numbers, of words) as of `TOLERANCES`.
    """
    of_numbers, of_words = tolerances
    for name, right in expected.items():
        right, received = _as_array(right), _as_array(answer[name])
        if right.shape != received.shape:
            raise ExportError(
                f"{request['signature']}: {name} must have the shape {right.shape}. "
                f"Received: {received.shape}"
            )
        if right.dtype.kind in "fi":
            limit = of_numbers * max(1.0, float(np.abs(right).max(initial=0)))
            wrong = ~(np.abs(right - received.astype(float)) <= limit)  # also where it is no number
            allowed = 0
        else:
            wrong = right != received
            allowed = of_words * wrong.size
        if wrong.sum() > allowed:
            place = tuple(np.argwhere(wrong)[0].tolist())
            texts = [str(values[place[0]])[:80] for values in request["inputs"].values()]
            raise ExportError(
                f"{request['signature']}: {name} of {texts} must be {right[place]!r} as in this "
                f"process. Received: {received[place]!r}; {int(wrong.sum())} of {wrong.size} differ"
            )


def _as_array(values: Any) -> np.ndarray:
    """Returns an array; strings are objects, or each would be as wide as the longest."""
    array = np.array(values, object)
    is_text = array.size and isinstance(array.flat[0], str)
    return array if is_text else np.asarray(values)


def _check_numbers(name: str, answer: Answer) -> None:
    for output, values in answer.items():
        values = _as_array(values)
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise ExportError(f"{name}: {output} must be finite. Received: {values.tolist()}")


def random_texts(count: int, seed: int = 0) -> list[str]:
    """Returns texts of random characters of many scripts."""
    draw = random.Random(seed)
    return [
        "".join(chr(draw.choice(_CHARACTERS)) for _ in range(draw.randrange(1, 200)))
        for _ in range(count)
    ]


def _as_json(inputs: Mapping[str, Any]) -> dict[str, Any]:
    return {name: saved_model_reader.as_json(values) for name, values in inputs.items()}


def _requests_and_answers(loaded: LoadedModel) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    texts = [*FIXED_TEXTS, *random_texts(_RANDOM_TEXTS)]
    questions = loaded.signatures.questions(loaded.in_process, texts)
    features = loaded.in_process
    if not isinstance(features, Features):
        features = Features(features.model, features.tokenizer)
    of_texts = features(texts)
    vectors = {"mean": np.stack([answer["mean"] for answer in of_texts])}
    if "pooled" in of_texts[0]:
        vectors["pooled"] = np.stack([answer["pooled"] for answer in of_texts])
    questions.append(("features", {"text": texts}, vectors))
    requests = [{"signature": name, "inputs": inputs} for name, inputs, _ in questions]
    return requests, [answers for _, _, answers in questions]
