"""What happens to a malformed row of the user's data: it stops the run, or is skipped and counted.

Beside that stands what the user allows his files to be: how large, and in which encoding.

Readers report every problem here with the file and the place in it, and go on only where the user
asked for that.
"""

import os

from albert_tf import json_files

_SHOWN = 5

# Nobody's text is so long that a model reads it, and nobody's compresses so well; both are signs of
# a file that was made to fill the memory.
LARGEST_ROW_BYTES = 2**24
LARGEST_EXPANSION = 100
_SURELY_SMALL_BYTES = 2**20


class InputError(ValueError):
    """A row of the user's data that cannot be used; the message names the file and the place."""


class InputProblems:
    """Collects the malformed rows of one run.

    Args:
        skip: whether such rows are counted and left out; otherwise the first one raises.
        largest_row: bytes of a row or line above which it counts as malformed.
        largest_expansion: how many times its own size a compressed file may unpack to.
        encoding: of all text files, by a name that Python knows; "auto" looks at each file.

    Attributes:
        encodings: file -> the encoding that it is read in.
    """

    def __init__(
        self,
        skip: bool = False,
        largest_row: int = LARGEST_ROW_BYTES,
        largest_expansion: int = LARGEST_EXPANSION,
        encoding: str = "auto",
    ):
        self._skip = skip
        self.largest_row = largest_row
        self._largest_expansion = largest_expansion
        self.encoding = encoding
        self.encodings: dict[str, str] = {}
        self._messages: list[str] = []
        self._remarks: list[str] = []

    def looking_ahead(self) -> "InputProblems":
        """Returns the same limits with a count of its own, for rows that are read again later."""
        return InputProblems(True, self.largest_row, self._largest_expansion, self.encoding)

    @property
    def count(self) -> int:
        """How many rows were skipped."""
        return len(self._messages)

    def check_expansion(self, file: str, unpacked_bytes: int) -> None:
        """Raises InputError where a compressed file unpacks to too much for its size."""
        size = os.path.getsize(file)
        if unpacked_bytes > max(_SURELY_SMALL_BYTES, self._largest_expansion * size):
            raise InputError(
                f"{file} must not unpack to more than {self._largest_expansion} times its "
                f"{size:,} bytes (raise `max_expansion` if it is meant to). "
                f"Received: {unpacked_bytes:,} bytes and more"
            )

    def add(self, file: str, place: str, problem: str) -> None:
        """Reports a row that cannot be used.

        Args:
            file: path of the file.
            place: where in it, such as "line 17" or "question 56be4db0acb8001400a502ec".
            problem: what was expected and what came.

        Raises:
            InputError: unless such rows are to be skipped.
        """
        message = f"{file}, {place}: {json_files.cut(problem)}"
        if not self._skip:
            raise InputError(f"{message} (`skip_malformed` goes on without such rows)")
        self._messages.append(message)

    def remark(self, line: str) -> None:
        """Takes what a user should know of data that can be used."""
        if line not in self._remarks:
            self._remarks.append(line)

    def messages_from(self, number: int) -> list[str]:
        """Returns the messages of the rows that were skipped, without the first `number`."""
        return self._messages[number:]

    def notes(self) -> list[str]:
        """Returns what to say of the files: encodings, remarks, rows that were skipped."""
        skipped = [self.summary()] if self._messages else []
        return [*self.encoding_notes(), *self._remarks, *skipped]

    def encoding_notes(self) -> list[str]:
        """Returns a line for each file whose encoding was found to be another than UTF-8."""
        items = [] if self.encoding != "auto" else self.encodings.items()
        return [
            f"{file}: read as {name}; `encoding` names another one"
            for file, name in items
            if not name.startswith("utf-8")
        ]

    def summary(self) -> str:
        """Returns how many rows were skipped and why the first of them were; "" for none."""
        if not self._messages:
            return ""
        return f"skipped {self.count:,} malformed rows:{self.first_messages()}"

    def first_messages(self) -> str:
        """Returns why the first of the rows that were skipped were, a line each."""
        lines = self._messages[:_SHOWN]
        if self.count > _SHOWN:
            lines.append(f"and {self.count - _SHOWN:,} more")
        return "".join(f"\n  {line}" for line in lines)
