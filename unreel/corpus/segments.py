"""Instances to train on: a short video whole, a long one in segments of about 10 s that stay within a shot."""

import itertools

import numpy as np

from unreel.corpus.manifest import Manifest
from unreel.errors import InputError
from unreel.types import Instance

SEGMENT_S = 10.0
LONG_VIDEO_SEGMENTS = 1.5  # a video is cut when it is longer than this many segments


def build_instances(manifest: Manifest, segment_s: float = SEGMENT_S) -> list[Instance]:
    """One instance for each unique video, or for each segment of one longer than 1.5 `segment_s` (seconds; inf: never).

    `video` numbers the recordings in `manifest.unique()`: files, or what pieces were cut from. Raises InputError
    for a `segment_s` that is not positive.
    """
    if not segment_s > 0:
        raise InputError(f"segments must last longer than 0 s, got segment_s={segment_s}")
    found: list[Instance] = []
    numbers: dict[str, int] = {}
    for video in manifest.drop_duplicates():
        number = numbers.setdefault(video.recording or video.path, len(numbers))
        spans = [(0.0, video.duration_s)]
        if video.duration_s > LONG_VIDEO_SEGMENTS * segment_s:
            spans = cut_segments(video.duration_s, video.shot_changes_s, segment_s)
        who = (video.label, video.group, video.offset_s)
        found += [Instance(video.path, number, start, end, *who) for start, end in spans]
    return found


def cut_segments(
    duration_s: float, shot_changes_s: tuple[float, ...], segment_s: float, min_shot_s: float = 1.0
) -> list[tuple[float, float]]:
    """Segments (start, end) in seconds that cover [0, duration_s) without gap or overlap and stay within a shot.

    A shot is cut into round(length / segment_s) equal pieces, at least 1; one shorter than `min_s` goes with the next
    shot, the last with the one before.
    """
    edges = [0.0]
    for change in sorted(shot_changes_s):
        if min_shot_s <= change - edges[-1] and change <= duration_s - min_shot_s:
            edges.append(change)
    edges.append(duration_s)
    segments = []
    for start, end in itertools.pairwise(edges):
        bounds = np.linspace(start, end, max(1, round((end - start) / segment_s)) + 1).tolist()
        segments += list(itertools.pairwise(bounds))
    return segments
