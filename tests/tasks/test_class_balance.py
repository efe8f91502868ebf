"""What a text or a word of each class counts in the loss: NumPy by hand."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from samples import VOCABULARY, tiny_config
from test_own_data import make_rows, make_task

from albert_tf.finetuning.splits import Split
from albert_tf.model import losses, task_models
from albert_tf.pipelines.task_data.input_problems import InputProblems
from albert_tf.pipelines.task_data.tagged_words import TaggedSentence
from albert_tf.pipelines.task_data.text_examples import TextExample
from albert_tf.pipelines.tokenizer.tokenization import Tokenizer
from albert_tf.tasks import class_balance, table
from albert_tf.training import train_step

BATCH = {
    "input_ids": np.arange(5, 5 + 32).reshape(8, 4) % 40,
    "label": np.array([0, 0, 0, 0, 0, 0, 0, 1], np.int32),
}


def test_weights_of_classes_make_the_weighted_mean():
    model = task_models.AlbertClassifier(tiny_config(), num_classes=2)
    weights = np.array([0.5, 4.0], np.float32)
    objective = train_step.ModelObjective(model, class_weights=tf.constant(weights))
    batch = {name: tf.constant(value) for name, value in BATCH.items()}
    sums, _ = objective.sums(model, batch, training=False)
    logits = np.asarray(model(BATCH), np.float64)
    losses_by_hand = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(8), BATCH["label"]]
    w = weights[BATCH["label"]]
    assert float(sums["classification_loss"]) == pytest.approx((w * losses_by_hand).sum(), rel=1e-5)
    assert float(objective.weights(batch)["classification_loss"]) == pytest.approx(w.sum())
    assert float(losses.cross_entropy(model(BATCH), BATCH["label"])[1]) == 8


def test_class_weights_by_name_and_balanced():
    task = make_task("t.csv", labels=("neg", "pos"))
    rows = make_rows(pos=9, neg=1)

    def weights(*given):
        return class_balance.class_weights_of(given, task, rows)

    np.testing.assert_allclose(weights("balanced"), [10 / 2 / 1, 10 / 2 / 9])
    np.testing.assert_allclose(weights("neg:3"), [3, 1])
    assert weights() is None
    for wrong in ("neutral:2", "neg", "neg:-1", "neg:nan"):
        with pytest.raises(ValueError, match="must be balanced or name:weight .* of neg, pos"):
            weights(wrong)
    with pytest.raises(ValueError, match="needs examples of every class. Received: none of neg"):
        class_balance.class_weights_of(("balanced",), task, make_rows(pos=3))


def test_classes_of_texts_in_windows_count_the_same_in_the_loss_of_windows():
    rows = [TextExample(f"l{i}", f"we saw the old day {i} " * 20, None, "neg") for i in range(4)]
    rows += make_rows(pos=6)
    task = make_task("t.csv", labels=("neg", "pos"), max_seq_length=24, long_texts="windows")
    encode, arguments = task.encoder(training=True)
    split = Split(rows, encode(rows, Tokenizer(VOCABULARY), **arguments))
    weights = class_balance.class_weights_of(("balanced",), task, split.of_rows())
    counts = np.bincount(split.encoded.batch(np.arange(len(split.encoded)), 24)["label"])
    assert counts[0] > 20 and counts[1] == 6
    np.testing.assert_allclose(weights * counts, counts.sum() / 2, rtol=1e-6)


TAGS = ("O", "B-PER", "I-PER")
SENTENCES = [
    TaggedSentence("0", ("Ada", "Lovelace", "wrote", "it", "."), ("B-PER", "I-PER", "O", "O", "O")),
    TaggedSentence("1", ("Ada", "too"), ("B-PER", "O")),
]


def make_tag_task(sentences, **options):
    task = table.make_task("tagging", table.TaskOptions(**options), InputProblems())
    task.learn(sentences)
    return task


def test_class_weights_of_tags_count_words():
    task = make_tag_task(SENTENCES, labels=TAGS)

    def weights(*given):
        return class_balance.class_weights_of(given, task, SENTENCES)

    # 7 words: 4 of O, 2 of B-PER, 1 of I-PER.
    np.testing.assert_allclose(weights("balanced"), [7 / 3 / 4, 7 / 3 / 2, 7 / 3])
    np.testing.assert_allclose(weights("O:0.25", "I-PER:2"), [0.25, 1, 2])
    with pytest.raises(ValueError, match="of O, B-PER, I-PER. Received: PER:2"):
        weights("PER:2")
    absent = make_tag_task(SENTENCES, labels=(*TAGS, "B-LOC"))
    with pytest.raises(ValueError, match="Received: none of B-LOC"):
        class_balance.class_weights_of(("balanced",), absent, SENTENCES)


def test_tags_are_counted_at_the_start():
    lines = []
    class_balance.report_classes("train", make_tag_task(SENTENCES), SENTENCES, lines.append)
    assert lines == ["train, 3 classes: O 4, B-PER 2, I-PER 1"]


def test_classes_that_are_not_there_are_named():
    lines = []
    task = make_tag_task(SENTENCES, labels=(*TAGS, *(f"B-{number:02}" for number in range(22))))
    class_balance.report_classes("dev", task, SENTENCES, lines.append)
    assert lines[1].startswith("Warning: no word of dev has the label B-00, B-01, ")
    assert lines[1].endswith("B-19, and 2 more")


@pytest.mark.parametrize("accumulation_steps", [1, 2])
def test_weights_of_tags_make_the_weighted_mean_over_tokens(accumulation_steps):
    rates = dict.fromkeys(
        ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout_prob"), 0.0
    )
    model = task_models.AlbertTokenClassifier(tiny_config(**rates), labels=TAGS)
    weights = np.array([0.5, 4.0, 2.0], np.float32)
    labels = np.array([[-1, 0, 1, -1], [-1, 2, -1, -1], [-1, 0, 0, 0], [-1, 1, 2, 2]], np.int32)
    batch = {"input_ids": np.arange(5, 21, dtype=np.int32).reshape(4, 4), "token_labels": labels}
    logits = np.asarray(model(batch), np.float64)
    has_label = labels >= 0
    losses_by_hand = np.log(np.exp(logits).sum(axis=-1)) - np.take_along_axis(
        logits, np.maximum(labels, 0)[..., None], axis=-1
    ).squeeze(-1)
    w = np.where(has_label, weights[labels], 0.0)
    objective = train_step.ModelObjective(model, class_weights=weights)
    optimizer = keras.optimizers.SGD(0.0)
    step = train_step.make_train_step(model, optimizer, objective, accumulation_steps)
    results = step({name: tf.constant(value) for name, value in batch.items()})
    total, weight = map(float, results["token_loss"])
    assert weight == pytest.approx(w.sum())
    assert total / weight == pytest.approx((w * losses_by_hand).sum() / w.sum(), rel=1e-5)


def test_tasks_without_classes_say_so():
    task = table.make_task("regression", table.TaskOptions(), InputProblems())
    rows = [TextExample("0", "a", None, 1.0)]
    with pytest.raises(ValueError, match="classes of texts or words. Received: `task=regression`"):
        class_balance.class_weights_of(("balanced",), task, rows)


def test_a_batch_of_classes_that_count_nothing_trains_nothing():
    model = task_models.AlbertClassifier(tiny_config(), labels=["a", "b"])
    batch = {"input_ids": np.ones((2, 4), np.int32), "label": np.zeros(2, np.int32)}
    batch["example_weight"] = np.zeros(2, np.float32)
    (total, _) = model.measure(batch, model(batch))["classification_loss"]
    assert float(total / model.loss_weights(batch)["classification_loss"]) == 0.0
