"""Rows of ids of any length, as TensorFlow ops: cut, given their special pieces, padded.

Rows are kept as slices of one array, for which a cut or a repeated row is arithmetic on starts and
lengths: a row costs a few dozen ops where ragged tensors take some hundred.

Letters: R rows, T tokens of all rows together, L tokens of one (padded).
"""

import typing

import tensorflow as tf

# Rows are padded to a multiple of this: few different shapes, and whole vectors.
_LENGTH_STEP = 8


class SpecialPieces(typing.Protocol):
    """What rows ask of a tokenizer."""

    pad_id: int
    cls_id: int
    sep_id: int


class Slices(typing.NamedTuple):
    """Rows that are parts of one array: row r is `values[starts[r] : starts[r] + lengths[r]]`.

    Attributes:
        values: int32, any number.
        starts: int64 [R].
        lengths: int64 [R].
    """

    values: tf.Tensor
    starts: tf.Tensor
    lengths: tf.Tensor

    @classmethod
    def of(cls, ragged: tf.RaggedTensor) -> "Slices":
        """Returns the rows of int32 [R, (L)]."""
        starts = ragged.row_splits[:-1]
        return cls(ragged.values, starts, ragged.row_splits[1:] - starts)

    def first(self, counts: int | tf.Tensor) -> "Slices":
        """Returns the first `counts`, one number or int64 [R], of each row."""
        return self._replace(lengths=tf.minimum(self.lengths, counts))

    def last(self, counts: int | tf.Tensor) -> "Slices":
        """Returns the last `counts`, one number or int64 [R], of each row."""
        lengths = tf.minimum(self.lengths, counts)
        return Slices(self.values, self.starts + self.lengths - lengths, lengths)

    def take(self, numbers: tf.Tensor) -> "Slices":
        """Returns the rows of some numbers, which may repeat."""
        return Slices(
            self.values, tf.gather(self.starts, numbers), tf.gather(self.lengths, numbers)
        )

    def joined(self) -> tf.Tensor:
        """Returns int32 [T]: the rows end to end."""
        row, place = count_off(self.lengths)
        return tf.gather(self.values, tf.gather(self.starts, row) + place)


class Rows(typing.NamedTuple):
    """What a model reads, special pieces included.

    Attributes:
        ids: int32 [T].
        starts: int64 [R], of each row among them.
        lengths: int64 [R].
        first_lengths: int64 [R], tokens of segment 0; those behind them are of segment 1.
    """

    ids: tf.Tensor
    starts: tf.Tensor
    lengths: tf.Tensor
    first_lengths: tf.Tensor

    def flat(self) -> dict[str, tf.Tensor]:
        """Returns the rows end to end.

        Returns:
            `row_lengths` int64 [R]; `input_ids`, `segment_ids` int32 [T].
        """
        row, place = count_off(self.lengths)
        return {
            "row_lengths": self.lengths,
            "input_ids": self.ids,
            "segment_ids": tf.cast(place >= tf.gather(self.first_lengths, row), tf.int32),
        }

    def padded(
        self,
        tokenizer: SpecialPieces,
        max_seq_length: int | tf.Tensor,
        least_length: int | tf.Tensor = 0,
    ) -> dict[str, tf.Tensor]:
        """Returns the rows as a batch.

        Args:
            tokenizer: the model's.
            max_seq_length: no row is longer, none is padded beyond it.
            least_length: L is at least this.

        Returns:
            `input_ids`, `input_mask`, `segment_ids` int32 [R, L].
        """
        lengths = tf.cast(self.lengths, tf.int32)  # [R]
        least_length = tf.cast(least_length, tf.int32)
        longest = tf.reduce_max(tf.concat([lengths, [1]], axis=0))
        rounded = round_up(longest, tf.cast(max_seq_length, tf.int32))
        length = tf.where(longest <= least_length, least_length, rounded)
        places = tf.range(length)  # [L]
        mask = places < lengths[:, None]  # [R, L]
        segments = mask & (places >= tf.cast(self.first_lengths, tf.int32)[:, None])
        return {
            "input_ids": self.pad_column(self.ids, length, tokenizer.pad_id),
            "input_mask": tf.cast(mask, tf.int32),
            "segment_ids": tf.cast(segments, tf.int32),
        }

    def pad_column(self, column: tf.Tensor, length: tf.Tensor, padding: int = 0) -> tf.Tensor:
        """Returns [T], something about each token, as [R, length]."""
        ragged = tf.RaggedTensor.from_row_lengths(column, self.lengths, validate=False)
        return ragged.to_tensor(padding, shape=tf.stack([-1, length]))


def pack(tokenizer: SpecialPieces, first: Slices, second: Slices | None = None) -> Rows:
    """Returns `[CLS] first [SEP]` or `[CLS] first [SEP] second [SEP]` of R rows each."""
    first_lengths = first.lengths + 2
    lengths = first_lengths if second is None else first_lengths + second.lengths + 1
    starts = tf.cumsum(lengths, exclusive=True)
    ids = tf.fill(tf.reduce_sum(lengths)[None], tokenizer.sep_id)
    cls_ids = tf.fill(tf.shape(starts), tokenizer.cls_id)
    ids = tf.tensor_scatter_nd_update(ids, starts[:, None], cls_ids)
    ids = _write(ids, first, starts + 1)
    if second is not None:
        ids = _write(ids, second, starts + first_lengths)
    return Rows(ids, starts, lengths, first_lengths)


def _write(ids: tf.Tensor, slices: Slices, targets: tf.Tensor) -> tf.Tensor:
    """Returns `ids` with each of R rows written to where `targets` [R] says."""
    row, place = count_off(slices.lengths)
    values = tf.gather(slices.values, tf.gather(slices.starts, row) + place)
    return tf.tensor_scatter_nd_update(ids, (tf.gather(targets, row) + place)[:, None], values)


def count_off(lengths: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns for each of T values int64 [T] twice: its row, and its place there from 0 on.

    `count_off([2, 0, 1])` -> `([0, 0, 2], [0, 1, 0])`.
    """
    ends = tf.cumsum(lengths)
    number = tf.range(tf.reduce_sum(lengths))
    row = tf.searchsorted(ends, number, "right", tf.int64)  # the first that ends behind it
    return row, number - tf.gather(ends - lengths, row)


def places_in_rows(ragged: tf.RaggedTensor) -> tf.Tensor:
    """Returns int64 [values]: the number of each value in its row."""
    starts = tf.gather(ragged.row_starts(), ragged.value_rowids())
    return tf.range(tf.size(starts, tf.int64)) - starts


def round_up(length: tf.Tensor, longest: int | tf.Tensor) -> tf.Tensor:
    """Returns the next multiple of 8, or `longest`."""
    return tf.minimum(-(-length // _LENGTH_STEP) * _LENGTH_STEP, longest)
