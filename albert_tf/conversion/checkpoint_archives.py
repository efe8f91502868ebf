"""Archives that checkpoints are distributed in, unpacked without trusting what they announce."""

import contextlib
import gzip
import os
import pathlib
import re
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from albert_tf.checkpoints.stored_tensors import check_file, errors_name, unexpected

# A name that says more than a letter or digit at its start would hide or misdirect a file.
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_][\w.+() -]*", re.ASCII)
_WANTED_FILE = re.compile(
    r".*model\.ckpt.*|.+\.(?:json|model|vocab|spm|safetensors|h5)|vocab.*\.txt|pytorch_model.*\.bin|"
    r"checkpoint|(?:saved_model|tfhub_module)\.pb"
)
_WANTED_FOLDERS = {"variables", "assets", "tokenizer"}
_MOST_MEMBERS = 10_000
_BLOCK_BYTES = 2**20
_TAR_ERRORS = (tarfile.TarError, EOFError, OSError, ValueError, zlib.error, RecursionError)


def unpack_checkpoint(
    archive: str | os.PathLike, destination: str | os.PathLike, max_bytes: int = 8 * 2**30
) -> list[pathlib.Path]:
    """Unpacks the files of a checkpoint or SavedModel; all of them appear, or nothing.

    Weights of every kind, `*.json`, vocabularies, `variables/*`, `assets/*` and `tokenizer/*` are
    unpacked into the folders that they are in; other files are left out.

    Args:
        archive: `.tar` or `.tar.gz`.
        destination: folder that must not exist yet.
        max_bytes: of all members together.

    Returns:
        The paths of the unpacked files, in order.

    Raises:
        FileExistsError: if `destination` is there already.
        CheckpointError: if the archive is damaged, holds none of these files or more than
            `max_bytes`, or has a member that leads elsewhere or is no file or folder.
    """
    destination = pathlib.Path(destination)
    if destination.exists():
        raise FileExistsError(f"{destination} exists already")
    destination.parent.mkdir(parents=True, exist_ok=True)
    partial = tempfile.TemporaryDirectory(prefix=f".{destination.name}.", dir=destination.parent)
    with partial, errors_name(archive, "an archive of a checkpoint", _TAR_ERRORS):
        content = pathlib.Path(partial.name) / "content"
        content.mkdir()
        with _open_tar(archive) as tar:
            paths = [_extract(tar, member, content) for member in _wanted_members(tar, max_bytes)]
        if not paths:
            raise unexpected("files of a checkpoint", "none")
        os.rename(content, destination)
    return sorted(destination / path for path in paths)


class _BoundedReads:
    """A file whose reads are bounded, because tarfile reads a header as large as it announces."""

    def __init__(self, file: BinaryIO | gzip.GzipFile):
        self._file = file
        self.seek = file.seek
        self.tell = file.tell

    def read(self, size: int) -> bytes:
        if not 0 <= size <= _BLOCK_BYTES:
            raise tarfile.ReadError(f"a header announces {size} bytes")
        return self._file.read(size)


@contextlib.contextmanager
def _open_tar(archive: str | os.PathLike) -> Iterator[tarfile.TarFile]:
    check_file(archive)
    with open(archive, "rb") as file:
        is_compressed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        with (
            gzip.GzipFile(fileobj=file) if is_compressed else file as content,
            tarfile.open(fileobj=_BoundedReads(content), mode="r:") as tar,
        ):
            yield tar
            # The checksum of gzip comes after the end of the archive.
            rest = 0
            while block := content.read(_BLOCK_BYTES):
                rest += len(block)
                if rest > _BLOCK_BYTES:
                    raise unexpected("the end of the archive", "more than a mebibyte after it")


def _wanted_members(tar: tarfile.TarFile, max_bytes: int) -> Iterator[tarfile.TarInfo]:
    """Yields the members to unpack, having checked all that come before them."""
    total = 0
    for number, member in enumerate(tar, 1):
        path = pathlib.PurePosixPath(member.name)
        is_plain = (member.isreg() and not member.issparse()) or member.isdir()
        if not is_plain or path.is_absolute() or ".." in path.parts:
            raise unexpected("files and folders below the archive's own", repr(member.name))
        total += member.size
        if member.size < 0 or total > max_bytes or number > _MOST_MEMBERS:
            raise unexpected(
                f"at most {max_bytes} bytes and {_MOST_MEMBERS} members",
                f"{total} bytes up to {member.name!r}, number {number}",
            )
        is_wanted = _WANTED_FILE.fullmatch(path.name) or path.parent.name in _WANTED_FOLDERS
        if member.isreg() and is_wanted and all(map(_PLAIN_NAME.fullmatch, path.parts)):
            yield member


def _extract(
    tar: tarfile.TarFile, member: tarfile.TarInfo, folder: pathlib.Path
) -> pathlib.PurePosixPath:
    """Writes one member below `folder`; returns its relative path."""
    path = pathlib.PurePosixPath(member.name)
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    size = 0
    with tar.extractfile(member) as source, open(folder / path, "xb") as target:
        while block := source.read(_BLOCK_BYTES):
            size += target.write(block)
    if size != member.size:
        raise unexpected(f"{member.size} bytes of {member.name!r}", size)
    return path
