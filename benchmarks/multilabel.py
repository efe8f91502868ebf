"""One model of several labels against one classifier a label, on sentences with labels by rule.

    python benchmarks/multilabel.py --books=books/ --vocab_model=30k-clean.model --output_dir=table

The sentences are those of books. A rule on the words says whether each asks, denies, speaks of a
woman or of a number; the mark at the end is taken away, and 3 in 100 labels of training are turned
around. All models start from the same random weights. One model takes as many steps as one
classifier, and as many as all of them together. What is finished is not run again, so the command
can be killed.
"""

import argparse
import csv
import dataclasses
import json
import pathlib
import re
import subprocess
import sys
import time

import numpy as np

from albert_tf import AlbertConfig, Tokenizer, read_documents
from albert_tf.tasks import metrics

SIZES = {"train": 6000, "dev": 1500, "test": 3000}
NOISE = 0.03
SMALL = {
    "embedding_size": 32,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "initializer_range": 0.1,
}
RULES = {
    "asks": re.compile(r"\?\W*$"),
    "denies": re.compile(r"\b(not|no|never|nothing|nobody|none|neither|nor)\b|n['’]t\b", re.I),
    "woman": re.compile(r"\b(she|her|hers|herself|mrs|miss|lady|mother|sister|wife)\b", re.I),
    "number": re.compile(
        r"\d|\b(two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|twenty|thirty|forty|"
        r"fifty|hundred|thousand)\b",
        re.I,
    ),
}


def main():
    """Runs what is not there yet and prints the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--books", required=True, type=pathlib.Path, help="plain text files")
    parser.add_argument("--vocab_model", required=True, type=pathlib.Path)
    parser.add_argument("--output_dir", required=True, type=pathlib.Path)
    parser.add_argument("--seeds", default="0,1")
    parser.add_argument("--train_steps", default=800, type=int)
    arguments = parser.parse_args()
    folder = arguments.output_dir
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "test.csv").exists():
        write_tables(arguments.books, folder)
    vocab_size = Tokenizer(str(arguments.vocab_model)).vocab_size
    config = dataclasses.replace(
        AlbertConfig.from_preset("albert_tiny"), vocab_size=vocab_size, **SMALL
    )
    (folder / "config.json").write_text(config.to_json_string())
    with open(folder / "test.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    gold = np.array([[row[name] == "1" for name in RULES] for row in rows])
    shares = ", ".join(f"{n} {s:.1%}" for n, s in zip(RULES, gold.mean(axis=0), strict=True))
    print(f"{len(rows):,} test sentences: {shares}")
    steps, label_columns = arguments.train_steps, f"--label_columns={','.join(RULES)}"
    said = {}  # {row of the table: bool [rows, labels] of each seed}
    for row, name, of_all in (
        ("one model, as many steps as one classifier", "together", steps),
        ("one model, as many steps as all classifiers", "longer", len(RULES) * steps),
    ):
        by_seed = run(arguments, name, "multilabel", of_all, label_columns)
        said[row] = [np.array([[n in r for n in RULES] for r in of_seed]) for of_seed in by_seed]
    apart = []
    for name in RULES:
        flags = (f"--label_column={name}", "--labels=0,1", "--metric=macro_f1")
        apart.append(run(arguments, name, "classification", steps, *flags))
    said["one classifier a label"] = [
        np.array([[label == "1" for label in predicted] for predicted in of_seed]).T
        for of_seed in zip(*apart, strict=True)
    ]
    print("| | micro F1 | macro F1 | all labels right | " + " | ".join(RULES) + " |")
    print("|---|---|---|---|" + "---|" * len(RULES))
    for name, by_seed in said.items():
        scores = [list(metrics.label_scores(gold, one).values()) for one in by_seed]
        of_labels = [metrics.f1_of_counts(*metrics.label_counts(gold, one)) for one in by_seed]
        columns = np.concatenate([scores, of_labels], axis=1).T  # [columns, seeds]
        print(f"| {name} | " + " | ".join(map(describe, columns)) + " |")


def describe(values):
    """Returns the mean and the deviation over seeds."""
    if len(values) == 1:
        return f"{values[0]:.3f}"
    return f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}"


def run(arguments, name, task, steps, *flags):
    """Trains unless that is done; returns the predictions of each seed for the test sentences."""
    folder, output = arguments.output_dir, arguments.output_dir / name
    command = [sys.executable, "-m", "albert_tf.run_finetuning", f"--task={task}", *flags]
    command += [f"--{split}_file={folder / split}.csv" for split in SIZES]
    command += ["--predict_test", "--max_seq_length=48", "--pad_to_max_length"]
    command += ["--init_checkpoint=random", f"--config={folder / 'config.json'}"]
    command += [f"--vocab_model={arguments.vocab_model}", f"--output_dir={output}"]
    command += [f"--seeds={arguments.seeds}", "--learning_rate=2e-3"]
    command += [f"--train_steps={steps}", f"--eval_steps={steps // 4}"]
    start = time.monotonic()
    subprocess.run(command, check=True, stdout=sys.stderr)
    print(f"{name}: {time.monotonic() - start:.0f} s", flush=True)
    paths = [output / f"seed-{seed}" / "predictions" / "test.jsonl" for seed in seeds(arguments)]
    return [
        [json.loads(line)["prediction"] for line in path.read_text().splitlines()] for path in paths
    ]


def seeds(arguments):
    """Returns the seeds in the order in which they were asked for."""
    return arguments.seeds.split(",")


def write_tables(books, folder):
    """Writes `train.csv`, `dev.csv` and `test.csv`, which share no sentence."""
    sentences = {
        sentence
        for path in sorted(books.glob("*.txt"))[:40]
        for document in read_documents(str(path))
        for sentence in document.sentences
        if 6 <= len(sentence.split()) <= 30
    }
    generator = np.random.default_rng(0)
    drawn = iter(generator.permutation(sorted(sentences)))
    for split, count in SIZES.items():
        with open(folder / f"{split}.csv", "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["text", *RULES])
            for _ in range(count):
                sentence = str(next(drawn))
                labels = np.array([bool(rule.search(sentence)) for rule in RULES.values()])
                if split == "train":
                    labels ^= generator.random(len(labels)) < NOISE
                writer.writerow([re.sub(r"[\W_]+$", "", sentence), *map(int, labels)])


if __name__ == "__main__":
    main()
