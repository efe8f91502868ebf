"""Answers to questions in a context: SQuAD 1.1 and 2.0.

Letters: L tokens of a window, K starts that the head for 2.0 follows.
"""

import json
import pathlib

import numpy as np
from scipy.special import log_softmax

from albert_tf import whole_files
from albert_tf.checkpoints.model_kinds import AnswerNotes
from albert_tf.model.task_models import AlbertAnswerabilitySelector, AlbertSpanSelector
from albert_tf.pipelines.task_data import squad, tfds_examples
from albert_tf.tasks import squad_metrics
from albert_tf.tasks.diagnosis import ErrorSample, ScoreHistogram

HEADS = {"plain": AlbertSpanSelector, "answerability": AlbertAnswerabilitySelector}
_FILES = {
    "squad1": {"train": "train-v1.1.json", "dev": "dev-v1.1.json"},
    "squad2": {"train": "train-v2.0.json", "dev": "dev-v2.0.json"},
}


class AnswerTask:
    """SQuAD; arguments as of `text_task.TextTask`."""

    labels = None

    def __init__(self, name, options, problems):
        self.name = name
        self.options = options
        self.problems = problems
        self.metric = options.metric or "f1"
        self.has_impossible = name == "squad2"
        self.metrics = ("exact" if self.has_impossible else "exact_match", "f1")
        if options.answer_head == "answerability" and not self.has_impossible:
            raise ValueError("`answer_head=answerability` goes with `task=squad2`")
        self.model_class = HEADS[options.answer_head]
        self.span_settings = squad_metrics.SpanSettings(
            n_best=options.n_best, max_answer_tokens=options.max_answer_tokens
        )
        self.null_threshold = None
        self.keeps_threshold = False
        has_dev = options.dev_file or options.data_dir or options.data_source == "tfds"
        self.dev_splits = ("dev",) if has_dev else ()
        self.test_splits = ("test",) if options.test_file else ()

    def learn(self, examples):
        """Nothing is taken from the examples."""

    def restore(self, notes, labels):
        """Takes the threshold from a model that was fine-tuned; it stays."""
        self.null_threshold = notes.null_threshold
        self.keeps_threshold = self.null_threshold is not None

    def notes(self):
        """Returns what a model directory keeps of the task."""
        options = self.options
        return AnswerNotes(
            task=self.name,
            kind=self.model_class.kind,
            max_seq_length=options.max_seq_length,
            doc_stride=options.doc_stride,
            max_query_length=options.max_query_length,
            max_answer_tokens=options.max_answer_tokens,
            null_threshold=self.null_threshold,
        )

    def model_arguments(self):
        """Returns nothing: the heads have no settings."""
        return {}

    def read(self, split):
        """Returns the `Question`s of a split."""
        options = self.options
        if options.data_source == "tfds":
            return tfds_examples.read_squad(self.name, split, options.data_dir)
        path = getattr(options, f"{split}_file")
        if not path and options.data_dir and split in _FILES[self.name]:
            path = pathlib.Path(options.data_dir) / _FILES[self.name][split]
        if not path:
            raise ValueError(f"`{split}_file` or `data_dir` must be given. Received: neither")
        return squad.read(path, self.problems, with_answers=split != "test")

    def encoder(self, training):
        """Returns `squad.encode` and its arguments."""
        options = self.options
        return squad.encode, {
            "max_seq_length": options.max_seq_length,
            "doc_stride": options.doc_stride,
            "max_query_length": options.max_query_length,
            "training": training,
        }

    def predict(self, examples, encoded, outputs):
        """Returns what `best_answers` does."""
        return best_answers(examples, encoded, outputs, self.span_settings)

    def score(self, examples, predictions, outputs=None):
        """Returns the official figures, those for 2.0 with thresholds tuned on other questions."""
        del outputs
        gold = squad.gold_answers(examples)
        texts = _best_texts(examples, predictions)
        if not self.has_impossible:
            return squad_metrics.evaluate_v1(texts, gold)
        null_scores = _null_scores(examples, predictions)
        final, _ = squad_metrics.cross_fitted_predictions(
            texts, gold, null_scores, squad.titles(examples)
        )
        scores = squad_metrics.evaluate_v2(final, gold)
        tuned = squad_metrics.evaluate_v2(texts, gold, null_scores)
        best = {name: value for name, value in tuned.items() if name.startswith("best_")}
        # What later questions are judged by comes from all of these.
        if not self.keeps_threshold:
            self.null_threshold = best["best_f1_threshold"]
        return scores | best

    def baseline(self, train_examples, examples):
        """Returns what never answering reaches; only 2.0 has such questions."""
        del train_examples
        if not self.has_impossible:
            return {}
        gold = squad.gold_answers(examples)
        scores = squad_metrics.evaluate_v2(dict.fromkeys(gold, ""), gold)
        return {name: scores[name] for name in ("exact", "f1")}

    def _final_texts(self, examples, predictions):
        """Returns {id: text}, "" where the null score exceeds the threshold."""
        texts = _best_texts(examples, predictions)
        if not self.has_impossible or self.null_threshold is None:
            return texts
        null_scores = _null_scores(examples, predictions)
        return {
            guid: "" if null_scores[guid] > self.null_threshold else text
            for guid, text in texts.items()
        }

    def write(self, folder, split, examples, predictions):
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

    def diagnose(self, examples, predictions, outputs):
        """Returns the histogram of F1, and the questions with the lowest."""
        del outputs
        gold = squad.gold_answers(examples)
        texts = self._final_texts(examples, predictions)
        if self.has_impossible:
            scores = list(squad_metrics.score_v2(texts, gold)[1].values())
        else:
            scores = [squad_metrics.f1_score(texts[guid], found) for guid, found in gold.items()]
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


def best_answers(questions, encoded, outputs, settings):
    """Finds the answers to questions in what a model gave for their windows.

    Args:
        questions: `squad.Question`s.
        encoded: what `squad.encode` made of them.
        outputs: {output name: one array a window}, of either head.
        settings: `squad_metrics.SpanSettings`.

    Returns:
        For each question {"answers": best first, see `squad_metrics.rank_answers`; "null_score":
        float}. The larger the null score, the less likely is there an answer: the smallest over
        the windows of the answerability logit or, with the plain head, of the score of [CLS], less
        the score of the best answer.
    """
    windows_of = [[] for _ in questions]
    for window, question in enumerate(encoded.details["question_index"].tolist()):
        windows_of[question].append(window)
    is_plain = "impossible_logits" not in outputs
    decode = _plain if is_plain else _conditional
    answered = []
    for question, windows in zip(questions, windows_of, strict=True):
        candidates, null_scores = [], []
        for window in windows:
            tokens = slice(*encoded.row_splits[window : window + 2])
            may_end = encoded.tokens["answer_mask"][tokens].astype(bool)
            may_end[0] = False  # [CLS]
            may_start = may_end & encoded.details["is_max_context"][tokens].astype(bool)
            found = {name: rows[window] for name, rows in outputs.items()}
            triple, null_score = decode(found, may_start, may_end, settings)
            spans = (encoded.details[name][tokens] for name in ("char_starts", "char_ends"))
            candidates.append((*triple, *spans))
            null_scores.append(null_score)
        answers = squad_metrics.rank_answers(candidates, question.context, settings)
        null_score = min(null_scores)
        if is_plain and answers:
            null_score -= answers[0].score
        answered.append({"answers": answers, "null_score": float(null_score)})
    return answered


def _best_texts(examples, predictions):
    return {
        question.guid: prediction["answers"][0].text if prediction["answers"] else ""
        for question, prediction in zip(examples, predictions, strict=True)
    }


def _null_scores(examples, predictions):
    return {
        question.guid: prediction["null_score"]
        for question, prediction in zip(examples, predictions, strict=True)
    }


def _plain(found, may_start, may_end, settings):
    """Returns the candidates of one window and the score of [CLS]."""
    length = len(may_start)
    starts, ends = found["start_logits"][:length], found["end_logits"][:length]
    triple = squad_metrics.plain_candidates(starts, ends, may_start, may_end, settings)
    return triple, float(starts[0] + ends[0])


def _conditional(found, may_start, may_end, settings):
    """Returns the candidates of one window and its answerability logit."""
    length = len(may_start)
    positions = found["start_positions"]
    triple = squad_metrics.conditional_candidates(
        log_softmax(found["start_logits"])[:length],
        log_softmax(found["end_logits"], axis=-1)[:, :length],
        positions[positions < length],
        may_start,
        may_end,
        settings,
    )
    return triple, float(found["impossible_logits"])
