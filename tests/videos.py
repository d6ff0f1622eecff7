"""Test videos whose frames carry their own number, in every container and codec that people bring.

A frame is a grid of 4 x 6 black and white cells: ten bits of its number, the same bits inverted, and four corners of
which only the top left is white. The number survives lossy coding and scaling, and reads as -1 when the picture is
turned, mirrored or broken.
"""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from unreel.video.decoding.writer import EncodingOptions

WIDTH, HEIGHT = 96, 64


def copy_six(motion_set: Path, folder: Path) -> Path:
    """A new folder with six videos of the set, to be spoiled."""
    folder.mkdir()
    for path in sorted(motion_set.glob("*/*.mp4"))[::4]:
        shutil.copy(path, folder)
    return folder


def picture(number: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """The frame that says `number` (0 to 1023); uint8 (height, width, 3)."""
    bits = [number >> i & 1 for i in range(10)]
    rows = [[1, *bits[:4], 0], bits[4:], [1 - b for b in bits[4:]], [0, *(1 - b for b in bits[:4]), 0]]
    y, x = np.arange(height) * 4 // height, np.arange(width) * 6 // width
    grey = (np.array(rows, np.uint8) * 195 + 30)[y][:, x]
    return np.repeat(grey[:, :, None], 3, axis=2)


def number_of(frame: np.ndarray) -> int:
    """The number that a decoded frame (H, W, 3) says, -1 when it is not upright or not intact."""
    height, width = frame.shape[:2]
    y = ((np.arange(4) + 0.5) * height / 4).astype(int)
    x = ((np.arange(6) + 0.5) * width / 6).astype(int)
    cells = (frame[y][:, x].mean(axis=2) > 127).astype(int)
    bits = [*cells[0, 1:5], *cells[1]]
    inverted = [*cells[3, 1:5], *cells[2]]
    corners = (cells[0, 0], cells[0, 5], cells[3, 0], cells[3, 5])
    if corners != (1, 0, 0, 0) or any(a == b for a, b in zip(bits, inverted, strict=True)):
        return -1
    return int(sum(int(b) << i for i, b in enumerate(bits)))


def numbers(frames: np.ndarray) -> list[int]:
    """What each of the frames (L, H, W, 3) says."""
    return [number_of(frame) for frame in frames]


def textured(number: int, width: int, height: int) -> np.ndarray:
    """Moving noise: in such a stream nearly every bit codes a picture."""
    coarse = np.random.default_rng(7).integers(0, 200, (40, 60, 3), dtype=np.uint8).repeat(4, 0).repeat(4, 1)
    fine = np.random.default_rng(number).integers(0, 55, (height, width, 3), dtype=np.uint8)
    return coarse[number % 30 : number % 30 + height, number % 50 : number % 50 + width] + fine


def encode(
    path: Path,
    num_frames: int = 60,
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    pts: Sequence[int] | None = None,
    time_base: Fraction = Fraction(1, 25),
    size: tuple[int, int] = (HEIGHT, WIDTH),
    pix_fmt: str = "yuv420p",
    muxer: dict[str, str] | None = None,
    draw: Callable[[int, int, int], np.ndarray] = picture,
    format: str | None = None,
    audio: bool = False,
    edit: Callable[[int, av.Packet], av.Packet | None] = lambda n, packet: packet,
    first: int = 0,
) -> Path:
    """Write a frame-coded video; `pts` in `time_base` units, 0, 1, 2, ... by default.

    Its frames say `first` and on; `edit` changes packet n, or drops it by giving None.
    """
    height, width = size
    with av.open(str(path), "w", format=format, options=muxer or {}) as container:
        rate = 1 / time_base if pts is None else Fraction(25)
        encoding = EncodingOptions(time_base, rate, codec, options or {})  # the same bytes on every processor
        stream = container.add_stream(codec, rate=rate, options=encoding.encoder_options)
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        stream.codec_context.time_base = time_base
        stream.codec_context.thread_count = 1
        sound = container.add_stream("aac", rate=8000, layout="mono") if audio else None
        packets = []
        for number in range(num_frames):
            rgb = draw(first + number, width, height)
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format=pix_fmt)
            frame.pts, frame.time_base = (number if pts is None else pts[number]), time_base
            packets += stream.encode(frame)
        packets += stream.encode(None)
        container.mux([new for n, old in enumerate(packets) if (new := edit(n, old)) is not None])
        if sound is not None:
            for k in range(int(num_frames * float(time_base) * 8000 / 1024) + 1):
                samples = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
                samples.sample_rate, samples.pts, samples.time_base = 8000, k * 1024, Fraction(1, 8000)
                container.mux(sound.encode(samples))
            container.mux(sound.encode(None))
    return path


def encode_packed(path: Path, num_frames: int = 60) -> Path:
    """An AVI as DivX 5 wrote them: P and B picture in one chunk, a dummy in the next. No muxer writes that any more."""
    encoder = av.CodecContext.create("mpeg4", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.thread_count = WIDTH, HEIGHT, "yuv420p", 1
    encoder.time_base, encoder.framerate = Fraction(1, 25), Fraction(25)
    encoder.options = {"bf": "1", "b_strategy": "0", "g": "12", "sc_threshold": "1000000000"}
    coded = []
    for number in range(num_frames):
        frame = av.VideoFrame.from_ndarray(picture(number), format="rgb24").reformat(format="yuv420p")
        frame.pts, frame.time_base = number, Fraction(1, 25)
        coded += [bytes(packet) for packet in encoder.encode(frame)]
    coded += [bytes(packet) for packet in encoder.encode(None)]
    template = encode(path.with_suffix(".template.avi"), 2, "mpeg4")
    with av.open(str(template)) as source, av.open(str(path), "w") as container:
        stream = container.add_stream_from_template(source.streams.video[0])
        for position, (data, is_key) in enumerate(_pack(coded)):
            packet = av.Packet(data)
            packet.stream, packet.pts, packet.dts, packet.time_base = stream, position, position, Fraction(1, 25)
            packet.is_keyframe = is_key
            container.mux(packet)
    template.unlink()
    return path


def _pack(coded: list[bytes]) -> list[tuple[bytes, bool]]:
    """Chunks and whether they are key; the mark in the I pictures is what tells decoders that a file is packed."""
    start, mark, dummy = b"\0\0\1\xb6", b"\0\0\1\xb2DivX503b1393p", b"\0\0\1\xb6\x51\0\0"
    kinds = [data[data.index(start) + 4] >> 6 for data in coded]
    chunks: list[tuple[bytes, bool]] = []
    for data, kind in zip(coded, kinds, strict=True):
        if kind == 2:
            chunks[-1] = (chunks[-1][0] + data, chunks[-1][1])
            chunks.append((dummy, False))
        else:
            at = data.index(start) if kind == 0 else 0
            chunks.append((data[:at] + mark + data[at:] if kind == 0 else data, kind == 0))
    return chunks


def encode_turned(path: Path, clockwise: int) -> Path:
    """An mp4 as a turned phone records it: pictures stored lying, and a matrix that says how far players turn them."""
    turns = clockwise // 90
    size = (HEIGHT, WIDTH) if turns % 2 == 0 else (WIDTH, HEIGHT)

    def lying(number: int, width: int, height: int) -> np.ndarray:
        return np.ascontiguousarray(np.rot90(picture(number), turns))

    data = bytearray(encode(path, size=size, options={"g": "12"}, draw=lying).read_bytes())
    a, b, c, d = {0: (1, 0, 0, 1), 1: (0, 1, -1, 0), 2: (-1, 0, 0, -1), 3: (0, -1, 1, 0)}[turns]
    one, at = 1 << 16, data.index(b"tkhd") + 44
    matrix = [a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30]
    data[at : at + 36] = b"".join(value.to_bytes(4, "big", signed=True) for value in matrix)
    path.write_bytes(data)
    return path


def cut_transport_stream(path: Path, source: Path, start: float, end: float) -> Path:
    """The packets of an MPEG-TS between two shares of its length, as a recorder that tunes in late leaves them."""
    data, count = source.read_bytes(), source.stat().st_size // 188
    path.write_bytes(data[int(start * count) * 188 : int(end * count) * 188])
    return path


def encode_sound(path: Path) -> Path:
    """A file with sound alone."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000, layout="mono")
        for k in range(20):
            samples = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            samples.sample_rate, samples.pts, samples.time_base = 8000, k * 1024, Fraction(1, 8000)
            container.mux(stream.encode(samples))
        container.mux(stream.encode(None))
    return path


CLOSED = {"g": "12", "bf": "2"}
OPEN = {"g": "24", "bf": "3", "x264-params": "open-gop=1:b-adapt=0"}
QUIET = "pools=none:frame-threads=1:log-level=none"
HEVC = {"x265-params": f"keyint=24:min-keyint=24:open-gop=1:bframes=3:b-adapt=0:{QUIET}"}
FAST_VP9 = {"g": "24", "deadline": "realtime", "cpu-used": "8"}
ALT_REF = {"g": "24", "deadline": "good", "cpu-used": "5", "auto-alt-ref": "1", "lag-in-frames": "16"}
UNEVEN = [i * 33 + (i * i % 7) * 3 + (i // 20) * 400 for i in range(60)]


@dataclass(frozen=True)
class Kind:
    """How to make a file, and which numbers its frames say."""

    make: Callable[[Path], Path]
    says: list[int]


def _kind(name: str, says: Sequence[int] = range(60), **arguments: object) -> Kind:
    return Kind(lambda folder: encode(folder / name, **arguments), list(says))  # type: ignore[arg-type]


def _tuned_in(folder: Path) -> Path:
    return cut_transport_stream(folder / "late.ts", encode(folder / "whole.ts", options=OPEN), 0.2, 1.0)


KINDS = {
    "h264 mp4": _kind("a.mp4", options=CLOSED),
    "h264 mp4 open gop": _kind("open.mp4", options=OPEN),
    "h264 mp4 intra refresh": _kind("refresh.mp4", options={"g": "24", "bf": "0", "x264-params": "intra-refresh=1"}),
    "h264 mp4 interlaced": _kind("interlaced.mp4", options={**CLOSED, "flags": "+ildct+ilme"}),
    "h264 mp4 variable rate": _kind("vfr.mp4", options=CLOSED, time_base=Fraction(1, 1000), pts=UNEVEN),
    "h264 mp4 edit list": _kind("edit.mp4", says=range(10, 60), options=CLOSED, pts=range(-10, 50)),
    "h264 mp4 late start": _kind("late.mp4", options=CLOSED, pts=range(100, 160)),
    "h264 mp4 fragments": _kind("fragments.mp4", options=OPEN, muxer={"movflags": "frag_keyframe+empty_moov"}),
    "h264 mp4 with sound": _kind("sound.mp4", options=OPEN, audio=True),
    "h264 mov": _kind("a.mov", options=CLOSED),
    "h264 mkv open gop": _kind("open.mkv", options=OPEN),
    "h264 mkv variable rate": _kind("vfr.mkv", options=OPEN, time_base=Fraction(1, 1000), pts=UNEVEN),
    "h264 mkv equal stamps": _kind("stamps.mkv", options=OPEN, time_base=Fraction(1, 2500)),
    "h264 ts": _kind("a.ts", options=CLOSED),
    "h264 ts open gop": _kind("open.ts", options=OPEN),
    "h264 ts with sound": _kind("sound.ts", options=OPEN, audio=True),
    "h264 ts tuned in late": Kind(_tuned_in, list(range(32, 60))),
    "h264 avi": _kind("h264.avi", options=CLOSED),
    "h264 flv": _kind("a.flv", options=CLOSED),
    "h264 bare": _kind("a.h264", options=CLOSED),
    "hevc mp4 open gop": _kind("hevc.mp4", codec="libx265", options=HEVC),
    "hevc mp4 10 bit": _kind("hevc10.mp4", codec="libx265", options=HEVC, pix_fmt="yuv420p10le"),
    "hevc ts open gop": _kind("hevc.ts", codec="libx265", options=HEVC),
    "xvid avi": _kind("xvid.avi", codec="mpeg4", options={"g": "12"}),
    "xvid avi b frames": _kind("xvidb.avi", codec="mpeg4", options=CLOSED),
    "xvid avi packed": Kind(lambda folder: encode_packed(folder / "packed.avi"), list(range(60))),
    "mpeg4 mp4": _kind("mpeg4.mp4", codec="mpeg4", options=CLOSED),
    "mpeg2 ts": _kind("mpeg2.ts", codec="mpeg2video", options=CLOSED),
    "mpeg1 mpg": _kind("mpeg1.mpg", codec="mpeg1video", options=CLOSED),
    "vp9 webm": _kind("vp9.webm", codec="libvpx-vp9", options=FAST_VP9),
    "vp9 webm hidden": _kind("vp9hidden.webm", codec="libvpx-vp9", options=ALT_REF),
    "vp8 webm hidden": _kind("vp8hidden.webm", codec="libvpx", options=ALT_REF),
    "gif": _kind("a.gif", codec="gif", pix_fmt="rgb8"),
    "mjpeg avi": _kind("mjpeg.avi", codec="mjpeg", pix_fmt="yuvj420p"),
    "wmv": _kind("a.wmv", codec="wmv2", options={"g": "12"}),
    "phone 90": Kind(lambda folder: encode_turned(folder / "turned90.mp4", 90), list(range(60))),
    "phone 180": Kind(lambda folder: encode_turned(folder / "turned180.mp4", 180), list(range(60))),
    "phone 270": Kind(lambda folder: encode_turned(folder / "turned270.mp4", 270), list(range(60))),
    "one frame": _kind("one.mp4", says=[0], num_frames=1),
    "two frames": _kind("two.avi", says=[0, 1], num_frames=2, codec="mpeg4", options={"bf": "1"}),
}
