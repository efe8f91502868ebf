"""Questions and contexts to windows of tokens, as TensorFlow ops.

Letters: B questions, D contexts, R windows of all questions together, L tokens of one (padded),
T tokens of all windows together, K those of them that belong to a context.
"""

import dataclasses
import typing

import tensorflow as tf

from albert_tf.pipelines.encoders.offsets import TextsWithOffsets, make_offset_encoder
from albert_tf.pipelines.tokenizer import rows
from albert_tf.pipelines.tokenizer.tokenization import Tokenizer


class Windows(typing.NamedTuple):
    """The windows of B questions, those of one question one after the other.

    Attributes:
        rows: R windows.
        question: int32 [R].
        first_tokens: int32 [R], the number in its context of the first token of the context.
        answer_mask: int32 [T], 1 at tokens of the context and at [CLS].
        is_max_context: int32 [T], 1 in the one window in which a token of the context has the most
            context: the smaller of the numbers of tokens to its left and right, plus a hundredth of
            the window's length (the original's rule, the first of equals).
        char_starts: int32 [T], the characters of the context that a token stands for; 0 outside it.
        char_ends: int32 [T].
    """

    rows: rows.Rows
    question: tf.Tensor
    first_tokens: tf.Tensor
    answer_mask: tf.Tensor
    is_max_context: tf.Tensor
    char_starts: tf.Tensor
    char_ends: tf.Tensor

    def flat(self) -> dict[str, tf.Tensor]:
        """Returns `Rows.flat`, `first_lengths` int64 [R] and the attributes but `rows`."""
        columns = {name: column for name, column in self._asdict().items() if name != "rows"}
        return {**self.rows.flat(), "first_lengths": self.rows.first_lengths, **columns}


def encode_windows(
    tokenizer: Tokenizer,
    questions: tf.Tensor,
    context: tf.Tensor,
    token_counts: tf.Tensor,
    ids: tf.Tensor,
    char_starts: tf.Tensor,
    char_ends: tf.Tensor,
    max_seq_length: int,
    doc_stride: int,
    max_query_length: int,
) -> Windows:
    """Encodes each question as windows `[CLS] question [SEP] part of the context [SEP]`.

    Args:
        tokenizer: the model's.
        questions: string [B], valid UTF-8.
        context: int64 [B], the number of each question's context.
        token_counts: int64 [D], tokens of each context.
        ids: int32 [tokens of all contexts].
        char_starts: int32, as many, the characters that they stand for.
        char_ends: int32, as many.
        max_seq_length: longest window, at least `max_query_length` + 4.
        doc_stride: tokens from the start of one window to that of the next, but at most half of
            what a window has room for.
        max_query_length: longest question; more is cut off its end.
    """
    queries = rows.Slices.of(tokenizer.encode_ragged(questions)).first(max_query_length)
    contexts = rows.Slices(ids, tf.cumsum(token_counts, exclusive=True), token_counts)
    contexts = contexts.take(context)
    room = max_seq_length - 3 - queries.lengths  # [B]
    question, first, last = cut_windows(contexts.lengths, room, doc_stride)  # [R] each
    body = rows.Slices(ids, tf.gather(contexts.starts, question) + first, last - first)
    packed = rows.pack(tokenizer, queries.take(question), body)
    window, place = rows.count_off(body.lengths)  # [K] each
    token = tf.gather(body.starts, window) + place  # among those of all contexts
    # Another number, which is the same for a token in each of its question's windows.
    own_starts = tf.gather(tf.cumsum(contexts.lengths, exclusive=True), question) + first
    own_token = tf.gather(own_starts, window) + place
    is_best = _has_most_context(
        window, place, body.lengths, own_token, tf.reduce_sum(contexts.lengths)
    )
    columns = tf.stack(
        [
            tf.ones_like(window, tf.int32),
            tf.cast(is_best, tf.int32),
            tf.gather(char_starts, token),
            tf.gather(char_ends, token),
        ],
        axis=1,
    )  # [K, 4]
    target = tf.gather(packed.starts + packed.first_lengths, window) + place
    columns = tf.scatter_nd(target[:, None], columns, tf.stack([tf.size(packed.ids, tf.int64), 4]))
    answer_mask, is_max_context, char_starts, char_ends = tf.unstack(columns, axis=1)  # [T]
    cls_places = packed.starts[:, None]
    answer_mask = tf.tensor_scatter_nd_update(
        answer_mask, cls_places, tf.ones_like(packed.starts, tf.int32)
    )
    return Windows(
        rows=packed,
        question=tf.cast(question, tf.int32),
        first_tokens=tf.cast(first, tf.int32),
        answer_mask=answer_mask,
        is_max_context=is_max_context,
        char_starts=char_starts,
        char_ends=char_ends,
    )


def cut_windows(
    lengths: tf.Tensor, room: tf.Tensor, stride: int | tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Cuts texts into windows, one after the other until one ends with its text.

    Args:
        lengths: int64 [B], tokens of each text.
        room: int64 [B], tokens that a window of it has room for.
        stride: tokens from the start of one window to that of the next, one number or [B], but at
            most half of the room: windows that hardly overlap would cut answers in two.

    Returns:
        int64 [R] three times: the text, its first token in the window, and the one behind the last.
    """
    stride = tf.minimum(tf.cast(stride, tf.int64), tf.maximum(room // 2, 1))
    counts = 1 + (tf.maximum(lengths - room, 0) + stride - 1) // stride
    text, number = rows.count_off(counts)
    first = number * tf.gather(stride, text)
    last = tf.minimum(first + tf.gather(room, text), tf.gather(lengths, text))
    return text, first, last


def _has_most_context(
    window: tf.Tensor, place: tf.Tensor, sizes: tf.Tensor, own_token: tf.Tensor, count: tf.Tensor
) -> tf.Tensor:
    """Returns for tokens in windows whether they have the most context there.

    Args:
        window: int64 [K], of each token.
        place: int64 [K], tokens of its context to its left.
        sizes: int64 [R], tokens of the context in each window.
        own_token: int64 [K], below `count`, the same for one token in all its windows.
        count: how many tokens there are.

    Returns:
        bool [K], true in one window of each token.
    """
    size = tf.gather(sizes, window)
    margin = tf.minimum(place, size - 1 - place)
    score = tf.cast(margin, tf.float64) + 0.01 * tf.cast(size, tf.float64)
    best = tf.math.unsorted_segment_max(score, own_token, count)
    is_best = score == tf.gather(best, own_token)
    window = tf.where(is_best, window, tf.int64.max)
    first_best = tf.math.unsorted_segment_min(window, own_token, count)
    return window == tf.gather(first_best, own_token)


@dataclasses.dataclass(frozen=True)
class WindowSettings:
    """How contexts are cut; see `encode_windows`."""

    max_seq_length: int
    doc_stride: int
    max_query_length: int


@dataclasses.dataclass(frozen=True)
class PaddedWindows:
    """What an exported model reads and finds answers in, see `Windows`.

    Attributes:
        inputs: `input_ids`, `input_mask`, `segment_ids`, `answer_mask` int32 [R, L].
        question: int32 [R].
        may_start, may_end: bool [R, L], tokens that may be the first and the last of an answer: of
            the context, and for the first with the most context in this window.
        first_characters, end_characters: int32 [R, L], what a token of the context stands for.
        contexts: the contexts' tokens and characters, one context a question.
    """

    inputs: dict[str, tf.Tensor]
    question: tf.Tensor
    may_start: tf.Tensor
    may_end: tf.Tensor
    first_characters: tf.Tensor
    end_characters: tf.Tensor
    contexts: TextsWithOffsets


class WindowEncoder:
    """Encodes questions about contexts of any length, of strings alone."""

    def __init__(self, tokenizer: Tokenizer, settings: WindowSettings):
        self._tokenizer = tokenizer
        self._settings = settings
        self._encode_contexts = make_offset_encoder(tokenizer)

    def __call__(self, questions: tf.Tensor, contexts: tf.Tensor) -> PaddedWindows:
        """Encodes string [B] and [B], valid UTF-8."""
        tokens = self._encode_contexts(contexts)
        windows = encode_windows(
            self._tokenizer,
            questions,
            tf.range(tf.size(questions, tf.int64)),
            tokens.ids.row_lengths(),
            tokens.ids.values,
            tokens.starts,
            tokens.ends,
            **dataclasses.asdict(self._settings),
        )
        inputs = windows.rows.padded(self._tokenizer, self._settings.max_seq_length)
        length = tf.shape(inputs["input_ids"])[1]
        answer_mask, is_max_context, first_characters, end_characters = (
            windows.rows.pad_column(column, length) for column in windows[3:]
        )
        return PaddedWindows(
            inputs={**inputs, "answer_mask": answer_mask},
            question=windows.question,
            may_start=is_max_context > 0,
            may_end=(answer_mask > 0) & (tf.range(length) > 0),
            first_characters=first_characters,
            end_characters=end_characters,
            contexts=tokens,
        )
