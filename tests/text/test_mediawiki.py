"""MediaWiki's XML dumps: pages, markup, damage (pipelines/text/mediawiki.py, wiki_markup.py)."""

import bz2
import html
import itertools
import os
import pathlib
import re
import tracemalloc

import pytest

from albert_tf.pipelines.text import corpus, layouts, mediawiki, wiki_markup

TESTDATA = pathlib.Path(__file__).parents[1] / "testdata" / "corpus"
DATA = os.environ.get("ALBERT_TF_DATA", "")
PROSE = "The sea was calm, and the lamp was lit until the day broke. "
DAMAGED = "damaged or truncated file"

needs_parser = pytest.mark.skipif(
    wiki_markup.mwparserfromhell is None, reason="albert_tf[dumps] is not installed"
)


def read(path, **arguments):
    report = corpus.SkippedInput()
    documents = list(corpus.read_file(path, report=report, **arguments))
    return [document.sentences for document in documents], report


def write(folder, name, content):
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def make_page(title, text):
    return (
        f"<page><title>{title}</title><ns>0</ns><revision><text>{html.escape(text, quote=False)}"
        "</text></revision></page>\n"
    )


def make_dump(*pages):
    return f'<mediawiki xml:lang="en">\n{"".join(pages)}</mediawiki>\n'


def show(text):
    """Returns the paragraphs of wiki text, and the counts."""
    report = corpus.SkippedInput()
    shown = wiki_markup.unwrap_markup(text, frozenset({"file", "category"}), report)
    return list(wiki_markup.join_paragraphs(shown, report)), report.counts


# ---- Pages -----------------------------------------------------------------------------------


@needs_parser
@pytest.mark.parametrize("layout", ["auto", "mediawiki"])
def test_a_page_is_a_document_of_its_prose(layout):
    documents, report = read(TESTDATA / "dump_en.xml", layout=layout)
    assert documents == [
        [
            'Lake Orlo ("the white one") is a lake in the north of the country of Vell.',
            "It is fed by three rivers and was first mapped in 1871 by J.\xa0T. Marsh.",
            "The formula is not shown, and the map of the lake is old.",
            "The water is cold in every month of the year, H2O as it is.",
        ],
        ["The Ansa is a river of in length that flows into Lake Orlo."],
    ]
    assert report.counts == {
        "redirect": 1,
        "page that is no article": 1,
        "page that is not wiki text": 1,
        "template": 4,
        "file or category": 2,
        "reference": 2,
        "formula": 1,
        "table": 1,
        "pictures, code or another block": 1,
        # Two headings, four items, what is preformatted, and a line of 33 letters.
        "heading, list item or table row": 8,
        "line with markup that does not close": 1,
    }


@needs_parser
def test_namespaces_and_redirect_words_are_those_of_the_dump():
    documents, report = read(TESTDATA / "dump_hi.xml")
    assert documents == [
        [
            "ओर्लो झील वेल देश के उत्तर में एक बड़ी झील है।",
            "इसमें तीन नदियाँ गिरती हैं।",
            "पानी वर्ष के हर महीने में ठंडा रहता है।",
        ]
    ]
    assert report.counts["redirect"] == report.counts["page that is no article"] == 1
    assert report.counts["file or category"] == 2


@needs_parser
def test_documents_name_the_line_of_their_page():
    documents = corpus.read_file(TESTDATA / "dump_en.xml")
    assert [document.source.rpartition(":")[2] for document in documents] == ["20", "70"]


def make_dump_of(articles, language):
    """Returns articles in WikiExtractor's form as a dump, a blank line between paragraphs."""
    pages = [
        make_page(title, "\n\n".join(body.replace(f"{title}\n", "", 1).split("\n")))
        for title, body in re.findall(r'title="([^"]*)">\n(.*?)</doc>', articles, re.DOTALL)
    ]
    return make_dump(*pages).replace('"en"', f'"{language}"')


@needs_parser
@pytest.mark.parametrize("language", ["de", "fr", "ru", "hi", "zh"])
def test_articles_of_any_language_read_as_from_wikiextractor(tmp_path, language):
    path = TESTDATA.parent / "languages" / f"{language}_wiki"
    dump = make_dump_of(path.read_text(encoding="utf-8"), language)
    documents, _ = read(write(tmp_path, "a.xml", dump))
    assert len(documents) == 12
    assert documents == read(path)[0]


@needs_parser
def test_bzip2_of_several_streams_reads_like_the_plain_dump(tmp_path):
    content = (TESTDATA / "dump_en.xml").read_bytes()
    streams = [bz2.compress(content[i : i + 700]) for i in range(0, len(content), 700)]
    documents, report = read(write(tmp_path, "multistream.xml.bz2", b"".join(streams)))
    assert documents == read(TESTDATA / "dump_en.xml")[0]
    assert DAMAGED not in report.counts


@pytest.mark.parametrize(
    ("beginning", "is_dump"),
    [
        ("<mediawiki>", True),
        ('\n<?xml version="1.0"?><mediawiki xmlns="a"', True),
        ('<?xml version="1.0"?>\n<!-- a -->\n<mediawiki\nxmlns="a">', True),
        ('<?xml version="1.0"?>\n<rss>', False),
        ("<mediawikis>", False),
        ("A text about <mediawiki>.", False),
    ],
)
def test_a_dump_is_told_by_its_beginning(beginning, is_dump):
    lines = beginning.split("\n")
    assert (layouts.recognise_layout("a.xml", lines) == "mediawiki") == is_dump
    assert bool(layouts.recognise_markup(lines)) == ("<rss>" in beginning)


def test_without_the_parser_the_file_is_left_out_and_the_extra_named(tmp_path, monkeypatch):
    monkeypatch.setattr(wiki_markup, "mwparserfromhell", None)
    text = write(tmp_path, "a.txt", PROSE)
    report = corpus.SkippedInput()
    documents = list(corpus.read_documents([str(TESTDATA / "dump_en.xml"), text], report))
    assert len(documents) == 1
    assert report.counts == {
        "MediaWiki dump, for which pip install 'albert_tf[dumps]' is needed": 1
    }


# ---- Markup ----------------------------------------------------------------------------------


@needs_parser
@pytest.mark.parametrize(
    ("markup", "paragraphs"),
    [
        ("One\ntwo\n\nthree", ["One two", "three"]),
        ("海は静か\nだった。", ["海は静かだった。"]),
        ("'''''a''''' ''b'' '''c''' d'e", ["a b c d'e"]),
        ("dell'''arte'' e ''''d'''", ["dell'arte e 'd"]),
        ("[[a]]s [[b|c]] [[:Category:d]] [[User:e|f]] [[wikt:g|h]]", ["as c Category:d f h"]),
        ("[[Category:a]] [[File:b|c [[d]] e]] [[fr:g]] h", ["h"]),
        ("[[Bild:a.JPG|thumb|b]] [[:Datei:c.png]] d", ["Datei:c.png d"]),
        ("a [http://b c d] [http://e] http://f?g=h, i [mailto:j@k l]", ["a c d i l"]),
        ("a (b{{c}}, {{d}}; {{e}}) f{{g}}. h", ["a (b) f. h"]),
        ("{{As of|2011}}, most. {{As of|2012}}, all.", ["Most. All."]),
        ("a &amp; b &lt; c &#233; &unknown; d < e <f> g", ["a & b < c é &unknown; d < e <f> g"]),
        ("a<nowiki>|b=[c]</nowiki> d", ["a|b=[c] d"]),
        ("a<ref>{{b|[[c</ref> d<ref name='e/f'>g</ref> h<REF/> i", ["a d h i"]),
        ("a <ref>b is not closed", ["a b is not closed"]),
        ("a <!-- b is not closed", ["a"]),
        ("a\n<ul><li>b</li></ul>\nc", ["a", "c"]),
        ("a\n:{|\n| b\n|}\nc", ["a", "c"]),
        ("{{a\n{|\n| b\n|}\n{|\n| c", []),
        ("<p> a</p> <small>b</small>\n<b> c</b>\n d", ["a", "b c"]),
        ("<small> a</small>", ["a"]),
        ("-{H|zh:a}--{b}- -{zh-hans:[[c|d]];zh-hant:e}- -{[[f|g]]}-", ["b d g"]),
        ("a\n== b ==\nc\n----\nd", ["a", "c", "d"]),
    ],
)
def test_what_markup_shows(markup, paragraphs):
    assert show(markup)[0] == paragraphs


@needs_parser
@pytest.mark.parametrize("sign", ["{{a|", "[[a|", "{|\n", "<table>", "[[a|{{b|", "{{a|{{b}}"])
def test_a_page_on_which_much_does_not_close_is_refused(tmp_path, sign):
    good, bad = make_page("Good", PROSE), make_page("Bad", PROSE + sign * 20_000)
    documents, report = read(write(tmp_path, "a.xml", make_dump(good, bad, good)))
    assert documents == [[PROSE.strip()]] * 2
    assert report.counts["page whose markup cannot be parsed"] == 1
    byte = len(make_dump()) - len("</mediawiki>\n") + len(good)
    assert report.entries[0]["position"] == f"page 'Bad', byte {byte} of its text"


# ---- Damage and bounds -----------------------------------------------------------------------


@needs_parser
@pytest.mark.parametrize("packed", [False, True])
def test_a_dump_cut_off_gives_what_came_before_and_is_counted_once(tmp_path, packed):
    # Words that do not compress well, so that half of the streams hold half of the pages.
    pages = [make_page(f"Page {i}", f"{PROSE} It is {i * 7919 % 100_003}.") for i in range(3000)]
    content = make_dump(*pages).encode()
    streams = [content[i : i + 50_000] for i in range(0, len(content), 50_000)]
    if packed:
        streams = [bz2.compress(stream) for stream in streams]
    content = b"".join(streams)
    documents, report = read(write(tmp_path, "a.xml.bz2", content[: len(content) // 2]))
    assert 1000 < len(documents) < 1600
    assert report.counts == {DAMAGED: 1}


@needs_parser
@pytest.mark.parametrize(
    ("broken", "detail"),
    [
        ("<page></revision>", "mismatched tag"),
        ("a & b", "not well-formed"),
        ("&nbsp;", "undefined entity"),
        ("<a>" * 100, "elements 50 deep"),
        ("<!--" + "aaaa\n" * 1_000_000 + "-->", "a tag or comment of more than"),
    ],
)
def test_broken_xml_gives_what_came_before_and_says_where(tmp_path, broken, detail):
    good = make_page("Good", PROSE)
    documents, report = read(write(tmp_path, "a.xml", make_dump(good, broken, good)))
    assert documents == [[PROSE.strip()]]
    assert report.counts == {DAMAGED: 1}
    assert report.entries[0]["position"].startswith("after page 'Good', byte ")
    assert detail in report.entries[0]["detail"]


@needs_parser
def test_entities_of_entities_end_as_damage(tmp_path):
    entities = ['<!ENTITY a "a long laugh">']
    entities += [f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in itertools.pairwise("abcdefghi")]
    bomb = f"<!DOCTYPE mediawiki [{''.join(entities)}]>{make_dump(make_page('A', PROSE))}"
    bomb = bomb.replace(PROSE, PROSE + "&i;")
    tracemalloc.start()
    documents, report = read(write(tmp_path, "a.xml", bomb), layout="mediawiki")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert not documents
    assert report.counts == {DAMAGED: 1, "no usable text": 1}
    assert "declaration of an entity" in report.entries[0]["detail"]
    assert peak < 1 << 23


@needs_parser
def test_a_page_that_is_too_long_is_skipped_and_named(tmp_path, monkeypatch):
    monkeypatch.setattr(mediawiki, "MAX_PAGE_CHARACTERS", 1000)
    pages = make_page("Long", PROSE * 20), make_page("Short", PROSE)
    documents, report = read(write(tmp_path, "a.xml", make_dump(*pages)))
    assert documents == [[PROSE.strip()]]
    assert report.counts == {"page that is too long": 1}
    assert report.entries[0]["position"].startswith("page 'Long', byte ")


@needs_parser
def test_memory_does_not_grow_with_the_dump(tmp_path):
    list(corpus.read_file(TESTDATA / "dump_en.xml"))  # what is imported and compiled once
    peaks = []
    for count in (80, 240):
        path = write(tmp_path, "a.xml", make_dump(*[make_page("A", PROSE * 200)] * count))
        tracemalloc.start()
        assert sum(1 for _ in corpus.read_file(path)) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]


# ---- Real dumps ------------------------------------------------------------------------------

ARTICLES, TABLES = "enwiki-pages-articles-shortened.xml.bz2", "enwiki-table-markup.xml.bz2"
# Read in the dumps by eye: the sentences of an article without their markup.
SENTENCES = {
    "Anarchism": [
        "Anarchism is a political philosophy that advocates self-governed societies based on "
        "voluntary institutions.",
        "These are often described as stateless societies, although several authors have defined "
        "them more specifically as institutions based on non-hierarchical free associations.",
    ],
    "Albedo": [
        'Albedo or reflection coefficient, derived from Latin albedo "whiteness" (or reflected '
        'sunlight) in turn from albus "white", is the diffuse reflectivity or reflecting power of '
        "a surface.",
    ],
    "Achilles": [
        "In Greek mythology, Achilles (Akhilleus) was a Greek hero of the Trojan War and the "
        "central character and greatest warrior of Homer's Iliad.",
        "His mother was the nymph Thetis, and his father, Peleus, was the king of the Myrmidons.",
    ],
    "Abraham Lincoln": [
        "Abraham Lincoln (February 12, 1809 – April 15, 1865) was the 16th President of the United "
        "States, serving from March 1861 until his assassination in April 1865.",
        "Lincoln led the United States through its Civil War—its bloodiest war and an event often "
        "considered its greatest moral, constitutional, and political crisis.",
    ],
    "Aardvark": [
        "The aardvark (Orycteropus afer) is a medium-sized, burrowing, nocturnal mammal native to "
        "Africa.",
        "It roams over most of the southern two-thirds of the African continent, avoiding areas "
        "that are mainly rocky.",
        'It receives a "least concern" rating from the IUCN, although its numbers seem to be '
        "decreasing.",
    ],
    "Constructive vote of no confidence": [
        "To overcome this problem, two provisions were included in the 1949 German constitution, "
        "the Basic Law (Grundgesetz).",
    ],
}


def read_real(name):
    path = pathlib.Path(DATA, "mediawiki", name)
    if not path.is_file():
        pytest.skip(f"ALBERT_TF_DATA must name a folder with mediawiki/{name}")
    return bz2.decompress(path.read_bytes()).decode("utf-8"), read(path)


@pytest.mark.real_data
@needs_parser
@pytest.mark.parametrize("name", [ARTICLES, TABLES])
def test_real_articles_keep_their_prose_and_lose_their_markup(name):
    dump, (documents, report) = read_real(name)
    titles = [title for title in SENTENCES if f"<title>{title}</title>" in dump]
    assert len(titles) == (5 if name == ARTICLES else 1)
    for title in titles:
        assert any(set(SENTENCES[title]) <= set(document) for document in documents), title
    for sentence in (sentence for document in documents for sentence in document):
        assert not re.search(r"\{\{|\}\}|\[\[|\]\]|\|-|\{\||<ref|==|''|^\s*[*#:;|!]", sentence)
    assert not report.entries
    assert report.counts["line with markup that does not close"] < 5


def strip_roughly(text):
    """Returns the lines of prose of a page by other means: expressions, innermost first."""
    text = html.unescape(text)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    blocks = r"<ref[^<>]*/>|<(ref|math|gallery|source|pre)\b[^<>]*>.*?</\1>"
    text = re.sub(blocks, "", text, flags=re.DOTALL | re.IGNORECASE)
    inner = r"\{\{[^{}]*\}\}|\{\|(?:(?!\{\||\|\}).)*\|\}"
    link = r"\[\[(?:(?:File|Image|Category):[^\[\]]*|(?:[^\[\]|]*\|)?([^\[\]|]*))\]\]"
    for pattern, kept in ((inner, ""), (link, r"\1")):
        count = 1
        while count:
            text, count = re.subn(pattern, kept, text, flags=re.DOTALL | re.IGNORECASE)
    text = re.sub(r"\[https?:[^\s\]]*\s*([^\]]*)\]", r"\1", text)
    text = html.unescape(re.sub(r"<[^<>]*>|'{2,}", "", text))
    stop = re.compile(r"[a-z)\]\"'”][.!?](?:[\"'”)]|\s|$)")
    # Lines that begin with a letter or a quotation, with the end of a sentence in them.
    lines = (line for line in text.split("\n") if re.match(r"[A-Za-z\"'“(]", line))
    return [line for line in lines if len(line) >= 40 and stop.search(line)]


def runs_of_words(text):
    words = re.findall(r"\w+", text)
    return [tuple(words[i : i + 5]) for i in range(len(words) - 4)]


@pytest.mark.real_data
@needs_parser
@pytest.mark.parametrize(("name", "least"), [(ARTICLES, 0.99), (TABLES, 0.98)])
def test_prose_of_real_articles_is_covered(name, least):
    dump, (documents, _) = read_real(name)
    kept = set(runs_of_words("\n".join(itertools.chain.from_iterable(documents))))
    pages = re.findall(
        r"<ns>0</ns>\s*<id>\d+</id>\s*<revision>.*?<text[^>]*>(.*?)</text>", dump, re.S
    )
    covered = characters = 0
    for line in itertools.chain.from_iterable(map(strip_roughly, pages)):
        runs = runs_of_words(line)
        characters += len(line) if runs else 0
        covered += len(line) * sum(run in kept for run in runs) / max(1, len(runs))
    print(f"{name}: {covered / characters:.2%} of {characters} characters")
    assert covered >= least * characters


def count_letters(text):
    return sum(1 for character in text if not character.isspace())


@pytest.mark.real_data
@needs_parser
@pytest.mark.parametrize("language", ["en", "de", "ru", "hi", "zh", "ar", "th"])
def test_paragraphs_of_any_language_are_kept(tmp_path, language):
    path = pathlib.Path(DATA, "xquad", f"{language}.txt")
    if not path.is_file():
        pytest.skip("ALBERT_TF_DATA must name a folder with xquad/")
    text = path.read_text(encoding="utf-8-sig").strip()
    pages = [make_page("A title", article.replace("\n", "\n\n")) for article in text.split("\n\n")]
    dump = make_dump(*pages).replace('"en"', f'"{language}"')
    documents, _ = read(write(tmp_path, "a.xml", dump))
    kept = sum(count_letters(sentence) for document in documents for sentence in document)
    assert len(documents) == 48
    assert kept >= 0.98 * count_letters(text)


@pytest.mark.real_data
@needs_parser
def test_chinese_articles_keep_their_prose(tmp_path):
    paths = sorted(pathlib.Path(DATA, "zhwiki").glob("*"))
    if not paths:
        pytest.skip("ALBERT_TF_DATA must name a folder with zhwiki/")
    with_stop = kept = 0
    for path in paths:
        articles = path.read_text(encoding="utf-8")
        lines = articles.splitlines()
        with_stop += sum(len(line) for line in lines if "。" in line and line[0] != "<")
        documents, _ = read(write(tmp_path, "a.xml", make_dump_of(articles, "zh")))
        kept += sum(len(sentence) for document in documents for sentence in document)
    assert 0.95 * with_stop <= kept <= 1.01 * with_stop
