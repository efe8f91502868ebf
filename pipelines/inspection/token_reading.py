"""Reading stored tokens for what they hold: sizes, checksums, ids, and where sentences end.

T tokens, S sentences, D documents of a shard; V vocabulary. NumPy only.
"""

import dataclasses
import os
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np

from albert_tf import json_files
from albert_tf.pipelines.building.progress import Progress
from albert_tf.pipelines.examples import token_files
from albert_tf.pipelines.examples.example_settings import ExampleSettings
from albert_tf.pipelines.examples.fresh_examples import FreshExamples
from albert_tf.pipelines.examples.token_files import TokenFolder, TokenShard, shard_files
from albert_tf.pipelines.inspection import example_statistics
from albert_tf.pipelines.inspection.example_statistics import ExampleStatistics

_SAMPLE_EXAMPLES = 20_000
_BATCH_EXAMPLES = 512
_IDS_AT_A_TIME = 1 << 24
_COUNTS = ("tokens", "sentences", "documents")
_NEEDED = {
    "token_files": dict,
    "file_bytes": dict,
    "file_checksums": dict,
    "vocab_size": int,
    **dict.fromkeys(_COUNTS, int),
}


@dataclasses.dataclass(frozen=True)
class TokenFigures:
    """What the shards of one kind hold."""

    shards: int
    size_bytes: int
    documents: int
    sentences: int
    tokens: int


def count_shards(folder: TokenFolder, kind: str) -> TokenFigures:
    """Returns the figures of "train" or "held_out"; no id is read for them."""
    names = folder.summary["token_files"].get(kind, [])
    shards = folder.shards(kind)
    files = [file for name in names for file in shard_files(name)]
    return TokenFigures(
        shards=len(names),
        size_bytes=sum(folder.summary["file_bytes"][file] for file in files),
        documents=sum(len(shard.documents) for shard in shards),
        sentences=sum(len(shard.sentences) for shard in shards),
        tokens=sum(len(shard.ids) for shard in shards),
    )


def sample_examples(
    folder: TokenFolder, settings: ExampleSettings, seed: int
) -> tuple[FreshExamples, ExampleStatistics]:
    """Returns the examples that a run would make, and the statistics of the first of them."""
    settings = settings.with_predictions()
    examples = FreshExamples.from_folder(folder, settings, seed)
    total = ExampleStatistics(lengths=np.zeros(settings.max_seq_length + 1, np.int64))
    count = min(_SAMPLE_EXAMPLES, examples.num_examples)
    pieces = folder.pieces
    for first in range(0, count, _BATCH_EXAMPLES):
        batch = examples.batch(np.arange(first, min(first + _BATCH_EXAMPLES, count)))
        ids = batch["input_ids"].copy()
        rows, slots = np.nonzero(batch["masked_lm_weights"] > 0)
        ids[rows, batch["masked_lm_positions"][rows, slots]] = batch["masked_lm_ids"][rows, slots]
        batch["token_boundary"] = pieces.word_start[ids]
        total.add(example_statistics.count_examples(batch, pieces.mask_id))
    return examples, total


def find_damage(folder: str, is_thorough: bool) -> dict[str, str]:
    """Returns {path: what is wrong} of all files of a folder.

    Args:
        folder: of stored tokens.
        is_thorough: whether to compare checksums and look at every value, beside sizes.

    Raises:
        ValueError: if the summary itself cannot be read.
    """
    summary = json_files.read_object(os.path.join(folder, token_files.SUMMARY_FILE), _NEEDED)
    wrong_sizes = token_files.find_wrong_files(folder, summary)
    damage = {os.path.join(folder, name): problem for name, problem in wrong_sizes.items()}
    if is_thorough:
        damage |= _compare_checksums(folder, summary, wrong_sizes)
        shards = [name for names in summary["token_files"].values() for name in names]
        counts = np.zeros(len(_COUNTS), np.int64)
        for name in shards:
            if wrong_sizes.keys().isdisjoint(shard_files(name)):
                counts += _check_shard(folder, name, summary["vocab_size"], damage)
        if not damage:
            damage = _compare_counts(folder, summary, counts)
    return damage


def _compare_checksums(
    folder: str, summary: dict[str, Any], left_out: Collection[str]
) -> dict[str, str]:
    damage, sizes = {}, summary["file_bytes"]
    total = sum(sizes.values()) / 1e6
    with Progress("reading", total, counted="files", begins_with_a_line=False) as progress:
        for name, checksum in summary["file_checksums"].items():
            path = os.path.join(folder, name)
            if name not in left_out and (there := token_files.describe_file(path)[1]) != checksum:
                damage[path] = f"{path} must have the checksum {checksum}. Received: {there}"
            progress.advance(sizes.get(name, 0) / 1e6, 1)
    return damage


def _check_shard(
    folder: str, name: str, vocab_size: int, damage: dict[str, str]
) -> tuple[int, int, int]:
    """Adds what is wrong with the values of a shard to `damage`; returns (T, S, D)."""
    try:
        shard = token_files.open_shard(folder, name)
    except ValueError as error:
        if not any(os.path.join(folder, file) in damage for file in shard_files(name)):
            damage[name] = str(error)
        return 0, 0, 0
    for array, problem in _find_wrong_values(shard, vocab_size):
        path = os.path.join(folder, f"{name}.{array}.npy")
        already = f"{damage[path]}; it" if path in damage else path
        damage[path] = f"{already} must hold {problem}"
    return len(shard.ids), len(shard.sentences), len(shard.documents)


def _compare_counts(folder: str, summary: dict[str, Any], counts: np.ndarray) -> dict[str, str]:
    return {
        name: f"{folder} must hold the {summary[name]:,} {name} that {token_files.SUMMARY_FILE} "
        f"counts. Received: {count:,}"
        for name, count in zip(_COUNTS, counts.tolist(), strict=True)
        if count != summary[name]
    }


def _find_wrong_values(shard: TokenShard, vocab_size: int) -> Iterator[tuple[str, str]]:
    """Yields the name of an array, what it must hold, and what it holds."""
    for array in token_files.ARRAYS:
        values = getattr(shard, array)
        if values.ndim != 1 or values.dtype.kind not in "iu":
            yield array, f"a row of integers. Received: {values.dtype} {list(values.shape)}"
            return
    for first in range(0, len(shard.ids), _IDS_AT_A_TIME):
        ids = shard.ids[first : first + _IDS_AT_A_TIME]
        wrong = np.flatnonzero((ids < 0) | (ids >= vocab_size))
        if len(wrong):
            found = f"{ids[wrong[0]]} at {first + wrong[0]:,}"
            yield "ids", f"ids in [0, {vocab_size}). Received: {found}"
            break
    yield from token_files.find_wrong_ends(shard)
