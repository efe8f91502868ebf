"""Articles of Wikipedia, as WikiExtractor leaves them: prose told from headings, lists and tables.

By their stops, their words and their length in every language; by their verbs as well where the
language is known.
"""

import html
import re
from collections.abc import Iterable, Iterator

from albert_tf.pipelines.sources.files import SkippedInput
from albert_tf.pipelines.text import languages
from albert_tf.pipelines.text.plain_text import Paragraph

NO_PROSE = "heading, list item or table row"

_TITLE = re.compile(r'\btitle="([^"]*)"')
_TAG = re.compile(r"</?[a-zA-Z][^<>]{0,200}>")
# Behind a space or not: an expression that begins with the bracket is found ten times as fast.
_EMPTY_BRACKETS = re.compile(r"\((?:[\s,;:]|or|pron\.)*\)")
_EMPTY_BRACKETS_AND_SPACE = re.compile(rf" ?{_EMPTY_BRACKETS.pattern}")
_BRACKET_START = re.compile(r"\((?:\s*[,;:])+\s*")
_NOTE_MARKS = rf"(?:\[\w{{1,4}}\]|[{languages.MARKS}¹²³⁰-⁹])*"  # of references, and invisible ones
_UP_TO_LAST_STOP = re.compile(
    rf".*(?:[.!?…][\"'”’»)\]]*{_NOTE_MARKS}(?:\s»)?(?=\s|$)|[{languages.WIDE_STOPS}{languages.CLEAR_STOPS}]"
    rf"[\"'”’»)\]」』）》{languages.MARKS}]*)",
    re.DOTALL,
)
_UP_TO_CLEAR_STOP = re.compile(
    rf".*[{languages.WIDE_STOPS}{languages.CLEAR_STOPS}][\"'”’»)\]」』）》{languages.MARKS}]*",
    re.DOTALL,
)
_NOT_PROSE = re.compile(r"[\s\"'(]*(?:[*#|!{}:;•·=<>§+・※●○■□◆◇▪►▶→★☆①-⑳]|[–—-]\s)")
# Of a longer line it is a name: "1. FC Köln ...", "-30- is ...".
_NO_SHORT_PROSE = re.compile(
    r"[\s\"'(]*[–—-]|\d+[.)]\s"
    r"|\d+(?:、(?!\d)|[.)．](?=[\u3000-\U0003ffff]))|（[\d一二三四五六七八九十]{1,2}）"
)
# "-{zh-hans:x;zh-hant:y}-" in articles of Chinese and of others with several scripts.
_VARIANTS = re.compile(r"-\{(?:([A-Za-z;\s-]*)\|)?([^{}]*)\}-")
_VARIANT_NAME = re.compile(r"\s*[a-z]{2,3}(?:-[a-z]+)*\s*:")
_SHOW_NOTHING = ("H", "T", "-")
_SHORTEST_PROSE, _SURELY_PROSE = 40, 110
# Headings and items hardly ever get the stop of Chinese, Japanese or Hindi.
_SHORTEST_WITH_CLEAR_STOP = 20
_SHORTEST_WITH_VERB = 25  # not in English, where no line is looked at so closely
_CLEAR_END = re.compile(rf"[{languages.WIDE_STOPS}{languages.CLEAR_STOPS}]['\"”’»)\]」』）》]*$")
_WIDE_END = re.compile(rf"[!?…{languages.WIDE_STOPS}{languages.CLEAR_STOPS}]['\"”’»)\]」』）》]*$")
_LETTERS = re.compile(r"[^\W\d_]+")


def parse_wikiextractor(
    lines: Iterable[tuple[int, str]], report: SkippedInput
) -> Iterator[Paragraph]:
    """Yields the prose of WikiExtractor's `<doc ...>` blocks, without titles and headers.

    Args:
        lines: (number, line) of the whole file.
        report: counts what is left out.
    """
    title, after_title, language, is_new = "", True, None, True
    for number, line in lines:
        if line.startswith("<"):
            if line.startswith("<doc "):
                match = _TITLE.search(line)
                title = html.unescape(match.group(1)) if match else ""
                after_title, is_new = False, True
                yield number, None
                continue
            if line.startswith("</doc"):
                yield number, None
                continue
        if not after_title and line.strip():
            after_title = True
            if line.strip() == title:
                report.count("title of an article")
                continue
        if language is None or is_new and len(line) > _SURELY_PROSE:
            language, is_new = languages.guess_language(line) or language, False
        prose = take_wiki_prose(line, language, report)
        if prose:
            yield number, prose


def take_wiki_prose(line: str, language: str | None, report: SkippedInput) -> str:
    """Returns `extract_wiki_prose`, and counts what is left out; `language` may be None."""
    prose = extract_wiki_prose(line, language)
    if not prose and line.strip():
        report.count(NO_PROSE)
    elif prose[-4:] != line.rstrip()[-4:]:
        report.count("end of a line behind its last sentence")
    return prose


def extract_wiki_prose(line: str, language: str | None = "en") -> str:
    """Returns the prose of one line of an article, or "" for a header, a list item or a table row.

    What follows the last full sentence is dropped too: it announces a list, a table or a formula
    that is not there. A line of less than 40 columns (20, where a stop ends it that headers do not
    get) is a header or an item; up to 110 it must look like prose: by a verb where the language is
    known, elsewhere by its words and stops.

    Example: "History." -> ""; "It is red. The shades are:" -> "It is red."

    Args:
        line: of an article.
        language: as of `languages.guess_language`, of the article rather than of this line.
    """
    line = show_variants(line.strip()).strip()
    if len(line) < _SHORTEST_PROSE and _is_too_short(line, language):
        return ""
    if "<" in line:
        line = _TAG.sub(" ", line).strip()
    if "&" in line:
        line = html.unescape(line).strip()
    if _NOT_PROSE.match(line) or len(line) < _SURELY_PROSE and _NO_SHORT_PROSE.match(line):
        return ""
    prose = _up_to_last_sentence(line)
    if "|" in prose and prose.count("|") > 2:
        return ""
    if len(prose) < _SURELY_PROSE:
        if len(prose) < _SHORTEST_PROSE and _is_too_short(prose, language):
            return ""
        if languages.width_of(prose) < _SURELY_PROSE and not _looks_like_prose(prose, language):
            return ""
    if "(" in prose:
        if _EMPTY_BRACKETS.search(prose):
            prose = _EMPTY_BRACKETS_AND_SPACE.sub("", prose)
        prose = _BRACKET_START.sub("(", prose)
    return prose


def show_variants(text: str) -> str:
    """Returns a text with the first of the variants of its words, by which it is converted.

    Example: "-{H|zh:a}-A -{zh-hans:b;zh-hant:c}- -{d}-" -> "A b d"
    """
    return _VARIANTS.sub(_show_first_variant, text) if "-{" in text else text


def _show_first_variant(match: re.Match[str]) -> str:
    flags, variants = match.groups()
    if flags is not None and flags.strip() in _SHOW_NOTHING:
        return ""
    first = variants.partition(";")[0]
    return _VARIANT_NAME.sub("", first, count=1).strip()


def _is_too_short(line: str, language: str | None) -> bool:
    """Tells whether a line of few characters has fewer columns than prose has."""
    is_known = language != "en" and language in languages.FINITE_VERBS
    if line.isascii() and not is_known:
        return True
    width = languages.width_of(line)
    if width >= _SHORTEST_PROSE:
        return False
    if width >= _SHORTEST_WITH_CLEAR_STOP and _CLEAR_END.search(line):
        return False
    return not (is_known and width >= _SHORTEST_WITH_VERB and languages.has_verb(line, language))


def _up_to_last_sentence(line: str) -> str:
    """Returns what of a line is sentences, by the stops of its script."""
    # The end of a line tells its script, and is looked at sooner than all of it.
    if line.isascii() or not languages.may_be_spaceless(line[-100:]):
        match = _UP_TO_LAST_STOP.match(line)
    elif languages.is_stopless_text(line):
        # Headers got a full stop, which sentences do not have.
        return "" if line[-1] == "." else line
    elif languages.is_spaceless_text(line) or "।" in line:
        match = _UP_TO_CLEAR_STOP.match(line)
    else:
        match = _UP_TO_LAST_STOP.match(line)
    return match.group() if match else ""


def _looks_like_prose(prose: str, language: str | None) -> bool:
    """Tells a short line of prose from a list item that ends in a full stop."""
    if prose[-1] != "." and _WIDE_END.search(prose) and not prose.isascii():
        return True  # a stop that headers and items do not get
    if language == "en" and not prose.isascii() and not languages.is_latin_text(prose):
        language = None  # a word of English told it, in a text of another script
    if not prose.isascii() and languages.is_stopless_text(prose):
        language = "th"
    if language in languages.FINITE_VERBS:
        return languages.has_clause(prose, language)
    words = _LETTERS.findall(prose)
    has_case = any(languages.is_small(word[0]) for word in words)
    small = sum(1 for word in words if languages.is_small(word[0]))
    return len(words) >= 5 and (not has_case or small >= 0.4 * len(words))
