"""Texts that stand in the training text: found by windows of N consecutive pieces.

Windows are compared by a 64-bit hash first, and piece by piece where two have the same. Windows of
the training text may reach from one document into the next; no text has such a one but by chance.

NumPy only. Letters: T training tokens, N pieces of a window, W windows of the texts, V vocabulary.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from albert_tf.pipelines.examples.token_files import TokenShard
from albert_tf.pipelines.task_data import line_files, tabular
from albert_tf.pipelines.task_data.input_problems import InputProblems
from albert_tf.pipelines.tokenizer.tokenization import Tokenizer

_TOKENS_AT_ONCE = 1 << 20
# Any odd factor that is 3 or 5 modulo 8: its powers are as many as there can be.
_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_SIEVE_BITS = 24
_LONGEST_NAME = 4  # of a column, in words


def encode_texts(
    path: str | os.PathLike, tokenizer: Tokenizer, report: Callable[[str], None]
) -> list[list[np.ndarray]]:
    """Returns the ids of the texts of each example of a file: a line, or all cells of a row.

    Labels and numbers are cells, too: they are too short to have a window.

    Args:
        path: `.txt`, or a table as of `tabular.read_rows`.
        tokenizer: of the training text.
        report: takes what is to be known of rows that cannot be read, which are left out.

    Raises:
        InputError: naming the file, if it is none of these.
    """
    path, problems = os.fspath(path), InputProblems(skip=True)
    if ".txt" in os.path.basename(path):
        examples = [[text] for _, text in line_files.read_lines(path, problems)]
    else:
        rows = [row for _, row in tabular.read_rows(path, problems)]
        examples = [list(_texts_in(part)) for row in rows for part in _parts_of_squad(row)]
        # CoLA's files have no header: what stands in its place is a sentence.
        names = list(rows[0]) if rows else []
        is_cola = len(names) == 4 and names[1] in ("0", "1")
        if is_cola and any(len(name.split()) > _LONGEST_NAME for name in names):
            examples.insert(0, names)
    for line in problems.notes():
        report(line)
    ids, ends = tokenizer.encode_flat([text for texts in examples for text in texts])
    parts = iter(np.split(ids, ends[1:-1]))
    return [[next(parts) for _ in texts] for texts in examples]


def _parts_of_squad(row: dict[str, Any]) -> list[Any]:
    """Returns the paragraphs, with their questions, of what is a whole file of SQuAD's."""
    articles = row["data"] if isinstance(row.get("data"), list) else []
    articles = [article for article in articles if isinstance(article, dict)]
    return [part for article in articles for part in article.get("paragraphs", ())] or [row]


def _texts_in(cell: Any) -> Iterator[str]:
    """Yields the texts of a row of JSON, those of its lists and objects, too."""
    if isinstance(cell, str):
        yield cell
    elif isinstance(cell, dict | list):
        for inner in cell.values() if isinstance(cell, dict) else cell:
            yield from _texts_in(inner)


def find_seen(
    examples: Sequence[Iterable[np.ndarray]],
    shards: Sequence[TokenShard],
    window: int,
    vocab_size: int,
    unknown_id: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns which examples have a window that stands in the training text, and which have any.

    Args:
        examples: of each the ids of its texts, int [...].
        shards: of the training text.
        window: N.
        vocab_size: V.
        unknown_id: of the piece for what the vocabulary lacks: a window with it tells nothing.

    Returns:
        bool [examples], bool [examples].
    """
    texts = [(number, text) for number, parts in enumerate(examples) for text in parts]
    texts = [(number, text) for number, text in texts if len(text) >= window]
    is_seen, has_window = np.zeros((2, len(examples)), bool)
    if not texts:
        return is_seen, has_window
    ids = np.concatenate([text for _, text in texts])
    lengths = np.array([len(text) for _, text in texts])
    # A window begins at each piece of a text but its last N - 1.
    left = np.repeat(np.cumsum(lengths), lengths) - np.arange(len(ids))
    unknown_before = np.concatenate([[0], np.cumsum(ids == unknown_id)])
    starts = np.nonzero(left >= window)[0]
    starts = starts[unknown_before[starts + window] == unknown_before[starts]]  # [W]
    owners = np.repeat([number for number, _ in texts], lengths)[starts]
    has_window[owners] = True
    if not len(starts):
        return is_seen, has_window
    table = np.random.default_rng(0).integers(0, 1 << 64, vocab_size, np.uint64)
    hashes, first, inverse = np.unique(
        _hash_windows(table[ids], window)[starts], return_index=True, return_inverse=True
    )
    is_found = np.zeros(len(hashes), bool)
    sieve = np.zeros(1 << _SIEVE_BITS, bool)  # almost all training text falls through
    sieve[_sieve_places(hashes)] = True
    for part in _parts(shards, window):
        of_part = _hash_windows(table[part], window)
        maybe = np.nonzero(sieve[_sieve_places(of_part)])[0]
        nearest = np.minimum(np.searchsorted(hashes, of_part[maybe]), len(hashes) - 1)
        is_same = hashes[nearest] == of_part[maybe]
        maybe, nearest = maybe[is_same], nearest[is_same]
        steps = np.arange(window)
        of_texts = ids[starts[first[nearest]][:, None] + steps]
        is_same = (part[maybe[:, None] + steps] == of_texts).all(axis=1)
        is_found[nearest[is_same]] = True
    is_seen[owners[is_found[inverse]]] = True
    return is_seen, has_window


def _parts(shards: Sequence[TokenShard], window: int) -> Iterator[np.ndarray]:
    """Yields int64 ids of parts that overlap so that every window lies in one."""
    for shard in shards:
        for start in range(0, len(shard.ids) - window + 1, _TOKENS_AT_ONCE):
            yield np.asarray(shard.ids[start : start + _TOKENS_AT_ONCE + window - 1], np.int64)


def _hash_windows(values: np.ndarray, window: int) -> np.ndarray:
    """Returns uint64 [T - N + 1]: the sum of value_k * factor^(N - 1 - k), modulo 2^64.

    Args:
        values: uint64 [T], random, one for each piece.
        window: N.
    """
    count = len(values) - window + 1
    hashes = np.zeros(count, np.uint64)
    for step in range(window):
        hashes *= _FACTOR
        hashes += values[step : step + count]
    return hashes


def _sieve_places(hashes: np.ndarray) -> np.ndarray:
    return hashes >> np.uint64(64 - _SIEVE_BITS)  # the upper bits are the best mixed
