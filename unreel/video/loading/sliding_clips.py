"""Sliding clips over whole videos: one every few seconds, so that every moment is in some clip.

A long video is read in chunks of clips, so that memory is bounded; each chunk is decoded in one pass.
"""

from collections.abc import Sequence

from unreel.errors import VideoError
from unreel.types import FileFailure, Instance
from unreel.video.decoding.decoder import read_frames
from unreel.video.decoding.packet_index import index_frames
from unreel.video.loading.clip_dataset import ClipDataset, ClipSample, decode_clips
from unreel.video.sampling.clip_sampling import compute_sliding_starts
from unreel.video.sampling.clip_spec import ClipSpec
from unreel.video.sampling.timeline import build_timeline, compute_spans, get_clip_frames

CHUNK_CLIPS = 64  # clips in memory at a time, in each loader process


class SlidingClipDataset(ClipDataset):
    """One chunk of clips of a video per (instance, chunk number); `spans_s` (K, 2) has all K clips of the video."""

    def __init__(
        self, chunks: Sequence[tuple[Instance, int]], spec: ClipSpec, size: tuple[int, int], hop_s: float
    ) -> None:
        super().__init__([instance for instance, _ in chunks], spec, size, CHUNK_CLIPS)
        self.chunk_numbers, self.hop_s = [number for _, number in chunks], hop_s

    @property
    def items(self) -> list[tuple[Instance, int]]:
        return list(zip(self.instances, self.chunk_numbers, strict=True))

    def replace_items(self, items: Sequence[tuple[Instance, int]]) -> "SlidingClipDataset":
        return SlidingClipDataset(items, self.spec, self.size, self.hop_s)

    def load_sample(self, epoch: int, index: int) -> ClipSample:
        """Decode the clips of a chunk; the sample has a failure instead when the file can't be read."""
        path, first = self.instances[index].path, self.chunk_numbers[index] * CHUNK_CLIPS
        try:
            times_s = index_frames(path).times_s
            timeline = build_timeline(times_s, self.spec)
            starts = compute_sliding_starts(timeline, times_s, self.spec, self.hop_s)
            clips = [get_clip_frames(timeline, start, self.spec) for start in starts]
            chunk = clips[first : first + CHUNK_CLIPS]
            frames = decode_clips(lambda numbers: read_frames(path, numbers, self.size), chunk)
        except VideoError as error:
            return ClipSample(index, epoch, None, failure=FileFailure.from_error(error))
        return ClipSample(index, epoch, frames, compute_spans(times_s, clips, self.spec.lead_in))
