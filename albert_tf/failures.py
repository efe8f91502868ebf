"""What may end a command although no argument was wrong, and how a command is left by an error."""

import traceback


class Failure(RuntimeError):
    """A command that meets one says its message in one line, without a traceback."""


def let_go(error: BaseException | None) -> None:
    """Empties the frames that an error came through, and those of its causes.

    They hold data sets, whose threads would wait for an interpreter that waits for them to end.
    """
    seen = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
