"""What inspect makes of real and of broken files, how a manifest is kept, and when a run refuses to start."""

import csv
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from videos import UNEVEN, encode, encode_sound, encode_turned, picture

from unreel.corpus.inspection import count_files, inspect, require_usable
from unreel.corpus.manifest import Manifest
from unreel.corpus.manifest_summary import summarize_manifest
from unreel.errors import DiskError, InputError
from unreel.rows.video_rows import Video
from unreel.types import FileFailure

ROW = Video("/v/a.mp4", "h264", 320, 240, 25.0, 250, 10.0, 90, True, 1000, "0f", "run", "anna", "/v/0.mp4", (1.5, 2.0))


def bit_flipped(path: Path) -> Path:
    """A video with one bit in a hundred bytes of its pictures turned round; its size and its boxes stay as they are."""
    data = bytearray(encode(path, 60, options={"g": "12"}).read_bytes())
    for at in range(data.index(b"mdat") + 1000, data.index(b"moov") - 4, 100):
        data[at] ^= 1 << at % 8
    path.write_bytes(data)
    return path


def truncated(path: Path) -> Path:
    data = encode(path, 60).read_bytes()
    path.write_bytes(data[: len(data) // 2])
    return path


def text(path: Path) -> Path:
    path.write_text("I am no video\n" * 100)
    return path


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "text.mp4": (text, "not a video"),
    "empty.mp4": (Path.touch, "empty file"),
    "sound.mp4": (encode_sound, "no video stream"),
    "cut.mp4": (truncated, "truncated"),
    "cut.avi": (truncated, "truncated"),
    "flipped.mp4": (bit_flipped, "damaged"),
    "still.mp4": (lambda path: encode(path, 1), "too short"),
    "nowhere.mp4": (lambda path: path.symlink_to("gone"), "missing"),
    "pipe.mp4": (os.mkfifo, "unreadable"),
}


def test_unusable_files_are_quarantined_with_a_reason(tmp_path: Path) -> None:
    for name, (make, _) in BROKEN.items():
        make(tmp_path / name)
    encode(tmp_path / "good.mp4", 20)
    manifest = inspect(tmp_path)
    assert [video.path for video in manifest.videos] == [str(tmp_path / "good.mp4")]
    reasons = {Path(bad.path).name: bad.reason for bad in manifest.quarantine}
    assert reasons == {name: reason for name, (_, reason) in BROKEN.items()}
    assert [bad.path for bad in manifest.quarantine] == sorted(str(tmp_path / name) for name in BROKEN)


def test_what_was_cut_off_is_used_and_said(tmp_path: Path) -> None:
    data = encode(tmp_path / "cut.mp4", 60, options={"g": "12"}, muxer={"movflags": "+faststart"}).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) * 4 // 5])
    encode(tmp_path / "good.mp4", 20)
    manifest = inspect(tmp_path)
    cut, good = manifest.videos
    assert 10 < cut.num_frames < 60 and cut.cut_off.startswith("mdat should end at byte") and not good.cut_off
    assert "cut off: 1 file, used up to the cut\n    cut.mp4  (mdat should end" in summarize_manifest(manifest)
    manifest.save(tmp_path)
    assert Manifest.load(tmp_path) == manifest


def test_properties_of_a_video(tmp_path: Path) -> None:
    for folder in ("run", "walk"):
        (tmp_path / folder).mkdir()
    encode(tmp_path / "run/a.avi", 50, "mpeg4")
    encode(tmp_path / "walk/b.mp4", 60, time_base=Fraction(1, 1000), pts=UNEVEN)
    encode_turned(tmp_path / "walk/c.mp4", 90)
    (tmp_path / "groups.tsv").write_text("run/a.avi\tanna\n")
    a, b, c = inspect(tmp_path).videos
    assert (a.codec, a.width, a.height, a.fps, a.num_frames, a.duration_s) == ("mpeg4", 96, 64, 25.0, 50, 2.0)
    assert (a.label, a.group, a.rotation, a.variable_fps, a.duplicate_of) == ("run", "anna", 0, False, "")
    assert a.size_bytes == (tmp_path / "run/a.avi").stat().st_size and len(a.content_hash) == 32
    assert (b.label, b.variable_fps, b.num_frames) == ("walk", True, 60)
    assert (c.rotation, c.width, c.height) == (90, 96, 64)


def test_duplicated_content_is_named_and_used_once(tmp_path: Path) -> None:
    encode(tmp_path / "b.mp4", 20)
    encode(tmp_path / "c.mp4", 21)
    shutil.copy(tmp_path / "b.mp4", tmp_path / "a.mp4")
    shutil.copy(tmp_path / "b.mp4", tmp_path / "d.mp4")
    manifest = inspect(tmp_path)
    first = str(tmp_path / "a.mp4")
    assert [video.duplicate_of for video in manifest.videos] == ["", first, "", first]
    assert [Path(video.path).name for video in manifest.drop_duplicates()] == ["a.mp4", "c.mp4"]
    assert "b.mp4 = a.mp4" in summarize_manifest(manifest) and "d.mp4 = a.mp4" in summarize_manifest(manifest)


@pytest.mark.parametrize("check, seconds, full", [("auto", 3, True), ("auto", 70, False), ("full", 70, True)])
@pytest.mark.parametrize("shots", [True, False])
def test_check_depth_decides_what_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, check: str, seconds: int, full: bool, shots: bool
) -> None:
    calls = tmp_path / "calls.txt"  # written by the worker process

    def record(call: object) -> None:
        with calls.open("a") as out:
            out.write(f"{call}\n")

    monkeypatch.setattr("unreel.corpus.inspection.check_decodable", lambda path, all_frames: record(all_frames))
    monkeypatch.setattr("unreel.corpus.inspection.detect_shot_changes", lambda path: record("shots") or [1.0])
    encode(tmp_path / "a.mp4", seconds, time_base=Fraction(1, 1))
    (video,) = inspect(tmp_path, check=check, shots=shots).videos  # type: ignore[arg-type]
    assert calls.read_text().split() == [str(full)] + ["shots"] * (shots and seconds > 15)
    assert video.shot_changes_s == ((1.0,) if shots and seconds > 15 else ())


def test_shot_changes_of_a_long_video_are_kept(tmp_path: Path) -> None:
    def scenes(n: int, width: int, height: int) -> np.ndarray:
        return picture(0) if n < 75 else 255 - picture(0)

    encode(tmp_path / "a.mp4", 170, time_base=Fraction(1, 10), draw=scenes)
    assert inspect(tmp_path).videos[0].shot_changes_s == pytest.approx((7.5,))


@pytest.mark.reader_processes
def test_files_are_read_in_processes_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a file of unknown origin does to a decoder, it does not do to this process."""
    note = tmp_path / "process"
    monkeypatch.setattr("unreel.corpus.inspection.check_decodable", lambda *_, **__: note.write_text(str(os.getpid())))
    encode(tmp_path / "a.mp4", 3)
    inspect(tmp_path)
    assert int(note.read_text()) != os.getpid()


@pytest.mark.reader_processes
def test_the_order_does_not_depend_on_the_workers_and_progress_is_reported(tmp_path: Path) -> None:
    for n in range(6):
        encode(tmp_path / f"{n}.mp4", 60 - 9 * n)
    progress: list[tuple[int, int]] = []
    sequential = inspect(tmp_path, workers=1, on_progress=lambda done, total: progress.append((done, total)))
    assert inspect(tmp_path, workers=4) == sequential
    assert progress == [(n, 6) for n in range(1, 7)]


def test_a_list_may_name_files_that_are_not_there(tmp_path: Path) -> None:
    encode(tmp_path / "a.mp4", 20)
    (tmp_path / "list.csv").write_text("path,label,group\na.mp4,run,anna\ngone.mp4,run,\n")
    manifest = inspect(tmp_path / "list.csv")
    assert manifest.root == str(tmp_path)
    assert [(video.label, video.group) for video in manifest.videos] == [("run", "anna")]
    assert [(bad.path, bad.reason) for bad in manifest.quarantine] == [(str(tmp_path / "gone.mp4"), "missing")]


def test_paths_are_absolute_wherever_inspect_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    encode(tmp_path / "data/a.mp4", 20)
    monkeypatch.chdir(tmp_path)
    assert inspect(Path("data")) == inspect(tmp_path / "data")


def test_a_name_that_is_not_utf8_is_quarantined_and_can_be_saved(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    shutil.move(encode(tmp_path / "a.mp4", 20), os.fsencode(tmp_path / "data") + b"/caf\xe9.mp4")
    manifest = inspect(tmp_path / "data")
    assert [(bad.path, bad.reason) for bad in manifest.quarantine] == [
        (str(tmp_path / "data/caf\\udce9.mp4"), "unreadable")
    ]
    manifest.save(tmp_path)
    assert Manifest.load(tmp_path) == manifest


def test_a_manifest_survives_saving(tmp_path: Path) -> None:
    odd = replace(ROW, path='/v/日本 "x", [y]\n.mp4', label="", group="", duplicate_of="", shot_changes_s=())
    bad = FileFailure('/v/"b", c\n.mp4', "damaged", 'said "no",\nthen stopped')
    manifest = Manifest("/v", (ROW, odd), (bad,))
    manifest.save(tmp_path / "new/run")
    assert Manifest.load(tmp_path / "new/run") == manifest
    assert sorted(os.listdir(tmp_path / "new/run")) == ["manifest.parquet", "quarantine.csv"]
    Manifest("/w", ()).save(tmp_path / "new/run")
    assert Manifest.load(tmp_path / "new/run") == Manifest("/w", ())


def test_others_can_read_the_files(tmp_path: Path) -> None:
    Manifest("/v", (ROW,), (FileFailure("/v/b.mp4", "truncated", "no moov box"),)).save(tmp_path)
    (row,) = pq.read_table(tmp_path / "manifest.parquet").to_pylist()
    assert row["path"] == "/v/a.mp4" and row["fps"] == 25.0 and row["shot_changes_s"] == [1.5, 2.0]
    with (tmp_path / "quarantine.csv").open(newline="") as lines:
        assert list(csv.reader(lines)) == [["path", "reason", "detail"], ["/v/b.mp4", "truncated", "no moov box"]]


def test_nothing_half_written_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Manifest("/v", (ROW,)).save(tmp_path)

    def full_disk(writer: object, table: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq.ParquetWriter, "write_table", full_disk)
    with pytest.raises(DiskError, match=r"can't be written .*No space left"):
        Manifest("/w", (ROW,)).save(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["manifest.parquet", "quarantine.csv"]
    assert Manifest.load(tmp_path).root == "/v"
    (tmp_path / "file").touch()
    with pytest.raises(DiskError, match="file/run"):
        Manifest("/w", ()).save(tmp_path / "file/run")


def test_a_missing_or_damaged_manifest_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no such file.*unreel inspect"):
        Manifest.load(tmp_path)
    Manifest("/v", (ROW,)).save(tmp_path)
    data = (tmp_path / "manifest.parquet").read_bytes()
    (tmp_path / "manifest.parquet").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=r"damaged.*unreel inspect"):
        Manifest.load(tmp_path)


def test_a_run_refuses_to_start_with_none_or_too_many_bad() -> None:
    bad = tuple(FileFailure(f"/v/{n}.mp4", reason) for n, reason in enumerate(["no frames", "truncated", "truncated"]))
    mixed = Manifest("/v", (ROW,) * 7, bad)
    require_usable(mixed, 0.3)
    require_usable(Manifest("/v", (ROW,)), 0.0)
    message = r"3 of 10 files .*2 truncated, 1 no frames.*/v/0\.mp4.* 0\.29\. .*unreel inspect.*--most"
    with pytest.raises(InputError, match=message):
        require_usable(mixed, 0.29, option="--most")
    with pytest.raises(InputError, match=r"none of 3 files can be used \(2 truncated, 1 no frames"):
        require_usable(Manifest("/v", (), bad), 1.0)


def test_files_are_counted_once() -> None:
    """A list may name a file twice, and one that was usable may be quarantined later."""
    bad = tuple(FileFailure(path, "damaged") for path in (ROW.path, "/v/z.mp4", "/v/z.mp4"))
    assert count_files(Manifest("/v", (ROW, ROW, replace(ROW, path="/v/b.mp4")), bad)) == 3
    assert count_files(Manifest("/v", ())) == 0


def test_the_summary() -> None:
    rows = [replace(ROW, path=f"/v/{n}.mp4", duplicate_of="", label=f"c{n % 2}", group="") for n in range(15)]
    rows += [replace(rows[0], path="/v/short.mp4", num_frames=9, duration_s=0.5, rotation=0, variable_fps=False)]
    bad = [FileFailure(f"/v/sub/{n}.mp4", "truncated", "no moov box") for n in range(12)]
    text = summarize_manifest(Manifest("/v", tuple(rows), (*bad, FileFailure("/else/[b].mp4", "not a video"))))
    for line in (
        "16 videos can be used, 13 files can't",
        "h264 (16)",
        "320x240 (16)",
        "25 (16); variable in 15",
        "90° (15)",
        "0.5 s to 10 s, median 10 s",
        "1 video for a clip of 16 frames",
        "2 classes of 7 to 9 videos",
        "quarantined, truncated: 12 files\n    sub/0.mp4  (no moov box)\n    sub/1.mp4",
        "... and 2 more, see quarantine.csv",
        "quarantined, not a video: 1 file\n    /else/[b].mp4",
        "groups      none",
    ):
        assert line in text, f"{line!r} not in\n{text}"
    assert "0 videos can be used, 0 files can't" in summarize_manifest(Manifest("/v", ()))
