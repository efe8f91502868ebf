"""Every file in configs/ is read by something: architectures by AlbertConfig, recipes by flags."""

import ast
import pathlib
import re

import pytest

from albert_tf.config import AlbertConfig, preset_names

ROOT = pathlib.Path(__file__).parents[2]
RECIPES = sorted((ROOT / "configs").glob("*.flags"))
PARSERS = {
    "integer": int,
    "float": float,
    "bool": {"true": True, "false": False}.__getitem__,
    "string": str,
    "list": str,
}


def flags_of(command):
    """Returns {flag: its kind} of a module's source: two modules cannot define a flag together."""
    tree = ast.parse((ROOT / "albert_tf" / f"{command}.py").read_text(encoding="utf-8"))
    return {
        node.args[0].value: node.func.attr.removeprefix("DEFINE_")
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("flags.DEFINE_")
    }


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
    known = flags_of(command)
    # What the header tells to type, too.
    for name in re.findall(rf"albert_tf\.{command}((?:.|\n#  )*?)\n#\n", header):
        assert set(re.findall(r"--(\w+)", name)) - {"flagfile"} <= known.keys()
    for line in lines:
        if line and not line.startswith("#"):
            name, equals, value = line.removeprefix("--").partition("=")
            if known.get(name.removeprefix("no")) == "bool":
                name = name.removeprefix("no")
            assert name in known, f"{path.name}: no flag {name}"
            PARSERS[known[name]](value if equals or known[name] != "bool" else "true")
