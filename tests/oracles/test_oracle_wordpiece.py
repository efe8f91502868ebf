"""Ids and offsets of a WordPiece vocabulary are those of transformers' BertTokenizer."""

import os
import pathlib
import random

import pytest
import word_pieces
from samples import tiny_config

from albert_tf.checkpoints.tokenizer_files import load_tokenizer
from albert_tf.model.language_models import AlbertForPretraining
from albert_tf.pipelines.tokenizer import normalization
from albert_tf.pipelines.tokenizer.tokenization import Tokenizer
from albert_tf.pipelines.tokenizer.wordpiece_vocabulary import WordPieceVocabulary

transformers = pytest.importorskip("transformers")

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.filterwarnings("ignore:::torch"),
    pytest.mark.filterwarnings("ignore:::transformers"),
]

OPTIONS = [
    (True, True, True),
    (False, False, True),
    (True, False, True),
    (False, True, True),
    (True, True, False),
]
SURROGATES = range(0xD800, 0xE000)
CHARACTERS = [chr(code) for code in range(0x110000) if code not in SURROGATES]


def make_both(pieces, options):
    lower_case, strip_accents, split_chinese = options
    theirs = transformers.BertTokenizer(
        vocab={piece: index for index, piece in enumerate(pieces)},
        do_lower_case=lower_case,
        strip_accents=strip_accents,
        tokenize_chinese_chars=split_chinese,
    )
    return Tokenizer.from_word_pieces(WordPieceVocabulary(pieces, *options)), theirs


def encode_theirs(theirs, texts):
    return theirs(
        texts, add_special_tokens=False, split_special_tokens=True, return_offsets_mapping=True
    )


def random_lines(count, seed=1):
    """Lines of letters, emoji, accents, control characters and whatever Unicode has."""
    generator = random.Random(seed)
    pools = [
        CHARACTERS,
        CHARACTERS[:0x3000],
        CHARACTERS[:0x500],
        [chr(code) for code in range(0x1F300, 0x1FA00)],
        [chr(code) for code in range(0xAC00, 0xD7A4)],
        [chr(code) for code in range(0x4E00, 0x9FFF)],
        [chr(code) for code in range(0x20)],
    ]
    common = [*"abc é \t,.的一是", "\u0301", "\u200d", "  "]
    lines = []
    for _ in range(count):
        pool = generator.choice(pools)
        length = generator.randint(1, 60)
        lines.append(
            "".join(generator.choice(generator.choice([pool, common])) for _ in range(length))
        )
    return lines


@pytest.mark.parametrize("options", OPTIONS[:2])
def test_every_character_is_cleaned_up_as_by_bert(options):
    """Between two letters, with a piece for each letter that comes of any."""
    theirs = make_both([*word_pieces.SPECIAL, "a"], options)[1]
    characters = [*CHARACTERS[:0x32000], *CHARACTERS[0x32000::97]]
    normalize = theirs.backend_tokenizer.normalizer.normalize_str
    known = set(normalization.code_points())
    texts, cleaned = [], []
    for character in characters:
        text = f"a{character}a"
        cleaned.append(normalize(text))
        # Capitals that came after Unicode 14 have small letters there and not here.
        is_small = len(cleaned[-1]) == 3 and cleaned[-1][1] not in (" ", character)
        if not is_small or character in known:
            texts.append(text)
    assert len(characters) - len(texts) < 100
    letters = sorted(set("".join(cleaned)) - {" "})
    pieces = [*word_pieces.SPECIAL, *letters, *(f"##{letter}" for letter in letters)]
    ours, theirs = make_both(pieces, options)
    expected = encode_theirs(theirs, texts)["input_ids"]
    differ = [
        text for text, a, b in zip(texts, ours.encode_batch(texts), expected, strict=True) if a != b
    ]
    assert not differ, ascii(differ[:10])


@pytest.mark.parametrize("options", OPTIONS)
def test_ids_and_offsets_of_random_lines_are_those_of_bert(options):
    texts = random_lines(4000)
    texts += ["a" * count for count in (99, 100, 101, 250)] + ["한" * 34, "한" * 33, "é" * 101]
    ours, theirs = make_both(word_pieces.make_pieces(texts[:2000]), options)
    expected = encode_theirs(theirs, texts)
    encoded = ours.encode_batch_with_offsets(texts)
    rows = zip(texts, encoded, expected["input_ids"], expected["offset_mapping"], strict=True)
    accents = set()
    for text, (ids, spans), expected_ids, expected_spans in rows:
        assert ids == expected_ids, ascii(text)
        assert [start for start, _ in spans] == [start for start, _ in expected_spans]
        for (_, end), (_, expected_end) in zip(spans, expected_spans, strict=True):
            accents.add(text[expected_end:end])
    # Our spans hold the accents behind a letter, too, and nothing else.
    assert not any(ours.encode_batch(sorted(accents)))
    assert accents == {""} or options[1]


@pytest.fixture
def chinese_lines():
    """The first 20,000 lines of the Chinese Wikipedia."""
    files = sorted((pathlib.Path(os.environ.get("ALBERT_TF_DATA", "")) / "zhwiki").glob("*_0*"))
    if not files:
        pytest.skip("ALBERT_TF_DATA must name a folder with zhwiki/")
    lines = [line for file in files for line in file.read_text("utf-8").split("\n") if line]
    return lines[:20_000]


@pytest.mark.real_data
def test_ids_of_20000_lines_are_those_of_bert(chinese_lines):
    lines = [*chinese_lines, *random_lines(2000, seed=2)]
    ours, theirs = make_both(word_pieces.make_pieces(chinese_lines), (True, True, True))
    expected = encode_theirs(theirs, lines)["input_ids"]
    encoded = ours.encode_batch(lines)
    assert len(lines) >= 20_000
    differ = [text for text, a, b in zip(lines, encoded, expected, strict=True) if a != b]
    assert not differ, ascii(differ[:3])


@pytest.mark.parametrize("without", ["tokenizer.json", "vocab.txt"])
def test_saved_directory_gives_transformers_the_same_ids(tmp_path, without):
    vocabulary = WordPieceVocabulary(word_pieces.make_pieces(word_pieces.CHINESE), False, True)
    ours = Tokenizer.from_word_pieces(vocabulary)
    model = AlbertForPretraining(tiny_config(vocab_size=ours.vocab_size, hidden_act="relu"))
    model.save_pretrained(tmp_path / "model", ours)
    (tmp_path / "model" / without).unlink()
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "model")
    for text in (*word_pieces.CHINESE, "CAFÉ café"):
        assert theirs(text)["input_ids"] == [ours.cls_id, *ours.encode(text), ours.sep_id]
    theirs.save_pretrained(tmp_path / "theirs")
    again = load_tokenizer(tmp_path / "theirs")
    assert again.vocabulary == vocabulary
