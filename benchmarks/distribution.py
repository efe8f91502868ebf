"""One update of pretraining by one worker and by two, each on a core of its own.

    python benchmarks/distribution.py                 # ALBERT-base, 8 examples of 128 tokens

A step is that of `run_pretraining` on made-up examples. Beside the speed it says how many bytes an
update reduces, and what `--exact` costs. docs/distribution.md computes from this what many GPUs
would give.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

# (name in the table, workers, whether the run is exact).
WAYS = (
    ("one worker", 1, False),
    ("two workers", 2, False),
    ("one worker, --exact", 1, True),
    ("two workers, --exact", 2, True),
)


def main():
    """Prints the table as Markdown; a worker its step's seconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="albert_base_v2")
    parser.add_argument("--batch_size", default=8, type=int, help="examples an update in all")
    parser.add_argument("--length", default=128, type=int)
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--steps", default=4, type=int, help="timed, after one that compiles")
    parser.add_argument("--rounds", default=2, type=int, help="of all ways, in turns")
    parser.add_argument("--exact", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--core", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.core is not None:
        os.sched_setaffinity(0, {arguments.core})
        print(json.dumps(measure(arguments)))
        return
    print(f"{arguments.preset}, {arguments.batch_size} x {arguments.length}, {arguments.precision}")
    seconds = {name: [] for name, _, _ in WAYS}
    for _ in range(arguments.rounds):
        for name, workers, is_exact in WAYS:
            result = run(arguments, workers, is_exact)
            seconds[name] += result["seconds"]
    tokens = arguments.batch_size * arguments.length
    print("| | tokens a second | seconds an update |\n|---|---|---|")
    for name, values in seconds.items():
        step = statistics.median(values)
        print(f"| {name} | {tokens / step:,.0f} | {step:.3f} |")
    print(f"reduced an update: {result['bytes']:,} bytes")


def run(arguments, workers, is_exact):
    """Returns what worker 0 measured."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < workers:
        raise SystemExit(f"{workers} workers need as many cores. Received: {len(cores)}")
    command = [sys.executable, __file__, f"--preset={arguments.preset}"]
    command += [f"--{n}={getattr(arguments, n)}" for n in ("batch_size", "length", "steps")]
    command += [f"--precision={arguments.precision}", *(["--exact"] if is_exact else [])]
    addresses = [f"localhost:{port}" for port in free_ports(workers)]
    processes = []
    for worker in range(workers):
        task = {"type": "worker", "index": worker}
        config = {"cluster": {"worker": addresses}, "task": task}
        environment = {**os.environ, **({"TF_CONFIG": json.dumps(config)} if workers > 1 else {})}
        own = [*command, f"--core={cores[worker]}"]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        processes.append(subprocess.Popen(own, env=environment, text=True, **pipes))
    outputs = [process.communicate() for process in processes]
    for process, (_, errors) in zip(processes, outputs, strict=True):
        if process.returncode:
            raise SystemExit(f"a worker failed:\n{errors}")
    return json.loads(outputs[0][0].splitlines()[-1])


def free_ports(count):
    """Returns ports that nobody listens on."""
    sockets = [socket.create_server(("localhost", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def measure(arguments):
    """Returns {"seconds": of each timed step, "bytes": that one update reduces}."""
    import keras
    import numpy as np
    import tensorflow as tf

    from albert_tf.config import AlbertConfig
    from albert_tf.model.language_models import AlbertForPretraining
    from albert_tf.training import devices, optimizers, train_step
    from albert_tf.training.settings import DeviceSettings

    tf.config.threading.set_intra_op_parallelism_threads(1)
    cluster = devices.find_devices(DeviceSettings(exact=arguments.exact), report=lambda line: None)
    config = AlbertConfig.from_preset(arguments.preset)
    keras.utils.set_random_seed(0)
    with cluster.scope():
        model = AlbertForPretraining(config, dtype=arguments.precision)
        optimizer = optimizers.Lamb(1e-3)
    objective = train_step.ModelObjective(model)
    size, length, generator = arguments.batch_size, arguments.length, np.random.default_rng(0)
    step = train_step.make_train_step(
        model, optimizer, objective, 1, devices=cluster, seed=0, batch_size=size
    )
    slots = max(1, length // 7)

    def integers(highest, *shape):
        return tf.constant(generator.integers(0, highest, (size, *shape)), tf.int32)

    batch = {
        "input_ids": integers(config.vocab_size, length),
        "input_mask": tf.ones((size, length), tf.int32),
        "segment_ids": integers(2, length),
        "masked_lm_positions": integers(length, slots),
        "masked_lm_ids": integers(config.vocab_size, slots),
        "masked_lm_weights": tf.ones((size, slots)),
        "sentence_order_label": integers(2),
    }
    rows = cluster.rows(size)
    own = batch if rows is None else {name: tf.gather(v, rows) for name, v in batch.items()}
    seconds = []
    for number in range(arguments.steps + 1):
        start = time.perf_counter()
        results = step(own, number=number)
        float(results["gradient_norm"][0])
        seconds.append(time.perf_counter() - start)
    cluster.workers.wait()
    # The vector of gradients and sums; the weights before it are a few numbers.
    count = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    return {"seconds": seconds[1:], "bytes": 4 * count}


if __name__ == "__main__":
    main()
