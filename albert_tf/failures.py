"""What may end a command although no argument was wrong: the base of such errors of ours."""


class Failure(RuntimeError):
    """A command that meets one says its message in one line, without a traceback."""
