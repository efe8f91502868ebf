"""Pairs of texts and how much they share, made of text alone.

    "The painter was born in Skagen."   "The Skagen painter was"                      much
    "The painter was born in Skagen."   "Nothing else happened on that grey day."     little

A model that was pretrained on words learns from them to compare two texts before it sees a pair
that people judged, as BLEURT does (arXiv 2004.04696). Half of the pairs are a sentence and a copy
of it without some words, with others in their place, in another order; the others are sentences
that stand near one another, and a copy beside the passage that its sentence is from. The score is
the share of the information of both texts that stands in both, where a piece of the vocabulary has
the more of it the rarer it is: `2 I(a and b) / (I(a) + I(b))`, `I` the sum of `-ln p` of the
different pieces of a text.
"""

import collections
import dataclasses
import math
import random
from collections.abc import Iterable, Iterator, Sequence

from albert_tf.pipelines.text import languages

_FEWEST_WORDS, _MOST_WORDS = 5, 40
# Of copies: the largest share of words that are dropped, and of the others that are replaced; each
# copy draws one of both, so that many are near to their sentence and many far.
_DROPPED, _REPLACED = (0.0, 0.3, 0.8), (0.0, 0.4, 0.9)
_CUT_AND_SWAPPED, _WITH_INSERTION, _MOST_INSERTED = 0.3, 0.2, 6
# Of pairs: shares of sentences with their copies, of two sentences, and of passages with copies.
_KINDS = {"copy": 0.5, "neighbor": 0.35, "passage": 0.15}
_MOST_APART = 5  # sentences of a document that are a pair


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """A sentence of a document, those around it, and another one of the document."""

    sentence: str
    before: str
    after: str
    other: str


def find_places(sentences: Sequence[str], rng: random.Random) -> Iterator[Place]:
    """Yields a place for each sentence of a document that is neither short nor long."""
    is_usable = [_is_usable(sentence) for sentence in sentences]
    for index, sentence in enumerate(sentences):
        near = range(max(0, index - _MOST_APART), min(index + _MOST_APART + 1, len(sentences)))
        others = [other for other in near if other != index and is_usable[other]]
        if is_usable[index] and others:
            yield Place(
                sentence=sentence,
                before=sentences[index - 1] if index else "",
                after=sentences[index + 1] if index + 1 < len(sentences) else "",
                other=sentences[rng.choice(others)],
            )


def make_pair(place: Place, rng: random.Random) -> tuple[str, str]:
    """Returns two texts that share much or little."""
    (kind,) = rng.choices(tuple(_KINDS), tuple(_KINDS.values()))
    if kind == "passage":
        passage = (place.before, place.sentence, place.after)
        return " ".join(filter(None, passage)), _change(place, rng)
    pair = (place.sentence, place.other if kind == "neighbor" else _change(place, rng))
    return pair if rng.random() < 0.5 else pair[::-1]


def information_of_pieces(texts: Iterable[Sequence[int]], vocab_size: int) -> list[float]:
    """Returns -ln of the share that each piece has in texts of ids, as if it stood once more."""
    counts = collections.Counter()
    for ids in texts:
        counts.update(ids)
    total = counts.total() + vocab_size
    return [math.log(total / (counts[piece] + 1)) for piece in range(vocab_size)]


def score_pair(ids: Sequence[int], ids_b: Sequence[int], information: Sequence[float]) -> float:
    """Returns the share of the information of two texts that stands in both, 0 to 1.

    Texts without pieces, as those of control characters alone, share nothing.
    """
    pieces, pieces_b = set(ids), set(ids_b)
    both = 2 * sum(information[piece] for piece in pieces & pieces_b)
    total = sum(information[piece] for part in (pieces, pieces_b) for piece in part)
    return both / total if total else 0.0


def _is_usable(sentence: str) -> bool:
    return _FEWEST_WORDS <= len(_split(sentence)[0]) <= _MOST_WORDS


def _split(sentence: str) -> tuple[list[str], str]:
    """Returns the words of a sentence and what stands between them.

    Where a script has no blanks each letter counts as a word.
    """
    words = sentence.split()
    if languages.is_spaceless_text(sentence):
        return [letter for word in words for letter in word], ""
    return words, " "


def _change(place: Place, rng: random.Random) -> str:
    """Returns a copy of a sentence that has lost, gained and moved some of its words."""
    words, between = _split(place.sentence)
    others, _ = _split(place.other)
    dropped, replaced = (rng.random() * rng.choice(most) for most in (_DROPPED, _REPLACED))
    copy = [
        rng.choice(others) if rng.random() < replaced else word
        for word in words
        if rng.random() >= dropped
    ]
    if rng.random() < _CUT_AND_SWAPPED:
        cut = rng.randrange(len(words))
        copy = copy[cut:] + copy[:cut]
    if rng.random() < _WITH_INSERTION or not copy:
        start, at = rng.randrange(len(others)), rng.randint(0, len(copy))
        copy[at:at] = others[start : start + rng.randint(1, _MOST_INSERTED)]
    return between.join(copy)
