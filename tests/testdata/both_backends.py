"""What our models compute and learn, on whichever backend Keras has, for a comparison.

    KERAS_BACKEND=jax python tests/testdata/both_backends.py FOLDER

Writes `jax.npz` (or `tensorflow.npz`) to the folder, {"dtype/case/part/name": array}, and a trained
model as `jax.keras` and as the model directory `jax`. `tests/oracles/test_oracle_jax.py` compares.
On JAX importing TensorFlow fails.
"""

import os
import pathlib
import sys

import numpy as np
from walk_on_jax import NoTensorFlow

ON_JAX = os.environ["KERAS_BACKEND"] == "jax"
if ON_JAX and __name__ == "__main__":
    # Programs that run a few times are not worth optimizing.
    os.environ["XLA_FLAGS"] = "--xla_backend_optimization_level=1"
    sys.meta_path.insert(0, NoTensorFlow())

import keras  # noqa: E402
from samples import tiny_config  # noqa: E402

import albert_tf  # noqa: E402
from albert_tf.model import fused_ops  # noqa: E402

STEPS = 20
# In bfloat16 heads differ in nothing that these do not have.
IN_BFLOAT16 = ("pretraining", "classifier", "answerability")
# Those that pretraining alone is trained with.
OTHER_OPTIMIZERS = ("adamw_corrected", "lamb", "muon")


def is_trained(dtype, case):
    """Returns whether a case takes steps: pretraining always, tasks in float32."""
    return dtype == "float32" or case == "pretraining"


def make_batch():
    """Returns four texts of 16 tokens and labels of every task; the last text is all padding."""
    generator = np.random.default_rng(0)
    ids = generator.integers(5, 340, (4, 16)).astype(np.int32)
    lengths = np.array([16, 9, 5, 0])[:, None]
    mask = (np.arange(16) < lengths).astype(np.int32)
    return {
        "input_ids": ids,
        "input_mask": mask,
        "segment_ids": (np.arange(16) >= lengths // 2).astype(np.int32) * mask,
        "masked_lm_positions": generator.integers(0, 5, (4, 3)).astype(np.int32),
        "masked_lm_ids": generator.integers(5, 340, (4, 3)).astype(np.int32),
        "masked_lm_weights": np.array([[1, 1, 1], [1, 1, 0], [1, 0, 0], [0, 0, 0]], np.float32),
        "sentence_order_label": np.array([0, 1, 1, 0], np.int32),
        "label": np.array([0, 1, 1, 0], np.int32),
        "token_labels": np.where(mask > 0, ids % 3, -1),
        "start_position": np.array([1, 2, 3, 0], np.int32),
        "end_position": np.array([2, 4, 3, 0], np.int32),
        "is_impossible": np.array([0, 1, 0, 1], np.int32),
        "answer_mask": np.maximum(mask, np.eye(1, 16, dtype=np.int32)),
        "example_weight": np.array([1, 1, 1, 0], np.float32),
    }


def make_models():
    """Returns {case: (model class, arguments, batch)}."""
    batch = make_batch()
    choices = {
        name: np.stack([value, np.roll(value, 1, axis=0)], axis=1)
        for name, value in batch.items()
        if name in ("input_ids", "input_mask", "segment_ids")
    }
    several = {**batch, "label": np.eye(2, dtype=np.float32)[batch["label"]]}
    numbers = {**batch, "label": batch["label"] * 1.5}
    return {
        "pretraining": (albert_tf.AlbertForPretraining, {}, batch),
        "classifier": (albert_tf.AlbertClassifier, {}, batch),
        "multi_label": (albert_tf.AlbertClassifier, {"multi_label": True}, several),
        "regressor": (albert_tf.AlbertRegressor, {}, numbers),
        "tags": (albert_tf.AlbertTokenClassifier, {"num_classes": 3}, batch),
        "choice": (albert_tf.AlbertMultipleChoice, {}, {**choices, "label": batch["label"]}),
        "span": (albert_tf.AlbertSpanSelector, {}, batch),
        "answerability": (albert_tf.AlbertAnswerabilitySelector, {}, batch),
    }


def list_cases():
    """Returns [(dtype, case)] of all models that are compared."""
    cases = [("float32", case) for case in make_models()]
    return cases + [("mixed_bfloat16", case) for case in IN_BFLOAT16]


def make_optimizers():
    """Returns {name: optimizer}."""
    schedule = albert_tf.WarmupPolynomialDecay(0.001, total_steps=30)
    warm = albert_tf.WarmupPolynomialDecay(0.003, total_steps=30, warmup_steps=5)
    return {
        "adamw": albert_tf.AdamW(schedule),
        "adamw_corrected": albert_tf.AdamW(
            warm, bias_correction=True, layer_rates={"embeddings": 0.5}, global_clipnorm=0.5
        ),
        "lamb": albert_tf.Lamb(schedule),
        "muon": albert_tf.Muon(schedule, slow_layers=["pooler"], slow_lr_ratio=0.1),
    }


def make_model(model_class, arguments, dtype):
    """Returns a model of two layers whose weights are the same on every backend."""
    config = tiny_config(num_hidden_layers=2)
    model = model_class(config, dtype=dtype, **arguments)
    generator = np.random.default_rng(1)
    for path, variable in model.weights_by_path().items():
        start = 1.0 if path.endswith("gamma") else 0.0
        variable.assign(start + generator.normal(0, 0.1, variable.shape).astype(np.float32))
    return model


def loss_and_gradients(model, batch):
    """Returns the loss of a batch and its gradients by the variables' paths."""
    paths = [variable.path for variable in model.trainable_variables]
    if ON_JAX:
        import jax

        others, metrics = model.non_trainable_variables, model.metrics_variables
        others, metrics = ([v.value for v in variables] for variables in (others, metrics))

        def loss_of(weights):
            outputs, _ = model.stateless_call(weights, others, batch, training=True)
            return model.stateless_compute_loss(
                weights, others, metrics, x=batch, y_pred=outputs, training=True
            )[0]

        weights = [variable.value for variable in model.trainable_variables]
        loss, gradients = jax.jit(jax.value_and_grad(loss_of))(weights)
    else:
        import tensorflow as tf

        @tf.function(autograph=False)
        def run():
            with tf.GradientTape() as tape:
                loss = model.compute_loss(batch, None, model(batch, training=True))
            gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
            return loss, [tf.convert_to_tensor(gradient) for gradient in gradients]

        loss, gradients = run()
    return {"loss": loss, **dict(zip(paths, gradients, strict=True))}


def weights_of(model):
    """Returns {path: array}."""
    return {path: keras.ops.convert_to_numpy(v) for path, v in model.weights_by_path().items()}


def compare_models():
    """Yields (name of a result, array) for every model: outputs, gradients, steps of AdamW."""
    for dtype, case in list_cases():
        model_class, arguments, batch = make_models()[case]
        # Pretraining takes the fast forms of TensorFlow, the others the plain ones.
        fused_ops.SMALLEST_FAST_SIZE = 0 if case == "pretraining" else 2**15
        model = make_model(model_class, arguments, dtype)
        model.compile(make_optimizers()["adamw"])
        outputs = model.predict(batch, verbose=0)
        if not isinstance(outputs, dict):
            outputs = {"scores": outputs}
        parts = {"outputs": outputs, "gradients": loss_and_gradients(model, batch)}
        if is_trained(dtype, case):
            parts |= take_steps(model, batch)
        for part, values in parts.items():
            for name, value in values.items():
                yield f"{dtype}/{case}/{part}/{name}", value


def compare_optimizers():
    """Yields (name of a result, array) for every optimizer, in float32."""
    model_class, arguments, batch = make_models()["pretraining"]
    fused_ops.SMALLEST_FAST_SIZE = 0
    for name in OTHER_OPTIMIZERS:
        model = make_model(model_class, arguments, "float32")
        model.compile(make_optimizers()[name])
        for part, values in take_steps(model, batch).items():
            for key, value in values.items():
                yield f"float32/{name}/{part}/{key}", value


def take_steps(model, batch):
    """Trains on one batch; returns weights after one step and all, and what `fit` reported."""
    first = model.fit(batch, batch_size=4, shuffle=False, verbose=0).history
    after_first = weights_of(model)
    rest = model.fit(batch, batch_size=4, epochs=STEPS - 1, shuffle=False, verbose=0).history
    history = {name: np.array(first[name] + rest[name]) for name in first}
    return {"first_step": after_first, "all_steps": weights_of(model), "history": history}


def main():
    """Writes the results of one backend."""
    folder, backend = pathlib.Path(sys.argv[1]), keras.backend.backend()
    keras.utils.set_random_seed(0)
    results = dict([*compare_models(), *compare_optimizers()])
    model_class, arguments, batch = make_models()["pretraining"]
    model = make_model(model_class, arguments, "float32")
    model.compile(make_optimizers()["lamb"])
    model.fit(batch, batch_size=4, epochs=3, verbose=0)
    model.save(folder / f"{backend}.keras")
    model.save_pretrained(folder / backend)
    for name, value in model.predict(batch, verbose=0).items():
        results[f"saved/{name}"] = value
    results = {name: np.asarray(value, np.float32) for name, value in results.items()}
    np.savez(folder / f"{backend}.npz", **results)


if __name__ == "__main__":
    main()
