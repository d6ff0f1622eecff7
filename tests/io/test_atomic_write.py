"""Files and folders appear whole or not at all, and leave nothing temporary behind."""

import errno
import os
from pathlib import Path

import pytest

from unreel.errors import DiskError
from unreel.io.atomic_write import (
    atomic_folder,
    atomic_path,
    atomic_write_bytes,
    atomic_write_csv,
    disk_errors,
    remove_leftovers,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("sync", [True, False])
def test_a_file_is_replaced_when_the_block_ends(sync: bool, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with atomic_path(path, sync) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old" and temporary.parent == tmp_path
    assert path.read_text() == "new" and names(tmp_path) == ["a.txt"]


def test_a_link_at_the_temporary_name_is_not_followed(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "a.txt") as temporary:
        temporary.write_text("old")
    (tmp_path / "other.txt").write_text("of somebody else")
    temporary.symlink_to(tmp_path / "other.txt")
    with atomic_path(tmp_path / "a.txt") as temporary:
        temporary.write_text("new")
    assert (tmp_path / "other.txt").read_text() == "of somebody else" and (tmp_path / "a.txt").read_text() == "new"


def test_an_error_in_the_block_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(ValueError), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise ValueError
    assert path.read_text() == "old" and names(tmp_path) == ["a.txt"]


def test_a_folder_is_made_or_replaced_when_the_block_ends(tmp_path: Path) -> None:
    for number in range(2):
        with atomic_folder(tmp_path / "deep" / "out", sync=True, overwrite=bool(number)) as temporary:
            (temporary / f"{number}.txt").write_text("")
    assert names(tmp_path / "deep") == ["out"] and names(tmp_path / "deep" / "out") == ["1.txt"]


def test_a_folder_with_files_is_not_replaced_unasked(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("")
    with pytest.raises(OSError), atomic_folder(tmp_path / "out") as temporary:
        (temporary / "new.txt").write_text("")
    assert names(tmp_path) == ["out"] and names(tmp_path / "out") == ["mine.txt"]


def test_an_error_of_the_system_becomes_a_sentence(tmp_path: Path) -> None:
    with (
        pytest.raises(DiskError, match=r"a\.txt: the page can't be written \(No space left on device\); make room$"),
        disk_errors(tmp_path / "a.txt", "the page can't be written", "make room"),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(KeyError), disk_errors(tmp_path):
        raise KeyError


def test_tables_keep_the_bytes_of_odd_file_names(tmp_path: Path) -> None:
    atomic_write_csv(tmp_path / "t.csv", ["video", "count"], [[os.fsdecode(b"\xff.mp4"), 3], ["a,b.mp4", 4]])
    assert (tmp_path / "t.csv").read_bytes() == b'video,count\n\xff.mp4,3\n"a,b.mp4",4\n'


def test_what_killed_processes_left_is_deleted_and_nothing_else(tmp_path: Path) -> None:
    for name in (".a.txt.17.part", ".writing-step-00000007/encoder.json", ".keep", "b.part", ".folder.17.part/x"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    remove_leftovers(tmp_path)
    assert names(tmp_path) == [".keep", "b.part"]
    remove_leftovers(tmp_path / "missing")


def test_threads_do_not_share_a_temporary_file(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: atomic_write_bytes(tmp_path / "a", bytes([n]) * 1000, sync=False), range(100)))
    data = (tmp_path / "a").read_bytes()
    assert len(data) == 1000 and len(set(data)) == 1 and names(tmp_path) == ["a"]
