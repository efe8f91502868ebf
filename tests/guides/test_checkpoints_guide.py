"""What a reader types from docs/checkpoints.md works, on stand-ins for the files that it names."""

import importlib.util
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tarfile

import pytest
from hub_server import running_hub
from samples import VOCABULARY

from albert_tf import AlbertConfig, Tokenizer
from albert_tf.conversion.sources import open_source

ROOT = pathlib.Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "checkpoints.md").read_text(encoding="utf-8")

pytestmark = pytest.mark.slow


def load(name):
    specification = importlib.util.spec_from_file_location(
        name, ROOT / "tests" / "conversion" / f"{name}.py"
    )
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def commands():
    for block in re.findall(r"^```sh\n(.*?)^```", GUIDE, flags=re.M | re.S):
        yield from block.replace("\\\n", " ").splitlines()


def run(words, folder, **variables):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{words}:\n{done.stderr[-2000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A reader's folder with small stand-ins."""
    folder = tmp_path_factory.mktemp("reader")
    writer = load("test_convert")
    writer.make_google(folder / "albert_base", slots=True)
    vocabulary = VOCABULARY
    shutil.copy(vocabulary, folder / "albert_base" / "30k-clean.model")
    shutil.copy(vocabulary, folder / "30k-clean.model")
    with tarfile.open(folder / "albert_base_v2.tar.gz", "w:gz") as archive:
        archive.add(folder / "albert_base", "albert_base")
    writer.make_google(folder / "fine_tuned", ["classification"])
    vocab_size = Tokenizer(VOCABULARY).vocab_size
    sizes = {**writer.SIZES, "vocab_size": vocab_size, "hidden_act": "gelu_new"}
    (folder / "encoder.json").write_text(AlbertConfig(**sizes).to_json_string())
    writer.make_tf_hub(folder / "tf_hub_encoder", vocab_size)
    golden = ROOT / "tests" / "testdata" / "golden"
    shutil.copytree(golden / "keras_hub", folder / "keras_hub_preset")
    return folder


def test_commands_of_the_guide_run_in_their_order(folder, pretrained):
    ran = []
    for command in commands():
        words = shlex.split(command)
        if words[2] != "albert_tf.run_conversion":  # what would train for hours
            helped = run([sys.executable, *words[1:3], "--help"], folder)
            for word in words[3:]:
                flag = word.split("=")[0].removeprefix("--")
                assert re.search(rf"--(\[no\])?{flag}:", helped), word
            continue
        assert "verified" in run([sys.executable, *words[1:]], folder)
        ran.append(next(word for word in words if word.startswith("--output=")))
    assert len(ran) == 8
    assert open_source(folder / "google" / "base").kind == "TensorFlow 1 checkpoint"
    groups = json.loads((folder / "models" / "unshared" / "config.json").read_text())
    assert groups["num_hidden_groups"] == groups["num_hidden_layers"]
    model = {path.name: path.read_bytes() for path in pretrained.iterdir()}
    with running_hub() as hub:
        hub.add("albert/albert-base-v2", model)
        variables = {"HF_ENDPOINT": hub.address, "HF_HUB_OFFLINE": "0", "HF_TOKEN": "hf_x"}
        for block in re.findall(r"^```python\n(.*?)^```", GUIDE, flags=re.M | re.S):
            run([sys.executable, "-c", block], folder, HF_HOME=str(folder / "home"), **variables)
    assert "model.safetensors" in hub.pushed["me/mine"]
    assert (folder / "models" / "copy" / "model.safetensors").exists()
