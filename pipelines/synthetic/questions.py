"""Questions on passages, made of the passages alone.

    passage   "... The first antibiotic from nature, tyrothricin, was developed in 1939. ..."
    question  "In what year first antibiotic nature tyrothricin develop?"        answer "1939"

A gap in a sentence is asked for by the words around it, as arXiv 1906.04980 does, without a parser:
names, dates, amounts and other runs of words are found by their letters, a question word goes by
which of them it is, and words are moved, dropped and lose their endings, so that a model learns to
look for the place in a passage that a question is nearest to, and to answer by what stands there.
What it learns so, it need not learn of the questions that people wrote. English alone.
"""

import dataclasses
import random
import re
from collections.abc import Iterator, Sequence

# Of SQuAD's passages most have 40 to 110 words; its questions have about 11, its answers up to 6.
_PASSAGE_WORDS, _LONGEST_PASSAGE = (40, 90), 110
_QUESTION_WORDS, _FEWEST_WORDS, _FEWEST_OF_MEANING = (4, 14), 6, 2
_MOST_ANSWER_WORDS = 6
# Each question loses a share of its words drawn up to the first, of words with a meaning less; of
# the others a quarter their ending.
_DROPPED, _DROPPED_OF_MEANING, _WITHOUT_ENDING = 0.5, 0.6, 0.25
_FUNCTION_WORDS = frozenset(
    "a an the of in on at to for from by with and or but nor as is are was were be been being has "
    "have had do does did no not it its he him his she her they their them this that these those "
    "which who whom whose what when where while if than then there here into over under between "
    "after before during through about against also such can could may might will would should "
    "must so both each other more most some any all only very i we us you my our your me".split()
)
_ARTICLES = frozenset(("the", "a", "an"))
# Behind these stand nouns more often than verbs, adverbs or adjectives alone.
_BEFORE_NOUNS = _ARTICLES | frozenset(
    "of in on at for from by with into over under between after before during through about "
    "against its his her their our my this these those some any such other".split()
)
_FUNCTION_WORDS_OF_ENGLISH = 0.2  # at least; some 0.4 on the average, other languages have few
_JOINERS = frozenset("of the and for de von van".split())  # within names
_MONTHS = frozenset(
    "january february march april may june july august september october november december".split()
)
# How often each kind of answer is asked for beside another, and by which words.
_WEIGHTS = {"year": 2, "date": 2, "amount": 2, "number": 2, "name": 3, "thing": 1}
_ASKS = {
    "year": ("in what year", "in which year", "what year", "when"),
    "date": ("when", "what date", "on what date"),
    "amount": ("how many", "how much", "what"),
    "number": ("how many", "how many", "how much", "what", "what number of"),
    "name": ("who", "who", "whose", "what", "what", "where", "which"),
    "thing": ("what", "what", "which", "what kind of", "what type of", "how"),
}
# Where the question word stands: before what follows the gap and what is before it, and so on.
_ORDERS = {
    "ask right left": 0.5,
    "left ask right": 0.2,
    "ask left right": 0.15,
    "left right ask": 0.15,
}
_WORD = re.compile(r"\S+")
_CORE = re.compile(r"[\"'(\[“‘]*(.*?)[\"')\]”’.,;:!?]*$")
_YEAR, _DAY = re.compile(r"(1\d|20)\d\d"), re.compile(r"\d{1,2}")
_NUMBER = re.compile(r"[$£€]?\d[\d.,]*%?")
_ENDING = re.compile(r"(?<=\w{4})(ed|s|es|ing|ly)$")
_NO_NOUN = re.compile("(ed|ly|ing)$")
_ARTICLE = re.compile(r"(the|a|an) ", re.IGNORECASE)


@dataclasses.dataclass(frozen=True, slots=True)
class Question:
    """A question, the passage that answers it, and the answer: `context[start:]` begins with it."""

    question: str
    context: str
    answer: str
    start: int


@dataclasses.dataclass(frozen=True, slots=True)
class Gap:
    """Words `first` to `end`, without the last, of a sentence, that can be asked for."""

    first: int
    end: int
    kind: str


def find_passages(sentences: Sequence[str], rng: random.Random) -> Iterator[list[str]]:
    """Yields English sentences that stand together in a document and have 40 to 110 words."""
    passage, words, goal = [], 0, rng.randint(*_PASSAGE_WORDS)
    for sentence in sentences:
        passage.append(sentence)
        words += len(sentence.split())
        if words >= goal:
            if words <= _LONGEST_PASSAGE and _is_english(passage):
                yield passage
            passage, words, goal = [], 0, rng.randint(*_PASSAGE_WORDS)
    if words >= _PASSAGE_WORDS[0] and _is_english(passage):
        yield passage


def _is_english(passage: Sequence[str]) -> bool:
    words = " ".join(passage).lower().split()
    return sum(word in _FUNCTION_WORDS for word in words) >= _FUNCTION_WORDS_OF_ENGLISH * len(words)


def make_question(passage: Sequence[str], rng: random.Random) -> Question | None:
    """Returns a question on one of the sentences, or None where it tells too little."""
    number = rng.randrange(len(passage))
    offset = sum(len(sentence) + 1 for sentence in passage[:number])
    places = [match.span() for match in _WORD.finditer(passage[number])]
    words = [passage[number][start:end] for start, end in places]
    gaps = find_gaps(words)
    if len(words) < _FEWEST_WORDS or not gaps:
        return None
    (gap,) = rng.choices(gaps, [_WEIGHTS[gap.kind] for gap in gaps])
    text = passage[number][places[gap.first][0] : places[gap.end - 1][1]]
    core = _CORE.match(text)
    answer, start = core[1], offset + places[gap.first][0] + core.start(1)
    article = _ARTICLE.match(answer)
    if article and rng.random() < 0.5:
        answer, start = answer[article.end() :], start + article.end()
    question = _ask(words, gap, rng)
    if not answer or not question:
        return None
    return Question(question, " ".join(passage), answer, start)


def find_gaps(words: Sequence[str]) -> list[Gap]:
    """Returns the names, years, dates, numbers, amounts and other runs of words of a sentence."""
    cores = [_CORE.match(word)[1] for word in words]
    ends = [word[-1] in ',;:.!?)"”' for word in words]
    gaps, first = [], 0
    while first < len(words):
        end = first + 1
        core = cores[first]
        if _YEAR.fullmatch(core):
            day = first
            while first - day < 2 and day and _is_of_date(cores[day - 1]):
                day -= 1
            gaps.append(Gap(day, end, "year" if day == first else "date"))
        elif _NUMBER.fullmatch(core):
            gaps.append(Gap(first, end, "number"))
            if end < len(words) and not ends[first] and _has_meaning(cores[end]):
                gaps.append(Gap(first, end + 1, "amount"))
        elif core[:1].isupper() and core != "I" and (first or core.lower() not in _FUNCTION_WORDS):
            end = _end_of_name(cores, ends, first)
            if first or end > 1:  # else a sentence only begins here
                gaps.append(Gap(first, end, "name"))
        elif _has_meaning(core):
            while end < len(words) and not ends[end - 1] and _is_of_thing(cores[end]):
                end += 1
            if _are_nouns(cores, ends, first, end):
                has_article = cores[first - 1].lower() in _ARTICLES
                gaps.append(Gap(first - 1 if has_article else first, end, "thing"))
        first = end
    return [gap for gap in gaps if gap.end - gap.first <= _MOST_ANSWER_WORDS]


def _is_of_date(core: str) -> bool:
    return core.lower() in _MONTHS or bool(_DAY.fullmatch(core))


def _has_meaning(core: str) -> bool:
    return core.isalpha() and core.lower() not in _FUNCTION_WORDS


def _is_of_thing(core: str) -> bool:
    return core.islower() and _has_meaning(core)


def _are_nouns(cores: Sequence[str], ends: Sequence[bool], first: int, end: int) -> bool:
    """Guesses whether small words end with a noun, by their neighbors and their ending."""
    before, last = cores[first - 1].lower() if first else "", cores[end - 1]
    is_cut_off = (
        not ends[end - 1] and end < len(cores) and cores[end].lower() not in _FUNCTION_WORDS
    )
    return before in _BEFORE_NOUNS and not _NO_NOUN.search(last) and not is_cut_off


def _end_of_name(cores: Sequence[str], ends: Sequence[bool], first: int) -> int:
    """Returns where the run of capital words that begins there ends, `of` and `the` included."""
    end = first + 1
    while end < len(cores) and not ends[end - 1]:
        joins = cores[end] in _JOINERS and not ends[end] and end + 1 < len(cores)
        last = end + 1 if joins else end
        if not cores[last][:1].isupper():
            break
        end = last + 1
    return end


def _ask(words: Sequence[str], gap: Gap, rng: random.Random) -> str | None:
    """Returns a question for a gap, of some of the words around it; None where they tell little."""
    length = rng.randint(*_QUESTION_WORDS)
    low = max(0, gap.first - rng.randint(0, length))
    high = gap.end + length - (gap.first - low)
    dropped = _DROPPED * rng.random()
    parts = {
        "left": _change(words[low : gap.first], dropped, rng),
        "right": _change(words[gap.end : high], dropped, rng),
        "ask": [rng.choice(_ASKS[gap.kind])],
    }
    if sum(map(_has_meaning, parts["left"] + parts["right"])) < _FEWEST_OF_MEANING:
        return None
    (order,) = rng.choices(tuple(_ORDERS), tuple(_ORDERS.values()))
    question = " ".join(word for name in order.split() for word in parts[name])
    return f"{question[0].upper()}{question[1:]}?"


def _change(words: Sequence[str], dropped: float, rng: random.Random) -> list[str]:
    """Returns words without their punctuation, some of them dropped, some without their ending."""
    cores = filter(None, (_CORE.match(word)[1] for word in words))
    kept = [
        core
        for core in cores
        if rng.random() >= dropped * (_DROPPED_OF_MEANING if _has_meaning(core) else 1)
    ]
    return [_ENDING.sub("", core) if rng.random() < _WITHOUT_ENDING else core for core in kept]
