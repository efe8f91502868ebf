"""A fine-tuning run: a task's data and a pretrained model in, a model directory and scores out.

Each seed is a run of its own in `seed-<n>/`: it can be killed at any moment and goes on from its
last checkpoint. Everything that can be refused is refused before the first step.
"""

import dataclasses
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

from albert_tf import setting_checks, tensorflow_needs, whole_files
from albert_tf.checkpoints import hub_files, model_directory, model_kinds
from albert_tf.finetuning import card, results, seed_run, start
from albert_tf.finetuning.settings import RANDOM, TrainingSettings
from albert_tf.finetuning.settings import FinetuningRun as FinetuningRun
from albert_tf.finetuning.splits import Split
from albert_tf.pipelines.task_data import feature_cache
from albert_tf.pipelines.task_data.input_problems import InputProblems
from albert_tf.pipelines.tokenizer.tokenization import Tokenizer
from albert_tf.tasks import class_balance, table
from albert_tf.training import devices, metric_log, run_directory
from albert_tf.training.distribution import Distribution

# What says how long a run is; in a run that is not done it may grow.
_LENGTHS = ("num_train_epochs", "train_steps")
# How the data is found and read may change between two calls; what it says may not.
_NOT_OF_THE_DATA = {
    "data_dir",
    "train_file",
    "dev_file",
    "test_file",
    "encoding",
    "max_row_mb",
    "max_expansion",
    "label_columns",
    "label_separator",
    # Those that count are among the settings of the task.
    "long_texts",
    *("negative_column", "pooling", "normalize", "temperature"),
}

# Changing these changes the weights by rounding, and the masks where there is dropout, at most: a
# resumed run may have other values.
_FREE = {
    "output_dir",
    "predict_test",
    "eval_batch_size",
    "checkpoint_steps",
    "log_steps",
    "cache_dir",
    "pad_to_max_length",
    "jit_compile",
    "recompute",
    "steps_per_call",
    "distribute",
    "exact",
    "exact_parts",
    "license",
    "language",
}

# What runs had whose versions did not describe it.
_OLDER = {"bias_correction": False, "class_weights": [], "initial_attention": "random"}
_OLDER |= {"lora_rank": 0, "task_settings.n_best": 20}


def finetune(
    run: FinetuningRun,
    flags_text: str = "",
    report: Callable[[str], None] = print,
    callbacks: Sequence[metric_log.Callback] = (),
) -> dict[str, Any]:
    """Fine-tunes (or only evaluates) as `run` says, going on where an earlier call was killed.

    Args:
        run: what defines it.
        flags_text: the flags that made `run`, kept in the model directory.
        report: takes each line of progress.
        callbacks: see `loop.train`.

    Returns:
        The content of `results.json`, see `results.summarize`.

    Raises:
        ValueError, CheckpointError: for arguments that contradict each other, the data or the
            model, before any work.
        whole_files.FolderInUseError: if another process trains in the output directory.
        loop.NonFiniteLossError: naming the step, the last good checkpoint and what to change.
        stop_signals.Stopped: after a signal, see `loop.train`.
    """
    tensorflow_needs.check_backend("fine-tuning by a command")
    checkpoint = hub_files.find_directory(run.start.init_checkpoint or "")
    if checkpoint != (run.start.init_checkpoint or ""):
        run = run.with_values(init_checkpoint=checkpoint)
    if run.task == "embedding":
        run = run.with_values(**_vector_settings(run.options, checkpoint))
    cluster = devices.find_devices(run.devices, report, run.start.precision)
    if run.train:
        cluster.check_batch_size(run.training.batch_size, run.training.accumulation_steps)
    workers = cluster.workers
    with run_directory.opened(run.output_dir, flags_text, workers.is_chief), workers.losses_named():
        return _finetune(run, cluster, flags_text, workers.only_chief(report), callbacks)


def _vector_settings(options: table.TaskOptions, checkpoint: str) -> dict[str, Any]:
    """Returns how a model for embeddings makes vectors, as far as the options do not say it."""
    if not os.path.isdir(checkpoint) or model_kinds.read_kind(checkpoint) != "embedding":
        return {}
    notes = model_kinds.read_notes(checkpoint, "embedding")
    names = [name for name in ("pooling", "normalize") if getattr(options, name) is None]
    return {name: getattr(notes, name) for name in names}


def _finetune(
    run: FinetuningRun,
    cluster: Distribution,
    flags_text: str,
    report: Callable[[str], None],
    callbacks: Sequence[metric_log.Callback],
) -> dict[str, Any]:
    """Fine-tunes in a folder that is locked; see `finetune`."""
    workers = cluster.workers
    tokenizer = start.find_tokenizer(run.start)
    problems = run.options.start_problems()
    task = _make_task(run, problems)
    examples = _read_examples(run, task)
    for line in problems.notes():
        report(line)
    for name in (n for n in examples if n not in task.test_splits):
        class_balance.report_classes(name, task, examples[name], report)
    if run.train:
        _check_part(run.training, task, cluster.parts)
    _check_model_and_steps(run, task, examples, tokenizer)
    output_dir = pathlib.Path(run.output_dir)
    if workers.is_chief:
        _claim(run.training, output_dir, _describe(run, task, examples, tokenizer), report)
    cache_dir = run.cache_dir or output_dir / "features"
    splits = _encode(
        run, cache_dir if workers.is_chief else None, task, examples, tokenizer, report
    )
    outcomes = {}
    for seed in run.seeds if run.train else run.seeds[:1]:
        outcomes[seed] = seed_run.run_seed(
            run, cluster, task, splits, tokenizer, output_dir, seed, report, callbacks
        )
    summary = results.summarize(run, task, splits, outcomes)
    if workers.is_chief:
        results.write(output_dir, run, task, splits, outcomes, summary, problems)
        whole_files.write_text(output_dir / "flags.txt", flags_text)
        if run.train:
            card.write(output_dir, run, task, summary)
            best = output_dir / f"seed-{summary['best_seed']}" / "model"
            model_directory.publish_copy(best, output_dir)
    workers.wait()
    for line in results.describe(summary):
        report(line)
    for line in results.warnings_of(run, summary, splits):
        report(line)
    report(f"results and report: {output_dir / 'results.json'}, {output_dir / 'report.html'}")
    return summary


def _claim(
    training: TrainingSettings,
    output_dir: pathlib.Path,
    description: dict[str, Any],
    report: Callable[[str], None],
) -> None:
    """Takes the output folder for this run, which may be longer than it was until a seed is done.

    A seed that is done keeps its best weights and no moments of the optimizer.
    """
    is_done = any(output_dir.glob(f"seed-*/{seed_run.RESULT_FILE}"))
    reasons = {"init_weights": "the weights in `init_checkpoint` have changed since"}
    why_not = "a seed is done and keeps no moments: a longer run needs another `output_dir`"
    if is_done:
        reasons |= dict.fromkeys(_LENGTHS, why_not)
    changed = run_directory.claim(
        output_dir,
        description,
        has_work=is_done or any(output_dir.glob("seed-*/checkpoints/step-*")),
        may_grow=() if is_done else _LENGTHS,
        newer=("init_weights",),
        older=_OLDER,
        reasons=reasons,
    )
    for name in _LENGTHS:
        rules = name == "train_steps" or not training.train_steps
        if name in changed and rules:
            report(
                f"prolonged: `{name}` is now {getattr(training, name)}, it was {changed[name]};"
                " the learning rate goes on by the longer schedule"
            )


def _check_part(training: TrainingSettings, task: table.Task, parts: int) -> None:
    """Refuses parts of a batch in which there is nothing to be learned."""
    pieces = parts * training.accumulation_steps
    if training.batch_size // pieces < task.fewest_examples:
        raise ValueError(
            f"`batch_size` must be at least {task.fewest_examples * pieces} for this data of "
            f"`task={task.name}`: {task.fewest_examples} examples in each part that is computed "
            f"at once ({parts} on devices, accumulation_steps={training.accumulation_steps}), so "
            f"that there are others to tell a text from. Received: {training.batch_size}"
        )


def _check_model_and_steps(
    run: FinetuningRun, task: table.Task, examples: dict[str, list], tokenizer: Tokenizer
) -> None:
    """Refuses what model and lengths do not allow, before the output folder is taken."""
    model = start.make_model(run.start, task, tokenizer, is_trained=run.train)
    for split in task.dev_splits:
        # What is reported can depend on the data: entities on the tags, levels on the files.
        baseline = task.baseline(examples["train" if run.train else split], examples[split])
        setting_checks.check_choice("metric", task.metric, baseline or task.metrics)
    if run.train:
        class_balance.class_weights_of(run.training.class_weights, task, examples["train"])
        steps = seed_run.settings_in_steps(run.training, len(examples["train"])).train_steps
        if run.options.long_texts == "windows" or task.model_class.kind == "answer":
            steps = max(steps, run.optimization.warmup_steps + 1)  # windows are not counted yet
        seed_run.make_optimizer(run.optimization, model, steps)


def _make_task(run: FinetuningRun, problems: InputProblems) -> table.Task:
    """Returns the task, which has of a model that is only evaluated what fine-tuning noted."""
    task = table.make_task(run.task, run.options, problems)
    if run.train:
        return task
    directory = run.start.init_checkpoint
    notes = model_kinds.read_notes(directory, task.model_class.kind)
    options = run.options
    if task.model_class.kind == "answer" and options.answer_head is None:
        options = dataclasses.replace(options, answer_head=model_kinds.find_answer_head(directory))
    task = table.make_task(run.task, options.filled(notes), problems)
    task.restore(notes, model_directory.read_labels(directory))
    return task


def _read_examples(run: FinetuningRun, task: table.Task) -> dict[str, list]:
    """Returns {split: examples} of all data that the run needs; the task knows its labels then."""
    if run.predict_test and not task.test_splits:
        raise ValueError(
            f"`predict_test` needs a test set, such as a `test_file`. Received: none of "
            f"`task={run.task}`"
        )
    if run.training.early_stopping_evaluations and not task.dev_splits:
        raise ValueError("`early_stopping_evaluations` needs held-out data. Received: none")
    names = [*(["train"] if run.train else []), *task.dev_splits]
    names += task.test_splits if run.predict_test else []
    if not names:
        raise ValueError(
            f"`train=False` needs data: held-out data of `task={run.task}` to evaluate on, or "
            "`predict_test` with data to predict. Received: neither"
        )
    examples = {}
    for name in names:
        examples[name] = task.read(name)
        if not examples[name]:
            raise ValueError(f"the {name} data of `task={run.task}` must hold examples")
        if name == "train":
            task.learn(examples[name])
    return examples


def _encode(
    run: FinetuningRun,
    cache_dir: str | pathlib.Path | None,
    task: table.Task,
    examples: dict[str, list],
    tokenizer: Tokenizer,
    report: Callable[[str], None],
) -> dict[str, Split]:
    """Returns the splits by name, their examples encoded."""
    splits = {}
    for name, of_split in examples.items():
        encode, arguments = task.encoder(training=name == "train")
        encoded = feature_cache.encode_cached(cache_dir, encode, of_split, tokenizer, **arguments)
        splits[name] = Split(of_split, encoded)
        rows = f" in {len(encoded):,} windows" if len(encoded) != len(of_split) else ""
        report(
            f"{run.task}, {name}: {len(of_split):,} examples{rows}, "
            f"{encoded.lengths().mean():.0f} tokens on average"
        )
    return splits


def _describe(
    run: FinetuningRun, task: table.Task, examples: dict[str, list], tokenizer: Tokenizer
) -> dict[str, Any]:
    """Returns what defines the run: two runs of the same description have the same weights."""
    options = task.options.values_by_name()
    description = {
        name: value
        for name, value in run.values_by_name().items()
        if name not in options and name not in _FREE
    }
    if run.start.max_position_embeddings is None:  # as before there was such a setting
        del description["max_position_embeddings"]
    if run.start.init_checkpoint:
        description["init_checkpoint"] = hub_files.name_copies(run.start.init_checkpoint)
        if run.start.init_checkpoint != RANDOM:
            # The folder may hold another model by now than the one that earlier seeds began with.
            description["init_weights"] = start.digest_of_weights(run.start.init_checkpoint)
    description["seeds"] = "each in a folder of its own"
    description["task_settings"] = dataclasses.asdict(task.notes()) | task.model_arguments()
    description["options"] = {k: v for k, v in options.items() if k not in _NOT_OF_THE_DATA}
    description["data"] = {
        name: feature_cache.digest_of(of_split)
        for name, of_split in examples.items()
        if name not in task.test_splits
    }
    description["vocabulary"] = tokenizer.fingerprint
    description |= run.devices.describe()
    return description
