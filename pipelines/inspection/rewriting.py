"""The same records in other files: split, joined, compressed or not. Order and bytes are kept."""

import itertools
import os
import pathlib
import shutil
from collections.abc import Callable, Iterator, Sequence

import tensorflow as tf

from albert_tf import whole_files
from albert_tf.pipelines.building import example_summary
from albert_tf.pipelines.building.progress import Progress
from albert_tf.pipelines.examples import record_files, records
from albert_tf.pipelines.inspection.settings import InspectionSettings
from albert_tf.pipelines.inspection.sources import Source


def rewrite(settings: InspectionSettings, source: Source, report: Callable[[str], None]) -> None:
    """Writes a folder of records, whole or not at all.

    Of a folder that build_pretraining_data made, the new one is such a folder, too: each kind of
    records for itself, with the vocabulary and a summary of the new files.

    Args:
        settings: how to write, and where to.
        source: of the records.
        report: takes a line for each kind.

    Raises:
        ValueError: naming the file and the record that cannot be read.
        FileExistsError: if the output is there already.
    """
    written = {}
    with whole_files.whole_directory(settings.output_dir) as folder:
        for kind, files in source.records.items():
            written[kind] = _rewrite_kind(settings, kind, files, folder)
            report(f"{kind}: from {len(files):,} to {len(written[kind]):,} files")
        if source.summary is not None:
            names = [name for kind in written for name in written[kind]]
            changed = {
                "record_files": written,
                "record_bytes": {name: (folder / name).stat().st_size for name in names},
            }
            example_summary.write_summary(str(folder), source.summary | changed)
        if source.own_vocabulary is not None:
            shutil.copyfile(source.own_vocabulary, folder / "vocab.model")


def _rewrite_kind(
    settings: InspectionSettings, kind: str, files: Sequence[str], folder: pathlib.Path
) -> list[str]:
    """Writes the records of some files; returns the names of the new ones."""
    compress = settings.compress == "gzip"
    if settings.compress is None:
        compress = record_files.compression_of(files[0]) == "GZIP"
    suffix = ".gz" if compress else ""
    if settings.split:
        count = record_files.count_examples(files)
        # A kind with fewer records than files is not to become empty ones.
        num_files = max(1, min(settings.split, count))
        bounds = [count * number // num_files for number in range(num_files + 1)]
        sizes = [high - low for low, high in itertools.pairwise(bounds)]
        names = [
            f"{kind}-{number:05d}-of-{num_files:05d}.tfrecord{suffix}"
            for number in range(num_files)
        ]
    else:
        sizes = [record_files.count_examples(file) for file in files]
        names = [os.path.basename(file).removesuffix(".gz") + suffix for file in files]
        if len(set(names)) < len(names):
            raise ValueError(
                "`compress` alone keeps the names of files, which must differ. Received: "
                f"{', '.join(sorted(name for name in set(names) if names.count(name) > 1))}"
            )
    stream = _read(files)
    with Progress(f"writing {kind}", sum(sizes), "examples", "files", False) as progress:
        for name, size in zip(names, sizes, strict=True):
            with records.open_record_file(str(folder / name), compress) as writer:
                for record in itertools.islice(stream, size):
                    writer.write(record)
            progress.advance(size, 1)
    return names


def _read(files: Sequence[str]) -> Iterator[bytes]:
    """Yields the records of files; an error names file and record."""
    try:
        yield from record_files.read_in_order(files).as_numpy_iterator()
    except tf.errors.OpError as error:
        damage = record_files.locate_corruption(files)
        raise ValueError(f"{damage or error.message}. Nothing was written") from error
