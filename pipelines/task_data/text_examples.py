"""Texts and pairs of texts with a label -> `[CLS] A [SEP]` or `[CLS] A [SEP] B [SEP]`.

What every reader of classification and regression data gives, and how all of it is encoded.
"""

from __future__ import annotations

import ast
import collections
import dataclasses
import decimal
import hashlib
import itertools
import json
import math
import re
import typing
from collections.abc import Sequence

import numpy as np

from albert_tf.pipelines.task_data.encoded_examples import EncodedExamples, join_column

if typing.TYPE_CHECKING:  # brings TensorFlow, which readers of tables do without
    from albert_tf.pipelines.tokenizer.tokenization import Tokenizer

_TEXTS_AT_A_TIME = 4096
# What says of a label that it is true, in small letters.
_TRUTH = {"0": False, "1": True, "0.0": False, "1.0": True, "false": False, "true": True}


@dataclasses.dataclass(frozen=True)
class TextExample:
    """One row of the user's data.

    Attributes:
        guid: what the row is called in files of predictions.
        text_a: the text.
        text_b: the second text of a pair, or None.
        label: name of the class, names of all that are true where a text may have several, the
            number of a regression, or None where it is to be predicted.
    """

    guid: str
    text_a: str
    text_b: str | None = None
    label: str | tuple[str, ...] | float | None = None


@dataclasses.dataclass(frozen=True)
class TextTriple(TextExample):
    """A pair of like texts, and a third that is not like the first."""

    text_c: str | None = None


def encode_texts(
    examples: Sequence[TextExample],
    tokenizer: Tokenizer,
    max_seq_length: int,
    labels: Sequence[str] | None = None,
    windows: str | None = None,
) -> EncodedExamples:
    """Encodes texts.

    Args:
        examples: texts, pairs, or both.
        tokenizer: the model's.
        max_seq_length: longest row; longer ones are cut by the original's rule, see
            `tokenizer.sequences`.
        labels: names of the classes, whose index becomes the label; None for numbers.
        windows: "mean" or "max" reads longer texts in windows, see `encoders.long_texts`, and says
            how the outputs for a text's windows become one; None cuts.

    Returns:
        `EncodedExamples` with `label` if all examples have one: int32, float32 without `labels`,
        int32 [N, C] of 0 and 1 where each is a tuple of names. With `windows` each window is one,
        with the label of its text, whose number is `text_index` of `details`.

    Raises:
        ValueError: a label is not one of `labels`, or max_seq_length has no room for a text.
    """
    if max_seq_length < 4:
        raise ValueError(f"`max_seq_length` must be at least 4. Received: {max_seq_length}")
    from albert_tf.pipelines.tokenizer import arrays, sequences  # bring TensorFlow, see above

    if windows:
        from albert_tf.pipelines.encoders import long_texts

        encoders = (long_texts.encode_text_windows, long_texts.encode_pair_windows)
    else:
        encoders = (sequences.encode_texts, sequences.encode_pairs)
    parts, number = [], 0
    for is_pair, group in itertools.groupby(examples, lambda example: example.text_b is not None):
        group = list(group)
        for start in range(0, len(group), _TEXTS_AT_A_TIME):
            chunk = group[start : start + _TEXTS_AT_A_TIME]
            columns = [arrays.string_tensor([example.text_a for example in chunk])]
            if is_pair:
                columns.append(arrays.string_tensor([example.text_b for example in chunk]))
            part = arrays.encode_to_arrays(
                encoders[is_pair], tokenizer, *columns, max_seq_length=max_seq_length
            )
            if windows:
                part["text_index"] += np.int32(number)
            parts.append(part)
            number += len(chunk)
    values, details = {}, {}
    if examples and all(example.label is not None for example in examples):
        values["label"] = _encode_labels(examples, labels)
    if windows:
        details["text_index"] = join_column(parts, "text_index")
        values = {name: column[details["text_index"]] for name, column in values.items()}
    encoded = EncodedExamples.from_parts(
        parts, ("input_ids", "segment_ids"), values, details=details
    )
    return dataclasses.replace(encoded, joined_by=windows)


def encode_apart(
    examples: Sequence[TextExample],
    tokenizer: Tokenizer,
    max_seq_length: int,
    score_range: Sequence[float] | None = None,
) -> EncodedExamples:
    """Encodes each text of pairs or triples as a row of its own, `[CLS] text [SEP]`.

    Args:
        examples: pairs, or all of them `TextTriple`s.
        tokenizer: the model's.
        max_seq_length: longest row.
        score_range: the labels, numbers, that become 0 and 1; None leaves labels out.

    Returns:
        `EncodedExamples` of 2 or 3 rows each, with a `score_range` also `label` float32 [N].
    """
    has_third = bool(examples) and isinstance(examples[0], TextTriple)
    names = ("text_a", "text_b", "text_c") if has_third else ("text_a", "text_b")
    texts = [
        TextExample(example.guid, getattr(example, name)) for example in examples for name in names
    ]
    rows = encode_texts(texts, tokenizer, max_seq_length)
    values = {}
    if score_range is not None:
        low, high = score_range
        labels = np.array([example.label for example in examples], np.float32)
        values["label"] = ((labels - low) / (high - low)).astype(np.float32)
    return dataclasses.replace(rows, values=values, num_choices=len(names))


def _encode_labels(examples: Sequence[TextExample], labels: Sequence[str] | None) -> np.ndarray:
    if labels is None:
        return np.array([example.label for example in examples], np.float32)
    index_of = {name: index for index, name in enumerate(labels)}
    # Numbers that stand for classes, as arrays and data frames hold them.
    index_of |= {int(name): index for name, index in index_of.items() if name.isdecimal()}
    has_several = isinstance(examples[0].label, tuple)
    encoded = np.zeros((len(examples), len(labels) if has_several else 1), np.int32)
    for row, example in enumerate(examples):
        for name in example.label if has_several else (example.label,):
            if name not in index_of:
                raise ValueError(
                    f"the label of example {example.guid} must be one of {', '.join(labels)}. "
                    f"Received: {name!r}"
                )
            if has_several:
                encoded[row, index_of[name]] = 1
            else:
                encoded[row] = index_of[name]
    return encoded if has_several else encoded[:, 0]


def choose_held_out(examples: list[TextExample], fraction: float) -> set[tuple[str, str | None]]:
    """Returns the texts that are held out, a share of each class and at least none.

    Where texts have several labels, the rarest has its share first, and each later one what those
    before it have left open.

    Args:
        examples: all; those with the same texts stay together.
        fraction: of the rows of each class, or of all where labels are numbers. A class keeps at
            least one of its texts for training. Classes that are too small for a whole row make up
            for one another: of them all it is the fraction.

    Returns:
        A set of what `texts_of` returns; it depends on the texts and labels, not on their order.
    """
    rows = collections.Counter(map(texts_of, examples))
    if any(isinstance(example.label, float) for example in examples):
        return {texts for texts in rows if share_of(texts) < fraction}
    names_of = collections.defaultdict(set)  # those of every row with the text
    for example in examples:
        several = isinstance(example.label, tuple)
        names_of[texts_of(example)].update(example.label if several else (example.label,))
    members = collections.defaultdict(list)
    for texts, names in names_of.items():
        for name in names or (None,):
            members[name].append(texts)
    held_out, decided = set(), set()
    counts = {name: sum(rows[texts] for texts in some) for name, some in members.items()}
    shares = _share_out(fraction, counts)
    for name in sorted(members, key=lambda name: (counts[name], name or "")):
        num_held_out = sum(rows[texts] for texts in members[name] if texts in held_out)
        left = shares[name] - num_held_out
        free = sorted((texts for texts in members[name] if texts not in decided), key=share_of)
        stays = any(texts in decided and texts not in held_out for texts in members[name])
        for texts in free if stays else free[:-1]:
            if left >= rows[texts]:
                held_out.add(texts)
                left -= rows[texts]
        decided.update(free)
    return held_out


def _share_out(fraction: float, counts: dict[str | None, int]) -> dict[str | None, int]:
    """Returns whole parts of counts that together are the fraction of all: largest remainders."""
    exact = {name: fraction * count for name, count in counts.items()}
    shares = {name: math.floor(value) for name, value in exact.items()}
    left = round(sum(exact.values())) - sum(shares.values())
    nearest = sorted(shares, key=lambda name: (shares[name] - exact[name], name or ""))
    return shares | {name: shares[name] + 1 for name in nearest[:left]}


def texts_of(example: TextExample) -> tuple[str, str | None]:
    """Returns (text, second text), alike for pairs that are mirrored and for other white space."""
    text_a, text_b = (
        None if text is None else " ".join(text.split())
        for text in (example.text_a, example.text_b)
    )
    return (text_a, None) if text_b is None else (min(text_a, text_b), max(text_a, text_b))


def share_of(texts: tuple[str, str | None]) -> float:
    """Returns a number in [0, 1) that depends on the texts alone."""
    joined = f"{texts[0]}\0{texts[1]}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.sha256(joined).digest()[:8], "big") / 2**64


def parse_label(
    value: typing.Any, kind: str, labels: Sequence[str] | None
) -> tuple[str | None, str | float | None]:
    """Returns (what is wrong or None, the label): a name of `labels`, or a finite float."""
    if kind == "number":
        try:
            label = float(value)
        except (TypeError, ValueError, OverflowError):
            label = math.nan
        # Python reads 1_000 as a thousand; in a table it is two cells in one, or a name.
        is_strange = isinstance(value, bool) or (isinstance(value, str) and "_" in value)
        if not math.isfinite(label) or is_strange:
            return f"the label must be a number. Received: {value!r}", None
        return None, label
    label = _as_text(value).strip()
    # Where a label is missing, tables of pandas hold "not a number", which no value is equal to.
    if value is None or value != value or not label:
        return f"the label must not be empty. Received: {value!r}", None
    if labels is not None and label not in labels:
        return f"the label must be one of {', '.join(labels)}. Received: {label!r}", None
    return None, label


def _as_text(value: typing.Any) -> str:
    """Returns a cell of any type as text: numbers and truth values as JSON writes them.

    A column of whole numbers in which one is missing has floats, so 1.0 is the class 1.
    """
    is_number = isinstance(value, float | decimal.Decimal) and math.isfinite(value)
    if is_number and value == int(value):
        value = int(value)
    is_json = value is None or isinstance(value, bool | int | float | list | dict)
    return json.dumps(value, default=str) if is_json else str(value)


def true_labels(
    row: dict[str, typing.Any], names: Sequence[str]
) -> tuple[str | None, tuple[str, ...] | None]:
    """Returns (what is wrong or None, those of the columns `names` that hold a 1)."""
    labels = []
    for name in names:
        value = row.get(name)
        text = _as_text(value)
        if text.strip().lower() not in _TRUTH:
            return f"column {name} must hold 0 or 1. Received: {value!r}", None
        if _TRUTH[text.strip().lower()]:
            labels.append(name)
    return None, tuple(labels)


def parse_labels(
    value: typing.Any, labels: Sequence[str] | None, separator: str
) -> tuple[str | None, tuple[str, ...] | None]:
    """Returns (what is wrong or None, names of `labels`) of a cell with several or none."""
    if value is None or value != value:
        return None, ()
    if isinstance(value, str):
        listed = _parse_list(value)
        value = [p for p in value.split(separator) if p.strip()] if listed is None else listed
    if not isinstance(value, list):
        value = [value]
    names = {}
    for part in value:
        problem, label = parse_label(part, "class", labels)
        if problem:
            return problem, None
        names[label] = True
    return None, tuple(names)


def _parse_list(text: str) -> list[str | int] | None:
    """Returns the labels of a list as JSON or pandas write it into a cell, None for other text."""
    if not re.fullmatch(r"\s*\[.*\]\s*", text, re.DOTALL):
        return None
    try:
        values = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    is_list = isinstance(values, list) and all(isinstance(value, str | int) for value in values)
    return values if is_list else None


def discover_labels(examples: Sequence[TextExample]) -> list[str]:
    """Returns the distinct labels, sorted; as numbers where all of them are whole numbers."""
    labels = set()
    for example in examples:
        if example.label is not None:
            labels.update(example.label if isinstance(example.label, tuple) else (example.label,))
    if all(label.removeprefix("-").isdecimal() for label in labels):
        # "1" and "01" are two labels of the same value.
        return sorted(labels, key=lambda label: (int(label), label))
    return sorted(labels)
