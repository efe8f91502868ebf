"""Errors, each in the form that the clients of its address read.

TensorFlow Serving and KServe have `{"error": sentence}`, OpenAI an object with the sentence in it.
"""

import re
from collections.abc import Mapping

from starlette.responses import JSONResponse

_LONGEST_ERROR = 2_000  # characters; a model may say anything
# /v1/ is OpenAI's, but for /v1/models/NAME, which is TensorFlow Serving's.
_OF_OPENAI = re.compile(r"/v1/(?!models/).*", re.DOTALL)
_OPENAI_CODES = {401: "invalid_api_key", 404: "model_not_found"}


def answer_error(
    path: str, code: int, message: str, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """Returns the answer to a request that cannot have another.

    Args:
        path: that was asked, which has the form.
        code: of HTTP.
        message: one sentence.
        headers: besides those of any answer.
    """
    if len(message) > _LONGEST_ERROR:
        message = f"{message[:_LONGEST_ERROR]}..."
    if not _OF_OPENAI.fullmatch(path):
        return JSONResponse({"error": message}, code, headers)
    error = {
        "message": message,
        "type": "invalid_request_error" if code < 500 else "server_error",
        "param": None,
        "code": _OPENAI_CODES.get(code),
    }
    return JSONResponse({"error": error}, code, headers)
