"""Connections of the server: bounded in number, each with a deadline, so that half-open ones cannot silence it."""

import asyncio
import contextlib
import resource
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

MAX_CONNECTIONS, RESERVED_FILES = 256, 96  # files of the index, of queries and of worker processes
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


def make_protocol(max_connections: int) -> type[H11Protocol]:
    """The protocol of uvicorn with at most so many connections; those beyond are closed at once."""
    return type("BoundedProtocol", (DeadlineProtocol,), {"max_connections": max_connections})


class DeadlineProtocol(H11Protocol):
    """Closes a connection that has sent no whole request for SILENCE_S, or half a body for BODY_S."""

    max_connections = MAX_CONNECTIONS

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.waits_since_s = self.loop.time()
        if len(self.connections) > self.max_connections:
            transport.close()
            return
        self.check: asyncio.TimerHandle | None = self.loop.call_later(CHECK_S, self.close_if_late)

    def connection_lost(self, exc: Exception | None) -> None:
        if check := getattr(self, "check", None):
            check.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        self.waits_since_s = self.loop.time()
        super().on_response_complete()

    def close_if_late(self) -> None:
        """Close the connection, or look again later."""
        is_answering = self.cycle is not None and not self.cycle.response_complete
        has_body = is_answering and not self.cycle.more_body
        waited_s = self.loop.time() - self.waits_since_s
        if not has_body and waited_s > (BODY_S if is_answering else SILENCE_S):
            self.transport.close()
        else:
            self.check = self.loop.call_later(CHECK_S, self.close_if_late)
