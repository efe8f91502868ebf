"""One shard: documents -> pairs -> masked sequences -> record files, and what was counted.

A shard is made from its documents and its own seed alone, so it comes out the same wherever and
whenever it is made.
"""

import dataclasses
import os
from collections.abc import Callable

import numpy as np

from albert_tf import quiet_tensorflow, whole_files
from albert_tf.pipelines.building import tokenized_corpus
from albert_tf.pipelines.examples import frozen_examples, masking, sentence_pairs


@dataclasses.dataclass(frozen=True)
class ShardOutput:
    """A record file of a shard: the same pairs may be written with different masks.

    Attributes:
        path: final name of the record file.
        rules: its masking.
    """

    path: str
    rules: masking.MaskingRules


@dataclasses.dataclass(frozen=True)
class Shard:
    """What a worker needs to make one shard.

    Attributes:
        places: int64 [documents, 5], see `tokenized_corpus.read_documents`.
        seed: the integers that seed this shard's generators.
        pair_rules, dupe_factor: how pairs are made, and how many times.
        outputs: the files to write.
        pieces: the vocabulary's table.
        work_dir: where the tokenized documents lie, and where counts go.
        compress: GZIP.
    """

    places: np.ndarray
    seed: tuple[int, ...]
    pair_rules: sentence_pairs.PairRules
    dupe_factor: int
    outputs: tuple[ShardOutput, ...]
    pieces: masking.PieceTable
    work_dir: str
    compress: bool

    @property
    def cost(self) -> int:
        """Tokens to write."""
        return int(self.places[:, 2].sum()) * self.dupe_factor

    def write(self, advance: Callable[[float], None]) -> None:
        """Writes the record files of the shard and their counts.

        Args:
            advance: called with growing shares of the work, 1.0 in all.
        """
        _write_shard(self, advance)

    def is_done(self) -> bool:
        """Returns whether every file of the shard is complete."""
        return all(
            os.path.exists(output.path) and os.path.exists(counts_file(self.work_dir, output.path))
            for output in self.outputs
        )


@dataclasses.dataclass
class ShardCounts:
    """What was counted while a record file was written; counts of several files add up.

    Attributes:
        examples, swapped, tokens, masked: numbers of examples, of those with label 1, of tokens
            that are not padding, and of prediction slots in use.
        ngrams: int64 [ngram + 1], masked n-grams by number of words.
        labels: int64 [V], how often each piece was to be guessed.
        split_sentences, skipped_sentences, random_document_pairs, cut_sentences: see
            `sentence_pairs.PairCounts`.
    """

    examples: int = 0
    swapped: int = 0
    tokens: int = 0
    masked: int = 0
    ngrams: np.ndarray | int = 0
    labels: np.ndarray | int = 0
    split_sentences: int = 0
    skipped_sentences: int = 0
    random_document_pairs: int = 0
    cut_sentences: int = 0

    def add(self, other: "ShardCounts") -> None:
        """Adds the counts of another file."""
        for field in dataclasses.fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))

    def save(self, path: str) -> None:
        """Writes the counts so that they appear only when complete."""
        with whole_files.whole_file(path, "wb") as file:
            np.savez(file, **dataclasses.asdict(self))

    @classmethod
    def load(cls, path: str) -> "ShardCounts":
        """Reads what `save` wrote."""
        with np.load(path) as saved:
            values = {name: saved[name] for name in saved.files}
        return cls(**{name: v if v.ndim else int(v) for name, v in values.items()})


def counts_file(work_dir: str, record_file: str) -> str:
    """Returns where the counts of a record file lie."""
    return os.path.join(work_dir, os.path.basename(record_file) + ".counts.npz")


def _write_shard(shard: Shard, advance: Callable[[float], None]) -> None:
    ids, documents = tokenized_corpus.read_documents(
        shard.work_dir, shard.places, shard.pieces.vocab_size
    )
    word_begins = shard.pieces.word_start[ids]
    pairs, pair_counts = frozen_examples.make_pairs(
        documents, word_begins, shard.pair_rules, shard.dupe_factor, shard.seed
    )
    for number in range(len(shard.outputs)):
        counts = _write_records(shard, number, ids, pairs, advance)
        for name, count in dataclasses.asdict(pair_counts).items():
            setattr(counts, name, count)
        counts.save(counts_file(shard.work_dir, shard.outputs[number].path))


def _write_records(
    shard: Shard,
    number: int,
    ids: np.ndarray,
    pairs: np.ndarray,
    advance: Callable[[float], None],
) -> ShardCounts:
    quiet_tensorflow.load_for_command()  # here, since the parent process does without
    from albert_tf.pipelines.examples import records

    output, vocab_size = shard.outputs[number], shard.pieces.vocab_size
    batches = frozen_examples.mask_pairs(
        ids,
        pairs,
        shard.pair_rules.max_seq_length,
        output.rules,
        shard.pieces,
        shard.seed,
        number,
    )
    total = ShardCounts(
        ngrams=np.zeros(output.rules.ngram + 1, np.int64), labels=np.zeros(vocab_size, np.int64)
    )
    with records.open_record_file(output.path, shard.compress) as writer:
        for batch, ngrams in batches:
            for example in records.serialize_batch(batch):
                writer.write(example)
            in_use = batch["masked_lm_weights"] > 0
            labels = np.bincount(batch["masked_lm_ids"][in_use], minlength=vocab_size)
            total.add(
                ShardCounts(
                    examples=len(batch["input_ids"]),
                    swapped=int(batch["sentence_order_label"].sum()),
                    tokens=int(batch["input_mask"].sum()),
                    masked=int(in_use.sum()),
                    ngrams=ngrams,
                    labels=labels,
                )
            )
            advance(len(batch["input_ids"]) / len(pairs) / len(shard.outputs))
    if not len(pairs):
        advance(1.0 / len(shard.outputs))
    return total
