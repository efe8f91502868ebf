"""A model's outputs for encoded examples, in the examples' order.

Letters: N examples, B batch, L length that a batch is padded to.
"""

import collections
import contextlib
from collections.abc import Callable, Iterable, Iterator

import keras
import numpy as np
import tensorflow as tf

from albert_tf import stop_signals
from albert_tf.model import fused_ops
from albert_tf.model.tensors import Batch, Outputs
from albert_tf.pipelines.building import progress
from albert_tf.pipelines.task_data import finetuning_dataset
from albert_tf.pipelines.task_data.encoded_examples import EncodedExamples

# What a model reads to answer; labels stay behind, or the head for SQuAD 2.0 would be told starts.
INPUT_NAMES = ("input_ids", "input_mask", "segment_ids", "answer_mask")

# (encoded, batch_size, max_seq_length) -> outputs.
Predict = Callable[[EncodedExamples, int, int], Outputs]
# Makes of a function of one batch a function of many, which gives the results in their order.
MapBatches = Callable[[Callable[[Batch], Outputs]], Callable[[Iterable[Batch]], Iterator[Outputs]]]


def make_predict(
    model: keras.Model, stage: str | None = None, map_batches: MapBatches | None = None
) -> Predict:
    """Returns a function that asks the model about encoded examples.

    The arrays of an example are its rows of the model's outputs, as wide as its batch was padded
    to; a model with one output gives it under the name `scores`. Of texts in windows a text has one
    row, see `join_windows`. Examples meet in batches of like
    length, which changes nothing but the speed. With the name of a `stage` its progress is shown.
    `map_batches` runs them elsewhere than here, one after the other.
    """

    def run(inputs: Batch) -> dict[str, tf.Tensor]:
        outputs = model(inputs, training=False)
        return outputs if isinstance(outputs, dict) else {"scores": outputs}

    run_all = (map_batches or _one_by_one)(run)

    def predict(encoded: EncodedExamples, batch_size: int, max_seq_length: int) -> Outputs:
        arrays, places = {}, collections.deque()

        def batches() -> Iterator[Batch]:
            for indices, batch in finetuning_dataset.batches_by_length(
                encoded, batch_size, max_seq_length
            ):
                places.append(indices)
                yield {n: tf.constant(batch[n]) for n in INPUT_NAMES if n in batch}

        with _shown(stage, len(encoded)) as bar:
            for outputs in run_all(batches()):
                indices = places.popleft()
                for name, values in outputs.items():
                    rows = arrays.setdefault(name, [None] * len(encoded))
                    for index, value in zip(indices, np.asarray(values), strict=False):
                        rows[index] = value
                if bar:
                    bar.advance(len(indices))
        return join_windows(encoded, arrays)

    return predict


def join_windows(encoded: EncodedExamples, outputs: Outputs) -> Outputs:
    """Returns one array a text of the outputs for its windows, by `joined_by` of the examples.

    The mean or the largest of the logits, class by class; of numbers in the same way. Examples
    that are no windows keep their outputs.
    """
    if encoded.joined_by is None:
        return outputs
    text_index = encoded.details["text_index"]
    starts = np.flatnonzero(np.diff(text_index, prepend=-1))
    joined = {}
    for name, windows in outputs.items():
        values = np.stack(windows).astype(np.float64)  # [R, ...]
        if encoded.joined_by == "max":
            values = np.maximum.reduceat(values, starts)
        else:
            counts = np.diff(starts, append=len(text_index))
            sums = np.add.reduceat(values, starts)
            values = sums / counts.reshape(-1, *[1] * (values.ndim - 1))
        joined[name] = list(values.astype(np.float32))
    return joined


def _one_by_one(function: Callable[[Batch], Outputs]) -> Callable[[Iterable], Iterator]:
    compiled = fused_ops.compile_by_shape(function)

    def run(batches: Iterable[Batch]) -> Iterator[Outputs]:
        for batch in batches:
            stop_signals.raise_if_requested()
            yield compiled(batch)

    return run


def _shown(stage: str | None, examples: int) -> contextlib.AbstractContextManager:
    if stage is None:
        return contextlib.nullcontext()
    return progress.Progress(stage, examples, "examples", counted="", begins_with_a_line=False)
