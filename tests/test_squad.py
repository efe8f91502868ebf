"""Questions become windows from which every answer can be read back as it was written."""

import dataclasses
import json
import os
import pathlib

import numpy as np
import pytest

from albert_tf.pipelines import squad
from albert_tf.pipelines.input_problems import InputError, InputProblems
from albert_tf.pipelines.squad import GoldAnswer, Question
from albert_tf.pipelines.tokenization import Tokenizer

MODEL_FILE = pathlib.Path(__file__).parent / "testdata" / "vocabulary.model"
CONTEXTS = [
    "The cat sat on the mat. It cost $2,000, or ½ of 4,000; naïve people say ﬁve.",
    "  Straße  42 —\u00a0“quoted”\u200b and 🙂 smiles, e\u0301clair!\n\nTHE END  ",
    " ".join(f"word{number} and the {number},000 cats." for number in range(60)),
]


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer(MODEL_FILE)


def make_questions():
    """One question for each of many spans of characters that end and begin at no white space."""
    generator = np.random.default_rng(0)
    questions = []
    for number, context in enumerate(CONTEXTS):
        for _ in range(60):
            start = int(generator.integers(0, len(context) - 1))
            text = context[start : start + int(generator.integers(1, 25))]
            start += len(text) - len(text.lstrip())
            text = text.strip()
            if text and not set(text) <= {"\u0301", "\u200b"}:
                guid = f"{number}-{len(questions)}"
                answer = (GoldAnswer(text, start),)
                questions.append(Question(guid, "what is it?", context, "t", answer, False))
    return questions


def readable(tokenizer, question):
    """Whether a piece stands for the answer's ends: an accent alone belongs to its letter."""
    return question.answers[0].text[0] != "\u0301"


def trained_texts(questions, encoded):
    found = {}
    for number, text in zip(
        encoded.details["question_index"].tolist(),
        squad.trained_answers(questions, encoded),
        strict=True,
    ):
        found.setdefault(number, set()).add(text)
    return found


@pytest.mark.parametrize(("length", "stride"), [(64, 20), (384, 128)])
def test_answers_are_read_back_as_they_were_written(tokenizer, length, stride):
    questions = make_questions()
    encoded = squad.encode(questions, tokenizer, length, stride, max_query_length=10, training=True)
    texts = trained_texts(questions, encoded)
    assert len(questions) > 100
    for number, question in enumerate(questions):
        if readable(tokenizer, question):
            assert texts[number] - {None} == {question.answers[0].text}, question


def test_windows_cover_the_context_and_each_token_is_best_in_one(tokenizer):
    question = dataclasses.replace(make_questions()[-1], context=CONTEXTS[2])
    encoded = squad.encode([question], tokenizer, 48, 16, max_query_length=8)
    ids, spans = tokenizer.encode_with_offsets(CONTEXTS[2])
    assert len(encoded) > 10
    best, covered = [], []
    for window in range(len(encoded)):
        tokens = slice(*encoded.row_splits[window : window + 2])
        row = encoded.row(window)
        assert len(row["input_ids"]) <= 48
        in_context = row["answer_mask"].astype(bool)
        assert in_context[0] and row["input_ids"][0] == tokenizer.cls_id
        in_context[0] = False
        assert (row["segment_ids"][in_context] == 1).all()
        starts = encoded.details["char_starts"][tokens][in_context].tolist()
        ends = encoded.details["char_ends"][tokens][in_context].tolist()
        is_best = encoded.details["is_max_context"][tokens][in_context].astype(bool)
        places = list(zip(starts, ends, row["input_ids"][in_context].tolist(), strict=True))
        covered += places
        best += [place for place, chosen in zip(places, is_best, strict=True) if chosen]
    expected = [(*span, index) for span, index in zip(spans, ids, strict=True)]
    assert set(covered) == set(expected)
    assert sorted(best) == sorted(expected)


def test_best_window_is_the_one_with_most_context_on_both_sides():
    # 10 tokens in windows of 6 from 0, 4: token 4 has one to its right in the first window (0.06
    # more) and none to its left in the second, token 5 none and one.
    assert squad._windows(10, 6, 4) == [(0, 6), (3, 9), (6, 10)]  # the stride is at most half
    best = squad._best_windows(10, [(0, 6), (4, 10)])
    assert best.tolist() == [0, 0, 0, 0, 0, 1, 1, 1, 1, 1]


def test_training_changes_no_token(tokenizer):
    questions = make_questions()[:40]
    training = squad.encode(questions, tokenizer, 64, 20, 10, training=True)
    predicting = squad.encode(questions, tokenizer, 64, 20, 10)
    assert predicting.values == {}
    for name, column in predicting.tokens.items():
        np.testing.assert_array_equal(column, training.tokens[name])


def test_impossible_question_points_at_the_first_token(tokenizer):
    question = Question("q", "what?", CONTEXTS[0], "t", (), True)
    encoded = squad.encode([question], tokenizer, 64, 20, 10, training=True)
    assert encoded.values["is_impossible"].tolist() == [1] * len(encoded)
    assert not encoded.values["start_position"].any() and not encoded.values["end_position"].any()


def test_context_without_a_piece_still_has_a_window(tokenizer):
    encoded = squad.encode(
        [Question("q", "what?", "\u200b", "t", (), False)], tokenizer, 64, 20, 10
    )
    assert len(encoded) == 1


def test_lengths_that_leave_no_room_are_refused(tokenizer):
    with pytest.raises(ValueError, match="max_query_length \\+ 4. Received: doc_stride=20"):
        squad.encode(make_questions()[:1], tokenizer, 66, 20, 64)


# Reading.


def write(folder, *questions, context="The cat sat."):
    paragraphs = [{"context": context, "qas": list(questions)}]
    path = folder / "squad.json"
    path.write_text(
        json.dumps({"version": "x", "data": [{"title": "T", "paragraphs": paragraphs}]})
    )
    return path


def entry(guid="a", question="who?", answers=(("cat", 4),), **more):
    marked = [{"text": text, "answer_start": start} for text, start in answers]
    return {"id": guid, "question": question, "answers": marked, **more}


def test_both_versions_are_read(tmp_path):
    path = write(
        tmp_path,
        entry(answers=(("cat", 4), ("The cat", 0))),
        entry("b", answers=(), is_impossible=True, plausible_answers=[{"text": "x"}]),
        entry("c", answers=()),
    )
    first, second, third = squad.read(path, InputProblems())
    assert first.answers == (GoldAnswer("cat", 4), GoldAnswer("The cat", 0))
    assert (first.title, first.context, first.is_impossible) == ("T", "The cat sat.", False)
    assert second.is_impossible and not third.is_impossible
    assert squad.gold_answers([first, second]) == {"a": ["cat", "The cat"], "b": []}
    assert squad.titles([first]) == {"a": "T"}


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (entry(answers=(("cat", 5),)), "answer_start=5. Received there: 'at '; it stands at 4"),
        (entry(answers=(("dog", 4),)), "the context does not hold it"),
        (entry(answers=(("", 4),)), "must stand at answer_start=4"),
        (entry(question=" "), "the question must be a text"),
        (entry(is_impossible=True), "an impossible question has no answer. Received: 'cat'"),
        ({**entry(), "answers": [{"text": "cat"}]}, "must have text and answer_start"),
    ],
)
def test_question_that_cannot_be_used_is_named_or_skipped(tmp_path, broken, message):
    path = write(tmp_path, broken, entry("b"))
    with pytest.raises(InputError) as refused:
        squad.read(path, InputProblems())
    assert f"{path}, question a: " in str(refused.value) and message in str(refused.value)
    problems = InputProblems(skip=True)
    assert [question.guid for question in squad.read(path, problems)] == ["b"]
    assert problems.count == 1


def test_predicting_reads_no_answers(tmp_path):
    path = write(tmp_path, entry(answers=(("dog", 99),)), {"id": "b", "question": "who?"})
    first, second = squad.read(path, InputProblems(), with_answers=False)
    assert first.answers == second.answers == ()


def test_id_that_occurs_twice_is_a_problem(tmp_path):
    with pytest.raises(InputError, match="question a: the id must be there once"):
        squad.read(write(tmp_path, entry(), entry()), InputProblems())


@pytest.mark.parametrize("content", ["[1", '{"rows": []}', '["data"]'])
def test_file_of_another_kind_is_refused(tmp_path, content):
    (tmp_path / "other.json").write_text(content)
    with pytest.raises(InputError, match="other.json must be JSON in the layout of SQuAD"):
        squad.read(tmp_path / "other.json", InputProblems())


def test_broken_paragraph_is_named(tmp_path):
    path = tmp_path / "squad.json"
    path.write_text(json.dumps({"data": [{"title": "T", "paragraphs": [{"context": "x"}]}]}))
    with pytest.raises(InputError, match=r"article 0 \(T\), paragraph 0: must be in the layout"):
        squad.read(path, InputProblems())


def test_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match="none.json must be a file"):
        squad.read(tmp_path / "none.json", InputProblems())


@pytest.mark.real_data
@pytest.mark.parametrize("length", [384, 128])
@pytest.mark.parametrize(
    ("name", "questions", "answers"),
    [("dev-v1.1.json", 10_570, 18_216), ("dev-v2.0.json", 11_873, 10_388)],
)
def test_every_gold_answer_of_the_official_files_is_recovered(name, questions, answers, length):
    data = pathlib.Path(os.environ.get("ALBERT_TF_DATA", ""))
    if not (data / "squad" / name).is_file():
        pytest.skip(f"ALBERT_TF_DATA must name a folder with squad/{name}")
    read = squad.read(data / "squad" / name, InputProblems())
    assert len(read) == questions
    each = [
        dataclasses.replace(question, guid=f"{question.guid}/{number}", answers=(answer,))
        for question in read
        for number, answer in enumerate(dict.fromkeys(question.answers))
    ]
    assert len(each) == answers
    tokenizer = Tokenizer(data / "30k-clean.model")
    encoded = squad.encode(each, tokenizer, length, training=True)
    texts = trained_texts(each, encoded)
    lost = [
        question.answers[0].text
        for number, question in enumerate(each)
        if texts[number] - {None} != {question.answers[0].text.strip()}
    ]
    # One answer, a list of 13 names, is longer than a window of 128 has room for.
    assert len(lost) == (name == "dev-v1.1.json" and length == 128)
    # Every question has a window, so every question gets a prediction.
    predicting = squad.encode(read, tokenizer, length)
    assert set(predicting.details["question_index"].tolist()) == set(range(questions))
