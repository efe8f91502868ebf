"""Fine-tunes ALBERT on a task, or evaluates a fine-tuned model.

    python -m albert_tf.run_finetuning --flagfile=configs/finetune_mrpc.flags \\
        --data_dir=GLUE --init_checkpoint=models/albert_base_v2 --output_dir=runs/mrpc

The same command again goes on where it was killed.
"""

from absl import flags

from albert_tf import command_line, compilation_cache, setting_checks
from albert_tf.compilation_cache import CompilationSettings
from albert_tf.finetuning.settings import RANDOM, FinetuningRun

FLAGS = flags.FLAGS

command_line.define_flags(FinetuningRun)
command_line.define_flags(CompilationSettings)


def main() -> None:
    """Turns the flags into a run and runs it."""
    run = command_line.settings_from_flags(FinetuningRun, FLAGS)
    options, init_checkpoint = run.options, run.start.init_checkpoint
    if options.data_dir and options.data_source == "files":
        setting_checks.check_folder("data_dir", options.data_dir)
    for name in ("train_file", "dev_file", "test_file"):
        if FLAGS[name].value:
            setting_checks.check_file(name, FLAGS[name].value)
    if init_checkpoint not in (None, RANDOM):
        setting_checks.check_folder("init_checkpoint", init_checkpoint)
    setting_checks.check_output("output_dir", run.output_dir)
    compilation_cache.keep_programs(command_line.settings_from_flags(CompilationSettings, FLAGS))
    command_line.load_tensorflow()
    from albert_tf.finetuning import finetune

    flags_text = command_line.own_flags_as_text(FLAGS)
    finetune.finetune(run, flags_text, report=command_line.print_now)


if __name__ == "__main__":
    command_line.run(main)
