"""A pretraining run: record files and a vocabulary in, a model directory out.

Everything that can be refused is refused before the first step; everything that must survive a
kill is on disk before it is reported.

Letters: B batch, L sequence length, P prediction slots, V vocabulary.
"""

import functools
import hashlib
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from albert_tf import remote_files, tensorflow_needs, whole_files
from albert_tf.checkpoints import hub_files, model_directory
from albert_tf.config import AlbertConfig
from albert_tf.model.language_models import AlbertForPretraining
from albert_tf.pipelines.building import example_summary
from albert_tf.pipelines.tokenizer.tokenization import Tokenizer
from albert_tf.pretraining import knowledge, learning_curve, run_data, start
from albert_tf.pretraining.run_data import RunData
from albert_tf.pretraining.settings import EvaluationSettings, FreshExampleSettings
from albert_tf.pretraining.settings import PretrainingRun as PretrainingRun
from albert_tf.settings import own_rows
from albert_tf.training import (
    checkpoint_store,
    devices,
    loop,
    metric_log,
    model_card,
    optimizers,
    progress,
    run_directory,
    step_memory,
    train_step,
)
from albert_tf.training.distribution import Distribution
from albert_tf.training.settings import OptimizerSettings

FLAGS_FILE = "flags.txt"
METRICS_FILE = "metrics.json"

# The unigram baseline counts the hidden words of this many training examples, which works for
# anybody's records; the summary of build_pretraining_data counts all of its own.
_BASELINE_EXAMPLES = 20_000


# Changing these changes the weights by rounding, and the masks where there is dropout, at most: a
# resumed run may have other values.
_FREE = {
    "output_dir",
    "eval_batch_size",
    "eval_by_kind",
    "eval_examples",
    "eval_steps",
    "checkpoint_steps",
    "keep_checkpoints",
    "log_steps",
    "jit_compile",
    "recompute",
    "steps_per_call",
    "allow_other_vocabulary",
    "distribute",
    "exact",
    "exact_parts",
    "license",
    "language",
}
# Paths may change between two calls; the data may not, and describes itself and what is left out.
_PATHS = {"data_dir", "input", "held_out", "vocab_model", "skip_damaged"}
# What the data describes itself, with what was left open filled in.
_EXAMPLES = {*(row.name for row in own_rows(FreshExampleSettings)), "corpus_weights"}
# What a description has under `settings`.
_OF_STEPS = ("train_steps", "batch_size", "accumulation_steps")


def pretrain(
    run: PretrainingRun,
    flags_text: str = "",
    report: Callable[[str], None] = print,
    callbacks: Sequence[metric_log.Callback] = (),
) -> dict[str, dict[str, float]]:
    """Trains as `run` says, going on from its last checkpoint if there is one.

    Args:
        run: what defines it.
        flags_text: the flags that made `run`, kept in the model directory.
        report: takes each line of progress.
        callbacks: see `loop.train`.

    Returns:
        {split: {metric: value}} of the last evaluation.

    Raises:
        ValueError: for arguments that contradict each other or the data, before any work; for a
            record that cannot be read, naming it, after keeping what was trained.
        whole_files.FolderInUseError: if another process trains in the output directory.
        loop.NonFiniteLossError: naming the step, the last good checkpoint and what to change.
        stop_signals.Stopped: after a signal, see `loop.train`.
    """
    tensorflow_needs.check_backend("pretraining")
    run = start.find_source(run)
    cluster = devices.find_devices(run.devices, report, run.start.precision)
    cluster.check_batch_size(run.training.batch_size, run.training.accumulation_steps)
    with run_directory.opened(run.output_dir, flags_text, cluster.workers.is_chief):
        data = run_data.find(run)
        tokenizer = Tokenizer(data.vocab_model)
        with (
            cluster.workers.losses_named(),
            data.errors_named(tokenizer.vocab_size),
        ):
            return _pretrain(run, cluster, data, tokenizer, flags_text, report, callbacks)


def _pretrain(
    run: PretrainingRun,
    cluster: Distribution,
    data: RunData,
    tokenizer: Tokenizer,
    flags_text: str,
    report: Callable[[str], None],
    callbacks: Sequence[metric_log.Callback],
) -> dict[str, dict[str, float]]:
    """Trains on the records of a run; see `pretrain`."""
    is_chief = cluster.workers.is_chief
    report = cluster.workers.only_chief(report)
    for line in data.losses:
        report(line)
    source = start.find_start(run)
    changes = start.find_changes(source, tokenizer, report)
    config = start.find_config(source, changes, data, tokenizer, report)
    output_dir = pathlib.Path(run.output_dir)

    keras.utils.set_random_seed(run.seed)
    with cluster.scope():
        optimizer = _make_optimizer(run)
        model, untrained = start.make_model(source, config, changes, report)
        first_step = 0
        if source.init_optimizer:
            first_step = start.take_over_optimizer(run, model, optimizer, untrained)
    if is_chief:
        _claim(run, output_dir, _describe(run, config, data, tokenizer), report)
        start.give_words(run, model, data, report)  # other workers get the chief's
    held_out = _make_held_out(run.evaluation, data, config.vocab_size)
    report(
        f"{run.start.config or run.start.init_checkpoint}: {model.count_params():,} parameters; "
        f"{data.describe_examples()}; "
        f"held out: {', '.join(held_out) or 'none'}"
    )
    report(_estimate_memory(model, run, cluster, data).describe())
    counts = _count_training_words(data, config.vocab_size) if held_out else None
    baseline, measured_on = _report_baseline(counts, held_out, config.vocab_size, report)
    newest = max(checkpoint_store.checkpoint_steps(output_dir / "checkpoints"), default=None)
    if is_chief and metric_log.note_held_out(output_dir, measured_on, newest):
        report("the held-out examples are others than before: earlier figures do not compare")
    objective = train_step.ModelObjective(
        model, factors={"sentence_order_loss": run.sentence_order_weight}
    )
    evaluate = train_step.make_evaluate(model, objective, cluster)
    results = loop.train(
        model=model,
        optimizer=optimizer,
        objective=objective,
        make_dataset=lambda start_example: data.training_batches(
            run.training.batch_size,
            run.seed,
            start_example,
            cluster.rows(run.training.batch_size),
            config.vocab_size,
        ),
        evaluations={
            name: functools.partial(evaluate, batches) for name, batches in held_out.items()
        },
        settings=run.training,
        output_dir=output_dir,
        save_files=lambda folder: model_directory.write_files(folder, model, tokenizer),
        first_step=first_step,
        report=report,
        callbacks=callbacks,
        devices=cluster,
        seed=run.seed,
    )
    if is_chief:
        by_kind = knowledge.measure(run, model, tokenizer, held_out, counts)
        metrics = {"held_out": results, "unigram": baseline, "measured_on": measured_on, **by_kind}
        _write_card(output_dir, run, data, metrics)
        _finish(output_dir, model, tokenizer, flags_text, metrics)
    cluster.workers.wait()
    report(f"model directory: {output_dir}")
    return results


def _estimate_memory(
    model: AlbertForPretraining, run: PretrainingRun, cluster: Distribution, data: RunData
) -> step_memory.StepMemory:
    return step_memory.estimate_step(
        model,
        run.training,
        cluster.parts,
        length=data.max_seq_length,
        predictions=data.max_predictions_per_seq,
    )


def _make_held_out(
    settings: EvaluationSettings, data: RunData, vocab_size: int
) -> dict[str, tf.data.Dataset]:
    """Returns {split: batches to evaluate on}, of the same examples whatever their size."""
    size = settings.eval_batch_size
    return {
        name: dataset.unbatch().take(settings.eval_examples).batch(size).prefetch(1)
        for name, dataset in data.held_out_batches(size, vocab_size).items()
    }


def _claim(
    run: PretrainingRun,
    output_dir: pathlib.Path,
    description: dict[str, Any],
    report: Callable[[str], None],
) -> None:
    """Takes the output folder for this run, which may be longer than it was."""
    steps = checkpoint_store.checkpoint_steps(output_dir / "checkpoints")
    if not steps and (output_dir / METRICS_FILE).exists():
        raise ValueError(
            f"`output_dir` {output_dir} holds a finished model and no checkpoint to go on from: "
            "give another; `init_checkpoint` trains the model further"
        )
    changed = run_directory.claim(
        output_dir, description, has_work=bool(steps), may_grow=("settings.train_steps",)
    )
    if steps and "settings.train_steps" in changed:
        # What the shorter run reached is not what this one is judged by.
        (output_dir / METRICS_FILE).unlink(missing_ok=True)
        _report_prolonged(run, changed["settings.train_steps"], steps[-1], report)


def _report_prolonged(
    run: PretrainingRun, old_steps: int, step: int, report: Callable[[str], None]
) -> None:
    """Says what a longer schedule does to the rate of a run that goes on."""
    steps = run.training.train_steps
    old, new = (
        float(_make_schedule(run.optimization, total_steps)(step))
        for total_steps in (old_steps, steps)
    )
    report(
        f"prolonged from {old_steps:,} to {steps:,} steps: at step {step:,} the learning rate is "
        f"now {new:.3g}; it was {old:.3g}"
    )


def _make_schedule(
    settings: OptimizerSettings, total_steps: int
) -> optimizers.WarmupPolynomialDecay:
    return optimizers.WarmupPolynomialDecay(
        settings.learning_rate,
        total_steps=total_steps,
        warmup_steps=settings.warmup_steps,
        power=settings.decay_power,
    )


def _make_optimizer(run: PretrainingRun) -> keras.optimizers.Optimizer:
    settings = run.optimization
    return optimizers.make_optimizer(
        settings.optimizer,
        _make_schedule(settings, run.training.train_steps),
        weight_decay=settings.weight_decay,
        beta_2=settings.beta_2,
        max_gradient_norm=settings.max_gradient_norm,
        compute_dtype=keras.DTypePolicy(run.start.precision).compute_dtype,
    )


def _describe(
    run: PretrainingRun, config: AlbertConfig, data: RunData, tokenizer: Tokenizer
) -> dict[str, Any]:
    """Returns what defines the run: two runs of the same description have the same weights."""
    values = run.values_by_name()
    left_out = {*_FREE, *_PATHS, *_OF_STEPS, *_EXAMPLES}
    description = {k: v for k, v in values.items() if k not in left_out}
    if run.start.init_checkpoint:
        description["init_checkpoint"] = hub_files.name_copies(run.start.init_checkpoint)
    # As before there were such settings, so that runs of then go on.
    if description["initial_words"] == "random":
        del description["initial_words"]
    for name in ("max_position_embeddings", "carry_over_vocabulary"):
        if not description[name]:
            del description[name]
    description["settings"] = {name: values[name] for name in _OF_STEPS}
    description |= run.devices.describe()
    description["config"] = config.to_dict()
    description["data"] = {
        "vocabulary": tokenizer.fingerprint,
        **data.describe(),
        "train_examples": data.train_examples,
    }
    return description


def _count_training_words(data: RunData, vocab_size: int) -> np.ndarray:
    """Returns how often each word is to be guessed in some training examples, int [V]."""
    dataset = data.sample_batches(512, vocab_size)
    return _count_hidden_words(dataset.take(_BASELINE_EXAMPLES // 512 + 1), vocab_size)


def _report_baseline(
    counts: np.ndarray | None,
    held_out: dict[str, tf.data.Dataset],
    vocab_size: int,
    report: Callable[[str], None],
) -> tuple[dict[str, dict[str, float]], dict[str, str]]:
    """Returns what guessing by word frequency alone reaches on each held-out set, and says so.

    Beside it {held-out set: a digest of its hidden words}, by which it is known again.
    """
    baseline, digests = {}, {}
    for name, batches in held_out.items():
        digest = hashlib.blake2b(digest_size=16)
        hidden = _count_hidden_words(batches, vocab_size, digest.update)
        accuracy, loss = example_summary.score_unigram(counts, hidden)
        baseline[name] = {"masked_lm_loss": loss, "masked_lm_accuracy": accuracy}
        digests[name] = digest.hexdigest()
        report(f"unigram baseline  {name}: {progress.format_values(baseline[name])}")
    return baseline, digests


def _count_hidden_words(
    batches: tf.data.Dataset,
    vocab_size: int,
    take_bytes: Callable[[bytes], None] = lambda values: None,
) -> np.ndarray:
    """Returns how often each word is to be guessed in the batches, int [V]."""
    counts = np.zeros(vocab_size, np.int64)
    for batch in batches.as_numpy_iterator():
        hidden = batch["masked_lm_ids"][batch["masked_lm_weights"] > 0]
        take_bytes(hidden.astype(np.int32).tobytes())
        counts += np.bincount(hidden, minlength=vocab_size)
    return counts


def _write_card(
    output_dir: pathlib.Path, run: PretrainingRun, data: RunData, metrics: dict[str, Any]
) -> None:
    """Writes what the model is, for people and for the hub."""
    places = run.data.data_dirs() if run.data.data_dir else run.data.input
    tables = {}
    if "by_kind" in metrics:
        tables["What the model knows, by kind"] = knowledge.make_rows(metrics["by_kind"])
    names = [pathlib.Path(remote_files.name_addresses(place)).name for place in places]
    model_card.write(
        output_dir,
        command="run_pretraining",
        run=run,
        kind="fill_mask",
        data=model_card.TrainingData(
            name=", ".join(names), examples={"train": data.count_examples()}
        ),
        scores={
            split: {
                metric: {"mean": value, "deviation": None, "values": [value]}
                for metric, value in values.items()
            }
            for split, values in metrics["held_out"].items()
        },
        baseline=metrics["unigram"],
        baseline_name="word frequency alone",
        seeds=[run.seed],
        kept_seed=run.seed,
        main_metric="masked_lm_accuracy",
        tables=tables,
        init_checkpoint=run.start.init_checkpoint,
    )


def _finish(
    output_dir: pathlib.Path,
    model: AlbertForPretraining,
    tokenizer: Tokenizer,
    flags_text: str,
    metrics: dict[str, Any],
) -> None:
    """Makes the output directory a model directory, its `config.json` last."""
    whole_files.write_json(output_dir / METRICS_FILE, metrics)
    whole_files.write_text(output_dir / FLAGS_FILE, flags_text)
    learning_curve.draw(output_dir / "metrics.jsonl", output_dir / "learning_curve.png", metrics)
    model_directory.publish(output_dir, model, tokenizer)
