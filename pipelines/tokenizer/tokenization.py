"""Text to piece ids and back: one engine for Python, tf.data and exported graphs.

Every id comes from ops of tensorflow-text, run eagerly or inside a graph, so the same text gives
the same ids everywhere. Vocabularies are of two kinds, each with an engine of its own:
SentencePiece (vocabulary_model.py, normalization.py, sentencepiece_engine.py), and BERT's
WordPiece, which Chinese ALBERTs have (wordpiece_vocabulary.py, bert_characters.py,
wordpiece_engine.py).

Shapes: B texts, L pieces of one text (ragged), V vocabulary, T pieces of all texts together.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

import albert_tf
from albert_tf import json_files, whole_files
from albert_tf.pipelines.tokenizer import (
    arrays,
    sequences,
    vocabulary_model,
    wordpiece_vocabulary,
)
from albert_tf.pipelines.tokenizer.sentencepiece_engine import IdsAndSpans, SentencePieceEngine
from albert_tf.pipelines.tokenizer.vocabulary_model import (
    CLASS_PIECE,
    MASK_PIECE,
    SEPARATOR_PIECE,
    Vocabulary,
)
from albert_tf.pipelines.tokenizer.wordpiece_engine import WordPieceEngine
from albert_tf.pipelines.tokenizer.wordpiece_vocabulary import WordPieceVocabulary

_SPECIAL_IN_TEXT = re.compile(r"\[(?:CLS|SEP|MASK)\]")


class Tokenizer(tf.Module):
    """An ALBERT tokenizer read from a SentencePiece model, a `vocab.txt` or a `tokenizer.json`.

    A file whose name ends in ".txt" is a WordPiece vocabulary, a piece a line, as of Google's
    Chinese models; a JSON object is BERT's tokenizer.json, which `save` writes of such a
    vocabulary; any other file is a SentencePiece model.

    `lower_case` and `strip_accents` say which clean-up is built into a model that has none of ours
    (the original's `30k-clean.model`): True unless given. Of a `vocab.txt`, `strip_accents` is
    what `lower_case` is unless given, as BERT has it. A model made by `build_vocabulary` and a
    tokenizer.json bring their own; asking them for another is an error.

    `tokenizer(texts)` gives what a model reads. Usable in Python, in `tf.data` on batches of text,
    and as an attribute of a `tf.Module` or Keras model that is exported.

    Raises FileNotFoundError, or ValueError for a file that is not a usable vocabulary.
    """

    def __init__(
        self,
        model_file: str | os.PathLike,
        lower_case: bool | None = None,
        strip_accents: bool | None = None,
    ):
        model_file = os.fspath(model_file)
        if not os.path.isfile(model_file):
            problem = "is a folder" if os.path.isdir(model_file) else "does not exist"
            raise FileNotFoundError(
                "model_file must be a vocabulary: a SentencePiece model or a vocab.txt. "
                f"Received: {model_file}, which {problem} (from_pretrained reads a folder)."
            )
        with open(model_file, "rb") as file:
            content = file.read()
        if model_file.endswith(".txt"):
            self._build(
                wordpiece_vocabulary.from_vocab_txt(content, model_file, lower_case, strip_accents),
                model_file,
            )
        else:
            self._build(_parse(content, model_file, lower_case, strip_accents), model_file)

    @classmethod
    def from_model_bytes(
        cls,
        model_bytes: bytes,
        lower_case: bool | None = None,
        strip_accents: bool | None = None,
    ) -> Tokenizer:
        """Returns the tokenizer of a serialized model, as of another's `model_bytes`."""
        source = "model_bytes"
        tokenizer = cls.__new__(cls)
        tokenizer._build(_parse(model_bytes, source, lower_case, strip_accents), source)
        return tokenizer

    @classmethod
    def from_word_pieces(cls, vocabulary: WordPieceVocabulary) -> Tokenizer:
        """Returns the tokenizer of a WordPiece vocabulary."""
        tokenizer = cls.__new__(cls)
        tokenizer._build(vocabulary, "vocabulary")
        return tokenizer

    @classmethod
    def from_pretrained(cls, directory: str | os.PathLike, **options) -> Tokenizer:
        """Returns the tokenizer of a model directory; arguments of `albert_tf.load_tokenizer`."""
        # Of directories and the hub knows checkpoints/, which stands on this room.
        return albert_tf.load_tokenizer(directory, **options)

    def __reduce__(self) -> tuple[Callable[[bytes], Tokenizer], tuple[bytes]]:
        return Tokenizer.from_model_bytes, (self.model_bytes,)

    def _build(self, vocabulary: Vocabulary | WordPieceVocabulary, source: str) -> None:
        super().__init__(name="tokenizer")
        self._vocabulary = vocabulary
        try:
            if self.kind == "wordpiece":
                self.engine = WordPieceEngine(vocabulary)
            else:
                self.engine = SentencePieceEngine(vocabulary, self.fingerprint)
        except (tf.errors.OpError, RuntimeError) as error:  # of tensorflow-text, compiled
            kind = "WordPiece" if self.kind == "wordpiece" else "SentencePiece"
            reason = getattr(error, "message", None) or str(error)
            raise ValueError(f"{source}: {kind} cannot load this model: {reason}") from error

    # The vocabulary.

    @property
    def vocabulary(self) -> Vocabulary | WordPieceVocabulary:
        """What the pieces are, and the clean-up before them."""
        return self._vocabulary

    @property
    def kind(self) -> str:
        """Returns "sentencepiece" or "wordpiece", which the vocabulary is."""
        return "wordpiece" if isinstance(self._vocabulary, WordPieceVocabulary) else "sentencepiece"

    @property
    def vocab_size(self) -> int:
        """V, the number of pieces."""
        return len(self._vocabulary.pieces)

    @property
    def pieces(self) -> list[str]:
        """The V pieces in the order of their ids."""
        return self._vocabulary.pieces

    @property
    def word_start(self) -> np.ndarray:
        """[V] bool: whether a piece may start a word, by the original's masking rule.

        True for a piece that starts with "▁" or "<", is one punctuation character of the
        original's list, or holds any character outside a-z and that list. Of WordPiece, for a
        piece that does not start with "##".
        """
        return self._vocabulary.word_start

    @property
    def model_bytes(self) -> bytes:
        """The SentencePiece model with the clean-up built in, or BERT's tokenizer.json."""
        return self._vocabulary.model_bytes

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 of `model_bytes`, in hexadecimal."""
        return hashlib.sha256(self.model_bytes).hexdigest()

    @property
    def lower_case(self) -> bool:
        """Whether text is lower-cased."""
        return self._vocabulary.lower_case

    @property
    def strip_accents(self) -> bool:
        """Whether accents are removed."""
        return self._vocabulary.strip_accents

    @property
    def pad_id(self) -> int:
        """Id of `<pad>`, in WordPiece `[PAD]`."""
        return self._vocabulary.ids[self._vocabulary.pad_piece]

    @property
    def unk_id(self) -> int:
        """Id of `<unk>`, in WordPiece `[UNK]`."""
        return self._vocabulary.ids[self._vocabulary.unknown_piece]

    @property
    def cls_id(self) -> int:
        """Id of `[CLS]`."""
        return self._vocabulary.ids[CLASS_PIECE]

    @property
    def sep_id(self) -> int:
        """Id of `[SEP]`."""
        return self._vocabulary.ids[SEPARATOR_PIECE]

    @property
    def mask_id(self) -> int:
        """Id of `[MASK]`."""
        return self._vocabulary.ids[MASK_PIECE]

    def id_to_piece(self, index: int) -> str:
        """Returns the piece of an id in [0, V)."""
        if not 0 <= index < self.vocab_size:
            raise ValueError(
                f"index must be a piece id in [0, {self.vocab_size}). Received: {index}"
            )
        return self.pieces[index]

    def piece_to_id(self, piece: str) -> int:
        """Returns the id of a piece; `unk_id` where the vocabulary does not have it."""
        return self._vocabulary.ids.get(piece, self.unk_id)

    def save(self, path: str | os.PathLike) -> None:
        """Writes `model_bytes` to `path`, which appears complete or not at all."""
        whole_files.write_bytes(path, self.model_bytes)

    # Text to ids.

    def __call__(
        self,
        texts: sequences.Texts,
        text_pairs: sequences.Texts | None = None,
        max_length: int = 512,
        padding: bool | str = True,
        truncation: bool | str = True,
        allow_special: bool = False,
    ) -> sequences.Batch:
        """Returns texts, or pairs of texts, as the batch that every model here reads.

        `tokenizer(["A film.", "No."])["input_mask"]` -> `[[1, 1, 1, 1, 1, 0, 0, 0], [1, 1, ...]]`.

        Args:
            texts: a string, several, or a string tensor [B], in `tf.data` too.
            text_pairs: as many second texts; None for texts alone.
            max_length: longest row, special pieces included; the longer text of a pair is cut.
            padding: True for the longest text's length, rounded up to a multiple of 8, or
                "max_length" for that one. `truncation=False` leaves rows as long as they are.
            allow_special: as of `encode`.

        Returns:
            `input_ids`, `input_mask`, `segment_ids` int32 [B, L]: arrays, or tensors for tensors.

        Raises:
            ValueError: for another number of pairs, or a length without room for a text.
        """
        rest = max_length, padding, truncation, allow_special
        return sequences.encode(self, texts, text_pairs, *rest)

    def encode_ragged(self, texts: tf.Tensor | tf.RaggedTensor) -> tf.RaggedTensor:
        """Encodes a string tensor [B] as an int32 RaggedTensor [B, (L)]; works in any graph.

        A ragged one gives ids with one more ragged axis. Bytes that are not UTF-8 count as unknown
        characters; WordPiece drops them, as BERT does. No text gives a special piece but `<unk>`.
        """
        if isinstance(texts, tf.RaggedTensor):
            return texts.with_flat_values(self.encode_ragged(texts.flat_values))
        texts = tf.convert_to_tensor(texts, tf.string)
        if texts.shape.rank != 1:
            raise ValueError(
                "texts must be a string tensor of shape [B], or ragged. "
                f"Received shape: {texts.shape}"
            )
        return self.engine.encode_ragged(texts)

    def encode_flat(self, texts: Sequence[str | bytes]) -> tuple[np.ndarray, np.ndarray]:
        """Encodes texts as (ids int32 [T], row_splits int64 [B + 1]), the fastest way in Python.

        The ids of text i are `ids[row_splits[i]:row_splits[i + 1]]`.
        """
        encoded = self.encode_ragged(arrays.string_tensor(texts))
        return encoded.values.numpy(), encoded.row_splits.numpy()

    def encode_batch(
        self, texts: Sequence[str | bytes], allow_special: bool = False
    ) -> list[list[int]]:
        """Encodes texts as one list of ids each; `allow_special` as in `encode`."""
        if allow_special:
            return [ids for ids, _ in self._encode_around_special(texts)]
        ids, row_splits = self.encode_flat(texts)
        ids, row_splits = ids.tolist(), row_splits.tolist()
        return [ids[start:end] for start, end in zip(row_splits, row_splits[1:], strict=False)]

    def encode(self, text: str | bytes, allow_special: bool = False) -> list[int]:
        """Returns the ids of one text.

        With `allow_special`, `[CLS]`, `[SEP]` and `[MASK]` written in the text become their ids;
        what follows `[MASK]` without a space continues the word. Else no special id comes of text.
        """
        return self.encode_batch([text], allow_special)[0]

    def tokenize(self, text: str | bytes, allow_special: bool = False) -> list[str]:
        """Returns the pieces of one text; `<unk>` for what the vocabulary does not cover.

        `tokenize("In 2000, a Café")` -> `["▁in", "▁2000", ",", "▁a", "▁cafe"]`.
        """
        return [self.pieces[index] for index in self.encode(text, allow_special)]

    def encode_with_offsets(self, text: str, allow_special: bool = False) -> IdsAndSpans:
        """Returns the ids of one text and, for each, its (start, end) characters in the raw text.

        `text[start:end]` is what the piece stands for as it was written: capitals, accents and
        full-width forms included, the space before it not. Pieces that share one character (the
        two letters of a ligature) share its span; a lone "▁" has an empty span.
        """
        return self.encode_batch_with_offsets([text], allow_special)[0]

    def encode_batch_with_offsets(
        self, texts: Sequence[str], allow_special: bool = False
    ) -> list[IdsAndSpans]:
        """Encodes many texts at once as `encode_with_offsets` does one."""
        for text in texts:
            if not isinstance(text, str):
                raise TypeError(f"texts must be strings. Received: {type(text).__name__}")
        if allow_special:
            return self._encode_around_special(texts, with_offsets=True)
        if not texts:
            return []
        return self.engine.encode_with_spans(texts, arrays.as_utf8(texts))

    def _encode_around_special(
        self, texts: Sequence[str | bytes], with_offsets: bool = False
    ) -> list[IdsAndSpans]:
        """Encodes each text, with the special pieces written in it as ids; spans on request only.

        The text between them is encoded as if it stood alone, as the original's tokenizer would,
        except that text right behind [MASK] is no new word: in "[MASK]." the full stop is the
        piece "." as in training data, not "▁" and ".".
        """
        segments, layout = [], []  # layout: (text, segment, its start, special piece behind it)
        for row, text in enumerate(texts):
            text = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
            end = 0
            for match in _SPECIAL_IN_TEXT.finditer(text):
                layout.append((row, len(segments), end, match))
                segments.append(text[end : match.start()])
                end = match.end()
            layout.append((row, len(segments), end, None))
            segments.append(text[end:])
        if with_offsets:
            encoded = self.encode_batch_with_offsets(segments)
        else:
            encoded = [(ids, []) for ids in self.encode_batch(segments)]
        results: list[IdsAndSpans] = [([], []) for _ in texts]
        for row, segment, start, match in layout:
            all_ids, all_spans = results[row]
            ids, spans = encoded[segment]
            continues = all_ids[-1:] == [self.mask_id] and not segments[segment][:1].isspace()
            new_ids = self._continue_word(ids) if continues else ids
            all_ids.extend(new_ids)
            if with_offsets:
                spans = spans[len(ids) - len(new_ids) :]
                all_spans.extend((start + first, start + last) for first, last in spans)
            if match:
                all_ids.append(self._vocabulary.ids[match.group()])
                all_spans.append(match.span())
        return results

    def _continue_word(self, ids: list[int]) -> list[int]:
        first = [int(self._vocabulary.inside_word[index]) for index in ids[:1]]
        return [index for index in first if index >= 0] + ids[1:]

    # Ids to text.

    def decode(self, ids: Sequence[int], skip_special: bool = True) -> str:
        """Returns ids as readable text: pieces joined, "▁" as spaces, " ⁇ " for `<unk>`.

        Of WordPiece, words with spaces between them, as BERT's tokenizers have it, and `[UNK]`.
        Special pieces (`<pad>`, `[CLS]`, `[SEP]`, `[MASK]`) are left out, or set off by spaces
        where `skip_special` is False.
        """
        special = {self.pad_id, self.cls_id, self.sep_id, self.mask_id}
        text = []
        for index in np.asarray(ids).ravel().tolist():
            self.id_to_piece(index)  # checks it
            is_left_out = skip_special and index in special
            text.append(" " if is_left_out else self._vocabulary.piece_texts[index])
        return " ".join("".join(text).split())


def _parse(
    content: bytes, source: str, lower_case: bool | None, strip_accents: bool | None
) -> Vocabulary | WordPieceVocabulary:
    """Returns the vocabulary of a SentencePiece model or of a tokenizer.json."""
    if content[:1] != b"{":
        model = vocabulary_model.parse(content, source)
        options = vocabulary_model.build_in_clean_up(model, source, lower_case, strip_accents)
        return Vocabulary.of(model, *options)
    try:
        values = json_files.parse_object(content.decode("utf-8", "replace"))
    except json_files.JsonError as error:
        raise ValueError(f"{source} {error}") from error
    vocabulary = wordpiece_vocabulary.from_tokenizer_json(values, source)
    for name, asked in (("lower_case", lower_case), ("strip_accents", strip_accents)):
        own = getattr(vocabulary, name)
        if asked not in (None, own):
            raise ValueError(f"{source}: this vocabulary has {name}={own}. Received: {asked}")
    return vocabulary
