"""What all Keras models have in common: an encoder, a life on disk, and how they train.

A model is called on a batch (a dict), trains with `compile` and `fit`, and reads and writes model
directories. Here alone the words of other libraries for what a batch holds are understood.

Letters: B batch, C choices, L sequence length.
"""

import os
import warnings
from collections.abc import Iterable
from typing import Any, Self

import keras
import numpy as np
from keras import ops

from albert_tf import tensorflow_needs
from albert_tf.checkpoints import hub_files, model_directory, model_kinds, weight_mapping
from albert_tf.config import AlbertConfig, as_config
from albert_tf.model import adapters, fused_ops, losses, model_inputs
from albert_tf.model.adapters import KeepsParts
from albert_tf.model.heads import EncoderWithHead
from albert_tf.model.layers import ADAPTER_NAMES, ComputedOnce, has_built_parts, without_values
from albert_tf.model.model_inputs import EXAMPLE_WEIGHT, INPUTS
from albert_tf.model.modeling import AlbertEncoder
from albert_tf.model.tensors import Batch, Tensor, WeightedSum


class AlbertTaskModel(KeepsParts, ComputedOnce, EncoderWithHead, keras.Model):
    """What all models have in common: the encoder, their life on disk, and how they train.

    The labels travel in the batch with the inputs, so `compile` needs no loss:

        model.compile(keras.optimizers.AdamW(1e-5))
        model.fit(dataset)

    The loss is the sum of the means of the task's losses; `fit` and `evaluate` report each with the
    task's accuracies. A dataset of (inputs, labels) works as well, with `compile(loss=...)`.

    Args:
        config: `AlbertConfig`, or the dict that its `to_dict` gives.
        pooler: whether the encoder has the pooler, where the task can do without; by default as
            in the class of transformers.
        kwargs: of `keras.Model`, such as `dtype="mixed_bfloat16"`.
    """

    kind: str | None = None  # what it answers, one of `model_kinds.KINDS`; None for vectors
    # What transformers calls a model with the same weights, and our heads in it.
    transformers_class: str | None = None
    head_names: tuple[str, ...] = ()
    labels: tuple[str, ...] | None = None  # the names of the classes, where there are any
    # Whether the task reads the pooled vector, and whether the encoder has it where it does not.
    needs_pooler = True
    # What `problem_type` of transformers calls the outputs, and whether a directory's is read.
    problem: str | None = None
    reads_problem = False
    has_pooler = True
    # Whether heads that a directory lacks start anew by themselves: where there are several.
    starts_missing_heads = False
    # What `measure` returns, in its order, and which labels it reads in a batch.
    quantities: tuple[str, ...] = ()
    label_names: tuple[str, ...] = ()
    other_label_names: dict[str, str] = {}  # {what transformers calls a label: our name}
    labels_of_a_text: int | None = None  # C where `label` is [B, C], 0 or 1 each
    # 1 where the ids are [B, C, L]; what `call` returns.
    num_choices_axes = 0
    gives_logits = True
    # Whether `compile` was given metrics, and some that weights count for.
    has_metrics = has_weighted_metrics = False

    def __init__(
        self, config: AlbertConfig | dict, name: str, pooler: bool | None = None, **kwargs
    ):
        # Or Keras would round ids that are floats to what is computed in.
        super().__init__(name=name, **{"autocast": False, **kwargs})
        self.config = as_config(config)
        pooler = self.has_pooler if pooler is None else pooler or self.needs_pooler
        self.encoder = AlbertEncoder(self.config, pooler=pooler, dtype=self.dtype_policy)
        self.trackers = [keras.metrics.Mean(name=name) for name in self.quantities]

    @classmethod
    def from_preset(cls, name: str, **kwargs) -> Self:
        """Returns an untrained model of a published size, for example `"albert_base_v2"`.

        It says so in a warning, since KerasHub's method of this name reads trained weights:
        `from_pretrained` does that here, and `cls(AlbertConfig.from_preset(name))` is silent.
        """
        warnings.warn(
            f"{cls.__name__}.from_preset({name!r}) has random weights; from_pretrained(directory) "
            "reads trained ones",
            stacklevel=2,
        )
        return cls(AlbertConfig.from_preset(name), **kwargs)

    @classmethod
    def from_pretrained(
        cls, directory: str | os.PathLike, initialize_head: bool = False, **kwargs
    ) -> Self:
        """Returns the model of a model directory, ours or one of `transformers`.

        Args:
            directory: with `config.json` and `model.safetensors` (or shards of it,
                `pytorch_model.bin` or `tf_model.h5`); or a name on the Hugging Face hub,
                `owner/name` or `hf://owner/name@revision`, which is downloaded once.
            initialize_head: whether the task's head starts untrained, whatever the directory has,
                as when a pretrained model is to be fine-tuned. `AlbertForPretraining`, which has
                two, starts the one that is missing anew by itself, and says so.
            kwargs: of the constructor, such as `dtype`. The names of the classes come from the
                directory unless given. `share_across_layers=False` gives every layer weights of
                its own that start from the shared ones; `num_hidden_groups` so many groups.
                `max_position_embeddings` stretches the position table for longer texts;
                `tokenizer` gives the model another vocabulary (docs/checkpoints.md).
                `encoder_dropout` and `classifier_dropout` replace the directory's rates.
                `revision` (branch, tag or commit), `cache_dir` and `local_files_only` go with a
                name on the hub.

        Raises:
            CheckpointError: for what is missing, damaged or does not fit, by name.
        """
        directory = hub_files.find_directory(directory, **hub_files.take_options(kwargs))
        return model_directory.load(cls, directory, initialize_head, kwargs)

    def save_pretrained(
        self, directory: str | os.PathLike, tokenizer: "model_directory.Tokenizer | None" = None
    ) -> None:
        """Writes a model directory that `transformers` reads too; it appears whole or not at all.

        Args:
            directory: must not exist yet.
            tokenizer: `Tokenizer` whose vocabulary goes with the model; None writes none.

        Raises:
            FileExistsError: if `directory` is there already.
        """
        model_directory.save(directory, self, tokenizer)

    @classmethod
    def without_values(cls, config: AlbertConfig, **kwargs) -> Self:
        """Returns a model whose weights are about to be read: none has a value, or memory, yet."""
        with without_values():
            return cls(config, **kwargs)

    def weights_by_path(self) -> dict[str, keras.Variable]:
        """Returns {path without the model's own name: variable}, in order; none of adapters."""
        return {
            weight_mapping.relative_path(self, variable): variable
            for variable in self.weights
            if variable.name not in ADAPTER_NAMES
        }

    def saved_weights(self) -> dict[str, np.ndarray]:
        """Returns {path: float32 array}, adapters added in: what a model directory holds."""
        return adapters.merged_weights(self)

    def forget_adapters(self) -> None:
        """Makes adapters add nothing, for weights that were just read and are whole."""
        adapters.clear(self)

    def notes(self) -> model_kinds.TaskNotes | None:
        """Returns what a model directory is to keep of the task; None for nothing."""
        return None

    def head_settings(self) -> dict[str, Any]:
        """Returns what the constructor takes beside the config, as JSON types."""
        return {}

    def get_config(self) -> dict[str, Any]:
        """Returns what the constructor takes, as JSON types."""
        return {
            **super().get_config(),
            "config": self.config.to_dict(),
            "pooler": self.encoder.pooler is not None,
            **self.head_settings(),
        }

    def build_parts(self) -> None:
        """Builds the layers of a subclass that are built in their first call: to load them."""
        if not has_built_parts(self):
            ids = np.zeros((1,) * (2 + self.num_choices_axes), np.int32)
            self({name: ids for name in (*INPUTS, *self.needed_inputs)})

    def load_weights(self, *args, **kwargs) -> None:
        """Reads weights as `keras.Model.load_weights`."""
        self.build_parts()
        super().load_weights(*args, **kwargs)

    def measure(self, batch: Batch, outputs: Any) -> dict[str, WeightedSum]:
        """Returns {name: (weighted sum, sum of weights)} of the losses, then of the accuracies.

        Names of losses end in `_loss`. Labels are read from the batch, as `read_batch` returns it;
        `example_weight` float [B] in it is what each example counts.
        """
        raise NotImplementedError(f"{type(self).__name__} has no loss of its own: give compile one")

    def loss_weights(self, batch: Batch) -> dict[str, Tensor]:
        """Returns {name of a loss: float32 scalar}, the weight sums that `measure` will return."""
        weights = batch.get(EXAMPLE_WEIGHT)
        if weights is None:
            weights = ops.ones(ops.shape(batch["input_ids"])[:1])
        # Classes may weigh nothing, and a batch may hold no others.
        count = ops.maximum(ops.sum(ops.cast(weights, "float32")), 1e-5)
        return {name: count for name in self.quantities if name.endswith("_loss")}

    def read_batch(self, batch: Batch) -> Batch:
        """Returns a batch under our names, see `model_inputs.read_batch`."""
        return model_inputs.read_batch(
            batch, self, self.num_choices_axes, self.other_label_names, self.labels_of_a_text
        )

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """What `fit` reports: without our own quantities where `compile` was given a loss."""
        has_loss = getattr(self, "loss", None) is not None
        return [one for one in super().metrics if not has_loss or one not in self.trackers]

    def compile(
        self,
        optimizer: str | keras.optimizers.Optimizer = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        *args,
        **kwargs,
    ) -> None:
        """Configures `fit` as `keras.Model.compile`; without `loss` the model's own is taken.

        Raises:
            ValueError: for a loss or metric of probabilities, or `loss_weights` without `loss`.
        """
        if loss is None and loss_weights is not None:
            raise ValueError(f"`loss_weights` go with `loss`. Received: {loss_weights!r} alone")
        if self.gives_logits:
            losses.check_take_logits((loss, metrics, weighted_metrics), type(self).__name__)
        if self.labels_of_a_text:
            metrics, weighted_metrics = map(losses.of_several_labels, (metrics, weighted_metrics))
        self.loss = self._compile_loss = self._compile_metrics = None  # Keras keeps those of before
        super().compile(optimizer, loss, loss_weights, metrics, weighted_metrics, *args, **kwargs)
        fused_ops.skip_steps_of_all_replicas(self.optimizer)
        self.has_weighted_metrics = bool(keras.tree.flatten(weighted_metrics or ()))
        self.has_metrics = self.has_weighted_metrics or bool(keras.tree.flatten(metrics or ()))

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles a model read from a file as it was; Keras leaves that to whoever has `compile`.

        Args:
            config: as of `get_compile_config`.
        """
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    def fit(
        self, x: Any = None, y: Any = None, *args, class_weight: dict | None = None, **kwargs
    ) -> keras.callbacks.History:
        """Trains as `keras.Model.fit`; weights of classes and examples also without `y`.

        Raises:
            RuntimeError: under several workers, where Keras cannot train.
        """
        fused_ops.check_one_worker()
        self.check_class_weight(class_weight)
        if y is None and class_weight is not None:
            x, y = model_inputs.part_labels(x, self._label_key)
        x = model_inputs.take_example_weights(x, y, kwargs)
        model_inputs.take_weights_of_held_out(kwargs)
        if hasattr(x, "element_spec") and len(args) < 7:
            # Of a dataset Keras says in a warning that it ignores this default of its own.
            kwargs.setdefault("shuffle", False)
        return super().fit(x, y, *args, class_weight=class_weight, **kwargs)

    def evaluate(self, x: Any = None, y: Any = None, *args, **kwargs) -> Any:
        """Evaluates as `keras.Model.evaluate`; weights of examples also without `y`."""
        names = ("sample_weight", "steps", "callbacks", "return_dict")  # the last of Keras's
        kwargs |= dict(zip(names, args[2:], strict=False))
        x = model_inputs.take_example_weights(x, y, kwargs)
        return super().evaluate(x, y, *args[:2], **kwargs)

    def train_on_batch(
        self, x: Any, y: Any = None, sample_weight: Any = None, class_weight: Any = None, **kwargs
    ) -> Any:
        """Trains as `keras.Model.train_on_batch`; weights also without `y`."""
        self.check_class_weight(class_weight)
        if y is None and class_weight is not None:
            x, y = model_inputs.part_labels(x, self._label_key)
        kwargs["sample_weight"] = sample_weight
        x = model_inputs.take_example_weights(x, y, kwargs)
        return super().train_on_batch(x, y, class_weight=class_weight, **kwargs)

    def check_class_weight(self, class_weight: dict | None) -> None:
        """Refuses weights of classes where Keras would take the labels for something else."""

    def test_on_batch(self, x: Any, y: Any = None, *args, **kwargs) -> Any:
        """Evaluates as `keras.Model.test_on_batch`; weights of examples also without `y`."""
        x = model_inputs.take_example_weights(x, y, kwargs)
        return super().test_on_batch(x, y, *args, **kwargs)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Tensor | None = None,
        training: bool = True,
    ) -> Tensor:
        """Returns the loss of one batch and notes the reported quantities."""
        x = self.read_batch(x)
        sample_weight = model_inputs.multiply_weights(sample_weight, x.pop(EXAMPLE_WEIGHT, None))
        if getattr(self, "loss", None) is not None:
            y, y_pred = model_inputs.as_columns(self._labels(x, y), y_pred, sample_weight)
            return super().compute_loss(x, y, y_pred, sample_weight, training)
        if y is not None:
            x = self.read_batch({**x, **(y if isinstance(y, dict) else {self._only_label(): y})})
        missing = [name for name in self.label_names if name not in x]
        if missing:
            raise ValueError(
                f"a batch of {type(self).__name__} must hold {', '.join(self.label_names)}, or the "
                f"dataset (inputs, labels) and `compile` a loss. Received: {', '.join(sorted(x))}"
            )
        # As in Keras: weights of examples scale their losses, and not what these are divided by.
        weights = self.loss_weights(x)
        if sample_weight is not None:
            x = self.read_batch({**x, EXAMPLE_WEIGHT: sample_weight})
        quantities = self.measure(x, y_pred)
        loss = 0.0
        for tracker in self.trackers:
            weighted_sum, weight_sum = quantities[tracker.name]
            if tracker.name in weights:
                loss += ops.divide_no_nan(
                    weighted_sum, fused_ops.sum_over_replicas(weights[tracker.name])
                )
                weight_sum = weights[tracker.name]
            tracker.update_state(ops.divide_no_nan(weighted_sum, weight_sum), weight_sum)
        if self.losses:  # of `add_loss` and regularizers
            loss += super().compute_loss(x, None, y_pred, None, training)
        return loss

    def _compute_loss(self, x: Any = None, *args, **kwargs) -> Tensor:  # what `fit` reports
        loss = super()._compute_loss(x, *args, **kwargs)
        if getattr(self, "loss", None) is not None:
            return loss
        return fused_ops.weigh_by_rows(loss, ops.shape(keras.tree.flatten(x)[0])[0])

    def compute_metrics(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Updates the metrics of `compile`; labels may be in the batch."""
        if self.has_metrics:
            x = self.read_batch(x)
            sample_weight = model_inputs.multiply_weights(sample_weight, x.get(EXAMPLE_WEIGHT))
            if self.has_weighted_metrics:
                model_inputs.check_weights_of_metrics(sample_weight, y_pred)
            y, y_pred = model_inputs.as_columns(self._labels(x, y), y_pred)
        return super().compute_metrics(x, y, y_pred, sample_weight)

    def _labels(self, batch: Batch, y: Any) -> Any:
        """Returns what a loss or metric of Keras is to compare the outputs with."""
        if y is not None:
            return y
        name = self._only_label()
        if name not in batch:
            raise ValueError(
                f"a batch of {type(self).__name__} must hold {name}, or the dataset be (inputs, "
                f"labels). Received: {', '.join(sorted(batch))}"
            )
        return batch[name]

    def _only_label(self) -> str:
        if len(self.label_names) != 1:
            names = ", ".join(self.label_names) or "none"
            raise ValueError(
                f"with a loss or metrics in `compile`, the dataset of {type(self).__name__} must "
                f"be (inputs, labels), the labels in the form of its outputs; its labels in a "
                f"batch ({names}) go with its own loss. Received: a batch alone"
            )
        return self.label_names[0]

    def _label_key(self, batch: Iterable[str]) -> str:
        """Returns what the label is called in a batch."""
        return model_inputs.find_label(batch, self._only_label(), self.other_label_names)

    def export(
        self,
        filepath: str | os.PathLike,
        format: str = "tf_saved_model",
        verbose: bool | None = None,
        input_signature: list | None = None,
        **kwargs,
    ) -> None:
        """Writes `filepath` as `keras.Model.export`: `input_ids`, `input_mask`, `segment_ids` in.

        For a SavedModel that takes text, see `run_export`.
        """
        tensorflow_needs.check_backend("model.export")
        if input_signature is None:
            names = (*INPUTS, *self.needed_inputs)
            input_signature = model_inputs.export_signature(names, self.num_choices_axes)
        return super().export(
            filepath, format=format, verbose=verbose, input_signature=input_signature, **kwargs
        )
