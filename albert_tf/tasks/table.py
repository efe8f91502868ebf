"""The tasks: how each reads its data, encodes it, builds its model, and scores what that says.

This is where data and heads meet. The fine-tuning loop asks a task only for what `Task` lists.
"""

import os
from collections.abc import Callable
from typing import Any, Protocol

from albert_tf import setting_checks
from albert_tf.checkpoints.model_kinds import TaskNotes
from albert_tf.model.keras_model import AlbertTaskModel
from albert_tf.model.tensors import Outputs
from albert_tf.pipelines.task_data import chinese_files, glue
from albert_tf.pipelines.task_data.encoded_examples import EncodedExamples
from albert_tf.pipelines.task_data.input_problems import InputProblems
from albert_tf.tasks.answer_task import AnswerTask
from albert_tf.tasks.chinese_task import ChineseTask
from albert_tf.tasks.choice_task import ChoiceTask
from albert_tf.tasks.embedding_task import EmbeddingTask
from albert_tf.tasks.multilabel_task import MultiLabelTask
from albert_tf.tasks.options import TaskOptions as TaskOptions
from albert_tf.tasks.tag_task import TagTask
from albert_tf.tasks.text_task import GlueTask, TableTask


class Task(Protocol):
    """What fine-tuning and exporting ask of a task, and nothing else.

    Attributes:
        name: one of `TASKS`.
        options: where its data lies and how it is read.
        model_class: with the task's head.
        labels: names of the classes, known after `learn` or `restore`; None where there are none.
        metrics: names of the scores that `score` gives, the larger the better.
        metric: the one that chooses the best checkpoint.
        fewest_examples: that must be computed at once for something to be learned.
        dev_splits, test_splits: names of the sets with and without labels.
    """

    name: str
    options: TaskOptions
    model_class: type[AlbertTaskModel]
    labels: tuple[str, ...] | None
    metrics: tuple[str, ...]
    metric: str
    fewest_examples: int
    dev_splits: tuple[str, ...]
    test_splits: tuple[str, ...]

    def read(self, split: str) -> list:
        """Returns the examples of `"train"` or another split, dataclasses.

        Raises:
            InputError: naming file and place, for what cannot be used.
        """

    def learn(self, examples: list) -> None:
        """Takes from the training examples what the model depends on, such as the labels."""

    def restore(self, notes: TaskNotes, labels: list[str] | None) -> None:
        """Takes the same from the directory of a model that was fine-tuned."""

    def notes(self) -> TaskNotes:
        """Returns what a model directory keeps of the task."""

    def model_arguments(self) -> dict[str, Any]:
        """Returns arguments of the model's constructor, such as the labels."""

    def encoder(self, training: bool) -> tuple[Callable[..., EncodedExamples], dict[str, Any]]:
        """Returns the encoding function and its arguments beside examples and tokenizer."""

    def predict(self, examples: list, encoded: EncodedExamples, outputs: Outputs) -> list:
        """Returns one prediction an example, from what the model gave."""

    def score(
        self, examples: list, predictions: list, outputs: Outputs | None = None
    ) -> dict[str, float]:
        """Returns {metric: value} for examples with labels.

        With what the model gave also their mean `loss`, where the task reports one.
        """

    def baseline(self, train_examples: list, examples: list) -> dict[str, float]:
        """Returns {metric: value} of always giving the most frequent answer."""

    def write(
        self, folder: str | os.PathLike, split: str, examples: list, predictions: list
    ) -> None:
        """Writes predictions in the task's official form."""

    def diagnose(self, examples: list, predictions: list, outputs: Outputs) -> dict[str, Any]:
        """Returns what a report shows beside the scores: {argument of `ReportContent`: value}."""


TASKS: dict[str, Callable[[str, TaskOptions, InputProblems], Task]] = {
    **{name: GlueTask for name in glue.TASKS},
    **{name: ChineseTask for name in chinese_files.TASKS},
    "squad1": AnswerTask,
    "squad2": AnswerTask,
    "cmrc2018": AnswerTask,
    "race": ChoiceTask,
    "tagging": TagTask,
    "classification": TableTask,
    "multilabel": MultiLabelTask,
    "regression": TableTask,
    "embedding": EmbeddingTask,
}


def make_task(name: str, options: TaskOptions, problems: InputProblems) -> Task:
    """Returns a task.

    Args:
        name: one of `TASKS`.
        options: where its data lies and how it is read; lengths that they do not say are the
            defaults.
        problems: what happens to malformed rows.

    Raises:
        ValueError: if there is no such task, or the options lack what it needs.
    """
    if name not in TASKS:
        raise ValueError(f"`task` must be one of {', '.join(TASKS)}. Received: {name!r}")
    task = TASKS[name](name, options.filled(), problems)
    if options.metric is not None:
        setting_checks.check_choice("metric", options.metric, task.metrics)
    return task
