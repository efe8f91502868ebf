"""What a vocabulary is trained on, and how."""

import dataclasses

from albert_tf.pipelines.text.settings import TextSettings
from albert_tf.settings import setting


def _check_coverage(name: str, value: float) -> None:
    if not 0.9 <= value <= 1.0:
        raise ValueError(f"`{name}` must be in [0.9, 1]. Received: {value}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class VocabularySettings(TextSettings):
    """What a vocabulary is trained on, and how; arguments of `build_vocabulary`."""

    vocab_size: int = setting(30_000, "Number of pieces, special ones included.")
    max_sentences: int = setting(
        1_000_000,
        "Train on a sample of this many sentences, for which 3 GB of memory suffice; each million "
        "more takes as much (the original has 10 million).",
        lowest=1,
    )
    character_coverage: float = setting(
        0.99995, "Share of the characters to cover.", _check_coverage
    )
    lower_case: bool = setting(True, "Lower-case the text; built into the model.")
    strip_accents: bool = setting(True, "Remove accents; built into the model.")
    seed: int = setting(12345, "Of the sample.")
    num_workers: int | None = setting(
        None,
        "Processes that read; by default one a core. Has no influence on the vocabulary.",
        lowest=1,
        highest=1024,
    )
    overwrite: bool = setting(False, "Replace an output that exists.")
