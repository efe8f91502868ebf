"""Where finished data lies: files of records by kind, or a folder of stored tokens."""

import dataclasses
import glob
import os
import pathlib
from typing import Any

from albert_tf import json_files, setting_checks
from albert_tf.pipelines.building import example_summary
from albert_tf.pipelines.examples import token_files
from albert_tf.pipelines.inspection.settings import InspectionSettings

_KINDS = ("train", "held_out", "held_out_single")
_SUFFIXES = (".tfrecord", ".tfrecord.gz")
_VOCABULARY_FILE = "vocab.model"


@dataclasses.dataclass(frozen=True)
class Source:
    """Finished data.

    Attributes:
        folder: that it lies in, or None for files that were named one by one.
        records: {kind: record files}, empty for stored tokens.
        summary: of the folder, if it has one.
        vocab_model: the vocabulary's file, if one is known.
    """

    folder: str | None
    records: dict[str, list[str]]
    summary: dict[str, Any] | None
    vocab_model: str | None

    @property
    def own_vocabulary(self) -> str | None:
        """The vocabulary's file in the folder, if it is there."""
        path = os.path.join(self.folder or "", _VOCABULARY_FILE)
        return path if self.folder and os.path.isfile(path) else None

    @property
    def is_tokens(self) -> bool:
        """Whether it is stored tokens."""
        return not self.records


def find(settings: InspectionSettings) -> Source:
    """Returns the data that settings name.

    Raises:
        ValueError: naming what is not there, or is something else.
    """
    if settings.vocab_model:
        setting_checks.check_file("vocab_model", settings.vocab_model)
    if settings.output_dir:
        setting_checks.check_output("output_dir", settings.output_dir)
        if os.path.exists(settings.output_dir):
            raise ValueError(f"`output_dir` must not exist. Received: {settings.output_dir}")
    if settings.input:
        return Source(None, {"records": _match(settings.input)}, None, settings.vocab_model)
    folder = settings.data_dir
    setting_checks.check_folder("data_dir", folder)
    vocab_model = settings.vocab_model or os.path.join(folder, _VOCABULARY_FILE)
    known_vocabulary = vocab_model if os.path.isfile(vocab_model) else None
    path = pathlib.Path(folder) / example_summary.SUMMARY_FILE
    summary = json_files.read_object(path) if path.is_file() else None
    if token_files.is_token_folder(folder):
        if settings.is_rewriting:
            raise ValueError(
                "`split` and `compress` must be asked of records. Received: stored tokens "
                f"of {folder}, which build_pretraining_data makes anew with another num_shards"
            )
        return Source(folder, {}, summary, known_vocabulary)
    return Source(folder, _list_kinds(folder), summary, known_vocabulary)


def _match(patterns: tuple[str, ...]) -> list[str]:
    files = set()
    for pattern in patterns:
        matches = glob.glob(pattern) or [pattern]
        for match in matches:
            if os.path.isdir(match):
                raise ValueError(
                    f"`input` must name record files. Received: {match}, a folder, which is given "
                    "as `data_dir`"
                )
            setting_checks.check_file("input", match)
        files.update(matches)
    return sorted(files)


def _list_kinds(folder: str) -> dict[str, list[str]]:
    """Returns {kind: record files} of a folder, training first."""
    kinds = {}
    for name in sorted(os.listdir(folder)):
        if name.endswith(_SUFFIXES) and not name.startswith("."):
            kinds.setdefault(name.partition("-")[0], []).append(os.path.join(folder, name))
    if not kinds:
        raise ValueError(
            f"`data_dir` must hold stored tokens or files named *{' or *'.join(_SUFFIXES)}; files "
            f"of other names are given as `input`. Received: {folder}"
        )
    order = [*(kind for kind in _KINDS if kind in kinds), *(k for k in kinds if k not in _KINDS)]
    return {kind: kinds[kind] for kind in order}
