"""Many devices under our own loop: who computes what of a batch, and how sums are added.

Of the trainers only this file and `devices`, which makes what it is given, know `tf.distribute`. A
*replica* is the model on one device, a *worker* a process with one replica or several (`workers`).

Which example is the n-th of a run is arithmetic: a batch is cut into *parts*, part p of P has the
examples p, p + P, p + 2P, ..., and replica r of R the parts from r P / R on. P is R, or, where a
run is to end with the same bits on any number of replicas, a number of its own: then the sums of
the parts are added in a binary tree, whoever holds them.

Letters: B examples of a batch in all, P parts, R replicas.
"""

import contextlib
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from safetensors.numpy import load, save

from albert_tf import stop_signals
from albert_tf.model import fused_ops
from albert_tf.model.tensors import Batch, Tensor
from albert_tf.training.workers import Workers

# Evaluation batches a replica takes between two exchanges of results among workers.
_ROUNDS_BETWEEN_EXCHANGES = 16
# What workers send beside results: whether they were asked to stop.
_STOP = "stop"


class Distribution:
    """The replicas of a run; without a strategy one device, which has nobody to talk to.

    Attributes:
        num_replicas: R, of all workers.
        workers: the processes among which they are dealt out.
        parts: P.
        is_exact: whether sums are those of a tree over the parts, the same bits for any R.

    Args:
        strategy: None, or of TensorFlow, and the same on all workers.
        exact_parts: P, a power of two that R divides; 0 not to be exact.

    Raises:
        ValueError: if R does not divide `exact_parts`.
    """

    def __init__(self, strategy: tf.distribute.Strategy | None = None, exact_parts: int = 0):
        self._strategy = strategy
        self.num_replicas = strategy.num_replicas_in_sync if strategy else 1
        self._devices = strategy.extended.worker_devices if strategy else ("",)
        count = self.num_replicas // len(self._devices)
        number = _number_of_worker(strategy.cluster_resolver) if count > 1 else 0
        self._gather_rows = self.compile(lambda values: self._reduce(self._in_own_row(values[""])))
        self.workers = Workers(count, number, self._gather)
        self.is_exact = bool(exact_parts)
        self.parts = exact_parts or self.num_replicas
        if self.parts % self.num_replicas:
            fitting = [n for n in range(1, self.parts + 1) if self.parts % n == 0]
            raise ValueError(
                f"`exact_parts` must be a multiple of the devices in all, {self.num_replicas}, or "
                f"these one of {', '.join(map(str, fitting))}. Received: exact_parts={exact_parts}"
            )

    @property
    def parts_of_replica(self) -> int:
        """Parts that each replica computes, P / R."""
        return self.parts // self.num_replicas

    @property
    def is_parallel(self) -> bool:
        """Whether there is more than one replica."""
        return self.num_replicas > 1

    def scope(self) -> contextlib.AbstractContextManager:
        """Returns the context in which models and optimizers are made."""
        return self._strategy.scope() if self._strategy else contextlib.nullcontext()

    def check_batch_size(self, batch_size: int, accumulation_steps: int) -> None:
        """Refuses a batch that cannot be dealt out.

        Raises:
            ValueError: naming sizes that can.
        """
        is_even = self.is_exact or accumulation_steps > 1
        unit = self.parts * accumulation_steps if is_even else 1
        if batch_size >= self.parts and batch_size % unit == 0:
            return
        lower = batch_size // unit * unit
        fitting = [size for size in (lower, lower + unit) if size >= self.parts]
        what = f"{self.parts} parts" if self.is_exact else f"{self.num_replicas} devices"
        raise ValueError(
            f"`batch_size` must be {'a multiple of' if is_even else 'at least'} "
            f"{unit if is_even else self.parts} ({what}, accumulation_steps={accumulation_steps}), "
            f"such as {' or '.join(map(str, fitting or [self.parts]))}. Received: {batch_size}"
        )

    def rows(self, batch_size: int) -> np.ndarray | None:
        """Returns which examples of a batch this worker computes, in its order; None for all."""
        if self.parts == 1:
            return None
        return np.concatenate(self._rows_of_replicas(batch_size))

    def _rows_of_replicas(self, batch_size: int) -> list[np.ndarray]:
        """Returns the examples of each replica of this worker, part after part."""
        first = self.workers.number * len(self._devices) * self.parts_of_replica
        last = first + len(self._devices) * self.parts_of_replica
        parts = [np.arange(part, batch_size, self.parts) for part in range(first, last)]
        starts = range(0, len(parts), self.parts_of_replica)
        return [np.concatenate(parts[s : s + self.parts_of_replica]) for s in starts]

    def place(self, batches: Sequence[Batch], batch_size: int) -> Any:
        """Returns this worker's `rows` of batches of one shape, each replica's on its device.

        Stacked [S, ...] for `compile_steps`; of one batch as it is, for `compile`.
        """
        batch, axis = batches[0], 0
        if len(batches) > 1:
            batch, axis = {n: tf.stack([one[n] for one in batches]) for n in batch}, 1
        if not self._strategy:
            return batch
        sizes = [len(rows) for rows in self._rows_of_replicas(batch_size)]
        pieces = {name: tf.split(value, sizes, axis) for name, value in batch.items()}
        return self._place_each(
            [{name: value[i] for name, value in pieces.items()} for i in range(len(sizes))]
        )

    def _place_each(self, values: Sequence[Any]) -> Any:
        """Returns one value of TensorFlow's that is another on each replica of this worker."""

        def value_of(context: tf.distribute.experimental.ValueContext) -> Any:
            index = context.replica_id_in_sync_group % len(self._devices)
            with tf.device(self._devices[index]):
                return tf.nest.map_structure(tf.identity, values[index])

        return self._strategy.experimental_distribute_values_from_function(value_of)

    def compile(self, function: Callable, jit_compile: bool = False) -> Callable:
        """Returns a compiled function: batch as `place` returns it, tensors -> results.

        Args:
            function: is called in each replica with its piece and the tensors.
            jit_compile: whether XLA compiles it as a whole; on one device alone.

        Returns:
            A function whose results are those of each replica of this worker, a list.
        """
        return self._compile(self._run_in_replicas(function), jit_compile)

    def compile_steps(self, function: Callable, jit_compile: bool = False) -> Callable:
        """Returns a compiled function that takes S steps, so that no device waits between them.

        Args:
            function: of a batch, the number of the step, and tensors that are the same for all.
            jit_compile: as of `compile`.

        Returns:
            A function of batches as `place` stacks them, the number of the first step and the
            tensors, whose results [S, ...] are those of a replica, in a list.
        """
        run = self._run_in_replicas(function)

        def pick(batches: Batch, index: int | Tensor) -> Batch:
            return {name: value[index] for name, value in batches.items()}

        def take_steps(batches: Any, number: Tensor, *rest) -> list:
            @functools.partial(tf.function, autograph=False)
            def take_step(index: Tensor) -> Any:
                operands = (batches, index)
                batch = self._strategy.run(pick, operands) if self._strategy else pick(*operands)
                return run(batch, number + index, *rest)[0]

            count = self._local_values(next(iter(batches.values())))[0].shape[0]
            return [stack(count, lambda index: take_step(tf.convert_to_tensor(index)))]

        return self._compile(take_steps, jit_compile)

    def _local_values(self, value: Any) -> Sequence[Tensor]:
        """Returns the values of the replicas of this worker."""
        if not self._strategy:
            return [value]
        return self._strategy.experimental_local_results(value)

    def _run_in_replicas(self, function: Callable) -> Callable[..., list]:
        """Returns a function that calls `function` in each replica of this worker."""
        if not self._strategy:
            return lambda *operands: [function(*operands)]

        def run(*operands) -> list:
            results = self._strategy.run(function, args=operands)
            flat = [self._local_values(result) for result in tf.nest.flatten(results)]
            return [tf.nest.pack_sequence_as(results, values) for values in zip(*flat, strict=True)]

        return run

    def _compile(self, run: Callable, jit_compile: bool) -> Callable:
        """Returns `run` compiled once for each combination of shapes of the first operand."""
        if not self._strategy:
            return fused_ops.compile_by_shape(run, jit_compile)
        by_shape = {}

        def call(batch: Any, *rest) -> list:
            shapes = tuple(
                (name, *(tuple(piece.shape) for piece in self._local_values(value)))
                for name, value in batch.items()
            )
            if shapes not in by_shape:
                by_shape[shapes] = tf.function(run, autograph=False)
            return by_shape[shapes](batch, *rest)

        return call

    def part_number(self) -> int | Tensor:
        """Returns, in a replica, the number of its first part."""
        if not self._strategy:
            return 0
        context = tf.distribute.get_replica_context()
        return context.replica_id_in_sync_group * self.parts_of_replica

    def add_up(self, values: Sequence[Tensor]) -> list[Tensor]:
        """Returns, in a replica, float32 sums over all parts of the whole batch, in one reduction.

        Args:
            values: float32; of an exact run [P / R, ...], one row a part of this replica, and
                otherwise the replica's own sums [...].
        """
        rows = 1 if not self.is_exact else self.parts_of_replica
        shapes = [value.shape[1:] if self.is_exact else value.shape for value in values]
        if not self.is_parallel and not self.is_exact:
            return list(values)
        joined = tf.concat([tf.reshape(value, [rows, -1]) for value in values], axis=1)
        total = _add_in_tree(joined)  # [N]
        if self.is_parallel:
            total = self._add_replicas(total)
        sizes = [shape.num_elements() for shape in shapes]
        parts = tf.split(total, sizes)
        return [tf.reshape(part, shape) for part, shape in zip(parts, shapes, strict=True)]

    def _add_replicas(self, vector: Tensor) -> Tensor:
        """Returns, in a replica, the sum of a vector [N] over all replicas."""
        if self.is_exact:
            # Every sum has one term that is not zero, and so no order: the tree comes after it.
            return _add_in_tree(self._reduce(self._in_own_row(vector)))
        return self._reduce(vector)

    def _in_own_row(self, vector: Tensor) -> Tensor:
        """Returns, in a replica, [R, N] with a vector [N] in the row of this one and zeros."""
        number = tf.distribute.get_replica_context().replica_id_in_sync_group
        return tf.one_hot(number, self.num_replicas, dtype=vector.dtype)[:, None] * vector

    def _reduce(self, values: Tensor) -> Tensor:
        context = tf.distribute.get_replica_context()
        number = tf.get_static_value(context.replica_id_in_sync_group)
        if number is not None:
            # Collectives want to know the device of what they add up; on TPUs there is none.
            with tf.device(self._devices[number % len(self._devices)]):
                values = tf.identity(values)
        return context.all_reduce(tf.distribute.ReduceOp.SUM, values)

    def prepare_optimizer(self, optimizer: keras.optimizers.Optimizer) -> None:
        """Makes `apply` take gradients that are sums over all replicas already.

        Ours (`add_up`), as Keras's own, would add them up once more.
        """
        inner = getattr(optimizer, "inner_optimizer", optimizer)
        if self._strategy:
            name = "add_up" if hasattr(inner, "add_up") else "_all_reduce_sum_gradients"
            setattr(inner, name, lambda pairs: pairs)

    def map_batches(
        self, function: Callable[[Batch], dict[str, Tensor]]
    ) -> Callable[[Iterable[Batch]], Iterator[dict[str, np.ndarray]]]:
        """Returns a function: batches -> what `function` gives for each, arrays, in their order.

        Each replica takes every R-th batch, and every worker has all results. Workers must be given
        the same batches. A signal that one of them received raises `Stopped` in all.
        """
        compiled = self.compile(function)

        def run(batches: Iterable[Batch]) -> Iterator[dict[str, np.ndarray]]:
            batches, size = iter(batches), self.num_replicas * _ROUNDS_BETWEEN_EXCHANGES
            while group := list(itertools.islice(batches, size)):
                results = []
                for start in range(0, len(group), self.num_replicas):
                    if self.workers.is_alone:
                        stop_signals.raise_if_requested()
                    of_round = group[start : start + self.num_replicas]
                    # Who has no batch of its own takes the last one, too.
                    of_round += of_round[-1:] * (self.num_replicas - len(of_round))
                    first = self.workers.number * len(self._devices)
                    own = of_round[first : first + len(self._devices)]
                    placed = self._place_each(own) if self._strategy else own[0]
                    results += [_as_arrays(one) for one in compiled(placed)]
                yield from self._gather_results(results)[: len(group)]

        if self.workers.is_alone and not self.is_parallel:
            return lambda batches: map(_as_arrays, _each(compiled, batches))
        return run

    def _gather_results(self, results: list[dict[str, np.ndarray]]) -> list[dict[str, np.ndarray]]:
        """Returns what all workers have, in the order of the batches."""
        if self.workers.is_alone:
            return results
        everything = [
            _read_results(data) for data in self.workers.exchange(_write_results(results))
        ]
        if any(is_stopped for _, is_stopped in everything):
            self.workers.stop()
        local = len(self._devices)
        return [
            {name: one[name] for name in results[0]}
            for start in range(0, len(results), local)
            for of_worker, _ in everything
            for one in of_worker[start : start + local]
        ]

    def _gather(self, vector: np.ndarray) -> np.ndarray:
        """Returns the int32 vectors [n] of all workers, [W, n]."""
        placed = self._place_each([vector] * len(self._devices))
        return self._gather_rows({"": placed})[0][:: len(self._devices)].numpy()


def stack(count: int, function: Callable[[int | Tensor], Any]) -> Any:
    """Returns what `function` gives for 0 to count - 1, a nest of tensors [count, ...].

    One after the other, so that the activations of one are alive at a time.
    """
    first = function(0)
    arrays = [
        tf.TensorArray(value.dtype, count, element_shape=value.shape).write(0, value)
        for value in tf.nest.flatten(first)
    ]

    def write(index: Tensor, *arrays) -> tuple[Tensor, ...]:
        values = tf.nest.flatten(function(index))
        return index + 1, *(a.write(index, v) for a, v in zip(arrays, values, strict=True))

    arrays = tf.while_loop(
        lambda index, *_: index < count, write, (1, *arrays), parallel_iterations=1
    )[1:]
    return tf.nest.pack_sequence_as(first, [array.stack() for array in arrays])


def _number_of_worker(resolver: tf.distribute.cluster_resolver.ClusterResolver) -> int:
    """Returns this worker's number; a task that is called chief comes before the others."""
    chiefs = len(resolver.cluster_spec().as_dict().get("chief", ()))
    return resolver.task_id + (chiefs if resolver.task_type == "worker" else 0)


def _add_in_tree(rows: Tensor) -> Tensor:
    """Returns the sum of the rows, [n, N] -> [N], as a binary tree that n doubles of add alike."""
    while rows.shape[0] > 1:
        rows = rows[0::2] + rows[1::2]
    return rows[0]


def _each(compiled: Callable, batches: Iterable[Batch]) -> Iterator[dict[str, Tensor]]:
    for batch in batches:
        stop_signals.raise_if_requested()
        yield compiled(batch)[0]


def _as_arrays(results: dict[str, Tensor]) -> dict[str, np.ndarray]:
    return {name: np.asarray(value) for name, value in results.items()}


def _write_results(results: list[dict[str, np.ndarray]]) -> bytes:
    """Returns results as bytes, and with them whether this worker was asked to stop."""
    arrays = {f"{i}/{n}": v for i, one in enumerate(results) for n, v in one.items()}
    return save({**arrays, _STOP: np.array(stop_signals.requested() is not None)})


def _read_results(data: bytes) -> tuple[list[dict[str, np.ndarray]], bool]:
    """Returns what `_write_results` was given, and whether that worker was asked to stop."""
    results, arrays = [], load(data)
    is_stopped = bool(arrays.pop(_STOP))
    for key, value in sorted(arrays.items(), key=lambda item: int(item[0].partition("/")[0])):
        index, _, name = key.partition("/")
        if int(index) == len(results):
            results.append({})
        results[-1][name] = value
    return results, is_stopped
