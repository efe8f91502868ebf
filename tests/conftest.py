"""Settings that every test shares."""

import os

# Read by TensorFlow when it is imported, so they stand before any import of it.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import pytest  # noqa: E402
from samples import VOCABULARY  # noqa: E402


@pytest.fixture(scope="session")
def tokenizer():
    """A `Tokenizer` of 340 pieces."""
    from albert_tf import Tokenizer  # not every test wants TensorFlow

    return Tokenizer(VOCABULARY)
