"""A pretraining run on stored tokens: as on records, with examples that are made on the way."""

import dataclasses
import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from samples import TESTDATA, VOCABULARY
from tiny_pretraining import make_run

from albert_tf.checkpoints.safetensors_files import read_safetensors
from albert_tf.config import AlbertConfig
from albert_tf.embedding_tables.changes import TableChanges
from albert_tf.model import initial_attention
from albert_tf.pipelines.building import build
from albert_tf.pipelines.building.example_options import BuildOptions
from albert_tf.pipelines.tokenizer.tokenization import Tokenizer
from albert_tf.pretraining import counted_words, pretrain, run_data, start

pytestmark = pytest.mark.usefixtures("undrawn")

EXAMPLES = {"max_seq_length": 16, "masked_lm_prob": 0.2, "ngram": 1}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Folders of the same text, {"records": path, "tokens": path}."""
    values = {
        "input": (str(TESTDATA / "corpus" / "*book*.txt"),),
        "vocab_model": str(VOCABULARY),
        "num_workers": 1,
        "held_out_fraction": 0.2,
    }
    paths = {}
    for name, changes in (("records", EXAMPLES), ("tokens", {})):
        paths[name] = tmp_path_factory.mktemp(name)
        options = BuildOptions(**values, **changes, format=name, output_dir=str(paths[name]))
        build.build_examples(options)
    return paths


@pytest.fixture(scope="module")
def whole(folders, config_file, tmp_path_factory):
    """A run of six steps: its folder, and its results."""
    output_dir = tmp_path_factory.mktemp("runs") / "whole"
    run = make_run(folders["tokens"], config_file, output_dir, **EXAMPLES)
    return output_dir, pretrain.pretrain(run, report=lambda line: None)


def test_a_run_on_tokens_ends_with_a_model_and_its_figures(whole):
    output_dir, results = whole
    assert set(results) == {"held_out", "held_out_single"}
    assert (output_dir / "model.safetensors").is_file()
    described = json.loads((output_dir / "run.json").read_text())["data"]
    assert described["examples"]["max_seq_length"] == 16
    assert described["examples"]["max_predictions_per_seq"] == 3
    assert described["train_examples"] > 8


def test_held_out_figures_are_of_the_examples_of_records(folders, config_file):
    batches = {}
    for name, path in folders.items():
        examples = EXAMPLES if name == "tokens" else {}
        data = run_data.find(make_run(path, config_file, "out", **examples))
        assert (data.max_seq_length, data.max_predictions_per_seq) == (16, 3)
        (batch,) = data.held_out_batches(10_000, 340)["held_out"].as_numpy_iterator()
        batches[name] = batch
    for key, values in batches["records"].items():
        np.testing.assert_array_equal(values, batches["tokens"][key], err_msg=key)


def test_workers_make_their_share_of_a_batch(folders, config_file):
    data = run_data.find(make_run(folders["tokens"], config_file, "out", **EXAMPLES))
    (whole,) = data.training_batches(12, 0, 24, None, 340).take(1).as_numpy_iterator()
    for worker in range(3):
        rows = np.arange(worker, 12, 3)
        (part,) = data.training_batches(12, 0, 24, rows, 340).take(1).as_numpy_iterator()
        for key, values in part.items():
            np.testing.assert_array_equal(values, whole[key][rows], err_msg=key)


@pytest.mark.parametrize(
    ("form", "changes", "message"),
    [
        ("records", {"max_seq_length": 16}, "`max_seq_length` must be given to build_pretrain"),
        ("records", {"ngram": 3, "masked_lm_prob": 0.1}, "`masked_lm_prob`, `ngram` must be"),
        (
            "records",
            {"pack": True, "ngram": 2},
            "ngram` must .*, or here; `pack` must be given with",
        ),
        ("records", {"initial_words": "counted"}, "`initial_words` must be given with stored"),
        ("tokens", {"max_predictions_per_seq": 512}, "`max_predictions_per_seq` must be from 1"),
        ("tokens", {"masked_lm_prob": 1.5}, "`masked_lm_prob` must be above 0 and below 1"),
        ("tokens", {"max_seq_length": 4096}, "max_seq_length` of the examples must not exceed"),
    ],
)
def test_settings_that_do_not_fit_the_form_of_the_data_are_refused(
    folders, config_file, tmp_path, form, changes, message
):
    with pytest.raises(ValueError, match=message):
        pretrain.pretrain(
            make_run(folders[form], config_file, tmp_path / "out", **changes),
            report=lambda line: None,
        )


@pytest.fixture
def damaged(folders, config_file, tmp_path):
    """A function that changes a value of a file of tokens and trains on them."""

    def train(array, place, change):
        shutil.copytree(folders["tokens"], tmp_path / "tokens")
        (path,) = (tmp_path / "tokens").glob(f"train-*.{array}.npy")
        values = np.load(path)
        values[place] = change(values)
        np.save(path, values)
        run = make_run(tmp_path / "tokens", config_file, tmp_path / "out", **EXAMPLES)
        pretrain.pretrain(run, report=lambda line: None)

    return train


def test_a_flipped_bit_of_the_ids_is_named_by_its_file(damaged):
    with pytest.raises(ValueError, match=r"train-\S+ids.npy must have the checksum .*is kept"):
        damaged("ids", slice(None, None, 7), lambda ids: ids[::7] | 0x4000)


@pytest.mark.parametrize("array", ["sentences", "documents"])
def test_ends_that_do_not_ascend_are_refused(damaged, array):
    with pytest.raises(ValueError, match=rf"{array}.npy must hold (ascending )?ends"):
        damaged(array, 0, lambda ends: ends[0] | 1 << 29)


def test_another_length_is_another_run(whole, folders, config_file):
    with pytest.raises(ValueError, match="data.examples.max_seq_length: 16 there, 24 asked for"):
        pretrain.pretrain(
            make_run(
                folders["tokens"], config_file, whole[0], **{**EXAMPLES, "max_seq_length": 24}
            ),
            report=lambda line: None,
        )


@pytest.mark.slow
def test_counted_words_are_a_start_that_is_made_once(folders, config_file, tmp_path, monkeypatch):
    changes = {**EXAMPLES, "initial_words": "counted", "checkpoint_steps": 1, "learning_rate": 0.0}
    lines = []
    run = make_run(folders["tokens"], config_file, tmp_path / "run", **changes, steps=3)
    pretrain.pretrain(run, report=lines.append)
    assert [line for line in lines if line.startswith("word vectors from counts: ")]
    table = read_safetensors(tmp_path / "run" / "model.safetensors")[
        "albert.embeddings.word_embeddings.weight"
    ]
    tokenizer = Tokenizer(str(VOCABULARY))
    data = run_data.find(run)
    counted = counted_words.make_vectors(data.training_shards(), *table.shape)
    seen = counted.any(axis=1)
    assert not seen[[tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id]].any()
    size = 0.1 * np.sqrt(table.shape[1])  # of random vectors
    np.testing.assert_allclose(table[seen], size * counted[seen], atol=1e-6)
    assert np.linalg.norm(table[tokenizer.mask_id]) == pytest.approx(size, rel=0.5)

    monkeypatch.setattr(counted_words, "make_vectors", None)
    longer = make_run(folders["tokens"], config_file, tmp_path / "run", **changes, steps=4)
    pretrain.pretrain(longer, report=lambda line: None)  # goes on, counts nothing


def test_counted_words_leave_positions_and_segments_their_dimensions(folders, tmp_path):
    config = dataclasses.replace(AlbertConfig.from_preset("albert_mini"), vocab_size=340)
    run = make_run(
        folders["tokens"],
        "albert_mini",
        tmp_path,
        **EXAMPLES,
        initial_attention="pointed",
        initial_words="counted",
    )
    model, _ = start.make_model(run.start, config, TableChanges(), print)
    before = model.encoder.embeddings.word_embeddings.numpy()
    start.give_words(run, model, run_data.find(run), lambda line: None)
    after = model.encoder.embeddings.word_embeddings.numpy()
    width = initial_attention.dimensions_of_words(config)
    assert width == 128 - 33
    assert not before[:, width:].any() and not after[:, width:].any()
    assert (before[:, :width] != after[:, :width]).any(axis=1).sum() > 50


CHANGING = {
    **EXAMPLES,
    "final_masked_lm_prob": 0.1,
    "final_max_seq_length": 24,
    "final_length_steps": 2,
}


@pytest.mark.slow
def test_length_and_masking_change_on_the_way_and_a_run_goes_on_across(
    folders, config_file, tmp_path
):
    changes = {**CHANGING, "checkpoint_steps": 1, "eval_steps": 6, "log_steps": 1}
    whole = make_run(folders["tokens"], config_file, tmp_path / "whole", **changes)
    pretrain.pretrain(whole, report=lambda line: None)
    for step in (3, 5):  # before the border and behind it
        folder = tmp_path / f"from-{step}"
        shutil.copytree(tmp_path / "whole", folder)
        for later in range(step + 1, 7):
            shutil.rmtree(folder / "checkpoints" / f"step-{later:08d}", ignore_errors=True)
        cut = make_run(folders["tokens"], config_file, folder, **changes)
        pretrain.pretrain(cut, report=lambda line: None)
        name = "model.safetensors"
        assert (folder / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    longer = make_run(folders["tokens"], config_file, tmp_path / "whole", **changes, steps=9)
    with pytest.raises(ValueError, match="changes_until_step: 6 there, 9 asked for"):
        pretrain.pretrain(longer, report=lambda line: None)


def test_batches_have_the_length_of_their_phase(folders, config_file):
    data = run_data.find(make_run(folders["tokens"], config_file, "out", **CHANGING))
    assert (data.max_seq_length, data.max_predictions_per_seq) == (24, 5)
    shapes = [
        tuple(batch["input_ids"].shape)
        for batch in data.training_batches(8, 0, 24, None, 340).take(3)
    ]
    assert shapes == [(8, 16), (8, 24), (8, 24)]


def test_several_corpora_are_mixed_by_their_weights(folders, config_file, tmp_path):
    other = tmp_path / "other"
    build.build_examples(
        BuildOptions(
            input=(str(TESTDATA / "corpus" / "sentences.txt"),),
            vocab_model=str(VOCABULARY),
            num_workers=1,
            held_out_fraction=0.3,
            format="tokens",
            output_dir=str(other),
        )
    )
    both = f"{folders['tokens']},{other}"
    run = make_run(both, config_file, tmp_path / "out", **EXAMPLES, corpus_weights=(3, 1))
    data = run_data.find(run)
    (mixed,) = data.training_batches(8, 0, 0, None, 340).take(1)
    alone = run_data.find(make_run(folders["tokens"], config_file, "out", **EXAMPLES))
    (first,) = alone.training_batches(6, 0, 0, None, 340).take(1)
    rows = {tuple(row) for row in mixed["input_ids"].numpy().tolist()}
    assert {tuple(row) for row in first["input_ids"].numpy().tolist()} < rows
    assert set(data.held_out_batches(8, 340)) == {"held_out", "held_out_single"}
    # Examples of the folders take turns, so no size of a batch chooses among them.
    orders = []
    for size in (2, 5):
        batches = data.held_out_batches(size, 340)["held_out"].unbatch().take(9)
        orders.append([example["input_ids"].numpy().tolist() for example in batches])
    assert orders[0] == orders[1]
    for turn, folder in enumerate(both.split(",")):
        alone = run_data.find(make_run(folder, config_file, "out", **EXAMPLES))
        (batch, *_) = alone.held_out_batches(4, 340)["held_out"].as_numpy_iterator()
        assert orders[0][turn::2][:2] == batch["input_ids"][:2].tolist()


def test_held_out_examples_are_masked_as_published_whatever_training_hides(folders, config_file):
    run = make_run(folders["tokens"], config_file, "out", max_seq_length=64, masked_lm_prob=0.03)
    (batch, *_) = run_data.find(run).held_out_batches(1000, 340)["held_out"].as_numpy_iterator()
    share = batch["masked_lm_weights"].sum() / batch["input_mask"].sum()
    assert share == pytest.approx(0.15, abs=0.02)


def test_the_start_says_both_lengths(folders, config_file):
    data = run_data.find(make_run(folders["tokens"], config_file, "out", **CHANGING))
    assert re.fullmatch(
        r"training examples of a pass: \d+ of 16 tokens \(\d+\.\d% padding\), "
        r"\d+ of 24 tokens \(\d+\.\d% padding\) in the last 2 steps",
        data.describe_examples(),
    )


def test_a_first_length_above_the_positions_is_refused(folders, config_file, tmp_path):
    changes = {"max_seq_length": 640, "final_max_seq_length": 16, "final_length_steps": 2}
    run = make_run(folders["tokens"], config_file, tmp_path / "out", **changes)
    with pytest.raises(ValueError, match="`max_seq_length` of the examples must not exceed"):
        pretrain.pretrain(run, report=lambda line: None)


# The command up to where it would load TensorFlow: all flags are read, and paths looked for.
UNTIL_TENSORFLOW = """
import sys
from albert_tf import command_line, run_pretraining
command_line.load_tensorflow = lambda: sys.exit("nothing to refuse")
command_line.run(run_pretraining.main)
"""


def test_the_command_takes_several_folders(folders, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", UNTIL_TENSORFLOW, "--config=albert_tiny"]
        + [f"--data_dir={folders['tokens']},{folders['tokens']}", "--corpus_weights=2,1"]
        + [f"--output_dir={tmp_path / 'out'}"],
        capture_output=True,
        text=True,
    )
    assert done.stderr.splitlines()[-1] == "nothing to refuse"


def test_overlapping_segments_reach_the_batches_and_the_description(folders, config_file):
    batches, descriptions = [], []
    for changes in ({}, {"overlap_prob": 0.9}):
        run = make_run(folders["tokens"], config_file, "out", **EXAMPLES, **changes)
        data = run_data.find(run)
        descriptions.append(data.describe()["examples"].get("overlap_prob"))
        dataset = data.training_batches(8, 0, 0, None, 0)
        batches.append(next(iter(dataset))["input_ids"].numpy())
    assert descriptions == [None, 0.9]
    same = np.all(batches[0] == batches[1], axis=1)
    assert same.mean() < 0.5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"overlap_prob": 1.0}, r"`overlap_prob` must lie in \[0, 1\)"),
        ({"final_max_seq_length": 24}, "`final_max_seq_length` and `final_length_steps` go tog"),
        ({"final_max_seq_length": 24, "final_length_steps": 6}, "must be below `train_steps`"),
        ({"final_masked_lm_prob": 0.0}, "`final_masked_lm_prob` must be above 0"),
        ({"corpus_weights": (0,)}, "`corpus_weights` must be positive"),
        ({"corpus_weights": (1, 2)}, "one number for each of the 1 folders|one weight"),
        ({"data_dir": "{0},{0}"}, r"`corpus_weights` must be given with several folders"),
        ({"data_dir": "{0},nowhere", "corpus_weights": (1, 2)}, "nowhere without summary.json"),
        ({"data_dir": "nowhere,{0}", "corpus_weights": (1, 2)}, "nowhere without summary.json"),
        ({"data_dir": "nowhere"}, "nowhere without summary.json"),
    ],
)
def test_changes_that_cannot_be_are_refused(folders, config_file, tmp_path, changes, message):
    settings = {**EXAMPLES, **changes}
    data_dir = settings.pop("data_dir", "{0}").format(folders["tokens"])
    with pytest.raises(ValueError, match=message):
        pretrain.pretrain(
            make_run(data_dir, config_file, tmp_path / "out", **settings),
            report=lambda line: None,
        )
