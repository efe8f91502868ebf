"""Training goes on from any checkpoint: other people's, finished runs, ours with their moments."""

import json
import shutil
import types

import numpy as np
import pytest
from samples import tiny_config
from tiny_pretraining import make_run

from albert_tf.checkpoints import (
    model_directory,
    model_kinds,
    published_configs,
    tokenizer_files,
    weight_mapping,
)
from albert_tf.checkpoints.safetensors_files import read_safetensors, write_safetensors
from albert_tf.checkpoints.stored_tensors import CheckpointError
from albert_tf.config import AlbertConfig
from albert_tf.conversion import convert
from albert_tf.exporting import export
from albert_tf.finetuning import finetune
from albert_tf.inference import fine_tuned, text_model
from albert_tf.model import language_models
from albert_tf.pipelines.tokenizer.tokenization import Tokenizer
from albert_tf.pipelines.tokenizer.wordpiece_vocabulary import WordPieceVocabulary
from albert_tf.pretraining import pretrain, run_data, start
from albert_tf.training.metric_log import read_metrics

pytestmark = pytest.mark.usefixtures("undrawn")

ORDER = "sentence_order_head"


@pytest.fixture
def without_order(finished, tmp_path):
    """A directory as the hub's albert-base-v2: a masked-LM head and none for sentence order."""
    folder = tmp_path / "hub"
    folder.mkdir()
    for name in ("config.json", "spiece.model", "tokenizer_config.json"):
        shutil.copy(finished[0] / name, folder)
    tensors = read_safetensors(finished[0] / "model.safetensors")
    kept = {name: value for name, value in tensors.items() if "sop_classifier" not in name}
    assert len(kept) == len(tensors) - 2
    write_safetensors(kept, folder / "model.safetensors")
    return folder


def weights_of(model):
    return {p: np.asarray(v) for p, v in model.weights_by_path().items()}


@pytest.mark.slow
def test_a_missing_head_starts_anew_and_is_named_and_all_else_keeps_its_bits(
    without_order,
    finished,
    caplog,
):
    whole = weights_of(language_models.AlbertForPretraining.from_pretrained(finished[0]))
    read = weights_of(language_models.AlbertForPretraining.from_pretrained(without_order))
    assert any(f"has no weights for {ORDER}: untrained" in r.getMessage() for r in caplog.records)
    for path, value in whole.items():
        assert np.array_equal(value, read[path]) != path.startswith(f"{ORDER}/")


@pytest.mark.slow
def test_pretraining_goes_on_from_a_checkpoint_that_lacks_a_head_without_a_config(
    without_order,
    data_dir,
    tmp_path,
):
    lines = []
    start = {"config": None, "init_checkpoint": str(without_order)}
    run = make_run(data_dir, None, tmp_path / "run", 3, learning_rate=1e-9, **start)
    pretrain.pretrain(run, report=lines.append)
    assert (
        f"{without_order} has no weights for {ORDER}: untrained, all else as it is there" in lines
    )
    before = read_safetensors(without_order / "model.safetensors")
    after = read_safetensors(tmp_path / "run" / "model.safetensors")
    assert set(after) - set(before) == {
        "sop_classifier.classifier.weight",
        "sop_classifier.classifier.bias",
    }
    for name, value in before.items():
        np.testing.assert_allclose(after[name], value, atol=1e-6)


@pytest.mark.parametrize(
    "read",
    [
        language_models.AlbertModel.from_pretrained,
        text_model.FillMask.from_pretrained,
        tokenizer_files.load_tokenizer,
        fine_tuned.Answerer.from_pretrained,
        model_kinds.read_kind,
        model_directory.read_labels,
        model_directory.read_config,
        model_directory.open_weights,
        lambda folder: export.load(folder, export.ExportSettings()),
    ],
)
def test_no_folder_is_said_to_be_none(tmp_path, read):
    with pytest.raises(CheckpointError, match="nope must be a model directory. .* no such folder"):
        read(tmp_path / "nope")
    (tmp_path / "nope").write_text("")
    with pytest.raises(CheckpointError, match="nope must be a model directory. Received: a file"):
        read(tmp_path / "nope")


def test_no_source_of_a_conversion_is_said_to_be_none(tmp_path):
    with pytest.raises(CheckpointError, match="Received: no such file or folder"):
        convert.open_source(tmp_path / "nope")


@pytest.mark.slow
def test_moments_that_came_without_a_head_are_taken_and_the_head_starts_with_none(
    without_order,
    data_dir,
    tmp_path,
):
    model = language_models.AlbertForPretraining.from_pretrained(without_order)
    moments = {
        f"{path}/{slot}": np.full(variable.shape, 1e-6, np.float32)
        for path, variable in model.weights_by_path().items()
        if not path.startswith(ORDER)
        for slot in "mv"
    }
    held = {**moments, "step": np.asarray(5, np.int64)}
    write_safetensors(held, without_order / model_directory.OPTIMIZER_FILE)
    start = {"config": None, "init_checkpoint": str(without_order), "init_optimizer": True}
    run = make_run(data_dir, None, tmp_path / "run", 6, optimizer="adamw", **start)
    pretrain.pretrain(run, report=lambda line: None)
    rows = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert [row["step"] for row in rows if row["split"] == "train"] == [6]
    del held["encoder/pooler/bias/m"]
    write_safetensors(held, without_order / model_directory.OPTIMIZER_FILE)
    again = run.with_values(output_dir=str(tmp_path / "again"))
    with pytest.raises(ValueError, match="must hold encoder/pooler/bias/m"):
        pretrain.pretrain(again, report=lambda line: None)


def test_a_fine_tuning_is_prolonged_until_a_seed_is_done(tmp_path):
    def claim(folder, epochs, steps=0, **more):
        lines = []
        training = types.SimpleNamespace(num_train_epochs=epochs, train_steps=steps)
        described = {"num_train_epochs": epochs, "train_steps": steps, **more}
        finetune._claim(training, folder, described, lines.append)
        return lines

    folder = tmp_path / "out"
    assert claim(folder, 2.0) == []
    (folder / "seed-0" / "checkpoints" / "step-00000003").mkdir(parents=True)
    (line,) = claim(folder, 3.0)
    assert "`num_train_epochs` is now 3.0, it was 2.0" in line
    with pytest.raises(ValueError, match="num_train_epochs: 3.0 there, 1.0 asked for"):
        claim(folder, 1.0)
    with pytest.raises(ValueError, match="train_steps: 0 there, 5 asked for"):
        claim(folder, 3.0, steps=5)
    (folder / "seed-0" / "result.json").write_text("{}")
    with pytest.raises(ValueError, match="4.0 asked for .a seed is done and keeps no moments"):
        claim(folder, 4.0)


@pytest.mark.parametrize(
    "values",
    [
        {"architectures": ["AlbertForPreTraining"], "model_type": "albert", "bos_token_id": 2},
        {"net_structure_type": 0, "gap_size": 0, "num_memory_blocks": 0, "down_scale_factor": 1},
        {},
    ],
    ids=["transformers", "google", "ours"],
)
def test_the_config_of_any_model_directory_is_taken(tmp_path, values):
    config = AlbertConfig.from_preset("albert_tiny")
    (tmp_path / "config.json").write_text(json.dumps({**config.to_dict(), **values}))
    assert published_configs.find_config(str(tmp_path / "config.json")) == config


def test_an_unknown_key_of_a_config_is_still_refused(tmp_path):
    values = {**AlbertConfig.from_preset("albert_tiny").to_dict(), "rotary": True}
    (tmp_path / "config.json").write_text(json.dumps(values))
    with pytest.raises(CheckpointError, match="unknown 'rotary'"):
        published_configs.find_config(str(tmp_path / "config.json"))


@pytest.mark.slow
def test_records_of_another_vocabulary_are_refused_unless_meant(
    finished,
    data_dir,
    config_file,
    tmp_path,
    monkeypatch,
):
    other = tmp_path / "other"
    shutil.copytree(finished[0], other)
    tokenizer_of = tokenizer_files.load_tokenizer

    def swapped(directory):
        found = tokenizer_of(directory)
        pieces = [*found.pieces[:-2], *found.pieces[:-3:-1]]
        return types.SimpleNamespace(pieces=pieces, fingerprint="another")

    monkeypatch.setattr(tokenizer_files, "load_tokenizer", swapped)
    run = make_run(data_dir, config_file, tmp_path / "run", 3, init_checkpoint=str(other))
    with pytest.raises(ValueError, match="must be that of the records .*: 2 pieces differ"):
        pretrain.pretrain(run, report=lambda line: None)
    assert not (tmp_path / "run").exists()
    meant = run.with_values(allow_other_vocabulary=True)
    pretrain.pretrain(meant, report=lambda line: None)
    assert (tmp_path / "run" / "config.json").is_file()


@pytest.mark.slow
def test_a_run_of_a_stretched_checkpoint_keeps_its_length(
    finished, data_dir, config_file, tmp_path
):
    length = tiny_config().max_position_embeddings + 100
    run = make_run(data_dir, config_file, tmp_path / "run", 3).with_values(
        config=None, init_checkpoint=str(finished[0]), max_position_embeddings=length
    )
    pretrain.pretrain(run, report=lambda line: None)
    assert model_directory.read_config(tmp_path / "run").max_position_embeddings == length
    other = run.with_values(max_position_embeddings=None)
    with pytest.raises(ValueError, match=f"max_position_embeddings: {length} there, None asked"):
        pretrain.pretrain(other, report=lambda line: None)


@pytest.mark.slow
def test_a_run_takes_over_the_vocabulary_of_its_records(tokenizer, data_dir, config_file, tmp_path):
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces = [p.removeprefix("▁") if p[0] == "▁" else f"##{p}" for p in tokenizer.pieces[5:200]]
    words = Tokenizer.from_word_pieces(WordPieceVocabulary([*special, *filter(None, pieces)]))
    old = tmp_path / "old"
    config = tiny_config(vocab_size=words.vocab_size)
    language_models.AlbertForPretraining(config).save_pretrained(old, words)
    run = make_run(data_dir, config_file, tmp_path / "run", 3).with_values(
        config=None, init_checkpoint=str(old)
    )
    with pytest.raises(ValueError, match="`carry_over_vocabulary` changes that of"):
        pretrain.pretrain(run, report=lambda line: None)
    lines = []
    carried = run.with_values(carry_over_vocabulary=True)
    pretrain.pretrain(carried, report=lines.append)
    assert any("of 340 pieces keep their vectors" in line for line in lines)
    assert tokenizer_files.load_tokenizer(tmp_path / "run").pieces == tokenizer.pieces
    assert model_directory.read_config(tmp_path / "run").vocab_size == tokenizer.vocab_size
    with pytest.raises(ValueError, match="does not go with `max_position_embeddings` and `carry"):
        carried.with_values(init_optimizer=True)
    with pytest.raises(ValueError, match="one of them must be given. Received: both"):
        carried.with_values(allow_other_vocabulary=True)


@pytest.mark.slow
def test_a_finished_run_is_prolonged_with_its_moments(finished, data_dir, config_file, tmp_path):
    shutil.copytree(finished[0], tmp_path / "run")
    short = make_run(data_dir, config_file, tmp_path / "run")
    lines = []
    longer = make_run(data_dir, config_file, tmp_path / "run", steps=12)
    pretrain.pretrain(longer, report=lines.append)
    # Polynomial decay on the global step: 1e-3 * (1 - 6 / 12), where 6 of 6 steps had come to 0.
    expected = "prolonged from 6 to 12 steps: at step 6 the learning rate is now 0.0005; it was 0"
    assert expected in lines
    rows = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert [row["step"] for row in rows if row["split"] == "train"] == [3, 6, 9, 12]
    with pytest.raises(ValueError, match="train_steps: 12 there, 6 asked for"):
        pretrain.pretrain(short, report=lambda line: None)


@pytest.mark.slow
def test_a_checkpoint_of_ours_brings_its_moments_to_another_run(
    data_dir,
    config_file,
    tmp_path,
):
    whole = make_run(data_dir, config_file, tmp_path / "whole", steps=6)
    pretrain.pretrain(whole, report=lambda line: None)
    first = tmp_path / "whole" / "checkpoints" / "step-00000003"
    rest = make_run(data_dir, config_file, tmp_path / "rest", steps=6).with_values(
        init_checkpoint=str(first), init_optimizer=True
    )
    pretrain.pretrain(rest, report=lambda line: None)
    expected = read_safetensors(tmp_path / "whole" / "model.safetensors")
    found = read_safetensors(tmp_path / "rest" / "model.safetensors")
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, atol=1e-6)
    run_folder = rest.with_values(
        init_checkpoint=str(tmp_path / "whole"), output_dir=str(tmp_path / "third")
    )
    with pytest.raises(ValueError, match="such as .*step-00000006"):
        pretrain.pretrain(run_folder, report=lambda line: None)


@pytest.mark.slow
def test_before_the_first_checkpoint_any_setting_may_change(
    data_dir,
    config_file,
    tmp_path,
    monkeypatch,
):
    def fail(**_):
        (tmp_path / "run" / "metrics.jsonl").write_text('{"step": 0, "split": "held_out"}\n')
        raise MemoryError

    run = make_run(data_dir, config_file, tmp_path / "run", steps=3)
    with monkeypatch.context() as patched, pytest.raises(MemoryError):
        patched.setattr(pretrain.loop, "train", fail)
        pretrain.pretrain(run, report=lambda line: None)
    other = run.with_values(learning_rate=2e-3)
    pretrain.pretrain(other, report=lambda line: None)
    with pytest.raises(ValueError, match="learning_rate: 0.002 there, 0.001 asked for"):
        pretrain.pretrain(run, report=lambda line: None)


@pytest.mark.parametrize("layers", range(1, 65))
def test_every_group_of_an_unshared_model_starts_from_the_shared_block(layers):
    there = weight_mapping.regrouping(layers, 1, layers)
    back = weight_mapping.regrouping(layers, layers, 1)
    config = AlbertConfig(num_hidden_layers=layers, num_hidden_groups=layers)
    assert [config.group_of_layer(layer) for layer in range(layers)] == list(range(layers))
    assert {there(f"encoder/group_{n}/x") for n in range(layers)} == {"encoder/group_0/x"}
    assert back("encoder/group_0/x") == "encoder/group_0/x"


def test_layers_are_dealt_out_as_the_original_does_wherever_it_reaches_every_group():
    for layers in range(1, 65):
        for groups in range(1, layers + 1):
            original = [int(layer / layers * groups) for layer in range(layers)]
            config = AlbertConfig(num_hidden_layers=layers, num_hidden_groups=groups)
            ours = [config.group_of_layer(layer) for layer in range(layers)]
            assert sorted(set(ours)) == list(range(groups))
            if groups in (1, 2, 3, 4, 6, 12):
                assert ours == original
            assert max(abs(a - b) for a, b in zip(ours, original, strict=True)) <= 1


def test_conversion_starts_only_what_is_missing_anew(without_order, tmp_path):
    convert.convert(without_order, tmp_path / "ours", head="pretraining", initialize_head=True)
    before = read_safetensors(without_order / "model.safetensors")
    after = read_safetensors(tmp_path / "ours" / model_directory.WEIGHTS_FILE)
    for name, value in before.items():
        np.testing.assert_array_equal(after[name], value)


def test_a_config_by_which_the_weights_mean_other_things_is_refused(
    tmp_path, finished, data_dir, config_file
):
    def run_with(**changes):
        path = tmp_path / "config.json"
        path.write_text(json.dumps({**json.loads(config_file.read_text()), **changes}))
        run = make_run(data_dir, path, tmp_path / "run", init_checkpoint=str(finished[0]))
        lines = []
        start.find_config(
            run.start,
            start.find_changes(run.start, None, lines.append),
            run_data.find(run),
            tokenizer_files.load_tokenizer(finished[0]),
            lines.append,
        )
        return lines

    message = "must agree with that of .*Received: num_attention_heads=4 in place of 2, hidden_act="
    with pytest.raises(ValueError, match=message):
        run_with(num_attention_heads=4, hidden_act="gelu")
    assert run_with(hidden_dropout_prob=0.1) == []
    (line,) = run_with(num_hidden_layers=7)
    assert line.endswith("goes on with num_hidden_layers=7 in place of 1")


def test_a_finished_model_without_its_checkpoints_is_not_trained_over(
    tmp_path, finished, data_dir, config_file
):
    folder = tmp_path / "model"
    shutil.copytree(finished[0], folder)
    shutil.rmtree(folder / "checkpoints")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for steps in (6, 9):
        run = make_run(data_dir, config_file, folder, steps, eval_by_kind=True)
        with pytest.raises(ValueError, match="holds a finished model and no checkpoint to go on"):
            pretrain.pretrain(run, report=lambda line: None)
    after = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert after == before
