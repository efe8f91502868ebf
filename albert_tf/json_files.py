"""JSON that anyone may have written: one object, or one sentence that says what is wrong with it.

Whoever wrote a file, it may be cut off, of another encoding, nested a hundred thousand deep or
larger than memory. So a file is looked at before it is read, and whatever is wrong with it becomes
an error of one kind that names it.
"""

import json
import os
import re
import reprlib
import types
from collections.abc import Iterable, Mapping
from typing import Any

# A vocabulary of a million pieces with scores is about half of it.
LARGEST_BYTES = 64 * 2**20
_DEEPEST = 100  # lists and objects in one another; what we read has five

# Half of a character, as where a program cut a text in the middle of one; it has no UTF-8.
_SURROGATES = re.compile("[\ud800-\udfff]")
_SHORTENER = reprlib.Repr()
_SHORTENER.maxstring = _SHORTENER.maxother = _SHORTENER.maxlong = 60
_SHOWN_CHARACTERS = 200
_SHOWN_NAMES = 10
_LONGEST_SENTENCE = 1000
_NAMES = {str: "a text", int: "a whole number", list: "a list", dict: "an object"}


class JsonError(ValueError):
    """Text that is no JSON object; of a file, the message begins with its name."""


def read_object(
    path: str | os.PathLike,
    fields: Mapping[str, type] | None = None,
    largest_bytes: int | None = LARGEST_BYTES,
) -> dict[str, Any]:
    """Returns the object that a JSON file holds.

    Args:
        path: of the file, UTF-8 with or without a byte-order mark.
        fields: {key that must be there: type of its value}.
        largest_bytes: size above which the file is not read; None for any.

    Raises:
        JsonError: beginning with `path`, where it is no such file.
    """
    try:
        values = parse_object(_read_text(path, largest_bytes))
        _check_fields(values, fields or {})
    except JsonError as error:
        raise JsonError(f"{os.fspath(path)} {error}") from error
    return values


def read_objects(
    path: str | os.PathLike,
    fields: Mapping[str, type] | None = None,
    largest_bytes: int | None = LARGEST_BYTES,
) -> list[dict[str, Any]]:
    """Returns the objects of a file of JSON lines; a last line without an end is left out.

    Args and raises: as `read_object`; the message names the line, too.
    """
    objects, place = [], ""
    try:
        *lines, _ = _read_text(path, largest_bytes).split("\n")
        for line in lines:
            place = f", line {len(objects) + 1}:"
            values = parse_object(line)
            _check_fields(values, fields or {})
            objects.append(values)
    except JsonError as error:
        raise JsonError(f"{os.fspath(path)}{place} {error}") from error
    return objects


def read_values(
    path: str | os.PathLike, largest_bytes: int | None = LARGEST_BYTES
) -> dict[str, Any] | list:
    """Returns the object or the list that a JSON file holds.

    Args and raises: as `read_object`.
    """
    try:
        return _parse(_read_text(path, largest_bytes), dict | list, "object or list")
    except JsonError as error:
        raise JsonError(f"{os.fspath(path)} {error}") from error


def _read_text(path: str | os.PathLike, largest_bytes: int | None) -> str:
    # Neither a folder nor a pipe, in which there may never be a word.
    if not os.path.isfile(path):
        there = "a folder" if os.path.isdir(path) else "no file"
        raise JsonError(f"must be a JSON file. Received: {there}")
    size = os.path.getsize(path)
    if largest_bytes is not None and size > largest_bytes:
        raise JsonError(f"must have at most {largest_bytes:,} bytes. Received: {size:,}")
    try:
        with open(path, "rb") as file:
            return file.read().decode("utf-8-sig")
    except OSError as error:
        raise JsonError(f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        there = f"{error.reason} at byte {error.start}"
        raise JsonError(f"must be JSON in UTF-8. Received: {there}") from error


def parse_object(text: str | bytes) -> dict[str, Any]:
    """Returns the object that a text holds, such as a line of a file.

    U+FFFD stands for halves of characters (`"\\ud83d"` alone), which no other file could hold.

    Raises:
        JsonError: saying what the text must be, for the caller to put the place before it.
    """
    return _parse(text, dict, "object")


def _parse(text: str | bytes, kind: type | types.UnionType, name: str) -> Any:
    if isinstance(text, bytes):  # which Python would also take for UTF-16
        try:
            text = text.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            there = f"{error.reason} at byte {error.start}"
            raise JsonError(f"must be a JSON {name} in UTF-8. Received: {there}") from error
    try:
        values = json.loads(text)
    except RecursionError as error:
        raise JsonError(f"must be a JSON {name}. Received: one nested too deeply") from error
    except ValueError as error:
        raise JsonError(f"must be a JSON {name}. Received: {error}") from error
    if not isinstance(values, kind):
        raise JsonError(f"must be a JSON {name}. Received: {shorten(values)}")
    _check_depth(values, name)
    return _without_surrogates(values) if "\\ud" in text.lower() else values


def _without_surrogates(values: Any) -> Any:
    text = json.dumps(values, ensure_ascii=False)
    return json.loads(_SURROGATES.sub("\ufffd", text)) if _SURROGATES.search(text) else values


def _check_fields(values: dict[str, Any], fields: Mapping[str, type]) -> None:
    for name, kind in fields.items():
        if not isinstance(values.get(name), kind):
            there = shorten(values[name]) if name in values else f"the keys {listed(values)}"
            raise JsonError(f"must have `{name}`, {_NAMES[kind]}. Received: {there}")


def _check_depth(values: dict[str, Any] | list, name: str) -> None:
    """Raises `JsonError` for what later walks would not come back from."""
    level: list[dict | list] = [values]
    for _ in range(_DEEPEST):
        level = [
            item
            for container in level
            for item in (container.values() if isinstance(container, dict) else container)
            if isinstance(item, dict | list)
        ]
        if not level:
            return
    raise JsonError(f"must be a JSON {name}. Received: one nested too deeply")


def shorten(value: object) -> str:
    """Returns what a message shows of a value that a stranger wrote: its beginning."""
    text = _SHORTENER.repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."


def cut(text: str) -> str:
    """Returns what a message shows of a sentence that holds what a stranger wrote."""
    return text if len(text) <= _LONGEST_SENTENCE else f"{text[:_LONGEST_SENTENCE]}..."


def listed(names: Iterable) -> str:
    """Returns names that a stranger wrote, the first of them, with commas between."""
    names = list(names)
    shown = ", ".join(shorten(name) for name in names[:_SHOWN_NAMES])
    more = len(names) - _SHOWN_NAMES
    return f"{shown} and {more} more" if more > 0 else shown or "none"
