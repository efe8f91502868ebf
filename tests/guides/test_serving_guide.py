"""What a reader types from docs/serving.md works, on a stand-in for the fine-tuned model."""

import contextlib
import importlib.util
import json
import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys
import urllib.error
import urllib.request

import pytest
from samples import VOCABULARY, tiny_config

from albert_tf.exporting.settings import ExportSettings
from albert_tf.model.task_models import AlbertClassifier
from albert_tf.pipelines.tokenizer.tokenization import Tokenizer
from albert_tf.serving.settings import ConnectionSettings, ServerSettings, ServiceSettings
from albert_tf.settings import all_rows
from albert_tf.tasks.options import TaskOptions

ROOT = pathlib.Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


def commands():
    for block in re.findall(r"^```sh\n(.*?)^```", GUIDE, flags=re.M | re.S):
        yield from map(shlex.split, block.replace("\\\n", " ").splitlines())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A reader's folder in which the guide's exports were made."""
    folder = tmp_path_factory.mktemp("reader")
    path = ROOT / "tests" / "testdata" / "make_task_data.py"
    specification = importlib.util.spec_from_file_location("make_task_data", path)
    stand_ins = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(stand_ins)
    stand_ins.write_reviews(folder)
    model = folder / "runs" / "reviews"
    vocabulary = Tokenizer(VOCABULARY)
    AlbertClassifier(tiny_config(), labels=["bad", "good"]).save_pretrained(model, vocabulary)
    settings = {"task": "classification", "kind": "classification", "max_seq_length": 32}
    (model / "task.json").write_text(json.dumps(settings))
    for words in commands():
        if words[2:3] == ["albert_tf.run_export"]:
            done = subprocess.run(
                [sys.executable, *words[1:]],
                cwd=folder,
                env=ENVIRONMENT,
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, f"{words}:\n{done.stderr[-2000:]}"
    return folder


@pytest.mark.slow
def test_exports_leave_what_the_guide_lists(folder):
    served = folder / "served" / "reviews"
    assert sorted(path.name for path in served.iterdir()) == ["1", "2", "3"]
    for name in ("signatures.json", "signatures.md", "assets.extra/spiece.model"):
        assert (served / "1" / name).is_file() and name in GUIDE
    sheet = json.loads((served / "2" / "signatures.json").read_text())
    scores = sheet["model"]["quality"]["splits"]["dev"]
    assert scores["examples"] == 60 and {"float32", "int8"} < scores.keys()
    files = json.loads((served / "3" / "signatures.json").read_text())["files"]
    names = [file["file"] for file in files]
    assert names == ["litert.tflite", "litert_float16.tflite", "litert_int8.tflite", "onnx.onnx"]
    assert all(
        (served / "3" / name).stat().st_size == file["bytes"]
        for name, file in zip(names, files, strict=True)
    )


@pytest.mark.slow
def test_python_block_needs_no_albert_tf(folder):
    block = re.findall(r"^```python\n(.*?)^```", GUIDE, flags=re.M | re.S)[0]
    block += "\nimport sys\nassert 'albert_tf' not in sys.modules"
    done = subprocess.run(
        [sys.executable, "-I", "-c", block], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "good" in done.stdout or "bad" in done.stdout


@contextlib.contextmanager
def serving(words, folder):
    """Yields the address of the server that a line of the guide starts."""
    process = subprocess.Popen(
        [sys.executable, *(word.replace("8501", "0") for word in words[1:])],
        cwd=folder,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        line = process.stdout.readline()
        assert line.startswith("version 3 of albert answers at http://127.0.0.1:")
        yield line.split()[-1]
    finally:
        process.terminate()
        # It stops in order, then ends as the signal would have it.
        assert process.wait(timeout=30) in (0, -signal.SIGTERM)
        process.stdout.close()


def ask_as_curl(words, url, folder):
    """Returns the JSON that a line with curl gets."""
    options = dict(zip(words[1:-1:2], words[2:-1:2], strict=True))
    headers = {}
    if "-H" in options:
        name, _, value = options["-H"].partition(": ")
        key = (folder / "server.key").read_text().strip()
        headers[name] = value.replace("$(cat server.key)", key)
    body = options["-d"].encode() if "-d" in options else None
    path = words[-1].partition("8501/")[2]
    with urllib.request.urlopen(urllib.request.Request(url + path, body, headers)) as answer:
        return json.loads(answer.read())


@pytest.mark.slow
def test_servers_answer_the_requests_of_the_guide(folder):
    lines = list(commands())
    requests = [words for words in lines if words[0] == "curl"]
    plain, with_key = (words for words in lines if "albert_tf.run_server" in words)
    with serving(plain, folder) as url:
        first, *others = (words for words in requests if "-H" not in words)
        predictions = ask_as_curl(first, url, folder)["predictions"]
        assert len(predictions) == 2 and predictions[0]["label"] in ("good", "bad")
        answers = [ask_as_curl(words, url, folder) for words in others]
        assert answers[0]["id"] == "7" and answers[0]["outputs"][0]["data"][0] in ("good", "bad")
        assert answers[1]["name"] == "albert" and answers[2]["ready"] is True
        with urllib.request.urlopen(url) as page:
            assert "Ask the model" in page.read().decode()
    (make_key,) = re.findall(r"^python -c '(.*)' > server.key$", GUIDE, flags=re.M)
    made = subprocess.run([sys.executable, "-c", make_key], capture_output=True, check=True)
    (folder / "server.key").write_bytes(made.stdout)
    (request,) = (words for words in requests if "-H" in words)
    with serving(with_key, folder) as url:
        assert len(ask_as_curl(request, url, folder)["predictions"]) == 1
        with pytest.raises(urllib.error.HTTPError, match="401"):
            ask_as_curl(first, url, folder)


@pytest.mark.slow
def test_load_does_no_harm(folder):
    command = [sys.executable, str(ROOT / "benchmarks" / "serving_load.py")]
    flags = ["--exported=served/reviews", "--seconds=12", "--clients=8"]
    done = subprocess.run(
        [*command, *flags], cwd=folder, env=ENVIRONMENT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]


def test_signatures_and_flags_that_the_guide_names_exist():
    sources = "".join(
        path.read_text(encoding="utf-8")
        for pattern in ("run_export.py", "run_server.py", "exporting/*signatures.py")
        for path in (ROOT / "albert_tf").glob(pattern)
    )
    known = {"exported", "rest_api_port", "model_base_path"}
    of_export, of_server = (ExportSettings, TaskOptions), (ServiceSettings, ServerSettings)
    for settings_class in (*of_export, *of_server, ConnectionSettings):
        known |= {row.name for row in all_rows(settings_class)}
    for flag in set(re.findall(r"--(\w+)=", GUIDE)) - known:
        assert re.search(rf'DEFINE_\w+\(\s*"{flag}"', sources), flag
    for name in re.findall(r"^\| \w+ \| `(\w+)`", GUIDE, flags=re.M):
        assert f'"{name}"' in sources, name
