"""What encoding the bytes of a text are in: said by the user, by the bytes themselves, or guessed.

A guess is named in the report and the log, and one that is not sure is no guess: text in the wrong
letters would be worse than text that is missing.
"""

import codecs
import collections
import itertools
import re
import unicodedata
from collections.abc import Iterable, Iterator

import charset_normalizer

# Wide ones first: the mark of UTF-32-LE begins with that of UTF-16-LE.
_BYTE_ORDER_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
# What texts that are not UTF-8 are in, the commonest first: it wins where several fit alike.
_MULTIBYTE_CANDIDATES = ("gb18030", "big5", "cp932", "euc_jp", "cp949")
_CANDIDATES = (
    tuple("cp1252 cp1250 iso8859_2 cp1251 koi8_r cp1253 cp1254 cp1255 cp1256 cp874".split())
    + tuple("cp1257 iso8859_13 iso8859_4 mac_cyrillic".split())
    + _MULTIBYTE_CANDIDATES
)
# Sequences of 7 bits, so every byte of them would be UTF-8, by what turns to other characters.
_OF_ESCAPES = {
    re.compile(rb"\x1b\$\)C"): "iso2022_kr",
    re.compile(rb"\x1b\$\([PQ]"): "iso2022_jp_2004",
    re.compile(rb"\x1b\$\(O"): "iso2022_jp_3",
    re.compile(rb"\x1b\$(?:\(?A|\(C)"): "iso2022_jp_2",
    re.compile(rb"\x1b\$(?:[@B]|\(D)"): "iso2022_jp_ext",
}
_CHINESE_ESCAPE = re.compile(rb"\x1b\$\)[AEG]")  # Python has no codec for it
# Letters beyond ASCII that languages have, by which encodings are told apart that agree in most.
_WESTERN = "äöüß àâæçèéêëîïôœùûüÿ áéíñóúü áâãàçéêíóôõúü àèéìíîòóùú åæøéèôò åäöé".split()
_ALPHABETS = [
    *_WESTERN,
    *"áéíóúýðþæö äöõüšž āčēģīķļņšūžōŗ ąčęėįšųūž ąćęłńóśźż áčďéěíňóřšťúůýžö".split(),
    *"áäčďéíĺľňóôŕšťúýžö áéíóöőúüű ăâîşţșț čćđšž çğıöşüâi çë".split(),
    *"абвгдежзийклмнопрстуфхцчшщъыьэюяё абвгґдеєжзиіїйклмнопрстуфхцчшщьюя".split(),
    *"абвгдеёжзійклмнопрстуўфхцчшыьэюя абвгдђежзијклљмнњопрстћуфхцчџш".split(),
    *"абвгдѓежзѕијклљмнњопрстќуфхцчџш".split(),
]
# Names and loans: texts have words of neighbors, in the West of all of them.
_LOANS = "äöüßáéèó"
_WITH_LOANS = [
    *(alphabet + _LOANS for alphabet in _ALPHABETS),
    *("".join(_WESTERN), "áéíóúýðþæöøåäàèôò", "áäčďéěíĺľňóôöőŕřšťúůüűýž" + _LOANS),
]
_SAMPLE_BYTES = 1 << 16
_MOST_ZEROS = 0.001
_TEXT_BYTES = bytes([*b"\t\n\f\r\x1a\x1b", *range(32, 256)])
# One chunk of names in another script must not decide.
_CHUNKS_LOOKED_AT = 32
# Fewer bytes than these tell nothing, and are taken for damage.
_LEAST_FOREIGN_BYTES = 10
# In percent, as charset-normalizer measures how unusual a text is and how like its language.
_MOST_CHAOS, _LEAST_COHERENCE = 5, 30
# Letters, of those beyond ASCII, that no language has which has the others.
_MOST_STRANGE = 0.03
_MOST_MISPLACED = 0.1
# So many different ones of one alphabet, and none of another, are no accident.
_TELLING_LETTERS = 6
_CONTROLS = re.compile("[\x80-\x9f]")  # of ISO 8859, in no text
_CODEPOINTS_ABOVE_ASCII = re.compile("[^\0-\x7f\ufffd]")
_WESTERN_LETTERS = re.compile("[\u00c0-\u00ff\u0152\u0153]")
_LATIN_OR_CYRILLIC = re.compile("[\u00c0-\u024f\u0400-\u052f]")
_WESTERN_LANGUAGES = ("English", "German", "French", "Spanish", "Italian", "Portuguese", "Dutch")
_HALF_WIDTH_LETTERS = re.compile("[\uff61-\uff9f]")
_BEYOND_LATIN = r"[^\W\d_](?<![\0-\u024f\u1e00-\u1eff])"
_INSIDE_LATIN_WORD = re.compile(rf"(?<=[A-Za-z]){_BEYOND_LATIN}|{_BEYOND_LATIN}(?=[A-Za-z])")
# Letters beyond ASCII as rare as this are those of names, in English as a rule.
_RARE_LETTERS = 0.01


def check_encoding(encoding: str) -> None:
    """Raises ValueError unless `encoding` is "auto" or a name that Python knows for text."""
    if encoding == "auto":
        return
    try:
        b"text".decode(encoding, "replace")
    except (LookupError, UnicodeError) as error:  # Python's "undefined" and "idna" are for no text
        raise ValueError(
            "`encoding` must be auto or the name of an encoding, such as utf-8, windows-1252, "
            f"gb18030, shift_jis or utf-16. Received: {encoding!r}"
        ) from error


def with_byte_order(encoding: str, block: bytes) -> str:
    """Returns Python's name of an encoding, with the order of bytes where the text has no mark.

    Python's decoders of UTF-16 and UTF-32 stop at a text without one; it is little-endian nearly
    always.
    """
    name = codecs.lookup(encoding).name
    if name in ("utf-16", "utf-32") and not any(
        block.startswith(mark) for mark, of in _BYTE_ORDER_MARKS.items() if of == name
    ):
        return f"{name}-le"
    return name


def detect_encoding(block: bytes) -> str | None:
    """Tells the encoding of a text by its first bytes.

    Args:
        block: the beginning of the text; a few hundred kilobytes are enough.

    Returns:
        The name of the encoding, or None where it cannot be told. A text of UTF-8 with damaged
        places is "utf-8".
    """
    for mark, encoding in _BYTE_ORDER_MARKS.items():
        if block.startswith(mark):
            return encoding
    sample = block[:_SAMPLE_BYTES]
    if b"\0" in sample:
        wide = _detect_wide(sample)
        if wide or not _has_few_zeros(sample):
            return wide
        sample = sample.replace(b"\0", b"")  # their lines are reported where they are read
    if b"\x1b$" in sample and sample.isascii():
        if _CHINESE_ESCAPE.search(sample):
            return None
        for escape, name in _OF_ESCAPES.items():
            if escape.search(sample):
                return name
    decoded = sample.decode("utf-8", "replace")
    broken = decoded.count("\ufffd")
    if broken < _LEAST_FOREIGN_BYTES or broken <= len(_CODEPOINTS_ABOVE_ASCII.findall(decoded)):
        return "utf-8"
    cut = sample.rfind(b"\n") + 1
    return _guess(sample[:cut] if cut > _SAMPLE_BYTES // 2 else sample)


def reason_not_text(block: bytes) -> tuple[str, str]:
    """Returns (reason, detail) for the beginning of a text whose encoding was not detected."""
    if not _has_few_zeros(block):
        return "binary file", f"zero byte at byte {block.index(0)}"
    if block.isascii() and _CHINESE_ESCAPE.search(block):
        return "ISO-2022-CN, which cannot be read: convert it to UTF-8", ""
    control = len(block[:_SAMPLE_BYTES].translate(None, _TEXT_BYTES))
    if control > 0.01 * len(block[:_SAMPLE_BYTES]):
        return "binary file", f"{control} control characters in its beginning"
    reason = "encoding that cannot be told: `encoding` names it"
    try:
        block.decode("utf-8")
    except UnicodeDecodeError as error:
        line = block.count(b"\n", 0, error.start) + 1
        return reason, f"line {line}: byte 0x{block[error.start]:02x} is not UTF-8"
    return reason, ""


def _has_few_zeros(block: bytes) -> bool:
    """Tells damaged places of a text, or none, from a binary file."""
    return block.count(0) <= _MOST_ZEROS * len(block)


def _detect_wide(sample: bytes) -> str | None:
    """Returns UTF-16's name where the zero bytes stand as in its form of Latin text, or None."""
    pairs = len(sample) // 2
    for first, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        zeros, others = sample[first::2].count(0), sample[1 - first :: 2].count(0)
        if pairs >= 8 and zeros > 0.5 * pairs and not others:
            return encoding
    return None


def _guess(sample: bytes) -> str | None:
    matches = charset_normalizer.from_bytes(
        sample,
        steps=_CHUNKS_LOOKED_AT,
        cp_isolation=list(_CANDIDATES),
        preemptive_behaviour=False,
        enable_fallback=False,
    )
    sure = [match for match in matches if _is_sure(match)]
    if not sure:
        return None
    best = min(
        sure,
        key=lambda match: (
            round(_strange_share(_foreign_letters(match), _ALPHABETS) + _misplaced_share(match), 2),
            round(match.percent_chaos, 1),
            -round(match.percent_coherence),
            _CANDIDATES.index(match.encoding),
        ),
    )
    return next(name for name in _CANDIDATES if sample.decode(name, "replace") == str(best))


def _is_sure(match: charset_normalizer.CharsetMatch) -> bool:
    """Tells whether a guess of charset-normalizer is beyond doubt."""
    if match.percent_chaos > _MOST_CHAOS:
        return False
    letters = "".join(filter(str.isalpha, str(match)))
    if match.encoding in _MULTIBYTE_CANDIDATES:
        # Few sequences of other bytes are valid in them, but where there are few bytes above ASCII.
        rare = len(_HALF_WIDTH_LETTERS.findall(letters))
        count = sum(1 for letter in letters if not letter.isascii())
        return rare < 0.05 * count and count > 0.2 * len(letters)
    if _CONTROLS.search(str(match)):
        return False
    above = [letter for letter in letters if not letter.isascii()]
    # Names are of all languages: by them nothing tells but what English is in nearly always.
    if len(above) < _RARE_LETTERS * len(letters) and "cp1252" not in match.could_be_from_charset:
        return False
    if len(_INSIDE_LATIN_WORD.findall(str(match))) > _MOST_MISPLACED * len(above):
        return False
    # Its capitals stand where Hebrew and Greek have letters in encodings that are no candidates.
    if match.encoding == "mac_cyrillic" and sum(map(str.islower, above)) < 0.5 * len(above):
        return False
    counts = _foreign_letters(match)
    # charset-normalizer does not know all languages: one whole alphabet tells as much.
    is_known = len(counts) >= _TELLING_LETTERS and not _strange_share(counts, _ALPHABETS)
    if match.percent_coherence < _LEAST_COHERENCE and not is_known:
        return False
    if _strange_share(counts, _WITH_LOANS) > _MOST_STRANGE:
        return False
    # The wrong encoding gives rare letters, and signs and capitals in the middle of words.
    western = len(_WESTERN_LETTERS.findall("".join(above)))
    is_western = match.language in _WESTERN_LANGUAGES
    return _misplaced_share(match) <= _MOST_MISPLACED and (
        western >= 0.9 * len(above) or not is_western
    )


def _foreign_letters(match: charset_normalizer.CharsetMatch) -> collections.Counter[str]:
    """Counts the Latin and Cyrillic letters beyond ASCII of a text, in lower case."""
    letters = filter(str.isalpha, str(match))
    return collections.Counter(
        letter.lower()[0] for letter in letters if _LATIN_OR_CYRILLIC.match(letter)
    )


def _strange_share(counts: collections.Counter[str], alphabets: Iterable[str]) -> float:
    """Returns the share of letters that the alphabet with the most of them does not have."""
    known = max(sum(counts[letter] for letter in set(alphabet)) for alphabet in alphabets)
    return 1 - known / counts.total() if counts else 0.0


def _misplaced_share(match: charset_normalizer.CharsetMatch) -> float:
    """Returns how many misplaced characters come on a letter beyond ASCII."""
    above = sum(not letter.isascii() for letter in filter(str.isalpha, str(match)))
    misplaced = sum(itertools.starmap(_is_misplaced, itertools.pairwise(str(match))))
    return misplaced / above if above else float(misplaced)


def _is_misplaced(before: str, character: str) -> bool:
    """Tells a capital letter behind a small one or a stop, or a sign beside a letter.

    Or a double accent behind a figure, where Windows-1252 has one half.
    """
    if character < "\x80":
        return False
    if before in "°¶§©®" and character.islower():
        return True
    if character.isupper():
        return before.islower() or before in ".,!?"
    kind = unicodedata.category(character)
    is_sign = character in "¿¡" or kind in ("No", "Sc", "Sk", "Sm", "So")
    return is_sign and before.isalpha() or character == "˝" and before.isdigit()


def decode_blocks(blocks: Iterable[bytes], encoding: str) -> Iterator[str]:
    """Decodes blocks of bytes to blocks of text that end with a line.

    Bytes that are not of the encoding come as U+FFFD. No block is empty.

    Args:
        blocks: of one text.
        encoding: of all of them together.
    """
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    rest = ""
    for block in blocks:
        text = rest + decoder.decode(block)
        cut = text.rfind("\n") + 1 or len(text)
        rest = text[cut:]
        if cut:
            yield text[:cut]
    rest += decoder.decode(b"", True)
    if rest:
        yield rest
