"""Files of every form are asked about from the command line; each call is a process of its own."""

import csv
import dataclasses
import gzip
import json
import os
import pathlib
import subprocess
import sys

import pytest
from samples import VOCABULARY

from albert_tf.config import AlbertConfig
from albert_tf.model.task_models import AlbertClassifier, AlbertMultipleChoice, AlbertSpanSelector
from albert_tf.pipelines.tokenizer.tokenization import Tokenizer

ROOT = pathlib.Path(__file__).parents[1]
CONFIG = dataclasses.replace(AlbertConfig.from_preset("albert_tiny"), vocab_size=340)

pytestmark = pytest.mark.slow


def save(folder, model):
    model.save_pretrained(folder, Tokenizer(VOCABULARY))
    return folder


def predict(folder, *flags):
    command = [sys.executable, "-m", "albert_tf.run_prediction", *flags]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_questions_and_contexts_come_from_json_lines(tmp_path):
    model = save(tmp_path / "model", AlbertSpanSelector(CONFIG))
    rows = [{"question": "who?", "context": "The old cat sat. " * n} for n in (1, 90)]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    flags = ("--task=answer", "--input=in.jsonl", "--output=out.jsonl")
    done = predict(tmp_path, f"--model_dir={model}", *flags)
    assert done.returncode == 0, done.stderr[-2000:]
    answers = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    for row, answer in zip(rows, answers, strict=True):
        assert row["context"][answer["start"] : answer["end"]] == answer["answer"] != ""


def test_choices_and_pairs(tmp_path):
    model = save(tmp_path / "chooser", AlbertMultipleChoice(CONFIG))
    row = {"passage": "A cat sat.", "question": "_ sat?", "options": ["cats", "dogs", "birds"]}
    (tmp_path / "in.jsonl").write_text(json.dumps(row) + "\n")
    done = predict(tmp_path, f"--model_dir={model}", "--task=choice", "--input=in.jsonl")
    answer = json.loads(done.stdout)
    assert answer["option"] == row["options"][answer["index"]] and len(answer["scores"]) == 3

    model = save(tmp_path / "classifier", AlbertClassifier(CONFIG, labels=["no", "yes"]))
    (model / "task.json").write_text(json.dumps({"kind": "classification", "max_seq_length": 16}))
    (tmp_path / "in.csv").write_text('a,b\n"one, two",x\n,y\nthree,z\n')
    flags = (f"--model_dir={model}", "--input=in.csv", "--columns=a,b")
    # The model knows its task; an empty text has no answer.
    done = predict(tmp_path, *flags)
    assert len(done.stdout.splitlines()) == 3, done.stderr[-2000:]
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert set(answers[0]["scores"]) == {"no", "yes"}
    assert sum("must hold a text. Received: ''" in row.get("problem", "") for row in answers) == 1
    refused = predict(tmp_path, *flags, "--task=fill_mask")
    assert "--task=fill_mask needs a model for it. Received: " in refused.stderr
    notes = {"kind": "classification", "is_pair": True}
    (model / "task.json").write_text(json.dumps(notes))
    refused = predict(tmp_path, *flags[:2], "--columns=a")
    assert "--columns must be two: " in refused.stderr
    (model / "task.json").write_text(json.dumps({"kind": "classification", "max_seq_length": 16}))

    # Quoted cells and no names, whatever the suffix.
    (tmp_path / "in.txt").write_text('"one\ntwo"\tx\nthree\tz\n')
    form = ("--file_format=tsv", "--nohas_header", "--quoting")
    done = predict(tmp_path, f"--model_dir={model}", "--input=in.txt", "--columns=0,1", *form)
    assert len(done.stdout.splitlines()) == 2, done.stderr[-2000:]

    # Excel's "Unicode text" is a table: only without columns is a .txt a text a line.
    (tmp_path / "table.TXT").write_text("id\ttext\n1\tone\n2\ttwo\n", encoding="utf-16")
    for columns, texts in (("--columns=text", ["one", "two"]), ("", ["id\ttext", "1\tone"])):
        flags = [f"--model_dir={model}", "--input=table.TXT", *filter(None, [columns])]
        done = predict(tmp_path, *flags)
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        assert [row["text"] for row in rows][:2] == texts, done.stderr[-2000:]


def test_row_that_cannot_be_used_keeps_its_place(tmp_path):
    model = save(tmp_path / "model", AlbertClassifier(CONFIG))
    (tmp_path / "in.jsonl").write_text('{"text": "a cat"}\n{"text": 7}\n')
    flags = (f"--model_dir={model}", "--task=classification", "--input=in.jsonl")
    refused = predict(tmp_path, *flags, "--output=out.jsonl", "--noskip_malformed")
    assert refused.returncode == 1
    assert "in.jsonl, line 2: column text must hold a text. Received: 7" in refused.stderr
    assert not (tmp_path / "out.jsonl").exists()
    for also in ((), ("--skip_malformed",)):
        done = predict(tmp_path, *flags, *also)
        first, second = map(json.loads, done.stdout.splitlines())
        assert first["text"] == "a cat" and first["label"] in first["scores"]
        assert second["text"] == 7 and "line 2: column text must hold" in second["problem"]
        assert "run_prediction: 1 of 2 rows have no answer; `problem` says why:\n" in done.stderr
        assert "  in.jsonl, line 2: column text must hold a text. Received: 7\n" in done.stderr
    (tmp_path / "in.jsonl").write_text('{"words": "a cat"}\n{"words": "a dog"}\n')
    refused = predict(tmp_path, *flags, "--output=out.jsonl")
    assert refused.returncode == 1 and not (tmp_path / "out.jsonl").exists()
    assert "in.jsonl: none of its 2 rows can be used:\n  in.jsonl, line 1: must" in refused.stderr
    text = json.dumps({"text": "a cat " * 2**19}) + "\n"
    (tmp_path / "in.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    limits = ("--max_row_mb=1", "--max_expansion=5000")
    refused = predict(tmp_path, *flags[:2], "--input=in.jsonl.gz", *limits)
    assert "in.jsonl.gz, line 1: must have at most 1,048,576 bytes (--max_row_mb)" in refused.stderr


def test_a_cell_of_another_kind_costs_its_own_row_alone(tmp_path):
    model = save(tmp_path / "model", AlbertClassifier(CONFIG))
    lines = ['{"text": "a cat"}', '{"text": ["a", "b"]}', r'{"text": "half \ud83d"}']
    (tmp_path / "in.jsonl").write_text("\n".join(lines) + "\n")
    flags = (f"--model_dir={model}", "--task=classification", "--input=in.jsonl")
    first, second, third = map(json.loads, predict(tmp_path, *flags).stdout.splitlines())
    assert "label" in first and "label" in third and third["text"] == "half \ufffd"
    assert "column text must hold a text. Received: ['a', 'b']" in second["problem"]
    done = predict(tmp_path, *flags, "--top_k=1")
    assert [len(json.loads(line)["scores"]) for line in done.stdout.splitlines()[::2]] == [1, 1]
    refused = predict(tmp_path, *flags, "--columns=a,b,c")
    assert "--columns must be one or two for --task=classification. " in refused.stderr

    chooser = save(tmp_path / "chooser", AlbertMultipleChoice(CONFIG))
    row = {"passage": "A cat sat.", "question": "_ sat?", "options": ["cats", "dogs"]}
    rows = [row, {**row, "options": "cats"}]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    asked = (f"--model_dir={chooser}", "--task=choice", "--input=in.jsonl")
    refused = predict(tmp_path, *asked, "--top_k=1")
    assert "--top_k goes with fill_mask, classification. Received: --task=choice" in refused.stderr
    done = predict(tmp_path, *asked)
    first, second = map(json.loads, done.stdout.splitlines())
    assert "option" in first
    assert "column options must hold a list of texts. Received: 'cats'" in second["problem"]


def test_predictions_stand_beside_their_rows_in_the_form_of_the_suffix(tmp_path):
    model = save(tmp_path / "model", AlbertClassifier(CONFIG, labels=["no", "yes"]))
    flags = (f"--model_dir={model}", "--task=classification", "--input=in.csv")
    table = 'id,text,label\n7,a\n8,"a, cat",yes\n9,a dög,no\n'
    (tmp_path / "in.csv").write_bytes(table.encode("latin-1"))
    done = predict(tmp_path, *flags, "--output=out.csv", "--encoding=latin-1")
    assert done.returncode == 0, done.stderr[-2000:]
    with open(tmp_path / "out.csv", newline="", encoding="utf-8") as file:
        broken, cat, dog = csv.DictReader(file)
    assert "in.csv, line 2: must have 3 fields" in broken["problem"] and not broken["text"]
    assert (cat["id"], cat["text"], cat["label"]) == ("8", "a, cat", "yes")
    assert dog["text"] == "a dög" and dog["problem"] == ""
    for row in (cat, dog):
        scores = {label: float(row[f"scores_{label}"]) for label in ("no", "yes")}
        assert row["predicted_label"] == max(scores, key=scores.get)
        assert float(row["score"]) == max(scores.values())
    done = predict(tmp_path, *flags, "--output=out.tsv")
    with open(tmp_path / "out.tsv", newline="", encoding="utf-8") as file:
        problems = [row["problem"] for row in csv.DictReader(file, delimiter="\t")]
    assert "in.csv, line 2: must have 3 fields" in problems[0] and problems[1] == ""
    assert "line 4: must be UTF-8. Received: byte 0xf6 (--encoding names another" in problems[2]
    assert "2 of 3 rows have no answer" in done.stderr
    refused = predict(tmp_path, *flags, "--output=out.xlsx")
    assert "--output must end in .jsonl, .json, .csv, .tsv. Received: out.xlsx" in refused.stderr
    refused = predict(tmp_path, *flags, "--output=./in.csv")
    assert "--output must be another file than --input. Received: ./in.csv" in refused.stderr
    assert (tmp_path / "in.csv").read_bytes() == table.encode("latin-1")
