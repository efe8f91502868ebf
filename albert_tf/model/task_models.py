"""The Keras models of fine-tuning tasks: classes, numbers, tags, choices, answers.

Letters: B batch, L sequence length, K starts of answers, H hidden size, C classes or choices.
"""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from albert_tf import setting_checks
from albert_tf.checkpoints.published_configs import MULTI_LABEL, REGRESSION
from albert_tf.config import AlbertConfig
from albert_tf.model import losses
from albert_tf.model.heads import ConditionalSpanHead, LinearHead, find_answer_places, mask_scores
from albert_tf.model.keras_model import AlbertTaskModel
from albert_tf.model.model_inputs import EXAMPLE_WEIGHT, as_rows
from albert_tf.model.tensors import Batch, Tensor, WeightedSum


class LabelledModel(AlbertTaskModel):
    """A model whose outputs are classes.

    Args:
        config: `AlbertConfig` or its dict; its `classifier_dropout_prob` is the head's.
        num_classes: how many, C.
        labels: the C names of the classes; by default `LABEL_0`, `LABEL_1`, ...
    """

    labels: tuple[str, ...] = ()

    def __init__(
        self,
        config: AlbertConfig | dict,
        num_classes: int | None = None,
        labels: Sequence[str] | None = None,
        **kwargs,
    ):
        if "num_labels" in kwargs:
            raise ValueError(
                f"{type(self).__name__} takes num_classes=C or labels=[their names]. "
                f"Received: num_labels={kwargs['num_labels']}"
            )
        if num_classes is not None:
            setting_checks.check_integer("num_classes", num_classes, 1)
        setting_checks.check_list("labels", labels)
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
        self.finish()

    def head_settings(self) -> dict[str, Any]:
        """Returns the names of the classes."""
        return {"labels": list(self.labels)}


@keras.saving.register_keras_serializable(package="albert_tf")
class AlbertClassifier(LabelledModel):
    """One of C classes for a text or a pair of texts.

    Args:
        config: `AlbertConfig` or its dict; its `classifier_dropout_prob` is the head's.
        num_classes: how many, C.
        labels: the C names of the classes; by default `LABEL_0`, `LABEL_1`, ...
        multi_label: whether each of the classes is true or false by itself, so that a text may have
            several or none, as `problem_type` of transformers says. The `label` of a batch is then
            0 or 1 [B, C], and `example_weight` may be [B, C], too.
    """

    kind = "classification"
    transformers_class = "AlbertForSequenceClassification"
    head_names = ("classification_head",)
    quantities = ("classification_loss", "classification_accuracy")
    label_names = ("label",)
    other_label_names = {"labels": "label"}
    reads_problem = True

    def __init__(
        self,
        config: AlbertConfig | dict,
        num_classes: int | None = None,
        labels: Sequence[str] | None = None,
        multi_label: bool = False,
        name: str = "albert_classifier",
        **kwargs,
    ):
        setting_checks.check_bool("multi_label", multi_label)
        super().__init__(config, num_classes, labels, name=name, **kwargs)
        # One class alone is true or false, too.
        self.multi_label = bool(multi_label) or len(self.labels) == 1
        self.problem = MULTI_LABEL if self.multi_label else None
        self.labels_of_a_text = len(self.labels) if self.multi_label else None

    def head_settings(self) -> dict[str, Any]:
        """Returns the names of the classes, and whether a text may have several."""
        return {**super().head_settings(), "multi_label": self.multi_label}

    def probabilities(self, logits: Tensor) -> Tensor:
        """Returns float32 [B, C], by a sigmoid each or a softmax over all, for logits [B, C]."""
        return ops.sigmoid(logits) if self.multi_label else ops.softmax(logits)

    def apply_head(self, encoded: Batch, inputs: Batch, training: bool) -> Tensor:
        """Returns float32 logits [B, C]."""
        return self.classification_head(encoded["pooled_output"], training=training)

    def check_class_weight(self, class_weight: dict | None) -> None:
        """Refuses `class_weight` of several labels: Keras takes labels [B, C] for one-hot ones."""
        if class_weight is not None and self.multi_label:
            raise ValueError(
                "`class_weight` must be None with multi_label=True: put the weight of each label "
                f"into the batch, `example_weight` float [B, C]. Received: {class_weight}"
            )

    def loss_weights(self, batch: Batch) -> dict[str, Tensor]:
        """Returns the number of texts, or the sum of their weights, each the mean over labels."""
        weights = batch.get(EXAMPLE_WEIGHT)
        if weights is None or len(weights.shape) == 1:
            return super().loss_weights(batch)
        return super().loss_weights({**batch, EXAMPLE_WEIGHT: ops.mean(weights, axis=1)})

    def measure(self, batch: Batch, outputs: Tensor) -> dict[str, WeightedSum]:
        """Returns loss and accuracy of the `label` int32 [B] of a batch, or 0 or 1 [B, C]."""
        labels, weights = batch["label"], batch.get(EXAMPLE_WEIGHT)
        if self.multi_label:
            return {
                "classification_loss": losses.labels_cross_entropy(outputs, labels, weights),
                "classification_accuracy": losses.labels_accuracy(outputs, labels, weights),
            }
        return _measure_classes("classification", outputs, labels, weights)


@keras.saving.register_keras_serializable(package="albert_tf")
class AlbertRegressor(AlbertTaskModel):
    """One number for a text or a pair of texts. Arguments as of `AlbertTaskModel`."""

    kind = "regression"
    transformers_class = "AlbertForSequenceClassification"
    head_names = ("classification_head",)
    quantities = ("regression_loss",)
    problem = REGRESSION
    gives_logits = False
    label_names = ("label",)
    other_label_names = {"labels": "label"}

    def __init__(self, config: AlbertConfig | dict, name: str = "albert_regressor", **kwargs):
        super().__init__(config, name=name, **kwargs)
        rate = self.config.classifier_dropout_prob
        self.classification_head = LinearHead(
            self.config, 1, rate, name="classification_head", dtype=self.dtype_policy
        )
        self.finish()

    def apply_head(self, encoded: Batch, inputs: Batch, training: bool) -> Tensor:
        """Returns float32 [B]."""
        return self.classification_head(encoded["pooled_output"], training=training)[:, 0]

    def measure(self, batch: Batch, outputs: Tensor) -> dict[str, WeightedSum]:
        """Returns the squared error of the `label` float32 [B] of a batch."""
        weights = batch.get(EXAMPLE_WEIGHT)
        return {"regression_loss": losses.squared_error(outputs, batch["label"], weights)}


@keras.saving.register_keras_serializable(package="albert_tf")
class AlbertTokenClassifier(LabelledModel):
    """One of C classes for each token.

    Args:
        config: `AlbertConfig` or its dict; its `classifier_dropout_prob` is the head's.
        num_classes: how many, C.
        labels: the C names of the classes; by default `LABEL_0`, `LABEL_1`, ...
    """

    kind = "tagging"
    transformers_class = "AlbertForTokenClassification"
    head_names = ("token_head",)
    quantities = ("token_loss", "token_accuracy")
    label_names = ("token_labels",)
    other_label_names = {"labels": "token_labels"}
    needs_pooler = has_pooler = False

    def __init__(
        self,
        config: AlbertConfig | dict,
        num_classes: int | None = None,
        labels: Sequence[str] | None = None,
        name: str = "albert_token_classifier",
        **kwargs,
    ):
        super().__init__(config, num_classes, labels, name=name, **kwargs)

    def apply_head(self, encoded: Batch, inputs: Batch, training: bool) -> Tensor:
        """Returns float32 logits [B, L, C]."""
        return self.token_head(encoded["sequence_output"], training=training)

    def check_class_weight(self, class_weight: dict | None) -> None:
        """Refuses `class_weight`: Keras takes labels [B, L] for one-hot ones."""
        if class_weight is not None:
            raise ValueError(
                "`class_weight` of AlbertTokenClassifier must be None: put the weight of each "
                f"token into the batch, `example_weight` float [B, L]. Received: {class_weight}"
            )

    def loss_weights(self, batch: Batch) -> dict[str, Tensor]:
        """Returns the number of tokens with a label; that of a batch without any is tiny."""
        return {"token_loss": ops.maximum(ops.sum(self._token_weights(batch)), 1e-5)}

    def measure(self, batch: Batch, outputs: Tensor) -> dict[str, WeightedSum]:
        """Returns loss and accuracy of the `token_labels` int32 [B, L] that are not negative."""
        labels = ops.maximum(batch["token_labels"], 0)
        return _measure_classes("token", outputs, labels, self._token_weights(batch))

    def _token_weights(self, batch: Batch) -> Tensor:
        weights = ops.cast(batch["token_labels"] >= 0, "float32")  # [B, L]
        if EXAMPLE_WEIGHT not in batch:
            return weights
        of_examples = ops.cast(batch[EXAMPLE_WEIGHT], "float32")  # [B] or [B, L]
        return weights * (of_examples[:, None] if len(of_examples.shape) == 1 else of_examples)


@keras.saving.register_keras_serializable(package="albert_tf")
class AlbertMultipleChoice(AlbertTaskModel):
    """One of C texts: a score for each. Arguments as of `AlbertTaskModel`."""

    kind = "choice"
    transformers_class = "AlbertForMultipleChoice"
    head_names = ("choice_head",)
    num_choices_axes = 1
    quantities = ("choice_loss", "choice_accuracy")
    label_names = ("label",)
    other_label_names = {"labels": "label"}

    def __init__(self, config: AlbertConfig | dict, name: str = "albert_multiple_choice", **kwargs):
        super().__init__(config, name=name, **kwargs)
        rate = self.config.classifier_dropout_prob
        self.choice_head = LinearHead(
            self.config, 1, rate, name="choice_head", dtype=self.dtype_policy
        )
        self.finish()

    def encode(self, inputs: Batch, *args, **kwargs) -> dict[str, Any]:
        """Returns the encoder's outputs for B * C rows of arrays int [B, C, L]."""
        return super().encode(as_rows(inputs), *args, **kwargs)

    def apply_head(self, encoded: Batch, inputs: Batch, training: bool) -> Tensor:
        """Returns float32 logits [B, C] for a batch whose arrays are int [B, C, L]."""
        scores = self.choice_head(encoded["pooled_output"], training=training)  # [B * C, 1]
        return ops.reshape(scores, (-1, ops.shape(inputs["input_ids"])[1]))  # [B, C]

    def measure(self, batch: Batch, outputs: Tensor) -> dict[str, WeightedSum]:
        """Returns loss and accuracy of the `label` int32 [B], the right choice, of a batch."""
        return _measure_classes("choice", outputs, batch["label"], batch.get(EXAMPLE_WEIGHT))


@keras.saving.register_keras_serializable(package="albert_tf")
class AlbertSpanSelector(AlbertTaskModel):
    """Where an answer starts and ends: SQuAD 1.1's head. Arguments as of `AlbertTaskModel`."""

    kind = "answer"
    transformers_class = "AlbertForQuestionAnswering"
    head_names = ("span_head",)
    quantities = ("span_loss", "span_accuracy")
    label_names = ("start_position", "end_position")
    other_label_names = {"start_positions": "start_position", "end_positions": "end_position"}
    needs_pooler = has_pooler = False

    def __init__(self, config: AlbertConfig | dict, name: str = "albert_span_selector", **kwargs):
        super().__init__(config, name=name, **kwargs)
        self.span_head = LinearHead(self.config, 2, name="span_head", dtype=self.dtype_policy)
        self.finish()

    def apply_head(self, encoded: Batch, inputs: Batch, training: bool) -> Batch:
        """Returns float32 `start_logits` and `end_logits` [B, L]."""
        logits = self.span_head(encoded["sequence_output"])  # [B, L, 2]
        return {"start_logits": logits[..., 0], "end_logits": logits[..., 1]}

    def measure(self, batch: Batch, outputs: Batch) -> dict[str, WeightedSum]:
        """Returns loss and accuracy of `start_position` and `end_position`, int32 [B].

        Padding takes no part, so the loss is the same however long the batch is padded.
        """
        mask = batch.get("input_mask")
        mask = ops.ones_like(batch["input_ids"]) if mask is None else mask
        spans = (
            mask_scores(outputs["start_logits"], mask),
            mask_scores(outputs["end_logits"], mask),
            batch["start_position"],
            batch["end_position"],
            batch.get(EXAMPLE_WEIGHT),
        )
        return {
            "span_loss": losses.span_cross_entropy(*spans),
            "span_accuracy": losses.span_accuracy(*spans),
        }


@keras.saving.register_keras_serializable(package="albert_tf")
class AlbertAnswerabilitySelector(AlbertTaskModel):
    """Start, end given the start, and answerability: SQuAD 2.0's head of the original.

    Arguments as of `AlbertTaskModel`. `transformers` has no such head: in a model directory it lies
    in a file of our own, beside an encoder that `transformers` reads.
    """

    kind = "answer"
    transformers_class = "AlbertModel"
    head_names = ("conditional_span_head",)
    quantities = ("span_loss", "span_accuracy", "answerability_loss", "answerability_accuracy")
    label_names = ("start_position", "end_position", "is_impossible")
    other_label_names = {"start_positions": "start_position", "end_positions": "end_position"}
    needs_pooler = has_pooler = False
    # The original keeps this many starts, and as many ends for each.
    num_starts = 5

    def __init__(
        self, config: AlbertConfig | dict, name: str = "albert_answerability_selector", **kwargs
    ):
        super().__init__(config, name=name, **kwargs)
        self.conditional_span_head = ConditionalSpanHead(
            self.config, self.config.classifier_dropout_prob, dtype=self.dtype_policy
        )
        self.finish()

    def apply_head(self, encoded: Batch, inputs: Batch, training: bool) -> Batch:
        """Scores a batch.

        Args:
            encoded: of the encoder.
            inputs: also `answer_mask` int [B, L], 1 where an answer may start or end and at
                [CLS], or none (`heads.find_answer_places`).
            training: whether to drop out, and to score the ends given `start_position` int [B]
                of the batch; otherwise, and without it, given each of the K best starts.

        Returns:
            A dict of float32 `start_logits` [B, L], `end_logits` [B, K, L] (K = 1 with
            a given start), `impossible_logits` [B] and int `start_positions` [B, K].
        """
        vectors = encoded["sequence_output"]  # [B, L, H]
        head = self.conditional_span_head
        allowed = find_answer_places(inputs)  # [B, L]
        starts = head.score_starts(vectors, allowed)  # [B, L]
        if training and "start_position" in inputs:
            positions = inputs["start_position"][:, None]  # [B, 1]
        else:
            positions = self._best_starts(starts)  # [B, K]
        return {
            "start_logits": starts,
            "end_logits": head.score_ends(vectors, allowed, positions),  # [B, K, L]
            "impossible_logits": head.score_impossible(vectors, starts, training),  # [B]
            "start_positions": positions,
        }

    def _best_starts(self, scores: Tensor) -> Tensor:
        length = scores.shape[1]
        if length is not None:
            return ops.top_k(scores, min(self.num_starts, length))[1]
        # In a graph of unknown sizes there may be fewer tokens than starts: the last one repeats.
        padded = ops.pad(scores, ((0, 0), (0, self.num_starts)), constant_values=-2e30)
        return ops.minimum(ops.top_k(padded, self.num_starts)[1], ops.shape(scores)[1] - 1)

    def measure(self, batch: Batch, outputs: Batch) -> dict[str, WeightedSum]:
        """Returns losses and accuracies of `start_position`, `end_position`, `is_impossible` [B].

        As `v2_model_fn_builder` of the original: the means of start and end count half each, and so
        does whether there is an answer.
        """
        positions = batch["start_position"], batch["end_position"]
        spans = (outputs["start_logits"], outputs["end_logits"][:, 0], *positions)
        spans = (*spans, batch.get(EXAMPLE_WEIGHT))
        impossible = outputs["impossible_logits"], batch["is_impossible"]
        impossible = (*impossible, batch.get(EXAMPLE_WEIGHT))
        answer_sum, count = losses.binary_cross_entropy(*impossible)
        return {
            "span_loss": losses.span_cross_entropy(*spans),
            "span_accuracy": losses.span_accuracy(*spans),
            "answerability_loss": (answer_sum / 2, count),
            "answerability_accuracy": losses.binary_accuracy(*impossible),
        }


def _measure_classes(
    name: str, logits: Tensor, labels: Tensor, weights: Tensor | None = None
) -> dict[str, WeightedSum]:
    labels = ops.cast(labels, "int32")  # tables give classes as floats, too
    return {
        f"{name}_loss": losses.cross_entropy(logits, labels, weights),
        f"{name}_accuracy": losses.accuracy(logits, labels, weights),
    }
