"""Word vectors from counts, for a model that starts from nothing.

Of random vectors a model learns by gradients alone which pieces are alike, a piece at a time as it
is met. Counting says most of it at once: pieces with the same neighbors mean much the same. For
each piece is counted what stands right before it, right after it, and two to five pieces away;
counts become positive pointwise mutual information, and its largest singular vectors the vectors
(Bullinaria and Levy 2007, 10.3758/BF03193020; Levy and Goldberg, NIPS 2014). Only initial values
differ: what is trained is an ordinary ALBERT.

NumPy only. Letters: T tokens, V vocabulary, C pieces that count as neighbors, E embedding size.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from albert_tf.pipelines.examples.token_files import TokenShard

# More text hardly changes what is alike, and takes a second a million tokens and core.
MOST_TOKENS = 50_000_000
_TOKENS_AT_ONCE = 1 << 22
_FURTHEST = 5
# The most frequent pieces are neighbors of all others: those that are rare tell little more.
_MOST_NEIGHBORS, _MOST_CELLS = 2048, 1 << 26
# Neighbors count as if the frequent ones were less so, which keeps rare ones from standing out
# (Levy, Goldberg and Dagan, TACL 2015).
_NEIGHBOR_POWER = 0.75
_SINGULAR_POWER = 0.5
# Of the subspace iteration (Halko, Martinsson and Tropp 2011, arXiv 0909.4061).
_OVERSAMPLING, _ITERATIONS = 32, 4


def make_vectors(shards: Sequence[TokenShard], vocab_size: int, size: int) -> np.ndarray:
    """Returns float32 [V, size]: a vector of length 1 for each piece with neighbors, else 0.

    Args:
        shards: the documents; of more than `MOST_TOKENS` an even sample.
        vocab_size: V.
        size: entries of a vector, at most V.
    """
    information = [as_information(counts) for counts in count_neighbors(shards, vocab_size)]
    return factorize(np.concatenate(information, axis=1), size)


def count_neighbors(shards: Sequence[TokenShard], vocab_size: int) -> list[np.ndarray]:
    """Counts what stands beside each piece in the same document.

    Returns:
        Three of float32 [V, C]: how often each of the C most frequent pieces stands right after a
        piece, right before it, and d = 2 to 5 pieces away on either side, which counts 1 / d.
    """
    frequencies = np.zeros(vocab_size, np.int64)
    for ids, _ in _parts(shards):
        frequencies += np.bincount(ids, minlength=vocab_size)
    width = min(_MOST_NEIGHBORS, _MOST_CELLS // vocab_size, vocab_size)  # C
    neighbors = np.argsort(-frequencies, kind="stable")[:width]
    rank = np.full(vocab_size, -1)
    rank[neighbors] = np.arange(width)

    after, before, near = (np.zeros(vocab_size * width, np.float32) for _ in range(3))

    def add(counts: np.ndarray, ids: np.ndarray, ranks: np.ndarray, weight: float) -> None:
        cells = (ids * width + ranks)[ranks >= 0]
        counts += np.float32(weight) * np.bincount(cells, minlength=len(counts))

    for ids, documents in _parts(shards):
        for distance in range(1, _FURTHEST + 1):
            together = documents[distance:] == documents[:-distance]
            left, right = ids[:-distance][together], ids[distance:][together]
            weight = 1 / distance
            add(after if distance == 1 else near, left, rank[right], weight)
            add(before if distance == 1 else near, right, rank[left], weight)
    return [counts.reshape(vocab_size, width) for counts in (after, before, near)]


def _parts(shards: Sequence[TokenShard]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields int64 [T] ids and [T] numbers of their documents, of parts that are counted."""
    starts = [
        (shard, start) for shard in shards for start in range(0, len(shard.ids), _TOKENS_AT_ONCE)
    ]
    tokens = sum(len(shard.ids) for shard in shards)
    for shard, start in starts[:: -(-tokens // MOST_TOKENS)]:
        ids = np.asarray(shard.ids[start : start + _TOKENS_AT_ONCE], np.int64)
        ends = shard.sentence_bounds[shard.document_bounds[1:]]
        yield ids, np.searchsorted(ends, np.arange(start, start + len(ids)), side="right")


def as_information(counts: np.ndarray) -> np.ndarray:
    """Returns float32 [V, C]: max(0, log(p(neighbor | piece) / p(neighbor))).

    Args:
        counts: float32 [V, C], not negative; changed.
    """
    shares = counts.sum(axis=0) ** _NEIGHBOR_POWER
    shares /= max(shares.sum(), 1e-30)
    expected = counts.sum(axis=1, keepdims=True) * shares
    np.divide(counts, expected, out=counts, where=expected > 0)
    np.maximum(counts, 1, out=counts)  # log of less is below 0
    return np.log(counts, out=counts)


def factorize(matrix: np.ndarray, size: int) -> np.ndarray:
    """Returns float32 [V, size]: each row's part in the largest singular vectors, of length 1.

    Args:
        matrix: float32 [V, C].
        size: how many singular vectors.
    """
    rng = np.random.default_rng(0)
    rank = min(size + _OVERSAMPLING, *matrix.shape)
    basis = np.linalg.qr(rng.standard_normal((len(matrix), rank)).astype(np.float32))[0]
    for _ in range(_ITERATIONS):
        basis = np.linalg.qr(matrix @ (matrix.T @ basis))[0]  # [V, rank]
    left, singular_values, _ = np.linalg.svd(basis.T @ matrix, full_matrices=False)
    vectors = np.zeros((len(matrix), size), np.float32)
    used = min(size, rank)
    vectors[:, :used] = basis @ left[:, :used] * singular_values[:used] ** _SINGULAR_POWER
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    has_neighbors = matrix.any(axis=1, keepdims=True)
    return np.divide(
        vectors, lengths, out=np.zeros_like(vectors), where=has_neighbors & (lengths > 0)
    )
