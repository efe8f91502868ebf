"""The layouts that text comes in, and how a file's is told.

How a plain text is told apart (`recognise_layout`), on the first block of a file, in this order:
1. it begins with `<mediawiki`, behind `<?xml ...?>` or not: a MediaWiki dump;
2. the first line that is not blank starts with `<doc `: WikiExtractor;
3. it is a JSON object, or the name says .jsonl, .ndjson: JSON lines;
4. otherwise plain text:
   a. of the lines that another one follows directly, less than half end a sentence, and either most
      are filled up to a common right margin of at most 130 characters (the next line's first word
      would not have fitted) or, where blank lines part the paragraphs, four in five have at least
      60% of that length: a hard-wrapped book;
   b. fewer than 12% of the longer lines hold a sentence end inside the line: one sentence a line,
      a blank line between documents;
   c. otherwise a book with one paragraph a line.
"""

import os
import re
from collections.abc import Sequence

from albert_tf.pipelines.text import plain_text

LAYOUTS = ("auto", "sentences", "book", "wikiextractor", "mediawiki", "jsonl")

_MARKUP_BEGINNINGS = {
    "<!doctype": "an HTML page; extract its text first",
    "<html": "an HTML page; extract its text first",
    "<?xml": "XML; extract its text first",
    "%pdf-": "a PDF document; extract its text first",
    "{\\rtf": "a rich text document; save it as plain text first",
}
_DUMP = re.compile(r"\ufeff?\s*(?:<\?xml\b[^>]*\?>\s*)?(?:<!--[^>]*-->\s*)*<mediawiki[\s>]")


def recognise_layout(path: str | os.PathLike, lines: Sequence[str]) -> str:
    """Returns one of `LAYOUTS` other than "auto", by a file's name and first lines."""
    if _is_dump(lines):
        return "mediawiki"
    first = next((line.strip() for line in lines if line.strip()), "")
    if first.startswith("<doc "):
        return "wikiextractor"
    if re.search(r"\.(jsonl|ndjson|json)(\.(gz|bz2|xz|zst))?$", str(path), re.IGNORECASE):
        return "jsonl"
    if first.startswith("{") and re.match(r'\{\s*("|\})', first):
        return "jsonl"
    return plain_text.describe_plain_text(lines).layout


def recognise_markup(lines: Sequence[str]) -> str:
    """Returns what kind of markup a file is that we do not read as text, or ""."""
    if _is_dump(lines):
        return ""
    first = next((line.strip().lower() for line in lines if line.strip()), "")
    for beginning, kind in _MARKUP_BEGINNINGS.items():
        if first.startswith(beginning):
            return kind
    return ""


def _is_dump(lines: Sequence[str]) -> bool:
    return _DUMP.match("\n".join(line[:1000] for line in lines[:20])) is not None
