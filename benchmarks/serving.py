"""Classification of raw text with ALBERT-base: our exports beside the pipeline of transformers.

    python benchmarks/serving.py --texts=GLUE/SST-2/dev.tsv --vocab_model=30k-clean.model \\
        --torch_python=venv_transformers5/bin/python

All sides have the same random weights (which cost as much as trained ones), take strings and give a
label with its probability, on as many threads as there are processors. The SavedModels have the
tokenizer inside; LiteRT and ONNX get ids from our tokenizer in Python; the pipeline is
`transformers.pipeline("text-classification")` with its own. Each side is a process of its own that
waits for its turn, and the sides take turns: one text at a time, then batches of 32, the same texts
in the same order for all. The first pass of each is not counted.
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

import numpy as np  # noqa: E402

MAX_SEQ_LENGTH = 128
LABELS = ["negative", "positive"]
EXPORTS = {
    "SavedModel float32": "float32",
    "SavedModel bfloat16": "bfloat16",
    "SavedModel int8": "int8",
}


def main():
    """Exports the model, then measures all sides in turns and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=pathlib.Path, help="a file with a text in column 1, a head")
    parser.add_argument("--vocab_model", type=pathlib.Path)
    parser.add_argument("--torch_python", help="with transformers 5 and torch")
    parser.add_argument("--config", default="albert_base_v2")
    parser.add_argument("--single", type=int, default=40, help="texts that are asked one by one")
    parser.add_argument("--batches", type=int, default=4, help="batches of 32 a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sides", help="some of the sides, by default all")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--work", help=argparse.SUPPRESS, type=pathlib.Path)
    arguments = parser.parse_args()
    if arguments.side:
        serve(SIDES[arguments.side], arguments.work)
        return
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        prepare(arguments, work)
        names = arguments.sides.split(",") if arguments.sides else list(SIDES)
        measure(arguments, work, names)


def prepare(arguments, work):
    """Writes the texts, the model directory and all exports."""
    from albert_tf import AlbertClassifier
    from albert_tf.config import AlbertConfig
    from albert_tf.exporting import export
    from albert_tf.pipelines.tokenizer.tokenization import Tokenizer

    lines = arguments.texts.read_text(encoding="utf-8").splitlines()[1:]
    texts = [line.split("\t")[0] for line in lines]
    chosen = np.random.default_rng(0).permutation(len(texts))
    count = max(arguments.single, 32 * arguments.batches)
    chosen_texts = [texts[i] for i in chosen[:count]]
    (work / "texts.json").write_text(json.dumps(chosen_texts), encoding="utf-8")
    model = AlbertClassifier(AlbertConfig.from_preset(arguments.config), labels=LABELS)
    model.save_pretrained(work / "model", Tokenizer(arguments.vocab_model))
    task = {"kind": "classification", "max_seq_length": MAX_SEQ_LENGTH}
    (work / "model" / "task.json").write_text(json.dumps(task), encoding="utf-8")
    for name, precision in EXPORTS.items():
        also = ("litert", "litert_int8", "onnx") if precision == "float32" else ()
        settings = export.ExportSettings(precision=precision, also=also)
        export.export(work / "model", work / name, settings, report=lambda line: None)


def measure(arguments, work, names):
    """Lets each side answer in turns; prints latencies and throughputs."""
    sides = {}
    for name in names:
        python = arguments.torch_python if name.startswith("transformers") else sys.executable
        if not python:
            continue
        command = [python, __file__, f"--side={name}", f"--work={work}"]
        sides[name] = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        ask(sides[name], {"single": 4, "batches": 1})
        ask(sides[name], {"single": arguments.single, "batches": arguments.batches})
        print(f"ready: {name}", flush=True)
    single, batched = ({name: [] for name in sides} for _ in range(2))
    for _ in range(arguments.rounds):
        for name, process in sides.items():
            request = {"single": arguments.single, "batches": arguments.batches}
            found = ask(process, request)
            single[name] += found["single"]
            batched[name] += found["batches"]
    for process in sides.values():
        process.stdin.close()
        process.wait()
    print(
        f"\n{'':24}{'one text: p50':>14}{'p95 ms':>9}{'32 texts: p50':>15}{'p95 ms':>9}"
        f"{'texts/s':>9}"
    )
    for name in sides:
        ones, many = (1000 * np.array(times[name]) for times in (single, batched))
        rate = 32 * len(many) / (many.sum() / 1000)
        print(
            f"{name:24}{np.percentile(ones, 50):>14.1f}{np.percentile(ones, 95):>9.1f}"
            f"{np.percentile(many, 50):>15.0f}{np.percentile(many, 95):>9.0f}{rate:>9.1f}"
        )


def ask(process, request):
    """Sends a request to a side and returns the times that it took."""
    print(json.dumps(request), file=process.stdin, flush=True)
    line = process.stdout.readline()
    while line and not line.startswith("{"):
        line = process.stdout.readline()
    if not line:
        sys.exit(f"a side ended: {' '.join(process.args)}")
    return json.loads(line)


def serve(make_side, work):
    """Answers requests from standard input: times of single texts and of batches, in seconds."""
    texts = json.loads((work / "texts.json").read_text(encoding="utf-8"))
    classify = make_side(work)
    for line in sys.stdin:
        request = json.loads(line)
        found = {"single": [], "batches": []}
        groups = [("single", texts[n : n + 1]) for n in range(request["single"])]
        groups += [("batches", texts[32 * n : 32 * n + 32]) for n in range(request["batches"])]
        for kind, group in groups:
            start = time.perf_counter()
            answers = classify(group)
            found[kind].append(time.perf_counter() - start)
            assert len(answers) == len(group)
        print(json.dumps(found), flush=True)


def saved_model(name):
    """Returns the side of an export, asked as any TensorFlow program would."""

    def make(work):
        import tensorflow as tf
        import tensorflow_text  # noqa: F401

        served = tf.saved_model.load(str(work / name / "1"))
        classify = served.signatures["classify"]

        def answer(texts):
            found = classify(text=tf.constant(texts))
            return list(zip(found["label"].numpy(), found["score"].numpy(), strict=True))

        answer.model = served  # the signatures do not keep it
        return answer

    return make


def ids_file(file_name):
    """Returns the side of a file of ids, with our tokenizer before it."""

    def make(work):
        from scipy.special import softmax

        from albert_tf.pipelines.task_data import text_examples
        from albert_tf.pipelines.task_data.text_examples import TextExample
        from albert_tf.pipelines.tokenizer.tokenization import Tokenizer

        tokenizer = Tokenizer(work / "model" / "spiece.model")
        run = RUNNERS[pathlib.Path(file_name).suffix](work / "SavedModel float32" / "1" / file_name)

        def answer(texts):
            examples = [TextExample("", text) for text in texts]
            encoded = text_examples.encode_texts(examples, tokenizer, MAX_SEQ_LENGTH)
            batch = encoded.batch(np.arange(len(texts)), int(encoded.lengths().max()))
            scores = softmax(run(batch), axis=-1)
            return [(LABELS[row.argmax()], row.max()) for row in scores]

        return answer

    return make


def run_litert(path):
    """Returns a function of a batch of ids to scores."""
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(str(path), num_threads=os.cpu_count()).get_signature_runner()
    return lambda batch: runner(**batch)["scores"]


def run_onnx(path):
    """Returns a function of a batch of ids to scores."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda batch: session.run(["scores"], batch)[0]


def pipeline(dtype):
    """Returns the side of transformers, which is what a user would pick instead."""

    def make(work):
        import torch
        import transformers

        transformers.logging.set_verbosity_error()
        classify = transformers.pipeline(
            "text-classification", model=str(work / "model"), dtype=getattr(torch, dtype)
        )
        return lambda texts: classify(
            texts, batch_size=len(texts), truncation=True, max_length=MAX_SEQ_LENGTH
        )

    return make


RUNNERS = {".tflite": run_litert, ".onnx": run_onnx}
SIDES = {
    **{name: saved_model(name) for name in EXPORTS},
    "LiteRT float32": ids_file("litert.tflite"),
    "LiteRT int8": ids_file("litert_int8.tflite"),
    "ONNX float32": ids_file("onnx.onnx"),
    "transformers float32": pipeline("float32"),
    "transformers bfloat16": pipeline("bfloat16"),
}


if __name__ == "__main__":
    main()
