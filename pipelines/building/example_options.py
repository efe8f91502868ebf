"""The options of a build of pretraining examples: checks, and the manifest that guards a folder."""

import dataclasses
import glob
import hashlib
import os
import pathlib
import shutil
from collections.abc import Sequence
from typing import Any

from albert_tf import json_files, remote_files, whole_files
from albert_tf.pipelines.building import tokenized_corpus, worker_pool
from albert_tf.pipelines.examples import masking, token_files
from albert_tf.pipelines.examples.example_settings import ExampleSettings
from albert_tf.pipelines.text.settings import TextSettings
from albert_tf.setting_checks import check_fraction
from albert_tf.settings import own_rows, setting

_MANIFEST_FORMAT = 1
_OLDER = {"encoding": "auto", "text_field": "text"}
_SAMPLED_BLOCKS, _BLOCK_BYTES = 1024, 1 << 14
# What a build may differ in and still be the same build: where it lies and who did the work.
# Input and vocabulary are compared by what they are, not by how they were named.
_NOT_IN_MANIFEST = {
    "input",
    "tfds_data_dir",
    "vocab_model",
    "output_dir",
    "num_workers",
    "task_index",
    "num_tasks",
    "beam_runner",
    "beam_options",
}
FORMATS = ("records", token_files.FORMAT)
# What is of no use to stored tokens, beside what shapes an example.
_OF_RECORDS = {"dupe_factor", "original_compatible", "compress"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class BuildOptions(TextSettings, ExampleSettings):
    """What pretraining data is made of, and how.

    `None` stands for a value that `check_options` derives, except that `num_shards` follows from
    the text later, and `lower_case` and `strip_accents` from the vocabulary.
    """

    input: tuple[str, ...] = setting(
        help_text="Files and patterns, or tfds:NAME, separated by commas."
    )
    vocab_model: str = setting(
        help_text="SentencePiece model, from build_vocabulary or 30k-clean.model, or vocab.txt."
    )
    output_dir: str = setting(help_text="Folder of the records; a killed build in it is continued.")
    format: str = setting(
        "records",
        "records: finished examples, as Google's code writes them. tokens: every document once, "
        "from which run_pretraining makes examples anew on every pass; what shapes an example is "
        "then for run_pretraining to say.",
        choices=FORMATS,
    )
    drop_duplicates: str = setting(
        "none",
        "exact: of documents with the same text only the first is used. near: also of documents "
        "that share four fifths of their text.",
        choices=tokenized_corpus.DUPLICATES,
    )
    dupe_factor: int = setting(
        5,
        "How many times the text is paired and masked anew (original: 40).",
        lowest=1,
        highest=10_000,
    )
    num_shards: int | None = setting(
        None,
        "Training files. By default one for 4M tokens, and at least 4; one for 32M stored tokens.",
        lowest=1,
        highest=99_999,
    )
    num_workers: int | None = setting(
        None,
        "Processes; by default one a core. Has no influence on the records.",
        lowest=1,
        highest=1024,
    )
    task_index: int | None = setting(
        None,
        "With `num_tasks`: do this share of the work, from 0 on, in a folder that all tasks share "
        "(docs/pretraining_data.md).",
        lowest=0,
    )
    num_tasks: int | None = setting(
        None, "With `task_index` or `beam_runner`: how many there are.", lowest=1
    )
    beam_runner: str | None = setting(
        None,
        "Runner of Apache Beam that does all `num_tasks` tasks: DirectRunner, FlinkRunner, "
        "SparkRunner, DataflowRunner, ... (pip install 'albert_tf[beam]').",
    )
    beam_options: str | None = setting(
        None, "With `beam_runner`: Beam's own options, as on a command line of its."
    )
    seed: int = setting(12345, "Same seed, same bytes.", lowest=0, highest=(1 << 63) - 1)
    held_out_fraction: float = setting(
        0.01, "Share of documents kept away from training, for evaluation.", check_fraction
    )
    original_compatible: bool = setting(
        False,
        "Follow the original's choices to the letter, also those that look like oversights "
        "(docs/pretraining_data.md lists them).",
    )
    compress: bool = setting(False, "Write GZIP files, .tfrecord.gz.")
    lower_case: bool | None = setting(
        None, "Clean-up of a vocabulary that does not bring its own (default: true)."
    )
    strip_accents: bool | None = setting(
        None, "Clean-up of a vocabulary that does not bring its own (default: true)."
    )

    def vocabulary(self) -> tokenized_corpus.Vocabulary:
        """Returns where the vocabulary lies and how it is read."""
        return tokenized_corpus.Vocabulary(self.vocab_model, self.lower_case, self.strip_accents)

    def record_file(self, kind: str, number: int, num_shards: int) -> str:
        """Returns the path of a record file, e.g. `out/train-00003-of-00010.tfrecord`."""
        suffix = ".tfrecord.gz" if self.compress else ".tfrecord"
        return os.path.join(self.output_dir, f"{kind}-{number:05d}-of-{num_shards:05d}{suffix}")


@dataclasses.dataclass(frozen=True)
class VocabularyFacts:
    """What the parent process needs to know of the vocabulary.

    Attributes:
        fingerprint: SHA-256 of the model.
        pieces: the masking table.
        names: the V pieces.
    """

    fingerprint: str
    pieces: masking.PieceTable
    names: tuple[str, ...]


def check_options(options: BuildOptions) -> BuildOptions:
    """Checks what options are together and fills in those that follow from others.

    Raises:
        ValueError: names the option, what was expected and what came.
        FileNotFoundError: the vocabulary does not exist.
    """
    if not options.input:
        raise ValueError("`input` must name at least one file. Received: nothing")
    if not options.output_dir:
        raise ValueError("`output_dir` must name a folder. Received: nothing")
    if os.path.exists(options.output_dir) and not os.path.isdir(options.output_dir):
        raise ValueError(f"`output_dir` must be a folder. Received a file: {options.output_dir}")
    if not os.path.isfile(options.vocab_model):
        raise FileNotFoundError(
            f"`vocab_model` must be a vocabulary file. Received: {options.vocab_model!r}, "
            "which is not a file"
        )
    if options.format == token_files.FORMAT:
        _refuse_example_options(options)
    else:
        options = options.with_predictions()
    _check_tasks(options)
    num_workers = options.num_workers or worker_pool.count_usable_cores()
    return dataclasses.replace(options, num_workers=num_workers)


def _check_tasks(options: BuildOptions) -> None:
    if options.beam_runner is None and options.beam_options is not None:
        raise ValueError(
            "`beam_options` must be given with `beam_runner`. Received: "
            f"{json_files.shorten(options.beam_options)} alone"
        )
    if options.beam_runner is not None:
        if options.num_tasks is None or options.task_index is not None:
            raise ValueError(
                "`beam_runner` must be given with `num_tasks`, some for each worker, and without "
                f"`task_index`. Received: {options.num_tasks} and {options.task_index}"
            )
    elif (options.task_index is None) != (options.num_tasks is None) or (
        options.num_tasks is not None and options.task_index >= options.num_tasks
    ):
        raise ValueError(
            "`task_index` must be given with `num_tasks` and lie below it. Received: "
            f"{options.task_index} and {options.num_tasks}"
        )


def _refuse_example_options(options: BuildOptions) -> None:
    """Refuses what only records have: stored tokens take it from run_pretraining, run by run."""
    rows = {row.name: row for row in own_rows(BuildOptions)}
    names = [*(row.name for row in own_rows(ExampleSettings)), *_OF_RECORDS]
    changed = [name for name in names if getattr(options, name) != rows[name].default]
    if changed:
        raise ValueError(
            f"{', '.join(f'`{name}`' for name in changed)} must not be given with `format=tokens`: "
            "examples are made from these by run_pretraining, which takes what shapes them"
        )


def listed_flags(options: BuildOptions) -> dict[str, Any]:
    """Returns the options that decide the content of the records, as JSON values."""
    left_out = set(_NOT_IN_MANIFEST)
    if options.format == token_files.FORMAT:
        left_out |= {row.name for row in own_rows(ExampleSettings)} | _OF_RECORDS
    else:
        left_out.add("format")  # which manifests of records did not have at first
    if options.drop_duplicates == "none":
        left_out.add("drop_duplicates")  # which manifests did not have at first
    values = dataclasses.asdict(options)
    return {name: value for name, value in values.items() if name not in left_out}


def make_manifest(options: BuildOptions, fingerprint: str, files: Sequence[str]) -> dict[str, Any]:
    """Returns everything that decides the bytes of the records."""
    return {
        "format": _MANIFEST_FORMAT,
        "flags": listed_flags(options),
        "vocab_fingerprint": fingerprint,
        "input_files": [
            [remote_files.name_addresses(file), os.path.getsize(file)] for file in files
        ],
        "input_sample": sample_text(files),
    }


def sample_text(files: Sequence[str]) -> str:
    """Returns a digest of 16 MB spread over all files, or of all that is in smaller ones.

    Whoever edits a text in place, as by replacing a letter everywhere, leaves its size as it was.
    All of a corpus of many machines would be read once for each of them.
    """
    total, digest = sum(map(os.path.getsize, files)), hashlib.blake2b(digest_size=16)
    distance = max(_BLOCK_BYTES, total // _SAMPLED_BLOCKS)
    begin, place = 0, 0  # of the file, and of the next block, in all files end to end
    for name in files:
        end = begin + os.path.getsize(name)
        if distance == _BLOCK_BYTES:
            place = begin  # so that nothing is left out
        if place < end:
            with open(name, "rb") as file:
                while place < end:
                    file.seek(place - begin)
                    digest.update(file.read(_BLOCK_BYTES))
                    place += distance
        begin = end
    return digest.hexdigest()


def claim_directory(output_dir: str, manifest: dict[str, Any]) -> None:
    """Writes the manifest into a new folder, or checks that the folder's own is the same.

    Raises:
        ValueError: the folder belongs to a build with another manifest, or to none.
    """
    path = os.path.join(output_dir, "manifest.json")
    if os.path.exists(path):
        existing = json_files.read_object(path, {"flags": dict}, largest_bytes=None)
        differences = _list_differences(existing, manifest)
        if differences:
            raise ValueError(
                f"`output_dir` must be new, or belong to a build with the same options. "
                f"Received: {output_dir}, which was made with {'; '.join(differences)}"
            )
        return
    strangers = _shards_in(output_dir)
    if strangers:
        raise ValueError(
            f"`output_dir` must not hold data of another origin. Received: {strangers[0]} "
            "without a manifest.json"
        )
    whole_files.write_json(path, manifest)


def claim_work(options: BuildOptions, work_dir: str) -> None:
    """Refuses text that another version has read, or reads now: its sentences would stand beside
    others.

    Raises:
        ValueError: naming the folder.
    """
    rules = hashlib.sha256()
    for room in ("building", "examples", "sources", "text", "tokenizer"):
        for path in sorted((pathlib.Path(__file__).parents[1] / room).glob("*.py")):
            rules.update(path.read_bytes())
    note = pathlib.Path(work_dir, "rules")
    noted = note.read_text() if note.exists() else None
    is_shared = options.num_tasks is not None and noted is not None
    if noted != rules.hexdigest() and (is_shared or tokenized_corpus.has_work(work_dir)):
        raise ValueError(
            f"{pathlib.Path(work_dir).parent} was begun by another version of albert_tf, whose "
            "rules of reading text may be others: end it with that one, or begin in a new folder"
        )
    if noted != rules.hexdigest():
        whole_files.write_text(note, rules.hexdigest())


def _shards_in(output_dir: str) -> list[str]:
    return [
        path
        for pattern in ("*.tfrecord*", "*.npy")
        for path in sorted(glob.glob(os.path.join(glob.escape(output_dir), pattern)))
    ]


def give_up_directory(options: BuildOptions, work_dir: str) -> None:
    """Leaves a folder to a build of other options, if this one was refused before it had anything.

    Whoever was told what is wrong with a file or an option may give another to the same folder.
    """
    folder = options.output_dir
    if _shards_in(folder):
        return
    shutil.rmtree(work_dir, ignore_errors=True)
    os.remove(os.path.join(folder, "manifest.json"))
    copy = os.path.join(folder, "vocab.model")
    if os.path.exists(copy) and not os.path.samefile(copy, options.vocab_model):
        os.remove(copy)


def _list_differences(existing: dict[str, Any], manifest: dict[str, Any]) -> list[str]:
    differences = []
    # The last two stood in no manifest at first.
    flags, new_flags = {**_OLDER, **existing["flags"]}, {**_OLDER, **manifest["flags"]}
    for name in sorted(flags.keys() | new_flags.keys()):
        if flags.get(name) != new_flags.get(name):
            differences.append(
                f"{name}={json_files.shorten(flags.get(name))} and not {new_flags.get(name)!r}"
            )
    if existing.get("vocab_fingerprint") != manifest["vocab_fingerprint"]:
        differences.append("another vocabulary (vocab_model)")
    if existing.get("input_files") != manifest["input_files"]:
        differences.append("other input files, or files of other sizes (input)")
    elif existing.get("input_sample") not in (None, manifest.get("input_sample")):
        differences.append("other text in the same files (input)")
    if existing.get("format") != manifest["format"]:
        differences.append(
            f"format {json_files.shorten(existing.get('format'))} and not {manifest['format']}"
        )
    return differences
