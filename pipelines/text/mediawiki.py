"""MediaWiki's XML dumps as downloaded (`*-pages-articles*.xml`): one page, one document of prose.

    blocks of text -> expat -> pages -> wiki_markup -> wikipedia_text -> paragraphs

What is a file, a category, a redirect or no article is read from the dump itself, so that one of
any language will do. Memory is bounded by a block and a page.
"""

import dataclasses
from collections.abc import Iterable, Iterator
from xml.parsers import expat

from albert_tf.pipelines.sources.files import DAMAGED, LineBlock, SkippedInput
from albert_tf.pipelines.text import languages, wiki_markup, wikipedia_text
from albert_tf.pipelines.text.plain_text import Paragraph

# MediaWiki itself takes no page of more than 2 MB.
MAX_PAGE_CHARACTERS = 1 << 21
_MAX_FIELD_CHARACTERS = 1 << 10
# Longest that a tag or a comment of the XML may be, which is held until it ends.
_MAX_TAG_BYTES = 1 << 22
_MAX_DEPTH = 50

_PAGE = "mediawiki/page"
_TEXT = "mediawiki/page/revision/text"
_MODEL = "mediawiki/page/revision/model"
_NAMESPACE = "mediawiki/siteinfo/namespaces/namespace"
_REDIRECT_WORD = "mediawiki/siteinfo/magicwords/magicword/aliases/alias"
_FIELDS = {f"{_PAGE}/title", f"{_PAGE}/ns", _TEXT, _MODEL, _NAMESPACE, _REDIRECT_WORD}
_FILE_AND_CATEGORY = ("6", "14")


class _BrokenDump(ValueError):
    """What is well-formed XML and no dump."""


@dataclasses.dataclass(slots=True)
class _Page:
    line: int
    byte: int
    is_redirect: bool = False
    title: str = ""
    namespace: str | None = None
    model: str = "wikitext"
    text: str | None = ""  # None where it is too long

    @property
    def position(self) -> str:
        return f"page {self.title[:100]!r}, byte {self.byte} of its text"


class _DumpParser:
    """Takes the text of a dump piece by piece, and hands out what pages are complete."""

    def __init__(self):
        self.language = ""
        self.namespaces: dict[str, str] = {}  # name, in small letters -> number
        self.redirect_words = {"#redirect"}
        self.is_whole = False
        self._pages: list[_Page] = []
        self._page: _Page | None = None
        self._path: list[str] = []
        self._attributes: list[dict[str, str]] = []
        self._pieces: list[str] | None = None
        self._size, self._most = 0, 0
        self._fed = 0
        self._parser = expat.ParserCreate("utf-8")
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._add_text
        self._parser.EntityDeclHandler = self._refuse_entity

    def feed(self, text: str) -> None:
        """Parses what follows; raises `expat.ExpatError` or `_BrokenDump`."""
        content = text.encode("utf-8", "replace")
        self._parser.Parse(content, False)
        self._fed += len(content)
        if self._fed - self._parser.CurrentByteIndex > _MAX_TAG_BYTES:
            raise _BrokenDump(f"a tag or comment of more than {_MAX_TAG_BYTES} bytes")

    def take_pages(self) -> list[_Page]:
        """Returns the pages that are complete and were not taken yet."""
        pages, self._pages = self._pages, []
        return pages

    def is_article(self, page: _Page) -> bool:
        """Tells by its number, in old dumps by its title, whether a page is in namespace 0."""
        if page.namespace is not None:
            return page.namespace == "0"
        prefix, colon, _ = page.title.partition(":")
        return not colon or self.namespaces.get(prefix.strip().lower(), "0") == "0"

    def is_redirect(self, page: _Page) -> bool:
        """Tells by its element, in old dumps by its first word, whether a page is a redirect."""
        beginning = (page.text or "")[:200].lstrip().lower()
        return page.is_redirect or beginning.startswith(tuple(self.redirect_words))

    def dropped_prefixes(self) -> frozenset[str]:
        """Returns how links to files and categories begin, in small letters."""
        own = (name for name, number in self.namespaces.items() if number in _FILE_AND_CATEGORY)
        return frozenset({"file", "image", "category", *own})

    def _refuse_entity(self, name: str, *_) -> None:
        # A dump has none; entities of entities unpack to gigabytes.
        raise _BrokenDump(f"the declaration of an entity, {name[:50]!r}")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._path.append(name)
        self._attributes.append(attributes)
        if len(self._path) > _MAX_DEPTH:
            raise _BrokenDump(f"elements {_MAX_DEPTH} deep")
        path = "/".join(self._path)
        if len(self._path) == 1:
            if name != "mediawiki":
                raise _BrokenDump(f"expected <mediawiki>, received <{name[:50]}>")
            self.language = attributes.get("xml:lang", "").lower().partition("-")[0][:10]
        elif path == _PAGE:
            self._page = _Page(self._parser.CurrentLineNumber, self._parser.CurrentByteIndex)
        elif path == f"{_PAGE}/redirect":
            self._page.is_redirect = True
        elif path in _FIELDS:
            self._pieces, self._size = [], 0
            self._most = MAX_PAGE_CHARACTERS if path == _TEXT else _MAX_FIELD_CHARACTERS

    def _add_text(self, text: str) -> None:
        if self._pieces is not None:
            self._size += len(text)
            if self._size <= self._most:
                self._pieces.append(text)

    def _end(self, name: str) -> None:
        path = "/".join(self._path)
        if path in _FIELDS:
            self._keep_field(path, "".join(self._pieces or ()))
            self._pieces = None
        elif path == _PAGE:
            self._pages.append(self._page)
            self._page = None
        self._path.pop()
        self._attributes.pop()
        self.is_whole = not self._path

    def _keep_field(self, path: str, value: str) -> None:
        if path == _NAMESPACE:
            self.namespaces[value.strip().lower()] = self._attributes[-1].get("key", "")
        elif path == _REDIRECT_WORD:
            if self._attributes[-3].get("name") == "redirect" and value.strip():
                self.redirect_words.add(value.strip().lower())
        elif path == _TEXT:  # of several revisions the last is the newest
            self._page.text = value if self._size <= self._most else None
        elif path == _MODEL:
            self._page.model = value.strip()
        elif path == f"{_PAGE}/title":
            self._page.title = value.strip()
        else:
            self._page.namespace = value.strip()


def parse_dump(
    blocks: Iterable[LineBlock],
    path: str,
    report: SkippedInput,
    *,
    head: Iterable[LineBlock] = (),
    is_last: bool = True,
) -> Iterator[Paragraph]:
    """Yields the prose of the articles of a dump, a document each.

    Args:
        blocks: of the file, or of a part of it.
        path, report: where is said what was left out, and where the dump is damaged.
        head: of a part that is not the first the beginning of the file, which says what namespaces
            there are.
        is_last: whether the dump must end with these blocks.
    """
    parser, place = _DumpParser(), "before the first page"
    problem = ""
    for _, lines in head:
        before, page, _ = "\n".join([*lines, ""]).partition("<page>")
        parser.feed(before)
        if page:
            break
    for _, lines in blocks:
        try:
            parser.feed("\n".join(lines) + "\n")
        except (expat.ExpatError, _BrokenDump) as error:
            problem = str(error)
        for page in parser.take_pages():
            place = f"after {page.position}"
            yield from _parse_page(page, parser, path, report)
        if problem:
            break
    if not problem and is_last and not parser.is_whole and not _was_cut(path, report):
        problem = "it ends before </mediawiki>"
    if problem:
        report.add(path, place, DAMAGED, problem)


def _was_cut(path: str, report: SkippedInput) -> bool:
    """Tells whether it is known already that the end of a file is missing."""
    return any(
        entry["file"] == path and (entry["reason"] == DAMAGED or "unpacks" in entry["reason"])
        for entry in report.entries
    )


def _parse_page(
    page: _Page, dump: _DumpParser, path: str, report: SkippedInput
) -> Iterator[Paragraph]:
    if not dump.is_article(page):
        report.count("page that is no article")
    elif dump.is_redirect(page):
        report.count("redirect")
    elif page.text is None:
        most = f"{MAX_PAGE_CHARACTERS} characters"
        report.add(path, page.position, "page that is too long", f"more than {most}")
    elif page.model != "wikitext":
        report.count("page that is not wiki text")
    else:
        try:
            text = wiki_markup.unwrap_markup(page.text, dump.dropped_prefixes(), report)
        except wiki_markup.MarkupError as error:
            report.add(path, page.position, "page whose markup cannot be parsed", str(error)[:200])
            return
        language = dump.language or languages.guess_language(text.lstrip())
        has_prose = False
        for paragraph in wiki_markup.join_paragraphs(text, report):
            prose = wikipedia_text.take_wiki_prose(paragraph, language, report)
            if prose:
                has_prose = True
                yield page.line, prose
        if not has_prose:
            report.count("page without prose")
        yield page.line, None
