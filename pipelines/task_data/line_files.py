"""Files of the user's own -> numbered lines of text: unpacked, decoded, none of them too long."""

import codecs
import contextlib
import io
import os
import re
from collections.abc import Iterator
from typing import BinaryIO

from albert_tf.pipelines.sources import compressed_files, encodings
from albert_tf.pipelines.task_data.input_problems import InputError, InputProblems

_BLOCK_BYTES = 2**20
_SAMPLE_BYTES = 2**16
_MOST_BYTES_A_CHARACTER = 4
# Bytes that are not of the encoding pass through as these, until it is known in which row they are.
_WRONG_BYTE = re.compile("[\udc00-\udcff]")


def _mark_wrong_bytes(error: UnicodeDecodeError) -> tuple[str, int]:
    marks = "".join(chr(0xDC00 + byte) for byte in error.object[error.start : error.end])
    return marks, error.end


codecs.register_error("albert_tf_marked", _mark_wrong_bytes)


def read_lines(
    path: str | os.PathLike, problems: InputProblems, keep_empty: bool = False
) -> Iterator[tuple[str, str]]:
    """Yields ("line <n>", text) of each line, empty ones where asked for, without its line end.

    A line feed ends a line, in a file without any a carriage return; a byte-order mark at the start
    of the file is left out.

    Args:
        path: the file, compressed or not, in the encoding that `problems` was told or finds.
        problems: takes lines that are too long or hold bytes that are not of the encoding.
        keep_empty: whether empty lines are given.

    Raises:
        InputError: as `numbered_lines`.
    """
    path = os.fspath(path)
    for number, line in numbered_lines(path, problems):
        if line is None:
            continue
        problem = problem_of_bytes(line, path, problems)
        if problem:
            problems.add(path, f"line {number}", problem)
            continue
        text = line.removesuffix("\n").removesuffix("\r")
        if text or keep_empty:
            yield f"line {number}", text


def numbered_lines(path: str, problems: InputProblems) -> Iterator[tuple[int, str | None]]:
    """Yields (number from 1 on, line with its end), None for one that is too long, a problem.

    Bytes that are not of the encoding are in the line still: `problem_of_bytes` tells.

    Raises:
        InputError: the file is none, is damaged, unpacks to far too much, or is no text in an
            encoding that can be told.
    """
    if not os.path.isfile(path):  # a pipe might never say a word
        raise InputError(f"{path} must be a file. Received: something else")
    longest = problems.largest_row
    try:
        encoding, newline = _check_file(path, problems)
        with _open_unpacked(path) as packed, _as_text(packed, encoding, newline) as file:
            number = 0
            while line := file.readline(longest + 1):
                number += 1
                if number == 1:
                    line = line.removeprefix("\ufeff")
                if _is_too_long(line, longest):
                    while line and not line.endswith(newline):
                        line = file.readline(longest)
                    problem = f"must have at most {longest:,} bytes (`max_row_mb`). Received: more"
                    problems.add(path, f"line {number}", problem)
                    line = None
                yield number, line
    except UnicodeError as error:  # of a decoder that passes nothing on
        raise InputError(f"{path} must be {encoding}. Received: {error}") from error
    except compressed_files.READ_ERRORS as error:
        raise InputError(f"{path} must be whole. Received: {error}") from error


def problem_of_bytes(text: str, path: str, problems: InputProblems) -> str | None:
    """Returns what is wrong with text of a file that has bytes of another encoding, or None."""
    match = None if text.isascii() else _WRONG_BYTE.search(text)
    if match is None:
        return None
    encoding = problems.encodings[path]
    name = "UTF-8" if encoding.startswith("utf-8") else encoding
    byte = ord(match[0]) - 0xDC00
    return f"must be {name}. Received: byte 0x{byte:02x} (`encoding` names another encoding)"


def _check_file(path: str, problems: InputProblems) -> tuple[str, str]:
    """Returns the encoding and what ends a line.

    A compressed file is looked through before anything is made of it.
    """
    with _open_unpacked(path) as file:
        is_packed = not isinstance(file, io.BufferedReader)
        sample = block = file.read(_SAMPLE_BYTES)
        may_end_with_return, unpacked = b"\r" in sample, 0
        while block and (is_packed or may_end_with_return):
            unpacked += len(block)
            if is_packed:
                problems.check_expansion(path, unpacked)
            may_end_with_return = may_end_with_return and b"\n" not in block
            block = file.read(_BLOCK_BYTES)
    encoding = problems.encoding
    if encoding == "auto":
        encoding = encodings.detect_encoding(sample)
        if encoding is None:
            reason, detail = encodings.reason_not_text(sample)
            raise InputError(f"{path}: {reason} ({detail})")
    encoding = encodings.with_byte_order(encoding, sample)
    problems.encodings[path] = encoding
    return encoding, "\r" if may_end_with_return else "\n"


@contextlib.contextmanager
def _open_unpacked(path: str) -> Iterator[BinaryIO]:
    with open(path, "rb") as raw:
        file = compressed_files.open_unpacked(raw)
        if file is None:
            raise InputError(f"{path}: {compressed_files.ZSTANDARD_IS_AN_EXTRA}")
        with file:
            yield file


def _as_text(file: BinaryIO, encoding: str, newline: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(file, encoding, errors="albert_tf_marked", newline=newline)


def _is_too_long(line: str, longest: int) -> bool:
    if _MOST_BYTES_A_CHARACTER * len(line) <= longest:
        return False
    return len(line.encode("utf-8", "surrogatepass")) > longest
