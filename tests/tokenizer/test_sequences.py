"""Texts and pairs are cut and packed by the original's rule, for whatever text comes."""

import itertools

import hub_server
import numpy as np
import pytest
import tensorflow as tf
import word_pieces
from padded_rows import in_graph, rows_of
from random_texts import random_texts

from albert_tf import AlbertModel, CheckpointError, load_tokenizer
from albert_tf.pipelines.tokenizer import sequences
from albert_tf.pipelines.tokenizer.tokenization import Tokenizer
from albert_tf.pipelines.tokenizer.wordpiece_vocabulary import WordPieceVocabulary


def cut_one_by_one(ids_a, ids_b, room):
    """The original's loop."""
    ids_a, ids_b = list(ids_a), list(ids_b)
    while len(ids_a) + len(ids_b) > room:
        (ids_a if len(ids_a) > len(ids_b) else ids_b).pop()
    return ids_a, ids_b


def packed(tokenizer, ids_a, ids_b=None):
    """The row of a text or pair in Python: (ids, segments)."""
    first = [tokenizer.cls_id, *ids_a, tokenizer.sep_id]
    second = [] if ids_b is None else [*ids_b, tokenizer.sep_id]
    return first + second, [0] * len(first) + [1] * len(second)


@pytest.mark.parametrize("max_seq_length", [4, 9, 32, 512])
def test_texts_and_pairs_are_cut_and_packed_by_the_original_rule(tokenizer, max_seq_length):
    first, second = random_texts(1), random_texts(2)
    ids_a, ids_b = tokenizer.encode_batch(first), tokenizer.encode_batch(second)
    single = in_graph(tokenizer, sequences.encode_texts, [first], max_seq_length)
    for row, text, ids in zip(rows_of(single), first, ids_a, strict=True):
        assert row == packed(tokenizer, ids[: max_seq_length - 2]), text
    pairs = in_graph(tokenizer, sequences.encode_pairs, [first, second], max_seq_length)
    for row, text, *ids in zip(rows_of(pairs), first, ids_a, ids_b, strict=True):
        expected = packed(tokenizer, *cut_one_by_one(*ids, max_seq_length - 3))
        assert row == expected, text


def test_pair_of_any_two_lengths_is_cut_as_by_the_original_loop(tokenizer):
    lengths = list(itertools.product(range(9), range(9)))
    first, second = ("a " * a for a, _ in lengths), ("I " * b for _, b in lengths)
    columns = [list(first), list(second)]
    ids_a, ids_b = tokenizer.encode("a"), tokenizer.encode("I")
    assert len(ids_a) == len(ids_b) == 1
    for room in range(1, 15):
        rows = sequences.encode_pairs(tokenizer, *map(tf.constant, columns), room + 3)
        ids_of_rows = np.split(rows.ids.numpy(), rows.starts.numpy()[1:])
        for ids, (a, b) in zip(ids_of_rows, lengths, strict=True):
            assert ids.tolist() == packed(tokenizer, *cut_one_by_one(ids_a * a, ids_b * b, room))[0]


def test_bytes_that_are_no_text_are_replaced():
    broken = [b"a\xffb", b"\xf0\x9f", b"caf\xc3\xa9", b"\xed\xa0\x80", b"\x00"]
    whole = [text.decode() for text in sequences.replace_invalid(tf.constant(broken)).numpy()]
    assert whole[0] == "a\ufffdb" and whole[2] == "café" and whole[4] == "\x00"
    assert set(whole[1]) == set(whole[3]) == {"\ufffd"}


# A tokenizer that is called.


@pytest.fixture(scope="module", params=["sentencepiece", "wordpiece"])
def either(request, tokenizer):
    """A tokenizer of each kind."""
    if request.param == "sentencepiece":
        return tokenizer
    pieces = word_pieces.make_pieces(["the cat sat on the mat. a long text"])
    return Tokenizer.from_word_pieces(WordPieceVocabulary(pieces))


def test_called_tokenizer_gives_padded_arrays(either):
    texts = ["the cat sat", "a", ""]
    batch = either(texts)
    ids = either.encode_batch(texts)
    assert all(v.dtype == np.int32 and v.shape == batch["input_ids"].shape for v in batch.values())
    assert batch["input_ids"].shape[1] % 8 == 0
    for row, mask, own in zip(batch["input_ids"], batch["input_mask"], ids, strict=True):
        whole = [either.cls_id, *own, either.sep_id]
        assert row.tolist() == whole + [either.pad_id] * (len(row) - len(whole))
        assert mask.tolist() == [1] * len(whole) + [0] * (len(row) - len(whole))
    assert not batch["segment_ids"].any()


def test_long_pairs_are_cut_as_in_training(either):
    first, second = ["a long text " * 9, "the cat"], ["the mat", "a text " * 20]
    batch = either(first, second, max_length=16)
    rows = sequences.encode_pairs(either, tf.constant(first), tf.constant(second), 16)
    for name, expected in rows.padded(either, 16).items():
        np.testing.assert_array_equal(batch[name], expected)
    assert batch["input_ids"].shape == (2, 16)


def test_padding_and_cutting_are_chosen(tokenizer):
    text = "the cat sat on the mat"
    length = len(tokenizer.encode(text)) + 2
    assert tokenizer(text, max_length=37, padding="max_length")["input_ids"].shape == (1, 37)
    assert tokenizer(text, max_length=4)["input_ids"].shape == (1, 4)
    uncut = tokenizer("the", max_length=37, padding="max_length", truncation=False)
    assert uncut["input_ids"].shape == (1, 37)
    uncut = tokenizer(text, max_length=4, truncation=False)
    assert uncut["input_mask"].sum() == length


def test_tensors_give_tensors_the_same_in_tf_data(either):
    texts, pairs = ["the cat", "a long text"], ["the mat", "a"]
    expected = either(texts, pairs, max_length=12)
    dataset = tf.data.Dataset.from_tensor_slices((texts, pairs)).batch(2)
    mapped = next(iter(dataset.map(lambda a, b: either(a, b, max_length=12))))
    for name, values in expected.items():
        assert mapped[name].dtype == tf.int32
        np.testing.assert_array_equal(mapped[name], values)


def test_one_text_bytes_and_arrays_of_texts_are_texts(tokenizer):
    expected = tokenizer(["the cat"])
    for given in (
        "the cat",
        b"the cat",
        np.array(["the cat"]),
        ("the cat",),
        tf.constant("the cat"),
    ):
        np.testing.assert_array_equal(tokenizer(given)["input_ids"], expected["input_ids"])
    assert tokenizer([])["input_ids"].shape[0] == 0


def test_called_tokenizer_feeds_a_model(tokenizer, pretrained):
    model = AlbertModel.from_pretrained(pretrained)
    vectors = model.predict(tokenizer(["the cat", "a"]), verbose=0)["pooled_output"]
    assert vectors.shape == (2, model.config.hidden_size)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"texts": ["a", "b"], "text_pairs": ["a"]}, "`text_pairs` must be as many"),
        ({"texts": ["a"], "max_length": 3}, "`max_length` must be a whole number from 4 on"),
        ({"texts": ["a"], "padding": False}, "`padding` must be True"),
        ({"texts": ["a"], "truncation": "only_second"}, "`truncation` must be True"),
        ({"texts": tf.constant([1])}, "`texts` must be strings"),
        ({"texts": tf.constant([["a"]])}, "`texts` must be strings"),
    ],
)
def test_wrong_arguments_are_named(tokenizer, arguments, message):
    with pytest.raises(ValueError, match=message):
        tokenizer(**arguments)


def test_what_is_no_text_is_refused(tokenizer):
    for texts in (["a", None], [float("nan")], [("a", "b")]):
        with pytest.raises(TypeError, match="texts must hold strings"):
            tokenizer(texts)
    for texts in (3, {"text": "a"}, np.array("abc"), np.array([["a"]])):
        with pytest.raises(TypeError, match="`texts` must be a string or a list of strings"):
            tokenizer(texts)


@pytest.mark.parametrize("as_given", [list, tf.constant])
def test_special_pieces_in_texts_are_meant_only_where_asked(tokenizer, as_given):
    given = as_given(["the [MASK] sat", "a [SEP]"]), as_given(["[MASK]", "cat"])
    plain = np.asarray(tokenizer(*given)["input_ids"])
    assert tokenizer.mask_id not in plain
    meant = tokenizer(*given, allow_special=True, max_length=np.int64(64))
    for row, ids in enumerate(np.asarray(meant["input_ids"])):
        expected = [tokenizer.cls_id]
        for texts in given:
            text = np.asarray(texts)[row]
            expected += [*tokenizer.encode(text, allow_special=True), tokenizer.sep_id]
        assert ids[: len(expected)].tolist() == expected


def test_tokenizer_of_a_model_directory_goes_by_its_usual_name(pretrained, tmp_path):
    own = Tokenizer.from_pretrained(pretrained)
    assert own.model_bytes == load_tokenizer(pretrained).model_bytes
    with pytest.raises(CheckpointError, match="must hold the vocabulary"):
        Tokenizer.from_pretrained(tmp_path)


def test_tokenizer_goes_by_a_name_on_the_hub(hub, tokenizer):
    options = {"revision": "main", "local_files_only": False}
    assert Tokenizer.from_pretrained(hub_server.NAME, **options).pieces == tokenizer.pieces
