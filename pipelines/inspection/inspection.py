"""What is asked of finished data, answered in lines."""

from collections.abc import Callable

import numpy as np

from albert_tf.failures import Failure
from albert_tf.pipelines.building import example_summary
from albert_tf.pipelines.examples import record_files, records
from albert_tf.pipelines.examples.example_settings import ExampleSettings
from albert_tf.pipelines.examples.fresh_examples import FreshExamples
from albert_tf.pipelines.examples.token_files import TokenFolder
from albert_tf.pipelines.inspection import record_reading, rewriting, tables, token_reading
from albert_tf.pipelines.inspection.settings import InspectionSettings
from albert_tf.pipelines.inspection.sources import Source
from albert_tf.pipelines.tokenizer.tokenization import Tokenizer

_SEED = 0
# In the order of the tables.
_TOKEN_KINDS = ("train", "held_out")


def inspect(
    settings: InspectionSettings,
    source: Source,
    examples: ExampleSettings,
    report: Callable[[str], None],
) -> None:
    """Does what settings ask of finished data.

    Args:
        settings: which are asked.
        source: of `sources.find`.
        examples: what examples made of stored tokens are like.
        report: takes each line of the answer.

    Raises:
        ValueError: for data that gives no answer.
        Failure: saying how many files are damaged, after all were looked at and named.
    """
    if settings.is_rewriting:
        rewriting.rewrite(settings, source, report)
    elif settings.show:
        _show(settings.show, source, examples, report)
    elif source.is_tokens:
        _inspect_tokens(source, examples, settings.verify, report)
    else:
        _inspect_records(source, settings.verify, report)


def _inspect_records(source: Source, is_verifying: bool, report: Callable[[str], None]) -> None:
    tokenizer = _load_vocabulary(source) if source.vocab_model else None
    vocab_size, mask_id = (tokenizer.vocab_size, tokenizer.mask_id) if tokenizer else (None, None)
    figures = {
        kind: record_reading.read_files(files, vocab_size, mask_id, f"reading {kind}")
        for kind, files in source.records.items()
    }
    if not is_verifying:
        report(tables.format_table({kind: _describe(one) for kind, one in figures.items()}))
    damage = _find_wrong_files(source)
    for one in figures.values():
        damage |= one.damage  # which names the record, too
    if not damage:
        damage = _compare_counts(source, figures)
    if tokenizer is None:
        report("no vocabulary is known (`vocab_model`): ids are not compared with one")
    num_examples = sum(one.statistics.examples for one in figures.values())
    _conclude(damage, f"{num_examples:,} whole examples", is_verifying, report)


def _describe(figures: record_reading.RecordFigures) -> tables.Column:
    whole = {"files": f"{figures.files:,}", "bytes": f"{figures.size_bytes:,}"}
    if figures.damage:
        whole["files left out of what follows"] = f"{len(figures.damage):,}"
    if figures.sizes:
        whole["max_seq_length"], whole["max_predictions_per_seq"] = map(str, figures.sizes)
    return whole | tables.describe_examples(figures.statistics)


def _find_wrong_files(source: Source) -> dict[str, str]:
    """Returns {path: how it differs from the summary of the folder}."""
    if source.summary is None:
        return {}
    wrong = example_summary.find_wrong_files(source.folder, source.summary)
    return wrong | example_summary.find_other_files(source.folder, source.summary)


def _compare_counts(
    source: Source, figures: dict[str, record_reading.RecordFigures]
) -> dict[str, str]:
    damage = {}
    for kind, one in figures.items():
        count = one.statistics.examples
        expected = (source.summary or {}).get(f"{kind}_examples", count)
        if count != expected:
            damage[kind] = (
                f"{source.folder} must hold the {expected:,} {kind} examples that "
                f"{example_summary.SUMMARY_FILE} counts. Received: {count:,}"
            )
    return damage


def _inspect_tokens(
    source: Source, examples: ExampleSettings, is_verifying: bool, report: Callable[[str], None]
) -> None:
    damage = token_reading.find_damage(source.folder, is_verifying)
    if not damage and not is_verifying:
        _report_tokens(TokenFolder(source.folder), examples, report)
    tokens = f"{source.summary['tokens']:,} tokens"
    _conclude(damage, tokens, is_verifying, report, is_complete=is_verifying)


def _report_tokens(
    folder: TokenFolder, settings: ExampleSettings, report: Callable[[str], None]
) -> None:
    columns = {}
    for kind in _TOKEN_KINDS:
        figures = token_reading.count_shards(folder, kind)
        columns[kind] = {
            "shards": f"{figures.shards:,}",
            "bytes": f"{figures.size_bytes:,}",
            "documents": f"{figures.documents:,}",
            "sentences": f"{figures.sentences:,}",
            "tokens": f"{figures.tokens:,}",
            "bytes a token": f"{figures.size_bytes / max(figures.tokens, 1):.2f}",
            "tokens a sentence": f"{figures.tokens / max(figures.sentences, 1):.1f}",
            "sentences a document": f"{figures.sentences / max(figures.documents, 1):.1f}",
        }
    report(tables.format_table(columns))
    examples, statistics = token_reading.sample_examples(folder, settings, _SEED)
    report(
        f"\nA pass gives {examples.num_examples:,} examples of max_seq_length="
        f"{examples.max_seq_length}, max_predictions_per_seq={examples.max_predictions_per_seq}. "
        "Of the first of them:"
    )
    report(tables.format_table({"train": tables.describe_examples(statistics)}))


def _conclude(
    damage: dict[str, str],
    whole: str,
    is_verifying: bool,
    report: Callable[[str], None],
    is_complete: bool = True,
) -> None:
    """Names all that is damaged, or says what is not; `is_complete` if all was looked at.

    Raises:
        Failure: if anything is damaged.
    """
    for problem in damage.values():
        report(problem)
    if damage:
        more = "all is named above" if is_complete else "`verify` looks into the others"
        raise Failure(f"{len(damage):,} damaged; {more}")
    if is_verifying:
        report(f"{whole}, no damage")


def _load_vocabulary(source: Source) -> Tokenizer:
    """Returns the vocabulary, unless the folder says that another one made its data."""
    tokenizer = Tokenizer(source.vocab_model)
    made_by = (source.summary or {}).get("vocab_fingerprint", tokenizer.fingerprint)
    if made_by != tokenizer.fingerprint:
        raise ValueError(
            f"`vocab_model` must be the one that made {source.folder} (fingerprint {made_by:.12}). "
            f"Received: {source.vocab_model} ({tokenizer.fingerprint:.12})"
        )
    return tokenizer


def _show(
    count: int, source: Source, settings: ExampleSettings, report: Callable[[str], None]
) -> None:
    if source.vocab_model is None:
        raise ValueError("`show` needs the `vocab_model` of the records. Received: none")
    tokenizer = _load_vocabulary(source)
    if source.is_tokens:
        folder = TokenFolder(source.folder)
        examples = FreshExamples.from_folder(folder, settings.with_predictions(), _SEED)
        shown = records.serialize_batch(examples.batch(np.arange(count)))
    else:
        files = [file for kind in source.records.values() for file in kind]
        record_files.check_record_file(
            files[0], *record_files.record_sizes(files), tokenizer.vocab_size
        )
        shown = record_files.read_records(files, count)
    for record in shown:
        report(record_files.describe_example(record, tokenizer))
