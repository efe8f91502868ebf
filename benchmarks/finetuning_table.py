"""What a small model reaches: task by task, beside random weights and published small BERTs.

    python benchmarks/finetuning_table.py --model_dir=runs/small --pairs_model_dir=runs/pairs \\
        --questions_model_dir=runs/questions --data_dir=data --output_dir=table

`data` holds `GLUE/`, `squad/` and `RACE/` as distributed. MRPC, STS-B and RTE start from what
`configs/quick_pairs.flags` made of the model, SQuAD from what `configs/quick_questions.flags` made
of it, where these are given; random weights have its architecture. Beside them stands what always
the most frequent answer reaches. Each run is `run_finetuning` with `configs/quick_<task>.flags` and
what `--flags` adds; what is finished is not run again, so the command can be killed, and `--no-run`
only makes the table of what is there.

Ours are of dev sets. BERT's are of GLUE's hidden test sets, as
https://github.com/google-research/bert publishes them, so they stand beside, not against.
"""

import argparse
import dataclasses
import json
import math
import pathlib
import subprocess
import sys

import time_to  # beside this file

from albert_tf.checkpoints import model_directory
from albert_tf.training import metric_log

ROOT = pathlib.Path(__file__).parents[1]
RANDOM = "random weights"
PAIRS, QUESTIONS = "pairs_model_dir", "questions_model_dir"
NOTHING = "–"


@dataclasses.dataclass(frozen=True)
class Task:
    """A row: how it is called, the metric, the data's folder, and what BERTs reach in it."""

    title: str
    metric: str
    folder: str
    bert_mini: float | None = None
    bert_small: float | None = None
    start: str = "model_dir"
    is_percent: bool = False  # as SQuAD's figures are reported


TASKS = {
    "sst2": Task("SST-2, accuracy", "accuracy", "GLUE", 85.9, 89.7),
    "mrpc": Task("MRPC, F1", "f1", "GLUE", 81.1, 83.4, PAIRS),
    "stsb": Task("STS-B, Pearson", "pearson", "GLUE", 75.4, 78.8, PAIRS),
    "rte": Task("RTE, accuracy", "accuracy", "GLUE", 57.9, 61.8, PAIRS),
    "cola": Task("CoLA, Matthews", "matthews", "GLUE", 0.0, 27.8),
    "squad1": Task("SQuAD 1.1, F1", "f1", "squad", start=QUESTIONS, is_percent=True),
    "race": Task("RACE, middle school, accuracy", "accuracy", "RACE"),
}
PARAMETERS = {"bert_mini": 11.3e6, "bert_small": 29.1e6}


def main():
    """Runs what is not there yet and prints the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model_dir", required=True, type=pathlib.Path)
    parser.add_argument(f"--{PAIRS}", type=pathlib.Path, help="--model_dir by default")
    parser.add_argument(f"--{QUESTIONS}", type=pathlib.Path, help="--model_dir by default")
    parser.add_argument("--data_dir", required=True, type=pathlib.Path)
    parser.add_argument("--output_dir", required=True, type=pathlib.Path)
    parser.add_argument("--squad_train_file", help="by default that in squad/")
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--random_seeds", default="0", help="of random weights; none if empty")
    parser.add_argument("--flags", default="", help="for run_finetuning, with blanks between them")
    parser.add_argument("--run", action=argparse.BooleanOptionalAction, default=True)
    arguments = parser.parse_args()
    name, about_model = arguments.model_dir.name, about_run(arguments.model_dir)
    rows = []
    for task in arguments.tasks.split(","):
        start = getattr(arguments, TASKS[task].start) or arguments.model_dir
        results = [results_of(arguments, task, *of) for of in ((RANDOM, None), (name, start))]
        rows.append(row_of(TASKS[task], results))
        print(" | ".join(rows[-1]), flush=True)
    rows += rows_about(about_model)
    titles = ["dev", "always the same", RANDOM, name, "BERT-Mini, test", "BERT-Small, test"]
    table = "\n".join(f"| {' | '.join(row)} |" for row in (titles, ["---"] * len(titles), *rows))
    print(f"\n{table}")
    arguments.output_dir.mkdir(parents=True, exist_ok=True)
    (arguments.output_dir / "table.md").write_text(table + "\n", encoding="utf-8")


def results_of(arguments, name, title, model_dir):
    """Returns the results of one task from one start, fine-tuned if need be, or None."""
    output = arguments.output_dir / name / title.replace(" ", "_")
    seeds = arguments.random_seeds if model_dir is None else arguments.seeds
    if arguments.run and seeds:
        fine_tune(arguments, name, model_dir, output, seeds)
    path = output / "results.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def fine_tune(arguments, name, model_dir, output, seeds):
    """Runs one task from a model directory, or from random weights."""
    first = arguments.model_dir
    weights = [f"--init_checkpoint={model_dir}"]
    if model_dir is None:
        weights = [
            "--init_checkpoint=random",
            f"--config={first / 'config.json'}",
            f"--vocab_model={first / 'spiece.model'}",
        ]
    output.parent.mkdir(parents=True, exist_ok=True)
    with open(output.parent / f"{output.name}.log", "a", encoding="utf-8") as log:
        subprocess.run(
            [
                *(sys.executable, "-m", "albert_tf.run_finetuning"),
                f"--flagfile={ROOT / 'configs' / f'quick_{name}.flags'}",
                *data_flags(arguments, name),
                f"--output_dir={output}",
                f"--cache_dir={arguments.output_dir / 'features'}",
                f"--seeds={seeds}",
                *weights,
                *arguments.flags.split(),
            ],
            check=True,
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def data_flags(arguments, name):
    """Returns where the data of a task lie."""
    folder = arguments.data_dir / TASKS[name].folder
    path = arguments.squad_train_file
    part = [f"--train_file={path}"] if name == "squad1" and path else []
    return [f"--data_dir={folder}", *part]


def row_of(task, results_of_starts):
    """Returns the cells of one task."""
    finished = [results for results in results_of_starts if results]
    cells = [task.title, NOTHING]
    if finished:
        (split,) = finished[0]["summary"]
        baseline = finished[0]["baseline"].get(split, {}).get(task.metric)
        cells[1] = NOTHING if baseline is None else in_percent(task, baseline)
    for results in results_of_starts:
        spread = results["summary"][split][task.metric] if results else None
        cells.append(NOTHING if spread is None else in_percent(task, spread["mean"]))
        if spread and spread["deviation"] is not None:
            cells[-1] += f" ± {in_percent(task, spread['deviation'])}"
    published = (task.bert_mini, task.bert_small)
    return cells + [NOTHING if figure is None else f"{figure:.1f}" for figure in published]


def rows_about(about_model):
    """Returns rows of what the models are: parameters, tokens and core-hours of pretraining."""
    parameters, tokens, hours = about_model
    published = [f"{count / 1e6:.1f}M" for count in PARAMETERS.values()]
    return [
        ["parameters", NOTHING, parameters, parameters, *published],
        ["tokens of pretraining", NOTHING, "0", tokens, *[NOTHING] * 2],
        ["core-hours of it", NOTHING, "0", hours, *[NOTHING] * 2],
    ]


def about_run(folder):
    """Returns parameters, tokens and core-hours of a run as cells."""
    tensors, _, _ = model_directory.open_weights(folder)
    parameters = f"{sum(math.prod(tensor.shape) for tensor in tensors.values()) / 1e6:.1f}M"
    if not (folder / "run.json").is_file():
        return parameters, NOTHING, NOTHING
    rows = [
        row for row in metric_log.read_metrics(folder / "metrics.jsonl") if row["split"] == "train"
    ]
    seen = time_to.tokens_until(folder, rows[-1]["step"])
    tokens = NOTHING if seen is None else f"{seen / 1e6:.0f}M"
    if not all("cpu_seconds" in row for row in rows):  # of an older version
        return parameters, tokens, NOTHING
    return parameters, tokens, f"{sum(row['cpu_seconds'] for row in rows) / 3600:.1f}"


def in_percent(task, value):
    """Returns a figure of a task as percent."""
    return f"{value if task.is_percent else 100 * value:.1f}"


if __name__ == "__main__":
    main()
