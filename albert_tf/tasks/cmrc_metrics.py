"""CMRC 2018: the official exact match and F1 of Chinese answers.

Rules: `cmrc2018_evaluate.py` (version 5) of github.com/ymcui/cmrc2018. A Chinese character is a
token, what stands between Chinese characters is split as English is, and two answers have in common
their longest run of the same tokens.
"""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence

# What is taken out of both answers. The script also lists "……" and never meets it, since it looks
# at one character at a time.
_PUNCTUATION = str.maketrans("", "", "-:_*^/\\~`+=，。：？！“”；’《》·、「」（）－～『』")
_HAN = "\u4e00-\u9fa5"
_PARTS = re.compile(f"[{_HAN}]|[^{_HAN}]+")
# English words and signs as the Penn Treebank splits them, of small letters without the signs
# above: a comma inside a number and a full stop inside a word belong to it, the full stop behind
# the last word does not.
_SIGNS = r";@#$%&?!()\[\]{}<>«»„‘–—"
_OPENING_QUOTE = re.compile(r"(?:\A|(?<=[ (\[{<]))\"")
_LAST_STOP = r"\.(?=[\])}>\"'» ]*\Z)"
_CLITIC = r"'(?:s|m|d|ll|re|ve)?(?=\s|\Z)|n't(?=\s|\Z)"
_WORDS = re.compile(
    rf"\.{{2,}}|``|''|{_CLITIC}|[{_SIGNS}]|,(?!\d)|{_LAST_STOP}"
    rf"|(?:(?!\.{{2,}}|{_LAST_STOP}|{_CLITIC})[^\s,{_SIGNS}]|,(?=\d))+"
)


def split_answer(text: str) -> list[str]:
    """Returns the tokens that F1 counts: `"在2008年，NBA 季后赛"` -> `在 2008 年 nba 季 后 赛`."""
    tokens = []
    for part in _PARTS.findall(text.lower().strip().translate(_PUNCTUATION)):
        # Quotes that open and those that close are two signs.
        part = _OPENING_QUOTE.sub(" `` ", part).replace('"', " '' ")
        tokens += _WORDS.findall(part)
    return tokens


def exact_match(prediction: str, gold_answers: Iterable[str]) -> float:
    """Returns 1.0 if the prediction is one of the answers but for capitals and punctuation."""
    prediction = _without_punctuation(prediction)
    return float(any(prediction == _without_punctuation(answer) for answer in gold_answers))


def _without_punctuation(text: str) -> str:
    return text.lower().strip().translate(_PUNCTUATION)


def f1_score(prediction: str, gold_answers: Iterable[str]) -> float:
    """Returns the largest F1 over the answers; 0.0 where there are none."""
    tokens = split_answer(prediction)
    return max((_f1_of_pair(tokens, split_answer(answer)) for answer in gold_answers), default=0.0)


def _f1_of_pair(tokens: list[str], right: list[str]) -> float:
    # The longest list of tokens that stands in both without a gap.
    runs = difflib.SequenceMatcher(None, tokens, right, autojunk=False)
    common = runs.find_longest_match().size
    return 2 * common / (len(tokens) + len(right)) if common else 0.0


def evaluate(
    predictions: Mapping[str, str], gold_answers: Mapping[str, Sequence[str]]
) -> dict[str, float]:
    """Returns the figures of the official script, in percent.

    Args:
        predictions: {id: text}; a question that is missing counts as wrong.
        gold_answers: {id: texts}.

    Returns:
        `exact_match`, `f1`, and their mean `average`.
    """
    said = {guid: gold for guid, gold in gold_answers.items() if guid in predictions}
    exact = sum(exact_match(predictions[guid], gold) for guid, gold in said.items())
    f1 = sum(f1_score(predictions[guid], gold) for guid, gold in said.items())
    count = len(gold_answers)
    return {
        "exact_match": 100 * exact / count,
        "f1": 100 * f1 / count,
        "average": 50 * (exact + f1) / count,
    }
