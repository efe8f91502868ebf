"""One update in half precision: the gradients of float32; steps that overflow are skipped."""

import dataclasses
import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from albert_tf.config import AlbertConfig
from albert_tf.model.language_models import AlbertForPretraining
from albert_tf.training import loop as training
from albert_tf.training import metric_log, settings, train_step
from albert_tf.training.optimizers import AdamW

L, P, V = 8, 2, 100
CONFIG = dataclasses.replace(
    AlbertConfig.from_preset("albert_tiny"),
    vocab_size=V,
    num_hidden_layers=1,
    hidden_dropout_prob=0.0,
    attention_probs_dropout_prob=0.0,
)


def make_batch(examples):
    generator = np.random.default_rng(0)
    return {
        "input_ids": tf.constant(generator.integers(5, V, (examples, L)), tf.int32),
        "input_mask": tf.ones((examples, L), tf.int32),
        "segment_ids": tf.zeros((examples, L), tf.int32),
        "masked_lm_positions": tf.constant(generator.integers(1, L, (examples, P)), tf.int32),
        "masked_lm_ids": tf.constant(generator.integers(5, V, (examples, P)), tf.int32),
        "masked_lm_weights": tf.ones((examples, P)),
        "sentence_order_label": tf.constant(generator.integers(0, 2, examples), tf.int32),
    }


@functools.cache
def gradients_in(precision, examples, scaled=True):
    """Returns {path: gradient} of one update, and what the step reported."""
    keras.utils.set_random_seed(0)
    model = AlbertForPretraining(CONFIG, dtype=precision)
    # Without memory the first moments are the gradients.
    inner = AdamW(0.0, beta_1=0.0, global_clipnorm=None)
    optimizer = train_step.with_loss_scale(inner, model) if scaled else inner
    step = train_step.make_train_step(
        model, optimizer, train_step.ModelObjective(model), accumulation_steps=4
    )
    results = step(make_batch(examples))
    moments = zip(model.trainable_variables, inner.first_moments, strict=True)
    return [(v.path, np.asarray(m.value, np.float64).ravel()) for v, m in moments], results


def cosines(ours, theirs):
    """Returns {path: cosine}; what a key's bias adds, the softmax takes out: its gradient is 0."""
    return {
        path: a @ b / max(np.linalg.norm(a) * np.linalg.norm(b), 1e-300)
        for (path, a), (_, b) in zip(ours, theirs, strict=True)
        if not path.endswith("attention/key/bias")
    }


@pytest.mark.slow
@pytest.mark.parametrize("examples", [32, pytest.param(4096, marks=pytest.mark.slow)])
def test_float16_has_the_gradients_of_float32(examples):
    exact, expected = gradients_in("float32", examples)
    gradients, results = gradients_in("mixed_float16", examples)
    found = cosines(gradients, exact)
    assert min(found.values()) > 0.99, min(found.items(), key=lambda pair: pair[1])
    np.testing.assert_allclose(results["gradient_norm"][0], expected["gradient_norm"][0], rtol=0.02)
    np.testing.assert_allclose(results["loss_scale"][0], 2.0**15)


@pytest.mark.slow
def test_float16_without_a_loss_scale_would_lose_gradients_of_4096_examples():
    exact, _ = gradients_in("float32", 4096)
    gradients, _ = gradients_in("mixed_float16", 4096, scaled=False)
    assert min(cosines(gradients, exact).values()) < 0.9


class Overflowing:
    """A loss whose gradient is not finite in the batches that say so, though the loss is."""

    def factors(self):
        return {}

    def weights(self, batch):
        return {"x_loss": tf.constant(1.0)}

    def sums(self, model, batch, training):
        outputs = tf.cast(model(batch["input_ids"], training=training), tf.float32)
        loss = tf.reduce_sum(outputs * batch["slope"])

        @tf.custom_gradient
        def spoil(value):
            return value, lambda upstream: upstream * batch["spoilt"][0]

        return {"x_loss": spoil(loss)}, {}


def run(directory, steps, spoilt):
    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Dense(1, dtype="mixed_float16")(inputs))
    model.dtype_policy = "mixed_float16"
    model.get_layer(index=1).kernel.assign([[0.1], [-0.2], [0.3]])
    rows = {
        "input_ids": np.random.default_rng(0).normal(size=(20, 4, 3)).astype(np.float32),
        "slope": np.full((20, 4, 1), 0.1, np.float32),
        "spoilt": np.array([[np.inf if n in spoilt else 1.0] * 4 for n in range(20)], np.float32),
    }
    lines = []
    training.train(
        model=model,
        optimizer=AdamW(1e-2),
        objective=Overflowing(),
        make_dataset=lambda start: tf.data.Dataset.from_tensor_slices(rows).skip(start // 4),
        evaluations={},
        settings=settings.TrainingSettings(
            train_steps=steps, batch_size=4, checkpoint_steps=3, log_steps=2
        ),
        output_dir=directory,
        save_files=lambda folder: None,
        report=lines.append,
    )
    return [weight.numpy() for weight in model.weights], lines


def test_steps_that_overflow_are_skipped_counted_and_reported(tmp_path):
    _, lines = run(tmp_path, 6, spoilt=(0, 3))
    rows = metric_log.read_metrics(tmp_path / "metrics.jsonl")
    assert [row["skipped_steps"] for row in rows] == [1, 2, 2]
    # Means of two steps each: halved behind steps 1 and 4.
    assert [row["loss_scale"] for row in rows] == [2.0**15 * 0.75, 2.0**14, 2.0**13]
    assert "2 steps skipped for float16" in lines[-1]


def test_resumed_run_goes_on_with_its_loss_scale(tmp_path):
    straight, _ = run(tmp_path / "straight", 6, spoilt=(0, 3))
    run(tmp_path / "resumed", 3, spoilt=(0, 3))
    resumed, _ = run(tmp_path / "resumed", 6, spoilt=(0, 3))
    for a, b in zip(straight, resumed, strict=True):
        np.testing.assert_array_equal(a, b)
    last = [
        metric_log.read_metrics(tmp_path / n / "metrics.jsonl")[-1] for n in ("straight", "resumed")
    ]
    assert last[0]["loss_scale"] == last[1]["loss_scale"] == 2.0**13


def test_gradients_that_overflow_at_every_scale_end_the_run(tmp_path):
    with pytest.raises(training.NonFiniteLossError, match="exceed float16 .*mixed_bfloat16"):
        run(tmp_path, 20, spoilt=range(20))
