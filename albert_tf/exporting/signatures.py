"""What every exported model can be asked, as functions of tensors; words for masks, and vectors.

Letters: B texts (rows of a request), R rows of the model, L tokens of one, H hidden size,
C classes or options, M masks of a text, W words of a text, K best words for a mask.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from albert_tf.checkpoints.model_kinds import TaskNotes
from albert_tf.exporting import graph_batches, graph_ids
from albert_tf.exporting.exported_weights import ExportedWeights
from albert_tf.exporting.graph_batches import OutputSpecs, Tensors
from albert_tf.exporting.settings import ExportSettings
from albert_tf.inference.text_model import TextModel
from albert_tf.model.keras_model import AlbertTaskModel
from albert_tf.pipelines.encoders.texts import Decoder
from albert_tf.pipelines.tokenizer.sequences import encode_texts, replace_invalid
from albert_tf.pipelines.tokenizer.tokenization import Tokenizer

# Ids and masks -> answers, or the same ids once they were checked.
FromIds = Callable[[Tensors], Tensors]
# What an export is asked: (name of a signature, its inputs, the outputs of this process), the
# values nested lists by name.
Question = tuple[str, dict[str, list], dict[str, Any]]


@dataclasses.dataclass(frozen=True)
class Signature:
    """One way to ask an exported model.

    Attributes:
        function: takes tensors by name, returns {name: tensor}; axis 0 of all is B.
        inputs: {name: TensorSpec}.
        meaning: one sentence for people.
        example: {name: values} of a request.
    """

    function: Callable[..., Tensors]
    inputs: dict[str, tf.TensorSpec]
    meaning: str
    example: dict[str, list]


class Signatures:
    """What the models of all tasks have in common.

    Args:
        model, tokenizer: of one model directory.
        weights: of the model, as they are saved.
        notes: of fine-tuning.
        rows_at_a_time: rows of the model that are computed together.
        top_k: K, of `fill_mask`.
    """

    def __init__(
        self,
        model: AlbertTaskModel,
        tokenizer: Tokenizer,
        weights: ExportedWeights,
        notes: TaskNotes,
        rows_at_a_time: int = 32,
        top_k: int = 5,
    ):
        self.model = model
        self.tokenizer = tokenizer
        self.notes = notes.fit(model.config.max_position_embeddings)
        self.top_k = top_k
        self._weights = weights
        self._rows_at_a_time = rows_at_a_time
        self._graphs: dict[tuple, Callable[[Tensors, Tensors], Tensors]] = {}

    def run(
        self,
        compute: Callable[[Tensors], Tensors],
        inputs: Tensors,
        outputs: OutputSpecs,
        beside: Tensors | None = None,
    ) -> Tensors:
        """Returns `graph_batches.run` of the model with the exported weights.

        The graph of a `compute` is made once, and signatures that ask for the same share it: of all
        their parts the model's is the largest to make, to save, to load and to optimize.
        """
        beside = beside or {}
        key = (compute, *sorted(inputs), *sorted(beside))
        if key not in self._graphs:

            def run_rows(inputs: Tensors, beside: Tensors) -> Tensors:
                with self._weights.in_use():
                    return graph_batches.run(compute, inputs, outputs, self._rows_at_a_time, beside)

            self._graphs[key] = tf.function(
                run_rows, input_signature=[_any_sizes(inputs), _any_sizes(beside)], autograph=False
            )
        return self._graphs[key](inputs, beside)

    def run_model(self, inputs: Tensors, outputs: OutputSpecs) -> Tensors:
        """Returns the model's outputs for a batch; a single one is called `scores`."""
        return self.run(self._compute_outputs, inputs, outputs)

    def _compute_outputs(self, some: Tensors) -> Tensors:
        results = self.model(some, training=False)
        return results if isinstance(results, dict) else {"scores": results}

    def check_ids(self, inputs: Tensors) -> Tensors:
        """Returns ids of a client, int32 [B, L], once they are seen to fit the model."""
        config = self.model.config
        return graph_ids.check(
            inputs,
            self.tokenizer.vocab_size,
            config.type_vocab_size,
            config.max_position_embeddings,
        )

    def all(self) -> dict[str, Signature]:
        """Returns {name: `Signature`}, the one that is served by default first."""
        return {**self.own(), **self.of_features()}

    def own(self) -> dict[str, Signature]:
        """Returns the signatures of the task."""
        raise NotImplementedError(type(self).__name__)

    def questions(self, model: TextModel, texts: list[str]) -> list[Question]:
        """Returns what an export is asked before it counts, and the answers of this process.

        Args:
            model: of the same weights.
            texts: of all sorts.
        """
        raise NotImplementedError(type(self).__name__)

    def with_ids(
        self,
        name: str,
        from_text: Signature,
        from_ids: FromIds,
        extra: Sequence[str] = (),
        rank: int = 2,
    ) -> dict[str, Signature]:
        """Returns a signature of strings and, beside it, those of ids and of serialized examples.

        Args:
            name: of the signature.
            from_text: the one of strings.
            from_ids: takes `input_ids`, `input_mask`, `segment_ids` and `extra`.
            extra: names of more inputs of ids.
            rank: of the ids: 2, or 3 for [B, C, L].
        """
        names = (*graph_ids.ID_NAMES, *extra)
        encoded = [[2, 5, 6, 3]] if rank == 2 else [[[2, 5, 3], [2, 6, 3]]]
        ones = tf.ones_like(encoded).numpy().tolist()
        zeros = tf.zeros_like(encoded).numpy().tolist()
        example = {"input_ids": encoded, "input_mask": ones, "segment_ids": zeros}
        by_ids = Signature(
            function=lambda **inputs: from_ids(self.check_ids(inputs)),
            inputs={n: tf.TensorSpec([None] * rank, tf.int32) for n in names},
            meaning=f"As {name}, of ids that the client made.",
            example=example | dict.fromkeys(extra, ones),
        )
        signatures = {name: from_text, f"{name}_ids": by_ids}
        if rank == 2:
            signatures[f"{name}_examples"] = _from_examples(name, from_ids, names, self.check_ids)
        return signatures

    def encode_for_features(self, texts: tf.Tensor) -> Tensors:
        """Returns a batch of string [B], as `Features` reads them."""
        longest = self.model.config.max_position_embeddings
        rows = encode_texts(self.tokenizer, texts, longest, allow_special=True)
        return rows.padded(self.tokenizer, longest)

    def of_features(self) -> dict[str, Signature]:
        """Returns the signatures of `features`: the encoder's vectors."""
        size = self.model.config.hidden_size
        outputs = {"mean": (tf.float32, (size,))}
        if self.model.encoder.pooler is not None:
            outputs["pooled"] = (tf.float32, (size,))

        def compute(some: Tensors) -> Tensors:
            encoded = self.model.encode(some, training=False)
            mask = tf.cast(some["input_mask"], tf.float32)[..., None]  # [R, L, 1]
            vectors = tf.cast(encoded["sequence_output"], tf.float32) * mask
            means = tf.reduce_sum(vectors, 1) / tf.maximum(tf.reduce_sum(mask, 1), 1)
            if "pooled" not in outputs:
                return {"mean": means}
            return {"mean": means, "pooled": tf.cast(encoded["pooled_output"], tf.float32)}

        def from_text(text: tf.Tensor) -> Tensors:
            return self.run(compute, self.encode_for_features(replace_invalid(text)), outputs)

        signature = Signature(
            function=from_text,
            inputs={"text": tf.TensorSpec([None], tf.string)},
            meaning="Vectors of a text: the mean over its tokens, and the pooled one if there is.",
            example={"text": ["A cat sat on the mat."]},
        )
        return self.with_ids("features", signature, lambda ids: self.run(compute, ids, outputs))


@dataclasses.dataclass(frozen=True)
class LoadedModel:
    """A model directory in use: what is asked in this process, and what is exported.

    Attributes:
        kind: one of `model_kinds.KINDS`.
        in_process: the `TextModel` of that kind, its weights those of the precision.
        signatures: of the same model.
        weights: its weights as they are saved.
        settings: how it is exported.
    """

    kind: str
    in_process: TextModel
    signatures: Signatures
    weights: ExportedWeights
    settings: ExportSettings


class FillMaskSignatures(Signatures):
    """Words for masks, of `AlbertMaskedLM`."""

    def own(self) -> dict[str, Signature]:
        """Returns `fill_mask`."""

        def from_ids(batch: Tensors) -> Tensors:
            mask = (batch["input_ids"] == self.tokenizer.mask_id) & (batch["input_mask"] > 0)
            counts = tf.reduce_sum(tf.cast(mask, tf.int32), axis=1)  # [B]
            places = tf.RaggedTensor.from_value_rowids(
                tf.cast(tf.where(mask)[:, 1], tf.int32),
                tf.where(mask)[:, 0],
                tf.shape(mask, tf.int64)[0],
            ).to_tensor()  # [B, M]
            best = self.run(
                self._find_best,
                batch,
                {
                    "scores": (tf.float32, (None, self.top_k)),
                    "ids": (tf.int32, (None, self.top_k)),
                },
                {"masked_lm_positions": places},
            )  # [B, M, K]
            is_mask = tf.sequence_mask(counts, tf.shape(places)[1])[..., None]  # [B, M, 1]
            tokens = self._decode(best["ids"][..., None], tf.ones([1], tf.bool))
            # Each mask that there is has a copy of its text, so they are filled some at a time.
            rows, column = tf.unstack(tf.cast(tf.where(mask), tf.int32), axis=1)  # [N]
            copies = {name: tf.gather(batch[name], rows) for name in ("input_ids", "input_mask")}
            best_of_copies = tf.boolean_mask(best["ids"], is_mask[..., 0])  # [N, K]
            filled = self.run(
                self._fill,
                copies,
                {"sequences": (tf.string, (self.top_k,))},
                {"column": column, "ids": best_of_copies},
            )["sequences"]
            sequences = tf.RaggedTensor.from_row_lengths(filled, counts).to_tensor()  # [B, M, K]
            return {
                "tokens": tf.where(is_mask, tokens, ""),
                "token_ids": tf.where(is_mask, best["ids"], 0),
                "scores": tf.where(is_mask, best["scores"], 0.0),
                "sequences": sequences,
                "mask_count": counts,
            }

        def from_text(text: tf.Tensor) -> Tensors:
            longest = self.model.config.max_position_embeddings
            rows = encode_texts(self.tokenizer, replace_invalid(text), longest, allow_special=True)
            return from_ids(rows.padded(self.tokenizer, longest))

        signature = Signature(
            function=from_text,
            inputs={"text": tf.TensorSpec([None], tf.string)},
            meaning=f"The {self.top_k} best words for each [MASK] of a text, with probabilities.",
            example={"text": ["She closed the [MASK] behind her."]},
        )
        return self.with_ids("fill_mask", signature, from_ids)

    def questions(self, model: TextModel, texts: list[str]) -> list[Question]:
        """Returns texts with masks and the best words for them, see `Signatures`."""
        # The first mask comes first: there are models that read only a few pieces.
        texts = [*(f"[MASK] {text[:400]} [MASK]. The [MASK]" for text in texts), "[MASK] sat."]
        masks = [
            answer if isinstance(answer[0], list) else [answer]
            for answer in model(texts, top_k=self.top_k)
        ]
        most = max(map(len, masks))

        def gather(name: str, missing: float | str) -> list[list[list[float | str]]]:
            rows = [[[best[name] for best in mask] for mask in text] for text in masks]
            return [row + [[missing] * self.top_k] * (most - len(row)) for row in rows]

        answers = {
            "scores": gather("score", 0.0),
            "tokens": gather("token_str", ""),
            "sequences": gather("sequence", ""),
            "mask_count": [len(text) for text in masks],
        }
        return [("fill_mask", {"text": texts}, answers)]

    def _body(self, batch: Tensors) -> tf.Tensor:
        """Returns bool [B, L]: tokens but the first, [CLS], and the last, [SEP]."""
        counted = tf.cumsum(batch["input_mask"], axis=1)  # [B, L], tokens up to here
        is_between = (counted > 1) & (counted < counted[:, -1:])
        return is_between & (batch["input_mask"] > 0)

    @functools.cached_property
    def _decode(self) -> Decoder:
        return Decoder(self.tokenizer)

    def _fill(self, some: Tensors) -> Tensors:
        """Returns texts [R, K], each of the words `ids` [R, K] in place of the mask in `column`."""
        columns = tf.range(tf.shape(some["input_ids"])[1])
        is_here = (columns == some["column"][:, None])[:, None]  # [R, 1, L]
        filled = tf.where(is_here, some["ids"][..., None], some["input_ids"][:, None])  # [R, K, L]
        return {"sequences": self._decode(filled, self._body(some)[:, None])}

    def _find_best(self, some: Tensors) -> Tensors:
        probabilities = tf.nn.softmax(self.model(some, training=False))  # [R, M, V]
        best = tf.math.top_k(probabilities, self.top_k)
        return {"scores": best.values, "ids": best.indices}


def pair_up(texts: list[str]) -> list[tuple[str, str]]:
    """Returns each text with the third behind it."""
    return list(zip(texts, [*texts[3:], *texts[:3]], strict=True))


def _any_sizes(tensors: Tensors) -> dict[str, tf.TensorSpec]:
    """Returns the specs of tensors whose axes may have any length."""
    return {n: tf.TensorSpec([None] * t.shape.rank, t.dtype) for n, t in tensors.items()}


def _from_examples(
    name: str, from_ids: FromIds, names: Sequence[str], check_ids: FromIds
) -> Signature:
    """Returns the signature of serialized `tf.train.Example`s that hold ids."""

    def function(examples: tf.Tensor) -> Tensors:
        return from_ids(check_ids(graph_ids.read_examples(examples, names)))

    example = tf.train.Example()
    example.features.feature["input_ids"].int64_list.value.extend([2, 5, 6, 3])
    return Signature(
        function=function,
        inputs={"examples": tf.TensorSpec([None], tf.string)},
        meaning=f"As {name}, of serialized tf.train.Examples with {', '.join(names)}; only "
        "input_ids is needed.",
        example={"examples": [example.SerializeToString(deterministic=True)]},
    )
