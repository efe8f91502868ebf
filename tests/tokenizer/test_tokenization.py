import hashlib
import json
import os
import pathlib
import pickle
import subprocess
import sys

import keras
import numpy as np
import pytest
import sentencepiece
import tensorflow as tf
from samples import VOCABULARY

from albert_tf.pipelines.tokenizer import model_proto, normalization
from albert_tf.pipelines.tokenizer.tokenization import Tokenizer

PIECE = model_proto.SentencePiece

TEXTS = [
    "The old mill stood at the end of the lane.",
    "  In 2000,\tthe Café cost £3.50 (or more) –  said he ",
    "",
    " \n\u3000 ",
    "cafe\u0301 ﬁne oﬃce ，２０００， 😀 中文 ½ 🄁 İstanbul Straße",
    "[CLS] [MASK] <pad> <unk> [SEP]",
    "a\0b \ufeff\u200b \u200d",
    "1,234,567, 19, 2014,",
]


def stock_model():
    """The test vocabulary as a model that SentencePiece itself made would be."""
    model = model_proto.ModelProto.FromString(VOCABULARY.read_bytes())
    stock = sentencepiece.SentencePieceNormalizer(rule_name="nmt_nfkc")
    model.normalizer_spec.ParseFromString(stock.serialized_normalizer_spec())
    model.normalizer_spec.add_dummy_prefix = True
    model.normalizer_spec.remove_extra_whitespaces = True
    model.normalizer_spec.escape_whitespaces = True
    return model


def with_pieces(pieces, score=-1.0):
    """The test vocabulary with more pieces, which win against any other split of the text."""
    model = model_proto.ModelProto.FromString(VOCABULARY.read_bytes())
    known = {piece.piece: piece for piece in model.pieces}
    for piece in pieces:
        if piece in known:
            known[piece].score = score
        else:
            model.pieces.add(piece=piece, score=score, type=PIECE.NORMAL)
    return model.SerializeToString(deterministic=True)


@pytest.fixture(scope="module")
def comma_tokenizer():
    return Tokenizer.from_model_bytes(
        with_pieces(["2,", "▁2000,", "▁2000", "200", "▁2", "000,", "000", "▁000", "9,"])
    )


# Ids.


def test_special_ids_are_the_originals(tokenizer):
    assert tokenizer.pieces[:13] == [
        *("<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"),
        *("(", ")", '"', "-", ".", "–", "£", "€"),
    ]
    ids = tokenizer.pad_id, tokenizer.unk_id, tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id
    assert ids == (0, 1, 2, 3, 4)
    assert tokenizer.vocab_size == len(tokenizer.pieces) == 340
    assert tokenizer.id_to_piece(13) == "▁"
    assert tokenizer.piece_to_id("▁the") == tokenizer.pieces.index("▁the")
    assert tokenizer.piece_to_id("nonsuch") == 1


def test_id_to_piece_refuses_ids_outside_the_vocabulary(tokenizer):
    for index in (-1, 340):
        with pytest.raises(ValueError, match=rf"\[0, 340\). Received: {index}"):
            tokenizer.id_to_piece(index)


def test_text_is_cleaned_before_it_is_split(tokenizer):
    plain = tokenizer.tokenize("the mill was sold")
    assert plain == ["▁the", "▁mill", "▁wa", "s", "▁sold"]
    assert tokenizer.tokenize(" The\u3000MILL\n\n wäs ＳＯＬＤ\t") == plain


def test_ids_are_the_same_in_python_eagerly_in_a_graph_and_in_tf_data(tokenizer):
    expected = tokenizer.encode_batch(TEXTS)
    assert [tokenizer.encode(text) for text in TEXTS] == expected
    assert tokenizer.encode_ragged(tf.constant(TEXTS)).to_list() == expected
    assert tf.function(tokenizer.encode_ragged)(tf.constant(TEXTS)).to_list() == expected
    dataset = tf.data.Dataset.from_tensor_slices(TEXTS).batch(3).map(tokenizer.encode_ragged)
    assert [ids for batch in dataset for ids in batch.to_list()] == expected
    ids, row_splits = tokenizer.encode_flat(TEXTS)
    assert ids.dtype == np.int32 and row_splits.dtype == np.int64
    assert [part.tolist() for part in np.split(ids, row_splits[1:-1])] == expected
    assert [ids for ids, _ in tokenizer.encode_batch_with_offsets(TEXTS)] == expected


def test_tokenizers_outlive_clear_session():
    made = Tokenizer(VOCABULARY)
    dataset = tf.data.Dataset.from_tensors(["A fine film."]).map(made.encode_ragged)
    in_graph = tf.function(made.encode_ragged)
    expected = made.encode("A fine film.")
    assert in_graph(tf.constant(["A fine film."])).to_list() == [expected]
    keras.backend.clear_session()
    assert made.encode("A fine film.") == expected
    assert in_graph(tf.constant(["A fine film."])).to_list() == [expected]
    assert next(iter(dataset)).to_list() == [expected]
    assert made.encode_with_offsets("A fine film.")[0] == expected


def test_encode_ragged_gives_int32_and_takes_ragged_text(tokenizer):
    ragged = tokenizer.encode_ragged(tf.ragged.constant([["the mill", "it"], [], ["was"]]))
    assert ragged.dtype == tf.int32
    assert ragged.to_list() == [
        tokenizer.encode_batch(["the mill", "it"]),
        [],
        [tokenizer.encode("was")],
    ]
    with pytest.raises(ValueError, match=r"shape \[B\], or ragged. Received shape: \(\)"):
        tokenizer.encode_ragged(tf.constant("the mill"))


def test_a_stock_model_gets_the_clean_up_when_it_is_loaded(tokenizer, tmp_path):
    path = tmp_path / "stock.model"
    path.write_bytes(stock_model().SerializeToString())
    loaded = Tokenizer(path)
    assert loaded.encode_batch(TEXTS) == tokenizer.encode_batch(TEXTS)
    assert loaded.fingerprint == hashlib.sha256(loaded.model_bytes).hexdigest()
    assert Tokenizer(str(path)).fingerprint == loaded.fingerprint
    # What it now holds needs no second time.
    assert Tokenizer.from_model_bytes(loaded.model_bytes).model_bytes == loaded.model_bytes


def test_ids_follow_the_originals_rules_in_plain_python(tmp_path):
    """Clean-up in Python and the library with the untouched model, on texts without ties."""
    path = tmp_path / "stock.model"
    path.write_bytes(stock_model().SerializeToString())
    library = sentencepiece.SentencePieceProcessor(model_file=str(path))
    tokenizer = Tokenizer(path)
    for text in TEXTS[:-1]:
        assert tokenizer.encode(text) == library.encode(normalization.clean_up(text)), text


@pytest.mark.slow
def test_cased_and_accented_text_is_kept_where_asked(tmp_path):
    path = tmp_path / "stock.model"
    path.write_bytes(stock_model().SerializeToString())
    library = sentencepiece.SentencePieceProcessor(model_file=str(path))
    text = "The Café, THE MILL"
    for lower_case, strip_accents in [(False, True), (True, False), (False, False)]:
        tokenizer = Tokenizer(path, lower_case=lower_case, strip_accents=strip_accents)
        assert (tokenizer.lower_case, tokenizer.strip_accents) == (lower_case, strip_accents)
        cleaned = normalization.clean_up(text, lower_case, strip_accents)
        assert tokenizer.encode(text) == library.encode(cleaned)


def test_a_built_in_clean_up_is_kept_and_another_one_refused(tokenizer):
    assert tokenizer.model_bytes == VOCABULARY.read_bytes()
    assert (tokenizer.lower_case, tokenizer.strip_accents) == (True, True)
    Tokenizer(VOCABULARY, lower_case=True, strip_accents=True)
    with pytest.raises(ValueError, match="built with lower_case=True.* Received: lower_case=False"):
        Tokenizer(VOCABULARY, lower_case=False)


# The digit-comma rule.


def test_pieces_that_end_in_digit_and_comma_are_taken_apart(comma_tokenizer):
    assert comma_tokenizer.tokenize("2000,") == ["▁2000", ","]
    # What is encoded anew stands inside a word: "2" and "000", not "▁2" and "▁000".
    assert comma_tokenizer.tokenize("2,000,") == ["▁", "2", ",", "000", ","]
    assert comma_tokenizer.tokenize("a9,") == ["▁a", "9", ","]


def test_a_number_that_loses_its_word_boundary_and_is_no_piece_becomes_unknown():
    model = with_pieces(["▁000", "000,"])
    tokenizer = Tokenizer.from_model_bytes(model)
    assert tokenizer.tokenize("a000,") == ["▁a", "<unk>", ","]


def test_digit_commas_are_taken_apart_in_the_graph_too(comma_tokenizer):
    texts = ["In 2000, a9, b", "", "2,000,", "none"]
    encode = tf.function(comma_tokenizer.encode_ragged)
    assert encode(tf.constant(texts)).to_list() == comma_tokenizer.encode_batch(texts)
    ids, row_splits = comma_tokenizer.encode_flat(texts)
    assert row_splits[-1] == len(ids)
    assert comma_tokenizer.pieces[ids[row_splits[3] - 1]] == ","


def test_digit_comma_offsets_give_the_comma_its_own_span(comma_tokenizer):
    for text in ["In 2000, x", "In 2,000, x", "In ２０００， x"]:
        ids, spans = comma_tokenizer.encode_with_offsets(text)
        assert ids == comma_tokenizer.encode(text)
        pieces = [comma_tokenizer.pieces[i] for i in ids]
        assert {text[slice(*span)] for p, span in zip(pieces, spans, strict=True) if p == ","} <= {
            ",",
            "，",
        }
        written = "".join(text[slice(*span)] for span in spans)
        assert written == text.replace(" ", "")


# Offsets.


def spans_of(tokenizer, text, **options):
    ids, spans = tokenizer.encode_with_offsets(text, **options)
    assert ids == tokenizer.encode(text, **options)
    pairs = zip(ids, spans, strict=True)
    return [(tokenizer.pieces[i], text[start:end]) for i, (start, end) in pairs]


def test_offsets_cover_the_raw_text_without_the_space_before_it(tokenizer):
    assert spans_of(tokenizer, "  The  MILL \twas\u3000sold. ") == [
        ("▁the", "The"),
        ("▁mill", "MILL"),
        ("▁wa", "wa"),
        ("s", "s"),
        ("▁sold", "sold"),
        (".", "."),
    ]


def test_offsets_keep_accents_with_their_letter(tokenizer):
    text = "a\u0301t ÁT"
    spans = tokenizer.encode_with_offsets(text)[1]
    assert "".join(text[start:end] for start, end in spans) == "a\u0301tÁT"


def test_pieces_out_of_one_character_share_its_span(tokenizer):
    model = with_pieces(["▁of", "fi", "ce", "▁f", "i"], score=-0.1)
    pairs = spans_of(Tokenizer.from_model_bytes(model), "oﬃce")
    assert pairs == [("▁of", "oﬃ"), ("fi", "ﬃ"), ("ce", "ce")]
    assert [text for _, text in spans_of(tokenizer, "🄁")][-2:] == ["🄁", "🄁"]
    model = with_pieces(["▁20", "°", "ck", "g"], score=-0.1)
    pairs = spans_of(Tokenizer.from_model_bytes(model), "20℃㎏")
    assert pairs == [("▁20", "20"), ("°", "℃"), ("ck", "℃㎏"), ("g", "㎏")]


def test_an_unknown_piece_takes_nothing_of_a_character_with_a_longer_replacement(tokenizer):
    for text in ("a 😀… so", "a 😀½ so", "a ☃ﬁne"):
        assert spans_of(tokenizer, text)[2] == ("<unk>", text[2])


def test_a_lone_word_boundary_has_an_empty_span_before_what_follows(tokenizer):
    assert spans_of(tokenizer, 'a "😀')[1:] == [("▁", ""), ('"', '"'), ("<unk>", "😀")]
    assert tokenizer.encode_with_offsets('a "')[1] == [(0, 1), (2, 2), (2, 3)]


@pytest.mark.parametrize("text", TEXTS)
def test_offsets_ascend_and_cover_all_that_is_not_space(tokenizer, text):
    ids, spans = tokenizer.encode_with_offsets(text)
    assert len(ids) == len(spans)
    covered = set()
    for start, end in spans:
        assert 0 <= start <= end <= len(text)
        covered.update(range(start, end))
    assert spans == sorted(spans)
    replacements = tokenizer.engine.replacements
    for index, character in enumerate(text):
        if replacements.of_character(character).strip():
            assert index in covered, (index, character)


def test_offsets_need_text(tokenizer):
    with pytest.raises(TypeError, match="Received: bytes"):
        tokenizer.encode_with_offsets(b"the")


# Special pieces in text.


def test_special_pieces_never_come_from_text_by_accident(tokenizer):
    ids = tokenizer.encode("[CLS] the [MASK] mill [SEP] <pad>[MASK]")
    assert not {0, 2, 3, 4} & set(ids)
    in_graph = tokenizer.encode_ragged(tf.constant(["[MASK]"])).to_list()[0]
    assert 4 not in in_graph


def test_special_pieces_become_their_ids_where_allowed(tokenizer):
    assert tokenizer.tokenize("[CLS]The [MASK] mill[SEP] it", allow_special=True) == [
        *("[CLS]", "▁the", "[MASK]", "▁mill", "[SEP]", "▁it"),
    ]
    assert tokenizer.encode("[MASK][MASK]", allow_special=True) == [4, 4]
    assert tokenizer.encode_batch(["the", "[MASK]"], allow_special=True) == [
        tokenizer.encode("the"),
        [4],
    ]
    # Lower case is no special piece.
    assert 4 not in tokenizer.encode("[mask]", allow_special=True)


def test_text_right_behind_a_mask_continues_the_word(tokenizer):
    assert tokenizer.tokenize("the [MASK].", allow_special=True) == ["▁the", "[MASK]", "."]
    assert tokenizer.tokenize("the [MASK]s it", allow_special=True) == [
        *("▁the", "[MASK]", "s", "▁it"),
    ]


def test_offsets_with_special_pieces_refer_to_the_whole_text(tokenizer):
    assert spans_of(tokenizer, "The  [MASK]s MILL [SEP]it.", allow_special=True) == [
        ("▁the", "The"),
        ("[MASK]", "[MASK]"),
        ("s", "s"),
        ("▁mill", "MILL"),
        ("[SEP]", "[SEP]"),
        ("▁it", "it"),
        (".", "."),
    ]


# Odd text.


def test_empty_text_and_white_space_have_no_pieces(tokenizer):
    assert tokenizer.encode_batch(["", " ", "\n\t\u2003"]) == [[], [], []]
    assert tokenizer.encode_batch([]) == []
    assert tokenizer.encode_batch_with_offsets([]) == []
    ids, row_splits = tokenizer.encode_flat([])
    assert ids.shape == (0,) and row_splits.tolist() == [0]
    assert tokenizer.encode_ragged(tf.constant([], tf.string)).to_list() == []


def test_bytes_that_are_not_utf8_are_unknown_characters_everywhere(tokenizer):
    broken = [b"the \xff\xfe mill", b"\xc3", b"\xe2\x96"]
    expected = tokenizer.encode_ragged(tf.constant(broken)).to_list()
    assert expected[0] == tokenizer.encode("the") + [13, 1] + tokenizer.encode("mill")
    assert tokenizer.encode_batch(broken) == expected


def test_a_lone_surrogate_is_no_error(tokenizer):
    assert tokenizer.encode("\ud800 the") == tokenizer.encode("\ufffd the")
    assert tokenizer.encode_with_offsets("\ud800 the")[1] == [(2, 5)]
    # Beside a letter of several bytes, whose characters are looked at one by one.
    spans = tokenizer.encode_with_offsets("caf\u00e9 the\ud800")[1]
    assert spans == tokenizer.encode_with_offsets("caf\u00e9 the\ufffd")[1]


def test_very_long_text_without_a_space_is_encoded_whole(tokenizer):
    assert tokenizer.decode(tokenizer.encode("a" * 300_000)) == "a" * 300_000


def test_one_string_where_many_are_expected_is_an_error(tokenizer):
    with pytest.raises(TypeError, match="Received one str"):
        tokenizer.encode_batch("the mill")
    with pytest.raises(TypeError, match="Received: int"):
        tokenizer.encode_flat([3])


# Ids to text.


def test_decode_gives_readable_text(tokenizer):
    text = "the old mill, (in 1999) cost £3.50 – or more."
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.decode(np.array(tokenizer.encode("  The\nMILL "))) == "the mill"
    assert tokenizer.decode([]) == ""


def test_decode_leaves_special_pieces_out_or_shows_them(tokenizer):
    ids = tokenizer.encode("[CLS] the [MASK] mill 😀.[SEP]", allow_special=True) + [0, 0]
    assert tokenizer.decode(ids) == "the mill ⁇ ."
    shown = tokenizer.decode(ids, skip_special=False)
    assert shown == "[CLS] the [MASK] mill ⁇ . [SEP] <pad> <pad>"


# Word starts.


def test_word_starts_follow_the_originals_masking_rule():
    pieces = ["▁x", "x", "xyz", "<x", "x<", "'", "x'", "=", "!", "!!", "x!", "X", "é", "7", "x7"]
    tokenizer = Tokenizer.from_model_bytes(with_pieces(pieces))
    expected = {
        **{"▁x": True, "x": False, "xyz": False, "<x": True, "x<": True, "'": True, "x'": True},
        **{"=": True, "!": True, "!!": False, "x!": False, "X": False, "é": True, "7": True},
        **{"x7": True},
    }
    starts = tokenizer.word_start
    assert starts.dtype == np.bool_ and starts.shape == (tokenizer.vocab_size,)
    for piece, start in expected.items():
        assert starts[tokenizer.piece_to_id(piece)] == start, piece


# Files.


def test_save_writes_the_model_in_use(tokenizer, tmp_path):
    path = tmp_path / "spiece.model"
    tokenizer.save(path)
    assert path.read_bytes() == tokenizer.model_bytes
    assert os.listdir(tmp_path) == ["spiece.model"]
    assert Tokenizer(path).fingerprint == tokenizer.fingerprint


def test_a_tokenizer_can_be_sent_to_another_process(tokenizer):
    copy = pickle.loads(pickle.dumps(tokenizer))
    assert copy.fingerprint == tokenizer.fingerprint
    assert copy.encode("the mill") == tokenizer.encode("the mill")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "Received: an empty file"),
        (b"<html>404 not found</html>", "another kind .it begins with b'<html>404"),
        (b"the\nmill\n" * 100, "another kind"),
        (b"\x89PNG\r\n\x1a\n\0\0\0", "another kind"),
        (VOCABULARY.read_bytes()[:5000], "another kind"),
    ],
)
def test_a_file_that_is_no_vocabulary_is_refused(content, message, tmp_path):
    path = tmp_path / "bad.model"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        Tokenizer(path)
    assert str(path) in str(error.value)


def test_a_vocabulary_that_the_engine_cannot_load_is_refused():
    model = model_proto.ModelProto.FromString(VOCABULARY.read_bytes())
    model.pieces.add(piece="▁the", score=-1.0)
    with pytest.raises(ValueError, match="model_bytes: SentencePiece cannot load .*▁the"):
        Tokenizer.from_model_bytes(model.SerializeToString())


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="nonsuch.model, which does not exist"):
        Tokenizer(tmp_path / "nonsuch.model")
    with pytest.raises(FileNotFoundError, match="which is a folder"):
        Tokenizer(tmp_path)


@pytest.mark.parametrize("piece", ["[CLS]", "[SEP]", "[MASK]", "<pad>"])
def test_a_vocabulary_without_a_special_piece_is_refused(piece):
    model = model_proto.ModelProto.FromString(VOCABULARY.read_bytes())
    next(p for p in model.pieces if p.piece == piece).piece = "other"
    with pytest.raises(ValueError, match="Missing: ") as error:
        Tokenizer.from_model_bytes(model.SerializeToString())
    assert f"Missing: {piece}." in str(error.value)


def test_a_special_piece_that_text_could_produce_is_refused():
    model = model_proto.ModelProto.FromString(VOCABULARY.read_bytes())
    next(p for p in model.pieces if p.piece == "[MASK]").type = PIECE.USER_DEFINED
    with pytest.raises(ValueError, match="must be of type CONTROL.* Received: USER_DEFINED"):
        Tokenizer.from_model_bytes(model.SerializeToString())


# Export.

_LOAD_IN_A_FRESH_PROCESS = """
import json, sys, warnings
import tensorflow as tf, tensorflow_text
module = tf.saved_model.load(sys.argv[1])
texts = json.loads(sys.argv[2])
ids = module.encode(tf.constant(texts))
sys.stdout.write(json.dumps(ids.to_list()))
"""


class Exported(tf.Module):
    def __init__(self, tokenizer):
        super().__init__()
        self.tokenizer = tokenizer

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def encode(self, texts):
        return self.tokenizer.encode_ragged(texts)


def ids_in_a_fresh_process(module, texts, folder):
    tf.saved_model.save(module, str(folder))
    done = subprocess.run(
        [sys.executable, "-c", _LOAD_IN_A_FRESH_PROCESS, str(folder), json.dumps(texts)],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


@pytest.mark.slow
def test_an_exported_tokenizer_gives_the_same_ids_in_a_fresh_process(comma_tokenizer, tmp_path):
    texts = [text for text in TEXTS if "\0" not in text]
    found = ids_in_a_fresh_process(Exported(comma_tokenizer), texts, tmp_path)
    assert found == comma_tokenizer.encode_batch(texts)


@pytest.mark.real_data
def test_real_text_has_the_same_ids_in_python_in_tf_data_and_exported(tmp_path):
    data = pathlib.Path(os.environ["ALBERT_TF_DATA"])
    tokenizer = Tokenizer(data / "30k-clean.model")
    assert tokenizer.encode("The quick brown fox.") == [14, 2231, 886, 2385, 9]
    exported = Exported(tokenizer)
    tf.saved_model.save(exported, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    lines = 0
    for path in sorted([*(data / "wiki").iterdir(), *(data / "books").iterdir()]):
        texts = path.read_bytes().splitlines()
        lines += len(texts)
        ids, row_splits = tokenizer.encode_flat(texts)
        in_export = loaded.encode(tf.constant(texts, tf.string, [len(texts)]))
        np.testing.assert_array_equal(in_export.values, ids)
        np.testing.assert_array_equal(in_export.row_splits, row_splits)
        dataset = tf.data.Dataset.from_tensor_slices(texts).batch(1000)
        parts = [batch.values.numpy() for batch in dataset.map(tokenizer.encode_ragged)]
        np.testing.assert_array_equal(np.concatenate(parts), ids)
    assert lines > 100_000


def broken_vocabulary(**changes):
    """Returns the vocabulary with a piece or the table of its normaliser changed."""
    model = model_proto.ModelProto.FromString(VOCABULARY.read_bytes())
    for name, value in changes.items():
        if name == "charsmap":
            table = bytearray(model.normalizer_spec.precompiled_charsmap)
            value(table)
            model.normalizer_spec.precompiled_charsmap = bytes(table)
        else:
            setattr(model.pieces[20], name, value)
    return model.SerializeToString()


def put(start, *values):
    def change(table):
        table[start : start + 4 * len(values)] = np.array(values, "<u4").tobytes()

    return change


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"piece": "x" * 1_000_000}, "SentencePiece cannot load this model: .*too long"),
        ({"piece": ""}, "SentencePiece cannot load this model: .*empty"),
        ({"score": float("nan")}, "piece 20 must be UTF-8 with a finite score. Received: .* nan"),
        ({"score": float("-inf")}, "piece 20 must be UTF-8 with a finite score. Received: .* -inf"),
        ({"charsmap": put(0, 2**31)}, "normaliser is damaged: a trie of 2147483648 bytes"),
        ({"charsmap": put(0, 7)}, "normaliser is damaged: a trie of 7 bytes"),
        ({"charsmap": put(4, 2**31 - 2**10)}, "normaliser is damaged: it leads out of its trie"),
        ({"charsmap": lambda table: table.append(1)}, "damaged: it leads out of its texts"),
        ({"charsmap": lambda table: table.extend(b"\xff\0")}, "of its texts is no UTF-8"),
    ],
)
def test_damaged_vocabulary_is_refused_by_name_before_an_engine_dies_of_it(
    tmp_path, changes, problem
):
    (tmp_path / "spiece.model").write_bytes(broken_vocabulary(**changes))
    with pytest.raises(ValueError, match=f"spiece.model: .*{problem}"):
        Tokenizer(tmp_path / "spiece.model")
