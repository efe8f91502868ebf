"""Inputs at an address, such as gs://bucket/text/*.txt, are copied to this machine and read there.

What reads files here seeks in them, maps them into memory and opens them in several processes, so
inputs are copied whole. A copy serves again while size and time of its original stay the same.
TensorFlow has gs:// built in; packages that register with it bring others.
"""

import concurrent.futures
import os
import pathlib
import re
import types
from collections.abc import Callable
from typing import Any

from albert_tf import quiet_tensorflow

_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*)://")
_COPIES_AT_A_TIME = 8
# Times are compared by the millisecond, which file systems keep.
_TICK_NANOSECONDS = 1_000_000


def is_address(path: str | os.PathLike) -> bool:
    """Returns whether a path is one of another file system, scheme://place."""
    return bool(_SCHEME.match(os.fspath(path)))


def refuse_output(path: str | os.PathLike, name: str = "path") -> None:
    """Refuses to write to an address, where nothing could appear whole or be locked.

    Raises:
        ValueError: naming `name`, and what to do instead.
    """
    if is_address(path):
        raise ValueError(
            f"`{name}` must lie on this machine or on a file system that it has mounted: results "
            "need locks, appends and renames, which addresses do not have. Write there and copy "
            f"what is done. Received: {path}"
        )


def cache_directory() -> pathlib.Path:
    """Returns where copies lie: albert_tf/inputs in the user's cache, `XDG_CACHE_HOME`."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    # pathlib's own raises where nobody has a home, as in some containers.
    return pathlib.Path(os.path.expanduser(cache)) / "albert_tf" / "inputs"


def name_addresses(text: str) -> str:
    """Returns a text, such as a path, with addresses in place of the paths of their copies."""
    return re.sub(rf"{re.escape(str(cache_directory()))}/([^/]+)/", r"\1://", text)


def fetch(
    address: str, report: Callable[[str], None] = lambda line: None, several: bool = True
) -> list[str]:
    """Copies what an address names to this machine, as far as it is not there yet.

    Args:
        address: of a file, of a folder, or a pattern of files: `*` and `?` in names, `**` for any
            depth.
        report: gets a line about what is copied.
        several: whether the address may name several files.

    Returns:
        The paths of the copies, in order: one for a file or a folder.

    Raises:
        ValueError: for a file system that TensorFlow does not know here, or several files.
        FileNotFoundError: if there is nothing.
        OSError: if it cannot be read, or not be written here.
    """
    # Whoever reads local files needs none of TensorFlow's seconds.
    quiet_tensorflow.load()
    import tensorflow as tf

    scheme, known = _SCHEME.match(address)[1], tf.io.gfile.get_registered_schemes()
    if scheme not in known:
        raise ValueError(
            f"an input must be a path, or an address that TensorFlow reads here: "
            f"{', '.join(f'{name}://' for name in sorted(known) if name)}. Received: {address}. "
            "A package that registers its file system with TensorFlow can bring more; a mounted or "
            "copied folder needs none"
        )
    try:
        return _fetch(address, tf.io.gfile, report, several)
    except tf.errors.OpError as error:
        raise OSError(f"{address} cannot be read: {error.message}") from error


def _fetch(
    address: str, gfile: types.ModuleType, report: Callable[[str], None], several: bool
) -> list[str]:
    address = address.rstrip("/")
    matches = [address] if gfile.exists(address) else _match(address, gfile)
    if not matches:
        raise FileNotFoundError(f"an address must name something. Received: {address}: nothing")
    if len(matches) > 1 and not several:
        raise ValueError(f"must be one. Received: {address}, {len(matches):,} files")
    copies = {}
    for match in matches:
        if gfile.isdir(match):
            files = _files_below(match, gfile)
            _forget_others(_copy_of(match), {_copy_of(file) for file in files})
        else:
            files = [match]
        copies |= {file: _copy_of(file) for file in files}
    sizes = {}
    for source, copy in copies.items():
        expected = _size_and_time(gfile.stat(source))
        there = copy.stat() if copy.is_file() else None
        if there is None or expected != (
            there.st_size,
            there.st_mtime_ns // _TICK_NANOSECONDS,
        ):
            sizes[source] = expected
    if sizes:
        total = sum(size for size, _ in sizes.values())
        report(
            f"copying {len(sizes):,} of {len(copies):,} files, {total / 1e6:,.1f} MB, from "
            f"{address} to {cache_directory()}"
        )
    with concurrent.futures.ThreadPoolExecutor(_COPIES_AT_A_TIME) as pool:
        work = [pool.submit(_copy, s, copies[s], *sizes[s], gfile) for s in sizes]
        try:
            for one in work:
                one.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return [str(_copy_of(match)) for match in matches]


def _match(pattern: str, gfile: types.ModuleType) -> list[str]:
    """Returns the files that a pattern names; `**` is no word of TensorFlow's."""
    if "**" not in pattern:
        return sorted(match for match in gfile.glob(pattern) if not gfile.isdir(match))
    start = re.match(r"[^*?\[]*/", pattern)[0].rstrip("/")
    parts = {r"\*\*/": "(?:.*/)?", r"\*\*": ".*", r"\*": "[^/]*", r"\?": "[^/]"}
    expression = re.escape(pattern)
    expression = re.sub("|".join(map(re.escape, parts)), lambda m: parts[m[0]], expression)
    return sorted(file for file in _files_below(start, gfile) if re.fullmatch(expression, file))


def _files_below(folder: str, gfile: types.ModuleType) -> list[str]:
    return [
        f"{above.rstrip('/')}/{name}" for above, _, names in gfile.walk(folder) for name in names
    ]


def _copy_of(address: str) -> pathlib.Path:
    scheme, place = address.split("://", 1)
    parts = [part for part in place.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise ValueError(f"an address must not hold `..`. Received: {address}")
    return cache_directory().joinpath(scheme, *parts)


def _forget_others(folder: pathlib.Path, files: set[pathlib.Path]) -> None:
    """Removes copies of what is no longer in a folder; patterns would find them."""
    for path in folder.rglob("*"):
        if path.is_file() and path not in files and not path.name.endswith(".partial"):
            path.unlink()


def _size_and_time(stat: Any) -> tuple[int, int]:
    return stat.length, int(stat.mtime_nsec) // _TICK_NANOSECONDS


def _copy(
    source: str, copy: pathlib.Path, size: int, milliseconds: int, gfile: types.ModuleType
) -> None:
    try:
        if not copy.is_absolute():
            raise FileNotFoundError(f"there is no home for {copy.parts[0]}")
        copy.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(
            f"copies of inputs lie in {cache_directory()} (`XDG_CACHE_HOME`), which must be a "
            f"folder to write to. Received: {error}"
        ) from error
    # Of this process alone: other workers on the machine may be copying the same file.
    partial = copy.with_name(f".{copy.name}.{os.getpid()}.partial")
    try:
        gfile.copy(source, str(partial), overwrite=True)
        if partial.stat().st_size != size:
            raise OSError(
                f"{source} must have {size:,} bytes. Received: {partial.stat().st_size:,}"
            )
        os.utime(partial, ns=(milliseconds * _TICK_NANOSECONDS,) * 2)
        os.replace(partial, copy)
    finally:
        partial.unlink(missing_ok=True)
