"""Model directories: names and orientations, round trips, and what is refused."""

import json

import h5py
import keras
import numpy as np
import pytest

from albert_tf.checkpoints import model_directory, safetensors_files
from albert_tf.checkpoints.safetensors_files import read_safetensors, write_safetensors
from albert_tf.checkpoints.stored_tensors import CheckpointError
from albert_tf.checkpoints.weight_names import LAYOUTS
from albert_tf.config import AlbertConfig
from albert_tf.model.language_models import AlbertForPretraining

TINY = AlbertConfig.from_preset("albert_tiny")
GROUPS = AlbertConfig(
    vocab_size=50,
    embedding_size=8,
    hidden_size=16,
    num_hidden_layers=4,
    num_hidden_groups=2,
    inner_group_num=2,
    num_attention_heads=2,
    intermediate_size=32,
    max_position_embeddings=12,
)


class Vocabulary:
    """As much of a `Tokenizer` as a model directory asks for."""

    kind = "sentencepiece"
    model_bytes = b"pieces"
    lower_case = True
    strip_accents = True


def make_model(config=TINY, seed=0, **kwargs):
    keras.utils.set_random_seed(seed)
    return AlbertForPretraining(config, **kwargs)


def run(model):
    config = model.config
    generator = np.random.default_rng(0)
    ids = generator.integers(5, config.vocab_size, (2, 10)).astype(np.int32)
    return model(
        {
            "input_ids": ids,
            "input_mask": np.ones_like(ids),
            "segment_ids": np.zeros_like(ids),
            "masked_lm_positions": np.array([[1, 2], [3, 4]], np.int32),
        }
    )


def copy_of(directory, target, **changes):
    """Copies a model directory with tensors replaced, or dropped where the change is None."""
    target.mkdir()
    for name in (model_directory.CONFIG_FILE, model_directory.VOCABULARY_FILE):
        (target / name).write_bytes((directory / name).read_bytes())
    tensors = read_safetensors(directory / model_directory.WEIGHTS_FILE)
    tensors |= {name.replace("__", "."): value for name, value in changes.items()}
    kept = {name: value for name, value in tensors.items() if value is not None}
    write_safetensors(kept, target / model_directory.WEIGHTS_FILE)
    return target


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    directory = tmp_path_factory.mktemp("models") / "tiny"
    model = make_model()
    model.save_pretrained(directory, Vocabulary())
    return directory, model


@pytest.mark.parametrize("config", [TINY, GROUPS], ids=["shared", "groups"])
def test_round_trip_gives_the_same_outputs(tmp_path, config):
    model = make_model(config)
    model.save_pretrained(tmp_path / "model")
    loaded = AlbertForPretraining.from_pretrained(tmp_path / "model")
    assert loaded.config == config
    outputs, again = run(model), run(loaded)
    for name in outputs:
        np.testing.assert_array_equal(outputs[name], again[name])


def test_published_tensors_have_the_names_and_orientations_of_transformers(saved):
    directory, model = saved
    tensors = read_safetensors(directory / model_directory.WEIGHTS_FILE)
    block = "albert.encoder.albert_layer_groups.0.albert_layers.0."
    c = TINY
    expected = {
        "albert.embeddings.word_embeddings.weight": (c.vocab_size, c.embedding_size),
        "albert.embeddings.position_embeddings.weight": (512, c.embedding_size),
        "albert.encoder.embedding_hidden_mapping_in.weight": (c.hidden_size, c.embedding_size),
        block + "attention.LayerNorm.weight": (c.hidden_size,),
        block + "full_layer_layer_norm.bias": (c.hidden_size,),
        block + "ffn.weight": (c.intermediate_size, c.hidden_size),
        block + "ffn_output.weight": (c.hidden_size, c.intermediate_size),
        "predictions.dense.weight": (c.embedding_size, c.hidden_size),
        "predictions.bias": (c.vocab_size,),
        "sop_classifier.classifier.weight": (2, c.hidden_size),
    }
    assert len(tensors) == 32
    assert expected.items() <= {name: value.shape for name, value in tensors.items()}.items()
    kernel = model.encoder.pooler.kernel.numpy()
    np.testing.assert_array_equal(tensors["albert.pooler.weight"], kernel.T)


def test_mixed_precision_model_is_saved_in_float32(tmp_path):
    model = make_model(dtype="mixed_bfloat16")
    model.save_pretrained(tmp_path / "model")
    tensors = read_safetensors(tmp_path / "model" / model_directory.WEIGHTS_FILE)
    assert {value.dtype for value in tensors.values()} == {np.dtype(np.float32)}


def test_name_that_the_user_gave_the_model_does_not_matter(tmp_path, saved):
    model = make_model(name="mine", seed=1)
    model_directory.fill(model, saved[0])
    np.testing.assert_array_equal(run(model)["masked_lm_logits"], run(saved[1])["masked_lm_logits"])


def test_missing_left_over_and_misshapen_tensors_are_listed_by_name(tmp_path, saved):
    changes = {
        "predictions__bias": None,
        "albert__pooler__weight": np.zeros((3, 3), np.float32),
        "strange__weight": np.zeros(2, np.float32),
    }
    damaged = copy_of(saved[0], tmp_path / "damaged", **changes)
    with pytest.raises(CheckpointError) as error:
        AlbertForPretraining.from_pretrained(damaged)
    message = str(error.value)
    assert "missing: predictions.bias" in message
    assert "left over: strange.weight" in message
    assert "shape of albert.pooler.weight" in message


@pytest.mark.parametrize("kind", ["int8", "uint8", "int64", "bool"])
def test_codes_without_factors_are_no_weights(tmp_path, saved, kind):
    damaged = copy_of(saved[0], tmp_path / "damaged", predictions__bias=np.ones(50, kind))
    with pytest.raises(CheckpointError, match="type of predictions.bias: expected a floating one"):
        AlbertForPretraining.from_pretrained(damaged)


def test_shards_are_read_where_the_index_says(tmp_path, saved):
    directory = copy_of(saved[0], tmp_path / "sharded")
    tensors = read_safetensors(directory / model_directory.WEIGHTS_FILE)
    (directory / model_directory.WEIGHTS_FILE).unlink()
    twice = "predictions.bias"
    write_safetensors(tensors, directory / "a.safetensors")
    write_safetensors({twice: tensors[twice] + 1}, directory / "b.safetensors")

    def load(**places):
        index = {"weight_map": dict.fromkeys(tensors, "a.safetensors") | places}
        (directory / "model.safetensors.index.json").write_text(json.dumps(index))
        model = AlbertForPretraining.from_pretrained(directory)
        return model.weights_by_path()["masked_lm_head/output_bias"].numpy()

    np.testing.assert_array_equal(load(), tensors[twice])
    np.testing.assert_array_equal(load(**{twice: "b.safetensors"}), tensors[twice] + 1)
    with pytest.raises(CheckpointError, match="its files lack: 'predictions.dense.weight'"):
        load(**{"predictions.dense.weight": "b.safetensors"} | {twice: "b.safetensors"})


def test_refused_weights_leave_the_model_as_it_was(tmp_path, saved):
    damaged = copy_of(saved[0], tmp_path / "damaged", predictions__bias=None)
    model = make_model(seed=2)
    before = run(model)["masked_lm_logits"]
    with pytest.raises(CheckpointError):
        model_directory.fill(model, damaged)
    np.testing.assert_array_equal(before, run(model)["masked_lm_logits"])


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("rows", [3, 4, 5, 9])
def test_matrices_that_are_read_in_parts_come_back_whole(tmp_path, monkeypatch, dtype, rows):
    monkeypatch.setattr(safetensors_files, "_NUMBERS_AT_A_TIME", 8)
    matrix = np.arange(rows * 2).reshape(rows, 2).astype(dtype)
    write_safetensors({"matrix": matrix}, tmp_path / "a.safetensors")
    np.testing.assert_array_equal(read_safetensors(tmp_path / "a.safetensors")["matrix"], matrix)
    safetensors_files.write_int8({"matrix": matrix}, tmp_path / "int8.safetensors")
    read = safetensors_files.open_int8(tmp_path / "int8.safetensors")["matrix"].read()
    np.testing.assert_allclose(read, matrix, atol=matrix.max() / 254)


def test_truncated_weights_are_named(tmp_path, saved):
    damaged = copy_of(saved[0], tmp_path / "damaged")
    path = damaged / model_directory.WEIGHTS_FILE
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="model.safetensors cannot be read"):
        AlbertForPretraining.from_pretrained(damaged)


def test_folder_that_is_no_model_directory_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="must be a model directory"):
        AlbertForPretraining.from_pretrained(tmp_path)


def test_unknown_config_key_is_named(tmp_path, saved):
    damaged = copy_of(saved[0], tmp_path / "damaged")
    path = damaged / model_directory.CONFIG_FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), "hidden": 3}))
    with pytest.raises(ValueError, match="config.json.*unknown 'hidden'"):
        AlbertForPretraining.from_pretrained(damaged)


def test_sizes_that_the_file_does_not_hold_are_refused_before_they_are_allocated(tmp_path, saved):
    damaged = copy_of(saved[0], tmp_path / "damaged")
    path = damaged / model_directory.CONFIG_FILE
    values = {**json.loads(path.read_text()), "vocab_size": 10**12, "num_hidden_groups": 2}
    path.write_text(json.dumps(values))
    with pytest.raises(CheckpointError) as error:
        AlbertForPretraining.from_pretrained(damaged)
    assert "shape of albert.embeddings.word_embeddings.weight" in str(error.value)
    assert "missing: albert.encoder.albert_layer_groups.1" in str(error.value)


def test_existing_directory_is_never_overwritten(saved):
    with pytest.raises(FileExistsError):
        saved[1].save_pretrained(saved[0])
    assert (saved[0] / model_directory.VOCABULARY_FILE).read_bytes() == b"pieces"


def test_publishing_into_a_run_adds_the_three_files(tmp_path, saved):
    (tmp_path / "metrics.jsonl").write_text("kept")
    model_directory.publish(tmp_path, saved[1], Vocabulary())
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "config.json",
        "metrics.jsonl",
        "model.safetensors",
        "spiece.model",
        "tokenizer_config.json",
    ]
    AlbertForPretraining.from_pretrained(tmp_path)


@pytest.mark.parametrize("count", [10**9, 0, "2", 1.5, True, None])
def test_number_of_labels_is_checked_before_they_are_named(tmp_path, count):
    (tmp_path / "config.json").write_text(json.dumps({"num_labels": count}))
    if count is None:
        assert model_directory.read_labels(tmp_path) is None
        return
    with pytest.raises(CheckpointError, match=r"config\.json: `num_labels` must be a whole number"):
        model_directory.read_labels(tmp_path)


@pytest.mark.parametrize("has_both", [True, False])
def test_the_bias_of_masked_words_is_what_tensorflow_adds_in_transformers(tmp_path, has_both):
    """Its head trains `decoder/bias` and adds that; `bias` beside it stays zero."""
    model = make_model()
    model.masked_lm_head.output_bias.assign(np.arange(TINY.vocab_size))
    model_directory.save(tmp_path / "a", model, Vocabulary())
    (tmp_path / "a" / model_directory.WEIGHTS_FILE).unlink()
    with h5py.File(tmp_path / "a" / "tf_model.h5", "w") as file:
        for path, variable in model.weights_by_path().items():
            place = LAYOUTS["transformers_h5"].place(path)
            value = place.to_theirs(np.asarray(variable), TINY.num_attention_heads)
            name = place.name.replace("predictions/bias", "predictions/decoder/bias")
            file[f"albert/tf_albert_for_pre_training/{name}:0"] = value
            if name != place.name and has_both:
                file[f"albert/tf_albert_for_pre_training/{place.name}:0"] = np.zeros_like(value)
    again = AlbertForPretraining.from_pretrained(tmp_path / "a")
    for path, variable in model.weights_by_path().items():
        np.testing.assert_array_equal(again.weights_by_path()[path], variable, err_msg=path)
