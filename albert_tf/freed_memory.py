"""Memory that TensorFlow frees stays with the process, for the tensors of the next step.

glibc maps large blocks from the system and gives them back when they are freed, so that each tensor
of the next step is a page fault for every 4 kB. It learns to keep them, until TensorFlow tells it
not to: since 2.16 the first dataset from a generator, on Python 3.11 and newer, has every block
from 128 kB on mapped and given back, in the whole process. A third of the time of a small model's
training on a processor went by in the kernel for that (docs/speed.md).
"""

import ctypes
import sys

# Of malloc.h, mallopt(3). No block is mapped by itself, whatever TensorFlow sets later, but where
# the heap cannot grow. One heap, since each thread's own would keep the most that it ever held; it
# shrinks where 2 GB at its end are free.
_M_MMAP_MAX, _M_ARENA_MAX, _M_TRIM_THRESHOLD = -4, -8, -1
_SETTINGS = {_M_MMAP_MAX: 0, _M_ARENA_MAX: 1, _M_TRIM_THRESHOLD: 2**31 - 1}


def keep_freed_memory() -> bool:
    """Has the C library keep memory that is freed, for all of this process from now on.

    Commands call it, and so do `pretrain` and `finetune`; call it before training with `model.fit`.
    The process then holds what it held at most, little more than it needs at a time.

    Returns:
        Whether there was glibc to be told; elsewhere nothing happens.
    """
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    return mallopt is not None and all(mallopt(*setting) for setting in _SETTINGS.items())
