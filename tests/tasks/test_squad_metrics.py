"""SQuAD's scores equal an independent computation; answers are found as by looking at all spans."""

import random
import re

import numpy as np
import pytest

from albert_tf.tasks import squad_metrics
from albert_tf.tasks.squad_metrics import SpanSettings

# An implementation of the official rules in another style: on lists of words, thresholds by trying.

PUNCTUATION = set("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")


def words_of(text):
    kept = "".join(c for c in text.lower() if c not in PUNCTUATION)
    # An article counts as one only between characters that are no letters, digits or underscores.
    for article in ("a", "an", "the"):
        kept = re.sub(rf"(?<!\w){article}(?!\w)", " ", kept)
    return kept.split()


def overlap(said, right):
    right, count = list(right), 0
    for word in said:
        if word in right:
            right.remove(word)
            count += 1
    return count


def f1_by_hand(said, right):
    common = overlap(said, right)
    if not common:
        return 0.0
    precision, recall = common / len(said), common / len(right)
    return 2 * precision * recall / (precision + recall)


def v1_by_hand(predictions, gold):
    exact = f1 = 0.0
    for guid, answers in gold.items():
        if guid in predictions:
            said = words_of(predictions[guid])
            exact += max(said == words_of(answer) for answer in answers)
            f1 += max(f1_by_hand(said, words_of(answer)) for answer in answers)
    return 100 * exact / len(gold), 100 * f1 / len(gold)


def question_v2_by_hand(prediction, answers):
    said = words_of(prediction)
    options = [words_of(answer) for answer in answers if words_of(answer)] or [[]]
    exact = float(said in options)
    if not said or options == [[]]:
        return exact, exact
    return exact, max(f1_by_hand(said, option) for option in options)


def v2_by_hand(predictions, gold, null_scores, threshold):
    rows = {
        guid: (float(not gold[guid]),) * 2
        if null_scores[guid] > threshold
        else question_v2_by_hand(text, gold[guid])
        for guid, text in predictions.items()
    }
    return {
        (name, kind): 100 * np.mean([rows[guid][column] for guid in guids])
        for kind, guids in {
            "": list(rows),
            "HasAns_": [guid for guid in rows if gold[guid]],
            "NoAns_": [guid for guid in rows if not gold[guid]],
        }.items()
        for column, name in enumerate(("exact", "f1"))
    }


VOCABULARY = [
    *(
        "the",
        "The",
        "a",
        "an",
        "AN",
        "cat",
        "Cat",
        "cats",
        "dog's",
        "U.S.",
        "1,000",
        "1000",
        "half",
    ),
    *("-", "...", "'", "“quoted”", "naïve", "NAÏVE", "日本", "é", "🙂", "_", "theatre", "a.", "½"),
    *("(the", "the)", "", " ", "\t", "\u00a0", "\u2028"),
]


def random_text(generator):
    return generator.choice(["", " "]) + " ".join(
        generator.choice(VOCABULARY) for _ in range(generator.choice([0, 1, 1, 2, 3, 5]))
    )


def make_questions(seed, count=2000):
    generator = random.Random(seed)
    gold, predictions, null_scores = {}, {}, {}
    for number in range(count):
        guid = f"q{number}"
        answers = [random_text(generator) for _ in range(generator.choice([1, 1, 2, 3]))]
        gold[guid] = [] if generator.random() < 0.4 else answers
        near = generator.random() < 0.5
        predictions[guid] = generator.choice(answers) if near else random_text(generator)
        if generator.random() < 0.15:
            predictions[guid] = ""
        # Few different numbers, so that there are ties.
        null_scores[guid] = generator.choice([-2.0, -0.5, 0.0, 0.25, 1.0, 1.5, 3.0])
    return gold, predictions, null_scores


@pytest.mark.parametrize("seed", range(3))
def test_v1_equals_an_independent_computation(seed):
    gold, predictions, _ = make_questions(seed)
    gold = {guid: answers or ["the"] for guid, answers in gold.items()}
    del predictions["q3"]  # a question without prediction counts as wrong
    scores = squad_metrics.evaluate_v1(predictions, gold)
    exact, f1 = v1_by_hand(predictions, gold)
    assert scores["exact_match"] == pytest.approx(exact, abs=1e-9)
    assert scores["f1"] == pytest.approx(f1, abs=1e-9)
    assert 5 < exact < 95 and 5 < f1 < 95


@pytest.mark.parametrize("threshold", [-1.0, 0.25, 1.0, 9.0])
def test_v2_equals_an_independent_computation(threshold):
    gold, predictions, null_scores = make_questions(7)
    scores = squad_metrics.evaluate_v2(predictions, gold, null_scores, threshold)
    for (name, kind), value in v2_by_hand(predictions, gold, null_scores, threshold).items():
        assert scores[kind + name] == pytest.approx(value, abs=1e-9), kind + name
    assert scores["total"] == 2000
    assert scores["HasAns_total"] + scores["NoAns_total"] == 2000


@pytest.mark.slow
def test_best_threshold_is_that_of_trying_all_when_scores_differ():
    for seed in range(5):
        gold, predictions, _ = make_questions(seed, 150)
        # The official search takes "the" for an answer, which the score takes for none.
        predictions = {g: text if words_of(text) else "" for g, text in predictions.items()}
        generator = np.random.default_rng(seed)
        null_scores = dict(zip(gold, generator.normal(size=150).tolist(), strict=True))
        scores = squad_metrics.evaluate_v2(predictions, gold, null_scores)
        for column, name in enumerate(("exact", "f1")):
            best = -1.0
            for threshold in (-9.0, *null_scores.values()):
                found = v2_by_hand(predictions, gold, null_scores, threshold)
                best = max(best, found[("exact", "f1")[column], ""])
            assert scores[f"best_{name}"] == pytest.approx(best, abs=1e-9)
            # The threshold that is reported reaches it.
            reached = v2_by_hand(predictions, gold, null_scores, scores[f"best_{name}_threshold"])
            if best > 100 * np.mean([not answers for answers in gold.values()]):
                assert reached[name, ""] == pytest.approx(best, abs=1e-9)


@pytest.mark.parametrize(
    ("prediction", "answers", "exact", "f1"),
    [
        ("the Cat", ["a cat."], 1, 1),
        ("cat", ["dog", "The cat!"], 1, 1),
        ("big cat", ["cat"], 0, 2 / 3),
        ("cat cat", ["cat"], 0, 2 / 3),
        ("U.S.", ["us"], 1, 1),
        ("naïve", ["naive"], 0, 0),
        ("theatre", ["atre"], 0, 0),
        ("1,000", ["1000"], 1, 1),
        ("“cat”", ["cat"], 0, 0),  # only ASCII punctuation is taken off
        ("", ["cat"], 0, 0),
    ],
)
def test_unit_cases(prediction, answers, exact, f1):
    assert squad_metrics.exact_match(prediction, answers) == exact
    assert squad_metrics.f1_score(prediction, answers) == pytest.approx(f1)


def test_empty_predictions_agree_with_no_answer_only_in_2_0():
    assert squad_metrics.evaluate_v1({"q": ""}, {"q": ["the"]})["f1"] == 0
    both = squad_metrics.evaluate_v2({"q": "", "r": "cat"}, {"q": [], "r": []})
    assert both["NoAns_exact"] == both["NoAns_f1"] == 50
    # Answers that are all articles count as no answer at all.
    assert squad_metrics.evaluate_v2({"q": ""}, {"q": ["the", "a cat"]})["f1"] == 0
    assert squad_metrics.evaluate_v2({"q": ""}, {"q": ["the"]})["f1"] == 100


def test_cross_fitting_never_sees_the_questions_it_decides():
    gold, predictions, null_scores = make_questions(3, 300)
    groups = {guid: f"article {int(guid[1:]) // 30}" for guid in gold}
    final, thresholds = squad_metrics.cross_fitted_predictions(
        predictions, gold, null_scores, groups
    )
    assert final.keys() == gold.keys()
    halves = {}
    for title in set(groups.values()):
        guids = [guid for guid in gold if groups[guid] == title]
        # Turning this article's own labels around leaves its decisions as they were.
        other = {**gold, **{guid: [] if gold[guid] else ["cat"] for guid in guids}}
        again, _ = squad_metrics.cross_fitted_predictions(predictions, other, null_scores, groups)
        assert {guid: again[guid] for guid in guids} == {guid: final[guid] for guid in guids}
        for half, threshold in zip("ba", thresholds.values(), strict=True):
            decided = {
                guid: "" if null_scores[guid] > threshold else predictions[guid] for guid in guids
            }
            if decided == {guid: final[guid] for guid in guids}:
                halves.setdefault(half, []).append(title)
    assert sum(map(len, halves.values())) >= 10


def test_single_article_is_cut_by_questions():
    gold, predictions, null_scores = make_questions(3, 100)
    final, _ = squad_metrics.cross_fitted_predictions(
        predictions, gold, null_scores, dict.fromkeys(gold, "one")
    )
    assert len(final) == 100


# Decoding.


def allowed_spans(may_start, may_end, longest):
    return [
        (start, end)
        for start in range(len(may_start))
        for end in range(start, min(len(may_end), start + longest))
        if may_start[start] and may_end[end]
    ]


def make_window(seed, length=40):
    generator = np.random.default_rng(seed)
    starts, ends = generator.normal(size=(2, length))
    may_end = np.arange(length) >= 8
    may_end[-1] = False
    may_start = may_end & (generator.random(length) < 0.7)
    return starts, ends, may_start, may_end


def test_plain_candidates_are_the_best_of_all_allowed_spans():
    settings = SpanSettings(n_best=40, max_answer_tokens=6)
    for seed in range(20):
        starts, ends, may_start, may_end = make_window(seed)
        scores, first, last = squad_metrics.plain_candidates(
            starts, ends, may_start, may_end, settings
        )
        expected = sorted(
            ((starts[a] + ends[b], a, b) for a, b in allowed_spans(may_start, may_end, 6)),
            reverse=True,
        )[:40]
        np.testing.assert_allclose(scores, [score for score, _, _ in expected])
        assert list(zip(first, last, strict=True)) == [(a, b) for _, a, b in expected]


def test_window_whose_best_pairs_are_not_allowed_still_has_an_answer():
    starts, ends, may_start, may_end = make_window(0)
    starts[30:38], ends[8:16] = 50, 50  # the best starts lie behind the best ends
    may_start[:] = may_end
    settings = SpanSettings(n_best=3, max_answer_tokens=2)
    scores, first, last = squad_metrics.plain_candidates(starts, ends, may_start, may_end, settings)
    spans = allowed_spans(may_start, may_end, 2)
    assert scores[0] == max(starts[a] + ends[b] for a, b in spans)
    assert (first[0], last[0]) in spans


def test_window_in_which_nothing_may_start_has_no_candidate():
    starts, ends, may_start, may_end = make_window(0)
    for found in squad_metrics.plain_candidates(
        starts, ends, np.zeros_like(may_start), may_end, SpanSettings()
    ):
        assert len(found) == 0


def make_beams(seed, beams=5):
    starts, ends, may_start, may_end = make_window(seed)
    generator = np.random.default_rng(seed + 100)
    positions = generator.permutation(len(starts))[:beams]
    return starts, generator.normal(size=(beams, len(starts))), positions, may_start, may_end


def test_conditional_candidates_follow_the_best_ends_of_each_start():
    settings = SpanSettings(n_best=25, max_answer_tokens=30, num_ends=5)
    compared = 0
    for seed in range(20):
        starts, ends, positions, may_start, may_end = make_beams(seed)
        scores, first, last = squad_metrics.conditional_candidates(
            starts, ends, positions, may_start, may_end, settings
        )
        spans = set(allowed_spans(may_start, may_end, 30))
        expected = [
            (starts[start] + row[end], start, end)
            for start, row in zip(positions, ends, strict=True)
            for end in sorted(range(len(row)), key=lambda end, row=row: -row[end])[:5]
            if (start, end) in spans
        ]
        if expected:
            compared += 1
            expected.sort(key=lambda candidate: -candidate[0])
            np.testing.assert_allclose(scores, [score for score, _, _ in expected])
            assert list(zip(first, last, strict=True)) == [(a, b) for _, a, b in expected]
    assert compared > 10


def test_starts_that_allow_no_end_leave_the_best_allowed_start():
    starts, ends, positions, may_start, may_end = make_beams(1)
    positions = np.array([0, 1, 2, 3, 4])  # all in the question
    scores, first, last = squad_metrics.conditional_candidates(
        starts, ends, positions, may_start, may_end, SpanSettings()
    )
    allowed = np.flatnonzero(may_start)
    best = max(allowed, key=lambda token: starts[token] + ends.max(axis=0)[token])
    assert (first.tolist(), last.tolist()) == ([best], [best])


def test_answers_are_ranked_over_windows_and_each_text_is_there_once():
    context = "one two  one three"
    char_starts, char_ends = np.array([0, 4, 9, 13]), np.array([3, 8, 12, 18])
    first = np.array([2.0, 1.0]), np.array([0, 1]), np.array([0, 1]), char_starts, char_ends
    second = np.array([3.0, 0.5]), np.array([2, 3]), np.array([2, 3]), char_starts, char_ends
    answers = squad_metrics.rank_answers([first, second], context, SpanSettings())
    assert [(a.text, a.score, a.start, a.end) for a in answers] == [
        ("one", 3.0, 9, 12),
        ("two", 1.0, 4, 7),
        ("three", 0.5, 13, 18),
    ]
    assert all(context[a.start : a.end] == a.text for a in answers)
    weights = np.exp([3.0, 1.0, 0.5])
    np.testing.assert_allclose([a.probability for a in answers], weights / weights.sum())


def test_no_candidates_give_no_answers():
    assert squad_metrics.rank_answers([], "text", SpanSettings()) == []


def test_settings_name_what_is_wrong():
    with pytest.raises(ValueError, match="`n_best` must be a positive integer. Received: 0"):
        SpanSettings(n_best=0)


def test_where_every_question_has_an_answer_the_model_answers_before_it_is_ever_right():
    gold = {name: ["a cat"] for name in "abc"}
    threshold = squad_metrics.tune_threshold(
        dict.fromkeys(gold, "dog"), gold, {"a": -8.0, "b": -1.0, "c": -0.5}
    )
    assert threshold == 0.0


def test_questions_of_one_null_score_are_answered_together_or_not_at_all():
    gold = {"a": ["a cat"], "b": [], "c": [], "d": []}
    predictions = dict.fromkeys(gold, "cat")
    threshold = squad_metrics.tune_threshold(predictions, gold, dict.fromkeys(gold, -1.0))
    assert threshold < -1.0
    scores = {"a": -1.0, "b": -1.0, "c": 0.0, "d": 0.0}
    assert squad_metrics.tune_threshold(predictions, gold, scores) < -1.0
    assert squad_metrics.tune_threshold(predictions, gold, {**scores, "a": -2.0}) == -1.5
    never = squad_metrics.tune_threshold(predictions, gold, {**scores, "a": 0.5})
    assert np.float32(never) < np.float32(-1.0)  # as exports compare
    always = dict.fromkeys(gold, ["cat"])
    assert squad_metrics.tune_threshold(predictions, always, scores) == 1.0
