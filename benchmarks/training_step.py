"""One step of fine-tuning, without and with `--jit_compile`: what XLA is worth, above all on a GPU.

    python benchmarks/training_step.py                 # ALBERT-base, B=32 L=128, bfloat16

A step is that of `run_finetuning`: forward, backward, global-norm clip and AdamW, on random ids of
full length. The first step, which compiles, is given beside the mean of the others.
"""

import os
import time

# Read by TensorFlow when it is imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
from absl import app, flags  # noqa: E402

from albert_tf.config import AlbertConfig  # noqa: E402
from albert_tf.model.task_models import AlbertClassifier  # noqa: E402
from albert_tf.training import settings, train_step  # noqa: E402
from albert_tf.training.optimizers import AdamW  # noqa: E402

FLAGS = flags.FLAGS
flags.DEFINE_string("preset", "albert_base_v2", "Which model.")
flags.DEFINE_integer("batch_size", 32, "Examples a step, B.")
flags.DEFINE_integer("length", 128, "Tokens of each, L.")
flags.DEFINE_string("precision", "mixed_bfloat16", f"One of {', '.join(settings.PRECISIONS)}.")
flags.DEFINE_integer("steps", 30, "Timed steps.")


def main(_):
    """Prints one line for each way."""
    devices = tf.config.list_physical_devices("GPU") or tf.config.list_physical_devices("CPU")
    print(f"{FLAGS.preset}, B={FLAGS.batch_size} L={FLAGS.length}, {FLAGS.precision}, {devices}")
    print(f"{'':14}{'first step':>12}{'step':>12}{'tokens/s':>12}")
    for jit_compile in (False, True):
        first, seconds = measure(jit_compile)
        name = "--jit_compile" if jit_compile else "default"
        tokens = FLAGS.batch_size * FLAGS.length / seconds
        print(f"{name:14}{first:>10.1f} s{1000 * seconds:>9.1f} ms{tokens:>12,.0f}", flush=True)


def measure(jit_compile):
    """Returns the seconds of the first step and the mean of later ones."""
    config = AlbertConfig.from_preset(FLAGS.preset)
    model = AlbertClassifier(config, dtype=FLAGS.precision)
    objective = train_step.ModelObjective(model)
    step = train_step.make_train_step(model, AdamW(1e-5), objective, 1, jit_compile)
    generator = np.random.default_rng(0)
    shape = (FLAGS.batch_size, FLAGS.length)
    batch = {
        "input_ids": tf.constant(generator.integers(5, config.vocab_size, shape), tf.int32),
        "segment_ids": tf.zeros(shape, tf.int32),
        "input_mask": tf.ones(shape, tf.int32),
        "label": tf.constant(generator.integers(0, 2, FLAGS.batch_size), tf.int32),
    }

    def seconds_of(steps):
        start = time.perf_counter()
        for _ in range(steps):
            results = step(batch)
        float(results["gradient_norm"][0])  # waits for the device
        return time.perf_counter() - start

    first = seconds_of(1)
    seconds_of(3)  # memory is allotted, clocks rise
    return first, seconds_of(FLAGS.steps) / FLAGS.steps


if __name__ == "__main__":
    app.run(main)
