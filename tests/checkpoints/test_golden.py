"""What transformers and KerasHub compute with their tiny models, `testdata/golden`, we compute too.

`testdata/make_golden.py` made the files; `make test-oracle` compares with the libraries themselves.
"""

import pathlib

import numpy as np
import pytest
import tensorflow as tf

from albert_tf.checkpoints.safetensors_files import read_safetensors
from albert_tf.checkpoints.weight_mapping import relative_path
from albert_tf.checkpoints.weight_names import LAYOUTS
from albert_tf.conversion import convert
from albert_tf.model import language_models, losses, task_models

GOLDEN = pathlib.Path(__file__).parents[1] / "testdata" / "golden"
EXPECTED = dict(np.load(GOLDEN / "expected.npz"))
BATCH = {
    name.removeprefix("batch/"): value
    for name, value in EXPECTED.items()
    if name.startswith("batch/")
}
# Our class for theirs, and our output for theirs; None is an output that is an array itself.
PAIRS = {
    "AlbertForMaskedLM": (language_models.AlbertMaskedLM, {"logits": None}),
    "AlbertModel": (
        language_models.AlbertModel,
        {"last_hidden_state": "sequence_output", "pooler_output": "pooled_output"},
    ),
    "AlbertForSequenceClassification": (task_models.AlbertClassifier, {"logits": None}),
    "AlbertForTokenClassification": (task_models.AlbertTokenClassifier, {"logits": None}),
    "AlbertForQuestionAnswering": (
        task_models.AlbertSpanSelector,
        {"start_logits": "start_logits", "end_logits": "end_logits"},
    ),
    "AlbertForMultipleChoice": (task_models.AlbertMultipleChoice, {"logits": None}),
}
TEXT = {name: BATCH[name] for name in ("input_ids", "input_mask", "segment_ids")}


def assert_close(ours, theirs, factor=1.0):
    """Equal within 1e-5 of the largest number."""
    # Softmax cancels the key's bias, so its gradient is 0 but for rounding.
    tolerance = max(factor * 1e-5 * np.abs(theirs).max(), 1e-8)
    np.testing.assert_allclose(np.asarray(ours), theirs, rtol=0, atol=tolerance)


def batch_of_choices():
    batch = {name: np.stack([value] * 3, axis=1) for name, value in TEXT.items()}
    batch["input_ids"] = (batch["input_ids"] + np.arange(3)[None, :, None]) % 40
    return {name: value.astype(np.int32) for name, value in batch.items()}


@pytest.mark.parametrize("name", PAIRS)
def test_head_gives_the_outputs_of_transformers(name):
    model_class, outputs = PAIRS[name]
    model = model_class.from_pretrained(GOLDEN / name)
    found = model(batch_of_choices() if "Choice" in name else TEXT)
    for theirs, ours in outputs.items():
        assert_close(found if ours is None else found[ours], EXPECTED[f"{name}/{theirs}"])


@pytest.mark.parametrize("form", ["AlbertForPreTraining", "sharded", "zip", "legacy"])
def test_pretraining_model_gives_the_outputs_of_transformers_from_every_form_of_file(form):
    model = language_models.AlbertForPretraining.from_pretrained(GOLDEN / form)
    every = np.tile(np.arange(10, dtype=np.int32), (2, 1))
    found = model({**TEXT, "masked_lm_positions": every})
    assert_close(found["masked_lm_logits"], EXPECTED["AlbertForPreTraining/prediction_logits"])
    assert_close(found["sentence_order_logits"], EXPECTED["AlbertForPreTraining/sop_logits"])


def test_every_layer_gives_the_hidden_states_of_transformers():
    model = language_models.AlbertForPretraining.from_pretrained(GOLDEN / "AlbertForPreTraining")
    states = model.encoder(*TEXT.values(), output_hidden_states=True)["hidden_states"]
    assert len(states) == 5
    for number, state in enumerate(states):
        assert_close(state, EXPECTED[f"inside/layer_{number}"])


def test_loss_and_gradients_are_those_of_transformers():
    model = language_models.AlbertForPretraining.from_pretrained(GOLDEN / "AlbertForPreTraining")
    variables = model.trainable_variables
    with tf.GradientTape() as tape:
        outputs = model(BATCH)
        words = losses.cross_entropy(
            outputs["masked_lm_logits"], BATCH["masked_lm_ids"], BATCH["masked_lm_weights"]
        )
        order = losses.cross_entropy(
            outputs["sentence_order_logits"], BATCH["sentence_order_label"]
        )
        loss = words[0] / words[1] + order[0] / order[1]
    assert_close(loss, EXPECTED["inside/loss"])
    gradients = tape.gradient(loss, [variable.value for variable in variables])
    for variable, gradient in zip(variables, gradients, strict=True):
        place = LAYOUTS["transformers"].place(relative_path(model, variable))
        expected = place.to_ours(EXPECTED[f"gradients/{place.name}"], tuple(variable.shape))
        assert_close(tf.convert_to_tensor(gradient), expected, factor=2)


@pytest.mark.parametrize("name", ["AlbertForPreTraining", *PAIRS])
def test_saved_again_the_files_hold_the_same_bits_under_the_same_names(tmp_path, name):
    model_class = language_models.AlbertForPretraining if name not in PAIRS else PAIRS[name][0]
    model_class.from_pretrained(GOLDEN / name).save_pretrained(tmp_path / "ours")
    theirs = read_safetensors(GOLDEN / name / "model.safetensors")
    ours = read_safetensors(tmp_path / "ours" / "model.safetensors")
    assert ours.keys() == theirs.keys()
    for key, value in theirs.items():
        np.testing.assert_array_equal(ours[key], value, err_msg=key)


def test_names_of_classes_come_along():
    model = task_models.AlbertClassifier.from_pretrained(GOLDEN / "AlbertForSequenceClassification")
    assert model.labels == ("no", "perhaps", "yes")


def test_converted_keras_hub_preset_gives_its_outputs(tmp_path):
    model = convert.convert(GOLDEN / "keras_hub", tmp_path / "ours", report=lambda line: None)
    found, mask = model(TEXT), TEXT["input_mask"] > 0
    for name in ("sequence_output", "pooled_output"):
        ours, theirs = np.asarray(found[name]), EXPECTED[f"keras_hub/{name}"]
        assert_close(*((ours[mask], theirs[mask]) if ours.ndim == 3 else (ours, theirs)))
