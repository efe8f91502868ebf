"""Held-out words and sentence order, prediction by prediction, and what they are like by kind.

Letters: B batch, L sequence length, P prediction slots, V vocabulary, E examples, n predictions.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np
import tensorflow as tf

from albert_tf.evaluation import figures
from albert_tf.evaluation.figures import Figures
from albert_tf.model import fused_ops
from albert_tf.model.language_models import AlbertForPretraining
from albert_tf.pipelines.examples.masking import PieceTable

# The most frequent pieces that make up half of all text, those of the next 40%, and the rest.
BANDS = ("frequent pieces", "middle pieces", "rare pieces")
_BAND_ENDS = (0.5, 0.9)
_SHORTER_SEGMENTS = (16, 32, 64)


@dataclasses.dataclass(frozen=True)
class Predictions:
    """What a model said of a split.

    Attributes:
        texts: int [n], number of the example that each hidden piece stands in.
        pieces: int [n], its id.
        is_right, losses: bool and float [n].
        run_words: int [n], words of the run of hidden neighbors that it stands in.
        word_pieces: int [n], pieces of its word.
        is_repeated: bool [n], whether the same piece stands in its example where it can be read.
        order_is_right, order_losses: bool and float [E].
        shorter_segments: int [E], pieces of the shorter segment.
        input_ids: int [E, L], with the hidden pieces back in their places.
        segments: int [E, L], 1 and 2 in the segments, 0 elsewhere.
    """

    texts: np.ndarray
    pieces: np.ndarray
    is_right: np.ndarray
    losses: np.ndarray
    run_words: np.ndarray
    word_pieces: np.ndarray
    is_repeated: np.ndarray
    order_is_right: np.ndarray
    order_losses: np.ndarray
    shorter_segments: np.ndarray
    input_ids: np.ndarray
    segments: np.ndarray


def make_answer(model: AlbertForPretraining) -> Callable:
    """Returns a compiled function: batch -> is_right, losses [B, P], and those of the order [B]."""

    def score(logits: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        best = fused_ops.argmax(logits)
        losses = fused_ops.cross_entropy(tf.cast(logits, tf.float32), labels)
        return tf.equal(best, tf.cast(labels, best.dtype)), losses

    def answer(batch: dict[str, tf.Tensor]) -> tuple[tf.Tensor, ...]:
        outputs = model(batch, training=False)
        words = score(outputs["masked_lm_logits"], batch["masked_lm_ids"])
        return *words, *score(outputs["sentence_order_logits"], batch["sentence_order_label"])

    return tf.function(answer, autograph=False, reduce_retracing=True)


def predict(
    answer: Callable,
    batches: Iterable[dict[str, np.ndarray]],
    pieces: PieceTable,
    most_examples: int,
) -> Predictions:
    """Returns what `answer` of `make_answer` says of the first `most_examples` of some batches."""
    parts, count = [], 0
    for batch in batches:
        batch = {name: values[: most_examples - count] for name, values in batch.items()}
        answers = [values.numpy() for values in answer(batch)]
        parts.append(_describe_batch(batch, answers, pieces, count))
        count += len(batch["input_ids"])
        if count == most_examples:
            break
    names = [field.name for field in dataclasses.fields(Predictions)]
    return Predictions(**{name: np.concatenate([part[name] for part in parts]) for name in names})


def _describe_batch(
    batch: Mapping[str, np.ndarray],
    answers: list[np.ndarray],
    pieces: PieceTable,
    first_example: int,
) -> dict[str, np.ndarray]:
    """Returns the values of `Predictions` of one batch."""
    is_right, losses, order_is_right, order_losses = answers
    input_ids = restore(batch)
    segments = find_segments(input_ids, batch, pieces)
    is_hidden = batch["masked_lm_weights"] > 0  # [B, P]
    rows, slots = np.nonzero(is_hidden)
    positions = batch["masked_lm_positions"][rows, slots]
    run_words, word_pieces = find_runs(input_ids, segments, rows, positions, pieces.word_start)
    lengths = [(segments == number).sum(axis=1) for number in (1, 2)]
    return {
        "texts": rows + first_example,
        "pieces": batch["masked_lm_ids"][rows, slots],
        "is_right": is_right[is_hidden],
        "losses": losses[is_hidden],
        "run_words": run_words,
        "word_pieces": word_pieces,
        "is_repeated": find_repeated(batch)[is_hidden],
        "order_is_right": order_is_right,
        "order_losses": order_losses,
        "shorter_segments": np.minimum(*lengths),
        "input_ids": input_ids,
        "segments": segments,
    }


def restore(batch: Mapping[str, np.ndarray]) -> np.ndarray:
    """Returns the `input_ids` [B, L] of a batch as they were before pieces were hidden."""
    input_ids = np.array(batch["input_ids"])
    rows, slots = np.nonzero(batch["masked_lm_weights"] > 0)
    hidden = batch["masked_lm_ids"][rows, slots]
    input_ids[rows, batch["masked_lm_positions"][rows, slots]] = hidden
    return input_ids


def find_repeated(batch: Mapping[str, np.ndarray]) -> np.ndarray:
    """Returns bool [B, P]: whether each hidden piece stands in its example once more, to be read.

    What stands in its own place, where nothing or another piece was put there, does not count.
    """
    readable = np.array(batch["input_ids"])  # [B, L]
    rows, slots = np.nonzero(batch["masked_lm_weights"] > 0)
    readable[rows, batch["masked_lm_positions"][rows, slots]] = -1
    is_repeated = np.zeros(batch["masked_lm_ids"].shape, bool)
    hidden = batch["masked_lm_ids"][rows, slots]
    is_repeated[rows, slots] = (readable[rows] == hidden[:, None]).any(axis=1)
    return is_repeated


def find_segments(
    input_ids: np.ndarray, batch: Mapping[str, np.ndarray], pieces: PieceTable
) -> np.ndarray:
    """Returns int8 [B, L]: 1 and 2 in the two segments of a batch, 0 at [CLS], [SEP] and padding.

    Args:
        input_ids: of `restore`.
        batch: with `input_mask` and `segment_ids`.
        pieces: the vocabulary's table.
    """
    is_text = (batch["input_mask"] > 0) & ~np.isin(input_ids, (pieces.cls_id, pieces.sep_id))
    return np.where(is_text, batch["segment_ids"] + 1, 0).astype(np.int8)


def find_runs(
    input_ids: np.ndarray,
    segments: np.ndarray,
    rows: np.ndarray,
    positions: np.ndarray,
    word_start: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the words of the run, and the pieces of the word, that each hidden piece stands in.

    A run is what is hidden without a gap, whoever chose it: its words see none of each other.

    Args:
        input_ids: int [B, L], nothing hidden.
        segments: of `find_segments`.
        rows, positions: int [n] of the hidden pieces, ascending.
        word_start: bool [V].

    Returns:
        int [n], int [n].
    """
    # A segment's first piece has no word before it to go on with.
    starts = word_start[input_ids] | (segments != np.pad(segments, ((0, 0), (1, 0)))[:, :-1])
    words = np.cumsum(starts.reshape(-1)) - 1
    words = words.reshape(input_ids.shape)  # [B, L], numbers of words in the batch
    in_text = np.bincount(words[segments > 0], minlength=words.max() + 1)
    of_hidden = words[rows, positions]  # [n]
    places = rows * (input_ids.shape[1] + 1) + positions  # a gap between rows
    is_first = np.diff(places, prepend=-2) != 1
    runs = np.cumsum(is_first) - 1
    # Of a word that lies in a run a new one begins where its number changes.
    begins_word = is_first | (np.diff(of_hidden, prepend=-1) != 0)
    return np.bincount(runs, weights=begins_word).astype(int)[runs], in_text[of_hidden]


def find_bands(piece_counts: np.ndarray) -> np.ndarray:
    """Returns int [V], the number in `BANDS` of each piece.

    Args:
        piece_counts: int [V], how often each stands in the training text.

    >>> find_bands(np.array([1, 50, 9, 40]))
    array([2, 0, 2, 1])
    """
    order = np.argsort(-piece_counts, kind="stable")
    before = np.cumsum(piece_counts[order]) - piece_counts[order]  # of the more frequent ones
    bands = np.empty(len(piece_counts), int)
    bands[order] = np.searchsorted(_BAND_ENDS, before / max(piece_counts.sum(), 1), side="right")
    return bands


def _kinds(split: str, made: Predictions, bands: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Yields (name, bool [n]) of each kind of hidden words that a split tells apart."""
    yield "all", np.ones(len(made.texts), bool)
    if split == "held_out":  # the other one hides pieces, whatever word they are of
        yield "words hidden alone", made.run_words == 1
        yield "runs of 2 words", made.run_words == 2
        yield "runs of 3 words", made.run_words == 3
        yield "words of one piece", made.word_pieces == 1
        yield "words of several pieces", made.word_pieces > 1
    for number, name in enumerate(BANDS):
        yield name, bands[made.pieces] == number
    # Frequent pieces are everywhere: that they stand there twice says nothing.
    is_less_frequent = bands[made.pieces] > 0
    yield "middle and rare, also elsewhere", is_less_frequent & made.is_repeated
    yield "middle and rare, nowhere else", is_less_frequent & ~made.is_repeated


def measure_words(
    split: str, made: Predictions, piece_counts: np.ndarray, is_kept: np.ndarray | None = None
) -> dict[str, Figures]:
    """Returns {kind of hidden words: figures}, kinds without a prediction left out.

    The baseline knows only how often each piece stands in the training text: it always names the
    most frequent one, and gives each its share, with one added to every count.

    Args:
        split: "held_out" or "held_out_single".
        made: the predictions.
        piece_counts: int [V].
        is_kept: bool [E], examples that count; all by default.
    """
    log_shares = np.log(piece_counts + 1.0) - np.log(piece_counts.sum() + len(piece_counts))
    baseline = {
        "unigram_accuracy": made.pieces == np.argmax(piece_counts),
        "unigram_loss": -log_shares[made.pieces],
    }
    kept = np.ones(len(made.texts), bool) if is_kept is None else is_kept[made.texts]
    measured = {}
    for name, chosen in _kinds(split, made, find_bands(piece_counts)):
        chosen = chosen & kept
        if chosen.any():
            measured[name] = figures.measure(
                made.is_right[chosen],
                made.texts[chosen],
                made.losses[chosen],
                {name: values[chosen] for name, values in baseline.items()},
            )
    return measured


def measure_order(made: Predictions, is_kept: np.ndarray | None = None) -> dict[str, Figures]:
    """Returns {"all" or pieces of the shorter segment: figures}; arguments as `measure_words`."""
    kept = np.ones(len(made.order_losses), bool) if is_kept is None else is_kept
    bounds = (0, *_SHORTER_SEGMENTS)
    kinds = {"all": kept}
    for number, first in enumerate(bounds):
        end = bounds[number + 1] if number + 1 < len(bounds) else None
        name = f"{max(first, 1)} to {end - 1} pieces" if end else f"{first} pieces and more"
        is_long = made.shorter_segments >= first
        kinds[name] = kept & is_long & (made.shorter_segments < (end or np.inf))
    texts = np.arange(len(kept))
    return {
        name: figures.measure(made.order_is_right[chosen], texts[chosen], made.order_losses[chosen])
        for name, chosen in kinds.items()
        if chosen.any()
    }
