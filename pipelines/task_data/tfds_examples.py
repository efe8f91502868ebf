"""The same examples through TensorFlow Datasets, which downloads what is not there yet."""

from collections.abc import Iterable, Mapping
from typing import Any

from albert_tf.pipelines.task_data import glue
from albert_tf.pipelines.task_data.input_problems import InputError
from albert_tf.pipelines.task_data.race import ChoiceQuestion
from albert_tf.pipelines.task_data.squad import GoldAnswer, Question
from albert_tf.pipelines.task_data.text_examples import TextExample

_SPLITS = {"train": "train", "dev": "validation", "test": "test"}
# The names of the texts where they are not sentence1 and sentence2.
_TEXTS = {
    "cola": ("sentence",),
    "sst2": ("sentence",),
    "qqp": ("question1", "question2"),
    "mnli": ("premise", "hypothesis"),
    "ax": ("premise", "hypothesis"),
    "qnli": ("question", "sentence"),
}
# TensorFlow Datasets has names for classes that the official files number.
_NUMBERED = ("cola", "sst2", "mrpc", "qqp", "wnli")
_SQUAD = {"squad1": "squad/v1.1", "squad2": "squad/v2.0"}


def read_glue(task_name: str, split: str, data_dir: str | None = None) -> list[TextExample]:
    """Reads one split of a task of GLUE; arguments and result as of `glue.read`.

    Args:
        task_name: one of `glue.TASKS`.
        split: one of `glue.splits_of(task_name)`.
        data_dir: folder of TensorFlow Datasets; None takes its own.

    Raises:
        InputError: the data is neither there nor can it be downloaded.
    """
    kind, _, part = split.partition("_")
    tfds_split = _SPLITS[kind] + (f"_{part}" if part else "")
    rows, features = _load(f"glue/{task_name}", tfds_split, data_dir)
    texts = _TEXTS.get(task_name, ("sentence1", "sentence2"))
    labels = glue.TASKS[task_name].labels
    examples = []
    for row in rows:
        values = [row[name].decode("utf-8") for name in texts]
        label = None
        if kind != "test":
            label = _label_of(row["label"], task_name, labels, features)
        examples.append(
            TextExample(str(int(row["idx"])), values[0], *(values[1:] or [None]), label)
        )
    # The files' order is the order of their indices; that of TensorFlow Datasets is shuffled.
    return sorted(examples, key=lambda example: int(example.guid))


def _label_of(
    value: Any, task_name: str, labels: tuple[str, ...] | None, features: Mapping[str, Any]
) -> str | float:
    if labels is None:
        return float(value)
    if task_name in _NUMBERED:
        return str(int(value))
    # By name: MNLI's classes have another order there.
    return features["label"].int2str(int(value))


def read_squad(task_name: str, split: str, data_dir: str | None = None) -> list[Question]:
    """Reads SQuAD; arguments and errors as of `read_glue`, with "squad1" or "squad2"."""
    if split not in ("train", "dev"):
        raise InputError(f"split must be train or dev, which SQuAD has. Received: {split!r}")
    rows, _ = _load(_SQUAD[task_name], _SPLITS[split], data_dir)
    questions = []
    for row in rows:
        answers = tuple(
            GoldAnswer(text.decode("utf-8"), int(start))
            for text, start in zip(
                row["answers"]["text"], row["answers"]["answer_start"], strict=True
            )
        )
        id_, question, context, title = (
            row[name].decode("utf-8") for name in ("id", "question", "context", "title")
        )
        is_impossible = bool(row.get("is_impossible", False))
        questions.append(Question(id_, question, context, title, answers, is_impossible))
    return sorted(questions, key=lambda question: question.guid)


def read_race(split: str, level: str, data_dir: str | None = None) -> list[ChoiceQuestion]:
    """Reads one level, "middle" or "high", of RACE; order and errors as of `race.read`."""
    rows, _ = _load(f"race/{level}", split, data_dir)
    questions = []
    for row in sorted(rows, key=lambda row: _file_number(row, level)):
        passage = row["article"].decode("utf-8")
        # Lists of different lengths come as a ragged tensor, even where they are as long.
        items = zip(row["questions"], row["options"].to_list(), row["answers"], strict=True)
        for number, (question, options, answer) in enumerate(items):
            questions.append(
                ChoiceQuestion(
                    guid=f"{level}-{_file_number(row, level)}-{number}",
                    passage=passage,
                    question=question.decode("utf-8"),
                    options=tuple(option.decode("utf-8") for option in options),
                    label=ord(answer.decode("utf-8")) - ord("A"),
                    level=level,
                )
            )
    return questions


def _file_number(row: Mapping[str, Any], level: str) -> int:
    """Returns the number of a passage's file: 19 for "high19.txt"."""
    return int(row["example_id"].decode("utf-8").removeprefix(level).removesuffix(".txt"))


def _load(
    name: str, split: str, data_dir: str | None
) -> tuple[Iterable[dict[str, Any]], Mapping[str, Any]]:
    """Returns the rows of a data set as NumPy, and its features."""
    # Loading it takes seconds, which those who read files need not wait for.
    import tensorflow_datasets

    try:
        builder = tensorflow_datasets.builder(name, data_dir=data_dir)
        builder.download_and_prepare()
    except (
        OSError,
        ValueError,
        tensorflow_datasets.core.DatasetNotFoundError,
        tensorflow_datasets.core.download.DownloadError,
        tensorflow_datasets.core.download.download_manager.NonMatchingChecksumError,
    ) as error:
        raise InputError(
            f"{name} must be in {data_dir or 'the folder of TensorFlow Datasets'} or be reachable. "
            f"Received: {type(error).__name__}: {error}"
        ) from error
    rows = tensorflow_datasets.as_numpy(builder.as_dataset(split=split))
    return rows, builder.info.features
