"""The tasks of a build as elements of a pipeline of Apache Beam, on any of its runners.

An element is the number of a task, so a pipeline is small whatever the size of the text. What a
task does lies in the folder that all workers share, as under any other scheduler (`shared_folder`),
where a task that a runner repeats, or runs twice at a time, finds what is done already.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import shlex
import time
import typing
from collections.abc import Callable, Iterable
from typing import Any

from absl import logging

from albert_tf import whole_files
from albert_tf.pipelines.building.example_options import BuildOptions

if typing.TYPE_CHECKING:
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

# How long a second copy of a task waits for the first one.
_LONGEST_WAIT_SECONDS = 3600
_SECONDS_BETWEEN_TRIES = 1


def build_on_beam(
    options: BuildOptions, do_share: Callable[..., dict[str, Any] | None]
) -> dict[str, Any] | None:
    """Runs all tasks of a build on Beam's workers, then what remains in this process.

    Args:
        options: of the build, with `beam_runner` and `num_tasks`.
        do_share: does what options say, all or a task, and returns the summary of a complete
            folder; with `only_claims` it does no more than to check. Workers import it.

    Returns:
        The summary.

    Raises:
        ValueError: Apache Beam is not installed, or does not know the runner or a value of an
            option. Options that it does not know are named in a warning: a runner may.
        ChildProcessError: the pipeline failed; what is finished is kept.
    """
    pipeline = _make_pipeline(options)
    whole = dataclasses.replace(options, num_tasks=None)
    summary = do_share(whole, only_claims=True)
    if summary is None:
        _run_tasks(pipeline, dataclasses.replace(options, num_workers=1), do_share)
        # The runner may not have waited for a second copy of a task.
        summary = _when_free(do_share, whole)
    return summary


def _make_pipeline(options: BuildOptions) -> beam.Pipeline:
    try:
        import apache_beam as beam
    except ImportError as error:
        raise ValueError(
            f"`beam_runner` needs more packages ({error}): pip install 'albert_tf[beam]'"
        ) from error
    try:
        return beam.Pipeline(options.beam_runner, _read_options(options.beam_options or ""))
    except ValueError as error:
        raise ValueError(f"`beam_runner`, `beam_options`: {error}") from error


def _read_options(text: str) -> PipelineOptions:
    from apache_beam.options.pipeline_options import PipelineOptions

    usage = io.StringIO()
    try:
        with contextlib.redirect_stderr(usage):
            pipeline_options = PipelineOptions(shlex.split(text))
            known = pipeline_options.get_all_options()  # which reads them
            others = pipeline_options.get_all_options(retain_unknown_options=True).keys() - known
    except SystemExit as error:  # of argparse
        raise ValueError(usage.getvalue().strip().rpartition("error: ")[2]) from error
    if others:
        logging.warning(
            "Apache Beam itself does not know %s of beam_options; a runner may",
            ", ".join(f"--{name}" for name in sorted(others)),
        )
    return pipeline_options


def _run_tasks(pipeline: beam.Pipeline, options: BuildOptions, do_share: Callable) -> None:
    """Runs every task twice: for its text, and when all have done that, for its examples."""
    import apache_beam as beam

    numbers = pipeline | "Number tasks" >> beam.Create(range(options.num_tasks))
    for step in ("Tokenize text", "Write shards"):
        numbers = (
            numbers
            | f"Deal tasks: {step}" >> beam.Reshuffle()
            | step >> beam.Map(_run_task, do_share, options)
            # A group is complete when all of its elements are.
            | f"Key: {step}" >> beam.WithKeys(0)
            | f"Wait for all: {step}" >> beam.GroupByKey()
            | f"Numbers: {step}" >> beam.FlatMap(_numbers_of)
        )
    try:
        state = pipeline.run().wait_until_finish()
    except Exception as error:  # whatever a runner, a job server or gRPC raises
        reason = str(error).strip() or repr(error)
        raise _explain(options, reason.splitlines()[-1]) from error  # of a traceback
    if state != beam.runners.runner.PipelineState.DONE:
        raise _explain(options, f"it ended as {state}")


def _explain(options: BuildOptions, reason: str) -> ChildProcessError:
    return ChildProcessError(
        f"the pipeline on {options.beam_runner} failed ({reason}); the same command goes on where "
        "this one stopped"
    )


def _numbers_of(group: tuple[int, Iterable[int]]) -> Iterable[int]:
    return group[1]


def _run_task(number: int, do_share: Callable, options: BuildOptions) -> int:
    """Does what a task can do by now and returns its number; in a worker."""
    task = dataclasses.replace(options, task_index=number)
    try:
        _when_free(do_share, task)
    except whole_files.FolderInUseError:
        raise
    except ValueError as error:
        # No repetition would help; the last step meets it again and says it in one line.
        logging.error("task %d of %d: %s", number, options.num_tasks, error)
    return number


def _when_free(do_share: Callable, options: BuildOptions) -> Any:
    """Does a share when no other copy of it, or of a task of it, is at work."""
    deadline = time.monotonic() + _LONGEST_WAIT_SECONDS
    while True:
        try:
            return do_share(options)
        except whole_files.FolderInUseError:
            if time.monotonic() > deadline:
                raise
        time.sleep(_SECONDS_BETWEEN_TRIES)
