"""Large files are cut into parts whose documents, one after the other, are those of the file."""

import bz2
import gzip
import json

import numpy as np
import pytest
from samples import TESTDATA

from albert_tf.pipelines.text import corpus, layouts, wiki_markup

WORDS = "the old river bends north again where quiet fields meet a narrow stone bridge".split()


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(layouts, "PART_BYTES", 3000)
    monkeypatch.setattr(layouts, "_SEARCH_BYTES", 200)


def make_sentences(rng, count):
    return [
        " ".join(rng.choice(WORDS, rng.integers(5, 14))).capitalize() + "." for _ in range(count)
    ]


def make_pages(first, count, rng):
    return "".join(
        f"  <page>\n    <title>Page {number}</title>\n    <ns>{number % 5 == 0 and 14 or 0}</ns>\n"
        f"    <revision><text>{' '.join(make_sentences(rng, 6))}</text></revision>\n  </page>\n"
        for number in range(first, first + count)
    )


HEAD = (
    '<mediawiki xml:lang="en">\n  <siteinfo><namespaces><namespace key="14">Category'
    "</namespace></namespaces></siteinfo>\n"
)


def make_text(form):
    """Returns the content of a file of some twenty parts."""
    rng = np.random.default_rng(0)
    if form == "sentences":
        blocks = ["\n".join(make_sentences(rng, rng.integers(1, 9))) for _ in range(300)]
        return "\n\n".join(blocks).encode()
    if form == "paragraphs":
        lines = [" ".join(make_sentences(rng, 3)) for _ in range(400)]
        return "\n".join(line + "\n" * (rng.random() < 0.5) for line in lines).encode()
    if form == "jsonl":
        rows = [json.dumps({"text": " ".join(make_sentences(rng, 5))}) for _ in range(300)]
        return "\n".join(rows).encode()
    if form == "wikiextractor":
        pages = [
            f'<doc id="{i}" url="u" title="T{i}">\nT{i}\n\n{" ".join(make_sentences(rng, 5))}\n\n'
            "</doc>\n"
            for i in range(200)
        ]
        return "".join(pages).encode()
    streams = [HEAD, *(make_pages(first, 10, rng) for first in range(0, 200, 10)), "</mediawiki>\n"]
    if form == "dump":
        return "".join(streams).encode()
    assert form == "dump in streams"
    return b"".join(bz2.compress(stream.encode()) for stream in streams)


def read(path, part=None):
    report = corpus.SkippedInput()
    documents = [d.sentences for d in corpus.read_file(path, report=report, part=part)]
    return documents, report


@pytest.mark.parametrize(
    "form", ["sentences", "paragraphs", "jsonl", "wikiextractor", "dump", "dump in streams"]
)
def test_the_parts_of_a_file_have_its_documents(tmp_path, form):
    if form.startswith("dump") and wiki_markup.mwparserfromhell is None:
        pytest.skip("albert_tf[dumps] is not installed")
    path = tmp_path / "text"
    path.write_bytes(make_text(form))
    parts = layouts.cut_file(str(path))
    assert len(parts) > 2
    assert [part.begin for part in parts] == [0, *(part.end for part in parts[:-1])]
    assert parts[-1].end == path.stat().st_size
    expected, whole = read(path)
    assert len(expected) > 100
    joined, total = [], corpus.SkippedInput()
    for part in parts:
        documents, report = read(path, part)
        joined += documents
        total.merge(report)
    assert joined == expected
    assert total.to_dict() == whole.to_dict()


@pytest.mark.parametrize("form", ["book", "gzip", "latin", "one stream", "in blocks", "one line"])
def test_what_has_no_place_to_cut_stays_whole(tmp_path, form):
    rng = np.random.default_rng(1)
    content = make_text("sentences")
    if form == "book":
        content = (TESTDATA / "corpus" / "wrapped_book.txt").read_bytes() * 20
    elif form == "gzip":
        content = gzip.compress(rng.integers(97, 110, 20_000, np.uint8).tobytes())
    elif form == "latin":
        content = content.decode().replace("again", "wärm").encode("latin-1")
    elif form == "one stream":
        content = bz2.compress((HEAD + make_pages(0, 900, rng) + "</mediawiki>\n").encode())
    elif form == "in blocks":  # as pbzip2 does: streams end anywhere in a page
        dump = (HEAD + make_pages(0, 900, rng) + "</mediawiki>\n").encode()
        blocks = [dump[start : start + 30_000] for start in range(0, len(dump), 30_000)]
        assert len(blocks) > 4
        content = b"".join(map(bz2.compress, blocks))
    elif form == "one line":
        content = content.replace(b"\n", b" ")
    path = tmp_path / "text"
    path.write_bytes(content)
    assert len(content) > 6000
    assert layouts.cut_file(str(path)) == [layouts.FilePart(str(path), 0, len(content))]


def test_a_dump_is_cut_at_streams_of_any_size(tmp_path):
    letters = np.random.default_rng(0).integers(97, 123, (3, 8, 60_000), np.uint8)
    pages = [
        "".join(
            f"  <page>\n    <text>{page.tobytes().decode()}</text>\n  </page>\n" for page in stream
        )
        for stream in letters
    ]
    streams = [bz2.compress(text.encode()) for text in (HEAD, *pages, "</mediawiki>\n")]
    assert 1 << 18 < len(streams[1]) < layouts._BZIP2_BLOCK_BYTES
    path = tmp_path / "dump.xml.bz2"
    path.write_bytes(b"".join(streams))
    assert len(layouts.cut_file(str(path))) >= 3


def test_sentences_without_a_blank_line_are_cut_at_lines_and_counted(tmp_path, monkeypatch):
    path = tmp_path / "books_large_p1.txt"
    path.write_bytes(make_text("sentences").replace(b"\n\n", b"\n"))
    ((sentences,), whole) = read(path)
    assert whole.documents_cut == 0
    parts = layouts.cut_file(str(path))
    assert len(parts) > 10
    assert [part.begin for part in parts] == [0, *(part.end for part in parts[:-1])]
    total = corpus.SkippedInput()
    documents = []
    for part in parts:
        of_part, report = read(path, part)
        documents += of_part
        total.merge(report)
    assert sum(documents, []) == sentences
    assert (len(documents), total.documents_cut) == (len(parts), len(parts) - 1)
    monkeypatch.setattr(corpus, "MAX_DOCUMENT_SENTENCES", 100)
    documents, report = read(path)
    assert [len(document) for document in documents[:-1]] == [100] * (len(documents) - 1)
    assert report.documents_cut == len(sentences) // 100


def test_a_blank_line_far_off_is_still_where_a_part_begins(tmp_path):
    path = tmp_path / "text"
    lines = make_text("sentences").replace(b"\n\n", b"\n")
    place = lines.index(b"\n", layouts.PART_BYTES + 2500)
    path.write_bytes(lines[:place] + b"\n" + lines[place:])
    assert layouts.cut_file(str(path))[1].begin == place + 2


def test_a_layout_that_was_given_says_where_to_cut(tmp_path):
    path = tmp_path / "text"
    path.write_bytes(make_text("sentences"))
    assert len(layouts.cut_file(str(path), layout="book")) == 1
    assert len(layouts.cut_file(str(path), encoding="latin-1")) == 1
    assert len(layouts.cut_file(str(path), layout="jsonl")) > 2


def test_a_part_is_read_in_the_encoding_of_its_file(tmp_path):
    path = tmp_path / "text"
    content = make_text("sentences")
    place = content.index(b"\n\n", len(content) // 2)
    foreign = "Wärme übt über Jahre größere Kräfte.\n".encode("latin-1") * 90
    path.write_bytes(content[:place] + b"\n\n" + foreign + content[place:])
    parts = layouts.cut_file(str(path))
    documents = [document for part in parts for document in read(path, part)[0]]
    assert documents == read(path)[0]


def test_a_part_of_a_dump_knows_its_namespaces_and_where_it_ends(tmp_path):
    if wiki_markup.mwparserfromhell is None:
        pytest.skip("albert_tf[dumps] is not installed")
    path = tmp_path / "dump"
    path.write_bytes(make_text("dump"))
    _, middle, *_, last = layouts.cut_file(str(path))
    _, report = read(path, middle)
    assert report.counts["page that is no article"] > 0
    assert "damaged or truncated file" not in report.counts
    path.write_bytes(path.read_bytes()[: -len("</mediawiki>\n")])
    cut = layouts.FilePart(str(path), last.begin, path.stat().st_size)
    assert read(path, cut)[1].counts["damaged or truncated file"] == 1
