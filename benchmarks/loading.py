"""How long a model directory takes to load, and the memory that it takes at most.

    python benchmarks/loading.py --sizes=base,xxlarge

Makes directories with random weights and loads each in a process of its own. The claim: base in
less than 3 seconds after the imports; xxlarge (223M parameters) with a peak, TensorFlow included,
of less than 2.2 times its weights.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).parents[1]
_LOAD = """
import json, resource, sys, time
from albert_tf import AlbertForPretraining

def peak_bytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

import keras, tensorflow, safetensors, albert_tf.model.language_models
imports = peak_bytes()
start = time.monotonic()
model = AlbertForPretraining.from_pretrained(sys.argv[1])
seconds = time.monotonic() - start
print(json.dumps([seconds, 4 * model.count_params(), imports, peak_bytes()]))
"""
_SAVE = """
import sys
from albert_tf import AlbertForPretraining
AlbertForPretraining.from_preset(sys.argv[1]).save_pretrained(sys.argv[2])
"""


def main():
    """Prints one row a size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="base,large,xlarge,xxlarge")
    sizes = parser.parse_args().sizes.split(",")
    print("| size | weights | seconds | peak memory | of it imports | peak / weights |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for size in sizes:
            directory = os.path.join(folder, size)
            run(_SAVE, f"albert_{size}_v2", directory)
            seconds, weights, imports, peak = json.loads(run(_LOAD, directory))
            print(
                f"| {size} | {weights / 1e9:.2f} GB | {seconds:.1f} | {peak / 1e9:.2f} GB | "
                f"{imports / 1e9:.2f} GB | {peak / weights:.2f} |",
                flush=True,
            )


def run(program, *arguments):
    """Returns the last line that a program prints, run in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        env=environment,
    )
    if done.returncode:
        sys.exit(done.stderr)
    return done.stdout.strip().splitlines()[-1] if done.stdout.strip() else ""


if __name__ == "__main__":
    main()
