"""WordPiece gives BERT's pieces, and the characters that they stand for, in Python and graphs."""

import pickle

import keras
import numpy as np
import pytest
import tensorflow as tf
import word_pieces

from albert_tf.pipelines.tokenizer.tokenization import Tokenizer
from albert_tf.pipelines.tokenizer.wordpiece_vocabulary import WordPieceVocabulary

PIECES = [
    *word_pieces.SPECIAL,
    *"你好世界un,.!é",
    *("un", "##aff", "##able", "##ab", "hello", "cafe", "Hello", "##o", "##a", "a", "##\u1161"),
    *("\u1100", "[", "]", "mask", "##ing"),
]
TEXTS = [
    "你好，世界! unaffable",
    "  Hello\tCafé.\n",
    "a\u0301a\u200dao",
    "",
    "\u0301",
    "[MASK] [UNK]",
    "x\u2028你\u3000好 가",
]


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer.from_word_pieces(WordPieceVocabulary(PIECES))


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("unaffable", ["un", "##aff", "##able"]),
        ("unaffabl", ["[UNK]"]),  # a word of which the end is unknown is unknown as a whole
        ("你好世界", ["你", "好", "世", "界"]),
        ("hello你hello", ["hello", "你", "hello"]),
        ("HELLO, Café!", ["hello", ",", "cafe", "!"]),
        ("cafe\u0301", ["cafe"]),
        ("he\u0000ll\u200do\ufffd", ["hello"]),  # control characters part no words
        ("a\u3000a\u2028a\ta", ["a"] * 4),
        ("\uac00", ["\u1100", "##\u1161"]),  # NFD takes syllables apart
        ("[MASK]", ["[", "mask", "]"]),
        ("", []),
    ],
)
def test_pieces_are_those_of_bert(tokenizer, text, pieces):
    assert tokenizer.tokenize(text) == pieces


def test_cased_vocabulary_keeps_capitals_and_accents():
    cased = Tokenizer.from_word_pieces(WordPieceVocabulary(PIECES, False, False))
    assert cased.tokenize("Hello é hello") == ["Hello", "é", "hello"]
    assert cased.tokenize("HELLO cafe\u0301") == ["[UNK]", "[UNK]"]


def test_chinese_characters_stay_together_where_they_are_not_split():
    pieces = [*word_pieces.SPECIAL, "你好", "你"]
    together = Tokenizer.from_word_pieces(WordPieceVocabulary(pieces, split_chinese=False))
    assert together.tokenize("你好 你") == ["你好", "你"]
    assert Tokenizer.from_word_pieces(WordPieceVocabulary(pieces)).tokenize("你好") == [
        "你",
        "[UNK]",
    ]


@pytest.mark.parametrize("letter", ["a", "é"])
def test_word_is_unknown_from_101_characters_on_whatever_their_bytes(letter):
    pieces = [*word_pieces.SPECIAL, letter, f"##{letter}"]
    tokenizer = Tokenizer.from_word_pieces(WordPieceVocabulary(pieces, True, False))
    assert len(tokenizer.encode(letter * 100)) == 100
    assert tokenizer.encode_with_offsets(f"a {letter * 101}")[1][-1] == (2, 103)
    assert tokenizer.encode(letter * 101) == [tokenizer.unk_id]


def test_offsets_are_the_characters_as_they_were_written(tokenizer):
    text = "  Unaffable CAFE\u0301, 가 xyz\u200d你"
    ids, spans = tokenizer.encode_with_offsets(text)
    written = [text[start:end] for start, end in spans]
    assert written == ["Un", "aff", "able", "CAFE\u0301", ",", "가", "가", "xyz", "你"]
    assert ids == tokenizer.encode(text)
    # Each text has places of its own, and a mark that begins one belongs to no other.
    rows = tokenizer.encode_batch_with_offsets(["a", "\u0301a", "", "a"])
    assert [spans for _, spans in rows] == [[(0, 1)], [(1, 2)], [], [(0, 1)]]


def test_ids_are_the_same_in_python_in_data_and_after_export(tokenizer, tmp_path):
    expected = tokenizer.encode_batch(TEXTS)
    dataset = tf.data.Dataset.from_tensor_slices(TEXTS).batch(3).map(tokenizer.encode_ragged)
    assert [row for batch in dataset for row in batch.to_list()] == expected
    module = tf.Module()
    module.tokenizer = tokenizer
    module.encode = tf.function(
        lambda texts: (
            tokenizer.encode_ragged(texts).to_tensor(),
            tokenizer.engine.encode_with_offsets(texts)[1],
        ),
        [tf.TensorSpec([None], tf.string)],
    )
    tf.saved_model.save(module, tmp_path / "export")
    ids, starts = tf.saved_model.load(tmp_path / "export").encode(tf.constant(TEXTS))
    for row, expected_row in zip(ids.numpy().tolist(), expected, strict=True):
        assert row[: len(expected_row)] == expected_row
    spans = [span for _, spans in tokenizer.encode_batch_with_offsets(TEXTS) for span in spans]
    assert starts.numpy().tolist() == [start for start, _ in spans]


@pytest.mark.slow
def test_ids_outlast_a_cleared_session_and_a_pickle(tokenizer):
    expected = tokenizer.encode_batch(TEXTS)
    copy = pickle.loads(pickle.dumps(tokenizer))
    keras.backend.clear_session()
    assert tokenizer.encode_batch(TEXTS) == copy.encode_batch(TEXTS) == expected
    assert copy.fingerprint == tokenizer.fingerprint


def test_bytes_that_are_no_text_and_lone_surrogates_vanish(tokenizer):
    assert tokenizer.tokenize(b"a \xff\xfe a") == tokenizer.tokenize("a \ud800 a") == ["a", "a"]


def test_special_pieces_are_taken_from_text_on_request_alone(tokenizer):
    text = "你[MASK]ing[SEP]"
    assert tokenizer.tokenize(text, allow_special=True) == ["你", "[MASK]", "[UNK]", "[SEP]"]
    assert tokenizer.mask_id not in tokenizer.encode(text)
    _, spans = tokenizer.encode_with_offsets(text, allow_special=True)
    assert spans == [(0, 1), (1, 7), (7, 10), (10, 15)]


def test_ids_become_text_with_words_apart(tokenizer):
    ids = tokenizer.encode("你好, unaffable 龘")
    assert tokenizer.decode(ids) == "你 好 , unaffable [UNK]"
    assert tokenizer.decode([tokenizer.cls_id, *ids[:1], tokenizer.pad_id]) == "你"
    assert tokenizer.decode([tokenizer.mask_id, ids[0]], skip_special=False) == "[MASK] 你"


def test_word_begins_where_a_piece_has_no_mark_of_continuation(tokenizer):
    starts = dict(zip(tokenizer.pieces, tokenizer.word_start.tolist(), strict=True))
    assert starts["你"] and starts["un"] and starts[","] and starts["[UNK]"]
    assert not starts["##aff"]
    assert tokenizer.word_start.dtype == np.bool_
