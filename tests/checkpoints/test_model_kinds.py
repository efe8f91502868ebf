"""What a model is for, by its class, its directory, and the tables of those who ask it."""

import json
import shutil
import subprocess
import sys

import pytest

from albert_tf.checkpoints import model_kinds
from albert_tf.checkpoints.stored_tensors import CheckpointError
from albert_tf.config import AlbertConfig
from albert_tf.exporting import export
from albert_tf.inference import table as inference_table
from albert_tf.model import language_models, task_models
from albert_tf.model.keras_model import AlbertTaskModel

MODEL_CLASSES = [
    value
    for module in (language_models, task_models)
    for value in vars(module).values()
    if isinstance(value, type)
    and issubclass(value, AlbertTaskModel)
    and value.transformers_class is not None
]


def test_the_names_of_kinds_are_those_of_the_models_and_of_the_tables():
    assert {model.kind for model in MODEL_CLASSES} == {*model_kinds.KINDS, None}
    assert inference_table.MODELS.keys() == {*model_kinds.KINDS, "features"}
    assert export.SIGNATURES.keys() == set(model_kinds.KINDS)
    for kind, asked_class in inference_table.MODELS.items():
        of_vectors = kind in ("features", "embedding")
        assert asked_class.model_class.kind == (None if of_vectors else kind)
    for name, kind in model_kinds.OF_ARCHITECTURE.items():
        of_class = {m.kind for m in MODEL_CLASSES if m.transformers_class == name}
        assert of_class - {"regression"} == {kind}


@pytest.mark.parametrize(
    ("model_class", "arguments", "kind"),
    [
        (language_models.AlbertForPretraining, {}, "fill_mask"),
        (task_models.AlbertClassifier, {"labels": ["no", "yes"]}, "classification"),
        (task_models.AlbertTokenClassifier, {}, "tagging"),
        (task_models.AlbertSpanSelector, {}, "answer"),
        (task_models.AlbertMultipleChoice, {}, "choice"),
    ],
)
def test_kind_is_told_by_the_class_of_transformers(tmp_path, model_class, arguments, kind):
    config = AlbertConfig.from_preset("albert_tiny")
    model_class(config, **arguments).save_pretrained(tmp_path / "model")
    assert model_kinds.read_kind(tmp_path / "model") == kind
    # What was noted of the directory itself is known, too.
    (tmp_path / "model" / "task.json").write_text(json.dumps({"kind": kind}))
    assert model_kinds.read_kind(tmp_path / "model") == kind
    # What fine-tuning noted says more: a regression has the same class.
    (tmp_path / "model" / "task.json").write_text('{"kind": "regression"}')
    assert model_kinds.read_kind(tmp_path / "model") == "regression"


def test_classifier_with_one_class_is_a_regression(tmp_path):
    config_file = tmp_path / "config.json"
    names = {"architectures": ["AlbertForSequenceClassification"], "id2label": {"0": "LABEL_0"}}
    config_file.write_text(json.dumps(names))
    assert model_kinds.read_kind(tmp_path) == "regression"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("max_seq_length", value) for value in ("12", None, -1, 0, True, 1.5, [])),
        *(("null_threshold", "0"), ("kind", 3), ("kind", "oracle"), ("doc_stride", {})),
    ],
)
def test_damaged_settings_of_a_task_are_named_with_their_file(tmp_path, name, value):
    (tmp_path / "task.json").write_text(json.dumps({"kind": "answer", name: value}))
    with pytest.raises(CheckpointError, match=rf"task\.json: `{name}` must be .*Received: "):
        model_kinds.read_kind(tmp_path)


@pytest.mark.parametrize("names", ["AlbertModel", 5, True, {}, [["AlbertModel"]], [None]])
def test_architectures_that_are_no_names_are_refused(tmp_path, names):
    (tmp_path / "config.json").write_text(json.dumps({"architectures": names}))
    with pytest.raises(CheckpointError, match=r"config\.json: `architectures` must be a list of"):
        model_kinds.read_kind(tmp_path)


def test_notes_are_written_and_read_as_they_are(tmp_path, pretrained):
    shutil.copy(pretrained / "config.json", tmp_path)
    for kind, notes_class in model_kinds.NOTES.items():
        notes = notes_class(task="a task", kind=kind, max_seq_length=12)
        model_kinds.write_notes(tmp_path, notes)
        assert model_kinds.read_notes(tmp_path) == notes


def test_notes_of_old_and_of_newer_files_are_read(tmp_path):
    (tmp_path / "task.json").write_text('{"kind": "answer", "doc_stride": 9, "of_later": [1]}')
    assert model_kinds.read_notes(tmp_path) == model_kinds.AnswerNotes(kind="answer", doc_stride=9)
    (tmp_path / "task.json").write_text('{"max_seq_length": 7, "max_qa_length": 5}')
    asked_as = model_kinds.read_notes(tmp_path, "choice")
    assert asked_as == model_kinds.ChoiceNotes(max_seq_length=7, max_qa_length=5)


def test_lengths_fit_what_the_model_can_read():
    assert model_kinds.TaskNotes().fit(512).max_seq_length == 512
    assert model_kinds.TaskNotes(max_seq_length=600).fit(512).max_seq_length == 512
    assert model_kinds.AnswerNotes(max_seq_length=24).fit(512).max_query_length == 20
    assert model_kinds.ChoiceNotes(max_qa_length=8).fit(512).max_qa_length == 8


@pytest.mark.slow
def test_asking_a_model_loads_no_writer_of_reports():
    code = "import sys, albert_tf.inference.table; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = done.stdout.split()
    assert not [name for name in loaded if name.startswith(("jinja2", "albert_tf.finetuning"))]


def test_the_names_need_no_keras():
    code = "import sys, albert_tf.checkpoints.model_kinds; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    packages = {name.split(".")[0] for name in done.stdout.split()}
    assert not packages & {"tensorflow", "keras"}


@pytest.mark.parametrize(
    ("kind", "other"),
    [
        (task_models.AlbertClassifier, task_models.AlbertTokenClassifier),
        (task_models.AlbertRegressor, task_models.AlbertMultipleChoice),
        (task_models.AlbertMultipleChoice, task_models.AlbertRegressor),
        (task_models.AlbertTokenClassifier, task_models.AlbertClassifier),
    ],
)
def test_a_head_of_another_task_with_the_same_name_is_none(tmp_path, kind, other):
    config = AlbertConfig.from_preset("albert_tiny")
    kind(config).save_pretrained(tmp_path / "model")
    kind.from_pretrained(tmp_path / "model")
    message = f"must hold a head for {other.kind}. Received: one for {kind.kind}; `initialize_head"
    with pytest.raises(CheckpointError, match=message):
        other.from_pretrained(tmp_path / "model")
    other.from_pretrained(tmp_path / "model", initialize_head=True)
    language_models.AlbertModel.from_pretrained(tmp_path / "model")
