"""Answers found in a graph are those found in Python, of Chinese and mixed texts with WordPiece.

The scores are drawn, so that answers begin and end anywhere; models take no part.
"""

import random

import numpy as np
import pytest
import tensorflow as tf
import word_pieces

from albert_tf.exporting import graph_batches
from albert_tf.exporting.graph_answers import find_answers
from albert_tf.pipelines.encoders.windows import WindowEncoder, WindowSettings
from albert_tf.pipelines.task_data import squad
from albert_tf.pipelines.task_data.squad import Question
from albert_tf.pipelines.tokenizer.tokenization import Tokenizer
from albert_tf.pipelines.tokenizer.wordpiece_vocabulary import WordPieceVocabulary
from albert_tf.tasks.answer_task import best_answers
from albert_tf.tasks.squad_metrics import SpanSettings

PARTS = [
    "北京",
    "的",
    "，",
    "。",
    "2008 年",
    "unaffable",
    "Café",
    "cafe\u0301",
    "\u3000",
    "ＡＢ１",
    "😀",
]
PARTS += [
    "한국",
    "がぎ",
    " ",
    "\n",
    "\u200b",
    "[SEP]",
    "《",
    "ﬁ",
    "²",
    "é",
    "👨‍👩‍👧",
    "\ufeff",
    "I\u0307",
    "ß",
]
SETTINGS = WindowSettings(max_seq_length=24, doc_stride=7, max_query_length=6)
SPANS = SpanSettings(n_best=20, max_answer_tokens=6)


@pytest.fixture(scope="module")
def tokenizer():
    pieces = word_pieces.make_pieces(
        [*word_pieces.CHINESE, "unaffable cafe é ß ab12 2008 年", *PARTS]
    )
    return Tokenizer.from_word_pieces(WordPieceVocabulary(pieces))


def make_questions(count):
    draw = random.Random(5)
    texts = ["".join(draw.choices(PARTS, k=draw.randrange(1, 40))) for _ in range(count)]
    return [Question(str(i), "北京 Café？", text, "", (), False) for i, text in enumerate(texts)]


def make_scores(generator, encoded):
    rows, length = len(encoded), int(encoded.lengths().max())
    starts = generator.integers(0, min(5, encoded.lengths().min()), (rows, 3)).astype(np.int32)
    plain = {name: generator.normal(size=(rows, length)) for name in ("start_logits", "end_logits")}
    conditional = {
        "start_logits": plain["start_logits"],
        "end_logits": generator.normal(size=(rows, 3, length)),
        "impossible_logits": generator.normal(size=rows),
        "start_positions": starts + generator.integers(0, 15, (rows, 1)).astype(np.int32),
    }
    return plain, conditional


@pytest.mark.parametrize("head", ["plain", "conditional"])
def test_answers_of_a_graph_are_those_of_python_and_slices_of_the_context(tokenizer, head):
    questions = make_questions(60)
    settings = vars(SETTINGS)
    encoded = squad.encode(questions, tokenizer, **settings)
    contexts = tf.constant([question.context for question in questions])
    windows = WindowEncoder(tokenizer, SETTINGS)(tf.repeat("北京 Café？", len(questions)), contexts)
    drawn = make_scores(np.random.default_rng(1), encoded)[head == "conditional"]
    mask = windows.inputs["input_mask"].numpy()
    # As the models give them: padding is out of the question.
    outputs = {
        name: np.where(mask[:, None] if values.ndim == 3 else mask, values, -1e4).astype(np.float32)
        if name in ("start_logits", "end_logits")
        else values.astype(values.dtype if values.dtype == np.int32 else np.float32)
        for name, values in drawn.items()
    }
    expected = best_answers(questions, encoded, outputs, SPANS)
    found = find_answers(
        {name: tf.constant(values) for name, values in outputs.items()},
        windows,
        contexts,
        SPANS,
        None,
    )
    lengths = set()
    for row, (question, right) in enumerate(zip(questions, expected, strict=True)):
        answer, start, end = (found[name][row].numpy() for name in ("answer", "start", "end"))
        assert answer.decode() == question.context[start:end]
        best = right["answers"][0] if right["answers"] else None
        assert answer.decode() == (best.text if best else ""), repr(question.context)
        if best:
            assert (start, end) == (best.start, best.end), repr(question.context)
            np.testing.assert_allclose(found["score"][row], best.score, atol=1e-4)
        np.testing.assert_allclose(found["null_score"][row], right["null_score"], atol=1e-4)
        lengths.add(end - start)
    assert len(lengths) > 8 and len(encoded) > len(questions)


def test_scores_of_short_rows_are_those_of_the_row_alone():
    """A softmax over a row is the same beside longer ones, which are computed apart."""
    lengths = np.array([3, 40, 17])
    inputs = {"input_mask": tf.sequence_mask(lengths, dtype=tf.int32)}
    outputs = {
        "start_logits": (tf.float32, (graph_batches.TOKENS,)),
        "end_logits": (tf.float32, (None, graph_batches.TOKENS)),
        "tags": (tf.float32, (graph_batches.TOKENS, 2)),
    }

    def compute(some):
        mask = tf.cast(some["input_mask"], tf.float32)  # [rows, columns]
        logits = -5.0 - tf.cumsum(mask, axis=1) - 1e30 * (1 - mask)
        tags = tf.stack([mask, mask], axis=2)
        return {"start_logits": logits, "end_logits": tf.stack([logits] * 3, 1), "tags": tags}

    found = graph_batches.run(compute, inputs, outputs, rows_at_a_time=1)
    for row, length in enumerate(lengths):
        logits = -5.0 - np.arange(1, length + 1)
        right = np.zeros(40)
        right[:length] = np.exp(logits - np.logaddexp.reduce(logits))
        np.testing.assert_allclose(tf.nn.softmax(found["start_logits"][row]), right, atol=1e-6)
        np.testing.assert_allclose(tf.nn.softmax(found["end_logits"][row, 2]), right, atol=1e-6)
        np.testing.assert_array_equal(found["tags"][row, :, 1], np.arange(40) < length)
