"""Tasks in this process or in worker processes, with one stream of progress events.

Importing this module imports no TensorFlow: with workers, the parent process stays small.
"""

from __future__ import annotations

import concurrent.futures
import concurrent.futures.process
import multiprocessing
import multiprocessing.connection
import os
import threading
import typing
from collections.abc import Callable, Iterable
from typing import Any, Self

from albert_tf import quiet_tensorflow, stop_signals

if typing.TYPE_CHECKING:
    import multiprocessing.queues
    import types

_SECONDS_BETWEEN_EVENTS = 0.2

_events: multiprocessing.queues.SimpleQueue | None = None  # in a worker: the queue to the parent


def count_usable_cores() -> int:
    """Returns how many cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class WorkerPool:
    """Runs `function(*arguments, advance)` for many arguments, on `num_workers` processes.

    One worker means this very process. Results do not depend on the number: a task is a function
    of its arguments. Used as a context manager.
    """

    def __init__(self, num_workers: int):
        self._num_workers = num_workers
        self._executor: concurrent.futures.ProcessPoolExecutor | None = None
        self._workers: dict[int, multiprocessing.process.BaseProcess] = {}

    def __enter__(self) -> Self:
        if self._num_workers > 1:
            # A forked copy of a process that holds TensorFlow's threads can hang; a fresh one
            # cannot.
            context = multiprocessing.get_context("spawn")
            self._queue = context.SimpleQueue()
            self._executor = concurrent.futures.ProcessPoolExecutor(
                self._num_workers, context, _start_worker, (self._queue,)
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: types.TracebackType | None,
    ) -> None:
        if self._executor:
            workers = list(self._executor._processes.values())  # which it forgets
            self._executor.shutdown(wait=kind is None, cancel_futures=True)
            if kind is not None:
                for worker in workers:
                    worker.kill()
                    worker.join()

    def call(self, function: Callable, *arguments: Any) -> Any:
        """Runs one function without progress and returns its result."""
        if self._executor is None:
            return function(*arguments)
        return self._await_result(self._submit(function, *arguments))

    def run(self, function: Callable, tasks: Iterable[tuple], advance: Callable) -> None:
        """Runs all tasks; `advance` is called in this process with what they report."""
        if self._executor is None:
            for arguments in tasks:
                function(*arguments, advance)
                stop_signals.raise_if_requested()
            return
        waiting = {self._submit(_run_task, function, arguments) for arguments in tasks}
        while waiting:
            done, waiting = concurrent.futures.wait(
                waiting, _SECONDS_BETWEEN_EVENTS, concurrent.futures.FIRST_EXCEPTION
            )
            while not self._queue.empty():
                advance(*self._queue.get())
            for future in done:
                self._await_result(future)

    def _submit(self, function: Callable, *arguments: Any) -> concurrent.futures.Future:
        with stop_signals.hidden_from_children():  # it may start a worker
            future = self._executor.submit(function, *arguments)
        self._workers |= self._executor._processes
        return future

    def _await_result(self, future: concurrent.futures.Future) -> Any:
        try:
            return future.result()
        except concurrent.futures.process.BrokenProcessPool as error:
            # One that a signal ended has a number below 0.
            if any(worker.exitcode == 1 for worker in self._workers.values()):
                raise ChildProcessError(
                    "a worker process ended before it did anything. Each reads the program that "
                    "calls this: it must be a file, with its work under "
                    '`if __name__ == "__main__":`. From standard input, or with little memory, '
                    "num_workers=1 works"
                ) from error
            raise ChildProcessError(
                "a worker process was killed, perhaps for want of memory; the same command with a "
                "smaller num_workers goes on where this one stopped"
            ) from error


def _start_worker(events: multiprocessing.queues.SimpleQueue) -> None:
    global _events
    _events = events
    # A worker is one core's worth of work. These are read when TensorFlow is imported.
    os.environ.update(TF_NUM_INTRAOP_THREADS="1", TF_NUM_INTEROP_THREADS="1", OMP_NUM_THREADS="1")
    quiet_tensorflow.ask_for_quiet()
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    # A parent that is killed cannot tell its workers, which would wait for work forever.
    multiprocessing.connection.wait([multiprocessing.parent_process().sentinel])
    os._exit(1)


def _run_task(function: Callable, arguments: tuple) -> None:
    function(*arguments, lambda *event: _events.put(event))
