"""Special pieces written in texts, readable text, and white space, as in Python."""

import functools

import numpy as np
import tensorflow as tf
from padded_rows import in_graph, rows_of
from random_texts import random_texts

from albert_tf.pipelines.encoders import texts
from albert_tf.pipelines.tokenizer import sequences

encode_with_special = functools.partial(sequences.encode_texts, allow_special=True)


def test_special_pieces_written_in_a_text_are_taken_as_such(tokenizer):
    marked = [*random_texts(3, 400), "[MASK]", "[MASK][MASK]s", "a[MASK]b [MASK] c", "[MASK]\n."]
    batch = in_graph(tokenizer, encode_with_special, [marked], 512)
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


def test_no_texts_give_no_rows(tokenizer):
    empty = tf.zeros([0], tf.string)
    rows = encode_with_special(tokenizer, empty, 16)
    assert rows.padded(tokenizer, 16)["input_ids"].shape[0] == 0
    assert rows.flat()["input_ids"].shape == [0]
