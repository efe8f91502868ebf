"""Looks at finished pretraining data: records, or stored tokens.

    python -m albert_tf.pipelines.inspect_records --data_dir=examples
    python -m albert_tf.pipelines.inspect_records --data_dir=examples --verify
    python -m albert_tf.pipelines.inspect_records --input='examples/train-*' \\
        --vocab_model=vocab.model --show=3
    python -m albert_tf.pipelines.inspect_records --data_dir=examples --split=64 \\
        --compress=gzip --output_dir=resharded

The first prints what is there, the second names all that is damaged and ends with 1 if anything
is. See docs/pretraining_data.md.
"""

from absl import flags

from albert_tf import command_line
from albert_tf.pipelines.examples.example_settings import ExampleSettings
from albert_tf.pipelines.inspection import sources
from albert_tf.pipelines.inspection.settings import InspectionSettings
from albert_tf.pretraining.settings import FreshExampleSettings
from albert_tf.settings import own_rows

_EXAMPLES = [row.name for row in own_rows(ExampleSettings)]


def main() -> None:
    """Does what the flags ask."""
    settings = command_line.settings_from_flags(InspectionSettings, flags.FLAGS)
    examples = command_line.settings_from_flags(FreshExampleSettings, flags.FLAGS, _EXAMPLES)
    source = sources.find(settings)
    given = examples.values()
    if given and not source.is_tokens:
        raise ValueError(
            f"{', '.join(f'`{name}`' for name in given)} must be given with stored tokens. "
            f"Received: records of {settings.data_dir or ', '.join(settings.input)}"
        )
    command_line.load_tensorflow()
    from albert_tf.pipelines.inspection import inspection

    inspection.inspect(settings, source, examples.filled_in(), command_line.print_now)


if __name__ == "__main__":
    command_line.define_flags(InspectionSettings)
    command_line.define_flags(FreshExampleSettings, _EXAMPLES)
    command_line.run(main)
