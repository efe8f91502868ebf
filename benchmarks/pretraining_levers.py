"""What each lever is worth to a small model that starts from nothing: a table and curves.

    python benchmarks/pretraining_levers.py --data_dir=tokens --output_dir=levers

`tokens` is what `build_pretraining_data --format=tokens` left, of 8,000 pieces. ALBERT-mini is
trained as often as there are levers, each run with one more than the one before it, on as many
tokens; a step costs about the same in all of them, and the table says the minutes, without those
of starting and of counting words. What is finished is not run again, so the command can be killed.
Beside the table it draws `levers.svg`.
"""

import argparse
import json
import pathlib
import subprocess
import sys

from matplotlib import figure

from albert_tf.config import AlbertConfig
from albert_tf.training import metric_log

# What each run adds to, or puts in the place of, the flags of the one before.
LEVERS = {
    "plain: AdamW at 1e-3, 0.02, 15%": {
        "optimizer": "adamw",
        "learning_rate": "1e-3",
        "initial_attention": "random",
        "initial_words": "random",
        "masked_lm_prob": "0.15",
        "initializer_range": 0.02,
    },
    "initializer_range 0.06": {"initializer_range": 0.06},
    "Muon at 6e-3": {"optimizer": "muon", "learning_rate": "6e-3"},
    "30% hidden, falling to 15%": {"masked_lm_prob": "0.30", "final_masked_lm_prob": "0.15"},
    "pointed attention": {"initial_attention": "pointed"},
    "counted words": {"initial_words": "counted"},
}
ALWAYS = {
    "beta_2": "0.98",
    "weight_decay": "0.01",
    "warmup_steps": "100",
    "batch_size": "32",
    "max_seq_length": "128",
    "ngram": "1",
    "whole_word_mask": "false",
    "precision": "mixed_bfloat16",
    "eval_batch_size": "128",
    "eval_examples": "2560",
    "eval_by_kind": "false",
    "keep_checkpoints": "1",
}
SPLIT, METRIC = "held_out_single", "masked_lm_accuracy"


def main():
    """Trains what is not there yet, prints the table as Markdown and draws the curves."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data_dir", required=True, type=pathlib.Path)
    parser.add_argument("--output_dir", required=True, type=pathlib.Path)
    parser.add_argument("--train_steps", default=750, type=int)
    arguments = parser.parse_args()
    curves, flags = {}, dict(ALWAYS)
    for number, (lever, added) in enumerate(LEVERS.items()):
        flags |= added
        output = arguments.output_dir / f"lever_{number}"
        train(arguments, flags, output)
        curves[lever] = read_curve(output)
        print(f"{lever}: {curves[lever][-1]['accuracy']:.1%}", flush=True)
    print("\n" + make_table(curves))
    draw(curves, arguments.output_dir / "levers.svg")


def train(arguments, flags, output):
    """Runs `run_pretraining`, which goes on with or leaves alone what is there."""
    flags = dict(flags)
    output.parent.mkdir(parents=True, exist_ok=True)
    config = AlbertConfig.from_preset("albert_mini").to_dict()
    config["initializer_range"] = flags.pop("initializer_range")
    config_file = output.with_suffix(".json")
    config_file.write_text(json.dumps(config), encoding="utf-8")
    interval_steps = max(1, arguments.train_steps // 15)
    with open(output.with_suffix(".log"), "a", encoding="utf-8") as log:
        subprocess.run(
            [
                *(sys.executable, "-m", "albert_tf.run_pretraining"),
                f"--config={config_file}",
                f"--data_dir={arguments.data_dir}",
                f"--output_dir={output}",
                f"--train_steps={arguments.train_steps}",
                *(
                    f"--{name}={interval_steps}"
                    for name in ("eval_steps", "log_steps", "checkpoint_steps")
                ),
                *(f"--{name}={value}" for name, value in flags.items()),
            ],
            check=True,
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def read_curve(output):
    """Returns tokens, core-minutes, accuracy and loss of each evaluation."""
    points, cpu_seconds = [], 0.0
    for row in metric_log.read_metrics(output / "metrics.jsonl"):
        if row["split"] == "train":
            cpu_seconds += row["cpu_seconds"]
        elif row["split"] == SPLIT:
            points.append(
                {
                    "tokens": row["step"]
                    * int(ALWAYS["batch_size"])
                    * int(ALWAYS["max_seq_length"]),
                    "core-minutes": cpu_seconds / 60,
                    "accuracy": row[METRIC],
                    "loss": row["masked_lm_loss"],
                }
            )
    return points


def make_table(curves):
    """Returns the last point of each curve, as Markdown."""
    rows = ["| with | held out, single tokens | loss | minutes of two cores |", "|---|---|---|---|"]
    for lever, (*_, last) in curves.items():
        minutes = last["core-minutes"] / 2
        rows.append(f"| {lever} | {last['accuracy']:.1%} | {last['loss']:.2f} | {minutes:.1f} |")
    return "\n".join(rows)


def draw(curves, path):
    """Draws accuracy against tokens and against minutes."""
    picture = figure.Figure(figsize=(11, 4.2), layout="constrained")
    panels = (("tokens", 1e6, "million tokens"), ("core-minutes", 2, "minutes of two cores"))
    for axes, (key, unit, title) in zip(picture.subplots(1, 2, sharey=True), panels, strict=True):
        for lever, points in curves.items():
            axes.plot(
                [point[key] / unit for point in points],
                [100 * point["accuracy"] for point in points],
                label=lever,
            )
        axes.set_xlabel(title)
        axes.grid(alpha=0.3)
    axes = picture.axes[0]
    axes.set_ylabel("held-out single tokens found, %")
    axes.legend(fontsize="small", title="each with what stands above it, too")
    picture.savefig(path)


if __name__ == "__main__":
    main()
