"""Runs side by side: what is read of each kind of run, what counts as a difference, the page."""

import json

import numpy as np
import pytest
from scipy import stats

from albert_tf.comparison import page, runs


def write_run(folder, settings, scores_by_seed=None, rows=(), **files):
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(settings))
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    if scores_by_seed is not None:
        spread = {"mean": None, "deviation": None, "values": scores_by_seed}
        (folder / "results.json").write_text(json.dumps({"summary": {"dev": {"f1": spread}}}))
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "metrics.jsonl").write_text(lines)
    return folder


def test_fine_tuning_runs_have_their_scores_by_seed_and_their_curves(tmp_path):
    for name, values in (("a", [0.5, 0.6]), ("b", [0.7, 0.9])):
        folder = write_run(tmp_path / name, {"task": "mrpc", "batch_size": 8}, values)
        for seed in (0, 1):
            (folder / f"seed-{seed}").mkdir()
            row = {"step": 3, "split": "dev", "f1": values[seed]}
            (folder / f"seed-{seed}" / "metrics.jsonl").write_text(json.dumps(row) + "\n")
    first, second = runs.read_runs(runs.find_folders([str(tmp_path / "*")]))
    assert (first.name, second.name) == ("a", "b")
    assert second.scores == {"dev": {"f1": [0.7, 0.9]}}
    assert second.histories["1"] == [{"step": 3, "split": "dev", "f1": 0.9}]
    (row,) = page.make_rows([first, second])
    assert row.values == ["0.5500 ± 0.0707", "0.8000 ± 0.1414"]
    assert row.differences == ["+0.2500 within chance"]


def test_pretraining_runs_have_what_was_held_out(tmp_path):
    held_out = {"held_out": {"held_out": {"masked_lm_accuracy": 0.25}}}
    write_run(tmp_path / "done", {"seed": 0}, metrics=held_out)
    rows = [
        {"step": 5, "split": "held_out", "masked_lm_accuracy": 0.1},
        {"step": 10, "split": "held_out", "masked_lm_accuracy": 0.2},
        {"step": 12, "split": "train", "masked_lm_accuracy": 0.3},
    ]
    write_run(tmp_path / "going", {"seed": 1}, rows=rows)
    done, going = runs.read_runs([tmp_path / "done", tmp_path / "going"])
    assert done.scores == {"held_out": {"masked_lm_accuracy": [0.25]}}
    assert going.scores == {"held_out": {"masked_lm_accuracy": [0.2]}}
    assert (done.note, going.note) == ("", "not finished: scores of step 10")
    lines = list(page.make_lines([done, going]))
    assert "[1] going (not finished: scores of step 10)" in lines
    assert any("-0.0500 one seed" in line for line in lines)


def test_seeds_of_pretraining_in_folders_of_their_own_are_one_run(tmp_path):
    for name, seed, rate, score in (("a0", 0, 1, 0.2), ("a1", 1, 1, 0.3), ("b0", 0, 2, 0.5)):
        held_out = {"held_out": {"held_out": {"masked_lm_accuracy": score}}}
        write_run(tmp_path / name, {"seed": seed, "learning_rate": rate}, metrics=held_out)
    joined, other = runs.read_runs([tmp_path / name for name in ("a0", "a1", "b0")])
    assert joined.name == "a0, a1" and set(joined.histories) == {"0", "1"}
    assert joined.scores == {"held_out": {"masked_lm_accuracy": [0.2, 0.3]}}
    assert (joined.settings["seed"], other.settings["seed"]) == ("0, 1", "0")
    # Of stored tokens, seeds cut another number of examples.
    held_out = {"held_out": {"held_out": {"masked_lm_accuracy": 0.2}}}
    for seed in (0, 1):
        data = {"tokens": [{"train-0": "ab"}], "train_examples": 680 + seed}
        write_run(tmp_path / f"t{seed}", {"seed": seed, "data": data}, metrics=held_out)
    (joined,) = runs.read_runs([tmp_path / "t0", tmp_path / "t1"])
    assert joined.name == "t0, t1"
    # Another metric cannot be put beside it.
    held_out = {"held_out": {"held_out": {"masked_lm_accuracy": 0.2, "more": 1.0}}}
    write_run(tmp_path / "a2", {"seed": 2, "learning_rate": 1}, metrics=held_out)
    assert [run.name for run in runs.read_runs([tmp_path / "a2", tmp_path / "a0"])] == ["a2", "a0"]
    # The same run twice is no second seed.
    held_out = {"held_out": {"held_out": {"masked_lm_accuracy": 0.2}}}
    write_run(tmp_path / "copy", {"seed": 0, "learning_rate": 1}, metrics=held_out)
    assert [run.name for run in runs.read_runs([tmp_path / "a0", tmp_path / "copy"])] == [
        "a0",
        "copy",
    ]


def test_runs_measured_on_other_examples_are_no_seeds_and_are_warned_of(tmp_path):
    for seed, digest in enumerate(("ab", "cd", None)):
        metrics = {"held_out": {"held_out": {"masked_lm_accuracy": 0.2}}}
        if digest:
            metrics["measured_on"] = {"held_out": digest}
        write_run(tmp_path / f"r{seed}", {"seed": seed}, metrics=metrics)
    read = runs.read_runs([tmp_path / name for name in ("r0", "r1", "r2")])
    assert len(read) == 3
    (warning,) = runs.find_warnings(read)
    assert warning.startswith("[1] was measured on other held-out data")


def test_a_name_with_brackets_is_taken_as_it_is(tmp_path):
    for name in ("m[1]", "m1", "o"):
        write_run(tmp_path / name, {}, [0.5])
    found = runs.find_folders([str(tmp_path / "m[1]"), str(tmp_path / "o")])
    assert [folder.name for folder in found] == ["m[1]", "o"]


def test_seeds_on_their_way_are_compared_at_the_step_that_all_have_reached(tmp_path):
    folder = write_run(tmp_path / "a", {})
    for seed, steps in enumerate(((5, 10), (5,))):
        rows = [{"step": step, "split": "dev", "f1": step / 10} for step in steps]
        (folder / f"seed-{seed}").mkdir()
        (folder / f"seed-{seed}" / "metrics.jsonl").write_text(
            "".join(json.dumps(row) + "\n" for row in rows)
        )
    (run,) = runs.read_runs([folder])
    assert run.scores == {"dev": {"f1": [0.5, 0.5]}}
    assert run.note == "not finished: scores of step 5"
    (folder / "seed-2").mkdir()
    (folder / "seed-2" / "metrics.jsonl").write_text("")
    assert runs.read_runs([folder])[0].scores == {"dev": {"f1": [0.5, 0.5]}}


def test_a_difference_is_beyond_chance_as_welch_says():
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(50):
        first, other = rng.normal(0, 1, 4), rng.normal(rng.uniform(0, 3), 2, 5)
        found = runs.compare(first, other)
        # From its definition (Welch 1947), not by the function that computed it.
        variances = first.var(ddof=1) / 4, other.var(ddof=1) / 5
        t = (other.mean() - first.mean()) / np.sqrt(sum(variances))
        freedom = sum(variances) ** 2 / (variances[0] ** 2 / 3 + variances[1] ** 2 / 4)
        assert found.is_beyond_chance == (2 * stats.t.sf(abs(t), freedom) < 0.05)
        assert found.value == pytest.approx(other.mean() - first.mean())
        seen.add(found.is_beyond_chance)
    assert seen == {True, False}


def test_seeds_that_agree_wholly_differ_or_do_not():
    assert runs.compare([0.5, 0.5], [0.5, 0.5]) == runs.Difference(0.0, False)
    assert runs.compare([0.5, 0.5], [0.75, 0.75]) == runs.Difference(0.25, True)
    # The means of so many differ in their last bit.
    accuracy = 279 / 408
    assert runs.compare([accuracy] * 3, [accuracy] * 5) == runs.Difference(0.0, False)


def test_settings_that_differ_are_shown_and_no_others(tmp_path):
    write_run(tmp_path / "a", {"lr": 0.1, "config": {"size": 8, "act": "gelu"}}, [0.5])
    write_run(tmp_path / "b", {"lr": 0.1, "config": {"size": 16, "act": "gelu"}, "new": []}, [0.5])
    read = runs.read_runs([tmp_path / "a", tmp_path / "b"])
    assert runs.differing_settings(read) == {"config.size": ["8", "16"], "new": ["–", "[]"]}


def test_the_page_shows_names_and_runs_nothing_of_them(tmp_path):
    for name in ("<script>a", "b"):
        write_run(tmp_path / name, {"task": name}, [0.5, 0.25])
    read = runs.read_runs([tmp_path / "<script>a", tmp_path / "b"])
    page.write_page(tmp_path / "page.html", read)
    text = (tmp_path / "page.html").read_text()
    assert "&lt;script&gt;a" in text and "<script>" not in text
    assert text.count("data:image/png;base64,") == len(page.make_rows(read))
    assert "0.3750 ± 0.1768" in text


def test_folders_of_one_name_are_told_apart(tmp_path):
    for name in ("x/run", "y/run"):
        write_run(tmp_path / name, {}, [0.5])
    read = runs.read_runs([tmp_path / "x" / "run", tmp_path / "y" / "run"])
    assert [run.name for run in read] == ["x/run", "y/run"]


def test_what_is_no_run_is_refused_by_name(tmp_path):
    write_run(tmp_path / "a", {}, [0.5])
    write_run(tmp_path / "empty", {})
    with pytest.raises(ValueError, match="nowhere, where there is none"):
        runs.find_folders([str(tmp_path / "a"), str(tmp_path / "nowhere")])
    with pytest.raises(ValueError, match="must name two runs or more"):
        runs.find_folders([str(tmp_path / "a")] * 2)
    lines = []
    (run,) = runs.read_runs([tmp_path / "a", tmp_path / "empty"], lines.append)
    assert run.name == "a" and lines == [f"{tmp_path / 'empty'} is left out: it has no scores yet"]
    with pytest.raises(ValueError, match="must hold a run that measured something"):
        runs.read_runs([tmp_path / "empty"])
    for summary in ({"dev": {"f1": 0.5}}, {"dev": 3}, {"dev": {"f1": {"values": [None]}}}):
        (tmp_path / "a" / "results.json").write_text(json.dumps({"summary": summary}))
        with pytest.raises(ValueError, match=r"results\.json: each metric must have numbers"):
            runs.read_runs([tmp_path / "a"])
    (tmp_path / "a" / "results.json").write_text("{")
    with pytest.raises(ValueError, match=r"results\.json"):
        runs.read_runs([tmp_path / "a"])


@pytest.mark.parametrize(
    ("data", "other", "is_same"),
    [
        ({"train": "1", "dev": "2"}, {"train": "3", "dev": "2"}, True),
        ({"train": "1", "dev": "2"}, {"train": "1", "dev": "3"}, False),
        ({"records": "1", "train_examples": 5}, {"records": "1", "train_examples": 5}, True),
        ({"records": "1"}, {"tokens": [{"held_out.npy": "1"}]}, False),
        (
            {"tokens": [{"held_out.npy": "1", "train.npy": "2"}], "examples": {"ngram": 1}},
            {"tokens": [{"held_out.npy": "1", "train.npy": "3"}], "examples": {"ngram": 3}},
            True,
        ),
        ({"tokens": [{"held_out.npy": "1"}]}, {"tokens": [{"held_out.npy": "2"}]}, False),
        (
            {"tokens": [{"held_out.npy": "1"}], "examples": {"max_seq_length": 128}},
            {"tokens": [{"held_out.npy": "1"}], "examples": {"max_seq_length": 512}},
            False,
        ),
    ],
)
def test_runs_that_were_judged_on_other_data_are_named(tmp_path, data, other, is_same):
    write_run(tmp_path / "a", {"data": data}, [0.5])
    write_run(tmp_path / "b", {"data": other}, [0.5])
    read = runs.read_runs([tmp_path / "a", tmp_path / "b"])
    warned = any(
        "[1] was measured on other held-out data" in line for line in page.make_lines(read)
    )
    assert warned == (not is_same)
