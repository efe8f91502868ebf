"""Inside a TensorFlow graph: rows of any number and length -> a model, some at a time.

Rows of like length go together, so short ones are not padded to the longest, and a request of any
size needs the memory of a few rows.

Letters: R rows, L tokens of the longest.
"""

from collections.abc import Callable, Mapping

import tensorflow as tf

from albert_tf.pipelines.tokenizer.rows import round_up

# In the shape of an output: the axis that is as long as a row.
TOKENS = "tokens"
# By name.
Tensors = dict[str, tf.Tensor]
# By name the type and the shape of an output without its first axis: sizes, None and `TOKENS`.
OutputSpecs = Mapping[str, tuple[tf.DType, tuple[int | str | None, ...]]]


def run(
    compute: Callable[[Tensors], Tensors],
    inputs: Tensors,
    outputs: OutputSpecs,
    rows_at_a_time: int,
    beside: Tensors | None = None,
) -> Tensors:
    """Returns what a model gives for each row.

    Args:
        compute: takes and returns tensors [rows, ...].
        inputs: {name: int32 [R, L]}, `input_mask` among them; `compute` gets the columns that some
            rows need.
        outputs: what `compute` gives.
        rows_at_a_time: how many rows `compute` gets.
        beside: {name: [R, ...]}, more of what `compute` gets.

    Returns:
        {name: [R, ...]}; an axis of `TOKENS` is L long. Behind a row's own part stand zeros; -1e30,
        as the heads have it, where the last axis is that one, so that a softmax over it is right.
    """
    # Of no rows the axes are unknown, so a row of padding goes through the model, and is cut off.
    asked = tf.shape(inputs["input_mask"])[0]
    inputs, beside = (_with_one_row(tensors, asked) for tensors in (inputs, beside or {}))
    length = tf.shape(inputs["input_mask"])[1]
    # Up to the last token that counts: clients may pad at the beginning, too.
    lengths = tf.reduce_max(inputs["input_mask"] * (tf.range(length) + 1), axis=1)  # [R]
    order = tf.argsort(lengths, stable=True)
    count = tf.size(order)

    def compute_some(
        start: tf.Tensor, arrays: dict[str, tf.TensorArray]
    ) -> tuple[tf.Tensor, dict[str, tf.TensorArray]]:
        rows = order[start : start + rows_at_a_time]
        longest = tf.maximum(tf.reduce_max(tf.gather(lengths, rows)), 1)
        width = round_up(longest, length)
        some = {name: tf.gather(values, rows)[:, :width] for name, values in inputs.items()}
        some |= {name: tf.gather(values, rows) for name, values in beside.items()}
        results = compute(some)
        return start + rows_at_a_time, {
            name: array.write(
                start // rows_at_a_time, _widen(results[name], outputs[name][1], length - width)
            )
            for name, array in arrays.items()
        }

    steps = -(-count // rows_at_a_time)
    shapes = {
        name: [None, *(None if size == TOKENS else size for size in shape)]
        for name, (_, shape) in outputs.items()
    }
    arrays = {
        name: tf.TensorArray(dtype, steps, infer_shape=False, element_shape=shapes[name])
        for name, (dtype, _) in outputs.items()
    }
    _, arrays = tf.while_loop(
        lambda start, arrays: start < count,
        compute_some,
        (tf.constant(0), arrays),
        parallel_iterations=1,
    )
    back = tf.argsort(order)
    return {
        name: tf.ensure_shape(tf.gather(array.concat(), back)[:asked], shapes[name])
        for name, array in arrays.items()
    }


def _with_one_row(tensors: Tensors, count: tf.Tensor) -> Tensors:
    """Returns tensors [count, ...] with a row of zeros if they have none."""
    missing = tf.cast(count < 1, tf.int32)
    return {
        name: tf.pad(values, [[0, missing], *[[0, 0]] * (values.shape.rank - 1)])
        for name, values in tensors.items()
    }


def _widen(values: tf.Tensor, shape: tuple[int | str | None, ...], missing: tf.Tensor) -> tf.Tensor:
    if TOKENS not in shape:
        return values
    axis = 1 + shape.index(TOKENS)
    is_score = axis == values.shape.rank - 1 and values.dtype.is_floating
    padding = [[0, missing if n == axis else 0] for n in range(values.shape.rank)]
    return tf.pad(values, padding, constant_values=-1e30 if is_score else 0)
