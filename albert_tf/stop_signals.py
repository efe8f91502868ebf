"""Ctrl-C and SIGTERM: what is worth keeping is saved first, and a second signal ends at once.

A command wraps its work in `handled()`. The first signal raises `Stopped` where the program stands,
or, in a block that is `deferred()`, waits for the block to ask `requested()` and to end by itself.
"""

import contextlib
import os
import signal
import sys
import threading
import types
from collections.abc import Iterator
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_MOMENT = 0.05  # seconds


class Stopped(KeyboardInterrupt):
    """The process was asked to end. What passes Ctrl-C on passes this on as well.

    Attributes:
        signal: its number.
        exit_code: 130 for Ctrl-C and 143 for SIGTERM, as shells have it.
        leaves_thread: whether a library computes on in a thread, which can neither be ended nor
            meet an interpreter that is gone: the process must end without more ado.
    """

    def __init__(self, signal_number: int):
        super().__init__(signal.Signals(signal_number).name)
        self.signal = signal_number
        self.exit_code = 128 + signal_number
        self.leaves_thread = False


# Of the process, as signals are: how many blocks wait, which signal came, and what it has raised.
_deferrals = 0
_received: int | None = None
_raised: Stopped | None = None
_handled: tuple[int, ...] | None = None  # signals, within a block of `handled`


@contextlib.contextmanager
def handled() -> Iterator[None]:
    """Turns Ctrl-C and SIGTERM into `Stopped`; a second one ends the process at once.

    Outside the main thread, where Python allows no handlers, and within another such block, it
    changes nothing.

    Raises:
        Stopped: also where a library put an error of its own in its place, as NumPy does that finds
            a file not to be one, or a zip file that is closed in the middle of a write.
    """
    global _received, _raised, _handled
    if _handled is not None or threading.current_thread() is not threading.main_thread():
        yield
        return
    # A shell has what it starts with `&` ignore the Ctrl-C that is meant for others.
    _handled = tuple(n for n in _SIGNALS if signal.getsignal(n) != signal.SIG_IGN)
    _received, _raised = None, None
    previous = {}
    try:
        for number in _handled:
            previous[number] = signal.signal(number, _receive)
        with _second_signal_watched(), _raised_again_where_lost():
            yield
    except Exception as error:
        if _raised is not None:
            raise _raised from error
        raise
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        _received, _raised, _handled = None, None, None


def take_again() -> None:
    """Takes the signals back from a library that has put handlers of its own in place of ours."""
    if threading.current_thread() is threading.main_thread():
        for number in _handled or ():
            signal.signal(number, _receive)


@contextlib.contextmanager
def _second_signal_watched() -> Iterator[None]:
    """Ends the process at a second signal also where no handler of Python's runs.

    None does while the main thread is in a library's code, such as a compiler, for minutes.
    """
    receiving, sending = os.pipe()
    os.set_blocking(sending, False)
    before = signal.set_wakeup_fd(sending, warn_on_full_buffer=False)
    watcher = threading.Thread(target=_watch, args=(receiving,), daemon=True)
    # A signal that this thread received would not wake the main thread where that sleeps.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    watcher.start()
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.close(sending)
        watcher.join()
        os.close(receiving)


def _watch(receiving: int) -> None:
    count = 0
    while numbers := os.read(receiving, 64):
        for number in numbers:
            count += number in _SIGNALS
            if count == 2:
                os._exit(128 + number)


@contextlib.contextmanager
def _raised_again_where_lost() -> Iterator[None]:
    """Raises `Stopped` again, a moment later, where Python passed over it, as in a `__del__`."""
    hook, alarm = sys.unraisablehook, signal.getsignal(signal.SIGALRM)

    def repeat(unraisable: Any) -> None:
        lost = unraisable.exc_value
        if lost is None or lost is not _raised:
            hook(unraisable)
            return

        def raise_again(number: int, frame: types.FrameType | None) -> None:
            del number, frame
            if lost is not _raised:
                return
            if not _deferrals:
                raise_if_requested()
            signal.setitimer(signal.ITIMER_REAL, _MOMENT)

        signal.signal(signal.SIGALRM, raise_again)
        signal.setitimer(signal.ITIMER_REAL, _MOMENT)

    sys.unraisablehook = repeat
    try:
        yield
    finally:
        sys.unraisablehook = hook
        if signal.getsignal(signal.SIGALRM) is not alarm:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, alarm)


@contextlib.contextmanager
def hidden_from_children() -> Iterator[None]:
    """Processes that are started within it never see Ctrl-C; who started them ends them.

    A terminal sends it to all of a command's processes, each of which would print a traceback. So
    would one that is left half-started: a signal to this process waits for the end of the block.
    """
    from multiprocessing import resource_tracker

    # It unblocks the signal in whoever starts it, which the first child would do.
    resource_tracker.ensure_running()
    with deferred():
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    if not _deferrals:
        raise_if_requested()


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Within it a signal only sets what `requested` returns; the block looks often, and ends."""
    global _deferrals
    _deferrals += 1
    try:
        yield
    finally:
        _deferrals -= 1


def requested() -> int | None:
    """Returns the number of the signal that came, or None."""
    return _received


def raise_if_requested() -> None:
    """Raises `Stopped` if a signal came.

    It is for a block that is `deferred` and has saved its work, and between the parts of long work:
    what a signal raises within a library, the library may lose.
    """
    global _raised
    if _received is not None:
        _raised = Stopped(_received)
        raise _raised


def _receive(number: int, frame: types.FrameType | None) -> None:
    del frame
    global _received
    if _received is not None:
        os._exit(128 + number)
    _received = number
    if not _deferrals:
        raise_if_requested()
