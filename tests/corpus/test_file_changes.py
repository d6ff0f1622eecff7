"""Moved, renamed, copied, changed and deleted files are told apart by their contents, and said by the commands."""

import json
import os
import shutil
from pathlib import Path

import pytest
from commands import succeeds

from unreel.corpus.file_changes import FileChanges, compute_file_changes, describe_moves, find_missing
from unreel.corpus.file_tracker import FileRecord, FileRecords


def made_of(**contents: str) -> FileRecords:
    """Records of files by name: `a__b` is the path /v/a/b."""
    paths = {f"/v/{name.replace('__', '/')}": content for name, content in contents.items()}
    return {path: FileRecord(path, "/v", "", 1, 1, content) for path, content in paths.items()}


@pytest.mark.parametrize(
    ("before", "after", "changes"),
    [
        ({"a": "1"}, {"a": "1"}, FileChanges()),
        ({"a": "1"}, {"a": "1", "b": "2"}, FileChanges(added=("/v/b",))),
        ({"a": "1"}, {"b": "1"}, FileChanges(moved=(("/v/a", "/v/b"),))),
        ({"a": "1"}, {"a": "1", "b": "1"}, FileChanges(copies=("/v/b",))),
        ({"a": "1", "b": "1"}, {"b": "1"}, FileChanges(deleted=("/v/a",))),
        ({"a": "1", "b": "2"}, {"a": "3"}, FileChanges(changed=("/v/a",), deleted=("/v/b",))),
        ({"a": "1", "b": "2"}, {"a": "2", "b": "1"}, FileChanges(changed=("/v/a", "/v/b"))),
        ({"a": "1"}, {"b": "1", "c": "1"}, FileChanges(moved=(("/v/a", "/v/b"),), copies=("/v/c",))),
        ({"z": "0"}, {"z": "0", "b": "1", "c": "1"}, FileChanges(added=("/v/b",), copies=("/v/c",))),
        ({}, {"b": "1", "c": "1", "d": "2"}, FileChanges(copies=("/v/c",))),
        (
            {"x__1": "1", "x__2": "1"},  # equal files keep their names when their folder is moved
            {"y__2": "1", "y__1": "1"},
            FileChanges(moved=(("/v/x/1", "/v/y/1"), ("/v/x/2", "/v/y/2"))),
        ),
        ({"a": "1", "b": "1"}, {"c": "1"}, FileChanges(moved=(("/v/a", "/v/c"),), deleted=("/v/b",))),
    ],
)
def test_what_became_of_files(before: dict[str, str], after: dict[str, str], changes: FileChanges) -> None:
    assert compute_file_changes(made_of(**before), made_of(**after)) == changes


def test_a_moved_folder_is_said_once() -> None:
    moved = [(f"/v/old/day/{n}.mp4", f"/v/new/day/{n}.mp4") for n in range(30)]
    assert describe_moves(moved) == "/v/old is now /v/new"
    renamed = [*moved, ("/v/a.mp4", "/v/b.mp4")]
    assert describe_moves(renamed) == "/v/old is now /v/new, /v/a.mp4 is now /v/b.mp4"
    assert str(FileChanges(copies=("/v/a", "/v/b"))) == "2 files copies of others (/v/a, /v/b)"
    assert str(FileChanges()) == ""


def test_the_commands_say_what_became_of_files_and_what_is_gone(
    small_run: Path, motion_set: Path, tmp_path: Path
) -> None:
    videos, index = tmp_path / "videos", tmp_path / "index"
    for name in ("drift_left", "loom_in"):
        shutil.copytree(motion_set / name, videos / name)
    first, second, third, fourth = sorted((videos / "drift_left").glob("*.mp4"))[:4]
    assert "files new" not in succeeds("index", small_run, videos, "--out", index).out
    first.rename(first.with_name("renamed.mp4"))
    second.unlink()
    shutil.copy(third, videos / "copy.mp4")
    (videos / "loom_in").rename(videos / "right")
    said = succeeds("index", small_run, videos, "--out", index).out
    assert "nothing had to be embedded" in said
    assert f"{videos / 'loom_in'} is now {videos / 'right'}" in said
    assert f"{first} is now {first.with_name('renamed.mp4')}" in said
    assert f"1 file a copy of another ({videos / 'copy.mp4'})" in said and f"1 file deleted ({second})" in said
    assert "moved" not in succeeds("index", small_run, videos, "--out", index).out, "said once"

    fourth.unlink()
    found = json.loads(succeeds("search", index, third, "--count", 50, "--gap-s", -1, "--json").out)
    assert {hit["video"] for hit in found if hit.get("missing")} == {str(fourth)}
    printed = succeeds("search", index, third, "--count", 50, "--gap-s", 0.5)
    gone = [line for line in printed.out.splitlines() if line.endswith(f"{fourth}  (gone)")]
    assert gone and f"{len(gone)} of" in printed.err and "unreel index" in printed.err
    assert "1 of 12 videos is gone" in succeeds("cluster", index, "--out", tmp_path / "clusters", "--count", 2).err
    assert "1 file deleted" in succeeds("index", small_run, videos, "--out", index).out
    assert "gone" not in succeeds("search", index, third, "--count", 50).err


def test_a_packed_or_drawn_video_is_not_gone(tmp_path: Path) -> None:
    there = tmp_path / "there.mp4"
    there.write_bytes(b"x")
    os.symlink(tmp_path / "nowhere", tmp_path / "link.mp4")
    gone = str(tmp_path / "gone.mp4")
    paths = [str(there), str(tmp_path / "link.mp4"), gone, "synthetic://all#3", "/corpus/00001.tar#000002.mp4"]
    assert find_missing(paths) == {gone}
