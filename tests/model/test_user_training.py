"""What users combine when they train our models with Keras: weights, frozen parts, thresholds."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from samples import tiny_config

from albert_tf.model import (
    adapters,
    fused_ops,
    language_models,
    losses,
    model_inputs,
    modeling,
    task_models,
)

LABELS = np.array([0, 1, 0, 1], np.int32)
BATCH = {"input_ids": np.arange(5, 37, dtype=np.int32).reshape(4, 8) % 20, "label": LABELS}
OWN = np.array([1, 1, 0, 0.5], np.float32)
GIVEN = np.array([2, 1, 3, 1], np.float32)
CLASSES = {0: 1.0, 1: 3.0}
OWN_NAMES = ("loss", "classification_loss", "classification_accuracy")


def make_model(**compiled):
    keras.utils.set_random_seed(0)
    model = task_models.AlbertClassifier(tiny_config(), num_classes=2)
    model.compile("sgd", **compiled)
    return model


def losses_of(model):
    logits = np.array(model(BATCH), np.float64)
    return np.log(np.exp(logits).sum(-1)) - logits[np.arange(4), LABELS]


def of_keras():
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


@pytest.mark.parametrize("loss", [None, of_keras], ids=["own", "of Keras"])
@pytest.mark.parametrize("with_classes", [False, True], ids=["examples", "classes"])
def test_weights_of_batch_and_call_multiply(loss, with_classes):
    model = make_model(loss=loss and loss())
    batch = {**BATCH, "example_weight": OWN}
    other = np.array([CLASSES[label] for label in LABELS]) if with_classes else GIVEN
    expected = np.sum(losses_of(model) * OWN * other) / 4
    weights = {"class_weight": CLASSES} if with_classes else {"sample_weight": GIVEN}
    found = model.train_on_batch(batch, **weights, return_dict=True)["loss"]
    assert found == pytest.approx(expected, rel=1e-5)
    history = make_model(loss=loss and loss()).fit(batch, batch_size=4, verbose=0, **weights)
    assert history.history["loss"][0] == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
def test_weights_of_held_out_examples_count():
    model = make_model()
    held_out = (BATCH, None, GIVEN)
    expected = model.evaluate(BATCH, sample_weight=GIVEN, verbose=0)
    expected = expected[0] if isinstance(expected, list) else expected
    history = model.fit(BATCH, validation_data=held_out, epochs=1, verbose=0, batch_size=4)
    assert model.test_on_batch(BATCH, sample_weight=GIVEN)[0] == pytest.approx(
        history.history["val_loss"][0], rel=1e-5
    )
    assert expected != pytest.approx(model.evaluate(BATCH, verbose=0)[0])


def test_weights_of_examples_meet_those_of_their_parts():
    product = model_inputs.multiply_weights(np.array([2, 3]), np.array([[1, 0], [1, 1]]))
    assert product.tolist() == [[2, 0], [3, 3]]
    assert model_inputs.multiply_weights(None, None) is None


def test_weights_of_losses_go_with_a_loss():
    with pytest.raises(ValueError, match="`loss_weights` go with `loss`"):
        make_model(loss_weights=[1.0])


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize(
    "how", ["config", *(pytest.param(how, marks=pytest.mark.slow) for how in ("file", "clone"))]
)
def test_what_is_frozen_stays_frozen_until_it_is_thawed(how, tmp_path):
    model = make_model()
    everything = len(model.trainable_variables)
    model.encoder.trainable = False
    model.fit(BATCH, verbose=0)
    if how == "file":
        model.save(tmp_path / "model.keras")
        read = keras.saving.load_model(tmp_path / "model.keras")
        assert int(read.optimizer.iterations) == 1
    elif how == "clone":
        read = keras.models.clone_model(model)
    else:
        with keras.name_scope("outer"):
            read = type(model).from_config(model.get_config())
    assert len(read.trainable_variables) == len(model.trainable_variables) == 2
    table = read.encoder.embeddings.word_embeddings
    for trainable in (False, True):
        read.encoder.trainable = trainable
        read.compile("sgd")
        before = table.numpy()
        read.fit(BATCH, verbose=0)
        assert np.any(table.numpy() != before) == trainable
    assert len(read.trainable_variables) == everything


def test_an_encoder_is_made_frozen_and_thawed():
    encoder = modeling.AlbertEncoder(tiny_config(), trainable=False)
    ids = keras.Input((8,), dtype="int32")
    model = keras.Model(ids, keras.layers.Dense(2)(encoder(ids)["pooled_output"]))
    assert len(model.trainable_variables) == 2 < len(model.weights)
    encoder.trainable = True
    assert len(model.trainable_variables) == len(model.weights)


@pytest.mark.slow
def test_weighted_metrics_see_the_weights_of_the_batch():
    expected = np.average(losses_of(make_model()) < np.log(2), weights=GIVEN)
    for batch, weights in ((BATCH, GIVEN), ({**BATCH, "example_weight": GIVEN}, None)):
        model = make_model(weighted_metrics=["sparse_categorical_accuracy"])
        found = model.evaluate(batch, sample_weight=weights, verbose=0, return_dict=True)
        assert found["sparse_categorical_accuracy"] == pytest.approx(expected, rel=1e-5)


def test_classes_are_not_weighed_where_keras_takes_labels_for_one_hot():
    model = task_models.AlbertTokenClassifier(tiny_config(), num_classes=2)
    model.compile("sgd")
    batch = {"input_ids": BATCH["input_ids"], "token_labels": BATCH["input_ids"] % 2}
    for train in (model.fit, model.train_on_batch):
        with pytest.raises(ValueError, match="`class_weight` of AlbertTokenClassifier must be"):
            train(batch, class_weight=CLASSES)


@pytest.mark.parametrize(
    "metric",
    [
        lambda: "AUC",
        lambda: keras.metrics.AUC(),
        lambda: "binary_accuracy",
        lambda: keras.metrics.BinaryAccuracy(),
        lambda: keras.metrics.Precision(),
        lambda: keras.metrics.Recall(thresholds=0.3),
        lambda: keras.metrics.F1Score(threshold=0.5),
        lambda: "kl_divergence",
        lambda: keras.losses.KLDivergence(),
        lambda: keras.metrics.Precision,
    ],
)
def test_metrics_that_take_logits_for_probabilities_are_refused(metric):
    with pytest.raises(ValueError, match="must have from_logits=True.* or the threshold 0"):
        make_model(metrics=[metric()])


def test_metrics_that_can_read_logits_are_taken():
    class LogitPrecision(keras.metrics.Precision):
        """One that makes probabilities itself."""

    metrics = [
        LogitPrecision(),
        keras.metrics.MeanSquaredError,
        keras.metrics.AUC(from_logits=True),
        keras.metrics.Precision(thresholds=0),
        keras.metrics.F1Score(),
        "accuracy",
        "sparse_categorical_accuracy",
    ]
    losses.check_take_logits(metrics, "a model")


@pytest.mark.parametrize("classes", [1, 3])
def test_accuracy_of_several_labels_compares_each(classes):
    model = task_models.AlbertClassifier(tiny_config(), num_classes=classes, multi_label=True)
    model.compile("sgd", metrics=["accuracy"], weighted_metrics=["acc"])
    labels = np.random.default_rng(0).integers(0, 2, (4, classes))
    batch = {"input_ids": BATCH["input_ids"], "label": labels}
    found = model.evaluate({**batch, "example_weight": GIVEN}, verbose=0, return_dict=True)
    right = (model.predict(batch, verbose=0) > 0) == labels
    assert found["accuracy"] == pytest.approx(right.mean())
    # Keras makes both names one, and the second of a name has a number.
    weighted = next(value for name, value in found.items() if name not in ("accuracy", *OWN_NAMES))
    assert weighted == pytest.approx(np.average(right.mean(axis=1), weights=GIVEN))


def test_weights_of_labels_meet_those_labels_in_a_loss_of_keras():
    model = task_models.AlbertClassifier(tiny_config(), num_classes=4, multi_label=True)
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    generator = np.random.default_rng(0)
    labels, weights = generator.integers(0, 2, (4, 4)), generator.random((4, 4)).astype(np.float32)
    batch = {"input_ids": BATCH["input_ids"], "label": labels, "example_weight": weights}
    logits = np.array(model(batch), np.float64)
    expected = np.mean(weights * np.logaddexp(0, np.where(labels, -logits, logits)))
    model.compile("sgd", loss=loss)
    assert model.test_on_batch(batch) == pytest.approx(expected, rel=1e-5)
    model.compile("sgd", loss=loss, weighted_metrics=["accuracy"])
    with pytest.raises(ValueError, match=r"need a weight a text.* Received: weights \(4, 4\)"):
        model.test_on_batch(batch)


def test_compiled_again_without_loss_and_metrics_a_model_has_its_own():
    model = make_model(loss=of_keras(), metrics=["sparse_categorical_accuracy"])
    model.evaluate(BATCH, verbose=0)
    model.compile("sgd")
    found = model.evaluate(BATCH, verbose=0, return_dict=True)
    assert set(found) == {"loss", "classification_loss", "classification_accuracy"}


@pytest.mark.slow
def test_ids_of_any_whole_type_are_read_and_none_is_counted_from_the_end():
    model = make_model()
    expected = model.predict(BATCH, verbose=0)
    for dtype in ("uint8", "int8", "uint16", "int16", "uint32", "int64"):
        batch = {"input_ids": BATCH["input_ids"].astype(dtype)}
        np.testing.assert_allclose(model.predict(batch, verbose=0), expected, atol=1e-6)
        vectors = model.encoder(batch["input_ids"])["pooled_output"]
        np.testing.assert_allclose(
            vectors, model.encoder(BATCH["input_ids"])["pooled_output"], atol=1e-6
        )
    wrong = BATCH["input_ids"].copy()
    wrong[0, 0] = -1
    for ask in (model, model.predict, lambda ids: model.train_on_batch({**ids, "label": LABELS})):
        with pytest.raises(tf.errors.InvalidArgumentError, match="-1 is not in"):
            ask({"input_ids": wrong})


@pytest.mark.parametrize("dtype", ["int16", "int64"])
def test_positions_of_any_whole_type_are_read_of_rows_of_any_length(dtype):
    model = language_models.AlbertForPretraining(tiny_config())
    for length in (8, 12, 10):
        ids = BATCH["input_ids"][:, np.arange(length) % 8]
        positions = np.array([[1, 3]] * 4)
        batch = {"input_ids": ids, "masked_lm_positions": positions.astype(dtype)}
        found = model.predict_on_batch(batch)["masked_lm_logits"]
        np.testing.assert_allclose(
            found, model({**batch, "masked_lm_positions": positions})["masked_lm_logits"], atol=1e-5
        )


def test_one_example_a_row_has_one_weight_of_its_order():
    model = language_models.AlbertForPretraining(tiny_config())
    batch = {
        "input_ids": BATCH["input_ids"],
        "masked_lm_positions": np.ones((4, 1), np.int32),
        "masked_lm_ids": np.full((4, 1), 7),
        "masked_lm_weights": np.ones((4, 1), np.float32),
        "sentence_order_label": LABELS,
    }
    logits = np.array(model(batch)["sentence_order_logits"], np.float64)
    each = np.log(np.exp(logits).sum(-1)) - logits[np.arange(4), LABELS]
    for weights in (GIVEN, GIVEN[:, None]):
        model.compile("sgd")  # a graph for each shape
        weighted = {**batch, "sentence_order_weights": weights}
        found = model.test_on_batch(weighted, return_dict=True)["sentence_order_loss"]
        assert found == pytest.approx(np.average(each, weights=GIVEN), rel=1e-5)


@pytest.mark.parametrize("position", [-1, 8])
def test_a_position_of_another_row_is_refused(position):
    vectors = tf.reshape(tf.range(48.0), (2, 8, 3))
    with pytest.raises(tf.errors.InvalidArgumentError):
        fused_ops.gather_positions(vectors, tf.constant([[0], [position]]))
    found = fused_ops.gather_positions(vectors, tf.constant([[0], [7]]))
    np.testing.assert_array_equal(found[1, 0], vectors[1, 7])


def test_a_text_is_no_list_of_classes():
    with pytest.raises(ValueError, match="`labels` must be a list of texts. Received: 'abc'"):
        task_models.AlbertClassifier(tiny_config(), labels="abc")


class SquaredError(keras.losses.Loss):
    """One that does not look at shapes, as people write them."""

    def call(self, y_true, y_pred):
        return keras.ops.square(y_true - y_pred)


def test_columns_of_numbers_meet_their_own_outputs():
    model = task_models.AlbertRegressor(tiny_config())
    inputs = {"input_ids": BATCH["input_ids"]}
    numbers = np.array([1.0, -2.0, 0.5, 3.0], np.float32)
    expected = np.mean((numbers - np.ravel(model(inputs))) ** 2)
    for labels in (numbers, numbers[:, None]):
        model.compile("sgd", loss=SquaredError())
        found = model.evaluate(inputs, labels, verbose=0)
        assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("one_hot", [True, False])
def test_columns_of_weights_are_weights_of_texts(one_hot):
    names = keras.losses.CategoricalCrossentropy, keras.losses.SparseCategoricalCrossentropy
    model = make_model(loss=names[not one_hot](from_logits=True))
    labels = np.eye(2)[LABELS] if one_hot else LABELS[:, None]
    inputs = {"input_ids": BATCH["input_ids"]}
    found = model.evaluate(inputs, labels, sample_weight=GIVEN[:, None], verbose=0)
    assert found == pytest.approx(np.sum(losses_of(model) * GIVEN) / 4, rel=1e-5)


def test_weights_count_by_their_place_too():
    model = make_model()
    expected = model.evaluate(BATCH, sample_weight=GIVEN, verbose=0)
    assert model.evaluate(BATCH, None, 8, 0, GIVEN) == pytest.approx(expected)
    assert expected != pytest.approx(model.evaluate(BATCH, verbose=0))


def test_no_metrics_are_as_none():
    model = task_models.AlbertSpanSelector(tiny_config())
    batch = {"input_ids": BATCH["input_ids"], "start_position": LABELS, "end_position": LABELS + 1}
    model.compile("sgd", metrics=[], weighted_metrics=[])
    assert np.isfinite(model.train_on_batch(batch)[0])


@pytest.mark.parametrize("loss", ["dice", "tversky", keras.losses.Dice(), keras.losses.Tversky()])
def test_losses_that_take_logits_for_probabilities_are_refused(loss):
    with pytest.raises(ValueError, match="must have from_logits=True"):
        make_model(loss=loss)


def test_a_model_made_in_a_scope_has_its_own_paths(tmp_path):
    expected = set(make_model().weights_by_path())
    with keras.name_scope("tower"):
        inside = task_models.AlbertClassifier(tiny_config(), num_classes=2)
    named = task_models.AlbertClassifier(tiny_config(), num_classes=2, name="encoder")
    for number, model in enumerate((inside, named)):
        assert set(model.weights_by_path()) == expected
        adapters.add_adapters(model, 2)
        assert not model.encoder.embeddings.word_embeddings.trainable
        model.save_pretrained(tmp_path / str(number))
        with keras.name_scope("other"):
            again = task_models.AlbertClassifier.from_pretrained(
                tmp_path / str(number), name="encoder"
            )
        np.testing.assert_array_equal(again(BATCH), model(BATCH))


@pytest.mark.parametrize("with_adapters", [False, True])
def test_a_checkpoint_of_tensorflow_holds_every_weight(tmp_path, with_adapters):
    models = [
        task_models.AlbertClassifier(tiny_config(num_hidden_layers=2, num_hidden_groups=2))
        for _ in range(2)
    ]
    if with_adapters:
        for model in models:
            adapters.add_adapters(model, 2)
    path = tf.train.Checkpoint(model=models[0]).write(str(tmp_path / "saved"))
    tf.train.Checkpoint(model=models[1]).read(path).assert_existing_objects_matched()
    for one, other in zip(*(model.weights for model in models), strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())
