"""The names of the tasks, and what tells where a task's data lies and how it is read."""

import dataclasses
from typing import Any, Self

from albert_tf import setting_checks
from albert_tf.checkpoints.model_kinds import LONG_TEXTS, AnswerNotes, ChoiceNotes, TaskNotes
from albert_tf.checkpoints.sentence_files import POOLINGS
from albert_tf.pipelines.task_data import chinese_files, glue
from albert_tf.pipelines.task_data.reading_settings import ReadingSettings
from albert_tf.setting_checks import check_fraction, check_named, check_positive
from albert_tf.settings import own_rows, setting

TASKS = (
    *glue.TASKS,
    *chinese_files.TASKS,
    "squad1",
    "squad2",
    "cmrc2018",
    "race",
    "tagging",
    "classification",
    "multilabel",
    "regression",
    "embedding",
)
DATA_SOURCES = ("files", "tfds")
ANSWER_HEADS = ("plain", "answerability")
LEVELS = ("middle", "high")  # of RACE
# What each task reads of `TaskOptions`, beside what all of them do.
_OF_ALL_TASKS = (
    "metric",
    "max_seq_length",
    "encoding",
    "skip_malformed",
    "max_row_mb",
    "max_expansion",
)
_OFFICIAL_DATA = ("data_dir", "data_source")
_OWN_FILES = ("train_file", "dev_file", "test_file")
_COLUMNS = ("text_column", "text_b_column", "label_column", "id_column", "labels")
_TABLES = (*_OWN_FILES, *_COLUMNS, "file_format", "has_header", "quoting", "dev_fraction")
_WINDOWS = ("doc_stride", "max_query_length", "answer_head", "n_best", "max_answer_tokens")
_OF_TASK = {
    **dict.fromkeys(glue.TASKS, _OFFICIAL_DATA),
    **dict.fromkeys(chinese_files.TASKS, ("data_dir", *_OWN_FILES)),
    **dict.fromkeys(("squad1", "squad2"), (*_OFFICIAL_DATA, *_OWN_FILES, *_WINDOWS)),
    "cmrc2018": ("data_dir", *_OWN_FILES, *(name for name in _WINDOWS if name != "answer_head")),
    "race": (*_OFFICIAL_DATA, "max_qa_length", "levels"),
    "tagging": (*_OWN_FILES, "labels"),
    **dict.fromkeys(("classification", "regression"), (*_TABLES, "long_texts")),
    "multilabel": (*_TABLES, "long_texts", "label_columns", "label_separator"),
    "embedding": (
        *(name for name in _TABLES if name != "labels"),
        *("negative_column", "pooling", "normalize", "temperature"),
    ),
}

# Lengths in tokens and `n_best`, where neither a flag nor a model that was fine-tuned says them.
_LENGTHS = {
    "max_seq_length": 128,
    "doc_stride": AnswerNotes.doc_stride,
    "max_query_length": AnswerNotes.max_query_length,
    "max_answer_tokens": AnswerNotes.max_answer_tokens,
    "n_best": AnswerNotes.n_best,
    "max_qa_length": ChoiceNotes.max_qa_length,
}


def _length(name: str, meaning: str) -> Any:
    """Returns the field of a length that may be left to `TaskOptions.filled`."""
    by_default = f"By default {_LENGTHS[name]}, or with `train=False` as in fine-tuning."
    return setting(None, f"{meaning} {by_default}", lowest=1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaskOptions(ReadingSettings):
    """Where a task's data lies and by which rules it is read."""

    data_dir: str | None = setting(
        None, "Folder in the official layout: of GLUE, SQuAD, RACE or a Chinese task."
    )
    data_source: str = setting(
        "files", "files, or tfds for TensorFlow Datasets.", choices=DATA_SOURCES
    )
    train_file: str | None = setting(
        None, "Your own data (CSV, TSV, JSON lines, Parquet), or SQuAD.", check_named
    )
    dev_file: str | None = setting(
        None, "Held-out data that chooses the best checkpoint.", check_named
    )
    test_file: str | None = setting(None, "Data without labels, with `predict_test`.", check_named)
    text_column: str = setting("text", "Own data: column of the text.")
    text_b_column: str | None = setting(None, "Own data: column of the second text of a pair.")
    label_column: str = setting("label", "Own data: column of the class or number.")
    label_columns: tuple[str, ...] = setting(
        (), "multilabel: columns of 0 and 1, one a label, instead of `label_column`."
    )
    label_separator: str = setting("|", "multilabel: between the labels in `label_column`.")
    negative_column: str | None = setting(
        None, "embedding: column of a text that is not like that of `text_column`."
    )
    pooling: str | None = setting(
        None,
        "embedding: what the vector of a text is made of; by default as the start does, or mean.",
        choices=POOLINGS,
    )
    normalize: bool | None = setting(
        None, "embedding: whether vectors get length 1; by default as the start does, or true."
    )
    temperature: float = setting(
        0.05, "embedding: what cosines of pairs and triples are divided by.", check_positive
    )
    id_column: str | None = setting(
        None, "Own data: column that names a row; its number by default."
    )
    labels: tuple[str, ...] = setting((), "Own data: the classes in order; discovered by default.")
    metric: str | None = setting(
        None, "Of those that the task reports, what chooses the best checkpoint."
    )
    dev_fraction: float = setting(
        0.1, "Own data: held out of `train_file` without `dev_file`.", check_fraction
    )
    max_seq_length: int | None = _length(
        "max_seq_length", "Longest sequence, in tokens; the rest is cut off."
    )
    long_texts: str = setting(
        "cut",
        "Own data: what becomes of a text beyond `max_seq_length`: it is cut, or read in windows, "
        "whose mean scores (windows) or largest (windows_max) are those of the text.",
        choices=LONG_TEXTS,
    )
    doc_stride: int | None = _length("doc_stride", "SQuAD: tokens from one window to the next.")
    max_query_length: int | None = _length(
        "max_query_length", "SQuAD: longest question, in tokens."
    )
    max_qa_length: int | None = _length(
        "max_qa_length", "RACE: longest question with an option, in tokens."
    )
    answer_head: str | None = setting(
        None,
        "SQuAD: plain, or answerability (the original's 2.0). By default plain, or with "
        "`train=False` that of the model.",
        choices=ANSWER_HEADS,
    )
    n_best: int | None = _length(
        "n_best", "SQuAD: answers to keep for a question, found among as many starts and ends."
    )
    max_answer_tokens: int | None = _length("max_answer_tokens", "SQuAD: longest answer.")
    levels: tuple[str, ...] = setting(
        LEVELS, "RACE: the schools to train and report on.", choices=LEVELS
    )

    def filled(self, notes: TaskNotes | None = None) -> Self:
        """Returns the options with lengths and the answer head where they were not given.

        Args:
            notes: of a model that was fine-tuned, whose lengths they are; None for the defaults.
        """
        lengths = {
            name: getattr(self, name) or getattr(notes, name, None) or default
            for name, default in _LENGTHS.items()
        }
        return dataclasses.replace(self, **lengths, answer_head=self.answer_head or ANSWER_HEADS[0])

    def check_task(self, task: str) -> None:
        """Refuses options that a task does not read, rather than leave them without effect.

        Raises:
            ValueError: if there is no such task, or naming the flags and those that it does read.
        """
        setting_checks.check_choice("task", task, TASKS)
        used = (*_OF_TASK[task], *_OF_ALL_TASKS)
        unused = [
            row.name
            for row in own_rows(type(self))
            if row.name not in used and getattr(self, row.name) != row.default
        ]
        if unused:
            raise ValueError(
                f"`task={task}` does not use {' and '.join(f'`{name}`' for name in unused)}. It "
                f"uses {', '.join(f'`{name}`' for name in used)}"
            )
