"""Training goes on without damaged files when it is told to, and says what is lost."""

import errno
import json
import shutil

import pytest
from samples import TESTDATA, VOCABULARY
from tiny_pretraining import make_examples, make_run, write_records

from albert_tf.pipelines.building import build
from albert_tf.pipelines.building.example_options import BuildOptions
from albert_tf.pipelines.examples import record_files
from albert_tf.pretraining import pretrain, run_data

pytestmark = pytest.mark.usefixtures("undrawn")

NAMES = [f"train-{n:05d}-of-00004.tfrecord" for n in range(4)]


@pytest.fixture
def shards(tmp_path, tokenizer):
    """A finished folder of four shards of 40 examples, as build_pretraining_data describes it."""
    folder = tmp_path / "records"
    folder.mkdir()
    for seed, name in enumerate(NAMES):
        write_records(folder / name, make_examples(tokenizer, 40, seed))
    tokenizer.save(folder / "vocab.model")
    summary = {
        "vocab_fingerprint": tokenizer.fingerprint,
        "train_examples": 160,
        "record_files": {"train": NAMES},
        "record_bytes": {name: (folder / name).stat().st_size for name in NAMES},
    }
    (folder / "summary.json").write_text(json.dumps(summary))
    return folder


def damage_three(folder):
    """Cuts one file off, removes one, and flips a bit of the first record of one."""
    (folder / NAMES[0]).write_bytes((folder / NAMES[0]).read_bytes()[:-9])
    (folder / NAMES[1]).unlink()
    content = bytearray((folder / NAMES[3]).read_bytes())
    content[100] ^= 1
    (folder / NAMES[3]).write_bytes(content)


@pytest.mark.slow
def test_a_run_goes_on_without_damaged_records_names_them_and_counts_what_is_lost(
    shards, config_file, tmp_path
):
    damage_three(shards)
    with pytest.raises(ValueError, match=f"{NAMES[0]} must be a file of"):
        run_data.find(make_run(shards, config_file, tmp_path / "model"))
    lines = []
    run = make_run(shards, config_file, tmp_path / "model", steps=3, skip_damaged=True)
    pretrain.pretrain(run, report=lines.append)
    assert [line.split(" must ")[0].rpartition("/")[2] for line in lines[:3]] == [
        NAMES[0],
        NAMES[1],
        NAMES[3],
    ]
    assert lines[3] == (
        "3 of 4 training files are left out: 40 examples remain, 120 of 160 (75.0%) are lost"
    )
    described = json.loads((tmp_path / "model" / "run.json").read_text())["data"]
    assert described["left_out"] == [NAMES[0], NAMES[1], NAMES[3]]
    assert described["train_examples"] == 40


@pytest.mark.slow
def test_a_run_that_goes_on_leaves_out_the_same(shards, config_file, tmp_path):
    whole = shutil.copytree(shards, tmp_path / "whole")
    damage_three(shards)
    values = {"output_dir": tmp_path / "model", "skip_damaged": True, "decay_power": 1e-9}
    quiet = {"report": lambda line: None}
    pretrain.pretrain(make_run(shards, config_file, steps=3, **values), **quiet)
    pretrain.pretrain(make_run(shards, config_file, steps=4, **values), **quiet)
    with pytest.raises(ValueError, match="left_out: .*train-00000"):
        pretrain.pretrain(make_run(whole, config_file, steps=5, **values), **quiet)


def test_whole_records_are_the_same_run_with_or_without(shards, config_file, tmp_path):
    data = [
        run_data.find(make_run(shards, config_file, tmp_path, skip_damaged=skips))
        for skips in (True, False)
    ]
    assert data[0] == data[1]
    assert not data[0].losses


def test_files_without_a_summary_are_left_out_too(shards, config_file, tmp_path):
    damage_three(shards)
    values = {"data_dir": None, "input": (str(shards / "train-*"),), "vocab_model": str(VOCABULARY)}
    run = make_run(None, config_file, tmp_path, **values, skip_damaged=True)
    data = run_data.find(run)
    assert data.left_out == [NAMES[0], NAMES[3]]
    assert data.losses[-1] == "2 of 3 training files are left out: 40 examples remain"


def test_a_file_that_the_disk_cannot_read_is_left_out(shards, config_file, tmp_path, monkeypatch):
    def count(path):
        if path.endswith(NAMES[2]):
            raise OSError(errno.EIO, "Input/output error")
        return 40

    monkeypatch.setattr(record_files, "count_examples", count)
    data = run_data.find(make_run(shards, config_file, tmp_path, skip_damaged=True))
    assert data.left_out == [NAMES[2]]
    assert data.losses[0].endswith(f"{NAMES[2]} cannot be read: Input/output error")


def test_nothing_left_to_train_on_is_refused(shards, config_file, tmp_path):
    for name in NAMES:
        (shards / name).unlink()
    with pytest.raises(ValueError, match="`skip_damaged` must leave examples"):
        run_data.find(make_run(shards, config_file, tmp_path, skip_damaged=True))


def test_damaged_held_out_records_are_refused_all_the_same(data_dir, config_file, tmp_path):
    folder = shutil.copytree(data_dir, tmp_path / "records")
    path = folder / "held_out-00000-of-00001.tfrecord"
    summary = json.loads((folder / "summary.json").read_text())
    summary["record_files"] = {
        name: [f"{name}-00000-of-00001.tfrecord"]
        for name in ("train", "held_out", "held_out_single")
    }
    summary["record_bytes"] = {path.name: path.stat().st_size}
    (folder / "summary.json").write_text(json.dumps(summary))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=f"{path.name} must be a file of"):
        run_data.find(make_run(folder, config_file, tmp_path, skip_damaged=True))


def test_damaged_shards_of_stored_tokens_are_left_out(config_file, tmp_path):
    folder = tmp_path / "tokens"
    build.build_examples(
        BuildOptions(
            input=(str(TESTDATA / "corpus" / "*"),),
            vocab_model=str(VOCABULARY),
            num_workers=1,
            num_shards=3,
            held_out_fraction=0.1,
            format="tokens",
            output_dir=str(folder),
        )
    )
    values = {"max_seq_length": 16, "skip_damaged": True}
    whole = run_data.find(make_run(folder, config_file, tmp_path, **values))
    assert not whole.losses and "left_out" not in whole.describe()
    (folder / "train-00000-of-00003.sentences.npy").unlink()
    ids = folder / "train-00002-of-00003.ids.npy"
    ids.write_bytes(b"x" * ids.stat().st_size)
    with pytest.raises(ValueError, match=r"sentences\.npy must be a file of"):
        run_data.find(make_run(folder, config_file, tmp_path, max_seq_length=16))
    data = run_data.find(make_run(folder, config_file, tmp_path, **values))
    assert "train-00000-of-00003.sentences.npy must be a file of" in data.losses[0]
    assert "train-00002-of-00003.ids.npy must be an array of NumPy" in data.losses[1]
    assert data.losses[2].startswith(f"2 of 3 training shards of {folder} are left out: ")
    assert data.describe()["left_out"] == [["train-00000-of-00003", "train-00002-of-00003"]]
    assert 0 < data.train_examples < whole.train_examples
