"""Seconds until XLA has compiled a pretraining step, and its time: layers unrolled and as a loop.

    python benchmarks/compile_time.py                        # width 128; 12, 24 and 48 layers
    python benchmarks/compile_time.py --preset=albert_base_v2 --layers=12

A step is that of `run_pretraining`: forward, backward, global-norm clip and LAMB, on random ids of
full length, after `--precision` and `--recompute`. The last row of each depth is the step that is
not compiled as a whole, where the layers have XLA compile chains of element-wise operations only.
"""

import dataclasses
import os
import time

# Read by TensorFlow when it is imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from absl import app, flags  # noqa: E402
from step_memory import SMALL, Step  # noqa: E402

from albert_tf.config import AlbertConfig  # noqa: E402
from albert_tf.model.block import PassChoices  # noqa: E402

FLAGS = flags.FLAGS
flags.DEFINE_string("preset", None, "Which model; by default one of width 128.")
flags.DEFINE_list("layers", ["12", "24", "48"], "Depths.")
flags.DEFINE_integer("batch_size", 4, "Examples a step, B.")
flags.DEFINE_integer("length", 64, "Tokens of each, L.")
flags.DEFINE_string("precision", "float32", "What the step computes in.")
flags.DEFINE_string("recompute", "none", "As of run_pretraining.")
flags.DEFINE_integer("steps", 5, "Timed steps.")


def main(_):
    """Prints one line for each depth and way."""
    config = AlbertConfig.from_preset(FLAGS.preset) if FLAGS.preset else SMALL
    print(f"{'layers':>6}  {'':22}{'first step':>12}{'step':>12}")
    for layers in FLAGS.layers:
        deep = dataclasses.replace(config, num_hidden_layers=int(layers))
        for name, jit_compile, as_loop in (
            ("compiled, unrolled", True, False),
            ("compiled, loop", True, True),
            ("not compiled", False, False),
        ):
            first, seconds = measure(deep, jit_compile, as_loop)
            print(f"{layers:>6}  {name:22}{first:>10.1f} s{1000 * seconds:>9.0f} ms", flush=True)


def measure(config, jit_compile, as_loop):
    """Returns the seconds of the first step and the mean of later ones."""
    choices = PassChoices(recompute=FLAGS.recompute == "blocks", as_loop=as_loop)
    step = Step(config, FLAGS.batch_size, FLAGS.length, FLAGS.precision, choices, jit_compile)

    def seconds_of(steps):
        start = time.perf_counter()
        for _ in range(steps):
            step()
        return time.perf_counter() - start

    return seconds_of(1), seconds_of(FLAGS.steps) / FLAGS.steps


if __name__ == "__main__":
    app.run(main)
