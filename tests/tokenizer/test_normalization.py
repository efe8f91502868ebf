import random
import sys
import unicodedata

import pytest
import sentencepiece

from albert_tf.pipelines.tokenizer import model_proto, normalization

OPTIONS = [(True, True), (True, False), (False, True), (False, False)]

ODD_CHARACTERS = (
    "abcXYZ 0,.'-ÉéßİŒœΔОΩ½²ﬁﬃＡ！①🄁〜ऩড়ொが\u0301\u0308\u0327\u200d\u200b\u00ad\ufeff\t\n"
)


def stock_spec():
    normalizer = sentencepiece.SentencePieceNormalizer(rule_name="nmt_nfkc")
    return normalizer.serialized_normalizer_spec()


def replacer(spec_bytes):
    return sentencepiece.SentencePieceNormalizer(
        normalizer_spec=spec_bytes,
        add_dummy_prefix=False,
        escape_whitespaces=False,
        remove_extra_whitespaces=False,
    )


def collapse(text):
    return " ".join(part for part in text.split(" ") if part)


@pytest.fixture(scope="module")
def stock():
    return replacer(stock_spec())


@pytest.fixture(scope="module", params=OPTIONS, ids=str)
def options(request):
    return request.param


@pytest.fixture(scope="module")
def compiled(options):
    return replacer(normalization.build_in_clean_up(stock_spec(), *options))


def test_clean_up_follows_the_original_by_hand():
    assert normalization.clean_up("  The\t Café\u2003ﬁne ") == "the cafe fine"
    assert normalization.clean_up("½ Ａ İ") == "1⁄2 a i"
    assert normalization.clean_up("Straße ΟΔΟΣ") == "straße οδος"


def test_clean_up_options_by_hand():
    assert normalization.clean_up(" Café ", lower_case=False) == "Cafe"
    assert normalization.clean_up(" Café ", strip_accents=False) == "café"
    assert normalization.clean_up(" Café ", False, False) == "Café"


def test_white_space_is_what_python_splits_at():
    spaces = [chr(i) for i in range(sys.maxunicode + 1) if chr(i).isspace()]
    normalizer = replacer(normalization.build_in_clean_up(stock_spec(), True, True))
    assert len(spaces) == 29
    assert set(normalizer.normalize(spaces)) == {" "}


def test_every_single_character_is_replaced_as_the_original_would(options, compiled, stock):
    # Every character that the table may change, and a thirteenth of all others. Those assigned
    # after Unicode 14, which the table leaves alone on purpose, are not among the first.
    known = normalization.code_points()
    others = (chr(i) for i in range(0, sys.maxunicode + 1, 13) if not 0xD800 <= i < 0xE000)
    if unicodedata.unidata_version == "14.0.0":
        characters = [*known, *(c for c in others if unicodedata.category(c) != "Cn")]
    else:
        characters = known
    expected = stock.normalize([normalization.clean_up(c, *options) for c in characters])
    found = compiled.normalize(characters)
    wrong = [
        c
        for c, ours, theirs in zip(characters, found, expected, strict=True)
        if collapse(ours) != collapse(theirs)
    ]
    assert wrong == []


def test_random_strings_are_replaced_as_the_original_would(options, compiled, stock):
    random_source = random.Random(0)
    known = normalization.code_points()
    for _ in range(3000):
        text = "".join(
            random_source.choice(ODD_CHARACTERS if random_source.random() < 0.6 else known)
            for _ in range(random_source.randint(1, 12))
        ).replace("Σ", "")
        if any("\u1100" <= c <= "\u11ff" for c in unicodedata.normalize("NFKD", text)):
            continue  # The next test is about Hangul.
        expected = stock.normalize(normalization.clean_up(text, *options))
        assert collapse(compiled.normalize(text)) == collapse(expected), ascii(text)


@pytest.mark.parametrize(
    "text", ["한글", unicodedata.normalize("NFD", "한글각"), "ㄱㅏ", "각", "ㄱㅏㄴㅏ", "ㅋㅋㅋㅠㅠ"]
)
def test_spelled_out_hangul_is_composed_as_the_original_would(text, compiled, stock, options):
    assert compiled.normalize(text) == stock.normalize(normalization.clean_up(text, *options))


def test_only_the_final_sigma_of_lower_casing_depends_on_its_neighbours():
    normalizer = replacer(normalization.build_in_clean_up(stock_spec(), True, True))
    assert normalization.clean_up("ΟΔΟΣ") == "οδος"
    assert normalizer.normalize("ΟΔΟΣ") == "οδοσ"


def test_build_in_clean_up_names_the_normaliser_and_gives_the_same_bytes():
    names = set()
    for options in OPTIONS[::2]:
        spec_bytes = normalization.build_in_clean_up(stock_spec(), *options)
        normalization._build_in_clean_up.cache_clear()
        assert normalization.build_in_clean_up(stock_spec(), *options) == spec_bytes
        spec = model_proto.NormalizerSpec.FromString(spec_bytes)
        assert spec.name == normalization.NORMALIZER_NAMES[options]
        assert spec.remove_extra_whitespaces and spec.add_dummy_prefix and spec.escape_whitespaces
        names.add(spec.name)
    assert len(names) == 2


def test_a_normaliser_of_someones_own_is_kept_behind_the_clean_up():
    own = sentencepiece.SentencePieceNormalizer(norm_map=[("b", "x"), ("cd", "y"), ("☃", "snow")])
    spec = model_proto.NormalizerSpec.FromString(own.serialized_normalizer_spec())
    spec.name = "user_defined"
    normalizer = replacer(
        normalization.build_in_clean_up(spec.SerializeToString(deterministic=True), True, True)
    )
    assert normalizer.normalize("AB☃") == "axsnow"
    assert normalizer.normalize("cd") == "y"
