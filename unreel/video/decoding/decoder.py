"""Read frames of a video file by number, exactly.

Frame i is the i-th frame of a decode from the first key frame to the end. Time stamps and seeks are not reliable, so a
file is demuxed once into a `FrameIndex`, decoding begins exactly at a key packet, and each packet goes into the decoder
with its number in place of its time stamp: the decoded frame then names its packet.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
from av.video.reformatter import VideoReformatter as Scaler

from unreel.errors import InputError, VideoError
from unreel.video.decoding.container import open_reader
from unreel.video.decoding.packet_index import index_frames
from unreel.video.decoding.rgb_conversion import convert_to_rgb
from unreel.video.sources.paths import is_synthetic
from unreel.video.synthetic.drawn_video import draw_frames


def read_frames(
    path: str | Path, frame_numbers: Sequence[int] | np.ndarray, size: tuple[int, int] | None = None
) -> np.ndarray:
    """Decode frames by number, in any order, repeats allowed; upright RGB, uint8 (len(frame_numbers), H, W, 3).

    `size` is (height, width) to scale to, bilinear. One forward pass through the file on one thread.
    Raises VideoError when one of the frames can't be decoded, InputError for a number that the file does not have.

    >>> read_frames(video, [0, 9, 3], size=(32, 48)).shape
    (3, 32, 48, 3)
    """
    index, numbers = index_frames(path), np.asarray(frame_numbers, dtype=np.int64)
    if numbers.size and not 0 <= numbers.min() <= numbers.max() < index.num_frames:
        raise InputError(f"{path} has frames 0 to {index.num_frames - 1}, asked for {numbers.min()} to {numbers.max()}")
    if is_synthetic(path):
        return draw_frames(str(path), numbers, size)
    unique_numbers, rows = np.unique(numbers, return_inverse=True)
    with closing(open_reader(path, index)) as reader:
        scaler = Scaler()
        if not numbers.size:
            return convert_to_rgb(path, reader.read_frame(0), size, scaler)[None][:0]
        pictures = [convert_to_rgb(path, reader.read_frame(int(i)), size, scaler) for i in unique_numbers]
    if len({picture.shape for picture in pictures}) > 1:
        raise VideoError(str(path), "damaged", "the picture size changes inside the file; give a size to scale to")
    return np.stack([pictures[row] for row in rows])


def iter_frames(path: str | Path, start_frame: int, stop_frame: int, size: tuple[int, int]) -> Iterator[np.ndarray]:
    """Decode frames `start_frame` to `stop_frame` - 1, one at a time, each as `read_frames` does. Raises VideoError."""
    if is_synthetic(path):
        yield from draw_frames(str(path), np.arange(start_frame, stop_frame), size)
        return
    index, scaler = index_frames(path), Scaler()
    with closing(open_reader(path, index)) as reader:
        for i in range(start_frame, stop_frame):
            yield convert_to_rgb(path, reader.read_frame(i, max_ahead_frames=stop_frame - start_frame), size, scaler)


def iter_keyframes(path: str | Path, size: tuple[int, int]) -> Iterator[tuple[float, np.ndarray]]:
    """Decode only the key frames: (time in seconds, uint8 (H, W, 3)) of each, scaled to `size` (height, width).

    Raises VideoError when the file can't be used; key frames that can't be decoded alone are left out.
    """
    if is_synthetic(path):
        yield 0.0, draw_frames(str(path), np.zeros(1, dtype=np.int64), size)[0]
        return
    index, scaler = index_frames(path), Scaler()
    with closing(open_reader(path, index)) as reader:
        for i, frame in reader.decode_keyframes():
            yield float(index.times_s[i]), convert_to_rgb(path, frame, size, scaler)
