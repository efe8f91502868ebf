"""A WordPiece vocabulary is read from its files, and refused in words where it is none."""

import json

import pytest
import word_pieces

from albert_tf.checkpoints.tokenizer_files import load_tokenizer
from albert_tf.pipelines.tokenizer import wordpiece_vocabulary
from albert_tf.pipelines.tokenizer.tokenization import Tokenizer
from albert_tf.pipelines.tokenizer.wordpiece_vocabulary import WordPieceVocabulary

PIECES = [*word_pieces.SPECIAL, "a", "##a", "\u2028", "b"]
VOCAB_TXT = "".join(f"{piece}\n" for piece in PIECES)


def read(text, **options):
    return wordpiece_vocabulary.from_vocab_txt(text.encode(), "vocab.txt", **options)


@pytest.mark.parametrize(
    "text",
    [
        VOCAB_TXT,
        VOCAB_TXT[:-1],
        VOCAB_TXT.replace("\n", "\r\n"),
        VOCAB_TXT.replace("\n", "\r\n")[:-2],
        "\ufeff" + VOCAB_TXT,
        VOCAB_TXT.replace("\n", " \n"),
        VOCAB_TXT.replace("\n", "\t\r\n"),
        VOCAB_TXT + "\n\r\n \n",
    ],
)
def test_each_line_is_a_piece_whatever_ends_it(text):
    assert read(text).pieces == PIECES


def test_empty_line_keeps_its_id_and_is_no_piece_of_a_text():
    pieces = [*word_pieces.SPECIAL, "", "a", "##a", "巴"]
    vocabulary = read("".join(f"{piece}\n" for piece in pieces))
    assert vocabulary.pieces == pieces
    tokenizer = Tokenizer.from_word_pieces(vocabulary)
    assert tokenizer.encode("aa 巴  x") == [6, 7, 8, 1]


def test_the_size_of_googles_chinese_vocabulary_with_unused_pieces_is_read_in_order():
    letters = [chr(0x4E00 + number) for number in range(21_128 - 104)]
    pieces = ["[PAD]", *(f"[unused{n}]" for n in range(1, 100)), *word_pieces.SPECIAL[1:], *letters]
    tokenizer = Tokenizer.from_word_pieces(read("\n".join(pieces)))
    assert tokenizer.vocab_size == 21_128 and (tokenizer.pad_id, tokenizer.cls_id) == (0, 101)
    assert tokenizer.tokenize(letters[-1] + "[unused1]") == [letters[-1], *["[UNK]"] * 3]


def test_upper_case_vocabulary_is_read_in_small_letters_where_the_directory_says_so(tmp_path):
    """As BertTokenizer has it: what then finds no piece is unknown."""
    (tmp_path / "vocab.txt").write_text("\n".join([*word_pieces.SPECIAL, "NBA", "巴"]))
    for lower_case, ids in ((True, [1, 6]), (False, [5, 6])):
        (tmp_path / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": lower_case}))
        assert load_tokenizer(tmp_path).encode("NBA巴") == ids


def test_capitals_that_no_text_will_have_are_pointed_out_where_nobody_said_so(caplog):
    pieces = [*word_pieces.SPECIAL, *"ABCDEFabcdef"]
    content = "\n".join(pieces).encode()
    wordpiece_vocabulary.from_vocab_txt(content, "v.txt", lower_case=True)
    wordpiece_vocabulary.from_vocab_txt(content, "v.txt", False)
    assert not caplog.records
    wordpiece_vocabulary.from_vocab_txt(content, "v.txt")
    assert "v.txt: 6 of 12 pieces have capitals" in caplog.text


def test_options_default_to_those_of_bert():
    plain, cased = read(VOCAB_TXT), read(VOCAB_TXT, lower_case=False)
    assert (plain.lower_case, plain.strip_accents, plain.split_chinese) == (True, True, True)
    assert (cased.lower_case, cased.strip_accents, cased.split_chinese) == (False, False, True)
    assert not read(VOCAB_TXT, strip_accents=False).strip_accents


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (VOCAB_TXT.replace("[SEP]\n", "").encode(), r"Missing: \[SEP\]"),
        (b"a\nb\n", r"Missing: \[PAD\], \[UNK\], \[CLS\], \[SEP\], \[MASK\]"),
        (b"", r"Missing: \[PAD\]"),
        ((VOCAB_TXT + "a\n").encode(), r"Received: 'a' as line 6 and 10"),
        ((VOCAB_TXT + "a \n").encode(), r"Received: 'a' as line 6 and 10"),
        (VOCAB_TXT.replace("##a", "\n").encode(), r"Received: '' as line 7 and 8"),
        (VOCAB_TXT.replace("[MASK]\n", "").encode(), r"Missing: \[MASK\]"),
        (VOCAB_TXT.encode("utf-16"), "UTF-8"),
        ((VOCAB_TXT + "c\0\n").encode(), "line 10 must be a text of .* without zeros"),
        ((VOCAB_TXT + "巴" * 86 + "\n").encode(), r"line 10 must be .* at most 256 .*, 258 bytes"),
        (VOCAB_TXT.encode() + "é\n".encode("latin-1"), "in line 10"),
    ],
)
def test_what_is_no_vocabulary_is_refused_with_file_and_line(tmp_path, content, message):
    path = tmp_path / "vocab.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as refused:
        Tokenizer(path)
    assert str(refused.value).startswith(str(path))


def test_saved_vocabulary_comes_back_with_its_options(tmp_path):
    vocabulary = WordPieceVocabulary(PIECES, True, False, False, max_word_characters=7)
    tokenizer = Tokenizer.from_word_pieces(vocabulary)
    tokenizer.save(tmp_path / "vocab.model")
    loaded = Tokenizer(tmp_path / "vocab.model")
    assert loaded.vocabulary == vocabulary
    assert loaded.fingerprint == tokenizer.fingerprint
    with pytest.raises(ValueError, match="has strip_accents=False. Received: True"):
        Tokenizer(tmp_path / "vocab.model", strip_accents=True)


def test_vocab_txt_comes_back_as_it_was():
    assert read(VOCAB_TXT).vocab_txt == VOCAB_TXT.encode()


def test_options_are_part_of_the_fingerprint():
    fingerprints = {
        Tokenizer.from_word_pieces(WordPieceVocabulary(PIECES, *options)).fingerprint
        for options in ((True, True), (True, False), (False, False))
    }
    assert len(fingerprints) == 3


@pytest.mark.parametrize(
    ("part", "key", "value", "message"),
    [
        ("model", "type", "BPE", "`model` must be 'WordPiece'"),
        ("model", "unk_token", "<unk>", "`unk_token` must be '\\[UNK\\]'"),
        ("model", "max_input_chars_per_word", "9", "`max_input_chars_per_word` must be a number"),
        ("model", "vocab", {"a": 1}, "must be 0 to 0"),
        ("model", "vocab", {"a": 0}, "Missing: "),
        ("model", "vocab", None, "WordPiece vocabulary"),
        ("model", "vocab", {**WordPieceVocabulary(PIECES).ids, "\ud800": 9}, "piece 9"),
        ("normalizer", "type", "NFKC", "`normalizer` must be 'BertNormalizer'"),
        ("normalizer", "lowercase", "False", "`lowercase` must be true or false"),
        ("normalizer", "clean_text", False, "`clean_text` must be True"),
        ("pre_tokenizer", "type", "Whitespace", "`pre_tokenizer` must be 'BertPreTokenizer'"),
    ],
)
def test_other_tokenizer_files_are_refused_by_name(part, key, value, message):
    values = json.loads(WordPieceVocabulary(PIECES).model_bytes)
    values[part][key] = value
    with pytest.raises(ValueError, match=message) as refused:
        wordpiece_vocabulary.from_tokenizer_json(values, "tokenizer.json")
    assert str(refused.value).startswith("tokenizer.json")
