"""`unreel serve`: search an index in a browser."""

import dataclasses
import logging
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from unreel.cli.arguments import IndexArgument, NearestOption, parse_args
from unreel.cli.browser import open_browser
from unreel.cli.commands import COMMANDS
from unreel.cli.terminal import stderr_console
from unreel.errors import InputError
from unreel.indexing.homes.address import hide_secrets

if TYPE_CHECKING:
    from unreel.serve.state import ServeOptions


@dataclasses.dataclass
class ServeArgs:
    """Search an index in a browser: one page, on this machine, without any network."""

    index: IndexArgument
    """What `unreel index` made, or is making now; or the address of a database that it was written to."""
    host: str = "127.0.0.1"
    """Address to listen on. Other addresses than this machine's own need a token, which is printed."""
    port: int = 8765
    """0 takes a free one."""
    token: str = ""
    """Require this token, also on this machine; by default UNREEL_TOKEN, or a random one where one is needed."""
    open: bool = False
    """Open the page in the browser, where there is one."""
    upload_mb: float = 200.0
    """Largest size of a query file."""
    upload_s: float = 120.0
    """Longest time for sending one."""
    cache_gb: float = 2.0
    """Size of the cache of previews (in UNREEL_CACHE, by default ~/.cache/unreel)."""
    nearest: NearestOption = None
    allow_import: bool = False
    """Import, and so run, the network outside unreel that the index names."""


def serve_command(args: list[str]) -> int:
    options = parse_args(ServeArgs, args, "serve")
    serve = load_serve()

    def report_start(url: str, problem: str, content: str) -> None:
        if problem:
            stderr_console.print(f"unreel: {problem}; it is being indexed just now, the page shows the progress")
        print(f"{hide_secrets(options.index)}: {url}", flush=True)
        print(f"{content or 'the index that is being made'}; Ctrl-C ends it", flush=True)
        if options.open:
            open_browser(url)

    token = options.token or os.environ.get("UNREEL_TOKEN", "")
    serve(options.index, options.host, options.port, token, build_serve_options(options), report_start)
    return 0


def load_serve() -> Callable[..., None]:
    """The function that serves, with its warnings on the terminal. Raises InputError when a package is missing."""
    try:
        from unreel.serve.server import serve
    except ModuleNotFoundError as error:
        if error.name and error.name.startswith("unreel"):
            raise
        raise InputError(
            f"the page needs {error.name}, which is missing: pip install --upgrade unreel, which brings it"
        ) from error
    logging.basicConfig(level=logging.WARNING, format="unreel: %(message)s")
    return serve


def build_serve_options(options: ServeArgs) -> "ServeOptions":
    from unreel.serve.media.uploads import UploadLimits
    from unreel.serve.state import ServeOptions

    for name in ("upload_mb", "upload_s", "cache_gb"):
        value = getattr(options, name)
        if not 0 < value < 1e6:
            raise InputError(f"--{name.replace('_', '-')} must lie above 0 and below 1e6, got {value}")
    limits = UploadLimits(int(options.upload_mb * 2**20), options.upload_s)
    return ServeOptions(
        limits,
        int(options.cache_gb * 1e9),
        allow_import=options.allow_import,
        commands=tuple(COMMANDS),
        nearest=options.nearest,
    )
