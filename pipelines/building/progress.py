"""A progress bar on a terminal, an occasional log line anywhere else."""

from __future__ import annotations

import sys
import time
import typing
from typing import Self

from absl import logging

from albert_tf.durations import format_duration

if typing.TYPE_CHECKING:
    import types

    import rich.progress

_SECONDS_BETWEEN_LINES = 15.0


class Progress:
    """Shows how far one stage is.

    Used as a context manager. `advance(amount, count)` may be called as often as one likes.

    Args:
        stage: what is done.
        total: how much there is to do.
        unit: what `total` and the amounts are counted in.
        counted: what is counted beside it, or "".
        begins_with_a_line: where there is no terminal, whether begin and end are logged however
            short the stage is.
    """

    def __init__(
        self,
        stage: str,
        total: float,
        unit: str = "MB",
        counted: str = "documents",
        begins_with_a_line: bool = True,
    ):
        self._stage, self._unit, self._counted = stage, unit, counted
        self._total = max(total, 1e-9)
        self._done = 0.0
        self._count = 0
        self._has_lines = begins_with_a_line
        self._started = self._last_line = time.monotonic()
        self._bar: rich.progress.Progress | None = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            self._bar, self._row = _start_bar(self._stage, self._total)
        elif self._has_lines:
            logging.info("%s: %s", self._stage, self._amount(self._total))
        return self

    def advance(self, amount: float, count: int = 0) -> None:
        """Adds finished work."""
        self._done += amount
        self._count += count
        rate = self._done / max(time.monotonic() - self._started, 1e-6)
        if self._bar:
            text = f"{self._counts()}{rate:,.1f} {self._unit}/s"
            self._bar.update(self._row, completed=min(self._done, self._total), done=text)
        elif time.monotonic() - self._last_line > _SECONDS_BETWEEN_LINES:
            self._last_line, self._has_lines = time.monotonic(), True
            seconds_left = max(self._total - self._done, 0.0) / max(rate, 1e-9)
            logging.info(
                "%s: %s%s of %s, %.1f %s/s, %s left",
                self._stage,
                self._counts(),
                self._number(self._done),
                self._amount(self._total),
                rate,
                self._unit,
                format_duration(seconds_left),
            )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: types.TracebackType | None,
    ) -> None:
        seconds = time.monotonic() - self._started
        if self._bar:
            self._bar.stop()
        if kind is None and self._has_lines:
            logging.info(
                "%s: done, %s%s in %.1f s",
                self._stage,
                self._counts(),
                self._amount(self._done),
                seconds,
            )

    def _counts(self) -> str:
        return f"{self._count:,} {self._counted}, " if self._counted else ""

    def _number(self, amount: float) -> str:
        return f"{amount:,.1f}" if self._unit == "MB" else f"{amount:,.0f}"

    def _amount(self, amount: float) -> str:
        return f"{self._number(amount)} {self._unit}"


def _start_bar(stage: str, total: float) -> tuple[rich.progress.Progress, rich.progress.TaskID]:
    from rich import console, progress  # only where there is a terminal to draw on

    bar = progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.TaskProgressColumn(),
        progress.TextColumn("{task.fields[done]}"),
        progress.TimeRemainingColumn(),
        # Records and summaries go to files; the terminal's error stream is for people.
        console=console.Console(stderr=True),
    )
    row = bar.add_task(stage, total=total, done="")
    bar.start()
    return bar, row
