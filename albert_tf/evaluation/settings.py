"""What of a pretrained model is measured, and on which data."""

import dataclasses
import pathlib

from albert_tf.setting_checks import check_file
from albert_tf.settings import Settings, setting

# What `minimal_pairs` may be beside the path of a file.
ENGLISH, NO_PAIRS = "english", "none"
PRECISIONS = ("float32", "mixed_bfloat16")


def _check_pairs(name: str, value: str) -> None:
    if value not in (ENGLISH, NO_PAIRS):
        check_file(name, value)


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationRun(Settings):
    """What an evaluation reads, and where it writes."""

    model_dir: str = setting(help_text="Model directory, for example made by run_pretraining.")
    data_dir: str = setting(help_text="Folder that build_pretraining_data made.")
    output_dir: str | None = setting(
        None, "Folder of evaluation.json and evaluation.html; by default MODEL_DIR/evaluation."
    )
    eval_examples: int = setting(
        2_000, "Held-out examples of each split to evaluate on, at most.", lowest=1
    )
    eval_batch_size: int = setting(64, "Examples that are computed together.", lowest=1)
    precision: str = setting("float32", "What the model computes in.", choices=PRECISIONS)
    max_seq_length: int | None = setting(
        None,
        "With stored tokens: tokens of an example; by default as the run in model_dir trained at "
        "its end, else as many as the model reads.",
        lowest=8,
        highest=1 << 20,
    )
    minimal_pairs: str = setting(
        ENGLISH,
        "Pairs of a good and a bad sentence: english, the built-in ones; none; or a file, .tsv "
        "with the columns phenomenon, good and bad or .jsonl in BLiMP's form.",
        _check_pairs,
    )
    task_texts: tuple[str, ...] = setting(
        (),
        "With stored tokens: files of other texts that are looked for in the training text: "
        ".txt with one a line, or .tsv, .csv and .jsonl, each row of which is one.",
    )
    window_pieces: int = setting(
        13, "Consecutive pieces that make a text count as seen in training.", lowest=2, highest=512
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for path in self.task_texts:
            check_file("task_texts", path)

    def output_folder(self) -> pathlib.Path:
        """Returns where results are written."""
        return pathlib.Path(self.output_dir or pathlib.Path(self.model_dir) / "evaluation")
