"""How long a run trains, in which precision, and how often it leaves something behind."""

import dataclasses

from albert_tf import setting_checks

OPTIMIZERS = ("adamw", "lamb", "muon")
_LINES, _LONGEST_LOG_INTERVAL = 40, 100
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """How long to train and what to leave behind; all intervals are in steps.

    Raises:
        ValueError: naming the field, what was expected and what came.
    """

    train_steps: int
    batch_size: int
    accumulation_steps: int = 1
    eval_steps: int = 1000
    checkpoint_steps: int = 1000
    keep_checkpoints: int = 3
    log_steps: int = 0  # 0: as long as `log_interval` says
    jit_compile: bool = False

    def __post_init__(self):
        for field in dataclasses.fields(self):
            if field.type is int and (field.name != "log_steps" or self.log_steps):
                setting_checks.check_positive_integer(f"`{field.name}`", getattr(self, field.name))
        if self.batch_size % self.accumulation_steps:
            raise ValueError(
                "`batch_size` must be divisible by `accumulation_steps`. Received: "
                f"batch_size={self.batch_size}, accumulation_steps={self.accumulation_steps}"
            )

    @property
    def log_interval(self):
        """Steps between two lines of progress: some forty lines a run, and one in 100 steps."""
        return self.log_steps or min(max(self.train_steps // _LINES, 1), _LONGEST_LOG_INTERVAL)


def check_run(run):
    """Refuses what no run may be set to, pretraining or fine-tuning, by the names of the flags.

    Args:
        run: with the fields that both kinds have.

    Raises:
        ValueError: naming the flag, what was expected and what came.
    """
    setting_checks.check_choice("--optimizer", run.optimizer, OPTIMIZERS)
    setting_checks.check_choice("--precision", run.precision, PRECISIONS)
    for name in ("learning_rate", "warmup_steps", "weight_decay", "max_gradient_norm"):
        setting_checks.check_not_negative(f"--{name}", getattr(run, name))
    for name in ("decay_power", "eval_batch_size"):
        setting_checks.check_positive(f"--{name}", getattr(run, name))
    setting_checks.check_fraction("--beta_2", run.beta_2)
