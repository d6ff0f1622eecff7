"""Moved, renamed, copied, changed and deleted files are told apart by their contents, and said by the commands."""

import json
import os
import shutil
from pathlib import Path

import pytest
from commands import succeeds

from unreel.corpus.file_changes import FileChanges, compute_file_changes, find_missing
from unreel.corpus.file_tracker import FileRecord, FileRecords


def made_of(**contents: str) -> FileRecords:
    """Records of files by name: `a__b` is the path /v/a/b."""
    paths = {f"/v/{name.replace('__', '/')}": content for name, content in contents.items()}
    return {path: FileRecord(path, "/v", "", 1, 1, content) for path, content in paths.items()}


def moved(*pairs: str, short: tuple[str, ...] | None = None) -> dict[str, tuple[tuple[str, str], ...]]:
    """`a>b`: /v/a is now /v/b; and what is said of it, the same by default."""
    read = [tuple(f"/v/{name}" for name in pair.split(">")) for pair in pairs]
    said = read if short is None else [tuple(f"/v/{name}" for name in pair.split(">")) for pair in short]
    return {"moved": tuple(read), "moves": tuple(said)}  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("before", "after", "changes"),
    [
        ({"a": "1"}, {"a": "1"}, FileChanges()),
        ({"a": "1"}, {"a": "1", "b": "2"}, FileChanges(added=("/v/b",))),
        ({"a": "1"}, {"b": "1"}, FileChanges(**moved("a>b"))),
        ({"a": "1"}, {"a": "1", "b": "1"}, FileChanges(copies=("/v/b",))),
        ({"a": "1", "b": "1"}, {"b": "1"}, FileChanges(deleted=("/v/a",))),
        ({"a": "1", "b": "2"}, {"a": "3"}, FileChanges(changed=("/v/a",), deleted=("/v/b",))),
        ({"a": "1", "b": "2"}, {"a": "2", "b": "1"}, FileChanges(**moved("a>b", "b>a"))),
        ({"a": "1"}, {"b": "1", "a": "2"}, FileChanges(**moved("a>b"), changed=("/v/a",))),  # its name is used again
        ({"a": "1", "b": "2"}, {"b": "1"}, FileChanges(**moved("a>b"), changed=("/v/b",))),  # moved over another
        ({"a": "1"}, {"b": "1", "c": "1"}, FileChanges(**moved("a>b"), copies=("/v/c",))),
        ({"z": "0"}, {"z": "0", "b": "1", "c": "1"}, FileChanges(added=("/v/b",), copies=("/v/c",))),
        ({}, {"b": "1", "c": "1", "d": "2"}, FileChanges(copies=("/v/c",))),
        ({"a": "1", "b": "1"}, {"c": "1"}, FileChanges(**moved("a>c"), deleted=("/v/b",))),
        # Equal files keep their names when their folder is moved, and the folder is said once.
        (
            {"x__1": "1", "x__2": "1"},
            {"y__2": "1", "y__1": "1"},
            FileChanges(**moved("x/1>y/1", "x/2>y/2", short=("x>y",))),
        ),
        (
            {"x__d__1": "1", "z": "0"},
            {"y__d__1": "1", "z": "0"},
            FileChanges(**moved("x/d/1>y/d/1", short=("x>y",))),
        ),
        # What is left in the old folder, or was in the new one, was not moved with it.
        ({"x__1": "1", "x__2": "2"}, {"y__1": "1", "x__2": "2"}, FileChanges(**moved("x/1>y/1"))),
        ({"x__1": "1", "y__2": "2"}, {"y__1": "1", "y__2": "2"}, FileChanges(**moved("x/1>y/1"))),
        ({"1": "1"}, {"s__1": "1"}, FileChanges(**moved("1>s/1"))),
    ],
)
def test_what_became_of_files(before: dict[str, str], after: dict[str, str], changes: FileChanges) -> None:
    assert compute_file_changes(made_of(**before), made_of(**after)) == changes


def test_a_file_that_is_there_was_not_deleted(tmp_path: Path) -> None:
    there, gone = tmp_path / "there.mp4", tmp_path / "gone.mp4"
    there.write_bytes(b"x")
    before = {str(path): FileRecord(str(path), "list.txt", "", 1, 1, path.name) for path in (there, gone)}
    changes = compute_file_changes(before, {})
    assert changes == FileChanges(deleted=(str(gone),), dropped=(str(there),))
    assert str(changes) == (f"1 file was deleted ({gone}), 1 file is no longer named by the source ({there})")


def test_the_sentence_has_few_names() -> None:
    assert str(FileChanges(copies=("/v/a", "/v/b"))) == "2 files are copies of others (/v/a, /v/b)"
    many = FileChanges(deleted=tuple(f"/v/{n}" for n in range(9)))
    assert str(many) == "9 files were deleted (/v/0, /v/1, /v/2 ...)"
    assert str(FileChanges()) == ""


def test_the_commands_say_what_became_of_files_and_what_is_gone(
    small_run: Path, motion_set: Path, tmp_path: Path
) -> None:
    videos, index = tmp_path / "videos", tmp_path / "index"
    for name in ("drift_left", "loom_in"):
        shutil.copytree(motion_set / name, videos / name)
    first, second, third, fourth = sorted((videos / "drift_left").glob("*.mp4"))[:4]
    assert "new" not in succeeds("index", small_run, videos, "--out", index).out.replace("newly", "")
    first.rename(first.with_name("renamed.mp4"))
    second.unlink()
    shutil.copy(third, videos / "copy.mp4")
    (videos / "loom_in").rename(videos / "right")
    said = succeeds("index", small_run, videos, "--out", index).out
    assert "nothing had to be embedded" in said
    assert f"{videos / 'loom_in'} is now {videos / 'right'}" in said
    assert f"{first} is now {first.with_name('renamed.mp4')}" in said
    assert f"1 file is a copy of another ({videos / 'copy.mp4'})" in said and f"1 file was deleted ({second})" in said
    assert "moved" not in succeeds("index", small_run, videos, "--out", index).out, "said once"

    fourth.unlink()
    found = json.loads(succeeds("search", index, third, "--count", 50, "--gap-s", -1, "--json").out)
    assert {hit["video"] for hit in found if hit.get("missing")} == {str(fourth)}
    printed = succeeds("search", index, third, "--count", 50, "--gap-s", 0.5)
    gone = [line for line in printed.out.splitlines() if line.endswith(f"{fourth}  (gone)")]
    assert gone and f"{len(gone)} of" in printed.err and "unreel index" in printed.err
    assert "1 of 12 videos is gone" in succeeds("cluster", index, "--out", tmp_path / "clusters", "--count", 2).err
    assert "1 file was deleted" in succeeds("index", small_run, videos, "--out", index).out
    assert "gone" not in succeeds("search", index, third, "--count", 50).err


def test_a_source_that_was_moved_as_a_whole_is_followed(small_run: Path, motion_set: Path, tmp_path: Path) -> None:
    """The new folder is another source, which says nothing of the old one; the files say it."""
    old, new, index = tmp_path / "old", tmp_path / "new", tmp_path / "index"
    shutil.copytree(motion_set / "drift_left", old)
    succeeds("index", small_run, old, "--out", index)
    before = succeeds("cluster", index, "--out", tmp_path / "clusters", "--count", 2)
    old.rename(new)
    assert "6 of 6 videos are gone" in succeeds("cluster", index, "--out", tmp_path / "clusters", "--count", 2).err
    said = succeeds("index", small_run, new, "--out", index).out
    assert f"6 files were moved or renamed ({old} is now {new})" in said and "of 6 videos, nothing had to" in said
    after = succeeds("cluster", index, "--out", tmp_path / "clusters", "--count", 2)
    assert "gone" not in after.err and before.out == after.out
    shutil.copytree(new, old)  # a second copy is another six files
    assert "6 files are copies of others" in succeeds("index", small_run, old, "--out", index).out


def test_a_copy_that_is_gone_is_said_under_its_hit(small_run: Path, motion_set: Path, tmp_path: Path) -> None:
    videos, index = tmp_path / "videos", tmp_path / "index"
    shutil.copytree(motion_set / "drift_left", videos)
    first, second = sorted(videos.glob("*.mp4"))[:2]
    copy = Path(shutil.copy(first, videos / "z.mp4"))
    succeeds("index", small_run, videos, "--out", index)
    copy.unlink()
    found = json.loads(succeeds("search", index, second, "--count", 9, "--own", "video", "--json").out)
    alike = {other["video"]: "missing" in other for hit in found for other in hit["alike"]}
    assert alike[str(copy)] and not any("missing" in hit for hit in found)


def test_what_can_not_be_read_there_is_gone(tmp_path: Path) -> None:
    there = tmp_path / "there.mp4"
    there.write_bytes(b"x")
    (tmp_path / "00001.tar").write_bytes(b"x")
    os.symlink(tmp_path / "nowhere", tmp_path / "link.mp4")
    gone = {str(tmp_path / "gone.mp4"), str(tmp_path / "link.mp4"), str(tmp_path / "00002.tar#000002.mp4")}
    kept = {str(there), "synthetic://all#3", str(tmp_path / "00001.tar#000002.mp4"), "s3://b/00002.tar#000002.mp4"}
    assert find_missing(gone | kept) == gone
