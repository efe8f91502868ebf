"""Every task of GLUE is read from its official layout, quirks and all."""

import os
import pathlib

import pytest

from albert_tf.pipelines.task_data import glue
from albert_tf.pipelines.task_data.input_problems import InputError, InputProblems
from albert_tf.pipelines.task_data.text_examples import TextExample
from albert_tf.tasks import metrics

# One row of train or dev of each task, in the columns of the official file, and what it means.
PAIR_HEADER = "index\tsentence1\tsentence2\tlabel"
ROWS = {
    "cola": (None, 'gj04\t0\t*\tThey drank "the pub.', ('They drank "the pub.', None, "0")),
    "sst2": ("sentence\tlabel", "a fine film \t1", ("a fine film ", None, "1")),
    "mrpc": (
        "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String",
        '1\t7\t8\tA "b\tC',
        ('A "b', "C", "1"),
    ),
    "stsb": (
        "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore",
        "0\tg\tf\ty\t1\ts\ts\tA\tB\t3.800",
        ("A", "B", 3.8),
    ),
    "qqp": (
        "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate",
        "5\t1\t2\tA?\tB?\t0",
        ("A?", "B?", "0"),
    ),
    "mnli": (
        "index\tpromptID\tpairID\tgenre\tp1\tp2\tp3\tp4\tsentence1\tsentence2\tlabel1\tgold_label",
        "0\t1\t2\tg\t(\t(\t(\t(\tA\tB\tneutral\tentailment",
        ("A", "B", "entailment"),
    ),
    "qnli": (
        "index\tquestion\tsentence\tlabel",
        "0\tA?\tB\tnot_entailment",
        ("A?", "B", "not_entailment"),
    ),
    "rte": (PAIR_HEADER, "0\tA\tB\tentailment", ("A", "B", "entailment")),
    "wnli": (PAIR_HEADER, "0\tA\tB\t1", ("A", "B", "1")),
}
TEST_ROWS = {
    "cola": ("index\tsentence", "4\tA", ("A", None)),
    "sst2": ("index\tsentence", "4\tA", ("A", None)),
    "mrpc": ("index\t#1 ID\t#2 ID\t#1 String\t#2 String", "4\t1\t2\tA\tB", ("A", "B")),
    "stsb": (
        "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2",
        "4\tg\tf\ty\t1\ts\ts\tA\tB",
        ("A", "B"),
    ),
    "qqp": ("id\tquestion1\tquestion2", "4\tA\tB", ("A", "B")),
    "mnli": (
        "index\tpromptID\tpairID\tgenre\tp1\tp2\tp3\tp4\tsentence1\tsentence2",
        "4\t1\t2\tg\t(\t(\t(\t(\tA\tB",
        ("A", "B"),
    ),
    "qnli": ("index\tquestion\tsentence", "4\tA\tB", ("A", "B")),
    "rte": ("index\tsentence1\tsentence2", "4\tA\tB", ("A", "B")),
    "wnli": ("index\tsentence1\tsentence2", "4\tA\tB", ("A", "B")),
    "ax": ("index\tsentence1\tsentence2", "4\tA\tB", ("A", "B")),
}


def write(root, task, split, *lines):
    folder = root / ("diagnostic" if task == "ax" else glue.TASKS[task].folder)
    folder.mkdir(exist_ok=True, parents=True)
    path = folder / glue.TASKS[task].files[split]
    path.write_text("".join(f"{line}\r\n" for line in lines if line is not None), encoding="utf-8")
    return path


@pytest.mark.parametrize("task", ROWS)
def test_training_row_means_what_the_official_file_means(tmp_path, task):
    header, row, (text_a, text_b, label) = ROWS[task]
    for split in (*glue.splits_of(task)["train"], *glue.splits_of(task)["dev"]):
        path = write(tmp_path, task, split, header, row, row)
        expected = [TextExample(guid, text_a, text_b, label) for guid in ("0", "1")]
        assert glue.read(task, tmp_path, split, InputProblems()) == expected
        assert glue.read(task, path.parent, split, InputProblems()) == expected


@pytest.mark.parametrize("task", TEST_ROWS)
def test_test_row_is_called_by_its_index_and_has_no_label(tmp_path, task):
    header, row, texts = TEST_ROWS[task]
    for split in glue.splits_of(task)["test"]:
        write(tmp_path, task, split, header, row)
        assert glue.read(task, tmp_path, split, InputProblems()) == [TextExample("4", *texts)]


def test_every_task_names_metrics_that_exist():
    assert glue.TASKS.keys() == ROWS.keys() | {"ax"}
    for name, task in glue.TASKS.items():
        assert set(task.main_metrics) <= set(task.metrics) <= metrics.METRICS.keys(), name
        assert set(task.submissions) == set(glue.splits_of(name)["test"]), name


def test_order_of_classes_is_that_of_the_original():
    assert glue.TASKS["mnli"].labels == ("contradiction", "entailment", "neutral")
    assert glue.TASKS["rte"].labels == glue.TASKS["qnli"].labels == ("entailment", "not_entailment")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("5\t1\t2\tA?", "must have 6 fields. Received: 4"),  # as some rows of the official file
        ("5\t1\t2\t \tB?\t0", "must have texts"),
        ("5\t1\t2\tA?\tB?\t2", "the label must be one of 0, 1. Received: '2'"),
    ],
)
def test_row_that_cannot_be_used_is_named_or_skipped(tmp_path, row, message):
    path = write(tmp_path, "qqp", "train", ROWS["qqp"][0], row, ROWS["qqp"][1])
    with pytest.raises(InputError) as refused:
        glue.read("qqp", tmp_path, "train", InputProblems())
    assert f"{path}, line 2: " in str(refused.value) and message in str(refused.value)
    problems = InputProblems(skip=True)
    kept = glue.read("qqp", tmp_path, "train", problems)
    # The row keeps the number that it has in the file.
    assert [example.guid for example in kept] == ["1"] and problems.count == 1


def test_file_of_another_task_is_refused(tmp_path):
    write(tmp_path, "mrpc", "train", "sentence\tlabel", "a fine film\t1")
    with pytest.raises(InputError, match="at least 5 tab-separated fields. Received: 2"):
        glue.read("mrpc", tmp_path, "train", InputProblems())


def test_missing_folder_says_what_was_looked_for(tmp_path):
    with pytest.raises(InputError, match="the folder of GLUE, with SST-2/dev.tsv"):
        glue.read("sst2", tmp_path, "dev", InputProblems())


def test_empty_file_is_refused(tmp_path):
    write(tmp_path, "rte", "train", PAIR_HEADER)
    with pytest.raises(InputError, match="at least one row"):
        glue.read("rte", tmp_path, "train", InputProblems())
    problems = InputProblems(skip=True)
    problems.add("another file", "line 1", "skipped before")
    with pytest.raises(InputError, match="at least one row"):
        glue.read("rte", tmp_path, "train", problems)


@pytest.mark.parametrize(
    ("task", "predictions", "lines"),
    [
        ("rte", ["entailment", "not_entailment"], ["7\tentailment", "8\tnot_entailment"]),
        ("mrpc", ["1", "0"], ["7\t1", "8\t0"]),
        ("stsb", [-0.25, 5.75], ["7\t0.000", "8\t5.000"]),
        ("stsb", [1.23456, 5.0], ["7\t1.235", "8\t5.000"]),
    ],
)
def test_submission_has_the_form_of_the_leaderboard(tmp_path, task, predictions, lines):
    path = tmp_path / glue.submission_name(task, "test")
    glue.write_submission(path, task, [TextExample("7", "A"), TextExample("8", "B")], predictions)
    assert path.read_text().splitlines() == ["index\tprediction", *lines]


def test_submissions_have_the_official_names():
    assert {glue.submission_name(t, s) for t in glue.TASKS for s in glue.TASKS[t].submissions} == {
        *("CoLA.tsv", "SST-2.tsv", "MRPC.tsv", "STS-B.tsv", "QQP.tsv", "MNLI-m.tsv", "MNLI-mm.tsv"),
        *("QNLI.tsv", "RTE.tsv", "WNLI.tsv", "AX.tsv"),
    }


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("task", "split", "rows"),
    [
        *(("cola", "train", 8551), ("cola", "dev", 1043), ("cola", "test", 1063)),
        *(("sst2", "train", 67349), ("sst2", "dev", 872), ("sst2", "test", 1821)),
        *(("mrpc", "train", 3668), ("mrpc", "dev", 408), ("mrpc", "test", 1725)),
        *(("stsb", "train", 5749), ("stsb", "dev", 1500), ("stsb", "test", 1379)),
        *(("rte", "train", 2490), ("rte", "dev", 277), ("rte", "test", 3000)),
        *(("wnli", "train", 635), ("wnli", "dev", 71), ("wnli", "test", 146)),
        *(("qnli", "dev", 5463), ("qnli", "test", 5463), ("mnli", "dev_matched", 9815)),
    ],
)
def test_official_files_are_read_whole(task, split, rows):
    data = pathlib.Path(os.environ.get("ALBERT_TF_DATA", ""))
    if not (data / "GLUE").is_dir():
        pytest.skip("ALBERT_TF_DATA must name a folder with GLUE/")
    examples = glue.read(task, data / "GLUE", split, InputProblems())
    assert len(examples) == rows
    assert [example.guid for example in examples] == [str(number) for number in range(rows)]
    assert all((example.label is None) == (split == "test") for example in examples)
    for example in examples:
        assert "\r" not in example.text_a + (example.text_b or "")


@pytest.mark.parametrize(
    ("task", "header", "message"),
    [
        ("sst2", "index\tsentence\tlabel", "must have the texts in column 1, as the official"),
        ("rte", "sentence1\tsentence2\tidx\tlabel", "must have the texts in column 2 and 3"),
        ("sst2", "sentence\tlabel\tidx", "must have the label in column 3"),
        ("sst2", "a fine film\t1", "must name the columns"),
        ("stsb", "\t".join("01234567") + "\ta cat\ta dog\t2.5", "must name the columns"),
    ],
)
def test_columns_in_other_places_are_refused_by_the_header(tmp_path, task, header, message):
    row = "\t".join(["1"] * (header.count("\t") + 1))
    (tmp_path / "train.tsv").write_text(f"{header}\n{row}\n", encoding="utf-8")
    with pytest.raises(InputError, match=f"train.tsv, line 1: {message}"):
        glue.read(task, tmp_path, "train", InputProblems())


def test_columns_may_have_names_of_ones_own(tmp_path):
    (tmp_path / "train.tsv").write_text("review\tgood\na film\t1\n", encoding="utf-8")
    (example,) = glue.read("sst2", tmp_path, "train", InputProblems())
    assert (example.text_a, example.label) == ("a film", "1")
