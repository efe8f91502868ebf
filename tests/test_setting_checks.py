"""What settings must be: the sentence for each wrong value, and silence for right ones."""

import math

import numpy as np
import pytest

from albert_tf import setting_checks as checks
from albert_tf.tasks.table import TaskOptions


def check_positive_integer(name, value):
    checks.check_integer(name, value, 1)


@pytest.mark.parametrize(
    ("check", "right", "wrong", "message"),
    [
        (checks.check_positive, (1, 0.5, np.float32(2)), (0, -1, "1"), "`x` must be positive"),
        (checks.check_not_negative, (0, 3.5), (-1, None), "`x` must not be negative"),
        (checks.check_fraction, (0, 0.999), (1, -0.1), r"`x` must lie in \[0, 1\)"),
        (check_positive_integer, (1, 7), (0, 2.5, True), "`x` must be a positive integer"),
    ],
)
def test_numbers_are_finite_and_in_their_range(check, right, wrong, message):
    for value in right:
        check("x", value)
    for value in (*wrong, math.nan, math.inf, -math.inf):
        with pytest.raises(ValueError, match=f"{message}. Received: "):
            check("x", value)


def test_choices_are_listed():
    checks.check_choice("x", "a", ("a", "b"))
    with pytest.raises(ValueError, match="`x` must be one of a, b. Received: 'c'"):
        checks.check_choice("x", "c", ("a", "b"))


@pytest.mark.parametrize("changes", [{"dev_fraction": math.nan}, {"max_seq_length": 0}])
def test_options_of_tasks_check_their_numbers(changes):
    with pytest.raises(ValueError, match=f"`{next(iter(changes))}` must"):
        TaskOptions(**changes)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("", "`output` must be a path. Received: ''"),
        ("~/models", "`output` must be a path without ~, .* Received: ~/models"),
    ],
)
def test_an_output_that_a_shell_left_as_it_was_is_refused(path, message):
    with pytest.raises(ValueError, match=message):
        checks.check_output("output", path)
