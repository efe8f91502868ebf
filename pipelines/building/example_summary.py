"""summary.json: what a build of pretraining examples holds, and the unigram baseline."""

import glob
import os
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from absl import logging

from albert_tf import json_files, whole_files
from albert_tf.pipelines.building import example_options, example_shards, tokenized_corpus
from albert_tf.pipelines.examples import token_files
from albert_tf.pipelines.text import corpus

SUMMARY_FILE = "summary.json"


def read_finished_summary(output_dir: str) -> dict[str, Any] | None:
    """Returns the summary of a complete folder, or None where a file is missing.

    Raises:
        ValueError: a record file is not the one that was built.
    """
    path = os.path.join(output_dir, SUMMARY_FILE)
    if not os.path.exists(path):
        return None
    summary = json_files.read_object(path, {"record_files": dict})
    names = _listed_files(path, summary)
    if not all(os.path.exists(os.path.join(output_dir, name)) for name in names):
        return None
    check_record_files(output_dir, summary)
    return summary


def _listed_files(path: str, summary: dict[str, Any]) -> list[str]:
    table, names = summary.get("record_files", {}), []
    for files in table.values() if isinstance(table, dict) else [table]:
        if not isinstance(files, list) or not all(isinstance(name, str) for name in files):
            raise ValueError(
                f"{path}: `record_files` must hold lists of files. "
                f"Received: {json_files.shorten(files)}"
            )
        names += files
    return names


def check_record_files(
    output_dir: str, summary: dict[str, Any], left_out: Collection[str] = ()
) -> None:
    """Compares the record files of a folder with what its summary says.

    A folder made before summaries knew that much is compared as far as its own goes.

    Args:
        output_dir: the folder.
        summary: its content of summary.json.
        left_out: paths of files that may be damaged.

    Raises:
        ValueError: a file is missing, cut off, another one or one too many; the message names it.
    """
    for path, problem in find_wrong_files(output_dir, summary).items():
        if path not in left_out:
            raise ValueError(
                f"{problem}. Restore it, or remove it and build_pretraining_data makes it again"
            )
    for problem in find_other_files(output_dir, summary).values():
        raise ValueError(problem)


def find_wrong_files(output_dir: str, summary: dict[str, Any]) -> dict[str, str]:
    """Returns {path: what is wrong} of listed files that are missing or of another size."""
    names = _listed_files(os.path.join(output_dir, SUMMARY_FILE), summary)
    sizes = summary["record_bytes"] if isinstance(summary.get("record_bytes"), dict) else {}
    problems = {}
    for name in names:
        path = os.path.join(output_dir, name)
        if os.path.isfile(path):
            size = os.path.getsize(path)
            if size == sizes.get(name, size):
                continue
            there = f"{size} bytes"
        else:
            there = "a folder" if os.path.isdir(path) else "no such file"
        expected = f"a file of {sizes[name]} bytes" if name in sizes else "a file"
        problems[path] = f"{path} must be {expected}, as {SUMMARY_FILE} says. Received: {there}"
    return problems


def find_other_files(output_dir: str, summary: dict[str, Any]) -> dict[str, str]:
    """Returns {path: what is wrong} of record files that the summary does not list."""
    names = _listed_files(os.path.join(output_dir, SUMMARY_FILE), summary)
    paths = sorted(glob.glob(os.path.join(glob.escape(output_dir), "*.tfrecord*")))
    return {
        path: f"{output_dir} must hold the record files that {SUMMARY_FILE} lists and no others. "
        f"Received: {path}"
        for path in paths
        if names and path.endswith((".tfrecord", ".gz")) and os.path.basename(path) not in names
    }


def summarize(
    options: example_options.BuildOptions,
    vocabulary: example_options.VocabularyFacts,
    table: tokenized_corpus.DocumentTable,
    held_out: np.ndarray,
    shards: Mapping[str, Sequence[example_shards.Shard]],
    report: corpus.SkippedInput,
) -> dict[str, Any]:
    """Adds up the counts of all shards.

    Args:
        options: of the build.
        vocabulary: what is known of it.
        table: all documents.
        held_out: bool [documents].
        shards: kind -> shards, all of them complete.
        report: what was read, and what was left out.

    Returns:
        The content of summary.json.
    """
    counts, files, sizes = {}, {}, {}
    for shard in (shard for kind in shards.values() for shard in kind):
        for output in shard.outputs:
            name = os.path.basename(output.path)
            kind = name.split("-")[0]
            saved = example_shards.counts_file(shard.work_dir, output.path)
            counts.setdefault(kind, example_shards.ShardCounts()).add(
                example_shards.ShardCounts.load(saved)
            )
            files.setdefault(kind, []).append(name)
            sizes[name] = os.path.getsize(output.path)
    train = counts["train"]
    top = int(np.argmax(train.labels))
    held_out_kinds = [kind for kind in counts if kind != "train"]
    baselines = {kind: score_unigram(train.labels, counts[kind].labels) for kind in held_out_kinds}
    return {
        "documents": len(held_out),
        "held_out_documents": int(held_out.sum()),
        "sentences": int(table.sentence_counts.sum()),
        "tokens": int(table.token_counts.sum()),
        "held_out_tokens": int(table.token_counts[held_out].sum()),
        "text_bytes": int(table.text_bytes.sum()),
        "max_seq_length": options.max_seq_length,
        "max_predictions_per_seq": options.max_predictions_per_seq,
        "vocab_size": vocabulary.pieces.vocab_size,
        "vocab_fingerprint": vocabulary.fingerprint,
        **{
            f"{kind}_examples": counts[kind].examples if kind in counts else 0
            for kind in ("train", "held_out", "held_out_single")
        },
        "unigram_top_id": top,
        "unigram_top_piece": vocabulary.names[top],
        "unigram_accuracy": {kind: accuracy for kind, (accuracy, _) in baselines.items()},
        "unigram_loss": {kind: loss for kind, (_, loss) in baselines.items()},
        **{kind: _describe_counts(counts[kind], options) for kind in counts},
        "input": report.to_dict(),
        "flags": example_options.listed_flags(options),
        "record_files": files,
        "record_bytes": sizes,
    }


def _describe_counts(
    counts: example_shards.ShardCounts, options: example_options.BuildOptions
) -> dict[str, Any]:
    examples = max(counts.examples, 1)
    ngrams = counts.ngrams[1:]
    return {
        "examples": counts.examples,
        "ngram_shares": {
            str(words): round(float(share), 4)
            for words, share in enumerate(ngrams / max(ngrams.sum(), 1), 1)
        },
        "swapped_share": round(counts.swapped / examples, 4),
        "mean_masked_per_example": round(counts.masked / examples, 3),
        "masked_share_of_tokens": round(counts.masked / max(counts.tokens, 1), 4),
        "padding_share": round(1 - counts.tokens / (examples * options.max_seq_length), 4),
        "split_sentences": counts.split_sentences,
        "skipped_sentences": counts.skipped_sentences,
        "cut_sentences": counts.cut_sentences,
        "random_document_pairs": counts.random_document_pairs,
    }


def score_unigram(train_labels: np.ndarray, held_out_labels: np.ndarray) -> tuple[float, float]:
    """Scores a model that knows only how often each piece was masked in training.

    Args:
        train_labels: int64 [V], how often each piece was to be guessed in training.
        held_out_labels: int64 [V], the same for held-out records.

    Returns:
        Its accuracy, always answering the most frequent piece, and its cross-entropy in nats with
        one added to every count, so that a piece never seen has some probability.
    """
    total = max(held_out_labels.sum(), 1)
    accuracy = held_out_labels[np.argmax(train_labels)] / total
    log_probabilities = np.log(train_labels + 1.0) - np.log(train_labels.sum() + len(train_labels))
    loss = -(held_out_labels * log_probabilities).sum() / total
    return round(float(accuracy), 6), round(float(loss), 6)


def check_sentences(summary: dict[str, Any], table: tokenized_corpus.DocumentTable) -> None:
    """Refuses a build without examples; warns where most of the text is single sentences.

    Args:
        summary: of the build.
        table: all its documents.
    """
    if summary.get("format") == token_files.FORMAT:
        lone = int(table.token_counts[table.sentence_counts == 1].sum())
        total, what = summary["tokens"], "tokens are documents of"
    else:
        counts = summary["train"]
        if not counts["examples"]:
            raise ValueError(
                "input must hold documents of several sentences. Received: "
                f"{summary['documents']} documents that are one short sentence each"
            )
        lone = counts["split_sentences"] + counts["random_document_pairs"]
        lone += counts["skipped_sentences"]
        # One that was too short for an example is in none.
        total, what = counts["examples"] + counts["skipped_sentences"], "pieces of text are"
    if lone > total / 2:
        logging.warning(
            "%d of %d %s a single sentence: is there a blank line after every sentence, or does "
            "layout=%s not fit the text?",
            lone,
            total,
            what,
            summary["flags"]["layout"],
        )


def write_summary(output_dir: str, summary: dict[str, Any]) -> None:
    """Writes summary.json, the sign that a folder is complete."""
    whole_files.write_json(os.path.join(output_dir, SUMMARY_FILE), summary)


def describe(summary: dict[str, Any]) -> str:
    """Returns one line about a finished build."""
    line = f"{summary['documents']:,} documents, {summary['tokens']:,} tokens"
    if summary.get("format") == token_files.FORMAT:
        line += (
            f" in {summary['bytes_per_token']} bytes each; "
            f"{summary['held_out_documents']:,} documents are held out"
        )
    else:
        line = (
            f"{summary['train_examples']:,} training and {summary['held_out_examples']:,} held-out "
            f"examples from {line}"
        )
    read = summary.get("input", {}).get("documents", summary["documents"])
    dropped = sum(facts["documents"] for facts in summary.get("duplicates", {}).values())
    if summary["documents"] > read - dropped:
        line += f"; of {read:,} in the text, long ones cut so that some can be held out"
    for reason, facts in summary.get("duplicates", {}).items():
        line += f"; {reason}: {facts['documents']:,} dropped"
    return line
