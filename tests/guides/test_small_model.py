"""The model that lies in the repository answers, and is what its guides say."""

import math
import pathlib
import re

import pytest

from albert_tf import FillMask
from albert_tf.checkpoints import model_directory
from albert_tf.config import AlbertConfig

ROOT = pathlib.Path(__file__).parents[2]
FOLDER = ROOT / "demo" / "albert_small"


@pytest.fixture(scope="module")
def fill_mask():
    return FillMask.from_pretrained(str(FOLDER))


def test_it_is_of_the_preset_and_small_enough_for_a_repository(fill_mask):
    config = fill_mask.model.config
    assert config == AlbertConfig.from_preset("albert_small")
    tensors, _, _ = model_directory.open_weights(FOLDER)
    parameters = sum(math.prod(tensor.shape) for tensor in tensors.values())
    assert f"{parameters:,} parameters" in (FOLDER / "README.md").read_text(encoding="utf-8")
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 4e6


@pytest.mark.parametrize(
    "text, word",
    [
        ("She closed the [MASK] behind her.", "door"),
        ("The king and the [MASK] lived in a castle.", "queen"),
        ("Water is made of hydrogen and [MASK].", "oxygen"),
        ("Berlin is the capital of [MASK].", "germany"),
        ("Mr. Brown lost his hat. The next day Mr. [MASK] found it.", "brown"),
    ],
)
def test_it_finds_words(fill_mask, text, word):
    assert word in [answer["token_str"] for answer in fill_mask(text, top_k=5)]


def test_readme_and_guide_have_the_same_figures():
    guide = (ROOT / "docs" / "small_models.md").read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    measured = readme.partition("**Measured:**")[2].partition("```")[0]
    figures = re.findall(r"\d+\.\d%?", measured)
    assert len(figures) > 3
    for figure in figures:
        assert figure.rstrip("%") in guide, figure
