"""What becomes of a signal."""

import signal
import sys
import time

import pytest

from albert_tf import stop_signals


def sleep_until_stopped():
    for _ in range(1000):
        time.sleep(0.01)


class SignalledWhenFreed:
    def __del__(self):
        signal.raise_signal(signal.SIGTERM)


@pytest.fixture
def told(monkeypatch):
    """The errors that Python would print and pass over."""
    errors = []
    monkeypatch.setattr(sys, "unraisablehook", lambda error: errors.append(str(error.exc_value)))
    return errors


def test_a_signal_that_comes_while_an_object_is_freed_is_neither_lost_nor_printed(told):
    handlers = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGALRM)
    with pytest.raises(stop_signals.Stopped, match="SIGTERM"), stop_signals.handled():
        SignalledWhenFreed()
        sleep_until_stopped()
    assert not told
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGALRM)) == handlers


def test_a_lost_signal_waits_for_work_that_is_to_be_saved_first():
    saved = []
    with pytest.raises(stop_signals.Stopped), stop_signals.handled():
        SignalledWhenFreed()
        with stop_signals.deferred():
            time.sleep(0.2)
            saved.append(stop_signals.requested())
        sleep_until_stopped()
    assert saved == [signal.SIGTERM]


def test_what_else_fails_while_an_object_is_freed_is_told_as_ever(told):
    class FailsWhenFreed:
        def __del__(self):
            raise ValueError("from a __del__")

    with stop_signals.handled():
        FailsWhenFreed()
    assert told == ["from a __del__"]
