"""Open a video file: its container and video stream. Files that are no video are refused with the reason."""

import io
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.stream import Disposition

from unreel.errors import VideoError
from unreel.io.retry import SERVER_STALL_ERRNOS, is_stall, retry_on_stall
from unreel.video.reading.frame_index import FrameIndex
from unreel.video.reading.frame_reader import FrameReader, describe_error
from unreel.video.sources.source import open_source

MAX_SIDE, MAX_PIXELS = 16384, 2**27  # larger pictures would use up all memory
MJPEG_SUFFIXES = (".mjpeg", ".mjpg")
PICTURES = Disposition.attached_pic | Disposition.timed_thumbnails
NON_VIDEO_FORMATS = ("image2", "tty", "hls", "dash", "concat")


def open_container(path: str) -> tuple[Any, av.VideoStream]:
    """The container and its video stream. Raises VideoError: not a video, no video stream, unreadable, damaged."""
    try:
        # `file:` keeps ffmpeg from reading a protocol into the file's name, the whitelist from following links in it.
        # As `options` instead of `container_options`, the whitelist crashes PyAV before 18 on FLV.
        only_files = {"protocol_whitelist": "file"}
        data = open_source(path).read_packed()
        kind = "mjpeg" if path.lower().endswith(MJPEG_SUFFIXES) else None  # else its first picture is taken for all
        source = f"file:{path}" if data is None else io.BytesIO(data)
        container = retry_on_stall(
            lambda: av.open(source, format=kind, metadata_errors="replace", container_options=only_files),
            SERVER_STALL_ERRNOS,
        )
    except (av.FFmpegError, ValueError) as error:
        raise VideoError(path, classify_error(error, "not a video"), describe_error(error)) from error
    try:
        return container, find_video_stream(path, container)
    except BaseException:
        container.close()
        raise


def find_video_stream(path: str, container: Any) -> av.VideoStream:
    """The stream that a player shows, set to decode on one thread. Raises VideoError."""
    demuxer = container.format.name
    if demuxer.endswith("_pipe") or demuxer.split(",")[0] in NON_VIDEO_FORMATS:
        raise VideoError(path, "not a video", f"a picture, text or playlist ({demuxer})")
    streams = list_moving_streams(container)
    if not streams:
        raise VideoError(path, "no video stream")
    stream = max(streams, key=rank_stream)
    if stream.codec_context is None:
        raise VideoError(path, "unreadable", "no decoder for its codec")
    context = stream.codec_context
    width, height = context.width, context.height
    if not 0 < min(width, height) <= max(width, height) <= MAX_SIDE or width * height > MAX_PIXELS:
        raise VideoError(path, "damaged", f"a picture size of {width} x {height}")
    context.thread_count = 1
    context.options = {"max_pixels": str(MAX_PIXELS)}  # the picture size may change inside a stream
    return stream


def list_moving_streams(container: Any) -> list[av.VideoStream]:
    """The video streams without cover art and thumbnails of chapters."""
    return [stream for stream in container.streams.video if not stream.disposition & PICTURES]


def rank_stream(stream: av.VideoStream) -> tuple[bool, bool, bool, int]:
    """What a player looks at: more than one picture, a decoder, marked as default, size; the first of equals.

    0 pictures means that the container does not say how many.
    """
    context = stream.codec_context
    size = context.width * context.height if context else 0
    return stream.frames != 1, context is not None, bool(stream.disposition & Disposition.default), size


def find_clock_start(container: Any, stream: av.VideoStream) -> float:
    """The tick of the stream at which the first picture or sound begins, by the header; inf where it does not say.

    AVI has no stamps: those of its pictures are counted, and begin later only where pictures are reordered.
    """
    if container.format.name == "avi":
        return np.inf
    start = np.inf if stream.start_time is None or not stream.time_base else float(stream.start_time)
    sounds = [s for s in container.streams.audio if s.start_time is not None and s.time_base]
    return min([start, *(float(s.start_time * s.time_base / stream.time_base) for s in sounds if stream.time_base)])


def classify_error(error: Exception, default_reason: str) -> str:
    """The reason for a VideoError: "unreadable" where a network file system stalls, else the given one."""
    return "unreadable" if is_stall(error, SERVER_STALL_ERRNOS) else default_reason


def open_reader(path: str | Path, index: FrameIndex) -> FrameReader:
    """Open a file whose frames are known. Raises VideoError."""
    return FrameReader(str(path), index, open_container, av.FFmpegError)
