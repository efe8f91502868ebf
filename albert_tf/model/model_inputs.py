"""The one door of the models: what a batch may hold, and under which names it goes on inside.

Labels travel in the batch; for losses and weights of Keras they are put beside it here, too.

Letters: B batch, C choices, L sequence length, P prediction slots, K places for examples in a row
of several.
"""

import collections.abc
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from albert_tf.model.tensors import Batch, Tensor

# What a batch may hold beside its labels, and the shapes for people.
INPUTS = ("input_ids", "input_mask", "segment_ids")
# Where a row holds several examples: which of them a token belongs to, from 1 on (0 is padding).
EXAMPLE_NUMBERS = "example_numbers"
# What transformers calls the same things.
OTHER_NAMES = {"attention_mask": "input_mask", "token_type_ids": "segment_ids"}
# The axes of other inputs and of all labels behind B.
_AXES = {
    "masked_lm_positions": 1,
    "masked_lm_ids": 1,
    "masked_lm_weights": 1,
    "sentence_order_label": 0,
    "cls_positions": 1,
    "sentence_order_weights": 1,
    "label": 0,
    "token_labels": 1,
    "start_position": 0,
    "end_position": 0,
    "is_impossible": 0,
    "answer_mask": 1,
}
# Those that may be no whole numbers.
_FLOATS = ("label", "masked_lm_weights", "sentence_order_weights")
# float [B], or [B, L] for tokens and [B, C] for labels: what each example counts in the losses.
EXAMPLE_WEIGHT = "example_weight"


def read_batch(
    batch: Batch,
    owner: keras.Model,
    num_choices_axes: int = 0,
    other_names: Mapping[str, str] | None = None,
    labels_of_a_text: int | None = None,
) -> Batch:
    """Returns a batch under our names, each label without a last axis of 1.

    Args:
        batch: `input_ids` int [B, L], and whatever else a task reads.
            The labels of other tasks are let through, since one dataset may serve several models.
        owner: the model, for messages.
        num_choices_axes: 1 where the ids are [B, C, L].
        other_names: {name of transformers: our name} of the model's labels.
        labels_of_a_text: C where `label` is [B, C].

    Raises:
        ValueError: for what is no dict, an unknown key, two names of one thing, `input_ids` that
            are missing, or a shape that is none of those; the message says what is right.
    """
    of_owner = f"a batch of {type(owner).__name__}"
    if not isinstance(batch, dict):
        raise ValueError(
            f"{of_owner} must be a dict with {', '.join(INPUTS)}. Received: {_describe(batch)}"
        )
    names = {**OTHER_NAMES, **(other_names or {})}
    others = sorted([*_AXES, EXAMPLE_NUMBERS])
    allowed = {*INPUTS, *others, EXAMPLE_WEIGHT}
    tensors = {}
    for key, value in batch.items():
        name = names.get(key, key)
        if name not in allowed:
            raise ValueError(
                f"{of_owner} must only hold {', '.join(INPUTS)}, {', '.join(others)} or "
                f"{EXAMPLE_WEIGHT}; of other names only {', '.join(sorted(names))}. Received: "
                f"{key!r}"
            )
        if name in tensors and value is not None:
            raise ValueError(f"{of_owner} must hold {name} once. Received: {key!r} beside it")
        if value is not None:
            tensors[name] = _as_tensor(value, key, of_owner)
    if "input_ids" not in tensors:
        raise ValueError(
            f"{of_owner} must hold input_ids. Received: {', '.join(map(str, batch)) or 'nothing'}"
        )
    for name in (*INPUTS, EXAMPLE_NUMBERS):
        if name in tensors:
            tensors[name] = _as_ids(name, tensors[name], 2 + num_choices_axes, of_owner)
    for name, axes in _AXES.items():
        if name in tensors:
            if name == "sentence_order_label" and EXAMPLE_NUMBERS in tensors:
                value = _of_places(name, tensors, of_owner)
            elif name == "label" and labels_of_a_text:
                value = _as_labels(tensors[name], labels_of_a_text, of_owner)
            else:
                # One example a row has one weight.
                is_single = name == "sentence_order_weights" and EXAMPLE_NUMBERS not in tensors
                rank = 1 if is_single else 1 + axes
                value = _without_last_axis(name, tensors[name], rank, of_owner)
            tensors[name] = value if name in _FLOATS else as_whole(value)
    if EXAMPLE_WEIGHT in tensors:
        value = tensors[EXAMPLE_WEIGHT]
        has_parts = "token_labels" in owner.label_names or labels_of_a_text
        if not (has_parts and len(value.shape) == 2) or value.shape[-1] == 1:
            tensors[EXAMPLE_WEIGHT] = _without_last_axis(EXAMPLE_WEIGHT, value, 1, of_owner)
    _check_equal_shapes(tensors, of_owner)
    return tensors


def _as_tensor(value: Tensor, name: str, of_owner: str) -> Tensor:
    if hasattr(value, "row_splits") or hasattr(value, "to_tensor"):
        raise ValueError(
            f"{name} of {of_owner} must be padded: ids.to_tensor(), with an input_mask that is 1 "
            f"for tokens and 0 for padding. Received: {_describe(value)}"
        )
    return value if hasattr(value, "shape") else ops.convert_to_tensor(value)


def _as_ids(name: str, value: Tensor, rank: int, of_owner: str) -> Tensor:
    if len(value.shape) != rank:
        shape = "[B, L]" if rank == 2 else "[B, C, L]"
        raise ValueError(
            f"{name} of {of_owner} must have shape {shape}. Received: {tuple(value.shape)}"
        )
    return as_whole(value)


def as_whole(value: Tensor) -> Tensor:
    """Returns ids in a type by which every backend looks up."""
    # Keras builds a model from shapes with float ids, as its own Embedding takes them; TensorFlow
    # has no lookup by ids of other types.
    is_usual = keras.backend.standardize_dtype(value.dtype) in ("int32", "int64")
    return value if is_usual else ops.cast(value, "int32")


def _without_last_axis(name: str, value: Tensor, rank: int, of_owner: str) -> Tensor:
    """Returns labels [B] also where they came as [B, 1], which would broadcast to [B, B]."""
    if len(value.shape) == rank + 1 and value.shape[-1] == 1:
        return value[..., 0]
    if len(value.shape) != rank:
        shape = "[B] or [B, 1]" if rank == 1 else f"{rank} axes"
        raise ValueError(
            f"{name} of {of_owner} must have shape {shape}. Received: {tuple(value.shape)}"
        )
    return value


def _of_places(name: str, tensors: Batch, of_owner: str) -> Tensor:
    """Returns labels [B, K] of the examples in rows, which come with where these begin."""
    names = (name, "cls_positions", "sentence_order_weights")
    shapes = {one: tuple(tensors[one].shape) for one in names if one in tensors}
    if len(shapes) < len(names) or any(len(shape) != 2 for shape in shapes.values()):
        received = ", ".join(f"{one} {shape}" for one, shape in shapes.items())
        raise ValueError(
            f"{', '.join(names)} of {of_owner} with {EXAMPLE_NUMBERS} must have shape [B, K] each. "
            f"Received: {received}"
        )
    return tensors[name]


def _as_labels(value: Tensor, count: int, of_owner: str) -> Tensor:
    """Returns labels 0 or 1 [B, C]; where C is 1 also those that came as [B]."""
    if count == 1 and len(value.shape) == 1:
        return value[:, None]
    if len(value.shape) == 3 and value.shape[-1] == 1:
        value = value[..., 0]
    if len(value.shape) != 2 or value.shape[1] not in (count, None):
        raise ValueError(
            f"label of {of_owner} with multi_label=True must have shape [B, {count}], 0 or 1 for "
            f"each label. Received: {tuple(value.shape)}"
        )
    return value


def _check_equal_shapes(tensors: Batch, of_owner: str) -> None:
    ids = tuple(tensors["input_ids"].shape)
    for name in (*INPUTS[1:], EXAMPLE_NUMBERS):
        shape = tuple(tensors[name].shape) if name in tensors else ids
        if any(None not in (a, b) and a != b for a, b in zip(shape, ids, strict=True)):
            raise ValueError(
                f"{name} of {of_owner} must have the shape of input_ids, {ids}. Received: {shape}"
            )


def _describe(value: object) -> str:
    shape = getattr(value, "shape", None)
    return type(value).__name__ + ("" if shape is None else f" of shape {tuple(shape)}")


def part_labels(data: Any, find_key: Callable[[Iterable[str]], str]) -> tuple[Any, Tensor | None]:
    """Returns (inputs, labels) of data for `fit` that holds both, or (such data, None).

    Args:
        data: a batch, or a `tf.data.Dataset` or `keras.utils.PyDataset` of batches. What is no dict
            comes back as it is.
        find_key: from the names in a batch to that of its labels.

    Raises:
        ValueError: for a generator, for which Keras does not weigh classes.
    """
    if isinstance(data, collections.abc.Mapping):
        return data, data[find_key(data)]
    elements = getattr(data, "element_spec", None)
    if elements is not None:
        elements = _batch_of(elements)
        if not isinstance(elements, dict):
            return data, None
        key = find_key(elements)
        return data.map(lambda *batch: _part(_batch_of(batch), key)), None
    if isinstance(data, keras.utils.PyDataset):
        return _WithLabels(data, find_key), None
    if isinstance(data, collections.abc.Iterator):
        raise ValueError(
            "`class_weight` needs arrays, a tf.data.Dataset or a keras.utils.PyDataset; with a "
            "generator put the weight of each example into the batch, `example_weight` float [B]. "
            f"Received: {type(data).__name__}"
        )
    return data, None


def _batch_of(item: Any) -> Any:
    """Returns the batch of an item that holds it alone, `(batch,)`."""
    return item[0] if isinstance(item, tuple) and len(item) == 1 else item


def multiply_weights(first: Tensor | None, second: Tensor | None) -> Tensor | None:
    """Returns the product of two weights of examples or of parts of them, [B, ...]; None counts 1.

    `multiply_weights([2, 3], [[1, 0], [1, 1]])` -> `[[2, 0], [3, 3]]`.
    """
    if first is None or second is None:
        return second if first is None else first
    if len(first.shape) > len(second.shape):
        first, second = second, first
    for _ in second.shape[len(first.shape) :]:
        first = first[..., None]
    if isinstance(first, np.ndarray) and isinstance(second, np.ndarray):
        return first * second
    return ops.cast(first, "float32") * ops.cast(second, "float32")


def take_example_weights(batch: Any, labels: Any, arguments: dict[str, Any]) -> Any:
    """Returns a batch that holds its labels with `sample_weight`, taken out of the arguments.

    Keras would drop it; what is no such batch comes back as it is.
    """
    is_whole = labels is None and isinstance(batch, dict)
    if not is_whole or arguments.get("sample_weight") is None:
        return batch
    given, own = np.asarray(arguments.pop("sample_weight")), batch.get(EXAMPLE_WEIGHT)
    own = None if own is None else np.asarray(own)
    return {**batch, EXAMPLE_WEIGHT: multiply_weights(given, own)}


def take_weights_of_held_out(arguments: dict[str, Any]) -> None:
    """Moves the weights of `validation_data=(batch, None, weights)` into the batch."""
    held_out = arguments.get("validation_data")
    if isinstance(held_out, tuple | list) and len(held_out) == 3 and held_out[1] is None:
        batch, labels, weights = held_out
        weighted = take_example_weights(batch, labels, {"sample_weight": weights})
        arguments["validation_data"] = weighted if isinstance(batch, dict) else held_out


def _part(batch: Batch, key: str) -> tuple[Batch, Tensor]:
    return batch, batch[key]


class _WithLabels(keras.utils.PyDataset):
    """A `PyDataset` whose batches hold their labels, as one of (batch, labels)."""

    def __init__(self, dataset: keras.utils.PyDataset, find_key: Callable[[Iterable[str]], str]):
        super().__init__(dataset.workers, dataset.use_multiprocessing, dataset.max_queue_size)
        self._dataset = dataset
        self._find_key = find_key

    @property
    def num_batches(self) -> int | None:
        """How many there are in an epoch, None for no end."""
        return self._dataset.num_batches

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> Any:
        item = self._dataset[index]
        batch = _batch_of(item)
        return _part(batch, self._find_key(batch)) if isinstance(batch, dict) else item

    def on_epoch_begin(self) -> None:
        """Tells the dataset."""
        self._dataset.on_epoch_begin()

    def on_epoch_end(self) -> None:
        """Tells the dataset."""
        self._dataset.on_epoch_end()


def as_rows(inputs: Batch) -> Batch:
    """Returns ids, mask and segments int [B, C, L] of a batch as [B * C, L], the rest left out."""
    length = ops.shape(inputs["input_ids"])[-1]
    return {name: ops.reshape(inputs[name], (-1, length)) for name in INPUTS if name in inputs}


def find_label(batch: Iterable[str], name: str, other_names: Mapping[str, str]) -> str:
    """Returns what a label is called in a batch.

    Args:
        batch: the names in it.
        name: our name of the label.
        other_names: {name of transformers: our name} of labels.

    Raises:
        ValueError: if it is not there.
    """
    names = {name, *(other for other, ours in other_names.items() if ours == name)}
    key = next((key for key in batch if key in names), None)
    if key is None:
        raise ValueError(
            f"with `class_weight` a batch must hold {name}. Received: {', '.join(batch)}"
        )
    return key


def export_signature(names: Iterable[str], num_choices_axes: int) -> list[dict]:
    """Returns what `keras.Model.export` is told of inputs, int32 [B, L] or [B, C, L] each."""
    shape = (None,) * (2 + num_choices_axes)
    return [{name: keras.InputSpec(shape=shape, dtype="int32", name=name) for name in names}]


def check_weights_of_metrics(weights: Tensor | None, outputs: Any) -> None:
    """Refuses weights [B, C] of outputs [B, C], which metrics of Keras take to be [B]."""
    if weights is not None and len(weights.shape) == len(getattr(outputs, "shape", ())) == 2:
        if weights.shape[-1] == 1:
            return
        raise ValueError(
            "`weighted_metrics` of several labels need a weight a text, `example_weight` [B]. "
            f"Received: weights {tuple(weights.shape)}"
        )


def as_columns(labels: Any, outputs: Any, weights: Tensor | None = None) -> tuple[Any, Any]:
    """Returns labels and outputs [B] as [B, 1], and [B, C] with weights [B, C] as [B, C, 1].

    Other shapes are left as they are.

    Losses and metrics of Keras average over the last axis and weight what is left, so those of [B]
    would know neither weights of examples nor other devices.
    """
    if isinstance(labels, dict) and isinstance(outputs, dict):
        both = {name: as_columns(labels[name], outputs.get(name)) for name in labels}
        columns = {name: output for name, (_, output) in both.items() if name in outputs}
        return {name: label for name, (label, _) in both.items()}, {**outputs, **columns}
    rank = len(getattr(outputs, "shape", ()))
    has_parts = rank == 2 and weights is not None and len(weights.shape) == 2
    if rank != 1 and not (has_parts and weights.shape[1] != 1 and len(labels.shape) == 2):
        return labels, outputs
    labels = ops.convert_to_tensor(labels)
    return labels[..., None] if len(labels.shape) == rank else labels, outputs[..., None]
