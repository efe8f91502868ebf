"""What the outputs of a head for texts mean is read from `problem_type`, and written there."""

import json

import keras
import numpy as np
import pytest
from samples import VOCABULARY

from albert_tf.checkpoints import model_directory, model_kinds
from albert_tf.checkpoints.stored_tensors import CheckpointError
from albert_tf.config import AlbertConfig
from albert_tf.conversion import convert
from albert_tf.exporting import export
from albert_tf.inference import fine_tuned
from albert_tf.model import task_models
from albert_tf.pipelines.tokenizer.tokenization import Tokenizer

TEXTS = ["A fine film.", ("A cat sat.", "An animal sat.")]
LABELS = ["comedy", "drama", "war"]


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """A model directory of three genres, of which a text may have several."""
    keras.utils.set_random_seed(1)
    tokenizer = Tokenizer(str(VOCABULARY))
    config = AlbertConfig(
        vocab_size=tokenizer.vocab_size,
        embedding_size=8,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=32,
        initializer_range=0.5,
    )
    path = tmp_path_factory.mktemp("models") / "genres"
    model = task_models.AlbertClassifier(config, labels=LABELS, multi_label=True)
    model.save_pretrained(path, tokenizer)
    return path


def rewrite(directory, folder, **values):
    """Copies a model directory with other values in its config."""
    folder.mkdir()
    for path in directory.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    held = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**held, **values}))
    return folder


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_several_labels_a_text_have_a_sigmoid_each(directory, tmp_path):
    classify = fine_tuned.Classifier.from_pretrained(directory)
    one_class = rewrite(directory, tmp_path / "one", problem_type=None)
    softmaxes = fine_tuned.Classifier.from_pretrained(one_class)
    ids = classify.tokenizer.encode(TEXTS[0])
    logits = classify.model(
        {"input_ids": np.array([[classify.tokenizer.cls_id, *ids, classify.tokenizer.sep_id]])}
    )
    found = classify(TEXTS)
    assert list(found[0]["scores"]) == LABELS
    best = sorted(found[0]["scores"].items(), key=lambda item: -item[1])[:2]
    assert list(classify(TEXTS, top_k=2)[0]["scores"].items()) == best
    np.testing.assert_allclose(list(found[0]["scores"].values()), sigmoid(logits[0]), atol=1e-6)
    for several, one in zip(found, softmaxes(TEXTS), strict=True):
        assert several["label"] == one["label"]
        assert several["score"] == max(several["scores"].values())
        odds = np.array(list(several["scores"].values()))
        odds = odds / (1 - odds)
        np.testing.assert_allclose(odds / odds.sum(), list(one["scores"].values()), atol=1e-5)


def test_several_labels_are_kept_by_files_of_keras_and_by_conversion(directory, tmp_path):
    model = task_models.AlbertClassifier.from_pretrained(directory)
    assert task_models.AlbertClassifier.from_config(model.get_config()).multi_label
    convert.convert(directory, tmp_path / "converted", report=lambda line: None)
    assert task_models.AlbertClassifier.from_pretrained(tmp_path / "converted").multi_label


def test_exports_have_a_sigmoid_each_too(directory):
    loaded = export.load(directory, export.ExportSettings())
    signature = loaded.signatures.own()["classify"]
    found = signature.function(text=np.array([TEXTS[0]]))
    expected = loaded.in_process(TEXTS[0])
    np.testing.assert_allclose(
        found["probabilities"][0], list(expected["scores"].values()), atol=1e-6
    )
    assert found["label"][0].numpy().decode() == expected["label"]
    assert "each true or false by itself" in signature.meaning


def test_a_new_head_has_one_class_a_text_and_the_old_one_several(directory):
    anew = task_models.AlbertClassifier.from_pretrained(directory, initialize_head=True)
    assert not anew.multi_label
    several = task_models.AlbertClassifier.from_pretrained(directory)
    several.compile("sgd", run_eagerly=True)
    batch = {"input_ids": np.array([[2, 5, 3]]), "label": np.array([1])}
    with pytest.raises(ValueError, match=r"multi_label=True must have shape \[B, 3\]"):
        several.fit(batch, verbose=0)


@pytest.mark.slow
def test_labels_from_the_threshold_on_are_said(directory, tmp_path):
    scores = fine_tuned.Classifier.from_pretrained(directory)(TEXTS[0])["scores"]
    # A directory that keeps none has thresholds of a half.
    answer = fine_tuned.Classifier.from_pretrained(directory)(TEXTS[0])
    assert answer["labels"] == [name for name, score in scores.items() if score >= 0.5]
    other = rewrite(directory, tmp_path / "other")
    thresholds = [scores["comedy"] + 0.01, scores["drama"] - 0.01, 0]
    (other / "task.json").write_text(json.dumps({"thresholds": thresholds}))
    assert fine_tuned.Classifier.from_pretrained(other)(TEXTS[0])["labels"] == ["drama", "war"]
    signature = export.load(other, export.ExportSettings()).signatures.own()["classify"]
    chosen = signature.function(text=np.array([TEXTS[0]]))["chosen"].numpy()
    assert chosen.tolist() == [[b"", b"drama", b"war"]]
    whole = {"thresholds": [0, 1, 0]}  # whole numbers are numbers
    (other / "task.json").write_text(json.dumps(whole))
    signature = export.load(other, export.ExportSettings()).signatures.own()["classify"]
    chosen = signature.function(text=np.array([TEXTS[0]]))["chosen"].numpy()
    assert chosen.tolist() == [[b"comedy", b"", b"war"]]
    for wrong, message in (
        ("0.5", "must be a list of numbers or null. Received: '0.5'"),
        ([0.5, None, 0.5], "must be a list of numbers or null"),
        ([0.5], "must be one a class, 3. Received: 1"),
    ):
        (other / "task.json").write_text(json.dumps({"thresholds": wrong}))
        with pytest.raises(CheckpointError, match=f"task.json: `thresholds` {message}"):
            fine_tuned.Classifier.from_pretrained(other)


def test_one_class_alone_is_true_or_false(directory, tmp_path):
    config = task_models.AlbertClassifier.from_pretrained(directory).config
    model = task_models.AlbertClassifier(config, labels=["spam"])
    np.testing.assert_allclose(model.probabilities(np.array([[0.0], [2.0]])), [[0.5], [0.880797]])
    model.save_pretrained(tmp_path / "spam")
    assert model_kinds.read_kind(tmp_path / "spam") == "classification"
    assert model_directory.read_labels(tmp_path / "spam") == ["spam"]


def test_a_number_is_written_as_transformers_reads_it(directory, tmp_path):
    config = task_models.AlbertClassifier.from_pretrained(directory).config
    task_models.AlbertRegressor(config).save_pretrained(tmp_path / "number")
    values = json.loads((tmp_path / "number" / "config.json").read_text())
    assert values["problem_type"] == "regression"
    assert values["id2label"] == {"0": "LABEL_0"}
    assert model_kinds.read_kind(tmp_path / "number") == "regression"


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        ("regression", "`problem_type` regression must go with one output.*Received: 3 labels"),
        ("ordinal", "`problem_type` must be one of regression, .*Received: 'ordinal'"),
        (["regression"], "`problem_type` must be one of regression"),
    ],
)
def test_other_meanings_are_refused(directory, tmp_path, problem, message):
    other = rewrite(directory, tmp_path / "other", problem_type=problem)
    for load in (
        fine_tuned.Classifier.from_pretrained,
        model_kinds.read_kind,
        convert.open_source,
    ):
        with pytest.raises(CheckpointError, match=message):
            load(other)
