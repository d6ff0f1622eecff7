"""A file system that stalls twice costs some waiting; a full disk is said at once."""

import errno
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors

import unreel
from unreel.io import retry
from unreel.io.atomic_write import append_text, atomic_write_text
from unreel.io.retry import is_stall, retry_on_stall
from unreel.io.timeout import call_with_timeout
from unreel.training.run_folder.checkpoint_index import rewind_to_step
from unreel.training.run_folder.csv_log import CsvLog


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that were waited, without waiting."""
    waited: list[float] = []
    monkeypatch.setattr(retry.time, "sleep", waited.append)
    return waited


def failing(times: int, work: Callable[..., Any], number: int = errno.ESTALE) -> Callable[..., Any]:
    """`work` that is done, and then said to have failed, some times."""
    left = [times]

    def once_more(*args: Any, **kwargs: Any) -> Any:
        found = work(*args, **kwargs)
        if left[0]:
            left[0] -= 1
            raise OSError(number, os.strerror(number))
        return found

    return once_more


def test_it_waits_longer_each_time_and_gives_up_after_the_last(waits: list[float]) -> None:
    assert retry_on_stall(failing(2, lambda: "read")) == "read" and waits == [1.0, 5.0]
    with pytest.raises(OSError, match="Stale"):
        retry_on_stall(failing(4, lambda: "read"))
    assert waits == [1.0, 5.0, 1.0, 5.0, 25.0]


def test_what_waiting_does_not_mend_is_said_at_once(waits: list[float]) -> None:
    for number in (errno.ENOSPC, errno.ENOENT, errno.EACCES):
        with pytest.raises(OSError):
            retry_on_stall(failing(1, lambda: None, number))
    assert not waits
    assert is_stall(safetensors.SafetensorError("I/O error: Input/output error (os error 5)"))
    assert not is_stall(safetensors.SafetensorError("I/O error: No space left on device (os error 28)"))
    assert not is_stall(ValueError("5"))


def test_a_row_is_written_once_whatever_the_first_tries_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waits: list[float]
) -> None:
    table = CsvLog(tmp_path / "metrics.csv", 0)
    table.append_row({"step": 1, "loss": 2.5})
    tries = failing(2, lambda work: work())
    monkeypatch.setattr("unreel.io.atomic_write.retry_on_stall", lambda work: retry_on_stall(lambda: tries(work)))
    table.append_row({"step": 2, "loss": 2.0})
    assert (tmp_path / "metrics.csv").read_text() == "step,loss\n1,2.5\n2,2.0\n" and waits == [1.0, 5.0]
    append_text(tmp_path / "new.txt", "ı\n")
    assert (tmp_path / "new.txt").read_bytes() == "ı\n".encode()


def test_a_checkpoint_is_written_although_the_disk_stalls_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waits: list[float], small_run: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(small_run, run)
    rewind_to_step(run, 4)
    monkeypatch.setattr(os, "fsync", failing(2, os.fsync, errno.EIO))
    assert unreel.resume(run, quiet=True)["step"] == 8 and waits[:2] == [1.0, 5.0]
    assert unreel.load_encoder(run).spec.backbone == "tiny"


def test_a_short_text_is_whole_or_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "index.json").write_text("old")
    monkeypatch.setattr(os, "fsync", failing(9, os.fsync, errno.EIO))
    with pytest.raises(OSError):
        atomic_write_text(tmp_path / "index.json", "new")
    assert [p.read_text() for p in tmp_path.iterdir()] == ["old"]


def test_only_errors_that_may_pass_are_tried_again(waits: list[float]) -> None:
    calls = failing(2, lambda: "read", errno.EPERM)
    assert retry.retry(calls, (0.5, 2.0), lambda error: isinstance(error, PermissionError)) == "read"
    assert waits == [0.5, 2.0]
    with pytest.raises(PermissionError):
        retry.retry(failing(1, lambda: "read", errno.EPERM), (0.5,), lambda error: False)
    assert waits == [0.5, 2.0]


def test_a_call_that_takes_too_long_is_given_up() -> None:
    assert call_with_timeout(lambda: 3, 30) == 3
    with pytest.raises(KeyError):
        call_with_timeout(lambda: {}["x"], 30)
    with pytest.raises(TimeoutError, match="no answer within 0.05 s"):
        call_with_timeout(threading.Event().wait, 0.05)
