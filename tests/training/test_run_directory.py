"""Who owns an output directory: the run whose description it holds, or nobody yet."""

import json
import os

import pytest

from albert_tf.training import run_directory

RUN = {"learning_rate": 0.1, "initial_attention": "pointed"}


def note(folder, **options):
    """Writes what an earlier version noted of a run that had these options."""
    (folder / "run.json").write_text(json.dumps(RUN | options))


@pytest.mark.parametrize("unused", [{"hold_heads": False}, {"init_parts": []}])
def test_a_run_that_did_not_use_a_removed_option_goes_on(tmp_path, unused):
    note(tmp_path, **unused)
    (tmp_path / "metrics.jsonl").touch()
    assert run_directory.claim(tmp_path, RUN, has_work=False) == {}
    assert run_directory.claim(tmp_path, RUN, has_work=True) == {}
    assert (tmp_path / "metrics.jsonl").exists()


@pytest.mark.parametrize(
    ("used", "names"),
    [
        ({"hold_heads": True}, "--hold_heads"),
        ({"init_parts": ["embeddings"]}, "--init_parts"),
        ({"initial_attention": "matching"}, "--initial_attention=matching"),
        (
            {"hold_heads": True, "initial_attention": "matching"},
            "--hold_heads and --initial_attention=matching",
        ),
    ],
)
def test_a_run_with_a_removed_option_is_refused_in_one_line(tmp_path, used, names):
    note(tmp_path, **used)
    message = f"holds a run with {names}, which was removed since: "
    with pytest.raises(ValueError, match=message) as error:
        run_directory.claim(tmp_path, RUN, has_work=True)
    assert "\n" not in str(error.value)


def test_before_the_first_checkpoint_a_removed_option_may_change_as_others_may(tmp_path):
    note(tmp_path, hold_heads=True, initial_attention="matching")
    changed = run_directory.claim(tmp_path, RUN, has_work=False)
    assert changed == {"hold_heads": True, "initial_attention": "matching"}
    assert json.loads((tmp_path / "run.json").read_text()) == RUN


def test_a_new_description_removes_its_own_logs_and_no_others(tmp_path):
    run_directory.claim(tmp_path, RUN, has_work=False)
    for folder in ("", "seed-0", "another"):
        (tmp_path / folder / "tensorboard").mkdir(parents=True)
        (tmp_path / folder / "metrics.jsonl").touch()
    run_directory.claim(tmp_path, RUN | {"learning_rate": 0.2}, has_work=False)
    left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert left == ["another/metrics.jsonl", "run.json"]
    assert (tmp_path / "another" / "tensorboard").exists()


def test_a_place_or_settings_that_cannot_be_written_are_refused_before_any_work(tmp_path):
    folder = tmp_path / "run"
    with pytest.raises(ValueError, match="`output_dir` must be a path without ~"):
        with run_directory.opened("~/run", ""):
            pass
    flags = "--task=classification\n--train_file=" + os.fsdecode(b"caf\xe9.csv")
    with pytest.raises(ValueError, match=r"UTF-8 can write.*'--train_file=caf\\udce9\.csv'"):
        with run_directory.opened(folder, flags):
            pass
    assert not folder.exists()


def test_what_a_run_did_not_describe_is_what_it_was_in_its_version(tmp_path):
    older = {"rank": 0, "task.n_best": 20}
    note(tmp_path, task={"threshold": 0.5})
    asked = RUN | {"rank": 0, "task": {"threshold": 0.5, "n_best": 20}}
    run_directory.claim(tmp_path, asked, has_work=True, older=older)
    with pytest.raises(ValueError, match=r"rank: 0 there, 8 asked for"):
        run_directory.claim(tmp_path, asked | {"rank": 8}, has_work=True, older=older)
