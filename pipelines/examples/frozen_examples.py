"""The examples of a shard, made once and for all from its documents and its own seed.

Records are written of them, and held-out documents that are stored as tokens become the same
examples in every run.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from albert_tf.pipelines.examples import masking, sentence_pairs
from albert_tf.pipelines.examples.masking import MaskingRules, PieceTable
from albert_tf.pipelines.examples.sentence_pairs import PairCounts, PairRules

BATCH_EXAMPLES = 1024
# What a shard's seed has beside that of the build and its number, so that kinds differ.
STREAMS = {"train": 1, "held_out": 2}
# The random streams of a shard; masks of one output do not depend on what else is made.
_PAIRS_STREAM, _FIRST_MASKS_STREAM = 0, 1


def make_pairs(
    documents: Sequence[np.ndarray],
    word_begins: np.ndarray,
    rules: PairRules,
    dupe_factor: int,
    seed: Sequence[int],
) -> tuple[np.ndarray, PairCounts]:
    """Returns the pairs of a shard in their order, int64 [pairs, 5], and what was counted.

    Args:
        documents, word_begins, rules: as of `sentence_pairs.make_pairs`.
        dupe_factor: how many times the documents are cut into pairs.
        seed: of the shard.
    """
    rng = np.random.default_rng([*seed, _PAIRS_STREAM])
    tables, total = [], PairCounts()
    for _ in range(dupe_factor):
        pairs, counts = sentence_pairs.make_pairs(documents, word_begins, rules, rng)
        tables.append(pairs)
        total.add(counts)
    return rng.permutation(np.concatenate(tables)), total


def mask_pairs(
    ids: np.ndarray,
    pairs: np.ndarray,
    max_seq_length: int,
    rules: MaskingRules,
    pieces: PieceTable,
    seed: Sequence[int],
    output: int,
) -> Iterator[tuple[dict[str, np.ndarray], np.ndarray]]:
    """Yields batches of examples and how many n-grams of each length they hide.

    Args:
        ids: int [T], which the pairs point into.
        pairs: of `make_pairs`.
        max_seq_length: L.
        rules: of masking.
        pieces: the vocabulary's table.
        seed: of the shard.
        output: number of these masks among those that the same pairs are given.
    """
    rng = np.random.default_rng([*seed, _FIRST_MASKS_STREAM + output])
    for first in range(0, len(pairs), BATCH_EXAMPLES):
        rows = pairs[first : first + BATCH_EXAMPLES]
        batch = sentence_pairs.lay_out_pairs(ids, rows, max_seq_length, pieces)
        yield masking.mask_batch(batch, rules, pieces, rng)
