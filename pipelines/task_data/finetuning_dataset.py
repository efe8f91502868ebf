"""Encoded examples -> batches by length, resumable at any example.

N examples, B batch, L sequence length.

An epoch is a permutation drawn from (seed, epoch), cut into windows of `_WINDOW_BATCHES` batches.
In a window the examples are sorted by length and cut into batches, whose order is shuffled again,
so a batch holds texts of about one length and is padded to little more than that. Batches do not
depend on how far they are padded: the same examples meet in them with `pad_to_max_length`.
"""

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from albert_tf.pipelines.task_data.encoded_examples import EncodedExamples

# Lengths that batches are padded to. Each is compiled once, so there are few; between two of them
# at most a third is padding.
LENGTHS = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
# Enough that the batches of a window differ in length, and few enough that windows mix well.
_WINDOW_BATCHES = 64


def finetuning_dataset(
    examples: EncodedExamples,
    batch_size: int,
    max_seq_length: int,
    shuffle: bool = True,
    seed: int = 0,
    start_example: int = 0,
    repeat: bool = False,
    pad_to_max_length: bool = False,
    rows: np.ndarray | None = None,
) -> tf.data.Dataset:
    """Returns batches of examples.

    Args:
        examples: encoded with `max_seq_length`.
        batch_size: examples a batch, B.
        max_seq_length: the longest that a batch is padded to.
        shuffle: shuffle anew in every epoch, and put examples of like length into one batch.
            Otherwise the examples' own order, as predictions and validation want it.
        seed: with the examples it fixes the order.
        start_example: examples consumed already, over all epochs; a multiple of B.
        repeat: endless epochs, in each of which the first examples fill up what would be a smaller
            batch, so that all have B. Otherwise one epoch, another each time the dataset is
            iterated over, with each example once.
        pad_to_max_length: pad all batches to `max_seq_length`.
        rows: which examples of each batch to give, in this order, padded as far as all of it; None
            for all.

    Returns:
        A dataset of the dicts that `encoded_examples` describes, which knows its `cardinality()`
        unless it begins within an epoch and ends.

    Raises:
        ValueError: an argument is out of range, or there are no examples.
    """
    if batch_size < 1 or start_example < 0 or start_example % batch_size:
        raise ValueError(
            "batch_size must be positive and start_example a multiple of it. Received: "
            f"batch_size={batch_size}, start_example={start_example}"
        )
    if not len(examples):
        raise ValueError("examples must not be empty")
    lengths = examples.lengths()
    steps = steps_per_epoch(len(examples), batch_size)
    start_epoch, skipped_steps = divmod(start_example // batch_size, steps)
    first_epoch = start_epoch

    def batches() -> Iterator[dict[str, np.ndarray]]:
        nonlocal first_epoch, skipped_steps
        epoch, skipped = first_epoch, skipped_steps
        first_epoch, skipped_steps = first_epoch + 1, 0
        while True:
            order = (
                _shuffled_batches(lengths, batch_size, seed, epoch, is_filled=repeat)
                if shuffle
                else batches_in_order(len(examples), batch_size)
            )
            for indices in order[skipped:]:
                longest = max_seq_length if pad_to_max_length else lengths[indices].max()
                own = indices if rows is None else indices[rows]
                yield examples.batch(own, padded_length(longest, max_seq_length))
            if not repeat:
                return
            epoch, skipped = epoch + 1, 0

    specification = {
        name: tf.TensorSpec([None] * value.ndim, value.dtype)
        for name, value in examples.batch(np.array([0]), max_seq_length).items()
    }
    options = tf.data.Options()
    options.deterministic = True
    stream = tf.data.Dataset.from_generator(batches, output_signature=specification)
    if repeat or not skipped_steps:  # or else the first epoch is shorter than the others
        size = tf.data.INFINITE_CARDINALITY if repeat else steps
        stream = stream.apply(tf.data.experimental.assert_cardinality(size))
    return stream.with_options(options).prefetch(2)


def steps_per_epoch(num_examples: int, batch_size: int) -> int:
    """Returns how many batches one epoch has."""
    return -(-num_examples // batch_size)


def padded_length(longest: int, max_seq_length: int) -> int:
    """Returns what a batch whose longest row has `longest` tokens is padded to."""
    fitting = (length for length in LENGTHS if longest <= length <= max_seq_length)
    return min(fitting, default=max_seq_length)


def batches_in_order(num_examples: int, batch_size: int) -> list[np.ndarray]:
    """Returns the indices of each batch, in the examples' own order."""
    return [
        np.arange(start, min(start + batch_size, num_examples))
        for start in range(0, num_examples, batch_size)
    ]


def batches_by_length(
    examples: EncodedExamples, batch_size: int, max_seq_length: int
) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
    """Yields (indices [B], batch) with each example once, the longest first: to predict with.

    The last batch is filled up with its own last example, so that few shapes are compiled;
    indices then has fewer than B entries.
    """
    lengths = examples.lengths()
    order = np.argsort(-lengths, kind="stable")
    for start in range(0, len(order), batch_size):
        indices = order[start : start + batch_size]
        filled = np.concatenate([indices, np.repeat(indices[-1:], batch_size - len(indices))])
        length = padded_length(lengths[indices].max(), max_seq_length)
        yield indices, examples.batch(filled, length)


def _shuffled_batches(
    lengths: np.ndarray, batch_size: int, seed: int, epoch: int, is_filled: bool
) -> list[np.ndarray]:
    """Returns the indices [B] of an epoch's batches; one may have fewer unless it is filled."""
    generator = np.random.default_rng([seed, epoch])
    order = generator.permutation(len(lengths))
    if is_filled:
        order = np.resize(order, steps_per_epoch(len(lengths), batch_size) * batch_size)
    batches = []
    for start in range(0, len(order), _WINDOW_BATCHES * batch_size):
        window = order[start : start + _WINDOW_BATCHES * batch_size]
        window = window[np.argsort(lengths[window], kind="stable")]
        parts = np.split(window, range(batch_size, len(window), batch_size))
        batches += [parts[index] for index in generator.permutation(len(parts))]
    return batches
