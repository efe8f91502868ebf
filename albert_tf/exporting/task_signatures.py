"""What exported models of tasks can be asked: tags, answers, choices, vectors.

Letters: B texts (rows of a request), R rows of the model, L tokens of one, H hidden size,
C classes or options, M masks of a text, W words of a text, K best words for a mask.
"""

import tensorflow as tf

from albert_tf.checkpoints.model_kinds import AnswerNotes, ChoiceNotes, EmbeddingNotes
from albert_tf.exporting import graph_answers
from albert_tf.exporting.graph_batches import TOKENS, Tensors
from albert_tf.exporting.signatures import Question, Signature, Signatures, pair_up
from albert_tf.inference.features import Features
from albert_tf.inference.text_model import TextModel
from albert_tf.model import heads
from albert_tf.pipelines.encoders.choices import encode_choices
from albert_tf.pipelines.encoders.windows import WindowEncoder, WindowSettings
from albert_tf.pipelines.encoders.words import encode_words, split_words
from albert_tf.pipelines.tokenizer.sequences import encode_texts, replace_invalid
from albert_tf.tasks import squad_metrics

_PLAIN_SPAN = {"start_logits": (tf.float32, (TOKENS,)), "end_logits": (tf.float32, (TOKENS,))}
_CONDITIONAL_SPAN = {
    "start_logits": (tf.float32, (TOKENS,)),
    "end_logits": (tf.float32, (None, TOKENS)),
    "impossible_logits": (tf.float32, ()),
    "start_positions": (tf.int32, (None,)),
}


class TagSignatures(Signatures):
    """A tag for each word, of `AlbertTokenClassifier`."""

    def own(self) -> dict[str, Signature]:
        """Returns `tag`."""
        names = tf.constant(self.model.labels)
        outputs = {"scores": (tf.float32, (TOKENS, len(self.model.labels)))}

        def from_text(text: tf.Tensor) -> Tensors:
            longest = self.notes.max_seq_length
            words = split_words(replace_invalid(text))  # [B, (words)]
            encoded = encode_words(self.tokenizer, words.values, words.row_lengths(), longest)
            batch = encoded.rows.padded(self.tokenizer, longest)
            scores = self.run_model(batch, outputs)["scores"]  # [R, L, C]
            probabilities = tf.nn.softmax(tf.gather_nd(scores, encoded.places))  # [words, C]
            tags = tf.gather(names, tf.argmax(probabilities, axis=1))
            return {
                "words": words.to_tensor(),
                "tags": words.with_values(tags).to_tensor(),
                "scores": words.with_values(tf.reduce_max(probabilities, axis=1)).to_tensor(),
                "word_count": tf.cast(words.row_lengths(), tf.int32),
            }

        def from_ids(batch: Tensors) -> Tensors:
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

    def questions(self, model: TextModel, texts: list[str]) -> list[Question]:
        """Returns texts with the tags of their words, see `Signatures`."""
        tags = model(texts)
        most = max(map(len, tags))

        def gather(name: str, missing: float | str) -> list[list[float | str]]:
            return [[word[name] for word in row] + [missing] * (most - len(row)) for row in tags]

        answers = {
            "words": gather("word", ""),
            "tags": gather("tag", ""),
            "scores": gather("score", 0.0),
            "word_count": [len(row) for row in tags],
        }
        return [("tag", {"text": texts}, answers)]


class AnswerSignatures(Signatures):
    """Answers to questions, of `AlbertSpanSelector` and `AlbertAnswerabilitySelector`."""

    notes: AnswerNotes

    def own(self) -> dict[str, Signature]:
        """Returns `answer`."""
        settings = WindowSettings(
            max_seq_length=self.notes.max_seq_length,
            doc_stride=self.notes.doc_stride,
            max_query_length=self.notes.max_query_length,
        )
        span_settings = squad_metrics.SpanSettings(
            n_best=self.notes.n_best, max_answer_tokens=self.notes.max_answer_tokens
        )
        encode = WindowEncoder(self.tokenizer, settings)
        has_own_head = hasattr(self.model, "conditional_span_head")
        outputs = _CONDITIONAL_SPAN if has_own_head else _PLAIN_SPAN

        def from_text(question: tf.Tensor, context: tf.Tensor) -> Tensors:
            contexts = replace_invalid(context)
            windows = encode(replace_invalid(question), contexts)
            scores = self.run_model(windows.inputs, outputs)
            threshold = self.notes.null_threshold
            return graph_answers.find_answers(scores, windows, contexts, span_settings, threshold)

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

    def questions(self, model: TextModel, texts: list[str]) -> list[Question]:
        """Returns texts as questions about others, with the answers, see `Signatures`."""
        pairs = pair_up(texts)
        questions, contexts = map(list, zip(*pairs, strict=True))
        answers = model(pairs)
        names = ("answer", "score", "start", "end", "null_score")
        outputs = {name: [answer[name] for answer in answers] for name in names}
        return [("answer", {"question": questions, "context": contexts}, outputs)]


class ChoiceSignatures(Signatures):
    """One of several options, of `AlbertMultipleChoice`."""

    notes: ChoiceNotes

    def own(self) -> dict[str, Signature]:
        """Returns `choose`."""

        def compute(some: Tensors) -> Tensors:
            one = {name: values[None] for name, values in some.items()}
            return {"scores": self.model(one, training=False)[0]}

        def choose(rows: Tensors, shape: tf.Tensor) -> Tensors:
            """Returns index [B] and probabilities [B, C] for ids [B * C, L]."""
            scores = self.run(compute, rows, {"scores": (tf.float32, ())})["scores"]
            probabilities = tf.nn.softmax(tf.reshape(scores, shape))  # [B, C]
            # One column more, lower than any: a request without rows may have none.
            padded = tf.pad(probabilities, ((0, 0), (0, 1)), constant_values=-1.0)
            index = tf.argmax(padded, axis=1, output_type=tf.int32)
            return {"index": index, "probabilities": probabilities}

        def from_text(passage: tf.Tensor, question: tf.Tensor, options: tf.Tensor) -> Tensors:
            options = replace_invalid(options)
            rows = encode_choices(
                self.tokenizer,
                replace_invalid(passage),
                replace_invalid(question),
                options,
                self.notes.max_seq_length,
                self.notes.max_qa_length,
            )
            batch = rows.padded(self.tokenizer, self.notes.max_seq_length)
            choice = choose(batch, tf.shape(options))
            return {"option": tf.gather(options, choice["index"], batch_dims=1), **choice}

        def from_ids(batch: Tensors) -> Tensors:
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

    def questions(self, model: TextModel, texts: list[str]) -> list[Question]:
        """Returns texts as options for others, with what is chosen, see `Signatures`."""
        items = [
            (passage, question, [texts[(row + shift) % len(texts)] for shift in (1, 2, 3)])
            for row, (passage, question) in enumerate(pair_up(texts))
        ]
        answers = model(items)

        def ask(rows: list[int], output: str, name: str) -> Question:
            columns = map(list, zip(*(items[row] for row in rows), strict=True))
            inputs = dict(zip(("passage", "question", "options"), columns, strict=True))
            return ("choose", inputs, {output: [answers[row][name] for row in rows]})

        everything = list(range(len(items)))
        clear = [row for row in everything if _is_clear(answers[row]["scores"])]
        asked = [ask(everything, "probabilities", "scores")]
        return [*asked, ask(clear, "option", "option")] if clear else asked


def _is_clear(scores: list[float]) -> bool:
    """Returns whether the best option is not chosen by rounding, as of "" and " ", read alike."""
    *_, second, best = sorted(scores)
    return best - second > 1e-3


class EmbeddingSignatures(Signatures):
    """One vector a text, of models of `AlbertModel` that say how it is made."""

    notes: EmbeddingNotes

    def own(self) -> dict[str, Signature]:
        """Returns `embed`."""
        outputs = {
            "embedding": (tf.float32, (self.model.config.hidden_size,)),
            "token_count": (tf.int32, ()),
        }

        def compute(some: Tensors) -> Tensors:
            vectors = self.model.encode(some, training=False)["sequence_output"]
            mask, how = some["input_mask"], (self.notes.pooling, self.notes.normalize)
            return {
                "embedding": heads.pool(vectors, mask, *how),
                "token_count": tf.reduce_sum(mask, axis=1),
            }

        def from_text(text: tf.Tensor) -> Tensors:
            return self.run(compute, self.encode_for_features(replace_invalid(text)), outputs)

        signature = Signature(
            function=from_text,
            inputs={"text": tf.TensorSpec([None], tf.string)},
            meaning="One vector a text: those of like texts have a large cosine. token_count has "
            "[CLS] and [SEP] in it, and ends where texts are cut.",
            example={
                "text": ["A cat sat on the mat.", "The cat is sitting.", "Prices rose in May."]
            },
        )
        return self.with_ids("embed", signature, lambda ids: self.run(compute, ids, outputs))

    def encode_for_features(self, texts: tf.Tensor) -> Tensors:
        """Returns a batch of string [B], read as in training."""
        longest = self.notes.max_seq_length
        return encode_texts(self.tokenizer, texts, longest).padded(self.tokenizer, longest)

    def questions(self, model: Features, texts: list[str]) -> list[Question]:
        """Returns texts with their vectors, see `Signatures`."""
        answers = {
            "embedding": model.embed(texts).tolist(),
            "token_count": [len(answer["tokens"]) for answer in model(texts)],
        }
        return [("embed", {"text": texts}, answers)]
