"""Every file of a folder is taken for a video, by suffix or content, or counted by suffix as left aside."""

import os
from collections import Counter
from pathlib import Path

import av
import numpy as np
import pytest
from commands import succeeds
from layouts import touch
from videos import KINDS, encode, encode_sound

import unreel
from unreel.corpus import video_files
from unreel.corpus.discovery import find_videos
from unreel.corpus.manifest import Manifest
from unreel.corpus.manifest_summary import summarize_manifest
from unreel.corpus.video_files import describe_left_aside, has_video_bytes
from unreel.errors import InputError

CONTAINERS = {  # format, codec, pixels
    "vob": ("vob", "mpeg2video", "yuv420p"),
    "hevc": ("hevc", "libx265", "yuv420p"),
    "mpeg2 bare": ("mpeg2video", "mpeg2video", "yuv420p"),
    "mpeg4 bare": ("m4v", "mpeg4", "yuv420p"),
    "ivf": ("ivf", "libvpx-vp9", "yuv420p"),
    "y4m": ("yuv4mpegpipe", "wrapped_avframe", "yuv420p"),
    "nut": ("nut", "mpeg4", "yuv420p"),
    "mxf": ("mxf", "mpeg2video", "yuv420p"),
    "ogg": ("ogg", "libvpx", "yuv420p"),
    "apng": ("apng", "apng", "rgb24"),
    "flv": ("flv", "flv", "yuv420p"),
    "asf": ("asf", "msmpeg4", "yuv420p"),
}
NO_VIDEOS = {
    "text": b"It was a dark and stormy night. " * 200,
    "G": b"G" * 9000,
    "zeros": bytes(9000),
    "jpeg": b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + bytes(9000),
    "png": b"\x89PNG\r\n\x1a\n" + bytes(9000),
    "icon": b"\x00\x00\x01\x00\x01\x00\x20\x20" + bytes(9000),
    "heic": b"\x00\x00\x00\x18ftypheic" + bytes(9000),
    "cr3": b"\x00\x00\x00\x18ftypcrx " + bytes(9000),
    "wav": b"RIFF\x00\x10\x00\x00WAVEfmt " + bytes(9000),
    "webp": b"RIFF\x00\x10\x00\x00WEBPVP8 " + bytes(9000),
    "opus": b"OggS\x00\x02" + bytes(22) + b"\x01\x13OpusHead" + bytes(9000),
    "text like a box": b"    free beer for everybody",
    "module": b"module example.org/x\n\ngo 1.22\n",
    "nothing": b"",
}


def encode_as(path: Path, container: str, codec: str, pix_fmt: str, num_frames: int = 20) -> Path:
    """A short video in a container that its suffix does not tell."""
    with av.open(str(path), "w", format=container) as out:
        stream = out.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, pix_fmt
        for number in range(num_frames):
            pixels = np.full((64, 96, 3), 10 * number, np.uint8)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format=pix_fmt)))
        out.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_video_is_known_by_its_first_bytes(kind: str, tmp_path: Path) -> None:
    assert has_video_bytes(KINDS[kind].make(tmp_path))


@pytest.mark.parametrize("name", CONTAINERS)
def test_videos_are_found_whatever_their_suffix(name: str, tmp_path: Path) -> None:
    path = encode_as(tmp_path / "clip.XYZ", *CONTAINERS[name])
    assert [entry.path for entry in find_videos(tmp_path)] == [path]


@pytest.mark.parametrize("suffix", [".264", ".265", ".h265", ".mjpeg", ".trp", ".MOD", ".qt", ".LRV", ".insv", ".dav"])
def test_suffixes_of_cameras_and_recorders_are_videos(suffix: str, tmp_path: Path) -> None:
    path = encode(tmp_path / "a.mp4", num_frames=3).rename(tmp_path / f"clip{suffix}")
    assert [entry.path for entry in find_videos(tmp_path)] == [path]


def test_a_recorders_own_container_is_known_by_its_mark(tmp_path: Path) -> None:
    (tmp_path / "a.rec").write_bytes(b"DHAV\xfd\x00" + bytes(500))
    assert has_video_bytes(tmp_path / "a.rec")


@pytest.mark.parametrize("name", NO_VIDEOS)
def test_other_files_are_no_videos(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(NO_VIDEOS[name])
    assert not has_video_bytes(tmp_path / "file")


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    path = encode_sound(tmp_path / "a.m4a")
    (tmp_path / "b").write_bytes(path.read_bytes().replace(b"ftypisom", b"ftypM4A ", 1))
    assert not has_video_bytes(tmp_path / "b")


def test_a_pipe_or_a_file_that_cant_be_opened_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    os.symlink("nowhere", tmp_path / "link")
    assert not has_video_bytes(tmp_path / "pipe") and not has_video_bytes(tmp_path / "link")
    assert not has_video_bytes(tmp_path)


def test_files_that_are_known_to_be_no_videos_are_never_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "a.mp4", *(f"{n}{suffix}" for n in range(300) for suffix in (".jpg", ".txt", ".JSON")))
    touch(tmp_path, "unknown.xyz", "README", "b.qt")
    opened: list[str] = []
    monkeypatch.setattr(video_files, "read_head", lambda path: opened.append(path.name) or b"")
    left_aside: Counter[str] = Counter()
    assert len(find_videos(tmp_path, left_aside=left_aside)) == 2
    assert sorted(opened) == ["README", "unknown.xyz"]
    assert left_aside == {".jpg": 300, ".txt": 300, ".json": 300, ".xyz": 1, "without suffix": 1}


def test_inspect_counts_what_it_leaves_aside_everywhere(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    touch(folder, "a.jpg", "b.jpg", "sub/c.txt", "README", ".hidden.mp4", ".git/x.mp4")
    encode(folder / "a.mp4", num_frames=4)
    manifest = unreel.inspect(folder)
    assert manifest.left_aside == {".jpg": 2, ".txt": 1, "hidden": 2, "without suffix": 1}
    manifest.save(tmp_path / "saved")
    assert Manifest.load(tmp_path / "saved") == manifest
    told = "left aside: 2 .jpg, 2 hidden, 1 .txt, 1 without suffix"
    assert told in summarize_manifest(manifest)
    assert told in succeeds("inspect", folder, "--out", tmp_path / "out").out
    assert told in succeeds("index", "base", folder, "--out", tmp_path / "index").out


def test_a_folder_without_a_video_says_what_is_there(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "b.zip")
    with pytest.raises(InputError, match=r"no video in it or below it, .*; there is 1 \.jpg, 1 \.zip"):
        find_videos(tmp_path)


def test_many_suffixes_are_summed_up() -> None:
    counts = {f".{n:03}": 1 for n in range(500)} | {".new\nline": 9}
    text = describe_left_aside(counts)
    assert text.startswith(r"9 .new\nline, 1 .000") and text.endswith("489 with 489 other suffixes")
