"""Reading record files for what they hold: every record whole, every value one that it may be.

B batch, L sequence length, P prediction slots.
"""

import dataclasses
import functools
import os
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from albert_tf.pipelines.building.progress import Progress
from albert_tf.pipelines.examples import record_files, records
from albert_tf.pipelines.inspection import example_statistics
from albert_tf.pipelines.inspection.example_statistics import ExampleStatistics

_BATCH_EXAMPLES = 512


@dataclasses.dataclass
class RecordFigures:
    """What some files hold.

    Attributes:
        files: how many they are.
        size_bytes: all of them.
        sizes: (L, P), or None where no file can be read.
        statistics: of the examples of whole files.
        damage: {path: what is wrong with it}.
    """

    files: int
    size_bytes: int
    sizes: tuple[int, int] | None
    statistics: ExampleStatistics
    damage: dict[str, str]


def read_files(
    files: Sequence[str],
    vocab_size: int | None = None,
    mask_id: int | None = None,
    stage: str = "reading",
) -> RecordFigures:
    """Reads every record of files, all of them, whatever is wrong with one.

    Args:
        files: of records of one L and P, those of the first that can be read.
        vocab_size: what ids must be below, where the vocabulary is known.
        mask_id: of [MASK], likewise.
        stage: what a line of progress calls it.
    """
    sizes = find_sizes(files)
    length, _ = sizes or (0, 0)
    figures = RecordFigures(
        files=len(files),
        size_bytes=sum(os.path.getsize(path) for path in files),
        sizes=sizes,
        statistics=ExampleStatistics(lengths=np.zeros(length + 1, np.int64)),
        damage={},
    )
    parse = _make_parser(*sizes, vocab_size) if sizes else None
    total = figures.size_bytes / 1e6
    with Progress(stage, total, counted="examples", begins_with_a_line=False) as progress:
        for path in files:
            before = figures.statistics.examples
            try:
                if parse is None:
                    raise ValueError(f"{path} must hold pretraining records. Received: none")
                figures.statistics.add(_read_file(path, parse, length, mask_id))
            except (tf.errors.OpError, ValueError) as error:
                damage = record_files.locate_corruption(path, *(sizes or (None, None)), vocab_size)
                figures.damage[path] = damage or f"{path}: {getattr(error, 'message', error)}"
            progress.advance(os.path.getsize(path) / 1e6, figures.statistics.examples - before)
    return figures


def find_sizes(files: Sequence[str]) -> tuple[int, int] | None:
    """Returns (L, P) of the first file that says them."""
    for path in files:
        try:
            return record_files.record_sizes(path)
        except ValueError:  # said of the file when it is read
            continue
    return None


@functools.cache
def _make_parser(
    max_seq_length: int, max_predictions_per_seq: int, vocab_size: int | None
) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    """Returns a function of serialized records [B], traced once for all files of one size."""
    boundary = {"token_boundary": tf.io.RaggedFeature(tf.int64)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def parse(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        batch = records.parse_example(
            serialized, max_seq_length, max_predictions_per_seq, vocab_size
        )
        # Google's reader wants it and ours does without, so it may be anything.
        return batch | tf.io.parse_example(serialized, boundary)

    return parse


def _read_file(
    path: str,
    parse: Callable[[tf.Tensor], dict[str, tf.Tensor]],
    max_seq_length: int,
    mask_id: int | None,
) -> ExampleStatistics:
    total = ExampleStatistics(lengths=np.zeros(max_seq_length + 1, np.int64))
    stream = tf.data.TFRecordDataset(path, compression_type=record_files.compression_of(path))
    for serialized in stream.batch(_BATCH_EXAMPLES).prefetch(2):
        batch = parse(serialized)
        boundary = batch.pop("token_boundary")
        arrays = {name: tensor.numpy() for name, tensor in batch.items()}
        if tf.reduce_all(boundary.row_lengths() == max_seq_length):
            arrays["token_boundary"] = boundary.values.numpy().reshape(-1, max_seq_length)
        total.add(example_statistics.count_examples(arrays, mask_id))
    return total
