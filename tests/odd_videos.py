"""Files whose containers say wrong things, as recorders, converters and cameras leave them: what is right is known.

Each kind has the numbers that its frames say, in order, and the second of the first frame. What the second reader
(ffmpeg's own command) is known to read in another way is marked.
"""

import io
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.stream import Disposition
from field_coding import code_fields
from videos import CLOSED, HEIGHT, WIDTH, encode, picture

MPEG4 = {"g": "12", "sc_threshold": "1000000000"}
PLAIN = {"g": "12", "keyint_min": "12", "bf": "0", "sc_threshold": "0"}
FAST_VP8 = {"g": "12", "deadline": "realtime", "cpu-used": "8"}
HOLDERS = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts")


@dataclass(frozen=True)
class OddKind:
    """How to make a file, which numbers its frames say, when the first is shown; seconds None: not stated exactly."""

    make: Callable[[Path], Path]
    says: list[int]
    start_s: float | None = 0.0
    step_s: float = 0.04
    ffmpeg_agrees: bool = True


def find_boxes(data: bytes, wanted: bytes, start: int = 0, end: int | None = None) -> Iterator[tuple[int, int]]:
    """First and last byte of all boxes of a type, also inside others."""
    end = len(data) if end is None else end
    while start + 8 <= end:
        length, name = struct.unpack(">I4s", data[start : start + 8])
        if name == wanted:
            yield start, start + length
        elif name in HOLDERS:
            yield from find_boxes(data, wanted, start + 8, start + length)
        start += length or end


def without(path: Path, *names: bytes) -> Path:
    """The file with boxes renamed to `free`, as if they had never been written."""
    data = bytearray(path.read_bytes())
    for name in names:
        for start, _ in list(find_boxes(bytes(data), name)):
            data[start + 4 : start + 8] = b"free"
    path.write_bytes(data)
    return path


def patch(path: Path, at: int, new: bytes) -> Path:
    data = bytearray(path.read_bytes())
    data[at : at + len(new)] = new
    path.write_bytes(data)
    return path


def flag_all(n: int, packet: av.Packet) -> av.Packet:
    packet.is_keyframe = True
    return packet


def flag_late(n: int, packet: av.Packet) -> av.Packet:
    """The first key picture is not flagged."""
    packet.is_keyframe = packet.is_keyframe and n > 0
    return packet


def later(seconds: float) -> Callable[[int, av.Packet], av.Packet]:
    def edit(n: int, packet: av.Packet) -> av.Packet:
        ticks = round(seconds / packet.time_base)
        packet.pts, packet.dts = packet.pts + ticks, packet.dts + ticks
        return packet

    return edit


def remux(
    path: Path,
    sources: Sequence[Path],
    edits: Sequence[Callable[[int, av.Packet], av.Packet | None]],
    dispositions: Sequence[Disposition] = (),
) -> Path:
    """One stream from each source, in one container."""
    opened = [av.open(str(source)) for source in sources]
    with av.open(str(path), "w") as container:
        streams = [container.add_stream_from_template(source.streams[0]) for source in opened]
        for stream, disposition in zip(streams, dispositions, strict=False):
            stream.disposition = disposition
        packets = []
        for k, (source, edit) in enumerate(zip(opened, edits, strict=True)):
            for n, old in enumerate(packet for packet in source.demux(source.streams[0]) if packet.size):
                if (packet := edit(n, old)) is not None:
                    packet.stream = streams[k]
                    packets.append((float((packet.dts or 0) * packet.time_base), k, n, packet))
        for *_, packet in sorted(packets, key=lambda entry: entry[:3]):
            container.mux(packet)
    return path


def _as_it_is(n: int, packet: av.Packet) -> av.Packet:
    return packet


def _tone(path: Path, seconds: float = 3.0) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000, layout="mono")
        for k in range(int(seconds * 8000 / 1024)):
            samples = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            samples.sample_rate, samples.pts, samples.time_base = 8000, k * 1024, Fraction(1, 8000)
            container.mux(stream.encode(samples))
        container.mux(stream.encode(None))
    return path


def late_after_sound(folder: Path, name: str, codec: str = "libx264", options: dict[str, str] | None = None) -> Path:
    """Sound from the beginning, pictures 1.5 s later."""
    pictures = encode(folder / f"{name}.nut", 24, codec, options or PLAIN)
    return remux(folder / name, [pictures, _tone(folder / f"{name}.2.nut")], [later(1.5), _as_it_is])


def fields_apart(path: Path, num_frames: int, stamps_second: bool, together: bool = False) -> Path:
    """H.264 fields in packets of their own, or two in one; the second may have no time stamp."""
    raw = b"".join(b"".join(parts) for _, parts in code_fields(num_frames))
    with av.open(io.BytesIO(raw), format="h264") as source, av.open(str(path), "w") as container:
        stream = container.add_stream_from_template(source.streams.video[0])
        for number, parts in code_fields(num_frames):
            for half, data in enumerate([b"".join(parts)] if together else parts):
                packet = av.Packet(data)
                packet.stream, packet.time_base = stream, Fraction(1, 50)
                packet.is_keyframe = number % 10 == 0 and half == 0
                if half == 0 or stamps_second:
                    packet.pts = packet.dts = 2 * number + half
                container.mux(packet)
    return path


def two_streams(
    folder: Path, name: str, other_frames: int, other_codec: str, default_second: bool = False, times: float = 0.5
) -> Path:
    """A video or still picture first that is `times` as large, then the one that players show."""
    kind = {"pix_fmt": "yuvj420p"} if other_codec == "mjpeg" else {"options": PLAIN}
    size = (int(HEIGHT * times), int(WIDTH * times))
    other = encode(folder / f"{name}.1.nut", other_frames, other_codec, size=size, first=900, **kind)  # type: ignore[arg-type]
    shown = encode(folder / f"{name}.2.nut", 24, options=PLAIN)
    marks = [Disposition(0), Disposition.default] if default_second else []
    return remux(folder / name, [other, shown], [_as_it_is] * 2, marks)


def chained(path: Path) -> Path:
    """Two Ogg files one after the other, as `cat` and some recorders join them; the second begins with headers."""
    parts = [encode(path.with_suffix(f".{k}.ogg"), 24, "libvpx", FAST_VP8, format="ogg", first=24 * k) for k in (0, 1)]
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def joined(path: Path, first_s: float) -> Path:
    """Two recordings in one file; the clock of the first begins at some second, that of the second at 0."""
    parts = [
        encode(path.with_suffix(f".{k}.ts"), 24, options=PLAIN, first=24 * k, edit=later(first_s if k == 0 else 0.0))
        for k in (0, 1)
    ]
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def with_matrix(path: Path, draw: Callable[[np.ndarray], np.ndarray], *abcd: int) -> Path:
    """Pictures stored as `draw` makes them, and the matrix that brings them back."""
    stored = draw(picture(0)).shape[:2]
    encode(path, 12, options=PLAIN, size=stored, draw=lambda n, w, h: np.ascontiguousarray(draw(picture(n))))
    ((start, _),) = find_boxes(path.read_bytes(), b"tkhd")
    a, b, c, d = (value << 16 for value in abcd)
    return patch(path, start + 48, struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30))


def not_coded(path: Path) -> Path:
    """The encoder dropped picture 5, and says so by one that is not coded."""

    def edit(n: int, packet: av.Packet) -> av.Packet:
        if n != 5:
            return packet
        empty = av.Packet(b"\0\0\1\xb6\x51\x40")
        empty.stream, empty.pts, empty.dts, empty.time_base = packet.stream, packet.pts, packet.dts, packet.time_base
        return empty

    return encode(path, 18, "mpeg4", MPEG4, draw=lambda n, w, h: picture(4 if n == 5 else n), edit=edit)


def refresh_cut(path: Path) -> Path:
    """A stream that refreshes its pictures column by column, without its beginning."""
    options = {"g": "24", "bf": "0", "x264-params": "intra-refresh=1:repeat-headers=1"}
    return encode(path, 100, options=options, edit=lambda n, packet: packet if n >= 7 else None)


def with_gif_tail(path: Path, tail: bytes, drops_mark: bool = False) -> Path:
    data = encode(path, 12, "gif", pix_fmt="rgb8").read_bytes()
    path.write_bytes(data[: -1 if drops_mark else len(data)] + tail)
    return path


def with_box_in_front(path: Path, name: bytes, muxer: dict[str, str]) -> Path:
    """A box of a vendor or of a streaming server before the others, all offsets moved accordingly."""
    data = encode(path, 24, options=PLAIN, muxer=muxer).read_bytes()
    box = struct.pack(">I4s", 24, name) + bytes(16)
    out = bytearray(box + data)
    for start, end in find_boxes(bytes(out), b"stco", len(box)):
        count = struct.unpack(">I", out[start + 12 : start + 16])[0]
        offsets = np.frombuffer(bytes(out[start + 16 : start + 16 + 4 * count]), ">u4") + len(box)
        out[start + 16 : end] = offsets.astype(">u4").tobytes()
    path.write_bytes(out)
    return path


def too_long(path: Path, mark: bytes, at: int, form: str, more: int, **kind: object) -> Path:
    """A size that claims more than there is."""
    encode(path, 24, **({"options": PLAIN} | kind))  # type: ignore[arg-type]
    data = path.read_bytes()
    where = data.index(mark) + at
    (old,) = struct.unpack(form, data[where : where + struct.calcsize(form)])
    return patch(path, where, struct.pack(form, min(old + more, 2**32 - 1) if form == "<I" else old + more))


def with_edits(path: Path, edits: Sequence[tuple[int, int]]) -> Path:
    """An mp4 of B pictures that shows only some stretches: (milliseconds, first tick of 1/12800 s) of each."""
    data = encode(path, 36, options=CLOSED).read_bytes()
    ((start, end),) = find_boxes(data, b"edts")
    body = struct.pack(">II", 0, len(edits)) + b"".join(struct.pack(">IiI", *edit, 1 << 16) for edit in edits)
    table = struct.pack(">I4s", 8 + len(body), b"elst") + body
    box = struct.pack(">I4s", 8 + len(table), b"edts") + table
    out = bytearray(data[:start] + box + data[end:])
    for name in (b"moov", b"trak"):
        ((first, last),) = find_boxes(data, name)
        out[first : first + 4] = struct.pack(">I", last - first + len(box) - (end - start))
    path.write_bytes(out)
    return path


def jump_forth(n: int, packet: av.Packet) -> av.Packet:
    """Every seventh picture says that it is shown four seconds later."""
    if n % 7 == 3:
        packet.pts += round(4 / packet.time_base)
    return packet


def longer_segment(path: Path) -> Path:
    """Matroska whose Segment says that it is 3000 bytes longer."""
    data = encode(path, 24, options=PLAIN).read_bytes()
    at = data.index(b"\x18\x53\x80\x67") + 5
    return patch(path, at, (int.from_bytes(data[at : at + 7], "big") + 3000).to_bytes(7, "big"))


def _kind(name: str, codec: str, options: dict[str, str], **more: object) -> Callable[[Path], Path]:
    return lambda folder: encode(folder / name, 36, codec, options, **more)  # type: ignore[arg-type]


def _in(folder_name: str, make: Callable[..., Path], *arguments: object, **more: object) -> Callable[[Path], Path]:
    return lambda folder: make(folder / folder_name, *arguments, **more)


ALL, HALF = list(range(36)), list(range(24))
ODD_KINDS = {
    "mpeg4 mp4 without sync table": OddKind(
        lambda folder: without(encode(folder / "nostss.mp4", 36, "mpeg4", MPEG4), b"stss"), ALL
    ),
    "h263 3gp without sync table": OddKind(
        lambda folder: without(encode(folder / "nostss.3gp", 36, "h263", MPEG4, size=(96, 128), format="3gp"), b"stss"),
        ALL,
    ),
    "xvid avi all key": OddKind(_kind("allkey.avi", "mpeg4", MPEG4, edit=flag_all), ALL),
    "flv1 avi all key": OddKind(_kind("flv1.avi", "flv", MPEG4, edit=flag_all), ALL),
    "msmpeg4v3 avi all key": OddKind(_kind("div3.avi", "msmpeg4", MPEG4, edit=flag_all), ALL),
    "wmv2 avi all key": OddKind(_kind("wmv2.avi", "wmv2", MPEG4, edit=flag_all), ALL),
    "cinepak avi all key": OddKind(_kind("cinepak.avi", "cinepak", {"g": "12"}, pix_fmt="rgb24", edit=flag_all), ALL),
    "qtrle mov all key": OddKind(_kind("qtrle.mov", "qtrle", {"g": "12"}, pix_fmt="rgb24", edit=flag_all), ALL),
    "mpeg4 mov first not key": OddKind(_kind("late.mov", "mpeg4", MPEG4, edit=flag_late), ALL),
    "mpeg2 mov first not key": OddKind(_kind("late2.mov", "mpeg2video", MPEG4, edit=flag_late), ALL),
    "flv1 flv first not key": OddKind(_kind("late.flv", "flv", MPEG4, edit=flag_late), ALL),
    "wmv2 avi first not key": OddKind(_kind("late.avi", "wmv2", MPEG4, edit=flag_late), ALL),
    "mpeg4 mkv without its beginning": OddKind(
        _kind("cut.mkv", "mpeg4", MPEG4, edit=lambda n, packet: packet if n >= 5 else None),
        list(range(12, 36)),
        start_s=0.28,
        ffmpeg_agrees=False,  # it shows what the first pictures make of references that are not there
    ),
    "fields ts": OddKind(_in("fields.ts", fields_apart, 25, False), list(range(25))),
    "fields apart ts": OddKind(_in("apart.ts", fields_apart, 25, True), list(range(25))),
    "fields apart mp4": OddKind(_in("apart.mp4", fields_apart, 25, True), list(range(25))),
    "fields together mkv": OddKind(_in("together.mkv", fields_apart, 25, True, together=True), list(range(25))),
    "intra refresh without its beginning": OddKind(_in("refresh.ts", refresh_cut), list(range(8, 100)), None),
    "sound first mp4": OddKind(lambda folder: late_after_sound(folder, "sound.mp4"), HALF, 1.5),
    "sound first mkv": OddKind(lambda folder: late_after_sound(folder, "sound.mkv"), HALF, 1.5),
    "sound first flv": OddKind(lambda folder: late_after_sound(folder, "sound.flv", "flv", MPEG4), HALF, 1.5),
    "gif with a comment behind": OddKind(_in("comment.gif", with_gif_tail, b"!\xfe\3abc\0;", True), HALF[:12]),
    "gif with bytes behind": OddKind(_in("bytes.gif", with_gif_tail, b"rubbish" * 40), HALF[:12]),
    "gif with padding behind": OddKind(_in("padding.gif", with_gif_tail, bytes(500)), HALF[:12]),
    "gif without end mark": OddKind(_in("nomark.gif", with_gif_tail, b"", True), HALF[:12]),
    "second stream is default": OddKind(
        lambda folder: two_streams(folder, "default.mkv", 24, "libx264", default_second=True), HALF
    ),
    "smaller stream is default": OddKind(
        lambda folder: two_streams(folder, "smaller.mkv", 24, "libx264", default_second=True, times=2), HALF
    ),
    "two videos at once in ts": OddKind(lambda folder: two_streams(folder, "two.ts", 24, "libx264"), HALF),
    "still picture first": OddKind(
        lambda folder: two_streams(folder, "still.mp4", 1, "mjpeg"),
        HALF,
        ffmpeg_agrees=False,  # it shows the still picture
    ),
    "b pictures mp4 without offsets": OddKind(
        lambda folder: without(encode(folder / "noctts.mp4", 36, "mpeg4", MPEG4 | {"bf": "2"}), b"ctts", b"edts"),
        ALL,
    ),
    "b pictures h264 mp4 without offsets": OddKind(
        lambda folder: without(encode(folder / "noctts264.mp4", 36, options=CLOSED), b"ctts", b"edts"), ALL
    ),
    "joined ts, the clock steps back": OddKind(_in("back.ts", joined, 10.0), list(range(48))),
    "mdat longer than the file": OddKind(
        _in("mdat.mp4", too_long, b"mdat", -4, ">I", 4000, muxer={"movflags": "+faststart"}), HALF
    ),
    "vendor box first": OddKind(_in("vendor.mp4", with_box_in_front, b"vndr", {}), HALF),
    "emsg before moov": OddKind(
        _in("emsg.mp4", with_box_in_front, b"emsg", {"movflags": "+frag_keyframe+empty_moov+default_base_moof"}), HALF
    ),
    "riff size ffffffff": OddKind(
        _in("riff.avi", too_long, b"RIFF", 4, "<I", 2**32, codec="mpeg4", options=MPEG4), HALF
    ),
    "flv file size too long": OddKind(
        _in("size.flv", too_long, b"filesize\0", 9, ">d", 5000, codec="flv", options=MPEG4), HALF
    ),
    "segment too long": OddKind(_in("segment.mkv", longer_segment), HALF),
    "mirrored": OddKind(_in("mirrored.mp4", with_matrix, lambda p: p[:, ::-1], -1, 0, 0, 1), HALF[:12]),
    "mirrored and turned": OddKind(
        _in("transposed.mp4", with_matrix, lambda p: p.swapaxes(0, 1), 0, 1, 1, 0), HALF[:12]
    ),
    "upside down": OddKind(_in("flipped.mp4", with_matrix, lambda p: p[::-1], 1, 0, 0, -1), HALF[:12]),
    "picture not coded": OddKind(_in("dropped.avi", not_coded), [0, 1, 2, 3, 4, *range(6, 18)], None),
    "joined ts, the clock begins again": OddKind(_in("again.ts", joined, 0.0), list(range(48))),
    "chained ogg": OddKind(_in("chained.ogg", chained), list(range(48))),
    "two edits": OddKind(
        _in("edits.mp4", with_edits, [(400, 1024), (400, 1024 + 17 * 512)]), [*range(10), *range(17, 27)], None
    ),
    "three edits": OddKind(
        _in("edits3.mp4", with_edits, [(200, 1024 + n * 512) for n in (3, 13, 30)]),
        [n + i for n in (3, 13, 30) for i in range(5)],
    ),
    "the second edit shows what came earlier": OddKind(
        _in("earlier.mp4", with_edits, [(400, 1024 + 20 * 512), (400, 1024)]), [*range(20, 30), *range(10)]
    ),
    "a clock that runs back and forth": OddKind(
        lambda folder: encode(folder / "jumps.mkv", 24, options=PLAIN, edit=jump_forth), HALF, None
    ),
    "bare mjpeg": OddKind(
        lambda folder: encode(folder / "bare.mjpeg", 24, "mjpeg", pix_fmt="yuvj420p", format="mjpeg"), HALF
    ),
    "keys of an intra refresh that are none": OddKind(
        lambda folder: encode(
            folder / "refresh.nut", 48, options={"g": "12", "bf": "0", "x264-params": "intra-refresh=1"}, edit=flag_all
        ),
        list(range(48)),
    ),
    "a frame in two minutes": OddKind(
        lambda folder: encode(
            folder / "lapse.mkv", 10, options=PLAIN, time_base=Fraction(1, 25), pts=range(0, 30000, 3000)
        ),
        list(range(10)),
        step_s=120.0,
    ),
}
