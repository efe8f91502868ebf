"""How the user's files of texts are read: by which rules, and what is done with bad rows."""

import dataclasses

from albert_tf.pipelines.sources import encodings
from albert_tf.pipelines.task_data import tabular
from albert_tf.pipelines.task_data.input_problems import (
    LARGEST_EXPANSION,
    LARGEST_ROW_BYTES,
    InputProblems,
)
from albert_tf.settings import Settings, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReadingSettings(Settings):
    """What the user says of his files, for training and for prediction."""

    file_format: str | None = setting(
        None, "Own data: the format; by default its suffix.", choices=tabular.FORMAT_NAMES
    )
    has_header: bool = setting(True, "Own data: whether the first row of CSV and TSV has names.")
    quoting: bool | None = setting(
        None, "Own data: whether cells may be quoted; by default in CSV only."
    )
    encoding: str = setting(
        "auto", "Of all text files but JSON of SQuAD and RACE; auto looks at each."
    )
    skip_malformed: bool = setting(False, "Count and skip rows that cannot be used.")
    max_row_mb: int = setting(
        LARGEST_ROW_BYTES // 2**20, "Larger rows cannot be used.", lowest=1, highest=4096
    )
    max_expansion: int = setting(
        LARGEST_EXPANSION, "Times its size that a compressed file may unpack to.", lowest=1
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        encodings.check_encoding(self.encoding)

    def start_problems(self) -> InputProblems:
        """Returns the `InputProblems` that collects what reading meets."""
        return InputProblems(
            self.skip_malformed, self.max_row_mb * 2**20, self.max_expansion, self.encoding
        )
