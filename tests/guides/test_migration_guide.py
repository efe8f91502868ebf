"""docs/migration.md says of names of other code what the package says."""

import pathlib
import re
import subprocess
import sys

import pytest

import albert_tf
from albert_tf import other_option_names

ROOT = pathlib.Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "migration.md").read_text(encoding="utf-8")


def test_flags_of_google_are_those_that_commands_know():
    section = GUIDE.partition("| their flag |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", section, flags=re.M)
    assert len(rows) > 40
    for theirs, ours in rows:
        assert ours.replace("`", "") == other_option_names.find(theirs), theirs


def test_names_in_the_tables_are_public():
    for cell in re.findall(r"^\|[^|]*\|([^|]*)\|", GUIDE, flags=re.M):
        for name in re.findall(r"`((?:Albert|Text|Fill|Class|Token|Tag|Answ|Feat)\w+)`", cell):
            assert name in albert_tf.__all__, name


@pytest.mark.parametrize("script", ["run_classifier", "run_squad_v2", "create_pretraining_data"])
def test_a_script_of_google_is_met_with_the_command(script):
    done = subprocess.run(
        [sys.executable, "-c", f"import albert_tf.{script}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    last = done.stderr.splitlines()[-1]
    command = re.fullmatch(r"ImportError: here it is python -m (albert_tf[\w.]+).*", last)[1]
    assert command in GUIDE
