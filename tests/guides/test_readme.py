"""What a reader types from the README works: its commands in order, its Python as it stands."""

import dataclasses
import importlib.util
import json
import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys
import urllib.request

import pytest

from albert_tf.config import AlbertConfig

ROOT = pathlib.Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = {path: path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md")}
PAGES[ROOT / "README.md"] = README
# The reader's sizes, made small.
SMALLER = {
    "albert_tf.pipelines.build_vocabulary": ("--vocab_size=340",),
    "albert_tf.run_pretraining": (
        *("--config=small.json", "--batch_size=4", "--eval_batch_size=4", "--train_steps=4"),
        "--warmup_steps=1",
    ),
}
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


def blocks(language, page=README):
    return re.findall(rf"^```{language}\n(.*?)^```", page, flags=re.M | re.S)


def commands():
    """Yields the words of each command, in order."""
    for block in blocks("sh"):
        for line in block.replace("\\\n", " ").splitlines():
            yield shlex.split(line, comments=True)


def load(name):
    path = ROOT / "tests" / "testdata" / f"{name}.py"
    specification = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def run(command, folder):
    done = subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}:\n{done.stderr[-2000:]}"
    return done


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    """A reader's folder in which the README's commands have run, and what each of them wrote."""
    folder = tmp_path_factory.mktemp("reader")
    (folder / "text").mkdir()
    sentences = load("make_vocabulary").PROSE.strip().splitlines()
    for number in range(4):
        (folder / "text" / f"{number}.txt").write_text("\n".join(sentences[number:]) + "\n")
    load("make_task_data").write_reviews(folder)
    for name in ("configs", "demo"):
        (folder / name).symlink_to(ROOT / name)
    config = dataclasses.replace(
        AlbertConfig.from_preset("albert_mini"),
        **{"vocab_size": 340, "embedding_size": 32, "hidden_size": 64, "intermediate_size": 64},
        **{"num_attention_heads": 4, "num_hidden_layers": 1},
    )
    (folder / "small.json").write_text(config.to_json_string())
    written = {}
    for words in commands():
        if words[:2] == ["python", "-m"] and words[2] != "albert_tf.run_server":
            done = run([sys.executable, *words[1:], *SMALLER.get(words[2], ())], folder)
            written[" ".join(words)] = [*done.stdout.splitlines(), *done.stderr.splitlines()]
    return folder, written


@pytest.fixture(scope="module")
def folder(reader):
    return reader[0]


@pytest.mark.slow
def test_no_command_writes_the_noise_of_its_libraries(reader):
    noise = re.compile(
        r"^(WARNING|[WEIF]\d{4}|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: )|[a-z]Warning:|"
        r"(?i:cuda|oneDNN|cpu_feature_guard|cost.estimator|retracing|absl::InitializeLog)"
    )
    for command, lines in reader[1].items():
        assert 0 < len(lines) < 120, command
        assert not [line for line in lines if noise.search(line)], command


@pytest.mark.slow
def test_commands_lead_from_text_to_an_export(folder):
    for name in ("config.json", "learning_curve.png"):
        assert (folder / "runs" / "small" / name).exists()
    assert (folder / "runs" / "reviews" / "results.json").exists()
    assert (folder / "served" / "reviews" / "1" / "signatures.json").exists()


@pytest.mark.slow
def test_the_first_screen_fine_tunes_the_small_model(folder):
    first, *_ = re.findall(r"`(python -m albert_tf\.run_finetuning [^`]*)`", README)
    run([sys.executable, *shlex.split(first)[1:], "--num_train_epochs=1"], folder)
    assert (folder / "runs" / "sentiment" / "results.json").exists()


@pytest.mark.slow
def test_the_server_answers_the_request(folder):
    server, curl = (
        next(words for words in commands() if name in words)
        for name in ("albert_tf.run_server", "curl")
    )
    port = next(word for word in server if word.startswith("--port="))
    with subprocess.Popen(
        [sys.executable, *(word.replace(port, "--port=0") for word in server[1:])],
        cwd=folder,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            line = process.stdout.readline()
            assert line.startswith("version 1 of albert answers at http://127.0.0.1:")
            path = curl[3].partition(f"{port.removeprefix('--port=')}/")[2]
            with urllib.request.urlopen(line.split()[-1] + path, curl[2].encode()) as answer:
                predictions = json.loads(answer.read())["predictions"]
        finally:
            process.send_signal(signal.SIGTERM)
    assert [prediction["label"] in ("good", "bad") for prediction in predictions] == [True, True]


@pytest.mark.slow
def test_python_blocks_run_after_the_demo(folder):
    demo = folder / "demo_output"
    demo.mkdir()
    (demo / "model").symlink_to(folder / "runs" / "small")
    (demo / "classifier").symlink_to(folder / "runs" / "reviews")
    build = [sys.executable, "-m", "albert_tf.pipelines.build_pretraining_data"]
    sizes = ["--max_seq_length=64", "--max_predictions_per_seq=20"]
    places = ["--input=text/*.txt", "--vocab_model=vocab.model", f"--output_dir={demo}/records"]
    run([*build, *sizes, *places], folder)
    (block,) = blocks("python")
    answers = run([sys.executable, "-c", block], folder).stdout.splitlines()
    assert "she closed the door behind her." in answers[0]
    assert "this function returns a" in answers[1] and answers[-1] in ("good", "bad")
    guide = PAGES[ROOT / "docs" / "architecture.md"]
    (block,) = (block for block in blocks("python", guide) if "demo_output" in block)
    assert "masked_lm_loss" in run([sys.executable, "-c", block], folder).stdout


def anchor_of(heading):
    """Returns where a link to a heading points, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_every_file_and_heading_that_a_page_links_to_exists():
    links = 0
    for page, text in PAGES.items():
        for name, anchor in re.findall(r"\]\(([\w./-]*)(?:#([\w-]+))?\)", text):
            target = (page.parent / name).resolve() if name else page
            assert target.exists(), (page.name, name)
            headings = re.findall(r"^#+ (.+)$", PAGES.get(target, ""), flags=re.M)
            assert not anchor or anchor in map(anchor_of, headings), (page.name, name, anchor)
            links += 1
    assert links > 20


def test_every_program_that_a_page_names_exists():
    for page, text in PAGES.items():
        for name in re.findall(r"python ((?:benchmarks|demo)/\w+\.py)", text):
            assert (ROOT / name).exists(), (page.name, name)
        for name in re.findall(r"python -m albert_tf\.([\w.]+\w)", text):
            path = name.replace(".", "/") + ".py"
            assert (ROOT / "albert_tf" / path).exists() or (ROOT / path).exists(), (page.name, name)


def test_every_guide_is_in_the_list():
    for page in PAGES.keys() - {ROOT / "README.md"}:
        assert f"](docs/{page.name})" in README


def test_two_screens_of_which_the_first_says_what_result_and_commands():
    lines = README.splitlines()
    assert len(lines) <= 110
    first_screen = "\n".join(lines[:30])
    for part in ("**Measured:**", "make demo", "make test", "from albert_tf import"):
        assert part in first_screen
