"""Requests of many clients share runs, and none of them suffers for another."""

import asyncio
import threading
import time

import numpy as np
import pytest

from albert_tf.serving.request_batching import (
    DeadlineError,
    OverloadedError,
    RequestBatcher,
)
from albert_tf.serving.settings import BatchingSettings


def double(signature, inputs):
    """Doubles, slowly; refuses 13."""
    double.runs.append((signature, len(inputs["x"])))
    time.sleep(0.02)
    if 13 in inputs["x"]:
        raise ValueError("13 is refused")
    return {"y": 2 * inputs["x"]}


@pytest.fixture(autouse=True)
def no_runs():
    double.runs = []


def ask_all(settings, requests, run=double, by_rows=True, count=None):
    """Returns the answers or errors of requests that come together."""

    async def main():
        batcher = RequestBatcher(settings)
        asked = [
            batcher.ask(run, name, {"x": np.array(values)}, len(values) if by_rows else None, count)
            for name, values in requests
        ]
        try:
            return await asyncio.gather(*asked, return_exceptions=True)
        finally:
            await asyncio.to_thread(batcher.close)

    return asyncio.run(main())


def test_waiting_requests_share_a_run_and_get_their_own_rows():
    answers = ask_all(BatchingSettings(), [("f", [n, n + 1][: 1 + n % 2]) for n in range(20, 40)])
    for n, answer in enumerate(answers, start=20):
        assert answer["y"].tolist() == [2 * n, 2 * n + 2][: 1 + n % 2]
    # The first finds the model idle; all others wait for it and go together.
    assert double.runs == [("f", 1), ("f", 29)]


def test_an_answer_has_no_places_of_longer_rows_of_others():
    def count_up(signature, inputs):
        time.sleep(0.02)
        counts = inputs["x"]
        numbers = np.arange(max(counts)) + 1
        filled = np.where(numbers <= counts[:, None], numbers, 0)
        return {"scores": np.stack([filled, filled], axis=2), "mask_count": counts}

    questions = [("f", [n]) for n in (1, 8, 0, 3)]
    answers = ask_all(BatchingSettings(), questions, count_up, count="mask_count")
    assert [answer["scores"].shape for answer in answers] == [(1, n, 2) for n in (1, 8, 0, 3)]
    assert answers[3]["scores"][0, :, 0].tolist() == [1, 2, 3]
    # What another model means by the name is not known.
    answers = ask_all(BatchingSettings(), questions, count_up)
    assert [answer["scores"].shape for answer in answers] == [(1, 1, 2)] + [(1, 8, 2)] * 3


def test_runs_are_no_larger_than_allowed_and_of_one_kind():
    requests = [("f", [1.0, 2.0])] * 6 + [("g", [1.0])] * 2 + [("f", [[1.0]])] + [("f", [0.0] * 9)]
    answers = ask_all(BatchingSettings(max_batch_size=4), requests)
    for (_, values), answer in zip(requests, answers, strict=True):
        np.testing.assert_array_equal(answer["y"], 2 * np.array(values))
    assert double.runs == [("f", 2), ("f", 4), ("f", 4), ("f", 2), ("g", 2), ("f", 1), ("f", 9)]


def test_a_bad_request_fails_alone():
    answers = ask_all(BatchingSettings(), [("f", [n]) for n in (1, 2, 13, 4)])
    assert [str(a) if isinstance(a, ValueError) else a["y"].tolist() for a in answers] == [
        *([2], [4], "13 is refused", [8])
    ]


def test_what_does_not_work_by_rows_is_never_joined():
    requests = [("f", 3), ("f", 4), ("f", [5, 6])]

    def total(signature, inputs):
        return {"sum": inputs["x"].sum()}

    answers = ask_all(BatchingSettings(), requests, total, by_rows=False)
    assert [answer["sum"] for answer in answers] == [3, 4, 11]


def test_a_model_that_does_not_keep_the_rows_answers_each_request_alone():
    requests = [("f", [n % 3, 7, 7]) for n in range(9)]

    def unique(signature, inputs):
        time.sleep(0.02)
        return {"y": np.unique(inputs["x"])}

    answers = ask_all(BatchingSettings(), requests, unique)
    assert [answer["y"].tolist() for answer in answers] == [[n % 3, 7] for n in range(9)]


def test_requests_beyond_the_limit_and_beyond_their_time_are_refused():
    answers = ask_all(BatchingSettings(max_waiting=2), [("f", [n]) for n in range(5)])
    assert sum(isinstance(answer, OverloadedError) for answer in answers) == 2
    never = threading.Event()

    def hang(signature, inputs):
        never.wait(0.3)
        return inputs

    settings = BatchingSettings(timeout_seconds=0.05)
    answers = ask_all(settings, [("f", [1]), ("f", [2])], run=hang)
    assert all(isinstance(answer, DeadlineError) for answer in answers)


def test_settings_name_what_is_wrong():
    with pytest.raises(ValueError, match="`workers` must be a positive integer. Received: 0"):
        BatchingSettings(workers=0)
