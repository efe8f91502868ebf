"""Raw text -> a folder of pretraining records: checks, plan, work, summary.

    output_dir/train-00000-of-000NN.tfrecord[.gz]         shuffled training examples
    output_dir/held_out-00000-of-000MM.tfrecord[.gz]      documents that training never sees
    output_dir/held_out_single-00000-of-000MM...          the same sequences, single-token masks
    output_dir/vocab.model, summary.json, manifest.json

or, with `format=tokens`, the files of `examples.token_files` in place of records.

Two stages: text is tokenized into a work folder, then every shard is made from it by itself. Both
are cut into tasks whose results depend on nothing but their arguments and appear only when
complete, so the number of workers does not matter and a killed run goes on where it stopped.
"""

import os
import shutil
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from absl import logging

from albert_tf import setting_checks, whole_files
from albert_tf.pipelines.building import (
    beam_tasks,
    duplicates,
    example_options,
    example_summary,
    progress,
    shared_folder,
    token_shards,
    tokenized_corpus,
    worker_pool,
)
from albert_tf.pipelines.building.example_options import BuildOptions, VocabularyFacts
from albert_tf.pipelines.building.example_shards import Shard, ShardOutput
from albert_tf.pipelines.building.token_shards import TokenShardTask
from albert_tf.pipelines.examples import example_settings, frozen_examples, masking, token_files
from albert_tf.pipelines.text import corpus

# Where --num_shards is not given: 4M tokens are some 30 MB of records at L=512, and in memory
# while they are made some 50 MB. Several files let training mix them.
_TOKENS_PER_SHARD = 4_000_000
_LEAST_SHARDS = 4
_STORED_TOKENS_PER_SHARD = 32_000_000
# Sentences of the parts that long documents are cut into where whole ones give no choice.
_PART_SENTENCES = 64
_ORDER_STREAM = 0


def build_examples(options: BuildOptions) -> dict[str, Any] | None:
    """Builds the folder `options.output_dir` and returns its summary.

    A folder that an earlier run with the same options finished is left as it is; one that it was
    killed in is completed. One of several tasks (`shared_folder`) does its share of what can be
    done by now and returns None.

    Raises:
        ValueError: an option is out of range or contradicts another, the vocabulary is unusable, no
            usable text was found, or the folder belongs to other options or is in use.
        FileNotFoundError: the vocabulary or an input pattern names no file.
        ChildProcessError: a worker process was killed; what is finished is kept.
    """
    options = example_options.check_options(options)
    setting_checks.check_output("output_dir", options.output_dir)
    if options.beam_runner is not None:
        return beam_tasks.build_on_beam(options, _do_share)
    return _do_share(options)


def _do_share(options: BuildOptions, only_claims: bool = False) -> dict[str, Any] | None:
    """Does what one run, or one task, can do by now; or only checks and claims the folder."""
    files = corpus.list_input_files(options.input, options.tfds_data_dir)
    logging.info("reading the vocabulary %s", options.vocab_model)
    work_dir = os.path.join(options.output_dir, ".work")
    with (
        shared_folder.entered(options, work_dir),
        worker_pool.WorkerPool(options.num_workers) as pool,
    ):
        model_bytes, vocabulary = pool.call(_inspect_vocabulary, options.vocabulary())
        manifest = example_options.make_manifest(options, vocabulary.fingerprint, files)
        with shared_folder.alone_for_a_moment(options, work_dir):
            example_options.claim_directory(options.output_dir, manifest)
            _, read_finished_summary, _ = _FORMATS[options.format]
            summary = read_finished_summary(options.output_dir)
            if summary is None:
                os.makedirs(work_dir, exist_ok=True)
                example_options.claim_work(options, work_dir)
                whole_files.write_bytes(f"{options.output_dir}/vocab.model", model_bytes)
        if summary is not None:
            logging.info("%s is complete; nothing to do", options.output_dir)
            if options.num_tasks is None:
                shutil.rmtree(work_dir, ignore_errors=True)
            return summary
        if only_claims:
            return None
        try:
            return _build(options, vocabulary, files, work_dir, pool)
        except ValueError:
            if options.num_tasks is None and not tokenized_corpus.has_work(work_dir):
                example_options.give_up_directory(options, work_dir)
            raise


def _build(
    options: BuildOptions,
    vocabulary: VocabularyFacts,
    files: Sequence[str],
    work_dir: str,
    pool: worker_pool.WorkerPool,
) -> dict[str, Any] | None:
    """Does what is missing in a folder, and is this task's; see `build_examples`."""
    plan, _, summarize = _FORMATS[options.format]
    num_groups, num_missing = _tokenize(options, files, work_dir, pool)
    if num_missing:
        shared_folder.log_share(
            options,
            f"its text is tokenized; {num_missing} of {num_groups} parts of the others are missing",
            "start them once more, and they write the examples",
        )
        return None
    table, places, report = tokenized_corpus.load_table(work_dir, num_groups)
    if not len(places):
        if options.num_tasks is None:
            shutil.rmtree(work_dir)
        raise corpus.no_text_error(files, report)
    report.log_layouts()
    dropped = {}
    if options.drop_duplicates != "none":
        table, places, dropped = duplicates.drop_duplicates(
            work_dir, table, places, report, options.drop_duplicates
        )
    if needs_shorter_documents(table, options.held_out_fraction):
        table, places = tokenized_corpus.cut_long_documents(
            work_dir, table, places, _PART_SENTENCES
        )
    held_out = select_held_out(table.text_hashes, options.held_out_fraction)
    shards = plan(options, vocabulary, table, places, held_out, work_dir)
    num_missing = _write_shards(options, shards, table.text_bytes.sum() / 1e6, pool)
    if options.num_tasks is not None:
        shared_folder.log_share(
            options,
            f"its shards are written; {num_missing} of the others are missing",
            "the command without task_index looks at them and writes summary.json",
        )
        return None
    summary = summarize(options, vocabulary, table, held_out, shards, report)
    if dropped:
        summary["duplicates"] = dropped
    example_summary.check_sentences(summary, table)
    example_summary.write_summary(options.output_dir, summary)
    shutil.rmtree(work_dir)
    return summary


def _inspect_vocabulary(vocabulary: tokenized_corpus.Vocabulary) -> tuple[bytes, VocabularyFacts]:
    """Returns (model bytes, `VocabularyFacts`); in a worker, where TensorFlow may be imported."""
    tokenizer = vocabulary.load()
    facts = VocabularyFacts(
        fingerprint=tokenizer.fingerprint,
        pieces=masking.PieceTable.from_tokenizer(tokenizer),
        names=tuple(tokenizer.pieces),
    )
    return tokenizer.model_bytes, facts


def _tokenize(
    options: BuildOptions, files: Sequence[str], work_dir: str, pool: worker_pool.WorkerPool
) -> tuple[int, int]:
    """Tokenizes this task's groups; returns how many there are in all, and how many lack then."""
    groups = tokenized_corpus.group_files(files, options.reading())
    missing = [i for i in range(len(groups)) if not tokenized_corpus.group_is_done(work_dir, i)]
    own = shared_folder.share(options, missing)
    num_done = len(groups) - len(missing)
    if num_done:
        logging.info("%d of %d groups of files are tokenized", num_done, len(groups))
    if own:
        total_bytes = sum(part.end - part.begin for index in own for part in groups[index])
        with progress.Progress("reading and tokenizing", total_bytes / 1e6) as bar:
            pool.run(
                tokenized_corpus.tokenize_group,
                [
                    (
                        *(index, groups[index], options.reading(), options.vocabulary()),
                        *(work_dir, options.drop_duplicates),
                    )
                    for index in own
                ],
                lambda size, documents: bar.advance(size / 1e6, documents),
            )
    still = [index for index in missing if not tokenized_corpus.group_is_done(work_dir, index)]
    return len(groups), len(still)


def needs_shorter_documents(table: tokenized_corpus.DocumentTable, fraction: float) -> bool:
    """Tells whether whole documents cannot give about the fraction that is to be held out.

    So it is with a few books, or with files of sentences without a blank line between documents.
    """
    if fraction == 0 or table.sentence_counts.max() <= _PART_SENTENCES:
        return False
    try:
        held_out = select_held_out(table.text_hashes, fraction)
    except ValueError:
        return True
    share = table.token_counts[held_out].sum() / table.token_counts.sum()
    return not 0.5 * fraction <= share <= 2 * fraction


def select_held_out(text_hashes: np.ndarray, fraction: float) -> np.ndarray:
    """Chooses the documents that are held out: bool [documents].

    A document's own text decides, so it is on the same side in every build with this fraction,
    whatever the seed, the lengths or the other files, and copies of a text are never on both sides.

    Raises:
        ValueError: every document would be held out.
    """
    if fraction == 0:
        return np.zeros(len(text_hashes), bool)
    held_out = text_hashes < fraction * 2.0**64
    if not held_out.any():  # few documents: the one next in line
        held_out = text_hashes == text_hashes.min()
    if held_out.all():
        raise ValueError(
            f"`held_out_fraction` must leave documents for training. Received: {fraction} of "
            f"{len(text_hashes)} documents; 0 holds none out"
        )
    return held_out


def _plan_record_shards(
    options: BuildOptions,
    vocabulary: VocabularyFacts,
    table: tokenized_corpus.DocumentTable,
    places: np.ndarray,
    held_out: np.ndarray,
    work_dir: str,
) -> dict[str, list[Shard]]:
    """Returns {"train": shards, "held_out": shards}."""
    rules = options.masking_rules(options.original_compatible)
    outputs = {"train": {"train": rules}, "held_out": example_settings.held_out_rules(rules)}
    shards = {}
    for kind, parts in _deal(options, table, held_out).items():
        shards[kind] = [
            Shard(
                places=places[part],
                seed=(options.seed, frozen_examples.STREAMS[kind], number),
                pair_rules=options.pair_rules(options.original_compatible),
                dupe_factor=options.dupe_factor if kind == "train" else 1,
                outputs=tuple(
                    ShardOutput(options.record_file(name, number, len(parts)), rules)
                    for name, rules in outputs[kind].items()
                ),
                pieces=vocabulary.pieces,
                work_dir=work_dir,
                compress=options.compress,
            )
            for number, part in enumerate(parts)
        ]
    return shards


def _plan_token_shards(
    options: BuildOptions,
    vocabulary: VocabularyFacts,
    table: tokenized_corpus.DocumentTable,
    places: np.ndarray,
    held_out: np.ndarray,
    work_dir: str,
) -> dict[str, list[TokenShardTask]]:
    """Returns {"train": shards, "held_out": shards}; the latter have the documents of records."""
    return {
        kind: [
            TokenShardTask(
                places=places[part],
                name=token_files.shard_name(kind, number, len(parts)),
                folder=options.output_dir,
                vocab_size=vocabulary.pieces.vocab_size,
                work_dir=work_dir,
            )
            for number, part in enumerate(parts)
        ]
        for kind, parts in _deal(options, table, held_out).items()
    }


_FORMATS = {
    "records": (
        _plan_record_shards,
        example_summary.read_finished_summary,
        example_summary.summarize,
    ),
    token_files.FORMAT: (
        _plan_token_shards,
        token_shards.read_finished_summary,
        token_shards.summarize,
    ),
}


def _deal(
    options: BuildOptions, table: tokenized_corpus.DocumentTable, held_out: np.ndarray
) -> dict[str, list[np.ndarray]]:
    """Returns {"train": for each shard the indices of its documents, "held_out": likewise}."""
    parts = {}
    for kind, is_of_kind in (("train", ~held_out), ("held_out", held_out)):
        indices = np.flatnonzero(is_of_kind)
        tokens = table.token_counts[indices]
        num_shards = _count_shards(options, kind, tokens)
        order_seed = [options.seed, _ORDER_STREAM, frozen_examples.STREAMS[kind]]
        dealt = deal_documents(tokens, num_shards, np.random.default_rng(order_seed))
        parts[kind] = [np.sort(indices[part]) for part in dealt]
    return parts


def _count_shards(options: BuildOptions, kind: str, tokens: np.ndarray) -> int:
    if not len(tokens):
        return 0
    if kind == "held_out":
        return -(-int(tokens.sum()) // _TOKENS_PER_SHARD)
    if options.num_shards is not None:
        if options.num_shards > len(tokens):
            logging.warning(
                "num_shards is %d but there are %d documents: some shards will be empty",
                options.num_shards,
                len(tokens),
            )
        return options.num_shards
    if options.format == token_files.FORMAT:
        return -(-int(tokens.sum()) // _STORED_TOKENS_PER_SHARD)
    shards_by_size = -(-int(tokens.sum()) * options.dupe_factor // _TOKENS_PER_SHARD)
    return min(max(shards_by_size, _LEAST_SHARDS), len(tokens))


def deal_documents(
    token_counts: np.ndarray, num_shards: int, rng: np.random.Generator
) -> list[np.ndarray]:
    """Deals documents in random order to shards of about equal numbers of tokens.

    Returns:
        Per shard, the indices of its documents.
    """
    if not num_shards:
        return []
    order = rng.permutation(len(token_counts))
    tokens = token_counts[order]
    middles = np.cumsum(tokens) - tokens / 2
    shard = np.minimum(middles * num_shards // tokens.sum(), num_shards - 1)  # ascending
    return np.split(order, np.searchsorted(shard, np.arange(1, num_shards)))


def _write_shards(
    options: BuildOptions,
    shards: dict[str, list[Shard]] | dict[str, list[TokenShardTask]],
    text_megabytes: float,
    pool: worker_pool.WorkerPool,
) -> int:
    """Writes of this task's shards what is missing; returns how many lack then."""
    everything = [shard for kind in shards.values() for shard in kind]
    missing = [index for index, shard in enumerate(everything) if not shard.is_done()]
    if len(missing) < len(everything):
        num_complete = len(everything) - len(missing)
        logging.info("%d of %d shards are complete", num_complete, len(everything))
    own = [everything[index] for index in shared_folder.share(options, missing)]
    if own:
        all_tokens = max(sum(shard.places[:, 2].sum() for shard in everything), 1)
        megabytes = text_megabytes / all_tokens
        total = megabytes * sum(shard.cost for shard in own)
        is_stored = options.format == token_files.FORMAT
        what = ("storing tokens", "shards") if is_stored else ("writing examples", "batches")
        with progress.Progress(what[0], total, counted=what[1]) as bar:
            pool.run(
                _write_shard,
                [(shard,) for shard in own],
                lambda tokens: bar.advance(float(tokens) * megabytes, 1),
            )
    return sum(not everything[index].is_done() for index in missing)


def _write_shard(shard: Shard | TokenShardTask, advance: Callable[[float], None]) -> None:
    shard.write(lambda share: advance(share * shard.cost))
