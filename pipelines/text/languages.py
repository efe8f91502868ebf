"""What sentences end with in the languages of the world, and which words around a stop do not.

Scripts tell most of it: a danda or an ideographic full stop ends a sentence wherever it stands.
Where a full stop is also the sign of abbreviations and ordinals, the language decides, which the
commonest little words of a paragraph tell.
"""

import functools
import re
from collections.abc import Sequence

# Stops that nothing else is written with: Devanagari and its neighbors, Arabic script, Armenian,
# Ethiopic, Burmese, Khmer; and those of Chinese and Japanese.
CLEAR_STOPS = "।॥۔؟։።፧၊။។៕᙮"
WIDE_STOPS = "。！？｡．"
# Directions of writing and places to wrap, which nobody sees.
MARKS = "\u200b\u200e\u200f\u061c\u2060\ufeff\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
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
_SHARED_SIGNS = "‘’“”…—"
_SPACELESS_CHARACTER = re.compile(f"[{_SPACELESS}]")
_WIDE_CHARACTER = re.compile(f"[{_WIDE}]")
_STOPLESS_CHARACTER = re.compile("[\u0e00-\u0eff]")  # Thai and Lao write sentences without a stop
_LATIN_LETTER = re.compile("[A-Za-z\u00c0-\u024f\u1e00-\u1eff]")
# None of it is in texts of European languages, and some of it in all that write without spaces.
_BEYOND = re.compile("[\u0900-\u1fff\u3000-\U0003ffff]")
_CYRILLIC_LETTER = re.compile("[\u0400-\u04ff]")
_GEORGIAN_LETTER = re.compile("[\u10d0-\u10ff]")
_ARABIC_LETTER = re.compile("[\u0621-\u064a]")
_PERSIAN_LETTER = re.compile("[پچژگکیےٹڈ]")  # of Persian, Urdu and others with Arabic letters
_WORD = re.compile(r"[^\W\d_]+")

# Little words that are frequent in one language and rare in the others.
_LITTLE_WORDS = {
    "en": "the of and to in is was that for with as by on are from his which were this",
    "de": "der die das und ist von den zu mit des im dem ein eine nicht auf wurde für sich als "
    "auch werden aus am zum einer er sie es hat einen einem bei nach wurden zur durch oder bis",
    "fr": "le la les des et est une dans du que qui pour sur au par avec il elle sont ne aux ses"
    " de en l' d' qu' n' s' c'",
    "es": "el los las de y que en un una es por con para del se su al como fue más",
    "it": "il di che è la un una per del della con sono nel alla gli dei le si l' dell' nell' d'",
    "pt": "o os de e que em um uma é por com para do da dos das no na ao foi não",
    "nl": "de het een van en is dat op te voor met zijn niet aan door werd ook",
    "ru": "и в на с по не из что как был была от для его к это года при за",
    "ar": "في من على إلى أن التي الذي كان كانت عن مع هذا هذه بعد بين",
}
_TELLING_CHARACTERS = 400  # at the beginning of a paragraph
_FEWEST_LITTLE_WORDS = 3  # names such as "Du Bois" have one
_LANGUAGES_OF: dict[str, list[str]] = {}
for _language, _words in _LITTLE_WORDS.items():
    for _word in _words.split():
        _LANGUAGES_OF.setdefault(_word, []).append(_language)

# Words before a full stop that are cut short, so that none of them ends a sentence by itself.
ABBREVIATIONS = {
    "de": "bzw ca usw vgl Nr Nrn Bd Bde Abb geb gest Jh Jhd Jhdt St Str ggf evtl sog inkl exkl insb"
    " insbes max min Mio Mrd Tsd Hrsg Hg Aufl Prof Dr Dipl Ing Art Abs Ziff Kap Anm lat griech engl"
    " frz franz ital span russ dt dän poln urspr allg bes nördl südl westl östl Chr Tel Fa Hl hl"
    " Red Std Sek Min Verf Verl zit zzgl abzgl einschl etc bspw jew u z d i s o a"
    " Jan Febr Apr Aug Sept Okt Nov Dez",
    "fr": "MM Mlle Mme Mgr Dr Pr St Ste av apr env éd vol p pp art chap fig cf etc hab tél dir coll"
    " trad ex boul bd ibid numéro réf sc univ"
    " Ch Th Ph Cl Vve Cie Sté",
    "es": "Sr Sra Sres Srta Dr Dra Ud Uds pág págs núm aprox etc Prof Lic Ing av avda art vol ed EE"
    " UU hab",
    "it": "Sig Sigg Dott Prof Ing Avv pag pagg vol ecc art cap ed cfr S sec ca",
    "pt": "Sr Sra Dr Dra Prof Profa pág págs vol ed etc art av núm aprox",
    "nl": "dhr mevr dr prof ir drs nr blz bijv enz ca vgl o.a d.w.z z.g",
    "ru": "им ул пр пл пер просп акад проф доц св ок см ср рис табл стр гл ст пос дер обл о р с д"
    " напр т тов гр г тыс руб н э кв др англ нем фр лат греч итал исп рус яп кит букв сокр Дж"
    " оз выс губ кн изд ред ур зав респ Им Ул",
}
ABBREVIATIONS = {name: frozenset(words.split()) for name, words in ABBREVIATIONS.items()}
# Units of one letter end a sentence behind a figure.
UNITS = frozenset("m t h g l s м т л ч".split())
ARABIC_ERAS = frozenset(["م", "هـ", "ق.م", "ب.م"])  # behind a year
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
    " Jeder Jede Jedes Derzeit Dennoch Deshalb Deswegen Daneben Darauf Daraufhin Davon Davor"
    " Damals Dagegen Diesem Diesen Einer Eines Ebenso Jener Manche Meist Mittlerweile Seitdem"
    " Somit Sowohl Stattdessen Solche Sobald Teilweise Unterhalb Oberhalb Vielmehr Weiterhin Weder"
    " Wobei Zwar Zuvor Zusätzlich Gleichzeitig Aufgrund Dank Falls Hingegen Infolge Keine Seinen"
    " Seinem Seiner Ihren Ihrem Ihrer",
    "fr": "Le La Les Un Une Des Il Elle Ils Elles On Ce Cet Cette Ces En Au Aux Dans Sur Par"
    " Pour Avec Sans Après Avant Depuis Pendant Lors Mais Et Son Sa Ses Leur Leurs De Du À Ainsi"
    " Selon Cependant Toutefois Si Quand Comme Plusieurs Tous Tout Nous Vous Je"
    " L' C' D' Qu' N' S' J'",
    "es": "El La Los Las Un Una En De Del Al Por Para Con Sin Se Su Sus Este Esta Estos Es Fue Son"
    " Pero Y Como Cuando Desde Durante Tras Según Entre Aunque También No A Hay",
    "it": "Il Lo La I Gli Le Un Una In Nel Nella Di Del Da Dal Per Con Si È Fu Ma E Come Quando"
    " Dopo Durante Secondo Tra Questo Questa Non A Al Sono",
    "pt": "O A Os As Um Uma Em No Na De Do Da Por Para Com Sem Se Seu Sua Este Esta É Foi Mas E"
    " Como Quando Desde Durante Após Segundo Entre Não Ao",
    "nl": "De Het Een In Op Van Voor Met Door Na Bij Hij Zij Ze Het Dit Deze Dat Er Maar En Als"
    " Toen Tijdens Volgens Ook Niet",
    "ru": "В На По С К Из От До Для За При Это Эта Этот Эти Он Она Оно Они Однако Но И А Также"
    " После Во Не Как Если Когда Кроме Так Там Тогда Затем Все Всего Его Её Их Согласно Среди Более"
    " Именно Сегодня Большинство Многие Несмотря Поэтому",
}
OPENERS = {name: frozenset(words.split()) for name, words in OPENERS.items()}
# A finite verb, or a little word that has one beside it, tells a sentence from a heading. Endings
# are told where they are a verb's for the most part: the frequent forms of the past.
FINITE_VERBS = {
    "en": r"is|are|was|were|be|been|has|have|had|will|would|can|could|may|might|must|did|does|do|"
    r"became|becomes|made|makes|won|began|includes?|included|contains?|contained|received|took|"
    r"led|called|named|known|used|found|died|played|plays|said|wrote|moved|joined|"
    r"served|held|remained|remains|consists?|shows?|gives?|gave|came|went",
    "de": r"ist|sind|war|waren|wird|werden|wurden?|hat|haben|hatten?|kann|können|konnten?|muss|"
    r"müssen|soll|sollen|sollte|darf|will|gab|kam|kamen|ging|stand|lag|lagen|blieb|starb|fanden?|"
    r"nahm|erhielt|begann|trat|schrieb|galt|bestand|entstand|gewann|zog|(?i:es|er|sie|man|wir)|"
    r"sich|dass|weil|wenn|bildete[nt]?|gehört|gehörten?|lebten?|führten?|"
    r"gehören|liegen|leben|stehen|bilden|führen|gelten|kommen|fließen|dienen|heißen|bestehen|"
    r"befinden|zählen|tragen|"
    r"(?!ge|mit|seit|nicht|erst|selbst|statt|samt|dort|acht|zuletzt|weit|laut|oft|jetzt|meist)"
    r"[a-zäöü]{2,}t",
    "fr": r"est|sont|fut|furent|a|ont|eut|eurent|sera|seront|peut|peuvent|doit|doivent|fait|font|"
    r"fit|se|ne|(?i:ils?|elles?|on|nous|vous)|qui|que|où|y|lui|comprend|compte|possède|devient|"
    r"devint|naît|naquit|meurt|mourut|joue|reçoit|reçut|prend|prit|trouve|situe|appartient|existe|"
    r"permet|contient|obtient|remporte|publie|commence|termine|vit|travaille|dirige|participe|"
    r"quitte|rejoint|crée|fonde|épouse|coule|traverse|donne|reste|vient|tient|sert|utilise|comporte|"
    r"constitue|représente|désigne|décrit|suit|atteint|abrite|inclut|dépend|faut|"
    r"\w+ai(?:t|ent)|\w{2,}èrent|(?:[sncj]|qu)['’]\w+",
    "es": r"es|son|era|eran|fue|fueron|ha|han|había|habían|está|están|estaba|tiene|tienen|tenía|"
    r"hay|hubo|se|no|que|puede|pueden|podía|debe|deben|sería|hace|hacen|hizo|tuvo|dio|vive|incluye|"
    r"contiene|permite|pertenece|consta|encuentra|\w+ó|\w+(?:aron|ieron)|\w+aban?",
    "it": r"è|sono|era|erano|fu|furono|ha|hanno|aveva|ebbe|si|non|che|ci|viene|vengono|venne|"
    r"vennero|può|possono|deve|devono|fa|fece|fanno|nacque|morì|comprende|contiene|permette|esiste|"
    r"\w+ò|\w+rono|\w+[aei]vano?",
    "pt": r"é|são|era|eram|foi|foram|tem|têm|tinha|está|estão|há|houve|se|não|que|pode|podem|deve|"
    r"devem|faz|fazem|fez|seria|possui|existe|inclui|contém|permite|fica|"
    r"\w+(?:[aei]ram|avam?)|\w{2,}ou",
    "nl": r"is|zijn|was|waren|wordt|worden|werd|werden|heeft|hebben|had|hadden|kan|kunnen|kon|moet|"
    r"moeten|zal|zou|mag|er|die|hij|ze|je|men|niet|u|ligt|staat|komt|kwam|gaat|ging|bevat|bestaat|"
    r"krijgt|kreeg|maakt|maakte|speelt|speelde|begon|won|vormt|heet|telt|geeft|gaf|biedt|blijft",
    # And a little of its neighbors. Nouns with the endings of verbs are left out.
    "ru": r"не|есть|может|могут|нет|можно|котор(?:ый|ая|ое|ые)|что|умер|умерла|"
    r"(?i:это|он[аио]?|был[аио]?)|є|був|має|е|са|се|има|беше|је|су|"
    r"(?![а-я]*(?:тели|совет|итет|льтет|бинет|редмет|ортрет|бюджет|сюжет|свет|цвет|ответ|утат|уреат|"
    r"зультат|ппарат|солдат|вокат|пломат|пионат|нститут|аршрут|дебют|канал|урнал|териал|футбол|"
    r"отдел|раздел|енерал|филиал|школа|число|село|начало|тело|дело|правило|гранит|файл|отокол)[аы]?\b)"
    r"[а-яёії]{2,}(?:л|ла|ло|ли|вся|лся|лась|лось|лись|[еи]т|[уюая]т|[еи]тся|[уюая]тся|"
    r"[еа]н[оаы])|[а-яё]{4,}(?:ен|ён|ован|дан)",
    "ar": r"[وف]?(?:هو|هي|هم|كان|كانت|كانوا|يكون|تكون|لم|لا|لن|قد|تم|أن|إن|أنه|أنها|التي|الذي|"
    r"الذين|ليس|ليست|هناك|تقع|تعتبر|أصبح|حيث|ولد|ولدت|توفي|توفيت|بدأ|حصل|شارك|تعد|تعود|توجد|لقد|كما|بينما|"
    r"ي\w{2,}|\w{2,}[^\Wاوي]ت)",
    "th": r"เป็น|คือ|มี|ได้|ถูก|อยู่|ซึ่ง|ให้|เมื่อ|แล้ว|ตั้ง|เริ่ม|เกิด|เสียชีวิต|ทำ|ใช้|จะ|ไม่",
}
FINITE_VERBS = {
    # Thai has no spaces between words.
    language: re.compile(words if language == "th" else rf"\b(?:{words})\b")
    for language, words in FINITE_VERBS.items()
}


def language_of(text: str) -> str:
    """Returns "de", "fr", "es", "it", "pt", "nl", "ru", "ar" or, of everything else, "en"."""
    return guess_language(text) or "en"


def guess_language(text: str) -> str | None:
    """Returns a language as `language_of`, or None where the text does not tell.

    Judged by the little words at its beginning.
    """
    if text.count(" the ", 0, _TELLING_CHARACTERS) > 1:
        return "en"  # by far the most frequent answer, had without looking at each word
    return _guess(text[:_TELLING_CHARACTERS])


@functools.lru_cache(maxsize=64)
def _guess(text: str) -> str | None:
    counts = dict.fromkeys(_LITTLE_WORDS, 0)
    # "l'eau" has the word "l'".
    words = text.lower().replace("’", "'").replace("'", "' ").split()
    for matches in map(_LANGUAGES_OF.get, words):
        for language in matches or ():
            counts[language] += 1
    best = max(counts, key=counts.get)  # "en" on a tie
    if counts[best] >= _FEWEST_LITTLE_WORDS:
        return best
    if text.isascii():
        return None
    # Of its neighbors with the same letters, Russian is the most likely by far.
    if len(_CYRILLIC_LETTER.findall(text)) > 0.3 * len(text):
        return "ru"
    if len(_ARABIC_LETTER.findall(text)) > 0.3 * len(text) and not _PERSIAN_LETTER.search(text):
        return "ar"
    return None


def opens_sentence(word: str | None, language: str) -> bool:
    """Tells whether a word opens sentences in a language and is hardly ever the rest of a name."""
    openers = OPENERS.get(language)
    if not word or not openers:  # English has its own
        return False
    if "'" in word or "’" in word:
        word = word.replace("’", "'").partition("'")[0] + "'"  # "L'eau" opens as "Le" does
    return word in openers


def has_clause(line: str, language: str) -> bool:
    """Tells a sentence from a heading, both short, by its verb or by the word that opens it.

    Args:
        line: of less than 110 columns.
        language: a key of `FINITE_VERBS`.
    """
    if has_verb(line, language):
        return True
    if len(line) < 55:
        return False
    first = _WORD.match(line)
    return language == "ar" or first is not None and opens_sentence(first.group(), language)


def has_verb(line: str, language: str) -> bool:
    """Tells whether a line has a finite verb; `language` is a key of `FINITE_VERBS`."""
    return FINITE_VERBS[language].search(line) is not None


def is_small(text: str) -> bool:
    """Tells of a word, or a whole text, whether it has small letters where others have capitals.

    Georgian has capitals that no sentence begins with.
    """
    return text.islower() and _GEORGIAN_LETTER.search(text) is None


def is_spaceless(character: str) -> bool:
    """Tells whether a character belongs to a script without spaces between words."""
    return character > "\u0dff" and _SPACELESS_CHARACTER.match(character) is not None


def stop_beside_full_stop(character: str) -> str | None:
    """Returns the stop that ends sentences in a character's script, where it has the full stop too.

    Where a text has that stop, a full stop in it stands behind abbreviations.
    """
    if "\u0900" <= character <= "\u0dff":
        return "।"
    return "。" if _WIDE_CHARACTER.match(character) else None


def after_last_spaceless(word: str) -> str:
    """Returns what a word has behind its last character of a script without spaces."""
    return _SPACELESS_CHARACTER.split(word)[-1]


def may_be_spaceless(text: str) -> bool:
    """Tells quickly whether a text has any character beyond the alphabets of Europe."""
    return not text.isascii() and _BEYOND.search(text) is not None


def is_spaceless_text(text: str) -> bool:
    """Tells whether a text is written, for the most part, without spaces between words."""
    text = text[:_TELLING_CHARACTERS]
    return len(_SPACELESS_CHARACTER.findall(text)) > 0.4 * len(text)


def is_stopless_text(text: str) -> bool:
    """Tells whether a text is in a script whose sentences end without any sign."""
    text = text[:_TELLING_CHARACTERS]
    return len(_STOPLESS_CHARACTER.findall(text)) > 0.4 * len(text)


def is_latin_text(text: str) -> bool:
    """Tells whether the letters of a text are Latin for the most part."""
    letters = "".join(_WORD.findall(text))
    return len(_LATIN_LETTER.findall(letters)) > 0.5 * len(letters)


def join_lines(lines: Sequence[str]) -> str:
    """Joins the lines of a wrapped paragraph: with a space, but none inside spaceless scripts.

    What Chinese has in common with other scripts is as the letters beside it.
    """
    joined = " ".join(lines)
    if not may_be_spaceless(joined):
        return joined
    parts = []
    for line in lines:
        if parts:
            sides = parts[-1].rstrip(_SHARED_SIGNS)[-1:] + line.lstrip(_SHARED_SIGNS)[:1]
            parts.append("" if sides and all(map(is_spaceless, sides)) else " ")
        parts.append(line)
    return "".join(parts)


def width_of(text: str) -> int:
    """Returns the columns that a text takes where Chinese characters take two."""
    if text.isascii() or not may_be_spaceless(text):
        return len(text)
    return len(text) + len(_WIDE_CHARACTER.findall(text))
