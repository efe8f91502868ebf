"""Keras on JAX, in a process where importing TensorFlow fails; the checks are in walk_on_jax.py."""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import pytest
import walk_on_jax

ROOT = pathlib.Path(__file__).parents[2]
SLOW = {
    "pretraining_fits_in_bfloat16",
    "every_optimizer_lowers_the_loss",
    "models_of_all_tasks_fit",
    "a_remat_scope_learns_the_same_with_the_same_masks",
    "losses_metrics_and_weights_of_keras",
    "a_keras_file_written_on_tensorflow_answers_the_same",
}
QUICK = walk_on_jax.CHECKS.keys() - SLOW
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("jax") is None, reason="needs the extra [jax]"
)


def walk(folder, names):
    testdata = ROOT / "tests" / "testdata"
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{testdata}"}
    command = [sys.executable, testdata / "walk_on_jax.py", folder, *sorted(names)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads((folder / "results.json").read_text())


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    return walk(tmp_path_factory.mktemp("jax"), QUICK)


@pytest.fixture(scope="module")
def slow(tmp_path_factory):
    return walk(tmp_path_factory.mktemp("jax"), SLOW)


@pytest.mark.parametrize("name", sorted(QUICK))
def test_on_jax_without_tensorflow(quick, name):
    assert quick[name] is None, quick[name]


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(SLOW))
def test_on_jax_without_tensorflow_what_takes_longer(slow, name):
    assert slow[name] is None, slow[name]
