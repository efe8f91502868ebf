"""Runs with a third loss: what they leave, how they go on, and that the rest is as without it."""

import json
import sys

import numpy as np
import pytest
from tiny_pretraining import kill_and_go_on, make_run

from albert_tf.checkpoints import published_configs
from albert_tf.inference import fine_tuned, text_model
from albert_tf.pretraining import pretrain
from albert_tf.training import metric_log


@pytest.fixture(scope="module")
def goes_on_from_words(tmp_path_factory, data_dir, config_file, finished):
    """A run that starts from a model without the third head: its folder, results and lines."""
    output_dir, lines = tmp_path_factory.mktemp("runs") / "replaced", []
    run = make_run(
        *(data_dir, config_file, output_dir, 3),
        init_checkpoint=str(finished[0]),
        replaced_token_weight=20.0,
    )
    return output_dir, pretrain.pretrain(run, report=lines.append), lines


def test_a_run_scores_replaced_tokens_beside_words_and_order(goes_on_from_words, finished):
    output_dir, results, lines = goes_on_from_words
    assert any("has no weights for replaced_token_head: untrained" in line for line in lines)
    for split in ("held_out", "held_out_single"):
        assert {"masked_lm_loss", "replaced_token_loss", "replaced_token_recall"} <= set(
            results[split]
        )
    rows = metric_log.read_metrics(output_dir / "metrics.jsonl")
    before = next(row for row in rows if row["split"] == "held_out")
    words = finished[1]["held_out"]["masked_lm_loss"]
    np.testing.assert_allclose(before["masked_lm_loss"], words, rtol=1e-5)
    assert json.loads((output_dir / "run.json").read_text())["replaced_token_weight"] == 20


def test_its_model_directory_is_an_albert(goes_on_from_words):
    output_dir = goes_on_from_words[0]
    assert (output_dir / published_configs.OWN_WEIGHTS_FILE).is_file()
    assert len(text_model.FillMask.from_pretrained(output_dir)("a [MASK]", top_k=2)) == 2
    with pytest.raises(ValueError, match="missing: qa_outputs.weight"):
        fine_tuned.Answerer.from_pretrained(output_dir)


def test_runs_without_it_are_described_as_before(finished):
    assert "replaced_token_weight" not in json.loads((finished[0] / "run.json").read_text())


@pytest.mark.slow
def test_a_killed_run_draws_what_an_uninterrupted_one_draws(tmp_path, data_dir, config_file):
    def command(output_dir):
        return [
            *(sys.executable, "-m", "albert_tf.run_pretraining", "--replaced_token_weight=20"),
            *(f"--config={config_file}", f"--data_dir={data_dir}", f"--output_dir={output_dir}"),
            *("--optimizer=muon", "--learning_rate=1e-3", "--warmup_steps=5", "--train_steps=400"),
            *("--batch_size=8", "--eval_steps=200", "--checkpoint_steps=7", "--log_steps=50"),
        ]

    kill_and_go_on(command, tmp_path)
