"""`metrics.jsonl`: what a run measured, one object a line, and the same for TensorBoard."""

import dataclasses
import json
import os
import pathlib
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any

from albert_tf import json_files, whole_files


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunEvent:
    """What a callback of a run is told: a row of `metrics.jsonl`, or a checkpoint.

    Attributes:
        directory: `output_dir` of the run; of fine-tuning the folder of the seed.
        seed: of the run; of fine-tuning that of the folder.
        step: how many steps were taken.
        split: what was measured, "train" or the name of held-out data; "" of a checkpoint.
        metrics: {name: value}; empty of a checkpoint.
        checkpoint: the folder, a model directory, complete on disk; None of a row.
    """

    directory: pathlib.Path
    seed: int | None
    step: int
    split: str = ""
    metrics: dict[str, float] = dataclasses.field(default_factory=dict)
    checkpoint: pathlib.Path | None = None


Callback = Callable[[RunEvent], Any]


def check_callbacks(callbacks: Sequence[Callback]) -> None:
    """Refuses what cannot be told of events, before a run begins.

    Raises:
        TypeError: naming what came.
    """
    if not isinstance(callbacks, list | tuple) or not all(map(callable, callbacks)):
        raise TypeError(f"`callbacks` must be a list of functions. Received: {callbacks!r}")


class MetricLog:
    """`metrics.jsonl` in the output directory, one object a line, and the TensorBoard summaries.

    On resumption the lines that a killed run wrote beyond its last checkpoint are dropped, so the
    file reads like that of an uninterrupted run.
    """

    def __init__(self, directory: str | os.PathLike, resumed_step: int):
        self.path = pathlib.Path(directory) / "metrics.jsonl"
        rows = [row for row in read_metrics(self.path) if row["step"] <= resumed_step]
        self._step, self._evaluations = 0, {}
        for row in rows:
            self._remember(row)
        self._next_steps = {row["split"]: row["step"] + 1 for row in rows}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        whole_files.write_text(self.path, "".join(json.dumps(row) + "\n" for row in rows))
        self._writers = {}
        self._directory = pathlib.Path(directory) / "tensorboard"

    def evaluation_at(self, step: int) -> dict[str, dict[str, float]]:
        """Returns {split: {name: value}} as written for `step`, if it is the last with any row."""
        return dict(self._evaluations) if step == self._step else {}

    def _remember(self, row: dict[str, Any]) -> None:
        """Keeps what was measured at the last step; the file may be long."""
        if row["step"] != self._step:
            self._step, self._evaluations = row["step"], {}
        if row["split"] != "train":
            values = {name: row[name] for name in row if name not in ("step", "split")}
            self._evaluations[row["split"]] = values

    def write(self, step: int, split: str, values: dict[str, float]) -> None:
        """Appends one line `{"step": ..., "split": ..., **values}` and the same summaries.

        Raises:
            ValueError: for values that are not finite, which JSON does not have.
            OSError: naming what cannot be written.
        """
        import tensorflow as tf  # not for those who read

        from albert_tf import tensorflow_writes

        row = {"step": step, "split": split, **values}
        with whole_files.errors_name(self.path), open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(row, allow_nan=False) + "\n")
            file.flush()
            os.fsync(file.fileno())  # a checkpoint that survives a power cut has its rows
        self._remember(row)
        with tensorflow_writes.errors_name(self._directory):
            if split not in self._writers:
                folder = str(self._directory / split)
                _mark_restart(folder, self._next_steps.get(split, 0))
                self._writers[split] = tf.summary.create_file_writer(folder)
            with self._writers[split].as_default():
                for name, value in values.items():
                    tf.summary.scalar(name, value, step=step)
            self._writers[split].flush()


def _mark_restart(folder: str, step: int) -> None:
    """Has TensorBoard forget what killed runs wrote from `step` on, where there was one."""
    import tensorflow as tf

    if not os.path.isdir(folder):
        return
    events = tf.compat.v1.Event, tf.compat.v1.SessionLog
    now = time.time()
    # Read before the file of the new writer, whose name is longer.
    path = os.path.join(folder, f"events.out.tfevents.{int(now):010d}.{socket.gethostname()}")
    with tf.io.TFRecordWriter(path) as file:
        file.write(events[0](wall_time=now, file_version="brain.Event:2").SerializeToString())
        start = events[1](status=events[1].START)
        for _ in range(2):  # the first that it meets is no restart to it
            file.write(events[0](wall_time=now, step=step, session_log=start).SerializeToString())


def note_held_out(directory: str | os.PathLike, digests: dict[str, str], step: int | None) -> bool:
    """Keeps which examples a run is judged by; returns whether they were others before.

    What was measured where the run goes on is then dropped, so that it measures it again; and all
    where it has no checkpoint, since it may begin with other weights.

    Args:
        directory: of the run.
        digests: {name of held-out data: what tells them}.
        step: of the newest checkpoint, None for none.
    """
    path, log = (pathlib.Path(directory) / name for name in ("held_out.json", "metrics.jsonl"))
    if step is None:
        log.unlink(missing_ok=True)
    before, rows = json_files.read_object(path) if path.exists() else None, read_metrics(log)
    # Runs that were begun before there was such a file measured on others, as a rule.
    differs = (before or {}) != digests and (before is not None or bool(rows))
    if differs and rows:
        kept = [row for row in rows if row["split"] == "train" or row["step"] < step]
        whole_files.write_text(log, "".join(json.dumps(row) + "\n" for row in kept))
    whole_files.write_json(path, digests)
    return differs


def read_metrics(path: str | os.PathLike) -> list[dict[str, Any]]:
    """Returns the rows of a `metrics.jsonl`; a last line cut off by a kill is left out."""
    if not pathlib.Path(path).exists():
        return []
    # As long as the run was: a million rows are 400 MB.
    return json_files.read_objects(path, {"step": int, "split": str}, largest_bytes=None)
