"""Trains an ALBERT vocabulary: a SentencePiece model with the clean-up built in.

  python -m albert_tf.pipelines.build_vocabulary --input='wiki/*,books/*.txt' \\
      --vocab_size=30000 --output=vocab.model

The settings are the original's: a unigram model, the special pieces at ids 0 to 4, eight pieces of
punctuation at 5 to 12. Same text, same options, same bytes. docs/tokenizer.md has times and memory.
"""

import concurrent.futures
import dataclasses
import io
import os
import re
import resource
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import sentencepiece
from absl import flags

from albert_tf import command_line, quiet_tensorflow, setting_checks, stop_signals
from albert_tf.durations import format_duration
from albert_tf.pipelines.building import sentence_sample, worker_pool
from albert_tf.pipelines.text import corpus
from albert_tf.pipelines.tokenizer import model_proto, normalization
from albert_tf.pipelines.tokenizer.vocabulary_model import (
    CLASS_PIECE,
    MASK_PIECE,
    PAD_PIECE,
    SEPARATOR_PIECE,
    UNKNOWN_PIECE,
)
from albert_tf.pipelines.tokenizer.vocabulary_settings import VocabularySettings

CONTROL_PIECES = (CLASS_PIECE, SEPARATOR_PIECE, MASK_PIECE)  # ids 2, 3, 4
PUNCTUATION_PIECES = ("(", ")", '"', "-", ".", "–", "£", "€")  # ids 5 to 12
_RESERVED_PIECES = 2 + len(CONTROL_PIECES) + len(PUNCTUATION_PIECES)
# SentencePiece leaves out what is longer than this many bytes (the original's setting).
_MAX_SENTENCE_BYTES = 4192
# The trainer adds up its counts thread by thread, so the result depends on their number: it is the
# original's, whatever the machine has.
_NUM_THREADS = 16
# Of the trainer, for sentences of 130 characters.
_BYTES_PER_SENTENCE = 2_900
_SURELY_SMALL_BYTES = 20_000_000
_SECONDS_BETWEEN_REPORTS = 10
_SECONDS_BETWEEN_LOOKS = 0.2


@dataclasses.dataclass(frozen=True)
class VocabularySummary:
    """What `build_vocabulary` read and made."""

    output: str
    vocab_size: int
    fingerprint: str
    documents: int
    sentences: int
    sentences_sampled: int
    text_bytes: int
    skipped: dict[str, int]
    seconds: float

    def __str__(self) -> str:
        lines = [
            f"Vocabulary: {self.output}, {self.vocab_size:,} pieces, "
            f"fingerprint {self.fingerprint[:16]}",
            f"Text: {self.documents:,} documents, {self.sentences:,} sentences, "
            f"{self.text_bytes / 1e6:,.1f} MB; trained on {self.sentences_sampled:,} sentences",
        ]
        if self.skipped:
            counts = ", ".join(f"{reason}: {n:,}" for reason, n in sorted(self.skipped.items()))
            lines.append(f"Left out: {counts}")
        unit = 1e9 if sys.platform == "darwin" else 1e6  # macOS counts bytes, Linux kilobytes
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
        lines.append(
            f"Time: {format_duration(self.seconds)}; peak memory of the process: {peak:.1f} GB"
        )
        return "\n".join(lines)


def build_vocabulary(
    inputs: str | Sequence[str],
    vocab_size: int,
    output: str | os.PathLike,
    *,
    max_sentences: int = VocabularySettings.max_sentences,
    character_coverage: float = VocabularySettings.character_coverage,
    lower_case: bool = VocabularySettings.lower_case,
    strip_accents: bool = VocabularySettings.strip_accents,
    seed: int = VocabularySettings.seed,
    overwrite: bool = VocabularySettings.overwrite,
    layout: str = VocabularySettings.layout,
    text_field: str = VocabularySettings.text_field,
    encoding: str = VocabularySettings.encoding,
    tfds_data_dir: str | None = VocabularySettings.tfds_data_dir,
    num_workers: int = 1,
    report: Callable[[str], None] | None = None,
) -> VocabularySummary:
    """Trains a vocabulary on text files and writes it to `output`, complete or not at all.

    Args:
        inputs: file patterns, as `corpus.read_documents` takes them.
        vocab_size: number of pieces V, special ones included.
        output: the model file to write.
        max_sentences: train on a uniform sample of this many sentences where the text has more;
            memory grows with it, by 20 bytes per character (2.9 GB per million of 130 each).
        character_coverage: share of all characters that the pieces must cover; the rarest rest
            becomes `<unk>`.
        lower_case: lower-case the text; built into the model.
        strip_accents: remove accents; built into the model.
        seed: of the sample.
        overwrite: replace an `output` that exists.
        layout, text_field, encoding, tfds_data_dir: of the text files, see `corpus.read_documents`.
        num_workers: processes that read; with several a script must guard what it does by
            `if __name__ == "__main__":`, because these import it. No influence on the vocabulary.
        report: called with a line of progress now and then, or None.

    Raises:
        ValueError: an argument out of range, no folder for `output`, or a size that the text does
            not allow (the message says which sizes it does allow).
        FileExistsError: `output` exists.
        FileNotFoundError: a pattern matches no file.
    """
    started = time.monotonic()
    output = os.fspath(output)
    report = report or (lambda line: None)
    settings = VocabularySettings(
        vocab_size=vocab_size,
        max_sentences=max_sentences,
        character_coverage=character_coverage,
        lower_case=lower_case,
        strip_accents=strip_accents,
        seed=seed,
        overwrite=overwrite,
        layout=layout,
        text_field=text_field,
        encoding=encoding,
        tfds_data_dir=tfds_data_dir,
        num_workers=num_workers,
    )
    _check_output(settings, output)
    files = corpus.list_input_files(inputs, tfds_data_dir)
    if corpus.total_input_bytes(files) > _SURELY_SMALL_BYTES:
        report(
            f"Training on up to {max_sentences:,} sentences needs up to "
            f"{_memory_gigabytes(max_sentences):.1f} GB of memory, which `max_sentences` sets"
        )
    with sentence_sample.SentenceSample(max_sentences) as sample:
        sample.read(
            files,
            settings.reading(),
            _MAX_SENTENCE_BYTES,
            seed,
            num_workers,
            _report_now_and_then(report),
        )
        report(
            f"Read {sample.counts.sentences:,} sentences; training the vocabulary on "
            f"{sample.size:,}"
        )
        sentences = _warn_of_lost_marks(sample.sentences(), strip_accents, report)
        model_bytes = _train(sentences, vocab_size, character_coverage, (lower_case, strip_accents))
    quiet_tensorflow.load()
    from albert_tf.pipelines.tokenizer.tokenization import Tokenizer

    tokenizer = Tokenizer.from_model_bytes(model_bytes)
    tokenizer.save(output)
    return VocabularySummary(
        output=output,
        vocab_size=tokenizer.vocab_size,
        fingerprint=tokenizer.fingerprint,
        documents=sample.counts.documents,
        sentences=sample.counts.sentences,
        sentences_sampled=sample.size,
        text_bytes=sample.counts.text_bytes,
        skipped=dict(sample.report.counts),
        seconds=time.monotonic() - started,
    )


def _report_now_and_then(
    report: Callable[[str], None],
) -> Callable[[sentence_sample.TextCounts], None]:
    """Returns a function that reports how much was read, every ten seconds."""
    next_report = time.monotonic() + _SECONDS_BETWEEN_REPORTS

    def report_counts(counts: sentence_sample.TextCounts) -> None:
        nonlocal next_report
        if time.monotonic() > next_report:
            next_report = time.monotonic() + _SECONDS_BETWEEN_REPORTS
            report(f"Read {counts.sentences:,} sentences, {counts.text_bytes / 1e6:,.0f} MB")

    return report_counts


def _warn_of_lost_marks(
    sentences: Iterable[str], strip_accents: bool, report: Callable[[str], None]
) -> Iterator[str]:
    """Yields sentences; warns in the end where they lose marks that their language needs."""
    marks = normalization.LostMarks(strip_accents)
    for sentence in sentences:
        marks.look_at(sentence)
        yield sentence
    marks.report(report)


def _memory_gigabytes(max_sentences: int) -> float:
    """Returns what training takes, TensorFlow for the check at the end included."""
    return 0.8 + max_sentences * _BYTES_PER_SENTENCE / 1e9


def _check_output(settings: VocabularySettings, output: str) -> None:
    if settings.vocab_size <= _RESERVED_PIECES:
        raise ValueError(
            f"`vocab_size` must be above {_RESERVED_PIECES}, the number of special and punctuation "
            f"pieces. Received: {settings.vocab_size}"
        )
    # What the training takes is not to be lost.
    setting_checks.check_output("output", output, is_file=True, overwrite=settings.overwrite)


def _train(
    sentences: Iterator[str],
    vocab_size: int,
    character_coverage: float,
    clean_up: tuple[bool, bool],
) -> bytes:
    """Runs the SentencePiece trainer over sentences; returns the serialized model."""
    spec_bytes = normalization.build_in_clean_up(_stock_normalizer(), *clean_up)
    model_file = io.BytesIO()
    sentencepiece.set_min_log_level(1)
    with tempfile.TemporaryDirectory() as folder:
        rules_file = os.path.join(folder, "rules.tsv")
        _write_rules(rules_file, spec_bytes)
        try:
            _call_in_thread(
                sentencepiece.SentencePieceTrainer.train,
                sentence_iterator=sentences,
                model_writer=model_file,
                vocab_size=vocab_size,
                model_type="unigram",
                normalization_rule_tsv=rules_file,
                pad_id=0,
                pad_piece=PAD_PIECE,
                unk_id=1,
                unk_piece=UNKNOWN_PIECE,
                bos_id=-1,
                eos_id=-1,
                control_symbols=list(CONTROL_PIECES),
                user_defined_symbols=list(PUNCTUATION_PIECES),
                character_coverage=character_coverage,
                max_sentence_length=_MAX_SENTENCE_BYTES,
                num_threads=_NUM_THREADS,
                minloglevel=1,
            )
        except RuntimeError as error:
            raise _explain(error, vocab_size) from error
    model = model_proto.ModelProto.FromString(model_file.getvalue())
    # Takes the name of the clean-up, and drops the path of the rules file.
    model.normalizer_spec.ParseFromString(spec_bytes)
    return model.SerializeToString(deterministic=True)


def _call_in_thread(function: Callable, **arguments) -> Any:
    """Calls what does not return to Python for minutes, so that signals are heard meanwhile.

    After Ctrl-C the thread works on until it or the process ends; there is no way to end it.
    """
    outcome = concurrent.futures.Future()

    def call() -> None:
        try:
            outcome.set_result(function(**arguments))
        except Exception as error:  # noqa: BLE001 - raised by whoever waits
            outcome.set_exception(error)

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    try:
        while thread.is_alive():  # one long wait would sleep on where another thread got the signal
            thread.join(_SECONDS_BETWEEN_LOOKS)
    except stop_signals.Stopped as stopped:
        stopped.leaves_thread = True
        raise
    return outcome.result()


def _stock_normalizer() -> bytes:
    """Returns SentencePiece's own `nmt_nfkc`, which the original's model has."""
    return sentencepiece.SentencePieceNormalizer(rule_name="nmt_nfkc").serialized_normalizer_spec()


def _write_rules(path: str, spec_bytes: bytes) -> None:
    """Writes compiled replacements in the trainer's format: code points in hexadecimal, by tabs."""
    normalizer = sentencepiece.SentencePieceNormalizer(normalizer_spec=spec_bytes)
    with open(path, "w", encoding="ascii") as file:
        for source, replacement in normalizer.decompile():
            columns = (" ".join(f"{ord(c):X}" for c in text) for text in (source, replacement))
            file.write("\t".join(columns) + "\n")


def _explain(error: RuntimeError, vocab_size: int) -> Exception:
    """Returns the trainer's complaint in terms of our arguments."""
    message = str(error)
    largest = re.search(r"value <= (\d+)", message)
    if "too high" in message and largest:
        return ValueError(
            f"`vocab_size` is too large for this text: at most {largest.group(1)} pieces can be "
            f"found in it. Received: {vocab_size}"
        )
    smallest = re.search(r"required_chars\D*\d+ vs (\d+)", message)
    if smallest:
        return ValueError(
            f"`vocab_size` is too small for the characters of this text: at least "
            f"{smallest.group(1)} is needed, or a lower `character_coverage`. "
            f"Received: {vocab_size}"
        )
    if "all_chars_count" in message:
        return ValueError("The text has no character for a vocabulary: accents or blanks alone")
    return RuntimeError(f"The SentencePiece trainer failed: {message}")


def _define_flags() -> None:
    # Only in the program itself: other programs have flags of the same names.
    command_line.define_text_input()
    flags.DEFINE_string("output", None, "The model file to write.", required=True)
    command_line.define_flags(VocabularySettings)


def main() -> None:
    """Builds a vocabulary from the flags."""
    settings = command_line.settings_from_flags(VocabularySettings, flags.FLAGS)
    num_workers = settings.num_workers or worker_pool.count_usable_cores()
    settings = dataclasses.replace(settings, num_workers=num_workers)
    summary = build_vocabulary(
        flags.FLAGS.input,
        output=flags.FLAGS.output,
        report=command_line.print_aside,
        **settings.values_by_name(),
    )
    command_line.print_now(str(summary))


if __name__ == "__main__":
    _define_flags()
    command_line.run(main)
