"""What exported models of texts and pairs can be asked: classes and numbers.

Letters: B texts (rows of a request), R rows of the model, C classes.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from albert_tf.checkpoints.model_kinds import TextNotes
from albert_tf.exporting import graph_answers
from albert_tf.exporting.graph_batches import Tensors
from albert_tf.exporting.signatures import Question, Signature, Signatures, pair_up
from albert_tf.inference.text_model import TextModel
from albert_tf.pipelines.encoders.long_texts import encode_pair_windows, encode_text_windows
from albert_tf.pipelines.task_data import text_examples
from albert_tf.pipelines.tokenizer.sequences import (
    encode_pairs,
    encode_texts,
    replace_invalid,
)


class ClassSignatures(Signatures):
    """Classes for texts and pairs of texts, of `AlbertClassifier`."""

    name = "classify"
    meaning = "The class of {}: names and probabilities of all, and the best."
    meaning_of_several = (
        "The labels of {}, each true or false by itself: names and probabilities of all, the most "
        "probable, and in chosen those that reach their thresholds, with empty strings for others."
    )

    notes: TextNotes

    def own(self) -> dict[str, Signature]:
        """Returns `classify` and `classify_pairs`, first the one that fine-tuning was about."""
        meaning = self.meaning_of_several if self._has_several() else self.meaning
        if self.notes.windows:
            meaning = (
                f"{meaning} What has more than {self.notes.max_seq_length} tokens is read in "
                f"windows: the {self.notes.windows} of their scores."
            )
        return _texts_and_pairs(self, self.name, meaning)

    def _has_several(self) -> bool:
        return getattr(self.model, "multi_label", False)

    def questions(self, model: TextModel, texts: list[str]) -> list[Question]:
        """Returns texts, pairs and ids of texts with their answers, see `Signatures`."""
        pairs = pair_up(texts)
        first, second = map(list, zip(*pairs, strict=True))
        ids = text_examples.encode_texts(
            [text_examples.TextExample("", text) for text in texts],
            self.tokenizer,
            self.notes.max_seq_length,
        )
        batch = ids.batch(np.arange(len(ids)), int(ids.lengths().max()))

        def asked_of(**changes) -> TextModel:
            notes = dataclasses.replace(self.notes, **changes)
            return type(model)(model.model, self.tokenizer, model.batch_size, notes)

        # Signatures take single texts of any model, and ids of a client are what they are.
        whole, cut = asked_of(is_pair=False), asked_of(is_pair=False, long_texts=None)
        of_texts, of_pairs = self.as_outputs(whole(texts)), self.as_outputs(whole(pairs))
        of_ids = self.as_outputs(cut(texts)) if self.notes.windows else of_texts
        return [
            (self.name, {"text": texts}, of_texts),
            (f"{self.name}_pairs", {"text_a": first, "text_b": second}, of_pairs),
            (f"{self.name}_ids", {n: values.tolist() for n, values in batch.items()}, of_ids),
        ]

    def as_outputs(self, answers: list[dict[str, Any]]) -> dict[str, list]:
        """Returns {output: nested lists} of what this process answers."""
        outputs = {
            "label": [answer["label"] for answer in answers],
            "score": [answer["score"] for answer in answers],
            "labels": [list(answer["scores"]) for answer in answers],
            "probabilities": [list(answer["scores"].values()) for answer in answers],
        }
        if self._has_several():
            outputs["chosen"] = [
                [name if name in answer["labels"] else "" for name in answer["scores"]]
                for answer in answers
            ]
        return outputs

    def from_ids(self, batch: Tensors) -> Tensors:
        """Returns the classes of a batch."""
        return self.answers(self.scores(batch))

    def scores(self, batch: Tensors) -> tf.Tensor:
        """Returns the logits of a batch, float32 [R, C]."""
        outputs = {"scores": (tf.float32, (len(self.model.labels),))}
        return self.run_model(batch, outputs)["scores"]

    def answers(self, scores: tf.Tensor) -> Tensors:
        """Returns the classes for logits [B, C]."""
        names = self.model.labels
        probabilities = self.model.probabilities(scores)  # [B, C]
        best = tf.argmax(probabilities, axis=1)
        outputs = {
            "label": tf.gather(names, best),
            "score": tf.reduce_max(probabilities, axis=1),
            "labels": tf.tile([names], [tf.shape(best)[0], 1]),
            "probabilities": probabilities,
        }
        if self._has_several():
            thresholds = tf.constant(self.notes.thresholds_of(self.model.labels))
            outputs["chosen"] = tf.where(probabilities >= thresholds, outputs["labels"], "")
        return outputs


class NumberSignatures(ClassSignatures):
    """Numbers for texts and pairs of texts, of `AlbertRegressor`."""

    name = "score"
    meaning = "The number that the model gives {}."

    def as_outputs(self, answers: list[float]) -> dict[str, list]:
        """Returns {output: list} of what this process answers."""
        return {"score": answers}

    def scores(self, batch: Tensors) -> tf.Tensor:
        """Returns the numbers of a batch, float32 [R]."""
        return self.run_model(batch, {"scores": (tf.float32, ())})["scores"]

    def answers(self, scores: tf.Tensor) -> Tensors:
        """Returns the numbers under their name."""
        return {"score": scores}


def _texts_and_pairs(signatures: ClassSignatures, name: str, meaning: str) -> dict[str, Signature]:
    """Returns the signatures of texts and of pairs, first what the model was fine-tuned with."""
    tokenizer, longest = signatures.tokenizer, signatures.notes.max_seq_length
    windows, from_ids = signatures.notes.windows, signatures.from_ids

    def answer(cut: Callable, read: Callable, *texts: tf.Tensor) -> Tensors:
        texts = tuple(map(replace_invalid, texts))
        if not windows:
            return from_ids(cut(tokenizer, *texts, longest).padded(tokenizer, longest))
        rows, text_index = read(tokenizer, *texts, longest)
        scores = signatures.scores(rows.padded(tokenizer, longest))
        count = tf.size(texts[0])
        return signatures.answers(graph_answers.join_windows(scores, text_index, count, windows))

    def from_text(text: tf.Tensor) -> Tensors:
        return answer(encode_texts, encode_text_windows, text)

    def from_pair(text_a: tf.Tensor, text_b: tf.Tensor) -> Tensors:
        return answer(encode_pairs, encode_pair_windows, text_a, text_b)

    strings = tf.TensorSpec([None], tf.string)
    of_texts = Signature(
        function=from_text,
        inputs={"text": strings},
        meaning=meaning.format("a text"),
        example={"text": ["A fine film.", "A waste of time."]},
    )
    of_pairs = Signature(
        function=from_pair,
        inputs={"text_a": strings, "text_b": strings},
        meaning=meaning.format("a pair of texts"),
        example={"text_a": ["A cat sat."], "text_b": ["An animal sat."]},
    )
    texts = signatures.with_ids(name, of_texts, from_ids)
    pairs = {f"{name}_pairs": of_pairs}
    return {**pairs, **texts} if signatures.notes.is_pair else {**texts, **pairs}
