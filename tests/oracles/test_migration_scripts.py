"""Scripts before and after on docs/migration.md give the same numbers from the same weights."""

import pathlib
import re

import keras
import numpy as np
import pytest
from samples import tiny_config

from albert_tf import AlbertClassifier
from albert_tf.conversion import convert

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.filterwarnings("ignore:::torch"),
    pytest.mark.filterwarnings("ignore:::transformers"),
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]
GUIDE = pathlib.Path(__file__).parents[2] / "docs" / "migration.md"


def run_script(name):
    """Returns the variables that the block of a name leaves."""
    (script,) = re.findall(
        rf"^```python\n# {name}\n(.*?)^```", GUIDE.read_text(encoding="utf-8"), flags=re.M | re.S
    )
    values = {}
    exec(script, values)
    return values


def test_scripts_of_transformers(tmp_path, monkeypatch, tokenizer):
    pytest.importorskip("torch", exc_type=ImportError)
    pytest.importorskip("transformers")
    monkeypatch.chdir(tmp_path)
    keras.utils.set_random_seed(0)
    AlbertClassifier(tiny_config()).save_pretrained("models/reviews", tokenizer)
    before, after = (run_script(f"transformers, {when}") for when in ("before", "after"))
    length = int(after["inputs"]["input_mask"].sum())
    for theirs, ours in (("input_ids", "input_ids"), ("token_type_ids", "segment_ids")):
        np.testing.assert_array_equal(after["inputs"][ours][:, :length], before["inputs"][theirs])
    np.testing.assert_allclose(after["logits"], before["logits"], atol=1e-5)
    attention = after["attention"][..., :length, :length]
    np.testing.assert_allclose(attention, before["attention"], atol=1e-5)


def test_scripts_of_keras_hub(tmp_path, monkeypatch):
    keras_hub = pytest.importorskip("keras_hub", exc_type=ImportError)
    monkeypatch.chdir(tmp_path)
    backbone = keras_hub.models.AlbertBackbone(
        vocabulary_size=60,
        num_layers=2,
        num_heads=2,
        embedding_dim=8,
        hidden_dim=16,
        intermediate_dim=32,
        max_sequence_length=20,
    )
    backbone.save_to_preset("keras_hub_preset")
    convert.convert("keras_hub_preset", "models/from_keras_hub", report=lambda line: None)
    before, after = (run_script(f"KerasHub, {when}") for when in ("before", "after"))
    np.testing.assert_allclose(after["pooled"], before["pooled"], atol=1e-5)
