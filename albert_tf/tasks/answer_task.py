"""Answers to questions in a context: SQuAD 1.1 and 2.0, and CMRC 2018.

Letters: L tokens of a window, K starts that the head for 2.0 follows.
"""

import json
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, TypedDict

import numpy as np
from scipy.special import log_softmax

from albert_tf import whole_files
from albert_tf.checkpoints.model_kinds import AnswerNotes
from albert_tf.model.task_models import AlbertAnswerabilitySelector, AlbertSpanSelector
from albert_tf.model.tensors import Outputs
from albert_tf.pipelines.task_data import chinese_files, squad, tfds_examples
from albert_tf.pipelines.task_data.encoded_examples import EncodedExamples
from albert_tf.pipelines.task_data.input_problems import InputError, InputProblems
from albert_tf.pipelines.task_data.squad import Question
from albert_tf.pipelines.text import languages
from albert_tf.tasks import cmrc_metrics, squad_metrics
from albert_tf.tasks.diagnosis import ErrorSample, ScoreHistogram
from albert_tf.tasks.options import TaskOptions

HEADS = {"plain": AlbertSpanSelector, "answerability": AlbertAnswerabilitySelector}
_FILES = {
    "squad1": {"train": "train-v1.1.json", "dev": "dev-v1.1.json"},
    "squad2": {"train": "train-v2.0.json", "dev": "dev-v2.0.json"},
}
# Where every question has an answer: the figures of all of them, and F1 of one.
_SCORES = {
    "squad1": (squad_metrics.evaluate_v1, squad_metrics.f1_score),
    "cmrc2018": (cmrc_metrics.evaluate, cmrc_metrics.f1_score),
}
# Of a model that no dev set judged: "no answer" scores as high as the best answer, or is as likely
# as not for the head that is trained to tell.
_UNTUNED = 0.0
_FEW = 0.1  # answers without spaces among all


class Prediction(TypedDict):
    """The answers to one question, best first; the larger `null_score`, the less likely is one."""

    answers: list[squad_metrics.Answer]
    null_score: float


class AnswerTask:
    """SQuAD and CMRC 2018; arguments as of `text_task.TextTask`."""

    labels = None
    fewest_examples = 1

    def __init__(self, name: str, options: TaskOptions, problems: InputProblems):
        self.name = name
        self.options = options
        self.problems = problems
        self.metric = options.metric or "f1"
        self.has_impossible = name == "squad2"
        self.metrics = ("exact" if self.has_impossible else "exact_match", "f1")
        if name == "cmrc2018":
            self.metrics = (*self.metrics, "average")
        if options.answer_head == "answerability" and not self.has_impossible:
            raise ValueError("`answer_head=answerability` goes with `task=squad2`")
        self.model_class = HEADS[options.answer_head]
        self.span_settings = squad_metrics.SpanSettings(
            n_best=options.n_best, max_answer_tokens=options.max_answer_tokens
        )
        self.keeps_threshold = False
        has_dev = options.dev_file or options.data_dir or options.data_source == "tfds"
        self.dev_splits = ("dev",) if has_dev else ()
        is_untuned = self.has_impossible and not has_dev
        self.null_threshold: float | None = _UNTUNED if is_untuned else None
        self.test_splits = ("test",) if options.test_file else ()

    def learn(self, examples: list[Question]) -> None:
        """Nothing is taken from the examples."""

    def restore(self, notes: AnswerNotes, labels: list[str] | None) -> None:
        """Takes the threshold from a model that was fine-tuned; it stays."""
        self.null_threshold = notes.null_threshold
        self.keeps_threshold = self.null_threshold is not None

    def notes(self) -> AnswerNotes:
        """Returns what a model directory keeps of the task."""
        options = self.options
        return AnswerNotes(
            task=self.name,
            kind=self.model_class.kind,
            max_seq_length=options.max_seq_length,
            doc_stride=options.doc_stride,
            max_query_length=options.max_query_length,
            max_answer_tokens=options.max_answer_tokens,
            n_best=options.n_best,
            null_threshold=self.null_threshold,
        )

    def model_arguments(self) -> dict[str, Any]:
        """Returns nothing: the heads have no settings."""
        return {}

    def read(self, split: str) -> list[Question]:
        """Returns the `Question`s of a split."""
        options = self.options
        path = getattr(options, f"{split}_file")
        if options.data_source == "tfds" and not path:
            return tfds_examples.read_squad(self.name, split, options.data_dir)
        with_answers = split != "test"
        if self.name == "cmrc2018":
            if not path and options.data_dir:
                path = chinese_files.find_cmrc(options.data_dir, split)
            if path:
                return chinese_files.read_cmrc(path, self.problems, with_answers)
        elif not path and options.data_dir and split in _FILES[self.name]:
            path = pathlib.Path(options.data_dir) / _FILES[self.name][split]
        if not path:
            raise ValueError(f"`{split}_file` or `data_dir` must be given. Received: neither")
        questions = squad.read(path, self.problems, with_answers)
        if with_answers and not self.has_impossible:
            questions = self._with_answers(path, questions)
        self._remark_spaceless(path, questions)
        return questions

    def _with_answers(self, path: str | os.PathLike, questions: list[Question]) -> list[Question]:
        """Returns the questions that the scores of 1.1, which know no others, are made for."""
        answered = []
        for question in questions:
            if question.answers:
                answered.append(question)
                continue
            problem = f"must have an answer for `task={self.name}`; `task=squad2` takes others"
            self.problems.add(os.fspath(path), f"question {question.guid}", problem)
        if not answered:
            raise InputError(f"{os.fspath(path)} must hold questions with answers. Received: none")
        return answered

    def _remark_spaceless(self, path: str | os.PathLike, questions: list[Question]) -> None:
        """Says that SQuAD's scores are not for answers without spaces, unless there are few."""
        texts = [answer.text for question in questions for answer in question.answers]
        count = sum(map(languages.is_spaceless_text, texts))
        if count > _FEW * len(texts):
            self.problems.remark(
                f"{path}: {count:,} of {len(texts):,} answers are in scripts without spaces, and "
                f"the exact match and F1 of `task={self.name}` split at spaces, so that such an "
                "answer is one word, right or wrong; `task=cmrc2018` counts the characters of "
                "Chinese"
            )

    def encoder(self, training: bool) -> tuple[Callable[..., EncodedExamples], dict[str, Any]]:
        """Returns `squad.encode` and its arguments."""
        options = self.options
        return squad.encode, {
            "max_seq_length": options.max_seq_length,
            "doc_stride": options.doc_stride,
            "max_query_length": options.max_query_length,
            "training": training,
        }

    def predict(
        self, examples: list[Question], encoded: EncodedExamples, outputs: Outputs
    ) -> list[Prediction]:
        """Returns what `best_answers` does."""
        return best_answers(examples, encoded, outputs, self.span_settings)

    def score(
        self,
        examples: list[Question],
        predictions: list[Prediction],
        outputs: Outputs | None = None,
    ) -> dict[str, float]:
        """Returns the official figures.

        Those for 2.0 are by the threshold that the model was fine-tuned with; in training by
        thresholds tuned on other questions.
        """
        del outputs
        gold = squad.gold_answers(examples)
        texts = _best_texts(examples, predictions)
        if not self.has_impossible:
            return _SCORES[self.name][0](texts, gold)
        null_scores = _null_scores(examples, predictions)
        if self.keeps_threshold:
            final = self._final_texts(examples, predictions)
        else:
            final, _ = squad_metrics.cross_fitted_predictions(
                texts, gold, null_scores, squad.titles(examples)
            )
            # What later questions are judged by comes from all of these.
            self.null_threshold = squad_metrics.tune_threshold(texts, gold, null_scores)
        tuned = squad_metrics.evaluate_v2(texts, gold, null_scores)
        best = {name: value for name, value in tuned.items() if name.startswith("best_")}
        return squad_metrics.evaluate_v2(final, gold) | best

    def baseline(
        self, train_examples: list[Question], examples: list[Question]
    ) -> dict[str, float]:
        """Returns what never answering reaches; only 2.0 has such questions."""
        del train_examples
        if not self.has_impossible:
            return {}
        gold = squad.gold_answers(examples)
        scores = squad_metrics.evaluate_v2(dict.fromkeys(gold, ""), gold)
        return {name: scores[name] for name in ("exact", "f1")}

    def _final_texts(
        self, examples: list[Question], predictions: list[Prediction]
    ) -> dict[str, str]:
        """Returns {id: text}, "" where the null score exceeds the threshold."""
        texts = _best_texts(examples, predictions)
        if not self.has_impossible or self.null_threshold is None:
            return texts
        null_scores = _null_scores(examples, predictions)
        return {
            guid: "" if null_scores[guid] > self.null_threshold else text
            for guid, text in texts.items()
        }

    def write(
        self,
        folder: str | os.PathLike,
        split: str,
        examples: list[Question],
        predictions: list[Prediction],
    ) -> None:
        """Writes the official `predictions.json`, `nbest_predictions.json`, `null_odds.json`."""
        folder = pathlib.Path(folder) / split
        folder.mkdir(parents=True, exist_ok=True)
        n_best = {
            question.guid: [
                {
                    "text": answer.text,
                    "probability": answer.probability,
                    "score": answer.score,
                    "start": answer.start,
                    "end": answer.end,
                }
                for answer in prediction["answers"]
            ]
            for question, prediction in zip(examples, predictions, strict=True)
        }
        texts = self._final_texts(examples, predictions)
        files = {"predictions": texts, "nbest_predictions": n_best}
        if self.has_impossible:
            files["null_odds"] = _null_scores(examples, predictions)
        for name, content in files.items():
            text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
            whole_files.write_text(folder / f"{name}.json", text)

    def diagnose(
        self, examples: list[Question], predictions: list[Prediction], outputs: Outputs
    ) -> dict[str, Any]:
        """Returns the histogram of F1, and the questions with the lowest."""
        del outputs
        gold = squad.gold_answers(examples)
        texts = self._final_texts(examples, predictions)
        if self.has_impossible:
            scores = list(squad_metrics.score_v2(texts, gold)[1].values())
        else:
            f1_score = _SCORES[self.name][1]
            scores = [f1_score(texts[guid], right) for guid, right in gold.items()]
        order = np.argsort(scores, kind="stable")
        errors = [
            ErrorSample(
                {"question": examples[i].question, "context": examples[i].context},
                " | ".join(dict.fromkeys(gold[examples[i].guid])) or "(no answer)",
                texts[examples[i].guid] or "(no answer)",
                score=float(scores[i]),
                score_name="F1",
            )
            for i in order
            if scores[i] < 1
        ]
        return {"histogram": ScoreHistogram("F1 of the questions", None, scores), "errors": errors}


def best_answers(
    questions: Sequence[Question],
    encoded: EncodedExamples,
    outputs: Outputs,
    settings: squad_metrics.SpanSettings,
) -> list[Prediction]:
    """Finds the answers to questions in what a model gave for their windows.

    Args:
        questions: all.
        encoded: what `squad.encode` made of them.
        outputs: one array a window, of either head.
        settings: which spans count.

    Returns:
        One prediction a question, its answers those of `squad_metrics.rank_answers`. The null score
        is the smallest over the windows of the answerability logit or, with the plain head, of the
        score of [CLS], less the score of the best answer.
    """
    windows_of = [[] for _ in questions]
    for window, question in enumerate(encoded.details["question_index"].tolist()):
        windows_of[question].append(window)
    is_plain = "impossible_logits" not in outputs
    decode = _plain if is_plain else _conditional
    predictions: list[Prediction] = []
    for question, windows in zip(questions, windows_of, strict=True):
        candidates, null_scores = [], []
        for window in windows:
            tokens = slice(*encoded.row_splits[window : window + 2])
            may_end = encoded.tokens["answer_mask"][tokens].astype(bool)
            may_end[0] = False  # [CLS]
            may_start = may_end & encoded.details["is_max_context"][tokens].astype(bool)
            scores = {name: rows[window] for name, rows in outputs.items()}
            triple, null_score = decode(scores, may_start, may_end, settings)
            spans = (encoded.details[name][tokens] for name in ("char_starts", "char_ends"))
            candidates.append((*triple, *spans))
            null_scores.append(null_score)
        answers = squad_metrics.rank_answers(candidates, question.context, settings)
        null_score = min(null_scores)
        if is_plain and answers:
            null_score -= answers[0].score
        predictions.append({"answers": answers, "null_score": float(null_score)})
    return predictions


def _best_texts(examples: list[Question], predictions: list[Prediction]) -> dict[str, str]:
    return {
        question.guid: prediction["answers"][0].text if prediction["answers"] else ""
        for question, prediction in zip(examples, predictions, strict=True)
    }


def _null_scores(examples: list[Question], predictions: list[Prediction]) -> dict[str, float]:
    return {
        question.guid: prediction["null_score"]
        for question, prediction in zip(examples, predictions, strict=True)
    }


def _plain(
    scores: dict[str, np.ndarray],
    may_start: np.ndarray,
    may_end: np.ndarray,
    settings: squad_metrics.SpanSettings,
) -> tuple[squad_metrics.Spans, float]:
    """Returns the candidates of one window and the score of [CLS]."""
    length = len(may_start)
    starts, ends = scores["start_logits"][:length], scores["end_logits"][:length]
    triple = squad_metrics.plain_candidates(starts, ends, may_start, may_end, settings)
    return triple, float(starts[0] + ends[0])


def _conditional(
    scores: dict[str, np.ndarray],
    may_start: np.ndarray,
    may_end: np.ndarray,
    settings: squad_metrics.SpanSettings,
) -> tuple[squad_metrics.Spans, float]:
    """Returns the candidates of one window and its answerability logit."""
    length = len(may_start)
    positions = scores["start_positions"]
    # A window of fewer tokens than starts has some of these in its padding.
    is_inside = positions < length
    triple = squad_metrics.conditional_candidates(
        log_softmax(scores["start_logits"])[:length],
        log_softmax(scores["end_logits"], axis=-1)[is_inside, :length],
        positions[is_inside],
        may_start,
        may_end,
        settings,
    )
    return triple, float(scores["impossible_logits"])
