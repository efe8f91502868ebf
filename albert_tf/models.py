"""The Keras models: the encoder with the heads of one task each.

All of them read and write model directories, are called on a batch (a dict), and train with
`compile` and `fit`.

Letters: B batch, L sequence length, P prediction slots, K starts of answers, H hidden size,
V vocabulary, C classes or choices.
"""

import keras
from keras import ops

from albert_tf import losses, model_directory
from albert_tf.config import AlbertConfig, as_config
from albert_tf.heads import ConditionalSpanHead, LinearHead, MaskedLMHead, SentenceOrderHead
from albert_tf.modeling import AlbertEncoder


class AlbertTaskModel(keras.Model):
    """What all models have in common: the encoder, and their life on disk.

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

    def __init__(self, config, name, pooler=None, **kwargs):
        super().__init__(name=name, **kwargs)
        self.config = as_config(config)
        pooler = self.has_pooler if pooler is None else pooler or self.needs_pooler
        self.encoder = AlbertEncoder(self.config, pooler=pooler, dtype=self.dtype_policy)

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

    Batches are dicts whose labels travel with the inputs, so no loss is given to `compile`:

        model = AlbertForPretraining(AlbertConfig.from_preset("albert_mini"))
        model.compile(keras.optimizers.AdamW(1e-3))
        model.fit(dataset)

    The loss is the mean masked-LM loss over the batch's predictions plus the mean sentence-order
    loss. `fit` and `evaluate` report both with their accuracies, averaged over all predictions.

    Args:
        config: `AlbertConfig`, or the dict that its `to_dict` gives.
        kwargs: of `keras.Model`, such as `dtype="mixed_bfloat16"`.
    """

    transformers_class = "AlbertForPreTraining"
    head_names = ("masked_lm_head", "sentence_order_head")

    def __init__(self, config, name="albert_for_pretraining", **kwargs):
        super().__init__(config, name=name, **kwargs)
        self.masked_lm_head = MaskedLMHead(self.config, dtype=self.dtype_policy)
        self.sentence_order_head = SentenceOrderHead(self.config, dtype=self.dtype_policy)
        self.trackers = [
            keras.metrics.Mean(name=name)
            for name in (
                "masked_lm_loss",
                "masked_lm_accuracy",
                "sentence_order_loss",
                "sentence_order_accuracy",
            )
        ]
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

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Returns the loss of one batch and notes the four reported quantities."""
        words = (y_pred["masked_lm_logits"], x["masked_lm_ids"], x["masked_lm_weights"])
        order = (y_pred["sentence_order_logits"], x["sentence_order_label"])
        quantities = (
            losses.masked_lm_loss(*words),
            losses.masked_lm_accuracy(*words),
            losses.sentence_order_loss(*order),
            losses.sentence_order_accuracy(*order),
        )
        for tracker, (weighted_sum, weight_sum) in zip(self.trackers, quantities, strict=True):
            mean = ops.divide_no_nan(weighted_sum, weight_sum)
            tracker.update_state(mean, sample_weight=weight_sum)
        words_sum, words_weight = quantities[0]
        order_sum, order_weight = quantities[2]
        # The original's small constant: a batch without any prediction gives 0 and not NaN.
        return words_sum / (words_weight + 1e-5) + order_sum / order_weight

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        """Returns what `compute_loss` noted."""
        return self.get_metrics_result()


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


class LabelledModel(AlbertTaskModel):
    """A model whose outputs are classes.

    Args:
        config: `AlbertConfig` or its dict; its `classifier_dropout_prob` is the head's.
        num_classes: C.
        labels: the C names of the classes; by default `LABEL_0`, `LABEL_1`, ...
    """

    labels = ()

    def __init__(self, config, num_classes=None, labels=None, **kwargs):
        super().__init__(config, **kwargs)
        if labels is None:
            labels = [f"LABEL_{index}" for index in range(num_classes or 2)]
        if num_classes not in (None, len(labels)) or len(set(labels)) != len(labels):
            raise ValueError(
                f"`labels` must be different names, num_classes={num_classes} of them. "
                f"Received: {labels}"
            )
        self.labels = tuple(labels)
        rate = self.config.classifier_dropout_prob
        head = LinearHead(
            self.config, len(labels), rate, name=self.head_names[0], dtype=self.dtype_policy
        )
        setattr(self, self.head_names[0], head)
        self.built = True

    def head_settings(self):
        """Returns the names of the classes."""
        return {"labels": list(self.labels)}


@keras.saving.register_keras_serializable(package="albert_tf")
class AlbertClassifier(LabelledModel):
    """One of C classes for a text or a pair of texts. Arguments as of `LabelledModel`."""

    transformers_class = "AlbertForSequenceClassification"
    head_names = ("classification_head",)

    def __init__(self, config, name="albert_classifier", **kwargs):
        super().__init__(config, name=name, **kwargs)

    def call(self, inputs, training=False):
        """Returns float32 logits [B, C] for a batch as of `AlbertModel`."""
        encoded = self.encode(inputs, training)
        return self.classification_head(encoded["pooled_output"], training=training)


@keras.saving.register_keras_serializable(package="albert_tf")
class AlbertRegressor(AlbertTaskModel):
    """One number for a text or a pair of texts. Arguments as of `AlbertTaskModel`."""

    transformers_class = "AlbertForSequenceClassification"
    head_names = ("classification_head",)

    def __init__(self, config, name="albert_regressor", **kwargs):
        super().__init__(config, name=name, **kwargs)
        rate = self.config.classifier_dropout_prob
        self.classification_head = LinearHead(
            self.config, 1, rate, name="classification_head", dtype=self.dtype_policy
        )
        self.built = True

    def call(self, inputs, training=False):
        """Returns float32 [B] for a batch as of `AlbertModel`."""
        encoded = self.encode(inputs, training)
        return self.classification_head(encoded["pooled_output"], training=training)[:, 0]


@keras.saving.register_keras_serializable(package="albert_tf")
class AlbertTokenClassifier(LabelledModel):
    """One of C classes for each token. Arguments as of `LabelledModel`."""

    transformers_class = "AlbertForTokenClassification"
    head_names = ("token_head",)
    needs_pooler = has_pooler = False

    def __init__(self, config, name="albert_token_classifier", **kwargs):
        super().__init__(config, name=name, **kwargs)

    def call(self, inputs, training=False):
        """Returns float32 logits [B, L, C] for a batch as of `AlbertModel`."""
        encoded = self.encode(inputs, training)
        return self.token_head(encoded["sequence_output"], training=training)


@keras.saving.register_keras_serializable(package="albert_tf")
class AlbertMultipleChoice(AlbertTaskModel):
    """One of C texts: a score for each. Arguments as of `AlbertTaskModel`."""

    transformers_class = "AlbertForMultipleChoice"
    head_names = ("choice_head",)

    def __init__(self, config, name="albert_multiple_choice", **kwargs):
        super().__init__(config, name=name, **kwargs)
        rate = self.config.classifier_dropout_prob
        self.choice_head = LinearHead(
            self.config, 1, rate, name="choice_head", dtype=self.dtype_policy
        )
        self.built = True

    def call(self, inputs, training=False):
        """Returns float32 logits [B, C] for a batch whose arrays are int [B, C, L]."""
        choices, length = ops.shape(inputs["input_ids"])[1:]
        flat = {
            name: ops.reshape(inputs[name], (-1, length))  # [B * C, L]
            for name in ("input_ids", "input_mask", "segment_ids")
            if inputs.get(name) is not None
        }
        encoded = self.encode(flat, training)
        scores = self.choice_head(encoded["pooled_output"], training=training)  # [B * C, 1]
        return ops.reshape(scores, (-1, choices))  # [B, C]


@keras.saving.register_keras_serializable(package="albert_tf")
class AlbertSpanSelector(AlbertTaskModel):
    """Where an answer starts and ends: SQuAD 1.1's head. Arguments as of `AlbertTaskModel`."""

    transformers_class = "AlbertForQuestionAnswering"
    head_names = ("span_head",)
    needs_pooler = has_pooler = False

    def __init__(self, config, name="albert_span_selector", **kwargs):
        super().__init__(config, name=name, **kwargs)
        self.span_head = LinearHead(self.config, 2, name="span_head", dtype=self.dtype_policy)
        self.built = True

    def call(self, inputs, training=False):
        """Returns float32 `start_logits` and `end_logits` [B, L]; `inputs` as of `AlbertModel`."""
        logits = self.span_head(self.encode(inputs, training)["sequence_output"])  # [B, L, 2]
        return {"start_logits": logits[..., 0], "end_logits": logits[..., 1]}


@keras.saving.register_keras_serializable(package="albert_tf")
class AlbertAnswerabilitySelector(AlbertTaskModel):
    """Start, end given the start, and answerability: SQuAD 2.0's head of the original.

    Arguments as of `AlbertTaskModel`. `transformers` has no such head: in a model directory it lies
    in a file of our own, beside an encoder that `transformers` reads.
    """

    transformers_class = "AlbertModel"
    head_names = ("conditional_span_head",)
    needs_pooler = has_pooler = False
    # The original keeps this many starts, and as many ends for each.
    num_starts = 5

    def __init__(self, config, name="albert_answerability_selector", **kwargs):
        super().__init__(config, name=name, **kwargs)
        self.conditional_span_head = ConditionalSpanHead(
            self.config, self.config.classifier_dropout_prob, dtype=self.dtype_policy
        )
        self.built = True

    def call(self, inputs, training=False):
        """Scores a batch as of `AlbertModel`.

        Args:
            inputs: also `answer_mask` int [B, L], 1 where an answer may start or end and at
                [CLS]; None allows all tokens. With `start_position` int [B], the ends are scored
                given that start, as in training; without, given each of the K best starts.
            training: whether to drop out.

        Returns:
            A dict of float32 `start_logits` [B, L], `end_logits` [B, K, L] (K = 1 with
            `start_position`), `impossible_logits` [B] and int `start_positions` [B, K].
        """
        vectors = self.encode(inputs, training)["sequence_output"]  # [B, L, H]
        head = self.conditional_span_head
        allowed = inputs.get("answer_mask")
        if allowed is None:
            allowed = ops.ones_like(inputs["input_ids"])
        starts = head.score_starts(vectors, allowed)  # [B, L]
        if inputs.get("start_position") is not None:
            positions = inputs["start_position"][:, None]  # [B, 1]
        else:
            count = min(self.num_starts, starts.shape[1])
            positions = ops.top_k(starts, count)[1]  # [B, K]
        return {
            "start_logits": starts,
            "end_logits": head.score_ends(vectors, allowed, positions),  # [B, K, L]
            "impossible_logits": head.score_impossible(vectors, starts, training),  # [B]
            "start_positions": positions,
        }


MODELS = (
    AlbertForPretraining,
    AlbertMaskedLM,
    AlbertModel,
    AlbertClassifier,
    AlbertRegressor,
    AlbertTokenClassifier,
    AlbertMultipleChoice,
    AlbertSpanSelector,
    AlbertAnswerabilitySelector,
)
