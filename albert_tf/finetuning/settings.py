"""What defines a fine-tuning run, and what contradicts itself in it."""

import dataclasses
import math

from albert_tf.config import preset_names
from albert_tf.setting_checks import check_fraction, check_not_negative, check_positive
from albert_tf.settings import Settings, setting
from albert_tf.tasks.options import TASKS, TaskOptions
from albert_tf.training import settings as training_settings

RANDOM = "random"  # in place of a checkpoint


@dataclasses.dataclass(frozen=True, kw_only=True)
class StartSettings(training_settings.StartSettings):
    """The model that a fine-tuning run starts from, and what of it is trained."""

    init_checkpoint: str | None = setting(
        None, "Model directory to start from; random for random weights of `config`."
    )
    config: str | None = setting(
        None, f"With random weights: a JSON file or one of {', '.join(preset_names())}."
    )
    vocab_model: str | None = setting(None, "With random weights: the vocabulary.")
    encoder_dropout: float | None = setting(
        None, "Replaces the model's dropout in the encoder.", check_fraction
    )
    classifier_dropout: float | None = setting(
        None, "Replaces the model's dropout before the head.", check_fraction
    )
    frozen: tuple[str, ...] = setting(
        (), "Parts that stay as they are: embeddings, encoder, group_0, ..."
    )
    lora_rank: int = setting(0, "Train adapters of this rank in place of the encoder.", lowest=0)
    lora_alpha: float | None = setting(
        None, "Scale of the adapters, times the rank; 2 * rank by default.", check_positive
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimizerSettings(training_settings.OptimizerSettings):
    """The optimizer, and its rate over the steps and the layers."""

    optimizer: str = "adamw"
    learning_rate: float = setting(
        2e-5,
        "Rate at the end of the warm-up; small models want 1e-4 to 4e-4, with muon 1e-3 to "
        "2e-3 (configs/quick_*.flags).",
        check_not_negative,
    )
    warmup_proportion: float = setting(
        0.1, "Part of the steps in which the rate rises.", check_fraction
    )
    warmup_steps: int = setting(0, "The same in steps, instead of the proportion.")
    bias_correction: bool = setting(
        True,
        "Correct AdamW's and LAMB's moments in their first steps; the original does not, and needs "
        "a long warm-up or a smaller `beta_2` for it.",
    )
    layer_decay: float = setting(1.0, "Factor of the rate from each level to the one below it.")

    def steps_of_warmup(self, train_steps: int) -> int:
        """Returns the steps in which the rate rises, of `train_steps`."""
        return self.warmup_steps or int(self.warmup_proportion * train_steps)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingSettings(training_settings.StepSettings):
    """How long a fine-tuning run trains, in epochs or steps, and what counts in its loss."""

    batch_size: int = 32
    num_train_epochs: float = setting(3.0, "Passes over the training data.")
    train_steps: int = setting(0, "Updates in all, instead of epochs.", lowest=0)
    eval_steps: int = setting(0, "Steps between two evaluations; 0 for once an epoch.", lowest=0)
    checkpoint_steps: int = setting(
        0, "Steps between two checkpoints; 0 as `eval_steps`.", lowest=0
    )
    early_stopping_evaluations: int = setting(
        0, "End after so many evaluations without a better one; 0 never.", lowest=0
    )
    pad_to_max_length: bool = setting(False, "Pad all batches to `max_seq_length`.")
    class_weights: tuple[str, ...] = setting(
        (),
        "What texts (for tagging, words) of a class count in the loss: balanced, so that all "
        "classes count as much, or name:weight of some, as pos:1,neg:9.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.train_steps and not 0 < self.num_train_epochs < math.inf:
            raise ValueError(
                "`num_train_epochs` or `train_steps` must be positive. Received: "
                f"{self.num_train_epochs} and {self.train_steps}"
            )

    def in_steps(self, epoch_steps: int) -> training_settings.TrainingSettings:
        """Returns these as `training.settings.TrainingSettings`, for epochs of so many steps."""
        steps = max(1, self.train_steps or round(self.num_train_epochs * epoch_steps))
        eval_steps = self.eval_steps or min(epoch_steps, steps)
        return training_settings.TrainingSettings(
            train_steps=steps,
            batch_size=self.batch_size,
            accumulation_steps=self.accumulation_steps,
            eval_steps=eval_steps,
            checkpoint_steps=self.checkpoint_steps or eval_steps,
            keep_checkpoints=1,
            log_steps=self.log_steps,
            jit_compile=self.jit_compile,
            steps_per_call=self.steps_per_call,
            recompute=self.recompute,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class FinetuningRun(Settings):
    """What a fine-tuning run does, and where it writes; made of values by name with `of`."""

    task: str = setting(help_text="What the model learns to do.", choices=TASKS)
    output_dir: str = setting(help_text="Becomes the model directory; holds all results.")
    train: bool = setting(True, "With `train=False` a fine-tuned model is evaluated.")
    predict_test: bool = setting(False, "Also predict the test set; GLUE: submission files.")
    seeds: tuple[int, ...] = setting((0,), "One run each; mean and deviation are reported.")
    cache_dir: str | None = setting(
        None, "Keeps encoded data; features/ in `output_dir` by default."
    )
    options: TaskOptions
    start: StartSettings
    training: TrainingSettings
    devices: training_settings.DeviceSettings
    optimization: OptimizerSettings
    evaluation: training_settings.EvaluationSettings
    card: training_settings.CardSettings

    def __post_init__(self) -> None:
        super().__post_init__()
        self.options.check_task(self.task)
        is_right = all(0 <= seed < 1 << 32 for seed in self.seeds)
        if not self.seeds or len(set(self.seeds)) != len(self.seeds) or not is_right:
            raise ValueError(
                f"`seeds` must be different numbers from 0 to 2^32 - 1. Received: {self.seeds}"
            )
        if not self.train and self.start.init_checkpoint == RANDOM:
            raise ValueError("`train=False` needs a fine-tuned `init_checkpoint`. Received: random")
