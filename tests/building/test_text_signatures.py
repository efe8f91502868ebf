"""Signatures of texts, against the similarity of the sets of their runs of words."""

import numpy as np
import pytest

from albert_tf.pipelines.building import text_signatures

# Ids from 50 on start a word, those below go on with one.
WORD_START = np.arange(5000) >= 50


def sign(documents):
    counts = np.array([len(document) for document in documents], np.int64)
    ids = np.concatenate([*documents, np.empty(0, np.int32)])
    return text_signatures.sign_documents(ids.astype(np.int32), counts, WORD_START)


def estimate(first, second):
    first, second = sign([first, second])
    return (first == second).mean()


def runs_of(document):
    """Returns the runs of three words of a document whose every piece is a word."""
    return {tuple(document[n : n + 3].tolist()) for n in range(len(document) - 2)}


def change_words(document, rng, every):
    changed = document.copy()
    places = rng.choice(len(document), len(document) // every, replace=False)
    changed[places] = rng.integers(50, 5000, len(places))
    return changed


@pytest.mark.parametrize("every", [3, 10, 20, 100])
def test_common_share_of_signatures_estimates_that_of_runs(every):
    rng = np.random.default_rng(every)
    differences = []
    for _ in range(30):
        document = rng.integers(50, 5000, 400)
        changed = change_words(document, rng, every)
        first, second = runs_of(document), runs_of(changed)
        exact = len(first & second) / len(first | second)
        differences.append(estimate(document, changed) - exact)
    # One estimate from 125 values is off by at most 0.045 (standard deviation).
    assert abs(np.mean(differences)) < 0.025
    assert np.std(differences) < 0.065


def test_signature_knows_only_the_words_of_its_document():
    rng = np.random.default_rng(0)
    documents = [rng.integers(0, 5000, length) for length in (1, 2, 3, 50, 400)]
    together = sign(documents)
    assert together.shape == (5, text_signatures.VALUES) and together.dtype == np.uint8
    for document, signature in zip(documents, together, strict=True):
        np.testing.assert_array_equal(sign([document])[0], signature)
    assert sign([]).shape == (0, text_signatures.VALUES)


def test_pieces_of_a_word_count_as_one_and_in_order():
    rng = np.random.default_rng(1)
    starts, ends = rng.integers(50, 5000, 200), rng.integers(0, 50, 200)
    pieces = np.stack([starts, ends, ends[::-1]], axis=1)
    swapped = pieces.copy()
    swapped[100, 1:] = pieces[100, :0:-1] + [0, 1]
    # 3 of 198 runs hold the word that changed, whatever the number of its pieces.
    assert 0.9 < estimate(pieces.ravel(), swapped.ravel()) < 1
    reversed_pieces = pieces[:, [0, 2, 1]]
    assert estimate(pieces.ravel(), reversed_pieces.ravel()) < 0.1


def test_near_copies_are_found_and_the_first_stays():
    rng = np.random.default_rng(2)
    originals = [rng.integers(50, 5000, rng.integers(100, 1000)) for _ in range(40)]
    copies = [change_words(document, rng, 20) for document in originals]
    signatures = sign([*originals, *copies])
    copied = text_signatures.find_copied(signatures)
    assert (copied[:40] == -1).all()
    found = copied[40:] == np.arange(40)
    assert found.sum() >= 38 and (copied[40:][~found] == -1).all()
    np.testing.assert_array_equal(text_signatures.find_copied(signatures[:40]), -1)


def test_what_is_like_a_dropped_document_alone_stays():
    rng = np.random.default_rng(3)
    first = rng.integers(50, 5000, 2000)
    second, third = first.copy(), first.copy()
    second[:250] = rng.integers(50, 5000, 250)
    third[:500] = rng.integers(50, 5000, 500)
    third[:250] = second[:250]
    copied = text_signatures.find_copied(sign([first, second, third]))
    assert copied.tolist() == [-1, 0, -1]


def test_many_equal_signatures_are_one_document():
    signatures = np.repeat(sign([np.arange(100, 200)]), 3000, axis=0)
    copied = text_signatures.find_copied(signatures)
    assert copied[0] == -1 and (copied[1:] == 0).all()
