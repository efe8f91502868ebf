"""Documents that are there already are dropped: exact copies, and on request near ones.

The first in reading order stays. Whatever is dropped is counted by reason.
"""

import dataclasses
from typing import Any

import numpy as np
from absl import logging

from albert_tf.pipelines.building import text_signatures, tokenized_corpus
from albert_tf.pipelines.building.tokenized_corpus import DocumentTable
from albert_tf.pipelines.text import corpus

_MAX_EXAMPLES = 20


def drop_duplicates(
    work_dir: str,
    table: DocumentTable,
    places: np.ndarray,
    report: corpus.SkippedInput,
    kind: str,
) -> tuple[DocumentTable, np.ndarray, dict[str, Any]]:
    """Drops duplicates from a table.

    Args:
        work_dir, table, places: see `tokenized_corpus.load_table`; tokenized for this `kind`.
        report: receives the counts.
        kind: of `tokenized_corpus.DUPLICATES`, but not "none".

    Returns:
        The table and the places of what stays, and for summary.json {reason: {"documents",
        "tokens", "token_share", "examples"}}.
    """
    copies = {"exact duplicate": _find_same_hash(table.text_hashes)}
    if kind == "near":
        copies["near duplicate"] = _find_near(work_dir, places, copies["exact duplicate"])
    stays = np.ones(len(places), bool)
    facts = {}
    for reason, originals in copies.items():
        (dropped,) = np.nonzero(originals >= 0)
        stays[dropped] = False
        report.counts[reason] += len(dropped)
        tokens = int(table.token_counts[dropped].sum())
        share = tokens / max(int(table.token_counts.sum()), 1)
        facts[reason] = {
            "documents": len(dropped),
            "tokens": tokens,
            "token_share": round(share, 4),
            "examples": _describe_some(work_dir, places, dropped, originals),
        }
        logging.info("%d documents, %.1f%% of all tokens: %s", len(dropped), 100 * share, reason)
    columns = dataclasses.asdict(table)
    table = DocumentTable(**{name: values[stays] for name, values in columns.items()})
    return table, places[stays], facts


def _find_same_hash(text_hashes: np.ndarray) -> np.ndarray:
    """Returns for each document the first with the same text, if that is another one, or -1."""
    _, first, inverse = np.unique(text_hashes, return_index=True, return_inverse=True)
    originals = first[inverse]
    return np.where(originals < np.arange(len(text_hashes)), originals, -1)


def _find_near(work_dir: str, places: np.ndarray, same_hash: np.ndarray) -> np.ndarray:
    """Returns for each document one that stays and is nearly the same, or -1."""
    different = same_hash < 0
    signatures = tokenized_corpus.load_signatures(work_dir, places, different)
    copied = text_signatures.find_copied(signatures)
    (numbers,) = np.nonzero(different)
    originals = np.full(len(places), -1)
    originals[different] = np.where(copied < 0, -1, numbers[copied])
    return originals


def _describe_some(
    work_dir: str, places: np.ndarray, dropped: np.ndarray, originals: np.ndarray
) -> list[dict[str, str]]:
    """Returns where the first few dropped documents begin, and those that stay for them."""
    dropped = dropped[:_MAX_EXAMPLES]
    wanted = np.zeros(len(places), bool)
    wanted[dropped] = wanted[originals[dropped]] = True
    sources = tokenized_corpus.load_sources(work_dir, places, wanted)
    sources = dict(zip(np.flatnonzero(wanted).tolist(), sources, strict=True))
    return [
        {"dropped": sources[document], "kept": sources[original]}
        for document, original in zip(dropped.tolist(), originals[dropped].tolist(), strict=True)
    ]
