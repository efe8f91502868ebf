"""Builds on Apache Beam that lose their driver, a worker or all, and are given again.

    python kill_beam.py FOLDER KILLS     prints one line of JSON: the counts, and what went wrong

It is run by `test_kills.py`. At random moments of a build on the DirectRunner, in one process or in
several, processes die by SIGKILL. In the end the folder holds the bytes of a build without Beam.
"""

import dataclasses
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).parents[2]
TESTDATA = ROOT / "tests" / "testdata"
LONGEST = 180  # seconds in which a build must have ended
MODES = ("", "--direct_running_mode=multi_processing --direct_num_workers=2")
FLAGS = [
    f"--input={TESTDATA}/corpus/*book*.txt,{TESTDATA}/corpus/wiki_00",
    f"--vocab_model={TESTDATA}/vocabulary.model",
    "--num_shards=8",
    "--held_out_fraction=0.2",
]
FORMS = {
    "records": ["--max_seq_length=32", "--max_predictions_per_seq=5"],
    "tokens": ["--format=tokens"],
}


def start(folder, log, form, *flags):
    """Returns a build in a process group of its own."""
    command = [sys.executable, "-m", "albert_tf.pipelines.build_pretraining_data"]
    with log.open("a") as file:
        return subprocess.Popen(
            [*command, *FLAGS, *FORMS[form], f"--output_dir={folder}", *flags],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def content_of(folder):
    """Returns {file: bytes} of a build."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def has_ended(process, deadline):
    """Whether a process ends in time."""
    try:
        process.wait(max(0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        return False
    return True


def pids_of(group):
    """Returns the processes of a group but its leader."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended meanwhile
        if int(fields[2]) == group and int(path.parent.name) != group and fields[0] != "Z":
            found.append(int(path.parent.name))
    return found


@dataclasses.dataclass
class Disturber:
    """Kills builds at random moments, and counts."""

    chance: random.Random
    seconds: float
    counts: dict

    def disturb(self, process, folder):
        """Kills the driver, a worker or all of a build, and waits until it is over."""
        deadline = time.monotonic() + LONGEST
        while not (folder / ".work").exists() and process.poll() is None:
            time.sleep(0.01)
        if has_ended(process, time.monotonic() + self.chance.random() * self.seconds):
            return
        whom, workers = self.chance.choice(["all", "driver", "worker"]), pids_of(process.pid)
        if whom == "worker" and workers:
            os.kill(self.chance.choice(workers), signal.SIGKILL)
        elif whom == "all":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        self.counts["kills"] += 1
        if not has_ended(process, deadline):
            os.killpg(process.pid, signal.SIGKILL)
            self.counts["wrong"].append(f"a build that lost its {whom} does not end")
        while pids_of(process.pid) and time.monotonic() < deadline:
            time.sleep(0.05)  # workers end what they are at
        if pids_of(process.pid):
            os.killpg(process.pid, signal.SIGKILL)
            self.counts["wrong"].append("workers outlive their driver")


def main(folder, kills):
    """Disturbs builds until there were so many kills; returns the counts."""
    counts = {"kills": 0, "builds": 0, "same_bytes": 0, "wrong": []}
    folder.mkdir(parents=True)
    log, chance, expected = folder / "builds.txt", random.Random(0), {}
    for form in FORMS:
        if start(folder / form, log, form, "--num_workers=1").wait():
            raise SystemExit(f"the undisturbed build failed, see {log}")
        expected[form] = content_of(folder / form)
    while counts["kills"] < kills and counts["builds"] < kills:
        counts["builds"] += 1
        form, own = chance.choice(list(FORMS)), folder / str(counts["builds"])
        on_beam = ["--beam_runner=FnApiRunner", "--num_tasks=4"]
        for _ in range(3):
            mode = chance.choice(MODES)
            process = start(own, log, form, *on_beam, f"--beam_options={mode}")
            Disturber(chance, 12 if mode else 4, counts).disturb(process, own)
            if (own / "summary.json").exists():
                break
        status = start(own, log, form, *on_beam).wait()
        content = content_of(own)
        names = {*content, *expected[form]}
        different = [name for name in names if content.get(name) != expected[form].get(name)]
        if status or different:
            counts["wrong"].append(f"build {counts['builds']} ended with {status}: {different}")
        else:
            counts["same_bytes"] += 1
        print(counts, file=sys.stderr, flush=True)
    return counts


if __name__ == "__main__":
    print(json.dumps(main(pathlib.Path(sys.argv[1]), int(sys.argv[2]))))
