"""Every file in configs/ is read by something: architectures by AlbertConfig, recipes by flags."""

import pathlib
import re

import pytest
from absl import flags

from albert_tf import command_line
from albert_tf.config import AlbertConfig, preset_names
from albert_tf.finetuning.settings import FinetuningRun
from albert_tf.pretraining.settings import PretrainingRun

ROOT = pathlib.Path(__file__).parents[2]
RECIPES = sorted((ROOT / "configs").glob("*.flags"))
RUNS = {"run_pretraining": PretrainingRun, "run_finetuning": FinetuningRun}


def test_every_architecture_is_a_preset():
    assert {path.stem for path in (ROOT / "configs").glob("*.json")} == set(preset_names())
    for name in preset_names():
        assert AlbertConfig.from_preset(name).to_dict()


@pytest.mark.parametrize("path", RECIPES, ids=[path.stem for path in RECIPES])
def test_recipe_parses_and_says_how_it_is_run(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    header = "\n".join(line for line in lines if line.startswith("#"))
    (command,) = set(re.findall(r"python -m albert_tf\.(run_\w+)", header))
    assert f"--flagfile=configs/{path.name}" in header
    known = flags.FlagValues()
    command_line.define_flags(RUNS[command], flag_values=known)
    # What the header tells to type, too.
    for name in re.findall(rf"albert_tf\.{command}((?:.|\n#  )*?)\n#\n", header):
        assert set(re.findall(r"--(\w+)", name)) - {"flagfile"} <= set(known)
    known([command, "--output_dir=out", *(line for line in lines if line.startswith("--"))])
