"""The data builder end to end on made-up text: content, same bytes, resuming, refusals."""

import dataclasses
import fcntl
import json
import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf

from albert_tf.pipelines import build_vocabulary
from albert_tf.pipelines.building import build as example_building
from albert_tf.pipelines.building import example_options, example_shards, example_summary
from albert_tf.pipelines.building.token_shards import TokenShardTask
from albert_tf.pipelines.examples import record_files, records
from albert_tf.pipelines.examples.example_settings import ExampleSettings
from albert_tf.pipelines.examples.pretraining_dataset import pretraining_dataset
from albert_tf.pipelines.examples.token_dataset import held_out_datasets
from albert_tf.pipelines.examples.token_files import TokenFolder
from albert_tf.pipelines.text import layouts
from albert_tf.pipelines.tokenizer import tokenization

ROOT = pathlib.Path(__file__).parents[2]
MODULE = "albert_tf.pipelines.build_pretraining_data"
LENGTH = 64


def name_document(number):
    """Returns a word that stands in every sentence of a document and in no other's."""
    return "zq" + "".join("abcdefghij"[int(digit)] for digit in f"{number:03d}")


def write_text(path, first_document, num_documents, rng):
    syllables = [first + second for first in "bdfklmnprst" for second in "aeiou"]
    words = ["".join(rng.choice(syllables, rng.integers(1, 4))) for _ in range(400)]
    lines = []
    for number in range(first_document, first_document + num_documents):
        for _ in range(rng.integers(1, 15)):
            sentence = rng.choice(words, rng.integers(4, 20)).tolist()
            sentence[len(sentence) // 2] = name_document(number)
            lines.append(" ".join(sentence).capitalize() + ".")
        lines.append("")
    path.write_text("\n".join(lines), encoding="utf-8")


@pytest.fixture(scope="module")
def corpus_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(0)
    for index in range(4):
        write_text(folder / f"text-{index}.txt", 100 * index, 100, rng)
    # A copy of documents under another name must stay on the same side as the documents.
    copied = (folder / "text-0.txt").read_text(encoding="utf-8").split("\n\n")[:30]
    (folder / "text-4.txt").write_text("\n\n".join(copied), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def vocab_model(corpus_dir, tmp_path_factory):
    output = str(tmp_path_factory.mktemp("vocabulary") / "vocab.model")
    build_vocabulary.build_vocabulary([str(corpus_dir / "*.txt")], 300, output)
    return output


@pytest.fixture(scope="module")
def options(corpus_dir, vocab_model):
    return example_options.BuildOptions(
        input=[str(corpus_dir / "*.txt")],
        vocab_model=vocab_model,
        output_dir="",
        max_seq_length=LENGTH,
        dupe_factor=2,
        num_shards=3,
        num_workers=1,
        held_out_fraction=0.1,
        layout="sentences",
    )


@pytest.fixture(scope="module")
def built(options, tmp_path_factory):
    """Returns (folder, summary) of a finished build."""
    folder = str(tmp_path_factory.mktemp("built"))
    return folder, example_building.build_examples(dataclasses.replace(options, output_dir=folder))


def build(options, folder, **changes):
    options = dataclasses.replace(options, output_dir=str(folder), **changes)
    return example_building.build_examples(options)


def read_folder(folder):
    return {path.name: path.read_bytes() for path in pathlib.Path(folder).iterdir()}


def read_kind(folder, kind, slots=10):
    """Returns the arrays of all examples of one kind."""
    files = record_files.list_record_files(os.path.join(folder, f"{kind}-0*"))
    batches = pretraining_dataset(
        files, 10_000, LENGTH, slots, shuffle=False, repeat=False
    ).as_numpy_iterator()
    return next(batches)


def unmask(examples):
    ids = examples["input_ids"].copy()
    rows, slots = np.nonzero(examples["masked_lm_weights"])
    ids[rows, examples["masked_lm_positions"][rows, slots]] = examples["masked_lm_ids"][rows, slots]
    return ids


def find_documents(folder, kind, tokenizer):
    """Returns the names of the documents that occur in the records of one kind."""
    texts = [tokenizer.decode(row.tolist()) for row in unmask(read_kind(folder, kind))]
    return set(re.findall(r"\bzq[a-j]{3}\b", " ".join(texts)))


def test_folder_holds_what_the_summary_says(built, options):
    folder, summary = built
    assert sorted(os.listdir(folder)) == sorted(
        [
            *(f"train-0000{number}-of-00003.tfrecord" for number in range(3)),
            "held_out-00000-of-00001.tfrecord",
            "held_out_single-00000-of-00001.tfrecord",
            *("manifest.json", "summary.json", "vocab.model"),
        ]
    )
    with open(os.path.join(folder, "summary.json"), encoding="utf-8") as file:
        assert json.load(file) == summary
    for kind in ("train", "held_out", "held_out_single"):
        files = [os.path.join(folder, name) for name in summary["record_files"][kind]]
        assert record_files.count_examples(files) == summary[f"{kind}_examples"] > 0
    tokenizer = tokenization.Tokenizer(os.path.join(folder, "vocab.model"))
    assert tokenizer.fingerprint == summary["vocab_fingerprint"]
    assert tokenizer.vocab_size == summary["vocab_size"]
    assert summary["flags"]["max_predictions_per_seq"] == 10 == round(LENGTH * 0.15)
    assert summary["documents"] == summary["input"]["documents"] > 400


@pytest.mark.slow
def test_summary_counts_what_the_records_hold(built):
    folder, summary = built
    for kind in ("train", "held_out", "held_out_single"):
        examples, counted = read_kind(folder, kind), summary[kind]
        tokens, masked = examples["input_mask"].sum(), examples["masked_lm_weights"].sum()
        count = len(examples["input_ids"])
        assert counted["swapped_share"] == round(examples["sentence_order_label"].mean(), 4)
        assert counted["mean_masked_per_example"] == pytest.approx(masked / count, abs=1e-3)
        assert counted["padding_share"] == pytest.approx(1 - tokens / count / LENGTH, abs=1e-4)
        assert counted["masked_share_of_tokens"] == pytest.approx(masked / tokens, abs=1e-4)
    assert summary["held_out_single"]["ngram_shares"] == {"1": 1.0}
    assert set(summary["train"]["ngram_shares"]) == {"1", "2", "3"}


def test_unigram_baseline_is_that_of_the_records(built):
    folder, summary = built
    masked = {kind: read_kind(folder, kind) for kind in ("train", "held_out", "held_out_single")}
    labels = {
        kind: examples["masked_lm_ids"][examples["masked_lm_weights"] > 0]
        for kind, examples in masked.items()
    }
    counts = np.bincount(labels["train"], minlength=summary["vocab_size"])
    assert summary["unigram_top_id"] == counts.argmax()
    for kind in ("held_out", "held_out_single"):
        accuracy = (labels[kind] == counts.argmax()).mean()
        assert summary["unigram_accuracy"][kind] == pytest.approx(accuracy, abs=1e-5)
        probabilities = (counts + 1) / (counts + 1).sum()
        loss = -np.log(probabilities[labels[kind]]).mean()
        assert summary["unigram_loss"][kind] == pytest.approx(loss, abs=1e-5)


def test_unigram_score_by_hand():
    accuracy, loss = example_summary.score_unigram(np.array([0, 3, 1]), np.array([0, 1, 3]))
    assert accuracy == 0.25
    assert loss == pytest.approx(-(np.log(4 / 7) + 3 * np.log(2 / 7)) / 4, abs=1e-6)


def test_no_document_is_in_training_and_held_out(built):
    folder, summary = built
    tokenizer = tokenization.Tokenizer(os.path.join(folder, "vocab.model"))
    train = find_documents(folder, "train", tokenizer)
    held_out = find_documents(folder, "held_out", tokenizer)
    assert not train & held_out
    assert len(train | held_out) > 390
    assert 0.05 < summary["held_out_documents"] / summary["documents"] < 0.15
    assert held_out == find_documents(folder, "held_out_single", tokenizer)


def test_held_out_documents_are_the_same_for_other_seeds_and_lengths(built, options, tmp_path):
    folder, summary = built
    build(options, tmp_path, seed=9, dupe_factor=1, short_seq_prob=0.5)
    tokenizer = tokenization.Tokenizer(os.path.join(folder, "vocab.model"))
    expected = find_documents(folder, "held_out", tokenizer)
    assert find_documents(str(tmp_path), "held_out", tokenizer) == expected


def test_both_held_out_sets_hide_different_places_of_the_same_sequences(built):
    folder, _ = built
    ngrams, single = read_kind(folder, "held_out"), read_kind(folder, "held_out_single")
    np.testing.assert_array_equal(unmask(ngrams), unmask(single))
    assert (ngrams["masked_lm_positions"] != single["masked_lm_positions"]).any()


def test_examples_of_a_document_are_masked_anew_for_each_dupe(built, options, tmp_path):
    _, twice = built
    once = build(options, tmp_path, dupe_factor=1)
    assert abs(twice["train_examples"] / once["train_examples"] - 2) < 0.1
    assert once["held_out_examples"] == pytest.approx(twice["held_out_examples"], rel=0.2)


def test_sequences_have_the_packed_form(built):
    folder, _ = built
    examples = read_kind(folder, "train")
    ids, mask = unmask(examples), examples["input_mask"]
    lengths = mask.sum(axis=1)
    np.testing.assert_array_equal(mask, np.arange(LENGTH) < lengths[:, None])
    np.testing.assert_array_equal(ids[:, 0], 2)
    np.testing.assert_array_equal((ids == 3).sum(axis=1), 2)
    np.testing.assert_array_equal(ids[np.arange(len(ids)), lengths - 1], 3)
    assert not ids[mask == 0].any() and not examples["segment_ids"][mask == 0].any()
    after_first_separator = np.cumsum(ids == 3, axis=1) - (ids == 3) > 0
    np.testing.assert_array_equal(examples["segment_ids"], after_first_separator & (mask == 1))
    assert 0.4 < examples["sentence_order_label"].mean() < 0.6


@pytest.mark.slow
def test_two_workers_write_the_same_bytes_as_one(built, options, tmp_path):
    folder, _ = built
    build(options, tmp_path, num_workers=2)
    assert read_folder(tmp_path) == read_folder(folder)


def test_another_seed_gives_other_records(built, options, tmp_path):
    folder, _ = built
    build(options, tmp_path, seed=1)
    name = "train-00000-of-00003.tfrecord"
    assert read_folder(tmp_path)[name] != read_folder(folder)[name]


@pytest.mark.slow
def test_killed_build_goes_on_and_keeps_finished_shards(options, tmp_path):
    options = dataclasses.replace(options, num_shards=80, dupe_factor=4)
    build(options, tmp_path / "expected")
    folder = tmp_path / "killed"
    command = [sys.executable, "-m", MODULE, f"--output_dir={folder}", "--num_workers=1"]
    for name in ("vocab_model", "max_seq_length", "dupe_factor", "num_shards", "layout"):
        command.append(f"--{name}={getattr(options, name)}")
    command += ["--held_out_fraction=0.1", f"--input={options.input[0]}"]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    first, second = (folder / f"train-0000{number}-of-00080.tfrecord" for number in (0, 1))
    while not second.exists() and process.poll() is None:
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert second.exists() and not (folder / "summary.json").exists()
    written = first.stat().st_mtime_ns
    build(options, folder)
    assert first.stat().st_mtime_ns == written
    assert read_folder(folder) == read_folder(tmp_path / "expected")


def test_failed_build_redoes_only_what_is_missing(built, options, tmp_path, monkeypatch):
    folder, _ = built
    write_shard, done = example_shards.Shard.write, []

    def stop_at_third(shard, advance):
        if len(done) == 2:
            raise KeyboardInterrupt
        write_shard(shard, advance)
        done.append(shard.outputs[0].path)

    monkeypatch.setattr(example_shards.Shard, "write", stop_at_third)
    with pytest.raises(KeyboardInterrupt):
        build(options, tmp_path)
    assert len(done) == 2
    first_part, done[:] = list(done), []

    def refuse(*arguments):
        raise AssertionError("the text was tokenized a second time")

    monkeypatch.setattr(example_shards.Shard, "write", lambda *a: (write_shard(*a), done.append(a)))
    monkeypatch.setattr(example_building.tokenized_corpus, "tokenize_group", refuse)
    build(options, tmp_path)
    assert len(done) == 2  # one of three training shards, and the held-out one
    assert not {shard.outputs[0].path for shard, _ in done} & set(first_part)
    assert read_folder(tmp_path) == read_folder(folder)


def test_a_large_file_that_is_read_in_parts_leaves_the_same_bytes(
    built, options, tmp_path, monkeypatch
):
    monkeypatch.setattr(layouts, "PART_BYTES", 5000)
    monkeypatch.setattr(example_building.tokenized_corpus, "_GROUP_BYTES", 1)
    build(options, tmp_path)
    assert read_folder(tmp_path) == read_folder(built[0])


def test_finished_folder_is_left_alone(built, options):
    folder, summary = built
    before = {name: os.stat(os.path.join(folder, name)).st_mtime_ns for name in os.listdir(folder)}
    assert build(options, folder) == summary
    after = {name: os.stat(os.path.join(folder, name)).st_mtime_ns for name in os.listdir(folder)}
    assert after == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_seq_length": 32}, "max_seq_length=64 and not 32"),
        ({"seed": 1, "dupe_factor": 1}, "dupe_factor=2 and not 1; seed=12345 and not 1"),
        ({"compress": True}, "compress=False and not True"),
    ],
)
def test_folder_of_other_options_is_refused(built, options, changes, message):
    with pytest.raises(ValueError, match=message):
        build(options, built[0], **changes)


def test_folder_of_other_input_is_refused(built, options, corpus_dir):
    with pytest.raises(ValueError, match="other input files"):
        build(options, built[0], input=[str(corpus_dir / "text-1.txt")])


def test_folder_with_strange_records_is_refused(options, tmp_path):
    (tmp_path / "train-00000-of-00001.tfrecord").touch()
    with pytest.raises(ValueError, match="without a manifest.json"):
        build(options, tmp_path)


def test_folder_in_use_is_refused(options, tmp_path):
    with open(tmp_path / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ValueError, match="is in use by another process"):
            build(options, tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_seq_length": 4}, "`max_seq_length` must be an integer from 8 to .* Received: 4"),
        ({"max_predictions_per_seq": 64}, "`max_predictions_per_seq` must be from 1 to .* 63"),
        ({"max_predictions_per_seq": 0}, "max_predictions_per_seq"),
        ({"masked_lm_prob": 0.0}, "`masked_lm_prob` must be above 0"),
        ({"masked_lm_prob": float("nan")}, "masked_lm_prob"),
        ({"short_seq_prob": 1.5}, "`short_seq_prob` must be from 0 to 1"),
        ({"dupe_factor": 0}, "dupe_factor"),
        ({"ngram": 0}, "`ngram` must be an integer from 1 to 20"),
        ({"ngram": 1, "favor_shorter_ngram": False}, "`favor_shorter_ngram` must be true"),
        ({"num_shards": 0}, "num_shards"),
        ({"num_workers": 0}, "num_workers"),
        ({"seed": -1}, "`seed` must be an integer from 0 to"),
        ({"held_out_fraction": 1.0}, r"`held_out_fraction` must lie in \[0, 1\)"),
        ({"layout": "novel"}, "`layout` must be one of .* Received: 'novel'"),
        ({"input": []}, "`input` must name at least one file"),
        ({"output_dir": ""}, "`output_dir` must name a folder"),
    ],
)
def test_bad_options_are_refused_by_name(options, tmp_path, changes, message):
    changes = {"output_dir": str(tmp_path / "out"), **changes}
    with pytest.raises(ValueError, match=message):
        example_building.build_examples(dataclasses.replace(options, **changes))
    assert not (tmp_path / "out").exists()


def test_missing_files_are_refused_before_any_work(options, tmp_path, corpus_dir):
    with pytest.raises(FileNotFoundError, match="`vocab_model` .*nowhere.model"):
        build(options, tmp_path / "out", vocab_model="nowhere.model")
    with pytest.raises(FileNotFoundError, match="matches none"):
        build(options, tmp_path / "out", input=[str(corpus_dir / "*.nothing")])
    text_file = str(corpus_dir / "text-0.txt")
    with pytest.raises(ValueError, match="text-0.txt"):
        build(options, tmp_path / "out", vocab_model=text_file)
    assert not (tmp_path / "out").exists()


def test_damaged_input_is_reported_and_costs_nothing_else(options, tmp_path, corpus_dir):
    (tmp_path / "picture.txt").write_bytes(bytes(range(256)) * 40)
    (tmp_path / "empty.txt").touch()
    patterns = [str(tmp_path / "*.txt"), str(corpus_dir / "text-1.txt")]
    summary = build(options, tmp_path / "out", input=patterns)
    assert summary["input"]["files"] >= 1 and summary["documents"] == 100
    files = {entry["file"] for entry in summary["input"]["skipped_examples"]}
    assert {os.path.basename(file) for file in files} == {"picture.txt", "empty.txt"}


def test_input_without_text_is_an_error(options, tmp_path):
    (tmp_path / "empty.txt").touch()
    with pytest.raises(ValueError, match="without one usable sentence"):
        build(options, tmp_path / "out", input=[str(tmp_path / "empty.txt")])


def test_text_of_lone_short_sentences_is_refused(options, tmp_path):
    (tmp_path / "lines.txt").write_text("\n\n".join(["Ab.", "Cd.", "Ef."]), encoding="utf-8")
    with pytest.raises(ValueError, match="documents of several sentences"):
        build(options, tmp_path / "out", input=[str(tmp_path / "lines.txt")])


def test_few_prediction_slots_are_pointed_out(options, caplog):
    example_options.check_options(
        dataclasses.replace(
            options, output_dir="out", max_seq_length=512, max_predictions_per_seq=20
        )
    )
    assert "masks 4% of a full sequence and not 15%" in caplog.text


def test_compressed_build_holds_the_same_examples(built, options, tmp_path):
    folder, _ = built
    summary = build(options, tmp_path, compress=True)
    assert all(name.endswith(".gz") for name in summary["record_files"]["train"])
    plain, compressed = read_kind(folder, "held_out"), read_kind(str(tmp_path), "held_out")
    for name in plain:
        np.testing.assert_array_equal(plain[name], compressed[name])


def test_original_mode_pairs_lone_sentences_with_other_documents(options, tmp_path):
    summary = build(options, tmp_path, original_compatible=True)
    counted = summary["train"]
    assert counted["random_document_pairs"] > 0
    assert counted["split_sentences"] == counted["skipped_sentences"] == 0
    assert counted["swapped_share"] > 0.5  # a random pair is always labelled as swapped


def test_without_held_out_part_there_is_no_held_out_file(options, tmp_path):
    summary = build(options, tmp_path, held_out_fraction=0.0)
    assert set(summary["record_files"]) == {"train"}
    assert summary["held_out_examples"] == 0 and summary["unigram_accuracy"] == {}


def test_shards_and_their_number_follow_from_the_text(options, tmp_path):
    summary = build(options, tmp_path, num_shards=None)
    assert len(summary["record_files"]["train"]) == 4


def test_mixed_lengths_are_refused_by_the_reader(built):
    folder, _ = built
    with pytest.raises(ValueError, match="max_seq_length 128. Received: 64 values"):
        pretraining_dataset(os.path.join(folder, "train-*"), 2, 128, 10)


def test_built_records_describe_themselves(built):
    folder, _ = built
    tokenizer = tokenization.Tokenizer(os.path.join(folder, "vocab.model"))
    path = os.path.join(folder, "train-00000-of-00003.tfrecord")
    serialized = next(tf.data.TFRecordDataset(path).as_numpy_iterator())
    shown = record_files.describe_example(serialized, tokenizer)
    assert shown.startswith("[CLS]") and shown.count("[SEP]") == 2 and "[MASK]{" in shown


def test_documents_are_dealt_evenly_and_once():
    rng = np.random.default_rng(0)
    tokens = rng.integers(1, 1000, 2000)
    parts = example_building.deal_documents(tokens, 7, rng)
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(2000))
    sizes = np.array([tokens[part].sum() for part in parts])
    assert abs(sizes / sizes.mean() - 1).max() < 0.01


def test_a_refused_build_leaves_the_folder_to_another(options, tmp_path):
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "rows.jsonl").write_text('{"a": "One sentence."}\n')
    wrong = {"input": (str(tmp_path / "empty.txt"),)}
    rows = {"input": (str(tmp_path / "rows.jsonl"),), "layout": "jsonl", "text_field": "b"}
    for refused in (wrong, rows):
        with pytest.raises(ValueError, match="empty.txt|'b'"):
            build(options, tmp_path / "out", **refused)
        assert not (tmp_path / "out").exists()
    # A vocabulary that lay there is the user's.
    (tmp_path / "own").mkdir()
    own = shutil.copy(options.vocab_model, tmp_path / "own" / "vocab.model")
    with pytest.raises(ValueError, match="empty.txt"):
        build(options, tmp_path / "own", vocab_model=str(own), **wrong)
    assert [path.name for path in (tmp_path / "own").iterdir()] == ["vocab.model"]
    assert build(options, tmp_path / "out")["documents"]
    # One that got as far as a shard is completed by the same options alone.
    (tmp_path / "out" / "summary.json").unlink()
    with pytest.raises(ValueError, match="made with"):
        build(options, tmp_path / "out", **wrong)
    assert (tmp_path / "out" / "manifest.json").exists()


def test_held_out_choice_is_nested_and_never_empty():
    hashes = np.random.default_rng(0).integers(0, 2**64, 1000, dtype=np.uint64)
    few = example_building.select_held_out(hashes, 0.01)
    many = example_building.select_held_out(hashes, 0.2)
    assert 0 < few.sum() < many.sum() < 300
    assert not (few & ~many).any()
    assert not example_building.select_held_out(hashes, 0.0).any()
    assert example_building.select_held_out(hashes[:5], 1e-9).sum() == 1
    with pytest.raises(ValueError, match="`held_out_fraction` must leave documents"):
        example_building.select_held_out(hashes[:1], 0.01)


def test_command_line_says_in_one_line_what_is_wrong(vocab_model, corpus_dir, tmp_path):
    command = [
        *(sys.executable, "-m", MODULE, f"--vocab_model={vocab_model}"),
        *(f"--input={corpus_dir}/*.txt", f"--output_dir={tmp_path}/out"),
        *("--max_seq_length=64", "--max_predictions_per_seq=64"),
    ]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stderr.strip().splitlines() == [
        "build_pretraining_data: --max_predictions_per_seq must be from 1 to max_seq_length - 1 = "
        "63. Received: 64"
    ]
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_guide_works_as_written(vocab_model, corpus_dir, tmp_path, capsys, monkeypatch):
    guide = (ROOT / "docs" / "pretraining_data.md").read_text(encoding="utf-8")
    command, *_ = re.findall(r"```sh\n(.*?)```", guide, re.DOTALL)
    code, *_ = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)
    (tmp_path / "text").symlink_to(corpus_dir)
    (tmp_path / "vocab.model").symlink_to(vocab_model)
    monkeypatch.chdir(tmp_path)
    words = shlex.split(command.replace("\\\n", " "))
    assert words[0] == "python"
    subprocess.run(
        [sys.executable, *words[1:], "--num_workers=1"],
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.DEVNULL,
    )
    exec(code, {})
    shown = capsys.readouterr().out
    assert "'input_ids': TensorShape([8, 128])" in shown
    assert shown.count("[CLS]") == 3


def test_feature_table_names_are_those_of_the_contract():
    assert [feature.name for feature in records.FEATURES if not feature.optional] == [
        *("input_ids", "input_mask", "segment_ids", "masked_lm_positions", "masked_lm_ids"),
        *("masked_lm_weights", "sentence_order_label"),
    ]


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("summary.json", "[]", r"summary\.json must be a JSON object. Received: \[\]"),
        ("summary.json", "{}", r"summary\.json must have `record_files`, an object"),
        ("summary.json", '{"record_files": {"train": [1]}}', r"summary\.json: `record_files` must"),
        ("manifest.json", '{"flags": ', r"manifest\.json must be a JSON object. Received: Ex"),
        ("manifest.json", "[]", r"manifest\.json must be a JSON object. Received: \[\]"),
    ],
)
def test_damaged_description_of_a_finished_folder_is_named(tmp_path, name, content, problem):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=problem):
        example_summary.read_finished_summary(str(tmp_path))
        example_options.claim_directory(str(tmp_path), {"flags": {}})


def test_long_documents_are_cut_where_whole_ones_are_too_few_to_hold_out(options, tmp_path):
    rng = np.random.default_rng(3)
    words = "the river runs past old mill and bridge by hill".split()
    text = tmp_path / "lines.txt"  # as BookCorpus: a sentence a line and no blank line
    text.write_text(
        "".join(f"{' '.join(rng.permutation(words)[:7])} in {i}.\n" for i in range(6000))
    )
    folder = str(tmp_path / "out")
    summary = build(options, folder, input=(str(text),), held_out_fraction=0.03, dupe_factor=1)
    share = summary["held_out_tokens"] / (summary["held_out_tokens"] + summary["tokens"])
    assert 0.01 < share < 0.06
    assert summary["held_out_documents"] > 1


@pytest.fixture(scope="module")
def stored(options, tmp_path_factory):
    """Returns (folder, summary) of a finished build of stored tokens of the same text."""
    folder = str(tmp_path_factory.mktemp("stored"))
    return folder, build_tokens(options, folder)


def build_tokens(options, folder, **changes):
    names = ("input", "vocab_model", "num_shards", "num_workers", "held_out_fraction", "layout")
    values = {name: getattr(options, name) for name in names}
    return example_building.build_examples(
        example_options.BuildOptions(
            **{**values, "output_dir": str(folder), "format": "tokens", **changes}
        )
    )


@pytest.mark.parametrize("make", [build, build_tokens])
def test_text_of_single_sentences_is_pointed_out(options, tmp_path, caplog, make):
    text = tmp_path / "lines.txt"
    lines = [f"{number} ships sailed from the old port." for number in range(40)]
    text.write_text("\n\n".join([*lines, *["Ab."] * 60]), encoding="utf-8")
    make(options, tmp_path / "out", input=[str(text)], layout="sentences")
    (message,) = [r.getMessage() for r in caplog.records if "single sentence" in r.getMessage()]
    lone, total = map(int, re.match(r"(\d+) of (\d+) .*layout=sentences", message).groups())
    assert lone == total > 0


def test_stored_tokens_are_the_text_once(stored, built):
    folder, summary = stored
    for name in ("documents", "held_out_documents", "sentences", "tokens", "held_out_tokens"):
        assert summary[name] == built[1][name]
    shards = TokenFolder(folder).shards("train")
    assert len(shards) == 3
    assert sum(len(shard.ids) for shard in shards) == summary["tokens"] - summary["held_out_tokens"]
    assert sum(len(shard.documents) for shard in shards) == (
        summary["documents"] - summary["held_out_documents"]
    )
    assert "documents are held out" in example_summary.describe(summary)
    assert "training and" in example_summary.describe(built[1])
    size = sum(shard.ids.nbytes + shard.sentences.nbytes for shard in shards)
    assert size / sum(len(shard.ids) for shard in shards) < 2.5


def test_held_out_examples_of_stored_tokens_are_those_of_records(stored, built):
    settings = ExampleSettings(max_seq_length=LENGTH).with_predictions()
    datasets = held_out_datasets(TokenFolder(stored[0]), settings, 7)
    assert set(datasets) == {"held_out", "held_out_single"}
    for kind, dataset in datasets.items():
        batches = list(dataset.as_numpy_iterator())
        assert {len(batch["input_ids"]) for batch in batches[:-1]} == {7}
        for name, values in read_kind(built[0], kind).items():
            joined = np.concatenate([batch[name] for batch in batches])
            np.testing.assert_array_equal(joined, values, err_msg=f"{kind} {name}")


@pytest.mark.slow
def test_stored_tokens_are_the_same_bytes_with_any_workers_and_after_a_stop(
    stored, options, tmp_path, monkeypatch
):
    write, done = TokenShardTask.write, []

    def stop_at_second(shard, advance):
        if done:
            raise KeyboardInterrupt
        write(shard, advance)
        done.append(shard.name)

    with monkeypatch.context() as patch:
        patch.setattr(TokenShardTask, "write", stop_at_second)
        with pytest.raises(KeyboardInterrupt):
            build_tokens(options, tmp_path)
    assert not (tmp_path / "summary.json").exists()
    assert build_tokens(options, tmp_path, num_workers=2) == stored[1]
    assert read_folder(tmp_path) == read_folder(stored[0])
    assert build_tokens(options, tmp_path) == stored[1]  # complete: nothing to do


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dupe_factor": 2}, "`dupe_factor` must not be given with `format=tokens`"),
        ({"max_seq_length": 128, "ngram": 1}, "`max_seq_length`, `ngram` must not be given"),
        ({"format": "tfrecord"}, "`format` must be one of records, tokens"),
    ],
)
def test_what_stored_tokens_do_not_have_is_refused(options, tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        build_tokens(options, tmp_path, **changes)
    assert not list(tmp_path.iterdir())


def test_a_folder_of_records_is_no_place_for_tokens(built, options):
    with pytest.raises(ValueError, match="made with .*compress=False and not None.*format=None"):
        build_tokens(options, built[0])


def test_a_stored_file_of_another_size_is_named(stored, options, tmp_path):
    shutil.copytree(stored[0], tmp_path / "copy")
    path = tmp_path / "copy" / "train-00001-of-00003.sentences.npy"
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(ValueError, match=r"train-00001-of-00003\.sentences\.npy must be a file of"):
        build_tokens(options, tmp_path / "copy")


def test_text_that_was_edited_in_place_is_other_text(options, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("The old mill stood by the river. Nobody came there now.\n\n" * 200)
    folder = tmp_path / "out"
    build(options, folder, input=(str(text),), held_out_fraction=0.0)
    text.write_text(text.read_text().replace("mill", "MILL"))
    with pytest.raises(ValueError, match="made with other text in the same files"):
        build(options, folder, input=(str(text),), held_out_fraction=0.0)
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["input_sample"]  # as older ones
    (folder / "manifest.json").write_text(json.dumps(manifest))
    build(options, folder, input=(str(text),), held_out_fraction=0.0)


def test_a_sample_of_a_text_is_all_of_it_or_blocks_at_equal_distances(tmp_path, monkeypatch):
    monkeypatch.setattr(example_options, "_SAMPLED_BLOCKS", 8)
    monkeypatch.setattr(example_options, "_BLOCK_BYTES", 10)
    files = [tmp_path / name for name in ("a", "b", "empty", "c")]

    def changes_seen(sizes):
        contents = [bytearray(b"x" * size) for size in sizes]
        for file, content in zip(files, contents, strict=True):
            file.write_bytes(content)
        before, seen = example_options.sample_text(files), []
        for file, content in zip(files, contents, strict=True):
            for place in range(len(content)):
                content[place] = ord("y")
                file.write_bytes(content)
                seen.append(example_options.sample_text(files) != before)
                content[place] = ord("x")
            file.write_bytes(content)
        return seen

    assert all(changes_seen([3, 25, 0, 41]))
    seen = changes_seen([103, 125, 0, 100])  # 328 bytes: a block each 41
    assert [place for place, is_seen in enumerate(seen) if is_seen and not seen[place - 1]] == [
        41 * block for block in range(8)
    ]
    assert sum(seen) == 80


def test_text_that_another_version_has_read_is_not_gone_on_with(options, tmp_path):
    text, folder = tmp_path / "text.txt", tmp_path / "out"
    text.write_text("The old mill stood by the river. Nobody came there now.\n\n" * 200)
    changes = {"input": (str(text),), "held_out_fraction": 0.0, "num_tasks": 2}
    for task in range(2):  # who began it, and who looks whether all have done their share
        build(options, folder, **changes, task_index=task)
    rules = folder / ".work" / "rules"
    for damage in (lambda: rules.write_text("of another version"), rules.unlink):
        damage()
        with pytest.raises(ValueError, match=f"{folder} was begun by another version of albert_tf"):
            build(options, folder, **changes, task_index=1)


def test_manifests_that_did_not_know_an_option_are_those_of_its_default(options, tmp_path):
    text, folder = tmp_path / "text.txt", tmp_path / "out"
    text.write_text("The old mill stood by the river. Nobody came there now.\n\n" * 200)
    changes = {"input": (str(text),), "held_out_fraction": 0.0}
    build(options, folder, **changes)
    manifest = json.loads((folder / "manifest.json").read_text())
    for name in ("encoding", "text_field"):
        del manifest["flags"][name]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    build(options, folder, **changes)
    with pytest.raises(ValueError, match="made with encoding='auto' and not 'latin-1'"):
        build(options, folder, **changes, encoding="latin-1")
