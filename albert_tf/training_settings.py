"""How long a run trains, in which precision, and how often it leaves something behind."""

import dataclasses

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
            value = getattr(self, field.name)
            if field.type is int and (type(value) is not int or value < 1):
                raise ValueError(f"`{field.name}` must be a positive integer. Received: {value!r}")
        if self.batch_size % self.accumulation_steps:
            raise ValueError(
                "`batch_size` must be divisible by `accumulation_steps`. Received: "
                f"batch_size={self.batch_size}, accumulation_steps={self.accumulation_steps}"
            )


def check_choices(run, **choices):
    """Refuses settings that are none of their choices.

    Raises:
        ValueError: naming the flag, its choices and what came.
    """
    for name, allowed in choices.items():
        if getattr(run, name) not in allowed:
            raise ValueError(
                f"--{name} must be one of {', '.join(allowed)}. Received: {getattr(run, name)!r}"
            )
