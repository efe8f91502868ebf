"""RACE's files become one row an option, by the original's rules."""

import json
import os
import pathlib

import numpy as np
import pytest

from albert_tf.pipelines.task_data import race
from albert_tf.pipelines.task_data.input_problems import InputError, InputProblems
from albert_tf.pipelines.task_data.race import ChoiceQuestion


def make_passage(**changes):
    return {
        "article": "The cat sat on the mat.",
        "questions": ["The cat sat on _ .", "Who sat?"],
        "options": [["a", "b", "c", "d"], ["w", "x", "y", "z"]],
        "answers": ["B", "D"],
        "id": "high1.txt",
        **changes,
    }


def write(root, name="1.txt", level="high", content=None, split="dev"):
    folder = root / split / level
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(make_passage()) if content is None else content)
    return folder / name


def test_passages_are_read_in_the_order_of_their_numbers(tmp_path):
    for name in ("10.txt", "9.txt", "1.txt"):
        write(tmp_path, name)
    write(tmp_path, "5.txt", "middle")
    questions = race.read(tmp_path, "dev", ("middle", "high"), InputProblems())
    assert [question.guid for question in questions] == [
        *("middle-5-0", "middle-5-1", "high-1-0", "high-1-1"),
        *("high-9-0", "high-9-1", "high-10-0", "high-10-1"),
    ]
    assert questions[0] == ChoiceQuestion(
        "middle-5-0",
        "The cat sat on the mat.",
        "The cat sat on _ .",
        ("a", "b", "c", "d"),
        1,
        "middle",
    )
    assert [question.label for question in questions[:2]] == [1, 3]


def test_joined_file_is_read_alone(tmp_path):
    write(tmp_path, "1.txt")
    lines = "".join(json.dumps(make_passage()) + "\n" for _ in range(3))
    write(tmp_path, "all.txt", content=lines)
    questions = race.read(tmp_path, "dev", ("high",), InputProblems())
    assert len(questions) == 6 and len({question.guid for question in questions}) == 6


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "must be a JSON object"),
        ('{"article": "x"}', "must have the keys article, questions, options"),
        (json.dumps(make_passage(answers=["B"])), "as many questions as options and answers"),
        (json.dumps(make_passage(article=" ")), "the article must be a text"),
        (
            json.dumps(make_passage(answers=["B", "E"])),
            "question 1: the answer must be one of A, B",
        ),
        (
            json.dumps(make_passage(options=[["a"], list("wxyz")])),
            "question 0: must have 4 options",
        ),
        (json.dumps(make_passage(answers=[])), "Received: 2, 2 and 0"),
        (json.dumps(make_passage(answers="BD")), "the answers must be a list"),
        ("[" * 100_000, "must be a JSON object"),
        (json.dumps(make_passage(questions=None)), "questions and options must be lists"),
        (json.dumps(make_passage(questions=[1, "Who sat?"])), "question 0: the question must be"),
        (
            json.dumps(make_passage(options=[None, list("wxyz")])),
            "question 0: the options must be a list of texts",
        ),
        (
            json.dumps(make_passage(options=[["a", "b", "c", 4], list("wxyz")])),
            "question 0: the options must be a list of texts",
        ),
    ],
)
def test_passage_that_cannot_be_used_is_named_or_skipped(tmp_path, content, message):
    path = write(tmp_path, "1.txt", content=content)
    write(tmp_path, "2.txt")
    with pytest.raises(InputError) as refused:
        race.read(tmp_path, "dev", ("high",), InputProblems())
    assert f"{path}, line 1" in str(refused.value) and message in str(refused.value)
    problems = InputProblems(skip=True)
    assert len(race.read(tmp_path, "dev", ("high",), problems)) in (2, 3)
    assert problems.count == 1


def test_line_of_a_joined_file_is_named(tmp_path):
    text = "\n".join([json.dumps(make_passage()), " ", "{", json.dumps(make_passage())])
    path = write(tmp_path, "all.txt", content=text)
    with pytest.raises(InputError) as refused:
        race.read(tmp_path, "dev", ("high",), InputProblems())
    assert f"{path}, line 3: must be a JSON object" in str(refused.value)
    problems = InputProblems(skip=True)
    assert len(race.read(tmp_path, "dev", ("high",), problems)) == 4
    assert problems.count == 1


def test_passage_that_is_no_utf8_is_named(tmp_path):
    path = write(tmp_path)
    path.write_bytes(b'{"article": "\xff"}')
    with pytest.raises(InputError, match="byte 13: must be UTF-8"):
        race.read(tmp_path, "dev", ("high",), InputProblems())


def test_empty_question_or_option_is_kept_unless_both_are(tmp_path):
    choices = [["", "b", "c", "d"], list("wxyz"), ["", "x", "y", "z"]]
    passage = make_passage(questions=["Who?", "", " "], options=choices, answers=["A", "B", "C"])
    write(tmp_path, content=json.dumps(passage))
    problems = InputProblems(skip=True)
    questions = race.read(tmp_path, "dev", ("high",), problems)
    assert [question.guid for question in questions] == ["high-1-0", "high-1-1"]
    assert questions[0].options[0] == questions[1].question == ""
    assert "question 2: question and option must not both be empty" in problems.summary()


@pytest.mark.parametrize("answers", ["missing", None])
def test_test_passage_may_lack_answers(tmp_path, answers):
    passage = make_passage(answers=answers)
    if answers == "missing":
        del passage["answers"]
    write(tmp_path, content=json.dumps(passage), split="test")
    questions = race.read(tmp_path, "test", ("high",), InputProblems())
    assert [question.label for question in questions] == [None, None]


@pytest.mark.parametrize("answers", ["missing", None])
def test_passage_without_answers_to_learn_from_is_named(tmp_path, answers):
    passage = make_passage(answers=answers)
    if answers == "missing":
        del passage["answers"]
    write(tmp_path, content=json.dumps(passage))
    with pytest.raises(InputError, match="1.txt, line 1: must have the key answers. Received: art"):
        race.read(tmp_path, "dev", ("high",), InputProblems())


def test_missing_folder_is_named_with_what_is_there(tmp_path):
    with pytest.raises(InputError, match="dev.middle must hold passages.*no such folder") as none:
        race.read(tmp_path, "dev", ("middle",), InputProblems())
    assert str(none.value).endswith(f"{tmp_path} holds nothing")
    write(tmp_path)
    with pytest.raises(InputError, match="dev holds high$"):
        race.read(tmp_path, "dev", ("high", "middle"), InputProblems())
    (tmp_path / "dev" / "middle").mkdir()
    (tmp_path / "dev" / "middle" / "1.json").touch()
    with pytest.raises(InputError, match=r"no .txt file; .*middle holds 1.json$"):
        race.read(tmp_path, "dev", ("middle",), InputProblems())


def test_unknown_level_is_refused(tmp_path):
    with pytest.raises(InputError, match="must be one of middle, high. Received: 'low'"):
        race.read(tmp_path, "dev", ("low",), InputProblems())


def make_question(question, passage="the cat sat", label=2):
    return ChoiceQuestion("q", passage, question, ("cat", "dog", "mat", "day"), label, "high")


def test_option_takes_the_place_of_the_blank_or_follows_the_question(tokenizer):
    encoded = race.encode(
        [make_question("the _ sat"), make_question("who sat?")], tokenizer, 64, 30
    )
    passage = tokenizer.encode("the cat sat")
    for row, text in ((1, "the dog sat"), (6, "who sat? mat")):
        ids = tokenizer.encode(text)
        assert encoded.row(row)["input_ids"].tolist() == [
            *(tokenizer.cls_id, *passage, tokenizer.sep_id, *ids, tokenizer.sep_id)
        ]
        segments = [0] * (len(passage) + 2) + [1] * (len(ids) + 1)
        assert encoded.row(row)["segment_ids"].tolist() == segments
    assert encoded.num_choices == 4 and len(encoded) == 2
    assert encoded.values["label"].tolist() == [2, 2]


def test_every_blank_takes_the_option_without_the_spaces_around_it(tokenizer):
    options = (" cat ", "dog", "mat", "day")
    question = ChoiceQuestion("q", "the cat sat", "the _, the _.", options, None, "")
    encoded = race.encode([question], tokenizer, 64, 30)
    assert _question_of(encoded, 0, tokenizer) == tokenizer.encode("the cat, the cat.")
    assert _question_of(encoded, 1, tokenizer) == tokenizer.encode("the dog, the dog.")
    assert tokenizer.encode("the cat , the cat .") != tokenizer.encode("the cat, the cat.")


def _question_of(encoded, row, tokenizer):
    """Returns the ids between the first and the last [SEP]."""
    ids = encoded.row(row)["input_ids"].tolist()
    return ids[ids.index(tokenizer.sep_id) + 1 : -1]


def test_end_of_the_question_is_kept_and_the_passage_cut_at_its_end(tokenizer):
    question = make_question("who was it that sat on the old mat?", passage="the cat sat " * 20)
    encoded = race.encode([question], tokenizer, 16, 6)
    row = encoded.row(0)["input_ids"].tolist()
    last = tokenizer.encode("who was it that sat on the old mat? cat")[-6:]
    assert len(row) == 16
    assert row[-7:-1] == last
    assert row[1:8] == tokenizer.encode("the cat sat " * 20)[:7]


@pytest.mark.parametrize("max_seq_length", [16, 24, 512])
def test_rows_are_the_original_rule_written_out(tokenizer, max_seq_length):
    generator = np.random.default_rng(0)
    words = ["the", "cat", "birdhouse", "2,000", "_", "sat.", "on", "mat"]
    questions = [
        ChoiceQuestion(
            str(number),
            " ".join(generator.choice(words, generator.integers(1, 60))),
            " ".join(generator.choice(words, generator.integers(1, 12))),
            tuple(" ".join(generator.choice(words[:4], 2)) for _ in range(4)),
            number % 4,
            "high",
        )
        for number in range(20)
    ]
    encoded = race.encode(questions, tokenizer, max_seq_length, 9)
    row = 0
    for question in questions:
        for option in question.options:
            asked = question.question
            text = asked.replace("_", option) if "_" in asked else asked + " " + option
            last = tokenizer.encode(text)[-9:]
            passage = tokenizer.encode(question.passage)
            while len(passage) + len(last) + 3 > max_seq_length:
                passage.pop()
            ids = [tokenizer.cls_id, *passage, tokenizer.sep_id, *last, tokenizer.sep_id]
            assert encoded.row(row)["input_ids"].tolist() == ids
            row += 1
    assert row == len(encoded.row_splits) - 1 == 80
    assert encoded.values["label"].dtype == np.int32
    assert encoded.values["label"].tolist() == [0, 1, 2, 3] * 5


def test_questions_with_different_numbers_of_options_are_refused(tokenizer):
    other = ChoiceQuestion("odd", "the cat", "who?", ("cat", "dog"), 0, "high")
    with pytest.raises(ValueError, match="'odd' must have 4 options, as the first. Received: 2"):
        race.encode([make_question("_?"), other], tokenizer, 32, 8)
    assert race.encode([other, other], tokenizer, 32, 8).num_choices == 2


def test_no_questions_give_no_rows(tokenizer):
    assert len(race.encode([], tokenizer, 32, 8)) == 0


def test_questions_without_an_answer_have_no_label(tokenizer):
    encoded = race.encode([make_question("_?"), make_question("_?", label=None)], tokenizer, 32, 8)
    assert encoded.values == {}


def test_length_without_room_is_refused(tokenizer):
    with pytest.raises(ValueError, match="max_seq_length=12, max_qa_length=9"):
        race.encode([make_question("_?")], tokenizer, 12, 9)


@pytest.mark.real_data
@pytest.mark.parametrize(("split", "count"), [("train", 87_866), ("dev", 4_887), ("test", 4_934)])
def test_distributed_files_are_read_whole(split, count):
    data = pathlib.Path(os.environ.get("ALBERT_TF_DATA", ""))
    if not (data / "RACE").is_dir():
        pytest.skip("ALBERT_TF_DATA must name a folder with RACE/")
    questions = race.read(data / "RACE", split, ("middle", "high"), InputProblems())
    assert len(questions) == count
    assert len({question.guid for question in questions}) == count
    assert {question.label for question in questions} == {0, 1, 2, 3}
    assert {question.level for question in questions} == {"middle", "high"}
