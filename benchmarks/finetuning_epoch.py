"""One epoch of SST-2 with ALBERT-base (L=128, B=32): ours beside the examples of transformers.

    python benchmarks/finetuning_epoch.py --train_file=GLUE/SST-2/train.tsv \\
        --vocab_model=30k-clean.model \\
        --tf_python=venv_transformers4/bin/python --torch_python=venv_transformers5/bin/python

The two other interpreters hold `transformers~=4.57 tf-keras` and `transformers~=5.0 torch`; a side
without one is left out. All sides get the same texts under the same ids, from random weights (which
cost as much as trained ones), and train with AdamW; the others pad every text to 128 tokens, as the
`run_glue` examples do, ours to the length of its batch. The sides take turns in rounds of the same
examples, each in a process of its own that waits for its turn; what each compiles is not counted
and reported for ours. The time of an epoch is that of the sample times 67,349 / its size.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Sides share a GPU if there is one, so none may take all of its memory.
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")

import numpy as np  # noqa: E402

MAX_SEQ_LENGTH, BATCH_SIZE, EPOCH_EXAMPLES = 128, 32, 67_349
LEARNING_RATE = 1e-5
# ALBERT-base v2, as the configs of transformers name it.
CONFIG = {
    "vocab_size": 30000,
    "embedding_size": 128,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "hidden_act": "gelu_new",
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "classifier_dropout_prob": 0.1,
    "num_labels": 2,
}


def main():
    """Runs all sides in turns and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train_file", type=pathlib.Path)
    parser.add_argument("--vocab_model", type=pathlib.Path)
    parser.add_argument("--tf_python")
    parser.add_argument("--torch_python")
    parser.add_argument("--examples", type=int, default=320, help="a round; a multiple of 32")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--precisions", default="float32,bfloat16")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--data", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        name, precision = arguments.side.split("/")
        serve(SIDES[name], np.load(arguments.data), precision)
        return
    interpreters = {
        "ours": sys.executable,
        "TFAlbert 4.57": arguments.tf_python,
        "PyTorch 5": arguments.torch_python,
    }
    with tempfile.TemporaryDirectory() as folder:
        data = pathlib.Path(folder) / "data.npz"
        np.savez(data, **encode(arguments))
        for precision in arguments.precisions.split(","):
            measure(arguments, precision, data, {n: p for n, p in interpreters.items() if p})


def encode(arguments):
    """Returns the sample as arrays: ids [N, 128], lengths and labels [N]."""
    from albert_tf.pipelines.task_data import tabular, text_examples
    from albert_tf.pipelines.task_data.input_problems import InputProblems
    from albert_tf.pipelines.tokenizer.tokenization import Tokenizer

    columns = tabular.Columns("sentence", label="label")
    read = tabular.read(arguments.train_file, columns, InputProblems(), kind="class")
    chosen = np.random.default_rng(0).permutation(len(read))[: arguments.examples]
    tokenizer = Tokenizer(arguments.vocab_model)
    encoded = text_examples.encode_texts(
        [read[i] for i in chosen], tokenizer, MAX_SEQ_LENGTH, ["0", "1"]
    )
    batch = encoded.batch(np.arange(len(encoded)), MAX_SEQ_LENGTH)
    return {name: batch[name] for name in ("input_ids", "input_mask", "label")}


def measure(arguments, precision, data, interpreters):
    """Lets each side train on the sample once a round, and prints a line for each."""
    sides = {}
    for name, python in interpreters.items():
        command = [python, __file__, f"--side={name}/{precision}", f"--data={data}"]
        sides[name] = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        # Sides compile one after the other: together they would slow each other.
        ready = json.loads(answer_of(sides[name]))
        print(f"{precision}, {name}: made, compiled, one round: {ready:.0f} s", flush=True)
    seconds = {name: [] for name in sides}
    for _ in range(arguments.rounds):
        for name, process in sides.items():
            print("go", file=process.stdin, flush=True)
            seconds[name].append(json.loads(answer_of(process)))
    for process in sides.values():
        process.stdin.close()
        process.wait()
    best = {name: float(np.median(values)) for name, values in seconds.items()}
    print(f"\n{precision:10} {'examples/s':>12}{'minutes an epoch':>18}{'ours is faster by':>19}")
    for name, value in best.items():
        minutes = value * EPOCH_EXAMPLES / arguments.examples / 60
        print(
            f"{name:14}{arguments.examples / value:>8.1f}{minutes:>18.1f}"
            f"{value / best['ours']:>19.1f}"
        )
    print(flush=True)


def answer_of(process):
    """Returns the next line of a side, or ends with what went wrong."""
    line = process.stdout.readline()
    while line and not line.startswith("{") and not line[:1].isdigit():
        line = process.stdout.readline()
    if not line:
        sys.exit(f"a side ended: {' '.join(process.args)}")
    return line


def serve(make_side, data, precision):
    """Compiles, says how long that took, then trains once for each line of input."""
    start = time.perf_counter()
    train_once = make_side(data, precision)
    train_once()
    print(json.dumps(time.perf_counter() - start), flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        train_once()
        print(json.dumps(time.perf_counter() - start), flush=True)


# The sides: data and precision -> a function that trains on the sample once.


def make_ours(data, precision):
    """Returns one pass over the sample as `run_finetuning` makes it."""
    import tensorflow as tf

    from albert_tf.config import AlbertConfig
    from albert_tf.model.task_models import AlbertClassifier
    from albert_tf.pipelines.task_data.encoded_examples import EncodedExamples
    from albert_tf.pipelines.task_data.finetuning_dataset import LENGTHS, finetuning_dataset
    from albert_tf.training import optimizers, train_step

    rows = [
        {"input_ids": ids[: mask.sum()].tolist(), "segment_ids": [0] * int(mask.sum())}
        for ids, mask in zip(data["input_ids"], data["input_mask"], strict=True)
    ]
    examples = EncodedExamples.from_rows(rows, {"label": data["label"]})
    policy = "float32" if precision == "float32" else "mixed_bfloat16"
    model = AlbertClassifier(AlbertConfig.from_preset("albert_base_v2"), dtype=policy)
    step = train_step.make_train_step(
        model, optimizers.AdamW(LEARNING_RATE), train_step.ModelObjective(model), 1
    )
    stream = finetuning_dataset(examples, BATCH_SIZE, MAX_SEQ_LENGTH, seed=0, repeat=True)
    batches = iter(stream)
    # Every length is compiled before the clock runs.
    for length in LENGTHS:
        if length <= MAX_SEQ_LENGTH:
            fitting = np.flatnonzero(examples.lengths() <= length)
            if len(fitting):
                batch = examples.batch(np.resize(fitting, BATCH_SIZE), length)
                step({name: tf.constant(value) for name, value in batch.items()})

    def train_once():
        for _ in range(len(examples) // BATCH_SIZE):
            results = step(next(batches))
        float(results["classification_loss"][0])

    return train_once


def make_tf_albert(data, precision):
    """Returns one pass with transformers' TensorFlow model and `fit`, as its example trains."""
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    import tensorflow as tf
    import tf_keras
    from transformers import AlbertConfig, TFAlbertForSequenceClassification

    if precision != "float32":
        tf_keras.mixed_precision.set_global_policy("mixed_bfloat16")
    model = TFAlbertForSequenceClassification(AlbertConfig(**CONFIG))
    inputs = {
        "input_ids": data["input_ids"],
        "attention_mask": data["input_mask"],
        "token_type_ids": np.zeros_like(data["input_ids"]),
    }
    optimizer = tf_keras.optimizers.AdamW(LEARNING_RATE, weight_decay=0.01, global_clipnorm=1.0)
    model.compile(optimizer=optimizer)
    dataset = tf.data.Dataset.from_tensor_slices({**inputs, "labels": data["label"]})
    dataset = dataset.shuffle(len(data["label"])).batch(BATCH_SIZE, drop_remainder=True)
    dataset = dataset.prefetch(tf.data.AUTOTUNE)
    return lambda: model.fit(dataset, epochs=1, verbose=0)


def make_torch(data, precision):
    """Returns one pass with transformers' PyTorch model and autocast, as its example trains."""
    import torch
    from transformers import AlbertConfig, AlbertForSequenceClassification

    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = AlbertForSequenceClassification(AlbertConfig(**CONFIG)).train().to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.01)
    ids, mask, labels = (
        torch.tensor(data[name], dtype=torch.long, device=device)
        for name in ("input_ids", "input_mask", "label")
    )

    def train_once():
        for rows in torch.randperm(len(ids), device=device).split(BATCH_SIZE):
            with torch.autocast(device, dtype=torch.bfloat16, enabled=precision != "float32"):
                outputs = model(input_ids=ids[rows], attention_mask=mask[rows], labels=labels[rows])
            outputs.loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
        outputs.loss.item()  # what is queued on a GPU ends before the clock stops

    return train_once


SIDES = {"ours": make_ours, "TFAlbert 4.57": make_tf_albert, "PyTorch 5": make_torch}


if __name__ == "__main__":
    main()
