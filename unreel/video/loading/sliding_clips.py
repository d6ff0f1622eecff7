"""Clips that slide over a whole video: one every so many seconds, so that each moment of it is in some clip.

A long video comes in chunks of clips, so that memory is bounded; a chunk is decoded in one pass from where it begins.
"""

from collections.abc import Callable, Sequence

import numpy as np

from unreel.errors import VideoError
from unreel.types import FileFailure, Instance
from unreel.video.decoding.decoder import read_frames
from unreel.video.decoding.packet_index import index_frames
from unreel.video.loading.clip_dataset import ClipDataset, ClipSample, decode_clips
from unreel.video.sampling.clip_sampling import compute_sliding_starts
from unreel.video.sampling.clip_spec import ClipSpec
from unreel.video.sampling.timeline import build_timeline, compute_spans, get_clip_frames

CHUNK_CLIPS = 64  # clips that are in memory at a time, of each loader process


class SlidingClipDataset(ClipDataset):
    """A chunk of the clips of a video for each (video, number of the chunk), `spans_s` (K, 2) always those of all K."""

    def __init__(
        self, chunks: Sequence[tuple[Instance, int]], spec: ClipSpec, size: tuple[int, int], hop_s: float
    ) -> None:
        super().__init__([instance for instance, _ in chunks], spec, size, CHUNK_CLIPS)
        self.chunk_numbers, self.hop_s = [number for _, number in chunks], hop_s

    def load_sample(self, epoch: int, index: int) -> ClipSample:
        """The frames of a chunk's clips; a sample without when the file can't be read."""
        path, first = self.instances[index].path, self.chunk_numbers[index] * CHUNK_CLIPS
        decode: Callable[[np.ndarray], np.ndarray] = lambda wanted: read_frames(path, wanted, self.size)  # noqa: E731
        try:
            times_s = index_frames(path).times_s
            line = build_timeline(times_s, self.spec)
            starts = compute_sliding_starts(line, times_s, self.spec, self.hop_s)
            clips = [get_clip_frames(line, start, self.spec) for start in starts]
            frames = decode_clips(decode, clips[first : first + CHUNK_CLIPS])
        except VideoError as error:
            return ClipSample(index, epoch, None, failure=FileFailure.from_error(error))
        return ClipSample(index, epoch, frames, compute_spans(times_s, clips, self.spec.lead_in))
