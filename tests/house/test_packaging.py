"""The wheel: what it holds, and that it works where no checkout is."""

import configparser
import os
import pathlib
import subprocess
import sys
import sysconfig
import venv
import zipfile

import pytest

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        # By way of the source distribution, so that nothing of an earlier build/ gets in.
        [sys.executable, "-m", "build", f"--outdir={folder}", str(ROOT)],
        check=True,
        capture_output=True,
    )
    (path,) = folder.glob("*.whl")
    return path


@pytest.mark.slow
def test_wheel_holds_packages_and_configs_under_one_name(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"albert_tf"}
    for name in (
        "albert_tf/model/modeling.py",
        "albert_tf/pipelines/text/corpus.py",
        "albert_tf/configs/albert_xxlarge_v2.json",
        "albert_tf/configs/pretrain_demo.flags",
        "albert_tf/serving/server_page.html",
        "albert_tf/py.typed",
    ):
        assert name in names


@pytest.mark.slow
def test_installed_wheel_works_outside_the_checkout(wheel, tmp_path):
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    site = next((tmp_path / "venv" / "lib").glob("python*/site-packages"))
    zipfile.ZipFile(wheel).extractall(site)
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
