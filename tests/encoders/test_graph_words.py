"""Words in the graph lie in the rows and places of `tagged_words.encode`."""

import numpy as np
import pytest
import tensorflow as tf
from random_texts import random_texts
from samples import VOCABULARY

from albert_tf.pipelines.encoders import graph_words
from albert_tf.pipelines.task_data import tagged_words
from albert_tf.pipelines.task_data.tagged_words import TaggedSentence
from albert_tf.pipelines.tokenizer.tokenization import Tokenizer


@pytest.mark.parametrize("max_seq_length", [3, 8, 20, 128])
def test_words_are_dealt_out_as_in_training(max_seq_length):
    tokenizer = Tokenizer(VOCABULARY)
    texts = random_texts(31, 60) + [" ".join(random_texts(32, 40)), "", "\u0301 \u0301"]
    sentences = [TaggedSentence("", tuple(text.split()), None) for text in texts]
    expected = tagged_words.encode(sentences, tokenizer, max_seq_length)

    def run(texts):
        found = graph_words.encode(tokenizer, texts, max_seq_length)
        return found.inputs, found.words, found.places

    signature = [tf.TensorSpec([None], tf.string)]
    inputs, words, places = tf.function(run, signature, autograph=False)(tf.constant(texts))
    for sentence, row in zip(sentences, words.to_list(), strict=True):
        assert tuple(word.decode() for word in row) == sentence.words
    assert len(inputs["input_ids"]) == len(expected)
    column_of = []
    for row in range(len(expected)):
        tokens = slice(*expected.row_splits[row : row + 2])
        length = tokens.stop - tokens.start
        np.testing.assert_array_equal(
            inputs["input_ids"][row][:length], expected.row(row)["input_ids"]
        )
        assert inputs["input_mask"][row].numpy().sum() == length
        is_first = expected.details["word_index"][tokens] >= 0
        column_of += [[row, column] for column in np.flatnonzero(is_first).tolist()]
    assert places.numpy().tolist() == column_of


def test_no_sentences_give_no_rows():
    tokenizer = Tokenizer(VOCABULARY)
    found = graph_words.encode(tokenizer, tf.zeros([0], tf.string), 16)
    assert found.inputs["input_ids"].shape[0] == 0 and found.places.shape == (0, 2)
