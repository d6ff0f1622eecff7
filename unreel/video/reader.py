"""Walk through one open video: begin exactly at a key packet, tell frames by number, try from further back on trouble.

Of the decoder's library it knows `demux`, `seek` and `decode` alone; `file.py` hands it an opener.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import chain, islice
from typing import Any, TypeAlias

import numpy as np

from unreel.errors import VideoError
from unreel.video.frame_index import FrameIndex

NEAR_FRAMES = 8  # a key frame this near ahead is reached by decoding on: a seek costs about as much

Packet: TypeAlias = Any  # av.Packet
Frame: TypeAlias = Any  # av.VideoFrame


class Reader:
    """An open file and a position in it; hands out frames by number, forwards with few detours.

    `open_file` gives (container, stream), `broken` is what decoding raises on bad data. `num_fed` counts the packets
    that went into the decoder.
    """

    def __init__(
        self, path: str, index: FrameIndex, open_file: Callable[[str], tuple[Any, Any]], broken: type[Exception]
    ) -> None:
        self.path, self.index, self.open_file, self.broken = path, index, open_file, broken
        self.packet_of = {stamp: n for n, stamp in enumerate(index.stamps.tolist())}
        self.frame_of = {n: i for i, n in enumerate(index.order.tolist())}
        self.run: Iterator[tuple[int, Frame]] = iter(())
        self.at, self.trouble, self.num_fed = -1, "", 0
        self.container, self.stream = open_file(path)
        self.untouched = True

    def close(self) -> None:
        self.run = iter(())
        self.container.close()

    def frame(self, i: int, near_frames: int = NEAR_FRAMES) -> Frame:
        """Decode frame i, going on from here unless a key frame lies more than `near_frames` ahead.

        Raises VideoError when it does not come out intact, wherever decoding begins.
        """
        key = max(0, int(np.searchsorted(self.index.first, i, side="right")) - 1)
        if self.at < 0 or i <= self.at or self.index.first[key] > self.at + near_frames:
            self._begin(key)
        back = 1
        while (frame := self._run_to(i)) is None:
            if key == 0:
                detail = self.trouble or "does not come out of the decoder"
                raise VideoError(self.path, "damaged", f"frame {i}: {detail}")
            key, back = max(0, key - back), back * 2
            self._begin(key)
        return frame

    def _begin(self, key: int) -> None:
        self.run, self.at, self.trouble = self.decode(key), -1, ""

    def _run_to(self, i: int) -> Frame | None:
        """Frame i of this run; None when it does not come, or not intact."""
        for number, frame in self.run:
            self.at = number
            if number >= i:
                return frame if number == i and not self.trouble else None
        return None

    def decode(self, key: int) -> Iterator[tuple[int, Frame]]:
        """Frames with their numbers, from the first intact one after key packet `key`; notes trouble and goes on."""
        first = int(self.index.first[key])
        for n, packet in self._packets(key):
            # What is shown before the first intact frame refers to pictures that this run has not seen.
            may_fail = packet is not None and self.frame_of.get(n, -1) < first
            for number, frame in self._feed(n, packet, may_fail):
                i = self.frame_of.get(number, -1)
                if i >= first:
                    if frame.is_corrupt:
                        self.trouble = self.trouble or "the decoder found errors in the picture"
                    yield i, frame

    def key_frames(self) -> Iterator[tuple[int, Frame]]:
        """Key frames with their numbers, each decoded by itself.

        Emptying the decoder after each is what brings them all out and in order; skip_frame=NONKEY loses and swaps
        those of an open GOP.
        """
        keys = set(self.index.keys.tolist())
        for n, packet in self._packets(0):
            if n in keys and packet is not None:
                for number, frame in self._feed(n, packet, True) + self._feed(n, None, True):
                    if number in self.frame_of and not frame.is_corrupt:
                        yield self.frame_of[number], frame
                self.stream.codec_context.flush_buffers()

    def _feed(self, n: int, packet: Packet | None, may_fail: bool) -> list[tuple[int, Frame]]:
        """Decode packet n, its number in place of its stamp, or empty the decoder: packet number and frame of each."""
        if packet is not None:
            packet.pts = n
        self.num_fed += 1
        try:
            frames = self.stream.codec_context.decode(packet)
            return [(-1 if frame.pts is None else frame.pts, frame) for frame in frames]
        except self.broken as error:
            if not may_fail:
                self.trouble = self.trouble or f"{why(error)} at packet {n}"
            return []

    def _packets(self, key: int) -> Iterator[tuple[int, Packet | None]]:
        """Packets with their numbers from a key packet on, then a None that empties the decoder."""
        n = start = int(self.index.keys[key])
        try:
            for n, packet in enumerate(self._land(key), start):
                yield n, packet
        except self.broken as error:
            self.trouble = self.trouble or why(error)
        yield n + 1, None

    def _land(self, key: int) -> Iterator[Packet]:
        """The packets from a key packet on, found by the container's seek where possible.

        A seek may land late (MPEG-TS) or astray, so it is tried for ever earlier key packets, at last from the start.
        """
        back = 0
        while key > back and self.packet_of:
            self.untouched = False
            with suppress(self.broken):
                self.container.seek(int(self.index.stamps[self.index.keys[key - back]]), stream=self.stream)
                packets = packets_of(self.container, self.stream)
                if (found := self._find(key, packets)) is not None:
                    return chain([found], packets)
            back = back * 2 + 1
        if not self.untouched:
            self.container.close()
            self.container, self.stream = self.open_file(self.path)
        self.untouched = False
        return islice(packets_of(self.container, self.stream), int(self.index.keys[key]), None)

    def _find(self, key: int, packets: Iterator[Packet]) -> Packet | None:
        """Pass over packets up to the key packet, by stamp and size: after a seek stamps may be guesses (MPEG-PS)."""
        for packet in packets:
            n = self.packet_of.get(stamp_of(packet), -1)
            if n >= self.index.keys[key]:
                return packet if n == self.index.keys[key] and packet.size == self.index.key_bytes[key] else None
        return None


def packets_of(container: Any, stream: Any) -> Iterator[Packet]:
    """The packets of a stream, without empty ones, which a decoder would take for the end."""
    packets = container.demux(stream)
    # PyAV stumbles at the very end over streams that came up on the way (MPEG-TS).
    with suppress(IndexError):
        yield from (packet for packet in packets if packet.size)


def stamp_of(packet: Packet) -> int | None:
    return packet.dts if packet.pts is None else packet.pts


def why(error: Exception) -> str:
    """The decoder's words without its error number."""
    return str(getattr(error, "strerror", None) or error)
