"""Which clips are chosen: evenly spread, random, and pairs at a distance; compared with the releases and with loops."""

import numpy as np
import pytest
from scipy.stats import chisquare

from unreel.video.sampling.clip_sampling import (
    compute_uniform_starts,
    sample_clip_pair,
    sample_random_clip,
    sample_start,
)
from unreel.video.sampling.clip_spec import ClipSpec
from unreel.video.sampling.pair_sampling import IntervalDistribution, sample_start_pair
from unreel.video.sampling.timeline import get_clip_frames, list_candidate_frames


def steady(fps: float, duration_s: float) -> np.ndarray:
    """Times of the frames of a constant rate."""
    return np.arange(round(duration_s * fps)) / fps


def test_uniform_starts_are_those_of_the_release() -> None:
    """IIC's release, exactly, for every length up to three minutes."""
    for length in range(16, 4500):
        released = [int(c - 8) for c in np.linspace(8, length - 8, 10)]
        assert compute_uniform_starts(np.arange(length), ClipSpec(), 10) == released


@pytest.mark.parametrize("num_clips", [1, 2, 3, 10])
def test_uniform_starts_reach_from_the_first_frame_to_the_last(num_clips: int) -> None:
    spec, timeline = ClipSpec(lead_in=1), np.arange(77)
    starts = compute_uniform_starts(timeline, spec, num_clips)
    assert starts[0] == 0 and len(starts) == num_clips
    if num_clips > 1:
        assert get_clip_frames(timeline, starts[-1], spec)[-1] == 76
        assert np.ptp(np.diff(starts)) <= 1


@pytest.mark.parametrize("length", [17, 25, 40])
def test_random_starts_are_uniform_from_zero_to_length_less_16_inclusive(length: int) -> None:
    timeline, spec = np.arange(length), ClipSpec()
    us = np.random.default_rng(length).random(20_000)
    counts = np.bincount([sample_start(timeline, spec, u) for u in us])
    assert len(counts) == length - 16 + 1
    assert chisquare(counts).pvalue > 0.001


def test_the_ends_of_the_unit_interval_stay_inside() -> None:
    for length in range(16, 300):
        timeline, below_one = np.arange(length), float(np.nextafter(1.0, 0.0))
        assert sample_start(timeline, ClipSpec(), 0.0) == 0
        assert sample_start(timeline, ClipSpec(), below_one) == length - 16


ENDLESS = float("inf")
PAIR_SPECS = (ClipSpec(8), ClipSpec(8, stride_frames=2, lead_in=1), ClipSpec(8, fps=12.5, stride_frames=0))


@pytest.mark.parametrize("spec", PAIR_SPECS)
def test_a_pair_is_two_windows_of_whole_frames_at_the_drawn_distance(spec: ClipSpec) -> None:
    """Native frames for a stride, ticks for a rate; every window is one that a single clip could be."""
    times_s, step = steady(25, 4), max(1, spec.stride_frames)
    timeline = np.arange(100) if spec.stride_frames else np.arange(0, 100, 2)
    candidates = list_candidate_frames(times_s, spec, 0.0, ENDLESS)
    num_starts = len(timeline) - (spec.total_frames - 1) * step
    for u in np.random.default_rng(0).random((200, 3)):
        pair = sample_clip_pair(candidates, spec, IntervalDistribution("decreasing", 2.0), u)
        starts = sample_start_pair(num_starts, "decreasing", 2.0, u)
        for clip, start in zip(pair, starts, strict=True):
            assert clip.tolist() == [timeline[start + step * k] for k in range(spec.total_frames)]
            assert clip.tolist() == sample_random_clip(candidates, spec, (start + 0.5) / num_starts).tolist()
    last = sample_clip_pair(candidates, spec, IntervalDistribution("uniform"), np.array([1 - 1e-9, 0.0, 0.0]))
    assert (last[0][0], last[1][-1]) == (timeline[0], timeline[-1])


def test_a_pair_stays_in_its_segment() -> None:
    for u in np.random.default_rng(0).random((50, 3)):
        pair = sample_clip_pair(
            list_candidate_frames(steady(25, 10), ClipSpec(8), 2.0, 3.0),
            ClipSpec(8),
            IntervalDistribution("increasing"),
            u,
        )
        assert min(map(min, pair)) >= 50 and max(map(max, pair)) < 75


@pytest.mark.parametrize(("length", "num_starts"), [(14, 0), (15, 1), (16, 2)])
def test_a_video_just_too_short_for_a_clip_wraps_around(length: int, num_starts: int) -> None:
    """CVRL's release: 8 frames at stride 2 reach over 14; both starts are anywhere then, as in the release."""
    spec, us = ClipSpec(8, stride_frames=2), np.random.default_rng(0).random((2000, 3))
    candidates = list_candidate_frames(steady(25, length / 25), spec, 0.0, ENDLESS)
    pairs = [sample_clip_pair(candidates, spec, IntervalDistribution("decreasing"), u) for u in us]
    starts = np.array([[clip[0] for clip in pair] for pair in pairs])
    if num_starts:
        assert starts.max() == num_starts - 1 and all((np.diff(clip) == 2).all() for pair in pairs for clip in pair)
        return
    for pair in pairs[:50]:
        for clip in pair:
            assert clip.tolist() == [(clip[0] + 2 * k) % length for k in range(8)]
    for which in (0, 1):
        assert chisquare(np.bincount(starts[:, which], minlength=length)).pvalue > 1e-3
    assert abs(np.corrcoef(starts.T)[0, 1]) < 0.1


def test_a_video_that_is_too_short_is_held_from_its_first_frame() -> None:
    spec = ClipSpec(8, stride_frames=2, short="hold")
    candidates = list_candidate_frames(steady(25, 5 / 25), spec, 0.0, ENDLESS)
    for u in np.random.default_rng(0).random((20, 3)):
        for clip in sample_clip_pair(candidates, spec, IntervalDistribution("uniform"), u):
            assert clip.tolist() == [0, 2, 4, 4, 4, 4, 4, 4]


@pytest.mark.parametrize("length", [5, 40, 100])
def test_border_clips_have_their_middle_anywhere(length: int) -> None:
    """DualVar's release: (j - 8) * 4 + centre for j in 0 .. 15, cut off at the first and last frame."""
    spec = ClipSpec(16, stride_frames=4, short="border")
    for centre in range(length):
        expected = [min(max((j - 8) * 4 + centre, 0), length - 1) for j in range(16)]
        assert sample_random_clip(np.arange(length), spec, (centre + 0.5) / length).tolist() == expected
    assert sample_random_clip(np.arange(length), spec, float(np.nextafter(1.0, 0.0)))[8] == length - 1
    assert get_clip_frames(np.arange(3), 0, ClipSpec(5, short="border")).tolist() == [0, 1, 2, 2, 2]
