"""Every file in configs/ is read by something: architectures by AlbertConfig, recipes by flags."""

import pathlib

import pytest
from absl import flags

from albert_tf import run_pretraining  # noqa: F401 - defines the flags
from albert_tf.config import AlbertConfig, preset_names

CONFIGS = pathlib.Path(__file__).parents[1] / "configs"
RECIPES = sorted(CONFIGS.glob("*.flags"))


def test_every_architecture_is_a_preset():
    assert {path.stem for path in CONFIGS.glob("*.json")} == set(preset_names())
    for name in preset_names():
        assert AlbertConfig.from_preset(name).to_dict()


@pytest.mark.parametrize("path", RECIPES, ids=[path.stem for path in RECIPES])
def test_recipe_parses_and_says_how_it_is_run(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    header = [line for line in lines if line.startswith("#")]
    assert any(f"--flagfile=configs/{path.name}" in line for line in header)
    for line in lines:
        if line and not line.startswith("#"):
            name, _, value = line.removeprefix("--").partition("=")
            assert name in flags.FLAGS, f"{path.name}: no flag {name}"
            flags.FLAGS[name].parser.parse(value)
