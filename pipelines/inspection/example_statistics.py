"""What a table says of examples, counted batch by batch.

B batch, L sequence length, P prediction slots. NumPy only.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

# Runs of masked words are told apart up to this length.
LONGEST_RUN = 4


@dataclasses.dataclass
class ExampleStatistics:
    """Counts of examples; those of several batches add up.

    Attributes:
        examples, swapped, tokens, masked: numbers of examples, of those whose segments are swapped,
            of tokens that are not padding, and of tokens to guess.
        shown_as_mask, kept: of the tokens to guess, those that the model sees as [MASK], and as
            they are; the first is 0 where the vocabulary is not known.
        lengths: int64 [L + 1], examples by number of tokens.
        runs: int64 [LONGEST_RUN + 1], by number of words, how many runs of words are masked; longer
            ones are the last. All 0 where records do not say where words start.
    """

    lengths: np.ndarray
    examples: int = 0
    swapped: int = 0
    tokens: int = 0
    masked: int = 0
    shown_as_mask: int = 0
    kept: int = 0
    runs: np.ndarray = dataclasses.field(
        default_factory=lambda: np.zeros(LONGEST_RUN + 1, np.int64)
    )

    def add(self, other: ExampleStatistics) -> None:
        """Adds the counts of other examples of the same L."""
        for field in dataclasses.fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))

    def padding_share(self) -> float:
        """Returns the share of all places that no token stands at."""
        return 1 - self.tokens / (max(self.examples, 1) * (len(self.lengths) - 1))

    def length_quantile(self, share: float) -> int:
        """Returns the length that this share of the examples does not exceed."""
        ranks = np.cumsum(self.lengths)
        return int(np.searchsorted(ranks, max(1, share * self.examples)))


def count_examples(batch: Mapping[str, np.ndarray], mask_id: int | None) -> ExampleStatistics:
    """Returns the counts of a batch.

    Args:
        batch: of `records`; `token_boundary` [B, L] may be in it.
        mask_id: of [MASK], where the vocabulary is known.
    """
    ids, length = batch["input_ids"], batch["input_ids"].shape[1]
    rows, slots = np.nonzero(batch["masked_lm_weights"] > 0)  # [M] for M tokens to guess
    positions = batch["masked_lm_positions"][rows, slots]
    seen, hidden = ids[rows, positions], batch["masked_lm_ids"][rows, slots]
    tokens = batch["input_mask"].sum(axis=1)  # [B]
    statistics = ExampleStatistics(
        examples=len(ids),
        swapped=int(batch["sentence_order_label"].sum()),
        tokens=int(tokens.sum()),
        masked=len(rows),
        kept=int((seen == hidden).sum()),
        lengths=np.bincount(tokens, minlength=length + 1),
    )
    if mask_id is not None:
        statistics.shown_as_mask = int((seen == mask_id).sum())
    if "token_boundary" in batch:
        is_masked = np.zeros(ids.shape, bool)
        is_masked[rows, positions] = True
        statistics.runs = count_runs(is_masked, batch["token_boundary"] > 0)
    return statistics


def count_runs(is_masked: np.ndarray, starts_word: np.ndarray) -> np.ndarray:
    """Counts runs of masked words: what the eye sees as one n-gram.

    N-grams that stand side by side are one run, so long runs are a little more frequent than long
    n-grams.

    Args:
        is_masked: bool [B, L], tokens to guess.
        starts_word: bool [B, L].

    Returns:
        int64 [LONGEST_RUN + 1], runs by number of words.
    """
    starts_run = is_masked.copy()
    starts_run[:, 1:] &= ~is_masked[:, :-1]
    run_of = np.cumsum(starts_run) - 1  # [B * L], over all rows
    words = np.bincount(run_of[(is_masked & (starts_word | starts_run)).ravel()])
    return np.bincount(np.minimum(words, LONGEST_RUN), minlength=LONGEST_RUN + 1)
