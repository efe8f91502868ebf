"""The REST interfaces of TensorFlow Serving and KServe as an ASGI application, with two pages.

POST /v1/models/NAME:predict                 /v1/models/NAME/versions/V:predict
POST /v1/embeddings, in OpenAI's form
GET  /v1/models/NAME                         /v1/models/NAME/versions/V
GET  /v1/models/NAME/metadata                /v1/models/NAME/versions/V/metadata
POST /v2/models/NAME/infer                   /v2/models/NAME/versions/V/infer
GET  /v2/models/NAME                         /v2/models/NAME/versions/V
GET  /v2/models/NAME/ready                   /v2/models/NAME/versions/V/ready
GET  /v2   /v2/health/live                   /v2/health/ready
GET  /healthz   /readyz   /metrics   /       /v1/models/NAME/sheet
GET  /openapi.json, which describes all these, and /docs, which shows it
"""

import asyncio
import concurrent.futures
import contextlib
import importlib.resources
import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping

import numpy as np
import prometheus_client
from starlette.applications import Starlette
from starlette.convertors import Convertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from albert_tf import __version__
from albert_tf.serving.embeddings_protocol import (
    UnknownModelError,
    read_embeddings_request,
    write_embeddings,
)
from albert_tf.serving.error_answers import answer_error
from albert_tf.serving.infer_protocol import (
    SIGNATURE_PARAMETER,
    describe_model,
    read_infer_request,
    write_infer_response,
)
from albert_tf.serving.known_clients import KnownHosts, KnownKeys, digest_key
from albert_tf.serving.metrics import Metrics
from albert_tf.serving.openapi import describe_server
from albert_tf.serving.predict_protocol import (
    PredictRequest,
    RequestError,
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

# What is longer is read and written beside the event loop, which answers others meanwhile.
_SHORT_BYTES = 50_000
_LONGEST_PATH = 200
# A page loads nothing from elsewhere and stands in no other page.
_PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'; connect-src 'self'; form-action 'none'; frame-ancestors 'none'"
}
_LOG = logging.getLogger(__name__)
# The model's outputs -> the body of an answer.
Write = Callable[[Mapping[str, np.ndarray]], bytes]
# The body of a request -> what the model is asked, and how its answer is written.
Read = Callable[[bytes, LoadedVersion], tuple[PredictRequest, Write]]


class _VersionConvertor(Convertor[int]):
    """Numbers that a version can have; others are addresses that are not there."""

    regex = "[0-9]{1,19}"

    def convert(self, value: str) -> int:
        return int(value)

    def to_string(self, value: int) -> str:
        return str(value)


register_url_convertor("version", _VersionConvertor())


class ModelServer:
    """Answers requests with the newest version of a model.

    Args:
        versions: of the model, watched already.
        settings: what it allows.
        metrics: what it counts.
        keys: of which clients must send one; without any all may ask.
    """

    def __init__(
        self,
        versions: ServedVersions,
        settings: ServerSettings,
        metrics: Metrics,
        keys: Collection[str] = (),
    ):
        self._versions = versions
        self._settings = settings
        self._metrics = metrics
        self._batcher = RequestBatcher(settings.batching, metrics.rows.observe)
        self._bodies = RequestBodies(settings.max_body_bytes)
        self._digests = [digest_key(key.encode("ascii")) for key in keys]
        # One, as Python reads and writes one thing at a time in any case.
        self._scribe = concurrent.futures.ThreadPoolExecutor(1, "scribe")

    def make_app(self) -> Starlette:
        """Returns the ASGI application."""
        routes = [Route(path, ask, methods=[method]) for method, path, ask in self._list_routes()]
        return Starlette(
            routes=routes,
            lifespan=self._live,
            middleware=[
                Middleware(KnownHosts, names=self._settings.allowed_hosts),
                Middleware(KnownKeys, digests=self._digests),
            ],
            exception_handlers={
                HTTPException: self._answer_http_error,
                Exception: self._answer_unknown_error,
            },
        )

    def _list_routes(self) -> list[tuple[str, str, Callable]]:
        """Returns (method, path, method of this object) of each address."""
        name = self._settings.model_name
        routes = [
            ("GET", "/", self._show_page),
            ("GET", "/docs", self._show_docs),
            ("GET", "/openapi.json", self._show_openapi),
            ("POST", "/v1/embeddings", self._embed),
        ]
        for version in ("", "/versions/{version:version}"):
            v1, v2 = (f"/{protocol}/models/{name}{version}" for protocol in ("v1", "v2"))
            routes += [
                ("POST", f"{v1}:predict", self._predict),
                ("GET", f"{v1}/metadata", self._show_metadata),
                ("GET", v1, self._show_status),
                ("POST", f"{v2}/infer", self._infer),
                ("GET", f"{v2}/ready", self._say_model_ready),
                ("GET", v2, self._show_model),
            ]
        return [
            *routes,
            ("GET", f"/v1/models/{name}/sheet", self._show_sheet),
            ("GET", "/v2", self._show_server),
            ("GET", "/v2/health/live", self._say_live),
            ("GET", "/v2/health/ready", self._say_server_ready),
            ("GET", "/healthz", self._say_healthy),
            ("GET", "/readyz", self._say_ready),
            ("GET", "/metrics", self._show_metrics),
        ]

    @contextlib.asynccontextmanager
    async def _live(self, app: Starlette) -> AsyncIterator[None]:
        del app
        yield
        for stop in (self._versions.stop, self._batcher.close, self._scribe.shutdown):
            await asyncio.to_thread(stop)

    # Questions to the model.

    async def _predict(self, request: Request) -> Response:
        limits = self._settings.limits

        def read(body: bytes, version: LoadedVersion) -> tuple[PredictRequest, Write]:
            question = read_request(body, version.signatures, limits)
            return question, lambda outputs: write_response(outputs, question.instances)

        return await self._answer(request, read)

    async def _embed(self, request: Request) -> Response:
        limits, name = self._settings.limits, self._settings.model_name

        def read(body: bytes, version: LoadedVersion) -> tuple[PredictRequest, Write]:
            question, encoding = read_embeddings_request(body, version.signatures, limits, name)
            return question, lambda outputs: write_embeddings(outputs, encoding, name)

        return await self._answer(request, read)

    async def _infer(self, request: Request) -> Response:
        limits, name = self._settings.limits, self._settings.model_name

        def read(body: bytes, version: LoadedVersion) -> tuple[PredictRequest, Write]:
            question, form = read_infer_request(body, version.signatures, limits)
            return question, lambda outputs: write_infer_response(
                outputs, form, name, version.number
            )

        return await self._answer(request, read)

    async def _answer(self, request: Request, read: Read) -> Response:
        """Reads a request, asks the model and writes what it says, in the form of `read`."""
        start, name = time.monotonic(), "unknown"
        with self._metrics.in_flight.track_inprogress():
            code, message, headers = 200, "", None
            try:
                version = self._find_version(request)
                async with self._bodies.read(request) as body:
                    question, write = await self._read(body, version, read)
                    name = question.signature
                    outputs = await self._batcher.ask(
                        *(version.run, name, question.inputs, question.rows),
                        version.count_of_places(name),
                    )
                content = await self._write(outputs, write)
                answer = Response(content, media_type="application/json")
            except UnknownModelError as error:
                code, message = 404, str(error)
            except RequestError as error:
                code, message = 400, str(error)
            except OverloadedError as error:
                code, message, headers = 503, str(error), {"Retry-After": "1"}
            except DeadlineError as error:
                code, message = 504, str(error)
            except HTTPException as error:
                code, message = error.status_code, error.detail
            except ClientDisconnect:
                code, message = 408, "the body was not sent to its end"
            except asyncio.CancelledError:  # the last second of a server that was told to stop
                code, message = 503, "the server stops"
            # A model may fail in any way; the server goes on and counts it.
            except Exception as error:  # noqa: BLE001
                _LOG.exception("%s failed", name)
                code, message = 500, _say(error)
        if code != 200:
            answer = answer_error(request.url.path, code, message, headers)
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
        self, body: bytes, version: LoadedVersion, read: Read
    ) -> tuple[PredictRequest, Write]:
        """Returns what `read` makes of a body."""
        if len(body) <= _SHORT_BYTES:
            return read(body, version)

        def read_checked() -> tuple[PredictRequest, Write]:
            check_values(body)
            return read(body, version)

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
        return JSONResponse(version.describe(self._settings.model_name))

    async def _show_sheet(self, request: Request) -> Response:
        return JSONResponse(self._find_version(request).sheet)

    async def _show_server(self, request: Request) -> Response:
        del request
        return JSONResponse({"name": "albert_tf", "version": __version__, "extensions": []})

    async def _show_model(self, request: Request) -> Response:
        version = self._find_version(request)
        signature = request.query_params.get(SIGNATURE_PARAMETER)
        try:
            model = describe_model(
                self._settings.model_name, version.number, version.signatures, signature
            )
        except RequestError as error:
            raise HTTPException(400, str(error)) from error
        return JSONResponse(model)

    async def _show_openapi(self, request: Request) -> Response:
        version = self._find_version(request)
        return JSONResponse(
            describe_server(
                version.number,
                version.signatures,
                version.sheet,
                self._settings,
                asks_for_key=bool(self._digests),
            )
        )

    async def _show_page(self, request: Request) -> Response:
        del request
        return self._make_page("server_page.html")

    async def _show_docs(self, request: Request) -> Response:
        del request
        return self._make_page("docs_page.html")

    def _make_page(self, file: str) -> Response:
        page = importlib.resources.files("albert_tf.serving").joinpath(file)
        text = page.read_text(encoding="utf-8")
        text = text.replace("MODEL_NAME", json.dumps(self._settings.model_name))
        return HTMLResponse(text, headers=_PAGE_HEADERS)

    async def _say_healthy(self, request: Request) -> Response:
        del request
        return PlainTextResponse("ok\n")

    async def _say_ready(self, request: Request) -> Response:
        del request
        is_ready = self._versions.current is not None
        return PlainTextResponse("ok\n" if is_ready else "no version\n", 200 if is_ready else 503)

    async def _say_live(self, request: Request) -> Response:
        del request
        return JSONResponse({"live": True})

    async def _say_server_ready(self, request: Request) -> Response:
        del request
        is_ready = self._versions.current is not None
        return JSONResponse({"live": True, "ready": is_ready}, 200 if is_ready else 503)

    async def _say_model_ready(self, request: Request) -> Response:
        self._find_version(request)
        return JSONResponse({"name": self._settings.model_name, "ready": True})

    async def _show_metrics(self, request: Request) -> Response:
        del request
        text = prometheus_client.generate_latest(self._metrics.registry)
        return Response(text, media_type=prometheus_client.CONTENT_TYPE_LATEST)

    async def _answer_http_error(self, request: Request, error: HTTPException) -> JSONResponse:
        path, detail = request.url.path, error.detail
        if detail in ("Not Found", "Method Not Allowed"):
            detail = f"{detail}: {request.method} {path[:_LONGEST_PATH]}"
        if error.status_code == 404:
            detail = f"{detail}; the model here is {self._settings.model_name}"
        return answer_error(path, error.status_code, detail, error.headers)

    async def _answer_unknown_error(self, request: Request, error: Exception) -> JSONResponse:
        return answer_error(request.url.path, 500, _say(error))


def _say(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
