"""Conversion: Google's checkpoints in and out bit for bit, and refusals by name."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile

import keras
import numpy as np
import pytest
import tensorflow as tf
import word_pieces
from samples import VOCABULARY

from albert_tf import whole_files
from albert_tf.checkpoints import (
    model_directory,
    model_kinds,
    published_configs,
    tensorflow_files,
    tokenizer_files,
)
from albert_tf.checkpoints.safetensors_files import read_safetensors, write_safetensors
from albert_tf.checkpoints.stored_tensors import CheckpointError
from albert_tf.config import AlbertConfig
from albert_tf.conversion import convert as conversion
from albert_tf.conversion import sources
from albert_tf.model import language_models, task_models

SIZES = {
    "vocab_size": 50,
    "embedding_size": 8,
    "hidden_size": 16,
    "num_hidden_layers": 4,
    "num_hidden_groups": 1,
    "inner_group_num": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 12,
    "type_vocab_size": 2,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "initializer_range": 0.02,
}
# Of Google's files, and without meaning.
UNUSED = {"net_structure_type": 0, "gap_size": 0, "num_memory_blocks": 0, "down_scale_factor": 1}


def google_shapes(sizes, heads=("pretraining",)):
    """The names and shapes of the original graph, written down from it and not from our table."""
    v, e, h = sizes["vocab_size"], sizes["embedding_size"], sizes["hidden_size"]
    f, length = sizes["intermediate_size"], sizes["max_position_embeddings"]
    shapes = {
        "bert/embeddings/word_embeddings": (v, e),
        "bert/embeddings/token_type_embeddings": (sizes["type_vocab_size"], e),
        "bert/embeddings/position_embeddings": (length, e),
        "bert/embeddings/LayerNorm/gamma": (e,),
        "bert/embeddings/LayerNorm/beta": (e,),
        "bert/pooler/dense/kernel": (h, h),
        "bert/pooler/dense/bias": (h,),
    }
    if e != h:
        shapes["bert/encoder/embedding_hidden_mapping_in/kernel"] = (e, h)
        shapes["bert/encoder/embedding_hidden_mapping_in/bias"] = (h,)
    for group in range(sizes["num_hidden_groups"]):
        for inner in range(sizes["inner_group_num"]):
            block = f"bert/encoder/transformer/group_{group}/inner_group_{inner}/"
            for name in ("self/query", "self/key", "self/value", "output/dense"):
                shapes[f"{block}attention_1/{name}/kernel"] = (h, h)
                shapes[f"{block}attention_1/{name}/bias"] = (h,)
            for name in ("LayerNorm", "LayerNorm_1"):
                shapes[f"{block}{name}/gamma"] = (h,)
                shapes[f"{block}{name}/beta"] = (h,)
            shapes[f"{block}ffn_1/intermediate/dense/kernel"] = (h, f)
            shapes[f"{block}ffn_1/intermediate/dense/bias"] = (f,)
            shapes[f"{block}ffn_1/intermediate/output/dense/kernel"] = (f, h)
            shapes[f"{block}ffn_1/intermediate/output/dense/bias"] = (h,)
    every = {
        "pretraining": {
            "cls/predictions/transform/dense/kernel": (h, e),
            "cls/predictions/transform/dense/bias": (e,),
            "cls/predictions/transform/LayerNorm/gamma": (e,),
            "cls/predictions/transform/LayerNorm/beta": (e,),
            "cls/predictions/output_bias": (v,),
            "cls/seq_relationship/output_weights": (2, h),
            "cls/seq_relationship/output_bias": (2,),
        },
        "classification": {"output_weights": (3, h), "output_bias": (3,)},
        "choice": {"output_weights": (1, h), "output_bias": (1,)},
        "span": {"cls/squad/output_weights": (2, h), "cls/squad/output_bias": (2,)},
        "answerability": {
            "start_logits/dense/kernel": (h, 1),
            "start_logits/dense/bias": (1,),
            "end_logits/dense_0/kernel": (2 * h, h),
            "end_logits/dense_0/bias": (h,),
            "end_logits/LayerNorm/gamma": (h,),
            "end_logits/LayerNorm/beta": (h,),
            "end_logits/dense_1/kernel": (h, 1),
            "end_logits/dense_1/bias": (1,),
            "answer_class/dense_0/kernel": (2 * h, h),
            "answer_class/dense_0/bias": (h,),
            "answer_class/dense_1/kernel": (h, 1),
        },
        "none": {},
    }
    for head in heads:
        shapes |= every[head]
    return shapes


def make_google(folder, heads=("pretraining",), slots=False, **changes):
    """Writes a random checkpoint as Google's code leaves it; returns {name: numbers}."""
    sizes = {**SIZES, **changes}
    generator = np.random.default_rng(0)
    tensors = {}
    for name, shape in google_shapes(sizes, heads).items():
        tensors[name] = generator.normal(0, 0.1, shape).astype(np.float32)
        if slots:
            tensors[f"{name}/adam_m"] = generator.normal(0, 0.1, shape).astype(np.float32)
            tensors[f"{name}/adam_v"] = generator.random(shape).astype(np.float32)
    if slots:
        tensors["global_step"] = np.array(125_000, np.int64)
    folder.mkdir(parents=True)
    tensorflow_files.write_tf1_checkpoint(folder / "model.ckpt-best", tensors)
    (folder / "albert_config.json").write_text(json.dumps({**sizes, **UNUSED}))
    return tensors


def read_google(folder):
    tensors = tensorflow_files.open_tf1_checkpoint(folder)
    return {name: tensor.read() for name, tensor in tensors.items()}


def convert(source, destination, output_format="transformers", **kwargs):
    lines = []
    model = conversion.convert(source, destination, output_format, report=lines.append, **kwargs)
    return model, "\n".join(lines)


def assert_same_tensors(first, second):
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


@pytest.mark.parametrize(
    ("head", "asked"),
    [
        ("pretraining", None),
        ("none", None),
        ("classification", "classification"),
        ("choice", "choice"),
        ("span", None),
        ("answerability", None),
    ],
)
def test_google_to_ours_to_google_keeps_every_bit(tmp_path, head, asked):
    tensors = make_google(tmp_path / "google", [head], slots=True)
    model, said = convert(tmp_path / "google", tmp_path / "ours", head=asked)
    assert "optimizer: slots of all weights, step 125,000" in said
    assert isinstance(model, conversion.HEADS[head])
    convert(tmp_path / "ours", tmp_path / "again", "tf1", head=asked)
    assert_same_tensors(read_google(tmp_path / "again"), tensors)


@pytest.mark.parametrize("changes", [{"num_hidden_groups": 2, "inner_group_num": 2}, {}])
def test_groups_and_inner_blocks_keep_their_places(tmp_path, changes):
    tensors = make_google(tmp_path / "google", **changes)
    convert(tmp_path / "google", tmp_path / "ours")
    convert(tmp_path / "ours", tmp_path / "again", "tf1")
    assert_same_tensors(read_google(tmp_path / "again"), tensors)


def test_checkpoint_without_projection_computes_without_one(tmp_path):
    tensors = make_google(tmp_path / "google", embedding_size=16)
    model, _ = convert(tmp_path / "google", tmp_path / "ours")
    vectors = np.random.default_rng(0).normal(size=(2, 3, 16)).astype(np.float32)
    np.testing.assert_array_equal(model.encoder.embedding_projection(vectors), vectors)
    convert(tmp_path / "ours", tmp_path / "again", "tf1")
    assert_same_tensors(read_google(tmp_path / "again"), tensors)


def test_trained_projection_between_equal_widths_cannot_go_to_google(tmp_path):
    config = AlbertConfig(**{**SIZES, "embedding_size": 16, "hidden_act": "gelu_new"})
    language_models.AlbertForPretraining(config).save_pretrained(tmp_path / "ours")
    with pytest.raises(CheckpointError, match="no projection"):
        convert(tmp_path / "ours", tmp_path / "google", "tf1")
    assert [path.name for path in tmp_path.iterdir()] == ["ours"]


def test_google_restores_what_we_write(tmp_path):
    keras.utils.set_random_seed(0)
    config = AlbertConfig(**{**SIZES, "hidden_act": "gelu_new"})
    model = language_models.AlbertForPretraining(config)
    model.save_pretrained(tmp_path / "ours")
    convert(tmp_path / "ours", tmp_path / "google", "tf1")
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        variables = {
            name: tf.compat.v1.get_variable(name, shape)
            for name, shape in google_shapes(SIZES).items()
        }
        tf.compat.v1.train.Saver().restore(session, str(tmp_path / "google" / "model.ckpt-best"))
        kernel = session.run(variables["bert/pooler/dense/kernel"])
        order = session.run(variables["cls/seq_relationship/output_weights"])
    np.testing.assert_array_equal(kernel, model.encoder.pooler.kernel)
    np.testing.assert_array_equal(order.T, model.sentence_order_head.classifier.kernel)
    config_file = tmp_path / "google" / "albert_config.json"
    described = json.loads(config_file.read_text())
    assert described["hidden_act"] == "gelu"
    # Taken by its path as `config`, the tanh form again; so is what somebody wrote by that name.
    assert published_configs.find_config(str(config_file)) == config
    few = {name: value for name, value in described.items() if name in SIZES}
    config_file.write_text(json.dumps(few))
    assert published_configs.find_config(str(config_file)).hidden_act == "gelu_new"
    config_file.write_text(json.dumps({**few, "layer_norm_eps": 1e-12}))  # ours, erf
    assert published_configs.find_config(str(config_file)).hidden_act == "gelu"


def test_gelu_of_google_is_the_tanh_form(tmp_path):
    make_google(tmp_path / "google")
    model, _ = convert(tmp_path / "google", tmp_path / "ours")
    assert model.config.hidden_act == "gelu_new"
    assert model.config.hidden_dropout_prob == 0.1


def test_gelu_of_a_config_that_was_given_is_googles_too(tmp_path):
    make_google(tmp_path / "google")
    (tmp_path / "google" / "albert_config.json").unlink()
    config = AlbertConfig.from_dict({**SIZES, "hidden_act": "gelu"})
    model, _ = convert(tmp_path / "google", tmp_path / "ours", config=config)
    assert model.config.hidden_act == "gelu_new"


@pytest.mark.parametrize("form", ["google", "ours"])
def test_archives_bring_word_pieces(tmp_path, form):
    vocab_size = word_pieces.write_vocab_txt(tmp_path / "vocab_chinese.txt")
    make_google(tmp_path / "google", vocab_size=vocab_size)
    shutil.copy(tmp_path / "vocab_chinese.txt", tmp_path / "google")
    convert(tmp_path / "google", tmp_path / "ours")
    with tarfile.open(tmp_path / "albert.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / form, "albert")
    convert(tmp_path / "albert.tar.gz", tmp_path / "again")
    assert tokenizer_files.load_tokenizer(tmp_path / "again").vocab_size == vocab_size


def test_another_vocabulary_replaces_that_of_the_source_in_all_its_files(tmp_path):
    vocab_size = word_pieces.write_vocab_txt(tmp_path / "vocab.txt")
    make_google(tmp_path / "google", vocab_size=vocab_size)
    lines = (tmp_path / "vocab.txt").read_text(encoding="utf-8").splitlines()
    turned = tmp_path / "turned.txt"
    turned.write_text("\n".join([*lines[:5], *lines[:4:-1]]) + "\n", encoding="utf-8")
    model, _ = convert(tmp_path / "google", tmp_path / "ours", vocabulary=tmp_path / "vocab.txt")
    tokenizer = tokenizer_files.load_tokenizer(tmp_path / "ours")
    model.save_pretrained(tmp_path / "saved", tokenizer)  # with a tokenizer.json
    convert(tmp_path / "saved", tmp_path / "other", vocabulary=turned)
    again = tokenizer_files.load_tokenizer(tmp_path / "other")
    assert again.pieces[5:] == tokenizer.pieces[:4:-1]
    turned.write_text("\n".join(lines[:-1]) + "\n", encoding="utf-8")
    with pytest.raises(CheckpointError, match=f"as many pieces as the model.*{vocab_size - 1}"):
        convert(tmp_path / "saved", tmp_path / "short", vocabulary=turned)
    assert not (tmp_path / "short").exists()


def save_with_tokenizer_json_alone(tmp_path):
    """Leaves `vocab.txt`, and `saved`, whose vocabulary is the same in a `tokenizer.json`."""
    vocab_size = word_pieces.write_vocab_txt(tmp_path / "vocab.txt")
    make_google(tmp_path / "google", vocab_size=vocab_size)
    model, _ = convert(tmp_path / "google", tmp_path / "ours", vocabulary=tmp_path / "vocab.txt")
    model.save_pretrained(tmp_path / "saved", tokenizer_files.load_tokenizer(tmp_path / "ours"))
    (tmp_path / "saved" / "vocab.txt").unlink()


def test_google_gets_a_vocabulary_that_is_a_tokenizer_json_alone(tmp_path):
    save_with_tokenizer_json_alone(tmp_path)
    convert(tmp_path / "saved", tmp_path / "back", "tf1")
    written = (tmp_path / "back" / "vocab_chinese.txt").read_text(encoding="utf-8")
    assert written == (tmp_path / "vocab.txt").read_text(encoding="utf-8")


def test_distributed_archive_brings_its_vocabulary(tmp_path):
    make_google(tmp_path / "albert_base")
    (tmp_path / "albert_base" / "30k-clean.model").write_bytes(b"pieces")
    with tarfile.open(tmp_path / "albert_base.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "albert_base", "albert_base")
    convert(tmp_path / "albert_base.tar.gz", tmp_path / "ours")
    assert (tmp_path / "ours" / "spiece.model").read_bytes() == b"pieces"
    language_models.AlbertForPretraining.from_pretrained(tmp_path / "ours")


def make_tf_hub(folder, vocab_size=50):
    """Writes a random encoder as TF-Hub has it; returns {name: numbers}."""
    generator = np.random.default_rng(0)
    h, e, f, heads = 16, 8, 32, 2
    shapes = {
        "word_embeddings/embeddings": (vocab_size, e),
        "position_embedding/embeddings": (12, e),
        "type_embeddings/embeddings": (2, e),
        "embeddings/layer_norm/gamma": (e,),
        "embeddings/layer_norm/beta": (e,),
        "embedding_projection/kernel": (e, h),
        "embedding_projection/bias": (h,),
        "transformer/self_attention/attention_output/kernel": (heads, h // heads, h),
        "transformer/self_attention/attention_output/bias": (h,),
        "transformer/intermediate/kernel": (h, f),
        "transformer/intermediate/bias": (f,),
        "transformer/output/kernel": (f, h),
        "transformer/output/bias": (h,),
        "pooler_transform/kernel": (h, h),
        "pooler_transform/bias": (h,),
    }
    for part in ("query", "key", "value"):
        shapes[f"transformer/self_attention/{part}/kernel"] = (h, heads, h // heads)
        shapes[f"transformer/self_attention/{part}/bias"] = (heads, h // heads)
    for norm in ("self_attention_layer_norm", "output_layer_norm"):
        shapes[f"transformer/{norm}/gamma"] = shapes[f"transformer/{norm}/beta"] = (h,)
    module = tf.Module()
    values = {name: generator.normal(size=s).astype(np.float32) for name, s in shapes.items()}
    module.held = [tf.Variable(value, name=name) for name, value in values.items()]
    tf.saved_model.save(module, str(folder))
    return values


def test_tf_hub_encoder_loads(tmp_path):
    values = make_tf_hub(tmp_path / "hub")
    config = AlbertConfig(**{**SIZES, "hidden_act": "gelu_new"})
    model, _ = convert(tmp_path / "hub", tmp_path / "ours", config=config)
    block = model.encoder.blocks[0]
    query = values["transformer/self_attention/query/kernel"]  # [H, N, D]
    # Head 1 of the query reads with the columns D to 2D of our kernel.
    np.testing.assert_array_equal(block.query.kernel[:, 8:], query[:, 1])
    output = values["transformer/self_attention/attention_output/kernel"]  # [N, D, H]
    np.testing.assert_array_equal(block.attention_output.kernel[8:], output[1])


def test_number_of_heads_that_does_not_fit_is_told_by_the_shapes(tmp_path):
    config = AlbertConfig(**{**SIZES, "hidden_act": "gelu_new", "num_attention_heads": 4})
    module = tf.Module()
    module.held = [
        tf.Variable(
            np.zeros((16, 2, 8), np.float32), name="transformer/self_attention/query/kernel"
        )
    ]
    tf.saved_model.save(module, str(tmp_path / "hub"))
    with pytest.raises(CheckpointError, match=r"expected \(16, 4, 4\), received \(16, 2, 8\)"):
        convert(tmp_path / "hub", tmp_path / "ours", config=config)


def test_unshared_model_starts_from_the_shared_weights(tmp_path):
    make_google(tmp_path / "google")
    shared, _ = convert(tmp_path / "google", tmp_path / "shared")
    model, _ = convert(
        tmp_path / "google", tmp_path / "unshared", regrouping={"share_across_layers": False}
    )
    assert len(model.encoder.blocks) == 4
    batch = conversion.example_batch(model.config)
    for name, value in shared(batch).items():
        np.testing.assert_array_equal(value, model(batch)[name])
    reloaded = language_models.AlbertForPretraining.from_pretrained(
        tmp_path / "shared", num_hidden_groups=2
    )
    assert len(reloaded.encoder.blocks) == 2
    np.testing.assert_array_equal(
        reloaded(batch)["masked_lm_logits"], shared(batch)["masked_lm_logits"]
    )


def test_optimizer_lies_beside_the_model_in_our_orientation(tmp_path):
    tensors = make_google(tmp_path / "google", slots=True)
    convert(tmp_path / "google", tmp_path / "ours")
    slots = read_safetensors(tmp_path / "ours" / model_directory.OPTIMIZER_FILE)
    assert slots["step"] == 125_000
    np.testing.assert_array_equal(
        slots["sentence_order_head/classifier/kernel/m"],
        tensors["cls/seq_relationship/output_weights/adam_m"].T,
    )


# What is refused, and what is left behind then: nothing.


def refuse(tmp_path, match, source="google", **kwargs):
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(CheckpointError, match=match) as refused:
        convert(tmp_path / source, tmp_path / "ours", **kwargs)
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    return str(refused.value)


def rewrite(tmp_path, change):
    tensors = make_google(tmp_path / "first")
    change(tensors)
    (tmp_path / "google").mkdir()
    tensorflow_files.write_tf1_checkpoint(tmp_path / "google" / "model.ckpt-best", tensors)
    config = (tmp_path / "first" / "albert_config.json").read_text()
    (tmp_path / "google" / "albert_config.json").write_text(config)


def test_missing_left_over_and_misshapen_tensors_are_all_listed(tmp_path):
    def change(tensors):
        del tensors["bert/pooler/dense/bias"]
        tensors["strange"] = np.zeros(2, np.float32)
        tensors["bert/embeddings/LayerNorm/beta"] = np.zeros(9, np.float32)

    rewrite(tmp_path, change)
    message = refuse(tmp_path, "does not fit")
    assert "missing: bert/pooler/dense/bias" in message
    assert "left over: strange" in message
    assert "shape of bert/embeddings/LayerNorm/beta: expected (8,), received (9,)" in message


def test_layer_normalisation_for_each_pass_is_called_by_its_name(tmp_path):
    def change(tensors):
        for layer in range(4):
            scope = f"bert/encoder/transformer/group_0_{layer}/layer_{layer}/inner_group_0/"
            tensors[scope + f"layer_normalization_{layer}/gamma"] = np.ones(16, np.float32)
        del tensors["bert/encoder/transformer/group_0/inner_group_0/LayerNorm/gamma"]

    rewrite(tmp_path, change)
    assert "for each pass, which ALBERT shares" in refuse(tmp_path, "does not fit")


def test_numbers_that_are_not_finite_are_named(tmp_path):
    def change(tensors):
        tensors["bert/pooler/dense/bias"][3] = np.nan

    rewrite(tmp_path, change)
    refuse(tmp_path, "bert/pooler/dense/bias must be finite. Received: 1 of 16")


def test_truncated_checkpoint_is_named(tmp_path):
    make_google(tmp_path / "google")
    data = tmp_path / "google" / "model.ckpt-best.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:-100])
    refuse(tmp_path, "model.ckpt-best")


def test_slots_for_some_weights_only_are_refused(tmp_path):
    tensors = make_google(tmp_path / "first", slots=True)
    del tensors["bert/pooler/dense/bias/adam_v"]
    (tmp_path / "google").mkdir()
    tensorflow_files.write_tf1_checkpoint(tmp_path / "google" / "model.ckpt-best", tensors)
    (tmp_path / "first" / "albert_config.json").rename(tmp_path / "google" / "albert_config.json")
    refuse(tmp_path, "Missing: bert/pooler/dense/bias/adam_v")


@pytest.mark.parametrize(
    ("value", "match"),
    [
        (np.zeros((8, 128), np.float32), r"kernel/adam_m must have the shape \(16, 16\)"),
        (np.full((16, 16), np.nan, np.float32), "kernel/adam_m must be finite"),
    ],
)
def test_slots_that_are_none_of_their_weights_are_named(tmp_path, value, match):
    tensors = make_google(tmp_path / "first", slots=True)
    assert tensors["bert/pooler/dense/kernel/adam_m"].shape == (16, 16)
    tensors["bert/pooler/dense/kernel/adam_m"] = value
    (tmp_path / "google").mkdir()
    tensorflow_files.write_tf1_checkpoint(tmp_path / "google" / "model.ckpt-best", tensors)
    (tmp_path / "first" / "albert_config.json").rename(tmp_path / "google" / "albert_config.json")
    refuse(tmp_path, match)
    # As a model directory of ours has them.
    make_google(tmp_path / "whole", slots=True)
    convert(tmp_path / "whole", tmp_path / "model")
    path = tmp_path / "model" / model_directory.OPTIMIZER_FILE
    slots = read_safetensors(path)
    write_safetensors(slots | {"encoder/pooler/kernel/m": value}, path)
    refuse(tmp_path, match.replace("adam_m", "m"), source="model")


def test_capitals_and_accents_are_read_alike_after_google(tmp_path):
    make_google(tmp_path / "google", vocab_size=340)
    convert(tmp_path / "google", tmp_path / "ours", vocabulary=VOCABULARY)
    noted = json.dumps({"do_lower_case": False, "keep_accents": True})
    (tmp_path / "ours" / "tokenizer_config.json").write_text(noted)
    convert(tmp_path / "ours", tmp_path / "tf1", "tf1")
    convert(tmp_path / "tf1", tmp_path / "again")
    assert (tmp_path / "again" / "tokenizer_config.json").read_text() == noted


def test_a_vocabulary_without_a_clean_up_reads_capitals_as_it_is_told(tmp_path):
    letters = "".join(map(chr, range(ord("A"), ord("Z") + 1)))
    pieces = [*word_pieces.SPECIAL, *letters, *letters.lower(), "é"]
    (tmp_path / "vocab.txt").write_text("\n".join(pieces), encoding="utf-8")
    make_google(tmp_path / "google", vocab_size=len(pieces))
    given = {"vocabulary": tmp_path / "vocab.txt"}
    convert(tmp_path / "google", tmp_path / "cased", lower_case=False, strip_accents=False, **given)
    convert(tmp_path / "google", tmp_path / "small", **given)
    cased, small = (tokenizer_files.load_tokenizer(tmp_path / n) for n in ("cased", "small"))
    assert cased.encode("A é") == [cased.piece_to_id("A"), cased.piece_to_id("é")]
    assert small.encode("A é") == [small.piece_to_id("a"), small.piece_to_id("e")]
    # The last word is that of who converts.
    convert(tmp_path / "cased", tmp_path / "again", lower_case=True)
    again = tokenizer_files.load_tokenizer(tmp_path / "again")
    assert again.encode("A é") == [again.piece_to_id("a"), again.piece_to_id("é")]


def test_a_clean_up_that_the_vocabulary_contradicts_or_nobody_needs_is_refused(tmp_path):
    make_google(tmp_path / "google", vocab_size=340)
    with pytest.raises(CheckpointError, match="built with lower_case=True"):
        convert(tmp_path / "google", tmp_path / "a", vocabulary=VOCABULARY, lower_case=False)
    with pytest.raises(CheckpointError, match="must have a vocabulary .* Received: none"):
        convert(tmp_path / "google", tmp_path / "a", lower_case=False)
    assert not (tmp_path / "a").exists()


def without(source, destination, names):
    """Writes a checkpoint again without the tensors whose names have one of some beginnings."""
    tensors = {n: t for n, t in read_google(source).items() if not n.startswith(names)}
    destination.mkdir()
    tensorflow_files.write_tf1_checkpoint(destination / "model.ckpt-best", tensors)
    shutil.copy(source / "albert_config.json", destination)
    return tensors


@pytest.mark.parametrize("head", ["span", "answerability"])
def test_a_pooler_that_was_not_trained_has_slots_of_zeros(tmp_path, head):
    make_google(tmp_path / "whole", [head], slots=True)
    pooler = "bert/pooler/dense/"
    idle = tuple(f"{pooler}{leaf}/adam" for leaf in ("kernel", "bias"))
    tensors = without(tmp_path / "whole", tmp_path / "google", idle)
    assert f"{pooler}kernel" in tensors and f"{pooler}kernel/adam_m" not in tensors
    _, said = convert(tmp_path / "google", tmp_path / "ours")
    assert "optimizer: slots of all weights, step 125,000" in said
    slots = read_safetensors(tmp_path / "ours" / model_directory.OPTIMIZER_FILE)
    for leaf in ("kernel", "bias"):
        for slot in "mv":
            assert not slots[f"encoder/pooler/{leaf}/{slot}"].any()
    np.testing.assert_array_equal(
        slots["encoder/embeddings/word_embeddings/m"],
        tensors["bert/embeddings/word_embeddings/adam_m"],
    )


def test_the_projection_that_the_original_lacks_has_slots_of_zeros(tmp_path):
    sizes = {"embedding_size": SIZES["hidden_size"]}
    tensors = make_google(tmp_path / "google", slots=True, **sizes)
    assert not any("embedding_hidden_mapping_in" in name for name in tensors)
    convert(tmp_path / "google", tmp_path / "ours")
    slots = read_safetensors(tmp_path / "ours" / model_directory.OPTIMIZER_FILE)
    for leaf in ("kernel", "bias"):
        assert not slots[f"encoder/embedding_projection/{leaf}/m"].any()
    convert(tmp_path / "ours", tmp_path / "again", "tf1")
    assert_same_tensors(read_google(tmp_path / "again"), tensors)


def test_slots_that_are_left_out_are_named(tmp_path):
    make_google(tmp_path / "google", ["none"], slots=True)
    _, said = convert(
        tmp_path / "google", tmp_path / "ours", head="classification", initialize_head=True
    )
    assert "optimizer: left out" in said
    assert not (tmp_path / "ours" / model_directory.OPTIMIZER_FILE).exists()


def test_head_without_a_meaning_must_be_named(tmp_path):
    make_google(tmp_path / "google", ["classification"])
    refuse(tmp_path, "give `head=classification`, regression, tokens or choice")


def test_head_starts_untrained_only_where_asked(tmp_path):
    make_google(tmp_path / "google", ["none"])
    refuse(tmp_path, "missing: output_weights", head="classification")
    model, said = convert(
        tmp_path / "google", tmp_path / "ours", head="classification", initialize_head=True
    )
    assert "head: classification (untrained)" in said
    assert model.labels == ("LABEL_0", "LABEL_1")


@pytest.mark.slow
def test_head_asked_for_by_name_replaces_the_one_that_is_there(tmp_path):
    make_google(tmp_path / "google", ["pretraining"])
    model, _ = convert(
        tmp_path / "google", tmp_path / "ours", head="classification", initialize_head=True
    )
    assert isinstance(model, task_models.AlbertClassifier)
    encoder, _ = convert(tmp_path / "google", tmp_path / "encoder", head="none")
    batch = conversion.example_batch(model.config)
    np.testing.assert_array_equal(
        encoder(batch)["pooled_output"], model.encode(batch, False)["pooled_output"]
    )


def test_google_has_no_head_for_tokens(tmp_path):
    make_google(tmp_path / "google", ["classification"])
    refuse(tmp_path, "has no name for the weight token_head", head="tokens")


def test_buffers_of_old_files_are_passed_over(tmp_path):
    config = AlbertConfig(**{**SIZES, "hidden_act": "gelu_new"})
    language_models.AlbertForPretraining(config).save_pretrained(tmp_path / "old")
    path = tmp_path / "old" / "model.safetensors"
    tensors = read_safetensors(path)
    tensors["albert.embeddings.position_ids"] = np.arange(12)[None]
    write_safetensors(tensors, path)
    convert(tmp_path / "old", tmp_path / "google", "tf1")
    held = tensorflow_files.open_tf1_checkpoint(tmp_path / "google")
    assert held.keys() == google_shapes(SIZES).keys()


def test_optimizer_of_other_weights_is_refused_and_of_more_is_cut(tmp_path):
    make_google(tmp_path / "google", slots=True)
    convert(tmp_path / "google", tmp_path / "first")
    convert(tmp_path / "first", tmp_path / "encoder", head="none")
    path = tmp_path / "encoder" / model_directory.OPTIMIZER_FILE
    slots = read_safetensors(path)
    assert not any("head" in name for name in slots)
    del slots["encoder/pooler/bias/v"]
    write_safetensors(slots, path)
    refuse(tmp_path, "must have encoder/pooler/bias/v", "encoder")


def test_int8_keeps_each_row_within_half_a_step_in_a_quarter_of_the_bytes(tmp_path):
    make_google(tmp_path / "google", slots=True, hidden_size=64, vocab_size=5000)
    convert(tmp_path / "google", tmp_path / "whole")
    _, said = convert(tmp_path / "whole", tmp_path / "int8", "int8")
    assert "rounding to int8 moved an output by up to 0.0" in said
    names = {path.name for path in (tmp_path / "int8").iterdir()}
    assert names == {"config.json", "model.int8.safetensors"}
    sizes = [os.path.getsize(tmp_path / "int8" / "model.int8.safetensors")]
    sizes.append(os.path.getsize(tmp_path / "whole" / "model.safetensors"))
    assert sizes[0] < 0.45 * sizes[1]  # E = 8 here, so a factor for each word is half its numbers

    convert(tmp_path / "int8", tmp_path / "again")
    before = read_safetensors(tmp_path / "whole" / "model.safetensors")
    after = read_safetensors(tmp_path / "again" / "model.safetensors")
    assert before.keys() == after.keys()
    for name, value in before.items():
        if value.ndim == 2:
            steps = np.abs(value).max(axis=1, keepdims=True) / 127
            assert np.all(np.abs(value - after[name]) <= steps * 0.501), name
            assert len(np.unique(np.rint(after[name] / steps))) <= 255
        else:
            np.testing.assert_array_equal(value, after[name], err_msg=name)


@pytest.mark.slow
def test_int8_model_answers_as_its_rounded_copy_and_rounds_no_further(tmp_path):
    make_google(tmp_path / "google")
    convert(tmp_path / "google", tmp_path / "int8", "int8")
    convert(tmp_path / "int8", tmp_path / "whole")
    convert(tmp_path / "int8", tmp_path / "int8_again", "int8")
    batch = conversion.example_batch(AlbertConfig.from_dict(SIZES))
    outputs = []
    for name in ("int8", "whole", "int8_again"):
        model = language_models.AlbertForPretraining.from_pretrained(tmp_path / name)
        outputs.append(model(batch)["masked_lm_logits"].numpy())
    np.testing.assert_array_equal(outputs[0], outputs[1])
    np.testing.assert_allclose(outputs[0], outputs[2], atol=1e-5)


@pytest.mark.parametrize("output_format", ["transformers", "int8"])
def test_what_a_model_is_for_goes_along(tmp_path, output_format):
    config = AlbertConfig(**{**SIZES, "hidden_act": "gelu_new"})
    embedder = language_models.AlbertEmbedder(config, pooling="cls", normalize=True)
    embedder.save_pretrained(tmp_path / "embedder")
    convert(tmp_path / "embedder", tmp_path / "vectors", output_format)
    again = language_models.AlbertEmbedder.from_pretrained(tmp_path / "vectors")
    assert (again.pooling, again.normalize) == ("cls", True)
    assert (tmp_path / "vectors" / "modules.json").is_file()

    reader = task_models.AlbertAnswerabilitySelector(config)
    reader.save_pretrained(tmp_path / "reader")
    notes = model_kinds.AnswerNotes(kind="answer", max_seq_length=11, null_threshold=-1.5)
    model_kinds.write_notes(tmp_path / "reader", notes)
    convert(tmp_path / "reader", tmp_path / "answers", output_format)
    assert model_kinds.read_notes(tmp_path / "answers") == notes
    convert(tmp_path / "reader", tmp_path / "encoder", output_format, head="none")
    assert model_kinds.read_kind(tmp_path / "encoder") != "answer"


@pytest.mark.parametrize("folder", ["", "0_Transformer"])
def test_a_sentence_model_of_others_keeps_its_pooling(tmp_path, folder):
    config = AlbertConfig(**{**SIZES, "hidden_act": "gelu_new"})
    source = tmp_path / "theirs"
    source.mkdir()
    language_models.AlbertModel(config).save_pretrained(source / folder / "x")
    for path in (source / folder / "x").iterdir():
        path.rename(source / folder / path.name)
    steps = {"Transformer": folder, "Pooling": "1_Pooling", "Normalize": "2_Normalize"}
    modules = [
        {"path": path, "type": f"sentence_transformers.models.{name}"}
        for name, path in steps.items()
    ]
    (source / "modules.json").write_text(json.dumps(modules))
    (source / "1_Pooling").mkdir()
    (source / "1_Pooling" / "config.json").write_text('{"pooling_mode": "max"}')
    convert(source, tmp_path / "ours")
    assert model_kinds.read_kind(tmp_path / "ours") == "embedding"
    again = language_models.AlbertEmbedder.from_pretrained(tmp_path / "ours")
    assert (again.pooling, again.normalize) == ("max", True)


def test_int8_matrix_without_its_factors_is_named(tmp_path):
    make_google(tmp_path / "google")
    convert(tmp_path / "google", tmp_path / "int8", "int8")
    path = tmp_path / "int8" / "model.int8.safetensors"
    tensors = read_safetensors(path)
    del tensors["albert.pooler.weight.factors"]
    write_safetensors(tensors, path)
    with pytest.raises(CheckpointError, match=r"albert.pooler.weight must have factors of shape"):
        convert(tmp_path / "int8", tmp_path / "again")


def test_a_folder_that_was_copied_names_its_checkpoint_by_another_place(tmp_path):
    make_google(tmp_path / "google")
    state = tmp_path / "google" / "checkpoint"
    state.write_text('model_checkpoint_path: "/elsewhere/model.ckpt-best"\n')
    convert(tmp_path / "google", tmp_path / "ours")
    state.write_text('model_checkpoint_path: "/elsewhere/model.ckpt-7"\n')
    with pytest.raises(CheckpointError, match="a checkpoint in its own folder.*model.ckpt-7"):
        convert(tmp_path / "google", tmp_path / "again")


def test_source_without_config_asks_for_one(tmp_path):
    make_google(tmp_path / "google")
    (tmp_path / "google" / "albert_config.json").unlink()
    refuse(tmp_path, "give one with `config`")


def test_a_config_beside_that_of_the_source_is_refused(tmp_path):
    make_google(tmp_path / "google")
    convert(tmp_path / "google", tmp_path / "ours")
    config = AlbertConfig(**{**SIZES, "num_attention_heads": 1})
    with pytest.raises(CheckpointError, match="`config` goes with a source that has none. .*ours"):
        convert(tmp_path / "ours", tmp_path / "again", config=config)


@pytest.mark.parametrize("name", ["num_attention_heads", "num_hidden_layers"])
def test_a_config_without_what_no_weights_tell_is_refused(tmp_path, name):
    make_google(tmp_path / "google")
    path = tmp_path / "google" / "albert_config.json"
    values = json.loads(path.read_text())
    del values[name]
    path.write_text(json.dumps(values))
    refuse(tmp_path, f"albert_config.json must have `{name}`")


def test_a_vocabulary_of_another_model_is_named(tmp_path):
    make_google(tmp_path / "google")
    shutil.copy(VOCABULARY, tmp_path / "google" / "spiece.model")
    _, lines = convert(tmp_path / "google", tmp_path / "ours")
    (warning,) = [line for line in lines.splitlines() if line.startswith("Warning")]
    assert "spiece.model must have as many pieces as the model, 50. Received: 340" in warning


def test_unknown_key_of_a_config_is_listed(tmp_path):
    make_google(tmp_path / "google")
    path = tmp_path / "google" / "albert_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "rotary": True}))
    refuse(tmp_path, "unknown 'rotary'")


def test_what_is_no_checkpoint_is_named(tmp_path):
    (tmp_path / "google").mkdir()
    refuse(tmp_path, "nothing that looks like one")


def test_existing_output_is_replaced_only_where_asked(tmp_path):
    make_google(tmp_path / "google")
    (tmp_path / "ours").mkdir()
    for name in ("config.json", "precious"):
        (tmp_path / "ours" / name).write_text("kept")
    with pytest.raises(FileExistsError):
        convert(tmp_path / "google", tmp_path / "ours")
    assert (tmp_path / "ours" / "precious").read_text() == "kept"
    (tmp_path / "link").symlink_to(tmp_path / "ours")
    convert(tmp_path / "google", tmp_path / "link", overwrite=True)
    assert not (tmp_path / "ours" / "precious").exists()
    assert (tmp_path / "link").is_symlink() and (tmp_path / "link/model.safetensors").is_file()
    assert sorted(os.listdir(tmp_path)) == ["google", "link", "ours"]


def test_nothing_but_a_model_is_replaced(tmp_path):
    make_google(tmp_path / "zoo" / "google")
    (tmp_path / "zoo" / "config.json").write_text("{}")
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "notes.txt").write_text("kept")
    for name, found in (("zoo", "'google'"), ("papers", "'notes.txt'")):
        with pytest.raises(ValueError, match=f"a model and no folders in it. .* with {found}"):
            convert(tmp_path / "zoo" / "google", tmp_path / name, overwrite=True)
    assert (tmp_path / "zoo/google/albert_config.json").is_file()


def test_a_stop_in_the_last_moment_leaves_the_old_model_or_the_new(tmp_path, monkeypatch):
    make_google(tmp_path / "google")
    convert(tmp_path / "google", tmp_path / "ours")

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(whole_files, "replace_directory", stop)
    with pytest.raises(KeyboardInterrupt):
        convert(tmp_path / "google", tmp_path / "ours", overwrite=True)
    assert (tmp_path / "ours" / "model.safetensors").is_file()


def test_output_that_does_not_compute_the_same_never_appears(tmp_path, monkeypatch):
    make_google(tmp_path / "google")
    written = conversion.model_directory.write_files

    def damage(folder, model, tokenizer=None):
        written(folder, model, tokenizer)
        tensors = read_safetensors(folder / "model.safetensors")
        tensors["predictions.bias"] = tensors["predictions.bias"] + 1
        write_safetensors(tensors, folder / "model.safetensors")

    monkeypatch.setattr(conversion.model_directory, "write_files", damage)
    refuse(tmp_path, "must give the outputs of the model")


@pytest.mark.slow
def test_command_line_says_what_it_did_or_why_not(tmp_path):
    make_google(tmp_path / "google")
    command = [sys.executable, "-m", "albert_tf.run_conversion", f"--input={tmp_path / 'google'}"]
    done = subprocess.run(
        [*command, f"--output={tmp_path / 'ours'}"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "found: TensorFlow 1 checkpoint, 32 tensors" in done.stdout
    assert "verified" in done.stdout
    refused = subprocess.run(
        [*command, f"--output={tmp_path / 'ours'}"], capture_output=True, text=True
    )
    assert refused.returncode == 1
    assert refused.stderr.strip().splitlines()[-1].endswith("ours exists already")


@pytest.mark.real_data
@pytest.mark.parametrize("size", ["base", "large"])
def test_every_name_of_googles_own_files_is_mapped(size):
    data = os.environ.get("ALBERT_TF_DATA")
    if not data:
        pytest.skip("ALBERT_TF_DATA names no folder with tf1_manifests/")
    folder = pathlib.Path(data) / "tf1_manifests" / f"albert_{size}"
    source = sources.open_source(folder)
    assert source.config.hidden_size == AlbertConfig.from_preset(f"albert_{size}_v1").hidden_size
    shapes = google_shapes(json.loads((folder / "albert_config.json").read_text()))
    held = {name: tensor.shape for name, tensor in source.tensors.items()}
    assert {name: shape for name, shape in held.items() if name != "global_step"} == shapes
    assert conversion.choose_head(source) == "pretraining"


def test_a_head_of_google_that_says_which_questions_have_no_answer_is_known(tmp_path):
    make_google(tmp_path / "google", heads=("answerability",))
    _, said = convert(tmp_path / "google", tmp_path / "ours")
    assert model_kinds.read_kind(tmp_path / "ours") == "answer"
    assert "no `null_threshold` is known, so every question gets an answer" in said
    notes = model_kinds.AnswerNotes(kind="answer", null_threshold=0.5)
    model_kinds.write_notes(tmp_path / "ours", notes)
    _, said = convert(tmp_path / "ours", tmp_path / "again")
    assert "null_threshold" not in said
    assert model_kinds.read_notes(tmp_path / "again").null_threshold == 0.5


def test_a_tokenizer_json_of_another_kind_goes_along_with_a_word(tmp_path):
    make_google(tmp_path / "google")
    convert(tmp_path / "google", tmp_path / "ours")
    (tmp_path / "ours" / "tokenizer.json").write_text('{"model": {"type": "BPE", "vocab": []}}')
    _, said = convert(tmp_path / "ours", tmp_path / "again")
    assert "Warning: the vocabulary goes along, but no text is read by it" in said
    assert (tmp_path / "again" / "tokenizer.json").exists()
    with pytest.raises(ValueError, match="tokenizer.json"):
        convert(tmp_path / "ours", tmp_path / "other", lower_case=False)


def test_a_clean_up_that_is_said_is_that_of_a_vocabulary_in_a_tokenizer_json(tmp_path):
    save_with_tokenizer_json_alone(tmp_path)
    convert(tmp_path / "saved", tmp_path / "back", "tf1", lower_case=False, strip_accents=False)
    convert(tmp_path / "back", tmp_path / "again")
    tokenizer = tokenizer_files.load_tokenizer(tmp_path / "again")
    assert (tokenizer.lower_case, tokenizer.strip_accents) == (False, False)
