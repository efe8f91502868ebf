"""Options of builds on Apache Beam, without it; tests/oracles/test_beam.py has it run."""

import dataclasses
import sys

import pytest
from samples import TESTDATA, VOCABULARY

from albert_tf.pipelines.building import build
from albert_tf.pipelines.building.example_options import BuildOptions

OPTIONS = BuildOptions(
    input=(str(TESTDATA / "corpus" / "wiki_00"),),
    vocab_model=str(VOCABULARY),
    output_dir="",
    num_tasks=2,
    beam_runner="DirectRunner",
)


def test_without_the_extra_its_name_is_said(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    options = dataclasses.replace(OPTIONS, output_dir=str(tmp_path / "out"))
    with pytest.raises(ValueError, match=r"pip install 'albert_tf\[beam\]'"):
        build.build_examples(options)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_tasks": None}, "`beam_runner` must be given with `num_tasks`"),
        ({"task_index": 1}, "without `task_index`. Received: 2 and 1"),
        (
            {"beam_runner": None, "num_tasks": None, "beam_options": "--region=x"},
            "`beam_options` must be given with `beam_runner`. Received: '--region=x' alone",
        ),
    ],
)
def test_options_of_beam_go_with_its_runner(tmp_path, changes, message):
    options = dataclasses.replace(OPTIONS, output_dir=str(tmp_path / "out"), **changes)
    with pytest.raises(ValueError, match=message):
        build.build_examples(options)
