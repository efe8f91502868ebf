"""SQuAD 1.1 and 2.0: questions about a context -> windows of tokens with the places of answers.

N windows, T tokens of all windows together, L tokens of one.

Tokens know which characters of the context they stand for, so an answer is a slice of the original
text and no question is ever left out.
"""

import dataclasses
import os
import types
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from albert_tf import json_files
from albert_tf.pipelines.encoders.windows import encode_windows
from albert_tf.pipelines.task_data.encoded_examples import EncodedExamples, join_column
from albert_tf.pipelines.task_data.input_problems import InputError, InputProblems
from albert_tf.pipelines.tokenizer.arrays import encode_to_arrays, string_tensor
from albert_tf.pipelines.tokenizer.tokenization import Tokenizer

_QUESTIONS_AT_A_TIME = 1024
_SHOWN_CHARACTERS = 80
_JSON_NAMES = {
    str: "a string",
    int: "a whole number",
    str | int: "a string or a whole number",
    bool: "true or false",
    list: "a list",
}
_TOKEN_COLUMNS = ("input_ids", "segment_ids", "answer_mask")
_VALUE_COLUMNS = ("start_position", "end_position", "is_impossible")
_TRIM_COLUMNS = ("start_trim", "end_trim")
_DETAIL_COLUMNS = ("question_index", "char_starts", "char_ends", "is_max_context")


@dataclasses.dataclass(frozen=True)
class GoldAnswer:
    """An answer as people marked it: `context[start:start + len(text)] == text`."""

    text: str
    start: int


@dataclasses.dataclass(frozen=True)
class Question:
    """One question; `answers` is empty where there is none or where it is to be predicted."""

    guid: str
    question: str
    context: str
    title: str
    answers: tuple[GoldAnswer, ...]
    is_impossible: bool


def read(
    path: str | os.PathLike, problems: InputProblems, with_answers: bool = True
) -> list[Question]:
    """Reads a file in the official layout of either version.

    Args:
        path: JSON file.
        problems: takes questions that lack something, occur twice, or have an answer that does not
            stand in the context where the file says.
        with_answers: otherwise answers are neither read nor checked.

    Returns:
        The questions in the order of the file, without `plausible_answers`.

    Raises:
        InputError: the file is missing, not in that layout, or has no question that can be used.
    """
    path = os.fspath(path)
    return read_articles(path, _articles_of(path), problems, with_answers)


def read_articles(
    path: str, articles: list, problems: InputProblems, with_answers: bool = True
) -> list[Question]:
    """Returns what `read` does of the articles that stand in a file, whatever its own layout."""
    questions, guids = [], set()
    for place, title, context, entry in _entries_of(path, articles, problems):
        try:
            question = _question_of(title, context, entry, with_answers)
            if question.guid in guids:
                raise ValueError("the id must be there once. Received: it occurs again")
        except ValueError as error:
            problems.add(path, place, str(error))
            continue
        guids.add(question.guid)
        questions.append(question)
    if not questions:
        raise InputError(
            f"{path} must hold at least one question that can be used. Received: none; "
            f"{problems.summary() or 'nothing was skipped'}"
        )
    return questions


def _articles_of(path: str) -> list:
    try:
        return json_files.read_object(path, {"data": list}, largest_bytes=None)["data"]
    except json_files.JsonError as error:
        raise InputError(f"{error}. Expected the layout of SQuAD") from error


def _entries_of(
    path: str, articles: list, problems: InputProblems
) -> Iterator[tuple[str, str, str, Any]]:
    """Yields (place, title, context, question), the last two as in the file."""
    for number, article in enumerate(articles):
        place = f"article {number}"
        try:
            paragraphs = _value_of(article, "paragraphs", list)
            place = f"{place} ({article.get('title', number)})"
        except ValueError as error:
            problems.add(path, place, f"must be in the layout of SQuAD: {error}")
            continue
        title = str(article.get("title", number))
        for index, paragraph in enumerate(paragraphs):
            where = f"{place}, paragraph {index}"
            try:
                context = _value_of(paragraph, "context", str)
                entries = _value_of(paragraph, "qas", list)
            except ValueError as error:
                problems.add(path, where, f"must be in the layout of SQuAD: {error}")
                continue
            for rank, entry in enumerate(entries):
                has_id = isinstance(entry, dict) and "id" in entry
                name = f"question {entry['id']}" if has_id else f"{where}, question {rank}"
                yield name, title, context, entry


def _value_of(container: Any, key: str, kind: type | types.UnionType) -> Any:
    """Returns `container[key]`, of type `kind`; the `ValueError` says what is there instead."""
    if not isinstance(container, dict) or key not in container:
        keys = sorted(container) if isinstance(container, dict) else _shown(container)
        raise ValueError(f"{key!r} must be there. Received: {keys}")
    value = container[key]
    # JSON's true is no number, though Python's is.
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ValueError(f"{key!r} must be {_JSON_NAMES[kind]}. Received: {_shown(value)}")
    return value


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."


def _question_of(title: str, context: str, entry: Any, with_answers: bool) -> Question:
    """Returns the question, or raises a `ValueError` that says what is wrong with it."""
    guid = str(_value_of(entry, "id", str | int))
    text = entry.get("question")
    for name, value in (("question", text), ("context", context)):
        if not isinstance(value, str) or not value.strip():
            raise ValueError(f"the {name} must be a text. Received: {_shown(value)}")
    answers, is_impossible = (), False
    if with_answers:
        if "is_impossible" in entry:
            is_impossible = _value_of(entry, "is_impossible", bool)
        if "answers" in entry or not is_impossible:
            entries = _value_of(entry, "answers", list)
            answers = tuple(_answer_of(answer, context) for answer in entries)
        if is_impossible and answers:
            raise ValueError(
                f"an impossible question has no answer. Received: {_shown(answers[0].text)}"
            )
    return Question(guid, text, context, title, answers, is_impossible)


def _answer_of(answer: Any, context: str) -> GoldAnswer:
    try:
        text, start = _value_of(answer, "text", str), _value_of(answer, "answer_start", int)
    except ValueError as error:
        raise ValueError(f"answers must have text and answer_start: {error}") from error
    if text.strip() and start >= 0 and context.startswith(text, start):
        return GoldAnswer(text, start)
    there = context[start : start + len(text)] if start >= 0 else ""
    raise ValueError(
        f"the answer {_shown(text)} must stand at answer_start={start}. "
        f"Received there: {_shown(there)}; {_whereabouts(text, context)}"
    )


def _whereabouts(text: str, context: str) -> str:
    if not text.strip():
        return "an answer must be a text"
    first = context.find(text)
    if first < 0:
        return "the context does not hold it"
    if context.find(text, first + 1) >= 0:
        return f"it stands at several places, first at {first}"
    return f"it stands at {first}"


def gold_answers(questions: Sequence[Question]) -> dict[str, list[str]]:
    """Returns {id: texts of the answers}, [] where there is none."""
    return {q.guid: [answer.text for answer in q.answers] for q in questions}


def titles(questions: Sequence[Question]) -> dict[str, str]:
    """Returns {id: title of the article}."""
    return {question.guid: question.title for question in questions}


def encode(
    questions: Sequence[Question],
    tokenizer: Tokenizer,
    max_seq_length: int = 384,
    doc_stride: int = 128,
    max_query_length: int = 64,
    training: bool = False,
) -> EncodedExamples:
    """Encodes each question as windows `[CLS] question [SEP] part of the context [SEP]`.

    Args:
        questions: what `read` returned.
        tokenizer: the model's.
        max_seq_length: longest window.
        doc_stride: tokens of the context from the start of one window to that of the next, but at
            most half of what a window has room for.
        max_query_length: longest question; more is cut off its end.
        training: whether to encode the place of the first answer.

    Returns:
        `EncodedExamples` of N windows, those of a question one after the other, at least one each.
        Tokens have `answer_mask`. With `training`, windows have `start_position`, `end_position`
        and `is_impossible`; one that does not hold the whole first answer counts as without.
        `details`:
        `question_index` int32 [N]; `char_starts`, `char_ends` int32 [T], the characters of the
        context that a token stands for (0, 0 outside the context); `is_max_context` int8 [T], 1 in
        the one window in which a token of the context has the most context: the smaller of the
        numbers of tokens to its left and right, plus a hundredth of the window's length (the
        original's rule, the first of equals); with `training`, `start_trim` and `end_trim` int32
        [N], see `answer_text`.

    Raises:
        ValueError: a length is out of range.
    """
    if doc_stride < 1 or max_query_length < 1 or max_seq_length < max_query_length + 4:
        raise ValueError(
            "`doc_stride` and `max_query_length` must be positive and `max_seq_length` at least "
            f"`max_query_length` + 4. Received: doc_stride={doc_stride}, "
            f"max_query_length={max_query_length}, max_seq_length={max_seq_length}"
        )
    parts = [
        _encode_some(
            questions[start : start + _QUESTIONS_AT_A_TIME],
            start,
            tokenizer,
            training,
            max_seq_length=max_seq_length,
            doc_stride=doc_stride,
            max_query_length=max_query_length,
        )
        for start in range(0, len(questions), _QUESTIONS_AT_A_TIME)
    ]
    value_names = _VALUE_COLUMNS if training else ()
    detail_names = (*_DETAIL_COLUMNS, *(_TRIM_COLUMNS if training else ()))
    return EncodedExamples.from_parts(
        parts,
        _TOKEN_COLUMNS,
        {name: join_column(parts, name) for name in value_names},
        details={name: join_column(parts, name) for name in detail_names},
    )


def _encode_some(
    questions: Sequence[Question],
    number: int,
    tokenizer: Tokenizer,
    training: bool,
    **settings: int,
) -> dict[str, np.ndarray]:
    """Returns {name: array} of the windows of some questions, the first called `number`."""
    texts = list(dict.fromkeys(question.context for question in questions))
    token_counts, *tokens = _encode_contexts(tokenizer, texts)
    context_of = {text: index for index, text in enumerate(texts)}
    contexts = [context_of[question.context] for question in questions]
    part = encode_to_arrays(
        encode_windows,
        tokenizer,
        string_tensor([question.question for question in questions]),
        np.array(contexts),
        token_counts,
        *tokens,
        **settings,
    )
    if training:
        _, starts, ends = (np.split(column, np.cumsum(token_counts)) for column in tokens)
        answers = []
        for question, context in zip(questions, contexts, strict=True):
            answers.append(_answer_tokens(question, starts[context], ends[context]))
        part |= _place_answers(part, np.array(answers, np.int32))
    part["question_index"] = part["question"] + np.int32(number)
    part["is_max_context"] = part["is_max_context"].astype(np.int8)
    return part


def _encode_contexts(
    tokenizer: Tokenizer, texts: list[str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Returns the tokens of each context, and of all tokens ids, first characters and ends.

    By the Python form of the offsets, which is exact for every text, see docs/architecture.md.
    """
    encoded = tokenizer.encode_batch_with_offsets(texts)
    ids = np.array([index for ids, _ in encoded for index in ids], np.int32)
    spans = np.array([span for _, spans in encoded for span in spans], np.int32).reshape(-1, 2)
    return np.array([len(ids) for ids, _ in encoded]), ids, spans[:, 0], spans[:, 1]


def _answer_tokens(
    question: Question, starts: np.ndarray, ends: np.ndarray
) -> tuple[int, int, int, int]:
    """Returns first and last token that the first answer touches and its trims; -1 without any."""
    nothing = (-1, -1, 0, 0)
    if question.is_impossible or not question.answers:
        return nothing
    answer = question.answers[0]
    answer_end = answer.start + len(answer.text)
    # A lone word boundary stands for no character.
    places = np.flatnonzero((ends > answer.start) & (starts < answer_end) & (starts < ends))
    if not len(places):
        return nothing
    first, last = int(places[0]), int(places[-1])
    return first, last, answer.start - int(starts[first]), int(ends[last]) - answer_end


def _place_answers(part: dict[str, np.ndarray], answers: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the place of the answer in each window, [CLS] where a window does not hold it.

    Args:
        part: the windows.
        answers: int32 [questions, 4], see `_answer_tokens`.
    """
    first, last, *trims = answers[part["question"]].T  # [N] each
    before = part["first_lengths"].astype(np.int32)  # tokens up to the context
    size = part["row_lengths"].astype(np.int32) - before - 1
    first, last = first - part["first_tokens"], last - part["first_tokens"]
    holds = (answers[part["question"], 0] >= 0) & (first >= 0) & (last < size)
    columns = (first + before, last + before, *trims)
    names = ("start_position", "end_position", *_TRIM_COLUMNS)
    arrays = {n: np.where(holds, column, 0) for n, column in zip(names, columns, strict=True)}
    return {**arrays, "is_impossible": (~holds).astype(np.int32)}


def trained_answers(questions: Sequence[Question], encoded: EncodedExamples) -> list[str | None]:
    """Returns the text that each window is trained to give, None for no answer."""
    texts = []
    for window, number in enumerate(encoded.details["question_index"].tolist()):
        tokens = slice(*encoded.row_splits[window : window + 2])
        start, end, is_impossible = (int(encoded.values[n][window]) for n in _VALUE_COLUMNS)
        text = answer_text(
            questions[number].context,
            encoded.details["char_starts"][tokens],
            encoded.details["char_ends"][tokens],
            (start, end),
            tuple(int(encoded.details[name][window]) for name in _TRIM_COLUMNS),
        )
        texts.append(None if is_impossible else text)
    return texts


def answer_text(
    context: str,
    char_starts: np.ndarray,
    char_ends: np.ndarray,
    place: tuple[int, int],
    trims: tuple[int, int] = (0, 0),
) -> str:
    """Returns the part of the context that tokens stand for, as it is written there.

    Args:
        context: the original text.
        char_starts: int [L], of one window.
        char_ends: int [L], of one window.
        place: first and last token.
        trims: characters by which the answer starts behind the start of the first token and ends
            before the end of the last one: not 0 where an answer begins or ends inside a token, and
            negative where characters at its edge belong to no token, such as white space.

    `answer_text("the 1990s", [0, 4], [3, 9], (1, 1), (0, 1))` -> `"1990"`.
    """
    return context[char_starts[place[0]] + trims[0] : char_ends[place[1]] - trims[1]]
