"""What defines a pretraining run, and what contradicts itself in it."""

import dataclasses

from albert_tf import config, setting_checks
from albert_tf.training import settings as training_settings


@dataclasses.dataclass(frozen=True, kw_only=True)
class PretrainingRun:
    """What defines a pretraining run; `run_pretraining` has a flag for each field.

    The fields of `TrainingSettings` are not repeated here.
    """

    config: str | None = None  # preset or JSON file; default: that of init_checkpoint
    data_dir: str | None = None  # made by build_pretraining_data
    input: tuple[str, ...] = ()  # or: patterns of training records
    held_out: tuple[str, ...] = ()  # or: patterns of held-out records
    vocab_model: str | None = None  # default: the data directory's
    output_dir: str
    init_checkpoint: str | None = None  # model directory to start from
    init_optimizer: bool = False  # also from its optimizer and step
    allow_other_vocabulary: bool = False  # records of other pieces than the checkpoint's
    initial_attention: str = "random"  # or another of config.INITIAL_ATTENTIONS
    sentence_order_weight: float = 1.0  # of its loss beside the masked-LM loss
    optimizer: str = "lamb"
    learning_rate: float = 0.00176
    warmup_steps: int = 3125
    decay_power: float = 1.0
    weight_decay: float = 0.01
    beta_2: float = 0.999
    max_gradient_norm: float = 1.0
    precision: str = "float32"
    seed: int = 0
    eval_batch_size: int = 64
    eval_examples: int = 10_000
    settings: training_settings.TrainingSettings

    def check(self):
        """Refuses what contradicts itself, before anything is read.

        Raises:
            ValueError: naming the flag, what was expected and what came.
        """
        training_settings.check_run(self)
        setting_checks.check_choice(
            "--initial_attention", self.initial_attention, config.INITIAL_ATTENTIONS
        )
        for name in ("sentence_order_weight", "eval_examples"):
            setting_checks.check_positive(f"--{name}", getattr(self, name))
        setting_checks.check_not_negative("--seed", self.seed)
        if self.warmup_steps >= self.settings.train_steps:
            raise ValueError(
                "--warmup_steps must be below --train_steps. Received: "
                f"{self.warmup_steps:,} and {self.settings.train_steps:,}"
            )
        if not self.config and not self.init_checkpoint:
            raise ValueError("--config must be given, or an --init_checkpoint that brings its own")
        if self.init_checkpoint and self.initial_attention != "random":
            raise ValueError(
                "--initial_attention is for a model without weights: it must be random with "
                f"--init_checkpoint. Received: {self.initial_attention!r}"
            )
        if self.init_optimizer and not self.init_checkpoint:
            raise ValueError(
                "--init_optimizer goes with --init_checkpoint. Received: no checkpoint"
            )
        if bool(self.data_dir) == bool(self.input):
            raise ValueError(
                "exactly one of --data_dir (made by build_pretraining_data) and --input (patterns "
                f"of record files) must be given. Received: data_dir={self.data_dir!r}, "
                f"input={self.input}"
            )
        if self.input and not self.vocab_model:
            raise ValueError("--vocab_model must be given with --input. Received: none")
        if self.data_dir and (self.held_out or self.vocab_model):
            raise ValueError(
                "--data_dir brings its own held-out records and vocabulary: --held_out and "
                "--vocab_model go with --input"
            )
