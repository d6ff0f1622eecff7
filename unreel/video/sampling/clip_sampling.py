"""Choose the frames of clips: at random, as a pair, evenly spread, sliding, or around a moment."""

import numpy as np

from unreel.video.sampling.clip_spec import ClipSpec
from unreel.video.sampling.pair_sampling import IntervalDistribution, sample_start_pair
from unreel.video.sampling.timeline import compute_frame_duration, count_starts, find_frames_at, get_clip_frames


def sample_start(timeline: np.ndarray, spec: ClipSpec, u: float) -> int:
    """A timeline entry to begin a clip at, for a uniform number u in [0, 1): all are equally likely.

    Source: BestJuly/IIC, [0, length - 16] inclusive.
    """
    return int(u * count_starts(timeline, spec))


def sample_random_clip(candidates: np.ndarray, spec: ClipSpec, u: float) -> np.ndarray:
    """Frame numbers of a clip for a uniform number u in [0, 1); each possible first frame is equally likely.

    `candidates` are the frames that `list_candidate_frames` returns for the segment. With `border`, each possible
    middle frame (frame num_frames // 2 of the clip) is equally likely, and frames beyond the ends repeat the border.
    Source of the latter: lzhangbj/DualVar, pre-training.
    """
    if spec.short == "border":
        steps = np.arange(spec.total_frames) - spec.lead_in - spec.num_frames // 2
        entries = int(u * len(candidates)) + steps * max(1, spec.stride_frames)
        return candidates[entries.clip(0, len(candidates) - 1)]
    if spec.stride_frames == 0:
        return get_clip_frames(candidates, sample_start(candidates, spec, u), spec)
    first = int(u * max(1, len(candidates) - (spec.total_frames - 1) * spec.stride_frames))
    return get_clip_frames(candidates[first :: spec.stride_frames], 0, spec)


def sample_clip_pair(
    candidates: np.ndarray, spec: ClipSpec, interval: IntervalDistribution, u: np.ndarray
) -> list[np.ndarray]:
    """Frame numbers of two clips at a distance drawn from `interval`, for three uniforms u in [0, 1).

    In a video shorter than a clip, both clips begin anywhere and wrap around, or begin at frame 0 and hold the last.
    Source: tensorflow/models video_ssl.
    """
    step = max(1, spec.stride_frames)
    num_starts = len(candidates) - (spec.total_frames - 1) * step
    if num_starts < 1 and spec.short != "loop":
        return [sample_random_clip(candidates, spec, 0.0)] * 2
    if num_starts < 1:
        starts = (int(u[0] * len(candidates)), int(u[1] * len(candidates)))
    else:
        starts = sample_start_pair(num_starts, interval.kind, interval.power, u)
    return [candidates[(start + step * np.arange(spec.total_frames)) % len(candidates)] for start in starts]


def sample_uniform_clips(candidates: np.ndarray, spec: ClipSpec, num_clips: int) -> list[np.ndarray]:
    """Frame numbers of `num_clips` evenly spread clips, from the first frame of the segment to its last.

    >>> [clip.tolist() for clip in sample_uniform_clips(np.arange(10), ClipSpec(4), num_clips=2)]
    [[0, 1, 2, 3], [6, 7, 8, 9]]
    """
    timeline = candidates[:: max(1, spec.stride_frames)]
    return [get_clip_frames(timeline, start, spec) for start in compute_uniform_starts(timeline, spec, num_clips)]


def compute_uniform_starts(timeline: np.ndarray, spec: ClipSpec, num_clips: int) -> list[int]:
    """Evenly spread timeline entries; for 10 clips of 16 frames `int(c - 8) for c in linspace(8, L - 8, 10)`.

    Source: BestJuly/IIC, retrieval script; we keep the last frame of the video, which it drops.
    """
    return [int(s) for s in np.linspace(0, count_starts(timeline, spec) - 1, num_clips)]


def compute_sliding_starts(timeline: np.ndarray, times_s: np.ndarray, spec: ClipSpec, hop_s: float) -> list[int]:
    """Timeline entries of a clip every `hop_s` seconds (0: every half clip), and of one that ends at the last frame."""
    last = count_starts(timeline, spec) - 1
    tick_s = float(times_s[timeline[-1]] - times_s[timeline[0]]) / max(1, len(timeline) - 1)
    hop = max(1.0, hop_s / tick_s if hop_s and tick_s else spec.num_frames / 2)
    return sorted({round(k * hop) for k in range(int(last / hop) + 1)} | {last})


def sample_centred_clip(times_s: np.ndarray, spec: ClipSpec, at_s: float) -> np.ndarray:
    """Frame numbers of the clip around second `at_s`, int64 (total_frames,): entry lead_in + num_frames // 2 shows it.

    Beyond the ends of the video its first or last frame is repeated, so that the moment keeps its place in the clip.

    >>> sample_centred_clip(np.arange(50) / 25, ClipSpec(4), at_s=1.0).tolist()
    [23, 24, 25, 26]
    """
    steps = np.arange(spec.total_frames) - spec.lead_in - spec.num_frames // 2
    ticks_s = at_s + (steps / spec.fps if spec.fps > 0 else 0 * steps)
    frames = find_frames_at(times_s, ticks_s, compute_frame_duration(times_s, default_s=1.0))
    return np.clip(frames + steps * max(0, spec.stride_frames), 0, len(times_s) - 1)
