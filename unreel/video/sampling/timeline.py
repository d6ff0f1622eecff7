"""Clip-time arithmetic, apart from decoding: which frames of a file make a clip, and which seconds a clip shows.

A *timeline* is the list of frame numbers of a file at the clip's own rate: every n-th frame for a stride, or the frame
on screen at each tick for a rate in frames per second, so that clips of 60 fps and of 25 fps footage are alike. A clip
is a window of consecutive timeline entries.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from unreel.video.sampling.clip_spec import ClipSpec

TIMESTAMP_TOLERANCE_S = 1e-3  # containers round time stamps (Matroska to 1 ms): a frame this late is still in time


def compute_frame_duration(times_s: np.ndarray, default_s: float) -> float:
    """Median seconds from one frame to the next; `default_s` for a single frame."""
    return float(np.median(np.diff(times_s))) if len(times_s) > 1 else default_s


def find_frames_at(times_s: np.ndarray, ticks_s: np.ndarray, frame_s: float) -> np.ndarray:
    """The last frame shown at or before each tick, int64 (L,); -1 before the first. `frame_s` is a frame's duration."""
    tolerance_s = min(TIMESTAMP_TOLERANCE_S, frame_s / 4)
    return np.searchsorted(times_s, ticks_s + tolerance_s + 1e-6, side="right") - 1


def build_timeline(
    times_s: np.ndarray, spec: ClipSpec, start_s: float = 0.0, end_s: float = float("inf"), phase: int = 0
) -> np.ndarray:
    """Frame numbers at the clip's rate within [start_s, end_s); int64 (L,), L >= 1.

    `times_s` are the presentation times of all frames, ascending. With a stride, `phase` (0 .. stride - 1) is the
    offset of the first frame. With a rate, each tick takes the last frame shown at or before it.

    >>> build_timeline(np.arange(50) / 25, ClipSpec(fps=5.0, stride_frames=0)).tolist()
    [0, 5, 10, 15, 20, 25, 30, 35, 40, 45]
    """
    first = int(np.searchsorted(times_s, start_s - 1e-6))
    last = int(np.searchsorted(times_s, end_s - 1e-6))
    if first == last:  # no frame begins in the segment; the one before it is on screen
        first = max(0, first - 1)
        last = first + 1
    if spec.stride_frames > 0:
        return np.arange(min(first + phase, last - 1), last, spec.stride_frames)
    frame_s = compute_frame_duration(times_s, default_s=1.0 / spec.fps)
    length_s = times_s[last - 1] + frame_s - times_s[first]
    ticks_s = times_s[first] + np.arange(max(1, round(length_s * spec.fps))) / spec.fps
    return np.clip(find_frames_at(times_s, ticks_s, frame_s), first, last - 1)


def list_candidate_frames(times_s: np.ndarray, spec: ClipSpec, start_s: float, end_s: float) -> np.ndarray:
    """Frame numbers that clips of the segment may show, int64 (L,): all frames, or those at the clip's rate."""
    return build_timeline(times_s, spec if spec.stride_frames == 0 else replace(spec, stride_frames=1), start_s, end_s)


def get_clip_frames(timeline: np.ndarray, start: int, spec: ClipSpec) -> np.ndarray:
    """Frame numbers of the clip that begins at timeline entry `start`; int64 (total_frames,)."""
    entries = start + np.arange(spec.total_frames)
    if spec.short == "loop":
        return timeline[entries % len(timeline)]
    return timeline[np.minimum(entries, len(timeline) - 1)]


def count_starts(timeline: np.ndarray, spec: ClipSpec) -> int:
    """Number of timeline entries at which a clip can begin and fit; 1 for a short video."""
    return max(1, len(timeline) - spec.total_frames + 1)


def compute_spans(times_s: np.ndarray, clips: Sequence[np.ndarray], lead_in: int) -> np.ndarray:
    """First and last second that each clip shows, float64 (V, 2); a looped clip spans the whole short video.

    >>> compute_spans(np.arange(50) / 25, [np.array([10, 20, 30])], lead_in=0).tolist()
    [[0.4, 1.24]]
    """
    frame_s = compute_frame_duration(times_s, default_s=0.0)
    frames_VT = np.stack(clips)[:, lead_in:]
    return np.stack([times_s[frames_VT.min(axis=1)], times_s[frames_VT.max(axis=1)] + frame_s], axis=1)
