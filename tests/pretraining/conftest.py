"""What the tests of pretraining share."""

import json

import pytest
from samples import tiny_config
from tiny_pretraining import make_examples, make_run, write_records

from albert_tf.pretraining import pretrain


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory, tokenizer):
    """What build_pretraining_data leaves, with records that a tiny model learns at once."""
    directory = tmp_path_factory.mktemp("records")
    for name, count, seed in (("train", 512, 0), ("held_out", 16, 1), ("held_out_single", 16, 2)):
        write_records(
            directory / f"{name}-00000-of-00001.tfrecord", make_examples(tokenizer, count, seed)
        )
    tokenizer.save(directory / "vocab.model")
    summary = {"vocab_fingerprint": tokenizer.fingerprint}
    (directory / "summary.json").write_text(json.dumps(summary))
    return directory


@pytest.fixture(scope="session")
def config_file(tmp_path_factory):
    """The file of `tiny_config`."""
    path = tmp_path_factory.mktemp("config") / "config.json"
    path.write_text(tiny_config().to_json_string())
    return path


@pytest.fixture(scope="session")
def finished(tmp_path_factory, data_dir, config_file):
    """A run of six steps, to be read and not written to: its folder, results and lines."""
    output_dir = tmp_path_factory.mktemp("runs") / "model"
    lines = []
    results = pretrain.pretrain(
        make_run(data_dir, config_file, output_dir, eval_by_kind=True),
        flags_text="--a=1\n",
        report=lines.append,
    )
    return output_dir, results, lines
