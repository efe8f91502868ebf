"""Asks a model directory: words for masks, or vectors for texts. One JSON line a text.

    python -m albert_tf.run_prediction --model_dir=runs/mini --task=fill_mask \\
        --text="She closed the [MASK] behind her."
    python -m albert_tf.run_prediction --model_dir=runs/mini --task=features \\
        --input=texts.txt --output=vectors.jsonl
"""

import contextlib
import json
import os
import sys

from absl import app, flags

from albert_tf import inference

FLAGS = flags.FLAGS

flags.DEFINE_string("model_dir", None, "Model directory, for example made by run_pretraining.")
flags.DEFINE_enum("task", "fill_mask", ["fill_mask", "features"], "What to ask.")
flags.DEFINE_multi_string("text", [], "A text; may be given several times.")
flags.DEFINE_string("input", None, "Instead of --text: UTF-8 file with one text a line.")
flags.DEFINE_string("output", None, "JSON lines file to write; standard output by default.")
flags.DEFINE_integer("top_k", 5, "Words a mask.")
flags.mark_flag_as_required("model_dir")

_TEXTS_AT_A_TIME = 256


def main(argv):
    """Reads the texts, asks the model and writes its answers."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {' '.join(argv[1:])}")
    if bool(FLAGS.text) == bool(FLAGS.input):
        raise app.UsageError("exactly one of --text and --input must be given")
    try:
        ask = _make_asker()
        with _open_texts() as texts, _open_output() as output:
            for chunk in _in_chunks(texts):
                for answer in ask(chunk):
                    output.write(json.dumps(answer, ensure_ascii=False) + "\n")
    except (ValueError, OSError) as error:
        raise SystemExit(f"run_prediction: {error}") from error


def _make_asker():
    if FLAGS.task == "features":
        features = inference.Features.from_pretrained(FLAGS.model_dir)
        return lambda texts: map(_as_json_types, features(texts))
    fill_mask = inference.FillMask.from_pretrained(FLAGS.model_dir)
    return lambda texts: fill_mask(texts, top_k=FLAGS.top_k)


def _as_json_types(answer):
    return {
        name: value if isinstance(value, list) else value.tolist() for name, value in answer.items()
    }


def _open_texts():
    if FLAGS.text:
        return contextlib.nullcontext(FLAGS.text)
    return open(FLAGS.input, encoding="utf-8")


@contextlib.contextmanager
def _open_output():
    if not FLAGS.output:
        yield sys.stdout
        return
    partial = f"{FLAGS.output}.partial"
    with open(partial, "w", encoding="utf-8") as file:
        yield file
    os.replace(partial, FLAGS.output)


def _in_chunks(texts):
    chunk = []
    for text in texts:
        chunk.append(text.rstrip("\n"))
        if len(chunk) == _TEXTS_AT_A_TIME:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


if __name__ == "__main__":
    app.run(main)
