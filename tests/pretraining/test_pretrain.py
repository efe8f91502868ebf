"""A pretraining run from text to a model directory that fills masks, and what it refuses."""

import contextlib
import json
import math
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import termios

import numpy as np
import pytest
import tensorflow as tf
from samples import VOCABULARY, tiny_config
from tiny_pretraining import L, P, kill_and_go_on, make_examples, make_run, write_records

from albert_tf import whole_files
from albert_tf.checkpoints import weight_mapping
from albert_tf.checkpoints.safetensors_files import write_safetensors
from albert_tf.inference import text_model
from albert_tf.model.language_models import AlbertForPretraining
from albert_tf.pipelines.examples.pretraining_dataset import pretraining_dataset
from albert_tf.pretraining import pretrain, records_of_run, run_data, settings
from albert_tf.training import loop, metric_log, optimizers

pytestmark = pytest.mark.usefixtures("undrawn")


def test_run_leaves_a_model_directory_with_its_flags_and_metrics(finished):
    output_dir, results, _ = finished
    names = {path.name for path in output_dir.iterdir()}
    assert names == {
        *("config.json", "model.safetensors", "spiece.model", "tokenizer_config.json"),
        *("flags.txt", "metrics.json", "metrics.jsonl", "learning_curve.png", "run.json"),
        "held_out.json",
        *("README.md", "checkpoints", "tensorboard"),
    }
    assert (output_dir / "flags.txt").read_text() == "--a=1\n"
    metrics = json.loads((output_dir / "metrics.json").read_text())
    assert metrics["held_out"] == results
    assert set(results) == {"held_out", "held_out_single"}


@pytest.mark.slow
def test_words_are_scored_by_kind_at_the_end(finished, data_dir, config_file, tmp_path):
    output_dir, results, _ = finished
    by_kind = json.loads((output_dir / "metrics.json").read_text())["by_kind"]
    for split, kinds in by_kind["words"].items():
        for metric in ("accuracy", "loss"):
            figure = results[split][f"masked_lm_{metric}"]
            assert kinds["all"][metric] == pytest.approx(figure, rel=1e-4)
    assert "| held_out | words hidden alone |" in (output_dir / "README.md").read_text()
    # Pairs are English.
    assert "minimal_pairs" not in by_kind
    run = make_run(data_dir, config_file, tmp_path / "a", 3, eval_by_kind=True, language=["en"])
    pretrain.pretrain(run, report=lambda line: None)
    by_kind = json.loads((tmp_path / "a" / "metrics.json").read_text())["by_kind"]
    assert len(by_kind["minimal_pairs"]) == 13
    run = make_run(data_dir, config_file, tmp_path / "b", 3)
    pretrain.pretrain(run, report=lambda line: None)
    assert "by_kind" not in json.loads((tmp_path / "b" / "metrics.json").read_text())


def test_the_model_has_a_card_with_its_scores_and_recipe(finished, data_dir):
    output_dir, results, _ = finished
    card = (output_dir / "README.md").read_text(encoding="utf-8")
    assert f"value: {results['held_out']['masked_lm_accuracy']:.6f}" in card
    assert f"--data_dir={data_dir.name} " in card and "--learning_rate=0.001" in card
    assert "| train | 512 |" in card and str(data_dir.parent) not in card


def test_finished_model_fills_masks(finished):
    fill_mask = text_model.FillMask.from_pretrained(finished[0])
    answers = fill_mask("the cat sat on the [MASK] .", top_k=3)
    assert [set(answer) for answer in answers] == [{"score", "token", "token_str", "sequence"}] * 3


def test_every_checkpoint_is_a_model_directory(finished):
    checkpoint = finished[0] / "checkpoints" / "step-00000003"
    assert len(text_model.FillMask.from_pretrained(checkpoint)("a [MASK]", top_k=2)) == 2


def test_unigram_baseline_is_that_of_the_most_frequent_training_word(finished, data_dir):
    def hidden(split):
        path = str(data_dir / f"{split}-00000-of-00001.tfrecord")
        batch = next(iter(pretraining_dataset(path, 512, L, P, repeat=False)))
        return batch["masked_lm_ids"].numpy()[batch["masked_lm_weights"].numpy() > 0]

    train, held_out = hidden("train"), hidden("held_out")
    top = np.bincount(train).argmax()
    metrics = json.loads((finished[0] / "metrics.json").read_text())
    baseline = metrics["unigram"]["held_out"]
    np.testing.assert_allclose(baseline["masked_lm_accuracy"], np.mean(held_out == top), atol=1e-6)
    assert any("unigram baseline" in line for line in finished[2])


def test_objective_averages_over_the_predictions_of_the_whole_batch(data_dir, tokenizer):
    batch = make_examples(tokenizer, 2, 3)
    batch["masked_lm_weights"][0] = [1, 0, 0, 0]
    weights = AlbertForPretraining(tiny_config()).loss_weights(
        {name: tf.constant(value) for name, value in batch.items()}
    )
    np.testing.assert_allclose(weights["masked_lm_loss"], 1 + 3, atol=1e-4)
    assert weights["sentence_order_loss"] == 2


@pytest.mark.slow
def test_tiny_model_learns_what_the_neighbour_tells(tmp_path, data_dir):
    config_file = tmp_path / "config.json"
    config_file.write_text(tiny_config(num_hidden_layers=2).to_json_string())
    run = make_run(
        data_dir,
        config_file,
        tmp_path / "model",
        steps=400,
        settings={"eval_steps": 400, "checkpoint_steps": 400, "log_steps": 400},
        learning_rate=3e-3,
        warmup_steps=20,
        beta_2=0.98,
    )
    results = pretrain.pretrain(run, report=lambda line: None)
    assert results["held_out"]["masked_lm_accuracy"] > 0.9


def test_same_command_again_changes_nothing(finished, data_dir, config_file):
    output_dir, results, _ = finished
    before = (output_dir / "model.safetensors").read_bytes()
    again = pretrain.pretrain(make_run(data_dir, config_file, output_dir), report=lambda line: None)
    assert again == results
    assert (output_dir / "model.safetensors").read_bytes() == before


def test_a_run_begun_when_there_were_more_options_goes_on_at_other_intervals(
    tmp_path, finished, data_dir, config_file
):
    output_dir, results, _ = finished
    shutil.copytree(output_dir, tmp_path / "model")
    path = tmp_path / "model" / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"hold_heads": False}))
    run = make_run(data_dir, config_file, tmp_path / "model", log_steps=1)
    assert pretrain.pretrain(run, report=lambda line: None) == results


def test_output_dir_of_another_run_is_refused_with_the_difference(finished, data_dir, config_file):
    run = make_run(data_dir, config_file, finished[0], learning_rate=5e-3)
    with pytest.raises(ValueError, match="learning_rate: 0.001 there, 0.005 asked for"):
        pretrain.pretrain(run)


def test_output_dir_with_other_files_is_refused(tmp_path, data_dir, config_file):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(ValueError, match="`output_dir` must be new, empty"):
        pretrain.pretrain(make_run(data_dir, config_file, tmp_path))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"config": "albert_huge"}, "`config` must be a JSON file or one of the presets"),
        ({"optimizer": "sgd"}, "`optimizer` must be one of adamw, lamb, muon"),
        ({"sentence_order_weight": 0.0}, "`sentence_order_weight` must be positive"),
        ({"precision": "int8"}, "`precision` must be one of"),
        ({"initial_attention": "far"}, "must be one of random, pointed. Received: 'far'"),
        (
            {"initial_attention": "pointed", "init_checkpoint": "x"},
            "must be random with `init_checkpoint`",
        ),
        ({"init_optimizer": True}, "`init_optimizer` goes with `init_checkpoint`"),
        ({"init_checkpoint": "nowhere"}, "nowhere"),
        ({"init_checkpoint": ""}, "`init_checkpoint` must be a name"),
        ({"data_dir": ""}, "exactly one of `data_dir`"),
        ({"input": ("x",)}, "exactly one of `data_dir`"),
        ({"data_dir": "", "input": ("x",)}, "`vocab_model` must be given"),
        ({"vocab_model": "x"}, "`held_out` and `vocab_model` go with `input`"),
        ({"data_dir": "nowhere"}, "nowhere without summary.json"),
        ({"config": "albert_base_v2"}, "vocab_size must be that of the vocabulary"),
        ({"warmup_steps": 10}, "warmup_steps"),
        ({"eval_examples": 0}, "`eval_examples` must be a positive integer"),
        ({"eval_batch_size": 0}, "`eval_batch_size` must be a positive integer"),
        ({"learning_rate": math.nan}, "`learning_rate` must not be negative. Received: nan"),
        ({"learning_rate": math.inf}, "`learning_rate` must not be negative. Received: inf"),
        ({"warmup_steps": -1}, "`warmup_steps` must be an integer from 0 on"),
        ({"decay_power": math.nan}, "`decay_power` must be positive"),
        ({"weight_decay": math.nan}, "`weight_decay` must not be negative"),
        ({"beta_2": math.nan}, "`beta_2` must lie in"),
        ({"max_gradient_norm": math.nan}, "`max_gradient_norm` must not be negative"),
        ({"max_gradient_norm": -1.0}, "`max_gradient_norm` must not be negative"),
        ({"sentence_order_weight": math.inf}, "`sentence_order_weight` must be positive"),
        ({"seed": -1}, "`seed` must be an integer from 0 to"),
    ],
)
def test_contradictions_are_refused_before_any_work(
    tmp_path, data_dir, config_file, changes, message
):
    with pytest.raises(ValueError, match=message):
        pretrain.pretrain(make_run(data_dir, config_file, tmp_path / "model", **changes))
    assert not (tmp_path / "model").exists()


def test_vocabulary_that_did_not_make_the_records_is_refused(tmp_path, data_dir, config_file):
    other = tmp_path / "records"
    other.mkdir()
    for path in data_dir.iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    (other / "summary.json").write_text(json.dumps({"vocab_fingerprint": "another"}))
    with pytest.raises(ValueError, match="vocabulary that the records were made with"):
        pretrain.pretrain(make_run(other, config_file, tmp_path / "model"))


@pytest.fixture
def three_shards(tmp_path, tokenizer):
    """A finished folder of three shards of 40 examples, as build_pretraining_data describes it."""
    directory = tmp_path / "three"
    directory.mkdir()
    names = [f"train-{n:05d}-of-00003.tfrecord" for n in range(3)]
    for seed, name in enumerate(names):
        write_records(directory / name, make_examples(tokenizer, 40, seed))
    tokenizer.save(directory / "vocab.model")
    summary = {
        "vocab_fingerprint": tokenizer.fingerprint,
        "train_examples": 120,
        "record_files": {"train": names},
        "record_bytes": {name: (directory / name).stat().st_size for name in names},
    }
    (directory / "summary.json").write_text(json.dumps(summary))
    return directory


def cut_at_a_border(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 40 * 39])  # all records have one size


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), "must be a file of .* Received: no such file"),
        (cut_at_a_border, "must be a file of .* bytes, as summary.json says. Received: "),
        (lambda path: (path.unlink(), path.mkdir()), "must be a file of .* Received: a folder"),
    ],
)
def test_shard_that_is_not_the_one_that_was_built_is_refused_by_name(
    tmp_path, three_shards, config_file, damage, message
):
    damage(three_shards / "train-00001-of-00003.tfrecord")
    with pytest.raises(ValueError, match=f"train-00001-of-00003.tfrecord {message}"):
        pretrain.pretrain(make_run(three_shards, config_file, tmp_path / "model"))
    assert not (tmp_path / "model").exists()


def test_folder_whose_summary_counts_examples_alone_is_compared_with_that(
    tmp_path, three_shards, config_file
):
    summary = json.loads((three_shards / "summary.json").read_text())
    del summary["record_files"], summary["record_bytes"]
    (three_shards / "summary.json").write_text(json.dumps(summary))
    cut_at_a_border(three_shards / "train-00001-of-00003.tfrecord")
    with pytest.raises(ValueError, match="the 120 examples .* as train. Received: 119"):
        pretrain.pretrain(make_run(three_shards, config_file, tmp_path / "model"))


def test_shard_too_many_is_refused(tmp_path, three_shards, config_file):
    shutil.copy(three_shards / "train-00001-of-00003.tfrecord", three_shards / "train-9.tfrecord")
    with pytest.raises(ValueError, match="lists and no others. Received: .*train-9.tfrecord"):
        pretrain.pretrain(make_run(three_shards, config_file, tmp_path / "model"))


@pytest.mark.parametrize("ending", [".bak", ".part", ".sha256"])
def test_copies_beside_the_record_files_are_not_trained_on(three_shards, ending):
    path = three_shards / "train-00001-of-00003.tfrecord"
    shutil.copy(path, f"{path}{ending}")
    found = records_of_run.find(settings.DataSettings(data_dir=str(three_shards)))
    assert found.train == sorted(map(str, three_shards.glob("train-*.tfrecord")))


def test_flipped_bit_is_named_by_file_and_record(tmp_path, three_shards, config_file):
    path = three_shards / "train-00001-of-00003.tfrecord"
    content = bytearray(path.read_bytes())
    content[len(content) // 40 * 30 + 100] ^= 1
    path.write_bytes(content)
    run = make_run(
        three_shards, config_file, tmp_path / "model", steps=30, settings={"checkpoint_steps": 100}
    )
    with pytest.raises(ValueError, match="train-00001-of-00003.tfrecord, record 30: corrupted"):
        pretrain.pretrain(run, report=lambda line: None)


def test_second_run_in_a_folder_is_refused_at_once(tmp_path, data_dir, config_file):
    run = make_run(data_dir, config_file, tmp_path / "model")
    with whole_files.only_run_in(tmp_path / "model"):
        with pytest.raises(whole_files.FolderInUseError, match="is in use by process"):
            pretrain.pretrain(run)
    assert not (tmp_path / "model").exists()


@pytest.mark.slow
def test_learning_rate_that_ruins_the_weights_publishes_nothing(tmp_path, data_dir, config_file):
    run = make_run(
        data_dir, config_file, tmp_path / "model", steps=2, learning_rate=3e38, warmup_steps=1
    )
    with pytest.raises(loop.NonFiniteLossError, match="start again with a lower `learning"):
        pretrain.pretrain(run, report=lambda line: None)
    assert not (tmp_path / "model" / "config.json").exists()
    assert not list(tmp_path.rglob("*.safetensors"))
    assert "NaN" not in (tmp_path / "model" / "metrics.jsonl").read_text()


def test_records_with_ids_beyond_the_vocabulary_are_refused(tmp_path, tokenizer, config_file):
    batch = make_examples(tokenizer, 8, 0)
    batch["input_ids"][3, 5] = tokenizer.vocab_size
    write_records(tmp_path / "train.tfrecord", batch)
    run = make_run(
        None,
        config_file,
        tmp_path / "model",
        input=(f"{tmp_path}/train.tfrecord",),
        vocab_model=str(VOCABULARY),
    )
    with pytest.raises(ValueError, match="a word id of 340"):
        pretrain.pretrain(run)
    assert not (tmp_path / "model").exists()


@pytest.mark.slow
def test_record_with_the_right_checksum_and_wrong_content_is_named(
    tmp_path, tokenizer, config_file
):
    """Of 600, seed 0 puts number 17 behind the first 512, whose ids are compared at the start."""
    batch = make_examples(tokenizer, 600, 0)
    batch["input_ids"][17, 1] = tokenizer.vocab_size
    write_records(tmp_path / "train.tfrecord", batch)
    run = make_run(
        None,
        config_file,
        tmp_path / "model",
        steps=9,
        input=(f"{tmp_path}/train.tfrecord",),
        vocab_model=str(VOCABULARY),
        settings={"batch_size": 128},
    )
    message = r"train.tfrecord, record 17: must hold input_ids in \[0, 340\). Received: 340"
    with pytest.raises(ValueError, match=message):
        pretrain.pretrain(run, report=lambda line: None)
    assert not (tmp_path / "model" / "config.json").exists()


@pytest.mark.slow
def test_figures_of_other_held_out_examples_are_not_taken_for_those_of_a_run(
    tmp_path, data_dir, config_file
):
    """A finished run that is asked to use more of them measures, and says so."""
    lines, losses = [], []
    for output, examples in (("out", 2), ("out", 16), ("fresh", 16), ("out", 16)):
        run = make_run(data_dir, config_file, tmp_path / output, eval_examples=examples)
        pretrain.pretrain(run, report=lines.append)
        metrics = json.loads((tmp_path / output / "metrics.json").read_text())
        losses.append(metrics["held_out"]["held_out"]["masked_lm_loss"])
    few, more, fresh, again = losses
    assert more == again == pytest.approx(fresh, rel=1e-5)
    assert few != pytest.approx(more, rel=1e-3)
    assert sum("are others than before" in line for line in lines) == 1


@pytest.mark.slow
def test_held_out_documents_without_an_example_do_not_end_a_run(tmp_path, data_dir, config_file):
    records = tmp_path / "records"
    shutil.copytree(data_dir, records)
    for name in ("held_out", "held_out_single"):
        (records / f"{name}-00000-of-00001.tfrecord").write_bytes(b"")
    run = make_run(records, config_file, tmp_path / "model")
    assert pretrain.pretrain(run, report=lambda line: None) == {}


@pytest.mark.parametrize("size", [3, 8, 100])
def test_as_many_examples_are_held_out_as_asked_whatever_the_batch(data_dir, config_file, size):
    run = make_run(data_dir, config_file, "out", eval_examples=10, eval_batch_size=size)
    data = run_data.find(run)
    for batches in pretrain._make_held_out(run.evaluation, data, 340).values():
        assert sum(len(batch["input_ids"]) for batch in batches.as_numpy_iterator()) == 10


@pytest.mark.slow
def test_a_longer_run_is_not_judged_by_what_the_shorter_one_reached(
    tmp_path, finished, data_dir, config_file
):
    output_dir, _, _ = finished
    shutil.copytree(output_dir, tmp_path / "model")
    (tmp_path / "model" / ".lock").unlink(missing_ok=True)
    run = make_run(data_dir, config_file, tmp_path / "model", steps=12)

    def stop(event):
        if event.step > 6:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        pretrain.pretrain(run, report=lambda line: None, callbacks=[stop])
    assert not (tmp_path / "model" / "metrics.json").exists()
    assert (output_dir / "metrics.json").exists()


def test_held_out_data_is_known_again(finished):
    measured_on = json.loads((finished[0] / "metrics.json").read_text())["measured_on"]
    assert measured_on.keys() == {"held_out", "held_out_single"}
    assert len(set(measured_on.values())) == 2


@pytest.mark.slow
def test_records_without_a_summary_train_by_pattern(tmp_path, data_dir, config_file):
    run = make_run(
        None,
        config_file,
        tmp_path / "model",
        input=(f"{data_dir}/train-*",),
        held_out=(f"{data_dir}/held_out-*",),
        vocab_model=str(VOCABULARY),
    )
    results = pretrain.pretrain(run, report=lambda line: None)
    assert set(results) == {"held_out"}


@pytest.mark.parametrize("held_out", ["*-00000-*", "../{name}/train-*"])
def test_training_files_cannot_be_held_out(tmp_path, data_dir, config_file, held_out):
    run = make_run(
        None,
        config_file,
        tmp_path / "model",
        input=(f"{data_dir}/train-*",),
        held_out=(f"{data_dir}/{held_out.format(name=data_dir.name)}",),
        vocab_model=str(VOCABULARY),
    )
    with pytest.raises(ValueError, match="`held_out` must not name training files"):
        pretrain.pretrain(run)


@pytest.mark.slow
def test_training_goes_on_from_the_weights_of_another_run(
    tmp_path, finished, data_dir, config_file
):
    lines = []
    run = make_run(
        data_dir, config_file, tmp_path / "model", steps=3, init_checkpoint=str(finished[0])
    )
    pretrain.pretrain(run, report=lines.append)
    assert any(line.startswith("a step needs about 0.") for line in lines)
    first = metric_log.read_metrics(tmp_path / "model" / "metrics.jsonl")[0]
    assert first["step"] == 0
    np.testing.assert_allclose(
        first["masked_lm_loss"], finished[1]["held_out"]["masked_lm_loss"], rtol=1e-5
    )


@pytest.mark.slow
def test_a_run_with_checkpoints_of_its_own_needs_what_it_started_from_no_more(
    tmp_path, finished, data_dir, config_file
):
    source, losses = tmp_path / "source", []
    for name in ("gone", "kept"):
        shutil.copytree(finished[0], source, dirs_exist_ok=True)
        start = {"init_checkpoint": str(source), "max_position_embeddings": 520}
        for steps in (3, 6):
            lines = []
            run = make_run(data_dir, config_file, tmp_path / name, steps=steps, **start)
            results = pretrain.pretrain(run, report=lines.append)
            if name == "gone":
                shutil.rmtree(source, ignore_errors=True)
        assert any(line.startswith("resuming at step 3") for line in lines)
        losses.append(results["held_out"]["masked_lm_loss"])
    assert losses[0] == losses[1]
    with pytest.raises(ValueError, match="init_checkpoint: "):
        other = run.with_values(init_checkpoint=str(finished[0]))
        pretrain.pretrain(other, report=lines.append)


@pytest.mark.slow
def test_optimizer_and_step_of_a_converted_checkpoint_go_on(
    tmp_path, data_dir, config_file, finished, monkeypatch
):
    source = tmp_path / "converted"
    shutil.copytree(finished[0], source)
    model = AlbertForPretraining.from_pretrained(source)
    paths = [weight_mapping.relative_path(model, v) for v in model.trainable_variables]
    generator = np.random.default_rng(0)
    slots = {
        f"{path}/{slot}": generator.random(variable.shape, np.float32)
        for path, variable in zip(paths, model.trainable_variables, strict=True)
        for slot in ("m", "v")
    }
    write_safetensors({**slots, "step": np.array(2)}, source / "optimizer.safetensors")
    taken = {}
    train = loop.train

    def watch(*, optimizer, first_step, **rest):
        taken.update(first_step=first_step, step=int(optimizer.iterations))
        taken["moments"] = [moment.numpy() for moment in optimizer.second_moments]
        return train(optimizer=optimizer, first_step=first_step, **rest)

    def run(steps):
        settings = {"init_checkpoint": str(source), "init_optimizer": True, "warmup_steps": 0}
        output_dir = tmp_path / f"to_{steps}"
        made = make_run(data_dir, config_file, output_dir, steps=steps, **settings)
        pretrain.pretrain(made, report=lambda line: None)

    monkeypatch.setattr(loop, "train", watch)
    run(4)
    assert (taken["first_step"], taken["step"]) == (2, 2)
    for path, moment in zip(paths, taken["moments"], strict=True):
        np.testing.assert_array_equal(moment, slots[f"{path}/v"])
    rows = metric_log.read_metrics(tmp_path / "to_4" / "metrics.jsonl")
    assert (rows[0]["step"], rows[-1]["step"]) == (2, 4)
    with pytest.raises(ValueError, match="must exceed its 2"):
        run(2)


@pytest.mark.slow
def test_killed_run_ends_with_the_weights_of_an_uninterrupted_one(tmp_path, data_dir, config_file):
    def command(output_dir):
        return [
            *(sys.executable, "-m", "albert_tf.run_pretraining"),
            *(f"--config={config_file}", f"--data_dir={data_dir}", f"--output_dir={output_dir}"),
            *("--optimizer=lamb", "--learning_rate=1e-3", "--warmup_steps=5", "--train_steps=400"),
            *("--batch_size=8", "--eval_steps=200", "--checkpoint_steps=7", "--log_steps=50"),
        ]

    straight = kill_and_go_on(command, tmp_path)
    assert straight.stderr == b"loading TensorFlow\n"  # and none of its own lines


@pytest.mark.slow
def test_a_terminal_sees_whole_lines_and_a_bar_that_goes(tmp_path, data_dir, config_file):
    command = [
        *(sys.executable, "-m", "albert_tf.run_pretraining"),
        *(f"--config={config_file}", f"--data_dir={data_dir}", f"--output_dir={tmp_path / 'out'}"),
        *("--optimizer=lamb", "--learning_rate=1e-3", "--warmup_steps=5", "--train_steps=40"),
        *("--batch_size=8", "--eval_steps=20", "--log_steps=10"),
    ]
    terminal, end_of_process = pty.openpty()
    termios.tcsetwinsize(end_of_process, (24, 200))
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), end_of_process)
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "200"}
    with subprocess.Popen(command, env=environment, **streams) as process:
        os.close(end_of_process)
        written = b""
        # Linux reports the end of a terminal as an error.
        with contextlib.suppress(OSError):
            while part := os.read(terminal, 65536):
                written += part
    os.close(terminal)
    assert process.returncode == 0, written
    shown = _screen(written.decode())
    assert re.search(r"training \S+ +\d+/40 steps", re.sub(_CONTROL, "", written.decode()))
    assert not [line for line in shown if line.startswith("training ")]
    for step in (10, 20, 30, 40):
        (line,) = [line for line in shown if line.startswith(f"step      {step}/40 ")]
        assert "tokens/s" in line


_CONTROL = r"\x1b\[[0-9;?]*[A-Za-z]"


def _screen(written):
    """Returns the lines that stand on a terminal after what was written to it."""
    lines, row = [""], 0
    for part in re.split(rf"({_CONTROL}|\r|\n)", written):
        up = re.fullmatch(r"\x1b\[(\d*)A", part)
        if up:
            row -= int(up[1] or 1)
        elif part == "\x1b[2K":
            lines[row] = ""
        elif part == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif part and part != "\r" and not part.startswith("\x1b"):
            lines[row] += part
    return lines


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signal_ends_the_command_behind_a_checkpoint(tmp_path, data_dir, config_file, number, code):
    command = [
        *(sys.executable, "-m", "albert_tf.run_pretraining"),
        *(f"--config={config_file}", f"--data_dir={data_dir}", f"--output_dir={tmp_path / 'out'}"),
        *("--optimizer=lamb", "--learning_rate=1e-3", "--warmup_steps=5", "--train_steps=4000"),
        *("--batch_size=8", "--eval_steps=4000", "--checkpoint_steps=4000", "--log_steps=5"),
    ]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        for line in process.stdout:
            if line.startswith("step       5/"):
                process.send_signal(number)
                break
        _, errors = process.communicate(timeout=60)
    assert process.returncode == code
    name = signal.Signals(number).name
    line = f"run_pretraining: stopped by {name}; the same command goes on from step"
    assert errors.splitlines()[-1].startswith(line)
    assert "Traceback" not in errors
    assert len(list((tmp_path / "out" / "checkpoints").iterdir())) == 1


@pytest.mark.slow
def test_command_line_refuses_in_one_line(tmp_path, data_dir):
    refused = subprocess.run(
        [
            *(sys.executable, "-m", "albert_tf.run_pretraining", "--config=albert_bse_v2"),
            *(f"--data_dir={data_dir}", f"--output_dir={tmp_path / 'model'}"),
        ],
        capture_output=True,
        text=True,
    )
    assert refused.returncode == 1
    message = refused.stderr.strip().splitlines()[-1]
    assert message.startswith("run_pretraining: --config must be a JSON file or one of the presets")


def test_muon_leaves_embeddings_vectors_pooler_and_order_head_to_adam(data_dir, config_file):
    run = make_run(data_dir, config_file, "unused", optimizer="muon")
    optimizer = optimizers.make_optimizer(
        "muon",
        run.optimization.learning_rate,
        weight_decay=0.01,
        beta_2=0.98,
        max_gradient_norm=1.0,
    )
    model = AlbertForPretraining(tiny_config())
    optimizer.build(model.trainable_variables)
    matrices = {
        variable.path
        for variable, velocity in zip(
            model.trainable_variables, optimizer.adam_velocities, strict=True
        )
        if velocity is None
    }
    block = "encoder/group_0/inner_group_0/"
    assert matrices == {
        *(f"{block}attention/{name}/kernel" for name in ("query", "key", "value", "output")),
        *(f"{block}feed_forward/{name}/kernel" for name in ("intermediate", "output")),
        "masked_lm_head/transform/kernel",
    }
