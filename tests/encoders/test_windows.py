"""Windows are those of the original, in training as in an exported model."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from random_texts import random_texts

from albert_tf.pipelines.encoders.windows import WindowEncoder, WindowSettings, encode_windows
from albert_tf.pipelines.task_data import squad
from albert_tf.pipelines.task_data.squad import Question
from albert_tf.pipelines.tokenizer.arrays import encode_to_arrays

SETTINGS = [
    WindowSettings(max_seq_length=16, doc_stride=4, max_query_length=5),
    WindowSettings(max_seq_length=40, doc_stride=128, max_query_length=12),
    WindowSettings(max_seq_length=384, doc_stride=128, max_query_length=64),
]


def make_questions():
    asked = random_texts(21, 40)
    contexts = [" ".join(random_texts(100 + n, 4 + n % 9)) for n in range(40)]
    contexts[:3] = ["", " ", "cat"]
    contexts[11:13] = contexts[13:15]  # several questions about one context
    return [
        Question(str(n), *texts, "", (), False)
        for n, texts in enumerate(zip(asked, contexts, strict=True))
    ]


def windows_of(tokenizer, count, room, stride):
    """Returns [(first, last + 1)] tokens of the windows over `count` tokens, and the columns."""
    query = tokenizer.encode("the cat")
    columns = encode_to_arrays(
        encode_windows,
        tokenizer,
        tf.constant(["the cat"]),
        np.array([0]),
        np.array([count]),
        tf.range(count),
        tf.range(count),
        tf.range(count) + 1,
        max_seq_length=len(query) + 3 + room,
        doc_stride=stride,
        max_query_length=64,
    )
    sizes = columns["row_lengths"] - len(query) - 3
    firsts = columns["first_tokens"].tolist()
    return [
        (first, first + size) for first, size in zip(firsts, sizes.tolist(), strict=True)
    ], columns


@pytest.mark.parametrize(
    ("count", "room", "stride", "windows"),
    [
        (0, 6, 2, [(0, 0)]),
        (6, 6, 2, [(0, 6)]),
        (7, 6, 2, [(0, 6), (2, 7)]),
        (11, 6, 2, [(0, 6), (2, 8), (4, 10), (6, 11)]),
        (11, 6, 3, [(0, 6), (3, 9), (6, 11)]),
        (3, 1, 128, [(0, 1), (1, 2), (2, 3)]),
    ],
)
def test_windows_step_by_the_stride_until_one_ends_at_the_end(
    tokenizer, count, room, stride, windows
):
    assert windows_of(tokenizer, count, room, stride)[0] == windows


def test_answers_of_half_a_window_are_always_in_one_whatever_the_stride(tokenizer):
    for room in range(1, 20):
        for stride in (1, 3, 128):
            windows, _ = windows_of(tokenizer, 50, room, stride)
            for start in range(50):
                end = min(50, start + (room + 1) // 2)
                assert any(first <= start and end <= last for first, last in windows)


def best_tokens(windows, columns):
    """Returns for each window the tokens that have the most context there."""
    ends = np.cumsum(columns["row_lengths"])
    starts = ends - columns["row_lengths"] + columns["first_lengths"]
    return [
        [token for token in range(*window) if columns["is_max_context"][start + token - window[0]]]
        for start, window in zip(starts, windows, strict=True)
    ]


def test_token_is_best_in_the_window_with_most_context_on_both_sides(tokenizer):
    # Token 4 has one to its right in the first window and one to its left in the second: the first
    # of equals. Token 7 has one to its right and one to its left, but the second window is longer.
    windows, columns = windows_of(tokenizer, 10, 6, 4)
    assert windows == [(0, 6), (3, 9), (6, 10)]  # the stride is at most half
    assert best_tokens(windows, columns) == [[0, 1, 2, 3, 4], [5, 6, 7], [8, 9]]


def test_token_is_best_where_the_rule_says_token_by_token(tokenizer):
    for count, room, stride in [(0, 5, 2), (40, 12, 5), (41, 13, 1), (39, 10, 128)]:
        windows, columns = windows_of(tokenizer, count, room, stride)
        expected = [[] for _ in windows]
        for token in range(count):
            expected[best_window(token, windows)].append(token)
        assert best_tokens(windows, columns) == expected


def windows_in_python(count, room, doc_stride):
    """(first, last + 1) tokens of each window over `count` tokens of a context."""
    stride = min(doc_stride, max(1, room // 2))
    windows = [(0, min(room, count))]
    while windows[-1][1] < count:
        first = windows[-1][0] + stride
        windows.append((first, min(first + room, count)))
    return windows


def best_window(token, windows):
    """Number of the window in which a token has the most context, the first of equals."""
    scores = [
        min(token - first, last - 1 - token) + 0.01 * (last - first)
        if first <= token < last
        else -1
        for first, last in windows
    ]
    return scores.index(max(scores))


def rows_in_python(tokenizer, question, settings):
    """The windows of one question as columns, in Python."""
    query = tokenizer.encode(question.question)[: settings.max_query_length]
    ids, spans = tokenizer.encode_with_offsets(question.context)
    windows = windows_in_python(
        len(ids), settings.max_seq_length - 3 - len(query), settings.doc_stride
    )
    best = [best_window(token, windows) for token in range(len(ids))]
    before = [0] * (len(query) + 2)
    for number, (first, last) in enumerate(windows):
        part = range(first, last)
        yield {
            "input_ids": [
                *(tokenizer.cls_id, *query, tokenizer.sep_id),
                *(ids[first:last] + [tokenizer.sep_id]),
            ],
            "segment_ids": [*before, *(1 for _ in part), 1],
            "answer_mask": [1, *before[1:], *(1 for _ in part), 0],
            "is_max_context": [*before, *(int(best[token] == number) for token in part), 0],
            "char_starts": [*before, *(spans[token][0] for token in part), 0],
            "char_ends": [*before, *(spans[token][1] for token in part), 0],
        }


@pytest.mark.parametrize("settings", SETTINGS)
def test_windows_are_those_of_the_original(tokenizer, settings):
    questions = make_questions()
    encoded = squad.encode(questions, tokenizer, **dataclasses.asdict(settings))
    columns = encoded.tokens | encoded.details
    row = 0
    for number, question in enumerate(questions):
        for expected in rows_in_python(tokenizer, question, settings):
            assert encoded.details["question_index"][row] == number
            tokens = slice(*encoded.row_splits[row : row + 2])
            for name, column in expected.items():
                assert columns[name][tokens].tolist() == column, (number, name)
            row += 1
    assert row == len(encoded) and (settings.max_seq_length > 100 or row > 2 * len(questions))


@pytest.mark.slow
@pytest.mark.parametrize("settings", SETTINGS)
def test_exported_windows_are_those_of_training(tokenizer, settings):
    questions = make_questions()
    expected = squad.encode(questions, tokenizer, **dataclasses.asdict(settings))
    encoder = WindowEncoder(tokenizer, settings)
    run = tf.function(
        lambda q, c: {n: v for n, v in vars(encoder(q, c)).items() if n != "contexts"},
        [tf.TensorSpec([None], tf.string)] * 2,
        autograph=False,
    )
    windows = run(
        tf.constant([question.question for question in questions]),
        tf.constant([question.context for question in questions]),
    )
    np.testing.assert_array_equal(windows["question"], expected.details["question_index"])
    for row in range(len(expected)):
        tokens = slice(*expected.row_splits[row : row + 2])
        length = tokens.stop - tokens.start
        right = expected.row(row)
        may_end = right["answer_mask"].astype(bool)
        may_end[0] = False
        columns = {
            **{name: (windows["inputs"][name], right[name]) for name in right},
            "input_mask": (windows["inputs"]["input_mask"], np.ones(length, np.int32)),
            "may_end": (windows["may_end"], may_end),
        }
        for name, detail in (
            ("may_start", "is_max_context"),
            ("first_characters", "char_starts"),
            ("end_characters", "char_ends"),
        ):
            columns[name] = windows[name], expected.details[detail][tokens]
        for name, (column, right_column) in columns.items():
            np.testing.assert_array_equal(column[row][:length], right_column, err_msg=name)
            assert not column[row][length:].numpy().any(), name
