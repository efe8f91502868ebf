r"""Records beside stored tokens, from small to large: speed, memory, disk, and the way to a batch.

    python benchmarks/data_scale.py --input='wiki/*' --vocab_model=30k-clean.model
    python benchmarks/data_scale.py --input='wiki/*' --vocab_model=30k-clean.model --sizes=10

The text of a size is the input, over and over, with a word of its own in every paragraph of a
repetition, so that no document is there twice. Both forms are built by the command line in
processes of their own (`build_data`), in the way of `--way`. Of each size: MB of text a second, by
number of workers; peak memory; bytes on disk for a million tokens (records with dupe_factor 1, of
which ten take ten times that); seconds from the first line of a process to its first batch; and of
stored tokens how many a second and core are made into examples, and the seconds of a pass's plan.
"""

import json
import os
import pathlib
import shlex
import subprocess
import sys
import tempfile

import build_data
from absl import app, flags

from albert_tf.pipelines.text import corpus

FLAGS = flags.FLAGS
flags.DEFINE_list("sizes", ["10", "100", "1000"], "MB of text.")
flags.DEFINE_list("formats", ["records", "tokens"], "Forms to build.")
flags.DEFINE_enum(
    "way",
    "pool",
    ["pool", "tasks", "beam"],
    "One command with a pool of processes; tasks as a scheduler starts them; Apache Beam's.",
)

_FIRST_BATCH = """
import time
start = time.perf_counter()
import sys
from albert_tf import pretraining_dataset
folder, length, form = sys.argv[1], int(sys.argv[2]), sys.argv[3]
files = f"{folder}/train-*" if form == "records" else folder
imports = time.perf_counter() - start
batches = pretraining_dataset(files, 32, length, round(length * 0.15))
next(iter(batches))
print(imports, time.perf_counter() - start)
"""
_FRESH_SPEED = """
import sys, time
import numpy as np
from albert_tf import ExampleSettings, FreshExamples, TokenFolder
settings = ExampleSettings(max_seq_length=int(sys.argv[2])).with_predictions()
start = time.process_time()
examples = FreshExamples.from_folder(TokenFolder(sys.argv[1]), settings, seed=0)
plan = time.process_time() - start
examples.batch(np.arange(64))
start, tokens = time.process_time(), 0
for first in range(64, 64 + 64 * 40, 64):
    tokens += int(examples.batch(np.arange(first, first + 64))["input_mask"].sum())
print(plan, tokens / (time.process_time() - start))
"""


def main(_):
    """Prints one row for each size, form and number of workers."""
    print("text MB | form | workers | MB/s | PSS MB | MB for 1M tokens | imports s | first batch s")
    for size in FLAGS.sizes:
        with tempfile.TemporaryDirectory() as folder:
            text = pathlib.Path(folder) / "text"
            text.mkdir()
            write_text(text, int(size) * 1_000_000)
            for form in FLAGS.formats:
                for num_workers in FLAGS.num_workers:
                    output = os.path.join(folder, f"{form}-{num_workers}")
                    row = measure_build(text, output, form, num_workers)
                    print(f"{size:>7} | {form:7} | {num_workers} | {row}", flush=True)
                if form == "tokens":
                    plan, speed = run_python(_FRESH_SPEED, output, FLAGS.max_seq_length)
                    print(
                        f"        a pass is planned in {plan:.2f} s, {speed:,.0f} tokens/s of CPU"
                    )


def write_text(folder, size):
    """Writes copies of the input into a folder, until they have so many bytes."""
    files = corpus.list_input_files(FLAGS.input)
    written = repetition = 0
    while written < size:
        for number, path in enumerate(files):
            blocks = pathlib.Path(path).read_text(encoding="utf-8", errors="replace").split("\n\n")
            word = f"x{repetition}" if repetition else ""
            changed = "\n\n".join(f"{block} {word}".rstrip() for block in blocks)
            data = changed.encode()[: size - written]
            (folder / f"{repetition:03d}-{number:05d}.txt").write_bytes(data)
            written += len(data)
            if written >= size:
                return
        repetition += 1


def measure_build(text, output, form, num_workers):
    """Returns the cells of one build."""
    command = [sys.executable, "-m", "albert_tf.pipelines.build_pretraining_data"]
    command += [f"--input={text}/*.txt", f"--vocab_model={FLAGS.vocab_model}"]
    command += [f"--output_dir={output}", f"--format={form}"]
    if form == "records":
        command += ["--dupe_factor=1", f"--max_seq_length={FLAGS.max_seq_length}"]
    seconds, _, peak, _ = build_data.measure(in_way(command, int(num_workers)))
    folder = pathlib.Path(output)
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    size = sum(path.stat().st_size for path in folder.glob("train-*"))
    per_million = size / (summary["tokens"] - summary["held_out_tokens"])
    imports, first = run_python(_FIRST_BATCH, output, FLAGS.max_seq_length, form)
    speed = summary["input"]["bytes_read"] / 1e6 / seconds
    return f"{speed:5.1f} | {peak:6.0f} | {per_million:6.2f} | {imports:5.1f} | {first:5.1f}"


def in_way(command, num_workers):
    """Returns the command that builds with so many processes in the way of `--way`."""
    if FLAGS.way == "pool":
        return [*command, f"--num_workers={num_workers}"]
    if FLAGS.way == "beam":
        processes = f"--direct_running_mode=multi_processing --direct_num_workers={num_workers}"
        command += ["--beam_runner=FnApiRunner", f"--num_tasks={4 * num_workers}"]
        return [*command, f"--beam_options={processes}"]
    one_worker = shlex.join([*command, "--num_workers=1"])
    task = f"{one_worker} --num_tasks={num_workers} --task_index"
    all_tasks = "".join(f"{task}={index} & " for index in range(num_workers)) + "wait"
    # All texts, then all shards, then what checks and summarises.
    return ["sh", "-ec", f"{all_tasks}; {all_tasks}; {one_worker}"]


def run_python(code, *arguments):
    """Returns the numbers that a program prints."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [float(number) for number in done.stdout.split()]


if __name__ == "__main__":
    app.run(main)
