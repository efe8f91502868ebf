"""The REST interface of TensorFlow Serving as an ASGI application, with a page to try models on.

POST /v1/models/NAME:predict                 /v1/models/NAME/versions/V:predict
POST /v1/embeddings, in OpenAI's form
GET  /v1/models/NAME                         /v1/models/NAME/versions/V
GET  /v1/models/NAME/metadata                /v1/models/NAME/versions/V/metadata
GET  /healthz   /readyz   /metrics   /       /v1/models/NAME/sheet
"""

import asyncio
import concurrent.futures
import contextlib
import importlib.resources
import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import numpy as np
import prometheus_client
import tensorflow as tf
from starlette.applications import Starlette
from starlette.convertors import Convertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from tensorflow.core.framework import types_pb2

from albert_tf.serving.embeddings_protocol import (
    UnknownModelError,
    read_embeddings_request,
    write_embeddings,
)
from albert_tf.serving.http_hosts import KnownHosts
from albert_tf.serving.predict_protocol import (
    PredictRequest,
    RequestError,
    SignatureDescription,
    TensorDescription,
    read_request,
    write_response,
)
from albert_tf.serving.request_batching import (
    DeadlineError,
    OverloadedError,
    RequestBatcher,
)
from albert_tf.serving.request_bodies import RequestBodies, check_values
from albert_tf.serving.served_versions import LoadedVersion, ServedVersions
from albert_tf.serving.settings import ServerSettings

_BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
# What is longer is read and written beside the event loop, which answers others meanwhile.
_SHORT_BYTES = 50_000
_LONGEST_ERROR = 2_000  # characters; a model may say anything
_LONGEST_PATH = 200
_LOG = logging.getLogger(__name__)
Signatures = Mapping[str, SignatureDescription]
# The model's outputs -> the body of an answer.
Write = Callable[[Mapping[str, np.ndarray]], bytes]
# The body of a request -> what the model is asked, and how its answer is written.
Read = Callable[[bytes, Signatures], tuple[PredictRequest, Write]]


class _VersionConvertor(Convertor[int]):
    """Numbers that a version can have; others are addresses that are not there."""

    regex = "[0-9]{1,18}"

    def convert(self, value: str) -> int:
        return int(value)

    def to_string(self, value: int) -> str:
        return str(value)


register_url_convertor("version", _VersionConvertor())


class Metrics:
    """What /metrics reports."""

    def __init__(self):
        self.registry = registry = prometheus_client.CollectorRegistry()
        self.requests = prometheus_client.Counter(
            "albert_requests", "Requests answered", ("signature", "code"), registry=registry
        )
        self.seconds = prometheus_client.Histogram(
            "albert_request_seconds", "From arrival to answer", ("signature",), registry=registry
        )
        self.rows = prometheus_client.Histogram(
            "albert_batch_rows", "Rows of a run", buckets=_BATCH_BUCKETS, registry=registry
        )
        self.versions = prometheus_client.Counter(
            "albert_versions", "Versions loaded and refused", ("event",), registry=registry
        )
        self.in_flight = prometheus_client.Gauge(
            "albert_requests_in_flight", "Requests not answered yet", registry=registry
        )


class ModelServer:
    """Answers requests with the newest version of a model.

    Args:
        versions: of the model, watched already.
        settings: what it allows.
        metrics: what it counts.
    """

    def __init__(self, versions: ServedVersions, settings: ServerSettings, metrics: Metrics):
        self._versions = versions
        self._settings = settings
        self._metrics = metrics
        self._batcher = RequestBatcher(settings.batching, metrics.rows.observe)
        self._bodies = RequestBodies(settings.max_body_bytes)
        # One, as Python reads and writes one thing at a time in any case.
        self._scribe = concurrent.futures.ThreadPoolExecutor(1, "scribe")

    def make_app(self) -> Starlette:
        """Returns the ASGI application."""
        model = f"/v1/models/{self._settings.model_name}"
        version = f"{model}/versions/{{version:version}}"
        get, post = {"methods": ["GET"]}, {"methods": ["POST"]}
        routes = [
            Route("/", self._show_page, **get),
            Route("/v1/embeddings", self._embed, **post),
        ]
        for path in (model, version):
            routes += [
                Route(f"{path}:predict", self._predict, **post),
                Route(f"{path}/metadata", self._show_metadata, **get),
            ]
        routes += [
            Route(f"{model}/sheet", self._show_sheet, **get),
            Route(version, self._show_status, **get),
            Route(model, self._show_status, **get),
            Route("/healthz", self._say_healthy, **get),
            Route("/readyz", self._say_ready, **get),
            Route("/metrics", self._show_metrics, **get),
        ]
        return Starlette(
            routes=routes,
            lifespan=self._live,
            middleware=[Middleware(KnownHosts, names=self._settings.allowed_hosts)],
            exception_handlers={HTTPException: _as_json_error, Exception: _as_unknown_error},
        )

    @contextlib.asynccontextmanager
    async def _live(self, app: Starlette) -> AsyncIterator[None]:
        del app
        yield
        for stop in (self._versions.stop, self._batcher.close, self._scribe.shutdown):
            await asyncio.to_thread(stop)

    # Questions to the model.

    async def _predict(self, request: Request) -> Response:
        limits = self._settings.limits

        def read(body: bytes, signatures: Signatures) -> tuple[PredictRequest, Write]:
            question = read_request(body, signatures, limits)
            return question, lambda outputs: write_response(outputs, question.instances)

        return await self._answer(request, read)

    async def _embed(self, request: Request) -> Response:
        limits, name = self._settings.limits, self._settings.model_name

        def read(body: bytes, signatures: Signatures) -> tuple[PredictRequest, Write]:
            question, encoding = read_embeddings_request(body, signatures, limits, name)
            return question, lambda outputs: write_embeddings(outputs, encoding, name)

        answer = await self._answer(request, read)
        return answer if answer.status_code == 200 else _in_form_of_openai(answer)

    async def _answer(self, request: Request, read: Read) -> Response:
        """Reads a request, asks the model and writes what it says, in the form of `read`."""
        start, name = time.monotonic(), "unknown"
        with self._metrics.in_flight.track_inprogress():
            code, answer = 200, None
            try:
                version = self._find_version(request)
                async with self._bodies.read(request) as body:
                    question, write = await self._read(body, version.signatures, read)
                    name = question.signature
                    outputs = await self._batcher.ask(
                        version.run, name, question.inputs, question.rows
                    )
                content = await self._write(outputs, write)
                answer = Response(content, media_type="application/json")
            except UnknownModelError as error:
                code, answer = 404, _error(404, str(error))
            except RequestError as error:
                code, answer = 400, _error(400, str(error))
            except OverloadedError as error:
                code, answer = 503, _error(503, str(error), {"Retry-After": "1"})
            except DeadlineError as error:
                code, answer = 504, _error(504, str(error))
            except HTTPException as error:
                code, answer = error.status_code, _error(error.status_code, error.detail)
            except ClientDisconnect:
                code, answer = 408, _error(408, "the body was not sent to its end")
            except asyncio.CancelledError:  # the last second of a server that was told to stop
                code, answer = 503, _error(503, "the server stops")
            # A model may fail in any way; the server goes on and counts it.
            except Exception as error:  # noqa: BLE001
                _LOG.exception("%s failed", name)
                code, answer = 500, _error(500, _say(error))
        self._metrics.requests.labels(name, str(code)).inc()
        self._metrics.seconds.labels(name).observe(time.monotonic() - start)
        return answer

    def _find_version(self, request: Request) -> LoadedVersion:
        """Returns the served version; its number may be asked for."""
        current = self._versions.current
        number = request.path_params.get("version")
        if number not in (None, current.number):
            raise HTTPException(
                404, f"version must be {current.number}, which is served. Received: {number}"
            )
        return current

    async def _read(
        self, body: bytes, signatures: Signatures, read: Read
    ) -> tuple[PredictRequest, Write]:
        """Returns what `read` makes of a body."""
        if len(body) <= _SHORT_BYTES:
            return read(body, signatures)

        def read_checked() -> tuple[PredictRequest, Write]:
            check_values(body)
            return read(body, signatures)

        return await asyncio.get_running_loop().run_in_executor(self._scribe, read_checked)

    async def _write(self, outputs: Mapping[str, np.ndarray], write: Write) -> bytes:
        """Returns the body of an answer."""
        size = sum(values.nbytes + 20 * values.size for values in map(np.asarray, outputs.values()))
        if size <= _SHORT_BYTES:
            return write(outputs)
        return await asyncio.get_running_loop().run_in_executor(self._scribe, write, outputs)

    # Questions about the model.

    async def _show_status(self, request: Request) -> Response:
        version = request.path_params.get("version")
        states = self._versions.states()
        if version is not None:
            states = {number: state for number, state in states.items() if number == version}
            if not states:
                raise HTTPException(404, f"version must be one that is there. Received: {version}")
        return JSONResponse(
            {
                "model_version_status": [
                    {
                        "version": str(number),
                        "state": state.state,
                        "status": {
                            "error_code": "UNKNOWN" if state.error else "OK",
                            "error_message": state.error,
                        },
                    }
                    for number, state in states.items()
                ]
            }
        )

    async def _show_metadata(self, request: Request) -> Response:
        version = self._find_version(request)
        signatures = {
            name: {
                "inputs": _describe(signature.inputs),
                "outputs": _describe(signature.outputs),
                "method_name": "tensorflow/serving/predict",
            }
            for name, signature in version.signatures.items()
        }
        return JSONResponse(
            {
                "model_spec": {
                    "name": self._settings.model_name,
                    "version": str(version.number),
                    "signature_name": "",
                },
                "metadata": {"signature_def": {"signature_def": signatures}},
            }
        )

    async def _show_sheet(self, request: Request) -> Response:
        return JSONResponse(self._find_version(request).sheet)

    async def _show_page(self, request: Request) -> Response:
        del request
        page = importlib.resources.files("albert_tf.serving").joinpath("server_page.html")
        text = page.read_text(encoding="utf-8")
        return HTMLResponse(text.replace("MODEL_NAME", json.dumps(self._settings.model_name)))

    async def _say_healthy(self, request: Request) -> Response:
        del request
        return PlainTextResponse("ok\n")

    async def _say_ready(self, request: Request) -> Response:
        del request
        is_ready = self._versions.current is not None
        return PlainTextResponse("ok\n" if is_ready else "no version\n", 200 if is_ready else 503)

    async def _show_metrics(self, request: Request) -> Response:
        del request
        text = prometheus_client.generate_latest(self._metrics.registry)
        return Response(text, media_type=prometheus_client.CONTENT_TYPE_LATEST)


def _describe(tensors: Mapping[str, TensorDescription]) -> dict[str, Any]:
    return {
        name: {
            "dtype": types_pb2.DataType.Name(tf.as_dtype(tensor.dtype).as_datatype_enum),
            "tensor_shape": {
                "dim": [{"size": str(-1 if size is None else size)} for size in tensor.shape or ()],
                "unknown_rank": tensor.shape is None,
            },
            "name": name,
        }
        for name, tensor in tensors.items()
    }


def _error(code: int, message: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    if len(message) > _LONGEST_ERROR:
        message = f"{message[:_LONGEST_ERROR]}..."
    return JSONResponse({"error": message}, code, headers)


def _in_form_of_openai(answer: Response) -> JSONResponse:
    """Returns an error as clients of OpenAI read it."""
    kind = "invalid_request_error" if answer.status_code < 500 else "server_error"
    message = json.loads(answer.body)["error"]
    headers = {name: answer.headers[name] for name in ("Retry-After",) if name in answer.headers}
    return JSONResponse(
        {"error": {"message": message, "type": kind, "param": None, "code": None}},
        answer.status_code,
        headers,
    )


async def _as_json_error(request: Request, error: HTTPException) -> JSONResponse:
    detail = error.detail
    if error.status_code in (404, 405) and detail in ("Not Found", "Method Not Allowed"):
        detail = f"{detail}: {request.method} {request.url.path[:_LONGEST_PATH]}"
    return _error(error.status_code, detail, error.headers)


async def _as_unknown_error(request: Request, error: Exception) -> JSONResponse:
    del request
    return _error(500, _say(error))


def _say(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
