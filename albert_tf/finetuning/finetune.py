"""A fine-tuning run: a task's data and a pretrained model in, a model directory and scores out.

Each seed is a run of its own in `seed-<n>/`: it can be killed at any moment and goes on from its
last checkpoint. Everything that can be refused is refused before the first step.
"""

import dataclasses
import functools
import math
import pathlib
from collections.abc import Callable
from typing import Any

import keras

from albert_tf import json_files, setting_checks, tensorflow_needs, whole_files
from albert_tf.checkpoints import model_directory, model_kinds
from albert_tf.finetuning import results, start
from albert_tf.finetuning.evaluation import Evaluator
from albert_tf.finetuning.settings import FinetuningRun as FinetuningRun
from albert_tf.finetuning.settings import OptimizerSettings, TrainingSettings
from albert_tf.finetuning.splits import Split
from albert_tf.model.keras_model import AlbertTaskModel
from albert_tf.pipelines.task_data import feature_cache
from albert_tf.pipelines.task_data.finetuning_dataset import finetuning_dataset, steps_per_epoch
from albert_tf.pipelines.tokenizer.tokenization import Tokenizer
from albert_tf.tasks import class_balance, table
from albert_tf.training import loop, optimizers, run_directory, train_step
from albert_tf.training import settings as training_settings
from albert_tf.training.best_checkpoint import BestCheckpoint

_SEED_RESULT = "result.json"
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
}

# Changing these changes the weights by rounding at most, so a resumed run may have other values.
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
}


def finetune(
    run: FinetuningRun, flags_text: str = "", report: Callable[[str], None] = print
) -> dict[str, Any]:
    """Fine-tunes (or only evaluates) as `run` says, going on where an earlier call was killed.

    Args:
        run: what defines it.
        flags_text: the flags that made `run`, kept in the model directory.
        report: takes each line of progress.

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
    with run_directory.opened(run.output_dir):
        return _finetune(run, flags_text, report)


def _finetune(run: FinetuningRun, flags_text: str, report: Callable[[str], None]) -> dict[str, Any]:
    """Fine-tunes in a folder that is locked; see `finetune`."""
    tokenizer = start.find_tokenizer(run.start)
    problems = run.options.start_problems()
    task = table.make_task(run.task, run.options, problems)
    examples = _read_examples(run, task)
    for line in problems.notes():
        report(line)
    for name in (n for n in examples if n not in task.test_splits):
        class_balance.report_classes(name, task, examples[name], report)
    _check_model_and_steps(run, task, examples, tokenizer)
    output_dir = pathlib.Path(run.output_dir)
    _claim(run.training, output_dir, _describe(run, task, examples, tokenizer), report)
    splits = _encode(run, task, examples, tokenizer, report)
    outcomes = {}
    for seed in run.seeds if run.train else run.seeds[:1]:
        outcomes[seed] = _run_seed(run, task, splits, tokenizer, output_dir, seed, report)
    summary = results.summarize(run, task, splits, outcomes)
    results.write(output_dir, run, task, splits, outcomes, summary, problems)
    whole_files.write_text(output_dir / "flags.txt", flags_text)
    if run.train:
        best = output_dir / f"seed-{summary['best_seed']}" / "model"
        model_directory.publish_copy(best, output_dir)
    for line in results.describe(summary):
        report(line)
    for line in results.warnings_of(run, summary):
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
    is_done = any(output_dir.glob(f"seed-*/{_SEED_RESULT}"))
    why_not = "a seed is done and keeps no moments: a longer run needs another `output_dir`"
    changed = run_directory.claim(
        output_dir,
        description,
        has_work=is_done or any(output_dir.glob("seed-*/checkpoints/step-*")),
        may_grow=() if is_done else _LENGTHS,
        reasons=dict.fromkeys(_LENGTHS, why_not) if is_done else None,
    )
    for name in _LENGTHS:
        if name in changed:
            report(
                f"prolonged: `{name}` is now {getattr(training, name)}, it was {changed[name]};"
                " the learning rate goes on by the longer schedule"
            )


def _check_model_and_steps(
    run: FinetuningRun, task: table.Task, examples: dict[str, list], tokenizer: Tokenizer
) -> None:
    """Refuses what model and lengths do not allow, before the output folder is taken."""
    model = start.make_model(run.start, task, tokenizer, is_trained=run.train)
    if run.train:
        class_balance.class_weights_of(run.training.class_weights, task, examples["train"])
        for split in task.dev_splits:
            # What is reported can depend on the data: entities on the tags, levels on the files.
            baseline = task.baseline(examples["train"], examples[split])
            setting_checks.check_choice("metric", task.metric, baseline or task.metrics)
        settings = _settings_in_steps(run.training, len(examples["train"]))
        _make_optimizer(run.optimization, model, settings.train_steps)


def _read_examples(run: FinetuningRun, task: table.Task) -> dict[str, list]:
    """Returns {split: examples} of all data that the run needs; the task knows its labels then."""
    if not run.train:
        notes = model_kinds.read_notes(run.start.init_checkpoint, task.model_class.kind)
        task.restore(notes, model_directory.read_labels(run.start.init_checkpoint))
    names = [*(["train"] if run.train else []), *task.dev_splits]
    names += task.test_splits if run.predict_test else []
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
    task: table.Task,
    examples: dict[str, list],
    tokenizer: Tokenizer,
    report: Callable[[str], None],
) -> dict[str, Split]:
    """Returns the splits by name, their examples encoded."""
    cache_dir = run.cache_dir or pathlib.Path(run.output_dir) / "features"
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
    options = run.options.values_by_name()
    description = {
        name: value
        for name, value in run.values_by_name().items()
        if name not in options and name not in _FREE
    }
    description["seeds"] = "each in a folder of its own"
    description["task_settings"] = dataclasses.asdict(task.notes()) | task.model_arguments()
    description["options"] = {k: v for k, v in options.items() if k not in _NOT_OF_THE_DATA}
    description["data"] = {
        name: feature_cache.digest_of(of_split)
        for name, of_split in examples.items()
        if name not in task.test_splits
    }
    description["vocabulary"] = tokenizer.fingerprint
    return description


def _settings_in_steps(
    training: TrainingSettings, num_examples: int
) -> training_settings.TrainingSettings:
    return training.in_steps(steps_per_epoch(num_examples, training.batch_size))


def _run_seed(
    run: FinetuningRun,
    task: table.Task,
    splits: dict[str, Split],
    tokenizer: Tokenizer,
    output_dir: pathlib.Path,
    seed: int,
    report: Callable[[str], None],
) -> dict[str, Any]:
    """Trains and evaluates with one seed, unless that is done already.

    Returns:
        {"best": {split: scores}, "last": {split: scores}, "best_step": int or None}; predictions of
        the best checkpoint lie in the seed's folder.
    """
    folder = output_dir / f"seed-{seed}"
    result_file = folder / _SEED_RESULT
    if result_file.exists():
        outcome = read_outcome(result_file)
        if set(outcome["predicted"]) >= set(splits) - {"train"}:
            report(f"seed {seed}: done already")
            _remove_work(folder)
            return outcome
    keras.utils.set_random_seed(seed)
    model = start.make_model(run.start, task, tokenizer, is_trained=run.train)
    evaluator = Evaluator(task, splits, model, run.evaluation.eval_batch_size)
    outcome = {"best_step": None, "last": {}}
    if run.train and not result_file.exists():
        trainable = sum(math.prod(variable.shape) for variable in model.trainable_variables)
        report(
            f"seed {seed}: {trainable:,} of {model.count_params():,} parameters are trained, "
            f"{run.start.init_checkpoint}"
        )
        best, outcome["last"] = _train(
            run, task, splits, tokenizer, folder, seed, model, evaluator, report
        )
        if best is not None:
            outcome["best_step"] = best.best_step()
            if best.best_step() != best.last_step():
                model_directory.fill(model, best.path())
                evaluator.forget()
    elif run.train:
        outcome = read_outcome(result_file)
        model_directory.fill(model, folder / "model")
    outcome["best"] = evaluator.write_predictions(folder)
    outcome["predicted"] = [name for name in splits if name != "train"]
    if run.train and not (folder / "model").exists():
        with whole_files.whole_directory(folder / "model") as partial:
            _write_model(partial, model, tokenizer, task)
    whole_files.write_json(result_file, outcome)
    _remove_work(folder)
    return outcome


def _remove_work(folder: pathlib.Path) -> None:
    """Removes what a seed needed until its result was there."""
    for path in (folder / "checkpoints", *folder.glob("best-*")):
        whole_files.remove_directory(path)
    whole_files.remove_partials(folder)


def read_outcome(result_file: pathlib.Path) -> dict[str, Any]:
    """Returns what a seed's `result.json` holds, as `_run_seed` returned it.

    Raises:
        JsonError: if the file is damaged.
    """
    return json_files.read_object(result_file, {"predicted": list, "best": dict, "last": dict})


def _train(
    run: FinetuningRun,
    task: table.Task,
    splits: dict[str, Split],
    tokenizer: Tokenizer,
    folder: pathlib.Path,
    seed: int,
    model: AlbertTaskModel,
    evaluator: Evaluator,
    report: Callable[[str], None],
) -> tuple[BestCheckpoint | None, dict[str, dict[str, float]]]:
    """Trains; returns the best checkpoint, None without held-out data, and the last scores."""
    train_split = splits["train"]
    settings = _settings_in_steps(run.training, len(train_split.encoded))
    optimizer = _make_optimizer(run.optimization, model, settings.train_steps)
    class_weights = class_balance.class_weights_of(
        run.training.class_weights, task, train_split.examples
    )
    save_files = functools.partial(_write_model, model=model, tokenizer=tokenizer, task=task)
    best = None
    if task.dev_splits:
        best = BestCheckpoint(
            folder,
            splits=task.dev_splits,
            metric=task.metric,
            save_files=save_files,
            patience=run.training.early_stopping_evaluations,
        )
    last = loop.train(
        model=model,
        optimizer=optimizer,
        objective=train_step.ModelObjective(model, class_weights=class_weights),
        make_dataset=lambda start_example: finetuning_dataset(
            train_split.encoded,
            settings.batch_size,
            task.options.max_seq_length,
            seed=seed,
            start_example=start_example,
            repeat=True,
            pad_to_max_length=run.training.pad_to_max_length,
        ),
        evaluations={name: functools.partial(evaluator.evaluate, name) for name in task.dev_splits},
        settings=settings,
        output_dir=folder,
        save_files=save_files,
        evaluate_first=False,
        after_evaluation=best.after_evaluation if best else None,
        report=report,
    )
    return best, last


def _make_optimizer(
    settings: OptimizerSettings, model: AlbertTaskModel, train_steps: int
) -> keras.optimizers.Optimizer:
    schedule = optimizers.WarmupPolynomialDecay(
        settings.learning_rate,
        train_steps,
        settings.steps_of_warmup(train_steps),
        power=settings.decay_power,
    )
    return optimizers.make_optimizer(
        settings.optimizer,
        schedule,
        weight_decay=settings.weight_decay,
        beta_2=settings.beta_2,
        max_gradient_norm=settings.max_gradient_norm,
        bias_correction=settings.bias_correction,
        layer_rates=start.layer_rates(model.config, settings.layer_decay),
    )


def _write_model(
    folder: pathlib.Path, model: AlbertTaskModel, tokenizer: Tokenizer, task: table.Task
) -> None:
    model_directory.write_files(folder, model, tokenizer)
    model_kinds.write_notes(folder, task.notes())
