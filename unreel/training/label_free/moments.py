"""Moments of held-out videos for the label-free monitors: decoded once for all monitors of a run."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from unreel.models.encoder.spec import EncoderSpec
from unreel.types import Instance
from unreel.video.loading.clip_dataset import CandidateFrames, ClipDataset, ClipSample
from unreel.video.loading.loaders import build_sequential_loader
from unreel.video.sampling.clip_sampling import compute_uniform_starts
from unreel.video.sampling.clip_spec import ClipSpec
from unreel.video.sampling.timeline import count_starts, get_clip_frames

MAX_MOMENTS = 4  # of a video
MIN_SHIFT = 0.45  # of a clip, between moments that are told apart: half a clip, but for rounding to frames
MAX_TESTED_VIDEOS = 64  # that the label-free tests are made on at a monitor
MAX_CACHE_BYTES = 256 * 2**20  # decoded clips that stay in memory; the others are decoded at each monitor


@dataclass(frozen=True)
class VideoMoments:
    """Clips of one video in the order of time, uint8 (K, lead_in + T, H, W, C), K at least 2.

    `is_spread`: neighbours begin about half a clip apart or more, so that a moment can be told from the others.
    `is_tested`: one of the videos that the label-free tests are made on; of the others the two ends are embedded.
    """

    instance: Instance
    clips: np.ndarray
    is_spread: bool
    is_tested: bool = True


class MomentDataset(ClipDataset):
    """The first clip of each instance, its last, and so many between them that neighbours are half a clip apart."""

    def __init__(self, instances: Sequence[Instance], spec: EncoderSpec) -> None:
        super().__init__(instances, spec.clip, spec.views.resize_hw, MAX_MOMENTS)

    def sample_clips(self, candidates: CandidateFrames, epoch: int, index: int, draw: int = 0) -> list[np.ndarray]:
        """The frame numbers of each moment of an instance."""
        timeline = candidates.frame_numbers[:: max(1, self.spec.stride_frames)]
        starts = compute_uniform_starts(timeline, self.spec, count_moments(timeline, self.spec))
        return [get_clip_frames(timeline, start, self.spec) for start in starts]


def count_moments(timeline: np.ndarray, spec: ClipSpec) -> int:
    """How many moments a video has: 2 to MAX_MOMENTS, by its length.

    >>> [count_moments(np.arange(length), ClipSpec(8)) for length in (8, 12, 20, 250)]
    [2, 2, 4, 4]
    """
    return min(MAX_MOMENTS, max(2, 1 + (count_starts(timeline, spec) - 1) // max(1, spec.num_frames // 2)))


class MomentReader:
    """The moments of all videos that are long enough for two different clips, in their order, as often as wanted.

    Clips stay in memory up to `max_bytes`; the rest is decoded again at each pass. Files that can't be decoded are left
    out. At most `max_tested` videos, evenly spread over the list, are marked for the tests.
    """

    def __init__(
        self,
        instances: Sequence[Instance],
        spec: EncoderSpec,
        max_bytes: int = MAX_CACHE_BYTES,
        max_tested: int = MAX_TESTED_VIDEOS,
    ) -> None:
        self.instances, self.spec, self.max_bytes = list(instances), spec, max_bytes
        count = len(self.instances)
        self.tested = set(np.linspace(0, count - 1, min(max_tested, count)).round().astype(int).tolist())
        self.cached: list[VideoMoments | None] = []
        self.num_bytes = 0

    def __iter__(self) -> Iterator[VideoMoments]:
        yield from [moments for moments in self.cached if moments is not None]
        first = len(self.cached)
        rest = self.instances[first:]
        for sample in build_sequential_loader(MomentDataset(rest, self.spec), workers=1) if rest else ():
            moments = build_moments(rest[sample.index], sample, first + sample.index in self.tested)
            self.num_bytes += moments.clips.nbytes if moments else 0
            if self.num_bytes <= self.max_bytes:
                self.cached.append(moments)
            if moments:
                yield moments


def build_moments(instance: Instance, sample: ClipSample, is_tested: bool) -> VideoMoments | None:
    """The moments of a decoded sample; None for a video that can't be read, or that has one clip only."""
    if sample.frames is None or sample.spans_s is None:
        return None
    spans_s, clips = np.asarray(sample.spans_s), np.asarray(sample.frames).copy()
    if np.array_equal(spans_s[0], spans_s[-1]):
        return None
    clip_s = float((spans_s[:, 1] - spans_s[:, 0]).max())
    is_spread = float(np.diff(spans_s[:, 0]).min()) >= MIN_SHIFT * clip_s
    return VideoMoments(instance, clips, is_spread, is_tested)
