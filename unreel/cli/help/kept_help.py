"""The help of commands whose options stand in the files of methods: to import these takes seconds, so the text is kept.

It is kept in the cache folder under a name that changes with every file of unreel, the arguments and the terminal.
"""

import contextlib
import io
import os
import platform
import shutil
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

from unreel.io.checksums import hash_bytes
from unreel.io.disk_cache import open_disk_cache
from unreel.own_code.installed import list_installed
from unreel.own_code.names import METHOD, is_own_code

HELP_FLAGS = ("-h", "--help")
PACKAGE = Path(__file__).parents[2]


class TerminalText(io.StringIO):
    """Text that is coloured where standard output would be."""

    def isatty(self) -> bool:
        return sys.__stdout__ is not None and sys.__stdout__.isatty()


def may_keep(args: list[str]) -> bool:
    """Whether these arguments of a command ask for help alone, of a method of unreel, which its files decide.

    >>> may_keep(["--help"]), may_keep(["--method", "iic", "-h"]), may_keep(["--method", "own.py", "-h"])
    (True, True, False)
    """
    rest = [arg for arg in args if arg not in HELP_FLAGS]
    if len(rest) == len(args) or (rest and (len(rest) != 2 or rest[0] not in ("--method", "--resume"))):
        return False
    return not rest or rest[0] == "--resume" or not (is_own_code(rest[1]) or rest[1] in list_installed(METHOD))


def show_kept_help(args: list[str], show: Callable[[], object]) -> int:
    """Print what `show` prints before it exits, or printed the last time. Returns the exit code."""
    cache, name = open_disk_cache(), name_help(args)
    text = cache.get(name)
    if text is None:
        text = capture(show).encode()
        with warnings.catch_warnings(action="ignore"):  # a cache that can't be written costs time alone
            cache.put(name, text)
    sys.stdout.write(text.decode())
    return 0


def capture(show: Callable[[], object]) -> str:
    """What a command prints until it exits. Raises SystemExit where that is an error."""
    with contextlib.redirect_stdout(TerminalText()) as shown:
        try:
            show()
        except SystemExit as end:
            if end.code:
                raise
    return shown.getvalue()


def name_help(args: list[str]) -> str:
    """A name that is another where anything that the help depends on is."""
    terminal = (shutil.get_terminal_size().columns, TerminalText().isatty(), *map(os.environ.get, ("NO_COLOR", "TERM")))
    known = [args, terminal, sys.version, platform.system(), sys.prefix, *list_files()]
    return f"{hash_bytes(repr(known).encode())}.help"


def list_files() -> list[tuple[str, int, int]]:
    """Path, size and time of every file of the package."""
    files = sorted(PACKAGE.rglob("*.py"))
    return [(str(file), status.st_size, status.st_mtime_ns) for file in files for status in (file.stat(),)]
