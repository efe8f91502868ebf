"""Data sets of TensorFlow Datasets by name, on ones that are written here (tfds_shards.py)."""

import dataclasses
import json
import os

import pytest
import tensorflow_datasets as tfds

from albert_tf.pipelines.build_vocabulary import build_vocabulary
from albert_tf.pipelines.building import build, example_options
from albert_tf.pipelines.sources import example_files, tfds_shards
from albert_tf.pipelines.text import corpus

WORDS = "river bridge painter library station winter morning bread window letter".split()


def make_text(number):
    a, b, c = (WORDS[(number * step) % 10] for step in (1, 3, 7))
    return f"The {a} stood near the {b} in {1900 + number}.\nNobody saw the {c} again. It was gone."


def write_data_set(folder, name, texts, file_format="tfrecord", **more):
    """Writes {split: texts} with the library's own writer, seven examples a shard."""
    folder = folder / name / "1.2.0"
    folder.mkdir(parents=True)
    features = tfds.features.FeaturesDict(
        {
            "title": tfds.features.Text(),
            "text": tfds.features.Text(),
            "article": {"parts": tfds.features.Sequence(tfds.features.Text())},
        }
    )
    data_set, _, config = name.partition("/")
    identity = tfds.core.dataset_info.DatasetIdentity(
        name=data_set,
        version=tfds.core.Version("1.2.0"),
        data_dir=os.fspath(folder),
        module_name="",
        config_name=config or None,
    )
    info = tfds.core.DatasetInfo(builder=identity, features=features, description="")
    writer = tfds.core.SequentialWriter(info, max_examples_per_shard=7, file_format=file_format)
    writer.initialize_splits(list(texts))
    for split, split_texts in texts.items():
        writer.add_examples(
            {
                split: [
                    {"title": "A title", "text": text, "article": {"parts": text.split("\n")}}
                    for text in split_texts
                ]
            }
        )
    writer.close_all()
    return folder


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tensorflow_datasets")
    texts = {
        "train": [make_text(number) for number in range(40)],
        "test": [make_text(number) for number in range(40, 43)],
    }
    for file_format in ("tfrecord", "array_record"):
        write_data_set(folder, f"stories_{file_format}/short", texts, file_format)
    return folder


def read(name, data_dir, **arguments):
    report = corpus.SkippedInput()
    documents = corpus.read_documents(name, report, tfds_data_dir=str(data_dir), **arguments)
    return [document.sentences for document in documents], report


@pytest.mark.parametrize("file_format", ["tfrecord", "array_record"])
@pytest.mark.parametrize("text_field", ["text", "article/parts"])
def test_documents_are_the_examples_in_order(data_dir, file_format, text_field):
    name = f"tfds:stories_{file_format}/short"
    documents, report = read(name, data_dir, text_field=text_field)
    assert documents == [
        [*corpus.split_sentences(make_text(n).split("\n")[0])]
        + corpus.split_sentences(make_text(n).split("\n")[1])
        for n in range(40)
    ]
    assert (report.files, report.documents, report.counts) == (6, 40, {})
    files = corpus.list_input_files(name, str(data_dir))
    assert report.bytes_read == corpus.total_input_bytes(files)
    both, _ = read(f"{name}:1.2.0@test+train", data_dir, text_field=text_field)
    assert sorted(both[:3]) != sorted(documents[:3])
    assert len(both) == 43


def test_the_folder_is_the_librarys_own_unless_it_is_named(data_dir, monkeypatch):
    monkeypatch.setattr(tfds.core.constants, "DATA_DIR", str(data_dir))
    shards = tfds_shards.list_shards("tfds:stories_tfrecord/short@test")
    assert [os.path.dirname(shard) for shard in shards] == [
        str(data_dir / "stories_tfrecord" / "short" / "1.2.0")
    ]


def test_a_data_set_that_is_not_prepared_is_named_with_its_command(data_dir, tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        read("tfds:wikipedia/20230601.en", tmp_path)
    command = f"t.builder('wikipedia/20230601.en', data_dir='{tmp_path}').download_and_prepare()"
    assert command in str(caught.value)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(FileNotFoundError, match="configurations that are there: short"):
        read("tfds:stories_tfrecord", data_dir)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tfds:stories_tfrecord/short@dev", "a split of .*, which are test, train. Received"),
        ("tfds:stories_tfrecord/short@", "Expected tfds:name"),
        ("tfds:", "Expected tfds:name"),
    ],
)
def test_a_name_or_split_that_is_none_is_refused(data_dir, name, message):
    with pytest.raises(ValueError, match=message):
        read(name, data_dir)


def test_examples_without_the_feature_are_counted_with_what_they_have(data_dir):
    with pytest.raises(ValueError, match="example without text: 3.*'article/parts', 'text', 'ti"):
        read("tfds:stories_tfrecord/short@test", data_dir, text_field="body")


@pytest.mark.parametrize("file_format", ["tfrecord", "array_record"])
def test_what_stands_before_the_damage_is_used(tmp_path, file_format):
    folder = write_data_set(
        tmp_path, "stories", {"train": [make_text(n) for n in range(7)]}, file_format
    )
    (shard,) = folder.glob("*record-*")
    content = shard.read_bytes()
    shard.write_bytes(content[: len(content) - 100 if file_format == "tfrecord" else 300])
    report = corpus.SkippedInput()
    documents = list(corpus.read_file(shard, report=report))
    assert len(documents) == (6 if file_format == "tfrecord" else 0)
    assert report.counts["damaged or truncated file"] == 1
    assert report.bytes_read == shard.stat().st_size


def test_text_that_is_not_utf8_loses_its_sentence(tmp_path):
    folder = write_data_set(tmp_path, "stories", {"train": [make_text(0)]})
    (shard,) = folder.glob("*record-*")
    [(_, texts)] = example_files.read_texts(str(shard), ["text"], corpus.SkippedInput())
    assert texts == {"article/parts": None, "text": make_text(0), "title": None}
    features = {"text": tf_bytes(b"Good is this. B\xffd is that.")}
    report = corpus.SkippedInput()
    decoded = example_files._decode_texts(features, ["text"], "x", 1, report)
    assert decoded == {"text": "Good is this. B\ufffdd is that."}
    assert report.counts == {"bytes that are not UTF-8": 1}


def tf_bytes(content):
    import tensorflow as tf

    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[content]))


def test_wikipedias_headings_are_left_out(tmp_path):
    article = (
        "The old bridge was built in 1850 and still carries the road across the river.\n"
        "History\nReferences\n"
    )
    write_data_set(tmp_path, "wikipedia/20990101.xx", {"train": [article]})
    documents, report = read("tfds:wikipedia/20990101.xx", tmp_path)
    assert documents == [[article.split("\n")[0]]]
    assert report.counts == {"heading, list item or table row": 2}


def test_workers_and_tasks_leave_the_same_bytes_and_the_manifest_names_the_data(data_dir, tmp_path):
    name = "tfds:stories_tfrecord/short"
    vocabulary = tmp_path / "vocab.model"
    build_vocabulary(name, 60, vocabulary, tfds_data_dir=str(data_dir))
    options = example_options.BuildOptions(
        input=[name],
        tfds_data_dir=str(data_dir),
        vocab_model=str(vocabulary),
        output_dir=str(tmp_path / "whole"),
        format="tokens",
        num_shards=3,
        num_workers=1,
        held_out_fraction=0.1,
    )
    summary = build.build_examples(options)
    assert summary["documents"] == 40
    tasks = dataclasses.replace(options, output_dir=str(tmp_path / "tasks"), num_tasks=2)
    for task in (0, 1, 0, 1):
        assert build.build_examples(dataclasses.replace(tasks, task_index=task)) is None
    build.build_examples(dataclasses.replace(tasks, num_tasks=None))
    whole, shared = (
        {path.name: path.read_bytes() for path in (tmp_path / kind).iterdir()}
        for kind in ("whole", "tasks")
    )
    assert whole == shared
    manifest = json.loads(whole["manifest.json"])
    shards = sorted((data_dir / "stories_tfrecord" / "short" / "1.2.0").glob("*-train*"))
    assert manifest["input_files"] == [[str(path), path.stat().st_size] for path in shards]
    assert "tfds_data_dir" not in manifest["flags"]
