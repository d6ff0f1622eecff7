"""Where a file ends that was cut off: what its packets say, and what can still be decoded at its end."""

from contextlib import closing
from dataclasses import replace
from typing import Any

import av
import numpy as np

from unreel.errors import VideoError
from unreel.video.reading.container import list_moving_streams, open_container, open_reader
from unreel.video.reading.frame_index import FrameIndex, PacketTable, build_index
from unreel.video.reading.frame_reader import iter_packets
from unreel.video.reading.rgb_conversion import hash_picture
from unreel.video.sources.integrity import Truncation

REORDERED_FRAMES = 8  # so many of the last frames may be shown in another order than they lie in the file
PACKETS_BACK = 300  # so far before the end it is decoded from where it does not come out from the last keys
BYTES_BEHIND = b"\xff" * 64  # a decoder takes bytes that are missing for zeros
HELD_BACK_PACKETS = 4  # the last ones of a transport stream come out only at the end of the file
MAX_MISSING_FRAMES = 0.75  # an end that is nearer than this to the stated one is that end


def describe_cut(truncation: Truncation | None, packets: PacketTable, container: Any, stream: av.VideoStream) -> str:
    """What is missing, where frames are missing and not only a size is wrong; else ""."""
    if truncation is None or packets.left_out:
        return packets.left_out
    is_cut = truncation.is_certain or packets.is_broken_off or _ends_early(packets, container, stream)
    return truncation.detail if is_cut else ""


def find_later_stream(path: str, container: Any, stream: av.VideoStream) -> str:
    """Which video stream of a transport stream begins where this one ends, in words; else "".

    A recorder that changes its programme goes on under another number (PID). Raises VideoError.
    """
    if container.format.name != "mpegts" or len(list_moving_streams(container)) < 2:
        return ""
    again, _ = open_container(path)
    with closing(again):
        parts = list_moving_streams(again)
        order = [packet.stream.id for packet in iter_packets(again, *parts)]
    ours = [n for n, pid in enumerate(order) if pid == stream.id]
    end = ours[-HELD_BACK_PACKETS] if len(ours) > HELD_BACK_PACKETS else len(order)
    later = [pid for pid in dict.fromkeys(order[end:]) if pid not in order[:end] and order.count(pid) > 1]
    return f"it goes on in another stream, PID {later[0]}; cut it there to use both parts" if later else ""


def _ends_early(packets: PacketTable, container: Any, stream: av.VideoStream) -> bool:
    """Whether the last frame ends before the time that the header states, or one of the last frames is missing."""
    stamps = sorted(stamp for stamp in packets.timestamps if stamp is not None)
    steps = np.diff(stamps)
    if len(steps) > REORDERED_FRAMES and steps[-REORDERED_FRAMES:].max() > 1.5 * np.median(steps):
        return True  # a picture that is shown before the last ones comes after them in the file
    if stream.duration is not None:
        stated_s = float(((stream.start_time or 0) + stream.duration) * (stream.time_base or 0))
    elif container.duration is not None:
        stated_s = ((container.start_time or 0) + container.duration) / av.time_base
    else:
        return True
    end_s = (max(stamps) * packets.tick_s if stamps else 0.0) + packets.frame_s
    return stated_s - end_s > MAX_MISSING_FRAMES * packets.frame_s


def decode_end(path: str, index: FrameIndex, packets_back: int = 0) -> np.ndarray:
    """Whether each frame can be decoded, bool (L,); those before the last but one key picture count as good.

    Flags may be wrong; what does not come out from there on may do so from a key picture so many packets further back.
    """
    last_packet = int(index.frame_packets.max(initial=0))
    start = int(np.searchsorted(index.key_packets, last_packet - packets_back, side="right")) - 1
    return _decode_from(path, index, max(0, min(start, len(index.key_packets) - 2)))


def _decode_from(path: str, index: FrameIndex, start: int) -> np.ndarray:
    """Whether each frame comes out when decoding begins at a key packet; those before it count as good."""
    with closing(open_reader(path, index)) as reader:
        good = [i for i, frame in reader.decode_from(start) if not frame.is_corrupt]
    is_good_L = np.arange(index.num_frames) < index.first_intact_frames[start]
    is_good_L[good] = True
    return is_good_L


def cut_index(path: str, packets: PacketTable, index: FrameIndex, is_good_L: np.ndarray, cut_off: str) -> FrameIndex:
    """The index of a file that was cut off, without the frames that can't be decoded at its end. Raises VideoError.

    A container that states no size (`cut_off` is "") was cut off where the last packets can't be decoded, and none
    after them can. Damage before the last but one key picture is no cut; what is shown before the last one may need
    what follows it.
    """
    is_end_L = np.arange(index.num_frames) >= index.first_intact_frames[max(0, len(index.key_packets) - 2)]
    bad_packets, good_packets = index.frame_packets[~is_good_L & is_end_L], index.frame_packets[is_good_L]
    last_packet = len(packets.timestamps) - 1
    ends_in_half = packets.ends_in_half or (packets.may_end_in_half and _ends_in_half_a_picture(path, index))
    if last_packet in index.damaged_packets or ends_in_half:
        bad_packets, good_packets = np.append(bad_packets, last_packet), good_packets[good_packets < last_packet]
    if not len(bad_packets):
        return replace(index, cut_off=cut_off)
    if not cut_off and good_packets.max(initial=-1) > bad_packets.min():
        return index  # damage elsewhere
    cut_off = cut_off or "its last pictures are incomplete"
    kept = index.frame_packets[index.frame_packets < bad_packets.min()]
    if not len(kept):
        raise VideoError(path, "truncated", cut_off)
    return replace(build_index(packets, kept), damaged_packets=index.damaged_packets, cut_off=cut_off)


def _ends_in_half_a_picture(path: str, index: FrameIndex) -> bool:
    """Whether the last packet gives no picture, or another one with bytes behind it: its decoder looks for its end."""
    pictures = []
    for tail in (b"", BYTES_BEHIND):
        with closing(open_reader(path, index)) as reader:
            frame = reader.decode_last_packet(tail)
            pictures.append(None if frame is None else hash_picture(path, frame))
    return None in pictures or pictures[0] != pictures[1]
