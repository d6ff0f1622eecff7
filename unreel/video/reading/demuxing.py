"""Collect what the packets of a file say: time stamps, sizes, key flags, in one pass without decoding."""

from collections.abc import Iterator
from typing import Any

import av

from unreel.errors import VideoError
from unreel.video.reading.container import classify_error, find_clock_start
from unreel.video.reading.frame_index import PacketRow, PacketTable
from unreel.video.reading.frame_reader import describe_error, iter_packets
from unreel.video.reading.picture_types import CONTENT_CODECS, PictureInspector
from unreel.video.sources.integrity import Truncation

MAX_FRAMES = 2**24  # beyond it a header is damaged


def demux_packets(
    path: str, container: Any, stream: av.VideoStream, inspector: PictureInspector, truncation: Truncation | None
) -> PacketTable:
    """Collect time stamps, size and kind of every packet in one pass, but of one that a cut has left incomplete.

    Raises VideoError: damaged, no frames.
    """
    packets, rows = _start_table(container, stream), list[PacketRow]()
    try:
        _collect_rows(path, iter_packets(container, stream), inspector, truncation, packets, rows)
    except av.FFmpegError as error:
        packets.is_broken_off, reason = True, classify_error(error, "damaged")
        if container.format.name == "ogg" and rows and reason == "damaged":
            packets.left_out = "another Ogg stream follows that can't be joined to it; cut it there to use both parts"
        elif not truncation:
            raise VideoError(path, reason, describe_error(error)) from error
    if truncation and truncation.spoils_last:
        del rows[-1:]  # a decoder takes half a picture without a word
    if not rows:
        raise VideoError(path, "no frames")
    packets.fill(rows)
    packets.may_end_in_half, packets.ends_in_half = inspector.codec in CONTENT_CODECS, inspector.ends_in_half
    packets.key_packets, packets.begins_at_key = packets.key_packets or [0], inspector.needs_key_first
    # Containers without offsets between decoding and showing (AVI, mp4 without ctts): the stamps only count packets.
    packets.has_other_order = (
        bool(packets.header_packets)
        or inspector.has_lone_fields
        or inspector.has_empty_pictures
        or inspector.has_packed_pictures
        or (inspector.has_b_pictures and packets.stamps_count_packets)
    )
    return packets


def _collect_rows(
    path: str,
    found: Iterator[av.Packet],
    inspector: PictureInspector,
    truncation: Truncation | None,
    packets: PacketTable,
    rows: list[PacketRow],
) -> None:
    """Add a row for each packet, and numbers of key packets and headers to `packets`; a file may have millions."""
    may_end = bool(truncation) or inspector.may_change
    must_look, asks_for_keys, is_intra_only = inspector.must_look, inspector.tells_types, inspector.is_intra_only
    is_vp8, may_be_header = inspector.codec == "vp8", inspector.may_be_header
    for n, packet in enumerate(found):
        if n == MAX_FRAMES:
            raise VideoError(path, "damaged", f"more than {MAX_FRAMES} frames")
        if may_end and _ends_before(path, packet, packets, rows, inspector, truncation):
            break
        if must_look:
            inspector.look(packet)
        if inspector.is_key(packet) if asks_for_keys else (packet.is_keyframe or is_intra_only):
            packets.key_packets.append(n)
        if may_be_header and inspector.is_header(packet):
            packets.header_packets.append(n)
        # VP8 has packets that are only references for others; bit 4 is set for those that are shown.
        is_hidden = packet.is_discard or (is_vp8 and not bytes(packet)[0] & 0x10)
        pts, dts = packet.pts, packet.dts
        rows.append((dts if pts is None else pts, dts, packet.size, is_hidden))


def _ends_before(
    path: str,
    packet: av.Packet,
    packets: PacketTable,
    rows: list[PacketRow],
    inspector: PictureInspector,
    truncation: Truncation | None,
) -> bool:
    """Whether what can be read ends before this packet: a cut has left it incomplete, or it is of another codec.

    Raises VideoError where the packets before it can't be read either.
    """
    if truncation and packet.is_corrupt:
        packets.is_broken_off = True
    elif other := inspector.find_other_codec(packet):
        if not rows:
            raise VideoError(path, "damaged", f"videos in {other} and {inspector.codec} joined; cut it there")
        packets.left_out = f"it goes on in another codec, {other}; cut it there to use both parts"
        rows.pop()  # the demuxer loses pictures where the codec changes
    return packets.is_broken_off or bool(packets.left_out)


def _start_table(container: Any, stream: av.VideoStream) -> PacketTable:
    rate = float(stream.average_rate or stream.guessed_rate or 25)
    start, has_edits = find_clock_start(container, stream), container.format.name.startswith("mov,")
    return PacketTable(float(stream.time_base or 0), 1 / rate, start, has_edits=has_edits)
