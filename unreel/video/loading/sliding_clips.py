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
from unreel.video.sampling.timeline import ClipSpec, build_timeline, count_starts, get_clip_frames

CHUNK_CLIPS = 64  # clips that are in memory at a time, of each loader process


def compute_sliding_starts(timeline: np.ndarray, times_s: np.ndarray, spec: ClipSpec, hop_s: float) -> list[int]:
    """Timeline entries at which clips begin: one every `hop_s` seconds (0: half a clip), the last one to the end."""
    last = count_starts(timeline, spec) - 1
    tick_s = float(times_s[timeline[-1]] - times_s[timeline[0]]) / max(1, len(timeline) - 1)
    hop = max(1.0, hop_s / tick_s if hop_s and tick_s else spec.num_frames / 2)
    return sorted({round(k * hop) for k in range(int(last / hop) + 1)} | {last})


def compute_spans(times_s: np.ndarray, clips: list[np.ndarray], lead_in: int) -> np.ndarray:
    """First and last second that each clip shows, float64 (K, 2)."""
    frame_s = float(np.median(np.diff(times_s))) if len(times_s) > 1 else 0.0
    shown = np.stack(clips)[:, lead_in:]
    return np.stack([times_s[shown.min(axis=1)], times_s[shown.max(axis=1)] + frame_s], axis=1)


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
