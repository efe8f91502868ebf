"""Books: wrapped lines to paragraphs, without headings, contents, captions and frames."""

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence

from albert_tf.pipelines.sources.files import LineBlock, SkippedInput
from albert_tf.pipelines.text import languages, plain_text, sentence_splitting
from albert_tf.pipelines.text.plain_text import Paragraph, PlainTextShape

MAX_PARAGRAPH_CHARACTERS = 1 << 20
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
# What a paragraph of no heading is, by the heading before it.
_PROSE, _NOTE, _END = "prose", "a transcriber's note", "behind the end"
# Characters that notes and adverts have at least and at most; between them, a fifth of the book.
_MOST_AROUND = {_NOTE: (5_000, 100_000), _END: (1_000, 100_000)}
_LONGEST_CAPTION = 2_000
# Several of them in one paragraph are a table of contents.
_CONTENTS_WORDS = ("CHAPTER", "Chapter", "BOOK", "PART", "LETTER")
_CONTENTS_ENTRY = re.compile(rf"\b(?:{'|'.join(_CONTENTS_WORDS)}) (?:[IVXLCDM]+|\d+)\b[.:]? ")
_NUMERAL = re.compile(r"[\[(]?(?:[IVXLCDM]+|\d+)[.)\]]*$")
_NUMERAL_AND_TITLE = re.compile(r"[\[(]?(?:[IVXLCDM]+|\d+)[.)\]]+ *[.—–-]* *[A-Z].{0,60}[^.!?,]$")
# "= Title =" and "= = Section = =", as WikiText has them: the first kind begins an article.
_MARKED_HEADING = re.compile(r"(?:= ?)+[^=].*(?: ?=)+")
_ARTICLE_TITLE = re.compile(r"= [^=]*[^= ] =")
_CHAPTER_SIGN = re.compile(f"{_NUMBERED_HEADING.pattern}|{_MARKED_HEADING.pattern}")
_CHAPTER_SHARE = 0.02  # of blocks of lines, in novels; figures stand alone elsewhere, too
_ILLUSTRATION = re.compile(r"\[(?:illustration|frontispiece|sidenote|footnote\b)", re.IGNORECASE)


def parse_book(blocks: Iterable[LineBlock], report: SkippedInput) -> Iterator[Paragraph]:
    """Yields a book's paragraphs, from lines of any shape, without headings and Gutenberg's frame.

    What is left out is counted in `report`. Only a document end in the text itself (another Project
    Gutenberg frame) ends the document.
    """
    first_number, first_lines = next(blocks := iter(blocks), (1, []))
    shape = plain_text.describe_plain_text(first_lines)
    lines = plain_text.number_lines(itertools.chain([(first_number, first_lines)], blocks))
    has_frame = any(_FRAME_START.search(line) for line in first_lines)
    lines = _remove_gutenberg_frame(lines, has_frame, report)
    if shape.margin:
        paragraphs = unwrap_lines(lines, shape)
    else:
        paragraphs = ((number, line and line.strip()) for number, line in lines if line != "")
    if not _is_in_small_letters(first_lines):
        paragraphs = join_interrupted(paragraphs)
    return _drop_headings(_drop_captions(paragraphs, report), report)


def _is_in_small_letters(lines: Sequence[str]) -> bool:
    """Tells whether most lines have no capital: a small letter carries no sentence on, then."""
    return 2 * sum(map(languages.is_small, lines)) > sum(1 for line in lines if line.strip())


def _remove_gutenberg_frame(
    lines: Iterable[Paragraph], has_frame: bool, report: SkippedInput
) -> Iterator[Paragraph]:
    """Drops what stands before each START line and after each END line of Project Gutenberg."""
    inside = not has_frame
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


def unwrap_lines(lines: Iterable[Paragraph], shape: PlainTextShape) -> Iterator[Paragraph]:
    """Joins wrapped lines to paragraphs."""
    parts, started, size = [], 0, 0
    previous = ""
    for number, line in lines:
        text = line.strip() if line else ""
        if parts and (not text or size > MAX_PARAGRAPH_CHARACTERS):
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


def _starts_paragraph(previous: str, line: str, shape: PlainTextShape) -> bool:
    """Tells, where no blank lines do, whether a line starts a new paragraph."""
    if shape.indented and line[0].isspace():
        return True
    # Most lines end far to the right: only a short one can be a heading.
    width = languages.width_of(previous)
    if width < 0.7 * shape.margin and _is_heading_line(previous):
        return True
    if languages.width_of(line) < 0.7 * shape.margin and _is_heading_line(line.strip()):
        return True
    is_short = width + 1 + plain_text.first_word_width(line) <= shape.margin - 6
    return is_short and not languages.is_small(line.lstrip()[0])


def _drop_captions(paragraphs: Iterable[Paragraph], report: SkippedInput) -> Iterator[Paragraph]:
    """Drops what goes on a caption that is more than one paragraph, and leaves its first."""
    waiting: list[Paragraph] = []  # behind the first, while no bracket has closed
    size = 0
    in_caption = False
    for number, paragraph in paragraphs:
        if in_caption and paragraph and "]" in paragraph:
            report.count("caption", len(waiting) + 1)
            waiting, size, in_caption = [], 0, False
            continue
        waiting.append((number, paragraph))
        size += len(paragraph or "")
        if in_caption and paragraph is not None and size <= _LONGEST_CAPTION:
            continue
        yield from waiting  # a bracket that nobody closed
        waiting, size = [], 0
        in_caption = bool(paragraph and _ILLUSTRATION.match(paragraph) and "]" not in paragraph)
    yield from waiting


def _drop_headings(paragraphs: Iterable[Paragraph], report: SkippedInput) -> Iterator[Paragraph]:
    """Drops what is around the prose of a book: headings, contents, captions, notes, adverts.

    Notes and adverts are short beside their book. What is not, behind "The End" or a transcriber's
    line, is the next text of the same file.
    """
    waiting: list[Paragraph] = []
    size = prose = 0
    place, after_prose = _PROSE, False
    for number, paragraph in paragraphs:
        if paragraph and is_heading(paragraph):
            report.count("heading, caption or rule")
            earlier, place = place, _place_behind(paragraph, place, after_prose)
            if place != earlier:
                report.count("note or advert around a book", len(waiting))
                waiting, size = [], 0
            after_prose = False
            if not _ARTICLE_TITLE.fullmatch(paragraph):
                continue
            paragraph = None
        if paragraph is None:
            report.count("note or advert around a book", len(waiting))
            waiting, size, prose, place, after_prose = [], 0, 0, _PROSE, False
            yield number, None
        elif not paragraph:
            continue
        elif _is_table_of_contents(paragraph[:4000]):
            report.count("table of contents")
        elif place == _PROSE:
            prose += len(paragraph)
            after_prose = True
            yield number, paragraph
        else:
            waiting.append((number, paragraph))
            size += len(paragraph)
            least, most = _MOST_AROUND[place]
            if size > min(max(least, prose // 5), most):
                if place == _END:
                    yield waiting[0][0], None
                    prose = 0
                yield from waiting
                waiting, prose, size, place, after_prose = [], prose + size, 0, _PROSE, True
    report.count("note or advert around a book", len(waiting))


def _place_behind(heading: str, place: str, after_prose: bool) -> str:
    """Returns what stands behind a heading: `_PROSE`, or a `_NOTE`, or what follows `_END`."""
    if after_prose and _THE_END.match(heading):
        return _END  # a last chapter may be called "Finis"
    if place == _END and not _NUMBERED_HEADING.match(heading):
        return _END  # a volume may follow another in the same file
    return _NOTE if _TRANSCRIBER.match(heading) and len(heading) < 60 else _PROSE


def _is_table_of_contents(paragraph: str) -> bool:
    # Words are found faster than the expression, and nearly no paragraph has one.
    for word in _CONTENTS_WORDS:
        if word in paragraph:
            return len(_CONTENTS_ENTRY.findall(paragraph)) >= 3
    return False


def is_heading(paragraph: str) -> bool:
    """Tells a chapter heading, a title, a rule or a picture's caption from a paragraph of prose."""
    if _ILLUSTRATION.match(paragraph):
        return True
    if _TRANSCRIBER.match(paragraph) and _is_one_short_sentence(paragraph):
        return True
    if paragraph[0] == "=" and _MARKED_HEADING.fullmatch(paragraph):
        return True
    if len(paragraph) > 120:
        return False
    if _is_heading_line(paragraph) or _NUMERAL_AND_TITLE.match(paragraph):
        return True
    # A short line without any sign at its end: a title, or the name of the author under it.
    if len(paragraph) < 60 and paragraph[-1].isalnum() and paragraph[0].isalnum():
        is_title = not languages.is_small(paragraph[0]) or paragraph.startswith("by ")
        # Where sentences have no sign at their end either, nothing tells.
        return is_title and not languages.is_stopless_text(paragraph)
    return False


def _is_one_short_sentence(paragraph: str) -> bool:
    # "Produced by the sun and the rain, the grass grew high." may begin a page of prose.
    return len(paragraph) < 120 and len(sentence_splitting.split_sentences(paragraph)) == 1


def _is_heading_line(line: str) -> bool:
    """Tells a heading that cannot be the beginning or the middle of a wrapped paragraph."""
    if _NUMBERED_HEADING.match(line) or _NAMED_HEADING.match(line) or _NUMERAL.match(line):
        return line != "I"
    if line.isupper():
        return len(line) > 3 and line[-1] not in "!?,;\"”'"
    return not any(map(str.isalpha, line))


def has_chapters(lines: Sequence[str]) -> bool:
    """Tells by their headings whether blank lines part chapters rather than documents."""
    lines = ["", *(line.strip() for line in lines), ""]
    starts = headings = 0
    for before, line, behind in zip(lines, lines[1:], lines[2:], strict=False):
        starts += bool(line and not before)
        is_alone = line and not (before and behind)
        headings += bool(_CHAPTER_SIGN.fullmatch(line) or is_alone and _NUMERAL.fullmatch(line))
    return headings > _CHAPTER_SHARE * starts


def join_interrupted(paragraphs: Iterable[Paragraph]) -> Iterator[Paragraph]:
    """Joins a paragraph that breaks off to the next one when that goes on in lower case."""
    started, pending = 0, ""
    for number, paragraph in paragraphs:
        if pending and paragraph and languages.is_small(paragraph[0]) and _breaks_off(pending):
            pending = f"{pending} {paragraph}"
            if len(pending) < MAX_PARAGRAPH_CHARACTERS:
                continue
            paragraph = ""
        if pending:
            yield started, pending
        if paragraph is None:
            yield number, None
        started, pending = number, paragraph or ""
    if pending:
        yield started, pending


def _breaks_off(paragraph: str) -> bool:
    return not (plain_text.TERMINAL.search(paragraph) or _is_heading_line(paragraph))
