"""What defines a fine-tuning run: run.json keeps its form, so that a run that was begun goes on."""

import dataclasses
import json
import types

from albert_tf.finetuning import finetune, start
from albert_tf.finetuning.settings import FinetuningRun, TrainingSettings

# Of a run with these settings, before they were parts.
DESCRIPTION = {
    "accumulation_steps": 1,
    "batch_size": 32,
    "beta_2": 0.999,
    "bias_correction": True,
    "class_weights": [],
    "classifier_dropout": None,
    "config": None,
    "decay_power": 1.0,
    "early_stopping_evaluations": 0,
    "encoder_dropout": None,
    "eval_steps": 0,
    "frozen": [],
    "init_checkpoint": "m",
    "initial_attention": "random",
    "layer_decay": 1.0,
    "learning_rate": 2e-05,
    "lora_alpha": None,
    "lora_rank": 0,
    "max_gradient_norm": 1.0,
    "num_train_epochs": 3.0,
    "optimizer": "adamw",
    "options": {
        "answer_head": "plain",
        "data_source": "files",
        "dev_fraction": 0.1,
        "doc_stride": 128,
        "file_format": None,
        "has_header": True,
        "id_column": None,
        "label_column": "label",
        "labels": [],
        "levels": ["middle", "high"],
        "max_answer_tokens": 30,
        "max_qa_length": 128,
        "max_query_length": 64,
        "max_seq_length": 128,
        "metric": None,
        "n_best": 20,
        "quoting": None,
        "skip_malformed": False,
        "text_b_column": None,
        "text_column": "text",
    },
    "precision": "float32",
    "seeds": "each in a folder of its own",
    "task": "classification",
    "train": True,
    "train_steps": 0,
    "vocab_model": None,
    "vocabulary": "v",
    "warmup_proportion": 0.1,
    "warmup_steps": 0,
    "weight_decay": 0.01,
}


@dataclasses.dataclass
class Notes:
    task: str = "classification"


def test_the_description_of_a_run_is_that_of_before_the_parts(monkeypatch):
    monkeypatch.setattr(start, "digest_of_weights", lambda directory: f"weights of {directory}")
    run = FinetuningRun.of(
        task="classification",
        train_file="a",
        encoding="latin-1",
        output_dir="o",
        init_checkpoint="m",
        seeds=(1, 2),
        log_steps=3,
    )
    task = types.SimpleNamespace(
        notes=Notes,
        model_arguments=lambda: {"x": 1},
        test_splits=(),
        options=run.options.filled(),
    )
    described = finetune._describe(run, task, {}, types.SimpleNamespace(fingerprint="v"))
    assert json.loads(json.dumps(described)) == {
        **DESCRIPTION,
        "task_settings": {"task": "classification", "x": 1},
        "data": {},
        "init_weights": "weights of m",
    }


def test_epochs_become_steps():
    assert TrainingSettings().in_steps(10).train_steps == 30
    short = TrainingSettings(num_train_epochs=0.25, eval_steps=4).in_steps(10)
    assert (short.train_steps, short.eval_steps, short.checkpoint_steps) == (2, 4, 4)
    by_steps = TrainingSettings(train_steps=7).in_steps(10)
    assert (by_steps.train_steps, by_steps.eval_steps) == (7, 7)
