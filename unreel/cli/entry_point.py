"""Entry point of `unreel`: runs a command; an error becomes one readable line and an exit code."""

import errno
import os
import sys
import traceback
import warnings
from collections.abc import Sequence

from unreel.cli.commands import COMMANDS, OVERVIEW, load_command
from unreel.cli.shortage import check_address_limit, describe_shortage
from unreel.errors import PeerStoppedError, UnreelError, unknown_name_error
from unreel.io.text import format_path

EXIT_ERROR, EXIT_INTERRUPTED, EXIT_BROKEN_PIPE = 2, 130, 141
REPORTED_DISK_ERRORS = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.ENAMETOOLONG,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ELOOP,
    errno.ENOENT,
}


def main(argv: Sequence[str] | None = None) -> None:
    """Run a command and exit: 0 when it worked, 2 after an error that a person can mend, 130 after Ctrl-C."""
    args = list(sys.argv[1:] if argv is None else argv)
    warnings.formatwarning = format_warning
    try:
        if argv is None and not {"-h", "--help"}.isdisjoint(args[1:]):  # a process of our own, which then ends
            from unreel.cli.help.stand_ins import use_stand_ins

            use_stand_ins(args)
        sys.exit(run_command(args))
    except PeerStoppedError as stop:
        sys.exit(stop.exit_code)
    except UnreelError as error:
        if os.environ.get("UNREEL_TRACEBACK"):  # for who writes methods and networks
            traceback.print_exception(error)
        print_error(str(error))
    except BrokenPipeError:  # the reader, e.g. head, has closed the pipe
        sys.stdout = None
        sys.exit(EXIT_BROKEN_PIPE)
    except (OSError, MemoryError, RuntimeError, ImportError) as error:
        print_error(describe_system_error(error))
    except KeyboardInterrupt as stop:
        print_error(str(stop) or "stopped", style="")
        sys.exit(EXIT_INTERRUPTED)
    sys.exit(EXIT_ERROR)


def describe_system_error(error: Exception) -> str:
    """One line for what the disk or the system refuses; any other error is raised again."""
    if shortage := describe_shortage(error):
        return shortage
    if isinstance(error, OSError) and error.errno in REPORTED_DISK_ERRORS:
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        advice = "; free some space there, or choose another place" if is_full else ""
        return f"{error.filename or 'a file could not be written'}: {error.strerror}{advice}"
    raise error


def print_error(text: str, style: str = "bold red") -> None:
    """Print an error on one line, also where it names a file with a line end in its name."""
    line = format_path(text)
    try:
        from unreel.cli.terminal import escape_markup, stderr_console

        prefix = f"[{style}]unreel:[/]" if style else "unreel:"
        stderr_console.print(f"{prefix} {escape_markup(line)}")
    except (MemoryError, ImportError):  # what the line may be about
        sys.stderr.write(f"unreel: {line}\n")


def format_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """A warning of unreel as a line like others; one of a library with its kind."""
    kind = "" if category is RuntimeWarning else f"{category.__name__}: "
    return f"unreel: warning: {kind}{message}\n"


def run_command(args: list[str]) -> int:
    """Find the command and run it; returns the exit code."""
    if not args or args[0] in ("-h", "--help", "help"):
        print(OVERVIEW)
        return 0
    if args[0] == "--version":
        from unreel import __version__

        print(__version__)
        return 0
    if args[0] == "--completion":
        from unreel.cli.help.completion import format_completion

        print(format_completion(args[1] if len(args) > 1 else ""), end="")
        return 0
    if args[0] not in COMMANDS:
        raise unknown_name_error("command", args[0], COMMANDS)
    asks_for_help = not {"-h", "--help"}.isdisjoint(args)
    if not asks_for_help:
        check_address_limit()
    from unreel.cli.existing_paths import PARSED_LATE, refuse_missing_words  # not for the overview
    from unreel.provenance.command_line import record_command

    if args[0] in PARSED_LATE and not asks_for_help:
        refuse_missing_words(args[1:], args[0])
    with record_command(args):
        return load_command(args[0])(args[1:])
