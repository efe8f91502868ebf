"""Word vectors from counts, against counts by hand and NumPy's own singular values."""

import numpy as np
import pytest

from albert_tf.pipelines.examples.token_files import TokenShard
from albert_tf.pretraining import counted_words


def make_shard(*documents):
    """Returns a shard of documents of one sentence each."""
    ends = np.cumsum([len(document) for document in documents])
    return TokenShard(
        np.concatenate(documents).astype(np.uint16), ends, np.arange(1, len(documents) + 1)
    )


def count_plainly(documents, vocab_size):
    after, before, near = (np.zeros((vocab_size, vocab_size)) for _ in range(3))
    for document in documents:
        for place, piece in enumerate(document):
            for other_place, other in enumerate(document):
                distance = other_place - place
                if distance == 1:
                    after[piece, other] += 1
                elif distance == -1:
                    before[piece, other] += 1
                elif 2 <= abs(distance) <= 5:
                    near[piece, other] += 1 / abs(distance)
    return after, before, near


def make_documents(vocab_size, lengths=(40, 3, 1, 60), seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(0, vocab_size, length) for length in lengths]


def test_neighbors_are_counted_within_documents():
    documents = make_documents(9)
    counts = counted_words.count_neighbors([make_shard(*documents)], 9)
    expected = count_plainly(documents, 9)
    frequencies = np.bincount(np.concatenate(documents), minlength=9)
    order = np.argsort(-frequencies, kind="stable")
    for one, plain in zip(counts, expected, strict=True):
        np.testing.assert_allclose(one, plain[:, order], rtol=1e-6)


def test_only_the_most_frequent_pieces_count_as_neighbors(monkeypatch):
    monkeypatch.setattr(counted_words, "_MOST_NEIGHBORS", 2)
    documents = [np.array([0, 1, 0, 1, 2, 1, 0, 3, 1])]
    after, _, _ = counted_words.count_neighbors([make_shard(*documents)], 4)
    assert after.tolist() == [[2, 0], [0, 2], [1, 0], [1, 0]]  # [pieces 0 to 3, then 1 and 0]


def test_parts_of_several_shards_count_as_one_text_but_for_their_borders(monkeypatch):
    documents = make_documents(7, lengths=(30, 50, 20, 30))
    whole = counted_words.count_neighbors([make_shard(*documents)], 7)
    halves = [make_shard(*documents[:2]), make_shard(*documents[2:])]
    for one, two in zip(whole, counted_words.count_neighbors(halves, 7), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-6)
    monkeypatch.setattr(counted_words, "_TOKENS_AT_ONCE", 30)
    in_parts = counted_words.count_neighbors([make_shard(*documents)], 7)
    lost = whole[0].sum() - in_parts[0].sum()
    assert 1 <= lost <= 4  # one pair at each border that is not one of documents


def test_of_much_text_an_even_sample_is_counted(monkeypatch):
    monkeypatch.setattr(counted_words, "_TOKENS_AT_ONCE", 10)
    monkeypatch.setattr(counted_words, "MOST_TOKENS", 30)
    shards = [make_shard(np.full(50, number)) for number in range(2)]
    after, _, _ = counted_words.count_neighbors(shards, 2)
    assert after.tolist() == [[2 * 9, 0], [0, 1 * 9]]  # of parts 0 to 9, 0, 4 and 8


def test_information_is_how_much_more_often_neighbors_meet_than_by_chance():
    counts = np.array([[8.0, 2.0, 0.0], [1.0, 4.0, 5.0], [0.0, 0.0, 0.0]])
    shares = counts.sum(axis=0) ** 0.75 / np.sum(counts.sum(axis=0) ** 0.75)
    expected = np.zeros((3, 3))
    for row in range(2):
        for column in range(3):
            if counts[row, column]:
                share = counts[row, column] / counts[row].sum()
                expected[row, column] = max(0, np.log(share / shares[column]))
    np.testing.assert_allclose(
        counted_words.as_information(counts.astype(np.float32)), expected, rtol=1e-5, atol=1e-6
    )


def test_vectors_are_those_of_the_largest_singular_values():
    rng = np.random.default_rng(0)
    matrix = (rng.standard_normal((60, 12)) @ rng.standard_normal((12, 90))).astype(np.float32)
    matrix[7] = 0  # a piece without neighbors
    vectors = counted_words.factorize(matrix, 8)
    left, values, _ = np.linalg.svd(matrix, full_matrices=False)
    expected = left[:, :8] * np.sqrt(values[:8])
    expected /= np.maximum(np.linalg.norm(expected, axis=1, keepdims=True), 1e-9)
    assert not vectors[7].any()
    expected[7] = 0
    # The sign of each singular vector is nobody's choice: angles between pieces are the vectors'.
    np.testing.assert_allclose(vectors @ vectors.T, expected @ expected.T, atol=1e-4)


@pytest.mark.parametrize("size", [4, 16])
def test_pieces_with_the_same_neighbors_are_alike(size):
    rng = np.random.default_rng(0)
    # Pieces 0 to 3 and 4 to 7 are two kinds, and each kind stands between pieces of its own.
    kinds = rng.integers(0, 2, 4000)
    middle = 4 * kinds + rng.integers(0, 4, 4000)
    around = 8 + 4 * kinds + rng.integers(0, 4, 4000)
    text = np.stack([around, middle, around], axis=1).ravel()
    vectors = counted_words.make_vectors([make_shard(text)], 17, size)
    likeness = vectors @ vectors.T
    np.testing.assert_allclose(np.diag(likeness)[:16], 1, rtol=1e-5)
    assert not vectors[16].any()  # is not in the text
    assert likeness[:4, :4].min() > 0.8 and likeness[4:8, 4:8].min() > 0.8
    assert likeness[:4, 4:8].max() < 0.5
