"""What is said of finished data: figures, all that is damaged, examples."""

import json
import re

import numpy as np
import pytest
from samples import VOCABULARY

from albert_tf import failures
from albert_tf.pipelines.examples import record_files, records
from albert_tf.pipelines.examples.example_settings import ExampleSettings
from albert_tf.pipelines.inspection import inspection, sources
from albert_tf.pipelines.inspection.settings import InspectionSettings
from albert_tf.pipelines.tokenizer import model_proto

EXAMPLES = ExampleSettings(max_seq_length=16)


def inspect(**values):
    """Returns the lines that are said, the last one an error's if it ends with one."""
    settings, lines = InspectionSettings(**values), []
    try:
        inspection.inspect(settings, sources.find(settings), EXAMPLES, lines.append)
    except failures.Failure as error:
        lines.append(f"failure: {error}")
    return "\n".join(lines).split("\n")


def read_column(lines, column):
    """Returns {figure: what a column of a table says}."""
    rows = [re.split(r"\s{2,}", line) for line in lines]
    return {row[0]: row[column] for row in rows if len(row) > column and row[0]}


def test_table_says_what_the_summary_of_the_build_says(built):
    summary = json.loads((built["records"] / "summary.json").read_text())
    lines = inspect(data_dir=str(built["records"]))
    assert lines[0].split() == ["train", "held_out", "held_out_single"]
    for column, kind in enumerate(lines[0].split(), 1):
        figures, counted = read_column(lines, column), summary[kind]
        assert figures["files"] == str(len(summary["record_files"][kind]))
        sizes = [summary["record_bytes"][name] for name in summary["record_files"][kind]]
        assert figures["bytes"] == f"{sum(sizes):,}"
        assert (figures["max_seq_length"], figures["max_predictions_per_seq"]) == ("16", "2")
        assert figures["examples"] == f"{counted['examples']:,}"
        for name, key in (
            ("segments swapped", "swapped_share"),
            ("masked of tokens", "masked_share_of_tokens"),
            ("padding", "padding_share"),
        ):
            assert float(figures[name].rstrip("%")) == pytest.approx(100 * counted[key], abs=0.06)
    assert 70 < float(read_column(lines, 1)["masked: seen as [MASK]"].rstrip("%")) < 90
    # Neighbouring n-grams are one run, so runs are at most as short.
    share = float(read_column(lines, 1)["masked runs of 1 word"].rstrip("%")) / 100
    assert 0.4 < share <= summary["train"]["ngram_shares"]["1"] + 1e-3


def test_table_of_stored_tokens_has_its_documents_and_the_examples_that_a_run_makes(built):
    summary = json.loads((built["tokens"] / "summary.json").read_text())
    lines = inspect(data_dir=str(built["tokens"]))
    train, held_out = (read_column(lines[: lines.index("")], column) for column in (1, 2))
    for name in ("documents", "tokens"):
        held = summary[f"held_out_{name}"]
        assert held_out[name] == f"{held:,}"
        assert train[name] == f"{summary[name] - held:,}"
    rest = lines[lines.index("") + 1 :]
    assert re.match(r"A pass gives \d+ examples of max_seq_length=16, ", rest[0])
    examples = read_column(rest, 1)
    assert examples["longest, tokens"] == "16"
    assert 11 < float(examples["masked of tokens"].rstrip("%")) < 17
    assert "masked runs of 2 words" in examples


@pytest.mark.parametrize("name", ["records", "tokens"])
def test_whole_data_is_said_to_be_whole(built, name):
    (line,) = inspect(data_dir=str(built[name]), verify=True)
    assert re.fullmatch(r"[\d,]+ (whole examples|tokens), no damage", line)


def change_byte(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def test_every_damaged_file_of_records_is_named_with_its_record(copies):
    folder = copies["records"]
    first, second = sorted(folder.glob("train-*"))
    held_out, single = sorted(folder.glob("held_out*"))
    change_byte(first, 30)
    second.write_bytes(second.read_bytes()[:-1])
    held_out.unlink()
    stream = record_files.read_records([str(single)], 10_000)
    (folder / "train-9.tfrecord").write_bytes(first.read_bytes())  # damaged, too
    with records.open_record_file(str(single)) as writer:
        for number, record in enumerate(stream):
            # An id that no vocabulary of 340 pieces has.
            writer.write(with_first_id(record, 340) if number == 1 else record)
    for values in ({}, {"verify": True}):
        text = "\n".join(inspect(data_dir=str(folder), **values))
        assert re.search(f"{re.escape(str(first))}, record 0: corrupted record at 12\n", text)
        assert re.search(f"{re.escape(str(second))}, record \\d+: truncated record", text)
        assert f"{held_out} must be a file of" in text
        assert f"{single}, record 1: must hold input_ids in [0, 340). Received: 340\n" in text
        assert "train-9.tfrecord, record 0" in text
        assert text.endswith("failure: 5 damaged; all is named above")


def with_first_id(record, value):
    import tensorflow as tf

    example = tf.train.Example.FromString(record)
    example.features.feature["input_ids"].int64_list.value[0] = value
    return example.SerializeToString()


def test_figures_leave_out_what_is_damaged(copies):
    folder = copies["records"]
    first, second = sorted(folder.glob("train-*"))
    change_byte(first, 30)
    figures = read_column(inspect(data_dir=str(folder)), 1)
    assert figures["files left out of what follows"] == "1"
    assert figures["examples"] == str(record_files.count_examples(str(second)))


def test_files_without_a_summary_or_a_vocabulary_are_looked_at_as_far_as_they_go(copies):
    pattern = str(copies["records"] / "train-*")
    lines = inspect(input=(pattern,))
    assert lines[0].strip() == "records"
    assert "ids are not compared" in lines[-1]
    assert "masked: seen as [MASK]" not in "\n".join(lines)
    (copies["records"] / "summary.json").unlink()
    assert inspect(data_dir=str(copies["records"]), verify=True)[-1].endswith("no damage")


def test_a_file_with_fewer_examples_than_the_summary_counts_is_refused(copies):
    path = copies["records"] / "summary.json"
    summary = json.loads(path.read_text())
    path.write_text(json.dumps(summary | {"train_examples": summary["train_examples"] + 1}))
    lines = inspect(data_dir=str(copies["records"]), verify=True)
    assert re.search(r"train examples that summary.json counts. Received: \d", lines[0])


def rewrite_array(folder, array, change):
    """Changes the values of a training shard, in a file that is whole."""
    path = folder / f"train-00000-of-00001.{array}.npy"
    values = np.load(path)
    change(values)
    np.save(path, values)


@pytest.mark.parametrize(
    ("array", "change", "message"),
    [
        ("ids", lambda v: v.__setitem__(7, 340), r"ids in \[0, 340\). Received: 340 at 7"),
        ("sentences", lambda v: v.__setitem__(1, v[2] + 1), "ascending ends. Received: "),
        ("documents", lambda v: v.__setitem__(-1, v[-1] + 1), "ends up to the .* sentences"),
    ],
)
def test_wrong_values_of_stored_tokens_are_named_beside_the_checksum(
    copies, array, change, message
):
    rewrite_array(copies["tokens"], array, change)
    lines = inspect(data_dir=str(copies["tokens"]), verify=True)
    name = f"{copies['tokens']}/train-00000-of-00001.{array}.npy"
    assert len(lines) == 2
    assert re.fullmatch(f"{name} must have the checksum .*; it must hold {message}.*", lines[0])
    assert lines[1] == "failure: 1 damaged; all is named above"


def test_every_damaged_file_of_stored_tokens_is_named(copies):
    folder = copies["tokens"]
    change_byte(folder / "held_out-00000-of-00001.documents.npy", 0)  # no array any more
    change_byte(folder / "vocab.model", 100)
    (folder / "train-00000-of-00001.ids.npy").unlink()
    path = folder / "held_out-00000-of-00001.sentences.npy"
    path.write_bytes(path.read_bytes()[:-1])
    lines = inspect(data_dir=str(folder), verify=True)
    assert [line.split()[0].rpartition("/")[2] for line in lines] == [
        "held_out-00000-of-00001.sentences.npy",
        "train-00000-of-00001.ids.npy",
        "held_out-00000-of-00001.documents.npy",
        "vocab.model",
        "failure:",
    ]
    by_size = inspect(data_dir=str(folder))
    assert by_size[2:] == ["failure: 2 damaged; `verify` looks into the others"]


@pytest.mark.parametrize("name", ["records", "tokens"])
def test_examples_are_shown_with_what_is_hidden(built, name):
    lines = inspect(data_dir=str(built[name]), show=2)
    assert len(lines) == 2
    for line in lines:
        assert re.fullmatch(r"\[CLS\] .*\[SEP\] .*\[SEP\] \| order (kept|swapped)", line)
        assert re.search(r"\{\S+\}", line)


def test_a_file_that_is_no_array_is_named_once(copies):
    change_byte(copies["tokens"] / "train-00000-of-00001.sentences.npy", 0)
    lines = inspect(data_dir=str(copies["tokens"]), verify=True)
    assert len(lines) == 2
    assert "train-00000-of-00001.sentences.npy must have the checksum" in lines[0]


def test_examples_need_their_vocabulary(built):
    pattern = str(built["records"] / "held_out-*")
    with pytest.raises(ValueError, match="`vocab_model`"):
        inspect(input=(pattern,), show=1)
    assert len(inspect(input=(pattern,), show=1, vocab_model=str(VOCABULARY))) == 1


def test_a_vocabulary_that_did_not_make_the_data_is_refused(built, tmp_path):
    model = model_proto.ModelProto.FromString(VOCABULARY.read_bytes())
    model.pieces[20].score -= 1.0
    (tmp_path / "other.model").write_bytes(model.SerializeToString(deterministic=True))
    for name in ("records", "tokens"):
        with pytest.raises(
            ValueError, match="`vocab_model` must be the one that made .*other.model"
        ):
            inspect(data_dir=str(built[name]), vocab_model=str(tmp_path / "other.model"), show=1)
