"""The lines of progress of a training run: means since the last line, speed, and the time left."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from albert_tf.durations import format_duration
from albert_tf.training import train_step
from albert_tf.training.settings import TrainingSettings

if TYPE_CHECKING:
    import rich.progress


# Values of a row that differ between two runs of the same bits.
OF_THE_CLOCK = ("tokens_per_second", "seconds", "cpu_seconds")


class Progress:
    """Sums since the last line, and the clock.

    On a terminal a bar below the lines moves with every step.

    Args:
        settings: of the training.
        first_step: steps that are done already.
        notes: what `notes` returned after them, so that the next line is that of a run that was
            never interrupted; empty at a beginning.
    """

    def __init__(self, settings: TrainingSettings, first_step: int, notes: dict[str, Any]):
        self._train_steps = settings.train_steps
        self._totals = {name: tuple(pair) for name, pair in notes.get("totals", {}).items()}
        self._tokens = notes.get("tokens", 0)
        seconds, steps = notes.get("seconds", 0.0), notes.get("steps", 0)
        self._window = [time.monotonic() - seconds, first_step - steps]
        self._seconds_before, self._is_compiling = seconds, True
        # Of the row alone, with what the first call of a process takes.
        self._row_began = [time.monotonic() - notes.get("row_seconds", 0.0)]
        self._cpu_began = time.process_time() - notes.get("cpu_seconds", 0.0)
        self._bar = _start_bar(settings.train_steps, first_step) if _is_terminal() else None

    def close(self) -> None:
        """Takes the bar from the terminal, if there is one."""
        if self._bar:
            self._bar.stop()

    def notes(self, step: int) -> dict[str, Any]:
        """Returns what has been added since the last line, as JSON types."""
        return {
            "totals": self._totals,
            "tokens": self._tokens,
            "seconds": time.monotonic() - self._window[0],
            "steps": step - self._window[1],
            "row_seconds": time.monotonic() - self._row_began[0],
            "cpu_seconds": time.process_time() - self._cpu_began,
        }

    def count_steps(self, steps: int, tokens: int) -> None:
        """Counts the steps of a call and the tokens of their batches, padding included.

        The first call of a process compiles, often for longer than all others of its line: it says
        nothing about the speed.
        """
        if self._is_compiling:
            self._first_seconds = time.monotonic() - self._window[0] - self._seconds_before
            self._window[0] += self._first_seconds
            self._window[1] += steps
            self._first_tokens = tokens
            self._is_compiling = False
        else:
            self._tokens += tokens
        if self._bar:
            self._bar.advance(self._bar.task_ids[0], steps)

    def add(self, results: dict[str, tuple[float, float]]) -> None:
        """Adds {name: (sum, weight)} of one step."""
        train_step.add_results(self._totals, results)

    def paused(self) -> contextlib.AbstractContextManager:
        """Returns a context whose time does not count as training time, and without the bar."""
        return _Pause((self._window, self._row_began), self._bar)

    def summarize(self, step: int, learning_rate: float) -> dict[str, float]:
        """Returns the means since the last call, the speed, and the time.

        `seconds` are those of training, pauses left out; `cpu_seconds` are all of this process,
        on all cores together.
        """
        values = train_step.means(self._totals)
        seconds, steps = time.monotonic() - self._window[0], step - self._window[1]
        self._seconds_per_step = seconds / steps if steps else None
        if not steps:
            seconds, self._tokens = self._first_seconds, self._first_tokens
        values["learning_rate"] = learning_rate
        values["tokens_per_second"] = self._tokens / max(seconds, 1e-9)
        now, cpu = time.monotonic(), time.process_time()
        values["seconds"], values["cpu_seconds"] = now - self._row_began[0], cpu - self._cpu_began
        self._totals, self._tokens = {}, 0
        self._window[:] = [now, step]
        self._row_began[0], self._cpu_began = now, cpu
        return values

    def line(self, step: int, values: dict[str, float]) -> str:
        """Returns one line a person can read."""
        time_left = (
            ""
            if self._seconds_per_step is None
            else f"  {format_duration((self._train_steps - step) * self._seconds_per_step)} left"
        )
        left_out = {*OF_THE_CLOCK, "learning_rate", "loss_scale"}
        means = {name: value for name, value in values.items() if name not in left_out}
        return (
            f"step {step:>7,}/{self._train_steps:,}  {format_values(means)}  "
            f"lr {values['learning_rate']:.2e}  {values['tokens_per_second']:,.0f} tokens/s"
            f"{time_left}"
        )


def _is_terminal() -> bool:
    # The lines go to one stream, the bar to the other: they know of each other on a terminal alone.
    return sys.stdout.isatty() and sys.stderr.isatty()


def _start_bar(train_steps: int, first_step: int) -> rich.progress.Progress:
    from rich import console, progress  # only where there is a terminal to draw on

    bar = progress.Progress(
        progress.TextColumn("training"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TextColumn("steps"),
        progress.TimeRemainingColumn(),
        console=console.Console(stderr=True),
        transient=True,
    )
    bar.add_task("training", total=train_steps, completed=first_step)
    bar.start()
    return bar


class _Pause:
    def __init__(self, starts: Sequence[list], bar: rich.progress.Progress | None):
        self._starts, self._bar = starts, bar

    def __enter__(self) -> None:
        self._start = time.monotonic()
        if self._bar:
            self._bar.stop()

    def __exit__(self, *exception) -> None:
        paused = time.monotonic() - self._start
        for start in self._starts:
            start[0] += paused
        if self._bar:
            self._bar.start()


def format_values(values: Mapping[str, float]) -> str:
    """Returns `masked_lm 4.3120 (21.4%)  gradient_norm 0.8100`: each loss with its accuracy."""
    parts = []
    for name, value in values.items():
        task = name.removesuffix("_loss")
        if name.endswith("_loss") and f"{task}_accuracy" in values:
            parts.append(f"{task} {value:.4f} ({100 * values[f'{task}_accuracy']:.2f}%)")
        elif not (name.endswith("_accuracy") and f"{name[:-9]}_loss" in values):
            parts.append(f"{name} {value:.4f}")
    return "  ".join(parts)
