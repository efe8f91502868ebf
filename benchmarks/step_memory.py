"""Peak memory of one pretraining step beside what `training.step_memory` says, by `--recompute`.

    python benchmarks/step_memory.py                       # base and large, three shapes each
    python benchmarks/step_memory.py --cases=albert_xxlarge_v2:4x512 --precisions=mixed_bfloat16

A step is that of `run_pretraining`: forward, backward, global-norm clip and LAMB, on random ids of
full length. Each case is a process of its own, which first takes a step of a tiny model: the peak
(VmHWM of Linux) is given without what TensorFlow has taken by then, and as a whole. CPUs only.
"""

import os
import pathlib
import subprocess
import sys
import time

# Read by TensorFlow when it is imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
from absl import app, flags  # noqa: E402

from albert_tf.config import AlbertConfig  # noqa: E402
from albert_tf.model import block  # noqa: E402
from albert_tf.model.language_models import AlbertForPretraining  # noqa: E402
from albert_tf.training import step_memory, train_step  # noqa: E402
from albert_tf.training.optimizers import Lamb  # noqa: E402
from albert_tf.training.settings import StepSettings  # noqa: E402

CASES = [
    f"albert_{size}_v2:{shape}"
    for size in ("base", "large")
    for shape in ("8x128", "32x128", "8x512")
]
SMALL = AlbertConfig(vocab_size=1000, hidden_size=128, num_attention_heads=4, intermediate_size=512)


def define_flags():
    """Defines the flags of this command."""
    flags.DEFINE_list("cases", CASES, "Presets and shapes, PRESET:BxL.")
    flags.DEFINE_list("precisions", ["float32", "mixed_bfloat16"], "What steps compute in.")
    flags.DEFINE_list("recompute", ["none", "blocks"], "As of run_pretraining.")
    flags.DEFINE_float("dropout", 0.0, "In the encoder.")
    flags.DEFINE_bool("jit_compile", False, "As of run_pretraining.")
    flags.DEFINE_bool("here", False, "Measure the one case in this process.")


def main(_):
    """Prints one line for each case."""
    options = flags.FLAGS
    if options.here:
        print(measure(options.cases[0], options.precisions[0], options.recompute[0]), flush=True)
        return
    print(
        f"{'model':18}{'B x L':>9}  {'precision':15}{'recompute':>9}{'estimate':>10}"
        f"{'measured':>10}{'ratio':>7}{'process':>9}{'step':>9}"
    )
    for case in options.cases:
        for precision in options.precisions:
            for recompute in options.recompute:
                command = [sys.executable, __file__, "--here", f"--cases={case}"]
                command += [f"--precisions={precision}", f"--recompute={recompute}"]
                command += [f"--dropout={options.dropout}"]
                command += ["--jit_compile"] if options.jit_compile else []
                result = subprocess.run(command, capture_output=True, text=True, check=False)
                if result.returncode:
                    lines = result.stderr.strip().splitlines() or [""]
                    print(f"{case} {precision} {recompute}: {result.returncode}, {lines[-1]}")
                print(result.stdout, end="", flush=True)


def measure(case, precision, recompute):
    """Returns the line of one case."""
    options = flags.FLAGS
    preset, _, shape = case.partition(":")
    examples, length = map(int, shape.split("x"))
    config = AlbertConfig.from_preset(preset).with_dropout(options.dropout)
    Step(SMALL, 8, 64, precision, block.PassChoices())()
    memory_before = read_status("VmRSS")
    pathlib.Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    choices = block.PassChoices(recompute=recompute == "blocks", as_loop=options.jit_compile)
    step = Step(config, examples, length, precision, choices, options.jit_compile)
    start = time.perf_counter()
    step()
    seconds = time.perf_counter() - start
    peak = read_status("VmHWM")
    measured = peak - memory_before
    estimate = step.memory.total / 1e9
    return (
        f"{preset:18}{shape:>9}  {precision:15}{recompute:>9}{estimate:>7.2f} GB{measured:>7.2f} GB"
        f"{estimate / measured:>7.2f}{peak:>6.2f} GB{seconds:>7.1f} s"
    )


class Step:
    """Steps of pretraining on one batch of random ids; `memory` is what is said of one."""

    def __init__(self, config, examples, length, precision, choices, jit_compile=False):
        model = AlbertForPretraining(config, dtype=precision)
        optimizer = Lamb(1e-4)
        predictions = max(1, length * 15 // 100)
        self._batch = make_batch(config, examples, length, predictions)
        self._step = train_step.make_train_step(
            model, optimizer, train_step.ModelObjective(model), 1, jit_compile, choices
        )
        recompute = "blocks" if choices.recompute else "none"
        self.memory = step_memory.estimate_step(
            model,
            StepSettings(batch_size=examples, recompute=recompute),
            parts=1,
            length=length,
            predictions=predictions,
        )

    def take(self, count):
        """Takes some, and waits for the last."""
        for _ in range(count):
            results = self._step(self._batch)
        return float(results["gradient_norm"][0])

    def __call__(self):
        """Takes one and waits for it."""
        return self.take(1)


def make_batch(config, examples, length, predictions):
    """Returns a batch of random ids of full length."""
    generator = np.random.default_rng(0)
    size, slots = (examples, length), (examples, predictions)
    ids = {
        "input_ids": generator.integers(5, config.vocab_size, size),
        "input_mask": np.ones(size),
        "segment_ids": generator.integers(0, 2, size),
        "masked_lm_positions": generator.integers(1, length, slots),
        "masked_lm_ids": generator.integers(5, config.vocab_size, slots),
        "sentence_order_label": generator.integers(0, 2, examples),
    }
    batch = {name: tf.constant(values, tf.int32) for name, values in ids.items()}
    return {**batch, "masked_lm_weights": tf.ones(slots)}


def read_status(name):
    """Returns a value of this process in /proc in gigabytes."""
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024 / 1e9


if __name__ == "__main__":
    define_flags()
    app.run(main)
