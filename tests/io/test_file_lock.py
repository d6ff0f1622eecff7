"""Two kinds of lock: held by forked processes too, or by one process alone."""

import errno
import fcntl
import io
import multiprocessing
import os
import time
from pathlib import Path

import pytest

from unreel.errors import DiskError
from unreel.io.file_lock import is_locked, lock_folder, try_lock, wait_for_lock


def sleep(_file: object) -> None:
    time.sleep(60)


@pytest.mark.parametrize("inherited", [True, False])
def test_a_lock_outlives_its_process_where_forked_ones_inherit_it(inherited: bool, tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w") as file:
        assert try_lock(file, inherited)
        child = multiprocessing.get_context("fork").Process(target=sleep, args=(file,))
        child.start()
    try:
        with (tmp_path / "lock").open("w") as other:
            assert try_lock(other, inherited) is not inherited
            child.kill()
            assert try_lock(other, inherited, timeout_s=30)
    finally:
        child.kill()
        child.join()


def test_it_is_waited_for_until_the_timeout_and_no_longer(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w") as file, (tmp_path / "lock").open("w") as other:
        assert try_lock(file, inherited=True)
        began_s = time.monotonic()
        assert not try_lock(other, inherited=True, timeout_s=0.3)
        assert 0.3 <= time.monotonic() - began_s < 10


class FullFile(io.FileIO):
    def write(self, _: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_named_with_the_file_and_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a buffer that could not be written would be written again when the file is closed."""
    full = FullFile(tmp_path / "lock", "a+")
    monkeypatch.setattr(Path, "open", lambda *_: io.TextIOWrapper(io.BufferedRandom(full)))
    monkeypatch.setattr(os, "write", lambda _, data: full.write(data))
    with pytest.raises(DiskError, match=r"lock: can't be written .*; free some space"), lock_folder(tmp_path):
        pass


def hold(folder: Path, pipe: object) -> None:
    with lock_folder(folder):
        pipe.send(True)  # type: ignore[attr-defined]
        time.sleep(60)


def test_a_folder_is_known_to_be_locked_without_taking_the_lock(tmp_path: Path) -> None:
    assert not is_locked(tmp_path)
    pipe, child_pipe = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=hold, args=(tmp_path, child_pipe))
    process.start()
    try:
        assert pipe.poll(30) and is_locked(tmp_path)
        assert (tmp_path / "lock").read_text().startswith(f"process {process.pid} on {os.uname().nodename}")
    finally:
        process.kill()
        process.join()
    assert not is_locked(tmp_path)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_lock_that_can_not_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to("/dev/full")
    with (
        pytest.raises(DiskError, match="lock: can't be written .*free some space"),
        lock_folder(tmp_path),
    ):
        pass


def test_where_a_file_system_has_no_locks_work_goes_on_and_a_warning_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on NFS without its lock service."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "lockf", refuse)
    monkeypatch.setattr(fcntl, "flock", refuse)
    with (
        pytest.warns(RuntimeWarning, match="no locks .*a second run in it would not be refused"),
        lock_folder(tmp_path),
    ):
        assert (tmp_path / "lock").read_text().startswith("process")
    with wait_for_lock(tmp_path / "concepts.lock"):
        pass
    assert not is_locked(tmp_path)
