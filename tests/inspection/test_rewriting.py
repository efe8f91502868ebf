"""Records in other files: the same records, in the same order, or nothing."""

import json

import pytest
from samples import VOCABULARY

from albert_tf.pipelines.examples import record_files
from albert_tf.pipelines.examples.example_settings import ExampleSettings
from albert_tf.pipelines.inspection import inspection, sources
from albert_tf.pipelines.inspection.settings import InspectionSettings
from albert_tf.pretraining import records_of_run
from albert_tf.pretraining.settings import DataSettings


def rewrite(output_dir, **values):
    settings = InspectionSettings(output_dir=str(output_dir), **values)
    inspection.inspect(settings, sources.find(settings), ExampleSettings(), lambda line: None)


def read(folder, kind):
    return record_files.read_records(f"{folder}/{kind}-*.tfrecord*", 10_000)


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ({"split": 3}, [f"train-0000{n}-of-00003.tfrecord" for n in range(3)]),
        ({"split": 1}, ["train-00000-of-00001.tfrecord"]),
        ({"compress": "gzip"}, [f"train-0000{n}-of-00002.tfrecord.gz" for n in range(2)]),
        ({"split": 1, "compress": "gzip"}, ["train-00000-of-00001.tfrecord.gz"]),
    ],
)
def test_a_rewritten_folder_holds_the_same_records_and_can_be_trained_on(
    built, tmp_path, values, names
):
    folder = tmp_path / "out"
    rewrite(folder, data_dir=str(built["records"]), **values)
    assert sorted(path.name for path in folder.glob("train-*")) == names
    for kind in ("train", "held_out", "held_out_single"):
        assert read(folder, kind) == read(built["records"], kind)
    data = records_of_run.find(DataSettings(data_dir=str(folder)))
    assert data.train_examples == len(read(built["records"], "train"))
    assert (folder / "vocab.model").read_bytes() == VOCABULARY.read_bytes()


def test_split_files_have_about_equal_numbers_of_examples(built, tmp_path):
    rewrite(tmp_path / "out", data_dir=str(built["records"]), split=4)
    counts = [record_files.count_examples(str(f)) for f in (tmp_path / "out").glob("train-*")]
    assert max(counts) - min(counts) <= 1 < len(counts)


def test_compression_can_be_taken_back(built, tmp_path):
    rewrite(tmp_path / "small", data_dir=str(built["records"]), compress="gzip")
    rewrite(tmp_path / "plain", data_dir=str(tmp_path / "small"), compress="none")
    for path in built["records"].glob("*.tfrecord"):
        assert (tmp_path / "plain" / path.name).read_bytes() == path.read_bytes()
    summary = json.loads((tmp_path / "plain" / "summary.json").read_text())
    assert summary == json.loads((built["records"] / "summary.json").read_text())


def test_files_named_one_by_one_become_one_set(built, tmp_path):
    rewrite(tmp_path / "out", input=(str(built["records"] / "held_out*"),), split=1)
    assert [path.name for path in (tmp_path / "out").iterdir()] == [
        "records-00000-of-00001.tfrecord"
    ]
    expected = read(built["records"], "held_out") + read(built["records"], "held_out_single")
    assert read(tmp_path / "out", "records") == expected


def test_damaged_records_are_named_and_nothing_is_written(copies, tmp_path):
    path = sorted(copies["records"].glob("train-*"))[1]
    content = bytearray(path.read_bytes())
    content[30] ^= 1
    path.write_bytes(content)
    with pytest.raises(
        ValueError, match=f"{path.name}, record 0: corrupted .* Nothing was written"
    ):
        rewrite(tmp_path / "out", data_dir=str(copies["records"]), split=1)
    assert not [path for path in tmp_path.iterdir() if "out" in path.name]


def test_what_is_there_is_not_written_to(built, tmp_path):
    with pytest.raises(ValueError, match="`output_dir` must not exist"):
        rewrite(tmp_path, data_dir=str(built["records"]), split=1)


def test_files_of_one_name_cannot_keep_it(built, copies, tmp_path):
    patterns = tuple(str(folder / "held_out-*") for folder in (built["records"], copies["records"]))
    with pytest.raises(ValueError, match="must differ. Received: held_out-00000-of-00001"):
        rewrite(tmp_path / "out", input=patterns, compress="gzip")


def test_stored_tokens_are_refused(built, tmp_path):
    with pytest.raises(ValueError, match="must be asked of records. Received: stored tokens of"):
        rewrite(tmp_path / "out", data_dir=str(built["tokens"]), split=1)
