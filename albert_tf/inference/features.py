"""Vectors for texts: of each token and of the whole, how alike texts are, and which are near.

Letters: B texts of a batch, L sequence length, H hidden size, N texts, M other texts.
"""

import functools
import os
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import tensorflow as tf
from absl import logging

from albert_tf import json_files, setting_checks
from albert_tf.checkpoints import hub_files, model_directory, model_kinds, sentence_files
from albert_tf.inference.text_model import TextModel, as_texts, check_top_k
from albert_tf.model import heads
from albert_tf.model.keras_model import AlbertTaskModel
from albert_tf.model.language_models import AlbertModel
from albert_tf.pipelines.tokenizer.tokenization import Tokenizer

# A text, several, or the vectors that `Features.embed` gave for them.
TextsOrVectors = str | Iterable[str] | np.ndarray


class Features(TextModel):
    """Vectors for texts: one a token, and those of a whole text.

    >>> features = Features.from_pretrained(directory, pooling="mean")  # doctest: +SKIP
    >>> features.similarity("A cat sat.", ["A cat slept.", "Prices rose."])  # doctest: +SKIP
    array([0.83, 0.12], dtype=float32)

    Args:
        model, tokenizer: of one model directory.
        batch_size: texts at a time.
        pooling: how `embed` makes one vector of those of the tokens: "mean" of them, "cls", that of
            [CLS], or "max", the largest number at each place. By default what the directory says,
            or else the mean.
        normalize: whether `embed` gives vectors of length 1; by default what the directory says.
        max_seq_length: tokens that a text is cut to; by default what the directory says, or else
            what the model can read.
    """

    model_class = AlbertModel

    def __init__(
        self,
        model: AlbertTaskModel,
        tokenizer: Tokenizer,
        batch_size: int = 32,
        pooling: str | None = None,
        normalize: bool | None = None,
        max_seq_length: int | None = None,
    ):
        super().__init__(model, tokenizer, batch_size)
        if pooling is not None:
            setting_checks.check_choice("pooling", pooling, tuple(heads.POOLINGS))
        longest = model.config.max_position_embeddings
        if max_seq_length is not None:
            setting_checks.check_integer("max_seq_length", max_seq_length, 3, longest)
        # A model that was trained to make vectors knows how.
        self.pooling = getattr(model, "pooling", None) if pooling is None else pooling
        self.normalize = getattr(model, "normalize", False) if normalize is None else normalize
        self.max_seq_length = max_seq_length or longest

    @classmethod
    def read_settings(cls, directory: str | os.PathLike) -> dict[str, Any]:
        """Returns pooling, normalisation and length of a directory that is for embeddings."""
        if model_kinds.read_kind(directory) != "embedding":
            if hub_files.may_lack_modules(directory):
                logging.warning(
                    "%s has no %s, and the hub was not asked for it: a model of "
                    "sentence-transformers needs `pooling`, or its mean is taken",
                    *(hub_files.name_copies(str(directory)), sentence_files.MODULES_FILE),
                )
            return {}
        notes = model_kinds.read_notes(directory, "embedding")
        config = model_directory.read_config(sentence_files.model_folder(directory))
        return vars(notes.fit(config.max_position_embeddings).sentence_settings())

    def _encode(self, text: str, allow_special: bool = True) -> list[int]:
        ids = super()._encode(text, allow_special)
        return (
            ids if len(ids) <= self.max_seq_length else [*ids[: self.max_seq_length - 1], ids[-1]]
        )

    def __call__(self, texts: str | Iterable[str]) -> dict[str, Any] | list[dict[str, Any]]:
        """Returns the vectors of each text.

        Args:
            texts: a string or a list of strings; longer ones are cut to the model's length.
                `[MASK]` and such in them are special pieces, but not with a `pooling`.

        Returns:
            For a string a dict: `tokens`, the pieces with [CLS] and [SEP], L of them;
            `token_vectors` float32 [L, H]; `mean` float32 [H] over the tokens; and, unless the
            directory lacks the pooler, `pooled` float32 [H], what the sentence-order head reads.
            With a `pooling`, given or of the directory, also `embedding`, as `embed` gives it. For
            a list of strings a list of those.
        """
        texts, as_given = as_texts(texts)
        answers = []
        # Embeddings are trained on texts as they stand; `[MASK]` is for the vectors of tokens.
        allow_special = self.pooling is None
        for batch in self._batches([self._encode(text, allow_special) for text in texts]):
            outputs = {
                name: np.asarray(tf.cast(value, tf.float32))
                for name, value in self._run(*self._pack(batch)).items()
            }
            for row, ids in enumerate(batch):
                token_vectors = outputs["sequence_output"][row, : len(ids)]  # [L, H], no padding
                answer = {
                    "tokens": [self.tokenizer.id_to_piece(token) for token in ids],
                    "token_vectors": token_vectors,
                    "mean": token_vectors.mean(axis=0),
                }
                if "pooled_output" in outputs:
                    answer["pooled"] = outputs["pooled_output"][row]
                if self.pooling is not None:
                    one = token_vectors[None], np.ones((1, len(ids)))
                    vector = heads.pool(*one, self.pooling, self.normalize)
                    answer["embedding"] = np.asarray(vector)[0]
                answers.append(answer)
        return as_given(answers)

    def _compute(self, input_ids: tf.Tensor, input_mask: tf.Tensor) -> dict[str, tf.Tensor]:
        return self.model.encoder(input_ids, input_mask, training=False)

    def embed(self, texts: str | Iterable[str]) -> np.ndarray:
        """Returns one vector a text: float32 [H] for a string, [N, H] for a list of N.

        Texts of like length are computed together, so a long list takes no more than its tokens.
        `[SEP]` and such in a text are letters like others, as in training.
        """
        texts, as_given = as_texts(texts)
        return as_given(self._embed_all(texts))

    def _embed_all(self, texts: list[str]) -> np.ndarray:
        """Returns float32 [N, H]."""
        sequences = [self._encode(text, allow_special=False) for text in texts]
        order = np.argsort([len(ids) for ids in sequences], kind="stable")
        vectors = np.zeros((len(texts), self.model.config.hidden_size), np.float32)
        for start in range(0, len(texts), self.batch_size):
            rows = order[start : start + self.batch_size]
            vectors[rows] = self._run_pooled(*self._pack([sequences[row] for row in rows]))
        return vectors

    @functools.cached_property
    def _run_pooled(self) -> Callable:
        def compute(input_ids: tf.Tensor, input_mask: tf.Tensor) -> tf.Tensor:
            vectors = self._compute(input_ids, input_mask)["sequence_output"]
            return heads.pool(vectors, input_mask, self.pooling or "mean", self.normalize)

        return tf.function(compute, autograph=False, reduce_retracing=True)

    def similarity(self, a: TextsOrVectors, b: TextsOrVectors) -> float | np.ndarray:
        """Returns how alike texts are: the cosine of the angle between their vectors, -1 to 1.

        Args:
            a, b: a string, a list of strings, or what `embed` gave for one of these.

        Returns:
            A float for two texts, float32 [M] for one and a list of M (either way round), and
            [N, M] for two lists: row i has the texts of `b` for text i of `a`.
        """
        (of_a, a_is_one), (of_b, b_is_one) = self._units("a", a), self._units("b", b)
        cosines = np.clip(of_a @ of_b.T, -1, 1)  # [N, M]
        if a_is_one and b_is_one:
            return float(cosines[0, 0])
        return cosines[0] if a_is_one else cosines[:, 0] if b_is_one else cosines

    def search(
        self, queries: TextsOrVectors, texts: TextsOrVectors, top_k: int | None = None
    ) -> list[dict[str, Any]] | list[list[dict[str, Any]]]:
        """Returns the texts that are most like each query.

        Args:
            queries: a string, a list of strings, or what `embed` gave for one of these.
            texts: a list of strings, or what `embed` gave for it: to be computed once.
            top_k: texts a query; by default 10, or all where there are fewer.

        Returns:
            For one query a list of dicts, best first: `index` in `texts`, `score` (the cosine) and,
            where `texts` are strings, `text`. For a list of queries a list of those.
        """
        if isinstance(texts, str):
            raise ValueError(f"`texts` must be a list of texts. Received: {texts!r}")
        if not _is_vectors(texts):
            texts = texts.tolist() if isinstance(texts, np.ndarray) else list(texts)
        elif texts.ndim != 2:
            raise ValueError(
                f"`texts` must hold vectors, one a text, of two axes. Received: shape {texts.shape}"
            )
        if not len(texts):
            raise ValueError("`texts` must hold texts. Received: none")
        top_k = min(10, len(texts)) if top_k is None else top_k
        check_top_k(top_k, len(texts))
        of_queries, is_one = self._units("queries", queries)
        of_texts, _ = self._units("texts", texts)
        answers = []
        for start in range(0, len(of_queries), self.batch_size):
            cosines = np.clip(of_queries[start : start + self.batch_size] @ of_texts.T, -1, 1)
            answers += [_best(row, texts, top_k) for row in cosines]
        return answers[0] if is_one else answers

    def _units(self, name: str, given: TextsOrVectors) -> tuple[np.ndarray, bool]:
        """Returns vectors of length 1, float32 [N, H], and whether one text was given."""
        if _is_vectors(given):
            size = self.model.config.hidden_size
            if given.ndim not in (1, 2) or given.shape[-1] != size:
                raise ValueError(
                    f"`{name}` must hold vectors of {size} numbers. Received: shape {given.shape}"
                )
            is_one, vectors = given.ndim == 1, given.reshape(-1, size).astype(np.float32)
        else:
            if not isinstance(given, str) and not hasattr(given, "__iter__"):
                raise TypeError(
                    f"`{name}` must be a text, a list of texts, or vectors of `embed`. Received: "
                    f"{json_files.shorten(given)}"
                )
            is_one, vectors = isinstance(given, str), self.embed(given)
            vectors = vectors[None] if is_one else vectors
        if not np.isfinite(vectors).all():
            raise ValueError(f"`{name}` must have finite vectors. Received: NaN or infinity")
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors / np.maximum(lengths, 1e-12), is_one


def _is_vectors(given: TextsOrVectors) -> bool:
    return isinstance(given, np.ndarray) and given.dtype.kind == "f"


def _best(cosines: np.ndarray, texts: list[str] | np.ndarray, top_k: int) -> list[dict[str, Any]]:
    """Returns the `top_k` largest of float [M], best first, equal ones in their order."""
    order = np.argsort(-cosines, kind="stable")[:top_k]
    answers = [{"index": int(index), "score": float(cosines[index])} for index in order]
    if isinstance(texts, list):
        for answer in answers:
            answer["text"] = texts[answer["index"]]
    return answers
