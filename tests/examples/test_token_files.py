"""Stored tokens: what is written comes back, and what is missing or damaged is named."""

import json

import numpy as np
import pytest

from albert_tf.pipelines.examples import token_files


@pytest.mark.parametrize(("vocab_size", "dtype"), [(65_536, np.uint16), (65_537, np.int32)])
def test_documents_come_back(tmp_path, vocab_size, dtype):
    ids = np.array([5, 6, 7, vocab_size - 1, 9], np.int32)
    documents = [np.array([0, 2, 3]), np.array([3, 5])]
    token_files.write_shard(tmp_path, "train-00000-of-00001", ids, documents, vocab_size)
    folder = make_folder(tmp_path, ["train-00000-of-00001"])
    (shard,) = folder.shards("train")
    assert shard.ids.dtype == dtype
    np.testing.assert_array_equal(shard.ids, ids)
    assert [one.tolist() for one in shard.boundaries()] == [[0, 2, 3], [3, 5]]
    assert folder.shards("held_out") == []


def make_folder(path, names, **changes):
    files = [file for name in names for file in token_files.shard_files(name)]
    summary = {
        "format": "tokens",
        "token_files": {"train": names},
        "file_bytes": {name: (path / name).stat().st_size for name in files},
        "special_pieces": {},
        **changes,
    }
    (path / "summary.json").write_text(json.dumps(summary))
    return token_files.TokenFolder(path)


def test_an_empty_shard_is_a_shard(tmp_path):
    token_files.write_shard(tmp_path, "train-00000-of-00001", np.empty(0, np.int32), [], 100)
    (shard,) = make_folder(tmp_path, ["train-00000-of-00001"]).shards("train")
    assert len(shard.ids) == 0
    assert shard.boundaries() == []


@pytest.mark.parametrize("damage", ["cut", "gone", "other"])
def test_damaged_folders_are_named(tmp_path, damage):
    name = "train-00000-of-00001"
    token_files.write_shard(tmp_path, name, np.arange(9), [np.array([0, 9])], 100)
    make_folder(tmp_path, [name])
    path = tmp_path / f"{name}.ids.npy"
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-1])
    elif damage == "gone":
        path.unlink()
    else:
        path.write_bytes(b"x" * path.stat().st_size)
    with pytest.raises(ValueError, match=r"train-00000-of-00001\.ids\.npy must be"):
        token_files.TokenFolder(tmp_path).shards("train")


def test_a_folder_of_records_is_none(tmp_path):
    (tmp_path / "summary.json").write_text(json.dumps({"vocab_fingerprint": "x"}))
    assert not token_files.is_token_folder(tmp_path)
    assert not token_files.is_token_folder(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="token_files"):
        token_files.TokenFolder(tmp_path)
