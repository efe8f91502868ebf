"""Several labels a text, from a table to answers: thresholds, scores and weights by hand."""

import csv
import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from sklearn import metrics as sklearn_metrics

from albert_tf.checkpoints import model_kinds
from albert_tf.checkpoints.stored_tensors import CheckpointError
from albert_tf.exporting import export
from albert_tf.finetuning import finetune
from albert_tf.inference import fine_tuned
from albert_tf.pipelines.task_data.input_problems import InputProblems
from albert_tf.pipelines.task_data.text_examples import TextExample, choose_held_out
from albert_tf.tasks import class_balance, metrics, table
from albert_tf.training.train_step import ModelObjective

pytestmark = pytest.mark.usefixtures("undrawn")

LABELS = ("cat", "night", "river")


def make_rows(count):
    """Returns texts that say their labels; some have none."""
    words = {"cat": "the old cat", "night": "at night", "river": "near the river"}
    rows = []
    for number in range(count):
        has = [bool(number % 2), number % 3 == 0, number % 5 == 0]
        parts = [words[name] for name, is_said in zip(LABELS, has, strict=True) if is_said]
        rows.append(("it sat " + " ".join(parts) + f" {number}", *map(int, has)))
    return rows


def write_columns(path, rows):
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", *LABELS])
        writer.writerows(rows)
    return str(path)


def make_task(**options):
    return table.make_task("multilabel", table.TaskOptions(**options), InputProblems())


def example(text, *labels):
    return TextExample(text, text, None, labels)


@pytest.mark.parametrize(
    ("probabilities", "is_true", "threshold"),
    [
        # Both ones and no zero from 0.3 on (F1 = 1): half way between 0.2 and 0.3.
        ([0.9, 0.3, 0.2, 0.1], [1, 1, 0, 0], 0.25),
        # The gap holds 0.5, so it is 0.5.
        ([0.9, 0.6, 0.4, 0.1], [1, 1, 0, 0], 0.5),
        ([0.9, 0.5, 0.4], [1, 1, 0], 0.5),
        # First alone: P 1, R 1/2, F1 2/3. Three: P 2/3, R 1, F1 4/5.
        ([0.9, 0.8, 0.4, 0.1], [1, 0, 1, 0], 0.25),
        # One (F1 2/3) is as good as four (P 1/2, R 1): 0.225 is nearer than 0.85.
        ([0.9, 0.8, 0.7, 0.45], [1, 0, 0, 1], 0.225),
        # Equal probabilities go together: all, F1 2/3.
        ([0.2, 0.2], [1, 0], 0.1),
        ([0.2, 0.9], [0, 0], 0.5),
        ([], [], 0.5),
    ],
)
def test_the_threshold_is_that_of_the_best_f1_nearest_to_a_half(probabilities, is_true, threshold):
    found = metrics.best_threshold(np.array(probabilities), np.array(is_true, bool))
    assert found == pytest.approx(threshold)


def test_no_threshold_is_better_than_the_one_chosen():
    generator = np.random.default_rng(0)
    for _ in range(50):
        probabilities = generator.random(20).round(1)
        is_true = generator.random(20) < 0.4

        def f1(threshold, probabilities=probabilities, is_true=is_true):
            counts = metrics.label_counts(is_true[:, None], (probabilities >= threshold)[:, None])
            return metrics.f1_of_counts(*counts)[0]

        best = max(map(f1, np.linspace(0, 1, 201)))
        assert f1(metrics.best_threshold(probabilities, is_true)) == pytest.approx(best)


def test_scores_are_those_of_scikit_learn():
    generator = np.random.default_rng(0)
    gold, said = generator.random((2, 30, 4)) < 0.4
    gold[:, 3] = said[:, 3] = False  # neither there nor said: F1 is 0
    scores = metrics.label_scores(gold, said)
    for average in ("micro", "macro"):
        expected = sklearn_metrics.f1_score(gold, said, average=average, zero_division=0)
        assert scores[f"{average}_f1"] == pytest.approx(expected)
    assert scores["subset_accuracy"] == sklearn_metrics.accuracy_score(gold, said)


def test_scores_come_from_thresholds_of_the_other_half():
    task = make_task(labels=("a",))
    texts = [f"text {number}" for number in range(60)]
    examples = [
        example(text, *(["a"] if number % 3 == 0 else [])) for number, text in enumerate(texts)
    ]
    probabilities = np.array([0.3 if e.label else 0.1 for e in examples])
    scores = task.score(examples, list(probabilities[:, None]))
    assert scores == {"micro_f1": 1.0, "macro_f1": 1.0, "subset_accuracy": 1.0}
    assert task.thresholds == pytest.approx((0.2,))
    assert task.notes().thresholds == task.thresholds
    # Of one text the other half is empty: 0.5 judges it, and its own threshold is kept.
    one = make_task(labels=("a",))
    assert one.score([example("x", "a")], [np.array([0.3])])["micro_f1"] == 0
    assert one.thresholds == (0.15,)
    # Thresholds of a model that was fine-tuned stay.
    kept = make_task()
    kept.restore(model_kinds.ClassNotes(thresholds=(0.05,)), ["a"])
    assert kept.score(examples, list(probabilities[:, None]))["micro_f1"] == pytest.approx(0.5)
    assert kept.thresholds == (0.05,)


def test_a_part_of_the_training_file_has_two_halves_as_well(tmp_path):
    task = make_task(
        train_file=write_columns(tmp_path / "t.csv", make_rows(600)), label_columns=LABELS
    )
    task.learn(task.read("train"))
    dev = task.read("dev")
    probabilities = [[0.3 if name in e.label else 0.1 for name in LABELS] for e in dev]
    scores = task.score(dev, list(np.array(probabilities)))
    assert len(dev) > 50 and scores["macro_f1"] == 1


def test_always_the_same_says_as_many_labels_as_is_best():
    task = make_task(labels=("a", "b"))
    train = [example(str(n), "a") for n in range(8)] + [example("x", "a", "b"), example("y")]
    # Saying "a": right 9 of 10 said, 10 there; "b" beside it: right 10 of 20.
    assert task.baseline(train, train)["micro_f1"] == pytest.approx(2 * 9 / (10 + 10))


def test_the_held_out_part_keeps_the_share_of_each_label():
    examples = [
        example(
            f"text {n}", *[name for name, step in (("a", 2), ("b", 5), ("c", 30)) if n % step == 0]
        )
        for n in range(600)
    ]
    held_out = choose_held_out(examples, 0.1)
    assert choose_held_out(examples[::-1], 0.1) == held_out
    held = [e for e in examples if (e.text_a, None) in held_out]
    assert len(held) == pytest.approx(60, abs=6)
    for name in "abc":
        total = sum(name in e.label for e in examples)
        assert sum(name in e.label for e in held) == pytest.approx(0.1 * total, abs=2)


def test_balanced_weights_count_texts_with_and_without_a_label_the_same():
    task = make_task(labels=("a", "b"))
    examples = [example("1", "a"), example("2", "a", "b"), example("3", "a"), example("4")]
    weights = class_balance.class_weights_of(("balanced",), task, examples)
    np.testing.assert_allclose(weights, [[4 / 2 / 1, 4 / 2 / 3], [4 / 2 / 3, 4 / 2 / 1]])
    np.testing.assert_allclose(
        class_balance.class_weights_of(("b:3",), task, examples), [[1, 1], [1, 3]]
    )
    with pytest.raises(ValueError, match="with and without every label. .* none or only such of a"):
        class_balance.class_weights_of(("balanced",), task, examples[:3])

    class Model:
        label_names = ("label",)

        def loss_weights(self, batch):
            return batch["example_weight"]

    batch = {"label": tf.constant([[1, 0], [0, 1]])}
    weighted = ModelObjective(Model(), class_weights=weights).weights(batch)
    np.testing.assert_allclose(weighted, [[4 / 6, 4 / 6], [2, 2]])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": ("a",)}, "`labels` must not be given beside it. Received: \\('a',\\)"),
        ({"label_column": "genre"}, "`label_column` must not be given beside it"),
        ({"label_columns": ("a", "a")}, "`label_columns` must be different. Received: a,a"),
        ({"label_columns": (), "label_separator": ""}, "`label_separator` must not be empty"),
        ({"metric": "accuracy"}, "`metric` must be one of micro_f1, macro_f1, subset_accuracy"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        make_task(**{"label_columns": ("a", "b"), **options})


def test_other_tasks_have_no_columns_of_labels():
    options = table.TaskOptions(label_columns=("a",))
    with pytest.raises(ValueError, match="`task=classification` does not use `label_columns`"):
        options.check_task("classification")
    options.check_task("multilabel")


def finetune_on(folder, path, pretrained, lines=None, **changes):
    options = {"train_file": path, "label_columns": LABELS, "max_seq_length": 32}
    options = table.TaskOptions(**{**options, **changes.pop("options", {})})
    run = {"task": "multilabel", "options": options, "output_dir": str(folder / "out")}
    run |= {"init_checkpoint": str(pretrained), "train_steps": 3, "batch_size": 8}
    run |= {"learning_rate": 1e-3, "class_weights": ("balanced",), **changes}
    report = (lambda line: None) if lines is None else lines.append
    return finetune.finetune(finetune.FinetuningRun.of(**run), report=report)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, pretrained):
    """A folder with a table and what fine-tuning on it left in `out/`, its results and lines."""
    folder, lines = tmp_path_factory.mktemp("several"), []
    path = write_columns(folder / "train.csv", make_rows(150))
    write_columns(folder / "test.csv", make_rows(20))
    options = {"test_file": str(folder / "test.csv"), "dev_fraction": 0.3}
    results = finetune_on(folder, path, pretrained, lines, options=options, predict_test=True)
    return folder, results, lines


def test_a_run_leaves_thresholds_scores_and_a_report(finished):
    folder, results, lines = finished
    said = "\n".join(lines)
    assert "train, 3 classes: cat " in said and " texts have no label" in said
    scores = results["summary"]["dev"]
    assert list(scores) == ["micro_f1", "macro_f1", "subset_accuracy", "loss"]
    assert results["metric"] == "micro_f1" and "micro_f1" in results["baseline"]["dev"]
    notes = model_kinds.read_notes(folder / "out")
    assert notes.task == "multilabel" and len(notes.thresholds) == 3
    values = json.loads((folder / "out" / "config.json").read_text())
    assert values["problem_type"] == "multi_label_classification"
    page = (folder / "out" / "report.html").read_text()
    assert ">threshold</th>" in page and f">{notes.thresholds[0]:.3f}</td>" in page
    assert "F1 of each label by its threshold" in page


def test_runs_from_before_there_were_several_labels_go_on(finished):
    described = json.loads((finished[0] / "out" / "run.json").read_text())
    # They know nothing of these options; the digest of the data, which they have, holds the labels.
    assert not {"label_columns", "label_separator"} & described["options"].keys()
    assert described["task_settings"]["labels"] == list(LABELS) and described["data"]["train"]


@pytest.mark.slow
def test_all_ways_to_ask_say_the_same_labels(finished):
    folder, _, _ = finished
    texts = [row[0] for row in make_rows(20)]
    classify = fine_tuned.Classifier.from_pretrained(folder / "out")
    answers = classify(texts)
    for answer in answers:
        reached = zip(answer["scores"].items(), classify.notes.thresholds, strict=True)
        assert answer["labels"] == [name for (name, score), least in reached if score >= least]
    predicted = (folder / "out" / "seed-0" / "predictions" / "test.jsonl").read_text()
    rows = [json.loads(line) for line in predicted.splitlines()]
    assert [row["prediction"] for row in rows] == [answer["labels"] for answer in answers]
    loaded = export.load(folder / "out", export.ExportSettings())
    signatures = loaded.signatures.own()
    export.write_saved_model(loaded, {"classify": signatures["classify"]}, folder / "saved")
    found = tf.saved_model.load(str(folder / "saved")).signatures["classify"](tf.constant(texts))
    chosen = [[name.decode() for name in row if name] for row in found["chosen"].numpy()]
    assert chosen == [answer["labels"] for answer in answers]
    (name, inputs, outputs), *_ = loaded.signatures.questions(classify, texts)
    assert (name, inputs) == ("classify", {"text": texts})
    np.testing.assert_array_equal(np.array(outputs["chosen"]).astype("S"), found["chosen"].numpy())


@pytest.mark.slow
def test_files_are_answered_with_labels_beside_their_rows(finished):
    folder, _, _ = finished
    expected = fine_tuned.Classifier.from_pretrained(folder / "out")([r[0] for r in make_rows(20)])
    command = [sys.executable, "-m", "albert_tf.run_prediction", f"--model_dir={folder / 'out'}"]
    for name in ("answers.csv", "answers.jsonl"):
        flags = [f"--input={folder / 'test.csv'}", f"--output={folder / name}"]
        subprocess.run([*command, *flags], check=True, capture_output=True)
    with open(folder / "answers.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [json.loads(row["labels"]) for row in rows] == [answer["labels"] for answer in expected]
    assert {"cat", "scores_cat", "scores_night", "scores_river"} <= rows[0].keys()
    lines = (folder / "answers.jsonl").read_text().splitlines()
    assert [json.loads(line)["labels"] for line in lines] == [a["labels"] for a in expected]


def test_a_fine_tuned_model_is_evaluated_with_its_own_thresholds(finished, tmp_path):
    folder, results, _ = finished
    notes = model_kinds.read_notes(folder / "out")
    dev = write_columns(tmp_path / "dev.csv", make_rows(60))
    again = finetune_on(
        tmp_path,
        None,
        folder / "out",
        train=False,
        class_weights=(),
        options={"dev_file": dev, "label_columns": tuple(reversed(LABELS))},
    )
    classify = fine_tuned.Classifier.from_pretrained(folder / "out")
    rows = make_rows(60)
    gold = np.array([row[1:] for row in rows], bool)
    answers = classify([row[0] for row in rows])
    said = np.array([[name in answer["labels"] for name in LABELS] for answer in answers])
    assert classify.notes.thresholds == notes.thresholds
    expected = metrics.label_scores(gold, said)["micro_f1"]
    assert again["summary"]["dev"]["micro_f1"]["mean"] == pytest.approx(expected)


def test_models_of_one_class_and_of_several_are_not_taken_for_each_other(finished, tmp_path):
    folder, _, _ = finished
    other = tmp_path / "one"
    other.mkdir()
    for path in (folder / "out").iterdir():
        if path.is_file():
            (other / path.name).write_bytes(path.read_bytes())
    values = json.loads((other / "config.json").read_text())
    del values["problem_type"]
    (other / "config.json").write_text(json.dumps(values))
    dev = write_columns(tmp_path / "dev.csv", make_rows(6))
    options = {"dev_file": dev}
    with pytest.raises(ValueError, match="must have several labels a text for `task=multilabel`"):
        finetune_on(tmp_path, None, other, train=False, class_weights=(), options=options)
    values["id2label"] = {"0": "a", "1": "b"}
    (other / "config.json").write_text(json.dumps(values))
    with pytest.raises(CheckpointError, match=r"task.json: `thresholds` must be one a class, 2."):
        model_kinds.read_notes(other)


@pytest.mark.slow
def test_labels_in_one_column_are_discovered(tmp_path, pretrained):
    path = tmp_path / "train.jsonl"
    rows = [
        {"text": text, "label": [n for n, is_said in zip(LABELS, has, strict=True) if is_said]}
        for text, *has in make_rows(30)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = {"label_columns": (), "dev_fraction": 0.0}
    finetune_on(tmp_path, str(path), pretrained, options=options, train_steps=1)
    classify = fine_tuned.Classifier.from_pretrained(tmp_path / "out")
    assert classify.model.labels == LABELS and classify.notes.thresholds is None
    answer = classify("the old cat")
    assert answer["labels"] == [name for name, score in answer["scores"].items() if score >= 0.5]
