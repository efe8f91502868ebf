"""The names of the tasks, and what tells where a task's data lies and how it is read."""

import dataclasses

from albert_tf import setting_checks
from albert_tf.checkpoints.model_kinds import AnswerNotes, ChoiceNotes
from albert_tf.pipelines.task_data import glue
from albert_tf.pipelines.text import encodings

TASKS = (
    *(*glue.TASKS, "squad1", "squad2", "race", "tagging"),
    *("classification", "multilabel", "regression"),
)
DATA_SOURCES = ("files", "tfds")
# What each task reads of `TaskOptions`, beside what all of them do.
_OF_ALL_TASKS = (
    *("metric", "max_seq_length", "encoding", "skip_malformed", "max_row_mb", "max_expansion"),
)
_OFFICIAL_DATA = ("data_dir", "data_source")
_OWN_FILES = ("train_file", "dev_file", "test_file")
_COLUMNS = ("text_column", "text_b_column", "label_column", "id_column", "labels")
_TABLES = (*_OWN_FILES, *_COLUMNS, "file_format", "has_header", "quoting", "dev_fraction")
_WINDOWS = ("doc_stride", "max_query_length", "answer_head", "n_best", "max_answer_tokens")
_OF_TASK = {
    **dict.fromkeys(glue.TASKS, _OFFICIAL_DATA),
    **dict.fromkeys(("squad1", "squad2"), (*_OFFICIAL_DATA, *_OWN_FILES, *_WINDOWS)),
    "race": (*_OFFICIAL_DATA, "max_qa_length", "levels"),
    "tagging": (*_OWN_FILES, "labels"),
    **dict.fromkeys(("classification", "regression"), _TABLES),
    "multilabel": (*_TABLES, "label_columns", "label_separator"),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaskOptions:
    """Where a task's data lies and by which rules it is read; one flag each."""

    data_dir: str | None = None  # in the official layout
    data_source: str = "files"  # or "tfds"
    train_file: str | None = None  # instead of data_dir's, or of the user's own data
    dev_file: str | None = None
    test_file: str | None = None
    text_column: str = "text"
    text_b_column: str | None = None
    label_column: str = "label"
    label_columns: tuple[str, ...] = ()  # of 0 and 1, one a label, in place of label_column
    label_separator: str = "|"  # between the labels in label_column
    id_column: str | None = None
    labels: tuple[str, ...] = ()  # discovered in the training data where empty
    metric: str | None = None  # of those reported, what chooses the best checkpoint
    file_format: str | None = None  # of the user's own data; by default what the suffix says
    has_header: bool = True
    quoting: bool | None = None  # by default in CSV and not in TSV
    encoding: str = "auto"  # of text files
    dev_fraction: float = 0.1  # of the user's own training data, where there is no dev_file
    skip_malformed: bool = False
    max_row_mb: int = 16  # a larger row is malformed
    max_expansion: int = 100  # times its size that a compressed file may unpack to
    max_seq_length: int = 128
    doc_stride: int = AnswerNotes.doc_stride
    max_query_length: int = AnswerNotes.max_query_length
    max_qa_length: int = ChoiceNotes.max_qa_length
    answer_head: str = "plain"  # or "answerability"
    n_best: int = 20
    max_answer_tokens: int = AnswerNotes.max_answer_tokens
    levels: tuple[str, ...] = ("middle", "high")

    def __post_init__(self):
        setting_checks.check_choice("--data_source", self.data_source, DATA_SOURCES)
        setting_checks.check_fraction("--dev_fraction", self.dev_fraction)
        encodings.check_encoding(self.encoding)
        for field in dataclasses.fields(self):
            if field.type is int:
                setting_checks.check_positive(f"--{field.name}", getattr(self, field.name))

    def check_task(self, task):
        """Refuses options that a task does not read, rather than leave them without effect.

        Raises:
            ValueError: if there is no such task, or naming the flag and those that it does read.
        """
        setting_checks.check_choice("--task", task, TASKS)
        used = (*_OF_TASK[task], *_OF_ALL_TASKS)
        for field in dataclasses.fields(self):
            if field.name not in used and getattr(self, field.name) != field.default:
                raise ValueError(
                    f"--task={task} does not use --{field.name}. It uses "
                    f"{', '.join(f'--{name}' for name in used)}"
                )
