"""The records of a pretraining run: found, compared with their summary, and named when damaged."""

import contextlib
import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import tensorflow as tf

from albert_tf import json_files
from albert_tf.config import AlbertConfig
from albert_tf.pipelines.building import example_summary
from albert_tf.pipelines.examples import record_files
from albert_tf.pipelines.examples.pretraining_dataset import pretraining_dataset
from albert_tf.pretraining.settings import DataSettings

# What TensorFlow raises while it reads records, without a word about the file.
_DATA_ERRORS = (
    tf.errors.DataLossError,
    tf.errors.FailedPreconditionError,
    tf.errors.InvalidArgumentError,
    tf.errors.NotFoundError,
    tf.errors.PermissionDeniedError,
)


@dataclasses.dataclass(frozen=True)
class RunRecords:
    """The record files of a run, its vocabulary, and what the first record says of all."""

    train: list[str]
    held_out: dict[str, list[str]]
    vocab_model: str
    vocab_fingerprint: str | None  # of the vocabulary that made the records, where it is known
    max_seq_length: int
    max_predictions_per_seq: int
    train_examples: int
    held_out_examples: dict[str, int]

    def describe(self) -> dict[str, Any]:
        """Returns what defines the data of the run, but for the vocabulary."""
        return {"records": _fingerprint(self.train)}

    def training_batches(
        self, batch_size: int, seed: int, start_example: int, rows: Any, vocab_size: int
    ) -> tf.data.Dataset:
        """Returns training batches without end; of each the examples that `rows` names."""
        return pretraining_dataset(
            self.train,
            batch_size,
            self.max_seq_length,
            self.max_predictions_per_seq,
            seed=seed,
            start_example=start_example,
            num_examples=self.train_examples,
            vocab_size=vocab_size,
            rows=rows,
            check_files=False,
        )

    def sample_batches(self, batch_size: int, vocab_size: int | None) -> tf.data.Dataset:
        """Returns batches of the training data, for counting words in some of them."""
        return pretraining_dataset(
            self.train,
            batch_size,
            self.max_seq_length,
            self.max_predictions_per_seq,
            repeat=False,
            vocab_size=vocab_size,
            num_examples=self.train_examples,
            check_files=False,
        )

    def held_out_batches(self, batch_size: int, vocab_size: int) -> dict[str, tf.data.Dataset]:
        """Returns {split: its batches in their order}."""
        return {
            name: pretraining_dataset(
                files,
                batch_size,
                self.max_seq_length,
                self.max_predictions_per_seq,
                shuffle=False,
                repeat=False,
                vocab_size=vocab_size,
                num_examples=self.held_out_examples[name],
                check_files=False,
            )
            for name, files in self.held_out.items()
        }

    def check_word_ids(self, config: AlbertConfig) -> None:
        """Refuses records of another vocabulary as far as their first examples tell."""
        for batch in self.sample_batches(512, None).take(1).as_numpy_iterator():
            largest = max(batch["input_ids"].max(), batch["masked_lm_ids"].max())
            if largest >= config.vocab_size:
                raise ValueError(
                    f"the records must be made with the vocabulary {self.vocab_model} of "
                    f"{config.vocab_size} pieces. Received: a word id of {largest} in "
                    f"{self.train[0]} or a file beside it"
                )

    @contextlib.contextmanager
    def errors_named(self, vocab_size: int) -> Iterator[None]:
        """Turns what TensorFlow says of damaged data into one sentence with file and record.

        Args:
            vocab_size: which ids must be below.

        Raises:
            ValueError: in place of such an error.
        """
        try:
            yield
        except _DATA_ERRORS as error:
            files = [*self.train, *(file for files in self.held_out.values() for file in files)]
            damage = record_files.locate_corruption(
                files, self.max_seq_length, self.max_predictions_per_seq, vocab_size
            )
            if damage is None:
                raise
            raise ValueError(
                f"{damage}. What was trained until then is kept: with the file restored, the same "
                "command goes on"
            ) from error


def find(settings: DataSettings) -> RunRecords:
    """Returns the records that settings name.

    Raises:
        ValueError: for files that are missing, cut off, or not those of the folder's summary.
    """
    if settings.data_dir:
        summary_path = pathlib.Path(settings.data_dir) / example_summary.SUMMARY_FILE
        if not summary_path.is_file():
            raise ValueError(
                f"`data_dir` must hold what build_pretraining_data leaves when it is done. "
                f"Received: {settings.data_dir} without summary.json"
            )
        summary = json_files.read_object(summary_path, {"vocab_fingerprint": str})
        example_summary.check_record_files(settings.data_dir, summary)
        train = record_files.list_record_files(f"{settings.data_dir}/train-*.tfrecord*")
        vocab_model = f"{settings.data_dir}/vocab.model"
        fingerprint = summary["vocab_fingerprint"]
        held_out = {
            name: record_files.list_record_files(f"{settings.data_dir}/{name}-*.tfrecord*")
            for name in ("held_out", "held_out_single")
            if list(pathlib.Path(settings.data_dir).glob(f"{name}-*.tfrecord*"))
        }
    else:
        train = record_files.list_record_files(settings.input)
        vocab_model, fingerprint, summary = settings.vocab_model, None, {}
        held_out = {}
        if settings.held_out:
            held_out["held_out"] = record_files.list_record_files(settings.held_out)
    overlap = set(train).intersection(*held_out.values()) if held_out else set()
    if overlap:
        raise ValueError(f"`held_out` must not name training files. Received: {sorted(overlap)}")
    length, predictions = record_files.record_sizes(train)
    counts = {name: _count(files, summary, name) for name, files in held_out.items()}
    if not _sizes_are_known(summary):
        for file in [*train, *(file for files in held_out.values() for file in files)]:
            record_files.check_record_file(file, length, predictions)
    return RunRecords(
        train=train,
        held_out=held_out,
        vocab_model=vocab_model,
        vocab_fingerprint=fingerprint,
        max_seq_length=length,
        max_predictions_per_seq=predictions,
        train_examples=_count(train, summary, "train"),
        held_out_examples=counts,
    )


def _sizes_are_known(summary: Mapping[str, Any]) -> bool:
    """Returns whether a build has noted the size of each of its files, which was compared."""
    return isinstance(summary.get("record_bytes"), dict)


def _count(files: Sequence[str], summary: Mapping[str, Any], name: str) -> int:
    """Returns how many examples some files hold; of a build whose files are known it says so.

    Raises:
        ValueError: where a summary without sizes says another number.
    """
    known = summary.get(f"{name}_examples")
    if known is not None and _sizes_are_known(summary):
        return known
    count = record_files.count_examples(files)
    if count != (known or count):
        raise ValueError(
            f"{os.path.dirname(files[0])} must hold the {known} examples that "
            f"{example_summary.SUMMARY_FILE} counts as {name}. Received: {count} in {len(files)} "
            "files"
        )
    return count


def _fingerprint(files: Sequence[str]) -> str:
    """Returns a digest of names, sizes and first bytes: quick, and tells two builds apart."""
    digest = hashlib.sha256()
    for name in files:
        digest.update(f"{os.path.basename(name)} {os.path.getsize(name)}\n".encode())
        with open(name, "rb") as file:
            digest.update(file.read(4096))
    return digest.hexdigest()
