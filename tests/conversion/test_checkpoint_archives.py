"""Archives of checkpoints are unpacked as distributed, and refused where they lead elsewhere."""

import gzip
import io
import shutil
import tarfile

import numpy as np
import pytest
from samples import check_damage

from albert_tf.checkpoints import tensorflow_files
from albert_tf.checkpoints.stored_tensors import CheckpointError
from albert_tf.conversion import checkpoint_archives


@pytest.fixture
def prefix(tmp_path):
    prefix = tmp_path / "run" / "model.ckpt-best"
    tensorflow_files.write_tf1_checkpoint(prefix, {"table": np.arange(3)})
    return prefix


def add(tar, name, content=b"content", **attributes):
    member = tarfile.TarInfo(name)
    member.size = len(content)
    for attribute, value in attributes.items():
        setattr(member, attribute, value)
    tar.addfile(member, io.BytesIO(content))


def make_archive(path, *members, mode="w:gz"):
    """Writes an archive of a good file and then `members`: a name, or arguments of `add`."""
    with tarfile.open(path, mode) as tar:
        add(tar, "albert_base/albert_config.json")
        for member in members:
            add(tar, *(member if isinstance(member, tuple) else (member,)))
    return path


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_archive_as_distributed_is_unpacked_and_opened(tmp_path, prefix, mode):
    with tarfile.open(tmp_path / "albert_base_v2.tar.gz", mode) as tar:
        tar.add(prefix.parent, "albert_base")
        for name in ("albert_config.json", "30k-clean.model", "30k-clean.vocab", "README"):
            add(tar, f"albert_base/{name}")
        add(tar, "albert_base/._albert_config.json")
        add(tar, "./albert_base/assets/30k-clean.txt")
    archive = tmp_path / "albert_base_v2.tar.gz"
    paths = checkpoint_archives.unpack_checkpoint(archive, tmp_path / "new")
    assert [str(path.relative_to(tmp_path / "new" / "albert_base")) for path in paths] == [
        "30k-clean.model",
        "30k-clean.vocab",
        "albert_config.json",
        "assets/30k-clean.txt",
        "checkpoint",
        "model.ckpt-best.data-00000-of-00001",
        "model.ckpt-best.index",
    ]
    assert paths == sorted(path for path in (tmp_path / "new").rglob("*") if path.is_file())
    tensors = tensorflow_files.open_tf1_checkpoint(tmp_path / "new" / "albert_base")
    np.testing.assert_array_equal(tensors["table"].read(), np.arange(3))


def change_member(**attributes):
    def change(tar):
        add(tar, "albert_base/model.ckpt", b"", **attributes)

    return change


@pytest.mark.parametrize(
    "change",
    [
        lambda tar: add(tar, "/tmp/model.ckpt"),
        lambda tar: add(tar, "../model.ckpt"),
        lambda tar: add(tar, "a/../../model.ckpt"),
        lambda tar: add(tar, "/etc/other"),
        change_member(type=tarfile.SYMTYPE, linkname="/etc/hostname"),
        change_member(type=tarfile.LNKTYPE, linkname="albert_base/albert_config.json"),
        change_member(type=tarfile.FIFOTYPE),
        change_member(type=tarfile.CHRTYPE),
        change_member(type=tarfile.BLKTYPE),
        change_member(pax_headers={"GNU.sparse.major": "1", "GNU.sparse.size": "999999999"}),
        lambda tar: add(tar, "albert_base/albert_config.json"),
        lambda tar: add(tar, "albert_base/albert_config.json/model.ckpt"),
        lambda tar: add(tar, "albert_base/model.ckpt" + "x" * 300),
        lambda tar: add(tar, "other", bytes(3000)),
        lambda tar: add(tar, "x" * 2**21 + "/model.ckpt"),
        change_member(pax_headers={"size": "-512"}),
    ],
)
@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_archive_with_a_suspicious_member_is_refused_and_leaves_nothing(tmp_path, change, mode):
    archive = tmp_path / "bad.tar.gz"
    with tarfile.open(archive, mode) as tar:
        add(tar, "albert_base/albert_config.json")
        change(tar)
        add(tar, "albert_base/model.ckpt.index")
    with pytest.raises(CheckpointError, match="bad.tar.gz cannot be read as an archive"):
        checkpoint_archives.unpack_checkpoint(archive, tmp_path / "new", max_bytes=2000)
    assert [path.name for path in tmp_path.iterdir()] == ["bad.tar.gz"]


def test_archive_of_too_many_members_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint_archives, "_MOST_MEMBERS", 5)
    archive = make_archive(tmp_path / "a.tar", *(f"model.ckpt-{i}" for i in range(4)))
    checkpoint_archives.unpack_checkpoint(archive, tmp_path / "five")
    archive = make_archive(tmp_path / "a.tar", *(f"model.ckpt-{i}" for i in range(5)))
    with pytest.raises(CheckpointError, match="and 5 members"):
        checkpoint_archives.unpack_checkpoint(archive, tmp_path / "six")


def test_archive_without_a_checkpoint_is_refused(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        add(tar, "README")
    with pytest.raises(CheckpointError, match="expected files of a checkpoint"):
        checkpoint_archives.unpack_checkpoint(tmp_path / "a.tar", tmp_path / "new")


@pytest.mark.parametrize("content", [b"", b"text", b"\x1f\x8b", gzip.compress(b"text", mtime=0)])
def test_what_is_no_archive_is_named(tmp_path, content):
    (tmp_path / "a.tar.gz").write_bytes(content)
    for name in ("a.tar.gz", "absent.tar.gz"):
        with pytest.raises(CheckpointError, match=f"{name} cannot be read as an archive"):
            checkpoint_archives.unpack_checkpoint(tmp_path / name, tmp_path / "new")


def test_existing_destination_is_kept(tmp_path):
    archive = make_archive(tmp_path / "a.tar.gz")
    (tmp_path / "new").mkdir()
    with pytest.raises(FileExistsError, match="new"):
        checkpoint_archives.unpack_checkpoint(archive, tmp_path / "new")


def test_much_after_the_end_of_an_archive_is_refused(tmp_path):
    archive = make_archive(tmp_path / "a.tar", mode="w")
    content = archive.read_bytes()
    archive.write_bytes(gzip.compress(content + bytes(2**21)))
    with pytest.raises(CheckpointError, match="after it"):
        checkpoint_archives.unpack_checkpoint(archive, tmp_path / "new")


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_damaged_archives_are_unpacked_or_refused_by_name(tmp_path, prefix, mode):
    archive = tmp_path / "archives" / "a.tar.gz"
    archive.parent.mkdir()
    with tarfile.open(archive, mode) as tar:
        tar.add(prefix.parent, "albert_base")

    def read():
        try:
            checkpoint_archives.unpack_checkpoint(archive, tmp_path / "new")
        finally:
            shutil.rmtree(tmp_path / "new", ignore_errors=True)

    refused = check_damage(archive, 100, read)
    assert refused > (90 if mode == "w:gz" else 10)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["archives", "run"]
