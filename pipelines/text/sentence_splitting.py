"""Cuts a paragraph into sentences with regular expressions.

English is known best; where stops mean something else in another language or script, `languages`
tells. One regular expression finds the few places where a sentence could end; only there do the
rules about abbreviations, initials and quotations run, so the cost per character is small.

Example:
    >>> split_sentences('Mr. Wickham paid $3.50. "Come!" she said.')
    ['Mr. Wickham paid $3.50.', '"Come!" she said.']
"""

import re
import unicodedata

from albert_tf.pipelines.text import languages, small_letters
from albert_tf.pipelines.text.languages import CLEAR_STOPS, MARKS, WIDE_STOPS

# A sentence longer than this is cut at a semicolon, a comma or a space: four times what a sequence
# of 512 pieces holds is never a sentence, it is a table or a text without stops.
MAX_SENTENCE_CHARACTERS = 4000

_CLOSERS = "\"'”’»)\\]}*_"
_OPENERS = f"\"'“‘”’«(\\[{{*_¿¡{MARKS}"
_OPENING = rf"[{_OPENERS}]*(?:(?<=«)\s[{_OPENERS}]*)?"  # French has a space behind its sign

# A stop, then one of three: (1) what closes with it, white space, and anything but a small letter
# or a sign that carries a sentence on, tried only where a run of stops starts, so that dot leaders
# cost linear time; (2) a capital letter at once, as in "period.The"; (3) nothing, after a run of
# stops that have no other meaning in their script, and what closes with it; a wide dot between
# figures is a decimal point. In (1) a quotation may
# close as in German („so.“, »so.«) and in French (« so. »), where a comma behind it carries the
# sentence on (« so. », said she).
# The pattern begins with a plain set of characters: `re` then skips to the next stop by itself.
_CANDIDATE = re.compile(
    rf"[.!?…{WIDE_STOPS}{CLEAR_STOPS}](?:"
    rf"(?<=[.!?…])(?<![.!?…]{{2}})([.!?…]*+)[{MARKS}]*+"
    rf"((?:[{_CLOSERS}“‘«]|\[\d+\]|\s»(?!\S))*+)[{MARKS}]*+\s++"
    rf"(?!»[,;:)])(?={_OPENING}[^\s{_OPENERS}a-z,;:.!?…%&/=<>+|)\]}}-])"
    r"|(?<=[a-z]{3}[.!?])(?=[A-Z][a-z]+[\s,])"
    rf"|(?<=[{WIDE_STOPS}{CLEAR_STOPS}])(?<![\d]．)(?:\s*[{WIDE_STOPS}{CLEAR_STOPS}])*"
    rf"(?P<wide_closers>(?:[」』”’）〉》】{_CLOSERS}]+[{WIDE_STOPS}{CLEAR_STOPS}]?)*)"
    r"(?:\s*\[[^]\n]{1,40}\])*\s*)"
)
# What carries a sentence on in Japanese: behind a quotation, and behind a name that ends in a stop,
# as of a song. No sentence begins with a particle and a word that is not written in kana.
_GOES_ON = re.compile(
    "(?!なお|なぜ|なかでも|なかには|とくに|ところ|ともに|とはいえ|とりわけ|では、|でも、|ですが|もっとも|もし|もともと|もちろん"
    "|やがて|やはり|かつて|かれ|かなり|のち|はじめ|にもかかわらず)[とてなのはがをにでもやへか、，,]"
)
_GOES_ON_FROM_NAME = re.compile("[のをがはにもとで](?=[^\u3040-\u309f、，。])")
_BRACKETS = {"（": "）", "(": ")", "〈": "〉", "《": "》"}
_QUOTATIONS = {"「": "」", "『": "』"}
_OPEN = re.compile("[（(〈《「『]")
_NEARBY = 4000  # characters in which a text shows which stop it has; all of one would be slow
_LONGEST_BRACKET = 300  # one that is not closed within is a mistake
_FIRST_WORD = re.compile(rf"{_OPENING}([^\W\d_]+(?:['’][a-z]+)?)?")

_BEFORE_WORD = f"\"'“‘«([{{*_—–-{MARKS}"
_BEHIND_DASH = re.compile(r"[—–]\s+(\w)")

# Titles stand before a name, so a stop after one never ends a sentence.
_TITLES = frozenset(
    "Mr Mrs Ms Messrs Mssrs Mme Mmes Mlle Mlles Dr Drs Prof Profs Rev Revd Hon Gen Col Lt Capt Cpt"
    " Cmdr Comdr Cdr Sgt Cpl Pvt Maj Adm Brig Gov Sen Sens Rep Reps Pres Supt Insp Det Amb Mgr Msgr"
    " Fr St Ste Sts Bro Bp Abp Esq Sra Srta Mx Atty Ald Sec Hrsg Hr Fru Frl Mt Mts Ft Pt Gebr"
    " Ven Vy MR MRS MS DR ST REV GEN COL CAPT LT MESSRS mr mrs dr".split()
)
# These may end a sentence: then the next word is one that opens sentences ("Ltd. The"), whereas
# inside a sentence it is part of a name ("Ltd. Paris").
_ABBREVIATIONS = frozenset(
    "Inc Ltd Co Cos Corp Bros Jr Sr Jun Ave Blvd Rd Sq Hwy Dept Dist Assn Assoc Univ Inst Acad"
    " Jan Feb Mar Apr Jul Aug Sept Sep Oct Nov Dec Mon Tue Tues Wed Thu Thur Thurs Fri"
    " Ala Ariz Ark Calif Colo Conn Del Fla Ga Ill Ind Kan Kans Ky La Mass Md Mich Minn Mo Mont"
    " Neb Nebr Nev Okla Ont Ore Pa Penn Que Tenn Tex Va Vt Wash Wis Wisc Wyo"
    " Chas Geo Wm Thos Jas Jos Jno Robt Edw Alex Benj Saml Danl Theo Fredk"
    " al approx appt apt assn cent cit dept dist ed edn eds equiv esp est illus incl lat lit lon"
    " perh pl prec pron pseud publ sp spp ssp subsp syn trans transl ult univ viz vs"
    " Ca Cf Viz Lat Gr Ger Heb Ital Span Op Ed Eds Trans Brit Amer Intl Natl Proc Soc"
    " Ct Cir App Supp Phil Phys Math Sci Lett Ser Ann Hist Orch".split()
)
# These belong to the number that follows.
_BEFORE_NUMBER = frozenset(
    "No Nos no nos Nr nr Vol Vols vol vols pp p Pp P pg Fig Figs fig figs Art art Sec Sect sec sect"
    " Ch Chap Chaps ch chap chaps Ver ver Op op Opp Eq Eqs eq Ref ref Pt pt Bk bk Par par Para para"
    " Cap cap Tab tab Nov Dec Jan Feb Mar Apr Jun Jul Aug Sep Sept Oct c ca cca fl b d r v l ll f"
    " n col Col cols tel Tel Tr pop lot §".split()
)
_NEVER_LAST = frozenset(["e.g", "i.e", "E.g", "I.e", "vs", "v", "viz", "cf", "Cf", "al.e", "ca"])
# Words that open sentences and are hardly ever part of a name.
_SENTENCE_OPENERS = frozenset(
    "The This That These Those It Its He She They We You His Her Their Our My In On At By For From"
    " With Without Within During After Before Since Until When While Where Whether Who What Which"
    " Why How If Although Though Because However Moreover Furthermore Therefore Thus Hence"
    " Nevertheless But And Or Nor So Yet As An Another Both Each Every Some Many Most Several"
    " All Any Few Such Other Others There Here Then Now Today Once Also Additionally Not No"
    " One Two Three Although Despite Following According Under Over Between Among Through"
    " Later Early Eventually Finally Initially Originally Meanwhile Instead Between Upon To Of"
    " Is Are Was Were Did Do Does Has Have Had Will Would Could Should Can May Might Only Even"
    " Unlike Like Along Around Because Besides Outside Inside Throughout Apart Currently".split()
)
_ROMAN = re.compile("[IVXL]+")
# A quotation with its own mark is not the end when its speaker follows: '"Come!" Mary cried.'
_SPEECH = re.compile(
    r"(?:I|(?:(?:Mr|Mrs|Miss|Ms|Dr|Sir|Lord|Lady|Captain|Colonel|Aunt|Uncle)\.? )?"
    r"(?!(?:He|She|They|It|We|You|The|This|That)\b)[A-Z][\w'’-]+(?: [A-Z][\w'’-]+)?) "
    r"(?:said|says|cried|asked|exclaimed|replied|answered|shouted|whispered|murmured|muttered|"
    r"repeated|inquired|enquired|returned|called|screamed|demanded|began|continued|added|"
    r"interrupted|observed|remarked|ejaculated|growled|sighed|laughed|echoed|gasped)\b"
)
# No other word of small letters needs a closer look before a full stop.
_DOUBTFUL = languages.ANY_ABBREVIATION | _TITLES | _ABBREVIATIONS | _BEFORE_NUMBER | _NEVER_LAST
_RECASING = small_letters.Recasing(_TITLES | _ABBREVIATIONS, _SENTENCE_OPENERS)
_ENUMERATION = re.compile(r"[(\[]?(?:\d{1,3}|[A-Za-z]|[ivxIVX]{1,5})")
_PART_OF_WORD = re.compile("[-—–/\xa0]")
_ROMAN_OR_DIGIT = re.compile(r"[(\[]?(?:\d|[IVXLC]+\b)")
_SOFT_CUTS = ("; ", "；", ": ", "：", " - ", "— ", "——", ", ", "，", "、", " ")


def split_sentences(paragraph: str) -> list[str]:
    """Splits one paragraph into its sentences, in order, nothing lost but the white space between.

    Args:
        paragraph: text without line structure (a line break counts as a space).

    Returns:
        The sentences, stripped, none empty, none longer than `MAX_SENTENCE_CHARACTERS`.
    """
    sentences = []
    start = 0
    cased = _RECASING.with_capitals(paragraph) if languages.is_small(paragraph) else paragraph
    for candidate in _CANDIDATE.finditer(cased):
        if _is_sentence_end(cased, start, candidate):
            sentence = paragraph[start : candidate.end()].strip()
            start = candidate.end()
            if len(sentence) > MAX_SENTENCE_CHARACTERS:
                sentences.extend(cut_long_sentence(sentence))
            elif sentence:
                sentences.append(sentence)
    rest = paragraph[start:].strip()
    if len(rest) > MAX_SENTENCE_CHARACTERS:
        sentences.extend(cut_long_sentence(rest))
    elif rest:
        sentences.append(rest)
    return sentences


def cut_long_sentence(sentence: str, max_characters: int = MAX_SENTENCE_CHARACTERS) -> list[str]:
    """Cuts a text without stops into parts of at most `max_characters`, at the best sign there is.

    Looks in the second half of each part for a semicolon, a colon, a dash, a comma, a space, in
    this order; a text without any of them (no spaces at all) is cut where the limit falls, and
    no letter from its marks.
    """
    parts, start = [], 0
    while len(sentence) - start > max_characters:
        cut = start + max_characters
        for sign in _SOFT_CUTS:
            sign_at = sentence.rfind(sign, start + max_characters // 2, start + max_characters)
            if sign_at > start:
                cut = sign_at + len(sign)
                break
        while cut > start + max_characters // 2 and _clings(sentence[cut - 1 : cut + 1]):
            cut -= 1
        part = sentence[start:cut].strip()
        if part:
            parts.append(part)
        start = cut
        while start < len(sentence) and sentence[start].isspace():
            start += 1
    if start < len(sentence):
        parts.append(sentence[start:])
    return parts


def _clings(pair: str) -> bool:
    """Tells whether the second of two characters is a mark on the first, or joined to it."""
    return "\u200d" in pair or unicodedata.category(pair[1]).startswith("M")


def cut_to_bytes(sentence: str, max_bytes: int) -> list[str]:
    """Cuts a sentence into parts of at most `max_bytes` in UTF-8, as `cut_long_sentence` does."""
    size = len(sentence.encode("utf-8", "replace"))
    if size <= max_bytes:
        return [sentence]
    # Parts of a text in several scripts may have more bytes than their share.
    parts = cut_long_sentence(sentence, max(1, max_bytes * len(sentence) // size * 9 // 10))
    return [piece for part in parts for piece in cut_to_bytes(part, max_bytes)]


def _is_sentence_end(text: str, start: int, candidate: re.Match[str]) -> bool:
    """Decides for one candidate whether the sentence that began at `start` ends there."""
    more_stops, closers, wide_closers = candidate.groups()
    first_stop = text[candidate.start()]
    if wide_closers is not None:
        return _wide_stop_ends_sentence(text, start, candidate)
    first_word = _FIRST_WORD.match(text, candidate.end())
    following = first_word.group(1)
    if following and len(following) == 1 and text.startswith(".", first_word.end()):
        following += "."  # an initial opens no sentence, whatever word it is by itself
    if closers is None:
        # "Mail.Ru" and "St.Michael" are names: only a word that opens sentences shows an end.
        return _opens_sentence(text, following)
    stop = first_stop + more_stops
    if following and languages.is_small(following[0]):
        return False
    if following is None and text[candidate.end()] in "—–":
        behind_dash = _BEHIND_DASH.match(text, candidate.end())
        if behind_dash and languages.is_small(behind_dash.group(1)):  # «Куда?» — спросила она.
            return False
    if closers:
        if stop == "." and _bracket_goes_on(text, start, candidate, following):
            return False
        quoted_mark = stop[-1] in "!?…" and closers[-1] in "\"'”’»“‘«"
        return not (quoted_mark and _SPEECH.match(text, candidate.end()))
    if stop != ".":
        if stop[-1] in "!?":
            return True
        if following is None:
            return True
        if not following[0].isupper():  # a script without capitals: only an ellipsis by itself
            return text[candidate.start() - 1 : candidate.start()].isspace()
        # After an ellipsis a capital I says nothing about a new sentence.
        return following.partition("'")[0].partition("’")[0] != "I"
    return _full_stop_ends_sentence(text, start, candidate, following)


def _wide_stop_ends_sentence(text: str, start: int, candidate: re.Match[str]) -> bool:
    """Decides for a stop that nothing else is written with: an end, unless something goes on."""
    end = candidate.end()
    closers = candidate["wide_closers"]
    if not closers:
        if _GOES_ON_FROM_NAME.match(text, end):
            return False
    elif closers[-1] not in WIDE_STOPS + CLEAR_STOPS and _GOES_ON.match(text, end):
        return False
    if not _OPEN.search(text, max(start, end - _LONGEST_BRACKET), end):
        return True
    for opening, closing in _BRACKETS.items():
        if _closing_of_open(text, start, end, opening, closing):
            return False
    for opening, closing in _QUOTATIONS.items():
        closed = _closing_of_open(text, start, end, opening, closing)
        if closed and _GOES_ON.match(text, closed):
            return False
    return True


def _closing_of_open(text: str, start: int, end: int, opening: str, closing: str) -> int:
    """Returns where a bracket that is open at `end` closes, or 0 for none."""
    start = max(start, end - _LONGEST_BRACKET)
    opened = text.rfind(opening, start, end)
    if opened < 0 or text.find(closing, opened, end) >= 0:
        return 0
    return text.find(closing, end, end + _LONGEST_BRACKET) + 1


def _bracket_goes_on(
    text: str, start: int, candidate: re.Match[str], following: str | None
) -> bool:
    """Tells of a script without capitals whether "(...etc.)" stands inside a sentence."""
    if languages.is_stopless_text(text[candidate.start() - 1]):
        return True
    if not following or following[0].isupper() or not text.startswith(")", candidate.end(1)):
        return False
    return not text[start : start + 3].lstrip().startswith("(")


def _full_stop_ends_sentence(
    text: str, start: int, candidate: re.Match[str], following: str | None
) -> bool:
    """Decides for a single full stop, by the word before it and the word after it."""
    stop_at = candidate.start()
    word_at = max(text.rfind(" ", start, stop_at) + 1, start)
    word = text[word_at:stop_at].lstrip(_BEFORE_WORD)
    if not word:
        # The last dot of ". . .": decide as after "...". Otherwise a stop with a space before it.
        return following != "I" or not text[max(start, stop_at - 3) : stop_at].rstrip().endswith(
            "."
        )
    if word_at > start and word.isalpha() and word.islower() and word.isascii() and len(word) > 1:
        if word not in _DOUBTFUL:
            return True  # most stops
    if not word.isascii() and word[-1].isascii():
        word = languages.after_last_spaceless(word)
    if len(word) > 12:
        word = word[-12:]
        return not (word[-2:-1] == "." and not _opens_sentence(text, following))
    if word_at == start and len(word) <= 5 and _ENUMERATION.fullmatch(word):
        return False
    # In "world-famous-Mr" and "war–Gen" the part behind the dash is the word.
    word = _PART_OF_WORD.split(word)[-1]
    if (
        len(word) < 2
        or word in languages.ANY_ABBREVIATION
        or not word.isascii()
        or len(word) < 3
        and word.isdigit()
        or word.isupper()
        and _ROMAN.fullmatch(word)
    ):
        decision = _ends_by_language(text, start, word_at, word, following)
        if decision is not None:
            return decision
    if word in _TITLES:
        return False
    if word in _BEFORE_NUMBER and (number := _ROMAN_OR_DIGIT.match(text, candidate.end())):
        # "No. I will not." is an answer.
        return word in ("No", "no") and number.group() == "I"
    if len(word) == 1 and word.isalpha():
        if word == "v":
            return False
        if languages.is_small(word) or _opens_sentence(text, following):
            return True
        # "so am I. Father" has the pronoun, "Elizabeth I. Clifford" has the number.
        before = text[max(start, word_at - 20) : word_at].rstrip().rpartition(" ")[2]
        return word == "I" and before.islower()
    if word in _NEVER_LAST:
        return False
    if word in _ABBREVIATIONS or (word[-2:-1] == "." and word[-1].isalpha()):
        return _opens_sentence(text, following)
    return True


def _opens_sentence(text: str, word: str | None) -> bool:
    """Tells whether a word after a doubtful stop shows that a sentence begins there."""
    if word in _SENTENCE_OPENERS:
        return True
    return languages.opens_sentence(word, languages.language_of(text))


def _ends_by_language(
    text: str, start: int, word_at: int, word: str, following: str | None
) -> bool | None:
    """Decides by the language of the text whether `word` before a full stop ends a sentence.

    Returns:
        None where the rules for English decide.
    """
    language = languages.language_of(text)
    if language in ("en", "ar"):
        # Thai, and a text with other stops, have the full stop for abbreviations.
        if word.isascii():
            return None
        if word in languages.ARABIC_ERAS:  # or an initial
            return text[max(start, word_at - 3) : word_at].rstrip()[-1:].isdigit()
        stop = languages.stop_beside_full_stop(word[-1])
        nearby = text[max(0, word_at - _NEARBY) : word_at + _NEARBY]
        return False if languages.is_stopless_text(word) or (stop and stop in nearby) else None
    if language == "ru" and word in ("г", "гг", "в", "вв"):
        # Years and centuries in front, a town or "in" behind; "В 1874 г." is no sentence.
        if word_at - start < 12:
            return False
        before = text[max(start, word_at - 12) : word_at].rstrip()[-1:]
        return before.isdigit() or before in "IVX"
    if (
        language == "ru"
        and word in ("д", "п", "др")
        and text[word_at - 3 : word_at] in ("т. ", " и ")
    ):
        return True  # "and so on"
    if word in languages.UNITS and text[max(start, word_at - 2) : word_at].rstrip()[-1:].isdigit():
        return True
    is_short = len(word) == 1 and word.islower()
    if is_short or word in languages.ABBREVIATIONS[language]:
        return languages.opens_sentence(following, language)
    if language == "de" and (word.isdigit() and len(word) < 3 or _ROMAN.fullmatch(word)):
        return languages.opens_sentence(following, language)  # an ordinal
    return None
