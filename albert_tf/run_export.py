"""Writes a model directory as a SavedModel that takes raw text, for TensorFlow Serving and others.

    python -m albert_tf.run_export --model_dir=runs/mrpc --output=served/mrpc

makes `served/mrpc/1/`, the next time `served/mrpc/2/`. A version appears whole, and only after a
process that has nothing of albert_tf got the same answers from it as from the model itself.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from absl import flags

from albert_tf import command_line, setting_checks
from albert_tf.exporting.settings import ExportSettings
from albert_tf.tasks.options import TaskOptions

if TYPE_CHECKING:
    from albert_tf.exporting.signatures import LoadedModel

FLAGS = flags.FLAGS

_COLUMNS = ("text_column", "text_b_column", "label_column", "label_columns")

flags.DEFINE_string(
    "model_dir", None, "Model directory, for example made by run_finetuning.", required=True
)
flags.DEFINE_string(
    "output", None, "Folder of versions; the next number is written.", required=True
)
command_line.define_flags(ExportSettings)
flags.DEFINE_string(
    "data_dir", None, "Data of the model's task: its quality is measured and noted in the sheet."
)
flags.DEFINE_string("dev_file", None, "The same for tasks that read a file.")
command_line.define_flags(TaskOptions, _COLUMNS)


def main() -> None:
    """Exports the model."""
    settings = command_line.settings_from_flags(ExportSettings, FLAGS)
    setting_checks.check_folder("model_dir", FLAGS.model_dir)
    if FLAGS.data_dir:
        setting_checks.check_folder("data_dir", FLAGS.data_dir)
    if FLAGS.dev_file:
        setting_checks.check_file("dev_file", FLAGS.dev_file)
    setting_checks.check_output("output", FLAGS.output)
    setting_checks.check_no_pattern("output", os.path.abspath(FLAGS.output))
    command_line.load_tensorflow()
    from albert_tf.exporting import export

    quality = _measure if FLAGS.data_dir or FLAGS.dev_file else None
    try:
        export.export(
            FLAGS.model_dir, FLAGS.output, settings, quality, report=command_line.print_now
        )
    except KeyboardInterrupt as stopped:
        stopped.add_note("nothing was published")
        raise


def _measure(loaded: LoadedModel) -> dict[str, Any]:
    from albert_tf.exporting import quality

    names = ("data_dir", "dev_file", *_COLUMNS)
    options = command_line.settings_from_flags(TaskOptions, FLAGS, names)
    where = {name: getattr(options, name) for name in names}
    result = quality.measure(loaded, FLAGS.model_dir, **where)
    for split, scores in result["splits"].items():
        command_line.print_now(f"{result['task']}, {split}: {scores}")
    return result


if __name__ == "__main__":
    command_line.run(main)
