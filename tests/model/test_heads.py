"""The pretraining model learns, reports right averages, and lives with ordinary Keras."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from samples import tiny_config

from albert_tf.model import fused_ops
from albert_tf.model.heads import LinearHead, MaskedLMHead, SentenceOrderHead
from albert_tf.model.language_models import AlbertForPretraining
from albert_tf.training.optimizers import AdamW, Lamb

TINY = tiny_config()
# Keras hands its variables to NumPy 2 in a way that NumPy deprecates.
saves_with_keras = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
METRICS = {
    "loss",
    "masked_lm_loss",
    "masked_lm_accuracy",
    "sentence_order_loss",
    "sentence_order_accuracy",
}


def make_batch(batch_size=8, length=16, slots=4, seed=0):
    """Returns one batch of random words; each row has a number of filled slots of its own."""
    generator = np.random.default_rng(seed)

    def integers(low, high, *shape):
        return generator.integers(low, high, shape, dtype=np.int32)

    filled = np.arange(slots) < 1 + np.arange(batch_size)[:, None] % slots
    positions = np.stack([1 + generator.permutation(length - 1)[:slots] for _ in filled])
    return {
        "input_ids": integers(5, TINY.vocab_size, batch_size, length),
        "input_mask": np.ones((batch_size, length), np.int32),
        "segment_ids": integers(0, 2, batch_size, length),
        "masked_lm_positions": np.where(filled, positions, 0).astype(np.int32),
        "masked_lm_ids": np.where(filled, integers(5, TINY.vocab_size, *filled.shape), 0).astype(
            np.int32
        ),
        "masked_lm_weights": filled.astype(np.float32),
        "sentence_order_label": integers(0, 2, batch_size),
    }


def make_dataset(*batches):
    """Returns the given batches, with the fixed shapes of the pretraining pipeline."""
    datasets = [tf.data.Dataset.from_tensors(batch) for batch in batches]
    joined = datasets[0]
    for dataset in datasets[1:]:
        joined = joined.concatenate(dataset)
    return joined


def fit(model, dataset, **kwargs):
    return model.fit(dataset, verbose=0, shuffle=False, **kwargs).history


def as_numpy(outputs):
    return {name: np.asarray(value) for name, value in outputs.items()}


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_overfits_eight_examples(policy, monkeypatch):
    """Gradients are right end to end: a tiny model learns eight examples by heart."""
    monkeypatch.setattr(fused_ops, "SMALLEST_FAST_SIZE", 0)
    keras.utils.set_random_seed(0)
    model = AlbertForPretraining(tiny_config(num_hidden_layers=2), dtype=policy)
    model.compile(keras.optimizers.Adam(5e-3))
    history = fit(model, make_dataset(make_batch()).repeat(200))
    assert history["masked_lm_loss"][0] > 0.1
    scores = model.evaluate(make_dataset(make_batch()), verbose=0, return_dict=True)
    assert scores["masked_lm_loss"] < 0.02
    assert scores["masked_lm_accuracy"] == 1
    assert scores["sentence_order_loss"] < 0.02
    assert scores["sentence_order_accuracy"] == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "make_optimizer",
    [
        pytest.param(
            lambda: keras.optimizers.AdamW(1e-3), id="keras AdamW", marks=pytest.mark.slow
        ),
        pytest.param(lambda: Lamb(1e-2), id="our Lamb"),
        pytest.param(lambda: keras.optimizers.SGD(0.1), id="SGD"),
    ],
)
def test_fit_lowers_the_loss_with_any_keras_optimizer(make_optimizer):
    keras.utils.set_random_seed(0)
    model = AlbertForPretraining(TINY)
    model.compile(make_optimizer())
    history = fit(model, make_dataset(make_batch()).repeat(8), epochs=3)
    assert set(history) == METRICS
    assert history["loss"][-1] < history["loss"][0]


def test_evaluate_averages_over_all_predictions():
    """Batches of other sizes with other numbers of predictions must weigh by what they hold."""
    model = AlbertForPretraining(TINY)
    model.compile("sgd")
    batches = [make_batch(8, seed=1), make_batch(2, slots=2, seed=2)]
    scores = model.evaluate(make_dataset(*batches), verbose=0, return_dict=True)
    sums = np.zeros(4)
    for batch in batches:
        outputs = as_numpy(model(batch))
        logits = np.float64(outputs["masked_lm_logits"])
        chosen = np.take_along_axis(logits, batch["masked_lm_ids"][..., None], -1)[..., 0]
        losses = np.log(np.exp(logits).sum(-1)) - chosen
        hits = logits.argmax(-1) == batch["masked_lm_ids"]
        weights = batch["masked_lm_weights"]
        sums += [(losses * weights).sum(), (hits * weights).sum(), weights.sum(), 0]
        sums[3] += np.sum(
            outputs["sentence_order_logits"].argmax(-1) == batch["sentence_order_label"]
        )
    assert scores["masked_lm_loss"] == pytest.approx(sums[0] / sums[2], rel=1e-5)
    assert scores["masked_lm_accuracy"] == pytest.approx(sums[1] / sums[2], abs=1e-6)
    assert scores["sentence_order_accuracy"] == pytest.approx(sums[3] / 10, abs=1e-6)


def test_loss_is_the_sum_of_both_means():
    model = AlbertForPretraining(TINY)
    model.compile("sgd")
    scores = model.evaluate(make_dataset(make_batch()), verbose=0, return_dict=True)
    total = scores["masked_lm_loss"] + scores["sentence_order_loss"]
    assert scores["loss"] == pytest.approx(total, rel=1e-5)


def test_batch_without_predictions_gives_a_finite_loss():
    batch = make_batch()
    batch["masked_lm_weights"] *= 0
    model = AlbertForPretraining(TINY)
    model.compile("sgd")
    history = fit(model, make_dataset(batch))
    assert np.isfinite(history["loss"][0])
    assert all(np.isfinite(weight.numpy()).all() for weight in model.weights)


@pytest.mark.slow
@saves_with_keras
def test_callbacks_and_checkpoints_work(tmp_path):
    keras.utils.set_random_seed(0)
    model = AlbertForPretraining(TINY)
    model.compile(Lamb(1e-2))
    path = tmp_path / "best.keras"
    callbacks = [
        keras.callbacks.ModelCheckpoint(path, monitor="val_loss", save_best_only=True),
        keras.callbacks.EarlyStopping(
            "val_masked_lm_loss", mode="min", min_delta=100.0, patience=1
        ),
    ]
    data = make_dataset(make_batch())
    history = fit(model, data.repeat(3), validation_data=data, epochs=5, callbacks=callbacks)
    assert len(history["loss"]) == 2
    assert {f"val_{name}" for name in METRICS} <= set(history)
    restored = keras.models.load_model(path)
    assert int(restored.optimizer.iterations) == int(model.optimizer.iterations)
    assert isinstance(restored.optimizer, Lamb)


@saves_with_keras
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_saved_model_gives_the_same_logits(tmp_path, policy):
    config = tiny_config(num_hidden_layers=2, num_hidden_groups=2, inner_group_num=2)
    model = AlbertForPretraining(config, dtype=policy)
    for weight in model.weights:
        weight.assign_add(np.random.default_rng(0).normal(0, 0.1, weight.shape))
    model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "model.weights.h5")
    restored = keras.models.load_model(tmp_path / "model.keras")
    assert restored.config == config
    assert restored.dtype_policy.name == policy
    other = AlbertForPretraining(config, dtype=policy)
    other.load_weights(tmp_path / "model.weights.h5")
    expected = as_numpy(model(make_batch()))
    for copy in (restored, other):
        for name, value in as_numpy(copy(make_batch())).items():
            np.testing.assert_array_equal(value, expected[name])


@pytest.mark.slow
def test_tensorflow_saved_model_gives_the_same_logits(tmp_path, monkeypatch):
    """Both forms of the arithmetic, and blocks of several groups, survive `tf.saved_model`."""
    config = tiny_config(num_hidden_layers=2, num_hidden_groups=2, inner_group_num=2)
    batch = make_batch()
    module = tf.Module()
    module.model = AlbertForPretraining(config)
    expected = as_numpy(module.model(batch))
    specs = {name: tf.TensorSpec(value.shape, value.dtype) for name, value in batch.items()}
    for smallest in (0, 1e9):
        monkeypatch.setattr(fused_ops, "SMALLEST_FAST_SIZE", smallest)
        module.score = tf.function(module.model, input_signature=[specs])
        tf.saved_model.save(module, tmp_path / "saved")
        restored = tf.saved_model.load(tmp_path / "saved")
        for name, value in as_numpy(restored.score(batch)).items():
            np.testing.assert_allclose(value, expected[name], atol=1e-5)


def test_predict_returns_the_logits_of_all_batches():
    model = AlbertForPretraining(TINY)
    batches = [make_batch(8, seed=1), make_batch(8, seed=2)]
    outputs = model.predict(make_dataset(*batches), verbose=0)
    assert outputs["masked_lm_logits"].shape == (16, 4, TINY.vocab_size)
    assert outputs["sentence_order_logits"].shape == (16, 2)
    second = as_numpy(model(batches[1]))["masked_lm_logits"]
    np.testing.assert_allclose(outputs["masked_lm_logits"][8:], second, atol=1e-5)


def test_last_partial_batch_is_taken():
    rows = tf.data.Dataset.from_tensor_slices(make_batch(10)).batch(8)
    model = AlbertForPretraining(TINY)
    model.compile("sgd")
    assert np.isfinite(fit(model, rows)["loss"][0])


def test_labels_are_not_needed_to_score():
    batch = make_batch()
    model = AlbertForPretraining(TINY)
    inputs = {name: batch[name] for name in list(batch)[:4]}
    np.testing.assert_array_equal(
        model(inputs)["masked_lm_logits"], model(batch)["masked_lm_logits"]
    )


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_trains_and_keeps_logits_in_float32(policy):
    keras.utils.set_random_seed(0)
    model = AlbertForPretraining(TINY, dtype=policy)
    model.compile(AdamW(2e-3))
    history = fit(model, make_dataset(make_batch()).repeat(10), epochs=3)
    assert history["masked_lm_loss"][-1] < history["masked_lm_loss"][0] - 0.5
    assert {value.dtype for value in model(make_batch()).values()} == {tf.float32}
    assert {weight.dtype for weight in model.weights} == {"float32"}


@pytest.mark.slow
def test_one_step_in_bfloat16_moves_weights_like_float32(monkeypatch):
    steps = []
    for policy, smallest in (("float32", 1e9), ("mixed_bfloat16", 0)):
        monkeypatch.setattr(fused_ops, "SMALLEST_FAST_SIZE", smallest)
        keras.utils.set_random_seed(0)
        model = AlbertForPretraining(TINY, dtype=policy)
        model.compile(keras.optimizers.SGD(1.0))
        before = np.concatenate([weight.numpy().ravel() for weight in model.weights])
        fit(model, make_dataset(make_batch()))
        after = np.concatenate([weight.numpy().ravel() for weight in model.weights])
        steps.append(after - before)
    cosine = steps[0] @ steps[1] / np.linalg.norm(steps[0]) / np.linalg.norm(steps[1])
    assert cosine > 0.999


@pytest.mark.slow
def test_dropout_preset_trains():
    config = tiny_config(hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1)
    keras.utils.set_random_seed(0)
    model = AlbertForPretraining(config)
    model.compile(AdamW(2e-3))
    history = fit(model, make_dataset(make_batch()).repeat(10), epochs=3)
    assert history["masked_lm_loss"][-1] < history["masked_lm_loss"][0] - 0.5


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_scores_of_classes_are_not_rounded_to_what_the_policy_computes_in(policy):
    head = LinearHead(TINY, 2, dtype=policy)
    head.classifier.kernel.assign(np.full((TINY.hidden_size, 2), 3.0 / TINY.hidden_size))
    head.classifier.bias.assign([1234.5, -0.123456])
    scores = head(np.ones([1, TINY.hidden_size], np.float32))
    np.testing.assert_allclose(scores, [[1237.5, 2.876544]], rtol=1e-6)


def test_masked_lm_head_shares_the_word_table():
    """32 variables, and only one of them is a vocabulary wide matrix."""
    model = AlbertForPretraining(TINY)
    wide = [w.path for w in model.weights if tuple(w.shape) == (TINY.vocab_size, 16)]
    assert wide == ["encoder/embeddings/word_embeddings"]
    assert len(model.weights) == 32
    before = model(make_batch())["masked_lm_logits"][0, 0].numpy()
    table = model.encoder.embeddings.word_embeddings
    change = np.zeros(table.shape, np.float32)
    change[3] = 1.0  # a word that no input holds
    table.assign_add(change)
    after = model(make_batch())["masked_lm_logits"][0, 0].numpy()
    assert np.flatnonzero(after != before).tolist() == [3]


def test_masked_lm_head_equals_numpy():
    head = MaskedLMHead(TINY)
    generator = np.random.default_rng(0)
    values = {}
    for weight in head.weights:
        values[weight.path.removeprefix("masked_lm_head/")] = value = generator.normal(
            size=weight.shape
        )
        weight.assign(value)
    table = generator.normal(size=(TINY.vocab_size, 16)).astype(np.float32)
    vectors = generator.normal(size=(2, 5, 32)).astype(np.float32)
    positions = np.array([[4, 1], [0, 3]], np.int32)
    x = np.take_along_axis(vectors, positions[..., None], 1)
    x = x @ values["transform/kernel"] + values["transform/bias"]
    x = 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    x = (x - x.mean(-1, keepdims=True)) / x.std(-1, keepdims=True)
    x = x * values["layer_norm/gamma"] + values["layer_norm/beta"]
    expected = x @ table.T + values["output_bias"]
    np.testing.assert_allclose(
        head(vectors, table, positions=positions), expected, rtol=1e-4, atol=1e-4
    )


def test_sentence_order_head_has_no_dropout():
    rates = ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout_prob")
    head = SentenceOrderHead(tiny_config(**dict.fromkeys(rates, 0.5)))
    pooled = np.ones((3, 32), np.float32)
    np.testing.assert_array_equal(head(pooled, training=True), head(pooled))


def test_every_weight_gets_a_gradient():
    model, batch = AlbertForPretraining(TINY), make_batch()
    with tf.GradientTape() as tape:
        loss = model.compute_loss(x=batch, y_pred=model(batch))
    variables = model.trainable_variables
    values = tape.gradient(loss, variables)
    gradients = {weight.path: value for weight, value in zip(variables, values, strict=True)}
    assert [path for path, gradient in gradients.items() if gradient is None] == []
    silent = {path for path, gradient in gradients.items() if not np.any(gradient)}
    assert all("key/bias" in path for path in silent), silent


def test_variable_paths_are_stable():
    first, second = AlbertForPretraining(TINY), AlbertForPretraining(TINY, name="other")
    assert [w.path for w in first.weights] == [w.path for w in second.weights]
    heads = [w.path for w in first.weights if not w.path.startswith("encoder/")]
    assert sorted(heads) == [
        "masked_lm_head/layer_norm/beta",
        "masked_lm_head/layer_norm/gamma",
        "masked_lm_head/output_bias",
        "masked_lm_head/transform/bias",
        "masked_lm_head/transform/kernel",
        "sentence_order_head/classifier/bias",
        "sentence_order_head/classifier/kernel",
    ]


def test_model_config_is_the_dict_of_the_architecture():
    model = AlbertForPretraining(TINY)
    assert model.get_config()["config"] == TINY.to_dict()
    assert AlbertForPretraining.from_config(model.get_config()).config == TINY
