"""Tables of the user's own: classes in unequal numbers, labels of every kind, a held-out part."""

import collections
import csv
import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from samples import VOCABULARY, tiny_config

from albert_tf.finetuning import finetune
from albert_tf.inference import fine_tuned, text_model
from albert_tf.inference.features import Features
from albert_tf.model import task_models
from albert_tf.pipelines.task_data import text_examples
from albert_tf.pipelines.task_data.input_problems import InputError, InputProblems
from albert_tf.pipelines.task_data.text_examples import TextExample, choose_held_out, texts_of
from albert_tf.pipelines.tokenizer.tokenization import Tokenizer
from albert_tf.tasks import table
from albert_tf.training import optimizers

pytestmark = pytest.mark.usefixtures("undrawn")


def make_rows(**counts):
    return [
        TextExample(f"{label}{i}", f"text {i} of {label}", None, label)
        for label, count in counts.items()
        for i in range(count)
    ]


def write_table(path, rows):
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        writer.writerows((row.text_a, row.label) for row in rows)
    return str(path)


def held_out_labels(rows, fraction=0.1):
    held_out = choose_held_out(rows, fraction)
    return collections.Counter(row.label for row in rows if (row.text_a, row.text_b) in held_out)


def test_the_held_out_part_keeps_the_shares_of_the_classes():
    assert held_out_labels(make_rows(pos=2700, neg=300)) == {"pos": 270, "neg": 30}
    assert held_out_labels(make_rows(pos=20, neg=20, neutral=1)) == {"pos": 2, "neg": 2}
    assert held_out_labels(make_rows(pos=3), fraction=0.9) == {"pos": 2}


def test_small_classes_make_up_for_one_another_so_that_a_tenth_is_held_out():
    small = {f"class {number:02}": 5 for number in range(50)}
    held = held_out_labels(make_rows(big=250, **small))
    assert held["big"] == 25 and set(held.values()) == {25, 1} and sum(held.values()) == 50
    for rows in (4, 6):
        classes = {f"class {number:02}": rows for number in range(100)}
        assert sum(held_out_labels(make_rows(**classes)).values()) == 10 * rows


def test_mirrored_pairs_and_texts_that_differ_in_white_space_are_on_one_side():
    rows = [
        TextExample("", f"text {number % 10}", f"text {number // 10}", label="ab"[number % 2])
        for number in range(100)
    ]
    same = [
        dataclasses.replace(row, text_a=f"{row.text_b} ", text_b=row.text_a.replace(" ", "\u00a0 "))
        for row in rows
    ]
    held_out = choose_held_out([*rows, *same], 0.3)
    sides = [[texts_of(row) in held_out for row in some] for some in (rows, same)]
    assert sides[0] == sides[1] and 40 <= 2 * sum(sides[0]) <= 80
    single = [TextExample("", f"text {n}{end}", label="a") for n in range(50) for end in ("", "\n")]
    held_out = choose_held_out(single, 0.3)
    sides = [texts_of(row) in held_out for row in single]
    assert sides[::2] == sides[1::2] and sum(sides) == 30


def test_a_text_is_on_one_side_however_often_and_in_whatever_order_it_stands():
    rows = make_rows(pos=100, neg=50)
    twice = [*rows, *(dataclasses.replace(row, guid=f"again {row.guid}") for row in rows)]
    other_label = [dataclasses.replace(row, label="neg") for row in rows[:40]]
    for some in (rows, twice, [*rows, *other_label]):
        held_out = choose_held_out(some, 0.2)
        assert choose_held_out(some[::-1], 0.2) == held_out
        held = sum((row.text_a, row.text_b) in held_out for row in some)
        assert held == pytest.approx(0.2 * len(some), abs=3)


def make_task(path, **options):
    return table.make_task(
        "classification", table.TaskOptions(train_file=path, **options), InputProblems()
    )


def test_labels_are_those_of_the_whole_file(tmp_path):
    task = make_task(write_table(tmp_path / "t.csv", make_rows(pos=20, neg=20, neutral=1)))
    train = task.read("train")
    task.learn(train)
    assert task.labels == ("neg", "neutral", "pos")
    assert len(train) == 37 and len(task.read("dev")) == 4


def test_an_empty_held_out_part_is_explained(tmp_path):
    task = make_task(write_table(tmp_path / "t.csv", make_rows(pos=2, neg=2)))
    task.learn(task.read("train"))
    with pytest.raises(InputError, match="has 4 rows: .* is empty. Give `dev_file`, a larger"):
        task.read("dev")


def test_a_metric_that_is_not_reported_is_refused_by_name(tmp_path):
    path = write_table(tmp_path / "t.csv", make_rows(pos=20, neg=20))
    assert make_task(path, metric="macro_f1").metric == "macro_f1"
    with pytest.raises(ValueError, match="`metric` must be one of accuracy, macro_f1"):
        make_task(path, metric="f2")


@pytest.mark.parametrize("label", [1, np.int64(1), "1"])
def test_numbers_are_taken_for_the_classes_they_name(label):
    encoded = text_examples._encode_labels([TextExample("a", "b", None, label)], ["0", "1"])
    assert encoded.tolist() == [1]


def run_of(**changes):
    return finetune.FinetuningRun.of(
        task="classification", options=table.TaskOptions(), output_dir="out", **changes
    )


@pytest.mark.slow
def test_a_model_that_always_says_the_same_is_pointed_out(tmp_path, pretrained):
    path = write_table(tmp_path / "t.csv", make_rows(pos=90, neg=10))
    lines = []
    run = run_of(init_checkpoint=str(pretrained), train_steps=2, batch_size=8, learning_rate=1e-6)
    run = run.with_values(
        options=table.TaskOptions(train_file=path), output_dir=str(tmp_path / "out")
    )
    finetune.finetune(run, report=lines.append)
    said = "\n".join(lines)
    assert "train, 2 classes: pos 81, neg 9" in said and "dev, 2 classes: pos 9, neg 1" in said
    assert "no better than always saying the same, 0.9000; what may help: `train_steps=300`" in said
    assert (
        "what may help: more of its examples, longer training, `class_weights=balanced`, " in said
    )


@pytest.mark.slow
def test_a_table_in_another_encoding_trains_and_is_named_in_the_report(tmp_path, pretrained):
    rows = ["text,label"]
    rows += [f"Die Bücherei öffnete früh für {i} Gäste.,{'a' if i % 2 else 'b'}" for i in range(40)]
    path = tmp_path / "t.csv"
    path.write_bytes("\n".join(rows).encode("cp1252"))
    said = {}
    for encoding in ("auto", "latin-1"):
        options = table.TaskOptions(train_file=str(path), encoding=encoding)
        run = run_of(init_checkpoint=str(pretrained), train_steps=1, batch_size=4)
        # The encoding is how the file is read, and no setting of the run.
        run = run.with_values(options=options, output_dir=str(tmp_path / "out"))
        lines = said[encoding] = []
        finetune.finetune(run, report=lines.append)
    note = f"{path}: read as cp1252; `encoding` names another one"
    assert note in said["auto"] and note not in said["latin-1"]
    assert "seed 0: done already" in said["latin-1"]
    with pytest.raises(
        ValueError, match="`encoding` must be auto or the name .* Received: 'klingon'"
    ):
        table.TaskOptions(encoding="klingon")


def test_bias_correction_is_the_default_of_fine_tuning_and_not_of_pretraining():
    assert run_of().optimization.bias_correction
    schedule = optimizers.WarmupPolynomialDecay(1e-3, 10)
    rest = {"weight_decay": 0.0, "beta_2": 0.999, "max_gradient_norm": 0.0}
    steps = {}
    for corrected in (True, False):
        made = optimizers.make_optimizer("adamw", schedule, bias_correction=corrected, **rest)
        assert optimizers.make_optimizer("adamw", schedule, **rest).bias_correction is False
        variable = keras.Variable([1.0])
        made.build([variable])
        made.apply([tf.constant([0.5])], [variable])
        steps[corrected] = 1.0 - float(variable.value[0])
    # m = 0.1 g, v = 0.001 g^2: corrected, the first step is the rate; not, 0.1 / sqrt(0.001) of it.
    assert steps[True] == pytest.approx(1e-3, rel=1e-3)
    assert steps[False] == pytest.approx(1e-3 * 0.1 / np.sqrt(0.001), rel=1e-3)


@pytest.mark.parametrize(
    "asked, message",
    [
        (["a", float("nan")], r"string or a pair of strings. Received: nan \(item 1\)"),
        ([None], r"Received: None \(item 0\)"),
        ([b"bytes"], r"Received: b'bytes' \(item 0\)"),
        ([3], r"Received: 3 \(item 0\)"),
        (["a", ("b", None)], r"\(item 1\)"),
        (b"bytes", "must be a string or a list of strings. Received: b'bytes'"),
        (None, "must be a string or a list of strings. Received: None"),
    ],
    ids=["nan", "None", "bytes in a list", "number", "half a pair", "bytes", "nothing"],
)
def test_what_is_no_text_is_named(pretrained, asked, message):
    model = task_models.AlbertClassifier.from_pretrained(pretrained, initialize_head=True)
    classifier = fine_tuned.Classifier(model, Tokenizer(VOCABULARY))
    with pytest.raises(TypeError, match=message):
        classifier(asked)
    assert classifier(np.array(["a fine film"]))[0].keys() == {"label", "score", "scores"}


def test_every_way_to_ask_names_what_is_no_text(pretrained):
    ways = {
        Features: ([float("nan")], r"a text must be a string. Received: nan \(item 0\)"),
        text_model.FillMask: ([None], r"a text must be a string. Received: None \(item 0\)"),
    }
    for way, (asked, message) in ways.items():
        with pytest.raises(TypeError, match=message):
            way.from_pretrained(pretrained)(asked)
    tokenizer = Tokenizer(VOCABULARY)
    for way, model_class, asked, message in (
        (fine_tuned.Tagger, task_models.AlbertTokenClassifier, [None], "or its words"),
        (fine_tuned.Answerer, task_models.AlbertSpanSelector, ["who?"], "question, context"),
        (fine_tuned.Chooser, task_models.AlbertMultipleChoice, [("p", "q", "ab")], "options a"),
    ):
        with pytest.raises(TypeError, match=message):
            way(model_class(tiny_config()), tokenizer)(asked)
