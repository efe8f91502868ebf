"""Fine-tunes ALBERT on a task, or evaluates a fine-tuned model.

    python -m albert_tf.run_finetuning --flagfile=configs/finetune_mrpc.flags \\
        --data_dir=GLUE --init_checkpoint=models/albert_base_v2 --output_dir=runs/mrpc

The same command again goes on where it was killed.
"""

from absl import flags

from albert_tf import command_line, setting_checks
from albert_tf.config import INITIAL_ATTENTIONS, preset_names
from albert_tf.finetuning.settings import RANDOM, FinetuningRun
from albert_tf.pipelines.task_data import tabular
from albert_tf.tasks.options import TASKS, TaskOptions
from albert_tf.training.settings import OPTIMIZERS, PRECISIONS

FLAGS = flags.FLAGS

# The data.
flags.DEFINE_string("task", None, f"One of {', '.join(TASKS)}.")
flags.DEFINE_string("data_dir", None, "Folder in the official layout: of GLUE, SQuAD or RACE.")
flags.DEFINE_string("data_source", "files", "files, or tfds for TensorFlow Datasets.")
flags.DEFINE_string("train_file", None, "Your own data (CSV, TSV, JSON lines, Parquet), or SQuAD.")
flags.DEFINE_string("dev_file", None, "Held-out data that chooses the best checkpoint.")
flags.DEFINE_string("test_file", None, "Data without labels, with --predict_test.")
flags.DEFINE_string("text_column", "text", "Own data: column of the text.")
flags.DEFINE_string("text_b_column", None, "Own data: column of the second text of a pair.")
flags.DEFINE_string("label_column", "label", "Own data: column of the class or number.")
flags.DEFINE_list(
    "label_columns", [], "multilabel: columns of 0 and 1, one a label, instead of --label_column."
)
flags.DEFINE_string("label_separator", "|", "multilabel: between the labels in --label_column.")
flags.DEFINE_string("id_column", None, "Own data: column that names a row; its number by default.")
flags.DEFINE_list("labels", [], "Own data: the classes in order; discovered by default.")
flags.DEFINE_string(
    "metric", None, "Of those that the task reports, what chooses the best checkpoint."
)
flags.DEFINE_enum(
    "file_format",
    None,
    tabular.FORMAT_NAMES,
    "Own data: the format; by default its suffix.",
)
flags.DEFINE_bool("has_header", True, "Own data: whether the first row of CSV and TSV has names.")
flags.DEFINE_bool("quoting", None, "Own data: whether cells may be quoted; by default in CSV only.")
flags.DEFINE_string("encoding", "auto", "Of all text files but JSON of SQuAD and RACE.")
flags.DEFINE_float("dev_fraction", 0.1, "Own data: held out of --train_file without --dev_file.")
flags.DEFINE_bool("skip_malformed", False, "Count and skip rows that cannot be used.")
flags.DEFINE_integer("max_row_mb", 16, "Larger rows cannot be used.", 1, 4096)
flags.DEFINE_integer(
    "max_expansion", 100, "Times its size that a compressed file may unpack to.", lower_bound=1
)
flags.DEFINE_integer("max_seq_length", 128, "Longest sequence, in tokens; the rest is cut off.")
flags.DEFINE_integer("doc_stride", 128, "SQuAD: tokens from one window to the next.")
flags.DEFINE_integer("max_query_length", 64, "SQuAD: longest question, in tokens.")
flags.DEFINE_integer("max_qa_length", 128, "RACE: longest question with an option, in tokens.")
flags.DEFINE_string("answer_head", "plain", "SQuAD: plain, or answerability (the original's 2.0).")
flags.DEFINE_integer("n_best", 20, "SQuAD: answers to keep for a question.")
flags.DEFINE_integer("max_answer_tokens", 30, "SQuAD: longest answer.")
flags.DEFINE_list("levels", ["middle", "high"], "RACE: the schools to train and report on.")

# The model.
flags.DEFINE_string(
    "init_checkpoint",
    None,
    "Model directory to start from; random for random weights of --config.",
)
flags.DEFINE_string(
    "config", None, f"With random weights: a JSON file or one of {', '.join(preset_names())}."
)
flags.DEFINE_string("vocab_model", None, "With random weights: the SentencePiece model.")
flags.DEFINE_string(
    "initial_attention",
    "random",
    f"With random weights: one of {', '.join(INITIAL_ATTENTIONS)} (docs/pretraining.md).",
)
flags.DEFINE_float("encoder_dropout", None, "Replaces the model's dropout in the encoder.")
flags.DEFINE_float("classifier_dropout", None, "Replaces the model's dropout before the head.")
flags.DEFINE_list("frozen", [], "Parts that stay as they are: embeddings, encoder, group_0, ...")
flags.DEFINE_integer("lora_rank", 0, "Train adapters of this rank in place of the encoder.")
flags.DEFINE_float(
    "lora_alpha", None, "Scale of the adapters, times the rank; 2 * rank by default."
)
flags.DEFINE_string("precision", "float32", f"One of {', '.join(PRECISIONS)}.")
flags.DEFINE_bool(
    "jit_compile",
    False,
    "On a GPU: compile each step as a whole with XLA. Steps are several times as fast, after a "
    "minute for each length of batch.",
)

# The training.
flags.DEFINE_string("output_dir", None, "Becomes the model directory; holds all results.")
flags.DEFINE_bool("train", True, "With --notrain a fine-tuned model is evaluated.")
flags.DEFINE_bool("predict_test", False, "Also predict the test set; GLUE: submission files.")
flags.DEFINE_list("seeds", ["0"], "One run each; mean and deviation are reported.")
flags.DEFINE_float("num_train_epochs", 3.0, "Passes over the training data.")
flags.DEFINE_integer("train_steps", 0, "Updates in all, instead of epochs.")
flags.DEFINE_integer("batch_size", 32, "Examples an update.")
flags.DEFINE_integer("accumulation_steps", 1, "Parts in which a batch passes the model.")
flags.DEFINE_string("optimizer", "adamw", f"One of {', '.join(OPTIMIZERS)}.")
flags.DEFINE_float("learning_rate", 2e-5, "Rate at the end of the warm-up.")
flags.DEFINE_float("warmup_proportion", 0.1, "Part of the steps in which the rate rises.")
flags.DEFINE_integer("warmup_steps", 0, "The same in steps, instead of the proportion.")
flags.DEFINE_float("decay_power", 1.0, "Power of the decay to 0; 1 is linear.")
flags.DEFINE_float("weight_decay", 0.01, "Not applied to biases and layer normalisations.")
flags.DEFINE_float("beta_2", 0.999, "Decay of the optimizer's second moment.")
flags.DEFINE_bool(
    "bias_correction",
    True,
    "Correct AdamW's and LAMB's moments in their first steps; the original does not, and needs a "
    "long warm-up or a smaller --beta_2 for it.",
)
flags.DEFINE_list(
    "class_weights",
    [],
    "What texts (for tagging, words) of a class count in the loss: balanced, so that all classes "
    "count as much, or name:weight of some, as pos:1,neg:9.",
)
flags.DEFINE_float("max_gradient_norm", 1.0, "Clip the gradients' global norm; 0 does not.")
flags.DEFINE_float("layer_decay", 1.0, "Factor of the rate from each level to the one below it.")
flags.DEFINE_bool("pad_to_max_length", False, "Pad all batches to --max_seq_length.")
flags.DEFINE_integer("eval_batch_size", 64, "Examples a batch in evaluation.")
flags.DEFINE_integer("eval_steps", 0, "Steps between two evaluations; 0 for once an epoch.")
flags.DEFINE_integer("checkpoint_steps", 0, "Steps between two checkpoints; 0 as --eval_steps.")
flags.DEFINE_integer(
    "early_stopping_evaluations", 0, "End after so many evaluations without a better one; 0 never."
)
flags.DEFINE_integer(
    "log_steps",
    0,
    "Steps between two lines of progress; 0 for some forty a run, and one in 100 steps.",
)
flags.DEFINE_string("cache_dir", None, "Keeps encoded data; features/ in --output_dir by default.")
flags.mark_flags_as_required(["task", "output_dir"])


def main():
    """Turns the flags into a run and runs it."""
    options = command_line.dataclass_from_flags(TaskOptions, FLAGS)
    run = command_line.dataclass_from_flags(
        FinetuningRun, FLAGS, options=options, seeds=_read_seeds(FLAGS.seeds)
    )
    run.check()
    _check_paths(run, options)
    command_line.load_tensorflow()
    from albert_tf.finetuning import finetune

    flags_text = command_line.own_flags_as_text(FLAGS)
    finetune.finetune(run, flags_text, report=command_line.print_now)


def _read_seeds(texts):
    if not all(text.isdecimal() for text in texts):
        raise ValueError(f"--seeds must be numbers from 0 on. Received: {','.join(texts)}")
    return tuple(int(text) for text in texts)


def _check_paths(run, options):
    setting_checks.check_choice("--task", run.task, TASKS)
    if options.data_dir and options.data_source == "files":
        setting_checks.check_folder("--data_dir", options.data_dir)
    for name in ("train_file", "dev_file", "test_file"):
        if FLAGS[name].value:
            setting_checks.check_file(f"--{name}", FLAGS[name].value)
    if run.init_checkpoint not in (None, RANDOM):
        setting_checks.check_folder("--init_checkpoint", run.init_checkpoint)
    setting_checks.check_output("--output_dir", run.output_dir)


if __name__ == "__main__":
    command_line.run(main)
