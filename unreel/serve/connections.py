"""Connections of the server, bounded in number and each with a deadline, so that half-open ones cannot silence it; and
searches, bounded in number."""

import asyncio
import contextlib
import resource
import socket
import threading
from collections import deque
from types import TracebackType
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

MAX_CONNECTIONS, RESERVED_FILES = 256, 96  # files of the index, of queries and of worker processes
NEW_CONNECTIONS = 32  # accepted, but not yet counted by the protocol, or being closed
CHECK_S, SILENCE_S, BODY_S = 5.0, 20.0, 150.0


def raise_file_limit() -> int:
    """Allow this process as many open files as the system does; returns how many connections leave room for others."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        wanted = 4096 if hard == resource.RLIM_INFINITY else min(4096, hard)
        if soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    return max(8, min(MAX_CONNECTIONS, soft - RESERVED_FILES))


class BoundedListener(socket.socket):
    """Closes at once what comes beyond a number of open connections, before the event loop spends a file on each.

    Without it asyncio accepts all that wait, thousands in a storm, and prints a traceback for each that gets no file.
    """

    max_connections = MAX_CONNECTIONS
    accepted: tuple[socket.socket, ...] = ()
    is_out_of_files = False

    def accept(self) -> tuple[socket.socket, Any]:
        if self.is_out_of_files:  # said once; asyncio asks again for each that waits, then pauses for a second
            self.is_out_of_files = False
            raise BlockingIOError
        try:
            connection, address = super().accept()
        except BlockingIOError:
            raise
        except OSError:
            self.is_out_of_files = True
            raise
        self.accepted = (*(other for other in self.accepted if other.fileno() >= 0), connection)
        if len(self.accepted) > self.max_connections + NEW_CONNECTIONS:
            connection.close()
            raise ConnectionAbortedError
        return connection, address


def bound_listener(listener: socket.socket, max_connections: int) -> BoundedListener:
    """The same listening socket, bounded."""
    bounded = BoundedListener(listener.family, listener.type, listener.proto, listener.detach())
    bounded.max_connections = max_connections
    return bounded


def make_protocol(max_connections: int) -> type[H11Protocol]:
    """The protocol of uvicorn with at most so many connections; one beyond takes the place of one that only waits."""
    return type("BoundedProtocol", (DeadlineProtocol,), {"max_connections": max_connections})


class DeadlineProtocol(H11Protocol):
    """Closes a connection that has sent no whole request for SILENCE_S, or half a body for BODY_S."""

    max_connections = MAX_CONNECTIONS

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.waits_since_s = self.loop.time()
        if len(self.connections) > self.max_connections:
            own = [other for other in self.connections if isinstance(other, DeadlineProtocol)]
            waiting = [other for other in own if other is not self and not other.is_answering]
            min(waiting, key=lambda other: other.waits_since_s, default=self).close_early()
        self.check: asyncio.TimerHandle | None = self.loop.call_later(CHECK_S, self.close_if_late)

    def close_early(self) -> None:
        """Close the connection, and count it no more from now on."""
        self.connections.discard(self)
        self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if check := getattr(self, "check", None):
            check.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        self.waits_since_s = self.loop.time()
        super().on_response_complete()

    @property
    def is_answering(self) -> bool:
        """Whether the head of a request has come whose answer is not complete."""
        return self.cycle is not None and not self.cycle.response_complete

    def close_if_late(self) -> None:
        """Close the connection, or look again later."""
        has_body = self.cycle is not None and self.is_answering and not self.cycle.more_body
        waited_s = self.loop.time() - self.waits_since_s
        if not has_body and waited_s > (BODY_S if self.is_answering else SILENCE_S):
            self.transport.close()
        else:
            self.check = self.loop.call_later(CHECK_S, self.close_if_late)


class SearchSlots:
    """A semaphore that is fair: a free slot goes to who has waited longest, where Python's goes to who is quickest.

    >>> with SearchSlots(2) as slots:
    ...     slots.free
    1
    """

    def __init__(self, count: int) -> None:
        self.free, self.lock = count, threading.Lock()
        self.waiting: deque[threading.Event] = deque()

    def __enter__(self) -> "SearchSlots":
        with self.lock:
            if self.free:
                self.free -= 1
                return self
            turn = threading.Event()
            self.waiting.append(turn)
        turn.wait()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with self.lock:
            if self.waiting:
                self.waiting.popleft().set()  # the slot is handed on, so nobody comes in between
            else:
                self.free += 1
