"""Texts and pairs are cut and packed by the original's rule, for whatever text comes."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from random_texts import random_texts

from albert_tf.pipelines.encoders import texts
from albert_tf.pipelines.tokenizer.tokenization import Tokenizer


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


def rows_of(batch):
    """Returns the rows of a batch without padding: [(ids, segments)]."""
    assert batch["input_ids"].shape == batch["input_mask"].shape == batch["segment_ids"].shape
    found = []
    for ids, mask, segments in zip(
        *(batch[name].numpy() for name in ("input_ids", "input_mask", "segment_ids")), strict=True
    ):
        length = mask.sum()
        assert (mask[:length] == 1).all() and not ids[length:].any() and not segments[length:].any()
        found.append((ids[:length].tolist(), segments[:length].tolist()))
    return found


def in_graph(tokenizer, encode, columns, max_seq_length):
    """Returns the batch that an encoder of strings gives inside a graph of unknown sizes."""
    run = tf.function(
        lambda *strings: encode(tokenizer, *strings, max_seq_length).padded(
            tokenizer, max_seq_length
        ),
        [tf.TensorSpec([None], tf.string)] * len(columns),
        autograph=False,
    )
    return run(*map(tf.constant, columns))


@pytest.mark.parametrize("max_seq_length", [4, 9, 32, 512])
def test_texts_and_pairs_are_cut_and_packed_by_the_original_rule(tokenizer, max_seq_length):
    first, second = random_texts(1), random_texts(2)
    ids_a, ids_b = tokenizer.encode_batch(first), tokenizer.encode_batch(second)
    single = in_graph(tokenizer, texts.encode_texts, [first], max_seq_length)
    for row, text, ids in zip(rows_of(single), first, ids_a, strict=True):
        assert row == packed(tokenizer, ids[: max_seq_length - 2]), text
    pairs = in_graph(tokenizer, texts.encode_pairs, [first, second], max_seq_length)
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
        rows = texts.encode_pairs(tokenizer, *map(tf.constant, columns), room + 3)
        ids_of_rows = np.split(rows.ids.numpy(), rows.starts.numpy()[1:])
        for ids, (a, b) in zip(ids_of_rows, lengths, strict=True):
            assert ids.tolist() == packed(tokenizer, *cut_one_by_one(ids_a * a, ids_b * b, room))[0]


def test_special_pieces_written_in_a_text_are_taken_as_such(tokenizer):
    marked = [*random_texts(3, 400), "[MASK]", "[MASK][MASK]s", "a[MASK]b [MASK] c", "[MASK]\n."]
    batch = in_graph(tokenizer, texts.encode_with_specials, [marked], 512)
    for text, (ids, _) in zip(marked, rows_of(batch), strict=True):
        expected = tokenizer.encode(text, allow_special=True)
        assert ids[1:-1] == expected[:510], text


def test_readable_text_is_that_of_the_tokenizer(tokenizer):
    draw = np.random.default_rng(0)
    ids = draw.integers(0, tokenizer.vocab_size, (50, 12), np.int32)
    lengths = draw.integers(0, 13, 50)
    decode = texts.Decoder(tokenizer)
    decoded = decode(tf.constant(ids), tf.sequence_mask(lengths, 12)).numpy()
    for text, row, length in zip(decoded, ids, lengths, strict=True):
        assert text.decode() == tokenizer.decode(row[:length], skip_special=False)


def test_white_space_is_what_python_takes_for_it():
    characters = [chr(code) for code in range(0x3100) if not 0xD800 <= code < 0xE000]
    squeezed = texts.squeeze(tf.constant([f"a{character}b" for character in characters]))
    for character, text in zip(characters, squeezed.numpy(), strict=True):
        assert text.decode() == " ".join(f"a{character}b".split()), hex(ord(character))


def test_bytes_that_are_no_text_are_replaced():
    broken = [b"a\xffb", b"\xf0\x9f", b"caf\xc3\xa9", b"\xed\xa0\x80", b"\x00"]
    whole = [text.decode() for text in texts.replace_invalid(tf.constant(broken)).numpy()]
    assert whole[0] == "a\ufffdb" and whole[2] == "café" and whole[4] == "\x00"
    assert set(whole[1]) == set(whole[3]) == {"\ufffd"}


def test_no_texts_give_no_rows(tokenizer: Tokenizer):
    empty = tf.zeros([0], tf.string)
    for encode in (texts.encode_texts, texts.encode_with_specials):
        rows = encode(tokenizer, empty, 16)
        assert rows.padded(tokenizer, 16)["input_ids"].shape[0] == 0
        assert rows.flat()["input_ids"].shape == [0]
