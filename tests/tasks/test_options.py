"""What each task reads: an option without effect is refused before anything is read."""

import dataclasses
import pathlib
import re

import pytest

from albert_tf import settings
from albert_tf.tasks import options
from albert_tf.tasks.options import TASKS, TaskOptions

RECIPES = sorted((pathlib.Path(__file__).parents[2] / "configs").glob("[fq]*_*.flags"))


@pytest.mark.parametrize(
    ("task", "unused", "used"),
    [
        ("mrpc", {"train_file": "mine.csv"}, "`data_dir`"),
        ("race", {"doc_stride": 64}, "`levels`"),
        ("squad1", {"text_column": "review"}, "`answer_head`"),
        ("tagging", {"label_column": "tag"}, "`labels`"),
        ("classification", {"data_dir": "GLUE"}, "`train_file`"),
        ("regression", {"data_source": "tfds"}, "`dev_fraction`"),
    ],
)
def test_an_option_without_effect_is_refused_with_those_that_have_one(task, unused, used):
    (name,) = unused
    with pytest.raises(ValueError, match=f"`task={task}` does not use `{name}`. It uses .*{used}"):
        TaskOptions(**unused).check_task(task)


def test_every_task_says_what_it_reads_and_every_option_is_read_by_one():
    assert options._OF_TASK.keys() == set(TASKS)
    read = {name for names in options._OF_TASK.values() for name in names}
    fields = {field.name for field in dataclasses.fields(TaskOptions)}
    assert read | set(options._OF_ALL_TASKS) == fields
    for task in TASKS:
        TaskOptions().check_task(task)
    with pytest.raises(ValueError, match="`task` must be one of"):
        TaskOptions().check_task("poems")


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_recipes_set_nothing_that_their_task_does_not_read(recipe):
    flags = dict(re.findall(r"^--(\w+)=(.*)$", recipe.read_text(encoding="utf-8"), re.M))
    rows = {row.name: row for row in settings.own_rows(TaskOptions)}
    chosen = {
        name: tuple(value.split(",")) if rows[name].is_list else rows[name].value_type(value)
        for name, value in flags.items()
        if name in rows
    }
    TaskOptions(**chosen).check_task(flags["task"])


@pytest.mark.parametrize("name", ["train_file", "dev_file", "test_file"])
def test_the_empty_name_of_a_variable_that_is_not_set_is_no_file_left_out(name):
    with pytest.raises(ValueError, match=f"`{name}` must be a name"):
        TaskOptions(**{name: ""})
