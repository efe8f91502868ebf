"""Texts in nine languages, and the encodings that files of them may have: as Python names them."""

GERMAN = (
    "Die Bücherei öffnete gestern früh. Viele Gäste kamen und lasen bis spät in den Büchern.\n"
    "Der Bürgermeister hielt eine kurze Rede über die Straße, die zur Bücherei führt.\n"
)
FRENCH = "La bibliothèque a été ouverte hier. L’après-midi, les élèves y ont lu à voix haute.\n"
POLISH = (
    "Wczoraj po południu otwarto nową bibliotekę, na uroczystość przyszło wielu mieszkańców. "
    "Burmistrz powiedział, że będzie to miejsce nauki dla dzieci.\n"
)
RUSSIAN = "Вчера в центре города открылась новая библиотека. Туда пришло много жителей города.\n"
GREEK = "Χθες το απόγευμα άνοιξε στην πλατεία η νέα βιβλιοθήκη και ήρθαν πολλοί κάτοικοι.\n"
CHINESE = "今天上午，城里的新图书馆开门了。许多孩子和老人都来看书，大家都很高兴。\n"
JAPANESE = (
    "昨日の午後、駅前の広場で新しい図書館が開き、多くの市民が集まりました。子どもも来ました。\n"
)
KOREAN = "어제 오후 역 앞에 새 도서관이 문을 열어 많은 시민이 모였습니다. 아이들도 왔습니다.\n"
SPEECH = "“It was late,” he said – and the door wasn’t shut. Nobody came to the café that night.\n"

FOREIGN = [
    (GERMAN, "latin-1", "cp1252"),
    (GERMAN, "cp1252", "cp1252"),
    (FRENCH, "cp1252", "cp1252"),
    (SPEECH, "cp1252", "cp1252"),
    (POLISH, "cp1250", "cp1250"),
    (POLISH, "iso8859-2", "iso8859-2"),
    (RUSSIAN, "cp1251", "cp1251"),
    (RUSSIAN, "koi8-r", "koi8-r"),
    (GREEK, "cp1253", "cp1253"),
    (CHINESE, "gbk", "gb18030"),
    (CHINESE.translate(str.maketrans("图书馆许开门来兴", "圖書館許開門來興")), "big5", "big5"),
    (JAPANESE, "shift_jis", "cp932"),
    (JAPANESE, "euc_jp", "euc_jp"),
    (KOREAN, "euc_kr", "cp949"),
    (GERMAN, "utf-16", "utf-16"),
    (CHINESE, "utf-16", "utf-16"),
    (CHINESE, "utf-32", "utf-32"),
    (SPEECH.translate(str.maketrans("“”–’", '""-\'')), "utf-16-le", "utf-16-le"),
    (GERMAN, "utf-8-sig", "utf-8"),
]
