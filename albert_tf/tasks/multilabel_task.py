"""Several labels for a text, or none: the user's own tables. Letters: N texts, C labels."""

import dataclasses
import os
from typing import Any

import numpy as np
from scipy.special import expit

from albert_tf.checkpoints.model_kinds import ClassNotes
from albert_tf.model.tensors import Outputs
from albert_tf.pipelines.task_data import tabular
from albert_tf.pipelines.task_data.encoded_examples import EncodedExamples
from albert_tf.pipelines.task_data.input_problems import InputProblems
from albert_tf.pipelines.task_data.text_examples import TextExample, share_of, texts_of
from albert_tf.tasks import metrics
from albert_tf.tasks.diagnosis import ErrorSample, LabelScores
from albert_tf.tasks.options import TaskOptions
from albert_tf.tasks.text_task import TableTask, inputs_of


class MultiLabelTask(TableTask):
    """Each label is true or false by itself; predictions are probabilities, float [C] a text."""

    metric_names = ("micro_f1", "macro_f1", "subset_accuracy")
    main_metrics = ("micro_f1",)
    fewest_labels = 1

    def __init__(self, name: str, options: TaskOptions, problems: InputProblems):
        super().__init__(name, options, problems)
        for other in ("labels", "label_column"):
            is_set = getattr(options, other) != type(options).__dataclass_fields__[other].default
            if options.label_columns and is_set:
                raise ValueError(
                    f"`label_columns` names the labels and where they are: `{other}` must not be "
                    f"given beside it. Received: {getattr(options, other)!r}"
                )
        if len(set(options.label_columns)) != len(options.label_columns):
            raise ValueError(
                f"`label_columns` must be different. Received: {','.join(options.label_columns)}"
            )
        if not options.label_separator:
            raise ValueError("`label_separator` must not be empty. Received: ''")
        self.labels = tuple(options.label_columns or options.labels)
        self.thresholds: tuple[float, ...] | None = None  # until held-out data has chosen them
        self.keeps_thresholds = False

    def restore(self, notes: ClassNotes, labels: list[str] | None) -> None:
        """Takes labels, windows and thresholds, which stay, from a model that was fine-tuned.

        Raises:
            ValueError: if the model has other labels.
        """
        super().restore(notes, labels)
        self.thresholds = notes.thresholds
        self.keeps_thresholds = self.thresholds is not None

    def notes(self) -> ClassNotes:
        """Returns what a model directory keeps of the task."""
        of_any_table = dataclasses.asdict(super().notes())
        return ClassNotes(**of_any_table, thresholds=self.thresholds)

    def model_arguments(self) -> dict[str, Any]:
        """Returns the names of the labels, and that a text may have several."""
        return {**super().model_arguments(), "multi_label": True}

    def columns(self, split: str) -> tabular.Columns:
        """Returns which columns of a split's file hold what."""
        if not self.options.label_columns:
            return super().columns(split)
        of_texts = super().columns("test")
        names = () if split == "test" else self.options.label_columns
        return dataclasses.replace(of_texts, labels=names)

    def label_rules(self) -> dict[str, Any]:
        """Returns arguments of `tabular.read` that say what labels are."""
        separator = self.options.label_separator
        return {"kind": "several", "labels": self.labels or None, "separator": separator}

    def predict(
        self, examples: list[TextExample], encoded: EncodedExamples, outputs: Outputs
    ) -> list[np.ndarray]:
        """Returns the probabilities of the labels, float [C] a text."""
        del examples, encoded
        return list(expit(np.stack(outputs["scores"])))

    def _loss(self, examples: list[TextExample], outputs: Outputs) -> float:
        scores = np.stack(outputs["scores"]).astype(np.float64)  # [N, C]
        signs = np.where(self._gold(examples), 1, -1)
        return float(np.mean(np.logaddexp(0, -signs * scores)))

    def _gold(self, examples: list[TextExample]) -> np.ndarray:
        """Returns bool [N, C]."""
        gold = np.zeros((len(examples), len(self.labels)), bool)
        index_of = {name: index for index, name in enumerate(self.labels)}
        for row, example in enumerate(examples):
            gold[row, [index_of[name] for name in example.label if name in index_of]] = True
        return gold

    def score(
        self,
        examples: list[TextExample],
        predictions: list[np.ndarray],
        outputs: Outputs | None = None,
    ) -> dict[str, float]:
        """Returns F1 over all labels, its mean over labels, and the share of texts all right.

        Thresholds are chosen on one half of the texts and applied to the other, both ways round.
        What later texts are judged by comes from all of these.
        """
        gold, probabilities = self._gold(examples), np.stack(predictions)
        if self.keeps_thresholds:
            predicted = probabilities >= self.thresholds
        else:
            texts = [texts_of(example) for example in examples]
            # By rank: a held-out part is chosen by the same shares, of which all may be small.
            first = set(sorted(set(texts), key=share_of)[::2])
            in_first = np.array([one in first for one in texts])
            predicted = np.zeros_like(gold)
            for half in (in_first, ~in_first):
                thresholds = _tune(probabilities[~half], gold[~half])
                predicted[half] = probabilities[half] >= thresholds
            self.thresholds = tuple(_tune(probabilities, gold))
        scores = metrics.label_scores(gold, predicted)
        return scores if outputs is None else {**scores, "loss": self._loss(examples, outputs)}

    def baseline(
        self, train_examples: list[TextExample], examples: list[TextExample]
    ) -> dict[str, float]:
        """Returns what always saying the same reaches: as many frequent labels as is best."""
        counts = self._gold(train_examples).sum(axis=0)  # [C]
        order = np.argsort(-counts, kind="stable")
        right = np.concatenate([[0], np.cumsum(counts[order])])  # of the first 0, 1, ... of them
        said = len(train_examples) * np.arange(len(right))
        micro_f1 = 2 * right / np.maximum(said + counts.sum(), 1)
        best = np.isin(np.arange(len(order)), order[: micro_f1.argmax()])
        return metrics.label_scores(self._gold(examples), np.tile(best, (len(examples), 1)))

    def _names(self, predictions: list[np.ndarray]) -> list[list[str]]:
        """Returns the labels that reach their thresholds, a list of names a text."""
        thresholds = self.notes().thresholds_of(self.labels)
        return [
            [name for name, is_in in zip(self.labels, row >= thresholds, strict=True) if is_in]
            for row in map(np.asarray, predictions)
        ]

    def write(
        self,
        folder: str | os.PathLike,
        split: str,
        examples: list[TextExample],
        predictions: list[np.ndarray],
    ) -> None:
        """Writes `<split>.jsonl`: the name of each row, its predicted labels and the right ones."""
        super().write(folder, split, examples, self._names(predictions))

    def diagnose(
        self, examples: list[TextExample], predictions: list[np.ndarray], outputs: Outputs
    ) -> dict[str, Any]:
        """Returns how each label fares, and the texts with the label that is furthest off."""
        del outputs
        gold, probabilities = self._gold(examples), np.stack(predictions)
        thresholds = np.array(self.notes().thresholds_of(self.labels))
        predicted = probabilities >= thresholds
        num_right, num_gold, num_predicted = metrics.label_counts(gold, predicted)
        curves = [
            metrics.f1_of_counts(*metrics.label_counts(gold, probabilities >= threshold)).tolist()
            for threshold in LabelScores.PLACES
        ]  # [places, C]
        off = np.where(gold != predicted, np.abs(probabilities - gold), 0).max(axis=1)  # [N]
        names = self._names(predictions)
        errors = [
            ErrorSample(
                inputs_of(examples[i]),
                ", ".join(examples[i].label) or "(no label)",
                ", ".join(names[i]) or "(no label)",
                score=float(off[i]),
                score_name="furthest off",
            )
            for i in np.argsort(-off, kind="stable")
            if off[i] > 0
        ]
        scores = LabelScores(
            labels=list(self.labels),
            gold=num_gold.tolist(),
            predicted=num_predicted.tolist(),
            right=num_right.tolist(),
            thresholds=thresholds.tolist(),
            curves=np.transpose(curves).tolist(),
        )
        return {"label_scores": scores, "errors": errors}


def _tune(probabilities: np.ndarray, gold: np.ndarray) -> list[float]:
    """Returns the best threshold of each label, C floats, for [N, C] and bool [N, C]."""
    return [
        metrics.best_threshold(column, is_true)
        for column, is_true in zip(probabilities.T, gold.T, strict=True)
    ]
