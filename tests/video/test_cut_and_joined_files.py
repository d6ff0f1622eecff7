"""Files that end in half a picture, or go on in another codec: what is whole is used, and what is not is said."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from odd_videos import FAST_VP8, PLAIN, later, patch
from videos import CLOSED, HEIGHT, OPEN, QUIET, WIDTH, cut_transport_stream, encode, numbers, textured

import unreel
from unreel.errors import VideoError
from unreel.video.decoding import decoder, packet_index, probe
from unreel.video.reading.frame_reader import FrameReader

HEVC = {"x265-params": f"keyint=12:bframes=2:{QUIET}"}
MPEG2 = {"g": "12", "bf": "0"}


@pytest.fixture(scope="module")
def whole_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Files of 20 pictures of noise, whose containers do not state their size."""
    folder = tmp_path_factory.mktemp("whole")
    roq = {"pix_fmt": "yuvj444p", "format": "roq"}
    return {
        "ts": encode(folder / "a.ts", 20, "libx265", HEVC, draw=textured),
        "hevc": encode(folder / "a.hevc", 20, "libx265", HEVC, draw=textured),
        "ogg": encode(folder / "a.ogg", 20, "libvpx", FAST_VP8, format="ogg", draw=textured),
        "roq": encode(folder / "a.roq", 20, "roqvideo", {}, draw=textured, **roq),  # type: ignore[arg-type]
    }


@pytest.mark.parametrize(("kind", "unit_bytes"), [("ts", 188), ("hevc", 1), ("ogg", 1), ("roq", 1)])
def test_half_a_picture_is_no_frame(kind: str, unit_bytes: int, whole_files: dict[str, Path], tmp_path: Path) -> None:
    with unreel.open_video(whole_files[kind]) as video:
        pictures = video.frames(range(len(video)))
        assert len(video) == 20 and not video.cut_off
    data, num_said = whole_files[kind].read_bytes(), 0
    for share in (0.6, 0.7, 0.8, 0.9):
        path = tmp_path / f"{share}.{kind}"
        path.write_bytes(data[: int(share * len(data)) // unit_bytes * unit_bytes])
        with unreel.open_video(path, allow_cut=True) as video:
            for picture in video.frames(range(len(video))):
                assert (picture == pictures).all(axis=(1, 2, 3)).any(), share
            num_said += bool(video.cut_off)
    assert num_said >= (3 if kind in ("ts", "hevc") else 4)


@pytest.mark.parametrize("size", [(144, 176), (288, 352)])
def test_half_a_picture_of_h261_is_no_frame(size: tuple[int, int], tmp_path: Path) -> None:
    """Its decoder is content with one; what is missing is the last group of blocks, which has a header of its own."""
    whole = encode(tmp_path / "whole.h261", 6, "h261", {}, size=size, format="h261")
    data, last_group = whole.read_bytes(), 12 if size[0] == 288 else 5
    bits = format(int.from_bytes(b"\1" + data, "big"), "b")[1:]
    cut = tmp_path / "cut.h261"
    cut.write_bytes(data[: bits.rindex(f"{1:016b}{last_group:04b}") // 8])
    with unreel.open_video(whole) as video:
        pictures = video.frames(range(len(video)))
        assert len(video) == 6 and not video.cut_off
    with unreel.open_video(cut, allow_cut=True) as video:
        assert np.array_equal(video.frames(range(len(video))), pictures[:5]) and video.cut_off


def test_the_end_of_a_long_file_is_all_that_is_decoded_and_that_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"g": "25", "bf": "0", "qp": "1"}
    whole = encode(tmp_path / "whole.ts", 800, "libx264", options, size=(32, 32), draw=textured)
    path, decoded = tmp_path / "cut.ts", []
    path.write_bytes(whole.read_bytes()[: -3 * 188])
    decode_from = FrameReader.decode_from

    def count(reader: FrameReader, start: int) -> Iterator[Any]:
        for frame in decode_from(reader, start):
            decoded.append(frame[0])
            yield frame

    monkeypatch.setattr(FrameReader, "decode_from", count)
    counts = []
    for _ in range(2):
        packet_index.clear_caches()
        with unreel.open_video(path, allow_cut=True) as video:
            assert 797 <= len(video) < 800 and video.cut_off
        counts.append(len(decoded))
        decoded.clear()
    assert 300 < counts[0] < 300 + 4 * 25 and counts[1] < 2 * 25


def test_a_lost_last_picture_is_said_where_the_stated_duration_is_too_short(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.flv", 24, "flv", {"g": "12"}, draw=textured)
    data = path.read_bytes()
    patch(path, data.index(b"duration\0") + 9, np.array(0.9, ">f8").tobytes())
    path.write_bytes(path.read_bytes()[:-40])
    with unreel.open_video(path, allow_cut=True) as video:
        assert len(video) == 23 and video.cut_off


JOINED = [
    (("libx264", PLAIN), ("mpeg2video", MPEG2), "mpeg2video"),
    (("mpeg2video", MPEG2), ("libx264", PLAIN), "h264"),
    (("libx264", PLAIN), ("libx265", HEVC), "hevc"),
    (("libx265", HEVC), ("libx264", PLAIN), "h264"),
]


@pytest.mark.parametrize(("first", "second", "said"), JOINED)
def test_a_transport_stream_that_goes_on_in_another_codec(
    first: tuple, second: tuple, said: str, tmp_path: Path
) -> None:
    parts = [encode(tmp_path / f"{k}.ts", 30, *kind, first=30 * k) for k, kind in enumerate((first, second))]
    path = tmp_path / "joined.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    with pytest.raises(VideoError, match=f"truncated .*another codec, {said}; cut it there.*allow_cut=True"):
        unreel.open_video(path)
    with unreel.open_video(path, allow_cut=True) as video:
        assert len(video) >= 27 and numbers(video.frames(range(len(video)))) == list(range(len(video)))
        assert numbers(video.frames([len(video) - 1])) == [len(video) - 1]


def test_a_transport_stream_that_goes_on_under_another_number(tmp_path: Path) -> None:
    """A recorder that changes its programme: the second part has another PID, and what is there is said."""
    parts = [encode(tmp_path / f"{k}.ts", 24, options=PLAIN, first=24 * k, edit=later(0.96 * k)) for k in (0, 1)]
    packets = bytearray(parts[1].read_bytes())
    for at in range(0, len(packets), 188):
        packets[at : at + 188] = with_pid(bytes(packets[at : at + 188]), 256, 300)
    path = tmp_path / "joined.ts"
    path.write_bytes(parts[0].read_bytes() + packets)
    with pytest.raises(VideoError, match="truncated .*another stream, PID 300; cut it there.*allow_cut=True"):
        unreel.open_video(path)
    with unreel.open_video(path, allow_cut=True) as video:
        assert numbers(video.frames(range(len(video)))) == list(range(24))


def with_pid(packet: bytes, old: int, new: int) -> bytes:
    """A transport packet of one PID under another, and the programme map (table 2) that names it."""
    pid = int.from_bytes(packet[1:3], "big") & 0x1FFF
    if pid == old:
        return packet[:1] + (int.from_bytes(packet[1:3], "big") - old + new).to_bytes(2, "big") + packet[3:]
    if packet[4:6] != b"\0\2":
        return packet
    end = 8 + (int.from_bytes(packet[6:8], "big") & 0xFFF) - 4  # 4 bytes of checksum follow
    marks = [(0xE000 | number).to_bytes(2, "big") for number in (old, new)]
    table = packet[5:end].replace(*marks)
    return packet[:5] + table + crc32_mpeg(table).to_bytes(4, "big") + packet[end + 4 :]


def crc32_mpeg(data: bytes) -> int:
    """The checksum of tables in transport streams. Source: ISO/IEC 13818-1, annex A."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte << 24
        for _ in range(8):
            value = (value << 1 ^ (0x04C11DB7 if value >> 31 else 0)) & 0xFFFFFFFF
    return value


def test_a_short_transport_stream_of_two_codecs_is_refused(tmp_path: Path) -> None:
    """The demuxer looks ahead, and knows the second one alone."""
    kinds = (("libx264", PLAIN), ("mpeg2video", MPEG2))
    parts = [encode(tmp_path / f"{k}.ts", 6, *kind) for k, kind in enumerate(kinds)]
    path = tmp_path / "joined.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    with pytest.raises(VideoError, match="damaged .*videos in h264 and mpeg2video joined; cut it there"):
        unreel.open_video(path, allow_cut=True)


def test_an_ogg_stream_that_another_codec_follows(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.ogg", 18, "libvpx", FAST_VP8, format="ogg")
    with av.open(str(tmp_path / "b.ogg"), "w") as container:
        sound = container.add_stream("flac", rate=8000, layout="mono")
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), format="s16", layout="mono")
        samples.sample_rate, samples.pts = 8000, 0
        container.mux([*sound.encode(samples), *sound.encode(None)])
    path.write_bytes(path.read_bytes() + (tmp_path / "b.ogg").read_bytes())
    with unreel.open_video(path, allow_cut=True) as video:
        assert numbers(video.frames(range(len(video)))) == list(range(18))
        assert "another Ogg stream follows" in video.cut_off


def test_a_broadcast_whose_first_key_picture_is_damaged_is_read_from_the_next_one(tmp_path: Path) -> None:
    whole = encode(tmp_path / "whole.ts", 80, options=OPEN, draw=textured)
    path = cut_transport_stream(tmp_path / "late.ts", whole, 0.1, 1.0)
    with av.open(str(path)) as container:
        key = next(packet for packet in container.demux(video=0) if packet.is_keyframe)
    patch(path, key.pos + 3 * 188 + 60, bytes(range(100, 180)))
    pictures = decoder.read_frames(whole, range(80))
    with pytest.raises(VideoError, match="damaged .*the decoder found errors in the picture"):
        probe.check_decodable(path, all_frames=True)
    with unreel.open_video(path) as video:
        good = [i for i in range(len(video)) if _can_read(video, i)]
        assert 0 < len(good) < len(video) == 56 and good[-1] == 55
        assert np.array_equal(video.frames(good), pictures[24 + np.array(good)])


def _can_read(video: decoder.VideoFile, number: int) -> bool:
    try:
        return len(video.frames([number])) == 1
    except VideoError:
        return False


def test_pictures_are_scaled_where_their_size_changes(tmp_path: Path) -> None:
    sizes = ((HEIGHT, WIDTH), (2 * HEIGHT, 2 * WIDTH))
    parts = [encode(tmp_path / f"{k}.ts", 12, options=CLOSED, size=size, first=12 * k) for k, size in enumerate(sizes)]
    path = tmp_path / "sizes.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    with unreel.open_video(path) as video:
        pictures = video.frames(range(24))
        assert pictures.shape == (24, HEIGHT, WIDTH, 3) and numbers(pictures) == list(range(24))
        assert np.array_equal(video.frames([23]), pictures[23:])
    assert packet_index.index_frames(path).num_frames == 24
