"""Inside a TensorFlow graph: questions and contexts -> windows, as `squad.encode` cuts them.

Letters: B questions, R windows of all questions together, L tokens of one (padded), T tokens of all
contexts together.
"""

import dataclasses

import tensorflow as tf

from albert_tf.pipelines.encoders import graph_texts
from albert_tf.pipelines.encoders.graph_offsets import OffsetEncoder, TextsWithOffsets
from albert_tf.pipelines.tokenizer.tokenization import Tokenizer


@dataclasses.dataclass(frozen=True)
class WindowSettings:
    """How contexts are cut; see `squad.encode`."""

    max_seq_length: int
    doc_stride: int
    max_query_length: int


@dataclasses.dataclass(frozen=True)
class Windows:
    """The windows of B questions, those of one question one after the other.

    Attributes:
      inputs: `input_ids`, `input_mask`, `segment_ids`, `answer_mask` int32 [R, L].
      question: int32 [R].
      may_start, may_end: bool [R, L], tokens that may be the first and the last of an answer: of
        the context, and for the first with the most context in this window.
      first_characters, end_characters: int32 [R, L], what a token of the context stands for.
      contexts: the contexts' tokens and characters.
    """

    inputs: dict[str, tf.Tensor]
    question: tf.Tensor
    may_start: tf.Tensor
    may_end: tf.Tensor
    first_characters: tf.Tensor
    end_characters: tf.Tensor
    contexts: TextsWithOffsets


class WindowEncoder:
    """Encodes questions about contexts of any length."""

    def __init__(self, tokenizer: Tokenizer, settings: WindowSettings):
        self._tokenizer = tokenizer
        self._settings = settings
        self._encode_contexts = OffsetEncoder(tokenizer)

    def __call__(self, questions: tf.Tensor, contexts: tf.Tensor) -> Windows:
        """Encode string [B] and [B], valid UTF-8."""
        settings = self._settings
        queries = self._tokenizer.encode_ragged(questions)[:, : settings.max_query_length]
        found = self._encode_contexts(contexts)
        lengths = tf.cast(queries.row_lengths(), tf.int32)  # [B]
        room = settings.max_seq_length - 3 - lengths
        # Windows that hardly overlap would cut answers in two.
        stride = tf.minimum(settings.doc_stride, tf.maximum(room // 2, 1))
        sizes = tf.cast(found.ids.row_lengths(), tf.int32)
        counts = 1 + (tf.maximum(sizes - room, 0) + stride - 1) // stride
        question = tf.repeat(tf.range(tf.size(counts)), counts)  # [R]
        number = tf.range(tf.size(question)) - tf.gather(
            tf.cumsum(counts, exclusive=True), question
        )
        first = number * tf.gather(stride, question)  # [R], among the tokens of the context
        last = tf.minimum(first + tf.gather(room, question), tf.gather(sizes, question))
        base = tf.gather(tf.cast(found.ids.row_starts(), tf.int32), question)
        tokens = tf.ragged.range(base + first, base + last)  # [R, (tokens)], among the T
        inputs = self._pack(tf.gather(queries, question), found.ids.values, tokens)
        before = tf.gather(lengths, question) + 2  # [R]
        return self._describe(inputs, found, question, number, before, base + first, last - first)

    def _pack(self, queries, context_ids, tokens):
        rows = queries.nrows()
        cls_id = tf.RaggedTensor.from_tensor(tf.fill([rows, 1], self._tokenizer.cls_id))
        sep_id = tf.RaggedTensor.from_tensor(tf.fill([rows, 1], self._tokenizer.sep_id))
        parts = tokens.with_values(tf.gather(context_ids, tokens.values))
        ids = tf.concat([cls_id, queries, sep_id, parts, sep_id], axis=1)
        return graph_texts.pad(
            self._tokenizer, ids, self._settings.max_seq_length, queries.row_lengths() + 2
        )

    def _describe(self, inputs, found, question, number, before, start, size):
        """Return the `Windows`.

        Args:
          inputs, found, question: parts of them.
          number: int32 [R], of a window among those of its question.
          before: int32 [R], tokens before the context.
          start: int32 [R], its first token among the T.
          size: int32 [R], its tokens.
        """
        place = tf.range(tf.shape(inputs["input_ids"])[1]) - before[:, None]  # [R, L]
        inside = (place >= 0) & (place < size[:, None])
        token = tf.where(inside, start[:, None] + place, 0)  # among the T
        count = tf.maximum(tf.size(found.starts), 1)
        # The window with the most context on the smaller side, and a little for its size.
        margin = tf.minimum(place, size[:, None] - 1 - place)
        score = tf.cast(margin, tf.float64) + 0.01 * tf.cast(size, tf.float64)[:, None]
        score = tf.where(inside, score, tf.constant(-1, tf.float64))
        best = tf.math.unsorted_segment_max(score, token, count)
        is_best = inside & (score == tf.gather(best, token))
        number = tf.where(is_best, number[:, None], tf.int32.max)
        first_best = tf.math.unsorted_segment_min(number, token, count)
        is_first = tf.cast(tf.range(tf.shape(place)[1]) == 0, tf.int32)
        inside_mask = tf.cast(inside, tf.int32)
        return Windows(
            inputs={**inputs, "answer_mask": inside_mask + is_first},
            question=question,
            may_start=is_best & (number == tf.gather(first_best, token)),
            may_end=inside,
            first_characters=_gather_or_zero(found.starts, token, inside),
            end_characters=_gather_or_zero(found.ends, token, inside),
            contexts=found,
        )


def _gather_or_zero(values, indices, where):
    # One more, so that there is something to gather where the contexts are empty.
    gathered = tf.gather(tf.concat([values, [0]], axis=0), indices)
    return tf.where(where, gathered, 0)
