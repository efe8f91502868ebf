"""KerasHub's ALBERT converted to ours gives KerasHub's numbers, and ours gives ours in KerasHub."""

import keras
import numpy as np
import pytest

from albert_tf.checkpoints import published_configs
from albert_tf.checkpoints.weight_names import LAYOUTS
from albert_tf.conversion import convert
from albert_tf.model import language_models

keras_hub = pytest.importorskip("keras_hub", exc_type=ImportError)

pytestmark = [
    pytest.mark.oracle,
    # Keras's own, with a NumPy newer than it.
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]

SIZES = {
    "groups": {
        "vocabulary_size": 60,
        "num_layers": 6,
        "num_heads": 4,
        "num_groups": 3,
        "num_inner_repetitions": 2,
        "embedding_dim": 8,
        "hidden_dim": 16,
        "intermediate_dim": 32,
        "max_sequence_length": 20,
    },
    "base": {
        "vocabulary_size": 500,
        "num_layers": 12,
        "num_heads": 12,
        "embedding_dim": 128,
        "hidden_dim": 768,
        "intermediate_dim": 3072,
    },
    "xlarge": {
        "vocabulary_size": 500,
        "num_layers": 3,
        "num_heads": 16,
        "embedding_dim": 128,
        "hidden_dim": 2048,
        "intermediate_dim": 8192,
    },
}

# What KerasHub takes where nothing is said.
DEFAULTS = {
    "num_groups": 1,
    "num_inner_repetitions": 1,
    "max_sequence_length": 512,
    "num_segments": 2,
    "dropout": 0.0,
}


def make_theirs(size):
    backbone = keras_hub.models.AlbertBackbone(**SIZES[size])
    generator = np.random.default_rng(0)
    for weight in backbone.weights:
        # Biases and layer normalisations start at 0 and 1, which would hide mistakes.
        weight.assign(weight + generator.normal(0, 0.02, weight.shape))
    return backbone


def make_batch(size, length):
    generator = np.random.default_rng(0)
    ids = generator.integers(5, SIZES[size]["vocabulary_size"], (2, length)).astype(np.int32)
    mask, segments = np.ones_like(ids), np.zeros_like(ids)
    segments[:, length // 2 :] = 1
    if length > 4:
        mask[0, -3:] = 0
    return {"input_ids": ids, "input_mask": mask, "segment_ids": segments}


def run_theirs(model, batch, **more):
    return model(
        {
            "token_ids": batch["input_ids"],
            "padding_mask": batch["input_mask"],
            "segment_ids": batch["segment_ids"],
            **more,
        }
    )


def assert_close(ours, theirs, mask=None):
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    if mask is not None:
        ours, theirs = ours[mask > 0], theirs[mask > 0]
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5 * max(1.0, np.abs(theirs).max()))


@pytest.mark.parametrize(("size", "length"), [("groups", 16), ("base", 512), ("xlarge", 24)])
def test_backbone_agrees(tmp_path, size, length):
    theirs = make_theirs(size)
    theirs.save_to_preset(str(tmp_path / "preset"))
    ours = convert.convert(tmp_path / "preset", tmp_path / "ours", report=lambda line: None)
    batch = make_batch(size, length)
    expected, outputs = run_theirs(theirs, batch), ours(batch)
    assert_close(outputs["sequence_output"], expected["sequence_output"], batch["input_mask"])
    assert_close(outputs["pooled_output"], expected["pooled_output"])


def test_masked_lm_agrees(tmp_path):
    theirs = keras_hub.models.AlbertMaskedLM(make_theirs("groups"), preprocessor=None)
    theirs.save_to_preset(str(tmp_path / "preset"))
    ours = convert.convert(tmp_path / "preset", tmp_path / "ours", report=lambda line: None)
    batch = make_batch("groups", 16)
    # KerasHub's head has this epsilon, where ALBERT was trained with 1e-12.
    assert theirs.masked_lm_head.layer_norm_epsilon == 1e-5
    ours.masked_lm_head.layer_norm.epsilon = 1e-5
    positions = np.array([[1, 4, 5], [2, 3, 9]], np.int32)
    expected = run_theirs(theirs, batch, mask_positions=positions)
    logits = np.asarray(ours({**batch, "masked_lm_positions": positions}))
    # KerasHub's head ends in a softmax unless told otherwise.
    found = np.asarray(expected)
    if np.allclose(found.sum(-1), 1, atol=1e-4):
        logits = np.exp(logits - logits.max(-1, keepdims=True))
        logits /= logits.sum(-1, keepdims=True)
    assert_close(logits, found)


@pytest.mark.parametrize("size", SIZES)
def test_our_weights_give_our_outputs_in_keras_hub(size):
    described = {"class_name": "AlbertBackbone", "config": {**DEFAULTS, **SIZES[size]}}
    config = published_configs.from_keras_hub(described, "the test")
    keras.utils.set_random_seed(0)
    ours = language_models.AlbertModel(config)
    for weight in ours.weights:
        weight.assign(weight + keras.random.normal(weight.shape, stddev=0.02))
    theirs = keras_hub.models.AlbertBackbone(**SIZES[size])
    held = {weight.path: weight for weight in theirs.weights}
    for path, weight in ours.weights_by_path().items():
        place = LAYOUTS["keras_hub"].place(path)
        held.pop(place.name).assign(place.to_theirs(weight.numpy(), config.num_attention_heads))
    assert not held
    batch = make_batch(size, 16)
    expected, outputs = run_theirs(theirs, batch), ours(batch)
    assert_close(outputs["sequence_output"], expected["sequence_output"], batch["input_mask"])
    assert_close(outputs["pooled_output"], expected["pooled_output"])
