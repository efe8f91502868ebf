"""The Chinese tasks are read from each form in which their files are passed around."""

import json

import pytest

from albert_tf.pipelines.task_data import chinese_files
from albert_tf.pipelines.task_data.input_problems import InputError, InputProblems
from albert_tf.pipelines.task_data.squad import GoldAnswer
from albert_tf.pipelines.task_data.text_examples import TextExample

# A quote that is never closed, commas, and a quote around a whole cell: all plain characters.
REVIEWS = [('房间"很大，早餐一般', "1"), ('"太差了"', "0"), ("Wi-Fi, 不好用", "0")]
PAIRS = [('什么是"花呗', "花呗是什么", "1"), ("你好", "你好", "1"), ("几点了", '"几点"开门', "0")]
REVIEW_EXAMPLES = [
    TextExample(str(i), text, None, label) for i, (text, label) in enumerate(REVIEWS)
]
PAIR_EXAMPLES = [TextExample(str(i), *row) for i, row in enumerate(PAIRS)]


def as_tsv(*rows):
    return "".join("\t".join(row) + "\n" for row in rows)


def as_json(names, rows):
    rows = [dict(zip(names, row, strict=True)) for row in rows]
    return "".join(json.dumps({**row, "label": int(row["label"])}) + "\n" for row in rows)


def read(folder, task, name, content, **arguments):
    path = folder / name
    path.write_text(content, encoding="utf-8")
    problems = arguments.pop("problems", InputProblems())
    return chinese_files.read_table(task, path, problems, **arguments)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("train.tsv", as_tsv(("label", "text_a"), *((label, text) for text, label in REVIEWS))),
        ("bom.tsv", "\ufeff" + as_tsv(("text_a", "label"), *REVIEWS).replace("\n", "\r\n")),
        ("plain.txt", as_tsv(*((label, text) for text, label in REVIEWS))),
        ("hub.jsonl", as_json(("text", "label"), REVIEWS)),
        ("clue.json", as_json(("sentence", "label"), REVIEWS)),
        (
            "hotels.csv",
            'label,review\n1,"房间""很大，早餐一般"\n0,"""太差了"""\n0,"Wi-Fi, 不好用"\n',
        ),
    ],
)
def test_reviews_are_the_same_in_each_form(tmp_path, name, content):
    assert read(tmp_path, "chnsenticorp", name, content) == REVIEW_EXAMPLES


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("train.tsv", as_tsv(("text_a", "text_b", "label"), *PAIRS)),
        ("train.txt", as_tsv(*PAIRS)),
        # The columns of this first row would be two if they were names.
        ("same.txt", as_tsv(PAIRS[1], *PAIRS)),
        ("hub.jsonl", as_json(("sentence1", "sentence2", "label"), PAIRS)),
    ],
)
def test_pairs_are_the_same_in_each_form(tmp_path, name, content):
    examples = read(tmp_path, "lcqmc", name, content)[-len(PAIRS) :]
    assert [(e.text_a, e.text_b, e.label) for e in examples] == PAIRS


def test_parquet_of_the_hub_is_read(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    first, second, labels = zip(*PAIRS, strict=True)
    columns = {"sentence1": first, "sentence2": second, "score": [int(label) for label in labels]}
    parquet.write_table(pyarrow.table(columns), tmp_path / "train.parquet")
    examples = chinese_files.read_table("lcqmc", tmp_path / "train.parquet", InputProblems())
    assert examples == PAIR_EXAMPLES


def test_test_files_may_lack_labels(tmp_path):
    content = as_tsv(("qid", "text_a"), ("0", "很好"))
    assert read(tmp_path, "chnsenticorp", "test.tsv", content, with_labels=False) == [
        TextExample("0", "很好")
    ]
    with pytest.raises(InputError, match=r"must have the columns label/score, text_a/.*'qid'"):
        read(tmp_path, "chnsenticorp", "test.tsv", content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (as_tsv(("label", "text_a"), ("2", "很好")), "line 2: column label: .* one of 0, 1"),
        (as_tsv(("label", "text_a"), ("1", " ")), "line 2: column text_a must hold a text"),
        (as_tsv(("label", "text_a"), ("1", "很好", "x")), "line 2: must have 2 fields"),
        (as_tsv(("一", "二")), "must have the columns label/score"),
        ("", "Received: none"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path, content, message):
    with pytest.raises(InputError, match=message) as refused:
        read(tmp_path, "chnsenticorp", "train.tsv", content)
    assert str(tmp_path / "train.tsv") in str(refused.value)


def test_a_row_that_is_skipped_counts_once_though_the_first_is_looked_at_twice(tmp_path):
    problems = InputProblems(skip=True)
    content = as_tsv(("label", "text_a"), ("1", "很好", "x"), ("0", "不好"))
    examples = read(tmp_path, "chnsenticorp", "train.tsv", content, problems=problems)
    assert [example.text_a for example in examples] == ["不好"] and problems.count == 1


def test_files_are_found_in_the_folder_or_in_that_of_the_task(tmp_path):
    (tmp_path / "lcqmc").mkdir()
    for path in ("train.tsv", "lcqmc/validation.jsonl"):
        (tmp_path / path).touch()
    assert chinese_files.find_table("lcqmc", tmp_path, "train") == tmp_path / "train.tsv"
    found = chinese_files.find_table("lcqmc", tmp_path, "dev")
    assert found == tmp_path / "lcqmc" / "validation.jsonl"
    with pytest.raises(InputError, match="must hold the test file of LCQMC"):
        chinese_files.find_table("lcqmc", tmp_path, "test")


# CMRC 2018.

CONTEXT = "《战国无双3》是由光荣和ω-force开发的，2009年12月3日发售，2009年卖出。"
QUESTION = {"id": "DEV_0_QUERY_0", "question": "谁开发的？"}
TEXTS = ("光荣和ω-force", "光荣", "2009年")
ANSWERS = [{"text": text, "answer_start": CONTEXT.index(text)} for text in TEXTS]
PARAGRAPH = {"id": "DEV_0", "context": CONTEXT, "qas": [{**QUESTION, "answers": ANSWERS}]}
FLAT = {
    "context_id": "DEV_0",
    "context_text": CONTEXT,
    "qas": [{"query_id": "DEV_0_QUERY_0", "query_text": "谁开发的？", "answers": list(TEXTS)}],
    "title": "战国无双3",
}


def read_cmrc(folder, values, problems=None):
    (folder / "cmrc.json").write_text(json.dumps(values), encoding="utf-8")
    return chinese_files.read_cmrc(folder / "cmrc.json", problems or InputProblems())


@pytest.mark.parametrize(
    "values",
    [
        {"version": "v1.0", "data": [{"title": "战国无双3", "paragraphs": [PARAGRAPH]}]},
        [FLAT],
        {"version": "1.0", "data": [FLAT]},
    ],
)
def test_cmrc_is_the_same_nested_and_flat_with_all_answers(tmp_path, values):
    (question,) = read_cmrc(tmp_path, values)
    assert question.answers == tuple(GoldAnswer(a["text"], a["answer_start"]) for a in ANSWERS)
    assert (question.guid, question.title) == ("DEV_0_QUERY_0", "战国无双3")
    assert (question.question, question.context) == ("谁开发的？", CONTEXT)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answers": ["任天堂"]}, "question DEV_0_QUERY_0: .*the context does not hold it"),
        ({"answers": [7]}, "question DEV_0_QUERY_0: answers must have text"),
        ({"answers": "光荣"}, "question DEV_0_QUERY_0: 'answers' must be a list"),
        ({"query_text": " "}, "question DEV_0_QUERY_0: the question must be a text"),
    ],
)
def test_flat_question_that_cannot_be_used_is_named_or_skipped(tmp_path, change, message):
    good, broken = FLAT["qas"][0], {**FLAT["qas"][0], **change}
    values = [{**FLAT, "qas": [broken, {**good, "query_id": "b"}]}]
    with pytest.raises(InputError, match=message) as refused:
        read_cmrc(tmp_path, values)
    assert str(refused.value).startswith(str(tmp_path / "cmrc.json"))
    problems = InputProblems(skip=True)
    assert [question.guid for question in read_cmrc(tmp_path, values, problems)] == ["b"]
    assert problems.count == 1


@pytest.mark.parametrize("values", [{"rows": []}, {"data": {}}, "x", 3])
def test_another_file_is_refused_as_no_cmrc(tmp_path, values):
    with pytest.raises(InputError, match=r"cmrc.json must be .*CMRC 2018"):
        read_cmrc(tmp_path, values)


def test_file_of_cmrc_is_found_by_either_name(tmp_path):
    (tmp_path / "cmrc2018_train.json").touch()
    (tmp_path / "dev.json").touch()
    assert chinese_files.find_cmrc(tmp_path, "train").name == "cmrc2018_train.json"
    assert chinese_files.find_cmrc(tmp_path, "dev").name == "dev.json"
    with pytest.raises(InputError, match="must hold cmrc2018_test.json or test.json"):
        chinese_files.find_cmrc(tmp_path, "test")
