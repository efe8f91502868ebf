"""What pretraining is worth: one architecture, pretrained and from random weights, by task.

    python benchmarks/finetuning_table.py --model_dir=runs/mini --data_dir=data --output_dir=table

`data` holds `GLUE/`, `squad/` and `RACE/` as distributed. Beside both stands what always the most
frequent answer reaches. Each run is `run_finetuning` with `configs/quick_<task>.flags`; what is
finished is not run again, so the command can be killed.
"""

import argparse
import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[1]
# Where a task's data lies below --data_dir, the figure of the table, and how it is called there.
TASKS = {
    "sst2": ("GLUE", "accuracy", "SST-2, accuracy"),
    "mrpc": ("GLUE", "mean", "MRPC, mean of F1 and accuracy"),
    "cola": ("GLUE", "matthews", "CoLA, Matthews' correlation"),
    "stsb": ("GLUE", "mean", "STS-B, mean of Pearson and Spearman"),
    "rte": ("GLUE", "accuracy", "RTE, accuracy"),
    "squad1": ("squad", "f1", "SQuAD 1.1, F1"),
    "race": ("RACE", "accuracy", "RACE, middle school, accuracy"),
}
STARTS = {"random": "random weights", "pretrained": "pretrained"}


def main():
    """Runs what is not there yet and prints the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model_dir", required=True, type=pathlib.Path)
    parser.add_argument("--data_dir", required=True, type=pathlib.Path)
    parser.add_argument("--output_dir", required=True, type=pathlib.Path)
    parser.add_argument("--config", default="albert_mini", help="architecture of random weights")
    parser.add_argument("--squad_train_file", help="by default that in squad/")
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--starts", default=",".join(STARTS))
    parser.add_argument("--seeds", default="0,1,2")
    arguments = parser.parse_args()
    titles = [STARTS[start] for start in arguments.starts.split(",")]
    rows = []
    for task in arguments.tasks.split(","):
        results = [fine_tune(arguments, task, start) for start in arguments.starts.split(",")]
        rows.append(row_of(task, results))
        print(rows[-1], flush=True)
    table = "\n".join(
        [
            f"| dev set | always the same | {' | '.join(titles)} |",
            f"|---|---|{'---|' * len(titles)}",
            *rows,
        ]
    )
    print(f"\n{table}")
    (arguments.output_dir / "table.md").write_text(table + "\n", encoding="utf-8")


def fine_tune(arguments, task, start):
    """Runs one task from one of `STARTS`; returns its results."""
    output = arguments.output_dir / task / start
    if start == "pretrained":
        weights = [f"--init_checkpoint={arguments.model_dir}"]
    else:
        weights = [
            "--init_checkpoint=random",
            f"--config={arguments.config}",
            f"--vocab_model={arguments.model_dir / 'spiece.model'}",
        ]
    output.parent.mkdir(parents=True, exist_ok=True)
    with open(output.parent / f"{start}.log", "a", encoding="utf-8") as log:
        subprocess.run(
            [
                *(sys.executable, "-m", "albert_tf.run_finetuning"),
                f"--flagfile={ROOT / 'configs' / f'quick_{task}.flags'}",
                f"--data_dir={arguments.data_dir / TASKS[task][0]}",
                *more_flags(arguments, task),
                f"--output_dir={output}",
                f"--cache_dir={arguments.output_dir / 'features'}",
                f"--seeds={arguments.seeds}",
                *weights,
            ],
            check=True,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    return json.loads((output / "results.json").read_text(encoding="utf-8"))


def more_flags(arguments, task):
    """Returns where the training set lies if only a part of it is at hand."""
    path = arguments.squad_train_file
    return [f"--train_file={path}"] if task == "squad1" and path else []


def row_of(task, results_of_starts):
    """Returns one line of the table."""
    _, metric, title = TASKS[task]
    (split,) = results_of_starts[0]["summary"]
    baseline = results_of_starts[0]["baseline"].get(split, {}).get(metric)
    cells = ["–" if baseline is None else in_percent(baseline)]
    for results in results_of_starts:
        spread = results["summary"][split][metric]
        around = ""
        if spread["deviation"] is not None:
            around = f" ± {in_percent(spread['deviation'], spread['mean'])}"
        cells.append(in_percent(spread["mean"]) + around)
    return f"| {title} | {' | '.join(cells)} |"


def in_percent(value, scale=None):
    """Returns a share as percent; SQuAD's figures are percent already."""
    is_share = abs(value if scale is None else scale) <= 1
    return f"{100 * value if is_share else value:.1f}"


if __name__ == "__main__":
    main()
