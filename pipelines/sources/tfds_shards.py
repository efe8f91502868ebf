"""Data sets of TensorFlow Datasets by name: the files of their shards, where they are prepared.

tfds:wikipedia/20230601.en               its split train
tfds:wiki40b/en:1.3.0@train+validation   a version, and two splits
"""

import os
import re

from albert_tf import remote_files

_PREFIX = "tfds:"
_NAME = re.compile(r"tfds:(?P<name>\w+(?:/[\w.+-]+)?(?::[\d.*]+)?)(?:@(?P<splits>\w+(?:\+\w+)*))?")
# Riegeli's own package has no release for today's Python; Parquet is read as any other.
_FORMATS = ("tfrecord", "array_record", "parquet")


def is_tfds_name(source: str) -> bool:
    """Returns whether a source is a data set's name and not a pattern of files."""
    return source.startswith(_PREFIX)


def list_shards(source: str, data_dir: str | None = None) -> list[str]:
    """Returns the files of a data set that is prepared, by split and number of the shard.

    Their names and sizes tell name, configuration, version and content of the data set.

    Args:
        source: "tfds:name", "tfds:name/config:version" or either with "@split" or "@split+split".
        data_dir: folder of TensorFlow Datasets; None takes its own, which `TFDS_DATA_DIR` sets.

    Raises:
        ValueError: the name cannot be read, or the data set has no such split or another format.
        FileNotFoundError: the data set is not prepared there, or a file of it is missing.
    """
    match = _NAME.fullmatch(source)
    if match is None:
        raise ValueError(
            "Expected tfds:name, tfds:name/config, either with :version and @split or "
            f"@split+split behind it. Received: {source!r}"
        )
    if data_dir is not None and remote_files.is_address(data_dir):
        raise ValueError(
            "`tfds_data_dir` must be a folder of this machine, or one that it has mounted. "
            f"Received: {data_dir}"
        )
    # Loading it takes a second, which those who read files need not wait for.
    import tensorflow_datasets

    name = match["name"]
    try:
        builder = tensorflow_datasets.core.read_only_builder.builder_from_files(
            name, data_dir=data_dir
        )
    except tensorflow_datasets.core.DatasetNotFoundError as error:
        raise FileNotFoundError(_how_to_prepare(name, data_dir, str(error))) from error
    shards = []
    for split in (match["splits"] or "train").split("+"):
        if split not in builder.info.splits:
            raise ValueError(
                f"Expected a split of {name}, which are {', '.join(sorted(builder.info.splits))}. "
                f"Received: {source!r}"
            )
        shards += map(os.fspath, builder.info.splits[split].filepaths)
    if builder.info.file_format.value not in _FORMATS:
        raise ValueError(
            f"Expected {name} to be prepared as one of {', '.join(_FORMATS)}. Received: "
            f"{builder.info.file_format.value}"
        )
    for shard in shards:
        if not os.path.isfile(shard):
            raise FileNotFoundError(f"A file of the data set {name} is missing: {shard}")
    return shards


def _how_to_prepare(name: str, data_dir: str | None, reason: str) -> str:
    """Returns that a data set is not there, and the command that prepares it.

    Args:
        name, data_dir: of the data set.
        reason: what TensorFlow Datasets says; of its many lines the configurations are of use.
    """
    _, _, configs = reason.partition("Possible configs are:")
    names = ", ".join(re.findall(r"^\s*- (\S+)", configs, re.MULTILINE))
    place = "" if data_dir is None else f", data_dir={data_dir!r}"
    return (
        f"The data set {name} is not prepared in {data_dir or 'the folder of TensorFlow Datasets'} "
        f'(`tfds_data_dir`). This downloads and prepares it: python -c "import '
        f"tensorflow_datasets as t; t.builder('{name}'{place}).download_and_prepare()\""
        + (f". Its configurations that are there: {names}" if names else "")
    )
