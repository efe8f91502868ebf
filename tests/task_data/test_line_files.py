"""Tables and tagged words in the world's encodings and compressions, as the corpus reads them."""

import bz2
import codecs
import gzip
import json
import lzma

import pytest
from foreign_texts import CHINESE, FOREIGN, GERMAN, JAPANESE, POLISH, RUSSIAN

from albert_tf.pipelines.sources import compressed_files
from albert_tf.pipelines.task_data import line_files, tabular, tagged_words
from albert_tf.pipelines.task_data.input_problems import InputError, InputProblems
from albert_tf.pipelines.text import corpus


def table_of(texts, file_format):
    if file_format == "jsonl":
        return "".join(
            json.dumps({"text": text, "label": "x"}, ensure_ascii=False) + "\n" for text in texts
        )
    if file_format == "csv":
        return "text,label\n" + "".join(f'"{text}",x\n' for text in texts)
    return "text\tlabel\n" + "".join(f"{text}\tx\n" for text in texts)


def read(path, problems=None):
    columns = tabular.Columns("text", label="label")
    examples = tabular.read(path, columns, problems or InputProblems(), kind="class")
    return [example.text_a for example in examples]


@pytest.mark.parametrize("file_format", ["csv", "tsv", "jsonl"])
@pytest.mark.parametrize(("text", "encoding", "named"), FOREIGN)
def test_tables_are_read_in_the_encoding_that_they_are_in(
    tmp_path, file_format, text, encoding, named
):
    texts = [text.strip().replace("\n", " ").replace('"', "'")] * 20
    path = tmp_path / f"a.{file_format}"
    path.write_bytes(table_of(texts, file_format).encode(encoding, "ignore"))
    problems = InputProblems()
    expected = [text.encode(encoding, "ignore").decode(encoding) for text in texts]
    assert read(path, problems) == expected
    found = problems.encodings[str(path)].removesuffix("-sig")
    assert found == named
    is_said = f"{path}: read as {found}; `encoding` names another one" in problems.notes()
    assert is_said == (named != "utf-8")


@pytest.mark.parametrize(
    ("text", "encoding"),
    [(GERMAN, "cp437"), (CHINESE, "gb18030"), (POLISH, "utf-16-le"), (GERMAN, "utf-16")],
)
def test_an_encoding_that_is_said_is_taken(tmp_path, text, encoding):
    texts = [text.strip().replace("\n", " ")] * 2
    for file_format in ("csv", "tsv", "jsonl"):
        path = tmp_path / f"a.{file_format}"
        path.write_bytes(table_of(texts, file_format).encode(encoding))
        problems = InputProblems(encoding=encoding)
        assert read(path, problems) == texts
        assert problems.notes() == []


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path):
    for mark, encoding in ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le")):
        path = tmp_path / "a.csv"
        path.write_bytes(mark + "text,label\nzwölf,x\n".encode(encoding))
        for said in (encoding, "auto"):
            assert read(path, InputProblems(encoding=said)) == ["zwölf"]


@pytest.mark.parametrize("encoding", ["utf-16", "UTF_16", "utf-32"])
def test_wide_text_without_a_mark_is_little_endian(tmp_path, encoding):
    wide = f"{codecs.lookup(encoding).name}-le"
    (tmp_path / "a.csv").write_bytes("text,label\nzwölf,x\n".encode(wide))
    assert read(tmp_path / "a.csv", InputProblems(encoding=encoding)) == ["zwölf"]
    (tmp_path / "a.txt").write_bytes((GERMAN * 20).encode(wide))
    (document,) = corpus.read_file(tmp_path / "a.txt", layout="book", encoding=encoding)
    assert document.sentences == corpus.split_sentences(GERMAN) * 20


def test_few_foreign_bytes_are_named_by_line_with_the_flag(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes("text,label\ngood,x\nzwölf,y\n".encode("latin-1"))
    expected = r"a\.csv, line 3: must be UTF-8\. Received: byte 0xf6 \(`encoding` names another"
    with pytest.raises(InputError, match=expected):
        read(path)
    assert read(path, InputProblems(encoding="latin-1")) == ["good", "zwölf"]


def test_an_encoding_that_cannot_be_told_is_refused_with_line_and_flag(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_bytes(table_of([RUSSIAN.strip()] * 20, "tsv").encode("cp866"))
    expected = r"a\.tsv: encoding that cannot be told: `encoding` names it \(line 2: byte 0x82 is"
    for skip in (False, True):  # the whole file is no row
        with pytest.raises(InputError, match=expected):
            read(path, InputProblems(skip=skip))
    assert len(read(path, InputProblems(encoding="cp866"))) == 20
    (tmp_path / "b.csv").write_bytes(b"PK\x03\x04\x14\x00\x06\x00" + bytes(range(256)) * 8)
    with pytest.raises(InputError, match=r"b\.csv: binary file \(zero byte at byte 5"):
        read(tmp_path / "b.csv")


@pytest.mark.parametrize(
    ("encoding", "wrong"),
    [("gb18030", b"\xff"), ("cp1252", b"\x81"), ("utf-16-le", b"\x3f\xd8"), ("shift_jis", b"\xfd")],
)
@pytest.mark.parametrize("file_format", ["csv", "tsv", "jsonl"])
def test_damage_in_a_said_encoding_is_a_malformed_row(tmp_path, file_format, encoding, wrong):
    content = table_of(
        ["one", "two@", "\ufffd three" if encoding[:3] == "utf" else "x"], file_format
    )
    content = content.encode(encoding).replace("@".encode(encoding), wrong)
    path = tmp_path / f"a.{file_format}"
    path.write_bytes(content)
    line = 2 if file_format == "jsonl" else 3
    with pytest.raises(InputError, match=f"line {line}: must be {encoding}. Received: byte 0x"):
        read(path, InputProblems(encoding=encoding))
    problems = InputProblems(skip=True, encoding=encoding)
    assert len(read(path, problems)) == 2 and problems.count == 1


def test_compressed_tables_are_known_by_their_first_bytes(tmp_path):
    content = table_of([JAPANESE.strip()] * 20, "csv").encode("shift_jis")
    packers = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}
    if compressed_files.zstd is not None:
        packers[".zst"] = compressed_files.zstd.compress
    for suffix, pack in packers.items():
        for name in (f"a.csv{suffix}", f"A.CSV{suffix.upper()}", "b.csv"):
            (tmp_path / name).write_bytes(pack(content))
            assert read(tmp_path / name) == [JAPANESE.strip()] * 20
        (tmp_path / "cut.csv").write_bytes(pack(content)[:-6])
        with pytest.raises(InputError, match=r"cut\.csv must be whole\. Received: "):
            read(tmp_path / "cut.csv")
        (tmp_path / "bomb.csv").write_bytes(pack(content + b"x" * 2**24))
        with pytest.raises(InputError, match=r"bomb\.csv must not unpack to more than 100 times"):
            read(tmp_path / "bomb.csv")
    (tmp_path / "plain.csv.gz").write_bytes(content)
    assert read(tmp_path / "plain.csv.gz") == [JAPANESE.strip()] * 20


def test_zstandard_without_its_package_says_what_to_install(tmp_path, monkeypatch):
    openers = {m: o for m, o in compressed_files._OPENERS_BY_MAGIC.items() if m[:1] != b"\x28"}
    monkeypatch.setattr(compressed_files, "_OPENERS_BY_MAGIC", openers)
    (tmp_path / "a.csv.zst").write_bytes(b"\x28\xb5\x2f\xfd and more")
    with pytest.raises(InputError, match=r"a\.csv\.zst: Zstandard file.*albert_tf\[zstd\]"):
        read(tmp_path / "a.csv.zst")


def test_the_limit_of_a_row_counts_bytes(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("ö" * 6 + "\n" + "ö" * 5 + "\n" + "o" * 11 + "\n", encoding="utf-8")
    problems = InputProblems(skip=True, largest_row=12)
    assert list(line_files.read_lines(path, problems)) == [
        ("line 2", "ö" * 5),
        ("line 3", "o" * 11),
    ]
    assert "line 1: must have at most 12 bytes" in problems.summary()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_carriage_return_ends_a_line_where_nothing_else_does(tmp_path, encoding):
    path = tmp_path / "a.txt"
    for ends, expected in (("\r", ["a", "b"]), ("\n", ["a", "b"]), ("\r\n", ["a", "b"])):
        path.write_bytes(f"a{ends}{ends}b{ends}".encode(encoding))
        assert [text for _, text in line_files.read_lines(path, InputProblems())] == expected
    path.write_bytes("a\rb\nc".encode(encoding))
    assert [text for _, text in line_files.read_lines(path, InputProblems())] == ["a\rb", "c"]


def test_tagged_words_in_another_encoding(tmp_path):
    path = tmp_path / "a.conll"
    words = GERMAN.split()
    path.write_bytes(("\n".join(f"{word} O" for word in words) + "\n").encode("cp1252"))
    (sentence,) = tagged_words.read(path, InputProblems(encoding="cp1252"))
    assert list(sentence.words) == words
