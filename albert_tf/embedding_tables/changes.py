"""What a model has otherwise than the checkpoint that it starts from: its tables of embeddings."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

from albert_tf import setting_checks
from albert_tf.config import AlbertConfig
from albert_tf.embedding_tables import positions

if TYPE_CHECKING:  # brings TensorFlow, which models on JAX do without
    from albert_tf.embedding_tables.vocabulary import OldPieces
    from albert_tf.pipelines.tokenizer.tokenization import Tokenizer

POSITION_TABLE = "encoder/embeddings/position_embeddings"
# What has a row for each piece of the vocabulary.
WORD_TABLES = ("encoder/embeddings/word_embeddings", "masked_lm_head/output_bias")


class Tensor(Protocol):
    """What is asked of a tensor of a file, a dataclass with `shape` and `load`."""

    shape: tuple[int, ...]

    def read(self) -> np.ndarray:
        """Returns the numbers."""


FileTensor = TypeVar("FileTensor", bound=Tensor)


@dataclasses.dataclass(frozen=True)
class TableChanges:
    """The changes, of which None leaves a table as it is.

    Attributes:
        max_position_embeddings: positions of the model, see `positions.stretch`.
        old_pieces: of the checkpoint, for each piece of the model's vocabulary.
    """

    max_position_embeddings: int | None = None
    old_pieces: OldPieces | None = None

    def of_config(self, config: AlbertConfig) -> AlbertConfig:
        """Returns the architecture of the model, for that of the checkpoint.

        Raises:
            ValueError: for fewer positions than the checkpoint has, or a vocabulary beside it that
                is not its own.
        """
        if self.old_pieces is not None:
            largest = int(self.old_pieces.ids.max())
            if largest >= config.vocab_size:
                raise ValueError(
                    f"the checkpoint's vocabulary must have vocab_size={config.vocab_size} pieces, "
                    f"as its table of words. Received: a piece with the number {largest}"
                )
            config = dataclasses.replace(config, vocab_size=len(self.old_pieces.is_shared))
        length = self.max_position_embeddings
        if length is None:
            return config
        setting_checks.check_integer("max_position_embeddings", length, lowest=1)
        if length < config.max_position_embeddings:
            raise ValueError(
                "`max_position_embeddings` must be at least the checkpoint's "
                f"{config.max_position_embeddings}: shorter texts need no shorter table. "
                f"Received: {length}"
            )
        return dataclasses.replace(config, max_position_embeddings=length)

    def of_tensors(
        self, tensors: Mapping[str, FileTensor], name_of: Callable[[str], str]
    ) -> dict[str, FileTensor]:
        """Returns the tensors of the model, for those of the checkpoint.

        Args:
            tensors: by their names in the file.
            name_of: takes our path, returns the name in the file.
        """
        tensors = dict(tensors)

        def change(path: str, rows: int, function: Callable[[np.ndarray], np.ndarray]) -> None:
            old = tensors.get(name_of(path))
            if old is not None:
                tensors[name_of(path)] = dataclasses.replace(
                    old, shape=(rows, *old.shape[1:]), load=lambda: function(old.read())
                )

        length = self.max_position_embeddings
        if length is not None:
            change(POSITION_TABLE, length, lambda table: positions.stretch(table, length))
        pieces = self.old_pieces
        if pieces is not None:
            for path in WORD_TABLES:
                change(path, len(pieces.is_shared), pieces.mean)
        return tensors


UNCHANGED = TableChanges()


def take_changes(kwargs: dict[str, Any], load_tokenizer: Callable[[], Tokenizer]) -> TableChanges:
    """Returns the changes that arguments of `from_pretrained` ask for, and takes these out.

    Args:
        kwargs: of `from_pretrained`.
        load_tokenizer: returns that of the checkpoint.
    """
    old_pieces = None
    tokenizer = kwargs.pop("tokenizer", None)
    if tokenizer is not None:
        from albert_tf.embedding_tables import vocabulary

        old_pieces = vocabulary.find_old_pieces(load_tokenizer(), tokenizer)
    return TableChanges(kwargs.pop("max_position_embeddings", None), old_pieces)
