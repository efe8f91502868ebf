"""A pretraining run: record files and a vocabulary in, a model directory out.

Everything that can be refused is refused before the first step; everything that must survive a
kill is on disk before it is reported.

Letters: B batch, L sequence length, P prediction slots, V vocabulary.
"""

import functools
import itertools
import pathlib

import keras
import numpy as np

from albert_tf import whole_files
from albert_tf.checkpoints import model_directory, tokenizer_files, weight_mapping
from albert_tf.checkpoints.published_configs import find_config
from albert_tf.checkpoints.safetensors_files import read_safetensors
from albert_tf.model import initial_attention
from albert_tf.model.language_models import AlbertForPretraining
from albert_tf.pipelines.building import example_summary
from albert_tf.pipelines.examples.pretraining_dataset import pretraining_dataset
from albert_tf.pipelines.tokenizer.tokenization import Tokenizer
from albert_tf.pretraining import learning_curve, records_of_run
from albert_tf.pretraining.settings import PretrainingRun as PretrainingRun
from albert_tf.training import (
    checkpoint_store,
    loop,
    optimizers,
    progress,
    run_directory,
    train_step,
)

FLAGS_FILE = "flags.txt"
METRICS_FILE = "metrics.json"

# The unigram baseline counts the hidden words of this many training examples, which works for
# anybody's records; the summary of build_pretraining_data counts all of its own.
_BASELINE_EXAMPLES = 20_000


# Changing these changes the weights by rounding at most, so a resumed run may have other values.
_FREE = {
    "output_dir",
    "eval_batch_size",
    "eval_examples",
    "eval_steps",
    "checkpoint_steps",
    "keep_checkpoints",
    "log_steps",
    "jit_compile",
    "allow_other_vocabulary",
}
# Paths may change between two calls; the data may not, and is described by itself.
_PATHS = {"data_dir", "input", "held_out", "vocab_model"}
# What a description has under `settings`.
_OF_STEPS = ("train_steps", "batch_size", "accumulation_steps")


def pretrain(run, flags_text="", report=print):
    """Trains as `run` says, going on from its last checkpoint if there is one.

    Args:
        run: `PretrainingRun`.
        flags_text: the flags that made `run`, kept in the model directory.
        report: takes each line of progress.

    Returns:
        {split: {metric: value}} of the last evaluation.

    Raises:
        ValueError: for arguments that contradict each other or the data, before any work; for a
            record that cannot be read, naming it, after keeping what was trained.
        whole_files.FolderInUseError: if another process trains in the output directory.
        loop.NonFiniteLossError: naming the step, the last good checkpoint and what to change.
        stop_signals.Stopped: after a signal, see `loop.train`.
    """
    with run_directory.opened(run.output_dir):
        data = records_of_run.find(run.data)
        tokenizer = Tokenizer(data.vocab_model)
        with records_of_run.errors_name_records(data, tokenizer.vocab_size):
            return _pretrain(run, data, tokenizer, flags_text, report)


def _pretrain(run, data, tokenizer, flags_text, report):
    """Trains on data that was found; see `pretrain`."""
    config = _find_config(run.start, data, tokenizer, report)
    optimizer = _make_optimizer(run.optimization, run.training.train_steps)
    output_dir = pathlib.Path(run.output_dir)

    keras.utils.set_random_seed(run.seed)
    model, untrained = _make_model(run.start, config, report)
    first_step = 0
    if run.start.init_optimizer:
        first_step = _take_over_optimizer(run, model, optimizer, untrained)
    _claim(run, output_dir, _describe(run, config, data, tokenizer), report)
    held_out = {
        name: pretraining_dataset(
            files,
            run.evaluation.eval_batch_size,
            data.max_seq_length,
            data.max_predictions_per_seq,
            shuffle=False,
            repeat=False,
            vocab_size=config.vocab_size,
        ).take(max(1, run.evaluation.eval_examples // run.evaluation.eval_batch_size))
        for name, files in data.held_out.items()
    }
    report(
        f"{run.start.config or run.start.init_checkpoint}: {model.count_params():,} parameters; "
        f"{data.train_examples:,} training examples of {data.max_seq_length} tokens; "
        f"held out: {', '.join(held_out) or 'none'}"
    )
    baseline = _report_baseline(data, held_out, config.vocab_size, report)
    objective = train_step.ModelObjective(
        model, factors={"sentence_order_loss": run.sentence_order_weight}
    )
    evaluate = train_step.make_evaluate(model, objective)
    results = loop.train(
        model=model,
        optimizer=optimizer,
        objective=objective,
        make_dataset=lambda start_example: pretraining_dataset(
            data.train,
            run.training.batch_size,
            data.max_seq_length,
            data.max_predictions_per_seq,
            seed=run.seed,
            start_example=start_example,
            num_examples=data.train_examples,
            vocab_size=config.vocab_size,
        ),
        evaluations={
            name: functools.partial(evaluate, batches) for name, batches in held_out.items()
        },
        settings=run.training,
        output_dir=output_dir,
        save_files=lambda folder: model_directory.write_files(folder, model, tokenizer),
        first_step=first_step,
        report=report,
    )
    _finish(output_dir, model, tokenizer, flags_text, {"held_out": results, "unigram": baseline})
    report(f"model directory: {output_dir}")
    return results


def _find_config(start, data, tokenizer, report):
    """Returns the architecture, checked against the records and their vocabulary."""
    if start.config:
        config = find_config(start.config)
    else:
        config = model_directory.read_config(start.init_checkpoint)
    _check_vocabulary(config, tokenizer, data)
    if start.init_checkpoint:
        _compare_vocabularies(start, tokenizer, report)
    if data.max_seq_length > config.max_position_embeddings:
        raise ValueError(
            f"the records' max_seq_length must not exceed max_position_embeddings="
            f"{config.max_position_embeddings} of {start.config or start.init_checkpoint}. "
            f"Received: {data.max_seq_length}"
        )
    records_of_run.check_word_ids(data, config)
    return config


def _make_model(start, config, report):
    """Returns the model as the run starts with it, and its parts that start anew beside others."""
    model, untrained = AlbertForPretraining(config, dtype=start.precision), ()
    if start.init_checkpoint:
        untrained = model_directory.missing_parts(model, start.init_checkpoint)
        model_directory.fill(model, start.init_checkpoint, start_untrained=untrained)
        report(f"starting from the weights of {start.init_checkpoint}")
        if untrained:
            report(f"{start.init_checkpoint} {model_directory.describe_untrained(untrained)}")
    if start.initial_attention == "pointed":
        initial_attention.point_heads(model.encoder)
    return model, untrained


def _claim(run, output_dir, description, report):
    """Takes the output folder for this run, which may be longer than it was."""
    steps = checkpoint_store.checkpoint_steps(output_dir / "checkpoints")
    changed = run_directory.claim(
        output_dir, description, has_work=bool(steps), may_grow=("settings.train_steps",)
    )
    if steps and "settings.train_steps" in changed:
        _report_prolonged(run, changed["settings.train_steps"], steps[-1], report)


def _report_prolonged(run, old_steps, step, report):
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


def _make_schedule(settings, total_steps):
    return optimizers.WarmupPolynomialDecay(
        settings.learning_rate,
        total_steps=total_steps,
        warmup_steps=settings.warmup_steps,
        power=settings.decay_power,
    )


def _make_optimizer(settings, total_steps):
    return optimizers.make_optimizer(
        settings.optimizer,
        _make_schedule(settings, total_steps),
        weight_decay=settings.weight_decay,
        beta_2=settings.beta_2,
        max_gradient_norm=settings.max_gradient_norm,
    )


def _take_over_optimizer(run, model, optimizer, untrained):
    """Fills the optimizer's moments and step from a checkpoint of ours or a converted one.

    What starts `untrained` keeps moments of 0 beside converted ones.

    Returns:
        The step.
    """
    folder = pathlib.Path(run.start.init_checkpoint)
    optimizer.build(model.trainable_variables)
    name = run.optimization.optimizer
    if (folder / checkpoint_store.STATE_FILE).is_file():
        step = checkpoint_store.restore_optimizer(folder, optimizer)
    elif (folder / model_directory.OPTIMIZER_FILE).is_file() and name != "muon":
        step = _take_converted_moments(folder, model, optimizer, untrained)
    else:
        steps = checkpoint_store.checkpoint_steps(folder / "checkpoints")
        newest = f", such as {folder / 'checkpoints'}/step-{steps[-1]:08d}" if steps else ""
        raise ValueError(
            f"`init_optimizer` needs a checkpoint with {checkpoint_store.STATE_FILE}{newest}, or, "
            f"for adamw and lamb, one that run_conversion gave {model_directory.OPTIMIZER_FILE}. "
            f"Received: init_checkpoint={folder}, optimizer={name}"
        )
    if step >= run.training.train_steps:
        raise ValueError(
            f"`train_steps` counts those of `init_checkpoint`, too, and must exceed its {step}. "
            f"Received: {run.training.train_steps}"
        )
    return step


def _take_converted_moments(folder, model, optimizer, untrained):
    """Fills LAMB's or AdamW's moments and step as run_conversion wrote them; returns the step."""
    path = folder / model_directory.OPTIMIZER_FILE
    held = read_safetensors(path)
    step = int(held.get("step", 0))
    for index, variable in enumerate(model.trainable_variables):
        name = weight_mapping.relative_path(model, variable)
        if name.startswith(tuple(f"{part}/" for part in untrained)):
            continue
        for slot, moments in (("m", optimizer.first_moments), ("v", optimizer.second_moments)):
            value = held.get(f"{name}/{slot}")
            if value is None or value.shape != tuple(variable.shape):
                raise ValueError(
                    f"{path} must hold {name}/{slot} of shape {tuple(variable.shape)}. Received: "
                    f"{'none' if value is None else value.shape}"
                )
            moments[index].assign(value)
    optimizer.iterations.assign(step)
    return step


def _check_vocabulary(config, tokenizer, data):
    if config.vocab_size != tokenizer.vocab_size:
        raise ValueError(
            f"the config's vocab_size must be that of the vocabulary {data.vocab_model}, "
            f"{tokenizer.vocab_size}. Received: {config.vocab_size}. `config` takes a JSON file "
            "with another one, too (docs/architecture.md)"
        )
    if data.vocab_fingerprint not in (None, tokenizer.fingerprint):
        raise ValueError(
            f"{data.vocab_model} must be the vocabulary that the records were made with "
            f"(fingerprint {data.vocab_fingerprint}). Received: {tokenizer.fingerprint}"
        )


def _compare_vocabularies(start, tokenizer, report):
    """Refuses a checkpoint whose word table belongs to other pieces than those of the records."""
    if not any(
        (pathlib.Path(start.init_checkpoint) / name).is_file()
        for name in (model_directory.VOCABULARY_FILE, "tokenizer.json")
    ):
        report(f"{start.init_checkpoint} has no vocabulary to compare with that of the records")
        return
    of_checkpoint = tokenizer_files.load_tokenizer(start.init_checkpoint)
    if of_checkpoint.pieces == tokenizer.pieces:
        return
    different = sum(
        a != b for a, b in itertools.zip_longest(of_checkpoint.pieces, tokenizer.pieces)
    )
    message = (
        f"the vocabulary of `init_checkpoint={start.init_checkpoint}` (fingerprint "
        f"{of_checkpoint.fingerprint[:16]}) must be that of the records "
        f"({tokenizer.fingerprint[:16]}): {different:,} pieces differ"
    )
    if not start.allow_other_vocabulary:
        raise ValueError(f"{message}. `allow_other_vocabulary` goes on all the same")
    report(f"{message}; going on, as `allow_other_vocabulary` says")


def _describe(run, config, data, tokenizer):
    """Returns what defines the run: two runs of the same description have the same weights."""
    values = run.values_by_name()
    described = {k: v for k, v in values.items() if k not in {*_FREE, *_PATHS, *_OF_STEPS}}
    described["settings"] = {name: values[name] for name in _OF_STEPS}
    described["config"] = config.to_dict()
    described["data"] = {
        "vocabulary": tokenizer.fingerprint,
        "records": records_of_run.fingerprint(data),
        "train_examples": data.train_examples,
    }
    return described


def _report_baseline(data, held_out, vocab_size, report):
    """Returns what guessing by word frequency alone reaches on each held-out set, and says so."""
    if not held_out:
        return {}
    dataset = pretraining_dataset(
        data.train,
        512,
        data.max_seq_length,
        data.max_predictions_per_seq,
        repeat=False,
        vocab_size=vocab_size,
    )
    counts = _count_hidden_words(dataset.take(_BASELINE_EXAMPLES // 512 + 1), vocab_size)
    baseline = {}
    for name, batches in held_out.items():
        accuracy, loss = example_summary.score_unigram(
            counts, _count_hidden_words(batches, vocab_size)
        )
        baseline[name] = {"masked_lm_loss": loss, "masked_lm_accuracy": accuracy}
        report(f"unigram baseline  {name}: {progress.format_values(baseline[name])}")
    return baseline


def _count_hidden_words(batches, vocab_size):
    """Returns how often each word is to be guessed in the batches, int [V]."""
    counts = np.zeros(vocab_size, np.int64)
    for batch in batches.as_numpy_iterator():
        hidden = batch["masked_lm_ids"][batch["masked_lm_weights"] > 0]
        counts += np.bincount(hidden, minlength=vocab_size)
    return counts


def _finish(output_dir, model, tokenizer, flags_text, metrics):
    """Makes the output directory a model directory, its `config.json` last."""
    whole_files.write_json(output_dir / METRICS_FILE, metrics)
    whole_files.write_text(output_dir / FLAGS_FILE, flags_text)
    learning_curve.draw(output_dir / "metrics.jsonl", output_dir / "learning_curve.png", metrics)
    model_directory.publish(output_dir, model, tokenizer)
