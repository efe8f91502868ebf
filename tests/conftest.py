"""Settings that every test shares."""

import os

# Read by TensorFlow when it is imported, so they stand before any import of it.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import pytest  # noqa: E402
from samples import VOCABULARY, tiny_config  # noqa: E402


@pytest.fixture(scope="session")
def tokenizer():
    """A `Tokenizer` of 340 pieces."""
    from albert_tf import Tokenizer  # not every test wants TensorFlow

    return Tokenizer(VOCABULARY)


@pytest.fixture(scope="session")
def pretrained(tmp_path_factory, tokenizer):
    """A model directory of `tiny_config` without a task's head, to be read and not written to."""
    import keras

    from albert_tf.model.language_models import AlbertForPretraining

    folder = tmp_path_factory.mktemp("pretrained") / "model"
    keras.utils.set_random_seed(0)
    AlbertForPretraining(tiny_config()).save_pretrained(folder, tokenizer)
    return folder


def pytest_collection_modifyitems(items):
    """Brings the file that takes longest to the front: a process would be left alone with it."""
    items.sort(key=lambda item: item.path.name != "test_distributed_runs.py")
