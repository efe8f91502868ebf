"""Texts in sixteen languages, and encodings that files of them may have, as Python names them."""

GERMAN = (
    "Die Bücherei öffnete gestern früh. Viele Gäste kamen und lasen bis spät in den Büchern.\n"
    "Der Bürgermeister hielt eine kurze Rede über die Straße, die zur Bücherei führt.\n"
)
FRENCH = "La bibliothèque a été ouverte hier. L’après-midi, les élèves y ont lu à voix haute.\n"
POLISH = (
    "Wczoraj po południu otwarto nową bibliotekę, na uroczystość przyszło wielu mieszkańców. "
    "Burmistrz powiedział, że będzie to miejsce nauki dla dzieci.\n"
)
# Names of neighbors, as texts of their history have them.
POLISH_WITH_GERMAN = POLISH + (
    "Otworzył ją doktor Günther, a wykład w Kolonii wygłosił profesor Müller, uczeń Wöhlera.\n"
)
SLOVAK_WITH_CZECH = (
    "Na akadémii učil aj profesor Müller. Jej budovy stoja nad mestom dodnes a navštevuje ich veľa "
    "turistov. Český učenec Jiří Dvořák o ňom napísal knihu. Kostol svätej Kataríny postavili v "
    "pätnástom storočí.\n"
)
NORWEGIAN_WITH_NORSE = (
    "Kongen dro til Nidaros, og på norrønt heter han Óláfr, sønn av Haraldr; broren var Guðröðr, "
    "og skalden Sighvatr Þórðarson så båten fra åsen. De gikk over fjellet til Åndalsnes, der "
    "søsteren bodde.\n"
)
# Few different letters, which fit another encoding by accident.
CROATIAN = (
    "Sva ljudska bića rađaju se slobodna i jednaka u dostojanstvu i pravima. Ona su obdarena "
    "razumom i sviješću i trebaju jedna prema drugima postupati u duhu bratstva.\n"
)
HEBREW = "כל בני האדם נולדו בני חורין ושווים בערכם ובזכויותיהם. כולם חוננו בתבונה ובמצפון.\n"
RUSSIAN = "Вчера в центре города открылась новая библиотека. Туда пришло много жителей города.\n"
GREEK = "Χθες το απόγευμα άνοιξε στην πλατεία η νέα βιβλιοθήκη και ήρθαν πολλοί κάτοικοι.\n"
CHINESE = "今天上午，城里的新图书馆开门了。许多孩子和老人都来看书，大家都很高兴。\n"
JAPANESE = (
    "昨日の午後、駅前の広場で新しい図書館が開き、多くの市民が集まりました。子どもも来ました。\n"
)
KOREAN = "어제 오후 역 앞에 새 도서관이 문을 열어 많은 시민이 모였습니다. 아이들도 왔습니다.\n"
SPEECH = "“It was late,” he said – and the door wasn’t shut. Nobody came to the café that night.\n"
LITHUANIAN = (
    "Vakar po pietų mieste atidaryta nauja biblioteka. Į šventę atėjo daugiau kaip šimtas žmonių, "
    "o meras pasakė, kad čia vaikai galės mokytis ir žaisti.\n"
)
LATVIAN = (
    "Vakar pēcpusdienā pilsētā atklāja jaunu bibliotēku. Uz svētkiem atnāca daudz iedzīvotāju, un "
    "mērs teica, ka šeit bērni varēs mācīties, lasīt grāmatas un spēlēties.\n"
)
SLOVAK = (
    "Včera popoludní otvorili v meste novú knižnicu. Na slávnosť prišlo veľa ľudí a starosta "
    "povedal, že tu môžu deti čítať, učiť sa a hrať.\n"
)
HUNGARIAN = (
    "Tegnap délután új könyvtár nyílt a városban. Az ünnepségre sok lakos jött el, és a "
    "polgármester azt mondta, hogy itt a gyerekek tanulhatnak, olvashatnak és játszhatnak. Később "
    "a hűvös szél elől a büfébe mentek sütit enni.\n"
)
ROMANIAN = (
    "Ieri după-amiază s-a deschis în oraş o bibliotecă nouă. La sărbătoare au venit mulţi oameni, "
    "iar primarul a spus că aici copiii pot învăţa, citi şi juca.\n"
)
TURKISH = (
    "Dün öğleden sonra şehirde yeni bir kütüphane açıldı. Törene çok sayıda kişi geldi ve belediye "
    "başkanı çocukların burada okuyacağını, öğreneceğini ve oynayacağını söyledi.\n"
)

FOREIGN = [
    (GERMAN, "latin-1", "cp1252"),
    (GERMAN, "cp1252", "cp1252"),
    (FRENCH, "cp1252", "cp1252"),
    (SPEECH, "cp1252", "cp1252"),
    (POLISH, "cp1250", "cp1250"),
    (POLISH, "iso8859-2", "iso8859-2"),
    (POLISH_WITH_GERMAN, "cp1250", "cp1250"),
    (POLISH_WITH_GERMAN, "iso8859-2", "iso8859-2"),
    (SLOVAK_WITH_CZECH, "cp1250", "cp1250"),
    (NORWEGIAN_WITH_NORSE, "cp1252", "cp1252"),
    (LITHUANIAN, "cp1257", "cp1257"),
    (LITHUANIAN, "iso8859-13", "cp1257"),
    (LATVIAN, "cp1257", "cp1257"),
    (LATVIAN, "iso8859-4", "iso8859-4"),
    (SLOVAK, "cp1250", "cp1250"),
    (SLOVAK, "iso8859-2", "iso8859-2"),
    (HUNGARIAN, "cp1250", "cp1250"),
    (ROMANIAN, "cp1250", "cp1250"),
    (TURKISH, "cp1254", "cp1254"),
    (RUSSIAN, "cp1251", "cp1251"),
    (RUSSIAN, "mac_cyrillic", "mac-cyrillic"),
    (RUSSIAN, "koi8-r", "koi8-r"),
    (GREEK, "cp1253", "cp1253"),
    (CHINESE, "gbk", "gb18030"),
    (CHINESE.translate(str.maketrans("图书馆许开门来兴", "圖書館許開門來興")), "big5", "big5"),
    (JAPANESE, "shift_jis", "cp932"),
    (JAPANESE, "euc_jp", "euc_jp"),
    (JAPANESE, "iso2022_jp", "iso2022_jp_ext"),
    (KOREAN, "euc_kr", "cp949"),
    (JAPANESE + "次は①です。\n", "iso2022_jp_3", "iso2022_jp_3"),
    (JAPANESE + CHINESE, "iso2022_jp_2", "iso2022_jp_2"),
    (KOREAN, "iso2022_kr", "iso2022_kr"),
    (GERMAN, "utf-16", "utf-16"),
    (CHINESE, "utf-16", "utf-16"),
    (CHINESE, "utf-32", "utf-32"),
    (SPEECH.translate(str.maketrans("“”–’", '""-\'')), "utf-16-le", "utf-16-le"),
    (GERMAN, "utf-8-sig", "utf-8"),
]
