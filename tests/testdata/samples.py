"""Where small things lie that many tests read, and how files are damaged."""

import pathlib

import numpy as np

from albert_tf.checkpoints.stored_tensors import CheckpointError

TESTDATA = pathlib.Path(__file__).parent
# 340 pieces, learned from the prose in make_vocabulary.py.
VOCABULARY = TESTDATA / "vocabulary.model"


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
