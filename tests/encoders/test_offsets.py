"""Tokens in the graph stand for the characters that they stand for in Python."""

import random

import pytest
import tensorflow as tf
from random_texts import random_texts

from albert_tf.pipelines.encoders.offsets import OffsetEncoder
from albert_tf.pipelines.tokenizer import normalization


def encode(tokenizer, texts):
    """Returns for each text (ids, spans), made in a graph of unknown sizes."""
    encoder = OffsetEncoder(tokenizer)
    signature = [tf.TensorSpec([None], tf.string)]
    run = tf.function(lambda texts: vars(encoder(texts)), signature, autograph=False)
    found = run(tf.constant(texts))
    splits = found["ids"].row_splits.numpy()
    spans = list(zip(found["starts"].numpy().tolist(), found["ends"].numpy().tolist(), strict=True))
    return [
        (found["ids"][row].numpy().tolist(), spans[splits[row] : splits[row + 1]])
        for row in range(len(texts))
    ]


def check(tokenizer, texts):
    expected = tokenizer.encode_batch_with_offsets(texts)
    for text, (ids, spans), (right_ids, right_spans) in zip(
        texts, encode(tokenizer, texts), expected, strict=True
    ):
        assert ids == right_ids, repr(text)
        assert spans == list(map(tuple, right_spans)), repr(text)


@pytest.mark.slow
def test_random_texts(tokenizer):
    check(tokenizer, random_texts(11, 1500))


def test_numbers_with_commas_are_shared_out(tokenizer):
    draw = random.Random(1)
    parts = ["2,000", "1999, ", "7,", ",", "🄁", "１２，", "²,", "3", "a,", " ", "½,", "⑩,"]
    check(tokenizer, ["".join(draw.choices(parts, k=4)) for _ in range(1000)])


@pytest.mark.slow
def test_every_character_that_the_clean_up_changes(tokenizer):
    characters = normalization.code_points()
    check(tokenizer, [f"a{character}b {character}," for character in characters[::7]])


def test_unknown_characters_before_those_with_a_longer_replacement(tokenizer):
    check(tokenizer, ["a 😀… so", "a 😀½ so", "a ☃ﬁne", "😀…", "…😀…"])


def test_byte_order_mark_and_nothing_at_all(tokenizer):
    check(tokenizer, ["\ufeffa cat", "", "a\ufeff", "\u0301", "\u200b \u200b"])
