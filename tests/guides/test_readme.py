"""What a reader types from the README works: its commands in order, its Python as it stands."""

import dataclasses
import importlib.util
import os
import pathlib
import re
import shlex
import subprocess
import sys

import pytest

from albert_tf.config import AlbertConfig

ROOT = pathlib.Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
# The reader's sizes, made small.
SMALLER = {
    "--vocab_size=8000": "--vocab_size=340",
    "--config=albert_mini": "--config=small.json",
    "--batch_size=64": "--batch_size=4",
    "--train_steps=10000": "--train_steps=4",
    "--warmup_steps=500": "--warmup_steps=1",
}


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.M | re.S)


def load(name):
    path = ROOT / "tests" / "testdata" / f"{name}.py"
    specification = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def run(command, folder):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
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
    stand_ins = load("make_task_data")
    stand_ins.write_mrpc(folder)
    stand_ins.write_reviews(folder)
    config = dataclasses.replace(AlbertConfig.from_preset("albert_tiny"), vocab_size=340)
    (folder / "small.json").write_text(config.to_json_string())
    written = {}
    for block in blocks("sh"):
        for command in block.replace("\\\n", " ").splitlines():
            words = shlex.split(command, comments=True)
            if words[:2] == ["python", "-m"]:
                smaller = [SMALLER.get(word, word) for word in words[1:]]
                done = run([sys.executable, *smaller], folder)
                written[command] = [*done.stdout.splitlines(), *done.stderr.splitlines()]
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
def test_commands_lead_from_text_to_a_model_directory(folder):
    assert (folder / "runs" / "mini" / "config.json").exists()
    assert (folder / "runs" / "mini" / "learning_curve.png").exists()


@pytest.mark.slow
def test_python_blocks_run_after_the_demo(folder):
    demo = folder / "demo_output"
    demo.mkdir()
    (demo / "model").symlink_to(folder / "runs" / "mini")
    (demo / "classifier").symlink_to(folder / "runs" / "reviews")
    (folder / "configs").symlink_to(ROOT / "configs")
    build = [sys.executable, "-m", "albert_tf.pipelines.build_pretraining_data"]
    sizes = ["--max_seq_length=64", "--max_predictions_per_seq=20"]
    places = ["--input=text/*.txt", "--vocab_model=vocab.model", f"--output_dir={demo}/records"]
    run([*build, *sizes, *places], folder)
    shown = [run([sys.executable, "-c", block], folder).stdout for block in blocks("python")]
    assert "] of integers" not in shown[0]
    assert "masked_lm_loss" in shown[-1]


def test_every_file_that_the_readme_names_exists():
    for path in re.findall(r"\]\(([\w/.]+)\)", README):
        assert (ROOT / path).exists(), path


def test_first_screen_says_what_result_and_commands():
    first_screen = "\n".join(README.splitlines()[:40])
    for part in ("**Measured:**", "make demo", "make test", "from albert_tf import"):
        assert part in first_screen
