"""A tag for each word, in files of the CoNLL kind: names, parts of speech, chunks."""

import collections
import os
import pathlib
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from albert_tf import whole_files
from albert_tf.checkpoints.model_kinds import TaskNotes
from albert_tf.model.task_models import AlbertTokenClassifier
from albert_tf.model.tensors import Outputs
from albert_tf.pipelines.task_data import tagged_words
from albert_tf.pipelines.task_data.encoded_examples import EncodedExamples
from albert_tf.pipelines.task_data.input_problems import InputProblems
from albert_tf.pipelines.task_data.tagged_words import TaggedSentence
from albert_tf.tasks import metrics
from albert_tf.tasks.diagnosis import Confusion, ErrorSample
from albert_tf.tasks.options import TaskOptions
from albert_tf.tasks.text_task import labels_of_model

_ENTITY_METRICS = ("entity_precision", "entity_recall", "entity_f1")


class TagTask:
    """Token classification; arguments as of `text_task.TextTask`."""

    fewest_examples = 1
    metrics = ("accuracy", *_ENTITY_METRICS)
    model_class = AlbertTokenClassifier

    def __init__(self, name: str, options: TaskOptions, problems: InputProblems):
        self.name = name
        self.options = options
        self.problems = problems
        self.labels = tuple(options.labels)
        self.dev_splits = ("dev",) if options.dev_file else ()
        self.test_splits = ("test",) if options.test_file else ()

    @property
    def metric(self) -> str:
        """What the options name, or F1 of entities where tags mark first words, or accuracy."""
        if self.options.metric is not None:
            return self.options.metric
        return "entity_f1" if self._has_entities() else "accuracy"

    def _has_entities(self) -> bool:
        return any(tag.startswith(("B-", "I-")) for tag in self.labels)

    def learn(self, examples: list[TaggedSentence]) -> None:
        """Takes the tags from the training sentences, unless they were given."""
        if not self.labels:
            self.labels = tuple(tagged_words.discover_tags(examples))

    def restore(self, notes: TaskNotes, labels: list[str] | None) -> None:
        """Takes the tags, in its order, from a model that was fine-tuned."""
        self.labels = labels_of_model(self.name, self.labels, labels)

    def notes(self) -> TaskNotes:
        """Returns what a model directory keeps of the task."""
        return TaskNotes(
            task=self.name,
            kind=self.model_class.kind,
            max_seq_length=self.options.max_seq_length,
        )

    def model_arguments(self) -> dict[str, Any]:
        """Returns the tags."""
        return {"labels": list(self.labels)}

    def read(self, split: str) -> list[TaggedSentence]:
        """Returns the `TaggedSentence`s of a split."""
        path = getattr(self.options, f"{split}_file")
        if not path:
            raise ValueError(f"`{split}_file` must be given. Received: none")
        tag_column = None if split == "test" else -1
        return tagged_words.read(path, self.problems, tag_column=tag_column)

    def encoder(self, training: bool) -> tuple[Callable[..., EncodedExamples], dict[str, Any]]:
        """Returns `tagged_words.encode` and its arguments; predicting needs no tags."""
        return tagged_words.encode, {
            "max_seq_length": self.options.max_seq_length,
            "tags": list(self.labels) if training else None,
        }

    def predict(
        self, examples: list[TaggedSentence], encoded: EncodedExamples, outputs: Outputs
    ) -> list[list[str]]:
        """Returns a list of tags for each sentence, one a word."""
        del examples
        lengths = np.diff(encoded.row_splits)
        classes = [
            scores[:length].argmax(axis=-1)
            for scores, length in zip(outputs["scores"], lengths, strict=True)
        ]
        by_sentence = tagged_words.words_of_rows(encoded, classes)
        return [[self.labels[index] for index in sentence] for sentence in by_sentence]

    def score(
        self,
        examples: list[TaggedSentence],
        predictions: list[list[str]],
        outputs: Outputs | None = None,
    ) -> dict[str, float]:
        """Returns accuracy over words and, for entities, their precision, recall and F1."""
        del outputs
        gold = [list(example.tags) for example in examples]
        pairs = list(zip(_joined(gold), _joined(predictions), strict=True))
        scores = {"accuracy": float(np.mean([right == tag for right, tag in pairs]))}
        if self._has_entities():
            entities = metrics.entity_f1(gold, predictions)
            scores |= {name: entities[name] for name in _ENTITY_METRICS}
        return scores

    def baseline(
        self, train_examples: list[TaggedSentence], examples: list[TaggedSentence]
    ) -> dict[str, float]:
        """Returns what always giving the most frequent tag reaches."""
        tags = _joined(example.tags for example in train_examples)
        counts = collections.Counter(tags)
        guess = max(self.labels, key=counts.__getitem__)
        return self.score(examples, [[guess] * len(example.words) for example in examples])

    def write(
        self,
        folder: str | os.PathLike,
        split: str,
        examples: list[TaggedSentence],
        predictions: list[list[str]],
    ) -> None:
        """Writes `<split>.conll`: each word with its predicted tag, and before it the right one.

        Tabs separate, so a word that holds a space is read back as it was.
        """
        lines = []
        for example, tags in zip(examples, predictions, strict=True):
            gold = example.tags or [None] * len(example.words)
            for word, right, tag in zip(example.words, gold, tags, strict=True):
                lines.append("\t".join(part for part in (word, right, tag) if part is not None))
            lines.append("")
        path = pathlib.Path(folder) / f"{split}.conll"
        whole_files.write_text(path, "\n".join(lines) + "\n")

    def diagnose(
        self, examples: list[TaggedSentence], predictions: list[list[str]], outputs: Outputs
    ) -> dict[str, Any]:
        """Returns the confusion of tags, and the words with a wrong one in their sentences."""
        del outputs
        # Tags that training lacks are right for words, too, and never found.
        unknown = {tag for example in examples for tag in example.tags} - {*self.labels}
        labels = [*self.labels, *sorted(unknown)]
        index_of = {name: index for index, name in enumerate(labels)}
        counts = np.zeros((len(labels), len(labels)), int)
        errors = []
        for example, tags in zip(examples, predictions, strict=True):
            for right, tag in zip(example.tags, tags, strict=True):
                counts[index_of[right], index_of[tag]] += 1
            words = list(zip(example.words, example.tags, tags, strict=True))
            wrong = [(word, right, tag) for word, right, tag in words if right != tag]
            if wrong:
                gold = "  ".join(f"{word}/{right}" for word, right, _ in wrong)
                predicted = "  ".join(f"{word}/{tag}" for word, _, tag in wrong)
                inputs = {"sentence": " ".join(example.words)}
                errors.append(ErrorSample(inputs, gold, predicted, None))
        return {"confusion": Confusion(labels, counts), "errors": errors}


def _joined(lists: Iterable[Iterable[str]]) -> list[str]:
    return [item for items in lists for item in items]
