"""How a run trains, by which optimizer, in which precision, and how often it leaves something."""

import dataclasses

from albert_tf.config import INITIAL_ATTENTIONS, preset_names
from albert_tf.setting_checks import (
    check_fraction,
    check_named,
    check_not_negative,
    check_positive,
)
from albert_tf.settings import Settings, setting

DISTRIBUTIONS = ("auto", "one_device", "mirrored", "multi_worker", "tpu")
OPTIMIZERS = ("adamw", "lamb", "muon")
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
RECOMPUTATIONS = ("none", "blocks")
_LINES, _LONGEST_LOG_INTERVAL = 40, 100


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimizerSettings(Settings):
    """The optimizer, and its rate over the steps."""

    optimizer: str = setting("lamb", "What makes updates of gradients.", choices=OPTIMIZERS)
    learning_rate: float = setting(0.00176, "Rate at the end of the warm-up.", check_not_negative)
    warmup_steps: int = setting(3125, "Steps of linear warm-up.", lowest=0)
    decay_power: float = setting(1.0, "Power of the decay to 0; 1 is linear.", check_positive)
    weight_decay: float = setting(
        0.01, "Not applied to biases and layer normalisations.", check_not_negative
    )
    beta_2: float = setting(0.999, "Decay of the optimizer's second moment.", check_fraction)
    max_gradient_norm: float = setting(
        1.0, "Clip the gradients' global norm; 0 does not.", check_not_negative
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepSettings(Settings):
    """How a step is taken, and how often a line says how it goes."""

    batch_size: int = setting(4096, "Examples an update, B.", lowest=1)
    accumulation_steps: int = setting(1, "Parts in which a batch passes the model.", lowest=1)
    jit_compile: bool = setting(
        False,
        "On a GPU: compile each step as a whole with XLA. Steps are several times as fast, after a "
        "minute for each length of batch.",
    )
    recompute: str = setting(
        "none",
        "What the backward pass computes again instead of keeping it: none, or the inside of all "
        "blocks, for a fraction of the memory and a third more work (docs/pretraining.md).",
        choices=RECOMPUTATIONS,
    )
    steps_per_call: int = setting(
        1,
        "Steps that TensorFlow takes in one call, ended by what else is due; more keep a fast GPU "
        "from waiting for Python.",
        lowest=1,
    )
    log_steps: int = setting(
        0,
        "Steps between two lines of progress; 0 for some forty a run, and one in 100 steps.",
        lowest=0,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batch_size % self.accumulation_steps:
            raise ValueError(
                "`batch_size` must be divisible by `accumulation_steps`. Received: "
                f"batch_size={self.batch_size}, accumulation_steps={self.accumulation_steps}"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class DeviceSettings(Settings):
    """Which devices share the examples of a batch, and in which order sums are added."""

    distribute: str = setting(
        "auto",
        "Devices of a run: auto takes the workers of TF_CONFIG, or all GPUs of this machine.",
        choices=DISTRIBUTIONS,
    )
    exact: bool = setting(
        False, "End with the same bits on any number of devices; slower (docs/distribution.md)."
    )
    exact_parts: int = setting(
        8, "With `exact`: parts of a batch, whose sums are added in a fixed order.", lowest=1
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.exact_parts & (self.exact_parts - 1):
            raise ValueError(
                f"`exact_parts` must be 1, 2, 4, 8, 16, ... Received: {self.exact_parts}"
            )

    def describe(self) -> dict[str, int]:
        """Returns what of these changes the bits of a run."""
        return {"exact_parts": self.exact_parts} if self.exact else {}


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingSettings(StepSettings):
    """How long to train and what to leave behind; all intervals are in steps."""

    train_steps: int = setting(125_000, "Updates in all.", lowest=1)
    eval_steps: int = setting(5000, "Steps between two evaluations.", lowest=1)
    checkpoint_steps: int = setting(5000, "Steps between two checkpoints.", lowest=1)
    keep_checkpoints: int = setting(5, "Newest checkpoints to keep.", lowest=1)

    @property
    def log_interval(self) -> int:
        """Steps between two lines of progress: some forty lines a run, and one in 100 steps."""
        return self.log_steps or min(max(self.train_steps // _LINES, 1), _LONGEST_LOG_INTERVAL)


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationSettings(Settings):
    """How held-out data passes the model."""

    eval_batch_size: int = setting(64, "Examples a batch in evaluation.", lowest=1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class StartSettings(Settings):
    """What a run starts from, as both kinds of runs have it."""

    config: str | None = setting(
        None,
        f"Architecture: a JSON file or one of {', '.join(preset_names())}; by default that of "
        "`init_checkpoint`.",
    )
    init_checkpoint: str | None = setting(
        None, "Model directory whose weights to start from.", check_named
    )
    max_position_embeddings: int | None = setting(
        None,
        "Longest text, in tokens: stretches the position table of `init_checkpoint` to it, and "
        "leaves the rest of the model as it is (docs/checkpoints.md).",
        lowest=1,
    )
    initial_attention: str = setting(
        "random",
        "Start of untrained attention; pointed lets small models read word order and tell segments "
        "apart from the first step (docs/small_experiments.md).",
        choices=INITIAL_ATTENTIONS,
    )
    precision: str = setting("float32", "What a step computes in.", choices=PRECISIONS)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CardSettings(Settings):
    """What a model's card says that no run can know."""

    license: str | None = setting(
        None, "Licence of the model, for its card (README.md), as the hub names it: apache-2.0."
    )
    language: tuple[str, ...] = setting(
        (), "Languages of the texts, for the card, in two letters: en,de."
    )
