"""Malformed rows stop the run, or are skipped and counted where that was asked for."""

import pytest

from albert_tf.pipelines.task_data.input_problems import InputError, InputProblems


def test_first_problem_stops_and_names_file_and_place():
    with pytest.raises(InputError, match=r"data\.tsv, line 17: the label must be a number"):
        InputProblems().add("data.tsv", "line 17", "the label must be a number. Received: 'x'")


def test_skipped_problems_are_counted_and_the_first_are_shown():
    problems = InputProblems(skip=True)
    assert problems.summary() == ""
    for line in range(8):
        problems.add("data.tsv", f"line {line}", "empty text")
    summary = problems.summary()
    assert problems.count == 8
    assert "skipped 8 malformed rows" in summary
    assert "data.tsv, line 4: empty text" in summary
    assert "line 5" not in summary and "and 3 more" in summary
