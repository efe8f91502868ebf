"""Long texts in windows: the mean or the largest of the scores, and one answer everywhere."""

import csv
import dataclasses
import json

import keras
import numpy as np
import pytest
from random_texts import random_texts
from samples import tiny_config

from albert_tf import run_prediction
from albert_tf.checkpoints import model_kinds
from albert_tf.checkpoints.model_kinds import ClassNotes, TextNotes
from albert_tf.checkpoints.stored_tensors import CheckpointError
from albert_tf.exporting import export
from albert_tf.finetuning.finetune import finetune
from albert_tf.finetuning.settings import FinetuningRun
from albert_tf.inference.batch_prediction import join_windows
from albert_tf.inference.fine_tuned import Classifier, Regressor
from albert_tf.model.task_models import AlbertClassifier, AlbertRegressor
from albert_tf.pipelines.task_data.encoded_examples import EncodedExamples
from albert_tf.pipelines.task_data.text_examples import TextExample, encode_texts
from albert_tf.serving import saved_model_reader
from albert_tf.tasks.options import TaskOptions

LABELS = ["no", "yes", "maybe"]
TEXTS = [*random_texts(3, 6), " ".join(random_texts(4, 20)), " ".join(random_texts(5, 9))]
RULES = {"windows": np.mean, "windows_max": np.max}


@pytest.mark.parametrize("rule", ["mean", "max"])
def test_scores_of_windows_are_joined_class_by_class(rule):
    index = np.array([0, 1, 1, 1, 2, 2], np.int32)
    scores = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    encoded = EncodedExamples(np.arange(7), {}, {}, details={"text_index": index}, joined_by=rule)
    outputs = {"scores": list(scores), "numbers": list(scores[:, 0])}
    joined = join_windows(encoded, outputs)
    function = {"mean": np.mean, "max": np.max}[rule]
    expected = [function(scores[index == text].astype(np.float64), axis=0) for text in range(3)]
    np.testing.assert_allclose(np.stack(joined["scores"]), expected, rtol=1e-6)
    np.testing.assert_allclose(joined["numbers"], np.array(expected)[:, 0], rtol=1e-6)
    np.testing.assert_array_equal(joined["scores"][0], scores[0])  # of one window
    whole = dataclasses.replace(encoded, joined_by=None)
    assert join_windows(whole, outputs) is outputs


@pytest.fixture(scope="module")
def classifier():
    """A classifier with weights that are far apart."""
    keras.utils.set_random_seed(0)
    return AlbertClassifier(tiny_config(initializer_range=0.3), labels=LABELS)


def test_a_model_for_pairs_takes_no_single_texts(classifier, tokenizer):
    classify = Classifier(classifier, tokenizer, notes=ClassNotes(is_pair=True))
    assert set(classify(("a cat", "a dog"))["scores"]) == set(LABELS)
    with pytest.raises(TypeError, match=r"must be a pair, as in fine-tuning. Received: .*item 1"):
        classify([("a cat", "a dog"), "a bird"])


@pytest.mark.parametrize("long_texts", RULES)
def test_a_classifier_gives_a_text_the_joined_logits_of_its_windows(
    tokenizer, classifier, long_texts
):
    notes = ClassNotes(max_seq_length=24, long_texts=long_texts)
    answers = Classifier(classifier, tokenizer, notes=notes)(TEXTS)
    for text, answer in zip(TEXTS, answers, strict=True):
        windows = encode_texts([TextExample("", text)], tokenizer, 24, windows="mean")
        batch = windows.batch(np.arange(len(windows)), 24)
        inputs = {name: batch[name] for name in ("input_ids", "input_mask", "segment_ids")}
        logits = RULES[long_texts](np.asarray(classifier(inputs)), axis=0)
        expected = np.exp(logits) / np.exp(logits).sum()
        np.testing.assert_allclose(list(answer["scores"].values()), expected, atol=1e-5)
    cut = Classifier(classifier, tokenizer, notes=ClassNotes(max_seq_length=24))(TEXTS)
    assert [a["score"] for a in cut][-2:] != [a["score"] for a in answers][-2:]


def test_numbers_and_pairs_are_read_in_windows_too(tokenizer):
    keras.utils.set_random_seed(0)
    notes = TextNotes(max_seq_length=24, long_texts="windows")
    model = AlbertRegressor(tiny_config(initializer_range=0.3))
    pairs = [(TEXTS[-1], "the cat"), ("the cat", TEXTS[-1])]
    whole, cut = (
        Regressor(model, tokenizer, notes=n)(pairs)
        for n in (notes, dataclasses.replace(notes, long_texts=None))
    )
    assert not np.allclose(whole, cut)


def test_what_a_directory_says_of_long_texts_is_checked(tmp_path):
    (tmp_path / "task.json").write_text(json.dumps({"long_texts": "summary"}))
    with pytest.raises(CheckpointError, match="`long_texts` must be one of cut, windows, windows_"):
        model_kinds.read_notes(tmp_path, "classification")
    model_kinds.write_notes(
        tmp_path, TextNotes(task="regression", kind="regression", max_seq_length=8)
    )
    assert model_kinds.read_notes(tmp_path, "regression").windows is None


def test_tasks_without_windows_refuse_them():
    with pytest.raises(ValueError, match="`task=mrpc` does not use `long_texts`"):
        TaskOptions(data_dir="GLUE", long_texts="windows").check_task("mrpc")


# From training to a server.


def long_rows(count, seed):
    """Returns rows of about 27 words, of which the last tells the class."""
    generator = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        label = ("animal", "thing")[number % 2]
        words = {"animal": ["cat", "dog", "bird"], "thing": ["house", "river", "stone"]}[label]
        filler = generator.choice(["we", "saw", "the", "old", "day"], generator.integers(23, 30))
        rows.append({"text": f"{' '.join(filler)} {generator.choice(words)}", "label": label})
    return rows


@pytest.fixture(scope="module")
def trained(tmp_path_factory, pretrained):
    """{long_texts: (results, folder)} of runs on texts whose last word tells."""
    folder = tmp_path_factory.mktemp("long")
    files = {}
    for name, rows in (("train", long_rows(96, 0)), ("dev", long_rows(40, 1))):
        files[f"{name}_file"] = str(folder / f"{name}.jsonl")
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    runs = {}
    for long_texts in ("cut", "windows", "windows_max"):
        run = FinetuningRun.of(
            **files,
            task="classification",
            init_checkpoint=str(pretrained),
            output_dir=str(folder / long_texts),
            max_seq_length=24,
            long_texts=long_texts,
            num_train_epochs=3 if long_texts == "cut" else 12,
            batch_size=16,
            learning_rate=1e-2,
        )
        lines = []
        runs[long_texts] = finetune(run, report=lines.append), folder / long_texts, lines, run
    return runs


@pytest.mark.slow
def test_a_word_beyond_the_cut_tells_with_windows_and_not_without(trained):
    accuracy = {n: run[0]["summary"]["dev"]["accuracy"]["mean"] for n, run in trained.items()}
    assert accuracy["cut"] < 0.75 and accuracy["windows"] > 0.95, accuracy
    assert accuracy["windows_max"] > 0.95, accuracy
    assert any("96 examples in" in line and "windows" in line for line in trained["windows"][2])


@pytest.mark.slow
def test_a_run_alone_on_dev_reads_the_windows_of_the_model(trained, tmp_path):
    results, folder, _, run = trained["windows"]
    alone = run.with_values(
        train=False, init_checkpoint=str(folder), output_dir=str(tmp_path / "out"), long_texts="cut"
    )
    again = finetune(alone, report=lambda line: None)
    assert again["seeds"]["0"]["best"] == results["seeds"]["0"]["best"]


@pytest.mark.slow
@pytest.mark.usefixtures("quick_check")
def test_python_tables_and_exports_give_one_answer(trained, tmp_path):
    for long_texts in RULES:
        _, folder, _, _ = trained[long_texts]
        texts = [row["text"] for row in long_rows(12, 2)] + ["a cat", "the old house"]
        answers = Classifier.from_pretrained(folder)(texts)
        in_process = [list(answer["scores"].values()) for answer in answers]
        version = export.export(folder, tmp_path / long_texts, report=lambda line: None)
        request = {"signature": "classify", "inputs": {"text": texts}}
        served = saved_model_reader.ask(str(version), [request])[0]
        np.testing.assert_allclose(served["probabilities"], in_process, atol=1e-5)
        table, output = tmp_path / "in.csv", tmp_path / f"{long_texts}.csv"
        with open(table, "w", newline="") as file:
            csv.writer(file).writerows([["text"], *([text] for text in texts)])
        predict_table(folder, table, output)
        with open(output, newline="") as file:
            rows = list(csv.DictReader(file))
        assert [row["label"] for row in rows] == [answer["label"] for answer in answers]
        scores = [[float(row[f"scores_{name}"]) for name in answers[0]["scores"]] for row in rows]
        np.testing.assert_allclose(scores, in_process, atol=1e-5)


def predict_table(model_dir, table, output):
    """Runs run_prediction in this process."""
    flags = run_prediction.FLAGS
    flags.unparse_flags()
    flags(["run_prediction", f"--model_dir={model_dir}", f"--input={table}", f"--output={output}"])
    run_prediction.main()
