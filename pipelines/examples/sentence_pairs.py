"""Documents -> pairs of consecutive segments (A, B) and their order -> `[CLS] A [SEP] B [SEP]`.

B batch, L sequence length.

A shard's text is one flat array of ids, and a document is the places in it where its sentences
begin, with the place where the last one ends. A pair is four places, so the pairs of a whole shard,
whatever the dupe_factor, take little memory and are shuffled before any sequence is laid out.
"""

from __future__ import annotations

import bisect
import dataclasses
import typing
from collections.abc import Callable, Iterator, Sequence

import numpy as np

if typing.TYPE_CHECKING:
    from albert_tf.pipelines.examples.masking import PieceTable

# Below this a lone sentence holds no order to learn, only a few words between special pieces.
_SHORTEST_SPLIT_TOKENS = 8


@dataclasses.dataclass(frozen=True)
class PairRules:
    """How documents become pairs.

    Attributes:
        max_seq_length: L; A and B share L - 3 tokens, the rest is [CLS] and twice [SEP].
        short_seq_prob: probability of aiming at a random shorter length, so that short inputs are
            nothing new when the model is fine-tuned.
        original_compatible: the original's choices. The short length is drawn once a document and
            not once a pair (a whole book of tiny pairs, now and then), a chunk of one sentence is
            paired with a random place of another document and labelled as swapped, and what does
            not fit of a very long sentence is lost.
    """

    max_seq_length: int
    short_seq_prob: float = 0.1
    original_compatible: bool = False

    @property
    def max_tokens(self) -> int:
        """Tokens that A and B may have together."""
        return self.max_seq_length - 3


@dataclasses.dataclass
class PairCounts:
    """What became of the chunks that hold a single sentence, and of very long sentences."""

    split_sentences: int = 0
    skipped_sentences: int = 0
    random_document_pairs: int = 0
    cut_sentences: int = 0

    def add(self, other: PairCounts) -> None:
        """Adds the counts of other documents."""
        for field in dataclasses.fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))


def make_pairs(
    documents: Sequence[np.ndarray],
    word_begins: np.ndarray,
    rules: PairRules,
    rng: np.random.Generator,
) -> tuple[np.ndarray, PairCounts]:
    """Cuts documents into pairs of segments, in order of the documents.

    Sentences are gathered until they reach the length aimed at or the document ends, and the chunk
    is split between two sentences at random. A chunk of one sentence is split inside it, at the
    beginning of a word in its middle half (or skipped where it is shorter than 8 tokens).

    Args:
        documents: per document, int [sentences + 1]: where each sentence begins in the flat ids,
            and where the last one ends. No sentence is empty.
        word_begins: bool [T]: whether the token at each place of the flat ids begins a word.
        rules: lengths and probabilities.
        rng: source of all randomness.

    Returns:
        int64 [pairs, 5]: begin and end of A, begin and end of B, label. The label is 1 where A
        follows B in the document (swapped) and 0 where A comes first. E.g. for one document
        [0, 5, 9] the pair is [0, 5, 5, 9, 0] or [5, 9, 0, 5, 1].
    """
    pairs, counts = [], PairCounts()
    for index, boundaries in enumerate(documents):
        if rules.original_compatible:
            pairs.extend(_pair_as_original(documents, index, rules, rng, counts))
        else:
            pairs.extend(_pair_document(boundaries, word_begins, rules, rng, counts))
    table = np.array(pairs, np.int64).reshape(-1, 5)
    return trim_pairs(table, rules.max_tokens, rng), counts


def _pair_document(
    boundaries: np.ndarray,
    word_begins: np.ndarray,
    rules: PairRules,
    rng: np.random.Generator,
    counts: PairCounts,
) -> Iterator[tuple[int, ...]]:
    places = _cut_long_sentences(boundaries, word_begins, rules, counts)
    random = rng.random
    last = len(places) - 1
    first = 0
    while first < last:
        target = _draw_target(rules, random)
        after = _end_chunk(places, first, target)
        begin, end = places[first], places[after]
        if after - first >= 2:
            middle = places[first + 1 + int(random() * (after - first - 1))]
        else:
            offset = split_sentence(word_begins[begin:end], random)
            if offset is None:
                counts.skipped_sentences += 1
                first = after
                continue
            middle = begin + offset
            counts.split_sentences += 1
        if random() < 0.5:
            yield middle, end, begin, middle, 1
        else:
            yield begin, middle, middle, end, 0
        first = after


def _draw_target(rules: PairRules, random: Callable[[], float]) -> int:
    """Returns the length that the next chunk aims at, 2 to L - 3 tokens."""
    if rules.short_seq_prob and random() < rules.short_seq_prob:
        return 2 + int(random() * (rules.max_tokens - 1))
    return rules.max_tokens


def _end_chunk(boundaries: list[int], first: int, target: int) -> int:
    """Returns the sentence after the chunk from `first`: whole sentences, at least `target`."""
    goal = boundaries[first] + target
    return min(bisect.bisect_left(boundaries, goal, first + 1), len(boundaries) - 1)


def split_sentence(word_begins: np.ndarray, random: Callable[[], float]) -> int | None:
    """Returns a place inside a sentence where a word begins, or None where it is too short.

    Args:
        word_begins: bool [n], of the tokens of the sentence.
        random: draws from [0, 1).
    """
    length = len(word_begins)
    if length < _SHORTEST_SPLIT_TOKENS:
        return None
    low, high = length // 4, length - length // 4
    choices = np.flatnonzero(word_begins[low:high])
    if len(choices):
        return low + int(choices[int(random() * len(choices))])
    return length // 2


def _cut_long_sentences(
    boundaries: np.ndarray, word_begins: np.ndarray, rules: PairRules, counts: PairCounts
) -> list[int]:
    """Returns boundaries as a list, with cuts in sentences that exceed a whole sequence."""
    lengths = np.diff(boundaries)
    places = boundaries.tolist()
    for index in reversed(np.flatnonzero(lengths > rules.max_tokens).tolist()):
        counts.cut_sentences += 1
        begin, end = places[index : index + 2]
        cuts = cut_sentence(word_begins[begin:end], rules.max_tokens)
        places[index + 1 : index + 1] = [begin + cut for cut in cuts]
    return places


def cut_sentence(word_begins: np.ndarray, max_tokens: int) -> list[int]:
    """Returns where to cut a sentence that exceeds a whole sequence.

    Such a "sentence" is a table or text without punctuation. Its parts are half a sequence long, so
    that two of them make a pair and nothing is lost.

    Args:
        word_begins: bool [n], of the tokens of the sentence.
        max_tokens: of A and B together.
    """
    part = max(max_tokens // 2, 1)
    cuts, place = [], part
    while place < len(word_begins) - 1:
        # Back to the beginning of the word, if there is one in the second half of the part.
        nearby = np.flatnonzero(word_begins[place - part // 2 : place + 1])
        if len(nearby):
            place = place - part // 2 + int(nearby[-1])
        cuts.append(place)
        place += part
    return cuts


def _pair_as_original(
    documents: Sequence[np.ndarray],
    document_index: int,
    rules: PairRules,
    rng: np.random.Generator,
    counts: PairCounts,
) -> Iterator[tuple[int, ...]]:
    boundaries = documents[document_index].tolist()
    random = rng.random
    target = _draw_target(rules, random)
    last = len(boundaries) - 1
    first = 0
    while first < last:
        after = _end_chunk(boundaries, first, target)
        begin, end = boundaries[first], boundaries[after]
        if after - first == 1:
            counts.random_document_pairs += 1
            missing = target - (end - begin)
            yield begin, end, *_draw_random_segment(documents, document_index, missing, random), 1
        else:
            middle = boundaries[first + 1 + int(random() * (after - first - 1))]
            if random() < 0.5:
                yield middle, end, begin, middle, 1
            else:
                yield begin, middle, middle, end, 0
        first = after


def _draw_random_segment(
    documents: Sequence[np.ndarray],
    document_index: int,
    min_tokens: int,
    random: Callable[[], float],
) -> tuple[int, int]:
    """Returns (begin, end) of sentences from a random place of another document."""
    for _ in range(10):  # with one document there is no other to find
        other = int(random() * len(documents))
        if other != document_index:
            break
    boundaries = documents[other]
    first = int(random() * (len(boundaries) - 1))
    after = np.searchsorted(boundaries, boundaries[first] + max(min_tokens, 1))
    return int(boundaries[first]), int(boundaries[min(after, len(boundaries) - 1)])


def trim_pairs(pairs: np.ndarray, max_tokens: int, rng: np.random.Generator) -> np.ndarray:
    """Trims pairs [n, 5] to `max_tokens`, a token at a time off the longer segment (or off B).

    Each token goes from the front or the back with probability one half, so of `r` tokens a
    binomial number goes from the front.
    """
    length_a = pairs[:, 1] - pairs[:, 0]
    length_b = pairs[:, 3] - pairs[:, 2]
    # The shorter segment stays whole while the longer one can give way; past that both meet at
    # half, and an odd token stays with A because ties trim B.
    new_length_a = np.minimum(
        length_a, np.maximum(max_tokens - length_b, max_tokens - max_tokens // 2)
    )
    new_length_b = np.minimum(length_b, np.maximum(max_tokens - length_a, max_tokens // 2))
    trimmed = pairs.copy()
    for column, length, new_length in ((0, length_a, new_length_a), (2, length_b, new_length_b)):
        from_front = rng.binomial(length - new_length, 0.5)
        trimmed[:, column] += from_front
        trimmed[:, column + 1] = trimmed[:, column] + new_length
    return trimmed


def lay_out_pairs(
    token_ids: np.ndarray, pairs: np.ndarray, max_seq_length: int, pieces: PieceTable
) -> dict[str, np.ndarray]:
    """Lays pairs out as `[CLS] A [SEP] B [SEP]` and padding.

    Args:
        token_ids: int [T], the flat ids that the pairs point into.
        pairs: int64 [B, 5] of `make_pairs`.
        max_seq_length: L.
        pieces: the ids of the special pieces.

    Returns:
        `input_ids`, `input_mask`, `segment_ids` int32 [B, L] and `sentence_order_label` int32 [B].
        Segment ids are 0 for [CLS] A [SEP], 1 for B [SEP] and 0 for padding.
    """
    kind = np.int32 if len(token_ids) < 2**31 - max_seq_length else np.int64  # which is slower
    begin_a, end_a, begin_b, end_b, label = pairs[:, :, None].astype(kind).swapaxes(0, 1)
    length_a, length_b = end_a - begin_a, end_b - begin_b  # [B, 1]
    place = np.arange(max_seq_length, dtype=kind)[None, :]  # [1, L]
    first_sep = 1 + length_a
    last_sep = first_sep + 1 + length_b
    in_b = place > first_sep  # [B, L]
    source = place + np.where(in_b, begin_b - first_sep - 1, begin_a - 1)  # [B, L]
    input_ids = token_ids.take(source, mode="clip").astype(np.int32, copy=False)  # [B, L]
    rows = np.arange(len(pairs))
    input_ids[:, 0] = pieces.cls_id
    input_ids[rows, first_sep[:, 0]] = pieces.sep_id
    input_ids[rows, last_sep[:, 0]] = pieces.sep_id
    input_mask = place <= last_sep  # [B, L]
    np.copyto(input_ids, pieces.pad_id, where=~input_mask)
    return {
        "input_ids": input_ids,
        "input_mask": input_mask.astype(np.int32),
        "segment_ids": (in_b & input_mask).astype(np.int32),
        "sentence_order_label": label[:, 0].astype(np.int32),
    }


def count_tokens(pairs: np.ndarray) -> np.ndarray:
    """Returns int64 [B]: the tokens of each pair [B, 5] laid out, special pieces included."""
    return pairs[:, 1] - pairs[:, 0] + pairs[:, 3] - pairs[:, 2] + 3
