"""Programs that XLA compiled are kept for later processes."""

import os
import subprocess
import sys

import pytest

from albert_tf import compilation_cache
from albert_tf.compilation_cache import CompilationSettings

PROGRAM = """
import sys
from albert_tf import compilation_cache
settings = compilation_cache.CompilationSettings(compilation_cache=sys.argv[1])
compilation_cache.keep_programs(settings)
import tensorflow as tf
print(float(tf.function(lambda x: tf.sin(x) * 2, jit_compile=True)(tf.zeros([9]))[0]))
"""


@pytest.fixture
def without_tensorflow(monkeypatch):
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)


def test_the_folder_is_what_tensorflow_will_read(without_tensorflow, monkeypatch, tmp_path):
    monkeypatch.setenv("TF_XLA_FLAGS", "--tf_xla_max_cluster_size=9")
    compilation_cache.keep_programs(CompilationSettings(compilation_cache=str(tmp_path / "a b")))
    (folder,) = (tmp_path / "a b").iterdir()
    assert folder.name.startswith("tensorflow-2.")
    assert os.environ["TF_XLA_FLAGS"] == (
        f"--tf_xla_max_cluster_size=9 --tf_xla_persistent_cache_directory='{folder}'"
    )


def test_without_a_folder_nothing_is_kept(without_tensorflow, monkeypatch):
    monkeypatch.delenv("TF_XLA_FLAGS", raising=False)
    compilation_cache.keep_programs(CompilationSettings())
    assert "TF_XLA_FLAGS" not in os.environ


def test_it_comes_too_late_after_tensorflow(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tensorflow", object())
    with pytest.raises(ValueError, match="before TensorFlow is imported"):
        compilation_cache.keep_programs(CompilationSettings(compilation_cache=str(tmp_path)))


@pytest.mark.slow
def test_another_process_reads_the_programs(tmp_path):
    def run():
        command = [sys.executable, "-c", PROGRAM, str(tmp_path / "a b")]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    assert run().stdout == "0.0\n"
    (program,) = (tmp_path / "a b").glob("*/*.pb")
    assert run().stdout == "0.0\n"
    assert list((tmp_path / "a b").glob("*/*.pb")) == [program]
    program.write_bytes(b"damaged")
    assert run().returncode  # who compiled by itself would not see that
