"""RACE: passages with multiple-choice questions -> one row an option.

N questions, C options of each.
"""

import dataclasses
import os
import pathlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from albert_tf import json_files
from albert_tf.pipelines.encoders.choices import encode_choices
from albert_tf.pipelines.task_data import line_files
from albert_tf.pipelines.task_data.encoded_examples import EncodedExamples
from albert_tf.pipelines.task_data.input_problems import InputError, InputProblems
from albert_tf.pipelines.tokenizer.arrays import encode_to_arrays, string_tensor
from albert_tf.pipelines.tokenizer.tokenization import Tokenizer

NUM_OPTIONS = 4
_LEVELS = ("middle", "high")
_KEYS = ("article", "questions", "options")
_SHOWN = 10
_QUESTIONS_AT_A_TIME = 512


@dataclasses.dataclass(frozen=True)
class ChoiceQuestion:
    """One question.

    Attributes:
        guid: name of its file and its number there.
        passage: the text it is about.
        question: the question; "_" stands where the option belongs, if anywhere.
        options: the possible answers.
        label: number of the right one, or None where it is to be predicted.
        level: "middle" or "high", "" for a question from elsewhere.
    """

    guid: str
    passage: str
    question: str
    options: tuple[str, ...]
    label: int | None
    level: str


def read(
    data_dir: str | os.PathLike, split: str, levels: Sequence[str], problems: InputProblems
) -> list[ChoiceQuestion]:
    """Reads a split of RACE.

    Args:
        data_dir: holds `<split>/<level>/*.txt`, one JSON object a passage as distributed, or
            `<split>/<level>/all.txt` with one such object a line.
        split: "train", "dev" or "test".
        levels: some of "middle" and "high"; read in the order given.
        problems: takes passages and questions that are not as they should be.

    Returns:
        The questions, in the order of the files' numbers.

    Raises:
        InputError: a folder is missing or empty, or a level is unknown.
    """
    questions = []
    for level in levels:
        if level not in _LEVELS:
            raise InputError(f"a level must be one of {', '.join(_LEVELS)}. Received: {level!r}")
        folder = pathlib.Path(data_dir) / split / level
        files = sorted(folder.glob("*.txt"), key=_numbers_first) if folder.is_dir() else []
        if not files:
            raise InputError(
                f"{folder} must hold passages, one JSON file each, or all.txt. Received: "
                f"{_what_is_at(folder)}"
            )
        joined = folder / "all.txt"
        for path in [joined] if joined in files else files:
            for place, text, name in _objects_of(path, problems):
                questions += _questions_of(
                    str(path), place, text, name, level, problems, has_answers=split != "test"
                )
    return questions


def _what_is_at(folder: pathlib.Path) -> str:
    """Says what is there instead of passages, or in the nearest folder above that exists."""
    problem = "no .txt file" if folder.is_dir() else "no such folder"
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    names = sorted(path.name for path in folder.iterdir())
    listing = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
    return f"{problem}; {folder} holds {listing or 'nothing'}"


def _numbers_first(path: pathlib.Path) -> tuple[list[int], str]:
    return [int(part) if part.isdigit() else 0 for part in re.split(r"(\d+)", path.name)], path.name


def _objects_of(path: pathlib.Path, problems: InputProblems) -> Iterator[tuple[str, str, str]]:
    """Yields (place, JSON text, name for guids) of each passage in a file."""
    if path.name == "all.txt":
        for place, line in line_files.read_lines(path, problems):
            if not line.strip():
                continue
            yield place, line, f"{path.parent.name}-{place.replace(' ', '-')}"
        return
    if not path.is_file():  # a pipe might never say a word
        raise InputError(f"{path} must be a file. Received: something else")
    try:
        yield "line 1", path.read_text(encoding="utf-8-sig"), f"{path.parent.name}-{path.stem}"
    except UnicodeDecodeError as error:
        problems.add(str(path), f"byte {error.start}", f"must be UTF-8. Received: {error.reason}")


def _questions_of(
    path: str,
    place: str,
    text: str,
    name: str,
    level: str,
    problems: InputProblems,
    has_answers: bool,
) -> list[ChoiceQuestion]:
    try:
        passage = json_files.parse_object(text)
    except json_files.JsonError as error:
        problems.add(path, place, str(error))
        return []
    if any(key not in passage for key in _KEYS):
        problems.add(path, place, f"must have the keys {', '.join(_KEYS)}. Received: {text[:80]!r}")
        return []
    article, texts, options = (passage[key] for key in _KEYS)
    answers = passage.get("answers")
    if has_answers and answers is None:
        problems.add(path, place, f"must have the key answers. Received: {', '.join(passage)}")
        return []
    if not isinstance(texts, list) or not isinstance(options, list):
        problems.add(path, place, f"questions and options must be lists. Received: {text[:80]!r}")
        return []
    if answers is None:
        answers = [None] * len(texts)
    if not isinstance(answers, list):
        problems.add(path, place, f"the answers must be a list. Received: {answers!r}")
        return []
    if not len(texts) == len(options) == len(answers):
        problems.add(
            path,
            place,
            "must have as many questions as options and answers. Received: "
            f"{len(texts)}, {len(options)} and {len(answers)}",
        )
        return []
    if not isinstance(article, str) or not article.strip():
        problems.add(path, place, f"the article must be a text. Received: {article!r}")
        return []
    questions = []
    for number, (question, choices, answer) in enumerate(zip(texts, options, answers, strict=True)):
        problem = _problem_of(question, choices, answer, has_answers)
        if problem:
            problems.add(path, f"{place}, question {number}", problem)
            continue
        label = None if answer is None else ord(answer) - ord("A")
        guid = f"{name}-{number}"
        questions.append(ChoiceQuestion(guid, article, question, tuple(choices), label, level))
    return questions


def _problem_of(question: Any, choices: Any, answer: Any, has_answers: bool) -> str | None:
    if not isinstance(question, str):
        return f"the question must be a text. Received: {question!r}"
    if not isinstance(choices, list) or not all(isinstance(choice, str) for choice in choices):
        return f"the options must be a list of texts. Received: {choices!r}"
    if len(choices) != NUM_OPTIONS:
        return f"must have {NUM_OPTIONS} options. Received: {len(choices)}"
    letters = [chr(ord("A") + index) for index in range(NUM_OPTIONS)]
    if answer not in (letters if has_answers else [*letters, None]):
        return f"the answer must be one of {', '.join(letters)}. Received: {answer!r}"
    if not question.strip() and not all(choice.strip() for choice in choices):
        return "question and option must not both be empty"
    return None


def encode(
    questions: Sequence[ChoiceQuestion],
    tokenizer: Tokenizer,
    max_seq_length: int = 512,
    max_qa_length: int = 128,
) -> EncodedExamples:
    """Encodes each option as `[CLS] passage [SEP] question with option [SEP]`.

    See `encoders.choices` for what is cut.

    E.g. "Tom is a _ ." with "boy" is encoded as "Tom is a boy .", "Who?" with "Tom" as "Who? Tom".

    Args:
        questions: all with the same number of options.
        tokenizer: the model's.
        max_seq_length: longest row.
        max_qa_length: longest question with an option.

    Returns:
        `EncodedExamples` with C rows an example and, if all questions have one, `label` int32 [N].

    Raises:
        ValueError: max_seq_length leaves no room for the passage, or a question has another number
            of options than the first.
    """
    if max_qa_length < 1 or max_seq_length < max_qa_length + 4:
        raise ValueError(
            "`max_seq_length` must exceed `max_qa_length`, at least 1, by 4. Received: "
            f"max_seq_length={max_seq_length}, max_qa_length={max_qa_length}"
        )
    num_choices = len(questions[0].options) if questions else NUM_OPTIONS
    for question in questions:
        if len(question.options) != num_choices:
            raise ValueError(
                f"question {question.guid!r} must have {num_choices} options, as the first. "
                f"Received: {len(question.options)}"
            )
    parts = []
    for start in range(0, len(questions), _QUESTIONS_AT_A_TIME):
        chunk = questions[start : start + _QUESTIONS_AT_A_TIME]
        options = string_tensor([option for question in chunk for option in question.options])
        parts.append(
            encode_to_arrays(
                encode_choices,
                tokenizer,
                string_tensor([question.passage for question in chunk]),
                string_tensor([question.question for question in chunk]),
                tf.reshape(options, [len(chunk), num_choices]),
                max_seq_length=max_seq_length,
                max_qa_length=max_qa_length,
            )
        )
    values = {}
    if questions and all(question.label is not None for question in questions):
        values["label"] = np.array([question.label for question in questions], np.int32)
    names = ("input_ids", "segment_ids")
    return EncodedExamples.from_parts(parts, names, values, num_choices=num_choices)
