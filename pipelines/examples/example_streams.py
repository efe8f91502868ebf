"""Streams of examples: several corpora in one, and what changes while a model is trained.

Where examples are packed, a row of several counts as one: it is what is numbered, mixed and drawn.

A stream answers for the n-th example, from 0 on and without end, and for any numbers at once; so do
mixtures of streams, and runs that change length and masking rate on their way. NumPy only.
"""

import dataclasses
import typing
from collections.abc import Sequence

import numpy as np


class ExampleStream(typing.Protocol):
    """Numbered examples.

    Attributes:
        num_examples: of a pass.
        max_seq_length, max_predictions_per_seq: L and P.
        places: the most examples that are packed into one, 1 where none are.
        examples_a_row: the mean of these.
        padding_share: of the tokens of a pass.
    """

    num_examples: int
    max_seq_length: int
    max_predictions_per_seq: int
    places: int
    examples_a_row: float
    padding_share: float

    def batch(
        self, numbers: np.ndarray, masked_lm_probs: np.ndarray | None = None
    ) -> dict[str, np.ndarray]:
        """Returns examples in the form of `records`, or of `packed_examples`.

        Args:
            numbers: int64 [B].
            masked_lm_probs: float [B], share of tokens to mask of each; None for the stream's own.
        """


class Mixture:
    """Examples of several corpora, in turns: of weights 2 and 1 two of one and one of the other.

    Args:
        streams: of the corpora, with one length.
        weights: of each, how many of its examples there are in a turn.
    """

    def __init__(self, streams: Sequence[ExampleStream], weights: Sequence[int]):
        self._streams = list(streams)
        self._weights = np.array(weights)
        self.num_examples = sum(stream.num_examples for stream in streams)
        self.max_seq_length = streams[0].max_seq_length
        self.max_predictions_per_seq = streams[0].max_predictions_per_seq
        self.places = streams[0].places
        self.examples_a_row = self._mean([stream.examples_a_row for stream in streams])
        self.padding_share = self._mean([stream.padding_share for stream in streams])
        # Evenly spread: each corpus stands where its share of the turn comes next.
        places = np.concatenate([(np.arange(weight) + 0.5) / weight for weight in weights])
        corpora = np.repeat(np.arange(len(weights)), weights)
        self._turn = corpora[np.lexsort((corpora, places))]
        self._ranks = np.array(
            [np.count_nonzero(self._turn[:i] == k) for i, k in enumerate(self._turn)]
        )

    def _mean(self, values: Sequence[float]) -> float:
        return float(np.average(values, weights=self._weights))

    def batch(
        self, numbers: np.ndarray, masked_lm_probs: np.ndarray | None = None
    ) -> dict[str, np.ndarray]:
        """See `ExampleStream`."""
        turns, places = np.divmod(np.asarray(numbers, np.int64), len(self._turn))
        corpora = self._turn[places]
        in_corpus = turns * self._weights[corpora] + self._ranks[places]
        whole = {}
        for corpus in np.unique(corpora).tolist():
            rows = corpora == corpus
            probs = None if masked_lm_probs is None else masked_lm_probs[rows]
            for name, values in self._streams[corpus].batch(in_corpus[rows], probs).items():
                if name not in whole:
                    whole[name] = np.empty((len(corpora), *values.shape[1:]), values.dtype)
                whole[name][rows] = values
        return whole


@dataclasses.dataclass(frozen=True)
class Phase:
    """A stretch of a run whose examples have one length.

    Attributes:
        stream: of the examples.
        first: number in the run of the first example.
        last: number of the one behind the last; None without end.
        first_in_stream: number that `first` has in the stream.
        masked_lm_probs: share of tokens to mask at the beginning and at the end of the run; None
            for that of the stream.
        total: examples of the run.
    """

    stream: ExampleStream
    first: int
    last: int | None
    first_in_stream: int
    masked_lm_probs: tuple[float, float] | None
    total: int

    def batch(self, numbers: np.ndarray) -> dict[str, np.ndarray]:
        """Returns examples by their numbers in the run."""
        numbers, probs = np.asarray(numbers, np.int64), None
        if self.masked_lm_probs is not None:
            begin, end = self.masked_lm_probs
            probs = begin + (end - begin) * np.minimum(numbers / self.total, 1.0)
        return self.stream.batch(numbers - self.first + self.first_in_stream, probs)


def make_phases(
    streams: Sequence[ExampleStream],
    total: int,
    last_examples: int = 0,
    masked_lm_probs: tuple[float, float] | None = None,
) -> list[Phase]:
    """Returns the phases of a run: one, or a second of another length.

    Of a pass as much is over when that begins as was; which documents come is drawn anew.

    Args:
        streams: of one phase, or of two.
        total: examples of the run.
        last_examples: those of the second phase.
        masked_lm_probs: as of `Phase`.
    """
    if len(streams) == 1:
        return [Phase(streams[0], 0, None, 0, masked_lm_probs, total)]
    border = total - last_examples
    # The same share of a pass is over, in examples of the other length.
    carried = round(border * streams[1].num_examples / streams[0].num_examples)
    return [
        Phase(streams[0], 0, border, 0, masked_lm_probs, total),
        Phase(streams[1], border, None, carried, masked_lm_probs, total),
    ]
