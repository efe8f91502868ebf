"""What an exported model can be asked, as functions of tensors: from strings and from ids.

Letters: B texts (rows of a request), R rows of the model, L tokens of one, H hidden size,
C classes or options, M masks of a text, W words of a text, K best words for a mask.
"""

import dataclasses
import typing

import tensorflow as tf

from albert_tf.exporting import graph_answers, graph_batches, graph_ids
from albert_tf.exporting.graph_batches import TOKENS
from albert_tf.pipelines.encoders import graph_texts, graph_words
from albert_tf.pipelines.encoders.graph_windows import WindowEncoder, WindowSettings
from albert_tf.tasks import squad_metrics

_PLAIN_SPAN = {"start_logits": (tf.float32, (TOKENS,)), "end_logits": (tf.float32, (TOKENS,))}
_CONDITIONAL_SPAN = {
    "start_logits": (tf.float32, (TOKENS,)),
    "end_logits": (tf.float32, (None, TOKENS)),
    "impossible_logits": (tf.float32, ()),
    "start_positions": (tf.int32, (None,)),
}


@dataclasses.dataclass(frozen=True)
class Signature:
    """One way to ask an exported model.

    Attributes:
        function: takes tensors by name, returns {name: tensor}; axis 0 of all is B.
        inputs: {name: TensorSpec}.
        meaning: one sentence for people.
        example: {name: values} of a request.
    """

    function: typing.Callable
    inputs: dict[str, tf.TensorSpec]
    meaning: str
    example: dict


class Signatures:
    """What the models of all tasks have in common.

    Args:
        model: an `AlbertTaskModel`.
        tokenizer: its `Tokenizer`.
        weights: `ExportedWeights` of the model.
        settings: what fine-tuning noted of the task.
        rows_at_a_time: rows of the model that are computed together.
        top_k: K, of `fill_mask`.
    """

    def __init__(self, model, tokenizer, weights, settings, rows_at_a_time=32, top_k=5):
        self.model = model
        self.tokenizer = tokenizer
        self.settings = settings
        self.top_k = top_k
        longest = model.config.max_position_embeddings
        self.max_seq_length = min(settings.get("max_seq_length", longest), longest)
        self._weights = weights
        self._rows_at_a_time = rows_at_a_time

    def run(self, compute, inputs, outputs, beside=None):
        """Returns `graph_batches.run` of the model with the exported weights."""
        with self._weights.in_use():
            return graph_batches.run(compute, inputs, outputs, self._rows_at_a_time, beside)

    def run_model(self, inputs, outputs):
        """Returns the model's outputs for a batch; a single one is called `scores`."""

        def compute(some):
            found = self.model(some, training=False)
            return found if isinstance(found, dict) else {"scores": found}

        return self.run(compute, inputs, outputs)

    def check_ids(self, inputs):
        """Returns ids of a client, int32 [B, L], once they are seen to fit the model."""
        config = self.model.config
        return graph_ids.check(
            inputs,
            self.tokenizer.vocab_size,
            config.type_vocab_size,
            config.max_position_embeddings,
        )

    def all(self):
        """Returns {name: `Signature`}, the one that is served by default first."""
        return {**self.own(), **self.of_features()}

    def own(self):
        """Returns the signatures of the task."""
        raise NotImplementedError(type(self).__name__)

    def with_ids(self, name, from_text, from_ids, extra=(), rank=2):
        """Returns a signature of strings and, beside it, those of ids and of serialized examples.

        Args:
            name: of the signature.
            from_text: `Signature`.
            from_ids: function of `input_ids`, `input_mask`, `segment_ids` and `extra`.
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
        found = {name: from_text, f"{name}_ids": by_ids}
        if rank == 2:
            found[f"{name}_examples"] = _from_examples(name, from_ids, names, self.check_ids)
        return found

    def of_features(self):
        """Returns the signatures of `features`: the encoder's vectors."""
        size = self.model.config.hidden_size
        outputs = {"mean": (tf.float32, (size,))}
        if self.model.encoder.pooler is not None:
            outputs["pooled"] = (tf.float32, (size,))

        def compute(some):
            encoded = self.model.encode(some, training=False)
            mask = tf.cast(some["input_mask"], tf.float32)[..., None]  # [R, L, 1]
            vectors = tf.cast(encoded["sequence_output"], tf.float32) * mask
            found = {"mean": tf.reduce_sum(vectors, 1) / tf.maximum(tf.reduce_sum(mask, 1), 1)}
            if "pooled" in outputs:
                found["pooled"] = tf.cast(encoded["pooled_output"], tf.float32)
            return found

        def from_text(text):
            longest = self.model.config.max_position_embeddings
            texts = graph_texts.replace_invalid(text)
            batch = graph_texts.encode_with_specials(self.tokenizer, texts, longest)
            return self.run(compute, batch, outputs)

        signature = Signature(
            function=from_text,
            inputs={"text": tf.TensorSpec([None], tf.string)},
            meaning="Vectors of a text: the mean over its tokens, and the pooled one if there is.",
            example={"text": ["A cat sat on the mat."]},
        )
        return self.with_ids("features", signature, lambda ids: self.run(compute, ids, outputs))


class FillMaskSignatures(Signatures):
    """Words for masks, of `AlbertMaskedLM`."""

    def own(self):
        """Returns `fill_mask`."""
        decode = graph_texts.Decoder(self.tokenizer)

        def from_ids(batch):
            mask = (batch["input_ids"] == self.tokenizer.mask_id) & (batch["input_mask"] > 0)
            counts = tf.reduce_sum(tf.cast(mask, tf.int32), axis=1)  # [B]
            places = tf.RaggedTensor.from_value_rowids(
                tf.cast(tf.where(mask)[:, 1], tf.int32),
                tf.where(mask)[:, 0],
                tf.shape(mask, tf.int64)[0],
            ).to_tensor()  # [B, M]
            best = self.run(
                self._compute,
                batch,
                {
                    "scores": (tf.float32, (None, self.top_k)),
                    "ids": (tf.int32, (None, self.top_k)),
                },
                {"masked_lm_positions": places},
            )  # [B, M, K]
            is_mask = tf.sequence_mask(counts, tf.shape(places)[1])[..., None]  # [B, M, 1]
            is_text = self._body(batch)
            column = tf.range(tf.shape(mask)[1])
            is_here = (column == places[..., None])[:, :, None, :]  # [B, M, 1, L]
            filled = tf.where(
                is_here, best["ids"][..., None], batch["input_ids"][:, None, None, :]
            )  # [B, M, K, L]
            sequences = decode(filled, is_text[:, None, None, :])
            tokens = decode(best["ids"][..., None], tf.ones([1], tf.bool))
            return {
                "tokens": tf.where(is_mask, tokens, ""),
                "token_ids": tf.where(is_mask, best["ids"], 0),
                "scores": tf.where(is_mask, best["scores"], 0.0),
                "sequences": tf.where(is_mask, sequences, ""),
                "mask_count": counts,
            }

        def from_text(text):
            longest = self.model.config.max_position_embeddings
            texts = graph_texts.replace_invalid(text)
            return from_ids(graph_texts.encode_with_specials(self.tokenizer, texts, longest))

        signature = Signature(
            function=from_text,
            inputs={"text": tf.TensorSpec([None], tf.string)},
            meaning=f"The {self.top_k} best words for each [MASK] of a text, with probabilities.",
            example={"text": ["She closed the [MASK] behind her."]},
        )
        return self.with_ids("fill_mask", signature, from_ids)

    def _body(self, batch):
        """Returns bool [B, L]: tokens but the first, [CLS], and the last, [SEP]."""
        counted = tf.cumsum(batch["input_mask"], axis=1)  # [B, L], tokens up to here
        is_between = (counted > 1) & (counted < counted[:, -1:])
        return is_between & (batch["input_mask"] > 0)

    def _compute(self, some):
        probabilities = tf.nn.softmax(self.model(some, training=False))  # [R, M, V]
        best = tf.math.top_k(probabilities, self.top_k)
        return {"scores": best.values, "ids": best.indices}


class ClassSignatures(Signatures):
    """Classes for texts and pairs of texts, of `AlbertClassifier`."""

    name = "classify"
    meaning = "The class of {}: names and probabilities of all, and the best."
    meaning_of_several = (
        "The labels of {}, each true or false by itself: names and probabilities of all, and the "
        "most probable."
    )

    def own(self):
        """Returns `classify` and `classify_pairs`, first the one that fine-tuning was about."""
        multi_label = getattr(self.model, "multi_label", False)
        meaning = self.meaning_of_several if multi_label else self.meaning
        return _texts_and_pairs(self, self.name, meaning, self.from_ids)

    def from_ids(self, batch):
        """Returns the classes of a batch."""
        names = tf.constant(self.model.labels)
        found = self.run_model(batch, {"scores": (tf.float32, (len(self.model.labels),))})
        probabilities = self.model.probabilities(found["scores"])  # [B, C]
        best = tf.argmax(probabilities, axis=1)
        return {
            "label": tf.gather(names, best),
            "score": tf.reduce_max(probabilities, axis=1),
            "labels": tf.tile(names[None], [tf.shape(best)[0], 1]),
            "probabilities": probabilities,
        }


class NumberSignatures(ClassSignatures):
    """Numbers for texts and pairs of texts, of `AlbertRegressor`."""

    name = "score"
    meaning = "The number that the model gives {}."

    def from_ids(self, batch):
        """Returns the numbers of a batch."""
        return {"score": self.run_model(batch, {"scores": (tf.float32, ())})["scores"]}


class TagSignatures(Signatures):
    """A tag for each word, of `AlbertTokenClassifier`."""

    def own(self):
        """Returns `tag`."""
        names = tf.constant(self.model.labels)
        outputs = {"scores": (tf.float32, (TOKENS, len(self.model.labels)))}

        def from_text(text):
            texts = graph_texts.replace_invalid(text)
            encoded = graph_words.encode(self.tokenizer, texts, self.max_seq_length)
            scores = self.run_model(encoded.inputs, outputs)["scores"]  # [R, L, C]
            probabilities = tf.nn.softmax(tf.gather_nd(scores, encoded.places))  # [words, C]
            words = encoded.words
            tags = tf.gather(names, tf.argmax(probabilities, axis=1))
            return {
                "words": words.to_tensor(),
                "tags": words.with_values(tags).to_tensor(),
                "scores": words.with_values(tf.reduce_max(probabilities, axis=1)).to_tensor(),
                "word_count": tf.cast(words.row_lengths(), tf.int32),
            }

        def from_ids(batch):
            probabilities = tf.nn.softmax(self.run_model(batch, outputs)["scores"])
            return {
                "tags": tf.gather(names, tf.argmax(probabilities, axis=2)),
                "scores": tf.reduce_max(probabilities, axis=2),
            }

        signature = Signature(
            function=from_text,
            inputs={"text": tf.TensorSpec([None], tf.string)},
            meaning="A tag for each word of a text; words are what white space separates.",
            example={"text": ["Ada Lovelace lived in London ."]},
        )
        return self.with_ids("tag", signature, from_ids)


class AnswerSignatures(Signatures):
    """Answers to questions, of `AlbertSpanSelector` and `AlbertAnswerabilitySelector`."""

    def own(self):
        """Returns `answer`."""
        settings = WindowSettings(
            max_seq_length=self.max_seq_length,
            doc_stride=self.settings.get("doc_stride", 128),
            max_query_length=min(
                self.settings.get("max_query_length", 64), self.max_seq_length - 4
            ),
        )
        span_settings = squad_metrics.SpanSettings(
            max_answer_tokens=self.settings.get("max_answer_tokens", 30)
        )
        encode = WindowEncoder(self.tokenizer, settings)
        has_own_head = hasattr(self.model, "conditional_span_head")
        outputs = _CONDITIONAL_SPAN if has_own_head else _PLAIN_SPAN

        def from_text(question, context):
            contexts = graph_texts.replace_invalid(context)
            windows = encode(graph_texts.replace_invalid(question), contexts)
            found = self.run_model(windows.inputs, outputs)
            threshold = self.settings.get("null_threshold")
            return graph_answers.find_answers(found, windows, contexts, span_settings, threshold)

        signature = Signature(
            function=from_text,
            inputs={
                "question": tf.TensorSpec([None], tf.string),
                "context": tf.TensorSpec([None], tf.string),
            },
            meaning="The part of a context of any length that answers a question; empty for none. "
            "start and end count characters; the larger null_score, the less likely an answer.",
            example={"question": ["Who sat?"], "context": ["A cat sat on the mat."]},
        )
        return self.with_ids(
            "answer",
            signature,
            lambda batch: self.run_model(batch, outputs),
            extra=("answer_mask",) if has_own_head else (),
        )


class ChoiceSignatures(Signatures):
    """One of several options, of `AlbertMultipleChoice`."""

    def own(self):
        """Returns `choose`."""
        max_qa_length = min(self.settings.get("max_qa_length", 128), self.max_seq_length - 4)

        def choose(rows, shape):
            """Returns index [B] and probabilities [B, C] for ids [B * C, L]."""

            def compute(some):
                one = {name: values[None] for name, values in some.items()}
                return {"scores": self.model(one, training=False)[0]}

            scores = self.run(compute, rows, {"scores": (tf.float32, ())})["scores"]
            probabilities = tf.nn.softmax(tf.reshape(scores, shape))  # [B, C]
            index = tf.argmax(probabilities, axis=1, output_type=tf.int32)
            return {"index": index, "probabilities": probabilities}

        def from_text(passage, question, options):
            options = graph_texts.replace_invalid(options)
            rows = graph_texts.encode_choices(
                self.tokenizer,
                graph_texts.replace_invalid(passage),
                graph_texts.replace_invalid(question),
                options,
                self.max_seq_length,
                max_qa_length,
            )
            found = choose(rows, tf.shape(options))
            return {"option": tf.gather(options, found["index"], batch_dims=1), **found}

        def from_ids(batch):
            shape = tf.shape(batch["input_ids"])
            rows = {name: tf.reshape(values, [-1, shape[2]]) for name, values in batch.items()}
            return choose(rows, shape[:2])

        signature = Signature(
            function=from_text,
            inputs={
                "passage": tf.TensorSpec([None], tf.string),
                "question": tf.TensorSpec([None], tf.string),
                "options": tf.TensorSpec([None, None], tf.string),
            },
            meaning="The option that answers a question about a passage; all questions of a "
            'request have as many. "_" in a question stands where the option belongs.',
            example={
                "passage": ["A cat sat on the mat."],
                "question": ["Who sat?"],
                "options": [["a cat", "a dog"]],
            },
        )
        return self.with_ids("choose", signature, from_ids, rank=3)


def _texts_and_pairs(signatures, name, meaning, from_ids):
    """Returns the signatures of texts and of pairs, first what the model was fine-tuned with."""
    tokenizer, longest = signatures.tokenizer, signatures.max_seq_length

    def from_text(text):
        texts = graph_texts.replace_invalid(text)
        return from_ids(graph_texts.encode_texts(tokenizer, texts, longest))

    def from_pair(text_a, text_b):
        texts = graph_texts.replace_invalid(text_a), graph_texts.replace_invalid(text_b)
        return from_ids(graph_texts.encode_pairs(tokenizer, *texts, longest))

    strings = tf.TensorSpec([None], tf.string)
    of_texts = Signature(
        function=from_text,
        inputs={"text": strings},
        meaning=meaning.format("a text"),
        example={"text": ["A fine film.", "A waste of time."]},
    )
    of_pairs = Signature(
        function=from_pair,
        inputs={"text_a": strings, "text_b": strings},
        meaning=meaning.format("a pair of texts"),
        example={"text_a": ["A cat sat."], "text_b": ["An animal sat."]},
    )
    found = signatures.with_ids(name, of_texts, from_ids)
    pairs = {f"{name}_pairs": of_pairs}
    return {**pairs, **found} if signatures.settings.get("is_pair") else {**found, **pairs}


def _from_examples(name, from_ids, names, check_ids):
    """Returns the signature of serialized `tf.train.Example`s that hold ids."""

    def function(examples):
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
