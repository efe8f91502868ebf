"""Questions become windows from which every answer can be read back as it was written."""

import dataclasses
import json
import os
import pathlib

import numpy as np
import pytest

from albert_tf.pipelines.task_data import squad
from albert_tf.pipelines.task_data.input_problems import InputError, InputProblems
from albert_tf.pipelines.task_data.squad import GoldAnswer, Question
from albert_tf.pipelines.tokenizer.tokenization import Tokenizer

CONTEXTS = [
    "The cat sat on the mat. It cost $2,000, or ½ of 4,000; naïve people say ﬁve.",
    "  Straße  42 —\u00a0“quoted”\u200b and 🙂 smiles, e\u0301clair!\n\nTHE END  ",
    " ".join(f"word{number} and the {number},000 cats." for number in range(60)),
]


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
    with pytest.raises(ValueError, match="`max_query_length` \\+ 4. Received: doc_stride=20"):
        squad.encode(make_questions()[:1], tokenizer, 66, 20, 64)


# Windows and answers by hand.


def ask(context, *answers, question="what?", is_impossible=False):
    golds = tuple(GoldAnswer(text, context.index(text)) for text in answers)
    return Question("q", question, context, "t", golds, is_impossible)


def test_one_window_by_hand(tokenizer):
    query = tokenizer.encode("who sat?")
    before, answer, after = (tokenizer.encode(text) for text in ("Yes, the", "old cat", "sat."))
    question = ask("Yes, the old cat sat.", "old cat", "cat", question="who sat?")
    encoded = squad.encode([question], tokenizer, training=True)
    context = [*before, *answer, *after]
    row = {name: column.tolist() for name, column in encoded.row(0).items()}
    assert row == {
        "input_ids": [
            *(tokenizer.cls_id, *query, tokenizer.sep_id),
            *(*context, tokenizer.sep_id),
        ],
        "segment_ids": [0] * (len(query) + 2) + [1] * (len(context) + 1),
        "answer_mask": [1] + [0] * (len(query) + 1) + [1] * len(context) + [0],
    }
    ids = row["input_ids"]
    start, end = (int(encoded.values[name][0]) for name in ("start_position", "end_position"))
    # The lone word boundary before a word stands for no character.
    assert tokenizer.decode(ids[start : end + 1]) == "old cat"
    assert len(answer) - 1 <= end + 1 - start <= len(answer)
    assert squad.trained_answers([question], encoded) == ["old cat"]


@pytest.mark.parametrize(
    ("context", "answer", "trims"),
    [
        ("It cost $2,000, or more.", "$2,000", (0, 0)),
        ("It cost $2,000, or more.", "2,000", (0, 0)),
        ("She is a naïve one.", "naïve", (0, 0)),
        ("An e\u0301clair here.", "e\u0301clair", (0, 0)),
        ("An e\u0301clair here.", "e", (0, 1)),  # without the accent that belongs to it
        ("a ﬁve b", "ﬁve", (0, 0)),
        ("take ½ of it", "½", (0, 0)),
        ("so 🙂 smiles", "🙂", (0, 0)),
        ("a   b  c", "b", (0, 0)),
        ("the  cat   sat", " cat  ", (-1, -2)),  # white space belongs to no token
        ("the now sat", " now", (-1, 0)),
        ("the\u200b sat", "the\u200b", (0, -1)),  # nor does what the clean-up removes
        ("Straße 42", "Straße", (0, 0)),
    ],
)
def test_answer_is_exact_and_its_trims_are_counted(tokenizer, context, answer, trims):
    question = ask(context, answer)
    encoded = squad.encode([question], tokenizer, training=True)
    assert squad.trained_answers([question], encoded) == [answer]
    assert tuple(int(encoded.details[name][0]) for name in ("start_trim", "end_trim")) == trims
    for name in ("start_position", "end_position"):
        place = encoded.values[name][0]  # never a lone word boundary
        assert encoded.details["char_starts"][place] < encoded.details["char_ends"][place]


def test_answer_inside_a_token_is_trimmed_at_both_ends():
    starts, ends = np.array([0, 0, 4, 0]), np.array([0, 3, 9, 0])
    assert squad.answer_text("the 1990s", starts, ends, (1, 2)) == "the 1990s"
    assert squad.answer_text("the 1990s", starts, ends, (2, 2), (2, 1)) == "90"


def test_answer_that_no_token_stands_for_counts_as_none(tokenizer):
    question = ask("the \u200b cat", "\u200b")
    encoded = squad.encode([question], tokenizer, training=True)
    assert encoded.values["is_impossible"].tolist() == [1]
    assert encoded.details["start_trim"].tolist() == encoded.details["end_trim"].tolist() == [0]


def test_training_takes_the_first_answer_and_none_of_an_impossible_question(tokenizer):
    possible = ask("The old cat sat.", "cat", "old cat")
    questions = [possible, dataclasses.replace(possible, is_impossible=True)]
    encoded = squad.encode(questions, tokenizer, training=True)
    assert squad.trained_answers(questions, encoded) == ["cat", None]


def test_answer_longer_than_a_window_is_in_none(tokenizer):
    context = CONTEXTS[2]
    questions = [ask(context, context[10:400]), ask(context, context[10:30])]
    encoded = squad.encode(questions, tokenizer, 48, 16, 8, training=True)
    texts = trained_texts(questions, encoded)
    assert texts == {0: {None}, 1: {None, context[10:30]}}


def test_windows_without_the_answer_have_no_trims(tokenizer):
    encoded = squad.encode([ask("e\u0301 " + CONTEXTS[2], "e")], tokenizer, 48, 16, 8, True)
    assert encoded.values["is_impossible"].tolist() == [0] + [1] * (len(encoded) - 1)
    assert encoded.details["end_trim"].tolist() == [1] + [0] * (len(encoded) - 1)
    assert len(encoded) > 2


def test_question_is_cut_at_its_end(tokenizer):
    query = tokenizer.encode(CONTEXTS[2])
    encoded = squad.encode([ask("The cat.", question=CONTEXTS[2])], tokenizer, 32, 16, 7)
    ids = encoded.row(0)["input_ids"].tolist()
    assert ids[:9] == [tokenizer.cls_id, *query[:7], tokenizer.sep_id]


def test_windows_of_a_question_do_not_depend_on_the_others(tokenizer):
    questions = [*make_questions()[::9], ask("The cat.", "cat")]
    together = squad.encode(questions, tokenizer, 64, 20, 10, training=True)
    numbers = together.details["question_index"]
    assert (np.diff(numbers) >= 0).all() and set(numbers.tolist()) == set(range(len(questions)))
    alone = [squad.encode([one], tokenizer, 64, 20, 10, training=True) for one in questions]
    for kind in ("tokens", "values", "details"):
        for name, column in getattr(together, kind).items():
            if name != "question_index":
                parts = [getattr(encoded, kind)[name] for encoded in alone]
                np.testing.assert_array_equal(column, np.concatenate(parts), err_msg=name)
                assert column.dtype == (np.int8 if name == "is_max_context" else np.int32)


def test_each_context_is_tokenized_once(tokenizer):
    class Counting:
        seen = []

        def __getattr__(self, name):
            return getattr(tokenizer, name)

        def encode_batch_with_offsets(self, texts):
            self.seen.extend(texts)
            return tokenizer.encode_batch_with_offsets(texts)

    counting = Counting()
    squad.encode(make_questions(), counting, 64, 20, 10)
    assert counting.seen == CONTEXTS


def test_no_questions_give_no_windows(tokenizer):
    encoded = squad.encode([], tokenizer, training=True)
    assert len(encoded) == 0 and encoded.row_splits.tolist() == [0]


@pytest.mark.parametrize(("stride", "query"), [(0, 10), (20, 0)])
def test_stride_and_length_of_questions_must_be_positive(tokenizer, stride, query):
    message = f"doc_stride={stride}, max_query_length={query}, max_seq_length=64"
    with pytest.raises(ValueError, match=message):
        squad.encode(make_questions()[:1], tokenizer, 64, stride, query)


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


@pytest.mark.parametrize("content", ["[1", '{"rows": []}', '["data"]', "[" * 200_000])
def test_file_of_another_kind_is_refused(tmp_path, content):
    (tmp_path / "other.json").write_text(content)
    with pytest.raises(InputError, match=r"other.json must .*Expected the layout of SQuAD"):
        squad.read(tmp_path / "other.json", InputProblems())


def test_broken_paragraph_is_named(tmp_path):
    path = tmp_path / "squad.json"
    path.write_text(json.dumps({"data": [{"title": "T", "paragraphs": [{"context": "x"}]}]}))
    with pytest.raises(InputError, match=r"article 0 \(T\), paragraph 0: must be in the layout"):
        squad.read(path, InputProblems())


def test_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match="none.json must be a JSON file"):
        squad.read(tmp_path / "none.json", InputProblems())


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (
            entry(answers=(("at", 0),)),
            "Received there: 'Th'; it stands at several places, first at 5",
        ),
        (entry(answers=(("cat", -8),)), "answer_start=-8. Received there: ''; it stands at 4"),
        (entry(answers=(("cat", "4"),)), "'answer_start' must be a whole number. Received: '4'"),
        (entry(answers=(("cat", True),)), "'answer_start' must be a whole number"),
        (entry(answers=((4, 4),)), "'text' must be a string. Received: 4"),
        (entry(is_impossible="false"), "'is_impossible' must be true or false"),
        ({**entry(), "answers": {"text": ["cat"]}}, "'answers' must be a list"),
        ({"id": "a", "question": "who?"}, "'answers' must be there. Received: ['id', 'question']"),
        ({"id": "a", "answers": []}, "the question must be a text. Received: None"),
    ],
)
def test_nothing_of_a_question_is_guessed(tmp_path, broken, message):
    with pytest.raises(InputError) as refused:
        squad.read(write(tmp_path, broken), InputProblems())
    assert "question a: " in str(refused.value) and message in str(refused.value)


def test_question_without_an_id_leaves_its_neighbours(tmp_path):
    nameless = {"question": "who?", "answers": []}
    problems = InputProblems(skip=True)
    path = write(tmp_path, entry("a"), nameless, "text", entry("b"))
    assert [question.guid for question in squad.read(path, problems)] == ["a", "b"]
    assert problems.count == 2
    assert "article 0 (T), paragraph 0, question 1: 'id' must be there" in problems.summary()


def test_every_question_about_an_empty_context_is_counted(tmp_path):
    path = write(tmp_path, entry("a"), entry("b"), context=" ")
    content = json.loads(path.read_text())
    content["data"].append({"paragraphs": [{"context": "The cat.", "qas": [entry("c")]}]})
    content["data"].append(["neither", "title", "nor", "paragraphs"])
    path.write_text(json.dumps(content), encoding="utf-8-sig")
    problems = InputProblems(skip=True)
    (question,) = squad.read(path, problems)
    assert (question.guid, question.title) == ("c", "1")
    assert problems.count == 3
    assert "question b: the context must be a text. Received: ' '" in problems.summary()


def test_file_without_a_question_to_use_is_refused_though_problems_are_skipped(tmp_path):
    with pytest.raises(
        InputError, match="(?s)at least one question .* question a: the question must"
    ):
        squad.read(write(tmp_path, entry(question="")), InputProblems(skip=True))
    with pytest.raises(InputError, match="squad.json must hold at least one question"):
        squad.read(write(tmp_path), InputProblems())


@pytest.mark.real_data
@pytest.mark.parametrize(("length", "doc_stride"), [(384, 128), (128, 128), (128, 48)])
@pytest.mark.parametrize(
    ("name", "questions", "answers"),
    [("dev-v1.1.json", 10_570, 18_216), ("dev-v2.0.json", 11_873, 10_388)],
)
def test_every_gold_answer_of_the_official_files_is_recovered(
    name, questions, answers, length, doc_stride
):
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
    encoded = squad.encode(each, tokenizer, length, doc_stride, training=True)
    texts = trained_texts(each, encoded)
    lost = [
        question.answers[0].text
        for number, question in enumerate(each)
        if texts[number] - {None} != {question.answers[0].text.strip()}
    ]
    # One answer, a list of 65 tokens, lies in no single window of 128 unless they overlap more.
    assert len(lost) == (name == "dev-v1.1.json" and length == doc_stride == 128)
    # Every question has a window, so every question gets a prediction.
    predicting = squad.encode(read, tokenizer, length, doc_stride)
    assert set(predicting.details["question_index"].tolist()) == set(range(questions))
