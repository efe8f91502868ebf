"""What a model is for: its kind, and what a model directory keeps of the task in `task.json`.

Each Keras model names its kind, and a kind is a row of three tables: the tasks, inference and
exporting. The names alone stand here, for flags and for directories whose class nobody has loaded.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, Literal, Self, get_args

from albert_tf import json_files, whole_files
from albert_tf.checkpoints import published_configs, sentence_files
from albert_tf.checkpoints.stored_tensors import CheckpointError, check_folder

# What fine-tuning knew of its task: how long texts may be, from where on there is no answer.
TASK_FILE = "task.json"


# What becomes of a text that is longer than the model reads.
LongTexts = Literal["cut", "windows", "windows_max"]
LONG_TEXTS: tuple[str, ...] = get_args(LongTexts)
# What makes one answer of its windows.
WINDOWS = {"windows": "mean", "windows_max": "max"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaskNotes:
    """What a model directory keeps of its task; defaults are for directories that keep nothing."""

    task: str | None = None  # of fine-tuning
    kind: str | None = None
    max_seq_length: int | None = None  # tokens of a text; None: what the model can read

    def fit(self, longest: int) -> Self:
        """Returns the notes with lengths that a model of `longest` positions can read."""
        length = min(self.max_seq_length or longest, longest)
        return dataclasses.replace(self, max_seq_length=length)

    def write_beside(self, directory: pathlib.Path) -> None:
        """Writes what others read of the same beside `TASK_FILE`: nothing."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextNotes(TaskNotes):
    """Of classes and numbers."""

    is_pair: bool = False
    long_texts: LongTexts | None = None  # None: cut

    @property
    def windows(self) -> str | None:
        """The rule of `WINDOWS`, None where longer texts are cut."""
        return WINDOWS.get(self.long_texts)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassNotes(TextNotes):
    """Of classes, of which a text may have several: those that reach their thresholds."""

    thresholds: tuple[float, ...] | None = None  # of probabilities; None: 0.5 each

    def thresholds_of(self, labels: Sequence[str]) -> tuple[float, ...]:
        """Returns the threshold of each label."""
        return self.thresholds or (0.5,) * len(labels)


@dataclasses.dataclass(frozen=True, kw_only=True)
class AnswerNotes(TaskNotes):
    """Of answers to questions; lengths in tokens."""

    doc_stride: int = 128
    max_query_length: int = 64
    max_answer_tokens: int = 30
    n_best: int = 20  # of the likeliest starts and ends
    null_threshold: float | None = None  # a larger null score means no answer

    def fit(self, longest: int) -> Self:
        """Returns the notes with lengths that a model of `longest` positions can read."""
        fitting = super().fit(longest)
        most = fitting.max_seq_length - 4
        return dataclasses.replace(fitting, max_query_length=min(self.max_query_length, most))


@dataclasses.dataclass(frozen=True, kw_only=True)
class ChoiceNotes(TaskNotes):
    """Of choices; lengths in tokens."""

    max_qa_length: int = 128  # of a question with an option

    def fit(self, longest: int) -> Self:
        """Returns the notes with lengths that a model of `longest` positions can read."""
        fitting = super().fit(longest)
        most = fitting.max_seq_length - 4
        return dataclasses.replace(fitting, max_qa_length=min(self.max_qa_length, most))


@dataclasses.dataclass(frozen=True, kw_only=True)
class EmbeddingNotes(TaskNotes):
    """Of one vector a text; files of sentence-transformers beside it say the same, and win."""

    pooling: str = "mean"
    normalize: bool = False

    def sentence_settings(self) -> sentence_files.SentenceSettings:
        """Returns what sentence-transformers is told."""
        return sentence_files.SentenceSettings(
            pooling=self.pooling, normalize=self.normalize, max_seq_length=self.max_seq_length
        )

    def write_beside(self, directory: pathlib.Path) -> None:
        """Writes the files of sentence-transformers into a directory with the model's config."""
        config_file = directory / published_configs.CONFIG_FILE
        config = published_configs.from_transformers(
            published_configs.read_json(config_file), str(config_file)
        )
        sentence_files.write(directory, self.sentence_settings(), config.hidden_size)


# What models answer, and what their directories keep.
NOTES = {
    "fill_mask": TaskNotes,
    "classification": ClassNotes,
    "regression": TextNotes,
    "tagging": TaskNotes,
    "answer": AnswerNotes,
    "choice": ChoiceNotes,
    "embedding": EmbeddingNotes,
}
KINDS = tuple(NOTES)
# What models of transformers are for, by their classes.
OF_ARCHITECTURE = {
    "AlbertForSequenceClassification": "classification",
    "AlbertForTokenClassification": "tagging",
    "AlbertForQuestionAnswering": "answer",
    "AlbertForMultipleChoice": "choice",
}

# Their heads have one name in files, `classifier`.
_OF_ONE_NAME = ("classification", "regression", "tagging", "choice")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: object) -> bool:
    return type(value) is int and value > 0


# What a file may hold where a field of `TaskNotes` has this type.
_IN_FILES: dict[object, tuple[Callable, str]] = {
    str | None: (lambda value: isinstance(value, str), "a text"),
    str: (lambda value: value in sentence_files.POOLINGS, f"one of {sentence_files.POOLINGS}"),
    LongTexts | None: (
        lambda value: value is None or value in LONG_TEXTS,
        f"one of {', '.join(LONG_TEXTS)}, or null",
    ),
    bool: (lambda value: isinstance(value, bool), "true or false"),
    int: (_is_count, "a positive whole number"),
    int | None: (_is_count, "a positive whole number"),
    float | None: (lambda value: value is None or _is_number(value), "a number or null"),
    tuple[float, ...] | None: (
        lambda value: value is None or (isinstance(value, list) and all(map(_is_number, value))),
        "a list of numbers or null",
    ),
}


def read_notes(directory: str | pathlib.Path, kind: str | None = None) -> TaskNotes:
    """Returns what fine-tuning noted of its task in a model directory.

    Args:
        directory: of ours or of transformers.
        kind: one of `KINDS`, where the directory is to be asked as another than `read_kind` says.

    Raises:
        CheckpointError: if the file is damaged, or there is no such folder.
    """
    values = _read_task_file(directory)
    notes_class = NOTES[kind or read_kind(directory)]
    names = {field.name for field in dataclasses.fields(notes_class)}
    noted = {name: value for name, value in values.items() if name in names}
    if notes_class is EmbeddingNotes:
        settings = sentence_files.read(directory)
        said = {} if settings is None else vars(settings)
        noted |= {name: value for name, value in said.items() if value is not None}
    if noted.get("thresholds") is not None:
        noted["thresholds"] = tuple(map(float, noted["thresholds"]))
        _check_thresholds(directory, noted["thresholds"])
    return notes_class(**noted)


def _check_thresholds(directory: str | pathlib.Path, thresholds: tuple[float, ...]) -> None:
    """Refuses another number of thresholds than the directory has classes."""
    config_file = pathlib.Path(directory) / published_configs.CONFIG_FILE
    if config_file.is_file():
        values = published_configs.read_json(config_file)
        labels = published_configs.labels_of(values, str(config_file)) or ()
        if len(thresholds) != len(labels):
            raise CheckpointError(
                f"{pathlib.Path(directory) / TASK_FILE}: `thresholds` must be one a class, "
                f"{len(labels)}. Received: {len(thresholds)}"
            )


def _read_task_file(directory: str | pathlib.Path) -> dict[str, Any]:
    """Returns what `task.json` holds, {} without one; what any kind reads of it is checked."""
    check_folder(directory)
    path = pathlib.Path(directory) / TASK_FILE
    values = published_configs.read_json(path) if path.is_file() else {}
    fields = {field.name: field for notes in NOTES.values() for field in dataclasses.fields(notes)}
    for name, value in values.items():
        if name in fields:
            is_right, expected = _IN_FILES[fields[name].type]
            if not is_right(value):
                raise CheckpointError(
                    f"{path}: `{name}` must be {expected}. Received: {json_files.shorten(value)}"
                )
    kind = values.get("kind")
    if kind is not None and kind not in KINDS:
        raise CheckpointError(
            f"{path}: `kind` must be one of {', '.join(sorted(KINDS))}. "
            f"Received: {json_files.shorten(kind)}"
        )
    return values


def write_notes(directory: str | pathlib.Path, notes: TaskNotes) -> None:
    """Writes what a model directory, whose config is there, keeps of its task."""
    known = {name: value for name, value in dataclasses.asdict(notes).items() if value is not None}
    whole_files.write_json(pathlib.Path(directory) / TASK_FILE, known)
    notes.write_beside(pathlib.Path(directory))


def find_answer_head(directory: str | pathlib.Path) -> Literal["plain", "answerability"]:
    """Returns which head a model for answers has: only the second keeps weights of its own."""
    own = pathlib.Path(directory) / published_configs.OWN_WEIGHTS_FILE
    return "answerability" if own.is_file() else "plain"


def read_kind(directory: str | pathlib.Path) -> str:
    """Returns what a model directory answers, one of `KINDS`.

    As fine-tuning noted it; of directories of transformers, what their class is for.

    Raises:
        CheckpointError: if a file is damaged, or there is no such folder.
    """
    kind = _read_task_file(directory).get("kind")
    if kind is None and find_answer_head(directory) == "answerability":
        return "answer"  # as converted from Google's checkpoint, which has no name for the model
    if kind is None and (pathlib.Path(directory) / sentence_files.MODULES_FILE).is_file():
        return "embedding"
    config_file = pathlib.Path(directory) / published_configs.CONFIG_FILE
    if kind is not None or not config_file.is_file():
        return kind or "fill_mask"
    values = published_configs.read_json(config_file)
    names = published_configs.architectures_of(values, str(config_file))
    kind = next((OF_ARCHITECTURE[name] for name in names if name in OF_ARCHITECTURE), "fill_mask")
    if kind == "classification" and published_configs.is_regression(values, str(config_file)):
        return "regression"
    return kind


def _says_regression(directory: str | pathlib.Path) -> bool:
    """Tells whether it is more than a guess from a single label."""
    values = published_configs.read_json(pathlib.Path(directory) / published_configs.CONFIG_FILE)
    is_said = values.get("problem_type") == published_configs.REGRESSION
    return is_said or _read_task_file(directory).get("kind") is not None


def check_head(directory: str | pathlib.Path, kind: str | None) -> None:
    """Refuses a directory whose head is one of another kind and has the same name.

    Raises:
        CheckpointError: with both kinds, and what to do.
    """
    found = read_kind(directory) if kind in _OF_ONE_NAME else None
    if found == "regression" and not _says_regression(directory):
        return  # one output may be anything
    if found in _OF_ONE_NAME and found != kind:
        hint = ""
        if kind == "regression":  # of which early versions noted nothing
            hint = f'. Where it is one for numbers, "problem_type": "{kind}" in config.json says so'
        raise CheckpointError(
            f"{directory} must hold a head for {kind}. Received: one for {found}; "
            f"`initialize_head=True` starts with an untrained one instead{hint}"
        )
