"""Heads pointed at neighbors look there, whatever the words, and the rest stays as it was."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from albert_tf.config import AlbertConfig
from albert_tf.model import initial_attention
from albert_tf.model.modeling import AlbertEncoder
from albert_tf.training.optimizers import Muon

MINI = dataclasses.replace(AlbertConfig.from_preset("albert_mini"), vocab_size=500)


def make_encoder(config=MINI):
    keras.utils.set_random_seed(0)
    return AlbertEncoder(config)


def attention_of_first_layer(encoder, ids, segments=None):
    """Returns the attention probabilities [B, N, L, L] by the textbook, in NumPy."""
    config, block = encoder.config, encoder.blocks[0]
    hidden = encoder(ids, None, segments, output_hidden_states=True)["hidden_states"][0].numpy()
    heads = (*ids.shape, config.num_attention_heads, config.head_size)
    query = (hidden @ block.query.kernel.numpy() + block.query.bias.numpy()).reshape(heads)
    key = (hidden @ block.key.kernel.numpy() + block.key.bias.numpy()).reshape(heads)
    scores = np.einsum("bqnd,bknd->bnqk", query, key) / np.sqrt(config.head_size)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("length", [16, 64, 200])
def test_pointed_heads_look_at_their_offset(length):
    encoder = make_encoder()
    initial_attention.point_heads(encoder)
    ids = np.random.default_rng(1).integers(5, 500, (4, length)).astype(np.int32)
    attention = attention_of_first_layer(encoder, ids)
    offsets = initial_attention.offsets_of_heads(8)
    assert offsets == [-1, 1, -2, 2, -3, 3]
    for head, offset in enumerate(offsets):
        at_offset = np.diagonal(attention[:, head], offset=offset, axis1=1, axis2=2)
        assert at_offset.mean() > 0.85, (head, offset)


def test_published_start_does_not_tell_neighbors_apart():
    encoder = make_encoder()
    ids = np.random.default_rng(1).integers(5, 500, (4, 64)).astype(np.int32)
    attention = attention_of_first_layer(encoder, ids)
    for offset in (-1, 1):
        at_offset = np.diagonal(attention, offset=offset, axis1=2, axis2=3)
        assert at_offset.mean() < 0.1


def test_only_tables_queries_and_keys_change():
    encoder = make_encoder()
    before = {weight.path: weight.numpy() for weight in encoder.weights}
    initial_attention.point_heads(encoder)
    changed = {
        weight.path.rsplit("/", 2)[-1] if "embeddings/" in weight.path else weight.path
        for weight in encoder.weights
        if not np.array_equal(weight.numpy(), before[weight.path])
    }
    block = "encoder/group_0/inner_group_0/attention/"
    assert {path.replace("albert_encoder/", "encoder/") for path in changed} == {
        "word_embeddings",
        "token_type_embeddings",
        "position_embeddings",
        f"{block}query/kernel",
        f"{block}key/kernel",
    }


def test_wide_heads_and_groups_are_pointed_too():
    config = dataclasses.replace(
        MINI, num_attention_heads=4, num_hidden_groups=2, inner_group_num=2
    )
    encoder = make_encoder(config)
    initial_attention.point_heads(encoder)
    ids = np.random.default_rng(1).integers(5, 500, (2, 32)).astype(np.int32)
    attention = attention_of_first_layer(encoder, ids)
    assert np.diagonal(attention[:, 0], offset=-1, axis1=1, axis2=2).mean() > 0.85


def test_projection_to_the_same_width_is_read_back_with_moderate_weights():
    encoder = make_encoder(AlbertConfig.from_preset("albert_demo"))
    initial_attention.point_heads(encoder)
    query = encoder.blocks[0].query.kernel.numpy()
    assert np.abs(query).max() < 3
    ids = np.random.default_rng(1).integers(5, 4000, (4, 64)).astype(np.int32)
    attention = attention_of_first_layer(encoder, ids)
    for head, offset in enumerate(initial_attention.offsets_of_heads(4)):
        at_offset = np.diagonal(attention[:, head], offset=offset, axis1=1, axis2=2)
        assert at_offset.mean() > 0.6


def test_last_two_heads_look_at_the_own_and_the_other_segment():
    encoder = make_encoder()
    initial_attention.point_heads(encoder)
    ids = np.random.default_rng(1).integers(5, 500, (4, 64)).astype(np.int32)
    segments = np.repeat([[0, 1]], [40, 24], axis=1).repeat(4, axis=0)
    attention = attention_of_first_layer(encoder, ids, segments.astype(np.int32))
    same = segments[:, :, None] == segments[:, None, :]  # [B, L, L]
    own = (attention[:, 6] * same).sum(axis=-1)
    other = (attention[:, 7] * ~same).sum(axis=-1)
    assert own.mean() > 0.9
    assert other.mean() > 0.9


SPECIAL = initial_attention.SpecialIds(rests=(2, 3), hidden=(4,))


def pairs():
    """Returns ids and segments [4, 65]: every other word of a text has a partner in the second."""
    generator = np.random.default_rng(1)
    rows = []
    for _ in range(4):
        words = generator.permutation(np.arange(5, 500))
        second = np.concatenate([words[:31:2], words[100:116]])
        rows.append([2, *words[:31], 3, *generator.permutation(second)[:31], 3])
    segments = np.repeat([[0, 1]], [33, 32], axis=1).repeat(4, axis=0)
    return np.array(rows, np.int32), segments.astype(np.int32)


def test_matching_head_finds_the_same_word_in_the_other_segment_or_rests():
    ids, segments = pairs()
    other = segments[:, :, None] != segments[:, None, :]
    same = (ids[:, :, None] == ids[:, None, :]) & other & (ids > 4)[:, :, None]  # [B, L, L]
    rests = other & (ids == 3)[:, None, :] | other & (ids == 2)[:, None, :]
    encoder = make_encoder()
    initial_attention.point_heads(encoder, SPECIAL)
    attention = attention_of_first_layer(encoder, ids, segments)[:, 7]
    has_partner = same.any(axis=-1)
    alone = ~has_partner & (ids > 4)
    assert (attention * same).sum(axis=-1)[has_partner].mean() > 0.8
    assert (attention * rests).sum(axis=-1)[alone].mean() > 0.6
    assert (attention * rests).sum(axis=-1)[has_partner].mean() < 0.2
    offset_head = attention_of_first_layer(encoder, ids, segments)[:, 0]
    assert np.diagonal(offset_head, offset=-1, axis1=1, axis2=2).mean() > 0.85


def test_hidden_words_are_nobodys_partner():
    ids, segments = pairs()
    ids[:, [5, 40]] = 4
    encoder = make_encoder()
    initial_attention.point_heads(encoder, SPECIAL)
    attention = attention_of_first_layer(encoder, ids, segments)[:, 7]
    assert attention[:, 5, 40].max() < 0.05 and attention[:, 40, 5].max() < 0.05


def test_training_leaves_alone_what_the_matching_head_depends_on():
    ids, segments = pairs()
    encoder = make_encoder()
    initial_attention.point_heads(encoder, SPECIAL)
    initial_attention.hold_heads(encoder)
    before = attention_of_first_layer(encoder, ids, segments)
    weights = {weight.path: weight.numpy() for weight in encoder.weights}
    optimizer = Muon(2e-2, weight_decay=0.1)
    generator = np.random.default_rng(0)
    for _ in range(5):
        gradients = [
            tf.constant(generator.normal(size=variable.shape).astype(np.float32))
            for variable in encoder.trainable_variables
        ]
        optimizer.apply(gradients, encoder.trainable_variables)
    after = attention_of_first_layer(encoder, ids, segments)
    moved = {w.path for w in encoder.weights if not np.array_equal(w.numpy(), weights[w.path])}
    assert {path.split("/", 1)[1] for path in moved} >= {
        "embeddings/word_embeddings",
        "group_0/inner_group_0/attention/query/kernel",
        "group_0/inner_group_0/attention/value/kernel",
    }
    assert np.abs(after[:, 4] - before[:, 4]).max() > 0.1
    for head, offset in enumerate(initial_attention.offsets_of_heads(8)[:4]):
        at_offset = np.diagonal(after[:, head], offset=offset, axis1=1, axis2=2)
        assert at_offset.mean() > 0.8, head
    same = (ids[:, :, None] == ids[:, None, :]) & (segments[:, :, None] != segments[:, None, :])
    same &= (ids > 4)[:, :, None]
    for attention in (before, after):
        assert (attention[:, 7] * same).sum(axis=-1)[same.any(axis=-1)].mean() > 0.7


def held_encoder():
    encoder = make_encoder()
    initial_attention.point_heads(encoder, SPECIAL)
    initial_attention.hold_heads(encoder)
    return encoder


@pytest.mark.parametrize(("name", "axis"), [("value", 1), ("attention_output", 0)])
def test_matching_head_stays_as_loud_as_the_others_grow(name, axis):
    kernel = getattr(held_encoder().blocks[0], name).kernel
    initial = kernel.numpy()
    changed = 3 * initial + np.random.default_rng(0).normal(size=initial.shape)
    held = np.asarray(kernel.constraint(tf.constant(changed, tf.float32)))
    start = MINI.hidden_size - MINI.head_size
    (initial, initial_end), (changed, _), (held, held_end) = (
        np.split(values, [start], axis) for values in (initial, changed, held)
    )
    np.testing.assert_allclose(held, changed, rtol=1e-6)
    growth = np.sqrt(np.mean(changed**2) / np.mean(initial**2))
    assert growth > 3
    np.testing.assert_allclose(held_end, growth * initial_end, rtol=1e-4)


def test_words_turn_but_keep_their_size_and_special_tokens_stay():
    encoder = held_encoder()
    table = encoder.embeddings.word_embeddings
    initial = table.numpy()
    changed = initial + np.random.default_rng(0).normal(0.05, 0.05, initial.shape)
    held = np.asarray(table.constraint(tf.constant(changed, tf.float32)))
    np.testing.assert_array_equal(held[2:5], initial[2:5])
    np.testing.assert_array_equal(held[:, -34:], initial[:, -34:])
    words, before = np.delete(held, [2, 3, 4], 0), np.delete(initial, [2, 3, 4], 0)
    sizes, size = np.linalg.norm(words, axis=1), np.sqrt(np.mean(np.sum(before**2, axis=1)))
    np.testing.assert_allclose(sizes, size, rtol=1e-4)
    mean = np.linalg.norm(np.delete(changed, [2, 3, 4], 0)[:, :-34].mean(axis=0))
    assert mean > 0.4 and np.linalg.norm(words.mean(axis=0)) < 0.03
    turned = np.sum(words * before, axis=1) / (sizes * np.linalg.norm(before, axis=1))
    assert turned.max() < 0.95


def test_heads_that_were_not_set_cannot_be_held():
    encoder = make_encoder()
    initial_attention.point_heads(encoder)
    with pytest.raises(ValueError, match="Received: 500 of 500 rows"):
        initial_attention.hold_heads(encoder)


def test_heads_of_another_block_are_set_by_embeddings_that_were_held():
    encoder = held_encoder()
    expected = {weight.path: weight.numpy() for weight in encoder.weights}
    for layer in (encoder.blocks[0].query, encoder.blocks[0].key):
        layer.kernel.assign(tf.zeros_like(layer.kernel))
    encoder.blocks[0].query.bias.assign(tf.zeros_like(encoder.blocks[0].query.bias))
    initial_attention.set_attention(encoder, "matching")
    moved = {w.path for w in encoder.weights if not np.array_equal(w.numpy(), expected[w.path])}
    # All else is what it was. Queries and keys miss the columns that no head sets and that were
    # drawn at random; values and outputs of the matching head have been enlarged a second time.
    block = "group_0/inner_group_0/attention/"
    assert {path.split("/", 1)[1] for path in moved} == {
        f"{block}{name}/kernel" for name in ("query", "key", "value", "output")
    }
    ids, segments = pairs()
    attention = attention_of_first_layer(encoder, ids, segments)[:, 7]
    same = (ids[:, :, None] == ids[:, None, :]) & (segments[:, :, None] != segments[:, None, :])
    same &= (ids > 4)[:, :, None]
    assert (attention * same).sum(axis=-1)[same.any(axis=-1)].mean() > 0.8


def test_heads_are_not_set_by_embeddings_of_another_start():
    with pytest.raises(ValueError, match="started with --initial_attention=matching"):
        initial_attention.set_attention(make_encoder(), "matching")


def test_narrow_embeddings_are_refused():
    narrow = dataclasses.replace(MINI, embedding_size=16)
    with pytest.raises(ValueError, match="`embedding_size` at least 32"):
        initial_attention.point_heads(make_encoder(narrow))
