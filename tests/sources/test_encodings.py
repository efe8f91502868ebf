"""Files that are not plain UTF-8 lines of text: other encodings, Parquet, Zstandard, other keys."""

import codecs
import json
import logging

import pytest
from foreign_texts import (
    CHINESE,
    CROATIAN,
    FOREIGN,
    GERMAN,
    HEBREW,
    POLISH,
    RUSSIAN,
    SPEECH,
)

from albert_tf.pipelines.sources import compressed_files, encodings
from albert_tf.pipelines.text import corpus


def write(folder, name, content):
    path = folder / name
    path.write_bytes(content)
    return str(path)


def read(path, **arguments):
    report = corpus.SkippedInput()
    documents = list(corpus.read_file(path, report=report, **arguments))
    return [sentence for document in documents for sentence in document.sentences], report


@pytest.mark.parametrize(("text", "encoding", "named"), FOREIGN)
def test_an_encoding_is_detected_and_named_and_loses_nothing(tmp_path, text, encoding, named):
    expected, _ = read(write(tmp_path, "utf8.txt", (text * 20).encode()), layout="book")
    found, report = read(
        write(tmp_path, "foreign.txt", (text * 20).encode(encoding, "ignore")), layout="book"
    )
    assert [s.replace("š", "") for s in found] == [s.replace("š", "") for s in expected]
    assert report.to_dict()["encodings"] == {named: 1}
    assert not report.counts


def test_a_detected_encoding_is_logged(tmp_path, caplog):
    path = write(tmp_path, "a.txt", (RUSSIAN * 20).encode("cp1251"))
    with caplog.at_level(logging.INFO, logger="absl"):
        read(path)
    assert any(
        f"{path}: read as cp1251; `encoding` names another one" in record.getMessage()
        for record in caplog.records
    )


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (GERMAN, "mac_roman"),
        (GERMAN, "cp437"),
        (RUSSIAN, "cp866"),
        (POLISH, "mac_latin2"),
        (SPEECH, "mac_roman"),
        (CROATIAN, "cp1250"),
        (HEBREW, "cp862"),
    ],
)
def test_an_encoding_that_cannot_be_told_is_left_out_until_it_is_said(tmp_path, text, encoding):
    path = write(tmp_path, "old.txt", (text * 20).encode(encoding))
    with pytest.raises(ValueError, match=r"encoding that cannot be told: `encoding` names it: 1"):
        list(corpus.read_documents(path))
    found, report = read(path, encoding=encoding, layout="book")
    assert found == corpus.split_sentences(text) * 20
    assert report.encodings == {codecs.lookup(encoding).name: 1}


def test_names_in_english_text_are_not_read_in_other_letters():
    names = "Aubrey de Sélincourt wrote of Zürich, and René Lévy lived in Montréal.\n"
    prices = "The price was £5 or €6 at the time; the naïve buyer paid £7 – twice.\n"
    others = "Björk was born in Reykjavík, and Søren lived in Århus.\n"
    plain = "It was a long day in the quiet town, and nobody came to the house by the river.\n" * 8
    for text in (prices + others, names + prices + others):
        assert encodings.detect_encoding(((text + plain) * 8).encode("cp1252")) == "cp1252"


def test_minutes_in_western_text_are_accents_behind_figures():
    german = "Müller traf früh (34´), der Ausgleich fiel später (71´); Köhler klärte für Köln.\n"
    spanish = "La ciudad está a 40° 25´ de latitud norte y 3° 41´ oeste. El río nació más allá.\n"
    for text in (german, spanish):
        assert encodings.detect_encoding((text * 5).encode("cp1252")) == "cp1252"


def test_a_fraction_in_german_text_is_no_accent():
    text = (
        "Die Männer übten täglich, und größere Läden öffneten früher für die Gäste. "
        "Er fügte 6½ Säcke hinzu, später 7½ für Bäcker.\n"
    )
    assert encodings.detect_encoding(text.encode("cp1252")) == "cp1252"


def test_chinese_of_7_bits_is_named_and_an_escape_alone_is_utf8(tmp_path):
    letters = CHINESE.strip().encode("gb2312").translate(bytes(i & 127 for i in range(256)))
    path = write(tmp_path, "old.txt", b"\x1b$)A\x0e" + letters + b"\x0f\n")
    with pytest.raises(ValueError, match="ISO-2022-CN, which cannot be read: convert it to UTF-8"):
        list(corpus.read_documents(path))
    path = write(tmp_path, "log.txt", b"It prints \x1b$ and \x1b$) here.\n")
    assert read(path)[1].encodings == {"utf-8": 1}


def test_utf8_with_damaged_places_stays_utf8(tmp_path):
    damaged = (GERMAN * 20).encode().replace("früh".encode(), b"fr\xfch", 15)
    found, report = read(write(tmp_path, "a.txt", damaged), layout="book")
    assert report.encodings == {"utf-8": 1}
    assert report.counts == {"bytes that are not UTF-8": 15}
    assert len(found) == 60 - 15


def test_damage_in_a_said_encoding_is_named_by_line(tmp_path):
    content = (CHINESE * 3).encode("gb18030").replace("人".encode("gb18030"), b"\xff", 1)
    found, report = read(write(tmp_path, "a.txt", content), encoding="gb18030", layout="book")
    assert len(found) == 6 - 1
    assert report.counts == {"bytes that are not gb18030": 1}
    assert report.entries[0]["position"] == "line 1"


def test_unknown_encoding_is_refused_at_the_call(tmp_path):
    with pytest.raises(
        ValueError, match="`encoding` must be auto or the name.*Received: 'klingon'"
    ):
        corpus.read_file(tmp_path / "a.txt", encoding="klingon")
    with pytest.raises(ValueError, match="`encoding` must be.*Received: 'hex'"):
        encodings.check_encoding("hex")
    for name in ("undefined", "idna"):
        with pytest.raises(ValueError, match=f"`encoding` must be.*Received: '{name}'"):
            encodings.check_encoding(name)


@pytest.mark.parametrize("encoding", ["utf-8", "cp1251"])
def test_a_zero_byte_at_the_beginning_costs_its_line_alone(tmp_path, encoding):
    content = (RUSSIAN * 40).encode(encoding) + b"It is \0 here.\n" + b"It is the last.\n"
    found, report = read(write(tmp_path, "a.txt", content), layout="sentences")
    assert found == [*RUSSIAN.splitlines() * 40, "It is the last."]
    assert report.encodings == {encoding: 1}
    assert report.counts["zero bytes in text"] == 1
    assert report.entries[0]["position"] == "line 41"


def test_utf16_text_of_many_blocks_has_the_same_lines(tmp_path):
    text = GERMAN * 8000  # several blocks, whose ends fall between the two bytes of a line end
    found, _ = read(write(tmp_path, "a.txt", text.encode("utf-16-le")), encoding="utf-16-le")
    expected, _ = read(write(tmp_path, "b.txt", text.encode()))
    assert found == expected and len(found) == 24_000


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le"])
def test_a_byte_order_mark_is_no_text_where_the_encoding_is_said(tmp_path, encoding):
    text = f'<doc id="1" url="u" title="T">\nT\n\n{GERMAN * 5}</doc>\n'
    found, report = read(
        write(tmp_path, "a.txt", f"\ufeff{text}".encode(encoding)), encoding=encoding
    )
    expected, expected_report = read(write(tmp_path, "b.txt", text.encode()))
    assert found == expected and len(found) > 9
    assert report.counts == expected_report.counts


# ---- Records and containers ------------------------------------------------------------------


def test_text_field_names_the_key_of_the_text(tmp_path):
    lines = [json.dumps({"id": i, "content": f"It is text {i}. It is good."}) for i in range(3)]
    path = write(tmp_path, "a.jsonl", "\n".join(lines).encode())
    assert read(path, text_field="content")[0][:2] == ["It is text 0.", "It is good."]
    with pytest.raises(ValueError, match=r"JSON line without text: 3.*`text_field`.*content"):
        list(corpus.read_documents(path))


def write_parquet(path, columns):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pyarrow.table(columns), path)
    return str(path)


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_text_field_names_a_field_inside_another(tmp_path, form):
    rows = [{"text": None, "page": {"text": "It is here.", "n": i}} for i in range(2)]
    if form == "parquet":
        columns = {name: [row[name] for row in rows] for name in ("text", "page")}
        path = write_parquet(tmp_path / "a.parquet", columns)
    else:
        path = write(tmp_path, "a.jsonl", "\n".join(map(json.dumps, rows)).encode())
    assert read(path, text_field="page/text")[0] == ["It is here."] * 2
    for name in ("page", "page/n", "page/nonsuch", "text", "text/page"):
        found, report = read(path, text_field=name)
        assert found == []
        assert sum(n for reason, n in report.counts.items() if reason.endswith("out text")) == 2
    # A key that holds the sign is the key that it is.
    path = write(tmp_path, "b.jsonl", b'{"page/text": "It is flat.", "page": {"text": "No."}}')
    assert read(path, text_field="page/text")[0] == ["It is flat."]


def test_parquet_gives_a_document_a_row(tmp_path):
    texts = ["One is here. Two is there.", None, "Three is gone."] * 100
    path = write_parquet(tmp_path / "a.parquet", {"abstract": texts, "year": [1] * 300})
    report, moves = corpus.SkippedInput(), []
    documents = list(
        corpus.read_documents(path, report, on_bytes=moves.append, text_field="abstract")
    )
    assert [d.sentences for d in documents[:2]] == [
        ["One is here.", "Two is there."],
        ["Three is gone."],
    ]
    assert documents[1].source == f"{path}:3"
    assert len(documents) == 200
    assert report.counts == {"row without text": 100}
    assert sum(moves) == report.bytes_read == corpus.total_input_bytes([path])


def test_articles_in_parquet_are_cleaned_like_those_of_wikiextractor(tmp_path):
    text = "Orlo\n\nLake Orlo is a lake in the north of the country.\n\nHistory.\n\n* An item\n"
    columns = {"id": ["1"], "url": ["u"], "title": ["Orlo"], "text": [text]}
    found, _ = read(write_parquet(tmp_path / "wiki", columns))
    assert found == ["Lake Orlo is a lake in the north of the country."]


@pytest.mark.slow
def test_parquet_without_the_column_damaged_or_too_large_is_reported(tmp_path):
    path = write_parquet(tmp_path / "a.parquet", {"body": ["It is."]})
    with pytest.raises(ValueError, match=r"without a column 'text'.*`text_field`.*body"):
        list(corpus.read_documents(path))
    content = (tmp_path / "a.parquet").read_bytes()
    _, report = read(write(tmp_path, "b.parquet", content[: len(content) // 2]))
    assert report.counts["damaged or truncated file"] == 1
    pyarrow = pytest.importorskip("pyarrow")
    same = pyarrow.array(["It is one text. " * 2**16] * 64).dictionary_encode()
    _, report = read(write_parquet(tmp_path / "c.parquet", {"text": same}))
    assert report.counts["unpacks to far more than its size"] == 1


def test_zstandard_reads_like_plain_text(tmp_path):
    zstd = pytest.importorskip("backports.zstd")
    packed = zstd.compress((GERMAN * 20).encode("cp1252"))
    found, report = read(write(tmp_path, "a.txt.zst", packed), layout="book")
    assert found == corpus.split_sentences(GERMAN) * 20
    assert report.encodings == {"cp1252": 1}
    assert report.bytes_read == len(packed)
    _, report = read(write(tmp_path, "b.zst", packed[:-30]), layout="book")
    assert report.counts["damaged or truncated file"] == 1


def test_zstandard_without_its_package_says_what_to_install(tmp_path, monkeypatch):
    openers = {m: o for m, o in compressed_files._OPENERS_BY_MAGIC.items() if m[:1] != b"\x28"}
    monkeypatch.setattr(compressed_files, "_OPENERS_BY_MAGIC", openers)
    path = write(tmp_path, "a.zst", b"\x28\xb5\x2f\xfd and more")
    with pytest.raises(ValueError, match=r"Zstandard file.*pip install 'albert_tf\[zstd\]'"):
        list(corpus.read_documents(path))
