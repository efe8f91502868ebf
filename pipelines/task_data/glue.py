"""GLUE in its official layout: tab-separated files with quirks of their own.

Facts of the layout: google-research/albert, `classifier_utils.py`, and the files themselves.
"""

import dataclasses
import os
import pathlib
from collections.abc import Sequence

from albert_tf import json_files, whole_files
from albert_tf.pipelines.task_data import line_files, text_examples
from albert_tf.pipelines.task_data.input_problems import InputError, InputProblems
from albert_tf.pipelines.task_data.text_examples import TextExample

# What the leaderboard puts behind a task's name in the names of its files.
_SUBMISSION_SUFFIXES = {"test": "", "test_matched": "-m", "test_mismatched": "-mm"}


@dataclasses.dataclass(frozen=True)
class GlueTask:
    """One task of GLUE.

    Attributes:
        folder: as the official archive names it.
        labels: the classes in the order of the original code; None for numbers.
        main_metrics: those whose mean the leaderboard counts, names in `albert_tf.tasks.metrics`.
        texts: numbers of the columns with the one or two texts, in train and dev.
        test_texts: the same in test.
        label: number of the label's column, -1 for the last.
        other_metrics: those that are reported beside the main ones.
        files: {split: file}.
        has_header: whether train and dev name their columns; test always does.
    """

    folder: str
    labels: tuple[str, ...] | None
    main_metrics: tuple[str, ...]
    texts: tuple[int, ...]
    test_texts: tuple[int, ...]
    label: int = -1
    other_metrics: tuple[str, ...] = ()
    files: dict[str, str] = dataclasses.field(
        default_factory=lambda: {"train": "train.tsv", "dev": "dev.tsv", "test": "test.tsv"}
    )
    has_header: bool = True

    @property
    def metrics(self) -> tuple[str, ...]:
        """All of its metrics, the main ones first."""
        return self.main_metrics + self.other_metrics

    @property
    def submissions(self) -> dict[str, str]:
        """The leaderboard's names for files of predictions, {test split: file}."""
        return {
            split: f"{self.folder}{suffix}.tsv"
            for split, suffix in _SUBMISSION_SUFFIXES.items()
            if split in self.files
        }


_BINARY = ("0", "1")
_ENTAILMENT = ("entailment", "not_entailment")
_THREE_WAY = ("contradiction", "entailment", "neutral")
_ACCURACY, _MATTHEWS = ("accuracy",), ("matthews",)
_F1, _CORRELATIONS = ("f1", "accuracy"), ("pearson", "spearman")
_MNLI_SPLITS = ("train", "dev_matched", "dev_mismatched", "test_matched", "test_mismatched")

# Folder, labels, main metrics, columns of the texts in train and dev, and in test.
TASKS = {
    "cola": GlueTask(
        "CoLA", _BINARY, _MATTHEWS, (3,), (1,), label=1, other_metrics=_ACCURACY, has_header=False
    ),
    "sst2": GlueTask("SST-2", _BINARY, _ACCURACY, (0,), (1,)),
    "mrpc": GlueTask("MRPC", _BINARY, _F1, (3, 4), (3, 4), label=0),
    "stsb": GlueTask("STS-B", None, _CORRELATIONS, (7, 8), (7, 8)),
    "qqp": GlueTask("QQP", _BINARY, _F1, (3, 4), (1, 2), label=5),
    "mnli": GlueTask(
        "MNLI", _THREE_WAY, _ACCURACY, (8, 9), (8, 9), files={n: f"{n}.tsv" for n in _MNLI_SPLITS}
    ),
    "qnli": GlueTask("QNLI", _ENTAILMENT, _ACCURACY, (1, 2), (1, 2)),
    "rte": GlueTask("RTE", _ENTAILMENT, _ACCURACY, (1, 2), (1, 2)),
    "wnli": GlueTask("WNLI", _BINARY, _ACCURACY, (1, 2), (1, 2)),
    # The diagnostic set: a model for MNLI answers it.
    "ax": GlueTask("AX", _THREE_WAY, _MATTHEWS, (1, 2), (1, 2), files={"test": "diagnostic.tsv"}),
}
# What the official files call the columns that are read.
_TEXT_NAMES = frozenset(
    ("sentence", "sentence1", "sentence2", "question", "question1", "question2")
    + ("#1 string", "#2 string")
)
_LABEL_NAMES = frozenset(("label", "quality", "score", "is_duplicate", "gold_label"))
# Where else the official archive has had a file.
_OTHER_FOLDERS = {"ax": ("diagnostic", "AX"), "stsb": ("STS-B", "STS")}


def splits_of(task_name: str) -> dict[str, tuple[str, ...]]:
    """Returns the names of the sets of a task: {"train", "dev", "test"} -> names."""
    files = TASKS[task_name].files
    return {
        kind: tuple(name for name in files if name.split("_")[0] == kind)
        for kind in ("train", "dev", "test")
    }


def read(
    task_name: str, data_dir: str | os.PathLike, split: str, problems: InputProblems
) -> list[TextExample]:
    """Reads one split of a task.

    Args:
        task_name: one of `TASKS`.
        data_dir: the folder of all of GLUE, or of the task.
        split: one of `splits_of(task_name)`; those that start with "test" have no labels.
        problems: takes rows with too few fields, an empty text or an unknown label.

    Returns:
        `TextExample`s, called by the index that the leaderboard asks for in a test set, and
        otherwise by their number from 0 on.

    Raises:
        InputError: there is no such file.
    """
    task = TASKS[task_name]
    path = os.fspath(_find(task_name, data_dir, split))
    is_test = split.startswith("test")
    kind = "number" if task.labels is None else "class"
    texts = task.test_texts if is_test else task.texts
    label_column = None if is_test else task.label
    has_header = task.has_header or is_test
    examples, width, count_before = [], None, problems.count
    for place, line in line_files.read_lines(path, problems):
        fields = line.split("\t")
        if width is None:
            width = len(fields)
            _check_width(path, width, texts, label_column)
            if has_header:
                _check_header(path, fields, texts, label_column, task)
                continue
        if len(fields) != width:
            problems.add(path, place, f"must have {width} fields. Received: {len(fields)}")
            continue
        values = [fields[column] for column in texts]
        if not all(text.strip() for text in values):
            problems.add(path, place, f"must have texts in the columns {texts}. Received: {values}")
            continue
        label = None
        if label_column is not None:
            problem, label = text_examples.parse_label(fields[label_column], kind, task.labels)
            if problem:
                problems.add(path, place, problem)
                continue
        number = len(examples) + problems.count - count_before
        guid = fields[0] if is_test else str(number)
        examples.append(TextExample(guid, values[0], *(values[1:] or [None]), label))
    if not examples and problems.count == count_before:
        raise InputError(f"{path} must hold at least one row of data. Received: none")
    return examples


def _find(task_name: str, data_dir: str | os.PathLike, split: str) -> pathlib.Path:
    task = TASKS[task_name]
    if split not in task.files:
        raise ValueError(f"split must be one of {', '.join(task.files)}. Received: {split!r}")
    root = pathlib.Path(data_dir)
    folders = [root / name for name in _OTHER_FOLDERS.get(task_name, (task.folder,))] + [root]
    for folder in folders:
        if (folder / task.files[split]).is_file():
            return folder / task.files[split]
    raise InputError(
        f"{root} must be the folder of GLUE, with {task.folder}/{task.files[split]}, or that of "
        f"the task. Received: neither that file nor {root / task.files[split]}"
    )


def _check_width(path: str, width: int, texts: tuple[int, ...], label_column: int | None) -> None:
    needed = max(*texts, label_column or 0) + 1
    if width < needed:
        raise InputError(
            f"{path}, line 1: must have at least {needed} tab-separated fields. Received: {width}"
        )


def _check_header(
    path: str, header: list[str], texts: tuple[int, ...], label_column: int | None, task: GlueTask
) -> None:
    """Refuses files of other people's making, whose columns stand in other places or have no names.

    Args:
        path: for the message.
        header: the first line.
        texts, label_column: numbers of the columns that will be read.
        task: theirs.
    """
    received = f"Received the first line: {json_files.cut(' | '.join(header))}"
    if label_column is not None:
        label, kind = header[label_column], "number" if task.labels is None else "class"
        if text_examples.parse_label(label, kind, task.labels)[0] is None:
            raise InputError(f"{path}, line 1: must name the columns. {received}")
    names = [name.strip().lower() for name in header]
    wanted = {"texts": (set(texts), _TEXT_NAMES)}
    if label_column is not None:
        wanted["label"] = ({label_column % len(names)}, _LABEL_NAMES)
    for what, (columns, known) in wanted.items():
        found = {number for number, name in enumerate(names) if name in known}
        if found and not columns <= found:
            numbers = " and ".join(str(column + 1) for column in sorted(columns))
            raise InputError(
                f"{path}, line 1: must have the {what} in column {numbers}, as the official file; "
                f"`task=classification` or regression reads any columns. {received}"
            )


def submission_name(task_name: str, split: str) -> str:
    """Returns the name of the file in which the leaderboard takes a test set's predictions."""
    return TASKS[task_name].submissions[split]


def write_submission(
    path: str | os.PathLike,
    task_name: str,
    examples: Sequence[TextExample],
    predictions: Sequence[str | float],
) -> None:
    """Writes predictions as the leaderboard takes them; the file appears whole or not at all.

    Args:
        path: file to write; its name should be `submission_name(...)`.
        task_name: one of `TASKS`.
        examples: of a test split.
        predictions: one label, or number from 0 to 5, an example.
    """
    lines = ["index\tprediction"]
    for example, prediction in zip(examples, predictions, strict=True):
        if TASKS[task_name].labels is None:
            # Similarities of STS-B lie between 0 and 5.
            prediction = f"{min(max(prediction, 0.0), 5.0):.3f}"
        lines.append(f"{example.guid}\t{prediction}")
    whole_files.write_text(path, "\n".join(lines) + "\n")
