"""Which files of a folder are videos: by their suffix, and where it says nothing, by their first bytes.

A folder may hold 100,000 pictures or texts, so a file with a suffix that is known to be no video is never opened. Of
the rest the first 4 kB are read, here and not by a decoder; whether a file can be used is found out by its inspection.
"""

import os
import re
import stat
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from unreel.io.text import format_path

VIDEO_SUFFIXES = frozenset(
    """.mp4 .m4v .mov .qt .avi .divx .mkv .mk3d .webm .ts .mts .m2ts .m2t .trp .tp .gif .mpg .mpeg .mpe .m2p .m1v .m2v
    .vob .wmv .asf .flv .f4v .3gp .3g2 .ogv .ogm .mxf .y4m .h264 .264 .avc .hevc .h265 .265 .ivf .mjpeg .mjpg .rm .rmvb
    .dav .lrv .insv .360""".split()
)
OTHER_SUFFIXES = frozenset(
    """.jpg .jpeg .jpe .jfif .mpo .png .bmp .tif .tiff .webp .heic .heif .avif .svg .ico .psd .raw .dng .cr2 .cr3 .nef
    .arw .exr .hdr .ppm .pgm .pbm .pnm .tga .jp2 .thm .lrf .insp .txt .csv .tsv .json .jsonl .ndjson .xml .yaml .yml
    .toml .ini .cfg .conf .log .md .rst .html .htm .css .js .map .pdf .doc .docx .xls .xlsx .ppt .pptx .odt .rtf .tex
    .srt .vtt .ass .ssa .sub .idx .lrc .nfo .mp3 .wav .flac .aac .m4a .m4b .wma .opus .oga .mka .weba .aif .aiff .ac3
    .mid .midi .mat .npy .npz .pkl .pickle .pt .pth .ckpt .safetensors .onnx .h5 .hdf5 .parquet .arrow .feather .lmdb
    .mdb .db .sqlite .sqlite3 .faiss .tfrecord .record .zip .tar .gz .tgz .bz2 .xz .7z .rar .zst .lz4 .iso .dmg .exe
    .dll .so .dylib .bin .jar .py .pyc .ipynb .sh .bat .ps1 .c .h .cc .cpp .hpp .cu .java .go .rs .rb .pl .r .m .sql
    .lock .bak .part .partial .crdownload .download .tmp .swp .md5 .sha1 .sha256 .torrent .url .lnk .gpx .kml .srtx .ttf
    .otf .woff .woff2""".split()
)
HIDDEN, NO_SUFFIX = "hidden", "without suffix"  # beside suffixes in the counts of what is left aside
MAX_KINDS = 12  # named before "and N more"
HEAD_BYTES = 4096
_MAGIC = (  # where, and which bytes
    (0, b"\x1aE\xdf\xa3"),  # Matroska, WebM
    (8, b"AVI "),
    (0, b"FLV\x01"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"),  # ASF, WMV
    (0, b"\xb7\xd8\x00\x20\x37\x49\xda\x11"),  # WTV
    (0, b"\x00\x00\x01\xba"),  # MPEG program stream: .vob, .mod
    (0, b"\x00\x00\x01\xb3"),  # MPEG-1, MPEG-2
    (0, b"\x00\x00\x01\xb0"),  # MPEG-4 Part 2
    (0, b"DHAV"),  # Dahua: .dav
    (0, b"\x06\x0e\x2b\x34\x02\x05\x01\x01\x0d\x01\x02"),  # MXF
    (0, b"YUV4MPEG2 "),
    (0, b"DKIF"),  # IVF
    (0, b"\x12\x00\x0a"),  # AV1
    (0, b"GIF8"),
    (0, b".RMF"),
    (0, b"nut/multimedia container"),
    (0, b"\x1f\x07\x00"),  # DV
)
_BOXES = (b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"wide", b"free", b"skip", b"pnot")
_BRANDS_OF_PICTURES_AND_SOUND = (
    *(b"M4A ", b"M4B ", b"M4P ", b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"avif"),
    *(b"avis", b"crx ", b"jp2 ", b"jpx "),
)
_OGG_VIDEO = (b"\x80theora", b"OVP80", b"BBCD\x00", b"\x01video")
_START_CODE = re.compile(rb"\x00{2,}\x01(..)", re.DOTALL)
_TRANSPORT_PACKETS = (188, 192, 204)


def is_video(path: Path, left_aside: Counter[str]) -> bool:
    """Whether a file is to be taken for a video; one that is not is counted by its suffix."""
    suffix = path.suffix.lower()
    if suffix in VIDEO_SUFFIXES or (suffix not in OTHER_SUFFIXES and has_video_bytes(path)):
        return True
    left_aside[suffix or NO_SUFFIX] += 1
    return False


def describe_left_aside(counts: Mapping[str, int]) -> str:
    """`12 .jpg, 3 .txt, 1 without suffix`, the most common first; "" for nothing."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    named = [f"{count:,} {format_path(kind)}" for kind, count in ordered[:MAX_KINDS]]
    rest = ordered[MAX_KINDS:]
    more = [f"{sum(count for _, count in rest):,} with {len(rest):,} other suffixes"] if rest else []
    return ", ".join(named + more)


def has_video_bytes(path: Path) -> bool:
    """Whether a regular file begins as videos begin; False where it can't be read."""
    head = read_head(path)
    if any(head[start : start + len(magic)] == magic for start, magic in _MAGIC):
        return True
    if head[:4] == b"OggS":
        return any(mark in head for mark in _OGG_VIDEO)
    if head[:4] == b"\x89PNG":
        return b"acTL" in head  # animated
    return _begins_with_box(head) or _begins_with_start_code(head) or _has_transport_packets(head)


def read_head(path: Path) -> bytes:
    """The first 4 kB; nothing of what is no regular file, or can't be read."""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))  # a pipe without a writer does not block
        try:
            return os.read(handle, HEAD_BYTES) if stat.S_ISREG(os.fstat(handle).st_mode) else b""
        finally:
            os.close(handle)
    except OSError:
        return b""


def _begins_with_box(head: bytes) -> bool:
    """MP4 and QuickTime: a box of a known name, whose size is no text; pictures and sound have brands of their own."""
    if head[4:8] not in _BOXES or head[0] >= 0x20:
        return False
    return head[4:8] != b"ftyp" or head[8:12] not in _BRANDS_OF_PICTURES_AND_SOUND


def _begins_with_start_code(head: bytes) -> bool:
    """H.264 and H.265 without a container, and MPEG-4 Part 2: the first unit is one with which a stream begins."""
    match = _START_CODE.match(head)
    if not match:
        return False
    first, second = match[1]
    is_h264 = first < 0x80 and (first & 0x1F in (7, 9) or (first & 0x1F == 6 and b"\x00\x00\x01\x67" in head))
    is_h265 = second == 1 and first in (0x40, 0x42, 0x44, 0x46)
    return is_h264 or is_h265 or 0x20 <= first <= 0x2F


def _has_transport_packets(head: bytes) -> bool:
    """MPEG-TS: every 188th byte is G, also where a recording begins inside a packet."""
    if len(head) < 8 * _TRANSPORT_PACKETS[-1] or len(set(head)) == 1:
        return False
    return any(set(head[start::step]) == {0x47} for step in _TRANSPORT_PACKETS for start in range(step))
