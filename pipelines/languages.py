"""What sentences end with in the languages of the world, and which words around a stop do not.

Scripts tell most of it: a danda or an ideographic full stop ends a sentence wherever it stands.
Where a full stop is also the sign of abbreviations and ordinals, the language decides, which the
commonest little words of a paragraph tell.
"""

import functools
import re

# Stops that nothing else is written with: Devanagari and its neighbors, Arabic script, Armenian,
# Ethiopic, Burmese, Khmer; and those of Chinese and Japanese.
CLEAR_STOPS = "।॥۔؟։።፧၊။។៕᙮"
WIDE_STOPS = "。！？｡"
# Scripts that put no spaces between words, with their punctuation: Chinese and Japanese, Thai, Lao,
# Burmese, Khmer, Tibetan.
_SPACELESS = (
    "\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u3000-\u30ff\u31f0-\u31ff\u3400-\u4dbf"
    "\u4e00-\u9fff\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff"
)
_WIDE = (
    "\u1100-\u115f\u2e80-\u30ff\u31c0-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff\uff00-\uff60"
    "\U00020000-\U0003ffff"
)
_SPACELESS_CHARACTER = re.compile(f"[{_SPACELESS}]")
_WIDE_CHARACTER = re.compile(f"[{_WIDE}]")
_STOPLESS_CHARACTER = re.compile("[\u0e00-\u0eff]")  # Thai and Lao write sentences without a stop
_LATIN_LETTER = re.compile("[A-Za-z\u00c0-\u024f\u1e00-\u1eff]")
# None of it is in texts of European languages, and some of it in all that write without spaces.
_BEYOND = re.compile("[\u0900-\u1fff\u3000-\U0003ffff]")
_WORD = re.compile(r"[^\W\d_]+")

# Little words that are frequent in one language and rare in the others.
_LITTLE_WORDS = {
    "en": "the of and to in is was that for with as by on are from his which were this",
    "de": "der die das und ist von den zu mit des im dem ein eine nicht auf wurde für sich als "
    "auch werden aus am zum einer",
    "fr": "le la les des et est une dans du que qui pour sur au par avec il elle sont ne aux ses",
    "es": "el los las de y que en un una es por con para del se su al como fue más",
    "it": "il di che è la un una per del della con sono nel alla gli dei le si",
    "pt": "o os de e que em um uma é por com para do da dos das no na ao foi não",
    "nl": "de het een van en is dat op te voor met zijn niet aan door werd ook",
    "ru": "и в на с по не из что как был была от для его к это года при за",
}
_FEWEST_LITTLE_WORDS = 3  # names such as "Du Bois" have one
_LANGUAGES_OF = {}
for _language, _words in _LITTLE_WORDS.items():
    for _word in _words.split():
        _LANGUAGES_OF.setdefault(_word, []).append(_language)

# Words before a full stop that are cut short, so that none of them ends a sentence by itself.
ABBREVIATIONS = {
    "de": "bzw ca usw vgl Nr Nrn Bd Bde Abb geb gest Jh Jhd Jhdt St Str ggf evtl sog inkl exkl insb"
    " insbes max min Mio Mrd Tsd Hrsg Hg Aufl Prof Dr Dipl Ing Art Abs Ziff Kap Anm lat griech engl"
    " frz franz ital span russ dt dän poln urspr allg bes nördl südl westl östl Chr Tel Fa Hl hl"
    " Red Std Sek Min Verf Verl zit zzgl abzgl einschl etc bspw jew u z d i s o a",
    "fr": "MM Mlle Mme Mgr Dr Pr St Ste av apr env éd vol p pp art chap fig cf etc hab tél dir coll"
    " trad ex boul bd ibid numéro réf sc univ",
    "es": "Sr Sra Sres Srta Dr Dra Ud Uds pág págs núm aprox etc Prof Lic Ing av avda art vol ed EE"
    " UU hab",
    "it": "Sig Sigg Dott Prof Ing Avv pag pagg vol ecc art cap ed cfr S sec ca",
    "pt": "Sr Sra Dr Dra Prof Profa pág págs vol ed etc art av núm aprox",
    "nl": "dhr mevr dr prof ir drs nr blz bijv enz ca vgl o.a d.w.z z.g",
    "ru": "им ул пр пл пер просп акад проф доц св ок см ср рис табл стр гл ст пос дер обл о р с д"
    " напр т тов гр г тыс руб н э кв др англ нем фр лат греч итал исп рус яп кит букв сокр Дж",
}
ABBREVIATIONS = {name: frozenset(words.split()) for name, words in ABBREVIATIONS.items()}
ANY_ABBREVIATION = frozenset().union(*ABBREVIATIONS.values())
# Words that open sentences and are hardly ever the rest of a name or an ordinal.
OPENERS = {
    "de": "Der Die Das Ein Eine Er Sie Es Wir Ihr Im Am In An Auf Bei Nach Vor Seit Von Zu Zum Zur"
    " Mit Ohne Für Durch Diese Dieser Dieses Dies Damit Dabei Danach Dann Da Daher Dadurch Darüber"
    " Als Auch Aber Und Oder Wenn Während Weil Obwohl Neben Unter Über Zwischen Aus Ab Bis So Seine"
    " Ihre Man Heute Später Hier Dort Nur Noch Bereits Erst Jedoch Allerdings Außerdem Zudem Sein"
    " Einige Viele Alle Beide Mehrere Etwa Insgesamt Laut Trotz Wegen Gegen Um Dazu Hierbei Darin"
    " Daraus Deren Dessen Anschließend Zunächst Schließlich Ferner Weitere Doch Nachdem Ob Wie"
    " Was Wer Wo Zusammen Anfang Ende Gemeinsam Innerhalb Ursprünglich Beim Vom Hinter"
    " Jeder Jede Jedes",
    "fr": "Le La Les L Un Une Des Il Elle Ils Elles On Ce Cet Cette Ces C En Au Aux Dans Sur Par"
    " Pour Avec Sans Après Avant Depuis Pendant Lors Mais Et Son Sa Ses Leur Leurs De Du D À Ainsi"
    " Selon Cependant Toutefois Si Quand Comme Plusieurs Tous Tout Nous Vous Je",
    "es": "El La Los Las Un Una En De Del Al Por Para Con Sin Se Su Sus Este Esta Estos Es Fue Son"
    " Pero Y Como Cuando Desde Durante Tras Según Entre Aunque También No A Hay",
    "it": "Il Lo La I Gli Le Un Una In Nel Nella Di Del Da Dal Per Con Si È Fu Ma E Come Quando"
    " Dopo Durante Secondo Tra Questo Questa Non A Al Sono",
    "pt": "O A Os As Um Uma Em No Na De Do Da Por Para Com Sem Se Seu Sua Este Esta É Foi Mas E"
    " Como Quando Desde Durante Após Segundo Entre Não Ao",
    "nl": "De Het Een In Op Van Voor Met Door Na Bij Hij Zij Ze Het Dit Deze Dat Er Maar En Als"
    " Toen Tijdens Volgens Ook Niet",
    "ru": "",
}
OPENERS = {name: frozenset(words.split()) for name, words in OPENERS.items()}
_NOTHING = frozenset()


def language_of(text):
    """Returns "de", "fr", "es", "it", "pt", "nl", "ru" or, of everything else, "en"."""
    return guess_language(text) or "en"


def guess_language(text):
    """Returns a language as `language_of`, or None where the text does not tell.

    Judged by the little words in its first 400 characters.
    """
    return _guess(text[:400])


@functools.lru_cache(maxsize=64)
def _guess(text):
    counts = dict.fromkeys(_LITTLE_WORDS, 0)
    for matches in map(_LANGUAGES_OF.get, text.lower().split()):
        for language in matches or ():
            counts[language] += 1
    best = max(counts, key=counts.get)  # "en" on a tie
    return best if counts[best] >= _FEWEST_LITTLE_WORDS else None


def openers_of(text):
    """Returns the words that open sentences in the language of `text`; none for English."""
    return OPENERS.get(language_of(text), _NOTHING)


def is_spaceless(character):
    """Tells whether a character belongs to a script without spaces between words."""
    return _SPACELESS_CHARACTER.match(character) is not None


def may_be_spaceless(text):
    """Tells quickly whether a text has any character beyond the alphabets of Europe."""
    return not text.isascii() and _BEYOND.search(text) is not None


def is_spaceless_text(text):
    """Tells whether a text is written, for the most part, without spaces between words."""
    return len(_SPACELESS_CHARACTER.findall(text)) > 0.4 * len(text)


def is_stopless_text(text):
    """Tells whether a text is in a script whose sentences end without any sign."""
    return len(_STOPLESS_CHARACTER.findall(text)) > 0.4 * len(text)


def is_latin_text(text):
    """Tells whether the letters of a text are Latin for the most part."""
    letters = "".join(_WORD.findall(text))
    return len(_LATIN_LETTER.findall(letters)) > 0.5 * len(letters)


def join_lines(lines):
    """Joins the lines of a wrapped paragraph: with a space, but none inside spaceless scripts."""
    parts = []
    for line in lines:
        if parts and not (is_spaceless(parts[-1][-1]) and is_spaceless(line[0])):
            parts.append(" ")
        parts.append(line)
    return "".join(parts)


def width_of(text):
    """Returns the columns that a text takes where Chinese characters take two."""
    return len(text) + (len(_WIDE_CHARACTER.findall(text)) if may_be_spaceless(text) else 0)
