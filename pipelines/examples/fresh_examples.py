"""Examples made on the way from stored tokens: the n-th is a function of (tokens, rules, seed, n).

A *pass* is every document once, cut into pairs anew, in an order of its own over the whole corpus
(`pass_pairs`). The number of pairs differs a little from pass to pass; those of the first one are a
pass, so that example n is number n % N of pass n // N: a pass with more leaves some out, drawn by
chance, one with less has some twice. Masks are drawn from the number of the example alone, so any
worker makes any example of any batch.

On request the segments of some pairs overlap (`pass_pairs.let_overlap`). A small model sees so
little text that looking up a word that stands elsewhere hardly ever pays; there it does.

NumPy only. B examples, L sequence length, N examples of a pass.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import os
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from albert_tf.pipelines.examples import masking, pass_pairs, sentence_pairs
from albert_tf.pipelines.examples.example_settings import ExampleSettings
from albert_tf.pipelines.examples.masking import MaskingRules, NumberedDraws, PieceTable
from albert_tf.pipelines.examples.sentence_pairs import PairCounts, PairRules
from albert_tf.pipelines.examples.token_files import TokenFolder, TokenShard
from albert_tf.setting_checks import check_fraction, check_integer

_PAIRS_STREAM, _ORDER_STREAM, _MASKS_STREAM = 0, 1, 2
_OTHER_CORPORA = 1000  # beyond all streams


class Passes:
    """What is planned for each pass, made in one thread, since it is asked for in several.

    Args:
        make: makes what is planned for the pass of a number.
    """

    def __init__(self, make: Callable[[int], Any]):
        self._make = make
        self._start()

    def _start(self) -> None:
        self._futures: dict[int, concurrent.futures.Future] = {}
        self._maker = concurrent.futures.ThreadPoolExecutor(1)
        self._lock = threading.Lock()
        self._process = os.getpid()

    def __getstate__(self) -> dict[str, Any]:
        return {"_make": self._make}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["_make"])

    def plan(self, number: int, is_ending: bool) -> Any:
        """Returns what is planned for a pass.

        Args:
            number: of the pass.
            is_ending: whether the next one is worth making meanwhile.
        """
        if self._process != os.getpid():  # a fork has the thread's name and not the thread
            self._start()
        with self._lock:
            for one in (number, number + 1)[: 1 + is_ending]:
                if one not in self._futures:
                    self._futures[one] = self._maker.submit(self._make, one)
            for old in [one for one in self._futures if one < number - 1 or one > number + 1]:
                del self._futures[old]
            future = self._futures[number]
        return future.result()


class FreshExamples:
    """The examples of a run.

    Attributes:
        num_examples: of a pass, N.
        max_seq_length: tokens an example, L.
        max_predictions_per_seq: masks an example at most, P.
        padding_share: of the tokens of a pass.
        masking_rules: as given.
        stream_seed: what all draws begin with.
        pad_id: the id of padding.

    Args:
        shards: the documents.
        pair_rules, masking_rules: what examples are like.
        pieces: the vocabulary's table.
        seed: same seed, same examples.
        overlap_prob: share of pairs whose segments overlap.
        corpus: the number of the documents among those of several corpora with one seed, of which
            each has draws of its own.

    Raises:
        ValueError: if the documents give no pair, or for a seed below 0.
    """

    # What `packed_examples` has more of.
    places, examples_a_row = 1, 1.0

    def __init__(
        self,
        shards: Sequence[TokenShard],
        pair_rules: PairRules,
        masking_rules: MaskingRules,
        pieces: PieceTable,
        seed: int,
        overlap_prob: float = 0.0,
        corpus: int = 0,
    ):
        check_fraction("overlap_prob", overlap_prob)
        check_integer("seed", seed, 0)
        self.max_seq_length = pair_rules.max_seq_length
        self.max_predictions_per_seq = masking_rules.max_predictions_per_seq
        self._shards = shards
        self._pair_rules = pair_rules
        self.masking_rules = masking_rules
        self._pieces = pieces
        self._overlap_prob = overlap_prob
        self.pad_id = pieces.pad_id
        self.stream_seed = [seed, _OTHER_CORPORA + corpus] if corpus else [seed]
        sizes = [len(shard.ids) for shard in shards]
        self._starts = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
        key = np.random.SeedSequence([*self.stream_seed, _MASKS_STREAM]).generate_state(
            2, np.uint64
        )
        self._masks_key = key
        first, self.pair_counts = self._draw_pairs(0)
        self.num_examples = len(first)
        if not self.num_examples:
            raise ValueError(
                "the stored tokens must hold documents of several sentences. Received: "
                f"{sum(len(shard.documents) for shard in shards)} of one short sentence each"
            )
        self._first = first  # until it is put in order
        self._passes = Passes(self._make_pass)
        tokens = int(sentence_pairs.count_tokens(first).sum())
        self.padding_share = 1 - tokens / (len(first) * self.max_seq_length)

    @classmethod
    def from_folder(
        cls,
        folder: TokenFolder,
        settings: ExampleSettings,
        seed: int,
        overlap_prob: float = 0.0,
        corpus: int = 0,
    ) -> FreshExamples:
        """Returns the training examples of a folder.

        Args:
            folder: of stored tokens.
            settings: what examples are like, with `max_predictions_per_seq`.
            seed: same seed, same examples.
            overlap_prob: share of pairs whose segments overlap.
            corpus: the folder's number among several.
        """
        return cls(
            folder.shards("train"),
            settings.pair_rules(),
            settings.masking_rules(),
            folder.pieces,
            seed,
            overlap_prob,
            corpus,
        )

    def batch(
        self, numbers: np.ndarray, masked_lm_probs: np.ndarray | None = None
    ) -> dict[str, np.ndarray]:
        """Returns examples, in the form of `records`.

        Args:
            numbers: int64 [B], of the examples, from 0 on and without end.
            masked_lm_probs: float [B], share of tokens to mask of each; None for that of the rules.
        """
        passes, places = np.divmod(np.asarray(numbers, np.int64), self.num_examples)
        pairs = np.empty((len(passes), 5), np.int64)
        for number in np.unique(passes).tolist():
            rows = passes == number
            of_pass = places[rows]
            is_ending = bool(of_pass.max() > self.num_examples // 2)
            pairs[rows] = self.pairs_of_pass(number, is_ending)[of_pass]
        return self.lay_out(numbers, pairs, masked_lm_probs)

    def pairs_of_pass(self, number: int, is_ending: bool) -> np.ndarray:
        """Returns int64 [N, 5]: the pairs of a pass, in its order; arguments as of `Passes`."""
        return self._passes.plan(number, is_ending)

    def lay_out(
        self, numbers: np.ndarray, pairs: np.ndarray, masked_lm_probs: np.ndarray | None
    ) -> dict[str, np.ndarray]:
        """Returns examples whose pairs are known; arguments as of `batch`."""
        ids, pairs = self._gather(pairs)
        batch = sentence_pairs.lay_out_pairs(
            ids, pairs, self._pair_rules.max_seq_length, self._pieces
        )
        draws = NumberedDraws(self._draw_bits(np.asarray(numbers, np.int64)))
        rules = self.masking_rules
        if masked_lm_probs is not None:
            rules = dataclasses.replace(rules, masked_lm_prob=masked_lm_probs)
        masked, _ = masking.mask_batch(batch, rules, self._pieces, draws)
        del masked["token_boundary"]
        return masked

    def _make_pass(self, number: int) -> np.ndarray:
        pairs, self._first = self._first, None
        if pairs is None or number:
            pairs, _ = self._draw_pairs(number)
        if not len(pairs):  # of a few words, which by chance give a pair in some passes
            pairs, _ = self._draw_pairs(0)
        rng = np.random.default_rng([*self.stream_seed, _ORDER_STREAM, number])
        order = rng.permutation(len(pairs))
        pairs = pairs[np.resize(order, self.num_examples)]
        if self._overlap_prob:
            pairs = pass_pairs.let_overlap(pairs, self._overlap_prob, rng)
        return pairs

    def _draw_pairs(self, number: int) -> tuple[np.ndarray, PairCounts]:
        """Returns the pairs of a pass, shard after shard, and what was counted."""
        tables, total = [np.empty((0, 5), np.int64)], PairCounts()
        for index, shard in enumerate(self._shards):
            rng = np.random.default_rng([*self.stream_seed, _PAIRS_STREAM, number, index])
            begins = functools.partial(_word_begins, shard, self._pieces)
            sentences = pass_pairs.Sentences(shard.sentence_bounds, shard.document_bounds)
            sentences = pass_pairs.cut_long_sentences(sentences, begins, self._pair_rules)
            pairs, counts = pass_pairs.make_pairs(sentences, begins, self._pair_rules, rng)
            pairs[:, :4] += self._starts[index]
            tables.append(pairs)
            total.add(counts)
        return np.concatenate(tables), total

    def _gather(self, pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the ids of some pairs end to end, and the pairs with places in these."""
        lows = np.minimum(pairs[:, 0], pairs[:, 2])
        highs = np.maximum(pairs[:, 1], pairs[:, 3])
        shards = np.searchsorted(self._starts, lows, side="right") - 1
        pieces = [
            self._shards[shard].ids[low - start : high - start]
            for shard, start, low, high in zip(
                shards.tolist(),
                self._starts[shards].tolist(),
                lows.tolist(),
                highs.tolist(),
                strict=True,
            )
        ]
        ends = np.cumsum(highs - lows)
        moved = pairs.copy()
        moved[:, :4] += (ends - highs)[:, None]
        return np.concatenate(pieces), moved

    def _draw_bits(self, numbers: np.ndarray) -> np.ndarray:
        """Returns uint64 [B, 4, L]: random bits that belong to each example."""
        length = self._pair_rules.max_seq_length
        bits = np.empty((len(numbers), 4 * length), np.uint64)
        for row, number in enumerate(numbers.tolist()):
            # A counter-based generator: the counter of an example is reached in one step.
            counter = number * length
            words = [counter & 0xFFFFFFFFFFFFFFFF, counter >> 64, 0, 0]
            philox = np.random.Philox(key=self._masks_key, counter=words)
            bits[row] = philox.random_raw(4 * length)
        return bits.reshape(len(numbers), 4, length)


def _word_begins(shard: TokenShard, pieces: PieceTable, begin: int, end: int) -> np.ndarray:
    return pieces.word_start[shard.ids[begin:end]]
