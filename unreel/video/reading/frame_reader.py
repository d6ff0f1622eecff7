"""Read numbered frames of one open video: decode from a key packet on, and from an earlier one when that fails.

Of PyAV it uses only `demux`, `seek` and `decode`; container.py passes it the function that opens a file.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import chain, islice
from typing import Any, TypeAlias

import numpy as np

from unreel.errors import VideoError
from unreel.video.reading.frame_index import FrameIndex
from unreel.video.reading.frame_times import NO_TIMESTAMP

MAX_DECODE_AHEAD_FRAMES = 8  # up to here decoding on costs no more than a seek to the next key frame

Packet: TypeAlias = Any  # av.Packet
Frame: TypeAlias = Any  # av.VideoFrame


class FrameReader:
    """An open file and a position in it; returns frames by number, fastest when the numbers ascend.

    `open_container` returns (container, stream), `decode_error` is what decoding raises on bad data;
    `num_decoded_packets` counts what was sent to the decoder, `damaged_packets` lists what raised an error there.
    """

    def __init__(
        self,
        path: str,
        index: FrameIndex,
        open_container: Callable[[str], tuple[Any, Any]],
        decode_error: type[Exception],
    ) -> None:
        self.path, self.index, self.open_container, self.decode_error = path, index, open_container, decode_error
        self.packet_by_timestamp = {stamp: n for n, stamp in enumerate(index.packet_timestamps.tolist())}
        self.packet_by_timestamp.pop(NO_TIMESTAMP, None)
        self.frame_by_packet = {n: i for i, n in enumerate(index.frame_packets.tolist())}
        self.decoded_frames: Iterator[tuple[int, Frame]] = iter(())
        self.position, self.error_detail, self.num_decoded_packets = -1, "", 0
        self.known_damage, self.damaged_packets = set(index.damaged_packets.tolist()), list[int]()
        self.num_packets = max(len(index.packet_timestamps), int(index.frame_packets.max(initial=-1)) + 1)
        self.container, self.stream = open_container(path)
        self.is_at_start = True

    def close(self) -> None:
        self.decoded_frames = iter(())
        self.container.close()

    def read_frame(self, frame_number: int, max_ahead_frames: int = MAX_DECODE_AHEAD_FRAMES) -> Frame:
        """Decode a frame, going on from the current position unless a key frame lies over `max_ahead_frames` ahead.

        Raises VideoError when the frame is damaged or missing from wherever decoding begins.
        """
        key = max(0, int(np.searchsorted(self.index.first_intact_frames, frame_number, side="right")) - 1)
        is_near = self.index.first_intact_frames[key] <= self.position + max_ahead_frames
        if 0 <= self.position < frame_number and is_near and (frame := self._advance_to(frame_number)) is not None:
            return frame
        for start in list_earlier_starts(key):
            self._restart(start)
            if (frame := self._advance_to(frame_number)) is not None:
                return frame
        detail = self.error_detail or "does not come out of the decoder"
        raise VideoError(self.path, "damaged", f"frame {frame_number}: {detail}")

    def _restart(self, key_index: int) -> None:
        self.decoded_frames, self.position, self.error_detail = self.decode_from(key_index), -1, ""

    def _advance_to(self, frame_number: int) -> Frame | None:
        """A frame out of the running decode; None when it is missing or damaged."""
        for number, frame in self.decoded_frames:
            self.position = number
            if number >= frame_number:
                return frame if number == frame_number and not self.error_detail else None
        return None

    def decode_from(self, key_index: int) -> Iterator[tuple[int, Frame]]:
        """(number, frame) from the first intact frame after a key packet on; notes errors and continues.

        A picture that the decoder holds back at a later key packet is an error too: it waits for a recovery (intra
        refresh), and what it gives then is not quite what a decode from the start gives.
        """
        first, has_begun = int(self.index.first_intact_frames[key_index]), key_index == 0
        for n, packet in self._iter_packets_from(key_index):
            # Frames shown before the first intact one refer to pictures that this decode has not seen.
            may_fail = packet is not None and self.frame_by_packet.get(n, -1) < first and n not in self.known_damage
            for number, frame in self._decode_packet(n, packet, may_fail):
                i = self.frame_by_packet.get(number, -1)
                if i >= first:
                    if not has_begun and i > first:
                        self.error_detail = self.error_detail or "decoding can't begin at its key packet"
                    has_begun = True
                    if frame.is_corrupt:
                        self.error_detail = self.error_detail or "the decoder found errors in the picture"
                    yield i, frame

    def decode_keyframes(self) -> Iterator[tuple[int, Frame]]:
        """(number, frame) of all key frames, each decoded alone.

        The decoder is flushed after each, so that all come out and in order; skip_frame=NONKEY loses and swaps those of
        an open GOP.
        """
        keys = set(self.index.key_packets.tolist())
        for n, packet in self._iter_packets_from(0):
            if n in keys and packet is not None:
                for number, frame in self._decode_packet(n, packet, True) + self._decode_packet(n, None, True):
                    if number in self.frame_by_packet and not frame.is_corrupt:
                        yield self.frame_by_packet[number], frame
                self.stream.codec_context.flush_buffers()

    def decode_last_packet(self, tail: bytes) -> Frame | None:
        """The frame of the last packet, decoded with `tail` behind its bytes; None where it has none."""
        last, found = self.num_packets - 1, None
        for n, packet in self._iter_packets_from(len(self.index.key_packets) - 1):
            data = type(packet)(bytes(packet) + tail) if packet is not None and n == last else packet
            found = next((frame for number, frame in self._decode_packet(n, data, True) if number == last), found)
        return found

    def _decode_packet(self, packet_number: int, packet: Packet | None, may_fail: bool) -> list[tuple[int, Frame]]:
        """Decode a packet with its number as time stamp, None to flush; (packet number, frame) of each frame."""
        if packet is not None:
            packet.pts = packet_number
        self.num_decoded_packets += 1
        try:
            frames = self.stream.codec_context.decode(packet)
            return [(-1 if frame.pts is None else frame.pts, frame) for frame in frames]
        except self.decode_error as error:
            if not may_fail:
                self.damaged_packets.append(packet_number)
                self.error_detail = self.error_detail or f"{describe_error(error)} at packet {packet_number}"
            return []

    def _iter_packets_from(self, key_index: int) -> Iterator[tuple[int, Packet | None]]:
        """(number, packet) from a key packet on, then a None that flushes the decoder."""
        n = start = int(self.index.key_packets[key_index])
        try:
            packets = islice(self._seek_packets(key_index), self.num_packets - start)  # others may follow them
            for n, packet in enumerate(packets, start):
                yield n, packet
        except self.decode_error as error:
            self.error_detail = self.error_detail or describe_error(error)
        yield n + 1, None

    def _seek_packets(self, key_index: int) -> Iterator[Packet]:
        """The packets from a key packet on, reached by the container's seek where it has a time stamp.

        A seek may land too late (MPEG-TS) or anywhere, so it is tried for earlier and earlier key packets; the last
        resort is the start of the file.
        """
        back, stamps = 0, self.index.packet_timestamps[self.index.key_packets] if self.packet_by_timestamp else []
        while key_index > back and len(stamps) and stamps[key_index] != NO_TIMESTAMP:
            self.is_at_start = False
            with suppress(self.decode_error):
                target = stamps[key_index - back]
                self.container.seek(int(target), stream=self.stream)
                packets = iter_packets(self.container, self.stream)
                if (key_packet := self._skip_to_packet(key_index, packets)) is not None:
                    return chain([key_packet], packets)
            back = back * 2 + 1
        if not self.is_at_start:
            self.container.close()
            self.container, self.stream = self.open_container(self.path)
        self.is_at_start = False
        return islice(iter_packets(self.container, self.stream), int(self.index.key_packets[key_index]), None)

    def _skip_to_packet(self, key_index: int, packets: Iterator[Packet]) -> Packet | None:
        """Skip to the key packet; None when it is not met.

        The size is compared too, because after a seek the time stamps may be guesses (MPEG-PS).
        """
        key_packet, size_bytes = self.index.key_packets[key_index], self.index.key_packet_bytes[key_index]
        for packet in packets:
            n = self.packet_by_timestamp.get(get_timestamp(packet), -1)
            if n >= key_packet:
                return packet if n == key_packet and packet.size == size_bytes else None
        return None


def list_earlier_starts(key_index: int) -> list[int]:
    """A key packet and those to try when it fails: the one before, then twice as far back each time, at last the first.

    >>> list_earlier_starts(9)
    [9, 8, 6, 2, 0]
    """
    starts, back = [key_index], 1
    while starts[-1] > 0:
        starts.append(max(0, starts[-1] - back))
        back *= 2
    return starts


def iter_packets(container: Any, *streams: Any) -> Iterator[Packet]:
    """The packets of streams without the empty ones, which a decoder takes for the end."""
    # At the end PyAV raises IndexError for streams that appeared inside the file (MPEG-TS).
    with suppress(IndexError):
        for packet in container.demux(*streams):
            if packet.size:
                yield packet


def get_timestamp(packet: Packet) -> int | None:
    """Presentation time stamp of a packet, else its decoding time stamp."""
    return packet.dts if packet.pts is None else packet.pts


def describe_error(error: Exception) -> str:
    """The message of an error, without its number."""
    return str(getattr(error, "strerror", None) or error)
