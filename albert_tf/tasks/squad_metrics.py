"""SQuAD: scores of starts and ends -> answers, and the official exact match and F1.

Letters: L tokens of a window, K starts that the head for 2.0 follows, M candidates.
"""

import collections
import dataclasses
import hashlib
import itertools
import re
import string
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from scipy.special import softmax

from albert_tf.settings import Settings, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpanSettings(Settings):
    """How answers are looked for; defaults of the original."""

    n_best: int = setting(20, lowest=1)
    max_answer_tokens: int = setting(30, lowest=1)
    num_ends: int = setting(5, lowest=1)  # followed for each start by the head for 2.0


@dataclasses.dataclass(frozen=True)
class Answer:
    """One answer: `text` is `context[start:end]`; `probability` among those of its question."""

    text: str
    score: float
    probability: float
    start: int
    end: int


# Of the best spans, best first: scores [M], first tokens [M], last tokens [M].
Spans = tuple[np.ndarray, np.ndarray, np.ndarray]


# From scores to answers.


def plain_candidates(
    start_logits: np.ndarray,
    end_logits: np.ndarray,
    may_start: np.ndarray,
    may_end: np.ndarray,
    settings: SpanSettings,
) -> Spans:
    """Returns the best spans of one window, scored by the sum of the two logits.

    As the original: the `n_best` best starts with the `n_best` best ends. Where none of these pairs
    is allowed, all pairs are looked at, so that no question stays without an answer.

    Args:
        start_logits, end_logits: float [L].
        may_start: bool [L], tokens of the context that have most context in this window.
        may_end: bool [L], tokens of the context.
        settings: how answers are looked for.

    Returns:
        At most `n_best` spans.
    """
    starts = np.argsort(-start_logits, kind="stable")[: settings.n_best]
    ends = np.argsort(-end_logits, kind="stable")[: settings.n_best]
    pairs = np.stack(np.meshgrid(starts, ends, indexing="ij"), -1).reshape(-1, 2)
    pairs = _allowed(pairs, may_start, may_end, settings)
    if not len(pairs):
        starts, offsets = np.flatnonzero(may_start), np.arange(settings.max_answer_tokens)
        starts = np.repeat(starts, len(offsets))
        ends = starts + np.tile(offsets, len(starts) // len(offsets))
        inside = ends < len(may_end)
        pairs = np.stack([starts[inside], ends[inside]], -1)
        pairs = _allowed(pairs, may_start, may_end, settings)
    return _best_first(start_logits[pairs[:, 0]] + end_logits[pairs[:, 1]], pairs, settings)


def conditional_candidates(
    start_log_probabilities: np.ndarray,
    end_log_probabilities: np.ndarray,
    start_positions: np.ndarray,
    may_start: np.ndarray,
    may_end: np.ndarray,
    settings: SpanSettings,
) -> Spans:
    """Returns the best spans of one window where each end was scored given its start.

    As the original: for each of K starts the `num_ends` best ends, scored by the sum of the log
    probabilities. Where none of these spans is allowed, all ends of the K starts are looked at, and
    where there is none either, the best allowed start is an answer of one token.

    Args:
        start_log_probabilities: float [L].
        end_log_probabilities: float [K, L].
        start_positions: int [K].
        may_start, may_end, settings: as of `plain_candidates`.

    Returns:
        As `plain_candidates`.
    """
    length = len(may_end)
    numbers = np.arange(len(start_positions))
    for count in (settings.num_ends, length):
        ends = np.argsort(-end_log_probabilities, axis=-1, kind="stable")[:, :count]  # [K, ends]
        beams = np.repeat(numbers, ends.shape[1])
        pairs = np.stack([np.asarray(start_positions)[beams], ends.reshape(-1)], -1)
        is_allowed = _is_allowed(pairs, may_start, may_end, settings)
        if is_allowed.any():
            pairs, beams = pairs[is_allowed], beams[is_allowed]
            scores = start_log_probabilities[pairs[:, 0]]
            return _best_first(scores + end_log_probabilities[beams, pairs[:, 1]], pairs, settings)
    pairs = np.flatnonzero(may_start & may_end)[:, None].repeat(2, axis=1)
    scores = start_log_probabilities[pairs[:, 0]]
    if len(end_log_probabilities):
        scores = scores + end_log_probabilities.max(axis=0)[pairs[:, 1]]
    return tuple(values[:1] for values in _best_first(scores, pairs, settings))


def _is_allowed(
    pairs: np.ndarray, may_start: np.ndarray, may_end: np.ndarray, settings: SpanSettings
) -> np.ndarray:
    starts, ends = pairs[:, 0], pairs[:, 1]
    length = ends - starts + 1
    return (
        may_start[starts] & may_end[ends] & (length >= 1) & (length <= settings.max_answer_tokens)
    )


def _allowed(
    pairs: np.ndarray, may_start: np.ndarray, may_end: np.ndarray, settings: SpanSettings
) -> np.ndarray:
    return pairs[_is_allowed(pairs, may_start, may_end, settings)]


def _best_first(scores: np.ndarray, pairs: np.ndarray, settings: SpanSettings) -> Spans:
    order = np.argsort(-scores, kind="stable")[: settings.n_best]
    return scores[order], pairs[order, 0], pairs[order, 1]


def rank_answers(
    candidates: Iterable[tuple[np.ndarray, ...]], context: str, settings: SpanSettings
) -> list[Answer]:
    """Returns the answers to one question, best first, each text once.

    Args:
        candidates: for each window (scores [M], starts [M], ends [M], char_starts [L],
            char_ends [L]), the last two the characters of the context that tokens stand for.
        context: the text.
        settings: how answers are looked for.

    Returns:
        At most `n_best`; none only where there is no candidate with a text.
    """
    spans = []
    for scores, starts, ends, char_starts, char_ends in candidates:
        spans += zip(
            np.asarray(scores).tolist(),
            np.asarray(char_starts)[starts].tolist(),
            np.asarray(char_ends)[ends].tolist(),
            strict=True,
        )
    spans.sort(key=lambda span: -span[0])
    by_text = {}
    for score, start, end in spans:
        text = context[start:end]
        start += len(text) - len(text.lstrip())
        text = text.strip()
        if text and text not in by_text:
            by_text[text] = (score, start, start + len(text))
        if len(by_text) == settings.n_best:
            break
    if not by_text:
        return []
    probabilities = softmax([score for score, _, _ in by_text.values()]).tolist()
    return [
        Answer(text, score, probability, start, end)
        for (text, (score, start, end)), probability in zip(
            by_text.items(), probabilities, strict=True
        )
    ]


# The official scores.

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalize_answer(text: str) -> str:
    """Returns a text in lower case, without ASCII punctuation and articles, single-spaced."""
    text = text.lower().translate(_WITHOUT_PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", text).split())


def exact_match(prediction: str, gold_answers: Iterable[str]) -> float:
    """Returns 1.0 if the normalised prediction is one of the normalised answers, else 0.0."""
    prediction = normalize_answer(prediction)
    return float(any(prediction == normalize_answer(answer) for answer in gold_answers))


def f1_score(prediction: str, gold_answers: Iterable[str], empty_matches: bool = False) -> float:
    """Returns the largest F1 of words over the answers.

    Args:
        prediction: text.
        gold_answers: texts, at least one.
        empty_matches: whether nothing and nothing agree, as in 2.0; in 1.1 they do not.
    """
    return max(_f1_of_pair(prediction, answer, empty_matches) for answer in gold_answers)


def _f1_of_pair(prediction: str, answer: str, empty_matches: bool) -> float:
    words, right = normalize_answer(prediction).split(), normalize_answer(answer).split()
    if empty_matches and not (words and right):
        return float(words == right)
    common = sum((collections.Counter(words) & collections.Counter(right)).values())
    return 2 * common / (len(words) + len(right)) if common else 0.0


def evaluate_v1(
    predictions: Mapping[str, str], gold_answers: Mapping[str, Sequence[str]]
) -> dict[str, float]:
    """Returns the figures of the official script for 1.1, in percent.

    Args:
        predictions: {id: text}; a question that is missing counts as wrong.
        gold_answers: {id: texts}.
    """
    exact = [
        exact_match(predictions[i], gold) for i, gold in gold_answers.items() if i in predictions
    ]
    f1 = [f1_score(predictions[i], gold) for i, gold in gold_answers.items() if i in predictions]
    count = len(gold_answers)
    return {"exact_match": 100 * sum(exact) / count, "f1": 100 * sum(f1) / count}


def score_v2(
    predictions: Mapping[str, str], gold_answers: Mapping[str, Sequence[str]]
) -> tuple[dict[str, float], dict[str, float]]:
    """Returns {id: exact}, {id: F1} as the official script for 2.0 scores each question."""
    exact, f1 = {}, {}
    for guid, answers in gold_answers.items():
        # Answers that are all articles and punctuation do not count; no answer is the empty one.
        answers = [answer for answer in answers if normalize_answer(answer)] or [""]
        if guid in predictions:
            exact[guid] = exact_match(predictions[guid], answers)
            f1[guid] = f1_score(predictions[guid], answers, empty_matches=True)
    return exact, f1


def evaluate_v2(
    predictions: Mapping[str, str],
    gold_answers: Mapping[str, Sequence[str]],
    null_scores: Mapping[str, float] | None = None,
    null_threshold: float = 1.0,
) -> dict[str, float]:
    """Returns the figures of the official script for 2.0, in percent.

    Args:
        predictions: {id: text}, "" for no answer.
        gold_answers: {id: texts}, [] for a question without answer.
        null_scores: {id: number}, the larger the less likely is there an answer. An answer whose
            number exceeds `null_threshold` counts as none; the best thresholds are reported, too.
        null_threshold: see `null_scores`.

    Returns:
        `exact`, `f1`, `total`, the same for questions with (`HasAns_`) and without (`NoAns_`)
        answer where there are any, and with `null_scores` `best_exact`, `best_exact_threshold`,
        `best_f1`, `best_f1_threshold`.
    """
    raw = score_v2(predictions, gold_answers)
    scores = {}
    if null_scores is None:
        null_scores, thresholded = {}, raw
    else:
        thresholded = tuple(
            _apply_threshold(values, gold_answers, null_scores, null_threshold) for values in raw
        )
    groups = {"": list(gold_answers)}
    groups["HasAns_"] = [guid for guid, answers in gold_answers.items() if answers]
    groups["NoAns_"] = [guid for guid, answers in gold_answers.items() if not answers]
    for prefix, guids in groups.items():
        if guids:
            for name, values in zip(("exact", "f1"), thresholded, strict=True):
                total = sum(values[guid] for guid in guids if guid in values)
                scores[prefix + name] = 100 * total / len(guids)
            scores[f"{prefix}total"] = len(guids)
    if null_scores:
        for name, values in zip(("exact", "f1"), raw, strict=True):
            best, threshold = best_threshold(predictions, gold_answers, values, null_scores)
            scores[f"best_{name}"] = best
            scores[f"best_{name}_threshold"] = threshold
    return scores


def _apply_threshold(
    values: Mapping[str, float],
    gold_answers: Mapping[str, Sequence[str]],
    null_scores: Mapping[str, float],
    threshold: float,
) -> dict[str, float]:
    return {
        guid: float(not gold_answers[guid]) if null_scores[guid] > threshold else value
        for guid, value in values.items()
    }


def best_threshold(
    predictions: Mapping[str, str],
    gold_answers: Mapping[str, Sequence[str]],
    values: Mapping[str, float],
    null_scores: Mapping[str, float],
) -> tuple[float, float]:
    """Returns (best mean in percent, threshold) over the thresholds that the scores allow.

    Going up the null scores, every question passed is answered; one without answer is lost by that
    unless nothing was said. As the official script: the first of equal bests, starting from 0.0
    with no question answered.

    Args:
        predictions: {id: text}.
        gold_answers: {id: texts}.
        values: {id: score of the answer}.
        null_scores: {id: number}.
    """
    current = best = sum(not answers for answers in gold_answers.values())
    threshold = 0.0
    for guid in sorted(null_scores, key=null_scores.get):
        if guid not in values:
            continue
        if gold_answers[guid]:
            current += values[guid]
        elif predictions[guid]:
            current -= 1
        if current > best:
            best, threshold = current, null_scores[guid]
    return 100 * best / len(values), float(threshold)


def cross_fitted_predictions(
    predictions: Mapping[str, str],
    gold_answers: Mapping[str, Sequence[str]],
    null_scores: Mapping[str, float],
    groups: Mapping[str, str],
) -> tuple[dict[str, str], dict[str, float]]:
    """Decides about "no answer" with thresholds from other questions.

    A threshold that is chosen on the questions it is reported on flatters. So the articles are cut
    in two halves, and each half is judged by the threshold with the best F1 on the other.

    Args:
        predictions: {id: text of the best answer}.
        gold_answers: {id: texts}.
        null_scores: {id: number}.
        groups: {id: title of the article}.

    Returns:
        {id: text, "" for no answer} and {"threshold_a", "threshold_b"}, that of each half.
    """
    if len(set(groups.values())) < 2:
        groups = {guid: guid for guid in gold_answers}
    names = sorted(set(groups.values()), key=lambda name: hashlib.sha256(name.encode()).digest())
    half_of = {name: index % 2 for index, name in enumerate(names)}
    halves = [[guid for guid in gold_answers if half_of[groups[guid]] == half] for half in (0, 1)]
    thresholds = [
        tune_threshold(predictions, {guid: gold_answers[guid] for guid in half}, null_scores)
        for half in halves
    ]
    final = {}
    for half, threshold in zip(halves, reversed(thresholds), strict=True):
        for guid in half:
            final[guid] = "" if null_scores[guid] > threshold else predictions[guid]
    return final, dict(zip(("threshold_a", "threshold_b"), thresholds, strict=True))


def tune_threshold(
    predictions: Mapping[str, str],
    gold_answers: Mapping[str, Sequence[str]],
    null_scores: Mapping[str, float],
) -> float:
    """Returns the threshold with the best F1, halfway between two null scores or beyond them all:
    the last bits of a score depend on its batch. Args as of `cross_fitted_predictions`.
    """
    if not gold_answers:
        return 0.0
    _, f1 = score_v2(predictions, gold_answers)
    guids = sorted(gold_answers, key=null_scores.get)
    totals = [sum(not answers for answers in gold_answers.values())]
    for _, group in itertools.groupby(guids, null_scores.get):
        # Questions with the same null score are answered together or not at all.
        totals.append(totals[-1] + sum(f1[guid] - (not gold_answers[guid]) for guid in group))
    scores = sorted({float(null_scores[guid]) for guid in guids})
    places = [scores[0] - 1, *((a + b) / 2 for a, b in itertools.pairwise(scores)), scores[-1] + 1]
    return places[totals.index(max(totals))] if max(totals) else 0.0
