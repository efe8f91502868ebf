"""A build by several tasks in one folder: the same bytes, whoever did what and in what order."""

import dataclasses
import pathlib

import numpy as np
import pytest
from samples import VOCABULARY

from albert_tf import whole_files
from albert_tf.pipelines.building import build, shared_folder, tokenized_corpus
from albert_tf.pipelines.building.example_options import BuildOptions


@pytest.fixture(scope="module")
def options(tmp_path_factory):
    folder = tmp_path_factory.mktemp("text")
    rng = np.random.default_rng(0)
    for number in range(5):
        documents = [
            "\n".join(
                " ".join(rng.choice(["the", "cat", "sat", "on", "a", "mat"], 9)) + "."
                for _ in range(6)
            )
            for _ in range(8)
        ]
        (folder / f"{number}.txt").write_text("\n\n".join(documents))
    return BuildOptions(
        input=(f"{folder}/*.txt",),
        vocab_model=str(VOCABULARY),
        output_dir="",
        layout="sentences",
        max_seq_length=32,
        num_shards=4,
        num_workers=1,
        held_out_fraction=0.1,
    )


@pytest.fixture
def small_groups(monkeypatch):
    """Makes every file a group of its own, as large ones are."""
    monkeypatch.setattr(tokenized_corpus, "_GROUP_BYTES", 1)


def read(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def run(options, folder, task=None, num_tasks=None):
    changes = {"output_dir": str(folder), "task_index": task, "num_tasks": num_tasks}
    return build.build_examples(dataclasses.replace(options, **changes))


@pytest.mark.parametrize("form", ["records", "tokens"])
def test_tasks_in_any_order_leave_the_bytes_of_one_build(options, tmp_path, small_groups, form):
    if form == "tokens":
        options = dataclasses.replace(options, format=form, max_seq_length=512)
    expected = run(options, tmp_path / "one")
    folder = tmp_path / "tasks"
    for task in (2, 0, 1, 1, 2, 0):
        assert run(options, folder, task, 3) is None
    assert not (folder / "summary.json").exists()
    assert run(options, folder) == expected
    assert read(folder) == read(tmp_path / "one")
    assert run(options, folder, 0, 3) == expected  # complete: nothing to do


def test_what_tasks_did_not_do_is_done_by_the_command_without_them(
    options, tmp_path, small_groups, monkeypatch
):
    expected = run(options, tmp_path / "one")
    tokenized, tokenize = [], tokenized_corpus.tokenize_group

    def count(index, *arguments):
        tokenized.append(index)
        tokenize(index, *arguments)

    monkeypatch.setattr(tokenized_corpus, "tokenize_group", count)
    assert run(options, tmp_path / "tasks", 1, 2) is None
    assert tokenized == [1, 3]
    assert run(options, tmp_path / "tasks") == expected
    assert sorted(tokenized) == [0, 1, 2, 3, 4]
    assert read(tmp_path / "tasks") == read(tmp_path / "one")


def test_a_second_start_of_a_task_is_refused_and_another_task_is_not(options, tmp_path):
    work_dir = str(tmp_path / ".work")
    whole = dataclasses.replace(options, output_dir=str(tmp_path))
    first, second = (dataclasses.replace(whole, task_index=i, num_tasks=2) for i in (0, 1))
    with shared_folder.entered(first, work_dir):
        with pytest.raises(whole_files.FolderInUseError, match="task-00000-of-00002"):
            run(options, tmp_path, 0, 2)
        with shared_folder.entered(second, work_dir):
            pass
        with pytest.raises(whole_files.FolderInUseError, match="in use by task-00000-of-00002"):
            run(options, tmp_path)
        third = dataclasses.replace(whole, task_index=2, num_tasks=3)
        with pytest.raises(whole_files.FolderInUseError, match="in use by task-00000-of-00002"):
            run(third, tmp_path, 2, 3)
    assert not (tmp_path / ".work").exists()
    with shared_folder.entered(whole, work_dir):
        with pytest.raises(whole_files.FolderInUseError, match="in use by a build"):
            run(options, tmp_path, 0, 2)


def test_tasks_of_another_build_are_refused(options, tmp_path, small_groups):
    run(options, tmp_path, 0, 2)
    with pytest.raises(ValueError, match="max_seq_length=32 and not 64"):
        run(dataclasses.replace(options, max_seq_length=64), tmp_path, 1, 2)


@pytest.mark.parametrize(("task", "num_tasks"), [(2, 2), (0, None), (None, 3)])
def test_tasks_are_numbered_below_their_count(options, tmp_path, task, num_tasks):
    with pytest.raises(ValueError, match="`task_index` must be given with `num_tasks`"):
        run(options, tmp_path, task, num_tasks)
    assert not pathlib.Path(tmp_path, ".work").exists()
