"""A progress bar on a terminal, an occasional log line anywhere else."""

import sys
import time

from absl import logging

_SECONDS_BETWEEN_LINES = 15.0


class Progress:
    """Shows how far one stage of a build is.

    Used as a context manager. `advance(megabytes, documents)` may be called as often as one likes.
    """

    def __init__(self, stage: str, total_megabytes: float, unit: str = "documents"):
        self._stage, self._unit = stage, unit
        self._total = max(total_megabytes, 1e-9)
        self._done = 0.0
        self._count = 0
        self._started = self._last_line = time.monotonic()
        self._bar = None

    def __enter__(self):
        if sys.stderr.isatty():
            self._bar, self._row = _start_bar(self._stage, self._total)
        else:
            logging.info("%s: %.1f MB", self._stage, self._total)
        return self

    def advance(self, megabytes: float, count: int = 0) -> None:
        """Add finished work."""
        self._done += megabytes
        self._count += count
        rate = self._done / max(time.monotonic() - self._started, 1e-6)
        if self._bar:
            done = f"{self._count:,} {self._unit}, {rate:.1f} MB/s"
            self._bar.update(self._row, completed=min(self._done, self._total), done=done)
        elif time.monotonic() - self._last_line > _SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            left = max(self._total - self._done, 0.0) / max(rate, 1e-9)
            logging.info(
                "%s: %d %s, %.1f of %.1f MB, %.1f MB/s, %.0f s left",
                *(self._stage, self._count, self._unit, self._done, self._total, rate, left),
            )

    def __exit__(self, kind, error, traceback):
        seconds = time.monotonic() - self._started
        if self._bar:
            self._bar.stop()
        if kind is None:
            logging.info(
                "%s: done, %d %s, %.1f MB in %.1f s",
                *(self._stage, self._count, self._unit, self._done, seconds),
            )


def _start_bar(stage, total):
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
