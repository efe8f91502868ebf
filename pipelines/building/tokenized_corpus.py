"""Text files -> ids on disk, so that documents can be dealt to shards without rereading any text.

Input files are tokenized in groups. A group leaves three files in the work folder: the ids of all
its sentences end to end, the length of each sentence, and a table of its documents. The table is
renamed into place last, so a group whose table exists is complete and is never done twice.
"""

from __future__ import annotations

import dataclasses
import functools
import glob
import hashlib
import json
import os
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from albert_tf import quiet_tensorflow, whole_files
from albert_tf.pipelines.building import text_signatures
from albert_tf.pipelines.examples import token_files
from albert_tf.pipelines.text import corpus

if typing.TYPE_CHECKING:
    from albert_tf.pipelines.tokenizer.tokenization import Tokenizer

# A group is what one worker does at a time; small files share one.
_GROUP_BYTES = 8 << 20
# Characters given to the tokenizer at once: enough to be fast, little enough for memory.
_BATCH_CHARACTERS = 1 << 20
# Which duplicates are to be found among the documents.
DUPLICATES = ("none", "exact", "near")


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """Where the vocabulary lies and how it is to be read; arguments of `Tokenizer`."""

    model_file: str
    lower_case: bool | None = None
    strip_accents: bool | None = None

    def load(self) -> Tokenizer:
        """Returns the `Tokenizer`; one a process."""
        return _load_tokenizer(self)


@functools.lru_cache(maxsize=1)
def _load_tokenizer(vocabulary: Vocabulary) -> Tokenizer:
    quiet_tensorflow.load_for_command()  # here, since the parent process does without
    from albert_tf.pipelines.tokenizer import tokenization

    return tokenization.Tokenizer(
        vocabulary.model_file,
        lower_case=vocabulary.lower_case,
        strip_accents=vocabulary.strip_accents,
    )


def group_files(files: Sequence[str], reading: Mapping[str, str]) -> list[list[corpus.FilePart]]:
    """Splits files into runs of about 8 MB, a larger file, or each part of one, by itself."""
    layout, encoding = reading["layout"], reading["encoding"]
    groups, group_bytes = [], 0
    for file in files:
        for part in corpus.cut_file(file, layout, encoding):
            size = part.end - part.begin
            if not groups or group_bytes + size > _GROUP_BYTES:
                groups.append([])
                group_bytes = 0
            groups[-1].append(part)
            group_bytes += size
    return groups


@dataclasses.dataclass(frozen=True)
class DocumentTable:
    """The documents of one or more groups.

    Attributes:
        token_counts, sentence_counts: int64 [documents].
        text_hashes: uint64 [documents], equal for equal text.
        text_bytes: int64 [documents], UTF-8.
    """

    token_counts: np.ndarray
    sentence_counts: np.ndarray
    text_hashes: np.ndarray
    text_bytes: np.ndarray


def tokenize_group(
    index: int,
    parts: Sequence[corpus.FilePart],
    reading: Mapping[str, str],
    vocabulary: Vocabulary,
    work_dir: str,
    duplicates: str,
    advance: Callable[[int, int], None],
) -> None:
    """Tokenizes the documents of some files into the work folder.

    Args:
        index: number of the group, part of its files' names.
        parts: of text files, in order.
        reading: layout, text_field and encoding, see `corpus.read_documents`.
        vocabulary: the tokenizer.
        work_dir: folder that exists.
        duplicates: of `DUPLICATES`; what it takes to find and to name them is kept.
        advance: called with (bytes read from disk, documents finished) now and then.
    """
    tokenizer = vocabulary.load()
    report = corpus.SkippedInput()
    tables, extras = [], []
    names = [_work_file(work_dir, kind, index) for kind in ("ids", "sentences")]
    with (
        whole_files.whole_file(names[0], "wb") as ids_file,
        whole_files.whole_file(names[1], "wb") as sentences_file,
    ):
        for batch in _batch_documents(_read_parts(parts, reading, report, advance)):
            ids, lengths, table, sources = _tokenize_batch(batch, tokenizer)
            ids_file.write(ids.astype(token_files.ids_dtype(tokenizer.vocab_size)).tobytes())
            sentences_file.write(lengths.astype(np.int32).tobytes())
            tables.append(table)
            extras.append(_describe_for_duplicates(ids, table, sources, tokenizer, duplicates))
            advance(0, len(batch))
    columns = {
        name: np.concatenate([extra[name] for extra in extras])
        for name in (extras[0] if extras else ())
    }
    if columns:
        columns["parts"] = json.dumps([[part.path, part.begin] for part in parts])
    _save_table(work_dir, index, tables, report, columns)


def _work_file(work_dir: str, kind: str, index: int) -> str:
    # With "-" they were of whole files: what a build of then has begun is not taken for ours.
    return os.path.join(work_dir, f"{kind}.{index:05d}")


def group_is_done(work_dir: str, index: int) -> bool:
    """Returns whether a group's work files are complete."""
    return os.path.exists(_work_file(work_dir, "documents", index) + ".npz")


def has_work(work_dir: str) -> bool:
    """Returns whether the text of any group is kept there."""
    return bool(glob.glob(glob.escape(os.path.join(work_dir, "documents.")) + "*.npz"))


def _read_parts(
    parts: Sequence[corpus.FilePart],
    reading: Mapping[str, str],
    report: corpus.SkippedInput,
    advance: Callable[[int, int], None],
) -> Iterator[tuple[int, corpus.Document]]:
    """Yields (number of the part, document)."""
    for number, part in enumerate(parts):
        for document in corpus.read_file(
            part.path, report=report, on_bytes=lambda size: advance(size, 0), part=part, **reading
        ):
            yield number, document


def _batch_documents(
    documents: Iterable[tuple[int, corpus.Document]],
) -> Iterator[list[tuple[int, corpus.Document]]]:
    batch, characters = [], 0
    for number, document in documents:
        batch.append((number, document))
        characters += sum(map(len, document.sentences))
        if characters >= _BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def _tokenize_batch(
    batch: list[tuple[int, corpus.Document]], tokenizer: Tokenizer
) -> tuple[np.ndarray, np.ndarray, DocumentTable, np.ndarray]:
    """Returns (ids of all sentences, length of each sentence, table, sources of the documents).

    Sentences without a single piece, and then documents without sentences, are left out. Sources
    are int64 [documents, 2]: number of the part, line in it.
    """
    documents = [document.sentences for _, document in batch]
    ids, row_splits = tokenizer.encode_flat([sentence for one in documents for sentence in one])
    lengths = np.diff(row_splits)
    document_of = np.repeat(np.arange(len(batch)), [len(document) for document in documents])
    has_pieces = lengths > 0
    token_counts = np.bincount(document_of, lengths, len(batch)).astype(np.int64)
    sentence_counts = np.bincount(document_of[has_pieces], minlength=len(batch)).astype(np.int64)
    texts = ["\n".join(document).encode("utf-8", "replace") for document in documents]
    hashes = [hashlib.blake2b(text, digest_size=8).digest() for text in texts]
    has_tokens = token_counts > 0
    table = DocumentTable(
        token_counts[has_tokens],
        sentence_counts[has_tokens],
        np.frombuffer(b"".join(hashes), "<u8")[has_tokens],
        np.array([len(text) for text in texts], np.int64)[has_tokens],
    )
    lines = [int(document.source.rpartition(":")[2]) for _, document in batch]
    sources = np.stack([[number for number, _ in batch], lines], axis=1)[has_tokens]
    return np.asarray(ids), lengths[has_pieces], table, sources


def _describe_for_duplicates(
    ids: np.ndarray,
    table: DocumentTable,
    sources: np.ndarray,
    tokenizer: Tokenizer,
    duplicates: str,
) -> dict[str, np.ndarray]:
    """Returns further columns of a table: sources, and to find near duplicates also signatures."""
    if duplicates == "none":
        return {}
    columns = {"sources": sources}
    if duplicates == "near":
        columns["signatures"] = text_signatures.sign_documents(
            ids, table.token_counts, tokenizer.word_start
        )
    return columns


def _join_tables(tables: Sequence[DocumentTable]) -> DocumentTable:
    columns = {}
    for field in dataclasses.fields(DocumentTable):
        dtype = np.uint64 if field.name == "text_hashes" else np.int64
        parts = [getattr(table, field.name) for table in tables]
        columns[field.name] = np.concatenate([np.empty(0, dtype), *parts])
    return DocumentTable(**columns)


def _save_table(
    work_dir: str,
    index: int,
    tables: Sequence[DocumentTable],
    report: corpus.SkippedInput,
    more_columns: Mapping[str, Any],
) -> None:
    columns = dataclasses.asdict(_join_tables(tables)) | more_columns
    path = _work_file(work_dir, "documents", index) + ".npz"
    with whole_files.whole_file(path, "wb") as file:
        np.savez(file, report=json.dumps(report.to_dict()), **columns)


def load_table(
    work_dir: str, num_groups: int
) -> tuple[DocumentTable, np.ndarray, corpus.SkippedInput]:
    """Loads the documents of all groups.

    Returns:
        The table; int64 [documents, 5] that `read_documents` takes: group, first token, tokens,
        first sentence, sentences; and the merged `corpus.SkippedInput`.
    """
    tables, places, report = [], [], corpus.SkippedInput()
    for index in range(num_groups):
        with np.load(_work_file(work_dir, "documents", index) + ".npz") as saved:
            names = [field.name for field in dataclasses.fields(DocumentTable)]
            table = DocumentTable(**{name: saved[name] for name in names})
            report.merge(_restore_report(json.loads(str(saved["report"]))))
        tables.append(table)
        tokens, sentences = table.token_counts, table.sentence_counts
        group = np.full(len(tokens), index)
        first_tokens, first_sentences = tokens.cumsum() - tokens, sentences.cumsum() - sentences
        places.append(np.stack([group, first_tokens, tokens, first_sentences, sentences], axis=1))
    return _join_tables(tables), np.concatenate([np.empty((0, 5), np.int64), *places]), report


def load_signatures(work_dir: str, places: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Loads what `text_signatures` compares.

    Args:
        work_dir, places: see `load_table`.
        wanted: bool [documents].

    Returns:
        uint8 [documents that are wanted, values].
    """
    signatures = np.empty((np.count_nonzero(wanted), text_signatures.VALUES), np.uint8)
    row = 0
    for saved, rows in _read_columns(work_dir, places, wanted):
        part = saved["signatures"][rows]
        signatures[row : row + len(part)] = part
        row += len(part)
    return signatures


def load_sources(work_dir: str, places: np.ndarray, wanted: np.ndarray) -> list[str]:
    """Returns "path:line", where each document begins; arguments as of `load_signatures`.

    In a later part of a huge file lines are counted from where the part begins.
    """
    sources = []
    for saved, rows in _read_columns(work_dir, places, wanted):
        parts = json.loads(str(saved["parts"]))
        for number, line in saved["sources"][rows].tolist():
            path, begin = parts[number]
            sources.append(f"{path}:{line}" + (f" from byte {begin}" if begin else ""))
    return sources


def _read_columns(
    work_dir: str, places: np.ndarray, wanted: np.ndarray
) -> Iterator[tuple[Mapping[str, np.ndarray], np.ndarray]]:
    """Yields for each group in order (its table on disk, bool [its documents])."""
    for group in np.unique(places[wanted, 0]).tolist():
        with np.load(_work_file(work_dir, "documents", group) + ".npz") as saved:
            yield saved, wanted[places[:, 0] == group]


def cut_long_documents(
    work_dir: str, table: DocumentTable, places: np.ndarray, max_sentences: int
) -> tuple[DocumentTable, np.ndarray]:
    """Cuts documents of more than `max_sentences` into parts of so many sentences.

    Args:
        work_dir, table, places: see `load_table`.
        max_sentences: of a part.

    Returns:
        The table and the places of all parts, in order; equal documents have equal parts.
    """
    rows, columns = [], {field.name: [] for field in dataclasses.fields(DocumentTable)}
    for place, text_hash, size in zip(places, table.text_hashes, table.text_bytes, strict=True):
        group, token, tokens, sentence, sentences = map(int, place)
        starts = range(0, sentences, max_sentences)
        lengths = np.array([tokens])
        if len(starts) > 1:
            with open(_work_file(work_dir, "sentences", group), "rb") as file:
                file.seek(sentence * 4)
                lengths = np.add.reduceat(np.fromfile(file, np.int32, sentences), starts)
        for number, (start, length) in enumerate(zip(starts, lengths.tolist(), strict=True)):
            count = min(max_sentences, sentences - start)
            rows.append([group, token, length, sentence + start, count])
            token += length
            part = hashlib.blake2b(f"{text_hash} {number}".encode(), digest_size=8).digest()
            columns["text_hashes"].append(int.from_bytes(part, "little") if number else text_hash)
            columns["token_counts"].append(length)
            columns["sentence_counts"].append(count)
            columns["text_bytes"].append(int(size) * length // max(tokens, 1))
    dtypes = {name: getattr(table, name).dtype for name in columns}
    table = DocumentTable(**{n: np.array(values, dtypes[n]) for n, values in columns.items()})
    return table, np.array(rows, np.int64).reshape(-1, 5)


def _restore_report(values: dict[str, Any]) -> corpus.SkippedInput:
    report = corpus.SkippedInput()
    for name in ("files", "bytes_read", "documents", "sentences"):
        setattr(report, name, values[name])
    report.documents_cut = values.get("documents_cut", 0)  # which was not counted at first
    report.encodings.update(values["encodings"])
    report.layouts.update(values.get("layouts", {}))
    report.counts.update(values["skipped"])
    report.entries.extend(values["skipped_examples"])
    return report


def read_documents(
    work_dir: str, places: np.ndarray, vocab_size: int
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Reads documents back.

    Args:
        work_dir: the work folder.
        places: int64 [documents, 5], rows of `load_table`, ascending.
        vocab_size: V.

    Returns:
        int32 [T]: the ids of all of them end to end; and per document int64 [sentences + 1]: where
        in the ids each of its sentences begins, and where the last one ends.
    """
    dtype = token_files.ids_dtype(vocab_size)
    ids = np.empty(places[:, 2].sum(), np.int32)
    lengths = np.empty(places[:, 4].sum(), np.int64)
    first_id = first_length = 0
    for group in np.unique(places[:, 0]).tolist():
        with (
            open(_work_file(work_dir, "ids", group), "rb") as ids_file,
            open(_work_file(work_dir, "sentences", group), "rb") as sentences_file,
        ):
            for _, token, tokens, sentence, sentences in places[places[:, 0] == group].tolist():
                ids_file.seek(token * dtype.itemsize)
                ids[first_id : first_id + tokens] = np.fromfile(ids_file, dtype, tokens)
                sentences_file.seek(sentence * 4)
                lengths[first_length : first_length + sentences] = np.fromfile(
                    sentences_file, np.int32, sentences
                )
                first_id += tokens
                first_length += sentences
    ends = np.concatenate([[0], np.cumsum(lengths)])
    last = np.cumsum(places[:, 4])
    documents = [
        ends[begin : end + 1]
        for begin, end in zip((last - places[:, 4]).tolist(), last.tolist(), strict=True)
    ]
    return ids, documents
