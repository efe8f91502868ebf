"""One `main` for all commands: flags in, settings made of them, one line and an exit code out.

A command's own module defines its flags, of the settings classes they fill, and imports no
TensorFlow before `run` has read them: an answer about flags and paths takes a tenth of a second,
TensorFlow takes several.
"""

import contextlib
import functools
import logging
import os
import pathlib
import re
import sys
from collections.abc import Callable, Collection, Iterator
from typing import Any, NoReturn, TypeVar

from absl import app, flags
from absl import logging as absl_logging

from albert_tf import (
    command_line_models,
    failures,
    flag_files,
    freed_memory,
    json_files,
    other_option_names,
    quiet_tensorflow,
    remote_files,
    removed_options,
    settings,
    stop_signals,
    tensorflow_needs,
)

AnySettings = TypeVar("AnySettings", bound=settings.Settings)

_PACKAGE = pathlib.Path(__file__).parent
# A shell gives a process that SIGPIPE ended this code.
_OUTPUT_WAS_CLOSED = 141
_LONGEST_NAME = 100
_DEFINE = {bool: flags.DEFINE_bool, float: flags.DEFINE_float, str: flags.DEFINE_string}
_HELP = {"--help", "-help", "-?"}
# Flags that name what is read, of any command, and what is written.
INPUTS = (
    *("config", "data_dir", "dev_file", "held_out", "init_checkpoint", "input", "model_dir"),
    *("test_file", "train_file", "vocab_model"),
)
OUTPUTS = ("cache_dir", "compilation_cache", "output", "output_dir")
# (what the flags of a group say, their names), as `define_flags` met them.
_GROUPS: list[tuple[str, list[str]]] = []
# What a message calls a setting, with or without a value.
_NAMED_SETTING = re.compile(r"`(\w+)(=[^`\n]*)?`")

# The flags that are defined here are those of the module that asks for them.
flags.disclaim_key_flags()


def run(
    main: Callable[[], None],
    copies_inputs: bool = True,
    model_directories: Collection[str] = ("init_checkpoint", "model_dir"),
) -> None:
    """Runs a command and ends the process.

    The exit code is 0, also for `--help`; 1 after one line that says what was wrong; 130 and 143
    after Ctrl-C and SIGTERM, which a second one makes immediate.

    Args:
        main: called when the flags are read.
        copies_inputs: whether inputs may be addresses, which are copied to this machine first.
        model_directories: flags that may be names on the Hugging Face hub.
    """
    # What started it may have closed them; in this order each gets its own number.
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))
    quieten_libraries()
    command = functools.partial(_run, main, copies_inputs, model_directories)
    app.run(command, flags_parser=_read_flags)


def quieten_libraries() -> None:
    """Leaves a terminal to this package: others are heard when they raise or log an error.

    Whoever sets TF_CPP_MIN_LOG_LEVEL himself is obeyed.
    """
    quiet_tensorflow.ask_for_quiet()
    absl_logging.use_absl_handler()
    handler = absl_logging.get_absl_handler()
    handler.setFormatter(_FlagNamingFormatter("%(message)s"))
    handler.addFilter(_is_worth_a_line)


class _FlagNamingFormatter(logging.Formatter):
    """Writes what the library logs in the words of a command."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns the line of a record."""
        return name_flags(super().format(record))


def _is_worth_a_line(record: logging.LogRecord) -> bool:
    folders = pathlib.Path(record.pathname).parents
    is_ours = _PACKAGE in folders or _PACKAGE.parent / "pipelines" in folders
    return is_ours or record.levelno >= logging.ERROR


def load_tensorflow() -> None:
    """Says what the next seconds go by with, then imports TensorFlow."""
    print_aside("loading TensorFlow")
    freed_memory.keep_freed_memory()  # before there are threads with heaps of their own
    quiet_tensorflow.load_for_command()


def _read_flags(arguments: list[str]) -> list[str]:
    """Reads the flags of the command line, or ends with one line that says what is wrong."""
    try:
        lines = flags.FLAGS.read_flags_from_files(arguments[1:], force_gnu=False)
        _check_names(lines)
        removed_options.check_arguments(lines)
        if _HELP & set(lines):
            with _closed_output_ends():
                print(_make_help(), flush=True)
            sys.exit(0)
        rest = flags.FLAGS([arguments[0], *lines])
    except SystemExit:  # `--help` and its kin; absl ends them with 1.
        sys.exit(0)
    except flags.CantOpenFlagFileError as error:
        _fail(flag_files.describe_missing(arguments), error)
    except UnicodeDecodeError as error:
        _fail(
            f"a flag file must be text in UTF-8. Received: {flag_files.find_unreadable(arguments)}",
            error,
        )
    except flags.UnrecognizedFlagError as error:
        _fail(_describe_unknown(error.flagname, str(error), arguments), error)
    # The standard library's error is of a name in a flag file that no file can have.
    except (flags.Error, ValueError) as error:
        missing = re.findall(r"flag --(\w+)=None: Flag --\w+ must have a value", str(error))
        what = f"--{' and --'.join(missing)} must be given" if missing else str(error)
        what += other_option_names.name_value(what)
        _fail(f"{_one_line(what)} (--help lists the flags{_also_read(arguments)})", error)
    if len(rest) > 1:
        _fail(
            f"flags are all that is taken (--help lists them{_also_read(arguments)}). Received: "
            f"{_one_line(' '.join(rest[1:]))}"
        )
    return rest


def _describe_unknown(name: str, message: str, arguments: list[str]) -> str:
    """Returns one line about a flag that the command does not have."""
    instead = other_option_names.find(name)
    if instead is not None:
        here = f"here it is {instead}" if instead.startswith("--") else instead
        message = f"--{name} is not a flag of this command: {here}"
    return f"{_one_line(message)} (--help lists the flags{_also_read(arguments)})"


def _make_help() -> str:
    """Returns what the command does, and its flags by group; absl would mix them by name."""
    own = {flag.name: flag for flag in flags.FLAGS.get_key_flags_for_module("__main__")}
    grouped = {name for _, names in _GROUPS for name in names}
    groups = [("Of this command alone", own.keys() - grouped), *_GROUPS]
    texts = [sys.modules["__main__"].__doc__ + "\nflags:"]
    for title, names in groups:
        group = flags.FlagValues()
        for name in names:
            group[name] = own[name]
            group.register_flag_by_module(title, own[name])
        if names:
            texts.append(group.module_help(title).strip())
    return "\n\n".join([*texts, "--helpfull shows those of all libraries, too."])


def _check_names(lines: list[str]) -> None:
    """Refuses a name for which absl would look in vain, and for gigabytes, for a similar one."""
    for line in lines:
        name = line.partition("=")[0]
        if line.startswith("-") and len(name) > _LONGEST_NAME:
            raise flags.UnrecognizedFlagError(name[:_LONGEST_NAME])


def _one_line(text: str) -> str:
    """Returns the beginning of what may hold a flag file's whole content."""
    return json_files.cut(" ".join(text.split()))


def _also_read(arguments: list[str]) -> str:
    names = flag_files.find(arguments)
    return f"; some were read from {' and '.join(names)}" if names else ""


def _run(
    main: Callable[[], None], copies_inputs: bool, model_directories: Collection[str], _: list[str]
) -> None:
    try:
        with (
            stop_signals.handled(),
            _closed_output_ends(),
            tensorflow_needs.errors_name("this command"),
        ):
            command_line_models.download(flags.FLAGS, model_directories)
            if copies_inputs:
                _copy_inputs(flags.FLAGS)
            main()
            sys.stdout.flush()
    except stop_signals.Stopped as stopped:
        notes = name_flags("".join(f"; {n}" for n in getattr(stopped, "__notes__", ())))
        print(f"{_name()}: stopped by {stopped}{notes}", file=sys.stderr, flush=True)
        if stopped.leaves_thread:
            os._exit(stopped.exit_code)
        failures.let_go(stopped)
        sys.exit(stopped.exit_code)
    except _expected_errors() as error:
        _fail(getattr(error, "message", None) or str(error), error)


def _copy_inputs(flag_values: flags.FlagValues) -> None:
    """Puts paths on this machine in place of the addresses that flags name as inputs."""
    own = {flag.name: flag for flag in flag_values.get_key_flags_for_module("__main__")}
    for name in OUTPUTS:
        if name in own and own[name].value:
            remote_files.refuse_output(own[name].value, name)
    # TensorFlow Datasets reads addresses by itself.
    is_left = {"data_dir"} if "data_source" in own and own["data_source"].value == "tfds" else ()
    for name in INPUTS:
        value = own[name].value if name in own and name not in is_left else None
        is_list = isinstance(value, list)
        # Several folders of data stand in one flag, with commas.
        places = value if is_list else (value or "").split(",") if name == "data_dir" else [value]
        if not any(place and remote_files.is_address(place) for place in places):
            continue
        paths = []
        for place in places:
            if remote_files.is_address(place):
                with _errors_name_flag(name):
                    paths += remote_files.fetch(place, print_aside, several=is_list)
            else:
                paths.append(place)
        own[name].value = paths if is_list else ",".join(paths)


@contextlib.contextmanager
def _errors_name_flag(name: str) -> Iterator[None]:
    try:
        yield
    except (ValueError, OSError) as error:
        raise ValueError(f"`{name}`: {error}") from error


@contextlib.contextmanager
def _closed_output_ends() -> Iterator[None]:
    """Ends the process where whoever read its output has seen enough."""
    try:
        yield
    except BrokenPipeError:
        # Python flushes the output once more at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(_OUTPUT_WAS_CLOSED)


def _expected_errors() -> tuple[type[BaseException], ...]:
    """Returns what says by itself what was wrong: of TensorFlow, what files and memory gave."""
    errors = (ValueError, OSError, failures.Failure)
    if sys.modules.get("tensorflow") is None:
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


def _fail(message: str, error: BaseException | None = None) -> NoReturn:
    failures.let_go(error)
    raise SystemExit(f"{_name()}: {name_flags(message)}") from error


def _name() -> str:
    return pathlib.Path(sys.argv[0]).stem


def define_flags(
    settings_class: type[settings.Settings],
    names: Collection[str] | None = None,
    flag_values: flags.FlagValues = flags.FLAGS,
) -> None:
    """Defines a flag of the running command for each value of a settings class and its parts.

    Args:
        settings_class: see `albert_tf.settings`; a value without a default must be given.
        names: of those to define; all by default.
        flag_values: absl's `FLAGS`.
    """
    for group, rows in settings.rows_by_class(settings_class):
        rows = [row for row in rows if names is None or row.name in names]
        title = group.__doc__.splitlines()[0].partition(";")[0].removesuffix(".")
        _GROUPS.append((title, [row.name for row in rows]))
        for row in rows:
            _define_flag(row, flag_values)


def _define_flag(row: settings.Row, flag_values: flags.FlagValues) -> None:
    default = None if row.is_required else row.default
    help_text = _NAMED_SETTING.sub(_as_flag, row.help_text)
    keywords = {"flag_values": flag_values}
    if row.is_list:
        among = f" Any of {', '.join(row.choices)}." if row.choices else ""
        texts = None if default is None else [str(value) for value in default]
        flags.DEFINE_list(row.name, texts, help_text + among, **keywords)
    elif row.choices:
        flags.DEFINE_enum(row.name, default, list(row.choices), help_text, **keywords)
    elif row.value_type is int:
        flags.DEFINE_integer(row.name, default, help_text, row.lowest, row.highest, **keywords)
    else:
        _DEFINE[row.value_type](row.name, default, help_text, **keywords)
    if row.is_required:
        flags.mark_flag_as_required(row.name, flag_values)


def define_text_input() -> None:
    """Defines --input of a command that reads a corpus."""
    flags.DEFINE_list("input", None, "Text files, patterns of them, or tfds:NAME.", required=True)


def settings_from_flags(
    settings_class: type[AnySettings],
    flag_values: flags.FlagValues,
    names: Collection[str] | None = None,
) -> AnySettings:
    """Returns settings, and their parts, with the values of the flags of the same names.

    Args:
        settings_class: as `define_flags` took it.
        flag_values: absl's `FLAGS`.
        names: as of `define_flags`.

    Raises:
        ValueError: what the settings themselves refuse.
    """
    return settings_class.of(
        **{
            row.name: _read_flag(row, flag_values[row.name].value)
            for row in settings.all_rows(settings_class)
            if names is None or row.name in names
        }
    )


def _read_flag(row: settings.Row, value: Any) -> Any:
    if not row.is_list or value is None:
        return value
    if row.value_type is int:
        if not all(text.isdecimal() for text in value):
            raise ValueError(f"`{row.name}` must be numbers from 0 on. Received: {','.join(value)}")
        return tuple(int(text) for text in value)
    return tuple(value)


def name_flags(text: str) -> str:
    """Returns what the library says in the words of a command.

    >>> name_flags("`train=False` needs `init_checkpoint`")
    "--notrain needs --init_checkpoint"
    """
    own = {flag.name for flag in flags.FLAGS.get_key_flags_for_module("__main__")}
    return _NAMED_SETTING.sub(lambda match: _as_flag(match) if match[1] in own else match[0], text)


def _as_flag(match: re.Match[str]) -> str:
    name, value = match[1], match[2] or ""
    if value in ("=True", "=False"):
        return f"--{name}" if value == "=True" else f"--no{name}"
    return f"--{name}{value}"


def own_flags_as_text(flag_values: flags.FlagValues) -> str:
    """Returns the flags that the running module defines and that have a value, one a line."""
    own = flag_values.get_key_flags_for_module("__main__")
    text = "".join(f"{flag.serialize()}\n" for flag in own if flag.value is not None)
    return command_line_models.name_copies(remote_files.name_addresses(text))


def print_now(line: str) -> None:
    """Prints a line at once: whoever watches a log file wants it when it is written."""
    print(name_flags(line), flush=True)


def print_aside(line: str) -> None:
    """Prints a line at once where it does not get into the output."""
    print(name_flags(line), file=sys.stderr, flush=True)
