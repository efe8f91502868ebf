"""Models in use, in this process: texts in, answers out.

Letters: B texts, L sequence length, M masks of all texts together, T targets, K answers, H hidden
size, V vocabulary.
"""

import functools
import numbers
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Self

import numpy as np
import tensorflow as tf

from albert_tf import json_files, setting_checks, tensorflow_needs
from albert_tf.checkpoints import hub_files
from albert_tf.checkpoints.stored_tensors import CheckpointError
from albert_tf.checkpoints.tokenizer_files import load_tokenizer
from albert_tf.model.keras_model import AlbertTaskModel
from albert_tf.model.language_models import AlbertMaskedLM
from albert_tf.pipelines.tokenizer.tokenization import Tokenizer
from albert_tf.pipelines.tokenizer.vocabulary_model import MASK_PIECE, WORD_BOUNDARY

# Before a mask, of what tells whether it stands inside a word.
_TELLING_CHARACTERS = 40
# The answers to a list -> that of the only one, where one alone was given, or all of them.
AsGiven = Callable[[list], Any]


def as_list(inputs: Any, is_one: Callable[[Any], bool]) -> tuple[list, AsGiven]:
    """Returns the inputs, and what gives their answers in the form that the inputs had.

    Raises:
        TypeError: for what is neither one input nor several.
    """
    if is_one(inputs):
        return [inputs], lambda answers: answers[0]
    is_several = hasattr(inputs, "__iter__") and not isinstance(inputs, str | bytes | dict)
    if not is_several or getattr(inputs, "ndim", 1) != 1:  # of a table the names would be asked
        raise wrong_item("what is asked must be a string or a list of strings", inputs)
    return list(inputs), lambda answers: answers


def is_one_text(inputs: object) -> bool:
    """Tells a text or a pair of texts from a list of such."""
    return isinstance(inputs, str | tuple)


def wrong_item(expected: str, received: object, number: int | None = None) -> TypeError:
    """Returns the TypeError for what cannot be asked, an item of a list or the whole."""
    where = "" if number is None else f" (item {number})"
    return TypeError(f"{expected}. Received: {json_files.shorten(received)}{where}")


def as_texts(inputs: str | Iterable[str]) -> tuple[list[str], AsGiven]:
    """Returns the texts, and what gives their answers in the form that the texts had."""
    texts, as_given = as_list(inputs, lambda one: isinstance(one, str))
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            raise wrong_item("a text must be a string", text, number)
    return texts, as_given


class TextModel:
    """A model with its tokenizer, and texts packed into batches for it."""

    model_class: type[AlbertTaskModel]
    # What a file calls the parts of a question, unless told otherwise.
    columns: tuple[str, ...] = ("text",)

    def __init__(self, model: AlbertTaskModel, tokenizer: Tokenizer, batch_size: int = 32):
        tensorflow_needs.check_backend(type(self).__name__)
        setting_checks.check_integer("batch_size", batch_size, 1)
        self.model = model
        self.tokenizer = tokenizer
        self.batch_size = batch_size

    @functools.cached_property
    def _run(self) -> Callable:
        return tf.function(self._compute, autograph=False, reduce_retracing=True)

    def __getstate__(self) -> dict[str, Any]:
        # What was compiled is compiled anew in a copy.
        kinds = {name: getattr(type(self), name, None) for name in vars(self)}
        compiled = {n for n, kind in kinds.items() if isinstance(kind, functools.cached_property)}
        return {name: value for name, value in vars(self).items() if name not in compiled}

    @classmethod
    def from_pretrained(
        cls,
        directory: str | os.PathLike,
        dtype: str | None = None,
        *,
        revision: str | None = None,
        cache_dir: str | os.PathLike | None = None,
        local_files_only: bool = False,
        **settings: Any,
    ) -> Self:
        """Returns it with the weights and vocabulary of a model directory.

        Args:
            directory: made by `run_pretraining`, `save_pretrained` or transformers; or a name on
                the Hugging Face hub, `owner/name` or `hf://owner/name@revision`.
            dtype: Keras dtype policy to compute with, such as "mixed_bfloat16".
            revision, cache_dir, local_files_only: of a name, as of the models' `from_pretrained`.
            settings: of the constructor, before what the directory says.

        Raises:
            CheckpointError: if the directory is not whole.
        """
        directory = hub_files.find_directory(
            directory,
            revision=revision,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
        )
        settings = {**cls.read_settings(directory), **settings}
        tokenizer = load_tokenizer(directory)
        model = cls.find_model_class(directory).from_pretrained(directory, dtype=dtype)
        if model.config.vocab_size != tokenizer.vocab_size:
            raise CheckpointError(
                f"{directory}: the vocabulary must have vocab_size={model.config.vocab_size} "
                f"pieces. Received: {tokenizer.vocab_size}"
            )
        return cls(model, tokenizer, **settings)

    @classmethod
    def find_model_class(cls, directory: str | os.PathLike) -> type[AlbertTaskModel]:
        """Returns the class of the model in a directory."""
        del directory
        return cls.model_class

    @classmethod
    def read_settings(cls, directory: str | os.PathLike) -> dict[str, Any]:
        """Returns arguments of the constructor that the directory knows."""
        del directory
        return {}

    def _encode(self, text: str, allow_special: bool = True) -> list[int]:
        """Returns `[CLS] text [SEP]` as ids, cut to what the model can read."""
        longest = self.model.config.max_position_embeddings
        ids = self.tokenizer.encode(text, allow_special)[: longest - 2]
        return [self.tokenizer.cls_id, *ids, self.tokenizer.sep_id]

    def _pack(self, sequences: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
        """Returns input_ids and input_mask int32 [B, L], padded to the longest sequence."""
        length = max(map(len, sequences))
        # Few different lengths mean few compilations.
        length = min(-(-length // 16) * 16, self.model.config.max_position_embeddings)
        input_ids = np.full((len(sequences), length), self.tokenizer.pad_id, np.int32)
        input_mask = np.zeros((len(sequences), length), np.int32)
        for row, ids in enumerate(sequences):
            input_ids[row, : len(ids)] = ids
            input_mask[row, : len(ids)] = 1
        return input_ids, input_mask

    def _batches(self, sequences: list[list[int]]) -> Iterator[list[list[int]]]:
        for start in range(0, len(sequences), self.batch_size):
            yield sequences[start : start + self.batch_size]


def check_top_k(top_k: int, highest: int) -> None:
    """Refuses a number of answers that there are not.

    Raises:
        ValueError: naming it.
    """
    is_whole = isinstance(top_k, numbers.Integral) and not isinstance(top_k, bool)
    if not is_whole or not 1 <= top_k <= highest:
        raise ValueError(f"`top_k` must lie in 1..{highest}. Received: {top_k!r}")


class FillMask(TextModel):
    """Says what may stand for each `[MASK]` of a text.

    >>> FillMask.from_pretrained(directory)("Paris is the [MASK] of France.")  # doctest: +SKIP
    [{'score': 0.62, 'token': 1057, 'token_str': 'capital', 'sequence': 'paris is the ...'}, ...]
    """

    model_class = AlbertMaskedLM

    def __call__(
        self,
        texts: str | Iterable[str],
        top_k: int | None = None,
        targets: Iterable[str] | None = None,
    ) -> list:
        """Returns the best words for each mask.

        Args:
            texts: a string with at least one `[MASK]`, or a list of such strings.
            top_k: words a mask; by default 5, or all `targets`.
            targets: the words to choose among, each one piece of the vocabulary: the piece that
                begins a word where white space stands before the mask, and the one inside a word
                where none does, as in Chinese; if there is but one of them, that one. Scores stay
                the probabilities among all words.

        Returns:
            For a string with one mask a list of `top_k` dicts, best first: `score` (probability),
            `token` (id), `token_str` (piece as text) and `sequence` (the text with that word). For
            a string with several masks one such list a mask within the model's length, each with
            the other masks left open.
            For a list of strings a list of those.

        Raises:
            ValueError: if a text has no mask, or none within the model's length, or a target is not
                one piece.
        """
        texts, as_given = as_texts(texts)
        choices = None if targets is None else self._pieces_of(targets)
        if top_k is None:
            top_k = 5 if choices is None else choices.shape[1]
        check_top_k(top_k, self.tokenizer.vocab_size if choices is None else choices.shape[1])
        return as_given(self._fill_all(texts, top_k, choices))

    def _pieces_of(self, targets: Iterable[str]) -> np.ndarray:
        """Returns the ids of words, in their order, each once: apart and inside, int32 [2, T]."""
        if isinstance(targets, str):
            raise ValueError(f"`targets` must be a list of words. Received: {targets!r}")
        tokenizer, found = self.tokenizer, {}
        for word in targets:
            ids = tokenizer.encode(word)
            pieces = [tokenizer.id_to_piece(i) for i in ids]
            apart = ids[0] if len(ids) == 1 and ids[0] != tokenizer.unk_id else None
            inside = tokenizer.vocabulary.ids.get("".join(pieces).removeprefix(WORD_BOUNDARY))
            forms = [form for form in (apart, inside) if form is not None]
            if not forms or tokenizer.unk_id in ids:
                raise ValueError(
                    "each of `targets` must be one piece of the vocabulary. Received: "
                    f"{word!r}, which is {pieces}"
                )
            found[forms[0], forms[-1]] = None
        if not found:
            raise ValueError("`targets` must hold words. Received: none")
        return np.array(list(found), np.int32).T

    def _masks_inside_words(self, text: str) -> list[bool]:
        """Tells for each `[MASK]` of a text whether a space before it would make a difference."""
        inside = []
        for number, part in enumerate(text.split(MASK_PIECE)[:-1]):
            before = (MASK_PIECE if number else "") + part[-_TELLING_CHARACTERS:]
            with_space, without = (
                self.tokenizer.encode(f"{before}{space}a", allow_special=True)
                for space in (" ", "")
            )
            inside.append(with_space != without)
        return inside

    def _fill_all(self, texts: list[str], top_k: int, choices: np.ndarray | None) -> list[list]:
        sequences = [self._encode(text) for text in texts]
        for text, ids in zip(texts, sequences, strict=True):
            if self.tokenizer.mask_id not in ids:
                raise ValueError(
                    "each text must have a [MASK] within the first "
                    f"{self.model.config.max_position_embeddings - 2} pieces. Received: {text!r}"
                )
        answers = []
        for batch in self._batches(sequences):
            input_ids, input_mask = self._pack(batch)
            rows, columns = np.nonzero(input_ids == self.tokenizer.mask_id)
            places = np.stack([rows, columns], axis=1).astype(np.int32)  # [M, 2]
            among = None
            if choices is not None:
                these = texts[len(answers) : len(answers) + len(batch)]
                inside = [self._masks_inside_words(text) for text in these]
                order = np.arange(len(rows)) - np.searchsorted(rows, rows)  # of a text's masks
                form = [inside[row][mask] for row, mask in zip(rows, order, strict=True)]
                among = tf.constant(choices[np.array(form, np.int32)])  # [M, T]
            scores, tokens = self._run(input_ids, input_mask, places, tf.constant(top_k), among)
            by_text = [[] for _ in batch]
            for row, column, score, token in zip(
                rows, columns, scores.numpy(), tokens.numpy(), strict=True
            ):
                by_text[row].append(self._describe(batch[row], column, score, token))
            answers += by_text
        # Whoever asked about several masks gets a list of lists, though one alone be in reach.
        has_one = [text.count(MASK_PIECE) == 1 for text in texts]
        return [masks[0] if one else masks for one, masks in zip(has_one, answers, strict=True)]

    def _compute(
        self,
        input_ids: tf.Tensor,
        input_mask: tf.Tensor,
        places: tf.Tensor,
        top_k: tf.Tensor,
        choices: tf.Tensor | None,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        encoder = self.model.encoder
        outputs = encoder(input_ids, input_mask, training=False)
        vectors = tf.gather_nd(outputs["sequence_output"], places)[None]  # [1, M, H]
        table = encoder.embeddings.word_embeddings
        logits = self.model.masked_lm_head(vectors, table)[0]  # [M, V]
        scores = tf.nn.softmax(logits)
        if choices is None:
            return tuple(tf.math.top_k(scores, k=top_k))  # [M, K] twice
        best = tf.math.top_k(tf.gather(scores, choices, batch_dims=1), k=top_k)
        return best.values, tf.gather(choices, best.indices, batch_dims=1)

    def _describe(
        self, ids: list[int], column: int, scores: np.ndarray, tokens: np.ndarray
    ) -> list[dict[str, Any]]:
        answers = []
        for score, token in zip(scores.tolist(), tokens.tolist(), strict=True):
            filled = [*ids[1:column], token, *ids[column + 1 : -1]]
            answers.append(
                {
                    "score": score,
                    "token": token,
                    "token_str": self.tokenizer.decode([token], skip_special=False),
                    "sequence": self.tokenizer.decode(filled, skip_special=False),
                }
            )
        return answers
