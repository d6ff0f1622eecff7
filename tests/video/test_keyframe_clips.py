"""Clips around a moment have it in the middle; what lies outside of the video or can't be read is a failure."""

from pathlib import Path

import numpy as np
import pytest
from videos import encode, numbers

from unreel.types import FileFailure, Instance
from unreel.video.loading.keyframe_clips import KeyframeClipDataset
from unreel.video.sampling.clip_sampling import sample_centred_clip
from unreel.video.sampling.clip_spec import ClipSpec


def slow_centred(times_s: list[float], spec: ClipSpec, at_s: float) -> list[int]:
    """The last frame shown at each tick around the moment, or every n-th around the frame shown then."""
    shown = lambda t: max([n for n, s in enumerate(times_s) if s <= t + 1e-4] or [0])  # noqa: E731
    clip = []
    for k in range(-spec.lead_in - spec.num_frames // 2, spec.num_frames - spec.num_frames // 2):
        number = shown(at_s + k / spec.fps) if spec.fps else shown(at_s) + k * spec.stride_frames
        clip.append(min(max(number, 0), len(times_s) - 1))
    return clip


@pytest.mark.parametrize("at_s", [0.0, 0.1, 1.0, 1.03, 2.96])
@pytest.mark.parametrize(
    "spec", [ClipSpec(8), ClipSpec(5, stride_frames=3), ClipSpec(8, 10.0, 0), ClipSpec(7, 12.5, 0, lead_in=1)]
)
def test_a_centred_clip_surrounds_its_moment(at_s: float, spec: ClipSpec) -> None:
    times = np.arange(75) / 25
    clip = sample_centred_clip(times, spec, at_s)
    assert clip.tolist() == slow_centred(times.tolist(), spec, at_s)
    assert clip[spec.lead_in + spec.num_frames // 2] == int(at_s * 25 + 1e-6)


def test_keyframe_clips_are_decoded_or_name_the_failure(tmp_path: Path) -> None:
    path = str(encode(tmp_path / "a.mp4", 50))
    instances = [Instance(path, 0, at, at) for at in (1.0, 2.5, 0.0)]
    instances.append(Instance(str(tmp_path / "b.mp4"), 0, 1.0, 1.0))
    clips = KeyframeClipDataset(instances, ClipSpec(4), 64)
    middle, beyond, start, missing = (clips[0, n] for n in range(4))
    assert numbers(middle.frames[0]) == [23, 24, 25, 26]
    assert numbers(start.frames[0]) == [0, 0, 0, 1]
    assert middle.frames.shape == (1, 4, 64, 64, 3)
    detail = "the keyframe at 2.5 s is not in the video, which ends at 2 s"
    assert beyond.failure == FileFailure(path, "too short", detail)
    assert missing.failure.reason == "missing"
