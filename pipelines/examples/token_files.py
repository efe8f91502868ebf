"""Stored tokens: every document of a corpus once, as ids, from which examples are made on the way.

    FOLDER/train-00000-of-00004.ids.npy         uint16, or int32 for large vocabularies, [T]
    FOLDER/train-00000-of-00004.sentences.npy   uint32 [S]: where each sentence ends in the ids
    FOLDER/train-00000-of-00004.documents.npy   uint32 [D]: how many sentences end with each
    FOLDER/held_out-...                         likewise, of documents that training never sees
    FOLDER/word_starts.npy                      bool [V]: whether a piece may start a word
    FOLDER/vocab.model, summary.json

The files are NumPy's own and are mapped into memory, so any part is read when it is needed, in any
process. A document lies in one shard.
"""

import dataclasses
import errno
import functools
import hashlib
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from albert_tf import json_files, whole_files
from albert_tf.pipelines.examples.masking import PieceTable

SUMMARY_FILE = "summary.json"
WORD_STARTS_FILE = "word_starts.npy"
FORMAT = "tokens"
ARRAYS = ("ids", "sentences", "documents")
_SPECIAL_PIECES = ("pad_id", "unk_id", "cls_id", "sep_id", "mask_id")


def ids_dtype(vocab_size: int) -> np.dtype:
    """Returns the type of stored ids."""
    return np.dtype(np.uint16 if vocab_size <= 1 << 16 else np.int32)


def shard_name(kind: str, number: int, num_shards: int) -> str:
    """Returns the name of a shard, "train-00003-of-00010"; its files have suffixes."""
    return f"{kind}-{number:05d}-of-{num_shards:05d}"


def shard_files(name: str) -> list[str]:
    """Returns the names of the files of a shard."""
    return [f"{name}.{array}.npy" for array in ARRAYS]


def write_shard(
    folder: str | os.PathLike,
    name: str,
    ids: np.ndarray,
    documents: Sequence[np.ndarray],
    vocab_size: int,
) -> None:
    """Writes the documents of a shard; each of its files appears whole or not at all.

    Args:
        folder, name: of the shard.
        ids: int [T], of all documents end to end.
        documents: per document, int [sentences + 1], where its sentences begin, and its end.
        vocab_size: V.

    Raises:
        ValueError: if a shard has 2 ** 32 tokens or more.
    """
    if len(ids) >= 1 << 32:
        raise ValueError(f"a shard must have less than 2**32 tokens. Received: {len(ids)}")
    ends = [boundaries[1:] for boundaries in documents]
    arrays = {
        "ids": ids.astype(ids_dtype(vocab_size)),
        "sentences": np.concatenate([np.empty(0, np.int64), *ends]).astype(np.uint32),
        "documents": np.cumsum([len(one) for one in ends], dtype=np.uint32),
    }
    for array, values in arrays.items():
        whole_files.write_array(pathlib.Path(folder) / f"{name}.{array}.npy", values)


def write_word_starts(folder: str | os.PathLike, pieces: PieceTable) -> dict[str, int]:
    """Writes what masking must know of the vocabulary; returns what the summary holds of it."""
    whole_files.write_array(pathlib.Path(folder) / WORD_STARTS_FILE, pieces.word_start)
    return {name: int(getattr(pieces, name)) for name in _SPECIAL_PIECES}


@dataclasses.dataclass(frozen=True)
class TokenShard:
    """The documents of a shard.

    Attributes:
        ids: [T].
        sentences: [S], where each sentence ends.
        documents: [D], how many sentences end with each document and those before it.
    """

    ids: np.ndarray
    sentences: np.ndarray
    documents: np.ndarray

    @functools.cached_property
    def sentence_bounds(self) -> np.ndarray:
        """Int64 [S + 1]: 0, and where each sentence ends."""
        return np.concatenate([[0], self.sentences]).astype(np.int64)

    @functools.cached_property
    def document_bounds(self) -> np.ndarray:
        """Int64 [D + 1]: the sentence that each document begins with, and S."""
        return np.concatenate([[0], self.documents]).astype(np.int64)

    def boundaries(self) -> list[np.ndarray]:
        """Returns per document int64 [sentences + 1], where its sentences begin, and its end."""
        bounds, first = self.sentence_bounds, self.document_bounds
        return [bounds[a : b + 1] for a, b in zip(first[:-1], first[1:], strict=True)]


class TokenFolder:
    """A folder of stored tokens, as its summary describes it.

    Attributes:
        folder: its path.
        summary: the content of summary.json.
        left_out: {training shard that is damaged: why}.

    Args:
        folder: its path.
        skip_damaged: whether to leave out damaged training shards.

    Raises:
        ValueError: naming what is missing, of another size or not stored tokens.
    """

    def __init__(self, folder: str | os.PathLike, skip_damaged: bool = False):
        self.folder = pathlib.Path(folder)
        path = self.folder / SUMMARY_FILE
        if not path.is_file():
            raise ValueError(
                f"{self.folder} must hold what build_pretraining_data leaves when it is done. "
                f"Received: no {SUMMARY_FILE}"
            )
        fields = {"token_files": dict, "file_bytes": dict, "special_pieces": dict}
        self.summary: dict[str, Any] = json_files.read_object(path, fields)
        wrong = find_wrong_files(self.folder, self.summary)
        self.left_out = self._find_damaged_shards(wrong) if skip_damaged else {}
        ignored = {file for name in self.left_out for file in shard_files(name)}
        for name, problem in wrong.items():
            if name not in ignored:
                raise ValueError(
                    f"{problem}. Restore it, or remove it and build_pretraining_data makes it again"
                )

    def _find_damaged_shards(self, wrong: Mapping[str, str]) -> dict[str, str]:
        damaged = {}
        for name in self.summary["token_files"].get("train", []):
            problems = [wrong[file] for file in shard_files(name) if file in wrong]
            try:
                if not problems:
                    self._open(name)
            except ValueError as error:
                problems = [str(error)]
            if problems:
                damaged[name] = problems[0]
        return damaged

    @functools.cached_property
    def pieces(self) -> PieceTable:
        """What masking must know of the vocabulary."""
        special = {name: self.summary["special_pieces"][name] for name in _SPECIAL_PIECES}
        return PieceTable(np.load(self.folder / WORD_STARTS_FILE), **special)

    def locate_damage(self) -> str | None:
        """Reads all files; returns a sentence about the first that is not as it was built."""
        ignored = {file for name in self.left_out for file in shard_files(name)}
        for name, checksum in self.summary.get("file_checksums", {}).items():
            there = checksum if name in ignored else describe_file(self.folder / name)[1]
            if there != checksum:
                path = self.folder / name
                return f"{path} must have the checksum {checksum}. Received: {there}"
        return None

    def shards(self, kind: str) -> list[TokenShard]:
        """Returns the shards of "train" or "held_out", mapped into memory.

        Raises:
            ValueError: naming a file that is none of NumPy's, or whose ends cannot be.
        """
        names = self.summary["token_files"].get(kind, [])
        return [self._open(name) for name in names if name not in self.left_out]

    def _open(self, name: str) -> TokenShard:
        shard = open_shard(self.folder, name)
        for array, problem in find_wrong_ends(shard):
            raise ValueError(f"{self.folder / name}.{array}.npy must hold {problem}")
        return shard


def describe_file(path: str | os.PathLike) -> list:
    """Returns [bytes, BLAKE2b-128 in hexadecimal] of a file."""
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16))
    return [os.path.getsize(path), digest.hexdigest()]


def find_wrong_files(folder: str | os.PathLike, summary: Mapping[str, Any]) -> dict[str, str]:
    """Looks once at each file that a summary lists; returns {name: how its size differs}."""
    folder, problems = pathlib.Path(folder), {}
    with os.scandir(folder) as entries:
        sizes = {entry.name: entry.stat().st_size for entry in entries if entry.is_file()}
    for name, size in summary["file_bytes"].items():
        if sizes.get(name) != size:
            there = f"{sizes[name]:,} bytes" if name in sizes else "no such file"
            problems[name] = (
                f"{folder / name} must be a file of {size:,} bytes, as {SUMMARY_FILE} says. "
                f"Received: {there}"
            )
    return problems


def open_shard(folder: str | os.PathLike, name: str) -> TokenShard:
    """Returns a shard, mapped into memory.

    Raises:
        ValueError: naming a file that is none of NumPy's.
    """
    arrays = {}
    for array, file in zip(ARRAYS, shard_files(name), strict=True):
        path = pathlib.Path(folder) / file
        try:
            # Nothing in a file is executed; an empty one cannot be mapped.
            mode = "r" if os.path.getsize(path) > 128 else None
            arrays[array] = np.load(path, mmap_mode=mode, allow_pickle=False)
        except (ValueError, EOFError) as error:  # whose text is of pickles
            raise ValueError(
                f"{path} must be an array of NumPy. Received: another file, or a damaged one"
            ) from error
        except OSError as error:
            if error.errno == errno.EMFILE:  # no damage; `ulimit -n` allows more
                raise
            raise ValueError(f"{path} must be an array of NumPy. Received: {error}") from error
    return TokenShard(**arrays)


def find_wrong_ends(shard: TokenShard) -> Iterator[tuple[str, str]]:
    """Yields "sentences" or "documents" whose ends do not ascend to the last, and what is wrong."""
    for array, of in (("sentences", "ids"), ("documents", "sentences")):
        ends, length = getattr(shard, array), len(getattr(shard, of))
        wrong = np.flatnonzero(ends[1:] < ends[:-1])
        if len(wrong):
            at = int(wrong[0]) + 1
            yield array, f"ascending ends. Received: {ends[at]} after {ends[at - 1]} at {at:,}"
        last = int(ends[-1]) if len(ends) else 0
        if last != length:
            yield array, f"ends up to the {length:,} {of}. Received: {last:,}"


def is_token_folder(folder: str | os.PathLike) -> bool:
    """Returns whether a folder's summary says that it holds stored tokens."""
    path = pathlib.Path(folder) / SUMMARY_FILE
    return path.is_file() and json_files.read_object(path).get("format") == FORMAT
