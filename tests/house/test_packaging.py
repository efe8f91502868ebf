"""Wheel and source: what they hold, and that the wheel works where no checkout is."""

import configparser
import os
import pathlib
import subprocess
import sys
import sysconfig
import venv
import zipfile

import make_release
import pytest

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """The paths of wheel and source."""
    return make_release.build(tmp_path_factory.mktemp("dist"))


@pytest.mark.slow
def test_archives_hold_what_is_tracked_and_nothing_else(archives):
    make_release.check_contents(*archives)
    names = zipfile.ZipFile(archives[0]).namelist()
    for name in (
        "albert_tf/model/modeling.py",
        "albert_tf/pipelines/text/corpus.py",
        "albert_tf/configs/albert_xxlarge_v2.json",
        "albert_tf/configs/pretrain_demo.flags",
        "albert_tf/serving/server_page.html",
        "albert_tf/py.typed",
        "albert_tf/__init__.pyi",
    ):
        assert name in names


def test_archives_with_other_files_are_refused():
    make_release.compare("the wheel", {"a", "b"}, {"b", "a"})
    with pytest.raises(make_release.ReleaseError, match=r"without \['a'\], with \['c'\]"):
        make_release.compare("the wheel", {"b", "c"}, {"a", "b"})
    assert make_release.place_of("pipelines/text/corpus.py") == "albert_tf/pipelines/text/corpus.py"


def test_lowest_versions_are_those_of_the_metadata(tmp_path):
    def write_wheel(*requirements):
        path = tmp_path / "x.whl"
        lines = [f"Requires-Dist: {requirement}" for requirement in requirements]
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x-1.dist-info/METADATA", "Name: x\n" + "\n".join(lines) + "\n")
        return path

    extras = ('uvicorn<1,>=0.30; extra == "serve"', 'torch>=2; extra == "oracle"')
    wheel = write_wheel("keras<4,>=3.13", "tensorflow~=2.21.0", *extras)
    expected = {"keras": "3.13", "tensorflow": "2.21.0", "uvicorn": "0.30"}
    assert make_release.find_lowest(wheel) == expected
    with pytest.raises(make_release.ReleaseError, match="one lowest version. Received: keras<4"):
        make_release.find_lowest(write_wheel("keras<4"))


@pytest.mark.slow
def test_installed_wheel_works_outside_the_checkout(archives, tmp_path):
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    site = next((tmp_path / "venv" / "lib").glob("python*/site-packages"))
    zipfile.ZipFile(archives[0]).extractall(site)
    # The dependencies are those of this environment; installing them anew would test pip.
    (scripts,) = site.glob("*.dist-info/entry_points.txt")
    names = configparser.ConfigParser()
    names.read(scripts)
    assert names["console_scripts"]["albert-build-data"] == "albert_tf.console:build_data"
    (site / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"])
    (tmp_path / "pipelines").mkdir()  # a user's own folder, which must not shadow ours
    code = (
        "import albert_tf, importlib, pkgutil, albert_tf.pipelines.examples.records as r; "
        "rooms = [m for m in pkgutil.walk_packages(albert_tf.__path__, 'albert_tf.') if m.ispkg]; "
        "assert len(rooms) > 16, rooms; "
        "[importlib.import_module(m.name) for room in rooms for m in "
        "pkgutil.iter_modules(importlib.import_module(room.name).__path__, room.name + '.') "
        "if not m.name.rpartition('.')[2].startswith(('build_', 'inspect_'))]; "
        "config = albert_tf.AlbertConfig.from_preset('albert_tiny'); "
        "albert_tf.AlbertForPretraining(config); print(r.__file__)"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    shown = subprocess.run(
        [python, "-c", code],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
        env=environment,
    )
    assert pathlib.Path(shown.stdout.strip()).is_relative_to(site)


def test_public_names_are_all_there():
    import albert_tf

    for name in albert_tf.__all__:
        assert getattr(albert_tf, name).__name__ == name
    assert set(albert_tf.__all__) <= set(dir(albert_tf))
    with pytest.raises(AttributeError, match="no attribute 'Tokeniser'"):
        _ = albert_tf.Tokeniser


def test_importing_the_package_loads_no_tensorflow():
    code = "import albert_tf, sys; sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("from albert_tf.pipelines import pretraining", "pretraining_dataset"),
        ("from albert_tf.pipelines.text_examples import TextExample", "TextExample"),
        ("from albert_tf.inference import load_tokenizer", "load_tokenizer"),
        ("import albert_tf.pipelines.corpus", "read_documents"),
    ],
)
def test_paths_that_guides_printed_before_name_what_took_their_place(line, name):
    with pytest.raises(ImportError, match=f"use `from albert_tf import .*{name}"):
        exec(line)
