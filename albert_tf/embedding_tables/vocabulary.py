"""The vectors of a vocabulary's pieces, for another vocabulary.

Letters: V pieces of the old vocabulary, W of the new one, T old pieces of all new ones together.
"""

import typing
from collections.abc import Sequence

import numpy as np

from albert_tf.pipelines.tokenizer import bert_characters
from albert_tf.pipelines.tokenizer.tokenization import Tokenizer
from albert_tf.pipelines.tokenizer.vocabulary_model import WORD_BOUNDARY
from albert_tf.pipelines.tokenizer.wordpiece_vocabulary import CONTINUATION, WordPieceVocabulary

# Letters of which a vocabulary hardly has all.
_STRANGERS = "ჰᚠꙮ𐀀"
# Whether a piece begins a word, and its text.
Spelling = tuple[bool, str]


class OldPieces(typing.NamedTuple):
    """The old pieces that stand for each new one, at least one.

    Attributes:
        ids: int64 [T].
        row_splits: int64 [W + 1]; those of piece w are ids[row_splits[w]:row_splits[w + 1]].
        is_shared: bool [W], whether the piece is one of the old vocabulary.
        is_unknown: bool [W], whether the old vocabulary has nothing but its unknown piece for it.
    """

    ids: np.ndarray
    row_splits: np.ndarray
    is_shared: np.ndarray
    is_unknown: np.ndarray

    def mean(self, table: np.ndarray) -> np.ndarray:
        """Returns float32 [W, ...]: of [V, ...] the mean over the old pieces of each new one."""
        sums = np.add.reduceat(table.astype(np.float64)[self.ids], self.row_splits[:-1])
        counts = np.diff(self.row_splits).reshape(-1, *[1] * (table.ndim - 1))
        return (sums / counts).astype(np.float32)

    def describe(self) -> str:
        """Returns a sentence of how many pieces have what."""
        size, shared, unknown = (
            len(self.is_shared),
            int(self.is_shared.sum()),
            int(self.is_unknown.sum()),
        )
        return (
            f"{shared:,} of {size:,} pieces keep their vectors, {size - shared - unknown:,} have "
            f"the mean of their old pieces, {unknown:,} that of the unknown piece"
        )


def find_old_pieces(old: Tokenizer, new: Tokenizer) -> OldPieces:
    """Returns what the old vocabulary has for each piece of the new one.

    The special pieces go by what they are for (`<pad>` and `[PAD]`), a piece that both have by its
    text and whether it begins a word: "▁film" of SentencePiece is "film" of WordPiece, and "ing"
    is "##ing". Any other is what the old tokenizer makes of its text, inside a word where the piece
    stands there.
    """
    roles = ("pad_id", "unk_id", "cls_id", "sep_id", "mask_id")
    found: list[list[int] | None] = [None] * new.vocab_size
    for role in roles:
        found[getattr(new, role)] = [getattr(old, role)]
    old_ids = _ids_by_spelling(old)
    spellings = _spellings(new)
    for index, piece in enumerate(new.pieces):
        if found[index] is None:
            ids = [old_ids[spelling] for spelling in spellings[index] if spelling in old_ids]
            if old.kind == new.kind and piece in old.vocabulary.ids:
                ids = [old.vocabulary.ids[piece]]
            found[index] = ids[:1] or None
    is_shared = np.array([ids is not None for ids in found])
    missing = np.flatnonzero(~is_shared).tolist()
    for index, ids in zip(missing, _encode(old, [spellings[i][0] for i in missing]), strict=True):
        found[index] = ids or [old.unk_id]
    lengths = [len(ids) for ids in found]
    is_unknown = np.array([set(ids) == {old.unk_id} for ids in found])
    return OldPieces(
        ids=np.array([index for ids in found for index in ids], np.int64),
        row_splits=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        is_shared=is_shared,
        is_unknown=is_unknown & ~is_shared,
    )


def _ids_by_spelling(tokenizer: Tokenizer) -> dict[Spelling, int]:
    """Returns the piece that a tokenizer has for each spelling, the most usual one first."""
    ids: dict[Spelling, int] = {}
    # Texts give "中" and never "##中": what is spelled both ways goes before.
    spellings = enumerate(_spellings(tokenizer))
    for index, some in sorted(spellings, key=lambda item: -len(item[1])):
        for spelling in some:
            ids.setdefault(spelling, index)
    return ids


def _spellings(tokenizer: Tokenizer) -> list[list[Spelling]]:
    """Returns for each piece how it may be spelled, the most usual first."""
    vocabulary = tokenizer.vocabulary
    if not isinstance(vocabulary, WordPieceVocabulary):
        return [
            [(piece.startswith(WORD_BOUNDARY), piece.replace(WORD_BOUNDARY, " ").strip())]
            for piece in tokenizer.pieces
        ]
    stands_alone = _find_single_characters(vocabulary)
    spellings = []
    for piece in tokenizer.pieces:
        text = piece.removeprefix(CONTINUATION)
        if text != piece and text:
            spellings.append([(False, text)])
        elif piece in stands_alone:
            # A word of its own wherever it stands, and mostly without a space before it.
            spellings.append([(False, piece), (True, piece)])
        else:
            spellings.append([(True, piece)])
    return spellings


def _find_single_characters(vocabulary: WordPieceVocabulary) -> set[str]:
    """Returns the characters that BERT sets apart: punctuation, and Chinese ones."""
    table = bert_characters.character_table(
        vocabulary.lower_case, vocabulary.strip_accents, vocabulary.split_chinese
    )

    def is_single(piece: str) -> bool:
        if len(piece) != 1:
            return False
        page, place = divmod(ord(piece), table.actions.shape[1])
        return table.actions[table.pages[page], place] == bert_characters.SINGLE

    return {piece for piece in vocabulary.pieces if is_single(piece)}


def _encode(tokenizer: Tokenizer, spellings: Sequence[Spelling]) -> list[list[int]]:
    """Returns what a tokenizer makes of each text, at the beginning of a word or inside one."""
    if tokenizer.kind == "wordpiece":
        encoded = tokenizer.encode_batch([text for _, text in spellings])
        inside = _pieces_inside_words(tokenizer)
        return [
            ids if begins_word else [inside.get(ids[0], ids[0]), *ids[1:]] if ids else ids
            for (begins_word, _), ids in zip(spellings, encoded, strict=True)
        ]
    # Behind a character that is in no piece, a text stands inside a word.
    before = next((c for c in _STRANGERS if tokenizer.encode(c)[-1:] == [tokenizer.unk_id]), "")
    texts = [text if begins_word else before + text for begins_word, text in spellings]
    return [
        ids if begins_word or not before else ids[ids.index(tokenizer.unk_id) + 1 :]
        for (begins_word, _), ids in zip(spellings, tokenizer.encode_batch(texts), strict=True)
    ]


def _pieces_inside_words(tokenizer: Tokenizer) -> dict[int, int]:
    """Returns {id of "door": id of "##door"} of a WordPiece vocabulary, no single characters."""
    ids = tokenizer.vocabulary.ids
    stands_alone = _find_single_characters(tokenizer.vocabulary)
    return {
        ids[piece]: ids[CONTINUATION + piece]
        for piece in tokenizer.pieces
        if CONTINUATION + piece in ids and piece not in stands_alone
    }
