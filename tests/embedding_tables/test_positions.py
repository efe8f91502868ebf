"""Position tables for longer texts: interpolated, the ends kept, the rest as it was."""

import json

import numpy as np
import pytest
from samples import tiny_config

from albert_tf.checkpoints import model_directory
from albert_tf.embedding_tables import positions
from albert_tf.finetuning import start
from albert_tf.finetuning.settings import StartSettings
from albert_tf.model.language_models import AlbertForPretraining
from albert_tf.pipelines.tokenizer.tokenization import Tokenizer
from albert_tf.pretraining import settings as pretraining_settings


@pytest.mark.parametrize("length", [7, 8, 13, 50])
def test_rows_lie_on_the_lines_between_the_old_ones(length):
    table = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    stretched = positions.stretch(table, length)
    places = np.arange(length) * 6 / (length - 1)
    expected = np.stack([np.interp(places, np.arange(7), column) for column in table.T], axis=1)
    np.testing.assert_allclose(stretched, expected, atol=1e-6)
    np.testing.assert_array_equal(stretched[[0, -1]], table[[0, -1]])


def test_twice_the_gaps_keep_the_old_rows_and_a_table_of_one_row_repeats_it():
    table = np.random.default_rng(0).normal(size=(5, 2)).astype(np.float32)
    np.testing.assert_array_equal(positions.stretch(table, 9)[::2], table)
    np.testing.assert_array_equal(positions.stretch(table[:1], 3), np.tile(table[:1], (3, 1)))


def weights_of(directory, **arguments):
    model = AlbertForPretraining.from_pretrained(directory, **arguments)
    return model, {path: np.asarray(value) for path, value in model.weights_by_path().items()}


def test_the_rest_of_the_model_is_as_it_was_and_the_same_length_changes_no_bit(pretrained):
    length = tiny_config().max_position_embeddings
    _, before = weights_of(pretrained)
    _, same = weights_of(pretrained, max_position_embeddings=length)
    model, longer = weights_of(pretrained, max_position_embeddings=2 * length)
    assert model.config.max_position_embeddings == 2 * length
    for path, value in before.items():
        np.testing.assert_array_equal(same[path], value)
        if path == "encoder/embeddings/position_embeddings":
            np.testing.assert_array_equal(longer[path], positions.stretch(value, 2 * length))
        else:
            np.testing.assert_array_equal(longer[path], value)


def test_a_stretched_model_reads_longer_texts_and_its_directory_says_so(pretrained, tmp_path):
    length = tiny_config().max_position_embeddings + 8
    model = AlbertForPretraining.from_pretrained(pretrained, max_position_embeddings=length)
    ids = np.random.default_rng(0).integers(5, 300, (1, length)).astype(np.int32)
    batch = {"input_ids": ids, "masked_lm_positions": np.array([[1, length - 1]], np.int32)}
    model.save_pretrained(tmp_path / "longer")
    again = AlbertForPretraining.from_pretrained(tmp_path / "longer")
    assert again.config.max_position_embeddings == length
    logits = model(batch)["masked_lm_logits"]
    np.testing.assert_array_equal(again(batch)["masked_lm_logits"], logits)


def test_a_shorter_table_is_refused(pretrained):
    with pytest.raises(ValueError, match="must be at least the checkpoint's 512.*Received: 256"):
        AlbertForPretraining.from_pretrained(pretrained, max_position_embeddings=256)


def test_length_without_a_checkpoint_is_refused():
    with pytest.raises(ValueError, match="`config` says the length. Received: no checkpoint"):
        pretraining_settings.StartSettings(config="albert_tiny", max_position_embeddings=1024)
    settings = StartSettings(
        init_checkpoint="random",
        config="albert_tiny",
        vocab_model="vocab.model",
        max_position_embeddings=1024,
    )
    with pytest.raises(ValueError, match="`config` says the length. Received: 1024"):
        start.find_tokenizer(settings)


def test_a_model_of_the_old_length_does_not_take_the_new_table(pretrained, tmp_path):
    model = AlbertForPretraining.from_pretrained(pretrained, max_position_embeddings=600)
    model.save_pretrained(tmp_path / "longer", Tokenizer.from_pretrained(pretrained))
    described = json.loads((tmp_path / "longer" / "tokenizer_config.json").read_text())
    assert described["model_max_length"] == 600  # where transformers cuts
    short = AlbertForPretraining.from_pretrained(pretrained)
    with pytest.raises(ValueError, match="expected .512, 16., received .600, 16."):
        model_directory.fill(short, tmp_path / "longer")
