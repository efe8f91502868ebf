"""SQuAD 1.1 and 2.0: questions about a context -> windows of tokens with the places of answers.

N windows, T tokens of all windows together, L tokens of one.

Tokens know which characters of the context they stand for, so an answer is a slice of the original
text and no question is ever left out.
"""

import dataclasses
import json
import os
from collections.abc import Sequence

import numpy as np

from albert_tf.pipelines.encoded_examples import EncodedExamples
from albert_tf.pipelines.input_problems import InputError, InputProblems
from albert_tf.pipelines.tokenization import Tokenizer

_TEXTS_AT_A_TIME = 1024


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
    """Read a file in the official layout of either version.

    Args:
      path: JSON file.
      problems: takes questions that lack something, occur twice, or have an answer that does not
        stand in the context where the file says.
      with_answers: otherwise answers are neither read nor checked.

    Raises:
      InputError: the file is missing or not in that layout.
    """
    path = os.fspath(path)
    try:
        with open(path, encoding="utf-8-sig") as file:
            articles = json.load(file)["data"]
    except OSError as error:
        raise InputError(f"{path} must be a file. Received: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} must be JSON in the layout of SQuAD, with `data`. Received: {error!r}"
        ) from error
    questions, seen = [], set()
    for place, title, context, entry in _entries_of(path, articles, problems):
        problem, question = _question_of(title, context, entry, with_answers)
        if problem is None and question.guid in seen:
            problem = "the id must be there once. Received: it occurs again"
        if problem:
            problems.add(path, place, problem)
            continue
        seen.add(question.guid)
        questions.append(question)
    if not questions and not problems.count:
        raise InputError(f"{path} must hold at least one question. Received: none")
    return questions


def _entries_of(path, articles, problems):
    """Yield (place, title, context, question as in the file)."""
    for number, article in enumerate(articles):
        place = f"article {number}"
        try:
            title, paragraphs = article.get("title", str(number)), article["paragraphs"]
            for index, paragraph in enumerate(paragraphs):
                place = f"article {number} ({title}), paragraph {index}"
                context, entries = paragraph["context"], paragraph["qas"]
                if not isinstance(context, str) or not context.strip():
                    problems.add(path, place, f"the context must be a text. Received: {context!r}")
                    continue
                for entry in entries:
                    yield f"question {entry['id']}", title, context, entry
        except (KeyError, TypeError, AttributeError) as error:
            problems.add(path, place, f"must be in the layout of SQuAD. Received: {error!r}")


def _question_of(title, context, entry, with_answers):
    """Return (what is wrong or None, the `Question` or None)."""
    text = entry.get("question")
    if not isinstance(text, str) or not text.strip():
        return f"the question must be a text. Received: {text!r}", None
    answers, is_impossible = (), False
    if with_answers:
        is_impossible = bool(entry.get("is_impossible", False))
        try:
            answers = tuple(
                GoldAnswer(answer["text"], int(answer["answer_start"]))
                for answer in entry.get("answers") or ()
            )
        except (KeyError, TypeError, ValueError) as error:
            return f"answers must have text and answer_start. Received: {error!r}", None
        if is_impossible and answers:
            return f"an impossible question has no answer. Received: {answers[0].text!r}", None
        for answer in answers:
            problem = _problem_of_answer(answer, context)
            if problem:
                return problem, None
    return None, Question(str(entry["id"]), text, context, title, answers, is_impossible)


def _problem_of_answer(answer, context):
    end = answer.start + len(answer.text)
    if answer.text.strip() and answer.start >= 0 and context[answer.start : end] == answer.text:
        return None
    found = context.find(answer.text) if answer.text.strip() else -1
    hint = f"; it stands at {found}" if found >= 0 else "; the context does not hold it"
    return (
        f"the answer {answer.text!r} must stand at answer_start={answer.start}. "
        f"Received there: {context[max(answer.start, 0) : end]!r}{hint}"
    )


def gold_answers(questions: Sequence[Question]) -> dict[str, list[str]]:
    """Return {id: texts of the answers}, [] where there is none."""
    return {q.guid: [answer.text for answer in q.answers] for q in questions}


def titles(questions: Sequence[Question]) -> dict[str, str]:
    """Return {id: title of the article}."""
    return {question.guid: question.title for question in questions}


def encode(
    questions: Sequence[Question],
    tokenizer: Tokenizer,
    max_seq_length: int = 384,
    doc_stride: int = 128,
    max_query_length: int = 64,
    training: bool = False,
) -> EncodedExamples:
    """Encode each question as windows `[CLS] question [SEP] part of the context [SEP]`.

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
      Tokens have `answer_mask`. With `training`, windows have `start_position`, `end_position` and
      `is_impossible`; a window that does not hold the whole answer counts as without, and
      `start_trim` and `end_trim` in `details` count the characters by which the answer starts
      behind the start and ends before the end of these tokens. Other `details`:
      `question_index` int32 [N]; `char_starts`, `char_ends` int32 [T], the characters of the
      context that a token stands for (0, 0 outside the context); `is_max_context` int8 [T], 1 in
      the one window in which a token of the context has the most context: the smaller of the
      numbers of tokens to its left and right, plus a hundredth of the window's length.

    Raises:
      ValueError: a length is out of range.
    """
    if doc_stride < 1 or max_query_length < 1 or max_seq_length < max_query_length + 4:
        raise ValueError(
            "doc_stride and max_query_length must be positive and max_seq_length at least "
            f"max_query_length + 4. Received: doc_stride={doc_stride}, "
            f"max_query_length={max_query_length}, max_seq_length={max_seq_length}"
        )
    contexts = _encode_contexts(tokenizer, questions)
    asked = tokenizer.encode_batch([question.question for question in questions])
    columns = {name: [] for name in (*_TOKEN_COLUMNS, *_DETAIL_COLUMNS)}
    values = {name: [] for name in (*_VALUE_COLUMNS, *_TRIM_COLUMNS)}
    question_index, lengths = [], []
    for number, (question, query) in enumerate(zip(questions, asked, strict=True)):
        query = query[:max_query_length]
        ids, starts, ends = contexts[question.context]
        windows = _windows(len(ids), max_seq_length - len(query) - 3, doc_stride)
        best = _best_windows(len(ids), windows)
        answer = _answer_tokens(question, starts, ends) if training else None
        for index, (first, last) in enumerate(windows):
            part = slice(first, last)
            row = _pack(tokenizer, query, ids[part], starts[part], ends[part], best[part] == index)
            for name, column in row.items():
                columns[name].append(column)
            lengths.append(len(row["input_ids"]))
            question_index.append(number)
            if training:
                _place_answer(values, answer, first, last, len(query) + 2)
    joined = {
        name: np.concatenate(column) if column else np.zeros(0, np.int32)
        for name, column in columns.items()
    }
    values = {name: np.array(column, np.int32) for name, column in values.items()}
    return EncodedExamples(
        row_splits=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        tokens={name: joined[name].astype(np.int32) for name in _TOKEN_COLUMNS},
        values={n: values[n] for n in _VALUE_COLUMNS} if training else {},
        details={
            **({n: values[n] for n in _TRIM_COLUMNS} if training else {}),
            "question_index": np.array(question_index, np.int32),
            "char_starts": joined["char_starts"].astype(np.int32),
            "char_ends": joined["char_ends"].astype(np.int32),
            "is_max_context": joined["is_max_context"].astype(np.int8),
        },
    )


_TOKEN_COLUMNS = ("input_ids", "segment_ids", "answer_mask")
_VALUE_COLUMNS = ("start_position", "end_position", "is_impossible")
_TRIM_COLUMNS = ("start_trim", "end_trim")
_DETAIL_COLUMNS = ("char_starts", "char_ends", "is_max_context")


def _encode_contexts(tokenizer, questions):
    """Return {context: (ids, first characters, ends)}, arrays."""
    texts = list(dict.fromkeys(question.context for question in questions))
    found = {}
    for start in range(0, len(texts), _TEXTS_AT_A_TIME):
        chunk = texts[start : start + _TEXTS_AT_A_TIME]
        for text, (ids, spans) in zip(
            chunk, tokenizer.encode_batch_with_offsets(chunk), strict=True
        ):
            spans = np.array(spans, np.int32).reshape(-1, 2)
            found[text] = np.array(ids, np.int32), spans[:, 0], spans[:, 1]
    return found


def _windows(count, room, doc_stride):
    """Return (first, last + 1) tokens of each window over a context of `count` tokens."""
    # Windows that hardly overlap would cut answers in two.
    stride = min(doc_stride, max(1, room // 2))
    windows, first = [], 0
    while True:
        last = min(first + room, count)
        windows.append((first, last))
        if last == count:
            return windows
        first += stride


def _best_windows(count, windows):
    """Return for each token the number of the window in which it has the most context."""
    best = np.zeros(count, np.int32)
    best_score = np.full(count, -1.0)
    for index, (first, last) in enumerate(windows):
        left = np.arange(last - first)
        score = np.minimum(left, left[::-1]) + 0.01 * (last - first)
        # The first of equals wins.
        better = score > best_score[first:last]
        best[first:last][better] = index
        best_score[first:last][better] = score[better]
    return best


def _answer_tokens(question, starts, ends):
    """Return (first, last token that the first answer touches, characters of them before and
    behind it), None without an answer.
    """
    if not question.answers:
        return None
    answer = question.answers[0]
    touched = (ends > answer.start) & (starts < answer.start + len(answer.text)) & (starts < ends)
    places = np.flatnonzero(touched)
    if not len(places):
        return None
    first, last = int(places[0]), int(places[-1])
    text = answer.text
    answer_start = answer.start + len(text) - len(text.lstrip())
    answer_end = answer.start + len(text.rstrip())
    return first, last, answer_start - int(starts[first]), int(ends[last]) - answer_end


def _pack(tokenizer, query, ids, starts, ends, is_best):
    before, length = len(query) + 2, len(query) + len(ids) + 3
    row = {name: np.zeros(length, np.int32) for name in (*_TOKEN_COLUMNS, *_DETAIL_COLUMNS)}
    row["input_ids"][:before] = [tokenizer.cls_id, *query, tokenizer.sep_id]
    row["input_ids"][-1] = tokenizer.sep_id
    row["segment_ids"][before:] = 1
    row["answer_mask"][0] = 1
    for name, values in (
        ("input_ids", ids),
        ("answer_mask", 1),
        ("char_starts", starts),
        ("char_ends", ends),
        ("is_max_context", is_best),
    ):
        row[name][before:-1] = values
    return row


def _place_answer(values, answer, first, last, before):
    """Adds the place of an answer in one window, [CLS] where the window does not hold it."""
    holds = answer is not None and first <= answer[0] and answer[1] < last
    place = (answer[0] - first + before, answer[1] - first + before) if holds else (0, 0)
    trims = answer[2:] if holds else (0, 0)
    row = (*place, int(not holds), *trims)
    for name, value in zip((*_VALUE_COLUMNS, *_TRIM_COLUMNS), row, strict=True):
        values[name].append(value)


def trained_answers(questions: Sequence[Question], encoded: EncodedExamples) -> list[str | None]:
    """Return the text that each window is trained to give, None for no answer."""
    texts = []
    for window, number in enumerate(encoded.details["question_index"].tolist()):
        first = encoded.row_splits[window]
        start, end, is_impossible = (int(encoded.values[n][window]) for n in _VALUE_COLUMNS)
        before, behind = (int(encoded.details[n][window]) for n in _TRIM_COLUMNS)
        characters = slice(
            encoded.details["char_starts"][first + start] + before,
            encoded.details["char_ends"][first + end] - behind,
        )
        texts.append(None if is_impossible else questions[number].context[characters])
    return texts
