"""Finds the devices that a run asks for, and those that TensorFlow sees."""

import functools
import json
import os
import time
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from albert_tf import stop_signals
from albert_tf.training.distribution import Distribution
from albert_tf.training.settings import DeviceSettings

_WORKERS = ("chief", "worker")
# A product of the size that small models have, and how much slower in half precision is worth a
# line: what a processor's own loops scatter is less.
_PRODUCT, _TRIES = (256, 384, 384), 5
_MUCH_SLOWER = 1.2


def find_devices(
    settings: DeviceSettings, report: Callable[[str], None] = print, precision: str = "float32"
) -> Distribution:
    """Returns the devices of a run. Called before anything else asks TensorFlow to compute.

    Args:
        settings: what the run asks for.
        report: takes a line where there is more than one device, and where the processor would be
            faster in float32.
        precision: Keras dtype policy that the run computes in.

    Raises:
        ValueError: for devices that there are not, a damaged `TF_CONFIG`, or a process in which
            TensorFlow has begun to compute in a way that cannot be changed any more.
    """
    if settings.exact:
        _compute_in_order()
    kind = settings.distribute
    if kind == "auto":
        kind = _choose()
    devices = Distribution(_STRATEGIES[kind](), settings.exact_parts if settings.exact else 0)
    workers = devices.workers
    if not workers.is_alone:
        report(f"worker {workers.number} of {workers.count}; worker 0 alone writes")
    if devices.is_parallel:
        report(f"{devices.num_replicas} devices share each batch")
    if workers.is_chief:
        _remark_slow_precision(precision, report)
    return devices


def _choose() -> str:
    if len(_workers()) > 1:
        return "multi_worker"
    return "mirrored" if len(tf.config.list_logical_devices("GPU")) > 1 else "one_device"


def _remark_slow_precision(precision: str, report: Callable[[str], None]) -> None:
    """Says where products in half precision take longer than in float32.

    It is measured, because a processor that lists the instructions may still be slow by them: Intel
    Xeons whose avx512_bf16 is there and whose matrix units are hidden by the hypervisor take 1.8
    times as long, AMD EPYCs with the same instructions half as long.
    """
    dtype = keras.DTypePolicy(precision).compute_dtype
    if dtype == "float32" or any(map(tf.config.list_logical_devices, ("GPU", "TPU"))):
        return
    slower = _seconds_of_product(dtype) / _seconds_of_product("float32")
    if slower > _MUCH_SLOWER:
        report(
            f"products in {dtype} take {slower:.1f} times as long on this processor as in float32: "
            "`precision=float32` is faster here"
        )


def _seconds_of_product(dtype: str) -> float:
    """Returns the least time of a product of two matrices."""
    rows, inner, columns = _PRODUCT
    left, right = tf.ones((rows, inner), dtype), tf.ones((inner, columns), dtype)
    times = []
    for _ in range(_TRIES):
        start = time.perf_counter()
        tf.matmul(left, right)[0, 0].numpy()
        times.append(time.perf_counter() - start)
    return min(times)


def _compute_in_order() -> None:
    """Makes an operation give the same bits on each worker: one thread, nothing at random."""
    if tf.config.threading.get_intra_op_parallelism_threads() != 1:
        try:
            tf.config.threading.set_intra_op_parallelism_threads(1)
        except RuntimeError as error:
            raise ValueError(
                "`exact` must be asked for before TensorFlow computes: it takes one thread an "
                "operation. Call tf.config.threading.set_intra_op_parallelism_threads(1) first"
            ) from error
    # What is fused, folded or reordered depends on what stands around it, and on the devices.
    rewrites = ("remapping", "arithmetic_optimization", "constant_folding")
    tf.config.optimizer.set_experimental_options(dict.fromkeys(rewrites, False))
    if tf.config.list_physical_devices("GPU"):
        tf.config.experimental.enable_op_determinism()


def _workers() -> list[str]:
    """Returns the addresses in `TF_CONFIG`, in order; none where it is not set.

    Raises:
        ValueError: if it holds anything else than the workers of a training and one of them.
    """
    text = os.environ.get("TF_CONFIG")
    if not text:
        return []
    try:
        config = json.loads(text)
        cluster, task = config["cluster"], config["task"]
        addresses = [address for kind in _WORKERS for address in cluster.get(kind, [])]
        known = cluster[task["type"]][int(task["index"])] in addresses
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise _wrong_config(text) from error
    if not known or set(cluster) - set(_WORKERS):
        raise _wrong_config(text)
    return addresses


def _wrong_config(text: str) -> ValueError:
    example = {"cluster": {"worker": ["a:2222", "b:2222"]}, "task": {"type": "worker", "index": 0}}
    return ValueError(
        f"TF_CONFIG must name workers and which of them this is, as {json.dumps(example)}. "
        f"Received: {text:.300}"
    )


def _mirrored() -> tf.distribute.Strategy:
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    if len(devices) < 2:
        raise ValueError(
            "`distribute=mirrored` needs more than one device. Received: "
            f"{', '.join(device.name for device in devices)}"
        )
    return _mirror(tuple(device.name for device in devices))


@functools.cache  # another one would number its collective operations as the first, and meet its
def _mirror(names: tuple[str, ...]) -> tf.distribute.Strategy:
    return tf.distribute.MirroredStrategy(list(names))


def _resolve_workers() -> tf.distribute.cluster_resolver.ClusterResolver:
    if _workers():
        return tf.distribute.cluster_resolver.TFConfigClusterResolver()
    if int(os.environ.get("SLURM_NTASKS", "0")) > 1:
        return tf.distribute.cluster_resolver.SlurmClusterResolver()
    raise ValueError(
        "`distribute=multi_worker` needs TF_CONFIG on each worker, or the steps of a Slurm job "
        "(docs/distribution.md). Received: neither"
    )


@functools.cache  # a process joins its cluster once
def _multi_worker() -> tf.distribute.Strategy:
    resolver = _resolve_workers()
    try:
        strategy = tf.distribute.MultiWorkerMirroredStrategy(resolver)
        stop_signals.take_again()  # TensorFlow's service of workers takes SIGTERM for itself
        return strategy
    except RuntimeError as error:
        raise ValueError(
            "several workers must be asked for before TensorFlow computes anything. TensorFlow "
            f"says: {error}"
        ) from error


def _tpu(
    resolver_class: Callable[..., Any] = tf.distribute.cluster_resolver.TPUClusterResolver,
) -> tf.distribute.Strategy:
    """Returns the strategy of the TPU that the environment names. Never run on a TPU."""
    try:
        resolver = resolver_class()
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
    except (ValueError, tf.errors.OpError) as error:
        raise ValueError(
            "`distribute=tpu` needs a TPU that TensorFlow finds (TPU_NAME). TensorFlow says: "
            f"{str(error):.300}"
        ) from error
    return tf.distribute.TPUStrategy(resolver)


_STRATEGIES = {
    "one_device": lambda: None,
    "mirrored": _mirrored,
    "multi_worker": _multi_worker,
    "tpu": _tpu,
}
