"""Questions made of text alone: what is asked for, and that the passage answers it."""

import json
import random

import pytest

from albert_tf.pipelines.build_questions import QuestionSettings, build_questions
from albert_tf.pipelines.synthetic import questions
from albert_tf.pipelines.task_data import squad
from albert_tf.pipelines.task_data.input_problems import InputProblems

SENTENCE = (
    "Between 12 May 1871 and 1874, the Bank of England paid $3,000,000 to 14 large ships from "
    "(old) Norfolk, which sailed slowly."
)


def test_gaps_are_names_dates_amounts_and_nouns():
    words = SENTENCE.split()
    gaps = {" ".join(words[gap.first : gap.end]): gap.kind for gap in questions.find_gaps(words)}
    assert gaps == {
        "12 May 1871": "date",
        "12": "number",
        "May": "name",
        "1874,": "year",
        "Bank of England": "name",
        "$3,000,000": "number",
        "14": "number",
        "14 large": "amount",
        "(old)": "thing",
        "Norfolk,": "name",
    }


@pytest.mark.parametrize(
    ("sentence", "things"),
    [
        ("The crew had sold most of the cargo by then", ["The crew", "the cargo"]),
        ("They never sailed in heavy weather, which its old captain feared", ["heavy weather,"]),
        ("It was large and heavily armed", []),
        ("They fought in northern Norfolk with worn guns", ["worn guns"]),
        ("They hoped to find shelter on the island", ["the island"]),
        ("She returned in disguised form", ["disguised form"]),
    ],
)
def test_things_are_nouns_by_what_stands_around_them(sentence, things):
    words = sentence.split()
    gaps = [gap for gap in questions.find_gaps(words) if gap.kind == "thing"]
    assert [" ".join(words[gap.first : gap.end]) for gap in gaps] == things


@pytest.mark.parametrize("words", [["The", "old", "ship"], ["Ships", "sailed"]])
def test_a_first_word_is_no_name_because_it_is_capital(words):
    assert "name" not in {gap.kind for gap in questions.find_gaps(words)}


def test_questions_are_answered_where_they_say_and_ask_by_words_of_the_sentence():
    passage = ["Norfolk is mentioned first.", SENTENCE, "Norfolk is large."]
    rng = random.Random(0)
    made = [questions.make_question(passage, rng) for _ in range(500)]
    made = [question for question in made if question]
    asks = {word for kind in questions._ASKS.values() for ask in kind for word in ask.split()}
    second = range(len(passage[0]) + 1, len(passage[0]) + 1 + len(SENTENCE))
    assert len(made) > 100 and len({question.question for question in made}) > 100
    for question in made:
        assert question.context == " ".join(passage)
        assert question.context[question.start :].startswith(question.answer)
        assert question.start in second  # the other sentences are too short
        assert 1 <= len(question.answer.split()) <= 6 and question.answer[-1] not in ",."
        for word in question.question[:-1].lower().split():
            assert word in asks or word in SENTENCE.lower()


def test_passages_stand_together_and_have_usual_lengths():
    document = [f"This is number {number} of the many sentences." for number in range(200)]
    document[100] = "word " * 120
    passages = list(questions.find_passages(document, random.Random(0)))
    assert len(passages) > 10
    places = [[document.index(sentence) for sentence in passage] for passage in passages]
    for place, passage in zip(places, passages, strict=True):
        assert place == list(range(place[0], place[0] + len(place)))
        assert 40 <= len(" ".join(passage).split()) <= 110
    assert sum(places, []) == sorted(set(sum(places, [])))
    assert 100 not in sum(places, [])


def test_other_languages_give_no_passages():
    german = [
        "Der Hafen der kleinen Stadt liegt am Ufer der Elbe und wird von Booten besucht."
    ] * 20
    chinese = ["今天上午，城里的 新图书馆 开门了。 许多孩子 和老人 都来看书。"] * 40
    for document in (german, chinese):
        assert list(questions.find_passages(document, random.Random(0))) == []


@pytest.fixture
def text_file(tmp_path):
    documents = [
        " ".join(f"In {1900 + number} the Town of Aa{n} bought {n} new bells." for n in range(12))
        for number in range(40)
    ]
    path = tmp_path / "text.txt"
    path.write_text("\n\n".join(documents), encoding="utf-8")
    return path


def test_file_is_in_the_layout_of_squad(text_file, tmp_path):
    lines, output, problems = [], tmp_path / "questions.json", InputProblems()
    count = build_questions(str(text_file), output, report=lines.append)
    read = squad.read(output, problems)
    assert count == len(read) > 30 and lines == [f"{output}: {count} questions"]
    assert {question.title for question in read} == {f"{text_file}:1"}
    for question in read:
        (answer,) = question.answers
        assert question.context[answer.start :].startswith(answer.text)


def test_seed_decides_sample_and_questions(text_file, tmp_path):
    def build(name, **settings):
        build_questions(str(text_file), tmp_path / name, QuestionSettings(**settings))
        return json.loads((tmp_path / name).read_text(encoding="utf-8"))

    first = build("a", max_questions=10, seed=1)
    assert sum(len(article["paragraphs"]) for article in first["data"]) == 10
    assert first == build("b", max_questions=10, seed=1) != build("c", max_questions=10, seed=2)


def test_text_without_passages_is_refused_and_nothing_is_replaced(text_file, tmp_path):
    (tmp_path / "short.txt").write_text("One sentence is all.\n", encoding="utf-8")
    output = tmp_path / "questions.json"
    with pytest.raises(ValueError, match="40 words and more"):
        build_questions(str(tmp_path / "short.txt"), output)
    assert not output.exists()
    output.write_text("mine", encoding="utf-8")
    with pytest.raises(FileExistsError, match="overwrite"):
        build_questions(str(text_file), output)
    assert output.read_text(encoding="utf-8") == "mine"
