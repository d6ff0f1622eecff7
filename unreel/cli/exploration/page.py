"""The page at the end of `unreel explore`: served on this machine, and opened in the browser if there is one."""

import contextlib
from pathlib import Path

from unreel.cli.browser import open_browser
from unreel.cli.commands import COMMANDS
from unreel.cli.indexing.serve import load_serve
from unreel.errors import InputError

DEFAULT_PORT, ANY_PORT = 8765, 0
HOST = "127.0.0.1"


def require_page_server(port: int | None) -> None:
    """Raise InputError now when the page could not be served later: a package is missing, or the port is taken."""
    load_serve()
    if port is not None:
        require_free_port(port)


def require_free_port(port: int) -> None:
    """Raises InputError."""
    from unreel.serve.server import open_socket

    open_socket(HOST, port).close()


def open_page(index: Path, port: int | None, allow_import: bool) -> None:
    """Serve the page of an index until Ctrl-C. Raises KeyboardInterrupt with how to open it again."""
    from unreel.serve.state import ServeOptions
    from unreel.training.runtime.signals import end_like_ctrl_c

    def report_start(url: str, _problem: str, _content: str) -> None:
        print(f"\n4 of 4  page: {url}\n        Ctrl-C closes it; unreel serve {index} opens it again", flush=True)
        open_browser(url)

    serve, options = load_serve(), ServeOptions(allow_import=allow_import, commands=tuple(COMMANDS))
    with contextlib.suppress(KeyboardInterrupt), end_like_ctrl_c():
        serve(index, HOST, choose_port(port), options=options, on_start=report_start)
    # The server may end without passing the signal on, so both ways are told alike.
    raise KeyboardInterrupt(f"the page is closed; open it again with: unreel serve {index}")


def choose_port(port: int | None) -> int:
    """The port that was asked for, else the default one, or any that is free."""
    if port is not None:
        return port
    with contextlib.suppress(InputError):
        require_free_port(DEFAULT_PORT)
        return DEFAULT_PORT
    return ANY_PORT
