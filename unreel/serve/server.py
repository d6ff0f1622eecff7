"""Start the web server of an index."""

import re
import secrets
import socket
from collections.abc import Callable
from pathlib import Path

import uvicorn

from unreel.errors import InputError
from unreel.serve.app import build_app
from unreel.serve.auth import LOOPBACK_HOSTS
from unreel.serve.connections import bound_listener, make_protocol, raise_file_limit
from unreel.serve.state import ServeOptions, ServerState

SHUTDOWN_TIMEOUT_S = 3


def serve(
    index: str | Path,
    host: str = "127.0.0.1",
    port: int = 8765,
    token: str = "",
    options: ServeOptions | None = None,
    on_start: Callable[[str, str, str], None] = lambda _url, _problem, _content: None,
) -> None:
    """Serve the page of an index until interrupted. Raises UnreelError when it can't start.

    Hosts beyond this machine require a token; without `token` a random one is made. `on_start` gets the URL to open,
    why the index can't be searched yet, or "", and what is served.
    """
    if not re.fullmatch(r"[\w.~-]*", token, re.ASCII):
        raise InputError(
            "a token (--token or UNREEL_TOKEN) may have letters, digits, dots, dashes and underscores, so that an "
            "address can hold it"
        )
    state = ServerState(index, options)
    listener = open_socket(host, port)
    token = token or ("" if host in LOOPBACK_HOSTS else secrets.token_urlsafe(16))
    on_start(format_url(listener, host, token), state.problem, state.describe_content())
    max_connections = raise_file_limit()
    config = uvicorn.Config(
        build_app(state, token),
        loop="asyncio",  # others do not ask the listener
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=SHUTDOWN_TIMEOUT_S,
        http=make_protocol(max_connections),
        ws="none",
    )
    uvicorn.Server(config).run(sockets=[bound_listener(listener, max_connections)])


def open_socket(host: str, port: int) -> socket.socket:
    """Listen on a host and port. Raises InputError when that is not possible."""
    if not 0 <= port < 65536:
        raise InputError(f"--port must lie between 0 and 65535, got {port}")
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family)
        # asyncio sets this for sockets of its own only; without it each answer waits 40 ms for an acknowledgement.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener
    except OSError as error:
        reason = str(error.strerror).split(" (while", 1)[0]  # Python repeats the address there
        raise InputError(
            f"can't listen on {host}, port {port} ({reason}); give another --port, or 0 for any that is free"
        ) from error


def format_url(listener: socket.socket, host: str, token: str) -> str:
    """The address to open in a browser."""
    name = socket.gethostname() if host in ("0.0.0.0", "::") else host
    name = f"[{name}]" if ":" in name else name
    return f"http://{name}:{listener.getsockname()[1]}/" + (f"?token={token}" if token else "")
