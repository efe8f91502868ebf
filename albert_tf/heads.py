"""What is asked of the encoder, and the Keras models made of both.

Letters: B batch, L sequence length, P prediction slots, E embedding size, H hidden size,
V vocabulary.
"""

import keras
from keras import ops

from albert_tf import fused_ops, losses
from albert_tf.config import as_config
from albert_tf.modeling import AlbertEncoder, LayerNorm, Linear, add_vector


class MaskedLMHead(keras.layers.Layer):
    """Scores every word of the vocabulary, with the word table of the encoder as output matrix."""

    def __init__(self, config, name="masked_lm_head", **kwargs):
        super().__init__(name=name, **kwargs)
        self.config = config = as_config(config)
        self.transform = Linear(
            config,
            config.hidden_size,
            config.embedding_size,
            name="transform",
            dtype=self.dtype_policy,
        )
        self.layer_norm = LayerNorm(
            config, config.embedding_size, name="layer_norm", dtype=self.dtype_policy
        )
        self.build()

    def build(self, *_):
        """Makes the transform, its layer normalisation and `output_bias` [V]."""
        self.transform.build()
        self.layer_norm.build()
        self.output_bias = add_vector(self, "output_bias", self.config.vocab_size, "zeros")

    def get_config(self):
        """Returns what the constructor takes, as JSON types."""
        return {**super().get_config(), "config": self.config.to_dict()}

    def call(self, vectors, word_embeddings, positions=None):
        """Returns float32 logits [B, P, V].

        Args:
            vectors: [B, P, H] at the masked positions, or [B, L, H] with `positions`.
            word_embeddings: the encoder's table [V, E].
            positions: int [B, P], where to read `vectors`; None means that they are gathered.
        """
        if positions is not None:
            vectors = fused_ops.gather_positions(vectors, positions)  # [B, P, H]
        inner = self.layer_norm(
            self.transform(vectors, activation=self.config.hidden_act)
        )  # [B, P, E]
        table = ops.cast(word_embeddings, inner.dtype)
        logits = fused_ops.multiply(inner, table, transpose=True)  # [B, P, V]
        # In float32 from here on: bfloat16 cannot tell neighboring scores apart.
        logits = ops.cast(logits, "float32")
        return fused_ops.add_bias(logits, ops.cast(self.output_bias, "float32"))


class SentenceOrderHead(keras.layers.Layer):
    """Scores "in order" and "swapped" from the pooled vector; the original has no dropout here."""

    def __init__(self, config, name="sentence_order_head", **kwargs):
        super().__init__(name=name, **kwargs)
        self.config = config = as_config(config)
        self.classifier = Linear(
            config, config.hidden_size, 2, name="classifier", dtype=self.dtype_policy
        )
        self.build()

    def build(self, *_):
        """Makes the classifier."""
        self.classifier.build()

    def get_config(self):
        """Returns what the constructor takes, as JSON types."""
        return {**super().get_config(), "config": self.config.to_dict()}

    def call(self, pooled_output):
        """Maps [B, H] to float32 logits [B, 2]."""
        return ops.cast(self.classifier(pooled_output), "float32")  # [B, 2]


@keras.saving.register_keras_serializable(package="albert_tf")
class AlbertForPretraining(keras.Model):
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

    def __init__(self, config, name="albert_for_pretraining", **kwargs):
        super().__init__(name=name, **kwargs)
        self.config = as_config(config)
        self.encoder = AlbertEncoder(self.config, dtype=self.dtype_policy)
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

    def get_config(self):
        """Returns what the constructor takes, as JSON types."""
        return {**super().get_config(), "config": self.config.to_dict()}

    def call(self, inputs, training=False):
        """Scores a batch.

        Args:
            inputs: dict with `input_ids`, `input_mask`, `segment_ids` int [B, L] and
                `masked_lm_positions` int [B, P]; other keys, such as labels, are ignored.
            training: whether to drop out.

        Returns:
            A dict of float32 `masked_lm_logits` [B, P, V] and `sentence_order_logits` [B, 2].
        """
        encoded = self.encoder(
            inputs["input_ids"],
            inputs["input_mask"],
            inputs["segment_ids"],
            positions=inputs["masked_lm_positions"],
            training=training,
        )
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
