"""Instances to train on: a short video as a whole, a long one cut into segments of about 10 s within its shots."""

import itertools

import numpy as np

from unreel.corpus.manifest import Manifest
from unreel.errors import InputError
from unreel.types import Instance

SEGMENT_S = 10.0
LONG_VIDEO_SEGMENTS = 1.5  # a video longer than this many segments is cut


def build_instances(manifest: Manifest, segment_s: float = SEGMENT_S) -> list[Instance]:
    """One instance per unique video, or per segment of a video longer than 1.5 `segment_s` seconds (0: never cut).

    `Instance.video` numbers the recordings in the order of the manifest; pieces of one original share a number. Raises
    InputError for a negative `segment_s`.
    """
    if not segment_s >= 0:
        raise InputError(f"segments last some seconds, or 0 for whole videos, got segment_s={segment_s}")
    instances: list[Instance] = []
    numbers: dict[str, int] = {}
    for video in manifest.drop_duplicates():
        number = numbers.setdefault(video.recording or video.path, len(numbers))
        spans = [(0.0, video.duration_s)]
        if 0 < LONG_VIDEO_SEGMENTS * segment_s < video.duration_s:
            spans = cut_segments(video.duration_s, video.shot_changes_s, segment_s)
        for start_s, end_s in spans:
            instances.append(Instance(video.path, number, start_s, end_s, video.label, video.group, video.offset_s))
    return instances


def cut_segments(
    duration_s: float, shot_changes_s: tuple[float, ...], segment_s: float, min_shot_s: float = 1.0
) -> list[tuple[float, float]]:
    """Segments (start, end) in seconds that cover [0, duration_s) without gap or overlap and stay within a shot.

    A shot is cut into round(length / segment_s) equal parts, at least 1. A shot shorter than `min_shot_s` is joined to
    the next shot, the last one to the shot before.

    >>> cut_segments(24.0, (4.0,), segment_s=10.0)
    [(0.0, 4.0), (4.0, 14.0), (14.0, 24.0)]
    """
    edges_s = [0.0]
    for change_s in sorted(shot_changes_s):
        if min_shot_s <= change_s - edges_s[-1] and change_s <= duration_s - min_shot_s:
            edges_s.append(change_s)
    edges_s.append(duration_s)
    segments = []
    for start_s, end_s in itertools.pairwise(edges_s):
        bounds_s = np.linspace(start_s, end_s, max(1, round((end_s - start_s) / segment_s)) + 1).tolist()
        segments += list(itertools.pairwise(bounds_s))
    return segments
