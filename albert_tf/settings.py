"""Settings: small frozen dataclasses that say the default, help text and rule of each value once.

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class OptimizerSettings(Settings):
        learning_rate: float = setting(0.00176, "Rate at the end of the warm-up.", check_positive)

Such an object checks itself, and a command makes its flags of the same lines
(`command_line.define_flags`). A class may have others as parts; a name then stands for one value in
all of them, as a flag does. A subclass that gives a value another default keeps help text and rule.
"""

import csv
import dataclasses
import difflib
import io
import numbers
import os
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Self, TypeVar

from albert_tf import setting_checks

AnySettings = TypeVar("AnySettings", bound="Settings")
_KINDS = {
    bool: (bool, "True or False"),
    int: (numbers.Integral, "a whole number"),
    float: (numbers.Real, "a number"),
    str: (str, "a string"),
}
# Takes the name and the value of a setting, and raises ValueError for one that is not allowed.
Check = Callable[[str, Any], None]


def setting(
    default: Any = dataclasses.MISSING,
    help_text: str | None = None,
    check: Check | None = None,
    *,
    choices: Collection[str] | None = None,
    lowest: int | None = None,
    highest: int | None = None,
) -> Any:
    """Returns the field of a settings class.

    Args:
        default: without it the value must be given. Where it is None, None is always allowed.
        help_text: one sentence or two, for `--help`.
        check: of `setting_checks`.
        choices: names, of which the value is one, or each of the values.
        lowest, highest: of a whole number.
    """
    metadata = {
        "help_text": help_text,
        "check": check,
        "choices": choices,
        "lowest": lowest,
        "highest": highest,
    }
    return dataclasses.field(
        default=default, metadata={k: v for k, v in metadata.items() if v is not None}
    )


@dataclasses.dataclass(frozen=True)
class Row:
    """What is known of one setting; all but name, type and default as of `setting`.

    Attributes:
        value_type: bool, int, float or str.
        is_list: whether the value is a tuple of such.
    """

    name: str
    value_type: type
    is_list: bool
    default: Any
    help_text: str = ""
    check: Check | None = None
    choices: Collection[str] | None = None
    lowest: int | None = None
    highest: int | None = None

    @property
    def is_required(self) -> bool:
        """Whether there is no default."""
        return self.default is dataclasses.MISSING

    def check_value(self, value: Any) -> None:
        """Refuses what the rule of this setting does not allow.

        Raises:
            ValueError: naming the setting, what was expected and what came.
        """
        if value is None and self.default is None:
            return
        if self.is_list and not isinstance(value, tuple | list):
            raise ValueError(f"`{self.name}` must be a list of values. Received: {value!r}")
        for one in value if self.is_list else [value]:
            self._check_type(one)
            if self.choices is not None:
                setting_checks.check_choice(self.name, one, self.choices)
        if self.lowest is not None or self.highest is not None:
            setting_checks.check_integer(self.name, value, self.lowest, self.highest)
        if self.check is not None:
            self.check(self.name, value)

    def _check_type(self, value: Any) -> None:
        if self.lowest is not None or self.highest is not None:
            return  # the check of the range says what it takes
        kind, described = _KINDS[self.value_type]
        is_other = isinstance(value, bool) != (self.value_type is bool)  # to Python True is 1
        if is_other or not isinstance(value, kind):
            raise ValueError(f"`{self.name}` must be {described}. Received: {value!r}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """What all settings classes are.

    Raises:
        ValueError: naming the field, what was expected and what came.
    """

    def __post_init__(self) -> None:
        for row in own_rows(type(self)):
            row.check_value(getattr(self, row.name))

    @classmethod
    def of(cls, **values) -> Self:
        """Returns settings with values by name, whichever part a name belongs to.

        Args:
            values: what has a default may be left out, and a part may be given whole; lists
                and paths do for tuples and strings.

        Raises:
            ValueError: for a name that there is not, or a value that the rules do not allow.
        """
        parts = _parts(cls)
        rows = {row.name: row for row in all_rows(cls)}
        for name in sorted(values.keys() - rows.keys() - parts.keys()):
            near = difflib.get_close_matches(name, rows, 1)
            expected = (
                f"did you mean `{near[0]}`?" if near else f"there are {', '.join(sorted(rows))}"
            )
            raise ValueError(f"`{name}` is not a setting: {expected}")
        for name, part in parts.items():
            if name in values and not isinstance(values[name], part):
                raise ValueError(f"`{name}` must be {part.__name__}. Received: {values[name]!r}")
        given = _names_of_values(cls, values)
        for name, row in rows.items():
            if row.is_required and name not in given:
                raise ValueError(f"`{name}` must be given")
        return _make(cls, {name: _as_plain(value) for name, value in values.items()})

    def values_by_name(self) -> dict[str, Any]:
        """Returns {name: value} of these settings and their parts, which `of` takes."""
        values = {row.name: getattr(self, row.name) for row in own_rows(type(self))}
        for name in _parts(type(self)):
            values |= getattr(self, name).values_by_name()
        return values

    def with_values(self, **changes) -> Self:
        """Returns these settings with other values; names as of `of`."""
        parts = {name: getattr(self, name) for name in _parts(type(self)) if name in changes}
        names = [row.name for name in parts for row in all_rows(type(parts[name]))]
        values = {k: v for k, v in self.values_by_name().items() if k not in names}
        return self.of(**{**values, **changes})


def own_rows(settings_class: type[Settings]) -> list[Row]:
    """Returns the `Row` of each field that is a value, in order."""
    rows = []
    for field in dataclasses.fields(settings_class):
        if _is_part(field):
            continue
        is_list, value_type = _read_type(field.type)
        metadata = {}
        for base in reversed(settings_class.__mro__):
            fields = vars(base).get("__dataclass_fields__", {})
            if field.name in fields:
                metadata |= fields[field.name].metadata
        rows.append(Row(field.name, value_type, is_list, field.default, **metadata))
    return rows


def all_rows(settings_class: type[Settings]) -> list[Row]:
    """Returns the `Row` of each value of a class and of its parts."""
    return [row for _, rows in rows_by_class(settings_class) for row in rows]


def rows_by_class(settings_class: type[Settings]) -> list[tuple[type[Settings], list[Row]]]:
    """Returns pairs of a class, this one or that of a part, and the `Row` of each of its values."""
    pairs = [(settings_class, own_rows(settings_class))]
    for part in _parts(settings_class).values():
        pairs += rows_by_class(part)
    return pairs


def as_flags(settings: Settings, names: Iterable[str]) -> str:
    """Returns values of settings, or of whole parts, as a command's flags, one a line.

    As a `--flagfile` has them, but for a value with white space at its ends or a line break in it,
    which that form does not have.
    """
    values = settings.values_by_name()
    return "".join(_as_flag(name, values[name]) for name in _names_of_values(type(settings), names))


def _names_of_values(settings_class: type[Settings], names: Iterable[str]) -> list[str]:
    """Returns names, with those of its values in place of a part's."""
    parts, of_values = _parts(settings_class), []
    for name in names:
        of_values += [row.name for row in all_rows(parts[name])] if name in parts else [name]
    return of_values


def _as_flag(name: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return f"--{'' if value else 'no'}{name}\n"
    return f"--{name}={as_list(value) if isinstance(value, tuple) else value}\n"


def as_list(values: Iterable[Any]) -> str:
    """Returns values with commas between, in quotes where they have some, as absl reads lists."""
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(values)
    return text.getvalue()


def _as_plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return tuple(_as_plain(one) for one in value)
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _make(settings_class: type[AnySettings], values: Mapping[str, Any]) -> AnySettings:
    arguments = {
        row.name: values[row.name] for row in own_rows(settings_class) if row.name in values
    }
    for name, part in _parts(settings_class).items():
        arguments[name] = values[name] if name in values else _make(part, values)
    return settings_class(**arguments)


def _parts(settings_class: type[Settings]) -> dict[str, type[Settings]]:
    """Returns {name: class} of the fields that are settings themselves."""
    return {f.name: f.type for f in dataclasses.fields(settings_class) if _is_part(f)}


def _is_part(field: dataclasses.Field) -> bool:
    return isinstance(field.type, type) and issubclass(field.type, Settings)


def _read_type(annotation: Any) -> tuple[bool, type]:
    """Returns whether a type is that of many values, and the type of one of them."""
    if isinstance(annotation, types.UnionType):
        (annotation,) = (kind for kind in typing.get_args(annotation) if kind is not type(None))
    if typing.get_origin(annotation) is tuple:
        return True, typing.get_args(annotation)[0]
    return False, annotation
