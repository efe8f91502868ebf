"""What every Keras model of ours must do in user code: a new class is one more row of `ROWS`."""

import dataclasses
import functools
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from albert_tf.config import AlbertConfig
from albert_tf.model import adapters, keras_model, language_models, modeling, task_models

CONFIG = AlbertConfig(
    vocab_size=40,
    embedding_size=8,
    hidden_size=16,
    num_hidden_layers=1,
    num_attention_heads=2,
    intermediate_size=32,
    max_position_embeddings=16,
    classifier_dropout_prob=0.0,
    initializer_range=0.2,
)
B, L, P, C = 8, 12, 3, 3
GENERATOR = np.random.default_rng(0)


@dataclasses.dataclass(frozen=True)
class Row:
    """One class: its labels in a batch and, where it has one label, a loss of Keras for it."""

    model_class: type
    labels: dict
    kwargs: dict = dataclasses.field(default_factory=dict)
    keras_loss: str | object | None = None
    batch: dict = dataclasses.field(default_factory=dict)
    variant: str = ""
    texts: int = 1  # of an example, where the model leaves it to the batch

    @property
    def name(self):
        return self.model_class.__name__ + self.variant

    def make(self, config=CONFIG, **kwargs):
        keras.utils.set_random_seed(0)
        return self.model_class(config, **self.kwargs, **kwargs)

    def inputs(self):
        shape = (B, C, L) if self.model_class.num_choices_axes else (B, L)
        if self.texts > 1:
            shape = (B, self.texts, L)
        generator = np.random.default_rng(1)
        ids = generator.integers(5, CONFIG.vocab_size, shape).astype(np.int32)
        mask, segments = np.ones_like(ids), np.zeros_like(ids)
        mask[0, ..., -4:] = 0
        segments[..., L // 2 :] = 1
        return {"input_ids": ids, "input_mask": mask, "segment_ids": segments, **self.batch}


def crossentropy():
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


POSITIONS = {"masked_lm_positions": np.tile(np.arange(1, 1 + P), (B, 1)).astype(np.int32)}
LABEL = {"label": (np.arange(B) % C).astype(np.int32)}
# Texts with no label, with one and with all.
LABELS = {"label": (np.arange(B)[:, None] % (C + 1) > np.arange(C)).astype(np.int32)}
SPAN = {
    "start_position": (np.arange(B) % 5).astype(np.int32),
    "end_position": (np.arange(B) % 5 + 2).astype(np.int32),
}
WORDS = {
    "masked_lm_ids": np.full((B, P), 7, np.int32),
    # Examples differ in the number of words that count, and so do the halves of the batch.
    "masked_lm_weights": (np.arange(B * P).reshape(B, P) % 5 > 1).astype(np.float32),
    "sentence_order_label": (np.arange(B) % 2).astype(np.int32),
}
TOKENS = {"token_labels": (np.arange(B * L).reshape(B, L) % (C + 1) - 1).astype(np.int32)}
ROWS = [
    Row(language_models.AlbertModel, {}),
    Row(language_models.AlbertMaskedLM, {}),
    Row(language_models.AlbertEmbedder, {"label": np.arange(B, dtype=np.float32) / 3}, texts=2),
    Row(language_models.AlbertForPretraining, WORDS, batch=POSITIONS),
    Row(task_models.AlbertClassifier, LABEL, {"num_classes": C}, crossentropy()),
    Row(
        task_models.AlbertClassifier,
        LABELS,
        {"num_classes": C, "multi_label": True},
        variant="OfSeveralLabels",
    ),
    Row(task_models.AlbertRegressor, {"label": np.arange(B, dtype=np.float32) / 3}, {}, "mse"),
    Row(task_models.AlbertTokenClassifier, TOKENS, {"num_classes": C}),
    Row(task_models.AlbertMultipleChoice, LABEL, {}, crossentropy()),
    Row(task_models.AlbertSpanSelector, SPAN),
    Row(
        task_models.AlbertAnswerabilitySelector,
        {**SPAN, "is_impossible": (np.arange(B) % 2).astype(np.int32)},
    ),
]
ROW_OF = {row.name: row for row in ROWS}
IDS = list(ROW_OF)


def of_rows(wanted, quick=lambda row: True):
    """Runs a test for the rows that are wanted, named for their classes; some are slow ones."""
    rows = [
        pytest.param(row, id=row.name, marks=[] if quick(row) else [pytest.mark.slow])
        for row in ROWS
        if wanted(row)
    ]
    return pytest.mark.parametrize("row", rows)


def is_classifier(row):
    return row.name == "AlbertClassifier"


every_class = of_rows(lambda row: True)
every_loss = of_rows(lambda row: row.labels)
few_of_every_loss = of_rows(lambda row: row.labels, quick=is_classifier)
one_label = of_rows(lambda row: row.keras_loss)
several_labels = of_rows(lambda row: len(row.labels) > 1)


def subclasses(model_class):
    for found in model_class.__subclasses__():
        yield found
        yield from subclasses(found)


def as_list(outputs):
    return [np.asarray(value) for value in keras.tree.flatten(outputs)]


def assert_equal_outputs(found, expected, tolerance=0.0):
    for one, other in zip(as_list(found), as_list(expected), strict=True):
        np.testing.assert_allclose(one, other, atol=tolerance, rtol=tolerance)


def step(row, x=None, y=None, model=None, loss=None, fit=None, **compiled):
    """Returns (loss before the step, weights after it) of one step of SGD in `fit`."""
    model = row.make() if model is None else model
    model.compile(keras.optimizers.SGD(0.1), loss, run_eagerly=True, **compiled)
    x = {**row.inputs(), **row.labels} if x is None else x
    history = model.fit(x, y, batch_size=B, shuffle=False, verbose=0, **(fit or {})).history
    return history["loss"][0], model.get_weights()


@functools.cache
def plain_step(name):
    """`step` of a row as it stands."""
    return step(ROW_OF[name])


@functools.cache
def plain_model(name):
    """A model to be asked, and not to be trained."""
    return ROW_OF[name].make()


def test_every_model_is_a_row():
    public = {
        c for c in subclasses(keras_model.AlbertTaskModel) if c.__module__.startswith("albert_tf")
    }
    assert public - {task_models.LabelledModel} == {row.model_class for row in ROWS}


@few_of_every_loss
def test_labels_in_columns_of_floats_count_as_labels(row):
    columns = {name: value[..., None].astype(np.float64) for name, value in row.labels.items()}
    expected, found = plain_step(row.name), step(row, {**row.inputs(), **columns})
    assert found[0] == pytest.approx(expected[0], rel=1e-6)
    assert_equal_outputs(found[1], expected[1], 1e-6)


@few_of_every_loss
def test_names_of_transformers_mean_the_same(row):
    x = {**row.inputs(), **row.labels}
    other = {"input_mask": "attention_mask", "segment_ids": "token_type_ids"}
    other |= {ours: theirs for theirs, ours in row.model_class.other_label_names.items()}
    renamed = {other.get(name, name): value for name, value in x.items()}
    assert renamed.keys() != x.keys()
    assert step(row, renamed)[0] == pytest.approx(plain_step(row.name)[0], rel=1e-6)
    model = plain_model(row.name)
    assert_equal_outputs(model(renamed), model(x))


@every_class
def test_a_mask_under_any_name_hides_padding(row):
    x = row.inputs()
    x["attention_mask"] = x.pop("input_mask")
    model = plain_model(row.name)
    with_mask, without = model(x), model({**x, "attention_mask": None})
    assert not np.allclose(as_list(with_mask)[0][0], as_list(without)[0][0])


@every_class
@pytest.mark.parametrize(
    "wrong, message",
    [
        (lambda x: {**x, "atention_mask": x["input_mask"]}, "Received: 'atention_mask'"),
        (lambda x: {**x, "attention_mask": x["input_mask"]}, "must hold input_mask once"),
        (lambda x: {k: v for k, v in x.items() if k != "input_ids"}, "must hold input_ids"),
        (lambda x: x["input_ids"], "must be a dict with input_ids.*Received: .*of shape"),
        (lambda x: [x["input_ids"], x["input_mask"]], "must be a dict .* Received: list"),
        (lambda x: {**x, "input_ids": x["input_ids"][0, ..., 0]}, "must have shape"),
        (lambda x: {**x, "input_mask": x["input_mask"][..., :-1]}, "the shape of input_ids"),
        (lambda x: {"input_ids": tf.RaggedTensor.from_tensor(x["input_ids"])}, "must be padded"),
    ],
    ids=["typo", "twice", "no ids", "array", "list", "rank", "mask", "ragged"],
)
def test_what_is_no_batch_is_refused_by_name(row, wrong, message):
    with pytest.raises(ValueError, match=message):
        plain_model(row.name)(wrong(row.inputs()))


@pytest.mark.slow
@one_label
def test_a_loss_given_to_compile_is_used_wherever_the_labels_are(row):
    (label,) = row.labels.values()
    apart = step(row, row.inputs(), label, loss=row.keras_loss)
    for found in (
        step(row, loss=row.keras_loss),
        step(row, row.inputs(), label[:, None], loss=row.keras_loss),
        plain_step(row.name),  # the model's own loss is the same mean
        step(row, row.inputs(), label),
    ):
        assert found[0] == pytest.approx(apart[0], rel=1e-5)
        assert_equal_outputs(found[1], apart[1], 1e-5)
    assert step(row, loss=lambda y, outputs: 0.0 * keras.ops.sum(outputs) + 7.0)[0] == 7.0


@several_labels
def test_a_loss_of_keras_cannot_read_several_labels_of_a_batch(row):
    with pytest.raises(ValueError, match="must be \\(inputs, labels\\)"):
        step(row, loss=lambda y, outputs: 0.0)


@one_label
def test_metrics_given_to_compile_are_reported_wherever_the_labels_are(row):
    name = "mae" if row.model_class is task_models.AlbertRegressor else "accuracy"
    (label,) = row.labels.values()
    x = row.inputs()
    outputs = as_list(row.make()(x))[0]
    right = np.abs(outputs - label) if name == "mae" else outputs.argmax(-1) == label
    for data in ({**x, **row.labels}, (x, label)):
        model = row.make()
        model.compile("sgd", metrics=[name], run_eagerly=True)
        data = tf.data.Dataset.from_tensors(data)
        assert model.evaluate(data, return_dict=True, verbose=0)[name] == pytest.approx(
            right.mean(), rel=1e-5
        )


@few_of_every_loss
def test_weights_of_examples_scale_their_losses(row):
    x, half = {**row.inputs(), **row.labels}, np.repeat([1.0, 0.0], B // 2).astype(np.float32)
    whole = plain_step(row.name)[0]
    zero, unmoved = step(row, x, fit={"sample_weight": np.zeros(B, np.float32)})
    assert zero == 0
    assert_equal_outputs(unmoved, row.make().get_weights())
    first = step(row, x, fit={"sample_weight": half})[0]
    second = step(row, x, fit={"sample_weight": 1 - half[:, None]})[0]
    assert first + second == pytest.approx(whole, rel=1e-5)
    assert 0 < first < whole


@one_label
def test_weights_of_examples_scale_a_loss_given_to_compile(row):
    (label,) = row.labels.values()
    weights = np.linspace(0, 2, B).astype(np.float32)
    outputs = as_list(row.make()(row.inputs()))[0]
    if row.keras_loss == "mse":
        losses = (outputs - label) ** 2
    else:
        probabilities = np.exp(outputs) / np.exp(outputs).sum(axis=1, keepdims=True)
        losses = -np.log(probabilities[np.arange(B), label])
    expected = (weights * losses).mean()
    x = {**row.inputs(), **row.labels}
    for loss, batch, y in ((None, x, None), (row.keras_loss, x, None), (row.keras_loss, x, label)):
        found = step(row, batch, y, loss=loss, fit={"sample_weight": weights})[0]
        assert found == pytest.approx(expected, rel=1e-5)


def test_metrics_of_numbers_are_weighted_by_examples():
    row = ROW_OF["AlbertRegressor"]
    model, x, label = row.make(), row.inputs(), row.labels["label"]
    weights = np.linspace(0, 2, B).astype(np.float32)
    errors = np.abs(model(x).numpy() - label)
    model.compile("sgd", "mse", weighted_metrics=["mae"], run_eagerly=True)
    for labels in (label, label[:, None]):
        found = model.evaluate(x, labels, sample_weight=weights, return_dict=True, verbose=0)
        assert found["mae"] == pytest.approx((weights * errors).sum() / weights.sum(), rel=1e-5)


@of_rows(lambda row: row.keras_loss and row.keras_loss != "mse")
def test_class_weights_scale_the_losses_of_their_class(row):
    weights = {0: 1.0, 1: 5.0, 2: 0.0}
    x, label = {**row.inputs(), **row.labels}, row.labels["label"]
    by_hand = step(row, x, fit={"sample_weight": np.take([1.0, 5.0, 0.0], label)})[0]
    assert step(row, x, fit={"class_weight": weights})[0] == pytest.approx(by_hand, rel=1e-5)
    dataset = tf.data.Dataset.from_tensors(x)
    model = row.make()
    model.compile("sgd", run_eagerly=True)
    history = model.fit(dataset, class_weight=weights, shuffle=False, verbose=0).history
    assert history["loss"][0] == pytest.approx(by_hand, rel=1e-5)


class Batches(keras.utils.PyDataset):
    def __init__(self, items):
        super().__init__()
        self.items, self.ends = items, 0

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]

    def on_epoch_end(self):
        self.ends += 1


@pytest.mark.slow
@of_rows(lambda row: row.keras_loss and row.keras_loss != "mse", quick=is_classifier)
def test_class_weights_reach_datasets_of_every_kind(row):
    weights = {0: 1.0, 1: 5.0, 2: 0.0}
    x = {**row.inputs(), **row.labels}
    by_hand = step(row, x, fit={"class_weight": weights})[0]

    def loss(data, **kwargs):
        model = row.make()
        # The step by hand was in a graph; tracing one for each kind is what would take long.
        model.compile("sgd", run_eagerly=True)
        return model.fit(data, class_weight=weights, shuffle=False, verbose=0, **kwargs).history[
            "loss"
        ]

    (label,) = row.labels.values()
    others = {**row.inputs(), "labels": label}
    for item in (x, (x,), (row.inputs(), label), others):
        dataset = Batches([item])
        assert loss(dataset)[0] == pytest.approx(by_hand, rel=1e-5)
        assert dataset.ends  # it hears of the end of an epoch
    dataset = tf.data.Dataset.from_tensors((x,))
    assert loss(dataset)[0] == pytest.approx(by_hand, rel=1e-5)
    with pytest.raises(ValueError, match="with a generator put the weight .* `example_weight`"):
        loss(iter([x]), steps_per_epoch=1)
    with pytest.raises(ValueError, match="a batch must hold label. Received: input_ids"):
        loss(Batches([row.inputs()]))


def test_several_labels_have_the_mean_binary_cross_entropy():
    row, loss = ROW_OF["AlbertClassifierOfSeveralLabels"], keras.losses.BinaryCrossentropy
    x, label = {**row.inputs(), **row.labels}, row.labels["label"]
    expected = plain_step(row.name)
    for found in (
        step(row, loss=loss(from_logits=True)),
        step(row, row.inputs(), label, loss=loss(from_logits=True)),
        step(row, row.inputs(), label),
    ):
        assert found[0] == pytest.approx(expected[0], rel=1e-5)
        assert_equal_outputs(found[1], expected[1], 1e-5)
    weights = np.where(label > 0, [1.0, 5.0, 0.0], 1.0).astype(np.float32)
    with pytest.raises(ValueError, match=r"example_weight` float \[B, C\]"):
        step(row, x, fit={"class_weight": {0: 1.0}})
    outputs = row.make()(x).numpy()
    losses = np.log1p(np.exp(np.where(label > 0, -outputs, outputs)))
    found = step(row, {**x, "example_weight": weights})[0]
    assert found == pytest.approx((weights * losses).mean(), rel=1e-5)


@pytest.mark.parametrize(
    ("shape", "count", "message"),
    [
        ((B,), C, r"shape \[B, 3\], 0 or 1 for each label. Received: \(8,\)"),
        ((B, C + 1), C, r"shape \[B, 3\].* Received: \(8, 4\)"),
        ((B, 1), C, r"Received: \(8, 1\)"),
        ((B,), 1, None),
        ((B, 1), 1, None),
    ],
)
def test_labels_of_another_shape_are_refused_at_the_door(shape, count, message):
    row = dataclasses.replace(
        ROW_OF["AlbertClassifierOfSeveralLabels"],
        kwargs={"num_classes": count, "multi_label": True},
    )
    batch = {**row.inputs(), "label": np.zeros(shape, np.int32)}
    if message is None:
        assert step(row, batch)[0] > 0
        return
    with pytest.raises(ValueError, match=f"label of a batch of AlbertClassifier .*{message}"):
        row.make()(batch)


def test_weights_of_tokens_stand_in_the_batch():
    row = ROW_OF["AlbertTokenClassifier"]
    x, labels = {**row.inputs(), **row.labels}, row.labels["token_labels"]
    with pytest.raises(ValueError, match=r"example_weight` float \[B, L\]"):
        step(row, x, fit={"class_weight": {0: 1.0, 1: 5.0, 2: 0.0}})
    weights = np.take([1.0, 5.0, 0.0], labels) * (labels >= 0)
    outputs = row.make()(x).numpy()
    probabilities = np.exp(outputs) / np.exp(outputs).sum(axis=-1, keepdims=True)
    chosen = np.take_along_axis(probabilities, np.maximum(labels, 0)[..., None], axis=-1)[..., 0]
    expected = (weights * -np.log(chosen)).sum() / (labels >= 0).sum()
    found = step(row, {**x, "example_weight": weights.astype(np.float32)})[0]
    assert found == pytest.approx(expected, rel=1e-5)


@few_of_every_loss
def test_losses_that_a_subclass_adds_count(row):
    class Penalized(row.model_class):
        def call(self, inputs, training=False):
            self.add_loss(3.0 + 0.0 * keras.ops.sum(self.encoder.embeddings.word_embeddings))
            return super().call(inputs, training)

    keras.utils.set_random_seed(0)
    found = step(row, model=Penalized(CONFIG, **row.kwargs))[0]
    assert found == pytest.approx(plain_step(row.name)[0] + 3.0, rel=1e-5)


@pytest.mark.parametrize(
    "loss",
    [
        "sparse_categorical_crossentropy",
        "binary_crossentropy",
        keras.losses.SparseCategoricalCrossentropy(),
        keras.losses.categorical_crossentropy,
        keras.losses.BinaryFocalCrossentropy(),
    ],
    ids=["sparse string", "binary string", "sparse object", "function", "focal object"],
)
@every_class
def test_a_loss_of_probabilities_is_refused_for_logits(row, loss):
    if row.model_class.gives_logits:
        with pytest.raises(ValueError, match="must have from_logits=True"):
            plain_model(row.name).compile("sgd", loss)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@of_rows(lambda row: True, quick=is_classifier)
def test_keras_files_hold_every_weight(row, tmp_path):
    x = row.inputs()
    alone, adapted = row.make(), row.make()
    adapters.add_adapters(adapted, rank=2, alpha=3)
    for variable in adapted.weights:
        if variable.name == "adapter_out":
            variable.assign(GENERATOR.normal(size=variable.shape))
    specs = {n: keras.Input(v.shape[1:], dtype=v.dtype, name=n) for n, v in x.items()}
    functional = keras.Model(specs, keras.layers.Dense(2)(first_output(row.make()(specs))))
    within = Within(row.make())
    for name, model in {
        "alone": alone,
        "adapted": adapted,
        "functional": functional,
        "within": within,
    }.items():
        expected = model(x)
        model.save(tmp_path / f"{name}.keras")
        read = keras.saving.load_model(tmp_path / f"{name}.keras")
        assert_equal_outputs(read(x), expected)
        trained = {variable.shape for variable in model.trainable_variables}
        assert {variable.shape for variable in read.trainable_variables} == trained, name


@keras.saving.register_keras_serializable(package="battery")
class Within(keras.Model):
    def __init__(self, model, **kwargs):
        super().__init__(**kwargs)
        self.model, self.dense = model, keras.layers.Dense(2)

    def get_config(self):
        model = keras.saving.serialize_keras_object(self.model)
        return {**super().get_config(), "model": model}

    @classmethod
    def from_config(cls, config):
        model = keras.saving.deserialize_keras_object(config.pop("model"))
        return cls(model, **config)

    def call(self, inputs):
        return self.dense(first_output(self.model(inputs)))


def first_output(outputs):
    first = keras.tree.flatten(outputs)[0]
    return first if len(first.shape) > 1 else keras.ops.expand_dims(first, -1)


@pytest.mark.parametrize("row", ROWS, ids=IDS)
def test_states_and_attentions_come_beside_the_same_outputs(row):
    model, inputs = row.make(), row.inputs()
    expected = model(inputs)
    outputs = model(inputs, output_hidden_states=True, output_attentions=True)
    rows = inputs["input_ids"].size // L
    (attention,), states = outputs.pop("attentions"), outputs.pop("hidden_states")
    assert [tuple(state.shape) for state in states] == [(rows, L, CONFIG.hidden_size)] * 2
    assert tuple(attention.shape) == (rows, CONFIG.num_attention_heads, L, L)
    np.testing.assert_allclose(np.sum(attention, axis=-1), 1, atol=1e-5)
    assert not np.any(attention[0, ..., -4:])  # padding
    outputs = outputs if isinstance(expected, dict) else outputs["logits"]
    # Products of other shapes may differ in their last bit.
    assert_equal_outputs(outputs, expected, 1e-6)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_the_encoder_as_a_layer_keeps_its_weights_in_keras_files(tmp_path):
    @keras.saving.register_keras_serializable(package="battery")
    class Holder(keras.Model):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.encoder, self.dense = modeling.AlbertEncoder(CONFIG), keras.layers.Dense(1)

        def call(self, ids):
            return self.dense(self.encoder(ids)["pooled_output"])

    ids = keras.Input((None,), dtype="int32")
    pooled = modeling.AlbertEncoder(CONFIG)(ids)["pooled_output"]
    x = ROWS[0].inputs()["input_ids"]
    for number, model in enumerate((Holder(), keras.Model(ids, keras.layers.Dense(1)(pooled)))):
        expected = model(x)
        model.save(tmp_path / f"{number}.keras")
        assert_equal_outputs(keras.saving.load_model(tmp_path / f"{number}.keras")(x), expected)


@few_of_every_loss
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_fit_in_mixed_precision_learns_as_in_float32(row, policy):
    expected, weights = plain_step(row.name)
    found, mixed = step(row, model=row.make(dtype=policy))
    assert found == pytest.approx(expected, rel=0.03)
    for one, other in zip(mixed, weights, strict=True):
        np.testing.assert_allclose(one, other, atol=0.05)


@few_of_every_loss
def test_recomputed_blocks_take_the_same_step(row):
    rates = {"hidden_dropout_prob": 0.2, "attention_probs_dropout_prob": 0.2}
    config = dataclasses.replace(CONFIG, num_hidden_layers=2, **rates)
    expected = step(row, model=row.make(config))
    with keras.RematScope("full"):
        model = row.make(config)
    found = step(row, model=model)
    assert found[0] == pytest.approx(expected[0], rel=1e-6)
    assert_equal_outputs(found[1], expected[1], 1e-6)


@pytest.mark.slow
@of_rows(lambda row: True, quick=is_classifier)
def test_a_model_outlives_clear_session(row):
    model, x = row.make(), row.inputs()
    expected = model.predict(x, verbose=0)
    keras.backend.clear_session()
    assert_equal_outputs(model.predict(x, verbose=0), expected, 1e-6)


def test_a_preset_says_that_its_weights_are_random():
    with pytest.warns(UserWarning, match=r"has random weights; from_pretrained\(directory\)"):
        task_models.AlbertClassifier.from_preset("albert_tiny")


IN_ANOTHER_PROCESS = """
import sys
sys.path.insert(0, sys.argv[1])
import albert_tf
import keras
import numpy as np
import tensorflow as tf
from test_keras_battery import IDS, as_list, assert_equal_outputs
inputs = dict(np.load(sys.argv[2] + "/inputs.npz"))
for name in IDS:
    x = {k.split("/")[1]: v for k, v in inputs.items() if k.startswith(name + "/")}
    expected = list(np.load(f"{sys.argv[2]}/{name}.npz").values())
    exported = tf.saved_model.load(f"{sys.argv[2]}/{name}")
    assert_equal_outputs(exported.serve(x), expected, 1e-5)
    print(name, "exported", flush=True)
"""
READ_FIRST = """
import sys
import albert_tf
import keras
for name in sys.argv[2:]:
    keras.saving.load_model(f"{sys.argv[1]}/{name}.keras")
    print(name)
"""


def run_python(code, *arguments):
    root = pathlib.Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500)
    assert ended.returncode == 0, ended.stderr[-3000:]
    return ended.stdout


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_files_and_exports_are_read_by_a_fresh_process(tmp_path, capsys):
    inputs = {}
    for name, row in zip(IDS, ROWS, strict=True):
        # What is trained on pairs is asked about texts.
        model, x = row.make(), dataclasses.replace(row, texts=1).inputs()
        inputs |= {f"{name}/{key}": value for key, value in x.items()}
        model.save(tmp_path / f"{name}.keras")
        np.savez(tmp_path / f"{name}.npz", *as_list(model.predict(x, verbose=0)))
        model.export(tmp_path / name, verbose=False)
    np.savez(tmp_path / "inputs.npz", **inputs)
    for first in ("", "from albert_tf import finetuning_dataset"):
        assert run_python(first + READ_FIRST, tmp_path, *IDS).split() == IDS
    said = run_python(IN_ANOTHER_PROCESS, os.path.dirname(__file__), tmp_path)
    assert said.split() == [word for name in IDS for word in (name, "exported")]


ON_TWO_DEVICES = """
import sys
sys.path.insert(0, sys.argv[1])
import keras
import numpy as np
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from test_keras_battery import B, ROWS, assert_equal_outputs
two_devices = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
for row in ROWS:
    if not row.labels:
        continue
    batch = {**row.inputs(), **row.labels}
    # A whole batch, and a last one of which one device gets more.
    ways = [(batch, None, 2 * B - 1)]
    if row is ROWS[0]:  # whole batches alone, for what Keras weights in its own way
        ways.append((batch, None, B))
    if row.keras_loss:
        ways.append(((row.inputs(), *row.labels.values()), row.keras_loss, B))
    for data, loss, count in ways:
        results = []
        for strategy in (tf.distribute.get_strategy(), two_devices):
            with strategy.scope():
                model = row.make()
                model.compile(keras.optimizers.SGD(0.1), loss)
            dataset = tf.data.Dataset.from_tensor_slices(data).repeat(2).take(count).batch(B)
            history = model.fit(dataset, shuffle=False, verbose=0).history
            evaluated = model.evaluate(dataset, verbose=0, return_dict=True)
            results.append((history, evaluated, model.get_weights()))
        (one, one_seen, expected), (two, two_seen, found) = results
        assert_equal_outputs(found, expected, 1e-5)
        for first, second in ((one, two), (one_seen, two_seen)):
            assert first.keys() == second.keys()
            for name in first:
                np.testing.assert_allclose(second[name], first[name], rtol=1e-4, err_msg=name)
    print(row.name, flush=True)
"""


@pytest.mark.slow
def test_two_devices_take_the_step_of_one():
    said = run_python(ON_TWO_DEVICES, os.path.dirname(__file__))
    names = [name for name, row in zip(IDS, ROWS, strict=True) if row.labels]
    assert [line for line in said.splitlines() if line in IDS] == names


@pytest.mark.slow
@every_loss
def test_a_step_compiled_by_xla_is_the_same(row):
    expected = plain_step(row.name)
    model = row.make()
    model.compile(keras.optimizers.SGD(0.1), jit_compile=True)
    x = {**row.inputs(), **row.labels}
    history = model.fit(x, batch_size=B, shuffle=False, verbose=0).history
    assert history["loss"][0] == pytest.approx(expected[0], rel=1e-4)
    assert_equal_outputs(model.get_weights(), expected[1], 1e-4)
