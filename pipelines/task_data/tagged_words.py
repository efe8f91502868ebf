"""Files of the CoNLL kind, one word and its tag a line -> one label a word.

N rows, T tokens of all rows together.
"""

import dataclasses
import os
import re
from collections.abc import Sequence

import numpy as np

from albert_tf.pipelines.encoders.words import encode_words
from albert_tf.pipelines.sources import compressed_files
from albert_tf.pipelines.task_data import line_files, tabular
from albert_tf.pipelines.task_data.encoded_examples import EncodedExamples, join_column
from albert_tf.pipelines.task_data.input_problems import InputError, InputProblems
from albert_tf.pipelines.tokenizer.arrays import encode_to_arrays, string_tensor
from albert_tf.pipelines.tokenizer.tokenization import Tokenizer

_DOCUMENT_START = "-DOCSTART-"
_SENTENCES_AT_A_TIME = 4096


@dataclasses.dataclass(frozen=True)
class TaggedSentence:
    """The words of a sentence and their tags, None where they are to be predicted."""

    guid: str
    words: tuple[str, ...]
    tags: tuple[str, ...] | None


def _check_file(path: str) -> None:
    """Refuses what is no file, and tables of other kinds, of which a line would be one word."""
    if not os.path.isfile(path):
        raise InputError(f"{path} must be a file. Received: no such file")
    suffix = os.path.splitext(compressed_files.without_suffix(path))[1].lower()
    if tabular.FORMATS.get(suffix) in ("jsonl", "parquet"):
        raise InputError(
            f"{path} must be a file of the CoNLL kind, a word and its tag a line. "
            f"Received: {suffix}"
        )


def read(
    path: str | os.PathLike,
    problems: InputProblems,
    tag_column: int | None = -1,
) -> list[TaggedSentence]:
    """Reads sentences, which empty lines end.

    Fields are separated by tabs where a line has one, by spaces otherwise. Lines of `-DOCSTART-`
    and comments (`# ...` without a tab, before a sentence) are left out.

    Args:
        path: the file.
        problems: takes lines with too few fields, an empty word or tag, or bytes of another
            encoding; a sentence with such a line is left out.
        tag_column: number of the field, from the end where negative, and then the lines of a
            sentence must have equally many; None reads no tags. The word is in the first.

    Returns:
        The sentences, in order, called by their number from 0 on. "The\\tO\\ncat\\tB\\n" becomes
        `[TaggedSentence("0", ("The", "cat"), ("O", "B"))]`.

    Raises:
        InputError: the file is missing or holds no sentence.
    """
    path = os.fspath(path)
    _check_file(path)
    columns = [0] if tag_column is None else [0, tag_column]
    needed = max(column + 1 if column >= 0 else -column for column in columns)
    # A word needs a field of its own: in a line with one field it would be its own tag.
    needed = max(needed, len(columns))
    expected = "must have a word" if tag_column is None else "must have a word and a tag"
    sentences, rows, is_broken, is_told = [], [], False, False
    comments = []  # (place, line, number of fields) of those before a sentence
    count_before = count = problems.count

    def end_sentence() -> None:
        nonlocal rows, is_broken
        if rows and not is_broken:
            words = tuple(row[0] for row in rows)
            tags = None if tag_column is None else tuple(row[tag_column] for row in rows)
            sentences.append(TaggedSentence(str(len(sentences)), words, tags))
        rows, is_broken = [], False

    for place, line in line_files.read_lines(path, problems, keep_empty=True):
        if problems.count > count:  # a line that is no text was left out before this one
            is_broken, count = True, problems.count
        # Inside a sentence "#" is a word: CoNLL's files have "# # B-NP".
        is_comment = line.startswith("# ") and "\t" not in line and not rows
        line = line.strip(" \r")
        # Only these separate: a word may be, or hold, a space of another kind.
        fields = line.split("\t") if "\t" in line else re.split(" +", line)
        if not line.strip("\t "):
            end_sentence()
            continue
        if is_comment:
            comments.append((place, line, len(fields)))
            continue
        if fields[0] == _DOCUMENT_START:
            end_sentence()
            continue
        fields = [field.strip(" ") for field in fields]
        if len(fields) < needed or not all(fields[column] for column in columns):
            problems.add(path, place, f"{expected}. Received: {line!r}")
            is_broken, count = True, problems.count
            continue
        if rows and min(columns) < 0 and len(fields) != len(rows[0]):
            problems.add(
                path,
                place,
                f"must have {len(rows[0])} fields as the first line of its sentence, since the "
                f"column is counted from the end. Received: {line!r}",
            )
            is_broken, count = True, problems.count
            continue
        doubtful = [(at, text) for at, text, size in comments if size == len(fields)]
        if doubtful and not is_told:
            is_told = True
            problems.remark(
                f"{path}, {doubtful[0][0]}: {doubtful[0][1]!r} is left out as a comment, like "
                "others of its kind; where # is a word, tabs between the fields say so"
            )
        comments = []
        rows.append(fields)
    is_broken = is_broken or problems.count > count
    end_sentence()
    if not sentences and problems.count == count_before:
        raise InputError(f"{path} must hold at least one sentence. Received: none")
    return sentences


def discover_tags(sentences: Sequence[TaggedSentence]) -> list[str]:
    """Returns the distinct tags, "O" first and the others sorted."""
    tags = {tag for sentence in sentences for tag in sentence.tags or ()}
    return sorted(tags, key=lambda tag: (tag != "O", tag))


def encode(
    sentences: Sequence[TaggedSentence],
    tokenizer: Tokenizer,
    max_seq_length: int,
    tags: Sequence[str] | None = None,
) -> EncodedExamples:
    """Encodes sentences word by word; the first piece of a word has its label.

    Args:
        sentences: what `read` returned.
        tokenizer: the model's.
        max_seq_length: longest row. A longer sentence becomes several rows, cut between words; of a
            word that is longer than a row, the pieces beyond it are left out.
        tags: the classes; None encodes no labels.

    Returns:
        `EncodedExamples` of N rows with `token_labels`, -1 where a token is no first piece; in
        `details` `sentence_index` int32 [N] and `word_index` int32 [T], -1 likewise.

    Raises:
        ValueError: a tag is not one of `tags` or a sentence has none, or max_seq_length has no room
            for a word.
    """
    if max_seq_length < 3:
        raise ValueError(f"`max_seq_length` must be at least 3. Received: {max_seq_length}")
    parts = []
    for start in range(0, len(sentences), _SENTENCES_AT_A_TIME):
        chunk = sentences[start : start + _SENTENCES_AT_A_TIME]
        part = encode_to_arrays(
            encode_words,
            tokenizer,
            string_tensor([word for sentence in chunk for word in sentence.words]),
            np.array([len(sentence.words) for sentence in chunk]),
            max_seq_length=max_seq_length,
        )
        part["sentence"] += start
        labels = [label for sentence in chunk for label in _labels_of(sentence, tags)]
        numbers = [number for sentence in chunk for number in range(len(sentence.words))]
        for name, values in (("token_labels", labels), ("word_index", numbers)):
            part[name] = np.full(len(part["input_ids"]), -1, np.int32)
            part[name][part["first_pieces"]] = values
        parts.append(part)
    details = {
        "sentence_index": join_column(parts, "sentence"),
        "word_index": join_column(parts, "word_index"),
    }
    labels = () if tags is None else ("token_labels",)
    names = ("input_ids", "segment_ids", *labels)
    return EncodedExamples.from_parts(parts, names, {}, details=details)


def _labels_of(sentence: TaggedSentence, tags: Sequence[str] | None) -> list[int]:
    if tags is None:
        return [-1] * len(sentence.words)
    if sentence.tags is None:
        raise ValueError(f"sentence {sentence.guid} must have tags. Received: None")
    index_of = {tag: index for index, tag in enumerate(tags)}
    for tag in sentence.tags:
        if tag not in index_of:
            raise ValueError(
                f"the tags of sentence {sentence.guid} must be among {', '.join(tags)}. "
                f"Received: {tag!r}"
            )
    return [index_of[tag] for tag in sentence.tags]


def words_of_rows(encoded: EncodedExamples, classes: Sequence[np.ndarray]) -> list[list[int]]:
    """Gathers what was predicted for the first piece of each word.

    Args:
        encoded: what `encode` returned.
        classes: for each row the class of each token, int [L].

    Returns:
        For each sentence, in order, the class of each word.
    """
    classes_of = {}
    for row, sentence in enumerate(encoded.details["sentence_index"].tolist()):
        start, end = encoded.row_splits[row : row + 2]
        is_first = encoded.details["word_index"][start:end] >= 0
        classes_of.setdefault(sentence, []).extend(np.asarray(classes[row])[is_first].tolist())
    return list(classes_of.values())
