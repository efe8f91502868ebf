"""The records of a pretraining run: found, compared with their summary, and named when damaged."""

import contextlib
import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Iterator, Sequence
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
        known_examples = summary.get("train_examples")
        held_out = {
            name: record_files.list_record_files(f"{settings.data_dir}/{name}-*.tfrecord*")
            for name in ("held_out", "held_out_single")
            if list(pathlib.Path(settings.data_dir).glob(f"{name}-*.tfrecord*"))
        }
    else:
        train = record_files.list_record_files(settings.input)
        vocab_model, fingerprint, known_examples = settings.vocab_model, None, None
        held_out = {}
        if settings.held_out:
            held_out["held_out"] = record_files.list_record_files(settings.held_out)
    overlap = set(train).intersection(*held_out.values()) if held_out else set()
    if overlap:
        raise ValueError(f"`held_out` must not name training files. Received: {sorted(overlap)}")
    length, predictions = record_files.record_sizes(train)
    train_examples = record_files.count_examples(train)
    if train_examples != (known_examples or train_examples):
        raise ValueError(
            f"{settings.data_dir} must hold the {known_examples} training examples that "
            f"{example_summary.SUMMARY_FILE} counts. Received: {train_examples} in {len(train)} "
            "files"
        )
    return RunRecords(
        train=train,
        held_out=held_out,
        vocab_model=vocab_model,
        vocab_fingerprint=fingerprint,
        max_seq_length=length,
        max_predictions_per_seq=predictions,
        train_examples=train_examples,
    )


def _fingerprint(files: Sequence[str]) -> str:
    """Returns a digest of names, sizes and first bytes: quick, and tells two builds apart."""
    digest = hashlib.sha256()
    for name in files:
        digest.update(f"{os.path.basename(name)} {os.path.getsize(name)}\n".encode())
        with open(name, "rb") as file:
            digest.update(file.read(4096))
    return digest.hexdigest()
