"""Evaluation of a pretrained model as a call in Python, with the settings of the command."""

from collections.abc import Callable
from typing import Any

from albert_tf.evaluation import evaluate as evaluation
from albert_tf.evaluation.settings import EvaluationRun


def evaluate(*, report: Callable[[str], None] = print, **settings) -> dict[str, Any]:
    """Measures a pretrained model as `run_evaluation` does, and writes the same files.

    Args:
        report: takes each line.
        settings: by the names of the command's flags (`run_evaluation --help`), lists for flags
            with commas.

    Returns:
        What `evaluation.json` holds: `words` {split: {kind: figures}}, `sentence_order` {length:
        figures}, `minimal_pairs` {phenomenon: figures} and `contamination`, what was not measured
        left out.

    Raises:
        ValueError, CheckpointError: for a setting that there is not or that is not allowed, and for
            a model or data that cannot be read or do not belong together.
    """
    return evaluation.evaluate(EvaluationRun.of(**settings), report)
