"""Inside a TensorFlow graph: what a client sends is seen to fit the model before it runs.

On a GPU a look-up of an id that is not there gives zeros and no error, and a segment or a mask of
another number is computed with as if it meant something. So every export refuses them itself,
whatever server it runs in.

Letters: B rows of a request, C options of one, L tokens.
"""

from collections.abc import Sequence

import tensorflow as tf

from albert_tf.model import heads

ID_NAMES = ("input_ids", "input_mask", "segment_ids")
# What other libraries call them; a serialized example that says so would be read without its masks.
FOREIGN_NAMES = {"attention_mask": "input_mask", "token_type_ids": "segment_ids"}


def check(
    inputs: dict[str, tf.Tensor], vocab_size: int, type_vocab_size: int, longest: int
) -> dict[str, tf.Tensor]:
    """Returns ids and masks of a client, once they are seen to fit the model.

    Args:
        inputs: {name: int32 or int64 [B, L] or [B, C, L]}, `input_ids` among them; all but
            `input_ids` and `segment_ids` are masks.
        vocab_size: pieces of the vocabulary.
        type_vocab_size: segments.
        longest: largest L.

    Returns:
        The same as int32. At run time the graph fails with `InvalidArgumentError`, which names the
        input and the range, for anything else.
    """
    shape = tf.shape(inputs["input_ids"])
    checks = [
        _require(
            (shape[-1] >= 1) & (shape[-1] <= longest),
            f"input_ids must have 1 to {longest} columns. Received:",
            shape[-1],
        )
    ]
    sizes = {"input_ids": vocab_size, "segment_ids": type_vocab_size}
    for name, values in inputs.items():
        has_shape = tf.reduce_all(tf.equal(tf.shape(values), shape))
        message = f"{name} must have the shape of input_ids. Received:"
        checks.append(_require(has_shape, message, tf.shape(values), "where that has", shape))
        size = sizes.get(name, 2)
        fits = tf.reduce_all((values >= 0) & (values < size))
        least, most = tf.reduce_min(values), tf.reduce_max(values)
        message = f"{name} must lie in 0..{size - 1}. Received: numbers from"
        checks.append(_require(fits, message, least, "to", most))
    with tf.control_dependencies(checks):
        return {name: tf.cast(tf.identity(values), tf.int32) for name, values in inputs.items()}


def check_rows(inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Returns what a client asks, once its inputs are seen to belong together.

    Args:
        inputs: {name: [B, ...]}; string [B, C] are options.

    Returns:
        The same. At run time the graph fails with `InvalidArgumentError`, which names the input,
        where B differs, or C is 0.
    """
    first, *others = inputs
    count = tf.shape(inputs[first])[0]
    checks = []
    for name in others:
        rows = tf.shape(inputs[name])[0]
        message = f"{name} must have as many rows as {first}. Received:"
        checks.append(_require(rows == count, message, rows, "where that has", count))
    for name, values in inputs.items():
        if values.dtype == tf.string and values.shape.rank == 2:
            shape = tf.shape(values)
            message = f"{name} must have at least one column. Received:"
            checks.append(_require((shape[0] == 0) | (shape[1] > 0), message, shape[1]))
    with tf.control_dependencies(checks):
        return {name: tf.identity(values) for name, values in inputs.items()}


def read_examples(examples: tf.Tensor, names: Sequence[str]) -> dict[str, tf.Tensor]:
    """Returns the ids of serialized `tf.train.Example`s, not checked yet.

    `input_mask` may be missing: all ids count then; so may `segment_ids`, which are 0, and
    `answer_mask`: answers are looked for where the model looks.

    Args:
        examples: string [B].
        names: of the inputs, `input_ids` first.

    Returns:
        {name: int64 [B, L]}, L of the longest. At run time the graph fails for examples without
        ids, with masks of another length, or under the names of other libraries.
    """
    features = {n: tf.io.RaggedFeature(tf.int64) for n in (*names, *FOREIGN_NAMES)}
    rows = tf.io.parse_example(examples, features)
    lengths = rows["input_ids"].row_lengths()  # [B]
    checks = [_require(tf.reduce_all(lengths > 0), "each example must have input_ids")]
    for foreign, ours in FOREIGN_NAMES.items():
        is_absent = tf.reduce_all(rows[foreign].row_lengths() == 0)
        checks.append(_require(is_absent, f"{foreign} must be called {ours}"))
    for name in names[1:]:
        own_lengths = rows[name].row_lengths()
        message = f"{name} of an example must be as long as its input_ids"
        checks.append(
            _require(tf.reduce_all((own_lengths == 0) | (own_lengths == lengths)), message)
        )
    with tf.control_dependencies(checks):
        lengths = tf.identity(lengths)
    longest = tf.reduce_max(tf.concat([lengths, [1]], axis=0))
    tokens = tf.sequence_mask(lengths, longest, tf.int64)  # [B, L]
    batch = {"input_ids": _dense(rows["input_ids"], longest)}
    for name in names[1:]:
        is_there = (rows[name].row_lengths() > 0)[:, None]  # [B, 1]
        if name == "answer_mask":  # the last, which goes by the others
            assumed = heads.find_answer_places(batch)
        else:
            assumed = tf.zeros_like(tokens) if name == "segment_ids" else tokens
        batch[name] = tf.where(is_there, _dense(rows[name], longest), assumed)
    return batch


def _dense(ragged: tf.RaggedTensor, length: tf.Tensor) -> tf.Tensor:
    """Returns [B, L] with zeros behind the end of shorter rows."""
    values = ragged.to_tensor()
    return tf.pad(values, [[0, 0], [0, length - tf.shape(values)[1]]])


def _require(condition: tf.Tensor, *message: str | tf.Tensor) -> tf.Operation:
    """Returns an operation that fails with a message where a condition does not hold."""
    return tf.debugging.Assert(condition, list(message))
