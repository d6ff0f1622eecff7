"""Half-open connections are closed, and too many are refused, so that others are still answered."""

import contextlib
import errno
import resource
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn

from unreel.serve import connections
from unreel.serve.connections import (
    MAX_CONNECTIONS,
    NEW_CONNECTIONS,
    SearchSlots,
    bound_listener,
    make_protocol,
    raise_file_limit,
)

REQUEST = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
LAST_REQUEST = REQUEST.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
HALF_BODY = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc"


async def answer(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """An application that reads the whole body and says hello."""
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"hello"})


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, int]]:
    """A server of at most four connections, which waits half a second."""
    for name, value in {"CHECK_S": 0.1, "SILENCE_S": 0.5, "BODY_S": 0.5}.items():
        monkeypatch.setattr(connections, name, value)
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(answer, log_level="error", lifespan="off", http=make_protocol(4), ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield listener.getsockname()
    server.should_exit = True
    thread.join()


def connect(address: tuple[str, int], data: bytes) -> socket.socket:
    opened = socket.create_connection(address, timeout=10)
    opened.sendall(data)
    return opened


def read_all(opened: socket.socket) -> bytes:
    """What comes until the server closes the connection."""
    data = b""
    with opened, contextlib.suppress(ConnectionResetError):
        while block := opened.recv(4096):
            data += block
    return data


@pytest.mark.parametrize("half", [b"", b"GET / HTTP/1.1\r\nHost: a\r\nX: ", HALF_BODY])
def test_half_a_request_is_waited_for_a_while(address: tuple[str, int], half: bytes) -> None:
    for opened in [connect(address, half) for _ in range(4)]:
        assert b"hello" not in read_all(opened)
    assert read_all(connect(address, LAST_REQUEST)).endswith(b"hello")


def test_one_that_only_waits_gives_way_to_a_new_one(address: tuple[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "SILENCE_S", 1e6)
    held = [connect(address, REQUEST[:20]) for _ in range(4)]
    for n in range(4):
        assert read_all(connect(address, LAST_REQUEST)).endswith(b"hello"), n
    assert read_all(held[0]) == b"", "the one that waited longest was kept"
    for opened in held[1:]:
        opened.sendall(LAST_REQUEST[20:])
        assert read_all(opened).endswith(b"hello")


def test_where_all_are_answered_a_new_one_is_refused(address: tuple[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "BODY_S", 1e6)
    with contextlib.ExitStack() as stack:
        asks_first = HALF_BODY.replace(b"Host", b"Expect: 100-continue\r\nHost")
        held = [stack.enter_context(connect(address, asks_first)) for _ in range(4)]
        assert all(b"100" in opened.recv(4096) for opened in held)
        assert read_all(connect(address, REQUEST)) == b""
        for opened in held:
            opened.sendall(b"defghi")
            assert opened.recv(4096).startswith(b"HTTP/1.1 200")


def test_a_storm_gets_few_files_before_it_is_counted() -> None:
    with bound_listener(socket.create_server(("127.0.0.1", 0), backlog=64), 4) as listener:
        asked = [connect(listener.getsockname(), b"") for _ in range(4 + NEW_CONNECTIONS + 1)]
        accepted = [listener.accept()[0] for _ in asked[1:]]
        with pytest.raises(ConnectionAbortedError):
            listener.accept()
        accepted.pop().close()
        asked.append(connect(listener.getsockname(), b""))
        accepted.append(listener.accept()[0])
        for opened in asked + accepted:
            opened.close()


def test_no_files_for_a_connection_is_said_once_and_the_loop_then_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: socket.socket) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    with bound_listener(socket.create_server(("127.0.0.1", 0)), 4) as listener:
        monkeypatch.setattr(socket.socket, "accept", refuse)
        for error in (OSError, BlockingIOError, OSError, BlockingIOError):
            with pytest.raises(error) as raised:
                listener.accept()
            assert type(raised.value) is error


def test_a_connection_may_ask_again_and_half_a_third_request_is_closed(address: tuple[str, int]) -> None:
    with connect(address, REQUEST) as opened:
        for asked in (REQUEST, REQUEST[:10]):
            data = b""
            while not data.endswith(b"hello"):
                data += opened.recv(4096)
            opened.sendall(asked)
        assert b"hello" not in read_all(opened)


def test_connections_leave_files_for_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = [(256, 256)]
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _, new: limits.append(new))
    assert raise_file_limit() == 160 and len(limits) == 1
    limits.append((64, 10_000))
    assert raise_file_limit() == MAX_CONNECTIONS and limits[-1] == (4096, 10_000)


def test_a_free_slot_goes_to_who_has_waited_longest() -> None:
    slots, order = SearchSlots(1), list[int]()

    def take(number: int) -> None:
        with slots:
            order.append(number)

    threads = [threading.Thread(target=take, args=(n,)) for n in range(5)]
    with slots:
        for n, thread in enumerate(threads, start=1):
            thread.start()
            while len(slots.waiting) < n:
                time.sleep(0.001)
    take(5)  # comes when the slot has just been given back, and is not the first
    for thread in threads:
        thread.join()
    assert order == [*range(5), 5] and slots.free == 1
