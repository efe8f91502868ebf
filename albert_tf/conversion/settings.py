"""What a conversion reads and writes."""

import dataclasses

from albert_tf.settings import Settings, setting

FORMATS = ("transformers", "tf1", "int8")
# The keys of `convert.HEADS`.
HEADS = (
    "pretraining",
    "masked_lm",
    "none",
    "classification",
    "regression",
    "tokens",
    "choice",
    "span",
    "answerability",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConversionSettings(Settings):
    """What is converted, and to what."""

    input: str = setting(
        help_text="Model directory, TensorFlow 1 checkpoint, SavedModel, KerasHub preset, or a tar "
        "of one."
    )
    output: str = setting(help_text="Folder to write.")
    format: str = setting(
        "transformers",
        "transformers writes a model directory, tf1 what Google's code restores, int8 a model "
        "directory of a quarter of the bytes, which only albert_tf reads.",
        choices=FORMATS,
    )
    head: str | None = setting(
        None, "What the head is for, where the names do not tell.", choices=HEADS
    )
    initialize_head: bool = setting(False, "Let the head start untrained.")
    config: str | None = setting(
        None, "JSON file or preset, for an input that has no config of its own."
    )
    vocab_model: str | None = setting(None, "Vocabulary to put beside the weights.")
    lower_case: bool | None = setting(
        None, "Clean-up of a vocabulary that does not bring its own (default: true)."
    )
    strip_accents: bool | None = setting(
        None,
        "Clean-up of a vocabulary that does not bring its own (default: true; of vocab.txt as "
        "`lower_case`).",
    )
    overwrite: bool = setting(False, "Replace an existing `output`.")
    share_across_layers: bool = setting(True, "No: every layer gets weights of its own.")
    num_hidden_groups: int | None = setting(None, "Groups to deal the layers out to.", lowest=1)
