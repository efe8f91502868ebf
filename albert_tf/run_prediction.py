"""Asks a model directory: words for masks, vectors, classes, numbers, tags, answers, choices.

    python -m albert_tf.run_prediction --model_dir=runs/mini --task=fill_mask \\
        --text="She closed the [MASK] behind her."
    python -m albert_tf.run_prediction --model_dir=runs/mrpc --input=pairs.csv \\
        --columns=sentence1,sentence2 --output=answers.csv

One JSON line an input; a file of CSV or TSV if --output ends in that. Rows of a file keep their
columns beside the answer. A model that was fine-tuned here knows its task. The input is a file with
one text a line (.txt without --columns), or CSV, TSV, JSON lines or Parquet with named columns.
"""

import contextlib
import dataclasses
import itertools
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from absl import flags

from albert_tf import command_line, setting_checks, whole_files
from albert_tf.checkpoints.model_kinds import KINDS, read_kind, read_notes
from albert_tf.inference import prediction_files
from albert_tf.pipelines.sources import compressed_files
from albert_tf.pipelines.task_data import line_files, tabular
from albert_tf.pipelines.task_data.input_problems import InputProblems
from albert_tf.pipelines.task_data.reading_settings import ReadingSettings
from albert_tf.settings import setting

if TYPE_CHECKING:
    from albert_tf.inference.text_model import TextModel

FLAGS = flags.FLAGS

TASKS = (*KINDS, "features")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReadingOfInput(ReadingSettings):
    """How a file to be answered is read: one bad row does not cost the others their answers."""

    skip_malformed: bool = setting(
        True,
        "Go on at rows that cannot be used: they keep their place, with the problem for an answer, "
        "and are counted at the end. `skip_malformed=False` stops at the first and writes no file.",
    )


flags.DEFINE_string("model_dir", None, "Model directory, for example made by run_finetuning.")
flags.DEFINE_enum("task", None, TASKS, "What to ask; by default what the model was fine-tuned for.")
flags.DEFINE_multi_string("text", [], "A text; may be given several times.")
flags.DEFINE_string("input", None, "Instead of --text: a file.")
flags.DEFINE_list(
    "columns",
    [],
    "Columns of the input that are asked about, in order. By default text; question,context for "
    "answers; passage,question,options for choices (options a list, in JSON lines). Two columns "
    "are a pair for classes and numbers.",
)
command_line.define_flags(ReadingOfInput)
flags.DEFINE_string(
    "output", None, "File to write: .jsonl, .csv or .tsv; JSON lines to standard output by default."
)
flags.DEFINE_integer(
    "top_k", None, "Words a mask, 5 by default, or classes, the best first; by default all of them."
)
flags.mark_flag_as_required("model_dir")

_INPUTS_AT_A_TIME = 256
_OF_THE_BEST = ("fill_mask", "classification")
_OF_ONE_TEXT = ("fill_mask", "features", "embedding", "tagging")
# What the last column holds; the others hold texts.
_LAST_COLUMN = {"choice": "options", "tagging": "text or words"}
_KINDS = {
    "text": "text",
    "options": "list of texts",
    "text or words": "text, or a list of words",
}
# Where the row stands; the row, or None for a text of a flag; what is asked; its problem, or None.
Input = tuple[str, dict[str, Any] | None, Any, str | None]


class _News:
    """The problems of rows, each told once."""

    def __init__(self, problems: InputProblems):
        self._problems = problems
        self._count = 0

    def take(self) -> list[str]:
        """Returns what has come since the last call."""
        messages = self._problems.messages_from(self._count)
        self._count += len(messages)
        return messages


def main() -> None:
    """Reads the inputs, asks the model and writes its answers."""
    if bool(FLAGS.text) == bool(FLAGS.input):
        raise ValueError("exactly one of --text and --input must be given")
    setting_checks.check_folder("model_dir", FLAGS.model_dir)
    if FLAGS.input:
        setting_checks.check_file("input", FLAGS.input)
    if FLAGS.output:
        setting_checks.check_output("output", FLAGS.output, is_file=True)
        if FLAGS.input and os.path.realpath(FLAGS.input) == os.path.realpath(FLAGS.output):
            raise ValueError(
                f"`output` must be another file than `input`. Received: {FLAGS.output}"
            )
    if FLAGS.top_k is not None:
        setting_checks.check_positive("top_k", FLAGS.top_k)
    reading = command_line.settings_from_flags(ReadingOfInput, FLAGS)
    file_format = prediction_files.format_of(FLAGS.output) if FLAGS.output else "jsonl"
    command_line.load_tensorflow()
    task = _find_task()
    text_model_class = _find_class(task)
    problems = reading.start_problems()
    news = _News(problems)
    inputs = iter(_read_inputs(FLAGS.columns or text_model_class.columns, task, problems, news))
    ask = _make_asker(task, text_model_class)
    rows = 0
    with _open_output() as output:
        writer = prediction_files.make_writer(output, file_format)
        while chunk := list(itertools.islice(inputs, _INPUTS_AT_A_TIME)):
            rows += len(chunk)
            for row, answer, problem in _answer(chunk, ask, problems, news):
                if problem is None:
                    writer.write(row, answer)
                else:
                    writer.write_problem(row, command_line.name_flags(problem))
        if rows and rows == problems.count:
            raise ValueError(
                f"{FLAGS.input}: none of its {rows:,} rows can be used:{problems.first_messages()}"
            )
        writer.close()
    notes = problems.encoding_notes()
    if problems.count:
        notes.append(
            f"{problems.count:,} of {rows:,} rows have no answer; "
            f"`{prediction_files.PROBLEM}` says why:{problems.first_messages()}"
        )
    if writer.left_out:
        notes.append(
            f"{FLAGS.output} lacks what the first row does not have, "
            f"{', '.join(f'`{name}`' for name in writer.left_out)}: .jsonl keeps that"
        )
    for line in notes:
        command_line.print_aside(f"run_prediction: {line}")


def _find_task() -> str:
    kind = read_kind(FLAGS.model_dir)
    task = FLAGS.task or kind
    if task not in (kind, "features"):
        raise ValueError(
            f"--task={task} needs a model for it. Received: {FLAGS.model_dir}, a model for {kind}"
        )
    return task


def _find_class(task: str) -> "type[TextModel]":
    from albert_tf.inference import table

    text_model_class = table.MODELS[task]
    if FLAGS.top_k is not None and task not in _OF_THE_BEST:
        raise ValueError(f"--top_k goes with {', '.join(_OF_THE_BEST)}. Received: --task={task}")
    if task in _OF_ONE_TEXT and len(FLAGS.columns or ()) > 1:
        raise ValueError(
            f"--columns must be one for --task={task}. Received: {','.join(FLAGS.columns)}"
        )
    num_parts = len(text_model_class.columns)
    if len(FLAGS.columns) > max(num_parts, 2) or 0 < len(FLAGS.columns) < num_parts:
        number = f"{num_parts}, for {', '.join(text_model_class.columns)}"
        raise ValueError(
            f"--columns must be {number if num_parts > 1 else 'one or two'} for --task={task}. "
            f"Received: {','.join(FLAGS.columns)}"
        )
    notes = read_notes(FLAGS.model_dir, task) if task != "features" else None
    if getattr(notes, "is_pair", False) and len(FLAGS.columns) != 2:
        raise ValueError(
            f"--columns must be two: {FLAGS.model_dir} was fine-tuned on pairs of texts, which "
            f"--input holds. Received: {','.join(FLAGS.columns) or 'none'}"
        )
    if FLAGS.text and len(text_model_class.columns) > 1:
        raise ValueError(
            f"--task={task} needs --input with the columns {', '.join(text_model_class.columns)}. "
            "Received: --text"
        )
    return text_model_class


def _make_asker(task: str, text_model_class: "type[TextModel]") -> Callable[[list], Iterable]:
    model = text_model_class.from_pretrained(FLAGS.model_dir)
    if task == "features":
        return lambda texts: map(_as_json_types, model(texts))
    if task == "embedding":
        return lambda texts: ({"embedding": vector.tolist()} for vector in model.embed(texts))
    if FLAGS.top_k is not None:
        return lambda texts: model(texts, top_k=FLAGS.top_k)
    return model


def _answer(
    chunk: list[Input], ask: Callable[[list], Iterable], problems: InputProblems, news: _News
) -> Iterator[tuple[dict[str, Any] | None, Any, str | None]]:
    """Yields (row, its answer, its problem) of inputs, also where one of them is refused."""
    asked = [item for _, _, item, problem in chunk if problem is None]
    try:
        answers = iter(list(ask(asked)))
    except (TypeError, ValueError):
        if not FLAGS.input:
            raise
        answers = None  # one by one
    for place, row, item, problem in chunk:
        answer = None
        if problem is None and answers is not None:
            answer = next(answers)
        elif problem is None:
            try:
                (answer,) = ask([item])
            except (TypeError, ValueError) as error:
                problems.add(FLAGS.input, place, str(error))
                (problem,) = news.take()
        yield row, answer, problem


def _as_json_types(answer: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value if isinstance(value, list) else value.tolist() for name, value in answer.items()
    }


def _read_inputs(
    columns: Sequence[str], task: str, problems: InputProblems, news: _News
) -> Iterator[Input]:
    """Yields all inputs, also those of malformed rows.

    What is asked is a string or a list of them, or a tuple where several columns are asked about.
    """
    if FLAGS.text:
        yield from (("", None, text, None) for text in FLAGS.text)
        return
    kinds = [*["text"] * (len(columns) - 1), _LAST_COLUMN.get(task, "text")]
    for place, row in _read_rows(columns, problems):
        yield from (("", {}, None, message) for message in news.take())
        values = tuple(row[name] for name in columns)
        wrong = [
            (name, kind)
            for name, kind, value in zip(columns, kinds, values, strict=True)
            if not _is_kind(value, kind)
        ]
        if wrong:
            name, kind = wrong[0]
            problem = f"column {name} must hold a {_KINDS[kind]}. Received: {row[name]!r}"
            problems.add(FLAGS.input, place, problem)
            (problem,) = news.take()
            yield place, row, None, problem
        else:
            yield place, row, values if len(values) > 1 else values[0], None
    yield from (("", {}, None, message) for message in news.take())


def _read_rows(
    columns: Sequence[str], problems: InputProblems
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields (place, row) of each row that can be read."""
    is_text = compressed_files.without_suffix(FLAGS.input).lower().endswith(".txt")
    if is_text and len(columns) == 1 and not (FLAGS.file_format or FLAGS.columns):
        for place, line in line_files.read_lines(FLAGS.input, problems, keep_empty=True):
            yield place, {columns[0]: line}
        return
    yield from tabular.read_rows(
        FLAGS.input, problems, FLAGS.has_header, columns, FLAGS.file_format, FLAGS.quoting
    )


def _is_kind(value: object, kind: str) -> bool:
    """Returns whether a cell holds a "text", "options", or a "text or words"."""
    if isinstance(value, list) and kind != "text":
        return bool(value) and all(isinstance(text, str) for text in value)
    return isinstance(value, str) and bool(value.strip()) and kind != "options"


def _open_output() -> contextlib.AbstractContextManager[TextIO]:
    if FLAGS.output:
        return whole_files.whole_file(FLAGS.output)
    if sys.__stdout__ is None:
        raise ValueError("`output` must be given where standard output is closed. Received: none")
    return contextlib.nullcontext(sys.stdout)


if __name__ == "__main__":
    command_line.run(main)
