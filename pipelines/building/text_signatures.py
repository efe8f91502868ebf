"""Signatures that are alike where texts are, so that near copies are found without comparing all.

D documents, T tokens, W words, S values of a signature.

A signature is a MinHash (Broder, "On the resemblance and containment of documents", 1997): of all
runs of a few words of a text, each run a number, the least one under each of S permutations. Two
signatures have a value in common with a probability that is the Jaccard similarity of the sets of
runs: of all the runs in either text, the share that is in both. Only texts with one whole band of
values in common are compared (Leskovec, Rajaraman and Ullman, "Mining of Massive Datasets", 3.4).
"""

import numpy as np

# Three words: two texts on one subject share few such runs, and one word changed in twenty leaves
# about three quarters of all runs of both texts in common; of five words, 0.6.
_RUN_WORDS = 3
# Texts of one length then share four fifths of their runs. It lies two standard deviations (of the
# estimate from 125 values, 0.04) below one word changed in twenty; at 0.8 most of such would stay.
SIMILARITY = 2 / 3
# Texts that alike share a band with a probability of 0.97, and those of 0.75 with 0.999; of 0.3
# with 0.06.
_BANDS = 25
_BAND_VALUES = 5
VALUES = _BANDS * _BAND_VALUES
# Pages of one form that are half alike stay, and without this each would be compared with each.
_MOST_IN_BUCKET = 30
_ODD = np.uint32(0x9E3779B1)


def _mix(numbers: np.ndarray) -> np.ndarray:
    """Returns uint32 numbers with every bit a function of all, one to one (MurmurHash3's end)."""
    numbers = numbers ^ (numbers >> np.uint32(16))
    numbers = numbers * np.uint32(0x85EBCA6B)
    numbers = numbers ^ (numbers >> np.uint32(13))
    numbers = numbers * np.uint32(0xC2B2AE35)
    return numbers ^ (numbers >> np.uint32(16))


# x -> factor * x + summand modulo 2**32 is one to one where the factor is odd.
_FACTORS = _mix(np.arange(1, VALUES + 1, dtype=np.uint32)) | np.uint32(1)
_SUMMANDS = _mix(np.arange(VALUES + 1, 2 * VALUES + 1, dtype=np.uint32))


def sign_documents(ids: np.ndarray, token_counts: np.ndarray, word_start: np.ndarray) -> np.ndarray:
    """Returns the signatures of documents, which depend on nothing but their words.

    Args:
        ids: int [T], of all documents end to end.
        token_counts: int64 [D], at least 1 each.
        word_start: bool [V]: whether a piece may start a word.

    Returns:
        uint8 [D, S].
    """
    if not len(token_counts):
        return np.empty((0, VALUES), np.uint8)
    words, word_counts = _hash_words(ids, token_counts, word_start)
    runs, run_counts = _hash_runs(words, word_counts)
    first_runs = np.cumsum(run_counts) - run_counts
    signatures = np.empty((len(token_counts), VALUES), np.uint8)
    permuted = np.empty_like(runs)
    for number, (factor, summand) in enumerate(zip(_FACTORS, _SUMMANDS, strict=True)):
        np.multiply(runs, factor, out=permuted)
        np.add(permuted, summand, out=permuted)
        least = np.minimum.reduceat(permuted, first_runs)
        # One byte of each is enough (Li and König, "b-Bit minwise hashing", 2010): 1 in 256 of
        # what differs looks the same, far less than the estimate is off by chance.
        signatures[:, number] = (least * _ODD) >> np.uint32(24)
    return signatures


def _hash_words(
    ids: np.ndarray, token_counts: np.ndarray, word_start: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns uint32 [W], equal for equal words, and int64 [D], the words of each document."""
    first_tokens = np.cumsum(token_counts) - token_counts
    starts = word_start[ids]
    starts[first_tokens] = True
    begin = np.flatnonzero(starts)
    lengths = np.diff(begin, append=len(ids))
    place = np.arange(len(ids)) - np.repeat(begin, lengths)
    weights = np.multiply.accumulate(np.full(lengths.max(), _ODD, np.uint32), dtype=np.uint32)
    pieces = _mix(ids.astype(np.uint32) + np.uint32(1)) * weights[place]
    words = np.add.reduceat(pieces, begin, dtype=np.uint32)
    return words, np.add.reduceat(starts, first_tokens, dtype=np.int64)


def _hash_runs(words: np.ndarray, word_counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns a uint32 for each run of words, and int64 [D], the runs of each document.

    A document of fewer words is one run.
    """
    ends = np.cumsum(word_counts)
    end = np.repeat(ends, word_counts)
    numbers = np.arange(len(words))
    runs = words
    for offset in range(1, _RUN_WORDS):
        following = np.zeros_like(words)
        following[:-offset] = words[offset:]
        following[numbers + offset >= end] = 0
        runs = _mix(runs) + following
    run_counts = np.maximum(word_counts - (_RUN_WORDS - 1), 1)
    place = numbers - np.repeat(ends - word_counts, word_counts)
    return _mix(runs)[place < np.repeat(run_counts, word_counts)], run_counts


def find_copied(signatures: np.ndarray) -> np.ndarray:
    """Finds near copies: the first of them in order stays, and what is like one that stays goes.

    Args:
        signatures: uint8 [D, S], in reading order.

    Returns:
        int64 [D]: for each document the one that stays of which it is a near copy, or -1.
    """
    documents, buckets = _share_buckets(signatures)
    copied = np.full(len(signatures), -1)
    bounds = np.flatnonzero(np.diff(documents, prepend=-1, append=-1))
    staying: dict[int, list[int]] = {}
    for begin, end in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        document, own = int(documents[begin]), buckets[begin:end].tolist()
        earlier = sorted({other for bucket in own for other in staying.get(bucket, ())})
        if earlier:
            similarities = (signatures[earlier] == signatures[document]).mean(axis=1)
            best = int(similarities.argmax())
            if similarities[best] >= SIMILARITY:
                copied[document] = earlier[best]
                continue
        for bucket in own:
            others = staying.setdefault(bucket, [])
            if len(others) < _MOST_IN_BUCKET:
                others.append(document)
    return copied


def _share_buckets(signatures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns pairs of a document and a bucket: those of one bucket have one band in common.

    Documents ascend; what is alone in its bucket is left out.
    """
    documents, buckets = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    keys = np.zeros((len(signatures), 8), np.uint8)
    num_buckets = 0
    for band in range(_BANDS):
        keys[:, :_BAND_VALUES] = signatures[:, band * _BAND_VALUES : (band + 1) * _BAND_VALUES]
        _, bucket, sizes = np.unique(
            keys.view("<u8")[:, 0], return_inverse=True, return_counts=True
        )
        (shared,) = np.nonzero(sizes[bucket] > 1)
        documents.append(shared)
        buckets.append(bucket[shared] + num_buckets)
        num_buckets += len(sizes)
    documents, buckets = np.concatenate(documents), np.concatenate(buckets)
    order = np.argsort(documents, kind="stable")
    return documents[order], buckets[order]
