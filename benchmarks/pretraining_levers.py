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

import time_to  # beside this file

from albert_tf.config import AlbertConfig

# What each run adds to, or puts in the place of, the flags of the one before.
LEVERS = {
    "plain: AdamW at 1e-3, 0.02, 15%": {
        "optimizer": "adamw",
        "learning_rate": "1e-3",
        "initial_attention": "random",
        "initial_words": "random",
        "masked_lm_prob": "0.15",
        "weight_decay": "0.01",
        "initializer_range": 0.02,
    },
    "initializer_range 0.06": {"initializer_range": 0.06},
    "Muon at 6e-3": {"optimizer": "muon", "learning_rate": "6e-3"},
    "30% hidden, falling to 15%": {"masked_lm_prob": "0.30", "final_masked_lm_prob": "0.15"},
    "pointed attention": {"initial_attention": "pointed"},
    "counted words": {"initial_words": "counted"},
    "segments that overlap": {"overlap_prob": "0.3"},
    "weight decay 0.1": {"weight_decay": "0.1"},
}
ALWAYS = {
    "beta_2": "0.98",
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
SPLIT = "held_out_single"


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
        curves[lever] = time_to.read_points(output, SPLIT)
        print(f"{lever}: {curves[lever][-1][-1]:.1%}", flush=True)
    print("\n" + make_table(curves))
    tokens_a_step = int(ALWAYS["batch_size"]) * int(ALWAYS["max_seq_length"])
    time_to.draw(
        list(curves.items()),
        [lambda step: step * tokens_a_step] * len(curves),
        arguments.output_dir / "levers.svg",
        "each with what stands above it, too",
    )


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


def make_table(curves):
    """Returns the last point of each curve, as Markdown."""
    rows = ["| with | held out, single tokens | minutes of two cores |", "|---|---|---|"]
    for lever, points in curves.items():
        _, _, core_minutes, accuracy = points[-1]
        rows.append(f"| {lever} | {accuracy:.1%} | {core_minutes / 2:.1f} |")
    return "\n".join(rows)


if __name__ == "__main__":
    main()
