"""What is frozen, adapted or added by a user stays so in files, clones and models around it."""

import dataclasses

import keras
import numpy as np
import pytest
from samples import tiny_config

from albert_tf.checkpoints.stored_tensors import CheckpointError
from albert_tf.model import adapters, language_models, modeling, task_models

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
CONFIG = tiny_config(vocab_size=50)
IDS = np.random.default_rng(0).integers(1, 50, (8, 12)).astype(np.int32)
LABELS = np.arange(8) % 2


@keras.saving.register_keras_serializable(package="albert_tf_tests")
class Widened(task_models.AlbertClassifier):
    """A classifier of a user, who adds a layer that Keras builds when it is first called."""

    def __init__(self, config, **kwargs):
        super().__init__(config, **kwargs)
        self.extra = keras.layers.Dense(self.config.hidden_size, bias_initializer="ones")

    def apply_head(self, encoded, inputs, training):
        pooled = self.extra(encoded["pooled_output"])
        return super().apply_head({**encoded, "pooled_output": pooled}, inputs, training)


def around(layer):
    """Returns a functional model with an encoder, or a model of ours, in it."""
    ids = keras.Input((12,), dtype="int32")
    inputs = ids if isinstance(layer, modeling.AlbertEncoder) else {"input_ids": ids}
    return keras.Model(ids, keras.layers.Dense(2)(layer(inputs)["pooled_output"]))


def copies(model, path):
    """Yields the model as of its file, and its clone."""
    model.save(path)
    yield keras.models.load_model(path)
    yield keras.models.clone_model(model)


def trainable(model):
    return [place for place, weight in enumerate(model.weights) if weight.trainable]


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_ids_that_are_floats_are_not_rounded(policy):
    config = dataclasses.replace(CONFIG, vocab_size=5000, max_position_embeddings=600)
    ids = np.array([[2, 4097, 2345, 4999, 3]], np.int32)
    model = language_models.AlbertModel(config, dtype=policy)
    outputs = [model({"input_ids": ids.astype(kind)}) for kind in ("int32", "float32", "float64")]
    layer = model.encoder(ids.astype(np.float32))
    for output in (*outputs[1:], layer):
        np.testing.assert_array_equal(output["sequence_output"], outputs[0]["sequence_output"])
    whole = np.full((1, 500), 5, np.int32)
    masked = language_models.AlbertMaskedLM(config, dtype=policy)
    places = np.array([[257, 301, 399]])
    logits = [
        masked({"input_ids": whole, "masked_lm_positions": places.astype(kind)})
        for kind in ("int32", "float32")
    ]
    for first, second in zip(*map(keras.tree.flatten, logits), strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.slow
def test_layers_that_a_subclass_adds_are_in_its_files_and_copies(tmp_path):
    model = Widened(CONFIG, num_classes=2)
    model.compile("sgd")
    model.fit({"input_ids": IDS, "label": LABELS}, verbose=0)
    expected = model.predict({"input_ids": IDS}, verbose=0)
    model.save_weights(tmp_path / "model.weights.h5")
    fresh = Widened(CONFIG, num_classes=2)
    fresh.load_weights(tmp_path / "model.weights.h5")
    loaded, cloned = copies(model, tmp_path / "model.keras")
    cloned.set_weights(model.get_weights())
    for other in (fresh, loaded, cloned):
        np.testing.assert_array_equal(other.predict({"input_ids": IDS}, verbose=0), expected)
    with pytest.raises(CheckpointError, match="no name for the weight extra/kernel|dense.*/kernel"):
        model.save_pretrained(tmp_path / "directory")
    assert not (tmp_path / "directory").exists()
    model.trainable = False
    model.save(tmp_path / "frozen.keras")
    assert not trainable(keras.models.load_model(tmp_path / "frozen.keras"))


@pytest.mark.parametrize("kind", [language_models.AlbertModel, modeling.AlbertEncoder])
def test_what_is_made_frozen_stays_so_inside_another_model(tmp_path, kind):
    frozen = kind(CONFIG, trainable=False)
    model = around(frozen)
    assert len(model.trainable_variables) == 2
    for copy in copies(model, tmp_path / "model.keras"):
        assert len(copy.trainable_variables) == 2
    language_models.AlbertModel(CONFIG).save_pretrained(tmp_path / "md")
    read = language_models.AlbertModel.from_pretrained(tmp_path / "md", trainable=False)
    assert len(around(read).trainable_variables) == 2


def test_adapters_of_a_model_that_was_made_frozen_learn():
    model = task_models.AlbertClassifier(CONFIG, trainable=False)
    assert not trainable(model)
    adapters.add_adapters(model, 2)
    assert len(model.trainable_variables) == 16


def test_adapters_of_a_block_that_is_frozen_learn():
    model = task_models.AlbertClassifier(CONFIG)
    model.encoder.blocks[0].trainable = False
    adapters.add_adapters(model, 2)
    assert len(model.trainable_variables) == 16


def test_a_subclass_that_was_not_called_yet_is_saved_as_it_is(tmp_path):
    model = Widened(CONFIG, num_classes=2)
    loaded, cloned = copies(model, tmp_path / "model.keras")
    for copy in (loaded, cloned):
        assert len(copy.weights) == len(model.weights)
    assert "unbuilt" not in task_models.AlbertClassifier(CONFIG).get_config()


def freeze_embeddings(encoder):
    encoder.embeddings.trainable = False


def thaw_pooler(encoder):
    encoder.trainable = False
    encoder.pooler.trainable = True


def freeze_one(encoder):
    encoder.embedding_projection.kernel.trainable = False


def adapt(encoder):
    adapters.add_adapters(encoder, 2)


def adapt_beside_norms(encoder):
    adapters.add_adapters(encoder, 2)
    for weight in encoder.weights:
        weight.trainable |= "layer_norm" in weight.path


@pytest.mark.parametrize(
    ("change", "count"),
    [
        (freeze_embeddings, 22),
        *(
            pytest.param(change, count, marks=pytest.mark.slow)
            for change, count in (
                *((thaw_pooler, 4), (freeze_one, 26)),
                *((adapt, 16), (adapt_beside_norms, 22)),
            )
        ),
    ],
)
@pytest.mark.parametrize(
    "kind",
    [language_models.AlbertModel, pytest.param(modeling.AlbertEncoder, marks=pytest.mark.slow)],
)
def test_what_is_frozen_and_thawed_in_a_part_stays_so(tmp_path, kind, change, count):
    part = kind(CONFIG)
    change(getattr(part, "encoder", part))
    model = around(part)
    assert len(model.trainable_variables) == count
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(IDS, LABELS, verbose=0)
    loaded, cloned = copies(model, tmp_path / "model.keras")
    for copy in (loaded, cloned):
        assert trainable(copy) == trainable(model)
    np.testing.assert_array_equal(loaded.predict(IDS, verbose=0), model.predict(IDS, verbose=0))


def test_an_encoder_and_heads_may_be_built_by_the_model_around_them():
    model = task_models.AlbertAnswerabilitySelector(CONFIG)
    for layer in (
        model.encoder,
        model.conditional_span_head,
        language_models.AlbertMaskedLM(CONFIG).masked_lm_head,
        task_models.AlbertClassifier(CONFIG).classification_head,
    ):
        count = len(layer.weights)
        layer.build((None, 12))
        assert len(layer.weights) == count


@pytest.mark.parametrize("shape", [(8, 12, 12), (8, 1, 12, 12), (12,)])
def test_a_mask_of_another_rank_is_named(shape):
    encoder = modeling.AlbertEncoder(CONFIG)
    with pytest.raises(ValueError, match="`input_mask` must be int .B, L.. Received: shape"):
        encoder(IDS, np.ones(shape, np.int32))
