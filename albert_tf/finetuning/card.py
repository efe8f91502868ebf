"""The card of a fine-tuned model: which data its task means, and which results stand there."""

import dataclasses
import os
import pathlib
from typing import Any

from albert_tf.finetuning.settings import RANDOM, FinetuningRun
from albert_tf.pipelines.task_data import chinese_files, glue
from albert_tf.tasks.table import Task
from albert_tf.training import model_card

# {task: (name of its data, name on the hub, configuration there, language)}.
_OFFICIAL = {
    **{n: (f"GLUE {row.folder}", "nyu-mll/glue", n, "en") for n, row in glue.TASKS.items()},
    "squad1": ("SQuAD 1.1", "rajpurkar/squad", None, "en"),
    "squad2": ("SQuAD 2.0", "rajpurkar/squad_v2", None, "en"),
    "race": ("RACE", "ehovy/race", None, "en"),
    **{n: (row.name, None, None, "zh") for n, row in chinese_files.TASKS.items()},
    "cmrc2018": ("CMRC 2018", "hfl/cmrc2018", None, "zh"),
}


def write(
    output_dir: str | os.PathLike, run: FinetuningRun, task: Task, results: dict[str, Any]
) -> None:
    """Writes the card of a run.

    Args:
        output_dir: of the run.
        run: what defines it.
        task: of the run.
        results: what `results.summarize` returned.
    """
    start = run.start.init_checkpoint
    model_card.write(
        output_dir,
        command="run_finetuning",
        run=run,
        kind=task.model_class.kind,
        data=_describe_data(run, results["examples"]),
        scores=results["summary"],
        baseline=results["baseline"],
        seeds=list(map(int, results["seeds"])),
        kept_seed=int(results["best_seed"]),
        main_metric=results["metric"],
        init_checkpoint=None if start == RANDOM else start,
    )


def _describe_data(run: FinetuningRun, examples: dict[str, int]) -> model_card.TrainingData:
    """Returns what the run was trained and scored on."""
    options = run.options
    data = _data_of(run, options.train_file, examples)
    if options.dev_file or (options.train_file and options.data_dir):
        scored_on = _data_of(run, options.dev_file, examples)
        data = dataclasses.replace(data, scored_on=scored_on)
    return data


def _data_of(
    run: FinetuningRun, file: str | None, examples: dict[str, int]
) -> model_card.TrainingData:
    """Returns a task's own data, or a file of the user's, which goes by its name."""
    if run.task not in _OFFICIAL or file:
        return model_card.TrainingData(name=pathlib.Path(file).stem, examples=examples)
    name, hub_name, configuration, language = _OFFICIAL[run.task]
    if run.task == "race":
        configuration = run.options.levels[0] if len(run.options.levels) == 1 else "all"
    return model_card.TrainingData(
        name=name,
        examples=examples,
        hub_name=hub_name,
        configuration=configuration,
        languages=(language,),
    )
