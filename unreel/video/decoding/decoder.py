"""Read any frames of a video file exactly, by number.

Frame i is the i-th frame that a plain decode gives, beginning with the first key frame. A file is demuxed once into a
`FrameIndex`, decoding begins exactly at a key packet, and every packet goes into the decoder with its number in place of
its time stamp, so each frame that comes out tells which packet it was: stamps and seeks are not reliable.
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


def read_frames(
    path: str | Path, frame_numbers: Sequence[int] | np.ndarray, size: tuple[int, int] | None = None
) -> np.ndarray:
    """Decode the frames with these numbers, in any order, repeats allowed; uint8 (len(frames), H, W, 3) RGB, upright.

    `size` is (height, width) to scale to, bilinear. One forward pass through the file, one thread.
    Raises VideoError when the file or a wanted frame can't be decoded, InputError for a number the file doesn't have.
    """
    index, numbers = index_frames(path), np.asarray(frame_numbers, dtype=np.int64)
    if numbers.size and not 0 <= numbers.min() <= numbers.max() < len(index.frame_packets):
        raise InputError(
            f"{path} has frames 0 to {len(index.frame_packets) - 1}, asked for {numbers.min()} to {numbers.max()}"
        )
    wanted, rows = np.unique(numbers, return_inverse=True)
    with closing(open_reader(path, index)) as reader:
        scaler = Scaler()
        if not numbers.size:
            return convert_to_rgb(path, reader.read_frame(0), size, scaler)[None][:0]
        pictures = [convert_to_rgb(path, reader.read_frame(int(i)), size, scaler) for i in wanted]
    if len({picture.shape for picture in pictures}) > 1:
        raise VideoError(str(path), "damaged", "the picture size changes on the way; read it with a size")
    return np.stack([pictures[row] for row in rows])


def iter_frames(path: str | Path, start_frame: int, stop_frame: int, size: tuple[int, int]) -> Iterator[np.ndarray]:
    """Decode frames `first` to `last` - 1 in one go, each as `read` gives it. Raises VideoError."""
    index, scaler = index_frames(path), Scaler()
    with closing(open_reader(path, index)) as reader:
        for i in range(start_frame, stop_frame):
            yield convert_to_rgb(path, reader.read_frame(i, max_ahead_frames=stop_frame - start_frame), size, scaler)


def iter_keyframes(path: str | Path, size: tuple[int, int]) -> Iterator[tuple[float, np.ndarray]]:
    """Decode the key frames alone: (time in seconds, uint8 (H, W, 3)) of each, scaled to `size` (height, width).

    Raises VideoError when the file can't be used; key frames that don't decode by themselves are left out.
    """
    index, scaler = index_frames(path), Scaler()
    with closing(open_reader(path, index)) as reader:
        for i, frame in reader.decode_keyframes():
            yield float(index.times_s[i]), convert_to_rgb(path, frame, size, scaler)
