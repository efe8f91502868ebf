"""How long a run trains, in which precision, and how often it leaves something behind."""

import dataclasses

from albert_tf import setting_checks

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
    log_steps: int = 100
    jit_compile: bool = False

    def __post_init__(self):
        for field in dataclasses.fields(self):
            if field.type is int:
                setting_checks.check_positive_integer(f"`{field.name}`", getattr(self, field.name))
        if self.batch_size % self.accumulation_steps:
            raise ValueError(
                "`batch_size` must be divisible by `accumulation_steps`. Received: "
                f"batch_size={self.batch_size}, accumulation_steps={self.accumulation_steps}"
            )


def check_run(run, optimizers):
    """Refuses what no run may be set to, pretraining or fine-tuning, by the names of the flags.

    Args:
        run: with the fields that both kinds have.
        optimizers: the names that `run.optimizer` may have.

    Raises:
        ValueError: naming the flag, what was expected and what came.
    """
    setting_checks.check_choice("--optimizer", run.optimizer, optimizers)
    setting_checks.check_choice("--precision", run.precision, PRECISIONS)
    for name in ("learning_rate", "warmup_steps", "weight_decay", "max_gradient_norm"):
        setting_checks.check_not_negative(f"--{name}", getattr(run, name))
    for name in ("decay_power", "eval_batch_size"):
        setting_checks.check_positive(f"--{name}", getattr(run, name))
    setting_checks.check_fraction("--beta_2", run.beta_2)
