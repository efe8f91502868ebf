"""One `main` for all commands: flags in, settings made of them, one line and an exit code out.

A command's own module defines its flags and imports no TensorFlow before `run` has read them: an
answer about flags and paths takes a tenth of a second, TensorFlow takes several.
"""

import dataclasses
import functools
import logging
import os
import pathlib
import re
import sys

from absl import app, flags
from absl import logging as absl_logging

from albert_tf import failures, json_files, quiet_tensorflow, removed_options, stop_signals

_PACKAGE = pathlib.Path(__file__).parent
# A shell gives a process that SIGPIPE ended this code.
_OUTPUT_WAS_CLOSED = 141
_LONGEST_NAME = 100


def run(main):
    """Runs a command and ends the process.

    The exit code is 0, also for `--help`; 1 after one line that says what was wrong; 130 and 143
    after Ctrl-C and SIGTERM, which a second one makes immediate.

    Args:
        main: a function without arguments, called when the flags are read.
    """
    quieten_libraries()
    app.run(functools.partial(_run, main), flags_parser=_read_flags)


def quieten_libraries():
    """Leaves a terminal to this package: others are heard when they raise or log an error.

    Whoever sets TF_CPP_MIN_LOG_LEVEL himself is obeyed.
    """
    quiet_tensorflow.ask_for_quiet()
    absl_logging.use_absl_handler()
    handler = absl_logging.get_absl_handler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    handler.addFilter(_is_worth_a_line)


def _is_worth_a_line(record):
    folders = pathlib.Path(record.pathname).parents
    is_ours = _PACKAGE in folders or _PACKAGE.parent / "pipelines" in folders
    return is_ours or record.levelno >= logging.ERROR


def load_tensorflow():
    """Says what the next seconds go by with, then imports TensorFlow."""
    print("loading TensorFlow", file=sys.stderr, flush=True)
    quiet_tensorflow.load()


def _read_flags(arguments):
    """Reads the flags of the command line, or ends with one line that says what is wrong."""
    try:
        lines = flags.FLAGS.read_flags_from_files(arguments[1:], force_gnu=False)
        _check_names(lines)
        removed_options.check_arguments(lines)
        rest = flags.FLAGS([arguments[0], *lines])
        removed_options.check_values(flags.FLAGS)
    except SystemExit:  # `--help` and its kin; absl ends them with 1.
        sys.exit(0)
    except UnicodeDecodeError as error:
        _fail(f"a flag file must be text in UTF-8. Received: {_find_unreadable(arguments)}", error)
    # The standard library's error is of a name in a flag file that no file can have.
    except (flags.Error, ValueError) as error:
        missing = re.findall(r"flag --(\w+)=None: Flag --\w+ must have a value", str(error))
        what = f"--{' and --'.join(missing)} must be given" if missing else str(error)
        _fail(f"{_one_line(what)} (--help lists the flags{_also_read(arguments)})", error)
    if len(rest) > 1:
        _fail(
            f"flags are all that is taken (--help lists them{_also_read(arguments)}). Received: "
            f"{_one_line(' '.join(rest[1:]))}"
        )
    return rest


def _check_names(lines):
    """Refuses a name for which absl would look in vain, and for gigabytes, for a similar one."""
    for line in lines:
        name = line.partition("=")[0]
        if line.startswith("-") and len(name) > _LONGEST_NAME:
            raise flags.UnrecognizedFlagError(name[:_LONGEST_NAME])


def _one_line(text):
    """Returns the beginning of what may hold a flag file's whole content."""
    return json_files.cut(" ".join(text.split()))


def _also_read(arguments):
    names = _flag_files(arguments)
    return f"; some were read from {' and '.join(names)}" if names else ""


def _flag_files(arguments):
    """Returns the flag files that the command line names; they may name others."""
    return re.findall(r"^--?flagfile[=\n](.*)$", "\n".join(arguments), re.MULTILINE)


def _find_unreadable(arguments):
    """Returns the flag file that is not text."""
    names = _flag_files(arguments)
    for name in names:
        try:
            pathlib.Path(name).expanduser().read_text(encoding="utf-8")
        except UnicodeDecodeError:
            return name
    return f"a file that {' or '.join(names)} names"


def _run(main, _):
    try:
        with stop_signals.handled():
            main()
            sys.stdout.flush()
    except stop_signals.Stopped as stopped:
        notes = "".join(f"; {note}" for note in getattr(stopped, "__notes__", ()))
        print(f"{_name()}: stopped by {stopped}{notes}", file=sys.stderr, flush=True)
        if stopped.leaves_thread:
            os._exit(stopped.exit_code)
        sys.exit(stopped.exit_code)
    except BrokenPipeError:
        # Whoever read the output has seen enough. Python flushes it once more at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(_OUTPUT_WAS_CLOSED)
    except _expected_errors() as error:
        _fail(getattr(error, "message", None) or str(error), error)


def _expected_errors():
    """Returns what says by itself what was wrong: of TensorFlow, what files and memory gave."""
    errors = (ValueError, OSError, failures.Failure)
    if "tensorflow" not in sys.modules:
        return errors
    of_tensorflow = sys.modules["tensorflow"].errors
    return (
        *errors,
        of_tensorflow.DataLossError,
        of_tensorflow.FailedPreconditionError,
        of_tensorflow.NotFoundError,
        of_tensorflow.PermissionDeniedError,
        of_tensorflow.ResourceExhaustedError,
    )


def _fail(message, error=None):
    raise SystemExit(f"{_name()}: {message}") from error


def _name():
    return pathlib.Path(sys.argv[0]).stem


def dataclass_from_flags(described_class, flag_values, **given):
    """Returns a dataclass whose fields have the values of the flags of the same names.

    Args:
        described_class: the dataclass.
        flag_values: absl's `FLAGS`.
        given: fields that are no flags, or whose flags were read already.

    Raises:
        ValueError: what the dataclass itself refuses.
    """
    names = [f.name for f in dataclasses.fields(described_class) if f.name not in given]
    values = {name: flag_values[name].value for name in names}
    values = {n: tuple(v) if isinstance(v, list) else v for n, v in values.items()}
    return described_class(**values, **given)


def own_flags_as_text(flag_values):
    """Returns the flags that the running module defines and that have a value, one a line."""
    own = flag_values.get_key_flags_for_module("__main__")
    return "".join(f"{flag.serialize()}\n" for flag in own if flag.value is not None)


def print_now(line):
    """Prints a line at once: whoever watches a log file wants it when it is written."""
    print(line, flush=True)
