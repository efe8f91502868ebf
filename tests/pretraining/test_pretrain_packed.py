"""Pretraining on rows of several examples: what is said of them, and runs that go on."""

import json
import re
import sys

import numpy as np
import packed_rows
import pytest
from samples import VOCABULARY
from tiny_pretraining import kill_and_go_on, make_run

from albert_tf.pretraining import pretrain, run_data
from albert_tf.training.metric_log import read_metrics

pytestmark = pytest.mark.usefixtures("undrawn")

EXAMPLES = {"max_seq_length": 64, "pack": True}


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    """A folder of the stored tokens of short documents."""
    return packed_rows.store_short_documents(tmp_path_factory.mktemp("short"), VOCABULARY)


def share(line):
    return float(re.search(r"([\d.]+)% padding", line)[1])


def test_the_start_says_how_many_examples_a_row_has_and_what_padding_is_left(tokens, config_file):
    lines = [
        run_data.find(
            make_run(tokens, config_file, "out", **{**EXAMPLES, "pack": pack})
        ).describe_examples()
        for pack in (False, True)
    ]
    assert re.fullmatch(
        r"training rows of a pass: \d+ of 64 tokens \([1-9]\.\d\d examples a row, \d+\.\d% "
        r"padding\)",
        lines[1],
    )
    assert share(lines[1]) < share(lines[0]) / 4


def test_held_out_batches_have_one_example_a_row(tokens, config_file):
    data = run_data.find(make_run(tokens, config_file, "out", **EXAMPLES))
    held_out = data.held_out_batches(8, 340)["held_out"].element_spec
    assert "example_numbers" not in held_out
    assert held_out["sentence_order_label"].shape.rank == 1
    assert "example_numbers" in data.training_batches(8, 0, 0, None, 340).element_spec


@pytest.mark.slow
def test_a_run_reports_means_over_examples_and_the_padding_that_is_left(
    tokens, config_file, tmp_path
):
    """The first step of a rate of 0 has the losses of all examples of its rows, however cut."""
    reported = []
    for name, changes in (("whole", {}), ("cut", {"accumulation_steps": 4})):
        settings = {"learning_rate": 0.0, "log_steps": 1, **changes}
        run = make_run(tokens, config_file, tmp_path / name, 3, **EXAMPLES, **settings)
        lines = []
        pretrain.pretrain(run, report=lines.append)
        rows = read_metrics(tmp_path / name / "metrics.jsonl")
        reported.append([row for row in rows if row["split"] == "train"])
        assert any(re.search(r"step +2/3 .*padding_share 0\.0", line) for line in lines)
    for whole, cut in zip(*reported, strict=True):
        for name in ("masked_lm_loss", "sentence_order_loss", "padding_share", "gradient_norm"):
            assert cut[name] == pytest.approx(whole[name], rel=1e-4), name
    batch = next(
        run_data.find(run).training_batches(8, 0, 0, None, 340).take(1).as_numpy_iterator()
    )
    assert reported[0][0]["padding_share"] == pytest.approx(1 - batch["input_mask"].mean())


@pytest.mark.slow
def test_packing_belongs_to_the_run(tokens, config_file, tmp_path):
    run = make_run(tokens, config_file, tmp_path / "out", 3, **EXAMPLES)
    pretrain.pretrain(run, report=lambda line: None)
    described = json.loads((tmp_path / "out" / "run.json").read_text())["data"]["examples"]
    assert described["pack"] is True
    unpacked = make_run(tokens, config_file, tmp_path / "out", 3, **{**EXAMPLES, "pack": False})
    with pytest.raises(ValueError, match=r"data.examples.pack"):
        pretrain.pretrain(unpacked, report=lambda line: None)


def test_records_are_not_packed(data_dir, config_file):
    with pytest.raises(ValueError, match="`pack` must be given with stored tokens"):
        run_data.find(make_run(data_dir, config_file, "out", pack=True))


def test_length_masks_and_corpora_change_as_without(tokens, config_file, tmp_path):
    changes = {
        "corpus_weights": (2, 1),
        "masked_lm_prob": 0.1,
        "final_masked_lm_prob": 0.3,
        "final_max_seq_length": 80,
        "final_length_steps": 2,
    }
    both = f"{tokens},{tokens}"
    data = run_data.find(make_run(both, config_file, "out", **EXAMPLES, **changes))
    batches = list(data.training_batches(8, 0, 8, None, 340).take(5).as_numpy_iterator())
    assert [batch["example_numbers"].shape for batch in batches] == [(8, 64)] * 3 + [(8, 80)] * 2
    hidden = [batch["masked_lm_weights"].sum() / batch["input_mask"].sum() for batch in batches]
    assert hidden[0] < 0.16 < 0.24 < hidden[-1]
    (later,) = data.training_batches(8, 0, 40, [1, 7], 340).take(1).as_numpy_iterator()
    for name, values in batches[4].items():
        np.testing.assert_array_equal(later[name], values[[1, 7]], err_msg=name)


@pytest.mark.slow
def test_a_packed_run_that_is_killed_ends_with_the_same_bits(tokens, config_file, tmp_path):
    def command(output_dir):
        return [
            *(sys.executable, "-m", "albert_tf.run_pretraining", "--pack"),
            *(f"--config={config_file}", f"--data_dir={tokens}", f"--output_dir={output_dir}"),
            *("--max_seq_length=64", "--optimizer=lamb", "--learning_rate=1e-3"),
            *("--warmup_steps=5", "--train_steps=48", "--batch_size=8", "--eval_steps=24"),
            *("--checkpoint_steps=7", "--log_steps=50"),
        ]

    kill_and_go_on(command, tmp_path)
