"""What coded pictures are, read from their first bytes: containers often say it wrongly.

A decoder that begins at a picture which needs others may give a wrong picture without an error (MPEG-4 Part 2 and its
relatives), and two packets may be the two fields of one frame (H.264, MPEG-2). Sources: ISO/IEC 14496-2, 6.3.5;
13818-2, 6.3.9 and 6.3.10; 14496-10, 7.3.2.1 and 7.3.3.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import av
from av.video.frame import PictureType

REFUSING_CODECS = frozenset({"h264", "hevc", "vvc", "vp8", "vp9", "av1", "mpeg1video", "mpeg2video"})
"""Their decoders give no picture when they begin at one that needs others."""
TYPED_CODECS = frozenset(
    (
        "mpeg4 h263 h263p h263i flv1 msmpeg4v1 msmpeg4v2 msmpeg4v3 wmv1 wmv2 wmv3 vc1 rv10 rv20 theora vp3 vp4 ffv1"
    ).split()
)
"""Their decoders may begin at any picture without an error, but tell its type rightly."""
EMPTY_PICTURE_BYTES = 16  # a picture that repeats the one before it (not coded) is no larger; it may give no frame
DELIMITED_CODECS = frozenset({"h264", "hevc", "mpeg1video", "mpeg2video"})
"""Their pictures begin with a delimiter or a sequence header in a transport stream."""
CONTENT_CODECS = frozenset({"hevc"})
"""Their decoders take half a picture without an error, and look for its end; that of H.261 does not look."""
HEADER_BYTES = 64  # enough for a parameter set's first half, or the header of a slice
HIGH_PROFILES = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135})


class PictureInspector:
    """Looks at the packets of a stream in file order, and remembers what an index must know of them.

    has_b_pictures     a picture is shown before one that was decoded earlier, as far as the bytes tell
    has_lone_fields    a packet holds one field of a frame
    has_empty_pictures a packet may give no frame: the picture is not coded
    has_packed_pictures  a packet holds two pictures, and the next one none (DivX 5)
    must_look          `look` finds something in packets of this codec
    needs_key_first    what comes before the first key packet gives wrong pictures without an error
    """

    def __init__(self, context: Any, format_name: str = "") -> None:
        self.context, self.codec = context, context.codec.canonical_name
        self.is_intra_only = bool(context.codec.intra_only)
        self.keys_can_be_trusted = self.is_intra_only or self.codec in REFUSING_CODECS | TYPED_CODECS
        self.has_b_pictures = self.codec in ("h264", "hevc") and bool(context.has_b_frames)
        self.has_lone_fields = self.has_empty_pictures = self.has_packed_pictures = False
        self.h264 = H264Headers(bytes(context.extradata or b"")) if self.codec == "h264" else None
        self.tells_types = self.codec in TYPED_CODECS | {"mpeg1video", "mpeg2video"}
        self.may_change = format_name == "mpegts" and self.codec in DELIMITED_CODECS
        self.may_be_header = format_name == "ogg" and self.codec in ("theora", "vp8")
        self.must_look = self.tells_types or self.codec == "h261" or bool(self.h264 and self.h264.may_have_fields)
        self.last_h261_picture = b""
        self.needs_key_first, self.has_key = self.codec in TYPED_CODECS, False

    def look(self, packet: av.Packet) -> None:
        """Note what the packet's first bytes tell."""
        if self.codec == "h261":
            self.last_h261_picture = bytes(packet)
        if self.codec in TYPED_CODECS:
            self.has_empty_pictures |= packet.size <= EMPTY_PICTURE_BYTES
        if self.codec == "mpeg4":
            data = bytes(packet)
            self.has_packed_pictures |= data.count(b"\0\0\1\xb6") > 1
            self.has_b_pictures |= read_mpeg4_type(data) == PictureType.B
        elif self.codec in ("mpeg1video", "mpeg2video"):
            data = bytes(packet)
            self.has_b_pictures |= read_mpeg2_type(data) == PictureType.B
            self.has_lone_fields |= is_mpeg2_field(data)
        elif self.h264 is not None and self.h264.may_have_fields:
            self.has_lone_fields |= self.h264.is_lone_field(bytes(packet))
        elif self.codec in TYPED_CODECS:
            self.has_b_pictures |= bool(self.context.has_b_frames)

    @property
    def ends_in_half(self) -> bool:
        """Whether the last packet is visibly half a picture."""
        return bool(self.last_h261_picture) and not has_all_h261_groups(self.last_h261_picture)

    def is_key(self, packet: av.Packet) -> bool:
        """Whether decoding can begin at a packet: flagged so, and not a picture that needs others.

        The first one needs no flag where its bytes tell.
        """
        if not packet.is_keyframe and (self.has_key or not self.tells_types):
            return self.is_intra_only
        is_key = self._is_intra(packet)
        self.has_key |= is_key
        return is_key

    def is_header(self, packet: av.Packet) -> bool:
        """Whether a packet holds no picture but a header: inside a file, of an Ogg stream that was joined to it."""
        if self.codec == "theora":
            return bool(memoryview(packet)[0] & 0x80)
        return self.codec == "vp8" and bytes(memoryview(packet)[:5]) == b"OVP80"

    def find_other_codec(self, packet: av.Packet) -> str:
        """The codec of a transport stream's packet, where it is not that of the stream; else ""."""
        other = read_codec(bytes(memoryview(packet)[:16])) if self.may_change else ""
        return other if not self.codec.startswith(other[:4]) else ""

    def _is_intra(self, packet: av.Packet) -> bool:
        if self.codec == "mpeg4":
            return read_mpeg4_type(bytes(packet)) == PictureType.I
        if self.codec in ("mpeg1video", "mpeg2video"):
            return read_mpeg2_type(bytes(packet)) == PictureType.I
        return self.codec not in TYPED_CODECS or self._decodes_as_intra(packet)

    def _decodes_as_intra(self, packet: av.Packet) -> bool:
        """Decode the packet by itself and look at the type of its picture."""
        try:
            frames = [*self.context.decode(packet), *self.context.decode(None)]
        except av.FFmpegError:
            return False
        finally:
            self.context.flush_buffers()
        return bool(frames) and all(frame.pict_type == PictureType.I and frame.key_frame for frame in frames)


def read_codec(head: bytes) -> str:
    """The codec of a picture in a transport stream, by the delimiter or sequence header that it begins with; else "".

    Sources: ISO/IEC 14496-10, 7.3.2.4; 23008-2, 7.3.2.5; 13818-2, 6.2.2.1.

    >>> read_codec(bytes.fromhex("00000109f000000001")), read_codec(bytes.fromhex("00000001460150000001"))
    ('h264', 'hevc')
    """
    start = head.lstrip(b"\0")
    if start[:2] == b"\1\xb3":
        return "mpeg2video"
    for name, mark in (("h264", b"\1\x09"), ("hevc", b"\1\x46\1")):
        rest = start[len(mark) :]
        if start.startswith(mark) and rest[:1] and rest[0] & 31 == 16 and rest[1:3] == b"\0\0":
            return name
    return ""


def has_all_h261_groups(data: bytes) -> bool:
    """Whether an H.261 picture has its last group of blocks: the 12th, or the 5th in QCIF; all have a header.

    A group begins with 15 zeros and a one, which nothing else in a stream does, at any bit; number 0 is the picture's
    header, whose fourth bit of type says CIF. Source: ITU-T H.261, 4.2.1 and 4.2.2.
    """
    bits = format(int.from_bytes(b"\1" + data, "big"), "b")[1:]
    numbers = {int(number, 2) for number in re.findall("0{15}1([01]{4})", bits)}
    is_cif = re.search("0{15}10{4}[01]{8}1", bits) is not None
    return (12 if is_cif else 5) in numbers


def read_mpeg4_type(data: bytes) -> PictureType | None:
    """Type of the first picture of an MPEG-4 Part 2 packet: the two bits after its start code."""
    at = data.find(b"\0\0\1\xb6") + 4
    types = (PictureType.I, PictureType.P, PictureType.B, PictureType.S)
    return types[data[at] >> 6] if 4 <= at < len(data) else None


def read_mpeg2_type(data: bytes) -> PictureType | None:
    """Type of the first picture of an MPEG-1 or MPEG-2 packet: three bits behind its temporal reference."""
    at = data.find(b"\0\0\1\0") + 5
    types = {1: PictureType.I, 2: PictureType.P, 3: PictureType.B}
    return types.get(data[at] >> 3 & 7) if 5 <= at < len(data) else None


def is_mpeg2_field(data: bytes) -> bool:
    """Whether an MPEG-2 packet is one field: a single picture whose structure (2 bits, 3: frame) says so."""
    at = data.find(b"\0\0\1\xb5")
    while at >= 0 and at + 6 < len(data):
        if data[at + 4] >> 4 == 8:  # picture coding extension
            return data[at + 6] & 3 != 3 and data.count(b"\0\0\1\0") == 1
        at = data.find(b"\0\0\1\xb5", at + 4)
    return False


class H264Headers:
    """Parameter sets of an H.264 stream, and which of its packets are single fields.

    `extradata` is that of the container: with start codes, or an avcC box, which states the size of length prefixes.
    """

    def __init__(self, extradata: bytes) -> None:
        self.length_bytes = extradata[4] % 4 + 1 if len(extradata) > 6 and extradata[0] == 1 else 0
        self.frame_num_bits, self.has_colour_planes, self.may_have_fields = 4, False, False
        self._read_parameters(self._split_avcc(extradata) if self.length_bytes else split_at_start_codes(extradata))

    def is_lone_field(self, packet: bytes) -> bool:
        """Whether the slices of a packet belong to one field of a frame; parameter sets in it are read first."""
        units = list(self._split_by_length(packet) if self.length_bytes else split_at_start_codes(packet))
        self._read_parameters(iter(units))
        fields = {self._read_field(unit) for unit in units if unit and unit[0] & 31 in (1, 5)}
        return len(fields) == 1 and fields != {None}

    def _split_avcc(self, extradata: bytes) -> Iterator[bytes]:
        at = 6
        for _ in range(extradata[5] & 31):
            size = int.from_bytes(extradata[at : at + 2], "big")
            yield extradata[at + 2 : at + 2 + min(size, HEADER_BYTES)]
            at += 2 + size

    def _split_by_length(self, packet: bytes) -> Iterator[bytes]:
        at = 0
        while at + self.length_bytes < len(packet):
            start = at + self.length_bytes
            yield packet[start : start + HEADER_BYTES]
            at = start + int.from_bytes(packet[at:start], "big")

    def _read_parameters(self, units: Iterator[bytes]) -> None:
        for unit in units:
            if unit and unit[0] & 31 == 7 and (sequence := self._read_sequence(unit)) is not None:
                self.frame_num_bits, self.has_colour_planes, may_have_fields = sequence
                self.may_have_fields |= may_have_fields

    @staticmethod
    @lru_cache(maxsize=256)  # the files of a corpus share a few
    def _read_sequence(unit: bytes) -> tuple[int, bool, bool] | None:
        """7.3.2.1.1, up to frame_mbs_only_flag: bits of frame_num, colour planes apart or not, fields allowed or not.

        None for one that is damaged or too long: it changes nothing.
        """
        bits = BitReader(unit[1:])
        try:
            profile = bits.read(8)
            bits.read(16)
            bits.read_golomb()
            has_planes = profile in HIGH_PROFILES and H264Headers._skip_chroma_format(bits)
            frame_num_bits = bits.read_golomb() + 4
            H264Headers._skip_order_count(bits)
            bits.read_golomb()
            bits.read(1)
            bits.read_golomb()
            bits.read_golomb()
            return frame_num_bits, has_planes, not bits.read(1)
        except EOFError:
            return None

    @staticmethod
    def _skip_chroma_format(bits: "BitReader") -> bool:
        """Skip what the high profiles add; True when the colour planes are coded apart."""
        chroma = bits.read_golomb()
        planes = bool(bits.read(1)) if chroma == 3 else False
        bits.read_golomb()
        bits.read_golomb()
        bits.read(1)
        if bits.read(1):
            for i in range(12 if chroma == 3 else 8):
                if bits.read(1):
                    bits.skip_scaling_list(16 if i < 6 else 64)
        return planes

    @staticmethod
    def _skip_order_count(bits: "BitReader") -> None:
        kind = bits.read_golomb()
        if kind == 0:
            bits.read_golomb()
        elif kind == 1:
            bits.read(1)
            bits.read_golomb()
            bits.read_golomb()
            for _ in range(bits.read_golomb()):
                bits.read_golomb()

    def _read_field(self, unit: bytes) -> int | None:
        """0 for a slice of a top field, 1 for one of a bottom field, None for one of a frame (7.3.3)."""
        bits = BitReader(unit[1:])
        try:
            for _ in range(3):
                bits.read_golomb()
            bits.read((2 if self.has_colour_planes else 0) + self.frame_num_bits)
            return bits.read(1) if bits.read(1) else None
        except EOFError:
            return None


def split_at_start_codes(data: bytes) -> Iterator[bytes]:
    """The first bytes of each unit between start codes."""
    at = data.find(b"\0\0\1")
    while at >= 0:
        yield data[at + 3 : at + 3 + HEADER_BYTES]
        at = data.find(b"\0\0\1", at + 3)


class BitReader:
    """Reads bits of an H.264 unit, most significant first, without the bytes that keep start codes out of it."""

    def __init__(self, data: bytes) -> None:
        data = data.replace(b"\0\0\3", b"\0\0")
        self.value, self.left = int.from_bytes(data, "big"), 8 * len(data)

    def read(self, count: int) -> int:
        """The next bits as a number. Raises EOFError."""
        if count > self.left:
            raise EOFError
        self.left -= count
        return self.value >> self.left & ((1 << count) - 1)

    def read_golomb(self) -> int:
        """An unsigned Exp-Golomb number."""
        zeros = 0
        while not self.read(1):
            zeros += 1
        return (1 << zeros) - 1 + self.read(zeros)

    def skip_scaling_list(self, size: int) -> None:
        last = following = 8
        for _ in range(size):
            if following:
                coded = self.read_golomb()
                following = (last + ((coded + 1) // 2 if coded % 2 else -(coded // 2))) % 256
            last = following or last
