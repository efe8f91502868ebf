"""What a reader types from docs/finetuning.md works, on stand-ins for the files that it names."""

import importlib.util
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys

import pytest
from samples import TESTDATA, VOCABULARY, tiny_config

from albert_tf.finetuning.settings import FinetuningRun
from albert_tf.model.language_models import AlbertForPretraining
from albert_tf.pipelines.building.example_options import BuildOptions
from albert_tf.pipelines.tokenizer.tokenization import Tokenizer
from albert_tf.pretraining.settings import PretrainingRun
from albert_tf.settings import all_rows

ROOT = pathlib.Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "finetuning.md").read_text(encoding="utf-8")


# The reader's sizes, made small.
SMALLER = {
    "albert_tf.run_pretraining": (
        *("--max_seq_length=32", "--batch_size=4", "--train_steps=4", "--warmup_steps=1"),
        *("--eval_steps=4", "--eval_batch_size=4"),
    ),
}


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", GUIDE, flags=re.M | re.S)


def load_stand_ins():
    path = ROOT / "tests" / "testdata" / "make_task_data.py"
    specification = importlib.util.spec_from_file_location("make_task_data", path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def run(words, folder):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{words}:\n{done.stderr[-2000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A reader's folder in which the guide's commands have run."""
    folder = tmp_path_factory.mktemp("reader")
    vocabulary = Tokenizer(VOCABULARY)
    (folder / "models").mkdir()
    AlbertForPretraining(tiny_config()).save_pretrained(folder / "models" / "base", vocabulary)
    stand_ins = load_stand_ins()
    stand_ins.write_mrpc(folder)
    stand_ins.write_reviews(folder)
    stand_ins.write_films(folder)
    rows = [f"{'the old cat sat. ' * 40}{n},{('good', 'bad')[n % 2]}\n" for n in range(40)]
    (folder / "text").mkdir()
    for path in (TESTDATA / "corpus").glob("*book*.txt"):
        (folder / "text" / path.name).write_bytes(path.read_bytes())
    (folder / "reports.csv").write_text("text,label\n" + "".join(rows), encoding="utf-8")
    outputs = {}
    for block in blocks("sh"):
        for command in block.replace("\\\n", " ").splitlines():
            words = shlex.split(command)
            assert words[:2] == ["python", "-m"]
            smaller = SMALLER.get(words[2], ())
            outputs[words[2]] = run([sys.executable, *words[1:], *smaller], folder)
    return folder, outputs


@pytest.mark.slow
def test_commands_leave_what_the_guide_lists(folder):
    folder, outputs = folder
    for name in ("results.json", "report.html", "config.json", "task.json", "learning_curve.png"):
        assert (folder / "runs" / "mrpc" / name).exists(), name
        assert name in GUIDE
    results = json.loads((folder / "runs" / "mrpc" / "results.json").read_text())
    assert set(results["seeds"]) == {"0", "1", "2"}
    assert (folder / "runs" / "own" / "model.safetensors").exists()
    compared = outputs["albert_tf.run_comparison"]
    assert "mrpc" in compared and (folder / "compared.html").exists()
    answers = [json.loads(line) for line in outputs["albert_tf.run_prediction"].splitlines()]
    assert len(answers) == 60 and answers[0]["label"] in ("good", "bad")


@pytest.mark.slow
def test_python_blocks_run(folder):
    shown = [run([sys.executable, "-c", block], folder[0]) for block in blocks("python")]
    assert "'label'" in shown[0]
    assert "classification_loss" in shown[1]
    assert (folder[0] / "pairs.keras").exists() and (folder[0] / "pairs_served").is_dir()


def test_files_and_flags_that_the_guide_names_exist():
    of_commands = (FinetuningRun, PretrainingRun, BuildOptions)
    flags = {row.name for settings in of_commands for row in all_rows(settings)}
    others = {"model_dir", "columns", "output", "runs"}  # of other commands
    for flag in re.findall(r"--(?:no)?(\w+)", GUIDE):
        assert flag in flags | others, flag
    for path in re.findall(r"\]\(([\w./]+\.md)\)", GUIDE):
        assert (ROOT / "docs" / path).exists(), path
    for name in ("finetune", "quick"):
        assert list((ROOT / "configs").glob(f"{name}_*.flags")), name
