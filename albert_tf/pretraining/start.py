"""What a pretraining run starts from: architecture, weights, and the state of an optimizer."""

import itertools
import pathlib
import time
from collections.abc import Callable, Sequence

import keras
import numpy as np

from albert_tf.checkpoints import (
    hub_files,
    model_directory,
    published_configs,
    tokenizer_files,
    weight_mapping,
)
from albert_tf.checkpoints.safetensors_files import read_safetensors
from albert_tf.checkpoints.stored_tensors import CheckpointError
from albert_tf.config import AlbertConfig
from albert_tf.durations import format_duration
from albert_tf.embedding_tables import vocabulary
from albert_tf.embedding_tables.changes import TableChanges
from albert_tf.model import initial_attention
from albert_tf.model.language_models import AlbertForPretraining
from albert_tf.pipelines.tokenizer.tokenization import Tokenizer
from albert_tf.pretraining import counted_words
from albert_tf.pretraining.run_data import RunData
from albert_tf.pretraining.settings import PretrainingRun, StartSettings
from albert_tf.training import checkpoint_store


def find_source(run: PretrainingRun) -> PretrainingRun:
    """Returns the run with a folder in place of a name on the hub.

    Raises:
        CheckpointError: for a name that cannot be had, unless the run has checkpoints of its own.
    """
    source = run.start.init_checkpoint or ""
    try:
        found = hub_files.find_directory(source)
    except CheckpointError:
        if not _own_checkpoints(run):
            raise
        return run
    return run if found == source else run.with_values(init_checkpoint=found)


def find_start(run: PretrainingRun) -> StartSettings:
    """Returns what the run starts from, which is nothing where it has a checkpoint of its own.

    All that `init_checkpoint` brought, which may have changed since or be gone, is in there.
    """
    steps = _own_checkpoints(run)
    if not steps or not run.start.init_checkpoint:
        return run.start
    own = pathlib.Path(run.output_dir, "checkpoints", f"step-{steps[-1]:08d}")
    config = own / published_configs.CONFIG_FILE
    if not config.is_file():
        raise checkpoint_store.half_a_checkpoint(own, "it must hold config.json. Received: none")
    changes = ("max_position_embeddings", "carry_over_vocabulary")
    keeps_config = run.start.config and not any(getattr(run.start, name) for name in changes)
    return run.start.with_values(
        config=run.start.config if keeps_config else str(config),
        init_checkpoint=None,
        init_optimizer=False,
        allow_other_vocabulary=False,
        carry_over_vocabulary=False,
        max_position_embeddings=None,
    )


def _own_checkpoints(run: PretrainingRun) -> list[int]:
    return checkpoint_store.checkpoint_steps(pathlib.Path(run.output_dir) / "checkpoints")


def find_changes(
    settings: StartSettings, tokenizer: Tokenizer, report: Callable[[str], None]
) -> TableChanges:
    """Returns what of the checkpoint's tables the run has otherwise."""
    old_pieces = None
    if settings.carry_over_vocabulary:
        of_checkpoint = tokenizer_files.load_tokenizer(settings.init_checkpoint)
        old_pieces = vocabulary.find_old_pieces(of_checkpoint, tokenizer)
        report(
            f"the vocabulary of the records in place of the checkpoint's: {old_pieces.describe()}"
        )
    return TableChanges(settings.max_position_embeddings, old_pieces)


# What the numbers of a checkpoint mean, beside their shapes.
_MEANING = ("num_attention_heads", "hidden_act", "layer_norm_eps")


def find_config(
    settings: StartSettings,
    changes: TableChanges,
    data: RunData,
    tokenizer: Tokenizer,
    report: Callable[[str], None],
) -> AlbertConfig:
    """Returns the architecture, checked against the records and their vocabulary."""
    if settings.config:
        config = published_configs.find_config(settings.config)
        if settings.init_checkpoint:
            _compare_configs(settings, config, report)
    else:
        config = model_directory.read_config(settings.init_checkpoint)
    config = changes.of_config(config)
    _check_vocabulary(config, tokenizer, data)
    if settings.init_checkpoint and changes.old_pieces is None:
        _compare_vocabularies(settings, tokenizer, report)
    if data.max_seq_length > config.max_position_embeddings:
        raise ValueError(
            f"`max_seq_length` of the examples must not exceed max_position_embeddings="
            f"{config.max_position_embeddings} of {settings.config or settings.init_checkpoint}. "
            f"Received: {data.max_seq_length}. `max_position_embeddings` stretches a checkpoint's"
        )
    data.check_word_ids(config)
    return config


def _compare_configs(
    settings: StartSettings, config: AlbertConfig, report: Callable[[str], None]
) -> None:
    """Refuses a `config` by which the checkpoint's weights, of the same shapes, mean other things.

    A shared block may be run more or fewer times than it was; that is said, and no more.
    """
    of_checkpoint = model_directory.read_config(settings.init_checkpoint)
    differences = {
        name: f"{name}={getattr(config, name)!r} in place of {getattr(of_checkpoint, name)!r}"
        for name in (*_MEANING, "num_hidden_layers")
        if getattr(config, name) != getattr(of_checkpoint, name)
    }
    refused = ", ".join(line for name, line in differences.items() if name in _MEANING)
    if refused:
        raise ValueError(
            f"`config={settings.config}` must agree with that of "
            f"`init_checkpoint={settings.init_checkpoint}`, which is taken without `config`. "
            f"Received: {refused}"
        )
    for line in differences.values():
        report(f"{settings.init_checkpoint} goes on with {line}")


def _check_vocabulary(config: AlbertConfig, tokenizer: Tokenizer, data: RunData) -> None:
    if config.vocab_size != tokenizer.vocab_size:
        raise ValueError(
            f"the config's vocab_size must be that of the vocabulary {data.vocab_model}, "
            f"{tokenizer.vocab_size}. Received: {config.vocab_size}. `config` takes a JSON file "
            "with another one, too (docs/architecture.md); `carry_over_vocabulary` changes that of "
            "an `init_checkpoint`"
        )
    if data.vocab_fingerprint not in (None, tokenizer.fingerprint):
        raise ValueError(
            f"{data.vocab_model} must be the vocabulary that the records were made with "
            f"(fingerprint {data.vocab_fingerprint}). Received: {tokenizer.fingerprint}"
        )


def _compare_vocabularies(
    settings: StartSettings, tokenizer: Tokenizer, report: Callable[[str], None]
) -> None:
    """Refuses a checkpoint whose word table belongs to other pieces than those of the records."""
    if not any(
        (pathlib.Path(settings.init_checkpoint) / name).is_file()
        for name in published_configs.VOCABULARY_FILES
    ):
        report(f"{settings.init_checkpoint} has no vocabulary to compare with that of the records")
        return
    of_checkpoint = tokenizer_files.load_tokenizer(settings.init_checkpoint)
    if of_checkpoint.pieces == tokenizer.pieces:
        return
    different = sum(
        a != b for a, b in itertools.zip_longest(of_checkpoint.pieces, tokenizer.pieces)
    )
    message = (
        f"the vocabulary of `init_checkpoint={settings.init_checkpoint}` (fingerprint "
        f"{of_checkpoint.fingerprint[:16]}) must be that of the records "
        f"({tokenizer.fingerprint[:16]}): {different:,} pieces differ"
    )
    if not settings.allow_other_vocabulary:
        raise ValueError(
            f"{message}. `carry_over_vocabulary` gives each piece of the records its vector; "
            "`allow_other_vocabulary` goes on all the same"
        )
    report(f"{message}; going on, as `allow_other_vocabulary` says")


def make_model(
    settings: StartSettings,
    config: AlbertConfig,
    changes: TableChanges,
    report: Callable[[str], None],
) -> tuple[AlbertForPretraining, Sequence[str]]:
    """Returns the model as the run starts with it, and its parts that start anew beside others."""
    model, untrained = AlbertForPretraining(config, dtype=settings.precision), ()
    if settings.init_checkpoint:
        untrained = model_directory.missing_parts(model, settings.init_checkpoint)
        model_directory.fill(
            model,
            settings.init_checkpoint,
            start_untrained=untrained,
            changes=changes,
        )
        report(f"starting from the weights of {settings.init_checkpoint}")
        if untrained:
            report(f"{settings.init_checkpoint} {model_directory.describe_untrained(untrained)}")
    if settings.initial_attention == "pointed":
        initial_attention.point_heads(model.encoder)
    return model, untrained


def give_words(
    run: PretrainingRun,
    model: AlbertForPretraining,
    data: RunData,
    report: Callable[[str], None],
) -> None:
    """Gives a model at its beginning word vectors from counts, if the run wants them.

    They are `initializer_range` sqrt(E) long: random ones are somewhat shorter, which draws from a
    truncated normal are. So heads that point look at places a little less than
    `initial_attention` has it (a share of 0.28 instead of 0.40 in `albert_small`). Pieces that the
    text does not have, special ones among them, keep theirs.
    """
    if run.start.initial_words == "random" or _own_checkpoints(run):
        return
    config, table = model.config, model.encoder.embeddings.word_embeddings  # [V, E]
    width = config.embedding_size
    if run.start.initial_attention == "pointed":
        width = initial_attention.dimensions_of_words(config)
    started = time.monotonic()
    vectors = counted_words.make_vectors(data.training_shards(), config.vocab_size, width)
    counted = vectors.any(axis=1)
    values = table.numpy()
    values[counted, :width] = (
        config.initializer_range * np.sqrt(config.embedding_size) * vectors[counted]
    )
    table.assign(values)
    report(
        f"word vectors from counts: {np.count_nonzero(counted):,} of {len(counted):,} pieces, "
        f"{format_duration(time.monotonic() - started)}"
    )


def take_over_optimizer(
    run: PretrainingRun,
    model: AlbertForPretraining,
    optimizer: keras.optimizers.Optimizer,
    untrained: Sequence[str],
) -> int:
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


def _take_converted_moments(
    folder: pathlib.Path,
    model: AlbertForPretraining,
    optimizer: keras.optimizers.Optimizer,
    untrained: Sequence[str],
) -> int:
    """Fills LAMB's or AdamW's moments and step as run_conversion wrote them; returns the step."""
    path = folder / model_directory.OPTIMIZER_FILE
    arrays = read_safetensors(path)
    step = int(arrays.get("step", 0))
    for index, variable in enumerate(model.trainable_variables):
        name = weight_mapping.relative_path(model, variable)
        if name.startswith(tuple(f"{part}/" for part in untrained)):
            continue
        for slot, moments in (("m", optimizer.first_moments), ("v", optimizer.second_moments)):
            value = arrays.get(f"{name}/{slot}")
            if value is None or value.shape != tuple(variable.shape):
                raise ValueError(
                    f"{path} must hold {name}/{slot} of shape {tuple(variable.shape)}. Received: "
                    f"{'none' if value is None else value.shape}"
                )
            moments[index].assign(value)
    optimizer.iterations.assign(step)
    return step
