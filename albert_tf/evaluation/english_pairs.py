"""English minimal pairs, made by rule of words that a child knows.

Both sentences of a pair have the same number of words and differ in one, or in the order of two.
Which is grammatical follows from the rule alone. The pairs are the same in every process.
"""

import itertools
from collections.abc import Callable, Iterator

import numpy as np

from albert_tf.evaluation.minimal_pairs import MinimalPair

PAIRS_A_PHENOMENON = 60

_PEOPLE = (
    *(("boy", "boys"), ("girl", "girls"), ("man", "men"), ("woman", "women")),
    *(("child", "children"), ("teacher", "teachers"), ("doctor", "doctors"), ("king", "kings")),
    *(("friend", "friends"), ("farmer", "farmers"), ("soldier", "soldiers"), ("son", "sons")),
)
_THINGS = (
    *(("book", "books"), ("chair", "chairs"), ("table", "tables"), ("letter", "letters")),
    *(("picture", "pictures"), ("bag", "bags"), ("car", "cars"), ("hat", "hats")),
    *(("stone", "stones"), ("coat", "coats"), ("tree", "trees"), ("horse", "horses")),
)
# Past form, participle, bare form, and what the verb can be said of.
_VERBS = (
    *(("wrote", "written", "write", "the letter"), ("saw", "seen", "see", "the house")),
    *(("took", "taken", "take", "the book"), ("gave", "given", "give", "the answer")),
    *(("broke", "broken", "break", "the window"), ("ate", "eaten", "eat", "the bread")),
    *(("knew", "known", "know", "the man"), ("chose", "chosen", "choose", "the name")),
    *(("drove", "driven", "drive", "the car"), ("sang", "sung", "sing", "the song")),
    *(("did", "done", "do", "the work"), ("stole", "stolen", "steal", "the money")),
)
_MEN = ("man", "boy", "king", "father", "brother", "son")
_WOMEN = ("woman", "girl", "queen", "mother", "sister", "daughter")
# (good sentence, bad sentence)
Pairs = Iterator[tuple[str, str]]


def _fill(template: str, good: str, bad: str) -> tuple[str, str]:
    """Returns a template with the decisive word in its `_`, the right one and the wrong one."""
    return template.replace("_", good), template.replace("_", bad)


def _agreement_near() -> Pairs:
    verbs = (("walks", "walk"), ("works", "work"), ("sings", "sing"), ("plays", "play"))
    for nouns, forms, when in itertools.product(_PEOPLE, verbs, ("every day", "at home")):
        for noun, good, bad in zip(nouns, forms, forms[::-1], strict=True):
            yield _fill(f"The {noun} _ {when}.", good, bad)


def _agreement_across(between: tuple[str, ...], others: tuple) -> Pairs:
    """The noun that stands right before the verb has the other number."""
    ends = ((("is", "are"), "here"), (("was", "were"), "old"))
    for nouns, words, other, (forms, end) in itertools.product(_PEOPLE, between, others, ends):
        for number, noun in enumerate(nouns):
            if other != nouns:
                template = f"The {noun} {words} the {other[1 - number]} _ {end}."
                yield _fill(template, forms[number], forms[1 - number])


def _agreement_across_phrase() -> Pairs:
    return _agreement_across(("near", "behind", "with"), _THINGS)


def _agreement_across_clause() -> Pairs:
    return _agreement_across(("who saw", "who helped", "who knew"), _PEOPLE)


def _determiner_and_noun() -> Pairs:
    subjects, verbs = ("He", "She", "They"), ("bought", "took", "carried")
    determiners = (("this", "these"), ("that", "those"))
    for who, verb, forms, nouns in itertools.product(subjects, verbs, determiners, _THINGS):
        for noun, good, bad in zip(nouns, forms, forms[::-1], strict=True):
            yield _fill(f"{who} {verb} _ {noun}.", good, bad)


def _reflexive() -> Pairs:
    plurals = ("boys", "girls", "men", "women", "children", "kings")
    kinds = (
        *((noun, "himself", "herself") for noun in _MEN),
        *((noun, "herself", "himself") for noun in _WOMEN),
        *((noun, "themselves", "himself") for noun in plurals),
    )
    verbs = ("saw", "hurt", "helped", "asked")
    for (noun, good, bad), verb, end in itertools.product(kinds, verbs, ("again", "today")):
        yield _fill(f"The {noun} {verb} _ {end}.", good, bad)


def _participle_after_have() -> Pairs:
    subjects = ("She has", "He has", "They have", "We have", "The man has", "The girl has")
    for who, (past, participle, _, what) in itertools.product(subjects, _VERBS):
        yield _fill(f"{who} _ {what}.", participle, past)


def _bare_verb_after_modal() -> Pairs:
    modals = ("can", "will", "must", "should")
    for (noun, _), modal, verb in itertools.product(_PEOPLE, modals, _VERBS):
        past, _, bare, what = verb
        yield _fill(f"The {noun} {modal} _ {what}.", bare, past)


def _adjective_before_noun() -> Pairs:
    adjectives, ends = ("old", "young", "little", "poor", "happy"), ("went home", "came back")
    for (noun, _), adjective, end in itertools.product(_PEOPLE, adjectives, ends):
        yield _fill(f"The _ {end}.", f"{adjective} {noun}", f"{noun} {adjective}")


def _question_word() -> Pairs:
    """Verbs without an object leave nothing that what or who could ask for."""
    starts, verbs = ("I know", "They asked"), ("slept", "arrived", "fell", "died")
    kinds = (("where", "what"), ("when", "who"), ("why", "what"))
    for start, (good, bad), (noun, _), verb in itertools.product(starts, kinds, _PEOPLE, verbs):
        yield _fill(f"{start} _ the {noun} {verb}.", good, bad)


def _any_and_ever() -> Pairs:
    for (noun, _), (past, participle, _, what), bad in itertools.product(
        _PEOPLE, _VERBS[:6], ("This", "That")
    ):
        yield _fill(f"_ {noun} has ever {participle} {what}.", "No", bad)
        yield _fill(f"_ {noun} {past} any {what.removeprefix('the ')}.", "No", bad)


def _article() -> Pairs:
    nouns = {
        ("an", "a"): ("apple", "egg", "animal", "uncle", "island", "old man", "answer", "army"),
        ("a", "an"): ("book", "dog", "house", "tree", "boy", "city", "horse", "young man"),
    }
    starts = ("He saw", "She has", "There is", "They found", "I want", "We need")
    for forms, words in nouns.items():
        for start, noun in itertools.product(starts, words):
            yield _fill(f"{start} _ {noun}.", *forms)


def _negation() -> Pairs:
    subjects = ("She", "He", "They", "We", "The man", "The girl")
    for who, (past, _, bare, what) in itertools.product(subjects, _VERBS):
        yield _fill(f"{who} did not _ {what}.", bare, past)


PHENOMENA: dict[str, Callable[[], Pairs]] = {
    "agreement of subject and verb": _agreement_near,
    "agreement across a phrase": _agreement_across_phrase,
    "agreement across a clause": _agreement_across_clause,
    "determiner and noun": _determiner_and_noun,
    "reflexive pronoun": _reflexive,
    "participle after have": _participle_after_have,
    "bare verb after a modal": _bare_verb_after_modal,
    "adjective before noun": _adjective_before_noun,
    "question word": _question_word,
    "no with any and ever": _any_and_ever,
    "a and an": _article,
    "negation with did": _negation,
}


def make_pairs(pairs_a_phenomenon: int = PAIRS_A_PHENOMENON) -> list[MinimalPair]:
    """Returns so many pairs of each phenomenon, drawn from all that its rule makes."""
    pairs = []
    for number, (name, rule) in enumerate(PHENOMENA.items()):
        made = list(dict.fromkeys(rule()))
        chosen = np.random.default_rng(number).permutation(len(made))[:pairs_a_phenomenon]
        pairs += [MinimalPair(name, *made[index]) for index in chosen]
    return pairs
