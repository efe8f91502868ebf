"""Several short examples in one row: the n-th row is a function of (tokens, rules, seed, n).

Which examples share a row is planned for a whole pass at once, from their lengths alone: longest
first, each into the row that it fills best (best-fit decreasing). Examples of one length are alike
to the plan, so it works on how many there are of each (https://arxiv.org/abs/2107.02027), in a time
that does not grow with the corpus; then the examples, which have an order by chance already, are
dealt out to its rows, and the rows put in an order by chance.

As with examples, the rows of the first pass are a pass: one with more leaves some out, drawn by
chance, one with less has some twice.

NumPy only. B rows, L sequence length, P prediction slots, K places for examples in a row, N
examples of a pass, R rows of a pass, M examples in B rows.
"""

from __future__ import annotations

import bisect
import dataclasses

import numpy as np

from albert_tf.pipelines.examples import sentence_pairs
from albert_tf.pipelines.examples.fresh_examples import FreshExamples, Passes

_ROWS_STREAM = 3
# Tokens of a row for each of its places for examples, of which it has at least two.
_TOKENS_A_PLACE = 16
# So much larger shares of masked tokens are planned for than asked for: shares that change while
# training are exact but for their last bits, and a half of a token is rounded up or down.
_ROUNDING = 1e-6


def count_places(max_seq_length: int) -> int:
    """Returns K, the most examples of a row."""
    return max(2, max_seq_length // _TOKENS_A_PLACE)


@dataclasses.dataclass(frozen=True)
class _Plan:
    """The rows of a pass.

    Attributes:
        pairs: int64 [N, 5], of the pass.
        members: int [N]: examples, those of a row side by side.
        bounds: int64 [rows + 1]: where the members of each row begin, and N.
        order: int [R]: the rows of the pass.
    """

    pairs: np.ndarray
    members: np.ndarray
    bounds: np.ndarray
    order: np.ndarray


class PackedExamples:
    """The rows of a run: the examples of `FreshExamples`, as they are there, packed.

    Attributes:
        num_examples: rows of a pass, R.
        max_seq_length: tokens a row, L.
        max_predictions_per_seq: masks a row at most, P.
        places: examples a row at most, K.
        padding_share: of the tokens of a pass.
        examples_a_row: the mean.

    Args:
        examples: what to pack.
        highest_masked_lm_prob: the largest share of tokens ever to be masked; that of the examples'
            rules unless given. The predictions of a row must fit into P slots.
    """

    def __init__(self, examples: FreshExamples, highest_masked_lm_prob: float | None = None):
        self.max_seq_length = examples.max_seq_length
        self.max_predictions_per_seq = examples.max_predictions_per_seq
        self.places = count_places(examples.max_seq_length)
        self._examples = examples
        if highest_masked_lm_prob is None:
            highest_masked_lm_prob = examples.masking_rules.masked_lm_prob
        self._highest = highest_masked_lm_prob
        plan = self._plan_rows(0)
        self.num_examples = len(plan.order)
        self.examples_a_row = len(plan.pairs) / self.num_examples
        tokens = int(sentence_pairs.count_tokens(plan.pairs).sum())
        self.padding_share = 1 - tokens / (self.num_examples * self.max_seq_length)
        self._passes = Passes(self._make_pass)

    def batch(
        self, numbers: np.ndarray, masked_lm_probs: np.ndarray | None = None
    ) -> dict[str, np.ndarray]:
        """Returns rows.

        Args:
            numbers: int64 [B], of the rows, from 0 on and without end.
            masked_lm_probs: float [B], share of tokens to mask of each; None for that of the rules.

        Returns:
            `input_ids`, `input_mask`, `segment_ids` int32 [B, L], `masked_lm_positions`,
            `masked_lm_ids` int32 [B, P] and `masked_lm_weights` float32 [B, P] of all examples of a
            row; `example_numbers` int32 [B, L], which example a token belongs to, from 1 on, 0 for
            padding; `cls_positions` and `sentence_order_label` int32 [B, K] of each example, and
            `sentence_order_weights` float32 [B, K], 0 for a place without one.
        """
        passes, places = np.divmod(np.asarray(numbers, np.int64), self.num_examples)
        counts = np.empty(len(passes), np.int64)
        members, pairs = [None] * len(passes), [None] * len(passes)
        for number in np.unique(passes).tolist():
            rows = np.flatnonzero(passes == number)
            plan = self._passes.plan(number, bool(places[rows].max() > self.num_examples // 2))
            planned = plan.order[places[rows]]
            first, after = plan.bounds[planned], plan.bounds[planned + 1]
            counts[rows] = after - first
            for row, begin, end in zip(rows.tolist(), first.tolist(), after.tolist(), strict=True):
                of_row = plan.members[begin:end].astype(np.int64)
                members[row] = of_row + number * self._examples.num_examples
                pairs[row] = plan.pairs[of_row]
        if masked_lm_probs is not None:
            masked_lm_probs = np.repeat(masked_lm_probs, counts)
        examples = self._examples.lay_out(
            np.concatenate(members), np.concatenate(pairs), masked_lm_probs
        )
        return pack_rows(examples, counts, self.places, self._examples.pad_id)

    def _make_pass(self, number: int) -> _Plan:
        plan = self._plan_rows(number)
        return dataclasses.replace(plan, order=np.resize(plan.order, self.num_examples))

    def _plan_rows(self, number: int) -> _Plan:
        pairs = self._examples.pairs_of_pass(number, is_ending=False)
        lengths = sentence_pairs.count_tokens(pairs)
        slots = np.rint(np.arange(self.max_seq_length + 1) * self._highest * (1 + _ROUNDING))
        patterns = plan_patterns(
            np.bincount(lengths, minlength=self.max_seq_length + 1),
            np.clip(slots, 1, self.max_predictions_per_seq).astype(np.int64),
            self.max_predictions_per_seq,
            self.places,
        )
        members, bounds = _deal_out(lengths, patterns)
        rng = np.random.default_rng([*self._examples.stream_seed, _ROWS_STREAM, number])
        return _Plan(pairs, members, bounds, rng.permutation(len(bounds) - 1))


# The lengths of the examples in a row, and how many such rows there are.
Pattern = tuple[tuple[int, ...], int]


def plan_patterns(
    counts: np.ndarray, slots: np.ndarray, max_slots: int, max_examples: int
) -> list[Pattern]:
    """Packs lengths into rows, longest first, each into the row that it fills best.

    Args:
        counts: int [L + 1]: how many examples there are of each length.
        slots: int [L + 1]: how many prediction slots an example of each length may need.
        max_slots: P, of a row.
        max_examples: K, of a row.

    Returns:
        How often each combination of lengths is a row. E.g. of counts [0, 1, 2, 0, 3] (one example
        of length 1, two of 2, three of 4) with slots for all: [((4,), 3), ((2, 2), 1), ((1,), 1)].
    """
    room = len(counts) - 1
    # {tokens left: rows of so many: [pattern, how many, slots left]}, and its keys ascending.
    open_rows: dict[int, list[list]] = {}
    lefts: list[int] = []
    full: list[Pattern] = []

    def put(pattern: tuple[int, ...], count: int, left: int, slots_left: int) -> None:
        if len(pattern) == max_examples or not left:
            full.append((pattern, count))
            return
        if left not in open_rows:
            bisect.insort(lefts, left)
            open_rows[left] = []
        open_rows[left].append([pattern, count, slots_left])

    for length in range(room, 0, -1):
        waiting, needed = int(counts[length]), int(slots[length])
        place = bisect.bisect_left(lefts, length)
        while waiting and place < len(lefts):
            left = lefts[place]
            fitting = next((row for row in open_rows[left] if row[2] >= needed), None)
            if fitting is None:
                place += 1
                continue
            pattern, count, slots_left = fitting
            taken = min(count, waiting)
            waiting -= taken
            fitting[1] -= taken
            if not fitting[1]:
                open_rows[left].remove(fitting)
            put((*pattern, length), taken, left - length, slots_left - needed)
            # What is left of these may take another.
            place = bisect.bisect_left(lefts, max(length, left - length))
        if waiting:
            # A row of its own for each, or several of one length in a row.
            fits = min(max_examples, room // length, max_slots // needed)
            rows, rest = divmod(waiting, fits)
            for size, count in ((fits, rows), (rest, 1)):
                if size and count:
                    put(
                        (length,) * size,
                        count,
                        room - size * length,
                        max_slots - size * needed,
                    )
    return full + [(row[0], row[1]) for left in lefts for row in open_rows[left]]


def _deal_out(lengths: np.ndarray, patterns: list[Pattern]) -> tuple[np.ndarray, np.ndarray]:
    """Returns int [N] examples and int64 [rows + 1] bounds, as of `_Plan`."""
    by_length = np.argsort(lengths, kind="stable").astype(np.int32)
    # Where the examples of each length begin; what is dealt out moves it.
    next_of = np.searchsorted(lengths[by_length], np.arange(lengths.max() + 1))
    members, sizes = [], []
    for pattern, count in patterns:
        rows = np.empty((count, len(pattern)), np.int32)
        for column, length in enumerate(pattern):
            begin = next_of[length]
            rows[:, column] = by_length[begin : begin + count]
            next_of[length] += count
        members.append(rows.ravel())
        sizes.append(np.full(count, len(pattern)))
    return np.concatenate(members), np.concatenate([[0], np.cumsum(np.concatenate(sizes))])


def pack_rows(
    examples: dict[str, np.ndarray], counts: np.ndarray, places: int, pad_id: int
) -> dict[str, np.ndarray]:
    """Packs examples into rows, one behind the other.

    Args:
        examples: of `FreshExamples`, [M, L], [M, P] and [M].
        counts: int [B]: how many of them, in their order, each row takes.
        places: K.
        pad_id: the id of padding.

    Returns:
        As `PackedExamples.batch`.

    Raises:
        ValueError: if a row has more tokens or predictions than there is room for.
    """
    is_token = examples["input_mask"] > 0  # [M, L]
    is_slot = examples["masked_lm_weights"] > 0  # [M, P]
    lengths, predictions = is_token.sum(axis=1), is_slot.sum(axis=1)  # [M]
    rows = np.repeat(np.arange(len(counts)), counts)  # [M]
    in_row = np.arange(len(rows)) - (np.cumsum(counts) - counts)[rows]  # [M], from 0 on
    before = np.cumsum(lengths) - lengths  # [M] tokens of all examples before
    starts = before - before[np.cumsum(counts) - counts][rows]  # [M] place in the row
    tokens_used = _filled(rows, lengths, is_token.shape[1], len(counts), "tokens")  # [B, L]
    slots_used = _filled(rows, predictions, is_slot.shape[1], len(counts), "predictions")  # [B, P]
    places_used = np.arange(places) < counts[:, None]  # [B, K]
    positions = examples["masked_lm_positions"] + starts[:, None]  # [M, P]
    columns = {
        "input_ids": (tokens_used, examples["input_ids"][is_token]),
        "input_mask": (tokens_used, 1),
        "segment_ids": (tokens_used, examples["segment_ids"][is_token]),
        "masked_lm_positions": (slots_used, positions[is_slot]),
        "masked_lm_ids": (slots_used, examples["masked_lm_ids"][is_slot]),
        "masked_lm_weights": (slots_used, examples["masked_lm_weights"][is_slot]),
        "example_numbers": (tokens_used, np.repeat(in_row + 1, lengths)),
        "cls_positions": (places_used, starts),
        "sentence_order_label": (places_used, examples["sentence_order_label"]),
        "sentence_order_weights": (places_used, 1),
    }
    packed = {}
    for name, (is_used, values) in columns.items():
        dtype = np.float32 if name.endswith("_weights") else np.int32
        packed[name] = np.full(is_used.shape, pad_id if name == "input_ids" else 0, dtype)
        packed[name][is_used] = values
    return packed


def _filled(
    rows: np.ndarray, sizes: np.ndarray, width: int, num_rows: int, what: str
) -> np.ndarray:
    """Returns bool [B, width]: what is in use where each row holds its examples' sizes [M]."""
    totals = np.bincount(rows, weights=sizes, minlength=num_rows)
    if totals.max(initial=0) > width:
        raise ValueError(
            f"the {what} of a row must be at most {width}. Received: {int(totals.max())}"
        )
    return np.arange(width) < totals[:, None]
