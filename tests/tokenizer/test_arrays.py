"""Python runs an encoder as one graph."""

import keras
import tensorflow as tf

from albert_tf.pipelines.tokenizer.arrays import encode_to_arrays, string_tensor
from albert_tf.pipelines.tokenizer.sequences import encode_texts


def test_encoder_is_made_a_graph_once_for_all_sizes_and_settings(tokenizer):
    traced = []

    def encode(*arguments, **settings):
        traced.append(settings)
        return encode_texts(*arguments, **settings)

    whole = len(tokenizer.encode("the cat sat on the mat")) + 2
    for count in range(3):
        for length in (4, 16):
            texts = string_tensor(["the cat sat on the mat"] * count)
            columns = encode_to_arrays(encode, tokenizer, texts, max_seq_length=length)
            assert columns["row_lengths"].tolist() == [min(whole, length)] * count
            assert set(columns) == {"row_lengths", "input_ids", "segment_ids"}
    assert len(traced) == 1


def test_graph_outlives_a_cleared_session(tokenizer):
    texts = tf.constant(["the cat"])
    before = encode_to_arrays(encode_texts, tokenizer, texts, max_seq_length=16)
    keras.backend.clear_session()
    after = encode_to_arrays(encode_texts, tokenizer, texts, max_seq_length=16)
    assert before["input_ids"].tolist() == after["input_ids"].tolist()


def test_text_without_a_utf8_form_is_encoded(tokenizer):
    texts = string_tensor(["a\ud800b"])
    columns = encode_to_arrays(encode_texts, tokenizer, texts, max_seq_length=16)
    assert columns["input_ids"].tolist()[1:-1] == tokenizer.encode("a\ufffdb")
