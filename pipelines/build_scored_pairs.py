"""Makes scored pairs of texts of text alone, for a model to learn to compare two texts.

  python -m albert_tf.pipelines.build_scored_pairs --input='wiki/*' --vocab_model=vocab.model \\
      --output=pairs.jsonl
  python -m albert_tf.run_finetuning --flagfile=configs/quick_pairs.flags \\
      --train_file=pairs.jsonl --init_checkpoint=runs/small --output_dir=runs/pairs
  python -m albert_tf.run_finetuning --flagfile=configs/quick_stsb.flags --data_dir=GLUE \\
      --init_checkpoint=runs/pairs --output_dir=runs/stsb

`synthetic.scored_pairs` says what the pairs and their scores are, docs/small_models.md what they
are worth.
"""

import dataclasses
import json
import os
import random
from collections.abc import Callable, Sequence

from absl import flags

from albert_tf import command_line, quiet_tensorflow, setting_checks, whole_files
from albert_tf.pipelines.synthetic import sampling, scored_pairs
from albert_tf.settings import setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class PairSettings(sampling.SampleSettings):
    """What pairs are made of, and how many."""

    max_pairs: int = setting(
        60_000, "Pairs to make, of an even sample of the text's sentences.", lowest=1
    )


def build_scored_pairs(
    inputs: str | Sequence[str],
    vocab_model: str | os.PathLike,
    output: str | os.PathLike,
    settings: PairSettings | None = None,
    report: Callable[[str], None] | None = None,
) -> int:
    """Writes JSON lines with `text`, `text_b` and `label`, complete or not at all.

    Args:
        inputs: file patterns, as `corpus.read_documents` takes them.
        vocab_model: vocabulary whose pieces the scores count.
        output: the file to write.
        settings: which pairs.
        report: called with lines of progress and with what was made, or None.

    Returns:
        The number of pairs.

    Raises:
        FileExistsError: if `output` exists and may not be replaced.
        FileNotFoundError: if a pattern matches no file.
        ValueError: if the text has no two sentences of usual length near one another, or if there
            is no vocabulary.
    """
    settings, report = settings or PairSettings(), report or (lambda line: None)
    setting_checks.check_output("output", output, is_file=True, overwrite=settings.overwrite)
    setting_checks.check_file("vocab_model", vocab_model)
    rng = random.Random(settings.seed)
    places = sampling.sample_documents(
        inputs,
        lambda document: scored_pairs.find_places(document.sentences, rng),
        settings.max_pairs,
        settings,
        rng,
        report,
        "sentences",
    )
    if not places:
        raise ValueError(
            "`input` must have documents with two sentences of 5 to 40 words near one another. "
            "Received: none"
        )
    pairs = [
        [" ".join(text.split()) for text in scored_pairs.make_pair(place, rng)] for place in places
    ]
    quiet_tensorflow.load_for_command()
    from albert_tf.pipelines.tokenizer.tokenization import Tokenizer

    tokenizer = Tokenizer(os.fspath(vocab_model))
    ids = [tokenizer.encode_batch(texts) for texts in zip(*pairs, strict=True)]
    information = scored_pairs.information_of_pieces(
        (text for texts in ids for text in texts), tokenizer.vocab_size
    )
    with whole_files.whole_file(output) as file:
        for (text, text_b), *both in zip(pairs, *ids, strict=True):
            score = round(scored_pairs.score_pair(*both, information), 3)
            row = {"text": text, "text_b": text_b, "label": score}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    report(f"{os.fspath(output)}: {len(pairs):,} pairs")
    return len(pairs)


def _define_flags() -> None:
    # Only in the program itself: other programs have flags of the same names.
    command_line.define_text_input()
    flags.DEFINE_string("vocab_model", None, "Vocabulary whose pieces are counted.", required=True)
    flags.DEFINE_string("output", None, "The JSON lines file to write.", required=True)
    command_line.define_flags(PairSettings)


def main() -> None:
    """Builds the file that the flags name."""
    build_scored_pairs(
        flags.FLAGS.input,
        flags.FLAGS.vocab_model,
        flags.FLAGS.output,
        command_line.settings_from_flags(PairSettings, flags.FLAGS),
        command_line.print_now,
    )


if __name__ == "__main__":
    _define_flags()
    command_line.run(main)
