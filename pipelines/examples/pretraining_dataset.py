"""Record files -> shuffled, batched `tf.data` for pretraining, resumable at any example.

B batch, L sequence length, P prediction slots.

The order of the examples is a pure function of (files, seed): epoch `e` visits the files in an
order drawn from (seed, e), reads several at once in turns, and shuffles windows of
`shuffle_window` records with seeds drawn from (seed, e, window). Nothing depends on
`tf.random.set_seed`, on threads or on timing, so `start_example=n` gives exactly the tail of the
stream that an uninterrupted run would have seen.
"""

import os
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from albert_tf.pipelines.examples import record_files, records, token_dataset, token_files
from albert_tf.pipelines.examples.example_settings import ExampleSettings

# Files read in turns, a block of records from each. Together with the window this decides how far
# from its place on disk an example can end up.
_FILES_IN_TURNS = 16
_BLOCK_EXAMPLES = 16


def pretraining_dataset(
    input_files: str | os.PathLike | Sequence[str],
    batch_size: int,
    max_seq_length: int,
    max_predictions_per_seq: int,
    shuffle: bool = True,
    seed: int = 0,
    start_example: int = 0,
    repeat: bool = True,
    drop_remainder: bool | None = None,
    shuffle_window: int = 8192,
    num_examples: int | None = None,
    vocab_size: int | None = None,
    rows: Sequence[int] | None = None,
    examples: ExampleSettings | None = None,
    check_files: bool = True,
    pack: bool = False,
    overlap_prob: float = 0.0,
) -> tf.data.Dataset:
    """Returns batches of pretraining examples.

    Args:
        input_files: a file of records, a pattern, or a list of them; `.gz` files are GZIP. Or a
            folder of stored tokens, whose training examples come without end and always shuffled.
        batch_size: examples a batch, B.
        max_seq_length: L; must be that of the records.
        max_predictions_per_seq: P; must be that of the records.
        shuffle: shuffle files and records, anew in every epoch; otherwise the files' own order.
        seed: any integer, of stored tokens from 0 on; with the files it fixes the order.
        start_example: examples already consumed, over all epochs; the stream goes on from there.
        repeat: endless epochs, batches running across their borders; otherwise one epoch.
        drop_remainder: whether a last, smaller batch is left out. By default it is kept where
            `repeat` is False, so that an evaluation counts every example.
        shuffle_window: records shuffled together; held in memory (about 4 KB each at L=512).
        num_examples: what `record_files.count_examples(input_files)` gives, if it is known already.
        vocab_size: of the model; a record with a larger id then ends the iteration with an error.
        rows: which examples of each batch to parse, in this order, where others parse the rest;
            None for all.
        examples: of stored tokens, what an example is like beside L and P.
        check_files: whether to look at the first record of each file; False where that was done.
        pack: of stored tokens, whether rows hold several short examples. B counts rows then.
        overlap_prob: of stored tokens, the share of pairs whose segments overlap.

    Returns:
        A dataset of the batches described in `records`: dicts of [B, L], [B, P] and [B] tensors;
        with `pack` of those in `packed_examples`. It knows its `cardinality()`.

    Raises:
        ValueError: an argument is out of range, nothing matches, or a file is truncated or holds
            records of other sizes; the message names the file.
    """
    _check_numbers(
        start_example,
        batch_size=batch_size,
        max_seq_length=max_seq_length,
        max_predictions_per_seq=max_predictions_per_seq,
        shuffle_window=shuffle_window,
    )
    if isinstance(input_files, str | os.PathLike) and token_files.is_token_folder(input_files):
        _check_tokens_fit(shuffle, repeat)
        settings = (examples or ExampleSettings()).with_values(
            max_seq_length=max_seq_length, max_predictions_per_seq=max_predictions_per_seq
        )
        return token_dataset.open_dataset(
            *(input_files, settings, batch_size, seed, start_example, rows, pack, overlap_prob)
        )
    if examples is not None or pack or overlap_prob:
        raise ValueError(
            "`examples`, `pack` and `overlap_prob` go with stored tokens. Received: records of "
            f"{input_files}"
        )
    files = record_files.list_record_files(input_files)
    sizes = (max_seq_length, max_predictions_per_seq)
    for file in files if check_files else ():
        record_files.check_record_file(file, *sizes, vocab_size)
    if num_examples is None:
        num_examples = record_files.count_examples(files)
    if num_examples == 0:
        raise ValueError(f"input_files must hold at least one example. Received: {files}")
    if not repeat and start_example >= num_examples:
        raise ValueError(
            f"start_example must be below the {num_examples} examples of the files where "
            f"repeat=False. Received: {start_example}"
        )

    def parse(examples: tf.Tensor) -> dict[str, tf.Tensor]:
        if rows is not None:
            examples = tf.gather(examples, rows)
        return records.parse_example(examples, *sizes, vocab_size)

    window = shuffle_window if shuffle else None
    serialized = _read_epochs(files, seed, window, num_examples, start_example, repeat)
    if drop_remainder is None:
        drop_remainder = repeat
    size = tf.data.INFINITE_CARDINALITY
    if not repeat:
        num_left = num_examples - start_example
        size = num_left // batch_size if drop_remainder else -(-num_left // batch_size)
    batches = serialized.batch(batch_size, drop_remainder=drop_remainder)
    batches = batches.map(parse, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return token_dataset.finish_dataset(batches, size)


def _check_numbers(start_example: int, **positive: int) -> None:
    for name, value in positive.items():
        if value < 1:
            raise ValueError(f"{name} must be at least 1. Received: {value}")
    if start_example < 0:
        raise ValueError(f"start_example must not be negative. Received: {start_example}")


def _check_tokens_fit(shuffle: bool, repeat: bool) -> None:
    if not (shuffle and repeat):
        raise ValueError(
            "`shuffle` and `repeat` must be true with stored tokens. Received: "
            f"shuffle={shuffle}, repeat={repeat}"
        )


def _read_epochs(
    files: list[str],
    seed: int,
    shuffle_window: int | None,
    num_examples: int,
    start_example: int,
    repeat: bool,
) -> tf.data.Dataset:
    """Returns the serialized records of all epochs, or of one, from an example on."""
    start_epoch, skipped_examples = divmod(start_example, num_examples)

    def read_epoch(epoch: tf.Tensor) -> tf.data.Dataset:
        already_consumed = tf.where(
            epoch == start_epoch, tf.constant(skipped_examples, tf.int64), 0
        )
        if shuffle_window is None:
            return record_files.read_in_order(files).skip(already_consumed)
        return _read_shuffled(files, seed, epoch, shuffle_window, already_consumed)

    last_epoch = np.iinfo(np.int64).max if repeat else start_epoch + 1
    return tf.data.Dataset.range(start_epoch, last_epoch).flat_map(read_epoch)


def _read_shuffled(
    files: list[str], seed: int, epoch: tf.Tensor, shuffle_window: int, already_consumed: tf.Tensor
) -> tf.data.Dataset:
    """Returns the serialized records of one epoch in the order drawn from (seed, epoch)."""
    # Dataset.shuffle mixes the global seed of the process into its own, which would make the order
    # depend on the caller's tf.random.set_seed; the stateless ops take all they use as an argument.
    epoch_seed = tf.random.fold_in(tf.constant([_low_bits(seed), 0], tf.int64), epoch)
    compressions = sorted({record_files.compression_of(file) for file in files})
    names = tf.constant(files)
    order = tf.random.experimental.stateless_shuffle(names, epoch_seed)

    def read_file(name: tf.Tensor) -> tf.data.Dataset:
        if len(compressions) == 1:
            return tf.data.TFRecordDataset(name, compression_type=compressions[0])
        is_gzip = tf.strings.regex_full_match(name, r".*\.gz")
        return tf.data.TFRecordDataset(name, compression_type=tf.where(is_gzip, "GZIP", ""))

    in_turns = tf.data.Dataset.from_tensor_slices(order).interleave(
        read_file,
        cycle_length=min(_FILES_IN_TURNS, len(files)),
        block_length=_BLOCK_EXAMPLES,
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )
    first_window = already_consumed // shuffle_window

    def shuffle_records(index: tf.Tensor, window: tf.Tensor) -> tf.Tensor:
        window_seed = tf.random.fold_in(epoch_seed, index + 1)
        return tf.random.experimental.stateless_shuffle(window, window_seed)

    # Whole windows that were consumed are skipped as raw bytes, the rest after its shuffle.
    windows = in_turns.skip(first_window * shuffle_window).batch(shuffle_window)
    shuffled = windows.enumerate(first_window).map(shuffle_records)
    # The next window fills while this one is read; without it every border would stall.
    return shuffled.prefetch(1).unbatch().skip(already_consumed % shuffle_window)


def _low_bits(seed: int) -> int:
    return int(seed) & 0x7FFFFFFFFFFFFFFF
