"""ChnSentiCorp, LCQMC and CMRC 2018 in the forms in which they are passed around.

The tables: tab-separated files of PaddlePaddle's ERNIE (`label text_a`, `text_a text_b label`), the
same without a header, and what the Hugging Face hub has as JSON lines, CSV or Parquet. CMRC 2018:
in SQuAD's layout, and flat, a context with its questions, as the organisers published it first.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
from typing import TYPE_CHECKING, Any

from albert_tf import json_files
from albert_tf.pipelines.task_data import tabular
from albert_tf.pipelines.task_data.input_problems import InputError, InputProblems
from albert_tf.pipelines.task_data.text_examples import TextExample

if TYPE_CHECKING:
    from albert_tf.pipelines.task_data.squad import Question

LABELS = ("0", "1")
# Where the files of a split lie: the first that is there.
_STEMS = {"train": ("train",), "dev": ("dev", "validation"), "test": ("test",)}
_SUFFIXES = (".tsv", ".txt", ".jsonl", ".json", ".csv", ".parquet")


@dataclasses.dataclass(frozen=True)
class ChineseTable:
    """One task of classes 0 and 1.

    Attributes:
        name: for people.
        folders: as its archives name it.
        columns: what each column is called, one tuple of names a column, in the order that files
            without a header have.
    """

    name: str
    folders: tuple[str, ...]
    columns: tuple[tuple[str, ...], ...]

    @property
    def is_pair(self) -> bool:
        """Whether its texts are pairs."""
        return len(self.columns) == 3


_LABEL = ("label", "score")
# Name, folders, columns.
TASKS = {
    "chnsenticorp": ChineseTable(
        "ChnSentiCorp", ("chnsenticorp",), (_LABEL, ("text_a", "text", "sentence", "review"))
    ),
    "lcqmc": ChineseTable(
        "LCQMC",
        ("lcqmc",),
        (("text_a", "sentence1", "question1"), ("text_b", "sentence2", "question2"), _LABEL),
    ),
}


def find_table(task_name: str, data_dir: str | os.PathLike, split: str) -> pathlib.Path:
    """Returns the file of a split: in `data_dir`, or in a folder of it that is named for the task.

    Raises:
        InputError: there is none.
    """
    root = pathlib.Path(data_dir)
    row = TASKS[task_name]
    for folder in (*(root / name for name in (*row.folders, row.name)), root):
        for stem in _STEMS[split]:
            for suffix in _SUFFIXES:
                if (folder / f"{stem}{suffix}").is_file():
                    return folder / f"{stem}{suffix}"
    stems = " or ".join(_STEMS[split])
    raise InputError(
        f"{root} must hold the {split} file of {row.name}, or its folder {row.folders[0]}: {stems} "
        f"with one of {', '.join(_SUFFIXES)}. Received: no such file (`{split}_file` names any)"
    )


def read_table(
    task_name: str, path: str | os.PathLike, problems: InputProblems, with_labels: bool = True
) -> list[TextExample]:
    """Reads a file of one of `TASKS`.

    Args:
        task_name: one of `TASKS`.
        path: file; the format follows its suffix, and quotes of TSV are characters like others.
        problems: takes rows that cannot be used.
        with_labels: otherwise labels need not be there.

    Raises:
        InputError: as `tabular.read`.
    """
    columns, has_header = _find_columns(task_name, os.fspath(path), problems, with_labels)
    return tabular.read(path, columns, problems, kind="class", labels=LABELS, has_header=has_header)


def _find_columns(
    task_name: str, path: str, problems: InputProblems, with_labels: bool
) -> tuple[tabular.Columns, bool]:
    """Returns which columns hold what, and whether a first row names them."""
    row = TASKS[task_name]
    first = _first_row(path, problems)
    places = {}
    for names in row.columns:
        known = [name for name in names if name in first]
        if known:
            places[names[0]] = known[0]
    wanted = [names[0] for names in row.columns if with_labels or names != _LABEL]
    has_header = bool(places)
    label_place = row.columns.index(_LABEL)
    if not places and len(first) == len(row.columns) and first[label_place].strip() in LABELS:
        places = {names[0]: str(number) for number, names in enumerate(row.columns)}
    missing = [name for name in wanted if name not in places]
    if missing:
        expected = ", ".join("/".join(names) for names in row.columns if names[0] in wanted)
        raise InputError(
            f"{path} must have the columns {expected} of {row.name}. "
            f"Received the columns: {json_files.listed(first)}"
        )
    columns = tabular.Columns(
        text_a=places["text_a"],
        text_b=places.get("text_b"),
        label=places["label"] if with_labels else None,
    )
    return columns, has_header


def _first_row(path: str, problems: InputProblems) -> list[str]:
    """Returns the names of the columns, or the cells of the first row where there are none."""
    rows = tabular.read_rows(path, problems.looking_ahead(), has_header=False)
    _, row = next(rows, (None, {}))
    if list(row) == [str(number) for number in range(len(row))]:
        return list(row.values())
    return list(row)


# CMRC 2018.

_CMRC_FILES = {
    split: (f"cmrc2018_{split}.json", f"{split}.json") for split in ("train", "dev", "test")
}
# What the flat layout calls the parts of SQuAD's.
_OF_SQUAD = {"query_id": "id", "query_text": "question"}


def find_cmrc(data_dir: str | os.PathLike, split: str) -> pathlib.Path:
    """Returns the file of a split of CMRC 2018.

    Raises:
        InputError: there is none.
    """
    root = pathlib.Path(data_dir)
    paths = [folder / name for folder in (root, root / "cmrc2018") for name in _CMRC_FILES[split]]
    for path in paths:
        if path.is_file():
            return path
    raise InputError(f"{root} must hold {' or '.join(_CMRC_FILES[split])}. Received: no such file")


def read_cmrc(
    path: str | os.PathLike, problems: InputProblems, with_answers: bool = True
) -> list[Question]:
    """Reads a file of CMRC 2018 in SQuAD's layout or flat.

    Flat, answers are texts alone: each is taken to stand where the context first has it.

    Args and raises: as `squad.read`.
    """
    from albert_tf.pipelines.task_data import squad  # brings TensorFlow, and flags need TASKS

    path = os.fspath(path)
    try:
        values = json_files.read_values(path, largest_bytes=None)
    except json_files.JsonError as error:
        raise InputError(f"{error}. Expected the layout of CMRC 2018") from error
    articles = values.get("data") if isinstance(values, dict) else values
    if not isinstance(articles, list):
        raise InputError(
            f"{path} must be a list of contexts, or have one as `data`, in the layout of CMRC "
            f"2018. Received: the keys {json_files.listed(values)}"
        )
    return squad.read_articles(path, list(map(_as_squad, articles)), problems, with_answers)


def _as_squad(article: Any) -> Any:
    """Returns an article of SQuAD for one of the flat layout; anything else as it is."""
    if not isinstance(article, dict) or "context_text" not in article:
        return article
    context, entries = article["context_text"], article.get("qas")
    if isinstance(entries, list):
        entries = [_with_places(entry, context) for entry in entries]
    paragraph = {"context": context, "qas": entries}
    return {"title": article.get("title", ""), "paragraphs": [paragraph]}


def _with_places(entry: Any, context: Any) -> Any:
    if not isinstance(entry, dict):
        return entry
    entry = {_OF_SQUAD.get(name, name): value for name, value in entry.items()}
    if isinstance(entry.get("answers"), list) and isinstance(context, str):
        entry["answers"] = [
            {"text": text, "answer_start": context.find(text)} if isinstance(text, str) else text
            for text in entry["answers"]
        ]
    return entry
