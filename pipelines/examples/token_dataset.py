"""Stored tokens -> batched `tf.data` for pretraining, resumable at any example.

A batch is a function of its number, so there is nothing to skip, to shuffle or to keep: whoever
trains asks for batch n. B batch, L sequence length, P prediction slots.
"""

import os
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import tensorflow as tf

from albert_tf.pipelines.examples import example_settings, frozen_examples, records
from albert_tf.pipelines.examples.example_settings import ExampleSettings
from albert_tf.pipelines.examples.example_streams import Phase, make_phases
from albert_tf.pipelines.examples.fresh_examples import FreshExamples
from albert_tf.pipelines.examples.packed_examples import PackedExamples
from albert_tf.pipelines.examples.token_files import TokenFolder

# Batches that are made at a time; NumPy lets go of Python's lock in its long loops only.
_BATCHES_AT_A_TIME = 2


def open_dataset(
    folder: str | os.PathLike,
    settings: ExampleSettings,
    batch_size: int,
    seed: int,
    start_example: int = 0,
    rows: Sequence[int] | None = None,
    pack: bool = False,
    overlap_prob: float = 0.0,
) -> tf.data.Dataset:
    """Returns the training batches of a folder; arguments as of `pretraining_dataset`."""
    examples = FreshExamples.from_folder(
        TokenFolder(folder), settings.with_predictions(), seed, overlap_prob
    )
    if pack:
        examples = PackedExamples(examples)
    return phases_dataset(make_phases([examples], 0), batch_size, start_example, rows)


def phases_dataset(
    phases: Sequence[Phase],
    batch_size: int,
    start_example: int = 0,
    rows: Sequence[int] | None = None,
) -> tf.data.Dataset:
    """Returns the batches of a run, without end.

    Args:
        phases: of the run, in order; the number of examples of all but the last is a multiple of B.
        batch_size: B.
        start_example: number of the first.
        rows: which examples of each batch to make, in this order, where others make the rest; None
            for all.

    Returns:
        A dataset of the batches described in `records`, or in `packed_examples`.
    """
    offsets = np.arange(batch_size) if rows is None else np.asarray(rows)
    batches = None
    for phase in phases:
        if phase.last is not None and phase.last <= start_example:
            continue
        first = max(start_example, phase.first)
        of_phase = _phase_dataset(phase, first, batch_size, offsets)
        batches = of_phase if batches is None else batches.concatenate(of_phase)
    return finish_dataset(batches, tf.data.INFINITE_CARDINALITY)


def finish_dataset(batches: tf.data.Dataset, size: int) -> tf.data.Dataset:
    """Returns batches in their order, prefetched, of a number that is known.

    Args:
        batches: of training or evaluation.
        size: how many there are, or `tf.data.INFINITE_CARDINALITY`.
    """
    options = tf.data.Options()
    options.deterministic = True
    # Trainers share batches by `rows`, not by rewriting this graph.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    sized = batches.apply(tf.data.experimental.assert_cardinality(size))
    return sized.with_options(options).prefetch(tf.data.AUTOTUNE)


def _phase_dataset(
    phase: Phase, first: int, batch_size: int, offsets: np.ndarray
) -> tf.data.Dataset:
    specification = records.input_specification(
        phase.stream.max_seq_length,
        phase.stream.max_predictions_per_seq,
        len(offsets),
        phase.stream.places,
    )

    def make_batch(number: np.ndarray) -> list[np.ndarray]:
        batch = phase.batch(number + offsets)
        return [batch[name] for name in specification]

    def make_tensors(number: tf.Tensor) -> dict[str, tf.Tensor]:
        types = [spec.dtype for spec in specification.values()]
        values = tf.numpy_function(make_batch, [number], types, stateful=False)
        return {
            name: tf.ensure_shape(value, spec.shape)
            for value, (name, spec) in zip(values, specification.items(), strict=True)
        }

    last = np.iinfo(np.int64).max if phase.last is None else phase.last
    firsts = tf.data.Dataset.range(first, last, batch_size)
    return firsts.map(make_tensors, num_parallel_calls=_BATCHES_AT_A_TIME, deterministic=True)


def held_out_datasets(
    folder: TokenFolder, settings: ExampleSettings, batch_size: int
) -> dict[str, tf.data.Dataset]:
    """Returns {"held_out": batches, "held_out_single": batches}; of no example there is no split.

    They are the examples that a build of records with the folder's seed writes.

    Args:
        folder: of stored tokens.
        settings: what examples are like, with `max_predictions_per_seq`.
        batch_size: B; the last batch may be smaller.
    """
    if not folder.summary["token_files"].get("held_out"):
        return {}
    rules = example_settings.held_out_rules(settings.masking_rules())
    specification = records.input_specification(
        settings.max_seq_length, settings.max_predictions_per_seq
    )
    datasets = {}
    for output, name in enumerate(rules):
        make_batches = _held_out_batches(folder, settings, output, rules[name], specification)
        if next(make_batches(), None) is None:  # documents of one short sentence
            continue
        batches = tf.data.Dataset.from_generator(make_batches, output_signature=specification)
        datasets[name] = batches.rebatch(batch_size).prefetch(tf.data.AUTOTUNE)
    return datasets


def _held_out_batches(
    folder: TokenFolder,
    settings: ExampleSettings,
    output: int,
    rules: example_settings.MaskingRules,
    names: Sequence[str],
) -> Callable[[], Iterator[dict[str, np.ndarray]]]:
    """Returns a function that makes batches of some size of the held-out documents."""
    pieces = folder.pieces

    def make_batches() -> Iterator[dict[str, np.ndarray]]:
        for number, shard in enumerate(folder.shards("held_out")):
            ids = np.asarray(shard.ids)
            seed = (folder.summary["seed"], frozen_examples.STREAMS["held_out"], number)
            pairs, _ = frozen_examples.make_pairs(
                shard.boundaries(), pieces.word_start[ids], settings.pair_rules(), 1, seed
            )
            batches = frozen_examples.mask_pairs(
                ids, pairs, settings.max_seq_length, rules, pieces, seed, output
            )
            for batch, _ in batches:
                if len(batch["input_ids"]):
                    yield {name: batch[name] for name in names}

    return make_batches
