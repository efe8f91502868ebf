"""A model's outputs for encoded examples, in the examples' order.

Letters: N examples, B batch, L length that a batch is padded to.
"""

import contextlib

import numpy as np
import tensorflow as tf

from albert_tf import stop_signals
from albert_tf.model import fused_ops
from albert_tf.pipelines.building import progress
from albert_tf.pipelines.task_data import finetuning_dataset

# What a model reads to answer; labels stay behind, or the head for SQuAD 2.0 would be told starts.
INPUT_NAMES = ("input_ids", "input_mask", "segment_ids", "answer_mask")


def make_predict(model, stage=None):
    """Returns a function `(encoded, batch_size, max_seq_length) -> {output name: [N arrays]}`.

    The arrays of an example are its rows of the model's outputs, as wide as its batch was padded
    to; a model with one output gives it under the name `scores`. Examples meet in batches of like
    length, which changes nothing but the speed. With the name of a `stage` its progress is shown.
    """

    @fused_ops.compile_by_shape
    def run(inputs):
        outputs = model(inputs, training=False)
        return outputs if isinstance(outputs, dict) else {"scores": outputs}

    def predict(encoded, batch_size, max_seq_length):
        found = {}
        with _shown(stage, len(encoded)) as bar:
            for indices, batch in finetuning_dataset.batches_by_length(
                encoded, batch_size, max_seq_length
            ):
                stop_signals.raise_if_requested()
                inputs = {n: tf.constant(batch[n]) for n in INPUT_NAMES if n in batch}
                for name, values in run(inputs).items():
                    rows = found.setdefault(name, [None] * len(encoded))
                    for index, value in zip(indices, np.asarray(values), strict=False):
                        rows[index] = value
                if bar:
                    bar.advance(len(indices))
        return found

    return predict


def _shown(stage, examples):
    if stage is None:
        return contextlib.nullcontext()
    return progress.Progress(stage, examples, "examples", counted="", begins_with_a_line=False)
