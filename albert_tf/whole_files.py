"""Files and folders that appear whole or not at all, and a lock on a folder.

Whoever reads a path finds what was there before or all of what came after, also when the writer
was killed or the machine lost its power. What a killed writer leaves behind has a hidden name that
ends in `.partial` and is overwritten by the next writer of the same path. While one process writes
a path, others are refused.
"""

import contextlib
import fcntl
import json
import logging
import os
import pathlib
import shutil
import socket
import types
from collections.abc import Callable, Iterator
from typing import IO, TYPE_CHECKING

from albert_tf import remote_files, stop_signals

if TYPE_CHECKING:
    import numpy as np

LOCK_FILE = ".lock"


class FolderInUseError(ValueError):
    """Another process works in the folder, or writes the path, at this moment."""


@contextlib.contextmanager
def whole_file(path: str | os.PathLike, mode: str = "w") -> Iterator[IO]:
    """Opens a file for writing that takes its name when the block ends well.

    Args:
        path: of the file; an older one is replaced.
        mode: "w" for text, always UTF-8, or "wb" for bytes.

    Yields:
        The open file.

    Raises:
        FolderInUseError: while another process writes `path`.
        OSError: naming `path`, where it cannot be written.
    """
    remote_files.refuse_output(path)
    path = pathlib.Path(path)
    with _only_writer(path, _open_file) as partial:
        try:
            with open(partial, mode, encoding=None if "b" in mode else "utf-8") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
        except BaseException as error:
            partial.unlink(missing_ok=True)
            _name_path(error, path)
            raise
    _sync_folder(path.parent)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes a text file that appears whole or not at all."""
    with whole_file(path) as file:
        file.write(text)


def write_bytes(path: str | os.PathLike, content: bytes) -> None:
    """Writes a file that appears whole or not at all."""
    with whole_file(path, "wb") as file:
        file.write(content)


def write_array(path: str | os.PathLike, values: "np.ndarray") -> None:
    """Writes a `.npy` file that appears whole or not at all."""
    import numpy as np  # not for all that write

    with whole_file(path, "wb") as file:
        # Into a file itself NumPy writes by functions of C, whose errors have no number.
        np.save(types.SimpleNamespace(write=file.write), values)


def write_json(path: str | os.PathLike, values: object) -> None:
    """Writes an object as indented JSON that appears whole or not at all.

    Raises:
        ValueError: for numbers that strict JSON does not have: NaN and infinities.
    """
    try:
        text = json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False)
        content = f"{text}\n".encode()
    except ValueError as error:
        raise ValueError(
            f"{path} must hold finite numbers and letters of Unicode. Received: {error}"
        ) from error
    write_bytes(path, content)


@contextlib.contextmanager
def whole_directory(directory: str | os.PathLike) -> Iterator[pathlib.Path]:
    """Makes a folder that takes its name when the block ends well.

    Yields:
        The path to fill meanwhile, on the same disk.

    Raises:
        FileExistsError: if `directory` is there already.
        FolderInUseError: while another process writes it.
        OSError: naming it, where it cannot be written.
    """
    remote_files.refuse_output(directory)
    directory = pathlib.Path(directory)
    if directory.exists():
        raise FileExistsError(f"{directory} exists already")
    with _only_writer(directory, _open_folder) as partial:
        try:
            for left in partial.iterdir():
                _remove(left)
            for path in (directory, *partial.iterdir()):
                if path.exists():  # since it was looked for, or nobody can remove it
                    raise FileExistsError(f"{path} exists already")
            yield partial
            for path in partial.rglob("*"):
                if path.is_file():
                    with open(path, "rb") as file:
                        os.fsync(file.fileno())
                else:
                    _sync_folder(path)
            _sync_folder(partial)
            os.replace(partial, directory)
        except BaseException as error:
            shutil.rmtree(partial, ignore_errors=True)
            _name_path(error, directory)
            raise
    _sync_folder(directory.parent)


def replace_directory(directory: str | os.PathLike, finished: str | os.PathLike) -> None:
    """Puts a folder in the place of another, which is removed once the new one stands there."""
    directory = pathlib.Path(directory)
    doomed = partial_path(directory)
    with stop_signals.deferred():
        shutil.rmtree(doomed, ignore_errors=True)
        was_there = directory.exists()
        if was_there:
            os.replace(directory, doomed)
        try:
            os.replace(finished, directory)
        except OSError:
            if was_there:
                os.replace(doomed, directory)
            raise
        shutil.rmtree(doomed, ignore_errors=True)


def remove_directory(directory: str | os.PathLike) -> None:
    """Removes a folder; whoever looks meanwhile finds all of it or none."""
    directory = pathlib.Path(directory)
    doomed = partial_path(directory)
    shutil.rmtree(doomed, ignore_errors=True)
    if directory.exists():
        os.replace(directory, doomed)
        shutil.rmtree(doomed, ignore_errors=True)


def partial_path(path: str | os.PathLike) -> pathlib.Path:
    """Returns the hidden name beside `path` under which it is written or removed."""
    path = pathlib.Path(path)
    return path.with_name(f".{path.name}.partial")


def remove_partials(directory: str | os.PathLike) -> None:
    """Removes what killed writers left directly in a folder that this process has locked."""
    for path in pathlib.Path(directory).glob(".*.partial"):
        _remove(path)


def _remove(path: pathlib.Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _open_file(path: pathlib.Path) -> int:
    if path.is_dir():
        _remove(path)  # left by a killed writer of a folder
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)


def _open_folder(path: pathlib.Path) -> int:
    if path.is_symlink() or path.is_file():
        _remove(path)
    path.mkdir(parents=True, exist_ok=True)
    return os.open(path, os.O_RDONLY)


@contextlib.contextmanager
def _only_writer(
    path: pathlib.Path, open_partial: Callable[[pathlib.Path], int]
) -> Iterator[pathlib.Path]:
    """Makes what becomes `path`, keeps other writers of it out meanwhile, and yields its name."""
    partial = partial_path(path)
    try:
        descriptor, _ = _open_locked(partial, open_partial)
    except BlockingIOError as error:
        raise FolderInUseError(f"{path} is being written by another process") from error
    except OSError as error:
        error.filename = str(path)
        raise
    try:
        yield partial
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def only_run_in(directory: str | os.PathLike) -> Iterator[None]:
    """Makes a folder if need be and keeps every other process out of this block for it.

    The system releases the lock when the process ends, however it ends.

    Raises:
        FolderInUseError: if another process is in such a block, naming folder and process.
        OSError: if the folder cannot be made or written to.
    """
    remote_files.refuse_output(directory)
    directory = pathlib.Path(directory)
    was_there = directory.exists()
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / LOCK_FILE
    try:
        descriptor, why_not = _open_locked(path, _open_file)
    except BlockingIOError as error:
        holder = ""
        with contextlib.suppress(FileNotFoundError):
            holder = path.read_bytes()[:200].decode("utf-8", "replace")
        raise FolderInUseError(f"{directory} is in use by {holder or 'another process'}") from error
    if why_not is not None:
        logging.warning("%s cannot be locked (%s): start only one run in it", directory, why_not)
    with open(descriptor, "wb") as lock:
        lock.truncate()
        lock.write(f"process {os.getpid()} on {socket.gethostname()}".encode())
        lock.flush()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
            if not was_there:  # refused before anything was written
                with contextlib.suppress(OSError):
                    directory.rmdir()


def is_in_use(directory: str | os.PathLike) -> bool:
    """Returns whether a process is in a block of `only_run_in` for a folder."""
    try:
        with open(pathlib.Path(directory) / LOCK_FILE, "rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    except OSError:  # file systems without locks
        return False
    return False


def _open_locked(
    path: pathlib.Path, open_path: Callable[[pathlib.Path], int]
) -> tuple[int, OSError | None]:
    """Returns the descriptor of a path that this process alone holds, or why it cannot be locked.

    Raises:
        BlockingIOError: if another process holds it.
    """
    while True:
        descriptor = open_path(path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise
        except OSError as error:  # file systems without locks
            return descriptor, error
        # Who held it before may have removed or renamed it in the meantime.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.stat(path), os.fstat(descriptor)):
                return descriptor, None
        os.close(descriptor)


@contextlib.contextmanager
def errors_name(path: str | os.PathLike) -> Iterator[None]:
    """Adds the path to what the system says of a write without it."""
    try:
        yield
    except OSError as error:
        _name_path(error, path)
        raise


def _name_path(error: BaseException, path: str | os.PathLike) -> None:
    """Adds the path to what the system says of a write, such as a full disk, without one."""
    # One without a number is a sentence of ours, which a file name would replace.
    if isinstance(error, OSError) and error.errno is not None and error.filename is None:
        error.filename = str(path)


def _sync_folder(directory: str | os.PathLike) -> None:
    """Forces the names in a folder to disk."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:  # some network file systems have no such thing
        pass
    finally:
        os.close(descriptor)
