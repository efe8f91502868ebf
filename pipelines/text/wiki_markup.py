"""The markup of MediaWiki's pages to paragraphs: what a page shows, without what is no prose.

mwparserfromhell knows templates, links, tables and headings. It takes time that grows with the
square of what is opened and never closed, so tags, list signs and addresses, which need no parser,
are gone before, and a page with much that does not close is refused.
"""

import re
from collections.abc import Iterator

from albert_tf.pipelines.sources.files import SkippedInput
from albert_tf.pipelines.text import languages, text_records, wikipedia_text

try:
    import mwparserfromhell
    from mwparserfromhell import nodes
    from mwparserfromhell.parser import ParserError
    from mwparserfromhell.wikicode import Wikicode
except ImportError:  # an extra
    mwparserfromhell = None

PARSER_IS_AN_EXTRA = "MediaWiki dump, for which pip install 'albert_tf[dumps]' is needed"

# What is left where something was dropped, a line break, and two signs that are text and no markup;
# none of them can be in XML.
_GAP, _BREAK, _LESS, _APOSTROPHE = "\x1a", "\x1b", "\x1c", "\x1d"
_BLOCK = "pictures, code or another block"
# Extensions of MediaWiki end at their closing tag, whatever markup is between.
_EXTENSIONS = {
    "ref": "reference",
    "references": "reference",
    "math": "formula",
    "chem": "formula",
    "ce": "formula",
    "nowiki": "",
}
_EXTENSIONS |= dict.fromkeys(
    "gallery timeline score source syntaxhighlight imagemap hiero graph mapframe maplink pre style"
    " templatestyles inputbox categorytree indicator includeonly phonos script".split(),
    _BLOCK,
)
_CLOSINGS = {name: re.compile(rf"</{name}\s*>", re.IGNORECASE) for name in _EXTENSIONS}
_TAG = re.compile(r"<!--|<(/?)([a-zA-Z][a-zA-Z0-9]*)\b([^<>]*)>|<")
_BLANKS = re.compile(r"[ \t]*")
# Tags whose content is dropped, which the parser finds the end of.
_DROPPED_TAGS = {"table": "table", **dict.fromkeys(("ul", "ol", "dl"), wikipedia_text.NO_PROSE)}
_SHOWN_TAGS = dict.fromkeys(
    "b i u s small big span sub sup tt code kbd samp var cite em strong del ins font abbr q dfn bdi"
    " bdo ruby rb rt rp rtc mark data time wbr strike section noinclude onlyinclude".split(),
    "",
)
_SHOWN_TAGS |= dict.fromkeys(
    "p div blockquote center poem hr h1 h2 h3 h4 h5 h6 li tr td th dt dd caption".split(), "\n\n"
)
_SHOWN_TAGS["br"] = _BREAK
_MARKUP_SIGNS = {ord(sign): f"&#{ord(sign)};" for sign in "[]{}<>|='*#:;"}
_LIST_SIGNS = re.compile(r"^[*#:;]+[ \t]*(\{\|)?", re.MULTILINE)
_SCHEME = r"(?:(?:[a-z][a-z.+-]{1,12}:)?//|(?:mailto|news|tel|sms|geo|urn|sips?|xmpp|magnet):)"
_EXTERNAL_LINK = re.compile(rf"(?<!\[)\[{_SCHEME}[^\s\[\]<>]+[ \t]*([^\[\]\n]*)\]", re.IGNORECASE)
_ADDRESS = re.compile(rf"(?<![\w/:]){_SCHEME}[^\s\[\]<>|{{}}]+", re.IGNORECASE)
_PAIRS = {"{{": "}}", "[[": "]]", "{|": "|}"}
_PAIR_SIGN = re.compile(
    r"\{\{|\}\}|\[\[|\]\]|^[ \t]*\{\||\|\}(?!\})|</?(?:table|[uod]l)\b", re.M | re.I
)
# Real pages have two or three.
_MOST_UNCLOSED = 40
_FILE_NAME = re.compile(r"\.(?:jpe?g|png|svg|gif|tiff?|og[agv]|web[mp]|pdf|djvu|mp[34]|wav)$", re.I)
_LANGUAGE_LINK = re.compile(r"[a-z]{2,3}(?:-[a-z-]{2,12})?|simple")
_PROJECTS = frozenset(["mw", "voy", "wmf"])  # that look like languages


class MarkupError(ValueError):
    """A page that cannot be parsed, or only in hours."""


def unwrap_markup(text: str, dropped_prefixes: frozenset[str], report: SkippedInput) -> str:
    """Returns the lines that wiki text shows; list items keep a sign, gaps are marked.

    Args:
        text: of a page.
        dropped_prefixes: how links to files and categories begin, in small letters.
        report: counts what is dropped.

    Raises:
        MarkupError: too much is opened and not closed.
    """
    text = wikipedia_text.show_variants(_drop_tags(text, report))
    text = _LIST_SIGNS.sub(lambda match: match[1] or "•", text)
    if "/" in text or ":" in text:
        text = _EXTERNAL_LINK.sub(lambda match: match[1] or _GAP, text)
        text = _ADDRESS.sub(_GAP, text)
    unclosed = _count_unclosed(text)
    if unclosed > _MOST_UNCLOSED:
        raise MarkupError(f"{unclosed} templates, links and tables that do not end")
    try:
        code = mwparserfromhell.parse(text, skip_style_tags=True)
    except ParserError as error:
        raise MarkupError(str(error)) from error
    shown = _Unwrapping(dropped_prefixes, report).unwrap(code)
    return text_records.NOT_TEXT.sub("\ufffd", shown)


def _drop_tags(text: str, report: SkippedInput) -> str:
    """Returns wiki text without comments, references, formulas, code and signs of HTML."""
    parts, start, unclosed = [], 0, set()
    while opening := _TAG.search(text, start):
        parts.append(text[start : opening.start()])
        start = opening.end()
        name = (opening[2] or "").lower()
        if name in _SHOWN_TAGS:
            parts.append(_SHOWN_TAGS[name])
            before = text[max(0, opening.start() - 1) : opening.start()]
            if _SHOWN_TAGS[name] or before in ("", "\n"):
                start = _BLANKS.match(text, start).end()  # else the line would be preformatted
        elif name in _DROPPED_TAGS:
            parts.append(opening.group())
        elif name in _EXTENSIONS:
            if opening[1] or name in unclosed:
                continue
            if not opening[3].endswith("/"):
                closing = _CLOSINGS[name].search(text, start)
                if closing is None:
                    unclosed.add(name)
                    continue
                if name == "nowiki":
                    parts.append(text[start : closing.start()].translate(_MARKUP_SIGNS))
                start = closing.end()
            if _EXTENSIONS[name]:
                report.count(_EXTENSIONS[name])
                parts.append(_GAP)
        elif opening.group() == "<!--":
            end = text.find("-->", start)
            start = end + 3 if end >= 0 else len(text)
        else:
            parts.append(_LESS)
            start = opening.start() + 1
    parts.append(text[start:])
    return "".join(parts)


def _count_unclosed(text: str) -> int:
    """Returns how much is open at the end or at one place, whichever is more."""
    opened, most = [], 0
    for match in _PAIR_SIGN.finditer(text):
        sign = match.group().strip().lower()
        closing = _PAIRS.get(sign) or (sign.replace("<", "</") if sign[:2] != "</" else "")
        if sign[0] == "<" and closing or sign in _PAIRS:
            opened.append(closing)
            most = max(most, len(opened))
        elif opened and opened[-1] == sign:
            opened.pop()
    return most


class _Unwrapping:
    """What the nodes of a page show."""

    def __init__(self, dropped_prefixes: frozenset[str], report: SkippedInput):
        self._dropped_prefixes = dropped_prefixes
        self._report = report

    def unwrap(self, code: "Wikicode | None") -> str:
        return "".join(map(self._unwrap_node, code.nodes)) if code is not None else ""

    def _unwrap_node(self, node: "nodes.Node") -> str:
        if isinstance(node, nodes.Text):
            return node.value
        if isinstance(node, nodes.Wikilink):
            return self._unwrap_link(node)
        if isinstance(node, nodes.HTMLEntity):
            return node.normalize()
        if isinstance(node, nodes.ExternalLink):
            return self.unwrap(node.title) or _GAP
        if isinstance(node, nodes.Heading):
            self._report.count(wikipedia_text.NO_PROSE)
            return "\n\n"
        if isinstance(node, nodes.Template):
            self._report.count("template")
        elif isinstance(node, nodes.Tag):
            reason = _DROPPED_TAGS.get(str(node.tag).strip().lower())
            if reason is None:
                return self.unwrap(node.contents)
            self._report.count(reason)
            return f"\n{_GAP}\n"
        return _GAP

    def _unwrap_link(self, link: "nodes.Wikilink") -> str:
        title = self.unwrap(link.title).strip()
        prefix, colon, _ = title.partition(":")
        prefix = prefix.strip().replace("_", " ")
        is_file = prefix and _FILE_NAME.search(title)  # by an older name of the namespace
        if colon and (is_file or prefix.lower() in self._dropped_prefixes):
            self._report.count("file or category")
            return _GAP
        if link.text is not None:
            return self.unwrap(link.text)
        if colon and _LANGUAGE_LINK.fullmatch(prefix) and prefix not in _PROJECTS:
            return _GAP  # the same article in another language
        return title.removeprefix(":")


# --- From lines to paragraphs ------------------------------------------------------------------

_SWITCH = re.compile(r"__[^\W\d_]+__")  # __NOTOC__, in any language
_TWO_BREAKS = re.compile(rf"{_BREAK}\s*{_BREAK}[\s{_BREAK}]*")
_GAPS = re.compile(rf"{_GAP}(?: ?{_GAP})+")
_GAP_IN_BRACKET = re.compile(rf"([(（]) ?{_GAP}(?:[ ,;，；、]|{_GAP})*")
_GAP_BEHIND_SIGN = re.compile(rf"(?:[,;] ?{_GAP} ?)+([,;)）])")
# "{{As of|2011}}, most of it": what is left is the beginning of a sentence.
_GAP_OPENS_SENTENCE = re.compile(rf"(^|[.!?] )(?:{_GAP} ?[,;] ?)(\w)")
_GAP_BEFORE_SIGN = re.compile(rf" ?{_GAP} ?(?=[,.;:!?)、。，；：！？）])")
_SPACES = re.compile(r"[ \t]{2,}")
_QUOTES = re.compile("'{2,}")
_LEFT_OVER = re.compile(r"\{\{|\}\}|\[\[|\]\]|\{\||\|\}|</?(?:ref|math|gallery)\b|==", re.I)


def join_paragraphs(text: str, report: SkippedInput) -> Iterator[str]:
    """Yields the paragraphs: lines without a blank one, a list item or a table row between them."""
    parts: list[str] = []
    in_table = 0
    for line in [*_TWO_BREAKS.sub("\n\n", text).split("\n"), ""]:
        is_preformatted = line[:1] in (" ", "\t")
        line = _clean_line(line)
        in_table += line.startswith("{|")
        if in_table:  # one that the parser did not know
            in_table -= line.startswith("|}")
            line = ""
        is_item = line[:1] in tuple("•*#:;|!{}=") if line else True
        if parts and (is_item or is_preformatted):
            paragraph = languages.join_lines(parts)
            parts = []
            if _LEFT_OVER.search(paragraph):
                report.count("line with markup that does not close")
            else:
                yield paragraph
        if line and (is_item or is_preformatted):
            report.count(wikipedia_text.NO_PROSE)
        elif line:
            parts.append(line)


def _clean_line(line: str) -> str:
    """Returns a line without the signs of bold and italics and without gaps."""
    if "''" in line:
        line = _drop_quotes(line)
    if "__" in line:
        line = _SWITCH.sub("", line)
    line = _SPACES.sub(" ", line.replace(_BREAK, " ").replace(_LESS, "<")).strip()
    if _GAP in line:
        line = _GAPS.sub(_GAP, line)
        line = _GAP_OPENS_SENTENCE.sub(lambda match: match[1] + match[2].upper(), line)
        line = _GAP_IN_BRACKET.sub(r"\1", line)
        line = _GAP_BEHIND_SIGN.sub(r"\1", line)
        line = _GAP_BEFORE_SIGN.sub("", line).replace(_GAP, "")
        line = _SPACES.sub(" ", line).strip()
    return line


def _drop_quotes(line: str) -> str:
    """Drops the signs of italics '', bold ''' and both; of "l'''île''" only those are signs."""
    line = _QUOTES.sub(lambda match: _mark_apostrophes(match.group()), line)
    runs = list(_QUOTES.finditer(line))
    bold = [match for match in runs if len(match.group()) == 3]
    italic = sum(1 for match in runs if len(match.group()) == 2)
    both = len(runs) - len(bold) - italic
    if bold and (len(bold) + both) % 2 and (italic + both) % 2:
        # As MediaWiki does: the first that stands behind a word of one letter, else behind a word.
        apostrophe = next(
            (
                m
                for m in bold
                if re.search(r"(?:^|[\s(])\w$", line[max(0, m.start() - 2) : m.start()])
            ),
            next((m for m in bold if line[m.start() - 1 : m.start()].isalnum()), bold[0]),
        ).start()
        line = f"{line[:apostrophe]}{_APOSTROPHE}{line[apostrophe + 1 :]}"
    return _QUOTES.sub("", line).replace(_APOSTROPHE, "'")


def _mark_apostrophes(run: str) -> str:
    """Returns a run with those of its apostrophes marked that are text: signs have 2, 3 or 5."""
    texts = 1 if len(run) == 4 else max(0, len(run) - 5)
    return _APOSTROPHE * texts + run[texts:]
