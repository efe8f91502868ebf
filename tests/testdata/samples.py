"""Small things that many tests read, and how files are damaged."""

import dataclasses
import pathlib

import numpy as np

from albert_tf.checkpoints.stored_tensors import CheckpointError
from albert_tf.config import AlbertConfig

TESTDATA = pathlib.Path(__file__).parent
# 340 pieces, learned from the prose in make_vocabulary.py.
VOCABULARY = TESTDATA / "vocabulary.model"


def tiny_config(**changes):
    """Returns the config of a model for `VOCABULARY` that is built, trained and exported at once.

    One layer says what most tests ask: each further one is traced again into every graph. Weights
    are wide apart, as a model so small stands still for long with less.
    """
    config = AlbertConfig.from_preset("albert_tiny")
    values = {
        "vocab_size": 340,
        "num_hidden_layers": 1,
        "classifier_dropout_prob": 0.0,
        "initializer_range": 0.1,
    }
    return dataclasses.replace(config, **values | changes)


def check_damage(file, count, read, seed=0):
    """Damages a file `count` times; returns how often `read()` refused, which it must do by name.

    Half of the copies are cut off, half have one byte changed.
    """
    content, refused = file.read_bytes(), 0
    generator = np.random.default_rng(seed)
    for number in range(count):
        position = int(generator.integers(0, len(content)))
        damaged = bytearray(content[:position] if number % 2 else content)
        if number % 2 == 0:
            damaged[position] ^= int(generator.integers(1, 256))
        file.write_bytes(damaged)
        try:
            read()
        except CheckpointError as error:
            refused += 1
            assert str(file.parent.parent) in str(error)
    file.write_bytes(content)
    return refused
