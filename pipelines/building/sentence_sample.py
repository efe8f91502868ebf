"""A uniform sample of a corpus's sentences, drawn by any number of processes.

Every sentence gets a random number, by the seed, its group of files and its place there. The sample
is the sentences with the smallest numbers, so parts are drawn by themselves and the result is the
same for any number of processes. What is certainly too large is not kept: once as many sentences
as the sample holds were read, the largest number among them is a bound for all later groups.
"""

import dataclasses
import itertools
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from albert_tf import whole_files
from albert_tf.pipelines.building import tokenized_corpus, worker_pool
from albert_tf.pipelines.text import corpus

_NO_BOUND = np.uint64((1 << 64) - 1)
_SENTENCES_BETWEEN_LOOKS = 100_000


@dataclasses.dataclass
class TextCounts:
    """How much text was read: documents, sentences, and bytes of UTF-8 with line ends."""

    documents: int = 0
    sentences: int = 0
    text_bytes: int = 0

    def add(self, other: "TextCounts") -> None:
        """Adds those of another part of the text."""
        self.documents += other.documents
        self.sentences += other.sentences
        self.text_bytes += other.text_bytes


class SentenceSample:
    """Sentences in files of a folder that goes when the sample is closed; a context manager.

    Attributes:
        counts: `TextCounts` of the whole text.
        report: what was read and left out.
        size: sentences of the sample.
    """

    def __init__(self, max_sentences: int):
        self.counts = TextCounts()
        self.report = corpus.SkippedInput()
        self._max_sentences = max_sentences
        self._folder = tempfile.TemporaryDirectory(prefix="albert_tf-sentences-")
        self._keys = np.empty(0, np.uint64)  # the smallest so far
        self._reports: dict[int, corpus.SkippedInput] = {}

    def __enter__(self) -> "SentenceSample":
        return self

    def __exit__(self, *error: object) -> None:
        self._folder.cleanup()

    @property
    def size(self) -> int:
        """Returns how many sentences it holds."""
        return len(self._keys)

    def read(
        self,
        files: Sequence[str],
        reading: Mapping[str, str],
        max_sentence_bytes: int,
        seed: int,
        num_workers: int,
        on_progress: Callable[[TextCounts], None],
    ) -> None:
        """Reads all files and keeps the sample.

        Args:
            files: as `corpus.list_input_files` returns them.
            reading: layout, text_field and encoding, see `corpus.read_documents`.
            max_sentence_bytes: longer sentences are cut.
            seed: of the sample.
            num_workers: processes that read, at most one a group of files.
            on_progress: called with `counts` now and then.

        Raises:
            ValueError: there is no usable text in the files.
            ChildProcessError: a process was killed.
        """
        groups = tokenized_corpus.group_files(files, reading)

        def add(index: int, counts: TextCounts, report: corpus.SkippedInput | None) -> None:
            self.counts.add(counts)
            if report is not None:  # the group is done
                self._reports[index] = report
                self._add_keys(np.load(_group_file(self._folder.name, "keys", index)))
            on_progress(self.counts)

        tasks = (
            (index, group, reading, max_sentence_bytes, seed, self._max_sentences)
            + (self._folder.name,)
            for index, group in enumerate(groups)
        )
        with worker_pool.WorkerPool(min(num_workers, len(groups))) as pool:
            pool.run(sample_group, tasks, add)
        for index in sorted(self._reports):
            self.report.merge(self._reports[index])
        self.report.log_layouts()
        if not self.counts.sentences:
            raise corpus.no_text_error(files, self.report)

    def _add_keys(self, keys: np.ndarray) -> None:
        keys = np.concatenate([self._keys, keys])
        largest = _largest_of_sample(keys, self._max_sentences)
        if largest < _NO_BOUND:
            keys = keys[keys <= largest]
            whole_files.write_bytes(_bound_file(self._folder.name), largest.tobytes())
        self._keys = keys

    def sentences(self) -> Iterator[str]:
        """Yields the sample from the end of the text to its beginning, a group in memory."""
        bound = self._keys.max()
        for index in sorted(self._reports, reverse=True):
            keys = np.load(_group_file(self._folder.name, "keys", index))
            is_chosen = (keys <= bound).tolist()
            path = _group_file(self._folder.name, "sentences", index)
            with open(path, encoding="utf-8", newline="\n") as file:
                chosen = [line[:-1] for line in itertools.compress(file, is_chosen)]
            yield from reversed(chosen)


def sample_group(
    index: int,
    parts: Sequence[corpus.FilePart],
    reading: Mapping[str, str],
    max_sentence_bytes: int,
    seed: int,
    max_sentences: int,
    folder: str,
    advance: Callable[[int, TextCounts, corpus.SkippedInput | None], None],
) -> None:
    """Writes numbers and sentences of a group of files that the sample may hold.

    Args:
        index: number of the group; its numbers are drawn by it and the seed.
        parts: of files, in order.
        reading, max_sentence_bytes, seed: see `SentenceSample.read`.
        max_sentences: of the whole sample.
        folder: where the files are written, and where the bound lies.
        advance: called with (index, counts since the last call, None) now and then, and with the
            report of the group in place of None when its files are complete.
    """
    generator = np.random.default_rng([seed, index])
    bound, keys = _read_bound(folder), np.empty(0, np.uint64)
    counts, report, new_keys = TextCounts(), corpus.SkippedInput(), []
    with open(_group_file(folder, "sentences", index), "w", encoding="utf-8", newline="\n") as file:
        for document in _read_parts(parts, reading, report):
            sentences = [
                # The trainer takes NUL for the end of the text, line breaks for two sentences.
                piece.replace("\0", "").replace("\n", " ")
                for sentence in document.sentences
                for piece in corpus.cut_to_bytes(sentence, max_sentence_bytes)
            ]
            counts.documents += 1
            counts.sentences += len(sentences)
            counts.text_bytes += sum(len(line.encode("utf-8")) + 1 for line in sentences)
            drawn = generator.integers(0, 1 << 64, len(sentences), np.uint64)
            kept = np.flatnonzero(drawn <= bound)
            file.writelines(f"{sentences[position]}\n" for position in kept.tolist())
            new_keys.append(drawn[kept])
            if counts.sentences >= _SENTENCES_BETWEEN_LOOKS:
                keys, new_keys = np.concatenate([keys, *new_keys]), []
                bound = min(_read_bound(folder), _largest_of_sample(keys, max_sentences))
                advance(index, counts, None)
                counts = TextCounts()
    keys = np.concatenate([keys, *new_keys])
    whole_files.write_array(_group_file(folder, "keys", index), keys)
    advance(index, counts, report)


def _read_parts(
    parts: Sequence[corpus.FilePart], reading: Mapping[str, str], report: corpus.SkippedInput
) -> Iterator[corpus.Document]:
    for part in parts:
        yield from corpus.read_file(part.path, report=report, part=part, **reading)


def _largest_of_sample(keys: np.ndarray, max_sentences: int) -> np.uint64:
    """Returns the largest number of a sample of what was read, or of all where it is smaller."""
    if len(keys) < max_sentences:
        return _NO_BOUND
    return np.partition(keys, max_sentences - 1)[max_sentences - 1]


def _group_file(folder: str, kind: str, index: int) -> str:
    return os.path.join(folder, f"{kind}-{index:06d}" + (".npy" if kind == "keys" else ".txt"))


def _bound_file(folder: str) -> str:
    return os.path.join(folder, "bound")


def _read_bound(folder: str) -> np.uint64:
    """Returns the largest number that a sentence of the sample may have, as far as is known."""
    try:
        with open(_bound_file(folder), "rb") as file:
            return np.frombuffer(file.read(), np.uint64)[0]
    except FileNotFoundError:
        return _NO_BOUND
