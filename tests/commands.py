"""The command line within this process: importing torch anew for each command would cost most of a test's time."""

import io
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass

from unreel.cli.entry_point import main


@dataclass
class Done:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str


def call(*args: object) -> Done:
    """`unreel ARGS`; anything but a clean exit is raised here."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            main([str(arg) for arg in args])
        except SystemExit as ended:
            return Done(int(ended.code or 0), out.getvalue(), err.getvalue())
    raise AssertionError("main returned")


def succeeds(*args: object) -> Done:
    done = call(*args)
    assert done.code == 0, done
    return done


def refused(*args: object, says: tuple[str, ...]) -> None:
    """The command fails with exit code 2 and one readable line on standard error."""
    done = call(*args)
    assert done.code == 2, done
    lines = [line for line in done.err.splitlines() if line.strip()]
    assert len(lines) == 1 and lines[0].startswith("unreel:"), done.err
    for part in says:
        assert part in lines[0], (part, lines[0])
