"""A folder in which one build works, or several tasks of it on many machines.

Task i of n does the i-th, the (i + n)-th, ... of what can be done by itself: files are tokenized,
and when all are, shards are written. Whatever is done has its own file, so tasks need not know of
each other; each keeps a second start of itself out, and the build as a whole keeps out tasks.
"""

import contextlib
import os
import time
from collections.abc import Iterator, Sequence

from absl import logging

from albert_tf import whole_files
from albert_tf.pipelines.building.example_options import BuildOptions

_LONGEST_WAIT_SECONDS = 60
_SECONDS_BETWEEN_TRIES = 0.1


def share(options: BuildOptions, numbers: Sequence[int]) -> list[int]:
    """Returns which of some numbered pieces of work are this task's, or all."""
    if options.num_tasks is None:
        return list(numbers)
    return [number for number in numbers if number % options.num_tasks == options.task_index]


def log_share(options: BuildOptions, state: str, next_step: str) -> None:
    """Says what a task has done, and to whoever starts tasks himself what comes after all."""
    advice = f". When all tasks have ended, {next_step}" if options.beam_runner is None else ""
    logging.info("task %d of %d: %s%s", options.task_index, options.num_tasks, state, advice)


@contextlib.contextmanager
def entered(options: BuildOptions, work_dir: str) -> Iterator[None]:
    """Keeps out who would write the same files.

    Raises:
        whole_files.FolderInUseError: naming the folder, if it is another's at this moment.
    """
    if options.num_tasks is None:
        with whole_files.only_run_in(options.output_dir):
            _refuse_others(_tasks_in(work_dir), options.output_dir)
            with _partials_removed(options.output_dir, work_dir):
                yield
        return
    own = os.path.join(work_dir, f"task-{options.task_index:05d}-of-{options.num_tasks:05d}")
    with whole_files.only_run_in(own):
        # Those of another number would do what this one does.
        suffix = f"-of-{options.num_tasks:05d}"
        others = [folder for folder in _tasks_in(work_dir) if not folder.endswith(suffix)]
        _refuse_others([options.output_dir, *others], options.output_dir)
        yield
    with contextlib.suppress(OSError):  # of a folder that was complete
        os.rmdir(work_dir)


def _tasks_in(work_dir: str) -> list[str]:
    if not os.path.isdir(work_dir):
        return []
    names = sorted(name for name in os.listdir(work_dir) if name.startswith("task-"))
    return [os.path.join(work_dir, name) for name in names]


def _refuse_others(folders: Sequence[str], output_dir: str) -> None:
    for folder in folders:
        if whole_files.is_in_use(folder):
            who = "a build" if folder == output_dir else os.path.basename(folder)
            raise whole_files.FolderInUseError(f"{output_dir} is in use by {who}")


@contextlib.contextmanager
def alone_for_a_moment(options: BuildOptions, work_dir: str) -> Iterator[None]:
    """Keeps other tasks out of a block that takes no time; they wait for each other.

    Raises:
        whole_files.FolderInUseError: if another one takes longer than a minute.
    """
    if options.num_tasks is None:
        yield
        return
    deadline = time.monotonic() + _LONGEST_WAIT_SECONDS
    with contextlib.ExitStack() as stack:
        while True:
            try:
                stack.enter_context(whole_files.only_run_in(os.path.join(work_dir, "claim")))
                break
            except whole_files.FolderInUseError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(_SECONDS_BETWEEN_TRIES)
        yield


@contextlib.contextmanager
def _partials_removed(*folders: str) -> Iterator[None]:
    """Removes what killed builds, and in the end workers killed by this one, left half-written."""
    try:
        for folder in folders:
            whole_files.remove_partials(folder)
        yield
    finally:
        for folder in folders:
            whole_files.remove_partials(folder)
