"""The models of tasks: outputs, settings that survive, and `fit` as in any Keras code."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from samples import tiny_config

from albert_tf.checkpoints.stored_tensors import CheckpointError
from albert_tf.conversion import convert
from albert_tf.model import heads, language_models, task_models
from albert_tf.pipelines.task_data import squad

TINY = tiny_config()
B, L, C = 8, 12, 3


def make_batch(choices=None):
    generator = np.random.default_rng(0)
    shape = (B, L) if choices is None else (B, choices, L)
    ids = generator.integers(5, TINY.vocab_size, shape).astype(np.int32)
    mask, segments = np.ones_like(ids), np.zeros_like(ids)
    mask[0, ..., -4:] = 0
    segments[..., L // 2 :] = 1
    return {"input_ids": ids, "input_mask": mask, "segment_ids": segments}


def compile_and_fit(model, batch, labels, loss, steps=60, rate=0.1):
    # A plain optimizer: the graph of the update of each variable is most of a short run's time.
    model.compile(keras.optimizers.SGD(rate, momentum=0.9), loss=loss)
    dataset = tf.data.Dataset.from_tensors((batch, labels)).repeat(steps)
    return model.fit(dataset, epochs=1, verbose=0, shuffle=False), model.evaluate(
        batch, labels, verbose=0
    )


@pytest.mark.parametrize(
    ("make", "choices", "labels"),
    [
        (lambda: task_models.AlbertClassifier(TINY, num_classes=C), None, np.arange(B) % C),
        pytest.param(
            *(lambda: task_models.AlbertMultipleChoice(TINY), C, np.arange(B) % C),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            lambda: task_models.AlbertTokenClassifier(TINY, num_classes=C),
            None,
            np.arange(B * L) % C,
            marks=pytest.mark.slow,
        ),
    ],
    ids=["classifier", "choice", "tokens"],
)
def test_model_learns_eight_examples_by_heart(make, choices, labels):
    keras.utils.set_random_seed(0)
    labels = labels.reshape(B, -1)[:, 0] if labels.size == B else labels.reshape(B, L)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    steps = 60 if labels.ndim == 1 else 200
    _, left = compile_and_fit(make(), make_batch(choices), labels, loss, steps)
    assert left < 0.1


@pytest.mark.slow
def test_regressor_learns_eight_numbers_by_heart():
    keras.utils.set_random_seed(0)
    labels = np.linspace(-1, 1, B).astype(np.float32)
    _, left = compile_and_fit(
        task_models.AlbertRegressor(TINY), make_batch(), labels, "mse", 150, 0.02
    )
    assert left < 0.02


def test_span_selector_gives_two_scores_a_token():
    outputs = task_models.AlbertSpanSelector(TINY)(make_batch())
    assert {name: value.shape for name, value in outputs.items()} == {
        "start_logits": (B, L),
        "end_logits": (B, L),
    }


def test_padding_never_changes_the_scores_of_a_classifier():
    model, batch = task_models.AlbertClassifier(TINY, num_classes=C), make_batch()
    longer = {name: np.pad(value, [(0, 0), (0, 5)]) for name, value in batch.items()}
    np.testing.assert_allclose(model(batch), model(longer), atol=1e-6)


def test_ends_are_scored_given_each_start_as_the_formula_says():
    model, batch = task_models.AlbertAnswerabilitySelector(TINY), make_batch()
    keras.utils.set_random_seed(1)
    for weight in model.conditional_span_head.weights:
        weight.assign(keras.random.normal(weight.shape, stddev=0.3))
    allowed = batch["input_mask"].copy()
    allowed[:, 3] = 0
    outputs = model({**batch, "answer_mask": allowed})
    head = model.conditional_span_head
    vectors = model.encode(batch, training=False)["sequence_output"].numpy()  # [B, L, H]

    starts = vectors @ head.start.kernel.numpy()[:, 0] + head.start.bias.numpy()
    np.testing.assert_allclose(
        outputs["start_logits"][:, 4],
        starts[:, 4] * allowed[:, 4] - 1e30 * (1 - allowed[:, 4]),
        rtol=1e-4,
    )
    assert (outputs["start_logits"].numpy()[:, 3] == -1e30).all()
    first = outputs["start_positions"].numpy()[:, 0]
    assert (first == np.where(allowed, starts, -np.inf).argmax(axis=1)).all()

    chosen = np.repeat(vectors[np.arange(B), first][:, None], L, axis=1)
    joined = np.concatenate([vectors, chosen], axis=-1)  # [B, L, 2H]
    inner = np.tanh(joined @ head.end_transform.kernel.numpy() + head.end_transform.bias.numpy())
    centered = inner - inner.mean(axis=-1, keepdims=True)
    inner = centered / np.sqrt(centered.var(axis=-1, keepdims=True) + 1e-12)
    inner = inner * head.end_layer_norm.gamma.numpy() + head.end_layer_norm.beta.numpy()
    ends = inner @ head.end.kernel.numpy()[:, 0] + head.end.bias.numpy()
    found = outputs["end_logits"].numpy()[:, 0]
    np.testing.assert_allclose(found[allowed > 0], ends[allowed > 0], rtol=1e-3, atol=1e-4)

    masked = np.where(allowed, starts, -1e30)
    weights = np.exp(masked - masked.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    features = np.concatenate([np.einsum("bl,blh->bh", weights, vectors), vectors[:, 0]], axis=-1)
    inner = np.tanh(features @ head.answer_transform.kernel.numpy() + head.answer_transform.bias)
    np.testing.assert_allclose(
        outputs["impossible_logits"], inner @ head.answer.kernel.numpy()[:, 0], rtol=1e-3, atol=1e-4
    )


def test_answers_without_a_mask_are_looked_for_where_fine_tuning_looked(tokenizer):
    question = squad.Question("a", "who sat?", "The old cat sat on the mat. " * 9, "t", (), False)
    encoded = squad.encode([question], tokenizer, 48, 16, max_query_length=8)
    batch = encoded.batch(np.arange(len(encoded)), 64)
    names = ("input_ids", "input_mask", "segment_ids")
    inputs = {name: batch[name] for name in names}
    np.testing.assert_array_equal(heads.find_answer_places(inputs), batch["answer_mask"])
    np.testing.assert_array_equal(heads.find_answer_places(batch), batch["answer_mask"])
    # A text alone has no second segment: all of it counts, and no padding.
    for alone in ({**inputs, "segment_ids": np.zeros_like(batch["input_ids"])}, inputs):
        if alone is inputs:
            alone = {name: inputs[name] for name in names[:2]}
        np.testing.assert_array_equal(heads.find_answer_places(alone), batch["input_mask"])
    model = task_models.AlbertAnswerabilitySelector(tiny_config())
    for weight in model.conditional_span_head.weights:
        weight.assign(keras.random.normal(weight.shape, stddev=0.3))
    shorter = {name: value[:, :48] for name, value in inputs.items()}
    whole, cut = model(inputs), model(shorter)
    for name in ("impossible_logits", "start_positions"):
        np.testing.assert_allclose(whole[name], cut[name], atol=1e-5, err_msg=name)


def test_loss_of_answerability_counts_start_end_and_whether_half_each():
    """The closed form of `v2_model_fn_builder` of the original."""

    def cross_entropy(logits, label):
        return np.log(np.exp(logits).sum()) - logits[label]

    starts, ends = np.array([[1.0, 2.0, 0.5], [0.0, -1.0, 3.0]]), np.array([[0, 1, 2], [2, 0, 1.0]])
    impossible = np.array([0.3, -1.2])
    batch = {"start_position": [1, 0], "end_position": [2, 1], "is_impossible": [0, 1]}
    outputs = {
        "start_logits": starts.astype(np.float32),
        "end_logits": ends[:, None].astype(np.float32),
        "impossible_logits": impossible.astype(np.float32),
    }
    quantities = task_models.AlbertAnswerabilitySelector(TINY).measure(
        {name: np.array(value, np.int32) for name, value in batch.items()}, outputs
    )
    start = np.mean([cross_entropy(row, label) for row, label in zip(starts, [1, 0], strict=True)])
    end = np.mean([cross_entropy(row, label) for row, label in zip(ends, [2, 1], strict=True)])
    whether = np.mean([np.log1p(np.exp(0.3)), np.log1p(np.exp(1.2))])
    means = {name: float(total / weight) for name, (total, weight) in quantities.items()}
    assert means["span_loss"] == pytest.approx((start + end) / 2)
    assert means["answerability_loss"] == pytest.approx(whether / 2)


def test_given_start_is_the_one_that_ends_are_scored_with():
    model, batch = task_models.AlbertAnswerabilitySelector(TINY), make_batch()
    best = model(batch)
    third = best["start_positions"][:, 2]
    given = model({**batch, "start_position": third}, training=True)
    assert given["end_logits"].shape == (B, 1, L)
    np.testing.assert_allclose(given["end_logits"][:, 0], best["end_logits"][:, 2], atol=1e-5)
    # Validation must not be told where the answer starts.
    unseen = model({**batch, "start_position": third})
    np.testing.assert_array_equal(unseen["end_logits"], best["end_logits"])


def test_names_of_classes_and_dropout_survive_a_directory(tmp_path):
    config = tiny_config(classifier_dropout_prob=0.25)
    model = task_models.AlbertClassifier(config, labels=["no", "yes", "perhaps"])
    model.save_pretrained(tmp_path / "model")
    again = task_models.AlbertClassifier.from_pretrained(tmp_path / "model")
    assert again.labels == ("no", "yes", "perhaps")
    assert again.classification_head.dropout.rate == 0.25
    np.testing.assert_array_equal(model(make_batch()), again(make_batch()))


def test_head_must_be_asked_for_where_the_directory_has_none(tmp_path):
    language_models.AlbertForPretraining(TINY).save_pretrained(tmp_path / "model")
    with pytest.raises(CheckpointError, match=r"missing: classifier\.weight") as raised:
        task_models.AlbertClassifier.from_pretrained(tmp_path / "model")
    assert "initialize_head=True" in str(raised.value)
    model = task_models.AlbertClassifier.from_pretrained(
        tmp_path / "model", initialize_head=True, labels=["no", "yes"]
    )
    encoder = language_models.AlbertModel.from_pretrained(tmp_path / "model")
    np.testing.assert_array_equal(
        model.encode(make_batch(), False)["pooled_output"], encoder(make_batch())["pooled_output"]
    )


def test_num_labels_of_transformers_is_answered_with_our_words():
    for make in (task_models.AlbertClassifier, task_models.AlbertTokenClassifier):
        with pytest.raises(ValueError, match=r"num_classes=C or labels=.*Received: num_labels=3"):
            make(TINY, num_labels=3)


def test_the_second_argument_is_the_number_of_classes():
    for make in (task_models.AlbertClassifier, task_models.AlbertTokenClassifier):
        assert make(TINY, 3).labels == ("LABEL_0", "LABEL_1", "LABEL_2")
        with pytest.raises(ValueError, match="`num_classes` must be a positive integer"):
            make(TINY, ["a", "b"])
    with pytest.raises(ValueError, match="`multi_label` must be True or False. Received: 'no'"):
        task_models.AlbertClassifier(TINY, multi_label="no")


def test_names_of_classes_that_repeat_are_refused():
    with pytest.raises(ValueError, match="`labels` must be different names"):
        task_models.AlbertClassifier(TINY, labels=["yes", "yes"])


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("model_class", [*convert.HEADS.values()])
def test_keras_saves_and_restores_every_model(tmp_path, model_class):
    model = model_class(TINY)
    batch = make_batch(C if model_class is task_models.AlbertMultipleChoice else None)
    if model_class is language_models.AlbertForPretraining:
        batch["masked_lm_positions"] = np.ones((B, 2), np.int32)
    model.save(tmp_path / "model.keras")
    restored = keras.models.load_model(tmp_path / "model.keras")
    outputs, again = model(batch), restored(batch)
    if not isinstance(outputs, dict):
        outputs, again = {"logits": outputs}, {"logits": again}
    for name in outputs:
        np.testing.assert_array_equal(outputs[name], again[name])
