r"""Speed and memory of build_pretraining_data: raw text to records.

    python benchmarks/build_data.py --input='wiki/*' --vocab_model=30k-clean.model

Claim: at least 2 MB of raw text per second and core (dupe_factor 1, L=512), and less than 1.5 GB of
memory on 150 MB of Wikipedia. Each row is a run of the command line in a process of its own, so
that start-up counts. "per core" divides by CPU seconds, which other programs on the machine do not
change much. Memory is sampled over all processes of the run: `PSS` counts a page that several
processes share once, `RSS` is the largest single process.

For comparison, the original builder takes 22.5 s for 5.1 MB of the same text with everything in
memory (0.23 MB/s, measured under TensorFlow 2 on the same kind of machine).
"""

import json
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

from absl import app, flags

_INPUT = flags.DEFINE_string("input", None, "Text files, as the builder takes them.", required=True)
_VOCAB_MODEL = flags.DEFINE_string("vocab_model", None, "SentencePiece model.", required=True)
_NUM_WORKERS = flags.DEFINE_list("num_workers", ["1", "2"], "One row for each.")
_MAX_SEQ_LENGTH = flags.DEFINE_integer("max_seq_length", 512, "L of the records.")

_ROOT = pathlib.Path(__file__).parents[1]
_SECONDS_BETWEEN_SAMPLES = 0.2


def list_processes(parent):
    """Returns a process and all its descendants."""
    found = [parent]
    for thread in pathlib.Path(f"/proc/{parent}/task").glob("*/children"):
        try:
            children = thread.read_text().split()
        except OSError:  # it ended in between
            continue
        for child in children:
            found += list_processes(int(child))
    return found


def read_megabytes(process, file, field):
    """Returns a field of a file in /proc, in MB, or 0 where the process has ended."""
    try:
        lines = pathlib.Path(f"/proc/{process}/{file}").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(field + ":"))


def measure(command):
    """Runs a command; returns wall seconds, CPU seconds, peak PSS of all, peak RSS of one."""
    cpu_before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.monotonic()
    messages = tempfile.TemporaryFile("w+")  # a pipe that nobody empties would fill up
    process = subprocess.Popen(command, cwd=_ROOT, stderr=messages)
    peak_pss = peak_rss = 0.0
    while process.poll() is None:
        processes = list_processes(process.pid)
        peak_pss = max(
            peak_pss, sum(read_megabytes(one, "smaps_rollup", "Pss") for one in processes)
        )
        peak_rss = max(peak_rss, *(read_megabytes(one, "status", "VmHWM") for one in processes))
        time.sleep(_SECONDS_BETWEEN_SAMPLES)
    seconds = time.monotonic() - started
    if process.returncode:
        messages.seek(0)
        sys.exit(messages.read())
    cpu_after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_seconds = sum(
        getattr(cpu_after, name) - getattr(cpu_before, name) for name in ("ru_utime", "ru_stime")
    )
    return seconds, cpu_seconds, peak_pss, peak_rss


def main(_):
    """Prints one row for each number of workers."""
    print("workers | text MB | examples | seconds | MB/s | MB/s per core | PSS MB | RSS MB")
    for num_workers in _NUM_WORKERS.value:
        with tempfile.TemporaryDirectory() as folder:
            command = [
                *(sys.executable, "-m", "albert_tf.pipelines.build_pretraining_data"),
                *(f"--input={_INPUT.value}", f"--vocab_model={_VOCAB_MODEL.value}"),
                *(f"--output_dir={folder}", f"--num_workers={num_workers}", "--dupe_factor=1"),
                f"--max_seq_length={_MAX_SEQ_LENGTH.value}",
            ]
            seconds, cpu_seconds, peak_pss, peak_rss = measure(command)
            with open(os.path.join(folder, "summary.json"), encoding="utf-8") as file:
                summary = json.load(file)
        megabytes = summary["input"]["bytes_read"] / 1e6
        print(
            f"{num_workers:>7} | {megabytes:7.1f} | {summary['train_examples']:8} | {seconds:7.1f} "
            f"| {megabytes / seconds:4.1f} | {megabytes / cpu_seconds:13.1f} | {peak_pss:6.0f} "
            f"| {peak_rss:6.0f}",
            flush=True,
        )


if __name__ == "__main__":
    app.run(main)
