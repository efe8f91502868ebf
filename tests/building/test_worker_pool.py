"""Tasks in this process and in others: results, progress, errors, deaths."""

import os
import signal
import subprocess
import sys
import time

import pytest

from albert_tf.pipelines.building import worker_pool


def test_one_worker_is_this_process():
    seen = []
    with worker_pool.WorkerPool(1) as pool:
        assert pool.call(os.getpid) == os.getpid()
        pool.run(
            lambda number, advance: advance(number, 1), [(3,), (4,)], lambda *e: seen.append(e)
        )
    assert seen == [(3, 1), (4, 1)]


def test_workers_report_progress_to_this_process():
    seen = []
    with worker_pool.WorkerPool(2) as pool:
        assert pool.call(os.getpid) != os.getpid()
        pool.run(_call_each, [([1, 2],), ([3],)], seen.append)
    assert sorted(seen) == [1, 2, 3]


def _call_each(numbers, advance):
    for number in numbers:
        advance(number)


def test_error_in_a_worker_reaches_the_caller():
    with pytest.raises(ValueError, match="invalid literal"), worker_pool.WorkerPool(2) as pool:
        pool.call(int, "twelve")


def test_error_of_one_task_ends_the_others():
    started = time.monotonic()
    with pytest.raises(TypeError), worker_pool.WorkerPool(2) as pool:
        pool.run(time.sleep, [(60,), (60,)], print)  # sleep() takes no callback
    assert time.monotonic() - started < 30


def test_killed_worker_is_reported_as_such():
    with pytest.raises(ChildProcessError, match="killed"), worker_pool.WorkerPool(2) as pool:
        pool.call(signal.raise_signal, signal.SIGKILL)


def test_a_program_that_workers_cannot_read_is_told():
    program = (
        "from albert_tf.pipelines.building.worker_pool import WorkerPool\n"
        "with WorkerPool(2) as pool:\n    pool.call(int, 3)\n"
    )
    ended = subprocess.run([sys.executable], input=program, capture_output=True, text=True)
    assert "From standard input, or with little memory, num_workers=1 works" in ended.stderr
