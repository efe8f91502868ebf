"""OpenAI's form of asking for embeddings: requests to texts, vectors to responses.

It fits any model with a signature of one input of strings [B] whose output `embedding` is float
[B, H]; where that gives `token_count` [B], too, the usage is told.
"""

import base64
import json
from collections.abc import Mapping

import numpy as np

from albert_tf.json_files import JsonError, listed, parse_object, shorten
from albert_tf.serving.predict_protocol import (
    PredictRequest,
    RequestError,
    SignatureDescription,
    check_finite,
    make_request,
)
from albert_tf.serving.settings import Limits

VECTORS, TOKEN_COUNTS = "embedding", "token_count"
_FORMATS = ("float", "base64")
_KEYS = ("input", "model", "encoding_format", "dimensions", "user")


class UnknownModelError(RequestError):
    """A request for another model than the one that is served."""


def find_signature(signatures: Mapping[str, SignatureDescription]) -> str:
    """Returns the name of the signature that makes vectors of texts.

    Raises:
        UnknownModelError: if the model has none.
    """
    for name, signature in sorted(signatures.items()):
        types = [tensor.dtype for tensor in signature.inputs.values()]
        is_of_texts = types == ["string"] and "examples" not in signature.inputs
        if is_of_texts and VECTORS in signature.outputs and signature.works_by_rows:
            return name
    raise UnknownModelError(
        f"the model must have a signature from texts to `{VECTORS}`. "
        f"Received: {', '.join(sorted(signatures))}"
    )


def read_embeddings_request(
    body: bytes | str,
    signatures: Mapping[str, SignatureDescription],
    limits: Limits,
    model_name: str,
) -> tuple[PredictRequest, str]:
    """Reads the body of a request for embeddings.

    Args:
        body: JSON with `input`, a string or a list of strings, and what else OpenAI's has.
        signatures: of the model, by name.
        limits: what a request may ask for.
        model_name: of the model that is served; `model` may be left out.

    Returns:
        (what the model is asked, the `encoding_format`).

    Raises:
        RequestError: naming what is wrong.
    """
    try:
        content = parse_object(body)
    except JsonError as error:
        raise RequestError(f"the body {error}") from error
    unknown = sorted(content.keys() - set(_KEYS))
    if unknown or "input" not in content:
        raise RequestError(
            f"the body must have input and may have {', '.join(_KEYS[1:])}. "
            f"Received: {listed(content)}"
        )
    if content.get("model", model_name) != model_name:
        raise UnknownModelError(
            f"model must be {model_name}, which is served. Received: {shorten(content['model'])}"
        )
    encoding = content.get("encoding_format")
    encoding = "float" if encoding is None else encoding
    if encoding not in _FORMATS:
        raise RequestError(
            f"encoding_format must be one of {', '.join(_FORMATS)}. Received: {shorten(encoding)}"
        )
    name = find_signature(signatures)
    size = signatures[name].outputs[VECTORS].shape[-1]
    if content.get("dimensions") not in (None, size):
        raise RequestError(
            f"dimensions must be {size}, those that the model was trained with; a part of a vector "
            f"is no vector of it. Received: {shorten(content['dimensions'])}"
        )
    texts = content["input"]
    texts = [texts] if isinstance(texts, str) else texts
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise RequestError(
            f"input must be a string or a list of strings. Received: {shorten(content['input'])}"
        )
    (column,) = signatures[name].inputs
    return make_request(name, {column: texts}, signatures, limits), encoding


def write_embeddings(outputs: Mapping[str, np.ndarray], encoding: str, model_name: str) -> bytes:
    """Returns the body of a response, bytes of JSON.

    Args:
        outputs: of the model: `embedding` float [B, H] and perhaps `token_count` int [B].
        encoding: "float" for lists of numbers, "base64" for float32, the lowest byte first.
        model_name: of the model that is served.
    """
    check_finite(outputs)
    vectors = np.asarray(outputs[VECTORS]).astype("<f4")
    if encoding == "base64":
        values = [base64.b64encode(vector.tobytes()).decode("ascii") for vector in vectors]
    else:
        values = vectors.tolist()
    tokens = int(np.sum(outputs.get(TOKEN_COUNTS, 0)))
    content = {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": value}
            for index, value in enumerate(values)
        ],
        "model": model_name,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }
    return json.dumps(content).encode("ascii")
