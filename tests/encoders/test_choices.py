"""Options stand where the original puts them, beside as much of the passage as has room."""

import numpy as np
import pytest
import tensorflow as tf
from random_texts import random_texts

from albert_tf.pipelines.encoders.choices import encode_choices


def encode_in_python(tokenizer, passage, question, option, max_seq_length, max_qa_length):
    """One row by the original's rule, in Python: (ids, tokens of segment 0)."""
    text = question.replace("_", option.strip()) if "_" in question else f"{question} {option}"
    last = tokenizer.encode(text)[-max_qa_length:]
    first = tokenizer.encode(passage)[: max_seq_length - 3 - len(last)]
    ids = [tokenizer.cls_id, *first, tokenizer.sep_id, *last, tokenizer.sep_id]
    return ids, len(first) + 2


@pytest.mark.parametrize("max_qa_length", [1, 5, 60])
def test_options_stand_where_the_original_puts_them(tokenizer, max_qa_length):
    passages, questions = random_texts(4, 60), random_texts(5, 60)
    passages[7:9] = passages[5:7]  # several questions about one passage
    questions[:3] = ["_", "who _ it? _", "why?"]
    options = np.array(random_texts(6, 180)).reshape(60, 3)
    run = tf.function(
        lambda p, q, o: encode_choices(tokenizer, p, q, o, 64, max_qa_length),
        [tf.TensorSpec([None] * rank, tf.string) for rank in (1, 1, 2)],
        autograph=False,
    )
    rows = run(*map(tf.constant, (passages, questions, options)))
    expected = [
        encode_in_python(tokenizer, passage, question, option, 64, max_qa_length)
        for passage, question, row in zip(passages, questions, options.tolist(), strict=True)
        for option in row
    ]
    ids_of_rows = np.split(rows.ids.numpy(), rows.starts.numpy()[1:])
    assert [ids.tolist() for ids in ids_of_rows] == [ids for ids, _ in expected]
    assert rows.first_lengths.numpy().tolist() == [length for _, length in expected]


def test_passage_of_several_questions_is_tokenized_once(tokenizer):
    class Counting:
        texts = []

        def __getattr__(self, name):
            return getattr(tokenizer, name)

        def encode_ragged(self, texts):
            self.texts += texts.numpy().tolist()
            return tokenizer.encode_ragged(texts)

    options = [["cat", "dog"], ["mat", "day"]]
    columns = (["the cat sat"] * 2, ["_?", "who?"], options)
    encode_choices(Counting(), *map(tf.constant, columns), 32, 8)
    assert Counting.texts.count(b"the cat sat") == 1 and len(Counting.texts) == 1 + 4
