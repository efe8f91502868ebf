"""Classes and numbers for texts and pairs of texts: GLUE, and the user's own tables."""

import collections
import json
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.special import log_softmax, softmax

from albert_tf import whole_files
from albert_tf.checkpoints.model_kinds import WINDOWS, TaskNotes, TextNotes
from albert_tf.model.keras_model import AlbertTaskModel
from albert_tf.model.task_models import AlbertClassifier, AlbertRegressor
from albert_tf.model.tensors import Outputs
from albert_tf.pipelines.task_data import glue, tabular, text_examples, tfds_examples
from albert_tf.pipelines.task_data.encoded_examples import EncodedExamples
from albert_tf.pipelines.task_data.input_problems import InputError, InputProblems
from albert_tf.pipelines.task_data.text_examples import TextExample, choose_held_out, texts_of
from albert_tf.tasks import metrics
from albert_tf.tasks.diagnosis import Confusion, ErrorSample, ScoreHistogram
from albert_tf.tasks.options import TaskOptions


class TextTask:
    """What GLUE's tasks and the user's own have in common.

    Args:
        name: of the task.
        options: where its data lies and how it is read.
        problems: what happens to malformed rows.
    """

    metric_names: tuple[str, ...] = ()
    main_metrics: tuple[str, ...] = ()
    labels: tuple[str, ...] | None = None  # None for numbers
    is_pair = False
    fewest_examples = 1

    def __init__(self, name: str, options: TaskOptions, problems: InputProblems):
        self.name = name
        self.options = options
        self.problems = problems
        self.long_texts = options.long_texts

    @property
    def model_class(self) -> type[AlbertTaskModel]:
        """The model with this task's head."""
        return AlbertClassifier if self.labels is not None else AlbertRegressor

    @property
    def metric(self) -> str:
        """What the options name, or the leaderboard's: the metric, or the mean of the two."""
        if self.options.metric is not None:
            return self.options.metric
        return self.main_metrics[0] if len(self.main_metrics) == 1 else "mean"

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of what is reported."""
        return (*self.metric_names, *(["mean"] if len(self.main_metrics) > 1 else []))

    def learn(self, examples: list[TextExample]) -> None:
        """GLUE's labels are known; nothing is taken from the examples."""

    def restore(self, notes: TaskNotes, labels: list[str] | None) -> None:
        """Takes the order of the classes from a model that was fine-tuned, here or elsewhere.

        Raises:
            ValueError: if the model has other classes, or reads pairs and this task has none.
        """
        if self.labels is not None:
            asked, self.labels = self.labels, labels_of_model(self.name, self.labels, labels)
            if asked and set(labels or ()) != set(asked):
                self.problems.remark(
                    "the model does not name its classes: its outputs are taken to be, in this "
                    f"order, {', '.join(asked)}. `id2label` in its config.json can say another"
                )
        if notes.is_pair and not self.is_pair:
            raise ValueError(
                f"`task={self.name}` must have two texts (of own data by `text_b_column`): the "
                "model was fine-tuned on pairs. Received: single texts"
            )

    def notes(self) -> TextNotes:
        """Returns what a model directory keeps of the task."""
        return TextNotes(
            task=self.name,
            kind=self.model_class.kind,
            is_pair=self.is_pair,
            max_seq_length=self.options.max_seq_length,
            long_texts=None if self.long_texts == "cut" else self.long_texts,
        )

    def model_arguments(self) -> dict[str, Any]:
        """Returns the names of the classes."""
        return {} if self.labels is None else {"labels": list(self.labels)}

    def encoder(self, training: bool) -> tuple[Callable[..., EncodedExamples], dict[str, Any]]:
        """Returns `text_examples.encode_texts` and its arguments."""
        del training
        labels = None if self.labels is None else list(self.labels)
        return text_examples.encode_texts, {
            "max_seq_length": self.options.max_seq_length,
            "labels": labels,
            "windows": WINDOWS.get(self.long_texts),
        }

    def predict(
        self, examples: list[TextExample], encoded: EncodedExamples, outputs: Outputs
    ) -> list:
        """Returns class names, or numbers."""
        del examples, encoded
        scores = np.stack(outputs["scores"])
        if self.labels is None:
            return scores.tolist()
        return [self.labels[index] for index in scores.argmax(axis=-1)]

    def score(
        self, examples: list[TextExample], predictions: list, outputs: Outputs | None = None
    ) -> dict[str, float]:
        """Returns the task's metrics, their mean where the leaderboard has that, and the loss."""
        gold = [example.label for example in examples]
        if self.labels is not None:
            # F1 is that of class "1", in whatever order the model has its classes.
            index_of = {name: index for index, name in enumerate(sorted(self.labels))}
            gold, predictions = (
                np.array([index_of[name] for name in names]) for names in (gold, predictions)
            )
        scores = {
            name: metrics.METRICS[name](np.asarray(gold), np.asarray(predictions))
            for name in self.metric_names
        }
        if len(self.main_metrics) > 1:
            scores["mean"] = float(np.mean([scores[name] for name in self.main_metrics]))
        return scores if outputs is None else {**scores, "loss": self._loss(examples, outputs)}

    def _loss(self, examples: list[TextExample], outputs: Outputs) -> float:
        """Returns the mean cross-entropy, or squared error, of examples with labels."""
        scores = np.stack(outputs["scores"]).astype(np.float64)
        if self.labels is None:
            return float(np.mean((scores - [example.label for example in examples]) ** 2))
        index_of = {name: index for index, name in enumerate(self.labels)}
        gold = [index_of[example.label] for example in examples]
        return float(-np.mean(log_softmax(scores, axis=-1)[np.arange(len(gold)), gold]))

    def baseline(
        self, train_examples: list[TextExample], examples: list[TextExample]
    ) -> dict[str, float]:
        """Returns what always saying the most frequent class, or the mean, reaches."""
        gold = [example.label for example in train_examples]
        if self.labels is None:
            guess = float(np.mean(gold))
        else:
            counts = collections.Counter(gold)
            guess = max(self.labels, key=counts.__getitem__)
        return self.score(examples, [guess] * len(examples))

    def write(
        self, folder: str | os.PathLike, split: str, examples: list[TextExample], predictions: list
    ) -> None:
        """Writes `<split>.jsonl`: the name of each row, its prediction and its label."""
        rows = [
            {"id": example.guid, "prediction": prediction}
            | ({} if example.label is None else {"label": example.label})
            for example, prediction in zip(examples, predictions, strict=True)
        ]
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        whole_files.write_text(pathlib.Path(folder) / f"{split}.jsonl", text)

    def diagnose(
        self, examples: list[TextExample], predictions: list, outputs: Outputs
    ) -> dict[str, Any]:
        """Returns a confusion matrix or histogram, and the rows that are furthest off.

        Of classes those come first that were predicted with the greatest probability.
        """
        probabilities = None
        gold = [example.label for example in examples]
        if self.labels is None:
            off = np.abs(np.subtract(gold, predictions))
            order = [i for i in np.argsort(-off, kind="stable") if off[i]]
            picture = {"histogram": ScoreHistogram(self.name, list(gold), list(predictions))}
        else:
            counts = np.zeros((len(self.labels), len(self.labels)), int)
            index_of = {name: index for index, name in enumerate(self.labels)}
            for right, name in zip(gold, predictions, strict=True):
                counts[index_of[right], index_of[name]] += 1
            probabilities = softmax(np.stack(outputs["scores"]), axis=-1).max(axis=-1)
            wrong = [i for i in range(len(gold)) if gold[i] != predictions[i]]
            order = sorted(wrong, key=lambda i: -probabilities[i])
            picture = {"confusion": Confusion(list(self.labels), counts)}
        errors = [
            ErrorSample(
                inputs_of(examples[i]),
                _as_text(gold[i]),
                _as_text(predictions[i]),
                score=None if probabilities is None else float(probabilities[i]),
                score_name="probability",
            )
            for i in order
        ]
        return {**picture, "errors": errors}


class GlueTask(TextTask):
    """A task of GLUE in the official layout; arguments as of `TextTask`."""

    def __init__(self, name: str, options: TaskOptions, problems: InputProblems):
        super().__init__(name, options, problems)
        row = glue.TASKS[name]
        self.labels = row.labels
        self.is_pair = len(row.texts) == 2
        self.metric_names = row.metrics
        self.main_metrics = row.main_metrics
        splits = glue.splits_of(name)
        self.dev_splits, self.test_splits = splits["dev"], splits["test"]
        if options.data_source == "files" and not options.data_dir:
            raise ValueError(
                f"`data_dir` must name the folder of GLUE or of {name}. Received: none"
            )

    def read(self, split: str) -> list[TextExample]:
        """Returns the `TextExample`s of a split."""
        if self.options.data_source == "tfds":
            return tfds_examples.read_glue(self.name, split, self.options.data_dir)
        return glue.read(self.name, self.options.data_dir, split, self.problems)

    def write(
        self, folder: str | os.PathLike, split: str, examples: list[TextExample], predictions: list
    ) -> None:
        """Writes `<split>.jsonl` and, for a test set, the file that the leaderboard takes."""
        super().write(folder, split, examples, predictions)
        if split in self.test_splits:
            path = pathlib.Path(folder) / glue.submission_name(self.name, split)
            glue.write_submission(path, self.name, examples, predictions)


class TableTask(TextTask):
    """Classes or numbers of the user's own CSV, TSV, JSON lines or Parquet."""

    fewest_labels = 2

    def __init__(self, name: str, options: TaskOptions, problems: InputProblems):
        super().__init__(name, options, problems)
        if options.data_source != "files":
            raise ValueError(f"`task={name}` reads files. Received: {options.data_source!r}")
        self.is_pair = options.text_b_column is not None
        # The examples of a training file that is cut in two.
        self._whole: list[TextExample] | None = None
        if name == "classification":
            self.labels = tuple(options.labels)
            self.metric_names = ("accuracy", "macro_f1", "balanced_accuracy", "matthews")
            self.main_metrics = ("accuracy",)
        elif name == "regression":
            self.metric_names = ("pearson", "spearman")
            self.main_metrics = ("pearson",)
        has_dev = options.dev_file or (options.train_file and options.dev_fraction)
        self.dev_splits = ("dev",) if has_dev else ()
        self.test_splits = ("test",) if options.test_file else ()

    def learn(self, examples: list[TextExample]) -> None:
        """Takes the labels from the training file, its held-out part included, unless given."""
        if self.labels == ():
            self.labels = tuple(text_examples.discover_labels(self._whole or examples))
            if len(self.labels) < self.fewest_labels:
                raise ValueError(
                    f"{self.options.train_file} must have at least {self.fewest_labels} labels in "
                    f"column {self.options.label_column}. "
                    f"Received: {', '.join(self.labels) or 'none'}"
                )

    def restore(self, notes: TaskNotes, labels: list[str] | None) -> None:
        """Takes labels, in the model's order, and windows from a model that was fine-tuned.

        Raises:
            ValueError: if the model has other classes, or reads long texts otherwise than asked.
        """
        super().restore(notes, labels)
        if notes.long_texts and self.long_texts not in ("cut", notes.long_texts):
            raise ValueError(
                f"`long_texts` must be {notes.long_texts}, with which the model was fine-tuned. "
                f"Received: {self.long_texts}"
            )
        self.long_texts = notes.long_texts or self.long_texts

    def read(self, split: str) -> list[TextExample]:
        """Returns the `TextExample`s of a split; without a dev file, a part of the training file.

        A text lies on the same side of that cut however often and wherever it stands, and each
        class has its share on both sides.

        Raises:
            InputError: naming file and place, or saying that nothing is left to be held out.
        """
        options = self.options
        path = getattr(options, f"{split}_file")
        cuts = split != "test" and not options.dev_file and options.dev_fraction
        if cuts:
            path = options.train_file
        if not path:
            raise ValueError(f"`{split}_file` must be given. Received: none")
        if cuts and self._whole is not None:
            return self._part(split)
        examples = tabular.read(
            path,
            self.columns(split),
            self.problems,
            **self.label_rules(),
            file_format=options.file_format,
            has_header=options.has_header,
            quoting=options.quoting,
        )
        if not cuts:
            return examples
        self._whole = examples
        return self._part(split)

    def columns(self, split: str) -> tabular.Columns:
        """Returns which columns of a split's file hold what."""
        options = self.options
        return tabular.Columns(
            text_a=options.text_column,
            text_b=options.text_b_column,
            label=None if split == "test" else options.label_column,
            guid=options.id_column,
        )

    def label_rules(self) -> dict[str, Any]:
        """Returns arguments of `tabular.read` that say what labels are."""
        kind = "number" if self.labels is None else "class"
        return {"kind": kind, "labels": self.labels or None}

    def _part(self, split: str) -> list[TextExample]:
        """Returns the rows of the training file that belong to training or to "dev"."""
        options = self.options
        held_out = choose_held_out(self._whole, options.dev_fraction)
        part = [e for e in self._whole if (texts_of(e) in held_out) == (split == "dev")]
        if not part and split == "dev" and self._whole:
            raise InputError(
                f"{options.train_file} has {len(self._whole)} rows: the part that is held out of "
                f"them, `dev_fraction={options.dev_fraction:g}`, is empty. Give `dev_file`, a "
                "larger `dev_fraction`, or `dev_fraction=0` to train without"
            )
        return part


def labels_of_model(
    task: str, asked: tuple[str, ...], labels: Sequence[str] | None
) -> tuple[str, ...]:
    """Returns the classes of a model in its own order, which is that of its outputs.

    Args:
        task: its name, for the message.
        asked: the classes that the data has; none takes those of the model.
        labels: of the model. None, or names that say nothing (`LABEL_0`), are the ones asked for.

    Raises:
        ValueError: if the model has other classes, or neither says what they are.
    """
    if labels is None and not asked:
        raise ValueError(
            f"`labels` must be given for `task={task}`: the model does not name its classes. "
            "Received: none"
        )
    if labels is None:
        return asked
    if not asked or set(labels) == set(asked):
        return tuple(labels)
    if len(labels) == len(asked) and all(name.startswith("LABEL_") for name in labels):
        return asked
    raise ValueError(
        f"the model for `task={task}` must have the classes {', '.join(asked)}. "
        f"Received: {', '.join(labels)}"
    )


def inputs_of(example: TextExample) -> dict[str, str]:
    """Returns {what it is: text} for a report."""
    texts = {"text": example.text_a}
    return texts if example.text_b is None else {**texts, "second text": example.text_b}


def _as_text(value: float | str) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)
