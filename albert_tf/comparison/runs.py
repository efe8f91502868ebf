"""What finished and unfinished runs leave on disk, in one form for all kinds of runs."""

import dataclasses
import glob
import json
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from albert_tf import json_files
from albert_tf.training import metric_log

# A difference counts where chance alone gives one as large in fewer than one case of twenty.
_SIGNIFICANCE = 0.05
# {split: {metric: one value a seed}}.
Scores = dict[str, dict[str, list[float]]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """One run.

    Attributes:
        name: of its folder, as short as it can be told from the others; of several seeds in
            folders of their own, all of them.
        scores: on held-out data: of the best checkpoints of a fine-tuning run, of the last step of
            a pretraining run.
        histories: {seed: rows of its metrics.jsonl}; the seed is "" where there is one alone.
        settings: {name: value as text}, of what defines the run.
        judged_on: what is known of the held-out data, as text; of records those to train on.
        measured_on: what tells the held-out examples of a finished pretraining, as text, or "".
        note: what is to be known of the scores, or "".
    """

    name: str
    scores: Scores
    histories: dict[str, list[dict[str, Any]]]
    settings: dict[str, str]
    judged_on: str = ""
    measured_on: str = ""
    note: str = ""


def find_folders(patterns: Sequence[str]) -> list[pathlib.Path]:
    """Returns the output folders that patterns name, each once, in order.

    Raises:
        ValueError: for a pattern that names no folder of a run, or fewer than two folders.
    """
    found = {}
    for pattern in patterns:
        path = os.path.expanduser(pattern)
        # A name may have brackets of its own.
        paths = [path] if os.path.isdir(path) else sorted(glob.glob(path))
        folders = [pathlib.Path(path) for path in paths]
        folders = [folder for folder in folders if (folder / "run.json").is_file()]
        if not folders:
            raise ValueError(
                "`runs` must name output folders of run_pretraining or run_finetuning, with "
                f"run.json in them. Received: {pattern}, where there is none"
            )
        found |= {folder.resolve(): folder for folder in folders}
    if len(found) < 2:
        raise ValueError(f"`runs` must name two runs or more. Received: {', '.join(patterns)}")
    return list(found.values())


def read_runs(
    folders: Sequence[pathlib.Path], report: Callable[[str], None] = lambda line: None
) -> list[Run]:
    """Returns the runs in output folders.

    Those of pretraining that only their seed tells apart are one, as the seeds of fine-tuning are.

    Args:
        folders: of runs.
        report: takes a line about each that has not measured anything yet and is left out.

    Raises:
        ValueError: for one that is damaged, or where none has measured anything.
    """
    names = _short_names([folder.resolve() for folder in folders])
    groups = {}
    for folder, name in zip(folders, names, strict=True):
        run = _read_run(folder, name)
        if not any(run.scores.values()):
            report(f"{folder} is left out: it has no scores yet")
            continue
        settings = {name: value for name, value in run.settings.items() if name != "seed"}
        measured = {split: sorted(metrics) for split, metrics in run.scores.items()}
        data = (run.judged_on, run.measured_on)
        key = (json.dumps([settings, measured], sort_keys=True), *data, run.note)
        seed = run.settings.get("seed") if set(run.histories) == {""} else None
        seeds = groups.setdefault(key if seed else name, {})
        if seed in seeds:  # the same run once more
            seeds = groups.setdefault(name, {})
        seeds[seed] = run
    if not groups:
        raise ValueError("`runs` must hold a run that measured something. Received: none")
    return [_join_seeds(seeds) for seeds in groups.values()]


def _join_seeds(seeds: dict[str | None, Run]) -> Run:
    """Returns one run of {seed: run with this seed alone}."""
    first, *others = seeds.values()
    if not others:
        return first
    return dataclasses.replace(
        first,
        name=", ".join(run.name for run in seeds.values()),
        scores={
            split: {
                metric: [value for run in seeds.values() for value in run.scores[split][metric]]
                for metric in metrics
            }
            for split, metrics in first.scores.items()
        },
        histories={seed: run.histories[""] for seed, run in seeds.items()},
        settings=first.settings | {"seed": ", ".join(seeds)},
    )


def _short_names(folders: Sequence[pathlib.Path]) -> list[str]:
    """Returns the ends of paths that tell them apart."""
    for parts in range(1, max(len(folder.parts) for folder in folders)):
        names = ["/".join(folder.parts[-parts:]) for folder in folders]
        if len(set(names)) == len(names):
            return names
    return [str(folder) for folder in folders]


def _read_run(folder: pathlib.Path, name: str) -> Run:
    description = json_files.read_object(folder / "run.json")
    data = description.get("data", {})
    if "tokens" in data:  # how many examples are cut from them depends on the seed
        data.pop("train_examples", None)
    histories = {
        path.parent.name.removeprefix("seed-"): metric_log.read_metrics(path)
        for path in sorted(folder.glob("seed-*/metrics.jsonl"))
    } or {"": metric_log.read_metrics(folder / "metrics.jsonl")}
    note = measured_on = ""
    if (folder / "results.json").is_file():
        summary = json_files.read_object(folder / "results.json", {"summary": dict})["summary"]
        scores = _read_scores(
            summary, folder / "results.json", lambda spread: _dict_of(spread).get("values")
        )
    elif (folder / "metrics.json").is_file():
        metrics = json_files.read_object(folder / "metrics.json", {"held_out": dict})
        scores = _read_scores(metrics["held_out"], folder / "metrics.json", lambda value: [value])
        if "measured_on" in metrics:  # not of older versions
            measured_on = json.dumps(metrics["measured_on"], sort_keys=True)
    else:
        scores, step = _last_scores(histories)
        note = f"not finished: scores of step {step:,}"
    return Run(
        name=name,
        scores=scores,
        histories=histories,
        settings=flatten(description),
        judged_on=_find_held_out(data),
        measured_on=measured_on,
        note=note,
    )


def _read_scores(
    of_splits: dict[str, Any], path: pathlib.Path, values_of: Callable[[Any], Any]
) -> Scores:
    """Returns {split: {metric: values}} of what a file has under these names."""
    scores = {}
    for split, metrics in of_splits.items():
        scores[split] = {name: values_of(value) for name, value in _dict_of(metrics).items()}
        if not isinstance(metrics, dict) or not all(map(_are_numbers, scores[split].values())):
            raise ValueError(
                f"{path}: each metric must have numbers. Received: "
                f"{json_files.shorten({split: metrics})}"
            )
    return scores


def _dict_of(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _are_numbers(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(value, int | float) for value in values)


def _find_held_out(data: dict[str, Any]) -> str:
    """Returns what a run's description says of the data that it is measured on."""
    if "tokens" in data:  # a table of checksums for each folder
        settings = data.get("examples", {})
        length = settings.get("final_max_seq_length") or settings.get("max_seq_length")
        data = {
            "tokens": [
                {name: sum_ for name, sum_ in folder.items() if name.startswith("held_out")}
                for folder in data["tokens"]
            ],
            # What examples are cut from them with.
            "max_seq_length": length,
            "short_seq_prob": settings.get("short_seq_prob"),
        }
    elif "records" in data:
        data = {"records": data["records"]}
    return json.dumps({name: data[name] for name in sorted(data) if name != "train"})


def find_warnings(runs: Sequence[Run]) -> list[str]:
    """Returns a sentence for each run that was measured on other data than the first."""
    return [
        f"[{number}] was measured on other held-out data than [0], or on data that cannot be told "
        "to be the same: what they differ by says little"
        for number, run in enumerate(runs)
        if run.judged_on != runs[0].judged_on
        or (run.measured_on and runs[0].measured_on not in ("", run.measured_on))
    ]


def _last_scores(histories: dict[str, list[dict[str, Any]]]) -> tuple[Scores, int]:
    """Returns what all seeds of an unfinished run measured last on held-out data, and the step.

    Seeds that have not measured anything yet are left out.
    """
    measured = [[row for row in rows if row["split"] != "train"] for rows in histories.values()]
    measured = [rows for rows in measured if rows]
    steps = [{row["step"] for row in rows} for rows in measured]
    step, scores = max(set.intersection(*steps), default=0) if steps else 0, {}
    for row in (row for rows in measured for row in rows if row["step"] == step):
        of_split = scores.setdefault(row["split"], {})
        for metric, value in row.items():
            if metric not in ("step", "split"):
                of_split.setdefault(metric, []).append(value)
    return scores, step


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Returns {names of nested objects with dots between: value as JSON}.

    >>> flatten({"config": {"hidden_size": 8}, "seed": None})
    {'config.hidden_size': '8', 'seed': 'null'}
    """
    flat = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            flat[prefix + name] = text
    return flat


def differing_settings(runs: Sequence[Run]) -> dict[str, list[str]]:
    """Returns {setting: its value in each run, "–" where it has none}, of those that differ."""
    names = dict.fromkeys(name for run in runs for name in run.settings)
    table = {name: [run.settings.get(name, "–") for run in runs] for name in names}
    return {name: values for name, values in table.items() if len(set(values)) > 1}


@dataclasses.dataclass(frozen=True)
class Difference:
    """How far the mean of a run is above that of the first.

    Attributes:
        value: of it.
        is_beyond_chance: whether seeds alone explain it in fewer than one case of twenty (Welch's
            t-test); None where a run has one seed, so that nothing is known of chance.
    """

    value: float
    is_beyond_chance: bool | None


def compare(first: Sequence[float], other: Sequence[float]) -> Difference:
    """Returns how two runs differ in a metric, of which each has one value a seed.

    >>> compare([0.5], [0.75])
    Difference(value=0.25, is_beyond_chance=None)
    """
    from scipy import stats  # not before folders are found

    value = float(np.mean(other) - np.mean(first))
    if min(len(first), len(other)) < 2:
        return Difference(value, None)
    if np.ptp(first) == np.ptp(other) == 0:
        value = float(other[0] - first[0])  # means of the same number are rounded
        return Difference(value, value != 0)
    test = stats.ttest_ind(other, first, equal_var=False)
    return Difference(value, bool(test.pvalue < _SIGNIFICANCE))
