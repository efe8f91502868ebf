"""Raw text to pretraining data: finished records, or stored tokens (--format=tokens).

    python -m albert_tf.pipelines.build_pretraining_data \\
        --input='wiki/*.txt,books/*.txt' --vocab_model=vocab.model --output_dir=examples

See docs/pretraining_data.md.
"""

from absl import flags, logging

from albert_tf import command_line
from albert_tf.pipelines.building import build, example_options, example_summary


def main() -> None:
    """Builds the records that the flags ask for."""
    options = command_line.settings_from_flags(example_options.BuildOptions, flags.FLAGS)
    summary = build.build_examples(options)
    if summary is not None:
        logging.info("%s: %s", options.output_dir, example_summary.describe(summary))


if __name__ == "__main__":
    command_line.define_flags(example_options.BuildOptions)
    command_line.run(main)
