"""The notebooks run, and print what is kept in them, numbers apart."""

import importlib.util
import pathlib

import nbformat
import pytest

ROOT = pathlib.Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))


@pytest.fixture(scope="module")
def run_notebooks():
    path = ROOT / "docs" / "run_notebooks.py"
    specification = importlib.util.spec_from_file_location("run_notebooks", path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_run_prints_what_is_kept(run_notebooks, monkeypatch, tmp_path, path):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    kept = nbformat.read(path, as_version=4)
    nbformat.validate(kept)
    fresh = run_notebooks.run(path, tmp_path)
    assert run_notebooks.printed(fresh) == run_notebooks.printed(kept), "make notebooks keeps it"


def test_only_what_code_printed_is_kept():
    assert len(NOTEBOOKS) == 3
    for path in NOTEBOOKS:
        notebook = nbformat.read(path, as_version=4)
        code = [cell for cell in notebook.cells if cell.cell_type == "code"]
        assert any(cell.outputs for cell in code), path
        assert path.stat().st_size < 20_000, path
        for cell in code:
            assert cell.execution_count is None and not cell.metadata, path
            assert all(output.get("name") != "stderr" for output in cell.outputs), path
