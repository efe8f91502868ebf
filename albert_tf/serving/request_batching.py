"""Requests of many clients -> few runs of the model, each of many rows.

While the model works, requests wait; what waits for the same signature and fits together then goes
in one run. A request that finds the model idle does not wait. Only requests to signatures that turn
rows into rows are joined; where a run does not give a row for each, its requests are run alone.
"""

import asyncio
import collections
import concurrent.futures
import dataclasses
from collections.abc import Callable

import numpy as np

from albert_tf.serving.settings import BatchingSettings

# A model: the name of a signature and its inputs to its outputs.
Run = Callable[[str, dict[str, np.ndarray]], dict[str, np.ndarray]]


class OverloadedError(RuntimeError):
    """More requests wait than may."""


class DeadlineError(RuntimeError):
    """A request was not answered in time."""


@dataclasses.dataclass(eq=False)
class _Waiting:
    """`rows` is None for what must run alone; `count` is an output that says how much is filled."""

    run: Run
    key: tuple
    inputs: dict[str, np.ndarray]
    rows: int | None
    count: str | None
    answer: asyncio.Future


class RequestBatcher:
    """Runs a model for many clients; used from one event loop.

    Args:
        settings: how requests are joined.
        observe: called with the rows of each run.
    """

    def __init__(
        self, settings: BatchingSettings, observe: Callable[[int], object] = lambda rows: None
    ):
        self._settings = settings
        self._observe = observe
        self._waiting: collections.deque[_Waiting] = collections.deque()
        self._idle = settings.workers
        self._pool = concurrent.futures.ThreadPoolExecutor(settings.workers, "model")

    async def ask(
        self,
        run: Run,
        signature: str,
        inputs: dict[str, np.ndarray],
        rows: int | None,
        count: str | None = None,
    ) -> dict[str, np.ndarray]:
        """Returns what a model answers.

        Args:
            run: the model.
            signature: its name.
            inputs: by their names.
            rows: of the inputs and outputs; None if they are no rows.
            count: the output that says how many places of a row are filled, which all matrices of
                the answer have then; None if there is none.

        Raises:
            OverloadedError, DeadlineError: see there; or what `run` raises for these inputs.
        """
        self._drop_abandoned()
        if len(self._waiting) >= self._settings.max_waiting:
            raise OverloadedError(
                f"at most {self._settings.max_waiting} requests may wait. Received: one more"
            )
        # What has the same type and inner shape can stand in one array.
        forms = tuple((n, v.dtype.str, v.shape[1:]) for n, v in sorted(inputs.items()))
        answer = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(run, (run, signature, forms), inputs, rows, count, answer))
        self._start_runs()
        try:
            return await asyncio.wait_for(answer, self._settings.timeout_seconds)
        except TimeoutError:
            raise DeadlineError(
                f"an answer must be there within {self._settings.timeout_seconds:g} s. "
                "Received: none"
            ) from None

    def close(self) -> None:
        """Waits for the runs that are on their way."""
        self._pool.shutdown()

    def _drop_abandoned(self) -> None:
        """Forgets requests whose clients no longer wait."""
        while self._waiting and self._waiting[0].answer.done():
            self._waiting.popleft()

    def _start_runs(self) -> None:
        while self._idle:
            self._drop_abandoned()
            if not self._waiting:
                return
            group = self._take_group()
            self._idle -= 1
            loop = asyncio.get_running_loop()
            answers = loop.run_in_executor(self._pool, _run_group, group)
            answers.add_done_callback(lambda answers, group=group: self._finish(group, answers))

    def _take_group(self) -> list[_Waiting]:
        """Takes the oldest request and those that fit with it."""
        first = self._waiting.popleft()
        group, rows, rest = [first], first.rows, collections.deque()
        while self._waiting and rows is not None:
            other = self._waiting.popleft()
            if other.answer.done():
                continue
            fits = other.key == first.key and other.rows is not None
            if fits and rows + other.rows <= self._settings.max_batch_size:
                group.append(other)
                rows += other.rows
            else:
                rest.append(other)
        self._waiting = rest + self._waiting
        if rows is not None:
            self._observe(rows)
        return group

    def _finish(self, group: list[_Waiting], answers: asyncio.Future) -> None:
        self._idle += 1
        error = answers.exception()
        if error is not None and len(group) > 1:
            # One of them is to blame, or the model mixes them; alone, each gets its own answer.
            for request in reversed(group):
                request.rows = None
                self._waiting.appendleft(request)
        else:
            for index, request in enumerate(group):
                if request.answer.done():
                    continue
                if error is not None:
                    request.answer.set_exception(error)
                else:
                    request.answer.set_result(answers.result()[index])
        self._start_runs()


def _run_group(group: list[_Waiting]) -> list[dict[str, np.ndarray]]:
    """Returns the answer to each request of a group, from one run."""
    first = group[0]
    if len(group) == 1:
        return [first.run(first.key[1], first.inputs)]
    inputs = {
        name: np.concatenate([request.inputs[name] for request in group]) for name in first.inputs
    }
    outputs = first.run(first.key[1], inputs)
    ends = np.cumsum([request.rows for request in group])
    if any(np.ndim(values) == 0 or len(values) != ends[-1] for values in outputs.values()):
        raise ValueError(f"{first.key[1]} does not give a row for each")
    answers = [
        {name: values[end - request.rows : end] for name, values in outputs.items()}
        for request, end in zip(group, ends, strict=True)
    ]
    if first.count is None:
        return answers
    return [_without_padding(answer, first.count) for answer in answers]


def _without_padding(answer: dict[str, np.ndarray], count: str) -> dict[str, np.ndarray]:
    """Returns an answer without the places that only rows of other requests fill."""
    most = max(answer[count], default=0)
    return {
        name: values[:, :most] if np.ndim(values) > 1 else values for name, values in answer.items()
    }
