"""Text that was put in lower case gets back the capitals by which sentences are told.

The rules of `sentence_splitting` look at capitals: of the word behind a stop, of abbreviations and
of initials. A copy of the text with these has the same length, so the places where its sentences
end are those of the text itself.

Example:
    >>> Recasing({"Dr"}, {"He"}).with_capitals("dr. smith left. he was late.")
    'Dr. Smith left. He was late.'
"""

import re
from collections.abc import Collection

# An abbreviation that is a word as well ends a sentence more often than not.
_WORDS = frozenset(
    "mass wash ore ill mar ann app ind pa la me mo may sun col fr cap art tab".split()
)
# They open sentences, but behind "U.S.", "Inc." or an ellipsis carry one on more often.
_GO_ON = frozenset("And Or Of To In On At By For From With As Is Was Has".split())
_CLOSERS = "\"'”’»)\\]}*_"
_OPENERS = "\"'“‘«(\\[{*_¿¡`"
_BEHIND_STOP = re.compile(
    rf"([.!?…]+)([{_CLOSERS}]*)(\s+[{_OPENERS}]*)(?:([^\W\d_])([^\W\d_]*)(?!\.[a-z]))"
)
_INITIAL = re.compile(r"(?<![^\s(\"'“‘-])[a-uw-z](?=\.[\s-]*[A-Z])")
_ROMAN = re.compile("[ivxlc]+")
_VERBS = (
    "said|says|cried|asked|exclaimed|replied|answered|shouted|whispered|murmured|muttered|repeated|"
    "inquired|enquired|returned|called|screamed|demanded|began|continued|added|interrupted|observed|"
    "remarked|ejaculated|growled|sighed|laughed|echoed|gasped|thought|proceeded|cry|cries|"
    "asks|exclaims|went on"
)
# Behind a quotation with its own mark: '"come!" said the old man', '"come!" she cried.'
_SPEAKER = re.compile(rf"(?:[\w.'’-]+ ){{0,4}}?(?:{_VERBS})\b")


class Recasing:
    """Puts capitals where a text in lower case would have them, as far as sentences need it."""

    def __init__(self, abbreviations: Collection[str], openers: Collection[str]):
        """Takes the abbreviations that have a capital, and the words that open sentences."""
        self._abbreviations = {word.lower(): word for word in abbreviations if word.istitle()}
        names = "|".join(sorted(self._abbreviations.keys() - _WORDS, key=len, reverse=True))
        self._abbreviation = re.compile(rf"\b(?:{names})(?=\.)")
        self._openers = frozenset(openers)

    def with_capitals(self, text: str) -> str:
        """Returns a text of the same length."""
        text = self._abbreviation.sub(lambda match: self._abbreviations[match.group()], text)
        text = _BEHIND_STOP.sub(self._open_sentence, text)
        return _INITIAL.sub(lambda match: match.group().upper(), text)

    def _open_sentence(self, match: re.Match[str]) -> str:
        stops, closers, space, letter, rest = match.groups()
        word = letter.upper() + rest
        if len(word) > 1 + len(rest):
            return match.group()  # "ß" has two letters as a capital
        if _ROMAN.fullmatch(letter + rest):
            word = word.upper()
        before = match.string[max(0, match.start() - 12) : match.start()].rpartition(" ")[2]
        is_abbreviation = before == "etc" or "." in before or before != before.lower()
        is_ellipsis = "…" in stops or stops.endswith("..")
        goes_on = word in _GO_ON and (is_abbreviation or is_ellipsis)
        goes_on = goes_on or is_ellipsis and word not in self._openers
        if stops[-1] in "!?" and closers:
            goes_on = _SPEAKER.match(match.string, match.start(4)) is not None
        return match.group() if goes_on else f"{stops}{closers}{space}{word}"
