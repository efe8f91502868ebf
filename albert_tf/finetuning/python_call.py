"""Fine-tuning as a call in Python, with the settings of the command."""

from collections.abc import Callable, Sequence
from typing import Any

from albert_tf.checkpoints import hub_files
from albert_tf.finetuning import finetune as finetuning
from albert_tf.freed_memory import keep_freed_memory
from albert_tf.settings import as_flags
from albert_tf.training.metric_log import Callback, check_callbacks


def finetune(
    *, callbacks: Sequence[Callback] = (), report: Callable[[str], None] = print, **settings
) -> dict[str, Any]:
    """Fine-tunes as `run_finetuning` does; the same call again goes on where it was killed.

    Args:
        callbacks: functions of one `RunEvent`, see `pretrain`. Seeds are trained one after
            another, and `RunEvent.seed` tells which it is.
        report: takes each line of progress.
        settings: by the names of the command's flags (`run_finetuning --help`), lists for flags
            with commas.

    Returns:
        What `results.json` in the output directory holds, such as `summary`, {split: {metric:
        {"mean", "deviation", "values"}}}.

    Raises:
        ValueError, CheckpointError: for a setting that there is not, that is not allowed or
            contradicts the data or the model, before any work.
        Failure: if the loss becomes infinite or not a number, naming the last good checkpoint.
    """
    check_callbacks(callbacks)
    keep_freed_memory()
    run = finetuning.FinetuningRun.of(**settings)
    flags_text = hub_files.name_copies(as_flags(run, settings))
    return finetuning.finetune(run, flags_text, report, callbacks)
