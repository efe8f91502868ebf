"""Another vocabulary on an old model: shared pieces, means of old pieces, and special ones."""

import keras
import numpy as np
import pytest
from samples import tiny_config

from albert_tf.checkpoints.tokenizer_files import load_tokenizer
from albert_tf.embedding_tables import vocabulary
from albert_tf.embedding_tables.changes import TableChanges
from albert_tf.model.language_models import AlbertForPretraining
from albert_tf.pipelines.tokenizer.model_proto import ModelProto
from albert_tf.pipelines.tokenizer.tokenization import Tokenizer
from albert_tf.pipelines.tokenizer.wordpiece_vocabulary import WordPieceVocabulary

SPECIAL = ("pad_id", "unk_id", "cls_id", "sep_id", "mask_id")


def with_pieces(tokenizer, pieces):
    """Returns a SentencePiece tokenizer whose last pieces are others, the rest in another order."""
    model = ModelProto.FromString(tokenizer.model_bytes)
    for entry, piece in zip(reversed(model.pieces), pieces, strict=False):
        entry.piece = piece
    first, last = model.pieces[20].piece, model.pieces[30].piece
    model.pieces[20].piece, model.pieces[30].piece = last, first
    return Tokenizer.from_model_bytes(model.SerializeToString())


def word_pieces(*pieces):
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    return Tokenizer.from_word_pieces(WordPieceVocabulary([*special, *pieces]))


def old_pieces(old, new, piece):
    """Returns the old pieces that stand for a new one."""
    found = vocabulary.find_old_pieces(old, new)
    index = new.piece_to_id(piece)
    start, end = found.row_splits[index : index + 2]
    return [old.pieces[i] for i in found.ids[start:end]]


@pytest.fixture(scope="module")
def other(tokenizer):
    return with_pieces(tokenizer, ["▁doorway", "doorway", "ჰ"])


def test_shared_pieces_are_found_wherever_they_stand(tokenizer, other):
    for piece in other.pieces[5:-3]:
        assert old_pieces(tokenizer, other, piece) == [piece]


def test_a_new_piece_is_what_the_old_tokenizer_makes_of_its_text(tokenizer, other):
    parts = tokenizer.tokenize("doorway")
    assert parts[0].startswith("▁") and len(parts) > 1
    assert old_pieces(tokenizer, other, "▁doorway") == parts
    inside = old_pieces(tokenizer, other, "doorway")
    assert "".join(inside) == "doorway" and "▁" not in inside[0]
    assert old_pieces(tokenizer, other, "ჰ") == ["<unk>"]


def test_special_pieces_go_by_what_they_are_for(tokenizer):
    new = word_pieces("a")
    for old, other in ((tokenizer, new), (new, tokenizer)):
        found = vocabulary.find_old_pieces(old, other)
        for name in SPECIAL:
            index = getattr(other, name)
            assert found.ids[found.row_splits[index]] == getattr(old, name)
            assert found.row_splits[index + 1] - found.row_splits[index] == 1


def test_word_pieces_take_from_sentence_pieces_by_place_in_the_word(tokenizer):
    start = next(p for p in tokenizer.pieces if p.startswith("▁") and len(p) > 3)
    inside = next(p for p in tokenizer.pieces[5:] if p.isalpha() and p.isascii() and len(p) > 1)
    new = word_pieces(start[1:], f"##{inside}", "doorway", "##doorway", ".")
    assert old_pieces(tokenizer, new, start[1:]) == [start]
    assert old_pieces(tokenizer, new, f"##{inside}") == [inside]
    assert old_pieces(tokenizer, new, ".") == ["."]
    assert old_pieces(tokenizer, new, "doorway") == tokenizer.tokenize("doorway")
    assert old_pieces(tokenizer, new, "##doorway")[0][0] != "▁"


def test_word_pieces_take_from_word_pieces():
    old = word_pieces("door", "way", "##way", "##door", "中", "##中", "国")
    new = word_pieces("doorway", "##doorway", "##中", "中国", "##way", "文")
    assert old_pieces(old, new, "doorway") == ["door", "##way"]
    assert old_pieces(old, new, "##doorway") == ["##door", "##way"]
    assert old_pieces(old, new, "##中") == ["##中"]
    assert old_pieces(old, new, "中国") == ["中", "国"]
    assert old_pieces(old, new, "##way") == ["##way"]
    assert old_pieces(old, new, "文") == ["[UNK]"]


def test_chinese_characters_of_sentence_pieces_are_the_words_of_word_pieces(tokenizer):
    new = with_pieces(tokenizer, ["中", "中国", "▁国"])
    old = word_pieces("中", "##中", "国")
    assert old_pieces(old, new, "中") == ["中"]
    assert old_pieces(old, new, "中国") == ["中", "国"]
    assert old_pieces(old, new, "▁国") == ["国"]


def test_tables_are_means_in_numpy(tokenizer, other):
    found = vocabulary.find_old_pieces(tokenizer, other)
    generator = np.random.default_rng(0)
    for shape in ((tokenizer.vocab_size, 3), (tokenizer.vocab_size,)):
        table = generator.normal(size=shape).astype(np.float32)
        rows = np.split(found.ids, found.row_splits[1:-1])
        expected = np.stack([table[row].astype(np.float64).mean(axis=0) for row in rows])
        np.testing.assert_allclose(found.mean(table), expected, rtol=1e-6)
        shared = np.flatnonzero(found.is_shared)
        firsts = found.ids[found.row_splits[shared]]
        np.testing.assert_array_equal(found.mean(table)[shared], table[firsts])
    assert found.describe().startswith("337 of 340 pieces keep their vectors, 2 have the mean")


@pytest.fixture(scope="module")
def carried(pretrained, tokenizer, other, tmp_path_factory):
    """A model with the other vocabulary, its directory, and the model that it comes of."""
    keras.utils.set_random_seed(0)
    model = AlbertForPretraining.from_pretrained(pretrained, tokenizer=other)
    folder = tmp_path_factory.mktemp("carried") / "model"
    model.save_pretrained(folder, other)
    return model, folder, AlbertForPretraining.from_pretrained(pretrained)


def test_a_vocabulary_that_is_not_the_checkpoints_is_named(tokenizer, other):
    changes = TableChanges(old_pieces=vocabulary.find_old_pieces(tokenizer, other))
    with pytest.raises(ValueError, match="must have vocab_size=100 pieces, as its table of words"):
        changes.of_config(tiny_config(vocab_size=100))


def test_table_and_bias_are_carried_over_and_the_rest_is_as_it_was(tokenizer, other, carried):
    model, _, old = carried
    found = vocabulary.find_old_pieces(tokenizer, other)
    before = {path: np.asarray(value) for path, value in old.weights_by_path().items()}
    changed = {"encoder/embeddings/word_embeddings", "masked_lm_head/output_bias"}
    for path, value in model.weights_by_path().items():
        expected = found.mean(before[path]) if path in changed else before[path]
        np.testing.assert_array_equal(np.asarray(value), expected)


def test_a_text_of_shared_pieces_has_the_same_vectors(tokenizer, other, carried):
    model, folder, old = carried
    text = "the old house by the river"
    ids = [np.array([t.encode(text)], np.int32) for t in (tokenizer, other)]
    assert [other.pieces[i] for i in ids[1][0]] == [tokenizer.pieces[i] for i in ids[0][0]]
    models = zip((old, model), ids, strict=True)
    vectors = [m.encode({"input_ids": i}, training=False)["sequence_output"] for m, i in models]
    np.testing.assert_array_equal(*vectors)
    assert load_tokenizer(folder).pieces == other.pieces


def test_vocabularies_of_another_size_and_kind_change_the_config(pretrained, tmp_path):
    new = word_pieces("door", "##way", "a")
    model = AlbertForPretraining.from_pretrained(pretrained, tokenizer=new)
    assert model.config.vocab_size == 8
    model.save_pretrained(tmp_path / "model", new)
    again = AlbertForPretraining.from_pretrained(tmp_path / "model")
    assert again.config.vocab_size == 8 != tiny_config().vocab_size


def test_the_same_vocabulary_changes_no_bit(pretrained, tokenizer):
    same = AlbertForPretraining.from_pretrained(pretrained, tokenizer=tokenizer)
    old = AlbertForPretraining.from_pretrained(pretrained)
    for path, value in old.weights_by_path().items():
        np.testing.assert_array_equal(same.weights_by_path()[path], value)
