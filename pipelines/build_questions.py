"""Makes questions on passages of English text alone, for a model to learn to look answers up.

  python -m albert_tf.pipelines.build_questions --input='wiki/*' --output=questions.json
  python -m albert_tf.run_finetuning --flagfile=configs/quick_questions.flags \\
      --train_file=questions.json --init_checkpoint=runs/small --output_dir=runs/questions
  python -m albert_tf.run_finetuning --flagfile=configs/quick_squad1.flags \\
      --data_dir=squad --init_checkpoint=runs/questions --output_dir=runs/squad1

`synthetic.questions` says what the questions are, docs/small_models.md what they are worth.
"""

import collections
import dataclasses
import json
import operator
import os
import random
from collections.abc import Callable, Sequence

from absl import flags

from albert_tf import command_line, setting_checks, whole_files
from albert_tf.pipelines.synthetic import questions, sampling
from albert_tf.settings import setting

_ATTEMPTS = 5  # at a passage; most questions come out at once


@dataclasses.dataclass(frozen=True, kw_only=True)
class QuestionSettings(sampling.SampleSettings):
    """What questions are made of, and how many."""

    max_questions: int = setting(
        80_000, "Questions to make, one on each passage of an even sample of the text.", lowest=1
    )


def build_questions(
    inputs: str | Sequence[str],
    output: str | os.PathLike,
    settings: QuestionSettings | None = None,
    report: Callable[[str], None] | None = None,
) -> int:
    """Writes a file in SQuAD's layout, complete or not at all.

    Args:
        inputs: file patterns, as `corpus.read_documents` takes them.
        output: the file to write.
        settings: which questions.
        report: called with lines of progress and with what was made, or None.

    Returns:
        The number of questions.

    Raises:
        FileExistsError: if `output` exists and may not be replaced.
        FileNotFoundError: if a pattern matches no file.
        ValueError: if the text has no passage that can be asked about.
    """
    settings, report = settings or QuestionSettings(), report or (lambda line: None)
    setting_checks.check_output("output", output, is_file=True, overwrite=settings.overwrite)
    rng = random.Random(settings.seed)
    passages = sampling.sample_documents(
        inputs,
        lambda document: (
            (document.source, passage)
            for passage in questions.find_passages(document.sentences, rng)
        ),
        settings.max_questions,
        settings,
        rng,
        report,
        "passages",
    )
    made = []
    for source, passage in passages:
        attempts = (questions.make_question(passage, rng) for _ in range(_ATTEMPTS))
        question = next(filter(None, attempts), None)
        if question:
            made.append((source, question))
    if not made:
        raise ValueError(
            "`input` must have English documents with 40 words and more, in sentences that tell "
            "something. Received: none"
        )
    with whole_files.whole_file(output) as file:
        json.dump({"version": "1.1", "data": _articles(made)}, file, ensure_ascii=False, indent=1)
        file.write("\n")
    report(f"{os.fspath(output)}: {len(made):,} questions")
    return len(made)


def _articles(made: Sequence[tuple[str, questions.Question]]) -> list[dict]:
    """Returns questions by the documents they are on, as SQuAD has them."""
    paragraphs = collections.defaultdict(list)
    for number, (source, question) in enumerate(sorted(made, key=operator.itemgetter(0))):
        answer = {"text": question.answer, "answer_start": question.start}
        asked = {"id": f"made-{number}", "question": question.question, "answers": [answer]}
        paragraphs[source].append({"context": question.context, "qas": [asked]})
    return [{"title": source, "paragraphs": some} for source, some in paragraphs.items()]


def _define_flags() -> None:
    # Only in the program itself: other programs have flags of the same names.
    command_line.define_text_input()
    flags.DEFINE_string("output", None, "The JSON file to write.", required=True)
    command_line.define_flags(QuestionSettings)


def main() -> None:
    """Builds the file that the flags name."""
    build_questions(
        flags.FLAGS.input,
        flags.FLAGS.output,
        command_line.settings_from_flags(QuestionSettings, flags.FLAGS),
        command_line.print_now,
    )


if __name__ == "__main__":
    _define_flags()
    command_line.run(main)
