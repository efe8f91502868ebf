"""What defines a fine-tuning run, and what contradicts itself in it."""

import dataclasses
import math

from albert_tf import setting_checks
from albert_tf.config import INITIAL_ATTENTIONS
from albert_tf.tasks.options import TaskOptions
from albert_tf.training import settings

RANDOM = "random"  # in place of a checkpoint


@dataclasses.dataclass(frozen=True, kw_only=True)
class FinetuningRun:
    """What defines a fine-tuning run; `run_finetuning` has a flag for each field.

    The fields of `TaskOptions` are not repeated here.
    """

    task: str
    options: TaskOptions
    output_dir: str
    init_checkpoint: str | None = None  # model directory, or RANDOM
    config: str | None = None  # of random weights
    vocab_model: str | None = None
    initial_attention: str = "random"  # of random weights; one of INITIAL_ATTENTIONS
    train: bool = True  # or only evaluate and predict
    predict_test: bool = False
    seeds: tuple[int, ...] = (0,)
    num_train_epochs: float = 3.0
    train_steps: int = 0  # instead of epochs, if positive
    batch_size: int = 32
    accumulation_steps: int = 1
    optimizer: str = "adamw"
    learning_rate: float = 2e-5
    warmup_proportion: float = 0.1
    warmup_steps: int = 0  # instead of the proportion, if positive
    decay_power: float = 1.0
    weight_decay: float = 0.01
    beta_2: float = 0.999
    bias_correction: bool = True  # of AdamW's and LAMB's moments; the original has none
    class_weights: tuple[str, ...] = ()  # "balanced", or name:weight of classes
    max_gradient_norm: float = 1.0
    layer_decay: float = 1.0
    frozen: tuple[str, ...] = ()
    lora_rank: int = 0  # 0: no adapters
    lora_alpha: float | None = None  # default: twice the rank
    encoder_dropout: float | None = None
    classifier_dropout: float | None = None
    precision: str = "float32"
    jit_compile: bool = False
    pad_to_max_length: bool = False
    eval_batch_size: int = 64
    eval_steps: int = 0  # 0: once an epoch
    checkpoint_steps: int = 0  # 0: with each evaluation
    early_stopping_evaluations: int = 0
    log_steps: int = 0  # 0: some forty lines a run
    cache_dir: str | None = None  # default: features/ in output_dir

    def check(self):
        """Refuses what contradicts itself, before anything is read.

        Raises:
            ValueError: naming the flag, what was expected and what came.
        """
        self.options.check_task(self.task)
        settings.check_run(self)
        setting_checks.check_choice(
            "--initial_attention", self.initial_attention, INITIAL_ATTENTIONS
        )
        for name in ("train_steps", "eval_steps", "checkpoint_steps", "log_steps"):
            setting_checks.check_not_negative(f"--{name}", getattr(self, name))
        for name in ("early_stopping_evaluations", "lora_rank"):
            setting_checks.check_not_negative(f"--{name}", getattr(self, name))
        setting_checks.check_fraction("--warmup_proportion", self.warmup_proportion)
        for name in ("encoder_dropout", "classifier_dropout"):
            if getattr(self, name) is not None:
                setting_checks.check_fraction(f"--{name}", getattr(self, name))
        if self.lora_alpha is not None:
            setting_checks.check_positive("--lora_alpha", self.lora_alpha)
        for name in ("batch_size", "accumulation_steps"):
            setting_checks.check_positive(f"--{name}", getattr(self, name))
        if not self.seeds or len(set(self.seeds)) != len(self.seeds) or min(self.seeds) < 0:
            raise ValueError(f"--seeds must be different numbers from 0 on. Received: {self.seeds}")
        if not self.train_steps and not 0 < self.num_train_epochs < math.inf:
            raise ValueError(
                "--num_train_epochs or --train_steps must be positive. Received: "
                f"{self.num_train_epochs} and {self.train_steps}"
            )
        if not self.train and self.init_checkpoint == RANDOM:
            raise ValueError("--notrain needs a fine-tuned --init_checkpoint. Received: random")
