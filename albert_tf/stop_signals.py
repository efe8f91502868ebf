"""Ctrl-C and SIGTERM: what is worth keeping is saved first, and a second signal ends at once.

A command wraps its work in `handled()`. The first signal raises `Stopped` where the program stands,
or, in a block that is `deferred()`, waits for the block to ask `requested()` and to end by itself.
"""

import contextlib
import os
import signal
import threading

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
# Of the process, as signals are: how many blocks wait, and which signal came.
_deferrals = 0
_received = None


class Stopped(KeyboardInterrupt):
    """The process was asked to end. What passes Ctrl-C on passes this on as well.

    Attributes:
        signal: its number.
        exit_code: 130 for Ctrl-C and 143 for SIGTERM, as shells have it.
    """

    def __init__(self, signal_number):
        super().__init__(signal.Signals(signal_number).name)
        self.signal = signal_number
        self.exit_code = 128 + signal_number


@contextlib.contextmanager
def handled():
    """Turns Ctrl-C and SIGTERM into `Stopped`; a second one ends the process at once.

    Outside the main thread, where Python allows no handlers, it changes nothing.
    """
    global _received
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {number: signal.signal(number, _receive) for number in _SIGNALS}
    _received = None
    try:
        yield
    finally:
        _received = None
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def deferred():
    """Within it a signal only sets what `requested` returns; the block looks often, and ends."""
    global _deferrals
    _deferrals += 1
    try:
        yield
    finally:
        _deferrals -= 1


def requested():
    """Returns the number of the signal that came, or None."""
    return _received


def raise_if_requested():
    """Raises `Stopped` if a signal came, for a block that is `deferred` and has saved its work."""
    if _received is not None:
        raise Stopped(_received)


def _receive(number, frame):
    del frame
    global _received
    if _received is not None:
        os._exit(128 + number)
    _received = number
    if not _deferrals:
        raise Stopped(number)
