"""The layouts that text comes in: lines to documents, each a run of paragraphs.

Every parser takes blocks of lines, `(number of the first line, list of str)`, and yields
`(line number, paragraph)`; a paragraph of None ends the document. Nothing larger than a block and
a paragraph is held in memory.

How a plain text is told apart (`recognise_layout`), on the first block of a file, in this order:
1. the first line that is not blank starts with `<doc `: WikiExtractor;
2. it is a JSON object, or the name says .jsonl, .ndjson: JSON lines;
3. otherwise plain text:
   a. of the lines that another one follows directly, less than half end a sentence, and either most
      are filled up to a common right margin of at most 130 characters (the next line's first word
      would not have fitted) or, where blank lines part the paragraphs, four in five have at least
      60% of that length: a hard-wrapped book;
   b. fewer than 12% of the longer lines hold a sentence end inside the line: one sentence a line,
      a blank line between documents;
   c. otherwise a book with one paragraph a line.
"""

import dataclasses
import itertools
import re

from albert_tf import json_files
from albert_tf.pipelines.text import languages, sentence_splitting, wikipedia_text

LAYOUTS = ("auto", "sentences", "book", "wikiextractor", "jsonl")

_MARKUP_BEGINNINGS = {
    "<mediawiki": "a MediaWiki dump; run WikiExtractor on it first",
    "<!doctype": "an HTML page; extract its text first",
    "<html": "an HTML page; extract its text first",
    "<?xml": "XML; extract its text first",
    "%pdf-": "a PDF document; extract its text first",
    "{\\rtf": "a rich text document; save it as plain text first",
}
_STOPS = f".!?…{languages.WIDE_STOPS}{languages.CLEAR_STOPS}"
_TERMINAL = re.compile(rf"[{_STOPS}]['\"”’»)\]」』）》*_]*$")
_MIN_MARGIN, _MAX_MARGIN = 30, 130
_INNER_END_SHARE = 0.12
_MAX_PARAGRAPH_CHARACTERS = 1 << 20


@dataclasses.dataclass(frozen=True, slots=True)
class PlainTextShape:
    """What the first block of a plain text shows about its lines.

    Attributes:
      layout: "sentences" or "book".
      margin: characters of a full line where the text is hard-wrapped, else 0.
      blank_separated: whether blank lines stand between the paragraphs of a hard-wrapped text.
      indented: whether the first line of a paragraph is set in, where blank lines are missing.
    """

    layout: str
    margin: int = 0
    blank_separated: bool = True
    indented: bool = False


def recognise_layout(path, lines):
    """Returns "wikiextractor", "jsonl", "sentences" or "book" by a file's name and first lines."""
    first = next((line.strip() for line in lines if line.strip()), "")
    if first.startswith("<doc "):
        return "wikiextractor"
    if re.search(r"\.(jsonl|ndjson|json)(\.(gz|bz2|xz|zst))?$", str(path), re.IGNORECASE):
        return "jsonl"
    if first.startswith("{") and re.match(r'\{\s*("|\})', first):
        return "jsonl"
    return describe_plain_text(lines).layout


def recognise_markup(lines):
    """Returns what kind of markup a file is that we do not read as text, or ""."""
    first = next((line.strip().lower() for line in lines if line.strip()), "")
    for beginning, kind in _MARKUP_BEGINNINGS.items():
        if first.startswith(beginning):
            return kind
    return ""


def describe_plain_text(lines):
    """Measures margin, blank lines and sentence ends of plain text; see the rule above."""
    lines = [line.rstrip() for line in lines]
    shape = _describe_wrapping(lines)
    if shape is not None:
        return shape
    longer = [line for line in lines if len(line) >= 20]
    inner = sum(1 for line in longer if len(sentence_splitting.split_sentences(line)) > 1)
    if inner < _INNER_END_SHARE * len(longer) or not longer:
        return PlainTextShape("sentences")
    return PlainTextShape("book")


def _describe_wrapping(lines):
    """Returns the shape of a hard-wrapped text, or None when the lines are not wrapped."""
    count = sum(1 for line in lines if line)
    pairs = [(a, b) for a, b in itertools.pairwise(lines) if a and b]
    if len(pairs) < 3 or len(pairs) < 0.3 * count:
        return None
    lengths = sorted(languages.width_of(a) for a, _ in pairs)
    margin = lengths[int(0.9 * (len(lengths) - 1))]
    if not _MIN_MARGIN <= margin <= _MAX_MARGIN:
        return None
    blank_separated = len(lines) - count > 0.04 * len(lines)
    filled = sum(
        1 for a, b in pairs if languages.width_of(a) + 1 + _first_word_width(b) > margin - 4
    )
    ragged = blank_separated and lengths[int(0.2 * (len(lengths) - 1))] > 0.6 * margin
    if filled < 0.6 * len(pairs) and not ragged:
        return None
    if sum(1 for a, _ in pairs if _TERMINAL.search(a)) > 0.5 * len(pairs):
        return None
    indented = sum(1 for line in lines if line and line[0].isspace())
    return PlainTextShape("book", margin, blank_separated, 0 < indented < 0.4 * count)


def _first_word_width(line):
    """Returns the columns of what a line could not have been broken before."""
    word = line.split(None, 1)[0]
    return 2 if languages.is_spaceless(word[0]) else len(word)


def number_lines(blocks):
    """Yields (number, line) of all blocks."""
    for first, lines in blocks:
        yield from enumerate(lines, first)


def parse_sentences(blocks):
    """One sentence a line, blank lines between documents."""
    for number, line in number_lines(blocks):
        line = line.strip()
        yield number, (line or None)


# ---- Books -----------------------------------------------------------------------------------

_FRAME_START = re.compile(
    r"\*\*\* ?START OF (?:THE|THIS) PROJECT GUTENBERG|^\*END\*? ?THE SMALL PRINT", re.IGNORECASE
)
_FRAME_END = re.compile(
    r"\*\*\* ?END OF (?:THE|THIS) PROJECT GUTENBERG|^End of (?:the )?Project Gutenberg",
    re.IGNORECASE,
)
_TRANSCRIBER = re.compile(
    r"\s*(?:Produced by|E-?text prepared by|\[?Transcriber['’]?s?['’]? note|"
    r"This e-?text was (?:prepared|produced))",
    re.IGNORECASE,
)
_NUMBER = (
    r"(?:[IVXLCDMivxlcdm]+|\d+|[Tt]he \w+|[Ff]irst|[Ss]econd|[Tt]hird|(?i:one|two|three|four|five|"
    r"six|seven|eight|nine|ten|eleven|twelve|\w+teen|(?:twenty|thirty|forty|fifty|sixty)(?:-\w+)?))"
)
_NUMBERED_HEADING = re.compile(
    r"(?i:chapter|book|part|volume|vol\.|canto|act|scene|section|letter|stave|phase)"
    rf"[ .:—–-]*{_NUMBER}\b(?:\s*[.:—–-].{{0,80}})?$"
)
_NAMED_HEADING = re.compile(
    r"(?:preface|introduction|prologue|epilogue|contents|appendix|dedication|illustrations|the end|"
    r"finis)[.:]?$",
    re.IGNORECASE,
)
_THE_END = re.compile(r"(?:the end|finis)[.!]?$", re.IGNORECASE)
# Several of them in one paragraph are a table of contents.
_CONTENTS_WORDS = ("CHAPTER", "Chapter", "BOOK", "PART", "LETTER")
_CONTENTS_ENTRY = re.compile(rf"\b(?:{'|'.join(_CONTENTS_WORDS)}) (?:[IVXLCDM]+|\d+)\b[.:]? ")
_NUMERAL = re.compile(r"[\[(]?(?:[IVXLCDM]+|\d+)[.)\]]*$")
_NUMERAL_AND_TITLE = re.compile(r"[\[(]?(?:[IVXLCDM]+|\d+)[.)\]]+ *[.—–-]* *[A-Z].{0,60}[^.!?,]$")
# "= Title =" and "= = Section = =", as WikiText has them: the first kind begins an article.
_MARKED_HEADING = re.compile(r"(?:= ?)+[^=].*(?: ?=)+")
_ARTICLE_TITLE = re.compile(r"= [^=]*[^= ] =")
_ILLUSTRATION = re.compile(r"\[(?:illustration|frontispiece|sidenote|footnote\b)", re.IGNORECASE)


def parse_book(blocks, report):
    """A book: paragraph lines or wrapped lines, without headings and Project Gutenberg's frame.

    What is left out is counted in `report`. Only a document end in the text itself (another Project
    Gutenberg frame) ends the document.
    """
    first_number, first_lines = next(blocks := iter(blocks), (1, []))
    shape = describe_plain_text(first_lines)
    lines = number_lines(itertools.chain([(first_number, first_lines)], blocks))
    framed = any(_FRAME_START.search(line) for line in first_lines)
    lines = _remove_gutenberg_frame(lines, framed, report)
    if shape.margin:
        paragraphs = _unwrap_lines(lines, shape)
    else:
        paragraphs = ((number, line.strip()) for number, line in lines if line)
    return _drop_headings(_join_interrupted(paragraphs), report)


def _remove_gutenberg_frame(lines, framed, report):
    """Drops what stands before each START line and after each END line of Project Gutenberg."""
    inside = not framed
    for number, line in lines:
        if line[:1] in ("*", "E", "e", " "):
            if _FRAME_START.search(line):
                inside = True
                yield number, ""
                continue
            if inside and _FRAME_END.search(line):
                inside = False
                yield number, None
                continue
        if inside:
            yield number, line
        elif line.strip():
            report.count("line of a frame around a book")


def _unwrap_lines(lines, shape):
    """Joins wrapped lines to paragraphs."""
    parts, started, size = [], 0, 0
    previous = ""
    for number, line in lines:
        text = line.strip() if line else ""
        if parts and (not text or size > _MAX_PARAGRAPH_CHARACTERS):
            yield started, languages.join_lines(parts)
            parts, size = [], 0
        if line is None:
            yield number, None
        if not text:
            continue
        if parts and not shape.blank_separated and _starts_paragraph(previous, line, shape):
            yield started, languages.join_lines(parts)
            parts, size = [], 0
        if not parts:
            started = number
        parts.append(text)
        size += len(text)
        previous = text
    if parts:
        yield started, languages.join_lines(parts)


def _starts_paragraph(previous, line, shape):
    """Tells, where no blank lines do, whether a line starts a new paragraph."""
    if shape.indented and line[0].isspace():
        return True
    # Most lines end far to the right: only a short one can be a heading.
    width = languages.width_of(previous)
    if width < 0.7 * shape.margin and _is_heading_line(previous):
        return True
    if languages.width_of(line) < 0.7 * shape.margin and _is_heading_line(line.strip()):
        return True
    is_short = width + 1 + _first_word_width(line) <= shape.margin - 6
    return is_short and not line.lstrip()[0].islower()


def _drop_headings(paragraphs, report):
    """Drops what is around the prose of a book: headings, contents, captions, notes, adverts."""
    in_caption = in_note = behind_end = after_prose = False
    for number, paragraph in paragraphs:
        if paragraph is None:
            in_caption = in_note = behind_end = after_prose = False
            yield number, None
        elif not paragraph:
            continue
        elif in_caption:
            in_caption = "]" not in paragraph
            report.count("caption")
        elif is_heading(paragraph):
            in_caption = bool(_ILLUSTRATION.match(paragraph)) and "]" not in paragraph
            in_note = bool(_TRANSCRIBER.match(paragraph)) and len(paragraph) < 60
            # A last chapter may be called "Finis"; a volume may follow another in the same file.
            behind_end = (after_prose and bool(_THE_END.match(paragraph))) or (
                behind_end and not _NUMBERED_HEADING.match(paragraph)
            )
            after_prose = False
            report.count("heading, caption or rule")
            if _ARTICLE_TITLE.fullmatch(paragraph):
                yield number, None
        elif in_note or behind_end:
            report.count("note or advert around a book")
        elif _is_table_of_contents(paragraph[:4000]):
            report.count("table of contents")
        else:
            after_prose = True
            yield number, paragraph


def _is_table_of_contents(paragraph):
    # Words are found faster than the expression, and nearly no paragraph has one.
    for word in _CONTENTS_WORDS:
        if word in paragraph:
            return len(_CONTENTS_ENTRY.findall(paragraph)) >= 3
    return False


def is_heading(paragraph):
    """Tells a chapter heading, a title, a rule or a picture's caption from a paragraph of prose."""
    if _ILLUSTRATION.match(paragraph) or _TRANSCRIBER.match(paragraph):
        return True
    if paragraph[0] == "=" and _MARKED_HEADING.fullmatch(paragraph):
        return True
    if len(paragraph) > 120:
        return False
    if _is_heading_line(paragraph) or _NUMERAL_AND_TITLE.match(paragraph):
        return True
    # A short line without any sign at its end: a title, or the name of the author under it.
    if len(paragraph) < 60 and paragraph[-1].isalnum() and paragraph[0].isalnum():
        return not paragraph[0].islower() or paragraph.startswith("by ")
    return False


def _is_heading_line(line):
    """Tells a heading that cannot be the beginning or the middle of a wrapped paragraph."""
    if _NUMBERED_HEADING.match(line) or _NAMED_HEADING.match(line) or _NUMERAL.match(line):
        return line != "I"
    if line.isupper():
        return len(line) > 3 and line[-1] not in "!?,;\"”'"
    return not any(map(str.isalpha, line))


def _join_interrupted(paragraphs):
    """Joins a paragraph that breaks off to the next one when that goes on in lower case."""
    started, held = 0, ""
    for number, paragraph in paragraphs:
        if held and paragraph and paragraph[0].islower() and _breaks_off(held):
            held = f"{held} {paragraph}"
            if len(held) < _MAX_PARAGRAPH_CHARACTERS:
                continue
            paragraph = ""
        if held:
            yield started, held
        if paragraph is None:
            yield number, None
        started, held = number, paragraph or ""
    if held:
        yield started, held


def _breaks_off(paragraph):
    return not (_TERMINAL.search(paragraph) or _is_heading_line(paragraph))


# ---- Records ---------------------------------------------------------------------------------


_NOT_TEXT = re.compile("[\0\ud800-\udfff]")


def parse_json_lines(blocks, path, report, text_field="text"):
    """One JSON object a line, its `text_field` a document; WikiExtractor's --json is recognised."""
    records = _read_json_records(blocks, path, report)
    return parse_records(records, "JSON line", path, report, text_field)


def _read_json_records(blocks, path, report):
    for number, line in number_lines(blocks):
        line = line.strip()
        if not line:
            continue
        try:
            yield number, json_files.parse_object(line)
        except json_files.JsonError as error:
            report.add(path, f"line {number}", "broken JSON line", str(error))


def parse_records(records, kind, path, report, text_field):
    """Records to paragraphs, a document each.

    Args:
      records: of (number, dict).
      kind: "JSON line" or "row", what a record is in its file.
      path, report: where what has no text is reported.
      text_field: the key of the text.
    """
    for number, record in records:
        text = record.get(text_field)
        if not isinstance(text, str):
            keys = json_files.listed(record)
            report.add(
                path,
                f"{kind.removeprefix('JSON ')} {number}",
                f"{kind} without text",
                f"expected a string under {text_field!r} (--text_field), received {keys}",
            )
            continue
        # A lone surrogate has no UTF-8 and a zero byte ends a string elsewhere.
        text = _NOT_TEXT.sub("\ufffd", text)
        yield from _parse_record_text(record, text, number, report)
        yield number, None


def _parse_record_text(record, text, number, report):
    """Yields the paragraphs of the text of one record, all under the record's line number."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if "title" in record and "url" in record and "id" in record:
        title = str(record["title"]).strip()
        language = languages.guess_language(text)
        for line in lines[1:] if lines[0].strip() == title else lines:
            prose = wikipedia_text.take_wiki_prose(line, language, report)
            if prose:
                yield number, prose
        return
    shape = describe_plain_text(lines) if len(lines) > 3 else PlainTextShape("book")
    if shape.margin:
        paragraphs = _unwrap_lines(enumerate(lines), shape)
    else:
        paragraphs = ((number, line.strip()) for line in lines)
    for _, paragraph in paragraphs:
        if paragraph:
            yield number, paragraph
