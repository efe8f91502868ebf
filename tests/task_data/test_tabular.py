"""Tables of any form become texts with labels; what cannot be used is named by file and line."""

import dataclasses
import datetime
import decimal
import gzip
import json
import os
import tracemalloc

import pytest

from albert_tf.pipelines.task_data import line_files, tabular, text_examples
from albert_tf.pipelines.task_data.input_problems import InputError, InputProblems
from albert_tf.pipelines.task_data.tabular import Columns
from albert_tf.pipelines.task_data.text_examples import TextExample

COLUMNS = Columns("text", label="label")
EXPECTED = [TextExample("0", 'say "hi", you', label="1"), TextExample("1", "zwölf", label="0")]


def write(folder, name, text):
    path = folder / name
    content = text.encode("utf-8")
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return path


def read(path, columns=COLUMNS, problems=None, kind="class", **arguments):
    return tabular.read(path, columns, problems or InputProblems(), kind=kind, **arguments)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", 'label,text\n1,"say ""hi"", you"\n0,zwölf\n'),
        ("a.csv.gz", '\ufefflabel,text\r\n1,"say ""hi"", you"\r\n0,zwölf\r\n'),
        ("a.tsv", '\ufefftext\tlabel\r\nsay "hi", you\t1\r\nzwölf\t0'),
        ("a.txt.gz", 'text\tlabel\nsay "hi", you\t1\nzwölf\t0\n'),
        (
            "a.jsonl",
            '{"text": "say \\"hi\\", you", "label": 1}\n\n{"label": "0", "text": "zwölf", "x": 1}',
        ),
    ],
)
def test_all_forms_give_the_same_examples(tmp_path, name, text):
    assert read(write(tmp_path, name, text)) == EXPECTED


def test_parquet_gives_the_same_examples(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    rows = {"text": ['say "hi", you', "zwölf"], "label": [1, 0], "other": [2.0, 3.0]}
    parquet.write_table(pyarrow.table(rows), tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet") == EXPECTED
    with pytest.raises(InputError, match="must have a column 'words'. Received the columns: text"):
        read(tmp_path / "a.parquet", Columns("words"))
    parquet.write_table(
        pyarrow.table({"text": ["a", None], "label": [1, 1]}), tmp_path / "b.parquet"
    )
    with pytest.raises(InputError, match="b.parquet, row 2: column text must hold a text"):
        read(tmp_path / "b.parquet")
    table = pyarrow.table([["a"], ["b"], ["1"]], names=["text", "note", "label"])
    parquet.write_table(table.rename_columns(["text", "note", "note"]), tmp_path / "c.parquet")
    with pytest.raises(InputError, match="c.parquet must have one column 'note'"):
        list(tabular.read_rows(tmp_path / "c.parquet", InputProblems()))


def test_quoted_cells_may_hold_line_breaks_and_lines_are_counted_through_them(tmp_path):
    path = write(tmp_path, "a.csv", 'text,label\n"one\ntwo",x\nthree,\n')
    with pytest.raises(
        InputError, match="a.csv, line 4: column label: the label must not be empty"
    ):
        read(path)
    assert read(path, Columns("text"))[0].text_a == "one\ntwo"


def test_a_quote_that_is_never_closed_takes_its_own_row_alone(tmp_path):
    rows = [f"text {n},{n}" for n in range(30)]
    rows[3], rows[9] = '"never closed,3', '"one\ntwo",9'
    path = write(tmp_path, "a.csv", "\n".join(["text,label", *rows]) + "\n")
    with pytest.raises(InputError, match="a.csv, line 5: must be CSV"):
        read(path)
    problems = InputProblems(skip=True)
    examples = read(path, problems=problems)
    assert [example.label for example in examples] == [str(n) for n in range(30) if n != 3]
    assert examples[8].text_a == "one\ntwo" and problems.count == 1


def test_a_row_of_very_many_lines_is_told_once(tmp_path):
    rows = ["text,label", '"bad start,1', *(f"text {n},1" for n in range(60)), 'end of it",0']
    problems = InputProblems()
    (example,) = read(write(tmp_path, "a.csv", "\n".join(rows) + "\n"), problems=problems)
    assert example.label == "0"
    (line,) = problems.notes()
    assert "a.csv, line 2: this row has 62 lines; a quote of another row" in line


def test_pairs_numbers_and_names_of_rows(tmp_path):
    path = write(tmp_path, "a.tsv", "id\ts1\ts2\tscore\nx7\ta cat\ta dog\t2.50\n")
    columns = Columns("s1", "s2", "score", "id")
    assert read(path, columns, kind="number") == [TextExample("x7", "a cat", "a dog", 2.5)]


def test_file_without_header_has_numbered_columns(tmp_path):
    path = write(tmp_path, "a.tsv", "gj04\t1\t\tA sentence.\n")
    columns = Columns("3", label="1")
    assert read(path, columns, has_header=False) == [TextExample("0", "A sentence.", label="1")]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("only one field", "must have 2 fields. Received: 1"),
        ("a\tb\tc", "must have 2 fields. Received: 3"),
        ("\t1", "column text must hold a text. Received: ''"),
        (" \u00a0\t1", "column text must hold a text"),
        ("text\tmaybe", "column label: the label must be one of 0, 1. Received: 'maybe'"),
        ("text\t", "column label: the label must not be empty"),
    ],
)
def test_row_that_cannot_be_used_is_named_or_skipped(tmp_path, row, message):
    path = write(tmp_path, "a.tsv", f"text\tlabel\ngood\t1\n{row}\nfine\t0\n")
    with pytest.raises(InputError) as refused:
        read(path, labels=["0", "1"])
    assert f"{path}, line 3: " in str(refused.value) and message in str(refused.value)
    problems = InputProblems(skip=True)
    kept = read(path, problems=problems, labels=["0", "1"])
    assert [example.text_a for example in kept] == ["good", "fine"] and problems.count == 1


@pytest.mark.parametrize("value", ["", "x", "nan", "inf", "1,5"])
def test_label_that_is_no_number_is_refused(tmp_path, value):
    path = write(tmp_path, "a.tsv", f"text\tlabel\ngood\t{value}\n")
    with pytest.raises(InputError, match="line 2: column label: the label must be a number"):
        read(path, kind="number")


def test_bytes_that_are_no_text_are_named(tmp_path):
    for name in ("a.tsv", "a.csv"):
        separator = "\t" if name == "a.tsv" else ","
        path = tmp_path / name
        path.write_bytes(
            f"text{separator}label\n".encode() + b"\xff\xfe" + f"{separator}1\n".encode()
        )
        with pytest.raises(InputError, match="line 2: must be UTF-8"):
            read(path)


def test_csv_row_with_bytes_that_are_no_text_is_left_out_where_it_starts(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b'text,label\ngood,1\n"two\n\xff lines",1\nfine,0\n\xfe,1\n')
    problems = InputProblems(skip=True)
    assert [example.text_a for example in read(path, problems=problems)] == ["good", "fine"]
    assert problems.count == 2
    assert "line 3: must be UTF-8" in problems.summary()
    assert "line 6: must be UTF-8" in problems.summary()


@pytest.mark.parametrize("row", [b"one field", b"\t1", b"text\t", b"\xff\t1"])
def test_rows_after_one_that_was_skipped_keep_their_numbers(tmp_path, row):
    path = tmp_path / "a.tsv"
    path.write_bytes(b"text\tlabel\ngood\t1\n" + row + b"\nfine\t0\n")
    problems = InputProblems(skip=True)
    problems.add("another file", "line 1", "skipped before")
    assert [example.guid for example in read(path, problems=problems)] == ["0", "2"]


def test_empty_file_is_refused_whatever_was_skipped_in_another(tmp_path):
    problems = InputProblems(skip=True)
    problems.add("another file", "line 1", "skipped before")
    with pytest.raises(InputError, match="must hold at least one row of data"):
        read(write(tmp_path, "a.tsv", "text\tlabel\n"), problems=problems)


@pytest.mark.parametrize("name", ["a.tsv.gz", "a.csv.gz"])
def test_compressed_file_that_is_cut_off_is_refused(tmp_path, name):
    separator = "," if ".csv" in name else "\t"
    path = write(tmp_path, name, f"text{separator}label\na{separator}1\n")
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(InputError, match=f"{name} must be whole. Received: Compressed file ended"):
        read(path)


def test_format_can_be_given_whatever_the_suffix(tmp_path):
    path = write(tmp_path, "a.data", '{"text": "a", "label": "x"}\n')
    assert read(path, file_format="jsonl") == [TextExample("0", "a", label="x")]
    with pytest.raises(ValueError, match="`file_format` must be one of csv, tsv, jsonl, parquet"):
        read(path, file_format="xlsx")


def test_quoting_can_be_turned_on_for_tsv_and_off_for_csv(tmp_path):
    path = write(tmp_path, "a.tsv", 'text\tlabel\n"one\ttwo\nthree ""x"""\t1\n')
    assert read(path, quoting=True)[0].text_a == 'one\ttwo\nthree "x"'
    path = write(tmp_path, "a.csv", 'text,label\n"a" cat,1\n')
    assert read(path, quoting=False)[0].text_a == '"a" cat'


def test_column_that_stands_twice_is_refused(tmp_path):
    path = write(tmp_path, "a.tsv", "text\tlabel\tlabel\na\t0\t1\n")
    with pytest.raises(InputError, match="must have one column 'label'"):
        read(path)
    assert read(path, Columns("text"))[0].text_a == "a"


@pytest.mark.parametrize(
    ("line", "kind", "message"),
    [
        ('{"text": "a", "label": NaN, "id": 1}', "class", "the label must not be empty"),
        ('{"text": "a", "label": null, "id": 1}', "class", "the label must not be empty"),
        ('{"text": "a", "label": true, "id": 1}', "number", "the label must be a number"),
        (f'{{"text": "a", "label": 1{"0" * 400}, "id": 1}}', "number", "must be a number"),
        (f'{{"text": "a", "label": 1{"0" * 5000}, "id": 1}}', "number", "must be a JSON object"),
        ('{"text": "a", "label": 1, "id": null}', "number", "column id must hold what the row"),
    ],
)
def test_values_that_say_nothing_are_refused(tmp_path, line, kind, message):
    path = write(tmp_path, "a.jsonl", line + "\n")
    with pytest.raises(InputError, match=f"a.jsonl, line 1: .*{message}"):
        read(path, Columns("text", label="label", guid="id"), kind=kind)


@pytest.mark.parametrize("line", ['{"text": "a"', "[1]", '{"text": "a"}'])
def test_broken_json_line_is_named(tmp_path, line):
    path = write(tmp_path, "a.jsonl", json.dumps({"text": "a", "label": "b"}) + "\n" + line + "\n")
    with pytest.raises(InputError, match="a.jsonl, line 2: must "):
        read(path)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.tsv", "text\tlabel\n", "must hold at least one row of data"),
        ("a.tsv", "", "must hold at least one row of data"),
        ("a.tsv", "words\tlabel\na\tb\n", "must have a column 'text'. Received the columns: words"),
        ("a.csv", "text;label\na;b\n", "columns: text;label .semicolons separate nothing here"),
        ("a.tsv", 'text\tlabel\n"a\nb"\tc\n', "must have 2 fields. Received: 1 .`quoting` reads"),
        ("a.xlsx", "x", "the suffix must be one of .csv"),
    ],
)
def test_file_that_cannot_be_used_is_refused(tmp_path, name, text, message):
    with pytest.raises(InputError, match=message):
        read(write(tmp_path, name, text))


def test_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match="none.csv must be a file"):
        read(tmp_path / "none.csv")


def test_lines_end_at_line_feeds_alone(tmp_path):
    path = write(tmp_path, "a.tsv", "text\tlabel\none\u2028two\x0bthree\x85four\t1\n")
    assert read(path)[0].text_a == "one\u2028two\x0bthree\x85four"


def test_labels_are_discovered_in_order():
    def discover(*labels):
        return text_examples.discover_labels(
            [TextExample("", "a", label=label) for label in labels]
        )

    assert discover("10", "9", "-1", "9") == ["-1", "9", "10"]
    assert discover("b", "10", "9", "a") == ["10", "9", "a", "b"]
    assert discover("1", "01", "001", "0") == ["0", "001", "01", "1"]
    assert discover("1", None) == ["1"]


def write_bomb(path, cell_bytes):
    """Writes two good rows around one whose cell unpacks to so many bytes; returns the path."""
    with gzip.open(path, "wb", compresslevel=9) as file:
        file.write(b"text,label\nfirst,a\n" + b"x" * cell_bytes + b",a\nlast,b\n")
    return path


@pytest.mark.parametrize("name", ["rows.csv.gz", "rows.tsv.gz", "rows.jsonl.gz"])
def test_file_that_unpacks_to_far_more_than_its_size_is_refused_before_it_is_read(tmp_path, name):
    path = write_bomb(tmp_path / name, 64 * 2**20)
    tracemalloc.start()
    with pytest.raises(InputError, match=rf"{name} must not unpack to more than 100 times its"):
        list(tabular.read_rows(path, InputProblems(skip=True)))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 8 * 2**20


def test_limits_of_rows_and_expansion_can_be_raised(tmp_path):
    path = write_bomb(tmp_path / "rows.csv.gz", 17 * 2**20)
    columns = tabular.Columns("text", label="label")
    problems = InputProblems(skip=True, largest_expansion=2000)
    found = tabular.read(path, columns, problems, kind="class")
    assert [example.text_a for example in found] == ["first", "last"]
    assert "line 3: must have at most 16,777,216 bytes (`max_row_mb`)" in problems.summary()
    problems = InputProblems(largest_row=2**25, largest_expansion=2000)
    found = tabular.read(path, columns, problems, kind="class")
    assert len(found[1].text_a) == 17 * 2**20


def test_parquet_that_unpacks_to_far_more_than_its_size_is_refused(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = pyarrow.table({"text": pyarrow.array(["x" * 2**20] * 64).dictionary_encode()})
    parquet.write_table(table, tmp_path / "rows.parquet")
    with pytest.raises(InputError, match=r"rows\.parquet must not unpack to more than 100 times"):
        list(tabular.read_rows(tmp_path / "rows.parquet", InputProblems(), required=["text"]))


def test_damaged_parquet_is_named_with_the_row(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pyarrow.table({"text": ["a"] * 100}), tmp_path / "rows.parquet")
    whole = (tmp_path / "rows.parquet").read_bytes()
    for content in (b"", b"PAR1", whole[:-20], whole[:40] + bytes(20) + whole[60:]):
        (tmp_path / "rows.parquet").write_bytes(content)
        with pytest.raises(InputError, match=r"rows\.parquet, after row \d+: must be a whole"):
            list(tabular.read_rows(tmp_path / "rows.parquet", InputProblems(), required=["text"]))


def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "rows.csv")
    with pytest.raises(InputError, match=r"rows\.csv must be a file"):
        list(tabular.read_rows(tmp_path / "rows.csv", InputProblems()))
    with pytest.raises(InputError, match=r"rows\.csv must be a file"):
        list(line_files.read_lines(tmp_path / "rows.csv", InputProblems()))


SEVERAL = [("comedy", "war"), (), ("drama",)]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "text,label\na,comedy | war\nb,\nc,drama\n"),
        ("a.tsv", "text\tlabel\na\tcomedy|war|comedy\nb\t\nc\tdrama|\n"),
        (
            "a.jsonl",
            '{"text": "a", "label": ["comedy", "war"]}\n{"text": "b", "label": []}\n'
            '{"text": "c", "label": "drama"}\n',
        ),
    ],
)
def test_several_labels_stand_in_one_cell(tmp_path, name, text):
    examples = read(write(tmp_path, name, text), kind="several")
    assert [example.label for example in examples] == SEVERAL
    assert text_examples.discover_labels(examples) == ["comedy", "drama", "war"]


def test_lists_that_were_written_into_a_cell_are_several_labels(tmp_path):
    path = write(
        tmp_path,
        "a.csv",
        "text,label\na,\"['comedy', 'war']\"\nb,[]\nc,[\"drama\"]\n".replace(
            '["drama"]', '"[""drama""]"'
        ),
    )
    examples = read(path, kind="several")
    assert [example.label for example in examples] == SEVERAL
    path = write(tmp_path, "b.csv", "text,label\na,[x] | [y]\n")
    assert read(path, kind="several")[0].label == ("[x]", "[y]")


def test_lists_of_parquet_are_several_labels(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    rows = {"text": ["a", "b", "c"], "label": [list(labels) for labels in SEVERAL]}
    parquet.write_table(pyarrow.table(rows), tmp_path / "a.parquet")
    examples = read(tmp_path / "a.parquet", kind="several")
    assert [example.label for example in examples] == SEVERAL


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "text,comedy,drama,war\na,1,0,1\nb,0,0,0\nc,0, 1.0,false\n"),
        (
            "a.jsonl",
            '{"text": "a", "comedy": 1, "drama": 0, "war": true}\n'
            '{"text": "b", "comedy": 0, "drama": false, "war": 0.0}\n'
            '{"text": "c", "comedy": 0, "drama": 1, "war": 0}\n',
        ),
    ],
)
def test_several_labels_have_a_column_each(tmp_path, name, text):
    columns = Columns("text", labels=("comedy", "drama", "war"))
    examples = read(write(tmp_path, name, text), columns, kind="several")
    assert [example.label for example in examples] == SEVERAL


def test_several_labels_that_cannot_be_used_are_named_by_row_and_column(tmp_path):
    for value in ("2", "", "yes"):
        path = write(tmp_path, "a.csv", f"text,war\na,1\nb,{value}\n")
        with pytest.raises(InputError, match=f"line 3: column war must hold 0 or 1. .*'{value}'"):
            read(path, Columns("text", labels=("war",)), kind="several")
    path = write(tmp_path, "b.csv", "text,label\na,war;poem\n")
    with pytest.raises(InputError, match="line 2: column label: the label must be one of .*'poem'"):
        read(path, kind="several", labels=["war", "drama"], separator=";")
    path = write(tmp_path, "c.jsonl", '{"text": "a", "label": ["war", ""]}\n')
    with pytest.raises(InputError, match="line 1: column label: the label must not be empty"):
        read(path, kind="several")
    path = write(tmp_path, "d.csv", "text,war\na,1\n")
    with pytest.raises(InputError, match="must have a column 'drama'"):
        read(path, Columns("text", labels=("war", "drama")), kind="several")


@pytest.mark.parametrize("name", ["a.tsv", "a.csv"])
def test_empty_line_is_an_empty_cell_where_there_is_one_column(tmp_path, name):
    path = write(tmp_path, name, "text\n\nfirst\n\n\nlast\n\n\n")
    rows = list(tabular.read_rows(path, InputProblems()))
    assert rows == [
        ("line 2", {"text": ""}),
        ("line 3", {"text": "first"}),
        ("line 4", {"text": ""}),
        ("line 5", {"text": ""}),
        ("line 6", {"text": "last"}),
    ]
    if name == "a.csv":  # cells that were written
        path = write(tmp_path, name, 'text\n""\n""\n')
        assert len(list(tabular.read_rows(path, InputProblems()))) == 2
    separator = "," if name == "a.csv" else "\t"
    path = write(tmp_path, name, f"\nb{separator}c\n\nfirst{separator}\n\n")
    rows = list(tabular.read_rows(path, InputProblems()))
    assert rows == [("line 4", {"b": "first", "c": ""})]


def test_columns_of_one_name_keep_their_cells(tmp_path):
    path = write(tmp_path, "a.csv", "text,,price,price,\ngood,1,2,3,4\n")
    ((_, row),) = tabular.read_rows(path, InputProblems())
    assert row == {"text": "good", "1": "1", "price": "2", "price.1": "3", "4": "4"}
    # The index of pandas beside columns called by numbers; a name that pandas would make.
    path = write(tmp_path, "b.csv", ",0,1\n7,good,pos\n")
    ((_, row),) = tabular.read_rows(path, InputProblems(), required=["0"])
    assert row == {"0.1": "7", "0": "good", "1": "pos"}
    path = write(tmp_path, "c.csv", "price,price,price.1\n1,2,3\n")
    ((_, row),) = tabular.read_rows(path, InputProblems())
    assert row == {"price": "1", "price.2": "2", "price.1": "3"}
    with pytest.raises(InputError, match="must have one column 'price'"):
        list(tabular.read_rows(path, InputProblems(), required=["price"]))


def test_labels_of_other_types_are_written_plainly():
    parse = text_examples.parse_label
    assert parse(decimal.Decimal("1.0"), "class", None) == (None, "1")
    assert parse(decimal.Decimal("1.5"), "class", None) == (None, "1.5")
    assert parse(datetime.date(2020, 1, 2), "class", None) == (None, "2020-01-02")
    of_columns = text_examples.true_labels({"a": decimal.Decimal(1), "b": 0.0}, ["a", "b"])
    assert of_columns == (None, ("a",))
    assert parse(True, "class", None) == (None, "true")
    assert parse(decimal.Decimal("NaN"), "class", None)[1] is None
    assert parse("1e3", "number", None) == (None, 1000.0)
    assert parse("1_000", "number", None)[1] is None


def test_class_keeps_a_text_that_has_another_label_elsewhere():
    shared = TextExample("", "shared", label="b")
    rows = [TextExample("", f"text {n}", label="a") for n in range(9)]
    for fraction in (0.1, 0.3, 0.5, 0.9):
        for text in (f"shared {n}" for n in range(20)):
            both = [dataclasses.replace(shared, text_a=text, label=name) for name in "ab"]
            held_out = text_examples.choose_held_out([*rows, *both], fraction)
            assert (text, None) not in held_out
