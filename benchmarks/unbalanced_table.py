"""What class weights are worth at nine to one: 2,700 positive and 300 negative sentences of SST-2.

    python benchmarks/unbalanced_table.py --model_dir=runs/mini --data_dir=GLUE --output_dir=table

Trains with the defaults, and with `--class_weights=balanced --metric=macro_f1`; scores are those of
1,000 other training sentences with the same shares, on which the best checkpoint was chosen, and of
as many on which nothing was. What is finished is not run again, so the command can be killed.
"""

import argparse
import csv
import json
import pathlib
import subprocess
import sys

import numpy as np

from albert_tf.tasks import metrics

SIZES = {"train": (300, 2700), "dev": (100, 900), "test": (100, 900)}  # negative, positive
RUNS = {
    "default": (),
    "balanced, macro F1": ("--class_weights=balanced", "--metric=macro_f1"),
}


def main():
    """Runs what is not there yet and prints the table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model_dir", required=True, type=pathlib.Path)
    parser.add_argument("--data_dir", required=True, type=pathlib.Path, help="holds SST-2/")
    parser.add_argument("--output_dir", required=True, type=pathlib.Path)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--flags", nargs="*", default=[], help="more flags of run_finetuning")
    arguments = parser.parse_args()
    arguments.output_dir.mkdir(parents=True, exist_ok=True)
    write_tables(arguments.data_dir / "SST-2" / "train.tsv", arguments.output_dir)
    print("| | dev macro F1 | dev accuracy | test macro F1 | test accuracy |")
    print("|---|---|---|---|---|")
    for name, flags in RUNS.items():
        output = arguments.output_dir / name.replace(", ", "-").replace(" ", "-")
        subprocess.run(
            [
                *(sys.executable, "-m", "albert_tf.run_finetuning", "--task=classification"),
                f"--train_file={arguments.output_dir / 'train.jsonl'}",
                f"--dev_file={arguments.output_dir / 'dev.jsonl'}",
                f"--test_file={arguments.output_dir / 'test.jsonl'}",
                *("--predict_test", "--max_seq_length=64", "--learning_rate=5e-4"),
                *(f"--init_checkpoint={arguments.model_dir}", f"--output_dir={output}"),
                *(f"--seeds={arguments.seeds}", *arguments.flags, *flags),
            ],
            check=True,
            stdout=sys.stderr,
        )
        cells = scores_of(output, arguments.output_dir / "test.jsonl")
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def write_tables(path, folder):
    """Writes `train.jsonl`, `dev.jsonl` and `test.jsonl`, which share no sentence."""
    with open(path, encoding="utf-8", newline="") as file:
        label_of = {
            row["sentence"].strip(): row["label"]
            for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        }
    generator = np.random.default_rng(0)
    pools = [
        list(generator.permutation([text for text, label in label_of.items() if label == wanted]))
        for wanted in "01"
    ]
    for split, counts in SIZES.items():
        rows = [
            {"text": pool.pop(), "label": name}
            for pool, name, count in zip(pools, ("negative", "positive"), counts, strict=True)
            for _ in range(count)
        ]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def scores_of(output, test_file):
    """Returns macro F1 and accuracy of dev and test, each as the mean and deviation over seeds."""
    results = json.loads((output / "results.json").read_text())
    found = {name: results["summary"]["dev"][name]["values"] for name in ("macro_f1", "accuracy")}
    gold = [json.loads(line)["label"] for line in test_file.read_text().splitlines()]
    said = [
        [json.loads(line)["prediction"] for line in path.read_text().splitlines()]
        for path in (output / f"seed-{seed}/predictions/test.jsonl" for seed in results["seeds"])
    ]
    columns = [
        *found.values(),
        *([metrics.METRICS[name](gold, labels) for labels in said] for name in found),
    ]
    if len(said) == 1:
        return [f"{value:.3f}" for (value,) in columns]
    return [f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}" for values in columns]


if __name__ == "__main__":
    main()
