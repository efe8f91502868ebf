"""Damaged and hostile files of every format: read, or refused in one sentence that names the file.

    ALBERT_TF_TORTURE=full python -m pytest -m torture tests/torture/test_mutated_files.py -s

Two processes read the files, one after the other each, and are watched from here: none may die by a
signal, take two minutes or 20 s of CPU, reserve more than 1 GiB beside what it had, or end in
anything but a message with the file's name. Which files there are is fixed by their numbers.

`ALBERT_TF_TORTURE` is "small" (the default: a few files of each format) or "full" (2,000 or more).
With `ALBERT_TF_TORTURE_TABLE` the outcomes by format are also written to a file of that name.
"""

import collections
import concurrent.futures
import json
import os
import pathlib
import queue
import re
import select
import signal
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).parent
# The names alone, because what is imported to read the formats takes seconds.
FORMATS = re.findall(r'^    "([^"]+)": Format\(', (HERE / "formats.py").read_text(), re.MULTILINE)
FILES_OF_EACH = {"small": 4, "full": 40}[os.environ.get("ALBERT_TF_TORTURE", "small")]
PROCESSES = 2
MOST_SECONDS = 120
GOOD = ("read", "refused")


def numbers_of(position):
    """Returns the numbers of a format's files; the few of a small run differ between formats."""
    if FILES_OF_EACH > 20:
        return range(FILES_OF_EACH)
    return [position % 10, (position + 5) % 10, *range(20, 18 + FILES_OF_EACH)]


class Reader:
    """A process of `read_mutated.py`, started anew after it died."""

    def __init__(self, folder):
        self._folder = folder
        self._process = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._stop()

    def _start(self):
        self._errors = open(self._folder.with_suffix(".stderr"), "ab")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "read_mutated.py"), str(self._folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        self._ask(f"0 {FORMATS[0]}", 600)

    def _stop(self):
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process.stdin.close()
            self._process.stdout.close()
            self._errors.close()
            self._process = None

    def _ask(self, line, seconds):
        """Returns the answer to a line, "" where the process ended, None where it hangs."""
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:  # it could not even start
            return ""
        ready, _, _ = select.select([self._process.stdout], [], [], seconds)
        return self._process.stdout.readline() if ready else None

    def read(self, number, name):
        """Returns what came of one file, as `read_mutated.read_case` says it."""
        if self._process is None:
            self._start()
        answer = self._ask(f"{number} {name}", MOST_SECONDS)
        if answer:
            return json.loads(answer)
        case = {"format": name, "number": number, "mutation": "?", "seconds": 0.0}
        if answer is None:
            outcome, detail = "hang", f"no answer within {MOST_SECONDS} s"
        else:
            code = self._process.wait()
            outcome = "signal" if code < 0 else "ended"
            detail = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        self._stop()
        return {**case, "outcome": outcome, "detail": detail}


def read_all(cases, folder):
    """Returns the outcomes of all cases, read by `PROCESSES` processes."""
    waiting = queue.Queue()
    for case in cases:
        waiting.put(case)

    def work(index):
        found = []
        with Reader(folder / f"reader-{index}") as reader:
            while True:
                try:
                    number, name = waiting.get_nowait()
                except queue.Empty:
                    return found
                found.append(reader.read(number, name))

    with concurrent.futures.ThreadPoolExecutor(PROCESSES) as pool:
        return [outcome for found in pool.map(work, range(PROCESSES)) for outcome in found]


def as_table(outcomes):
    """Returns the counts of outcomes by format as a table of Markdown."""
    counts = collections.defaultdict(collections.Counter)
    for outcome in outcomes:
        counts[outcome["format"]][outcome["outcome"]] += 1
        counts["all"][outcome["outcome"]] += 1
    kinds = [*GOOD, *sorted(counts["all"].keys() - set(GOOD))]
    rows = [["format", *kinds], ["---"] * (1 + len(kinds))]
    for name in [*FORMATS, "all"]:
        rows.append([name, *(str(counts[name][kind]) for kind in kinds)])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


@pytest.mark.torture
def test_mutated_files_are_read_or_refused_by_name(tmp_path):
    cases = [(n, name) for position, name in enumerate(FORMATS) for n in numbers_of(position)]
    outcomes = read_all(cases, tmp_path)
    table = as_table(outcomes)
    print(f"\n{table}")
    bad = sorted(
        (o for o in outcomes if o["outcome"] not in GOOD),
        key=lambda o: (o["format"], o["number"]),
    )
    if "ALBERT_TF_TORTURE_TABLE" in os.environ:
        lines = "".join(json.dumps(outcome) + "\n" for outcome in bad)
        pathlib.Path(os.environ["ALBERT_TF_TORTURE_TABLE"]).write_text(f"{table}\n{lines}")
    shown = "\n".join(
        f"{o['format']} {o['number']}, {o['mutation']}: {o['outcome']}\n{o['detail']}" for o in bad
    )
    assert len(outcomes) == len(cases)
    assert not bad, f"{len(bad)} of {len(cases)} files:\n{shown}"
