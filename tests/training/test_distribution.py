"""Who computes what of a batch, and that a run is the same on any number of devices."""

import types

import numpy as np
import pytest
import tensorflow as tf

from albert_tf.training import distribution
from albert_tf.training.distribution import Distribution


def make_strategy(devices=1, workers=1, worker=0, chief=False):
    """Returns what `Distribution` asks of a strategy, without the machines."""
    tasks = {"chief": ["a"], "worker": ["b"] * (workers - 1)} if chief else {"worker": workers}
    resolver = types.SimpleNamespace(
        cluster_spec=lambda: types.SimpleNamespace(as_dict=lambda: tasks),
        task_type="chief" if chief and worker == 0 else "worker",
        task_id=max(worker - 1, 0) if chief else worker,
    )
    return types.SimpleNamespace(
        num_replicas_in_sync=devices * workers,
        extended=types.SimpleNamespace(worker_devices=tuple(map(str, range(devices)))),
        cluster_resolver=resolver,
    )


@pytest.mark.parametrize(("batch_size", "exact_parts"), [(16, 0), (13, 0), (16, 8), (32, 16)])
@pytest.mark.parametrize(("devices", "workers"), [(1, 1), (2, 1), (1, 4), (2, 2)])
def test_every_example_is_computed_once_and_in_the_parts_of_one_process(
    batch_size, exact_parts, devices, workers
):
    rows = []
    for worker in range(workers):
        strategy = make_strategy(devices, workers, worker) if devices * workers > 1 else None
        own = Distribution(strategy, exact_parts).rows(batch_size)
        rows += list(range(batch_size) if own is None else own)
    assert sorted(rows) == list(range(batch_size))
    if exact_parts:
        assert rows == list(Distribution(None, exact_parts).rows(batch_size))


def test_replicas_differ_by_one_example_at_most():
    sizes = [len(Distribution(make_strategy(1, 3, worker)).rows(256)) for worker in range(3)]
    assert sizes == [86, 85, 85]


def test_a_chief_is_the_first_worker_and_others_follow():
    numbers = [
        Distribution(make_strategy(2, 3, worker, chief=True)).workers.number for worker in range(3)
    ]
    assert numbers == [0, 1, 2]


@pytest.mark.parametrize(
    ("strategy", "exact_parts", "batch_size", "accumulation_steps", "message"),
    [
        (make_strategy(4), 0, 3, 1, r"at least 4 \(4 devices, .* such as 4\. Received: 3"),
        (make_strategy(3), 0, 32, 2, r"a multiple of 6 .* such as 30 or 36\. Received: 32"),
        (None, 8, 20, 1, r"a multiple of 8 \(8 parts, .* such as 16 or 24\. Received: 20"),
        (make_strategy(2), 8, 24, 2, r"a multiple of 16 .* such as 16 or 32\. Received: 24"),
    ],
)
def test_a_batch_that_cannot_be_dealt_out_is_refused_with_sizes_that_can(
    strategy, exact_parts, batch_size, accumulation_steps, message
):
    with pytest.raises(ValueError, match=message):
        Distribution(strategy, exact_parts).check_batch_size(batch_size, accumulation_steps)


def test_exact_parts_that_the_devices_do_not_divide_are_refused():
    with pytest.raises(ValueError, match=r"the devices in all, 3, or these one of 1, 2, 4, 8"):
        Distribution(make_strategy(3), 8)


def test_a_tree_adds_the_same_bits_however_its_rows_are_held():
    generator = np.random.default_rng(0)
    rows = (generator.normal(size=(8, 500)) * 10.0 ** generator.integers(-6, 6, (8, 1))).astype("f")
    total = distribution._add_in_tree(tf.constant(rows)).numpy()
    for holders in (2, 4, 8):
        held = [distribution._add_in_tree(tf.constant(part)) for part in np.split(rows, holders)]
        again = distribution._add_in_tree(tf.stack(held)).numpy()
        np.testing.assert_array_equal(again.view(np.int32), total.view(np.int32))
    assert np.any(np.cumsum(rows, axis=0)[-1] != total)  # the order does matter


def test_sums_of_one_exact_device_are_those_of_its_parts():
    devices = Distribution(None, 4)
    values = [tf.reshape(tf.range(24.0), [4, 2, 3]), tf.constant([1.0, 2.0, 3.0, 4.0])]
    total, count = devices.add_up(values)
    np.testing.assert_array_equal(total, values[0].numpy().sum(0))
    assert count.shape == ()
    assert float(count) == 10


def test_results_cross_between_workers_as_they_are():
    results = [
        {"scores": np.ones((2, 3), np.float32) * i, "ids": np.array([i, 12])} for i in range(12)
    ]
    again, is_stopped = distribution._read_results(distribution._write_results(results))
    assert not is_stopped
    assert len(again) == len(results)
    for one, other in zip(again, results, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])
