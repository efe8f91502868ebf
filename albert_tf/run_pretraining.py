"""Pretrains ALBERT on the records that build_pretraining_data made.

    python -m albert_tf.run_pretraining --flagfile=configs/pretrain_mini_wiki_books.flags \\
        --data_dir=data/wiki_books --output_dir=runs/mini

The same command again goes on from the last checkpoint.
"""

from absl import flags

from albert_tf import command_line, setting_checks
from albert_tf.config import INITIAL_ATTENTIONS, preset_names
from albert_tf.pretraining.settings import PretrainingRun
from albert_tf.training.settings import OPTIMIZERS, PRECISIONS, TrainingSettings

FLAGS = flags.FLAGS

flags.DEFINE_string(
    "config",
    None,
    f"Architecture: a JSON file or one of {', '.join(preset_names())}; by default that of "
    "--init_checkpoint.",
)
flags.DEFINE_string("data_dir", None, "Folder that build_pretraining_data made.")
flags.DEFINE_list("input", [], "Instead of --data_dir: patterns of training record files.")
flags.DEFINE_list("held_out", [], "With --input: patterns of held-out record files.")
flags.DEFINE_string("vocab_model", None, "With --input: the SentencePiece model of the records.")
flags.DEFINE_string("output_dir", None, "Becomes the model directory; holds the run meanwhile.")
flags.DEFINE_string("init_checkpoint", None, "Model directory whose weights to start from.")
flags.DEFINE_bool(
    "init_optimizer",
    False,
    "With --init_checkpoint: go on with its optimizer and step, as run_conversion brings them.",
)
flags.DEFINE_bool(
    "allow_other_vocabulary",
    False,
    "With --init_checkpoint: go on although its vocabulary is not that of the records.",
)
flags.DEFINE_string(
    "initial_attention",
    "random",
    f"One of {', '.join(INITIAL_ATTENTIONS)}; pointed lets small models read word "
    "order and tell segments apart from the first step (docs/pretraining.md).",
)
flags.DEFINE_float(
    "sentence_order_weight",
    1.0,
    "Factor of the sentence-order loss; the original has 1. A small model that knows some words "
    "learns sentence order with more (docs/pretraining.md).",
)
flags.DEFINE_string("optimizer", "lamb", f"One of {', '.join(OPTIMIZERS)}.")
flags.DEFINE_float("learning_rate", 0.00176, "Rate at the end of the warm-up.")
flags.DEFINE_integer("warmup_steps", 3125, "Steps of linear warm-up.")
flags.DEFINE_float("decay_power", 1.0, "Power of the decay to 0; 1 is linear.")
flags.DEFINE_float("weight_decay", 0.01, "Not applied to biases and layer normalisations.")
flags.DEFINE_float("beta_2", 0.999, "Decay of the optimizer's second moment.")
flags.DEFINE_float("max_gradient_norm", 1.0, "Clip the gradients' global norm; 0 does not.")
flags.DEFINE_string("precision", "float32", f"One of {', '.join(PRECISIONS)}.")
flags.DEFINE_bool(
    "jit_compile",
    False,
    "On a GPU: compile each step as a whole with XLA. Steps are several times as fast, after a "
    "minute of compiling.",
)
flags.DEFINE_integer("seed", 0, "Of the initial weights, the dropout and the data order.")
flags.DEFINE_integer("train_steps", 125_000, "Updates in all.")
flags.DEFINE_integer("batch_size", 4096, "Examples an update, B.")
flags.DEFINE_integer("accumulation_steps", 1, "Parts in which a batch passes the model.")
flags.DEFINE_integer("eval_batch_size", 64, "Examples a batch in evaluation.")
flags.DEFINE_integer("eval_examples", 10_000, "Held-out examples to evaluate on, at most.")
flags.DEFINE_integer("eval_steps", 5000, "Steps between two evaluations.")
flags.DEFINE_integer("checkpoint_steps", 5000, "Steps between two checkpoints.")
flags.DEFINE_integer("keep_checkpoints", 5, "Newest checkpoints to keep.")
flags.DEFINE_integer(
    "log_steps",
    0,
    "Steps between two lines of progress; 0 for some forty a run, and one in 100 steps.",
)
flags.mark_flags_as_required(["output_dir"])


def main():
    """Turns the flags into a run and runs it."""
    settings = command_line.dataclass_from_flags(TrainingSettings, FLAGS)
    run = command_line.dataclass_from_flags(PretrainingRun, FLAGS, settings=settings)
    run.check()
    for name in ("data_dir", "init_checkpoint"):
        if FLAGS[name].value:
            setting_checks.check_folder(f"--{name}", FLAGS[name].value)
    if run.vocab_model:
        setting_checks.check_file("--vocab_model", run.vocab_model)
    setting_checks.check_output("--output_dir", run.output_dir)
    command_line.load_tensorflow()
    from albert_tf.pretraining import pretrain

    flags_text = command_line.own_flags_as_text(FLAGS)
    pretrain.pretrain(run, flags_text, report=command_line.print_now)


if __name__ == "__main__":
    command_line.run(main)
