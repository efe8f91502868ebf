"""Whatever clients do, the server answers the others, and ends when it is told to."""

import concurrent.futures
import contextlib
import gzip
import json
import os
import pathlib
import resource
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf
from test_model_server import ask, serve, write_version

from albert_tf.serving import http_server
from albert_tf.serving.known_clients import KnownHosts
from albert_tf.serving.predict_protocol import RequestError
from albert_tf.serving.request_bodies import check_values
from albert_tf.serving.served_versions import ServedVersions
from albert_tf.serving.settings import ConnectionSettings, Limits, ServerSettings

ROOT = pathlib.Path(__file__).parents[2]
PATIENCE = 60  # seconds
HEAD = b"POST /v1/models/m:predict HTTP/1.1\r\nHost: localhost\r\n"
HALF_REQUESTS = {
    "nothing": b"",
    "half a head": b"POST /v1/models/m:pre",
    "a byte of a body": HEAD + b"Content-Length: 1000\r\n\r\n{",
    "half a chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{",
    "no last chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
    "a body nobody reads": b"GET /healthz HTTP/1.1\r\nHost: a.localhost\r\n"
    b"Content-Length: 9\r\n\r\n{",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with one version."""
    folder = tmp_path_factory.mktemp("served")
    write_version(folder, 1)
    return folder


@contextlib.contextmanager
def connected(client, *parts):
    """Yields a socket on which parts of a request were sent."""
    with socket.create_connection(client.address, timeout=PATIENCE) as connection:
        for part in parts:
            connection.sendall(part)
        yield connection


def read_all(connection):
    """Returns what comes until the server closes."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65536):
            received += part
    return received


def wait_until(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def request(body, *headers):
    lines = [HEAD.rstrip(), f"Content-Length: {len(body)}".encode(), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


TOTAL = {"signature_name": "total", "inputs": [[1, 2]]}
ONE = json.dumps(TOTAL).encode()
ANSWER = b'{"outputs": [3]}'


@pytest.mark.parametrize("half", HALF_REQUESTS)
def test_half_requests_are_ended_and_others_answered_meanwhile(folder, half):
    settings = ConnectionSettings(client_seconds=0.3)
    start = time.monotonic()
    with serve(folder, connections=settings) as client:
        with connected(client, HALF_REQUESTS[half]) as connection:
            assert client.get("/healthz").text == "ok\n"
            received = read_all(connection)
        assert time.monotonic() - start < PATIENCE / 2
        if half == "nothing":
            assert received == b""
        elif half == "a body nobody reads":
            assert received.startswith(b"HTTP/1.1 200 OK")
        else:
            assert received.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
            assert b'{"error": "a request must be there within 0.3 s"}' in received
        assert not client.connections()


def test_a_byte_now_and_then_does_not_stop_the_clock(folder):
    settings = ConnectionSettings(client_seconds=0.4)
    with serve(folder, connections=settings) as client:
        for first, drop in ((HEAD + b"Content-Length: 9000\r\n\r\n", b"1"), (HEAD, b"X: 1\r\n")):
            start, ended = time.monotonic(), False
            with connected(client, first) as connection:
                while not ended:
                    assert time.monotonic() - start < PATIENCE
                    time.sleep(0.05)
                    try:
                        connection.sendall(drop)
                    except OSError:
                        ended = True


@pytest.mark.slow
def test_a_client_that_does_not_take_its_answer_is_let_go(folder):
    settings = ConnectionSettings(client_seconds=0.5)
    text = json.dumps({"instances": ["a" * 900_000] * 9}).encode()
    with serve(folder, connections=settings) as client, socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(client.address)
        connection.settimeout(PATIENCE)
        connection.sendall(request(text))
        connection.recv(1000)  # the answer has begun
        assert client.connections()
        wait_until(lambda: not client.connections())


def test_well_mannered_clients_of_every_kind_are_answered(folder):
    with serve(folder) as client:
        with connected(
            client, request(ONE) + request(ONE), request(ONE, b"Connection: close")
        ) as c:
            assert read_all(c).count(ANSWER) == 3  # one after the other on one connection
        lines = b"POST /v1/models/m:predict HTTP/1.0\r\nContent-Length: %d\r\n\r\n" % len(ONE)
        with connected(client, lines + ONE) as connection:
            assert read_all(connection).endswith(ANSWER)
        head = request(b"", b"Expect: 100-continue", b"Connection: close")
        head = head.replace(b"Length: 0", b"Length: %d" % len(ONE))
        with connected(client, head) as connection:
            assert connection.recv(1000).startswith(b"HTTP/1.1 100 Continue")
            connection.sendall(ONE)
            assert read_all(connection).endswith(ANSWER)


def test_too_many_connections_make_room_for_the_newest(folder):
    settings = ConnectionSettings(max_connections=5)
    with serve(folder, connections=settings) as client, contextlib.ExitStack() as stack:
        half = [
            stack.enter_context(connected(client, HALF_REQUESTS["a byte of a body"]))
            for _ in range(20)
        ]
        assert ask(client, TOTAL).content == ANSWER
        read_all(half[0])  # was let go
        wait_until(lambda: len(client.connections()) <= 5)


def test_a_stopped_server_answers_what_came_and_leaves_the_rest(folder, monkeypatch):
    monkeypatch.setattr(http_server, "_DRAIN_SECONDS", 1)
    run = "albert_tf.serving.served_versions.LoadedVersion.run"
    monkeypatch.setattr(run, lambda *_: time.sleep(0.3) or {"y": np.ones(1)})
    with contextlib.ExitStack() as stack:
        pool = stack.enter_context(concurrent.futures.ThreadPoolExecutor(1))
        client = stack.enter_context(serve(folder))
        for half in HALF_REQUESTS.values():
            stack.enter_context(connected(client, half))
        answer = pool.submit(ask, client, {"inputs": ["abc"]})
        wait_until(lambda: "in_flight 4.0" in client.get("/metrics").text)
        start = time.monotonic()
        client.stop()
        assert time.monotonic() - start < 10
        assert answer.result().json() == {"outputs": [1.0]}


def test_a_run_that_takes_too_long_is_answered_when_the_server_stops(folder, monkeypatch):
    monkeypatch.setattr(http_server, "_DRAIN_SECONDS", 0.2)
    run = "albert_tf.serving.served_versions.LoadedVersion.run"
    monkeypatch.setattr(run, lambda *_: time.sleep(2) or {"y": np.ones(1)})
    with serve(folder) as client, concurrent.futures.ThreadPoolExecutor(1) as pool:
        answer = pool.submit(ask, client, {"inputs": ["abc"]})
        wait_until(lambda: "in_flight 1.0" in client.get("/metrics").text)
        client.stop()
        assert answer.result().status_code == 503
        assert answer.result().json() == {"error": "the server stops"}


def test_bodies_are_counted_before_anything_is_built_of_them():
    for body, is_refused in (
        (b'{"instances": [' + b"[]," * 300_000 + b"[]]}", True),
        (b'{"instances": [' + b"{}," * 300_000 + b"{}]}", True),
        (b'{"instances": [' + b"1," * 2_000_001 + b"1]}", True),
        (b'{"instances": ["' + b'","' * 2_000_001 + b'"]}', True),
        (b'{"instances": [' + b"[1,1,1,1,1,1,1,1,1]," * 100_000 + b"1]}", False),
        # Brackets and commas within texts are letters.
        (b'{"instances": ["' + b'[{,\\",[{' * 400_000 + b'"]}', False),
        (b'{"instances": ["\\\\", "' + b"[" * 400_000 + b'"]}', False),
    ):
        if is_refused:
            with pytest.raises(RequestError, match="at most 200000 lists and objects and 2000000"):
                check_values(body)
        else:
            check_values(body)


@pytest.mark.slow
def test_the_server_answers_others_while_it_reads_what_is_huge(folder):
    huge = b'{"instances": [' + b"[]," * 3_299_000 + b"[]]}"
    large = b'{"inputs": [' + b'"",' * 1_500_000 + b'""]}'
    with serve(folder) as client, concurrent.futures.ThreadPoolExecutor(4) as pool:
        asked = [
            pool.submit(client.request, "POST", "/v1/models/m:predict", body)
            for body in (huge, large, huge, large)
        ]
        seconds = []
        while not all(one.done() for one in asked):
            start = time.monotonic()
            assert client.get("/healthz").text == "ok\n"
            seconds.append(time.monotonic() - start)
        messages = {one.result().json()["error"][:30] for one in asked}
        assert messages == {"a body must have at most 20000", "a request must have 1 to 256 r"}
        assert max(seconds) < 2  # it was 5 a request


def test_all_bodies_together_have_a_bound(folder):
    body = b"a" * 190
    with serve(folder, max_body_bytes=200) as client, contextlib.ExitStack() as stack:
        head = HEAD + b"Content-Length: 200\r\n\r\n"
        for _ in range(10):
            stack.enter_context(connected(client, head + body))
        wait_until(lambda: "in_flight 10.0" in client.get("/metrics").text)
        answer = ask(client, {"instances": ["a" * 150]})
        assert (
            answer.status_code == 503 and "together may have 2000 bytes" in answer.json()["error"]
        )
        stack.close()
        wait_until(lambda: "in_flight 0.0" in client.get("/metrics").text)
        assert ask(client, TOTAL).content == ANSWER


def test_bodies_that_need_not_be_read_are_refused_by_their_head(folder):
    with serve(folder) as client:
        for header, code in (
            (b"Content-Length: 99999999999999", b"413"),
            (b"Content-Length: 9\r\nContent-Encoding: gzip", b"415"),
            (b"Content-Length: 9\r\nInference-Header-Content-Length: 2", b"400"),
        ):
            lines = HEAD + header + b"\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
            with connected(client, lines) as connection:
                assert read_all(connection).startswith(b"HTTP/1.1 " + code)
        with connected(
            client, request(gzip.compress(ONE), b"Content-Encoding: gzip", b"Connection: close")
        ) as connection:
            assert b"Content-Encoding must be identity. Received: 'gzip'" in read_all(connection)


def test_errors_are_no_longer_than_they_need_to_be(folder):
    with serve(folder) as client:
        for answer, code in (
            (client.get("/v1/models/m/versions/" + "9" * 5000), 404),
            (client.request("POST", f"/v1/models/m/versions/{'9' * 5000}:predict", ONE), 404),
            (client.get("/v1/models/m/versions/-1"), 404),
            (client.get("/v1/models/m/versions/%D9%A3"), 404),  # an Arabic 3
            (ask(client, {"signature_name": "x" * 1_000_000, "instances": ["a"]}), 400),
            (ask(client, {"instances": [{"x" * 1_000_000: "a"}]}), 400),
            (ask(client, {"instances": [{"b64": "?" * 1_000_000}]}), 400),
            (ask(client, {"signature_name": "total", "inputs": [["x" * 1_000_000]]}), 400),
            (client.request("POST", "/v1/models/m:predict", b"\xff" * 1_000_000), 400),
            (client.request("POST", "/v1/models/m:predict", b"[" * 1_000_000), 400),
            (client.request("POST", "/v1/models/m:predict", b'{"inputs": 1e999}'), 400),
        ):
            assert answer.status_code == code and len(answer.content) < 2100, answer.content[:200]
            assert answer.json()["error"]


def test_inputs_that_the_model_refuses_are_named(tmp_path):
    module = tf.Module()

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def parse(examples):
        rows = tf.io.parse_example(examples, {"ids": tf.io.RaggedFeature(tf.int64)})["ids"]
        fits = tf.debugging.Assert(tf.size(rows.values) > 0, ["ids must be there. Received:", [0]])
        with tf.control_dependencies([fits]):
            return {"count": tf.identity(rows.row_lengths())}

    tf.saved_model.save(module, str(tmp_path / "1"), signatures={"serving_default": parse})
    with serve(tmp_path) as client:
        answer = ask(client, {"instances": [{"b64": "//8="}]})  # b"\xff\xff"
        assert answer.status_code == 400
        assert answer.json()["error"].startswith("Could not parse example input, value: '\ufffd")
        answer = ask(client, {"instances": [""]})
        assert answer.status_code == 400
        assert answer.json() == {"error": "ids must be there. Received: 0"}


def test_names_of_other_libraries_are_told_the_right_ones(tmp_path):
    module = tf.Module()
    specs = [
        tf.TensorSpec([None, None], tf.int32, name=name)
        for name in ("input_ids", "input_mask", "segment_ids")
    ]

    @tf.function(input_signature=specs)
    def total(input_ids, input_mask, segment_ids):
        return {"y": tf.reduce_sum(input_ids * input_mask + segment_ids, axis=1)}

    tf.saved_model.save(module, str(tmp_path / "1"), signatures={"serving_default": total})
    ids = {"input_ids": [2, 3], "token_type_ids": [0, 0], "attention_mask": [1, 1]}
    with serve(tmp_path) as client:
        columns = {name: [values] for name, values in ids.items()}
        for content in ({"instances": [ids]}, {"inputs": columns}):
            answer = ask(client, content)
            assert answer.status_code == 400
            assert (
                "must have the inputs input_ids, input_mask, segment_ids (attention_mask is called "
                "input_mask here, token_type_ids is called segment_ids here). Received: {"
            ) in answer.json()["error"]


def test_only_known_hosts_are_answered(folder):
    known = KnownHosts(None, ("Albert.example", "*.svc.example"))
    for host, is_known in {
        "localhost": True,
        "LOCALHOST.:8501": True,
        "app.localhost": True,
        "127.0.0.1:8501": True,
        "10.1.2.3": True,
        "[::1]:8501": True,
        "albert.example:80": True,
        "a.b.svc.example": True,
        "svc.example": False,
        "evil.example": False,
        "localhost.evil.example": False,
        "127.0.0.1.evil.example": False,
        "notalbert.example": False,
        "": False,
        "evil.example:80:80": False,
        "[evil": False,
        "[]": False,
    }.items():
        assert known.knows(host) == is_known, host
    assert KnownHosts(None, ("*",)).knows("evil.example")
    with serve(folder, allowed_hosts=("albert.example",)) as client:
        for host, code in ((b"albert.example", b"200"), (b"evil.example", b"400")):
            lines = b"GET /healthz HTTP/1.1\r\nConnection: close\r\nHost: " + host + b"\r\n\r\n"
            with connected(client, lines) as connection:
                answer = read_all(connection)
            assert answer.startswith(b"HTTP/1.1 " + code)
        assert b"a name that `allowed_hosts` has. Received: 'evil.example'" in answer


@pytest.mark.slow
def test_a_version_that_is_damaged_or_vanishes_harms_nothing(folder, tmp_path, monkeypatch):
    write_version(tmp_path, 1)
    versions = ServedVersions(tmp_path)
    versions.look()
    for number, harm in enumerate((harm_graph, harm_variables, harm_sheet, harm_all), start=2):
        write_version(tmp_path, number)
        harm(tmp_path / str(number))
        versions.look()
        assert versions.current.number == 1
        if harm is not harm_all:
            assert versions.states()[number].state == "END" and versions.states()[number].error
    assert str(tmp_path / "4" / "signatures.json") in versions.states()[4].error
    (tmp_path / "007").mkdir()
    (tmp_path / "\u0663").mkdir()
    versions.look()
    assert versions.current.number == 1 and versions.current.run("total", {"input_ids": [[3]]})


def harm_graph(path):
    graph = path / "saved_model.pb"
    graph.write_bytes(graph.read_bytes()[:-100])


def harm_variables(path):
    for file in (path / "variables").iterdir():
        file.unlink()


def harm_sheet(path):
    (path / "signatures.json").write_text('["no sheet"]')


def harm_all(path):
    (path / "saved_model.pb").unlink()


def test_settings_name_what_is_wrong(tmp_path):
    for make, message in (
        (lambda: ConnectionSettings(client_seconds=float("nan")), "`client_seconds` must be posit"),
        (
            lambda: ConnectionSettings(max_connections=0),
            "`max_connections` must be a posi",
        ),
        (lambda: ServerSettings(model_name="a/{b}"), "`model_name` must be of letters"),
        (lambda: ServerSettings(model_name="</script>"), "`model_name` must be of letters"),
        (lambda: ServerSettings(max_body_bytes=0), "`max_body_bytes` must be a positive integer"),
        (lambda: Limits(max_rows=-1), "`max_rows` must be a positive integer"),
        (lambda: ServedVersions(tmp_path, poll_seconds=0), "`poll_seconds` must be positive"),
    ):
        with pytest.raises(ValueError, match=message):
            make()


def start_server(folder, *flags, **options):
    """Returns a `run_server` process and its address, once it answers."""
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "albert_tf.run_server",
            f"--model_dir={folder}",
            "--port=0",
            "--model_name=m",
            *flags,
        ],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )
    line = process.stdout.readline()
    host, port = line.split()[-1].removeprefix("http://").rstrip("/").split(":")
    return process, (host, int(port))


@pytest.mark.slow
def test_a_signal_ends_the_server_in_order_and_two_at_once(folder):
    for signals, code in (([signal.SIGTERM], 0), ([signal.SIGINT], 0), ([signal.SIGTERM] * 2, 143)):
        process, address = start_server(folder)
        with contextlib.ExitStack() as stack:
            for half in HALF_REQUESTS.values():
                connection = stack.enter_context(socket.create_connection(address))
                connection.sendall(half)
            time.sleep(0.5)
            start = time.monotonic()
            for number in signals:
                process.send_signal(number)
                time.sleep(0.5)
            output, errors = process.communicate(timeout=30)
        assert process.returncode == code, errors
        assert time.monotonic() - start < (10.5 if code == 0 else 3)
        assert "stopping: what has come is answered first" in output
        assert "Traceback" not in errors, errors


@pytest.mark.slow
def test_more_half_requests_than_descriptors_do_no_harm(folder):
    process, address = start_server(
        folder,
        "--client_seconds=5",
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (300, 300)),
    )
    try:
        with contextlib.ExitStack() as stack:
            for _ in range(320):
                connection = stack.enter_context(socket.create_connection(address, timeout=10))
                connection.sendall(HALF_REQUESTS["a byte of a body"])
            start = time.monotonic()
            with socket.create_connection(address, timeout=10) as connection:
                connection.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
                assert read_all(connection).endswith(b"ok\n")
            assert time.monotonic() - start < 2
    finally:
        process.kill()
        process.communicate()


@pytest.mark.slow
def test_a_port_in_use_is_one_line(folder):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [
                *(sys.executable, "-m", "albert_tf.run_server"),
                *(f"--model_dir={folder}", f"--port={port}"),
            ],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert (
        f"run_server: --host and --port must be an address that is free. Received: 127.0.0.1:{port}"
        in done.stderr
    )
