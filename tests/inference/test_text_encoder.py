"""A model that begins with a `TextEncoder` takes strings, in pairs too, and keeps it on disk."""

import dataclasses
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
import word_pieces
from samples import tiny_config

from albert_tf import AlbertClassifier, TextEncoder, Tokenizer
from albert_tf.pipelines.tokenizer.wordpiece_vocabulary import WordPieceVocabulary

ROOT = pathlib.Path(__file__).parents[2]
TEXTS, PAIRS = ["the cat sat", "a long text " * 9], ["the mat", "a"]


@pytest.fixture(scope="module")
def word_piece_tokenizer():
    pieces = word_pieces.make_pieces(["the cat sat on the mat. a long text"])
    return Tokenizer.from_word_pieces(WordPieceVocabulary(pieces))


def of_pairs(tokenizer):
    """Returns a classifier of ids, and one of pairs of strings around it."""
    classifier = AlbertClassifier(tiny_config(), labels=["no", "maybe", "yes"])
    first = keras.Input((), dtype="string", name="first")
    second = keras.Input((), dtype="string", name="second")
    encoder = TextEncoder(tokenizer, max_length=16)
    inputs = {"first": first, "second": second}
    return classifier, keras.Model(inputs, classifier(encoder(first, second)))


def test_model_of_strings_predicts_what_the_model_of_ids_does(tokenizer):
    classifier, model = of_pairs(tokenizer)
    strings = {"first": tf.constant(TEXTS), "second": tf.constant(PAIRS)}
    expected = classifier.predict(tokenizer(TEXTS, PAIRS, max_length=16), verbose=0)
    np.testing.assert_allclose(model.predict(strings, verbose=0), expected, atol=1e-6)


def test_model_of_one_text_trains_and_is_cloned(tokenizer):
    texts = keras.Input((1,), dtype="string")
    encoder = TextEncoder(tokenizer, max_length=8, padding="max_length")
    classifier = AlbertClassifier(tiny_config())
    model = keras.Model(texts, classifier(encoder(texts)))
    assert encoder(texts)["input_ids"].shape == (None, 8)
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    losses = model.fit(tf.constant([["a"], ["the"]]), np.array([0, 1]), verbose=0).history["loss"]
    assert np.isfinite(losses).all()
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    strings = tf.constant([["the cat"]])
    np.testing.assert_allclose(copy(strings), model(strings), atol=1e-6)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_vocabulary_is_read_back_from_a_keras_file(word_piece_tokenizer, tmp_path):
    _, model = of_pairs(word_piece_tokenizer)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    strings = {"first": tf.constant(TEXTS), "second": tf.constant(PAIRS)}
    np.testing.assert_allclose(again(strings), model(strings), atol=1e-6)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sentencepiece", "wordpiece"])
def test_saved_models_give_the_same_in_another_process(request, kind, tmp_path):
    fixtures = {"sentencepiece": "tokenizer", "wordpiece": "word_piece_tokenizer"}
    _, model = of_pairs(request.getfixturevalue(fixtures[kind]))
    model.save(tmp_path / "model.keras")
    model.export(tmp_path / "exported", verbose=False)
    strings = {"first": tf.constant(TEXTS), "second": tf.constant(PAIRS)}
    np.save(tmp_path / "expected.npy", model.predict(strings, verbose=0))
    for read in (
        "import albert_tf, keras; run = keras.saving.load_model('model.keras')",
        "import tensorflow_text; model = tf.saved_model.load('exported'); run = model.serve",
    ):
        script = f"""
import numpy as np, tensorflow as tf
{read}
outputs = run({{"first": tf.constant({TEXTS}), "second": tf.constant({PAIRS})}})
np.testing.assert_allclose(outputs, np.load("expected.npy"), atol=1e-6)
"""
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-c", script],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr[-2000:]


def test_a_text_is_no_longer_than_the_model_of_the_directory_reads(tokenizer, tmp_path):
    config = dataclasses.replace(tiny_config(), max_position_embeddings=32)
    AlbertClassifier(config).save_pretrained(tmp_path / "short", tokenizer)
    assert TextEncoder(tmp_path / "short").max_length == 32
    assert TextEncoder(tmp_path / "short", max_length=9).max_length == 9
    assert TextEncoder(tokenizer).max_length == 512


def test_layer_of_a_model_directory_maps_a_dataset(tokenizer, pretrained):
    encoder = TextEncoder(pretrained, max_length=12)
    dataset = tf.data.Dataset.from_tensor_slices(TEXTS).batch(2).map(encoder)
    expected = tokenizer(TEXTS, max_length=12)
    for batch in (next(iter(dataset)), encoder(tf.constant(TEXTS))):
        for name, values in expected.items():
            np.testing.assert_array_equal(batch[name], values)


def test_wrong_arguments_are_named(tokenizer):
    with pytest.raises(ValueError, match="`max_length` must be"):
        TextEncoder(tokenizer, max_length=2)
    encoder = TextEncoder(tokenizer)
    with pytest.raises(ValueError, match="`texts` of TextEncoder must be a tensor of strings"):
        encoder(keras.Input((4,)))
    with pytest.raises(ValueError, match="`text_pairs` of TextEncoder must be a tensor of strings"):
        encoder(keras.Input((), dtype="string"), keras.Input((), dtype="int32"))
    strings = tf.constant(["a", "b"])
    of_python = tf.data.Dataset.from_tensors(strings).map(
        lambda texts: tf.py_function(lambda some: some, [texts], tf.string)
    )
    with pytest.raises(ValueError, match=r"strings \[B\], .* Received: .*string.* of unknown rank"):
        of_python.map(encoder)
    for pairs in (["a", "b"], tf.constant([["a", "b", "c"]])):
        with pytest.raises(ValueError, match="`text_pairs` of TextEncoder must be a tensor"):
            encoder(strings, text_pairs=pairs)
