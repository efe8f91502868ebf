"""The blocks of docs/training_in_python.md run, one after another in one process, on stand-ins.

The trackers are not installed for tests: in their place stand modules that take what the blocks
give, as MLflow 3, Weights & Biases 0.31 and Optuna 5 do.
"""

import csv
import json
import os
import pathlib
import re
import subprocess
import sys

import pytest
from samples import tiny_config

from albert_tf import AlbertForPretraining

ROOT = pathlib.Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "training_in_python.md").read_text(encoding="utf-8")
STAND_INS = {
    "mlflow": """
import contextlib, json
tags, figures = {}, []
set_tag = tags.__setitem__
def log_params(params): assert params["task"] == "classification"
def log_metrics(metrics, step): figures.append((step, metrics))
start_run = contextlib.nullcontext
""",
    "wandb": """
class Run:
    rows = {}
    def __enter__(self): return self
    def __exit__(self, *error): return None
    def log(self, values, step): self.rows.setdefault(step, {}).update(values)
def init(project, config): return Run()
""",
    "optuna": """
class TrialPruned(Exception): pass
class Trial:
    def __init__(self, number): self.number, self.told = number, []
    def suggest_float(self, name, low, high, log): return (low, high)[self.number]
    def report(self, value, step): self.told.append((step, value))
    def should_prune(self): return self.number == 1
class Study:
    def optimize(self, score, n_trials):
        self.values, self.pruned = [], []
        for number in range(n_trials):
            trial = Trial(number)
            try: self.values.append(score(trial))
            except TrialPruned: self.pruned.append(trial.told)
    best_params = {}
def create_study(direction): return Study()
""",
}
SHOW = """
import json
print(json.dumps([mlflow.tags, mlflow.figures, run.rows, study.values, study.pruned]))
"""


@pytest.fixture(scope="module")
def shown(tmp_path_factory, tokenizer):
    """What the blocks left in the trackers, and the folder in which they ran."""
    folder = tmp_path_factory.mktemp("reader")
    AlbertForPretraining(tiny_config()).save_pretrained(folder / "models" / "base", tokenizer)
    for name in ("reviews.csv", "reviews_dev.csv"):
        with open(folder / name, "w", newline="", encoding="utf-8") as file:
            rows = [("the old film", "good"), ("a long film", "bad")] * 16
            csv.writer(file).writerows([("text", "label"), *rows])
    for name, code in STAND_INS.items():
        (folder / f"{name}.py").write_text(code, encoding="utf-8")
    first, *others = re.findall(r"^```python\n(.*?)^```", GUIDE, flags=re.M | re.S)
    (folder / "reviews.py").write_text(first, encoding="utf-8")
    run_first = "import runpy; runpy.run_path('reviews.py', run_name='__main__')"
    program = "\n".join([run_first, *others, SHOW])
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}"}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1]), folder


@pytest.mark.slow
def test_trackers_get_every_row_and_the_last_checkpoint(shown):
    (tags, figures, rows, _, _), folder = shown
    kept = (folder / "runs" / "mlflow" / "seed-0" / "metrics.jsonl").read_text().splitlines()
    assert len(figures) == len(kept) > 1
    assert tags["checkpoint"].endswith("step-00000001")
    assert {"train/classification_loss", "dev/accuracy"} <= rows["1"].keys()


@pytest.mark.slow
def test_tuner_gets_the_score_of_a_trial_and_ends_another(shown):
    (_, _, _, values, pruned), folder = shown
    assert len(values) == 1 and 0 <= values[0] <= 1
    assert len(pruned) == 1 and pruned[0][0][0] == 1
    assert not (folder / "runs" / "trial-1" / "results.json").exists()


@pytest.mark.slow
def test_flags_of_a_call_are_those_of_the_command(shown):
    _, folder = shown
    flags = (folder / "runs" / "reviews" / "flags.txt").read_text().splitlines()
    assert "--task=classification" in flags and "--seeds=0,1" in flags
