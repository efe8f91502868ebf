"""Words fill rows from the left, and are cut nowhere."""

import numpy as np
import pytest
import tensorflow as tf
from random_texts import random_texts

from albert_tf.pipelines.encoders.words import encode_words, split_words


def deal_out_in_python(tokenizer, words, room):
    """The rows of one sentence, in Python: (pieces of each row, (row, column) of each word)."""
    rows, places = [[]], []
    for word in words:
        pieces = (tokenizer.encode(word) or [tokenizer.unk_id])[:room]
        if len(rows[-1]) + len(pieces) > room:
            rows.append([])
        places.append((len(rows) - 1, len(rows[-1]) + 1))
        rows[-1] += pieces
    return rows, places


@pytest.mark.parametrize("max_seq_length", [3, 8, 20, 128])
def test_words_are_dealt_out_in_order(tokenizer, max_seq_length):
    texts = [*random_texts(31, 60), " ".join(random_texts(32, 40)), "", "\u0301 \u0301"]

    def run(texts):
        words = split_words(texts)
        return words, encode_words(tokenizer, words.values, words.row_lengths(), max_seq_length)

    signature = [tf.TensorSpec([None], tf.string)]
    words, encoded = tf.function(run, signature, autograph=False)(tf.constant(texts))
    assert [[word.decode() for word in row] for row in words.to_list()] == [
        text.split() for text in texts
    ]
    rows, sentences, places = [], [], []
    for number, text in enumerate(texts):
        own, in_own = deal_out_in_python(tokenizer, text.split(), max_seq_length - 2)
        places += [[len(rows) + row, column] for row, column in in_own]
        sentences += [number] * len(own)
        rows += [[tokenizer.cls_id, *pieces, tokenizer.sep_id] for pieces in own]
    ids_of_rows = np.split(encoded.rows.ids.numpy(), encoded.rows.starts.numpy()[1:])
    assert [ids.tolist() for ids in ids_of_rows] == rows
    assert encoded.sentence.numpy().tolist() == sentences
    assert encoded.places.numpy().tolist() == places
    flat = encoded.flat()
    first_pieces = flat["input_ids"].numpy()[flat["first_pieces"].numpy()].tolist()
    assert first_pieces == [rows[row][column] for row, column in places]
    assert not flat["segment_ids"].numpy().any()


def test_no_sentences_give_no_rows(tokenizer):
    encoded = encode_words(tokenizer, tf.zeros([0], tf.string), tf.zeros([0], tf.int64), 16)
    assert encoded.rows.padded(tokenizer, 16)["input_ids"].shape[0] == 0
    assert encoded.places.shape == (0, 2)


def test_word_of_several_sentences_is_tokenized_once(tokenizer):
    class Counting:
        words = []

        def __getattr__(self, name):
            return getattr(tokenizer, name)

        def encode_ragged(self, words):
            self.words += words.numpy().tolist()
            return tokenizer.encode_ragged(words)

    counts = tf.constant([3, 3], tf.int64)
    encode_words(Counting(), tf.constant(["the", "cat", "the"] * 2), counts, 16)
    assert Counting.words == [b"the", b"cat"]
