"""What a fine-tuning run reports: scores over seeds, `results.json`, and a page to look at."""

import collections
import dataclasses
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from albert_tf import json_files, whole_files
from albert_tf.checkpoints import hub_files
from albert_tf.finetuning.report import ReportContent, write_report
from albert_tf.finetuning.settings import FinetuningRun
from albert_tf.finetuning.splits import Split
from albert_tf.pipelines.task_data.input_problems import InputProblems
from albert_tf.settings import all_rows
from albert_tf.tasks import class_balance
from albert_tf.tasks.diagnosis import Confusion, ErrorSample, LabelScores, ScoreHistogram
from albert_tf.tasks.table import Task
from albert_tf.training import metric_log

_KEPT_ERRORS = 40
_DIAGNOSIS_FILE = "diagnosis.json"
# A small model stands at the loss of chance for the first 100 to 200 (docs/small_models.md).
_FEW_UPDATES = 300


def summarize(
    run: FinetuningRun, task: Task, splits: dict[str, Split], outcomes: dict[int, dict[str, Any]]
) -> dict[str, Any]:
    """Returns the content of `results.json`.

    Args:
        run: what defines it.
        task: of the run.
        splits: its data, by name.
        outcomes: {seed: what `finetune` keeps of a seed}.

    Returns:
        A dict of `task`, `metric`, `init_checkpoint`; `examples` {split: count}; `summary`
        {split: {metric: {"mean", "deviation", "values"}}} of the best checkpoints, with the sample
        deviation over seeds (None for one); `baseline` {split: scores}, what always saying the most
        frequent answer reaches; `best_seed`; `seeds`, the outcomes.
    """
    summary = {}
    for split in task.dev_splits:
        by_seed = [outcome["best"][split] for outcome in outcomes.values()]
        summary[split] = {
            metric: _spread([scores[metric] for scores in by_seed]) for metric in by_seed[0]
        }

    def main_score(seed: int) -> float:
        scores = [outcomes[seed]["best"][split][task.metric] for split in task.dev_splits]
        return float(np.mean(scores)) if scores else 0.0

    baseline = {}
    if "train" in splits:
        train_examples = splits["train"].examples
        for split in task.dev_splits:
            baseline[split] = task.baseline(train_examples, splits[split].examples)
    return {
        "task": run.task,
        "metric": task.metric,
        "init_checkpoint": hub_files.name_copies(run.start.init_checkpoint),
        "examples": {name: len(split.examples) for name, split in splits.items()},
        "summary": summary,
        "baseline": baseline,
        "best_seed": max(outcomes, key=main_score),
        "seeds": {str(seed): outcome for seed, outcome in outcomes.items()},
    }


def _spread(values: list[float]) -> dict[str, Any]:
    return {
        "mean": float(np.mean(values)),
        "deviation": float(np.std(values, ddof=1)) if len(values) > 1 else None,
        "values": values,
    }


def describe(results: dict[str, Any]) -> Iterator[str]:
    """Yields one line a split: each metric with its mean, deviation and baseline."""
    for split, metrics in results["summary"].items():
        parts = []
        for metric, spread in metrics.items():
            deviation = spread["deviation"]
            around = "" if deviation is None else f" ± {deviation:.4f}"
            baseline = results["baseline"].get(split, {}).get(metric)
            beside = "" if baseline is None else f" (baseline {baseline:.4f})"
            parts.append(f"{metric} {spread['mean']:.4f}{around}{beside}")
        yield f"{results['task']}, {split}: {'  '.join(parts)}"


def warnings_of(
    run: FinetuningRun, results: dict[str, Any], splits: Mapping[str, Split]
) -> Iterator[str]:
    """Yields a line for each thing that makes a model useless and a score may not show.

    Args:
        run: the one in whose folder the diagnoses of its seeds lie.
        results: what `summarize` returned.
    """
    path = pathlib.Path(run.output_dir) / f"seed-{results['best_seed']}" / _DIAGNOSIS_FILE
    diagnoses = json_files.read_object(path, largest_bytes=None) if path.exists() else {}
    metric = results["metric"]
    if results["task"] == "squad2" and run.train and not results["summary"]:
        yield (
            "Warning: no dev set told from which score on a question has no answer: the model "
            "says so above 0, `null_threshold` in task.json"
        )
    for split, scores in results["summary"].items():
        missed = _never_found(diagnoses.get(split, {}))
        if missed:
            remedies = ["more of its examples", "longer training"]
            if not run.training.class_weights and results["task"] != "race":
                remedies.append("`class_weights=balanced`")
            if "macro_f1" in scores and metric != "macro_f1":
                remedies.append("`metric=macro_f1`")
            yield (
                f"Warning: the best model never finds {', '.join(missed)} on {split}; what may "
                f"help: {', '.join(remedies)}"
            )
        baseline = results["baseline"].get(split, {}).get(metric)
        if baseline is not None and scores[metric]["mean"] <= baseline:
            few = run.train and _count_updates(run, splits) < _FEW_UPDATES
            longer = f"; what may help: `train_steps={_FEW_UPDATES}` in place of epochs"
            yield (
                f"Warning: {metric} {scores[metric]['mean']:.4f} on {split} is no better than "
                f"always saying the same, {baseline:.4f}{longer if few else ''}"
            )


def _count_updates(run: FinetuningRun, splits: Mapping[str, Split]) -> float:
    training = run.training
    rows = training.num_train_epochs * len(splits["train"].encoded)
    return training.train_steps or rows / training.batch_size


def _never_found(diagnosis: dict[str, Any]) -> list[str]:
    """Returns the classes or labels that are there and never rightly predicted."""
    if "label_scores" in diagnosis:
        scores = diagnosis["label_scores"]
        counts = scores["labels"], scores["gold"], scores["right"]
    elif "confusion" in diagnosis:
        confusion = np.array(diagnosis["confusion"]["counts"])
        counts = diagnosis["confusion"]["labels"], confusion.sum(axis=1), np.diag(confusion)
    else:
        return []
    return [label for label, gold, right in zip(*counts, strict=True) if gold and not right]


def keep_diagnosis(folder: str | os.PathLike, split: str, diagnosis: dict[str, Any]) -> None:
    """Adds to a seed's folder what the report shows of a split's predictions.

    Args:
        folder: of the seed.
        split: name.
        diagnosis: what `table.Task.diagnose` returned.
    """
    path = pathlib.Path(folder) / _DIAGNOSIS_FILE
    diagnoses = json_files.read_object(path, largest_bytes=None) if path.exists() else {}
    values = {
        "errors": [dataclasses.asdict(error) for error in diagnosis["errors"][:_KEPT_ERRORS]],
        "num_errors": len(diagnosis["errors"]),
    }
    if "confusion" in diagnosis:
        confusion = diagnosis["confusion"]
        values["confusion"] = {
            "labels": list(confusion.labels),
            "counts": np.asarray(confusion.counts).tolist(),
        }
    for name in ("histogram", "label_scores"):
        if name in diagnosis:
            values[name] = dataclasses.asdict(diagnosis[name])
    whole_files.write_json(path, {**diagnoses, split: values})


def write(
    output_dir: str | os.PathLike,
    run: FinetuningRun,
    task: Task,
    splits: dict[str, Split],
    outcomes: dict[int, dict[str, Any]],
    results: dict[str, Any],
    problems: InputProblems,
) -> None:
    """Writes `results.json`, `report.html` and `learning_curve.png`; arguments as of `summarize`.

    Args:
        output_dir: of the run.
        results: what `summarize` returned.
        problems: what reading met.
    """
    output_dir = pathlib.Path(output_dir)
    whole_files.write_json(output_dir / "results.json", results)
    histories = {
        str(seed): metric_log.read_metrics(output_dir / f"seed-{seed}" / "metrics.jsonl")
        for seed in outcomes
    }
    best_steps = {
        str(seed): outcome["best_step"]
        for seed, outcome in outcomes.items()
        if outcome["best_step"] is not None
    }
    diagnosis_file = output_dir / f"seed-{results['best_seed']}" / _DIAGNOSIS_FILE
    diagnoses = {}
    if diagnosis_file.exists():
        diagnoses = json_files.read_object(diagnosis_file, largest_bytes=None)
    train_examples = splits["train"].examples if "train" in splits else []
    content = ReportContent(
        title=f"{run.task}, from {results['init_checkpoint']}",
        **_settings_of(run),
        main_metric=task.metric,
        results={
            split: {
                str(seed): {
                    kind: outcome[kind][split]
                    for kind in ("best", "last")
                    if split in outcome[kind]
                }
                for seed, outcome in outcomes.items()
            }
            for split in task.dev_splits
        },
        best_steps=best_steps,
        baselines=results["baseline"],
        histories=histories,
        notes=[*problems.notes(), *warnings_of(run, results, splits)],
        train_counts=collections.Counter(class_balance.classes_of(task, train_examples)),
        best_seed=str(results["best_seed"]),
        **_restore(diagnoses),
    )
    write_report(output_dir / "report.html", content)
    if content.learning_curves:
        whole_files.write_bytes(output_dir / "learning_curve.png", content.learning_curves)


def _restore(diagnoses: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Returns what `keep_diagnosis` kept of the first split as arguments of `ReportContent`."""
    split, values = next(iter(diagnoses.items()), ("", {"errors": []}))
    histogram, confusion = values.get("histogram"), values.get("confusion")
    label_scores = values.get("label_scores")
    errors = [ErrorSample(**error) for error in values["errors"]]
    return {
        "diagnosed": split,
        "confusion": confusion
        and Confusion(confusion["labels"], np.array(confusion["counts"], int)),
        "histogram": histogram and ScoreHistogram(**histogram),
        "label_scores": label_scores and LabelScores(**label_scores),
        "errors": errors,
        "num_errors": values.get("num_errors", len(errors)),
    }


def _settings_of(run: FinetuningRun) -> dict[str, dict[str, str]]:
    """Returns the settings of a run as arguments of `ReportContent`, apart from the defaults."""
    texts: dict[str, dict[str, str]] = {"settings": {}, "defaults": {}}
    values = run.values_by_name()
    for row in all_rows(type(run)):
        value = values[row.name]
        if value in (None, "", ()):
            continue
        text = ", ".join(map(str, value)) if row.is_list else hub_files.name_copies(str(value))
        texts["defaults" if value == row.default else "settings"][row.name] = text
    return texts
