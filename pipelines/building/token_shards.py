"""Shards of stored tokens: documents -> files of `token_files`, with size and checksum of each."""

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from albert_tf import json_files, whole_files
from albert_tf.pipelines.building import example_options, tokenized_corpus
from albert_tf.pipelines.examples import token_files
from albert_tf.pipelines.text import corpus


@dataclasses.dataclass(frozen=True)
class TokenShardTask:
    """What a worker needs to store one shard.

    Attributes:
        places: int64 [documents, 5], see `tokenized_corpus.read_documents`.
        name: of the shard.
        folder: where it is stored.
        vocab_size: V.
        work_dir: where the tokenized documents lie, and where the checksums go.
    """

    places: np.ndarray
    name: str
    folder: str
    vocab_size: int
    work_dir: str

    @property
    def cost(self) -> int:
        """Tokens to write."""
        return int(self.places[:, 2].sum())

    def is_done(self) -> bool:
        """Returns whether every file of the shard is complete."""
        paths = [os.path.join(self.folder, file) for file in token_files.shard_files(self.name)]
        return os.path.exists(self._facts_file) and all(map(os.path.exists, paths))

    @property
    def _facts_file(self) -> str:
        return os.path.join(self.work_dir, f"{self.name}.files.json")

    def facts(self) -> dict[str, list]:
        """Returns {file: [bytes, BLAKE2b-128 in hexadecimal]}."""
        return json_files.read_object(self._facts_file)

    def write(self, advance: Callable[[float], None]) -> None:
        """Stores the shard.

        Args:
            advance: called with growing shares of the work, 1.0 in all.
        """
        ids, documents = tokenized_corpus.read_documents(
            self.work_dir, self.places, self.vocab_size
        )
        token_files.write_shard(self.folder, self.name, ids, documents, self.vocab_size)
        names = token_files.shard_files(self.name)
        facts = {name: token_files.describe_file(os.path.join(self.folder, name)) for name in names}
        whole_files.write_json(self._facts_file, facts)
        advance(1.0)


def read_finished_summary(output_dir: str) -> dict[str, Any] | None:
    """Returns the summary of a complete folder, or None where a file is missing.

    Raises:
        ValueError: a file has another size than the one that was built.
    """
    path = os.path.join(output_dir, token_files.SUMMARY_FILE)
    if not os.path.exists(path):
        return None
    names = json_files.read_object(path, {"file_bytes": dict})["file_bytes"]
    if not all(os.path.exists(os.path.join(output_dir, name)) for name in names):
        return None
    return token_files.TokenFolder(output_dir).summary


def summarize(
    options: example_options.BuildOptions,
    vocabulary: example_options.VocabularyFacts,
    table: tokenized_corpus.DocumentTable,
    held_out: np.ndarray,
    shards: Mapping[str, Sequence[TokenShardTask]],
    report: corpus.SkippedInput,
) -> dict[str, Any]:
    """Returns the content of summary.json; arguments as of `example_summary.summarize`."""
    special = token_files.write_word_starts(options.output_dir, vocabulary.pieces)
    facts = {}
    for shard in (shard for kind in shards.values() for shard in kind):
        facts |= shard.facts()
    size = sum(size for size, _ in facts.values())  # of the tokens alone
    for name in (token_files.WORD_STARTS_FILE, "vocab.model"):
        facts[name] = token_files.describe_file(os.path.join(options.output_dir, name))
    tokens = int(table.token_counts.sum())
    return {
        "format": token_files.FORMAT,
        "documents": len(held_out),
        "held_out_documents": int(held_out.sum()),
        "sentences": int(table.sentence_counts.sum()),
        "tokens": tokens,
        "held_out_tokens": int(table.token_counts[held_out].sum()),
        "text_bytes": int(table.text_bytes.sum()),
        "bytes_per_token": round(size / max(tokens, 1), 3),
        "vocab_size": vocabulary.pieces.vocab_size,
        "vocab_fingerprint": vocabulary.fingerprint,
        "special_pieces": special,
        "token_files": {kind: [shard.name for shard in shards[kind]] for kind in shards},
        "file_bytes": {name: size for name, (size, _) in sorted(facts.items())},
        "file_checksums": {name: checksum for name, (_, checksum) in sorted(facts.items())},
        "seed": options.seed,
        "input": report.to_dict(),
        "flags": example_options.listed_flags(options),
    }
