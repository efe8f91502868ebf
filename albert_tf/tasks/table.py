"""The tasks: how each reads its data, encodes it, builds its model, and scores what that says.

This is where data and heads meet. The fine-tuning loop asks a task only for what `Task` lists.
"""

import typing

from albert_tf import setting_checks
from albert_tf.pipelines.task_data import glue
from albert_tf.tasks.answer_task import AnswerTask
from albert_tf.tasks.choice_task import ChoiceTask
from albert_tf.tasks.options import TaskOptions as TaskOptions
from albert_tf.tasks.tag_task import TagTask
from albert_tf.tasks.text_task import GlueTask, TableTask


class Task(typing.Protocol):
    """What fine-tuning has to know of a task.

    Attributes:
        model_class: with the task's head.
        metrics: names of the scores that `score` gives, the larger the better.
        metric: the one that chooses the best checkpoint.
        dev_splits, test_splits: names of the sets with and without labels.
    """

    def read(self, split):
        """Returns the examples of `"train"` or another split, a list of dataclasses.

        Raises:
            InputError: naming file and place, for what cannot be used.
        """

    def learn(self, examples):
        """Takes from the training examples what the model depends on, such as the labels."""

    def restore(self, settings, labels):
        """Takes the same from the settings and labels of a model that was fine-tuned."""

    def settings(self):
        """Returns what a model directory keeps of the task, as JSON types."""

    def model_arguments(self):
        """Returns arguments of the model's constructor, such as the labels."""

    def encoder(self, training):
        """Returns the encoding function and its arguments beside examples and tokenizer."""

    def predict(self, examples, encoded, outputs):
        """Returns one prediction an example, from what the model gave."""

    def loss(self, examples, outputs):
        """Returns the mean loss of examples with labels, or None where none is reported."""

    def score(self, examples, predictions):
        """Returns {metric: value} for examples with labels."""

    def write(self, folder, split, examples, predictions):
        """Writes predictions in the task's official form."""

    def diagnose(self, examples, predictions, outputs):
        """Returns what a report shows beside the scores: {argument of `ReportContent`: value}."""


TASKS = {
    **{name: GlueTask for name in glue.TASKS},
    "squad1": AnswerTask,
    "squad2": AnswerTask,
    "race": ChoiceTask,
    "tagging": TagTask,
    "classification": TableTask,
    "regression": TableTask,
}


def make_task(name, options, problems):
    """Returns a task.

    Args:
        name: one of `TASKS`.
        options: `TaskOptions`.
        problems: `InputProblems`, what happens to malformed rows.

    Raises:
        ValueError: if there is no such task, or the options lack what it needs.
    """
    if name not in TASKS:
        raise ValueError(f"--task must be one of {', '.join(TASKS)}. Received: {name!r}")
    task = TASKS[name](name, options, problems)
    if options.metric is not None:
        setting_checks.check_choice("--metric", options.metric, task.metrics)
    return task
