"""The whole evaluation: a model and a folder in, a page out; what it refuses."""

import json
import shutil

import hub_server
import numpy as np
import pytest
from samples import tiny_config

import albert_tf
from albert_tf.evaluation import evaluate
from albert_tf.evaluation.settings import EvaluationRun
from albert_tf.model.task_models import AlbertClassifier


def make_run(pretrained, folder, output_dir, **changes):
    values = {"eval_examples": 12, "eval_batch_size": 8, "max_seq_length": 32}
    values |= {"model_dir": str(pretrained), "data_dir": str(folder), "minimal_pairs": "none"}
    return EvaluationRun.of(output_dir=str(output_dir), **{**values, **changes})


@pytest.fixture
def pairs(tmp_path):
    path = tmp_path / "pairs.tsv"
    path.write_text("phenomenon\tgood\tbad\n<b>order\tThe boy sees it.\tThe sees boy it.\n")
    return path


def test_an_evaluation_leaves_figures_and_a_page(pretrained, folders, tmp_path, pairs):
    # A text of the training documents, and one that is not.
    shutil.copytree(folders["tokens"], tmp_path / "tokens")
    lines = []
    texts = tmp_path / "texts.txt"
    texts.write_text("zebra zebra zebra zebra zebra zebra zebra\n")
    run = make_run(
        pretrained,
        tmp_path / "tokens",
        tmp_path / "out",
        minimal_pairs=str(pairs),
        task_texts=[str(texts)],
        window_pieces=4,
    )
    results = evaluate.evaluate(run, lines.append)
    assert json.loads((tmp_path / "out" / "evaluation.json").read_text()) == results
    assert set(results["words"]) == {"held_out", "held_out_single"}
    assert results["words"]["held_out"]["all"]["predictions"] > 50
    assert results["sentence_order"]["all"]["predictions"] == results["examples"] == 12
    assert results["minimal_pairs"]["all"]["predictions"] == 1
    found = results["contamination"]["texts"]
    assert found["held_out"]["examples"] == 12
    assert found[str(texts)] == {"examples": 1, "without_window": 0, "seen": 0}
    page = (tmp_path / "out" / "evaluation.html").read_text()
    assert "&lt;b&gt;order" in page and "<b>order" not in page
    assert page.count("<table>") == len([line for line in lines if line == ""])
    assert any(line.startswith("words hidden alone") for line in lines)
    assert lines[-1] == f"page: {tmp_path / 'out' / 'evaluation.html'}"


def test_seen_examples_are_left_out_of_the_second_scores(pretrained, folders, tmp_path):
    folder = tmp_path / "tokens"
    shutil.copytree(folders["tokens"], folder)
    # The training text ends with the beginning of the held-out one.
    held_out, train = (
        next(folder.glob(f"{kind}-00000*.ids.npy")) for kind in ("held_out", "train")
    )
    ids = np.load(train)
    ids[-40:] = np.load(held_out)[:40]
    np.save(train, ids)
    run = make_run(pretrained, folder, tmp_path / "out", window_pieces=12, eval_examples=100)
    results = evaluate.evaluate(run, lambda line: None)
    seen = results["contamination"]["texts"]["held_out"]["seen"]
    assert 1 <= seen < results["examples"]
    left_out = results["contamination"]["left_out"]
    for split, kinds in results["words"].items():
        assert left_out["words"][split]["all"]["predictions"] < kinds["all"]["predictions"]
    assert left_out["sentence_order"]["all"]["predictions"] == results["examples"] - seen


@pytest.mark.slow
def test_records_are_evaluated_without_looking_for_texts(pretrained, folders, tmp_path):
    lines = []
    run = make_run(pretrained, folders["records"], tmp_path / "out", max_seq_length=None)
    results = evaluate.evaluate(run, lines.append)
    assert "contamination" not in results and "minimal_pairs" not in results
    assert any("texts were not looked for" in line for line in lines)
    with pytest.raises(ValueError, match="`task_texts` are looked for in stored tokens"):
        evaluate.evaluate(run.with_values(task_texts=[str(folders["records"] / "summary.json")]))
    with pytest.raises(ValueError, match="records have a length of their own"):
        evaluate.evaluate(run.with_values(max_seq_length=32))


def test_examples_are_as_long_as_those_of_the_run(pretrained, tmp_path):
    settings = evaluate.evaluated_data.settings_of_run
    assert settings(pretrained, None, 64).max_seq_length == 64
    run = {"data": {"examples": {"max_seq_length": 16, "short_seq_prob": 0.5}}}
    (tmp_path / "run.json").write_text(json.dumps(run))
    assert settings(tmp_path, None, 64).short_seq_prob == 0.5
    assert settings(tmp_path, None, 64).max_seq_length == 16
    assert settings(tmp_path, 32, 64).max_seq_length == 32
    assert settings(tmp_path / "checkpoints" / "step-00000003", None, 64).max_seq_length == 16
    run["data"]["examples"]["final_max_seq_length"] = 24
    (tmp_path / "run.json").write_text(json.dumps(run))
    assert settings(tmp_path, None, 64).max_seq_length == 24
    with pytest.raises(ValueError, match="must be at most the 16 tokens that the model reads"):
        settings(tmp_path, 32, 16)


def test_the_python_call_is_the_command(pretrained, folders, tmp_path, monkeypatch):
    runs = []
    monkeypatch.setattr(evaluate, "evaluate", lambda run, report: runs.append(run))
    values = {"model_dir": pretrained, "data_dir": folders["tokens"], "precision": "mixed_bfloat16"}
    albert_tf.evaluate(**values, task_texts=[folders["tokens"] / "summary.json"])
    assert runs[0].precision == "mixed_bfloat16"
    assert runs[0].output_folder() == pretrained / "evaluation"
    with pytest.raises(ValueError, match="did you mean `minimal_pairs`"):
        albert_tf.evaluate(**values, minimal_pair="none")
    with pytest.raises(ValueError, match="`minimal_pairs` must be a file"):
        albert_tf.evaluate(**values, minimal_pairs="nowhere")


def test_another_kind_of_model_is_refused(folders, tmp_path, tokenizer):
    model = AlbertClassifier(tiny_config(), num_classes=2)
    model.save_pretrained(tmp_path / "model", tokenizer)
    run = make_run(tmp_path / "model", folders["tokens"], tmp_path / "out")
    with pytest.raises(ValueError, match="`model_dir` must hold a pretrained model.*classific"):
        evaluate.evaluate(run)
    assert not (tmp_path / "out").exists()


def test_another_vocabulary_is_refused(pretrained, folders, tmp_path):
    folder = tmp_path / "tokens"
    shutil.copytree(folders["tokens"], folder)
    summary = json.loads((folder / "summary.json").read_text())
    summary["vocab_fingerprint"] = "0" * 64
    (folder / "summary.json").write_text(json.dumps(summary))
    with pytest.raises(ValueError, match="vocabulary of the model.*Received: .*of 0000"):
        evaluate.evaluate(make_run(pretrained, folder, tmp_path / "out"))


def test_a_folder_without_a_summary_or_held_out_documents_is_refused(pretrained, folders, tmp_path):
    with pytest.raises(ValueError, match=r"must hold what build_pretraining_data leaves.*summary"):
        evaluate.evaluate(make_run(pretrained, tmp_path, tmp_path / "out"))
    for form, key in (("tokens", "token_files"), ("records", "record_files")):
        folder = tmp_path / form
        shutil.copytree(folders[form], folder)
        summary = json.loads((folder / "summary.json").read_text())
        summary[key] = {"train": summary[key]["train"]}
        for path in folder.glob("held_out*"):
            summary.get("file_bytes", {}).pop(path.name, None)
            path.unlink()
        (folder / "summary.json").write_text(json.dumps(summary))
        with pytest.raises(ValueError, match="must hold held-out documents"):
            evaluate.evaluate(make_run(pretrained, folder, tmp_path / "out"))


@pytest.mark.slow
def test_damaged_records_are_named(pretrained, folders, tmp_path):
    folder = tmp_path / "records"
    shutil.copytree(folders["records"], folder)
    path = next(folder.glob("held_out_single-*"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    run = make_run(pretrained, folder, tmp_path / "out", max_seq_length=None)
    with pytest.raises(ValueError, match=f"{path.name}, record"):
        evaluate.evaluate(run, lambda line: None)


def test_a_name_on_the_hub_needs_a_place_for_results(hub, tmp_path):
    run = EvaluationRun.of(model_dir=hub_server.NAME, data_dir=str(tmp_path))
    with pytest.raises(ValueError, match="`output_dir` must be given .* Received: hf://"):
        evaluate.evaluate(run)
