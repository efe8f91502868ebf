"""Only who has the key is answered, and the key is nowhere to be read."""

import os
import pathlib
import signal
import subprocess
import sys
import urllib.error
import urllib.request

import pytest
from test_model_server import ask, serve, write_version

from albert_tf.serving.known_clients import KnownKeys, digest_key
from albert_tf.serving.settings import KEY_VARIABLE, read_keys

ROOT = pathlib.Path(__file__).parents[2]
KEY, OTHER = "Sesame-0123456789", "Poppy-9876543210"
# Of each protocol one address, and where its error has the sentence.
CLOSED = ("/v1/models/m:predict", "/v2/models/m/infer", "/v1/embeddings", "/metrics", "/nowhere")
OPEN = ("/healthz", "/readyz", "/v2/health/live", "/v2/health/ready", "/v2/models/m/ready")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    write_version(folder, 1)
    return folder


def test_keys_come_from_a_file_or_the_environment(tmp_path):
    path = tmp_path / "keys"
    path.write_text(f"\ufeff{KEY}\r\n\n {OTHER}=\n")
    assert read_keys(str(path), {}) == (KEY, f"{OTHER}=")
    assert read_keys(None, {KEY_VARIABLE: f"{KEY}\n"}) == (KEY,)
    assert read_keys(None, {}) == ()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "must be a file with a key. Received: .*keys, No such file"),
        (" \n", "must have a key. Received: no characters but spaces"),
        (
            f"{OTHER}\nmy {KEY}",
            "must have a key a line, of letters.* Received: key 2 has other characters",
        ),
        ("Schlüssel", "must have .* Received: key 1 has other characters"),
        (f"{KEY}\n" * 10_000, "must have at most 65,536 bytes. Received: more"),
    ],
)
def test_a_file_without_a_key_that_a_header_can_carry_is_refused(tmp_path, content, message):
    if content is not None:
        (tmp_path / "keys").write_text(content)
    with pytest.raises(ValueError, match=f"`api_key_file` {message}") as refused:
        read_keys(str(tmp_path / "keys"), {})
    assert KEY not in str(refused.value) and "Schl" not in str(refused.value)
    with pytest.raises(ValueError, match=f"{KEY_VARIABLE} must have a key"):
        read_keys(None, {KEY_VARIABLE: ""})
    with pytest.raises(ValueError, match="must not be given where ALBERT_API_KEY is"):
        read_keys("keys", {KEY_VARIABLE: KEY})


@pytest.mark.parametrize(
    ("headers", "fault", "detail"),
    [
        ([], "none", ""),
        ([b"Basic " + KEY.encode()], "another scheme", ""),
        ([KEY.encode()], "another scheme", ""),
        ([b"Bearer"], "another key", ', error="invalid_token"'),
        ([b"Bearer " + KEY[:-1].encode()], "another key", ', error="invalid_token"'),
        ([b"Bearer \xff"], "another key", ', error="invalid_token"'),
        ([b"Bearer " + KEY.encode()] * 2, "several", ""),
        ([b"Bearer " + KEY.encode()], None, ""),
        ([b"bearer  " + OTHER.encode()], None, ""),
    ],
)
def test_a_key_is_the_right_one_or_what_came_is_described(headers, fault, detail):
    known = KnownKeys(None, [digest_key(key.encode()) for key in (KEY, OTHER)])
    pairs = [(b"host", b"localhost"), *((b"authorization", value) for value in headers)]
    assert known.find_fault(pairs) == (fault, detail)


@pytest.mark.slow
def test_each_protocol_says_401_in_its_own_form(folder):
    with serve(folder, keys=(KEY,)) as client:
        for path in CLOSED:
            answer = client.request("POST", path, b"{}")
            assert answer.status_code == 401, path
            assert answer.headers["www-authenticate"] == 'Bearer realm="albert_tf"'
            error = answer.json()["error"]
            if path == "/v1/embeddings":
                assert (error["type"], error["code"]) == (
                    "invalid_request_error",
                    "invalid_api_key",
                )
                error = error["message"]
            assert error == "Authorization must be Bearer and a key of this server. Received: none"
        for path in OPEN:
            assert client.get(path).status_code == 200, path
        for path in ("/", "/docs"):
            page = client.get(path)
            assert page.status_code == 200 and 'type="password"' in page.text
        client.headers = {"Authorization": f"Bearer {OTHER}"}
        answer = ask(client, {"instances": ["a"]})
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].endswith('error="invalid_token"')
        client.headers = {"Authorization": f"Bearer {KEY}"}
        assert ask(client, {"instances": ["abc"]}).json()["predictions"][0]["length"] == 3
        assert client.get("/openapi.json").json()["security"] == [{"key": []}]
        shown = [client.get(path).text for path in ("/", "/docs", "/openapi.json", "/metrics")]
        assert KEY not in "".join(shown)


@pytest.mark.slow
@pytest.mark.parametrize("place", ["file", "environment"])
def test_the_key_is_in_no_list_of_processes_and_no_line(folder, tmp_path, place):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    flags = [f"--model_dir={folder}", "--port=0", "--model_name=m"]
    if place == "file":
        (tmp_path / "keys").write_text(KEY)
        flags.append(f"--api_key_file={tmp_path / 'keys'}")
    else:
        environment[KEY_VARIABLE] = KEY
    with open(tmp_path / "log", "w+") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "albert_tf.run_server", *flags],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        try:
            line = process.stdout.readline()
            url = line.split()[-1] + "v1/models/m:predict"
            shown = pathlib.Path(f"/proc/{process.pid}/cmdline").read_text()
            assert "albert_tf.run_server" in shown
            codes = []
            for key, body in (
                ("wrong", b"{}"),
                (KEY, b'{"instances": ["abc"]}'),
                (KEY, b'{"instances": 3}'),
            ):
                request = urllib.request.Request(url, body, {"Authorization": f"Bearer {key}"})
                try:
                    with urllib.request.urlopen(request) as answer:
                        codes.append(answer.status)
                        shown += answer.read().decode()
                except urllib.error.HTTPError as error:
                    with error:
                        codes.append(error.code)
                        shown += error.read().decode()
            assert codes == [401, 200, 400]
        finally:
            process.terminate()
            shown += line + process.communicate(timeout=30)[0]
        log.seek(0)
        assert KEY not in shown + log.read()
    assert process.returncode in (0, -signal.SIGTERM)
