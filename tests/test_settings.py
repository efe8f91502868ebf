"""Settings classes: default, help text and rule said once, and flags that are made of them."""

import dataclasses
import pathlib
import re

import pytest
from absl import flags

from albert_tf import command_line, settings
from albert_tf.finetuning.settings import FinetuningRun
from albert_tf.pretraining.settings import PretrainingRun
from albert_tf.setting_checks import check_positive
from albert_tf.settings import Settings, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class Oven(Settings):
    degrees: float = setting(180.0, "Heat.", check_positive)
    trays: int = setting(1, "Trays at a time, see `bakes`.", lowest=1, highest=3)
    mode: str | None = setting(None, "By default as it was.", choices=("air", "grill"))


@dataclasses.dataclass(frozen=True, kw_only=True)
class HotOven(Oven):
    degrees: float = 250.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bakery(Settings):
    name: str = setting(help_text="Over the door.")
    bakes: bool = setting(True, "With `bakes=False` it sells alone.")
    loaves: tuple[str, ...] = setting(("rye",), "What there is.", choices=("rye", "wheat"))
    hours: tuple[int, ...] = setting((6, 18), "From and to.")
    oven: HotOven


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"degrees": -1.0}, "`degrees` must be positive. Received: -1.0"),
        ({"degrees": None}, "`degrees` must be a number. Received: None"),
        ({"degrees": "180"}, "`degrees` must be a number. Received: '180'"),
        ({"bakes": 1}, "`bakes` must be True or False. Received: 1"),
        ({"hours": (6, "18")}, "`hours` must be a whole number. Received: '18'"),
        ({"mode": 3}, "`mode` must be a string. Received: 3"),
        ({"oven": 3}, "`oven` must be HotOven. Received: 3"),
        ({"trays": 4}, "`trays` must be an integer from 1 to 3. Received: 4"),
        ({"trays": True}, "`trays` must be an integer from 1 to 3. Received: True"),
        ({"mode": "steam"}, "`mode` must be one of air, grill. Received: 'steam'"),
        ({"loaves": ("rye", "oat")}, "`loaves` must be one of rye, wheat. Received: 'oat'"),
        ({"loaves": "rye"}, "`loaves` must be a list of values. Received: 'rye'"),
        ({"heat": 1}, "`heat` is not a setting: there are bakes, degrees, "),
        ({"degree": 1.0}, "`degree` is not a setting: did you mean `degrees`"),
    ],
)
def test_a_wrong_value_is_named_with_what_was_expected(values, message):
    with pytest.raises(ValueError, match=message):
        Bakery.of(name="x", **values)


def test_a_subclass_changes_a_default_and_keeps_help_and_rule():
    (row,) = (row for row in settings.all_rows(Bakery) if row.name == "degrees")
    assert (row.default, row.help_text) == (250.0, "Heat.")
    assert (HotOven().degrees, Oven().degrees) == (250.0, 180.0)
    with pytest.raises(ValueError, match="`degrees` must be positive"):
        HotOven(degrees=0.0)


def test_values_by_name_find_their_parts_and_come_back():
    bakery = Bakery.of(name="x", trays=2)
    assert (bakery.oven.trays, bakery.oven.degrees, bakery.hours) == (2, 250.0, (6, 18))
    assert Bakery.of(**bakery.values_by_name()) == bakery
    assert bakery.with_values(trays=3, name="y") == Bakery.of(name="y", trays=3)
    whole = bakery.with_values(oven=HotOven(mode="air"))
    assert whole == Bakery.of(name="x", mode="air")


@pytest.fixture
def bakery_flags():
    """Flags of a command that has those of `Bakery` alone."""
    own = flags.FlagValues()
    command_line.define_flags(Bakery, flag_values=own)
    return own


def test_flags_have_names_types_defaults_and_help_of_the_settings(bakery_flags):
    assert {name: bakery_flags[name].flag_type() for name in bakery_flags} == {
        "name": "string",
        "bakes": "bool",
        "loaves": "comma separated list of strings",
        "hours": "comma separated list of strings",
        "degrees": "float",
        "trays": "int",
        "mode": "string enum",
    }
    assert bakery_flags["bakes"].help == "With --nobakes it sells alone."
    assert bakery_flags["trays"].help == "Trays at a time, see --bakes."
    assert bakery_flags["loaves"].help == "What there is. Any of rye, wheat."
    assert bakery_flags["mode"].help == "<air|grill>: By default as it was."


def test_settings_come_of_flags(bakery_flags):
    with pytest.raises(flags.IllegalFlagValueError, match="--name=None: Flag --name must have"):
        bakery_flags(["bakery"])
    bakery_flags(["bakery", "--name=x"])
    assert command_line.settings_from_flags(Bakery, bakery_flags) == Bakery.of(name="x")
    bakery_flags(["bakery", "--name=x", "--nobakes", "--hours=7,8", "--loaves=wheat", "--trays=2"])
    assert command_line.settings_from_flags(Bakery, bakery_flags) == Bakery.of(
        name="x", bakes=False, hours=(7, 8), loaves=("wheat",), trays=2
    )
    bakery_flags(["bakery", "--hours=noon"])
    with pytest.raises(ValueError, match="`hours` must be numbers from 0 on. Received: noon"):
        command_line.settings_from_flags(Bakery, bakery_flags)


def test_lists_and_paths_do_for_tuples_and_strings():
    given = {"task": "mrpc", "seeds": [0, 1], "output_dir": pathlib.Path("runs") / "a"}
    run = FinetuningRun.of(**given, init_checkpoint="random", predict_test=True, train=True)
    assert run.seeds == (0, 1) and run.output_dir == "runs/a"
    names = [*given, "predict_test", "data_dir"]
    assert settings.as_flags(run, names) == (
        "--task=mrpc\n--seeds=0,1\n--output_dir=runs/a\n--predict_test\n"
    )
    with pytest.raises(ValueError, match="`seeds` must be a list of values. Received: 3"):
        FinetuningRun.of(**{**given, "seeds": 3})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sign(Settings):
    words: tuple[str, ...] = setting((), "What it says.")
    oven: HotOven


def test_flags_of_settings_are_read_as_those_settings():
    sign = Sign.of(words=["rye, dark", 'the "best"', "wheat"], oven=HotOven(trays=2))
    own = flags.FlagValues()
    command_line.define_flags(Sign, flag_values=own)
    own(["sign", *settings.as_flags(sign, ["words", "oven"]).splitlines()])
    assert command_line.settings_from_flags(Sign, own) == sign


@pytest.mark.parametrize("run_class", [PretrainingRun, FinetuningRun])
def test_every_setting_of_a_run_has_a_name_of_its_own_and_a_help_text(run_class):
    rows = settings.all_rows(run_class)
    names = {row.name for row in rows}
    assert len(names) == len(rows)
    assert not names & settings._parts(run_class).keys()
    for row in rows:
        assert row.help_text.endswith((".", "...")), row.name
        assert not re.search("--", row.help_text), row.name
