"""What our commands call the options of the original's scripts and of transformers' examples.

Whoever brings a command line of theirs is told the new name in one line, or why there is none.
"""

import re

_DEVICES = "leave it out; --distribute says which devices compute"
_STEPS = "leave it out; a command does what its other flags ask for"
_VOCABULARY = "--vocab_model takes the vocabulary (spiece.model, 30k-clean.model, vocab.txt)"
_CLEAN_UP = (
    "--lower_case of run_conversion and build_pretraining_data, for a vocabulary that brings no "
    "clean-up of its own; build_vocabulary builds it in"
)
_SEED = "--seed; of run_finetuning --seeds, one run each"
_KEPT = "--cache_dir keeps what was made of the texts"
_BEAMS = "leave it out; five starts with five ends each are followed"
_CHECKPOINT = "--init_checkpoint takes a model directory (docs/checkpoints.md)"
# {name of theirs: what to give here}.
_INSTEAD = {
    # google-research/albert: flags of run_pretraining.py, run_classifier.py, run_squad_v1.py,
    # run_squad_v2.py, run_race.py and create_pretraining_data.py.
    "albert_config_file": "--config",
    "albert_hub_module_handle": _CHECKPOINT,
    "cached_dir": "--cache_dir",
    "do_eval": _STEPS,
    "do_lower_case": _CLEAN_UP,
    "do_permutation": "leave it out; no published ALBERT was trained so",
    "do_predict": _STEPS,
    "do_train": _STEPS,
    "do_whole_word_mask": "--whole_word_mask",
    "dropout_prob": "--classifier_dropout",
    "eval_batch_size": "--eval_batch_size of run_pretraining and run_finetuning",
    "eval_file": "--dev_file",
    "gcp_project": _DEVICES,
    "high_only": "--levels=high",
    "init_from_group0": "run_conversion --num_hidden_groups copies the first group",
    "input_file": "--input; of run_pretraining --data_dir as well",
    "input_file_mode": "leave it out; --encoding says how text is read",
    "iterations_per_loop": "--steps_per_call",
    "keep_checkpoint_max": "--keep_checkpoints",
    "masked_lm_budget": "leave it out; with --format=tokens words are masked in training",
    "master": _DEVICES,
    "max_answer_length": "--max_answer_tokens",
    "max_eval_steps": "--eval_examples, those steps times eval_batch_size",
    "meta_data_file_path": "leave it out; a build writes summary.json by itself",
    "middle_only": "--levels=middle",
    "n_best_size": "--n_best",
    "null_score_diff_threshold": "leave it out; the threshold is tuned on the dev set and kept",
    "num_keep_checkpoint": "leave it out; the best and the last of a run are kept",
    "num_tpu_cores": _DEVICES,
    "num_train_steps": "--train_steps",
    "num_warmup_steps": "--warmup_steps",
    "output_file": "--output_dir, a folder of shards and their summary",
    "parallel": "--num_workers",
    "poly_power": "--decay_power",
    "predict_batch_size": "--eval_batch_size",
    "predict_file": "--dev_file",
    "random_next_sentence": "leave it out; segments are in order or swapped, as ALBERT has it",
    "random_seed": _SEED,
    "save_checkpoints_steps": "--checkpoint_steps",
    "spm_model_file": _VOCABULARY,
    "start_n_top": _BEAMS,
    "end_n_top": _BEAMS,
    "start_warmup_step": "leave it out; the warm-up starts at step 0",
    "task_name": "--task",
    "tpu_job_name": _DEVICES,
    "tpu_name": _DEVICES,
    "tpu_zone": _DEVICES,
    "train_batch_size": "--batch_size",
    "train_feature_file": _KEPT,
    "predict_feature_file": _KEPT,
    "predict_feature_left_file": _KEPT,
    "train_step": "--train_steps",
    "use_tpu": _DEVICES,
    "version_2_with_negative": "--task=squad2",
    "vocab_file": _VOCABULARY,
    "warmup_step": "--warmup_steps",
    # transformers: run_glue.py, run_qa.py, run_mlm.py.
    "bf16": "--precision=mixed_bfloat16",
    "config_name": "--config",
    "fp16": "--precision=mixed_float16",
    "gradient_accumulation_steps": "--accumulation_steps",
    "max_grad_norm": "--max_gradient_norm",
    "max_seq_len": "--max_seq_length",
    "max_steps": "--train_steps",
    "mlm_probability": "--masked_lm_prob",
    "model_name_or_path": _CHECKPOINT,
    "overwrite_output_dir": "leave it out; a run goes on where its folder stands",
    "per_device_eval_batch_size": "--eval_batch_size",
    "per_device_train_batch_size": "--batch_size, of all devices together",
    "save_steps": "--checkpoint_steps",
    "save_total_limit": "--keep_checkpoints",
    "tokenizer_name": _VOCABULARY,
    "validation_file": "--dev_file",
    "warmup_ratio": "--warmup_proportion",
}


def find(name: str) -> str | None:
    """Returns what to give in place of an option that a command does not have.

    >>> find("task_name")
    '--task'
    """
    return _INSTEAD.get(name) or _INSTEAD.get(name.removeprefix("no"))


def name_value(message: str) -> str:
    """Returns what to add to absl's refusal of a value that is written otherwise here, or ""."""
    parts = re.search(r"flag --(\w+)=(.*): value should be one of <(.*)>", message)
    if not parts:
        return ""
    name, value, choices = parts.groups()
    value = re.sub(r"\W|_", "", value.lower())  # SST-2, MRPC
    here = [choice for choice in choices.split("|") if choice.replace("_", "") == value]
    return f": here it is --{name}={here[0]}" if here else ""
