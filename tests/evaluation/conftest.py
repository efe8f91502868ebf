"""What the tests of evaluation share."""

import pytest
from samples import TESTDATA, VOCABULARY

from albert_tf.model.language_models import AlbertForPretraining
from albert_tf.pipelines.building import build
from albert_tf.pipelines.building.example_options import BuildOptions


@pytest.fixture(scope="session")
def model(pretrained):
    """The model of `pretrained`."""
    return AlbertForPretraining.from_pretrained(pretrained)


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """Folders of the same text, {"records": path, "tokens": path}."""
    paths = {}
    for name in ("records", "tokens"):
        paths[name] = tmp_path_factory.mktemp(name)
        values = {"max_seq_length": 32} if name == "records" else {}
        build.build_examples(
            BuildOptions(
                input=(str(TESTDATA / "corpus" / "*book*.txt"),),
                vocab_model=str(VOCABULARY),
                num_workers=1,
                held_out_fraction=0.2,
                format=name,
                output_dir=str(paths[name]),
                **values,
            )
        )
    return paths
