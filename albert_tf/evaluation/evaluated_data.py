"""What an evaluation reads of a folder that build_pretraining_data made, records or stored tokens.

V vocabulary.
"""

import contextlib
import dataclasses
import os
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import tensorflow as tf

from albert_tf import json_files
from albert_tf.evaluation import held_out
from albert_tf.pipelines.building import example_summary
from albert_tf.pipelines.examples import example_settings, record_files, token_dataset, token_files
from albert_tf.pipelines.examples.example_settings import ExampleSettings
from albert_tf.pipelines.examples.masking import PieceTable
from albert_tf.pipelines.examples.pretraining_dataset import pretraining_dataset
from albert_tf.pipelines.examples.token_files import TokenFolder, TokenShard
from albert_tf.pipelines.tokenizer.tokenization import Tokenizer

_SPLITS = ("held_out", "held_out_single")
# Of records, pieces are counted in so many training examples.
_COUNTED_EXAMPLES = 20_000
_TOKENS_AT_ONCE = 1 << 24
_RUN_FILE = "run.json"


@dataclasses.dataclass(frozen=True)
class EvaluatedData:
    """The data of an evaluation.

    Attributes:
        max_seq_length: of its examples.
        held_out: {split: batches}.
        piece_counts: int [V], how often each piece stands in the training text, or in a sample.
        train_shards: the training text where it is stored as tokens, else none.
        files: records, which are named where they turn out to be damaged.
        folder: stored tokens, likewise.
    """

    max_seq_length: int
    held_out: Mapping[str, tf.data.Dataset]
    piece_counts: np.ndarray
    train_shards: Sequence[TokenShard] = ()
    files: Sequence[str] = ()
    folder: TokenFolder | None = None

    @contextlib.contextmanager
    def errors_named(self) -> Iterator[None]:
        """Turns what is said of damaged data into one sentence with the file.

        Raises:
            ValueError: in place of such an error.
        """
        try:
            yield
        except (tf.errors.OpError, IndexError) as error:
            damage = None
            if self.folder:
                damage = self.folder.locate_damage()
            elif self.files:
                damage = record_files.locate_corruption(self.files)
            if damage is None:
                raise
            raise ValueError(damage) from error


def find_data(
    data_dir: str, batch_size: int, settings: ExampleSettings | None, tokenizer: Tokenizer
) -> EvaluatedData:
    """Returns the data of a folder.

    Args:
        data_dir: the folder.
        batch_size: of the held-out batches.
        settings: what examples of stored tokens are like.
        tokenizer: of the model, which must be that of the data.

    Raises:
        ValueError: for a folder that is not whole, of another vocabulary or without held-out
            documents.
    """
    path = pathlib.Path(data_dir) / example_summary.SUMMARY_FILE
    if not path.is_file():
        raise ValueError(
            "`data_dir` must hold what build_pretraining_data leaves when it is done. "
            f"Received: {data_dir} without {path.name}"
        )
    fingerprint = json_files.read_object(path, {"vocab_fingerprint": str})["vocab_fingerprint"]
    if fingerprint != tokenizer.fingerprint:
        raise ValueError(
            f"`data_dir` must be made with the vocabulary of the model, fingerprint "
            f"{tokenizer.fingerprint[:16]}. Received: {data_dir} of {fingerprint[:16]}"
        )
    if token_files.is_token_folder(data_dir):
        data = _of_tokens(data_dir, batch_size, settings, tokenizer)
    else:
        data = _of_records(data_dir, batch_size, tokenizer)
    if not data.held_out:
        raise ValueError(
            "`data_dir` must hold held-out documents (held_out_fraction of build_pretraining_data)"
            f". Received: {data_dir} with none"
        )
    return data


def _of_tokens(
    data_dir: str, batch_size: int, settings: ExampleSettings, tokenizer: Tokenizer
) -> EvaluatedData:
    folder = TokenFolder(data_dir)
    settings = example_settings.with_held_out_slots(settings.with_predictions())
    shards = folder.shards("train")
    parts = (
        shard.ids[start : start + _TOKENS_AT_ONCE]
        for shard in shards
        for start in range(0, len(shard.ids), _TOKENS_AT_ONCE)
    )
    return EvaluatedData(
        max_seq_length=settings.max_seq_length,
        held_out=token_dataset.held_out_datasets(folder, settings, batch_size),
        piece_counts=count_pieces(parts, PieceTable.from_tokenizer(tokenizer)),
        train_shards=shards,
        folder=folder,
    )


def _of_records(data_dir: str, batch_size: int, tokenizer: Tokenizer) -> EvaluatedData:
    summary = json_files.read_object(os.path.join(data_dir, example_summary.SUMMARY_FILE))
    example_summary.check_record_files(data_dir, summary)
    files = {}
    for kind in ("train", *_SPLITS):
        paths = record_files.find_record_files(data_dir, kind)
        paths = [path for path in paths if record_files.count_examples(path)]
        if paths:
            files[kind] = record_files.list_record_files(paths)
    if "train" not in files:
        raise ValueError(f"`data_dir` must hold training records. Received: {data_dir} with none")
    length, predictions = record_files.record_sizes(files["train"])

    def open_kind(kind: str, size: int, shuffle: bool) -> tf.data.Dataset:
        return pretraining_dataset(
            files[kind],
            size,
            length,
            predictions,
            shuffle=shuffle,
            repeat=False,
            vocab_size=tokenizer.vocab_size,
        )

    all_files = [file for of_kind in files.values() for file in of_kind]
    sample = open_kind("train", 512, True).take(_COUNTED_EXAMPLES // 512 + 1)
    data = EvaluatedData(
        max_seq_length=length,
        held_out={name: open_kind(name, batch_size, False) for name in _SPLITS if name in files},
        piece_counts=np.zeros(0),
        files=all_files,
    )
    with data.errors_named():
        parts = map(held_out.restore, sample.as_numpy_iterator())
        counts = count_pieces(parts, PieceTable.from_tokenizer(tokenizer))
    return dataclasses.replace(data, piece_counts=counts)


def count_pieces(parts: Iterable[np.ndarray], pieces: PieceTable) -> np.ndarray:
    """Returns int64 [V]: how often each piece stands in arrays, 0 for what is never hidden."""
    counts = np.zeros(pieces.vocab_size, np.int64)
    for ids in parts:
        counts += np.bincount(np.asarray(ids).reshape(-1), minlength=pieces.vocab_size)
    counts[[pieces.pad_id, pieces.unk_id, pieces.cls_id, pieces.sep_id, pieces.mask_id]] = 0
    return counts


def find_run(model_dir: str) -> pathlib.Path:
    """Returns the file that describes the run which made a model, which need not be there."""
    folder = pathlib.Path(model_dir).absolute()
    if folder.parent.name == "checkpoints":  # of a run that may still be on its way
        folder = folder.parents[1]
    return folder / _RUN_FILE


def settings_of_run(model_dir: str, max_seq_length: int | None, longest: int) -> ExampleSettings:
    """Returns what held-out examples of stored tokens are like.

    Args:
        model_dir: whose run, if there was one here, says what its last examples were like.
        max_seq_length: in place of what the run says.
        longest: tokens that the model reads.

    Raises:
        ValueError: for more tokens than that.
    """
    path = find_run(model_dir)
    data = json_files.read_object(path).get("data") if path.is_file() else None
    values = data.get("examples") if isinstance(data, dict) else None
    values = values if isinstance(values, dict) else {}
    if max_seq_length is None:
        max_seq_length = values.get("final_max_seq_length") or values.get("max_seq_length")
    if max_seq_length is not None and max_seq_length > longest:
        raise ValueError(
            f"`max_seq_length` must be at most the {longest} tokens that the model reads. "
            f"Received: {max_seq_length}"
        )
    shares = {k: v for k, v in values.items() if k == "short_seq_prob"}
    return ExampleSettings(max_seq_length=max_seq_length or longest, **shares)
