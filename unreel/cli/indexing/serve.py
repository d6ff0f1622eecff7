"""`unreel serve`: search an index in a browser."""

import dataclasses
import logging
import re
import secrets
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from tyro.conf import Positional

from unreel.cli.arguments import parse_args
from unreel.cli.terminal import stderr_console
from unreel.errors import InputError

if TYPE_CHECKING:
    from unreel.serve.state import ServeOptions

LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "::1")


@dataclasses.dataclass
class ServeArgs:
    """Search an index in a browser: one page, on this machine, without any network."""

    index: Positional[Path]
    """What `unreel index` made, or makes just now."""
    host: str = "127.0.0.1"
    """Where to listen. Anywhere but on this machine the page wants a token, which is printed."""
    port: int = 8765
    """0 takes one that is free."""
    token: str = ""
    """Want this token, also on this machine; by default one is drawn where it is needed."""
    upload_mb: float = 200.0
    """Size that a dropped query may have."""
    upload_s: float = 120.0
    """Seconds that sending one may take."""
    cache_gb: float = 2.0
    """Size of the previews that are kept (in UNREEL_CACHE, by default ~/.cache/unreel)."""
    allow_import: bool = False
    """Import, and so run, the network of your own that the index names."""


def serve_command(args: list[str]) -> int:
    given = parse_args(ServeArgs, args, "serve")
    try:
        import uvicorn

        from unreel.serve.app import build_app
        from unreel.serve.state import ServerState
    except ModuleNotFoundError as error:
        if error.name and error.name.startswith("unreel"):
            raise
        raise InputError(f"the page needs {error.name}, which is not installed: pip install 'unreel[serve]'") from error
    if not re.fullmatch(r"[\w.~-]*", given.token, re.ASCII):
        raise InputError(
            "--token may have letters, digits, dots, dashes and underscores, so that an address can hold it"
        )
    logging.basicConfig(level=logging.WARNING, format="unreel: %(message)s")
    served = ServerState(given.index, build_serve_options(given))
    listening = open_socket(given.host, given.port)
    token = given.token or ("" if given.host in LOOPBACK_HOSTS else secrets.token_urlsafe(16))
    if served.problem:
        stderr_console.print(f"unreel: {served.problem}; it is being indexed just now, the page shows how far it is")
    print(f"{given.index}: {format_url(listening, given.host, token)}", flush=True)
    app = build_app(served, token)
    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=3)
    uvicorn.Server(config).run(sockets=[listening])
    return 0


def build_serve_options(args: ServeArgs) -> "ServeOptions":
    from unreel.serve.media.uploads import UploadLimits
    from unreel.serve.state import ServeOptions

    for name in ("upload_mb", "upload_s", "cache_gb"):
        if not 0 < getattr(args, name) < 1e6:
            raise InputError(f"--{name.replace('_', '-')} must lie above 0 and below 1e6, got {getattr(args, name)}")
    limits = UploadLimits(int(args.upload_mb * 2**20), args.upload_s)
    return ServeOptions(limits, int(args.cache_gb * 1e9), allow_import=args.allow_import)


def open_socket(host: str, port: int) -> socket.socket:
    """Raises InputError for a place where nobody can listen."""
    if not 0 <= port < 65536:
        raise InputError(f"--port must lie between 0 and 65535, got {port}")
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, port), family=family)
        # asyncio asks for it only of sockets of its own; without it each answer waits 40 ms for an acknowledgement.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listening
    except OSError as error:
        raise InputError(
            f"can't listen on {host}, port {port} ({error.strerror}); give another --port, or 0 for any that is free"
        ) from error


def format_url(listener: socket.socket, host: str, token: str) -> str:
    """What to open in a browser."""
    shown = socket.gethostname() if host in ("0.0.0.0", "::") else host
    shown = f"[{shown}]" if ":" in shown else shown
    return f"http://{shown}:{listener.getsockname()[1]}/" + (f"?token={token}" if token else "")
