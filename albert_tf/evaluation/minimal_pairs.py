"""Pairs of a good and a bad sentence, and which of the two a model finds likelier.

A sentence's pseudo-log-likelihood is the sum, over its pieces, of the log-probability that the
model gives the piece where it alone is masked (Salazar et al. 2020, arXiv 1910.14659). A model
knows what a pair tests if the good sentence has the higher one.

Letters: S sentences, R masked copies, B of them in a batch, L sequence length.
"""

import dataclasses
import os
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from albert_tf.evaluation import figures
from albert_tf.evaluation.figures import Figures
from albert_tf.model import fused_ops
from albert_tf.model.language_models import AlbertForPretraining
from albert_tf.pipelines.task_data import tabular
from albert_tf.pipelines.task_data.input_problems import InputError, InputProblems
from albert_tf.pipelines.tokenizer.tokenization import Tokenizer

_ALL = "all"
_OUR_COLUMNS = ("phenomenon", "good", "bad")
_BLIMP_KEYS = ("UID", "sentence_good", "sentence_bad")
_TOKENS_A_BATCH = 4096
_LENGTH_STEP = 8


@dataclasses.dataclass(frozen=True)
class MinimalPair:
    """Two sentences that differ in one word or in the order of two; one is not grammatical."""

    phenomenon: str
    good: str
    bad: str


def read_pairs(path: str | os.PathLike) -> list[MinimalPair]:
    """Reads pairs: a table with the columns phenomenon, good and bad, or BLiMP's JSON lines.

    Raises:
        InputError: naming the file, the line and what is wrong with it.
    """
    path, problems = os.fspath(path), InputProblems(skip=True)
    is_blimp = ".json" in os.path.basename(path)
    columns, pairs = _BLIMP_KEYS if is_blimp else _OUR_COLUMNS, []
    for place, row in tabular.read_rows(path, problems, required=columns):
        texts = [row[name].strip() if isinstance(row[name], str) else "" for name in columns]
        pairs.append(MinimalPair(*texts))
        if not all(texts):
            empty = columns[texts.index("")]
            problems.add(path, place, f"{empty} must hold a text. Received: {row[empty]!r}")
        elif texts[1] == texts[2]:
            problems.add(path, place, f"two sentences must differ. Received: {texts[1]!r} twice")
        elif texts[0] == _ALL:
            problem = f"{columns[0]} must not be {_ALL!r}, which is the total's name"
            problems.add(path, place, f"{problem}. Received: it")
        if problems.count:
            break
    if problems.count:
        raise InputError(problems.messages_from(0)[0])
    return pairs


def measure_pairs(
    model: AlbertForPretraining,
    tokenizer: Tokenizer,
    pairs: Sequence[MinimalPair],
    piece_counts: np.ndarray,
) -> dict[str, Figures]:
    """Returns {"all" or a phenomenon: figures}, with `left_out`: pairs that cannot be asked.

    Those have an unknown piece, or more pieces than the model reads.

    Beside a phenomenon's figures stands `example`, its first pair. A tie counts as wrong. Of a
    phenomenon whose pairs are all left out there are no other figures.

    Args:
        model, tokenizer: that are asked.
        pairs: what they are asked.
        piece_counts: int [V], how often each piece stands in the training text. Frequencies alone
            are the baseline, for which a tie is half right: it may guess.
    """
    texts = list(dict.fromkeys(text for pair in pairs for text in (pair.good, pair.bad)))
    ids = dict(zip(texts, map(tokenizer.encode, texts), strict=True))
    longest = model.config.max_position_embeddings - 2
    is_known = {
        text: tokenizer.unk_id not in pieces and 0 < len(pieces) <= longest
        for text, pieces in ids.items()
    }
    known = [pair for pair in pairs if is_known[pair.good] and is_known[pair.bad]]
    sentences = list(dict.fromkeys(text for pair in known for text in (pair.good, pair.bad)))
    scores = score_sentences(model, tokenizer, [ids[text] for text in sentences])
    score_of = dict(zip(sentences, scores, strict=True))
    log_counts = np.log(piece_counts + 1.0)
    log_shares = log_counts - np.log(piece_counts.sum() + len(piece_counts))
    unigram_of = {text: log_shares[np.sort(ids[text])].sum() for text in sentences}
    measured = {}
    for name in (_ALL, *dict.fromkeys(pair.phenomenon for pair in pairs)):
        chosen = [pair for pair in known if name in (_ALL, pair.phenomenon)]
        total = sum(name in (_ALL, pair.phenomenon) for pair in pairs)
        is_right = np.array([score_of[pair.good] > score_of[pair.bad] for pair in chosen])
        margins = np.array([unigram_of[pair.good] - unigram_of[pair.bad] for pair in chosen])
        baseline = {"unigram_accuracy": (np.sign(margins) + 1) / 2}
        measured[name] = {}
        if chosen:
            measured[name] = figures.measure(is_right, np.arange(len(chosen)), None, baseline)
        measured[name]["left_out"] = total - len(chosen)
        if name != "all":
            first = next(pair for pair in pairs if pair.phenomenon == name)
            measured[name]["example"] = [first.good, first.bad]
    return measured


def score_sentences(
    model: AlbertForPretraining, tokenizer: Tokenizer, sentences: Sequence[Sequence[int]]
) -> np.ndarray:
    """Returns float64 [S], the pseudo-log-likelihood of each sentence.

    Args:
        model: with the masked-LM head.
        tokenizer: of the model.
        sentences: ids without [CLS] and [SEP].
    """
    scores = np.zeros(len(sentences))
    owners = np.repeat(np.arange(len(sentences)), list(map(len, sentences)))  # [R]
    places = np.concatenate([np.arange(len(ids)) for ids in sentences] or [owners])
    order = np.argsort([len(sentences[owner]) for owner in owners], kind="stable")
    compute = _make_compute(model, tokenizer)
    longest, start = model.config.max_position_embeddings, 0

    def padded_length(row: int) -> int:
        length = len(sentences[owners[row]]) + 2
        return min(-(-length // _LENGTH_STEP) * _LENGTH_STEP, longest)

    while start < len(order):
        # Of one padded length alone: a short copy beside long ones would be padded to theirs.
        length = padded_length(order[start])
        rows = order[start : start + max(1, _TOKENS_A_BATCH // length)]
        rows = rows[[padded_length(row) == length for row in rows]]
        input_ids = np.full((len(rows), length), tokenizer.pad_id, np.int32)  # [B, L]
        for row, copy in zip(input_ids, rows, strict=True):
            ids = sentences[owners[copy]]
            row[: len(ids) + 2] = [tokenizer.cls_id, *ids, tokenizer.sep_id]
        lengths = np.array([len(sentences[owner]) + 2 for owner in owners[rows]], np.int32)
        values = compute(input_ids, lengths, (places[rows] + 1).astype(np.int32)).numpy()
        np.add.at(scores, owners[rows], values)
        start += len(rows)
    return scores


def _make_compute(model: AlbertForPretraining, tokenizer: Tokenizer) -> Callable:
    """Returns a function: ids [B, L], lengths and positions [B] -> log-probabilities [B]."""

    def compute(input_ids: tf.Tensor, lengths: tf.Tensor, positions: tf.Tensor) -> tf.Tensor:
        hidden = tf.gather(input_ids, positions, axis=1, batch_dims=1)  # [B]
        is_hidden = tf.range(tf.shape(input_ids)[1])[None] == positions[:, None]  # [B, L]
        batch = {
            "input_ids": tf.where(is_hidden, tokenizer.mask_id, input_ids),
            "input_mask": tf.sequence_mask(lengths, tf.shape(input_ids)[1], tf.int32),
            "segment_ids": tf.zeros_like(input_ids),
            "masked_lm_positions": positions[:, None],  # [B, 1]
        }
        logits = model(batch, training=False)["masked_lm_logits"][:, 0]  # [B, V]
        return -fused_ops.cross_entropy(tf.cast(logits, tf.float32), hidden)

    # Of any size: traced once, whatever the lengths.
    vector = tf.TensorSpec([None], tf.int32)
    signature = [tf.TensorSpec([None, None], tf.int32), vector, vector]
    return tf.function(compute, signature, autograph=False)
