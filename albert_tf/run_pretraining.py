"""Pretrains ALBERT on the records that build_pretraining_data made.

    python -m albert_tf.run_pretraining --flagfile=configs/pretrain_mini_wiki_books.flags \\
        --data_dir=data/wiki_books --output_dir=runs/mini

The same command again goes on from the last checkpoint.
"""

import os

from absl import flags

from albert_tf import command_line, compilation_cache, setting_checks
from albert_tf.compilation_cache import CompilationSettings
from albert_tf.pretraining.settings import PretrainingRun

FLAGS = flags.FLAGS

command_line.define_flags(PretrainingRun)
command_line.define_flags(CompilationSettings)


def main() -> None:
    """Turns the flags into a run and runs it."""
    run = command_line.settings_from_flags(PretrainingRun, FLAGS)
    for data_dir in run.data.data_dirs() if run.data.data_dir else ():
        setting_checks.check_folder("data_dir", data_dir)
    # A run that has checkpoints of its own goes on from these.
    if run.start.init_checkpoint and not os.path.isdir(os.path.join(run.output_dir, "checkpoints")):
        setting_checks.check_folder("init_checkpoint", run.start.init_checkpoint)
    if run.data.vocab_model:
        setting_checks.check_file("vocab_model", run.data.vocab_model)
    setting_checks.check_output("output_dir", run.output_dir)
    compilation_cache.keep_programs(command_line.settings_from_flags(CompilationSettings, FLAGS))
    command_line.load_tensorflow()
    from albert_tf.pretraining import pretrain

    flags_text = command_line.own_flags_as_text(FLAGS)
    pretrain.pretrain(run, flags_text, report=command_line.print_now)


if __name__ == "__main__":
    command_line.run(main)
