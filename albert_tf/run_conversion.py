"""Converts ALBERT checkpoints of Google, transformers, KerasHub and TF-Hub to model directories.

    python -m albert_tf.run_conversion --input=albert_base_v2.tar.gz --output=models/base
    python -m albert_tf.run_conversion --input=models/base --output=google/base --format=tf1

It says what it found, lists what does not fit, and compares outputs before the result appears.
"""

import glob
import os

from absl import flags

from albert_tf import command_line, setting_checks
from albert_tf.checkpoints.published_configs import find_config

FLAGS = flags.FLAGS

_FORMATS = ("transformers", "tf1")
# The keys of `convert.HEADS`.
_HEADS = (
    *("pretraining", "masked_lm", "none", "classification", "regression", "tokens", "choice"),
    *("span", "answerability"),
)

flags.DEFINE_string(
    "input",
    None,
    "Model directory, TensorFlow 1 checkpoint, SavedModel, KerasHub preset, or a tar of one.",
)
flags.DEFINE_string("output", None, "Folder to write.")
flags.DEFINE_enum(
    "format",
    "transformers",
    _FORMATS,
    "transformers writes a model directory, tf1 what Google's code restores.",
)
flags.DEFINE_enum("head", None, _HEADS, "What the head is for, where the names do not tell.")
flags.DEFINE_bool("initialize_head", False, "Let the head start untrained.")
flags.DEFINE_string(
    "config", None, "JSON file or preset, for an input that has no config of its own."
)
flags.DEFINE_string("vocab_model", None, "SentencePiece model to put beside the weights.")
flags.DEFINE_bool("overwrite", False, "Replace an existing --output.")
flags.DEFINE_bool("share_across_layers", True, "No: every layer gets weights of its own.")
flags.DEFINE_integer("num_hidden_groups", None, "Groups to deal the layers out to.", lower_bound=1)
flags.mark_flags_as_required(["input", "output"])


def main():
    """Converts what the flags name."""
    if not os.path.exists(FLAGS.input):
        # The prefix of a TensorFlow 1 checkpoint is the beginning of several names.
        if not glob.glob(f"{glob.escape(FLAGS.input)}.*"):
            raise ValueError(f"--input must exist. Received: {FLAGS.input}")
    if FLAGS.vocab_model:
        setting_checks.check_file("--vocab_model", FLAGS.vocab_model)
    setting_checks.check_output("--output", FLAGS.output)
    regrouping = {}
    if not FLAGS.share_across_layers:
        regrouping["share_across_layers"] = False
    if FLAGS.num_hidden_groups:
        regrouping["num_hidden_groups"] = FLAGS.num_hidden_groups
    config = find_config(FLAGS.config) if FLAGS.config else None
    command_line.load_tensorflow()
    from albert_tf.conversion import convert

    convert.convert(
        FLAGS.input,
        FLAGS.output,
        FLAGS.format,
        head=FLAGS.head,
        initialize_head=FLAGS.initialize_head,
        config=config,
        vocabulary=FLAGS.vocab_model,
        overwrite=FLAGS.overwrite,
        regrouping=regrouping,
    )


if __name__ == "__main__":
    command_line.run(main)
