"""Keras on JAX, in a process where importing TensorFlow fails; the checks are in walk_on_jax.py."""

import json
import os
import pathlib
import subprocess
import sys

import pytest
import walk_on_jax

ROOT = pathlib.Path(__file__).parents[2]
# `make test-oracle` installs JAX, as the extra [jax] does.
pytestmark = pytest.mark.oracle


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Returns {check: what went wrong, or None} of a process that cannot import TensorFlow."""
    folder, testdata = tmp_path_factory.mktemp("jax"), ROOT / "tests" / "testdata"
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{testdata}"}
    command = [sys.executable, testdata / "walk_on_jax.py", folder, *sorted(walk_on_jax.CHECKS)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads((folder / "results.json").read_text())


@pytest.mark.parametrize("name", sorted(walk_on_jax.CHECKS))
def test_on_jax_without_tensorflow(results, name):
    assert results[name] is None, results[name]
