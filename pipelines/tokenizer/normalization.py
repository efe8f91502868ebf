"""The clean-up of text before SentencePiece sees it: in Python, and compiled into the model.

The original cleans text in Python (collapse white space, NFKD, drop combining characters, lower
case) and hands the result to a SentencePiece model with a normaliser of its own (`nmt_nfkc`). A
graph cannot call Python, so both steps are composed here into one table of replacements, which
takes the place of the model's own normaliser. The encoder then reads raw text and its offsets
point into raw text.
"""

import collections
import functools
import itertools
import unicodedata
from collections.abc import Callable, Iterable

import sentencepiece
from absl import logging

from albert_tf.pipelines.tokenizer import model_proto

# (lower_case, strip_accents) -> the name that a model with that clean-up built in carries.
NORMALIZER_NAMES = {
    (True, True): "albert_lower_case",
    (True, False): "albert_lower_case_keep_accents",
    (False, True): "albert_cased",
    (False, False): "albert_cased_keep_accents",
}

# The normalisers that SentencePiece itself builds; all that they change lies in _CODE_POINTS.
_STOCK_NORMALIZERS = ("nmt_nfkc", "nmt_nfkc_cf", "nfkc", "nfkc_cf")

# Code points that the clean-up or a stock normaliser may change, as of Unicode 14 (Python 3.11).
# Written out so that a newer Python with a newer Unicode builds the same bytes, and hence the same
# fingerprint, from the same model. Ranges are joined only across assigned code points, whose
# decomposition never changes.
_CODE_POINTS = """
1-376 37A-37F 384-38A 38C 38E-3A1 3A3-52E 531-556 587 591-5C7 610-6ED 711-74A 7EB-7F3
7FD-82D 859-85B 898-95F 9BC 9CB-9CD 9DC-9DD 9DF 9FE A33 A36 A3C A4D A59-A5B A5E ABC ACD B3C
B48 B4B-B4D B5C-B5D B94 BCA-BCD C3C C48 C4D C55-C56 CBC-CC0 CC7-CC8 CCA-CCD D3B-D3C D4A-D4D
DCA DDA-DDE E33-E3A E48-E4B EB3-EBA EC8-ECB EDC-EDD F0C-F43 F4D-F69 F71-F93 F9D-FB9 FC6
1026-10C5 10C7 10CD 10FC 135D-135F 13A0-13F5 1680 1714-1715 1734 17D2-17DD 18A9 1939-193B
1A17-1A18 1A60-1A7C 1A7F 1AB0-1ACE 1B06-1B44 1B6B-1B73 1BAA-1BF3 1C37 1C90-1CBA 1CBD-1CBF
1CD0-1CF9 1D2C-1F15 1F18-1F1D 1F20-1F45 1F48-1F4D 1F50-1F57 1F59 1F5B 1F5D 1F5F-1F7D
1F80-1FB4 1FB6-1FC4 1FC6-1FD3 1FD6-1FDB 1FDD-1FEF 1FF2-1FF4 1FF6-1FFE 2000-205F 2070-2071
2074-208E 2090-209C 20A8 20D0-20F0 2100-2189 219A-232A 2460-2ADC 2C00-2CF2 2D6F 2D7F
2DE0-2DFF 2E9F-2EF3 2F00-2FD5 3000-303A 304C-3094 3099-30FF 3131-318E 3192-319F 3200-321E
3220-33FF A640-A6F1 A722-A7C9 A7D0 A7D6-A7D8 A7F2-A82C A8C4 A8E0-A953 A9B3-A9C0 AAB0-AAC1
AAF6 AB5C-AB69 ABED AC00-D7A3 F900-FA6D FA70-FAD9 FB00-FB06 FB13-FB17 FB1D-FB36 FB38-FB3C
FB3E FB40-FB41 FB43-FB44 FB46-FBB1 FBD3-FD8F FD92-FDC7 FDF0-FE19 FE20-FE52 FE54-FE66
FE68-FE6B FE70-FE74 FE76-FEFC FEFF FF01-FFBE FFC2-FFC7 FFCA-FFCF FFD2-FFD7 FFDA-FFDC
FFE0-FFE6 FFE8-FFEE FFFD 101FD 102E0 10376-1037A 10400-10427 104B0-104D3 10570-1057A
1057C-1058A 1058C-10592 10594-10595 10781-10785 10787-107B0 107B2-107BA 10A0D-10A0F
10A38-10A3A 10A3F 10AE5-10AE6 10C80-10CB2 10D24-10D27 10EAB-10EAC 10F46-10F50 10F82-10F85
11046 11070 1107F-110BA 11100-11134 11173 111C0-111CA 11235-11236 112E9-112EA 1133B-1133C
1134B-1134D 11366-1136C 11370-11374 11442-11446 1145E 114BB-114C3 115BA-115C0 1163F
116B6-116B7 1172B 11839-1183A 118A0-118BF 11938 1193D-11943 119E0 11A34-11A47 11A99 11C3F
11D42-11D45 11D97 16AF0-16AF4 16B30-16B36 16E40-16E5F 16FF0-16FF1 1BC9E 1D15E-1D1C0
1D242-1D244 1D400-1D454 1D456-1D49C 1D49E-1D49F 1D4A2 1D4A5-1D4A6 1D4A9-1D4AC 1D4AE-1D4B9
1D4BB 1D4BD-1D4C3 1D4C5-1D505 1D507-1D50A 1D50D-1D514 1D516-1D51C 1D51E-1D539 1D53B-1D53E
1D540-1D544 1D546 1D54A-1D550 1D552-1D6A5 1D6A8-1D7CB 1D7CE-1D7FF 1E000-1E006 1E008-1E018
1E01B-1E021 1E023-1E024 1E026-1E02A 1E130-1E136 1E2AE 1E2EC-1E2EF 1E8D0-1E8D6 1E900-1E94A
1EE00-1EE03 1EE05-1EE1F 1EE21-1EE22 1EE24 1EE27 1EE29-1EE32 1EE34-1EE37 1EE39 1EE3B 1EE42
1EE47 1EE49 1EE4B 1EE4D-1EE4F 1EE51-1EE52 1EE54 1EE57 1EE59 1EE5B 1EE5D 1EE5F 1EE61-1EE62
1EE64 1EE67-1EE6A 1EE6C-1EE72 1EE74-1EE77 1EE79-1EE7C 1EE7E 1EE80-1EE89 1EE8B-1EE9B
1EEA1-1EEA3 1EEA5-1EEA9 1EEAB-1EEBB 1F100-1F190 1F200-1F202 1F210-1F23B 1F240-1F248
1F250-1F251 1FBF0-1FBF9 2F800-2FA1D
"""

_CHARACTERS_FOR_MARKS = 1_000_000

# The letters from which canonical composition builds Hangul syllables.
_HANGUL_LEADS = tuple(map(chr, range(0x1100, 0x1113)))
_HANGUL_VOWELS = tuple(map(chr, range(0x1161, 0x1176)))
_HANGUL_TAILS = tuple(map(chr, range(0x11A8, 0x11C3)))


def clean_up(text: str, lower_case: bool = True, strip_accents: bool = True) -> str:
    """Cleans text up as the original does, in Python: what the compiled table is held to.

    `clean_up("  The\\tCafé ")` -> `"the cafe"`. Source: `preprocess_text` in the original's
    tokenization module; keeping accents leaves out NFKD as well, as XLNet's version of it does.
    """
    return _clean_characters(" ".join(text.split()), lower_case, strip_accents)


def warn_of_capitals(pieces: Iterable[str], source: str) -> None:
    """Warns of a vocabulary with capitals, for nobody has said that texts keep theirs."""
    of_text = [piece for piece in pieces if not piece.startswith(("[", "<"))]
    with_capitals = sum(piece != piece.lower() for piece in of_text)
    if with_capitals > len(of_text) / 100:
        logging.warning(
            "%s: %s of %s pieces have capitals, and nothing says that texts keep theirs: they are "
            "lower-cased. `do_lower_case` in a tokenizer_config.json beside it says how, and "
            "`lower_case`, here and of run_conversion",
            *(source, f"{with_capitals:,}", f"{len(of_text):,}"),
        )


def _clean_characters(text: str, lower_case: bool, strip_accents: bool) -> str:
    if strip_accents:
        text = unicodedata.normalize("NFKD", text)
        text = "".join(c for c in text if not unicodedata.combining(c))
    return text.lower() if lower_case else text


@functools.lru_cache(maxsize=8)
def code_points() -> tuple[str, ...]:
    """Returns the characters that a clean-up may change; it keeps all others as they are."""
    characters = []
    for item in _CODE_POINTS.split():
        first, _, last = item.partition("-")
        characters.extend(map(chr, range(int(first, 16), int(last or first, 16) + 1)))
    return tuple(characters)


@functools.lru_cache(maxsize=1)
def _composing_sequences() -> tuple[str, ...]:
    """Returns sequences without combining characters that canonical composition joins into one.

    Hangul letters (lead + vowel, lead + vowel + tail, syllable + tail; single letters also in
    their compatibility forms) and the two-part vowel signs of some Indic scripts. With accents
    stripped these are the only sequences that a normaliser must see as a whole; all others consist
    of characters that are replaced one at a time.
    """
    forms = {letter: [] for letter in _HANGUL_LEADS + _HANGUL_VOWELS + _HANGUL_TAILS}
    sequences = []
    for character in code_points():
        decomposed = unicodedata.normalize("NFKD", character)
        if decomposed in forms:
            forms[decomposed].append(character)
        decomposed = unicodedata.normalize("NFD", character)
        if len(decomposed) > 1 and not any(map(unicodedata.combining, decomposed)):
            sequences.append(decomposed)
    for letter in forms:
        forms[letter].append(letter)
    leads = [form for letter in _HANGUL_LEADS for form in forms[letter]]
    vowels = [form for letter in _HANGUL_VOWELS for form in forms[letter]]
    tails = [form for letter in _HANGUL_TAILS for form in forms[letter]]
    sequences += [lead + vowel for lead in leads for vowel in vowels]
    for lead, vowel in itertools.product(_HANGUL_LEADS, _HANGUL_VOWELS):
        sequences += [lead + vowel + tail for tail in _HANGUL_TAILS]
        syllable = unicodedata.normalize("NFC", lead + vowel)
        sequences += [syllable + tail for tail in tails]
    return tuple(dict.fromkeys(sequences))


def _as_normalizer(
    spec: model_proto.NormalizerSpec,
) -> sentencepiece.SentencePieceNormalizer:
    """Returns the model's own replacements alone, with white space left as it is."""
    return sentencepiece.SentencePieceNormalizer(
        normalizer_spec=spec,
        add_dummy_prefix=False,
        escape_whitespaces=False,
        remove_extra_whitespaces=False,
    )


def normalization_rules(
    spec: model_proto.NormalizerSpec, lower_case: bool, strip_accents: bool
) -> list[tuple[str, str]]:
    """Returns the clean-up followed by `spec`'s normaliser, as (source, replacement) rows.

    The encoder replaces the longest source that matches at each position, so a sequence gets a
    row only where replacing its characters one at a time would give something else.
    """
    normalizer = _as_normalizer(spec)
    sources = list(code_points())
    sequences = list(_composing_sequences())
    if not strip_accents or spec.name not in _STOCK_NORMALIZERS:
        # Base + accent sequences matter, or the rules are someone's own: take them from the model.
        own_sources = [source for source, _ in normalizer.decompile()]
        sources += [source for source in own_sources if len(source) == 1]
        sequences += [source for source in own_sources if len(source) > 1]
    sources = list(dict.fromkeys(sources))
    sequences = sorted(dict.fromkeys(sequences), key=lambda sequence: (len(sequence), sequence))

    cleaned = [
        " " if source.isspace() else _clean_characters(source, lower_case, strip_accents)
        for source in sources
    ]
    replacements = normalizer.normalize(cleaned)
    rules = {s: r for s, r in zip(sources, replacements, strict=True) if s != r}

    cleaned = [_clean_characters(s, lower_case, strip_accents) for s in sequences]
    replacements = normalizer.normalize(cleaned)
    for sequence, replacement in zip(sequences, replacements, strict=True):
        if _replace_longest_match(sequence, rules) != replacement:
            rules[sequence] = replacement
    return sorted(rules.items())


def _replace_longest_match(text: str, rules: dict[str, str]) -> str:
    output, start = [], 0
    while start < len(text):
        end = len(text)
        while end > start + 1 and text[start:end] not in rules:
            end -= 1
        output.append(rules.get(text[start:end], text[start:end]))
        start = end
    return "".join(output)


def build_in_clean_up(spec_bytes: bytes, lower_case: bool, strip_accents: bool) -> bytes:
    """Returns a serialized NormalizerSpec with the clean-up composed in front of it.

    Takes about 0.2 s for a stock normaliser and about 1.2 s where accents are kept or the rules are
    someone's own; a second call with the same arguments is free.
    """
    return _build_in_clean_up(spec_bytes, bool(lower_case), bool(strip_accents))


@functools.lru_cache(maxsize=8)
def _build_in_clean_up(spec_bytes: bytes, lower_case: bool, strip_accents: bool) -> bytes:
    spec = model_proto.NormalizerSpec.FromString(spec_bytes)
    rules = normalization_rules(spec, lower_case, strip_accents)
    sentencepiece.set_min_log_level(1)  # It would report the size of the table on stderr.
    compiled = model_proto.NormalizerSpec.FromString(
        sentencepiece.SentencePieceNormalizer(norm_map=rules).serialized_normalizer_spec()
    )
    spec.name = NORMALIZER_NAMES[lower_case, strip_accents]
    spec.precompiled_charsmap = compiled.precompiled_charsmap
    # The original collapses and trims white space whatever the model says.
    spec.remove_extra_whitespaces = True
    spec.add_dummy_prefix = True
    spec.escape_whitespaces = True
    spec.ClearField("normalization_rule_tsv")
    return spec.SerializeToString(deterministic=True)


class LostMarks:
    """Counts the letters that `strip_accents` takes a mark from, in the first of the text."""

    def __init__(self, strip_accents: bool):
        self._characters_left = _CHARACTERS_FOR_MARKS if strip_accents else 0
        self._letters = 0
        self._lost: collections.Counter[str] = collections.Counter()

    def look_at(self, sentence: str) -> None:
        """Counts the letters of a sentence, until enough were seen."""
        if self._characters_left <= 0:
            return
        self._characters_left -= len(sentence)
        for character, count in collections.Counter(sentence).items():
            marks = unicodedata.normalize("NFKD", character)
            # The vowel signs of Indian scripts are marks that stay: their class is 0.
            if any(map(unicodedata.combining, marks)):
                self._lost[character] += count
            if character.isalpha() or unicodedata.combining(character):
                self._letters += count

    def report(self, report: Callable[[str], None]) -> None:
        """Warns where more than 1% of the letters lose a mark, which some languages cannot do."""
        lost = self._lost.total()
        if lost > 0.01 * self._letters:
            examples = ", ".join(repr(character) for character, _ in self._lost.most_common(3))
            report(
                f"Warning: {lost / self._letters:.1%} of the letters lose a mark (as in {examples})"
                "; `strip_accents=False` keeps them, see docs/languages.md"
            )
