"""Architectures validate themselves, and the presets are the published ones."""

import dataclasses
import json

import pytest

from albert_tf.config import AlbertConfig, preset_names

# hidden size, layers, heads, feed-forward size, dropout in version 1; version 2 has none.
PUBLISHED = {
    "base": (768, 12, 12, 3072, 0.1),
    "large": (1024, 24, 16, 4096, 0.1),
    "xlarge": (2048, 24, 16, 8192, 0.1),
    "xxlarge": (4096, 12, 64, 16384, 0.0),
}


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("size", PUBLISHED)
def test_preset_is_the_published_architecture(size, version):
    hidden, layers, heads, inner, dropout = PUBLISHED[size]
    dropout = dropout if version == "v1" else 0.0
    assert AlbertConfig.from_preset(f"albert_{size}_{version}") == AlbertConfig(
        vocab_size=30000,
        embedding_size=128,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_hidden_groups=1,
        num_attention_heads=heads,
        intermediate_size=inner,
        inner_group_num=1,
        hidden_act="gelu_new",
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        max_position_embeddings=512,
        type_vocab_size=2,
        initializer_range=0.02,
        layer_norm_eps=1e-12,
    )


def test_preset_names_are_all_there_and_all_load():
    expected = {f"albert_{size}_{version}" for size in PUBLISHED for version in ("v1", "v2")}
    assert set(preset_names()) >= expected | {"albert_tiny", "albert_mini", "albert_small"}
    for name in preset_names():
        AlbertConfig.from_preset(name)


def test_preset_files_spell_out_every_field():
    names = [field.name for field in dataclasses.fields(AlbertConfig)]
    import importlib.resources

    for preset in preset_names():
        file = importlib.resources.files("albert_tf.configs").joinpath(f"{preset}.json")
        assert list(json.loads(file.read_text())) == names


def test_default_config_is_base_v2():
    assert AlbertConfig() == AlbertConfig.from_preset("albert_base_v2")


def test_unknown_preset_lists_the_right_ones():
    with pytest.raises(ValueError, match=r"albert_base_v1.*albert_xxlarge_v2.*'albert_huge'"):
        AlbertConfig.from_preset("albert_huge")


def test_unknown_key_lists_the_right_ones():
    with pytest.raises(ValueError, match=r"hidden_size.*unknown 'hiden_size', 'zeta'"):
        AlbertConfig.from_dict({"zeta": 1, "hiden_size": 768})


def test_json_round_trip(tmp_path):
    config = AlbertConfig.from_preset("albert_xlarge_v1")
    path = tmp_path / "config.json"
    path.write_text(config.to_json_string(), encoding="utf-8")
    assert AlbertConfig.from_json_file(path) == config
    assert AlbertConfig.from_dict(config.to_dict()) == config


def test_missing_keys_take_their_default():
    assert AlbertConfig.from_dict({"vocab_size": 7}).hidden_size == 768


@pytest.mark.parametrize("text", ["{", "[1]"], ids=["broken", "not an object"])
def test_file_that_is_no_config_is_named(tmp_path, text):
    path = tmp_path / "broken.json"
    path.write_text(text)
    with pytest.raises(ValueError, match="broken.json"):
        AlbertConfig.from_json_file(path)


def test_config_cannot_be_changed_but_replaced():
    config = AlbertConfig()
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.hidden_size = 4
    assert dataclasses.replace(config, vocab_size=8000).vocab_size == 8000
    with pytest.raises(ValueError, match="num_attention_heads"):
        dataclasses.replace(config, num_attention_heads=7)


@pytest.mark.parametrize(
    "field, value, message",
    [
        ("num_attention_heads", 7, r"divisible by `num_attention_heads`.*hidden_size=768.*=7"),
        ("num_hidden_groups", 13, r"must not exceed `num_hidden_layers`.*num_hidden_groups=13"),
        ("hidden_size", 0, r"`hidden_size` must be a positive integer. Received: 0"),
        ("vocab_size", -1, r"`vocab_size` must be a positive integer. Received: -1"),
        ("inner_group_num", True, r"`inner_group_num` must be a positive integer. Received: True"),
        ("embedding_size", 12.5, r"`embedding_size` must be a positive integer. Received: 12.5"),
        ("hidden_dropout_prob", 1.0, r"`hidden_dropout_prob` must lie in \[0, 1\). Received: 1.0"),
        ("attention_probs_dropout_prob", -0.1, r"must lie in \[0, 1\). Received: -0.1"),
        ("hidden_dropout_prob", "0.1", r"`hidden_dropout_prob` must be a number. Received: '0.1'"),
        ("hidden_dropout_prob", float("nan"), r"must lie in \[0, 1\). Received: nan"),
        ("initializer_range", 0.0, r"`initializer_range` must lie in \(0, 1\). Received: 0.0"),
        ("layer_norm_eps", 0.0, r"`layer_norm_eps` must lie in \(0, 1\). Received: 0.0"),
        ("hidden_act", "swish", r"one of gelu_new, gelu, relu. Received: 'swish'"),
    ],
)
def test_wrong_value_is_named(field, value, message):
    with pytest.raises(ValueError, match=message):
        AlbertConfig.from_dict({field: value})


def test_more_layers_than_anyone_can_wait_for_are_refused_at_once(tmp_path):
    (tmp_path / "config.json").write_text('{"num_hidden_layers": 1000000000}')
    with pytest.raises(
        ValueError, match=r"config\.json: `num_hidden_layers` must be at most 1,000"
    ):
        AlbertConfig.from_json_file(tmp_path / "config.json")


def test_groups_and_dropout_change_by_name_and_nothing_else_does():
    config = AlbertConfig.from_preset("albert_base_v1")
    assert config.with_groups() == config.with_dropout() == config
    assert config.with_groups(3) == dataclasses.replace(config, num_hidden_groups=3)
    assert config.with_groups(share_across_layers=False).num_hidden_groups == 12
    with pytest.raises(ValueError, match="`num_hidden_groups` must be a positive integer"):
        config.with_groups(0)
    with pytest.raises(ValueError, match="must be None where each layer .* Received: 3"):
        config.with_groups(3, share_across_layers=False)
    changed = config.with_dropout(encoder=0.0, classifier=0.2)
    assert changed == dataclasses.replace(
        config,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        classifier_dropout_prob=0.2,
    )
