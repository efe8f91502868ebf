"""The Chinese tasks by name: what they read, are scored by, and warn of."""

import json

import pytest
import word_pieces

from albert_tf.pipelines.task_data.input_problems import InputProblems
from albert_tf.tasks.table import TaskOptions, make_task


def write_squad(path, context, answer, count=3):
    entry = {
        "question": "什么？",
        "answers": [{"text": answer, "answer_start": context.index(answer)}],
    }
    entries = [{**entry, "id": str(number)} for number in range(count)]
    paragraphs = [{"context": context, "qas": entries}]
    path.write_text(json.dumps({"data": [{"title": "T", "paragraphs": paragraphs}]}))
    return str(path)


@pytest.mark.parametrize(
    ("task_name", "context", "answer"),
    [
        ("squad1", "他住在 Paris 的北京路。", "北京路"),
        ("squad2", "他住在 Paris 的北京路。", "北京路"),
        ("squad1", "かれは きょう とうきょうに いる。", "とうきょう"),
        ("squad2", "เขาอยู่ในประเทศไทย", "ประเทศไทย"),
    ],
)
def test_squad_warns_of_answers_without_spaces(tmp_path, task_name, context, answer):
    chinese = write_squad(tmp_path / "zh.json", context, answer)
    english = write_squad(tmp_path / "en.json", "He lives in 北京 Road, Paris.", "Paris")
    problems = InputProblems()
    task = make_task(task_name, TaskOptions(train_file=english, dev_file=chinese), problems)
    task.read("train")
    assert problems.notes() == []
    task.read("dev")
    task.read("dev")  # said once
    (note,) = problems.notes()
    assert note.startswith(f"{chinese}: 3 of 3 answers are in scripts without spaces")
    assert f"`task={task_name}` split at spaces" in note
    assert "`task=cmrc2018`" in note


def test_cmrc_counts_characters_and_has_no_impossible_questions(tmp_path):
    path = write_squad(tmp_path / "dev.json", "他住在北京路。", "北京路")
    task = make_task("cmrc2018", TaskOptions(data_dir=str(tmp_path)), InputProblems())
    questions = task.read("dev")
    assert [question.answers[0].text for question in questions] == ["北京路"] * 3
    said = [{"answers": [], "null_score": 0.0} for _ in questions]
    assert task.score(questions, said) == {"exact_match": 0.0, "f1": 0.0, "average": 0.0}
    assert set(task.metrics) == {"exact_match", "f1", "average"} and task.metric == "f1"
    assert task.problems.notes() == []
    with pytest.raises(ValueError, match="does not use `answer_head`"):
        TaskOptions(dev_file=path, answer_head="answerability").check_task("cmrc2018")


def test_own_files_go_before_those_of_the_folder(tmp_path):
    rows = [f"1\t{text}" for text in word_pieces.GOOD]
    for name, count in (("train.tsv", 5), ("dev.tsv", 2), ("test.tsv", 3)):
        (tmp_path / name).write_text("\n".join(["label\ttext_a", *rows[:count]]), encoding="utf-8")
    options = TaskOptions(data_dir=str(tmp_path), dev_file=str(tmp_path / "test.tsv"))
    task = make_task("chnsenticorp", options, InputProblems())
    assert [len(task.read(split)) for split in ("train", "dev", "test")] == [5, 3, 3]
    assert task.read("dev")[0].label == "1" and task.read("test")[0].label is None
    assert (task.labels, task.is_pair, task.metric) == (("0", "1"), False, "accuracy")
    assert make_task("lcqmc", options, InputProblems()).is_pair
    with pytest.raises(ValueError, match="`train_file` or `data_dir` must be given"):
        make_task("lcqmc", TaskOptions(), InputProblems()).read("train")
