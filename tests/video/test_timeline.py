"""Which frames make a timeline and a clip: rates, segments, short videos, compared with slow loops."""

import numpy as np
import pytest

from unreel.errors import InputError
from unreel.video.sampling.clip_sampling import (
    compute_uniform_starts,
    sample_start,
)
from unreel.video.sampling.clip_spec import ClipSpec
from unreel.video.sampling.timeline import build_timeline, count_starts, get_clip_frames

ROUNDING_S = 1.1e-3  # containers round time stamps to a millisecond: a frame this late is in time


def at_rate(fps: float, num_frames: int = 16) -> ClipSpec:
    return ClipSpec(num_frames, fps=fps, stride_frames=0)


def steady(fps: float, duration_s: float) -> np.ndarray:
    return np.arange(round(duration_s * fps)) / fps


def jerky(seed: int, num_frames: int = 300) -> np.ndarray:
    """Times of frames that last 5 to 200 ms."""
    gaps_s = np.random.default_rng(seed).uniform(0.005, 0.2, num_frames - 1)
    return np.concatenate([[0.0], np.cumsum(gaps_s)])


@pytest.mark.parametrize(
    "options",
    [
        {"num_frames": 0},
        {"fps": 12.5, "stride_frames": 1},
        {"fps": 0.0, "stride_frames": 0},
        {"short": "loops"},
    ],
)
def test_impossible_specs_are_refused(options: dict) -> None:
    with pytest.raises(InputError):
        ClipSpec(**options)


@pytest.mark.parametrize("stride", [1, 2, 3, 7])
def test_a_stride_takes_every_nth_frame_from_its_phase(stride: int) -> None:
    for phase in range(stride):
        line = build_timeline(steady(25, 2), ClipSpec(stride_frames=stride), phase=phase)
        assert line.tolist() == [i for i in range(50) if i % stride == phase]


def test_a_phase_never_leaves_the_file() -> None:
    assert build_timeline(steady(25, 0.08), ClipSpec(stride_frames=5), phase=4).tolist() == [1]
    assert build_timeline(np.zeros(1), ClipSpec(stride_frames=5), phase=4).tolist() == [0]


def test_60_and_25_fps_footage_show_the_same_moments() -> None:
    fast_s, slow_s = steady(60, 10), steady(25, 10)
    fast, slow = build_timeline(fast_s, at_rate(12.5)), build_timeline(slow_s, at_rate(12.5))
    ticks_s = np.arange(125) / 12.5
    assert len(fast) == len(slow) == 125
    np.testing.assert_array_equal(slow, np.arange(0, 250, 2))
    late_s = ticks_s - fast_s[fast]
    assert late_s.min() > -ROUNDING_S and late_s.max() < 1 / 60
    np.testing.assert_allclose(slow_s[slow], ticks_s, atol=1e-9)


def test_a_rate_above_the_files_own_shows_frames_again() -> None:
    assert build_timeline(steady(10, 0.5), at_rate(20)).tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


@pytest.mark.parametrize("tick_s", [1e-3, 1 / 90_000])
@pytest.mark.parametrize("native", [24_000 / 1001, 24.0, 30_000 / 1001, 30.0, 60.0])
@pytest.mark.parametrize("share", [1, 2])
def test_stamps_rounded_by_the_container_do_not_make_the_clip_stutter(tick_s: float, native: float, share: int) -> None:
    """Matroska and FLV round to milliseconds, MPEG-TS to 1/90000 s: the n-th frame must stay the n-th frame."""
    times_s = np.round(steady(native, 20) / tick_s) * tick_s
    line = build_timeline(times_s, at_rate(native / share))
    np.testing.assert_array_equal(line, np.arange(0, len(times_s), share)[: len(line)])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("span_s", [(0.0, float("inf")), (5.0, 12.0)])
def test_uneven_frames_are_sampled_by_what_is_on_screen(seed: int, span_s: tuple[float, float]) -> None:
    times_s, fps = jerky(seed), 12.5
    line = build_timeline(times_s, at_rate(fps), *span_s)
    inside = [i for i, t in enumerate(times_s) if span_s[0] <= t < span_s[1]]
    for k, frame in enumerate(line.tolist()):
        tick_s = times_s[inside[0]] + k / fps
        shown = [i for i in inside if times_s[i] <= tick_s]
        assert frame == shown[-1] or (frame == shown[-1] + 1 and times_s[frame] < tick_s + ROUNDING_S)
    length_s = times_s[inside[-1]] - times_s[inside[0]]
    assert length_s * fps <= len(line) <= (length_s + 0.2) * fps + 1


@pytest.mark.parametrize("spec", [ClipSpec(), at_rate(12.5), at_rate(1000)])
def test_segments_share_no_frame_and_stay_inside(spec: ClipSpec) -> None:
    for times_s in (jerky(0), steady(25, 30), steady(30_000 / 1001, 30)):
        edges_s = np.linspace(0, times_s[-1] + 0.04, 5)
        lines = [build_timeline(times_s, spec, a, b) for a, b in zip(edges_s[:-1], edges_s[1:], strict=True)]
        for line, start_s, end_s in zip(lines, edges_s[:-1], edges_s[1:], strict=True):
            assert (times_s[line] >= start_s).all() and (times_s[line] < end_s).all()
        if spec.stride_frames == 1 or spec.fps == 1000:
            assert np.unique(np.concatenate(lines)).tolist() == list(range(len(times_s)))


def test_a_segment_that_begins_on_a_frame_has_it_and_ends_before_the_next() -> None:
    times_s = steady(25, 10)
    for first, last in ((0, 1), (50, 75), (3, 249)):
        assert build_timeline(times_s, ClipSpec(), 0.04 * first, 0.04 * last).tolist() == list(range(first, last))


def test_a_segment_in_which_no_frame_begins_shows_the_one_on_screen() -> None:
    """A slide show: frames at 0, 5 and 30 s; from 10 to 20 s the frame of 5 s is on screen."""
    times_s = np.array([0.0, 5.0, 30.0, 30.04])
    assert set(build_timeline(times_s, ClipSpec(), 10.0, 20.0).tolist()) == {1}
    assert set(build_timeline(times_s, at_rate(2), 10.0, 20.0).tolist()) == {1}
    assert set(build_timeline(times_s, ClipSpec(), 40.0, 50.0).tolist()) == {3}


@pytest.mark.parametrize(
    ("short", "length", "frames"),
    [
        ("loop", 1, [0, 0, 0, 0, 0, 0]),
        ("hold", 1, [0, 0, 0, 0, 0, 0]),
        ("loop", 4, [0, 1, 2, 3, 0, 1]),
        ("hold", 4, [0, 1, 2, 3, 3, 3]),
        ("loop", 6, [0, 1, 2, 3, 4, 5]),
        ("hold", 6, [0, 1, 2, 3, 4, 5]),
    ],
)
def test_videos_shorter_than_a_clip(short: str, length: int, frames: list[int]) -> None:
    spec = ClipSpec(num_frames=6, short=short)
    line = 10 * build_timeline(steady(25, length / 25), spec)
    assert count_starts(line, spec) == 1
    assert get_clip_frames(line, 0, spec).tolist() == [10 * f for f in frames]
    assert compute_uniform_starts(line, spec, 3) == [0, 0, 0]
    assert sample_start(line, spec, 0.999) == 0


def test_a_single_frame_makes_a_clip_at_any_rate() -> None:
    for spec in (ClipSpec(), at_rate(12.5), ClipSpec(stride_frames=4)):
        line = build_timeline(np.zeros(1), spec, 0.0, 0.04)
        assert get_clip_frames(line, 0, spec).tolist() == [0] * 16


def test_the_lead_in_comes_before_the_clip_and_takes_no_frame_from_it() -> None:
    spec, line = ClipSpec(num_frames=4, lead_in=2), np.arange(0, 100, 2)
    assert spec.total_frames == 6
    assert get_clip_frames(line, 10, spec).tolist() == [20, 22, 24, 26, 28, 30]
    assert count_starts(line, spec) == 45
    assert get_clip_frames(line, 44, spec)[-1] == 98


def test_seconds_of_a_clip() -> None:
    assert at_rate(12.5).duration_s(60) == pytest.approx(1.28)
    assert ClipSpec(stride_frames=2).duration_s(25) == pytest.approx(1.28)
