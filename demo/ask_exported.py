"""Asks the exported classifier in raw text. Nothing of albert_tf is imported: TensorFlow alone."""

import argparse
import pathlib
import sys

import tensorflow as tf
import tensorflow_text  # noqa: F401 - brings the tokenizer's ops

SENTENCES = (
    "Opens a socket and waits for the first byte.",
    "The layer normalizes its inputs over the last axis.",
)


def main():
    """Loads the newest version and asks it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--exported", required=True, type=pathlib.Path)
    arguments = parser.parse_args()
    version = max(int(path.name) for path in arguments.exported.iterdir() if path.name.isdecimal())
    classify = tf.saved_model.load(str(arguments.exported / str(version))).signatures["classify"]
    assert "albert_tf" not in sys.modules  # noqa: S101 - what this stage is there to show
    answers = classify(text=tf.constant(SENTENCES))
    print("\nThe SavedModel, asked by TensorFlow alone")
    for sentence, label, score in zip(
        SENTENCES, answers["label"].numpy(), answers["score"].numpy(), strict=True
    ):
        print(f"    {sentence}\n        {label.decode()} {score:.0%}")


if __name__ == "__main__":
    main()
