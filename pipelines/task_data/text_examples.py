"""Texts and pairs of texts with a label -> `[CLS] A [SEP]` or `[CLS] A [SEP] B [SEP]`.

What every reader of classification and regression data gives, and how all of it is encoded.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Sequence

import numpy as np

from albert_tf.pipelines.task_data.encoded_examples import EncodedExamples

if typing.TYPE_CHECKING:  # brings TensorFlow, which readers of tables do without
    from albert_tf.pipelines.tokenizer.tokenization import Tokenizer

_TEXTS_AT_A_TIME = 4096


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


def encode_texts(
    examples: Sequence[TextExample],
    tokenizer: Tokenizer,
    max_seq_length: int,
    labels: Sequence[str] | None = None,
) -> EncodedExamples:
    """Encode texts.

    Args:
      examples: of one kind, texts or pairs.
      tokenizer: the model's.
      max_seq_length: longest row; longer ones are cut by the original's rule, see `cut_pair`.
      labels: names of the classes, whose index becomes the label; None for numbers.

    Returns:
      `EncodedExamples` with `label` if all examples have one: int32, float32 without `labels`,
      int32 [N, C] of 0 and 1 where each is a tuple of names.

    Raises:
      ValueError: a label is not one of `labels`, or max_seq_length has no room for a text.
    """
    if max_seq_length < 4:
        raise ValueError(f"`max_seq_length` must be at least 4. Received: {max_seq_length}")
    rows = []
    for start in range(0, len(examples), _TEXTS_AT_A_TIME):
        chunk = examples[start : start + _TEXTS_AT_A_TIME]
        first = tokenizer.encode_batch([example.text_a for example in chunk])
        second = tokenizer.encode_batch([example.text_b or "" for example in chunk])
        for example, ids_a, ids_b in zip(chunk, first, second, strict=True):
            is_pair = example.text_b is not None
            rows.append(pack(tokenizer, ids_a, ids_b if is_pair else None, max_seq_length))
    values = {}
    if examples and all(example.label is not None for example in examples):
        values["label"] = _encode_labels(examples, labels)
    return EncodedExamples.from_rows(rows, values)


def pack(
    tokenizer: Tokenizer, ids_a: list[int], ids_b: list[int] | None, max_seq_length: int
) -> dict[str, list[int]]:
    """Return the `input_ids` and `segment_ids` of one text or pair, special pieces included."""
    cls_id, sep_id = tokenizer.cls_id, tokenizer.sep_id
    if ids_b is None:
        ids = [cls_id, *ids_a[: max_seq_length - 2], sep_id]
        return {"input_ids": ids, "segment_ids": [0] * len(ids)}
    ids_a, ids_b = cut_pair(ids_a, ids_b, max_seq_length - 3)
    return {
        "input_ids": [cls_id, *ids_a, sep_id, *ids_b, sep_id],
        "segment_ids": [0] * (len(ids_a) + 2) + [1] * (len(ids_b) + 1),
    }


def cut_pair(ids_a: list[int], ids_b: list[int], room: int) -> tuple[list[int], list[int]]:
    """Take tokens off the end of the longer text, off B where both are as long, until they fit.

    `cut_pair([1, 2, 3, 4], [5, 6], 4)` -> `([1, 2], [5, 6])`.
    """
    length_a, length_b = len(ids_a), len(ids_b)
    excess = max(0, length_a + length_b - room)
    # First the difference in length goes off the longer one, then the rest off both in turns.
    from_longer = min(excess, abs(length_a - length_b))
    if length_a > length_b:
        length_a -= from_longer
    else:
        length_b -= from_longer
    excess -= from_longer
    return ids_a[: length_a - excess // 2], ids_b[: length_b - (excess + 1) // 2]


def _encode_labels(examples, labels):
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
