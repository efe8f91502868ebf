"""What pretraining is worth: one architecture, pretrained, in part, and untrained, by task.

    python benchmarks/finetuning_table.py --model_dir=runs/mini --data_dir=data --output_dir=table

`data` holds `GLUE/`, `squad/` and `RACE/` as distributed. Beside the most frequent answer stands,
for pairs of texts and for passages with options, what a regression on the words that both have in
common reaches. The untrained starts are random weights, and random weights with
`--initial_attention=matching`, from which the pretraining recipe starts. In between stand the
pretrained embeddings below such a start of the block. Each run is `run_finetuning` with
`configs/quick_<task>.flags`; what is finished is not run again, so the command can be killed.
"""

import argparse
import json
import pathlib
import re
import subprocess
import sys

import numpy as np
from sklearn.linear_model import LinearRegression, LogisticRegression

from albert_tf.pipelines.task_data.input_problems import InputProblems
from albert_tf.tasks.table import TaskOptions, make_task

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
STARTS = {
    "random": "random weights",
    "matching": "matching heads, not pretrained",
    "embeddings": "pretrained embeddings, block not",
    "pretrained": "pretrained",
}


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
        found = {start: fine_tune(arguments, task, start) for start in arguments.starts.split(",")}
        rows.append(row_of(task, found, common_words(arguments, task)))
        print(rows[-1], flush=True)
    table = "\n".join(
        [
            f"| dev set | always the same | common words | {' | '.join(titles)} |",
            f"|---|---|---|{'---|' * len(titles)}",
            *rows,
        ]
    )
    print(f"\n{table}")
    (arguments.output_dir / "table.md").write_text(table + "\n", encoding="utf-8")


def fine_tune(arguments, task, start):
    """Runs one task from one of `STARTS`; returns its results."""
    output = arguments.output_dir / task / start
    if start in ("embeddings", "pretrained"):
        weights = [f"--init_checkpoint={arguments.model_dir}"]
        if start == "embeddings":
            weights += ["--init_parts=embeddings", "--initial_attention=matching"]
    else:
        weights = [
            "--init_checkpoint=random",
            f"--initial_attention={start}",
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


def common_words(arguments, task):
    """Returns the figure of a regression on shares of common words; None where it has no sense."""
    folder, metric, _ = TASKS[task]
    options = TaskOptions(data_dir=str(arguments.data_dir / folder), levels=("middle",))
    described = make_task(task, options, InputProblems())
    if folder == "RACE":
        predict = options_by_common_words
    elif folder == "GLUE" and described.is_pair:
        predict = pairs_by_common_words
    else:
        return None
    train, dev = described.read("train"), described.read("dev")
    return described.score(dev, predict(train, dev))[metric]


def pairs_by_common_words(train, dev):
    """Returns the labels of pairs by a regression on `overlaps`, linear for numbers."""
    train_features, dev_features = (
        overlaps((example.text_a, example.text_b) for example in split) for split in (train, dev)
    )
    labels = [example.label for example in train]
    make = LinearRegression if isinstance(labels[0], float) else LogisticRegression
    model = make().fit(train_features, labels)
    return model.predict(dev_features).tolist()


def options_by_common_words(train, dev):
    """Returns the likeliest options by a regression on `overlaps` beyond those of the others."""

    def features(questions):
        pairs = ((asked.passage, option) for asked in questions for option in asked.options)
        rows = overlaps(pairs).reshape(len(questions), -1, 3)
        return rows - rows.mean(axis=1, keepdims=True)  # [questions, options, 3]

    found = features(train)
    labels = np.array([asked.label for asked in train])
    is_right = np.arange(found.shape[1]) == labels[:, None]
    model = LogisticRegression().fit(found.reshape(-1, 3), is_right.ravel())
    return (features(dev) @ model.coef_[0]).argmax(axis=1).tolist()


def overlaps(pairs):
    """Returns for each pair the shares of common words in all, in the first, in the second."""
    rows = []
    for texts in pairs:
        first, second = (set(re.findall(r"\w+", text.lower())) for text in texts)
        common = len(first & second)
        sizes = (len(first | second), len(first), len(second))
        rows.append([common / max(size, 1) for size in sizes])
    return np.array(rows)


def row_of(task, found, by_common_words):
    """Returns one line of the table."""
    _, metric, title = TASKS[task]
    first = next(iter(found.values()))
    (split,) = first["summary"]
    baseline = first["baseline"][split].get(metric)
    cells = ["–" if v is None else in_percent(v) for v in (baseline, by_common_words)]
    for results in found.values():
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
