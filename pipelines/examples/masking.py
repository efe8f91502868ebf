"""Choose the tokens a model must guess: n-grams of words, 80% [MASK], 10% kept, 10% random.

B batch, L sequence length, P prediction slots, V vocabulary, W words of the longest row.

The rule is sequential in the original: visit the words of a sequence in random order, draw an
n-gram length at each, take the n-gram if it fits the budget and touches nothing taken before. Here
all rows of a batch take their next visit together, which is the same rule at NumPy's speed.
"""

from __future__ import annotations

import dataclasses
import functools
import typing

import numpy as np

if typing.TYPE_CHECKING:
    from albert_tf.pipelines.tokenizer.tokenization import Tokenizer


@dataclasses.dataclass(frozen=True)
class PieceTable:
    """What masking needs to know of a vocabulary.

    Attributes:
        word_start: bool [V]: whether a piece may start a word.
        pad_id, unk_id, cls_id, sep_id, mask_id: the special pieces, never a random replacement.
    """

    word_start: np.ndarray
    pad_id: int
    unk_id: int
    cls_id: int
    sep_id: int
    mask_id: int

    @classmethod
    def from_tokenizer(cls, tokenizer: Tokenizer) -> PieceTable:
        """Copies the table from a `Tokenizer`."""
        names = [field.name for field in dataclasses.fields(cls)]
        return cls(**{name: getattr(tokenizer, name) for name in names})

    @property
    def vocab_size(self) -> int:
        """V."""
        return len(self.word_start)

    @functools.cached_property
    def ordinary_ids(self) -> np.ndarray:
        """The ids that are not special, ascending."""
        special = [self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id]
        return np.setdiff1d(np.arange(self.vocab_size), special)


@dataclasses.dataclass(frozen=True)
class MaskingRules:
    """Which tokens are masked.

    Attributes:
        max_predictions_per_seq: P, the most tokens of one sequence.
        masked_lm_prob: share of a sequence's tokens, its special pieces counted; float [B] where
            each sequence of a batch has its own.
        ngram: longest run of words masked together; length n has probability proportional to 1/n.
        favor_shorter_ngram: False reverses these probabilities.
        whole_word_mask: False takes every token for a word.
        original_compatible: the original's choices: words and n-grams run across [SEP], an n-gram
            that meets a masked word is dropped with its length (so short ones are a little more
            frequent than 1/n), `<unk>` may be a target, and a random replacement is any id of the
            vocabulary, the special ones and the replaced one included.
    """

    max_predictions_per_seq: int
    masked_lm_prob: float | np.ndarray = 0.15
    ngram: int = 3
    favor_shorter_ngram: bool = True
    whole_word_mask: bool = True
    original_compatible: bool = False

    def ngram_probabilities(self) -> np.ndarray:
        """Returns float64 [ngram]: the probability of each length, shortest first."""
        weights = 1.0 / np.arange(1, self.ngram + 1)
        if not self.favor_shorter_ngram:
            weights = weights[::-1]
        return weights / weights.sum()


def mask_batch(
    batch: dict[str, np.ndarray],
    rules: MaskingRules,
    pieces: PieceTable,
    rng: np.random.Generator | NumberedDraws,
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Masks a batch of packed sequences.

    Args:
        batch: `input_ids`, `input_mask`, `segment_ids` int32 [B, L], and whatever else is to be
            kept.
        rules: what to mask.
        pieces: the vocabulary's table.
        rng: source of all randomness: one that the batch shares, or draws of each example's own.

    Returns:
        A new dict: `input_ids` with the masks, `token_boundary` int32 [B, L], `masked_lm_positions`
        (ascending) and `masked_lm_ids` int32 [B, P], `masked_lm_weights` float32 [B, P], unused
        slots 0, and the other entries as they were; and int64 [ngram + 1]: how many n-grams of each
        number of words were masked.
    """
    input_ids = batch["input_ids"]
    draws = _SharedDraws(rng) if isinstance(rng, np.random.Generator) else rng
    words = _find_words(batch, rules, pieces)
    is_masked_word, ngram_counts = _choose_words(words, rules, draws)
    is_masked = np.take_along_axis(is_masked_word, words.index, axis=1) & words.candidate  # [B, L]
    rows, positions = np.nonzero(is_masked)  # [M], [M] for M masked tokens, row by row
    labels = input_ids[rows, positions]
    masked_ids = input_ids.copy()
    masked_ids[rows, positions] = _replace_tokens(labels, rows, positions, rules, pieces, draws)

    slot_shape = (len(input_ids), rules.max_predictions_per_seq)
    per_row = np.count_nonzero(is_masked, axis=1)  # [B]
    slots = np.arange(len(rows)) - np.repeat(np.cumsum(per_row) - per_row, per_row)
    masked = dict(batch, input_ids=masked_ids, token_boundary=words.boundary.astype(np.int32))
    for name, values, dtype in (
        ("masked_lm_positions", positions, np.int32),
        ("masked_lm_ids", labels, np.int32),
        ("masked_lm_weights", 1.0, np.float32),
    ):
        masked[name] = np.zeros(slot_shape, dtype)  # [B, P]
        masked[name][rows, slots] = values
    return masked, ngram_counts


class _SharedDraws:
    """Draws from one generator, in the order in which a batch needs them."""

    def __init__(self, rng: np.random.Generator):
        self._rng = rng

    def integers(self, bits: int, rows: int, width: int) -> np.ndarray:
        """Returns uint64 [rows, width] below 2 ** bits."""
        return self._rng.integers(0, 2**bits, (rows, width), dtype=np.uint64)

    def of_visit(self, visit: int, rows: np.ndarray) -> np.ndarray:
        """Returns float64 [rows] in [0, 1) for the words that some rows visit."""
        del visit
        return self._rng.random(len(rows))

    def of_tokens(self, rows: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """Returns float64 [M] in [0, 1), for each of M tokens."""
        del positions
        return self._rng.random(len(rows))

    def below(self, high: int | np.ndarray, rows: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """Returns int64 [M] in [0, high), for each of M tokens."""
        del positions
        return self._rng.integers(0, high, len(rows))


class NumberedDraws:
    """Draws that belong to an example, whatever batch it stands in.

    Args:
        raw: uint64 [B, 4, L], random bits of each example: for the order of its words, the lengths
            at its visits, the fate of its tokens, and what replaces them.
    """

    def __init__(self, raw: np.ndarray):
        self._raw = raw

    def integers(self, bits: int, rows: int, width: int) -> np.ndarray:
        """See `_SharedDraws`."""
        return self._raw[:rows, 0, :width] >> np.uint64(64 - bits)

    def of_visit(self, visit: int, rows: np.ndarray) -> np.ndarray:
        """See `_SharedDraws`."""
        return _as_fraction(self._raw[rows, 1, visit])

    def of_tokens(self, rows: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """See `_SharedDraws`."""
        return _as_fraction(self._raw[rows, 2, positions])

    def below(self, high: int | np.ndarray, rows: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """See `_SharedDraws`."""
        return (_as_fraction(self._raw[rows, 3, positions]) * high).astype(np.int64)


def _as_fraction(bits: np.ndarray) -> np.ndarray:
    """Returns uint64 as float64 in [0, 1), of their upper 53 bits."""
    return (bits >> np.uint64(11)) * 2.0**-53


@dataclasses.dataclass(frozen=True)
class _Words:
    """The words of a batch.

    Attributes:
        candidate: bool [B, L]: tokens that may be masked.
        boundary: bool [B, L]: tokens whose piece starts a word, and special ones.
        index: intp [B, L]: the word that a candidate belongs to.
        counts: [B] words of a row.
        counts_a: [B] those in segment A.
        ends: [B, W + 1]: ends[:, w] tokens lie in the words before word w.
        refused: bool [B, W + ngram]: words that must not be masked.
        num_to_predict: [B] most tokens to mask.
    """

    candidate: np.ndarray
    boundary: np.ndarray
    index: np.ndarray
    counts: np.ndarray
    counts_a: np.ndarray
    ends: np.ndarray
    refused: np.ndarray
    num_to_predict: np.ndarray


def _find_words(batch: dict[str, np.ndarray], rules: MaskingRules, pieces: PieceTable) -> _Words:
    input_ids, in_use = batch["input_ids"], batch["input_mask"].astype(bool)
    special = (input_ids == pieces.cls_id) | (input_ids == pieces.sep_id)
    candidate = in_use & ~special  # [B, L]
    boundary = in_use & (pieces.word_start[input_ids] | special)
    begins = candidate
    if rules.whole_word_mask:
        begins = candidate & boundary
        # The first token has no word before it to join. A continuation piece right after [SEP]
        # joins the last word of A in the original; across a border there is no word to complete.
        begins[:, 1] = candidate[:, 1]
        if not rules.original_compatible:
            begins[:, 1:] |= candidate[:, 1:] & special[:, :-1]
    running = np.cumsum(begins, axis=1, dtype=np.int32)  # [B, L]
    index = np.maximum(running - 1, 0)
    counts = running[:, -1]
    in_a = batch["segment_ids"] == 0
    counts_a = np.max(running, axis=1, where=in_a & in_use, initial=0)
    width = int(counts.max(initial=0))

    row_offsets = np.arange(len(input_ids))[:, None] * (width + 1)
    word_lengths = np.bincount(
        (index + 1 + row_offsets)[candidate], minlength=len(input_ids) * (width + 1)
    ).reshape(len(input_ids), width + 1)  # [B, W + 1], column 0 empty
    refused = np.zeros((len(input_ids), width + rules.ngram), bool)
    if not rules.original_compatible:
        # There is nothing to learn in guessing that a word was unknown.
        rows, unknown = np.nonzero(input_ids == pieces.unk_id)
        refused[rows, index[rows, unknown]] = True
    # np.rint rounds halves to even, as the original's round() does.
    target_tokens = np.rint(in_use.sum(axis=1) * rules.masked_lm_prob).astype(np.int64)
    return _Words(
        candidate=candidate,
        boundary=boundary,
        index=index,
        counts=counts,
        counts_a=counts_a,
        ends=np.cumsum(word_lengths, axis=1, dtype=np.int32),
        refused=refused,
        num_to_predict=np.clip(target_tokens, 1, rules.max_predictions_per_seq),
    )


def _choose_words(
    words: _Words, rules: MaskingRules, draws: _SharedDraws | NumberedDraws
) -> tuple[np.ndarray, np.ndarray]:
    """Returns (bool [B, W + ngram] words to mask, int64 [ngram + 1] n-grams of each length)."""
    is_taken = words.refused.copy()
    order = _shuffle_words(words, draws)  # [W, B]
    length_pending = np.zeros(len(words.counts), np.intp)
    ngram_counts = np.zeros(rules.ngram + 1, np.int64)
    room = words.num_to_predict.copy()
    rows = np.flatnonzero(words.counts > 0)
    for visit in range(len(order)):
        rows = rows[(room[rows] > 0) & (words.counts[rows] > visit)]
        if not len(rows):
            break
        start = order[visit, rows]
        size = _draw_lengths(length_pending[rows], rules, draws.of_visit(visit, rows))
        # Kept until it is placed: drawing anew after each collision would favour short n-grams.
        length_pending[rows] = size
        size = np.minimum(size, _count_words_ahead(start, rows, words, rules))
        before = words.ends[rows, start]
        # An n-gram over the budget is tried with fewer words, and given up at one.
        for _ in range(rules.ngram - 1):
            tokens = words.ends[rows, start + size] - before
            size -= (tokens > room[rows]) & (size > 1)
        tokens = words.ends[rows, start + size] - before
        fits = tokens <= room[rows]
        for offset in range(rules.ngram):
            fits &= ~(is_taken[rows, start + offset] & (offset < size))
        ngram_rows, ngram_starts, ngram_sizes = rows[fits], start[fits], size[fits]
        for offset in range(rules.ngram):
            reach = offset < ngram_sizes
            is_taken[ngram_rows[reach], ngram_starts[reach] + offset] = True
        room[ngram_rows] -= tokens[fits]
        length_pending[ngram_rows] = 0
        ngram_counts += np.bincount(ngram_sizes, minlength=rules.ngram + 1)
    return is_taken & ~words.refused, ngram_counts


def _shuffle_words(words: _Words, draws: _SharedDraws | NumberedDraws) -> np.ndarray:
    """Returns int [W, B]: each row's words in random order, rows with fewer words padded."""
    width = words.ends.shape[1] - 1
    index_bits = max(width.bit_length(), 1)
    # Random high bits above the word's index: sorting whole integers is several times as fast as
    # argsort, and words beyond a row's last sort behind all others.
    keys = draws.integers(63 - index_bits, len(words.counts), width)
    keys = (keys << np.uint64(index_bits)) | np.arange(width, dtype=np.uint64)
    keys[np.arange(width) >= words.counts[:, None]] = np.iinfo(np.uint64).max
    keys.sort(axis=1)
    order = keys & np.uint64(2**index_bits - 1)
    return np.ascontiguousarray(order.T).astype(np.intp)  # [W, B]


def _draw_lengths(pending: np.ndarray, rules: MaskingRules, uniform: np.ndarray) -> np.ndarray:
    """Returns int [rows]: words to mask at this visit; `pending` lengths are kept where above 0."""
    thresholds = np.cumsum(rules.ngram_probabilities())[:-1]
    lengths = 1 + np.searchsorted(thresholds, uniform, side="right")
    if rules.original_compatible:
        return lengths
    return np.where(pending > 0, pending, lengths)


def _count_words_ahead(
    start: np.ndarray, rows: np.ndarray, words: _Words, rules: MaskingRules
) -> np.ndarray:
    """Returns int [rows]: words from `start` to the end of what an n-gram may cover."""
    if rules.original_compatible:
        return words.counts[rows] - start
    counts_a = words.counts_a[rows]
    return np.where(start < counts_a, counts_a, words.counts[rows]) - start


def _replace_tokens(
    labels: np.ndarray,
    rows: np.ndarray,
    positions: np.ndarray,
    rules: MaskingRules,
    pieces: PieceTable,
    draws: _SharedDraws | NumberedDraws,
) -> np.ndarray:
    """Returns what stands in for the masked tokens [M]; decided for each token by itself."""
    fate = draws.of_tokens(rows, positions)
    if rules.original_compatible:
        random_ids = draws.below(pieces.vocab_size, rows, positions)
    else:
        # Draw among all ordinary ids but one, and step over the label.
        ordinary = pieces.ordinary_ids
        rank = np.searchsorted(ordinary, labels)
        is_ordinary = ordinary[np.minimum(rank, len(ordinary) - 1)] == labels
        choice = draws.below(len(ordinary) - is_ordinary, rows, positions)
        random_ids = ordinary[choice + (is_ordinary & (choice >= rank))]
    kept_or_random = np.where(fate < 0.9, labels, random_ids)
    return np.where(fate < 0.8, pieces.mask_id, kept_or_random)
