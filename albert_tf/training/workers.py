"""What the processes of a run tell each other: results, who was asked to stop, who is gone.

The first worker, the *chief*, alone writes, and others never touch its files.
"""

import collections
import contextlib
import json
import signal
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NoReturn

import keras
import numpy as np
import tensorflow as tf

from albert_tf import failures, stop_signals
from albert_tf.model.tensors import Tensor

# Steps that a device may be behind its worker where workers tell each other of signals.
_STEPS_AHEAD = 2
# What TensorFlow raises in the workers that are left.
_LOSSES = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.InternalError,
    tf.errors.FailedPreconditionError,
)


class WorkerLostError(failures.Failure):
    """Another worker of the run ended or cannot be reached."""


class Workers:
    """The workers of a run; one has nobody to talk to.

    Attributes:
        count, number: how many there are, and which of them this is.

    Args:
        gather: gives the int32 vectors [n] of all workers, [W, n]; None for one worker.
    """

    def __init__(
        self,
        count: int = 1,
        number: int = 0,
        gather: Callable[[np.ndarray], np.ndarray] | None = None,
    ):
        self.count, self.number = count, number
        self._gather = gather
        self._stops = collections.deque()  # of the steps not looked at yet

    @property
    def is_chief(self) -> bool:
        """Whether this is the one that writes."""
        return self.number == 0

    @property
    def is_alone(self) -> bool:
        """Whether there is no other."""
        return self.count == 1

    def only_chief(self, report: Callable[[str], None]) -> Callable[[str], None]:
        """Returns `report` on the chief, which speaks for all, and elsewhere what says nothing."""
        return report if self.is_chief else lambda line: None

    def exchange(self, data: bytes) -> list[bytes]:
        """Returns what each worker gave, on all of them; a worker waits here for the others."""
        if self.is_alone:
            return [data]
        lengths = self._gather(np.array([len(data)], np.int32))[:, 0]  # [W]
        # Few sizes, because each is compiled.
        size = 1 << max(int(lengths.max()) // 4, 255).bit_length()
        padded = np.frombuffer(data.ljust(4 * size, b"\0"), np.int32)
        rows = self._gather(padded)  # [W, size]
        return [row.tobytes()[:length] for row, length in zip(rows, lengths.tolist(), strict=True)]

    def wait(self) -> None:
        """Waits until all workers are here."""
        self.exchange(b"")

    def from_chief(self, make: Callable[[], Any]) -> Any:
        """Returns on all workers what `make` returns on the chief: JSON types."""
        if self.is_alone:
            return make()
        data = json.dumps(make()).encode() if self.is_chief else b""
        return json.loads(self.exchange(data)[0])

    def share_variables(self, variables: Iterable[keras.Variable]) -> None:
        """Gives the variables of all workers the chief's values."""
        if self.is_alone:
            return
        for variable in variables:
            value = variable.numpy()
            data = self.exchange(value.tobytes() if self.is_chief else b"")[0]
            variable.assign(np.frombuffer(data, value.dtype).reshape(value.shape))

    def stop_flag(self) -> Tensor:
        """Returns what the workers add up in each step, for `note_stops`."""
        return tf.constant(float(stop_signals.requested() is not None))

    def note_stops(self, count: Tensor) -> None:
        """Takes how many workers were asked to stop, as a step added it up."""
        if not self.is_alone:
            self._stops.append(count)

    def raise_if_stopped(self) -> None:
        """Raises `Stopped` if a signal came to this worker or another.

        All stop behind the same step: each step adds up who was asked to, and all look at the sum
        some steps later, when it is there without waiting.
        """
        if self.is_alone:
            stop_signals.raise_if_requested()
        elif len(self._stops) > _STEPS_AHEAD and float(self._stops.popleft()):
            self.stop()

    def stop(self) -> NoReturn:
        """Raises `Stopped`, with the signal that came here if one did."""
        raise stop_signals.Stopped(stop_signals.requested() or signal.SIGTERM)

    def is_loss(self, error: BaseException) -> bool:
        """Whether an error says that another worker is gone."""
        return not self.is_alone and isinstance(error, _LOSSES)

    @contextlib.contextmanager
    def losses_named(self) -> Iterator[None]:
        """Turns what TensorFlow says of a worker that is gone into one clear line.

        Raises:
            WorkerLostError: in place of it.
        """
        try:
            yield
        except _LOSSES as error:
            if not self.is_loss(error):
                raise
            raise WorkerLostError(
                f"worker {self.number} of {self.count} has lost another one: it ended, or cannot "
                "be reached; see what it said. The same command on all of them goes on from the "
                f"last checkpoint. TensorFlow says: {_telling_line(error.message)}"
            ) from error


def _telling_line(message: str) -> str:
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    telling = [line for line in lines if "task" in line or "worker" in line]
    return next(iter(telling or lines), "nothing")[:300]
