"""What the tests of inspection share."""

import shutil

import pytest
from samples import TESTDATA, VOCABULARY

from albert_tf.pipelines.building import build
from albert_tf.pipelines.building.example_options import BuildOptions


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """Folders of the same text, {"records": path, "tokens": path}, to be read alone."""
    paths = {}
    for name, changes in (("records", {"max_seq_length": 16, "num_shards": 2}), ("tokens", {})):
        paths[name] = tmp_path_factory.mktemp(name)
        options = BuildOptions(
            input=(str(TESTDATA / "corpus" / "*"),),
            vocab_model=str(VOCABULARY),
            num_workers=1,
            held_out_fraction=0.2,
            format=name,
            output_dir=str(paths[name]),
            **changes,
        )
        build.build_examples(options)
    return paths


@pytest.fixture
def copies(built, tmp_path):
    """The same folders, to be damaged."""
    return {name: shutil.copytree(path, tmp_path / f"of_{name}") for name, path in built.items()}
