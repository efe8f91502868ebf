"""The server answers as TensorFlow Serving does, and goes from version to version unharmed."""

import base64
import concurrent.futures
import dataclasses
import gc
import json
import shutil
import socket
import threading
import time
import urllib.error
import urllib.request
import weakref

import numpy as np
import pytest
import tensorflow as tf

from albert_tf.serving.http_server import Server
from albert_tf.serving.metrics import Metrics
from albert_tf.serving.model_server import ModelServer
from albert_tf.serving.predict_protocol import TensorDescription
from albert_tf.serving.served_versions import ServedVersions, VersionError
from albert_tf.serving.settings import BatchingSettings, ConnectionSettings, Limits, ServerSettings

PATIENCE = 60  # seconds; a busy machine takes its time, a healthy server does not


def write_version(folder, number, offset=0, sheet=None):
    """Writes a version that says how long texts are, `offset` more."""
    module = tf.Module()
    module.offset = tf.Variable(offset)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    def measure(text):
        return {"length": tf.strings.length(text) + module.offset, "echo": text}

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int32, name="input_ids")])
    def total(input_ids):
        tf.debugging.assert_non_negative(input_ids, "input_ids must not be negative")
        return {"total": tf.reduce_sum(input_ids, axis=1)}

    partial = folder / f".{number}"
    signatures = {"serving_default": measure, "total": total}
    tf.saved_model.save(module, str(partial), signatures=signatures)
    if sheet is not None:
        (partial / "signatures.json").write_text(json.dumps(sheet))
    partial.rename(folder / str(number))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    for number in (1, 2):
        write_version(folder, number, offset=100 * number)
    return folder


@pytest.fixture
def folder(tmp_path, saved):
    shutil.copytree(saved / "1", tmp_path / "served" / "1")
    return tmp_path / "served"


def publish(saved, folder, number):
    shutil.copytree(saved / "2", folder / ".coming")
    (folder / ".coming").rename(folder / str(number))


def serve(folder, poll_seconds=0.05, connections=None, keys=(), **settings):
    metrics = Metrics()
    versions = ServedVersions(folder, poll_seconds, lambda e: metrics.versions.labels(e).inc())
    versions.start()
    server = ModelServer(versions, ServerSettings(model_name="m", **settings), metrics, keys)
    return Client(server.make_app(), connections)


class Client:
    """Asks a server that runs in a thread, over a socket of its own."""

    def __init__(self, app, connections=None):
        self.app = app
        self.headers = {}
        self._server = Server(app, connections or ConnectionSettings())
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],))
        self.address = self._socket.getsockname()
        self.url = f"http://127.0.0.1:{self.address[1]}"

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        """Tells the server to stop, and waits for its end."""
        self._server.should_exit = True
        self._thread.join()

    def connections(self):
        """Returns what is connected."""
        return set(self._server.server_state.connections)

    def request(self, method, path, content=None):
        request = urllib.request.Request(self.url + path, content, self.headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=10) as found:
                return Answer(found.status, found.read(), found.headers)
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.read(), error.headers)

    def get(self, path):
        return self.request("GET", path)


@dataclasses.dataclass
class Answer:
    status_code: int
    content: bytes
    headers: dict

    @property
    def text(self):
        return self.content.decode()

    def json(self):
        return json.loads(self.content)


def ask(client, content, path="/v1/models/m:predict"):
    return client.request("POST", path, json.dumps(content).encode())


def wait_for(client, number):
    """Waits until a version is served, or refused."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        states = client.get("/v1/models/m").json()["model_version_status"]
        found = [s for s in states if s["version"] == str(number) and s["state"] != "LOADING"]
        if found:
            return found[0]
        time.sleep(0.02)
    raise AssertionError(f"version {number} never came: {states}")


def test_predictions_in_rows_and_columns(folder):
    with serve(folder) as client:
        answer = ask(client, {"instances": ["é", {"b64": base64.b64encode(b"\xff").decode()}]})
        assert answer.status_code == 200 and answer.headers["content-type"] == "application/json"
        assert answer.json() == {
            "predictions": [
                {"length": 102, "echo": "é"},
                {"length": 101, "echo": {"b64": "/w=="}},
            ]
        }
        answer = ask(client, {"signature_name": "total", "inputs": [[1, 2], [3, 4]]})
        assert answer.json() == {"outputs": [3, 7]}
        path = "/v1/models/m/versions/1:predict"
        assert ask(client, {"instances": ["abc"]}, path).json()["predictions"][0]["length"] == 103


def write_foreign_version(folder):
    """Writes a model whose signatures are of no kind that run_export writes."""
    module = tf.Module()

    def signature(function, *specs):
        return tf.function(function, input_signature=specs)

    signatures = {
        "scalar": signature(lambda x: {"y": 2 * x}, tf.TensorSpec([], tf.float32, "x")),
        "unique": signature(lambda x: {"y": tf.unique(x)[0]}, tf.TensorSpec([None], tf.int64, "x")),
        "total": signature(
            lambda x: {"y": tf.reduce_sum(x)}, tf.TensorSpec([None], "bfloat16", "x")
        ),
        "any": signature(lambda x: {"x_bytes": x}, tf.TensorSpec(None, tf.string, "x")),
        "constant": signature(lambda: {"y": tf.constant([True])}),
    }
    tf.saved_model.save(module, str(folder / "1"), signatures=signatures)


@pytest.mark.slow
def test_models_of_any_kind_are_served(tmp_path):
    write_foreign_version(tmp_path)
    with serve(tmp_path) as client, concurrent.futures.ThreadPoolExecutor(8) as pool:
        for name, inputs, outputs in (
            ("scalar", 1.5, 3.0),
            ("total", [1, 2], 3.0),
            ("any", [["a"]], [[{"b64": "YQ=="}]]),
            ("constant", {}, [True]),
        ):
            answer = ask(client, {"signature_name": name, "inputs": inputs})
            assert (answer.status_code, answer.json()) == (200, {"outputs": outputs}), name
        # Joined, these would get each other's numbers.
        requests = [{"signature_name": "unique", "inputs": [n, n]} for n in range(24)]
        answers = pool.map(lambda request: ask(client, request).json(), requests)
        assert list(answers) == [{"outputs": [n]} for n in range(24)]
        answer = ask(client, {"signature_name": "total", "instances": [1, 2]})
        assert answer.status_code == 400 and "ask with inputs" in answer.json()["error"]
        tensors = client.get("/v1/models/m/metadata").json()["metadata"]["signature_def"]
        described = {
            n: s["inputs"]["x"] for n, s in tensors["signature_def"].items() if s["inputs"]
        }
        assert described["any"]["tensor_shape"] == {"dim": [], "unknown_rank": True}
        assert described["total"]["dtype"] == "DT_BFLOAT16"


def test_embeddings_in_the_form_of_openai(tmp_path):
    module = tf.Module()

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "text")])
    def embed(text):
        lengths = tf.strings.length(text)
        vectors = tf.stack([tf.cast(lengths, tf.float32), tf.ones_like(text, tf.float32)], 1)
        return {"embedding": vectors, "token_count": lengths}

    tf.saved_model.save(module, str(tmp_path / "1"), signatures={"embed": embed})
    with serve(tmp_path) as client:
        answer = ask(client, {"model": "m", "input": ["abc", "a"]}, "/v1/embeddings")
        assert [item["embedding"] for item in answer.json()["data"]] == [[3, 1], [1, 1]]
        assert answer.json()["usage"] == {"prompt_tokens": 4, "total_tokens": 4}
        for content, code, message in (
            ({"input": 3}, 400, "input must be a string or a list of strings. Received: 3"),
            ({"input": "a", "model": "ada"}, 404, "model must be m, which is served. "),
        ):
            answer = ask(client, content, "/v1/embeddings")
            error = answer.json()["error"]
            assert (answer.status_code, error["type"]) == (code, "invalid_request_error")
            assert error["message"].startswith(message)


def test_infer_in_the_form_of_kserve(folder):
    with serve(folder) as client:
        assert client.get("/v2").json()["name"] == "albert_tf"
        assert client.get("/v2/health/live").json() == {"live": True}
        assert client.get("/v2/health/ready").json()["ready"] is True
        tensor = {"name": "text", "shape": [2], "datatype": "BYTES", "data": ["é", "abc"]}
        length = {"name": "length", "shape": [2], "datatype": "INT32", "data": [102, 103]}
        for model in ("/v2/models/m", "/v2/models/m/versions/1"):
            assert client.get(f"{model}/ready").json() == {"name": "m", "ready": True}
            assert client.get(model).json()["inputs"] == [
                {"name": "text", "datatype": "BYTES", "shape": [-1]}
            ]
            content = {"id": "7", "inputs": [tensor], "outputs": [{"name": "length"}]}
            assert ask(client, content, f"{model}/infer").json() == {
                "model_name": "m",
                "model_version": "1",
                "id": "7",
                "outputs": [length],
            }
        described = client.get("/v2/models/m?signature_name=total").json()
        assert described["outputs"] == [{"name": "total", "datatype": "INT32", "shape": [-1]}]
        for method, path, content, code, message in (
            ("GET", "/v2/models/m?signature_name=no", None, 400, "one of serving_default, total"),
            ("GET", "/v2/models/m/versions/7", None, 404, "version must be 1"),
            ("GET", "/v2/models/m/versions/7/ready", None, 404, "version must be 1"),
            ("POST", "/v2/models/m/infer", b"{}", 400, "the body must have inputs"),
            ("POST", "/v2/models/m/infer", b"[]", 400, "the body must be a JSON object"),
        ):
            answer = client.request(method, path, content)
            assert answer.status_code == code and message in answer.json()["error"], answer.text


def test_what_is_not_there_names_the_model_that_is(folder):
    with serve(folder) as client:
        for method, path in (
            ("POST", "/v1/models/other:predict"),
            ("GET", "/v1/models/other/metadata"),
            ("GET", "/v1/models/m/versions/7"),
            ("GET", "/v2/models/other"),
            ("POST", "/v2/models/other/infer"),
            ("GET", "/favicon.ico"),
        ):
            answer = client.request(method, path, b"{}" if method == "POST" else None)
            assert answer.status_code == 404
            assert answer.json()["error"].endswith("; the model here is m"), answer.text
        for path in ("/v1/chat/completions", "/v1/models"):
            error = client.request("POST", path, b"{}").json()["error"]
            assert error["message"] == f"Not Found: POST {path}; the model here is m"
            assert error["type"] == "invalid_request_error"


def test_a_model_that_fails_is_said_and_counted(folder, monkeypatch):
    def fail(*_):
        raise tf.errors.ResourceExhaustedError(None, None, "no memory")

    with serve(folder) as client:
        monkeypatch.setattr("albert_tf.serving.served_versions.LoadedVersion.run", fail)
        answer = ask(client, {"instances": ["a"]})
        assert answer.status_code == 500
        assert answer.json() == {"error": "ResourceExhaustedError: no memory"}
        assert 'code="500",signature="serving_default"} 1.0' in client.get("/metrics").text


def test_status_metadata_health_metrics_and_page(folder):
    with serve(folder) as client:
        available = {"version": "1", "state": "AVAILABLE"}
        available["status"] = {"error_code": "OK", "error_message": ""}
        for path in ("/v1/models/m", "/v1/models/m/versions/1"):
            assert client.get(path).json() == {"model_version_status": [available]}
        metadata = client.get("/v1/models/m/metadata").json()
        assert metadata["model_spec"]["version"] == "1"
        described = metadata["metadata"]["signature_def"]["signature_def"]["total"]
        assert described["inputs"]["input_ids"]["dtype"] == "DT_INT32"
        dimensions = described["inputs"]["input_ids"]["tensor_shape"]["dim"]
        assert dimensions == [{"size": "-1"}, {"size": "-1"}]
        ask(client, {"instances": ["a", "b"]})
        ask(client, {"instances": []})
        metrics = client.get("/metrics").text
        for line in (
            'albert_requests_total{code="200",signature="serving_default"} 1.0',
            'albert_requests_total{code="400",signature="unknown"} 1.0',
            "albert_batch_rows_sum 2.0",
            'albert_versions_total{event="loaded"} 1.0',
            "albert_requests_in_flight 0.0",
        ):
            assert line in metrics
        assert client.get("/healthz").text == client.get("/readyz").text == "ok\n"
        assert 'encodeURIComponent("m")' in client.get("/").text


def test_what_cannot_be_answered_is_said_in_json(folder):
    limits = Limits(max_rows=2, max_text_bytes=10)
    with serve(folder, limits=limits, max_body_bytes=200) as client:
        for content, code, message in (
            ({"instances": ["a"] * 3}, 400, "1 to 2 rows"),
            ({"instances": ["a" * 11]}, 400, "at most 10 bytes"),
            ({"instances": ["a" * 300]}, 413, "at most 200 bytes"),
            ({"signature_name": "x", "instances": ["a"]}, 400, "serving_default, total"),
            ({"signature_name": "total", "inputs": [[-1]]}, 400, "must not be negative"),
        ):
            answer = ask(client, content)
            assert answer.status_code == code and message in answer.json()["error"]
        for method, path, code, message in (
            ("GET", "/v1/models/other", 404, "Not Found: GET /v1/models/other"),
            ("GET", "/v1/models/m:predict", 405, "Method Not Allowed"),
            ("GET", "/v1/models/m/versions/9", 404, "must be one that is there. Received: 9"),
            ("GET", "/v1/models/m/versions/1:predict", 405, "Method Not Allowed"),
            ("POST", "/v1/models/m/versions/9:predict", 404, "must be 1, which is served"),
        ):
            answer = client.request(method, path)
            assert answer.status_code == code and message in answer.json()["error"], path


def test_a_late_answer_is_a_timeout(folder, monkeypatch):
    settings = BatchingSettings(timeout_seconds=0.05)
    with serve(folder, batching=settings) as client:
        monkeypatch.setattr(
            "albert_tf.serving.served_versions.LoadedVersion.run", lambda *_: time.sleep(0.3)
        )
        answer = ask(client, {"instances": ["a"]})
        assert answer.status_code == 504 and "within 0.05 s" in answer.json()["error"]


@pytest.mark.slow
def test_newer_versions_take_over_and_broken_ones_are_named(folder, saved):
    stop, codes = threading.Event(), []

    def keep_asking(client):
        while not stop.is_set():
            codes.append(ask(client, {"instances": ["abc"]}).status_code)

    with serve(folder) as client, concurrent.futures.ThreadPoolExecutor(4) as pool:
        clients = [pool.submit(keep_asking, client) for _ in range(4)]
        try:
            bring_versions_and_take_them_away(client, folder, saved)
        finally:
            stop.set()
        for done in clients:
            done.result()
    assert len(codes) > 10 and set(codes) == {200}


def bring_versions_and_take_them_away(client, folder, saved):
    publish(saved, folder, 2)
    assert wait_for(client, 2)["state"] == "AVAILABLE"
    assert ask(client, {"instances": ["abc"]}).json()["predictions"][0]["length"] == 203
    (folder / "3").mkdir()
    (folder / "3" / "saved_model.pb").write_bytes(b"no model")
    refused = wait_for(client, 3)
    assert refused["state"] == "END" and refused["status"]["error_code"] == "UNKNOWN"
    assert "3" in refused["status"]["error_message"]
    assert ask(client, {"instances": ["abc"]}).json()["predictions"][0]["length"] == 203
    # Written again, it is tried again.
    shutil.rmtree(folder / "3")
    publish(saved, folder, 3)
    deadline = time.monotonic() + PATIENCE
    while wait_for(client, 3)["state"] != "AVAILABLE":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    # Taken away, the one before it serves again.
    shutil.rmtree(folder / "3")
    while client.get("/v1/models/m/metadata").json()["model_spec"]["version"] != "2":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert 'event="refused"} 1.0' in client.get("/metrics").text


@pytest.mark.slow
def test_old_versions_are_let_go(folder, saved):
    versions = ServedVersions(folder)
    versions.look()
    first = weakref.ref(versions.current)
    publish(saved, folder, 2)
    versions.look()
    gc.collect()
    assert first() is None and versions.current.number == 2


def test_warm_up_that_fails_refuses_the_version(folder):
    versions = ServedVersions(folder)
    versions.look()
    request = {"signature_name": "total", "inputs": {"input_ids": [[-1]]}}
    write_version(folder, 2, sheet={"signatures": {"total": {"request": request}}})
    versions.look()
    assert versions.current.number == 1
    assert "must not be negative" in versions.states()[2].error


def test_versions_are_the_numbers_that_tensorflow_serving_reads(folder, saved, caplog):
    newest = 2**63 - 1
    for name in ("0007", str(newest), str(newest + 1)):
        publish(saved, folder, name)
    versions = ServedVersions(folder)
    for _ in range(2):
        versions.look()
    assert versions.current.number == newest
    passed_over = [record.args[0].name for record in caplog.records if "passed over" in record.msg]
    assert sorted(passed_over) == ["0007", str(newest + 1)]


def test_only_our_own_signatures_say_how_many_places_are_filled(folder):
    versions = ServedVersions(folder)
    versions.look()
    version = versions.current
    name, description = next(iter(version.signatures.items()))
    counted = {"word_count": TensorDescription("int32", (None,))}
    version.signatures[name] = dataclasses.replace(description, outputs=counted)
    version.sheet = {}
    assert version.count_of_places(name) is None
    version.sheet = {"signatures": {}}
    assert version.count_of_places(name) == "word_count"


@pytest.mark.slow
def test_a_refused_version_is_tried_again_once_its_sheet_is_whole(folder):
    write_version(folder, 2)
    sheet = folder / "2" / "signatures.json"
    whole = sheet.read_text() if sheet.is_file() else "{}"
    sheet.write_text('{"signatures": {"to')
    versions = ServedVersions(folder)
    for _ in range(2):
        versions.look()
        assert versions.current.number == 1 and versions.states()[2].state == "END"
    sheet.write_text(whole)
    versions.look()
    assert versions.current.number == 2


def test_model_without_signatures_is_refused(tmp_path):
    tf.saved_model.save(tf.Module(), str(tmp_path / "1"))
    with pytest.raises(VersionError, match="a model must have signatures"):
        ServedVersions(tmp_path).start()


def test_folder_without_a_version_is_named(tmp_path):
    with pytest.raises(VersionError, match="must be a folder"):
        ServedVersions(tmp_path / "none").start()
    (tmp_path / "a").touch()
    with pytest.raises(VersionError, match="must hold a version that works.* a folder with a"):
        ServedVersions(tmp_path).start()


def test_arrays_come_back_as_they_went_in(folder):
    with serve(folder) as client:
        rows = np.arange(12).reshape(4, 3)
        answer = ask(client, {"signature_name": "total", "inputs": {"input_ids": rows.tolist()}})
        assert answer.json()["outputs"] == rows.sum(axis=1).tolist()
