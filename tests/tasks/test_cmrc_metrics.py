"""CMRC 2018 is scored as its rules say: by hand, and as another program that follows them."""

import random
import re

import pytest

from albert_tf.tasks import cmrc_metrics, squad_metrics

# The rules in another style: on marks between characters, and on all slices of an answer.
DROPPED = set("-:_*^/\\~`+=，。：？！“”；’《》·、「」（）－～『』")
ALONE = set(';@#$%&?!()[]{}<>"')


def is_han(character):
    return 0x4E00 <= ord(character) <= 0x9FA5


def kept(text):
    return [character for character in text.lower().strip() if character not in DROPPED]


def tokens_by_hand(text):
    tokens, word = [], ""
    characters = kept(text)
    for place, character in enumerate(characters):
        after = characters[place + 1] if place + 1 < len(characters) else " "
        if is_han(character) or character.isspace() or character in ALONE:
            tokens.append(word)
            word = ""
            tokens.append("" if character.isspace() else character)
        elif character == "," and not after.isdigit():
            tokens += [word, ","]
            word = ""
        elif character == "." and _ends_words(characters[place + 1 :]):
            tokens += [word, "."]
            word = ""
        else:
            word += character
    return [token for token in [*tokens, word] if token]


def _ends_words(rest):
    """Whether nothing but closing signs comes before the end, or before a Chinese character."""
    for character in rest:
        if is_han(character):
            return True
        if character not in "])}>\"'» ":
            return False
    return True


def f1_by_hand(said, right):
    said, right = tokens_by_hand(said), tokens_by_hand(right)
    slices = [said[i:j] for i in range(len(said)) for j in range(i + 1, len(said) + 1)]
    in_both = [
        len(part)
        for part in slices
        if any(right[i : i + len(part)] == part for i in range(len(right)))
    ]
    if not in_both:
        return 0.0
    precision, recall = max(in_both) / len(said), max(in_both) / len(right)
    return 2 * precision * recall / (precision + recall)


PARTS = [
    "光荣",
    "北京大学",
    "2009",
    "年",
    "月",
    "NBA",
    "ω-force",
    "Mary",
    "’s",
    "3,000",
    "，",
    "。",
    "《",
]
PARTS += [
    "》",
    "（",
    "）",
    " ",
    "·",
    "…",
    "7.5",
    "10%",
    "(",
    ")",
    "、",
    "“",
    "é",
    "😀",
    "ＡＢ",
    "了",
    ", ",
    ".",
]


def test_random_answers_score_as_by_hand():
    draw = random.Random(20)
    scores = set()
    for _ in range(3000):
        said, right = ("".join(draw.choices(PARTS, k=draw.randrange(9))) for _ in range(2))
        if draw.random() < 0.5:  # one that is a part of the other
            right = said[draw.randrange(3) :] + right[:3]
        if ".." in "".join(kept(said) + [" "] + kept(right)):  # one token; see below
            continue
        assert cmrc_metrics.split_answer(said) == tokens_by_hand(said), said
        expected = f1_by_hand(said, right)
        assert cmrc_metrics.f1_score(said, [right]) == pytest.approx(expected), (said, right)
        is_same = "".join(kept(said)) == "".join(kept(right))
        assert cmrc_metrics.exact_match(said, [right]) == is_same
        scores.add(round(expected, 2))
    assert len(scores) > 30


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("在2008年，NBA 季后赛", ["在", "2008", "年", "nba", "季", "后", "赛"]),
        # Signs that are taken out join what they stood between.
        ("ω-force、KOEI", ["ωforcekoei"]),
        ("《战国无双3》", ["战", "国", "无", "双", "3"]),
        ("約3,000人", ["約", "3,000", "人"]),
        ("U.S. Army, 7.5%.", ["u.s.", "army", ",", "7.5", "%", "."]),
        ('(“a” "b" c)', ["(", "a", "``", "b", "''", "c", ")"]),
        ("1990—2000年", ["1990", "—", "2000", "年"]),
        ("等等...", ["等", "等", "..."]),
        ("it's (mary's)", ["it", "'s", "(", "mary's", ")"]),
        # Only U+4E00 to U+9FA5 are split; kana and full-width letters are words.
        ("カナＡＢ", ["カナａｂ"]),
        ("…", ["…"]),
        (" ，。 ", []),
    ],
)
def test_tokens_of_answers(text, tokens):
    assert cmrc_metrics.split_answer(text) == tokens


@pytest.mark.parametrize(
    ("said", "right", "exact", "f1"),
    [
        ("光荣和ω-force", ["光荣和ωforce"], 1.0, 1.0),
        # Two runs of three tokens: the longest counts, once. 2 * 3 / (7 + 6).
        ("北京市，在河北省", ["北京市和河北省"], 0.0, 6 / 14),
        # The best of several: 2 * 2 / (4 + 2).
        ("北京大学", ["上海", "北京"], 0.0, 4 / 6),
        ("北京大学", ["北京大学。"], 1.0, 1.0),
        ("NBA季后赛", ["nba 季后赛"], 0.0, 1.0),  # the space stands in the way of exact match
        ("", ["北京"], 0.0, 0.0),
        ("北京", [], 0.0, 0.0),
    ],
)
def test_scores_worked_out_by_hand(said, right, exact, f1):
    assert cmrc_metrics.exact_match(said, right) == exact
    assert cmrc_metrics.f1_score(said, right) == pytest.approx(f1)


def test_figures_are_means_over_all_questions_in_percent():
    gold = {"a": ["北京"], "b": ["北京大学"], "c": ["上海"]}
    scores = cmrc_metrics.evaluate({"a": "北京。", "b": "北京"}, gold)
    f1 = 100 * (1 + 4 / 6) / 3
    expected = {"exact_match": 100 / 3, "f1": f1, "average": (f1 + 100 / 3) / 2}
    assert scores == pytest.approx(expected)


def test_the_f1_of_squad_would_be_silently_wrong():
    assert squad_metrics.f1_score("北京大学的", ["北京大学"]) == 0.0
    assert cmrc_metrics.f1_score("北京大学的", ["北京大学"]) == pytest.approx(8 / 9)
    assert re.fullmatch(r"\w+", "北京大学")  # one word of \w, too: no other split would help
