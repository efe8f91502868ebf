"""Inputs at an address; ram:// and file:// stand for buckets, which TensorFlow reads likewise."""

import importlib.util
import os
import pathlib
import pwd
import re
import sys

import pytest
import tensorflow as tf
from absl import flags

from albert_tf import command_line, remote_files, settings, whole_files
from albert_tf.config import AlbertConfig
from albert_tf.conversion.settings import ConversionSettings
from albert_tf.finetuning.settings import FinetuningRun
from albert_tf.model.language_models import AlbertForPretraining
from albert_tf.pipelines.building.example_options import BuildOptions
from albert_tf.pretraining.settings import PretrainingRun


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """The folder of copies, of this test alone."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "albert_tf" / "inputs"


def put(address, text):
    tf.io.gfile.makedirs(os.path.dirname(address))
    if tf.io.gfile.exists(address):
        tf.io.gfile.remove(address)  # ram:// would append to it
    with tf.io.gfile.GFile(address, "w") as file:
        file.write(text)


@pytest.fixture
def bucket(request):
    """A folder in memory with two texts, another file and a folder."""
    root = f"ram://{request.node.name}"
    for name in ("a.txt", "b.txt", "c.csv", "below/d.txt"):
        put(f"{root}/{name}", f"{name}\n")
    return root


def contents(paths):
    return [pathlib.Path(path).read_text() for path in paths]


def test_a_file_a_pattern_and_a_folder_are_copied(bucket, cache):
    assert contents(remote_files.fetch(f"{bucket}/c.csv")) == ["c.csv\n"]
    assert contents(remote_files.fetch(f"{bucket}/*.txt")) == ["a.txt\n", "b.txt\n"]
    (folder,) = remote_files.fetch(f"{bucket}/")
    assert pathlib.Path(folder).is_relative_to(cache)
    names = {str(p.relative_to(folder)) for p in pathlib.Path(folder).rglob("*") if p.is_file()}
    assert names == {"a.txt", "b.txt", "c.csv", "below/d.txt"}


def test_only_what_changed_is_copied_again(bucket):
    lines = []
    (folder,) = remote_files.fetch(bucket, lines.append)
    assert lines[-1].startswith("copying 4 of 4 files, 0.0 MB, from ram://")
    remote_files.fetch(bucket, lines.append)
    assert len(lines) == 1
    put(f"{bucket}/a.txt", "longer than before\n")
    tf.io.gfile.remove(f"{bucket}/b.txt")
    remote_files.fetch(bucket, lines.append)
    assert lines[-1].startswith("copying 1 of 3 files")
    assert contents([f"{folder}/a.txt"]) == ["longer than before\n"]
    assert not os.path.exists(f"{folder}/b.txt")


def test_a_file_of_the_same_size_and_another_time_is_copied_again(tmp_path):
    original = tmp_path / "x.txt"
    original.write_text("old")
    os.utime(original, (1_000_000, 1_000_000))
    (copy,) = remote_files.fetch(f"file://{original}")
    original.write_text("new")
    assert remote_files.fetch(f"file://{original}") == [copy]
    assert contents([copy]) == ["new"]


def test_a_copy_that_fails_leaves_nothing(bucket, cache, monkeypatch):
    monkeypatch.setattr(remote_files, "_size_and_time", lambda stat: (stat.length + 1, 0))
    with pytest.raises(OSError, match=r"a.txt must have 7 bytes\. Received: 6"):
        remote_files.fetch(f"{bucket}/a.txt")
    assert not [path for path in cache.rglob("*") if path.is_file()]


def test_two_stars_stand_for_any_depth_and_folders_are_no_files(bucket):
    assert contents(remote_files.fetch(f"{bucket}/**/*.txt")) == [
        "a.txt\n",
        "b.txt\n",
        "below/d.txt\n",
    ]
    assert contents(remote_files.fetch(f"{bucket}/*")) == ["a.txt\n", "b.txt\n", "c.csv\n"]


def test_one_file_is_asked_for_before_anything_is_copied(bucket, cache):
    with pytest.raises(ValueError, match="must be one. Received: ram://.*, 2 files"):
        remote_files.fetch(f"{bucket}/*.txt", several=False)
    assert not cache.exists()


def test_a_copy_knows_its_address(bucket, tmp_path):
    (copy,) = remote_files.fetch(f"{bucket}/a.txt")
    assert remote_files.name_addresses(copy) == f"{bucket}/a.txt"
    assert remote_files.name_addresses(f"--a={copy},b") == f"--a={bucket}/a.txt,b"
    assert remote_files.name_addresses(str(tmp_path / "b.txt")) == str(tmp_path / "b.txt")


def test_a_cache_that_cannot_be_written_is_named(bucket, tmp_path):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(OSError, match=r"XDG_CACHE_HOME.*must be a folder to write to"):
        remote_files.fetch(f"{bucket}/a.txt")


@pytest.mark.parametrize(
    ("address", "error", "message"),
    [
        ("ram://nowhere/*.txt", FileNotFoundError, "Received: ram://nowhere/.*: nothing"),
        ("nosuch://bucket/x", ValueError, "gs://.*ram://.*Received: nosuch://bucket/x"),
        ("ram://a/../../x", FileNotFoundError, "nothing"),
    ],
)
def test_what_cannot_be_read_is_named(address, error, message):
    with pytest.raises(error, match=message):
        remote_files.fetch(address)


def test_a_copy_never_lies_outside_the_cache():
    with pytest.raises(ValueError, match=r"must not hold `..`"):
        remote_files._copy_of("ram://a/../../x")


@pytest.mark.parametrize(
    "write",
    [
        lambda path: AlbertForPretraining(AlbertConfig.from_preset("albert_tiny")).save_pretrained(
            path
        ),
        lambda path: whole_files.write_text(path, "text"),
        lambda path: whole_files.only_run_in(path).__enter__(),
        lambda path: whole_files.whole_directory(path).__enter__(),
    ],
    ids=["model", "file", "run", "directory"],
)
def test_nothing_is_written_to_an_address(write, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"on this machine.*Received: gs://bucket/x"):
        write("gs://bucket/x")
    assert not list(tmp_path.iterdir())


def flags_of(**values):
    """Returns flags of the running command with values."""
    flag_values = flags.FlagValues()
    for name, value in values.items():
        define = flags.DEFINE_list if isinstance(value, list) else flags.DEFINE_string
        define(name, value, "", flag_values=flag_values)
        # What absl takes the running module for.
        flag_values.register_key_flag_for_module(sys.argv[0], flag_values[name])
    flag_values.mark_as_parsed()
    return flag_values


def test_a_command_reads_copies_of_what_its_flags_name(bucket, cache):
    values = flags_of(
        input=[f"{bucket}/*.txt", "local.txt"], vocab_model=f"{bucket}/c.csv", text="see ram://x"
    )
    command_line._copy_inputs(values)
    folder = cache / "ram" / bucket.removeprefix("ram://")
    assert values.input == [str(folder / "a.txt"), str(folder / "b.txt"), "local.txt"]
    assert values.vocab_model == str(folder / "c.csv")
    assert values.text == "see ram://x"
    assert f"--vocab_model={bucket}/c.csv\n" in command_line.own_flags_as_text(values)


def test_a_flag_of_one_file_takes_no_pattern_of_several(bucket):
    with pytest.raises(ValueError, match="`train_file`: must be one. Received: ram://.*2 files"):
        command_line._copy_inputs(flags_of(train_file=f"{bucket}/*.txt"))


def test_several_folders_of_data_are_copied_each(bucket, cache):
    values = flags_of(data_dir=f"{bucket}/below,{bucket}")
    command_line._copy_inputs(values)
    folder = cache / "ram" / bucket.removeprefix("ram://")
    assert values.data_dir == f"{folder / 'below'},{folder}"


def test_tensorflow_datasets_reads_addresses_itself():
    values = flags_of(data_dir="gs://tfds", data_source="tfds")
    command_line._copy_inputs(values)
    assert values.data_dir == "gs://tfds"


def test_outputs_are_refused_before_anything_is_copied(bucket, cache):
    with pytest.raises(ValueError, match="`output_dir` must lie on this machine"):
        command_line._copy_inputs(flags_of(output_dir="gs://bucket/out", input=[bucket]))
    assert not cache.exists()


def test_every_flag_that_names_a_place_is_known_to_be_read_or_written():
    modules = ["albert_tf.run_pretraining", "albert_tf.run_finetuning", "albert_tf.run_export"]
    modules += ["albert_tf.run_prediction", "albert_tf.run_conversion", "albert_tf.run_server"]
    places = re.compile(r"(^|_)(dir|file|input|output|model|checkpoint|held_out|config|cache)$")
    # One of a whole collection is refused where it is an address, not copied (tfds_shards.py).
    known = {*command_line.INPUTS, *command_line.OUTPUTS, "tfds_data_dir"}
    for module in modules:
        source = pathlib.Path(importlib.util.find_spec(module).origin).read_text()
        names = re.findall(r'DEFINE_\w+\(\s*"(\w+)"', source)
        for name in {name for name in names if places.search(name)}:
            assert name in known, (module, name)
    for settings_class in (PretrainingRun, FinetuningRun, ConversionSettings, BuildOptions):
        for row in settings.all_rows(settings_class):
            if row.value_type is str and places.search(row.name):
                assert row.name in known, row.name


def test_who_has_no_home_needs_none(monkeypatch):
    for name in ("XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name)
    monkeypatch.setattr(pwd, "getpwuid", {}.__getitem__)  # as of a number without a name
    assert remote_files.name_addresses("wiki/AA") == "wiki/AA"
    put("ram://homeless/a.txt", "A text.")
    with pytest.raises(OSError, match=r"XDG_CACHE_HOME.*must be a folder.*no home for ~"):
        remote_files.fetch("ram://homeless/a.txt")
