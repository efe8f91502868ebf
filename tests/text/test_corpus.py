"""Layouts, damaged input, compression and memory of pipelines/text/corpus.py."""

import bz2
import gzip
import json
import logging
import lzma
import os
import pathlib
import tracemalloc

import pytest

from albert_tf.pipelines.sources import files
from albert_tf.pipelines.text import books, corpus, layouts, wikipedia_text

TESTDATA = pathlib.Path(__file__).parents[1] / "testdata" / "corpus"
COMPRESSIONS = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}


def read_sentences(path, **arguments):
    return [document.sentences for document in corpus.read_file(path, **arguments)]


def write(folder, name, content):
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


# ---- Layouts ---------------------------------------------------------------------------------


def test_one_sentence_a_line_keeps_lines_and_parts_documents_at_blank_lines():
    assert read_sentences(TESTDATA / "sentences.txt") == [
        [
            "The first text begins here.",
            "It has a second line, which is one sentence.",
            "Dr. Reed wrote the third one.",
        ],
        ["The second text is short.", "It ends at once."],
        ["A third text follows two blank lines.", "It has two sentences too."],
    ]


# As in books_large_p1.txt, BookCorpus in one piece.
BOOKCORPUS_LINES = """\
isbn : 1492913731 for my family , who encouraged me to never stop fighting for my dreams chapter 1 \
summer vacations supposed to be fun , right ?
i wish i had a better answer to that question .
its a small quiet town , the kind where everyone knows your name .
`` what are you doing here ? '' she asked , her voice barely above a whisper .
`` i came to see you . ''
`` dr. smith said you would n't come , '' he said .
he looked at her for a long moment , then turned away . ''
usually , he would be tearing around the living room , playing with his toys .
""".splitlines()


def test_bookcorpus_in_one_piece_keeps_its_lines_as_sentences(tmp_path):
    lines = BOOKCORPUS_LINES * 2500
    path = write(tmp_path, "books_large_p1.txt", "\n".join(lines) + "\n")
    report = corpus.SkippedInput()
    documents = read_sentences(path, report=report)
    assert sum(documents, []) == lines
    assert [len(document) for document in documents] == [16_384, 3_616]
    assert (report.documents_cut, report.counts) == (1, {})


@pytest.mark.parametrize("dialogue_lines", [1, 2, 11])
def test_bookcorpus_by_the_book_is_a_document_a_file(tmp_path, dialogue_lines):
    page = ["It was late, was it not? I wish that I had a better answer to that question."]
    page += ['"What are you doing here?" she asked.'] * dialogue_lines
    lines = ["THE HALF-LING", "Chapter 1", *(page * 40)]
    path = write(tmp_path, "1__the-half-ling.epub.txt", "\n\n".join(lines) + "\n")
    (sentences,) = read_sentences(path)
    assert len(sentences) == 40 * (2 + dialogue_lines)
    assert sentences[:2] == [
        "It was late, was it not?",
        "I wish that I had a better answer to that question.",
    ]


def test_a_blank_line_behind_every_sentence_parts_no_documents(tmp_path):
    sentences = ["I wish I had a better answer.", "She asked him why he came there."] * 20
    path = write(tmp_path, "a.txt", "\n\n".join(sentences) + "\n")
    assert read_sentences(path) == [sentences]
    assert len(read_sentences(path, layout="sentences")) == 40
    pairs = "\n\n".join("\n".join(sentences[:2]) for _ in range(20))
    assert len(read_sentences(write(tmp_path, "b.txt", pairs))) == 20


def test_lines_in_small_letters_are_not_joined_where_a_stop_is_missing(tmp_path):
    lines = ["a thoughtful , moving piece that ends without a stop", "mostly works .", "it is"] * 9
    (sentences,) = read_sentences(write(tmp_path, "a.txt", "\n\n".join(lines)))
    assert sentences == lines


def test_paragraphs_a_line_with_blank_lines_between_documents(tmp_path):
    paragraph = "The first is here. The second, which Dr. Reed wrote, is there."
    text = f"{paragraph}\n{paragraph}\n\nHistory\n{paragraph}\n"
    sentences = corpus.split_sentences(paragraph)
    expected = [sentences * 2, ["History", *sentences]] * 20
    path = write(tmp_path, "a.txt", f"{text}\n" * 20)
    assert read_sentences(path) == expected
    assert read_sentences(path, layout="paragraphs") == expected
    assert len(read_sentences(path, layout="book")) == 1
    # Without a blank line in it, or without a line that follows another, it is a book.
    books = ["\n".join([paragraph] * 30), "\n\n".join([paragraph] * 30)]
    books.append("\n\n".join(f"CHAPTER {n}\n\n{text}" for n in range(9)))
    for book in books:
        assert layouts.recognise_layout("b.txt", book.split("\n")) == "book"


def test_layouts_that_were_guessed_are_logged_once_and_counted(tmp_path, caplog):
    for name in "ab":
        write(tmp_path, f"{name}.txt", "It is one line here.\nIt is another one.\n")
    write(tmp_path, "c.txt", "It is a book. It has paragraphs.\n\nIt is short. It ends here.\n")
    write(tmp_path, "d.jsonl", '{"text": "It is a record."}\n')
    report = corpus.SkippedInput()
    with caplog.at_level(logging.INFO, logger="absl"):
        list(corpus.read_documents(str(tmp_path / "*"), report))
    assert report.to_dict()["layouts"] == {"book": 1, "sentences": 2}
    (message,) = [r.getMessage() for r in caplog.records if "plain text" in r.getMessage()]
    assert "read as book: 1, sentences: 2; `layout` names another" in message
    list(corpus.read_documents(str(tmp_path / "a.txt"), report := corpus.SkippedInput(), "book"))
    assert not report.layouts


def test_wrapped_book_is_joined_without_headings_and_gutenberg_frame():
    (sentences,) = read_sentences(TESTDATA / "wrapped_book.txt")
    assert sentences[0] == (
        "The keeper of the lamp at Ferris Point had not spoken to anyone for eleven days when the "
        "boat of Mr. Hale came round the rocks."
    )
    assert sentences[2] == '"Who are you?" asked the keeper.'
    assert sentences[-1] == "The boy counted until he slept."
    text = " ".join(sentences)
    for dropped in ("CHAPTER", "GUTENBERG", "Nobody", "* *", "II", "Illustration", "Updated"):
        assert dropped not in text
    assert len(sentences) == 15


def test_paragraph_book_loses_its_byte_order_mark_and_headings_and_joins_an_interrupted_sentence():
    (sentences,) = read_sentences(TESTDATA / "paragraph_book.txt")
    assert sentences == [
        "Old Marta lived behind the green door.",
        "She sold thread, needles and buttons to whoever came.",
        "Nobody came on Mondays.",
        '"Is it open?" asked the postman.',
        "He did not wait for an answer.",
        "The bell over the door rang twice.",
        "That winter the river froze.",
        "It had not done so since Mrs. Bell was young, and she was older than the bridge and "
        "nearly as tall.",
        "People walked to the mill and back.",
        "They bought thread on the way.",
    ]


def test_wrapped_book_without_blank_lines_parts_paragraphs_at_short_lines(tmp_path):
    filled = "This line is filled with so many words that it reaches the margin\n"
    book = "CHAPTER I\n" + (filled * 3 + "and ends here.\n") * 20
    (sentences,) = read_sentences(write(tmp_path, "book.txt", book))
    assert len(sentences) == 20
    assert sentences[0].endswith("and ends here.")


def test_two_gutenberg_books_in_one_file_are_two_documents(tmp_path):
    book = (TESTDATA / "wrapped_book.txt").read_text()
    documents = read_sentences(write(tmp_path, "two.txt", book + book))
    assert len(documents) == 2
    assert documents[0] == documents[1]


def test_wikiextractor_drops_titles_headers_lists_tables_and_announcements():
    assert read_sentences(TESTDATA / "wiki_00") == [
        [
            "Lake Orlo is a lake in the north of the imaginary country of Vell.",
            "It is fed by three rivers and was first mapped in 1871 by J. T. Marsh.",
            "The lake has an area of 120\xa0km² and a greatest depth of 80 metres.",
            "Its shores are steep in the west.",
            "The water is cold in every month of the year.",
        ],
        [
            "The Ansa is a river of 45 km in length that flows into Lake Orlo from the east.",
            "It was used to float timber until the railway came in 1902.",
        ],
    ]


def test_wikiextractor_json_is_cleaned_like_the_doc_layout():
    assert read_sentences(TESTDATA / "wiki_json_00") == [
        [
            "Lake Orlo is a lake in the north of the imaginary country of Vell.",
            "It is fed by three rivers.",
            "The lake has an area of 120 km² and it is rather deep.",
        ],
        ["The Ansa is a river that flows into Lake Orlo from the east."],
    ]


def test_wrapped_records_of_few_lines_are_joined(tmp_path):
    text = "The keeper of the lamp had not spoken for\\neleven days. The boat came.\\nIt left."
    path = write(tmp_path, "a.jsonl", f'{{"text": "{text}"}}\n')
    assert read_sentences(path)[0][1:] == ["The boat came.", "It left."]
    lines = ["a thoughtful piece without a stop", "it is one of two lines"]
    path = write(tmp_path, "b.jsonl", json.dumps({"text": "\n".join(lines)}))
    assert read_sentences(path) == [lines]


def test_json_lines_report_each_record_that_gives_no_text():
    report = corpus.SkippedInput()
    documents = list(corpus.read_file(TESTDATA / "records.jsonl", report=report))
    assert [document.sentences for document in documents] == [
        [
            "A first record with two sentences.",
            "Here is the other one.",
            "A second paragraph stands here.",
        ],
        ["The last record is fine."],
    ]
    assert report.counts == {"broken JSON line": 2, "JSON line without text": 2}
    assert [entry["position"] for entry in report.entries] == [
        "line 2",
        "line 3",
        "line 4",
        "line 5",
    ]
    assert documents[1].source.endswith("records.jsonl:8")


def test_layout_argument_overrides_the_rule():
    path = TESTDATA / "paragraph_book.txt"
    assert "Chapter 1" in read_sentences(path, layout="sentences")[1]
    (as_book,) = read_sentences(TESTDATA / "sentences.txt", layout="book")
    assert len(as_book) == 7


def test_unknown_layout_is_refused_at_the_call():
    with pytest.raises(ValueError, match="layout.*'auto'.*Received: 'poem'"):
        corpus.read_file(TESTDATA / "sentences.txt", layout="poem")


@pytest.mark.parametrize(
    ("name", "lines", "expected"),
    [
        ("a.txt", ["A man walks.", "A dog barks at it.", "", "Nobody sleeps."], "sentences"),
        ("a.txt", ["a man rides a horse", "two dogs", "a very long walk on the sand"], "sentences"),
        ("a.txt", ["One is here. Two is there. Three is gone.", "", "Four. Five."], "book"),
        ("a", ["", '<doc id="1" url="" title="A">', "A"], "wikiextractor"),
        ("a", ['{"text": "A."}'], "jsonl"),
        ("a.jsonl.gz", ["not json"], "jsonl"),
        ("a.txt", ["{curly} text is no JSON."], "sentences"),
    ],
)
def test_recognise_layout(name, lines, expected):
    assert layouts.recognise_layout(name, lines) == expected


@pytest.mark.parametrize(
    "heading",
    ["CHAPTER I", "Chapter 12", "CHAPTER XII. THE STORM", "Book the First", "IV", "XIV.", "Preface",
     "THE OLD MILL", "* * * * *", "[Illustration: A ship]", "The Old Mill", "by Jane Doe", "-----"],
)  # fmt: skip
def test_is_heading_knows(heading):
    assert books.is_heading(heading)


@pytest.mark.parametrize(
    "prose",
    ["I.e. nothing.", '"Yes."', "No.", "HELP!", "I", "He said:", "Part of it was gone.", "Yes?",
     "Book in hand, he left.", "\"I will,\" said", "Chapter and verse were known to him.",
     "Produced by the sun and the rain, the grass grew high. Nobody cut it.",
     f"Produced by the sun and the rain{', and the wind' * 7}, the grass grew high."],
)  # fmt: skip
def test_is_heading_leaves_prose(prose):
    assert prose == "I" or not books.is_heading(prose)


@pytest.mark.parametrize(
    ("line", "prose"),
    [
        ("History.", ""),
        ("The Upper and the Lower Ferry of the Northern Lake.", ""),
        ("It is home to two campuses of the community college.", None),
        ("It is as red as a cherry in the whole summer. The shades are:",
         "It is as red as a cherry in the whole summer."),
        ("* It is an item of a list that has a verb and a full stop.", ""),
        ('| style="width:20%" | It is a cell of a table, and it is long.', ""),
        (f"1. FC Orlo is a club of the town of Orlo{' and of the north' * 6}.", None),
        (f"'—All You Ships—' is a story of the sea{' and of the north' * 6}.", None),
        (f"- It is an item that is long{' and longer' * 10}.", ""),
        ("1. FC Orlo is a club of the town of Orlo.", ""),
        ("It is a lamp that is lit. It was made in the year 1820.[1][12]", None),
        ("It is a lamp that is lit. It was made in the year 1820.\u200b", None),
        ("-{H|zh-cn:a}-The lamp -{of}- -{zh-hans:Orlo;zh-hant:Arlo}- "
         "is in the north and -{A|zh:old}-.",
         "The lamp of Orlo is in the north and old."),
        ("The lamp (, ; ) is a lamp that has been lit since the year 1820.",
         "The lamp is a lamp that has been lit since the year 1820."),
    ],
)  # fmt: skip
def test_extract_wiki_prose(line, prose):
    assert wikipedia_text.extract_wiki_prose(line) == (line if prose is None else prose)


# ---- Files and damage ------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", COMPRESSIONS)
@pytest.mark.parametrize("named", [True, False])
def test_compressed_files_read_like_plain_ones_whatever_their_name(tmp_path, suffix, named):
    plain = (TESTDATA / "sentences.txt").read_bytes()
    packed = COMPRESSIONS[suffix](plain)
    path = write(tmp_path, f"text.{suffix}" if named else "text", packed)
    report, moves = corpus.SkippedInput(), []
    documents = list(corpus.read_file(path, report=report, on_bytes=moves.append))
    expected = list(corpus.read_file(TESTDATA / "sentences.txt"))
    assert [d.sentences for d in documents] == [d.sentences for d in expected]
    assert report.bytes_read == sum(moves) == len(packed)


@pytest.mark.parametrize("suffix", COMPRESSIONS)
def test_truncated_compressed_file_gives_what_came_before_and_a_warning(tmp_path, suffix):
    # Text that does not compress well, so that half of the bytes hold about half of the lines.
    lines = [f"Number {i * 7919 % 100_003} stands on line {i} of it." for i in range(60_000)]
    packed = COMPRESSIONS[suffix]("\n".join(lines).encode())
    path = write(tmp_path, f"half.{suffix}", packed[: len(packed) * 2 // 3])
    report = corpus.SkippedInput()
    sentences = [s for d in corpus.read_file(path, report=report) for s in d.sentences]
    assert report.counts["damaged or truncated file"] == 1
    if suffix != "bz2":
        assert sentences
    assert sentences[:-1] == lines[: max(len(sentences) - 1, 0)]


@pytest.mark.parametrize(
    "content", [b"\x1f\x8b\x08broken gzip", b"BZh9no bzip2", b"\xfd7zXZ\x00 no"]
)
def test_broken_compressed_file_is_reported_not_raised(tmp_path, content):
    report = corpus.SkippedInput()
    assert not list(corpus.read_file(write(tmp_path, "broken", content), report=report))
    assert report.counts["damaged or truncated file"] == 1


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty file"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "binary file"),
        (bytes(range(1, 32)) * 4 + bytes(range(128, 256)), "binary file"),
        (bytes(range(128, 256)) * 4, "encoding that cannot be told: `encoding` names it"),
        (b"\n \n\n", "no usable text"),
        (gzip.compress(b"", mtime=0), "empty file"),
        ("<?xml version='1.0'?>\n<rss>It is a text.</rss>\n", "markup instead of text"),
        ("\n<!DOCTYPE html>\n<p>It is a text.</p>\n", "markup instead of text"),
    ],
)
def test_file_without_text_is_named_and_counted_and_not_fatal_for_others(tmp_path, content, reason):
    bad = write(tmp_path, "a_bad.txt", content)
    good = write(tmp_path, "good.txt", "All is well.\nIt is.\n")
    report = corpus.SkippedInput()
    documents = list(corpus.read_documents([good, bad], report))
    assert [document.sentences for document in documents] == [["All is well.", "It is."]]
    assert report.to_dict()["skipped"] == {reason: 1}
    assert report.entries[0]["file"] == bad


def test_bytes_that_are_not_utf8_cost_their_sentence_only_and_are_located(tmp_path, caplog):
    text = b"The first is fine. The caf\xe9 is not. The third is fine.\nThe next line is fine.\n"
    path = write(tmp_path, "latin.txt", text * 2)
    report = corpus.SkippedInput()
    with caplog.at_level(logging.WARNING, logger="absl"):
        (sentences,) = read_sentences(path, report=report, layout="book")
    assert sentences == ["The first is fine.", "The third is fine.", "The next line is fine."] * 2
    assert report.counts == {"bytes that are not UTF-8": 2}
    assert [entry["position"] for entry in report.entries] == [
        "line 1, byte 26",
        f"line 3, byte {len(text) + 26}",
    ]
    assert any(f"{path}, line 1, byte 26" in record.getMessage() for record in caplog.records)


def test_zero_bytes_and_lone_surrogates_cost_their_sentence_only(tmp_path):
    far_in = "It is a line.\n" * 30_000 + "It is \0 binary.\nIt is the last.\n"
    report = corpus.SkippedInput()
    path = write(tmp_path, "a.txt", far_in)
    sentences = [s for d in corpus.read_file(path, report=report) for s in d.sentences]
    assert sentences[-2:] == ["It is a line.", "It is the last."]
    assert report.entries[0]["position"] == "line 30001"
    path = write(tmp_path, "b.jsonl", '{"text": "It is \\ud800 half. It is whole."}\n')
    assert read_sentences(path, report=(report := corpus.SkippedInput())) == [["It is whole."]]
    assert report.counts == {files.LOST_CHARACTERS: 1}
    pair = '{"text": "It is \\ud83d\\ude00 whole. \\udc00 is half. It is whole."}\n' * 2
    report = corpus.SkippedInput()
    path = write(tmp_path, "e.jsonl", pair)
    assert read_sentences(path, report=report) == [["It is \U0001f600 whole.", "It is whole."]] * 2
    assert report.counts == {files.LOST_CHARACTERS: 2}
    # Backslashes of the text's own.
    path = write(tmp_path, "f.jsonl", '{"text": "It is C:\\\\udata\\\\ufffd here."}\n')
    assert read_sentences(path, report=(report := corpus.SkippedInput()))
    assert not report.counts
    lost = '{"text": "It is \\ufffd. It is here."}\n{"text": "It is \ufffd. It is here."}\n'
    for name, content in (("c.txt", "It is \ufffd here.\nIt is there.\n" * 2), ("d.jsonl", lost)):
        assert read_sentences(
            write(tmp_path, name, content), report=(report := corpus.SkippedInput())
        )
        assert report.counts == {files.LOST_CHARACTERS: 2}


def test_wikitext_titles_begin_documents(tmp_path):
    article = (
        " = Title = \n \n One is here . Two is there . \n \n = = Part = = \n \n Three . Four . \n"
    )
    path = write(tmp_path, "wiki.tokens", article * 3)
    documents = read_sentences(path)
    assert documents == [["One is here .", "Two is there .", "Three .", "Four ."]] * 3


def test_progress_reaches_the_summed_size_although_files_are_skipped(tmp_path):
    write(tmp_path, "a.txt", b"\0" * 2_000_000)
    write(tmp_path, "b.txt", "It is fine.\n")
    write(tmp_path, "c.xml", "<mediawiki>\n" * 100_000)
    paths = corpus.list_input_files(f"{tmp_path}/*")
    moves = []
    assert len(list(corpus.read_documents(paths, on_bytes=moves.append))) == 1
    assert sum(moves) == corpus.total_input_bytes(paths)


def test_file_that_cannot_be_opened_is_reported(tmp_path):
    report = corpus.SkippedInput()
    assert not list(corpus.read_file(tmp_path / "gone.txt", report=report))
    assert report.counts == {"file that cannot be opened": 1}


def test_warnings_of_one_file_are_limited_but_counted(tmp_path, caplog):
    path = write(tmp_path, "many.jsonl", "{broken\n" * 50 + '{"text": "Fine."}\n')
    report = corpus.SkippedInput()
    with caplog.at_level(logging.WARNING, logger="absl"):
        list(corpus.read_file(path, report=report))
    assert report.counts["broken JSON line"] == 50
    assert len(caplog.records) == files.MAX_WARNINGS_PER_FILE + 1


def test_no_usable_text_at_all_is_an_error(tmp_path):
    path = write(tmp_path, "empty.txt", b"")
    with pytest.raises(ValueError, match="Expected text.*empty.txt.*empty file: 1"):
        list(corpus.read_documents(path))


def test_reports_merge():
    first, second = corpus.SkippedInput(), corpus.SkippedInput()
    list(corpus.read_file(TESTDATA / "records.jsonl", report=first))
    list(corpus.read_file(TESTDATA / "sentences.txt", report=second))
    first.merge(second)
    assert first.to_dict()["documents"] == 5
    assert first.to_dict()["files"] == 2
    assert first.to_dict()["skipped"] == {"JSON line without text": 2, "broken JSON line": 2}


def test_list_input_files_sorts_drops_doubles_and_names_a_pattern_without_match(tmp_path):
    for name in ("b.txt", "a.txt", "deep/c.txt", "odd,name[1].txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write(tmp_path, name, "x")
    listed = corpus.list_input_files(f"{tmp_path}/?.txt,{tmp_path}/**/*.txt")
    assert [pathlib.Path(path).name for path in listed] == [
        "a.txt",
        "b.txt",
        "c.txt",
        "odd,name[1].txt",
    ]
    assert corpus.list_input_files([tmp_path / "odd,name[1].txt"]) == [listed[-1]]
    spellings = [f"{tmp_path}/a.txt", f"{tmp_path}/./a.txt", os.path.relpath(tmp_path / "a.txt")]
    assert corpus.list_input_files(spellings) == spellings[:1]
    with pytest.raises(FileNotFoundError, match="none.txt"):
        corpus.list_input_files([f"{tmp_path}/a.txt", f"{tmp_path}/none.txt"])
    with pytest.raises(FileNotFoundError, match=r"is a folder; .*/deep/\* names its files"):
        corpus.list_input_files(tmp_path / "deep")
    with pytest.raises(ValueError, match="at least one"):
        corpus.list_input_files(" , ")


def test_a_long_document_is_cut_and_memory_stays_bounded(tmp_path):
    line = "This is one line of a very long file without any blank line in it.\n"
    path = write(tmp_path, "long.txt", line * 300_000)  # 20 MB
    sizes = []
    tracemalloc.start()
    for document in corpus.read_file(path):
        sizes.append(len(document.sentences))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sum(sizes) == 300_000
    assert max(sizes) == corpus.MAX_DOCUMENT_SENTENCES
    assert peak < 16e6


def test_a_file_without_line_breaks_is_read_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MAX_LINE_BYTES", 1 << 19)
    text = "Éloi sees the sea. " * 100_000
    path = write(tmp_path, "one_line.txt", text)
    sentences = [s for sentences in read_sentences(path, layout="book") for s in sentences]
    assert "".join(" ".join(sentences).split()) == "".join(text.split())
    assert sentences.count("Éloi sees the sea.") > 99_990


def test_reading_twice_gives_the_same():
    patterns = f"{TESTDATA}/*"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "MAX_WARNINGS_PER_FILE", 0)
        assert list(corpus.read_documents(patterns)) == list(corpus.read_documents(patterns))
