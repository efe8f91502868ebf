"""The Keras models: the encoder alone and with the heads of pretraining.

All models read and write model directories, are called on a batch (a dict), and train with
`compile` and `fit`. Those of other tasks are in task_models.py.

Letters: B batch, L sequence length, P prediction slots, H hidden size, V vocabulary.
"""

import keras
from keras import ops

from albert_tf import losses, model_directory
from albert_tf.config import AlbertConfig, as_config
from albert_tf.heads import MaskedLMHead, SentenceOrderHead
from albert_tf.modeling import AlbertEncoder


class AlbertTaskModel(keras.Model):
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

    # What transformers calls a model with the same weights, and our heads in it.
    transformers_class = None
    head_names = ()
    # The names of the classes, where there are any.
    labels = None
    # Whether the task reads the pooled vector, and whether the encoder has it where it does not.
    needs_pooler = True
    has_pooler = True
    # What `measure` returns, in its order, and which labels it reads in a batch.
    quantities = ()
    label_names = ()

    def __init__(self, config, name, pooler=None, **kwargs):
        super().__init__(name=name, **kwargs)
        self.config = as_config(config)
        pooler = self.has_pooler if pooler is None else pooler or self.needs_pooler
        self.encoder = AlbertEncoder(self.config, pooler=pooler, dtype=self.dtype_policy)
        self.trackers = [keras.metrics.Mean(name=name) for name in self.quantities]

    @classmethod
    def from_preset(cls, name, **kwargs):
        """Returns an untrained model of a published size, for example `"albert_base_v2"`."""
        return cls(AlbertConfig.from_preset(name), **kwargs)

    @classmethod
    def from_pretrained(cls, directory, initialize_head=False, **kwargs):
        """Returns the model of a model directory, ours or one of `transformers`.

        Args:
            directory: with `config.json` and `model.safetensors` (or shards of it,
                `pytorch_model.bin` or `tf_model.h5`).
            initialize_head: whether the task's head may be missing and then starts untrained, as
                when a pretrained model is to be fine-tuned.
            kwargs: of the constructor, such as `dtype`. The names of the classes come from the
                directory unless given. `share_across_layers=False` gives every layer weights of
                its own that start from the shared ones; `num_hidden_groups` so many groups.
            `encoder_dropout` and `classifier_dropout` replace the directory's rates.

        Raises:
            CheckpointError: for what is missing, damaged or does not fit, by name.
        """
        return model_directory.load(cls, directory, initialize_head, kwargs)

    def save_pretrained(self, directory, tokenizer=None):
        """Writes a model directory that `transformers` reads too; it appears whole or not at all.

        Args:
            directory: must not exist yet.
            tokenizer: `Tokenizer` whose vocabulary goes with the model; None writes none.

        Raises:
            FileExistsError: if `directory` is there already.
        """
        model_directory.save(directory, self, tokenizer)

    def head_settings(self):
        """Returns what the constructor takes beside the config, as JSON types."""
        return {}

    def get_config(self):
        """Returns what the constructor takes, as JSON types."""
        return {
            **super().get_config(),
            "config": self.config.to_dict(),
            "pooler": self.encoder.pooler is not None,
            **self.head_settings(),
        }

    def measure(self, batch, outputs):
        """Returns {name: (weighted sum, sum of weights)} of the losses, then of the accuracies.

        Names of losses end in `_loss`. Labels are read from the batch.
        """
        raise NotImplementedError(f"{type(self).__name__} has no loss of its own: give compile one")

    def loss_weights(self, batch):
        """Returns {name of a loss: float32 scalar}, the weight sums that `measure` will return."""
        count = ops.cast(ops.shape(batch["input_ids"])[0], "float32")
        return {name: count for name in self.quantities if name.endswith("_loss")}

    @property
    def metrics(self):
        """What `fit` reports: without our own quantities where `compile` was given a loss."""
        found = super().metrics
        if getattr(self, "loss", None) is None:
            return found
        return [metric for metric in found if metric not in self.trackers]

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Returns the loss of one batch and notes the reported quantities."""
        if y is not None:
            return super().compute_loss(x, y, y_pred, sample_weight, training)
        missing = [name for name in self.label_names if name not in x]
        if missing:
            raise ValueError(
                f"a batch of {type(self).__name__} must hold {', '.join(self.label_names)}, or the "
                f"dataset (inputs, labels) and `compile` a loss. Received: {', '.join(sorted(x))}"
            )
        quantities = self.measure(x, y_pred)
        loss = 0.0
        for tracker in self.trackers:
            weighted_sum, weight_sum = quantities[tracker.name]
            mean = ops.divide_no_nan(weighted_sum, weight_sum)
            tracker.update_state(mean, sample_weight=weight_sum)
            if tracker.name.endswith("_loss"):
                loss += mean
        return loss

    def encode(self, inputs, training, positions=None):
        """Returns the encoder's outputs for a batch."""
        return self.encoder(
            inputs["input_ids"],
            inputs.get("input_mask"),
            inputs.get("segment_ids"),
            positions=positions,
            training=training,
        )


@keras.saving.register_keras_serializable(package="albert_tf")
class AlbertForPretraining(AlbertTaskModel):
    """Encoder, masked-LM head and sentence-order head.

    The loss is the mean masked-LM loss over the batch's predictions plus the mean sentence-order
    loss.

    Args:
        config: `AlbertConfig`, or the dict that its `to_dict` gives.
        kwargs: of `keras.Model`, such as `dtype="mixed_bfloat16"`.
    """

    transformers_class = "AlbertForPreTraining"
    head_names = ("masked_lm_head", "sentence_order_head")
    quantities = (
        "masked_lm_loss",
        "masked_lm_accuracy",
        "sentence_order_loss",
        "sentence_order_accuracy",
    )
    label_names = ("masked_lm_ids", "masked_lm_weights", "sentence_order_label")

    def __init__(self, config, name="albert_for_pretraining", **kwargs):
        super().__init__(config, name=name, **kwargs)
        self.masked_lm_head = MaskedLMHead(self.config, dtype=self.dtype_policy)
        self.sentence_order_head = SentenceOrderHead(self.config, dtype=self.dtype_policy)
        self.built = True

    def call(self, inputs, training=False):
        """Scores a batch.

        Args:
            inputs: dict with `input_ids`, `input_mask`, `segment_ids` int [B, L] and
                `masked_lm_positions` int [B, P]; other keys, such as labels, are ignored.
            training: whether to drop out.

        Returns:
            A dict of float32 `masked_lm_logits` [B, P, V] and `sentence_order_logits` [B, 2].
        """
        encoded = self.encode(inputs, training, positions=inputs["masked_lm_positions"])
        return {
            "masked_lm_logits": self.masked_lm_head(
                encoded["sequence_output"], self.encoder.embeddings.word_embeddings
            ),
            "sentence_order_logits": self.sentence_order_head(encoded["pooled_output"]),
        }

    def loss_weights(self, batch):
        """Returns the number of predictions and of examples in a batch."""
        # 1e-5 is the original's, and keeps a batch without any prediction finite.
        words = ops.sum(ops.cast(batch["masked_lm_weights"], "float32")) + 1e-5
        return {**super().loss_weights(batch), "masked_lm_loss": words}

    def measure(self, batch, outputs):
        """Returns losses and accuracies of words and sentence order, see `AlbertTaskModel`."""
        words = (outputs["masked_lm_logits"], batch["masked_lm_ids"], batch["masked_lm_weights"])
        order = (outputs["sentence_order_logits"], batch["sentence_order_label"])
        return {
            "masked_lm_loss": losses.cross_entropy(*words),
            "masked_lm_accuracy": losses.accuracy(*words),
            "sentence_order_loss": losses.cross_entropy(*order),
            "sentence_order_accuracy": losses.accuracy(*order),
        }


@keras.saving.register_keras_serializable(package="albert_tf")
class AlbertModel(AlbertTaskModel):
    """The encoder alone: vectors of tokens and of the text."""

    transformers_class = "AlbertModel"
    needs_pooler = False

    def __init__(self, config, name="albert", **kwargs):
        super().__init__(config, name=name, **kwargs)
        self.built = True

    def call(self, inputs, training=False):
        """Returns `sequence_output` [B, L, H] and, with a pooler, `pooled_output` [B, H].

        Args:
            inputs: dict with `input_ids` and, if not all ones and zeros, `input_mask` and
                `segment_ids`, int [B, L].
            training: whether to drop out.
        """
        return self.encode(inputs, training)


@keras.saving.register_keras_serializable(package="albert_tf")
class AlbertMaskedLM(AlbertTaskModel):
    """Encoder and masked-LM head: words for masks. Arguments as of `AlbertTaskModel`."""

    transformers_class = "AlbertForMaskedLM"
    head_names = ("masked_lm_head",)
    needs_pooler = has_pooler = False

    def __init__(self, config, name="albert_masked_lm", **kwargs):
        super().__init__(config, name=name, **kwargs)
        self.masked_lm_head = MaskedLMHead(self.config, dtype=self.dtype_policy)
        self.built = True

    def call(self, inputs, training=False):
        """Returns float32 logits [B, P, V] at `masked_lm_positions` int [B, P].

        Args:
            inputs: dict as for `AlbertModel`, and the positions; without them all L are scored.
            training: whether to drop out.
        """
        encoded = self.encode(inputs, training, positions=inputs.get("masked_lm_positions"))
        table = self.encoder.embeddings.word_embeddings
        return self.masked_lm_head(encoded["sequence_output"], table)
