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
from albert_tf.conversion.settings import ConversionSettings

FLAGS = flags.FLAGS

command_line.define_flags(ConversionSettings)


def main() -> None:
    """Converts what the flags name."""
    settings = command_line.settings_from_flags(ConversionSettings, FLAGS)
    if not os.path.exists(settings.input):
        # The prefix of a TensorFlow 1 checkpoint is the beginning of several names.
        if not glob.glob(f"{glob.escape(settings.input)}.*"):
            raise ValueError(f"`input` must exist. Received: {settings.input}")
    if settings.vocab_model:
        setting_checks.check_file("vocab_model", settings.vocab_model)
    setting_checks.check_output("output", settings.output)
    marks = (os.path.join(settings.input, name) for name in ("checkpoint", "saved_model.pb"))
    if not os.path.exists(settings.input) or any(map(os.path.exists, marks)):
        setting_checks.check_no_pattern("input", settings.input)
    if settings.format == "tf1":
        setting_checks.check_no_pattern("output", settings.output)
    regrouping = {}
    if not settings.share_across_layers:
        regrouping["share_across_layers"] = False
    if settings.num_hidden_groups:
        regrouping["num_hidden_groups"] = settings.num_hidden_groups
    config = find_config(settings.config) if settings.config else None
    command_line.load_tensorflow()
    from albert_tf.conversion import convert

    convert.convert(
        settings.input,
        settings.output,
        settings.format,
        head=settings.head,
        initialize_head=settings.initialize_head,
        config=config,
        vocabulary=settings.vocab_model,
        lower_case=settings.lower_case,
        strip_accents=settings.strip_accents,
        overwrite=settings.overwrite,
        regrouping=regrouping,
    )


if __name__ == "__main__":
    command_line.run(main, model_directories=["input"])
