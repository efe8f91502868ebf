"""Freed memory is used again: counted by the page faults of a process of its own."""

import subprocess
import sys

import pytest

from albert_tf import freed_memory

SCRIPT = """
import ctypes, resource, sys, threading
import numpy as np
from albert_tf.freed_memory import keep_freed_memory

def use(megabytes=3, times=100):
    for _ in range(times):
        np.ones(megabytes << 17)

def count():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    thread = threading.Thread(target=use)  # as TensorFlow's, which have no heap of their own yet
    thread.start()
    thread.join()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

kept = len(sys.argv) > 2 and keep_freed_memory()
if sys.argv[1] == "tensorflow":
    import tensorflow as tf
    spec = tf.TensorSpec([], tf.int32)
    list(tf.data.Dataset.from_generator(lambda: iter([1]), output_signature=spec))
else:
    ctypes.CDLL(None).mallopt(-3, 131072)  # M_MMAP_THRESHOLD, as those datasets do
count()
print(kept, count())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's malloc")
@pytest.mark.parametrize("cause", ["mallopt", pytest.param("tensorflow", marks=pytest.mark.slow)])
def test_large_blocks_that_are_freed_are_used_again(cause):
    def count(*flags):
        command = [sys.executable, "-c", SCRIPT, cause, *flags]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        kept, faults = done.stdout.split()
        return kept == "True", int(faults)

    kept, faults = count("keep")
    if not kept:
        pytest.skip("this C library has no mallopt")
    # 3 MB a hundred times, in pages of 4 kB or larger ones.
    assert faults < 1_000
    if cause == "mallopt" or sys.version_info >= (3, 11):
        assert count()[1] > 3 * faults


def test_elsewhere_nothing_happens(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    assert freed_memory.keep_freed_memory() is False
