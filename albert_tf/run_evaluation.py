"""Measures what a pretrained model knows, before any fine-tuning.

    python -m albert_tf.run_evaluation --model_dir=runs/mini --data_dir=examples
    python -m albert_tf.run_evaluation --model_dir=runs/mini --data_dir=tokens \\
        --task_texts=GLUE/SST-2/dev.tsv,GLUE/MRPC/dev.tsv

Held-out words by kind, sentence order, minimal pairs of grammar and, with stored tokens, texts that
stand in the training text. Tables are printed, and evaluation.json and a page written.
"""

from absl import flags

from albert_tf import command_line, setting_checks
from albert_tf.evaluation.settings import EvaluationRun

FLAGS = flags.FLAGS

command_line.define_flags(EvaluationRun)


def main() -> None:
    """Evaluates the model."""
    run = command_line.settings_from_flags(EvaluationRun, FLAGS)
    setting_checks.check_folder("model_dir", run.model_dir)
    setting_checks.check_folder("data_dir", run.data_dir)
    setting_checks.check_output("output_dir", run.output_folder())
    command_line.load_tensorflow()
    from albert_tf.evaluation import evaluate

    evaluate.evaluate(run, report=command_line.print_now)


if __name__ == "__main__":
    command_line.run(main)
