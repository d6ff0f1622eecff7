"""Clip-time arithmetic, apart from decoding: which frames of a file make a clip.

A *timeline* is the list of real frame numbers at the clip's own rate: every n-th frame for a stride, or the frame on
screen at each tick for a rate in frames per second, so that 60 fps and 25 fps footage mean the same. A clip is a
window of consecutive timeline entries.
"""

from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from unreel.errors import InputError
from unreel.video.sampling.pair_sampling import IntervalDistribution, sample_start_pair

ShortVideoPolicy = Literal["loop", "hold"]
MAX_FPS = 1000.0
TIMESTAMP_TOLERANCE_S = (
    1e-3  # containers round stamps, Matroska to a millisecond: so near after its tick a frame is in time
)


@dataclass(frozen=True)
class ClipSpec:
    """So many frames at so many frames per second, or at a stride when `stride_frames` is above 0.

    `lead_in` frames are read before the first, for views that look one frame back (see views/residual_frames.py).
    `short` names what happens to a video that is shorter than a clip: `loop` it, or `hold` its last frame.
    """

    num_frames: int = 16
    fps: float = 0.0
    stride_frames: int = 1
    lead_in: int = 0
    short: ShortVideoPolicy = "loop"

    def __post_init__(self) -> None:
        if self.num_frames < 1:
            raise InputError(f"a clip needs at least 1 frame, got num_frames={self.num_frames}")
        if self.short not in get_args(ShortVideoPolicy):
            raise InputError(f"short must be one of {', '.join(get_args(ShortVideoPolicy))}, got '{self.short}'")
        if not 0 <= self.fps <= MAX_FPS:
            raise InputError(f"frames per second must lie between 0 and {MAX_FPS}, got fps={self.fps}")
        if (self.fps > 0) == (self.stride_frames > 0):
            raise InputError(
                f"say either fps or stride_frames (0 turns one off): got {self.fps} and {self.stride_frames}"
            )

    @property
    def total_frames(self) -> int:
        """Timeline entries that one clip covers."""
        return self.num_frames + self.lead_in

    def duration_s(self, native_fps: float) -> float:
        """Seconds that one clip covers in a file of `native_fps`."""
        return self.num_frames / self.fps if self.fps > 0 else self.num_frames * self.stride_frames / native_fps


def build_timeline(
    times_s: np.ndarray, spec: ClipSpec, start_s: float = 0.0, end_s: float = float("inf"), phase: int = 0
) -> np.ndarray:
    """Real frame numbers at the clip's rate within [start_s, end_s); int64 (L,), L >= 1.

    `times_s` are the presentation times of all frames, ascending. With a stride, `phase` (0 .. stride-1) is the
    offset of the first frame. With a rate, each tick takes the last frame shown at or before it.
    """
    first = int(np.searchsorted(times_s, start_s - 1e-6))
    last = int(np.searchsorted(times_s, end_s - 1e-6))
    if first == last:  # no frame begins in the segment: it shows the one from before
        first = max(0, first - 1)
        last = first + 1
    if spec.stride_frames > 0:
        return np.arange(min(first + phase, last - 1), last, spec.stride_frames)
    frame_s = float(np.median(np.diff(times_s))) if len(times_s) > 1 else 1.0 / spec.fps
    length_s = times_s[last - 1] + frame_s - times_s[first]
    ticks_s = times_s[first] + np.arange(max(1, round(length_s * spec.fps))) / spec.fps
    shown = np.searchsorted(times_s, ticks_s + min(TIMESTAMP_TOLERANCE_S, frame_s / 4) + 1e-6, side="right") - 1
    return np.clip(shown, first, last - 1)


def get_clip_frames(timeline: np.ndarray, start: int, spec: ClipSpec) -> np.ndarray:
    """Real frame numbers of the clip that begins at timeline entry `start`; int64 (span,)."""
    entries = start + np.arange(spec.total_frames)
    if spec.short == "loop":
        return timeline[entries % len(timeline)]
    return timeline[np.minimum(entries, len(timeline) - 1)]


def count_starts(timeline: np.ndarray, spec: ClipSpec) -> int:
    """How many different starts a clip can have without leaving the timeline; 1 for a short video."""
    return max(1, len(timeline) - spec.total_frames + 1)


def sample_start(timeline: np.ndarray, spec: ClipSpec, u: float) -> int:
    """Uniform start for a uniform number u in [0, 1): IIC's release, [0, length - 16] inclusive."""
    return int(u * count_starts(timeline, spec))


def sample_random_clip(candidates: np.ndarray, spec: ClipSpec, u: float) -> np.ndarray:
    """Real frame numbers of a clip for a uniform number u in [0, 1); each frame it can begin with is equally likely.

    `every` is what `every_frame` says of the segment.
    """
    if spec.stride_frames == 0:
        return get_clip_frames(candidates, sample_start(candidates, spec, u), spec)
    first = int(u * max(1, len(candidates) - (spec.total_frames - 1) * spec.stride_frames))
    return get_clip_frames(candidates[first :: spec.stride_frames], 0, spec)


def sample_clip_pair(
    candidates: np.ndarray, spec: ClipSpec, interval: IntervalDistribution, u: np.ndarray
) -> list[np.ndarray]:
    """Real frame numbers of two clips at a distance drawn from `interval`, for three uniforms u in [0, 1).

    A video too short for one clip has no distances: both clips begin anywhere and wrap around, or hold from frame 0.
    Source: tensorflow/models video_ssl.
    """
    step = max(1, spec.stride_frames)
    room = len(candidates) - (spec.total_frames - 1) * step
    if room < 1 and spec.short == "hold":
        return [sample_random_clip(candidates, spec, 0.0)] * 2
    if room < 1:
        starts = (int(u[0] * len(candidates)), int(u[1] * len(candidates)))
    else:
        starts = sample_start_pair(room, interval.kind, interval.power, u)
    return [candidates[(start + step * np.arange(spec.total_frames)) % len(candidates)] for start in starts]


def sample_uniform_clips(candidates: np.ndarray, spec: ClipSpec, num_clips: int) -> list[np.ndarray]:
    """Real frame numbers of so many clips from the first frame of the segment to its last."""
    line = candidates[:: max(1, spec.stride_frames)]
    return [get_clip_frames(line, start, spec) for start in compute_uniform_starts(line, spec, num_clips)]


def list_candidate_frames(times_s: np.ndarray, spec: ClipSpec, start_s: float, end_s: float) -> np.ndarray:
    """Real frame numbers that any clip of the segment may show, int64 (L,): all of them, or those of a rate."""
    return build_timeline(times_s, spec if spec.stride_frames == 0 else replace(spec, stride_frames=1), start_s, end_s)


def compute_uniform_starts(timeline: np.ndarray, spec: ClipSpec, num_clips: int) -> list[int]:
    """Evenly spread starts, `int(c - 8) for c in linspace(8, L - 8, 10)` for 16 frames.

    Source: BestJuly/IIC, retrieval script (ours keeps the last frame of the video, which the release drops).
    """
    return [int(s) for s in np.linspace(0, count_starts(timeline, spec) - 1, num_clips)]
