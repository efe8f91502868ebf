"""The commands under names of their own in an installed package: `albert-pretrain` and so on.

Each runs the module that `python -m` runs, and is the same command.
"""

import functools
import runpy


def _run(module: str) -> None:
    runpy.run_module(module, run_name="__main__", alter_sys=True)


pretrain = functools.partial(_run, "albert_tf.run_pretraining")
finetune = functools.partial(_run, "albert_tf.run_finetuning")
predict = functools.partial(_run, "albert_tf.run_prediction")
export = functools.partial(_run, "albert_tf.run_export")
compare = functools.partial(_run, "albert_tf.run_comparison")
evaluate = functools.partial(_run, "albert_tf.run_evaluation")
serve = functools.partial(_run, "albert_tf.run_server")
convert = functools.partial(_run, "albert_tf.run_conversion")
build_vocabulary = functools.partial(_run, "albert_tf.pipelines.build_vocabulary")
build_pairs = functools.partial(_run, "albert_tf.pipelines.build_scored_pairs")
build_questions = functools.partial(_run, "albert_tf.pipelines.build_questions")
build_data = functools.partial(_run, "albert_tf.pipelines.build_pretraining_data")
inspect_data = functools.partial(_run, "albert_tf.pipelines.inspect_records")
