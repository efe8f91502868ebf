"""Windows in the graph are those of `squad.encode`."""

import numpy as np
import pytest
import tensorflow as tf
from random_texts import random_texts
from samples import VOCABULARY

from albert_tf.pipelines.encoders.graph_windows import WindowEncoder, WindowSettings
from albert_tf.pipelines.task_data import squad
from albert_tf.pipelines.task_data.squad import Question
from albert_tf.pipelines.tokenizer.tokenization import Tokenizer


@pytest.mark.parametrize(
    "settings",
    [
        WindowSettings(max_seq_length=16, doc_stride=4, max_query_length=5),
        WindowSettings(max_seq_length=40, doc_stride=128, max_query_length=12),
        WindowSettings(max_seq_length=384, doc_stride=128, max_query_length=64),
    ],
)
def test_windows_are_those_of_training(settings):
    tokenizer = Tokenizer(VOCABULARY)
    asked = random_texts(21, 40)
    contexts = [" ".join(random_texts(100 + n, 4 + n % 9)) for n in range(40)]
    contexts[:3] = ["", " ", "cat"]
    questions = [
        Question(str(n), *texts, "", (), False)
        for n, texts in enumerate(zip(asked, contexts, strict=True))
    ]
    expected = squad.encode(
        questions,
        tokenizer,
        settings.max_seq_length,
        settings.doc_stride,
        settings.max_query_length,
    )
    encoder = WindowEncoder(tokenizer, settings)
    signature = [tf.TensorSpec([None], tf.string)] * 2
    run = tf.function(
        lambda q, c: {n: v for n, v in vars(encoder(q, c)).items() if n != "contexts"},
        signature,
        autograph=False,
    )
    found = run(tf.constant(asked), tf.constant(contexts))
    np.testing.assert_array_equal(found["question"], expected.details["question_index"])
    for row in range(len(expected)):
        tokens = slice(*expected.row_splits[row : row + 2])
        length = tokens.stop - tokens.start
        right = expected.row(row)
        for name in ("input_ids", "segment_ids", "answer_mask"):
            column = found["inputs"][name][row].numpy()
            np.testing.assert_array_equal(column[:length], right[name], err_msg=name)
            assert not column[length:].any()
        assert found["inputs"]["input_mask"][row].numpy().sum() == length
        may_end = right["answer_mask"].astype(bool)
        may_end[0] = False
        may_start = may_end & expected.details["is_max_context"][tokens].astype(bool)
        for name, column in (
            ("may_end", may_end),
            ("may_start", may_start),
            ("first_characters", expected.details["char_starts"][tokens]),
            ("end_characters", expected.details["char_ends"][tokens]),
        ):
            np.testing.assert_array_equal(found[name][row][:length], column, err_msg=name)
            assert not found[name][row][length:].numpy().any()
