"""Files whose flags, stamps, sizes or streams are not what they seem: each frame is that of a plain decode."""

import random
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from odd_videos import ODD_KINDS, fields_apart
from videos import HEIGHT, WIDTH, numbers

import unreel
from unreel.io.disk_cache import open_disk_cache
from unreel.video.decoding import cut_files, decoder, packet_index, sequential_index
from unreel.video.reading import container
from unreel.video.reading.frame_reader import FrameReader

FFMPEG = shutil.which("ffmpeg")


@pytest.fixture(scope="module")
def odd_videos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("odd")
    return {name: kind.make(folder) for name, kind in ODD_KINDS.items()}


@pytest.mark.parametrize("name", ODD_KINDS)
def test_frames_in_a_row_and_alone(name: str, odd_videos: dict[str, Path]) -> None:
    says = ODD_KINDS[name].says
    with unreel.open_video(odd_videos[name]) as video:
        in_a_row = video.frames(range(len(video)))
        assert numbers(in_a_row) == says
        for i in random.Random(0).sample(range(len(says)), len(says)):
            assert np.array_equal(video.frames([i])[0], in_a_row[i]), i
        assert (video.height, video.width) == video.frames([0]).shape[1:3]


def test_seconds_ascend_whatever_the_stamps(odd_videos: dict[str, Path]) -> None:
    for name, path in odd_videos.items():
        with unreel.open_video(path) as video:
            assert (np.diff(video.seconds) > 0).all() and video.seconds[0] >= 0, name


@pytest.mark.parametrize("name", [name for name, kind in ODD_KINDS.items() if kind.start_s is not None])
def test_seconds_are_those_of_the_clock(name: str, odd_videos: dict[str, Path]) -> None:
    kind = ODD_KINDS[name]
    with unreel.open_video(odd_videos[name]) as video:
        expected_s = kind.start_s + np.arange(len(kind.says)) * kind.step_s
        assert np.allclose(video.seconds, expected_s, atol=0.002 if "fields" not in name else 0.021)
        assert video.numbers_at(video.seconds).tolist() == list(range(len(video)))
        assert video.numbers_at([-1.0, 1e6]).tolist() == [0, len(video) - 1]


@pytest.mark.skipif(FFMPEG is None, reason="needs the command ffmpeg")
@pytest.mark.parametrize("name", [name for name, kind in ODD_KINDS.items() if kind.ffmpeg_agrees])
def test_a_second_reader_gives_the_same_frames(name: str, odd_videos: dict[str, Path]) -> None:
    with unreel.open_video(odd_videos[name]) as video:
        ours, shape = video.frames(range(len(video))), (video.height, video.width)
    command = [str(FFMPEG), "-v", "quiet", "-flags", "-output_corrupt", "-i", str(odd_videos[name])]
    command += ["-vsync", "passthrough", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    raw = subprocess.run(command, capture_output=True, check=True, timeout=60).stdout
    theirs = np.frombuffer(raw, np.uint8).reshape(-1, *shape, 3)
    assert numbers(theirs) == numbers(ours)


def test_all_pictures_have_the_size_that_is_stated(odd_videos: dict[str, Path]) -> None:
    for name, path in odd_videos.items():
        if "h263" not in name:
            with unreel.open_video(path) as video:
                assert (video.height, video.width) == (HEIGHT, WIDTH), name


@pytest.fixture
def readers(monkeypatch: pytest.MonkeyPatch) -> list[FrameReader]:
    """All readers that are opened from here on; each counts the packets it decodes."""
    opened: list[FrameReader] = []
    build = container.open_reader
    for module in (cut_files, sequential_index, decoder):
        monkeypatch.setattr(module, "open_reader", lambda path, index: opened.append(build(path, index)) or opened[-1])
    return opened


DECODED_FOR_THE_INDEX = ["fields ts", "fields apart mp4", "qtrle mov all key", "picture not coded"]
DECODED_FOR_THE_INDEX += ["joined ts, the clock begins again"]


@pytest.mark.parametrize("name", DECODED_FOR_THE_INDEX)
def test_a_file_is_decoded_once_and_then_read_from_its_key_frames(
    name: str, odd_videos: dict[str, Path], readers: list[FrameReader]
) -> None:
    packet_index.clear_caches()
    index = packet_index.index_frames(odd_videos[name])  # remembered by an earlier test, or now
    readers.clear()
    packet_index.clear_caches()
    again = packet_index.index_frames(odd_videos[name])
    assert not readers, "it was decoded again"
    assert np.array_equal(index.times_s, again.times_s) and np.array_equal(index.key_packets, again.key_packets)
    with unreel.open_video(odd_videos[name]) as video:
        video.frames([len(video) - 1])
    behind = len(index.packet_timestamps) - index.key_packets[-1]
    assert len(index.key_packets) > 1 and readers[0].num_decoded_packets <= behind + 1


def test_what_is_remembered_belongs_to_one_state_of_a_file(tmp_path: Path) -> None:
    for num_frames in (12, 20):
        path = fields_apart(tmp_path / "changes.ts", num_frames, False)
        assert packet_index.index_frames(path).num_frames == num_frames


def test_what_is_remembered_and_damaged_is_made_again(odd_videos: dict[str, Path], readers: list[FrameReader]) -> None:
    path = odd_videos["fields ts"]
    packet_index.clear_caches()
    index = packet_index.index_frames(path)
    for _, _, file in open_disk_cache()._list_files():
        Path(file).write_bytes(b"PK rubbish")
    packet_index.clear_caches()
    readers.clear()
    again = packet_index.index_frames(path)
    assert readers and np.array_equal(index.frame_packets, again.frame_packets)
