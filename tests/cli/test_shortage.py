"""What the system refuses is one sentence: memory, open files, processes; and names with line ends stay on one line."""

import errno
from pathlib import Path

import pytest
from commands import call, refused

from unreel.cli import entry_point, terminal
from unreel.cli.indexing.search import parse_example
from unreel.errors import InputError
from unreel.types import Moment
from unreel.video.loading import shared_memory

SHORTAGES = [
    (MemoryError(), "not enough memory"),
    (OSError(errno.ENOMEM, "Cannot allocate memory"), "not enough memory"),
    (RuntimeError("could not create a primitive"), "not enough memory"),
    (RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"), "memory"),
    (ImportError("libx.so: failed to map segment from shared object"), "not enough memory"),
    (OSError(errno.EMFILE, "Too many open files"), "`ulimit -n` is "),
    (RuntimeError("Too many open files. Communication with the workers"), "`ulimit -n` is "),
    (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), "no more processes or threads"),
    (RuntimeError("can't start new thread"), "no more processes or threads"),
]


@pytest.mark.parametrize(("error", "says"), SHORTAGES, ids=lambda value: str(value)[:30])
def test_what_the_system_refuses_is_one_sentence(error: Exception, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_args: list[str]) -> int:
        raise error

    monkeypatch.setattr(entry_point, "run_command", fail)
    refused("inspect", says=(says,))


@pytest.mark.parametrize("error", [RuntimeError("a bug of ours"), ImportError("no module"), OSError(errno.EBADF, "x")])
def test_other_errors_are_raised(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_args: list[str]) -> int:
        raise error

    monkeypatch.setattr(entry_point, "run_command", fail)
    with pytest.raises(type(error)):
        call("inspect")


def test_the_sentence_is_printed_without_memory_for_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(terminal.stderr_console, "print", fail)
    monkeypatch.setattr(entry_point, "run_command", fail)
    refused("inspect", says=("not enough memory",))


def test_a_name_with_a_line_end_stays_on_one_line(tmp_path: Path) -> None:
    refused("inspect", tmp_path / "two\nlines:smile:", says=(r"two\nlines:smile:", "no such folder"))


@pytest.mark.parametrize("name", ["two\nlines.mp4", "a@1-2.mp4", "x" * 251 + ".mp4"])
def test_a_moment_of_a_file_of_any_name(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.touch()
    assert parse_example(f"{path}@0.1-0.5", 0.0, float("inf")) == Moment(str(path), 0.1, 0.5)
    with pytest.raises(InputError, match="no such file"):
        parse_example("y" * 300, 0.0, float("inf"))


def test_the_limit_of_open_files_is_raised_or_named(monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[tuple[int, int]] = [(40, 64)]
    monkeypatch.setattr(shared_memory.resource, "getrlimit", lambda _kind: limits[-1])
    monkeypatch.setattr(shared_memory.resource, "setrlimit", lambda _kind, new: limits.append(new))
    shared_memory.require_open_files(50)
    assert limits[-1] == (50, 64)
    with pytest.raises(shared_memory.RunError, match="`ulimit -n` is 64, .* need about 65 open files; raise it"):
        shared_memory.require_open_files(65)
