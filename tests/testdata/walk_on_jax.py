"""What is claimed of Keras on JAX, checked in a process that has no TensorFlow.

    python tests/testdata/walk_on_jax.py FOLDER NAME...

Writes `results.json` to the folder: {name of a check: None, or how it failed}. `tests/model/
test_on_jax.py` runs it and asserts each. A second of compiling goes by with each model trained.
"""

import importlib.abc
import json
import os
import pathlib
import sys
import time
import traceback
import unittest.mock
import warnings

import numpy as np

TESTDATA = pathlib.Path(__file__).parent
LENGTHS = np.array([12, 7, 12, 3])


class NoTensorFlow(importlib.abc.MetaPathFinder):
    """Lets imports of TensorFlow fail, as where it is not installed."""

    def find_spec(self, fullname, path=None, target=None):
        if fullname.partition(".")[0] in ("tensorflow", "tensorflow_text"):
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)


def make_batch(**more):
    generator = np.random.default_rng(0)
    ids = generator.integers(5, 340, (4, 12)).astype(np.int32)
    mask = (np.arange(12) < LENGTHS[:, None]).astype(np.int32)
    return {"input_ids": ids, "input_mask": mask, "segment_ids": ids % 2, **more}


def make_pretraining_batch():
    generator = np.random.default_rng(1)
    return make_batch(
        masked_lm_positions=generator.integers(0, 3, (4, 2)).astype(np.int32),
        masked_lm_ids=generator.integers(5, 340, (4, 2)).astype(np.int32),
        masked_lm_weights=np.array([[1, 1], [1, 0], [1, 1], [0, 0]], np.float32),
        sentence_order_label=np.array([0, 1, 1, 0], np.int32),
    )


def make_pretraining_model(dtype=None, **changes):
    from samples import tiny_config

    import albert_tf

    return albert_tf.AlbertForPretraining(tiny_config(**changes), dtype=dtype)


def check_pretraining_fits_evaluates_and_predicts(folder, dtype="float32"):
    import albert_tf

    model, batch = make_pretraining_model(dtype), make_pretraining_batch()
    schedule = albert_tf.WarmupPolynomialDecay(0.01, total_steps=1000, warmup_steps=2)
    model.compile(albert_tf.AdamW(schedule))
    history = model.fit(batch, batch_size=2, epochs=20, verbose=0).history
    assert history["loss"][-1] < history["loss"][0] - 0.5, history["loss"]
    after = model.evaluate(batch, batch_size=2, verbose=0, return_dict=True)
    assert after["loss"] < history["loss"][0] - 0.5 and set(after) == set(history)
    outputs = model.predict(batch, batch_size=2, verbose=0)
    assert outputs["masked_lm_logits"].shape == (4, 2, 340)


def check_packed_rows_are_scored_as_if_alone(folder):
    import packed_rows

    for dtype, tolerance in (("float32", 1e-5), ("mixed_bfloat16", 0.05)):
        model = make_pretraining_model(dtype)
        scores = [
            packed_rows.scores_of_examples(batch, model.predict(batch, verbose=0))
            for batch in (packed_rows.make_alone(), packed_rows.make_packed())
        ]
        for alone, packed in zip(*scores, strict=True):
            np.testing.assert_allclose(packed, alone, atol=tolerance)
    model.compile("sgd")
    model.fit(packed_rows.make_packed(), batch_size=2, verbose=0)


def check_pretraining_fits_in_bfloat16(folder):
    check_pretraining_fits_evaluates_and_predicts(folder, "mixed_bfloat16")


def check_pretraining_fits_in_float16_with_a_scaled_loss(folder):
    check_pretraining_fits_evaluates_and_predicts(folder, "mixed_float16")


def check_every_optimizer_lowers_the_loss(folder):
    import keras

    import albert_tf

    for optimizer in (
        albert_tf.Lamb(0.01),
        albert_tf.Muon(0.01),
        albert_tf.AdamW(0.01, gradient_accumulation_steps=2),
        keras.optimizers.Adam(0.01),
    ):
        model = make_pretraining_model()
        model.compile(optimizer)
        losses = model.fit(make_pretraining_batch(), epochs=12, verbose=0).history["loss"]
        assert losses[-1] < losses[0] - 0.1, (optimizer.name, losses)


def check_models_of_all_tasks_fit(folder):
    from samples import tiny_config

    import albert_tf

    config = tiny_config()
    labels, one_hot = np.array([0, 1, 1, 0]), np.eye(2, dtype=np.float32)[[0, 1, 1, 0]]
    spans = {"start_position": np.array([1, 2, 1, 2]), "end_position": np.array([2, 2, 2, 2])}
    choices = {name: np.stack([x, x], axis=1) for name, x in make_batch().items()}
    choices["input_ids"][:, 1] += 1
    tags = np.where(make_batch()["input_mask"] > 0, make_batch()["input_ids"] % 3, -1)
    batches = [
        (albert_tf.AlbertClassifier(config), make_batch(label=labels)),
        (albert_tf.AlbertClassifier(config, multi_label=True), make_batch(label=one_hot)),
        (albert_tf.AlbertRegressor(config), make_batch(label=labels.astype(np.float32))),
        (albert_tf.AlbertTokenClassifier(config, num_classes=3), make_batch(token_labels=tags)),
        (albert_tf.AlbertMultipleChoice(config), {**choices, "label": labels}),
        (albert_tf.AlbertSpanSelector(config), make_batch(**spans)),
        (
            albert_tf.AlbertAnswerabilitySelector(config),
            make_batch(**spans, is_impossible=labels, answer_mask=make_batch()["input_mask"]),
        ),
    ]
    for model, batch in batches:
        model.compile(albert_tf.AdamW(0.003))
        losses = model.fit(batch, epochs=12, verbose=0).history["loss"]
        assert min(losses[-2:]) < 0.9 * losses[0], (model.name, losses)
        assert all(np.isfinite(x).all() for x in as_list(model.predict(batch, verbose=0)))


def as_list(outputs):
    return list(outputs.values()) if isinstance(outputs, dict) else [outputs]


def check_losses_metrics_and_weights_of_keras(folder):
    import keras
    from samples import tiny_config

    import albert_tf

    labels = np.array([0, 1, 1, 0])
    model = albert_tf.AlbertClassifier(tiny_config())
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss=loss, metrics=["accuracy"])
    model.fit(make_batch(), labels, verbose=0, class_weight={0: 1.0, 1: 2.0})
    model.fit(make_batch(label=labels), verbose=0, class_weight={0: 1.0, 1: 2.0})
    model = albert_tf.AlbertClassifier(tiny_config())
    model.compile("adam")
    half = model.evaluate(make_batch(label=labels), verbose=0, sample_weight=np.full(4, 0.5))
    whole = model.evaluate(make_batch(label=labels), verbose=0)
    np.testing.assert_allclose(half[0], whole[0] / 2, rtol=1e-6)


def check_dropout_is_drawn_anew_in_each_step_and_only_in_training(folder):
    import albert_tf

    rates = {"hidden_dropout_prob": 0.3, "attention_probs_dropout_prob": 0.3}
    model, batch = make_pretraining_model(**rates), make_pretraining_batch()
    model.compile(albert_tf.AdamW(0.0))
    losses = model.fit(batch, epochs=3, verbose=0).history["loss"]
    assert len(set(losses)) == 3, losses
    twice = [model.evaluate(batch, verbose=0)[0] for _ in range(2)]
    assert twice[0] == twice[1]


def check_outputs_are_those_of_transformers_from_every_form_of_file(folder):
    import albert_tf

    models = [
        albert_tf.AlbertForPretraining.from_pretrained(TESTDATA / "golden" / form)
        for form in ("AlbertForPreTraining", "sharded", "zip", "legacy")
    ]
    for path, variable in models[0].weights_by_path().items():
        for other in models[1:]:
            np.testing.assert_array_equal(other.weights_by_path()[path], variable)
    with np.load(TESTDATA / "golden" / "expected.npz") as expected:
        text = {n: expected[f"batch/{n}"] for n in ("input_ids", "input_mask", "segment_ids")}
        every = np.tile(np.arange(10, dtype=np.int32), (2, 1))
        outputs = models[0].predict({**text, "masked_lm_positions": every}, verbose=0)
        for ours, theirs in (
            ("masked_lm_logits", "prediction_logits"),
            ("sentence_order_logits", "sop_logits"),
        ):
            reference = expected[f"AlbertForPreTraining/{theirs}"]
            np.testing.assert_allclose(outputs[ours], reference, atol=1e-5)


def check_a_saved_model_directory_is_read_and_trained(folder):
    import albert_tf

    model, batch = make_pretraining_model(), make_pretraining_batch()
    model.save_pretrained(folder / "saved")
    again = albert_tf.AlbertForPretraining.from_pretrained(folder / "saved")
    np.testing.assert_array_equal(
        again.predict(batch, verbose=0)["masked_lm_logits"],
        model.predict(batch, verbose=0)["masked_lm_logits"],
    )
    classifier = albert_tf.AlbertClassifier.from_pretrained(
        folder / "saved", initialize_head=True, dtype="mixed_bfloat16"
    )
    classifier.compile(albert_tf.AdamW(0.003))
    labels = np.array([0, 1, 1, 0])
    losses = classifier.fit(make_batch(label=labels), epochs=12, verbose=0).history["loss"]
    assert min(losses[-2:]) < losses[0], losses


def check_a_keras_file_written_on_tensorflow_answers_the_same(folder):
    import keras

    import albert_tf

    before = TESTDATA / "before_rooms"
    model = keras.saving.load_model(before / "classifier.keras")
    with np.load(before / "expected.npz") as then:
        inputs = {"input_ids": then["ids"]}
        np.testing.assert_allclose(
            model.predict(inputs, verbose=0), then["classifier"], atol=1e-5, rtol=1e-5
        )
    assert (type(model.optimizer), int(model.optimizer.iterations)) == (albert_tf.Lamb, 2)
    model.fit({**inputs, "label": np.array([0, 1, 1, 0])}, verbose=0)
    model.save(folder / "on_jax.keras")
    again = keras.saving.load_model(folder / "on_jax.keras")
    assert int(again.optimizer.iterations) == 3
    np.testing.assert_array_equal(
        again.predict(inputs, verbose=0), model.predict(inputs, verbose=0)
    )


def check_adapters_alone_train(folder):
    from samples import tiny_config

    import albert_tf

    model = albert_tf.AlbertClassifier(tiny_config())
    albert_tf.add_adapters(model, rank=2)
    kernel = np.array(model.encoder.blocks[0].query.kernel)
    model.compile(albert_tf.AdamW(0.003))
    batch = make_batch(label=np.array([0, 1, 1, 0]))
    losses = model.fit(batch, epochs=12, verbose=0).history["loss"]
    assert min(losses[-2:]) < losses[0], losses
    np.testing.assert_array_equal(model.encoder.blocks[0].query.kernel, kernel)
    model.save_pretrained(folder / "merged")
    merged = albert_tf.AlbertClassifier.from_pretrained(folder / "merged")
    np.testing.assert_allclose(
        merged.predict(batch, verbose=0), model.predict(batch, verbose=0), atol=1e-5
    )


def check_a_remat_scope_learns_the_same_with_the_same_masks(folder):
    import keras

    import albert_tf

    rates = {"hidden_dropout_prob": 0.3, "attention_probs_dropout_prob": 0.3}
    losses = []
    for mode in (None, "full"):
        keras.utils.set_random_seed(0)
        with keras.RematScope(mode):
            model = make_pretraining_model(num_hidden_layers=2, **rates)
        model.compile(albert_tf.AdamW(0.003))
        losses.append(model.fit(make_pretraining_batch(), epochs=3, verbose=0).history["loss"])
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-6)


def check_heads_can_be_pointed(folder):
    from albert_tf.model import initial_attention

    sizes = {"embedding_size": 32, "hidden_size": 64, "num_attention_heads": 4}
    model = make_pretraining_model(**sizes)
    before = np.array(model.encoder.blocks[0].query.kernel)
    initial_attention.point_heads(model.encoder)
    after = np.array(model.encoder.blocks[0].query.kernel)
    assert np.isfinite(after).all() and (after != before).mean() > 0.5


def check_ids_that_are_none_cannot_go_unseen(folder):
    batch = make_pretraining_batch()
    model = make_pretraining_model()
    model.compile("sgd")
    for name, wrong in (
        ("input_ids", 340),
        ("input_ids", -1),
        ("masked_lm_ids", 340),
        ("masked_lm_ids", -1),
    ):
        ids = batch[name].copy()
        ids[0, 0] = wrong
        assert np.isnan(model.evaluate({**batch, name: ids}, verbose=0)[0]), (name, wrong)


def check_the_kernel_of_attention_gives_the_plain_form(folder):
    from keras import ops

    from albert_tf.model import fused_ops

    generator = np.random.default_rng(0)
    for dtype, tolerance in (("float32", 2e-3), ("bfloat16", 0.02)):
        q, k, v = (ops.cast(generator.normal(size=(3, 2, 6, 8)), dtype) for _ in range(3))
        padding = np.zeros((3, 1, 1, 6))
        padding[0, ..., 4:] = padding[1] = -10000.0  # the second row is all padding
        padding = ops.cast(padding, dtype)
        plain = np.asarray(fused_ops.attention(q, k, v, padding), np.float32)
        with unittest.mock.patch.object(fused_ops, "_has_attention_kernel") as has_kernel:
            kernel = np.asarray(fused_ops.attention(q, k, v, padding), np.float32)
        assert has_kernel.called  # and what it returns is true
        np.testing.assert_allclose(kernel, plain, atol=tolerance)


def check_what_needs_tensorflow_says_so(folder):
    import albert_tf

    for name in ("Tokenizer", "FillMask", "Classifier", "pretraining_dataset", "load_tokenizer"):
        message = refusal(lambda name=name: getattr(albert_tf, name), ImportError)
        assert f"albert_tf.{name} needs TensorFlow" in message, message
    model = make_pretraining_model()
    message = refusal(lambda: model.export(folder / "exported"), RuntimeError)
    assert "KERAS_BACKEND=tensorflow" in message and "Received: jax" in message, message


def refusal(call, error):
    try:
        call()
    except error as raised:
        return str(raised)
    raise AssertionError("was not refused")


CHECKS = {
    name.removeprefix("check_"): function
    for name, function in list(globals().items())
    if name.startswith("check_")
}


def main():
    """Runs the checks that are named."""
    os.environ["KERAS_BACKEND"] = "jax"
    # Programs that run a few times are not worth optimizing.
    os.environ["XLA_FLAGS"] = "--xla_backend_optimization_level=0"
    sys.meta_path.insert(0, NoTensorFlow())
    warnings.simplefilter("error")
    # Keras's own, with a NumPy newer than it.
    warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
    import keras

    results = {}
    folder = pathlib.Path(sys.argv[1])
    for name in sys.argv[2:]:
        keras.utils.set_random_seed(0)
        start = time.monotonic()
        try:
            CHECKS[name](folder)
            results[name] = None
        except Exception:  # noqa: BLE001 - whatever it was is the result
            results[name] = traceback.format_exc()
        print(f"{time.monotonic() - start:6.1f} s  {name}", flush=True)
    (folder / "results.json").write_text(json.dumps(results))


if __name__ == "__main__":
    main()
