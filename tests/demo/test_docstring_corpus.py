"""Prose from docstrings: what counts as prose, and the same output for every number of workers."""

import pathlib
import subprocess
import sys

import docstring_corpus
import pytest

from albert_tf.pipelines.text import corpus

MODULE = '''"""A module that turns the big wheel by hand, slowly and without any noise.

It has a second paragraph, which is as long as the first one and follows it.

    >>> turn(1)
    This line is output of code and it has quite enough letters to count.
"""

import this_package_does_not_exist


def turn(times):
    """Turns the `wheel` a number of *times*, as :func:`~a.b.push` does for the door.

    Args:
      times: How often the wheel is turned, which must be a small number
        or the operator of the wheel gets tired.
      speed: An integer.

    ```
    This fenced block is code although it has a lot of letters in its lines.
    ```

    Returns:
      The number of turns that were really made before somebody said stop.
    """


class Wheel:
    """A module that turns the big wheel by hand, slowly and without any noise."""

    def stop(self):
        """Stops."""
'''


def make_package(folder, name, modules):
    package = folder / name
    package.mkdir()
    for module, source in modules.items():
        (package / module).write_text(source)


def test_extract_prose_takes_paragraphs_in_order_and_drops_code_headings_and_short_ones(tmp_path):
    path = tmp_path / "wheel.py"
    path.write_text(MODULE)
    assert docstring_corpus.extract_prose(path) == [
        "A module that turns the big wheel by hand, slowly and without any noise.",
        "It has a second paragraph, which is as long as the first one and follows it.",
        "Turns the wheel a number of times, as a.b.push does for the door.",
        "How often the wheel is turned, which must be a small number or the operator of the wheel "
        "gets tired.",
        "The number of turns that were really made before somebody said stop.",
        "A module that turns the big wheel by hand, slowly and without any noise.",
    ]


def test_numpy_style_sections_give_their_descriptions():
    docstring = """Return it.

    Parameters
    ----------
    axis : int or tuple of int, optional
        The axis along which the wheels are counted, by default all of them together.
    """
    assert docstring_corpus.extract_paragraphs(docstring) == [
        "The axis along which the wheels are counted, by default all of them together."
    ]


@pytest.mark.parametrize("source", ["def broken(:", "x = 1", '"""\0"""', ""])
def test_source_without_docstrings_gives_nothing(tmp_path, source):
    path = tmp_path / "a.py"
    path.write_text(source)
    assert docstring_corpus.extract_prose(path) == []


def test_corpus_is_the_same_for_every_number_of_workers_and_reads_back(tmp_path, monkeypatch):
    make_package(tmp_path, "wheel_package", {"__init__.py": "", "a.py": MODULE, "b.py": MODULE})
    monkeypatch.syspath_prepend(tmp_path)
    totals, moves, contents = [], [], []
    for workers in (1, 2):
        output = tmp_path / f"out{workers}"
        (text,) = docstring_corpus.build_docstring_corpus(
            output,
            ["wheel_package", "package_that_is_not_there"],
            workers,
            on_bytes=moves.append,
            on_total=totals.append,
        )
        contents.append((output / "wheel_package.txt").read_text())
        assert sorted(path.name for path in output.iterdir()) == ["wheel_package.txt"]
    assert contents[0] == contents[1]
    assert sum(moves) == sum(totals)
    assert (text.documents, text.sentences, text.source_files) == (1, 5, 3)
    (document,) = corpus.read_file(text.path)
    assert document.sentences == contents[0].splitlines()
    assert "wheel_package" not in sys.modules


def test_tests_and_foreign_packages_are_left_out(tmp_path, monkeypatch):
    make_package(tmp_path, "wheels", {"__init__.py": "", "wheel_test.py": MODULE})
    make_package(tmp_path / "wheels", "tests", {"__init__.py": MODULE})
    monkeypatch.syspath_prepend(tmp_path)
    names = [pathlib.Path(p).name for p in docstring_corpus.find_source_files("wheels")]
    assert names == ["__init__.py"]
    standard_library = docstring_corpus.find_source_files("python")
    assert len(standard_library) > 100
    assert not any("site-packages" in path for path in standard_library)


def test_no_package_at_all_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="packages.*not_there"):
        docstring_corpus.build_docstring_corpus(tmp_path, ["not_there"])


def test_command_line_writes_the_text_and_a_summary(tmp_path):
    root = pathlib.Path(__file__).parents[2]
    command = [sys.executable, str(root / "demo" / "build_docstring_corpus.py")]
    command += [f"--output_dir={tmp_path}", "--packages=absl,not_there", "--num_workers=1"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root)
    assert "absl" in done.stdout
    assert "seconds" in done.stdout
    assert (tmp_path / "absl.txt").stat().st_size > 10_000


def test_paragraph_with_control_characters_is_left_out():
    paragraph = (
        "Strings that end with a zero byte \0 are padded by the library until they fill the "
        "whole field, as the format demands."
    )
    assert docstring_corpus.extract_paragraphs(paragraph) == []
    assert len(docstring_corpus.extract_paragraphs(paragraph.replace("\0", ""))) == 1
