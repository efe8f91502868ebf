"""What the model of a finished run knows, by kind of words: the end of the run's report."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from albert_tf.evaluation import english_pairs, evaluate, minimal_pairs, page
from albert_tf.evaluation.figures import Figures
from albert_tf.model.language_models import AlbertForPretraining
from albert_tf.pipelines.tokenizer.tokenization import Tokenizer
from albert_tf.pretraining.settings import PretrainingRun

# A tenth of what an evaluation costs, and some seconds at most; run_evaluation takes more.
_SHARE, _MOST_EXAMPLES, _PAIRS_A_PHENOMENON = 10, 500, 20


def measure(
    run: PretrainingRun,
    model: AlbertForPretraining,
    tokenizer: Tokenizer,
    held_out: Mapping[str, tf.data.Dataset],
    piece_counts: np.ndarray | None,
) -> dict[str, Any]:
    """Returns {"by_kind": what `evaluate.evaluate` returns of it}, or {} where it is not asked for.

    Args:
        run: its settings; with "en" among its languages, English minimal pairs are asked, too.
        model: trained.
        tokenizer: of the model.
        held_out: {split: batches}.
        piece_counts: int [V], how often each piece was to be guessed in training.
    """
    if not run.evaluation.eval_by_kind or not held_out:
        return {}
    most = min(max(run.evaluation.eval_examples // _SHARE, 1), _MOST_EXAMPLES)
    made = evaluate.predict_all(model, tokenizer, held_out, most)
    by_kind = evaluate.measure_held_out(made, piece_counts)
    if "en" in run.card.language:
        pairs = english_pairs.make_pairs(_PAIRS_A_PHENOMENON)
        by_kind["minimal_pairs"] = minimal_pairs.measure_pairs(
            model, tokenizer, pairs, piece_counts
        )
    return {"by_kind": by_kind}


def make_rows(by_kind: Mapping[str, Any]) -> list[list[str]]:
    """Returns a short table of it for the model's card, the header first."""
    rows = [["what", "kind", "accuracy", "without reading"]]
    for split, kinds in by_kind["words"].items():
        rows += [
            _row(split, kind, row, row["unigram_accuracy"])
            for kind, row in kinds.items()
            if kind != "all"
        ]
    rows += [
        _row("sentence order", kind, row, 0.5) for kind, row in by_kind["sentence_order"].items()
    ]
    pairs = by_kind.get("minimal_pairs", {}).get("all", {})
    if "accuracy" in pairs:
        rows.append(_row("minimal pairs", "all", pairs, pairs["unigram_accuracy"]))
    return rows


def _row(what: str, kind: str, row: Figures, baseline: float) -> list[str]:
    accuracy = f"{page.percent(row['accuracy'])} ± {page.percent(row['accuracy_error'])}"
    return [what, kind, accuracy, page.percent(baseline)]
