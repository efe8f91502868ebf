"""Training runs that are killed, stopped and started twice, and what is found afterwards.

    python kill_runs.py FOLDER KILLS     prints one line of JSON: the counts, and what went wrong

It is run by `test_kills.py`. TensorFlow is imported once and never used here: each run is a fork of
this process, so that it costs a second and not ten. A run dies by SIGKILL at its n-th touch of the
disk (opening, renaming, making or removing a file or folder), at a moment that a clock chose, or
is sent SIGTERM. Then everything visible must be whole, and the same run, started again, must end
with the bits of one that was never disturbed and with no file more or less.
"""

import dataclasses
import json
import os
import pathlib
import random
import signal
import sys
import time
import traceback

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
_TESTS = pathlib.Path(__file__).parents[1]
sys.path += [str(_TESTS / folder) for folder in ("finetuning", "training", "testdata")]

import keras  # noqa: E402
import numpy as np  # noqa: E402
import test_finetune  # noqa: E402
import test_loop  # noqa: E402
import tiny_pretraining  # noqa: E402
from samples import TESTDATA, VOCABULARY, tiny_config  # noqa: E402

from albert_tf import stop_signals, whole_files  # noqa: E402
from albert_tf.checkpoints.safetensors_files import read_safetensors  # noqa: E402
from albert_tf.finetuning import finetune  # noqa: E402
from albert_tf.model.language_models import AlbertForPretraining  # noqa: E402
from albert_tf.pipelines.building import build, tokenized_corpus  # noqa: E402
from albert_tf.pipelines.building.example_options import BuildOptions  # noqa: E402
from albert_tf.pipelines.examples import record_files  # noqa: E402
from albert_tf.pipelines.tokenizer.tokenization import Tokenizer  # noqa: E402
from albert_tf.pretraining import pretrain  # noqa: E402
from albert_tf.training import best_checkpoint, loop, progress, settings, train_step  # noqa: E402

# What Python reports before it touches a disk.
TOUCHES = {"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate"}
REFUSED = 3
# Pictures and pages with pictures; all else must have the bits of the undisturbed run.
UNLIKE = {".png", ".html"}


def prepare(data):
    """Writes what the runs read."""
    tokenizer = Tokenizer(VOCABULARY)
    records = data / "records"
    records.mkdir(parents=True)
    for name, count, seed in (("train", 64, 0), ("held_out", 16, 1)):
        examples = tiny_pretraining.make_examples(tokenizer, count, seed)
        tiny_pretraining.write_records(records / f"{name}-00000-of-00001.tfrecord", examples)
    tokenizer.save(records / "vocab.model")
    summary = {"vocab_fingerprint": tokenizer.fingerprint}
    (records / "summary.json").write_text(json.dumps(summary))
    (data / "config.json").write_text(tiny_config().to_json_string())
    keras.utils.set_random_seed(0)
    AlbertForPretraining(tiny_config()).save_pretrained(data / "model", tokenizer)


def run_loop(data, folder):
    """The loop alone, with a best checkpoint and a published file: a second, every step a save."""
    del data
    model, objective = test_loop.make_model(), test_loop.WeightedSquares()
    evaluate = train_step.make_evaluate(model, objective)
    scores = {}

    def evaluate_and_score():
        values = evaluate(test_loop.make_dataset(240, 42))
        return values | {"score": -values["squares_loss"]}

    with whole_files.only_run_in(folder):
        best = best_checkpoint.BestCheckpoint(
            folder, splits=("dev",), metric="score", save_files=lambda f: save_weights(f, model)
        )
        scores = loop.train(
            model=model,
            optimizer=keras.optimizers.Adam(0.05),
            objective=objective,
            make_dataset=test_loop.make_dataset,
            evaluations={"dev": evaluate_and_score},
            settings=settings.TrainingSettings(
                train_steps=8,
                batch_size=test_loop.B,
                eval_steps=2,
                checkpoint_steps=3,
                keep_checkpoints=1,
                log_steps=4,
            ),
            output_dir=folder,
            save_files=lambda f: save_weights(f, model),
            after_evaluation=best.after_evaluation,
            report=print,
        )
        whole_files.write_json(folder / "result.json", scores)


def save_weights(folder, model):
    for index, weight in enumerate(model.get_weights()):
        (folder / f"weight-{index}").write_bytes(weight.tobytes())


def run_pretraining(data, folder):
    run = tiny_pretraining.make_run(
        data / "records", data / "config.json", folder, settings={"checkpoint_steps": 2}
    )
    pretrain.pretrain(run, report=print)


def run_finetuning(data, folder):
    run = test_finetune.make_run(data, data / "model", batch_size=32)
    finetune.finetune(dataclasses.replace(run, output_dir=str(folder)))


def run_build(folder, **changes):
    build.build_examples(
        BuildOptions(
            input=(str(TESTDATA / "corpus" / "*book*.txt"), str(TESTDATA / "corpus" / "wiki_00")),
            vocab_model=str(VOCABULARY),
            output_dir=str(folder),
            num_workers=1,
            num_shards=3,
            held_out_fraction=0.2,
            **changes,
        )
    )


def run_tokens(data, folder):
    """Stored tokens by one process."""
    del data
    run_build(folder, format="tokens")


def run_tasks(data, folder):
    """Records by three tasks, twice, and the command that completes them."""
    del data
    for task in (0, 1, 2, 0, 1, 2):
        run_build(folder, max_seq_length=32, task_index=task, num_tasks=3)
    run_build(folder, max_seq_length=32)


RUNS = {
    "loop": run_loop,
    "pretraining": run_pretraining,
    "finetuning": run_finetuning,
    "tokens": run_tokens,
    "tasks": run_tasks,
}


def start(log, function, *arguments, kill_at=None, touches=None):
    """Starts a function in a fork; returns its process id.

    Args:
        log: file that takes what it prints.
        function, arguments: the last argument is the folder whose touches count.
        kill_at: number of the touch at which it dies by SIGKILL.
        touches: file that takes their number at the end.
    """
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        with open(log, "a") as output:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
        with stop_signals.handled():
            count = count_touches(arguments[-1], kill_at)
            function(*arguments)
            if touches:
                touches.write_text(str(count[0]))
        code = 0
    except stop_signals.Stopped as stopped:
        code = stopped.exit_code
    except whole_files.FolderInUseError:
        code = REFUSED
    finally:
        if code == 1:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def count_touches(folder, kill_at):
    count = [0]

    def watch(event, arguments):
        if event not in TOUCHES:
            return
        if event == "open" and not str(arguments[0]).startswith(str(folder)):
            return
        count[0] += 1
        if count[0] == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    return count


def wait(child):
    """Returns the exit status, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def is_over(child):
    """Returns whether a process has ended, which `wait` is still to be told."""
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def visible_files(folder):
    """Yields the files that no part of a hidden name keeps from sight."""
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if path.is_file() and not any(part.startswith(".") for part in parts):
            yield path


def find_halves(folder):
    """Returns what is visible and not whole."""
    found = []
    for path in visible_files(folder):
        try:
            if path.suffix == ".json":
                json.loads(path.read_text())
            elif path.suffix == ".jsonl":
                for line in path.read_text().splitlines(keepends=True):
                    if line.endswith("\n"):  # the last one may be cut off; readers know
                        json.loads(line)
            elif path.suffix == ".safetensors":
                read_safetensors(path)
            elif path.suffix == ".npy":
                np.load(path)
            elif path.suffix == ".tfrecord":
                record_files.count_examples(path)
            elif path.suffix == ".png" and not path.read_bytes().endswith(b"IEND\xaeB`\x82"):
                found.append(f"{path} is half a picture")
        except ValueError as error:
            found.append(f"{path}: {error}")
    for kind in ("step-*", "best-*", "model"):
        groups = [p for p in folder.rglob(kind) if p.is_dir() and ".partial" not in str(p)]
        names = {p: frozenset(f.name for f in p.iterdir()) for p in groups}
        if len(set(names.values())) > 1:
            found.append(f"folders of different content: {names}")
    return found


def content_of(folder):
    """Returns {relative path: what must be the same after any disturbance}, hidden files too."""
    content = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_dir() or "tensorboard/" in name:
            continue
        if path.suffix == ".jsonl":
            rows = [json.loads(line) for line in path.read_text().splitlines()]
            content[name] = [
                {k: v for k, v in row.items() if k not in progress.OF_THE_CLOCK} for row in rows
            ]
        elif "features/" in name:  # in what order safetensors puts two notes, chance decides
            tensors = read_safetensors(path)
            content[name] = {key: value.tobytes() for key, value in tensors.items()}
        elif path.name == "training_notes.json":
            # The rest measures the speed, from which the first step of a process is left out.
            content[name] = json.loads(path.read_text())["totals"]
        elif path.name == "README.md":  # whose title is the name of the folder
            lines = path.read_text().splitlines()
            content[name] = [line for line in lines if not line.startswith(("# ", "  - name: "))]
        else:
            content[name] = None if path.suffix in UNLIKE else path.read_bytes()
    # Of the best checkpoints, a run that was sent back may need one more than another; and one that
    # was stopped has a checkpoint of that step in the place of an older one.
    steps = sorted({part for name in content for part in name.split("/") if "step-" in part})
    old = tuple(f"{step}/" for step in steps[:-1])
    return {
        name: value
        for name, value in content.items()
        if not name.startswith("best-") and not any(part in name for part in old)
    }


class Torture:
    """The runs of one kind in one folder, and what was found."""

    def __init__(self, kind, folder, data, log, counts):
        self._run, self._folder, self._data, self._log = RUNS[kind], folder, data, log
        self._kind, self._counts, self._number = kind, counts, 0
        started = time.monotonic()
        touches = folder / "touches"
        folder.mkdir(parents=True)
        straight = folder / "straight"
        status = wait(start(log, self._run, data, straight, touches=touches))
        if status:
            raise SystemExit(f"{kind}: the undisturbed run ended with {status}, see {log}")
        self._seconds = time.monotonic() - started
        self._expected = content_of(straight)
        self.touches = int(touches.read_text())

    def _new(self):
        self._number += 1
        return self._folder / str(self._number)

    def _start(self, folder, **how):
        return start(self._log, self._run, self._data, folder, **how)

    def _note(self, what):
        self._counts["wrong"].append(f"{self._kind} {self._number}: {what}")

    def _finish(self, folder):
        """Looks at what is there, runs to the end, and compares."""
        for half in find_halves(folder):
            self._note(half)
        status = wait(self._start(folder))
        if status:
            self._note(f"started again, it ended with {status}, see {self._log}")
            return
        content = content_of(folder)
        if content.keys() != self._expected.keys():
            self._note(f"files differ: {sorted(content.keys() ^ self._expected.keys())}")
        different = [n for n in content if content[n] != self._expected.get(n)]
        if different:
            self._note(f"contents differ: {different}")
        if content == self._expected:
            self._counts["same_bits"] += 1

    def kill_at(self, *touches):
        """Kills a run at one touch of the disk, what goes on from there at the next, and so on."""
        folder = self._new()
        for touch in touches:
            if wait(self._start(folder, kill_at=touch)) == -signal.SIGKILL:
                self._counts["kills"] += 1
        self._finish(folder)

    def signal_after(self, share, number):
        """Sends a signal after a share of the time that an undisturbed run takes."""
        folder = self._new()
        child = self._start(folder)
        time.sleep(share * self._seconds)
        os.kill(child, number)
        status = wait(child)
        if status == -signal.SIGKILL:
            self._counts["kills"] += 1
        elif status == 143:
            self._counts["stopped"] += 1
        elif status not in (0, -number):  # ended before, or not yet begun
            end = self._log.read_text()[-3000:]
            self._note(f"signal {number} ended it with {status}; {self._log} ends with\n{end}")
        self._finish(folder)

    def start_twice(self):
        """Starts a second run while the first holds the folder."""
        folder = self._new()
        child = self._start(folder)
        while not (folder / whole_files.LOCK_FILE).exists() and not is_over(child):
            time.sleep(0.005)
        status = wait(self._start(folder))
        if status == REFUSED:
            self._counts["refused"] += 1
        else:
            self._note(f"a second run ended with {status}")
        if wait(child):
            self._note("the first of two runs failed")
        self._finish(folder)


def main(folder, kills):
    """Disturbs runs of all kinds; returns the counts."""
    counts = {"kills": 0, "stopped": 0, "refused": 0, "same_bits": 0, "wrong": []}
    data, log = folder / "data", folder / "log.txt"
    folder.mkdir(parents=True)
    if wait(start(log, prepare, data)):
        raise SystemExit(f"what the runs read could not be written, see {log}")
    chance = random.Random(0)
    shares = {"loop": 0.6, "pretraining": 0.05, "finetuning": 0.05, "tokens": 0.15, "tasks": 0.15}
    tokenized_corpus._GROUP_BYTES = 1  # every file is tokenized by itself, as large ones are
    for kind, share in shares.items():
        torture = Torture(kind, folder / kind, data, log, counts)
        wanted = max(2, round(kills * share))
        # Two of three at a touch of the disk, evenly over all of them, two kills a run.
        touches = [
            1 + (torture.touches - 1) * n // max(wanted * 2 // 3, 1) for n in range(wanted * 2 // 3)
        ]
        for first, second in zip(touches[::2], touches[1::2], strict=False):
            torture.kill_at(second, first)
        for _ in range(wanted - len(touches)):
            torture.signal_after(chance.random(), signal.SIGKILL)
        for _ in range(max(1, wanted // 8)):
            torture.signal_after(0.3 + 0.7 * chance.random(), signal.SIGTERM)
        if kind != "tasks":  # several of which may be at work
            torture.start_twice()
    return counts


if __name__ == "__main__":
    print(json.dumps(main(pathlib.Path(sys.argv[1]), int(sys.argv[2]))))
