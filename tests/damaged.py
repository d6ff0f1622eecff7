"""Damaged videos of every kind that people bring, and of kinds that only somebody who means harm does.

Good videos of several containers and codecs are made first, then each damaged file is one of them with one fault. The
same seed gives the same bytes. `tests/fuzz.py` sends hundreds of them through every command.
"""

import random
import struct
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

from videos import FAST_VP9, HEVC, OPEN, encode, encode_sound

Random = random.Random
Fault = Callable[[bytearray, Random], bytes | bytearray]
H264 = {**OPEN, "threads": "1"}
SOURCES: dict[str, dict[str, Any]] = {
    "h264.mp4": {"options": H264},
    "sound.mp4": {"options": H264, "audio": True},
    "late.mp4": {"options": H264, "pts": range(-5, 25)},
    "fragments.mp4": {"options": H264, "muxer": {"movflags": "frag_keyframe+empty_moov"}},
    "hevc.mp4": {"codec": "libx265", "options": HEVC},
    "mpeg4.mp4": {"codec": "mpeg4", "options": {"g": "12", "bf": "2"}},
    "h264.mov": {"options": H264},
    "prores.mov": {"codec": "prores", "pix_fmt": "yuv422p10le"},
    "h264.mkv": {"options": H264},
    "ffv1.mkv": {"codec": "ffv1", "pix_fmt": "bgr0"},
    "vp9.webm": {"codec": "libvpx-vp9", "options": FAST_VP9},
    "vp8.webm": {"codec": "libvpx", "options": {"g": "12", "deadline": "realtime", "cpu-used": "8"}},
    "mpeg4.avi": {"codec": "mpeg4", "options": {"g": "12"}},
    "mjpeg.avi": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
    "huffyuv.avi": {"codec": "huffyuv", "pix_fmt": "yuv422p"},
    "h264.ts": {"options": H264},
    "mpeg2.ts": {"codec": "mpeg2video", "options": {"g": "12"}},
    "mpeg1.mpg": {"codec": "mpeg1video", "options": {"g": "12"}},
    "h264.flv": {"options": H264},
    "sorenson.flv": {"codec": "flv", "options": {"g": "12"}},
    "wmv2.wmv": {"codec": "wmv2", "options": {"g": "12"}},
    "gif.gif": {"codec": "gif", "pix_fmt": "rgb8"},
    "h263.3gp": {"codec": "h263", "size": (96, 128), "options": {"g": "12"}},
    "hevc.ts": {"codec": "libx265", "options": HEVC},
    "h264.m2ts": {"options": H264, "format": "mpegts", "muxer": {"mpegts_m2ts_mode": "1"}},
    "vp8.ogv": {"codec": "libvpx", "options": {"g": "12", "deadline": "realtime", "cpu-used": "8"}, "format": "ogg"},
    "mpeg2.mxf": {"codec": "mpeg2video", "options": {"g": "12"}},
    "vp9.ivf": {"codec": "libvpx-vp9", "options": FAST_VP9},
    "bare.264": {"options": H264, "format": "h264"},
    "qtrle.mov": {"codec": "qtrle", "pix_fmt": "rgb24", "options": {"g": "12"}},
}


@cache
def source(name: str, num_frames: int = 30) -> bytes:
    """The bytes of a good video."""
    how = {"num_frames": num_frames} | SOURCES[name]
    how["muxer"] = how.get("muxer", {}) | {"fflags": "+bitexact"}
    if num_frames == 1:
        how.pop("pts", None)
    with tempfile.TemporaryDirectory() as folder:
        return encode(Path(folder, name), **how).read_bytes()


@dataclass(frozen=True)
class Kind:
    """A fault, and the names or endings of the videos that can have it; none for a file that is made from nothing."""

    fault: Fault
    of: tuple[str, ...] = ("",)

    @property
    def sources(self) -> list[str]:
        return [name for name in SOURCES if name.endswith(self.of)]


# Faults that any file can have.


def bits(data: bytearray, chance: Random) -> bytearray:
    for _ in range(2 ** chance.randrange(8)):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return data


def bits_of_the_head(data: bytearray, chance: Random) -> bytearray:
    for _ in range(2 ** chance.randrange(5)):
        data[chance.randrange(min(1024, len(data)))] ^= 1 << chance.randrange(8)
    return data


def bits_of_the_tables(data: bytearray, chance: Random) -> bytearray:
    """Where an mp4 says what is where."""
    first = max(0, data.find(b"moov"))
    for _ in range(2 ** chance.randrange(4)):
        data[chance.randrange(first, min(len(data), first + 1500))] ^= 1 << chance.randrange(8)
    return data


def stretch(data: bytearray, chance: Random) -> slice:
    length = min(len(data) // 2, 2 ** chance.randrange(4, 13))
    first = chance.randrange(len(data) - length)
    return slice(first, first + length)


def noise(data: bytearray, chance: Random) -> bytearray:
    part = stretch(data, chance)
    data[part] = chance.randbytes(part.stop - part.start)
    return data


def zeros(data: bytearray, chance: Random) -> bytearray:
    part = stretch(data, chance)
    data[part] = bytes(part.stop - part.start)
    return data


def ones(data: bytearray, chance: Random) -> bytearray:
    part = stretch(data, chance)
    data[part] = b"\xff" * (part.stop - part.start)
    return data


def missing(data: bytearray, chance: Random) -> bytearray:
    del data[stretch(data, chance)]
    return data


def twice(data: bytearray, chance: Random) -> bytearray:
    part = stretch(data, chance)
    data[part.stop : part.stop] = data[part]
    return data


def cut(data: bytearray, chance: Random) -> bytearray:
    return data[: chance.randrange(1, len(data))]


def beheaded(data: bytearray, chance: Random) -> bytearray:
    return data[chance.randrange(1, len(data) // 2) :]


def joined(data: bytearray, chance: Random) -> bytearray:
    return data + source(chance.choice(list(SOURCES)))


def empty(_data: bytearray, _chance: Random) -> bytes:
    return b""


def whole(data: bytearray, _chance: Random) -> bytearray:
    return data


def no_video(_data: bytearray, chance: Random) -> bytes:
    """Noise, text, a picture's first bytes, an archive's, a playlist."""
    heads = [
        b"",
        b"I am no video\n" * 50,
        b"\x89PNG\r\n\x1a\n",
        b"PK\x03\x04",
        b"#EXTM3U\nfile:///etc/passwd\n",
        b"RIFF",
    ]
    heads += [b"\0\0\0\x18ftypmp42", b"\x1aE\xdf\xa3", b"FLV\x01\x05", b"GIF89a\xff\xff\xff\xff", b"OggS", b"ID3\x04"]
    return chance.choice(heads) + chance.randbytes(chance.choice([0, 100, 10_000]))


def sound_alone(_data: bytearray, chance: Random) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return encode_sound(Path(folder, chance.choice(["a.mp4", "a.mkv", "a.mov", "a.ts", "a.m4a"]))).read_bytes()


# Headers that say what can't be.


def patched(data: bytearray, mark: bytes, at: int, form: str, *values: Any) -> bytearray:
    """Numbers written behind every occurrence of a mark, which some files lack."""
    found = data.find(mark)
    while found >= 0:
        if found + at + struct.calcsize(form) <= len(data):
            struct.pack_into(form, data, found + at, *values)
        found = data.find(mark, found + 1)
    return data


def huge(data: bytearray, chance: Random) -> bytearray:
    """Pictures of 100000 x 100000, or the most that the field takes; in the container's head and in the pictures'."""
    side = chance.choice([100_000, 65_535, 16_384, 40_000])
    for mark, at, form in ((b"avih", 40, "<II"), (b"strf", 12, "<II"), (b"stsd", 44, ">HH"), (b"tkhd", 80, ">HxxHxx")):
        patched(data, mark, at, form, *[min(side, 65_535) if "H" in form else side] * 2)
    patched(data, b"\xff\xc0\0\x11\x08", 5, ">HH", min(side, 65_500), min(side, 65_500))  # JPEG
    patched(data, b"\x9d\x01\x2a", 3, "<HH", 16_383, 16_383)  # VP8
    patched(data, b"\0\0\x01\xb3", 4, ">BBB", 0xFF, 0xFF, 0xFF)  # MPEG-1 and -2
    patched(data, b"GIF89a", 6, "<HH", min(side, 65_535), min(side, 65_535))
    return data


def fast(data: bytearray, chance: Random) -> bytearray:
    """1e9 frames a second, or as near as the field comes."""
    patched(data, b"mdhd", 16, ">I", chance.choice([10**9, 2**32 - 1, 2**31]))
    patched(data, b"stts", 16, ">I", 1)
    patched(data, b"avih", 8, "<I", 0)
    patched(data, b"strh", 28, "<II", 1, 10**9)
    return patched(data, b"\x2a\xd7\xb1\x83", 4, ">BBB", 0, 0, 1)  # Matroska: nanoseconds of a tick


def stopped(data: bytearray, chance: Random) -> bytearray:
    """A clock with 0 ticks a second, or frames that take no time."""
    which = chance.choice([(b"mdhd", 16, ">I"), (b"stts", 16, ">I"), (b"mvhd", 16, ">I")])
    patched(data, *which, 0)
    patched(data, b"strh", 28, "<II", chance.choice([0, 1]), 0)
    return patched(data, b"\x2a\xd7\xb1\x83", 4, ">BBB", 0, 0, 0)


def negative(data: bytearray, chance: Random) -> bytearray:
    """Times before the beginning."""
    patched(data, b"elst", 16, ">i", chance.choice([-(2**31), -1, -(10**6), 2**31 - 1]))
    patched(data, b"ctts", 4, ">I", 1 << 24)
    patched(data, b"ctts", 16, ">i", chance.choice([-(2**31), -(10**6)]))
    return patched(data, b"\xe7\x81", 2, ">B", 0xFF)  # Matroska: the time of a cluster


def hours(data: bytearray, chance: Random) -> bytearray:
    """Ten hours said by the header, or by each frame's own time; a year at worst."""
    long_s = chance.choice([36_000, 31_536_000])
    if chance.random() < 0.5:
        patched(data, b"stts", 16, ">I", min(long_s * 12_800 // 30, 2**31 - 1))
        patched(data, b"strh", 28, "<II", long_s, 30)
        patched(data, b"\x2a\xd7\xb1\x83", 4, ">BBB", 0xFF, 0xFF, 0xFF)
    for mark, at in ((b"mvhd", 20), (b"mdhd", 20), (b"tkhd", 24)):
        patched(data, mark, at, ">I", min(long_s * 1000, 2**32 - 1))
    patched(data, b"avih", 24, "<I", 2**31)
    return patched(data, b"\x44\x89\x88", 3, ">d", long_s * 1e3)


def counts(data: bytearray, chance: Random) -> bytearray:
    """Tables with four billion rows, frames of gigabytes, pieces that lie behind the end."""
    many = chance.choice([2**32 - 1, 2**31 - 1, 2**28])
    places = [(b"stts", 8), (b"stts", 12), (b"stsz", 8), (b"stsz", 12), (b"stco", 8), (b"stco", 12), (b"stsc", 8)]
    places += [(b"stsc", 16), (b"ctts", 8), (b"stsd", 8), (b"elst", 8), (b"trun", 8), (b"avcC", -4), (b"hvcC", -4)]
    for mark, at in chance.sample(places, 3):
        patched(data, mark, at, ">I", many)
    return patched(data, chance.choice([b"idx1", b"00dc", b"strf", b"avih"]), 4, "<I", many)


BOXES, HEADERS = (".mp4", ".mov", ".3gp"), (".mp4", ".mov", ".3gp", ".avi", ".mkv", ".webm")
KINDS: dict[str, Kind] = {
    "bits flipped": Kind(bits),
    "bits of the head flipped": Kind(bits_of_the_head),
    "bits of the tables flipped": Kind(bits_of_the_tables, BOXES),
    "noise in it": Kind(noise),
    "zeros in it": Kind(zeros),
    "ones in it": Kind(ones),
    "a part missing": Kind(missing),
    "a part twice": Kind(twice),
    "truncated": Kind(cut),
    "its beginning missing": Kind(beheaded),
    "another behind it": Kind(joined),
    "zero length": Kind(empty),
    "wrong extension": Kind(whole),
    "no video": Kind(no_video),
    "sound alone": Kind(sound_alone, BOXES),
    "one frame": Kind(whole),
    "100000 x 100000": Kind(huge, (*BOXES, ".avi", "vp8.webm", "mpeg2.ts", ".mpg", ".gif")),
    "1e9 frames a second": Kind(fast, HEADERS),
    "no time passes": Kind(stopped, HEADERS),
    "negative times": Kind(negative, (*BOXES, ".mkv", ".webm")),
    "ten hours and more": Kind(hours, HEADERS),
    "four billion entries": Kind(counts, (*BOXES, ".avi")),
    "a jump of ten hours": Kind(whole, ("h264.mp4", "h264.mkv", "h264.ts")),
}


def damaged(n: int, seed: int = 0) -> tuple[str, str, bytes]:
    """File `n`: its kind, its name and its bytes."""
    names = list(KINDS)
    kind, chance = names[n % len(names)], Random(f"{seed}/{n}")
    name = chance.choice(KINDS[kind].sources)
    if kind == "a jump of ten hours":
        data = jumped(name)
    else:
        frames = 1 if kind == "one frame" else 30
        data = bytes(KINDS[kind].fault(bytearray(source(name, frames)), chance))
    if kind == "wrong extension":
        name = f"{Path(name).stem}{chance.choice(sorted({Path(s).suffix for s in SOURCES} - {Path(name).suffix}))}"
    return kind, f"{n:04d} {kind}, {name}", data


@cache
def jumped(name: str) -> bytes:
    """Half of the frames ten hours after the others."""
    pts = [k + (k >= 15) * 36_000 * 25 for k in range(30)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        return encode(path, 30, options=H264, pts=pts, time_base=Fraction(1, 25)).read_bytes()


def make(folder: Path, count: int, seed: int = 0, good: int = 0) -> Iterator[tuple[Path, str]]:
    """Write damaged files, then good ones, each with its kind ("good")."""
    folder.mkdir(parents=True, exist_ok=True)
    for n in range(count):
        kind, name, data = damaged(n, seed)
        (folder / name).write_bytes(data)
        yield folder / name, kind
    for n in range(good):
        yield encode(folder / f"good {n:02d}.mp4", 40 + n, options=H264), "good"
