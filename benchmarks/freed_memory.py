"""Steps of training with and without `keep_freed_memory`, fed by a dataset from a generator.

    python benchmarks/freed_memory.py                                  # a small model and base
    python benchmarks/freed_memory.py --cases=albert_large_v2:8x128 --precision=mixed_bfloat16

A step is that of `run_finetuning`: forward, backward, global-norm clip and AdamW, on random ids of
full length. Each measurement is a process of its own, the two ways in turns; the best of the rounds
is given, with the part of the time that went by in the kernel and the peak of memory. Linux, CPUs.
"""

import itertools
import json
import os
import resource
import subprocess
import sys
import time

# Read by TensorFlow when it is imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from absl import app, flags  # noqa: E402

FLAGS = flags.FLAGS
flags.DEFINE_list("cases", ["albert_small:32x128", "albert_base_v2:8x128"], "PRESET:BxL.")
flags.DEFINE_string("precision", "float32", "What steps compute in.")
flags.DEFINE_integer("steps", 12, "Timed steps of a process.")
flags.DEFINE_integer("rounds", 2, "Processes of each way.")
flags.DEFINE_enum("here", "", ["", "kept", "given back"], "Measure one way in this process.")


def main(_):
    """Prints one line for each case and way."""
    if FLAGS.here:
        print(json.dumps(measure(FLAGS.cases[0], FLAGS.here == "kept")))
        return
    print(FLAGS.precision)
    print(f"{'case':24}{'freed memory':14}{'tokens/s':>10}{'kernel':>9}{'peak':>10}")
    for case in FLAGS.cases:
        found = {"given back": [], "kept": []}
        for _, way in itertools.product(range(FLAGS.rounds), found):
            command = [sys.executable, __file__, f"--cases={case}", f"--here={way}"]
            command += [f"--precision={FLAGS.precision}", f"--steps={FLAGS.steps}"]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            found[way].append(json.loads(done.stdout))
        for way, runs in found.items():
            best = max(runs, key=lambda run: run["tokens"])
            share, gigabytes = f"{best['kernel']:.0%}", f"{best['peak'] / 1e6:.2f} GB"
            print(f"{case:24}{way:14}{best['tokens']:>10,.0f}{share:>9}{gigabytes:>10}", flush=True)


def measure(case, is_kept):
    """Returns tokens a second, the part of the time in the kernel and the peak in kB."""
    import albert_tf

    if is_kept:
        albert_tf.keep_freed_memory()  # before there are threads, as the commands do

    import numpy as np
    import tensorflow as tf

    from albert_tf.training import train_step

    preset, shape = case.split(":")
    shape = tuple(map(int, shape.split("x")))
    config = albert_tf.AlbertConfig.from_preset(preset)
    model = albert_tf.AlbertClassifier(config, dtype=FLAGS.precision)
    step = train_step.make_train_step(
        model, albert_tf.AdamW(1e-5), train_step.ModelObjective(model), 1, False
    )
    generator = np.random.default_rng(0)

    def batches():
        while True:
            yield {
                "input_ids": generator.integers(5, config.vocab_size, shape, np.int32),
                "segment_ids": np.zeros(shape, np.int32),
                "input_mask": np.ones(shape, np.int32),
                "label": generator.integers(0, 2, shape[0], np.int32),
            }

    signature = {
        name: tf.TensorSpec(value.shape, value.dtype) for name, value in next(batches()).items()
    }
    data = iter(tf.data.Dataset.from_generator(batches, output_signature=signature).prefetch(2))

    def run(steps):
        for _ in range(steps):
            results = step(next(data))
        float(results["gradient_norm"][0])  # waits for the last

    run(3)  # the graph is made, memory is allotted
    before, start = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    run(FLAGS.steps)
    seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
    in_kernel = after.ru_stime - before.ru_stime
    return {
        "tokens": FLAGS.steps * shape[0] * shape[1] / seconds,
        "kernel": in_kernel / (in_kernel + after.ru_utime - before.ru_utime),
        "peak": after.ru_maxrss,
    }


if __name__ == "__main__":
    app.run(main)
