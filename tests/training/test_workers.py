"""What workers tell each other, on threads in place of processes."""

import signal
import threading

import keras
import numpy as np
import pytest
import tensorflow as tf

from albert_tf import stop_signals
from albert_tf.training.workers import WorkerLostError, Workers


def run_workers(count, function):
    """Returns what `function(workers)` returns on each of so many workers."""
    rows, barrier, results = [None] * count, threading.Barrier(count), [None] * count

    def work(number):
        def gather(vector):
            assert vector.dtype == np.int32
            rows[number] = vector
            barrier.wait(20)
            gathered = np.stack(rows)
            barrier.wait(20)
            return gathered

        results[number] = function(Workers(count, number, gather))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return results


def test_every_worker_has_what_each_gave():
    given = [b"", b"abc", bytes(range(256)) * 40]
    for pieces in run_workers(3, lambda workers: workers.exchange(given[workers.number])):
        assert pieces == given


def test_the_chief_alone_makes_what_all_have():
    made = []

    def ask(workers):
        return workers.from_chief(lambda: made.append(workers.number) or {"best": 3, "score": 0.1})

    assert run_workers(2, ask) == [{"best": 3, "score": 0.1}] * 2
    assert made == [0]


def test_all_workers_get_the_variables_of_the_chief():
    values = [np.arange(6, dtype=np.float32).reshape(2, 3), np.array(7, np.int64)]

    def share(workers):
        variables = [
            keras.Variable(v if workers.is_chief else v * 0, dtype=str(v.dtype)) for v in values
        ]
        workers.share_variables(variables)
        return [variable.numpy() for variable in variables]

    for shared in run_workers(2, share):
        for one, expected in zip(shared, values, strict=True):
            np.testing.assert_array_equal(one, expected)


def test_all_stop_behind_the_same_step_when_one_was_asked_to():
    def steps_taken(workers):
        for step in range(20):
            try:
                workers.raise_if_stopped()
            except stop_signals.Stopped as stopped:
                return step, stopped.exit_code
            workers.note_stops(tf.constant(float(step == 5)))
        return None

    assert run_workers(2, steps_taken) == [(8, 128 + signal.SIGTERM)] * 2


def test_one_worker_stops_at_once(monkeypatch):
    monkeypatch.setattr(stop_signals, "requested", lambda: signal.SIGINT)
    monkeypatch.setattr(stop_signals, "_received", signal.SIGINT)
    with pytest.raises(stop_signals.Stopped):
        Workers().raise_if_stopped()


def test_a_worker_that_is_gone_is_named_in_one_line():
    lost = tf.errors.UnavailableError(None, None, "Collective aborted\nby /task:1 is unhealthy\nx")
    with pytest.raises(WorkerLostError, match=r"worker 0 of 2 .* last checkpoint.*by /task:1 is"):
        with Workers(2, 0, lambda vector: None).losses_named():
            raise lost
    with pytest.raises(tf.errors.UnavailableError), Workers().losses_named():
        raise lost
