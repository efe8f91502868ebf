"""What defines a pretraining run, and what contradicts itself in it."""

import dataclasses
from typing import Any

from albert_tf.pipelines.examples import example_settings
from albert_tf.pipelines.examples.example_settings import ExampleSettings
from albert_tf.setting_checks import check_fraction, check_positive
from albert_tf.settings import Settings, own_rows, setting
from albert_tf.training import settings as training_settings

INITIAL_WORDS = ("random", "counted")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataSettings(Settings):
    """Where the records lie: a folder that brings all, or patterns of files."""

    data_dir: str | None = setting(
        None, "Folder that build_pretraining_data made; with `corpus_weights` several, with commas."
    )
    input: tuple[str, ...] = setting(
        (), "Instead of `data_dir`: patterns of training record files."
    )
    held_out: tuple[str, ...] = setting((), "With `input`: patterns of held-out record files.")
    vocab_model: str | None = setting(None, "With `input`: the vocabulary of the records.")
    skip_damaged: bool = setting(
        False,
        "Train without files that are missing, cut off or unreadable at the start, and say what is "
        "lost. A run that goes on must leave out the same.",
    )
    corpus_weights: tuple[int, ...] = setting(
        (),
        "How many examples of each folder there are in a turn, whatever their sizes: with 3,1 "
        "three of the first and one of the second.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if bool(self.data_dir) == bool(self.input):
            raise ValueError(
                "exactly one of `data_dir` (made by build_pretraining_data) and `input` (patterns "
                f"of record files) must be given. Received: data_dir={self.data_dir!r}, "
                f"input={self.input}"
            )
        if self.input and not self.vocab_model:
            raise ValueError("`vocab_model` must be given with `input`. Received: none")
        if self.data_dir and (self.held_out or self.vocab_model):
            raise ValueError(
                "`data_dir` brings its own held-out records and vocabulary: `held_out` and "
                "`vocab_model` go with `input`"
            )
        if not all(weight > 0 for weight in self.corpus_weights):
            raise ValueError(f"`corpus_weights` must be positive. Received: {self.corpus_weights}")

    def data_dirs(self) -> list[str]:
        """Returns the folders of `data_dir`: one, or with `corpus_weights` those between commas."""
        return self.data_dir.split(",") if self.corpus_weights else [self.data_dir]


@dataclasses.dataclass(frozen=True, kw_only=True)
class FreshExampleSettings(ExampleSettings):
    """What an example is like, with stored tokens; records are what they are."""

    max_seq_length: int | None = None
    masked_lm_prob: float | None = None
    short_seq_prob: float | None = None
    ngram: int | None = None
    favor_shorter_ngram: bool | None = None
    whole_word_mask: bool | None = None
    final_masked_lm_prob: float | None = setting(
        None,
        "`masked_lm_prob` at the last step, to which it changes evenly.",
        example_settings.check_masked_share,
    )
    overlap_prob: float = setting(
        0.0,
        "Share of pairs whose later segment begins within the earlier one, so that a part of the "
        "text stands twice: teaches a small model to look words up (docs/small_experiments.md).",
        check_fraction,
    )
    final_max_seq_length: int | None = setting(
        None,
        "`max_seq_length` of the last `final_length_steps`, whose pass is over as far as that was.",
        lowest=8,
        highest=1 << 20,
    )
    final_length_steps: int | None = setting(
        None, "Steps at the end with `final_max_seq_length`.", lowest=1
    )
    pack: bool = setting(
        False,
        "Put several short examples into one row of max_seq_length tokens, each as if alone. "
        "`batch_size` then counts rows, and max_predictions_per_seq is that of a row, too.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if bool(self.final_max_seq_length) != bool(self.final_length_steps):
            raise ValueError(
                "`final_max_seq_length` and `final_length_steps` go together. Received: "
                f"{self.final_max_seq_length} and {self.final_length_steps}"
            )

    def values(self) -> dict[str, Any]:
        """Returns {name: value} of what is not as it is by default."""
        values = self.values_by_name()
        rows = own_rows(type(self))
        return {row.name: values[row.name] for row in rows if values[row.name] != row.default}

    def filled_in(self) -> ExampleSettings:
        """Returns these with the defaults of build_pretraining_data where nothing was given."""
        names = {row.name for row in own_rows(ExampleSettings)}
        return ExampleSettings(**{k: v for k, v in self.values().items() if k in names})


@dataclasses.dataclass(frozen=True, kw_only=True)
class StartSettings(training_settings.StartSettings):
    """What a pretraining run starts from."""

    init_optimizer: bool = setting(
        False,
        "With `init_checkpoint`: go on with its optimizer and step, as run_conversion brings them.",
    )
    allow_other_vocabulary: bool = setting(
        False,
        "With `init_checkpoint`: go on although its vocabulary is not that of the records.",
    )
    carry_over_vocabulary: bool = setting(
        False,
        "With `init_checkpoint` of another vocabulary: take over that of the records. Pieces that "
        "both have keep their vectors, others start at the mean of those of their old pieces "
        "(docs/checkpoints.md).",
    )

    initial_words: str = setting(
        "random",
        "Start of untrained word vectors; counted has those of words with the same neighbors in "
        "the stored tokens alike, for a minute of counting (docs/small_experiments.md).",
        choices=INITIAL_WORDS,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.config and not self.init_checkpoint:
            raise ValueError("`config` must be given, or an `init_checkpoint` that brings its own")
        if self.init_checkpoint and self.initial_attention != "random":
            raise ValueError(
                "`initial_attention` is for a model without weights: it must be random with "
                f"`init_checkpoint`. Received: {self.initial_attention!r}"
            )
        if self.init_checkpoint and self.initial_words != "random":
            raise ValueError(
                "`initial_words` is for a model without weights: it must be random with "
                f"`init_checkpoint`. Received: {self.initial_words!r}"
            )
        if self.max_position_embeddings and not self.init_checkpoint:
            raise ValueError(
                "`max_position_embeddings` stretches the table of `init_checkpoint`; without one "
                "`config` says the length. Received: no checkpoint"
            )
        if self.carry_over_vocabulary and not self.init_checkpoint:
            raise ValueError(
                "`carry_over_vocabulary` goes with `init_checkpoint`. Received: no checkpoint"
            )
        if self.carry_over_vocabulary and self.allow_other_vocabulary:
            raise ValueError(
                "`carry_over_vocabulary` gives the model other vectors for another vocabulary, "
                "`allow_other_vocabulary` leaves them: one of them must be given. Received: both"
            )
        if self.init_optimizer and (self.max_position_embeddings or self.carry_over_vocabulary):
            raise ValueError(
                "`init_optimizer` has moments of the old tables: it does not go with "
                "`max_position_embeddings` and `carry_over_vocabulary`. Received: "
                f"{self.max_position_embeddings} and {self.carry_over_vocabulary}"
            )
        if self.init_optimizer and not self.init_checkpoint:
            raise ValueError(
                "`init_optimizer` goes with `init_checkpoint`. Received: no checkpoint"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationSettings(training_settings.EvaluationSettings):
    """What a pretraining run is measured on."""

    eval_examples: int = setting(10_000, "Held-out examples to evaluate on, at most.", lowest=1)
    eval_by_kind: bool = setting(
        True,
        "At the end, score kinds of words on a tenth as many examples and, with language=en, "
        "minimal pairs; run_evaluation does more of it (docs/evaluation.md).",
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class PretrainingRun(Settings):
    """Where a pretraining run writes, its seed and its loss; made of values by name with `of`."""

    output_dir: str = setting(help_text="Becomes the model directory; holds the run meanwhile.")
    seed: int = setting(
        0,
        "Of the initial weights, the dropout and the data order.",
        lowest=0,
        highest=(1 << 32) - 1,
    )
    sentence_order_weight: float = setting(
        1.0,
        "Factor of the sentence-order loss; the original has 1. A small model that knows some "
        "words learns sentence order with more (docs/small_experiments.md).",
        check_positive,
    )
    data: DataSettings
    examples: FreshExampleSettings
    start: StartSettings
    optimization: training_settings.OptimizerSettings
    training: training_settings.TrainingSettings
    devices: training_settings.DeviceSettings
    evaluation: EvaluationSettings
    card: training_settings.CardSettings

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.optimization.warmup_steps >= self.training.train_steps:
            raise ValueError(
                "`warmup_steps` must be below `train_steps`. Received: "
                f"{self.optimization.warmup_steps:,} and {self.training.train_steps:,}"
            )
        final_steps = self.examples.final_length_steps
        if final_steps and final_steps >= self.training.train_steps:
            raise ValueError(
                "`final_length_steps` must be below `train_steps`. Received: "
                f"{final_steps:,} and {self.training.train_steps:,}"
            )
