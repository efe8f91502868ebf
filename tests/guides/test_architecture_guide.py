"""What docs/architecture.md shows of Keras on JAX runs as it stands, without TensorFlow."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
WITHOUT_TENSORFLOW = (
    "import sys; import walk_on_jax as w; sys.meta_path.insert(0, w.NoTensorFlow())"
)


@pytest.mark.oracle  # which installs JAX
def test_the_example_on_jax_runs(tmp_path):
    guide = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    code = re.search(r"^## With JAX$.*?^```python\n(.*?)^```", guide, flags=re.M | re.S)[1]
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "testdata")])
    environment = {**os.environ, "PYTHONPATH": paths}
    done = subprocess.run(
        [sys.executable, "-c", f"{WITHOUT_TENSORFLOW}\n{code}"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "on_jax" / "model.safetensors").is_file()
