"""A pretraining step on a GPU: seconds to the first, tokens per second, and share of the peak.

    python benchmarks/accelerator_step.py --peak_tflops=989          # an H100, base, bfloat16
    python benchmarks/accelerator_step.py --cases=albert_tiny:4x32 --precision=float32 --steps=2

Ways: TensorFlow's graph, XLA with the layers as a loop and unrolled, each as `run_pretraining` has
it, and JAX (`train_on_batch` and `fit`, with LAMB), if it is installed. Each is a process of its
own; its first step is counted from the first line of the process, imports and model included, and
without them. The floating-point operations are those of matrix products, forward and twice that
backward. The second line of the example runs anywhere and shows that the script does.
"""

import itertools
import json
import os
import subprocess
import sys
import time

START = time.perf_counter()
# Read by TensorFlow when it is imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from absl import app, flags  # noqa: E402

FLAGS = flags.FLAGS
flags.DEFINE_list("cases", ["albert_base_v2:256x128", "albert_base_v2:64x512"], "PRESET:BxL.")
flags.DEFINE_string("precision", "mixed_bfloat16", "What steps compute in.")
flags.DEFINE_integer("steps", 20, "Timed steps.", lower_bound=1)
flags.DEFINE_float("peak_tflops", None, "Of the card at this precision, without sparsity.")
flags.DEFINE_list("ways", ["graph", "loop", "unrolled", "jax"], "Which to measure.")
flags.DEFINE_string("here", None, "Measure this way in this process.")


def main(_):
    """Prints one line for each case and way."""
    if FLAGS.here:
        print(json.dumps(measure(FLAGS.cases[0], FLAGS.here)))
        return
    print(
        f"{'model':16}{'B x L':>9}  {'way':10}{'start':>9}{'first':>9}{'tokens/s':>12}{'peak':>7}"
    )
    for case, way in itertools.product(FLAGS.cases, FLAGS.ways):
        preset, _, shape = case.partition(":")
        command = [sys.executable, __file__, f"--here={way}", f"--cases={case}"]
        command += [f"--precision={FLAGS.precision}", f"--steps={FLAGS.steps}"]
        environment = {**os.environ, "KERAS_BACKEND": "jax" if way == "jax" else "tensorflow"}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["no word"]
            reason = next((line for line in lines[::-1] if "Error" in line), lines[-1])
            print(f"{preset:16}{shape:>9}  {way:10}{done.returncode:>9}: {reason:.100}", flush=True)
            continue
        result = json.loads(done.stdout.splitlines()[-1])
        share = ""
        if FLAGS.peak_tflops:
            share = f"{result['flops'] / result['step'] / FLAGS.peak_tflops / 1e12:6.1%}"
        print(
            f"{preset:16}{shape:>9}  {way:10}{result['start']:>8.1f}s{result['first']:>8.1f}s"
            f"{result['tokens'] / result['step']:>12,.0f}{share:>7}  {result['device']}",
            flush=True,
        )


def measure(case, way):
    """Returns what one way gives: seconds, tokens and operations of a step, and the device."""
    from albert_tf.config import AlbertConfig

    preset, _, shape = case.partition(":")
    examples, length = map(int, shape.split("x"))
    config = AlbertConfig.from_preset(preset)
    make = _make_jax_steps if way == "jax" else _make_tensorflow_steps
    take_steps, device = make(config, examples, length, way)

    def seconds_of(steps):
        start = time.perf_counter()
        take_steps(steps)
        return time.perf_counter() - start

    first = seconds_of(1)
    start = time.perf_counter() - START
    seconds_of(3)
    return {
        "start": start,
        "first": first,
        "step": seconds_of(FLAGS.steps) / FLAGS.steps,
        "tokens": examples * length,
        "flops": examples * flops_of_example(config, length, max(1, length * 15 // 100)),
        "device": device,
    }


def flops_of_example(config, length, predictions):
    """Returns the floating-point operations of the matrix products of a step, for one example."""
    hidden, width, layers = config.hidden_size, config.embedding_size, config.num_hidden_layers
    attention = 4 * hidden * hidden + 2 * length * hidden
    layer = attention + 2 * hidden * config.intermediate_size
    encoder = length * (width * hidden + layers * layer)
    head = predictions * width * (hidden + config.vocab_size)
    return 3 * 2 * (encoder + head)


def _make_tensorflow_steps(config, examples, length, way):
    import tensorflow as tf
    from step_memory import Step

    from albert_tf.model.block import PassChoices

    choices = PassChoices(as_loop=way == "loop")
    step = Step(config, examples, length, FLAGS.precision, choices, jit_compile=way != "graph")
    gpus = tf.config.list_physical_devices("GPU")
    name = tf.config.experimental.get_device_details(gpus[0])["device_name"] if gpus else "CPU"
    return step.take, name


def _make_jax_steps(config, examples, length, way):
    del way
    import jax
    import keras
    import numpy as np

    from albert_tf.model.language_models import AlbertForPretraining
    from albert_tf.training.optimizers import Lamb

    model = AlbertForPretraining(config, dtype=FLAGS.precision)
    model.compile(Lamb(1e-4))
    generator = np.random.default_rng(0)
    slots = (examples, max(1, length * 15 // 100))

    def ids(highest, *size):
        return jax.numpy.asarray(generator.integers(0, highest, size), "int32")

    batch = {
        "input_ids": ids(config.vocab_size, examples, length),
        "input_mask": jax.numpy.ones((examples, length), "int32"),
        "segment_ids": ids(2, examples, length),
        "masked_lm_positions": ids(length, *slots),
        "masked_lm_ids": ids(config.vocab_size, *slots),
        "masked_lm_weights": jax.numpy.ones(slots),
        "sentence_order_label": ids(2, examples),
    }

    def take_steps(count):
        if count == 1:
            float(model.train_on_batch(batch)[0])
        else:
            # Results are fetched at the end of the epoch alone.
            batches = ((batch,) for _ in range(count))
            model.fit(batches, steps_per_epoch=count, verbose=0)
        keras.ops.convert_to_numpy(model.optimizer.iterations.value)

    return take_steps, jax.devices()[0].device_kind


if __name__ == "__main__":
    app.run(main)
