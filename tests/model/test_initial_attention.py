"""Heads pointed at neighbors look there, whatever the words, and the rest stays as it was."""

import dataclasses

import keras
import numpy as np
import pytest

from albert_tf.config import AlbertConfig
from albert_tf.model import initial_attention
from albert_tf.model.modeling import AlbertEncoder

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


def test_embeddings_wider_than_the_model_are_refused():
    wide = dataclasses.replace(MINI, embedding_size=2 * MINI.hidden_size)
    with pytest.raises(ValueError, match="`embedding_size` must not exceed `hidden_size`"):
        initial_attention.point_heads(make_encoder(wide))


def test_narrow_embeddings_are_refused():
    narrow = dataclasses.replace(MINI, embedding_size=16)
    with pytest.raises(ValueError, match="`embedding_size` at least 32"):
        initial_attention.point_heads(make_encoder(narrow))
