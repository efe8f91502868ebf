"""Runs of several workers that lose some, or are told to stop, and go on with another number.

    python kill_workers.py FOLDER KILLS     prints one line of JSON: the counts, and what went wrong

It is run by `test_kills.py`. Each worker is a fork of this process, as in `kill_runs.py`. At random
moments a worker or the chief dies by SIGKILL, or one is sent SIGTERM; then all must end within a
minute, and the run goes on with one, two or four workers. In the end its weights and figures must
be those of one process that nobody disturbed, to the bit.
"""

import json
import os
import pathlib
import random
import signal
import socket
import sys
import time

import kill_runs
import tensorflow as tf
import tiny_pretraining
from kill_runs import content_of, find_halves, prepare, start

from albert_tf.pretraining import pretrain

NUMBERS = (1, 2, 2, 4)
LONGEST = 60  # seconds in which all must have ended
SETTINGS = {
    "exact": True,
    "exact_parts": 4,
    "batch_size": 8,
    "train_steps": 400,
    "eval_steps": 100,
    "checkpoint_steps": 20,
    "keep_checkpoints": 1,
    "log_steps": 10,
}


def run_worker(data, addresses, number, folder):
    """Runs one worker to the end."""
    tf.config.threading.set_intra_op_parallelism_threads(1)
    if len(addresses) > 1:
        task = {"type": "worker", "index": number}
        os.environ["TF_CONFIG"] = json.dumps({"cluster": {"worker": addresses}, "task": task})
    run = tiny_pretraining.make_run(
        data / "records", data / "config.json", folder, settings=SETTINGS
    )
    pretrain.pretrain(run, report=lambda line: print(line, flush=True))


class Cluster:
    """The workers of one start of a run."""

    def __init__(self, data, folder, log, count):
        sockets = [socket.create_server(("localhost", 0)) for _ in range(count)]
        addresses = [f"localhost:{one.getsockname()[1]}" for one in sockets]
        for one in sockets:
            one.close()
        self._log, self._size = log, log.stat().st_size if log.exists() else 0
        self.children = [
            start(log, run_worker, data, addresses, number, folder) for number in range(count)
        ]

    def wait_until_it_trains(self):
        """Waits for the first line of progress of this start."""
        deadline = time.monotonic() + 120
        while "tokens/s" not in self._log.read_text()[self._size :]:
            if time.monotonic() > deadline:
                raise SystemExit(f"a run of several workers does not begin, see {self._log}")
            time.sleep(0.02)

    def signal(self, number, worker):
        """Sends a signal to one worker, if it is still there."""
        os.kill(self.children[worker], number)

    def end(self, seconds):
        """Returns the exit status of each worker; None for those that had to be killed."""
        deadline, statuses = time.monotonic() + seconds, {}
        while len(statuses) < len(self.children) and time.monotonic() < deadline:
            for number, child in enumerate(self.children):
                if number not in statuses:
                    ended, status = os.waitpid(child, os.WNOHANG)
                    if ended:
                        statuses[number] = os.waitstatus_to_exitcode(status)
            time.sleep(0.02)
        for number, child in enumerate(self.children):
            if number not in statuses:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
        return [statuses.get(number) for number in range(len(self.children))]


def disturb(cluster, chance, seconds, counts):
    """Kills or stops one of a cluster at a random moment; notes what came of it."""
    cluster.wait_until_it_trains()
    time.sleep(chance.random() * seconds)
    workers = len(cluster.children)
    victim = chance.choice([0, chance.randrange(workers)])
    number = chance.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM])
    cluster.signal(number, victim)
    began = time.monotonic()
    statuses = cluster.end(LONGEST)
    counts["longest_end"] = round(max(counts["longest_end"], time.monotonic() - began), 1)
    if number == signal.SIGTERM:
        counts["stopped"] += statuses == [143] * workers
        expected = [{143, 0}] * workers
    else:
        kind = "chief_kills" if victim == 0 else "worker_kills"
        counts[kind] += statuses[victim] == -signal.SIGKILL
        # A process that lost the chief may be ended by TensorFlow itself.
        expected = [{0, 1, -signal.SIGABRT}] * workers
        expected[victim] = {-signal.SIGKILL, 0}
    if any(s not in e for s, e in zip(statuses, expected, strict=True)):
        counts["wrong"].append(f"{number.name} to worker {victim} of {workers}: {statuses}")


def main(folder, kills):
    """Disturbs runs until there were so many kills; returns the counts."""
    names = ("chief_kills", "worker_kills", "stopped", "runs", "same_bits", "longest_end")
    counts = {**dict.fromkeys(names, 0), "wrong": []}
    data, log = folder / "data", folder / "workers.txt"
    folder.mkdir(parents=True)
    if kill_runs.wait(start(log, prepare, data)):
        raise SystemExit(f"what the runs read could not be written, see {log}")
    straight = folder / "straight"
    cluster = Cluster(data, straight, log, 1)
    cluster.wait_until_it_trains()
    began = time.monotonic()
    if cluster.end(300) != [0]:
        raise SystemExit(f"the undisturbed run failed, see {log}")
    seconds, expected = time.monotonic() - began, content_of(straight)
    chance = random.Random(0)
    while counts["chief_kills"] + counts["worker_kills"] < kills and counts["runs"] < kills:
        counts["runs"] += 1
        own = folder / str(counts["runs"])
        for _ in range(3):
            disturb(Cluster(data, own, log, chance.choice(NUMBERS)), chance, seconds / 2, counts)
            counts["wrong"] += find_halves(own)
            if (own / "config.json").exists():
                break
        statuses = Cluster(data, own, log, chance.choice(NUMBERS)).end(300)
        content = content_of(own)
        different = [n for n in {*content, *expected} if content.get(n) != expected.get(n)]
        if any(statuses) or different:
            counts["wrong"].append(f"run {counts['runs']} ended with {statuses}: {different}")
        else:
            counts["same_bits"] += 1
        print(counts, file=sys.stderr, flush=True)
    return counts


if __name__ == "__main__":
    print(json.dumps(main(pathlib.Path(sys.argv[1]), int(sys.argv[2]))))
