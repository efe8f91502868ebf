"""Pretraining as a call in Python, with the settings of the command."""

from collections.abc import Callable, Sequence

from albert_tf.checkpoints import hub_files
from albert_tf.freed_memory import keep_freed_memory
from albert_tf.pretraining import pretrain as pretraining
from albert_tf.settings import as_flags
from albert_tf.training.metric_log import Callback, check_callbacks


def pretrain(
    *, callbacks: Sequence[Callback] = (), report: Callable[[str], None] = print, **settings
) -> dict[str, dict[str, float]]:
    """Pretrains as `run_pretraining` does; the same call again goes on where it was killed.

    Args:
        callbacks: functions of one `RunEvent`: each row of metrics and each checkpoint, in order,
            once it is on disk. A run that goes on does not repeat those before its checkpoint. What
            one raises ends the run, and the same call goes on. Of several workers the first alone
            calls them.
        report: takes each line of progress.
        settings: by the names of the command's flags (`run_pretraining --help`), lists for flags
            with commas.

    Returns:
        {split: {metric: value}} of the last evaluation.

    Raises:
        ValueError: for a setting that there is not, that is not allowed or contradicts the data,
            before any work; for data that cannot be read.
        Failure: if the loss becomes infinite or not a number, naming the last good checkpoint.
    """
    check_callbacks(callbacks)
    keep_freed_memory()
    run = pretraining.PretrainingRun.of(**settings)
    flags_text = hub_files.name_copies(as_flags(run, settings))
    return pretraining.pretrain(run, flags_text, report, callbacks)
