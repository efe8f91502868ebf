"""Examples of a fine-tuning task as arrays: every encoder makes them, batches are cut of them.

N examples, C rows an example (the choices of a multiple-choice question, otherwise 1), T tokens of
all rows together, B batch, L sequence length.

Rows have different lengths, so the columns of tokens lie end to end. In a batch they are padded:
`input_ids`, `segment_ids` int32 [B, L], and `input_mask` is made from the lengths; [B, C, L] where
C is not 1. What a task wants to know lies beside them under one of these names:

    label            int32 [B] class or choice, float32 [B] number, or int32 [B, C], 0 or 1 a label
    token_labels     int32 [B, L] class, -1 for tokens that have none
    start_position   int32 [B] first and
    end_position     int32 [B] last token of the answer, 0 for none
    is_impossible    int32 [B] 1 where there is no answer
    answer_mask      int32 [B, L] 1 where an answer may start or end, and at [CLS]
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

# What stands in a padded place of each column of tokens.
PADDING = {"input_ids": 0, "segment_ids": 0, "answer_mask": 0, "token_labels": -1}


@dataclasses.dataclass(frozen=True)
class EncodedExamples:
    """Encoded examples in the order in which they were read.

    Attributes:
        row_splits: int64 [N * C + 1]; the tokens of row r are row_splits[r]:row_splits[r + 1].
        tokens: name -> int32 [T]: `input_ids`, `segment_ids` and what else a task has a token.
        values: name -> [N]: labels, positions and what else a task has an example.
        num_choices: C.
        details: name -> array that reading the answers needs and batches do not.
        joined_by: "mean" or "max" where the examples are windows of the texts `text_index` of
            `details`: what makes one answer a text of a model's outputs for its windows.
    """

    row_splits: np.ndarray
    tokens: dict[str, np.ndarray]
    values: dict[str, np.ndarray]
    num_choices: int = 1
    details: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    joined_by: str | None = None

    @classmethod
    def from_parts(
        cls,
        parts: Sequence[Mapping[str, ArrayLike]],
        token_names: Iterable[str],
        values: Mapping[str, ArrayLike],
        num_choices: int = 1,
        details: Mapping[str, ArrayLike] | None = None,
    ) -> Self:
        """Joins what encoders gave for some texts at a time.

        Args:
            parts: one dict name -> array a call: `row_lengths` and the columns of its tokens.
            token_names: the columns that batches have.
            values: name -> [N] array.
            num_choices: C; row r belongs to example r // C.
            details: name -> array, see the class.
        """
        lengths = join_column(parts, "row_lengths")
        return cls(
            row_splits=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            tokens={name: join_column(parts, name) for name in token_names},
            values={name: np.asarray(value) for name, value in values.items()},
            num_choices=num_choices,
            details={name: np.asarray(value) for name, value in (details or {}).items()},
        )

    @classmethod
    def from_rows(
        cls,
        rows: Sequence[Mapping[str, list[int]]],
        values: Mapping[str, ArrayLike],
        num_choices: int = 1,
        details: Mapping[str, ArrayLike] | None = None,
    ) -> Self:
        """Joins rows of Python lists: one dict name -> list of int a row, see `from_parts`."""
        names = list(rows[0]) if rows else ["input_ids", "segment_ids"]
        parts = [
            {"row_lengths": [len(row["input_ids"])]}
            | {name: np.array(row[name], np.int32) for name in names}
            for row in rows
        ]
        return cls.from_parts(parts, names, values, num_choices, details)

    def __len__(self) -> int:
        return (len(self.row_splits) - 1) // self.num_choices

    def lengths(self) -> np.ndarray:
        """Returns the tokens of each example's longest row, int64 [N]."""
        return np.diff(self.row_splits).reshape(-1, self.num_choices).max(axis=1, initial=0)

    def row(self, index: int) -> dict[str, np.ndarray]:
        """Returns the columns of tokens of one row, name -> [L of that row]."""
        start, end = self.row_splits[index : index + 2]
        return {name: column[start:end] for name, column in self.tokens.items()}

    def batch(self, indices: np.ndarray, length: int) -> dict[str, np.ndarray]:
        """Returns the examples `indices` [B], padded to `length` tokens.

        Returns:
            name -> array as the module says, and `input_mask`.

        Raises:
            ValueError: a row is longer than `length`.
        """
        rows = (
            np.asarray(indices)[:, None] * self.num_choices + np.arange(self.num_choices)
        ).ravel()
        starts = self.row_splits[rows]  # [B * C]
        row_lengths = self.row_splits[rows + 1] - starts
        if row_lengths.max(initial=0) > length:
            raise ValueError(
                f"length must be at least that of the longest row, {row_lengths.max()}. "
                f"Received: {length}"
            )
        offsets = np.arange(length)
        mask = offsets < row_lengths[:, None]  # [B * C, L]
        places = np.where(mask, starts[:, None] + offsets, 0)
        shape = (-1, length) if self.num_choices == 1 else (-1, self.num_choices, length)
        batch = {"input_mask": mask.astype(np.int32).reshape(shape)}
        for name, column in self.tokens.items():
            padded = (
                np.where(mask, column[places], np.int32(PADDING[name])) if len(column) else mask
            )
            batch[name] = padded.astype(np.int32).reshape(shape)
        for name, column in self.values.items():
            batch[name] = column[indices]
        return batch


def join_column(parts: Sequence[Mapping[str, ArrayLike]], name: str) -> np.ndarray:
    """Returns one column of parts, see `EncodedExamples.from_parts`, end to end."""
    return np.concatenate([part[name] for part in parts] or [np.zeros(0, np.int32)])
