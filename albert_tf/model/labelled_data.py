"""Labels that travel in the batch, put beside it and into the shape that Keras weighs."""

import collections.abc
from collections.abc import Callable, Iterable
from typing import Any

import keras
from keras import ops

from albert_tf.model.tensors import Batch, Tensor


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


def as_columns(labels: Any, outputs: Any) -> tuple[Any, Any]:
    """Returns labels and outputs [B] as [B, 1]; other shapes as they are.

    Losses and metrics of Keras average over the last axis and weight what is left, so those of [B]
    would know neither weights of examples nor other devices.
    """
    if isinstance(labels, dict) and isinstance(outputs, dict):
        both = {name: as_columns(labels[name], outputs.get(name)) for name in labels}
        columns = {name: output for name, (_, output) in both.items() if name in outputs}
        return {name: label for name, (label, _) in both.items()}, {**outputs, **columns}
    if len(getattr(outputs, "shape", ())) != 1:
        return labels, outputs
    labels = ops.convert_to_tensor(labels)
    return ops.reshape(labels, (-1, 1)), ops.reshape(outputs, (-1, 1))
