"""An export alone in its folder leaves a whole version or nothing, whatever befalls it."""

import json
import os
import pathlib
import resource
import signal
import subprocess
import sys
import time

import pytest
import tensorflow as tf
from samples import VOCABULARY, tiny_config

from albert_tf import whole_files
from albert_tf.checkpoints.stored_tensors import CheckpointError
from albert_tf.config import AlbertConfig
from albert_tf.exporting import export
from albert_tf.model.language_models import AlbertModel
from albert_tf.model.task_models import AlbertClassifier
from albert_tf.pipelines.tokenizer.tokenization import Tokenizer

ROOT = pathlib.Path(__file__).parents[1]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model directory."""
    folder = tmp_path_factory.mktemp("model") / "model"
    vocabulary = Tokenizer(VOCABULARY)
    AlbertClassifier(tiny_config(), labels=["no", "yes"]).save_pretrained(folder, vocabulary)
    (folder / "task.json").write_text(json.dumps({"kind": "classification"}))
    return folder


def start_export(model, served, **options):
    """Starts run_export in a process of its own."""
    command = [sys.executable, "-m", "albert_tf.run_export"]
    flags = [f"--model_dir={model}", f"--output={served}"]
    return subprocess.Popen(
        [*command, *flags],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def wait_for_half(served, process):
    """Waits until an export has written half of what it writes."""
    deadline = time.monotonic() + 120
    while not (served / ".1.partial" / "saved_model.pb").exists():
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)


def test_a_second_export_to_a_folder_is_refused_before_it_loads_anything(tmp_path, monkeypatch):
    monkeypatch.setattr(export, "load", lambda *_: pytest.fail("it was let in"))
    with (
        whole_files.only_run_in(tmp_path / "served"),
        pytest.raises(whole_files.FolderInUseError, match=f"in use by process {os.getpid()}"),
    ):
        export.export("model", tmp_path / "served")


def test_what_a_killed_export_left_is_removed_by_the_next(tmp_path, monkeypatch):
    left = tmp_path / ".3.partial" / "variables"
    left.mkdir(parents=True)
    (left / "variables.index").write_text("half")
    (tmp_path / ".lock").write_text("process 1")  # its lock went with it
    (tmp_path / "notes.txt").write_text("not ours")

    def refuse(*_):
        raise CheckpointError("no model")

    monkeypatch.setattr(export, "load", refuse)
    with pytest.raises(CheckpointError, match="no model"):
        export.export("model", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.slow
def test_a_full_disk_is_named_and_leaves_nothing(tmp_path, model, monkeypatch):
    def fail(*_, **__):
        raise tf.errors.ResourceExhaustedError(None, None, "no space left on device")

    monkeypatch.setattr(tf.saved_model, "save", fail)
    with pytest.raises(OSError, match=r"/served/.1.partial cannot be written: no space left"):
        export.export(model, tmp_path / "served", report=lambda line: None)
    assert not (tmp_path / "served").exists()


def test_a_file_in_place_of_the_folder_is_named(tmp_path):
    (tmp_path / "served").touch()
    with pytest.raises(OSError, match="served"):
        export.export("model", tmp_path / "served")


@pytest.mark.slow
def test_a_disk_that_fills_up_ends_in_one_line(tmp_path, model):
    limit = (20_000, 20_000)  # bytes of a file; as on a full disk, the rest cannot be written
    export_process = start_export(
        model,
        tmp_path / "served",
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit),
    )
    _, errors = export_process.communicate(timeout=120)
    assert export_process.returncode == 1
    lines = [line for line in errors.splitlines() if line.startswith("run_export: ")]
    assert len(lines) == 1 and "cannot be written" in lines[0] and "Traceback" not in errors
    assert not (tmp_path / "served").exists()


@pytest.mark.slow
def test_two_exports_at_once_and_a_kill(tmp_path, model):
    served = tmp_path / "served"
    first = start_export(model, served)
    wait_for_half(served, first)
    second = start_export(model, served)
    _, errors = second.communicate(timeout=120)
    assert second.returncode == 1
    assert f"run_export: {served} is in use by process {first.pid}" in errors
    first.send_signal(signal.SIGKILL)
    first.communicate()
    assert not (served / "1").exists()
    third = start_export(model, served)
    output, errors = third.communicate(timeout=240)
    assert third.returncode == 0, errors
    assert f"published: {served / '1'}" in output
    assert [path.name for path in served.iterdir()] == ["1"]


@pytest.mark.slow
def test_a_signal_ends_an_export_in_one_line_and_leaves_nothing(tmp_path, model):
    served = tmp_path / "served"
    for number, code in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
        process = start_export(model, served)
        wait_for_half(served, process)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == code, errors
        assert errors.endswith(f"run_export: stopped by {number.name}; nothing was published\n")
        assert "Traceback" not in errors and not served.exists()


def test_what_is_no_model_directory_is_refused_and_makes_no_folder(tmp_path):
    AlbertModel(AlbertConfig.from_preset("albert_tiny")).save_pretrained(tmp_path / "model")
    with pytest.raises(CheckpointError, match="vocabulary"):
        export.export(tmp_path / "model", tmp_path / "served")
    assert not (tmp_path / "served").exists()
