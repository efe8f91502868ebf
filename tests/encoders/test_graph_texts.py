"""Text in the graph gives the ids of text in Python, for whatever text comes."""

import numpy as np
import pytest
import tensorflow as tf
from random_texts import random_texts

from albert_tf.pipelines.encoders import graph_texts
from albert_tf.pipelines.task_data import race, text_examples
from albert_tf.pipelines.task_data.race import ChoiceQuestion


def rows(batch):
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


def in_graph(function, *arguments):
    """Returns what a function of strings gives inside a graph of unknown sizes."""
    signature = [tf.TensorSpec([None] * np.ndim(a), tf.string) for a in arguments]
    return tf.function(function, signature, autograph=False)(*map(tf.constant, arguments))


@pytest.mark.parametrize("max_seq_length", [4, 9, 32, 512])
def test_texts_and_pairs_are_cut_and_packed_as_in_training(tokenizer, max_seq_length):
    texts, others = random_texts(1), random_texts(2)
    single = in_graph(lambda text: graph_texts.encode_texts(tokenizer, text, max_seq_length), texts)
    pairs = in_graph(
        lambda a, b: graph_texts.encode_pairs(tokenizer, a, b, max_seq_length), texts, others
    )
    for row, (ids, segments) in enumerate(rows(single)):
        packed = text_examples.pack(tokenizer, tokenizer.encode(texts[row]), None, max_seq_length)
        assert (ids, segments) == (packed["input_ids"], packed["segment_ids"]), texts[row]
    for row, (ids, segments) in enumerate(rows(pairs)):
        encoded = tokenizer.encode_batch([texts[row], others[row]])
        packed = text_examples.pack(tokenizer, *encoded, max_seq_length)
        assert (ids, segments) == (packed["input_ids"], packed["segment_ids"]), texts[row]


def test_special_pieces_written_in_a_text_are_taken_as_such(tokenizer):
    texts = [*random_texts(3, 400), "[MASK]", "[MASK][MASK]s", "a[MASK]b [MASK] c", "[MASK]\n."]
    batch = in_graph(lambda text: graph_texts.encode_with_specials(tokenizer, text, 512), texts)
    for text, (ids, _) in zip(texts, rows(batch), strict=True):
        expected = tokenizer.encode(text, allow_special=True)
        assert ids[1:-1] == expected[:510], text


@pytest.mark.parametrize("max_qa_length", [1, 5, 60])
def test_options_stand_where_training_puts_them(tokenizer, max_qa_length):
    passages, asked = random_texts(4, 60), random_texts(5, 60)
    asked[:3] = ["_", "who _ it? _", "why?"]
    options = np.array(random_texts(6, 180)).reshape(60, 3)
    batch = in_graph(
        lambda p, q, o: graph_texts.encode_choices(tokenizer, p, q, o, 64, max_qa_length),
        passages,
        asked,
        options,
    )
    questions = [
        ChoiceQuestion("", passage, question, tuple(row.tolist()), None, "")
        for passage, question, row in zip(passages, asked, options, strict=True)
    ]
    encoded = race.encode(questions, tokenizer, 64, max_qa_length)
    for row, (ids, segments) in enumerate(rows(batch)):
        expected = encoded.row(row)
        assert ids == expected["input_ids"].tolist(), questions[row // 3]
        assert segments == expected["segment_ids"].tolist()


def test_readable_text_is_that_of_the_tokenizer(tokenizer):
    draw = np.random.default_rng(0)
    ids = draw.integers(0, tokenizer.vocab_size, (50, 12), np.int32)
    lengths = draw.integers(0, 13, 50)
    decode = graph_texts.Decoder(tokenizer)
    found = decode(tf.constant(ids), tf.sequence_mask(lengths, 12)).numpy()
    for text, row, length in zip(found, ids, lengths, strict=True):
        assert text.decode() == tokenizer.decode(row[:length], skip_special=False)


def test_white_space_is_what_python_takes_for_it():
    characters = [chr(code) for code in range(0x3100) if not 0xD800 <= code < 0xE000]
    found = graph_texts.squeeze(tf.constant([f"a{character}b" for character in characters]))
    for character, text in zip(characters, found.numpy(), strict=True):
        assert text.decode() == " ".join(f"a{character}b".split()), hex(ord(character))


def test_bytes_that_are_no_text_are_replaced():
    broken = [b"a\xffb", b"\xf0\x9f", b"caf\xc3\xa9", b"\xed\xa0\x80", b"\x00"]
    found = [text.decode() for text in graph_texts.replace_invalid(tf.constant(broken)).numpy()]
    assert found[0] == "a\ufffdb" and found[2] == "café" and found[4] == "\x00"
    assert set(found[1]) == set(found[3]) == {"\ufffd"}


def test_no_texts_give_no_rows(tokenizer):
    empty = tf.zeros([0], tf.string)
    assert graph_texts.encode_texts(tokenizer, empty, 16)["input_ids"].shape[0] == 0
    assert graph_texts.encode_with_specials(tokenizer, empty, 16)["input_ids"].shape[0] == 0
