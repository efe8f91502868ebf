"""The worked examples of docs/languages.md give what the guide says."""

import doctest
import pathlib
import shutil

import pytest

ROOT = pathlib.Path(__file__).parents[2]
TESTDATA = ROOT / "tests" / "testdata" / "languages"
STAND_INS = {
    "german.txt": "de_par.txt",
    "japanese.txt": "ja_sent.txt",
    "hindi.txt": "hi_sent.txt",
}


@pytest.mark.slow
def test_the_worked_examples_give_what_the_guide_says(tmp_path, monkeypatch):
    for name, source in STAND_INS.items():
        shutil.copy(TESTDATA / source, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    result = doctest.testfile(
        str(ROOT / "docs" / "languages.md"), module_relative=False, encoding="utf-8"
    )
    assert result.attempted >= 15
    assert result.failed == 0
