"""Which devices a run gets, and what is said where there are none."""

import collections
import functools
import json
import types

import pytest
import tensorflow as tf

from albert_tf.training import devices
from albert_tf.training.settings import DeviceSettings

PAIR = {"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 1}}


@pytest.fixture(autouse=True)
def no_cluster(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    monkeypatch.delenv("SLURM_NTASKS", raising=False)


def find(**values):
    lines = []
    return devices.find_devices(DeviceSettings(**values), lines.append), lines


def test_auto_is_one_device_where_there_is_no_other():
    found, lines = find()
    assert found.num_replicas == 1
    assert found.workers.is_alone
    assert lines == []


@pytest.mark.parametrize(
    ("precision", "seconds", "expected"),
    [
        ("mixed_bfloat16", 1.8, ["products in bfloat16 take 1.8 times as long"]),
        ("mixed_float16", 3.0, ["products in float16 take 3.0 times as long"]),
        ("mixed_bfloat16", 0.5, []),
        ("mixed_bfloat16", 1.1, []),
        ("float32", 1.8, []),
    ],
)
def test_half_precision_that_is_slower_is_said(monkeypatch, precision, seconds, expected):
    times = collections.defaultdict(lambda: seconds, float32=1.0)
    monkeypatch.setattr(devices, "_seconds_of_product", times.__getitem__)
    lines = []
    devices.find_devices(DeviceSettings(), lines.append, precision)
    assert [line.partition(" on this processor")[0] for line in lines] == expected


def test_products_are_timed():
    assert 0 < devices._seconds_of_product("bfloat16") < 10


def test_auto_takes_all_gpus(monkeypatch):
    gpus = [types.SimpleNamespace(name=f"GPU:{i}") for i in range(4)]
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: gpus)
    asked = []
    monkeypatch.setattr(tf.distribute, "MirroredStrategy", asked.append)
    find()
    assert asked == [["GPU:0", "GPU:1", "GPU:2", "GPU:3"]]


def test_runs_of_one_process_share_what_numbers_their_collective_operations(monkeypatch):
    gpus = [types.SimpleNamespace(name=f"GPU:{i}") for i in (7, 8)]
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: gpus)
    monkeypatch.setattr(tf.distribute, "MirroredStrategy", lambda names: object())
    assert devices._mirrored() is devices._mirrored()


def test_auto_joins_the_workers_of_tf_config(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", json.dumps(PAIR))
    asked = []
    for kind in devices._STRATEGIES:
        monkeypatch.setitem(devices._STRATEGIES, kind, functools.partial(asked.append, kind))
    find()
    assert asked == ["multi_worker"]


def test_a_worker_alone_in_tf_config_is_one_device(monkeypatch):
    alone = {"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(alone))
    assert find()[0].workers.is_alone


@pytest.mark.parametrize(
    "config",
    [
        "{",
        "[]",
        '{"cluster": {"worker": ["a:1"]}}',
        json.dumps({**PAIR, "task": {"type": "worker", "index": 2}}),
        json.dumps({**PAIR, "task": {"type": "evaluator", "index": 0}}),
        json.dumps({**PAIR, "cluster": {**PAIR["cluster"], "ps": ["c:1"]}}),
    ],
)
def test_a_wrong_tf_config_is_refused_with_an_example(config, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(ValueError, match=r"TF_CONFIG must name workers .*a:2222.* Received: "):
        find()


def test_mirrored_needs_devices():
    with pytest.raises(ValueError, match="more than one device. Received: .*CPU:0"):
        find(distribute="mirrored")


def test_several_workers_need_to_be_told_of_each_other():
    with pytest.raises(ValueError, match="needs TF_CONFIG on each worker, or the steps of a Slurm"):
        find(distribute="multi_worker")


def test_slurm_tells_the_workers(monkeypatch):
    monkeypatch.setenv("SLURM_NTASKS", "2")
    resolver = object()
    monkeypatch.setattr(tf.distribute.cluster_resolver, "SlurmClusterResolver", lambda: resolver)
    assert devices._resolve_workers() is resolver


def test_a_tpu_is_connected_initialised_and_taken(monkeypatch):
    steps = []
    monkeypatch.setattr(tf.config, "experimental_connect_to_cluster", steps.append)
    monkeypatch.setattr(tf.tpu.experimental, "initialize_tpu_system", steps.append)
    monkeypatch.setattr(tf.distribute, "TPUStrategy", lambda resolver: ("strategy", resolver))
    assert devices._tpu(lambda: "resolver") == ("strategy", "resolver")
    assert steps == ["resolver", "resolver"]


def test_a_tpu_that_is_not_there_is_said_in_one_line():
    def not_found():
        raise ValueError("Please provide a TPU Name to connect to.")

    with pytest.raises(ValueError, match=r"needs a TPU .*\(TPU_NAME\).*Please provide"):
        devices._tpu(not_found)


@pytest.mark.parametrize("parts", [0, 3, 12])
def test_exact_parts_are_a_power_of_two(parts):
    with pytest.raises(ValueError, match="`exact_parts` must be"):
        DeviceSettings(exact=True, exact_parts=parts)


def test_only_what_changes_bits_is_kept_of_a_run():
    assert DeviceSettings(distribute="mirrored").describe() == {}
    assert DeviceSettings(exact=True).describe() == {"exact_parts": 8}
