"""Keras on JAX computes and learns what it does on TensorFlow, to rounding.

Each backend has a process of its own that writes its results, see testdata/both_backends.py.
"""

import os
import pathlib
import subprocess
import sys

import both_backends
import keras
import numpy as np
import pytest

import albert_tf

pytest.importorskip("jax")

pytestmark = [
    pytest.mark.oracle,
    # Keras's own, with a NumPy newer than it.
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]

ROOT = pathlib.Path(__file__).parents[2]
MODELS = both_backends.list_cases()
TRAINED = [(dtype, case) for dtype, case in MODELS if both_backends.is_trained(dtype, case)]
TRAINED += [("float32", name) for name in both_backends.OTHER_OPTIMIZERS]


def start(backend, *words):
    environment = {
        **os.environ,
        "KERAS_BACKEND": backend,
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests" / "testdata")]),
    }
    command = [sys.executable, *words]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def wait(process):
    _, errors = process.communicate()
    assert process.returncode == 0, errors[-3000:]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with what both leave."""
    folder = tmp_path_factory.mktemp("backends")
    script = ROOT / "tests" / "testdata" / "both_backends.py"
    for process in [start(backend, script, folder) for backend in ("jax", "tensorflow")]:
        wait(process)
    return folder


@pytest.fixture(scope="module")
def results(folder):
    """{backend: {"dtype/case/part/name": array}}"""
    return {backend: dict(np.load(folder / f"{backend}.npz")) for backend in ("jax", "tensorflow")}


def pairs(results, *parts):
    """Returns {name: (on JAX, on TensorFlow)} of a part of a case."""
    assert results["jax"].keys() == results["tensorflow"].keys()
    prefix = "/".join([*parts, ""])
    names = [name for name in results["jax"] if name.startswith(prefix)]
    assert names
    return {name: (results["jax"][name], results["tensorflow"][name]) for name in names}


def assert_close(ours, theirs, relative, absolute, name):
    """Equal within a part of the largest number; what is masked by -1e30 is masked in both."""
    masked = np.abs(theirs) > 1e20
    np.testing.assert_array_equal(np.abs(ours) > 1e20, masked, err_msg=name)
    ours, theirs = np.where(masked, 0, ours), np.where(masked, 0, theirs)
    tolerance = absolute + relative * np.abs(theirs).max()
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance, err_msg=name)


def distance(compared):
    """Returns how far apart all arrays together are, as a part of their length."""
    sides = zip(*compared.values(), strict=True)
    ours, theirs = (np.concatenate([x.ravel() for x in side]) for side in sides)
    return np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)


@pytest.mark.parametrize(("dtype", "case"), MODELS)
def test_outputs_agree_also_of_a_text_that_is_all_padding(results, dtype, case):
    relative, absolute = {"float32": (2e-6, 1e-6), "mixed_bfloat16": (0.04, 0.002)}[dtype]
    for name, (ours, theirs) in pairs(results, dtype, case, "outputs").items():
        for row in range(len(theirs)):
            assert_close(ours[row], theirs[row], relative, absolute, f"{name}[{row}]")


@pytest.mark.parametrize(("dtype", "case"), MODELS)
def test_loss_and_gradients_agree(results, dtype, case):
    compared = pairs(results, dtype, case, "gradients")
    ours, theirs = compared.pop(f"{dtype}/{case}/gradients/loss")
    np.testing.assert_allclose(ours, theirs, rtol={"float32": 1e-6, "mixed_bfloat16": 0.01}[dtype])
    if dtype != "float32":
        assert distance(compared) < 0.03
        return
    for name, (ours, theirs) in compared.items():
        # Those of some biases are 0 but for rounding.
        assert_close(ours, theirs, 1e-5, 1e-7, name)


@pytest.mark.parametrize(("dtype", "case"), TRAINED)
def test_one_and_twenty_steps_agree(results, dtype, case):
    first = pairs(results, dtype, case, "first_step")
    every = pairs(results, dtype, case, "all_steps")
    reported = pairs(results, dtype, case, "history")
    if dtype != "float32":
        assert distance(first) < 0.003 and distance(every) < 0.01
        np.testing.assert_allclose(*reported[f"{dtype}/{case}/history/loss"], rtol=0.01)
        return
    for name, (ours, theirs) in [*first.items(), *every.items()]:
        assert_close(ours, theirs, 2e-5, 5e-5, name)
    for name, (ours, theirs) in reported.items():
        assert_close(ours, theirs, 2e-6, 0, name)


def test_what_was_saved_on_jax_is_read_on_tensorflow(folder, results):
    batch = both_backends.make_batch()
    of_file = keras.saving.load_model(folder / "jax.keras")
    of_directory = albert_tf.AlbertForPretraining.from_pretrained(folder / "jax")
    assert int(of_file.optimizer.iterations) == 3
    for model in (of_file, of_directory):
        for name, value in model.predict(batch, verbose=0).items():
            np.testing.assert_allclose(value, results["jax"][f"saved/{name}"], atol=1e-5)


BESIDE = """
import numpy as np, tensorflow as tf, albert_tf, both_backends
from samples import VOCABULARY, tiny_config
assert albert_tf.Tokenizer(VOCABULARY).encode("a test")
model = albert_tf.AlbertForPretraining(tiny_config())
model.compile(albert_tf.AdamW(0.001))
batch = both_backends.make_batch()
dataset = tf.data.Dataset.from_tensor_slices(batch).batch(4)
of_dataset = model.evaluate(dataset, verbose=0)
np.testing.assert_allclose(of_dataset, model.evaluate(batch, verbose=0), rtol=1e-5)
assert np.isfinite(model.fit(dataset, verbose=0).history["loss"][0])
"""


def test_beside_tensorflow_jax_takes_its_datasets_and_tokenizer():
    wait(start("jax", "-c", BESIDE))
