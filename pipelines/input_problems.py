"""What happens to a malformed row of the user's data: it stops the run, or is skipped and counted.

Readers report every problem here with the file and the place in it, and go on only where the user
asked for that.
"""

_SHOWN = 5


class InputError(ValueError):
    """A row of the user's data that cannot be used; the message names the file and the place."""


class InputProblems:
    """Collects the malformed rows of one run.

    Args:
      skip: whether such rows are counted and left out; otherwise the first one raises.
    """

    def __init__(self, skip: bool = False):
        self._skip = skip
        self._messages = []

    @property
    def count(self) -> int:
        """How many rows were skipped."""
        return len(self._messages)

    def add(self, file: str, place: str, problem: str) -> None:
        """Report a row that cannot be used.

        Args:
          file: path of the file.
          place: where in it, such as "line 17" or "question 56be4db0acb8001400a502ec".
          problem: what was expected and what came.

        Raises:
          InputError: unless such rows are to be skipped.
        """
        message = f"{file}, {place}: {problem}"
        if not self._skip:
            raise InputError(message)
        self._messages.append(message)

    def summary(self) -> str:
        """Return how many rows were skipped and why the first of them were; "" for none."""
        if not self._messages:
            return ""
        shown = "\n  ".join(self._messages[:_SHOWN])
        more = f"\n  and {self.count - _SHOWN} more" if self.count > _SHOWN else ""
        return f"skipped {self.count} malformed rows:\n  {shown}{more}"
