"""Runs the notebooks and writes what they print into them: `make notebooks`.

Each runs in a folder of its own, which goes with what it made.
"""

import os
import pathlib
import re
import sys
import tempfile

import nbclient
import nbformat

NOTEBOOKS = pathlib.Path(__file__).parent / "notebooks"


def run(path: pathlib.Path, folder: pathlib.Path) -> nbformat.NotebookNode:
    """Returns a notebook with the outputs of a run.

    Args:
        path: of the notebook, which stays as it is.
        folder: where it runs and writes.

    Raises:
        nbclient.exceptions.CellExecutionError: if a cell fails.
    """
    notebook = nbformat.read(path, as_version=4)
    # `python` in a cell is the one that runs this, whether or not its environment was entered.
    programs = os.path.dirname(sys.executable)
    path_of_programs = f"{programs}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path_of_programs, "TF_CPP_MIN_LOG_LEVEL": "3"}
    client = nbclient.NotebookClient(
        notebook, timeout=300, resources={"metadata": {"path": folder}}, coalesce_streams=True
    )
    client.execute(env=environment)
    for cell in notebook.cells:
        cell.metadata.clear()  # times of the run
        if cell.cell_type == "code":
            cell.execution_count = None
            # Without what libraries write to the error stream, here and there another thing.
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
            for output in cell.outputs:
                if "execution_count" in output:
                    output.execution_count = None
    notebook.metadata = {name: notebook.metadata[name] for name in ("kernelspec", "language_info")}
    return notebook


def printed(notebook: nbformat.NotebookNode) -> list[str]:
    """Returns what each code cell printed, with 0 for each number, which machines differ in."""
    texts = []
    for cell in notebook.cells:
        if cell.cell_type == "code":
            outputs = [output.get("text") or output.data["text/plain"] for output in cell.outputs]
            without_times = re.sub(r"(\d+ (h|min|s) )+left", "0 left", "".join(outputs))
            texts.append(re.sub(r"\d+([.,:]\d+)*", "0", without_times))
    return texts


def main() -> None:
    """Runs all of them, or those whose names are given."""
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        if sys.argv[1:] and path.stem not in sys.argv[1:]:
            continue
        print(path.name)
        with tempfile.TemporaryDirectory() as folder:
            notebook = run(path, pathlib.Path(folder))
        path.write_text(nbformat.writes(notebook, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
