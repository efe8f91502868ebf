"""What defines a pretraining run: run.json keeps its form, so that a run that was begun goes on."""

import json
import types

from albert_tf.config import AlbertConfig
from albert_tf.pretraining import pretrain
from albert_tf.pretraining.settings import PretrainingRun

# Of a run with these settings, before they were parts.
DESCRIPTION = {
    "beta_2": 0.999,
    "decay_power": 1.0,
    "init_checkpoint": None,
    "init_optimizer": False,
    "initial_attention": "random",
    "learning_rate": 0.00176,
    "max_gradient_norm": 1.0,
    "optimizer": "lamb",
    "precision": "float32",
    "seed": 0,
    "sentence_order_weight": 1.0,
    "settings": {"accumulation_steps": 1, "batch_size": 4096, "train_steps": 125000},
    "warmup_steps": 3125,
    "weight_decay": 0.01,
}


def test_the_description_of_a_run_is_that_of_before_the_parts():
    config = AlbertConfig.from_preset("albert_tiny")
    described = pretrain._describe(
        PretrainingRun.of(data_dir="d", output_dir="o", config="c", eval_steps=7),
        config,
        types.SimpleNamespace(train_examples=3, describe=lambda: {"records": "bytes"}),
        types.SimpleNamespace(fingerprint="v"),
    )
    assert json.loads(json.dumps(described)) == {
        **DESCRIPTION,
        "config": json.loads(json.dumps(config.to_dict())),
        "data": {"vocabulary": "v", "records": "bytes", "train_examples": 3},
    }
