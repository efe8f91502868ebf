"""One of several options: RACE, middle and high school."""

import json
import os
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from albert_tf import whole_files
from albert_tf.checkpoints.model_kinds import ChoiceNotes
from albert_tf.model.task_models import AlbertMultipleChoice
from albert_tf.model.tensors import Outputs
from albert_tf.pipelines.task_data import race, tfds_examples
from albert_tf.pipelines.task_data.encoded_examples import EncodedExamples
from albert_tf.pipelines.task_data.input_problems import InputProblems
from albert_tf.pipelines.task_data.race import ChoiceQuestion
from albert_tf.tasks.diagnosis import Confusion, ErrorSample
from albert_tf.tasks.options import LEVELS, TaskOptions


class ChoiceTask:
    """RACE; arguments as of `text_task.TextTask`."""

    fewest_examples = 1
    metrics = ("accuracy", *(f"accuracy_{level}" for level in LEVELS))
    model_class = AlbertMultipleChoice
    labels = None

    def __init__(self, name: str, options: TaskOptions, problems: InputProblems):
        self.name = name
        self.options = options
        self.problems = problems
        self.metric = options.metric or "accuracy"
        if not options.levels:
            raise ValueError(f"`levels` must be some of {', '.join(LEVELS)}. Received: none")
        if options.data_source == "files" and not options.data_dir:
            raise ValueError("`data_dir` must name the folder of RACE. Received: none")
        self.dev_splits, self.test_splits = ("dev",), ("test",)

    def learn(self, examples: list[ChoiceQuestion]) -> None:
        """Nothing is taken from the examples."""

    def restore(self, notes: ChoiceNotes, labels: list[str] | None) -> None:
        """Nothing is taken from the model."""

    def notes(self) -> ChoiceNotes:
        """Returns what a model directory keeps of the task."""
        return ChoiceNotes(
            task=self.name,
            kind=self.model_class.kind,
            max_seq_length=self.options.max_seq_length,
            max_qa_length=self.options.max_qa_length,
        )

    def model_arguments(self) -> dict[str, Any]:
        """Returns nothing: the head scores any number of options."""
        return {}

    def read(self, split: str) -> list[ChoiceQuestion]:
        """Returns the `ChoiceQuestion`s of a split, of all levels asked for."""
        options = self.options
        if options.data_source == "tfds":
            return [
                question
                for level in options.levels
                for question in tfds_examples.read_race(split, level, options.data_dir)
            ]
        return race.read(options.data_dir, split, options.levels, self.problems)

    def encoder(self, training: bool) -> tuple[Callable[..., EncodedExamples], dict[str, Any]]:
        """Returns `race.encode` and its arguments."""
        del training
        return race.encode, {
            "max_seq_length": self.options.max_seq_length,
            "max_qa_length": self.options.max_qa_length,
        }

    def predict(
        self, examples: list[ChoiceQuestion], encoded: EncodedExamples, outputs: Outputs
    ) -> list[int]:
        """Returns the numbers of the options with the highest scores."""
        del examples, encoded
        return np.stack(outputs["scores"]).argmax(axis=-1).tolist()

    def score(
        self, examples: list[ChoiceQuestion], predictions: list[int], outputs: Outputs | None = None
    ) -> dict[str, float]:
        """Returns the accuracy over all, and over each level."""
        del outputs
        right = np.array(
            [example.label == choice for example, choice in zip(examples, predictions, strict=True)]
        )
        levels = np.array([example.level for example in examples])
        scores = {"accuracy": float(right.mean())}
        for level in dict.fromkeys(levels.tolist()):
            scores[f"accuracy_{level}"] = float(right[levels == level].mean())
        return scores

    def baseline(
        self, train_examples: list[ChoiceQuestion], examples: list[ChoiceQuestion]
    ) -> dict[str, float]:
        """Returns what always choosing the most frequent place reaches."""
        labels = [example.label for example in train_examples]
        guess = max(set(labels), key=labels.count)
        return self.score(examples, [guess] * len(examples))

    def write(
        self,
        folder: str | os.PathLike,
        split: str,
        examples: list[ChoiceQuestion],
        predictions: list[int],
    ) -> None:
        """Writes `<split>.jsonl` with the letter of each answer."""
        rows = [
            {"id": example.guid, "level": example.level, "prediction": _letter(choice)}
            | ({} if example.label is None else {"label": _letter(example.label)})
            for example, choice in zip(examples, predictions, strict=True)
        ]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        whole_files.write_text(pathlib.Path(folder) / f"{split}.jsonl", text)

    def diagnose(
        self, examples: list[ChoiceQuestion], predictions: list[int], outputs: Outputs
    ) -> dict[str, Any]:
        """Returns the confusion of places, and the questions that were answered wrongly."""
        del outputs
        count = max(len(example.options) for example in examples)
        counts = np.zeros((count, count), int)
        errors = []
        for example, choice in zip(examples, predictions, strict=True):
            counts[example.label, choice] += 1
            if example.label != choice:
                inputs = {"question": example.question, "passage": example.passage}
                options = example.options
                errors.append(ErrorSample(inputs, options[example.label], options[choice], None))
        return {
            "confusion": Confusion([_letter(i) for i in range(count)], counts),
            "errors": errors,
        }


def _letter(index: int) -> str:
    return chr(ord("A") + index)
