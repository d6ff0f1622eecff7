"""Open a video file and read its frames by number, exactly: `unreel.open_video`.

Frame i is the i-th frame that a decoder gives which reads the file from its first packet. Time stamps, key flags and
seeks are not reliable, so a file is demuxed once into a `FrameIndex`, decoding begins exactly at a key packet, and each
packet goes into the decoder with its number in place of its time stamp: the decoded frame then names its packet.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import cached_property
from pathlib import Path
from types import TracebackType

import numpy as np
from av.video.reformatter import VideoReformatter as Scaler

from unreel.errors import InputError, VideoError
from unreel.video.decoding.packet_index import index_frames
from unreel.video.decoding.probe import VideoInfo, probe
from unreel.video.reading.container import open_reader
from unreel.video.reading.frame_reader import FrameReader
from unreel.video.reading.rgb_conversion import convert_to_rgb
from unreel.video.sampling.timeline import compute_frame_duration, find_frames_at
from unreel.video.sources.paths import is_synthetic
from unreel.video.synthetic.drawn_video import draw_frames


def open_video(path: str | Path, allow_cut: bool = False) -> "VideoFile":
    """Open a video file, a piece of a packed corpus, or a drawn video, to read its frames by number.

    Args:
        path: the file.
        allow_cut: whether to take a file that was cut off, with its frames before the cut; without it, such a file is
            refused as truncated. `unreel inspect` takes them, and says so.

    Returns:
        The open video: its length in frames, `seconds`, `width`, `height`, and `frames(numbers)`; to be used as a
        context manager.

    Raises:
        VideoError: the file can't be used; `reason` says why in a word or two.

    >>> path = sorted(videos.rglob("*.mp4"))[0]
    >>> with unreel.open_video(path) as video:
    ...     video.frames([0, 9]).shape == (2, video.height, video.width, 3)
    ...     video.seconds[:3].round(2).tolist(), video.numbers_at([0.05]).tolist()
    True
    ([0.0, 0.04, 0.08], [1])
    """
    index = index_frames(path)
    if index.cut_off and not allow_cut:
        usable = f"{index.num_frames} frames before the cut can be read with allow_cut=True"
        raise VideoError(str(path), "truncated", f"{index.cut_off}; {usable}")
    return VideoFile(str(path))


class VideoFile:
    """An open video: `len()` frames, shown at `seconds` on the file's clock, read with `frames`.

    The decoder stays open between calls, and goes on where it is when numbers ascend.
    """

    def __init__(self, path: str) -> None:
        self.path, self.index = path, index_frames(path)
        self._scaler, self._has_other_size = Scaler(), False  # than the header says

    def __enter__(self) -> "VideoFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return self.index.num_frames

    @property
    def seconds(self) -> np.ndarray:
        """When each frame is shown, float64 (L,), ascending; 0 is where the first picture or sound begins."""
        return self.index.times_s

    @cached_property
    def info(self) -> VideoInfo:
        """Codec, size, rate and duration."""
        return probe(self.path)

    @property
    def width(self) -> int:
        """Columns of the picture as players show it."""
        return self.info.width

    @property
    def height(self) -> int:
        """Rows of the picture as players show it."""
        return self.info.height

    @property
    def cut_off(self) -> str:
        """What is missing at the end of the file, in words; "" for nothing."""
        return self.index.cut_off

    @cached_property
    def _reader(self) -> FrameReader:
        reader = open_reader(self.path, self.index)
        context = reader.stream.codec_context
        self._header_size = (context.height, context.width)  # a decoder changes them with the pictures
        return reader

    def close(self) -> None:
        """Close the file; a later read opens it again."""
        if "_reader" in self.__dict__:
            self.__dict__.pop("_reader").close()

    def numbers_at(self, seconds: Sequence[float] | np.ndarray) -> np.ndarray:
        """The number of the frame on screen at each second, int64; the first one before it begins."""
        frame_s = compute_frame_duration(self.seconds, default_s=1.0)
        return np.maximum(find_frames_at(self.seconds, np.asarray(seconds, dtype=np.float64), frame_s), 0)

    def frames(self, numbers: Sequence[int] | np.ndarray, size: tuple[int, int] | None = None) -> np.ndarray:
        """Decode frames by number, in any order, repeats allowed; RGB as shown, uint8 (len(numbers), H, W, 3).

        `size` is (height, width) to scale to, bilinear. One forward pass through the file on one thread.
        Raises VideoError when one of the frames can't be decoded, InputError for a number that the file does not have.
        """
        numbers = self._check(numbers)
        if is_synthetic(self.path):
            return draw_frames(self.path, numbers, size)
        unique_numbers, rows = np.unique(numbers, return_inverse=True)
        if not numbers.size:
            return self._decode(0, size)[None][:0]
        pictures = [self._decode(int(i), size) for i in unique_numbers]
        if size is None and self._has_other_size and {p.shape for p in pictures} != {(self.height, self.width, 3)}:
            # The size changes inside the file: players scale to that of the first frame.
            pictures = [self._decode(int(i), (self.height, self.width)) for i in unique_numbers]
        return np.stack([pictures[row] for row in rows])

    def iter_frames(self, start_frame: int, stop_frame: int, size: tuple[int, int]) -> Iterator[np.ndarray]:
        """Decode frames `start_frame` to `stop_frame` - 1, one at a time, each as `frames` does. Raises VideoError."""
        if is_synthetic(self.path):
            yield from draw_frames(self.path, np.arange(start_frame, stop_frame), size)
            return
        for i in range(start_frame, stop_frame):
            frame = self._reader.read_frame(i, max_ahead_frames=stop_frame - start_frame)
            yield convert_to_rgb(self.path, frame, size, self._scaler)

    def iter_keyframes(self, size: tuple[int, int]) -> Iterator[tuple[float, np.ndarray]]:
        """Decode only the key frames: (seconds, uint8 (H, W, 3)) of each, scaled to `size` (height, width).

        Raises VideoError when the file can't be used; key frames that can't be decoded alone are left out.
        """
        if is_synthetic(self.path):
            yield 0.0, draw_frames(self.path, np.zeros(1, dtype=np.int64), size)[0]
            return
        for i, frame in self._reader.decode_keyframes():
            yield float(self.seconds[i]), convert_to_rgb(self.path, frame, size, self._scaler)

    def _check(self, numbers: Sequence[int] | np.ndarray) -> np.ndarray:
        """The numbers as int64. Raises InputError for one that the file does not have."""
        numbers = np.asarray(numbers, dtype=np.int64)
        if numbers.size and not 0 <= numbers.min() <= numbers.max() < len(self):
            asked = f"asked for {numbers.min()} to {numbers.max()}"
            raise InputError(f"{self.path} has frames 0 to {len(self) - 1}, {asked}")
        return numbers

    def _decode(self, number: int, size: tuple[int, int] | None) -> np.ndarray:
        frame = self._reader.read_frame(number)
        if size is None:
            self._has_other_size |= (frame.height, frame.width) != self._header_size
        return convert_to_rgb(self.path, frame, size, self._scaler)


def read_frames(
    path: str | Path, frame_numbers: Sequence[int] | np.ndarray, size: tuple[int, int] | None = None
) -> np.ndarray:
    """`VideoFile.frames` of a file that is opened for it, also of one that was cut off. Raises VideoError, InputError.

    >>> read_frames(video, [0, 9, 3], size=(32, 48)).shape
    (3, 32, 48, 3)
    """
    with closing(open_video(path, allow_cut=True)) as video:
        return video.frames(frame_numbers, size)


def iter_frames(path: str | Path, start_frame: int, stop_frame: int, size: tuple[int, int]) -> Iterator[np.ndarray]:
    """`VideoFile.iter_frames` of a file that is opened for it. Raises VideoError."""
    with closing(open_video(path, allow_cut=True)) as video:
        yield from video.iter_frames(start_frame, stop_frame, size)


def iter_keyframes(path: str | Path, size: tuple[int, int]) -> Iterator[tuple[float, np.ndarray]]:
    """`VideoFile.iter_keyframes` of a file that is opened for it. Raises VideoError."""
    with closing(open_video(path, allow_cut=True)) as video:
        yield from video.iter_keyframes(size)
