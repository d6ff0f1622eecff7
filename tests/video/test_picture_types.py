"""Types and fields of coded pictures, read from their first bytes, against what a decoder says of the same pictures."""

from collections.abc import Callable
from pathlib import Path

import av
import pytest
from odd_videos import fields_apart
from videos import CLOSED, encode

from unreel.video.reading.picture_types import (
    BitReader,
    PictureInspector,
    is_mpeg2_field,
    read_mpeg2_type,
    read_mpeg4_type,
)


def packets_of(path: Path) -> list[av.Packet]:
    with av.open(str(path)) as container:
        return [packet for packet in container.demux(container.streams.video[0]) if packet.size]


def inspect_all(path: Path) -> PictureInspector:
    with av.open(str(path)) as container:
        inspector = PictureInspector(container.streams.video[0].codec_context)
        for packet in container.demux(container.streams.video[0]):
            if packet.size:
                inspector.look(packet)
    return inspector


@pytest.mark.parametrize(
    ("name", "codec", "read_type"),
    [
        ("a.avi", "mpeg4", read_mpeg4_type),
        ("a.ts", "mpeg2video", read_mpeg2_type),
        ("a.mpg", "mpeg1video", read_mpeg2_type),
    ],
)
def test_types_are_those_of_the_decoder(name: str, codec: str, read_type: Callable, tmp_path: Path) -> None:
    path = encode(tmp_path / name, 40, codec, {"g": "12", "bf": "2"})
    with av.open(str(path)) as container:
        decoded = sorted(frame.pict_type for frame in container.decode(video=0))
    types = [read_type(bytes(packet)) for packet in packets_of(path)]
    assert sorted(types) == decoded and len(set(types)) == 3
    assert read_type(b"") is None and read_type(b"\0\0\1") is None
    assert inspect_all(path).has_b_pictures
    assert not inspect_all(encode(tmp_path / f"no_b{name}", 20, codec, {"g": "12", "bf": "0"})).has_b_pictures


def test_packets_of_one_field(tmp_path: Path) -> None:
    assert inspect_all(fields_apart(tmp_path / "apart.mp4", 12, True)).has_lone_fields
    assert inspect_all(fields_apart(tmp_path / "apart.ts", 12, False)).has_lone_fields
    for path in (
        fields_apart(tmp_path / "together.mkv", 12, True, together=True),
        encode(tmp_path / "mixed.mp4", 12, options={**CLOSED, "flags": "+ildct+ilme"}),
        encode(tmp_path / "frames.mp4", 12, options=CLOSED),
    ):
        assert not inspect_all(path).has_lone_fields, path


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p", "yuv444p", "yuv420p10le"])
@pytest.mark.parametrize("is_interlaced", [False, True])
def test_parameter_sets_of_all_profiles(pix_fmt: str, is_interlaced: bool, tmp_path: Path) -> None:
    flags = {"flags": "+ildct+ilme"} if is_interlaced else {}
    inspector = inspect_all(encode(tmp_path / "a.mkv", 3, options={**CLOSED, **flags}, pix_fmt=pix_fmt))
    assert inspector.h264 is not None and inspector.h264.may_have_fields == is_interlaced


def test_a_field_of_mpeg2(tmp_path: Path) -> None:
    """No encoder at hand writes them, so the two bits of a frame's header are changed."""
    data = bytearray(bytes(packets_of(encode(tmp_path / "a.ts", 12, "mpeg2video"))[0]))
    assert not is_mpeg2_field(bytes(data)) and not is_mpeg2_field(b"") and not is_mpeg2_field(data[:20])
    at = data.index(b"\0\0\1\xb5", data.index(b"\0\0\1\0")) + 6
    assert data[at] & 3 == 3
    data[at] = data[at] & 0xFC | 1
    assert is_mpeg2_field(bytes(data))
    assert not is_mpeg2_field(bytes(data) * 2)  # both fields in one packet


def test_bits() -> None:
    bits = BitReader(b"\xa6\x42\x98\xe2\x04\x8a")  # 1 010 011 00100 00101 00110 00111 0001000 0001001 0001010 ...
    assert [bits.read_golomb() for _ in range(9)] == list(range(9))
    assert BitReader(b"\0\0\3\1\0\0\3\0").value == int.from_bytes(b"\0\0\1\0\0\0", "big")
    with pytest.raises(EOFError):
        BitReader(b"\0\0").read_golomb()
