"""The encoder: its sizes, its sharing, its arithmetic and what never changes its outputs."""

import dataclasses
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from albert_tf.config import AlbertConfig
from albert_tf.model import fused_ops, layers
from albert_tf.model.language_models import AlbertForPretraining
from albert_tf.model.modeling import AlbertEncoder, TransformerBlock

TINY = AlbertConfig(
    vocab_size=50,
    embedding_size=6,
    hidden_size=8,
    num_hidden_layers=3,
    num_attention_heads=2,
    intermediate_size=12,
    max_position_embeddings=16,
    # Ten times the published width, so that attention is far from uniform.
    initializer_range=0.2,
)
GROUPED = dataclasses.replace(TINY, num_hidden_layers=5, num_hidden_groups=2, inner_group_num=2)

# encoder with pooler, and all with both pretraining heads
PARAMETERS = {
    "base": (11_683_584, 11_813_810),
    "large": (17_683_968, 17_847_474),
    "xlarge": (58_724_864, 59_021_490),
    "xxlarge": (222_595_584, 223_158_450),
}

both_forms = pytest.mark.parametrize("in_graph", [False, True], ids=["plain", "fast"])


@pytest.fixture(autouse=True)
def take_fast_form_at_any_size(monkeypatch):
    """In graphs, that is: eager calls take the plain form."""
    monkeypatch.setattr(fused_ops, "SMALLEST_FAST_SIZE", 0)


def make_encoder(config=TINY, seed=0, **kwargs):
    """Returns an encoder whose every variable, biases too, holds random numbers."""
    encoder = AlbertEncoder(config, **kwargs)
    generator = np.random.default_rng(seed)
    for variable in encoder.weights:
        noise = generator.normal(0, 0.2, variable.shape).astype(np.float32)
        variable.assign(noise + (variable.name == "gamma"))
    return encoder


def make_inputs(batch_size=3, length=7, seed=1):
    """Returns ids, mask (the last row is padded by 3) and segments."""
    generator = np.random.default_rng(seed)
    ids = generator.integers(5, 50, (batch_size, length)).astype(np.int32)
    mask = np.ones_like(ids)
    mask[-1, -3:] = 0
    segments = (np.arange(length) > length // 2).astype(np.int32) * np.ones_like(ids)
    return ids, mask, segments


def run_numpy_encoder(encoder, ids, mask, segments):
    """ALBERT's forward pass in float64, from the paper and the original's variable shapes."""
    config = encoder.config
    weights = {
        v.path.removeprefix("encoder/"): v.numpy().astype(np.float64) for v in encoder.weights
    }

    def linear(x, name):
        return x @ weights[f"{name}/kernel"] + weights[f"{name}/bias"]

    def normalize(x, name):
        centered = x - x.mean(-1, keepdims=True)
        deviation = np.sqrt((centered**2).mean(-1, keepdims=True) + config.layer_norm_eps)
        return centered / deviation * weights[f"{name}/gamma"] + weights[f"{name}/beta"]

    def gelu(x):
        return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))

    def heads(x):
        return x.reshape(*x.shape[:2], config.num_attention_heads, -1).transpose(0, 2, 1, 3)

    x = weights["embeddings/word_embeddings"][ids]
    x = x + weights["embeddings/token_type_embeddings"][segments]
    x = x + weights["embeddings/position_embeddings"][: ids.shape[1]]
    x = linear(normalize(x, "embeddings/layer_norm"), "embedding_projection")
    states, attentions = [x], []
    for layer in range(config.num_hidden_layers):
        group = int(layer / config.num_hidden_layers * config.num_hidden_groups)
        for inner in range(config.inner_group_num):
            at = f"group_{group}/inner_group_{inner}"
            query, key, value = (
                heads(linear(x, f"{at}/attention/{part}")) for part in ("query", "key", "value")
            )
            scores = query @ key.transpose(0, 1, 3, 2) / np.sqrt(config.head_size)
            scores = scores - 10000.0 * (1 - mask[:, None, None, :])
            scores = np.exp(scores - scores.max(-1, keepdims=True))
            attentions.append(scores / scores.sum(-1, keepdims=True))
            context = attentions[-1] @ value
            context = context.transpose(0, 2, 1, 3).reshape(x.shape)
            output = linear(context, f"{at}/attention/output")
            x = normalize(x + output, f"{at}/attention/layer_norm")
            output = linear(
                gelu(linear(x, f"{at}/feed_forward/intermediate")), f"{at}/feed_forward/output"
            )
            x = normalize(x + output, f"{at}/feed_forward/layer_norm")
        states.append(x)
    return x, np.tanh(linear(x[:, 0], "pooler")), states, attentions


@both_forms
@pytest.mark.parametrize("config", [TINY, GROUPED], ids=["shared", "grouped"])
def test_encoder_equals_the_numpy_forward_pass(config, in_graph):
    encoder, inputs = make_encoder(config), make_inputs()
    run = tf.function(encoder) if in_graph else encoder
    asked = {"output_hidden_states": True, "output_attentions": True}
    outputs = run(*map(tf.constant, inputs), **asked)
    sequence, pooled, states, attentions = run_numpy_encoder(encoder, *inputs)
    np.testing.assert_allclose(outputs["sequence_output"], sequence, atol=1e-5)
    np.testing.assert_allclose(outputs["pooled_output"], pooled, atol=1e-5)
    assert len(outputs["hidden_states"]) == config.num_hidden_layers + 1
    pairs = [*zip(outputs["hidden_states"], states, strict=True)]
    pairs += zip(outputs["attentions"], attentions, strict=True)
    for one, other in pairs:
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("size", PARAMETERS)
def test_parameter_count_equals_the_published_one(size, version):
    # In a graph that never runs, variables have shapes but no memory.
    with tf.Graph().as_default():
        model = AlbertForPretraining(AlbertConfig.from_preset(f"albert_{size}_{version}"))
        counts = [
            sum(math.prod(weight.shape) for weight in part.weights)
            for part in (model.encoder, model)
        ]
    assert tuple(counts) == PARAMETERS[size]
    assert len(model.trainable_variables) == 32
    assert len(model.encoder.trainable_variables) == 25


def test_weights_do_not_grow_with_depth():
    shallow, deep = (
        AlbertEncoder(TINY),
        AlbertEncoder(dataclasses.replace(TINY, num_hidden_layers=12)),
    )
    assert shallow.count_params() == deep.count_params()
    assert [w.path for w in shallow.weights] == [w.path for w in deep.weights]


def test_each_group_and_inner_block_has_weights_of_its_own():
    paths = {w.path for w in AlbertEncoder(GROUPED).weights}
    for group in (0, 1):
        for inner in (0, 1):
            prefix = f"encoder/group_{group}/inner_group_{inner}/"
            assert sum(path.startswith(prefix) for path in paths) == 16


@pytest.mark.parametrize(
    "layers, groups, expected",
    [(12, 1, [0] * 12), (12, 3, [0] * 4 + [1] * 4 + [2] * 4), (5, 2, [0, 0, 0, 1, 1])],
)
def test_layers_are_dealt_out_to_groups_in_order(layers, groups, expected):
    config = dataclasses.replace(TINY, num_hidden_layers=layers, num_hidden_groups=groups)
    encoder = AlbertEncoder(config)
    dealt = [encoder.blocks.index(*blocks) for blocks in encoder.blocks_by_layer()]
    assert dealt == expected


def test_paths_are_unique_and_independent_of_what_was_built_before():
    first = [w.path for w in AlbertEncoder(GROUPED).weights]
    second = [w.path for w in AlbertEncoder(GROUPED).weights]
    assert first == second
    assert len(set(first)) == len(first)
    assert first[0] == "encoder/embeddings/word_embeddings"
    assert "encoder/group_1/inner_group_0/attention/query/kernel" in first


def test_padding_never_changes_outputs():
    encoder, (ids, _, segments) = make_encoder(), make_inputs()
    plain = encoder(ids, np.ones_like(ids), segments)
    junk = np.full((3, 4), 9, np.int32)
    padded = encoder(
        np.concatenate([ids, junk], 1),
        np.concatenate([np.ones_like(ids), 0 * junk], 1),
        np.concatenate([segments, 0 * junk], 1),
    )
    np.testing.assert_allclose(
        padded["sequence_output"][:, : ids.shape[1]], plain["sequence_output"], atol=2e-6
    )
    np.testing.assert_allclose(padded["pooled_output"], plain["pooled_output"], atol=2e-6)


def test_masked_tokens_cannot_be_seen():
    encoder, (ids, mask, segments) = make_encoder(), make_inputs()
    before = encoder(ids, mask, segments)["sequence_output"][:, :-3]
    other = ids.copy()
    other[-1, -3:] = 7
    np.testing.assert_array_equal(encoder(other, mask, segments)["sequence_output"][:, :-3], before)
    seen = encoder(other, np.ones_like(mask), segments)["sequence_output"][:, :-3]
    assert np.abs(seen - before).max() > 1e-3


def test_mask_and_segments_may_be_left_out():
    encoder, (ids, _, _) = make_encoder(), make_inputs()
    np.testing.assert_array_equal(
        encoder(ids)["sequence_output"],
        encoder(ids, np.ones_like(ids), np.zeros_like(ids))["sequence_output"],
    )


def test_permuting_the_batch_permutes_the_outputs():
    encoder, inputs = make_encoder(), make_inputs()
    order = [2, 0, 1]
    straight = encoder(*inputs)
    permuted = encoder(*(part[order] for part in inputs))
    for name, value in straight.items():
        np.testing.assert_allclose(permuted[name], value.numpy()[order], atol=1e-6)


@both_forms
def test_asked_positions_equal_those_of_the_whole(in_graph):
    encoder, inputs = make_encoder(GROUPED), make_inputs()
    positions = np.array([[1, 4], [6, 6], [0, 2]], np.int32)
    run = tf.function(encoder) if in_graph else encoder
    whole = run(*map(tf.constant, inputs))
    asked = run(*map(tf.constant, inputs), positions=tf.constant(positions))
    expected = np.take_along_axis(whole["sequence_output"].numpy(), positions[..., None], axis=1)
    np.testing.assert_allclose(asked["sequence_output"], expected, atol=2e-6)
    np.testing.assert_allclose(asked["pooled_output"], whole["pooled_output"], atol=2e-6)


def test_unknown_shapes_give_the_same_outputs():
    encoder, inputs = make_encoder(), make_inputs()
    spec = tf.TensorSpec((None, None), tf.int32)
    dynamic = tf.function(encoder, input_signature=[spec] * 3)
    for name, value in encoder(*inputs).items():
        np.testing.assert_allclose(dynamic(*inputs)[name], value, atol=2e-6)


@both_forms
def test_gradient_flows_to_every_weight(in_graph):
    encoder, inputs = make_encoder(GROUPED), make_inputs()

    def compute():
        with tf.GradientTape() as tape:
            outputs = encoder(*map(tf.constant, inputs))
            parts = (tf.reduce_sum(tf.square(tf.cos(3 * part))) for part in outputs.values())
            loss = tf.add_n(list(parts))
        return [
            tf.convert_to_tensor(gradient)
            for gradient in tape.gradient(loss, encoder.trainable_variables)
        ]

    gradients = (tf.function(compute) if in_graph else compute)()
    for variable, gradient in zip(encoder.trainable_variables, gradients, strict=True):
        largest = np.abs(gradient).max()
        # A bias of the keys adds the same number to all scores of a query, which softmax ignores.
        assert largest > 1e-4 or "key/bias" in variable.path, variable.path


@both_forms
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_is_close_to_float32(policy, in_graph):
    inputs = make_inputs()
    exact = make_encoder()(*inputs)
    encoder = make_encoder(dtype=policy)
    outputs = (tf.function(encoder) if in_graph else encoder)(*map(tf.constant, inputs))
    for name, value in exact.items():
        assert outputs[name].dtype == policy.removeprefix("mixed_")
        np.testing.assert_allclose(tf.cast(outputs[name], tf.float32), value, atol=0.08)
    assert {weight.dtype for weight in encoder.weights} == {"float32"}


def test_global_policy_is_taken():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        assert AlbertEncoder(TINY)(make_inputs()[0])["pooled_output"].dtype == "bfloat16"
    finally:
        keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize("field", ["hidden_dropout_prob", "attention_probs_dropout_prob"])
def test_each_dropout_acts_in_training_only(field):
    encoder, inputs = make_encoder(dataclasses.replace(TINY, **{field: 0.5})), make_inputs()
    still = make_encoder()(*inputs)["sequence_output"]
    np.testing.assert_array_equal(encoder(*inputs)["sequence_output"], still)
    runs = [encoder(*inputs, training=True)["sequence_output"].numpy() for _ in range(2)]
    assert np.abs(runs[0] - still).max() > 1e-2
    assert np.abs(runs[0] - runs[1]).max() > 1e-2


def test_hidden_and_attention_dropout_draw_at_their_own_rate():
    encoder = AlbertEncoder(
        dataclasses.replace(TINY, hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.3)
    )
    block = encoder.blocks[0]
    assert (block.hidden_dropout.rate, block.attention_dropout.rate) == (0.1, 0.3)
    assert encoder.embeddings.dropout.rate == 0.1


@pytest.mark.parametrize("activation", ["gelu_new", "gelu", "relu"])
def test_each_activation_changes_the_outputs(activation):
    config = dataclasses.replace(TINY, hidden_act=activation)
    outputs = make_encoder(config)(*make_inputs())["pooled_output"]
    others = [name for name in ("gelu_new", "gelu", "relu") if name != activation]
    for other in others:
        config = dataclasses.replace(TINY, hidden_act=other)
        assert np.abs(make_encoder(config)(*make_inputs())["pooled_output"] - outputs).max() > 1e-5


def test_initial_values_are_those_of_the_original():
    encoder = AlbertEncoder(
        AlbertConfig(vocab_size=2000, hidden_size=256, intermediate_size=512, num_attention_heads=4)
    )
    for weight in encoder.weights:
        value = weight.numpy()
        if weight.name in ("bias", "beta"):
            assert not value.any(), weight.path
        elif weight.name == "gamma":
            assert (value == 1).all(), weight.path
        elif value.size > 10_000:
            # Normal with deviation 0.02, cut at two deviations: 0.88 of it remains.
            assert np.abs(value).max() <= 0.0401, weight.path
            assert value.std() == pytest.approx(0.0176, rel=0.03), weight.path


def test_block_alone_can_be_called():
    block = TransformerBlock(TINY)
    outputs = block(np.ones((2, 5, 8), np.float32), np.zeros((2, 1, 1, 5), np.float32))
    assert outputs.shape == (2, 5, 8)
    assert len(block.weights) == 16


def test_encoder_takes_part_in_functional_models():
    ids = keras.Input((None,), dtype="int32")
    encoder = AlbertEncoder(TINY)
    model = keras.Model(ids, keras.layers.Dense(2)(encoder(ids)["pooled_output"]))
    copy = keras.models.clone_model(model)
    assert model(make_inputs()[0]).shape == (3, 2)
    assert copy.count_params() == model.count_params()


def test_encoder_config_round_trip():
    encoder = AlbertEncoder(GROUPED, dtype="mixed_bfloat16")
    copy = AlbertEncoder.from_config(encoder.get_config())
    assert copy.config == GROUPED
    assert copy.dtype_policy.name == "mixed_bfloat16"
    assert copy.get_config() == encoder.get_config()


@pytest.mark.parametrize(
    "call, message",
    [
        (
            lambda encoder, ids: encoder(np.tile(ids, (1, 3))),
            r"at most max_position.*=16.*\(3, 21\)",
        ),
        (
            lambda encoder, ids: encoder(ids, positions=ids[:, :2], output_hidden_states=True),
            "`output_hidden_states` must be False with `positions`",
        ),
        (
            lambda encoder, ids: encoder(ids, positions=ids[:, :2], output_attentions=True),
            "`output_attentions` must be False with `positions`",
        ),
        (lambda encoder, ids: AlbertEncoder("albert_base"), "must be an AlbertConfig or its dict"),
    ],
)
def test_wrong_calls_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(AlbertEncoder(TINY), make_inputs()[0])


def gradients_by_seed(encoder, seed):
    """Returns outputs and gradients of a training pass whose dropout comes from `seed`."""
    with tf.GradientTape() as tape, layers.dropout_seed(tf.constant([seed, 0])):
        outputs = encoder(*make_inputs(), training=True)["sequence_output"]
    gradients = tape.gradient(outputs, [v.value for v in encoder.trainable_variables][:-2])
    return outputs.numpy(), [tf.convert_to_tensor(gradient).numpy() for gradient in gradients]


def test_dropout_of_a_seed_is_the_same_however_often_and_wherever_it_is_computed():
    config = dataclasses.replace(TINY, num_hidden_layers=3).with_dropout(0.3)
    encoder = make_encoder(config)
    outputs, gradients = gradients_by_seed(encoder, 1)
    encoder(*make_inputs(), training=True)  # moves Keras's own generators on
    with keras.RematScope("full"):
        recomputing = make_encoder(config)
    for other in (encoder, recomputing):
        again, again_gradients = gradients_by_seed(other, 1)
        np.testing.assert_allclose(again, outputs, rtol=1e-5, atol=1e-5)
        for one, two in zip(again_gradients, gradients, strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-4)
    assert np.abs(gradients_by_seed(encoder, 2)[0] - outputs).max() > 0.1


def test_each_dropout_of_a_seed_has_a_mask_of_its_own():
    dropout = layers.Dropout(0.5)
    ones = tf.ones([100])
    with layers.dropout_seed(tf.constant([7, 0])):
        masks = [dropout(ones, training=True).numpy() for _ in range(4)]
        still = dropout(ones).numpy()
    assert len({mask.tobytes() for mask in masks}) == 4
    np.testing.assert_array_equal(still, ones)
