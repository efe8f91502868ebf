"""What is asked of the encoder's vectors: words, sentence order, classes, spans, answers.

Each is a layer; `EncoderWithHead` at the end is how a model comes to ask it.

Letters: B batch, L sequence length, P prediction slots, K starts of answers, E embedding size,
H hidden size, V vocabulary, C classes or other scores a vector.
"""

from typing import Any

import keras
from keras import ops

from albert_tf.config import AlbertConfig, as_config
from albert_tf.model import fused_ops
from albert_tf.model.layers import (
    ComputedOnce,
    Dropout,
    LayerNorm,
    Linear,
    add_vector,
    freeze_parts,
)
from albert_tf.model.model_inputs import INPUTS
from albert_tf.model.modeling import AlbertEncoder
from albert_tf.model.tensors import Batch, Tensor

_STATES = ("hidden_states", "attentions")


@keras.saving.register_keras_serializable(package="albert_tf")
class MaskedLMHead(ComputedOnce, keras.layers.Layer):
    """Scores every word of the vocabulary, with the word table of the encoder as output matrix."""

    def __init__(self, config: AlbertConfig | dict, name: str = "masked_lm_head", **kwargs):
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

    def build(self, *_) -> None:
        """Makes the transform, its layer normalisation and `output_bias` [V]."""
        if self.built:
            return
        self.transform.build()
        self.layer_norm.build()
        self.output_bias = add_vector(self, "output_bias", self.config.vocab_size, "zeros")
        freeze_parts(self)

    def get_config(self) -> dict[str, Any]:
        """Returns what the constructor takes, as JSON types."""
        return {**super().get_config(), "config": self.config.to_dict()}

    def call(
        self, vectors: Tensor, word_embeddings: Tensor, positions: Tensor | None = None
    ) -> Tensor:
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


@keras.saving.register_keras_serializable(package="albert_tf")
class LinearHead(ComputedOnce, keras.layers.Layer):
    """Dropout and one linear layer on pooled or token vectors, the head of most tasks.

    Args:
        config: of the encoder.
        num_outputs: C, scores a vector.
        dropout_rate: of the vectors, while training.
    """

    def __init__(
        self,
        config: AlbertConfig | dict,
        num_outputs: int,
        dropout_rate: float = 0.0,
        name: str = "linear_head",
        **kwargs,
    ):
        super().__init__(name=name, **kwargs)
        self.config = config = as_config(config)
        self.num_outputs = num_outputs
        policy = {"dtype": self.dtype_policy}
        self.dropout = Dropout(dropout_rate, **policy)
        self.classifier = Linear(
            config, config.hidden_size, num_outputs, name="classifier", **policy
        )
        self.build()

    def build(self, *_) -> None:
        """Makes the classifier."""
        if self.built:
            return
        self.classifier.build()
        freeze_parts(self)

    def get_config(self) -> dict[str, Any]:
        """Returns what the constructor takes, as JSON types."""
        return {
            **super().get_config(),
            "config": self.config.to_dict(),
            "num_outputs": self.num_outputs,
            "dropout_rate": self.dropout.rate,
        }

    def call(self, vectors: Tensor, training: bool = False) -> Tensor:
        """Maps [..., H] to float32 logits [..., C], not rounded to what the policy computes in."""
        return self.classifier(self.dropout(vectors, training=training), dtype="float32")


@keras.saving.register_keras_serializable(package="albert_tf")
class SentenceOrderHead(LinearHead):
    """Scores "in order" and "swapped" from the pooled vector; the original has no dropout here."""

    def __init__(self, config: AlbertConfig | dict, name: str = "sentence_order_head", **kwargs):
        super().__init__(config, 2, name=name, **kwargs)

    def get_config(self) -> dict[str, Any]:
        """Returns what the constructor takes, as JSON types."""
        values = super().get_config()
        del values["num_outputs"], values["dropout_rate"]
        return values


@keras.saving.register_keras_serializable(package="albert_tf")
class ConditionalSpanHead(ComputedOnce, keras.layers.Layer):
    """Start, end given the start, and whether there is an answer: the original's SQuAD 2.0 head.

    As `create_v2_model` of the original computes them:

        start  = seq w_s                                   softmax over allowed positions
        end    = LN(tanh([seq; seq[start]] W_e)) w_e        given one start
        answer = tanh([sum_i softmax(start)_i seq_i; seq_0] W_a) w_a

    `answer` scores "impossible": the larger, the less likely is there an answer.

    Args:
        config: of the encoder.
        dropout_rate: of the answerability features, while training.
    """

    def __init__(
        self,
        config: AlbertConfig | dict,
        dropout_rate: float = 0.1,
        name: str = "conditional_span_head",
        **kwargs,
    ):
        super().__init__(name=name, **kwargs)
        self.config = config = as_config(config)
        size, policy = config.hidden_size, {"dtype": self.dtype_policy}
        self.start = Linear(config, size, 1, name="start", **policy)
        self.end_transform = Linear(config, 2 * size, size, name="end_transform", **policy)
        self.end_layer_norm = LayerNorm(config, size, name="end_layer_norm", **policy)
        self.end = Linear(config, size, 1, name="end", **policy)
        self.answer_transform = Linear(config, 2 * size, size, name="answer_transform", **policy)
        self.answer = Linear(config, size, 1, use_bias=False, name="answer", **policy)
        self.dropout = Dropout(dropout_rate, **policy)
        self.build()

    def build(self, *_) -> None:
        """Makes the six layers."""
        if self.built:
            return
        for layer in (
            self.start,
            self.end_transform,
            self.end_layer_norm,
            self.end,
            self.answer_transform,
            self.answer,
        ):
            layer.build()
        freeze_parts(self)

    def get_config(self) -> dict[str, Any]:
        """Returns what the constructor takes, as JSON types."""
        return {
            **super().get_config(),
            "config": self.config.to_dict(),
            "dropout_rate": self.dropout.rate,
        }

    def score_starts(self, vectors: Tensor, allowed: Tensor) -> Tensor:
        """Returns float32 [B, L], -1e30 where `allowed` [B, L] is 0; `vectors` is [B, L, H]."""
        scores = self.start(vectors, dtype="float32")[:, :, 0]  # [B, L]
        return mask_scores(scores, allowed)

    def score_ends(self, vectors: Tensor, allowed: Tensor, start_positions: Tensor) -> Tensor:
        """Returns float32 [B, K, L], the scores of each end given each of K starts, int [B, K]."""
        starts = fused_ops.gather_positions(vectors, start_positions)  # [B, K, H]
        size = self.config.hidden_size
        # The product with [seq; start] in two parts: no [B, K, L, 2H] is ever made.
        kernel = ops.cast(self.end_transform.kernel, self.compute_dtype)
        of_tokens = fused_ops.multiply(vectors, kernel[:size])  # [B, L, H]
        of_starts = fused_ops.multiply(starts, kernel[size:])  # [B, K, H]
        bias = ops.cast(self.end_transform.bias, self.compute_dtype)
        inner = ops.tanh(of_tokens[:, None] + of_starts[:, :, None] + bias)  # [B, K, L, H]
        scores = self.end(self.end_layer_norm(inner), dtype="float32")[..., 0]  # [B, K, L]
        return mask_scores(scores, allowed[:, None])

    def score_impossible(
        self, vectors: Tensor, start_scores: Tensor, training: bool = False
    ) -> Tensor:
        """Returns float32 [B], how likely the question has no answer, as a logit."""
        # Not ops.softmax, which warns of texts of one token.
        weights = ops.exp(start_scores - ops.logsumexp(start_scores, axis=-1, keepdims=True))
        weights = ops.cast(weights, self.compute_dtype)  # [B, L]
        start = ops.sum(ops.expand_dims(weights, 2) * vectors, axis=1)  # [B, H]
        features = ops.concatenate([start, vectors[:, 0]], axis=-1)  # [B, 2H]
        inner = self.dropout(ops.tanh(self.answer_transform(features)), training=training)
        return self.answer(inner, dtype="float32")[:, 0]  # [B]


def find_answer_places(inputs: Batch) -> Tensor:
    """Returns where an answer may start or end, and [CLS]: int [B, L], 1 there and 0 elsewhere.

    Those of `answer_mask`, or without one the second segment but for its [SEP]; in a row without a
    second segment, all that is no padding.
    """
    if inputs.get("answer_mask") is not None:
        return inputs["answer_mask"]
    ids, mask, segments = (inputs.get(name) for name in INPUTS)
    mask = ops.ones_like(ids) if mask is None else ops.cast(mask, ids.dtype)
    if segments is None:
        return mask
    second = ops.cast(segments, ids.dtype) * mask  # [B, L]
    followed = ops.concatenate([second[:, 1:], ops.zeros_like(second[:, :1])], axis=1)
    first = ops.concatenate([ops.ones_like(mask[:, :1]), ops.zeros_like(mask[:, 1:])], axis=1)
    is_pair = ops.cast(ops.any(second > 0, axis=1, keepdims=True), ids.dtype)  # [B, 1]
    return is_pair * ops.maximum(first, second * followed) + (1 - is_pair) * mask


def mask_scores(scores: Tensor, allowed: Tensor) -> Tensor:
    """Returns float32 `scores` with -1e30 where `allowed` is 0."""
    allowed = ops.cast(allowed, "float32")
    return scores * allowed - 1e30 * (1 - allowed)


def _mean(vectors: Tensor, mask: Tensor) -> Tensor:
    return ops.sum(vectors * mask, axis=1) / ops.maximum(ops.sum(mask, axis=1), 1.0)


def _first(vectors: Tensor, mask: Tensor) -> Tensor:
    del mask
    return vectors[:, 0]


def _largest(vectors: Tensor, mask: Tensor) -> Tensor:
    return ops.max(ops.where(mask > 0, vectors, -1e9), axis=1)


# How one vector comes of those of the tokens: [B, L, H] and a mask [B, L, 1] -> [B, H].
POOLINGS = {"mean": _mean, "cls": _first, "max": _largest}


def pool(vectors: Tensor, mask: Tensor, pooling: str, normalize: bool) -> Tensor:
    """Returns one vector a text, float32 [B, H].

    Args:
        vectors: of the tokens, [B, L, H].
        mask: [B, L], 1 for tokens and 0 for padding.
        pooling: one of `POOLINGS`: the mean of the tokens' vectors, that of [CLS], or the largest
            number at each place.
        normalize: whether vectors get length 1.
    """
    # LiteRT has no slice that adds an axis.
    mask = ops.expand_dims(ops.cast(mask, "float32"), -1)  # [B, L, 1]
    pooled = POOLINGS[pooling](ops.cast(vectors, "float32"), mask)  # [B, H]
    return to_unit_length(pooled) if normalize else pooled


def to_unit_length(vectors: Tensor) -> Tensor:
    """Returns vectors [..., H] with length 1; one of zeros stays."""
    squares = ops.sum(ops.square(vectors), axis=-1, keepdims=True)
    return vectors * ops.rsqrt(ops.maximum(squares, 1e-24))


class EncoderWithHead:
    """The forward pass of every model: a batch at the door, the encoder, the head."""

    encoder: AlbertEncoder
    # What `call` needs beside the ids, and whether outputs are of `masked_lm_positions` alone,
    # where a batch has them.
    needed_inputs: tuple[str, ...] = ()
    scores_positions = False

    def read_batch(self, batch: Batch) -> Batch:
        """Returns a batch under our names."""
        raise NotImplementedError

    def encode(
        self,
        inputs: Batch,
        training: bool,
        positions: Tensor | None = None,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
    ) -> dict[str, Any]:
        """Returns the encoder's outputs for a batch under our names."""
        whole = output_hidden_states or output_attentions  # of all positions
        encoded = self.encoder(
            inputs["input_ids"],
            inputs.get("input_mask"),
            inputs.get("segment_ids"),
            positions=None if whole else positions,
            output_hidden_states=output_hidden_states,
            output_attentions=output_attentions,
            training=training,
            example_numbers=inputs.get("example_numbers"),
            cls_positions=inputs.get("cls_positions"),
        )
        if whole and positions is not None:
            vectors = fused_ops.gather_positions(encoded["sequence_output"], positions)
            encoded["sequence_output"] = vectors  # [B, P, H]
        return encoded

    def call(
        self,
        inputs: Batch,
        training: bool = False,
        output_hidden_states: bool = False,
        output_attentions: bool = False,
    ) -> Any:
        """Returns what the model's `apply_head` says of a batch.

        Args:
            inputs: dict with `input_ids` and, if not all ones and zeros, `input_mask` and
                `segment_ids`, int [B, L] ([B, C, L] of choices, whose vectors are of B * C rows).
            training: whether to drop out.
            output_hidden_states: whether the outputs are a dict (a single one under `logits`) with
                `hidden_states`, num_hidden_layers + 1 tensors [B, L, H]: the projected embeddings,
                then each layer.
            output_attentions: likewise `attentions`, [B, N, L, L] of each pass of a block, before
                dropout.
        """
        inputs = self.read_batch(inputs)
        for name in self.needed_inputs:
            if name not in inputs:
                raise ValueError(
                    f"a batch of {type(self).__name__} must hold {name} int [B, P]. "
                    f"Received: {', '.join(sorted(inputs))}"
                )
        positions = inputs.get("masked_lm_positions") if self.scores_positions else None
        encoded = self.encode(inputs, training, positions, output_hidden_states, output_attentions)
        outputs = self.apply_head(encoded, inputs, training)
        states = {name: encoded[name] for name in _STATES if name in encoded}
        if not states:
            return outputs
        return {**(outputs if isinstance(outputs, dict) else {"logits": outputs}), **states}

    def apply_head(self, encoded: Batch, inputs: Batch, training: bool) -> Any:
        """Returns the outputs of `call`, of those of the encoder and the batch that it read."""
        raise NotImplementedError(f"{type(self).__name__} must say what it makes of vectors")
