"""Bodies of requests: read within bounds, and looked at before anything is built of them.

A body is much smaller than what may be built of it: ten megabytes of `[],` are three million lists,
for which Python stands still for seconds. So its values are counted first, which is quick.
"""

import contextlib
from collections.abc import AsyncIterator

import numpy as np
from starlette.exceptions import HTTPException
from starlette.requests import Request

from albert_tf.serving.predict_protocol import RequestError
from albert_tf.serving.request_batching import OverloadedError

# Bodies of the largest size that may be held at once, by all requests together.
_LARGEST_BODIES = 10
# Of one body: lists and objects, and all values. 256 rows of 512 ids, a mask and segments have
# 393,216 values; what is more is built in a quarter of a second at most.
_MOST_CONTAINERS = 200_000
_MOST_VALUES = 2_000_000


class RequestBodies:
    """Reads bodies, and knows how much of them all requests hold.

    Args:
        longest: bytes of one body; all together may have ten times as many.
    """

    def __init__(self, longest: int):
        self._longest = longest
        self._bytes_in_memory = 0

    @contextlib.asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[bytes]:
        """Yields the body of a request, which counts as held until the block ends.

        Raises:
            HTTPException: for one that is too long, which is not read to its end, or compressed.
            OverloadedError: if all requests hold as much as they may.
            ClientDisconnect: if the body does not come to its end.
        """
        body = bytearray()
        try:
            async for chunk in self._chunks(request):
                if self._bytes_in_memory + len(chunk) > _LARGEST_BODIES * self._longest:
                    raise OverloadedError(
                        f"all bodies together may have {_LARGEST_BODIES * self._longest} bytes. "
                        "Received: more"
                    )
                self._bytes_in_memory += len(chunk)
                body += chunk
                if len(body) > self._longest:
                    raise self._too_long()
            yield bytes(body)
        finally:
            self._bytes_in_memory -= len(body)

    def _chunks(self, request: Request) -> AsyncIterator[bytes]:
        coding = request.headers.get("content-encoding", "identity")
        if coding.lower() != "identity":
            raise HTTPException(
                415, f"Content-Encoding must be identity. Received: {coding[:80]!r}"
            )
        if "inference-header-content-length" in request.headers:
            raise HTTPException(
                400,
                "tensors must come as JSON, with tritonclient set_data_from_numpy(…, "
                "binary_data=False). Received: binary tensors behind the JSON",
            )
        length = request.headers.get("content-length", "")
        if length.isdecimal() and int(length) > self._longest:
            raise self._too_long()
        return request.stream()

    def _too_long(self) -> HTTPException:
        return HTTPException(413, f"a body must have at most {self._longest} bytes")


def check_values(body: bytes) -> None:
    """Refuses JSON of which too much would have to be built.

    Raises:
        RequestError: naming the limit.
    """
    # Brackets and commas count outside of texts only; an escaped quote ends no text.
    marks = np.frombuffer(body.replace(b"\\\\", b"").replace(b'\\"', b""), np.uint8)
    marks = marks[~np.logical_xor.accumulate(marks == ord('"'))]
    counts = {mark: np.count_nonzero(marks == ord(mark)) for mark in "[{,"}
    containers = counts["["] + counts["{"]
    values = containers + counts[","]
    if containers > _MOST_CONTAINERS or values > _MOST_VALUES:
        raise RequestError(
            f"a body must have at most {_MOST_CONTAINERS} lists and objects and {_MOST_VALUES} "
            f"values. Received: {containers} and {values}"
        )
