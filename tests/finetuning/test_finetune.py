"""Fine-tuning from end to end on tiny data: results, kills, seeds, and what is refused."""

import json
import math
import shutil
import signal
import subprocess
import sys
import types

import numpy as np
import pytest
from hub_server import COMMIT, NAME, TOKEN
from samples import VOCABULARY, tiny_config

from albert_tf import whole_files
from albert_tf.checkpoints import model_directory
from albert_tf.checkpoints.stored_tensors import CheckpointError
from albert_tf.finetuning import evaluation, finetune
from albert_tf.finetuning.finetune import FinetuningRun
from albert_tf.inference import batch_prediction, fine_tuned
from albert_tf.model.language_models import AlbertForPretraining
from albert_tf.model.task_models import AlbertClassifier
from albert_tf.pipelines.task_data.text_examples import TextExample
from albert_tf.pipelines.tokenizer.tokenization import Tokenizer
from albert_tf.tasks import class_balance
from albert_tf.tasks.table import TaskOptions, make_task
from albert_tf.training import metric_log, train_step

pytestmark = pytest.mark.usefixtures("undrawn")

RANDOM = {
    "init_checkpoint": "random",
    "config": "albert_tiny",
    "vocab_model": str(VOCABULARY),
}
ANIMALS, THINGS = ("cat", "dog", "bird", "horse"), ("house", "river", "stone", "door")


def sentences(count, seed=0, longest=5):
    """Returns rows whose last word tells the class; 5 words before it fill one width of a batch."""
    generator = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        label = ("animal", "thing")[generator.integers(2)]
        word = generator.choice(ANIMALS if label == "animal" else THINGS)
        filler = " ".join(
            generator.choice(["we", "saw", "the", "old", "day"], generator.integers(1, longest + 1))
        )
        rows.append({"text": f"{filler} {word}", "label": label})
    return rows


def write_rows(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


FINISHED = {
    "seeds": (0, 1),
    "num_train_epochs": 12,
    "learning_rate": 1e-2,
    "predict_test": True,
    "license": "mit",
    "language": ("en",),
}
NO_FILES = dict.fromkeys(("train_file", "dev_file", "test_file"))


def make_run(folder, pretrained, options=None, **changes):
    data = folder / "data"
    data.mkdir(exist_ok=True)
    given = {
        "train_file": write_rows(data / "train.jsonl", sentences(64)),
        "dev_file": write_rows(data / "dev.jsonl", sentences(40, 1)),
        "test_file": write_rows(data / "test.jsonl", sentences(10, 2)),
        "max_seq_length": 32,
        **(options or {}),
    }
    settings = {
        "task": "classification",
        "output_dir": str(folder / "out"),
        "init_checkpoint": str(pretrained),
        "num_train_epochs": 2,
        "batch_size": 16,
        "learning_rate": 3e-3,
        "log_steps": 2,
        **changes,
    }
    return FinetuningRun.of(**given, **settings)


def run_quietly(run, lines=None):
    return finetune.finetune(run, report=(lines if lines is not None else []).append)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, pretrained):
    """A run over two seeds: its folder, results and lines."""
    folder = tmp_path_factory.mktemp("finished")
    lines = []
    run = make_run(folder, pretrained, **FINISHED)
    return folder / "out", run_quietly(run, lines), lines


def test_the_model_has_a_card_with_its_scores_and_data(finished):
    folder, results, _ = finished
    card = (folder / "README.md").read_text(encoding="utf-8")
    mean = results["summary"]["dev"]["accuracy"]["mean"]
    assert f"value: {mean:.6f}" in card and "| train | 64 |" in card
    assert 'license: "mit"' in card and '- "en"' in card
    assert "--train_file=train.jsonl" in card and str(folder.parent) not in card


@pytest.mark.slow
def test_a_run_starts_from_a_name_on_the_hub_and_keeps_its_commit(tmp_path, hub):
    run = make_run(tmp_path, NAME, train_steps=1)
    lines = []
    assert run_quietly(run, lines)["init_checkpoint"] == f"hf://{NAME}@{COMMIT}"
    assert "/snapshots/" not in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert f'base_model: "{NAME}"' in card
    assert f"--init_checkpoint=hf://{NAME}@{COMMIT}" in card
    for path in (tmp_path / "out").rglob("*"):
        assert path.is_dir() or TOKEN.encode() not in path.read_bytes(), path
    assert TOKEN not in "".join(lines)
    # The same once more asks for the same weights.
    assert any("done already" in line for line in (run_quietly(run, lines), lines)[1])


def test_model_learns_what_the_words_tell(finished):
    _, results, lines = finished
    accuracy = results["summary"]["dev"]["accuracy"]
    assert accuracy["mean"] > 0.9
    assert results["baseline"]["dev"]["accuracy"] < 0.7
    assert any(line.startswith("classification, dev: accuracy") for line in lines)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("eval_steps", "passes"), [(8, 1), pytest.param(4, 3, marks=pytest.mark.slow)]
)
def test_dev_set_is_predicted_again_only_if_the_last_checkpoint_is_not_the_best(
    eval_steps, passes, tmp_path, pretrained, monkeypatch
):
    predicted = []
    predict = evaluation.Evaluator.predict
    monkeypatch.setattr(
        evaluation.Evaluator,
        "predict",
        lambda self, name: predicted.append(name) or predict(self, name),
    )
    # Nothing is learned, so all evaluations are equal and the first one is the best.
    run = make_run(tmp_path, pretrained, eval_steps=eval_steps, learning_rate=1e-12)
    results = run_quietly(run)
    assert predicted == ["dev"] * passes
    assert results["seeds"]["0"]["best_step"] == eval_steps
    rows = (tmp_path / "out" / "seed-0" / "predictions" / "dev.jsonl").read_text().splitlines()
    assert len(rows) == 40


def test_results_are_those_of_the_seeds(finished):
    output, results, _ = finished
    values = [results["seeds"][seed]["best"]["dev"]["accuracy"] for seed in ("0", "1")]
    spread = results["summary"]["dev"]["accuracy"]
    assert spread["values"] == values
    np.testing.assert_allclose(spread["mean"], np.mean(values))
    np.testing.assert_allclose(spread["deviation"], np.std(values, ddof=1))
    assert json.loads((output / "results.json").read_text()) == results
    for seed in ("0", "1"):
        rows = metric_log.read_metrics(output / f"seed-{seed}" / "metrics.jsonl")
        dev = {row["step"]: row["accuracy"] for row in rows if row["split"] == "dev"}
        outcome = results["seeds"][seed]
        assert outcome["best"]["dev"]["accuracy"] == max(dev.values())
        assert outcome["best_step"] == max(dev, key=dev.get)
        assert outcome["last"]["dev"]["accuracy"] == dev[max(dev)]


def test_folder_holds_what_people_look_at(finished):
    output, _, _ = finished
    page = (output / "report.html").read_text()
    for part in ("Scores on dev", "Confusion", "animal", "without a model", "Classes on dev"):
        assert part in page
    assert (output / "learning_curve.png").stat().st_size > 1000
    assert list((output / "seed-0" / "tensorboard").rglob("events*"))
    predictions = [
        json.loads(line)
        for line in (output / "seed-0" / "predictions" / "test.jsonl").read_text().splitlines()
    ]
    assert len(predictions) == 10 and set(predictions[0]) == {"id", "prediction"}
    # What only the training needed is gone.
    assert not list(output.glob("seed-*/checkpoints")) and not list(output.glob("seed-*/best-*"))


def test_output_directory_is_the_model_of_the_best_seed(finished):
    output, results, _ = finished
    classify = fine_tuned.Classifier.from_pretrained(output)
    answers = classify([row["text"] for row in sentences(40, 1)])
    right = np.mean(
        [
            answer["label"] == row["label"]
            for answer, row in zip(answers, sentences(40, 1), strict=True)
        ]
    )
    best = str(results["best_seed"])
    assert right == results["seeds"][best]["best"]["dev"]["accuracy"]
    assert classify.max_seq_length == 32
    assert model_directory.read_labels(output) == ["animal", "thing"]


def test_finished_run_is_not_trained_again(finished, tmp_path, pretrained):
    output, results, _ = finished
    shutil.copytree(output, tmp_path / "out")
    lines = []
    run = make_run(tmp_path, pretrained, **FINISHED)
    assert run_quietly(run, lines) == results
    assert "seed 0: done already" in lines and not any(line.startswith("step") for line in lines)


def test_another_test_file_is_predicted_by_the_finished_model(finished, tmp_path, pretrained):
    output, results, _ = finished
    shutil.copytree(output, tmp_path / "out")
    other = write_rows(tmp_path / "other.jsonl", sentences(7, 3))
    lines = []
    changes = {**FINISHED, "options": {"test_file": other}}
    assert run_quietly(make_run(tmp_path, pretrained, **changes), lines)["best_seed"] is not None
    assert not any(line.startswith("step") for line in lines)
    for seed in (0, 1):
        predicted = (tmp_path / "out" / f"seed-{seed}" / "predictions" / "test.jsonl").read_text()
        classify = fine_tuned.Classifier.from_pretrained(
            tmp_path / "out" / f"seed-{seed}" / "model"
        )
        answers = [answer["label"] for answer in classify([row["text"] for row in sentences(7, 3)])]
        assert [json.loads(row)["prediction"] for row in predicted.splitlines()] == answers


@pytest.mark.slow
def test_another_model_in_the_same_folder_is_not_taken_for_the_one_before(tmp_path, pretrained):
    start = tmp_path / "start"
    shutil.copytree(pretrained, start)
    run_quietly(make_run(tmp_path, start, train_steps=1))
    path = tmp_path / "out" / "run.json"
    description = json.loads(path.read_text())
    digest = description.pop("init_weights")  # as an older version wrote it
    path.write_text(json.dumps(description))
    run_quietly(make_run(tmp_path, start, train_steps=1))
    assert json.loads(path.read_text())["init_weights"] == digest
    path.write_text(json.dumps({**description, "init_weights": "of another model"}))
    with pytest.raises(
        ValueError, match="  init_weights: 'of another model' there, .*have changed since"
    ):
        run_quietly(make_run(tmp_path, start, train_steps=1, seeds=(0, 1)))


@pytest.mark.slow
@pytest.mark.parametrize("lora_rank", [0, 2])
def test_killed_run_goes_on_and_ends_with_the_same_weights(
    tmp_path, pretrained, monkeypatch, lora_rank
):
    changes = {"checkpoint_steps": 3, "lora_rank": lora_rank}
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    for folder in (whole, cut):
        folder.mkdir()
    run_quietly(make_run(whole, pretrained, **changes))

    class Killed(Exception):
        pass

    make_train_step = train_step.make_train_step

    def dies_at_step_six(*args):
        step, count = make_train_step(*args), [0]

        def one(*batches, **values):
            count[0] += 1
            if count[0] == 6:
                raise Killed
            return step(*batches, **values)

        return one

    monkeypatch.setattr(train_step, "make_train_step", dies_at_step_six)
    with pytest.raises(Killed):
        run_quietly(make_run(cut, pretrained, **changes))
    monkeypatch.setattr(train_step, "make_train_step", make_train_step)
    lines = []
    run_quietly(make_run(cut, pretrained, **changes), lines)
    assert any("resuming at step 3" in line for line in lines)
    weights = [(folder / "out" / "model.safetensors").read_bytes() for folder in (whole, cut)]
    assert weights[0] == weights[1]


def train_losses(folder, pretrained, options=None, **changes):
    folder.mkdir()
    run_quietly(make_run(folder, pretrained, options, **changes))
    rows = metric_log.read_metrics(folder / "out" / "seed-0" / "metrics.jsonl")
    losses = [row["classification_loss"] for row in rows if row["split"] == "train"]
    assert len(losses) == 4
    return losses


@pytest.mark.slow
def test_padding_changes_nothing_but_the_speed(tmp_path, pretrained):
    rows = {"train_file": write_rows(tmp_path / "train.jsonl", sentences(64, longest=11))}
    short = train_losses(tmp_path / "short", pretrained, rows)
    padded = train_losses(tmp_path / "long", pretrained, rows, pad_to_max_length=True)
    np.testing.assert_allclose(padded, short, rtol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("changed", [{"jit_compile": True}, {"recompute": "blocks"}], ids=str)
def test_compiling_and_recomputing_change_no_loss(tmp_path, pretrained, changed):
    settings = {"pad_to_max_length": True, "accumulation_steps": 2}
    plain = train_losses(tmp_path / "plain", pretrained, **settings)
    other = train_losses(tmp_path / "other", pretrained, **settings, **changed)
    np.testing.assert_allclose(other, plain, rtol=1e-3)


def test_evaluation_alone_repeats_the_scores(finished, tmp_path):
    output, results, _ = finished
    run = make_run(tmp_path, output, train=False, predict_test=True)
    again = run_quietly(run)
    best = results["seeds"][str(results["best_seed"])]["best"]
    assert again["seeds"]["0"]["best"] == best
    assert (tmp_path / "out" / "seed-0" / "predictions" / "test.jsonl").exists()


def test_evaluation_alone_reads_as_much_of_a_text_as_fine_tuning_did(finished, tmp_path):
    output, results, _ = finished
    options = {"max_seq_length": None, "labels": ("thing", "animal")}
    again = run_quietly(make_run(tmp_path, output, options, train=False))
    best = results["seeds"][str(results["best_seed"])]["best"]
    assert again["seeds"]["0"]["best"] == best  # the classes in the model's order, not in ours
    description = json.loads((tmp_path / "out" / "run.json").read_text())
    assert description["options"]["max_seq_length"] == 32


def test_evaluation_alone_wants_something_to_evaluate(finished, tmp_path):
    run = make_run(tmp_path, finished[0], {"train_file": None, "dev_file": None}, train=False)
    with pytest.raises(ValueError, match="`train=False` needs data"):
        run_quietly(run)
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").glob("seed-*"))


@pytest.mark.slow
def test_early_stopping_ends_after_evaluations_without_a_better_one(tmp_path, pretrained):
    run = make_run(
        tmp_path, pretrained, learning_rate=1e-7, num_train_epochs=50, early_stopping_evaluations=2
    )
    outcome = run_quietly(run)["seeds"]["0"]
    rows = metric_log.read_metrics(tmp_path / "out" / "seed-0" / "metrics.jsonl")
    steps = [row["step"] for row in rows if row["split"] == "dev"]
    assert len(steps) < 50
    assert sum(step > outcome["best_step"] for step in steps) == 2


@pytest.mark.slow
def test_random_weights_are_trained_only_when_asked_for(tmp_path, pretrained):
    config = tmp_path / "small.json"
    config.write_text(tiny_config().to_json_string())
    run = make_run(
        tmp_path,
        "random",
        config=str(config),
        vocab_model=str(VOCABULARY),
        num_train_epochs=1,
    )
    assert run_quietly(run)["init_checkpoint"] == "random"


@pytest.mark.slow
def test_random_weights_may_start_with_pointed_heads(tmp_path, pretrained):
    config = tiny_config(
        embedding_size=32, hidden_size=64, num_attention_heads=4, intermediate_size=64
    )
    (tmp_path / "config.json").write_text(json.dumps(config.to_dict()))
    changes = RANDOM | {"config": str(tmp_path / "config.json"), "initial_attention": "pointed"}
    run_quietly(make_run(tmp_path, pretrained, train_steps=1, learning_rate=1e-9, **changes))
    model = AlbertClassifier.from_pretrained(tmp_path / "out")
    # A head at a neighbor reads 8 numbers of the position; the rest of its 16 columns is empty.
    query = np.abs(model.encoder.blocks[0].query.kernel.numpy()).max(axis=0)
    assert query[8:16].max() < 1e-6 < 0.1 < query[:8].min()


@pytest.mark.slow
def test_part_of_the_training_file_is_held_out_without_a_dev_file(tmp_path, pretrained):
    run = make_run(
        tmp_path, pretrained, {"dev_file": None, "dev_fraction": 0.3}, num_train_epochs=1
    )
    results = run_quietly(run)
    assert sum(results["examples"].values()) == 64 and results["examples"]["dev"] > 8


@pytest.mark.parametrize(
    ("options", "changes", "message"),
    [
        (
            {},
            {"init_checkpoint": None},
            "`init_checkpoint` must name a model directory, or be random",
        ),
        ({}, {"init_checkpoint": "nowhere"}, "Received: nowhere, no such folder"),
        ({}, {"init_checkpoint": "random"}, "`init_checkpoint=random` needs `config` and"),
        ({}, {"initial_attention": "pointed"}, "goes with `init_checkpoint=random`"),
        ({}, RANDOM | {"initial_attention": "far"}, "`initial_attention` must be one of random"),
        ({}, RANDOM | {"initial_attention": "pointed"}, "`embedding_size` at least 32"),
        ({}, {"config": "albert_tiny"}, "go with `init_checkpoint=random`"),
        ({}, {"task": "quiz"}, "`task` must be one of cola, sst2"),
        (NO_FILES, {"task": "mrpc"}, "`data_dir` must name the folder of GLUE or of mrpc"),
        ({}, {"seeds": (1, 1)}, "`seeds` must be different numbers"),
        ({}, {"seeds": (0, 1 << 32)}, r"`seeds` must be different numbers from 0 to 2\^32 - 1"),
        ({"test_file": None}, {"predict_test": True}, "`predict_test` needs a test set, such as"),
        (
            {"dev_file": None, "dev_fraction": 0.0},
            {"early_stopping_evaluations": 1},
            "`early_stopping_evaluations` needs held-out data. Received: none",
        ),
        ({}, {"optimizer": "sgd"}, "`optimizer` must be one of adamw, lamb, muon"),
        ({}, {"lora_alpha": 8.0}, "`lora_alpha` goes with `lora_rank`. Received: 8.0"),
        ({}, {"lora_rank": 1000}, "`lora_rank`: `rank` must lie in 1"),
        ({}, {"lora_rank": 4, "frozen": ("encoder",)}, "`frozen` must be empty with `lora_rank`"),
        ({}, {"frozen": ("pooler",)}, "`frozen` must name some of embeddings, encoder, group_0"),
        ({}, {"layer_decay": 0.0}, r"`layer_decay` must lie in \(0, 1\]"),
        ({}, {"num_train_epochs": 0}, "`num_train_epochs` or `train_steps` must be positive"),
        ({}, {"num_train_epochs": math.inf}, "`num_train_epochs` or `train_steps` must be"),
        ({}, {"num_train_epochs": math.nan}, "`num_train_epochs` or `train_steps` must be"),
        ({}, {"train_steps": -1}, "`train_steps` must be an integer from 0 on"),
        ({}, {"warmup_proportion": 1.0}, "`warmup_proportion` must lie in"),
        ({}, {"warmup_proportion": math.nan}, "`warmup_proportion` must lie in"),
        ({}, {"learning_rate": math.nan}, "`learning_rate` must not be negative. Received: nan"),
        ({}, {"max_gradient_norm": -1.0}, "`max_gradient_norm` must not be negative"),
        ({}, {"max_gradient_norm": math.nan}, "`max_gradient_norm` must not be negative"),
        ({}, {"weight_decay": math.inf}, "`weight_decay` must not be negative"),
        ({}, {"beta_2": math.nan}, "`beta_2` must lie in"),
        ({}, {"layer_decay": math.nan}, r"`layer_decay` must lie in \(0, 1\]"),
        ({}, {"encoder_dropout": math.nan}, "`encoder_dropout` must lie in"),
        ({}, {"lora_rank": 2, "lora_alpha": math.nan}, "`lora_alpha` must be positive"),
        ({}, {"batch_size": 0}, "`batch_size` must be a positive integer"),
        ({}, {"eval_steps": -1}, "`eval_steps` must be an integer from 0 on"),
        ({}, {"lora_rank": -1}, "`lora_rank` must be an integer from 0 on"),
        ({"text_column": "words"}, {}, "words"),
        ({"labels": ("animal", "plant")}, {}, "line 1: column label: the label must be one of"),
        ({"max_seq_length": 513}, {}, "`max_seq_length` must not exceed"),
        (
            {"train_file": None, "dev_fraction": 0.0, "dev_file": None},
            {},
            "`train_file` must be given",
        ),
        ({"data_source": "web"}, {}, "`data_source` must be one of files, tfds"),
        ({}, {"accumulation_steps": 3}, "`batch_size` must be divisible by `accumulation_steps`"),
        ({}, {"warmup_steps": 99}, "`warmup_steps` must be below the 8 steps of the run"),
        ({}, {"optimizer": "muon", "layer_decay": 0.5}, "with adamw and lamb. Received: muon"),
    ],
)
def test_what_cannot_work_is_refused_before_any_step(
    tmp_path, pretrained, options, changes, message
):
    lines = []
    with pytest.raises((ValueError, CheckpointError), match=message):
        run_quietly(make_run(tmp_path, pretrained, options, **changes), lines)
    assert not any(line.startswith("step") for line in lines)
    # The folder is not taken, so the corrected command can have it.
    assert not (tmp_path / "out").exists()


def test_another_run_cannot_take_over_the_folder(finished, tmp_path, pretrained):
    shutil.copytree(finished[0], tmp_path / "out")
    with pytest.raises(ValueError, match="learning_rate: 0.01 there, 0.1 asked for"):
        run_quietly(make_run(tmp_path, pretrained, **(FINISHED | {"learning_rate": 0.1})))


@pytest.mark.slow
def test_malformed_rows_are_skipped_and_counted_when_asked(tmp_path, pretrained):
    options = {"skip_malformed": True, "max_row_mb": 1}
    run = make_run(tmp_path, pretrained, options, num_train_epochs=1)
    with open(run.options.train_file, "a") as file:
        file.write('{"text": "", "label": "animal"}\n')
        file.write(json.dumps({"text": "x" * 2**21, "label": "animal"}) + "\n")
    lines = []
    assert run_quietly(run, lines)["examples"]["train"] == 64
    assert any("skipped 2 malformed rows" in line and "line 65" in line for line in lines)
    assert any("line 66: must have at most 1,048,576 bytes" in line for line in lines)
    assert "skipped 2 malformed rows" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.slow
def test_frozen_parts_stay_as_they_are(tmp_path, pretrained):
    run_quietly(make_run(tmp_path, pretrained, frozen=("encoder",), num_train_epochs=1))
    before = model_directory.open_weights(pretrained)[0]
    after = model_directory.open_weights(tmp_path / "out")[0]
    moved = {
        name
        for name in before.keys() & after.keys()
        if not np.array_equal(before[name].read(), after[name].read())
    }
    assert moved == {"albert.pooler.weight", "albert.pooler.bias"}


@pytest.mark.slow
def test_adapters_are_trained_and_added_in(tmp_path, pretrained):
    lines = []
    changes = {"lora_rank": 4, "num_train_epochs": 15, "bias_correction": False}
    results = run_quietly(make_run(tmp_path, pretrained, **changes), lines)
    assert results["summary"]["dev"]["accuracy"]["mean"] > 0.7
    assert any("parameters are trained" in line for line in lines)
    before = model_directory.open_weights(pretrained)[0]
    after = model_directory.open_weights(tmp_path / "out")[0]
    for name in after.keys() - before.keys():
        assert name.startswith("classifier.")
    moved = {
        name
        for name in before.keys() & after.keys()
        if not np.array_equal(before[name].read(), after[name].read())
    }
    kernels = {n for n in after if "albert_layer_groups" in n and n.endswith("weight")}
    kernels -= {n for n in kernels if "LayerNorm" in n or "layer_norm" in n}
    assert moved == kernels | {"albert.pooler.weight", "albert.pooler.bias"}
    # What lies there answers as what was trained.
    again = run_quietly(
        make_run(tmp_path, tmp_path / "out", train=False, output_dir=str(tmp_path / "again"))
    )
    assert again["seeds"]["0"]["best"] == results["seeds"]["0"]["best"]


def test_predictions_do_not_depend_on_the_batches(finished, pretrained):
    classify = fine_tuned.Classifier.from_pretrained(finished[0])
    texts = [row["text"] for row in sentences(13, 5)]
    together = classify(texts)
    for text, answer in zip(texts, together, strict=True):
        alone = classify(text)
        assert alone["label"] == answer["label"]
        np.testing.assert_allclose(alone["score"], answer["score"], atol=1e-5)


def test_prediction_keeps_the_order_of_the_examples(pretrained):
    model = AlbertForPretraining.from_pretrained(pretrained)
    predict = batch_prediction.make_predict(lambda inputs, training: inputs["input_ids"][:, 1])
    from albert_tf.pipelines.task_data.text_examples import TextExample, encode_texts

    tokenizer = Tokenizer(VOCABULARY)
    texts = ["the " * count + word for count, word in enumerate(ANIMALS)]
    encoded = encode_texts([TextExample("", text) for text in texts], tokenizer, 32)
    outputs = predict(encoded, 3, 32)["scores"]
    assert [int(value) for value in outputs] == [encoded.row(i)["input_ids"][1] for i in range(4)]
    assert model.config == tiny_config()


def test_second_run_in_a_folder_is_refused_at_once(tmp_path, pretrained):
    run = make_run(tmp_path, pretrained, {})
    with whole_files.only_run_in(tmp_path / "out"):
        with pytest.raises(whole_files.FolderInUseError, match="is in use by process"):
            run_quietly(run)


@pytest.mark.slow
def test_seed_that_was_killed_while_it_tidied_up_is_tidied_by_the_next_call(tmp_path, pretrained):
    run = make_run(tmp_path, pretrained, {}, train_steps=2)
    run_quietly(run)
    seed = tmp_path / "out" / "seed-0"
    before = sorted(path.name for path in seed.iterdir())
    for name in ("checkpoints", "best-00000002", ".best-00000001.partial"):
        (seed / name).mkdir()
    (tmp_path / "out" / ".model.safetensors.partial").write_text("half a model")
    run_quietly(run)
    assert sorted(path.name for path in seed.iterdir()) == before
    assert not list((tmp_path / "out").glob(".*"))


@pytest.mark.slow
def test_prolonged_run_that_was_killed_before_its_result_has_its_own_weights(
    tmp_path, pretrained, monkeypatch
):
    """What the shorter run had written is not taken for the model of the longer one."""
    write_json = whole_files.write_json

    def killed(path, values):
        if path.name == "result.json":
            raise KeyboardInterrupt
        write_json(path, values)

    monkeypatch.setattr(whole_files, "write_json", killed)
    with pytest.raises(KeyboardInterrupt):
        run_quietly(make_run(tmp_path, pretrained, train_steps=1, learning_rate=1e-2))
    monkeypatch.undo()
    run = make_run(tmp_path, pretrained, train_steps=40, learning_rate=1e-2)
    accuracy = run_quietly(run)["summary"]["dev"]["accuracy"]["mean"]
    read = fine_tuned.Classifier.from_pretrained(str(tmp_path / "out"))
    rows = sentences(40, 1)
    right = [read(row["text"])["label"] == row["label"] for row in rows]
    assert np.mean(right) == pytest.approx(accuracy)
    assert accuracy > 0.65


@pytest.mark.slow
def test_signal_ends_the_command_behind_a_checkpoint(tmp_path, pretrained):
    rows = write_rows(tmp_path / "train.jsonl", sentences(64))
    command = [
        *(sys.executable, "-m", "albert_tf.run_finetuning", "--task=classification"),
        *(f"--train_file={rows}", f"--dev_file={rows}", f"--init_checkpoint={pretrained}"),
        *(f"--output_dir={tmp_path / 'out'}", "--train_steps=4000", "--eval_steps=4000"),
        *("--batch_size=16", "--max_seq_length=32", "--log_steps=5"),
    ]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        for line in process.stdout:
            if line.startswith("step       5/"):
                process.send_signal(signal.SIGTERM)
                break
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "run_finetuning: stopped by SIGTERM; the same command goes on from step" in errors
    assert "Traceback" not in errors
    checkpoints = tmp_path / "out" / "seed-0" / "checkpoints"
    assert len(list(checkpoints.iterdir())) == 1


@pytest.mark.slow
def test_held_out_loss_is_reported_and_mistakes_have_their_probability(tmp_path, pretrained):
    run = make_run(tmp_path, pretrained, train_steps=1, learning_rate=1e-9)
    results = run_quietly(run)
    rows = metric_log.read_metrics(tmp_path / "out" / "seed-0" / "metrics.jsonl")
    (held_out,) = [row for row in rows if row["split"] == "dev"]
    scores = fine_tuned.Classifier.from_pretrained(tmp_path / "out")(
        [row["text"] for row in sentences(40, 1)]
    )
    losses, wrong = [], []
    for row, answer in zip(sentences(40, 1), scores, strict=True):
        losses.append(-math.log(answer["scores"][row["label"]]))
        if answer["label"] != row["label"]:
            wrong.append(answer["score"])
    assert held_out["loss"] == pytest.approx(np.mean(losses), rel=1e-4)
    assert results["summary"]["dev"]["loss"]["mean"] == held_out["loss"]
    diagnosis = json.loads((tmp_path / "out" / "seed-0" / "diagnosis.json").read_text())
    found = [error["score"] for error in diagnosis["dev"]["errors"]]
    np.testing.assert_allclose(found, sorted(wrong, reverse=True), rtol=1e-4)
    assert "· probability" in (tmp_path / "out" / "report.html").read_text()


def test_classes_that_look_alike_are_told():
    lines = []
    examples = [
        TextExample(str(n), "a", None, label) for n, label in enumerate(["Pos", "pos", "no"])
    ]
    task = make_task("classification", TaskOptions(labels=("Pos", "no", "pos")), None)
    class_balance.report_classes("train", task, examples, lines.append)
    assert lines[1:] == ["Warning: classes of train that differ in case or spaces alone: Pos, pos"]


def test_a_metric_that_the_data_lacks_is_refused_before_an_evaluation(monkeypatch):
    monkeypatch.setattr(finetune.start, "make_model", lambda *_, **__: None)
    task = types.SimpleNamespace(
        dev_splits=("dev",),
        metrics=("accuracy", "entity_f1"),
        metric="entity_f1",
        baseline=lambda train, dev: {"accuracy": 0.5},
    )
    run = types.SimpleNamespace(train=False, start=None)
    with pytest.raises(ValueError, match="`metric` must be one of accuracy. Received: 'entity_f1'"):
        finetune._check_model_and_steps(run, task, {"dev": []}, None)


@pytest.mark.slow
def test_warm_up_counts_updates_of_windows(tmp_path, pretrained):
    rows = [{"text": "the old cat sat " * 30, "label": label} for label in ("neg", "pos")]
    options = {"train_file": write_rows(tmp_path / "long.jsonl", rows), "long_texts": "windows"}
    options |= {"dev_file": None, "dev_fraction": 0.0, "test_file": None, "max_seq_length": 24}
    lines = []
    run = make_run(tmp_path, pretrained, options, batch_size=4, num_train_epochs=1, warmup_steps=3)
    run_quietly(run, lines)
    assert any(line.startswith("step") and "/1 " not in line for line in lines)
