"""The pairs of one pass over stored tokens, by the rule of `sentence_pairs`, all documents at once.

A pass cuts every document into chunks and every chunk into a pair, with choices of its own. The
documents take their next chunk together, so a pass over a whole corpus costs NumPy some seconds a
billion tokens, where one document after the other would cost half an hour.

T tokens of the corpus, S sentences, D documents, C chunks.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from albert_tf.pipelines.examples import sentence_pairs
from albert_tf.pipelines.examples.sentence_pairs import PairCounts, PairRules


@dataclasses.dataclass(frozen=True)
class Sentences:
    """Where the sentences and documents of a corpus lie.

    Attributes:
        ends: int64 [S + 1], ascending: 0, and where each sentence ends in the ids of the corpus.
        documents: int64 [D + 1]: the sentence that each document begins with, and S.
        cut: how many sentences were longer than a sequence and are several here.
    """

    ends: np.ndarray
    documents: np.ndarray
    cut: int = 0


# Of two places in the corpus: bool array, whether the tokens between them begin words.
WordBegins = Callable[[int, int], np.ndarray]


def cut_long_sentences(
    sentences: Sentences, word_begins: WordBegins, rules: PairRules
) -> Sentences:
    """Returns sentences of which none is longer than A and B together."""
    lengths = np.diff(sentences.ends)
    long = np.flatnonzero(lengths > rules.max_tokens)
    if not len(long):
        return sentences
    cuts, counts = [], np.zeros(len(lengths), np.int64)
    for index in long.tolist():
        begin, end = sentences.ends[index : index + 2].tolist()
        places = sentence_pairs.cut_sentence(word_begins(begin, end), rules.max_tokens)
        cuts.append(begin + np.array(places, np.int64))
        counts[index] = len(places)
    ends = np.sort(np.concatenate([sentences.ends, *cuts]), kind="stable")
    shifts = np.concatenate([[0], np.cumsum(counts)])  # [S + 1]
    return Sentences(ends, sentences.documents + shifts[sentences.documents], len(long))


def make_pairs(
    sentences: Sentences, word_begins: WordBegins, rules: PairRules, rng: np.random.Generator
) -> tuple[np.ndarray, PairCounts]:
    """Cuts all documents into pairs, in no order to rely on.

    Args:
        sentences: of `cut_long_sentences`.
        word_begins: of the corpus.
        rules: lengths and probabilities.
        rng: source of all randomness.

    Returns:
        int64 [C, 5] as of `sentence_pairs.make_pairs`, and what was counted.
    """
    first, after = _make_chunks(sentences, rules, rng)
    counts = PairCounts(cut_sentences=sentences.cut)
    begin, end = sentences.ends[first], sentences.ends[after]  # [C]
    inner = first + 1 + (rng.random(len(first)) * (after - first - 1)).astype(np.int64)
    middle = sentences.ends[inner]  # of a chunk of one sentence its end
    is_kept = np.ones(len(first), bool)
    for index in np.flatnonzero(after - first == 1).tolist():
        bounds = int(begin[index]), int(end[index])
        place = sentence_pairs.split_sentence(word_begins(*bounds), rng.random)
        is_kept[index] = place is not None
        middle[index] = bounds[0] + (place or 0)
    counts.skipped_sentences = int(np.count_nonzero(~is_kept))
    counts.split_sentences = int(np.count_nonzero((after - first == 1) & is_kept))
    begin, middle, end = begin[is_kept], middle[is_kept], end[is_kept]
    is_swapped = rng.random(len(begin)) < 0.5
    first_segment = np.stack([begin, middle], axis=1)
    second_segment = np.stack([middle, end], axis=1)
    swapped = is_swapped[:, None]
    pairs = np.concatenate(
        [
            np.where(swapped, second_segment, first_segment),
            np.where(swapped, first_segment, second_segment),
            swapped,
        ],
        axis=1,
    )
    return sentence_pairs.trim_pairs(pairs, rules.max_tokens, rng), counts


def let_overlap(pairs: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Moves the later segments of some pairs back into the earlier ones, as long as they are.

    What is hidden in one copy of the text that stands twice then is mostly seen in the other.

    Args:
        pairs: int64 [C, 5] as of `sentence_pairs.make_pairs`.
        share: of the pairs, to be moved.
        rng: source of all randomness.

    Returns:
        int64 [C, 5]. E.g. [0, 5, 5, 9, 0] becomes [0, 5, 2, 6, 0], or begins elsewhere in 1 to 4.
    """
    is_moved = rng.random(len(pairs)) < share
    part = rng.random(len(pairs))
    moved = pairs.copy()
    # Labels say which columns hold the later segment: 2 and 3, or of swapped ones 0 and 1.
    for label, earlier, later in ((0, 0, 2), (1, 2, 0)):
        rows = is_moved & (pairs[:, 4] == label)
        begin, end = pairs[rows, earlier], pairs[rows, earlier + 1]
        # Behind the first token: two segments that begin together would have no order.
        begin = np.minimum(begin + 1 + (part[rows] * (end - begin - 1)).astype(np.int64), end)
        moved[rows, later + 1] += begin - pairs[rows, later]
        moved[rows, later] = begin
    return moved


def _make_chunks(
    sentences: Sentences, rules: PairRules, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the first sentence of each chunk and the one after its last, int64 [C] each."""
    first, last = sentences.documents[:-1], sentences.documents[1:]  # [D]
    firsts, afters = [], []
    while True:
        is_open = first < last
        first, last = first[is_open], last[is_open]
        if not len(first):
            break
        target = np.full(len(first), rules.max_tokens)
        if rules.short_seq_prob:
            is_short = rng.random(len(first)) < rules.short_seq_prob
            short = 2 + (rng.random(len(first)) * (rules.max_tokens - 1)).astype(np.int64)
            target = np.where(is_short, short, target)
        goals = sentences.ends[first] + target
        after = np.minimum(np.searchsorted(sentences.ends, goals), last)
        firsts.append(first)
        afters.append(after)
        first = after
    empty = np.empty(0, np.int64)
    return np.concatenate([empty, *firsts]), np.concatenate([empty, *afters])
