"""One seed of a fine-tuning run: trained, evaluated, and its predictions and weights kept.

It lies in a folder of its own; a call that was killed goes on from its last checkpoint.
"""

import functools
import math
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import keras

from albert_tf import json_files, whole_files
from albert_tf.checkpoints import model_directory, model_kinds
from albert_tf.finetuning import start
from albert_tf.finetuning.evaluation import Evaluator
from albert_tf.finetuning.settings import FinetuningRun, OptimizerSettings, TrainingSettings
from albert_tf.finetuning.splits import Split
from albert_tf.model.keras_model import AlbertTaskModel
from albert_tf.pipelines.task_data.finetuning_dataset import (
    finetuning_dataset,
    padded_length,
    steps_per_epoch,
)
from albert_tf.pipelines.tokenizer.tokenization import Tokenizer
from albert_tf.tasks import class_balance, table
from albert_tf.training import loop, metric_log, optimizers, step_memory, train_step
from albert_tf.training import settings as training_settings
from albert_tf.training.best_checkpoint import BestCheckpoint, best_folders
from albert_tf.training.distribution import Distribution

RESULT_FILE = "result.json"


def settings_in_steps(
    training: TrainingSettings, num_examples: int
) -> training_settings.TrainingSettings:
    """Returns how long to train on so many examples, in steps."""
    return training.in_steps(steps_per_epoch(num_examples, training.batch_size))


def run_seed(
    run: FinetuningRun,
    cluster: Distribution,
    task: table.Task,
    splits: dict[str, Split],
    tokenizer: Tokenizer,
    output_dir: pathlib.Path,
    seed: int,
    report: Callable[[str], None],
    callbacks: Sequence[metric_log.Callback],
) -> dict[str, Any]:
    """Trains and evaluates with one seed, unless that is done already.

    Returns:
        {"best": {split: scores}, "last": {split: scores}, "best_step": int or None, "predicted":
        {split: digest of its examples}}; predictions of the best checkpoint lie in the seed's
        folder.
    """
    folder, workers = output_dir / f"seed-{seed}", cluster.workers
    result_file = folder / RESULT_FILE
    outcome = workers.from_chief(
        lambda: read_outcome(result_file) if result_file.exists() else None
    )
    asked = {name: split.digest for name, split in splits.items() if name != "train"}
    if outcome and asked.items() <= outcome["predicted"].items():
        report(f"seed {seed}: done already")
        if workers.is_chief:
            _remove_work(folder)
        return outcome
    keras.utils.set_random_seed(seed)
    with cluster.scope():
        model = start.make_model(run.start, task, tokenizer, is_trained=run.train)
    evaluator = Evaluator(task, splits, model, run.evaluation.eval_batch_size, cluster)
    if outcome is None:
        outcome = {"best_step": None, "last": {}}
        if run.train:
            if workers.is_chief:  # of fewer steps, where that run was ended before its result
                whole_files.remove_directory(folder / "model")
            trainable = sum(math.prod(variable.shape) for variable in model.trainable_variables)
            report(
                f"seed {seed}: {trainable:,} of {model.count_params():,} parameters are trained, "
                f"{run.start.init_checkpoint}"
            )
            outcome |= _train(
                run,
                cluster,
                task,
                splits,
                tokenizer,
                folder,
                seed,
                model,
                evaluator,
                report,
                callbacks,
            )
    elif run.train:
        _read_weights(cluster, model, folder / "model")
    outcome["best"] = evaluator.write_predictions(folder if workers.is_chief else None)
    outcome["predicted"] = asked
    if workers.is_chief:
        if run.train and not (folder / "model").exists():
            with whole_files.whole_directory(folder / "model") as partial:
                _write_model(partial, model, tokenizer, task)
        whole_files.write_json(result_file, outcome)
        _remove_work(folder)
    return outcome


def _read_weights(cluster: Distribution, model: AlbertTaskModel, directory: pathlib.Path) -> None:
    """Gives the models of all workers the weights of a directory, which the first alone reads."""
    if cluster.workers.is_chief:
        model_directory.fill(model, directory)
    cluster.workers.share_variables(model.variables)


def _remove_work(folder: pathlib.Path) -> None:
    """Removes what a seed needed until its result was there."""
    for path in (folder / "checkpoints", *best_folders(folder)):
        whole_files.remove_directory(path)
    whole_files.remove_partials(folder)


def read_outcome(result_file: pathlib.Path) -> dict[str, Any]:
    """Returns what a seed's `result.json` holds, as `_run_seed` returned it.

    Raises:
        JsonError: if the file is damaged.
    """
    outcome = json_files.read_object(result_file, {"best": dict, "last": dict})
    predicted = outcome.get("predicted")
    # Older versions have a list of the splits: of which data is not known.
    outcome["predicted"] = predicted if isinstance(predicted, dict) else {}
    return outcome


def _train(
    run: FinetuningRun,
    cluster: Distribution,
    task: table.Task,
    splits: dict[str, Split],
    tokenizer: Tokenizer,
    folder: pathlib.Path,
    seed: int,
    model: AlbertTaskModel,
    evaluator: Evaluator,
    report: Callable[[str], None],
    callbacks: Sequence[metric_log.Callback],
) -> dict[str, Any]:
    """Trains, and leaves the model with the best weights.

    Returns:
        {"last": the last scores, "best_step": None without held-out data}.
    """
    train_split = splits["train"]
    settings = settings_in_steps(run.training, len(train_split.encoded))
    length = task.options.max_seq_length
    if not run.training.pad_to_max_length:
        length = padded_length(int(train_split.encoded.lengths().max()), length)
    memory = step_memory.estimate_step(
        model, settings, cluster.parts, rows=train_split.encoded.num_choices, length=length
    )
    report(memory.describe())
    with cluster.scope():
        optimizer = make_optimizer(run.optimization, model, settings.train_steps)
    class_weights = class_balance.class_weights_of(
        run.training.class_weights, task, train_split.of_rows()
    )
    save_files = functools.partial(_write_model, model=model, tokenizer=tokenizer, task=task)
    best = None
    if task.dev_splits and cluster.workers.is_chief:
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
            rows=cluster.rows(settings.batch_size),
        ),
        evaluations={name: functools.partial(evaluator.evaluate, name) for name in task.dev_splits},
        settings=settings,
        output_dir=folder,
        save_files=save_files,
        evaluate_first=False,
        after_evaluation=best.after_evaluation if best else None,
        report=report,
        callbacks=callbacks,
        devices=cluster,
        seed=seed,
    )
    if not task.dev_splits:
        return {"last": last, "best_step": None}
    best_step, last_step = cluster.workers.from_chief(lambda: (best.best_step(), best.last_step()))
    if best_step != last_step:
        _read_weights(cluster, model, best.path() if best else folder)
        evaluator.forget()
    return {"last": last, "best_step": best_step}


def make_optimizer(
    settings: OptimizerSettings, model: AlbertTaskModel, train_steps: int
) -> keras.optimizers.Optimizer:
    """Returns the optimizer of a run of so many steps.

    Raises:
        ValueError: for a warm-up that does not end before them, or rates that do not go with it.
    """
    warmup_steps = settings.steps_of_warmup(train_steps)
    if warmup_steps >= train_steps:
        raise ValueError(
            f"`warmup_steps` must be below the {train_steps:,} steps of the run, which "
            f"`num_train_epochs` or `train_steps` makes. Received: {warmup_steps:,}"
        )
    schedule = optimizers.WarmupPolynomialDecay(
        settings.learning_rate,
        train_steps,
        warmup_steps,
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
        compute_dtype=model.compute_dtype,
    )


def _write_model(
    folder: pathlib.Path, model: AlbertTaskModel, tokenizer: Tokenizer, task: table.Task
) -> None:
    model_directory.write_files(folder, model, tokenizer)
    model_kinds.write_notes(folder, task.notes())
