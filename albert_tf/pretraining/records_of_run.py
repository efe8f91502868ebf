"""The records of a pretraining run: found, compared with their summary, and named when damaged."""

import contextlib
import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Iterator

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


def check_word_ids(data: RunRecords, config: AlbertConfig) -> None:
    """Refuses records of another vocabulary as far as their first examples tell."""
    dataset = pretraining_dataset(
        data.train, 512, data.max_seq_length, data.max_predictions_per_seq, repeat=False
    )
    for batch in dataset.take(1).as_numpy_iterator():
        largest = max(batch["input_ids"].max(), batch["masked_lm_ids"].max())
        if largest >= config.vocab_size:
            raise ValueError(
                f"the records must be made with the vocabulary {data.vocab_model} of "
                f"{config.vocab_size} pieces. Received: a word id of {largest} in {data.train[0]} "
                "or a file beside it"
            )


def fingerprint(data: RunRecords) -> str:
    """Returns a digest of names, sizes and first bytes: quick, and tells two builds apart."""
    digest = hashlib.sha256()
    for name in data.train:
        digest.update(f"{os.path.basename(name)} {os.path.getsize(name)}\n".encode())
        with open(name, "rb") as file:
            digest.update(file.read(4096))
    return digest.hexdigest()


@contextlib.contextmanager
def errors_name_records(data: RunRecords, vocab_size: int) -> Iterator[None]:
    """Turns what TensorFlow says of damaged data into one sentence with the file and the record.

    Args:
        data: the records of the run.
        vocab_size: which their ids must be below.

    Raises:
        ValueError: in place of such an error.
    """
    try:
        yield
    except _DATA_ERRORS as error:
        files = [*data.train, *(file for files in data.held_out.values() for file in files)]
        damage = record_files.locate_corruption(
            files, data.max_seq_length, data.max_predictions_per_seq, vocab_size
        )
        if damage is None:
            raise
        raise ValueError(
            f"{damage}. What was trained until then is kept: with the file restored, the same "
            "command goes on"
        ) from error
