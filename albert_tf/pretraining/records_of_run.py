"""The records of a pretraining run: found, compared with their summary, and named when damaged."""

import contextlib
import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import tensorflow as tf

from albert_tf import json_files
from albert_tf.config import AlbertConfig
from albert_tf.pipelines.building import example_summary
from albert_tf.pipelines.examples import record_files
from albert_tf.pipelines.examples.pretraining_dataset import pretraining_dataset
from albert_tf.pretraining.settings import DataSettings

_HELD_OUT = ("held_out", "held_out_single")

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
    """The record files of a run, its vocabulary, and what the first record says of all.

    Attributes:
        left_out: names of training files that are damaged.
        losses: lines that say why they are left out, and how much is lost.
    """

    train: list[str]
    held_out: dict[str, list[str]]
    vocab_model: str
    vocab_fingerprint: str | None  # of the vocabulary that made the records, where it is known
    max_seq_length: int
    max_predictions_per_seq: int
    train_examples: int
    held_out_examples: dict[str, int]
    left_out: list[str]
    losses: list[str]

    def count_examples(self) -> int:
        """Returns the examples of a pass."""
        return self.train_examples

    def describe_examples(self) -> str:
        """Returns what a pass has to train on, in words."""
        return f"{self.train_examples:,} training examples of {self.max_seq_length} tokens"

    def describe(self) -> dict[str, Any]:
        """Returns what defines the data of the run, but for the vocabulary."""
        left_out = {"left_out": self.left_out} if self.left_out else {}
        return {"records": _fingerprint(self.train), **left_out}

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
                "command goes on. inspect_records --verify names all that is damaged"
            ) from error


def find(settings: DataSettings) -> RunRecords:
    """Returns the records that settings name.

    Raises:
        ValueError: for files that are missing, cut off, or not those of the folder's summary; with
            `skip_damaged`, for such training files only where no other is left.
    """
    damage = {}
    if settings.data_dir:
        summary = _read_summary(settings.data_dir)
        if settings.skip_damaged:
            damage = example_summary.find_wrong_files(settings.data_dir, summary)
            damage = {path: why for path, why in damage.items() if _kind_of(path) == "train"}
        example_summary.check_record_files(settings.data_dir, summary, left_out=damage)
        vocab_model, fingerprint = f"{settings.data_dir}/vocab.model", summary["vocab_fingerprint"]
        train = _list_kind(settings.data_dir, "train", damage)
        held_out = {name: _list_kind(settings.data_dir, name) for name in _HELD_OUT}
    else:
        vocab_model, fingerprint, summary = settings.vocab_model, None, {}
        train = record_files.list_record_files(settings.input)
        held_out = {}
        if settings.held_out:
            held_out["held_out"] = record_files.list_record_files(settings.held_out)
    held_out = {name: files for name, files in held_out.items() if files}
    same = set(map(os.path.realpath, train))
    overlap = {
        file for files in held_out.values() for file in files if os.path.realpath(file) in same
    }
    if overlap:
        raise ValueError(f"`held_out` must not name training files. Received: {sorted(overlap)}")
    losses = []
    if settings.skip_damaged:
        known_examples = summary.get("train_examples")
        counted, more_damage = _count_whole(train)
        damage |= more_damage
        losses = _describe_losses(damage, counted, known_examples)
        train, summary = list(counted), {**summary, "train_examples": sum(counted.values())}
    length, predictions = record_files.record_sizes(train)
    counts = {name: _count(files, summary, name) for name, files in held_out.items()}
    # Documents may be too short for an example.
    held_out = {name: files for name, files in held_out.items() if counts[name]}
    counts = {name: counts[name] for name in held_out}
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
        left_out=sorted(map(os.path.basename, damage)),
        losses=losses,
    )


def check_is_built(data_dir: str) -> None:
    """Refuses a folder in which no build has ended."""
    if not (pathlib.Path(data_dir) / example_summary.SUMMARY_FILE).is_file():
        raise ValueError(
            f"`data_dir` must hold what build_pretraining_data leaves when it is done. Received: "
            f"{data_dir} without {example_summary.SUMMARY_FILE}"
        )


def _read_summary(data_dir: str) -> dict[str, Any]:
    path = pathlib.Path(data_dir) / example_summary.SUMMARY_FILE
    return json_files.read_object(path, {"vocab_fingerprint": str})


def _kind_of(path: str) -> str:
    return os.path.basename(path).partition("-")[0]


def _list_kind(data_dir: str, kind: str, left_out: Collection[str] = ()) -> list[str]:
    """Returns the record files of a kind, but for some; none if there is none."""
    names = {os.path.basename(path) for path in left_out}
    paths = record_files.find_record_files(data_dir, kind)
    paths = [str(path) for path in paths if path.name not in names]
    return record_files.list_record_files(paths) if paths else []


def _count_whole(files: Sequence[str]) -> tuple[dict[str, int], dict[str, str]]:
    """Returns {file: its examples} and, of those that are cut off or unreadable, {file: why}."""
    counts, damage = {}, {}
    for file in files:
        try:
            count = record_files.count_examples(file)
            if count:
                record_files.record_sizes(file)
            counts[file] = count
        except ValueError as error:
            damage[file] = str(error)
        except OSError as error:  # a disk that cannot read it says so without its name
            damage[file] = f"{file} cannot be read: {error.strerror}"
    return counts, damage


def _describe_losses(
    damage: Mapping[str, str], counts: Mapping[str, int], known_examples: int | None
) -> list[str]:
    """Returns a line for each file that is left out, and one for what is lost in all.

    Raises:
        ValueError: if nothing is left.
    """
    lines = [f"left out: {why}" for why in damage.values()]
    left = sum(counts.values())
    if damage and not left:
        raise ValueError(f"`skip_damaged` must leave examples to train on. Received: {lines[0]}")
    if damage:
        files = f"{len(damage):,} of {len(damage) + len(counts):,} training files are left out"
        lost = f"{left:,} examples remain"
        if known_examples:
            count = known_examples - left
            lost += f", {count:,} of {known_examples:,} ({count / known_examples:.1%}) are lost"
        lines.append(f"{files}: {lost}")
    return lines


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
