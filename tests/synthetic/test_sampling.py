"""The sample of a stream is even, whatever its length."""

import collections
import random

from albert_tf.pipelines.synthetic import sampling


def sample(count, size, seed=0, report=lambda line: None):
    return sampling.sample_evenly(range(count), size, random.Random(seed), report, "numbers")


def test_every_item_is_as_likely_as_any_other():
    counts = collections.Counter(n for seed in range(3_000) for n in sample(10, 3, seed))
    assert set(counts) == set(range(10))
    # 900 of each on average, with a deviation of 25.
    assert all(abs(count - 900) < 125 for count in counts.values())


def test_a_stream_that_is_no_longer_than_the_sample_is_all_of_it():
    assert sample(3, 5) == [0, 1, 2]
    assert sample(0, 5) == []


def test_progress_is_told():
    lines = []
    sample(450_000, 1, report=lines.append)
    assert lines == ["found 200,000 numbers", "found 400,000 numbers"]
