"""Fine-tuned models in use, in this process: classes, numbers, tags, answers, choices.

Texts are encoded by the functions that encode training data, so an answer here is the one that
evaluation would count. Letters: N texts.
"""

import functools
import math
import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from scipy.special import softmax

from albert_tf.checkpoints import model_kinds
from albert_tf.checkpoints.model_kinds import (
    AnswerNotes,
    ChoiceNotes,
    ClassNotes,
    TaskNotes,
    TextNotes,
)
from albert_tf.inference import batch_prediction
from albert_tf.inference.text_model import (
    TextModel,
    as_list,
    check_top_k,
    is_one_text,
    wrong_item,
)
from albert_tf.model.keras_model import AlbertTaskModel
from albert_tf.model.task_models import (
    AlbertAnswerabilitySelector,
    AlbertClassifier,
    AlbertMultipleChoice,
    AlbertRegressor,
    AlbertSpanSelector,
    AlbertTokenClassifier,
)
from albert_tf.model.tensors import Outputs
from albert_tf.pipelines.task_data import race, squad, tagged_words, text_examples
from albert_tf.pipelines.task_data.encoded_examples import EncodedExamples
from albert_tf.pipelines.task_data.race import ChoiceQuestion
from albert_tf.pipelines.task_data.squad import Question
from albert_tf.pipelines.task_data.tagged_words import TaggedSentence
from albert_tf.pipelines.task_data.text_examples import TextExample
from albert_tf.pipelines.tokenizer.tokenization import Tokenizer
from albert_tf.tasks import squad_metrics
from albert_tf.tasks.answer_task import best_answers

# A text or a pair of texts, or several of such.
Texts = str | tuple[str, ...] | Iterable[str | Sequence[str]]
# (passage, question, options).
ChoiceInput = tuple[str, str, Sequence[str]]


class TaskModel(TextModel):
    """A fine-tuned model with its tokenizer.

    Args:
        model, tokenizer: of one model directory.
        batch_size: texts at a time.
        notes: of fine-tuning; the lengths that texts are cut to.
    """

    def __init__(
        self,
        model: AlbertTaskModel,
        tokenizer: Tokenizer,
        batch_size: int = 32,
        notes: TaskNotes | None = None,
    ):
        super().__init__(model, tokenizer, batch_size)
        notes = notes or model_kinds.NOTES[model.kind]()
        self.notes = notes.fit(model.config.max_position_embeddings)

    @classmethod
    def read_settings(cls, directory: str | os.PathLike) -> dict[str, Any]:
        """Returns the notes that the directory keeps."""
        return {"notes": model_kinds.read_notes(directory, cls.model_class.kind)}

    @property
    def max_seq_length(self) -> int:
        """Tokens that a text is cut to: as in fine-tuning, or what the model can read."""
        return self.notes.max_seq_length

    @functools.cached_property
    def _predict(self) -> batch_prediction.Predict:
        return batch_prediction.make_predict(self.model)

    def _outputs(self, encoded: EncodedExamples) -> Outputs:
        """Returns {name: [N arrays]}; few batch sizes are compiled."""
        fitting = 2 ** math.ceil(math.log2(max(1, len(encoded))))
        return self._predict(encoded, min(self.batch_size, fitting), self.max_seq_length)


def _encode_texts(
    texts: list[str | tuple[str, str]], tokenizer: Tokenizer, notes: TextNotes
) -> EncodedExamples:
    examples = []
    for number, text in enumerate(texts):
        parts = (text,) if isinstance(text, str) else text
        is_pair = isinstance(parts, list | tuple) and len(parts) in (1, 2)
        if not is_pair or not all(isinstance(part, str) for part in parts):
            raise wrong_item("a text must be a string or a pair of strings", text, number)
        if notes.is_pair and len(parts) == 1:
            raise wrong_item("a text must be a pair, as in fine-tuning", text, number)
        examples.append(TextExample(str(number), *parts))
    return text_examples.encode_texts(
        examples, tokenizer, notes.max_seq_length, windows=notes.windows
    )


class Classifier(TaskModel):
    """Says which class a text or a pair of texts belongs to.

    >>> Classifier.from_pretrained(directory)("A fine film.")  # doctest: +SKIP
    {'label': '1', 'score': 0.98, 'scores': {'0': 0.02, '1': 0.98}}
    """

    model_class = AlbertClassifier
    notes: ClassNotes

    def __call__(
        self, texts: Texts, top_k: int | None = None
    ) -> dict[str, Any] | list[dict[str, Any]]:
        """Returns the best class of each text.

        Args:
            texts: a string, a tuple of two, or a list of such; of a model that was fine-tuned on
                pairs, pairs.
            top_k: classes in `scores`, the best first; by default all, in the model's order.

        Returns:
            For one text a dict of `label`, `score` (its probability) and `scores` {label:
            probability}; for a list a list of those. The probabilities add up to 1, unless the
            model has several labels a text: then each label has one of its own, and `labels` are
            those that reach their thresholds, which may be none.
        """
        texts, as_given = as_list(texts, is_one_text)
        if top_k is not None:
            check_top_k(top_k, len(self.model.labels))
        if not texts:
            return []
        outputs = self._outputs(_encode_texts(texts, self.tokenizer, self.notes))
        answers = []
        for probabilities in np.asarray(self.model.probabilities(np.stack(outputs["scores"]))):
            best = int(probabilities.argmax())
            scores = dict(zip(self.model.labels, probabilities.tolist(), strict=True))
            label = self.model.labels[best]
            answer = {"label": label, "score": scores[label], "scores": scores}
            if self.model.multi_label:
                thresholds = self.notes.thresholds_of(self.model.labels)
                reached = zip(scores.items(), thresholds, strict=True)
                answer["labels"] = [name for (name, score), least in reached if score >= least]
            if top_k is not None:
                by_score = sorted(scores.items(), key=lambda item: -item[1])
                answer["scores"] = dict(by_score[:top_k])
            answers.append(answer)
        return as_given(answers)


class Regressor(TaskModel):
    """Gives a text or a pair of texts a number."""

    model_class = AlbertRegressor
    notes: TextNotes

    def __call__(self, texts: Texts) -> float | list[float]:
        """Returns a float for a string or a tuple of two, a list of floats for a list of such."""
        texts, as_given = as_list(texts, is_one_text)
        if not texts:
            return []
        outputs = self._outputs(_encode_texts(texts, self.tokenizer, self.notes))
        return as_given([float(score) for score in outputs["scores"]])


class Tagger(TaskModel):
    """Gives each word of a sentence a tag."""

    model_class = AlbertTokenClassifier

    def __call__(
        self, sentences: str | tuple[str, ...] | Iterable[str | Sequence[str]]
    ) -> list[dict[str, Any]] | list[list[dict[str, Any]]]:
        """Tags sentences.

        Args:
            sentences: a string, whose words white space separates, or a tuple of words, or a list
                of such. A sentence of any length is read in parts.

        Returns:
            For one sentence a list of {"word", "tag", "score"}, one a word; for a list a list of
            those.
        """
        sentences, as_given = as_list(sentences, is_one_text)
        if not sentences:
            return []
        examples = []
        for number, sentence in enumerate(sentences):
            words = sentence.split() if isinstance(sentence, str) else sentence
            if not isinstance(words, list | tuple) or not all(isinstance(w, str) for w in words):
                raise wrong_item("a sentence must be a string or its words", sentence, number)
            examples.append(TaggedSentence(str(number), tuple(words), None))
        encoded = tagged_words.encode(examples, self.tokenizer, self.max_seq_length)
        rows = [
            softmax(scores[:length], axis=-1)
            for scores, length in zip(
                self._outputs(encoded)["scores"], np.diff(encoded.row_splits), strict=True
            )
        ]
        tags = tagged_words.words_of_rows(encoded, [row.argmax(axis=-1) for row in rows])
        scores = tagged_words.words_of_rows(encoded, [row.max(axis=-1) for row in rows])
        return as_given(
            [
                [
                    {"word": word, "tag": self.model.labels[tag], "score": score}
                    for word, tag, score in zip(example.words, *answer, strict=True)
                ]
                for example, *answer in zip(examples, tags, scores, strict=True)
            ]
        )


class Answerer(TaskModel):
    """Answers questions with a part of a context, or says that it holds no answer.

    >>> Answerer.from_pretrained(directory)(("Who wrote it?", "Ada wrote it."))  # doctest: +SKIP
    {'answer': 'Ada', 'score': 7.1, 'start': 0, 'end': 3, 'null_score': -9.2, 'answers': [...]}
    """

    model_class = AlbertSpanSelector
    notes: AnswerNotes
    columns = ("question", "context")

    @classmethod
    def find_model_class(cls, directory: str | os.PathLike) -> type[AlbertTaskModel]:
        """Returns the class of the head that the directory holds."""
        is_plain = model_kinds.find_answer_head(directory) == "plain"
        return cls.model_class if is_plain else AlbertAnswerabilitySelector

    def __call__(
        self, questions: tuple[str, str] | Iterable[tuple[str, str]]
    ) -> dict[str, Any] | list[dict[str, Any]]:
        """Answers questions.

        Args:
            questions: a tuple (question, context), or a list of such. A context of any length is
                read in windows.

        Returns:
            For one question a dict of `answer` (a slice of the context; "" where the model was
            fine-tuned with unanswerable questions and takes this for one), `score`, `start`, `end`
            (characters of the context), `null_score` (the larger, the less likely is there an
            answer) and `answers`, up to 20 dicts of `answer`, `score`, `probability`, `start`,
            `end`, best first. For a list a list of those.
        """
        questions, as_given = as_list(questions, lambda inputs: isinstance(inputs, tuple))
        if not questions:
            return []
        examples = []
        for number, item in enumerate(questions):
            is_pair = isinstance(item, list | tuple) and len(item) == 2
            if not is_pair or not all(isinstance(text, str) for text in item):
                raise wrong_item("a question must be (question, context)", item, number)
            question, context = item
            examples.append(Question(str(number), question, context, "", (), False))
        encoded = squad.encode(
            examples,
            self.tokenizer,
            self.max_seq_length,
            doc_stride=self.notes.doc_stride,
            max_query_length=self.notes.max_query_length,
        )
        span_settings = squad_metrics.SpanSettings(
            n_best=self.notes.n_best, max_answer_tokens=self.notes.max_answer_tokens
        )
        answers = best_answers(examples, encoded, self._outputs(encoded), span_settings)
        return as_given([self._describe(**answer) for answer in answers])

    def _describe(self, answers: list[squad_metrics.Answer], null_score: float) -> dict[str, Any]:
        threshold = self.notes.null_threshold
        is_answered = answers and (threshold is None or null_score <= threshold)
        descriptions = [
            {
                "answer": answer.text,
                "score": answer.score,
                "probability": answer.probability,
                "start": answer.start,
                "end": answer.end,
            }
            for answer in answers
        ]
        best = {"answer": "", "score": 0.0, "start": 0, "end": 0}
        if is_answered:
            best = descriptions[0]
        return {
            **{name: best[name] for name in ("answer", "score", "start", "end")},
            "null_score": null_score,
            "answers": descriptions,
        }


class Chooser(TaskModel):
    """Chooses one of several answers to a question about a passage."""

    model_class = AlbertMultipleChoice
    notes: ChoiceNotes
    columns = ("passage", "question", "options")

    def __call__(
        self, questions: ChoiceInput | Iterable[ChoiceInput]
    ) -> dict[str, Any] | list[dict[str, Any]]:
        """Chooses answers.

        Args:
            questions: a tuple (passage, question, options), options a list of strings, or a list of
                such. "_" in a question stands where the option belongs.

        Returns:
            For one question a dict of `option`, `index` and `scores`, the probability of each
            option; for a list a list of those.
        """
        questions, as_given = as_list(questions, lambda inputs: isinstance(inputs, tuple))
        answers = []
        for number, item in enumerate(questions):
            if not _is_choice(item):
                message = "a question must be (passage, question, options), options a list of two"
                raise wrong_item(message, item, number)
            passage, question, options = item
            example = ChoiceQuestion("", passage, question, tuple(options), None, "")
            encoded = race.encode(
                [example],
                self.tokenizer,
                self.max_seq_length,
                self.notes.max_qa_length,
            )
            probabilities = softmax(self._outputs(encoded)["scores"][0]).tolist()
            best = int(np.argmax(probabilities))
            answers.append({"option": options[best], "index": best, "scores": probabilities})
        return as_given(answers)


def _is_choice(item: object) -> bool:
    is_triple = isinstance(item, list | tuple) and len(item) == 3
    if not is_triple or not isinstance(item[2], list | tuple) or len(item[2]) < 2:
        return False
    return all(isinstance(text, str) for text in (*item[:2], *item[2]))
