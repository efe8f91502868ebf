"""The splits of a fine-tuning run, and what a model says to them."""

import pathlib

from albert_tf.finetuning import results
from albert_tf.finetuning.splits import Split
from albert_tf.inference import batch_prediction
from albert_tf.model.keras_model import AlbertTaskModel
from albert_tf.model.tensors import Outputs
from albert_tf.tasks.table import Task
from albert_tf.training.distribution import Distribution


class Evaluator:
    """Predicts and scores the splits of a run with a model as it is at the moment.

    Dev sets can be large, so `write_predictions` takes those of the last evaluation, after which a
    run trains no more.
    """

    def __init__(
        self,
        task: Task,
        splits: dict[str, Split],
        model: AlbertTaskModel,
        batch_size: int,
        devices: Distribution,
    ):
        self._task, self._splits, self._batch_size = task, splits, batch_size
        stage = "evaluating" if devices.workers.is_chief else None
        self._predict = batch_prediction.make_predict(model, stage, devices.map_batches)
        # (predictions, outputs) of the last evaluation, by split.
        self._latest: dict[str, tuple[list, Outputs]] = {}

    def predict(self, name: str) -> tuple[list, Outputs]:
        """Returns one prediction an example of a split, and what the model gave."""
        split = self._splits[name]
        outputs = self._predict(split.encoded, self._batch_size, self._task.options.max_seq_length)
        return self._task.predict(split.examples, split.encoded, outputs), outputs

    def evaluate(self, name: str) -> dict[str, float]:
        """Returns {metric: value} of a split with labels, and its `loss` where there is one."""
        self._latest[name] = self.predict(name)
        return self._score(name, *self._latest[name])

    def _score(self, name: str, predictions: list, outputs: Outputs) -> dict[str, float]:
        examples = self._splits[name].examples
        return self._task.score(examples, predictions, outputs)

    def forget(self) -> None:
        """Makes `write_predictions` predict again, because the model has changed since."""
        self._latest = {}

    def write_predictions(self, folder: pathlib.Path | None) -> dict[str, dict[str, float]]:
        """Writes the predictions of all splits but that of training; returns {split: scores}.

        Without a folder it computes them alone, as a worker does that writes nothing.
        """
        scores = {}
        for name in self._splits:
            if name == "train":
                continue
            examples = self._splits[name].examples
            latest = self._latest[name] if name in self._latest else self.predict(name)
            predictions, outputs = latest
            if name in self._task.dev_splits:
                scores[name] = self._score(name, predictions, outputs)
            if folder is None:
                continue
            target = folder / "predictions"
            target.mkdir(parents=True, exist_ok=True)
            if name in self._task.dev_splits:
                diagnosis = self._task.diagnose(examples, predictions, outputs)
                results.keep_diagnosis(folder, name, diagnosis)
            self._task.write(target, name, examples, predictions)
        return scores
