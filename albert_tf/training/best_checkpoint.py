"""The best weights of a run so far, chosen by a score on held-out data, and when to stop."""

import os
import pathlib
import re
from collections.abc import Callable, Collection

from albert_tf import whole_files
from albert_tf.training import checkpoint_store, metric_log


def best_folders(directory: pathlib.Path) -> list[pathlib.Path]:
    """Returns the folders of a run's best weights, and none that a user has put beside them."""
    return [
        folder for folder in directory.glob("best-*") if re.fullmatch(r"best-\d{8,}", folder.name)
    ]


class BestCheckpoint:
    """Keeps `best-<step>/` in a run's directory, the model directory with the highest score.

    What was best, and for how long nothing was better, is read from the run's metric log each time,
    so a run that was killed goes on as if it had not been. There is always a best one: the one that
    was the best at the last checkpoint, to which a kill sends the run back, is kept beside it.

    Args:
        directory: of the run; holds `metrics.jsonl`.
        splits: names of the held-out sets, whose scores are averaged.
        metric: name of the score, the larger the better.
        save_files: writes a model directory into the folder that it is given.
        patience: evaluations without a better one after which training ends; 0 for never.
    """

    def __init__(
        self,
        directory: str | os.PathLike,
        *,
        splits: Collection[str],
        metric: str,
        save_files: Callable[[pathlib.Path], None],
        patience: int = 0,
    ):
        self._directory = pathlib.Path(directory)
        self._splits = splits
        self._metric = metric
        self._save_files = save_files
        self._patience = patience
        whole_files.remove_partials(self._directory)
        for step in self._saved_steps():
            if step > self._checkpoint_step():  # the run goes on from before it
                whole_files.remove_directory(self._folder(step))

    def _folder(self, step: int) -> pathlib.Path:
        return self._directory / f"best-{step:08d}"

    def _saved_steps(self) -> list[int]:
        return [int(folder.name.removeprefix("best-")) for folder in best_folders(self._directory)]

    def _checkpoint_step(self) -> int:
        """Returns the step of the run's last checkpoint, 0 where there is none."""
        return max(checkpoint_store.checkpoint_steps(self._directory / "checkpoints"), default=0)

    def scores(self) -> dict[int, float]:
        """Returns {step: score} of all evaluations, in order."""
        values_by_step = {}
        for row in metric_log.read_metrics(self._directory / "metrics.jsonl"):
            if row["split"] in self._splits:
                values_by_step.setdefault(row["step"], []).append(row[self._metric])
        return {step: sum(values) / len(values) for step, values in values_by_step.items()}

    def best_step(self) -> int:
        """Returns the step of the first evaluation with the highest score."""
        scores = self.scores()
        return max(scores, key=scores.get)

    def last_step(self) -> int:
        """Returns the step of the last evaluation."""
        return max(self.scores())

    def path(self) -> pathlib.Path:
        """Returns the folder of the best checkpoint."""
        return self._folder(self.best_step())

    def after_evaluation(self, step: int, results: dict[str, dict[str, float]]) -> bool:
        """Saves the model if it is the best so far; returns whether to stop training.

        To be given to `loop.train`.
        """
        del results  # they are in the log already
        scores, best_step = self.scores(), self.best_step()
        if step == best_step and not self.path().exists():
            with whole_files.whole_directory(self.path()) as partial:
                self._save_files(partial)
        at_checkpoint = {s: score for s, score in scores.items() if s <= self._checkpoint_step()}
        needed = {best_step, max(at_checkpoint, key=at_checkpoint.get, default=best_step)}
        for old in set(self._saved_steps()) - needed:
            whole_files.remove_directory(self._folder(old))
        evaluations_since = sum(other > best_step for other in scores)
        return bool(self._patience) and evaluations_since >= self._patience
