"""Inside a TensorFlow graph: scores of windows -> those of a text, the best answer to a question.

The rules of `batch_prediction.join_windows`, of `answer_task.best_answers` and `squad_scoring`, for
the best answer alone.

Letters: B texts or questions, R windows of all of them together, L tokens of one, A longest answer,
K starts that the head for 2.0 follows.
"""

from collections.abc import Iterator

import tensorflow as tf

from albert_tf.pipelines.encoders.offsets import NearestPlaces, TextsWithOffsets
from albert_tf.pipelines.encoders.windows import PaddedWindows
from albert_tf.tasks.squad_metrics import SpanSettings

_NO_SCORE = tf.float32.min


def join_windows(
    scores: tf.Tensor, text_index: tf.Tensor, count: int | tf.Tensor, rule: str
) -> tf.Tensor:
    """Returns [B, ...] for the scores [R, ...] of the windows of texts.

    Args:
        scores: float32 [R, ...].
        text_index: int32 [R], the text of each window.
        count: B.
        rule: "mean" or "max".
    """
    join = tf.math.unsorted_segment_max if rule == "max" else tf.math.unsorted_segment_mean
    return join(scores, text_index, count)


def find_answers(
    outputs: dict[str, tf.Tensor],
    windows: PaddedWindows,
    contexts: tf.Tensor,
    settings: SpanSettings,
    null_threshold: float | None,
) -> dict[str, tf.Tensor]:
    """Returns the best answer to each question.

    Args:
        outputs: {name: float32 [R, ...]} of `AlbertSpanSelector` or `AlbertAnswerabilitySelector`.
        windows: of all questions.
        contexts: string [B].
        settings: which spans count.
        null_threshold: null score beyond which a question counts as without answer, or None.

    Returns:
        `answer` string [B], `score` float32 [B], `start`, `end` int32 [B], characters of the
        context, and `null_score` float32 [B], as of `fine_tuned.Answerer`.
    """
    count = tf.size(contexts)
    is_plain = "impossible_logits" not in outputs
    decode = _best_plain if is_plain else _best_conditional
    score, first, last, null_score = decode(outputs, windows, settings)  # [R] each
    row = _best_rows(score, windows.question, count)  # [B]
    score = tf.gather(score, row)
    is_found = score > _NO_SCORE
    start, end = (
        tf.gather(tf.gather(characters, row), tf.gather(token, row), batch_dims=1)  # [B]
        for characters, token in (
            (windows.first_characters, first),
            (windows.end_characters, last),
        )
    )
    start, end = _strip(start, end, windows.contexts)
    null_score = tf.math.unsorted_segment_min(null_score, windows.question, count)
    if is_plain:
        null_score -= tf.where(is_found, score, 0.0)
    if null_threshold is not None:
        is_found &= null_score <= null_threshold
    start, end = tf.where(is_found, start, 0), tf.where(is_found, end, 0)
    return {
        "answer": tf.strings.substr(contexts, start, end - start, unit="UTF8_CHAR"),
        "score": tf.where(is_found, score, 0.0),
        "start": start,
        "end": end,
        "null_score": null_score,
    }


def _best_rows(score: tf.Tensor, question: tf.Tensor, count: int | tf.Tensor) -> tf.Tensor:
    """Returns int32 [B]: for each question the window with the best score, the first of equals."""
    best = tf.math.unsorted_segment_max(score, question, count)
    row = tf.range(tf.size(score))
    is_best = score == tf.gather(best, question)
    return tf.math.unsorted_segment_min(tf.where(is_best, row, tf.int32.max), question, count)


def _strip(
    start: tf.Tensor, end: tf.Tensor, contexts: TextsWithOffsets
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the spans [B] without white space at both ends."""
    base = contexts.character_splits[:-1]
    solid = NearestPlaces(~contexts.is_white)
    first = solid.at_or_after(base + tf.cast(start, tf.int64)) - base
    last = solid.before(base + tf.cast(end, tf.int64)) + 1 - base
    return tf.cast(first, tf.int32), tf.cast(last, tf.int32)


def _count_solid(windows: PaddedWindows) -> Iterator[tf.Tensor]:
    """Returns int64 [R, L] twice: characters that are no white space before each span's two ends.

    Where the numbers of two tokens are equal, there is nothing but white space between them.
    """
    contexts = windows.contexts
    sums = tf.concat([[0], tf.cumsum(tf.cast(~contexts.is_white, tf.int64))], axis=0)
    base = tf.gather(contexts.character_splits, windows.question)[:, None]  # [R, 1]
    return (
        tf.gather(sums, base + tf.cast(characters, tf.int64))
        for characters in (windows.first_characters, windows.end_characters)
    )


def _best_plain(
    outputs: dict[str, tf.Tensor], windows: PaddedWindows, settings: SpanSettings
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns score, first and last token and null score of each window, [R] each.

    The score is that of the best span with a text, the smallest number where there is none.
    """
    starts, ends = outputs["start_logits"], outputs["end_logits"]  # [R, L]
    mask = windows.inputs["input_mask"] > 0
    top_start = windows.may_start & _is_among_best(starts, mask, settings.n_best)
    top_end = windows.may_end & _is_among_best(ends, mask, settings.n_best)
    band = _Band(tf.shape(starts)[1], settings.max_answer_tokens)
    is_top = top_start[..., None] & band.shift(top_end, False)  # [R, L, A]
    is_allowed = windows.may_start[..., None] & band.shift(windows.may_end, False)
    has_top = tf.reduce_any(is_top, axis=[1, 2], keepdims=True)
    first_solid, end_solid = _count_solid(windows)
    has_text = band.shift(end_solid, 0) > first_solid[..., None]
    scores = starts[..., None] + band.shift(ends, 0.0)  # [R, L, A]
    scores = tf.where(tf.where(has_top, is_top, is_allowed) & has_text, scores, _NO_SCORE)
    score, place = _best_of(scores)
    first = place // settings.max_answer_tokens
    last = tf.minimum(first + place % settings.max_answer_tokens, tf.shape(starts)[1] - 1)
    return score, first, last, starts[:, 0] + ends[:, 0]


class _Band:
    """The spans [R, L, A] of tokens: from each token on, those of 1 to A tokens."""

    def __init__(self, length: int | tf.Tensor, longest: int):
        self._places = tf.range(length)[:, None] + tf.range(longest)  # [L, A]
        self._longest = longest

    def shift(self, values: tf.Tensor, missing: bool | float) -> tf.Tensor:
        """Returns [R, L, A]: of [R, L] what stands at the last token of each span."""
        padded = tf.pad(values, [[0, 0], [0, self._longest]], constant_values=missing)
        return tf.gather(padded, self._places, axis=1)


def _best_conditional(
    outputs: dict[str, tf.Tensor], windows: PaddedWindows, settings: SpanSettings
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns the same as `_best_plain`, for the head whose ends were scored given starts."""
    mask = windows.inputs["input_mask"] > 0
    positions = outputs["start_positions"]  # [R, K]
    starts = tf.nn.log_softmax(outputs["start_logits"])  # [R, L]
    ends = tf.nn.log_softmax(outputs["end_logits"])  # [R, K, L]
    length = tf.shape(starts)[1]
    is_token = tf.gather(mask, positions, batch_dims=1)  # [R, K]
    span = tf.range(length) - positions[..., None] + 1  # [R, K, L]
    is_allowed = (
        (tf.gather(windows.may_start, positions, batch_dims=1) & is_token)[..., None]
        & windows.may_end[:, None, :]
        & (span >= 1)
        & (span <= settings.max_answer_tokens)
    )
    among_best = _is_among_best(ends, mask[:, None, :], settings.num_ends)
    is_top = is_allowed & among_best
    has_top = tf.reduce_any(is_top, axis=[1, 2], keepdims=True)
    first_solid, end_solid = _count_solid(windows)
    start_solid = tf.gather(first_solid, positions, batch_dims=1)[..., None]
    has_text = end_solid[:, None, :] > start_solid
    scores = tf.gather(starts, positions, batch_dims=1)[..., None] + ends  # [R, K, L]
    scores = tf.where(tf.where(has_top, is_top, is_allowed) & has_text, scores, _NO_SCORE)
    score, place = _best_of(scores)
    first = tf.gather(positions, place // length, batch_dims=1)
    # Where no followed start allows an end, the best allowed start is an answer of one token.
    best_ends = tf.reduce_max(tf.where(is_token[..., None], ends, _NO_SCORE), axis=1)  # [R, L]
    best_ends = tf.where(tf.reduce_any(is_token, axis=1)[:, None], best_ends, 0.0)
    alone = windows.may_start & windows.may_end
    lone_score, lone = _best_of(tf.where(alone, starts + best_ends, _NO_SCORE))
    lone_text = tf.gather(end_solid - first_solid, lone, batch_dims=1) > 0
    lone_score = tf.where(lone_text, lone_score, _NO_SCORE)
    is_span = tf.reduce_any(is_allowed, axis=[1, 2])
    return (
        tf.where(is_span, score, lone_score),
        tf.where(is_span, first, lone),
        tf.where(is_span, place % length, lone),
        outputs["impossible_logits"],
    )


def _best_of(scores: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns (the largest of each row [R], its place among the row's values int32 [R])."""
    flat = tf.reshape(scores, [tf.shape(scores)[0], tf.reduce_prod(tf.shape(scores)[1:])])
    return tf.reduce_max(flat, axis=1), tf.argmax(flat, axis=1, output_type=tf.int32)


def _is_among_best(scores: tf.Tensor, mask: tf.Tensor, count: int | tf.Tensor) -> tf.Tensor:
    """Returns bool [..., L]: the `count` largest of the values that bool [..., L] marks."""
    scores = tf.where(mask, scores, _NO_SCORE)
    best = tf.math.top_k(scores, tf.minimum(count, tf.shape(scores)[-1])).values
    return mask & (scores >= best[..., -1:])
