"""Answers beside their rows: nothing is replaced, left out unseen or read back as another text."""

import datetime
import decimal
import io
import json

import pytest

from albert_tf.inference import prediction_files
from albert_tf.pipelines.task_data import tabular
from albert_tf.pipelines.task_data.input_problems import InputProblems


def written(name, *rows):
    file = io.StringIO()
    writer = prediction_files.make_writer(file, prediction_files.format_of(name))
    for row, answer in rows:
        if isinstance(answer, str):
            writer.write_problem(row, answer)
        else:
            writer.write(row, answer)
    writer.close()
    return file.getvalue(), writer


def read(folder, name, text):
    path = folder / name
    path.write_text(text, encoding="utf-8", newline="")
    return [row for _, row in tabular.read_rows(str(path), InputProblems())]


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl"])
def test_the_answers_of_several_models_stand_side_by_side(tmp_path, name):
    rows = [{"text": "x", "label": "gold"}]
    for label in ("first", "second"):
        answer = {"label": label, "score": 0.9, "scores": {"a": 0.9, "b": 0.1}}
        rows = read(tmp_path, name, written(name, *((row, answer) for row in rows))[0])
    (row,) = rows
    assert row["label"] == "gold"
    assert (row["predicted_label"], row["predicted_predicted_label"]) == ("first", "second")
    if name != "a.jsonl":
        assert {"scores_a", "scores_b", "predicted_scores_a", "predicted_scores_b"} <= row.keys()


def test_tables_name_the_columns_that_they_leave_out():
    rows = [({"id": 0}, "broken"), ({"id": 1}, 0.5), ({"id": 2, "note": "kept"}, 0.25)]
    text, writer = written("a.csv", *rows)
    assert text == "id,score,problem\n0,,broken\n1,0.5,\n2,0.25,\n"
    assert list(writer.left_out) == ["note"]
    text, writer = written("a.jsonl", *rows)
    assert json.loads(text.splitlines()[2])["note"] == "kept" and not writer.left_out


def test_a_column_that_is_called_problem_stays():
    rows = [({"problem": "engine"}, "no text"), ({"problem": "brakes"}, 0.5)]
    assert written("a.csv", *rows)[0] == (
        "problem,score,predicted_problem\nengine,,no text\nbrakes,0.5,\n"
    )


def test_an_answer_stands_in_its_column_whatever_columns_its_row_has():
    answers = [{"label": "P1", "score": 0.9}, {"label": "P2", "score": 0.8}]
    rows = [{"text": "a", "label": "pos"}, {"text": "b"}]
    text, writer = written("a.csv", *zip(rows, answers, strict=True))
    assert text == "text,label,predicted_label,score,problem\na,pos,P1,0.9,\nb,,P2,0.8,\n"
    assert not writer.left_out
    text, writer = written("a.csv", *zip(rows[::-1], answers, strict=True))
    assert text == "text,label,score,problem\nb,P1,0.9,\na,P2,0.8,\n"
    assert list(writer.left_out) == ["label"]
    text, _ = written("a.csv", ({"problem": "brakes"}, 0.5), ({}, "2 fields"))
    assert text == "problem,score,predicted_problem\nbrakes,0.5,\n,,2 fields\n"


def test_tsv_is_read_back_as_it_was_written(tmp_path):
    text, _ = written("a.tsv", ({"text": 'He said "no"'}, 0.5), ({"text": "a\tb\r\nc"}, 0.5))
    assert [row["text"] for row in read(tmp_path, "a.tsv", text)] == ['He said "no"', "a b  c"]


def test_answers_without_rows_are_written_in_each_form():
    assert written("a.jsonl", (None, 0.5))[0] == "0.5\n"
    assert written("a.csv", (None, 0.5))[0] == "score,problem\n0.5,\n"
    words = [{"token_str": "cat"}]
    assert json.loads(written("a.jsonl", (None, words))[0]) == words
    assert written("a.tsv", (None, words))[0].splitlines()[0] == "answers\tproblem"


def test_what_is_no_number_is_null_in_json():
    text, _ = written("a.jsonl", ({"price": [float("nan")], "size": 1.5}, {"label": "x"}))
    assert json.loads(text, parse_constant=pytest.fail) == {
        "price": [None],
        "size": 1.5,
        "label": "x",
    }


@pytest.mark.parametrize("text", ["one\rtwo", "one\r\ntwo", "one\ntwo", 'a "b", c'])
def test_csv_is_read_back_with_line_breaks_of_any_kind(tmp_path, text):
    rows = read(tmp_path, "a.csv", written("a.csv", ({"text": text, "id": "7"}, 0.5))[0])
    assert [(row["text"], row["id"]) for row in rows] == [(text, "7")]


def test_characters_of_an_answer_are_counted_in_the_context_as_tsv_has_it(tmp_path):
    context = "The\r\ncat\tsat on\r\nmats."
    start = context.index("mats")
    answer = {"answer": "mats", "start": start, "end": start + 4}
    (row,) = read(tmp_path, "a.tsv", written("a.tsv", ({"context": context}, answer))[0])
    assert row["context"][int(row["start"]) : int(row["end"])] == row["answer"] == "mats"


def test_cells_may_hold_dates_and_decimals_in_lists():
    days = [datetime.date(2024, 1, 1)]
    text, _ = written("a.csv", ({"days": days, "sums": [decimal.Decimal("1.5")]}, {"x": 1}))
    assert text.splitlines()[1] == '"[""2024-01-01""]","[""1.5""]",1,'


def test_nested_cells_are_json_and_replace_no_other():
    row = {"a_b": "kept", "a": {"b": 1}, "meta": {"user": {"id": 1}}, "none": {}}
    header, line, _ = written("a.tsv", (row, 0.5))[0].split("\n")
    cells = dict(zip(header.split("\t"), line.split("\t"), strict=True))
    assert (cells["a_b"], cells["a"], cells["none"]) == ("kept", '{"b": 1}', "{}")
    assert cells["meta_user"] == '{"id": 1}'
