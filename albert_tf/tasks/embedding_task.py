"""One vector a text, like ones for like texts: pairs, triples or scored pairs of the user's own.

Letters: N examples, C texts of an example (2, or 3 with one that is not like the first),
H hidden size.
"""

import collections
import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from scipy import stats

from albert_tf.checkpoints.model_kinds import EmbeddingNotes
from albert_tf.model.language_models import AlbertEmbedder
from albert_tf.model.tensors import Outputs
from albert_tf.pipelines.task_data import tabular, text_examples
from albert_tf.pipelines.task_data.encoded_examples import EncodedExamples
from albert_tf.pipelines.task_data.input_problems import InputError, InputProblems
from albert_tf.pipelines.task_data.text_examples import TextExample
from albert_tf.tasks import metrics
from albert_tf.tasks.diagnosis import ErrorSample, ScoreHistogram
from albert_tf.tasks.options import TaskOptions
from albert_tf.tasks.text_task import TableTask, inputs_of

_OF_SCORES = ("spearman", "pearson")
# Of pairs without scores: whether a text's own second text is nearer than all others of the split,
# and the mean of 1 / its place. Of equally near ones it has the last place.
_OF_PLACES = ("accuracy", "mean_reciprocal_rank")
_TEXTS_AT_A_TIME = 512
_ORDERS = 20  # drawn by chance, of all candidates
# Cosines of float32 that differ by less are equal.
_ROUNDING = 1e-6


class EmbeddingTask(TableTask):
    """Trains on what the columns of a table say; predictions are cosines, one a pair.

    A table with `label_column` has scored pairs. Without it the second texts are like the first,
    and those of other rows are not; `negative_column` adds texts that are not, either.
    """

    model_class = AlbertEmbedder

    def __init__(self, name: str, options: TaskOptions, problems: InputProblems):
        super().__init__(name, options, problems)
        if not self.is_pair:
            raise ValueError(
                f"`text_b_column` must name the texts that are like those of `text_column` for "
                f"`task={name}`. Received: none"
            )
        self.pooling = options.pooling or "mean"
        self.normalize = True if options.normalize is None else options.normalize
        self.score_range: tuple[float, float] | None = None  # of the training examples
        in_train, in_dev = map(self._has_labels, (options.train_file, options.dev_file))
        self._has_scores = {
            "train": in_train,
            "dev": in_dev if options.dev_file else in_train,
            "test": False,
        }
        self._check_use(in_train, in_train or in_dev)
        is_alone = not in_train and options.negative_column is None
        self.fewest_examples = 2 if is_alone else 1
        self.metric_names = _OF_SCORES if self._has_scores["dev"] else _OF_PLACES
        self.main_metrics = self.metric_names[:1]

    def _check_use(self, in_train: bool, in_any: bool) -> None:
        """Refuses options that say nothing beside what the files have."""
        options = self.options
        if not in_any and options.label_column != TaskOptions.label_column:
            raise ValueError(
                "`label_column` must name a column of `train_file` or `dev_file`. "
                f"Received: {options.label_column!r}, which neither has"
            )
        if in_train and options.negative_column is not None:
            raise ValueError(
                "`negative_column` goes with a `train_file` without scores. Received: "
                f"{options.train_file}, which has a column {options.label_column!r}; leave out "
                "one of the two"
            )
        if in_train and options.temperature != TaskOptions.temperature:
            raise ValueError(
                "`temperature` goes with pairs or triples without scores. Received: "
                f"{options.temperature:g} and scored pairs, {options.train_file}"
            )

    def _has_labels(self, path: str | None) -> bool:
        """Tells whether a table has the column of scores.

        Raises:
            InputError: if some rows of JSON have it, and the first has not.
        """
        if not path:
            return False
        options = self.options
        all_rows = tabular.read_rows(
            path,
            options.start_problems(),
            options.has_header,
            file_format=options.file_format,
            quoting=options.quoting,
        )
        with contextlib.closing(all_rows) as rows:
            for number, (place, row) in enumerate(rows):  # those of JSON have keys of their own
                if options.label_column in row:
                    if number:
                        raise InputError(
                            f"{path}: all rows must have the key {options.label_column!r}, or "
                            f"none. Received: the first row without it, and {place} with it"
                        )
                    return True
        return False

    def learn(self, examples: list[TextExample]) -> None:
        """Takes the lowest and the highest score, which are to be the cosines 0 and 1."""
        if self._has_scores["train"]:
            scores = [example.label for example in examples]
            self.score_range = min(scores), max(scores)
            if self.score_range[0] == self.score_range[1]:
                raise ValueError(
                    f"{self.options.train_file} must have different scores in column "
                    f"{self.options.label_column}. Received: {scores[0]:g} everywhere"
                )

    def restore(self, notes: EmbeddingNotes, labels: list[str] | None) -> None:
        """Takes how a model that was fine-tuned makes its vectors, where it is not asked for."""
        if self.options.pooling is None:
            self.pooling = notes.pooling
        if self.options.normalize is None:
            self.normalize = notes.normalize

    def notes(self) -> EmbeddingNotes:
        """Returns what a model directory keeps of the task."""
        return EmbeddingNotes(
            task=self.name,
            kind=self.model_class.kind,
            max_seq_length=self.options.max_seq_length,
            pooling=self.pooling,
            normalize=self.normalize,
        )

    def model_arguments(self) -> dict[str, Any]:
        """Returns how vectors are made and compared."""
        return {
            "pooling": self.pooling,
            "normalize": self.normalize,
            "temperature": self.options.temperature,
        }

    def columns(self, split: str) -> tabular.Columns:
        """Returns which columns of a split's file hold what."""
        options, has_scores = self.options, self._has_scores[split]
        is_of_training = split == "train" or (split == "dev" and not options.dev_file)
        return tabular.Columns(
            text_a=options.text_column,
            text_b=options.text_b_column,
            text_c=options.negative_column if is_of_training else None,
            label=options.label_column if has_scores else None,
            guid=options.id_column,
        )

    def encoder(self, training: bool) -> tuple[Callable[..., EncodedExamples], dict[str, Any]]:
        """Returns `text_examples.encode_apart` and its arguments."""
        return text_examples.encode_apart, {
            "max_seq_length": self.options.max_seq_length,
            "score_range": list(self.score_range) if training and self.score_range else None,
        }

    def predict(
        self, examples: list[TextExample], encoded: EncodedExamples, outputs: Outputs
    ) -> list[float]:
        """Returns the cosine of each pair."""
        del examples, encoded
        units = _units(outputs)
        return np.sum(units[:, 0] * units[:, 1], axis=-1).tolist()

    def score(
        self, examples: list[TextExample], predictions: list[float], outputs: Outputs | None = None
    ) -> dict[str, float]:
        """Returns correlations of cosines and scores; of pairs without scores, what `_OF_PLACES`
        says, for which the outputs are needed.

        Raises:
            ValueError: for vectors that are not finite.
        """
        _check_finite(predictions if outputs is None else outputs["scores"])
        if examples[0].label is not None:
            gold = np.array([example.label for example in examples])
            return {name: metrics.METRICS[name](gold, predictions) for name in _OF_SCORES}
        places = np.concatenate([places for _, places, _ in _search(examples, outputs)])
        return {
            "accuracy": float(np.mean(places == 1)),
            "mean_reciprocal_rank": float(np.mean(1 / places)),
        }

    def baseline(
        self, train_examples: list[TextExample], examples: list[TextExample]
    ) -> dict[str, float]:
        """Returns what vectors drawn by chance reach; the same for all texts reaches less."""
        if examples[0].label is not None:
            return dict.fromkeys(_OF_SCORES, 0.0)
        counts = collections.Counter(_list_candidates(examples))
        copies = np.array(list(counts.values()))
        # How often each of the distinct texts is the one that is looked for.
        asked = collections.Counter(example.text_b for example in examples)
        weights = np.array([asked[text] for text in counts]) / len(examples)
        rng, reciprocals = np.random.default_rng(0), []
        for _ in range(_ORDERS):
            order = rng.permutation(len(copies))
            places = 1 + np.cumsum(copies[order]) - copies[order]
            reciprocals.append(np.sum(weights[order] / places))
        return {
            "accuracy": 1 / len(copies),
            "mean_reciprocal_rank": float(np.mean(reciprocals)),
        }

    def diagnose(
        self, examples: list[TextExample], predictions: list[float], outputs: Outputs
    ) -> dict[str, Any]:
        """Returns pairs whose cosine has another rank than their score, or texts to which another
        text than their own is nearest.
        """
        if examples[0].label is not None:
            gold = np.array([example.label for example in examples])
            ranks = stats.rankdata(gold), stats.rankdata(predictions)
            off = np.abs(ranks[0] - ranks[1]) / len(gold)
            errors = [
                ErrorSample(
                    inputs_of(examples[i]),
                    f"{gold[i]:g}",
                    f"{predictions[i]:.3f}",
                    score=float(off[i]),
                    score_name="share of pairs between the ranks",
                )
                for i in np.argsort(-off, kind="stable")
                if off[i]
            ]
            scaled = (gold - gold.min()) / max(np.ptp(gold), 1e-12)
            title = "score from 0 to 1, and cosine"
            histogram = ScoreHistogram(title, scaled.tolist(), list(predictions))
            return {"histogram": histogram, "errors": errors}
        seconds = _list_candidates(examples)
        errors = [
            ErrorSample(
                {"text": examples[i].text_a},
                examples[i].text_b,
                seconds[best],
                score=predictions[i],
                score_name="cosine of its own",
            )
            for start, places, nearest in _search(examples, outputs)
            for i, place, best in zip(range(start, len(examples)), places, nearest, strict=False)
            if place > 1
        ]
        return {"errors": sorted(errors, key=lambda error: error.score)}


def _units(outputs: Outputs) -> np.ndarray:
    """Returns vectors of length 1, float32 [N, C, H]."""
    vectors = np.stack(outputs["scores"])
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


def _check_finite(vectors: list) -> None:
    for number, vector in enumerate(vectors):
        if not np.isfinite(vector).all():
            raise ValueError(
                "vectors must be finite to be scored. "
                f"Received: NaN or infinity in example {number}"
            )


def _list_candidates(examples: list[TextExample]) -> list[str]:
    """Returns the second texts of all examples, then their thirds."""
    seconds = [example.text_b for example in examples]
    return seconds + [example.text_c for example in examples if hasattr(example, "text_c")]


def _search(
    examples: list[TextExample], outputs: Outputs
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yields (number of the first, places, nearest) for some of the N first texts at a time.

    Places int, from 1 on, are those of their own second text among all second and third texts,
    copies of it left out; among equally near ones it is the last. Nearest int says which of the
    others is, the second texts first.
    """
    units = _units(outputs)
    candidates = np.concatenate([units[:, i] for i in range(1, units.shape[1])])  # [N * (C-1), H]
    number_of = {}
    texts = np.array([number_of.setdefault(t, len(number_of)) for t in _list_candidates(examples)])
    for start in range(0, len(units), _TEXTS_AT_A_TIME):
        cosines = units[start : start + _TEXTS_AT_A_TIME, 0] @ candidates.T
        rows = np.arange(len(cosines))
        own = cosines[rows, start + rows][:, None]
        of_others = np.where(texts[start + rows][:, None] == texts, -np.inf, cosines)
        yield start, 1 + np.sum(of_others >= own - _ROUNDING, axis=1), of_others.argmax(axis=1)
