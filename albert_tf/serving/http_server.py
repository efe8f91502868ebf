"""HTTP connections of which none holds the server, whatever its client does.

Whenever a connection waits for its client, a clock runs: until the head of a request is there,
until its body is, until the answer is taken. Where there are too many connections, the one that has
kept the server waiting longest makes room. And the end of the server has its time, too.
"""

import asyncio
import functools
import os
import resource
import socket
import threading
import types
from collections.abc import Callable

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from albert_tf.serving.settings import ConnectionSettings

# Between two requests of one connection.
_IDLE_SECONDS = 5
# For answers that are on their way when the server is told to stop; then for all of its end.
_DRAIN_SECONDS = 7
_LAST_SECONDS = 9.5
# Clients that the system lets wait until the server has a moment for them.
_BACKLOG = 2048


class _Connection(H11Protocol):
    """A connection with a clock; it runs in every phase in which the client has to do something."""

    def __init__(self, *args, client_seconds: float, max_connections: int, **kwargs):
        super().__init__(*args, **kwargs)
        self._client_seconds = client_seconds
        self._max_connections = max_connections
        self._phase: str | None = None
        self._clock: asyncio.TimerHandle | None = None
        self._waits_since = 0.0

    # What uvicorn and asyncio call; each may begin another phase.

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self._watch()
        if len(self.connections) > self._max_connections:
            self._make_room()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_clock()
        super().connection_lost(exc)

    def _watch(self) -> None:
        """Starts the clock anew where another phase has begun."""
        phase = self._find_phase()
        if phase != self._phase:
            self._stop_clock()
            self._phase = phase
            if phase is not None:
                self._waits_since = self.loop.time()
                self._clock = self.loop.call_later(self._client_seconds, self._end)

    def _find_phase(self) -> str | None:
        """Returns what the client has to do: send or take; None where the server has to answer."""
        if self.flow.write_paused:
            return "takes the answer"
        if self.cycle is None or self.cycle.response_complete:
            return "sends the head"
        return "sends the body" if self.cycle.more_body else None

    def _stop_clock(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None

    def _end(self) -> None:
        """Ends a connection whose client took too long; a request that has begun is answered."""
        is_begun = self._phase == "sends the body" or (
            self._phase == "sends the head" and self.conn.trailing_data[0]
        )
        is_answered = self._phase == "sends the body" and self.cycle.response_started
        if is_begun and not is_answered and not self.transport.is_closing():
            self.transport.write(
                _plain_answer(
                    "408 Request Timeout",
                    f"a request must be there within {self._client_seconds:g} s",
                )
            )
        self.transport.abort()

    def _make_room(self) -> None:
        """Ends the connection that has waited longest, or this one where all are being answered."""
        others = [
            connection
            for connection in self.connections
            if connection is not self and not connection.transport.is_closing()
        ]
        if len(others) < self._max_connections:
            return
        waiting = [connection for connection in others if connection._phase is not None]
        if waiting:
            min(waiting, key=lambda connection: connection._waits_since)._end()
        else:
            message = f"at most {self._max_connections} connections may be open"
            self.transport.write(_plain_answer("503 Service Unavailable", message))
            self.transport.abort()


def _plain_answer(status: str, message: str) -> bytes:
    """Returns the bytes of an answer to a request that was never whole."""
    body = f'{{"error": "{message}"}}'
    return (
        f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
        f"connection: close\r\n\r\n{body}"
    ).encode("ascii")


class Server(uvicorn.Server):
    """Serves an ASGI application until it is told to stop, then ends in order within ten seconds.

    Args:
        app: the application.
        settings: of its connections.
        report: called once it listens, and with a word when it is told to stop.
    """

    def __init__(
        self,
        app: ASGIApp,
        settings: ConnectionSettings,
        report: Callable[[str], None] = lambda event: None,
    ):
        descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        connection = functools.partial(
            _Connection,
            client_seconds=settings.client_seconds,
            max_connections=min(settings.max_connections, max(descriptors // 3, 1)),
        )
        config = uvicorn.Config(
            app,
            http=connection,
            ws="none",
            log_level="warning",
            access_log=False,
            # So many are accepted at once, before the first of them is counted.
            backlog=min(_BACKLOG, max(descriptors // 16, 1)),
            timeout_keep_alive=_IDLE_SECONDS,
            timeout_graceful_shutdown=_DRAIN_SECONDS,
        )
        super().__init__(config)
        self._report = report

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts to listen."""
        await super().startup(sockets)
        for listening in sockets or ():
            listening.listen(_BACKLOG)
        self._report("listening")

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answers what has come, then ends what is left."""
        self._report("stopping")
        await super().shutdown(sockets)
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)  # they close in the next round of the loop

    def handle_exit(self, sig: int, frame: types.FrameType | None) -> None:
        """Stops in order at the first signal, at once at the second.

        In order means with exit code 0: the process did what it was asked to. A run of the model
        cannot be interrupted, so what is left after the last second is given up.
        """
        del frame
        if self.should_exit:
            os._exit(128 + sig)
        self.should_exit = True
        last = threading.Timer(_LAST_SECONDS, os._exit, (0,))
        last.daemon = True
        last.start()
